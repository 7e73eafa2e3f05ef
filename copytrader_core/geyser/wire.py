"""Yellowstone messages to `RawTransaction`, and the names of the service's methods on the wire.

No connection, no subscription: those are the client's.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from google.protobuf.internal import api_implementation
from google.protobuf.message import DecodeError as ProtobufError

from copytrader_core.errors import ConfigError, DecodeError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.solana.transaction import (
    LEGACY,
    RawInstruction,
    RawTransaction,
    TokenBalance,
    check_complete,
)

SERVICE: Final = "geyser.Geyser"
SUBSCRIBE: Final = f"/{SERVICE}/Subscribe"
SUBSCRIBE_REPLAY_INFO: Final = f"/{SERVICE}/SubscribeReplayInfo"
PING: Final = f"/{SERVICE}/Ping"
GET_LATEST_BLOCKHASH: Final = f"/{SERVICE}/GetLatestBlockhash"
GET_BLOCK_HEIGHT: Final = f"/{SERVICE}/GetBlockHeight"
GET_SLOT: Final = f"/{SERVICE}/GetSlot"
GET_VERSION: Final = f"/{SERVICE}/GetVersion"
IS_BLOCKHASH_VALID: Final = f"/{SERVICE}/IsBlockhashValid"
# Field and wire type of a SubscribeUpdate's filters and transaction.
_FILTER, _TRANSACTION = 0x0A, 0x22


def require_fast_protobuf() -> None:
    """Refuse protobuf's pure-Python runtime, which parses about 150 times slower than its C one (measured)."""
    kind = api_implementation.Type()
    if kind != "upb":
        raise ConfigError(f"expected protobuf's upb runtime, found {kind!r}: reinstall protobuf from a binary wheel")


def created_at_ns(update: pb.SubscribeUpdate) -> int | None:
    """The provider's stamp on a message in unix nanoseconds, None from servers that are too old to give one."""
    if not update.HasField("created_at"):
        return None
    stamp = update.created_at
    return stamp.seconds * 1_000_000_000 + stamp.nanos


class Unread(NamedTuple):
    """An update that says that it holds a transaction; nobody has parsed it."""

    raw: bytes

    def read_slot(self) -> int | None:
        """The transaction's slot, by parsing the whole update; None where it cannot be parsed."""
        try:
            return pb.SubscribeUpdate.FromString(self.raw).transaction.slot or None
        except ProtobufError:
            return None


def unread(raw: bytes) -> Unread | None:
    """An update whose first bytes say that it holds a transaction, as every server writes it; None: parse it.

    The names of filters come first, and then the transaction.
    """
    try:
        at = 0
        while raw[at] == _FILTER:
            at += 2 + raw[at + 1]
        return Unread(raw) if raw[at] == _TRANSACTION else None
    except IndexError:
        return None


def transaction_from_update(
    info: pb.SubscribeUpdateTransactionInfo, slot: int, block_time: int | None = None
) -> RawTransaction:
    """The transaction of one update, `slot` and `block_time` (unix seconds) being those of its block.

    Raises DecodeError where the message is not a whole transaction.
    """
    if not info.HasField("transaction") or not info.HasField("meta"):
        raise DecodeError(
            "expected an update with a transaction and its meta, found one without: it is cut, or no transaction"
        )
    message, meta = info.transaction.message, info.meta
    # Field by field in the order of the dataclass: naming them costs as much as reading them.
    return check_complete(
        RawTransaction(
            slot,
            info.index,
            info.signature,
            (*message.account_keys, *meta.loaded_writable_addresses, *meta.loaded_readonly_addresses),
            message.header.num_required_signatures,
            tuple([RawInstruction(ix.program_id_index, ix.accounts, ix.data, 1) for ix in message.instructions]),
            {group.index: _inner(group) for group in meta.inner_instructions},
            None if meta.log_messages_none else tuple(meta.log_messages),
            meta.HasField("err"),
            meta.fee,
            meta.pre_balances,
            meta.post_balances,
            _tokens(meta.pre_token_balances),
            _tokens(meta.post_token_balances),
            _version(message),
            block_time,
            not meta.inner_instructions_none,
        )
    )


def _version(message: pb.Message) -> int:
    """`versioned` is true for version 0 and 1 alike; only version 1 carries a config."""
    if message.HasField("config"):
        return 1
    return 0 if message.versioned else LEGACY


def _inner(group: pb.InnerInstructions) -> tuple[RawInstruction, ...]:
    return tuple(
        [
            RawInstruction(ix.program_id_index, ix.accounts, ix.data, ix.stack_height or _zero_height(ix))
            for ix in group.instructions
        ]
    )


def _zero_height(ix: pb.InnerInstruction) -> int | None:
    """A height of 0, which no call has, or None where an old node tells no height."""
    return 0 if ix.HasField("stack_height") else None


def _tokens(balances: Iterable[pb.TokenBalance]) -> tuple[TokenBalance, ...]:
    try:
        return tuple([_token(balance, balance.ui_token_amount) for balance in balances])
    except ValueError as error:
        raise DecodeError(
            f"expected a token balance in digits, found another text ({error}): the update is cut"
        ) from error


def _token(balance: pb.TokenBalance, amount: pb.UiTokenAmount) -> TokenBalance:
    return TokenBalance(
        balance.account_index, balance.mint, balance.owner, balance.program_id, int(amount.amount), amount.decimals
    )
