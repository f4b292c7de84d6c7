//! Every counter against a list that is counted by hand: any order, any threads, applied twice, taken
//! over from a snapshot half way, at exactly N and exactly W, within one millisecond.

use holdfast::engine::counter::Depths;
use holdfast::engine::counter::{By, Counted, Counter};
use holdfast::engine::event::{
    AttemptRefused, DeclineCause, Event, Flow, HoldAfter, HoldExpired, HoldPlaced, Origin,
    PaymentCaptured, PaymentDeclined, PaymentSource, PaymentStarted, PaysFor, Quote, RetryAdvice,
};
use holdfast::engine::metadata::Metadata;
use holdfast::engine::refusal::Refusal;
use holdfast::engine::score::Appraisal;
use holdfast::engine::stamp::{Settled, Stamp};
use holdfast::engine::velocity::{Named, Velocity};
use holdfast::ids::{
    CaptureId, CardToken, DeviceId, KeyOwner, Lsn, ProductId, PurchaseId, PurchaseTag,
    ReceiptKeyId, RequestId, ShardId, UserId,
};
use holdfast::money::{Amount, Currency, Price, Tokens};
use holdfast::time::UnixMs;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::net::IpAddr;

const BEGIN: u64 = 1_800_000_000_000;

/// One thing that happens, in small numbers that stand for names.
#[derive(Clone, Debug)]
struct Happening {
    what: What,
    user: u8,
    card: u8,
    ip: Option<u8>,
    device: Option<u8>,
    product: u8,
    /// Milliseconds since the one before; often none.
    later: u64,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Hold,
    Buy,
    BuyEarlier,
    Refused,
    /// Not an attempt of its own.
    InFlight,
    Captured,
    Declined,
    /// No decline of the card's.
    Failed,
    Expired,
}

fn happenings(most: usize) -> impl Strategy<Value = Vec<Happening>> {
    use What::{Buy, BuyEarlier, Captured, Declined, Expired, Failed, Hold, InFlight, Refused};
    let kinds = [
        Hold, Buy, BuyEarlier, Refused, InFlight, Captured, Declined, Failed, Expired,
    ];
    let one = (
        proptest::sample::select(kinds.to_vec()),
        0..4_u8,
        0..4_u8,
        proptest::option::of(0..3_u8),
        proptest::option::of(0..3_u8),
        0..2_u8,
        prop_oneof![Just(0_u64), Just(0), 0..4_u64, Just(5_000), Just(10_000)],
    );
    let one = one.prop_map(|(what, user, card, ip, device, product, later)| Happening {
        what,
        user,
        card,
        ip,
        device,
        product,
        later,
    });
    proptest::collection::vec(one, 1..most)
}

fn user(n: u8) -> UserId {
    UserId::parse(&format!("u{n}")).expect("an id")
}
fn card(n: u8) -> CardToken {
    CardToken::parse(&format!("tok_{n}")).expect("a token")
}
fn ip(n: u8) -> IpAddr {
    let text = if n == 0 {
        "2001:db8::1".to_owned()
    } else {
        format!("192.0.2.{n}")
    };
    text.parse().expect("an address")
}
fn device(n: u8) -> DeviceId {
    DeviceId::parse(&format!("d{n}")).expect("an id")
}
fn product(n: u8) -> ProductId {
    ProductId::parse(&format!("p{n}")).expect("an id")
}

/// The records that it makes, each at its place.
fn records(happenings: &[Happening]) -> Vec<(Event, Stamp, usize)> {
    let mut at = BEGIN;
    let mut lsn = 0;
    let mut out = Vec::new();
    for (number, it) in happenings.iter().enumerate() {
        at += it.later;
        for event in events(it) {
            lsn += 256;
            let stamp = Stamp {
                at: UnixMs::new(at),
                lsn: Lsn(lsn),
                settled: Settled::Yes,
            };
            out.push((event, stamp, number));
        }
    }
    out
}

fn expired(it: &Happening, purchase: PurchaseId, origin: &Origin) -> Event {
    Event::HoldExpired(HoldExpired {
        purchase,
        user: user(it.user),
        product: product(it.product),
        quantity: 1,
        card: Some(card(it.card)),
        ip: origin.ip,
        device: origin.device.clone(),
    })
}

fn refused(it: &Happening, origin: &Origin, reason: Refusal) -> Event {
    Event::AttemptRefused(AttemptRefused {
        flow: Flow::Buy,
        reason,
        facts: None,
        user: Some(user(it.user)),
        product: Some(product(it.product)),
        quantity: 1,
        card: Some(card(it.card)),
        origin: origin.clone(),
        hits: Vec::new(),
        appraisal: Appraisal::Plain,
        left_out: 0,
    })
}

fn events(it: &Happening) -> Vec<Event> {
    let purchase = PurchaseId::new(ShardId::new(0), 0, PurchaseTag(0x5a17_c0de_5a17_c0de));
    let origin = Origin {
        request: RequestId(1),
        owner: KeyOwner::parse("shop").expect("an id"),
        key: None,
        ip: it.ip.map(ip),
        device: it.device.map(device),
    };
    let quote = Quote {
        currency: Currency::parse("USD").expect("listed"),
        unit_price: Price::new(100).expect("in range"),
        discount: Amount::ZERO,
        amount: Amount::new(100).expect("not negative"),
    };
    let payment_source = PaymentSource {
        card: card(it.card),
        product: product(it.product),
        ip: it.ip.map(ip),
        device: it.device.map(device),
    };
    let hold = || {
        Event::HoldPlaced(HoldPlaced {
            purchase,
            user: user(it.user),
            product: product(it.product),
            quantity: 1,
            quote,
            promotion: None,
            expires_at: UnixMs::new(0),
            flow: Flow::Buy,
            origin: origin.clone(),
            hits: Vec::new(),
            appraisal: Appraisal::Plain,
            other_quotes: Vec::new(),
            reward_tokens: 0,
            metadata: Metadata::default(),
        })
    };
    let started = |pays_for| {
        Event::PaymentStarted(PaymentStarted {
            purchase,
            user: user(it.user),
            quote,
            card: card(it.card),
            pays_for,
            origin: origin.clone(),
            hits: Vec::new(),
            appraisal: Appraisal::Plain,
            review: Vec::new(),
            metadata: Metadata::default(),
        })
    };
    let declined = |cause| {
        Event::PaymentDeclined(PaymentDeclined {
            purchase,
            user: user(it.user),
            cause,
            code: None,
            advice: RetryAdvice::OtherCard,
            hold: HoldAfter::Ended,
            payment_source: payment_source.clone(),
        })
    };
    match it.what {
        What::Hold => vec![hold()],
        What::Buy => vec![hold(), started(PaysFor::OwnHold)],
        What::BuyEarlier => vec![started(PaysFor::EarlierHold)],
        What::Refused => vec![refused(it, &origin, Refusal::SoldOut)],
        What::InFlight => vec![refused(it, &origin, Refusal::IdempotencyInFlight)],
        What::Captured => vec![Event::PaymentCaptured(PaymentCaptured {
            purchase,
            user: user(it.user),
            capture: CaptureId::parse("cap").expect("an id"),
            receipt_key: ReceiptKeyId::parse("r1").expect("an id"),
            signing_key: None,
            tokens: Tokens::NONE,
            debt_paid: Tokens::NONE,
            payment_source,
            quantity: 1,
            quote,
            metadata: Metadata::default(),
        })],
        What::Declined => vec![declined(DeclineCause::DeclinedByIssuer)],
        What::Failed => vec![declined(DeclineCause::GatewayFailed)],
        What::Expired => vec![expired(it, purchase, &origin)],
    }
}

/// What a happening counts as and what it names, by `by`, as a number.
fn named(it: &Happening, by: By) -> Option<u8> {
    match by {
        By::User => Some(it.user),
        By::Card => (it.what != What::Hold).then_some(it.card),
        By::Ip => it.ip,
        By::Device => it.device,
        // A payment for an earlier hold has counted its product with the hold.
        By::Product => (it.what != What::BuyEarlier).then_some(it.product),
    }
}

fn counts_as(what: What) -> Option<Counted> {
    match what {
        What::Hold | What::Buy | What::BuyEarlier | What::Refused => Some(Counted::Attempt),
        What::Captured => Some(Counted::Purchase),
        What::Declined => Some(Counted::Declined),
        What::Expired => Some(Counted::Expired),
        What::InFlight | What::Failed => None,
    }
}

/// Counted by hand: how many of `counter` under `key` at `since` or later.
fn by_hand(happenings: &[Happening], counter: Counter, key: u8, since: u64) -> usize {
    let mut at = BEGIN;
    let mut instants = 0;
    let mut values = BTreeMap::new();
    for it in happenings {
        at += it.later;
        if named(it, counter.by()) != Some(key) || at < since {
            continue;
        }
        match counter.counted() {
            Counted::Card if counts_as(it.what) == Some(Counted::Attempt) => {
                if let Some(card) = named(it, By::Card) {
                    values.insert(card, at);
                }
            }
            Counted::User if counts_as(it.what) == Some(Counted::Attempt) => {
                values.insert(it.user, at);
            }
            kind => instants += usize::from(counts_as(it.what) == Some(kind)),
        }
    }
    if counter.counted().is_distinct() {
        values.len()
    } else {
        instants
    }
}

fn everything_kept(depth: u16) -> Velocity {
    let velocity = Velocity::new(1_024, 7);
    velocity.keep(&depths(depth));
    velocity
}

fn depths(depth: u16) -> Depths {
    std::array::from_fn(|place| Counter::from_index(place).map_or(0, |_| depth))
}

/// Each counter of each key, at windows that end at and beside every instant that there is.
fn agrees(velocity: &Velocity, happenings: &[Happening], depth: u16) {
    let now = BEGIN + happenings.iter().map(|it| it.later).sum::<u64>();
    let mut edges = vec![0, now, now + 1, now.saturating_sub(10_000) + 1];
    let mut at = BEGIN;
    for it in happenings {
        at += it.later;
        edges.extend([at, at + 1]);
    }
    edges.sort_unstable();
    edges.dedup();
    let cap = u32::from(depth);
    for counter in Counter::all() {
        for key in 0..4_u8 {
            let (user, card, device, product) = (user(key), card(key), device(key), product(key));
            let named = Named {
                user: Some(&user),
                card: Some(&card),
                ip: Some(ip(key)),
                device: Some(&device),
                product: Some(&product),
            };
            for since in &edges {
                let counted = velocity.count(counter, &named, *since, cap);
                let expected = by_hand(happenings, counter, key, *since);
                let expected = u32::try_from(expected).expect("few").min(cap);
                assert_eq!(counted, expected, "{counter} of {key} since {since}");
            }
        }
    }
}

fn exported(velocity: &Velocity) -> Vec<(u128, Vec<(u64, u64)>)> {
    let mut all = Vec::new();
    velocity.export(|key, instants| {
        all.push((key, instants.into_iter().map(|it| (0, it)).collect()));
    });
    velocity.export_distinct(|key, seen| all.push((key, seen)));
    all.sort_unstable();
    all
}

fn taken_over(from: &Velocity, depth: u16) -> Velocity {
    let velocity = everything_kept(depth);
    from.export(|key, instants| velocity.import(key, &instants).expect("instants"));
    from.export_distinct(|key, seen| velocity.import_distinct(key, &seen).expect("instants"));
    velocity
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn counters_are_what_counting_by_hand_says(happenings in happenings(60), depth in 1..22_u16) {
        let velocity = everything_kept(depth);
        for (event, stamp, _) in records(&happenings) {
            velocity.record(&event, stamp);
            velocity.record(&event, stamp);
        }
        agrees(&velocity, &happenings, depth);
    }

    #[test]
    fn a_snapshot_half_way_and_the_log_from_anywhere_before_lead_to_the_same(
        happenings in happenings(60),
        (cut, back) in (0..60_usize, 0..60_usize),
        depth in 1..22_u16,
    ) {
        let records = records(&happenings);
        let cut = cut.min(records.len());
        let straight = everything_kept(depth);
        for (event, stamp, _) in &records[..cut] {
            straight.record(event, *stamp);
        }
        let recovered = taken_over(&straight, depth);
        for (event, stamp, _) in &records[cut..] {
            straight.record(event, *stamp);
        }
        // What the snapshot has already is applied again.
        for (event, stamp, _) in &records[cut.saturating_sub(back)..] {
            recovered.record(event, *stamp);
        }
        prop_assert_eq!(exported(&recovered), exported(&straight));
        agrees(&recovered, &happenings, depth);
    }

    #[test]
    fn threads_in_any_order_count_the_same(happenings in happenings(120), depth in 1..22_u16) {
        let records = records(&happenings);
        let straight = everything_kept(depth);
        for (event, stamp, _) in &records {
            straight.record(event, *stamp);
        }
        let shared = everything_kept(depth);
        std::thread::scope(|scope| {
            for start in 0..4 {
                let (shared, records) = (&shared, &records);
                scope.spawn(move || {
                    // Each applies everything, from another place and in another direction.
                    let turned = records.iter().cycle().skip(start * 31 % records.len());
                    let mut turned: Vec<_> = turned.take(records.len()).collect();
                    if start % 2 == 1 {
                        turned.reverse();
                    }
                    for (event, stamp, _) in turned {
                        shared.record(event, *stamp);
                    }
                });
            }
        });
        prop_assert_eq!(exported(&shared), exported(&straight));
        agrees(&shared, &happenings, depth);
    }
}

#[test]
fn a_counter_grows_with_its_depth_and_keeps_what_it_has_where_the_depth_falls() {
    let attempts = Counter::new(Counted::Attempt, By::User).expect("there is one");
    let velocity = Velocity::new(1_024, 7);
    let keep = |depth| {
        let mut depths = depths(0);
        depths[attempts.index()] = depth;
        velocity.keep(&depths);
    };
    let hold = Happening {
        what: What::Hold,
        user: 0,
        card: 0,
        ip: None,
        device: None,
        product: 0,
        later: 1,
    };
    let records = records(&vec![hold; 300]);
    let ana = user(0);
    let named = Named {
        user: Some(&ana),
        ..Named::default()
    };
    let count = || velocity.count(attempts, &named, 0, 1_000);
    let mut records = records.iter();
    let mut next = |many: usize| {
        for (event, stamp, _) in records.by_ref().take(many) {
            velocity.record(event, *stamp);
        }
    };
    next(5);
    assert_eq!(count(), 0, "nobody asks for it");
    keep(3);
    next(5);
    assert_eq!(count(), 3);
    keep(100);
    next(7);
    assert_eq!(count(), 10, "what was kept, and what came since");
    next(200);
    assert_eq!(count(), 100);
    keep(4);
    next(10);
    assert_eq!(count(), 100, "what is there is not thrown away");
}
