//! Owns verifying a backup without restoring it: every object's seal, the log's own checksums, and
//! whether the log from the newest snapshot to the end has no gap.
//!
//! Invariants: nothing is changed; one object at a time is on this machine; a problem is reported
//! with the object's name; no bytes cause a panic.

use super::inventory::{Holdings, Inventory, LogRun};
use super::names::{Name, SnapshotName, What};
use super::read::{Into, ObjectError, Objects};
use super::restore::follows;
use super::settings::StoreTarget;
use super::store::{Store, StoreError};
use crate::ids::Lsn;
use crate::journal::{
    Generation, JournalError, SegmentFacts, segment_facts, segment_file_name, snapshot_facts,
};
use std::fs::{self, File};
use std::io;
use std::path::Path;

/// Maximum number of reported problems.
const PROBLEMS_MAX: usize = 100;

/// The result of a verification.
#[derive(Debug, Default)]
pub struct Verified {
    /// Each generation, oldest first.
    pub generations: Vec<VerifiedGeneration>,
    /// The problems.
    pub problems: Vec<String>,
    /// Objects that were read.
    pub objects: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// Objects that do not belong to a backup.
    pub foreign: u64,
}

/// The objects of one generation.
#[derive(Debug)]
pub struct VerifiedGeneration {
    pub generation: Generation,
    /// Sealed segments.
    pub segments: usize,
    /// Pieces of the current segment.
    pub pieces: usize,
    pub snapshots: usize,
    /// The earliest and latest LSN to which it can be restored; `None`: it cannot be restored.
    pub restorable: Option<(Lsn, Lsn)>,
    /// Gaps of the log: from, to.
    pub gaps: Vec<(Lsn, Lsn)>,
}

/// Why the verification failed.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("{0} has no backup")]
    Nothing(String),
    /// The temporary directory cannot be used.
    #[error("cannot use the temporary directory: {0}")]
    Scratch(#[from] io::Error),
}

/// Reads and checks every object of the backup at `from`, one at a time, in `scratch`, an empty
/// directory.
pub async fn verify(
    from: &StoreTarget,
    scratch: &Path,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Verified, VerifyError> {
    let store = Store::open_to_read(from)?;
    let inventory = Inventory::of(&store.list().await?);
    let mut verifying = Verifying {
        objects: Objects::of(&store),
        scratch,
        newest: inventory.generations().next_back().map(|(it, _)| it),
        found: Verified {
            foreign: inventory.foreign,
            ..Verified::default()
        },
        progress,
    };
    for (generation, holdings) in inventory.generations() {
        verifying.generation(generation, holdings).await?;
    }
    if verifying.found.generations.is_empty() {
        return Err(VerifyError::Nothing(store.to_string()));
    }
    let (objects, bytes) = (verifying.objects.count, verifying.objects.bytes);
    Ok(Verified {
        objects,
        bytes,
        ..verifying.found
    })
}

struct Verifying<'a, 'b> {
    objects: Objects<'a>,
    scratch: &'a Path,
    newest: Option<Generation>,
    found: Verified,
    progress: &'b mut dyn FnMut(u64, u64),
}

impl Verifying<'_, '_> {
    async fn generation(
        &mut self,
        generation: Generation,
        holdings: &Holdings,
    ) -> Result<(), VerifyError> {
        for snapshot in &holdings.snapshots {
            self.snapshot(generation, *snapshot).await?;
        }
        if let Some(at) = holdings.begun {
            let what = What::Begun(at);
            self.sealed(Name { generation, what }).await?;
        }
        let runs = runs(holdings);
        for run in &runs {
            self.run(generation, run).await?;
        }
        let bases: Vec<_> = holdings.bases().collect();
        let newest = bases.first().map(|it| it.run.end);
        let end = runs.last().map(|it| it.end);
        // An older generation may be in the course of deletion.
        if newest != end && self.newest == Some(generation) {
            self.problem(format!(
                "generation {generation} cannot be restored to its end: there is no way without a gap \
                 from a snapshot to there"
            ));
        }
        let earliest = bases
            .last()
            .map(|it| it.snapshot.map_or(Lsn(0), |snapshot| snapshot.covered));
        let pairs = runs.windows(2);
        self.found.generations.push(VerifiedGeneration {
            generation,
            segments: holdings.segments.len(),
            pieces: holdings.pieces.len(),
            snapshots: holdings.snapshots.len(),
            restorable: earliest.zip(newest),
            gaps: pairs.map(|it| (it[0].end, it[1].first)).collect(),
        });
        Ok(())
    }

    async fn snapshot(
        &mut self,
        generation: Generation,
        snapshot: SnapshotName,
    ) -> Result<(), VerifyError> {
        let what = What::Snapshot(snapshot);
        let name = Name { generation, what };
        let path = self.scratch.join("snapshot");
        if self.fetch(name, &path).await? {
            let log_id = self.objects.log_id;
            match snapshot_facts(&name.to_string(), File::open(&path)?) {
                Ok(facts) => {
                    let said = (Some(facts.log_id), facts.first, facts.covered);
                    if said != (log_id, snapshot.first, snapshot.covered) {
                        self.problem(format!(
                            "{name} holds a different snapshot than its name says"
                        ));
                    }
                }
                Err(why) => self.problem(why.to_string()),
            }
        }
        remove(&path)
    }

    async fn sealed(&mut self, name: Name) -> Result<(), VerifyError> {
        let path = self.scratch.join("object");
        self.fetch(name, &path).await?;
        remove(&path)
    }

    /// Verifies a part of the log without a gap.
    async fn run(&mut self, generation: Generation, run: &LogRun) -> Result<(), VerifyError> {
        let mut before: Option<SegmentFacts> = None;
        for parts in run.parts.chunk_by(|one, next| one.segment == next.segment) {
            let (first, last) = (parts[0].segment, parts[parts.len() - 1]);
            let path = self.scratch.join(segment_file_name(first));
            let mut is_whole = true;
            for part in parts {
                let what = part.what;
                is_whole &= self.fetch(Name { generation, what }, &path).await?;
            }
            let what = last.what;
            let name = Name { generation, what };
            let facts = if is_whole {
                self.facts(name, first, last.span.end)
            } else {
                None
            };
            if let Some(facts) = &facts {
                if (facts.end, facts.chain) != (last.span.end, last.span.chain) {
                    self.problem(format!(
                        "the end of {name} differs from the one in its name"
                    ));
                }
                if let Some(before) = &before
                    && let Err(why) = follows(before, facts, name)
                {
                    self.problem(why.to_string());
                }
            }
            before = facts;
            remove(&path)?;
        }
        Ok(())
    }

    fn facts(&mut self, name: Name, first: Lsn, end: Lsn) -> Option<SegmentFacts> {
        let facts: Result<_, JournalError> = segment_facts(self.scratch, first, end, None);
        match facts {
            Ok(facts) if Some(facts.log_id) == self.objects.log_id => Some(facts),
            Ok(_) => {
                self.problem(format!("{name} belongs to another log"));
                None
            }
            Err(why) => {
                self.problem(format!("{name}: {why}"));
                None
            }
        }
    }

    /// Reads an object; returns whether it is what its name says.
    async fn fetch(&mut self, name: Name, path: &Path) -> Result<bool, VerifyError> {
        (self.progress)(self.objects.count, self.objects.bytes);
        match self.objects.fetch(name, path, Into::Behind).await {
            Ok(()) => Ok(true),
            Err(ObjectError::Damaged { object, why }) => {
                self.problem(format!("{object} is damaged: {why}"));
                Ok(false)
            }
            Err(ObjectError::Store(error)) => Err(error.into()),
            Err(ObjectError::Write { source, .. }) => Err(source.into()),
        }
    }

    fn problem(&mut self, what: String) {
        if self.found.problems.len() < PROBLEMS_MAX {
            self.found.problems.push(what);
        }
    }
}

/// Every part of the log without a gap, oldest first.
fn runs(holdings: &Holdings) -> Vec<LogRun> {
    let pieces = holdings.pieces.iter().map(|(segment, _)| *segment);
    let segments = holdings.segments.iter().map(|it| it.first);
    let mut firsts: Vec<_> = segments.chain(pieces).collect();
    firsts.sort_unstable();
    firsts.dedup();
    let mut runs: Vec<LogRun> = Vec::new();
    for first in firsts {
        let is_in = runs.last().is_some_and(|run| first < run.end);
        if !is_in && let Some(run) = holdings.run_from(first) {
            runs.push(run);
        }
    }
    runs
}

fn remove(path: &Path) -> Result<(), VerifyError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}
