"""Starts workers quickly: ADDRESS DATABASE_URL planted|real; each line on standard input forks one and gives its pid.

Everything is imported once, before the first fork; a child is a worker process of its own, to be killed at will.
"""

import asyncio
import os
import sys

from chain_double import decode

from copytrader_core.geyser.client import Endpoint
from ingest_worker.landing import decoder
from ingest_worker.worker import Options, run


def work(address: str, url: str, chain: str) -> None:
    options = Options(Endpoint(address), url, commit_every_ms=20, hold_seconds=0.2)
    asyncio.run(run(options, decode if chain == "planted" else decoder()))


if __name__ == "__main__":
    decoder()
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            work(*sys.argv[1:])
            os._exit(0)
        print(pid, flush=True)
