//! Owns what a shop reads (holds, products, purchases, receipts) and the release of a hold.
//!
//! Invariants: nothing is told before it is durable; a read or a release that names a buyer finds
//! only what is that buyer's, and answers anybody else's as none. Deliberately absent: buying.

use super::buying::{held, origin};
use super::orders::Readable;
use super::render;
use crate::engine::command::ReleaseHold;
use crate::engine::refusal::Refusal;
use crate::engine::view::{More, PurchaseView};
use crate::http::admin::catalogue::{next_of, page_query};
use crate::http::admin::terms;
use crate::http::front::{Call, Front};
use crate::http::wire::answer::Answer;
use crate::http::wire::problem::{FieldError, Reason};
use crate::http::wire::query::Query;
use crate::ids::{ProductId, PurchaseId, ShardId, UserId};
use hyper::http::StatusCode;
use serde_json::json;

/// The most purchases of a buyer in one answer.
const PURCHASES_MAX: u64 = 1_000;
const PURCHASES_DEFAULT: u64 = 100;

impl Front {
    pub(in crate::http) async fn hold(&self, call: Call) -> Answer {
        let owner = match owner_asked(&call) {
            Ok(owner) => owner,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let id = PurchaseId::parse_hold(&call.param);
        let found = id.and_then(|id| self.core.journal.hold(id));
        let theirs = found.filter(|(view, _)| owner.is_none_or(|owner| owner == view.user));
        let Some((view, durable_at)) = theirs else {
            return call.problem(Refusal::HoldNotFound);
        };
        match self.durable(Some(durable_at)).await {
            Ok(()) => Answer::json(StatusCode::OK, render::hold_read(&view)),
            Err(reason) => call.problem(reason),
        }
    }

    pub(in crate::http) async fn release_hold(&self, call: Call) -> Answer {
        let user = match owner_asked(&call) {
            Ok(owner) => owner,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let Some(hold) = PurchaseId::parse_hold(&call.param) else {
            return call.problem(Refusal::HoldNotFound);
        };
        let command = ReleaseHold {
            origin: origin(&call, None, &Readable::default()),
            hold,
            user,
        };
        let submitted = self.core.journal.release_hold(&command);
        let released = |view| held(StatusCode::OK, &view);
        self.submitted(&call, submitted, released).await.0
    }

    pub(in crate::http) async fn products(&self, call: Call) -> Answer {
        let (after, limit) = match page_query(&call) {
            Ok(asked) => asked,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let (page, durable_at) = self.core.journal.products_after(&after, limit);
        let next = next_of(&page, |it| it.product.as_str());
        let products: Vec<_> = page.entries.iter().map(terms::product_for_shop).collect();
        let shown = json!({ "products": products, "next": next });
        self.read(&call, durable_at, || shown.clone()).await
    }

    pub(in crate::http) async fn product(&self, call: Call) -> Answer {
        let id = ProductId::parse(&call.param);
        let Some((view, durable_at)) = id.and_then(|id| self.core.journal.product(&id)) else {
            return call.problem(Refusal::ProductNotFound);
        };
        match self.durable(Some(durable_at)).await {
            Ok(()) => Answer::value(StatusCode::OK, &terms::product_for_shop(&view)),
            Err(reason) => call.problem(reason),
        }
    }

    pub(in crate::http) async fn purchase(&self, call: Call) -> Answer {
        let id = PurchaseId::parse_purchase(&call.param);
        match self.purchase_of_owner(&call, id).await {
            Ok(Some(view)) => Answer::json(StatusCode::OK, self.purchase_json(&view)),
            Ok(None) => call.problem(Refusal::PurchaseNotFound),
            Err(answer) => answer,
        }
    }

    pub(in crate::http) async fn receipt(&self, call: Call) -> Answer {
        let id = PurchaseId::parse_receipt(&call.param);
        let view = match self.purchase_of_owner(&call, id).await {
            Ok(Some(view)) => view,
            Ok(None) => return call.problem(Reason::ReceiptNotFound),
            Err(answer) => return answer,
        };
        match self.core.sealer.receipt(&view) {
            Ok(Some(receipt)) => {
                let mut body = Vec::new();
                receipt.write_json(&mut body);
                Answer::json(StatusCode::OK, body)
            }
            Ok(None) => call.problem(Reason::ReceiptNotFound),
            Err(error) => {
                tracing::error!(event = "receipt_key_missing", "{error}");
                call.problem(Reason::ReceiptUnavailable)
            }
        }
    }

    /// The purchase, where it is that of the buyer who is named, if one is.
    async fn purchase_of_owner(
        &self,
        call: &Call,
        id: Option<PurchaseId>,
    ) -> Result<Option<PurchaseView>, Answer> {
        let owner = owner_asked(call);
        let owner = owner.map_err(|errors| call.invalid(Refusal::InvalidRequest, &errors))?;
        let found = self.durable_purchase(id).await;
        let found = found.map_err(|reason| call.problem(reason))?;
        Ok(found.filter(|view| owner.is_none_or(|owner| owner == view.user)))
    }

    /// A buyer's holds and purchases, in the order in which they were begun.
    pub(in crate::http) async fn user_purchases(&self, call: Call) -> Answer {
        let Some(user) = UserId::parse(&call.param) else {
            return crate::http::admin::operator::bad_path_id(&call, "user_id");
        };
        let mut query = Query::of(call.parts.uri.query(), &["after", "limit"]);
        let after = query.parsed(
            "after",
            "must be the value of next from an earlier answer",
            |text| {
                let id = PurchaseId::parse_purchase(text)?;
                (id.shard() == ShardId::of(&user)).then_some(id)
            },
        );
        let limit = query.integer("limit", 1, PURCHASES_MAX);
        let errors = query.into_errors();
        if !errors.is_empty() {
            return call.invalid(Refusal::InvalidRequest, &errors);
        }
        let limit = usize::try_from(limit.unwrap_or(PURCHASES_DEFAULT)).unwrap_or(usize::MAX);
        let journal = std::sync::Arc::clone(&self.core.journal);
        let read = move || journal.purchases_of(&user, after, limit);
        let Ok(found) = tokio::task::spawn_blocking(read).await else {
            return call.problem(Reason::NotReady);
        };
        let Some((page, durable_at)) = found else {
            return call.problem(Reason::UserNotFound);
        };
        if let Err(reason) = self.durable(Some(durable_at)).await {
            return call.problem(reason);
        }
        let next = match page.more {
            More::Yes => page.entries.last().map(|it| it.purchase.to_string()),
            More::No => None,
        };
        let shown = page.entries.iter().map(|view| self.purchase_json(view));
        let mut body = br#"{"purchases":["#.to_vec();
        body.extend_from_slice(&shown.collect::<Vec<_>>().join(&b','));
        body.extend_from_slice(format!(r#"],"next":{}}}"#, json!(next)).as_bytes());
        Answer::json(StatusCode::OK, body)
    }
}

/// Whose it must be, where the call says so.
fn owner_asked(call: &Call) -> Result<Option<UserId>, Vec<FieldError>> {
    let mut query = Query::of(call.parts.uri.query(), &["user_id"]);
    let user = query.parsed(
        "user_id",
        "must be a buyer's id: 1 to 64 characters of A-Z a-z 0-9 _ . : -",
        UserId::parse,
    );
    let errors = query.into_errors();
    if errors.is_empty() {
        Ok(user)
    } else {
        Err(errors)
    }
}
