"""The wallet's key: which files are refused, that signatures verify, and that no secret reaches any text."""

from __future__ import annotations

import copy
import io
import json
import logging
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from solders.keypair import Keypair

from copytrader_core.errors import ConfigError
from copytrader_core.solana.keys import RedactSecrets, Signer, load_signer, new_identity, pem, register_secret

KEYS = Keypair.from_seed(bytes(range(32)))
SECRET = bytes(KEYS)


def key_file(folder: Path, text: str | None = None, mode: int = 0o600) -> Path:
    path = folder / "wallet-key"
    path.write_text(json.dumps(list(SECRET)) if text is None else text)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("text", [json.dumps(list(SECRET)), str(KEYS), f"  {KEYS}\n"])
def test_both_formats_give_the_key_that_signs_as_the_official_one(tmp_path: Path, text: str):
    signer = load_signer(key_file(tmp_path, text))
    assert (signer.pubkey, signer.address) == (KEYS.pubkey(), str(KEYS.pubkey()))
    for message in (b"", b"a", bytes(1232)):
        assert signer.sign(message) == bytes(KEYS.sign_message(message))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o601])
def test_a_file_that_others_may_touch_is_refused(tmp_path: Path, mode: int):
    with pytest.raises(ConfigError, match="chmod 600"):
        load_signer(key_file(tmp_path, mode=mode))


def test_a_link_is_judged_by_the_file_it_leads_to(tmp_path: Path):
    link = tmp_path / "link"
    link.symlink_to(key_file(tmp_path, mode=0o644))
    with pytest.raises(ConfigError, match="chmod 600"):
        load_signer(link)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe", 0o600)
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(ConfigError):
            load_signer(path)


def swapped() -> str:
    other = bytes(Keypair.from_seed(bytes(32)).pubkey())
    return json.dumps(list(SECRET[:32] + other))


@pytest.mark.parametrize(
    "text",
    [
        *("", "[]", "[1,2]", "0OIl", str(KEYS)[:60], json.dumps([*SECRET[:63], 256]), json.dumps([True] * 64)),
        *("[" * 3000, swapped(), "{}", json.dumps(list(SECRET[:32])), "x" * 5000, "é" * 40),
    ],
)
def test_what_is_no_key_is_refused_and_never_repeated(tmp_path: Path, text: str):
    with pytest.raises(ConfigError) as raised:
        load_signer(key_file(tmp_path, text))
    shown = "".join(traceback.format_exception(raised.value))
    assert not text or len(text) < 4 or text not in shown


def test_the_service_credential_is_found_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(ConfigError, match="LoadCredential=wallet-key"):
        load_signer()
    key_file(tmp_path, mode=0o400)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert load_signer().pubkey == KEYS.pubkey()


def forms() -> list[str]:
    whole = [SECRET, SECRET[:32]]
    text = pem(Ed25519PrivateKey.from_private_bytes(SECRET[:32])).decode()
    plain = [text.splitlines()[1], str(KEYS), str(list(SECRET))]
    return [*plain, *[part.hex() for part in whole], *[repr(part) for part in whole]]


def test_a_signer_shows_nothing_and_cannot_be_copied(tmp_path: Path):
    signer = load_signer(key_file(tmp_path))
    shown = f"{signer} {signer!r} {[signer]}"
    assert KEYS.pubkey().__str__() in shown and not [form for form in forms() if form in shown]
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="never pickled"):
            attempt(signer)
    with pytest.raises(ConfigError) as raised:
        Signer(SECRET[:31])
    assert SECRET[:31].hex() not in str(raised.value)


def logged(emit) -> str:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactSecrets())
    logger = logging.getLogger("copytrader.test_keys")
    logger.addHandler(handler)
    try:
        emit(logger)
    finally:
        logger.removeHandler(handler)
    return stream.getvalue()


@pytest.mark.parametrize("form", forms())
def test_a_loaded_key_is_taken_out_of_logs_in_every_form(tmp_path: Path, form: str):
    load_signer(key_file(tmp_path))

    def fail(logger: logging.Logger) -> None:
        logger.error("key %s", form)
        try:
            raise ValueError(form)
        except ValueError:
            logger.exception("lost")

    text = logged(fail)
    assert form not in text and text.count("[redacted]") >= 2 and "ValueError" in text


def test_signatures_and_addresses_stay_readable(tmp_path: Path):
    signer = load_signer(key_file(tmp_path))
    signature = str(KEYS.sign_message(b"hello"))
    text = logged(lambda logger: logger.error("sent %s of %s", signature, signer.address))
    assert signature in text and signer.address in text


@pytest.mark.parametrize(
    "line",
    [
        "x-token: hush-hush",
        "{'x-token': 'hush-hush'}",
        "https://host/api?uuid=hush-hush&x=1",
        "('x-token', 'hush-hush')",
        "x-jito-auth=hush-hush",
        str(list(range(64))),
    ],
)
def test_tokens_and_number_lists_are_taken_out(line: str):
    text = logged(lambda logger: logger.error(line))
    assert "hush-hush" not in text and "62, 63" not in text and "[redacted]" in text


def test_a_registered_token_is_taken_out():
    register_secret("swordfish-token")
    assert "swordfish" not in logged(lambda logger: logger.error("use swordfish-token"))


def test_the_identity_is_fresh_each_time():
    assert new_identity().public_key().public_bytes_raw() != new_identity().public_key().public_bytes_raw()


def test_a_guarded_process_leaves_no_core_and_is_not_readable():
    script = (
        "import ctypes, resource; from copytrader_core.solana.keys import guard_process; guard_process();"
        "print(resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "(0, 0) 0"
