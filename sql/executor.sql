-- The executor's statements; each stands under its name. Parameters are bound by name.

-- name: journal
INSERT INTO exec_journal (run_id, mode, at_ns, slot, kind, intent_id, leader_sig, leader, mint, release_id, payload,
                          journal_seq, changes)
VALUES (%(run_id)s, %(mode)s, %(at_ns)s, %(slot)s, %(kind)s, %(intent_id)s, %(leader_sig)s, %(leader)s, %(mint)s,
        %(release_id)s, %(payload)s, %(seq)s, %(changes)s);

-- name: projection
SELECT journal_id, journal_seq FROM exec_projection WHERE mode = %(mode)s;

-- name: projected
INSERT INTO exec_projection (mode, journal_id, journal_seq) VALUES (%(mode)s, %(journal_id)s, %(seq)s)
ON CONFLICT (mode) DO UPDATE SET journal_seq = excluded.journal_seq;

-- name: journal_lines
SELECT journal_seq AS seq, run_id, mode, at_ns, slot, kind, intent_id, leader_sig, leader, mint, release_id, payload, changes
FROM exec_journal WHERE mode = %(mode)s AND journal_seq > %(seq)s ORDER BY journal_seq LIMIT %(limit)s;

-- name: journal_line
SELECT run_id, kind, at_ns, intent_id FROM exec_journal WHERE mode = %(mode)s AND journal_seq = %(seq)s;

-- name: schema
SELECT version FROM schema_info;

-- name: state
SELECT state, flatten, reason FROM exec_state;

-- name: set_state
UPDATE exec_state SET state = %(state)s, flatten = %(flatten)s, reason = %(reason)s, changed_at = now();

-- name: flatten_done
UPDATE exec_state SET flatten = FALSE, changed_at = now()
WHERE flatten AND changed_at <= to_timestamp(%(asked_before_seconds)s);

-- name: plan_intent
INSERT INTO exec_intents (intent_id, mode, leader_sig, leader, mint, side, state, payload)
VALUES (%(intent_id)s, %(mode)s, %(leader_sig)s, %(leader)s, %(mint)s, %(side)s, 'PLANNED', %(payload)s);

-- name: move_intent
UPDATE exec_intents SET state = %(to)s, payload = payload || %(payload)s, updated_at = now()
WHERE intent_id = %(intent_id)s AND state = %(from)s;

-- name: fill
INSERT INTO exec_fills (fill_id, mode, intent_id, position_id, side, mint, leader, sig, slot, ts_ns, base_raw, quote_lamports,
                        swap_fee_lamports, tx_fee_lamports, tip_lamports, rent_lamports, payload)
VALUES (%(intent_id)s, %(mode)s, %(intent_id)s, %(position_id)s, %(side)s, %(mint)s, %(leader)s, %(sig)s, %(slot)s, %(ts_ns)s,
        %(base_raw)s, %(quote_lamports)s, %(swap_fee_lamports)s, %(tx_fee_lamports)s, %(tip_lamports)s,
        %(rent_lamports)s, %(payload)s);

-- name: undo_fill
DELETE FROM exec_fills WHERE fill_id = %(intent_id)s;

-- name: confirm_intent
UPDATE exec_intents SET payload = payload || '{"confirmed": true}', updated_at = now() WHERE intent_id = %(intent_id)s;

-- name: cash
INSERT INTO exec_cash (mode, ts_ns, lamports, reason, sig) VALUES (%(mode)s, %(ts_ns)s, %(lamports)s, %(reason)s, %(sig)s);

-- name: quarantine
INSERT INTO exec_quarantine (mode, mint, account, amount_raw) VALUES (%(mode)s, %(mint)s, %(account)s, %(amount_raw)s)
ON CONFLICT (mode, mint) DO UPDATE SET account = excluded.account, amount_raw = excluded.amount_raw;

-- name: undo_position
DELETE FROM exec_positions WHERE position_id = %(position_id)s;

-- name: resize_position
UPDATE exec_positions SET qty_raw = %(base_raw)s WHERE position_id = %(position_id)s;

-- name: reopen_position
UPDATE exec_positions SET state = 'OPEN', proceeds_lamports = NULL, exit_reason = NULL, closed_ts_ns = NULL
WHERE position_id = %(position_id)s;

-- name: open_position
INSERT INTO exec_positions (position_id, mode, leader, leader_sig, mint, state, opened_slot, opened_ts_ns, qty_raw,
                            cost_lamports, payload)
VALUES (%(position_id)s, %(mode)s, %(leader)s, %(leader_sig)s, %(mint)s, 'OPEN', %(slot)s, %(ts_ns)s, %(base_raw)s,
        %(cost_lamports)s, %(payload)s)
-- A buy that was taken back while its position was closed, and has landed again.
ON CONFLICT (position_id) DO UPDATE
SET mode = excluded.mode, leader = excluded.leader, leader_sig = excluded.leader_sig, mint = excluded.mint, state = 'OPEN',
    opened_slot = excluded.opened_slot, opened_ts_ns = excluded.opened_ts_ns, qty_raw = excluded.qty_raw,
    cost_lamports = excluded.cost_lamports, proceeds_lamports = NULL, exit_reason = NULL, closed_ts_ns = NULL,
    payload = excluded.payload;

-- name: move_position
UPDATE exec_positions SET state = %(state)s, payload = payload || %(payload)s
WHERE position_id = %(position_id)s AND state <> 'CLOSED';

-- name: close_position
UPDATE exec_positions
SET state = 'CLOSED', proceeds_lamports = %(proceeds_lamports)s, exit_reason = %(reason)s, closed_ts_ns = %(ts_ns)s,
    payload = payload || %(payload)s
WHERE position_id = %(position_id)s AND state <> 'CLOSED';

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

-- name: status_results
SELECT closed_ts_ns, (proceeds_lamports - cost_lamports)::BIGINT AS pnl_lamports, leader
FROM exec_positions WHERE mode = %(mode)s AND state = 'CLOSED' AND closed_ts_ns >= %(since_ns)s ORDER BY closed_ts_ns;

-- name: status_now
-- The newest lines alone: a cockpit asks every second, and the journal is long.
SELECT COALESCE(max(at_ns), 0) AS at_ns, max(slot) AS slot
FROM (SELECT at_ns, slot FROM exec_journal WHERE mode = %(mode)s AND journal_seq IS NOT NULL
      ORDER BY journal_seq DESC LIMIT 500) newest;

-- name: status_decisions
SELECT at_ns, slot, COALESCE(w.alias, j.leader) AS leader, mint, payload -> 'decision' ->> 'code' AS code,
       payload -> 'decision' -> 'entry' ->> 'spend_lamports' AS spend_lamports
FROM exec_journal j LEFT JOIN wallets w ON w.wallet = j.leader
WHERE mode = %(mode)s AND kind = 'DECISION' ORDER BY seq DESC LIMIT %(limit)s;

-- name: status_orders
SELECT intent_id, leader, mint, side, state, payload
FROM exec_intents WHERE mode = %(mode)s AND state NOT IN ('LANDED_OK', 'LANDED_ERR', 'EXPIRED') ORDER BY updated_at;

-- name: aliases
SELECT wallet, alias FROM wallets WHERE wallet = ANY(%(wallets)s) AND alias IS NOT NULL;

-- name: release_age
SELECT as_of::TEXT AS as_of, extract(epoch FROM now() - created_at)::FLOAT8 AS age_seconds
FROM releases WHERE release_id = %(release_id)s;

-- name: explain_decisions
SELECT journal_seq AS seq, seq AS row, run_id, mode, at_ns, slot, kind, intent_id, leader_sig, leader, mint, release_id, payload
FROM exec_journal j
WHERE kind = 'DECISION' AND (leader_sig, mint) IN (
    SELECT leader_sig, mint FROM exec_journal WHERE leader_sig = %(sought)s AND kind = 'DECISION'
    UNION SELECT leader_sig, mint FROM exec_journal WHERE intent_id = %(sought)s
    UNION SELECT i.leader_sig, i.mint FROM exec_fills f JOIN exec_intents i USING (intent_id) WHERE f.sig = %(sought)s)
ORDER BY j.seq;

-- name: explain_settings
SELECT payload -> 'settings' AS settings, run_id, kind FROM exec_journal
WHERE mode = %(mode)s AND kind IN ('RUN', 'SETTINGS') AND seq < %(row)s AND payload ? 'settings' ORDER BY seq DESC LIMIT 1;

-- name: explain_story
SELECT at_ns, slot, kind, intent_id, payload FROM exec_journal
WHERE mode = %(mode)s AND leader_sig = %(leader_sig)s AND mint = %(mint)s AND kind <> 'DECISION' ORDER BY seq;

-- name: status_positions
SELECT p.position_id, p.leader AS wallet, COALESCE(w.alias, p.leader) AS leader, p.mint, p.state, p.opened_slot AS slot,
       p.opened_ts_ns, p.qty_raw AS base_raw, p.cost_lamports, p.payload
FROM exec_positions p LEFT JOIN wallets w ON w.wallet = p.leader
WHERE p.mode = %(mode)s AND p.state <> 'CLOSED' ORDER BY p.opened_slot;

-- name: locks
SELECT scope, key, reason, (extract(epoch FROM until) * 1000000000)::BIGINT AS until_ns, set_at, set_by
FROM exec_locks WHERE until IS NULL OR until > now() ORDER BY scope, key;

-- name: set_lock
INSERT INTO exec_locks (scope, key, reason, until, set_by)
VALUES (%(scope)s, %(key)s, %(reason)s, now() + %(seconds)s * INTERVAL '1 second', %(set_by)s)
ON CONFLICT (scope, key) DO UPDATE
SET reason = excluded.reason, until = excluded.until, set_at = now(), set_by = excluded.set_by;

-- name: clear_lock
DELETE FROM exec_locks WHERE scope = %(scope)s AND key = %(key)s;

-- name: clear_past_locks
DELETE FROM exec_locks WHERE until <= now();

-- name: wallets_named
SELECT wallet FROM wallets WHERE alias = %(alias)s ORDER BY wallet;
