//! Owns the JSON of risk: matched rules, changes of rules, facts about buyers.

use super::{by, instant, merged};
use crate::engine::counter::Counter;
use crate::engine::event::{
    BuyerPaused, BuyerRated, BuyerSegmented, CounterKept, RiskRulesSet, RiskScoringSet, RuleHit,
};
use crate::engine::features::FEATURES_VERSION;
use crate::engine::score::Appraisal;
use crate::json::Object;
use serde_json::{Value, json};

/// Writes the rules that an attempt matched.
pub(super) fn put_hits(object: &mut Object<'_>, hits: &[RuleHit]) {
    let hit = |hit: &RuleHit| json!({ "rule": hit.rule.as_str(), "then": hit.outcome.as_str() });
    object.put("risk", &hits.iter().map(hit).collect::<Vec<_>>());
}

/// Writes the features and the score of an attempt.
pub(super) fn put_appraisal(object: &mut Object<'_>, appraisal: &Appraisal) {
    let Some(scored) = appraisal.scored() else {
        object.put("features", &()).put("score", &());
        return;
    };
    object.object("features", |object| {
        object.put("version", &FEATURES_VERSION);
        for (feature, value) in scored.features.iter() {
            object.put(feature.as_str(), &value);
        }
    });
    match &scored.score {
        Some(score) => object.object("score", |object| {
            object.put("value", &score.score.get());
            object.hex("model", &score.model.0);
        }),
        None => object.put("score", &()),
    };
}

pub(super) fn scoring(set: &RiskScoringSet) -> Value {
    json!({
        "features": set.features,
        "model": set.model.as_ref().map(|model| json!({
            "digest": hex::encode(model.digest.0),
            "kind": model.kind,
            "name": model.name,
        })),
        "kept": kept(&set.kept),
    })
}

fn kept(kept: &[CounterKept]) -> Value {
    let kept = kept.iter().map(|kept| {
        let counter = Counter::from_index(usize::from(kept.counter));
        json!({
            "counter": counter.map(|counter| counter.to_string()),
            "depth": kept.depth,
            "since": kept.since.to_string(),
        })
    });
    kept.collect()
}

pub(super) fn rules(set: &RiskRulesSet) -> Value {
    let fields = json!({
        "source": set.source.as_str(),
        "digest": hex::encode(set.digest.0),
        "text": set.text,
        "kept": kept(&set.kept),
    });
    let act = set.by.as_ref();
    act.map_or(fields.clone(), |act| merged(fields, by(act)))
}

pub(super) fn pause(paused: &BuyerPaused) -> Value {
    let pause = paused.pause.as_ref();
    let fields = json!({
        "until": pause.map(|pause| pause.until.to_string()),
        "reason": pause.map(|pause| pause.reason.clone()),
    });
    merged(fields, by(&paused.by))
}

pub(super) fn rating(rated: &BuyerRated) -> Value {
    let rating = &rated.rating;
    let fields = json!({
        "segment": rating.segment.as_ref().map(crate::ids::Segment::as_str),
        "risk_score": rating.risk_score,
        "account_since": instant(rating.account_since),
    });
    merged(fields, by(&rated.by))
}

pub(super) fn segmented(segmented: &BuyerSegmented) -> Value {
    json!({
        "segment": segmented.segment.as_str(),
        "series": format!("{:016x}", segmented.series),
        "change": segmented.change,
        "run": segmented.run,
    })
}
