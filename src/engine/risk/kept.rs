//! Owns how much of each counter is kept, since when, and hence from when on a rule is exact.
//!
//! Invariants: what is kept changes only by events of the log, so recovery keeps the same; a counter
//! that is kept deeper than before is exact at the new depth from then on, once a whole window has
//! passed; what was kept before stays exact.

use super::program::{CounterNeed, RuleSet};
use crate::engine::event::CounterKept;
use crate::engine::words::counter::{Counter, Depths, depths_always};
use crate::time::UnixMs;

/// What is kept by `kept`.
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

/// What is kept once `rules` are in force, where before it was `before`, from `since` on.
pub fn kept_for(rules: &RuleSet, before: &[CounterKept], since: UnixMs) -> Vec<CounterKept> {
    let mut asked = depths_always();
    for (_, ask) in rules.asks() {
        let depth = &mut asked[ask.counter.index()];
        *depth = ask.depth.max(*depth);
    }
    kept_to(&asked, before, since)
}

/// What is kept once this much is asked for, likewise.
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

/// The depths of one counter that were reached one after the other, up to `wanted`.
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
        // Kept deeper than asked for now: that deep it is exact since then.
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

/// From when on `ask` is answered exactly, by what is kept.
pub fn exact_from(ask: CounterNeed, kept: &[CounterKept]) -> UnixMs {
    if ask.depth <= ask.counter.depth_always() {
        return UnixMs::default();
    }
    let index = number_of(ask.counter);
    let deep = kept
        .iter()
        .filter(|it| it.counter == index && it.depth >= ask.depth);
    match deep.map(|it| it.since).min() {
        // It has been kept since before there was anything to count.
        Some(since) if since == UnixMs::default() => since,
        Some(since) => since.plus_ms(ask.window_ms),
        None => UnixMs::new(u64::MAX),
    }
}

fn number_of(counter: Counter) -> u8 {
    u8::try_from(counter.index()).expect("there are fewer than 256 counters")
}
