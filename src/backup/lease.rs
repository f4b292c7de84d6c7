//! Owns which process may write a backup: one, of the newest generation.
//!
//! The lease is one object that its holder replaces every [`BEAT`], only if no other process has
//! replaced it. A process that finds another's lease decides by [`verdict`]:
//!
//! | the lease belongs to | decision |
//! |---|---|
//! | another log | refused |
//! | a newer generation | refused: this one has been superseded |
//! | an older generation | taken over at once; its holder notices and stops |
//! | the same directory, which only one process has open | taken over at once |
//! | anything else | watched: refused if it is still replaced, taken over if not |
//!
//! Invariants: two processes never hold it at the same time; a process that lost it learns that at
//! its next beat. Deliberately absent: what a refused process does.

use super::names::LEASE;
use super::store::{Replaced, Store, StoreError, Version};
use crate::journal::Generation;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::{Duration, Instant};

/// How often the holder renews the lease.
pub(super) const BEAT: Duration = Duration::from_secs(2);

/// How long another process's lease must be unchanged before it is taken over.
pub(super) const STANDSTILL: Duration = Duration::from_secs(10);

const FORMAT: u32 = 1;

/// The content of the object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lease {
    format: u32,
    /// The log, in hexadecimal.
    pub(super) log_id: String,
    pub(super) generation: u32,
    /// The generation's tag, in hexadecimal.
    pub(super) generation_tag: String,
    /// A random number of each process.
    writer: String,
    /// Machine and directory.
    place: String,
    /// Incremented with each beat.
    beat: u64,
    /// Everything before this LSN is in the backup.
    pub(super) shipped_lsn: u64,
}

impl Lease {
    fn generation(&self) -> Option<Generation> {
        let tag = u64::from_str_radix(&self.generation_tag, 16).ok()?;
        Some(Generation::new(self.generation, tag))
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let lease: Self = serde_json::from_slice(bytes).ok()?;
        (lease.format == FORMAT && lease.generation().is_some()).then_some(lease)
    }
}

/// Why a process may not write a backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseRefusal {
    /// The object is not a lease of this program.
    #[error(
        "{store} holds a `lease` that this program cannot read; use a prefix that nothing else uses"
    )]
    Unreadable { store: String },
    /// The backup belongs to another log.
    #[error(
        "{store} holds the backup of log {theirs}, and this data directory is of log {ours}; name \
         another prefix"
    )]
    OtherLog {
        store: String,
        /// The log of the backup.
        theirs: String,
        ours: String,
    },
    /// A newer generation writes there.
    #[error(
        "{store} is written by generation {theirs} of this log, and this process has generation \
         {ours}: the log was restored elsewhere since; stop this one for good, or, if it is the right \
         one, restore it from the backup"
    )]
    Superseded {
        store: String,
        /// The newer generation.
        theirs: Generation,
        ours: Generation,
    },
    /// Another process writes there.
    #[error(
        "{store} is written by another process of this log ({place}): two copies of one data \
         directory must not run; stop one of them"
    )]
    InUse {
        store: String,
        /// Machine and directory of the other process.
        place: String,
    },
}

/// What to do about a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
enum LeaseVerdict {
    Take,
    Watch,
    Refuse(LeaseRefusal),
}

/// The process that asks.
#[derive(Clone, Debug)]
pub(super) struct LeaseWriter {
    pub(super) log_id: u64,
    /// The random number of this process.
    pub(super) token: u64,
    pub(super) place: String,
}

/// Whether this process holds the lease.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum LeaseStanding {
    Held,
    /// Not held yet: another process's lease is being watched.
    Watching,
    Refused(LeaseRefusal),
}

/// The state of the lease in this process.
pub(super) struct Leasing {
    writer: LeaseWriter,
    held: Option<Version>,
    beat: u64,
    watched: Option<(Lease, Instant)>,
}

impl Leasing {
    pub(super) fn new(writer: LeaseWriter) -> Self {
        Self {
            writer,
            held: None,
            beat: 0,
            watched: None,
        }
    }

    /// Renews the lease, or tries to take it over.
    pub(super) async fn beat(
        &mut self,
        store: &Store,
        generation: Generation,
        shipped_lsn: u64,
    ) -> Result<LeaseStanding, StoreError> {
        let was_held = self.held.is_some();
        if let Some(version) = self.held.clone() {
            let ours = self.ours(generation, shipped_lsn);
            let replaced = store.replace(LEASE, Some(&version), ours).await?;
            if let Replaced::Done(version) = replaced {
                self.held = Some(version);
                return Ok(LeaseStanding::Held);
            }
            self.held = None;
        }
        let found = store.look(LEASE).await?;
        let before = match &found {
            None => None,
            Some((bytes, version)) => {
                match self.verdict(store, bytes, generation) {
                    LeaseVerdict::Refuse(why) => return Ok(LeaseStanding::Refused(why)),
                    LeaseVerdict::Watch if was_held => {
                        return Ok(LeaseStanding::Refused(in_use(store, bytes)));
                    }
                    LeaseVerdict::Watch => match self.watch(bytes) {
                        Watched::On => return Ok(LeaseStanding::Watching),
                        Watched::Alive => return Ok(LeaseStanding::Refused(in_use(store, bytes))),
                        Watched::Still => {}
                    },
                    LeaseVerdict::Take => {}
                }
                Some(version)
            }
        };
        self.take(store, before, generation, shipped_lsn).await
    }

    async fn take(
        &mut self,
        store: &Store,
        before: Option<&Version>,
        generation: Generation,
        shipped_lsn: u64,
    ) -> Result<LeaseStanding, StoreError> {
        let ours = self.ours(generation, shipped_lsn);
        Ok(match store.replace(LEASE, before, ours).await? {
            Replaced::Done(version) => {
                self.held = Some(version);
                self.watched = None;
                LeaseStanding::Held
            }
            // Another process was faster; the next round reads its lease.
            Replaced::Overtaken => LeaseStanding::Watching,
        })
    }

    fn ours(&mut self, generation: Generation, shipped_lsn: u64) -> Bytes {
        self.beat += 1;
        let lease = Lease {
            format: FORMAT,
            log_id: format!("{:016x}", self.writer.log_id),
            generation: generation.number(),
            generation_tag: format!("{:016x}", generation.tag()),
            writer: format!("{:016x}", self.writer.token),
            place: self.writer.place.clone(),
            beat: self.beat,
            shipped_lsn,
        };
        serde_json::to_vec(&lease)
            .expect("a struct of texts and numbers is always JSON")
            .into()
    }

    fn verdict(&self, store: &Store, found: &[u8], ours: Generation) -> LeaseVerdict {
        let store = store.to_string();
        let Some(lease) = Lease::read(found) else {
            return LeaseVerdict::Refuse(LeaseRefusal::Unreadable { store });
        };
        let log = format!("{:016x}", self.writer.log_id);
        if lease.log_id != log {
            let (theirs, ours) = (lease.log_id, log);
            return LeaseVerdict::Refuse(LeaseRefusal::OtherLog {
                store,
                theirs,
                ours,
            });
        }
        if lease.writer == format!("{:016x}", self.writer.token) {
            return LeaseVerdict::Take;
        }
        let theirs = lease
            .generation()
            .expect("a lease that was read has a generation");
        match theirs.number().cmp(&ours.number()) {
            std::cmp::Ordering::Less => LeaseVerdict::Take,
            std::cmp::Ordering::Greater => LeaseVerdict::Refuse(LeaseRefusal::Superseded {
                store,
                theirs,
                ours,
            }),
            std::cmp::Ordering::Equal if theirs == ours && lease.place == self.writer.place => {
                LeaseVerdict::Take
            }
            std::cmp::Ordering::Equal => LeaseVerdict::Watch,
        }
    }

    /// Watches a lease of another process for changes.
    fn watch(&mut self, found: &[u8]) -> Watched {
        let Some(lease) = Lease::read(found) else {
            return Watched::On;
        };
        match &self.watched {
            Some((before, since)) if *before == lease => {
                if since.elapsed() < STANDSTILL {
                    Watched::On
                } else {
                    Watched::Still
                }
            }
            Some((before, _)) if before.writer == lease.writer => Watched::Alive,
            Some(_) | None => {
                self.watched = Some((lease, Instant::now()));
                Watched::On
            }
        }
    }
}

/// Result of watching a lease.
enum Watched {
    /// Not decided yet.
    On,
    /// It changes, so its holder is alive.
    Alive,
    /// It was unchanged for [`STANDSTILL`].
    Still,
}

fn in_use(store: &Store, found: &[u8]) -> LeaseRefusal {
    let lease = Lease::read(found);
    LeaseRefusal::InUse {
        store: store.to_string(),
        place: lease.map_or_else(String::new, |it| it.place),
    }
}

/// Identifies this machine and a directory on it. So a restarted process in the same directory is
/// recognized; only one process at a time has it open.
pub(super) fn place_of(data_dir: &Path) -> String {
    use std::os::unix::fs::MetadataExt as _;
    let inode = std::fs::metadata(data_dir).map_or(0, |it| it.ino());
    let machine = rustix::system::uname();
    let host = machine.nodename().to_string_lossy();
    let shown: String = host.chars().filter(|c| !c.is_control()).take(64).collect();
    format!("{shown}:{} (inode {inode})", data_dir.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::settings::StoreTarget;

    const OLD: Generation = Generation::new(1, 10);
    const NEW: Generation = Generation::new(2, 20);
    const OTHER_NEW: Generation = Generation::new(2, 21);

    struct Scene {
        _scratch: tempfile::TempDir,
        store: Store,
        runtime: tokio::runtime::Runtime,
    }

    impl Scene {
        fn new() -> Self {
            let scratch = tempfile::tempdir().unwrap();
            let store = Store::open(&StoreTarget::Directory(scratch.path().join("b"))).unwrap();
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            Self {
                _scratch: scratch,
                store,
                runtime,
            }
        }

        fn beat(&self, leasing: &mut Leasing, generation: Generation) -> LeaseStanding {
            let beat = leasing.beat(&self.store, generation, 0);
            self.runtime.block_on(beat).unwrap()
        }
    }

    fn writer(log_id: u64, token: u64, place: &str) -> Leasing {
        Leasing::new(LeaseWriter {
            log_id,
            token,
            place: place.to_owned(),
        })
    }

    #[test]
    fn the_first_holds_it_and_a_copy_of_it_does_not_get_it_while_it_beats() {
        let scene = Scene::new();
        let (mut first, mut copy) = (writer(7, 1, "here"), writer(7, 2, "there"));
        assert_eq!(scene.beat(&mut first, OLD), LeaseStanding::Held);
        assert_eq!(scene.beat(&mut copy, OLD), LeaseStanding::Watching);
        assert_eq!(scene.beat(&mut first, OLD), LeaseStanding::Held);
        let refused = scene.beat(&mut copy, OLD);
        assert!(
            matches!(refused, LeaseStanding::Refused(LeaseRefusal::InUse { .. })),
            "{refused:?}"
        );
        assert_eq!(scene.beat(&mut first, OLD), LeaseStanding::Held);
    }

    #[test]
    fn the_same_directory_started_again_takes_it_at_once_and_the_one_before_has_lost_it() {
        let scene = Scene::new();
        let (mut first, mut again) = (writer(7, 1, "here"), writer(7, 2, "here"));
        assert_eq!(scene.beat(&mut first, OLD), LeaseStanding::Held);
        assert_eq!(scene.beat(&mut again, OLD), LeaseStanding::Held);
        let other = writer(7, 3, "there");
        let mut lost = Leasing {
            held: first.held.take(),
            ..other
        };
        assert!(matches!(
            scene.beat(&mut lost, OLD),
            LeaseStanding::Refused(LeaseRefusal::InUse { .. })
        ));
    }

    #[test]
    fn a_newer_generation_takes_the_lease_and_the_older_one_learns_it() {
        let scene = Scene::new();
        let (mut old, mut new) = (writer(7, 1, "here"), writer(7, 2, "there"));
        assert_eq!(scene.beat(&mut old, OLD), LeaseStanding::Held);
        assert_eq!(scene.beat(&mut new, NEW), LeaseStanding::Held);
        for _ in 0..2 {
            let refused = scene.beat(&mut old, OLD);
            assert!(
                matches!(
                    refused,
                    LeaseStanding::Refused(LeaseRefusal::Superseded { .. })
                ),
                "{refused:?}"
            );
        }
        // Another process, started from the same copy.
        let mut other = writer(7, 3, "elsewhere");
        assert_eq!(scene.beat(&mut other, OTHER_NEW), LeaseStanding::Watching);
    }

    #[test]
    fn another_logs_backup_is_left_alone() {
        let scene = Scene::new();
        assert_eq!(scene.beat(&mut writer(7, 1, "a"), NEW), LeaseStanding::Held);
        assert!(matches!(
            scene.beat(&mut writer(8, 2, "a"), NEW),
            LeaseStanding::Refused(LeaseRefusal::OtherLog { .. })
        ));
        let put = scene
            .store
            .put(LEASE, Bytes::from_static(b"{\"format\": 9}"));
        scene.runtime.block_on(put).unwrap();
        assert!(matches!(
            scene.beat(&mut writer(7, 3, "a"), NEW),
            LeaseStanding::Refused(LeaseRefusal::Unreadable { .. })
        ));
    }
}
