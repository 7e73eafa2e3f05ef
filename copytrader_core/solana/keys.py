"""The wallet's key: where it may lie, how it signs, and that it shows up nowhere. What is signed is not known here.

A key comes from a file that nobody else can read, never from the environment, the command line or the settings.
"""

from __future__ import annotations

import ctypes
import os
import resource
import stat
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from nacl.bindings import crypto_sign, crypto_sign_seed_keypair
from solders.pubkey import Pubkey

from copytrader_core.errors import ConfigError, DecodeError
from copytrader_core.redaction import RedactSecrets, redacted, register_secret
from copytrader_core.solana import base58

__all__ = [
    "CREDENTIAL_NAME",
    "RedactSecrets",
    "Signer",
    "credential_path",
    "guard_process",
    "load_signer",
    "new_identity",
    "pem",
    "redacted",
    "register_secret",
]

CREDENTIAL_NAME: Final = "wallet-key"
"""The name under which the service manager hands the wallet's key over (LoadCredential=wallet-key:...)."""

_SEED_BYTES = 32
_SECRET_BYTES = 64
_SIGNATURE_BYTES = 64
_MAX_FILE_BYTES = 4096
_PR_SET_DUMPABLE = 4
_HOW = "give a file made by `solana-keygen new` (a list of 64 numbers) or the base58 text of the 64 bytes"


class Signer:
    """One Ed25519 key that signs. It cannot be copied, pickled or printed; its public half can.

    AWS-LC signs, by way of qh3 (that the way to the validators needs anyway), in half the time of libsodium, which has
    to give the same signature first.
    """

    __slots__ = ("_key", "address", "pubkey")

    pubkey: Pubkey
    address: str

    def __init__(self, seed: bytes) -> None:
        """`seed`: the 32 secret bytes. Raises ConfigError for any other length, and where the libraries disagree."""
        # Takes a tenth of a second, and most commands sign nothing.
        from qh3.tls import load_pem_private_key

        if len(seed) != _SEED_BYTES:
            raise ConfigError(f"a key's seed has {_SEED_BYTES} bytes, found {len(seed)}: {_HOW}")
        public, secret = crypto_sign_seed_keypair(seed)
        self.pubkey = Pubkey(public)
        self.address = str(self.pubkey)
        key: Any = load_pem_private_key(pem(Ed25519PrivateKey.from_private_bytes(seed)))
        self._key = key
        if key.sign(public) != crypto_sign(public, secret)[:_SIGNATURE_BYTES]:
            raise ConfigError("two libraries sign differently: install the packages of requirements.lock again")

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature of `message` (RFC 8032, pure Ed25519)."""
        signature: bytes = self._key.sign(message)
        return signature

    def __repr__(self) -> str:
        return f"Signer({self.address})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a signer is never pickled or copied: load it from its file where it is needed")


def new_identity() -> Ed25519PrivateKey:
    """A fresh key to introduce ourselves to validators with. Never the wallet's: it signs handshakes, not money."""
    return Ed25519PrivateKey.generate()


def pem(key: Ed25519PrivateKey) -> bytes:
    """The key as other libraries take it. It is a secret."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def credential_path() -> Path | None:
    """Where the service manager has put the wallet's key, None when not started by one that does."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return Path(folder) / CREDENTIAL_NAME if folder else None


def load_signer(path: Path | None = None) -> Signer:
    """The key in `path`, by default the service's credential. The texts of it are kept out of every log from then on.

    Raises ConfigError where there is none, where somebody else could read or change it, or where it is no key.
    """
    chosen = path or credential_path()
    if chosen is None:
        raise ConfigError(
            f"no wallet key: run under a service with LoadCredential={CREDENTIAL_NAME}:FILE, or name a key file"
        )
    secret = _parse(_read_private(chosen), chosen)
    seed = secret[:_SEED_BYTES]
    register_secret(seed)
    for line in pem(Ed25519PrivateKey.from_private_bytes(seed)).splitlines()[1:-1]:
        register_secret(line.decode())
    signer = Signer(seed)
    if bytes(signer.pubkey) != secret[_SEED_BYTES:]:
        raise ConfigError(f"{chosen}: the public half does not belong to the secret half, the file is damaged: {_HOW}")
    register_secret(secret)
    return signer


def _read_private(path: Path) -> str:
    """The file's text. Rights are those of the file that was opened, so a link cannot lead to a laxer one."""
    try:
        # Not blocking: a pipe in the file's place must not hold the start.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ConfigError(f"{path}: the wallet key cannot be read ({error.strerror}): check the path") from None
    try:
        _check_rights(os.fstat(handle), path)
        raw = os.read(handle, _MAX_FILE_BYTES + 1)
    finally:
        os.close(handle)
    if len(raw) > _MAX_FILE_BYTES:
        raise ConfigError(f"{path}: too long for a key: {_HOW}")
    return raw.decode("ascii", "replace").strip()


def _check_rights(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{path}: the wallet key must be a regular file")
    if status.st_uid not in (0, os.geteuid()):
        raise ConfigError(f"{path}: the wallet key belongs to user {status.st_uid}: chown it to this user")
    # The service manager grants its user a credential of root's by an access list, whose mask shows as group bits.
    is_credential = path == credential_path() and status.st_uid == status.st_gid == 0
    if status.st_mode & (0o037 if is_credential else 0o077):
        raise ConfigError(
            f"{path}: others may read or change the wallet key (mode {status.st_mode & 0o777:o}):"
            f" chmod 600 {path}, and move the money if that was so for long"
        )


def _parse(text: str, path: Path) -> bytes:
    """The 64 bytes. No message, and no chained error, holds any part of `text`."""
    secret = _numbers(text) if text.startswith("[") else _base58(text)
    if secret is None or len(secret) != _SECRET_BYTES:
        raise ConfigError(f"{path}: this is no wallet key: {_HOW}")
    return secret


def _numbers(text: str) -> bytes | None:
    try:
        return bytes(map(int, text.strip("[] \n").split(",")))
    except ValueError:
        return None


def _base58(text: str) -> bytes | None:
    try:
        return base58.decode(text)
    except DecodeError:
        return None


def guard_process() -> None:
    """No core dump and no other process of this user may read our memory. Raises ConfigError where that is refused."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise ConfigError(f"memory cannot be protected (prctl: error {ctypes.get_errno()}): do not hold keys here")
