"""The JSON-RPC of a live chain: what history cannot answer, and a node that can be made to misbehave.

Accounts are shown as the newest processed block left them, whatever commitment is asked for: the bank has one state.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from aiohttp import web
from solders.account import Account
from solders.hash import Hash
from solders.keypair import Keypair
from solders.message import MessageV0
from solders.pubkey import Pubkey
from solders.system_program import TransferParams, transfer
from solders.transaction import VersionedTransaction

from copytrader_core.errors import ConfigError
from copytrader_core.solana.programs import TOKEN_2022_PROGRAM, TOKEN_PROGRAM
from simnet.account_json import account_json, is_token_account, ui_amount
from simnet.bank import BLOCKHASH_LIFETIME, SLOTS_PER_EPOCH
from simnet.json_blocks import error_json
from simnet.json_rpc import RpcServer
from simnet.live_chain import LiveChain
from simnet.rpc_params import RefusalError, address_of, invalid, options_at, signature_of, slot_at
from simnet.sending import decode_transaction, preflight, simulation_json, verify

__all__ = ["LiveRpc"]

_MAX_STATUSES = 256
_MAX_ACCOUNTS = 100
_MAX_LEADERS = 5_000
# How long a node remembers a status without searching its history.
_STATUS_CACHE_SLOTS = 300


class LiveRpc(RpcServer):
    """A node of the chain. `tpu`: the address of every validator's QUIC port. POST /faults changes what goes wrong."""

    def __init__(self, chain: LiveChain, tpu: Mapping[Pubkey, str]) -> None:
        super().__init__(chain.ledger, intercept=self._trouble)
        self._chain = chain
        self._bank = chain.bank
        self._tpu = tpu
        self._stalled: Hash | None = None
        self._purse = Keypair()
        self._n_airdrops = 0
        self._methods |= {
            "getAccountInfo": self._account_info,
            "getBalance": self._balance,
            "getClusterNodes": self._cluster_nodes,
            "getEpochInfo": self._epoch_info,
            "getLatestBlockhash": self._latest_blockhash,
            "getLeaderSchedule": self._leader_schedule,
            "getMinimumBalanceForRentExemption": self._rent,
            "getMultipleAccounts": self._multiple_accounts,
            "getSignatureStatuses": self._statuses,
            "getSlotLeader": self._slot_leader,
            "getSlotLeaders": self._slot_leaders,
            "getTokenAccountBalance": self._token_balance,
            "getTokenAccountsByOwner": self._token_accounts,
            "isBlockhashValid": self._blockhash_valid,
            "requestAirdrop": self._airdrop,
            "sendTransaction": self._send,
            "simulateTransaction": self._simulate,
        }

    # --- trouble ------------------------------------------------------------------------------------------------------

    def _route(self, router: web.UrlDispatcher) -> None:
        router.add_post("/faults", self._change_faults)
        router.add_get("/faults", self._show_faults)

    async def _show_faults(self, request: web.Request) -> web.Response:
        return web.json_response(self._chain.faults.values())

    async def _change_faults(self, request: web.Request) -> web.Response:
        """Takes {"set": {name: value}, "once": [name, ...]}, both optional."""
        try:
            asked = json.loads(await request.read())
            if not isinstance(asked, dict) or not asked.keys() <= {"set", "once"}:
                raise ConfigError('expected {"set": {name: value}, "once": [name, ...]}')
            self._chain.faults.set(asked.get("set", {}))
            for name in asked.get("once", ()):
                self._chain.faults.once(name)
        except (ValueError, ConfigError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return await self._show_faults(request)

    async def _trouble(self, method: str) -> web.Response | None:
        faults = self._chain.faults
        if faults.strikes("rpc_429"):
            body = {"jsonrpc": "2.0", "error": {"code": 429, "message": "Too many requests"}, "id": None}
            return web.json_response(body, status=429, headers={"Retry-After": "1"})
        if faults.strikes("rpc_timeout"):
            await asyncio.sleep(faults.rpc_timeout_ms / 1000)
            return web.Response(status=504, text="upstream request timeout")
        return None

    def _reached(self, options: Mapping[str, Any]) -> int:
        return max(1, super()._reached(options) - self._chain.faults.stale_slots)

    def _context(self, options: Mapping[str, Any], value: Any) -> dict[str, Any]:
        return {"context": {"slot": self._tip(options).slot, "apiVersion": "4.1.0"}, "value": value}

    # --- the chain ----------------------------------------------------------------------------------------------------

    async def _latest_blockhash(self, params: Sequence[Any]) -> dict[str, Any]:
        options = options_at(params, 0)
        tip = self._tip(options)
        if self._chain.faults.blockhash_stall:
            self._stalled = self._stalled or Hash.from_string(tip.blockhash)
        else:
            self._stalled = None
        return self._context(
            options,
            {
                "blockhash": str(self._stalled or tip.blockhash),
                "lastValidBlockHeight": self._last_valid(self._stalled, tip.height),
            },
        )

    def _last_valid(self, stalled: Hash | None, height: int) -> int:
        """The height until which the given blockhash, or that of the block at `height`, can be used."""
        if stalled is not None:
            for index in range(self._chain.tip_index, -1, -1):
                entry = self._chain.ledger.entry(index)
                if entry is not None and entry.blockhash == str(stalled):
                    return entry.height + BLOCKHASH_LIFETIME
        return height + BLOCKHASH_LIFETIME

    async def _blockhash_valid(self, params: Sequence[Any]) -> dict[str, Any]:
        try:
            blockhash = Hash.from_string(params[0])
        except (ValueError, TypeError, IndexError):
            raise invalid("Invalid param: not a blockhash") from None
        return self._context(options_at(params, 1), self._bank.is_blockhash_valid(blockhash))

    async def _epoch_info(self, params: Sequence[Any]) -> dict[str, Any]:
        tip = self._tip(options_at(params, 0))
        return {
            "absoluteSlot": tip.slot,
            "blockHeight": tip.height,
            "epoch": tip.slot // SLOTS_PER_EPOCH,
            "slotIndex": tip.slot % SLOTS_PER_EPOCH,
            "slotsInEpoch": SLOTS_PER_EPOCH,
            "transactionCount": len(self._chain.landed),
        }

    async def _slot_leader(self, params: Sequence[Any]) -> str:
        return str(self._chain.leaders.at(self._tip(options_at(params, 0)).slot))

    async def _slot_leaders(self, params: Sequence[Any]) -> list[str]:
        first, limit = slot_at(params, 0), slot_at(params, 1)
        if not 1 <= limit <= _MAX_LEADERS:
            raise invalid(f"Invalid limit; max {_MAX_LEADERS}")
        return [str(self._chain.leaders.at(slot)) for slot in range(first, first + limit)]

    async def _leader_schedule(self, params: Sequence[Any]) -> dict[str, list[int]]:
        slot = params[0] if params and isinstance(params[0], int) else self._chain.slot
        first = slot - slot % SLOTS_PER_EPOCH
        schedule: dict[str, list[int]] = {str(key): [] for key in self._chain.leaders.identities}
        for index in range(SLOTS_PER_EPOCH):
            schedule[str(self._chain.leaders.at(first + index))].append(index)
        return schedule

    async def _cluster_nodes(self, params: Sequence[Any]) -> list[dict[str, Any]]:
        return [
            {
                "pubkey": str(identity),
                "tpuQuic": self._tpu.get(identity),
                "tpu": None,
                "gossip": None,
                "rpc": self.address,
                "version": "4.1.0",
                "featureSet": 0,
                "shredVersion": 0,
            }
            for identity in self._chain.leaders.identities
        ]

    async def _rent(self, params: Sequence[Any]) -> int:
        return self._bank.svm.minimum_balance_for_rent_exemption(slot_at(params, 0))

    # --- accounts -----------------------------------------------------------------------------------------------------

    async def _balance(self, params: Sequence[Any]) -> dict[str, Any]:
        return self._context(options_at(params, 1), self._bank.lamports(_key(params)))

    async def _account_info(self, params: Sequence[Any]) -> dict[str, Any]:
        options = options_at(params, 1)
        return self._context(options, self._shown(self._bank.svm.get_account(_key(params)), options))

    async def _multiple_accounts(self, params: Sequence[Any]) -> dict[str, Any]:
        options = options_at(params, 1)
        keys = params[0] if params else None
        if not isinstance(keys, list) or len(keys) > _MAX_ACCOUNTS:
            raise invalid(f"Too many inputs provided; max {_MAX_ACCOUNTS}")
        found = [self._bank.svm.get_account(Pubkey.from_bytes(address_of(key))) for key in keys]
        return self._context(options, [self._shown(account, {"encoding": "base64", **options}) for account in found])

    def _shown(self, account: Account | None, options: Mapping[str, Any]) -> dict[str, Any] | None:
        if account is None:
            return None
        decimals = self._decimals(Pubkey.from_bytes(account.data[:32])) if is_token_account(account) else None
        return account_json(account, options, decimals)

    def _decimals(self, mint: Pubkey) -> int:
        data = self._bank.data(mint)
        return data[44] if data else 0

    async def _token_balance(self, params: Sequence[Any]) -> dict[str, Any]:
        account = self._bank.svm.get_account(_key(params))
        if account is None or not is_token_account(account):
            raise invalid("Invalid param: could not find account")
        data = bytes(account.data)
        amount = ui_amount(int.from_bytes(data[64:72], "little"), self._decimals(Pubkey.from_bytes(data[:32])))
        return self._context(options_at(params, 1), amount)

    async def _token_accounts(self, params: Sequence[Any]) -> dict[str, Any]:
        owner, options = _key(params), options_at(params, 2)
        wanted = params[1] if len(params) > 1 else None
        if not isinstance(wanted, Mapping) or len(wanted) != 1:
            raise invalid("Invalid params: expected one of mint and programId")
        mint, programs = None, [TOKEN_PROGRAM, TOKEN_2022_PROGRAM]
        if "mint" in wanted:
            mint = address_of(wanted["mint"])
        else:
            programs = [Pubkey.from_bytes(address_of(wanted.get("programId")))]
            if programs[0] not in (TOKEN_PROGRAM, TOKEN_2022_PROGRAM):
                raise invalid("Invalid param: unrecognized Token program id")
        found = [
            {"pubkey": str(key), "account": self._shown(account, options)}
            for program in programs
            for key, account in self._bank.svm.get_program_accounts(program)
            if is_token_account(account)
            and bytes(account.data[32:64]) == bytes(owner)
            and (mint is None or bytes(account.data[:32]) == mint)
        ]
        return self._context(options, found)

    async def _airdrop(self, params: Sequence[Any]) -> str:
        """Lamports by a transaction, so that there is a signature to wait for."""
        to, lamports = _key(params), slot_at(params, 1)
        self._n_airdrops += 1
        self._chain.airdrop(self._purse.pubkey(), lamports + 10_000_000)
        # Equal transfers in one block would be one transaction; the sum sent on to itself tells them apart.
        steps = [
            transfer(TransferParams(from_pubkey=self._purse.pubkey(), to_pubkey=to, lamports=lamports)),
            transfer(
                TransferParams(
                    from_pubkey=self._purse.pubkey(), to_pubkey=self._purse.pubkey(), lamports=self._n_airdrops
                )
            ),
        ]
        message = MessageV0.try_compile(self._purse.pubkey(), steps, [], self._bank.blockhash)
        transaction = VersionedTransaction(message, [self._purse])
        self._chain.send(transaction, repeats=True)
        return str(transaction.signatures[0])

    # --- transactions -------------------------------------------------------------------------------------------------

    async def _statuses(self, params: Sequence[Any]) -> dict[str, Any]:
        asked, options = params[0] if params else None, options_at(params, 1)
        if not isinstance(asked, list) or len(asked) > _MAX_STATUSES:
            raise invalid(f"Too many inputs provided; max {_MAX_STATUSES}")
        search = bool(options.get("searchTransactionHistory"))
        context = {"commitment": "processed"}
        return self._context(context, [self._status(signature_of(text), search) for text in asked])

    def _status(self, signature: bytes, search: bool) -> dict[str, Any] | None:
        chain, index = self._chain, self._chain.landed.get(signature)
        entry = None if index is None else chain.ledger.entry(index)
        if index is None or entry is None or index >= self._reached({"commitment": "processed"}):
            return None
        age = chain.slot - entry.slot
        if age < chain.faults.status_null_slots or (age > _STATUS_CACHE_SLOTS and not search):
            return None
        info = next(one for one in chain.ledger.block(index).transactions if one.signature == signature)
        error, commitment = error_json(info.meta), chain.commitment_of(index)
        return {
            "slot": entry.slot,
            "confirmations": None if commitment == "finalized" else chain.tip_index - index,
            "err": error,
            "status": {"Ok": None} if error is None else {"Err": error},
            "confirmationStatus": commitment,
        }

    async def _simulate(self, params: Sequence[Any]) -> dict[str, Any]:
        options = options_at(params, 1)
        transaction = decode_transaction(params, options)
        return self._context(options, simulation_json(self._bank, transaction, options))

    async def _send(self, params: Sequence[Any]) -> str:
        options = options_at(params, 1)
        transaction = decode_transaction(params, options)
        verify(transaction)
        if not options.get("skipPreflight"):
            preflight(self._bank, transaction)
        retries = options.get("maxRetries")
        if retries is not None and (type(retries) is not int or retries < 0):
            raise invalid("Invalid params: maxRetries must be a whole number")
        self._chain.send(transaction, repeats=retries != 0)
        return str(transaction.signatures[0])


def _key(params: Sequence[Any]) -> Pubkey:
    if not params:
        raise RefusalError(-32602, "`params` should have at least 1 argument(s)")
    return Pubkey.from_bytes(address_of(params[0]))
