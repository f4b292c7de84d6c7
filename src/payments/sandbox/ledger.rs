//! Owns the sandbox's file: one line of text for each thing that happened to money, appended with
//! one `write(2)` each, so that it outlives a `kill -9` of the process that holds the sandbox.
//!
//! The first line is [`HEADER`]; each other one is the CRC32C of its rest in 8 hexadecimal digits,
//! a space, and the rest: a word, the reference, and what the word needs.
//! Invariants: a line is whole or it is the last; a line that does not read, anywhere but in the
//! tail of the file, is damage and not an end. A failed write is final: nothing is written after.
//! Deliberately absent: syncing. The sandbox stands for a company elsewhere, which a crash of this
//! process leaves alone; it does not claim to outlive the machine.

use crate::files;
use crate::ids::CardToken;
use crate::money::{Amount, Currency};
use crate::payments::gateway::Reference;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// The file's first line.
pub const HEADER: &str = "holdfast sandbox ledger 1\n";

/// Maximum length of a line, with its end.
const LINE_BYTES_MAX: usize = 256;

/// The checksum at the beginning of a line and the space behind it.
const SUM_BYTES: usize = 9;

/// The path of the file in a data directory.
pub fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("sandbox").join("ledger.log")
}

/// An entry of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LedgerEntry {
    /// Authorized.
    Authorized {
        amount: Amount,
        currency: Currency,
        card: CardToken,
    },
    /// The authorization was declined permanently.
    Declined {
        /// The requested amount.
        amount: Amount,
        currency: Currency,
        card: CardToken,
    },
    /// Captured as authorized.
    Captured,
    /// A different amount was captured, and the rest was released.
    CapturedOther { amount: Amount },
    /// The authorization was voided.
    Voided,
    /// The reference was closed without an authorization.
    Closed {
        /// The amount that was not authorized.
        amount: Amount,
        currency: Currency,
    },
    /// Some of the captured money was refunded.
    Refunded {
        /// The refund's number, from 1; 0: made at the sandbox's own site.
        number: u32,
        amount: Amount,
    },
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The operating system refused.
    #[error("cannot {what} the sandbox gateway's ledger {path}: {source}")]
    Io {
        /// The operation.
        what: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// A line before the last one is invalid.
    #[error(
        "the sandbox gateway's ledger {path} is damaged at byte {offset}: move the file away only \
         if its charges may be forgotten"
    )]
    Damaged {
        path: PathBuf,
        /// The offset of the line.
        offset: u64,
    },
}

/// The open file.
#[derive(Debug)]
pub struct Ledger {
    file: File,
    failed: AtomicBool,
}

impl Ledger {
    /// Opens the ledger of `data_dir`, created if there is none, and passes each entry to `each`; a
    /// torn last line is cut off.
    pub fn open(
        data_dir: &Path,
        each: &mut dyn FnMut(Reference, LedgerEntry) -> Result<(), Misfit>,
    ) -> Result<Self, SandboxError> {
        let path = path_in(data_dir);
        let fault = |what| {
            let path = path.clone();
            move |source| SandboxError::Io { what, path, source }
        };
        let folder = path.parent().expect("path_in puts the file in a folder");
        fs::create_dir_all(folder).map_err(fault("make the folder of"))?;
        let file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(&path)
            .map_err(fault("open"))?;
        let good = replay(&path, &file, each)?;
        file.set_len(good).map_err(fault("cut the torn tail of"))?;
        if good == 0 {
            (&file)
                .write_all(HEADER.as_bytes())
                .map_err(fault("write"))?;
        }
        Ok(Self {
            file,
            failed: AtomicBool::new(false),
        })
    }

    /// Whether a write failed, so that file and caller may disagree.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Appends one entry; `Err` if it may not be in the file, and from then on always.
    ///
    /// Entries of one reference must be appended by one caller at a time.
    pub fn append(&self, reference: Reference, entry: &LedgerEntry) -> Result<(), NotWritten> {
        if self.has_failed() {
            return Err(NotWritten);
        }
        let line = encode(reference, entry);
        match (&self.file).write(line.bytes()) {
            Ok(written) if written == line.length => Ok(()),
            // Part of a line may be in the file; a further line after it would follow damage.
            Ok(_) | Err(_) => {
                self.failed.store(true, Ordering::Relaxed);
                Err(NotWritten)
            }
        }
    }
}

/// The entry may not be in the file.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct NotWritten;

/// The entry contradicts an earlier one.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Misfit;

/// Reads the ledger of `data_dir` without changing it, whether or not its process runs; passes each
/// entry to `each`. A data directory without a ledger has no entries.
pub fn read(
    data_dir: &Path,
    each: &mut dyn FnMut(Reference, LedgerEntry) -> Result<(), Misfit>,
) -> Result<(), SandboxError> {
    let path = path_in(data_dir);
    match files::open(&path) {
        Ok(file) => replay(&path, &file, each).map(drop),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(SandboxError::Io {
            what: "open",
            path,
            source,
        }),
    }
}

/// Passes each entry on, and returns the length of the valid part.
fn replay(
    path: &Path,
    file: &File,
    each: &mut dyn FnMut(Reference, LedgerEntry) -> Result<(), Misfit>,
) -> Result<u64, SandboxError> {
    let mut lines = BufReader::with_capacity(1 << 16, file);
    let mut line = Vec::with_capacity(LINE_BYTES_MAX);
    let mut offset = 0_u64;
    loop {
        line.clear();
        let read = read_line(&mut lines, &mut line).map_err(|source| SandboxError::Io {
            what: "read",
            path: path.to_owned(),
            source,
        })?;
        // No end of line: the process that wrote it was killed during the write.
        if line.last() != Some(&b'\n') && line.len() < LINE_BYTES_MAX {
            return Ok(offset);
        }
        let whole = if offset == 0 {
            line == HEADER.as_bytes()
        } else {
            decode(&line).is_some_and(|(reference, entry)| each(reference, entry).is_ok())
        };
        if !whole {
            let path = path.to_owned();
            return Err(SandboxError::Damaged { path, offset });
        }
        offset += read;
    }
}

/// Reads to the end of the line, of the file, or of the longest possible line.
fn read_line(lines: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<u64> {
    let limit = u64::try_from(LINE_BYTES_MAX).expect("256 goes into a u64");
    let read = io::Read::take(lines, limit).read_until(b'\n', line)?;
    Ok(u64::try_from(read).expect("at most the limit above"))
}

/// A line of the file, with its end.
struct LedgerLine {
    bytes: [u8; LINE_BYTES_MAX],
    length: usize,
}

impl LedgerLine {
    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

fn encode(reference: Reference, entry: &LedgerEntry) -> LedgerLine {
    let mut bytes = [0_u8; LINE_BYTES_MAX];
    bytes[8] = b' ';
    let mut rest = &mut bytes[SUM_BYTES..];
    match entry {
        LedgerEntry::Authorized {
            amount,
            currency,
            card,
        } => writeln!(
            rest,
            "authorized {reference} {} {currency} {}",
            amount.get(),
            card.as_str()
        ),
        LedgerEntry::Declined {
            amount,
            currency,
            card,
        } => writeln!(
            rest,
            "declined {reference} {} {currency} {}",
            amount.get(),
            card.as_str()
        ),
        LedgerEntry::Captured => writeln!(rest, "captured {reference}"),
        LedgerEntry::CapturedOther { amount } => {
            writeln!(rest, "captured_other {reference} {}", amount.get())
        }
        LedgerEntry::Voided => writeln!(rest, "voided {reference}"),
        LedgerEntry::Closed { amount, currency } => {
            writeln!(rest, "closed {reference} {} {currency}", amount.get())
        }
        LedgerEntry::Refunded { number, amount } => {
            writeln!(rest, "refunded {reference} {number} {}", amount.get())
        }
    }
    .expect("the longest words, reference, amount, currency and card fit into a line");
    let length = LINE_BYTES_MAX - rest.len();
    let sum = crc32c::crc32c(&bytes[SUM_BYTES..length]);
    hex::encode_to_slice(sum.to_be_bytes(), &mut bytes[..8])
        .expect("four bytes are eight hexadecimal digits");
    LedgerLine { bytes, length }
}

fn decode(line: &[u8]) -> Option<(Reference, LedgerEntry)> {
    let (sum, rest) = (line.get(..8)?, line.get(SUM_BYTES..)?);
    (line[8] == b' ').then_some(())?;
    let mut expected = [0_u8; 4];
    hex::decode_to_slice(sum, &mut expected).ok()?;
    (crc32c::crc32c(rest) == u32::from_be_bytes(expected)).then_some(())?;
    let text = std::str::from_utf8(rest).ok()?.strip_suffix('\n')?;
    let mut words = text.split(' ');
    let word = words.next()?;
    let reference = Reference::parse(words.next()?)?;
    let entry = match word {
        "authorized" | "declined" => {
            let amount = parse_amount(words.next()?)?;
            let currency = Currency::parse(words.next()?)?;
            let card = CardToken::parse(words.next()?)?;
            if word == "authorized" {
                LedgerEntry::Authorized {
                    amount,
                    currency,
                    card,
                }
            } else {
                LedgerEntry::Declined {
                    amount,
                    currency,
                    card,
                }
            }
        }
        "captured" => LedgerEntry::Captured,
        "captured_other" => LedgerEntry::CapturedOther {
            amount: parse_amount(words.next()?)?,
        },
        "voided" => LedgerEntry::Voided,
        "closed" => LedgerEntry::Closed {
            amount: parse_amount(words.next()?)?,
            currency: Currency::parse(words.next()?)?,
        },
        "refunded" => LedgerEntry::Refunded {
            number: words.next()?.parse().ok()?,
            amount: parse_amount(words.next()?)?,
        },
        _ => return None,
    };
    words.next().is_none().then_some((reference, entry))
}

fn parse_amount(text: &str) -> Option<Amount> {
    Amount::new(text.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PurchaseId, PurchaseTag, RequestId, ShardId};

    #[test]
    fn every_entry_reads_back_and_the_longest_fits() {
        let reference = Reference::new(
            u64::MAX,
            PurchaseId::new(ShardId::new(255), (1 << 56) - 1, PurchaseTag(u64::MAX)),
            RequestId(u64::MAX),
        );
        let amount = Amount::new(i64::MAX).expect("positive");
        let currency = Currency::parse("KRW").expect("listed");
        let card = CardToken::parse(&"x".repeat(64)).expect("a token");
        let entries = [
            LedgerEntry::Authorized {
                amount,
                currency,
                card: card.clone(),
            },
            LedgerEntry::Declined {
                amount,
                currency,
                card,
            },
            LedgerEntry::Captured,
            LedgerEntry::CapturedOther { amount },
            LedgerEntry::Voided,
            LedgerEntry::Closed { amount, currency },
            LedgerEntry::Refunded {
                number: u32::MAX,
                amount,
            },
        ];
        for entry in entries {
            let line = encode(reference, &entry);
            assert_eq!(decode(line.bytes()), Some((reference, entry)));
            for bit in 0..line.length * 8 {
                let mut flipped = line.bytes().to_vec();
                flipped[bit / 8] ^= 1 << (bit % 8);
                let read = decode(&flipped);
                // The case of the checksum's digits is not checked.
                assert!(read.is_none() || bit / 8 < 8, "bit {bit} of {flipped:?}");
            }
        }
    }
}
