//! The clients below `clients/` have the types that docs/openapi.yaml says. What they do with them is
//! held by `./dev clients`.

use super::architecture::root;
use std::process::Command;

#[test]
fn the_types_of_the_clients_are_current() {
    let python = root().join("target/servers/bin/python");
    assert!(python.exists(), "run ./dev servers first");
    let output = Command::new(python)
        .args(["-m", "generate", "--check"])
        .current_dir(root().join("clients"))
        .output()
        .expect("Python starts");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{stdout}{stderr}");
}
