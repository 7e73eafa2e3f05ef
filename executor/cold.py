"""Sells everything with no executor running: from the chain's state and the key alone, by the executor's own code.

Coins that the journal does not know are sold like those that it knows. A journal that cannot be read does not stop it:
then a new one is begun beside it.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from copytrader_core.errors import ConfigError
from copytrader_core.geyser.client import Received
from copytrader_core.records import Release
from copytrader_core.settings import Settings
from executor.control import Control, write_control
from executor.desk import Tally
from executor.outside import Outside
from executor.service import RunOptions, run
from executor.wal import JournalBusyError

_log = logging.getLogger(__name__)


async def flatten_cold(settings: Settings, outside: Outside) -> Tally:
    """Returns when the wallet holds nothing that can be sold. Raises JournalBusyError where an executor runs."""
    sells = settings.executor.model_copy(update={"unknown_balances": "sell"})
    config = settings.model_copy(update={"executor": sells})
    try:
        return await _run(config, outside)
    except (ConfigError, JournalBusyError):
        raise
    except Exception as error:  # noqa: BLE001 - whatever is wrong with the journal: what is held has to be sold
        home = config.home_path / "executor" / f"cold-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}"
        if isinstance(error, OSError):
            # A disk that is full or cannot be written: perhaps there is another.
            home = Path(tempfile.mkdtemp(prefix="copytrader-cold-"))
        _log.error("journal_unreadable error=%r: selling by what the chain says, into %s", error, home)
        return await _run(config.model_copy(update={"home": home}), outside)


async def _run(config: Settings, outside: Outside) -> Tally:
    write_control(config.home_path / "executor", Control("REDUCING", True, "flatten without an executor"))
    # One node's word has to do: coins that are not sold because another is away are what this is called against.
    outside = replace(outside, quorum=1)
    options = RunOptions(mode="live", until_flat=True, is_watched=False, is_quick=False)
    return await run(None, config, _silence(), options, outside, Release("none", "", {}, ()))


async def _silence() -> AsyncIterator[Received]:
    """No stream: the nodes are asked for everything."""
    await asyncio.Event().wait()
    yield Received(b"", 0, None)
