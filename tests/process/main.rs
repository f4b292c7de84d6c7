//! The process and its directory: configuration, reload, logging, files, faults of the disk, clock and backup.

mod backup;
mod clock;
mod config;
mod files;
mod hostile_bytes;
mod logging;
mod lost_files;
mod moved_directory;
mod reload;
mod storage_fault;
