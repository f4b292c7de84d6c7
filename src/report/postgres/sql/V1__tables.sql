-- The tables of holdfast's PostgreSQL sink. Everything is derived from the log, by LSN. What tables
-- and columns mean is in their comments (V4__comments).
--
-- The growing tables are partitioned by month of `at`, which is part of their keys. The partition for
-- everything takes what has no month of its own, so that a row of any instant can be written; months are
-- made ahead and dropped by V8__partitions.

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'holdfast_migrator') THEN
        CREATE ROLE holdfast_migrator NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'holdfast_writer') THEN
        CREATE ROLE holdfast_writer NOLOGIN;
    END IF;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'holdfast_reader') THEN
        CREATE ROLE holdfast_reader NOLOGIN;
    END IF;
    -- Whoever migrates may become the writer: a sink on the same connection settings does.
    IF NOT pg_has_role(current_user, 'holdfast_migrator', 'MEMBER') THEN
        EXECUTE format('GRANT holdfast_migrator TO %I', current_user);
    END IF;
    IF NOT pg_has_role(current_user, 'holdfast_writer', 'MEMBER') THEN
        EXECUTE format('GRANT holdfast_writer TO %I', current_user);
    END IF;
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO holdfast_writer', current_database());
END
$$;

CREATE SCHEMA IF NOT EXISTS holdfast;
ALTER SCHEMA holdfast OWNER TO holdfast_migrator;
ALTER TABLE IF EXISTS holdfast.schema_history OWNER TO holdfast_migrator;
-- What follows belongs to the migrator, whoever runs this.
SET ROLE holdfast_migrator;

CREATE TABLE holdfast.sink_cursor (
    sink text PRIMARY KEY,
    log_id text NOT NULL,
    lsn bigint NOT NULL CHECK (lsn >= 0),
    updated_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE holdfast.audit_log (
    lsn bigint NOT NULL,
    at timestamptz NOT NULL,
    kind text NOT NULL,
    user_id text,
    purchase_id text,
    event jsonb NOT NULL,
    PRIMARY KEY (lsn, at)
) PARTITION BY RANGE (at);
CREATE TABLE holdfast.audit_log_default PARTITION OF holdfast.audit_log DEFAULT;

CREATE TABLE holdfast.purchase_attempts (
    lsn bigint NOT NULL,
    at timestamptz NOT NULL,
    flow text NOT NULL CHECK (flow IN ('hold', 'buy', 'refund', 'webhook', 'reward')),
    result text NOT NULL CHECK (result IN ('pending', 'success', 'refused', 'failed')),
    reason text,
    user_id text,
    product_id text,
    quantity integer,
    purchase_id text,
    amount bigint,
    currency text,
    promotion_code text,
    card_token text,
    ip text,
    device_id text,
    request_id text,
    key_owner text,
    ended_lsn bigint,
    ended_at timestamptz,
    PRIMARY KEY (lsn, at)
) PARTITION BY RANGE (at);
CREATE TABLE holdfast.purchase_attempts_default PARTITION OF holdfast.purchase_attempts DEFAULT;

CREATE TABLE holdfast.shop_transactions (
    purchase_id text PRIMARY KEY,
    user_id text NOT NULL,
    product_id text NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    currency text NOT NULL,
    unit_price bigint NOT NULL,
    discount bigint NOT NULL,
    amount bigint NOT NULL CHECK (amount >= 0),
    promotion_code text,
    metadata jsonb NOT NULL DEFAULT '{}',
    card_token text,
    authorization_id text,
    capture_id text,
    captured_lsn bigint NOT NULL UNIQUE,
    captured_at timestamptz NOT NULL,
    receipt_id text NOT NULL,
    integrity_hash bytea NOT NULL CHECK (length(integrity_hash) = 32),
    receipt_key_id text NOT NULL,
    receipt_hmac bytea NOT NULL CHECK (length(receipt_hmac) = 32),
    signing_key_id text,
    receipt_signature bytea,
    refunds integer NOT NULL DEFAULT 0,
    refunded_amount bigint NOT NULL DEFAULT 0,
    charged_back_amount bigint NOT NULL DEFAULT 0,
    dispute text CHECK (dispute IN ('opened', 'won', 'lost')),
    dispute_lsn bigint,
    updated_lsn bigint NOT NULL,
    status text NOT NULL GENERATED ALWAYS AS (
        CASE
            WHEN dispute = 'opened' THEN 'disputed'
            WHEN charged_back_amount > 0 AND refunded_amount + charged_back_amount >= amount
                THEN 'charged_back'
            WHEN refunds > 0 AND refunded_amount = amount THEN 'refunded'
            WHEN refunded_amount > 0 THEN 'partially_refunded'
            ELSE 'captured'
        END
    ) STORED,
    -- A row that is merged into another one may take back what that one has refunded.
    CHECK (refunds > 0 OR refunded_amount <= 0),
    CHECK (refunded_amount BETWEEN -amount AND amount),
    CHECK (charged_back_amount BETWEEN 0 AND amount)
);

CREATE TABLE holdfast.promotion_uses (
    purchase_id text PRIMARY KEY,
    promotion_code text NOT NULL,
    user_id text NOT NULL,
    used_lsn bigint,
    used_at timestamptz,
    given_back_lsn bigint,
    given_back_at timestamptz
);

CREATE TABLE holdfast.user_actions (
    lsn bigint NOT NULL,
    at timestamptz NOT NULL,
    user_id text NOT NULL,
    action text NOT NULL,
    product_id text,
    purchase_id text,
    ip text,
    device_id text,
    PRIMARY KEY (lsn, at)
) PARTITION BY RANGE (at);
CREATE TABLE holdfast.user_actions_default PARTITION OF holdfast.user_actions DEFAULT;

CREATE TABLE holdfast.user_rewards (
    lsn bigint PRIMARY KEY,
    at timestamptz NOT NULL,
    user_id text NOT NULL,
    reason text NOT NULL CHECK (reason IN ('granted', 'spent', 'clawed_back', 'given_back')),
    purchase_id text,
    tokens bigint NOT NULL,
    debt bigint NOT NULL
);

CREATE TABLE holdfast.risk_profiles (
    user_id text PRIMARY KEY,
    declines bigint NOT NULL DEFAULT 0,
    risk_blocks bigint NOT NULL DEFAULT 0,
    disputes bigint NOT NULL DEFAULT 0,
    chargebacks bigint NOT NULL DEFAULT 0,
    updated_lsn bigint NOT NULL
);

CREATE TABLE holdfast.user_segments (
    user_id text PRIMARY KEY,
    segment text NOT NULL,
    computed_at timestamptz NOT NULL,
    updated_lsn bigint NOT NULL
);

CREATE TABLE holdfast.ledger_entries (
    lsn bigint NOT NULL,
    entry smallint NOT NULL,
    at timestamptz NOT NULL,
    purchase_id text,
    user_id text NOT NULL,
    account text NOT NULL CHECK (account IN (
        'cash_clearing', 'revenue', 'refunds', 'chargebacks',
        'token_liability', 'token_receivable', 'token_grants', 'token_redemptions'
    )),
    currency text NOT NULL,
    amount bigint NOT NULL CHECK (amount <> 0),
    PRIMARY KEY (lsn, entry, at)
) PARTITION BY RANGE (at);
CREATE TABLE holdfast.ledger_entries_default PARTITION OF holdfast.ledger_entries DEFAULT;

-- From when on the tables that forget have everything.
CREATE TABLE holdfast.retention (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    kept_from timestamptz NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE FUNCTION holdfast.kept_from() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT kept_from FROM holdfast.retention), '-infinity')
$$;

CREATE INDEX audit_log_purchase ON holdfast.audit_log (purchase_id) WHERE purchase_id IS NOT NULL;
CREATE INDEX ledger_entries_purchase ON holdfast.ledger_entries (purchase_id);

CREATE VIEW holdfast.ledger_unbalanced AS
    SELECT 'event' AS of, lsn::text AS id, currency, sum(amount) AS off_by
    FROM holdfast.ledger_entries GROUP BY lsn, currency HAVING sum(amount) <> 0
    UNION ALL
    SELECT 'purchase', purchase_id, currency, sum(amount)
    FROM holdfast.ledger_entries WHERE purchase_id IS NOT NULL
    GROUP BY purchase_id, currency HAVING sum(amount) <> 0;

CREATE VIEW holdfast.ledger_revenue AS
    SELECT purchase_id, currency,
        -sum(amount) FILTER (WHERE account IN ('revenue', 'refunds')) AS revenue,
        coalesce(sum(amount) FILTER (WHERE account = 'chargebacks'), 0) AS charged_back
    FROM holdfast.ledger_entries
    WHERE account IN ('revenue', 'refunds', 'chargebacks')
    GROUP BY purchase_id, currency;

CREATE VIEW holdfast.revenue_mismatch AS
    SELECT coalesce(t.purchase_id, r.purchase_id) AS purchase_id,
        t.amount - t.refunded_amount AS by_transactions, r.revenue AS by_ledger
    FROM holdfast.shop_transactions t
    FULL JOIN holdfast.ledger_revenue r
        ON r.purchase_id = t.purchase_id AND r.currency = t.currency
    WHERE (t.amount - t.refunded_amount, t.charged_back_amount)
        IS DISTINCT FROM (coalesce(r.revenue, 0), coalesce(r.charged_back, 0));

CREATE VIEW holdfast.reward_balances AS
    SELECT user_id, sum(tokens) AS tokens, sum(debt) AS debt
    FROM holdfast.user_rewards GROUP BY user_id;

-- A closed row stays as it is.
CREATE FUNCTION holdfast.attempt_is_closed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.result <> 'pending'
        AND (NEW.result, NEW.reason, NEW.ended_lsn, NEW.ended_at)
            IS DISTINCT FROM (OLD.result, OLD.reason, OLD.ended_lsn, OLD.ended_at) THEN
        RAISE EXCEPTION 'the attempt at LSN % is closed', OLD.lsn
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER attempt_is_closed BEFORE UPDATE ON holdfast.purchase_attempts
    FOR EACH ROW EXECUTE FUNCTION holdfast.attempt_is_closed();

CREATE FUNCTION holdfast.use_is_closed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.given_back_lsn IS NOT NULL AND (NEW.given_back_lsn, NEW.given_back_at)
            IS DISTINCT FROM (OLD.given_back_lsn, OLD.given_back_at) THEN
        RAISE EXCEPTION 'the use by % is closed', OLD.purchase_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER use_is_closed BEFORE UPDATE ON holdfast.promotion_uses
    FOR EACH ROW EXECUTE FUNCTION holdfast.use_is_closed();

-- What went back changes with a later event; what disputes took, with a later word about one; a
-- cursor goes only forward.
CREATE FUNCTION holdfast.transaction_moves_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.refunds < OLD.refunds
        OR NEW.refunded_amount NOT BETWEEN 0 AND NEW.amount
        OR (NEW.refunded_amount < OLD.refunded_amount AND NEW.updated_lsn = OLD.updated_lsn)
        OR NEW.dispute_lsn < OLD.dispute_lsn
        OR (NEW.dispute_lsn IS NOT DISTINCT FROM OLD.dispute_lsn
            AND NEW.charged_back_amount <> OLD.charged_back_amount)
        OR NEW.updated_lsn < OLD.updated_lsn THEN
        RAISE EXCEPTION 'the transaction % only moves on', OLD.purchase_id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER transaction_moves_on BEFORE UPDATE ON holdfast.shop_transactions
    FOR EACH ROW EXECUTE FUNCTION holdfast.transaction_moves_on();

CREATE FUNCTION holdfast.cursor_moves_on() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.lsn < OLD.lsn THEN
        RAISE EXCEPTION 'the cursor of % only moves on', OLD.sink
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER cursor_moves_on BEFORE UPDATE ON holdfast.sink_cursor
    FOR EACH ROW EXECUTE FUNCTION holdfast.cursor_moves_on();

-- Least privilege: nobody but the migrator deletes, and a row changes only where its life needs it.
GRANT USAGE ON SCHEMA holdfast TO holdfast_writer, holdfast_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA holdfast TO holdfast_writer, holdfast_reader;
GRANT INSERT ON
    holdfast.sink_cursor, holdfast.audit_log, holdfast.purchase_attempts,
    holdfast.shop_transactions, holdfast.promotion_uses, holdfast.user_actions,
    holdfast.user_rewards, holdfast.risk_profiles, holdfast.user_segments,
    holdfast.ledger_entries
    TO holdfast_writer;
GRANT UPDATE (lsn, updated_at) ON holdfast.sink_cursor TO holdfast_writer;
GRANT UPDATE (result, reason, ended_lsn, ended_at, ip, device_id, key_owner)
    ON holdfast.purchase_attempts TO holdfast_writer;
GRANT UPDATE (refunds, refunded_amount, charged_back_amount, dispute, dispute_lsn, updated_lsn)
    ON holdfast.shop_transactions TO holdfast_writer;
GRANT UPDATE (used_lsn, used_at, given_back_lsn, given_back_at)
    ON holdfast.promotion_uses TO holdfast_writer;
GRANT UPDATE (declines, risk_blocks, disputes, chargebacks, updated_lsn)
    ON holdfast.risk_profiles TO holdfast_writer;
GRANT UPDATE (segment, computed_at, updated_lsn) ON holdfast.user_segments TO holdfast_writer;
RESET ROLE;
