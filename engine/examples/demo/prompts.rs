//! Who asks what: built-in questions, or a file's.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::error::DemoError;

/// A host's agent and its question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Agent {
    pub(crate) name: String,
    pub(crate) prompt: String,
}

/// A kind of agent: what it asks, and about what. Plain questions, so that a model of 135 million
/// parameters has something to say.
struct Role {
    name: &'static str,
    question: &'static str,
    subjects: [&'static str; 4],
}

const ROLES: [Role; 8] = [
    Role {
        name: "physicist",
        question: "Explain in simple words {}.",
        subjects: [
            "why the sky is blue",
            "how a rainbow forms",
            "what gravity is",
            "why ice floats on water",
        ],
    },
    Role {
        name: "biologist",
        question: "How do {}?",
        subjects: [
            "plants make food from sunlight",
            "bees make honey",
            "birds find their way",
            "fish breathe under water",
        ],
    },
    Role {
        name: "programmer",
        question: "What is {}? Explain it briefly.",
        subjects: ["recursion", "a hash table", "a computer program", "a binary search"],
    },
    Role {
        name: "secretary",
        question: "Write a polite email that {}.",
        subjects: [
            "asks for a meeting on Monday",
            "thanks a colleague for her help",
            "invites a team to lunch",
            "says that a parcel is late",
        ],
    },
    Role {
        name: "doctor",
        question: "What are the benefits of {}?",
        subjects: ["drinking water", "walking every day", "a good breakfast", "reading before bed"],
    },
    Role {
        name: "geologist",
        question: "What is {}?",
        subjects: ["a volcano", "an earthquake", "a glacier", "a desert"],
    },
    Role {
        name: "historian",
        question: "Who was {}?",
        subjects: ["Isaac Newton", "Albert Einstein", "Marie Curie", "Leonardo da Vinci"],
    },
    Role {
        name: "coach",
        question: "Give me three tips for {}.",
        subjects: [
            "sleeping better",
            "staying healthy",
            "learning a language",
            "speaking in public",
        ],
    },
];

/// Added to the questions of every lap after the one through all subjects.
const STYLES: [&str; 8] = [
    "",
    " Answer in one sentence.",
    " Answer with three bullet points.",
    " Answer in two sentences.",
    " Answer as in a letter to a friend.",
    " Answer with five bullet points.",
    " Begin with a surprising fact.",
    " End with a question.",
];

/// `count` agents with built-in questions: no two ask the same, up to 256.
pub(crate) fn built_in(count: usize) -> Vec<Agent> {
    let agent = |index: usize| {
        let role = &ROLES[index % ROLES.len()];
        let lap = index / ROLES.len();
        let subject = role.subjects[lap % role.subjects.len()];
        let style = STYLES[lap / role.subjects.len() % STYLES.len()];
        let name = match lap {
            0 => role.name.to_owned(),
            lap => format!("{} {}", role.name, lap + 1),
        };
        Agent { name, prompt: role.question.replace("{}", subject) + style }
    };
    (0..count).map(agent).collect()
}

/// `count` agents with the questions of a file, one a line, dealt in turn.
pub(crate) fn from_file(path: &Path, count: usize) -> Result<Vec<Agent>, DemoError> {
    /// More than any context holds, and little enough to read.
    const MOST_BYTES: u64 = 16 << 20;
    let refuse = |problem: String| DemoError::PromptFile { path: path.to_owned(), problem };
    let unreadable =
        |error: std::io::Error| refuse(format!("{error}; name a text file with one prompt a line"));
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MOST_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MOST_BYTES {
        let problem = format!("it has more than {} MiB; give one prompt a line", MOST_BYTES >> 20);
        return Err(refuse(problem));
    }
    let text = String::from_utf8(bytes)
        .map_err(|error| refuse(format!("{}; save it as UTF-8", error.utf8_error())))?;
    let prompts = parse(&text).map_err(refuse)?;
    let agent = |(index, prompt): (usize, &&str)| Agent {
        name: format!("agent {}", index + 1),
        prompt: (*prompt).to_owned(),
    };
    Ok(prompts.iter().cycle().take(count).enumerate().map(agent).collect())
}

/// The lines of a prompt file. Empty ones at its end are an editor's habit; others are a mistake.
fn parse(text: &str) -> Result<Vec<&str>, String> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text).trim_end();
    if text.is_empty() {
        return Err("there is no prompt in it; write one prompt a line".to_owned());
    }
    if let Some(index) = text.lines().position(|prompt| prompt.contains('\0')) {
        return Err(format!("line {} has a NUL character; save it as plain text", index + 1));
    }
    let prompts: Vec<&str> = text.lines().map(str::trim).collect();
    match prompts.iter().position(|prompt| prompt.is_empty()) {
        None => Ok(prompts),
        Some(index) => {
            Err(format!("the prompt in line {} is empty; write one or remove the line", index + 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;

    use super::*;

    #[test]
    fn no_two_agents_have_the_same_name_or_question() {
        let agents = built_in(256);
        let names: HashSet<_> = agents.iter().map(|agent| &agent.name).collect();
        let prompts: HashSet<_> = agents.iter().map(|agent| &agent.prompt).collect();
        assert_eq!((names.len(), prompts.len()), (256, 256));
        assert!(agents.iter().all(|agent| !agent.prompt.contains('{')));
        assert_eq!(agents[8].name, "physicist 2");
    }

    #[test]
    fn lines_are_dealt_in_turn() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.txt");
        fs::write(&path, "\u{feff}Why?\r\n  How?  \r\n\r\n").unwrap();
        let agents = from_file(&path, 3).unwrap();
        let agents: Vec<_> = agents.iter().map(|a| (a.name.as_str(), a.prompt.as_str())).collect();
        assert_eq!(agents, [("agent 1", "Why?"), ("agent 2", "How?"), ("agent 3", "Why?")]);
    }

    #[test]
    fn a_file_without_prompts_says_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("prompts.txt");
        let refused = |words: &[&str]| {
            let error = from_file(&path, 1).unwrap_err();
            assert_eq!(error.exit_code(), 2);
            let sentence = error.to_string();
            for word in words.iter().chain(&["prompts.txt"]) {
                assert!(sentence.contains(word), "{sentence:?} lacks {word:?}");
            }
        };
        refused(&["o such file", "name a text file"]);
        fs::write(&path, " \n\n").unwrap();
        refused(&["no prompt", "one prompt a line"]);
        fs::write(&path, "Why?\n\nHow?\n").unwrap();
        refused(&["line 2", "empty"]);
        fs::write(&path, b"\xff\xfe").unwrap();
        refused(&["UTF-8"]);
        fs::write(&path, "Why?\nH\0w?").unwrap();
        refused(&["line 2", "NUL"]);
    }
}
