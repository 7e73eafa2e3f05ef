"""Secrets are kept out of every log: registered texts, and what looks like a key or a token.

Light on purpose: programs that hold no key write logs too. Reading and using keys is `solana.keys`'s.
"""

from __future__ import annotations

import logging
import re
from typing import Final

__all__ = ["RedactSecrets", "redacted", "register_secret"]

_SEED_BYTES: Final = 32
_SECRET_BYTES: Final = 64
_known: Final[set[str]] = set()
_PATTERNS: Final = (
    re.compile(r"\[\s*(?:\d{1,3}\s*,\s*){31,}\d{1,3}\s*\]"),
    re.compile(r"(?i)(?<=x-token)([\"']?\s*[:=,]\s*[\"']?)[^\s\"',}]+"),
    re.compile(r"(?i)(?<=[?&]uuid=)()[^&\s\"']+"),
    re.compile(r"(?i)(?<=x-jito-auth)([\"']?\s*[:=,]\s*[\"']?)[^\s\"',}]+"),
)
_MARK = "[redacted]"


def register_secret(secret: bytes | str) -> None:
    """Keep a secret out of the logs: a text as it is, a 64-byte key in every form in which keys are written."""
    if isinstance(secret, str):
        if len(secret) >= 8:
            _known.add(secret)
        return
    # Only whoever holds a key needs what writes it as text.
    from solders.keypair import Keypair

    from copytrader_core.solana import base58

    _known.update({secret.hex(), secret[:_SEED_BYTES].hex(), repr(secret), repr(secret[:_SEED_BYTES])})
    _known.add(base58.address_text.__wrapped__(secret[:_SEED_BYTES]))
    if len(secret) == _SECRET_BYTES:
        _known.add(str(Keypair.from_bytes(secret)))


class RedactSecrets(logging.Filter):
    """Takes secrets out of a record's text and traceback. Put it on handlers: a logger's filter misses its children.

    A secret key in base58 looks just like a signature, and signatures must stay readable. So what is taken out is:
    every registered secret, exactly, wherever it stands; lists of 32 and more byte-sized numbers; and whatever follows
    x-token, x-jito-auth or a uuid query parameter. Keys that were never loaded here cannot be told from signatures.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Always True: the record is changed, never dropped."""
        record.msg, record.args = redacted(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            record.exc_text = logging.Formatter().formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = redacted(record.exc_text)
        return True


def redacted(text: str) -> str:
    """`text` with what `RedactSecrets` names taken out."""
    for secret in _known:
        text = text.replace(secret, _MARK)
    for pattern in _PATTERNS:
        text = pattern.sub(lambda found: (found.group(1) if found.lastindex else "") + _MARK, text)
    return text
