//! A snapshot that cannot be read says which section is wrong, and which file.

use holdfast::engine::settings::EngineSettings;
use holdfast::journal::snapshot::format::{
    Section, SnapshotReader, Tag, chain, header, section_header, trailer,
};
use holdfast::journal::snapshot::restore;
use holdfast::journal::{Journal, JournalOptions, check};
use std::fs;
use std::path::{Path, PathBuf};

/// The only snapshot of a closed directory.
fn snapshot_in(dir: &Path) -> PathBuf {
    let journal = Journal::open(JournalOptions::new(dir), &mut |_| {}).expect("it opens");
    journal.upkeep().snapshot().expect("a snapshot");
    journal.close();
    let files = fs::read_dir(dir.join("snapshots")).expect("the directory of snapshots");
    let mut paths = files.map(|file| file.expect("an entry").path());
    let is_snapshot = |path: &PathBuf| path.extension().is_some_and(|it| it == "snapshot");
    paths.find(is_snapshot).expect("it was taken")
}

/// The same snapshot with the sections that `change` leaves, and good checksums.
fn rewritten(file: &[u8], change: impl Fn(Section) -> Option<Section>) -> Vec<u8> {
    let mut reader = SnapshotReader::open(file).expect("a good snapshot");
    let mut bytes = header(reader.log_id()).to_vec();
    let (mut count, mut folded) = (0, 0);
    while let Some(section) = reader.next_section().expect("a good section") {
        let Some(section) = change(section) else {
            continue;
        };
        let head = section_header(section.tag, section.lsn, &section.bytes);
        count += 1;
        folded = chain(folded, &head);
        bytes.extend_from_slice(&head);
        bytes.extend_from_slice(&section.bytes);
    }
    bytes.extend_from_slice(&trailer(count, folded));
    bytes
}

#[test]
fn a_wrong_section_is_named_and_so_is_a_missing_one() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = snapshot_in(dir.path());
    let file = fs::read(&path).expect("it was written");
    let name = path.file_name().expect("a file").to_string_lossy();
    let cases = [
        (Tag::Catalogue, "the catalogue"),
        (Tag::Velocity, "the counters"),
        (Tag::Webhooks, "the webhooks"),
        (Tag::Rules, "the risk rules"),
        (Tag::Distinct, "the distinct values"),
        (Tag::Shard(0), "shard 0"),
        (Tag::Shard(201), "shard 201"),
    ];
    for (tag, named) in cases {
        let garbled = rewritten(&file, |section| {
            let bytes = if section.tag == tag {
                vec![0xff; 4]
            } else {
                section.bytes.clone()
            };
            Some(Section { bytes, ..section })
        });
        let problem = format!("{named}: its bytes are of another kind of section");
        assert_eq!(problem_of(&garbled), problem);
        fs::write(&path, garbled).expect("a disk");
        let found = check(dir.path(), &EngineSettings::default());
        let found = found.expect_err("it is wrong").to_string();
        assert_eq!(found, format!("damaged: the snapshot {name}: {problem}"));
    }
    for (tag, named) in [cases[0], cases[6]] {
        let shorter = rewritten(&file, |section| (section.tag != tag).then_some(section));
        assert_eq!(
            problem_of(&shorter),
            format!("it has no section for {named}")
        );
    }
}

fn problem_of(file: &[u8]) -> String {
    match restore(file, &EngineSettings::default()) {
        Ok(_) => panic!("it reads well"),
        Err(problem) => problem.to_string(),
    }
}
