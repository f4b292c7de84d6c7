//! Owns the shop's reads: holds, products and purchases.
//!
//! Invariants: nothing is shown before it is durable; a read that names a buyer finds only what
//! belongs to that buyer, and otherwise answers 404.

use super::products::product_for_shop;
use super::purchases::{PurchaseLookup, owner_asked};
use super::render;
use crate::engine::refusal::Refusal;
use crate::http::call::Call;
use crate::http::call::worker::Worker;
use crate::http::wire::answer::Answer;
use crate::http::wire::paging::{next_of, page_query};
use crate::ids::{ProductId, PurchaseId};
use hyper::http::StatusCode;
use serde_json::json;
use std::sync::Arc;

/// What a shop reads.
pub struct ShopReads {
    pub worker: Arc<Worker>,
    pub purchases: Arc<PurchaseLookup>,
}

impl ShopReads {
    pub async fn hold(&self, call: Call) -> Answer {
        let owner = match owner_asked(&call) {
            Ok(owner) => owner,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let id = PurchaseId::parse_hold(&call.param);
        let found = id.and_then(|id| self.worker.journal.reads().hold(id));
        let theirs = found.filter(|(view, _)| owner.is_none_or(|owner| owner == view.user));
        let Some((view, durable_at)) = theirs else {
            return call.problem(Refusal::HoldNotFound);
        };
        match self.worker.durable(Some(durable_at)).await {
            Ok(()) => Answer::json(StatusCode::OK, render::hold_read(&view)),
            Err(reason) => call.problem(reason),
        }
    }

    pub async fn products(&self, call: Call) -> Answer {
        let (after, limit) = match page_query(call.parts.uri.query()) {
            Ok(asked) => asked,
            Err(errors) => return call.invalid(Refusal::InvalidRequest, &errors),
        };
        let (page, durable_at) = self.worker.journal.reads().products_after(&after, limit);
        let next = next_of(&page, |it| it.product.as_str());
        let products: Vec<_> = page.entries.iter().map(product_for_shop).collect();
        let shown = json!({ "products": products, "next": next });
        self.worker.read(&call, durable_at, &shown).await
    }

    pub async fn product(&self, call: Call) -> Answer {
        let id = ProductId::parse(&call.param);
        let Some((view, durable_at)) = id.and_then(|id| self.worker.journal.reads().product(&id))
        else {
            return call.problem(Refusal::ProductNotFound);
        };
        match self.worker.durable(Some(durable_at)).await {
            Ok(()) => Answer::value(StatusCode::OK, &product_for_shop(&view)),
            Err(reason) => call.problem(reason),
        }
    }

    pub async fn purchase(&self, call: Call) -> Answer {
        let id = PurchaseId::parse_purchase(&call.param);
        match self.purchases.of_owner(&call, id).await {
            Ok(Some(view)) => Answer::json(StatusCode::OK, self.purchases.json(&view)),
            Ok(None) => call.problem(Refusal::PurchaseNotFound),
            Err(answer) => answer,
        }
    }
}
