//! Owns the handlers of one thread, each group with only what it needs.

use crate::http::admin::catalogue::CatalogueCalls;
use crate::http::admin::endpoints::EndpointCalls;
use crate::http::admin::history::Histories;
use crate::http::admin::inquiries::Inquiries;
use crate::http::admin::operator::Operator;
use crate::http::admin::reconcile::Reconciliation;
use crate::http::admin::refunds::Refunds;
use crate::http::admin::reviews::Reviews;
use crate::http::admin::risk::RiskCalls;
use crate::http::admin::sandbox::SandboxCharges;
use crate::http::admin::segments::Segments;
use crate::http::admin::settle::Settlements;
use crate::http::admin::sinks::SinkCalls;
use crate::http::admin::status::StatusCall;
use crate::http::admin::voids::Voids;
use crate::http::admin::webhook_secrets::WebhookSecrets;
use crate::http::call::worker::Worker;
use crate::http::core::Core;
use crate::http::hooks::webhooks::Webhooks;
use crate::http::ops::metrics::Scrape;
use crate::http::ops::probes::ProbeCalls;
use crate::http::shop::buying::Buying;
use crate::http::shop::events::ShopEvents;
use crate::http::shop::purchases::PurchaseLookup;
use crate::http::shop::reads::ShopReads;
use crate::http::shop::receipts::Receipts;
use crate::http::shop::rewards::Rewards;
use std::sync::Arc;

/// The handlers of one thread.
pub struct Groups {
    pub(super) worker: Arc<Worker>,
    pub(super) buying: Buying,
    pub(super) shop_reads: ShopReads,
    pub(super) events: ShopEvents,
    pub(super) receipts: Receipts,
    pub(super) rewards: Rewards,
    pub(super) webhooks: Webhooks,
    pub(super) probes: ProbeCalls,
    pub(super) scrape: Arc<Scrape>,
    pub(super) catalogue: CatalogueCalls,
    pub(super) inquiries: Inquiries,
    pub(super) refunds: Refunds,
    pub(super) voids: Voids,
    pub(super) settlements: Settlements,
    pub(super) reviews: Reviews,
    pub(super) risk: RiskCalls,
    pub(super) sinks: SinkCalls,
    pub(super) endpoints: EndpointCalls,
    pub(super) webhook_secrets: WebhookSecrets,
    pub(super) reconciliation: Reconciliation,
    pub(super) segments: Segments,
    pub(super) sandbox: SandboxCharges,
    pub(super) histories: Histories,
    pub(super) operator: Operator,
    pub(super) status: StatusCall,
}

impl Groups {
    /// The handlers of the thread of `worker`.
    #[allow(
        clippy::too_many_lines,
        reason = "one list: each group with what it needs"
    )]
    pub(in crate::http) fn new(core: &Core, worker: &Arc<Worker>) -> Self {
        let worker = || Arc::clone(worker);
        let payments = || Arc::clone(&core.payments);
        let readiness = || Arc::clone(&core.readiness);
        let reconciler = || Arc::clone(&core.reconciler);
        let sinks = || Arc::clone(&core.sinks);
        let answer_within = core.answer_within;
        let purchases = Arc::new(PurchaseLookup {
            worker: worker(),
            sealer: Arc::clone(&core.sealer),
            payments: payments(),
            answer_within,
        });
        let purchases = || Arc::clone(&purchases);
        Self {
            worker: worker(),
            buying: Buying {
                worker: worker(),
                payments: payments(),
                purchases: purchases(),
                currencies: core.currencies.clone(),
                answer_within,
            },
            shop_reads: ShopReads {
                worker: worker(),
                purchases: purchases(),
            },
            events: {
                let readiness = readiness();
                ShopEvents::new(worker(), Box::new(move || readiness.is_stopping()))
            },
            receipts: Receipts {
                worker: worker(),
                sealer: Arc::clone(&core.sealer),
                purchases: purchases(),
            },
            rewards: Rewards { worker: worker() },
            webhooks: Webhooks {
                worker: worker(),
                payments: payments(),
                desk: Arc::clone(&core.webhooks),
            },
            probes: ProbeCalls {
                readiness: readiness(),
            },
            scrape: core.scrape(),
            catalogue: CatalogueCalls {
                worker: worker(),
                currencies: core.currencies.clone(),
            },
            inquiries: Inquiries {
                worker: worker(),
                purchases: purchases(),
            },
            refunds: Refunds {
                worker: worker(),
                payments: payments(),
                answer_within,
            },
            voids: Voids {
                worker: worker(),
                payments: payments(),
                purchases: purchases(),
            },
            settlements: Settlements {
                worker: worker(),
                payments: payments(),
                purchases: purchases(),
            },
            reviews: Reviews {
                worker: worker(),
                payments: payments(),
                purchases: purchases(),
            },
            risk: RiskCalls { worker: worker() },
            sinks: SinkCalls {
                worker: worker(),
                sinks: sinks(),
                endpoints: core.endpoints.clone(),
            },
            endpoints: EndpointCalls {
                worker: worker(),
                endpoints: core.endpoints.clone(),
            },
            webhook_secrets: WebhookSecrets {
                worker: worker(),
                secrets: Arc::clone(&core.webhook_secrets),
            },
            reconciliation: Reconciliation {
                worker: worker(),
                reconciler: reconciler(),
            },
            segments: Segments {
                worker: worker(),
                segments: core.segments.clone(),
            },
            sandbox: SandboxCharges {
                sandbox: core.sandbox.clone(),
            },
            histories: Histories {
                worker: worker(),
                reconciler: reconciler(),
                sinks: sinks(),
                accepting: Arc::clone(&core.accepting),
            },
            operator: Operator {
                worker: worker(),
                config_shown: Arc::clone(&core.config_shown),
            },
            status: StatusCall {
                worker: worker(),
                readiness: readiness(),
                payments: payments(),
                sinks: sinks(),
                reconciler: reconciler(),
                backup: core.backup.clone(),
                metrics: Arc::clone(&core.metrics),
                reports: Arc::clone(&core.reports),
            },
        }
    }
}
