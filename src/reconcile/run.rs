//! Owns one run: through the gateway's list page by page, then through our own captures.
//!
//! Invariants: our side is read after the page, so a charge without its purchase in our books cannot
//! be a race. A difference is checked again, ours before and after theirs, and reported only if ours
//! did not change. A capture is missing only if it was in our books before the first page was
//! requested. A run with a window looks at no payment begun before it, except those that the gateway
//! lists nevertheless, which are compared. A run ends: pages advance, repeated checks are counted,
//! calls have a timeout, differences a bound. Dropping the future ends it at once.

use crate::engine::view::{PaymentOf, PaymentView, Standing};
use crate::ids::{Lsn, PurchaseId, ShardId};
use crate::money::Amount;
use crate::payments::gateway::{
    Calling, ChargePage, Charged, Inquiry, PageMark, Reference, Trouble,
};
use crate::reconcile::books::{OurBooks, TheirBooks};
use crate::reconcile::compare::{Comparison, compare, compare_unlisted, moved, stands};
use crate::reconcile::report::{
    Difference, DifferenceKind, ReconcileCounts, ReconcileReport, RunOutcome, Theirs,
};
use crate::time::UnixMs;
use hashbrown::HashMap;
use std::time::Duration;

/// Purchases that one turn of a shard looks at.
const PAYMENTS_A_TURN: usize = 256;
/// Payments of ours between two pauses.
const PAYMENTS_BETWEEN_PAUSES: usize = 4_096;
/// Looks at something that differs while our side changes.
const LOOKS_MAX: usize = 3;
/// Tries of one call to the gateway.
const TRIES_MAX: u32 = 5;
/// The first pause after a failed call; each next one is twice as long.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// How far the clocks of the two sides are apart at most, where a window begins.
const CLOCKS_DIFFER_MS: u64 = 3_600_000;

/// The bounds of a run.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct ReconcileLimits {
    /// Payments begun so long ago at most are compared; `None`: all.
    pub window: Option<Duration>,
    /// Between two pages of the gateway's.
    pub pause: Duration,
    /// For one call to the gateway.
    pub call_timeout: Duration,
    /// Differences after which the run ends early.
    pub differences_max: usize,
}

/// How far a run is.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct ReconcileProgress {
    /// Charges that the gateway has listed so far.
    pub charges: u64,
    /// Payments of ours looked at so far, which comes after.
    pub payments: u64,
    /// Differences so far.
    pub differences: usize,
}

/// Compares both sides once. `progress` is told after each page.
pub async fn reconcile(
    ours: &dyn OurBooks,
    theirs: &dyn TheirBooks,
    limits: ReconcileLimits,
    run: u64,
    progress: &mut (dyn FnMut(ReconcileProgress) + Send),
) -> ReconcileReport {
    let started_at = ours.now();
    let since = limits.window.map(|window| {
        let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
        UnixMs::new(started_at.get().saturating_sub(window_ms))
    });
    let mut going = ComparisonRun {
        ours,
        theirs,
        limits,
        since,
        as_of: ours.end(),
        counts: ReconcileCounts::default(),
        differences: Vec::new(),
        seen: SeenCharges::new(),
        progress,
    };
    let ended = match going.listed().await {
        Ok(()) => going.captured().await,
        Err(stopped) => Err(stopped),
    };
    // What the report reveals must be durable before it is shown.
    let durable = ours.durable(ours.end());
    let outcome = match (ended, durable) {
        (_, Err(fault)) => RunOutcome::Failed(fault.to_string()),
        (Ok(()), Ok(())) => RunOutcome::Complete,
        (Err(Stopped::TooMany), Ok(())) => RunOutcome::TooManyDifferences,
        (Err(Stopped::Gateway(what, why)), Ok(())) => {
            RunOutcome::Failed(format!("the gateway could not be asked {what}: {why}"))
        }
        (Err(Stopped::Circle), Ok(())) => RunOutcome::Failed(
            "a page of the gateway's list has no next page although it says so".to_owned(),
        ),
    };
    ReconcileReport {
        run,
        log_id: ours.log_id(),
        started_at,
        ended_at: ours.now(),
        since,
        as_of: going.as_of,
        outcome,
        counts: going.counts,
        differences: going.differences,
    }
}

/// Why a run ends before its end.
enum Stopped {
    /// The gateway failed, asked for what.
    Gateway(&'static str, Trouble),
    /// A page names itself as the next one.
    Circle,
    /// There are more differences than may be.
    TooMany,
}

struct ComparisonRun<'a> {
    ours: &'a dyn OurBooks,
    theirs: &'a dyn TheirBooks,
    limits: ReconcileLimits,
    since: Option<UnixMs>,
    as_of: Lsn,
    counts: ReconcileCounts,
    differences: Vec<Difference>,
    seen: SeenCharges,
    progress: &'a mut (dyn FnMut(ReconcileProgress) + Send),
}

/// A charge under a reference of ours that did not agree at first sight.
struct Suspect {
    reference: Reference,
    charge: Charged,
    sight: Sight,
}

impl ComparisonRun<'_> {
    /// Every charge that the gateway lists against our books.
    async fn listed(&mut self) -> Result<(), Stopped> {
        let mut after = None;
        loop {
            let page = self.page(after.clone()).await?;
            let suspects = self.first_look(page.charges);
            if !suspects.is_empty() {
                self.look_again(after.as_ref(), suspects).await?;
            }
            self.tell();
            let Some(next) = page.next else { return Ok(()) };
            if after.as_ref() == Some(&next) {
                return Err(Stopped::Circle);
            }
            after = Some(next);
            tokio::time::sleep(self.limits.pause).await;
        }
    }

    fn first_look(&mut self, charges: Vec<Charged>) -> Vec<Suspect> {
        let mut suspects = Vec::new();
        for charge in charges {
            self.counts.charges += 1;
            let Some(reference) = charge.reference else {
                self.counts.without_reference += 1;
                continue;
            };
            if reference.log_id() != self.ours.log_id() {
                self.counts.foreign += 1;
                continue;
            }
            let ours = self.ours_of(reference);
            let sight = match &ours {
                Some(it) if moved(&charge) => self.seen.note(reference, it.which, &charge),
                Some(_) | None => Sight::First,
            };
            match (sight, compare(ours.as_ref(), &charge)) {
                // Listed twice, because the list moved on under the reader.
                (Sight::Again, _) => {}
                (Sight::First, Comparison::Agrees) => self.counts.agree += 1,
                (Sight::First, Comparison::Empty) => self.counts.empty += 1,
                (Sight::First, Comparison::Open) => self.counts.open += 1,
                (Sight::First, Comparison::Differs(_)) | (Sight::Another, _) => {
                    suspects.push(Suspect {
                        reference,
                        charge,
                        sight,
                    });
                }
            }
        }
        suspects
    }

    /// Reports what differs still while our side stands still; what does not is open.
    async fn look_again(
        &mut self,
        after: Option<&PageMark>,
        mut suspects: Vec<Suspect>,
    ) -> Result<(), Stopped> {
        for look in 0..LOOKS_MAX {
            if look > 0 {
                tokio::time::sleep(RETRY_PAUSE).await;
            }
            let of = |suspect: &Suspect| self.ours_of(suspect.reference);
            let before: Vec<_> = suspects.iter().map(of).collect();
            let charges = self.charges_again(after, &suspects).await?;
            let mut changing = Vec::new();
            for (mut suspect, before) in suspects.into_iter().zip(before) {
                let again = charges
                    .iter()
                    .find(|it| it.gateway_id == suspect.charge.gateway_id);
                let ours = self.ours_of(suspect.reference);
                match again {
                    Some(again) if ours == before => {
                        suspect.charge = again.clone();
                        self.second_look(suspect, ours.as_ref())?;
                    }
                    _ => changing.push(suspect),
                }
            }
            suspects = changing;
            if suspects.is_empty() {
                return Ok(());
            }
        }
        self.counts.open += suspects.len() as u64;
        Ok(())
    }

    fn second_look(&mut self, suspect: Suspect, ours: Option<&PaymentView>) -> Result<(), Stopped> {
        let compared = match (suspect.sight, compare(ours, &suspect.charge)) {
            (Sight::Another, Comparison::Open) => Comparison::Open,
            (Sight::Another, _) if stands(&suspect.charge) => {
                Comparison::Differs(DifferenceKind::ChargedTwice)
            }
            (Sight::Another, _) => Comparison::Agrees,
            (Sight::First | Sight::Again, compared) => compared,
        };
        match compared {
            Comparison::Agrees => self.counts.agree += 1,
            Comparison::Empty => self.counts.empty += 1,
            Comparison::Open => self.counts.open += 1,
            Comparison::Differs(kind) => self.differs(Difference {
                kind,
                reference: suspect.reference,
                ours: ours.map(Into::into),
                theirs: Theirs::Listed(suspect.charge),
            })?,
        }
        Ok(())
    }

    /// The page after `after` once more; and the one behind it, where the list has moved on so
    /// that a suspect is not on it any more.
    async fn charges_again(
        &mut self,
        after: Option<&PageMark>,
        suspects: &[Suspect],
    ) -> Result<Vec<Charged>, Stopped> {
        let page = self.page(after.cloned()).await?;
        let mut charges = page.charges;
        let there = |charges: &[Charged], suspect: &Suspect| {
            charges
                .iter()
                .any(|it| it.gateway_id == suspect.charge.gateway_id)
        };
        if let Some(next) = page.next
            && !suspects.iter().all(|suspect| there(&charges, suspect))
        {
            charges.extend(self.page(Some(next)).await?.charges);
        }
        Ok(charges)
    }

    /// Every capture of ours that no charge was listed for.
    async fn captured(&mut self) -> Result<(), Stopped> {
        let mut since_pause = 0;
        for shard in ShardId::all() {
            let mut from = Some(0);
            while let Some(start) = from {
                let page = self.ours.payments_of(shard, start, PAYMENTS_A_TURN);
                from = page.next;
                self.counts.payments += page.payments.len() as u64;
                for payment in page.payments {
                    if self.should_be_listed(&payment) {
                        self.look_for(&payment).await?;
                    }
                }
                since_pause += PAYMENTS_A_TURN;
                if from.is_some() && since_pause >= PAYMENTS_BETWEEN_PAUSES {
                    since_pause = 0;
                    self.tell();
                    tokio::time::sleep(self.limits.pause).await;
                }
            }
        }
        self.tell();
        Ok(())
    }

    /// What costs nothing is captured without a charge.
    fn should_be_listed(&self, payment: &PaymentView) -> bool {
        self.since.is_none_or(|since| payment.started_at >= since)
            && matches!(payment.standing, Standing::Captured(at) if at < self.as_of)
            && payment.amount > Amount::ZERO
            && !self.seen.has(payment.purchase)
    }

    async fn look_for(&mut self, payment: &PaymentView) -> Result<(), Stopped> {
        let reference = Reference::new(self.ours.log_id(), payment.purchase, payment.request);
        for _ in 0..LOOKS_MAX {
            let Some(before) = self.ours_of(reference) else {
                return Ok(());
            };
            let inquiry = Inquiry {
                reference,
                authorization: before.authorization.clone(),
                amount: before.amount,
                currency: before.currency,
                card: before.card.clone(),
                started_at: before.started_at,
            };
            let theirs = self.theirs;
            let has = self
                .ask("what it has of a payment", || theirs.has(inquiry.clone()))
                .await?;
            if self.ours_of(reference).as_ref() != Some(&before) {
                continue;
            }
            if before.standing == Standing::Open {
                break;
            }
            let Some(kind) = compare_unlisted(&before, has) else {
                self.counts.unlisted += 1;
                return Ok(());
            };
            return self.differs(Difference {
                kind,
                reference,
                ours: Some((&before).into()),
                theirs: Theirs::Unlisted(has),
            });
        }
        self.counts.open += 1;
        Ok(())
    }

    fn differs(&mut self, difference: Difference) -> Result<(), Stopped> {
        if self.differences.len() >= self.limits.differences_max {
            return Err(Stopped::TooMany);
        }
        self.differences.push(difference);
        Ok(())
    }

    /// Our payment under exactly this reference.
    fn ours_of(&self, reference: Reference) -> Option<PaymentView> {
        self.ours.payment(reference.purchase(), reference.request())
    }

    async fn page(&self, after: Option<PageMark>) -> Result<ChargePage, Stopped> {
        let theirs = self.theirs;
        let earlier = |since: UnixMs| UnixMs::new(since.get().saturating_sub(CLOCKS_DIFFER_MS));
        let since = self.since.map(earlier);
        self.ask("for its list", || theirs.page(since, after.clone()))
            .await
    }

    /// Asks the gateway, again where it fails: to be asked costs nothing.
    async fn ask<'a, T>(
        &self,
        what: &'static str,
        call: impl Fn() -> Calling<'a, Result<T, Trouble>>,
    ) -> Result<T, Stopped> {
        let mut pause = RETRY_PAUSE;
        for _ in 1..TRIES_MAX {
            if let Ok(Ok(answer)) = tokio::time::timeout(self.limits.call_timeout, call()).await {
                return Ok(answer);
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        match tokio::time::timeout(self.limits.call_timeout, call()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(trouble)) => Err(Stopped::Gateway(what, trouble)),
            Err(_) => Err(Stopped::Gateway(what, Trouble::Timeout)),
        }
    }

    fn tell(&mut self) {
        (self.progress)(ReconcileProgress {
            charges: self.counts.charges,
            payments: self.counts.payments,
            differences: self.differences.len(),
        });
    }
}

/// Whether a payment's charge was met before.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Sight {
    First,
    Again,
    Another,
}

/// Which of our payments a charge that moved money was listed for, with a mark that tells one charge
/// from another.
struct SeenCharges {
    /// Of the payments that purchases have.
    purchases: HashMap<PurchaseId, u32>,
    /// Of earlier tries. Each is a difference, unless all of it went back: there are few.
    tries: HashMap<Reference, u32>,
}

impl SeenCharges {
    fn new() -> Self {
        Self {
            purchases: HashMap::new(),
            tries: HashMap::new(),
        }
    }

    /// Notes a charge for a purchase that we know, so that there are never more than our purchases.
    fn note(&mut self, reference: Reference, which: PaymentOf, charge: &Charged) -> Sight {
        let mark = crc32c::crc32c(charge.gateway_id.as_bytes()).max(1);
        match std::mem::replace(self.place(reference, which), mark) {
            0 => Sight::First,
            before if before == mark => Sight::Again,
            _ => Sight::Another,
        }
    }

    fn place(&mut self, reference: Reference, which: PaymentOf) -> &mut u32 {
        if which == PaymentOf::EarlierTry {
            return self.tries.entry(reference).or_default();
        }
        self.purchases.entry(reference.purchase()).or_default()
    }

    /// Whether a charge was listed for the payment that the purchase has.
    fn has(&self, purchase: PurchaseId) -> bool {
        self.purchases.contains_key(&purchase)
    }
}
