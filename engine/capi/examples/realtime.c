/* A host with a real-time loop: every period it takes KV-cache blocks, hands a request to the engine, reads
 * what has come of earlier ones, and gives blocks back. At the end it prints its worst tick.
 *
 *   realtime [--seconds N] [--period-us N] [--churn N] [--freeze] [--fifo N] [--limit-us N]
 *
 * --churn N   as many threads take and give back blocks of the same pool all the time
 * --freeze    one of these is stopped again and again, for 5 ms, by a signal at whatever instruction it is:
 *             somewhere inside the library, as a rule
 * --fifo N    gives the loop's thread, and no other, the real-time priority N (1 to 99), and locks the process's
 *             memory: as a host would. Needs root or CAP_SYS_NICE
 * --limit-us  exit code 1 when the calls of some tick took longer, not counting ticks in which the system
 *             took the thread off its core: what that costs is for priorities and free cores to mend
 *
 * Only calls into Latchless are timed, and three figures are told: by the wall clock, by the thread's own CPU
 * time, and by the wall clock in ticks without preemption. */

#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <latchless.h>

enum { BLOCKS = 8192, LAYERS = 4, TICK_BLOCKS = 48, KEPT_TICKS = 8, STREAMS = 16, MOST_CHURN = 64 };

/* Ends the program when a call fails that must not. */
#define MUST(call) must((call), #call, __LINE__)

static void must(latchless_status status, const char *call, int line)
{
    if (status != LATCHLESS_OK) {
        fprintf(stderr, "realtime.c:%d: %s: %s: %s\n", line, call, latchless_status_name(status),
                latchless_last_error());
        exit(2);
    }
}

static uint64_t clock_ns(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ------------------------------------------------------------------ threads that are in the way */

static atomic_bool over;
static atomic_ulong churned, frozen;

struct churner {
    latchless_pool pool;
    pthread_t thread;
    unsigned seed;
};

static void freeze(int signal)
{
    (void)signal;
    int before = errno;
    struct timespec time = {0, 5000000};
    atomic_fetch_add_explicit(&frozen, 1, memory_order_relaxed);
    nanosleep(&time, NULL); /* may be used in a handler, says POSIX */
    errno = before;
}

static void *churn(void *argument)
{
    struct churner *self = argument;
    latchless_agent agent, other;
    latchless_block blocks[256];
    MUST(latchless_pool_register(self->pool, &agent));
    MUST(latchless_pool_register(self->pool, &other));
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        size_t count = 1 + (size_t)rand_r(&self->seed) % 256;
        uint32_t layer = (uint32_t)rand_r(&self->seed) % LAYERS;
        if (latchless_pool_allocate(self->pool, agent, layer, blocks, count) != LATCHLESS_OK)
            continue; /* exhausted for the moment: others have them */
        if (count % 4 == 0) {
            latchless_lease lease, shared;
            MUST(latchless_lease_from_blocks(self->pool, agent, layer, blocks, count, &lease));
            MUST(latchless_lease_share(lease, other, &shared));
            MUST(latchless_lease_release(lease));
            MUST(latchless_lease_release(shared));
        } else {
            MUST(latchless_pool_free(self->pool, agent, blocks, count, NULL));
        }
        atomic_fetch_add_explicit(&churned, 1, memory_order_relaxed);
    }
    MUST(latchless_pool_unregister(self->pool, agent, NULL));
    MUST(latchless_pool_unregister(self->pool, other, NULL));
    return NULL;
}

static void *freezer(void *argument)
{
    struct churner *victim = argument;
    struct timespec pause = {0, 7000000};
    while (!atomic_load_explicit(&over, memory_order_relaxed)) {
        pthread_kill(victim->thread, SIGUSR2);
        nanosleep(&pause, NULL);
    }
    return NULL;
}

/* ------------------------------------------------------------------ the loop */

/* The calls into Latchless of one tick, by two clocks. */
struct timer {
    uint64_t wall, cpu, wall_start, cpu_start;
};

static void begin(struct timer *timer)
{
    timer->cpu_start = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    timer->wall_start = clock_ns(CLOCK_MONOTONIC);
}

static void end(struct timer *timer)
{
    timer->wall += clock_ns(CLOCK_MONOTONIC) - timer->wall_start;
    timer->cpu += clock_ns(CLOCK_THREAD_CPUTIME_ID) - timer->cpu_start;
}

static long preemptions(void)
{
    struct rusage usage;
    getrusage(RUSAGE_THREAD, &usage);
    return usage.ru_nivcsw;
}

struct host {
    latchless_pool pool;
    latchless_engine engine;
    latchless_agent owner, agent;
    latchless_request request;
    latchless_block blocks[KEPT_TICKS][TICK_BLOCKS];
    int has_blocks[KEPT_TICKS];
    latchless_stream streams[STREAMS];
    unsigned long submitted, finished, tokens, refused;
};

/* Reads what has come of a request; ends its stream with its last event. */
static void read_stream(struct host *host, latchless_stream *stream, struct timer *timer)
{
    latchless_event event;
    while (stream->bits != 0) {
        begin(timer);
        latchless_status status = latchless_stream_poll(*stream, &event);
        end(timer);
        if (status == LATCHLESS_ERROR_NO_EVENT)
            return;
        must(status, "latchless_stream_poll", __LINE__);
        if (event.kind == LATCHLESS_EVENT_TOKEN)
            host->tokens++;
        if (event.kind == LATCHLESS_EVENT_FINISHED) {
            begin(timer);
            status = latchless_stream_release(*stream);
            end(timer);
            must(status, "latchless_stream_release", __LINE__);
            memset(stream, 0, sizeof *stream);
            host->finished++;
        }
    }
}

/* Reads a request to its end, which may still be on its way when a drain returns. */
static void finish_stream(struct host *host, latchless_stream *stream)
{
    latchless_event event;
    while (stream->bits != 0) {
        MUST(latchless_stream_wait(*stream, 10000000000u, &event));
        if (event.kind == LATCHLESS_EVENT_TOKEN)
            host->tokens++;
        if (event.kind == LATCHLESS_EVENT_FINISHED) {
            MUST(latchless_stream_release(*stream));
            memset(stream, 0, sizeof *stream);
            host->finished++;
        }
    }
}

static void tick(struct host *host, unsigned long number, struct timer *timer)
{
    latchless_status status;
    unsigned slot = (unsigned)(number % KEPT_TICKS);
    if (host->has_blocks[slot]) {
        begin(timer);
        status = latchless_pool_free(host->pool, host->owner, host->blocks[slot], TICK_BLOCKS, NULL);
        end(timer);
        must(status, "latchless_pool_free", __LINE__);
    }
    begin(timer);
    status = latchless_pool_allocate(host->pool, host->owner, (uint32_t)(number % LAYERS),
                                     host->blocks[slot], TICK_BLOCKS);
    end(timer);
    must(status, "latchless_pool_allocate", __LINE__); /* they are reserved for us */
    host->has_blocks[slot] = 1;

    latchless_stream *stream = &host->streams[number % STREAMS];
    read_stream(host, stream, timer);
    if (stream->bits == 0) {
        begin(timer);
        status = latchless_engine_submit(host->engine, host->agent, &host->request, stream);
        end(timer);
        if (status == LATCHLESS_OK) {
            host->submitted++;
        } else {
            memset(stream, 0, sizeof *stream);
            host->refused++;
        }
    }
    for (int i = 0; i < STREAMS; i++)
        read_stream(host, &host->streams[i], timer);
}

static unsigned long number(const char *text)
{
    char *rest;
    errno = 0;
    unsigned long value = strtoul(text, &rest, 10);
    if (errno != 0 || rest == text || *rest != '\0') {
        fprintf(stderr, "%s is no number\n", text);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    unsigned long seconds = 2, period_us = 1000, churners = 0, fifo = 0, limit_us = 0;
    int freezes = 0;
    for (int i = 1; i < argc; i++) {
        int has_value = i + 1 < argc;
        if (strcmp(argv[i], "--freeze") == 0) {
            freezes = 1;
        } else if (has_value && strcmp(argv[i], "--seconds") == 0) {
            seconds = number(argv[++i]);
        } else if (has_value && strcmp(argv[i], "--period-us") == 0) {
            period_us = number(argv[++i]);
        } else if (has_value && strcmp(argv[i], "--churn") == 0) {
            churners = number(argv[++i]);
        } else if (has_value && strcmp(argv[i], "--fifo") == 0) {
            fifo = number(argv[++i]);
        } else if (has_value && strcmp(argv[i], "--limit-us") == 0) {
            limit_us = number(argv[++i]);
        } else {
            fprintf(stderr,
                    "%s [--seconds N] [--period-us N] [--churn N] [--freeze] [--fifo N] [--limit-us N]\n",
                    argv[0]);
            return 2;
        }
    }
    if (churners > MOST_CHURN || period_us == 0 || fifo > 99 || (freezes && churners == 0)) {
        fprintf(stderr, "at most %d churners, a period, a priority below 100, and somebody to freeze\n",
                MOST_CHURN);
        return 2;
    }
    if (latchless_abi_version() != LATCHLESS_ABI_VERSION) {
        fprintf(stderr, "this program was built for another ABI of Latchless\n");
        return 2;
    }

    static struct host host; /* zeroed, and no larger than it is */
    latchless_pool_options pool_options;
    MUST(latchless_pool_options_init(&pool_options, sizeof pool_options));
    pool_options.blocks = BLOCKS;
    pool_options.layers = LAYERS;
    MUST(latchless_pool_create(&pool_options, &host.pool));
    MUST(latchless_pool_register(host.pool, &host.owner));
    /* Whatever the churners take, these are ours. */
    MUST(latchless_pool_set_reserve(host.pool, host.owner, KEPT_TICKS * TICK_BLOCKS));

    latchless_engine_options engine_options;
    latchless_scripted_options scripted;
    MUST(latchless_engine_options_init(&engine_options, sizeof engine_options));
    MUST(latchless_scripted_options_init(&scripted, sizeof scripted));
    engine_options.lane_threads = 1;
    scripted.script = LATCHLESS_SCRIPT_BABBLE;
    scripted.tokens = 16;
    scripted.pace_ns = 100000;
    MUST(latchless_engine_create_scripted(&engine_options, &scripted, &host.engine));
    MUST(latchless_engine_agent(host.engine, "loop", &host.agent));
    MUST(latchless_request_init(&host.request, sizeof host.request));
    host.request.text = "What does the sensor say?";
    host.request.max_tokens = 16;

    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = freeze;
    action.sa_flags = SA_RESTART;
    sigaction(SIGUSR2, &action, NULL);
    static struct churner churner[MOST_CHURN];
    pthread_t freezing;
    for (unsigned long i = 0; i < churners; i++) {
        churner[i].pool = host.pool;
        churner[i].seed = (unsigned)i + 1;
        if (pthread_create(&churner[i].thread, NULL, churn, &churner[i]) != 0)
            return 2;
    }
    if (freezes && pthread_create(&freezing, NULL, freezer, &churner[0]) != 0)
        return 2;

    /* Each thread's first calls set something up: its number, its part of the heap. */
    struct timer warm = {0, 0, 0, 0};
    for (unsigned long i = 0; i < 100; i++)
        tick(&host, i, &warm);

    /* After the other threads were made, which would have the priority, too. */
    if (fifo != 0) {
        struct sched_param priority = {.sched_priority = (int)fifo};
        int failed = pthread_setschedparam(pthread_self(), SCHED_FIFO, &priority);
        if (failed == 0 && mlockall(MCL_CURRENT) != 0)
            failed = errno;
        if (failed != 0) {
            fprintf(stderr, "--fifo %lu: %s; run it as root, or with CAP_SYS_NICE and CAP_IPC_LOCK\n", fifo,
                    strerror(failed));
            return 2;
        }
    }

    uint64_t worst_wall = 0, worst_cpu = 0, worst_calm = 0, sum = 0;
    unsigned long ticks = 0, preempted = 0, late = 0;
    uint64_t next = clock_ns(CLOCK_MONOTONIC), stop = next + seconds * 1000000000ull;
    while (next < stop) {
        struct timer timer = {0, 0, 0, 0};
        long before = preemptions();
        tick(&host, 100 + ticks, &timer);
        int calm = preemptions() == before;
        ticks++;
        preempted += !calm;
        sum += timer.wall;
        if (timer.wall > worst_wall)
            worst_wall = timer.wall;
        if (timer.cpu > worst_cpu)
            worst_cpu = timer.cpu;
        if (calm && timer.wall > worst_calm)
            worst_calm = timer.wall;
        next += period_us * 1000;
        uint64_t now = clock_ns(CLOCK_MONOTONIC);
        if (now >= next) {
            late++;
            next = now; /* a tick that is late is not made up for */
        }
        struct timespec until = {(time_t)(next / 1000000000u), (long)(next % 1000000000u)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
            ;
    }

    atomic_store(&over, true);
    if (freezes)
        pthread_join(freezing, NULL);
    for (unsigned long i = 0; i < churners; i++)
        pthread_join(churner[i].thread, NULL);

    MUST(latchless_engine_drain(host.engine, 10000000000u, NULL));
    for (int i = 0; i < STREAMS; i++)
        finish_stream(&host, &host.streams[i]);
    latchless_usage engine_usage;
    MUST(latchless_engine_usage(host.engine, &engine_usage));
    MUST(latchless_engine_destroy(host.engine));
    uint32_t freed;
    MUST(latchless_pool_unregister(host.pool, host.owner, &freed));
    latchless_census census;
    MUST(latchless_pool_census(host.pool, &census, NULL, 0));
    MUST(latchless_pool_destroy(host.pool));

    printf("ticks %lu, submitted %lu, finished %lu, tokens %lu, refused %lu\n", ticks, host.submitted,
           host.finished, host.tokens, host.refused);
    printf("churned %lu rounds, frozen %lu times\n", atomic_load(&churned), atomic_load(&frozen));
    printf("calls of a tick: mean %.1f us\n", ticks ? (double)sum / (double)ticks / 1e3 : 0.0);
    printf("worst tick: %.1f us by the wall clock, %.1f us of CPU time\n", (double)worst_wall / 1e3,
           (double)worst_cpu / 1e3);
    printf("worst tick without preemption: %.1f us; %lu ticks with, %lu late\n", (double)worst_calm / 1e3,
           preempted, late);

    if (host.submitted != host.finished || freed != KEPT_TICKS * TICK_BLOCKS || engine_usage.used != 0
        || census.free != census.total || census.in_flight != 0) {
        fprintf(stderr, "something was lost\n");
        return 1;
    }
    if (limit_us != 0 && worst_calm > limit_us * 1000) {
        fprintf(stderr, "a tick took longer than %lu us\n", limit_us);
        return 1;
    }
    return 0;
}
