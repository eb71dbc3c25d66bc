//! `cargo xtask demo`: checks the options, prepares the machine and the model, builds the demo in
//! release and hands over to it.
//!
//! What can be refused without building is refused first: the first build takes minutes.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use clap::Args;

use crate::run::{self, Failed};
use crate::{model, prerequisites};

/// Sequences that a llama.cpp context can have (`LLAMA_MAX_SEQ`), and threads (`GGML_MAX_N_THREADS`).
/// The demo checks both as well; here it is before anything is fetched or built.
const MOST_AGENTS: u32 = 256;
const MOST_THREADS: u32 = 512;

/// Shown at the end of `cargo xtask demo --help`.
pub(crate) const EXAMPLES: &str = "\
Examples:
  cargo xtask demo                                agents work at a plan; kill it, start it again: it goes on
  cargo xtask demo --fresh                        from the plan's beginning
  cargo xtask demo --plan release.toml            another plan
  cargo xtask demo --model ~/models/some.gguf --threads 8
  cargo xtask demo --prompts                      eight agents answer a prompt each, at once
  cargo xtask demo --agents 16 --max-tokens 64
  cargo xtask demo --shared-prefix                the same instructions for all, computed once
  cargo xtask demo --swap --lanes 2               the model is replaced under way; two contexts
  cargo xtask demo --prompt-file prompts.txt --seed 7 --json out.json

The first run fetches the model (98 MB) and compiles llama.cpp (about 5 minutes on two cores).

Exit codes: 0 everything was done, 1 a task, a request or the build failed, 2 the input or this
machine has to be put right, 130 Ctrl-C.";

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

/// The options of the demo.
#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own")]
pub(crate) struct DemoArgs {
    /// The plan to work at, in TOML [default: a small one that is built in]
    #[arg(long, value_name = "FILE", help_heading = "A plan", conflicts_with_all = PROMPTS)]
    plan: Option<PathBuf>,

    /// Where the plan's state is kept [default: a folder of its own in your cache]
    #[arg(long, value_name = "FOLDER", help_heading = "A plan", conflicts_with_all = PROMPTS)]
    state: Option<PathBuf>,

    /// Forget what was done at the plan, and begin anew
    #[arg(long, help_heading = "A plan", conflicts_with_all = PROMPTS)]
    fresh: bool,

    /// Answer prompts instead; each of these options says so, too
    #[arg(long, help_heading = "Prompts")]
    prompts: bool,

    /// Agents that ask at the same time [default: 8]
    #[arg(long, value_name = "N", value_parser = agents, help_heading = "Prompts",
          allow_negative_numbers = true)]
    agents: Option<u32>,

    /// Tokens that each agent may generate [default: 128]
    #[arg(long, value_name = "N", value_parser = one_or_more, help_heading = "Prompts",
          allow_negative_numbers = true)]
    max_tokens: Option<u32>,

    /// The GGUF file to run in place of SmolLM2-135M-Instruct
    #[arg(long, value_name = "PATH")]
    model: Option<PathBuf>,

    /// A text file with one prompt a line, dealt to the agents in turn
    #[arg(long, value_name = "FILE", help_heading = "Prompts")]
    prompt_file: Option<PathBuf>,

    /// Threads that compute; more than free cores slows everything down [default: all cores]
    #[arg(long, value_name = "N", value_parser = threads, allow_negative_numbers = true)]
    threads: Option<u32>,

    /// Tokens that the context holds, for all agents together [default: what they need]
    #[arg(long, value_name = "N", value_parser = one_or_more, help_heading = "Prompts",
          allow_negative_numbers = true)]
    context: Option<u32>,

    /// Sample with this seed; without it the likeliest token is always taken
    #[arg(long, value_name = "N", help_heading = "Prompts", allow_negative_numbers = true)]
    seed: Option<u32>,

    /// Contexts that share the work, each with its own pool, threads and agents
    #[arg(long, value_name = "N", value_parser = one_or_more, help_heading = "Prompts",
          allow_negative_numbers = true)]
    lanes: Option<u32>,

    /// Give every agent the same long instructions: they are computed once
    #[arg(long, help_heading = "Prompts")]
    shared_prefix: bool,

    /// Replace the model while the agents are being answered
    #[arg(long, help_heading = "Prompts")]
    swap: bool,

    /// Write the measured figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Why the demo did not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// An option names a file that cannot be used.
    #[error("{option} {}: {problem}; {advice}", path.display())]
    Input {
        /// The option.
        option: &'static str,
        /// What it names.
        path: PathBuf,
        /// What is wrong with that.
        problem: String,
        /// What to do.
        advice: &'static str,
    },

    /// It did not compile.
    #[error("the demo could not be built: {0}; the reason is printed above")]
    Build(Failed),

    /// It was built and could not be started.
    #[error("the demo could not be started: {0}")]
    Start(Failed),
}

impl Error {
    /// 2 for what the user has to put right, else 1.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Input { .. } => 2,
            Self::Build(_) | Self::Start(_) => 1,
        }
    }
}

/// Runs the demo. Returns its exit code, where this process is still there to do so.
///
/// # Errors
/// An option, the machine or the model is to be put right first, or the build failed.
pub(crate) fn run(args: &DemoArgs) -> Result<ExitCode, crate::Error> {
    args.check()?;
    // A named model is looked at before anything is installed; the default one is fetched after.
    let named = model::named(args.model.as_deref())?;
    prerequisites::ensure()?;
    let model = named.map_or_else(model::cached, Ok)?;

    eprintln!("building the demo (the first time llama.cpp takes about 5 minutes on two cores)");
    let demo = ["--release", "-p", "latchless-engine", "--example", "demo"];
    run::run(run::cargo().arg("build").args(demo)).map_err(Error::Build)?;

    // `cargo run` rather than a path: cargo alone knows its target folder.
    let mut command = run::cargo();
    command.args(["run", "--quiet"]).args(demo).arg("--");
    args.pass_on(&mut command, &model);
    let status = run::hand_over(&mut command).map_err(Error::Start)?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1).into())
}

impl DemoArgs {
    /// What can be said about the options without a model.
    fn check(&self) -> Result<(), Error> {
        /// Bytes of a prompt file that are looked at before the build.
        const PROMPTS_AT_A_GLANCE: u64 = 1 << 20;
        if let Some(path) = &self.prompt_file {
            let advice = "name a text file with one prompt a line";
            let refuse = |problem| Error::Input {
                option: "--prompt-file",
                path: path.clone(),
                problem,
                advice,
            };
            let unreadable = |error: io::Error| refuse(error.to_string());
            let metadata = fs::metadata(path).map_err(unreadable)?;
            // A pipe can be read but once, and a device may have no end: the demo reads those.
            if metadata.is_dir() || metadata.is_file() && metadata.len() <= PROMPTS_AT_A_GLANCE {
                let prompts = fs::read_to_string(path).map_err(unreadable)?;
                if prompts.trim().is_empty() {
                    return Err(refuse("there is no prompt in it".to_owned()));
                }
            }
        }
        if let Some(path) = &self.plan
            && let Err(error) = fs::metadata(path)
        {
            let (path, problem) = (path.clone(), error.to_string());
            let advice = "name a plan in TOML";
            return Err(Error::Input { option: "--plan", path, problem, advice });
        }
        if let Some(path) = &self.json {
            let advice = "name a file in a folder that exists";
            let refuse = |problem: &str| Error::Input {
                option: "--json",
                path: path.clone(),
                problem: problem.to_owned(),
                advice,
            };
            // `file_name` does not see that `out.json/` ends in a separator.
            let as_folder = path.to_string_lossy().ends_with(std::path::is_separator);
            if as_folder || path.is_dir() || path.file_name().is_none() {
                return Err(refuse("that is a folder"));
            }
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
            if folder.is_some_and(|folder| !folder.is_dir()) {
                return Err(refuse("its folder does not exist"));
            }
        }
        Ok(())
    }

    /// The same options for the demo itself, the model always named.
    fn pass_on(&self, command: &mut Command, model: &Path) {
        command.arg("--model").arg(model);
        for (option, number) in [
            ("--agents", self.agents),
            ("--max-tokens", self.max_tokens),
            ("--threads", self.threads),
            ("--context", self.context),
            ("--seed", self.seed),
            ("--lanes", self.lanes),
        ] {
            if let Some(number) = number {
                command.args([option, &number.to_string()]);
            }
        }
        for (option, given) in [
            ("--fresh", self.fresh),
            ("--prompts", self.prompts),
            ("--shared-prefix", self.shared_prefix),
            ("--swap", self.swap),
        ] {
            if given {
                command.arg(option);
            }
        }
        for (option, path) in [
            ("--plan", &self.plan),
            ("--state", &self.state),
            ("--prompt-file", &self.prompt_file),
            ("--json", &self.json),
        ] {
            if let Some(path) = path {
                command.arg(option).arg(path);
            }
        }
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

fn threads(text: &str) -> Result<u32, String> {
    match one_or_more(text)? {
        number @ ..=MOST_THREADS => Ok(number),
        _ => Err(format!("llama.cpp takes at most {MOST_THREADS}; leave the option out")),
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, FromArgMatches, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Alone {
        #[command(flatten)]
        args: DemoArgs,
    }

    fn parse(words: &[&str]) -> Result<DemoArgs, clap::Error> {
        let matches = Alone::command()
            .no_binary_name(true)
            .disable_help_flag(true)
            .try_get_matches_from(words)?;
        Ok(Alone::from_arg_matches(&matches)?.args)
    }

    #[test]
    fn nothing_given_means_the_plan_and_the_model_is_always_named() {
        let mut command = Command::new("demo");
        parse(&[]).unwrap().pass_on(&mut command, Path::new("m.gguf"));
        assert_eq!(run::shown(&command), "demo --model m.gguf");
    }

    #[test]
    fn every_option_is_passed_on() {
        let words = [
            "--model",
            "other.gguf",
            "--agents",
            "3",
            "--max-tokens",
            "4",
            "--threads",
            "2",
            "--context",
            "512",
            "--seed",
            "7",
            "--lanes",
            "2",
            "--prompts",
            "--shared-prefix",
            "--swap",
            "--prompt-file",
            "p.txt",
            "--json",
            "out.json",
        ];
        let args = parse(&words).unwrap();
        let mut command = Command::new("demo");
        args.pass_on(&mut command, args.model.as_deref().unwrap());
        assert_eq!(run::shown(&command), format!("demo {}", words.join(" ")));
        let words = ["--model", "m.gguf", "--fresh", "--plan", "p.toml", "--state", "s"];
        let args = parse(&words).unwrap();
        let mut command = Command::new("demo");
        args.pass_on(&mut command, args.model.as_deref().unwrap());
        assert_eq!(run::shown(&command), format!("demo {}", words.join(" ")));
    }

    #[test]
    fn a_plan_goes_with_no_prompts_and_must_be_there() {
        for plan in [&["--plan", "p"][..], &["--state", "s"], &["--fresh"]] {
            let refused = parse(&[plan, &["--agents", "2"]].concat()).unwrap_err();
            assert_eq!(refused.exit_code(), 2);
        }
        let missing = parse(&["--plan", "nowhere.toml"]).unwrap().check().unwrap_err();
        assert_eq!(missing.exit_code(), 2);
        assert!(missing.to_string().contains("nowhere.toml"), "{missing}");
    }

    #[test]
    fn zero_and_no_number_are_refused_with_the_option_named_and_exit_code_2() {
        for option in ["--agents", "--max-tokens", "--threads", "--context"] {
            for value in ["0", "-1", "many", "4294967296", ""] {
                let error = parse(&[option, value]).unwrap_err();
                assert_eq!(error.exit_code(), 2, "{option} {value}");
                assert!(error.to_string().contains(option), "{error}");
            }
        }
        for (option, most, advice) in
            [("--agents", "256", "at most 256"), ("--threads", "512", "at most 512")]
        {
            parse(&[option, most]).unwrap();
            let more = most.parse::<u32>().unwrap() + 1;
            let error = parse(&[option, &more.to_string()]).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            assert!(error.to_string().contains(advice), "{error}");
        }
        let zero = parse(&["--agents", "0"]).unwrap_err().to_string();
        assert!(zero.contains("at least 1 is needed"), "{zero}");
    }

    #[test]
    fn a_prompt_file_must_hold_a_prompt() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.txt");
        let args = parse(&["--prompt-file", path.to_str().unwrap()]).unwrap();
        let refused = |words: &str| {
            let error = args.check().unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let sentence = error.to_string();
            assert!(sentence.contains(words) && sentence.contains("prompts.txt"), "{sentence}");
        };
        refused("o such file");
        fs::write(&path, " \n\n").unwrap();
        refused("no prompt");
        fs::write(&path, b"\xff\xfe").unwrap();
        refused("UTF-8");
        fs::write(&path, "Why is the sky blue?\n").unwrap();
        args.check().unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_pipe_of_prompts_is_left_to_the_demo() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        run::run(Command::new("mkfifo").arg(&pipe)).unwrap();
        // Opening it would wait for a writer, and reading it would take the prompts away.
        parse(&["--prompt-file", pipe.to_str().unwrap()]).unwrap().check().unwrap();
    }

    #[test]
    fn the_json_file_must_have_a_folder() {
        let folder = tempfile::tempdir().unwrap();
        let check = |path: &Path| parse(&["--json", path.to_str().unwrap()]).unwrap().check();
        check(&folder.path().join("out.json")).unwrap();
        check(Path::new("out.json")).unwrap();
        for named_as_folder in [folder.path(), &folder.path().join("out.json/")] {
            let error = check(named_as_folder).unwrap_err().to_string();
            assert!(error.contains("is a folder"), "{error}");
        }
        let error = check(&folder.path().join("none/out.json")).unwrap_err().to_string();
        assert!(error.contains("does not exist"), "{error}");
        assert!(!folder.path().join("none").exists());
    }
}
