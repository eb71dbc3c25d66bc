//! What is asked for, as C says it.

use std::ffi::c_char;
use std::time::Duration;

use ::latchless_engine::{
    ChatMessage, Draw, Penalties, Priority, Prompt, Request, Sampling, Token,
};

use crate::arguments::{self, Options, init, list, optional_text, text};
use crate::call::call;
use crate::status::{Failure, latchless_status};
use crate::tasks::{LATCHLESS_PRIORITY_HIGH, LATCHLESS_PRIORITY_LOW, LATCHLESS_PRIORITY_NORMAL};

/// One message of a chat.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct latchless_message {
    /// Who speaks: "system", "user" or "assistant".
    pub role: *const c_char,
    /// What is said.
    pub content: *const c_char,
}

/// One request: a prompt (exactly one of `text`, `messages` and `tokens`), how long the answer may be, how its
/// tokens are drawn, and what ends it. Everything is copied: nothing is needed after the submit.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct latchless_request {
    /// Set by latchless_request_init().
    pub size: usize,
    /// Text to be continued; control tokens in it mean what the model knows them for.
    pub text: *const c_char,
    /// A chat, written by the model's own template: `message_count` of them.
    pub messages: *const latchless_message,
    /// Messages.
    pub message_count: usize,
    /// Tokens as they are: `token_count` of them.
    pub tokens: *const i32,
    /// Tokens.
    pub token_count: usize,
    /// Texts that end the answer when they are generated, `stop_count` of them.
    pub stops: *const *const c_char,
    /// Stops.
    pub stop_count: usize,
    /// A grammar in GBNF, whose rule `root` the answer follows; NULL, as it is unless set, for none.
    pub grammar: *const c_char,
    /// Nanoseconds from the submit on, after which the answer ends as it is; 0, as it is unless set, for no
    /// end.
    pub deadline_ns: u64,
    /// The most tokens to generate, at least 1; 128 unless set. Blocks for all of them are reserved at submit.
    pub max_tokens: u32,
    /// `LATCHLESS_PRIORITY_LOW`, `_NORMAL` or `_HIGH`; NORMAL unless set.
    pub priority: u32,
    /// 0, as it is unless set, always takes the likeliest token; 1 draws by chance, by the five that follow.
    pub draw: u32,
    /// Start of the random generator; the same seed repeats the draw. 0 unless set.
    pub seed: u32,
    /// At least 0.0001; 0.2 unless set.
    pub temperature: f32,
    /// Candidates that are kept, 0 for all; 40 unless set.
    pub top_k: u32,
    /// In (0, 1]; 0.9 unless set.
    pub top_p: f32,
    /// In [0, 1]; 0 unless set.
    pub min_p: f32,
    /// Generated tokens that the penalties look back at; 64 unless set.
    pub penalty_window: u32,
    /// 0.1 to 10, by which repeated tokens are made less likely; 1, which does nothing, unless set.
    pub repeat_penalty: f32,
    /// -100 to 100, taken off for each repetition; 0 unless set.
    pub frequency_penalty: f32,
    /// -100 to 100, taken off once; 0 unless set.
    pub presence_penalty: f32,
}

// SAFETY: it begins with its size, and all else are numbers and pointers.
unsafe impl Options for latchless_request {
    const NAME: &'static str = "request";
    const FIRST: usize = size_of::<Self>();
    const DEFAULT: Self = Self {
        size: size_of::<Self>(),
        text: std::ptr::null(),
        messages: std::ptr::null(),
        message_count: 0,
        tokens: std::ptr::null(),
        token_count: 0,
        stops: std::ptr::null(),
        stop_count: 0,
        grammar: std::ptr::null(),
        deadline_ns: 0,
        max_tokens: Request::DEFAULT_MAX_TOKENS,
        priority: LATCHLESS_PRIORITY_NORMAL,
        draw: 0,
        seed: 0,
        temperature: 0.2,
        top_k: 40,
        top_p: 0.9,
        min_p: 0.0,
        penalty_window: 64,
        repeat_penalty: 1.0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
    };
}

impl latchless_request {
    /// The prompt.
    ///
    /// # Safety
    /// Pointers that are not null point to what the fields say.
    unsafe fn prompt(&self) -> Result<Prompt, Failure> {
        let given = [
            !self.text.is_null(),
            self.message_count > 0 || !self.messages.is_null(),
            self.token_count > 0 || !self.tokens.is_null(),
        ];
        match given {
            [true, false, false] => {
                // SAFETY: the caller's promise.
                Ok(Prompt::Text(unsafe { text(self.text, "text") }?.to_owned()))
            }
            [false, true, false] => {
                // SAFETY: the caller's promise.
                let messages = unsafe { list(self.messages, self.message_count, "messages") }?;
                let messages = messages.iter().map(|message| {
                    // SAFETY: the caller's promise.
                    let role = unsafe { text(message.role, "a message's role") }?;
                    // SAFETY: the caller's promise.
                    let content = unsafe { text(message.content, "a message's content") }?;
                    Ok(ChatMessage::new(role, content))
                });
                Ok(Prompt::Chat(messages.collect::<Result<_, Failure>>()?))
            }
            [false, false, true] => {
                // SAFETY: the caller's promise.
                let tokens = unsafe { list(self.tokens, self.token_count, "tokens") }?;
                Ok(Prompt::Tokens(tokens.iter().copied().map(Token).collect()))
            }
            _ => Err(Failure::Argument(
                "a request needs one prompt; set exactly one of text, messages and tokens",
            )),
        }
    }

    /// The request, copied.
    ///
    /// # Safety
    /// Pointers that are not null point to what the fields say.
    pub(super) unsafe fn read(pointer: *const Self) -> Result<Request, Failure> {
        if pointer.is_null() {
            return Err(Failure::NullPointer("request"));
        }
        // SAFETY: the caller's promise.
        let request = unsafe { arguments::options(pointer) }?;
        // SAFETY: the caller's promise.
        let mut built = Request::new(unsafe { request.prompt() }?)
            .max_tokens(request.max_tokens)
            .priority(match request.priority {
                LATCHLESS_PRIORITY_LOW => Priority::Low,
                LATCHLESS_PRIORITY_NORMAL => Priority::Normal,
                LATCHLESS_PRIORITY_HIGH => Priority::High,
                priority => {
                    let allowed = "LATCHLESS_PRIORITY_LOW, _NORMAL or _HIGH";
                    let (what, value) = ("the priority", priority.into());
                    return Err(Failure::Value { what, value, allowed });
                }
            });
        // SAFETY: the caller's promise.
        for stop in unsafe { list(request.stops, request.stop_count, "stops") }? {
            // SAFETY: the caller's promise.
            built = built.stop(unsafe { text(*stop, "a stop") }?);
        }
        if request.deadline_ns > 0 {
            built = built.within(Duration::from_nanos(request.deadline_ns));
        }
        // SAFETY: the caller's promise.
        let grammar = unsafe { optional_text(request.grammar, "grammar") }?;
        Ok(built.sampling(request.sampling(grammar)))
    }

    fn sampling(&self, grammar: Option<&str>) -> Sampling {
        let draw = Draw {
            seed: self.seed,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
        };
        let sampling = Sampling { draw: (self.draw != 0).then_some(draw), ..Sampling::greedy() };
        let sampling = sampling.penalties(Penalties {
            window: self.penalty_window,
            repeat: self.repeat_penalty,
            frequency: self.frequency_penalty,
            presence: self.presence_penalty,
        });
        match grammar {
            Some(grammar) => sampling.grammar(grammar),
            None => sampling,
        }
    }
}

/// Initialises a request with its defaults, and without a prompt. `size` is `sizeof *request`.
///
/// Threads: any. Real-time: yes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn latchless_request_init(
    request: *mut latchless_request,
    size: usize,
) -> latchless_status {
    // SAFETY: the caller's promise.
    call(|| unsafe { init(request, size) })
}
