//! Changes bytes of a data directory and makes every checksum agree again, as `docs/log-format.md`
//! draws them: what is left to find is what the bytes mean.

const SEGMENT_HEADER: usize = 80;
const FRAME_HEADER: usize = 48;
const SNAPSHOT_HEADER: usize = 32;
const SECTION_HEADER: usize = 32;

/// Makes every checksum of a segment or a snapshot agree with its bytes.
pub fn seal(bytes: &mut [u8]) {
    if bytes.starts_with(b"HFSNAP") {
        seal_snapshot(bytes);
    } else {
        seal_segment(bytes);
    }
}

/// Makes the checksums of a segment's frames agree with their bytes.
fn seal_segment(bytes: &mut [u8]) {
    let seed = u32_at(bytes, SEGMENT_HEADER - 4);
    let mut previous = seed;
    let mut at = SEGMENT_HEADER;
    while at + FRAME_HEADER <= bytes.len() {
        let end = at + FRAME_HEADER + u32_at(bytes, at + 8) as usize;
        if bytes[at..at + 4] != *b"\xf7WFR" || end > bytes.len() {
            break;
        }
        bytes[at + 40..at + 44].copy_from_slice(&previous.to_le_bytes());
        previous = crc32c::crc32c_append(seed, &bytes[at + 8..end]);
        bytes[at + 4..at + 8].copy_from_slice(&previous.to_le_bytes());
        at = end;
    }
}

/// Where the payloads of a segment's records stand.
pub fn payloads(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = SEGMENT_HEADER;
    while at + FRAME_HEADER <= bytes.len() && bytes[at..at + 4] == *b"\xf7WFR" {
        let end = at + FRAME_HEADER + u32_at(bytes, at + 8) as usize;
        let mut record = at + FRAME_HEADER;
        while record < end {
            let length = (u32_at(bytes, record) & 0x7fff_ffff) as usize;
            found.push(record + 16..record + length);
            record += length.next_multiple_of(16);
        }
        at = end;
    }
    found
}

/// Makes the checksums of a snapshot's sections agree with their bytes.
fn seal_snapshot(bytes: &mut [u8]) {
    let (mut chain, mut sections) = (0, 0_u32);
    let mut at = SNAPSHOT_HEADER;
    while at + SECTION_HEADER <= bytes.len() {
        let length = u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap());
        let end = usize::try_from(length).unwrap() + at + SECTION_HEADER;
        let sum = crc32c::crc32c(&bytes[at + SECTION_HEADER..end]);
        bytes[at + 24..at + 28].copy_from_slice(&sum.to_le_bytes());
        let sum = crc32c::crc32c(&bytes[at..at + 28]);
        bytes[at + 28..at + 32].copy_from_slice(&sum.to_le_bytes());
        chain = crc32c::crc32c_append(chain, &bytes[at..at + SECTION_HEADER]);
        sections += 1;
        at = end;
    }
    bytes[at..at + 4].copy_from_slice(&sections.to_le_bytes());
    bytes[at + 4..at + 8].copy_from_slice(&chain.to_le_bytes());
    let sum = crc32c::crc32c(&bytes[at..at + 12]);
    bytes[at + 12..at + 16].copy_from_slice(&sum.to_le_bytes());
}

/// Where the bytes of a snapshot's sections stand.
pub fn sections(bytes: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut at = SNAPSHOT_HEADER;
    while at + SECTION_HEADER <= bytes.len() {
        let length = u64::from_le_bytes(bytes[at + 8..at + 16].try_into().unwrap());
        let end = usize::try_from(length).unwrap() + at + SECTION_HEADER;
        found.push(at + SECTION_HEADER..end);
        at = end;
    }
    found
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}
