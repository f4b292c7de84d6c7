//! Those who do something about payments beside the buyers: somebody at the gateway's own site,
//! cardholders who dispute a part, and the operator, who gives money back and settles what is stuck.

use crate::{PRICE, Paid, World, insist};
use serde_json::{Value, json};
use std::sync::atomic::Ordering;
use std::time::Duration;
use support::clients::Dice;
use support::stripe_server::site::Told;
use support::{ADMIN, Client, Request};

/// What cardholders dispute at most; never more than is left.
const DISPUTED: [i64; 4] = [1, 500, 1_998, PRICE];

/// What comes of it, told in any order.
const STORIES: [&[Told]; 6] = [
    &[Told::Opened, Told::Lost],
    &[Told::Opened, Told::Withdrawn, Told::Lost],
    &[Told::Opened, Told::Won],
    &[Told::Opened, Told::Withdrawn, Told::Won, Told::Reinstated],
    &[Told::Opened, Told::Lost, Told::Won],
    &[
        Told::Opened,
        Told::Withdrawn,
        Told::Lost,
        Told::Won,
        Told::Reinstated,
    ],
];

/// What an API call for a refund may be refused with, where others move the same money.
const MOVED: [&str; 4] = [
    "refund_conflict",
    "refund_exceeds_captured",
    "refund_failed",
    "wrong_state",
];

/// Does something with each purchase that it is given, until nothing is bought any more.
pub fn bystander(world: &World, mut dice: Dice) {
    let mut client = None;
    loop {
        let done = world.bought.load(Ordering::Relaxed);
        let paid = world.left.lock().unwrap().pop();
        let Some(paid) = paid else {
            if done {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
            continue;
        };
        for act in 0..=dice.below(3) {
            match dice.below(3) {
                0 => at_the_site(world, &paid, &mut dice),
                1 => dispute(world, &paid, &mut dice),
                _ => refund(world, &mut client, &paid, act, &mut dice),
            }
        }
    }
}

fn at_the_site(world: &World, paid: &Paid, dice: &mut Dice) {
    let most = *dice.pick(&[1, 700, 1_999]);
    if world.stripe.some_back(&paid.intent, most) > 0 {
        world.refunded_at_site.fetch_add(1, Ordering::Relaxed);
    }
}

fn dispute(world: &World, paid: &Paid, dice: &mut Dice) {
    let (most, told) = (*dice.pick(&DISPUTED), *dice.pick(&STORIES));
    if world.stripe.part_disputed(&paid.intent, most, told) > 0 {
        let mut disputes = world.disputes.lock().unwrap();
        disputes.insert(paid.purchase.clone());
    }
}

/// The operator gives something back, knowing what the purchase says at that moment.
fn refund(world: &World, client: &mut Option<Client>, paid: &Paid, act: usize, dice: &mut Dice) {
    let path = format!("/admin/purchases/{}", paid.purchase);
    let shown = insist(world, client, &Request::get(&path).key(ADMIN)).json();
    let before = shown["refunded_amount"]["value"].as_i64().unwrap();
    let mut asked = json!({"previously_refunded": before, "reason": "wanted back"});
    if dice.percent(50) {
        asked["amount"] = 300.into();
    }
    let path = format!("{path}/refunds");
    let key = format!("operator-{}-{act}", paid.purchase);
    let request = Request::post(&path).key(ADMIN).once(&key).json(&asked);
    let answer = insist(world, client, &request);
    match answer.status {
        201 | 202 => {
            world.refunded.fetch_add(1, Ordering::Relaxed);
        }
        409 => assert!(MOVED.contains(&answer.reason().as_str()), "{answer:?}"),
        _ => panic!("{answer:?}"),
    }
}

/// Settles what is stuck: what the gateway took is booked, or given back.
pub fn operator(world: &World, mut dice: Dice) {
    let mut client = None;
    while !world.over.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(50));
        let open = Request::get("/admin/payments?limit=50").key(ADMIN);
        let open = insist(world, &mut client, &open).json();
        let stuck = |it: &&Value| it["stuck"] == true;
        let open = open["payments"].as_array().expect("a list of them");
        for payment in open.iter().filter(stuck) {
            let purchase = payment["purchase_id"].as_str().unwrap();
            settle(world, &mut client, purchase, &mut dice);
        }
    }
}

fn settle(world: &World, client: &mut Option<Client>, purchase: &str, dice: &mut Dice) {
    let (how, counter) = if dice.percent(50) {
        ("captured", &world.settled)
    } else {
        ("voided", &world.voided)
    };
    if how == "voided" {
        let mut wanted = world.wanted_voided.lock().unwrap();
        wanted.insert(purchase.to_owned());
    }
    let path = format!("/admin/purchases/{purchase}/settle");
    let request = Request::post(&path).key(ADMIN);
    let request = request.json(&json!({"as": how, "note": "looked it up at the gateway"}));
    let answer = insist(world, client, &request);
    match (answer.status, answer.reason().as_str()) {
        (200 | 202, _) => {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        // Whoever asked before the process ended got it done.
        (409, "wrong_state") => {}
        _ => panic!("{answer:?}"),
    }
}
