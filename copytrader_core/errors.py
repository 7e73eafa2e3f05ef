"""The project's error tree. A message says what was expected, what was found and what to do."""


class CopytraderError(Exception):
    """Any failure that a user can act on; the command line prints it without a traceback and exits 1."""


class ConfigError(CopytraderError):
    """A setting, file or environment variable is missing or wrong."""


class DecodeError(CopytraderError):
    """Bytes that claim to be ours do not have the layout they must have. Never a guess at older layouts."""


class QuoteError(CopytraderError):
    """A quote was asked for that the curve or pool cannot give (complete, empty, or out of range)."""


class TooSmallError(QuoteError):
    """The amount is too small to buy one raw unit."""


class TransactionError(CopytraderError):
    """A transaction cannot be built as asked: too large, too many signers, a tip through a lookup table."""


class StoreError(CopytraderError):
    """Postgres or the lake cannot do what was asked (missing, newer than the code, not sealed)."""


class StreamError(CopytraderError):
    """The provider's stream cannot be used as configured."""


class DataError(CopytraderError):
    """Data breaks a rule that everything after it relies on; the message names the rows."""
