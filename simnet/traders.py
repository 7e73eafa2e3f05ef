"""The cast of the planted market: who they are, how they exit, how often they are right, and who copies whom.

What they do minute by minute is `simnet.plan`'s and `simnet.market`'s.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, get_args

from copytrader_core.records import LAMPORTS_PER_SOL, ExitStyle
from simnet.desk import Version, Wallet, Wire, keypair
from simnet.truth import Edge, Planted

STARTING_LAMPORTS = 2_000 * LAMPORTS_PER_SOL


@dataclass(frozen=True, slots=True)
class Leader:
    """A planted trader. `skill`: share of entries into coins that will rise; `hold_s`: its time stop or patience."""

    name: str
    style: ExitStyle
    size_sol: float
    skill: float
    hold_s: float
    target_x: float | None
    version: Version
    wire: Wire
    tip_lamports: int = 0
    bag_share: float = 0.0


@dataclass(frozen=True, slots=True)
class Copier:
    """Buys what `source` buys, after a lag around `lag_ms`, with a probability; then leaves when the source does."""

    name: str
    source: str
    probability: float
    lag_ms: int
    size_sol: float
    version: Version = "v3_exact"
    wire: Wire = "v0"
    tip_lamports: int = 0


@dataclass(frozen=True, slots=True)
class Sniper:
    """Buys most coins within seconds of their launch and is gone within a minute."""

    name: str
    probability: float
    size_sol: float
    version: Version


LEADERS: Final = (
    Leader("Marlowe", "time_stop", 1.0, 0.75, 30, None, "v3_exact", "v0", 1_000_000),
    Leader("Okoye", "target_x", 0.8, 0.85, 150, 1.3, "v3_exact", "v0", 500_000),
    Leader("Ferro", "scale_out", 1.5, 0.70, 54, None, "v2_exact", "v0"),
    Leader("Tanaka", "panic_dump", 0.6, 0.20, 240, None, "v3", "v1"),
    Leader("Lindqvist", "time_stop", 0.5, 0.65, 75, None, "legacy_exact", "table", 200_000),
    Leader("Delacroix", "target_x", 1.2, 0.62, 90, 1.1, "v3", "v0"),
    Leader("Ibsen", "mixed", 0.7, 0.15, 45, 1.3, "legacy", "v0", 0, 0.04),
    Leader("Vasquez", "panic_dump", 0.9, 0.12, 60, None, "v2", "table", 0, 0.02),
    Leader("Brandt", "time_stop", 0.4, 0.85, 18, None, "legacy", "legacy"),
)
COPIERS: Final = (
    Copier("echo-1", "Marlowe", 0.80, 1_200, 0.30, tip_lamports=300_000),
    Copier("echo-2", "Marlowe", 0.60, 2_400, 0.25, "v3"),
    Copier("echo-3", "Marlowe", 0.45, 5_600, 0.20, "legacy_exact", "legacy"),
    Copier("shade-1", "Okoye", 0.75, 800, 0.40, tip_lamports=800_000),
    Copier("shade-2", "Okoye", 0.55, 3_200, 0.25, "v2_exact"),
    Copier("trail-1", "Ferro", 0.65, 2_000, 0.35),
    Copier("lag-1", "Lindqvist", 0.50, 4_000, 0.20, "v3_exact", "table"),
    Copier("second-hand", "shade-1", 0.70, 2_800, 0.20),
)
SNIPERS: Final = (Sniper("early-bird", 0.55, 0.25, "v3_exact"), Sniper("first-light", 0.25, 0.20, "legacy_exact"))
N_CREATORS: Final = 12
N_CROWD: Final = 64


@dataclass(slots=True)
class Cast:
    """Every wallet of the market by name, and the plan of each."""

    wallets: dict[str, Wallet] = field(default_factory=dict)
    leaders: Sequence[Leader] = LEADERS
    copiers: Sequence[Copier] = COPIERS
    snipers: Sequence[Sniper] = SNIPERS
    creators: list[Wallet] = field(default_factory=list)
    crowd: list[Wallet] = field(default_factory=list)

    def copiers_of(self, name: str) -> list[Copier]:
        """Who copies the wallet of this name."""
        return [copier for copier in self.copiers if copier.source == name]

    def edges(self) -> list[Edge]:
        """The planted edges, by address."""
        return [Edge(self._address(c.source), self._address(c.name), c.probability, c.lag_ms) for c in self.copiers]

    def planted(self) -> list[Planted]:
        """Every wallet with what was planted about it."""
        rows = [
            Planted(
                x.name,
                self._address(x.name),
                "leader",
                x.style,
                round(x.hold_s * 1000),
                x.target_x,
                round(x.size_sol * LAMPORTS_PER_SOL),
                x.skill,
            )
            for x in self.leaders
        ]
        rows += [self._other(c.name, "copier", c.size_sol) for c in self.copiers]
        rows += [self._other(s.name, "sniper", s.size_sol) for s in self.snipers]
        rows += [Planted(w.name, str(w.pubkey), "creator") for w in self.creators]
        return rows + [Planted(w.name, str(w.pubkey), "crowd") for w in self.crowd]

    def _other(self, name: str, role: str, size_sol: float) -> Planted:
        return Planted(name, self._address(name), role, size_lamports=round(size_sol * LAMPORTS_PER_SOL))

    def _address(self, name: str) -> str:
        return str(self.wallets[name].pubkey)


_WIRES: Final[tuple[Wire, ...]] = ("legacy", "v0", "v0", "table", "v1")


def assemble(seed: int, rng: random.Random) -> Cast:
    """The cast of a seed: planted wallets as written above, a crowd with habits drawn from `rng`."""
    cast = Cast()

    def add(name: str, version: Version, wire: Wire, tip_lamports: int = 0) -> Wallet:
        priority = rng.choice((0, 20_000, 100_000, 500_000))
        wallet = Wallet(
            name, keypair(seed, name), version, wire, priority, tip_lamports, closes_accounts=rng.random() < 0.6
        )
        cast.wallets[name] = wallet
        return wallet

    for member in (*LEADERS, *COPIERS):
        add(member.name, member.version, member.wire, member.tip_lamports)
    for sniper in SNIPERS:
        add(sniper.name, sniper.version, "v0", 1_500_000)
    cast.creators = [add(f"creator-{n}", "v3_exact", "v0") for n in range(1, N_CREATORS + 1)]
    versions = get_args(Version)
    for n in range(1, N_CROWD + 1):
        tip = rng.choice((0, 0, 0, 100_000))
        cast.crowd.append(add(f"crowd-{n}", rng.choice(versions), rng.choice(_WIRES), tip))
    return cast
