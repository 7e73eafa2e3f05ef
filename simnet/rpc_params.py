"""What callers of the JSON-RPC hand over: reading it, and refusing it in a node's words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from solders.pubkey import Pubkey
from solders.signature import Signature

__all__ = [
    "INVALID_PARAMS",
    "RefusalError",
    "address_of",
    "invalid",
    "json_only",
    "options_at",
    "settled",
    "signature_of",
    "slot_at",
]

INVALID_PARAMS = -32602


class RefusalError(Exception):
    """A JSON-RPC error."""

    def __init__(self, code: int, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.body = {"code": code, "message": message, **({"data": dict(data)} if data else {})}


def invalid(message: str) -> RefusalError:
    """The refusal of a parameter."""
    return RefusalError(INVALID_PARAMS, message)


def options_at(params: Sequence[Any], at: int) -> Mapping[str, Any]:
    """The options at a place among the parameters; a bare text is an encoding. Raises RefusalError."""
    found = params[at] if len(params) > at else None
    if found is None:
        return {}
    if isinstance(found, str):
        return {"encoding": found}
    if not isinstance(found, Mapping):
        raise invalid("Invalid params: expected an object of options")
    return found


def settled(options: Mapping[str, Any]) -> None:
    """Raises RefusalError where history is asked for at `processed`."""
    if options.get("commitment") == "processed":
        raise invalid("Method does not support commitment below `confirmed`")


def json_only(options: Mapping[str, Any]) -> None:
    """Raises RefusalError where another encoding than json is asked for."""
    if options.get("encoding", "json") != "json":
        raise invalid(f"encoding {options['encoding']!r}: this chain writes json only")


def slot_at(params: Sequence[Any], at: int) -> int:
    """The slot at a place among the parameters. Raises RefusalError."""
    found = params[at] if len(params) > at else None
    if type(found) is not int or found < 0:
        raise invalid("Invalid params: expected a slot, a whole number")
    return found


def signature_of(text: Any) -> bytes:
    """The bytes of a signature. Raises RefusalError."""
    try:
        return bytes(Signature.from_string(text))
    except (ValueError, TypeError):
        raise invalid("Invalid param: not a signature") from None


def address_of(text: Any) -> bytes:
    """The bytes of an address. Raises RefusalError."""
    try:
        return bytes(Pubkey.from_string(text))
    except (ValueError, TypeError):
        raise invalid("Invalid param: not an address") from None
