"""The wallet's nonce accounts on the chain: read, checked at the start, followed while trading; by hand created,
advanced and closed.

What is signed under them, and when, is `executor.nonces`'.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from solders.compute_budget import set_compute_unit_limit, set_compute_unit_price
from solders.instruction import Instruction
from solders.pubkey import Pubkey

from copytrader_core.errors import ConfigError, CopytraderError, DecodeError, TransactionError
from copytrader_core.solana.base58 import signature_text
from copytrader_core.solana.chain_rpc import Account, ChainRpc, Commitment
from copytrader_core.solana.compile import compile_v0, wire
from copytrader_core.solana.keys import Signer
from copytrader_core.solana.nonce import (
    MAX_NONCES,
    NONCE_BYTES,
    NonceState,
    advance_nonce,
    close_nonce,
    decode_nonce,
    make_nonce,
    nonce_address,
)
from copytrader_core.solana.routes.route import Route, RouteError
from copytrader_core.solana.trades import Charges
from executor.nonces import Nonces

__all__ = ["Found", "advance", "close", "create", "find", "follow", "opened", "read_nonces"]

_log = logging.getLogger(__name__)
_ASK_SECONDS: Final = 5.0
_SEND_EVERY_SECONDS: Final = 0.5
# For the budget's instructions and two of the system program's, 150 each.
_CU_LIMIT: Final = 1_000
# How many quiet turns of the loop pass between two looks at accounts of which nothing new is expected.
_QUIET_TURNS: Final = 25
_FAR_SLOTS: Final = 150


@dataclass(frozen=True, slots=True)
class Found:
    """A nonce account of the wallet. `state` says who may advance it, and its value."""

    address: Pubkey
    lamports: int
    state: NonceState


async def read_nonces(
    node: ChainRpc, accounts: Iterable[str], commitment: Commitment = "confirmed"
) -> tuple[int, dict[str, NonceState | None]]:
    """The slot of the answer, and what each account holds; None where there is no nonce account. Raises RpcError."""
    addresses = list(dict.fromkeys(accounts))
    slot, found = await node.accounts_at([Pubkey.from_string(one) for one in addresses], commitment)
    return slot, dict(zip(addresses, map(_state, found), strict=True))


async def opened(nodes: Sequence[ChainRpc], accounts: Sequence[str], owner: Pubkey) -> Nonces:
    """The pool of the settings' accounts, read and checked. Raises ConfigError for one that is somebody else's.

    Where no node answers, nothing is signed under them until one does: exits do not wait for that.
    """
    pool = Nonces(accounts)
    for account in pool.accounts:
        try:
            Pubkey.from_string(account)
        except ValueError:
            raise ConfigError(f"nonce_accounts: {account} is no address: `copytrader executor nonce list`") from None
    if len(pool.accounts) > MAX_NONCES:
        raise ConfigError(f"nonce_accounts: {len(pool.accounts)} accounts, at most {MAX_NONCES} are used: name fewer")
    for account, (slot, state) in (await _read_all(pool, nodes)).items():
        if problem := _problem(account, state, owner):
            if state is not None:
                raise ConfigError(f"nonce_accounts: {problem}")
            _log.error("nonce_unusable %s", problem)
        else:
            pool.learn(account, None if state is None else str(state.value), slot)
    return pool


async def follow(
    pool: Nonces, nodes: Sequence[ChainRpc], owner: Pubkey, is_unread: Callable[[], bool], *, every_seconds: float
) -> None:
    """For ever: asks for values that have moved, at once where one is known to have, else now and then."""
    quiet = 0
    while True:
        await asyncio.sleep(every_seconds)
        quiet += 1
        if not pool.accounts or (quiet < _QUIET_TURNS and not is_unread()):
            continue
        for account, (slot, state) in (await _read_all(pool, nodes)).items():
            quiet = 0
            problem = _problem(account, state, owner)
            if problem is not None:
                _log.error("nonce_unusable %s", problem)
            pool.learn(account, None if state is None or problem is not None else str(state.value), slot)


async def _read_all(pool: Nonces, nodes: Sequence[ChainRpc]) -> dict[str, tuple[int, NonceState | None]]:
    """The newest answer of all nodes for each account: that there is none only where two say so, or the only one."""
    if not pool.accounts:
        return {}
    answers = [one for one in await asyncio.gather(*[_read(node, pool.accounts) for node in nodes]) if one is not None]
    answers.sort(key=lambda one: one[0])
    if len(answers) > 2 and answers[-1][0] - answers[-2][0] > _FAR_SLOTS:
        # Of three nodes one names a slot that no other has reached by far.
        answers.pop()
    found: dict[str, tuple[int, NonceState | None]] = {}
    for account in pool.accounts:
        shown = [(slot, states[account]) for slot, states in answers if states[account] is not None]
        if shown:
            found[account] = shown[-1]
        elif len(answers) >= min(2, len(nodes)):
            found[account] = (answers[-1][0], None)
    return found


async def _read(node: ChainRpc, accounts: Sequence[str]) -> tuple[int, dict[str, NonceState | None]] | None:
    try:
        async with asyncio.timeout(_ASK_SECONDS):
            return await read_nonces(node, accounts)
    except (CopytraderError, TimeoutError) as error:
        _log.info("nonces_unread node=%s error=%s", node.label, error)
        return None


def _state(account: Account | None) -> NonceState | None:
    """Something else at the address, or nothing, cannot keep a transaction alive."""
    try:
        return None if account is None else decode_nonce(account)
    except DecodeError as error:
        _log.info("no_nonce error=%s", error)
        return None


def _problem(account: str, state: NonceState | None, owner: Pubkey) -> str | None:
    """Why an account does not serve us."""
    if state is None:
        return f"there is no nonce account {account}: create one by `copytrader executor nonce create`"
    if state.authority != owner:
        return f"{account} is {state.authority}'s to advance, our wallet is {owner}: name accounts of its own"
    return None


async def find(node: ChainRpc, owner: Pubkey, more: Sequence[str] = ()) -> list[Found]:
    """The wallet's own accounts that `create` has made, and those of `more` that are there. Raises RpcError."""
    own = [nonce_address(owner, number) for number in range(MAX_NONCES)]
    named = [key for key in map(Pubkey.from_string, more) if key not in own]
    accounts = await node.accounts([*own, *named])
    return [
        Found(address, account.lamports, state)
        for address, account in zip([*own, *named], accounts, strict=True)
        if account is not None and (state := _state(account)) is not None
    ]


async def create(node: ChainRpc, route: Route, signer: Signer, priority_fee_lamports: int) -> Found:
    """Opens the wallet's next nonce account by one transaction and returns it, confirmed.

    Raises ConfigError where the wallet has all of its accounts, TransactionError where it failed or never landed.
    """
    own = [nonce_address(signer.pubkey, number) for number in range(MAX_NONCES)]
    taken = await node.accounts(own)
    if None not in taken:
        raise ConfigError(f"the wallet has {MAX_NONCES} nonce accounts already: `copytrader executor nonce list`")
    number = taken.index(None)
    steps = make_nonce(signer.pubkey, number, await node.rent(NONCE_BYTES))
    await _run(node, route, signer, steps, priority_fee_lamports)
    made = await _own(node, signer, own[number])
    if made is None:
        raise TransactionError(f"{own[number]} is not there though its transaction landed: look again in a moment")
    return made


async def advance(node: ChainRpc, route: Route, signer: Signer, account: Pubkey, priority_fee_lamports: int) -> Found:
    """Moves an account's value on by one transaction, so that nothing signed under the old one can land any more.

    Returns it with its new value, confirmed. Raises ConfigError where the wallet cannot use the account,
    TransactionError where it failed or never landed.
    """
    before = await _usable(node, signer, account)
    await _run(node, route, signer, [advance_nonce(account, signer.pubkey)], priority_fee_lamports)
    after = await _own(node, signer, account)
    if after is None or after.state.value == before.state.value:
        raise TransactionError(f"{account} is unchanged though its transaction landed: look again in a moment")
    return after


async def close(node: ChainRpc, route: Route, signer: Signer, account: Pubkey, priority_fee_lamports: int) -> int:
    """Ends an account by one transaction; all of its lamports, which are returned, are the wallet's again.

    What was signed under its value can never land. Raises as `advance`.
    """
    before = await _usable(node, signer, account)
    steps = [close_nonce(account, signer.pubkey, before.lamports)]
    await _run(node, route, signer, steps, priority_fee_lamports)
    return before.lamports


async def _usable(node: ChainRpc, signer: Signer, account: Pubkey) -> Found:
    found = await _own(node, signer, account)
    if found is None:
        raise ConfigError(f"there is no nonce account {account}: `copytrader executor nonce list` shows the wallet's")
    return found


async def _own(node: ChainRpc, signer: Signer, address: Pubkey) -> Found | None:
    """A nonce account as it stands. Raises ConfigError for one that only somebody else may advance."""
    (account,) = await node.accounts([address])
    state = _state(account)
    if account is None or state is None:
        return None
    if problem := _problem(str(address), state, signer.pubkey):
        raise ConfigError(problem)
    return Found(address, account.lamports, state)


async def _run(
    node: ChainRpc, route: Route, signer: Signer, steps: Sequence[Instruction], priority_fee_lamports: int
) -> None:
    """One transaction of the wallet's, confirmed. Raises TransactionError where it failed or never landed."""
    price = Charges(priority_fee_lamports).price(_CU_LIMIT)
    budget = [set_compute_unit_limit(_CU_LIMIT), set_compute_unit_price(price)]
    lifetime = await node.latest_blockhash()
    message = compile_v0(signer.pubkey, [*budget, *steps], lifetime.blockhash).message
    signature = signer.sign(message)
    await _landed(node, route, wire(message, signature), signature_text(signature), lifetime.last_valid_block_height)


async def _landed(node: ChainRpc, route: Route, raw: bytes, signature: str, last_valid: int) -> None:
    """Sends until it is confirmed. Raises TransactionError where it fails or can no longer land."""
    while True:
        over = await node.block_height("finalized") > last_valid
        (status,) = await node.statuses([signature])
        if status is not None and status.error is not None:
            raise TransactionError(f"{signature} failed: {status.error}; has the wallet enough SOL?")
        if status is not None and status.commitment != "processed":
            return
        if over and status is None:
            raise TransactionError(f"{signature} never landed: raise priority_fee_lamports and try again")
        try:
            await route.send(raw, signature)
        except RouteError as error:
            _log.info("nonce_not_sent error=%s", error)
        await asyncio.sleep(_SEND_EVERY_SECONDS)
