-- What each table, view and column means, in words for the people who query them. docs/tables.md is
-- printed from here. Amounts are in minor units of their currency; an LSN is a position in the log.

SET ROLE holdfast_migrator;

COMMENT ON SCHEMA holdfast IS 'Purchases of limited drops, derived from the log of holdfast. Amounts are in minor units of their currency. An LSN is the position of an event in the log, in bytes: it orders all events.';

COMMENT ON TABLE holdfast.sink_cursor IS 'How far the sink has written: every event before lsn is in the tables.';
COMMENT ON COLUMN holdfast.sink_cursor.sink IS 'Name of the sink: postgres.';
COMMENT ON COLUMN holdfast.sink_cursor.log_id IS 'Identifies the log, 16 hexadecimal digits.';
COMMENT ON COLUMN holdfast.sink_cursor.lsn IS 'LSN of the next event to be written.';
COMMENT ON COLUMN holdfast.sink_cursor.updated_at IS 'When the cursor last moved, by the clock of the database.';
COMMENT ON COLUMN holdfast.sink_cursor.generation IS 'Generation of the log at lsn; a restored data directory has a new one.';
COMMENT ON COLUMN holdfast.sink_cursor.chain IS 'Checksum of the log before lsn.';

COMMENT ON TABLE holdfast.audit_log IS 'Every event of the log, once. Rows never change.';
COMMENT ON COLUMN holdfast.audit_log.lsn IS 'LSN of the event.';
COMMENT ON COLUMN holdfast.audit_log.at IS 'When it happened.';
COMMENT ON COLUMN holdfast.audit_log.kind IS 'What happened, for example payment_captured.';
COMMENT ON COLUMN holdfast.audit_log.user_id IS 'The buyer; NULL: none is involved.';
COMMENT ON COLUMN holdfast.audit_log.purchase_id IS 'The purchase or hold; NULL: none is involved.';
COMMENT ON COLUMN holdfast.audit_log.event IS 'The whole event, as holdfast log prints it.';

COMMENT ON TABLE holdfast.purchase_attempts IS 'Every attempt to hold, buy, refund or spend reward tokens, refused ones too. A pending row ends once, then it is closed.';
COMMENT ON COLUMN holdfast.purchase_attempts.lsn IS 'LSN of the event that began the attempt.';
COMMENT ON COLUMN holdfast.purchase_attempts.at IS 'When it began.';
COMMENT ON COLUMN holdfast.purchase_attempts.flow IS 'What was attempted: hold, buy, refund, webhook or reward.';
COMMENT ON COLUMN holdfast.purchase_attempts.result IS 'pending: not ended yet; success; refused: a check said no; failed: the payment or refund did not go through.';
COMMENT ON COLUMN holdfast.purchase_attempts.reason IS 'Why it was refused or failed, for example sold_out; NULL: neither.';
COMMENT ON COLUMN holdfast.purchase_attempts.user_id IS 'The buyer; NULL: not known.';
COMMENT ON COLUMN holdfast.purchase_attempts.product_id IS 'The product; NULL: none is involved.';
COMMENT ON COLUMN holdfast.purchase_attempts.quantity IS 'Units asked for.';
COMMENT ON COLUMN holdfast.purchase_attempts.purchase_id IS 'The purchase or hold; NULL: the attempt did not get that far.';
COMMENT ON COLUMN holdfast.purchase_attempts.amount IS 'Amount to pay or to refund, in minor units; NULL: not computed.';
COMMENT ON COLUMN holdfast.purchase_attempts.currency IS 'Currency of amount, ISO 4217.';
COMMENT ON COLUMN holdfast.purchase_attempts.promotion_code IS 'Promotion of the hold; NULL: none.';
COMMENT ON COLUMN holdfast.purchase_attempts.card_token IS 'Token of the card, never a card number; NULL: no payment.';
COMMENT ON COLUMN holdfast.purchase_attempts.ip IS 'Address of the buyer, as the shop says; NULL: not said.';
COMMENT ON COLUMN holdfast.purchase_attempts.device_id IS 'Device of the buyer, as the shop says; NULL: not said.';
COMMENT ON COLUMN holdfast.purchase_attempts.request_id IS 'The X-Request-Id of the answer.';
COMMENT ON COLUMN holdfast.purchase_attempts.key_owner IS 'Name of the API key that was used.';
COMMENT ON COLUMN holdfast.purchase_attempts.ended_lsn IS 'LSN of the event that ended the attempt; NULL: pending.';
COMMENT ON COLUMN holdfast.purchase_attempts.ended_at IS 'When it ended; NULL: pending.';

COMMENT ON TABLE holdfast.shop_transactions IS 'Every captured purchase with its receipt. Only its refunds and disputes change a row.';
COMMENT ON COLUMN holdfast.shop_transactions.purchase_id IS 'The purchase.';
COMMENT ON COLUMN holdfast.shop_transactions.user_id IS 'The buyer.';
COMMENT ON COLUMN holdfast.shop_transactions.product_id IS 'The product.';
COMMENT ON COLUMN holdfast.shop_transactions.quantity IS 'Units bought.';
COMMENT ON COLUMN holdfast.shop_transactions.currency IS 'Currency of all amounts of the row, ISO 4217.';
COMMENT ON COLUMN holdfast.shop_transactions.unit_price IS 'Price of one unit, in minor units.';
COMMENT ON COLUMN holdfast.shop_transactions.discount IS 'What the promotion took off the whole, in minor units.';
COMMENT ON COLUMN holdfast.shop_transactions.amount IS 'Amount captured, in minor units.';
COMMENT ON COLUMN holdfast.shop_transactions.promotion_code IS 'Promotion used; NULL: none.';
COMMENT ON COLUMN holdfast.shop_transactions.metadata IS 'What the shop attached to the purchase: pairs of text.';
COMMENT ON COLUMN holdfast.shop_transactions.card_token IS 'Token of the card that paid, never a card number.';
COMMENT ON COLUMN holdfast.shop_transactions.authorization_id IS 'Reference of the authorization at the gateway.';
COMMENT ON COLUMN holdfast.shop_transactions.capture_id IS 'Reference of the capture at the gateway.';
COMMENT ON COLUMN holdfast.shop_transactions.captured_lsn IS 'LSN of the capture.';
COMMENT ON COLUMN holdfast.shop_transactions.captured_at IS 'When it was captured.';
COMMENT ON COLUMN holdfast.shop_transactions.receipt_id IS 'The receipt.';
COMMENT ON COLUMN holdfast.shop_transactions.integrity_hash IS 'SHA-256 over the canonical fields of the receipt, 32 bytes.';
COMMENT ON COLUMN holdfast.shop_transactions.receipt_key_id IS 'Key of receipt_hmac.';
COMMENT ON COLUMN holdfast.shop_transactions.receipt_hmac IS 'HMAC-SHA-256 of the receipt, 32 bytes.';
COMMENT ON COLUMN holdfast.shop_transactions.signing_key_id IS 'Key of receipt_signature; NULL: not signed.';
COMMENT ON COLUMN holdfast.shop_transactions.receipt_signature IS 'Ed25519 signature of the receipt, 64 bytes; NULL: not signed.';
COMMENT ON COLUMN holdfast.shop_transactions.refunds IS 'How many refunds succeeded, including those that came back later. The refund of a free order is one of amount 0.';
COMMENT ON COLUMN holdfast.shop_transactions.refunded_amount IS 'Amount refunded so far, in minor units.';
COMMENT ON COLUMN holdfast.shop_transactions.charged_back_amount IS 'Amount of the lost disputes, in minor units.';
COMMENT ON COLUMN holdfast.shop_transactions.dispute IS 'opened: at least one dispute is open; else the outcome of the latest one, won or lost; NULL: never disputed.';
COMMENT ON COLUMN holdfast.shop_transactions.dispute_lsn IS 'LSN of the latest event about a dispute; NULL: never disputed.';
COMMENT ON COLUMN holdfast.shop_transactions.updated_lsn IS 'LSN of the latest event that changed the row.';
COMMENT ON COLUMN holdfast.shop_transactions.status IS 'captured, partially_refunded, refunded, disputed or charged_back; follows from the other columns.';

COMMENT ON TABLE holdfast.promotion_uses IS 'Every use of a promotion. A use is given back at most once, when its hold or purchase no longer stands.';
COMMENT ON COLUMN holdfast.promotion_uses.purchase_id IS 'The hold or purchase that used it.';
COMMENT ON COLUMN holdfast.promotion_uses.promotion_code IS 'The promotion.';
COMMENT ON COLUMN holdfast.promotion_uses.user_id IS 'The buyer.';
COMMENT ON COLUMN holdfast.promotion_uses.used_lsn IS 'LSN of the hold; NULL: its event is among the dead letters.';
COMMENT ON COLUMN holdfast.promotion_uses.used_at IS 'When it was used; NULL as used_lsn.';
COMMENT ON COLUMN holdfast.promotion_uses.given_back_lsn IS 'LSN of the event that gave it back; NULL: the use stands.';
COMMENT ON COLUMN holdfast.promotion_uses.given_back_at IS 'When it was given back; NULL: the use stands.';

COMMENT ON TABLE holdfast.user_actions IS 'What buyers did by calls of their own: hold, release, pay, be refused, spend tokens. Rows never change.';
COMMENT ON COLUMN holdfast.user_actions.lsn IS 'LSN of the event.';
COMMENT ON COLUMN holdfast.user_actions.at IS 'When it happened.';
COMMENT ON COLUMN holdfast.user_actions.user_id IS 'The buyer.';
COMMENT ON COLUMN holdfast.user_actions.action IS 'hold_placed, hold_released, payment_started, attempt_refused or tokens_spent.';
COMMENT ON COLUMN holdfast.user_actions.product_id IS 'The product; NULL: none is involved, or the purchase names it.';
COMMENT ON COLUMN holdfast.user_actions.purchase_id IS 'The purchase or hold; NULL: none.';
COMMENT ON COLUMN holdfast.user_actions.ip IS 'Address of the buyer, as the shop says; NULL: not said.';
COMMENT ON COLUMN holdfast.user_actions.device_id IS 'Device of the buyer, as the shop says; NULL: not said.';

COMMENT ON TABLE holdfast.user_rewards IS 'Every change of the reward tokens of a buyer, and of what the buyer owes in tokens. Rows never change.';
COMMENT ON COLUMN holdfast.user_rewards.lsn IS 'LSN of the event.';
COMMENT ON COLUMN holdfast.user_rewards.at IS 'When it happened.';
COMMENT ON COLUMN holdfast.user_rewards.user_id IS 'The buyer.';
COMMENT ON COLUMN holdfast.user_rewards.reason IS 'granted by a capture, spent by the buyer, clawed_back by a refund or dispute, given_back when that was undone.';
COMMENT ON COLUMN holdfast.user_rewards.purchase_id IS 'The purchase; NULL: tokens were spent.';
COMMENT ON COLUMN holdfast.user_rewards.tokens IS 'Change of the balance, in tokens.';
COMMENT ON COLUMN holdfast.user_rewards.debt IS 'Change of the debt, in tokens. What cannot be clawed back is debt; later grants pay it off.';

COMMENT ON TABLE holdfast.risk_profiles IS 'Counts of declines, risk blocks and disputes, for each buyer who has any.';
COMMENT ON COLUMN holdfast.risk_profiles.user_id IS 'The buyer.';
COMMENT ON COLUMN holdfast.risk_profiles.declines IS 'Payments that the issuer declined.';
COMMENT ON COLUMN holdfast.risk_profiles.risk_blocks IS 'Attempts that a risk rule blocked.';
COMMENT ON COLUMN holdfast.risk_profiles.disputes IS 'Disputes opened.';
COMMENT ON COLUMN holdfast.risk_profiles.chargebacks IS 'Disputes lost.';
COMMENT ON COLUMN holdfast.risk_profiles.updated_lsn IS 'LSN of the latest event that changed the row.';

COMMENT ON TABLE holdfast.user_segments IS 'The segment of each buyer, with its scores. Computed again when purchases, time or rules change.';
COMMENT ON COLUMN holdfast.user_segments.user_id IS 'The buyer.';
COMMENT ON COLUMN holdfast.user_segments.segment IS 'The segment, as promotions and risk rules name it.';
COMMENT ON COLUMN holdfast.user_segments.computed_at IS 'The time as of which it was computed.';
COMMENT ON COLUMN holdfast.user_segments.updated_lsn IS 'LSN of the latest event of the purchases that it is computed from.';
COMMENT ON COLUMN holdfast.user_segments.recency IS 'Score of the last purchase, 1 (long ago) to 5.';
COMMENT ON COLUMN holdfast.user_segments.frequency IS 'Score of the number of purchases, 1 (few) to 5; 0: none stands.';
COMMENT ON COLUMN holdfast.user_segments.monetary IS 'Score of the money kept, 1 (little) to 5: the best of all currencies.';
COMMENT ON COLUMN holdfast.user_segments.purchases IS 'Purchases that stand.';
COMMENT ON COLUMN holdfast.user_segments.first_at IS 'When the first purchase was captured.';
COMMENT ON COLUMN holdfast.user_segments.last_at IS 'When the last purchase was captured.';
COMMENT ON COLUMN holdfast.user_segments.next_change_at IS 'When time alone changes the recency; NULL: never again.';
COMMENT ON COLUMN holdfast.user_segments.run IS 'The run that found the segment.';
COMMENT ON COLUMN holdfast.user_segments.change IS 'Number of the change to this segment: the core takes changes over in this order.';

COMMENT ON TABLE holdfast.user_values IS 'What each buyer paid and what of it was kept, in each currency.';
COMMENT ON COLUMN holdfast.user_values.user_id IS 'The buyer.';
COMMENT ON COLUMN holdfast.user_values.currency IS 'Currency of all amounts of the row, ISO 4217.';
COMMENT ON COLUMN holdfast.user_values.purchases IS 'Purchases that stand.';
COMMENT ON COLUMN holdfast.user_values.captured IS 'Amount captured, in minor units.';
COMMENT ON COLUMN holdfast.user_values.refunded IS 'Amount refunded, in minor units.';
COMMENT ON COLUMN holdfast.user_values.charged_back IS 'Amount of lost disputes, in minor units.';
COMMENT ON COLUMN holdfast.user_values.net IS 'Amount kept, in minor units: captured less refunded and charged back.';
COMMENT ON COLUMN holdfast.user_values.monetary IS 'Score of net, 1 to 5.';

COMMENT ON TABLE holdfast.segment_thresholds IS 'The bounds of the scores that segments are computed from. Yours to change. Below all bounds the score is 1.';
COMMENT ON COLUMN holdfast.segment_thresholds.measure IS 'recency, frequency or money.';
COMMENT ON COLUMN holdfast.segment_thresholds.currency IS 'Currency of a bound of money; *: every currency without rows of its own.';
COMMENT ON COLUMN holdfast.segment_thresholds.score IS 'The score that the bound gives, 2 to 5.';
COMMENT ON COLUMN holdfast.segment_thresholds.bound IS 'recency: the last purchase is younger than so many days; frequency: at least so many purchases stand; money: at least so much was kept, in minor units.';

COMMENT ON TABLE holdfast.segment_rules IS 'Which scores make which segment: the first rule that fits, by place. Yours to change.';
COMMENT ON COLUMN holdfast.segment_rules.place IS 'Order of the rules, lowest first.';
COMMENT ON COLUMN holdfast.segment_rules.segment IS 'The segment of buyers that fit.';
COMMENT ON COLUMN holdfast.segment_rules.recency_min IS 'Lowest score of recency that fits.';
COMMENT ON COLUMN holdfast.segment_rules.recency_max IS 'Highest score of recency that fits.';
COMMENT ON COLUMN holdfast.segment_rules.frequency_min IS 'Lowest score of frequency that fits; 0: buyers of whose purchases none stands.';
COMMENT ON COLUMN holdfast.segment_rules.frequency_max IS 'Highest score of frequency that fits.';
COMMENT ON COLUMN holdfast.segment_rules.monetary_min IS 'Lowest score of money that fits.';
COMMENT ON COLUMN holdfast.segment_rules.monetary_max IS 'Highest score of money that fits.';

COMMENT ON TABLE holdfast.segment_state IS 'How far the segments are computed. One row, written with what was computed.';
COMMENT ON COLUMN holdfast.segment_state.only_one IS 'Always true: there is one row.';
COMMENT ON COLUMN holdfast.segment_state.series IS 'Names the series of changes; a database that begins anew or went back has another one.';
COMMENT ON COLUMN holdfast.segment_state.changes IS 'Number of the latest change of a segment.';
COMMENT ON COLUMN holdfast.segment_state.lsn IS 'LSN up to which changed purchases are included.';
COMMENT ON COLUMN holdfast.segment_state.as_of IS 'The time as of which segments are computed.';
COMMENT ON COLUMN holdfast.segment_state.settings IS 'Digest of the thresholds and rules that all rows are computed by; NULL: not by the same ones.';
COMMENT ON COLUMN holdfast.segment_state.walking IS 'Digest of the thresholds and rules by which all buyers are being computed again; NULL: they are not.';
COMMENT ON COLUMN holdfast.segment_state.walked_to IS 'The last buyer that was computed again by walking.';

COMMENT ON TABLE holdfast.segment_late IS 'Buyers whose events came late, out of the dead letters: the next run computes them and removes the row.';
COMMENT ON COLUMN holdfast.segment_late.id IS 'Number of the row.';
COMMENT ON COLUMN holdfast.segment_late.user_id IS 'The buyer.';

COMMENT ON TABLE holdfast.segment_runs IS 'Every run that computed segments. A running row ends once.';
COMMENT ON COLUMN holdfast.segment_runs.run IS 'Number of the run.';
COMMENT ON COLUMN holdfast.segment_runs.started_at IS 'When it began, by the clock of the database.';
COMMENT ON COLUMN holdfast.segment_runs.finished_at IS 'When it ended, by the clock of the database; NULL: running.';
COMMENT ON COLUMN holdfast.segment_runs.by IS 'What began it: schedule or request.';
COMMENT ON COLUMN holdfast.segment_runs.as_of IS 'The time as of which it computes.';
COMMENT ON COLUMN holdfast.segment_runs.from_lsn IS 'LSN from which changed purchases are included.';
COMMENT ON COLUMN holdfast.segment_runs.to_lsn IS 'LSN before which changed purchases are included.';
COMMENT ON COLUMN holdfast.segment_runs.seen IS 'Buyers computed.';
COMMENT ON COLUMN holdfast.segment_runs.changed IS 'Buyers who changed their segment.';
COMMENT ON COLUMN holdfast.segment_runs.fed IS 'Changes that the core took over.';
COMMENT ON COLUMN holdfast.segment_runs.outcome IS 'running, done, failed, or abandoned: its process ended, or rows were taken back.';
COMMENT ON COLUMN holdfast.segment_runs.error IS 'Why it failed; NULL: it did not.';

COMMENT ON TABLE holdfast.ledger_entries IS 'Double entry: debits are positive, credits negative. The entries of one event sum to zero in each currency. Rows never change.';
COMMENT ON COLUMN holdfast.ledger_entries.lsn IS 'LSN of the event that is booked.';
COMMENT ON COLUMN holdfast.ledger_entries.entry IS 'Number of the entry within its event, from 1.';
COMMENT ON COLUMN holdfast.ledger_entries.at IS 'When the event happened.';
COMMENT ON COLUMN holdfast.ledger_entries.purchase_id IS 'The purchase; NULL: tokens were spent.';
COMMENT ON COLUMN holdfast.ledger_entries.user_id IS 'The buyer.';
COMMENT ON COLUMN holdfast.ledger_entries.account IS 'The account: cash_clearing, revenue, refunds, chargebacks, or one of token_liability, token_receivable, token_grants, token_redemptions.';
COMMENT ON COLUMN holdfast.ledger_entries.currency IS 'Currency of amount, ISO 4217; TOKENS: reward tokens.';
COMMENT ON COLUMN holdfast.ledger_entries.amount IS 'In minor units, or in tokens: positive is a debit, negative a credit.';

COMMENT ON TABLE holdfast.lost_history IS 'Every row that was taken back because a restored or older copy of the data directory was accepted that does not have its event. Rows never change.';
COMMENT ON COLUMN holdfast.lost_history.id IS 'Number of the row.';
COMMENT ON COLUMN holdfast.lost_history.lost_at IS 'When it was taken back, by the clock of the database.';
COMMENT ON COLUMN holdfast.lost_history.generation IS 'Generation of the log when the last of the lost events was delivered.';
COMMENT ON COLUMN holdfast.lost_history.parted_lsn IS 'LSN at which the lost history parts from the one that goes on.';
COMMENT ON COLUMN holdfast.lost_history.table_name IS 'The table that the row was in.';
COMMENT ON COLUMN holdfast.lost_history.what IS 'removed: a lost event made the row; changed: lost events changed it, and its table has it as it was before them.';
COMMENT ON COLUMN holdfast.lost_history.lsn IS 'LSN of the lost event.';
COMMENT ON COLUMN holdfast.lost_history.user_id IS 'The buyer; NULL: none is involved.';
COMMENT ON COLUMN holdfast.lost_history.purchase_id IS 'The purchase or hold; NULL: none is involved.';
COMMENT ON COLUMN holdfast.lost_history.lost IS 'The row as it was.';

COMMENT ON TABLE holdfast.schema_history IS 'The migrations of this schema that have run.';
COMMENT ON COLUMN holdfast.schema_history.version IS 'Number of the migration.';
COMMENT ON COLUMN holdfast.schema_history.name IS 'Name of the migration.';
COMMENT ON COLUMN holdfast.schema_history.applied_on IS 'When it ran, RFC 3339.';
COMMENT ON COLUMN holdfast.schema_history.checksum IS 'Checksum of the SQL that ran.';

COMMENT ON VIEW holdfast.ledger_unbalanced IS 'Events and purchases whose entries do not sum to zero. Always empty.';
COMMENT ON COLUMN holdfast.ledger_unbalanced.of IS 'event or purchase.';
COMMENT ON COLUMN holdfast.ledger_unbalanced.id IS 'LSN of the event, or the purchase.';
COMMENT ON COLUMN holdfast.ledger_unbalanced.currency IS 'Currency, ISO 4217, or TOKENS.';
COMMENT ON COLUMN holdfast.ledger_unbalanced.off_by IS 'The sum that should be zero, in minor units or tokens.';

COMMENT ON VIEW holdfast.ledger_revenue IS 'Revenue by the ledger, for each purchase and currency.';
COMMENT ON COLUMN holdfast.ledger_revenue.purchase_id IS 'The purchase.';
COMMENT ON COLUMN holdfast.ledger_revenue.currency IS 'Currency of all amounts of the row, ISO 4217.';
COMMENT ON COLUMN holdfast.ledger_revenue.revenue IS 'Captured less refunded, in minor units; lost disputes are not taken off.';
COMMENT ON COLUMN holdfast.ledger_revenue.charged_back IS 'Amount of lost disputes, in minor units.';

COMMENT ON VIEW holdfast.revenue_mismatch IS 'Purchases whose row and ledger disagree about revenue or chargebacks. Always empty.';
COMMENT ON COLUMN holdfast.revenue_mismatch.purchase_id IS 'The purchase.';
COMMENT ON COLUMN holdfast.revenue_mismatch.by_transactions IS 'Captured less refunded by shop_transactions, in minor units.';
COMMENT ON COLUMN holdfast.revenue_mismatch.by_ledger IS 'Captured less refunded by ledger_entries, in minor units.';

COMMENT ON VIEW holdfast.reward_balances IS 'Reward tokens of each buyer.';
COMMENT ON COLUMN holdfast.reward_balances.user_id IS 'The buyer.';
COMMENT ON COLUMN holdfast.reward_balances.tokens IS 'Balance, in tokens.';
COMMENT ON COLUMN holdfast.reward_balances.debt IS 'What the buyer owes, in tokens.';

COMMENT ON VIEW holdfast.lifetime_values IS 'What each buyer is worth in each currency: what was kept so far, and what a year more would bring.';
COMMENT ON COLUMN holdfast.lifetime_values.user_id IS 'The buyer.';
COMMENT ON COLUMN holdfast.lifetime_values.currency IS 'Currency of all amounts of the row, ISO 4217.';
COMMENT ON COLUMN holdfast.lifetime_values.segment IS 'The segment of the buyer.';
COMMENT ON COLUMN holdfast.lifetime_values.recency IS 'Score of the last purchase, 1 (long ago) to 5.';
COMMENT ON COLUMN holdfast.lifetime_values.frequency IS 'Score of the number of purchases, 1 (few) to 5; 0: none stands.';
COMMENT ON COLUMN holdfast.lifetime_values.monetary IS 'Score of the money kept in this currency, 1 to 5.';
COMMENT ON COLUMN holdfast.lifetime_values.purchases IS 'Purchases that stand.';
COMMENT ON COLUMN holdfast.lifetime_values.captured IS 'Amount captured, in minor units.';
COMMENT ON COLUMN holdfast.lifetime_values.refunded IS 'Amount refunded, in minor units.';
COMMENT ON COLUMN holdfast.lifetime_values.charged_back IS 'Amount of lost disputes, in minor units.';
COMMENT ON COLUMN holdfast.lifetime_values.historic IS 'Amount kept so far, in minor units.';
COMMENT ON COLUMN holdfast.lifetime_values.projected_year IS 'What a year more would bring, in minor units: the amount kept per day, over at least 90 days, for 365 days, weighted by recency.';

COMMENT ON VIEW holdfast.purchase_actions IS 'What buyers did about each purchase, and what became of it.';
COMMENT ON COLUMN holdfast.purchase_actions.purchase_id IS 'The purchase or hold.';
COMMENT ON COLUMN holdfast.purchase_actions.lsn IS 'LSN of the action.';
COMMENT ON COLUMN holdfast.purchase_actions.at IS 'When it happened.';
COMMENT ON COLUMN holdfast.purchase_actions.user_id IS 'The buyer.';
COMMENT ON COLUMN holdfast.purchase_actions.action IS 'The action, as in user_actions.';
COMMENT ON COLUMN holdfast.purchase_actions.product_id IS 'The product; NULL: the action does not name it.';
COMMENT ON COLUMN holdfast.purchase_actions.captured_lsn IS 'LSN of the capture; NULL: not captured.';
COMMENT ON COLUMN holdfast.purchase_actions.status IS 'Status of the purchase, as in shop_transactions; NULL: not captured.';

COMMENT ON VIEW holdfast.purchase_rewards IS 'Reward tokens of each purchase, and what moved them.';
COMMENT ON COLUMN holdfast.purchase_rewards.purchase_id IS 'The purchase.';
COMMENT ON COLUMN holdfast.purchase_rewards.lsn IS 'LSN of the event.';
COMMENT ON COLUMN holdfast.purchase_rewards.at IS 'When it happened.';
COMMENT ON COLUMN holdfast.purchase_rewards.user_id IS 'The buyer.';
COMMENT ON COLUMN holdfast.purchase_rewards.reason IS 'granted, clawed_back or given_back.';
COMMENT ON COLUMN holdfast.purchase_rewards.tokens IS 'Change of the balance, in tokens.';
COMMENT ON COLUMN holdfast.purchase_rewards.debt IS 'Change of the debt, in tokens.';
COMMENT ON COLUMN holdfast.purchase_rewards.moved_by IS 'Kind of the event: a capture, a refund or a dispute.';
COMMENT ON COLUMN holdfast.purchase_rewards.refund IS 'Number of the refund within its purchase; NULL: no refund, or one made at the site of the gateway.';

COMMENT ON VIEW holdfast.unlinked IS 'Actions and rewards that do not belong to the event and purchase that they name. Always empty.';
COMMENT ON COLUMN holdfast.unlinked.of IS 'The table: user_actions or user_rewards.';
COMMENT ON COLUMN holdfast.unlinked.lsn IS 'LSN of the row.';
COMMENT ON COLUMN holdfast.unlinked.purchase_id IS 'The purchase that the row names; NULL: none.';

COMMENT ON TABLE holdfast.retention IS 'From when on audit_log, purchase_attempts and user_actions are complete. One row, or none: nothing was dropped.';
COMMENT ON COLUMN holdfast.retention.only_row IS 'Always true.';
COMMENT ON COLUMN holdfast.retention.kept_from IS 'Begin of the oldest month that is kept, UTC.';
COMMENT ON COLUMN holdfast.retention.changed_at IS 'When the months before it were dropped, by the clock of the database.';

COMMENT ON VIEW holdfast.dispute_words IS 'Every event about a dispute, and what it changes.';
COMMENT ON COLUMN holdfast.dispute_words.purchase_id IS 'The purchase.';
COMMENT ON COLUMN holdfast.dispute_words.dispute IS 'Number of the dispute within its purchase.';
COMMENT ON COLUMN holdfast.dispute_words.user_id IS 'The buyer.';
COMMENT ON COLUMN holdfast.dispute_words.lsn IS 'LSN of the event.';
COMMENT ON COLUMN holdfast.dispute_words.kind IS 'dispute_opened or dispute_closed.';
COMMENT ON COLUMN holdfast.dispute_words.is_first IS 'Whether it is the first event of the dispute.';
COMMENT ON COLUMN holdfast.dispute_words.is_latest IS 'Whether it is the latest event of the dispute.';
COMMENT ON COLUMN holdfast.dispute_words.more_lost IS 'How many more disputes are lost with it: 1, 0, or -1 where a lost one is won.';

RESET ROLE;
