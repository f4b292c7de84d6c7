-- Months of the growing tables: made ahead by the sink, dropped by the operator.

SET ROLE holdfast_migrator;

-- Makes the months of these days (days since 1970-01-01, UTC) and the month after each. A month that
-- cannot be made stays in the partition for everything: because rows of it are there already, or because
-- somebody holds a lock for more than a second. So no row waits for this.
CREATE FUNCTION holdfast.make_partitions(days integer[]) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = holdfast, pg_temp SET lock_timeout = '1s' AS $$
DECLARE
    month timestamptz;
    month_end timestamptz;
    parent text;
    part text;
    is_taken boolean;
    made integer := 0;
BEGIN
    FOR month IN
        SELECT DISTINCT date_trunc('month', to_timestamp(day * 86400.0), 'UTC') + ahead
        FROM unnest(days) day, unnest(ARRAY[interval '0', interval '1 month']) ahead
        ORDER BY 1
    LOOP
        month := date_trunc('month', month, 'UTC');
        month_end := date_trunc('month', month + interval '32 days', 'UTC');
        CONTINUE WHEN month < kept_from();
        FOREACH parent IN ARRAY ARRAY['audit_log', 'purchase_attempts', 'user_actions', 'ledger_entries'] LOOP
            part := parent || to_char(month AT TIME ZONE 'UTC', '_YYYY_MM');
            CONTINUE WHEN to_regclass(part) IS NOT NULL;
            EXECUTE format('SELECT EXISTS (SELECT FROM %I WHERE at >= $1 AND at < $2)', parent || '_default')
                INTO is_taken USING month, month_end;
            CONTINUE WHEN is_taken;
            BEGIN
                EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part, parent);
                -- Attaching lets others read and write meanwhile; PARTITION OF would not.
                EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                    parent, part, month, month_end);
                made := made + 1;
            EXCEPTION WHEN lock_not_available OR deadlock_detected OR duplicate_table THEN
                NULL;
            END;
        END LOOP;
    END LOOP;
    RETURN made;
END
$$;

-- Drops all months before this one from audit_log, purchase_attempts and user_actions; how many partitions.
-- Events that later ones may need stay: terms, refunds, disputes and declines.
CREATE FUNCTION holdfast.drop_before(month timestamptz) RETURNS integer
LANGUAGE plpgsql SET search_path = holdfast, pg_temp AS $$
DECLARE
    newest timestamptz := (SELECT at FROM audit_log ORDER BY lsn DESC LIMIT 1);
    parent text;
    part text;
    dropped integer := 0;
BEGIN
    IF month <> date_trunc('month', month, 'UTC') THEN
        RAISE EXCEPTION '% is not the begin of a month, UTC', month
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF newest IS NULL OR newest < month THEN
        RAISE EXCEPTION 'the sink has not reached % yet', month
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    IF month < kept_from() THEN
        RAISE EXCEPTION 'months before % are dropped already', kept_from()
            USING ERRCODE = 'object_not_in_prerequisite_state';
    END IF;
    INSERT INTO retention (kept_from) VALUES (month)
        ON CONFLICT (only_row) DO UPDATE SET kept_from = excluded.kept_from, changed_at = now();
    CREATE TEMPORARY TABLE needed ON COMMIT DROP AS
        SELECT * FROM audit_log
        WHERE at < month AND kind IN ('product_set', 'promotion_set', 'refund_succeeded', 'refund_found',
            'refund_returned', 'dispute_opened', 'dispute_closed', 'payment_declined');
    FOREACH parent IN ARRAY ARRAY['audit_log', 'purchase_attempts', 'user_actions'] LOOP
        FOR part IN
            SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = parent::regclass AND c.relname <> parent || '_default'
                AND c.relname < parent || to_char(month AT TIME ZONE 'UTC', '_YYYY_MM')
            ORDER BY c.relname
        LOOP
            EXECUTE format('DROP TABLE %I', part);
            dropped := dropped + 1;
        END LOOP;
        EXECUTE format('DELETE FROM %I WHERE at < $1', parent || '_default') USING month;
    END LOOP;
    INSERT INTO audit_log SELECT * FROM needed;
    DROP TABLE needed;
    RETURN dropped;
END
$$;

-- What belongs to a dropped month has no partition but the one for everything. An attempt does not come
-- back with its late end, nor out of the dead letters; what else such an event changes is written, and the
-- event itself stays in the audit log, which says that it was.
CREATE FUNCTION holdfast.leave_out_dropped() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.at < holdfast.kept_from() THEN
        RETURN NULL;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER leave_out_dropped BEFORE INSERT ON holdfast.purchase_attempts_default
    FOR EACH ROW EXECUTE FUNCTION holdfast.leave_out_dropped();
CREATE TRIGGER leave_out_dropped BEFORE INSERT ON holdfast.user_actions_default
    FOR EACH ROW EXECUTE FUNCTION holdfast.leave_out_dropped();

-- The first months, for whoever looks before the sink has written.
SELECT holdfast.make_partitions(ARRAY[floor(extract(epoch FROM now()) / 86400)::integer]);

-- Least privilege: the writer makes months by the function, and drops none.
GRANT SELECT ON holdfast.retention TO holdfast_writer, holdfast_reader;
REVOKE ALL ON FUNCTION holdfast.make_partitions(integer[]), holdfast.drop_before(timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION holdfast.make_partitions(integer[]) TO holdfast_writer;
RESET ROLE;
