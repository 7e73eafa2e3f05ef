"""The Dagster code location: events to round trips to fingerprints to releases. The only room that imports dagster."""

import warnings

# Ranges of days need BackfillPolicy.single_run(); Dagster calls the parameter beta once an asset, on every command.
warnings.filterwarnings("ignore", message=r"(?s).*Parameter `backfill_policy` .* is currently in beta")
