//! Owns the shop's requests about reward tokens: the balance, and spending.
//!
//! Invariants: a replay returns the balance after the first request, not the current one. An
//! unknown buyer has no tokens: that is a result, not an error.

use crate::engine::command::SpendTokens;
use crate::engine::event::IdempotencyKey;
use crate::engine::refusal::Refusal;
use crate::http::call::Call;
use crate::http::call::attempt::{AfterSubmit, AttemptKind, Malformed, Readable, Reply, origin};
use crate::http::call::worker::Worker;
use crate::http::wire::answer::Answer;
use crate::http::wire::fields::{Fields, required};
use crate::http::wire::idempotency::Canonical;
use crate::ids::UserId;
use crate::journal::{Spent, StorageFault, Submitted};
use crate::money::Tokens;
use crate::telemetry::metrics::AttemptResult;
use hyper::body::Incoming;
use hyper::http::StatusCode;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;

/// Maximum number of tokens per request.
const TOKENS_MAX: i64 = 1_000_000_000;

/// Reward tokens.
pub struct Rewards {
    pub worker: Arc<Worker>,
}

impl Rewards {
    pub async fn balance(&self, call: Call) -> Answer {
        let Some(user) = UserId::parse(&call.param) else {
            return call.bad_path_id("user_id");
        };
        let (tokens, debt, durable_at) = self.worker.journal.reads().tokens(&user);
        let shown =
            json!({ "user_id": user.as_str(), "balance": tokens.get(), "debt": debt.get() });
        self.worker.read(&call, durable_at, &shown).await
    }

    pub async fn spend(&self, call: Call, body: Incoming) -> Answer {
        let Some(user) = UserId::parse(&call.param) else {
            let (reason, readable) = (Refusal::InvalidRequest, Readable::default());
            let (_, attempt) = self.worker.refused_shape(&call, reason, readable);
            let told = (call.bad_path_id("user_id"), attempt);
            return self.worker.counted(&call, told);
        };
        let spending = SpendAttempt {
            worker: &self.worker,
            call: &call,
            user,
        };
        self.worker.attempt(&call, body, &spending).await
    }
}

struct SpendAttempt<'a> {
    worker: &'a Worker,
    call: &'a Call,
    user: UserId,
}

impl AttemptKind for SpendAttempt<'_> {
    type Order = Tokens;
    type Begun = Infallible;
    /// Tokens spent, and the balance.
    type Outcome = (Tokens, Spent);

    fn known(&self) -> Readable {
        Readable {
            user: Some(self.user.clone()),
            ..Readable::default()
        }
    }

    fn parse(&self, body: &[u8]) -> Result<Tokens, Box<Malformed>> {
        let mut fields = Fields::of(body, &["tokens"]);
        let tokens = fields.integer(required("tokens"), 1, TOKENS_MAX);
        let tokens = tokens.and_then(|tokens| u64::try_from(tokens).ok());
        match tokens {
            Some(tokens) if fields.are_fine() => Ok(Tokens::new(tokens)),
            _ => Err(Box::new(Malformed {
                reason: Refusal::InvalidRequest,
                errors: fields.into_errors(),
                readable: self.known(),
                about: None,
            })),
        }
    }

    fn buyer<'a>(&'a self, _: &'a Tokens) -> Result<&'a UserId, Box<Malformed>> {
        Ok(&self.user)
    }

    fn readable(&self, _: &Tokens) -> Readable {
        self.known()
    }

    fn canonical(&self, tokens: &Tokens, method: &str, path: &str) -> Canonical {
        Canonical::new(method, path).text(Some(&tokens.get().to_string()))
    }

    fn submit(
        &self,
        tokens: Tokens,
        key: IdempotencyKey,
    ) -> Result<Submitted<(Tokens, Spent)>, StorageFault> {
        let command = SpendTokens {
            user: self.user.clone(),
            tokens,
            origin: origin(self.call, Some(key), &Readable::default()),
        };
        let submitted = self.worker.journal.spend_tokens(&command)?;
        Ok(Submitted {
            outcome: submitted.outcome.map(|spent| (tokens, spent)),
            replay: submitted.replay,
            durable_at: submitted.durable_at,
        })
    }

    fn next(&self, (tokens, spent): (Tokens, Spent)) -> AfterSubmit<Infallible> {
        let shown = json!({
            "user_id": self.user.as_str(),
            "spent": tokens.get(),
            "balance": spent.balance.get(),
        });
        AfterSubmit::Tell((
            Answer::value(StatusCode::OK, &shown),
            AttemptResult::Success,
        ))
    }

    async fn drive(&self, never: Infallible) -> Reply {
        match never {}
    }
}
