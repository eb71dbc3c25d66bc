/* Latchless: many agents, one inference engine, no lock.
 *
 * Generated from engine/capi/src by `cargo xtask header`: do not edit. docs/c-abi.md is the guide.
 *
 * Every function that returns a latchless_status does nothing else when that is not LATCHLESS_OK, but for
 * what its text says; latchless_last_error() tells why in words. A wrong handle (all zeros, of a destroyed
 * object, of another kind, made up) is LATCHLESS_ERROR_NULL_HANDLE, _STALE_HANDLE or _FOREIGN_HANDLE; a NULL
 * that is not allowed is LATCHLESS_ERROR_NULL_POINTER; a call in a child of fork() is LATCHLESS_ERROR_FORKED.
 * "Errors" names what comes on top of these, without the prefix LATCHLESS_ERROR_.
 *
 * "Real-time: yes" means: no lock, no wait, no allocation, no system call, and no thread that is frozen or
 * preempted anywhere in the library can delay the call. "Threads: any" means at the same time, too.
 *
 * Texts are UTF-8 and end with a NUL. Times are nanoseconds, LATCHLESS_FOREVER for no end. Nothing that is
 * passed in is kept: everything is copied. */

#ifndef LATCHLESS_H
#define LATCHLESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/**
 * The ABI that this header describes. Programs built against another number do not fit: the soname says
 * the same number.
 */
#define LATCHLESS_ABI_VERSION 1

/**
 * The longest that calls wait when they are told this many nanoseconds: for ever.
 */
#define LATCHLESS_FOREVER UINT64_MAX

/**
 * The answer is the prompt.
 */
#define LATCHLESS_SCRIPT_ECHO 0

/**
 * The answer is `text`.
 */
#define LATCHLESS_SCRIPT_TEXT 1

/**
 * The answer is `text` over and over, without an end.
 */
#define LATCHLESS_SCRIPT_ENDLESS 2

/**
 * The answer is `tokens` letters and spaces that depend on every token before them.
 */
#define LATCHLESS_SCRIPT_BABBLE 3

/**
 * A token was generated. `text` has what became certain with it, if anything.
 */
#define LATCHLESS_EVENT_TOKEN 1

/**
 * More text: of a token whose text is longer than one event holds, or that was held back.
 */
#define LATCHLESS_EVENT_TEXT 2

/**
 * The request ended, as `completion` says. Nothing follows.
 */
#define LATCHLESS_EVENT_FINISHED 3

/**
 * Bytes of `latchless_event.text`, the NUL at its end included.
 */
#define LATCHLESS_EVENT_TEXT_BYTES 128

/**
 * The model ended its answer.
 */
#define LATCHLESS_FINISH_END 1

/**
 * `max_tokens` were generated, or the sequence is full.
 */
#define LATCHLESS_FINISH_LENGTH 2

/**
 * A stop text was generated; the answer ends before it.
 */
#define LATCHLESS_FINISH_STOP 3

/**
 * It was cancelled, or its stream was released.
 */
#define LATCHLESS_FINISH_CANCELLED 4

/**
 * Its deadline passed.
 */
#define LATCHLESS_FINISH_DEADLINE 5

/**
 * The engine was destroyed.
 */
#define LATCHLESS_FINISH_SHUTDOWN 6

/**
 * Something failed: latchless_last_error() says what, on the thread that got the event.
 */
#define LATCHLESS_FINISH_FAILED 7

/**
 * A time that there is none of.
 */
#define LATCHLESS_NO_TIME UINT64_MAX

/**
 * It has a prompt that is not submitted yet.
 */
#define LATCHLESS_STATE_USER_INPUT 0

/**
 * The model generates.
 */
#define LATCHLESS_STATE_ASSISTANT 1

/**
 * The tools run that the model asked for.
 */
#define LATCHLESS_STATE_TOOL_EXECUTION 2

/**
 * The answer of this turn is there.
 */
#define LATCHLESS_STATE_RESPONSE 3

/**
 * The longest payload.
 */
#define LATCHLESS_PAYLOAD_BYTES 1000000

/**
 * When nothing else is to be done.
 */
#define LATCHLESS_PRIORITY_LOW 0

/**
 * As a rule.
 */
#define LATCHLESS_PRIORITY_NORMAL 1

/**
 * Before the others.
 */
#define LATCHLESS_PRIORITY_HIGH 2

/**
 * First of all. For tasks only.
 */
#define LATCHLESS_PRIORITY_CRITICAL 3

/**
 * An agent type that stands for any.
 */
#define LATCHLESS_ANY_TYPE UINT32_MAX

/**
 * For its dependencies.
 */
#define LATCHLESS_TASK_WAITING 0

/**
 * For an agent.
 */
#define LATCHLESS_TASK_PENDING 1

/**
 * An agent has claimed it.
 */
#define LATCHLESS_TASK_ASSIGNED 2

/**
 * Its agent works on it.
 */
#define LATCHLESS_TASK_IN_PROGRESS 3

/**
 * Done.
 */
#define LATCHLESS_TASK_COMPLETED 4

/**
 * Not done, and it will not be.
 */
#define LATCHLESS_TASK_FAILED 5

/**
 * What a call returns: `LATCHLESS_OK`, or why nothing was changed. latchless_last_error() says it in
 * words, with numbers, and what to do.
 */
enum latchless_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Done.
     */
    LATCHLESS_OK = 0,
    /**
     * The handle is all zeros.
     */
    LATCHLESS_ERROR_NULL_HANDLE = 1,
    /**
     * The handle is of an object of another kind, or was never given out.
     */
    LATCHLESS_ERROR_FOREIGN_HANDLE = 2,
    /**
     * The object of this handle was destroyed, or the handle was made up.
     */
    LATCHLESS_ERROR_STALE_HANDLE = 3,
    /**
     * Another thread is in a call on this object that takes one thread at a time.
     */
    LATCHLESS_ERROR_BUSY = 4,
    /**
     * As many objects of this kind as there can be are there: 1,048,576.
     */
    LATCHLESS_ERROR_TOO_MANY_OBJECTS = 5,
    /**
     * A pointer is NULL that must not be.
     */
    LATCHLESS_ERROR_NULL_POINTER = 10,
    /**
     * An argument means nothing, or is out of its range.
     */
    LATCHLESS_ERROR_INVALID_ARGUMENT = 11,
    /**
     * A text is not UTF-8.
     */
    LATCHLESS_ERROR_NOT_UTF8 = 12,
    /**
     * The `size` of a struct is none that this library knows: it is older than the header, or the struct
     * was not initialised.
     */
    LATCHLESS_ERROR_STRUCT_SIZE = 13,
    /**
     * The caller's memory is too small for the result; the call says how much it takes.
     */
    LATCHLESS_ERROR_BUFFER_TOO_SMALL = 14,
    /**
     * The call was made in a child of fork(). Nothing was done: exec, or make no call in the child.
     */
    LATCHLESS_ERROR_FORKED = 20,
    /**
     * A defect of the library was caught. The object may be in any state: destroy it.
     */
    LATCHLESS_ERROR_PANIC = 21,
    /**
     * The library was built without what this call needs.
     */
    LATCHLESS_ERROR_UNSUPPORTED = 22,
    /**
     * Too few blocks were free, at one instant during the call.
     */
    LATCHLESS_ERROR_EXHAUSTED = 30,
    /**
     * The agent would have had more blocks than its quota.
     */
    LATCHLESS_ERROR_QUOTA = 31,
    /**
     * The agent is not registered (any more), or is of another pool or engine.
     */
    LATCHLESS_ERROR_UNKNOWN_AGENT = 32,
    /**
     * The model has no such layer.
     */
    LATCHLESS_ERROR_UNKNOWN_LAYER = 33,
    /**
     * A block of the list was never given out under this handle. One of another pool is this, or as if it
     * had been freed or given out again.
     */
    LATCHLESS_ERROR_UNKNOWN_BLOCK = 34,
    /**
     * A block of the list was freed before.
     */
    LATCHLESS_ERROR_ALREADY_FREE = 35,
    /**
     * A block of the list has been given out again since.
     */
    LATCHLESS_ERROR_STALE_BLOCK = 36,
    /**
     * A block of the list belongs to another agent.
     */
    LATCHLESS_ERROR_NOT_OWNER = 37,
    /**
     * Blocks are out, so that the geometry cannot be replaced.
     */
    LATCHLESS_ERROR_OUTSTANDING = 38,
    /**
     * As many agents are registered as there is room for.
     */
    LATCHLESS_ERROR_TOO_MANY_AGENTS = 39,
    /**
     * The pool will never have so many blocks.
     */
    LATCHLESS_ERROR_NEVER_FITS = 40,
    /**
     * As many callers wait for blocks as there is room for.
     */
    LATCHLESS_ERROR_TOO_MANY_WAITERS = 41,
    /**
     * Too few blocks are free to make up for those that would leave a reserve.
     */
    LATCHLESS_ERROR_RESERVE = 42,
    /**
     * The time was over before it happened.
     */
    LATCHLESS_ERROR_TIMED_OUT = 50,
    /**
     * The engine was shut down, or its lane is gone.
     */
    LATCHLESS_ERROR_CLOSED = 51,
    /**
     * Somebody drains the engine; submit again when that is done.
     */
    LATCHLESS_ERROR_DRAINING = 52,
    /**
     * As many requests as the engine takes are waiting or running.
     */
    LATCHLESS_ERROR_TOO_MANY_REQUESTS = 53,
    /**
     * The prompt is empty, too long, or cannot be read.
     */
    LATCHLESS_ERROR_PROMPT = 54,
    /**
     * No engine can be made with these options.
     */
    LATCHLESS_ERROR_ENGINE = 55,
    /**
     * The model cannot be loaded.
     */
    LATCHLESS_ERROR_LOAD = 56,
    /**
     * There is no event yet.
     */
    LATCHLESS_ERROR_NO_EVENT = 57,
    /**
     * The finished event was taken; nothing follows.
     */
    LATCHLESS_ERROR_ENDED = 58,
    /**
     * The model before has not finished its requests.
     */
    LATCHLESS_ERROR_RETIRING = 59,
    /**
     * The request failed. Only in a completion's `error`, never returned.
     */
    LATCHLESS_ERROR_REQUEST_FAILED = 60,
    /**
     * The state machine has no such edge.
     */
    LATCHLESS_ERROR_NO_EDGE = 70,
    /**
     * The state machine was changed after the caller looked.
     */
    LATCHLESS_ERROR_OVERTAKEN = 71,
    /**
     * All slots of the queue have tasks.
     */
    LATCHLESS_ERROR_QUEUE_FULL = 80,
    /**
     * There is no such agent type.
     */
    LATCHLESS_ERROR_UNKNOWN_TYPE = 81,
    /**
     * No task can be claimed now.
     */
    LATCHLESS_ERROR_NO_TASK = 82,
    /**
     * The claim is over: the task was given back, taken back, or ended.
     */
    LATCHLESS_ERROR_CLAIM_LOST = 83,
    /**
     * The task is not where this step begins.
     */
    LATCHLESS_ERROR_NOT_A_STEP = 84,
    /**
     * There is no such task (any more), or it is of another queue.
     */
    LATCHLESS_ERROR_UNKNOWN_TASK = 85,
    /**
     * The task is not over.
     */
    LATCHLESS_ERROR_NOT_OVER = 86,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum latchless_status latchless_status;
#else
typedef int32_t latchless_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How large a pool is, and the geometry of the model's KV cache. A block holds the keys and values of
 * `block_tokens` tokens of one layer.
 */
typedef struct latchless_pool_options {
    /**
     * Set by latchless_pool_options_init().
     */
    size_t size;
    /**
     * Blocks of the pool, 1 to 16,777,216; 8,192 unless set.
     */
    uint32_t blocks;
    /**
     * Layers of the model, 1 to 65,535; 1 unless set.
     */
    uint32_t layers;
    /**
     * Heads that have keys and values, in each layer; 1 unless set.
     */
    uint32_t kv_heads;
    /**
     * Elements of one head; 64 unless set.
     */
    uint32_t head_size;
    /**
     * Tokens of a block; 16 unless set.
     */
    uint32_t block_tokens;
    /**
     * Bits of a stored element: 16, 8 or 4; 16 unless set.
     */
    uint32_t kv_bits;
    /**
     * With 8 and 4 bits: elements that share a scale, a power of two; 64 unless set.
     */
    uint32_t kv_group;
    /**
     * Agents that can be registered at once, 64 bytes each; 1,024 unless set.
     */
    uint32_t max_agents;
    /**
     * Callers that can wait for blocks at once, 1 to 4,095; 256 unless set.
     */
    uint32_t max_waiters;
} latchless_pool_options;

/**
 * A pool of KV-cache blocks. All zeros is no pool.
 */
typedef struct latchless_pool {
    /**
     * Opaque.
     */
    uint64_t bits;
} latchless_pool;

/**
 * An agent of one pool, or of one engine: any other refuses it. A number, not an object: it is copied, and
 * ends with latchless_agent_unregister() or with its pool or engine.
 */
typedef struct latchless_agent {
    /**
     * Opaque.
     */
    uint64_t bits;
} latchless_agent;

/**
 * A block of one pool, and the life of it that is meant: any other pool refuses it. A number, not an
 * object.
 */
typedef struct latchless_block {
    /**
     * The block, 0 to the pool's blocks - 1: where its keys and values lie is for the host to know.
     */
    uint32_t block;
    /**
     * Opaque.
     */
    uint32_t seal;
} latchless_block;

/**
 * How many blocks are free and how many are not: `free + used = total`, always.
 */
typedef struct latchless_usage {
    /**
     * Blocks of the pool.
     */
    uint32_t total;
    /**
     * Blocks that could be allocated, by somebody.
     */
    uint32_t free;
    /**
     * Blocks that could not.
     */
    uint32_t used;
    /**
     * Of the free ones, those in the reserve of some agent.
     */
    uint32_t reserved;
} latchless_usage;

/**
 * Every block of a pool, counted once: `free + owned + shared + in_flight = total`, always.
 */
typedef struct latchless_census {
    /**
     * Blocks of the pool.
     */
    uint32_t total;
    /**
     * Blocks that are free.
     */
    uint32_t free;
    /**
     * Blocks of one agent each.
     */
    uint32_t owned;
    /**
     * Blocks with several holders.
     */
    uint32_t shared;
    /**
     * Blocks on their way from one hand to another at this moment. What stays here while nothing runs was
     * lost.
     */
    uint32_t in_flight;
    /**
     * Agents that have any: as many as the list has, if it is long enough.
     */
    uint32_t owners;
} latchless_census;

/**
 * What one agent has.
 */
typedef struct latchless_owner {
    /**
     * The agent; all zeros for one that has left while its last blocks are on their way out.
     */
    struct latchless_agent agent;
    /**
     * Its blocks.
     */
    uint32_t blocks;
    /**
     * 0.
     */
    uint32_t unused;
} latchless_owner;

/**
 * What a clear of a whole pool took.
 */
typedef struct latchless_cleared {
    /**
     * Agents that had blocks.
     */
    uint32_t agents;
    /**
     * Blocks that they had; a shared one counts for each holder.
     */
    uint32_t blocks;
} latchless_cleared;

/**
 * Blocks that are held together, given back by latchless_lease_release(). All zeros is no lease.
 */
typedef struct latchless_lease {
    /**
     * Opaque.
     */
    uint64_t bits;
} latchless_lease;

/**
 * The sizes of an engine, and which threads it has.
 */
typedef struct latchless_engine_options {
    /**
     * Set by latchless_engine_options_init().
     */
    size_t size;
    /**
     * Contexts of the model, each with its own pool and requests: 1 to 64; 1 unless set.
     */
    uint32_t lanes;
    /**
     * 1 gives each lane a thread of the engine's. With 0, as it is unless set, the host steps each lane by
     * latchless_engine_step(), from a thread of its own.
     */
    uint32_t lane_threads;
    /**
     * 1 gives the engine a thread that makes the callbacks. With 0, as it is unless set, they are made by
     * whoever calls latchless_engine_dispatch().
     */
    uint32_t callback_thread;
    /**
     * Blocks of each lane's pool; 0, as it is unless set, for as many as the context's cells hold.
     */
    uint32_t blocks;
    /**
     * Agents that can be registered at once; 1,024 unless set.
     */
    uint32_t max_agents;
    /**
     * Requests that can be waiting and running together; 1,024 unless set. A submit beyond them is refused,
     * never delayed.
     */
    uint32_t max_requests;
    /**
     * Tokens that a stream keeps for a reader that is behind; 256 unless set. Then the request pauses, and
     * nobody else.
     */
    uint32_t stream_events;
    /**
     * Rows of one batch that prompts may take at most; 0, as it is unless set, for all that are left.
     */
    uint32_t prefill_rows;
    /**
     * Tokens that sequences without a request keep, for the next turn; `UINT32_MAX` unless set.
     */
    uint32_t idle_tokens;
    /**
     * 0.
     */
    uint32_t unused;
    /**
     * Nanoseconds between two tokens of running requests that are to hold while prompts are computed; 0, as
     * it is unless set, for none.
     */
    uint64_t token_interval_ns;
    /**
     * Bytes of host memory for requests that gave way to others, for each lane; 1 GiB unless set.
     */
    uint64_t parked_bytes;
} latchless_engine_options;

/**
 * A backend that needs no model: deterministic, for tests of hosts. A token is a byte.
 */
typedef struct latchless_scripted_options {
    /**
     * Set by latchless_scripted_options_init().
     */
    size_t size;
    /**
     * One of `LATCHLESS_SCRIPT_...`; ECHO unless set.
     */
    uint32_t script;
    /**
     * Of `LATCHLESS_SCRIPT_BABBLE`; 32 unless set.
     */
    uint32_t tokens;
    /**
     * Of `LATCHLESS_SCRIPT_TEXT` and `_ENDLESS`; NULL for "".
     */
    const char *text;
    /**
     * Nanoseconds that each decode takes at least; 0 unless set.
     */
    uint64_t pace_ns;
    /**
     * Tokens that all sequences together can keep; 4,096 unless set.
     */
    uint32_t cells;
    /**
     * Tokens that one sequence can keep; 1,024 unless set.
     */
    uint32_t tokens_per_sequence;
    /**
     * Sequences that can live at once, 1 to 4,096; 8 unless set.
     */
    uint32_t sequences;
    /**
     * Rows of one batch, 1 to 65,536; 64 unless set.
     */
    uint32_t batch_rows;
} latchless_scripted_options;

/**
 * A GGUF model and its contexts, through llama.cpp.
 */
typedef struct latchless_llama_options {
    /**
     * Set by latchless_llama_options_init().
     */
    size_t size;
    /**
     * The model's file; must be set.
     */
    const char *model_path;
    /**
     * Tokens of a block of the pool; 32 unless set.
     */
    uint32_t block_tokens;
    /**
     * Tokens that all sequences together can keep; 0, as it is unless set, for 512 a sequence.
     */
    uint32_t cells;
    /**
     * Sequences that can live at once, 1 to 256; 8 unless set.
     */
    uint32_t sequences;
    /**
     * Rows of one batch, 1 to 8,192; 512 unless set.
     */
    uint32_t batch_rows;
    /**
     * Threads that compute, for each lane; 0, as it is unless set, for one a core. llama.cpp starts and ends
     * them with each decode.
     */
    uint32_t threads;
    /**
     * 1 gives each sequence its own part of the cells; 0, as it is unless set, lets any have any.
     */
    uint32_t divided;
} latchless_llama_options;

/**
 * One message of a chat.
 */
typedef struct latchless_message {
    /**
     * Who speaks: "system", "user" or "assistant".
     */
    const char *role;
    /**
     * What is said.
     */
    const char *content;
} latchless_message;

/**
 * One request: a prompt (exactly one of `text`, `messages` and `tokens`), how long the answer may be, how its
 * tokens are drawn, and what ends it. Everything is copied: nothing is needed after the submit.
 */
typedef struct latchless_request {
    /**
     * Set by latchless_request_init().
     */
    size_t size;
    /**
     * Text to be continued; control tokens in it mean what the model knows them for.
     */
    const char *text;
    /**
     * A chat, written by the model's own template: `message_count` of them.
     */
    const struct latchless_message *messages;
    /**
     * Messages.
     */
    size_t message_count;
    /**
     * Tokens as they are: `token_count` of them.
     */
    const int32_t *tokens;
    /**
     * Tokens.
     */
    size_t token_count;
    /**
     * Texts that end the answer when they are generated, `stop_count` of them.
     */
    const char *const *stops;
    /**
     * Stops.
     */
    size_t stop_count;
    /**
     * A grammar in GBNF, whose rule `root` the answer follows; NULL, as it is unless set, for none.
     */
    const char *grammar;
    /**
     * Nanoseconds from the submit on, after which the answer ends as it is; 0, as it is unless set, for no
     * end.
     */
    uint64_t deadline_ns;
    /**
     * The most tokens to generate, at least 1; 128 unless set. Blocks for all of them are reserved at submit.
     */
    uint32_t max_tokens;
    /**
     * `LATCHLESS_PRIORITY_LOW`, `_NORMAL` or `_HIGH`; NORMAL unless set.
     */
    uint32_t priority;
    /**
     * 0, as it is unless set, always takes the likeliest token; 1 draws by chance, by the five that follow.
     */
    uint32_t draw;
    /**
     * Start of the random generator; the same seed repeats the draw. 0 unless set.
     */
    uint32_t seed;
    /**
     * At least 0.0001; 0.2 unless set.
     */
    float temperature;
    /**
     * Candidates that are kept, 0 for all; 40 unless set.
     */
    uint32_t top_k;
    /**
     * In (0, 1]; 0.9 unless set.
     */
    float top_p;
    /**
     * In [0, 1]; 0 unless set.
     */
    float min_p;
    /**
     * Generated tokens that the penalties look back at; 64 unless set.
     */
    uint32_t penalty_window;
    /**
     * 0.1 to 10, by which repeated tokens are made less likely; 1, which does nothing, unless set.
     */
    float repeat_penalty;
    /**
     * -100 to 100, taken off for each repetition; 0 unless set.
     */
    float frequency_penalty;
    /**
     * -100 to 100, taken off once; 0 unless set.
     */
    float presence_penalty;
} latchless_request;

/**
 * An engine. All zeros is no engine.
 */
typedef struct latchless_engine {
    /**
     * Opaque.
     */
    uint64_t bits;
} latchless_engine;

/**
 * The events of one request. All zeros is no stream.
 */
typedef struct latchless_stream {
    /**
     * Opaque.
     */
    uint64_t bits;
} latchless_stream;

/**
 * How a request ended. When it is there, the request's blocks are free.
 */
typedef struct latchless_completion {
    /**
     * One of `LATCHLESS_FINISH_...`; 0 in an event that is none.
     */
    uint32_t reason;
    /**
     * With `LATCHLESS_FINISH_STOP`, which of the request's stops.
     */
    uint32_t stop_index;
    /**
     * `LATCHLESS_OK`, or with `LATCHLESS_FINISH_FAILED` `LATCHLESS_ERROR_REQUEST_FAILED`.
     */
    int32_t error;
    /**
     * Blocks that the request gave back.
     */
    uint32_t blocks_freed;
    /**
     * The model that answered: 0 for the engine's first, one more with each swap.
     */
    uint64_t generation;
    /**
     * Tokens of the prompt.
     */
    uint32_t prompt_tokens;
    /**
     * Of these, tokens that were not computed, because they were kept.
     */
    uint32_t cached_tokens;
    /**
     * Tokens that were computed once more, because the request gave way to others.
     */
    uint32_t recomputed_tokens;
    /**
     * Tokens that were generated.
     */
    uint32_t generated_tokens;
    /**
     * Nanoseconds from the submit until the request had a sequence; `LATCHLESS_NO_TIME` if it never had.
     */
    uint64_t queued_ns;
    /**
     * Nanoseconds until its first token; `LATCHLESS_NO_TIME` if there is none.
     */
    uint64_t first_token_ns;
    /**
     * Nanoseconds until it ended.
     */
    uint64_t total_ns;
} latchless_completion;

/**
 * One event of a request. It is the caller's, and points nowhere.
 */
typedef struct latchless_event {
    /**
     * The request.
     */
    uint64_t request;
    /**
     * One of `LATCHLESS_EVENT_...`.
     */
    uint32_t kind;
    /**
     * With `LATCHLESS_EVENT_TOKEN`, the token.
     */
    int32_t token;
    /**
     * Bytes of `text`, without the NUL at its end.
     */
    uint32_t text_bytes;
    /**
     * 0.
     */
    uint32_t unused;
    /**
     * Whole characters in UTF-8, ended by a NUL.
     */
    uint8_t text[LATCHLESS_EVENT_TEXT_BYTES];
    /**
     * With `LATCHLESS_EVENT_FINISHED`, how it ended.
     */
    struct latchless_completion completion;
} latchless_event;

/**
 * What is called with each event of a request. `event` is good during the call. It must return, and not by
 * an exception or longjmp().
 */
typedef void (*latchless_callback)(void *user, const struct latchless_event *event);

/**
 * What one step did.
 */
typedef struct latchless_step {
    /**
     * Requests that got a sequence.
     */
    uint32_t admitted;
    /**
     * Rows of prompts that were computed.
     */
    uint32_t prefill_rows;
    /**
     * Rows of drawn tokens that were computed.
     */
    uint32_t decode_rows;
    /**
     * Decodes that the backend failed.
     */
    uint32_t failed_decodes;
    /**
     * Requests that ended.
     */
    uint32_t ended;
    /**
     * Requests that have a sequence after the step.
     */
    uint32_t running;
    /**
     * Requests that wait for one.
     */
    uint32_t waiting;
    /**
     * 1 if anything moved. If not, the lane has nothing to do until somebody submits, cancels or reads from a
     * full stream.
     */
    uint32_t progressed;
    /**
     * 1 if the lane is closed: no step will do anything.
     */
    uint32_t closed;
} latchless_step;

/**
 * What an agent is doing. All zeros is no machine.
 */
typedef struct latchless_machine {
    /**
     * Opaque.
     */
    uint64_t bits;
} latchless_machine;

/**
 * A machine at one instant: all fields belong together.
 */
typedef struct latchless_snapshot {
    /**
     * Changes before this instant.
     */
    uint64_t version;
    /**
     * One of `LATCHLESS_STATE_...`.
     */
    uint32_t state;
    /**
     * Whether completion was detected in this turn: 1 or 0.
     */
    uint32_t completion_detected;
} latchless_snapshot;

/**
 * What a queue is made for.
 */
typedef struct latchless_tasks_options {
    /**
     * Set by latchless_tasks_options_init().
     */
    size_t size;
    /**
     * Tasks at a time, over ones that are not forgotten included: 1 to 1,048,576; 1,024 unless set.
     */
    uint32_t capacity;
    /**
     * Types of agents, 1 to 62; 1 unless set.
     */
    uint32_t agent_types;
    /**
     * Claims of one task until it counts as failed, 1 to 4,095; 3 unless set.
     */
    uint32_t max_attempts;
    /**
     * 0.
     */
    uint32_t unused;
    /**
     * Ticks of the host's clock for which a claim stands; 60,000 unless set.
     */
    uint64_t lease_ticks;
} latchless_tasks_options;

/**
 * A queue of tasks. All zeros is no queue.
 */
typedef struct latchless_tasks {
    /**
     * Opaque.
     */
    uint64_t bits;
} latchless_tasks;

/**
 * A task of one queue: any other refuses it. A number, not an object.
 */
typedef struct latchless_task {
    /**
     * Opaque.
     */
    uint64_t bits;
} latchless_task;

/**
 * A task in somebody's hands, by attempt. All zeros is no claim.
 */
typedef struct latchless_claim {
    /**
     * Opaque.
     */
    uint64_t bits;
} latchless_claim;

/**
 * What a claim is of.
 */
typedef struct latchless_claim_info {
    /**
     * The task.
     */
    struct latchless_task task;
    /**
     * Bytes of its payload.
     */
    size_t payload_bytes;
    /**
     * Who claimed it.
     */
    uint32_t worker;
    /**
     * Which attempt at the task this is, from 1 on: a fencing token, for what the agent writes elsewhere.
     */
    uint32_t attempt;
} latchless_claim_info;

/**
 * How many tasks are where, read one after another.
 */
typedef struct latchless_task_counts {
    /**
     * Wait for dependencies.
     */
    size_t waiting;
    /**
     * Wait for an agent.
     */
    size_t pending;
    /**
     * Claimed and not begun.
     */
    size_t assigned;
    /**
     * Begun.
     */
    size_t in_progress;
    /**
     * Done.
     */
    size_t completed;
    /**
     * Failed, for whatever reason.
     */
    size_t failed;
} latchless_task_counts;

/**
 * A claim that was taken back.
 */
typedef struct latchless_reclaimed {
    /**
     * The task.
     */
    struct latchless_task task;
    /**
     * Who had it.
     */
    uint32_t worker;
    /**
     * In which attempt.
     */
    uint32_t attempt;
    /**
     * 1 if it was the last: the task has failed then, and is pending otherwise.
     */
    uint32_t used_up;
    /**
     * 0.
     */
    uint32_t unused;
} latchless_reclaimed;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The ABI of the library that is loaded: compare it with `LATCHLESS_ABI_VERSION` when you load it by
 * dlopen(). New functions, statuses and fields at the end of structs do not change it.
 *
 * Threads: any. Real-time: yes. Works in a forked child.
 */
uint32_t latchless_abi_version(void);

/**
 * The library's version, such as "0.1.0".
 *
 * Owner: the library, for ever. Threads: any. Real-time: yes. Works in a forked child.
 */
const char *latchless_version(void);

/**
 * Whether the library can run GGUF models (true), or scripts only.
 *
 * Threads: any. Real-time: yes. Works in a forked child.
 */
bool latchless_has_llama(void);

/**
 * Why the calling thread's last call that failed did so, in words: what happened, and what to do next.
 * "" when none has failed. A call that succeeds leaves it as it was.
 *
 * Owner: the library. The text is good until the thread's next failing call, or its end; copy it to keep
 * it. Threads: each has its own. Real-time: no, it allocates.
 */
const char *latchless_last_error(void);

/**
 * The name of a status, such as "LATCHLESS_ERROR_EXHAUSTED"; "LATCHLESS_ERROR_?" for a number that is
 * none.
 *
 * Owner: the library, for ever. Real-time: yes.
 */
const char *latchless_status_name(int32_t status);

/**
 * The status of the calling thread's last call that failed; `LATCHLESS_OK` when none has.
 *
 * Threads: each has its own. Real-time: yes.
 */
latchless_status latchless_last_status(void);

/**
 * Initialises the options with their defaults. `size` is `sizeof *options`.
 *
 * Threads: any. Real-time: yes.
 */
latchless_status latchless_pool_options_init(struct latchless_pool_options *options, size_t size);

/**
 * Makes a pool with all blocks free. `options` may be NULL for the defaults.
 *
 * Owner: the caller, who ends it with latchless_pool_destroy(). Threads: any. Real-time: no, it allocates
 * about 16 bytes a block and 64 an agent.
 *
 * Errors: INVALID_ARGUMENT for a number out of its range.
 */
latchless_status latchless_pool_create(const struct latchless_pool_options *options,
                                       struct latchless_pool *pool);

/**
 * Ends a pool: its handle, agents and blocks are refused from now on. Leases keep what they have until
 * they are released, and other threads' calls on the pool end as if they had come before.
 *
 * Threads: any, also while others use the pool; of two that destroy it one does. Real-time: no, it frees.
 */
latchless_status latchless_pool_destroy(struct latchless_pool pool);

/**
 * Registers an agent.
 *
 * Threads: any. Real-time: yes. Errors: TOO_MANY_AGENTS.
 */
latchless_status latchless_pool_register(struct latchless_pool pool, struct latchless_agent *agent);

/**
 * Unregisters an agent and takes all its blocks; its leases have nothing from then on. `freed`, which may
 * be NULL, gets how many blocks it had.
 *
 * Threads: any. Real-time: no, it walks over a part of the pool. Errors: UNKNOWN_AGENT.
 */
latchless_status latchless_pool_unregister(struct latchless_pool pool,
                                           struct latchless_agent agent,
                                           uint32_t *freed);

/**
 * Takes `count` blocks of a layer for an agent, in the order of blocks: all of them, or none.
 *
 * A refusal is exact: at some instant during the call fewer were free. Never waits, takes no lock, makes no
 * system call, and allocates nothing for up to 512 blocks.
 *
 * Owner: the agent, until latchless_pool_free(), latchless_pool_free_agent() or its end. `blocks`: memory
 * for `count`, which tells nothing after an error. Threads: any. Real-time: yes.
 *
 * Errors: EXHAUSTED, QUOTA, UNKNOWN_AGENT, UNKNOWN_LAYER, INVALID_ARGUMENT for a count of 0.
 */
latchless_status latchless_pool_allocate(struct latchless_pool pool,
                                         struct latchless_agent agent,
                                         uint32_t layer,
                                         struct latchless_block *blocks,
                                         size_t count);

/**
 * As latchless_pool_allocate(), and waits for up to `timeout_ns` nanoseconds when too few blocks are free;
 * callers are served in the order in which they came.
 *
 * Owner, `blocks`: as there. Threads: any. Real-time: no, it may sleep and allocates.
 *
 * Errors: as there, and TIMED_OUT, NEVER_FITS, TOO_MANY_WAITERS.
 */
latchless_status latchless_pool_allocate_within(struct latchless_pool pool,
                                                struct latchless_agent agent,
                                                uint32_t layer,
                                                struct latchless_block *blocks,
                                                size_t count,
                                                uint64_t timeout_ns);

/**
 * Frees blocks of an agent: all of the list, or none. `freed`, which may be NULL, gets how many.
 *
 * Never waits, takes no lock, makes no system call, and allocates nothing for up to 512 blocks that are in
 * the order of blocks.
 *
 * Threads: any. Real-time: yes.
 *
 * Errors, about the first bad one in the order of blocks: UNKNOWN_BLOCK, ALREADY_FREE, STALE_BLOCK,
 * NOT_OWNER.
 */
latchless_status latchless_pool_free(struct latchless_pool pool,
                                     struct latchless_agent agent,
                                     const struct latchless_block *blocks,
                                     size_t count,
                                     uint32_t *freed);

/**
 * Takes all blocks from an agent, which stays registered; its leases have nothing from then on. `freed`,
 * which may be NULL, gets how many it had, 0 for an agent that is not there.
 *
 * Threads: any. Real-time: no, it walks over a part of the pool.
 */
latchless_status latchless_pool_free_agent(struct latchless_pool pool,
                                           struct latchless_agent agent,
                                           uint32_t *freed);

/**
 * How many blocks are free now: a sum over words that are read one after another, so exact when nobody
 * allocates or frees meanwhile.
 *
 * Threads: any. Real-time: yes, as long as no agent has a reserve; then it walks over all agents.
 */
latchless_status latchless_pool_usage(struct latchless_pool pool,
                                      struct latchless_usage *usage);

/**
 * Blocks that an agent has now; 0 for one that is not there.
 *
 * Threads: any. Real-time: yes.
 */
latchless_status latchless_pool_used_by(struct latchless_pool pool,
                                        struct latchless_agent agent,
                                        uint32_t *blocks);

/**
 * Counts every block by its state, while the pool is in use. `owners`, memory for `capacity`, gets as many
 * of those that have blocks as there is room for; it may be NULL with a capacity of 0.
 *
 * Threads: any. Real-time: no, it walks over all blocks and allocates.
 */
latchless_status latchless_pool_census(struct latchless_pool pool,
                                       struct latchless_census *census,
                                       struct latchless_owner *owners,
                                       size_t capacity);

/**
 * Limits the blocks that an agent may have; `UINT32_MAX` lifts the limit. What it has stays.
 *
 * Threads: any. Real-time: yes. Errors: UNKNOWN_AGENT.
 */
latchless_status latchless_pool_set_quota(struct latchless_pool pool,
                                          struct latchless_agent agent,
                                          uint32_t blocks);

/**
 * Keeps so many blocks for an agent alone; 0 ends that.
 *
 * Threads: any. Real-time: yes. Errors: EXHAUSTED when too few are free, UNKNOWN_AGENT.
 */
latchless_status latchless_pool_set_reserve(struct latchless_pool pool,
                                            struct latchless_agent agent,
                                            uint32_t blocks);

/**
 * Takes all blocks from all agents, shared ones included. `cleared` may be NULL.
 *
 * Threads: any; what is allocated meanwhile may stay or go. Real-time: no, it walks over all blocks.
 */
latchless_status latchless_pool_clear(struct latchless_pool pool,
                                      struct latchless_cleared *cleared);

/**
 * Replaces the geometry by that of the options (layers, heads, head size, tokens and bits; the numbers of
 * blocks, agents and waiters stay), when no block is out.
 *
 * Threads: any; an allocation that races with it is refused, or comes first and refuses it. Real-time: no.
 *
 * Errors: OUTSTANDING, and the text says how many are out; INVALID_ARGUMENT.
 */
latchless_status latchless_pool_reconfigure(struct latchless_pool pool,
                                            const struct latchless_pool_options *options);

/**
 * Takes `count` blocks of a layer for an agent, as a lease: all of them, or none.
 *
 * Never waits and takes no lock. Owner: the caller, who ends it with latchless_lease_release(); the lease
 * may outlive the pool. Threads: any. Real-time: yes, up to 8 runs of neighbouring blocks.
 *
 * Errors: EXHAUSTED, QUOTA, UNKNOWN_AGENT, UNKNOWN_LAYER, INVALID_ARGUMENT for a count of 0.
 */
latchless_status latchless_lease_allocate(struct latchless_pool pool,
                                          struct latchless_agent agent,
                                          uint32_t layer,
                                          uint32_t count,
                                          struct latchless_lease *lease);

/**
 * Takes what a sequence of `tokens` tokens needs in all layers together, as a lease: all of it, or
 * nothing.
 *
 * Owner, threads, real-time and errors: as for latchless_lease_allocate().
 */
latchless_status latchless_lease_allocate_sequence(struct latchless_pool pool,
                                                   struct latchless_agent agent,
                                                   uint32_t tokens,
                                                   struct latchless_lease *lease);

/**
 * Makes a lease of blocks that an agent has under handles, which are used up: all of them, or none. `layer`
 * is what they were allocated for.
 *
 * Owner: the caller. Threads: any. Real-time: yes, for up to 512 blocks in the order of blocks.
 *
 * Errors: as latchless_pool_free().
 */
latchless_status latchless_lease_from_blocks(struct latchless_pool pool,
                                             struct latchless_agent agent,
                                             uint32_t layer,
                                             const struct latchless_block *blocks,
                                             size_t count,
                                             struct latchless_lease *lease);

/**
 * Gives another agent a lease on the same blocks: a common prefix, for instance. The last holder's release
 * frees them, and they count for each holder's use.
 *
 * Owner of `shared`: the caller. Threads: one at a time on a lease. Real-time: yes, up to 8 runs of
 * neighbouring blocks.
 *
 * Errors: UNKNOWN_AGENT, QUOTA, RESERVE, BUSY; INVALID_ARGUMENT when its blocks went under handles.
 */
latchless_status latchless_lease_share(struct latchless_lease lease,
                                       struct latchless_agent with,
                                       struct latchless_lease *shared);

/**
 * Makes another agent the owner of a lease's blocks.
 *
 * Threads: one at a time on a lease. Real-time: yes. Errors: as latchless_lease_share().
 */
latchless_status latchless_lease_transfer(struct latchless_lease lease, struct latchless_agent to);

/**
 * Splits `count` blocks off into a lease of their own.
 *
 * Owner of `split`: the caller. Threads: one at a time on a lease. Real-time: yes, up to 8 runs of
 * neighbouring blocks. Errors: INVALID_ARGUMENT for a count of 0 or more than the lease has, BUSY.
 */
latchless_status latchless_lease_split(struct latchless_lease lease,
                                       uint32_t count,
                                       struct latchless_lease *split);

/**
 * The blocks of a lease by number, in no particular order but always the same one. `count` gets how many
 * there are; `blocks` is memory for `capacity` and may be NULL with a capacity of 0.
 *
 * Threads: one at a time on a lease. Real-time: yes.
 *
 * Errors: BUFFER_TOO_SMALL when the capacity is neither 0 nor enough, BUSY.
 */
latchless_status latchless_lease_blocks(struct latchless_lease lease,
                                        uint32_t *blocks,
                                        size_t capacity,
                                        size_t *count);

/**
 * Ends a lease without freeing: its blocks stay the agent's, each under a handle. Those that are shared are
 * left out, and given back. `count` gets how many handles there are.
 *
 * The lease has no blocks afterwards, and is still to be released. Threads: one at a time on a lease.
 * Real-time: no, it allocates.
 *
 * Errors: BUFFER_TOO_SMALL when the capacity is less than the lease's blocks, and nothing is changed; BUSY.
 */
latchless_status latchless_lease_into_blocks(struct latchless_lease lease,
                                             struct latchless_block *blocks,
                                             size_t capacity,
                                             size_t *count);

/**
 * Gives a lease's blocks back, and ends its handle.
 *
 * Threads: any, also while another is in a call on it: then that one gives them back. Real-time: yes.
 */
latchless_status latchless_lease_release(struct latchless_lease lease);

/**
 * Initialises the options with their defaults. `size` is `sizeof *options`.
 *
 * Threads: any. Real-time: yes.
 */
latchless_status latchless_engine_options_init(struct latchless_engine_options *options,
                                               size_t size);

/**
 * Initialises the options with their defaults. `size` is `sizeof *options`.
 *
 * Threads: any. Real-time: yes.
 */
latchless_status latchless_scripted_options_init(struct latchless_scripted_options *options,
                                                 size_t size);

/**
 * Initialises the options with their defaults. `size` is `sizeof *options`.
 *
 * Threads: any. Real-time: yes.
 */
latchless_status latchless_llama_options_init(struct latchless_llama_options *options, size_t size);

/**
 * Initialises a request with its defaults, and without a prompt. `size` is `sizeof *request`.
 *
 * Threads: any. Real-time: yes.
 */
latchless_status latchless_request_init(struct latchless_request *request, size_t size);

/**
 * Makes an engine on a backend that needs no model. Either options may be NULL for the defaults.
 *
 * Owner: the caller, who ends it with latchless_engine_destroy(). Threads: any; the engine has those that
 * the options ask for, and no other. Real-time: no.
 *
 * Errors: INVALID_ARGUMENT, ENGINE.
 */
latchless_status latchless_engine_create_scripted(const struct latchless_engine_options *options,
                                                  const struct latchless_scripted_options *scripted,
                                                  struct latchless_engine *engine);

/**
 * Makes an engine on a GGUF model, which is loaded by this call: that takes seconds. `options` may be NULL
 * for the defaults.
 *
 * Owner, threads: as for latchless_engine_create_scripted(); llama.cpp computes with threads of its own
 * within a decode. Real-time: no.
 *
 * Errors: INVALID_ARGUMENT, LOAD, ENGINE, UNSUPPORTED.
 */
latchless_status latchless_engine_create_llama(const struct latchless_engine_options *options,
                                               const struct latchless_llama_options *llama,
                                               struct latchless_engine *engine);

/**
 * Ends an engine: its handle and its agents are refused from now on, requests that are waiting or running
 * end as `LATCHLESS_FINISH_SHUTDOWN`, its threads end, and every callback has had its last event when this
 * returns. Streams can be read to their end. To let requests finish, latchless_engine_drain() before.
 *
 * Waits for the decode that a lane is in, for the step or the callback that another thread is in; not for
 * other calls, which end as if they had come before. May be called from a callback of this engine: then the
 * remaining callbacks come after that one returns.
 *
 * Threads: any, also while others use the engine; of two that destroy it one does. Real-time: no.
 */
latchless_status latchless_engine_destroy(struct latchless_engine engine);

/**
 * The agent of this name, 1 to 256 bytes; registers it when it is new.
 *
 * Threads: any. Real-time: no, it goes through a map with locks: once for each agent.
 *
 * Errors: INVALID_ARGUMENT, TOO_MANY_AGENTS.
 */
latchless_status latchless_engine_agent(struct latchless_engine engine,
                                        const char *name,
                                        struct latchless_agent *agent);

/**
 * How many blocks of all lanes' pools are free now.
 *
 * Threads: any. Real-time: no, it allocates.
 */
latchless_status latchless_engine_usage(struct latchless_engine engine,
                                        struct latchless_usage *usage);

/**
 * Hands a request to the engine, to be read by latchless_stream_poll() or latchless_stream_wait(). The prompt
 * is read and its blocks are reserved by this call, all or nothing; no decode, no other submitter and no
 * reader can make it wait.
 *
 * Owner of `stream`: the caller, who ends it with latchless_stream_release(); it may outlive the engine.
 * Threads: any. Real-time: no lock and no wait, but it allocates, for the prompt and the stream: see
 * docs/c-abi.md for what that means. One system call when the lane sleeps.
 *
 * Errors, and nothing was taken: PROMPT, EXHAUSTED, QUOTA, UNKNOWN_AGENT, TOO_MANY_REQUESTS, DRAINING,
 * CLOSED, INVALID_ARGUMENT.
 */
latchless_status latchless_engine_submit(struct latchless_engine engine,
                                         struct latchless_agent agent,
                                         const struct latchless_request *request,
                                         struct latchless_stream *stream);

/**
 * Hands a request to the engine, whose events `callback` is called with, on the engine's callback thread or
 * by latchless_engine_dispatch(): never on a lane's thread, so that a slow one delays no other request.
 *
 * If this succeeds the last call has `LATCHLESS_EVENT_FINISHED`, and comes exactly once, also when the engine
 * is destroyed: `user` is not touched after it. `id`, which may be NULL, gets the request, for
 * latchless_engine_cancel(); the first call may come before this one returns.
 *
 * Threads, real-time, errors: as for latchless_engine_submit().
 */
latchless_status latchless_engine_submit_callback(struct latchless_engine engine,
                                                  struct latchless_agent agent,
                                                  const struct latchless_request *request,
                                                  latchless_callback callback,
                                                  void *user,
                                                  uint64_t *id);

/**
 * Asks the lane to end a request, and returns at once; its finished event has
 * `LATCHLESS_FINISH_CANCELLED`, unless it ended before. `asked`, which may be NULL, gets 0 when it has ended
 * or never was, else 1.
 *
 * Threads: any. Real-time: yes; one system call when the lane sleeps.
 */
latchless_status latchless_engine_cancel(struct latchless_engine engine,
                                         uint64_t request,
                                         uint32_t *asked);

/**
 * Makes the callbacks that are due, on the calling thread; waits for the first one, at most `timeout_ns`
 * nanoseconds, 0 for not at all. `events`, which may be NULL, gets how many were made. Returns at once when
 * the engine is destroyed.
 *
 * Threads: one at a time on an engine, and none where the engine has a callback thread. Real-time: no, it
 * makes callbacks.
 *
 * Errors: BUSY; a time that is over is none.
 */
latchless_status latchless_engine_dispatch(struct latchless_engine engine,
                                           uint64_t timeout_ns,
                                           uint32_t *events);

/**
 * The next event of a request, if it is there.
 *
 * Threads: one at a time on a stream. Real-time: yes; the first token after the stream was full makes one
 * system call.
 *
 * Errors: NO_EVENT, ENDED after the finished event, BUSY.
 */
latchless_status latchless_stream_poll(struct latchless_stream stream,
                                       struct latchless_event *event);

/**
 * The next event of a request; waits for it, at most `timeout_ns` nanoseconds. Not for the thread that steps
 * the lane: it would wait for itself.
 *
 * Threads: one at a time on a stream. Real-time: no, it sleeps and allocates.
 *
 * Errors: TIMED_OUT, ENDED after the finished event, BUSY.
 */
latchless_status latchless_stream_wait(struct latchless_stream stream,
                                       uint64_t timeout_ns,
                                       struct latchless_event *event);

/**
 * The request of a stream: for latchless_engine_cancel(), and as events name it.
 *
 * Threads: any. Real-time: yes.
 */
latchless_status latchless_stream_request(struct latchless_stream stream, uint64_t *request);

/**
 * Asks the lane to end the request, and returns at once; the finished event comes with
 * `LATCHLESS_FINISH_CANCELLED`, unless the request ended before. `asked`, which may be NULL, gets 0 when it
 * is known to have ended, else 1.
 *
 * Threads: any, also while another waits for an event. Real-time: yes; one system call when the lane sleeps.
 */
latchless_status latchless_stream_cancel(struct latchless_stream stream,
                                         uint32_t *asked);

/**
 * Ends a stream's handle. Its request is cancelled if it has not ended; a thread that waits for its next
 * event gets that.
 *
 * Threads: any. Real-time: no, it frees; one system call when the lane sleeps.
 */
latchless_status latchless_stream_release(struct latchless_stream stream);

/**
 * One step of a lane, 0 to the engine's lanes - 1: at most one batch. `step`, which may be NULL, gets what it
 * did.
 *
 * Threads: one at a time on a lane; as a rule one that does nothing else. Real-time: no, it computes.
 *
 * Errors: BUSY, INVALID_ARGUMENT for an engine whose lanes have threads.
 */
latchless_status latchless_engine_step(struct latchless_engine engine,
                                       uint32_t lane,
                                       struct latchless_step *step);

/**
 * Waits until all requests have ended, at most `timeout_ns` nanoseconds; meanwhile submits are refused.
 * `ended`, which may be NULL, gets how many it waited for. A host that steps the lanes itself calls it from
 * another thread.
 *
 * Threads: any. Real-time: no, it sleeps. Errors: TIMED_OUT, and the text names the requests.
 */
latchless_status latchless_engine_drain(struct latchless_engine engine,
                                        uint64_t timeout_ns,
                                        uint32_t *ended);

/**
 * Replaces the model by one that needs none: as latchless_engine_swap_llama().
 */
latchless_status latchless_engine_swap_scripted(struct latchless_engine engine,
                                                const struct latchless_scripted_options *scripted);

/**
 * Replaces the model under load: requests that are submitted from now on are answered by the new one, those
 * that were accepted before by the old one, which is dropped when they have ended. The new model is loaded by
 * this call, and nobody else waits for it; if that fails everything is as before. Agents keep their numbers.
 * Where the host steps the lanes, its next steps step the new ones, too.
 *
 * Threads: any, one at a time. Real-time: no.
 *
 * Errors: LOAD, ENGINE, RETIRING while the model before has requests, BUSY while another thread swaps,
 * CLOSED, UNSUPPORTED.
 */
latchless_status latchless_engine_swap_llama(struct latchless_engine engine,
                                             const struct latchless_llama_options *llama);

/**
 * How many requests the model before has still; 0 when there is none, and it is gone.
 *
 * Threads: any. Real-time: yes.
 */
latchless_status latchless_engine_retiring(struct latchless_engine engine, uint32_t *requests);

/**
 * Waits until the model before has finished its requests and is gone, at most `timeout_ns` nanoseconds. Where
 * the host steps the lanes it is another thread that waits.
 *
 * Threads: any. Real-time: no, it sleeps. Errors: RETIRING when the time is over.
 */
latchless_status latchless_engine_wait_retired(struct latchless_engine engine,
                                               uint64_t timeout_ns);

/**
 * Makes a machine in USER_INPUT.
 *
 * Owner: the caller, who ends it with latchless_machine_destroy(). Threads: any. Real-time: yes, up to 64
 * machines at a time; it allocates for more.
 */
latchless_status latchless_machine_create(struct latchless_machine *machine);

/**
 * Ends a machine.
 *
 * Threads: any. Real-time: yes.
 */
latchless_status latchless_machine_destroy(struct latchless_machine machine);

/**
 * The machine at this instant.
 *
 * Threads: any. Real-time: yes.
 */
latchless_status latchless_machine_snapshot(struct latchless_machine machine,
                                            struct latchless_snapshot *snapshot);

/**
 * Goes to a state, from whatever state the machine is in at the instant of the change. `now`, which may be
 * NULL, gets how it is afterwards. The edges: USER_INPUT to ASSISTANT; ASSISTANT to TOOL_EXECUTION or
 * RESPONSE; TOOL_EXECUTION to RESPONSE; RESPONSE to ASSISTANT, the next turn.
 *
 * Threads: any. Real-time: yes. Errors: NO_EDGE, and the text says from and to; INVALID_ARGUMENT.
 */
latchless_status latchless_machine_transition(struct latchless_machine machine,
                                              uint32_t to,
                                              struct latchless_snapshot *now);

/**
 * Goes to a state if nothing has changed since `seen`: of several threads that decide by the same snapshot
 * one succeeds. `now`, which may be NULL, gets how the machine is afterwards.
 *
 * Threads: any. Real-time: yes. Errors: NO_EDGE, OVERTAKEN, INVALID_ARGUMENT.
 */
latchless_status latchless_machine_transition_from(struct latchless_machine machine,
                                                   const struct latchless_snapshot *seen,
                                                   uint32_t to,
                                                   struct latchless_snapshot *now);

/**
 * Says whether completion was detected in this turn: 0, or anything else. The flag goes when the turn ends. `now`, which
 * may be NULL, gets how the machine is afterwards.
 *
 * Threads: any. Real-time: yes.
 */
latchless_status latchless_machine_set_completion(struct latchless_machine machine,
                                                  uint32_t detected,
                                                  struct latchless_snapshot *now);

/**
 * Initialises the options with their defaults. `size` is `sizeof *options`.
 *
 * Threads: any. Real-time: yes.
 */
latchless_status latchless_tasks_options_init(struct latchless_tasks_options *options, size_t size);

/**
 * Makes an empty queue. `options` may be NULL for the defaults.
 *
 * Owner: the caller, who ends it with latchless_tasks_destroy(). Threads: any. Real-time: no, it allocates
 * about 100 bytes a slot. Errors: INVALID_ARGUMENT for a number out of its range.
 */
latchless_status latchless_tasks_create(const struct latchless_tasks_options *options,
                                        struct latchless_tasks *tasks);

/**
 * Ends a queue: its handle and its tasks are refused from now on. Claims keep what they need until they are
 * released.
 *
 * Threads: any, also while others use it. Real-time: no, it frees.
 */
latchless_status latchless_tasks_destroy(struct latchless_tasks tasks);

/**
 * Submits a task, which is claimable when this returns. `payload` is copied: `bytes` of it, up to
 * `LATCHLESS_PAYLOAD_BYTES`, and it may be NULL for none. `agent_type` says who may claim it, or
 * `LATCHLESS_ANY_TYPE`. `task`, which may be NULL, gets its number.
 *
 * Threads: any. Real-time: no, it allocates. Errors: QUEUE_FULL, UNKNOWN_TYPE, INVALID_ARGUMENT.
 */
latchless_status latchless_tasks_submit(struct latchless_tasks tasks,
                                        uint32_t priority,
                                        uint32_t agent_type,
                                        const void *payload,
                                        size_t bytes,
                                        struct latchless_task *task);

/**
 * Claims the first task for an agent of a type (`LATCHLESS_ANY_TYPE`: tasks for any agent only): of the
 * highest priority that has one. `worker` is a number up to 65,535 that the host gives each of its agents.
 * `now` is the host's monotonic clock, in the ticks of the queue's leases. A task that is claimable during
 * the whole call is found.
 *
 * Owner: the caller, who ends the handle with latchless_claim_release() when the task is completed, failed
 * or given back. Threads: any. Real-time: yes, up to 64 claims at a time; it allocates for more.
 *
 * Errors: NO_TASK, INVALID_ARGUMENT.
 */
latchless_status latchless_tasks_claim(struct latchless_tasks tasks,
                                       uint32_t worker,
                                       uint32_t agent_type,
                                       uint64_t now,
                                       struct latchless_claim *claim);

/**
 * What a claim is of.
 *
 * Threads: any. Real-time: yes.
 */
latchless_status latchless_claim_describe(struct latchless_claim claim,
                                          struct latchless_claim_info *info);

/**
 * Copies the task's payload to memory for `capacity` bytes. `bytes`, which may be NULL, gets how many there
 * are.
 *
 * Threads: any. Real-time: yes. Errors: BUFFER_TOO_SMALL.
 */
latchless_status latchless_claim_payload(struct latchless_claim claim,
                                         void *payload,
                                         size_t capacity,
                                         size_t *bytes);

/**
 * Assigned to in progress.
 *
 * Threads: any. Real-time: yes. Errors: CLAIM_LOST, NOT_A_STEP.
 */
latchless_status latchless_claim_start(struct latchless_claim claim);

/**
 * In progress to completed.
 *
 * Threads: any. Real-time: yes. Errors: CLAIM_LOST: drop the result, it is another one's task now;
 * NOT_A_STEP.
 */
latchless_status latchless_claim_complete(struct latchless_claim claim);

/**
 * In progress to failed.
 *
 * Threads: any. Real-time: yes. Errors: CLAIM_LOST, NOT_A_STEP.
 */
latchless_status latchless_claim_fail(struct latchless_claim claim);

/**
 * Assigned or in progress back to pending, for an agent that cannot go on. The attempt counts.
 *
 * Threads: any. Real-time: yes. Errors: CLAIM_LOST, NOT_A_STEP.
 */
latchless_status latchless_claim_give_back(struct latchless_claim claim);

/**
 * Lets the claim stand for another lease from `now` on.
 *
 * Threads: any. Real-time: yes. Errors: CLAIM_LOST when the claim or its lease is over, NOT_A_STEP.
 */
latchless_status latchless_claim_renew(struct latchless_claim claim, uint64_t now);

/**
 * Ends the handle. A task that is not over stays claimed until its lease ends: give it back before.
 *
 * Threads: any. Real-time: yes, as long as the queue lives.
 */
latchless_status latchless_claim_release(struct latchless_claim claim);

/**
 * Where a task is: one of `LATCHLESS_TASK_...`.
 *
 * Threads: any. Real-time: yes. Errors: UNKNOWN_TASK.
 */
latchless_status latchless_tasks_status(struct latchless_tasks tasks,
                                        struct latchless_task task,
                                        uint32_t *status);

/**
 * Takes a task that is over out of the queue, so that its slot can be used again.
 *
 * Threads: any; of two that forget one task, one does. Real-time: no, it frees. Errors: UNKNOWN_TASK,
 * NOT_OVER.
 */
latchless_status latchless_tasks_forget(struct latchless_tasks tasks,
                                        struct latchless_task task);

/**
 * How many tasks are where.
 *
 * Threads: any. Real-time: no, it walks over all slots.
 */
latchless_status latchless_tasks_counts(struct latchless_tasks tasks,
                                        struct latchless_task_counts *counts);

/**
 * Takes back every claim whose lease was over before `now`. `reclaimed`, memory for `capacity`, gets as many
 * as there is room for, and may be NULL with a capacity of 0; `count`, which may be NULL, how many there
 * were.
 *
 * Threads: any, every now and then. Real-time: no, it walks over all slots and allocates.
 */
latchless_status latchless_tasks_reclaim_expired(struct latchless_tasks tasks,
                                                 uint64_t now,
                                                 struct latchless_reclaimed *reclaimed,
                                                 size_t capacity,
                                                 size_t *count);

/**
 * Takes back every claim of a worker that is known to be dead.
 *
 * `reclaimed`, `capacity`, `count`, threads and real-time: as for latchless_tasks_reclaim_expired().
 */
latchless_status latchless_tasks_reclaim_worker(struct latchless_tasks tasks,
                                                uint32_t worker,
                                                struct latchless_reclaimed *reclaimed,
                                                size_t capacity,
                                                size_t *count);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* LATCHLESS_H */
