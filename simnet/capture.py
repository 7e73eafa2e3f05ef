"""What a validator reports of an executed transaction, in Geyser's messages: balances, inner instructions, logs, error.

Executing it is `simnet.bank`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from solders.message import Message, MessageV0, MessageV1
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction
from solders.transaction_metadata import FailedTransactionMetadata, TransactionMetadata

from copytrader_core.geyser import copytrader_geyser_pb2 as pb

__all__ = ["Balances", "TokenAmount", "custom_code", "error_bytes", "transaction_info"]


@dataclass(frozen=True, slots=True)
class TokenAmount:
    """What a token account holds."""

    mint: Pubkey
    owner: Pubkey
    program: Pubkey
    amount: int
    decimals: int


@dataclass(frozen=True, slots=True)
class Balances:
    """Lamports of every account of a transaction, and tokens of those that are token accounts."""

    lamports: Mapping[Pubkey, int]
    tokens: Mapping[Pubkey, TokenAmount]


def error_bytes(result: TransactionMetadata | FailedTransactionMetadata) -> bytes:
    """The TransactionError in bincode, as Geyser carries it; empty on success.

    LiteSVM serializes a failure as the error, then the metadata.
    """
    if not isinstance(result, FailedTransactionMetadata):
        return b""
    whole, meta = bytes(result), bytes(result.meta())
    return whole[: len(whole) - len(meta)]


def custom_code(error: bytes) -> int | None:
    """The program's own error code inside InstructionError (8), Custom (25)."""
    if error[:4] == b"\x08\0\0\0" and error[5:9] == b"\x19\0\0\0":
        return int.from_bytes(error[9:13], "little")
    return None


def transaction_info(
    transaction: VersionedTransaction,
    meta: TransactionMetadata,
    error: bytes,
    keys: Sequence[Pubkey],
    loaded: tuple[list[Pubkey], list[Pubkey]],
    before: Balances,
    after: Balances,
) -> pb.SubscribeUpdateTransactionInfo:
    """A transaction as Geyser streams it; its index is set by the block. `loaded`: by lookup tables, writable first."""
    inner = [
        pb.InnerInstructions(
            index=index,
            instructions=[
                pb.InnerInstruction(
                    program_id_index=step.instruction().program_id_index,
                    accounts=bytes(step.instruction().accounts),
                    data=bytes(step.instruction().data),
                    stack_height=step.stack_height(),
                )
                for step in group
            ],
        )
        for index, group in enumerate(meta.inner_instructions())
        if group
    ]
    status = pb.TransactionStatusMeta(
        fee=meta.fee(),
        pre_balances=[before.lamports[key] for key in keys],
        post_balances=[after.lamports[key] for key in keys],
        inner_instructions=inner,
        log_messages=meta.logs(),
        pre_token_balances=_token_balances(keys, before.tokens),
        post_token_balances=_token_balances(keys, after.tokens),
        loaded_writable_addresses=[bytes(key) for key in loaded[0]],
        loaded_readonly_addresses=[bytes(key) for key in loaded[1]],
        compute_units_consumed=meta.compute_units_consumed(),
    )
    if error:
        status.err.err = error
    signatures = [bytes(signature) for signature in transaction.signatures]
    wire = pb.Transaction(signatures=signatures, message=_message(transaction.message))
    return pb.SubscribeUpdateTransactionInfo(signature=signatures[0], transaction=wire, meta=status)


def _message(message: Message | MessageV0 | MessageV1) -> pb.Message:
    header = message.header
    wire = pb.Message(
        header=pb.MessageHeader(
            num_required_signatures=header.num_required_signatures,
            num_readonly_signed_accounts=header.num_readonly_signed_accounts,
            num_readonly_unsigned_accounts=header.num_readonly_unsigned_accounts,
        ),
        account_keys=[bytes(key) for key in message.account_keys],
        recent_blockhash=bytes(message.recent_blockhash),
        instructions=[
            pb.CompiledInstruction(program_id_index=i.program_id_index, accounts=bytes(i.accounts), data=bytes(i.data))
            for i in message.instructions
        ],
        versioned=not isinstance(message, Message),
    )
    if isinstance(message, MessageV0):
        for lookup in message.address_table_lookups:
            wire.address_table_lookups.add(
                account_key=bytes(lookup.account_key),
                writable_indexes=bytes(lookup.writable_indexes),
                readonly_indexes=bytes(lookup.readonly_indexes),
            )
    if isinstance(message, MessageV1):
        wire.config.SetInParent()
    return wire


def _token_balances(keys: Iterable[Pubkey], tokens: Mapping[Pubkey, TokenAmount]) -> list[pb.TokenBalance]:
    return [
        pb.TokenBalance(
            account_index=index,
            mint=str(held.mint),
            owner=str(held.owner),
            program_id=str(held.program),
            ui_token_amount=_ui_amount(held),
        )
        for index, key in enumerate(keys)
        if (held := tokens.get(key))
    ]


def _ui_amount(held: TokenAmount) -> pb.UiTokenAmount:
    whole, part = divmod(held.amount, 10**held.decimals)
    text = f"{whole}.{part:0{held.decimals}d}".rstrip("0").rstrip(".") if held.decimals else str(whole)
    return pb.UiTokenAmount(
        ui_amount=float(text), decimals=held.decimals, amount=str(held.amount), ui_amount_string=text
    )
