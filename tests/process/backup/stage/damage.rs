//! Objects that are not what was written: found by verifying, refused by restoring, and never a panic.

use super::*;

#[test]
fn a_flipped_byte_anywhere_is_found_and_nothing_is_restored_from_it() {
    let scratch = tempfile::tempdir().unwrap();
    let (backup, place) = small_backup(scratch.path());
    let good = place.verify(scratch.path());
    let found = figures(&good);
    assert_eq!(
        (&found["good"], &found["foreign_objects"]),
        (&Value::Bool(true), &0.into())
    );
    let digest = check(&scratch.path().join("data"))["digest"].clone();
    let (mut seen, mut refused) = (0, 0);
    for object in objects(&backup) {
        let bytes = std::fs::read(&object).unwrap();
        let name = object.strip_prefix(&backup).unwrap().display().to_string();
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            std::fs::write(&object, flipped).unwrap();
            let verified = place.verify(scratch.path());
            assert_eq!(verified.status.code(), Some(1), "{name} at {at}");
            assert!(stderr(&verified).contains(&name), "{}", stderr(&verified));
            let target = scratch.path().join("from-flipped");
            let restored = place.restore(&target, &[]);
            if restored.status.code() == Some(1) {
                assert!(stderr(&restored).contains(&name), "{}", stderr(&restored));
                assert!(!target.exists());
                refused += 1;
            } else {
                // The newest snapshot does not need it.
                assert_eq!(figures(&restored)["digest"], digest, "{name} at {at}");
                std::fs::remove_dir_all(&target).unwrap();
            }
            seen += 1;
        }
        std::fs::write(&object, bytes).unwrap();
    }
    println!("{seen} flips found, {refused} of them in what a restore reads");
    assert!(refused >= 9, "{refused}");
    assert_eq!(place.verify(scratch.path()).status.code(), Some(0));
}

#[test]
fn hostile_objects_are_refused_and_panic_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let (backup, place) = small_backup(scratch.path());
    let mut dice = DamageDice(0x5eed);
    let whole: Vec<_> = objects(&backup)
        .into_iter()
        .map(|it| (std::fs::read(&it).unwrap(), it))
        .collect();
    for round in 0..60 {
        for (bytes, object) in &whole {
            std::fs::write(object, bytes).unwrap();
        }
        let (bytes, object) = &whole[dice.below(whole.len())];
        let mut bytes = bytes.clone();
        match round % 6 {
            // Cut, grown, filled with noise, empty, another object's content, another name.
            0 => bytes.truncate(dice.below(bytes.len())),
            1 => bytes.extend((0..dice.below(4_096)).map(|_| 0xa5)),
            2 => (0..64).for_each(|_| {
                let at = dice.below(bytes.len());
                bytes[at] = u8::try_from(dice.below(256)).unwrap();
            }),
            3 => bytes.clear(),
            4 => bytes.clone_from(&whole[dice.below(whole.len())].0),
            _ => {
                let name = object
                    .file_name()
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .replace('0', "9");
                std::fs::write(object.with_file_name(name), &bytes).unwrap();
            }
        }
        std::fs::write(object, &bytes).unwrap();
        for output in [
            place.verify(scratch.path()),
            place.restore(&scratch.path().join("hostile"), &[]),
        ] {
            let said = stderr(&output);
            assert!(
                matches!(output.status.code(), Some(0 | 1)),
                "{round}: {said}"
            );
            assert!(!said.contains("panicked"), "{round}: {said}");
        }
        let _ = std::fs::remove_dir_all(scratch.path().join("hostile"));
        for object in objects(&backup) {
            if !whole.iter().any(|(_, it)| *it == object) {
                std::fs::remove_file(object).unwrap();
            }
        }
    }
}

struct DamageDice(u64);

impl DamageDice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % bound.max(1)
    }
}

/// A backup in a directory with sealed segments, snapshots and pieces, of a core that has ended.
fn small_backup(scratch: &Path) -> (PathBuf, Place) {
    let backup = scratch.join("backup");
    let place = Place::directory(&backup);
    let server = place.setup(&scratch.join("data"), "").start();
    server.put_product("plenty", 100_000);
    hold(&server, "plenty", names("ana", 500));
    shipped(&server);
    snapshot(&server);
    hold(&server, "plenty", names("bo", 100));
    shipped(&server);
    hold(&server, "plenty", names("cy", 100));
    shipped(&server);
    let (status, log) = server.stop();
    assert_eq!(status.code(), Some(0), "{}", log.join("\n"));
    (backup, place)
}

/// The objects of a backup in a directory, the lease and its lock aside.
pub fn objects(backup: &Path) -> Vec<PathBuf> {
    files(&backup.join("generations"))
}
