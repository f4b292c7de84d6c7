//! Owns the operator's calls about products and promotions: reading them, setting them as a whole,
//! changing a part of them, changing a total by a number.
//!
//! Invariants: a change is made of what stands under the catalogue's turn, and its preconditions
//! are looked at there, so none is lost between two callers; each is an act in the audit trail;
//! every answer about one product or promotion carries the entity tag of its terms.
//! Deliberately absent: the form of the terms (`terms`).

use super::operator::{bad_path_id, by};
use super::terms::{self, Money, Terms, Written};
use crate::engine::event::ProductSet;
use crate::engine::refusal::Refusal;
use crate::engine::view::{More, Page, ProductView};
use crate::http::front::{Call, Front};
use crate::http::wire::answer::Answer;
use crate::http::wire::preconditions::{ETag, Preconditions, Reading};
use crate::http::wire::problem::{FieldError, Reason};
use crate::http::wire::query::Query;
use crate::ids::{Lsn, ProductId, PromotionCode, is_id};
use crate::journal::{Created, NotSet, Set, StorageFault};
use hyper::Method;
use hyper::body::Incoming;
use hyper::header::{ETAG, HeaderName, HeaderValue};
use hyper::http::StatusCode;
use serde_json::{Value, json};

/// The most products or promotions in one answer.
const LIMIT_MAX: u64 = 1_000;
const LIMIT_DEFAULT: u64 = 100;
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
/// What a patch may be by its content type.
const PATCHES: HeaderValue =
    HeaderValue::from_static("application/merge-patch+json, application/json");

/// Why nothing was changed.
enum NotChanged {
    /// There is no such product or promotion.
    Absent,
    /// It is not in the state that the caller names; it is in this one.
    Precondition(Option<ETag>),
    /// What is asked for is not of the form.
    Invalid(terms::Refused),
    /// It does not go with what is held, sold or used, or there is no room.
    NotSet(NotSet),
}

impl From<NotSet> for NotChanged {
    fn from(why: NotSet) -> Self {
        Self::NotSet(why)
    }
}

impl From<terms::Refused> for NotChanged {
    fn from(refused: terms::Refused) -> Self {
        Self::Invalid(refused)
    }
}

impl Front {
    pub(in crate::http) async fn admin_products(&self, call: Call) -> Answer {
        let (after, limit) = match page_query(&call) {
            Ok(asked) => asked,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let (page, durable_at) = self.core.journal.products_after(&after, limit);
        let next = next_of(&page, |it| it.product.as_str());
        let products: Vec<_> = page.entries.iter().map(terms::product_for_admin).collect();
        let shown = json!({ "products": products, "next": next });
        self.read(&call, durable_at, || shown.clone()).await
    }

    pub(in crate::http) async fn admin_promotions(&self, call: Call) -> Answer {
        let (after, limit) = match page_query(&call) {
            Ok(asked) => asked,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let (page, durable_at) = self.core.journal.promotions_after(&after, limit);
        let next = next_of(&page, |it| it.code.as_str());
        let promotions: Vec<_> = page
            .entries
            .iter()
            .map(terms::promotion_for_admin)
            .collect();
        let shown = json!({ "promotions": promotions, "next": next });
        self.read(&call, durable_at, || shown.clone()).await
    }

    pub(in crate::http) async fn admin_product(&self, call: Call, body: Incoming) -> Answer {
        let id = ProductId::parse(&call.param);
        let conditions = match Preconditions::of(&call.parts.headers) {
            Ok(conditions) => conditions,
            Err(error) => return call.invalid(Refusal::InvalidRequest, &[error]),
        };
        if !matches!(call.parts.method, Method::PUT | Method::PATCH) {
            let found = id.and_then(|id| self.core.journal.product(&id));
            let Some((view, durable_at)) = found else {
                return call.problem(Refusal::ProductNotFound);
            };
            let (tag, shown) = (terms::product_tag(&view), terms::product_for_admin(&view));
            return self
                .state(&call, &conditions, durable_at, (&tag, &shown))
                .await;
        }
        let Some(id) = id else {
            return bad_path_id(&call, "product_id");
        };
        let written = match self.written(&call, body, Terms::Product).await {
            Ok(written) => written,
            Err(answer) => return answer,
        };
        let patches = matches!(written, Written::Patch(_));
        let change = |standing: Option<&ProductView>| {
            go_on(&conditions, patches, standing.map(terms::product_tag))?;
            let of = (&id, standing);
            Ok(terms::product(written, of, self.terms_money(), by(&call))?)
        };
        self.change_product(&call, &id, change).await
    }

    pub(in crate::http) async fn product_stock(&self, call: Call, body: Incoming) -> Answer {
        let Some(id) = ProductId::parse(&call.param) else {
            return bad_path_id(&call, "product_id");
        };
        let conditions = match Preconditions::of(&call.parts.headers) {
            Ok(conditions) => conditions,
            Err(error) => return call.invalid(Refusal::InvalidRequest, &[error]),
        };
        let body = match self.json_body(&call, body).await {
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
            Ok(terms::with_stock(standing, add, by(&call))?)
        };
        self.change_product(&call, &id, change).await
    }

    async fn change_product(
        &self,
        call: &Call,
        id: &ProductId,
        change: impl FnOnce(Option<&ProductView>) -> Result<ProductSet, NotChanged>,
    ) -> Answer {
        let changed = self
            .core
            .journal
            .change_product(id, change, |before, after| {
                let before = before.map(terms::product_for_admin);
                let after = terms::product_for_admin(after);
                let target = Some(id.as_str());
                call.acting().acted(target, before.as_ref(), Some(&after))
            });
        let shown = |view: &_| (terms::product_tag(view), terms::product_for_admin(view));
        self.changed(call, Refusal::ProductNotFound, changed, shown)
            .await
    }

    pub(in crate::http) async fn admin_promotion(&self, call: Call, body: Incoming) -> Answer {
        let code = PromotionCode::parse(&call.param);
        let conditions = match Preconditions::of(&call.parts.headers) {
            Ok(conditions) => conditions,
            Err(error) => return call.invalid(Refusal::InvalidRequest, &[error]),
        };
        if !matches!(call.parts.method, Method::PUT | Method::PATCH) {
            let found = code.and_then(|code| self.core.journal.promotion(&code));
            let Some((view, durable_at)) = found else {
                return call.problem(Refusal::PromotionNotFound);
            };
            let (tag, shown) = (
                terms::promotion_tag(&view),
                terms::promotion_for_admin(&view),
            );
            return self
                .state(&call, &conditions, durable_at, (&tag, &shown))
                .await;
        }
        let Some(code) = code else {
            return bad_path_id(&call, "code");
        };
        let written = match self.written(&call, body, Terms::Promotion).await {
            Ok(written) => written,
            Err(answer) => return answer,
        };
        let patches = matches!(written, Written::Patch(_));
        let changed = self.core.journal.change_promotion(
            &code,
            |standing| {
                go_on(&conditions, patches, standing.map(terms::promotion_tag))?;
                let of = (&code, standing);
                let set = terms::promotion(written, of, self.terms_money(), by(&call));
                set.map_err(NotChanged::from)
            },
            |before, after| {
                let before = before.map(terms::promotion_for_admin);
                let target = Some(after.code.as_str());
                let after = terms::promotion_for_admin(after);
                call.acting().acted(target, before.as_ref(), Some(&after))
            },
        );
        let shown = |view: &_| (terms::promotion_tag(view), terms::promotion_for_admin(view));
        self.changed(&call, Refusal::PromotionNotFound, changed, shown)
            .await
    }

    /// What money there may be in terms.
    fn terms_money(&self) -> Money<'_> {
        Money {
            currencies: &self.core.currencies,
            payable: &self.core.journal.settings().payable,
        }
    }

    /// The body of PUT or PATCH.
    async fn written(&self, call: &Call, body: Incoming, terms: Terms) -> Result<Written, Answer> {
        if call.parts.method == Method::PATCH {
            let body = self.patch_body(call, body).await.map_err(|reason| {
                let answer = call.problem(reason);
                if reason == Refusal::UnsupportedMediaType {
                    return answer.with(ACCEPT_PATCH, PATCHES);
                }
                answer
            })?;
            let patch = Written::patch(&body, terms);
            return patch.map_err(|(reason, errors)| call.invalid(reason, &errors));
        }
        let body = self.json_body(call, body).await;
        let body = body.map_err(|reason| call.problem(reason))?;
        Ok(Written::whole(&body, terms))
    }

    /// Answers a read, once it may be told, with the state or with why not.
    async fn state(
        &self,
        call: &Call,
        conditions: &Preconditions,
        durable_at: Lsn,
        (tag, shown): (&ETag, &Value),
    ) -> Answer {
        if let Err(reason) = self.durable(Some(durable_at)).await {
            return call.problem(reason);
        }
        match conditions.reading(tag) {
            Reading::Whole => Answer::value(StatusCode::OK, shown),
            Reading::NotModified => Answer::empty(StatusCode::NOT_MODIFIED),
            Reading::Failed => return failed_precondition(call, Some(tag)),
        }
        .with(ETAG, tag.header())
    }

    /// Answers a change, once it is durable.
    async fn changed<V>(
        &self,
        call: &Call,
        absent: Refusal,
        changed: Result<Result<Set<V>, NotChanged>, StorageFault>,
        shown: impl Fn(&V) -> (ETag, Value),
    ) -> Answer {
        let set = match changed {
            Ok(Ok(set)) => set,
            Ok(Err(why)) => return not_changed(call, absent, why),
            Err(_) => return call.problem(Refusal::StorageUnavailable),
        };
        let status = match set.created {
            Created::Yes => StatusCode::CREATED,
            Created::No => StatusCode::OK,
        };
        if let Err(reason) = self.durable(Some(set.durable_at)).await {
            return call.problem(reason);
        }
        let (tag, shown) = shown(&set.view);
        Answer::value(status, &shown).with(ETAG, tag.header())
    }
}

/// Whether a change may be made to what stands with this tag.
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
                        field: "add",
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
    let detail = Reason::PreconditionFailed.told().detail;
    let answer = call.problem_about(Reason::PreconditionFailed, detail, &facts);
    match current {
        Some(tag) => answer.with(ETAG, tag.header()),
        None => answer,
    }
}

/// From where on, and how many.
pub(in crate::http) fn page_query(call: &Call) -> Result<(String, usize), Vec<FieldError>> {
    let mut query = Query::of(call.parts.uri.query(), &["after", "limit"]);
    let form = "must be the value of next from an earlier answer";
    let after = query.parsed("after", form, |text| is_id(text).then(|| text.to_owned()));
    let after = after.unwrap_or_default();
    let limit = query
        .integer("limit", 1, LIMIT_MAX)
        .unwrap_or(LIMIT_DEFAULT);
    let errors = query.into_errors();
    if errors.is_empty() {
        Ok((after, usize::try_from(limit).expect("at most a thousand")))
    } else {
        Err(errors)
    }
}

pub(in crate::http) fn next_of<T>(page: &Page<T>, name: impl Fn(&T) -> &str) -> Option<&str> {
    match page.more {
        More::Yes => page.entries.last().map(name),
        More::No => None,
    }
}
