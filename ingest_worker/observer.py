"""What the worker tells whoever watches it. Only the words are here: metrics, health and alarms are the observer's own.

Every call is made on the worker's event loop and must return at once and not raise: it stands between two messages.
"""

from __future__ import annotations

from collections.abc import Mapping


class Observer:
    """Hears what happens and does nothing; a subclass overrides what it wants to know."""

    def starting(self, endpoints: tuple[str, ...]) -> None:
        """The run begins; it does not have the database yet."""

    def standby(self, waiting: bool) -> None:
        """`waiting`: another worker has the database. False: the lock is ours, the work begins."""

    def ready(self) -> None:
        """The lock is ours and the checkpoint is known; the next thing is the subscription."""

    def stopping(self) -> None:
        """SIGTERM, SIGINT or idleness: what was read is being landed."""

    def alive(self) -> None:
        """The loop goes round: at least once a second, whether anything comes or not, also in standby and when the
        database is away."""

    def received(self, n_bytes: int, n_messages: int) -> None:
        """Messages that came from the stream, pings included."""

    def subscribed(self, endpoint: str, from_slot: int | None) -> None:
        """A subscription has been asked for; None is live."""

    def reconnect(self, reason: str, endpoint: str) -> None:
        """A subscription is over. `reason` is the failure's kind in a word: see docs/ingest.md."""

    def tip(self, slot: int) -> None:
        """The newest slot that the stream has spoken of, closed or not."""

    def stamped(self, slot: int, created_at_ns: int, recv_ns: int, lane: int) -> None:
        """The provider's `created_at` of a block or block_meta, the local time at which it came, and the stream that
        brought it."""

    def transactions(self, n: int) -> None:
        """Transactions that have been decoded."""

    def slot_closed(self, slot: int, block_time: int | None, recv_ns: int) -> None:
        """A slot is complete. `block_time` in unix seconds; `recv_ns`: local time at which its last message came."""

    def backlog(self, n_messages: int, n_bytes: int) -> None:
        """What waits between the stream and the database, about once a second."""

    def committed(self, slots: int, rows: int, duplicates: int, seconds: float) -> None:
        """A batch is in the database: new `rows`, `duplicates` that were there already, `seconds` it took."""

    def landed(self, slots: Mapping[int, int]) -> None:
        """The slots of a batch that is in the database, and the local time in ns at which the last message of each
        came."""

    def checkpoint(self, slot: int) -> None:
        """Where the next run would resume: moved by a commit, or found at the start."""

    def gaps_open(self, n: int) -> None:
        """Rows of ingest_gaps that are not filled, as the database has them: at the start and now and then."""

    def gap_opened(self, from_slot: int, to_slot: int, reason: str) -> None:
        """A hole has been written down in ingest_gaps; both ends belong to it."""

    def gap_filled(self, from_slot: int, to_slot: int) -> None:
        """A hole is whole."""

    def other_blockhash(self, slot: int) -> None:
        """A slot came again with another block than the one that is landed: another chain, or one taken back."""

    def dead_letter(self, n: int) -> None:
        """New dead letters that a batch has brought."""

    def undecodable(self, reason: str) -> None:
        """One dead letter of a batch that is in the database, new or not, with its reason as it stands in the table."""

    def drift(self, kind: str) -> None:
        """One sign that the programs do not behave as the code knows them; `kind` as in protocol_drift."""

    def database_away(self, seconds: float) -> None:
        """The database has not answered for so long; 0 when it is back."""


SILENT = Observer()
