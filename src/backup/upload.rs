//! Owns uploading one object: its content as it comes, its seal at the end, and the count of
//! uploads.
//!
//! Invariant: an object exists complete and sealed, or not at all.

use super::names::Name;
use super::seal::Sealing;
use super::store::{ObjectUpload, Store, StoreError};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

/// Counts of uploads.
#[derive(Debug, Default)]
pub struct Carried {
    bytes: AtomicU64,
    objects: AtomicU64,
}

impl Carried {
    /// Bytes of written objects.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }

    /// Number of written objects.
    pub fn objects(&self) -> u64 {
        self.objects.load(Relaxed)
    }

    fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Counts an object of this size that was written as a whole.
    pub(super) fn add_object(&self, bytes: usize) {
        self.add(bytes);
        self.objects.fetch_add(1, Relaxed);
    }
}

/// An object that is being uploaded, with its seal at the end.
pub(super) struct Upload<'a> {
    writing: ObjectUpload<'a>,
    sealing: Sealing,
    carried: &'a Carried,
}

impl<'a> Upload<'a> {
    /// Begins the object of this name.
    pub(super) fn begin(store: &'a Store, name: Name, log_id: u64, carried: &'a Carried) -> Self {
        Self {
            writing: store.write(&name.to_string()),
            sealing: Sealing::new(name, log_id),
            carried,
        }
    }

    /// Adds the next bytes of its content.
    pub(super) async fn push(&mut self, content: &[u8]) -> Result<(), StoreError> {
        self.sealing.update(content);
        self.carried.add(content.len());
        self.writing.push(content).await
    }

    /// Aborts it.
    pub(super) async fn give_up(self) {
        self.writing.give_up().await;
    }

    /// Seals it; it exists from now on.
    pub(super) async fn finish(self) -> Result<(), StoreError> {
        let Self {
            mut writing,
            sealing,
            carried,
        } = self;
        let seal = sealing.finish();
        writing.push(&seal).await?;
        writing.finish().await?;
        carried.add_object(seal.len());
        Ok(())
    }
}
