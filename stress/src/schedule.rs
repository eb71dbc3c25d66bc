//! In what order the phases come, and how long each lasts.
//!
//! A round's number says its phase, and its decisions come from it; a schedule only says which numbers come
//! one after the other. So a round is repeated alone by its number, whatever the schedule was.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::args;
use crate::phase::{PHASES, Phase};

/// A phase, and how long it lasts: `calm=3` for rounds, `calm=10m` for a time, `calm` for one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Stretch {
    phase: Phase,
    length: Length,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Rounds(u64),
    /// The round that goes on then is the last one.
    Time(Duration),
}

/// Why a text is no stretch.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum StretchError {
    /// Nothing of that name comes.
    #[error("there is no phase `{name}`; write {}", names())]
    Phase { name: String },
    /// Neither rounds nor a time.
    #[error(
        "`{length}` is no length of a phase; write rounds, as in calm=3, or a time, as in calm=10m"
    )]
    Length { length: String },
}

fn names() -> String {
    Phase::ALL.map(written).join(", ")
}

/// A phase as it is written in options and files.
fn written(phase: Phase) -> String {
    phase.name().replace(' ', "-")
}

impl FromStr for Stretch {
    type Err = StretchError;

    fn from_str(text: &str) -> Result<Self, StretchError> {
        let (name, length) = text.split_once('=').unwrap_or((text, "1"));
        let (name, length) = (name.trim(), length.trim());
        let phase = Phase::from_str(name, false)
            .map_err(|_| StretchError::Phase { name: name.to_owned() })?;
        let length = match length.parse() {
            Ok(rounds) if rounds > 0 => Length::Rounds(rounds),
            _ => args::duration(length)
                .map(Length::Time)
                .map_err(|_| StretchError::Length { length: length.to_owned() })?,
        };
        Ok(Self { phase, length })
    }
}

impl fmt::Display for Stretch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let phase = written(self.phase);
        match self.length {
            Length::Rounds(rounds) => write!(f, "{phase}={rounds}"),
            Length::Time(time) => {
                let time = humantime::format_duration(time).to_string().replace(' ', "");
                write!(f, "{phase}={time}")
            }
        }
    }
}

impl From<Stretch> for String {
    fn from(stretch: Stretch) -> Self {
        stretch.to_string()
    }
}

impl TryFrom<String> for Stretch {
    type Error = StretchError;

    fn try_from(text: String) -> Result<Self, StretchError> {
        text.parse()
    }
}

/// The numbers of a part's rounds, one after the other.
pub(crate) struct Schedule<'a> {
    stretches: &'a [Stretch],
    /// The number that the next round of each phase gets.
    next: [u64; PHASES],
    /// Without stretches: the numbers as they come.
    round: u64,
    /// The stretch that goes on, when it began, and how many rounds of it have begun.
    at: usize,
    since: Option<Instant>,
    begun: u64,
}

impl<'a> Schedule<'a> {
    /// Begins at `first`: no round has a number below. Without stretches, all phases take turns.
    pub(crate) fn new(stretches: &'a [Stretch], first: u64) -> Self {
        let phases = PHASES as u64;
        let next =
            std::array::from_fn(|phase| first + (phase as u64 + phases - first % phases) % phases);
        Self { stretches, next, round: first, at: 0, since: None, begun: 0 }
    }

    /// The next round's number, at a moment.
    pub(crate) fn next(&mut self, now: Instant) -> u64 {
        if self.stretches.is_empty() {
            self.round += 1;
            return self.round - 1;
        }
        let over = match self.stretches[self.at].length {
            Length::Rounds(rounds) => self.begun >= rounds,
            Length::Time(time) => {
                self.since.is_some_and(|since| now.saturating_duration_since(since) >= time)
            }
        };
        if over {
            self.at = (self.at + 1) % self.stretches.len();
            (self.since, self.begun) = (None, 0);
        }
        self.since.get_or_insert(now);
        self.begun += 1;
        let next = &mut self.next[self.stretches[self.at].phase as usize];
        *next += PHASES as u64;
        *next - PHASES as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretches(texts: &[&str]) -> Vec<Stretch> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn stretches_are_read_as_they_are_written() {
        for text in ["calm=1", "near-exhaustion=12", "swap-after-swap=1h30m", "burst=250ms"] {
            assert_eq!(text.parse::<Stretch>().unwrap().to_string(), text);
        }
        assert_eq!("calm".parse::<Stretch>(), "calm=1".parse());
        for (text, word) in
            [("lunch=1", "near-exhaustion"), ("calm=0", "calm=10m"), ("calm=", "calm=3")]
        {
            let error = text.parse::<Stretch>().unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn without_stretches_all_phases_take_turns() {
        let mut schedule = Schedule::new(&[], 5);
        let now = Instant::now();
        assert_eq!([(); 9].map(|()| schedule.next(now)), [5, 6, 7, 8, 9, 10, 11, 12, 13]);
    }

    #[test]
    fn a_round_s_number_says_its_phase_and_comes_once() {
        let stretches = stretches(&["burst=2", "calm=1", "burst=1", "near-exhaustion=3"]);
        let mut schedule = Schedule::new(&stretches, 10);
        let now = Instant::now();
        let rounds: Vec<_> = (0..70).map(|_| schedule.next(now)).collect();
        let phases: Vec<_> = rounds.iter().map(|round| Phase::of_round(*round)).collect();
        let (burst, scarce) = (Phase::Burst, Phase::NearExhaustion);
        let cycle = [burst, burst, Phase::Calm, burst, scarce, scarce, scarce];
        assert!(phases.chunks(7).all(|seven| seven == cycle), "{phases:?}");
        let mut once = rounds.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!((once.len(), once[0] >= 10), (70, true));
    }

    #[test]
    fn a_stretch_of_time_ends_with_the_round_that_goes_on_then() {
        let stretches = stretches(&["calm=10s", "burst"]);
        let mut schedule = Schedule::new(&stretches, 0);
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let rounds = [0, 4, 9, 11, 12, 21, 22].map(|seconds| schedule.next(at(seconds)));
        let phases = rounds.map(Phase::of_round);
        let (calm, burst) = (Phase::Calm, Phase::Burst);
        assert_eq!(phases, [calm, calm, calm, burst, calm, calm, burst]);
    }
}
