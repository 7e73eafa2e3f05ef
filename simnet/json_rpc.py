"""The local chain's JSON-RPC endpoint: the history methods of a validator over a tape, on loopback, without a token.

How a block looks in JSON is simnet.json_blocks', where its transactions are simnet.rpc_index'.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from copytrader_core.errors import StreamError
from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.solana.base58 import signature_text
from simnet.json_blocks import transaction_json, version_of
from simnet.rpc_index import ChainIndex, Place
from simnet.rpc_params import (
    INVALID_PARAMS,
    RefusalError,
    address_of,
    invalid,
    json_only,
    options_at,
    settled,
    signature_of,
    slot_at,
)
from simnet.stream import last_alive
from simnet.tape import read_tape
from simnet.timeline import Broadcast, Chain, Entry, Pace, Timeline

__all__ = ["RpcServer", "serve_rpc"]

_LEVELS = {"processed": pb.PROCESSED, "confirmed": pb.CONFIRMED, "finalized": pb.FINALIZED}
_MAX_RANGE = 500_000
_MAX_SIGNATURES = 1000
_EVERY_SLOT = 2**63

Intercept = Callable[[str], Awaitable[web.Response | None]]


class RpcServer:
    """A running endpoint. `address` is "127.0.0.1:PORT", `calls` counts requests by method.

    `intercept` may answer a request in the server's place, to play a node in trouble. `keep_from_slot`: blocks before
    it have been cleaned up.
    """

    def __init__(self, broadcast: Chain, *, keep_from_slot: int = 0, intercept: Intercept | None = None) -> None:
        self.address = ""
        self.calls: Counter[str] = Counter()
        self.intercept = intercept
        self.keep_from_slot = keep_from_slot
        self._broadcast = broadcast
        self._index = ChainIndex(broadcast.timeline)
        self._methods: dict[str, Callable[[Sequence[Any]], Awaitable[Any]]] = {
            "getBlock": self._block,
            "getBlockHeight": self._block_height,
            "getBlockTime": self._block_time,
            "getBlocks": self._blocks,
            "getBlocksWithLimit": self._blocks_with_limit,
            "getFirstAvailableBlock": self._first_available_block,
            "getHealth": self._health,
            "getSignaturesForAddress": self._signatures,
            "getSlot": self._slot,
            "getTransaction": self._transaction,
            "getVersion": self._version,
        }

    async def start(self, port: int = 0) -> None:
        """Listens on loopback. Raises StreamError if the port is taken."""
        application = web.Application(client_max_size=2**20)
        self._route(application.router)
        application.router.add_post("/{tail:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise StreamError(
                f"port {port} on 127.0.0.1 cannot be used: end what listens there, or take another port"
            ) from error
        self.address = f"127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Gives the port back."""
        await self._runner.cleanup()

    def _route(self, router: web.UrlDispatcher) -> None:
        """What else this address serves."""

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            asked = json.loads(await request.read())
        except ValueError:
            return _response(_error(None, -32700, "Parse error"))
        if not isinstance(asked, list):
            method = str(asked.get("method")) if isinstance(asked, Mapping) else ""
            self.calls[method] += 1
            if self.intercept is not None and (answer := await self.intercept(method)) is not None:
                return answer
            return _response(await self._one(asked))
        return _response([await self._one(one) for one in asked])

    async def _one(self, asked: Any) -> dict[str, Any]:
        if not isinstance(asked, Mapping) or not isinstance(asked.get("method"), str):
            return _error(None, -32600, "Invalid request")
        method = self._methods.get(asked["method"])
        if method is None:
            return _error(asked.get("id"), -32601, "Method not found")
        params = asked.get("params") or []
        if not isinstance(params, list):
            return _error(asked.get("id"), INVALID_PARAMS, "`params` should be an array")
        try:
            return {"jsonrpc": "2.0", "result": await method(params), "id": asked.get("id")}
        except RefusalError as refusal:
            return {"jsonrpc": "2.0", "error": refusal.body, "id": asked.get("id")}

    # --- the chain as it is now ---------------------------------------------------------------------------------------

    def _reached(self, options: Mapping[str, Any]) -> int:
        """How many blocks the caller may see. A tape without a clock is there as a whole, whoever has read how far."""
        level = _LEVELS.get(options.get("commitment", "finalized"))
        if level is None:
            raise invalid("unknown commitment")
        if not self._broadcast.has_clock:
            return self._broadcast.timeline.position(_EVERY_SLOT)
        return self._broadcast.reached(level)

    def _tip(self, options: Mapping[str, Any]) -> Entry:
        entry = last_alive(self._broadcast, self._reached(options))
        if entry is None:
            raise RefusalError(-32004, "Block not available: no slot has reached this commitment yet")
        wanted = options.get("minContextSlot")
        if wanted is not None and wanted > entry.slot:
            raise RefusalError(-32016, "Minimum context slot has not been reached", {"contextSlot": entry.slot})
        return entry

    def _first_slot(self) -> int:
        entry = self._broadcast.timeline.entry(self._broadcast.timeline.position(self.keep_from_slot))
        return entry.slot if entry else self.keep_from_slot

    def _entry(self, slot: int, options: Mapping[str, Any]) -> tuple[int, Entry]:
        """The block of a slot and its position."""
        reached = self._reached(options)
        if slot < self._first_slot():
            raise RefusalError(
                -32001,
                f"Block {slot} cleaned up, does not exist on node. First available block: {self._first_slot()}",
            )
        position = self._broadcast.timeline.position(slot)
        if position >= reached:
            raise RefusalError(-32004, f"Block not available for slot {slot}")
        entry = self._broadcast.timeline.entry(position)
        if entry is None or entry.slot != slot or entry.is_dead:
            if position < self._reached({"commitment": "finalized"}):
                raise RefusalError(-32009, f"Slot {slot} was skipped, or missing in long-term storage")
            raise RefusalError(-32007, f"Slot {slot} was skipped, or missing due to ledger jump to recent snapshot")
        return position, entry

    async def _slot(self, params: Sequence[Any]) -> int:
        return self._tip(options_at(params, 0)).slot

    async def _block_height(self, params: Sequence[Any]) -> int:
        return self._tip(options_at(params, 0)).height

    async def _first_available_block(self, params: Sequence[Any]) -> int:
        return self._first_slot()

    async def _health(self, params: Sequence[Any]) -> str:
        return "ok"

    async def _version(self, params: Sequence[Any]) -> dict[str, Any]:
        return {"solana-core": "copytrader-simnet", "feature-set": 0}

    # --- blocks -------------------------------------------------------------------------------------------------------

    async def _blocks(self, params: Sequence[Any]) -> list[int]:
        first = slot_at(params, 0)
        last = params[1] if len(params) > 1 and isinstance(params[1], int) else None
        options = options_at(params, 2 if last is not None else 1)
        settled(options)
        last = self._tip(options).slot if last is None else last
        if last - first > _MAX_RANGE:
            raise invalid(f"Slot range too large; max {_MAX_RANGE}")
        return self._slots(first, last, math.inf, options)

    async def _blocks_with_limit(self, params: Sequence[Any]) -> list[int]:
        first, limit = slot_at(params, 0), slot_at(params, 1)
        options = options_at(params, 2)
        settled(options)
        if limit > _MAX_RANGE:
            raise invalid(f"Limit too large; max {_MAX_RANGE}")
        return self._slots(first, math.inf, limit, options)

    def _slots(self, first: int, last: float, limit: float, options: Mapping[str, Any]) -> list[int]:
        reached = self._reached(options)
        found: list[int] = []
        position = self._broadcast.timeline.position(max(first, self._first_slot()))
        while position < reached and len(found) < limit:
            entry = self._broadcast.timeline.entry(position)
            if entry is None or entry.slot > last:
                break
            if not entry.is_dead:
                found.append(entry.slot)
            position += 1
        return found

    async def _block_time(self, params: Sequence[Any]) -> int:
        return self._entry(slot_at(params, 0), {"commitment": "confirmed"})[1].block_time

    async def _block(self, params: Sequence[Any]) -> dict[str, Any]:
        slot, options = slot_at(params, 0), options_at(params, 1)
        settled(options)
        details = options.get("transactionDetails", "full")
        if details not in ("full", "signatures", "none"):
            raise invalid(f"transactionDetails {details!r}: this chain knows full, signatures and none")
        json_only(options)
        position, entry = self._entry(slot, options)
        block = self._broadcast.timeline.block(position)
        document: dict[str, Any] = {
            "blockhash": entry.blockhash,
            "previousBlockhash": block.parent_blockhash,
            "parentSlot": entry.parent,
            "blockTime": entry.block_time,
            "blockHeight": entry.height,
        }
        if details == "signatures":
            document["signatures"] = [signature_text(info.signature) for info in block.transactions]
        elif details == "full":
            document["transactions"] = [_checked(info, options) for info in block.transactions]
        if options.get("rewards", True):
            document["rewards"] = []
        return document

    # --- transactions -------------------------------------------------------------------------------------------------

    async def _transaction(self, params: Sequence[Any]) -> dict[str, Any] | None:
        signature, options = signature_of(params[0] if params else None), options_at(params, 1)
        settled(options)
        json_only(options)
        reached = self._reached(options)
        await self._index.reach(reached)
        place = self._index.by_signature.get(signature)
        entry = self._broadcast.timeline.entry(place[0]) if place else None
        if place is None or entry is None or entry.is_dead or place[0] >= reached or entry.slot < self._first_slot():
            return None
        info = self._broadcast.timeline.block(place[0]).transactions[place[1]]
        return {"slot": entry.slot, "blockTime": entry.block_time, **_checked(info, options)}

    async def _signatures(self, params: Sequence[Any]) -> list[dict[str, Any]]:
        address, options = address_of(params[0] if params else None), options_at(params, 1)
        settled(options)
        limit = options.get("limit", _MAX_SIGNATURES)
        if not isinstance(limit, int) or not 1 <= limit <= _MAX_SIGNATURES:
            raise invalid(f"Invalid limit; max {_MAX_SIGNATURES}")
        self._tip(options)
        reached = self._reached(options)
        await self._index.reach(reached)
        before, until = self._bound(options.get("before")), self._bound(options.get("until"))
        if options.get("before") is not None and before is None:
            return []
        lowest = (self._broadcast.timeline.position(self._first_slot()), 0)
        found: list[dict[str, Any]] = []
        for place in reversed(self._index.by_address.get(address, ())):
            if place < lowest or len(found) == limit or (until is not None and place <= until):
                break
            if place[0] < reached and (before is None or place < before):
                found.append(self._signature_info(place))
        return found

    def _bound(self, text: str | None) -> Place | None:
        return None if text is None else self._index.by_signature.get(signature_of(text))

    def _signature_info(self, place: Place) -> dict[str, Any]:
        entry = self._broadcast.timeline.entry(place[0])
        if entry is None:
            raise RefusalError(-32603, "Internal error")
        signature, error = self._index.briefs[place]
        finalized = place[0] < self._reached({"commitment": "finalized"})
        return {
            "signature": signature,
            "slot": entry.slot,
            "err": error,
            "memo": None,
            "blockTime": entry.block_time,
            "confirmationStatus": "finalized" if finalized else "confirmed",
        }


@asynccontextmanager
async def serve_rpc(tape_path: Path | str, *, port: int = 0, **options: Any) -> AsyncIterator[RpcServer]:
    """Serves the whole tape at `tape_path` as finished history; the options are RpcServer's.

    Raises DataError for a bad tape, StreamError for a port that is taken.
    """
    pace = Pace()
    timeline = Timeline(read_tape(tape_path), pace)
    server = RpcServer(Broadcast(timeline, pace), **options)
    try:
        await server.start(port)
        try:
            yield server
        finally:
            await server.stop()
    finally:
        timeline.close()


def _checked(info: pb.SubscribeUpdateTransactionInfo, options: Mapping[str, Any]) -> dict[str, Any]:
    """The transaction, unless its version is one that the caller does not know."""
    version = version_of(info)
    known = options.get("maxSupportedTransactionVersion")
    if isinstance(version, int) and (known is None or version > known):
        raise RefusalError(
            -32015,
            f"Transaction version ({version}) is not supported by the requesting client. Please try the request again "
            f'with the following configuration parameter: "maxSupportedTransactionVersion": {version}',
        )
    return transaction_json(info)


def _response(content: Any) -> web.Response:
    return web.Response(body=json.dumps(content, separators=(",", ":")).encode(), content_type="application/json")


def _error(id_: Any, code: int, message: str) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": id_}
