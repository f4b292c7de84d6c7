//! Risk: counters, profiles, rules and the model, live and over a replayed log.

mod attack_drop;
mod counters;
mod model;
mod profiles;
mod recovery;
mod replay;
mod replay_stage;
