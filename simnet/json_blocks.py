"""A block of the local chain as a node's JSON-RPC writes it (`encoding: json`). No server, no index."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from solders.hash import Hash

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.solana.base58 import address_text, signature_text
from simnet.capture import custom_code

__all__ = ["encode_base58", "error_json", "transaction_json", "version_of"]

_INSUFFICIENT_FOR_RENT = 31
# The names by their place in the runtime's enumeration, of those that trades can meet.
_INSTRUCTION_ERRORS = {
    1: "InvalidArgument",
    2: "InvalidInstructionData",
    3: "InvalidAccountData",
    5: "InsufficientFunds",
    6: "IncorrectProgramId",
    7: "MissingRequiredSignature",
    8: "AccountAlreadyInitialized",
    9: "UninitializedAccount",
    19: "NotEnoughAccountKeys",
    32: "MissingAccount",
    37: "ComputationalBudgetExceeded",
    40: "ProgramFailedToComplete",
    46: "InvalidAccountOwner",
}
_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def transaction_json(info: pb.SubscribeUpdateTransactionInfo) -> dict[str, Any]:
    """The `transaction`, `meta` and `version` members of a transaction."""
    message = info.transaction.message
    return {
        "transaction": {
            "signatures": [signature_text(raw) for raw in info.transaction.signatures],
            "message": _message(message),
        },
        "meta": _meta(info.meta),
        "version": version_of(info),
    }


def version_of(info: pb.SubscribeUpdateTransactionInfo) -> int | str:
    """legacy, 0 or 1."""
    message = info.transaction.message
    if message.HasField("config"):
        return 1
    return 0 if message.versioned else "legacy"


def error_json(meta: pb.TransactionStatusMeta) -> dict[str, Any] | None:
    """Why a transaction failed, None where it did not."""
    if not meta.HasField("err"):
        return None
    raw = meta.err.err
    variant = int.from_bytes(raw[:4], "little")
    if variant == _INSUFFICIENT_FOR_RENT and len(raw) > 4:
        return {"InsufficientFundsForRent": {"account_index": raw[4]}}
    code = custom_code(raw)
    name = _INSTRUCTION_ERRORS.get(int.from_bytes(raw[5:9], "little"), "GenericError")
    reason: dict[str, int] | str = name if code is None else {"Custom": code}
    return {"InstructionError": [raw[4] if len(raw) > 4 else 0, reason]}


def encode_base58(raw: bytes) -> str:
    """The base58 text of any bytes."""
    value, digits = int.from_bytes(raw, "big"), []
    while value:
        value, digit = divmod(value, 58)
        digits.append(_ALPHABET[digit])
    return "1" * (len(raw) - len(raw.lstrip(b"\0"))) + "".join(reversed(digits))


def _message(message: pb.Message) -> dict[str, Any]:
    document = {
        "header": {
            "numRequiredSignatures": message.header.num_required_signatures,
            "numReadonlySignedAccounts": message.header.num_readonly_signed_accounts,
            "numReadonlyUnsignedAccounts": message.header.num_readonly_unsigned_accounts,
        },
        "accountKeys": [address_text(key) for key in message.account_keys],
        "recentBlockhash": str(Hash.from_bytes(message.recent_blockhash)),
        "instructions": [_instruction(ix, 1) for ix in message.instructions],
    }
    if message.versioned and not message.HasField("config"):
        document["addressTableLookups"] = [
            {
                "accountKey": address_text(lookup.account_key),
                "writableIndexes": list(lookup.writable_indexes),
                "readonlyIndexes": list(lookup.readonly_indexes),
            }
            for lookup in message.address_table_lookups
        ]
    return document


def _instruction(ix: pb.CompiledInstruction | pb.InnerInstruction, height: int | None) -> dict[str, Any]:
    return {
        "programIdIndex": ix.program_id_index,
        "accounts": list(ix.accounts),
        "data": encode_base58(ix.data),
        "stackHeight": height,
    }


def _inner(ix: pb.InnerInstruction) -> dict[str, Any]:
    return _instruction(ix, ix.stack_height if ix.HasField("stack_height") else None)


def _meta(meta: pb.TransactionStatusMeta) -> dict[str, Any]:
    error = error_json(meta)
    return {
        "err": error,
        "status": {"Ok": None} if error is None else {"Err": error},
        "fee": meta.fee,
        "preBalances": list(meta.pre_balances),
        "postBalances": list(meta.post_balances),
        "innerInstructions": None
        if meta.inner_instructions_none
        else [
            {"index": group.index, "instructions": [_inner(ix) for ix in group.instructions]}
            for group in meta.inner_instructions
        ],
        "logMessages": None if meta.log_messages_none else list(meta.log_messages),
        "preTokenBalances": _tokens(meta.pre_token_balances),
        "postTokenBalances": _tokens(meta.post_token_balances),
        "rewards": [],
        "loadedAddresses": {
            "writable": [address_text(key) for key in meta.loaded_writable_addresses],
            "readonly": [address_text(key) for key in meta.loaded_readonly_addresses],
        },
        "computeUnitsConsumed": meta.compute_units_consumed,
    }


def _tokens(balances: Iterable[pb.TokenBalance]) -> list[dict[str, Any]]:
    return [
        {
            "accountIndex": balance.account_index,
            "mint": balance.mint,
            "owner": balance.owner,
            "programId": balance.program_id,
            "uiTokenAmount": {
                "uiAmount": balance.ui_token_amount.ui_amount,
                "decimals": balance.ui_token_amount.decimals,
                "amount": balance.ui_token_amount.amount,
                "uiAmountString": balance.ui_token_amount.ui_amount_string,
            },
        }
        for balance in balances
    ]
