"""Whether each coin and pool goes on where its last trade left it: a trade that was never seen leaves a step.

Remembers the reserves after the last trade of each, in memory only. It says nothing where it does not know: whoever
feeds it tells it when the stream had a hole.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final, NamedTuple

from copytrader_core.pump.decode import Decoded, Seen
from copytrader_core.pump.drift import Drift, drift
from copytrader_core.pump.drift_trades import Finding
from copytrader_core.pump.emissions import Frame
from copytrader_core.pump.fees import POOL_FEES
from copytrader_core.pump.rows import MONEY, Values, kept_fees
from copytrader_core.records import WSOL

CONTINUITY: Final = "continuity"

TRADES: Final = frozenset(
    {
        "buy", "sell", "buy_exact_sol_in", "buy_exact_quote_in", "buy_v2", "sell_v2", "buy_exact_quote_in_v2", "buy_v3",
        "sell_v3", "buy_exact_quote_in_v3", "multi_hop_swap", "multi_hop_curve_swap",
    }
)  # fmt: skip

_NONE: Final[frozenset[bytes]] = frozenset()

Reserves = tuple[int, int, int]
"""Coins, quote and the pool's signed virtual quote (0 on the curve)."""


class Step(NamedTuple):
    """One trade of a coin or pool, whose address is `key`: its reserves before and after."""

    key: bytes
    is_pool: bool
    before: Reserves
    after: Reserves

    def goes_on(self, known: Reserves | None) -> bool:
        """Whether the trade begins at `known`; anyone may send coins or money to a pool's vaults in between."""
        before = self.before
        if known is None or known == before:
            return True
        return self.is_pool and before[0] >= known[0] and before[1] >= known[1] and before[2] == known[2]


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
        others = [frame for frame in decoded.frames if frame.name not in TRADES]
        moved = _accounts(others, decoded.keys) if others else _NONE
        steps = [(seen.emission.frame, step) for seen in decoded.seen if (step := _step(seen)) is not None]
        found: list[Drift] = []
        self._begin_anew(moved)
        for frame, step in steps:
            if step.key in moved:
                continue
            known = self._take(step)
            if not step.goes_on(known):
                finding = Finding(
                    CONTINUITY, _text(known or ()), _text(step.before), "base, quote, virtual quote before the trade"
                )
                found.append(drift(frame, sig, finding))
        self._forget_oldest()
        return found

    def goes_on(self, moved: Collection[bytes], steps: Sequence[Step]) -> bool:
        """The same for a transaction whose steps are known; changes nothing where one of them does not go on."""
        latest: dict[bytes, Reserves] = {}
        for step in steps:
            if step.key not in moved and not step.goes_on(latest.get(step.key) or self._after.get(step.key)):
                return False
            latest[step.key] = step.after
        self._begin_anew(moved)
        for step in steps:
            if step.key not in moved:
                self._take(step)
        self._forget_oldest()
        return True

    def _begin_anew(self, moved: Collection[bytes]) -> None:
        for account in moved:
            self._after.pop(account, None)

    def _take(self, step: Step) -> Reserves | None:
        """Remembers the reserves after the step; those that were remembered before it."""
        known = self._after.pop(step.key, None)
        self._after[step.key] = step.after
        return known

    def _forget_oldest(self) -> None:
        while len(self._after) > self._max_coins:
            del self._after[next(iter(self._after))]


def _step(seen: Seen) -> Step | None:
    """What an event did to its coin or pool, None where that is not followed."""
    if seen.name == "TradeEvent":
        return _curve(seen.values, seen.quote == WSOL)
    if seen.name in ("BuyEvent", "SellEvent") and _is_followed(seen):
        return _pool(seen.values)
    return None


def _accounts(frames: Sequence[Frame], keys: Sequence[bytes]) -> frozenset[bytes]:
    """What these instructions may touch: all of the transaction where only its logs tell of one."""
    if any(frame.ix is None for frame in frames):
        return frozenset(keys)
    return frozenset([keys[index] for frame in frames if frame.ix is not None for index in frame.ix.accounts])


def _is_followed(seen: Seen) -> bool:
    """Pools of the programs' own coins against money. Issuers of other mints may take from a vault as they please."""
    return seen.quote in MONEY and seen.values["lp_fee_basis_points"] != POOL_FEES.flat.lp_bps


def _curve(values: Values, in_sol: bool) -> Step:
    """The coin and its virtual reserves. The event holds those after."""
    base = values["virtual_token_reserves"]
    quote = values["virtual_sol_reserves" if in_sol else "virtual_quote_reserves"]
    coins, net = values["token_amount"], values["sol_amount" if in_sol else "quote_amount"]
    sign = 1 if values["is_buy"] else -1
    return Step(values["mint"], False, (base + sign * coins, quote - sign * net, 0), (base, quote, 0))


def _pool(values: Values) -> Step:
    """The pool and its vaults. The event holds those before."""
    base, vault = values["pool_base_token_reserves"], values["pool_quote_token_reserves"]
    virtual = values.get("virtual_quote_reserves", 0)
    kept = kept_fees(values)
    if "base_amount_out" in values:
        base_after = base - values["base_amount_out"]
        moved = min(values["quote_amount_in"], values["user_quote_amount_in"])
    else:
        base_after, moved = base + values["base_amount_in"], -values["quote_amount_out"]
    after = (base_after, vault + moved + values["lp_fee"] + kept, virtual - kept)
    return Step(values["pool"], True, (base, vault, virtual), after)


def _text(reserves: Sequence[int]) -> str:
    return ", ".join(map(str, reserves))
