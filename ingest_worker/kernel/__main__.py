"""`python -m ingest_worker.kernel`: compiles the kernels, about a minute, so that no worker has to when it starts."""

from ingest_worker.kernel.lane import Lane

Lane().warm()
