"""JSON-RPC `getTransaction` results to `RawTransaction`, in every encoding: json, jsonParsed, base64, base58.

No requests are made here. jsonParsed hides the bytes of the programs that the node can parse; of those only SOL
transfers are put back into bytes, because nothing else of them is read.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from solders.message import Message, MessageV0, MessageV1
from solders.transaction import VersionedTransaction

from copytrader_core.errors import DecodeError
from copytrader_core.solana import base58
from copytrader_core.solana.base58 import address_bytes, signature_bytes
from copytrader_core.solana.transaction import (
    LEGACY,
    RawInstruction,
    RawTransaction,
    TokenBalance,
    check_complete,
)

_Json = Mapping[str, Any]
# The system program's instruction numbers, and their accounts as jsonParsed names them.
_TRANSFERS: Final = {
    "transfer": (2, ("source", "destination")),
    "transferWithSeed": (11, ("source", "sourceBase", "destination")),
}
_TRANSFER: Final = struct.Struct("<IQ")


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the `transaction` member says, whatever its encoding."""

    signature: bytes
    keys: tuple[bytes, ...]
    n_signers: int
    outer: tuple[RawInstruction, ...]
    version: int


def transaction_from_json(document: _Json) -> RawTransaction:
    """The transaction of a getTransaction result, bare or wrapped in its JSON-RPC envelope.

    A slot that the document does not give is 0. Raises DecodeError where the document is not a whole transaction.
    """
    result = _unwrap(document)
    try:
        return check_complete(_transaction(result))
    except DecodeError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, struct.error) as error:
        what = f"no field {error}" if isinstance(error, KeyError) else str(error)
        raise DecodeError(
            f"expected a getTransaction result, found one that is not whole ({what}); fetch it again"
        ) from error


def _unwrap(document: _Json) -> _Json:
    if not isinstance(document, Mapping):
        raise DecodeError(f"expected a getTransaction result (a JSON object), found {type(document).__name__}")
    if document.get("error") is not None:
        raise DecodeError(f"the node answered with an error instead of a transaction: {document['error']}")
    result = document.get("result", document)
    if not isinstance(result, Mapping):
        raise DecodeError("the node does not know this transaction (result is null): ask one that keeps its slot")
    if not isinstance(result.get("meta"), Mapping) or result.get("transaction") is None:
        raise DecodeError(
            "expected a getTransaction result with `transaction` and `meta`, found one without; fetch it again"
        )
    return result


def _transaction(result: _Json) -> RawTransaction:
    meta = result["meta"]
    parts = _parts(result, meta)
    inner = meta.get("innerInstructions")
    logs = meta.get("logMessages")
    index = {key: position for position, key in enumerate(parts.keys)}
    return RawTransaction(
        slot=_whole(result.get("slot") or 0),
        tx_index=_optional(result.get("transactionIndex")),
        signature=parts.signature,
        account_keys=parts.keys,
        n_signers=parts.n_signers,
        outer=parts.outer,
        inner={_whole(group["index"]): _instructions(group["instructions"], index) for group in inner or ()},
        logs=None if logs is None else tuple([_text(line) for line in logs]),
        failed=meta["err"] is not None or "Err" in (meta.get("status") or {}),
        fee=_whole(meta["fee"]),
        pre_balances=tuple([_whole(value) for value in meta["preBalances"]]),
        post_balances=tuple([_whole(value) for value in meta["postBalances"]]),
        pre_tokens=_tokens(meta.get("preTokenBalances")),
        post_tokens=_tokens(meta.get("postTokenBalances")),
        version=parts.version,
        block_time=_optional(result.get("blockTime")),
        inner_recorded=inner is not None,
    )


def _whole(value: object) -> int:
    """An integer that is one, of 64 bits: JSON's floats and booleans are refused."""
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise ValueError(f"expected a whole number, found {value!r}")
    return value


def _optional(value: object) -> int | None:
    return None if value is None else _whole(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, found {value!r}")
    return value


def _parts(result: _Json, meta: _Json) -> _Parts:
    transaction = result["transaction"]
    if isinstance(transaction, Mapping):
        return _readable(transaction, result.get("version", "legacy"), meta)
    return _encoded(transaction, meta)


def _readable(transaction: _Json, version: object, meta: _Json) -> _Parts:
    """Encodings json and jsonParsed. The latter lists the loaded addresses among the keys and has no header."""
    message = transaction["message"]
    keys = message["accountKeys"]
    parsed = bool(keys) and isinstance(keys[0], Mapping)
    if parsed:
        addresses = tuple([address_bytes(key["pubkey"]) for key in keys])
        n_signers = sum(key["signer"] is True for key in keys)
    else:
        addresses = (*[address_bytes(key) for key in keys], *_loaded(meta))
        n_signers = _whole(message["header"]["numRequiredSignatures"])
    index = {key: position for position, key in enumerate(addresses)}
    return _Parts(
        signature_bytes(transaction["signatures"][0]),
        addresses,
        n_signers,
        _instructions(message["instructions"], index, height=1),
        LEGACY if version == "legacy" else _whole(version),
    )


def _encoded(transaction: Sequence[str] | str, meta: _Json) -> _Parts:
    """Encodings base64 and base58: the transaction as it went over the wire."""
    text, encoding = (transaction, "base58") if isinstance(transaction, str) else transaction
    if encoding not in ("base64", "base58"):
        raise ValueError(f"encoding {encoding!r}; ask for json, jsonParsed, base64 or base58")
    try:
        wire = base58.decode(text) if encoding == "base58" else base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"transaction is not {encoding}: {error}") from error
    transaction_ = VersionedTransaction.from_bytes(wire)
    if bytes(transaction_) != wire:
        raise ValueError("the encoded transaction has bytes after its end")
    message = transaction_.message
    return _Parts(
        bytes(transaction_.signatures[0]),
        (*[bytes(key) for key in message.account_keys], *_loaded(meta)),
        message.header.num_required_signatures,
        tuple([RawInstruction(ix.program_id_index, ix.accounts, ix.data, 1) for ix in message.instructions]),
        _VERSIONS[type(message)],
    )


_VERSIONS: Final[Mapping[type, int]] = {Message: LEGACY, MessageV0: 0, MessageV1: 1}


def _loaded(meta: _Json) -> tuple[bytes, ...]:
    """The addresses that came from lookup tables, writable ones first. That none is missing shows in the balances."""
    loaded = meta.get("loadedAddresses") or {"writable": (), "readonly": ()}
    return tuple([address_bytes(text) for text in (*loaded["writable"], *loaded["readonly"])])


def _instructions(
    items: Sequence[_Json], index: Mapping[bytes, int], height: int | None = None
) -> tuple[RawInstruction, ...]:
    return tuple([_instruction(item, index, height or _optional(item.get("stackHeight"))) for item in items])


def _instruction(item: _Json, index: Mapping[bytes, int], height: int | None) -> RawInstruction:
    if "programIdIndex" in item:
        data = base58.decode(item["data"])
        return RawInstruction(_whole(item["programIdIndex"]), bytes(item["accounts"]), data, height)
    program = index[address_bytes(item["programId"])]
    if "data" in item:
        accounts = bytes([index[address_bytes(text)] for text in item["accounts"]])
        return RawInstruction(program, accounts, base58.decode(item["data"]), height)
    accounts, data = _parsed_transfer(item, index)
    return RawInstruction(program, accounts, data, height)


def _parsed_transfer(item: _Json, index: Mapping[bytes, int]) -> tuple[bytes, bytes]:
    """Accounts and leading data bytes of a parsed SOL transfer; empty for whatever else the node has parsed."""
    parsed = item["parsed"]
    kind = parsed.get("type") if isinstance(parsed, Mapping) else None
    if item.get("program") != "system" or kind not in _TRANSFERS:
        return b"", b""
    number, roles = _TRANSFERS[kind]
    info = parsed["info"]
    accounts = bytes([index[address_bytes(info[role])] for role in roles])
    return accounts, _TRANSFER.pack(number, _whole(info["lamports"]))


def _tokens(balances: Sequence[_Json] | None) -> tuple[TokenBalance, ...]:
    return tuple(
        [
            TokenBalance(
                _whole(balance["accountIndex"]),
                _text(balance["mint"]),
                _text(balance.get("owner") or ""),
                _text(balance.get("programId") or ""),
                int(balance["uiTokenAmount"]["amount"]),
                _whole(balance["uiTokenAmount"]["decimals"]),
            )
            for balance in balances or ()
        ]
    )
