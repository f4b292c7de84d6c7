//! A snapshot reaches the disk in slices: what is written and not synced yet stays small, so that a sync of the
//! log never waits for a whole snapshot.

use holdfast::engine::event::Origin;
use holdfast::engine::metadata::Metadata;
use holdfast::ids::{KeyOwner, ProductId, RequestId, UserId};
use holdfast::journal::snapshot::restore;
use holdfast::journal::{Disks, Journal, JournalOptions};
use std::fs::File;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use support::commands;
use wal::{Access, Storage, StorageFile};

const HOLDS: u32 = 1_000;
/// Of each hold: a snapshot of 2 MB.
const METADATA_BYTES: usize = 2_000;
const UNSYNCED_BYTES_MAX: usize = 512 << 10;

/// Bytes written since the last sync, and the most there ever were.
#[derive(Default)]
struct Unsynced {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct WatchedDisk {
    disk: Arc<dyn Storage>,
    unsynced: Arc<Unsynced>,
}

struct WatchedFile {
    file: Box<dyn StorageFile>,
    unsynced: Arc<Unsynced>,
}

impl Storage for WatchedDisk {
    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn StorageFile>> {
        let file = self.disk.open(name, access)?;
        let unsynced = Arc::clone(&self.unsynced);
        Ok(Box::new(WatchedFile { file, unsynced }))
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let unsynced = self.unsynced.now.load(Ordering::SeqCst);
        assert_eq!(unsynced, 0, "{from} gets its name once all of it is synced");
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes()
    }
}

impl StorageFile for WatchedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let before = self.unsynced.now.fetch_add(bytes.len(), Ordering::SeqCst);
        let most = &self.unsynced.most;
        most.fetch_max(before + bytes.len(), Ordering::SeqCst);
        self.file.write_at(bytes, offset)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()?;
        self.unsynced.now.store(0, Ordering::SeqCst);
        Ok(())
    }
}

/// A hold with metadata that makes its part of a snapshot large.
fn hold(number: u32) -> holdfast::engine::command::PlaceHold {
    let origin = Origin {
        request: RequestId(u64::from(number)),
        owner: KeyOwner::parse("shop").unwrap(),
        key: None,
        ip: None,
        device: None,
    };
    let user = UserId::parse(&format!("u{number}")).unwrap();
    let mut hold = commands::hold(user, product(), origin);
    let pairs = (0..10).map(|n| (format!("k{n}"), "x".repeat(METADATA_BYTES / 10)));
    hold.metadata = Metadata::new(pairs.collect()).unwrap();
    hold
}

fn product() -> ProductId {
    ProductId::parse("drop").unwrap()
}

#[test]
fn a_snapshot_is_written_and_synced_slice_by_slice() {
    let scratch = tempfile::tempdir().unwrap();
    let unsynced = Arc::new(Unsynced::default());
    let mut disks = Disks::create(scratch.path()).unwrap();
    disks.snapshots = Arc::new(WatchedDisk {
        disk: disks.snapshots,
        unsynced: Arc::clone(&unsynced),
    });
    let options = JournalOptions::new(scratch.path());
    let engine = options.engine.clone();
    let journal = Journal::open_on(disks, options, None, &mut |_| {}).unwrap();
    let terms = commands::product_set(product(), HOLDS);
    journal.catalogue().put_product(terms).unwrap();
    for number in 0..HOLDS {
        journal.place_hold(&hold(number)).unwrap().outcome.unwrap();
    }

    let report = journal.upkeep().snapshot().unwrap();
    assert!(report.bytes > 3 * UNSYNCED_BYTES_MAX as u64, "{report:?}");
    let most = unsynced.most.load(Ordering::SeqCst);
    assert!(most <= UNSYNCED_BYTES_MAX, "{most} bytes waited for a sync");

    journal.close();
    let name = format!("snapshots/{:020}.snapshot", report.lsn.0);
    let file = File::open(scratch.path().join(name)).unwrap();
    restore(file, &engine).expect("slices join to a good snapshot");
}
