//! The sandbox gateway: a payment provider in process, for trying out, for tests and for loads.
//!
//! It plays a company elsewhere: a stateful ledger of its own that outlives a crash of the core
//! (`ledger`), idempotent by our reference, with card tokens that ask for each way in which a
//! provider can go wrong (`token`), and a way to ask what it really charged.
//! Invariants: an effect stands in its file before it is answered; entries of one reference are
//! written in the order in which they happen; a card that works costs no timer and no task.
//! Deliberately absent: networks, keys, webhooks, syncs. It never moves real money.

pub mod charge;
pub mod ledger;
mod named;
mod reply;
pub mod token;

use crate::engine::payable::AmountRule;
use crate::ids::GatewayCode;
use crate::money::{Amount, Currency};
use crate::payments::gateway::{
    Authorization, AuthorizationClaim, AuthorizeRequest, CallResult, Calling, CapturedMoney,
    ChargePage, Decline, DeclinedBy, FoundRefund, Gateway, GatewayCall, Inquiry, LookupResult,
    PageMark, Reference, RefundRequest, Trouble,
};
use charge::{Book, ChargeRecord};
pub use charge::{ChargeState, SandboxCharge};
use crossbeam_utils::CachePadded;
use hashbrown::HashMap;
use ledger::{Ledger, LedgerEntry};
pub use ledger::{Misfit, SandboxError, path_in};
use named::{approve_authorization, authorization, goes, money};
use parking_lot::Mutex;
use reply::{NoEffect, PlannedReply, reply};
use std::future;
use std::path::Path;
use token::{Behaviour, How, Which};

/// Number of parts that payments are spread over.
const SHARDS: usize = 64;

/// Maximum number of calls counted in one part, for tokens that behave differently the first times;
/// beyond it they behave as they do in the end.
const COUNTED_MAX: usize = 10_000;

/// Its word for why it refuses a capture.
const CAPTURE_DECLINED: &str = "capture_declined";

/// The sandbox gateway.
#[derive(Debug)]
pub struct Sandbox {
    ledger: Ledger,
    shards: Box<[CachePadded<Mutex<LedgerShard>>]>,
}

#[derive(Debug, Default)]
struct LedgerShard {
    book: Book,
    counted: HashMap<(Reference, GatewayCall), u32>,
}

impl Sandbox {
    /// Opens the sandbox whose ledger is in `data_dir`, created if there is none. Only one process
    /// may: the journal's lock on the data directory ensures it.
    pub fn open(data_dir: &Path) -> Result<Self, SandboxError> {
        let shards: Box<[CachePadded<Mutex<LedgerShard>>]> =
            (0..SHARDS).map(|_| CachePadded::default()).collect();
        let ledger = Ledger::open(data_dir, &mut |reference, entry| {
            let shard = &shards[shard_of(reference)];
            shard.lock().book.apply(reference, &entry)
        })?;
        Ok(Self { ledger, shards })
    }

    /// Every payment, by reference: what the sandbox really charged.
    pub fn charges(&self) -> Vec<SandboxCharge> {
        let mut charges = Vec::new();
        for shard in &self.shards {
            charges.extend(shard.lock().book.charges());
        }
        charges.sort_unstable_by_key(|charge| charge.reference);
        charges
    }

    /// Captures `amount` of the authorization `reference`, as a person on the gateway's site could.
    pub fn capture_at_site(&self, reference: Reference, amount: Amount) -> Result<(), Misfit> {
        self.at_site(reference, &LedgerEntry::CapturedOther { amount })
    }

    /// Refunds `amount` of the capture `reference`, as a person on the gateway's site could.
    pub fn refund_at_site(&self, reference: Reference, amount: Amount) -> Result<(), Misfit> {
        self.at_site(reference, &LedgerEntry::Refunded { number: 0, amount })
    }

    fn at_site(&self, reference: Reference, entry: &LedgerEntry) -> Result<(), Misfit> {
        let mut shard = self.shard(reference).lock();
        let happened = self.happen(&mut shard, reference, entry);
        happened.map_err(|_| Misfit)
    }

    fn shard(&self, reference: Reference) -> &Mutex<LedgerShard> {
        &self.shards[shard_of(reference)]
    }

    /// Records `entry` and applies it; the caller holds the shard's lock.
    fn happen(
        &self,
        shard: &mut LedgerShard,
        reference: Reference,
        entry: &LedgerEntry,
    ) -> Result<(), NoEffect> {
        shard.book.allows(reference, entry)?;
        self.ledger
            .append(reference, entry)
            .map_err(|ledger::NotWritten| NoEffect::Lost)?;
        shard.book.apply(reference, entry)?;
        Ok(())
    }

    fn authorize_now(&self, order: &AuthorizeRequest) -> PlannedReply<Authorization> {
        let reference = order.reference;
        let mut shard = self.shard(reference).lock();
        let known = shard.book.get(reference);
        let behaviour = Behaviour::of(order.card.as_str());
        let place = shard.count(reference, GatewayCall::Authorize, behaviour);
        let how = behaviour.wrong(Which::Authorize, place);
        match known {
            Some(kept) => reply(how, again(&kept, order)),
            None if shard.book.is_full() => PlannedReply::Now(CallResult::Retriable(Trouble::Busy)),
            None if how.is_some_and(|how| !how.takes_effect()) => {
                reply(how, approve_authorization(reference))
            }
            None => {
                let (entry, answer) = first(order, behaviour);
                match (self.happen(&mut shard, reference, &entry), behaviour) {
                    (Ok(()), Behaviour::Slow(ms)) => PlannedReply::After(ms, answer),
                    (Ok(()), _) => reply(how, answer),
                    (Err(unfit), _) => PlannedReply::Now(unfit.answer()),
                }
            }
        }
    }

    fn capture_now(&self, claim: &AuthorizationClaim) -> PlannedReply<CapturedMoney> {
        let reference = claim.reference;
        let mut shard = self.shard(reference).lock();
        let Some(kept) = shard.book.get(reference).filter(|kept| goes(kept, claim)) else {
            return PlannedReply::Now(CallResult::Declined(Decline::BY_GATEWAY));
        };
        let place = shard.count(reference, GatewayCall::Capture, kept.behaviour);
        let how = kept.behaviour.wrong(Which::Capture, place);
        let refunded = shard.book.refunded(reference);
        let approved = |captured| CallResult::Approved(money(reference, &kept, captured, refunded));
        match kept.state {
            ChargeState::Captured => reply(how, approved(kept.captured)),
            ChargeState::Authorized if kept.behaviour.refuses_capture() => {
                PlannedReply::Now(CallResult::Declined(Decline {
                    by: DeclinedBy::Gateway,
                    code: GatewayCode::parse(CAPTURE_DECLINED),
                }))
            }
            ChargeState::Authorized => {
                let (entry, amount) = if kept.behaviour == Behaviour::CapturesHalf {
                    let amount = half(kept.amount);
                    (LedgerEntry::CapturedOther { amount }, amount)
                } else {
                    (LedgerEntry::Captured, kept.amount)
                };
                self.change(&mut shard, reference, &entry, how, approved(amount))
            }
            ChargeState::Declined | ChargeState::Voided | ChargeState::Refunded => {
                PlannedReply::Now(CallResult::Declined(Decline::BY_GATEWAY))
            }
        }
    }

    fn void_now(&self, claim: &AuthorizationClaim) -> PlannedReply<()> {
        let reference = claim.reference;
        let mut shard = self.shard(reference).lock();
        let Some(kept) = shard.book.get(reference) else {
            let entry = LedgerEntry::Closed {
                amount: claim.amount,
                currency: claim.currency,
            };
            return self.change(
                &mut shard,
                reference,
                &entry,
                None,
                CallResult::Approved(()),
            );
        };
        if !goes(&kept, claim) {
            return PlannedReply::Now(CallResult::Declined(Decline::BY_GATEWAY));
        }
        let place = shard.count(reference, GatewayCall::Void, kept.behaviour);
        let how = kept.behaviour.void_wrong(place);
        let approved = CallResult::Approved(());
        match kept.state {
            ChargeState::Voided => reply(how, approved),
            ChargeState::Authorized => {
                self.change(&mut shard, reference, &LedgerEntry::Voided, how, approved)
            }
            ChargeState::Declined | ChargeState::Captured | ChargeState::Refunded => {
                PlannedReply::Now(CallResult::Declined(Decline::BY_GATEWAY))
            }
        }
    }

    fn refund_now(&self, refund: &RefundRequest) -> PlannedReply<()> {
        let reference = refund.reference;
        let refused = PlannedReply::Now(CallResult::Declined(Decline::BY_GATEWAY));
        let mut shard = self.shard(reference).lock();
        let Some(kept) = shard.book.get(reference) else {
            return refused;
        };
        if kept.currency != refund.currency || kept.behaviour == Behaviour::RefundRefused {
            return refused;
        }
        let place = shard.count(reference, GatewayCall::Refund, kept.behaviour);
        let how = kept.behaviour.wrong(Which::Refund, place);
        let approved = CallResult::Approved(());
        if let Some(made) = shard.book.refund(reference, refund.number) {
            return if made == refund.amount {
                reply(how, approved)
            } else {
                refused
            };
        }
        let entry = LedgerEntry::Refunded {
            number: refund.number,
            amount: refund.amount,
        };
        self.change(&mut shard, reference, &entry, how, approved)
    }

    fn look_up_now(&self, reference: Reference) -> Result<LookupResult, Trouble> {
        if self.ledger.has_failed() {
            return Err(Trouble::Internal);
        }
        let mut shard = self.shard(reference).lock();
        let Some(kept) = shard.book.get(reference) else {
            return Ok(LookupResult::Nothing);
        };
        let place = shard.count(reference, GatewayCall::LookUp, kept.behaviour);
        if kept.behaviour.look_up_fails(place) {
            return Err(Trouble::Unreachable);
        }
        Ok(match kept.state {
            ChargeState::Declined => LookupResult::Declined(declines(kept.behaviour)),
            ChargeState::Authorized => LookupResult::Authorized(authorization(reference)),
            ChargeState::Captured | ChargeState::Refunded => {
                let refunded = shard.book.refunded(reference);
                LookupResult::taken(money(reference, &kept, kept.captured, refunded))
            }
            ChargeState::Voided => LookupResult::Voided,
        })
    }

    fn look_up_refund_now(&self, refund: &RefundRequest) -> Result<FoundRefund, Trouble> {
        if self.ledger.has_failed() {
            return Err(Trouble::Internal);
        }
        let shard = self.shard(refund.reference).lock();
        Ok(match shard.book.refund(refund.reference, refund.number) {
            Some(_) => FoundRefund::Succeeded,
            None => FoundRefund::Nothing,
        })
    }

    /// The charges after `after`, part by part, and within a part by reference: a page looks at few
    /// parts, and locks none for long.
    fn page(&self, after: Option<&PageMark>) -> ChargePage {
        const PAGE: usize = 1_000;
        let after = after.and_then(|PageMark(after)| Reference::parse(after));
        let mut charges: Vec<SandboxCharge> = Vec::new();
        for part in &self.shards[after.map_or(0, shard_of)..] {
            if charges.len() > PAGE {
                break;
            }
            let behind = |it: &SandboxCharge| {
                let place = |reference| (shard_of(reference), reference);
                after.is_none_or(|after| place(it.reference) > place(after))
            };
            let start = charges.len();
            charges.extend(part.lock().book.charges().filter(behind));
            charges[start..].sort_unstable_by_key(|it| it.reference);
        }
        let more = charges.len() > PAGE;
        charges.truncate(PAGE);
        let last = charges.last().map(|it| PageMark(it.reference.to_string()));
        ChargePage {
            charges: charges.iter().map(SandboxCharge::listed).collect(),
            next: last.filter(|_| more),
        }
    }

    /// Makes a change that may fail on the way.
    fn change<T>(
        &self,
        shard: &mut LedgerShard,
        reference: Reference,
        entry: &LedgerEntry,
        how: Option<How>,
        answer: CallResult<T>,
    ) -> PlannedReply<T> {
        if how.is_none_or(How::takes_effect)
            && let Err(unfit) = self.happen(shard, reference, entry)
        {
            return PlannedReply::Now(unfit.answer());
        }
        reply(how, answer)
    }
}

impl Gateway for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn amounts(&self, _: Currency) -> Option<AmountRule> {
        Some(AmountRule::ANY)
    }

    fn authorize(&self, order: AuthorizeRequest) -> Calling<'_, CallResult<Authorization>> {
        self.authorize_now(&order).calling()
    }

    fn capture(&self, claim: AuthorizationClaim) -> Calling<'_, CallResult<CapturedMoney>> {
        self.capture_now(&claim).calling()
    }

    fn void(&self, claim: AuthorizationClaim) -> Calling<'_, CallResult<()>> {
        self.void_now(&claim).calling()
    }

    fn refund(&self, refund: RefundRequest) -> Calling<'_, CallResult<()>> {
        self.refund_now(&refund).calling()
    }

    fn look_up(&self, inquiry: Inquiry) -> Calling<'_, Result<LookupResult, Trouble>> {
        Box::pin(future::ready(self.look_up_now(inquiry.reference)))
    }

    fn look_up_refund(&self, refund: RefundRequest) -> Calling<'_, Result<FoundRefund, Trouble>> {
        Box::pin(future::ready(self.look_up_refund_now(&refund)))
    }

    fn list(&self, after: Option<PageMark>) -> Calling<'_, Result<ChargePage, Trouble>> {
        Box::pin(future::ready(Ok(self.page(after.as_ref()))))
    }
}

/// What the sandbox of `data_dir` charged, by reference, read without changing anything: for
/// `holdfast check` and tests. Empty without a ledger.
pub fn read_charges(data_dir: &Path) -> Result<Vec<SandboxCharge>, SandboxError> {
    let mut books: Vec<Book> = (0..SHARDS).map(|_| Book::default()).collect();
    ledger::read(data_dir, &mut |reference, entry| {
        books[shard_of(reference)].apply(reference, &entry)
    })?;
    let mut charges: Vec<SandboxCharge> = books.iter().flat_map(Book::charges).collect();
    charges.sort_unstable_by_key(|charge| charge.reference);
    Ok(charges)
}

impl LedgerShard {
    /// The number of this call among those of its kind, from 1. Only tokens that change over time
    /// are counted.
    fn count(&mut self, reference: Reference, call: GatewayCall, behaviour: Behaviour) -> u32 {
        if !behaviour.counts_calls() {
            return 1;
        }
        let full = self.counted.len() >= COUNTED_MAX;
        match self.counted.get_mut(&(reference, call)) {
            Some(count) => {
                *count = count.saturating_add(1);
                *count
            }
            None if full => u32::MAX,
            None => {
                self.counted.insert((reference, call), 1);
                1
            }
        }
    }
}

/// The effect of the first authorization under a reference, and its answer.
fn first(
    order: &AuthorizeRequest,
    behaviour: Behaviour,
) -> (LedgerEntry, CallResult<Authorization>) {
    let (amount, currency, card) = (order.amount, order.currency, order.card.clone());
    match behaviour {
        Behaviour::DeclinedByIssuer(_) | Behaviour::NotAToken => (
            LedgerEntry::Declined {
                amount,
                currency,
                card,
            },
            CallResult::Declined(declines(behaviour)),
        ),
        Behaviour::Works
        | Behaviour::Slow(_)
        | Behaviour::GoesWrong(..)
        | Behaviour::CaptureRefused
        | Behaviour::CapturesHalf
        | Behaviour::RefundRefused
        | Behaviour::VoidGoesWrong(..)
        | Behaviour::LookUpDown(_) => (
            LedgerEntry::Authorized {
                amount,
                currency,
                card,
            },
            approve_authorization(order.reference),
        ),
    }
}

/// The answer to a later authorization under the same reference.
fn again(kept: &ChargeRecord, order: &AuthorizeRequest) -> CallResult<Authorization> {
    if (kept.amount, kept.currency) != (order.amount, order.currency) {
        return CallResult::Declined(Decline::BY_GATEWAY);
    }
    match kept.state {
        ChargeState::Authorized | ChargeState::Captured => approve_authorization(order.reference),
        ChargeState::Declined => CallResult::Declined(declines(kept.behaviour)),
        ChargeState::Voided | ChargeState::Refunded => CallResult::Declined(Decline::BY_GATEWAY),
    }
}

fn declines(behaviour: Behaviour) -> Decline {
    match behaviour {
        Behaviour::DeclinedByIssuer(why) => Decline {
            by: DeclinedBy::Issuer,
            code: GatewayCode::parse(why.code()),
        },
        _ => Decline::BY_GATEWAY,
    }
}

fn half(amount: Amount) -> Amount {
    let half = amount.get() - amount.get() / 2;
    Amount::new(half).expect("half of an amount is one")
}

/// Purchases are numbered shard by shard of the engine; mixing spreads few shards, too.
fn shard_of(reference: Reference) -> usize {
    let mixed = reference
        .purchase()
        .place()
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::from(mixed.to_be_bytes()[0]) % SHARDS
}
