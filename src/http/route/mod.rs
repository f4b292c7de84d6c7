//! Owns the table of routes: method and path, the kind of client, the role in the audit trail,
//! metrics and limits, and the handler.
//!
//! Invariant: this is the only list of routes. Dispatch, `Allow`, roles, pools and acts follow from
//! it; `docs/openapi.yaml` has exactly these routes, which a test checks. A new route is one line
//! in [`routes!`] and its handler. Deliberately absent: what the handlers do.

mod groups;
mod matching;

pub(super) use groups::Groups;
pub use matching::{RouteMatch, resolve};

use crate::engine::command::Verdict;
use crate::engine::event::{Act, Flow};
use crate::http::admin::operator::own_key;
use crate::http::call::Call;
use crate::http::call::auth::Access;
use crate::http::call::worker::LogUse;
use crate::http::ops::console;
use crate::http::ops::probes::live;
use crate::http::wire::answer::Answer;
use crate::report::feed::Mode;
use crate::telemetry::metrics::Pool;
use crate::telemetry::requests::ServedRoute;
use crate::webhooks::Endpoint;
use RouteRole::{Acts, ActsAndCounts, Counts, Plain};
use hyper::Method;
use hyper::body::{Body, Incoming};
use matching::Template;

/// The kind of client of a route. It determines the pool and the key.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Who {
    /// A shop, with its key. Admin keys may read.
    Shop,
    /// An administrator, with a key. Auditor keys may read.
    Admin,
    /// A monitoring system; with a key if any key has that role.
    Metrics,
    /// A probe, without a key.
    Probe,
    /// An operator's browser, which loads the console; its requests to other routes carry the key.
    Console,
    /// A gateway, with a signature.
    Gateway,
    Anyone,
}

impl Who {
    /// The access that `method` needs.
    pub fn access(self, method: &Method) -> Access {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        match (self, reads) {
            (Self::Shop, true) => Access::ShopRead,
            (Self::Shop, false) => Access::Shop,
            (Self::Admin, true) => Access::AdminRead,
            (Self::Admin, false) => Access::Admin,
            (Self::Metrics, _) => Access::Metrics,
            (Self::Probe | Self::Console | Self::Gateway | Self::Anyone, _) => Access::Open,
        }
    }

    /// The kind of client for an unknown `path`: that of its area.
    pub fn of_area(path: &str) -> Self {
        let under = |area: &str| {
            path.strip_prefix(area)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        if under("/limited") || under("/events") {
            Self::Shop
        } else if under("/admin") {
            Self::Admin
        } else {
            Self::Anyone
        }
    }

    const fn pool(self) -> Pool {
        match self {
            Self::Shop => Pool::Shop,
            Self::Admin => Pool::Admin,
            // The console's files are fixed, so they are served like probes, when the shop's places are
            // full, too.
            Self::Metrics | Self::Probe | Self::Console => Pool::Probe,
            Self::Gateway => Pool::Webhook,
            Self::Anyone => Pool::Keyless,
        }
    }
}

/// The role of a route in the audit trail and the metrics.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum RouteRole {
    /// Neither.
    Plain,
    /// An attempt, counted by its flow. Those by a shop or an operator need an idempotency key
    /// (`call::attempt`).
    Counts(Flow),
    /// An administrative act.
    Acts(Act),
    /// Both.
    ActsAndCounts(Act, Flow),
}

/// Whether a body is read before the handler acts.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Reads {
    Body,
    Nothing,
}

/// A method that a route may have; `HEAD` goes with `GET`.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::upper_case_acronyms,
    reason = "the table writes methods as HTTP does"
)]
enum Verb {
    GET,
    POST,
    PUT,
    PATCH,
    DELETE,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::GET => "GET",
            Self::POST => "POST",
            Self::PUT => "PUT",
            Self::PATCH => "PATCH",
            Self::DELETE => "DELETE",
        }
    }

    fn takes(self, method: &Method) -> bool {
        method.as_str() == self.as_str() || self == Self::GET && *method == Method::HEAD
    }
}

/// One line of the table.
struct RouteRow {
    verb: Verb,
    path: Template,
    who: Who,
    what: RouteRole,
    reads: Reads,
}

/// Builds the table: the enumeration of routes, their properties and their handlers.
macro_rules! routes {
    (($to:ident, $call:ident, $body:ident)
     $($name:ident: $verb:ident $path:literal, $who:ident, $what:expr, $reads:ident $($hot:ident)? => $answer:expr;)*) => {
        /// One of the routes: a method at a path.
        #[derive(Copy, Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "its line in the table says what it is")]
        pub enum Route { $($name),* }

        impl Route {
            /// All routes; those of one path are adjacent.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];
        }

        const ROWS: &[RouteRow] = &[$(RouteRow {
            verb: Verb::$verb,
            path: Template::new($path),
            who: Who::$who,
            what: $what,
            reads: Reads::$reads,
        }),*];

        impl Groups {
            /// Has the route's handler answer. What it reads takes its slot with its body.
            pub(in crate::http) async fn answer(
                &self,
                route: Route,
                $call: Call,
                $body: Incoming,
            ) -> Answer {
                let $to = self;
                match route {
                    $(Route::$name => answer!($($hot)? route, $to, $call, $body, $answer),)*
                }
            }
        }
    };
}

/// The answer of a handler. Every handler that is not `Hot` has its future boxed: the future of all
/// answers is as large as the largest one in it, and hyper moves it for each request.
macro_rules! answer {
    (Hot $route:expr, $to:ident, $call:ident, $body:ident, $answer:expr) => {
        $answer
    };
    ($route:expr, $to:ident, $call:ident, $body:ident, $answer:expr) => {
        Box::pin(async move {
            // Take a slot only once the body has begun: a sender that withholds it must not block others.
            let waits_for_body = !$body.is_end_stream() && $route.reads_body();
            if !waits_for_body && let Err(reason) = $to.worker.enter(&$call.slot).await {
                return $call.problem(reason);
            }
            $answer
        })
        .await
    };
}

// The most frequent routes first.
#[rustfmt::skip]
routes! { (to, call, body)
    Buy:            POST   "/limited/buy",                          Shop,    Counts(Flow::Buy),                     Body Hot => to.buying.buy(&call, body).await;
    PlaceHold:      POST   "/limited/holds",                        Shop,    Counts(Flow::Hold),                    Body Hot => to.buying.place_hold(&call, body).await;
    Hold:           GET    "/limited/holds/{hold_id}",              Shop,    Plain,                                 Nothing => to.shop_reads.hold(call).await;
    ReleaseHold:    DELETE "/limited/holds/{hold_id}",              Shop,    Plain,                                 Nothing => to.buying.release_hold(call).await;
    Purchase:       GET    "/limited/purchases/{purchase_id}",      Shop,    Plain,                                 Nothing => to.shop_reads.purchase(call).await;
    Product:        GET    "/limited/products/{product_id}",        Shop,    Plain,                                 Nothing => to.shop_reads.product(call).await;
    Products:       GET    "/limited/products",                     Shop,    Plain,                                 Nothing => to.shop_reads.products(call).await;
    Receipt:        GET    "/limited/receipts/{receipt_id}",        Shop,    Plain,                                 Nothing => to.receipts.receipt(call).await;
    Rewards:        GET    "/limited/rewards/{user_id}",            Shop,    Plain,                                 Nothing => to.rewards.balance(call).await;
    SpendRewards:   POST   "/limited/rewards/{user_id}/spend",      Shop,    Counts(Flow::Reward),                  Body    => to.rewards.spend(call, body).await;

    Events:         GET    "/events",                               Shop,    Plain,                                 Nothing => to.events.list(call).await;

    VerifyReceipt:  POST   "/receipts/verify",                      Anyone,  Plain,                                 Body    => to.receipts.verify(call, body).await;
    Jwks:           GET    "/.well-known/jwks.json",                Anyone,  Plain,                                 Nothing => to.receipts.jwks();

    PaymentWebhook: POST   "/webhooks/payment",                     Gateway, Counts(Flow::Webhook),                 Body    => to.webhooks.receive(call, body, Endpoint::Payment).await;
    StripeWebhook:  POST   "/webhooks/stripe",                      Gateway, Counts(Flow::Webhook),                 Body    => to.webhooks.receive(call, body, Endpoint::Stripe).await;

    Live:           GET    "/livez",                                Probe,   Plain,                                 Nothing => live();
    Ready:          GET    "/readyz",                               Probe,   Plain,                                 Nothing => to.probes.ready();
    Metrics:        GET    "/metrics",                              Metrics, Plain,                                 Nothing => to.scrape.answer(call).await;

    Console:        GET    "/console",                              Console, Plain,                                 Nothing => console::page(&call);
    ConsoleSlash:   GET    "/console/",                             Console, Plain,                                 Nothing => console::without_slash();
    ConsoleFile:    GET    "/console/{file}",                       Console, Plain,                                 Nothing => console::file(&call);

    AdminKey:       GET    "/admin/key",                            Admin,   Plain,                                 Nothing => own_key(&call);
    AdminProducts:  GET    "/admin/products",                       Admin,   Plain,                                 Nothing => to.catalogue.products(call).await;
    AdminProduct:   GET    "/admin/products/{product_id}",          Admin,   Plain,                                 Nothing => to.catalogue.product(call).await;
    PutProduct:     PUT    "/admin/products/{product_id}",          Admin,   Acts(Act::ProductSet),                 Body    => to.catalogue.set_product(call, body).await;
    PatchProduct:   PATCH  "/admin/products/{product_id}",          Admin,   Acts(Act::ProductSet),                 Body    => to.catalogue.set_product(call, body).await;
    AddStock:       POST   "/admin/products/{product_id}/stock",    Admin,   Acts(Act::StockChanged),               Body    => to.catalogue.add_stock(call, body).await;
    Promotions:     GET    "/admin/promotions",                     Admin,   Plain,                                 Nothing => to.catalogue.promotions(call).await;
    Promotion:      GET    "/admin/promotions/{code}",              Admin,   Plain,                                 Nothing => to.catalogue.promotion(call).await;
    PutPromotion:   PUT    "/admin/promotions/{code}",              Admin,   Acts(Act::PromotionSet),               Body    => to.catalogue.set_promotion(call, body).await;
    PatchPromotion: PATCH  "/admin/promotions/{code}",              Admin,   Acts(Act::PromotionSet),               Body    => to.catalogue.set_promotion(call, body).await;

    AdminPurchase:  GET    "/admin/purchases/{purchase_id}",        Admin,   Plain,                                 Nothing => to.inquiries.purchase(call).await;
    Refunds:        GET    "/admin/purchases/{purchase_id}/refunds", Admin,  Plain,                                 Nothing => to.refunds.list(call).await;
    StartRefund:    POST   "/admin/purchases/{purchase_id}/refunds", Admin,  ActsAndCounts(Act::Refund, Flow::Refund), Body => to.refunds.start(call, body).await;
    Refund:         GET    "/admin/purchases/{purchase_id}/refunds/{number}", Admin, Plain,                         Nothing => to.refunds.one(call).await;
    Void:           POST   "/admin/purchases/{purchase_id}/void",   Admin,   Acts(Act::Void),                       Body    => to.voids.void(call, body).await;
    Settle:         POST   "/admin/purchases/{purchase_id}/settle", Admin,   Acts(Act::Settle),                     Body    => to.settlements.settle(call, body).await;
    OpenPayments:   GET    "/admin/payments",                       Admin,   Plain,                                 Nothing => to.inquiries.open_payments(call).await;
    Disputes:       GET    "/admin/disputes",                       Admin,   Plain,                                 Nothing => to.inquiries.disputes(call).await;
    Reviews:        GET    "/admin/reviews",                        Admin,   Plain,                                 Nothing => to.reviews.list(call).await;
    ApproveReview:  POST   "/admin/reviews/{purchase_id}/approve",  Admin,   Acts(Act::ReviewApproved),             Body    => to.reviews.decide(call, body, Verdict::Approve).await;
    RejectReview:   POST   "/admin/reviews/{purchase_id}/reject",   Admin,   Acts(Act::ReviewRejected),             Body    => to.reviews.decide(call, body, Verdict::Reject).await;

    User:           GET    "/admin/users/{user_id}",                Admin,   Plain,                                 Nothing => to.inquiries.user(call).await;
    UserPurchases:  GET    "/admin/users/{user_id}/purchases",      Admin,   Plain,                                 Nothing => to.inquiries.user_purchases(call).await;
    PauseUser:      POST   "/admin/users/{user_id}/pause",          Admin,   Acts(Act::BuyerPaused),                Body    => to.risk.pause(call, body).await;
    UnpauseUser:    DELETE "/admin/users/{user_id}/pause",          Admin,   Acts(Act::BuyerUnpaused),              Nothing => to.risk.unpause(call).await;
    UserRating:     GET    "/admin/users/{user_id}/rating",         Admin,   Plain,                                 Nothing => to.risk.rating(call).await;
    RateUser:       PUT    "/admin/users/{user_id}/rating",         Admin,   Acts(Act::BuyerRated),                 Body    => to.risk.rate(call, body).await;
    RiskRules:      GET    "/admin/risk/rules",                     Admin,   Plain,                                 Nothing => to.risk.rules(call).await;
    SetRiskRules:   PUT    "/admin/risk/rules",                     Admin,   Acts(Act::RiskRulesSet),               Body    => to.risk.set_rules(call, body).await;

    Sinks:          GET    "/admin/sinks",                          Admin,   Plain,                                 Nothing => to.sinks.list();
    PauseSink:      POST   "/admin/sinks/{name}/pause",             Admin,   Acts(Act::SinkPaused),                 Nothing => to.sinks.set(call, Mode::Paused).await;
    ResumeSink:     POST   "/admin/sinks/{name}/resume",            Admin,   Acts(Act::SinkResumed),                Nothing => to.sinks.set(call, Mode::Run).await;
    TestSink:       POST   "/admin/sinks/{name}/test",              Admin,   Acts(Act::WebhookTested),              Nothing => to.endpoints.test(call).await;
    Deliveries:     GET    "/admin/sinks/{name}/deliveries",        Admin,   Plain,                                 Nothing => to.endpoints.deliveries(&call);
    DeadLetters:    GET    "/admin/dead-letters",                   Admin,   Plain,                                 Nothing => to.sinks.dead_letters(call).await;
    Redrive:        POST   "/admin/dead-letters/redrive",           Admin,   Acts(Act::DeadLettersRedriven),        Body    => to.sinks.redrive(call, body).await;
    WebhookSecrets: GET    "/admin/webhooks/secrets",               Admin,   Plain,                                 Nothing => to.webhook_secrets.list();
    AddWebhookSecret: POST "/admin/webhooks/secrets",               Admin,   Acts(Act::WebhookSecretAdded),         Body    => to.webhook_secrets.add(call, body).await;
    RetireWebhookSecret: DELETE "/admin/webhooks/secrets/{secret_id}", Admin, Acts(Act::WebhookSecretRetired),      Nothing => to.webhook_secrets.retire(call).await;
    Reconciliation: GET    "/admin/reconcile",                      Admin,   Plain,                                 Nothing => to.reconciliation.runs();
    Reconcile:      POST   "/admin/reconcile",                      Admin,   Acts(Act::Reconcile),                  Nothing => to.reconciliation.ask(call).await;
    Segments:       GET    "/admin/segments",                       Admin,   Plain,                                 Nothing => to.segments.runs();
    RefreshSegments: POST  "/admin/segments",                       Admin,   Acts(Act::SegmentsRefreshed),          Nothing => to.segments.ask(call).await;
    SandboxCharges: GET    "/admin/sandbox/charges",                Admin,   Plain,                                 Nothing => to.sandbox.list(&call);

    AcceptHistory:  POST   "/admin/history/accept",                 Admin,   Acts(Act::HistoryAccepted),            Body    => to.histories.accept(call, body).await;
    Snapshot:       POST   "/admin/snapshot",                       Admin,   Acts(Act::Snapshot),                   Nothing => to.operator.snapshot(call).await;
    Audit:          GET    "/admin/audit",                          Admin,   Plain,                                 Nothing => to.operator.audit(call).await;
    Config:         GET    "/admin/config",                         Admin,   Plain,                                 Nothing => to.operator.config();
    Status:         GET    "/admin/status",                         Admin,   Plain,                                 Nothing => to.status.show(call).await;
}

/// Methods of requests that no route takes.
const OTHER_METHODS: [&str; 8] = [
    "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "_OTHER",
];

/// What metrics tell apart: each route, and what no route takes by its method.
pub fn served() -> Vec<ServedRoute> {
    let routes = Route::ALL.iter().map(|it| ServedRoute {
        method: it.method(),
        route: Some(it.template()),
    });
    let others = OTHER_METHODS.iter().map(|method| ServedRoute {
        method,
        route: None,
    });
    routes.chain(others).collect()
}

/// The place in [`served`] of a request by `method`; `route` is what takes it.
pub(super) fn served_place(route: Option<Route>, method: &Method) -> usize {
    match route {
        // A `GET` route also takes `HEAD`, which is another series.
        Some(route) if *method != Method::HEAD => route as usize,
        _ => {
            let others = OTHER_METHODS.iter();
            let known = others.take_while(|it| **it != method.as_str()).count();
            Route::ALL.len() + known.min(OTHER_METHODS.len() - 1)
        }
    }
}

impl Route {
    const fn row(self) -> &'static RouteRow {
        &ROWS[self as usize]
    }

    /// Its method; `GET` routes also accept `HEAD`.
    pub const fn method(self) -> &'static str {
        self.row().verb.as_str()
    }

    /// Its path as in `OpenAPI`.
    pub const fn template(self) -> &'static str {
        self.row().path.text()
    }

    pub const fn who(self) -> Who {
        self.row().who
    }

    /// Its pool of requests in flight.
    pub(super) const fn pool(self) -> Pool {
        self.row().who.pool()
    }

    /// Whether it appends to the log, even if only a refusal.
    pub(super) fn log_use(self) -> LogUse {
        let row = self.row();
        match row.who {
            Who::Shop | Who::Admin | Who::Gateway if row.verb != Verb::GET => LogUse::Appends,
            Who::Shop
            | Who::Admin
            | Who::Gateway
            | Who::Metrics
            | Who::Probe
            | Who::Console
            | Who::Anyone => LogUse::ReadsOnly,
        }
    }

    /// Whether its body is read before the handler acts.
    pub(super) fn reads_body(self) -> bool {
        self.row().reads == Reads::Body
    }

    /// Its administrative act, if it is one.
    pub(super) const fn act(self) -> Option<Act> {
        match self.row().what {
            Acts(act) | ActsAndCounts(act, _) => Some(act),
            Plain | Counts(_) => None,
        }
    }

    /// Its flow, if it is an attempt.
    pub(super) const fn flow(self) -> Option<Flow> {
        match self.row().what {
            Counts(flow) | ActsAndCounts(_, flow) => Some(flow),
            Plain | Acts(_) => None,
        }
    }
}

/// Which of the routes a listener serves.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Serves {
    All,
    /// All except administration, which has its own listener.
    AllButAdmin,
    /// Administration, its console, metrics and probes.
    Admin,
}

impl Serves {
    /// Whether it serves routes for `who`.
    pub const fn includes(self, who: Who) -> bool {
        match (self, who) {
            (Self::All, _)
            | (Self::AllButAdmin, Who::Shop | Who::Probe | Who::Gateway | Who::Anyone)
            | (Self::Admin, Who::Admin | Who::Console | Who::Metrics | Who::Probe) => true,
            (Self::AllButAdmin, Who::Admin | Who::Console | Who::Metrics)
            | (Self::Admin, Who::Shop | Who::Gateway | Who::Anyone) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writing_under_admin_is_an_act_and_nothing_else_is() {
        for route in Route::ALL.iter().copied() {
            let admin = route.template().starts_with("/admin/");
            let acts = admin && route.method() != "GET";
            assert_eq!(route.act().is_some(), acts, "{route:?}");
        }
    }

    #[test]
    fn who_may_ask_for_a_route_may_ask_for_what_is_beside_it() {
        for route in Route::ALL.iter().copied() {
            let pool = |who: Who| match who {
                Who::Shop | Who::Admin => who,
                Who::Metrics | Who::Probe | Who::Console | Who::Gateway | Who::Anyone => {
                    Who::Anyone
                }
            };
            let area = Who::of_area(route.template());
            assert_eq!(pool(route.who()), area, "{route:?}");
        }
    }

    #[test]
    fn what_is_read_has_no_body() {
        for route in Route::ALL.iter().copied() {
            let bare = ["GET", "DELETE"].contains(&route.method());
            assert!(!(bare && route.reads_body()), "{route:?}");
        }
    }
}
