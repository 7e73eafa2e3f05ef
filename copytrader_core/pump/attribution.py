"""What every row of one transaction shares: who paid, who signed, whose coins moved, the tip, the decimals.

Everything is computed once. What an event says is not read here.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from functools import lru_cache
from typing import Final

from solders.pubkey import Pubkey

from copytrader_core.errors import DecodeError
from copytrader_core.pump.addresses import JITO_TIP_ACCOUNTS
from copytrader_core.records import LAMPORTS_PER_SOL, WSOL
from copytrader_core.solana.base58 import address_text, signature_text
from copytrader_core.solana.programs import SYSTEM_PROGRAM
from copytrader_core.solana.transaction import RawInstruction, RawTransaction

_TIP_ACCOUNTS: Final = frozenset(bytes(account) for account in JITO_TIP_ACCOUNTS)
_SYSTEM: Final = bytes(SYSTEM_PROGRAM)
_TRANSFER: Final = struct.Struct("<IQ")
# System instruction number -> position of the receiving account: transfer, transfer with seed.
_RECEIVER: Final = {2: 1, 11: 2}
_WSOL_DECIMALS: Final = 9


@lru_cache(maxsize=1 << 14)
def is_off_curve(key: bytes) -> bool:
    """Whether no private key can sign for the address, so that a program owns it."""
    return not Pubkey(key).is_on_curve()


class TransactionFacts:
    """The shared columns of one transaction's rows."""

    __slots__ = ("_decimals", "_token_deltas", "fee_payer", "fee_sol", "sig", "source", "tip_lamports", "tx")

    def __init__(self, tx: RawTransaction) -> None:
        """`source` tells where the events were read, `cpi` or `log`; `fee_sol` is network fee and tip in SOL."""
        self.tx = tx
        self.sig = signature_text(tx.signature)
        self.fee_payer = address_text(tx.account_keys[0])
        self.source = "cpi" if any(tx.inner.values()) else "log"
        self.tip_lamports = self._tips()
        self.fee_sol = (tx.fee + self.tip_lamports) / LAMPORTS_PER_SOL
        # A balance of a token account: (account index, mint, owner, program, amount, decimals).
        self._decimals = {balance[1]: balance[5] for balance in tx.pre_tokens}
        self._decimals.update([(balance[1], balance[5]) for balance in tx.post_tokens])
        self._decimals[WSOL] = _WSOL_DECIMALS
        self._token_deltas: dict[tuple[str, str], int] | None = None

    def _tips(self) -> int:
        """SOL sent to Jito's eight tip accounts, at the top level and below."""
        keys = self.tx.account_keys
        if _TIP_ACCOUNTS.isdisjoint(keys) or _SYSTEM not in keys:
            return 0
        system = keys.index(_SYSTEM)
        calls = [*self.tx.outer, *[ix for group in self.tx.inner.values() for ix in group]]
        return sum([self._tip(ix) for ix in calls if ix.program_index == system])

    def _tip(self, ix: RawInstruction) -> int:
        if len(ix.data) < _TRANSFER.size:
            return 0
        number, lamports = _TRANSFER.unpack_from(ix.data)
        at = _RECEIVER.get(number)
        if at is None or at >= len(ix.accounts) or self.tx.account_keys[ix.accounts[at]] not in _TIP_ACCOUNTS:
            return 0
        return int(lamports)

    @property
    def token_deltas(self) -> dict[tuple[str, str], int]:
        """(owner, mint) -> raw units gained over the whole transaction, over all the owner's accounts."""
        if self._token_deltas is not None:
            return self._token_deltas
        deltas: dict[tuple[str, str], int] = defaultdict(int)
        for balance in self.tx.pre_tokens:
            deltas[balance.owner, balance.mint] -= balance.amount
        for balance in self.tx.post_tokens:
            deltas[balance.owner, balance.mint] += balance.amount
        self._token_deltas = deltas
        return deltas

    def decimals(self, mint: str, default: int | None = None) -> int | None:
        """The decimals of a mint, as a token balance of this transaction tells them."""
        return self._decimals.get(mint, default)

    def mint_of(self, account: bytes) -> str | None:
        """The mint of a token account that has a balance in this transaction."""
        keys = self.tx.account_keys
        balances = (*self.tx.pre_tokens, *self.tx.post_tokens)
        return next((balance.mint for balance in balances if keys[balance.account_index] == account), None)

    def holdings(self, owner: str) -> dict[str, tuple[int, int]]:
        """mint -> (before, after) raw units over all accounts of one owner."""
        held: dict[str, tuple[int, int]] = {}
        for balance in self.tx.pre_tokens:
            if balance.owner == owner:
                before, after = held.get(balance.mint, (0, 0))
                held[balance.mint] = (before + balance.amount, after)
        for balance in self.tx.post_tokens:
            if balance.owner == owner:
                before, after = held.get(balance.mint, (0, 0))
                held[balance.mint] = (before, after + balance.amount)
        return held

    def wallet(self, user: bytes, coin: str, gains: bool) -> str:
        """The trader behind an event's `user`, who gained (or lost) `coin`.

        The user, unless it is a program-owned address that did not sign and the coins went on to (or came from) the fee
        payer: then the user is a router's purse. What a purse keeps stays the purse's: the mayhem agent is such a one.
        """
        tx = self.tx
        text = address_text(user)
        if user in tx.account_keys[: tx.n_signers] or not is_off_curve(user):
            return text
        if not any(balance.mint == coin for balance in tx.post_tokens):
            raise DecodeError(f"the token balances of {coin} are missing: who traded cannot be told")
        sign = 1 if gains else -1
        payer_moved = sign * self.token_deltas.get((self.fee_payer, coin), 0) > 0
        user_kept = sign * self.token_deltas.get((text, coin), 0) > 0
        return self.fee_payer if payer_moved and not user_kept else text
