//! What the model is given to answer, round after round.

use std::fmt::Write;

use super::super::protocol::harmless;
use super::super::tools::Ended;
use super::manner::{Guide, Manner};
use crate::backend::ChatMessage;
use crate::engine::{Engine, Prompt};

/// The messages so far. What comes from documents and tools is shown without control tokens.
pub(super) struct Conversation {
    messages: Vec<ChatMessage>,
    /// Whether the model has a template; without one the messages are continued as text.
    chat: bool,
}

impl Conversation {
    pub(super) fn begin(engine: &Engine, manner: &Manner, task: &str) -> Self {
        let chat = engine.model().chat_prompt(&[ChatMessage::user("Hello.")]).is_ok();
        let task = format!("Your task: {}", harmless(task));
        let messages = vec![ChatMessage::system(manner.told()), ChatMessage::user(task)];
        Self { messages, chat }
    }

    /// What the model is to answer in this round.
    pub(super) fn prompt(&self, manner: &Manner, round: u32) -> Prompt {
        let mut messages = self.messages.clone();
        if let (Guide::Steps(steps), Some(last)) = (&manner.guide, messages.last_mut()) {
            let step = steps.get(round as usize - 1);
            let what = step.map_or("Say in one sentence what you have done.".to_owned(), |calls| {
                format!("Now: {}", calls.join(", "))
            });
            last.content.extend(["\n", &harmless(&what)]);
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
        self.messages.push(ChatMessage::assistant(harmless(reply)));
        let mut results = String::new();
        for Ended { asked, result } in ended {
            let shown = |text: &str| {
                let mut shown: String = text.chars().take(manner.shown).collect();
                if shown.len() < text.len() {
                    shown.push_str(" (and more)");
                }
                harmless(&shown)
            };
            let asked_for: String = asked.to_string().chars().take(60).collect();
            let asked_for = harmless(asked_for.lines().next().unwrap_or_default());
            // Writing to a String does not fail.
            let _ = match result {
                Ok(answer) => writeln!(results, "RESULT of {asked_for}: {}", shown(answer)),
                Err(error) => {
                    writeln!(results, "ERROR in {asked_for}: {}", shown(&error.to_string()))
                }
            };
        }
        if ended.is_empty() {
            results.push_str("Go on. Use a tool, or say that the task is done.");
        }
        self.messages.push(ChatMessage::user(results.trim_end()));
    }
}
