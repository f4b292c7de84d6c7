//! Owns how deep each counter is stored, since when, and so from when on a rule is exact.
//!
//! Invariants: depths change only by events of the log, so recovery stores the same; a counter that
//! becomes deeper is exact at the new depth once a whole window has passed; what was exact before
//! stays exact.

use super::program::{CounterNeed, RuleSet};
use crate::engine::event::CounterKept;
use crate::engine::words::counter::{Counter, Depths, depths_always};
use crate::time::UnixMs;

/// The depths of `kept`.
pub fn depths_of(kept: &[CounterKept]) -> Depths {
    let mut depths = depths_always();
    for it in kept {
        let place = usize::from(it.counter);
        if Counter::from_index(place).is_some() {
            depths[place] = depths[place].max(it.depth);
        }
    }
    depths
}

/// The depths for `rules` in force since `since`, after `before`.
pub fn kept_for(rules: &RuleSet, before: &[CounterKept], since: UnixMs) -> Vec<CounterKept> {
    let mut asked = depths_always();
    for (_, ask) in rules.asks() {
        let depth = &mut asked[ask.counter.index()];
        *depth = ask.depth.max(*depth);
    }
    kept_to(&asked, before, since)
}

/// The depths for these needs, likewise.
pub fn kept_to(asked: &Depths, before: &[CounterKept], since: UnixMs) -> Vec<CounterKept> {
    let mut kept = Vec::new();
    for counter in Counter::all() {
        let wanted = asked[counter.index()];
        if wanted > counter.depth_always() {
            kept.extend(steps(counter, wanted, before, since));
        }
    }
    kept
}

/// The successive depths of one counter, up to `wanted`.
fn steps(counter: Counter, wanted: u16, before: &[CounterKept], since: UnixMs) -> Vec<CounterKept> {
    let index = number_of(counter);
    let mut steps: Vec<_> = before
        .iter()
        .filter(|it| it.counter == index)
        .cloned()
        .collect();
    steps.sort_by_key(|it| it.depth);
    let enough = steps.iter().position(|it| it.depth >= wanted);
    match enough {
        // It is stored deeper than needed now, and exact that deep since then.
        Some(place) => {
            steps.truncate(place + 1);
            steps[place].depth = wanted;
        }
        None => steps.push(CounterKept {
            counter: index,
            depth: wanted,
            since,
        }),
    }
    steps
}

/// From when on `ask` is answered exactly with the depths of `kept`.
pub fn exact_from(ask: CounterNeed, kept: &[CounterKept]) -> UnixMs {
    if ask.depth <= ask.counter.depth_always() {
        return UnixMs::default();
    }
    let index = number_of(ask.counter);
    let deep = kept
        .iter()
        .filter(|it| it.counter == index && it.depth >= ask.depth);
    match deep.map(|it| it.since).min() {
        // It has been stored since before there was anything to count.
        Some(since) if since == UnixMs::default() => since,
        Some(since) => since.plus_ms(ask.window_ms),
        None => UnixMs::new(u64::MAX),
    }
}

fn number_of(counter: Counter) -> u8 {
    u8::try_from(counter.index()).expect("there are fewer than 256 counters")
}
