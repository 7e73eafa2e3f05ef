"""A worker in a process of its own, with the planted chain's decoder: ADDRESS DATABASE_URL [UNTIL_IDLE]."""

import asyncio
import logging
import sys

from chain_double import decode

from copytrader_core.geyser.client import Endpoint
from ingest_worker.worker import Options, run

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    address, url, *idle = sys.argv[1:]
    options = Options(Endpoint(address), url, until_idle=float(idle[0]) if idle else None, commit_every_ms=20)
    print(asyncio.run(run(options, decode)), flush=True)
