//! A holdfast process of the harness, with the demo's keys and its own configuration.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::error::{During as _, Fault};
use crate::http::Target;
use crate::http::client::Client;
use crate::process::{self, Server};

pub(crate) const SHOP_KEY: &str = "demo-shop-key";
pub(crate) const ADMIN_KEY: &str = "demo-admin-key";

/// Starts `binary` with data and log under `dir` and waits until it is ready.
pub(crate) fn start(binary: &Path, dir: &Path, config: &str) -> Result<(Server, Target), Fault> {
    let target = Target::at(process::free_address()?);
    let file = dir.join("holdfast.toml");
    fs::write(&file, config).during(|| format!("write {}", file.display()))?;
    let mut command = Command::new(binary);
    command
        .args(["serve", "--demo", "--listen", &target.host, "--config"])
        .arg(file)
        .arg("--data-dir")
        .arg(dir.join("data"));
    let mut server = Server::start("holdfast", command, &dir.join("holdfast.log"))?;
    server.wait_until(|| {
        let answer = Client::new(&target, SHOP_KEY).get("/readyz");
        answer.is_ok_and(|a| a.status == 200)
    })?;
    Ok((server, target))
}
