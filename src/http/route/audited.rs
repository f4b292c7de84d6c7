//! Owns what every administrative act goes through: what it is called in the audit trail, and the
//! event that it leaves there.
//!
//! Invariants: every path under `/admin` that writes is an act ([`act_of`] names every resource, and
//! must be told of a new one); an act that is answered with success has left one [`AdminActed`],
//! in the append of what it changed where there is such a thing, and every other one an
//! [`AdminRefused`], both durable before the answer; refusals beyond `audit.refusals_per_s` of a key
//! are counted and not written down. Only known keys reach the trail. No secret is in it, and what
//! looks like a card number is shown as `***`.
//! Deliberately absent: what the acts do.

use super::Resource;
use super::auth::{Access, Caller};
use crate::config::Role;
use crate::engine::event::{Act, Actor, ActorRole, AdminActed, AdminRefused, Shown, Target};
use crate::engine::refusal::Refusal;
use crate::http::front::{Call, Front};
use crate::http::wire::answer::{Answer, IDEMPOTENT_REPLAYED};
use crate::http::wire::problem::{Reason, problem};
use crate::ids::{RequestId, holds_card_number};
use hyper::Method;
use hyper::body::Incoming;
use hyper::http::request::Parts;
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The act that writing with `method` at `resource` is.
fn act_of(resource: Resource, method: &Method) -> Option<Act> {
    match resource {
        Resource::AdminProduct => Some(Act::ProductSet),
        Resource::ProductStock => Some(Act::StockChanged),
        Resource::AdminPromotion => Some(Act::PromotionSet),
        Resource::Snapshot => Some(Act::Snapshot),
        Resource::Refunds => Some(Act::Refund),
        Resource::Void => Some(Act::Void),
        Resource::Settle => Some(Act::Settle),
        Resource::WebhookSecrets => Some(Act::WebhookSecretAdded),
        Resource::WebhookSecret => Some(Act::WebhookSecretRetired),
        Resource::Reconcile => Some(Act::Reconcile),
        Resource::Segments => Some(Act::SegmentsRefreshed),
        Resource::ApproveReview => Some(Act::ReviewApproved),
        Resource::RejectReview => Some(Act::ReviewRejected),
        Resource::AcceptHistory => Some(Act::HistoryAccepted),
        Resource::PauseSink => Some(Act::SinkPaused),
        Resource::ResumeSink => Some(Act::SinkResumed),
        Resource::Redrive => Some(Act::DeadLettersRedriven),
        Resource::RiskRules => Some(Act::RiskRulesSet),
        Resource::UserPause if *method == Method::DELETE => Some(Act::BuyerUnpaused),
        Resource::UserPause => Some(Act::BuyerPaused),
        Resource::UserRating => Some(Act::BuyerRated),
        Resource::Holds
        | Resource::Hold
        | Resource::Buy
        | Resource::Products
        | Resource::Product
        | Resource::Purchase
        | Resource::Receipt
        | Resource::VerifyReceipt
        | Resource::Jwks
        | Resource::AdminProducts
        | Resource::AdminPromotions
        | Resource::Status
        | Resource::Audit
        | Resource::Config
        | Resource::AdminPurchase
        | Resource::Refund
        | Resource::OpenPayments
        | Resource::AdminUser
        | Resource::UserPurchases
        | Resource::Reviews
        | Resource::Sinks
        | Resource::DeadLetters
        | Resource::Rewards
        | Resource::SpendRewards
        | Resource::SandboxCharges
        | Resource::PaymentWebhook
        | Resource::StripeWebhook
        | Resource::Live
        | Resource::Ready
        | Resource::Metrics => None,
    }
}

/// An act on its way through its call.
pub(in crate::http) struct Acting {
    act: Act,
    actor: Actor,
    described: AtomicBool,
}

impl Acting {
    /// The act at `resource`; `None` where `method` only reads, or nobody acts there.
    pub(in crate::http) fn at(
        resource: Resource,
        method: &Method,
        caller: Option<&Caller>,
        id: RequestId,
    ) -> Option<Arc<Self>> {
        if matches!(*method, Method::GET | Method::HEAD) {
            return None;
        }
        Some(Arc::new(Self {
            act: act_of(resource, method)?,
            actor: actor(caller?, id),
            described: AtomicBool::new(false),
        }))
    }

    /// The event of this act, to be appended with what it changes.
    pub(in crate::http) fn acted(
        &self,
        target: Option<&str>,
        before: Option<&Value>,
        after: Option<&Value>,
    ) -> AdminActed {
        self.described.store(true, Ordering::Relaxed);
        AdminActed {
            act: self.act.as_str().to_owned(),
            target: target.and_then(Target::parse),
            before: before.map(shown),
            after: after.map(shown),
            by: self.actor.clone(),
        }
    }
}

impl Front {
    /// Sends `call` on its way. Where it is an act, it is in the trail before this returns, and goes
    /// on where whoever asked is gone: what the trail says was done is done.
    pub(in crate::http) async fn audited(
        self: &Arc<Self>,
        resource: Resource,
        call: Call,
        body: Incoming,
    ) -> Answer {
        let Some(acting) = call.acting.clone() else {
            return self.dispatch(resource, call, body).await;
        };
        let (front, id) = (Arc::clone(self), call.id);
        let doing = tokio::spawn(async move { front.act(&acting, resource, call, body).await });
        match doing.await {
            Ok(answer) => answer,
            Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            // The process ends.
            Err(_) => problem(Reason::NotReady, id),
        }
    }

    async fn act(&self, acting: &Acting, resource: Resource, call: Call, body: Incoming) -> Answer {
        let target = Target::parse(&call.param);
        let answer = self.dispatch(resource, call, body).await;
        if let Some(reason) = answer.reason() {
            let by = acting.actor.clone();
            self.refused_act(acting.act, target, reason, by).await;
            return answer;
        }
        let mut headers = answer.headers.iter();
        let replayed = headers.any(|(name, _)| *name == IDEMPOTENT_REPLAYED);
        debug_assert!(
            replayed || acting.described.load(Ordering::Relaxed),
            "{:?} succeeded and left nothing in the audit trail",
            acting.act
        );
        answer
    }

    /// Writes down an act that changes nothing that the engine keeps, durably.
    pub(in crate::http) async fn write_down(&self, acted: AdminActed) -> Result<(), Refusal> {
        let appended = self.core.journal.admin_acted(acted);
        let durable_at = appended.map_err(|_| Refusal::StorageUnavailable)?;
        self.durable(Some(durable_at)).await
    }

    /// Writes down that a known caller's role does not allow what is asked for, where that is the
    /// administrators'.
    pub(in crate::http) async fn forbidden(
        &self,
        access: Access,
        caller: &Caller,
        parts: &Parts,
        id: RequestId,
    ) {
        let path = parts.uri.path();
        let (act, target) = match (access, super::resolve(path)) {
            (Access::AdminRead, Some((resource, _))) => {
                (Act::Read, Target::parse(resource.template()))
            }
            (Access::AdminRead, None) => (Act::Read, None),
            (Access::Admin, Some((resource, param))) if resource.takes(&parts.method) => {
                let act = act_of(resource, &parts.method).unwrap_or(Act::Unknown);
                (act, Target::parse(&param))
            }
            (Access::Admin, _) => (Act::Unknown, None),
            (Access::Shop, Some((resource, _))) => {
                (Act::ShopCall, Target::parse(resource.template()))
            }
            (Access::Shop, None) => (Act::ShopCall, None),
            (Access::Open | Access::ShopRead | Access::Metrics, _) => return,
        };
        let reason = Reason::Forbidden.told().reason;
        self.refused_act(act, target, reason, actor(caller, id))
            .await;
    }

    async fn refused_act(&self, act: Act, target: Option<Target>, reason: &str, by: Actor) {
        let refused = AdminRefused {
            act: act.as_str().to_owned(),
            target,
            reason: reason.to_owned(),
            left_out: 0,
            by,
        };
        // Where the log has stopped there is no trail to add to, and the process stops. The refusal
        // is told all the same: it changed nothing.
        if let Ok(Some(end)) = self.core.journal.admin_refused(refused) {
            let _ = self.durable(Some(end)).await;
        }
    }
}

fn actor(caller: &Caller, request: RequestId) -> Actor {
    let role = match caller.role {
        Role::Shop => ActorRole::Shop,
        Role::Admin => ActorRole::Admin,
        Role::Auditor => ActorRole::Auditor,
        Role::Metrics => ActorRole::Metrics,
    };
    Actor {
        request,
        owner: caller.owner.clone(),
        role,
    }
}

/// `value` as the trail keeps it: what looks like a card number in a text is taken out.
fn shown(value: &Value) -> Shown {
    Shown::new(without_cards(value).to_string())
}

fn without_cards(value: &Value) -> Value {
    match value {
        Value::String(text) if holds_card_number(text) => "***".into(),
        Value::Array(values) => values.iter().map(without_cards).collect(),
        Value::Object(fields) => {
            let fields = fields.iter();
            let clean = fields.map(|(name, value)| (name.clone(), without_cards(value)));
            Value::Object(clean.collect())
        }
        plain => plain.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::KeyOwner;

    #[test]
    fn writing_under_admin_is_an_act_and_nothing_else_is() {
        let reads = [Method::GET, Method::HEAD];
        let writes = [Method::POST, Method::PUT, Method::DELETE, Method::PATCH];
        for resource in Resource::ALL.iter().copied() {
            let admin = resource.template().starts_with("/admin/");
            for method in writes.iter().filter(|method| resource.takes(method)) {
                assert_eq!(act_of(resource, method).is_some(), admin, "{resource:?}");
            }
            let caller = Caller {
                owner: KeyOwner::parse("boss").unwrap(),
                role: Role::Admin,
            };
            for method in &reads {
                let acting = Acting::at(resource, method, Some(&caller), RequestId(1));
                assert!(acting.is_none(), "{resource:?}");
            }
        }
    }

    #[test]
    fn card_numbers_are_taken_out_at_any_depth() {
        let value = serde_json::json!({"a": [{"b": "4111 1111 1111 1111"}], "n": 4_111, "t": "x"});
        let clean = r#"{"a":[{"b":"***"}],"n":4111,"t":"x"}"#;
        assert_eq!(shown(&value).as_str(), clean);
    }
}
