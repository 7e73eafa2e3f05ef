-- Who may do what: group roles without a login, applied by `copytrader db roles` and again after every migration.
-- What stands here is all that they may do in this schema: rights that are not named are taken away.
--   copytrader_ingest    the ingest worker, backfill, seal: writes events and the state of ingestion
--   copytrader_assets    Dagster: reads events, writes the served tables and releases, drops verified days; its own schema
--   copytrader_executor  reads releases and reserves, writes its journal and what is projected from it
--   copytrader_operator  people and the cockpit: wallets, the trading state, locks; reads everything
--   copytrader_reader    reads everything
-- A program's login is a member of its group: createuser --role=copytrader_ingest copytrader.

DO $$
DECLARE
    wanted TEXT;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['copytrader_ingest', 'copytrader_assets', 'copytrader_executor', 'copytrader_operator',
                                  'copytrader_reader'] LOOP
        IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = wanted) THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN', wanted);
        END IF;
        EXECUTE format('REVOKE ALL ON ALL TABLES IN SCHEMA %I FROM %I', current_schema(), wanted);
        EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM %I', current_schema(), wanted);
        EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), wanted);
        -- Temporary tables are how rows are merged.
        EXECUTE format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I', current_database(), wanted);
        EXECUTE format('GRANT SELECT ON schema_info TO %I', wanted);
    END LOOP;
    EXECUTE format('REVOKE CREATE ON SCHEMA %I FROM PUBLIC', current_schema());
END $$;

-- reader, and the operator on top of it --------------------------------------------------------------------------------
DO $$
BEGIN
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO copytrader_reader, copytrader_operator', current_schema());
END $$;
GRANT INSERT, UPDATE ON wallets TO copytrader_operator;
GRANT UPDATE ON exec_state TO copytrader_operator;
GRANT INSERT, UPDATE, DELETE ON exec_locks TO copytrader_operator;

-- ingest ---------------------------------------------------------------------------------------------------------------
GRANT SELECT ON wallets, wallet_names TO copytrader_ingest;
-- Landed rows are completed (place in the block, block time), never taken away.
GRANT SELECT, INSERT, UPDATE (ts_ns, tx_index) ON raw_events TO copytrader_ingest;
-- What waits for its day is counted where it waits.
GRANT SELECT ON raw_events_default TO copytrader_ingest;
GRANT SELECT, INSERT, UPDATE ON
    raw_event_slots, ingest_slots, ingest_checkpoint, ingest_gaps, ingest_days, backfill_progress, protocol_drift
TO copytrader_ingest;
GRANT SELECT, INSERT, DELETE ON ingest_dead_letters TO copytrader_ingest;
GRANT EXECUTE ON FUNCTION raw_events_partition(DATE) TO copytrader_ingest;

-- assets ---------------------------------------------------------------------------------------------------------------
GRANT SELECT ON wallets, raw_events, raw_events_default, ingest_slots, ingest_gaps, ingest_checkpoint TO copytrader_assets;
GRANT UPDATE (leader_wallet) ON raw_events TO copytrader_assets;
-- Expected against real, decision against replay: by what the executor wrote down.
GRANT SELECT ON exec_journal TO copytrader_assets;
GRANT SELECT, INSERT, UPDATE, DELETE ON trades, served_days TO copytrader_assets;
-- Retention: a day is marked as dropped, its slots are forgotten.
GRANT SELECT, UPDATE (dropped_at, content_hash, n_events, late_events) ON ingest_days TO copytrader_assets;
GRANT SELECT, DELETE ON raw_event_slots TO copytrader_assets;
GRANT EXECUTE ON FUNCTION raw_events_partition(DATE), lock_raw_events_day(DATE), drop_raw_events_partition(DATE)
TO copytrader_assets;

-- A release: written by the assets, read by the executor. Its tables grow with the schema: those that are there.
DO $$
DECLARE
    released TEXT;
BEGIN
    FOREACH released IN ARRAY ARRAY['releases', 'release_current', 'wallet_patterns', 'follow_edges', 'leader_inflow',
                                    'copy_value', 'leader_exits', 'landings'] LOOP
        IF to_regclass(released) IS NOT NULL THEN
            EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO copytrader_assets', released);
            EXECUTE format('GRANT SELECT ON %I TO copytrader_executor', released);
        END IF;
    END LOOP;
END $$;

-- executor -------------------------------------------------------------------------------------------------------------
GRANT SELECT ON wallets, raw_events, protocol_drift TO copytrader_executor;
-- The journal only grows; the other tables follow it, and a buy that its fork took back leaves them.
GRANT SELECT, INSERT ON exec_journal, exec_cash TO copytrader_executor;
GRANT SELECT, INSERT, UPDATE ON exec_projection, exec_intents, exec_quarantine TO copytrader_executor;
GRANT SELECT, INSERT, UPDATE, DELETE ON exec_positions, exec_fills, exec_locks TO copytrader_executor;
GRANT SELECT, UPDATE ON exec_state TO copytrader_executor;

-- Dagster's own tables: a schema that the assets' role may build and change --------------------------------------------
CREATE SCHEMA IF NOT EXISTS dagster;
GRANT USAGE, CREATE ON SCHEMA dagster TO copytrader_assets;
DO $$
DECLARE
    found REGCLASS;
BEGIN
    -- What the owner made before there were roles would not be the assets' role's to upgrade.
    FOR found IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'dagster'::regnamespace
                 AND c.relkind = 'r' AND c.relowner = current_user::regrole LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO copytrader_assets', found);
    END LOOP;
END $$;
