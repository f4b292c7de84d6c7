//! A drop under attack: 100,000 attempts of honest and abusive buyers over fifteen hours, the same ones in
//! every run, against the rules that come with the program.
//!
//! Proves: no honest buyer is blocked; of each kind of abuse that a blocking rule is made for, at least 99 %
//! of what comes after the rule's threshold is blocked; nothing that a rule wants a person to look at is
//! captured without one; and `holdfast replay` finds the same from the log of a run without any rules.
//!
//! What is taken for honest: cards mistyped (some shops' gateways give each typing a token of its own), cards
//! over their limit (tried twice, then another), families that share a card and a tablet, clubs of ten with one
//! tablet, offices and a mobile network behind one address, retries where a product is sold out, several drops a
//! day. Abusers never touch the product that sells out, so that both runs sell it out at the same attempt.

use crate::replay_stage::{Ended, HOUR, Issuer, MINUTE, SECOND, SeededDice, Stage, Try};
use holdfast::engine::event::{Event, Flow, RuleHit, RuleOutcome};
use holdfast::engine::refusal::Refusal;
use holdfast::engine::settings::EngineSettings;
use holdfast::ids::{Lsn, PurchaseId};
use holdfast::journal::read_log;
use holdfast::risk::SHIPPED;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;
use std::ops::ControlFlow;
use std::path::Path;
use support::binary;

const ATTEMPTS: usize = 100_000;
const DROPS: u64 = 11;
const DROPS_EVERY: u64 = 80 * MINUTE;

/// One attempt of the script.
struct Scripted {
    ms: u64,
    who: Who,
    it: Try,
    call: Call,
    issuer: Issuer,
}

#[derive(Clone, Copy, PartialEq)]
enum Who {
    Honest,
    /// Of this campaign.
    Abuser(usize),
}

/// What is called; numbers are those of earlier attempts of the script.
#[derive(Clone, Copy)]
enum Call {
    Hold,
    Buy,
    /// Only where the hold stands.
    PayFor(usize),
    /// Only where that one was sold out.
    AgainAfter(usize),
}

/// The kinds of abuse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    OneCardOfOneAccount,
    CardListOfOneAccount,
    SlowCardList,
    OneCardUnderManyAccounts,
    CardListOnOneDevice,
    ManyAccountsOnOneDevice,
    ManyAccountsWithOneCard,
    FarmBehindOneAddress,
}

impl Kind {
    const ALL: [Self; 8] = [
        Self::OneCardOfOneAccount,
        Self::CardListOfOneAccount,
        Self::SlowCardList,
        Self::OneCardUnderManyAccounts,
        Self::CardListOnOneDevice,
        Self::ManyAccountsOnOneDevice,
        Self::ManyAccountsWithOneCard,
        Self::FarmBehindOneAddress,
    ];

    fn words(self) -> &'static str {
        match self {
            Self::OneCardOfOneAccount => "one bad card, one account",
            Self::CardListOfOneAccount => "card list, one account",
            Self::SlowCardList => "card list, one account, slowly",
            Self::OneCardUnderManyAccounts => "one bad card, many accounts",
            Self::CardListOnOneDevice => "card list, one device, 20 accounts",
            Self::ManyAccountsOnOneDevice => "one device, many accounts, good cards",
            Self::ManyAccountsWithOneCard => "one good card, many accounts",
            Self::FarmBehindOneAddress => "one address, all else different",
        }
    }

    /// What a blocking rule has to see of a campaign before it can hold, in declines or attempts; `None`
    /// where no rule blocks it, only reviews or observes.
    fn threshold(self) -> Option<Threshold> {
        match self {
            Self::OneCardOfOneAccount | Self::OneCardUnderManyAccounts => {
                Some(Threshold::Declines(5))
            }
            Self::CardListOfOneAccount => Some(Threshold::Declines(8)),
            Self::SlowCardList => Some(Threshold::Attempts(10)),
            Self::CardListOnOneDevice => Some(Threshold::Declines(10)),
            Self::ManyAccountsOnOneDevice => Some(Threshold::Attempts(25)),
            Self::ManyAccountsWithOneCard => Some(Threshold::Attempts(15)),
            Self::FarmBehindOneAddress => None,
        }
    }
}

#[derive(Clone, Copy)]
enum Threshold {
    Declines(u64),
    Attempts(u64),
}

/// What became of attempts.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    attempts: u64,
    paid: u64,
    reviewed: u64,
    declined: u64,
    blocked: u64,
    held: u64,
    refused_otherwise: u64,
    after_threshold: u64,
    blocked_after: u64,
}

impl Tally {
    fn add(&mut self, other: Self) {
        let Self {
            attempts,
            paid,
            reviewed,
            declined,
            blocked,
            held,
            refused_otherwise,
            after_threshold,
            blocked_after,
        } = other;
        self.attempts += attempts;
        self.paid += paid;
        self.reviewed += reviewed;
        self.declined += declined;
        self.blocked += blocked;
        self.held += held;
        self.refused_otherwise += refused_otherwise;
        self.after_threshold += after_threshold;
        self.blocked_after += blocked_after;
    }
}

/// For each buyer whom the rules stopped, attempts reviewed and blocked.
type StoppedBuyers = BTreeMap<String, [u64; 2]>;

/// What a run came to.
#[derive(Default)]
struct Ran {
    honest: Tally,
    honest_buyers: HashSet<String>,
    honest_buyers_reviewed: HashSet<String>,
    campaigns: Vec<Tally>,
}

struct Script {
    attempts: Vec<Scripted>,
    campaigns: Vec<Kind>,
    dice: SeededDice,
}

#[test]
fn a_hundred_thousand_attempts_and_no_honest_buyer_blocked() {
    let script = Script::write();
    // Beside the shipped rules the same buyers where no rules are in force.
    let (mut guarded, mut open) = (stage(), stage());
    guarded.put_rules(SHIPPED);
    open.put_rules("");
    let (ran, unguarded) = std::thread::scope(|scope| {
        let unguarded = scope.spawn(|| script.play(&mut open));
        let ran = script.play(&mut guarded);
        (ran, unguarded.join().expect("it says why it failed"))
    });
    println!("{}", report(&script, &ran));
    assert_eq!(attempts(&ran), ATTEMPTS as u64);
    assert_eq!(ran.honest.blocked, 0, "honest buyers were blocked");
    for kind in Kind::ALL {
        let sum = script.sum(&ran, kind);
        assert!(sum.attempts > 1_000, "{kind:?}: {sum:?}");
        if kind.threshold().is_none() {
            continue;
        }
        assert!(sum.after_threshold > 1_000, "{kind:?}: {sum:?}");
        let missed = sum.after_threshold - sum.blocked_after;
        assert!(missed * 100 <= sum.after_threshold, "{kind:?}: {sum:?}");
    }
    // What a person has to look at is not captured without one: the log is asked, not the drive.
    let (verdict, captured_unseen) = in_the_log(guarded.directory.path());
    assert_eq!(captured_unseen, 0);
    // And the lab says the same of the log without rules.
    assert_eq!(in_the_log(open.directory.path()), (StoppedBuyers::new(), 0));
    assert_eq!(unguarded.honest.blocked + unguarded.honest.reviewed, 0);
    let tried = lab(open.directory.path());
    for (user, count) in &verdict {
        assert_eq!(tried.get(user), Some(count), "{user}");
    }
    assert_eq!(tried.len(), verdict.len());
    let stopped: u64 = verdict.values().map(|[reviewed, _]| reviewed).sum();
    assert!(
        stopped > 1_000,
        "{stopped} attempts were for a person to look at"
    );
}

fn stage() -> Stage {
    let mut settings = EngineSettings::default();
    // The rules alone are to stop an account that goes on for ever.
    settings.bounds.keys_per_user_max = ATTEMPTS;
    let stage = Stage::new(&settings);
    stage.put_product("drop-1", 2_000_000, &[("USD", 12_000)]);
    for drop in 0..DROPS {
        stage.put_product(&format!("scarce-{drop}"), 250, &[("USD", 30_000)]);
    }
    stage
}

/// What `holdfast replay` says that the shipped rules would have done.
fn lab(dir: &Path) -> StoppedBuyers {
    let rules = concat!(env!("CARGO_MANIFEST_DIR"), "/rules/default.toml");
    let mut command = binary();
    command.arg("replay").arg(dir);
    command.args(["--rules", rules, "--list"]);
    let output = command.output().expect("it runs");
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{error}");
    let mut verdict = StoppedBuyers::new();
    for line in output.stdout.split(|byte| *byte == b'\n') {
        if line.is_empty() {
            continue;
        }
        let change: Value = serde_json::from_slice(line).unwrap();
        let place = usize::from(change["to"] == "blocked");
        let user = change["user_id"].as_str().unwrap().to_owned();
        verdict.entry(user).or_default()[place] += 1;
    }
    verdict
}

/// What the rules did by the log, and payments captured that a person should have decided about first.
fn in_the_log(dir: &Path) -> (StoppedBuyers, usize) {
    let mut verdict = StoppedBuyers::new();
    let mut waiting = HashSet::new();
    let mut unseen = 0;
    read_log(dir, Lsn(0), None, &mut |entry| {
        match entry.event {
            Event::PaymentStarted(it) if !it.review.is_empty() => {
                waiting.insert(it.purchase);
                verdict.entry(it.user.to_string()).or_default()[0] += 1;
            }
            Event::ReviewDecided(it) => {
                waiting.remove(&it.purchase);
            }
            Event::PaymentCaptured(it) => unseen += usize::from(waiting.contains(&it.purchase)),
            Event::AttemptRefused(it) if it.reason == Refusal::RiskBlocked => {
                let user = it.user.expect("a buyer was blocked");
                verdict.entry(user.to_string()).or_default()[1] += 1;
            }
            // Refused for another reason; a person would have had to look.
            Event::AttemptRefused(it) if it.flow == Flow::Buy && asks_a_person(&it.hits) => {
                let user = it.user.expect("a rule knows the buyer");
                verdict.entry(user.to_string()).or_default()[0] += 1;
            }
            _ => {}
        }
        ControlFlow::Continue(())
    })
    .expect("the log is good");
    (verdict, unseen)
}

fn asks_a_person(hits: &[RuleHit]) -> bool {
    hits.iter().any(|hit| hit.outcome == RuleOutcome::Review)
}

fn attempts(ran: &Ran) -> u64 {
    let abusive: u64 = ran.campaigns.iter().map(|it| it.attempts).sum();
    ran.honest.attempts + abusive
}

fn report(script: &Script, ran: &Ran) -> String {
    let mut text = format!(
        "{:38} {:>8} {:>7} {:>8} {:>8} {:>8} {:>15} {:>13}\n",
        "",
        "attempts",
        "paid",
        "reviewed",
        "declined",
        "blocked",
        "after threshold",
        "blocked of it"
    );
    let mut line = |name: &str, it: Tally| {
        #[allow(clippy::cast_precision_loss, reason = "a share to show")]
        let share = it.blocked_after as f64 * 100.0 / it.after_threshold.max(1) as f64;
        let share = if it.after_threshold == 0 {
            "-".to_owned()
        } else {
            format!("{share:.2} %")
        };
        let Tally {
            attempts,
            paid,
            reviewed,
            declined,
            blocked,
            after_threshold,
            ..
        } = it;
        let _ = writeln!(
            text,
            "{name:38} {attempts:>8} {paid:>7} {reviewed:>8} {declined:>8} {blocked:>8} {after_threshold:>15} {share:>13}"
        );
    };
    line("honest", ran.honest);
    let mut abuse = Tally::default();
    for kind in Kind::ALL {
        let sum = script.sum(ran, kind);
        abuse.add(sum);
        line(kind.words(), sum);
    }
    line("all abuse", abuse);
    let _ = write!(
        text,
        "of {} honest buyers stopped: {} blocked attempts, {} buyers asked to wait for a person; {} holds placed, {} refused otherwise",
        ran.honest_buyers.len(),
        ran.honest.blocked,
        ran.honest_buyers_reviewed.len(),
        ran.honest.held,
        ran.honest.refused_otherwise
    );
    text
}

impl Script {
    fn sum(&self, ran: &Ran, kind: Kind) -> Tally {
        let mut sum = Tally::default();
        for (of, tally) in self.campaigns.iter().zip(&ran.campaigns) {
            if *of == kind {
                sum.add(*tally);
            }
        }
        sum
    }

    /// Everybody tries, one after the other, until there were enough attempts.
    fn play(&self, stage: &mut Stage) -> Ran {
        let mut ran = Ran {
            campaigns: vec![Tally::default(); self.campaigns.len()],
            ..Ran::default()
        };
        let mut order: Vec<usize> = (0..self.attempts.len()).collect();
        order.sort_by_key(|number| (self.attempts[*number].ms, *number));
        let mut came: Vec<Option<Outcome>> = vec![None; self.attempts.len()];
        let mut done = 0;
        for number in order {
            if done == ATTEMPTS {
                break;
            }
            let it = &self.attempts[number];
            let hold = match it.call {
                Call::Hold | Call::Buy => None,
                Call::PayFor(earlier) => match came[earlier] {
                    Some(Outcome::Held(hold)) => Some(hold),
                    _ => continue,
                },
                Call::AgainAfter(earlier) => match came[earlier] {
                    Some(Outcome::Ended(Ended::Refused(Refusal::SoldOut))) => None,
                    _ => continue,
                },
            };
            stage.at(it.ms);
            let what = if matches!(it.call, Call::Hold) {
                let placed = stage.hold(&it.it);
                placed.map_or_else(|why| Outcome::Ended(Ended::Refused(why)), Outcome::Held)
            } else {
                Outcome::Ended(stage.buy(&it.it, hold, it.issuer))
            };
            done += 1;
            came[number] = Some(what);
            ran.count(self, it, what);
        }
        stage.settle();
        stage.journal().close();
        ran
    }
}

/// What came of one attempt.
#[derive(Clone, Copy)]
enum Outcome {
    Held(PurchaseId),
    Ended(Ended),
}

impl Ran {
    fn count(&mut self, script: &Script, it: &Scripted, came: Outcome) {
        let tally = match it.who {
            Who::Honest => &mut self.honest,
            Who::Abuser(campaign) => &mut self.campaigns[campaign],
        };
        let after = match it.who {
            Who::Honest => false,
            Who::Abuser(campaign) => match script.campaigns[campaign].threshold() {
                Some(Threshold::Declines(most)) => tally.declined >= most,
                Some(Threshold::Attempts(most)) => tally.attempts >= most,
                None => false,
            },
        };
        tally.attempts += 1;
        if it.who == Who::Honest && !self.honest_buyers.contains(&it.it.user) {
            self.honest_buyers.insert(it.it.user.clone());
        }
        tally.after_threshold += u64::from(after);
        match came {
            Outcome::Held(_) => tally.held += 1,
            Outcome::Ended(Ended::Captured(_)) => tally.paid += 1,
            Outcome::Ended(Ended::Declined(_)) => tally.declined += 1,
            Outcome::Ended(Ended::UnderReview(_)) => {
                tally.reviewed += 1;
                if it.who == Who::Honest {
                    self.honest_buyers_reviewed.insert(it.it.user.clone());
                }
            }
            Outcome::Ended(Ended::Refused(Refusal::RiskBlocked)) => {
                tally.blocked += 1;
                tally.blocked_after += u64::from(after);
            }
            Outcome::Ended(Ended::Refused(_)) => tally.refused_otherwise += 1,
        }
    }
}

/// An honest buyer.
struct Buyer {
    name: String,
    card: String,
    second_card: String,
    ip: String,
    device: String,
}

impl Script {
    fn write() -> Self {
        let mut script = Self {
            attempts: Vec::new(),
            campaigns: Vec::new(),
            dice: SeededDice::new(2_026),
        };
        let families = script.population();
        for drop in 0..DROPS {
            for family in &families {
                script.shop(family, drop);
            }
        }
        script.abuse();
        script
    }

    fn push(&mut self, ms: u64, who: Who, it: Try, call: Call, issuer: Issuer) -> usize {
        self.attempts.push(Scripted {
            ms,
            who,
            it,
            call,
            issuer,
        });
        self.attempts.len() - 1
    }

    /// Households: who shares what.
    fn population(&mut self) -> Vec<Vec<Buyer>> {
        let mut groups = Vec::new();
        let mut count = 0;
        let mut buyer = |card: String, ip: String, device: Option<String>| {
            count += 1;
            Buyer {
                name: format!("honest-{count}"),
                second_card: format!("tok_second_{count}"),
                device: device.unwrap_or_else(|| format!("phone-{count}")),
                card,
                ip,
            }
        };
        for family in 0..800_u64 {
            let members = 2 + self.dice.below(4);
            let ip = format!("10.1.{}.{}", family / 250, family % 250);
            let group = (0..members).map(|member| {
                let own = self.dice.percent(50);
                let card = if own {
                    format!("tok_own_{family}_{member}")
                } else {
                    format!("tok_family_{family}")
                };
                let tablet = self.dice.percent(60).then(|| format!("tablet-{family}"));
                buyer(card, ip.clone(), tablet)
            });
            groups.push(group.collect());
        }
        for number in 0..1_200 {
            let ip = format!("10.2.0.{}", number / 100);
            groups.push(vec![buyer(format!("tok_office_{number}"), ip, None)]);
        }
        for number in 0..400 {
            let ip = "10.3.0.1".to_owned();
            groups.push(vec![buyer(format!("tok_mobile_{number}"), ip, None)]);
        }
        for club in 0..10 {
            for member in 0..10 {
                let (ip, card) = (
                    format!("10.4.0.{club}"),
                    format!("tok_club_{club}_{member}"),
                );
                groups.push(vec![buyer(card, ip, Some(format!("club-{club}")))]);
            }
        }
        groups
    }

    /// A household at one drop.
    fn shop(&mut self, family: &[Buyer], drop: u64) {
        // A card over its limit: one member finds out by trying twice, another tries once more.
        let over_limit = self.dice.percent(2);
        for (place, buyer) in family.iter().enumerate() {
            if !self.dice.percent(78) {
                continue;
            }
            // Most come at once.
            let late = self.dice.below(30).min(self.dice.below(30));
            let ms = drop * DROPS_EVERY + late * 16 * SECOND + self.dice.below(16 * SECOND);
            let tries_bad_card = match place {
                0 => 2,
                1 => 1,
                _ => 0,
            };
            let bad = if over_limit { tries_bad_card } else { 0 };
            self.buyer_comes(buyer, ms, drop, (over_limit, bad));
        }
    }

    fn buyer_comes(&mut self, buyer: &Buyer, mut ms: u64, drop: u64, (over, bad): (bool, u64)) {
        let base = Try {
            ip: Some(buyer.ip.clone()),
            device: Some(buyer.device.clone()),
            ..Try::new(&buyer.name, &buyer.card)
        };
        if self.dice.percent(15) {
            let scarce = Try {
                product: format!("scarce-{drop}"),
                ..base.clone()
            };
            let mut last = self.push(ms, Who::Honest, scarce.clone(), Call::Buy, Issuer::Accepts);
            for _ in 0..=self.dice.below(3) {
                ms += self.dice.between(15 * SECOND, 40 * SECOND);
                let call = Call::AgainAfter(last);
                last = self.push(ms, Who::Honest, scarce.clone(), call, Issuer::Accepts);
            }
            ms += MINUTE;
        }
        let holds_first = self.dice.percent(30);
        let call = if holds_first {
            let hold = self.push(ms, Who::Honest, base.clone(), Call::Hold, Issuer::Accepts);
            ms += self.dice.between(20 * SECOND, 100 * SECOND);
            Call::PayFor(hold)
        } else {
            Call::Buy
        };
        // A hold that was paid for in vain is closed: the next try is a buy of its own.
        let mut call = Some(call);
        let mut pay = |script: &mut Self, ms: u64, card: &str, issuer| {
            let it = Try {
                card: card.to_owned(),
                ..base.clone()
            };
            script.push(
                ms,
                Who::Honest,
                it,
                call.take().unwrap_or(Call::Buy),
                issuer,
            );
        };
        for _ in 0..bad {
            pay(self, ms, &buyer.card, Issuer::Declines);
            ms += self.dice.between(20 * SECOND, 60 * SECOND);
        }
        let card = if over {
            &buyer.second_card
        } else {
            &buyer.card
        };
        if self.dice.percent(5) {
            // Mistyped: the card's number, which is another token, or its date.
            let mistyped = if self.dice.percent(50) {
                format!("{card}_{drop}")
            } else {
                card.clone()
            };
            pay(self, ms, &mistyped, Issuer::Declines);
            ms += self.dice.between(20 * SECOND, 60 * SECOND);
        }
        pay(self, ms, card, Issuer::Accepts);
    }

    /// One after the other: bursts of some minutes, and those that go on for hours.
    fn abuse(&mut self) {
        use Kind::{
            CardListOfOneAccount, CardListOnOneDevice, FarmBehindOneAddress,
            ManyAccountsOnOneDevice, ManyAccountsWithOneCard, OneCardOfOneAccount,
            OneCardUnderManyAccounts, SlowCardList,
        };
        for (kind, campaigns, attempts, every) in [
            (OneCardOfOneAccount, 40, 50, 5_000),
            (OneCardOfOneAccount, 4, 1_400, 5_000),
            (CardListOfOneAccount, 50, 80, 4_500),
            (CardListOfOneAccount, 4, 1_400, 5_000),
            (SlowCardList, 20, 300, 100_000),
            (OneCardUnderManyAccounts, 40, 80, 4_500),
            (OneCardUnderManyAccounts, 2, 1_400, 5_000),
            (CardListOnOneDevice, 30, 80, 4_500),
            (CardListOnOneDevice, 4, 1_500, 5_000),
            (ManyAccountsOnOneDevice, 10, 300, 9_000),
            (ManyAccountsWithOneCard, 10, 250, 9_000),
            (FarmBehindOneAddress, 3, 1_200, 2_000),
        ] {
            for _ in 0..campaigns {
                self.campaign(kind, attempts, every);
            }
        }
    }

    fn campaign(&mut self, kind: Kind, attempts: u64, every: u64) {
        let number = self.campaigns.len();
        self.campaigns.push(kind);
        let lasts = attempts * every;
        let latest = (DROPS * DROPS_EVERY).saturating_sub(lasts + HOUR).max(1);
        let mut ms = self.dice.below(latest);
        for n in 0..attempts {
            let each = |shared: bool, name: &str| {
                if shared {
                    format!("{name}-{number}")
                } else {
                    format!("{name}-{number}-{n}")
                }
            };
            let (one_user, one_card, one_device, one_ip, declined) = match kind {
                Kind::OneCardOfOneAccount => (true, true, true, true, 100),
                Kind::CardListOfOneAccount => (true, false, true, true, 90),
                Kind::SlowCardList => (true, false, true, true, 80),
                Kind::OneCardUnderManyAccounts => (false, true, false, false, 100),
                Kind::CardListOnOneDevice => (false, false, true, true, 90),
                Kind::ManyAccountsOnOneDevice => (false, false, true, true, 3),
                Kind::ManyAccountsWithOneCard => (false, true, false, false, 3),
                Kind::FarmBehindOneAddress => (false, false, false, true, 20),
            };
            let host = if one_ip { 1 } else { n % 250 };
            // Below the number of accounts that would be a crowd by itself.
            let user = if kind == Kind::CardListOnOneDevice {
                format!("abuser-{number}-{}", n % 20)
            } else {
                each(one_user, "abuser")
            };
            let it = Try {
                user,
                card: each(one_card, "tok_x").replace('-', "_"),
                device: Some(each(one_device, "dev")),
                ip: Some(format!("203.{}.{}.{host}", number / 250, number % 250)),
                ..Try::new("", "tok_x")
            };
            let issuer = if self.dice.percent(declined) {
                Issuer::Declines
            } else {
                Issuer::Accepts
            };
            self.push(ms, Who::Abuser(number), it, Call::Buy, issuer);
            ms += every / 2 + self.dice.below(every);
        }
    }
}
