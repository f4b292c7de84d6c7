//! A write-ahead log that knows bytes only.
