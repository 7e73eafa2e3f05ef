-- How late our own live orders landed as of a release; slots_late -1: they never did.
CREATE TABLE IF NOT EXISTS landings (
    side       TEXT NOT NULL CHECK (side IN ('BUY', 'SELL')),
    slots_late INTEGER NOT NULL CHECK (slots_late >= -1),
    n_orders   INTEGER NOT NULL,
    as_of      DATE NOT NULL,
    release_id TEXT,
    PRIMARY KEY (side, slots_late)
);
