//! The journal and the engine below it: commands, replay, formats, quotas, and imports from elsewhere.

mod came;
mod disk;
mod event_schemas;
mod golden;
mod import_journal;
#[cfg(feature = "redis-import")]
mod import_redis;
mod import_usage;
mod lifecycle;
mod model;
mod quotas;
mod scenarios;
mod snapshot_problems;
mod snapshot_slices;
