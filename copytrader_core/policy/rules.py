"""Exit rules by name: a clock, a target, a trailing stop, the leader's own sale, whichever comes first.

The rules of FAMILY are what every copy is replayed under; the best of them for a leader is what a position of that
leader is sold by. Not here: which rule is chosen (`leader_exits`), and the check against clock and market (`exits`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from copytrader_core.errors import ConfigError
from copytrader_core.policy.exits import seed_exit
from copytrader_core.policy.values import ExitPlan
from copytrader_core.records import CopyValue, Pattern
from copytrader_core.settings import Settings

__all__ = ["DEFAULT", "FAMILY", "SEED", "ExitRule", "chosen_exit", "parse", "plan"]

SEED: Final = "seed"
"""The name under which the seed's exit stands beside these rules; it is the leader's fingerprint, not one of them."""
_MS: Final = 1_000


@dataclass(frozen=True, slots=True)
class ExitRule:
    """Sells at the first of: `timer_ms` after entry, the multiple `target_x`, a fall by `trailing_fraction` below the
    peak since entry, the leader's sale. None never sells. Multiples are those of `ExitPlan`.

    Raises ConfigError for numbers that no exit can have.
    """

    timer_ms: int | None = None
    target_x: float | None = None
    trailing_fraction: float | None = None
    on_leader_sell: bool = False

    def __post_init__(self) -> None:
        timer, target, trail = self.timer_ms, self.target_x, self.trailing_fraction
        if timer is not None and timer <= 0:
            raise ConfigError(f"an exit's timer must be above 0 ms, found {timer}")
        if target is not None and not 0 < target < float("inf"):
            raise ConfigError(f"an exit's target must be a multiple above 0, found {target}")
        if trail is not None and not 0 < trail < 1:
            raise ConfigError(f"an exit's trail must be a share between 0 and 1, found {trail}")

    def __str__(self) -> str:
        """`timer=20s target=1.5 trail=0.25 mirror`; `parse` gives the same rule back. `hold` has none of them."""
        words = []
        if self.timer_ms is not None:
            seconds, rest = divmod(self.timer_ms, _MS)
            words.append(f"timer={self.timer_ms}ms" if rest else f"timer={seconds}s")
        if self.target_x is not None:
            words.append(f"target={_decimal(self.target_x)}")
        if self.trailing_fraction is not None:
            words.append(f"trail={_decimal(self.trailing_fraction)}")
        if self.on_leader_sell:
            words.append("mirror")
        return " ".join(words) or "hold"

    @property
    def conditions(self) -> int:
        """How many conditions can sell: of two rules that are equally good the one with fewer is taken."""
        parts = (self.timer_ms, self.target_x, self.trailing_fraction)
        return sum(part is not None for part in parts) + self.on_leader_sell


class _Chosen(NamedTuple):
    """The exit of one leader, and what it follows from."""

    pattern: Pattern
    value: CopyValue | None
    settings: Settings
    plan: ExitPlan


_MAX_CHOSEN: Final = 2_048
_chosen: Final[dict[tuple[int, int, int], _Chosen]] = {}


@lru_cache(maxsize=1024)
def parse(text: str) -> ExitRule:
    """The rule of a text. Raises ConfigError that names the word that is none of its words."""
    found: dict[str, int | float | bool] = {}
    for word in text.split() if text != "hold" else ():
        name, _, value = word.partition("=")
        try:
            field, number = _FIELDS[name](value)
        except (KeyError, ValueError) as error:
            raise ConfigError(
                f"{word!r} of the exit rule {text!r} is not timer=20s, target=1.5, trail=0.25 or mirror"
            ) from error
        if field in found:
            raise ConfigError(f"the exit rule {text!r} says {name} twice")
        found[field] = number
    if not found and text != "hold":
        raise ConfigError("an exit rule must not be empty: the one that never sells by itself is 'hold'")
    return ExitRule(**found)  # type: ignore[arg-type]


def plan(rule: ExitRule, pattern: Pattern, settings: Settings) -> ExitPlan:
    """The exit of a position under `rule`, killed at the horizon up to which the rule was replayed.

    Trailing counts from the entry on, as it was replayed. A `stop_x` of the settings stands beside the rule: it is the
    user's own limit.
    """
    horizon_ms = int(settings.copies.horizon_seconds * _MS)
    stop = settings.policy.stop_x
    reasons = {"kill": f"horizon of the replayed copies, {horizon_ms} ms"}
    of_rule = f"rule '{rule}' of {pattern.alias or pattern.wallet}"
    if rule.timer_ms is not None:
        reasons["timer"] = of_rule
    if rule.target_x is not None:
        reasons["target"] = of_rule
    if rule.trailing_fraction is not None:
        reasons["trailing"] = of_rule
    if rule.on_leader_sell:
        reasons["leader_sold"] = of_rule
    if stop is not None:
        reasons["adverse"] = f"at {stop}x of the cost (settings)"
    return ExitPlan(
        timer_ms=rule.timer_ms,
        target_x=rule.target_x,
        kill_ms=horizon_ms,
        on_leader_sell=rule.on_leader_sell,
        reasons=reasons,
        trailing_fraction=rule.trailing_fraction,
        trailing_from_x=None,
        stop_x=stop,
    )


def chosen_exit(pattern: Pattern, value: CopyValue | None, settings: Settings) -> ExitPlan:
    """The exit that `policy.exit` asks for: the seed's, or that of the rule chosen for the leader, else of DEFAULT.

    No event changes it. Remembered by identity: all three are frozen, and what is remembered keeps them alive.
    """
    key = (id(pattern), id(value), id(settings))
    known = _chosen.get(key)
    if known is None:
        if len(_chosen) >= _MAX_CHOSEN:
            _chosen.clear()
        known = _chosen[key] = _Chosen(pattern, value, settings, _new_exit(pattern, value, settings))
    return known.plan


def _new_exit(pattern: Pattern, value: CopyValue | None, settings: Settings) -> ExitPlan:
    if settings.policy.exit != "value":
        return seed_exit(pattern, settings.policy)
    return plan(DEFAULT if value is None else parse(value.rule), pattern, settings)


def _decimal(number: float) -> str:
    return repr(float(number)).removesuffix(".0")


def _timer(value: str) -> tuple[str, int]:
    if value.endswith("ms"):
        return "timer_ms", int(value[:-2])
    if not value.endswith("s"):
        raise ValueError(value)
    return "timer_ms", int(value[:-1]) * _MS


def _target(value: str) -> tuple[str, float]:
    return "target_x", float(value)


def _trail(value: str) -> tuple[str, float]:
    return "trailing_fraction", float(value)


def _mirror(value: str) -> tuple[str, bool]:
    if value:
        raise ValueError(value)
    return "on_leader_sell", True


_FIELDS: Final = {"timer": _timer, "target": _target, "trail": _trail, "mirror": _mirror}

_TIMERS: Final = (1, 2, 5, 10, 20, 40, 90, 180, 600)
# A target or a trail needs time to be reached: pairs that the clock nearly always decides are left out.
_TARGETS: Final = {
    5: (1.15, 1.4),
    10: (1.15, 1.4),
    20: (1.15, 1.4, 2.0),
    40: (1.15, 1.4, 2.0),
    90: (1.4, 2.0, 3.0),
    180: (1.4, 2.0, 3.0),
    600: (1.4, 2.0, 3.0),
}
_TRAILS: Final = {10: (0.2,), **dict.fromkeys((20, 40, 90, 180, 600), (0.2, 0.35))}
_BOTH: Final = (
    *((seconds, 2.0, trail) for seconds in (40, 90, 180, 600) for trail in (0.2, 0.35)),
    *((seconds, 3.0, 0.35) for seconds in (180, 600)),
)
_MIRRORS: Final[tuple[tuple[int, float | None, float | None], ...]] = (
    *((seconds, None, None) for seconds in (20, 40, 90, 180, 600)),
    *((seconds, 2.0, None) for seconds in (90, 600)),
    *((seconds, None, 0.35) for seconds in (90, 600)),
    (40, 1.4, None),
)

FAMILY: Final[tuple[ExitRule, ...]] = (
    *(ExitRule(seconds * _MS) for seconds in _TIMERS),
    *(ExitRule(seconds * _MS, target) for seconds, targets in _TARGETS.items() for target in targets),
    *(ExitRule(seconds * _MS, None, trail) for seconds, trails in _TRAILS.items() for trail in trails),
    *(ExitRule(seconds * _MS, target, trail) for seconds, target, trail in _BOTH),
    *(ExitRule(seconds * _MS, target, trail, True) for seconds, target, trail in _MIRRORS),
)
"""Every rule that is tried for every leader, all of them with a clock as the last word."""
DEFAULT: Final = ExitRule(20 * _MS, on_leader_sell=True)
"""The rule of a leader for whom none has been chosen: out when it is out, and after 20 s in any case."""
