"""The block engine of a live chain: bundles and single transactions over HTTP, as Jito's takes them. Loopback only.

Which slots a bundle can land in, and that it lands whole, is the chain's.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiohttp import web
from solders.pubkey import Pubkey
from solders.transaction import VersionedTransaction

from copytrader_core.errors import StreamError
from copytrader_core.pump import addresses as a
from copytrader_core.solana.programs import SYSTEM_PROGRAM
from simnet.live_chain import Bundle, LiveChain
from simnet.rpc_params import INVALID_PARAMS, RefusalError, invalid, options_at
from simnet.sending import decode_transaction, verify

__all__ = ["MIN_TIP_LAMPORTS", "BlockEngine", "tip_of"]

MIN_TIP_LAMPORTS = 1_000
_MAX_TRANSACTIONS = 5
_TRANSFER = (2).to_bytes(4, "little")
# Statuses of bundles in flight are kept for five minutes.
_IN_FLIGHT_SLOTS = 750
_LAMPORTS_PER_SOL = 1_000_000_000
_N_TIPS = 400
_PERCENTILES = (25, 50, 75, 95, 99)


class BlockEngine:
    """A running endpoint; `url` is "http://127.0.0.1:PORT". `requests_per_s` may be changed; 0 lifts the limit."""

    def __init__(self, chain: LiveChain, requests_per_s: float) -> None:
        self.url = ""
        self.requests_per_s = requests_per_s
        self._chain = chain
        self._last_request = 0.0
        self._tips: deque[int] = deque((10_000, 50_000, 200_000, 1_000_000), maxlen=_N_TIPS)
        self._methods = {
            "getBundleStatuses": self._statuses,
            "getInflightBundleStatuses": self._in_flight,
            "getTipAccounts": self._tip_accounts,
            "sendBundle": self._send_bundle,
        }

    async def start(self, port: int = 0) -> None:
        """Listens on loopback. Raises StreamError if the port is taken."""
        application = web.Application(client_max_size=2**16)
        application.router.add_get("/api/v1/bundles/tip_floor", self._tip_floor)
        application.router.add_post("/api/v1/transactions", self._transactions)
        for path in ("bundles", *self._methods):
            application.router.add_post(f"/api/v1/{path}", self._bundles)
        self._runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, "127.0.0.1", port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise StreamError(
                f"port {port} on 127.0.0.1 cannot be used: end what listens there, or take another port"
            ) from error
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Gives the port back."""
        await self._runner.cleanup()

    # --- requests -----------------------------------------------------------------------------------------------------

    async def _bundles(self, request: web.Request) -> web.Response:
        return await self._answer(request, None)

    async def _transactions(self, request: web.Request) -> web.Response:
        return await self._answer(request, request.query.get("bundleOnly") == "true")

    async def _answer(self, request: web.Request, bundle_only: bool | None) -> web.Response:
        """`bundle_only` is None on the paths for bundles."""
        if self._is_too_soon():
            message = "Rate limit exceeded. Limit: 1 per second for txn requests"
            return _refused(None, -32097, message, status=429)
        try:
            asked = json.loads(await request.read())
        except ValueError:
            return _refused(None, -32700, "Parse error", status=400)
        if not isinstance(asked, Mapping):
            return _refused(None, -32600, "Invalid request", status=400)
        id_, params = asked.get("id"), asked.get("params") or []
        try:
            if bundle_only is not None and asked.get("method") == "sendTransaction":
                return self._send_transaction(id_, params, bundle_only)
            method = self._methods.get(str(asked.get("method"))) if bundle_only is None else None
            if method is None:
                return _refused(id_, -32601, "Method not found", status=400)
            return web.json_response({"jsonrpc": "2.0", "result": method(params), "id": id_})
        except RefusalError as refusal:
            return web.json_response({"jsonrpc": "2.0", "error": refusal.body, "id": id_}, status=400)

    def _is_too_soon(self) -> bool:
        now = time.monotonic()
        if self.requests_per_s and now - self._last_request < 1 / self.requests_per_s:
            return True
        self._last_request = now
        return False

    def _send_transaction(self, id_: Any, params: Sequence[Any], bundle_only: bool) -> web.Response:
        """To the leader without preflight; with `bundle_only` as a bundle of one, which never lands failed."""
        transaction = decode_transaction(params, options_at(params, 1))
        verify(transaction)
        headers = {}
        if bundle_only:
            headers["x-bundle-id"] = self._take((transaction,)).bundle_id
        else:
            self._chain.send(transaction, repeats=False)
        body = {"jsonrpc": "2.0", "result": str(transaction.signatures[0]), "id": id_}
        return web.json_response(body, headers=headers)

    def _send_bundle(self, params: Sequence[Any]) -> str:
        texts, options = params[0] if params else None, options_at(params, 1)
        if not isinstance(texts, list) or not 1 <= len(texts) <= _MAX_TRANSACTIONS:
            raise invalid(f"Invalid params: a bundle has 1 to {_MAX_TRANSACTIONS} transactions")
        transactions = tuple(decode_transaction([text], options) for text in texts)
        for transaction in transactions:
            verify(transaction)
        if len({transaction.signatures[0] for transaction in transactions}) < len(transactions):
            raise invalid("bundle contains duplicate transactions")
        return self._take(transactions).bundle_id

    def _take(self, transactions: tuple[VersionedTransaction, ...]) -> Bundle:
        tip = sum(map(tip_of, transactions))
        if tip < MIN_TIP_LAMPORTS:
            raise invalid(
                f"bundles must write lock at least one tip account and tip {MIN_TIP_LAMPORTS} lamports to be eligible "
                f"for the auction; found {tip}"
            )
        if any(not self._chain.bank.lives(transaction) for transaction in transactions):
            raise invalid("bundle contains an expired blockhash")
        self._tips.append(tip)
        return self._chain.send_bundle(transactions, tip)

    # --- answers ------------------------------------------------------------------------------------------------------

    def _tip_accounts(self, params: Sequence[Any]) -> list[str]:
        return [str(account) for account in a.JITO_TIP_ACCOUNTS]

    async def _tip_floor(self, request: web.Request) -> web.Response:
        ordered = sorted(self._tips)
        floor: dict[str, Any] = {"time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        for percent in _PERCENTILES:
            tip = ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]
            floor[f"landed_tips_{percent}th_percentile"] = tip / _LAMPORTS_PER_SOL
        floor["ema_landed_tips_50th_percentile"] = ordered[len(ordered) // 2] / _LAMPORTS_PER_SOL
        return web.json_response([floor])

    def _statuses(self, params: Sequence[Any]) -> dict[str, Any]:
        """Bundles that have landed; null for all others."""
        found: list[dict[str, Any] | None] = []
        for bundle in self._asked(params):
            index = None if bundle is None else self._index(bundle)
            if bundle is None or index is None:
                found.append(None)
                continue
            found.append(
                {
                    "bundle_id": bundle.bundle_id,
                    "transactions": bundle.signatures,
                    "slot": bundle.landed_slot,
                    "confirmation_status": self._chain.commitment_of(index),
                    "err": {"Ok": None},
                }
            )
        return {"context": {"slot": self._chain.slot}, "value": found}

    def _in_flight(self, params: Sequence[Any]) -> dict[str, Any]:
        ids = params[0] if params else []
        value = [
            {
                "bundle_id": id_,
                "status": "Invalid" if bundle is None else self._status(bundle),
                "landed_slot": None if bundle is None else bundle.landed_slot,
            }
            for id_, bundle in zip(ids, self._asked(params), strict=True)
        ]
        return {"context": {"slot": self._chain.slot}, "value": value}

    def _status(self, bundle: Bundle) -> str:
        if self._chain.slot - bundle.received_slot > _IN_FLIGHT_SLOTS:
            return "Invalid"
        if bundle.status == "Pending" and not self._chain.intake.is_waiting(bundle.bundle_id):
            return "Failed"
        return bundle.status

    def _asked(self, params: Sequence[Any]) -> Iterable[Bundle | None]:
        ids = params[0] if params else None
        if not isinstance(ids, list) or len(ids) > _MAX_TRANSACTIONS:
            raise RefusalError(INVALID_PARAMS, f"Invalid params: expected at most {_MAX_TRANSACTIONS} bundle ids")
        return [self._chain.bundles.get(str(id_)) for id_ in ids]

    def _index(self, bundle: Bundle) -> int | None:
        return self._chain.ledger.position(bundle.landed_slot) if bundle.landed_slot is not None else None


def tip_of(transaction: VersionedTransaction) -> int:
    """Lamports that a transaction's own instructions send to tip accounts; those of a lookup table do not count."""
    keys, total = transaction.message.account_keys, 0
    for step in transaction.message.instructions:
        data, accounts = bytes(step.data), bytes(step.accounts)
        if keys[step.program_id_index] != SYSTEM_PROGRAM or data[:4] != _TRANSFER or len(accounts) < 2:
            continue
        if _is_tip_account(keys[accounts[1]] if accounts[1] < len(keys) else None):
            total += int.from_bytes(data[4:12], "little")
    return total


def _is_tip_account(key: Pubkey | None) -> bool:
    return key in a.JITO_TIP_ACCOUNTS


def _refused(id_: Any, code: int, message: str, *, status: int) -> web.Response:
    return web.json_response({"jsonrpc": "2.0", "error": {"code": code, "message": message}, "id": id_}, status=status)
