//! Owns writing one object of unknown size, part by part.
//!
//! Invariants: at most two parts are in progress, so memory does not grow with the object; the object exists
//! only once it is finished.

use super::{CALL_TIMEOUT, LEASE_TIMEOUT, Store, StoreError};
use bytes::Bytes;
use object_store::{ObjectStoreExt, WriteMultipart};

/// Size of one part of a multipart upload.
const PART_BYTES: usize = 8 << 20;

/// An object that is being written; in parts if it is large.
pub(in crate::backup) struct ObjectUpload<'a> {
    store: &'a Store,
    name: String,
    /// Bytes that are not sent yet: at most [`PART_BYTES`] plus the last push.
    gathered: Vec<u8>,
    parts: Option<WriteMultipart>,
}

impl<'a> ObjectUpload<'a> {
    pub(super) fn new(store: &'a Store, name: &str) -> Self {
        Self {
            store,
            name: name.to_owned(),
            gathered: Vec::new(),
            parts: None,
        }
    }

    /// Adds the next bytes of the object; waits while two parts are in progress.
    pub(in crate::backup) async fn push(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.gathered.extend_from_slice(bytes);
        if self.gathered.len() >= PART_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<(), StoreError> {
        let Self {
            store,
            name,
            gathered,
            parts,
        } = self;
        let parts = if let Some(parts) = parts {
            parts
        } else {
            let path = store.path(name);
            let beginning = store.objects.put_multipart(&path);
            let begun = store.bounded("writing", name, CALL_TIMEOUT, beginning);
            let begun = WriteMultipart::new_with_chunk_size(begun.await?, PART_BYTES);
            parts.insert(begun)
        };
        let waiting = parts.wait_for_capacity(2);
        store
            .bounded("writing", name, CALL_TIMEOUT, waiting)
            .await?;
        parts.put(Bytes::from(std::mem::take(gathered)));
        Ok(())
    }

    /// Completes the object, which exists from now on.
    pub(in crate::backup) async fn finish(mut self) -> Result<(), StoreError> {
        if self.parts.is_some() && !self.gathered.is_empty() {
            self.send().await?;
        }
        let Self {
            store,
            name,
            gathered,
            parts,
        } = self;
        match parts {
            None => store.put(&name, Bytes::from(gathered)).await,
            Some(parts) => {
                let finishing = parts.finish();
                store
                    .bounded("writing", &name, CALL_TIMEOUT, finishing)
                    .await?;
                Ok(())
            }
        }
    }

    /// Aborts the object and removes its parts.
    pub(in crate::backup) async fn give_up(self) {
        if let Some(parts) = self.parts {
            // Remaining parts are not an object; the store's own rules remove them.
            let _ = tokio::time::timeout(LEASE_TIMEOUT, parts.abort()).await;
        }
    }
}
