//! The command line.

use std::path::PathBuf;

use clap::Parser;

/// llama.cpp's `LLAMA_MAX_SEQ`: sequences that one context can have.
const MOST_AGENTS: u32 = 256;
/// llama.cpp's `GGML_MAX_N_THREADS`.
const MOST_THREADS: u32 = 512;

/// More contexts than any machine has threads for.
const MOST_LANES: u32 = 64;

const EXAMPLES: &str = "\
Examples:
  demo                                            agents work at a plan; killed and started again, they go on
  demo --fresh                                    from the plan's beginning
  demo --plan release.toml --state work           another plan, kept in a folder of your own
  demo --model ~/models/some.gguf --threads 8
  demo --prompts                                  eight agents answer a prompt each, at once
  demo --agents 16 --max-tokens 64
  demo --agents 32 --context 2048                 agents wait until there are blocks for them
  demo --shared-prefix                            all agents have the same instructions in front
  demo --swap                                     the model is replaced while they are answered
  demo --lanes 2                                  two contexts, each with half of the agents
  demo --prompt-file prompts.txt --seed 7 --json out.json

Exit codes: 0 everything was done, 1 a task or a request failed, 2 the input has to be put right,
130 Ctrl-C.";

/// Agents do the tasks of a plan on one model, with tools, and go on where they were when they are killed;
/// or each answers a prompt, and then the same batch runs through a plain llama.cpp loop, for comparison
#[derive(Debug, Clone, Parser)]
#[command(name = "demo", long_about = None, after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct Args {
    /// The plan to work at, in TOML [default: a small one that is built in]
    #[arg(long, value_name = "FILE", help_heading = "A plan", conflicts_with_all = PROMPTS)]
    pub(crate) plan: Option<PathBuf>,

    /// Where the plan's state is kept [default: a folder of its own in your cache]
    #[arg(long, value_name = "FOLDER", help_heading = "A plan", conflicts_with_all = PROMPTS)]
    pub(crate) state: Option<PathBuf>,

    /// Forget what was done at the plan, and begin anew
    #[arg(long, help_heading = "A plan", conflicts_with_all = PROMPTS)]
    pub(crate) fresh: bool,

    /// Answer prompts instead; each of these options says so, too
    #[arg(long, help_heading = "Prompts")]
    pub(crate) prompts: bool,

    /// Agents that ask at the same time [default: 8]
    #[arg(long, value_name = "N", value_parser = agents, help_heading = "Prompts",
          allow_negative_numbers = true)]
    agents: Option<u32>,

    /// Tokens that each agent may generate [default: 128]
    #[arg(long, value_name = "N", value_parser = one_or_more, help_heading = "Prompts",
          allow_negative_numbers = true)]
    max_tokens: Option<u32>,

    /// The GGUF file to run [default: `$LATCHLESS_MODEL`, else what cargo xtask fetched]
    #[arg(long, value_name = "PATH")]
    pub(crate) model: Option<PathBuf>,

    /// A text file with one prompt a line, dealt to the agents in turn
    #[arg(long, value_name = "FILE", help_heading = "Prompts")]
    pub(crate) prompt_file: Option<PathBuf>,

    /// Threads that compute; more than there are cores are never taken [default: all cores]
    #[arg(long, value_name = "N", value_parser = threads, allow_negative_numbers = true)]
    pub(crate) threads: Option<u32>,

    /// Tokens that the context holds, for all agents together [default: what they need]
    #[arg(long, value_name = "N", value_parser = one_or_more, help_heading = "Prompts",
          allow_negative_numbers = true)]
    pub(crate) context: Option<u32>,

    /// Sample with this seed; without it the likeliest token is always taken
    #[arg(long, value_name = "N", help_heading = "Prompts", allow_negative_numbers = true)]
    pub(crate) seed: Option<u32>,

    /// Contexts that share the work, each with its own pool, threads and agents [default: 1]
    #[arg(long, value_name = "N", value_parser = lanes, help_heading = "Prompts",
          allow_negative_numbers = true)]
    lanes: Option<u32>,

    /// Give every agent the same long instructions: they are computed once
    #[arg(long, help_heading = "Prompts")]
    pub(crate) shared_prefix: bool,

    /// Replace the model while the agents are being answered
    #[arg(long, help_heading = "Prompts")]
    pub(crate) swap: bool,

    /// Write the measured figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}

/// What only prompts have.
const PROMPTS: [&str; 9] = [
    "prompts",
    "agents",
    "max_tokens",
    "prompt_file",
    "context",
    "seed",
    "lanes",
    "shared_prefix",
    "swap",
];

impl Args {
    /// Whether prompts are answered, or a plan is worked at.
    pub(crate) fn answers_prompts(&self) -> bool {
        let numbers = [self.agents, self.max_tokens, self.context, self.seed, self.lanes];
        self.prompts
            || self.prompt_file.is_some()
            || self.shared_prefix
            || self.swap
            || numbers.iter().any(Option::is_some)
    }

    pub(crate) fn agents(&self) -> u32 {
        self.agents.unwrap_or(8)
    }

    pub(crate) fn max_tokens(&self) -> u32 {
        self.max_tokens.unwrap_or(128)
    }

    pub(crate) fn lanes(&self) -> u32 {
        self.lanes.unwrap_or(1)
    }
}

fn one_or_more(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed; leave the option out for its default".to_owned()),
        Ok(number) => Ok(number),
        Err(_) => Err(format!("a whole number from 1 to {} is needed", u32::MAX)),
    }
}

fn agents(text: &str) -> Result<u32, String> {
    match one_or_more(text)? {
        number @ ..=MOST_AGENTS => Ok(number),
        _ => Err(format!("one llama.cpp context serves at most {MOST_AGENTS}; ask for fewer")),
    }
}

fn lanes(text: &str) -> Result<u32, String> {
    match one_or_more(text)? {
        number @ ..=MOST_LANES => Ok(number),
        _ => Err(format!("at most {MOST_LANES} fit beside each other; ask for fewer")),
    }
}

fn threads(text: &str) -> Result<u32, String> {
    match one_or_more(text)? {
        number @ ..=MOST_THREADS => Ok(number),
        _ => Err(format!("llama.cpp takes at most {MOST_THREADS}; leave the option out")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(words: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from(["demo"].iter().chain(words))
    }

    #[test]
    fn the_command_line_is_well_formed_and_shows_examples() {
        Args::command().debug_assert();
        assert!(Args::command().render_help().to_string().contains("Examples:"));
    }

    #[test]
    fn numbers_out_of_range_are_refused_with_what_to_do_and_exit_code_2() {
        for (option, value, advice) in [
            ("--agents", "0", "at least 1"),
            ("--agents", "-1", "whole number"),
            ("--agents", "257", "at most 256"),
            ("--max-tokens", "0", "at least 1"),
            ("--threads", "513", "at most 512"),
            ("--lanes", "0", "at least 1"),
            ("--lanes", "65", "at most 64"),
            ("--context", "0", "at least 1"),
            ("--context", "many", "whole number"),
        ] {
            let error = parse(&[option, value]).unwrap_err();
            let sentence = error.to_string();
            assert!(sentence.contains(option) && sentence.contains(advice), "{sentence}");
            assert_eq!(error.exit_code(), 2);
        }
        assert_eq!(parse(&["--agents", "256"]).unwrap().agents(), 256);
        assert_eq!(parse(&[]).unwrap().agents(), 8);
    }

    #[test]
    fn an_option_of_prompts_asks_for_prompts_and_goes_with_no_plan() {
        let prompts = |words: &[&str]| parse(words).unwrap().answers_prompts();
        assert!(!prompts(&[]) && !prompts(&["--fresh", "--threads", "2", "--json", "x"]));
        for words in [
            &["--prompts"][..],
            &["--agents", "3"],
            &["--max-tokens", "3"],
            &["--prompt-file", "x"],
            &["--context", "99"],
            &["--seed", "1"],
            &["--lanes", "2"],
            &["--shared-prefix"],
            &["--swap"],
        ] {
            assert!(prompts(words), "{words:?}");
            for plan in [&["--plan", "x"][..], &["--state", "x"], &["--fresh"]] {
                let refused = parse(&[words, plan].concat()).unwrap_err();
                assert_eq!(refused.exit_code(), 2, "{words:?} {plan:?}");
            }
        }
    }
}
