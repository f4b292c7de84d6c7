//! Owns building a data directory from a backup.
//!
//! Invariants: 1. the new directory has another name until it is complete, checked and synced, and
//! is then renamed in one step: a crash leaves the destination as it was; 2. every byte is checked
//! against its object's seal and the log's own checksums before it is used; 3. the log ends after a
//! whole append at or before the requested LSN or instant, and continues in a new generation. The
//! ledger of the sandbox gateway is not part of a backup: it stands for an external gateway.

mod temporary;

use super::inventory::{Base, Holdings, Inventory, SegmentPart};
use super::names::{Name, What};
use super::read::{Into, ObjectError, Objects};
use super::settings::StoreTarget;
use super::store::{Store, StoreError};
use crate::engine::settings::EngineSettings;
use crate::ids::Lsn;
use crate::journal::{
    self, CheckError, CheckReport, Generation, JournalError, SegmentFacts, segment_facts,
    segment_file_name, snapshot_facts, snapshot_file_name,
};
use crate::time::UnixMs;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use temporary::TemporaryDirectory;

/// Up to where to restore a log.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// Everything.
    End,
    /// Every append that ends at or before this LSN.
    Lsn(Lsn),
    /// Every append before the first event after this time.
    Instant(UnixMs),
}

/// The request for a restore.
#[derive(Clone, Debug)]
pub struct RestoreRequest<'a> {
    /// The store with the backup.
    pub from: &'a StoreTarget,
    pub until: Until,
    /// The generation; `None`: the newest one that can be restored that far.
    pub generation: Option<Generation>,
    /// The directory that is built; absent or empty.
    pub data_dir: &'a Path,
    /// Settings for reading a snapshot.
    pub engine: &'a EngineSettings,
}

/// The progress of a restore.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RestoreProgress {
    /// Objects read.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// The current stage.
    pub stage: &'static str,
}

/// The result of a restore.
#[derive(Debug)]
pub struct RestoredDirectory {
    /// The report of the check of the new directory.
    pub check: CheckReport,
    /// The generation that was restored.
    pub of: Generation,
    /// The generation in which it continues.
    pub generation: Generation,
    /// The snapshot that it begins from.
    pub snapshot: Option<Lsn>,
    /// Objects read.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The data directory is not empty.
    #[error("{} is not empty; name a directory that is empty or does not exist", .0.display())]
    NotEmpty(PathBuf),
    #[error("{store} has no backup to restore{}{}", asked_text(.until), range_text(.range.as_ref()))]
    Nothing {
        store: String,
        until: Until,
        /// The range that can be restored.
        range: Option<RestorableRange>,
    },
    /// An object cannot be used.
    #[error(transparent)]
    Read(#[from] ObjectError),
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The objects do not fit together.
    #[error("{object} does not fit the backup: {why}")]
    Misfit {
        /// Its name.
        object: String,
        /// What does not fit.
        why: &'static str,
    },
    /// The restored files are not a valid log.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The restored directory is damaged.
    #[error("the restored directory is damaged: {0}")]
    Check(#[from] CheckError),
    /// An operation of the file system failed.
    #[error("{operation} {}: {source}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

/// The range to which a backup can be restored.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct RestorableRange {
    /// The earliest LSN.
    pub from: Lsn,
    /// The time of the last event before it; for the whole log, the time of its first event.
    pub from_at: Option<UnixMs>,
    /// The latest LSN.
    pub to: Lsn,
}

impl RestorableRange {
    /// The union of both.
    fn and(self, other: Self) -> Self {
        let order = |it: Self| (it.from, it.from_at.is_none());
        let earliest = if order(other) < order(self) {
            other
        } else {
            self
        };
        Self {
            to: self.to.max(other.to),
            ..earliest
        }
    }
}

fn range_text(range: Option<&RestorableRange>) -> String {
    let Some(RestorableRange { from, from_at, to }) = range else {
        return String::new();
    };
    let instants = from_at.map_or(String::new(), |at| format!(", instants from {at} on"));
    format!("; it can be restored to LSN {from} to {to}{instants}")
}

fn asked_text(until: &Until) -> String {
    match until {
        Until::End => String::new(),
        Until::Lsn(lsn) => format!(" up to LSN {lsn}"),
        Until::Instant(at) => format!(" up to {at}"),
    }
}

/// Builds the directory.
pub async fn restore(
    order: &RestoreRequest<'_>,
    progress: &mut dyn FnMut(RestoreProgress),
) -> Result<RestoredDirectory, RestoreError> {
    refuse_taken(order.data_dir)?;
    let store = Store::open_to_read(order.from)?;
    let inventory = Inventory::of(&store.list().await?);
    let aside = TemporaryDirectory::make(order.data_dir)?;
    let mut restoring = Restoring {
        objects: Objects::of(&store),
        order,
        dir: aside.path.clone(),
        range: None,
        progress,
    };
    let Some((of, base)) = restoring.build(&inventory).await? else {
        return Err(RestoreError::Nothing {
            store: store.to_string(),
            until: order.until,
            range: restoring.range,
        });
    };
    let (objects, bytes) = (restoring.objects.count, restoring.objects.bytes);
    restoring.say("checking");
    let begun = journal::begin_generation(&aside.path)?;
    let check = journal::check(&aside.path, order.engine)?;
    aside.take_place(order.data_dir)?;
    Ok(RestoredDirectory {
        check,
        of,
        generation: begun,
        snapshot: base.snapshot.map(|it| it.first),
        objects,
        bytes,
    })
}

struct Restoring<'a, 'b> {
    objects: Objects<'a>,
    order: &'a RestoreRequest<'a>,
    dir: PathBuf,
    /// The range of all examined bases.
    range: Option<RestorableRange>,
    progress: &'b mut dyn FnMut(RestoreProgress),
}

/// The result of building a log from a base.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum BuildResult {
    /// The requested log, of this generation.
    Asked,
    /// The generation began after the requested time, so all of it belongs to older generations,
    /// which may have continued further than what this one took over.
    TakenOver,
    /// The log would have to be cut before the LSN that the base needs.
    CutTooEarly,
}

impl Restoring<'_, '_> {
    /// Builds the directory from the newest usable base.
    async fn build(
        &mut self,
        inventory: &Inventory,
    ) -> Result<Option<(Generation, Base)>, RestoreError> {
        let is_asked = |of: Generation| self.order.generation.is_none_or(|it| it == of);
        let generations = inventory.generations().rev();
        let mut generations = generations.filter(|(it, _)| is_asked(*it)).peekable();
        let mut taken_over = None;
        while let Some((generation, holdings)) = generations.next() {
            for base in holdings.bases() {
                self.clear()?;
                match self.build_from(generation, holdings, &base).await? {
                    BuildResult::CutTooEarly => {}
                    BuildResult::TakenOver if generations.peek().is_some() => {
                        taken_over = Some((generation, holdings, base));
                        break;
                    }
                    BuildResult::Asked | BuildResult::TakenOver => {
                        return Ok(Some((generation, base)));
                    }
                }
            }
        }
        // No older generation contains it.
        let Some((generation, holdings, base)) = taken_over else {
            return Ok(None);
        };
        self.clear()?;
        self.build_from(generation, holdings, &base).await?;
        Ok(Some((generation, base)))
    }

    fn note_range(&mut self, base: &Base, from_at: Option<UnixMs>) {
        let range = RestorableRange {
            from: base.snapshot.map_or(Lsn(0), |it| it.covered),
            from_at: base.snapshot.map(|it| it.at).or(from_at),
            to: base.run.end,
        };
        self.range = Some(self.range.map_or(range, |it| it.and(range)));
    }

    /// Whether the base is newer than what is requested.
    fn lies_behind(&self, base: &Base) -> bool {
        let Some(snapshot) = &base.snapshot else {
            return false;
        };
        match self.order.until {
            Until::End => false,
            Until::Lsn(lsn) => snapshot.covered > lsn,
            Until::Instant(at) => snapshot.at > at,
        }
    }

    /// Builds from `base`.
    async fn build_from(
        &mut self,
        generation: Generation,
        holdings: &Holdings,
        base: &Base,
    ) -> Result<BuildResult, RestoreError> {
        self.note_range(base, None);
        if self.lies_behind(base) {
            return Ok(BuildResult::CutTooEarly);
        }
        let named = |what| Name { generation, what };
        if let Some(snapshot) = base.snapshot {
            let file = snapshot_file_name(snapshot.first);
            let path = self.dir.join("snapshots").join(&file);
            let name = named(What::Snapshot(snapshot));
            self.fetch(name, &path, Into::New).await?;
            let facts = snapshot_facts(&file, open(&path)?)?;
            if (facts.first, facts.covered) != (snapshot.first, snapshot.covered) {
                return Err(misfit(
                    name,
                    "it holds a different part of the log than its name says",
                ));
            }
        }
        let mut before: Option<SegmentFacts> = None;
        let mut cut = match self.order.until {
            Until::Lsn(lsn) => Some(lsn),
            Until::End | Until::Instant(_) => None,
        };
        let until = match self.order.until {
            Until::Instant(at) => Some(at),
            Until::End | Until::Lsn(_) => None,
        };
        let mut has_begun = match self.order.until {
            Until::Instant(at) => holdings.begun.is_some_and(|begun| begun <= at),
            Until::End | Until::Lsn(_) => true,
        };
        let parts = &base.run.parts;
        for parts in parts.chunk_by(|one, next| one.segment == next.segment) {
            let first = parts[0].segment;
            if cut.is_some_and(|cut| first >= cut) && before.is_some() {
                break;
            }
            let facts = self.fetch_segment(generation, parts, until).await?;
            if let Some(before) = &before {
                follows(before, &facts, named(parts[0].what))?;
            }
            cut = cut.or(facts.later);
            has_begun |= facts.generation == generation && cut.is_none_or(|cut| first < cut);
            if before.is_none() {
                self.note_range(base, facts.begun);
            }
            before = Some(facts);
        }
        let needed = base.snapshot.map_or(Lsn(0), |it| it.covered);
        if let Some(cut) = cut.filter(|cut| *cut < base.run.end) {
            // Before the first event there is nothing to restore.
            let is_before_all = until.is_some() && cut == Lsn(0);
            if cut < needed || is_before_all {
                return Ok(BuildResult::CutTooEarly);
            }
            let end = journal::cut_log(&self.dir, cut)?;
            if end.is_none_or(|end| end < needed) {
                return Ok(BuildResult::CutTooEarly);
            }
        }
        Ok(if has_begun {
            BuildResult::Asked
        } else {
            BuildResult::TakenOver
        })
    }

    async fn fetch_segment(
        &mut self,
        generation: Generation,
        parts: &[SegmentPart],
        until: Option<UnixMs>,
    ) -> Result<SegmentFacts, RestoreError> {
        let log = self.dir.join("log");
        let first = parts[0].segment;
        let path = log.join(segment_file_name(first));
        for part in parts {
            let name = Name {
                generation,
                what: part.what,
            };
            self.fetch(name, &path, Into::Behind).await?;
        }
        let last = parts[parts.len() - 1];
        let facts = segment_facts(&log, first, last.span.end, until)?;
        let name = Name {
            generation,
            what: last.what,
        };
        if (facts.end, facts.chain) != (last.span.end, last.span.chain) {
            return Err(misfit(name, "its end differs from the one in its name"));
        }
        if Some(facts.log_id) != self.objects.log_id {
            return Err(misfit(name, "it belongs to another log"));
        }
        let file = OpenOptions::new().write(true).open(&path);
        let sized = file.and_then(|file| {
            file.set_len(facts.file_bytes)?;
            file.sync_all()
        });
        sized.map_err(failed("sizing", &path))?;
        Ok(facts)
    }

    async fn fetch(&mut self, name: Name, path: &Path, into: Into) -> Result<(), RestoreError> {
        self.say("reading");
        self.objects.fetch(name, path, into).await?;
        let synced = File::open(path).and_then(|file| file.sync_all());
        synced.map_err(failed("syncing", path))
    }

    fn say(&mut self, stage: &'static str) {
        (self.progress)(RestoreProgress {
            objects: self.objects.count,
            bytes: self.objects.bytes,
            stage,
        });
    }

    /// Removes what was built from an unusable base.
    fn clear(&self) -> Result<(), RestoreError> {
        for part in ["log", "snapshots"] {
            let path = self.dir.join(part);
            if path.exists() {
                fs::remove_dir_all(&path).map_err(failed("removing", &path))?;
            }
            make(&path)?;
        }
        Ok(())
    }
}

/// Whether a segment follows the one before it.
pub(super) fn follows(
    before: &SegmentFacts,
    facts: &SegmentFacts,
    name: Name,
) -> Result<(), RestoreError> {
    if facts.sequence != before.sequence + 1 || facts.previous != before.chain {
        return Err(misfit(
            name,
            "it does not continue the segment before it; one of the two belongs to another history",
        ));
    }
    Ok(())
}

pub(super) fn misfit(name: Name, why: &'static str) -> RestoreError {
    RestoreError::Misfit {
        object: name.to_string(),
        why,
    }
}

fn open(path: &Path) -> Result<File, RestoreError> {
    File::open(path).map_err(failed("opening", path))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RestoreError {
    let path = path.to_owned();
    move |source| RestoreError::Io {
        operation,
        path,
        source,
    }
}

fn refuse_taken(data_dir: &Path) -> Result<(), RestoreError> {
    match fs::read_dir(data_dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(RestoreError::NotEmpty(data_dir.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed("reading", data_dir)(error)),
    }
}

fn make(path: &Path) -> Result<(), RestoreError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(failed("making", path))
}
