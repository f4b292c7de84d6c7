//! Scenarios: what a run does, read from TOML, and those that come with the program.
//!
//! `file` has the keys, `pace` the stages, `token` the cards, `threshold` the conditions. A scenario says nothing of how
//! requests are sent: `runner` does that.

pub(crate) mod file;
pub(crate) mod pace;
pub(crate) mod threshold;
pub(crate) mod token;

use std::path::Path;

use crate::cli::ScenariosArgs;
use crate::error::Fault;

pub(crate) use file::Scenario;

/// The scenarios that come with the program, by name.
const SHIPPED: [(&str, &str); 9] = [
    ("steady", include_str!("../../scenarios/steady.toml")),
    (
        "thundering-start",
        include_str!("../../scenarios/thundering-start.toml"),
    ),
    ("ramp", include_str!("../../scenarios/ramp.toml")),
    ("spike", include_str!("../../scenarios/spike.toml")),
    (
        "refusal-storm",
        include_str!("../../scenarios/refusal-storm.toml"),
    ),
    (
        "retry-storm",
        include_str!("../../scenarios/retry-storm.toml"),
    ),
    (
        "hold-then-pay",
        include_str!("../../scenarios/hold-then-pay.toml"),
    ),
    ("card-mix", include_str!("../../scenarios/card-mix.toml")),
    ("restart", include_str!("../../scenarios/restart.toml")),
];

impl Scenario {
    /// Reads the file `name`, or the shipped scenario of that name if there is no such file.
    pub(crate) fn load(name: &str) -> Result<Self, Fault> {
        let text = match std::fs::read_to_string(name) {
            Ok(text) => text,
            Err(source) => shipped(name)
                .ok_or_else(|| Fault::NoScenario {
                    name: name.to_owned(),
                    source,
                })?
                .to_owned(),
        };
        Self::parse(name, &text)
    }

    fn parse(name: &str, text: &str) -> Result<Self, Fault> {
        toml::from_str(text).map_err(|source| Fault::BadScenario {
            name: name.to_owned(),
            source: Box::new(source),
        })
    }
}

/// What the run is called: the file's name without folder and ending.
pub(crate) fn title(name: &str) -> String {
    let stem = Path::new(name).file_stem();
    stem.map_or_else(|| name.to_owned(), |s| s.to_string_lossy().into_owned())
}

/// Runs `scenarios` as asked on the command line.
pub(crate) fn command(args: &ScenariosArgs) -> Result<(), Fault> {
    if let Some(name) = &args.name {
        let text = shipped(name).ok_or_else(|| Fault::NoScenario {
            name: name.clone(),
            source: std::io::ErrorKind::NotFound.into(),
        })?;
        print!("{text}");
        return Ok(());
    }
    for (name, text) in SHIPPED {
        println!("{name}\n    {}\n", Scenario::parse(name, text)?.about);
    }
    println!(
        "Run one: loadtest run NAME. Print one, to change it: loadtest scenarios NAME > my.toml"
    );
    Ok(())
}

fn shipped(name: &str) -> Option<&'static str> {
    SHIPPED
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, text)| *text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: &str = "[[stage]]\nduration_s = 1\nrate = 5\n[[mix]]\nflow = \"hold\"\n";

    fn refused(text: &str) -> String {
        Scenario::parse("x.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn stages_and_a_mix_are_enough() {
        Scenario::parse("x.toml", LEAST).unwrap();
    }

    #[test]
    fn every_shipped_scenario_is_read_and_says_what_it_is_for() {
        for (name, text) in SHIPPED {
            let scenario = Scenario::parse(name, text).unwrap_or_else(|f| panic!("{f}"));
            assert!(scenario.about.len() > 40, "{name}");
            assert!(!scenario.thresholds.is_empty(), "{name}");
        }
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios");
        assert_eq!(std::fs::read_dir(folder).unwrap().count(), SHIPPED.len());
    }

    #[track_caller]
    fn check(more: &str, line: usize, column: usize, word: &str) {
        let said = refused(&format!("{more}\n{LEAST}"));
        let place = format!("line {line}, column {column}");
        assert!(said.contains("x.toml") && said.contains(&place), "{said}");
        assert!(said.contains(word), "{said}");
    }

    #[test]
    fn what_is_wrong_is_refused_with_line_and_column() {
        check("abuot = \"x\"", 1, 1, "abuot");
        check("[products]\nstok = 5", 2, 1, "stok");
        check("[products]\nstock = 2_097_152", 2, 9, "2097151");
        check("[products]\npick = { hot = 2.0 }", 2, 8, "share");
        check("[server]\nhttp = \"3\"", 2, 8, "1.1");
        check(
            "thresholds = [\"errors == 0\", \"p99 < 5\"]",
            1,
            14,
            "p99_9_ms",
        );
        check("[[retry]]\non = \"503\"\ntimes = 0", 3, 9, "from 1 to 1000");
        check("[[card]]\ntoken = \"tok_{x}\"", 2, 9, "{buyer}");
        check("[buyers]\npause_ms = { from = 5, to = 1 }", 2, 12, "above");
    }

    #[test]
    fn stages_that_cannot_be_are_refused() {
        let two =
            "[[stage]]\nduration_s = 1\nrate = 5\nconnections = 2\n[[mix]]\nflow = \"hold\"\n";
        assert!(refused(two).contains("one of `rate`"), "{}", refused(two));
        let never = LEAST.replace("rate = 5", "measured = true");
        assert!(refused(&never).contains("no measured stage"));
        let late = format!("{LEAST}[[stage]]\nduration_s = 1\nrate = 1\nmeasured = false\n");
        assert!(refused(&late).contains("before the measured"));
        let none = LEAST.replace("flow = \"hold\"", "flow = \"hold\"\nweight = 0");
        assert!(refused(&none).contains("weight above 0"));
    }
}
