"""What goes wrong, and how often: a menu of probabilities, drawn from the seed. Doing it is the world's."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Final

_TYPICAL: Final = {
    "send_dropped": 0.2,
    "send_late": 0.25,
    "send_twice": 0.2,
    "route_rate_limited": 0.15,
    "route_refused": 0.1,
    "route_unreachable": 0.1,
    "route_timeout_lost": 0.1,
    "route_timeout_delivered": 0.1,
    "rpc_busy": 0.1,
    "rpc_timeout": 0.06,
    "rpc_stalls": 0.03,
    "status_null": 0.3,
    "fork": 0.05,
    "lost_on_fork": 0.4,
    "stream_gap": 0.015,
    "stream_replay": 0.5,
    "front_run": 0.25,
    "leader_skip": 0.05,
    "blockhash_stall": 0.01,
}


@dataclass(slots=True)
class Faults:
    """Probabilities per send, per call, per slot or per block, each of 0 to 1.

    `send_*`: a transaction on its way. `route_*`: what a route answers; of the timeouts one has lost the bytes, the
    other has delivered them. `rpc_busy` 429, `rpc_timeout` no answer, `rpc_stalls` a node stands still for a while (per
    slot). `status_null`: the one node that is bad in this world does not know a signature that has landed. `fork` (per
    slot): one to three blocks that will be left behind; `lost_on_fork`: a transaction of theirs does not land again by
    itself. `stream_gap` (per slot): updates of some slots are not delivered; `stream_replay`: they are, later and
    partly twice, and a new process is shown slots that the one before it has seen. `front_run`: somebody buys right
    before our buy. `blockhash_stall` (per slot): getLatestBlockhash repeats itself for a while.
    """

    seed: int = 0
    send_dropped: float = 0.0
    send_late: float = 0.0
    send_twice: float = 0.0
    route_rate_limited: float = 0.0
    route_refused: float = 0.0
    route_unreachable: float = 0.0
    route_timeout_lost: float = 0.0
    route_timeout_delivered: float = 0.0
    rpc_busy: float = 0.0
    rpc_timeout: float = 0.0
    rpc_stalls: float = 0.0
    status_null: float = 0.0
    fork: float = 0.0
    lost_on_fork: float = 0.0
    stream_gap: float = 0.0
    stream_replay: float = 0.0
    front_run: float = 0.0
    leader_skip: float = 0.0
    blockhash_stall: float = 0.0
    struck: Counter[str] = field(default_factory=Counter)
    """How often each has happened."""
    rng: random.Random = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(f"{self.seed}/faults")

    @classmethod
    def drawn(cls, seed: int) -> Faults:
        """The menu of a seed: each fault is off, rare or frequent; every eighth world has none at all."""
        rng = random.Random(f"{seed}/menu")
        if seed % 8 == 0:
            return cls(seed)
        share = {name: rng.choice((0.0, 0.4, 1.0, 1.0, 2.0)) for name in _TYPICAL}
        drawn = cls(seed)
        for name, typical in _TYPICAL.items():
            setattr(drawn, name, min(0.9, typical * share[name]))
        return drawn

    def strikes(self, name: str) -> bool:
        """Whether this fault happens now."""
        probability = getattr(self, name)
        happens = bool(probability) and self.rng.random() < probability
        self.struck[name] += happens
        return happens

    def stop(self) -> None:
        """Nothing goes wrong any more."""
        for name in names():
            setattr(self, name, 0.0)


def names() -> list[str]:
    """Every fault of the menu."""
    return [one.name for one in fields(Faults) if one.name in _TYPICAL]
