//! The process and its directory: configuration, reload, logging, files, faults of the disk, clock, backup and documents.

mod backup;
mod clock;
mod config;
mod documents;
#[cfg(not(all(
    feature = "kafka",
    feature = "otlp",
    feature = "postgres",
    feature = "redis-import"
)))]
mod features;
mod files;
mod first_minute;
mod hostile_bytes;
mod kubernetes;
mod logging;
mod lost_files;
mod manual;
mod moved_directory;
mod packaging;
mod reload;
mod storage_fault;
mod supervisor;
