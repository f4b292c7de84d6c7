//! Owns the figures of a replay.
//!
//! Invariants: each evaluated attempt is in one cell of the matrix, or among the unclear ones; the
//! line of a rule has each attempt once, and so have the totals over all rules. The totals are
//! therefore not the sums of the lines: several rules may match one attempt.

use super::known::Blocked;
use super::{LineIndices, Side};
use crate::engine::event::{DisputeClosed, Quote, RuleHit, RuleName, RuleOutcome};
use crate::engine::risk::program::RuleSet;
use crate::engine::stamp::Stamp;
use crate::ids::{Lsn, UserId};
use crate::money::{Amount, Currency};
use crate::time::UnixMs;
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeMap;

/// The result of a replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The first LSN of the log.
    pub first: Lsn,
    /// The first and last event; `None` if there is none.
    pub span: Option<(Stamp, Stamp)>,
    /// Events read.
    pub events: u64,
    /// From which LSN on the counters are exact.
    pub exact: Exact,
    /// The evaluated attempts, by recorded and new result.
    pub matrix: Matrix,
    /// Attempts refused before the rules, or of which this cannot be determined.
    pub refused_before: u64,
    /// Attempts of paused buyers.
    pub paused: u64,
    /// Attempts with too little data in the log for the tried rules; they keep their result.
    pub unclear: u64,
    /// Payments dropped because their hold is blocked now.
    pub fell_away: u64,
    /// The attempts with a different result, over all rules.
    pub moved: Moved,
    /// How the newly blocked attempts had ended.
    pub fates: Fates,
    /// The tried rules in order, then rules that only the log has.
    pub rules: Vec<RuleLine>,
    /// Counters dropped because `keys_max` was reached: rules may have counted too little.
    pub keys_given_up: u64,
}

/// From which LSN on the counters of the tried rules are exact.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Exact {
    /// The log has everything.
    Always,
    /// From this LSN on the log contains the longest window of the rules.
    From(Lsn),
    /// The log is shorter than the longest window.
    Never,
}

/// Number of attempts by recorded and new result.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Matrix([[u64; 3]; 3]);

impl Matrix {
    pub(super) fn count(&mut self, from: Side, to: Side) {
        self.0[from as usize][to as usize] += 1;
    }

    /// Number of attempts with the recorded result `from` and the new result `to`.
    pub const fn get(&self, from: Side, to: Side) -> u64 {
        self.0[from as usize][to as usize]
    }

    pub fn total(&self) -> u64 {
        self.0.iter().flatten().sum()
    }

    /// Number of attempts with a different result.
    pub fn changed(&self) -> u64 {
        let kept: u64 = (0..3).map(|side| self.0[side][side]).sum();
        self.total() - kept
    }
}

/// Figures of attempts with a different result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Blocked now.
    pub blocked: u64,
    /// Sent to review now.
    pub reviewed: u64,
    /// Allowed now.
    pub passed: u64,
    /// Number of buyers.
    pub buyers: u64,
    /// Money of newly blocked attempts.
    pub money: BTreeMap<Currency, Money>,
}

/// Money of newly blocked attempts, in minor units.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Money {
    /// Captured: the sales that the rules would have cost.
    pub captured: i64,
    /// The part that was refunded later.
    pub refunded: i64,
    /// The part that was lost in disputes later: what the rules would have saved.
    pub charged_back: i64,
}

/// How the newly blocked attempts had ended.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct Fates {
    /// Paid.
    pub captured: u64,
    /// The payment was declined.
    pub declined: u64,
    /// Refused for another reason; no difference.
    pub refused: u64,
    /// Expired, released, voided, or in progress.
    pub under_way: u64,
}

impl Fates {
    /// One attempt in progress has ended.
    pub(super) fn end(&mut self, how: impl FnOnce(&mut Self) -> &mut u64) {
        self.under_way = self.under_way.saturating_sub(1);
        *how(self) += 1;
    }
}

/// The figures of one rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleLine {
    pub name: RuleName,
    /// What follows from it.
    pub outcome: RuleOutcome,
    /// Whether it is one of the tried rules; otherwise it is only in the log.
    pub is_tried: bool,
    /// Recorded matches.
    pub hits_recorded: u64,
    /// Matches now.
    pub hits: u64,
    /// Attempts whose result differs because of it; for newly allowed ones, because it had stopped
    /// them.
    pub moved: Moved,
}

/// The figures during the replay.
#[derive(Debug)]
pub(super) struct Tally {
    pub matrix: Matrix,
    pub refused_before: u64,
    pub paused: u64,
    pub unclear: u64,
    pub fell_away: u64,
    pub fates: Fates,
    first: Lsn,
    span: Option<(Stamp, Stamp)>,
    events: u64,
    /// The candidates for [`Exact::From`]: one LSN for each interval of time.
    instants: Vec<Stamp>,
    lines: Vec<Line>,
    places: HashMap<(RuleName, RuleOutcome), u16>,
    all: Line,
}

#[derive(Debug)]
struct Line {
    shown: RuleLine,
    buyers: HashSet<UserId>,
}

/// The resolution of [`Exact::From`] for a log without its beginning.
const INSTANTS_EVERY_MS: u64 = 60_000;

impl Tally {
    pub(super) fn new(rules: &RuleSet, first: Lsn) -> Self {
        let all = RuleName::parse("all").expect("it is a word");
        let mut tally = Self {
            matrix: Matrix::default(),
            refused_before: 0,
            paused: 0,
            unclear: 0,
            fell_away: 0,
            fates: Fates::default(),
            first,
            span: None,
            events: 0,
            instants: Vec::new(),
            lines: Vec::new(),
            places: HashMap::new(),
            all: Line::new(all, RuleOutcome::Block),
        };
        tally.name(rules);
        tally
    }

    /// Adds the names of these rules.
    pub(super) fn name(&mut self, rules: &RuleSet) {
        for (name, outcome) in rules.rules() {
            let place = self.place(name, outcome);
            self.lines[usize::from(place)].shown.is_tried = true;
        }
    }

    pub(super) fn saw(&mut self, stamp: Stamp) {
        self.events += 1;
        self.span = Some((self.span.map_or(stamp, |(first, _)| first), stamp));
        let since = self.instants.last().map(|it| stamp.at.since_ms(it.at));
        if self.first > Lsn(0) && since.is_none_or(|ms| ms >= INSTANTS_EVERY_MS) {
            self.instants.push(stamp);
        }
    }

    pub(super) fn met_then(&mut self, hits: &[RuleHit]) {
        for hit in hits {
            self.line(hit).shown.hits_recorded += 1;
        }
    }

    pub(super) fn met_now(&mut self, hits: &[RuleHit]) {
        for hit in hits {
            self.line(hit).shown.hits += 1;
        }
    }

    /// Counts an attempt of `user` that changes to `to` because of `rules`; returns their lines.
    pub(super) fn moved(&mut self, user: &UserId, to: Side, rules: &[RuleHit]) -> LineIndices {
        self.all.moves(user, to);
        let places = rules.iter().map(|hit| self.place(&hit.rule, hit.outcome));
        let places: LineIndices = places.collect();
        for place in &places {
            self.lines[usize::from(*place)].moves(user, to);
        }
        places
    }

    pub(super) fn captured(&mut self, blocked: &mut Blocked, quote: Quote) {
        blocked.captured = true;
        let amount = quote.amount.get();
        self.money(blocked, quote.currency, |money| money.captured += amount);
    }

    pub(super) fn refunded(&mut self, blocked: &mut Blocked, currency: Currency, amount: Amount) {
        let sum = blocked.refunded.get().saturating_add(amount.get());
        blocked.refunded = Amount::new(sum).unwrap_or(blocked.refunded);
        self.money(blocked, currency, |money| money.refunded += amount.get());
    }

    /// A refund came back.
    pub(super) fn returned(&mut self, blocked: &mut Blocked, currency: Currency, amount: Amount) {
        blocked.refunded = blocked.refunded.saturating_minus(amount);
        self.money(blocked, currency, |money| money.refunded -= amount.get());
    }

    /// A dispute takes its amount, or gives it back.
    pub(super) fn charged_back(&mut self, blocked: &Blocked, closed: &DisputeClosed) {
        if blocked.captured {
            let taken = closed.taken();
            self.money(blocked, closed.currency, |money| {
                money.charged_back += taken;
            });
        }
    }

    fn money(&mut self, blocked: &Blocked, currency: Currency, add: impl Fn(&mut Money)) {
        for place in &blocked.lines {
            let moved = &mut self.lines[usize::from(*place)].shown.moved;
            add(moved.money.entry(currency).or_default());
        }
        add(self.all.shown.moved.money.entry(currency).or_default());
    }

    fn line(&mut self, hit: &RuleHit) -> &mut Line {
        let place = self.place(&hit.rule, hit.outcome);
        &mut self.lines[usize::from(place)]
    }

    fn place(&mut self, name: &RuleName, outcome: RuleOutcome) -> u16 {
        if let Some(place) = self.places.get(&(name.clone(), outcome)) {
            return *place;
        }
        let place = u16::try_from(self.lines.len()).unwrap_or(u16::MAX);
        if place == u16::MAX {
            // The log has too many different rules: the last line collects the rest.
            return place - 1;
        }
        self.places.insert((name.clone(), outcome), place);
        self.lines.push(Line::new(name.clone(), outcome));
        place
    }

    /// The report for rules with a longest window of `window_ms`.
    pub(super) fn report(self, window_ms: u64, keys_given_up: u64) -> Report {
        let exact = if self.first == Lsn(0) {
            Exact::Always
        } else {
            let begun = self.span.map_or(UnixMs::default(), |(first, _)| first.at);
            let mut instants = self.instants.iter();
            let enough = instants.find(|it| it.at.since_ms(begun) >= window_ms);
            enough.map_or(Exact::Never, |it| Exact::From(it.lsn))
        };
        let (tried, recorded): (Vec<_>, Vec<_>) = self
            .lines
            .into_iter()
            .map(Line::finish)
            .partition(|line| line.is_tried);
        Report {
            first: self.first,
            span: self.span,
            events: self.events,
            exact,
            matrix: self.matrix,
            refused_before: self.refused_before,
            paused: self.paused,
            unclear: self.unclear,
            fell_away: self.fell_away,
            moved: self.all.finish().moved,
            fates: self.fates,
            rules: tried.into_iter().chain(recorded).collect(),
            keys_given_up,
        }
    }
}

impl Line {
    fn new(name: RuleName, outcome: RuleOutcome) -> Self {
        Self {
            shown: RuleLine {
                name,
                outcome,
                is_tried: false,
                hits_recorded: 0,
                hits: 0,
                moved: Moved::default(),
            },
            buyers: HashSet::new(),
        }
    }

    fn moves(&mut self, user: &UserId, to: Side) {
        let moved = &mut self.shown.moved;
        match to {
            Side::Blocked => moved.blocked += 1,
            Side::Reviewed => moved.reviewed += 1,
            Side::Passed => moved.passed += 1,
        }
        if !self.buyers.contains(user) {
            self.buyers.insert(user.clone());
        }
    }

    fn finish(mut self) -> RuleLine {
        self.shown.moved.buyers = self.buyers.len() as u64;
        self.shown
    }
}
