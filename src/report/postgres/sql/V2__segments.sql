-- Segments of buyers by recency, frequency and money, and what buyers are worth: the tables, the
-- functions that compute them in batches, and how actions and rewards hang on purchases.

SET ROLE holdfast_migrator;

-- The job finds a buyer's purchases, and what has changed since it last looked.
CREATE INDEX shop_transactions_user ON holdfast.shop_transactions (user_id);
CREATE INDEX shop_transactions_updated ON holdfast.shop_transactions (updated_lsn);

CREATE TABLE holdfast.segment_thresholds (
    measure text NOT NULL CHECK (measure IN ('recency', 'frequency', 'money')),
    currency text NOT NULL DEFAULT '*',
    score smallint NOT NULL CHECK (score BETWEEN 2 AND 5),
    bound bigint NOT NULL CHECK (bound > 0),
    PRIMARY KEY (measure, currency, score),
    CHECK (measure = 'money' OR currency = '*'),
    CHECK (measure <> 'recency' OR bound <= 36500)
);
INSERT INTO holdfast.segment_thresholds (measure, currency, score, bound) VALUES
    ('recency', '*', 5, 30), ('recency', '*', 4, 90), ('recency', '*', 3, 180), ('recency', '*', 2, 365),
    ('frequency', '*', 2, 2), ('frequency', '*', 3, 3), ('frequency', '*', 4, 5), ('frequency', '*', 5, 10),
    ('money', '*', 2, 5000), ('money', '*', 3, 20000), ('money', '*', 4, 50000), ('money', '*', 5, 100000),
    ('money', 'JPY', 2, 5000), ('money', 'JPY', 3, 20000), ('money', 'JPY', 4, 50000), ('money', 'JPY', 5, 100000),
    ('money', 'KRW', 2, 50000), ('money', 'KRW', 3, 200000), ('money', 'KRW', 4, 500000), ('money', 'KRW', 5, 1000000);

CREATE TABLE holdfast.segment_rules (
    place integer PRIMARY KEY,
    segment text NOT NULL CHECK (segment ~ '^[A-Za-z0-9_.:-]{1,64}$'),
    recency_min smallint NOT NULL DEFAULT 1,
    recency_max smallint NOT NULL DEFAULT 5,
    frequency_min smallint NOT NULL DEFAULT 0,
    frequency_max smallint NOT NULL DEFAULT 5,
    monetary_min smallint NOT NULL DEFAULT 1,
    monetary_max smallint NOT NULL DEFAULT 5
);
INSERT INTO holdfast.segment_rules
    (place, segment, recency_min, recency_max, frequency_min, frequency_max, monetary_min) VALUES
    (10, 'returned', 1, 5, 0, 0, 1),
    (20, 'lapsed', 1, 1, 0, 5, 1),
    (30, 'champion', 4, 5, 4, 5, 4),
    (40, 'loyal', 3, 5, 3, 5, 1),
    (50, 'at_risk', 2, 2, 2, 5, 1),
    (60, 'new', 5, 5, 1, 1, 1),
    (70, 'one_time', 1, 5, 1, 1, 1),
    (80, 'regular', 1, 5, 0, 5, 1);

CREATE TABLE holdfast.user_values (
    user_id text NOT NULL,
    currency text NOT NULL,
    purchases bigint NOT NULL,
    captured bigint NOT NULL,
    refunded bigint NOT NULL,
    charged_back bigint NOT NULL,
    net bigint NOT NULL GENERATED ALWAYS AS (captured - refunded - charged_back) STORED,
    monetary smallint NOT NULL,
    PRIMARY KEY (user_id, currency)
);

-- Nothing has written it yet. What somebody else put there is computed anew.
TRUNCATE holdfast.user_segments;
ALTER TABLE holdfast.user_segments
    ADD COLUMN recency smallint NOT NULL,
    ADD COLUMN frequency smallint NOT NULL,
    ADD COLUMN monetary smallint NOT NULL,
    ADD COLUMN purchases bigint NOT NULL,
    ADD COLUMN first_at timestamptz NOT NULL,
    ADD COLUMN last_at timestamptz NOT NULL,
    ADD COLUMN next_change_at timestamptz,
    ADD COLUMN run bigint NOT NULL,
    ADD COLUMN change bigint NOT NULL UNIQUE;
CREATE INDEX user_segments_next_change ON holdfast.user_segments (next_change_at);

CREATE TABLE holdfast.segment_state (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    series text NOT NULL,
    changes bigint NOT NULL DEFAULT 0,
    lsn bigint NOT NULL DEFAULT 0,
    as_of timestamptz NOT NULL DEFAULT 'epoch',
    settings text,
    walking text,
    walked_to text NOT NULL DEFAULT ''
);

CREATE TABLE holdfast.segment_late (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    user_id text NOT NULL
);

CREATE TABLE holdfast.segment_runs (
    run bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz,
    by text NOT NULL CHECK (by IN ('schedule', 'request')),
    as_of timestamptz NOT NULL,
    from_lsn bigint NOT NULL,
    to_lsn bigint NOT NULL,
    seen bigint NOT NULL DEFAULT 0,
    changed bigint NOT NULL DEFAULT 0,
    fed bigint NOT NULL DEFAULT 0,
    outcome text NOT NULL DEFAULT 'running'
        CHECK (outcome IN ('running', 'done', 'failed', 'abandoned')),
    error text,
    CHECK ((outcome = 'running') = (finished_at IS NULL))
);

CREATE FUNCTION holdfast.segments_new_series() RETURNS text LANGUAGE sql AS $$
    SELECT left(replace(gen_random_uuid()::text, '-', ''), 16)
$$;
INSERT INTO holdfast.segment_state (series) VALUES (holdfast.segments_new_series());

-- One run at a time: for the session, so that a killed one's is free.
CREATE FUNCTION holdfast.segments_lock() RETURNS bigint LANGUAGE sql IMMUTABLE AS $$
    SELECT 5216694956355245935
$$;

CREATE FUNCTION holdfast.segments_settings() RETURNS text LANGUAGE sql STABLE AS $$
    SELECT md5(
        coalesce((SELECT string_agg(t::text, ';' ORDER BY t.measure, t.currency, t.score)
            FROM holdfast.segment_thresholds t), '')
        || '|' ||
        coalesce((SELECT string_agg(r::text, ';' ORDER BY r.place) FROM holdfast.segment_rules r), '')
    )
$$;

-- Begins a run: its number; NULL where another one is under way. `log` is the core's log, `fed` up to
-- where the core has taken changes over: where this database knows of fewer, it went back, and its
-- numbers mean something else from here on. The run goes as far as what was `delivered` when the core
-- last looked, and knew it to be durable in its log.
CREATE FUNCTION holdfast.segments_begin(
    log text, delivered bigint, now_ms bigint, begun_by text, fed_series text, fed_change bigint
) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
    reached bigint;
    state segment_state;
    begun bigint;
    now_is timestamptz := to_timestamp(now_ms / 1000.0);
    gone_back boolean;
BEGIN
    IF NOT pg_try_advisory_lock(segments_lock()) THEN
        RETURN NULL;
    END IF;
    SELECT lsn INTO reached FROM sink_cursor WHERE sink = 'postgres' AND log_id = log;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'these are not the tables of log %', log
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF delivered > reached THEN
        RAISE EXCEPTION 'the sink has come to %, and not to %', reached, delivered
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    UPDATE segment_runs SET outcome = 'abandoned', finished_at = clock_timestamp()
        WHERE outcome = 'running';
    -- A clock that was ahead by more than a day has aged buyers: all are computed again.
    SELECT now_is < as_of - interval '1 day' INTO STRICT gone_back FROM segment_state;
    UPDATE segment_state SET
        as_of = CASE WHEN gone_back THEN now_is ELSE greatest(as_of, now_is) END,
        settings = CASE WHEN gone_back THEN NULL ELSE settings END,
        walking = CASE WHEN gone_back THEN NULL ELSE walking END,
        series = CASE WHEN series = fed_series AND changes < fed_change
            THEN segments_new_series() ELSE series END
        RETURNING * INTO STRICT state;
    INSERT INTO segment_runs (by, as_of, from_lsn, to_lsn)
        VALUES (begun_by, state.as_of, state.lsn, greatest(state.lsn, delivered))
        RETURNING run INTO begun;
    RETURN begun;
END
$$;

-- Computes these buyers as of `at`, and numbers the changes of segments behind `changes`; how many.
CREATE FUNCTION holdfast.segments_compute(
    users text[], at timestamptz, of_run bigint, changes bigint
) RETURNS bigint
LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
    changed bigint;
BEGIN
    -- Of whom nothing is left (somebody erased it) is in no segment, worth nothing, and never due again.
    DELETE FROM user_segments s WHERE s.user_id = ANY (users)
        AND NOT EXISTS (SELECT FROM shop_transactions t WHERE t.user_id = s.user_id);
    DELETE FROM user_values v WHERE v.user_id = ANY (users) AND NOT EXISTS (
        SELECT FROM shop_transactions t WHERE t.user_id = v.user_id AND t.currency = v.currency
    );
    WITH bought AS (
        SELECT t.user_id, t.currency,
            count(*) FILTER (WHERE t.status NOT IN ('refunded', 'charged_back')) AS purchases,
            sum(t.amount)::bigint AS captured,
            sum(t.refunded_amount)::bigint AS refunded,
            sum(t.charged_back_amount)::bigint AS charged_back,
            min(t.captured_at) AS first_at,
            max(t.captured_at) AS last_at,
            max(t.updated_lsn) AS lsn
        FROM shop_transactions t WHERE t.user_id = ANY (users) GROUP BY t.user_id, t.currency
    ), valued AS (
        SELECT b.*, (
            SELECT coalesce(max(m.score), 1) FROM segment_thresholds m
            WHERE m.measure = 'money' AND b.captured - b.refunded - b.charged_back >= m.bound
                AND m.currency = CASE WHEN EXISTS (
                    SELECT FROM segment_thresholds o
                    WHERE o.measure = 'money' AND o.currency = b.currency
                ) THEN b.currency ELSE '*' END
        )::smallint AS monetary
        FROM bought b
    ), kept AS (
        INSERT INTO user_values AS v
            (user_id, currency, purchases, captured, refunded, charged_back, monetary)
        SELECT user_id, currency, purchases, captured, refunded, charged_back, monetary FROM valued
        ON CONFLICT (user_id, currency) DO UPDATE SET
            purchases = excluded.purchases, captured = excluded.captured,
            refunded = excluded.refunded, charged_back = excluded.charged_back,
            monetary = excluded.monetary
        WHERE (v.purchases, v.captured, v.refunded, v.charged_back, v.monetary) IS DISTINCT FROM
            (excluded.purchases, excluded.captured, excluded.refunded, excluded.charged_back,
                excluded.monetary)
    ), buyers AS (
        SELECT user_id, sum(purchases)::bigint AS purchases, max(monetary) AS monetary,
            min(first_at) AS first_at, max(last_at) AS last_at, max(lsn) AS lsn
        FROM valued GROUP BY user_id
    ), scored AS (
        SELECT b.*, (
            SELECT coalesce(max(r.score), 1) FROM segment_thresholds r
            WHERE r.measure = 'recency' AND at < b.last_at + r.bound * interval '24 hours'
        )::smallint AS recency, CASE WHEN b.purchases = 0 THEN 0 ELSE (
            SELECT coalesce(max(f.score), 1) FROM segment_thresholds f
            WHERE f.measure = 'frequency' AND b.purchases >= f.bound
        ) END::smallint AS frequency, (
            SELECT min(b.last_at + r.bound * interval '24 hours') FROM segment_thresholds r
            WHERE r.measure = 'recency' AND at < b.last_at + r.bound * interval '24 hours'
        ) AS next_change_at
        FROM buyers b
    ), named AS (
        SELECT s.*, coalesce((
            SELECT u.segment FROM segment_rules u
            WHERE s.recency BETWEEN u.recency_min AND u.recency_max
                AND s.frequency BETWEEN u.frequency_min AND u.frequency_max
                AND s.monetary BETWEEN u.monetary_min AND u.monetary_max
            ORDER BY u.place LIMIT 1
        ), 'other') AS segment
        FROM scored s
    ), numbered AS (
        SELECT n.*, o.run AS old_run, o.change AS old_change,
            o.segment IS DISTINCT FROM n.segment AS moved,
            count(*) FILTER (WHERE o.segment IS DISTINCT FROM n.segment)
                OVER (ORDER BY n.user_id) AS place
        FROM named n LEFT JOIN user_segments o ON o.user_id = n.user_id
    ), written AS (
        INSERT INTO user_segments AS there (user_id, segment, computed_at, updated_lsn, recency,
            frequency, monetary, purchases, first_at, last_at, next_change_at, run, change)
        SELECT user_id, segment, at, lsn, recency, frequency, monetary, purchases, first_at, last_at,
            next_change_at, CASE WHEN moved THEN of_run ELSE old_run END,
            CASE WHEN moved THEN changes + place ELSE old_change END
        FROM numbered
        ON CONFLICT (user_id) DO UPDATE SET
            segment = excluded.segment, computed_at = excluded.computed_at,
            updated_lsn = excluded.updated_lsn, recency = excluded.recency,
            frequency = excluded.frequency, monetary = excluded.monetary,
            purchases = excluded.purchases, first_at = excluded.first_at,
            last_at = excluded.last_at, next_change_at = excluded.next_change_at,
            run = excluded.run, change = excluded.change
    )
    SELECT count(*) FILTER (WHERE moved) INTO changed FROM numbered;
    RETURN changed;
END
$$;

-- One batch of a run, and how far the job has come with it: in one transaction, whoever calls. What it
-- was about; `done` where nothing is left to do. Reads what the sink has delivered, and no further.
CREATE FUNCTION holdfast.segments_step(
    of_run bigint, most integer, OUT phase text, OUT seen bigint, OUT changed bigint
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
DECLARE
    the segment_runs;
    state segment_state;
    settings_now text := segments_settings();
    users text[];
    last_lsn bigint;
BEGIN
    IF NOT pg_try_advisory_xact_lock(segments_lock()) THEN
        RAISE EXCEPTION 'another run is under way' USING ERRCODE = 'lock_not_available';
    END IF;
    SELECT * INTO STRICT the FROM segment_runs WHERE run = of_run AND outcome = 'running' FOR UPDATE;
    SELECT * INTO STRICT state FROM segment_state FOR UPDATE;
    IF state.settings IS DISTINCT FROM settings_now AND state.walking IS DISTINCT FROM settings_now THEN
        -- Other thresholds or rules: every buyer is computed again, and whoever changes meanwhile is
        -- beyond this run.
        state.settings := NULL;
        state.walking := settings_now;
        state.walked_to := '';
        state.lsn := the.to_lsn;
    END IF;

    phase := 'late';
    WITH taken AS (
        DELETE FROM segment_late
        WHERE id IN (SELECT id FROM segment_late ORDER BY id LIMIT most) RETURNING user_id
    )
    SELECT array_agg(DISTINCT user_id) INTO users FROM taken;
    IF users IS NULL THEN
        phase := 'changed';
        SELECT array_agg(DISTINCT user_id), max(updated_lsn) INTO users, last_lsn FROM (
            SELECT user_id, updated_lsn FROM shop_transactions
            WHERE updated_lsn >= state.lsn AND updated_lsn < the.to_lsn
            ORDER BY updated_lsn LIMIT most
        ) found;
        state.lsn := coalesce(last_lsn + 1, the.to_lsn);
    END IF;
    IF users IS NULL THEN
        phase := 'aged';
        SELECT array_agg(user_id) INTO users FROM (
            SELECT user_id FROM user_segments WHERE next_change_at <= the.as_of
            ORDER BY next_change_at, user_id LIMIT most
        ) found;
    END IF;
    IF users IS NULL AND state.walking IS NOT NULL THEN
        phase := 'all';
        SELECT array_agg(user_id), max(user_id) INTO users, state.walked_to FROM (
            SELECT DISTINCT user_id FROM shop_transactions WHERE user_id > state.walked_to
            ORDER BY user_id LIMIT most
        ) found;
        IF users IS NULL THEN
            state.settings := state.walking;
            state.walking := NULL;
            state.walked_to := '';
        END IF;
    END IF;

    IF users IS NULL THEN
        phase := 'done';
        seen := 0;
        changed := 0;
    ELSE
        seen := cardinality(users);
        changed := segments_compute(users, the.as_of, of_run, state.changes);
    END IF;
    UPDATE segment_state SET changes = state.changes + segments_step.changed, lsn = state.lsn,
        settings = state.settings, walking = state.walking, walked_to = state.walked_to;
    UPDATE segment_runs r SET seen = r.seen + segments_step.seen,
        changed = r.changed + segments_step.changed
        WHERE r.run = of_run;
END
$$;

-- Ends a run.
CREATE FUNCTION holdfast.segments_end(of_run bigint, taken_over bigint, failure text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
BEGIN
    UPDATE segment_runs SET finished_at = clock_timestamp(), fed = taken_over, error = failure,
        outcome = CASE WHEN failure IS NULL THEN 'done' ELSE 'failed' END
        WHERE run = of_run AND outcome = 'running';
    PERFORM pg_advisory_unlock(segments_lock());
END
$$;

CREATE VIEW holdfast.lifetime_values AS
    SELECT v.user_id, v.currency, s.segment, s.recency, s.frequency, v.monetary,
        v.purchases, v.captured, v.refunded, v.charged_back, v.net AS historic,
        round(v.net * 365
            / greatest(extract(epoch FROM a.as_of - s.first_at) / 86400, 90)
            * (ARRAY[0, 0.2, 0.5, 0.8, 1])[s.recency])::bigint AS projected_year
    FROM holdfast.user_values v
    JOIN holdfast.user_segments s USING (user_id)
    CROSS JOIN holdfast.segment_state a;

CREATE VIEW holdfast.purchase_actions AS
    SELECT l.purchase_id, a.lsn, a.at, a.user_id, a.action, a.product_id,
        t.captured_lsn, t.status
    FROM holdfast.audit_log l
    JOIN holdfast.user_actions a ON a.lsn = l.lsn AND a.at = l.at
    LEFT JOIN holdfast.shop_transactions t ON t.purchase_id = l.purchase_id
    WHERE l.purchase_id IS NOT NULL;

CREATE VIEW holdfast.purchase_rewards AS
    SELECT r.purchase_id, r.lsn, r.at, r.user_id, r.reason, r.tokens, r.debt, l.kind AS moved_by,
        CASE WHEN l.kind IN ('refund_succeeded', 'refund_returned')
            THEN (l.event->>'refund')::integer END AS refund
    FROM holdfast.user_rewards r
    LEFT JOIN holdfast.audit_log l ON l.lsn = r.lsn AND l.at = r.at
    WHERE r.purchase_id IS NOT NULL;

CREATE VIEW holdfast.unlinked AS
    SELECT 'user_actions' AS of, a.lsn, a.purchase_id
    FROM holdfast.user_actions a
    LEFT JOIN holdfast.audit_log l ON l.lsn = a.lsn AND l.at = a.at
    WHERE l.lsn IS NULL
        OR (a.user_id, a.purchase_id) IS DISTINCT FROM (l.user_id, l.purchase_id)
        OR (a.action IN ('hold_placed', 'hold_released', 'payment_started'))
            <> (a.purchase_id IS NOT NULL)
    UNION ALL
    SELECT 'user_rewards', r.lsn, r.purchase_id
    FROM holdfast.user_rewards r
    LEFT JOIN holdfast.audit_log l ON l.lsn = r.lsn AND l.at = r.at
    LEFT JOIN holdfast.shop_transactions t ON t.purchase_id = r.purchase_id
    LEFT JOIN holdfast.purchase_attempts f ON f.ended_lsn = r.lsn AND f.flow = 'refund'
    WHERE r.at >= holdfast.kept_from() AND (l.lsn IS NULL
        OR (r.user_id, r.purchase_id) IS DISTINCT FROM (l.user_id, l.purchase_id)
        OR (r.reason = 'spent') <> (r.purchase_id IS NULL)
        OR (r.reason, l.kind) NOT IN (('granted', 'payment_captured'), ('spent', 'tokens_spent'),
            ('clawed_back', 'refund_succeeded'), ('clawed_back', 'refund_found'),
            ('clawed_back', 'dispute_closed'), ('given_back', 'dispute_closed'),
            ('given_back', 'refund_returned'))
        OR (r.purchase_id IS NOT NULL AND t.user_id IS DISTINCT FROM r.user_id)
        OR (l.kind = 'refund_succeeded'
            AND (f.purchase_id, f.result) IS DISTINCT FROM (r.purchase_id, 'success')));

-- Least privilege: nobody but the owner writes what is computed. The writer computes by calling the
-- functions above, which do nothing else, and says who came late.
REVOKE INSERT ON holdfast.user_segments FROM holdfast_writer;
REVOKE UPDATE (segment, computed_at, updated_lsn) ON holdfast.user_segments FROM holdfast_writer;
GRANT SELECT ON
    holdfast.segment_thresholds, holdfast.segment_rules, holdfast.user_values,
    holdfast.segment_state, holdfast.segment_runs, holdfast.segment_late,
    holdfast.lifetime_values, holdfast.purchase_actions, holdfast.purchase_rewards, holdfast.unlinked
    TO holdfast_writer, holdfast_reader;
GRANT INSERT (user_id) ON holdfast.segment_late TO holdfast_writer;
REVOKE ALL ON FUNCTION
    holdfast.segments_new_series(), holdfast.segments_lock(), holdfast.segments_settings(),
    holdfast.segments_begin(text, bigint, bigint, text, text, bigint),
    holdfast.segments_compute(text[], timestamptz, bigint, bigint),
    holdfast.segments_step(bigint, integer), holdfast.segments_end(bigint, bigint, text)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    holdfast.segments_begin(text, bigint, bigint, text, text, bigint),
    holdfast.segments_step(bigint, integer), holdfast.segments_end(bigint, bigint, text)
    TO holdfast_writer;
RESET ROLE;
