-- Ingest at size: daily partitions of raw_events, the days' states.

-- raw_events by day ---------------------------------------------------------------------------------------------------
-- One partition a UTC day of chain time, made ahead; raw_events_default takes every other day until it is ensured or
-- sealed. The key is unique within each partition. Across days it is kept by raw_event_slots, because a unique index
-- of the whole table would have to contain ts_ns and would let the same event in again under another clock.
ALTER TABLE raw_events RENAME TO raw_events_default;
ALTER TABLE raw_events_default RENAME CONSTRAINT raw_events_pkey TO raw_events_default_pkey;
ALTER INDEX raw_events_wallet_ts RENAME TO raw_events_default_wallet_ts;
ALTER INDEX raw_events_mint_ts RENAME TO raw_events_default_mint_ts;
ALTER INDEX raw_events_ts RENAME TO raw_events_default_ts;
ALTER INDEX raw_events_slot RENAME TO raw_events_default_slot;
CREATE TABLE raw_events (LIKE raw_events_default INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY RANGE (ts_ns);
ALTER TABLE raw_events ATTACH PARTITION raw_events_default DEFAULT;
CREATE INDEX raw_events_wallet_ts ON raw_events (wallet, ts_ns);
CREATE INDEX raw_events_mint_ts ON raw_events (mint, ts_ns);
CREATE INDEX raw_events_slot ON raw_events (slot);

-- The days that a slot's events stand on. All of a slot has one clock, so a row here is one for dozens of events;
-- a slot that was seen under the clocks of two days (day NULL) makes its writers look for the key in every partition.
CREATE TABLE raw_event_slots (
    slot  BIGINT PRIMARY KEY,
    day   DATE
) WITH (fillfactor = 80);

CREATE FUNCTION utc_day(ts_ns BIGINT) RETURNS DATE LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN DATE '1970-01-01' + (ts_ns / 86400000000000)::integer;

-- Makes the partition of a day and moves the day's rows out of raw_events_default, in the caller's transaction.
-- Returns how many rows were moved, NULL if the partition was there. Writers of other partitions are never held up;
-- the lock time is short so that a long query in front of us does not make everybody else queue behind us.
CREATE FUNCTION raw_events_partition(wanted DATE) RETURNS BIGINT LANGUAGE plpgsql SET lock_timeout = '700ms' AS $$
DECLARE
    partition TEXT := 'raw_events_' || to_char(wanted, 'YYYYMMDD');
    lower     BIGINT := (wanted - DATE '1970-01-01') * 86400000000000;
    upper     BIGINT := lower + 86400000000000;
    moved     BIGINT;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('raw_events partitions', 0));
    IF to_regclass(partition) IS NOT NULL THEN
        RETURN NULL;
    END IF;
    LOCK TABLE raw_events_default IN ACCESS EXCLUSIVE MODE;
    EXECUTE format('CREATE TABLE %I (LIKE raw_events INCLUDING DEFAULTS INCLUDING CONSTRAINTS,'
                   ' CONSTRAINT day_of_partition CHECK (ts_ns >= %s AND ts_ns < %s))', partition, lower, upper);
    EXECUTE format('WITH gone AS (DELETE FROM raw_events_default WHERE ts_ns >= %s AND ts_ns < %s RETURNING *)'
                   ' INSERT INTO %I SELECT * FROM gone', lower, upper, partition);
    GET DIAGNOSTICS moved = ROW_COUNT;
    EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (sig, outer_ix, inner_ix, event_seq)', partition);
    EXECUTE format('ALTER TABLE raw_events ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)', partition, lower, upper);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT day_of_partition', partition);
    RETURN moved;
END $$;

INSERT INTO raw_event_slots (slot, day)
    SELECT slot, CASE WHEN min(utc_day(ts_ns)) = max(utc_day(ts_ns)) THEN min(utc_day(ts_ns)) END
    FROM raw_events GROUP BY slot;
DO $$
DECLARE
    found DATE;
BEGIN
    FOR found IN SELECT DISTINCT utc_day(ts_ns) FROM raw_events ORDER BY 1 LOOP
        PERFORM raw_events_partition(found);
    END LOOP;
    TRUNCATE raw_events_default;
END $$;

-- dropped_at: the partition is gone, the snapshot with content_hash holds the day. late_events: rows that came after.
-- unsealed_at: a gap was found inside a day that had been sealed; it counts as unsealed until it is sealed again.
ALTER TABLE ingest_days
    ADD COLUMN unsealed_at     TIMESTAMPTZ,
    ADD COLUMN unsealed_reason TEXT,
    ADD COLUMN dropped_at      TIMESTAMPTZ,
    ADD COLUMN content_hash    TEXT,
    ADD COLUMN late_events     BIGINT NOT NULL DEFAULT 0;

-- Backfill: how far each wallet's history is hydrated. From newest_sig down to oldest_sig everything is landed, with nothing
-- missing back to the unix time complete_since; a scan above it that is not finished has been from head_sig to cursor_sig.
CREATE TABLE backfill_progress (
    wallet         TEXT PRIMARY KEY,
    newest_sig     TEXT,
    newest_slot    BIGINT,
    oldest_sig     TEXT,
    complete_since BIGINT,
    head_sig       TEXT,
    head_slot      BIGINT,
    cursor_sig     TEXT,
    updated_at     TIMESTAMPTZ NOT NULL DEFAULT now()
);

-- clocks of a slot ----------------------------------------------------------------------------------------------------
-- Chain time is block_time; recv_ts_ns is when the message that closed the slot came, created_at_ns the provider's stamp
-- on it (NULL from old servers and for slots that came by backfill), all in unix nanoseconds.
ALTER TABLE ingest_slots
    ADD COLUMN recv_ts_ns    BIGINT,
    ADD COLUMN created_at_ns BIGINT;

-- protocol drift ------------------------------------------------------------------------------------------------------
-- What landed transactions show that the known programs would not have done: one row per kind, program and instruction
-- (or event, or unknown discriminator) with a count, so that a flood is one row. The example is the first one seen.
CREATE TABLE protocol_drift (
    kind        TEXT NOT NULL,
    program     TEXT NOT NULL,
    ix          TEXT NOT NULL,
    n           BIGINT NOT NULL,
    first_seen  TIMESTAMPTZ NOT NULL DEFAULT now(),
    last_seen   TIMESTAMPTZ NOT NULL DEFAULT now(),
    first_slot  BIGINT NOT NULL,
    last_slot   BIGINT NOT NULL,
    sig         TEXT NOT NULL,
    path        TEXT NOT NULL,
    expected    TEXT NOT NULL,
    found       TEXT NOT NULL,
    detail      TEXT NOT NULL,
    PRIMARY KEY (kind, program, ix)
);

-- scope: which events of a slot were kept. A day's is the narrowest of its slots: all, touched, tracked (also their
-- alphabetical order, which min and max rely on).
ALTER TABLE ingest_slots
    ADD COLUMN scope TEXT NOT NULL DEFAULT 'all' CHECK (scope IN ('all', 'touched', 'tracked'));
ALTER TABLE ingest_days
    ADD COLUMN scope TEXT NOT NULL DEFAULT 'all' CHECK (scope IN ('all', 'touched', 'tracked'));
