//! Owns the shop's calls about reward tokens: what a buyer has, and spending it.
//!
//! Invariants: a spending is refused here for its shape only, and then reported for the audit
//! trail; told again, it says the balance that it left, not today's. A buyer who is not known has
//! no tokens: that is an answer, not an error.

use super::buying::{Told, caller_of, origin};
use super::orders::Readable;
use crate::engine::command::SpendTokens;
use crate::engine::event::Flow;
use crate::engine::refusal::Refusal;
use crate::http::admin::operator::bad_path_id;
use crate::http::front::{Call, Front};
use crate::http::wire::answer::Answer;
use crate::http::wire::fields::{Fields, required};
use crate::http::wire::idempotency::{self, Canonical};
use crate::ids::UserId;
use crate::journal::Spent;
use crate::money::Tokens;
use crate::telemetry::metrics::{Attempt, Stage};
use hyper::body::Incoming;
use hyper::http::StatusCode;
use serde_json::json;
use std::time::Instant;

/// The most tokens that one call may spend.
const TOKENS_MAX: i64 = 1_000_000_000;

impl Front {
    pub(in crate::http) async fn rewards(&self, call: Call) -> Answer {
        let Some(user) = UserId::parse(&call.param) else {
            return bad_path_id(&call, "user_id");
        };
        let (tokens, debt, durable_at) = self.core.journal.tokens(&user);
        let shown =
            || json!({ "user_id": user.as_str(), "balance": tokens.get(), "debt": debt.get() });
        self.read(&call, durable_at, shown).await
    }

    pub(in crate::http) async fn spend_rewards(&self, call: Call, body: Incoming) -> Answer {
        let Some(user) = UserId::parse(&call.param) else {
            let readable = Readable::default();
            let (_, attempt) =
                self.refused_shape(&call, Flow::Reward, Refusal::InvalidRequest, readable);
            self.counters.attempt(Flow::Reward, attempt);
            return bad_path_id(&call, "user_id");
        };
        let (answer, attempt) = self.spending_told(&call, user, body).await;
        self.counters.attempt(Flow::Reward, attempt);
        answer
    }

    async fn spending_told(&self, call: &Call, user: UserId, body: Incoming) -> Told {
        let readable = Readable {
            user: Some(user.clone()),
            ..Readable::default()
        };
        let refused = |reason| self.refused_shape(call, Flow::Reward, reason, readable.clone());
        let body = match self.json_body(call, body).await {
            Ok(body) => body,
            Err(reason) => return refused(reason),
        };
        let mut fields = Fields::of(&body, &["tokens"]);
        let tokens = fields.integer(required("tokens"), 1, TOKENS_MAX);
        let tokens = tokens.and_then(|tokens| u64::try_from(tokens).ok());
        let (Some(tokens), true) = (tokens, fields.are_fine()) else {
            let reason = Refusal::InvalidRequest;
            let (_, attempt) = refused(reason);
            return (call.invalid(reason, &fields.into_errors()), attempt);
        };
        let Some(key) = idempotency::key_in(&call.parts.headers) else {
            return refused(Refusal::IdempotencyKeyMissing);
        };
        let canonical = Canonical::new(call.parts.method.as_str(), call.parts.uri.path())
            .text(Some(&tokens.to_string()));
        let key = idempotency::digests(&caller_of(call).owner, user.as_str(), key, canonical);
        let command = SpendTokens {
            user,
            tokens: Tokens::new(tokens),
            origin: origin(call, Some(key), &Readable::default()),
        };
        let began = Instant::now();
        let submitted = self.core.journal.spend_tokens(&command);
        self.counters.took(Stage::Shard, began.elapsed());
        let shown = |spent: Spent| {
            let shown = json!({
                "user_id": command.user.as_str(),
                "spent": tokens,
                "balance": spent.balance.get(),
            });
            (Answer::value(StatusCode::OK, &shown), Attempt::Success)
        };
        self.submitted(call, submitted, shown).await
    }
}
