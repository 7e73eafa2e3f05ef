"""`copytrader decode FILE ...`: recorded transactions to raw_events rows, one JSON object a line."""

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.message import DecodeError as ProtobufError

from copytrader_core.errors import DecodeError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.pump.decode import decode
from copytrader_core.records import Event
from copytrader_core.solana.rpc_json import transaction_from_json
from copytrader_core.solana.transaction import RawTransaction
from copytrader_core.store.raw_events import COLUMNS

app = typer.Typer(help="Decode recorded transactions to raw_events rows.")

_NANOSECONDS = 1_000_000_000
# Filled later, by other hands; a row has them all the same.
_LATER = ("leader_wallet", "created_at")


@app.command()
def main(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="getTransaction JSON, or a SubscribeUpdate (.pb)")
    ],
) -> None:
    """Print one raw_events row as JSON a line; absent columns are null.

    A file that cannot be decoded gives one message on standard error and exit status 1; the others are still decoded.
    """
    failed = False
    for file in files:
        troubles = _decode_file(file)
        if troubles:
            failed = True
            sys.stdout.flush()
            print(f"copytrader decode: {file}: {'; '.join(troubles)}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _decode_file(file: Path) -> list[str]:
    """Print the rows of one file; what is wrong with it."""
    try:
        transactions = list(_transactions(file))
    except DecodeError as error:
        return [str(error)]
    except OSError as error:
        return [f"cannot be read: {error.strerror}"]
    troubles = []
    for tx in transactions:
        decoded = decode(tx)
        seconds = _chain_seconds(decoded.events, tx)
        for event in decoded.events:
            print(json.dumps(_columns(event, seconds)))
        troubles += [f"instruction {it.path}: {it.reason}" if it.path else it.reason for it in decoded.problems]
    return troubles


def _transactions(file: Path) -> Iterator[RawTransaction]:
    content = file.read_bytes()
    if not content:
        raise DecodeError("the file is empty; expected getTransaction JSON or a SubscribeUpdate")
    if file.suffix != ".pb" and (file.suffix == ".json" or content.lstrip()[:1] in (b"{", b"[")):
        yield from _from_json(content)
    else:
        yield from _from_protobuf(content)


def _from_json(content: bytes) -> Iterator[RawTransaction]:
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"is no whole JSON document ({error}); fetch it again") from error
    for one in document if isinstance(document, list) else [document]:
        yield transaction_from_json(one)


def _from_protobuf(content: bytes) -> Iterator[RawTransaction]:
    """A SubscribeUpdate that holds one transaction or a block of them.

    Bytes behind a message's end merge into it without an error; the message is then shorter than the file.
    """
    try:
        update = pb.SubscribeUpdate.FromString(content)
    except ProtobufError as error:
        raise DecodeError("is no whole SubscribeUpdate: it is cut, or another format; record it again") from error
    if update.ByteSize() != len(content):
        raise DecodeError(
            f"holds a SubscribeUpdate of {update.ByteSize()} bytes in {len(content)}: it was added to; record it again"
        )
    kind = update.WhichOneof("update_oneof")
    if kind == "transaction":
        yield transaction_from_update(update.transaction.transaction, update.transaction.slot)
    elif kind == "block":
        block = update.block
        block_time = block.block_time.timestamp if block.HasField("block_time") else None
        for info in block.transactions:
            yield transaction_from_update(info, block.slot, block_time)
    else:
        raise DecodeError(
            f"expected an update with a transaction or a block, found {kind or 'none of the two'}; record it again"
        )


def _chain_seconds(events: Sequence[Event], tx: RawTransaction) -> int | None:
    """The block time, else the time that one of the events states: programs read it from the block's clock."""
    if tx.block_time is not None:
        return tx.block_time
    return next((event.meta["timestamp"] for event in events if "timestamp" in event.meta), None)


def _columns(event: Event, seconds: int | None) -> dict[str, Any]:
    """The row with every column. A slot of 0 means that the file does not tell it."""
    known = {
        "ts_ns": None if seconds is None else seconds * _NANOSECONDS,
        "slot": event.slot or None,
        "ix_accounts_json": list(event.ix_accounts) or None,
        "meta_json": dict(event.meta),
    }
    return {name: known[name] if name in known else getattr(event, name, None) for name in (*COLUMNS, *_LATER)}
