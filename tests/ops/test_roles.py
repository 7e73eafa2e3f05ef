"""Each program does its whole work under its own role, and nothing that is another's."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from copytrader_cli.demo import plan_of
from copytrader_core.store.migrations import migrate
from copytrader_core.store.partitions import ensure_partitions
from copytrader_core.store.roles import ROLES, apply_roles, members
from simnet.demo_tape import TAPE, TRUTH
from simnet.truth import read_truth, write_wallets_db
from tests.ops.commands import copytrader, playing, rpc_address

PLAN = plan_of(TAPE)
DAYS = ("--from", PLAN.learn_days[0], "--to", PLAN.learn_days[-1])


@dataclass(frozen=True)
class Kept:
    """A database whose programs are kept apart. `url(role)` is that of a login that is only in `role`."""

    owner: str
    login: str
    home: Path

    def url(self, role: str) -> str:
        parts = urlsplit(self.owner)
        return urlunsplit(parts._replace(netloc=f"{self.login}_{role}:word@{parts.hostname}:{parts.port}"))

    def run(self, role: str, *arguments: str, status: int = 0) -> str:
        environment = {"DATABASE_URL": self.url(role), "COPYTRADER_HOME": str(self.home)}
        return copytrader(*arguments, environment=environment, status=status)

    def ask(self, role: str, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url(role)) as connection:
            cursor = connection.execute(statement)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []


@pytest.fixture(scope="module")
def kept(pg_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """A migrated database with its roles, and a login in each."""
    base, _, template = pg_server.rpartition("/")
    name = f"roles_{secrets.token_hex(4)}"
    found = Kept(f"{base}/{name}", name, tmp_path_factory.mktemp("home"))
    with psycopg.connect(f"{base}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        apply_roles(found.owner)
        for role in ROLES:
            login = f"{name}_{role.removeprefix('copytrader_')}"
            admin.execute(f"CREATE ROLE {login} LOGIN PASSWORD 'word' IN ROLE {role}")
    yield found
    with psycopg.connect(f"{base}/postgres", autocommit=True) as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
        for role in ROLES:
            admin.execute(f"DROP ROLE {name}_{role.removeprefix('copytrader_')}")


@pytest.fixture(scope="module")
def worked(kept: Kept, tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """After everything that the programs do: wallets, ingest, seal, assets with Dagster's storage, paper trading."""
    folder = tmp_path_factory.mktemp("work")
    write_wallets_db(read_truth(TRUTH), folder / "wallets.db")
    kept.run("operator", "wallets", "import", str(folder / "wallets.db"))
    with playing(folder, "--speed", "0", "--rpc-port", "0") as address:
        kept.run("ingest", "ingest", "--endpoint", address, "--until-idle", "2", "--complete-start")
        cut_a_hole(kept.owner)
        kept.run("ingest", "backfill", "--all", "--since", PLAN.learn_days[0], "--rpc", f"http://{rpc_address(folder)}")
    kept.run("ingest", "dead-letters", "retry")
    kept.run("ingest", "seal", *DAYS)
    kept.run("assets", "materialize", *DAYS)
    with playing(folder, "--speed", "2000", "--from-slot", str(PLAN.first_live_slot)) as address:
        options = ("--clock", "chain", "--until-idle", "3", "--flatten-at-end")
        kept.run("executor", "executor", "run", "--mode", "paper", "--endpoint", address, *options)
    return kept


def cut_a_hole(owner: str) -> None:
    """As if the stream had left out some slots that had trades."""
    with psycopg.connect(owner) as connection:
        found = connection.execute("SELECT slot FROM raw_events ORDER BY slot OFFSET 50 LIMIT 1").fetchone()
        assert found is not None
        for table in ("raw_events", "ingest_slots"):
            connection.execute(f"DELETE FROM {table} WHERE slot = %s", found)
        connection.execute(
            "INSERT INTO ingest_gaps (from_slot, to_slot, reason) VALUES (%s, %s, 'cut out')", (*found, *found)
        )


def test_a_gap_was_filled_and_wallets_were_hydrated_under_the_workers_role(worked: Kept) -> None:
    assert worked.ask("reader", "SELECT count(*) FROM ingest_gaps WHERE filled_at IS NULL") == [(0,)]
    assert worked.ask("reader", "SELECT count(*) > 0 FROM backfill_progress") == [(True,)]


def test_an_owner_who_is_no_superuser_may_migrate_and_set_the_roles(pg_server: str) -> None:
    name = f"owned_{secrets.token_hex(4)}"
    base, _, _ = pg_server.rpartition("/")
    parts = urlsplit(base)
    with psycopg.connect(f"{base}/postgres", autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {name} LOGIN CREATEROLE PASSWORD 'word'")
        admin.execute(f"CREATE DATABASE {name} OWNER {name}")
        try:
            url = urlunsplit(parts._replace(netloc=f"{name}:word@{parts.hostname}:{parts.port}", path=f"/{name}"))
            migrate(url)
            apply_roles(url)
            with psycopg.connect(url) as connection:
                assert connection.execute(
                    "SELECT has_table_privilege('copytrader_ingest', 'raw_events', 'INSERT'),"
                    " has_schema_privilege('copytrader_assets', 'dagster', 'CREATE'),"
                    " has_database_privilege('copytrader_ingest', current_database(), 'TEMPORARY')"
                ).fetchone() == (True, True, True)
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")
            admin.execute(f"DROP ROLE {name}")


def test_events_days_releases_and_paper_trades_are_all_there(worked: Kept) -> None:
    (counted,) = worked.ask(
        "reader",
        "SELECT (SELECT count(*) FROM raw_events), (SELECT count(*) FROM ingest_days WHERE sealed_by = 'manual'),"
        " (SELECT count(*) FROM releases), (SELECT count(*) FROM exec_fills),"
        " (SELECT count(*) FROM raw_events WHERE leader_wallet IS NOT NULL)",
    )
    events, days, releases, fills, followed = counted
    assert (days, releases) == (len(PLAN.learn_days), 1)
    # A completed curve and a created coin give rows of their own.
    assert int(str(events)) >= len(read_truth(TRUTH).events)
    assert int(str(fills)) > 0 and int(str(followed)) > 0


def test_partitions_were_made_under_the_workers_role_and_belong_to_the_owner(worked: Kept) -> None:
    (found,) = worked.ask(
        "reader",
        "SELECT count(*), count(*) FILTER (WHERE pg_get_userbyid(c.relowner) <> 'copytrader') FROM pg_inherits i"
        " JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'raw_events'::regclass",
    )
    assert int(str(found[0])) > len(PLAN.learn_days) and found[1] == 0


def test_dagsters_tables_belong_to_the_assets_and_to_nobody_else(worked: Kept) -> None:
    found = worked.ask("reader", "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'dagster'")
    assert found == [(f"{worked.login}_assets",)]
    for role in ("ingest", "executor", "operator", "reader"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            worked.ask(role, "SELECT 1 FROM dagster.runs LIMIT 1")


def test_retention_drops_a_verified_day_under_the_assets_role(worked: Kept) -> None:
    said = worked.run("assets", "retention", "--keep-days", "1", status=1)
    assert f"{PLAN.learn_days[0]} dropped" in said
    assert worked.ask("reader", "SELECT count(*) FROM ingest_days WHERE dropped_at IS NOT NULL") != [(0,)]


def test_people_control_the_executor_under_the_operators_role(worked: Kept) -> None:
    worked.run("operator", "executor", "halt")
    assert worked.ask("executor", "SELECT state FROM exec_state") == [("HALTED",)]
    worked.run("operator", "executor", "resume")
    assert "ACTIVE" in worked.run("operator", "executor", "status", "--mode", "paper")
    worked.run("reader", "executor", "status", "--mode", "paper", "--json")


def test_every_table_is_some_programs_to_write(kept: Kept) -> None:
    """A table that a migration has added needs its line in sql/roles.sql."""
    found = kept.ask(
        "reader",
        "SELECT c.relname FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace"
        " AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND NOT EXISTS (SELECT 1 FROM pg_roles g"
        " WHERE g.rolname LIKE 'copytrader\\_%' AND NOT g.rolcanlogin"
        " AND has_any_column_privilege(g.oid, c.oid, 'INSERT, UPDATE'))",
    )
    # The version is the migrations', the count of changes of `wallets` is its trigger's.
    assert {str(name) for (name,) in found} == {"schema_info", "wallet_names"}


DENIED = {
    "ingest": [
        "DELETE FROM raw_events",
        "TRUNCATE raw_events",
        "UPDATE raw_events SET base_raw = 0",
        "UPDATE raw_events SET leader_wallet = ''",
        "INSERT INTO wallets (wallet) VALUES ('w')",
        "UPDATE wallets SET is_tracked = TRUE",
        "INSERT INTO releases (release_id, as_of, content_hash, n_patterns, n_edges) VALUES ('r', now(), '', 0, 0)",
        "UPDATE release_current SET release_id = 'r'",
        "DELETE FROM wallet_patterns",
        "UPDATE exec_state SET state = 'ACTIVE'",
        "SELECT 1 FROM exec_journal",
        "SELECT drop_raw_events_partition('2026-01-01')",
    ],
    "assets": [
        "INSERT INTO raw_events (ts_ns, slot, sig, outer_ix, inner_ix, event_seq, wallet, program, action)"
        " VALUES (1, 1, 's', 0, 0, 0, 'w', 'p', 'BUY')",
        "DELETE FROM raw_events",
        "UPDATE raw_events SET quote_raw = 0",
        "UPDATE ingest_days SET unsealed_at = NULL",
        "INSERT INTO ingest_gaps (from_slot, to_slot, reason) VALUES (1, 1, '')",
        "UPDATE ingest_checkpoint SET slot = 1",
        "INSERT INTO wallets (wallet) VALUES ('w')",
        "UPDATE exec_state SET state = 'ACTIVE'",
        "DELETE FROM exec_locks",
        "SELECT 1 FROM exec_cash",
        "DELETE FROM exec_journal",
    ],
    "executor": [
        "INSERT INTO releases (release_id, as_of, content_hash, n_patterns, n_edges) VALUES ('r', now(), '', 0, 0)",
        "UPDATE release_current SET release_id = 'r'",
        "UPDATE wallet_patterns SET win_rate = 1",
        "UPDATE exec_journal SET payload = '{}'",
        "DELETE FROM exec_journal",
        "DELETE FROM exec_intents",
        "INSERT INTO wallets (wallet) VALUES ('w')",
        "UPDATE raw_events SET leader_wallet = ''",
        "SELECT 1 FROM ingest_checkpoint",
        "SELECT raw_events_partition('2026-01-01')",
    ],
    "operator": [
        "INSERT INTO exec_fills SELECT * FROM exec_fills",
        "DELETE FROM exec_journal",
        "DELETE FROM wallets",
        "UPDATE wallet_names SET version = 0",
        "UPDATE wallet_patterns SET win_rate = 1",
        "UPDATE raw_events SET leader_wallet = ''",
    ],
    "reader": [
        "UPDATE exec_state SET state = 'HALTED'",
        "DELETE FROM exec_locks",
        "INSERT INTO wallets (wallet) VALUES ('w')",
        "SELECT lock_raw_events_day('2026-01-01')",
    ],
}
NOBODYS = [
    "CREATE TABLE mine (x INT)",
    "CREATE SCHEMA mine",
    "UPDATE schema_info SET version = 0",
    "DROP TABLE raw_events",
]


@pytest.mark.parametrize(
    ("role", "statement"), [(role, one) for role, own in DENIED.items() for one in (*own, *NOBODYS)]
)
def test_what_is_another_programs_is_denied(kept: Kept, role: str, statement: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        kept.ask(role, statement)


def test_a_caller_cannot_make_the_owners_functions_look_elsewhere(kept: Kept) -> None:
    with psycopg.connect(kept.url("ingest"), autocommit=True) as connection:
        connection.execute("CREATE TEMP TABLE raw_events_default (ts_ns BIGINT)")
        connection.execute("SET search_path = pg_temp, public")
        connection.execute("SELECT raw_events_partition('2031-01-01')")
        connection.execute("SET search_path = public")
        assert connection.execute(
            "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'public.raw_events_20310101'::regclass"
        ).fetchone() == ("copytrader",)


def test_an_unsealed_day_with_events_is_not_dropped_whoever_asks(kept: Kept) -> None:
    with psycopg.connect(kept.owner, autocommit=True) as connection:
        connection.execute(
            "INSERT INTO raw_events (ts_ns, slot, sig, outer_ix, inner_ix, event_seq, wallet, program, action)"
            " VALUES (1, 1, 's', 0, 0, 0, 'w', 'p', 'BUY')"
        )
        epoch = connection.execute("SELECT utc_day(1)").fetchone()
        assert epoch is not None
        ensure_partitions(connection, epoch[0], epoch[0])
        with pytest.raises(psycopg.errors.RaiseException, match="not sealed"):
            kept.ask("assets", "SELECT drop_raw_events_partition('1970-01-01')")
        connection.execute("DELETE FROM raw_events")
        kept.ask("assets", "SELECT drop_raw_events_partition('1970-01-01')")


def test_a_right_that_somebody_added_is_taken_away_again(kept: Kept) -> None:
    with psycopg.connect(kept.owner, autocommit=True) as connection:
        connection.execute("GRANT DELETE, UPDATE (slot) ON raw_events TO copytrader_ingest")
    said = copytrader("db", "roles", environment={"DATABASE_URL": kept.owner, "COPYTRADER_HOME": str(kept.home)})
    assert f"copytrader_ingest: {kept.login}_ingest\n" in said
    for statement in ("DELETE FROM raw_events", "UPDATE raw_events SET slot = 0"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            kept.ask("ingest", statement)


def test_only_the_owner_sets_roles_and_anybody_else_is_told_so(kept: Kept) -> None:
    assert "as the owner of the tables" in kept.run("reader", "db", "roles", status=1)


def test_a_migration_gives_the_new_tables_to_the_roles_again(pg_url: str) -> None:
    apply_roles(pg_url)
    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute("UPDATE schema_info SET version = version - 1")
        connection.execute("REVOKE ALL ON wallets FROM copytrader_reader")
        migrate(pg_url)
        assert connection.execute(
            "SELECT has_table_privilege('copytrader_reader', 'wallets', 'SELECT')"
        ).fetchone() == (True,)


def test_a_role_of_a_program_cannot_migrate_and_says_who_can(pg_url: str) -> None:
    apply_roles(pg_url)
    parts = urlsplit(pg_url)
    login = f"late_{secrets.token_hex(4)}"
    with psycopg.connect(pg_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {login} LOGIN PASSWORD 'word' IN ROLE copytrader_ingest")
        try:
            assert login in members(connection)["copytrader_ingest"]
            connection.execute("UPDATE schema_info SET version = version - 1")
            url = urlunsplit(parts._replace(netloc=f"{login}:word@{parts.hostname}:{parts.port}"))
            with pytest.raises(Exception, match="as the owner of the tables"):
                migrate(url)
        finally:
            connection.execute(f"DROP ROLE {login}")
