//! Owns the operator's requests about products and promotions: reading them, replacing them,
//! changing parts of them, changing a total by a number.
//!
//! Invariants: a change starts from the terms under the catalogue's turn, and its preconditions are
//! checked there, so no change is lost between two clients; each is an act in the audit trail;
//! every response about one product or promotion has the entity tag of its terms.
//! Deliberately absent: the form of the terms (`terms`).

use super::terms::{self, PriceRules};
use super::written::{Terms, Written};
use crate::engine::event::ProductSet;
use crate::engine::refusal::Refusal;
use crate::engine::view::{ProductView, PromotionView};
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::wire::answer::Answer;
use crate::http::wire::fields::InvalidBody;
use crate::http::wire::paging::{next_of, page_query};
use crate::http::wire::preconditions::{ETag, Preconditions, ReadCondition};
use crate::http::wire::problem::{FieldError, Reason};
use crate::ids::{Lsn, ProductId, PromotionCode};
use crate::journal::{Audit, Created, NotSet, Revision, Set, WriteError};
use crate::money::Currency;
use hyper::Method;
use hyper::body::Incoming;
use hyper::header::{ETAG, HeaderName, HeaderValue};
use hyper::http::StatusCode;
use serde_json::{Value, json};
use std::sync::Arc;

const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// The content types of a patch.
const PATCHES: HeaderValue =
    HeaderValue::from_static("application/merge-patch+json, application/json");

/// Why nothing was changed.
enum NotChanged {
    /// The product or promotion does not exist.
    Absent,
    /// It is not in the state that the request names; its tag is this one.
    Precondition(Option<ETag>),
    /// The body is malformed.
    Invalid(InvalidBody),
    /// It conflicts with units held and sold or with uses, or there is no room.
    NotSet(NotSet),
}

impl From<NotSet> for NotChanged {
    fn from(why: NotSet) -> Self {
        Self::NotSet(why)
    }
}

impl From<InvalidBody> for NotChanged {
    fn from(refused: InvalidBody) -> Self {
        Self::Invalid(refused)
    }
}

/// Products and promotions, for the operator.
pub struct CatalogueCalls {
    pub worker: Arc<Worker>,
    pub currencies: Vec<Currency>,
}

impl CatalogueCalls {
    pub async fn products(&self, call: Call) -> Answer {
        let (after, limit) = match page_query(call.parts.uri.query()) {
            Ok(asked) => asked,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let (page, durable_at) = self.worker.journal.reads().products_after(&after, limit);
        let next = next_of(&page, |it| it.product.as_str());
        let products: Vec<_> = page.entries.iter().map(terms::product_for_admin).collect();
        let shown = json!({ "products": products, "next": next });
        self.worker.read(&call, durable_at, &shown).await
    }

    pub async fn promotions(&self, call: Call) -> Answer {
        let (after, limit) = match page_query(call.parts.uri.query()) {
            Ok(asked) => asked,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let (page, durable_at) = self.worker.journal.reads().promotions_after(&after, limit);
        let next = next_of(&page, |it| it.code.as_str());
        let promotions: Vec<_> = page
            .entries
            .iter()
            .map(terms::promotion_for_admin)
            .collect();
        let shown = json!({ "promotions": promotions, "next": next });
        self.worker.read(&call, durable_at, &shown).await
    }

    pub async fn product(&self, call: Call) -> Answer {
        let id = ProductId::parse(&call.param);
        let conditions = match Preconditions::of(&call.parts.headers) {
            Ok(conditions) => conditions,
            Err(error) => return call.invalid(Refusal::InvalidRequest, &[error]),
        };
        let found = id.and_then(|id| self.worker.journal.reads().product(&id));
        let Some((view, durable_at)) = found else {
            return call.problem(Refusal::ProductNotFound);
        };
        let (tag, shown) = (terms::product_tag(&view), terms::product_for_admin(&view));
        let state = (&tag, &shown);
        self.state(&call, &conditions, durable_at, state).await
    }

    /// Replaces the terms, or merges a patch.
    pub async fn set_product(&self, call: Call, body: Incoming) -> Answer {
        let id = ProductId::parse(&call.param);
        let conditions = match Preconditions::of(&call.parts.headers) {
            Ok(conditions) => conditions,
            Err(error) => return call.invalid(Refusal::InvalidRequest, &[error]),
        };
        let Some(id) = id else {
            return call.bad_path_id("product_id");
        };
        let written = match self.written(&call, body, Terms::Product).await {
            Ok(written) => written,
            Err(answer) => return answer,
        };
        let patches = matches!(written, Written::Patch(_));
        let change = |standing: Option<&ProductView>| {
            go_on(&conditions, patches, standing.map(terms::product_tag))?;
            let of = (&id, standing);
            Ok(terms::product(written, of, self.terms_money(), call.by())?)
        };
        self.change_product(&call, &id, change).await
    }

    pub async fn add_stock(&self, call: Call, body: Incoming) -> Answer {
        let Some(id) = ProductId::parse(&call.param) else {
            return call.bad_path_id("product_id");
        };
        let conditions = match Preconditions::of(&call.parts.headers) {
            Ok(conditions) => conditions,
            Err(error) => return call.invalid(Refusal::InvalidRequest, &[error]),
        };
        let body = match self.worker.json_body(&call, body).await {
            Ok(body) => body,
            Err(reason) => return call.problem(reason),
        };
        let add = match terms::added(&body) {
            Ok(add) => add,
            Err((reason, errors)) => return call.invalid(reason, &errors),
        };
        let change = |standing: Option<&ProductView>| {
            go_on(&conditions, true, standing.map(terms::product_tag))?;
            let standing = standing.ok_or(NotChanged::Absent)?;
            Ok(terms::with_stock(standing, add, call.by())?)
        };
        self.change_product(&call, &id, change).await
    }

    async fn change_product(
        &self,
        call: &Call,
        id: &ProductId,
        change: impl FnOnce(Option<&ProductView>) -> Result<ProductSet, NotChanged>,
    ) -> Answer {
        let acted = |change: &Revision<ProductView>| {
            let before = change.before.as_ref().map(terms::product_for_admin);
            let after = terms::product_for_admin(&change.after);
            let target = Some(id.as_str());
            call.acting().acted(target, before.as_ref(), Some(&after))
        };
        let catalogue = self.worker.journal.catalogue();
        let changed = catalogue.change_product(id, change, Audit::Act(&acted));
        let shown = |view: &_| (terms::product_tag(view), terms::product_for_admin(view));
        self.changed(call, Refusal::ProductNotFound, changed, shown)
            .await
    }

    pub async fn promotion(&self, call: Call) -> Answer {
        let code = PromotionCode::parse(&call.param);
        let conditions = match Preconditions::of(&call.parts.headers) {
            Ok(conditions) => conditions,
            Err(error) => return call.invalid(Refusal::InvalidRequest, &[error]),
        };
        let found = code.and_then(|code| self.worker.journal.reads().promotion(&code));
        let Some((view, durable_at)) = found else {
            return call.problem(Refusal::PromotionNotFound);
        };
        let (tag, shown) = (
            terms::promotion_tag(&view),
            terms::promotion_for_admin(&view),
        );
        let state = (&tag, &shown);
        self.state(&call, &conditions, durable_at, state).await
    }

    /// Replaces the terms, or merges a patch.
    pub async fn set_promotion(&self, call: Call, body: Incoming) -> Answer {
        let code = PromotionCode::parse(&call.param);
        let conditions = match Preconditions::of(&call.parts.headers) {
            Ok(conditions) => conditions,
            Err(error) => return call.invalid(Refusal::InvalidRequest, &[error]),
        };
        let Some(code) = code else {
            return call.bad_path_code("code");
        };
        let written = match self.written(&call, body, Terms::Promotion).await {
            Ok(written) => written,
            Err(answer) => return answer,
        };
        let patches = matches!(written, Written::Patch(_));
        let change = |standing: Option<&PromotionView>| {
            go_on(&conditions, patches, standing.map(terms::promotion_tag))?;
            let of = (&code, standing);
            Ok(terms::promotion(
                written,
                of,
                self.terms_money(),
                call.by(),
            )?)
        };
        let acted = |change: &Revision<PromotionView>| {
            let before = change.before.as_ref().map(terms::promotion_for_admin);
            let after = terms::promotion_for_admin(&change.after);
            // The code as it was first set: the path may have it in another case.
            let target = Some(change.after.code.as_str());
            call.acting().acted(target, before.as_ref(), Some(&after))
        };
        let catalogue = self.worker.journal.catalogue();
        let changed = catalogue.change_promotion(&code, change, Audit::Act(&acted));
        let shown = |view: &_| (terms::promotion_tag(view), terms::promotion_for_admin(view));
        self.changed(&call, Refusal::PromotionNotFound, changed, shown)
            .await
    }

    /// The rules for amounts in terms.
    fn terms_money(&self) -> PriceRules<'_> {
        PriceRules {
            currencies: &self.currencies,
            payable: &self.worker.journal.settings().payable,
        }
    }

    /// The body of PUT or PATCH.
    async fn written(&self, call: &Call, body: Incoming, terms: Terms) -> Result<Written, Answer> {
        if call.parts.method == Method::PATCH {
            let body = self.worker.patch_body(call, body).await.map_err(|reason| {
                let answer = call.problem(reason);
                if reason == Refusal::UnsupportedMediaType {
                    return answer.with(ACCEPT_PATCH, PATCHES);
                }
                answer
            })?;
            let patch = Written::patch(&body, terms);
            return patch.map_err(|(reason, errors)| call.invalid(reason, &errors));
        }
        let body = self.worker.json_body(call, body).await;
        let body = body.map_err(|reason| call.problem(reason))?;
        Ok(Written::whole(&body, terms))
    }

    /// Answers a read, once it is durable, with the state or with 304 or 412.
    async fn state(
        &self,
        call: &Call,
        conditions: &Preconditions,
        durable_at: Lsn,
        (tag, shown): (&ETag, &Value),
    ) -> Answer {
        if let Err(reason) = self.worker.durable(Some(durable_at)).await {
            return call.problem(reason);
        }
        match conditions.reading(tag) {
            ReadCondition::Whole => Answer::value(StatusCode::OK, shown),
            ReadCondition::NotModified => Answer::empty(StatusCode::NOT_MODIFIED),
            ReadCondition::Failed => return failed_precondition(call, Some(tag)),
        }
        .with(ETAG, tag.header())
    }

    /// Answers a change, once it is durable.
    async fn changed<V>(
        &self,
        call: &Call,
        absent: Refusal,
        changed: Result<Set<V>, WriteError<NotChanged>>,
        shown: impl Fn(&V) -> (ETag, Value),
    ) -> Answer {
        let set = match changed {
            Ok(set) => set,
            Err(WriteError::Refused(why)) => return not_changed(call, absent, why),
            Err(WriteError::Fault(_)) => return call.problem(Refusal::StorageUnavailable),
        };
        let status = match set.created {
            Created::Yes => StatusCode::CREATED,
            Created::No => StatusCode::OK,
        };
        if let Err(reason) = self.worker.durable(Some(set.durable_at)).await {
            return call.problem(reason);
        }
        let (tag, shown) = shown(&set.view);
        Answer::value(status, &shown).with(ETAG, tag.header())
    }
}

/// Whether a change may be made to a resource with this tag.
fn go_on(
    conditions: &Preconditions,
    needs_standing: bool,
    standing: Option<ETag>,
) -> Result<(), NotChanged> {
    if needs_standing && standing.is_none() {
        return Err(NotChanged::Absent);
    }
    if conditions.allow_change(standing.as_ref()) {
        Ok(())
    } else {
        Err(NotChanged::Precondition(standing))
    }
}

fn not_changed(call: &Call, absent: Refusal, why: NotChanged) -> Answer {
    match why {
        NotChanged::Absent => call.problem(absent),
        NotChanged::Precondition(tag) => failed_precondition(call, tag.as_ref()),
        NotChanged::Invalid((reason, errors)) => call.invalid(reason, &errors),
        NotChanged::NotSet(why) => {
            let (detail, facts) = match why {
                NotSet::Full => return call.problem(Refusal::from(why)),
                NotSet::TooManyUnits => {
                    let message = format!("would raise the stock above {} units", terms::STOCK_MAX);
                    let error = FieldError {
                        field: "add".into(),
                        message,
                    };
                    return call.invalid(Refusal::from(why), &[error]);
                }
                NotSet::BelowCommitted(levels) => {
                    let committed = levels.held + levels.sold;
                    let facts = json!({
                        "committed": committed,
                        "stock": {
                            "total": levels.total,
                            "held": levels.held,
                            "sold": levels.sold,
                            "available": levels.total - committed,
                        },
                    });
                    let detail = format!(
                        "{} units are held and {} are sold, so the stock must be at least {committed}.",
                        levels.held, levels.sold
                    );
                    (detail, facts)
                }
                NotSet::BelowUsed(levels) => {
                    let facts = json!({ "uses": levels.uses, "uses_max": levels.max });
                    let detail = format!(
                        "The promotion was used {} times, so uses_max must be at least that.",
                        levels.uses
                    );
                    (detail, facts)
                }
            };
            call.problem_about(Refusal::from(why), &detail, &facts)
        }
    }
}

fn failed_precondition(call: &Call, current: Option<&ETag>) -> Answer {
    let facts = json!({ "etag": current.map(ETag::as_str) });
    let detail = Reason::PreconditionFailed.texts().detail;
    let answer = call.problem_about(Reason::PreconditionFailed, detail, &facts);
    match current {
        Some(tag) => answer.with(ETAG, tag.header()),
        None => answer,
    }
}
