-- Live trading: migrations sent by us, rent beside a fill, other movements of the balance, coins nobody accounts for.
ALTER TABLE exec_intents DROP CONSTRAINT exec_intents_side_check;
ALTER TABLE exec_intents ADD CONSTRAINT exec_intents_side_check CHECK (side IN ('BUY', 'SELL', 'MIGRATE'));
ALTER TABLE exec_fills ADD COLUMN rent_lamports BIGINT NOT NULL DEFAULT 0;
CREATE TABLE exec_cash (
    mode        TEXT NOT NULL CHECK (mode IN ('paper', 'live')),
    ts_ns       BIGINT NOT NULL,
    lamports    BIGINT NOT NULL,
    reason      TEXT NOT NULL,
    sig         TEXT
);
CREATE TABLE exec_quarantine (
    mode        TEXT NOT NULL CHECK (mode IN ('paper', 'live')),
    mint        TEXT NOT NULL,
    account     TEXT NOT NULL,
    amount_raw  NUMERIC(20, 0) NOT NULL,
    found_at    TIMESTAMPTZ NOT NULL DEFAULT now(),
    PRIMARY KEY (mode, mint)
);
