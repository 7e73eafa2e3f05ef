"""The fast way to the messages of `trades`: compiled once per kind, patched for the next coin. Same bytes, no less.

The curve's v3 and PumpSwap's v2 trades have one layout for all coins, so a coin never seen costs one derived address
(our own account for it) and a dozen copied keys. Trades of cashback coins are compiled once per coin; later only
amounts, tip and blockhash change.
"""

from __future__ import annotations

import struct
from collections.abc import Hashable
from typing import Final, NamedTuple

from solders.compute_budget import ID as COMPUTE_BUDGET_ID
from solders.hash import Hash
from solders.pubkey import Pubkey
from solders.sysvar import RECENT_BLOCKHASHES

from copytrader_core.pump import addresses as a
from copytrader_core.quick import quick_record
from copytrader_core.solana.coins import Coin
from copytrader_core.solana.programs import (
    ASSOCIATED_TOKEN_PROGRAM,
    SYSTEM_PROGRAM,
    TOKEN_2022_PROGRAM,
    TOKEN_PROGRAM,
    WSOL_MINT,
    associated_token_address,
)
from copytrader_core.solana.trades import (
    RECIPIENTS,
    Charges,
    Laid,
    Nonce,
    Plan,
    Recipients,
    Wsol,
    check_amounts,
    lay,
    plan_buy,
    plan_sell,
)

__all__ = ["TradeTemplates"]

_MAX_TEMPLATES: Final = 4096
_CONSTANT: Final = frozenset(
    {
        *(SYSTEM_PROGRAM, TOKEN_PROGRAM, TOKEN_2022_PROGRAM, ASSOCIATED_TOKEN_PROGRAM, WSOL_MINT, COMPUTE_BUDGET_ID),
        *(a.PUMP_GLOBAL, a.PUMP_FEE_CONFIG, a.PUMP_EVENT_AUTHORITY, a.PUMP_PROGRAM, RECENT_BLOCKHASHES),
        *(a.AMM_GLOBAL_CONFIG, a.AMM_FEE_CONFIG, a.AMM_EVENT_AUTHORITY, a.AMM_PROGRAM),
    }
)
"""What all trades on the curve name, and what all those in pools do."""
_U64: Final = struct.Struct("<Q")
_KEY_BYTES: Final = 32


@quick_record
class _Template:
    """A laid message cut at the keys that change from coin to coin and at the blockhash.

    `cuts` are what stands before each such key and which one it is, `middle` is what stands before the blockhash,
    `tail`, from offset `tail_at` on, what follows it: there the amounts are. `fixed` are the keys that stay.
    """

    laid: Laid
    cuts: tuple[tuple[bytes, int], ...]
    middle: bytes
    tail: bytes
    tail_at: int
    fixed: frozenset[bytes]
    cu_limit: int


class _Ready(NamedTuple):
    """A coin's template with its keys in place. The coin beside it keeps its identity from being another's."""

    coin: Coin
    template: _Template
    head: bytes
    """All that stands before the blockhash."""

    def message(self, first: int, second: int, charges: Charges, blockhash: Hash) -> bytes:
        template = self.template
        laid, start, tail, pack = template.laid, template.tail_at, bytearray(template.tail), _U64.pack_into
        pack(tail, laid.price - start, charges.price(template.cu_limit))
        pack(tail, laid.first - start, first)
        pack(tail, laid.second - start, second)
        if laid.wrap is not None:
            pack(tail, laid.wrap - start, first)
        if laid.tip is not None:
            pack(tail, laid.tip - start, charges.tip_lamports)
        return b"".join((self.head, bytes(blockhash), tail))


class TradeTemplates:
    """One owner's buys and sales. The methods give what the functions of `trades` give for the same arguments."""

    def __init__(self, owner: Pubkey, recipients: Recipients = RECIPIENTS) -> None:
        self._owner = owner
        self._recipients = recipients
        self._templates: dict[Hashable, _Template] = {}
        self._ready: dict[Hashable, _Ready] = {}

    def buy(
        self,
        coin: Coin,
        spend_lamports: int,
        min_tokens_raw: int,
        charges: Charges,
        blockhash: Hash,
        *,
        new_wallet: bool,
        may_complete: bool = False,
        wsol: Wsol = Wsol.CLOSE,
        nonce: Nonce | None = None,
    ) -> bytes:
        """As `trades.buy`."""
        kind = ("buy", new_wallet, may_complete, may_complete and coin.is_mayhem, wsol)
        check_amounts(spend_lamports, min_tokens_raw)
        ready = self._known(kind, coin, charges, nonce)
        if ready is not None:
            lifetime = blockhash if nonce is None else nonce.blockhash
            return ready.message(spend_lamports, min_tokens_raw, charges, lifetime)
        plan = plan_buy(
            self._owner,
            coin,
            spend_lamports,
            min_tokens_raw,
            new_wallet=new_wallet,
            may_complete=may_complete,
            wsol=wsol,
            recipients=self._recipients,
        )
        return self._compiled(kind, plan, coin, charges, blockhash, nonce)

    def sell(
        self,
        coin: Coin,
        tokens_raw: int,
        min_out_lamports: int,
        charges: Charges,
        blockhash: Hash,
        *,
        close_account: bool,
        wsol: Wsol = Wsol.CLOSE,
        nonce: Nonce | None = None,
    ) -> bytes:
        """As `trades.sell`."""
        kind = ("sell", close_account, wsol)
        check_amounts(tokens_raw, min_out_lamports)
        ready = self._known(kind, coin, charges, nonce)
        if ready is not None:
            return ready.message(tokens_raw, min_out_lamports, charges, blockhash if nonce is None else nonce.blockhash)
        plan = plan_sell(
            self._owner,
            coin,
            tokens_raw,
            min_out_lamports,
            close_account=close_account,
            wsol=wsol,
            recipients=self._recipients,
        )
        return self._compiled(kind, plan, coin, charges, blockhash, nonce)

    def _known(self, kind: Hashable, coin: Coin, charges: Charges, nonce: Nonce | None) -> _Ready | None:
        """The coin's template; None where its kind has none, or where its layout is another one."""
        tipped, account = (
            charges.tip_account if charges.tip_lamports else None,
            None if nonce is None else nonce.account,
        )
        key = (id(coin), kind, tipped, account)
        ready = self._ready.get(key)
        if ready is not None:
            return ready
        template, keys = self._templates.get(_name(kind, coin, charges, nonce)), self._keys(coin, charges)
        if template is None or len(set(keys)) != len(keys) or not template.fixed.isdisjoint(keys):
            return None
        parts = [part for piece, number in template.cuts for part in (piece, keys[number])]
        if len(self._ready) >= _MAX_TEMPLATES:
            # One at a time: to free them all would take milliseconds, between a signal and its order.
            del self._ready[next(iter(self._ready))]
        ready = self._ready[key] = _Ready(coin, template, b"".join((*parts, template.middle)))
        return ready

    def drop_ready(self) -> None:
        """Forgets coins, not layouts."""
        self._ready.clear()

    def _keys(self, coin: Coin, charges: Charges) -> list[bytes]:
        """The keys that a template does not fix, always in this order."""
        keys = [charges.tip_account] if charges.tip_lamports and charges.tip_account else []
        if _is_shared(coin):
            mint, buyback = coin.mint, self._recipients.buyback(coin.mint)
            mine = associated_token_address(self._owner, mint, coin.base_token_program)
            keys += (mint, mine, buyback if coin.pool is None else _quote_account(buyback), *coin.venue_accounts())
        return [bytes(key) for key in keys]

    def _compiled(
        self, kind: Hashable, plan: Plan, coin: Coin, charges: Charges, blockhash: Hash, nonce: Nonce | None
    ) -> bytes:
        """The slow way, whose result becomes the template of its kind."""
        name, found = _name(kind, coin, charges, nonce), self._keys(coin, charges)
        laid = lay(self._owner, plan, charges, blockhash, nonce)
        compiled, keys = laid.compiled, [Pubkey(key) for key in found]
        # A changing key that plays another part too shares its place: such a message has a layout of its own.
        untipped = lay(self._owner, plan, Charges(), blockhash, nonce).compiled.keys
        mine = (a.user_volume_accumulator(self._owner), a.amm_user_volume_accumulator(self._owner))
        constant = {self._owner, *mine, _quote_account(self._owner), None if nonce is None else nonce.account}
        clash = charges.tip_account in untipped or not (_CONSTANT | constant).isdisjoint(keys)
        is_whole = len(set(keys)) == len(keys) and set(keys) <= set(compiled.keys)
        if is_whole and not clash and name not in self._templates:
            if len(self._templates) >= _MAX_TEMPLATES:
                del self._templates[next(iter(self._templates))]
            fixed = frozenset(bytes(key) for key in compiled.keys) - frozenset(found)
            self._templates[name] = _template(laid, keys, fixed, plan.cu_limit)
        return compiled.message


def _is_shared(coin: Coin) -> bool:
    """Whether the layout of the coin's trades is that of other coins too."""
    return not coin.is_cashback and coin.quote_mint == WSOL_MINT


def _quote_account(wallet: Pubkey) -> Pubkey:
    """Where a wallet has its wrapped SOL."""
    return associated_token_address(wallet, WSOL_MINT, TOKEN_PROGRAM)


def _name(kind: Hashable, coin: Coin, charges: Charges, nonce: Nonce | None) -> Hashable:
    """What has the same layout."""
    whose = (coin.base_token_program, coin.pool is None) if _is_shared(coin) else coin
    return kind, whose, charges.tip_lamports > 0, None if nonce is None else nonce.account


def _template(laid: Laid, keys: list[Pubkey], fixed: frozenset[bytes], cu_limit: int) -> _Template:
    compiled, message = laid.compiled, laid.compiled.message
    cuts, at = [], 0
    for offset, number in sorted((compiled.key_offset(key), number) for number, key in enumerate(keys)):
        cuts.append((message[at:offset], number))
        at = offset + _KEY_BYTES
    tail_at = compiled.blockhash_offset + _KEY_BYTES
    middle = message[at : compiled.blockhash_offset]
    return _Template(laid, tuple(cuts), middle, message[tail_at:], tail_at, fixed, cu_limit)
