"""Lines of a journal as the executor writes them, for what reads journals."""

from __future__ import annotations

from typing import Any

DAY = 86_400_000_000_000
NOON = 20_700 * DAY + DAY // 2


def line(kind: str, payload: dict[str, Any] | None = None, *, at_ns: int = NOON, **values: Any) -> dict[str, Any]:
    names = ("slot", "leader_sig", "leader", "mint", "intent_id", "release_id")
    empty: dict[str, Any] = dict.fromkeys(names)
    found = empty | {"kind": kind, "at_ns": at_ns, "run_id": "run", "mode": "paper", "payload": payload or {}}
    return found | {"changes": []} | values


def plan(intent: str, side: str, amount_in: int, expected_out: int, min_out: int, **document: Any) -> list[Any]:
    given = {"amount_in": amount_in, "expected_out": expected_out, "min_out": min_out} | document
    return ["plan_intent", {"intent_id": intent, "side": side, "payload": given}]


def decided(
    leader: str = "wallet", code: str = "ACCEPTED", latency_us: int = 80, value: int = 5_000, **values: Any
) -> dict[str, Any]:
    """A decision; with an `intent` it planned a buy of 1,000 coins for 10,000 lamports that may lose 3 %."""
    intent = values.pop("intent", None)
    numbers = {"expected_value_lamports": value}
    payload = {"inputs": {}, "decision": {"code": code, "entry": None, "numbers": numbers}, "latency_us": latency_us}
    changes = [plan(intent, "BUY", 10_000, 1_000, 970)] if intent else []
    return line("DECISION", payload, leader=leader, intent_id=intent, slot=7, changes=changes, **values)


def fill(intent: str, side: str, base_raw: int, quote_lamports: int, **payload: Any) -> dict[str, Any]:
    costs = {"swap_fee_lamports": 125, "tx_fee_lamports": 50, "tip_lamports": 20}
    kept = {key: payload.pop(key) for key in ("leader", "at_ns") if key in payload}
    whole = {"side": side, "base_raw": base_raw, "quote_lamports": quote_lamports} | costs | payload
    return line("FILL", whole, intent_id=intent, **({"leader": "wallet"} | kept))
