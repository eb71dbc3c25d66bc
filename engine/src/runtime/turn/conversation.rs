//! What the model is given to answer, round after round.

use std::fmt::Write;

use super::super::protocol::harmless;
use super::super::tools::Ended;
use super::manner::{Guide, Manner};
use crate::backend::ChatMessage;
use crate::engine::{Engine, Prompt};

/// The messages so far. What comes from documents and tools is shown without control tokens.
///
/// A model whose steps are prescribed is not told how to ask for tools: it could not do otherwise, and a small
/// one writes better the less it has to read. It is given what the calls so far have shown, and the task.
pub(super) struct Conversation {
    messages: Vec<ChatMessage>,
    /// Whether the model has a template; without one the messages are continued as text.
    chat: bool,
    /// The task, for each round anew, where the steps are prescribed.
    task: Option<String>,
    /// What their calls have shown.
    shown: String,
}

impl Conversation {
    pub(super) fn begin(engine: &Engine, manner: &Manner, task: &str) -> Self {
        let chat = engine.model().chat_prompt(&[ChatMessage::user("Hello.")]).is_ok();
        let mut messages = vec![ChatMessage::system(manner.told())];
        let task = harmless(task);
        let task = if matches!(manner.guide, Guide::Steps(_)) {
            Some(task)
        } else {
            messages.push(ChatMessage::user(format!("Your task: {task}")));
            None
        };
        Self { messages, chat, task, shown: String::new() }
    }

    /// What the model is to answer in this round.
    pub(super) fn prompt(&self) -> Prompt {
        let mut messages = self.messages.clone();
        if let Some(task) = &self.task {
            messages.push(ChatMessage::user(format!("{}{task}", self.shown)));
        }
        if self.chat {
            return Prompt::Chat(messages);
        }
        let said =
            messages.iter().map(|message| format!("{}: {}\n", message.role, message.content));
        Prompt::Text(said.collect::<String>() + "assistant: ")
    }

    /// After a round: the reply, and what became of the calls that it asked for.
    pub(super) fn go_on(&mut self, reply: &str, ended: &[Ended], manner: &Manner) {
        let shown = |text: &str| {
            let mut shown: String = text.chars().take(manner.shown).collect();
            if shown.len() < text.len() {
                shown.push_str(" (and more)");
            }
            harmless(&shown)
        };
        let mut results = String::new();
        for Ended { asked, result } in ended {
            let line: String = asked.to_string().chars().take(60).collect();
            let line = harmless(line.lines().next().unwrap_or_default());
            // Writing to a String does not fail.
            let _ = match (result, self.task.is_some()) {
                (Ok(answer), true) => writeln!(results, "{}: {}", asked.argument, shown(answer)),
                (Ok(answer), false) => writeln!(results, "RESULT of {line}: {}", shown(answer)),
                (Err(error), _) => {
                    writeln!(results, "ERROR in {line}: {}", shown(&error.to_string()))
                }
            };
        }
        if self.task.is_some() {
            self.shown.push_str(&results);
            return;
        }
        self.messages.push(ChatMessage::assistant(harmless(reply)));
        if ended.is_empty() {
            results.push_str("Go on. Use a tool, or say that the task is done.");
        }
        self.messages.push(ChatMessage::user(results.trim_end()));
    }
}
