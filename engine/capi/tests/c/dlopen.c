/* The library is loaded, used by a thread with an engine of its own, and unloaded, again and again: it goes
 * away each time, a handle from before is refused after, and what stays behind is bounded.
 *
 *   dlopen LIBRARY ROUNDS */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <latchless.h>

/* glibc's allocator can be asked what is in use, unless the sanitizer's takes its place; and the sanitizer keeps
 * a library loaded that was used under it. */
#if defined(__GLIBC__) && !defined(__SANITIZE_ADDRESS__)
#define COUNTS
#endif

#define EXPECT(condition)                                                                                    \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "dlopen.c:%d: not so: %s\n", __LINE__, #condition);                              \
            exit(1);                                                                                         \
        }                                                                                                    \
    } while (0)

static const char *library;
static latchless_engine kept; /* from the round before */

static void *symbol(void *loaded, const char *name)
{
    void *address = dlsym(loaded, name);
    EXPECT(address != NULL);
    return address;
}

/* dlsym() gives an object's pointer, and POSIX says that it may be a function's. */
#define LOAD(loaded, name)                                                                                   \
    __typeof__(&name) load_##name;                                                                           \
    do {                                                                                                     \
        void *address = symbol(loaded, #name);                                                               \
        memcpy(&load_##name, &address, sizeof address);                                                      \
    } while (0)

/* A thread of its own: what a thread keeps of the library goes when it ends. */
static void *round_of(void *argument)
{
    void *loaded = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (loaded == NULL) {
        fprintf(stderr, "%s\n", dlerror());
        exit(1);
    }
    LOAD(loaded, latchless_abi_version);
    LOAD(loaded, latchless_engine_options_init);
    LOAD(loaded, latchless_engine_create_scripted);
    LOAD(loaded, latchless_engine_agent);
    LOAD(loaded, latchless_request_init);
    LOAD(loaded, latchless_engine_submit);
    LOAD(loaded, latchless_stream_wait);
    LOAD(loaded, latchless_stream_release);
    LOAD(loaded, latchless_engine_destroy);
    LOAD(loaded, latchless_last_error);
    EXPECT(load_latchless_abi_version() == LATCHLESS_ABI_VERSION);

    latchless_status status = load_latchless_engine_destroy(kept);
    EXPECT(status == LATCHLESS_ERROR_NULL_HANDLE || status == LATCHLESS_ERROR_STALE_HANDLE);
    EXPECT(strlen(load_latchless_last_error()) > 0);

    latchless_engine_options options;
    latchless_engine engine;
    latchless_agent agent;
    latchless_request request;
    latchless_stream stream;
    latchless_event event;
    EXPECT(load_latchless_engine_options_init(&options, sizeof options) == LATCHLESS_OK);
    options.lane_threads = 1;
    options.callback_thread = 1;
    EXPECT(load_latchless_engine_create_scripted(&options, NULL, &engine) == LATCHLESS_OK);
    EXPECT(load_latchless_engine_agent(engine, "somebody", &agent) == LATCHLESS_OK);
    EXPECT(load_latchless_request_init(&request, sizeof request) == LATCHLESS_OK);
    request.text = "Anybody there?";
    EXPECT(load_latchless_engine_submit(engine, agent, &request, &stream) == LATCHLESS_OK);
    do
        EXPECT(load_latchless_stream_wait(stream, LATCHLESS_FOREVER, &event) == LATCHLESS_OK);
    while (event.kind != LATCHLESS_EVENT_FINISHED);
    EXPECT(event.completion.reason == LATCHLESS_FINISH_END);
    EXPECT(load_latchless_stream_release(stream) == LATCHLESS_OK);
    EXPECT(load_latchless_engine_destroy(engine) == LATCHLESS_OK);
    kept = engine;
    *(void **)argument = loaded;
    return NULL;
}

int main(int argc, char **argv)
{
    EXPECT(argc == 3);
    library = argv[1];
    long rounds = strtol(argv[2], NULL, 10);
#ifdef COUNTS
    size_t early = 0;
#endif
    for (long round = 0; round < rounds; round++) {
        pthread_t thread;
        void *loaded = NULL;
        EXPECT(pthread_create(&thread, NULL, round_of, &loaded) == 0);
        EXPECT(pthread_join(thread, NULL) == 0);
        EXPECT(dlclose(loaded) == 0);
#ifdef COUNTS
        EXPECT(dlopen(library, RTLD_NOW | RTLD_NOLOAD) == NULL); /* gone */
        if (round == rounds / 2)
            early = mallinfo2().uordblks;
#endif
    }
#ifdef COUNTS
    size_t grown = mallinfo2().uordblks - early;
    long measured = rounds - 1 - rounds / 2;
    printf("%ld rounds; %zu bytes stay behind after each\n", rounds, measured ? grown / (size_t)measured : 0);
    EXPECT(measured == 0 || grown / (size_t)measured < 16384);
#endif
    return 0;
}
