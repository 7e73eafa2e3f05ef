"""The ingest worker: stream -> events -> raw_events. One long-running process."""
