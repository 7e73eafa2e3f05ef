"""Which layouts of an event the programs have ever written, since when, and what its values may be.

Events grow at their tail, so a cut event looks like an older one and its amounts would be read by an older rule. An
event is therefore refused unless its last field ends one of the layouts below, and that layout was still written at the
event's own time. The dates are those of mainnet, each with a margin to the tolerant side: the day after a change that
is dated to the minute, later where only the month is known. How amounts become rows is not here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final

from copytrader_core.errors import DecodeError
from copytrader_core.pump.idl import EventCodec

_ALWAYS = "1970-01-01"

# event -> (last field of the layout, first day on which a shorter event can only be a cut one), oldest first.
# `unnamed_tail` (2026-10-19) is never demanded: the program of 2026-10-09, which the local chain runs, writes none.
_GROWTH: Final[Mapping[str, Sequence[tuple[str, str | None]]]] = {
    "TradeEvent": (
        ("virtual_token_reserves", _ALWAYS),
        ("real_token_reserves", "2024-08-01"),
        ("creator_fee", "2025-05-13"),
        ("last_update_timestamp", "2025-09-03"),
        ("ix_name", "2025-10-18"),
        ("mayhem_mode", "2025-12-01"),
        ("cashback", "2026-02-18"),
        ("real_quote_reserves", "2026-05-21"),
        ("holder_rewards", "2026-09-16"),
        ("creator_fee_unclaimed", "2026-10-07"),
        ("unnamed_tail", None),
    ),
    "BuyEvent": (
        ("protocol_fee_recipient_token_account", _ALWAYS),
        ("coin_creator_fee", "2025-05-13"),
        ("last_update_timestamp", "2025-09-03"),
        ("ix_name", "2025-10-18"),
        ("cashback", "2026-02-18"),
        ("buyback_fee", "2026-05-21"),
        ("base_supply", "2026-08-12"),
        ("holder_rewards", "2026-09-16"),
        ("creator_fee_unclaimed", "2026-10-08"),
        ("unnamed_tail", None),
    ),
    "SellEvent": (
        ("protocol_fee_recipient_token_account", _ALWAYS),
        ("coin_creator_fee", "2025-05-13"),
        ("cashback", "2026-02-18"),
        ("buyback_fee", "2026-05-21"),
        ("base_supply", "2026-08-12"),
        ("holder_rewards", "2026-09-16"),
        ("creator_fee_unclaimed", "2026-10-08"),
        ("unnamed_tail", None),
    ),
    "CreateEvent": (
        ("user", _ALWAYS),
        ("token_total_supply", "2025-05-13"),
        ("is_mayhem_mode", "2025-12-01"),
        ("is_cashback_enabled", "2026-02-18"),
        ("virtual_quote_reserves", "2026-05-21"),
        ("creator_fee_bps", "2026-09-16"),
        ("is_holder_reward", "2026-09-16"),
        ("depth", "2026-10-12"),
    ),
    "CompleteEvent": (("timestamp", _ALWAYS), ("quote_mint", "2026-05-21")),
}
# A slot some days after 2025-05-13, for CreateEvents that carry no time of their own in transactions without one.
_DATED_SLOT: Final = 342_000_000
_DATED_SLOT_TIME: Final = 1_747_699_200

MAX_BPS: Final = 10_000
_IX_NAME: Final = re.compile(r"[a-z][a-z0-9_]{1,63}")


@lru_cache(maxsize=256)
def is_ix_name(text: str) -> bool:
    """Whether an instruction can have this name."""
    return _IX_NAME.fullmatch(text) is not None


def _unix(day: str) -> int:
    return int(datetime.fromisoformat(day).replace(tzinfo=UTC).timestamp())


class Layouts:
    """The layouts of one event, by number of fields.

    `counts`: how many fields a layout has had; `dated`: (unix time since which an event has at least so many fields,
    that number), the newest first; `shares`: fields in basis points.
    """

    __slots__ = ("_codec", "counts", "dated", "shares")

    def __init__(self, codec: EventCodec) -> None:
        growth = _GROWTH.get(codec.name, ((codec.fields[-1], _ALWAYS),))
        counts = {codec.fields.index(last) + 1: since for last, since in growth}
        self._codec = codec
        self.counts = frozenset(counts)
        self.dated = [(_unix(since), count) for count, since in sorted(counts.items(), reverse=True) if since]
        self.shares = tuple(name for name in codec.fields if name.endswith(("_basis_points", "_bps")))

    def read(self, data: bytes, slot: int, written_at: int | None) -> dict[str, Any]:
        """The values of the event, its discriminator included in `data`.

        `written_at` (unix seconds) dates an event that carries no time of its own; without it the slot does.
        Raises DecodeError where the bytes are no whole event of their time, or hold what no event can hold.
        """
        values = self._codec.decode(data)
        count = len(values)
        if count not in self.counts:
            raise DecodeError(
                f"{self._codec.name} of {len(data)} bytes ends after a field that never was the last: it is cut"
            )
        at = values.get("timestamp", written_at)
        if at is None:
            at = _DATED_SLOT_TIME if slot >= _DATED_SLOT else 0
        least = 0
        for since, fields in self.dated:
            if at >= since:
                least = fields
                break
        if count < least:
            raise DecodeError(
                f"{self._codec.name} of {len(data)} bytes has a layout that was no longer written at its time "
                f"({datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M} UTC): it is cut"
            )
        self._check(values)
        return values

    def _check(self, values: Mapping[str, Any]) -> None:
        for name in self.shares:
            if name in values and values[name] > MAX_BPS:
                raise DecodeError(
                    f"{self._codec.name}.{name} is {values[name]}, above {MAX_BPS}: these bytes are no such event"
                )
        if values.get("timestamp", 0) < 0:
            raise DecodeError(f"{self._codec.name}.timestamp is negative: these bytes are no such event")
        ix_name = values.get("ix_name")
        if ix_name is not None and not is_ix_name(ix_name):
            raise DecodeError(f"{self._codec.name}.ix_name is no instruction's name: these bytes are no such event")
