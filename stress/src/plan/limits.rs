//! What a plan may say. The command line and the report that a run is repeated from are held against the same
//! limits: a report is a file that anybody may have changed.

use std::time::Duration;

use humantime::format_duration;
use thiserror::Error;

use super::Plan;
use crate::crew::freezer::Freezes;
use crate::part::Kind;

/// Threads of each part, at most.
pub(crate) const MOST_THREADS: u16 = 1_024;
/// Blocks of the pool, at most.
pub(crate) const MOST_BLOCKS: u32 = 16_777_216;
/// First rounds are below. The numbers that are made of a round's stay whole then, however long the run is: at a
/// thousand rounds a second it would take a million years to leave them.
pub(crate) const FIRST_ROUNDS: u64 = 1 << 56;

/// Why a plan cannot be run. Fields have the names that they have in a report.
#[derive(Debug, Clone, PartialEq, Error)]
pub(crate) enum PlanError {
    /// Nothing would be run, and nothing be shown.
    #[error("parts: there is none; name one or more of {}", Kind::ALL.map(Kind::name).join(", "))]
    NoPart,
    /// What is told of them would be mixed up.
    #[error("parts: {0} is there twice; name each part once")]
    PartTwice(Kind),
    /// Too few or too many.
    #[error("threads: {0}; give 1 to {MOST_THREADS}")]
    Threads(u16),
    /// Too few or too many.
    #[error("blocks: {0}; give 1 to {MOST_BLOCKS}")]
    Blocks(u32),
    /// Its numbers would end.
    #[error("first_round: {first_round}; give 0 to {}", FIRST_ROUNDS - 1)]
    FirstRound { first_round: u64 },
    /// Nothing would be run, and nothing be shown.
    #[error("rounds: 0; give 1 or more, or none for a run by its duration")]
    NoRound,
    /// A time that is over before it begins.
    #[error("{field}: no time at all; give at least 1ms")]
    NoTime { field: &'static str },
    /// Too rare to be any, or too many.
    #[error(
        "freezes, per_second: {per_second}; give {} to {}, or no freezes at all",
        Freezes::RATES.start(),
        Freezes::RATES.end()
    )]
    FreezeRate { per_second: f64 },
    /// A thread would be frozen for the whole run.
    #[error("freezes, time: {}; give at most {}", format_duration(*.0), format_duration(Freezes::MOST_TIME))]
    FreezeTime(Duration),
    /// Who is frozen would count as stalled.
    #[error(
        "a thread that is frozen for {} counts as stalled after {}; lower --freeze-time (freezes, time), or \
         raise --stall-after (stall_after) above it",
        format_duration(*.time),
        format_duration(*.stall_after)
    )]
    FrozenIsStalled { time: Duration, stall_after: Duration },
}

impl Plan {
    /// Whether it can be run.
    pub(crate) fn check(&self) -> Result<(), PlanError> {
        let Self { parts, threads, blocks, first_round, duration, rounds, .. } = self;
        if parts.is_empty() {
            return Err(PlanError::NoPart);
        }
        let twice = |part: &&Kind| parts.iter().filter(|other| other == part).count() > 1;
        if let Some(part) = parts.iter().find(twice) {
            return Err(PlanError::PartTwice(*part));
        }
        if !(1..=MOST_THREADS).contains(threads) {
            return Err(PlanError::Threads(*threads));
        }
        if !(1..=MOST_BLOCKS).contains(blocks) {
            return Err(PlanError::Blocks(*blocks));
        }
        if *first_round >= FIRST_ROUNDS {
            return Err(PlanError::FirstRound { first_round: *first_round });
        }
        if *rounds == Some(0) {
            return Err(PlanError::NoRound);
        }
        let times = [
            ("duration", *duration),
            ("stall_after", Some(self.stall_after)),
            ("judge_after", Some(self.judge_after)),
            ("freezes, time", self.freezes.map(|freezes| freezes.time)),
        ];
        if let Some((field, _)) = times.iter().find(|(_, time)| *time == Some(Duration::ZERO)) {
            return Err(PlanError::NoTime { field });
        }
        self.freezes.map_or(Ok(()), |freezes| freezes_fit(freezes, self.stall_after))
    }
}

fn freezes_fit(
    Freezes { per_second, time }: Freezes,
    stall_after: Duration,
) -> Result<(), PlanError> {
    if !Freezes::RATES.contains(&per_second) {
        return Err(PlanError::FreezeRate { per_second });
    }
    if time > Freezes::MOST_TIME {
        return Err(PlanError::FreezeTime(time));
    }
    if time >= stall_after {
        return Err(PlanError::FrozenIsStalled { time, stall_after });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::tests::plan;

    /// What is wrong with a plan that was right before.
    #[track_caller]
    fn refused(change: impl FnOnce(&mut Plan)) -> String {
        let mut plan = plan(&["--chaos", "--rounds", "3"]).unwrap();
        assert_eq!(plan.check(), Ok(()));
        change(&mut plan);
        plan.check().unwrap_err().to_string()
    }

    fn freezes(per_second: f64, seconds: u64) -> Freezes {
        Freezes { per_second, time: Duration::from_secs(seconds) }
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_its_field_with_its_range() {
        let zero = Duration::ZERO;
        for (error, expected) in [
            (
                refused(|plan| plan.parts.clear()),
                "parts: there is none; name one or more of pool, ",
            ),
            (refused(|plan| plan.parts.push(Kind::Pool)), "parts: pool is there twice"),
            (refused(|plan| plan.threads = 0), "threads: 0; give 1 to 1024"),
            (refused(|plan| plan.threads = 65_535), "threads: 65535; give 1 to 1024"),
            (refused(|plan| plan.blocks = 0), "blocks: 0; give 1 to 16777216"),
            (refused(|plan| plan.blocks = u32::MAX), "blocks: 4294967295; give 1 to"),
            (
                refused(|plan| plan.first_round = 1 << 56),
                "first_round: 72057594037927936; give 0 to",
            ),
            (refused(|plan| plan.rounds = Some(0)), "rounds: 0; give 1"),
            (refused(|plan| plan.duration = Some(zero)), "duration: no time at all"),
            (refused(|plan| plan.stall_after = zero), "stall_after: no time at all"),
            (refused(|plan| plan.judge_after = zero), "judge_after: no time at all"),
            (refused(|plan| plan.freezes = Some(freezes(1.0, 0))), "freezes, time: no time at all"),
            (
                refused(|plan| plan.freezes = Some(freezes(0.0, 1))),
                "per_second: 0; give 0.001 to 1000",
            ),
            (refused(|plan| plan.freezes = Some(freezes(-1.0, 1))), "per_second: -1; give"),
            (refused(|plan| plan.freezes = Some(freezes(1e-30, 1))), "give 0.001 to 1000"),
            (refused(|plan| plan.freezes = Some(freezes(f64::NAN, 1))), "per_second: NaN; give"),
            (refused(|plan| plan.freezes = Some(freezes(1.0, 3_601))), "give at most 1h"),
        ] {
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn a_freeze_is_shorter_than_a_stall() {
        let stall = |seconds| {
            move |plan: &mut Plan| {
                plan.freezes = Some(freezes(1.0, 2));
                plan.stall_after = Duration::from_secs(seconds);
            }
        };
        for seconds in [1, 2] {
            let error = refused(stall(seconds));
            assert!(error.contains("--freeze-time") && error.contains("--stall-after"), "{error}");
        }
        let mut plan = plan(&["--chaos"]).unwrap();
        stall(3)(&mut plan);
        assert_eq!(plan.check(), Ok(()));
    }

    #[test]
    fn the_numbers_of_the_last_first_round_s_rounds_are_whole() {
        // Seven numbers to a phase's round, and 64 lives to each of them.
        let last = FIRST_ROUNDS - 1 + 7 * (1 << 50);
        assert!(last.checked_mul(64).is_some());
    }
}
