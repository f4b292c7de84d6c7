//! The bad days: which request goes wrong, and how. Scripted rules first, in order; then silence;
//! then at random, the same for the same seed and the n-th time of the same request.

use super::wire::{Op, StripeRequest};
use std::collections::HashMap;
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Whether the request was carried out before it went wrong.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It went wrong before: no effect.
    Before,
    /// It went wrong after.
    After,
}

/// Whether an error is stored under the request's idempotency key, as Stripe's own are, or not, as
/// those of whatever stands in front of it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    Yes,
    No,
}

/// How a request goes wrong.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A 500.
    Error(Effect, Kept),
    /// The connection stays open and nothing comes.
    NoAnswer(Effect),
    /// The connection is closed without an answer.
    Cut(Effect),
    /// The connection is closed half-way through the answer.
    CutInTheMiddle,
    /// A 429, without effect.
    TooMany,
    /// This status from whatever stands in front of it, without effect, to be tried again after so
    /// many seconds where it says so.
    Status(u16, Option<u64>),
    /// A good status and a body that is no JSON, after the effect.
    Garbage,
    /// Done and answered so many milliseconds later, whether or not anybody still waits.
    Slow(u64),
}

/// Nothing is answered.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub enum Silence {
    /// Everything is.
    #[default]
    Off,
    /// And nothing is done.
    Deaf,
    /// And everything is done.
    Mute,
}

/// Faults at random.
#[derive(Clone, Debug)]
pub struct Rates {
    pub seed: u64,
    /// Of 1,000 requests so many go wrong in this way.
    pub per_mille: Vec<(Fault, u64)>,
}

/// At most so many requests a second, as many at once; more are answered 429.
#[derive(Debug)]
struct Bucket {
    per_s: f64,
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn take(&mut self) -> bool {
        let now = Instant::now();
        let more = now.duration_since(self.filled).as_secs_f64() * self.per_s;
        self.tokens = (self.tokens + more).min(self.per_s);
        self.filled = now;
        let taken = self.tokens >= 1.0;
        if taken {
            self.tokens -= 1.0;
        }
        taken
    }
}

#[derive(Default)]
pub(super) struct Faults {
    bucket: Option<Bucket>,
    too_many: u32,
    every: Option<Fault>,
    rules: Vec<(Op, Fault, u32)>,
    silence: Silence,
    rates: Option<Rates>,
    times: HashMap<String, u64>,
    seen: HashMap<Op, u32>,
}

impl Faults {
    pub(super) fn script(&mut self, op: Op, fault: Fault, times: u32) {
        self.rules.push((op, fault, times));
    }

    pub(super) fn rates(&mut self, rates: Rates) {
        self.rates = Some(rates);
    }

    pub(super) fn silence(&mut self, silence: Silence) {
        self.silence = silence;
    }

    pub(super) fn limit(&mut self, per_s: u32) {
        let per_s = f64::from(per_s);
        self.bucket = Some(Bucket {
            per_s,
            tokens: per_s,
            filled: Instant::now(),
        });
    }

    pub(super) fn limit_used_up(&mut self, per_s: u32) {
        let per_s = f64::from(per_s);
        self.bucket = Some(Bucket {
            per_s,
            tokens: -per_s,
            filled: Instant::now(),
        });
    }

    pub(super) fn no_limit(&mut self) {
        self.bucket = None;
    }

    pub(super) fn too_many(&self) -> u32 {
        self.too_many
    }

    pub(super) fn every(&mut self, fault: Option<Fault>) {
        self.every = fault;
    }

    pub(super) fn seen(&self, op: Op) -> u32 {
        self.seen.get(&op).copied().unwrap_or_default()
    }

    pub(super) fn next(&mut self, asked: &StripeRequest) -> Option<Fault> {
        *self.seen.entry(asked.op).or_default() += 1;
        if self.bucket.as_mut().is_some_and(|it| !it.take()) {
            self.too_many += 1;
            return Some(Fault::TooMany);
        }
        if let Some(every) = self.every {
            return Some(every);
        }
        let fits = |(op, _, left): &&mut (Op, Fault, u32)| *op == asked.op && *left > 0;
        if let Some((_, fault, left)) = self.rules.iter_mut().find(fits) {
            *left -= 1;
            return Some(*fault);
        }
        match self.silence {
            Silence::Off => {}
            Silence::Deaf => return Some(Fault::NoAnswer(Effect::Before)),
            Silence::Mute => return Some(Fault::NoAnswer(Effect::After)),
        }
        let rates = self.rates.as_ref()?;
        let same = asked.key.as_deref().unwrap_or(&asked.path);
        let times = self
            .times
            .entry(format!("{:?} {same}", asked.op))
            .or_default();
        *times += 1;
        let drawn = xxh3_64_with_seed(
            format!("{times} {:?} {same}", asked.op).as_bytes(),
            rates.seed,
        );
        let mut drawn = drawn % 1_000;
        for (fault, per_mille) in &rates.per_mille {
            if drawn < *per_mille {
                return Some(*fault);
            }
            drawn -= per_mille;
        }
        None
    }
}
