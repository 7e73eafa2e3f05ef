"""A worker in a process of its own, with the planted chain's decoder: ADDRESS DATABASE_URL [patient].

A patient one gives its database minutes for the last commit.
"""

import asyncio
import logging
import sys

from chain_double import decode

from copytrader_core.geyser.client import Endpoint
from ingest_worker import worker

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    address, url, *patient = sys.argv[1:]
    if patient:
        worker._ABORT_SECONDS = 200.0
    print(asyncio.run(worker.run(worker.Options(Endpoint(address), url, commit_every_ms=20), decode)), flush=True)
