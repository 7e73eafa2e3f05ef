"""A transaction as somebody hands it to a node: decoding, verifying and simulating it, refused in a node's words."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from solders.account import Account
from solders.pubkey import Pubkey
from solders.rpc.responses import RpcSimulateTransactionResult
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata

from copytrader_core.solana.message import MAX_TRANSACTION_BYTES
from simnet.account_json import account_json
from simnet.bank import Bank
from simnet.rpc_params import RefusalError, address_of, invalid

__all__ = ["decode_base58", "decode_transaction", "preflight", "simulation_json", "verify"]

_ALPHABET = {c: n for n, c in enumerate("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz")}
_PREFLIGHT_FAILURE = -32002
_SIGNATURE_FAILURE = -32003


def decode_base58(text: str) -> bytes:
    """The bytes of a base58 text. Raises KeyError for a foreign character."""
    value = 0
    for character in text:
        value = value * 58 + _ALPHABET[character]
    return b"\0" * (len(text) - len(text.lstrip("1"))) + value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode_transaction(params: Sequence[Any], options: Mapping[str, Any]) -> VersionedTransaction:
    """The transaction in the first parameter, base58 unless the options say base64. Raises RefusalError."""
    text, encoding = params[0] if params else None, options.get("encoding", "base58")
    if not isinstance(text, str) or encoding not in ("base58", "base64"):
        raise invalid(f"unsupported encoding: {encoding}. Supported encodings: base58, base64")
    try:
        raw = base64.b64decode(text, validate=True) if encoding == "base64" else decode_base58(text)
    except (ValueError, KeyError):
        raise invalid(f"invalid {encoding} encoding") from None
    if len(raw) > MAX_TRANSACTION_BYTES:
        raise invalid(f"decoded VersionedTransaction too large: {len(raw)} bytes (max: {MAX_TRANSACTION_BYTES} bytes)")
    try:
        return VersionedTransaction.from_bytes(raw)
    except ValueError as error:
        raise invalid(f"failed to deserialize VersionedTransaction: {error}") from None


def verify(transaction: VersionedTransaction) -> None:
    """Raises RefusalError where a signature is wrong."""
    if not all(transaction.verify_with_results()):
        raise RefusalError(_SIGNATURE_FAILURE, "Transaction signature verification failure")


def preflight(bank: Bank, transaction: VersionedTransaction) -> None:
    """Raises RefusalError where the transaction would fail now."""
    found = simulation_json(bank, transaction, {})
    if found["err"] is not None:
        raise RefusalError(
            _PREFLIGHT_FAILURE, f"Transaction simulation failed: {_in_words(found['err'])}", {"accounts": None, **found}
        )


def simulation_json(bank: Bank, transaction: VersionedTransaction, options: Mapping[str, Any]) -> dict[str, Any]:
    """What simulateTransaction answers: `err`, logs, units, return data and the accounts asked for."""
    replaced = None
    if options.get("replaceRecentBlockhash"):
        replaced = {"blockhash": str(bank.blockhash), "lastValidBlockHeight": bank.block_height + 150}
    elif not bank.lives(transaction):
        return _simulation("BlockhashNotFound", [], 0, None, replaced)
    if bank.is_processed(transaction):
        return _simulation("AlreadyProcessed", [], 0, None, replaced)
    result = bank.try_out(transaction, verifies=bool(options.get("sigVerify")))
    meta, error = result.meta(), None
    after: dict[Pubkey, Account] = {}
    if isinstance(result, FailedTransactionMetadata):
        error = json.loads(RpcSimulateTransactionResult(err=result.err()).to_json())["err"]
    else:
        after = dict(result.post_accounts())
    accounts = None
    if wanted := options.get("accounts"):
        keys = [address_of(text) for text in wanted.get("addresses", ())]
        found = {bytes(key): account for key, account in after.items()}
        accounts = [
            account_json(found[key], {"encoding": wanted.get("encoding", "base64")}) if key in found else None
            for key in keys
        ]
    return _simulation(error, meta.logs(), meta.compute_units_consumed(), accounts, replaced)


def _simulation(
    error: Any, logs: list[str], units: int, accounts: Any, replaced: Mapping[str, Any] | None
) -> dict[str, Any]:
    return {
        "err": error,
        "logs": logs,
        "accounts": accounts,
        "unitsConsumed": units,
        "returnData": None,
        "innerInstructions": None,
        "replacementBlockhash": replaced,
    }


def _in_words(error: Any) -> str:
    """As a node's message says it."""
    if error == "BlockhashNotFound":
        return "Blockhash not found"
    if error == "AlreadyProcessed":
        return "This transaction has already been processed"
    if isinstance(error, Mapping) and "InstructionError" in error:
        index, reason = error["InstructionError"]
        if isinstance(reason, Mapping) and "Custom" in reason:
            reason = f"custom program error: {hex(reason['Custom'])}"
        return f"Error processing Instruction {index}: {reason}"
    return str(error)
