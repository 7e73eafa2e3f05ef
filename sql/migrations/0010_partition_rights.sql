-- What only the owner of raw_events may do, as functions of the owner: whoever is granted them needs no more (sql/roles.sql).

-- Keeps writers of a day out until the end of the transaction. Returns the partition that holds the day.
CREATE FUNCTION lock_raw_events_day(wanted DATE) RETURNS TEXT LANGUAGE plpgsql SET lock_timeout = '700ms' AS $$
DECLARE
    partition TEXT := 'raw_events_' || to_char(wanted, 'YYYYMMDD');
BEGIN
    IF to_regclass(partition) IS NULL THEN
        partition := 'raw_events_default';
    END IF;
    EXECUTE format('LOCK TABLE %I IN SHARE MODE', partition);
    RETURN partition;
END $$;

-- Detaches and drops the partition of a day, in the caller's transaction. A day with events goes only while it is sealed:
-- that it equals its snapshot is for the caller to prove.
CREATE FUNCTION drop_raw_events_partition(wanted DATE) RETURNS VOID LANGUAGE plpgsql SET lock_timeout = '700ms' AS $$
DECLARE
    partition TEXT := 'raw_events_' || to_char(wanted, 'YYYYMMDD');
    is_empty  BOOLEAN;
BEGIN
    EXECUTE format('SELECT NOT EXISTS (SELECT 1 FROM %I)', partition) INTO is_empty;
    IF NOT is_empty AND NOT EXISTS (SELECT 1 FROM ingest_days WHERE day = wanted AND unsealed_at IS NULL) THEN
        RAISE EXCEPTION 'the day % is not sealed: its events are dropped only after their snapshot was verified', wanted;
    END IF;
    -- Postgres refuses DETACH ... CONCURRENTLY where there is a default partition.
    EXECUTE format('ALTER TABLE raw_events DETACH PARTITION %I', partition);
    EXECUTE format('DROP TABLE %I', partition);
END $$;

-- A function with its owner's rights must not look names up where its caller says, nor be called by everybody.
DO $$
DECLARE
    found REGPROCEDURE;
BEGIN
    FOREACH found IN ARRAY ARRAY['raw_events_partition(date)', 'lock_raw_events_day(date)', 'drop_raw_events_partition(date)',
                                 'count_wallet_change()']::REGPROCEDURE[] LOOP
        EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = %I, pg_temp', found, current_schema());
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', found);
    END LOOP;
END $$;
