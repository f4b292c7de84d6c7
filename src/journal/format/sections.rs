//! Owns the bytes of a snapshot file, described byte by byte in `docs/log-format.md`.
//!
//! Invariants: no content is used before its checksum is verified, and no length before it is
//! capped; a file without its trailer is not a snapshot. Numbers are little-endian; checksums are
//! CRC32C.
//! Deliberately absent: files and names (`store`), and the meaning of sections (`mod`).

use crate::engine::image::ImageError;
use crate::ids::{Lsn, ProductId, PromotionCode};
use std::fmt;
use std::io::Read;

/// The first bytes of every snapshot.
pub const MAGIC: [u8; 8] = *b"HFSNAP\r\n";
/// The last bytes of every snapshot.
pub const TRAILER: [u8; 8] = *b"\r\nPANSFH";
/// The version of the sections' content. Until the tag 0.1.0 there is one, which may change in place.
pub const VERSION: u32 = 1;
/// Maximum size of a section, in bytes. A file cannot make a reader allocate more.
pub const SECTION_BYTES_MAX: u64 = 1 << 32;

const HEADER_BYTES: usize = 32;
const SECTION_HEADER_BYTES: usize = 32;
const TRAILER_BYTES: usize = 24;

/// The content of a section.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Tag {
    /// Products, promotions and the settings that applying depends on.
    Catalogue,
    /// Velocity counters.
    Velocity,
    /// Nonces and event ids of webhooks.
    Webhooks,
    /// Risk rules, and how attempts are scored.
    Rules,
    /// Counters of distinct values.
    Distinct,
    Shard(u8),
}

impl Tag {
    const fn number(self) -> u32 {
        match self {
            Self::Catalogue => 1,
            Self::Velocity => 2,
            Self::Webhooks => 3,
            Self::Rules => 4,
            Self::Distinct => 5,
            Self::Shard(shard) => 0x100 + shard as u32,
        }
    }

    fn from_number(number: u32) -> Option<Self> {
        match number {
            1 => Some(Self::Catalogue),
            2 => Some(Self::Velocity),
            3 => Some(Self::Webhooks),
            4 => Some(Self::Rules),
            5 => Some(Self::Distinct),
            0x100..=0x1ff => Some(Self::Shard(number.to_le_bytes()[0])),
            _ => None,
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Catalogue => out.write_str("the catalogue"),
            Self::Velocity => out.write_str("the counters"),
            Self::Webhooks => out.write_str("the webhooks"),
            Self::Rules => out.write_str("the risk rules"),
            Self::Distinct => out.write_str("the distinct values"),
            Self::Shard(shard) => write!(out, "shard {shard}"),
        }
    }
}

/// One section with a verified checksum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    pub tag: Tag,
    /// The image is exact as of this LSN: events from here on must be applied to it.
    pub lsn: Lsn,
    /// The archived image.
    pub bytes: Vec<u8>,
}

/// Why bytes are not a valid snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// They end too early, or cannot be read.
    #[error("at byte {offset}: {source}")]
    Read { offset: u64, source: std::io::Error },
    /// Something does not fit.
    #[error("at byte {offset}: {what}")]
    Malformed {
        offset: u64,
        /// What does not fit.
        what: &'static str,
    },
    #[error("it has no section for {0}")]
    NoSection(Tag),
    /// A section has content to which no events lead.
    #[error("{section}: {problem}")]
    Content {
        section: Tag,
        problem: ContentProblem,
    },
    /// The same of a shard, with the buyer, purchase or key.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// Written by another program.
    #[error(
        "it has version {found}, but this program reads version {VERSION}; use the program that wrote it"
    )]
    Version {
        /// The file's version.
        found: u32,
    },
}

/// What is wrong with a section whose checksum is right.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentProblem {
    #[error("its bytes are of another kind of section")]
    OtherKind,
    #[error("a counter holds what is no instant")]
    Instant,
    #[error(
        "more webhooks than there is room for; raise webhooks.events_max and webhooks.nonces_max"
    )]
    WebhooksFull,
    #[error("product {0} has more units than can be counted")]
    Units(ProductId),
    #[error("product {0} is there twice")]
    ProductTwice(ProductId),
    #[error("promotion {0} is there twice")]
    PromotionTwice(PromotionCode),
}

/// The header of a snapshot of the log `log_id`.
pub fn header(log_id: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(&MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    bytes[16..24].copy_from_slice(&log_id.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..28]);
    bytes[28..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The header of a section; its bytes follow.
pub fn section_header(tag: Tag, lsn: Lsn, bytes: &[u8]) -> [u8; SECTION_HEADER_BYTES] {
    let mut header = [0; SECTION_HEADER_BYTES];
    header[..4].copy_from_slice(&tag.number().to_le_bytes());
    header[8..16].copy_from_slice(&(bytes.len() as u64).to_le_bytes());
    header[16..24].copy_from_slice(&lsn.0.to_le_bytes());
    header[24..28].copy_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
    let checksum = crc32c::crc32c(&header[..28]);
    header[28..].copy_from_slice(&checksum.to_le_bytes());
    header
}

/// The trailer after `sections` sections whose headers' checksums fold to `chain`.
pub fn trailer(sections: u32, chain: u32) -> [u8; TRAILER_BYTES] {
    let mut bytes = [0; TRAILER_BYTES];
    bytes[..4].copy_from_slice(&sections.to_le_bytes());
    bytes[4..8].copy_from_slice(&chain.to_le_bytes());
    let checksum = crc32c::crc32c(&bytes[..12]);
    bytes[12..16].copy_from_slice(&checksum.to_le_bytes());
    bytes[16..].copy_from_slice(&TRAILER);
    bytes
}

/// Folds a section's header into the chain that the trailer vouches for.
pub fn chain(before: u32, section_header: &[u8]) -> u32 {
    crc32c::crc32c_append(before, section_header)
}

/// Reads a snapshot, section by section.
#[derive(Debug)]
pub struct SnapshotReader<R> {
    from: R,
    offset: u64,
    log_id: u64,
    sections: u32,
    chain: u32,
}

impl<R: Read> SnapshotReader<R> {
    /// Reads the header.
    pub fn open(mut from: R) -> Result<Self, SnapshotError> {
        let mut offset = 0;
        let bytes: [u8; HEADER_BYTES] = read_array(&mut from, &mut offset)?;
        let malformed = |what| SnapshotError::Malformed { offset: 0, what };
        if bytes[..8] != MAGIC {
            return Err(malformed("it does not begin like a snapshot"));
        }
        if crc32c::crc32c(&bytes[..28]) != u32_at(&bytes, 28) {
            return Err(malformed("the header's checksum does not agree"));
        }
        let found = u32_at(&bytes, 8);
        if found != VERSION {
            return Err(SnapshotError::Version { found });
        }
        Ok(Self {
            from,
            offset,
            log_id: u64_at(&bytes, 16),
            sections: 0,
            chain: 0,
        })
    }

    pub fn log_id(&self) -> u64 {
        self.log_id
    }

    /// The next section; `None` after the last one, once the trailer has confirmed all of them.
    pub fn next_section(&mut self) -> Result<Option<Section>, SnapshotError> {
        let at = self.offset;
        let malformed = |what| SnapshotError::Malformed { offset: at, what };
        // A section's header is longer than the trailer, so the trailer's bytes are read first.
        let start: [u8; TRAILER_BYTES] = read_array(&mut self.from, &mut self.offset)?;
        if start[16..] == TRAILER {
            self.finish(&start)?;
            return self.end().map(|()| None);
        }
        let rest: [u8; SECTION_HEADER_BYTES - TRAILER_BYTES] =
            read_array(&mut self.from, &mut self.offset)?;
        let mut header = [0; SECTION_HEADER_BYTES];
        header[..TRAILER_BYTES].copy_from_slice(&start);
        header[TRAILER_BYTES..].copy_from_slice(&rest);
        if crc32c::crc32c(&header[..28]) != u32_at(&header, 28) {
            return Err(malformed("the section header's checksum does not agree"));
        }
        let tag =
            Tag::from_number(u32_at(&header, 0)).ok_or_else(|| malformed("no such section"))?;
        let length = u64_at(&header, 8);
        if length > SECTION_BYTES_MAX {
            return Err(malformed("the section is longer than any can be"));
        }
        let mut bytes = Vec::new();
        let read = (&mut self.from).take(length).read_to_end(&mut bytes);
        let read = read.map_err(|source| SnapshotError::Read {
            offset: self.offset,
            source,
        })?;
        self.offset += read as u64;
        if read as u64 != length {
            return Err(malformed("the section is cut short"));
        }
        if crc32c::crc32c(&bytes) != u32_at(&header, 24) {
            return Err(malformed("the section's checksum does not agree"));
        }
        self.sections = self.sections.saturating_add(1);
        self.chain = chain(self.chain, &header);
        Ok(Some(Section {
            tag,
            lsn: Lsn(u64_at(&header, 16)),
            bytes,
        }))
    }

    fn finish(&mut self, trailer: &[u8; TRAILER_BYTES]) -> Result<(), SnapshotError> {
        let malformed = |what| SnapshotError::Malformed {
            offset: self.offset,
            what,
        };
        if crc32c::crc32c(&trailer[..12]) != u32_at(trailer, 12) {
            return Err(malformed("the trailer's checksum does not agree"));
        }
        if u32_at(trailer, 0) != self.sections || u32_at(trailer, 4) != self.chain {
            return Err(malformed("the trailer vouches for other sections"));
        }
        Ok(())
    }

    /// Refuses bytes after the trailer, which no checksum covers.
    fn end(&mut self) -> Result<(), SnapshotError> {
        let mut more = [0; 1];
        match self.from.read_exact(&mut more) {
            Ok(()) => Err(SnapshotError::Malformed {
                offset: self.offset,
                what: "there are bytes after the trailer",
            }),
            Err(source) if source.kind() == std::io::ErrorKind::UnexpectedEof => Ok(()),
            Err(source) => Err(SnapshotError::Read {
                offset: self.offset,
                source,
            }),
        }
    }
}

fn read_array<const N: usize>(
    from: &mut impl Read,
    offset: &mut u64,
) -> Result<[u8; N], SnapshotError> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)
        .map_err(|source| SnapshotError::Read {
            offset: *offset,
            source,
        })?;
    *offset += N as u64;
    Ok(bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(
        bytes[at..at + 4]
            .try_into()
            .expect("four bytes were sliced"),
    )
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(
        bytes[at..at + 8]
            .try_into()
            .expect("eight bytes were sliced"),
    )
}
