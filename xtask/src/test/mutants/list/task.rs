//! Tasks: words, leases, lanes, records and dependencies.

use super::{Mutant, loom, unit};

pub(super) const MUTANTS: &[Mutant] = &[
    unit(
        "tasks.no-attempt",
        "a claim has the number of the last one",
        "task::tests::case_30_a_claim_returns_when_its_lease_is_over_and_its_late_result_is_refused",
    ),
    unit(
        "tasks.any-attempt",
        "a late result counts as that of the present attempt",
        "task::tests::case_30_a_claim_returns_when_its_lease_is_over_and_its_late_result_is_refused",
    ),
    unit(
        "tasks.no-generation",
        "a slot's next task has the id of the last one",
        "task::tests::the_id_of_a_forgotten_task_finds_nothing",
    ),
    loom(
        "tasks.claimed-twice",
        "a task is claimed whether or not the CAS succeeds",
        "task::loom_models::loom_one_task_is_claimed_once",
    ),
    loom(
        "tasks.any-lane",
        "a claimer takes what has come into the slot that it was sent to",
        "task::loom_models::loom_a_task_for_one_type_is_not_given_to_another",
    ),
    unit(
        "tasks.wrong-lane",
        "tasks are listed for any type and with normal priority",
        "task::tests::case_29_high_before_low_and_types_apart",
    ),
    loom(
        "tasks.step-relaxed",
        "a step of a task: AcqRel made Relaxed",
        "task::loom_models::loom_the_result_is_seen_with_the_status",
    ),
    loom(
        "tasks.status-relaxed",
        "looking at a task: Acquire made Relaxed",
        "task::loom_models::loom_the_result_is_seen_with_the_status",
    ),
    loom(
        "tasks.half-way-unnoticed",
        "who finds nothing does not ask whether somebody is half-way",
        "task::loom_models::loom_a_claimable_task_is_found_though_it_is_not_listed_yet",
    ),
    unit(
        "tasks.dependency-ignored",
        "a task begins before what it depends on",
        "task::tests::case_37_a_task_whose_dependency_failed_never_runs_and_says_why",
    ),
    loom(
        "tasks.outcome-looked-at",
        "how a dependency ended: a load instead of a read-modify-write",
        "task::loom_models::loom_the_last_dependency_lets_the_task_begin",
    ),
    loom(
        "tasks.forgotten-unsettled",
        "a task is forgotten before those that wait for it know how it ended",
        "task::loom_models::loom_forgotten_before_it_is_settled",
    ),
    unit(
        "tasks.attempts-unlimited",
        "a task is tried again for ever",
        "task::tests::attempts_are_used_up",
    ),
    loom(
        "tasks.lease-ignored",
        "claims are taken back before their lease is over",
        "task::loom_models::loom_a_renewed_claim_is_not_taken_back",
    ),
    loom(
        "tasks.started-passed-over",
        "a claim that is started meanwhile is not taken back",
        "task::loom_models::loom_a_claim_that_is_started_is_taken_back",
    ),
    loom(
        "tasks.expired-renewed",
        "a lease that has expired is renewed",
        "task::loom_models::loom_a_renewed_claim_is_not_taken_back",
    ),
    unit(
        "tasks.lease-of-any-attempt",
        "a lease stands for the next attempt too",
        "task::lease::tests::a_claim_whose_claimer_was_frozen_gets_a_lease_from_who_looks",
    ),
    loom(
        "lanes.no-version",
        "listing does not count the word's version up",
        "task::lanes::loom_models::loom_a_claimable_task_is_found",
    ),
    loom(
        "lanes.unlisted-unlooked",
        "a task is taken off its lane without another look at it",
        "task::lanes::loom_models::loom_a_claimable_task_is_found",
    ),
    loom(
        "lanes.upper-bit-once",
        "the upper bit is left to who listed the first neighbour",
        "task::lanes::loom_models::loom_the_upper_bit_follows_the_lower_ones",
    ),
    loom(
        "record.fill-relaxed",
        "filling a record's node: Release made Relaxed",
        "task::record::loom_models::loom_a_record_is_read_whole",
    ),
    loom(
        "record.get-relaxed",
        "coming in to a record: Acquire made Relaxed",
        "task::record::loom_models::loom_a_record_is_read_whole",
    ),
    loom(
        "record.leave-relaxed",
        "leaving a record: AcqRel made Relaxed",
        "task::record::loom_models::loom_the_last_one_empties",
    ),
    loom(
        "record.emptied-relaxed",
        "saying that a node was emptied: AcqRel made Relaxed",
        "task::record::loom_models::loom_a_node_is_used_again_when_its_reader_has_left",
    ),
    loom(
        "record.closed-under-a-reader",
        "a node is emptied while somebody reads it",
        "task::record::loom_models::loom_the_last_one_empties",
    ),
    loom(
        "record.filled-in-use",
        "a node is filled again that a claim of the last task still reads",
        "task::record::loom_models::loom_a_node_is_used_again_when_its_reader_has_left",
    ),
    loom(
        "record.any-generation",
        "a late reader gets the record of the slot's next task",
        "task::record::loom_models::loom_a_late_reader_finds_nothing",
    ),
    loom(
        "record.orphan-emptied",
        "a node is emptied with its queue, though a claim still reads it",
        "task::record::loom_models::loom_readers_outlive_the_cell",
    ),
];
