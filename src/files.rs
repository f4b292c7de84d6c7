//! Owns opening files that somebody else wrote, and who may reach the data directory.
//!
//! Invariants: 1. only regular files are opened: a FIFO or a device could hold a start for ever;
//! 2. what is read whole is bounded by what is read, not by what the file says of its size;
//! 3. modes are only ever narrowed.
//! Deliberately absent: files of the log, which `wal` opens.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Bytes of a configuration, a certificate chain, or a file of text that people write.
pub const TEXT_BYTES_MAX: u64 = 4 << 20;

/// Bytes of a file with one secret.
pub const SECRET_BYTES_MAX: u64 = 64 << 10;

/// What other users may do to a directory, in the bits of its mode.
const OTHERS: u32 = 0o077;

/// Everybody may create entries, and only the owner of one may remove it: a directory such as
/// `/tmp`, which many share.
const STICKY: u32 = 0o1000;

/// What a data directory holds.
const PARTS: [&str; 5] = ["log", "snapshots", "sinks", "dead-letters", "sandbox"];
const LOCK: &str = "lock";

/// What the root of a file system has of its own.
const OF_THE_FILE_SYSTEM: &str = "lost+found";

/// Opens a regular file to read. Anything else is an error at once.
pub fn open(path: &Path) -> io::Result<File> {
    // Opening a FIFO would wait for somebody to write to it.
    let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits())
        .expect("the flag is one of the low bits of an int");
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(nonblocking)
        .open(path)?;
    if !file.metadata()?.is_file() {
        let what = "it is not a regular file";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, what));
    }
    Ok(file)
}

/// Reads a regular file of at most `bytes_max`.
pub fn read(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    bytes_of(&open(path)?, bytes_max)
}

/// Reads an open file of at most `bytes_max`.
pub fn bytes_of(file: &File, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    // One more, so that a file that is too long is told from one that is just long enough.
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let what = format!("it has more than {bytes_max} bytes");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// The same as text.
pub fn read_text(path: &Path, bytes_max: u64) -> io::Result<String> {
    text_of(&open(path)?, bytes_max)
}

/// Reads an open file of at most `bytes_max` as text.
pub fn text_of(file: &File, bytes_max: u64) -> io::Result<String> {
    String::from_utf8(bytes_of(file, bytes_max)?)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8"))
}

/// The folder that a file stands in: the current one where the path is a bare name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

/// Line and column, both from 1, of the byte at `offset` of a text that was read.
pub fn place_in(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..text.floor_char_boundary(offset)];
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

/// Who can reach into a data directory.
#[derive(Debug)]
pub enum Reach {
    /// Only its owner.
    Owner,
    /// Only its owner from now on; the mode was this one.
    Narrowed {
        /// The mode that it had.
        mode: u32,
    },
    /// Others, too; the mode cannot be changed.
    Others {
        /// The mode that it has.
        mode: u32,
        /// Why it stays.
        why: io::Error,
    },
    /// Others, too, and they may need to: it is not a directory of ours alone. The mode stays.
    Shared {
        /// The mode that it has.
        mode: u32,
        /// Something that stands there and is not ours; `None`: it is one that many share, such as `/tmp`.
        beside: Option<OsString>,
    },
}

/// Files of a data directory that others could reach.
#[derive(Debug, Default)]
pub struct FilesNarrowed {
    /// How many only the owner reaches from now on.
    pub count: usize,
    /// One whose mode could not be changed.
    pub left: Option<(PathBuf, io::Error)>,
}

/// Makes the data directory where it is missing, and takes it and its parts from other users.
///
/// A directory that holds other things, or that many share, is left as it is: other programs may
/// need to reach through it. The parts are narrowed nevertheless.
pub fn make_private(data_dir: &Path) -> io::Result<Reach> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)?;
    for part in PARTS {
        let part = data_dir.join(part);
        if part.is_dir() {
            // Where this fails, the directory above decides, which is said.
            let _ = narrow(&part);
        }
    }
    let mode = fs::metadata(data_dir)?.permissions().mode() & 0o7777;
    if mode & OTHERS == 0 {
        return Ok(Reach::Owner);
    }
    let beside = what_stands_beside(data_dir)?;
    if mode & STICKY != 0 || beside.is_some() {
        return Ok(Reach::Shared { mode, beside });
    }
    Ok(match narrow(data_dir) {
        Ok(()) => Reach::Narrowed { mode },
        Err(why) => Reach::Others { mode, why },
    })
}

/// Takes the files in the parts of a data directory from other users: a copy made by hand may have other
/// modes than the original.
pub fn make_files_private(data_dir: &Path) -> io::Result<FilesNarrowed> {
    let mut narrowed = FilesNarrowed::default();
    narrow_file(&data_dir.join(LOCK), &mut narrowed)?;
    let mut folders: Vec<PathBuf> = PARTS.iter().map(|part| data_dir.join(part)).collect();
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                // What is in it is reached through it alone.
                let _ = narrow(&entry.path());
                folders.push(entry.path());
            } else {
                narrow_file(&entry.path(), &mut narrowed)?;
            }
        }
    }
    Ok(narrowed)
}

/// Links stay as they are, and so does what they lead to.
fn narrow_file(path: &Path, narrowed: &mut FilesNarrowed) -> io::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if !metadata.is_file() || metadata.permissions().mode() & OTHERS == 0 {
        return Ok(());
    }
    match narrow(path) {
        Ok(()) => narrowed.count += 1,
        Err(error) => narrowed.left = Some((path.to_owned(), error)),
    }
    Ok(())
}

fn narrow(path: &Path) -> io::Result<()> {
    let mut permissions = fs::metadata(path)?.permissions();
    let mode = permissions.mode();
    if mode & OTHERS != 0 {
        permissions.set_mode(mode & !OTHERS);
        fs::set_permissions(path, permissions)?;
    }
    Ok(())
}

/// Something in a data directory that is not ours.
fn what_stands_beside(data_dir: &Path) -> io::Result<Option<OsString>> {
    for entry in fs::read_dir(data_dir)? {
        let name = entry?.file_name();
        let is_ours = name == LOCK || PARTS.iter().any(|part| name == *part);
        if !is_ours && name != OF_THE_FILE_SYSTEM {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_name_means_a_file_in_the_current_folder() {
        for (path, folder) in [
            ("events.jsonl", "."),
            ("out/events.jsonl", "out"),
            ("/events.jsonl", "/"),
            ("./events.jsonl", "."),
        ] {
            assert_eq!(folder_of(Path::new(path)), Path::new(folder), "{path}");
        }
    }
}
