"""The stream as the executor asks for it: what ends it, and what only interrupts it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self

import pytest

from copytrader_core.geyser import copytrader_geyser_pb2 as pb
from copytrader_core.geyser.client import Endpoint, Received
from copytrader_core.geyser.failures import BadFilter, StreamFailure, Unauthenticated
from executor import feed

UPDATE = pb.SubscribeUpdate(slot=pb.SubscribeUpdateSlot(slot=7))


class Provider:
    """Refuses its first subscriptions, then shows one update each time."""

    def __init__(self, *refusals: Exception) -> None:
        self.refusals = [*refusals]
        self.asked = 0

    def __call__(self, *_: Any, **__: Any) -> Self:
        return self

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing stays open."""

    async def subscribe(self, *_: Any) -> AsyncIterator[Received]:
        self.asked += 1
        if self.refusals:
            raise self.refusals.pop(0)
        yield Received(UPDATE.SerializeToString(), 1, UPDATE)


@pytest.mark.parametrize("refusal", [Unauthenticated, BadFilter])
async def test_a_stream_that_is_refused_does_not_end_a_run_that_may_hold_something(
    refusal: type[StreamFailure], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "_REFUSED_SECONDS", 0.01)
    provider = Provider(refusal("the plan has ended"), refusal("the plan has ended"))
    monkeypatch.setattr(feed, "YellowstoneClient", provider)
    async for received in feed.updates(Endpoint("127.0.0.1:1"), None, 1.0, "wallet"):
        assert received.update == UPDATE
        break
    assert provider.asked == 3
    monkeypatch.setattr(feed, "YellowstoneClient", Provider(refusal("the plan has ended")))
    with pytest.raises(refusal):
        async for _ in feed.updates(Endpoint("127.0.0.1:1"), None, 1.0):
            pass
