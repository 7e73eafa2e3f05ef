"""Dagster's storage in the project's own database, so that plain `dagster` commands need no environment."""

from __future__ import annotations

from typing import Any, Self

from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage

from copytrader_assets.instance import set_storage_url

_FROM_ENVIRONMENT = "postgres_url:\n  env: DAGSTER_PG_URL\n"


class ProjectStorage(DagsterPostgresStorage):
    """dagster-postgres at the URL that `set_storage_url` finds. Named in dagster.yaml."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Nothing to configure: the settings and the environment decide."""
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Any) -> Self:
        """Child processes get a reference to the variable, never the URL: it holds a password."""
        reference = ConfigurableClassData("dagster_postgres", "DagsterPostgresStorage", _FROM_ENVIRONMENT)
        return cls(postgres_url=set_storage_url(), inst_data=reference)
