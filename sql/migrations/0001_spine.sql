-- The first schema: wallets, landed events, coverage, round trips, fingerprints, edges, releases and the executor's journal.
-- Amounts that a program computes in u64 are NUMERIC(20,0): a u64 does not fit a BIGINT and nothing may be lost.
-- Sums of them are NUMERIC(38,0).

CREATE TABLE wallets (
    wallet      TEXT PRIMARY KEY,
    alias       TEXT,
    is_tracked  BOOLEAN NOT NULL DEFAULT TRUE,
    notes       TEXT,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX wallets_tracked ON wallets (is_tracked);

CREATE TABLE raw_events (
    ts_ns             BIGINT NOT NULL,
    recv_ts_ns        BIGINT,
    slot              BIGINT NOT NULL,
    tx_index          INTEGER,
    sig               TEXT NOT NULL,
    outer_ix          INTEGER NOT NULL,
    inner_ix          INTEGER NOT NULL,
    event_seq         INTEGER NOT NULL,
    wallet            TEXT NOT NULL,
    alias             TEXT,
    fee_payer         TEXT,
    program           TEXT NOT NULL,
    action            TEXT NOT NULL CHECK (action IN ('CREATE', 'BUY', 'SELL', 'SWAP', 'ADD', 'REMOVE')),
    mint              TEXT,
    base_mint         TEXT,
    quote_mint        TEXT,
    base_raw          NUMERIC(20, 0) CHECK (base_raw >= 0),
    quote_raw         NUMERIC(20, 0) CHECK (quote_raw >= 0),
    swap_fee_raw      NUMERIC(20, 0) CHECK (swap_fee_raw >= 0),
    tx_fee_lamports   BIGINT,
    tip_lamports      BIGINT,
    reserve_base_raw  NUMERIC(20, 0),
    reserve_quote_raw NUMERIC(20, 0),
    amount_in         DOUBLE PRECISION,
    amount_out        DOUBLE PRECISION,
    price_est         DOUBLE PRECISION,
    fee_sol           DOUBLE PRECISION,
    ix_accounts_json  JSONB,
    meta_json         JSONB,
    leader_wallet     TEXT,
    created_at        TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (sig, outer_ix, inner_ix, event_seq)
);
CREATE INDEX raw_events_wallet_ts ON raw_events (wallet, ts_ns);
CREATE INDEX raw_events_mint_ts ON raw_events (mint, ts_ns);
CREATE INDEX raw_events_ts ON raw_events USING brin (ts_ns) WITH (pages_per_range = 32);
CREATE INDEX raw_events_slot ON raw_events (slot);

-- One row per closed slot that the worker has committed; the newest contiguous one is the checkpoint.
CREATE TABLE ingest_slots (
    slot        BIGINT PRIMARY KEY,
    parent_slot BIGINT,
    blockhash   TEXT,
    block_time  BIGINT,
    n_txs       INTEGER NOT NULL,
    n_events    INTEGER NOT NULL,
    closed_at   TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE INDEX ingest_slots_block_time ON ingest_slots (block_time);
-- complete_from: the lowest slot, where the user declared that nothing was missed before it.
CREATE TABLE ingest_checkpoint (
    stream        TEXT PRIMARY KEY,
    slot          BIGINT NOT NULL,
    blockhash     TEXT,
    block_time    BIGINT,
    complete_from BIGINT,
    updated_at    TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE TABLE ingest_gaps (
    from_slot   BIGINT NOT NULL,
    to_slot     BIGINT NOT NULL CHECK (to_slot >= from_slot),
    reason      TEXT NOT NULL,
    opened_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    filled_at   TIMESTAMPTZ,
    PRIMARY KEY (from_slot, to_slot)
);
CREATE TABLE ingest_dead_letters (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sig         TEXT,
    slot        BIGINT,
    reason      TEXT NOT NULL,
    raw         BYTEA,
    created_at  TIMESTAMPTZ NOT NULL DEFAULT now(),
    UNIQUE NULLS NOT DISTINCT (sig, slot, reason)
);
-- Which UTC days of raw_events are complete. A day is sealed by the worker (no gap, a later block seen) or by `copytrader seal`.
CREATE TABLE ingest_days (
    day         DATE PRIMARY KEY,
    sealed_at   TIMESTAMPTZ NOT NULL DEFAULT now(),
    sealed_by   TEXT NOT NULL,
    n_events    BIGINT NOT NULL,
    first_slot  BIGINT,
    last_slot   BIGINT
);

CREATE TABLE trades (
    trade_id                BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    wallet                  TEXT NOT NULL,
    alias                   TEXT,
    mint                    TEXT NOT NULL,
    quote_mint              TEXT,
    open_sig                TEXT NOT NULL,
    open_path               TEXT NOT NULL,
    open_ts_ns              BIGINT NOT NULL,
    open_slot               BIGINT NOT NULL,
    open_qty                DOUBLE PRECISION NOT NULL,
    open_qty_raw            NUMERIC(38, 0) NOT NULL,
    open_cost_sol           DOUBLE PRECISION,
    open_cost_lamports      NUMERIC(38, 0),
    open_cost_raw           NUMERIC(38, 0) NOT NULL,
    close_sig               TEXT,
    close_ts_ns             BIGINT,
    close_slot              BIGINT,
    close_qty               DOUBLE PRECISION,
    close_qty_raw           NUMERIC(38, 0),
    close_proceeds_sol      DOUBLE PRECISION,
    close_proceeds_lamports NUMERIC(38, 0),
    close_proceeds_raw      NUMERIC(38, 0),
    hold_ms                 BIGINT,
    pnl_sol                 DOUBLE PRECISION,
    pnl_lamports            NUMERIC(38, 0),
    pnl_raw                 NUMERIC(38, 0),
    pnl_x                   DOUBLE PRECISION,
    was_win                 BOOLEAN,
    n_buys                  INTEGER NOT NULL,
    n_sells                 INTEGER NOT NULL,
    status                  TEXT NOT NULL CHECK (status IN ('OPEN', 'CLOSED', 'DEAD')),
    basis                   TEXT NOT NULL CHECK (basis IN ('COMPLETE', 'INCOMPLETE')),
    meta_json               JSONB,
    close_day               DATE,
    UNIQUE (wallet, mint, open_sig, open_path)
);
CREATE INDEX trades_wallet_open ON trades (wallet, open_ts_ns);
CREATE INDEX trades_mint_open ON trades (mint, open_ts_ns);
CREATE INDEX trades_close_day ON trades (close_day);
-- Which snapshot of the lake the finished trips of a day (trades.close_day) were copied from; another hash means copy again.
CREATE TABLE served_days (
    day          DATE PRIMARY KEY,
    content_hash TEXT NOT NULL
);

-- What the assets publish for the executor: one consistent set per release, moved in one transaction with NOTIFY copytrader_release.
CREATE TABLE releases (
    release_id   TEXT PRIMARY KEY,
    as_of        DATE NOT NULL,
    content_hash TEXT NOT NULL,
    n_patterns   INTEGER NOT NULL,
    n_edges      INTEGER NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE TABLE release_current (
    one          BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    release_id   TEXT NOT NULL REFERENCES releases
);
CREATE TABLE wallet_patterns (
    wallet                TEXT PRIMARY KEY,
    alias                 TEXT,
    sample_days           INTEGER NOT NULL,
    sample_trades         INTEGER NOT NULL,
    win_rate              DOUBLE PRECISION,
    win_rate_shrunk       DOUBLE PRECISION,
    win_rate_lo           DOUBLE PRECISION,
    win_rate_hi           DOUBLE PRECISION,
    avg_daily_trades      DOUBLE PRECISION,
    avg_entry_sol         DOUBLE PRECISION,
    p50_entry_sol         DOUBLE PRECISION,
    p90_entry_sol         DOUBLE PRECISION,
    p50_hold_ms           BIGINT,
    p90_hold_ms           BIGINT,
    km_p50_hold_ms        BIGINT,
    p50_target_x          DOUBLE PRECISION,
    p90_target_x          DOUBLE PRECISION,
    typical_exit_style    TEXT,
    exit_style_confidence DOUBLE PRECISION,
    slippage_pctl_95      DOUBLE PRECISION,
    avg_pnl_sol           DOUBLE PRECISION,
    pnl_sol               DOUBLE PRECISION,
    pnl_volatility_sol    DOUBLE PRECISION,
    followership_score    DOUBLE PRECISION,
    leader_score          DOUBLE PRECISION,
    preferred_time_window TEXT,
    as_of                 DATE NOT NULL,
    release_id            TEXT,
    updated_at            TIMESTAMPTZ NOT NULL DEFAULT now()
);
CREATE TABLE follow_edges (
    leader                TEXT NOT NULL,
    follower              TEXT NOT NULL,
    leader_alias          TEXT,
    follower_alias        TEXT,
    lag_ms_p50            BIGINT,
    lag_ms_p90            BIGINT,
    follow_prob           DOUBLE PRECISION,
    follow_prob_2s        DOUBLE PRECISION,
    follow_prob_5s        DOUBLE PRECISION,
    follow_prob_10s       DOUBLE PRECISION,
    follow_prob_30s       DOUBLE PRECISION,
    baseline_prob         DOUBLE PRECISION,
    n_leader_buys         INTEGER,
    n_followed            INTEGER,
    q_value               DOUBLE PRECISION,
    avg_follower_size_sol DOUBLE PRECISION,
    as_of                 DATE NOT NULL,
    release_id            TEXT,
    PRIMARY KEY (leader, follower)
);

-- The executor. Decisions and state changes are append-only; positions are a projection that a restart rebuilds from them.
CREATE TABLE exec_journal (
    seq             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id          TEXT NOT NULL,
    mode            TEXT NOT NULL CHECK (mode IN ('paper', 'live')),
    at_ns           BIGINT NOT NULL,
    slot            BIGINT,
    kind            TEXT NOT NULL,
    intent_id       TEXT,
    leader_sig      TEXT,
    leader          TEXT,
    mint            TEXT,
    release_id      TEXT,
    payload         JSONB NOT NULL
);
CREATE INDEX exec_journal_intent ON exec_journal (intent_id);
CREATE INDEX exec_journal_leader_sig ON exec_journal (leader_sig);
CREATE TABLE exec_intents (
    intent_id       TEXT PRIMARY KEY,
    mode            TEXT NOT NULL CHECK (mode IN ('paper', 'live')),
    leader_sig      TEXT,
    leader          TEXT,
    mint            TEXT NOT NULL,
    side            TEXT NOT NULL CHECK (side IN ('BUY', 'SELL')),
    state           TEXT NOT NULL CHECK (state IN ('PLANNED', 'SIGNED', 'SENT', 'LANDED_OK', 'LANDED_ERR', 'EXPIRED', 'UNKNOWN')),
    updated_at      TIMESTAMPTZ NOT NULL DEFAULT now(),
    payload         JSONB NOT NULL
);
-- At most one buy per leader buy and coin, whatever crashes.
CREATE UNIQUE INDEX exec_one_buy ON exec_intents (mode, leader_sig, mint) WHERE side = 'BUY';
CREATE TABLE exec_positions (
    position_id     TEXT PRIMARY KEY,
    mode            TEXT NOT NULL CHECK (mode IN ('paper', 'live')),
    leader          TEXT,
    leader_sig      TEXT,
    mint            TEXT NOT NULL,
    state           TEXT NOT NULL CHECK (state IN ('OPEN', 'CLOSING', 'CLOSED')),
    opened_slot     BIGINT NOT NULL,
    opened_ts_ns    BIGINT NOT NULL,
    qty_raw         NUMERIC(20, 0) NOT NULL,
    cost_lamports   BIGINT NOT NULL,
    proceeds_lamports BIGINT,
    exit_reason     TEXT,
    closed_ts_ns    BIGINT,
    payload         JSONB NOT NULL
);
CREATE TABLE exec_fills (
    fill_id         TEXT PRIMARY KEY,
    mode            TEXT NOT NULL CHECK (mode IN ('paper', 'live')),
    intent_id       TEXT NOT NULL REFERENCES exec_intents,
    position_id     TEXT NOT NULL,
    side            TEXT NOT NULL CHECK (side IN ('BUY', 'SELL')),
    mint            TEXT NOT NULL,
    leader          TEXT,
    sig             TEXT,
    slot            BIGINT NOT NULL,
    ts_ns           BIGINT NOT NULL,
    base_raw        NUMERIC(20, 0) NOT NULL,
    quote_lamports  BIGINT NOT NULL,
    swap_fee_lamports BIGINT NOT NULL,
    tx_fee_lamports BIGINT NOT NULL,
    tip_lamports    BIGINT NOT NULL,
    payload         JSONB
);
-- The trading state is a row, so that it outlives every process.
CREATE TABLE exec_state (
    one             BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one),
    state           TEXT NOT NULL CHECK (state IN ('ACTIVE', 'REDUCING', 'HALTED')),
    flatten         BOOLEAN NOT NULL DEFAULT FALSE,
    reason          TEXT,
    changed_at      TIMESTAMPTZ NOT NULL DEFAULT now()
);
INSERT INTO exec_state (state, reason) VALUES ('ACTIVE', 'first start');
