//! The engine: what hosts and a lane meet in.

use super::{Mutant, engine_loom};

pub(super) const MUTANTS: &[Mutant] = &[
    engine_loom(
        "bell.ring-relaxed",
        "ringing a lane's bell: Release made Relaxed",
        "engine::bell::loom_models::loom_every_ring_is_answered",
    ),
    engine_loom(
        "bell.heard-relaxed",
        "hearing a bell: Acquire made Relaxed",
        "engine::bell::loom_models::loom_every_ring_is_answered",
    ),
    engine_loom(
        "bell.sleeps-unlooked",
        "a lane falls asleep without looking whether it was rung for meanwhile",
        "engine::bell::loom_models::loom_every_ring_is_answered",
    ),
    engine_loom(
        "bell.first-wakes",
        "the first who rings takes the duty to wake from the others",
        "engine::bell::loom_models::loom_a_frozen_ringer_keeps_no_duty",
    ),
    engine_loom(
        "gate.limit-ignored",
        "more requests come in than may",
        "engine::gate::loom_models::loom_one_after_the_other",
    ),
    engine_loom(
        "gate.enter-relaxed",
        "coming in: AcqRel made Relaxed",
        "engine::gate::loom_models::loom_one_after_the_other",
    ),
    engine_loom(
        "gate.leave-relaxed",
        "going out: AcqRel made Relaxed",
        "engine::gate::loom_models::loom_a_drain_sees_all_out",
    ),
    engine_loom(
        "gate.drained-relaxed",
        "the end of a drain: Acquire made Relaxed",
        "engine::gate::loom_models::loom_a_drain_sees_all_out",
    ),
    engine_loom(
        "gate.last-out-silent",
        "the last one out does not wake who drains",
        "engine::gate::loom_models::loom_a_drain_sees_all_out",
    ),
    engine_loom(
        "gate.drain-looks-first",
        "who drains looks before it can be woken, and not after",
        "engine::gate::loom_models::loom_a_drain_sees_all_out",
    ),
    engine_loom(
        "gate.deserted-unsaid",
        "the last one out of a replaced lane does not tell it",
        "engine::loom_models::loom_a_deserted_lane_ends",
    ),
    engine_loom(
        "roster.claimed-twice",
        "a place is taken whether or not the CAS succeeds",
        "engine::roster::loom_models::loom_two_ids_in_two_places",
    ),
    engine_loom(
        "roster.cancel-any",
        "a cancel marks whoever has the place by then",
        "engine::roster::loom_models::loom_a_late_cancel_hits_nobody_else",
    ),
    engine_loom(
        "roster.news-relaxed",
        "telling of a cancel: Release made Relaxed",
        "engine::roster::loom_models::loom_a_cancel_is_found",
    ),
    engine_loom(
        "roster.take-news-relaxed",
        "hearing of a cancel: Acquire made Relaxed",
        "engine::roster::loom_models::loom_a_cancel_is_found",
    ),
    engine_loom(
        "roster.news-stored",
        "a cancel's news are stored over those of another one",
        "engine::roster::loom_models::loom_a_cancel_is_found",
    ),
    engine_loom(
        "mailbox.post-unfenced",
        "who posts to a lane does not fence before it looks whether that is closed",
        "engine::mailbox::loom_models::loom_nothing_is_left_behind",
    ),
    engine_loom(
        "mailbox.rest-unfenced",
        "who closes a lane does not fence before it takes the rest",
        "engine::mailbox::loom_models::loom_nothing_is_left_behind",
    ),
    engine_loom(
        "stream.pause-relaxed",
        "a lane that pauses a request: AcqRel made Relaxed",
        "engine::loom_models::loom_a_reader_that_is_behind",
    ),
    engine_loom(
        "stream.resume-relaxed",
        "a reader that has made room: AcqRel made Relaxed",
        "engine::loom_models::loom_a_reader_that_is_behind",
    ),
    engine_loom(
        "stream.pause-unlooked",
        "a lane that pauses a request does not look for room once more",
        "engine::loom_models::loom_a_reader_that_is_behind",
    ),
    engine_loom(
        "stream.paused-loaded",
        "a reader that has made room only loads whether the lane waits",
        "engine::loom_models::loom_a_reader_that_is_behind",
    ),
    engine_loom(
        "stream.parks-unlooked",
        "a reader that can be woken sleeps without looking once more",
        "engine::loom_models::loom_a_reader_that_is_behind",
    ),
    engine_loom(
        "ticket.published-first",
        "a request's end is said before its blocks and its seat are given back",
        "engine::loom_models::loom_the_end_is_said_when_everything_is_given_back",
    ),
];
