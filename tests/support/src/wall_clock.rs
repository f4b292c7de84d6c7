//! The wall clock of a process under test, moved by `libfaketime` while it runs; the monotonic clock is
//! the machine's.

use super::Setup;
use std::path::{Path, PathBuf};

const FAKETIME: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

/// The wall clock of one process, and of those that follow it in its data directory.
pub struct WallClock {
    directory: tempfile::TempDir,
}

impl WallClock {
    pub fn right() -> Self {
        assert!(
            Path::new(FAKETIME).exists(),
            "faketime is not installed; `./dev servers` does it"
        );
        let clock = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        clock.set("+0");
        clock
    }

    /// Where it is kept; gone with it.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    fn file(&self) -> PathBuf {
        self.directory.path().join("faketime")
    }

    /// Sets it, by so much from what is right.
    pub fn set(&self, offset: &str) {
        let next = self.directory.path().join("next");
        std::fs::write(&next, offset).unwrap();
        std::fs::rename(next, self.file()).unwrap();
    }

    /// A server that reads it.
    pub fn read_by(&self, setup: Setup) -> Setup {
        setup
            .env("LD_PRELOAD", FAKETIME)
            .env("FAKETIME_TIMESTAMP_FILE", self.file().to_str().unwrap())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            .env("NO_FAKE_STAT", "1")
    }
}
