-- Which history of the log the tables have, and what is taken back once the operator has given one up:
-- the log of a restored or copied data directory gives LSNs again.

SET ROLE holdfast_migrator;

-- A cursor that was written before this has no checksum of its log. It counts as one of another
-- history, which the operator accepts once; nothing is lost by it.
ALTER TABLE holdfast.sink_cursor
    ADD COLUMN generation text NOT NULL DEFAULT '1-0000000000000000',
    ADD COLUMN chain bigint NOT NULL DEFAULT 0;
ALTER TABLE holdfast.sink_cursor
    ALTER COLUMN generation DROP DEFAULT,
    ALTER COLUMN chain DROP DEFAULT;

CREATE TABLE holdfast.lost_history (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    lost_at timestamptz NOT NULL DEFAULT now(),
    generation text NOT NULL,
    parted_lsn bigint NOT NULL,
    table_name text NOT NULL,
    what text NOT NULL CHECK (what IN ('removed', 'changed')),
    lsn bigint,
    user_id text,
    purchase_id text,
    lost jsonb NOT NULL
);
CREATE INDEX lost_history_purchase ON holdfast.lost_history (purchase_id) WHERE purchase_id IS NOT NULL;

-- A cursor goes only forward, unless what is behind it is taken back.
CREATE OR REPLACE FUNCTION holdfast.cursor_moves_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.lsn < OLD.lsn AND current_user <> 'holdfast_migrator' THEN
        RAISE EXCEPTION 'the cursor of % only moves on', OLD.sink
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;

-- Keeps rows of one table that are taken back.
CREATE FUNCTION holdfast.keep_lost(
    from_generation text, parted bigint, of_table text, as_what text, rows jsonb[], lsn_name text
) RETURNS void LANGUAGE sql SET search_path = holdfast, pg_temp AS $$
    INSERT INTO lost_history
        (generation, parted_lsn, table_name, what, lsn, user_id, purchase_id, lost)
    SELECT from_generation, parted, of_table, as_what,
        (r->>lsn_name)::bigint, r->>'user_id', r->>'purchase_id', r
    FROM unnest(rows) AS r
$$;

-- Takes back all rows of events from `parted` on, and moves the cursor there; how many events. Rows
-- that such events changed stand again as they were before.
CREATE FUNCTION holdfast.take_back(
    of_log text, from_lsn bigint, from_generation text,
    parted bigint, to_generation text, to_chain bigint
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
    lost jsonb[];
    events bigint;
    ended purchase_attempts[];
    paid shop_transactions[];
    used promotion_uses[];
    judged risk_profiles[];
BEGIN
    UPDATE sink_cursor
        SET lsn = parted, generation = to_generation, chain = to_chain, updated_at = now()
        WHERE sink = 'postgres' AND log_id = of_log
            AND lsn = from_lsn AND generation = from_generation AND parted <= from_lsn;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'the cursor is not at % of %', from_lsn, from_generation
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;

    -- 1. What is only added. It goes from table to table and never into one array, of which there may be
    -- no more than a gigabyte. Rows that were changed do, below: they are few.
    WITH gone AS (DELETE FROM audit_log WHERE lsn >= parted RETURNING *)
    INSERT INTO lost_history
            (generation, parted_lsn, table_name, what, lsn, user_id, purchase_id, lost)
        SELECT from_generation, parted, 'audit_log', 'removed', lsn, user_id, purchase_id, to_jsonb(gone)
        FROM gone;
    GET DIAGNOSTICS events = ROW_COUNT;
    WITH gone AS (DELETE FROM user_actions WHERE lsn >= parted RETURNING *)
    INSERT INTO lost_history
            (generation, parted_lsn, table_name, what, lsn, user_id, purchase_id, lost)
        SELECT from_generation, parted, 'user_actions', 'removed', lsn, user_id, purchase_id, to_jsonb(gone)
        FROM gone;
    WITH gone AS (DELETE FROM user_rewards WHERE lsn >= parted RETURNING *)
    INSERT INTO lost_history
            (generation, parted_lsn, table_name, what, lsn, user_id, purchase_id, lost)
        SELECT from_generation, parted, 'user_rewards', 'removed', lsn, user_id, purchase_id, to_jsonb(gone)
        FROM gone;
    WITH gone AS (DELETE FROM ledger_entries WHERE lsn >= parted RETURNING *)
    INSERT INTO lost_history
            (generation, parted_lsn, table_name, what, lsn, user_id, purchase_id, lost)
        SELECT from_generation, parted, 'ledger_entries', 'removed', lsn, user_id, purchase_id, to_jsonb(gone)
        FROM gone;

    -- 2. Attempts: one that was ended by a lost event is pending again.
    WITH gone AS (DELETE FROM purchase_attempts WHERE lsn >= parted RETURNING *)
    INSERT INTO lost_history
            (generation, parted_lsn, table_name, what, lsn, user_id, purchase_id, lost)
        SELECT from_generation, parted, 'purchase_attempts', 'removed', lsn, user_id, purchase_id, to_jsonb(gone)
        FROM gone;
    WITH gone AS (DELETE FROM purchase_attempts WHERE ended_lsn >= parted RETURNING *)
    SELECT coalesce(array_agg(to_jsonb(gone)), '{}'), coalesce(array_agg(gone::purchase_attempts), '{}')
        INTO lost, ended FROM gone;
    PERFORM keep_lost(from_generation, parted, 'purchase_attempts', 'changed', lost, 'ended_lsn');
    INSERT INTO purchase_attempts (lsn, at, flow, result, user_id, product_id, quantity, purchase_id,
            amount, currency, promotion_code, card_token, ip, device_id, request_id, key_owner)
        SELECT lsn, at, flow, 'pending', user_id, product_id, quantity, purchase_id,
            amount, currency, promotion_code, card_token, ip, device_id, request_id, key_owner
        FROM unnest(ended);

    -- 3. Uses of promotions: one that was given back by a lost event stands again.
    WITH gone AS (DELETE FROM promotion_uses WHERE used_lsn >= parted RETURNING *)
    INSERT INTO lost_history
            (generation, parted_lsn, table_name, what, lsn, user_id, purchase_id, lost)
        SELECT from_generation, parted, 'promotion_uses', 'removed', used_lsn, user_id, purchase_id, to_jsonb(gone)
        FROM gone;
    WITH gone AS (DELETE FROM promotion_uses WHERE given_back_lsn >= parted RETURNING *)
    SELECT coalesce(array_agg(to_jsonb(gone)), '{}'), coalesce(array_agg(gone::promotion_uses), '{}')
        INTO lost, used FROM gone;
    PERFORM keep_lost(from_generation, parted, 'promotion_uses', 'changed', lost, 'given_back_lsn');
    INSERT INTO promotion_uses (purchase_id, promotion_code, user_id, used_lsn, used_at)
        SELECT purchase_id, promotion_code, user_id, used_lsn, used_at
        FROM unnest(used) WHERE used_lsn IS NOT NULL;

    -- 4. Purchases: refunds and disputes as the events that are left say.
    WITH gone AS (DELETE FROM shop_transactions WHERE captured_lsn >= parted RETURNING *),
    kept AS (
        INSERT INTO lost_history
            (generation, parted_lsn, table_name, what, lsn, user_id, purchase_id, lost)
        SELECT from_generation, parted, 'shop_transactions', 'removed', captured_lsn, user_id,
            purchase_id, to_jsonb(gone)
        FROM gone
    )
    INSERT INTO segment_late (user_id) SELECT DISTINCT user_id FROM gone;
    WITH gone AS (DELETE FROM shop_transactions WHERE updated_lsn >= parted RETURNING *)
    SELECT coalesce(array_agg(to_jsonb(gone)), '{}'), coalesce(array_agg(gone::shop_transactions), '{}')
        INTO lost, paid FROM gone;
    PERFORM keep_lost(from_generation, parted, 'shop_transactions', 'changed', lost, 'updated_lsn');
    INSERT INTO segment_late (user_id) SELECT DISTINCT user_id FROM unnest(paid);
    INSERT INTO shop_transactions (purchase_id, user_id, product_id, quantity, currency, unit_price,
            discount, amount, promotion_code, metadata, card_token, authorization_id, capture_id,
            captured_lsn, captured_at, receipt_id, integrity_hash, receipt_key_id, receipt_hmac,
            signing_key_id, receipt_signature, refunds, refunded_amount, charged_back_amount, dispute,
            dispute_lsn, updated_lsn)
        SELECT p.purchase_id, p.user_id, p.product_id, p.quantity, p.currency, p.unit_price,
            p.discount, p.amount, p.promotion_code, p.metadata, p.card_token, p.authorization_id,
            p.capture_id, p.captured_lsn, p.captured_at, p.receipt_id, p.integrity_hash,
            p.receipt_key_id, p.receipt_hmac, p.signing_key_id, p.receipt_signature,
            coalesce(e.refunds, 0), coalesce(l.refunded, 0), coalesce(l.charged_back, 0),
            d.word, d.lsn, greatest(p.captured_lsn, e.last_refund, d.lsn)
        FROM unnest(paid) p
        LEFT JOIN LATERAL (
            -- A refund that came back still counts as one.
            SELECT (count(*) FILTER (WHERE a.kind <> 'refund_returned'))::integer AS refunds,
                max(a.lsn) AS last_refund
            FROM audit_log a
            WHERE a.purchase_id = p.purchase_id
                AND a.kind IN ('refund_succeeded', 'refund_found', 'refund_returned')
        ) e ON true
        LEFT JOIN LATERAL (
            SELECT sum(amount) FILTER (WHERE account = 'refunds')::bigint AS refunded,
                sum(amount) FILTER (WHERE account = 'chargebacks')::bigint AS charged_back
            FROM ledger_entries t
            WHERE t.purchase_id = p.purchase_id AND t.currency = p.currency
        ) l ON true
        LEFT JOIN LATERAL (
            SELECT a.lsn, CASE
                WHEN a.kind = 'dispute_opened' OR EXISTS (
                    SELECT FROM dispute_words o
                    WHERE o.purchase_id = p.purchase_id AND o.is_latest
                        AND o.kind = 'dispute_opened'
                ) THEN 'opened' ELSE a.event->>'outcome' END AS word
            FROM audit_log a
            WHERE a.purchase_id = p.purchase_id AND a.kind IN ('dispute_opened', 'dispute_closed')
            ORDER BY a.lsn DESC LIMIT 1
        ) d ON true;

    -- 5. What of buyers calls for a look, counted again from the events that are left.
    WITH gone AS (DELETE FROM risk_profiles WHERE updated_lsn >= parted RETURNING *)
    SELECT coalesce(array_agg(to_jsonb(gone)), '{}'), coalesce(array_agg(gone::risk_profiles), '{}')
        INTO lost, judged FROM gone;
    PERFORM keep_lost(from_generation, parted, 'risk_profiles', 'changed', lost, 'updated_lsn');
    INSERT INTO risk_profiles (user_id, declines, risk_blocks, disputes, chargebacks, updated_lsn)
        SELECT user_id, sum(declines), sum(risk_blocks), sum(disputes), sum(chargebacks), max(lsn)
        FROM (
            SELECT a.user_id, a.lsn, (a.kind = 'payment_declined')::int AS declines,
                (a.kind = 'attempt_refused')::int AS risk_blocks, 0 AS disputes, 0 AS chargebacks
            FROM audit_log a
            WHERE (a.kind, a.event->>'reason') IN
                    (('payment_declined', 'declined_by_issuer'), ('attempt_refused', 'risk_blocked'))
                AND a.user_id IN (SELECT user_id FROM unnest(judged))
            UNION ALL
            SELECT w.user_id, w.lsn, 0, 0, (w.is_first AND w.kind = 'dispute_opened')::int, w.more_lost
            FROM dispute_words w
            WHERE w.user_id IN (SELECT user_id FROM unnest(judged))
                AND (w.is_first AND w.kind = 'dispute_opened' OR w.more_lost <> 0)
        ) counted
        GROUP BY user_id;

    -- 6. Products and promotions: the newest terms that are left (V5__catalogue).
    PERFORM take_back_terms(from_generation, parted);

    -- 7. Segments are computed again from there; a run that goes on has another end in mind.
    UPDATE segment_runs SET outcome = 'abandoned', finished_at = clock_timestamp()
        WHERE outcome = 'running';
    UPDATE segment_state SET lsn = least(lsn, parted);
    RETURN events;
END
$$;

CREATE VIEW holdfast.dispute_words AS
    SELECT purchase_id, (event->>'dispute')::integer AS dispute, user_id, lsn, kind,
        row_number() OVER words = 1 AS is_first,
        lead(lsn) OVER words IS NULL AS is_latest,
        coalesce(event->>'outcome' = 'lost', false)::integer
            - coalesce(lag(event->>'outcome') OVER words = 'lost', false)::integer AS more_lost
    FROM holdfast.audit_log
    WHERE kind IN ('dispute_opened', 'dispute_closed')
    WINDOW words AS (PARTITION BY purchase_id, event->>'dispute' ORDER BY lsn);

-- Least privilege: the writer deletes nothing but by taking back, which keeps every row.
GRANT UPDATE (generation, chain) ON holdfast.sink_cursor TO holdfast_writer;
GRANT SELECT ON holdfast.lost_history, holdfast.dispute_words TO holdfast_writer, holdfast_reader;
REVOKE ALL ON FUNCTION
    holdfast.keep_lost(text, bigint, text, text, jsonb[], text),
    holdfast.take_back(text, bigint, text, bigint, text, bigint)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION holdfast.take_back(text, bigint, text, bigint, text, bigint)
    TO holdfast_writer;
RESET ROLE;
