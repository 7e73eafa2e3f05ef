-- The executor's statements; each stands under its name. Parameters are bound by name.

-- name: journal
INSERT INTO exec_journal (run_id, mode, at_ns, slot, kind, intent_id, leader_sig, leader, mint, release_id, payload)
VALUES (%(run_id)s, %(mode)s, %(at_ns)s, %(slot)s, %(kind)s, %(intent_id)s, %(leader_sig)s, %(leader)s, %(mint)s,
        %(release_id)s, %(payload)s);

-- name: state
SELECT state, flatten, reason FROM exec_state;

-- name: set_state
UPDATE exec_state SET state = %(state)s, flatten = %(flatten)s, reason = %(reason)s, changed_at = now();

-- name: flatten_done
UPDATE exec_state SET flatten = FALSE, changed_at = now() WHERE flatten;

-- Whoever changes the state waits until this transaction has ended: after `halt` has returned, nothing new is planned or sent.
-- name: lock_state
SELECT state FROM exec_state FOR SHARE;

-- name: plan_intent
INSERT INTO exec_intents (intent_id, mode, leader_sig, leader, mint, side, state, payload)
VALUES (%(intent_id)s, %(mode)s, %(leader_sig)s, %(leader)s, %(mint)s, %(side)s, 'PLANNED', %(payload)s)
ON CONFLICT DO NOTHING
RETURNING intent_id;

-- name: move_intent
UPDATE exec_intents SET state = %(to)s, payload = payload || %(payload)s, updated_at = now()
WHERE intent_id = %(intent_id)s AND state = %(from)s
RETURNING intent_id;

-- name: fill
INSERT INTO exec_fills (fill_id, mode, intent_id, position_id, side, mint, leader, sig, slot, ts_ns, base_raw, quote_lamports,
                        swap_fee_lamports, tx_fee_lamports, tip_lamports, payload)
VALUES (%(intent_id)s, %(mode)s, %(intent_id)s, %(position_id)s, %(side)s, %(mint)s, %(leader)s, NULL, %(slot)s, %(ts_ns)s,
        %(base_raw)s, %(quote_lamports)s, %(swap_fee_lamports)s, %(tx_fee_lamports)s, %(tip_lamports)s, %(payload)s);

-- name: open_position
INSERT INTO exec_positions (position_id, mode, leader, leader_sig, mint, state, opened_slot, opened_ts_ns, qty_raw,
                            cost_lamports, payload)
VALUES (%(position_id)s, %(mode)s, %(leader)s, %(leader_sig)s, %(mint)s, 'OPEN', %(slot)s, %(ts_ns)s, %(base_raw)s,
        %(cost_lamports)s, %(payload)s);

-- name: move_position
UPDATE exec_positions SET state = %(state)s, payload = payload || %(payload)s
WHERE position_id = %(position_id)s AND state <> 'CLOSED'
RETURNING position_id;

-- name: close_position
UPDATE exec_positions
SET state = 'CLOSED', proceeds_lamports = %(proceeds_lamports)s, exit_reason = %(reason)s, closed_ts_ns = %(ts_ns)s,
    payload = payload || %(payload)s
WHERE position_id = %(position_id)s AND state <> 'CLOSED'
RETURNING position_id;

-- name: open_positions
SELECT position_id, leader, leader_sig, mint, state, opened_slot, opened_ts_ns, qty_raw, cost_lamports, payload
FROM exec_positions WHERE mode = %(mode)s AND state <> 'CLOSED' ORDER BY opened_slot, position_id;

-- name: unfinished_intents
SELECT intent_id, leader_sig, leader, mint, side, state, payload
FROM exec_intents WHERE mode = %(mode)s AND state IN ('PLANNED', 'SIGNED', 'SENT', 'UNKNOWN') ORDER BY updated_at, intent_id;

-- name: decided
SELECT leader_sig, mint, max(slot) AS slot FROM exec_journal
WHERE mode = %(mode)s AND kind = 'DECISION' AND leader_sig IS NOT NULL
  AND slot >= (SELECT max(slot) - 20000 FROM exec_journal WHERE mode = %(mode)s AND kind = 'DECISION')
GROUP BY leader_sig, mint;

-- name: cash_flow
SELECT COALESCE((SELECT sum(CASE side WHEN 'BUY' THEN -(quote_lamports + tx_fee_lamports + tip_lamports)
                                      ELSE quote_lamports - tx_fee_lamports - tip_lamports END)
                 FROM exec_fills WHERE mode = %(mode)s), 0)
     - COALESCE((SELECT sum((payload ->> 'cost_lamports')::BIGINT)
                 FROM exec_intents WHERE mode = %(mode)s AND state = 'LANDED_ERR'), 0) AS lamports;

-- name: results
SELECT closed_ts_ns AS ts_ns, proceeds_lamports - cost_lamports AS pnl_lamports FROM exec_positions WHERE mode = %(mode)s AND state = 'CLOSED'
UNION ALL
SELECT (payload ->> 'landed_ts_ns')::BIGINT, -(payload ->> 'cost_lamports')::BIGINT
FROM exec_intents WHERE mode = %(mode)s AND state = 'LANDED_ERR'
ORDER BY 1;

-- name: last_markets
SELECT DISTINCT ON (mint, program) slot, tx_index, sig, mint, program, action, quote_mint, reserve_base_raw, reserve_quote_raw, meta_json
FROM raw_events
WHERE mint = ANY(%(mints)s) AND action IN ('BUY', 'SELL') AND reserve_base_raw IS NOT NULL
ORDER BY mint, program, slot DESC, tx_index DESC NULLS LAST, outer_ix DESC, inner_ix DESC, event_seq DESC;

-- name: release_id
SELECT release_id FROM release_current;

-- name: listen_release
LISTEN copytrader_release;

-- name: listen_state
LISTEN copytrader_state;

-- name: notify_state
NOTIFY copytrader_state;

-- One executor a mode and database: the lock goes with the connection, so that a crash frees it.
-- name: only_one
SELECT pg_try_advisory_lock(hashtext('copytrader executor ' || %(mode)s)) AS got;

-- name: running
SELECT count(*) AS n FROM pg_locks
WHERE locktype = 'advisory' AND objsubid = 1
  AND ((classid::BIGINT << 32) | objid::BIGINT) = hashtext('copytrader executor ' || %(mode)s)::BIGINT
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database());

-- name: status_today
SELECT count(*) FILTER (WHERE state = 'CLOSED') AS closed,
       count(*) FILTER (WHERE state = 'CLOSED' AND proceeds_lamports > cost_lamports) AS won,
       COALESCE(sum(proceeds_lamports - cost_lamports) FILTER (WHERE state = 'CLOSED'), 0) AS pnl_lamports
FROM exec_positions WHERE mode = %(mode)s AND closed_ts_ns >= %(since_ns)s;

-- name: status_now
SELECT COALESCE(max(at_ns), 0) AS at_ns, max(slot) AS slot FROM exec_journal WHERE mode = %(mode)s;

-- name: status_decisions
SELECT at_ns, slot, COALESCE(w.alias, j.leader) AS leader, mint, payload -> 'decision' ->> 'code' AS code,
       payload -> 'decision' -> 'entry' ->> 'spend_lamports' AS spend_lamports
FROM exec_journal j LEFT JOIN wallets w ON w.wallet = j.leader
WHERE mode = %(mode)s AND kind = 'DECISION' ORDER BY seq DESC LIMIT %(limit)s;

-- name: status_positions
SELECT p.position_id, COALESCE(w.alias, p.leader) AS leader, p.mint, p.state, p.opened_ts_ns, p.cost_lamports, p.payload
FROM exec_positions p LEFT JOIN wallets w ON w.wallet = p.leader
WHERE p.mode = %(mode)s AND p.state <> 'CLOSED' ORDER BY p.opened_slot;
