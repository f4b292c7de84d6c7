-- What the usual questions need: indexes, and a view of administrative acts. A test holds the plans.

SET ROLE holdfast_migrator;

-- The purchases of a buyer, and the story of a purchase, in their order.
CREATE INDEX shop_transactions_buyer ON holdfast.shop_transactions (user_id, captured_at);
DROP INDEX holdfast.shop_transactions_user;
CREATE INDEX audit_log_story ON holdfast.audit_log (purchase_id, lsn) WHERE purchase_id IS NOT NULL;
DROP INDEX holdfast.audit_log_purchase;

-- Refusals of a drop, by reason and time; failures of all drops, by time.
CREATE INDEX purchase_attempts_refused
    ON holdfast.purchase_attempts (product_id, at, reason) WHERE result = 'refused';
CREATE INDEX purchase_attempts_failed
    ON holdfast.purchase_attempts (at) WHERE result = 'failed';

-- Revenue by product and day; open disputes; the uses of a promotion.
CREATE INDEX shop_transactions_product ON holdfast.shop_transactions (product_id, captured_at);
CREATE INDEX shop_transactions_disputed ON holdfast.shop_transactions (dispute_lsn)
    WHERE dispute = 'opened';
CREATE INDEX promotion_uses_promotion ON holdfast.promotion_uses (lower(promotion_code));

-- Attempts of buyers name the key of the shop, too. Without them few events have a key.
CREATE INDEX audit_log_actor ON holdfast.audit_log ((event->>'key_owner'), lsn)
    WHERE event->>'key_owner' IS NOT NULL AND kind NOT IN
        ('hold_placed', 'hold_released', 'payment_started', 'attempt_refused', 'tokens_spent');
CREATE VIEW holdfast.admin_acts AS
    SELECT lsn, at, event->>'key_owner' AS actor, kind, user_id, purchase_id, event
    FROM holdfast.audit_log
    WHERE event->>'key_owner' IS NOT NULL AND kind NOT IN
        ('hold_placed', 'hold_released', 'payment_started', 'attempt_refused', 'tokens_spent');
COMMENT ON VIEW holdfast.admin_acts IS 'Every administrative act, refused ones too, with the API key that did it.';
COMMENT ON COLUMN holdfast.admin_acts.lsn IS 'LSN of the event.';
COMMENT ON COLUMN holdfast.admin_acts.at IS 'When it happened.';
COMMENT ON COLUMN holdfast.admin_acts.actor IS 'Name of the API key.';
COMMENT ON COLUMN holdfast.admin_acts.kind IS 'What happened, as in audit_log.';
COMMENT ON COLUMN holdfast.admin_acts.user_id IS 'The buyer; NULL: none is involved.';
COMMENT ON COLUMN holdfast.admin_acts.purchase_id IS 'The purchase or hold; NULL: none is involved.';
COMMENT ON COLUMN holdfast.admin_acts.event IS 'The whole event, as holdfast log prints it.';
GRANT SELECT ON holdfast.admin_acts TO holdfast_writer, holdfast_reader;
RESET ROLE;
