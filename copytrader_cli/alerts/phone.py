"""What a chat may ask and order: status, positions; reduce, halt, flatten and resume, where that is switched on.

Whatever could cost money by a slip of the thumb has to be confirmed within a minute, by a code that is good once and
dies with the process. Orders are taken in a private chat only, where nobody else reads the code, and only fresh ones:
what lay at Telegram while this process was down is not carried out later.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from copytrader_cli.watch.look import Facts
from copytrader_cli.watch.press import BUTTONS, Button
from copytrader_core.records import LAMPORTS_PER_SOL
from executor.status import exits_of

__all__ = ["Message", "Phone", "message_of"]

_CONFIRMED: Final = ("halt", "flatten", "resume")
_CONFIRM_SECONDS: Final = 60.0
_STALE_SECONDS: Final = 120.0
_MOST_WORDS: Final = 120
_MOST_POSITIONS: Final = 30
_MEANING: Final = {
    "halt": "stop everything, exits too",
    "flatten": "sell everything that is held, now",
    "resume": "allow buys again",
}

Look = Callable[[], Awaitable[Facts]]
Press = Callable[[Button, str], Awaitable[str]]
"""Presses a button for a reason, and says what came of it."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message to the bot. `at` is when it was sent, unix seconds by Telegram's clock."""

    update_id: int
    chat_id: int
    user_id: int
    private: bool
    forwarded: bool
    at: float
    text: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """What waits for its code; `by` is whose answer counts, `until` by the monotonic clock."""

    button: Button
    why: str
    code: str
    by: int
    until: float


class Phone:
    """Answers the listed chats. Others get no answer: they are not even told that there is somebody."""

    def __init__(self, chat_ids: Collection[int], look: Look, press: Press, *, control: bool) -> None:
        self._chat_ids = frozenset(chat_ids)
        self._look = look
        self._press = press
        self._control = control
        self._asked: dict[int, _Asked] = {}

    def listens_to(self, message: Message) -> bool:
        """Whether the message comes from a listed chat."""
        return message.chat_id in self._chat_ids

    async def answer(self, message: Message) -> str | None:
        """What to say to it; None to what is no command. Orders have been carried out when this returns."""
        words = message.text.split()
        if not words:
            return None
        name = words[0].lstrip("/").partition("@")[0].lower()
        if name.isdigit() and len(words) == 1:
            return await self._confirmed(message, name)
        # Any other word takes an unconfirmed order back.
        self._asked.pop(message.chat_id, None)
        if name == "status":
            return status_text(await self._look())
        if name == "positions":
            return positions_text(await self._look())
        button = next((one for one in BUTTONS if one == name), None)
        if button is not None:
            return await self._ordered(message, button, " ".join(words[1:])[:_MOST_WORDS])
        return self._help() if words[0].startswith("/") else None

    async def _ordered(self, message: Message, button: Button, why: str) -> str:
        if (refusal := self._refusal(message)) is not None:
            return refusal
        if button not in _CONFIRMED:
            return await self._press(button, _reason(message, why))
        code = f"{secrets.randbelow(1_000_000):06d}"
        until = time.monotonic() + _CONFIRM_SECONDS
        self._asked[message.chat_id] = _Asked(button, why, code, message.user_id, until)
        return f"{button.capitalize()}: {_MEANING[button]}. Send {code} within a minute to confirm."

    async def _confirmed(self, message: Message, code: str) -> str:
        asked = self._asked.pop(message.chat_id, None)
        if asked is None or asked.by != message.user_id:
            return "Nothing waits for a code. Nothing was done."
        if time.monotonic() > asked.until:
            return f"The code is too old. Nothing was done: send /{asked.button} again."
        if not secrets.compare_digest(code.encode(), asked.code.encode()):
            return f"That is not the code. Nothing was done: send /{asked.button} again."
        if (refusal := self._refusal(message)) is not None:
            return refusal
        return await self._press(asked.button, _reason(message, asked.why))

    def _refusal(self, message: Message) -> str | None:
        if not self._control:
            return "Not done: this bot only answers questions. Set alerts.control = true to let it act."
        if not message.private or message.forwarded:
            return "Not done: orders are taken in a private chat with the bot only, and not forwarded."
        late = time.time() - message.at
        if late > _STALE_SECONDS:
            return (
                f"Not done: this came {late / 60:.0f} minutes late (or this machine's clock is wrong). Send it again."
            )
        return None

    def _help(self) -> str:
        orders = "\n/reduce /halt /flatten /resume, with a reason behind it if you like" if self._control else ""
        return f"/status /positions{orders}"


def message_of(update: Mapping[str, Any]) -> Message | None:
    """The message in an update of the Bot API; None where there is none, or no text in it."""
    found = update.get("message")
    if not isinstance(found, Mapping) or not isinstance(found.get("text"), str):
        return None
    chat, user = found.get("chat") or {}, found.get("from") or {}
    return Message(
        update_id=int(update["update_id"]),
        chat_id=int(chat.get("id", 0)),
        user_id=int(user.get("id", 0)),
        private=chat.get("type") == "private",
        forwarded="forward_origin" in found,
        at=float(found.get("date", 0)),
        text=found["text"],
    )


def status_text(facts: Facts) -> str:
    """Everything at a glance, in a few lines. What is not known is said to be so."""
    status, ingest = facts.status, facts.ingest
    why = f" ({status.reason})" if status.reason else ""
    lines = [f"{facts.mode}: {status.state}{', selling everything' if status.flatten else ''}{why}"]
    process = "runs" if status.running else "is not known" if facts.is_blind else "does not run"
    lines.append(f"executor {process}, release {_release(facts)}")
    if facts.has_book:
        cost = sum(row["cost_lamports"] for row in status.positions) / LAMPORTS_PER_SOL
        lines.append(f"{len(status.positions)} open, cost {cost:.3f} SOL")
        pnl = status.pnl_today_lamports / LAMPORTS_PER_SOL
        lines.append(f"today {pnl:+.4f} SOL, {status.closed_today} closed, {status.won_today} won")
    else:
        lines.append("no journal is here" if facts.is_blind else "nothing has been journalled yet")
    if facts.journal_problem:
        lines.append(f"the journal cannot be read: {facts.journal_problem}")
    if ingest is None:
        lines.append(f"Postgres is away: {facts.away}")
    else:
        lag = "nothing recorded yet" if ingest.lag_seconds is None else f"{ingest.lag_seconds:.0f} s behind"
        lines.append(f"ingest {lag}, {ingest.missing_slots} slots missing")
    return "\n".join(lines)


def positions_text(facts: Facts) -> str:
    """One line a position, the time to its exits in seconds."""
    rows = facts.status.positions
    if not facts.has_book:
        return "Not known: no journal is here." if facts.is_blind else "Nothing has been journalled yet."
    lines = []
    for row in rows[:_MOST_POSITIONS]:
        mark, cost = row.get("mark_lamports"), row["cost_lamports"]
        worth = f", {mark / cost:.2f}x" if mark is not None and cost else ""
        exits = [
            f"{name} {seconds:.0f} s" for name, seconds in exits_of(row, facts.status.now_ns) if seconds is not None
        ]
        leader = row["leader"] or "nobody"
        name = leader if len(leader) <= 14 else f"{leader[:5]}…{leader[-4:]}"
        lines.append(f"{name} {row['mint'][:5]}… {cost / LAMPORTS_PER_SOL:.3f} SOL{worth}, {', '.join(exits)}")
    if len(rows) > _MOST_POSITIONS:
        lines.append(f"and {len(rows) - _MOST_POSITIONS} more")
    return "\n".join(lines) or "Nothing is held."


def _release(facts: Facts) -> str:
    status = facts.status
    if status.release_id is None:
        return "none"
    age = status.release_age_seconds
    return f"{status.release_as_of or status.release_id}" + (f", {age / 3600:.0f} h old" if age is not None else "")


def _reason(message: Message, why: str) -> str:
    words = "".join(c if c.isprintable() else " " for c in why)
    return f"by telegram, user {message.user_id}" + (f": {words}" if words else "")
