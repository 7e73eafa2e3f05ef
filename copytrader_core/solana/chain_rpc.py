"""What the executor asks the chain, typed: blockhash, statuses, balances, accounts, simulations, leaders.

One call each through an RpcClient, whose errors pass through; an answer of another form is a DecodeError. Nothing is
sent from here.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from solders.hash import Hash
from solders.pubkey import Pubkey

from copytrader_core.errors import DecodeError
from copytrader_core.solana.base58 import signature_bytes, signature_text
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM, TOKEN_PROGRAM
from copytrader_core.solana.rpc import RpcClient

__all__ = [
    "Account",
    "ChainRpc",
    "Commitment",
    "HeldTokens",
    "Lifetime",
    "SignatureStatus",
    "Simulation",
]

Commitment = Literal["processed", "confirmed", "finalized"]
MAX_STATUSES: Final = 256
MAX_ACCOUNTS: Final = 100
_BASE64: Final = "base64"
_AMOUNT_AT: Final = 64
# What a BIGINT holds: neither slots nor lamports come near it.
_LIMIT: Final = 1 << 63
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A blockhash, and the block height after which no transaction with it can land."""

    blockhash: Hash
    last_valid_block_height: int


@dataclass(frozen=True, slots=True)
class SignatureStatus:
    """A landed transaction. `error` None is success; anything else means that it paid its fee and did nothing."""

    slot: int
    error: object | None
    commitment: Commitment


@dataclass(frozen=True, slots=True)
class Account:
    """An account's program, lamports and bytes."""

    owner: Pubkey
    lamports: int
    data: bytes


@dataclass(frozen=True, slots=True)
class HeldTokens:
    """One token account of a wallet: `amount_raw` of `mint` in `account`, under `token_program`."""

    account: Pubkey
    mint: Pubkey
    token_program: Pubkey
    amount_raw: int


@dataclass(frozen=True, slots=True)
class Simulation:
    """What a transaction would do now. `error` None is success."""

    error: object | None
    logs: tuple[str, ...]
    units_consumed: int


class ChainRpc:
    """The questions, put to one node."""

    def __init__(self, client: RpcClient) -> None:
        self._client = client
        self.label = client.label

    def __repr__(self) -> str:
        return f"ChainRpc({self.label})"

    async def latest_blockhash(self, commitment: Commitment = "confirmed") -> Lifetime:
        """The newest blockhash and how long it lives."""

        def read(answer: Any) -> Lifetime:
            value = answer["value"]
            return Lifetime(Hash.from_string(value["blockhash"]), _whole(value["lastValidBlockHeight"]))

        return await self._ask("getLatestBlockhash", [{"commitment": commitment}], read)

    async def block_height(self, commitment: Commitment = "confirmed") -> int:
        """How many blocks there are: what `last_valid_block_height` is compared with."""
        return await self._ask("getBlockHeight", [{"commitment": commitment}], _whole)

    async def statuses(self, signatures: Sequence[str], *, history: bool = True) -> list[SignatureStatus | None]:
        """One per signature, None where the node knows none: on one node that proves nothing. 256 at most at a time.

        `history`: look beyond the newest blocks too.
        """
        found: list[SignatureStatus | None] = []
        for at in range(0, len(signatures), MAX_STATUSES):
            part = list(signatures[at : at + MAX_STATUSES])
            params = [part, {"searchTransactionHistory": history}]
            answers = await self._ask("getSignatureStatuses", params, _values(_status, len(part)))
            found += answers
        return found

    async def transaction(self, signature: str) -> dict[str, Any] | None:
        """A confirmed getTransaction result for `rpc_json`, None where the node does not know it."""
        return await self._client.transaction(signature)

    async def signatures_for(self, address: Pubkey, *, until: str | None = None, limit: int = 1000) -> list[str]:
        """The newest signatures that name an address, newest first, back to `until` (left out)."""
        found = await self._client.signatures(str(address), until=until, limit=limit)
        return self._read("getSignaturesForAddress", found, lambda rows: [_signature(row["signature"]) for row in rows])

    async def balance(self, address: Pubkey, commitment: Commitment = "confirmed") -> int:
        """Lamports of an account, 0 where there is none."""
        return await self._ask(
            "getBalance", [str(address), {"commitment": commitment}], lambda answer: _whole(answer["value"])
        )

    async def belongings(
        self, owner: Pubkey, commitment: Commitment = "confirmed"
    ) -> tuple[int, int, list[HeldTokens]]:
        """Slot, lamports and token accounts of a wallet, of both token programs; the slot is the oldest answer's."""

        def read(answer: Any) -> tuple[int, int]:
            return _whole(answer["context"]["slot"]), _whole(answer["value"])

        slot, lamports = await self._ask("getBalance", [str(owner), {"commitment": commitment}], read)
        held: list[HeldTokens] = []
        for program in (TOKEN_PROGRAM, TOKEN_2022_PROGRAM):
            params = [str(owner), {"programId": str(program)}, {"commitment": commitment, "encoding": _BASE64}]
            at, found = await self._ask("getTokenAccountsByOwner", params, _with_slot(_values(_held)))
            slot, held = min(slot, at), held + found
        return slot, lamports, held

    async def accounts(self, addresses: Sequence[Pubkey], commitment: Commitment = "confirmed") -> list[Account | None]:
        """One per address, None where there is none. 100 at most at a time: more are not of one slot."""
        found: list[Account | None] = []
        for at in range(0, len(addresses), MAX_ACCOUNTS):
            part = [str(address) for address in addresses[at : at + MAX_ACCOUNTS]]
            params = [part, {"commitment": commitment, "encoding": _BASE64}]
            found += await self._ask("getMultipleAccounts", params, _values(_account, len(part)))
        return found

    async def accounts_at(
        self, addresses: Sequence[Pubkey], commitment: Commitment = "confirmed"
    ) -> tuple[int, list[Account | None]]:
        """The slot of the answer, and one account per address, all of that slot. 100 addresses at most."""
        params = [[str(one) for one in addresses], {"commitment": commitment, "encoding": _BASE64}]
        return await self._ask("getMultipleAccounts", params, _with_slot(_values(_account, len(addresses))))

    async def rent(self, size_bytes: int) -> int:
        """Lamports that an account of `size_bytes` must hold."""
        return await self._ask("getMinimumBalanceForRentExemption", [size_bytes], _whole)

    async def simulate(self, wire: bytes, *, with_signature: bool = False) -> Simulation:
        """What a transaction would do. Without `with_signature` the node puts its own blockhash in."""
        options = {
            "encoding": _BASE64,
            "commitment": "processed",
            "sigVerify": with_signature,
            "replaceRecentBlockhash": not with_signature,
        }

        def read(answer: Any) -> Simulation:
            value = answer["value"]
            return Simulation(value["err"], tuple(value.get("logs") or ()), _whole(value.get("unitsConsumed") or 0))

        return await self._ask("simulateTransaction", [base64.b64encode(wire).decode(), options], read)

    async def slot_leaders(self, first: int, count: int) -> list[str]:
        """The leader's identity of each slot from `first` on (at most 5,000)."""
        return await self._ask("getSlotLeaders", [first, count], lambda answer: [str(one) for one in answer])

    async def tpu_addresses(self) -> dict[str, str]:
        """Identity -> "ip:port" of the QUIC port for transactions, those that name one."""
        return await self._ask(
            "getClusterNodes",
            [],
            lambda nodes: {str(node["pubkey"]): str(node["tpuQuic"]) for node in nodes if node.get("tpuQuic")},
        )

    async def _ask(self, method: str, params: Sequence[Any], read: Callable[[Any], _T]) -> _T:
        return self._read(method, await self._client.call(method, params), read)

    def _read(self, method: str, answer: Any, read: Callable[[Any], _T]) -> _T:
        try:
            return read(answer)
        except Exception as error:  # noqa: BLE001 - libraries below have errors of their own for texts that are odd
            raise DecodeError(
                f"{self.label} answered {method} in another form ({type(error).__name__}): ask another node"
            ) from None


def _values(read: Callable[[Any], _T], count: int | None = None) -> Callable[[Any], list[_T]]:
    def read_all(answer: Any) -> list[_T]:
        values = answer["value"]
        if count is not None and len(values) != count:
            raise ValueError(f"{len(values)} answers to {count} questions")
        return [read(value) for value in values]

    return read_all


def _with_slot(read: Callable[[Any], list[_T]]) -> Callable[[Any], tuple[int, list[_T]]]:
    return lambda answer: (_whole(answer["context"]["slot"]), read(answer))


def _signature(text: str) -> str:
    return signature_text(signature_bytes(text))


def _whole(value: object) -> int:
    if type(value) is not int or not 0 <= value < _LIMIT:
        raise ValueError(f"expected a whole number, found {value!r}")
    return value


def _status(value: Mapping[str, Any] | None) -> SignatureStatus | None:
    if value is None:
        return None
    # Old nodes leave the name out and count confirmations; None of those means finalized.
    named: Commitment = value.get("confirmationStatus") or (
        "finalized" if value["confirmations"] is None else "processed"
    )
    if named not in ("processed", "confirmed", "finalized"):
        raise ValueError(f"a status of {named!r}")
    return SignatureStatus(_whole(value["slot"]), value["err"], named)


def _account(value: Mapping[str, Any] | None) -> Account | None:
    if value is None:
        return None
    text, encoding = value["data"]
    if encoding != _BASE64:
        raise ValueError(f"encoding {encoding!r}")
    data = base64.b64decode(text, validate=True)
    return Account(Pubkey.from_string(value["owner"]), _whole(value["lamports"]), data)


def _held(row: Mapping[str, Any]) -> HeldTokens:
    account = _account(row["account"])
    if account is None or len(account.data) < _AMOUNT_AT + 8:
        raise ValueError("a token account without its amount")
    (amount,) = struct.unpack_from("<Q", account.data, _AMOUNT_AT)
    return HeldTokens(Pubkey.from_string(row["pubkey"]), Pubkey(account.data[:32]), account.owner, amount)
