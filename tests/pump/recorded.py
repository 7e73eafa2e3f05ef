"""The recorded mainnet transactions, in both forms."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.wire import transaction_from_update
from copytrader_core.solana.rpc_json import transaction_from_json
from copytrader_core.solana.transaction import RawTransaction


def json_files(shared: Path) -> list[Path]:
    """The getTransaction documents."""
    return sorted((shared / "recorded" / "mainnet").glob("*.json"))


def pb_files(shared: Path) -> list[Path]:
    """The stream updates."""
    return sorted((shared / "recorded" / "yellowstone").glob("*.pb"))


def from_json(file: Path) -> RawTransaction:
    """The transaction of a document."""
    return transaction_from_json(json.loads(file.read_bytes()))


def from_pb(file: Path, block_time: int | None = None) -> RawTransaction:
    """The transaction of an update."""
    update = pb.SubscribeUpdate.FromString(file.read_bytes()).transaction
    return transaction_from_update(update.transaction, update.slot, block_time)


def one(shared: Path, prefix: str) -> RawTransaction:
    """The document whose signature begins so."""
    return from_json(next((shared / "recorded" / "mainnet").glob(f"{prefix}*.json")))


def manifest(shared: Path) -> dict[str, dict[str, str]]:
    """What was found in each transaction by other means."""
    with (shared / "recorded" / "manifest.csv").open() as file:
        return {row["signature"]: row for row in csv.DictReader(file)}
