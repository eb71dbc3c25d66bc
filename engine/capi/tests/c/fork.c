/* A child of fork() has none of the engine's threads. Each of its calls is refused, and the parent goes on as
 * if nothing had been. A child that was forked before the first object may use the library. */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <latchless.h>

#define EXPECT(condition)                                                                                    \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "fork.c:%d: not so: %s\n", __LINE__, #condition);                                \
            _exit(1);                                                                                        \
        }                                                                                                    \
    } while (0)

static void wait_for(pid_t child)
{
    int status;
    EXPECT(child > 0 && waitpid(child, &status, 0) == child);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(void)
{
    latchless_pool pool;
    pid_t child = fork();
    if (child == 0) {
        EXPECT(latchless_pool_create(NULL, &pool) == LATCHLESS_OK);
        EXPECT(latchless_pool_destroy(pool) == LATCHLESS_OK);
        _exit(0);
    }
    wait_for(child);

    latchless_engine_options options;
    latchless_engine engine;
    latchless_agent agent, owner;
    latchless_request request;
    latchless_stream stream;
    latchless_block block;
    EXPECT(latchless_pool_create(NULL, &pool) == LATCHLESS_OK);
    EXPECT(latchless_pool_register(pool, &owner) == LATCHLESS_OK);
    EXPECT(latchless_engine_options_init(&options, sizeof options) == LATCHLESS_OK);
    options.lane_threads = 1;
    EXPECT(latchless_engine_create_scripted(&options, NULL, &engine) == LATCHLESS_OK);
    EXPECT(latchless_engine_agent(engine, "parent", &agent) == LATCHLESS_OK);
    EXPECT(latchless_request_init(&request, sizeof request) == LATCHLESS_OK);
    request.text = "Hello?";

    child = fork();
    if (child == 0) {
        EXPECT(latchless_engine_submit(engine, agent, &request, &stream) == LATCHLESS_ERROR_FORKED);
        EXPECT(strstr(latchless_last_error(), "exec") != NULL);
        EXPECT(latchless_pool_allocate(pool, owner, 0, &block, 1) == LATCHLESS_ERROR_FORKED);
        EXPECT(latchless_pool_create(NULL, &pool) == LATCHLESS_ERROR_FORKED);
        EXPECT(latchless_engine_drain(engine, LATCHLESS_FOREVER, NULL) == LATCHLESS_ERROR_FORKED);
        EXPECT(latchless_engine_destroy(engine) == LATCHLESS_ERROR_FORKED);
        EXPECT(latchless_abi_version() == LATCHLESS_ABI_VERSION);
        child = fork(); /* a grandchild is one as well */
        if (child == 0)
            _exit(latchless_pool_destroy(pool) == LATCHLESS_ERROR_FORKED ? 0 : 1);
        wait_for(child);
        _exit(0);
    }
    wait_for(child);

    EXPECT(latchless_pool_allocate(pool, owner, 0, &block, 1) == LATCHLESS_OK);
    EXPECT(latchless_engine_submit(engine, agent, &request, &stream) == LATCHLESS_OK);
    EXPECT(latchless_engine_drain(engine, LATCHLESS_FOREVER, NULL) == LATCHLESS_OK);
    EXPECT(latchless_stream_release(stream) == LATCHLESS_OK);
    EXPECT(latchless_engine_destroy(engine) == LATCHLESS_OK);
    EXPECT(latchless_pool_destroy(pool) == LATCHLESS_OK);
    return 0;
}
