"""What the journal adds up to: orders under way, positions, cash, results, and what was decided or bought before.

A pure fold: the same lines give the same ledger, live and after a crash. Lines carry changes, each of them one
statement of `sql/executor.sql` with its values, so that Postgres is the same fold. No files here, no database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from copytrader_core.errors import StoreError

Change = tuple[str, dict[str, Any]]
Result = tuple[int, int, str | None, str | None]
"""Time in ns, lamports; of a position also its coin and its leader."""

_TERMINAL: Final = ("LANDED_OK", "LANDED_ERR", "EXPIRED")
_MOVES: Final = frozenset({"FILL", "REVERTED", "MIGRATED", "EXPIRED", "ROLLED_BACK"})
_DAY_NS: Final = 86_400_000_000_000
# Far more than any provider replays; a buy that was planned is remembered for ever.
DECIDED_SLOTS: Final = 20_000
_KEPT_SIGNATURES: Final = 4_096
_MANY_RESULTS: Final = 1_000
_KEPT_GIVEN_UP: Final = 1_024
# Far more sales than can be under way: a value's last attempts end some seconds after the one that landed.
_KEPT_NONCES: Final = 256


@dataclass(slots=True)
class Ledger:
    """The fold so far. `intents` and `positions` hold the unfinished ones, as their table rows.

    What has landed is unfinished until the cluster has confirmed its block: a fork that is left takes it back.
    """

    intents: dict[str, dict[str, Any]] = field(default_factory=dict)
    positions: dict[str, dict[str, Any]] = field(default_factory=dict)
    quarantined: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Coins on chain that no position accounts for, by mint: reported, never traded."""
    bought: set[str] = field(default_factory=set)
    """Intent ids of every buy that was ever planned."""
    signatures: dict[str, int] = field(default_factory=dict)
    """The newest signatures of ours, oldest first."""
    cash_lamports: int = 0
    """What swaps, fees, tips, rents and deposits have brought on balance. Live it is the wallet's balance."""
    results: list[Result] = field(default_factory=list)
    """Closed positions and failed transactions of the last day."""
    given_up: dict[str, int] = field(default_factory=dict)
    """Coins that an order of ours may have brought although it was given up, or that were lost: mint -> slot or 0."""
    decided: dict[str, int] = field(default_factory=dict)
    """"SIGNATURE MINT" of leader buys that were decided on -> slot."""
    newest_slot: int = 0
    moved_slot: int = 0
    """The newest slot in which what we hold has moved by an order of ours, or turned out not to have."""
    spent: list[list[str]] = field(default_factory=list)
    """[nonce account, value] of what has landed for good, oldest first: what became of that sale is known."""

    def apply(self, line: Mapping[str, Any]) -> None:
        """Takes one line. Raises StoreError where it contradicts what came before."""
        for name, values in line.get("changes", ()):
            _APPLY[name](self, values)
        if line["kind"] == "DECISION":
            self.decided[decided_key(line["leader_sig"], line["mint"])] = line["slot"]
            self.newest_slot = max(self.newest_slot, line["slot"])
        elif line["kind"] in _MOVES:
            self.moved_slot = max(self.moved_slot, line["slot"] or 0)

    def snapshot(self) -> dict[str, Any]:
        """Everything, as JSON values, without what is too old to matter."""
        newest = max((result[0] for result in self.results), default=0)
        return {
            "intents": self.intents,
            "positions": self.positions,
            "quarantined": self.quarantined,
            "bought": sorted(self.bought),
            "signatures": self.signatures,
            "cash_lamports": self.cash_lamports,
            "results": [result for result in self.results if result[0] > newest - _DAY_NS],
            "given_up": self.given_up,
            "decided": {key: at for key, at in self.decided.items() if at >= self.newest_slot - DECIDED_SLOTS},
            "newest_slot": self.newest_slot,
            "moved_slot": self.moved_slot,
            "spent": self.spent,
        }

    def _plan(self, values: dict[str, Any]) -> None:
        identity = values["intent_id"]
        if identity in self.intents or identity in self.bought:
            raise StoreError(f"intent {identity} exists already: the journal is damaged")
        self.intents[identity] = {**values, "state": "PLANNED"}
        if values["side"] == "BUY":
            self.bought.add(identity)

    def _move_intent(self, values: dict[str, Any]) -> None:
        intent = self.intents.get(values["intent_id"])
        if intent is None or intent["state"] != values["from"]:
            raise StoreError(f"intent {values['intent_id']} is not {values['from']}: the journal is damaged")
        if values["from"] == "LANDED_ERR":
            self._unbook(intent["payload"])
        intent["state"] = values["to"]
        intent["payload"] = {**intent["payload"], **values["payload"]}
        if values["to"] == "LANDED_ERR":
            facts = values["payload"]
            self._result((facts["landed_ts_ns"], -facts["cost_lamports"], None, None))
            self.cash_lamports -= facts["cost_lamports"]
        if "signature" in values["payload"]:
            self.signatures[values["payload"]["signature"]] = intent["payload"]["decided_slot"]
            if len(self.signatures) > _KEPT_SIGNATURES:
                del self.signatures[next(iter(self.signatures))]
        if values["to"] == "EXPIRED" and values["from"] in ("SENT", "UNKNOWN") and intent["side"] == "BUY":
            self._give_up(intent["mint"])
        if values["to"] in _TERMINAL and values.get("final", True):
            self._spend(self.intents.pop(values["intent_id"]))

    def _spend(self, intent: Mapping[str, Any]) -> None:
        """An intent has come to its end: where it landed under a nonce, no other one under that value can."""
        nonce = intent["payload"].get("nonce")
        if nonce and intent["state"] != "EXPIRED":
            self.spent = [*self.spent[1 - _KEPT_NONCES :], [nonce["account"], nonce["value"]]]

    def _result(self, result: Result) -> None:
        self.results.append(result)
        if len(self.results) > _MANY_RESULTS and self.results[0][0] <= result[0] - _DAY_NS:
            self.results = [one for one in self.results if one[0] > result[0] - _DAY_NS]

    def _give_up(self, mint: str) -> None:
        self.given_up[mint] = self.newest_slot
        if len(self.given_up) > _KEPT_GIVEN_UP:
            del self.given_up[next(iter(self.given_up))]

    def _unbook(self, facts: Mapping[str, Any]) -> None:
        """A failed transaction's block was left behind: its fee is ours again."""
        self.results.remove((facts["landed_ts_ns"], -facts["cost_lamports"], None, None))
        self.cash_lamports += facts["cost_lamports"]

    def _confirm(self, values: dict[str, Any]) -> None:
        intent = self.intents.pop(values["intent_id"], None)
        if intent is None:
            raise StoreError(f"intent {values['intent_id']} is not under way: the journal is damaged")
        self._spend(intent)

    def _fill(self, values: dict[str, Any]) -> None:
        self.cash_lamports += fill_lamports(values)

    def _undo_fill(self, values: dict[str, Any]) -> None:
        self.cash_lamports -= fill_lamports(values)

    def _cash(self, values: dict[str, Any]) -> None:
        self.cash_lamports += values["lamports"]

    def _open(self, values: dict[str, Any]) -> None:
        self.positions[values["position_id"]] = {**values, "state": "OPEN"}

    def _undo_position(self, values: dict[str, Any]) -> None:
        del self.positions[self._held(values)["position_id"]]

    def _move_position(self, values: dict[str, Any]) -> None:
        position = self._held(values)
        position["state"] = values["state"]
        position["payload"] = {**position["payload"], **values["payload"]}

    def _resize(self, values: dict[str, Any]) -> None:
        self._held(values)["base_raw"] = values["base_raw"]

    def _close(self, values: dict[str, Any]) -> None:
        position = self._held(values)
        if values["reason"] == "missing":
            self._give_up(position["mint"])
        # What was found without a buy of ours is neither won nor lost.
        if position["leader"]:
            pnl = values["proceeds_lamports"] - position["cost_lamports"]
            self._result((values["ts_ns"], pnl, position["mint"], position["leader"]))
        del self.positions[values["position_id"]]

    def _reopen(self, values: dict[str, Any]) -> None:
        """A sale's block was left behind: `row` is the position as it was, `result` what its end had booked."""
        row, (at_ns, lamports) = values["row"], values["result"]
        if row["leader"]:
            self.results.remove((at_ns, lamports, row["mint"], row["leader"]))
        self.positions[values["position_id"]] = {**row, "state": "OPEN"}

    def _quarantine(self, values: dict[str, Any]) -> None:
        if values["amount_raw"]:
            self.quarantined[values["mint"]] = values
        else:
            self.quarantined.pop(values["mint"], None)

    def _nothing(self, values: dict[str, Any]) -> None:
        """What concerns the tables alone."""

    def _held(self, values: dict[str, Any]) -> dict[str, Any]:
        position = self.positions.get(values["position_id"])
        if position is None:
            raise StoreError(f"position {values['position_id']} is not open: the journal is damaged")
        return position


_APPLY: Final = {
    "plan_intent": Ledger._plan,
    "move_intent": Ledger._move_intent,
    "confirm_intent": Ledger._confirm,
    "fill": Ledger._fill,
    "undo_fill": Ledger._undo_fill,
    "cash": Ledger._cash,
    "open_position": Ledger._open,
    "undo_position": Ledger._undo_position,
    "move_position": Ledger._move_position,
    "resize_position": Ledger._resize,
    "close_position": Ledger._close,
    "reopen_position": Ledger._reopen,
    "quarantine": Ledger._quarantine,
    "flatten_done": Ledger._nothing,
}


def fill_lamports(values: Mapping[str, Any]) -> int:
    """What a fill did to the balance."""
    swapped = values["quote_lamports"] if values["side"] == "SELL" else -values["quote_lamports"]
    return int(swapped - values["tx_fee_lamports"] - values["tip_lamports"] - values.get("rent_lamports", 0))


def decided_key(leader_sig: str, mint: str) -> str:
    """The key of `Ledger.decided`."""
    return f"{leader_sig} {mint}"


def ledger_from(snapshot: Mapping[str, Any]) -> Ledger:
    """The ledger that a snapshot stands for; an empty one for an empty snapshot."""
    if not snapshot:
        return Ledger()
    results = [(at, won, *(about or (None, None))) for at, won, *about in snapshot["results"]]
    return Ledger(**{**snapshot, "bought": set(snapshot["bought"]), "results": results})
