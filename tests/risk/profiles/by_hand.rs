//! What the log says, counted by hand: the features of an attempt from the events before it, and the
//! profile of a buyer from all of them.

use super::run::{DAY, HOUR, MINUTE, model};
use holdfast::engine::dispute::DisputeStatus;
use holdfast::engine::event::PaymentDeclined;
use holdfast::engine::event::{
    Decider, DeclineCause, DisputeClosed, Event, Flow, Origin, PaysFor, ReviewVerdict,
};
use holdfast::engine::features::{COUNT_MAX, Feature, Features};
use holdfast::engine::profile::{DECISIONS_KEPT, JudgedAs, JudgedBy, Profile};
use holdfast::engine::refusal::Refusal;
use holdfast::engine::score::{Appraisal, Score};
use holdfast::ids::{CardToken, Lsn, UserId};
use holdfast::journal::{AuditEntry, read_log};
use holdfast::money::Tokens;
use holdfast::time::UnixMs;
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;

pub fn entries(directory: &Path) -> Vec<AuditEntry> {
    let mut entries = Vec::new();
    let read = read_log(directory, Lsn(0), None, &mut |entry| {
        entries.push(entry);
        ControlFlow::Continue(())
    });
    read.expect("it reads");
    entries
}

/// Every attempt's features, against the log before it.
pub fn looks_back_only(log: &[AuditEntry]) {
    let model = model().0;
    let mut compared = 0;
    for (place, entry) in log.iter().enumerate() {
        let before = &log[..place];
        let (now, appraisal, asked) = match &entry.event {
            Event::HoldPlaced(it) if it.flow == Flow::Buy => {
                assert_eq!(it.appraisal, Appraisal::Plain, "its payment says it");
                continue;
            }
            Event::HoldPlaced(it) => (naming(&entry.event), &it.appraisal, true),
            Event::PaymentStarted(it) => (naming(&entry.event), &it.appraisal, true),
            Event::AttemptRefused(it) if matches!(it.flow, Flow::Hold | Flow::Buy) => {
                let early = [
                    Refusal::RateLimited,
                    Refusal::ProductNotFound,
                    Refusal::HoldExpired,
                    Refusal::HoldClosed,
                ];
                let paused = it.reason == Refusal::RiskBlocked && it.hits.is_empty();
                let asked = !early.contains(&it.reason) && !paused;
                (naming(&entry.event), &it.appraisal, asked)
            }
            _ => continue,
        };
        let Appraisal::Taken(scored) = appraisal else {
            assert!(!asked, "no features of {entry:?}");
            continue;
        };
        assert!(asked, "features of {entry:?}");
        let quantity = quantity_of(&entry.event, before);
        let expected = look_back(before, entry.at, &now.expect("an attempt"), quantity);
        assert_eq!(scored.features, expected, "of {entry:?}");
        let score = scored.score.expect("a model is in force");
        assert_eq!(score.model, model.digest);
        assert_eq!(score.score, model.model.score(&expected));
        compared += 1;
    }
    assert!(compared > 0 || log.len() < 40, "nothing was compared");
}

#[derive(Clone, Debug, Default)]
struct Naming {
    user: Option<UserId>,
    card: Option<String>,
    ip: Option<String>,
    device: Option<String>,
    /// A payment for the hold of the same call: only its card was not counted with the hold.
    again: bool,
}

/// What an event that is an attempt, or a part of one, names.
fn naming(event: &Event) -> Option<Naming> {
    let of = |user: &UserId, card: Option<&CardToken>, origin: &Origin| Naming {
        user: Some(user.clone()),
        card: card.map(|it| it.as_str().to_owned()),
        ip: origin.ip.map(|it| it.to_string()),
        device: origin.device.as_ref().map(|it| it.as_str().to_owned()),
        again: false,
    };
    match event {
        Event::HoldPlaced(it) => Some(of(&it.user, None, &it.origin)),
        Event::PaymentStarted(it) => Some(Naming {
            again: it.pays_for == PaysFor::OwnHold,
            ..of(&it.user, Some(&it.card), &it.origin)
        }),
        Event::AttemptRefused(it) if matches!(it.flow, Flow::Hold | Flow::Buy) => {
            Some(of(it.user.as_ref()?, it.card.as_ref(), &it.origin))
        }
        _ => None,
    }
}

fn quantity_of(event: &Event, before: &[AuditEntry]) -> u32 {
    match event {
        Event::HoldPlaced(it) => it.quantity,
        Event::AttemptRefused(it) => it.quantity,
        Event::PaymentStarted(it) => before
            .iter()
            .find_map(|earlier| match &earlier.event {
                Event::HoldPlaced(placed) if placed.purchase == it.purchase => {
                    Some(placed.quantity)
                }
                _ => None,
            })
            .expect("it was held"),
        _ => unreachable!("it is no attempt"),
    }
}

/// The features of an attempt, by looking through everything before it. The hold of the same call
/// stands before its payment, and is no part of what was before.
fn look_back(before: &[AuditEntry], at: UnixMs, now: &Naming, quantity: u32) -> Features {
    let before = match before.split_last() {
        Some((last, rest)) if now.again => {
            assert!(matches!(&last.event, Event::HoldPlaced(it) if it.flow == Flow::Buy));
            rest
        }
        _ => before,
    };
    let user = now.user.as_ref().expect("a buyer");
    let rating = before.iter().rev().find_map(|it| match &it.event {
        Event::BuyerRated(rated) if rated.user == *user => Some(rated.rating.account_since),
        _ => None,
    });
    let count = |told: &dyn Fn(&Event) -> bool| {
        let theirs = before.iter().filter(|it| it.event.user() == Some(user));
        Some(theirs.filter(|it| told(&it.event)).count() as u64)
    };
    let captured = |it: &Event| matches!(it, Event::PaymentCaptured(_));
    let lost = |it: &Event| matches!(it, Event::DisputeClosed(it) if is_newly_lost(it));
    let won_back = |it: &Event| matches!(it, Event::DisputeClosed(it) if is_won_back(it));
    let age = |since: UnixMs| (at.get() - since.get()) / 1_000;
    let known_for = profile_of(before, user).map(|it| age(it.first_seen));
    let features = Features::unknown()
        .with(Feature::Amount, Some(2_000 * u64::from(quantity)))
        .with(Feature::Quantity, Some(u64::from(quantity)))
        .with(Feature::HourUtc, Some(at.get() / HOUR % 24))
        .with(Feature::AccountAgeS, rating.flatten().map(age))
        .with(Feature::KnownForS, known_for)
        .with(Feature::PurchasesBefore, count(&captured))
        .with(
            Feature::ChargebacksBefore,
            count(&lost)
                .zip(count(&won_back))
                .map(|(lost, back)| lost - back),
        );
    Windows { before, at, now }.fill(features)
}

/// What is counted over windows.
struct Windows<'a> {
    before: &'a [AuditEntry],
    at: UnixMs,
    now: &'a Naming,
}

impl Windows<'_> {
    fn fill(&self, features: Features) -> Features {
        let now = self.now;
        let features = features
            .counted(
                Feature::AttemptsUser10m,
                self.whole(10 * MINUTE, &|it| it.user == now.user),
            )
            .counted(
                Feature::AttemptsUser1h,
                self.whole(HOUR, &|it| it.user == now.user),
            )
            .counted(
                Feature::AttemptsUser24h,
                self.whole(DAY, &|it| it.user == now.user),
            )
            .counted(
                Feature::DeclinesUser24h,
                self.declines(&|it| Some(&it.user) == now.user.as_ref()),
            )
            .counted(Feature::CardsUser24h, self.cards());
        let features = match &now.card {
            None => features,
            Some(card) => {
                let same = |it: &Naming| it.card.as_ref() == Some(card);
                let of_card = |it: &PaymentDeclined| it.payment_source.card.as_str() == card;
                features
                    .counted(
                        Feature::AttemptsCard24h,
                        capped(self.attempts(DAY).filter(same).count()),
                    )
                    .counted(Feature::DeclinesCard24h, self.declines(&of_card))
                    .counted(Feature::UsersCard24h, self.users(DAY, &same))
            }
        };
        let features = match &now.device {
            None => features,
            Some(device) => {
                let same = |it: &Naming| it.device.as_ref() == Some(device);
                features
                    .counted(Feature::AttemptsDevice24h, self.whole(DAY, &same))
                    .counted(Feature::UsersDevice24h, self.users(DAY, &same))
            }
        };
        match &now.ip {
            None => features,
            Some(ip) => {
                let same = |it: &Naming| it.ip.as_ref() == Some(ip);
                features
                    .counted(Feature::AttemptsIp10m, self.whole(10 * MINUTE, &same))
                    .counted(Feature::AttemptsIp1h, self.whole(HOUR, &same))
                    .counted(Feature::UsersIp1h, self.users(HOUR, &same))
            }
        }
    }

    /// What is exactly as old as the window is outside.
    fn within(&self, window: u64) -> impl Iterator<Item = &Event> {
        let recent = move |it: &&AuditEntry| self.at.get() - it.at.get() < window;
        self.before.iter().filter(recent).map(|it| &it.event)
    }

    fn attempts(&self, window: u64) -> impl Iterator<Item = Naming> {
        self.within(window).filter_map(naming)
    }

    /// Attempts, a buy with its own hold once.
    fn whole(&self, window: u64, alike: &dyn Fn(&Naming) -> bool) -> u64 {
        let attempts = self.attempts(window).filter(|it| !it.again);
        capped(attempts.filter(|it| alike(it)).count())
    }

    fn declines(&self, alike: &dyn Fn(&PaymentDeclined) -> bool) -> u64 {
        let declines = self.within(DAY).filter(|it| match it {
            Event::PaymentDeclined(it) => it.cause == DeclineCause::DeclinedByIssuer && alike(it),
            _ => false,
        });
        capped(declines.count())
    }

    fn users(&self, window: u64, alike: &dyn Fn(&Naming) -> bool) -> u64 {
        let alike = self.attempts(window).filter(|it| alike(it));
        capped(alike.map(|it| it.user).collect::<BTreeSet<_>>().len())
    }

    fn cards(&self) -> u64 {
        let theirs = self.attempts(DAY).filter(|it| it.user == self.now.user);
        capped(
            theirs
                .filter_map(|it| it.card)
                .collect::<BTreeSet<_>>()
                .len(),
        )
    }
}

fn capped(count: usize) -> u64 {
    (count as u64).min(u64::from(COUNT_MAX))
}

trait CountedFeatures {
    /// The same with a feature that is a count.
    fn counted(self, feature: Feature, count: u64) -> Self;
}

impl CountedFeatures for Features {
    fn counted(self, feature: Feature, count: u64) -> Self {
        self.with(feature, Some(count))
    }
}

/// A profile in numbers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Counted {
    pub first_seen: UnixMs,
    pub last_seen: UnixMs,
    pub attempts: u32,
    pub refused: u32,
    pub purchases: u32,
    pub declines: u32,
    pub blocked: u32,
    pub approved: u32,
    pub rejected: u32,
    pub disputes: u32,
    pub chargebacks: u32,
    pub shortfalls: u32,
    pub tokens_short: u64,
    pub score: Option<u32>,
    pub decisions: Vec<(UnixMs, JudgedAs, Option<u32>, Vec<String>)>,
}

impl Counted {
    pub fn of(profile: &Profile) -> Self {
        let marks = profile.marks().cloned().unwrap_or_default();
        let decisions = marks.decisions.iter().map(|it| {
            let rules = it.rules.iter().map(|rule| rule.as_str().to_owned());
            (it.at, it.outcome, it.score.map(Score::get), rules.collect())
        });
        Self {
            first_seen: profile.first_seen,
            last_seen: profile.last_seen,
            attempts: profile.attempts,
            refused: profile.refused,
            purchases: profile.purchases,
            declines: marks.declines,
            blocked: marks.blocked,
            approved: marks.reviews_approved,
            rejected: marks.reviews_rejected,
            disputes: marks.disputes,
            chargebacks: marks.chargebacks,
            shortfalls: marks.shortfalls,
            tokens_short: marks.shortfall_tokens.get(),
            score: profile.score.map(Score::get),
            decisions: decisions.collect(),
        }
    }

    fn attempt(&mut self, entry: &AuditEntry) {
        self.last_seen = entry.at;
        let (hits, appraisal) = match &entry.event {
            Event::HoldPlaced(it) => (&it.hits, &it.appraisal),
            Event::PaymentStarted(it) => (&it.hits, &it.appraisal),
            Event::AttemptRefused(it) => (&it.hits, &it.appraisal),
            _ => unreachable!("it is no attempt"),
        };
        let decided = match &entry.event {
            Event::HoldPlaced(it) => {
                self.attempts += 1;
                (it.flow == Flow::Hold && !hits.is_empty()).then_some(JudgedAs::Passed)
            }
            Event::PaymentStarted(it) => {
                self.attempts += u32::from(it.pays_for == PaysFor::EarlierHold);
                if it.review.is_empty() {
                    (!hits.is_empty()).then_some(JudgedAs::Passed)
                } else {
                    Some(JudgedAs::ToReview)
                }
            }
            Event::AttemptRefused(it) => {
                self.attempts += 1;
                self.refused += 1;
                let blocked = it.reason == Refusal::RiskBlocked;
                self.blocked += u32::from(blocked);
                (blocked || !hits.is_empty()).then_some(JudgedAs::Refused(it.reason))
            }
            _ => unreachable!("as above"),
        };
        let score = appraisal.score().map(Score::get);
        self.score = score.or(self.score);
        if let Some(outcome) = decided {
            let mut rules: Vec<_> = hits.iter().collect();
            rules.sort_by_key(|hit| std::cmp::Reverse(hit.outcome));
            let rules = rules.iter().map(|hit| hit.rule.as_str().to_owned());
            self.decision((entry.at, outcome, score, rules.collect()));
        }
    }

    fn step(&mut self, event: &Event, at: UnixMs) {
        let mut short = |tokens: Tokens| {
            self.shortfalls += u32::from(tokens > Tokens::NONE);
            self.tokens_short += tokens.get();
        };
        match event {
            Event::PaymentCaptured(_) => self.purchases += 1,
            Event::PaymentDeclined(it) => {
                self.declines += u32::from(it.cause == DeclineCause::DeclinedByIssuer);
            }
            Event::ReviewDecided(it) => {
                let by = match it.decider {
                    Decider::Person(_) => JudgedBy::Person,
                    Decider::Deadline => JudgedBy::Deadline,
                };
                let outcome = if it.verdict == ReviewVerdict::Approved {
                    self.approved += 1;
                    JudgedAs::Approved(by)
                } else {
                    self.rejected += 1;
                    JudgedAs::Rejected(by)
                };
                self.decision((at, outcome, None, Vec::new()));
            }
            Event::RefundSucceeded(it) => short(it.clawback.shortfall),
            Event::DisputeOpened(_) => self.disputes += 1,
            Event::DisputeClosed(it) => {
                short(it.clawback.shortfall);
                self.chargebacks += u32::from(is_newly_lost(it));
                self.chargebacks -= u32::from(is_won_back(it));
            }
            _ => {}
        }
    }

    fn decision(&mut self, decision: (UnixMs, JudgedAs, Option<u32>, Vec<String>)) {
        self.decisions.push(decision);
        let over = self.decisions.len().saturating_sub(DECISIONS_KEPT);
        self.decisions.drain(..over);
    }
}

/// A profile, counted from the log alone.
pub fn profile_of(log: &[AuditEntry], user: &UserId) -> Option<Counted> {
    let mut counted: Option<Counted> = None;
    for entry in log.iter().filter(|it| it.event.user() == Some(user)) {
        let noted = match &entry.event {
            Event::HoldPlaced(_) | Event::PaymentStarted(_) => true,
            Event::AttemptRefused(it) => {
                matches!(it.flow, Flow::Hold | Flow::Buy) && it.reason != Refusal::RateLimited
            }
            _ => false,
        };
        if noted {
            let begun = || Counted {
                first_seen: entry.at,
                ..Counted::default()
            };
            counted.get_or_insert_with(begun).attempt(entry);
        } else if let Some(counted) = &mut counted {
            counted.step(&entry.event, entry.at);
        }
    }
    counted
}

fn is_newly_lost(it: &DisputeClosed) -> bool {
    it.dispute.status() == DisputeStatus::Lost && it.before != Some(DisputeStatus::Lost)
}

fn is_won_back(it: &DisputeClosed) -> bool {
    it.dispute.status() == DisputeStatus::Won && it.before == Some(DisputeStatus::Lost)
}
