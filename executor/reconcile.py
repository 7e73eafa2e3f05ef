"""Compares what the journal says that we hold with what the chain says, at a start and now and then.

Here the chain is asked; what follows from the answer is the engine's. Truth that is not to be had is not "nothing":
until enough nodes have answered, and agree, there is no answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from solders.pubkey import Pubkey

from copytrader_core.errors import CopytraderError, DecodeError
from copytrader_core.pump import addresses as a
from copytrader_core.solana.chain_rpc import ChainRpc, HeldTokens
from copytrader_core.solana.programs import WSOL_MINT, associated_token_address
from executor.accounts import CoinNews, read_coin, read_withdraw_authority
from executor.live import LiveBroker
from executor.settler import Settler

_log = logging.getLogger(__name__)
_ASK_SECONDS: Final = 10.0
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 5.0
_COINS_EVERY_SECONDS: Final = 1.5
_COIN_SECONDS: Final = 1.0

Put = Callable[[Any], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Truth:
    """What the chain holds of ours at confirmed, as all nodes that answered say; `asked_at` is the loop's time.

    `foreign` are the newest transactions of the wallet that are not ours, up to the first one that is.
    """

    asked_at: float
    slot: int
    """The oldest slot of all answers."""
    lamports: int
    tokens: tuple[HeldTokens, ...]
    foreign: tuple[str, ...]
    venues: frozenset[str]
    """Where the wallet has a volume account."""


@dataclass(frozen=True, slots=True)
class CoinLook:
    """A coin's accounts as a node has them; None where they are no coin's of pump.fun."""

    mint: str
    news: CoinNews | None


class Reconciler:
    """Asks for the truth until it is there, and again every so often; reads coins that somebody waits for."""

    def __init__(
        self,
        broker: LiveBroker,
        nodes: Sequence[ChainRpc],
        settler: Settler,
        put: Put,
        *,
        every_seconds: float,
        quorum: int = 2,
    ) -> None:
        """`quorum`: how many nodes have to say the same, where there are so many."""
        self._broker = broker
        self._nodes = nodes
        self._settler = settler
        self._put = put
        self._every_seconds = every_seconds
        self._quorum = quorum
        self._asked = asyncio.Event()

    def ask(self) -> None:
        """Somebody doubts what we hold: the next look is now, and they stay frequent while the doubt lasts."""
        self._asked.set()

    async def run(self, known: Callable[[], frozenset[str]], in_doubt: Callable[[], bool]) -> None:
        """For ever: first whatever an earlier run left under way, then the balances. `known` are our signatures."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            truth = await self._truth(known())
            if truth is not None:
                await self._put(truth)
            settled = truth is not None and not self._restored() and not in_doubt()
            if not settled:
                await self._settler.look(patience=0.0)
            pause = self._every_seconds if settled else min(2 * pause, _LONGEST_PAUSE_SECONDS)
            self._asked.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._asked.wait()
                    # Two looks are two only with something between them.
                    await asyncio.sleep(_FIRST_PAUSE_SECONDS)

    def _restored(self) -> bool:
        return any(flight.order.restored for flight in self._broker.flights.values())

    async def _truth(self, known: frozenset[str]) -> Truth | None:
        """None unless two nodes (the only one, where there is one) have answered and all that have agree."""
        asked_at = asyncio.get_running_loop().time()
        answers = [found for found in await asyncio.gather(*map(self._ask, self._nodes)) if found is not None]
        if len(answers) < min(self._quorum, len(self._nodes)):
            return None
        if any(found[1:] != answers[0][1:] for found in answers):
            _log.info("nodes_disagree slots=%s: asking again", [found[0] for found in answers])
            return None
        _, lamports, tokens, venues = answers[0]
        slot = min(found[0] for found in answers)
        foreign = await self._foreign(known) if known else ()
        return None if foreign is None else Truth(asked_at, slot, lamports, tokens, foreign, venues)

    async def _ask(self, node: ChainRpc) -> tuple[int, int, tuple[HeldTokens, ...], frozenset[str]] | None:
        owner = self._broker.owner
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                slot, lamports, tokens = await node.belongings(owner)
                accounts = await node.accounts([a.user_volume_accumulator(owner), a.amm_user_volume_accumulator(owner)])
        except (CopytraderError, TimeoutError) as error:
            _log.warning("truth_not_had node=%s error=%s", node.label, error)
            return None
        await self._learn_authority(node)
        held = sorted(
            (one for one in tokens if one.amount_raw and one.mint != WSOL_MINT), key=lambda one: (one.mint, one.account)
        )
        venues = frozenset(
            name for name, account in zip(("curve", "amm"), accounts, strict=True) if account is not None
        )
        return slot, lamports, tuple(held), venues

    async def _learn_authority(self, node: ChainRpc) -> None:
        """What a migration names. Without it nothing is migrated, and nothing else is missing."""
        if self._broker.withdraw_authority is not None:
            return
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                self._broker.withdraw_authority = await read_withdraw_authority(node)
        except (CopytraderError, TimeoutError) as error:
            _log.warning("settings_unread node=%s error=%s", node.label, error)

    async def _foreign(self, known: frozenset[str]) -> tuple[str, ...] | None:
        for node in self._nodes:
            try:
                async with asyncio.timeout(_ASK_SECONDS):
                    newest = await node.signatures_for(self._broker.owner, limit=200)
            except (CopytraderError, TimeoutError):
                continue
            ours = next((at for at, signature in enumerate(newest) if signature in known), len(newest))
            return tuple(newest[:ours])
        return None

    async def read_coins(self, wanted: Callable[[], Sequence[str]]) -> None:
        """For ever: the accounts of coins whose exits wait for a market or for what a transaction must know."""
        while True:
            await asyncio.gather(*map(self._read_coin, wanted()))
            await asyncio.sleep(_COINS_EVERY_SECONDS)

    async def _read_coin(self, mint: str) -> None:
        """The newest of what the nodes say, none of which keeps the others waiting for long.

        Nothing is told where none answers; that it is no coin of ours is, where all that there are say so.
        """
        asking = [asyncio.create_task(self._coin(node, mint)) for node in self._nodes]
        try:
            done, _ = await asyncio.wait(asking, timeout=_COIN_SECONDS)
            if not any(task.result() for task in done):
                done, _ = await asyncio.wait(asking, timeout=_ASK_SECONDS)
            found = [told for task in done if (told := task.result()) is not None]
        finally:
            for task in asking:
                task.cancel()
        news = [one for (one,) in found if one is not None]
        if news:
            await self._put(CoinLook(mint, max(news, key=lambda one: one.market.slot)))
        elif len(found) == len(self._nodes):
            await self._put(CoinLook(mint, None))

    async def _coin(self, node: ChainRpc, mint: str) -> tuple[CoinNews | None] | None:
        """None where the node does not answer, a None inside where what it answers is no coin of ours."""
        try:
            async with asyncio.timeout(_ASK_SECONDS):
                return (await read_coin(node, mint),)
        except DecodeError as error:
            _log.warning("coin_unread mint=%s node=%s error=%s", mint, node.label, error)
            return (None,)
        except (CopytraderError, TimeoutError) as error:
            _log.warning("coin_unread mint=%s node=%s error=%s", mint, node.label, error)
            return None


def by_mint(tokens: Sequence[HeldTokens], owner: Pubkey) -> dict[str, HeldTokens]:
    """mint -> what lies in the account of it that trades are made from.

    Anybody may open another account for a wallet and put coins there: those are not sold, and count for nothing.
    """
    return {
        str(one.mint): one
        for one in tokens
        if one.account == associated_token_address(owner, one.mint, one.token_program)
    }
