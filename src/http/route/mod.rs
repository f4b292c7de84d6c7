//! Owns the paths: what there is, which methods each takes, and what each asks of its caller.
//!
//! Invariant: this is the only list of routes; `docs/openapi.yaml` names exactly these, which a
//! test holds. Deliberately absent: what the routes do.

pub mod audited;
pub mod auth;

use crate::telemetry::metrics::Pool;
use auth::Access;
use hyper::Method;
use std::borrow::Cow;

/// Something at a path. The words in braces of its template are its ids.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    /// Holds.
    Holds,
    /// One hold.
    Hold,
    /// Buying.
    Buy,
    /// Products, for the shop.
    Products,
    /// A product, for the shop.
    Product,
    /// A purchase.
    Purchase,
    /// A receipt.
    Receipt,
    /// Checking a receipt.
    VerifyReceipt,
    /// The public keys of receipts.
    Jwks,
    /// All products.
    AdminProducts,
    /// A product, for the operator.
    AdminProduct,
    /// The units of a product in all.
    ProductStock,
    /// All promotions.
    AdminPromotions,
    /// A promotion.
    AdminPromotion,
    /// A snapshot now.
    Snapshot,
    /// Log, snapshots, conservation.
    Status,
    /// The log's events.
    Audit,
    /// The settings in force.
    Config,
    /// A purchase, for the operator.
    AdminPurchase,
    /// The refunds of a purchase.
    Refunds,
    /// One refund of a purchase; its ids are the purchase's and the refund's number.
    Refund,
    /// Giving an authorization back.
    Void,
    /// Settling a capture of another sum than was asked for.
    Settle,
    /// Purchases that wait for a person.
    Reviews,
    /// Deciding for one of them.
    ApproveReview,
    /// Deciding against one of them.
    RejectReview,
    /// Payments and refunds under way.
    OpenPayments,
    /// A buyer, for the operator.
    AdminUser,
    /// A buyer's holds and purchases.
    UserPurchases,
    /// A buyer's reward tokens.
    Rewards,
    /// Spending reward tokens.
    SpendRewards,
    /// The risk rules in force.
    RiskRules,
    /// A buyer's pause.
    UserPause,
    /// What the operator knows of a buyer that rules can speak of.
    UserRating,
    /// What the sandbox gateway charged.
    SandboxCharges,
    /// A gateway's webhooks.
    PaymentWebhook,
    /// Stripe's webhooks.
    StripeWebhook,
    /// The secrets that webhooks are signed with.
    WebhookSecrets,
    /// One of them.
    WebhookSecret,
    /// The comparison of the gateway's charges with ours.
    Reconcile,
    /// The segments of buyers that are computed in PostgreSQL.
    Segments,
    /// Going on with a restored or copied history of the log.
    AcceptHistory,
    /// What carries events out of the log.
    Sinks,
    /// Holding one of them.
    PauseSink,
    /// Letting it run.
    ResumeSink,
    /// Events that a sink refused for good.
    DeadLetters,
    /// Driving them again.
    Redrive,
    /// Whether the process runs.
    Live,
    /// Whether it takes purchases.
    Ready,
    /// Metrics.
    Metrics,
}

impl Resource {
    /// Every one.
    pub const ALL: &[Self] = &[
        Self::Holds,
        Self::Hold,
        Self::Buy,
        Self::Products,
        Self::Product,
        Self::Purchase,
        Self::Receipt,
        Self::VerifyReceipt,
        Self::Jwks,
        Self::AdminProducts,
        Self::AdminProduct,
        Self::ProductStock,
        Self::AdminPromotions,
        Self::AdminPromotion,
        Self::Snapshot,
        Self::Status,
        Self::Audit,
        Self::Config,
        Self::AdminPurchase,
        Self::Refunds,
        Self::Refund,
        Self::Void,
        Self::Settle,
        Self::Reviews,
        Self::ApproveReview,
        Self::RejectReview,
        Self::OpenPayments,
        Self::AdminUser,
        Self::UserPurchases,
        Self::Rewards,
        Self::SpendRewards,
        Self::RiskRules,
        Self::UserPause,
        Self::UserRating,
        Self::SandboxCharges,
        Self::PaymentWebhook,
        Self::StripeWebhook,
        Self::WebhookSecrets,
        Self::WebhookSecret,
        Self::Reconcile,
        Self::Segments,
        Self::AcceptHistory,
        Self::Sinks,
        Self::PauseSink,
        Self::ResumeSink,
        Self::DeadLetters,
        Self::Redrive,
        Self::Live,
        Self::Ready,
        Self::Metrics,
    ];

    /// Its path, as `OpenAPI` writes it.
    pub const fn template(self) -> &'static str {
        match self {
            Self::Holds => "/limited/holds",
            Self::Hold => "/limited/holds/{hold_id}",
            Self::Buy => "/limited/buy",
            Self::Products => "/limited/products",
            Self::Product => "/limited/products/{product_id}",
            Self::Purchase => "/limited/purchases/{purchase_id}",
            Self::Receipt => "/limited/receipts/{receipt_id}",
            Self::VerifyReceipt => "/receipts/verify",
            Self::Jwks => "/.well-known/jwks.json",
            Self::AdminProducts => "/admin/products",
            Self::AdminProduct => "/admin/products/{product_id}",
            Self::ProductStock => "/admin/products/{product_id}/stock",
            Self::AdminPromotions => "/admin/promotions",
            Self::AdminPromotion => "/admin/promotions/{code}",
            Self::Snapshot => "/admin/snapshot",
            Self::Status => "/admin/status",
            Self::Audit => "/admin/audit",
            Self::Config => "/admin/config",
            Self::AdminPurchase => "/admin/purchases/{purchase_id}",
            Self::Refunds => "/admin/purchases/{purchase_id}/refunds",
            Self::Refund => "/admin/purchases/{purchase_id}/refunds/{number}",
            Self::Void => "/admin/purchases/{purchase_id}/void",
            Self::Settle => "/admin/purchases/{purchase_id}/settle",
            Self::Reviews => "/admin/reviews",
            Self::ApproveReview => "/admin/reviews/{purchase_id}/approve",
            Self::RejectReview => "/admin/reviews/{purchase_id}/reject",
            Self::OpenPayments => "/admin/payments",
            Self::AdminUser => "/admin/users/{user_id}",
            Self::UserPurchases => "/admin/users/{user_id}/purchases",
            Self::Rewards => "/limited/rewards/{user_id}",
            Self::SpendRewards => "/limited/rewards/{user_id}/spend",
            Self::RiskRules => "/admin/risk/rules",
            Self::UserPause => "/admin/users/{user_id}/pause",
            Self::UserRating => "/admin/users/{user_id}/rating",
            Self::SandboxCharges => "/admin/sandbox/charges",
            Self::PaymentWebhook => "/webhooks/payment",
            Self::StripeWebhook => "/webhooks/stripe",
            Self::WebhookSecrets => "/admin/webhooks/secrets",
            Self::WebhookSecret => "/admin/webhooks/secrets/{secret_id}",
            Self::Reconcile => "/admin/reconcile",
            Self::Segments => "/admin/segments",
            Self::AcceptHistory => "/admin/history/accept",
            Self::Sinks => "/admin/sinks",
            Self::PauseSink => "/admin/sinks/{name}/pause",
            Self::ResumeSink => "/admin/sinks/{name}/resume",
            Self::DeadLetters => "/admin/dead-letters",
            Self::Redrive => "/admin/dead-letters/redrive",
            Self::Live => "/livez",
            Self::Ready => "/readyz",
            Self::Metrics => "/metrics",
        }
    }

    /// The methods that it takes, as `Allow` says them.
    pub const fn allow(self) -> &'static str {
        match self {
            Self::Holds
            | Self::Buy
            | Self::VerifyReceipt
            | Self::ProductStock
            | Self::Snapshot
            | Self::Void
            | Self::Settle
            | Self::ApproveReview
            | Self::RejectReview
            | Self::AcceptHistory
            | Self::PauseSink
            | Self::ResumeSink
            | Self::Redrive
            | Self::SpendRewards
            | Self::PaymentWebhook
            | Self::StripeWebhook => "POST",
            Self::Refunds | Self::WebhookSecrets | Self::Reconcile | Self::Segments => {
                "GET, HEAD, POST"
            }
            Self::WebhookSecret => "DELETE",
            Self::Hold => "DELETE, GET, HEAD",
            Self::UserPause => "DELETE, POST",
            Self::AdminProduct | Self::AdminPromotion => "GET, HEAD, PATCH, PUT",
            Self::RiskRules | Self::UserRating => "GET, HEAD, PUT",
            Self::Products
            | Self::Product
            | Self::Purchase
            | Self::Receipt
            | Self::Jwks
            | Self::AdminProducts
            | Self::AdminPromotions
            | Self::Status
            | Self::Audit
            | Self::Config
            | Self::AdminPurchase
            | Self::Refund
            | Self::OpenPayments
            | Self::Reviews
            | Self::AdminUser
            | Self::UserPurchases
            | Self::Rewards
            | Self::SandboxCharges
            | Self::Sinks
            | Self::DeadLetters
            | Self::Live
            | Self::Ready
            | Self::Metrics => "GET, HEAD",
        }
    }

    /// The bound on requests under way that it is under.
    pub const fn pool(self) -> Pool {
        match self {
            Self::Live | Self::Ready | Self::Metrics => Pool::Probe,
            Self::VerifyReceipt | Self::Jwks => Pool::Keyless,
            Self::PaymentWebhook | Self::StripeWebhook => Pool::Webhook,
            Self::Holds
            | Self::Hold
            | Self::Buy
            | Self::Products
            | Self::Product
            | Self::Purchase
            | Self::Receipt
            | Self::Rewards
            | Self::SpendRewards => Pool::Shop,
            Self::AdminProducts
            | Self::AdminProduct
            | Self::ProductStock
            | Self::AdminPromotions
            | Self::AdminPromotion
            | Self::Snapshot
            | Self::Status
            | Self::Audit
            | Self::Config
            | Self::AdminPurchase
            | Self::Refunds
            | Self::Refund
            | Self::Void
            | Self::Settle
            | Self::Reviews
            | Self::ApproveReview
            | Self::RejectReview
            | Self::OpenPayments
            | Self::AdminUser
            | Self::UserPurchases
            | Self::RiskRules
            | Self::UserPause
            | Self::UserRating
            | Self::SandboxCharges
            | Self::WebhookSecrets
            | Self::WebhookSecret
            | Self::Reconcile
            | Self::Segments
            | Self::AcceptHistory
            | Self::Sinks
            | Self::PauseSink
            | Self::ResumeSink
            | Self::DeadLetters
            | Self::Redrive => Pool::Admin,
        }
    }

    /// Whether `method` has a body here that is read before anything is done.
    pub fn reads_body(self, method: &Method) -> bool {
        let does_without = matches!(
            self,
            Self::Snapshot | Self::Reconcile | Self::Segments | Self::PauseSink | Self::ResumeSink
        );
        !does_without && matches!(*method, Method::POST | Method::PUT | Method::PATCH)
    }

    /// Whether it takes `method`.
    pub fn takes(self, method: &Method) -> bool {
        self.allow()
            .split(", ")
            .any(|known| known == method.as_str())
    }
}

/// What `method` on `path` asks of its caller, whether or not there is anything.
pub fn access(method: &Method, path: &str) -> Access {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let under = |area: &str| {
        path.strip_prefix(area)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    if under("/limited") {
        if reads {
            Access::ShopRead
        } else {
            Access::Shop
        }
    } else if under("/admin") {
        if reads {
            Access::AdminRead
        } else {
            Access::Admin
        }
    } else if path == "/metrics" {
        Access::Metrics
    } else {
        Access::Open
    }
}

/// Which of the paths a listener serves.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Serves {
    /// All of them.
    All,
    /// Those that are not for administration, because there is a listener for it.
    AllButAdmin,
    /// Administration, metrics and probes.
    Admin,
}

impl Serves {
    /// Whether it serves `path`, which asks for `access`.
    pub fn includes(self, access: Access, path: &str) -> bool {
        let is_admin = matches!(access, Access::Admin | Access::AdminRead | Access::Metrics);
        match self {
            Self::All => true,
            Self::AllButAdmin => !is_admin,
            Self::Admin => is_admin || matches!(path, "/livez" | "/readyz"),
        }
    }
}

/// What is at `path`, with its id; two ids have a slash between them, which none has in itself.
pub fn resolve(path: &str) -> Option<(Resource, Cow<'_, str>)> {
    let plain = |resource| Some((resource, Cow::Borrowed("")));
    match path {
        "/limited/holds" => return plain(Resource::Holds),
        "/limited/buy" => return plain(Resource::Buy),
        "/limited/products" => return plain(Resource::Products),
        "/receipts/verify" => return plain(Resource::VerifyReceipt),
        "/.well-known/jwks.json" => return plain(Resource::Jwks),
        "/admin/products" => return plain(Resource::AdminProducts),
        "/admin/promotions" => return plain(Resource::AdminPromotions),
        "/admin/snapshot" => return plain(Resource::Snapshot),
        "/admin/status" => return plain(Resource::Status),
        "/admin/audit" => return plain(Resource::Audit),
        "/admin/config" => return plain(Resource::Config),
        "/admin/payments" => return plain(Resource::OpenPayments),
        "/admin/reviews" => return plain(Resource::Reviews),
        "/admin/risk/rules" => return plain(Resource::RiskRules),
        "/admin/sandbox/charges" => return plain(Resource::SandboxCharges),
        "/webhooks/payment" => return plain(Resource::PaymentWebhook),
        "/webhooks/stripe" => return plain(Resource::StripeWebhook),
        "/admin/webhooks/secrets" => return plain(Resource::WebhookSecrets),
        "/admin/reconcile" => return plain(Resource::Reconcile),
        "/admin/segments" => return plain(Resource::Segments),
        "/admin/history/accept" => return plain(Resource::AcceptHistory),
        "/admin/sinks" => return plain(Resource::Sinks),
        "/admin/dead-letters" => return plain(Resource::DeadLetters),
        "/admin/dead-letters/redrive" => return plain(Resource::Redrive),
        "/livez" => return plain(Resource::Live),
        "/readyz" => return plain(Resource::Ready),
        "/metrics" => return plain(Resource::Metrics),
        _ => {}
    }
    if let Some(found) = beneath(path) {
        return Some(found);
    }
    let (parent, id) = path.rsplit_once('/')?;
    let resource = match parent {
        "/limited/holds" => Resource::Hold,
        "/limited/products" => Resource::Product,
        "/limited/purchases" => Resource::Purchase,
        "/limited/receipts" => Resource::Receipt,
        "/admin/products" => Resource::AdminProduct,
        "/admin/promotions" => Resource::AdminPromotion,
        "/admin/purchases" => Resource::AdminPurchase,
        "/admin/users" => Resource::AdminUser,
        "/limited/rewards" => Resource::Rewards,
        "/admin/webhooks/secrets" => Resource::WebhookSecret,
        _ => return None,
    };
    (!id.is_empty()).then_some(())?;
    Some((resource, decoded(id)?))
}

/// What lies beneath one product, one purchase, one buyer or one sink.
fn beneath(path: &str) -> Option<(Resource, Cow<'_, str>)> {
    if let Some(rest) = path.strip_prefix("/limited/rewards/") {
        return Some((Resource::SpendRewards, alone(rest.strip_suffix("/spend")?)?));
    }
    if let Some(rest) = path.strip_prefix("/admin/products/") {
        return Some((Resource::ProductStock, alone(rest.strip_suffix("/stock")?)?));
    }
    if let Some(rest) = path.strip_prefix("/admin/reviews/") {
        let (id, verdict) = rest.split_once('/')?;
        let resource = match verdict {
            "approve" => Resource::ApproveReview,
            "reject" => Resource::RejectReview,
            _ => return None,
        };
        return Some((resource, alone(id)?));
    }
    if let Some(rest) = path.strip_prefix("/admin/users/") {
        let (id, below) = rest.split_once('/')?;
        return match below {
            "pause" => Some((Resource::UserPause, alone(id)?)),
            "rating" => Some((Resource::UserRating, alone(id)?)),
            "purchases" => Some((Resource::UserPurchases, alone(id)?)),
            _ => None,
        };
    }
    if let Some(rest) = path.strip_prefix("/admin/sinks/") {
        let (name, below) = rest.split_once('/')?;
        return match below {
            "pause" => Some((Resource::PauseSink, alone(name)?)),
            "resume" => Some((Resource::ResumeSink, alone(name)?)),
            _ => None,
        };
    }
    let (id, below) = path.strip_prefix("/admin/purchases/")?.split_once('/')?;
    match below {
        "refunds" => Some((Resource::Refunds, alone(id)?)),
        "void" => Some((Resource::Void, alone(id)?)),
        "settle" => Some((Resource::Settle, alone(id)?)),
        _ => {
            let number = alone(below.strip_prefix("refunds/")?)?;
            let ids = format!("{}/{number}", alone(id)?);
            Some((Resource::Refund, Cow::Owned(ids)))
        }
    }
}

/// One part of a path.
fn alone(part: &str) -> Option<Cow<'_, str>> {
    (!part.is_empty() && !part.contains('/')).then_some(())?;
    decoded(part)
}

/// `text` with each `%41` made the byte it stands for; `None` where that is no text.
pub fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, after @ ..] = rest {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let mut byte = [0];
            hex::decode_to_slice(digits, &mut byte).ok()?;
            bytes.push(byte[0]);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_resolves_to_its_resource_and_unknown_paths_to_none() {
        for resource in Resource::ALL.iter().copied() {
            let template = resource.template();
            let is_id = |part: &&str| part.starts_with('{');
            let ids = template.split('/').filter(is_id).count();
            let parts = template.split('/');
            let parts = parts.map(|part| if is_id(&part) { "a%3Ab" } else { part });
            let path = parts.collect::<Vec<_>>().join("/");
            let wanted = vec!["a:b"; ids].join("/");
            assert_eq!(
                resolve(&path),
                Some((resource, Cow::Borrowed(wanted.as_str()))),
                "{path}"
            );
        }
        for path in [
            "/",
            "",
            "/limited",
            "/limited/holds/",
            "/limited/holds/a/b",
            "/admin/purchases//refunds",
            "/admin/purchases/a/refunds/",
            "/admin/purchases/a/refunds/1/2",
            "/admin/purchases/a/b/void",
            "/admin/purchases/a/b",
            "/limited/rewards//spend",
            "/limited/rewards/a/b/spend",
            "/admin/products/%zz",
            "/limited/holds/%ff",
        ] {
            assert_eq!(resolve(path), None, "{path}");
        }
    }
}
