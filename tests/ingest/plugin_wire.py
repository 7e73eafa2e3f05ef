"""The official Yellowstone messages, made at run time from their published field numbers and from nothing of ours.

Written from yellowstone-grpc-proto 12.6 (geyser.proto and solana-storage.proto): names, numbers and types of what a
server needs. They live in a pool of their own, beside the worker's stubs, so that a wrong number in those is a wrong
row in a test instead of two wrongs that agree.
"""

from __future__ import annotations

import re
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# name=number type; `*` repeated, `?` optional, `{}` a map from string.
_TABLE = """
SubscribeRequest: slots=2 FilterSlots{} transactions=3 FilterTransactions{} blocks=4 FilterBlocks{}
    blocks_meta=5 FilterBlocksMeta{} commitment=6 int32? ping=9 RequestPing from_slot=11 uint64?
FilterSlots: filter_by_commitment=1 bool? interslot_updates=2 bool?
FilterTransactions: vote=1 bool? failed=2 bool? account_include=3 string* account_exclude=4 string*
    signature=5 string? account_required=6 string*
FilterBlocks: account_include=1 string* include_transactions=2 bool? include_accounts=3 bool? include_entries=4 bool?
FilterBlocksMeta:
RequestPing: id=1 int32
SubscribeUpdate: filters=1 string* slot=3 UpdateSlot transaction=4 UpdateTransaction block=5 UpdateBlock
    ping=6 UpdatePing block_meta=7 UpdateBlockMeta pong=9 UpdatePong created_at=11 Timestamp
Timestamp: seconds=1 int64 nanos=2 int32
UpdatePing:
UpdatePong: id=1 int32
UpdateSlot: slot=1 uint64 parent=2 uint64? status=3 int32 dead_error=4 string?
UpdateTransaction: transaction=1 Info slot=2 uint64
UpdateBlock: slot=1 uint64 blockhash=2 string rewards=3 Rewards block_time=4 UnixTimestamp block_height=5 BlockHeight
    transactions=6 Info* parent_slot=7 uint64 parent_blockhash=8 string executed_transaction_count=9 uint64
    updated_account_count=10 uint64 entries_count=12 uint64
UpdateBlockMeta: slot=1 uint64 blockhash=2 string rewards=3 Rewards block_time=4 UnixTimestamp
    block_height=5 BlockHeight parent_slot=6 uint64 parent_blockhash=7 string executed_transaction_count=8 uint64
    entries_count=9 uint64
Rewards:
UnixTimestamp: timestamp=1 int64
BlockHeight: block_height=1 uint64
Info: signature=1 bytes is_vote=2 bool transaction=3 Transaction meta=4 Meta index=5 uint64
Transaction: signatures=1 bytes* message=2 Message
Message: header=1 Header account_keys=2 bytes* recent_blockhash=3 bytes instructions=4 Instruction* versioned=5 bool
    address_table_lookups=6 Lookup* config=7 Config
Header: num_required_signatures=1 uint32 num_readonly_signed_accounts=2 uint32 num_readonly_unsigned_accounts=3 uint32
Instruction: program_id_index=1 uint32 accounts=2 bytes data=3 bytes
Lookup: account_key=1 bytes writable_indexes=2 bytes readonly_indexes=3 bytes
Config:
Meta: err=1 Error fee=2 uint64 pre_balances=3 uint64* post_balances=4 uint64* inner_instructions=5 InnerInstructions*
    log_messages=6 string* pre_token_balances=7 TokenBalance* post_token_balances=8 TokenBalance*
    inner_instructions_none=10 bool log_messages_none=11 bool loaded_writable_addresses=12 bytes*
    loaded_readonly_addresses=13 bytes* return_data_none=15 bool compute_units_consumed=16 uint64? cost_units=17 uint64?
Error: err=1 bytes
InnerInstructions: index=1 uint32 instructions=2 InnerInstruction*
InnerInstruction: program_id_index=1 uint32 accounts=2 bytes data=3 bytes stack_height=4 uint32?
TokenBalance: account_index=1 uint32 mint=2 string ui_token_amount=3 UiTokenAmount owner=4 string program_id=5 string
UiTokenAmount: ui_amount=1 double decimals=2 uint32 amount=3 string ui_amount_string=4 string
SubscribeReplayInfoResponse: first_available=1 uint64?
GetSlotResponse: slot=1 uint64
"""
_FIELD = re.compile(r"(\w+)=(\d+) (\w+)(\*|\?|\{\})?")
_TYPE = descriptor_pb2.FieldDescriptorProto.Type
_LABEL = descriptor_pb2.FieldDescriptorProto.Label


def _set_type(field: descriptor_pb2.FieldDescriptorProto, name: str) -> None:
    if name[0].isupper():
        field.type, field.type_name = _TYPE.Value("TYPE_MESSAGE"), f".geyser.{name}"
    else:
        field.type = _TYPE.Value(f"TYPE_{name.upper()}")


def _add_map(message: descriptor_pb2.DescriptorProto, field: descriptor_pb2.FieldDescriptorProto, value: str) -> None:
    entry = message.nested_type.add(name="".join(part.title() for part in field.name.split("_")) + "Entry")
    entry.options.map_entry = True
    for number, (name, kind) in enumerate((("key", "string"), ("value", value)), 1):
        _set_type(entry.field.add(name=name, number=number, label=_LABEL.Value("LABEL_OPTIONAL")), kind)
    field.label, field.type = _LABEL.Value("LABEL_REPEATED"), _TYPE.Value("TYPE_MESSAGE")
    field.type_name = f".geyser.{message.name}.{entry.name}"


def _add_field(message: descriptor_pb2.DescriptorProto, name: str, number: str, kind: str, mark: str) -> None:
    field = message.field.add(name=name, number=int(number))
    if mark == "{}":
        _add_map(message, field, kind)
        return
    field.label = _LABEL.Value("LABEL_REPEATED" if mark == "*" else "LABEL_OPTIONAL")
    _set_type(field, kind)
    if mark == "?":
        field.proto3_optional, field.oneof_index = True, len(message.oneof_decl)
        message.oneof_decl.add(name=f"_{name}")


def _messages() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(name="official/geyser.proto", package="geyser", syntax="proto3")
    for line in re.sub(r"\n    ", " ", _TABLE.strip()).splitlines():
        name, _, fields = line.partition(":")
        message = file.message_type.add(name=name)
        for found in _FIELD.findall(fields):
            _add_field(message, *found)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        message.name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"geyser.{message.name}"))
        for message in file.message_type
    }


MESSAGES = _messages()
Request, Update, Block = (MESSAGES[name] for name in ("SubscribeRequest", "SubscribeUpdate", "UpdateBlock"))
CONFIRMED = 1
"""Both the commitment and the slot status."""
