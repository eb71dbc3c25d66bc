//! How a run is repeated: what broke alone, or all of it; as a command, too.

use std::env;
use std::fmt::Write;
use std::time::Duration;

use clap::ValueEnum;

use crate::args::{JUDGE_AFTER, STALL_AFTER};
use crate::fault::Rates;
use crate::part::Kind;
use crate::plan::Plan;

/// What runs the program from the repository.
pub(crate) const PROGRAM: &str = "cargo run --release -p latchless-stress --";

/// The same, with llama.cpp.
const WITH_A_MODEL: &str = "cargo run --release -p latchless-stress --features llama --";

impl Plan {
    /// One round of one part, with the same decisions.
    pub(crate) fn round_alone(&self, part: Kind, round: u64) -> Self {
        Self {
            parts: vec![part],
            first_round: round,
            duration: None,
            rounds: Some(1),
            // Its number says its phase.
            phases: Vec::new(),
            ..self.clone()
        }
    }

    /// The command that carries it out. Not what it is watched by: that is up to whoever repeats it.
    pub(crate) fn command(&self) -> String {
        let Self { seed, threads, blocks, first_round, .. } = self;
        // A model needs what is not built in by itself.
        let program = if self.model.is_some() { WITH_A_MODEL } else { PROGRAM };
        let mut command = weakened();
        let _ = write!(
            command,
            "{program} run --seed {seed} --threads {threads} --blocks {blocks} --first-round {first_round}"
        );
        let mut option = |name: &str, value: &dyn std::fmt::Display| {
            // Writing to a string cannot fail.
            let _ = write!(command, " --{name} {value}");
        };
        // Without spaces, which a shell takes for an end.
        let time = |time: Duration| humantime::format_duration(time).to_string().replace(' ', "");
        if let Some(duration) = self.duration {
            option("duration", &time(duration));
        }
        if let Some(rounds) = self.rounds {
            option("rounds", &rounds);
        }
        if self.parts != Kind::ALL {
            self.parts.iter().for_each(|part| option("only", part));
        }
        if !self.phases.is_empty() {
            let phases = self.phases.iter().map(ToString::to_string).collect::<Vec<_>>();
            option("phases", &phases.join(","));
        }
        if self.stall_after != STALL_AFTER {
            option("stall-after", &time(self.stall_after));
        }
        if self.judge_after != JUDGE_AFTER {
            option("judge-after", &time(self.judge_after));
        }
        if let Some(model) = &self.model {
            let path = model.to_string_lossy();
            // Quoted if need be. A path with a NUL, which cannot be, could not have been opened either.
            option("model", &shlex::try_quote(&path).unwrap_or_else(|_| path.clone()));
        }
        if let Some(freezes) = self.freezes {
            option("freeze", &freezes.per_second);
            option("freeze-time", &time(freezes.time));
        }
        if let Some(plant) = self.plant.as_ref().and_then(ValueEnum::to_possible_value) {
            option("plant", &plant.get_name());
        }
        if self.rates != Rates::default() {
            option("rate", &self.rates);
        }
        if self.faults {
            command.push_str(" --faults");
        }
        command
    }
}

/// What a run of a core that is weakened on purpose is begun with.
fn weakened() -> String {
    match env::var("LATCHLESS_MUTANT") {
        Ok(mutant) if cfg!(latchless_mutants) => {
            format!("RUSTFLAGS='--cfg latchless_mutants' LATCHLESS_MUTANT={mutant} ")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::tests::plan;

    /// What a real shell makes of a command line.
    #[cfg(unix)]
    fn words(line: &str) -> Vec<String> {
        let script = format!("printf '%s\\0' {line}");
        let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.split_terminator('\0').map(str::to_owned).collect()
    }

    #[cfg(unix)]
    #[test]
    fn the_command_of_a_plan_is_read_as_the_same_plan() {
        for args in [
            &["--seed", "1"][..],
            &["--chaos", "--duration", "1h 30m", "--only", "agents", "--only", "pool"],
            &["--rounds", "3", "--first-round", "7", "--freeze", "0.25", "--plant", "leak"],
            &["--phases", "calm=2,burst=1h 30m", "--phases", "near-exhaustion"],
            &["--threads", "9", "--blocks", "77", "--faults", "--stall-after", "150ms"],
            &["--chaos", "--rate", "kill=0,spoil=3", "--rate", "slow-reader=0.125"],
            &["--rate", "cancel=100"],
            &["--model", "/with space/it's $HOME.gguf", "--only", "engine"],
        ] {
            let asked = plan(args).unwrap();
            let command = asked.command();
            let (program, rest) = command.split_once(" -- run ").unwrap();
            let model = args.contains(&"--model");
            let expected = if model { WITH_A_MODEL } else { PROGRAM };
            assert_eq!(program, expected.trim_end_matches(" --"));
            let words = words(rest);
            let words: Vec<_> = words.iter().map(String::as_str).collect();
            assert_eq!(plan(&words).unwrap(), asked, "{command}");
        }
    }

    #[test]
    fn a_round_alone_is_of_its_part_and_by_count() {
        let night = plan(&["--chaos", "--duration", "8h", "--seed", "5", "--phases", "calm=3"]);
        let night = night.unwrap();
        let alone = night.round_alone(Kind::Agents, 17);
        assert_eq!((alone.rounds, alone.duration, alone.first_round), (Some(1), None, 17));
        assert_eq!((alone.seed, alone.freezes), (5, night.freezes));
        assert!(alone.phases.is_empty());
        assert!(alone.command().contains(" --first-round 17 --rounds 1 --only agents "));
    }
}
