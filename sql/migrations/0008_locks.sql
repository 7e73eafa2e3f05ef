-- What somebody has forbidden: buys at all, buys after one leader, buys of one coin. Exits go on.
CREATE TABLE exec_locks (
    scope  TEXT NOT NULL CHECK (scope IN ('all', 'leader', 'mint')),
    key    TEXT NOT NULL,
    reason TEXT NOT NULL,
    until  TIMESTAMPTZ,
    set_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    set_by TEXT NOT NULL,
    PRIMARY KEY (scope, key),
    CHECK ((scope = 'all') = (key = ''))
);
