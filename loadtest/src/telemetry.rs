//! `loadtest telemetry`: what traces and metrics cost, in one run.
//!
//! 1. Processes with telemetry off, on, and with each request traced are measured alternately, in a
//!    different order in every round; the other ones are idle. Off is compared with a program that was built
//!    without it, where there is one; the others are compared with off.
//! 2. The collector is a thread here that takes everything and keeps nothing. What it takes is written by
//!    the process that is measured, and counts.
//! 3. Two figures: answers a second, and the processor time of the process for each answer, in user and
//!    kernel mode, exports included. The second one is the steadier one where other programs run.
//! 4. A ratio is computed within a round; the median of the rounds is shown, and their range.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, Table};

use crate::cli::TelemetryArgs;
use crate::demo::{self, ADMIN_KEY};
use crate::error::{During as _, Fault};
use crate::http::Target;
use crate::http::client::Client;
use crate::process::Server;
use crate::rules::{FLOWS, Turn};
use crate::sinks::{median, right};

/// How long after a turn its last spans are exported, at most.
const EXPORTED_AFTER: Duration = Duration::from_millis(1_500);

/// A process, and which one it is compared with.
struct Side {
    name: &'static str,
    base: Option<usize>,
    server: Server,
    target: Target,
    _dir: tempfile::TempDir,
}

/// What a side came to in a round.
#[derive(Clone, Copy, Debug, Default)]
struct Figures {
    /// Answers a second.
    rate: f64,
    /// Processor time of an answer, in microseconds.
    cpu_us: f64,
}

/// One of the figures.
type Of = fn(&Figures) -> f64;

/// Runs `telemetry` as asked on the command line.
pub(crate) fn command(args: &TelemetryArgs) -> Result<(), Fault> {
    let collector = collector()?;
    let on = format!("[telemetry]\notlp_endpoint = \"{collector}\"\nmetrics_every_s = 10\n");
    let all = format!("{on}trace_sample_per_million = 1000000\n");
    let mut sides = Vec::new();
    if let Some(without) = &args.without {
        sides.push(side(args, "not built in", None, without, "")?);
    }
    let off = sides.len();
    let built_without = off.checked_sub(1);
    for (name, base, config) in [
        ("off", built_without, ""),
        ("on, 1 % traced", Some(off), &on),
        ("on, all traced", Some(off), &all),
    ] {
        sides.push(side(args, name, base, &args.holdfast, config)?);
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header([
        "",
        "answers/s",
        "ratio",
        "range",
        "CPU µs",
        "ratio",
        "range",
    ]);
    for (flow, name) in FLOWS {
        let mut rounds: Vec<Vec<Figures>> = Vec::new();
        for round in 0..args.rounds as usize {
            let product = format!("{name}-{round}");
            let turn = Turn {
                flow,
                product: &product,
                connections: args.connections,
                duration: args.duration,
            };
            let mut figures = vec![Figures::default(); sides.len()];
            let mut order: Vec<usize> = (0..sides.len()).collect();
            order.rotate_left(round % sides.len());
            for place in order {
                figures[place] = measure(&sides[place], &turn)?;
            }
            eprintln!("{name}, round {}: {figures:?}", round + 1);
            rounds.push(figures);
        }
        for (place, side) in sides.iter().enumerate() {
            table.add_row(row(
                &format!("{name}, {}", side.name),
                &rounds,
                place,
                side.base,
            ));
        }
    }
    println!(
        "medians of {} rounds; ratios within a round: off to not built in, on to off\n{table}",
        args.rounds
    );
    Ok(())
}

fn side(
    args: &TelemetryArgs,
    name: &'static str,
    base: Option<usize>,
    binary: &Path,
    config: &str,
) -> Result<Side, Fault> {
    let place = args.dir.clone().unwrap_or_else(std::env::temp_dir);
    let made = || format!("make a directory in {}", place.display());
    let dir = tempfile::tempdir_in(&place).during(made)?;
    let (server, target) = demo::start(binary, dir.path(), config)?;
    Ok(Side {
        name,
        base,
        server,
        target,
        _dir: dir,
    })
}

fn measure(side: &Side, turn: &Turn<'_>) -> Result<Figures, Fault> {
    let before = (cpu_ns(&side.server)?, answers(&side.target)?);
    let rate = turn.drive(&side.target)?;
    std::thread::sleep(EXPORTED_AFTER);
    let after = (cpu_ns(&side.server)?, answers(&side.target)?);
    #[expect(clippy::cast_precision_loss, reason = "a turn takes seconds")]
    let cpu_us = (after.0 - before.0) as f64 / 1_000.0;
    Ok(Figures {
        rate,
        cpu_us: cpu_us / (after.1 - before.1).max(1.0),
    })
}

/// The time that all threads of a process ran, by the scheduler.
fn cpu_ns(server: &Server) -> Result<u64, Fault> {
    let tasks = format!("/proc/{}/task", server.id());
    let reading = || format!("read {tasks}");
    let mut total = 0;
    for task in std::fs::read_dir(&tasks).during(reading)? {
        let file = task.during(reading)?.path().join("schedstat");
        // A thread may have ended meanwhile.
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let ran = text.split(' ').next().and_then(|it| it.parse::<u64>().ok());
        total += ran.unwrap_or_default();
    }
    Ok(total)
}

/// The answers that a server has given so far.
fn answers(target: &Target) -> Result<f64, Fault> {
    let answer = Client::new(target, ADMIN_KEY).get("/metrics")?;
    let text = answer.text();
    let lines = text.lines();
    let lines = lines.filter(|it| it.starts_with("holdfast_answers_total{"));
    let counts = lines.filter_map(|it| it.rsplit_once(' ')?.1.parse::<f64>().ok());
    Ok(counts.sum())
}

fn row(name: &str, rounds: &[Vec<Figures>], place: usize, base: Option<usize>) -> Vec<Cell> {
    let mut cells = vec![Cell::new(name)];
    let figures: [(Of, usize); 2] = [(|it| it.rate, 0), (|it| it.cpu_us, 1)];
    for (of, decimals) in figures {
        let values = rounds.iter().map(|it| of(&it[place]));
        cells.push(right(&format!("{:.decimals$}", median(values))));
        let Some(base) = base else {
            cells.extend([right(""), right("")]);
            continue;
        };
        let ratios = || rounds.iter().map(|it| of(&it[place]) / of(&it[base]));
        let least = ratios().fold(f64::INFINITY, f64::min);
        let most = ratios().fold(0.0, f64::max);
        cells.push(right(&format!("{:.3}", median(ratios()))));
        cells.push(right(&format!("{least:.3}–{most:.3}")));
    }
    cells
}

/// Starts a collector that takes everything; its URL.
fn collector() -> Result<String, Fault> {
    let listening = || "listen for telemetry".to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").during(listening)?;
    let address = listener.local_addr().during(listening)?;
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || swallow(stream));
        }
    });
    Ok(format!("http://{address}"))
}

/// Answers each request of a connection with 200. A connection that breaks is the client's to make anew.
fn swallow(stream: TcpStream) {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let mut length = 0;
    loop {
        line.clear();
        if stream.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let header = line.trim_end().to_ascii_lowercase();
        if let Some(value) = header.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap_or(0);
        }
        if !header.is_empty() {
            continue;
        }
        let mut left: usize = length;
        while left > 0 {
            let had = stream.fill_buf().map_or(0, <[u8]>::len).min(left);
            if had == 0 {
                return;
            }
            stream.consume(had);
            left -= had;
        }
        length = 0;
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
        if stream.get_mut().write_all(answer).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let figures = |rate, cpu_us| Figures { rate, cpu_us };
        let rounds = [
            vec![figures(100.0, 10.0), figures(90.0, 11.0)],
            vec![figures(10.0, 20.0), figures(10.0, 20.0)],
            vec![figures(50.0, 10.0), figures(40.0, 10.5)],
        ];
        let shown = |place, base| {
            let cells = row("hold", &rounds, place, base);
            let text: Vec<String> = cells.iter().map(Cell::content).collect();
            text.join(" ")
        };
        assert_eq!(shown(0, None), "hold 50   10.0  ");
        let with_ratios = "hold 40 0.900 0.800–1.000 11.0 1.050 1.000–1.100";
        assert_eq!(shown(1, Some(0)), with_ratios);
    }

    #[test]
    fn the_collector_takes_one_request_after_the_other() {
        let url = collector().unwrap();
        let mut stream = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
        for body in ["", "12345"] {
            let length = body.len();
            let request =
                format!("POST /v1/traces HTTP/1.1\r\nContent-Length: {length}\r\n\r\n{body}");
            stream.write_all(request.as_bytes()).unwrap();
            let mut answer = [0; 38];
            stream.read_exact(&mut answer).unwrap();
            assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
            assert!(answer.ends_with(b"\r\n\r\n"));
        }
    }
}
