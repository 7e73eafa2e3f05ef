"""What goes wrong on a live chain, how often, and what goes wrong next. Doing it is the chain's and the servers'."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from copytrader_core.errors import ConfigError

__all__ = ["Faults", "parse_faults"]


@dataclass(slots=True)
class Faults:
    """The fault menu. Fields without a unit are probabilities: per delivery, per slot or per request.

    Everything may be changed while the chain runs; `once(name)` makes a fault strike at its next opportunity.
    """

    # A transaction on its way.
    drop: float = 0.0
    late: float = 0.0
    late_slots: int = 8
    duplicate: float = 0.0
    # A competing buy right before it, for `front_run_share` of the coin's quote reserves.
    front_run: float = 0.0
    front_run_share: float = 0.5
    # QUIC ports let clients in and give them no stream.
    tpu_parked: bool = False
    # Slots and forks.
    leader_skip: float = 0.0
    rollback: float = 0.0
    # How likely a transaction of a block left behind is carried over to the fork that stays.
    reland: float = 0.0
    # The node that answers: errors, silence, and answers of so many slots ago.
    rpc_429: float = 0.0
    rpc_timeout: float = 0.0
    rpc_timeout_ms: int = 5_000
    stale_slots: int = 0
    # Statuses are null until a transaction is so many slots old.
    status_null_slots: int = 0
    # getLatestBlockhash repeats itself.
    blockhash_stall: bool = False
    # The stream is cut off.
    stream_cut: float = 0.0
    # The market: a curve sold out in one trade, a coin's creator replaced, migrations so much later, pump upgraded.
    complete: float = 0.0
    creator_change: float = 0.0
    migration_delay_slots: int = 0
    # Every instruction of the pump program fails with 4100, a code that its interface does not list.
    program_upgrade: bool = False
    seed: int = 0
    _next: Counter[str] = field(default_factory=Counter)
    _rng: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self._rng = random.Random(self.seed)

    def once(self, name: str, times: int = 1) -> None:
        """Lets a fault strike at its next opportunities, whatever its probability. Raises ConfigError."""
        if name not in _PROBABILITIES:
            raise ConfigError(f"{name!r} cannot strike once; what can: {', '.join(_PROBABILITIES)}")
        self._next[name] += times

    def strikes(self, name: str) -> bool:
        """Whether this fault happens now."""
        if self._next[name] > 0:
            self._next[name] -= 1
            return True
        probability = float(getattr(self, name))
        return probability > 0 and self._rng.random() < probability

    def set(self, values: Mapping[str, Any]) -> None:
        """Changes fields by name, all of them or none. Raises ConfigError for an unknown one or a wrong value."""
        read = {name: _read(name, value) for name, value in values.items()}
        for name, value in read.items():
            setattr(self, name, value)

    def values(self) -> dict[str, float | int | bool]:
        """What is set, by name."""
        return {name: getattr(self, name) for name in _KINDS}


_KINDS: dict[str, str] = {f.name: str(f.type) for f in fields(Faults) if f.name not in ("seed", "_next", "_rng")}
_PROBABILITIES = tuple(name for name, kind in _KINDS.items() if kind == "float" and name != "front_run_share")


def _read(name: str, value: Any) -> float | int | bool:
    kind = _KINDS.get(name)
    if kind is None:
        raise ConfigError(f"there is no fault {name!r}; there are: {', '.join(_KINDS)}")
    try:
        number = (
            float(value) if not isinstance(value, str) or value not in ("true", "false") else float(value == "true")
        )
    except (TypeError, ValueError):
        raise ConfigError(f"fault {name} must be a number, found {value!r}") from None
    if number < 0 or (name in _PROBABILITIES and number > 1) or (kind != "float" and number != int(number)):
        expected = "a probability of 0 to 1" if name in _PROBABILITIES else f"{kind}, not negative"
        raise ConfigError(f"fault {name} must be {expected}, found {value!r}")
    return number if kind == "float" else bool(number) if kind == "bool" else int(number)


def parse_faults(text: str, seed: int = 0) -> Faults:
    """Reads "drop=0.1,late=0.2,late_slots=12". Raises ConfigError."""
    faults = Faults(seed=seed)
    pairs = [pair.partition("=") for pair in text.split(",") if pair.strip()]
    faults.set({name.strip(): value.strip() for name, _, value in pairs})
    return faults
