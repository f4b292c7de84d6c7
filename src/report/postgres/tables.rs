//! Owns the names of the tables and the order of their columns in tuples.
//!
//! Invariant: a row writes its values in this order (`rows`, `convert`).

/// A table with its columns in the order of tuples.
#[derive(Debug)]
pub(super) struct RowTable {
    pub(super) name: &'static str,
    pub(super) columns: &'static [&'static str],
}

pub(super) const AUDIT: RowTable = RowTable {
    name: "audit_log",
    columns: &["lsn", "at", "kind", "user_id", "purchase_id", "event"],
};

pub(super) const ACTIONS: RowTable = RowTable {
    name: "user_actions",
    columns: &[
        "lsn",
        "at",
        "user_id",
        "action",
        "product_id",
        "purchase_id",
        "ip",
        "device_id",
    ],
};

pub(super) const REWARDS: RowTable = RowTable {
    name: "user_rewards",
    columns: &[
        "lsn",
        "at",
        "user_id",
        "reason",
        "purchase_id",
        "tokens",
        "debt",
    ],
};

pub(super) const LEDGER: RowTable = RowTable {
    name: "ledger_entries",
    columns: &[
        "lsn",
        "entry",
        "at",
        "purchase_id",
        "user_id",
        "account",
        "currency",
        "amount",
    ],
};

pub(super) const ATTEMPTS: RowTable = RowTable {
    name: "purchase_attempts",
    columns: &[
        "lsn",
        "at",
        "flow",
        "result",
        "reason",
        "user_id",
        "product_id",
        "quantity",
        "purchase_id",
        "amount",
        "currency",
        "promotion_code",
        "card_token",
        "ip",
        "device_id",
        "request_id",
        "key_owner",
        "ended_lsn",
        "ended_at",
    ],
};

pub(super) const TRANSACTIONS: RowTable = RowTable {
    name: "shop_transactions",
    columns: &[
        "purchase_id",
        "user_id",
        "product_id",
        "quantity",
        "currency",
        "unit_price",
        "discount",
        "amount",
        "promotion_code",
        "metadata",
        "card_token",
        "authorization_id",
        "capture_id",
        "captured_lsn",
        "captured_at",
        "receipt_id",
        "integrity_hash",
        "receipt_key_id",
        "receipt_hmac",
        "signing_key_id",
        "receipt_signature",
        "refunds",
        "refunded_amount",
        "charged_back_amount",
        "dispute",
        "dispute_lsn",
        "updated_lsn",
    ],
};

pub(super) const USES: RowTable = RowTable {
    name: "promotion_uses",
    columns: &[
        "purchase_id",
        "promotion_code",
        "user_id",
        "used_lsn",
        "used_at",
        "given_back_lsn",
        "given_back_at",
    ],
};

pub(super) const RISK: RowTable = RowTable {
    name: "risk_profiles",
    columns: &[
        "user_id",
        "declines",
        "risk_blocks",
        "disputes",
        "chargebacks",
        "updated_lsn",
    ],
};
