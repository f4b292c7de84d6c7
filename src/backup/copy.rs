//! Owns making one consistent copy of a data directory, whether a core is running on it or not.
//!
//! Why it is consistent: a snapshot gets its name only once everything that it reveals is durable,
//! so the end of the log is read after the snapshots are listed; frames before that end are never
//! written again; and every frame is verified while it is read. So the copy is a prefix of the log
//! that reaches past its newest snapshot.
//!
//! Invariants: the directory is only read; the copy goes where there is no backup yet.

use super::inventory::Inventory;
use super::settings::StoreTarget;
use super::ship::{OtherHistory, ShipError, Shipper};
use super::store::{Store, StoreError};
use super::upload::Carried;
use crate::ids::Lsn;
use crate::journal::{CopySource, JournalError};
use crate::time::UnixMs;
use std::path::Path;
use std::time::Duration;

/// A core may remove segments between listing and reading them; then the copy starts again.
const TRIES: u32 = 5;
const TRY_PAUSE: Duration = Duration::from_millis(200);

/// The result of a copy.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    pub log_id: u64,
    pub snapshot: Option<Lsn>,
    /// The copy contains everything before this LSN.
    pub end: Lsn,
    /// Objects written.
    pub objects: u64,
    /// Bytes written.
    pub bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The directory cannot be read.
    #[error("{dir}: {source}")]
    Journal { dir: String, source: JournalError },
    /// The store has another history of the log.
    #[error(transparent)]
    History(#[from] OtherHistory),
    /// The store already has a backup.
    #[error("{0} already holds a backup; use a new prefix for each copy")]
    Taken(String),
    /// Without a witness, too little of the log is known to be durable.
    #[error(
        "only the log up to LSN {end} is known to be durable, and its snapshot needs it up to {covered}: \
         the core runs without a witness (storage.witness); stop it first, or use `[backup]`"
    )]
    Unvouched {
        /// The known durable end of the log.
        end: Lsn,
        /// The LSN that the snapshot needs.
        covered: Lsn,
    },
}

/// Copies `data_dir` to `to`, as of `now`.
pub async fn copy(
    data_dir: &Path,
    to: &StoreTarget,
    now: UnixMs,
    carried: &Carried,
) -> Result<Copied, CopyError> {
    let store = Store::open(to)?;
    let held = Inventory::of(&store.list().await?);
    if held.generations().next().is_some() {
        return Err(CopyError::Taken(store.to_string()));
    }
    let mut tries = 0;
    loop {
        tries += 1;
        match copy_once(data_dir, &store, now, carried).await {
            Err(CopyError::Journal { .. }) if tries < TRIES => {
                tokio::time::sleep(TRY_PAUSE).await;
            }
            ended => return ended,
        }
    }
}

async fn copy_once(
    data_dir: &Path,
    store: &Store,
    now: UnixMs,
    carried: &Carried,
) -> Result<Copied, CopyError> {
    let read = |source| CopyError::Journal {
        dir: data_dir.display().to_string(),
        source,
    };
    let source = CopySource::of_directory(data_dir).map_err(read)?;
    let (log_id, generation) = source.identity().map_err(read)?;
    let mut shipper = Shipper::new(store, source, carried).map_err(read)?;
    let round = shipper.round(now).await.map_err(|error| match error {
        ShipError::Store(error) => CopyError::Store(error),
        ShipError::Source(source) => read(source),
        ShipError::History(why) => CopyError::History(why),
    })?;
    let held = Inventory::of(&store.list().await?);
    let holdings = held.of_generation(generation);
    let base = holdings.and_then(|it| it.bases().next());
    let newest = holdings.and_then(|it| it.snapshots.last());
    match base {
        Some(base) if base.snapshot.as_ref() == newest => Ok(Copied {
            log_id,
            snapshot: newest.map(|it| it.first),
            end: round.shipped,
            objects: carried.objects(),
            bytes: carried.bytes(),
        }),
        Some(_) | None => Err(CopyError::Unvouched {
            end: round.shipped,
            covered: newest.map_or(Lsn(0), |it| it.covered),
        }),
    }
}
