/* Objects may go in any order: engines with requests in flight, pools before their leases, an engine from
 * within its own callback, several engines at once, and one that a thread waits in. */

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchless.h>

#define EXPECT(condition)                                                                                    \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "order.c:%d: not so: %s (%s)\n", __LINE__, #condition, latchless_last_error());  \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)
#define OK(call) EXPECT((call) == LATCHLESS_OK)

static latchless_engine make(uint32_t lane_threads, uint32_t callback_thread, uint32_t script)
{
    latchless_engine_options options;
    latchless_scripted_options scripted;
    latchless_engine engine;
    OK(latchless_engine_options_init(&options, sizeof options));
    OK(latchless_scripted_options_init(&scripted, sizeof scripted));
    options.lane_threads = lane_threads;
    options.callback_thread = callback_thread;
    scripted.script = script;
    OK(latchless_engine_create_scripted(&options, &scripted, &engine));
    return engine;
}

static latchless_request ask(const char *text)
{
    latchless_request request;
    OK(latchless_request_init(&request, sizeof request));
    request.text = text;
    request.max_tokens = 64;
    return request;
}

struct told {
    latchless_engine engine;
    unsigned tokens, finished, reason;
    int destroys;
};

static void on_event(void *user, const latchless_event *event)
{
    struct told *told = user;
    EXPECT(told->finished == 0); /* nothing follows the last one */
    if (event->kind == LATCHLESS_EVENT_FINISHED) {
        told->finished++;
        told->reason = event->completion.reason;
    } else {
        told->tokens++;
        if (told->destroys) {
            told->destroys = 0;
            OK(latchless_engine_destroy(told->engine));
        }
    }
}

/* Requests in flight end as shut down, whoever steps, and their streams can be read after the engine. */
static void destroyed_with_requests_in_flight(uint32_t lane_threads, uint32_t callback_thread)
{
    latchless_engine engine = make(lane_threads, callback_thread, LATCHLESS_SCRIPT_ENDLESS);
    latchless_agent agent;
    latchless_request request = ask("Go on.");
    struct told told[4];
    latchless_stream stream;
    latchless_event event;
    uint32_t ended;
    memset(told, 0, sizeof told);
    request.max_tokens = 600;
    OK(latchless_engine_agent(engine, "a", &agent));
    for (int i = 0; i < 4; i++)
        OK(latchless_engine_submit_callback(engine, agent, &request, on_event, &told[i], NULL));
    OK(latchless_engine_submit(engine, agent, &request, &stream));
    if (!lane_threads)
        OK(latchless_engine_step(engine, 0, NULL));
    OK(latchless_engine_destroy(engine));
    for (int i = 0; i < 4; i++)
        EXPECT(told[i].finished == 1 && told[i].reason != 0);
    do
        OK(latchless_stream_wait(stream, LATCHLESS_FOREVER, &event));
    while (event.kind != LATCHLESS_EVENT_FINISHED);
    EXPECT(latchless_stream_poll(stream, &event) == LATCHLESS_ERROR_ENDED);
    OK(latchless_stream_release(stream));
    EXPECT(latchless_engine_drain(engine, 0, &ended) == LATCHLESS_ERROR_STALE_HANDLE);
    EXPECT(latchless_engine_destroy(engine) == LATCHLESS_ERROR_STALE_HANDLE);
}

static void destroyed_from_a_callback(uint32_t callback_thread)
{
    latchless_engine engine = make(1, callback_thread, LATCHLESS_SCRIPT_ENDLESS);
    latchless_agent agent;
    latchless_request request = ask("Go on.");
    static struct told told[3];
    latchless_stream stream;
    latchless_event event;
    memset(told, 0, sizeof told);
    request.max_tokens = 600;
    OK(latchless_engine_agent(engine, "a", &agent));
    OK(latchless_engine_submit(engine, agent, &request, &stream));
    for (int i = 0; i < 3; i++) {
        told[i].engine = engine;
        told[i].destroys = i == 2;
        OK(latchless_engine_submit_callback(engine, agent, &request, on_event, &told[i], NULL));
    }
    /* Either thread destroys it in the middle of its callbacks. */
    if (callback_thread) {
        latchless_status status;
        do
            status = latchless_stream_wait(stream, LATCHLESS_FOREVER, &event);
        while (status == LATCHLESS_OK);
        EXPECT(status == LATCHLESS_ERROR_ENDED);
    } else {
        latchless_status status;
        do
            status = latchless_engine_dispatch(engine, 1000000000, NULL);
        while (status == LATCHLESS_OK);
        EXPECT(status == LATCHLESS_ERROR_STALE_HANDLE);
        for (int i = 0; i < 3; i++)
            EXPECT(told[i].finished == 1);
    }
    OK(latchless_stream_release(stream));
}

struct waiter {
    latchless_engine engine;
    latchless_status status;
};

static void *drain(void *argument)
{
    struct waiter *waiter = argument;
    waiter->status = latchless_engine_drain(waiter->engine, LATCHLESS_FOREVER, NULL);
    return NULL;
}

/* The engine goes while a thread waits in it: that one's wait ends. */
static void destroyed_under_a_wait(void)
{
    latchless_engine engine = make(0, 0, LATCHLESS_SCRIPT_ENDLESS);
    latchless_agent agent;
    latchless_request request = ask("Go on.");
    latchless_stream stream, refused;
    pthread_t thread;
    struct waiter waiter = {engine, LATCHLESS_OK};
    latchless_status status;
    OK(latchless_engine_agent(engine, "a", &agent));
    OK(latchless_engine_submit(engine, agent, &request, &stream));
    EXPECT(pthread_create(&thread, NULL, drain, &waiter) == 0);
    do { /* until it is inside */
        status = latchless_engine_submit(engine, agent, &request, &refused);
        if (status == LATCHLESS_OK)
            OK(latchless_stream_release(refused));
    } while (status == LATCHLESS_OK || status == LATCHLESS_ERROR_TOO_MANY_REQUESTS
             || status == LATCHLESS_ERROR_EXHAUSTED);
    EXPECT(status == LATCHLESS_ERROR_DRAINING);
    OK(latchless_engine_destroy(engine));
    EXPECT(pthread_join(thread, NULL) == 0);
    EXPECT(waiter.status == LATCHLESS_OK);
    OK(latchless_stream_release(stream));
}

static void several_engines(void)
{
    enum { ENGINES = 6 };
    latchless_engine engines[ENGINES];
    latchless_stream streams[ENGINES];
    latchless_agent agents[ENGINES];
    latchless_event event;
    for (int i = 0; i < ENGINES; i++) {
        char name[32], text[32];
        snprintf(name, sizeof name, "agent %d", i);
        snprintf(text, sizeof text, "I am %d", i);
        latchless_request request = ask(text);
        engines[i] = make(1, 0, LATCHLESS_SCRIPT_ECHO);
        OK(latchless_engine_agent(engines[i], name, &agents[i]));
        OK(latchless_engine_submit(engines[i], agents[i], &request, &streams[i]));
        if (i > 0) /* another engine's agent is nobody here */
            EXPECT(latchless_engine_submit(engines[i], agents[i - 1], &request, &streams[i])
                   == LATCHLESS_ERROR_UNKNOWN_AGENT);
    }
    for (int i = ENGINES - 1; i >= 0; i--) {
        char said[32] = "";
        do {
            OK(latchless_stream_wait(streams[i], LATCHLESS_FOREVER, &event));
            strncat(said, (const char *)event.text, sizeof said - strlen(said) - 1);
        } while (event.kind != LATCHLESS_EVENT_FINISHED);
        EXPECT(said[5] == '0' + i);
        if (i % 2)
            OK(latchless_stream_release(streams[i]));
        OK(latchless_engine_destroy(engines[i]));
        if (i % 2 == 0)
            OK(latchless_stream_release(streams[i]));
    }
}

static void a_pool_before_its_leases(void)
{
    latchless_pool pool, other;
    latchless_agent agent, second;
    latchless_lease lease, shared;
    latchless_block blocks[8];
    size_t count;
    OK(latchless_pool_create(NULL, &pool));
    OK(latchless_pool_create(NULL, &other));
    OK(latchless_pool_register(pool, &agent));
    OK(latchless_pool_register(pool, &second));
    OK(latchless_lease_allocate(pool, agent, 0, 8, &lease));
    OK(latchless_pool_allocate(pool, agent, 0, blocks, 8));
    EXPECT(latchless_pool_free(other, agent, blocks, 8, NULL) != LATCHLESS_OK);
    OK(latchless_pool_destroy(pool));
    EXPECT(latchless_pool_free(pool, agent, blocks, 8, NULL) == LATCHLESS_ERROR_STALE_HANDLE);
    OK(latchless_lease_share(lease, second, &shared));
    OK(latchless_lease_release(lease));
    OK(latchless_lease_blocks(shared, NULL, 0, &count));
    EXPECT(count == 8);
    OK(latchless_lease_release(shared));
    OK(latchless_pool_destroy(other));
}

static void swapped_under_load(uint32_t lane_threads)
{
    latchless_engine engine = make(lane_threads, 0, LATCHLESS_SCRIPT_BABBLE);
    latchless_scripted_options scripted;
    latchless_agent agent;
    latchless_request request = ask("Who?");
    latchless_stream before, after;
    latchless_event event;
    latchless_step step;
    uint32_t left;
    OK(latchless_scripted_options_init(&scripted, sizeof scripted));
    scripted.script = LATCHLESS_SCRIPT_TEXT;
    scripted.text = "new";
    OK(latchless_engine_agent(engine, "a", &agent));
    OK(latchless_engine_submit(engine, agent, &request, &before));
    OK(latchless_engine_swap_scripted(engine, &scripted));
    OK(latchless_engine_submit(engine, agent, &request, &after));
    if (lane_threads) {
        OK(latchless_engine_wait_retired(engine, LATCHLESS_FOREVER));
        OK(latchless_engine_drain(engine, LATCHLESS_FOREVER, NULL));
    } else {
        EXPECT(latchless_engine_swap_scripted(engine, &scripted) == LATCHLESS_ERROR_RETIRING);
        do
            OK(latchless_engine_step(engine, 0, &step));
        while (step.progressed || step.running || step.waiting);
        OK(latchless_engine_wait_retired(engine, 0));
    }
    OK(latchless_engine_retiring(engine, &left));
    EXPECT(left == 0);
    for (int i = 0; i < 2; i++) {
        latchless_stream stream = i ? after : before;
        char said[64] = "";
        do {
            /* a drain ends with the requests; their last events are on the way */
            OK(latchless_stream_wait(stream, LATCHLESS_FOREVER, &event));
            strncat(said, (const char *)event.text, sizeof said - strlen(said) - 1);
        } while (event.kind != LATCHLESS_EVENT_FINISHED);
        EXPECT(event.completion.generation == (uint64_t)i);
        EXPECT((strcmp(said, "new") == 0) == (i == 1));
        OK(latchless_stream_release(stream));
    }
    OK(latchless_engine_destroy(engine));
}

int main(void)
{
    for (uint32_t threads = 0; threads < 4; threads++)
        destroyed_with_requests_in_flight(threads & 1, threads >> 1);
    destroyed_from_a_callback(0);
    destroyed_from_a_callback(1);
    destroyed_under_a_wait();
    several_engines();
    a_pool_before_its_leases();
    swapped_under_load(0);
    swapped_under_load(1);
    return 0;
}
