//! Stages: how hard the run presses, and when each request of an open loop is due.
//!
//! 1. The intended time of each arrival depends on the stages alone: no answer, however late, moves it.
//! 2. A ramp is exact: the *n*-th arrival is where the integral of the rate reaches *n*.
//!
//! It does not send, sleep or read a clock.

use std::time::Duration;

use serde::Deserialize;

use super::file::Seconds;

const RATE_MAX: f64 = 10_000_000.0;
const CONNECTIONS_MAX: f64 = 16_384.0;
const AT_ONCE_MAX: u64 = 1_000_000;

/// A part of the run with one way of pressing.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "RawStage")]
pub(crate) struct Stage {
    pub(crate) length: Duration,
    pub(crate) pace: Pace,
    /// Whether its requests count.
    pub(crate) measured: bool,
}

/// How a stage presses.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// Open loop: buyers arrive at so many a second, whatever the server does.
    Rate(Ramp),
    /// Open loop: so many buyers in the first instant.
    AtOnce(u64),
    /// Closed loop: so many buyers at work, each followed by the next once done.
    Connections(Ramp),
    /// Nobody comes.
    Pause,
}

/// A figure that moves evenly from one value to another.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(from = "RawRamp")]
pub(crate) struct Ramp {
    pub(crate) from: f64,
    pub(crate) to: f64,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    deny_unknown_fields,
    expecting = "a number, or { from = …, to = … }"
)]
enum RawRamp {
    Constant(f64),
    Ramp { from: f64, to: f64 },
}

impl From<RawRamp> for Ramp {
    fn from(raw: RawRamp) -> Self {
        match raw {
            RawRamp::Constant(value) => Self {
                from: value,
                to: value,
            },
            RawRamp::Ramp { from, to } => Self { from, to },
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawStage {
    duration_s: Seconds,
    rate: Option<Ramp>,
    connections: Option<Ramp>,
    at_once: Option<u64>,
    #[serde(default = "yes")]
    measured: bool,
}

fn yes() -> bool {
    true
}

impl TryFrom<RawStage> for Stage {
    type Error = String;

    fn try_from(raw: RawStage) -> Result<Self, String> {
        let within = |ramp: Ramp, max: f64, name: &str| {
            let range = 0.0..=max;
            if range.contains(&ramp.from) && range.contains(&ramp.to) {
                return Ok(ramp);
            }
            Err(format!("`{name}` must lie between 0 and {max}"))
        };
        let pace = match (raw.rate, raw.connections, raw.at_once) {
            (None, None, None) => Pace::Pause,
            (Some(rate), None, None) => Pace::Rate(within(rate, RATE_MAX, "rate")?),
            (None, Some(count), None) => {
                Pace::Connections(within(count, CONNECTIONS_MAX, "connections")?)
            }
            (None, None, Some(count @ 1..=AT_ONCE_MAX)) => Pace::AtOnce(count),
            (None, None, Some(_)) => {
                return Err(format!("`at_once` must lie between 1 and {AT_ONCE_MAX}"));
            }
            _ => return Err("a stage has one of `rate`, `connections`, `at_once`".to_owned()),
        };
        Ok(Self {
            length: raw.duration_s.0,
            pace,
            measured: raw.measured,
        })
    }
}

impl Stage {
    /// The same with `time` as long and `load` as hard.
    pub(crate) fn scaled(&self, time: f64, load: f64) -> Self {
        let scale = |ramp: Ramp| Ramp {
            from: ramp.from * load,
            to: ramp.to * load,
        };
        let pace = match self.pace {
            Pace::Rate(ramp) => Pace::Rate(scale(ramp)),
            Pace::Connections(ramp) => Pace::Connections(Ramp {
                from: scale(ramp).from.ceil(),
                to: scale(ramp).to.ceil(),
            }),
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "at most a million, times a factor of at most 100"
            )]
            Pace::AtOnce(count) => Pace::AtOnce((count as f64 * load).ceil() as u64),
            Pace::Pause => Pace::Pause,
        };
        Self {
            length: self.length.mul_f64(time),
            pace,
            measured: self.measured,
        }
    }

    /// How many buyers are at work in a closed loop, `passed` after the stage began.
    pub(crate) fn connections_at(&self, passed: Duration) -> usize {
        let Pace::Connections(ramp) = self.pace else {
            return 0;
        };
        let share = passed.as_secs_f64() / self.length.as_secs_f64();
        let now = ramp.from + (ramp.to - ramp.from) * share.min(1.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "0 to CONNECTIONS_MAX times the scale"
        )]
        let whole = now.round() as usize;
        whole
    }

    /// When arrival number `n` of the stage is due, after its begin.
    fn arrival(&self, n: u64) -> Option<Duration> {
        match self.pace {
            Pace::AtOnce(count) => (n < count).then_some(Duration::ZERO),
            Pace::Rate(ramp) => {
                let length = self.length.as_secs_f64();
                #[expect(
                    clippy::cast_precision_loss,
                    reason = "a run has far below 2^53 requests"
                )]
                let n = n as f64;
                // cumulative(t) = from t + slope/2 t²; the root in a form that bears a slope of zero.
                let slope = (ramp.to - ramp.from) / length;
                let under = ramp.from.mul_add(ramp.from, 2.0 * slope * n);
                let total = f64::midpoint(ramp.from, ramp.to) * length;
                if n >= total || under < 0.0 {
                    return None;
                }
                let seconds = if n == 0.0 {
                    0.0
                } else {
                    2.0 * n / (ramp.from + under.sqrt())
                };
                Some(Duration::from_secs_f64(seconds.min(length)))
            }
            Pace::Connections(_) | Pace::Pause => None,
        }
    }
}

/// The arrivals of a run, of which one thread takes every `of`-th.
pub(crate) struct Arrivals<'a> {
    stages: &'a [Stage],
    begin: Duration,
    within: u64,
    number: u64,
    index: u64,
    of: u64,
}

impl<'a> Arrivals<'a> {
    pub(crate) fn new(stages: &'a [Stage], index: u64, of: u64) -> Self {
        Self {
            stages,
            begin: Duration::ZERO,
            within: 0,
            number: 0,
            index,
            of,
        }
    }
}

impl Iterator for Arrivals<'_> {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        loop {
            let (stage, later) = self.stages.split_first()?;
            let Some(due) = stage.arrival(self.within) else {
                self.begin += stage.length;
                self.within = 0;
                self.stages = later;
                continue;
            };
            self.within += 1;
            self.number += 1;
            if (self.number - 1) % self.of == self.index {
                return Some(self.begin + due);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stage(length_s: u64, pace: Pace) -> Stage {
        Stage {
            length: Duration::from_secs(length_s),
            pace,
            measured: true,
        }
    }

    fn rate(from: f64, to: f64) -> Pace {
        Pace::Rate(Ramp { from, to })
    }

    #[test]
    fn a_constant_rate_is_evenly_spaced_and_stages_follow_each_other() {
        let stages = [
            stage(1, rate(4.0, 4.0)),
            stage(2, Pace::Pause),
            stage(1, Pace::AtOnce(2)),
        ];
        let due: Vec<u128> = Arrivals::new(&stages, 0, 1)
            .map(|d| d.as_millis())
            .collect();
        assert_eq!(due, [0, 250, 500, 750, 3_000, 3_000]);
    }

    #[test]
    fn a_ramp_holds_its_integral_in_every_half() {
        let stages = [stage(10, rate(0.0, 100.0))];
        let due: Vec<Duration> = Arrivals::new(&stages, 0, 1).collect();
        assert_eq!(due.len(), 500);
        let first_half = due.iter().filter(|d| d.as_secs() < 5).count();
        assert_eq!(first_half, 125);
        assert!(due.is_sorted());
        let down = [stage(10, rate(100.0, 0.0))];
        let first_half = Arrivals::new(&down, 0, 1).filter(|d| d.as_secs() < 5);
        assert_eq!(first_half.count(), 375);
    }

    #[test]
    fn threads_share_the_arrivals_out_whole() {
        let stages = [stage(1, rate(100.0, 300.0)), stage(1, Pace::AtOnce(7))];
        let all = Arrivals::new(&stages, 0, 1).count();
        let shared: usize = (0..3).map(|n| Arrivals::new(&stages, n, 3).count()).sum();
        assert_eq!((all, shared), (207, 207));
    }

    #[test]
    fn connections_ramp_evenly() {
        let ramp = Ramp {
            from: 10.0,
            to: 20.0,
        };
        let stage = stage(10, Pace::Connections(ramp));
        let at = |s| stage.connections_at(Duration::from_secs(s));
        assert_eq!((at(0), at(5), at(10), at(99)), (10, 15, 20, 20));
    }
}
