"""The chain's accounts as a node's JSON shows them: our wallet, its coins, curves, mints, the program's settings."""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import partial
from typing import Any

from solders.pubkey import Pubkey

from copytrader_core.pump import addresses as a
from copytrader_core.solana.programs import SYSTEM_PROGRAM, TOKEN_2022_PROGRAM
from tests.simulation import shown
from tests.simulation.bank import ATA_RENT, VOLUME_ACCOUNT_RENT, State, our_account
from tests.simulation.market import COINS

Shown = dict[str, Any]


class Accounts:
    """Every account of this chain that anybody asks for, by its address in base58; `ours` is whose coins count."""

    def __init__(self, ours: Pubkey) -> None:
        self.ours = ours
        self._readers: dict[str, Callable[[State], Shown | None]] = {
            str(ours): lambda state: _json(state.lamports, SYSTEM_PROGRAM, b""),
            str(a.user_volume_accumulator(ours)): _volume,
            str(a.PUMP_FEE_CONFIG): lambda _: _json(10**7, a.FEE_PROGRAM, shown.fee_config_account()),
            str(a.PUMP_GLOBAL): lambda _: _json(10**7, a.PUMP_PROGRAM, shown.global_account()),
        }
        for coin in COINS:
            self._readers |= {
                str(coin): lambda _: _json(10**7, TOKEN_2022_PROGRAM, shown.mint_account()),
                str(a.bonding_curve(coin)): partial(_curve, coin),
                str(our_account(ours, coin)): partial(self._held, coin),
            }

    def at(self, address: str, state: State) -> Shown | None:
        """The account at an address, None where there is none."""
        reader = self._readers.get(address)
        return None if reader is None else reader(state)

    def held(self, state: State) -> list[Shown]:
        """Our token accounts, as getTokenAccountsByOwner lists them."""
        return [
            {"pubkey": str(our_account(self.ours, coin)), "account": self._held(coin, state)} for coin in state.coins
        ]

    def _held(self, coin: Pubkey, state: State) -> Shown | None:
        if coin not in state.coins:
            return None
        return _json(ATA_RENT, TOKEN_2022_PROGRAM, shown.token_account(coin, self.ours, state.coins[coin]))


def _volume(state: State) -> Shown | None:
    return _json(VOLUME_ACCOUNT_RENT, a.PUMP_PROGRAM, bytes(137)) if state.has_volume_account else None


def _curve(coin: Pubkey, state: State) -> Shown | None:
    curve = state.curves.get(coin)
    return None if curve is None else _json(10**9, a.PUMP_PROGRAM, shown.curve_account(curve))


def _json(lamports: int, owner: Pubkey, data: bytes) -> Shown:
    shape = {"executable": False, "rentEpoch": 2**64 - 1, "space": len(data)}
    return {"lamports": lamports, "owner": str(owner), "data": [base64.b64encode(data).decode(), "base64"], **shape}
