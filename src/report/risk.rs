//! Owns how risk looks outside: rules that were met, rules that were set, what is said of buyers.

use super::json::Object;
use super::{by, instant, merged};
use crate::engine::event::{BuyerPaused, BuyerRated, Event, RiskRulesSet, RuleHit};
use crate::engine::risk::counter::Counter;
use serde_json::{Value, json};

pub(super) fn fields_of(event: &Event) -> Value {
    match event {
        Event::RiskRulesSet(set) => rules(set),
        Event::BuyerPaused(paused) => pause(paused),
        Event::BuyerRated(rated) => rating(rated),
        Event::BuyerSegmented(it) => json!({
            "segment": it.segment.as_str(),
            "series": format!("{:016x}", it.series),
            "change": it.change,
            "run": it.run,
        }),
        _ => json!({}),
    }
}

/// The rules that an attempt met.
pub(super) fn put_hits(object: &mut Object<'_>, hits: &[RuleHit]) {
    let hit = |hit: &RuleHit| json!({ "rule": hit.rule.as_str(), "then": hit.outcome.as_str() });
    object.put("risk", &hits.iter().map(hit).collect::<Vec<_>>());
}

fn rules(set: &RiskRulesSet) -> Value {
    let kept = set.kept.iter().map(|kept| {
        let counter = Counter::from_index(usize::from(kept.counter));
        json!({
            "counter": counter.map(|counter| counter.to_string()),
            "depth": kept.depth,
            "since": kept.since.to_string(),
        })
    });
    let fields = json!({
        "source": set.source.as_str(),
        "digest": hex::encode(set.digest.0),
        "text": set.text,
        "kept": kept.collect::<Vec<_>>(),
    });
    let act = set.by.as_ref();
    act.map_or(fields.clone(), |act| merged(fields, by(act)))
}

fn pause(paused: &BuyerPaused) -> Value {
    let pause = paused.pause.as_ref();
    let fields = json!({
        "until": pause.map(|pause| pause.until.to_string()),
        "reason": pause.map(|pause| pause.reason.clone()),
    });
    merged(fields, by(&paused.by))
}

fn rating(rated: &BuyerRated) -> Value {
    let rating = &rated.rating;
    let fields = json!({
        "segment": rating.segment.as_ref().map(crate::ids::Segment::as_str),
        "risk_score": rating.risk_score,
        "account_since": instant(rating.account_since),
    });
    merged(fields, by(&rated.by))
}
