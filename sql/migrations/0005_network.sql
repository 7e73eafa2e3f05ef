-- The copy network: what an edge's numbers rest on, and the inflow that a leader's followers promise.
ALTER TABLE follow_edges
    ADD COLUMN chance_prob_30s DOUBLE PRECISION,
    ADD COLUMN excess          DOUBLE PRECISION,
    ADD COLUMN excess_lo       DOUBLE PRECISION,
    ADD COLUMN excess_hi       DOUBLE PRECISION,
    ADD COLUMN p_value         DOUBLE PRECISION;
CREATE TABLE leader_inflow (
    leader           TEXT NOT NULL,
    slots            INTEGER NOT NULL,
    ahead_sol        DOUBLE PRECISION NOT NULL,
    behind_sol       DOUBLE PRECISION NOT NULL,
    followers_ahead  DOUBLE PRECISION NOT NULL,
    followers_behind DOUBLE PRECISION NOT NULL,
    n_followers      INTEGER NOT NULL,
    n_leader_buys    INTEGER NOT NULL,
    as_of            DATE NOT NULL,
    release_id       TEXT,
    PRIMARY KEY (leader, slots)
);
