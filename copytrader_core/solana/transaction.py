"""One landed transaction as every source of transactions hands it over: bytes, indices and integers.

The adapters (`geyser.wire`, `solana.rpc_json`) fill it; the decoder reads it. `validate` is the one place that says what
a complete transaction is, because a half-read one must never be decoded. No parsing of a wire format here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from copytrader_core.errors import DecodeError

LEGACY = -1
SIGNATURE_BYTES = 64
KEY_BYTES = 32
# The runtime's limit on call depth: a top-level instruction has stack height 1, a call inside it at least 2.
MAX_STACK_HEIGHT = 64
LOG_TRUNCATED = "Log truncated"


@dataclass(frozen=True, slots=True)
class RawInstruction:
    """One compiled instruction. `accounts` holds one byte per account: an index into `account_keys`.

    `stack_height` is 1 at the top level, the depth of the call inside, None where the source does not know it.
    """

    program_index: int
    accounts: bytes
    data: bytes
    stack_height: int | None = None


@dataclass(frozen=True, slots=True)
class TokenBalance:
    """The balance of one token account before or after the transaction, `amount` in raw units of `mint`."""

    account_index: int
    mint: str
    owner: str
    program_id: str
    amount: int
    decimals: int


@dataclass(frozen=True, slots=True)
class RawTransaction:
    """A landed transaction. `version` is -1 for legacy, 0 or 1; `fee` and balances are lamports; `block_time` is unix seconds.

    `account_keys` are the static keys, then the loaded writable, then the loaded read-only ones: the order that
    instruction indices refer to. `inner` maps a top-level index to the instructions called below it, in execution
    order. `inner_recorded` is False where the source kept no inner instructions; `logs` is None where it kept no logs.
    """

    slot: int
    tx_index: int | None
    signature: bytes
    account_keys: tuple[bytes, ...]
    n_signers: int
    outer: tuple[RawInstruction, ...]
    inner: Mapping[int, tuple[RawInstruction, ...]]
    logs: tuple[str, ...] | None
    failed: bool
    fee: int
    pre_balances: tuple[int, ...]
    post_balances: tuple[int, ...]
    pre_tokens: tuple[TokenBalance, ...]
    post_tokens: tuple[TokenBalance, ...]
    version: int
    block_time: int | None
    inner_recorded: bool = True

    @property
    def logs_truncated(self) -> bool:
        """Whether the node cut the logs, so that lines are missing."""
        return self.logs is not None and LOG_TRUNCATED in self.logs
