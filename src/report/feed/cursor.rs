//! Owns a sink's small file in the data directory: its cursor, its mode, and what it has missed.
//!
//! Invariants: the file is replaced as a whole (written under another name, synced, renamed,
//! directory synced) and has its own checksum, so a crash leaves the old or the new one; a file
//! with a wrong checksum is an error, and never means starting at zero.

use crate::files::{self, folder_of};
use crate::ids::Lsn;
use crate::journal::{Access, Cursor, Directory, Generation};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

/// The folder in the data directory.
pub const FOLDER: &str = "sinks";

/// Number of the newest gaps and losses that are kept.
const GAPS_KEPT: usize = 16;

/// Far above the size of a cursor with all its gaps.
const CURSOR_BYTES_MAX: u64 = 1 << 20;

/// The state of a sink across restarts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkState {
    pub sink: String,
    /// The log's id, in hexadecimal.
    pub log_id: String,
    /// Everything before it is delivered, among the dead letters, or in a gap.
    #[serde(flatten)]
    pub at: StoredCursor,
    /// The directory in which the sink was open last; a copy of the file names the original.
    pub place: Option<String>,
    /// Whether it is to run.
    pub mode: Mode,
    /// Why it paused itself.
    pub paused_why: Option<String>,
    /// Ranges that it never got: it was given up, or added when the log no longer had its
    /// beginning.
    pub gaps: Vec<Gap>,
    /// Events that it took back, because the log no longer has them.
    pub lost: Vec<Lost>,
}

/// A cursor as stored in files.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCursor {
    /// The LSN.
    cursor: u64,
    /// The generation of the log at that time.
    #[serde(
        serialize_with = "write_generation",
        deserialize_with = "read_generation"
    )]
    generation: Generation,
    /// The checksum of the log before.
    chain: u32,
}

impl From<Cursor> for StoredCursor {
    fn from(cursor: Cursor) -> Self {
        Self {
            cursor: cursor.lsn.0,
            generation: cursor.generation,
            chain: cursor.chain,
        }
    }
}

impl StoredCursor {
    /// The beginning of a log.
    pub const fn beginning(generation: Generation) -> Self {
        Self {
            cursor: 0,
            generation,
            chain: 0,
        }
    }

    pub const fn cursor(&self) -> Cursor {
        Cursor {
            generation: self.generation,
            lsn: Lsn(self.cursor),
            chain: self.chain,
        }
    }
}

/// Events that a sink took back, because the accepted history of the log does not have them.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    /// The generation of the log when the sink got the last of them.
    #[serde(
        serialize_with = "write_generation",
        deserialize_with = "read_generation"
    )]
    pub generation: Generation,
    /// From here on.
    pub from: u64,
    /// To before here.
    pub to: u64,
    pub events: u64,
}

fn write_generation<S: Serializer>(it: &Generation, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(it)
}

fn read_generation<'de, D: Deserializer<'de>>(from: D) -> Result<Generation, D::Error> {
    String::deserialize(from)?
        .parse()
        .map_err(de::Error::custom)
}

/// The mode of a sink.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    Run,
    /// An operator paused it, or it paused itself; the log is kept for it.
    Paused,
    /// The disk was nearly full, and the settings say to give up this sink; the log is no longer
    /// kept for it.
    GivenUp,
}

impl Mode {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Paused => "paused",
            Self::GivenUp => "given_up",
        }
    }
}

/// A range of events that a sink never got.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// From here on.
    pub from: u64,
    /// To before here.
    pub to: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    /// An operation of the file system failed.
    #[error("{operation} {path}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Its checksum or content is wrong.
    #[error(
        "{path} is damaged; restore it from a copy, or remove it to have the sink start from where \
         the log begins"
    )]
    Damaged { path: PathBuf },
}

impl SinkState {
    /// A sink without any delivery yet.
    pub fn new(sink: &str, log_id: u64, generation: Generation) -> Self {
        Self {
            sink: sink.to_owned(),
            log_id: log_id_text(log_id),
            at: StoredCursor::beginning(generation),
            place: None,
            mode: Mode::Run,
            paused_why: None,
            gaps: Vec::new(),
            lost: Vec::new(),
        }
    }

    pub fn cursor(&self) -> Cursor {
        self.at.cursor()
    }

    /// Records events that were taken back.
    pub fn took_back(&mut self, lost: Lost) {
        self.lost.push(lost);
        let surplus = self.lost.len().saturating_sub(GAPS_KEPT);
        self.lost.drain(..surplus);
    }

    /// Records a gap.
    pub fn missed(&mut self, from: Lsn, to: Lsn) {
        self.gaps.push(Gap {
            from: from.0,
            to: to.0,
        });
        let surplus = self.gaps.len().saturating_sub(GAPS_KEPT);
        self.gaps.drain(..surplus);
    }

    /// Reads the file of `sink` in `data_dir`; `None` if there is none.
    pub fn read(data_dir: &Path, sink: &str) -> Result<Option<Self>, CursorError> {
        let path = data_dir.join(FOLDER);
        match Directory::open(&path) {
            Ok(folder) => Self::read_in(&folder, sink),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(CursorError::Io {
                operation: "opening",
                path,
                source,
            }),
        }
    }

    /// Reads the file of `sink` in `folder`; `None` if there is none.
    pub fn read_in(folder: &Directory, sink: &str) -> Result<Option<Self>, CursorError> {
        let name = name_of(sink);
        let path = folder.path().join(&name);
        let text = match read_text(folder, &name, CURSOR_BYTES_MAX) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) if source.kind() == io::ErrorKind::InvalidData => {
                return Err(CursorError::Damaged { path });
            }
            Err(source) => {
                return Err(CursorError::Io {
                    operation: "reading",
                    path,
                    source,
                });
            }
        };
        unsealed(&text)
            .and_then(|json| serde_json::from_str::<Self>(json).ok())
            .filter(|state| state.sink == sink)
            .map(Some)
            .ok_or(CursorError::Damaged { path })
    }

    /// Replaces the file in `folder`.
    pub fn save(&self, folder: &Directory) -> Result<(), CursorError> {
        let name = name_of(&self.sink);
        let json = serde_json::to_string(self).expect("it is numbers and words");
        replace_in(folder, &name, sealed(&json).as_bytes()).map_err(|source| CursorError::Io {
            operation: "writing",
            path: folder.path().join(name),
            source,
        })
    }
}

/// Distinguishes a directory from every copy of it: by its number in the file system and the instant at
/// which it was made there, which copying does not preserve. `None` if the file system does not say.
pub fn place_of(folder: &Directory) -> Option<String> {
    let metadata = fs::metadata(folder.path()).ok()?;
    let made = metadata.created().ok()?.duration_since(UNIX_EPOCH).ok()?;
    Some(format!("{}-{}", metadata.ino(), made.as_nanos()))
}

pub fn log_id_text(log_id: u64) -> String {
    format!("{log_id:016x}")
}

/// One line with its checksum on the next.
pub fn sealed(json: &str) -> String {
    format!("{json}\n{:08x}\n", crc32c::crc32c(json.as_bytes()))
}

/// The line, if its checksum is right.
pub fn unsealed(text: &str) -> Option<&str> {
    let (json, checksum) = text.strip_suffix('\n')?.split_once('\n')?;
    let sum = u32::from_str_radix(checksum, 16).ok()?;
    (sum == crc32c::crc32c(json.as_bytes())).then_some(json)
}

/// Replaces a file whole and durably.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder_of(path);
    fs::create_dir_all(folder)?;
    let mut aside = path.as_os_str().to_owned();
    aside.push(".aside");
    let aside = PathBuf::from(aside);
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    fs::rename(&aside, path)?;
    sync_folder(folder)
}

/// Replaces a file of an open directory whole and durably.
pub fn replace_in(folder: &Directory, name: &str, bytes: &[u8]) -> io::Result<()> {
    rename_in(folder, name, bytes)?;
    folder.sync()
}

/// The same, before the directory is synced: after a crash the file may be the old one.
pub(super) fn rename_in(folder: &Directory, name: &str, bytes: &[u8]) -> io::Result<()> {
    let aside = format!("{name}.aside");
    let mut file = folder.open_file(&aside, Access::Create)?;
    file.write_all(bytes)?;
    file.sync_data()?;
    folder.rename(&aside, name)
}

/// Reads a file of at most `bytes_max` of an open directory.
pub fn read_text(folder: &Directory, name: &str, bytes_max: u64) -> io::Result<String> {
    files::text_of(&folder.open_file(name, Access::Read)?, bytes_max)
}

/// Makes creations, renames and removals in a folder durable.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn name_of(sink: &str) -> String {
    format!("{sink}.cursor")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_read_back_and_a_changed_byte_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(SinkState::read(dir.path(), "kept").unwrap(), None);
        let generation = Generation::new(2, 9);
        let mut state = SinkState::new("kept", 7, generation);
        let lsn = Lsn(4096);
        let chain = u32::MAX;
        state.at = Cursor {
            generation,
            lsn,
            chain,
        }
        .into();
        state.place = Some("5-77".to_owned());
        state.missed(Lsn(8), Lsn(64));
        state.took_back(Lost {
            generation,
            from: 64,
            to: 128,
            events: 2,
        });
        let folder = Directory::create(dir.path().join(FOLDER)).unwrap();
        state.save(&folder).unwrap();
        assert_eq!(SinkState::read(dir.path(), "kept").unwrap(), Some(state));

        let path = folder.path().join(name_of("kept"));
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bad = whole.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            let read = SinkState::read(dir.path(), "kept");
            assert!(
                matches!(read, Err(CursorError::Damaged { .. })),
                "byte {at}"
            );
        }
    }
}
