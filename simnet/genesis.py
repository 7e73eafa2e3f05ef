"""What the bank holds before the first transaction: the deployed programs and the accounts that they expect to find.

Running transactions is `simnet.bank`'s.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from solders.account import Account
from solders.litesvm import LiteSVM
from solders.pubkey import Pubkey

from copytrader_core.pump import addresses as a
from copytrader_core.solana.programs import SYSTEM_PROGRAM, TOKEN_PROGRAM, WSOL_MINT, associated_token_address
from simnet.bytecode import Snapshot

# Accounts of the snapshot that every trade needs; its users, coins and pools stay out.
_KEPT = (
    a.PUMP_GLOBAL,
    a.AMM_GLOBAL_CONFIG,
    a.PUMP_FEE_CONFIG,
    a.AMM_FEE_CONFIG,
    a.PUMP_EVENT_AUTHORITY,
    a.AMM_EVENT_AUTHORITY,
    WSOL_MINT,
)
_VOLUME_DISCRIMINATOR = bytes.fromhex("ca2af62b8ebe1eff")
_VOLUME_BYTES = 600
_LOOKUP_TABLE_PROGRAM = Pubkey.from_string("AddressLookupTab1e1111111111111111111111111")
_PLENTY = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Authorities:
    """The wallets that the programs' own configuration names, as read from it."""

    protocol: tuple[Pubkey, ...]
    buyback: tuple[Pubkey, ...]
    amm_protocol: tuple[Pubkey, ...]
    withdraw: Pubkey


def authorities(snapshot: Snapshot) -> Authorities:
    """Reads the fee, buyback and withdraw wallets from Global and GlobalConfig (offsets of their published layouts)."""
    pump = snapshot.accounts[str(a.PUMP_GLOBAL)].data
    amm = snapshot.accounts[str(a.AMM_GLOBAL_CONFIG)].data
    return Authorities(
        protocol=(*_keys(pump, 41, 1), *_keys(pump, 162, 7)),
        buyback=_keys(pump, 741, 8),
        amm_protocol=_keys(amm, 57, 8),
        withdraw=_keys(pump, 113, 1)[0],
    )


def _keys(data: bytes, offset: int, count: int) -> tuple[Pubkey, ...]:
    return tuple(Pubkey.from_bytes(data[offset + 32 * i : offset + 32 * i + 32]) for i in range(count))


def populate(svm: LiteSVM, snapshot: Snapshot) -> Authorities:
    """Loads programs and accounts into an empty bank and returns who gets the fees."""
    for address, elf in snapshot.programs.items():
        svm.add_program(Pubkey.from_string(address), elf)
    for key in _KEPT:
        kept = snapshot.accounts[str(key)]
        svm.set_account(key, Account(kept.lamports, kept.data, Pubkey.from_string(kept.owner)))
    # Not in the snapshot, yet read by every buy of the older versions: the volume programme's totals, long since ended.
    for key, owner in (
        (a.PUMP_GLOBAL_VOLUME_ACCUMULATOR, a.PUMP_PROGRAM),
        (a.AMM_GLOBAL_VOLUME_ACCUMULATOR, a.AMM_PROGRAM),
    ):
        data = _VOLUME_DISCRIMINATOR.ljust(_VOLUME_BYTES, b"\0")
        svm.set_account(key, Account(svm.minimum_balance_for_rent_exemption(_VOLUME_BYTES), data, owner))
    known = authorities(snapshot)
    for wallet in {*known.protocol, *known.buyback, *known.amm_protocol, known.withdraw, *a.JITO_TIP_ACCOUNTS}:
        svm.set_account(wallet, Account(_PLENTY, b"", SYSTEM_PROGRAM))
    for wallet in {*known.buyback, *known.amm_protocol, *known.protocol}:
        svm.set_account(associated_token_address(wallet, WSOL_MINT, TOKEN_PROGRAM), _wrapped_sol(svm, wallet))
    return known


def _wrapped_sol(svm: LiteSVM, owner: Pubkey) -> Account:
    """An empty wrapped-SOL account: mint, owner, amount 0, initialized, native with its rent reserve."""
    rent = svm.minimum_balance_for_rent_exemption(165)
    data = bytearray(165)
    data[0:32], data[32:64], data[108] = bytes(WSOL_MINT), bytes(owner), 1
    data[109:121] = (1).to_bytes(4, "little") + rent.to_bytes(8, "little")
    return Account(rent, bytes(data), TOKEN_PROGRAM)


def put_lookup_table(svm: LiteSVM, table: Pubkey, addresses: Iterable[Pubkey]) -> None:
    """Stores an active address lookup table without authority."""
    head = (1).to_bytes(4, "little") + b"\xff" * 8
    data = head.ljust(56, b"\0") + b"".join(bytes(key) for key in addresses)
    svm.set_account(table, Account(svm.minimum_balance_for_rent_exemption(len(data)), data, _LOOKUP_TABLE_PROGRAM))
