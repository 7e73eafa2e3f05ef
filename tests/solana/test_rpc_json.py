"""getTransaction documents in every encoding; documents that are not whole."""

import base64
import json
from copy import deepcopy

import pytest
from solders.hash import Hash
from solders.instruction import CompiledInstruction
from solders.message import Message, MessageHeader, MessageV0, MessageV1, TransactionConfig
from solders.message import MessageAddressTableLookup as Lookup
from solders.pubkey import Pubkey
from solders.signature import Signature
from solders.transaction import VersionedTransaction

from copytrader_core.errors import DecodeError
from copytrader_core.solana import base58
from copytrader_core.solana.rpc_json import transaction_from_json
from tests.pump.recorded import json_files

KEYS = [bytes([n]) * 32 for n in range(1, 5)]
NOWHERE = {"programIdIndex": 9, "accounts": [], "data": ""}


def document(**changes):
    """A transfer-like transaction in encoding json."""
    keys = [str(Pubkey(key)) for key in KEYS]
    message = {
        "header": {"numRequiredSignatures": 1, "numReadonlySignedAccounts": 0, "numReadonlyUnsignedAccounts": 1},
        "accountKeys": keys[:2],
        "addressTableLookups": [{"accountKey": keys[0], "writableIndexes": [1], "readonlyIndexes": [2]}],
        "instructions": [{"programIdIndex": 1, "accounts": [0, 2, 3], "data": "2VfUX"}],
        "recentBlockhash": keys[3],
    }
    meta = {
        "err": None,
        "fee": 5_000,
        "preBalances": [9, 0, 1, 1],
        "postBalances": [4, 0, 1, 1],
        "innerInstructions": [],
        "logMessages": [],
        "loadedAddresses": {"writable": [keys[2]], "readonly": [keys[3]]},
        "preTokenBalances": [],
        "postTokenBalances": [],
    }
    whole = {
        "slot": 7,
        "blockTime": 1_700_000_000,
        "version": 0,
        "transaction": {"signatures": [str(Signature(bytes(64)))], "message": message},
        "meta": meta,
    }
    return whole | changes


def wire_bytes(version):
    header = MessageHeader(1, 0, 1)
    instructions = [CompiledInstruction(1, base58.decode("2VfUX"), bytes([0, 2, 3]))]
    keys = [Pubkey(key) for key in KEYS]
    if version == 0:
        lookups = [Lookup(keys[0], bytes([1]), bytes([2]))]
        message = MessageV0(header, keys[:2], Hash(KEYS[3]), instructions, lookups)
    else:
        message = Message.new_with_compiled_instructions(1, 0, 1, keys, Hash(KEYS[3]), instructions)
    return bytes(VersionedTransaction.populate(message, [Signature(bytes(64))]))


def test_base64_and_base58_hold_the_same_transaction_as_json():
    readable = transaction_from_json(document())
    wire = wire_bytes(0)
    assert transaction_from_json(document(transaction=[base64.b64encode(wire).decode(), "base64"])) == readable
    for encoded in (to_base58(wire), [to_base58(wire), "base58"]):
        assert transaction_from_json(document(transaction=encoded)) == readable


def to_base58(data):
    alphabet = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
    number, digits = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        digits = alphabet[digit] + digits
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + digits


def test_version_1_has_its_signatures_at_the_end_and_no_lookups():
    keys = [Pubkey(key) for key in KEYS]
    instructions = [CompiledInstruction(1, base58.decode("2VfUX"), bytes([0, 2, 3]))]
    message = MessageV1(MessageHeader(1, 0, 1), TransactionConfig(), Hash(KEYS[3]), keys, instructions)
    wire = bytes(VersionedTransaction.populate(message, [Signature(bytes(64))]))
    assert wire[0] == 0x81
    encoded = document(version=1, transaction=[base64.b64encode(wire).decode(), "base64"])
    del encoded["meta"]["loadedAddresses"]
    tx = transaction_from_json(encoded)
    readable = transaction_from_json(document())
    assert (tx.version, tx.account_keys, tx.outer) == (1, readable.account_keys, readable.outer)


def test_a_legacy_transaction_has_no_loaded_addresses_and_version_minus_one():
    legacy = document(version="legacy", transaction=[base64.b64encode(wire_bytes(-1)).decode(), "base64"])
    del legacy["meta"]["loadedAddresses"]
    tx = transaction_from_json(legacy)
    assert (tx.version, tx.n_signers, len(tx.account_keys)) == (-1, 1, 4)


def test_the_envelope_of_json_rpc_is_taken_off():
    bare = transaction_from_json(document())
    assert transaction_from_json({"jsonrpc": "2.0", "id": 1, "result": document()}) == bare


def test_jsonparsed_keeps_the_order_of_keys_the_signers_and_the_transfers(shared):
    parsed = next(file for file in json_files(shared) if file.stem.startswith("33LHUzKf"))
    tx = transaction_from_json(json.loads(parsed.read_bytes()))
    assert (tx.n_signers, len(tx.account_keys)) == (1, 15)
    transfer = tx.outer[4]
    assert transfer.data == b"\x02\0\0\0" + (962_563).to_bytes(8, "little")
    assert tx.account_keys[transfer.accounts[1]] == base58.address_bytes("JBfdxsh3DEXfpeTUrQe94hpKQ8yxBqVRqRiSRvemUA4i")


def test_unrecorded_inner_instructions_and_logs_are_told_from_empty_ones():
    whole = document()
    assert transaction_from_json(whole).inner_recorded is True
    whole["meta"]["innerInstructions"] = whole["meta"]["logMessages"] = None
    tx = transaction_from_json(whole)
    assert (tx.inner_recorded, tx.logs) == (False, None)


def test_an_unknown_slot_is_zero_and_an_index_is_taken_where_the_node_gives_one():
    tx = transaction_from_json(document(slot=None, blockTime=None, transactionIndex=12))
    assert (tx.slot, tx.block_time, tx.tx_index) == (0, None, 12)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("meta", "fee"), "5000"),
        (("meta", "fee"), None),
        (("meta", "preBalances"), [9, 0, 1]),
        (("meta", "postBalances"), None),
        (("meta", "loadedAddresses"), {"writable": [], "readonly": []}),
        (("meta", "err"), ...),
        (("meta", "innerInstructions"), [{"index": 5, "instructions": []}]),
        (
            ("meta", "innerInstructions"),
            [{"index": 0, "instructions": [{"programIdIndex": 9, "accounts": [], "data": ""}]}],
        ),
        (("transaction", "signatures"), []),
        (("transaction", "signatures"), ["1" * 20]),
        (("transaction", "message", "accountKeys"), ["nonsense"]),
        (("transaction", "message", "instructions"), [{"programIdIndex": 1, "accounts": [4], "data": ""}]),
        (("transaction", "message", "instructions"), [{"programIdIndex": 1, "accounts": [0], "data": "0OIl"}]),
        (("transaction",), ["AAAA", "base64"]),
        (("transaction",), ["%%%", "base64"]),
        (("transaction",), ["AAAA", "base64+zstd"]),
        (("meta",), None),
    ],
)
def test_a_document_that_is_not_whole_is_refused(path, value):
    broken = deepcopy(document())
    inside = broken
    for name in path[:-1]:
        inside = inside[name]
    if value is ...:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    with pytest.raises(DecodeError):
        transaction_from_json(broken)


@pytest.mark.parametrize(
    "answer", [{"result": None}, {"error": {"code": -32015, "message": "version"}}, [], "text", {}]
)
def test_an_answer_without_a_transaction_says_so(answer):
    with pytest.raises(DecodeError):
        transaction_from_json(answer)


def test_bytes_after_an_encoded_transactions_end_are_refused():
    wire = base64.b64encode(wire_bytes(0) + b"\0").decode()
    with pytest.raises(DecodeError):
        transaction_from_json(document(transaction=[wire, "base64"]))
