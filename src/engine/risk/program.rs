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

/// Maximum number of rules in force.
pub const RULES_MAX: usize = 128;
/// Maximum number of tests in all rules together, because an index has two bytes.
pub const TESTS_MAX: usize = 16_384;

/// The operator of a comparison.
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

/// What is compared, and the value it is compared with.
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
    /// The amount in minor units, before any discount.
    Amount(i64),
    /// The quantity.
    Quantity(i64),
    /// The model's score of the attempt; without a model, the operator's score of the buyer.
    RiskScore(i64),
    /// The age of the buyer's account, in milliseconds.
    AccountAge(i64),
    /// The currency to pay in.
    Currency(Currency),
    /// The operator's segment of the buyer.
    Segment(Segment),
}

/// Where a test continues.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum NextTest {
    /// At the test with this index.
    Test(u16),
    /// The rule matches.
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

/// One rule: its tests are stored together, the first one first.
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
    /// Whether any rule uses the score.
    uses_score: bool,
}

#[derive(Debug)]
struct Head {
    name: RuleName,
    outcome: RuleOutcome,
    first: usize,
    /// How often it matched.
    held: Arc<AtomicU64>,
}

/// The facts that rules can use.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The things that counters are looked up by.
    pub named: Named<'a>,
    /// Now.
    pub at: UnixMs,
    /// In minor units, before any discount.
    pub amount: i64,
    /// The currency to pay in.
    pub currency: Currency,
    pub quantity: u32,
    /// The model's score of the attempt, or the operator's of the buyer, if there is one.
    pub risk_score: Option<u32>,
    /// Since when the buyer's account is there, where that is known.
    pub account_since: Option<UnixMs>,
    /// The operator's segment of the buyer, if there is one.
    pub segment: Option<&'a Segment>,
}

/// The source of counts and sums.
pub trait Counts {
    /// The count of `counter` for `named` since `since_ms`; exact up to `cap`. `None` if there is
    /// nothing in any window.
    fn count(&self, counter: Counter, named: &Named<'_>, since_ms: u64, cap: u32) -> Option<u32>;

    /// What the buyer has paid in `currency` since then, in minor units.
    fn captured(&self, named: &Named<'_>, currency: Currency, since_ms: u64) -> i64;
}

/// The rules that match, the strictest outcome among them, and the score.
#[derive(Copy, Clone, Debug, Default, PartialEq, Eq)]
pub struct RuleMatches {
    hits: u128,
    strictest: Option<RuleOutcome>,
    scored: Option<Scored>,
}

impl RuleMatches {
    /// The same with features and score.
    #[must_use]
    pub const fn with_scored(mut self, scored: Option<Scored>) -> Self {
        self.scored = scored;
        self
    }

    /// Features and score, if features were computed.
    pub const fn scored(self) -> Option<Scored> {
        self.scored
    }

    /// The strictest outcome of the matching rules; `None` if no rule matches.
    pub const fn strictest(self) -> Option<RuleOutcome> {
        self.strictest
    }
}

impl RuleSet {
    /// The rules in order; `None` if there are too many, a name occurs twice, or a test leads
    /// backwards.
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

    /// Whether any rule uses the score.
    pub const fn uses_score(&self) -> bool {
        self.uses_score
    }

    /// The names and outcomes, in order.
    pub fn rules(&self) -> impl Iterator<Item = (&RuleName, RuleOutcome)> {
        self.rules.iter().map(|head| (&head.name, head.outcome))
    }

    /// Continues the match counts of `before`, for rules with the same name and outcome.
    pub fn count_on_from(&mut self, before: &Self) {
        for head in &mut self.rules {
            let same = |it: &&Head| it.name == head.name && it.outcome == head.outcome;
            if let Some(earlier) = before.rules.iter().find(same) {
                head.held = Arc::clone(&earlier.held);
            }
        }
    }

    /// Counts the rules that matched.
    pub fn count(&self, found: RuleMatches) {
        let mut left = found.hits;
        while left != 0 {
            let place = left.trailing_zeros() as usize;
            self.rules[place].held.fetch_add(1, Ordering::Relaxed);
            left &= left - 1;
        }
    }

    /// Each rule with its outcome and how often it matched.
    pub fn counts(&self) -> impl Iterator<Item = (&RuleName, RuleOutcome, u64)> {
        self.rules.iter().map(|head| {
            let held = head.held.load(Ordering::Relaxed);
            (&head.name, head.outcome, held)
        })
    }

    /// For each rule, the counters that it needs: how deep, over which window.
    pub fn asks(&self) -> impl Iterator<Item = (usize, CounterNeed)> + '_ {
        let ends = self.rules.iter().skip(1).map(|head| head.first);
        let ends = ends.chain([self.tests.len()]);
        let ranges = self.rules.iter().map(|head| head.first).zip(ends);
        ranges.enumerate().flat_map(|(rule, (first, end))| {
            let tests = self.tests[first..end].iter();
            tests.filter_map(move |test| Some((rule, ask(test)?)))
        })
    }

    /// Whether any rule uses the amount or the currency.
    pub fn looks_at_money(&self) -> bool {
        self.tests.iter().any(|test| {
            matches!(
                test.probe,
                Probe::Captured { .. } | Probe::Amount(_) | Probe::Currency(_)
            )
        })
    }

    /// The longest window of any rule; 0 without windows.
    pub fn window_ms_max(&self) -> u64 {
        let windows = self.tests.iter().map(|test| match test.probe {
            Probe::Count { window_ms, .. } | Probe::Captured { window_ms, .. } => window_ms,
            _ => 0,
        });
        windows.max().unwrap_or(0)
    }

    /// The rules that match.
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

    /// The rules that matched, by name.
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

/// Counters, by index, that have nothing in any window for this attempt. Rules use the same few
/// counters again and again, and most attempts come from new buyers, so each of these is looked up
/// once.
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
        // An instant exactly as old as the window is outside.
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

    /// How deep the counter must be so that a comparison with `than` is exact.
    fn depth(&self, than: i64) -> u16 {
        let needed = match self.compare {
            Compare::AtLeast | Compare::Less => than,
            Compare::More | Compare::AtMost | Compare::Equal | Compare::Unequal => than + 1,
        };
        u16::try_from(needed.max(1)).unwrap_or(u16::MAX)
    }
}

/// What a test needs of a counter.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct CounterNeed {
    pub counter: Counter,
    pub depth: u16,
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

/// The live counters: the shared ones, and the sums of the buyer's shard.
#[derive(Clone, Copy, Debug)]
pub struct LiveCounts<'a> {
    pub velocity: &'a Velocity,
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
