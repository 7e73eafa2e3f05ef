"""Whether each coin and pool goes on where its last trade left it: a trade that was never seen leaves a step.

Remembers the reserves after the last trade of each, in memory only. It says nothing where it does not know: whoever
feeds it tells it when the stream had a hole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from copytrader_core.pump.decode import Decoded, Seen
from copytrader_core.pump.drift import Drift, drift
from copytrader_core.pump.drift_trades import Finding
from copytrader_core.pump.emissions import Frame
from copytrader_core.pump.fees import POOL_FEES
from copytrader_core.pump.rows import MONEY, Values, kept_fees
from copytrader_core.records import WSOL

CONTINUITY: Final = "continuity"

_TRADES: Final = frozenset(
    {
        "buy", "sell", "buy_exact_sol_in", "buy_exact_quote_in", "buy_v2", "sell_v2", "buy_exact_quote_in_v2", "buy_v3",
        "sell_v3", "buy_exact_quote_in_v3", "multi_hop_swap", "multi_hop_curve_swap",
    }
)  # fmt: skip

_NONE: Final[frozenset[bytes]] = frozenset()

Reserves = tuple[int, int, int]
"""Coins, quote and the pool's signed virtual quote (0 on the curve)."""


class Continuity:
    """Follows the transactions of an unbroken stream in chain order."""

    def __init__(self, max_coins: int = 50_000) -> None:
        """At most so many coins and pools are remembered, about 300 bytes each; the ones that rested longest go."""
        self._max_coins = max_coins
        self._after: dict[bytes, Reserves] = {}

    def __len__(self) -> int:
        """Coins and pools that are remembered."""
        return len(self._after)

    def forget(self) -> None:
        """The stream has a hole: what comes next may begin anywhere."""
        self._after.clear()

    def follow(self, decoded: Decoded, sig: str) -> list[Drift]:
        """The steps that one landed transaction shows.

        An instruction that is no trade may move reserves, and so the coins and pools among its accounts begin anew.
        """
        after = self._after
        others = [frame for frame in decoded.frames if frame.name not in _TRADES]
        moved = _accounts(others, decoded.keys) if others else _NONE
        for account in moved:
            after.pop(account, None)
        found: list[Drift] = []
        for seen in decoded.seen:
            if seen.name == "TradeEvent":
                coin, before, now = _curve(seen.values, seen.quote == WSOL)
            elif seen.name in ("BuyEvent", "SellEvent") and _is_followed(seen):
                coin, before, now = _pool(seen.values)
            else:
                continue
            if coin in moved:
                continue
            known = after.pop(coin, None)
            if known is not None and known != before and not _is_gift(seen.name, known, before):
                finding = Finding(
                    CONTINUITY, _text(known), _text(before), "base, quote, virtual quote before the trade"
                )
                found.append(drift(seen.emission.frame, sig, finding))
            after[coin] = now
        while len(after) > self._max_coins:
            del after[next(iter(after))]
        return found


def _accounts(frames: Sequence[Frame], keys: Sequence[bytes]) -> frozenset[bytes]:
    """What these instructions may touch: all of the transaction where only its logs tell of one."""
    if any(frame.ix is None for frame in frames):
        return frozenset(keys)
    return frozenset([keys[index] for frame in frames if frame.ix is not None for index in frame.ix.accounts])


def _is_followed(seen: Seen) -> bool:
    """Pools of the programs' own coins against money. Issuers of other mints may take from a vault as they please."""
    return seen.quote in MONEY and seen.values["lp_fee_basis_points"] != POOL_FEES.flat.lp_bps


def _is_gift(event: str, known: Reserves, before: Reserves) -> bool:
    """Anyone may send coins or money to a pool's vaults; the curve's reserves are its own numbers."""
    return event != "TradeEvent" and before[0] >= known[0] and before[1] >= known[1] and before[2] == known[2]


def _curve(values: Values, in_sol: bool) -> tuple[bytes, Reserves, Reserves]:
    """The coin and its virtual reserves before and after. The event holds those after."""
    base = values["virtual_token_reserves"]
    quote = values["virtual_sol_reserves" if in_sol else "virtual_quote_reserves"]
    coins, net = values["token_amount"], values["sol_amount" if in_sol else "quote_amount"]
    if values["is_buy"]:
        return values["mint"], (base + coins, quote - net, 0), (base, quote, 0)
    return values["mint"], (base - coins, quote + net, 0), (base, quote, 0)


def _pool(values: Values) -> tuple[bytes, Reserves, Reserves]:
    """The pool and its vaults before and after. The event holds those before."""
    base, vault = values["pool_base_token_reserves"], values["pool_quote_token_reserves"]
    virtual = values.get("virtual_quote_reserves", 0)
    kept = kept_fees(values)
    if "base_amount_out" in values:
        base_after = base - values["base_amount_out"]
        moved = min(values["quote_amount_in"], values["user_quote_amount_in"])
    else:
        base_after, moved = base + values["base_amount_in"], -values["quote_amount_out"]
    now = (base_after, vault + moved + values["lp_fee"] + kept, virtual - kept)
    return values["pool"], (base, vault, virtual), now


def _text(reserves: Reserves) -> str:
    return ", ".join(map(str, reserves))
