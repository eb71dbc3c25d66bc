// Latchless for C++17: latchless.h with owners that clean up, and exceptions.
//
// - Objects (Pool, Lease, Engine, Stream, Machine, Tasks, Claim) are move-only and end their handle when they
//   are destroyed. Any member function may be called from any thread, as latchless.h says of the function
//   behind it; moving and destroying an object is its owner's affair alone.
// - A call that fails throws latchless::Error, with the status and the words of latchless_last_error(). What
//   is no failure (no event yet, no task) is an empty std::optional. For real-time threads, on which nobody
//   wants an exception, the members whose names begin with `try_` return the status.
// - Callbacks are any callable that takes `const latchless_event &`. One that throws ends the program, because
//   an exception must not pass through a C library.
#ifndef LATCHLESS_HPP
#define LATCHLESS_HPP

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <latchless.h>

namespace latchless {

/// A call that did nothing, and why.
class Error : public std::runtime_error {
public:
    explicit Error(latchless_status status)
        : std::runtime_error(std::string(latchless_status_name(status)) + ": "
                             + latchless_last_error()),
          status_(status)
    {
    }

    latchless_status status() const noexcept { return status_; }

private:
    latchless_status status_;
};

/// Throws unless the call succeeded.
inline void check(latchless_status status)
{
    if (status != LATCHLESS_OK)
        throw Error(status);
}

/// A duration as latchless.h wants it; the longest one is for ever.
template <class Rep, class Period>
std::uint64_t nanoseconds(std::chrono::duration<Rep, Period> time)
{
    if (time == std::chrono::duration<Rep, Period>::max())
        return LATCHLESS_FOREVER;
    auto count = std::chrono::duration_cast<std::chrono::nanoseconds>(time).count();
    return count < 0 ? 0 : static_cast<std::uint64_t>(count);
}

/// For ever.
inline constexpr std::chrono::nanoseconds forever = std::chrono::nanoseconds::max();

/// Owns a handle: ended once, by whoever has it last.
template <class Handle, latchless_status (*End)(Handle)>
class Owner {
public:
    Owner() noexcept = default;
    /// Takes a handle over.
    explicit Owner(Handle handle) noexcept : handle_(handle) {}
    Owner(Owner &&other) noexcept : handle_(other.release()) {}
    Owner &operator=(Owner &&other) noexcept
    {
        if (this != &other) {
            reset();
            handle_ = other.release();
        }
        return *this;
    }
    Owner(const Owner &) = delete;
    Owner &operator=(const Owner &) = delete;
    ~Owner() { reset(); }

    /// The handle, for functions of latchless.h.
    Handle get() const noexcept { return handle_; }
    explicit operator bool() const noexcept { return handle_.bits != 0; }

    /// Gives the handle away.
    Handle release() noexcept { return std::exchange(handle_, Handle{}); }

    /// Ends the handle now.
    void reset() noexcept
    {
        // In a forked child this is refused, and the object stays the parent's.
        if (handle_.bits != 0)
            static_cast<void>(End(release()));
    }

protected:
    Handle *put() noexcept { return &handle_; }

private:
    Handle handle_{};
};

/// Blocks that are held together.
class Lease : public Owner<latchless_lease, latchless_lease_release> {
public:
    using Owner::Owner;

    /// Another agent's lease on the same blocks.
    Lease share(latchless_agent with)
    {
        Lease shared;
        check(latchless_lease_share(get(), with, shared.put()));
        return shared;
    }

    void transfer(latchless_agent to) { check(latchless_lease_transfer(get(), to)); }

    Lease split(std::uint32_t count)
    {
        Lease split;
        check(latchless_lease_split(get(), count, split.put()));
        return split;
    }

    /// The blocks by number.
    std::vector<std::uint32_t> blocks() const
    {
        std::size_t count = 0;
        check(latchless_lease_blocks(get(), nullptr, 0, &count));
        std::vector<std::uint32_t> blocks(count);
        check(latchless_lease_blocks(get(), blocks.data(), blocks.size(), &count));
        return blocks;
    }

private:
    friend class Pool;
};

/// A pool of KV-cache blocks.
class Pool : public Owner<latchless_pool, latchless_pool_destroy> {
public:
    using Owner::Owner;

    /// The defaults, to be changed and handed to a pool.
    static latchless_pool_options options()
    {
        latchless_pool_options options;
        check(latchless_pool_options_init(&options, sizeof options));
        return options;
    }

    explicit Pool(const latchless_pool_options &options)
    {
        check(latchless_pool_create(&options, put()));
    }

    latchless_agent register_agent()
    {
        latchless_agent agent;
        check(latchless_pool_register(get(), &agent));
        return agent;
    }

    std::uint32_t unregister(latchless_agent agent)
    {
        std::uint32_t freed = 0;
        check(latchless_pool_unregister(get(), agent, &freed));
        return freed;
    }

    std::vector<latchless_block> allocate(latchless_agent agent, std::uint32_t layer, std::size_t count)
    {
        std::vector<latchless_block> blocks(count);
        check(try_allocate(agent, layer, blocks.data(), count));
        return blocks;
    }

    /// For a real-time thread: into the caller's memory, with a status.
    latchless_status try_allocate(latchless_agent agent, std::uint32_t layer, latchless_block *blocks,
                                  std::size_t count) noexcept
    {
        return latchless_pool_allocate(get(), agent, layer, blocks, count);
    }

    void free(latchless_agent agent, const std::vector<latchless_block> &blocks)
    {
        check(try_free(agent, blocks.data(), blocks.size()));
    }

    latchless_status try_free(latchless_agent agent, const latchless_block *blocks,
                              std::size_t count) noexcept
    {
        return latchless_pool_free(get(), agent, blocks, count, nullptr);
    }

    Lease lease(latchless_agent agent, std::uint32_t layer, std::uint32_t count)
    {
        Lease lease;
        check(latchless_lease_allocate(get(), agent, layer, count, lease.put()));
        return lease;
    }

    Lease lease_sequence(latchless_agent agent, std::uint32_t tokens)
    {
        Lease lease;
        check(latchless_lease_allocate_sequence(get(), agent, tokens, lease.put()));
        return lease;
    }

    latchless_usage usage() const
    {
        latchless_usage usage;
        check(latchless_pool_usage(get(), &usage));
        return usage;
    }

    latchless_census census() const
    {
        latchless_census census;
        check(latchless_pool_census(get(), &census, nullptr, 0));
        return census;
    }
};

/// A request, with its texts.
class Request {
public:
    static Request text(std::string text)
    {
        Request request;
        request.text_ = std::move(text);
        return request;
    }

    static Request chat(std::vector<std::pair<std::string, std::string>> messages)
    {
        Request request;
        request.messages_ = std::move(messages);
        return request;
    }

    Request &max_tokens(std::uint32_t tokens)
    {
        request_.max_tokens = tokens;
        return *this;
    }

    Request &stop(std::string text)
    {
        stops_.push_back(std::move(text));
        return *this;
    }

    template <class Rep, class Period>
    Request &within(std::chrono::duration<Rep, Period> time)
    {
        request_.deadline_ns = nanoseconds(time);
        return *this;
    }

    /// Everything else, by the fields of latchless.h.
    latchless_request &fields() noexcept { return request_; }

    /// Calls `use` with the request as C has it, which points into this one.
    template <class Use>
    auto with(Use use) const
    {
        latchless_request request = request_;
        std::vector<latchless_message> messages;
        for (const auto &message : messages_)
            messages.push_back({message.first.c_str(), message.second.c_str()});
        std::vector<const char *> stops;
        for (const auto &stop : stops_)
            stops.push_back(stop.c_str());
        if (text_)
            request.text = text_->c_str();
        request.messages = messages.empty() ? nullptr : messages.data();
        request.message_count = messages.size();
        request.stops = stops.empty() ? nullptr : stops.data();
        request.stop_count = stops.size();
        return use(&request);
    }

private:
    Request() { check(latchless_request_init(&request_, sizeof request_)); }

    latchless_request request_;
    std::optional<std::string> text_;
    std::vector<std::pair<std::string, std::string>> messages_;
    std::vector<std::string> stops_;
};

/// The text of an event.
inline std::string_view text_of(const latchless_event &event)
{
    return {reinterpret_cast<const char *>(event.text), event.text_bytes};
}

/// Everything that a request gave.
struct Answer {
    std::string text;
    latchless_completion completion;
};

/// The events of one request. Destroying it cancels the request, if it has not ended.
class Stream : public Owner<latchless_stream, latchless_stream_release> {
public:
    using Owner::Owner;

    /// The next event if it is there; empty after the last one as well.
    std::optional<latchless_event> poll()
    {
        latchless_event event;
        latchless_status status = latchless_stream_poll(get(), &event);
        if (status == LATCHLESS_ERROR_NO_EVENT || status == LATCHLESS_ERROR_ENDED)
            return std::nullopt;
        check(status);
        return event;
    }

    /// The next event; empty when the time is over, and after the last one.
    std::optional<latchless_event> wait(std::chrono::nanoseconds time = forever)
    {
        latchless_event event;
        latchless_status status = latchless_stream_wait(get(), nanoseconds(time), &event);
        if (status == LATCHLESS_ERROR_TIMED_OUT || status == LATCHLESS_ERROR_ENDED)
            return std::nullopt;
        check(status);
        return event;
    }

    /// Reads to the end.
    Answer read()
    {
        Answer answer{};
        while (auto event = wait()) {
            answer.text += text_of(*event);
            if (event->kind == LATCHLESS_EVENT_FINISHED)
                answer.completion = event->completion;
        }
        return answer;
    }

    void cancel() { check(latchless_stream_cancel(get(), nullptr)); }

private:
    friend class Engine;
};

/// An engine.
class Engine : public Owner<latchless_engine, latchless_engine_destroy> {
public:
    using Owner::Owner;

    static latchless_engine_options options()
    {
        latchless_engine_options options;
        check(latchless_engine_options_init(&options, sizeof options));
        return options;
    }

    static latchless_scripted_options scripted_options()
    {
        latchless_scripted_options options;
        check(latchless_scripted_options_init(&options, sizeof options));
        return options;
    }

    static latchless_llama_options llama_options()
    {
        latchless_llama_options options;
        check(latchless_llama_options_init(&options, sizeof options));
        return options;
    }

    Engine(const latchless_engine_options &options, const latchless_scripted_options &backend)
    {
        check(latchless_engine_create_scripted(&options, &backend, put()));
    }

    Engine(const latchless_engine_options &options, const latchless_llama_options &backend)
    {
        check(latchless_engine_create_llama(&options, &backend, put()));
    }

    latchless_agent agent(const std::string &name)
    {
        latchless_agent agent;
        check(latchless_engine_agent(get(), name.c_str(), &agent));
        return agent;
    }

    Stream submit(latchless_agent agent, const Request &request)
    {
        Stream stream;
        check(request.with([&](const latchless_request *request) {
            return latchless_engine_submit(get(), agent, request, stream.put());
        }));
        return stream;
    }

    /// Calls `on_event` with each event, on the callback thread or where dispatch() is called. It is destroyed
    /// after the last event. Returns the request, for cancel().
    template <class OnEvent>
    std::uint64_t submit(latchless_agent agent, const Request &request, OnEvent on_event)
    {
        using Callable = std::decay_t<OnEvent>;
        auto callable = std::make_unique<Callable>(std::move(on_event));
        std::uint64_t id = 0;
        check(request.with([&](const latchless_request *request) {
            return latchless_engine_submit_callback(get(), agent, request, &call<Callable>,
                                                    callable.get(), &id);
        }));
        static_cast<void>(callable.release()); // the last event's, from now on
        return id;
    }

    void cancel(std::uint64_t request) { check(latchless_engine_cancel(get(), request, nullptr)); }

    std::uint32_t dispatch(std::chrono::nanoseconds time = std::chrono::nanoseconds::zero())
    {
        std::uint32_t events = 0;
        check(latchless_engine_dispatch(get(), nanoseconds(time), &events));
        return events;
    }

    latchless_step step(std::uint32_t lane = 0)
    {
        latchless_step step;
        check(latchless_engine_step(get(), lane, &step));
        return step;
    }

    std::uint32_t drain(std::chrono::nanoseconds time = forever)
    {
        std::uint32_t ended = 0;
        check(latchless_engine_drain(get(), nanoseconds(time), &ended));
        return ended;
    }

    void swap(const latchless_scripted_options &backend)
    {
        check(latchless_engine_swap_scripted(get(), &backend));
    }

    void swap(const latchless_llama_options &backend)
    {
        check(latchless_engine_swap_llama(get(), &backend));
    }

    void wait_retired(std::chrono::nanoseconds time = forever)
    {
        check(latchless_engine_wait_retired(get(), nanoseconds(time)));
    }

    latchless_usage usage() const
    {
        latchless_usage usage;
        check(latchless_engine_usage(get(), &usage));
        return usage;
    }

private:
    /// `noexcept`: an exception ends the program here, and not somewhere in the library.
    template <class Callable>
    static void call(void *user, const latchless_event *event) noexcept
    {
        auto *callable = static_cast<Callable *>(user);
        (*callable)(*event);
        if (event->kind == LATCHLESS_EVENT_FINISHED)
            delete callable;
    }
};

/// What an agent is doing.
class Machine : public Owner<latchless_machine, latchless_machine_destroy> {
public:
    Machine() { check(latchless_machine_create(put())); }

    latchless_snapshot snapshot() const
    {
        latchless_snapshot snapshot;
        check(latchless_machine_snapshot(get(), &snapshot));
        return snapshot;
    }

    latchless_snapshot transition(std::uint32_t to)
    {
        latchless_snapshot now;
        check(latchless_machine_transition(get(), to, &now));
        return now;
    }

    latchless_snapshot set_completion(bool detected)
    {
        latchless_snapshot now;
        check(latchless_machine_set_completion(get(), detected, &now));
        return now;
    }
};

/// A task in somebody's hands.
class Claim : public Owner<latchless_claim, latchless_claim_release> {
public:
    using Owner::Owner;

    latchless_claim_info info() const
    {
        latchless_claim_info info;
        check(latchless_claim_describe(get(), &info));
        return info;
    }

    std::string payload() const
    {
        std::string payload(info().payload_bytes, '\0');
        check(latchless_claim_payload(get(), payload.data(), payload.size(), nullptr));
        return payload;
    }

    void start() { check(latchless_claim_start(get())); }
    void complete() { check(latchless_claim_complete(get())); }
    void fail() { check(latchless_claim_fail(get())); }
    void give_back() { check(latchless_claim_give_back(get())); }
    void renew(std::uint64_t now) { check(latchless_claim_renew(get(), now)); }

private:
    friend class Tasks;
};

/// A queue of tasks.
class Tasks : public Owner<latchless_tasks, latchless_tasks_destroy> {
public:
    using Owner::Owner;

    static latchless_tasks_options options()
    {
        latchless_tasks_options options;
        check(latchless_tasks_options_init(&options, sizeof options));
        return options;
    }

    explicit Tasks(const latchless_tasks_options &options)
    {
        check(latchless_tasks_create(&options, put()));
    }

    latchless_task submit(std::string_view payload, std::uint32_t priority = LATCHLESS_PRIORITY_NORMAL,
                          std::uint32_t agent_type = LATCHLESS_ANY_TYPE)
    {
        latchless_task task;
        check(latchless_tasks_submit(get(), priority, agent_type, payload.data(), payload.size(), &task));
        return task;
    }

    /// Empty when there is none to claim.
    std::optional<Claim> claim(std::uint32_t worker, std::uint64_t now,
                               std::uint32_t agent_type = LATCHLESS_ANY_TYPE)
    {
        Claim claim;
        latchless_status status = latchless_tasks_claim(get(), worker, agent_type, now, claim.put());
        if (status == LATCHLESS_ERROR_NO_TASK)
            return std::nullopt;
        check(status);
        return claim;
    }

    std::uint32_t status(latchless_task task) const
    {
        std::uint32_t status = 0;
        check(latchless_tasks_status(get(), task, &status));
        return status;
    }

    void forget(latchless_task task) { check(latchless_tasks_forget(get(), task)); }
};

} // namespace latchless

#endif // LATCHLESS_HPP
