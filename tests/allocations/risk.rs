//! Evaluating rules, taking features and asking a model allocates nothing, whatever holds.

use crate::allocations;
use holdfast::engine::counter::{By, Counted, Counter};
use holdfast::engine::features::Features;
use holdfast::engine::risk::attempt::Past;
use holdfast::engine::risk::kept::{depths_of, kept_for};
use holdfast::engine::risk::program::{Facts, LiveCounts};
use holdfast::engine::shard::Shard;
use holdfast::engine::velocity::{Named, Velocity};
use holdfast::ids::{CardToken, DeviceId, ProductId, Segment, ShardId, UserId};
use holdfast::money::Currency;
use holdfast::risk::model::parse;
use holdfast::risk::{SHIPPED, compile};
use holdfast::time::UnixMs;
const MORE: &str = "
[[rule]]
name = \"long\"
when = \"not (amount > 1 and quantity > 9 or currency == 'EUR') and (segment == 'vip' or account_age < 1d) and amount(captured by user last 1h) >= 0\"
then = \"observe\"
";

const LOGISTIC: &str = r#"{"format": "holdfast-risk-model/1", "features": 1, "kind": "logistic",
 "intercept": 0, "inputs": [{"feature": "users_ip_1h", "weight": 1, "mean": 0, "scale": 1, "missing": 9}]}"#;
const TREES: &str = r#"{"format": "holdfast-risk-model/1", "features": 1, "base_score": -1,
 "kind": "gradient_boosted_trees", "trees": [[
  {"feature": "amount", "threshold": 5000, "below": 1, "otherwise": 2, "missing": "below"},
  {"leaf": 0}, {"leaf": 1}]]}"#;

#[test]
fn evaluating_allocates_nothing() {
    let compiled = compile(&format!("{SHIPPED}{MORE}")).expect("they are fine");
    let velocity = Velocity::new(1_024, 7);
    velocity.keep(&depths_of(&kept_for(&compiled.set, &[], UnixMs::default())));
    let shard = Shard::new(ShardId::new(0));
    let user = UserId::parse("ana-with-a-long-name-that-does-not-fit-inline").expect("an id");
    let card = CardToken::parse("tok_with_a_long_name_that_does_not_fit_inline").expect("a token");
    let device = DeviceId::parse("device-1").expect("an id");
    let product = ProductId::parse("drop-1").expect("an id");
    let segment = Segment::parse("vip").expect("an id");
    let facts = Facts {
        named: Named {
            user: Some(&user),
            card: Some(&card),
            ip: Some("2001:db8::7".parse().expect("an address")),
            device: Some(&device),
            product: Some(&product),
        },
        at: UnixMs::new(1_800_000_000_000),
        amount: 5_000,
        currency: Currency::parse("USD").expect("listed"),
        quantity: 1,
        risk_score: Some(1),
        account_since: Some(UnixMs::new(0)),
        segment: Some(&segment),
    };
    let counts = LiveCounts {
        velocity: &velocity,
        shard: &shard,
    };
    // What is kept a thread, such as for reading shared maps, is made once.
    let declined = Counter::new(Counted::Declined, By::Card).expect("there is one");
    velocity.count(declined, &facts.named, 0, 9);
    let _ = compiled.set.evaluate(&facts, &counts);
    let before = allocations();
    let mut met = 0;
    for _ in 0..1_000 {
        let found = compiled.set.evaluate(&facts, &counts);
        met += u32::from(found.strictest().is_some());
    }
    let allocated = allocations() - before;
    assert_eq!((met, allocated), (1_000, 0));

    let models = [LOGISTIC, TREES].map(|text| parse(text).expect("it is fine").model);
    let before = allocations();
    let mut sum = 0;
    for _ in 0..1_000 {
        let features = Features::take(&facts, Past::default(), &counts);
        sum += models
            .iter()
            .map(|model| model.score(&features).get())
            .sum::<u32>();
    }
    let allocated = allocations() - before;
    assert_eq!((sum, allocated), (1_000_000, 0), "each half and half");
}
