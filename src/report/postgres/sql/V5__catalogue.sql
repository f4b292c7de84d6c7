-- Products and promotions with their newest terms.

SET ROLE holdfast_migrator;

CREATE TABLE holdfast.products (
    product_id text PRIMARY KEY,
    name text NOT NULL,
    price jsonb NOT NULL,
    stock bigint NOT NULL,
    per_user_limit bigint,
    starts_at timestamptz,
    ends_at timestamptz,
    active boolean NOT NULL,
    hold_ttl_ms bigint,
    reward_tokens bigint NOT NULL,
    set_by text NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_lsn bigint NOT NULL
);
COMMENT ON TABLE holdfast.products IS 'Every product with its newest terms. Setting the terms or changing the stock changes the row.';
COMMENT ON COLUMN holdfast.products.product_id IS 'The product.';
COMMENT ON COLUMN holdfast.products.name IS 'What it is called.';
COMMENT ON COLUMN holdfast.products.price IS 'Price of one unit for each currency, in minor units.';
COMMENT ON COLUMN holdfast.products.stock IS 'All units ever for sale, sold ones included.';
COMMENT ON COLUMN holdfast.products.per_user_limit IS 'Units that one buyer may hold and own at once; NULL: no limit.';
COMMENT ON COLUMN holdfast.products.starts_at IS 'When the sale opens; NULL: it has always been open.';
COMMENT ON COLUMN holdfast.products.ends_at IS 'When the sale closes; NULL: never.';
COMMENT ON COLUMN holdfast.products.active IS 'Whether it is for sale at all.';
COMMENT ON COLUMN holdfast.products.hold_ttl_ms IS 'How long a hold lasts, in milliseconds; NULL: as the configuration says.';
COMMENT ON COLUMN holdfast.products.reward_tokens IS 'Tokens that the purchase of one unit grants.';
COMMENT ON COLUMN holdfast.products.set_by IS 'Name of the API key that set these terms.';
COMMENT ON COLUMN holdfast.products.updated_at IS 'When these terms were set.';
COMMENT ON COLUMN holdfast.products.updated_lsn IS 'LSN of the event that set these terms.';

CREATE TABLE holdfast.promotions (
    promotion_code text NOT NULL,
    percent_off smallint,
    amount_off jsonb,
    uses_max bigint NOT NULL,
    uses_per_user_max bigint,
    product_ids text[],
    segments text[],
    starts_at timestamptz,
    ends_at timestamptz,
    active boolean NOT NULL,
    set_by text NOT NULL,
    updated_at timestamptz NOT NULL,
    updated_lsn bigint NOT NULL
);
-- Codes that differ only in case are one promotion.
CREATE UNIQUE INDEX promotions_code ON holdfast.promotions (lower(promotion_code));
COMMENT ON TABLE holdfast.promotions IS 'Every promotion with its newest terms. Setting the terms changes the row.';
COMMENT ON COLUMN holdfast.promotions.promotion_code IS 'The promotion. Codes that differ only in case are the same one.';
COMMENT ON COLUMN holdfast.promotions.percent_off IS 'What it takes off the whole, in percent; NULL: amount_off says.';
COMMENT ON COLUMN holdfast.promotions.amount_off IS 'What it takes off the whole for each currency, in minor units; NULL: percent_off says.';
COMMENT ON COLUMN holdfast.promotions.uses_max IS 'Most uses by all buyers together.';
COMMENT ON COLUMN holdfast.promotions.uses_per_user_max IS 'Most uses by one buyer; NULL: no limit.';
COMMENT ON COLUMN holdfast.promotions.product_ids IS 'Products it applies to; NULL: all.';
COMMENT ON COLUMN holdfast.promotions.segments IS 'Segments of buyers it applies to; NULL: all buyers.';
COMMENT ON COLUMN holdfast.promotions.starts_at IS 'When it begins; NULL: it always has.';
COMMENT ON COLUMN holdfast.promotions.ends_at IS 'When it ends; NULL: never.';
COMMENT ON COLUMN holdfast.promotions.active IS 'Whether it applies at all.';
COMMENT ON COLUMN holdfast.promotions.set_by IS 'Name of the API key that set these terms.';
COMMENT ON COLUMN holdfast.promotions.updated_at IS 'When these terms were set.';
COMMENT ON COLUMN holdfast.promotions.updated_lsn IS 'LSN of the event that set these terms.';

-- A JSON array of text as an array; NULL: null.
CREATE FUNCTION holdfast.texts(list jsonb) RETURNS text[] LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN jsonb_typeof(list) = 'array' THEN ARRAY(SELECT jsonb_array_elements_text(list)) END
$$;

-- Sets products and promotions to the terms in these events, which are in the audit log. Newer terms
-- stand, so events may come late and more than once.
CREATE FUNCTION holdfast.set_terms(lsns bigint[]) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = holdfast, pg_temp AS $$
    INSERT INTO products AS there (product_id, name, price, stock, per_user_limit, starts_at, ends_at,
            active, hold_ttl_ms, reward_tokens, set_by, updated_at, updated_lsn)
        SELECT DISTINCT ON (event->>'product_id') event->>'product_id', event->>'name',
            event->'price', (event->>'stock')::bigint, (event->>'per_user_limit')::bigint,
            (event->>'starts_at')::timestamptz, (event->>'ends_at')::timestamptz,
            (event->>'active')::boolean, (event->>'hold_ttl_ms')::bigint,
            (event->>'reward_tokens')::bigint, event->>'key_owner', at, lsn
        FROM audit_log WHERE lsn = ANY (lsns) AND kind = 'product_set'
        ORDER BY event->>'product_id', lsn DESC
    ON CONFLICT (product_id) DO UPDATE SET name = excluded.name, price = excluded.price,
        stock = excluded.stock, per_user_limit = excluded.per_user_limit,
        starts_at = excluded.starts_at, ends_at = excluded.ends_at, active = excluded.active,
        hold_ttl_ms = excluded.hold_ttl_ms, reward_tokens = excluded.reward_tokens,
        set_by = excluded.set_by, updated_at = excluded.updated_at, updated_lsn = excluded.updated_lsn
    WHERE there.updated_lsn < excluded.updated_lsn;

    INSERT INTO promotions AS there (promotion_code, percent_off, amount_off, uses_max,
            uses_per_user_max, product_ids, segments, starts_at, ends_at, active, set_by, updated_at,
            updated_lsn)
        SELECT DISTINCT ON (lower(event->>'promotion_code')) event->>'promotion_code',
            (event->>'percent_off')::smallint, nullif(event->'amount_off', 'null'),
            (event->>'uses_max')::bigint, (event->>'uses_per_user_max')::bigint,
            texts(event->'product_ids'), texts(event->'segments'),
            (event->>'starts_at')::timestamptz, (event->>'ends_at')::timestamptz,
            (event->>'active')::boolean, event->>'key_owner', at, lsn
        FROM audit_log WHERE lsn = ANY (lsns) AND kind = 'promotion_set'
        ORDER BY lower(event->>'promotion_code'), lsn DESC
    ON CONFLICT (lower(promotion_code)) DO UPDATE SET promotion_code = excluded.promotion_code,
        percent_off = excluded.percent_off,
        amount_off = excluded.amount_off, uses_max = excluded.uses_max,
        uses_per_user_max = excluded.uses_per_user_max, product_ids = excluded.product_ids,
        segments = excluded.segments, starts_at = excluded.starts_at, ends_at = excluded.ends_at,
        active = excluded.active, set_by = excluded.set_by, updated_at = excluded.updated_at,
        updated_lsn = excluded.updated_lsn
    WHERE there.updated_lsn < excluded.updated_lsn;
$$;

-- Takes back the terms that events from `parted` on have set: the newest ones that are left stand
-- again. The audit log has lost these events already.
CREATE FUNCTION holdfast.take_back_terms(from_generation text, parted bigint) RETURNS void
LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
    lost_products jsonb[];
    lost_promotions jsonb[];
BEGIN
    WITH gone AS (DELETE FROM products WHERE updated_lsn >= parted RETURNING *)
    SELECT coalesce(array_agg(to_jsonb(gone)), '{}') INTO lost_products FROM gone;
    WITH gone AS (DELETE FROM promotions WHERE updated_lsn >= parted RETURNING *)
    SELECT coalesce(array_agg(to_jsonb(gone)), '{}') INTO lost_promotions FROM gone;
    PERFORM set_terms((
        SELECT array_agg(lsn) FROM audit_log
        WHERE (kind = 'product_set' AND event->>'product_id' IN
                (SELECT r->>'product_id' FROM unnest(lost_products) r))
            OR (kind = 'promotion_set' AND lower(event->>'promotion_code') IN
                (SELECT lower(r->>'promotion_code') FROM unnest(lost_promotions) r))
    ));
    INSERT INTO lost_history (generation, parted_lsn, table_name, what, lsn, lost)
        SELECT from_generation, parted, 'products',
            CASE WHEN p.product_id IS NULL THEN 'removed' ELSE 'changed' END,
            (r->>'updated_lsn')::bigint, r
        FROM unnest(lost_products) r LEFT JOIN products p ON p.product_id = r->>'product_id';
    INSERT INTO lost_history (generation, parted_lsn, table_name, what, lsn, lost)
        SELECT from_generation, parted, 'promotions',
            CASE WHEN p.promotion_code IS NULL THEN 'removed' ELSE 'changed' END,
            (r->>'updated_lsn')::bigint, r
        FROM unnest(lost_promotions) r
        LEFT JOIN promotions p ON lower(p.promotion_code) = lower(r->>'promotion_code');
END
$$;

-- Least privilege: the writer sets terms by the function above, which takes them from the audit log.
GRANT SELECT ON holdfast.products, holdfast.promotions TO holdfast_writer, holdfast_reader;
REVOKE ALL ON FUNCTION
    holdfast.set_terms(bigint[]), holdfast.take_back_terms(text, bigint), holdfast.texts(jsonb)
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION holdfast.set_terms(bigint[]) TO holdfast_writer;
RESET ROLE;
