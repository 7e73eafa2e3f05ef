"""Postgres: connection, migrations, bulk copy, the embedded server. No analysis and no decisions."""
