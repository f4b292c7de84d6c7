//! Owns saying from when on a rule is exact: a counter that is kept deeper than before knows only
//! what happened since.

use crate::engine::event::CounterKept;
use crate::engine::risk::kept::exact_from;
use crate::engine::risk::program::RuleSet;
use crate::time::UnixMs;

/// For each rule, until when it may see less than there was; `None` where it is exact at `now`.
pub fn warms_up_until(rules: &RuleSet, kept: &[CounterKept], now: UnixMs) -> Vec<Option<UnixMs>> {
    let mut until = vec![None; rules.rules().count()];
    for (rule, ask) in rules.asks() {
        let exact = exact_from(ask, kept);
        if exact > now {
            until[rule] = until[rule].max(Some(exact));
        }
    }
    until
}
