-- The executor's journal is a file beside it; Postgres holds the same lines, and how far it has got with them.
ALTER TABLE exec_journal
    ADD COLUMN journal_seq BIGINT,
    ADD COLUMN changes     JSONB;
CREATE UNIQUE INDEX exec_journal_line ON exec_journal (mode, journal_seq);
CREATE TABLE exec_projection (
    mode        TEXT PRIMARY KEY CHECK (mode IN ('paper', 'live')),
    journal_id  TEXT NOT NULL,
    journal_seq BIGINT NOT NULL
);
-- The intents table takes a line's word: which buys exist is decided in the journal, before anything is sent.
