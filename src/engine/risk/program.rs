//! Owns compiled risk rules: flat tests that lead on to each other, and how they are evaluated.
//!
//! Invariants: a test leads to a later one or to the end, so evaluating a rule takes at most as
//! many steps as it has tests, needs no stack and allocates nothing; there are at most
//! [`RULES_MAX`] rules, which a set of bits names. A rule speaks of what was before the attempt:
//! the attempt itself is in no counter yet. What an attempt does not name has a count of zero; a
//! comparison with a fact that is not known does not hold.
//! Deliberately absent: the language (`risk`) and the counts (`engine::velocity`).

use crate::engine::event::{RuleHit, RuleName, RuleOutcome};
use crate::engine::shared::velocity::{Named, Velocity};
use crate::engine::state::shard::Shard;
use crate::engine::words::counter::{COUNTERS, Counter};
use crate::engine::words::score::Scored;
use crate::ids::Segment;
use crate::money::Currency;
use crate::time::UnixMs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The most rules in force.
pub const RULES_MAX: usize = 128;
/// The most tests in all rules together: a place of two bytes names each.
pub const TESTS_MAX: usize = 16_384;

/// Which way a comparison goes.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Compare {
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `==`
    Equal,
    /// `!=`
    Unequal,
    /// `>=`
    AtLeast,
    /// `>`
    More,
}

impl Compare {
    fn holds(self, left: i64, right: i64) -> bool {
        match self {
            Self::Less => left < right,
            Self::AtMost => left <= right,
            Self::Equal => left == right,
            Self::Unequal => left != right,
            Self::AtLeast => left >= right,
            Self::More => left > right,
        }
    }
}

/// What is compared, with what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Probe {
    /// A counter over a window.
    Count {
        counter: Counter,
        window_ms: u64,
        /// The threshold.
        than: i64,
    },
    /// What the buyer paid in the attempt's currency over a window.
    Captured {
        window_ms: u64,
        /// In minor units.
        than: i64,
    },
    /// What is asked for, in minor units, before any discount.
    Amount(i64),
    /// How many units are asked for.
    Quantity(i64),
    /// The model's score of the attempt; without a model, the operator's of the buyer.
    RiskScore(i64),
    /// How long the buyer's account is there, in milliseconds.
    AccountAge(i64),
    /// The currency to pay in.
    Currency(Currency),
    /// The operator's segment of the buyer.
    Segment(Segment),
}

/// Where a test leads to.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NextTest {
    /// Another test, at this place.
    Test(u16),
    /// The rule holds.
    Hit,
    Miss,
}

/// One comparison.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Test {
    /// What is compared, with what.
    pub probe: Probe,
    pub compare: Compare,
    /// Where it leads to if it holds.
    pub yes: NextTest,
    /// Where it leads to if it does not.
    pub no: NextTest,
}

/// One rule: its tests stand together, the first one first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub name: RuleName,
    /// What follows from it.
    pub outcome: RuleOutcome,
    /// Its tests; places in them count from the rule's own first test.
    pub tests: Vec<Test>,
}

/// Compiled rules.
#[derive(Debug, Default)]
pub struct RuleSet {
    rules: Vec<Head>,
    tests: Vec<Test>,
    /// Whether any asks for the score.
    uses_score: bool,
}

#[derive(Debug)]
struct Head {
    name: RuleName,
    outcome: RuleOutcome,
    first: usize,
    /// How often it held.
    held: Arc<AtomicU64>,
}

/// What the rules may look at.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Who and what is named.
    pub named: Named<'a>,
    /// Now.
    pub at: UnixMs,
    /// In minor units, before any discount.
    pub amount: i64,
    /// The currency to pay in.
    pub currency: Currency,
    /// Units.
    pub quantity: u32,
    /// The model's score of the attempt, or the operator's of the buyer, where there is one.
    pub risk_score: Option<u32>,
    /// Since when the buyer's account is there, where that is known.
    pub account_since: Option<UnixMs>,
    /// The operator's segment of the buyer, where there is one.
    pub segment: Option<&'a Segment>,
}

/// Where counts and sums come from.
pub trait Counts {
    /// A counter, of what `named` names, at `since_ms` or later; exact up to `cap`. `None` where there is nothing of it
    /// in any window.
    fn count(&self, counter: Counter, named: &Named<'_>, since_ms: u64, cap: u32) -> Option<u32>;

    /// What the buyer paid in `currency` since then, in minor units.
    fn captured(&self, named: &Named<'_>, currency: Currency, since_ms: u64) -> i64;
}

/// The rules that hold, the strictest outcome among them, and what the attempt was scored by.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleMatches {
    hits: u128,
    strictest: Option<RuleOutcome>,
    scored: Option<Scored>,
}

impl RuleMatches {
    /// The same with what the attempt was scored by.
    #[must_use]
    pub const fn with_scored(mut self, scored: Option<Scored>) -> Self {
        self.scored = scored;
        self
    }

    /// What the attempt was scored by, where features were taken.
    pub const fn scored(self) -> Option<Scored> {
        self.scored
    }

    /// The strictest outcome of the rules that hold; `None` where none does.
    pub const fn strictest(self) -> Option<RuleOutcome> {
        self.strictest
    }
}

impl RuleSet {
    /// The rules in their order; `None` where there are too many, a name is there twice, or a test
    /// does not lead on.
    pub fn new(rules: Vec<Rule>) -> Option<Self> {
        let tests: usize = rules.iter().map(|rule| rule.tests.len()).sum();
        (rules.len() <= RULES_MAX && tests <= TESTS_MAX).then_some(())?;
        let mut set = Self::default();
        for rule in rules {
            let twice = set.rules.iter().any(|head| head.name == rule.name);
            let first = set.tests.len();
            let count = rule.tests.len();
            let leads_on = |(place, test): (usize, &Test)| {
                [test.yes, test.no].iter().all(|next| match next {
                    NextTest::Test(next) => (place + 1..count).contains(&usize::from(*next)),
                    NextTest::Hit | NextTest::Miss => true,
                })
            };
            let sound = count > 0 && !twice && rule.tests.iter().enumerate().all(leads_on);
            sound.then_some(())?;
            let asks_score = |test: &Test| matches!(test.probe, Probe::RiskScore(_));
            set.uses_score |= rule.tests.iter().any(asks_score);
            set.tests.extend(rule.tests);
            set.rules.push(Head {
                name: rule.name,
                outcome: rule.outcome,
                first,
                held: Arc::default(),
            });
        }
        Some(set)
    }

    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether any rule asks for the score.
    pub const fn uses_score(&self) -> bool {
        self.uses_score
    }

    /// The names and outcomes, in order.
    pub fn rules(&self) -> impl Iterator<Item = (&RuleName, RuleOutcome)> {
        self.rules.iter().map(|head| (&head.name, head.outcome))
    }

    /// Goes on counting where `before` stands, for rules of the same name and outcome.
    pub fn count_on_from(&mut self, before: &Self) {
        for head in &mut self.rules {
            let same = |it: &&Head| it.name == head.name && it.outcome == head.outcome;
            if let Some(earlier) = before.rules.iter().find(same) {
                head.held = Arc::clone(&earlier.held);
            }
        }
    }

    /// Counts the rules that were found.
    pub fn count(&self, found: RuleMatches) {
        let mut left = found.hits;
        while left != 0 {
            let place = left.trailing_zeros() as usize;
            self.rules[place].held.fetch_add(1, Ordering::Relaxed);
            left &= left - 1;
        }
    }

    /// Each rule with its outcome and how often it held.
    pub fn counts(&self) -> impl Iterator<Item = (&RuleName, RuleOutcome, u64)> {
        self.rules.iter().map(|head| {
            let held = head.held.load(Ordering::Relaxed);
            (&head.name, head.outcome, held)
        })
    }

    /// For each rule, the counters that it asks for: how many must be kept, over which window.
    pub fn asks(&self) -> impl Iterator<Item = (usize, CounterNeed)> + '_ {
        let ends = self.rules.iter().skip(1).map(|head| head.first);
        let ends = ends.chain([self.tests.len()]);
        let ranges = self.rules.iter().map(|head| head.first).zip(ends);
        ranges.enumerate().flat_map(|(rule, (first, end))| {
            let tests = self.tests[first..end].iter();
            tests.filter_map(move |test| Some((rule, ask(test)?)))
        })
    }

    /// Whether any rule looks at how much is to be paid, or in which currency.
    pub fn looks_at_money(&self) -> bool {
        self.tests.iter().any(|test| {
            matches!(
                test.probe,
                Probe::Captured { .. } | Probe::Amount(_) | Probe::Currency(_)
            )
        })
    }

    /// The longest window that any rule looks back over; 0 where none looks back.
    pub fn window_ms_max(&self) -> u64 {
        let windows = self.tests.iter().map(|test| match test.probe {
            Probe::Count { window_ms, .. } | Probe::Captured { window_ms, .. } => window_ms,
            _ => 0,
        });
        windows.max().unwrap_or(0)
    }

    /// Which rules hold.
    pub fn evaluate(&self, facts: &Facts<'_>, counts: &impl Counts) -> RuleMatches {
        let mut found = RuleMatches::default();
        let mut absent = Absent::default();
        for (place, head) in self.rules.iter().enumerate() {
            if self.holds(head.first, facts, counts, &mut absent) {
                found.hits |= 1 << place;
                found.strictest = found.strictest.max(Some(head.outcome));
            }
        }
        found
    }

    /// The rules that were found, by name.
    pub fn hits(&self, found: RuleMatches) -> Vec<RuleHit> {
        if found.hits == 0 {
            return Vec::new();
        }
        let hit = |(place, head): (usize, &Head)| {
            (found.hits >> place & 1 == 1).then(|| RuleHit {
                rule: head.name.clone(),
                outcome: head.outcome,
            })
        };
        self.rules.iter().enumerate().filter_map(hit).collect()
    }

    fn holds(
        &self,
        first: usize,
        facts: &Facts<'_>,
        counts: &impl Counts,
        absent: &mut Absent,
    ) -> bool {
        let mut place = first;
        loop {
            let test = &self.tests[place];
            let next = if test.holds(facts, counts, absent) {
                test.yes
            } else {
                test.no
            };
            match next {
                NextTest::Test(next) => place = first + usize::from(next),
                NextTest::Hit => return true,
                NextTest::Miss => return false,
            }
        }
    }
}

/// Counters, by their index, of which the attempt has nothing in any window. Rules ask for the same few again and again,
/// and most attempts are a stranger's: each of those is looked up once.
#[derive(Default)]
struct Absent(u32);

const _: () = assert!(COUNTERS <= u32::BITS as usize);

impl Absent {
    /// The count of `counter`, which `look` looks up unless it is known to be absent.
    fn or_count(&mut self, counter: Counter, look: impl FnOnce() -> Option<u32>) -> u32 {
        let bit = 1 << counter.index();
        if self.0 & bit != 0 {
            return 0;
        }
        look().unwrap_or_else(|| {
            self.0 |= bit;
            0
        })
    }
}

impl Test {
    fn holds(&self, facts: &Facts<'_>, counts: &impl Counts, absent: &mut Absent) -> bool {
        // More than `window_ms` ago and exactly as long ago is outside.
        let since = |window_ms: u64| (facts.at.get() + 1).saturating_sub(window_ms);
        let (known, than) = match &self.probe {
            Probe::Count {
                counter,
                window_ms,
                than,
            } => {
                let cap = u32::from(self.depth(*than));
                let count = absent.or_count(*counter, || {
                    counts.count(*counter, &facts.named, since(*window_ms), cap)
                });
                (Some(i64::from(count)), *than)
            }
            Probe::Captured { window_ms, than } => {
                let paid = counts.captured(&facts.named, facts.currency, since(*window_ms));
                (Some(paid), *than)
            }
            Probe::Amount(than) => (Some(facts.amount), *than),
            Probe::Quantity(than) => (Some(i64::from(facts.quantity)), *than),
            Probe::RiskScore(than) => (facts.risk_score.map(i64::from), *than),
            Probe::AccountAge(than) => {
                let age = |since| i64::try_from(facts.at.since_ms(since)).unwrap_or(i64::MAX);
                (facts.account_since.map(age), *than)
            }
            Probe::Currency(than) => (Some(i64::from(facts.currency != *than)), 0),
            Probe::Segment(than) => (facts.segment.map(|it| i64::from(it != than)), 0),
        };
        known.is_some_and(|known| self.compare.holds(known, than))
    }

    /// How many must be kept so that comparing with `than` is exact.
    fn depth(&self, than: i64) -> u16 {
        let needed = match self.compare {
            Compare::AtLeast | Compare::Less => than,
            Compare::More | Compare::AtMost | Compare::Equal | Compare::Unequal => than + 1,
        };
        u16::try_from(needed.max(1)).unwrap_or(u16::MAX)
    }
}

/// What a test asks of a counter.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CounterNeed {
    pub counter: Counter,
    /// How many are to be kept.
    pub depth: u16,
    /// For how long.
    pub window_ms: u64,
}

fn ask(test: &Test) -> Option<CounterNeed> {
    match test.probe {
        Probe::Count {
            counter,
            window_ms,
            than,
        } => Some(CounterNeed {
            counter,
            depth: test.depth(than),
            window_ms,
        }),
        _ => None,
    }
}

/// The live counters: what buyers share, and what the buyer's shard sums up itself.
#[derive(Clone, Copy, Debug)]
pub struct LiveCounts<'a> {
    /// What buyers share.
    pub velocity: &'a Velocity,
    /// The buyer's shard.
    pub shard: &'a Shard,
}

impl Counts for LiveCounts<'_> {
    fn count(&self, counter: Counter, named: &Named<'_>, since_ms: u64, cap: u32) -> Option<u32> {
        self.velocity.look(counter, named, since_ms, cap)
    }

    fn captured(&self, named: &Named<'_>, currency: Currency, since_ms: u64) -> i64 {
        let since = UnixMs::new(since_ms);
        named
            .user
            .map_or(0, |user| self.shard.captured_since(user, currency, since))
    }
}
