"""The fast way to the messages of `trades`: compiled once per kind, patched for the next coin. Same bytes, no less.

A v3 curve trade has one layout for all coins, so a coin never seen costs one derived address (our own account for it)
and a dozen copied keys. Every other kind is compiled once per coin; later only amounts, tip and blockhash change.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable
from typing import Final

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
    }
)
"""What every curve trade names whatever the coin."""
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


class TradeTemplates:
    """One owner's buys and sales. The methods give what the functions of `trades` give for the same arguments."""

    def __init__(self, owner: Pubkey, recipients: Recipients = RECIPIENTS) -> None:
        self._owner = owner
        self._recipients = recipients
        self._templates: dict[Hashable, _Template] = {}
        self._of_coins: dict[int, tuple[Coin, tuple[bytes, ...]]] = {}
        """By identity: the keys of a coin's curve trades. The coin beside them keeps that identity its own."""

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

        def plan() -> Plan:
            return plan_buy(
                self._owner,
                coin,
                spend_lamports,
                min_tokens_raw,
                new_wallet=new_wallet,
                may_complete=may_complete,
                wsol=wsol,
                recipients=self._recipients,
            )

        kind = ("buy", new_wallet, may_complete, may_complete and coin.is_mayhem, wsol)
        return self._message(kind, coin, spend_lamports, min_tokens_raw, charges, blockhash, nonce, plan)

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

        def plan() -> Plan:
            return plan_sell(
                self._owner,
                coin,
                tokens_raw,
                min_out_lamports,
                close_account=close_account,
                wsol=wsol,
                recipients=self._recipients,
            )

        kind = ("sell", close_account, wsol)
        return self._message(kind, coin, tokens_raw, min_out_lamports, charges, blockhash, nonce, plan)

    def _message(
        self,
        kind: tuple[Hashable, ...],
        coin: Coin,
        first: int,
        second: int,
        charges: Charges,
        blockhash: Hash,
        nonce: Nonce | None,
        plan: Callable[[], Plan],
    ) -> bytes:
        check_amounts(first, second)
        is_shared = coin.pool is None and not coin.is_cashback and coin.quote_mint == WSOL_MINT
        whose = coin.base_token_program if is_shared else coin
        name = (kind, whose, charges.tip_lamports > 0, None if nonce is None else nonce.account)
        keys = self._keys(coin, charges, is_shared=is_shared)
        template = self._templates.get(name)
        if template is None or len(set(keys)) != len(keys) or not template.fixed.isdisjoint(keys):
            return self._compiled(name, plan(), keys, charges, blockhash, nonce)
        return _patched(template, keys, first, second, charges, blockhash if nonce is None else nonce.blockhash)

    def _keys(self, coin: Coin, charges: Charges, *, is_shared: bool) -> list[bytes]:
        """The keys that a template does not fix, always in this order."""
        keys = [bytes(charges.tip_account)] if charges.tip_lamports and charges.tip_account else []
        if is_shared:
            keys += self._of_coin(coin)
        return keys

    def _of_coin(self, coin: Coin) -> tuple[bytes, ...]:
        known = self._of_coins.get(id(coin))
        if known is None:
            if len(self._of_coins) >= _MAX_TEMPLATES:
                self._of_coins.clear()
            mint = coin.mint
            mine = associated_token_address(self._owner, mint, coin.base_token_program)
            keys = (mint, mine, self._recipients.buyback(mint), *coin.curve_accounts())
            known = self._of_coins[id(coin)] = coin, tuple(bytes(key) for key in keys)
        return known[1]

    def _compiled(
        self,
        name: Hashable,
        plan: Plan,
        found: list[bytes],
        charges: Charges,
        blockhash: Hash,
        nonce: Nonce | None,
    ) -> bytes:
        """The slow way, whose result becomes the template of its kind."""
        laid = lay(self._owner, plan, charges, blockhash, nonce)
        compiled, keys = laid.compiled, [Pubkey(key) for key in found]
        # A changing key that plays another part too shares its place: such a message has a layout of its own.
        untipped = lay(self._owner, plan, Charges(), blockhash, nonce).compiled.keys
        constant = {self._owner, a.user_volume_accumulator(self._owner), None if nonce is None else nonce.account}
        clash = charges.tip_account in untipped or not (_CONSTANT | constant).isdisjoint(keys)
        is_whole = len(set(keys)) == len(keys) and set(keys) <= set(compiled.keys)
        if is_whole and not clash and name not in self._templates:
            if len(self._templates) >= _MAX_TEMPLATES:
                del self._templates[next(iter(self._templates))]
            fixed = frozenset(bytes(key) for key in compiled.keys) - frozenset(found)
            self._templates[name] = _template(laid, keys, fixed, plan.cu_limit)
        return compiled.message


def _template(laid: Laid, keys: list[Pubkey], fixed: frozenset[bytes], cu_limit: int) -> _Template:
    compiled, message = laid.compiled, laid.compiled.message
    cuts, at = [], 0
    for offset, number in sorted((compiled.key_offset(key), number) for number, key in enumerate(keys)):
        cuts.append((message[at:offset], number))
        at = offset + _KEY_BYTES
    tail_at = compiled.blockhash_offset + _KEY_BYTES
    middle = message[at : compiled.blockhash_offset]
    return _Template(laid, tuple(cuts), middle, message[tail_at:], tail_at, fixed, cu_limit)


def _patched(
    template: _Template, keys: list[bytes], first: int, second: int, charges: Charges, blockhash: Hash
) -> bytes:
    laid, start, tail, pack = template.laid, template.tail_at, bytearray(template.tail), _U64.pack_into
    pack(tail, laid.price - start, charges.price(template.cu_limit))
    pack(tail, laid.first - start, first)
    pack(tail, laid.second - start, second)
    if laid.wrap is not None:
        pack(tail, laid.wrap - start, first)
    if laid.tip is not None:
        pack(tail, laid.tip - start, charges.tip_lamports)
    parts = [part for piece, number in template.cuts for part in (piece, keys[number])]
    return b"".join((*parts, template.middle, bytes(blockhash), tail))
