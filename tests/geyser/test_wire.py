"""Stream updates: what a complete one gives, and what an incomplete one is refused for."""

import pytest

from copytrader_core.errors import DecodeError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import SUBSCRIBE, require_fast_protobuf, transaction_from_update


def update():
    """A version 0 transaction with two keys of its own and one from a table."""
    info = pb.SubscribeUpdateTransactionInfo(signature=bytes(64), index=4)
    message = info.transaction.message
    message.header.num_required_signatures = 1
    message.account_keys.extend([b"\1" * 32, b"\2" * 32])
    message.versioned = True
    message.instructions.add(program_id_index=1, accounts=b"\0\2", data=b"data")
    info.meta.fee = 5_000
    info.meta.loaded_writable_addresses.append(b"\3" * 32)
    info.meta.pre_balances.extend([9, 1, 1])
    info.meta.post_balances.extend([4, 1, 1])
    group = info.meta.inner_instructions.add(index=0)
    group.instructions.add(program_id_index=1, accounts=b"\0", data=b"deep", stack_height=2)
    return info


def test_keys_come_own_first_then_writable_then_readonly():
    info = update()
    info.meta.loaded_readonly_addresses.append(b"\4" * 32)
    info.meta.pre_balances.append(1)
    info.meta.post_balances.append(1)
    tx = transaction_from_update(info, 7, 1_700_000_000)
    assert [key[0] for key in tx.account_keys] == [1, 2, 3, 4]
    assert (tx.slot, tx.tx_index, tx.block_time, tx.version) == (7, 4, 1_700_000_000, 0)
    assert tx.inner[0][0].stack_height == 2
    assert tx.inner_recorded


def test_versions_are_told_by_the_config_and_the_flag():
    info = update()
    info.transaction.message.config.SetInParent()
    assert transaction_from_update(info, 7).version == 1
    info = update()
    info.transaction.message.versioned = False
    assert transaction_from_update(info, 7).version == -1


def test_what_the_node_did_not_record_is_not_empty():
    info = update()
    info.meta.log_messages_none = info.meta.inner_instructions_none = True
    tx = transaction_from_update(info, 7)
    assert tx.logs is None
    assert not tx.inner_recorded


def test_a_failed_transaction_is_known_by_its_error():
    info = update()
    assert not transaction_from_update(info, 7).failed
    info.meta.err.err = b""
    assert transaction_from_update(info, 7).failed


@pytest.mark.parametrize(
    "spoil",
    [
        lambda info: info.ClearField("meta"),
        lambda info: info.ClearField("transaction"),
        lambda info: info.ClearField("signature"),
        lambda info: info.meta.ClearField("loaded_writable_addresses"),
        lambda info: info.meta.ClearField("pre_balances"),
        lambda info: info.meta.post_balances.append(1),
        lambda info: info.transaction.message.ClearField("account_keys"),
        lambda info: info.transaction.message.account_keys.append(b"short"),
        lambda info: info.transaction.message.ClearField("instructions"),
        lambda info: setattr(info.meta.inner_instructions[0].instructions[0], "stack_height", 4),
        lambda info: info.meta.pre_token_balances.add(account_index=0, mint="m"),
        lambda info: info.meta.pre_token_balances.add(
            account_index=3, mint="m", ui_token_amount=pb.UiTokenAmount(amount="1")
        ),
    ],
)
def test_an_update_that_is_not_whole_is_refused(spoil):
    info = update()
    spoil(info)
    with pytest.raises(DecodeError):
        transaction_from_update(info, 7)


def test_methods_are_called_by_the_names_that_servers_know():
    assert SUBSCRIBE == "/geyser.Geyser/Subscribe"
    require_fast_protobuf()
