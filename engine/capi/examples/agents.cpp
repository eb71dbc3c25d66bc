// A host in C++: agents that claim tasks, ask the engine, and tell what came of it, with owners that clean up
// behind them.
//
//   agents [MODEL.gguf]     with a model, or with a script when none is named

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <thread>
#include <vector>

#include <latchless.hpp>

namespace {

/// Ends the program, also where assert() would not.
void expect(bool is_so, const char *what)
{
    if (!is_so) {
        std::fprintf(stderr, "agents.cpp: not so: %s\n", what);
        std::exit(1);
    }
}

latchless::Engine make_engine(int argc, char **argv)
{
    auto options = latchless::Engine::options();
    options.lane_threads = 1;
    options.callback_thread = 1;
    if (argc > 1) {
        auto model = latchless::Engine::llama_options();
        model.model_path = argv[1];
        return latchless::Engine(options, model);
    }
    auto script = latchless::Engine::scripted_options();
    script.script = LATCHLESS_SCRIPT_ECHO;
    return latchless::Engine(options, script);
}

/// One agent: claims tasks until there are none.
void work(latchless::Engine &engine, latchless::Tasks &tasks, unsigned worker, std::atomic<unsigned> &done)
{
    auto agent = engine.agent("agent-" + std::to_string(worker));
    latchless::Machine machine;
    while (auto claim = tasks.claim(worker, 0)) {
        claim->start();
        machine.transition(LATCHLESS_STATE_ASSISTANT);
        auto request = latchless::Request::text(claim->payload()).max_tokens(32);
        auto answer = engine.submit(agent, request).read();
        machine.set_completion(true);
        machine.transition(LATCHLESS_STATE_RESPONSE);
        expect(answer.completion.reason == LATCHLESS_FINISH_END
                   || answer.completion.reason == LATCHLESS_FINISH_LENGTH,
               "the answer is whole");
        claim->complete();
        done++;
    }
}

void pool_and_leases()
{
    auto options = latchless::Pool::options();
    options.blocks = 256;
    latchless::Pool pool(options);
    auto planner = pool.register_agent();
    auto writer = pool.register_agent();
    auto blocks = pool.allocate(planner, 0, 40);
    {
        auto prefix = pool.lease(planner, 0, 16);
        auto shared = prefix.share(writer);
        expect(shared.blocks() == prefix.blocks(), "both have the same blocks");
        expect(pool.census().shared == 16, "they are counted as shared");
        auto moved = std::move(prefix); // the handle goes along
        expect(!prefix && moved, "a lease that was moved from has none");
    }
    expect(pool.usage().used == 40, "the last holder freed the prefix");
    try {
        pool.allocate(planner, 0, 1000);
        expect(false, "more than there is was refused");
    } catch (const latchless::Error &error) {
        expect(error.status() == LATCHLESS_ERROR_EXHAUSTED, "refused for want of blocks");
    }
    pool.free(planner, blocks);
    expect(pool.usage().free == 256, "all is back");
    expect(pool.unregister(writer) == 0, "the writer has nothing left");
}

} // namespace

int main(int argc, char **argv)
try {
    pool_and_leases();

    auto engine = make_engine(argc, argv);
    latchless::Tasks tasks(latchless::Tasks::options());
    constexpr unsigned count = 24, workers = 3;
    for (unsigned i = 0; i < count; i++)
        tasks.submit("What is " + std::to_string(i) + " squared?");

    std::atomic<unsigned> done{0};
    std::vector<std::thread> threads;
    for (unsigned worker = 0; worker < workers; worker++)
        threads.emplace_back([&, worker] { work(engine, tasks, worker, done); });
    for (auto &thread : threads)
        thread.join();
    expect(done == count, "every task was done once");

    // A callback is a lambda; what it holds is gone after the last event.
    auto agent = engine.agent("narrator");
    auto text = std::make_shared<std::string>();
    std::atomic<bool> finished{false};
    engine.submit(agent, latchless::Request::text("Tell it.").max_tokens(16),
                  [text, &finished](const latchless_event &event) {
                      *text += latchless::text_of(event);
                      if (event.kind == LATCHLESS_EVENT_FINISHED)
                          finished = true;
                  });
    engine.drain(std::chrono::seconds(60));
    while (!finished)
        std::this_thread::yield();
    while (text.use_count() > 1)
        std::this_thread::yield();

    // An engine may go with requests in flight: each is told so.
    std::atomic<int> told{0};
    auto endless = latchless::Engine::scripted_options();
    endless.script = LATCHLESS_SCRIPT_ENDLESS;
    {
        latchless::Engine other(latchless::Engine::options(), endless);
        auto someone = other.agent("someone");
        for (int i = 0; i < 4; i++)
            other.submit(someone, latchless::Request::text("Go on.").max_tokens(100),
                         [&told](const latchless_event &event) {
                             if (event.kind == LATCHLESS_EVENT_FINISHED)
                                 told++;
                         });
        other.step();
        other.dispatch();
    }
    expect(told == 4, "every request had its last event");

    std::printf("%u tasks by %u agents; the narrator said: %s\n", done.load(), workers, text->c_str());
    return 0;
} catch (const latchless::Error &error) {
    std::fprintf(stderr, "agents: %s\n", error.what());
    return 2;
}
