"""What a transaction must know of a coin, read from accounts or from the leader's own instruction, and coins we refuse.

No requests are made here, and no transaction is built.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from solders.pubkey import Pubkey

from copytrader_core.errors import DecodeError
from copytrader_core.pump import addresses as a
from copytrader_core.pump.accounts import BondingCurve, Pool
from copytrader_core.pump.instructions import CurveCoin, PumpPool
from copytrader_core.quick import quick_record
from copytrader_core.solana.programs import (
    TOKEN_2022_PROGRAM,
    TOKEN_PROGRAM,
    WSOL_MINT,
    associated_token_address,
)

__all__ = [
    "Coin",
    "MintAccount",
    "Refusal",
    "VenueAccounts",
    "coin_from_accounts",
    "coin_from_leader_instruction",
    "mint_policy",
]


class VenueAccounts(NamedTuple):
    """The curve or pool of a coin and its two token accounts: they follow from the coin, and none of them is ours."""

    venue: Pubkey
    base: Pubkey
    quote: Pubkey


@quick_record
class Coin:
    """A coin and where it trades: on PumpSwap where `pool` is given, else on the curve.

    `creator` must be today's for a cashback coin. `accounts` saves their derivation where somebody has named them.
    """

    mint: Pubkey
    creator: Pubkey = a.ZERO_KEY
    base_token_program: Pubkey = TOKEN_2022_PROGRAM
    quote_mint: Pubkey = WSOL_MINT
    is_cashback: bool = False
    is_mayhem: bool = False
    pool: PumpPool | None = None
    accounts: VenueAccounts | None = None

    @property
    def on_curve(self) -> CurveCoin:
        """The coin as the curve's instruction builders want it."""
        return CurveCoin(
            self.mint, self.creator, self.base_token_program, self.quote_mint, is_cashback=self.is_cashback
        )

    def venue_accounts(self) -> VenueAccounts:
        """The accounts of where it trades: those given, else derived (11-14 microseconds each)."""
        if self.accounts is not None:
            return self.accounts
        if self.pool is not None:
            return VenueAccounts(self.pool.address, self.pool.base_vault, self.pool.quote_vault)
        curve = a.bonding_curve(self.mint)
        return VenueAccounts(
            curve,
            associated_token_address(curve, self.mint, self.base_token_program),
            associated_token_address(curve, self.quote_mint, TOKEN_PROGRAM),
        )


def coin_from_accounts(
    mint: Pubkey, token_program: Pubkey, curve: BondingCurve | None = None, pool: Pool | None = None
) -> Coin:
    """The coin of a mint (`token_program` owns the mint's account). With a pool it trades there.

    Raises DecodeError where neither is given, or where the pool is another coin's.
    """
    if pool is not None:
        if pool.base_mint != mint:
            raise DecodeError(f"the pool trades {pool.base_mint}, not {mint}: fetch the coin's own pool")
        creator, address = pool.coin_creator, a.pool(pool.index, pool.creator, mint, pool.quote_mint)
        return _pool_coin(
            PumpPool(address, mint, creator, token_program, pool.quote_mint, is_cashback=pool.is_cashback_coin),
            is_mayhem=pool.is_mayhem_mode,
        )
    if curve is None:
        raise DecodeError(f"{mint} has neither a curve nor a pool account: it is no coin of pump.fun")
    quote = WSOL_MINT if curve.quote_mint == a.ZERO_KEY else curve.quote_mint
    return Coin(mint, curve.creator, token_program, quote, curve.is_cashback_coin, curve.is_mayhem_mode)


def _pool_coin(pool: PumpPool, *, is_mayhem: bool, accounts: VenueAccounts | None = None) -> Coin:
    return Coin(
        pool.base_mint,
        pool.coin_creator,
        pool.base_token_program,
        pool.quote_mint,
        pool.is_cashback,
        is_mayhem,
        pool,
        accounts,
    )


class _Places(NamedTuple):
    """Where an instruction names what we copy; None: not named."""

    n_accounts: int
    mint: int
    base_program: int
    quote_mint: int | None
    first: int
    base: int
    quote: int | None = None


_CURVE_LEGACY_BUY: Final = _Places(16, 2, 8, None, 3, 4)
_CURVE_LEGACY_SELL: Final = _Places(14, 2, 9, None, 3, 4)
_CURVE_V2: Final = _Places(26, 1, 3, 2, 10, 11, 12)
_CURVE_V3: Final = _Places(17, 1, 3, 2, 5, 6, 7)
_POOL_V1: Final = _Places(21, 3, 11, 4, 0, 7, 8)
_POOL_V2: Final = _Places(17, 3, 9, 4, 0, 7, 8)
# One discriminator means different things to the two programs: the key is the pair.
_PLACES: Final[Mapping[tuple[Pubkey, bytes], _Places]] = {
    (program, bytes.fromhex(discriminator)): places
    for program, discriminator, places in (
        (a.PUMP_PROGRAM, "66063d1201daebea", _CURVE_LEGACY_BUY),
        (a.PUMP_PROGRAM, "38fc74089edfcd5f", _CURVE_LEGACY_BUY),
        (a.PUMP_PROGRAM, "33e685a4017f83ad", _CURVE_LEGACY_SELL),
        (a.PUMP_PROGRAM, "b817ee6167c5d33d", _CURVE_V2),
        (a.PUMP_PROGRAM, "c2ab1c46684d5b2f", _CURVE_V2),
        (a.PUMP_PROGRAM, "5df6823ce7e940b2", _CURVE_V2),
        (a.PUMP_PROGRAM, "07051dc4f5176550", _CURVE_V3),
        (a.PUMP_PROGRAM, "e1f7501ed5b38488", _CURVE_V3),
        (a.PUMP_PROGRAM, "1c92de7726c469d5", _CURVE_V3),
        (a.AMM_PROGRAM, "66063d1201daebea", _POOL_V1),
        (a.AMM_PROGRAM, "c62e1552b4d9e870", _POOL_V1),
        (a.AMM_PROGRAM, "33e685a4017f83ad", _POOL_V1),
        (a.AMM_PROGRAM, "b817ee6167c5d33d", _POOL_V2),
        (a.AMM_PROGRAM, "c2ab1c46684d5b2f", _POOL_V2),
        (a.AMM_PROGRAM, "5df6823ce7e940b2", _POOL_V2),
    )
}


def coin_from_leader_instruction(
    program: Pubkey,
    data: bytes,
    accounts: Sequence[Pubkey],
    *,
    creator: Pubkey = a.ZERO_KEY,
    is_cashback: bool = False,
    is_mayhem: bool = False,
) -> Coin | None:
    """The coin of a trade that the program has executed, its accounts copied; None for an instruction of other kinds.

    `accounts` are the instruction's, in its order. What they do not tell is in the trade's event: creator, cashback,
    mayhem. Never for an instruction that may have failed: only the program's success proves that the accounts belong.
    Raises DecodeError where accounts are missing.
    """
    places = _PLACES.get((program, data[:8]))
    if places is None:
        return None
    if len(accounts) < places.n_accounts:
        raise DecodeError(
            f"a trade of {program} names {places.n_accounts} accounts or more, found {len(accounts)}: it is cut"
        )
    mint, base_program = accounts[places.mint], accounts[places.base_program]
    quote_mint = WSOL_MINT if places.quote_mint is None else accounts[places.quote_mint]
    first = accounts[places.first]
    if places.quote is None:
        quote = associated_token_address(first, quote_mint, TOKEN_PROGRAM)
    else:
        quote = accounts[places.quote]
    known = VenueAccounts(first, accounts[places.base], quote)
    if program == a.AMM_PROGRAM:
        pool = PumpPool(first, mint, creator, base_program, quote_mint, is_cashback=is_cashback)
        return _pool_coin(pool, is_mayhem=is_mayhem, accounts=known)
    return Coin(mint, creator, base_program, quote_mint, is_cashback, is_mayhem, accounts=known)


class Refusal(NamedTuple):
    """Why a coin is not traded: a code for machines, a sentence for people."""

    code: str
    reason: str


class MintAccount(NamedTuple):
    """A mint's account: the program that owns it and its bytes."""

    owner: Pubkey
    data: bytes


_MINT_BYTES: Final = 82
_EXTENSIONS_FROM: Final = 166
_ACCOUNT_TYPE_AT: Final = 165
_IS_MINT: Final = 1
# Metadata and its pointer: all that a coin of the curve ever has. What is not listed here is refused, known or not.
_ALLOWED_EXTENSIONS: Final = frozenset({18, 19})
_EXTENSION_NAMES: Final = {
    1: "TransferFeeConfig",
    3: "MintCloseAuthority",
    4: "ConfidentialTransferMint",
    6: "DefaultAccountState",
    9: "NonTransferable",
    10: "InterestBearingConfig",
    12: "PermanentDelegate",
    14: "TransferHook",
    16: "ConfidentialTransferFeeConfig",
    20: "GroupPointer",
    21: "TokenGroup",
    22: "GroupMemberPointer",
    23: "TokenGroupMember",
    24: "ConfidentialMintBurn",
    25: "ScaledUiAmount",
    26: "Pausable",
}


def mint_policy(
    mint: Pubkey,
    account: MintAccount,
    *,
    curve_address: Pubkey,
    curve_owner: Pubkey,
    curve: BondingCurve,
    pool_address: Pubkey | None = None,
    pool: Pool | None = None,
    quote_mints: frozenset[Pubkey] = frozenset({WSOL_MINT}),
) -> Refusal | None:
    """None where the coin may be traded, else why not. `quote_mints`: what a coin may be paid in.

    A curve at the mint's own derived address that the curve program owns proves that pump.fun made the coin.
    """
    if curve_address != a.bonding_curve(mint) or curve_owner != a.PUMP_PROGRAM:
        return Refusal("NOT_PUMP", f"the curve of {mint} is not the curve program's own account")
    if pool is not None and (not pool.is_canonical or pool_address != a.canonical_pool(mint, pool.quote_mint)):
        return Refusal("POOL_NOT_CANONICAL", f"pool {pool_address} is not the one that {mint} migrated to")
    if pool is not None and pool.base_mint != mint:
        return Refusal("POOL_NOT_CANONICAL", f"pool {pool_address} trades {pool.base_mint}, not {mint}")
    paid_in = curve.quote_mint if pool is None else pool.quote_mint
    if (WSOL_MINT if paid_in == a.ZERO_KEY else paid_in) not in quote_mints:
        return Refusal("QUOTE_NOT_ENABLED", f"{mint} is paid in {paid_in}: enable that quote mint to trade it")
    return _mint_refusal(mint, account)


def _mint_refusal(mint: Pubkey, account: MintAccount) -> Refusal | None:
    owner, data = account
    if owner not in (TOKEN_PROGRAM, TOKEN_2022_PROGRAM) or len(data) < _MINT_BYTES or data[45] != 1:
        return Refusal("NOT_A_MINT", f"{mint} is no initialized mint of a token program")
    if data[0:4] != bytes(4) or data[46:50] != bytes(4):
        return Refusal("AUTHORITY", f"somebody may still mint or freeze {mint}")
    if len(data) == _MINT_BYTES:
        return None
    if owner == TOKEN_PROGRAM or len(data) < _EXTENSIONS_FROM or data[_ACCOUNT_TYPE_AT] != _IS_MINT:
        return Refusal("NOT_A_MINT", f"{mint} has {len(data)} bytes that are not a mint's")
    kinds = _extensions(data)
    if kinds is None:
        return Refusal("EXTENSION", f"the extensions of {mint} cannot be read")
    if foreign := sorted(kinds - _ALLOWED_EXTENSIONS):
        names = ", ".join(_EXTENSION_NAMES.get(kind, f"number {kind}") for kind in foreign)
        return Refusal("EXTENSION", f"{mint} has extensions that can take or hold coins: {names}")
    return None


def _extensions(data: bytes) -> set[int] | None:
    """The kinds of a Token-2022 mint's extensions (u16 kind, u16 length, value; kind 0 ends them); None if cut."""
    found: set[int] = set()
    at = _EXTENSIONS_FROM
    while at + 4 <= len(data):
        kind, length = int.from_bytes(data[at : at + 2], "little"), int.from_bytes(data[at + 2 : at + 4], "little")
        if kind == 0:
            return found
        found.add(kind)
        at += 4 + length
    return found if at <= len(data) else None
