//! A file for long mixes: what `run` is told on the command line, under the same names and checked by the
//! same rules, and overridden by it.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgAction, ArgMatches, Command, CommandFactory, FromArgMatches};
use thiserror::Error;
use toml::{Spanned, Value};

use crate::args::Cli;
use crate::exit;

/// The subcommand whose options a file may hold.
const RUN: &str = "run";
/// The option that names the file.
const CONFIG: &str = "config";

/// Why a file cannot be used. Lines and columns count from 1.
#[derive(Debug, Error)]
pub(crate) enum ConfigError {
    /// It is not there, or not for us to read.
    #[error("{path} cannot be read; name a file as shown by stress/examples/long-mix.toml")]
    Unreadable { path: PathBuf, source: io::Error },
    /// It is no TOML.
    #[error("{path}, line {line}, column {column}: {what}")]
    Syntax { path: PathBuf, line: usize, column: usize, what: String },
    /// Nothing of that name can be said.
    #[error("{path}, line {line}: there is no `{key}`; a file may say {known}")]
    UnknownKey { path: PathBuf, line: usize, key: String, known: String },
    /// What it says cannot be run.
    #[error("{path}, line {line}, column {column}: {what}")]
    WrongValue { path: PathBuf, line: usize, column: usize, what: String },
}

/// The command line, with what its file says before it.
///
/// # Errors
/// [`ConfigError`]. What is wrong with the command line itself ends the process, as clap does.
pub(crate) fn parse(words: impl Iterator<Item = OsString>) -> anyhow::Result<Cli> {
    let words: Vec<_> = words.collect();
    let read = |words: &[OsString]| Cli::command().try_get_matches_from(words);
    let matches = read(&words).unwrap_or_else(|error| error.exit());
    let Some((path, run)) = file_of(&matches) else { return Ok(cli(&matches)) };
    let said = said(path, run)?;
    let place = words.iter().position(|word| word == RUN).map_or(words.len(), |at| at + 1);
    let mut all = words;
    all.splice(place..place, said);
    // Each word has been accepted alone; together they may contradict each other.
    Ok(cli(&read(&all).unwrap_or_else(|error| error.exit())))
}

fn cli(matches: &ArgMatches) -> Cli {
    Cli::from_arg_matches(matches).unwrap_or_else(|error| error.exit())
}

fn file_of(matches: &ArgMatches) -> Option<(&Path, &ArgMatches)> {
    let run = matches.subcommand_matches(RUN)?;
    Some((run.get_one::<PathBuf>(CONFIG)?, run))
}

/// What a file says, as words of the command line, without what that says itself.
fn said(path: &Path, run: &ArgMatches) -> anyhow::Result<Vec<OsString>> {
    let text = fs::read_to_string(path).map_err(|source| {
        exit::bad_arguments(ConfigError::Unreadable { path: path.to_owned(), source })
    })?;
    let words = words(path, &text, |key| run.value_source(key) == Some(ValueSource::CommandLine))?;
    Ok(words.into_iter().map(OsString::from).collect())
}

fn words(
    path: &Path,
    text: &str,
    is_overridden: impl Fn(&str) -> bool,
) -> Result<Vec<String>, ConfigError> {
    type File = std::collections::BTreeMap<Spanned<String>, Spanned<Value>>;
    let path = || path.to_owned();
    let file: File = toml::from_str(text).map_err(|error| {
        let (line, column) = place(text, error.span().unwrap_or_default());
        ConfigError::Syntax { path: path(), line, column, what: error.message().to_owned() }
    })?;
    let cli = Cli::command();
    let run = cli.find_subcommand(RUN).expect("the subcommand is declared");
    let mut words = Vec::new();
    for (key, value) in &file {
        let name = key.get_ref().as_str();
        let Some(arg) = run
            .get_arguments()
            .find(|arg| arg.get_long() == Some(name) && name != CONFIG && name != "help")
        else {
            let (line, _) = place(text, key.span());
            let known = known(run);
            return Err(ConfigError::UnknownKey {
                path: path(),
                line,
                key: name.to_owned(),
                known,
            });
        };
        let wrong = |what: String| {
            let (line, column) = place(text, value.span());
            ConfigError::WrongValue { path: path(), line, column, what }
        };
        let is_flag = matches!(arg.get_action(), ArgAction::SetTrue);
        let option = option(name, value.get_ref(), is_flag).map_err(wrong)?;
        let alone = [RUN.to_owned()].into_iter().chain(option.iter().cloned());
        match run.clone().try_get_matches_from(alone) {
            // What it needs of others, the whole line will show.
            Err(error) if error.kind() != ErrorKind::MissingRequiredArgument => {
                return Err(wrong(first_line(&error.to_string())));
            }
            _ => {}
        }
        if !is_overridden(arg.get_id().as_str()) {
            words.extend(option);
        }
    }
    Ok(words)
}

/// An entry of a file as an option.
fn option(name: &str, value: &Value, is_flag: bool) -> Result<Vec<String>, String> {
    let long = format!("--{name}");
    match value {
        Value::Boolean(true) if is_flag => Ok(vec![long]),
        Value::Boolean(false) if is_flag => Ok(Vec::new()),
        _ if is_flag => Err(format!("`{name}` is true or false")),
        Value::String(text) => Ok(vec![format!("{long}={text}")]),
        Value::Integer(number) => Ok(vec![format!("{long}={number}")]),
        Value::Float(number) => Ok(vec![format!("{long}={number}")]),
        Value::Array(values) => {
            let each = values.iter().map(|value| option(name, value, false));
            Ok(each.collect::<Result<Vec<_>, _>>()?.concat())
        }
        Value::Boolean(_) | Value::Datetime(_) | Value::Table(_) => {
            Err(format!("`{name}` is a text, a number or a list of them"))
        }
    }
}

/// All that a file may say.
fn known(run: &Command) -> String {
    let names = run.get_arguments().filter_map(clap::Arg::get_long);
    let mut names: Vec<_> = names.filter(|name| ![CONFIG, "help"].contains(name)).collect();
    names.sort_unstable();
    names.join(", ")
}

/// clap's messages go on with usage, which is the command line's.
fn first_line(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// Line and column of what begins there.
fn place(text: &str, span: Range<usize>) -> (usize, usize) {
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.split('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, ConfigError> {
        words(Path::new("mix.toml"), text, |_| false)
    }

    #[test]
    fn a_file_says_what_the_command_line_can() {
        let text = "# A night.\nduration = \"8h\"\nseed = 7\nfreeze = 0.5\nfaults = true\nchaos =                     false\nblocks = 8_192\nonly = [\"pool\", \"agents\"]\n";
        let mut said = read(text).unwrap();
        said.sort_unstable();
        let expected = ["--blocks=8192", "--duration=8h", "--faults", "--freeze=0.5"];
        assert_eq!(said[..4], expected);
        assert_eq!(said[4..], ["--only=agents", "--only=pool", "--seed=7"]);
    }

    #[test]
    fn what_the_command_line_says_counts_more() {
        let text = "seed = 7\nonly = [\"pool\"]\n";
        let said = words(Path::new("mix.toml"), text, |key| key == "only").unwrap();
        assert_eq!(said, ["--seed=7"]);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (text, line, words) in [
            ("seed = 1\n\nlunch = true\n", 3, &["no `lunch`", "blocks", "freeze-time"][..]),
            ("seed = 1\nthreads = 0\n", 2, &["1..=1024", "--threads"]),
            ("seed = \"many\"\n", 1, &["invalid value 'many' for '--seed"]),
            ("[freeze]\nrate = 1\n", 1, &["`freeze` is a text, a number"]),
            ("chaos = 1\n", 1, &["`chaos` is true or false"]),
            ("seed = 1\nseed = 2\n", 2, &["duplicate key"]),
            ("\n\nduration = 8h\n", 3, &["mix.toml"]),
            ("only = [\"pool\",\n \"lunch\"]\n", 1, &["invalid value 'lunch'"]),
            ("config = \"mix.toml\"\n", 1, &["no `config`"]),
        ] {
            let error = read(text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("mix.toml, line {line}")), "{error}");
            assert!(words.iter().all(|word| error.contains(word)), "{error}");
        }
    }

    #[test]
    fn places_are_counted_from_one() {
        assert_eq!(place("ab\ncd", 0..1), (1, 1));
        assert_eq!(place("ab\ncd", 4..5), (2, 2));
        assert_eq!(place("ab\n", 90..91), (2, 1));
    }
}
