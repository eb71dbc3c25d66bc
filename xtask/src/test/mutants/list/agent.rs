//! Agents: what they are, what they put out, how many there are, and which blocks they lie in.

use super::{Mutant, loom, unit};

pub(super) const MUTANTS: &[Mutant] = &[
    loom(
        "slots.claimed-twice",
        "a slot is claimed whether or not the CAS succeeds",
        "slots::loom_models::loom_a_slot_is_in_one_hand",
    ),
    loom(
        "slots.claim-relaxed",
        "claiming a slot: Acquire made Relaxed",
        "slots::loom_models::loom_a_slot_is_handed_over",
    ),
    loom(
        "slots.free-relaxed",
        "freeing a slot: Release made Relaxed",
        "slots::loom_models::loom_a_slot_is_handed_over",
    ),
    loom(
        "spawner.freed-twice",
        "who does not end a reservation frees its slot too",
        "agent::spawner::loom_models::loom_a_late_cleaner_ends_nobody_else",
    ),
    loom(
        "spawner.freed-before-ended",
        "a slot is free before its reservation has ended",
        "agent::spawner::loom_models::loom_ended_once",
    ),
    loom(
        "spawner.no-generation",
        "the next reservation of a slot has the last one's generation",
        "agent::spawner::loom_models::loom_a_late_cleaner_ends_nobody_else",
    ),
    loom(
        "spawner.reserved-unlooked",
        "a cleaner does not look whether a slot is reserved",
        "agent::spawner::loom_models::loom_a_new_agent_is_not_cleaned_up",
    ),
    loom(
        "spawner.beat-unnoticed",
        "a sign of life counts whether or not the CAS succeeds",
        "agent::spawner::loom_models::loom_a_sign_of_life_counts",
    ),
    loom(
        "state.edge-checked-once",
        "an edge is checked in the state before somebody else's transition",
        "agent::state::loom_models::loom_two_ways_out_of_a_state",
    ),
    loom(
        "state.seen-ignored",
        "who decided by an old snapshot changes the machine as it is now",
        "agent::state::loom_models::loom_no_partial_state",
    ),
    loom(
        "state.no-version",
        "changes are not counted",
        "agent::state::loom_models::loom_a_flag_stays_in_its_turn",
    ),
    unit(
        "state.flag-outlives-turn",
        "the completion flag survives into the next turn",
        "agent::state::machine::tests::case_28_the_flag_ends_with_its_turn_and_not_before",
    ),
    loom(
        "state.change-relaxed",
        "a transition: AcqRel made Relaxed",
        "agent::state::loom_models::loom_what_was_done_is_seen_with_the_state",
    ),
    loom(
        "state.snapshot-relaxed",
        "looking at a machine: Acquire made Relaxed",
        "agent::state::loom_models::loom_what_was_done_is_seen_with_the_state",
    ),
    loom(
        "outbox.publish-relaxed",
        "publishing an item: AcqRel made Relaxed",
        "agent::outbox::loom_models::loom_read_gone_or_there",
    ),
    loom(
        "outbox.taken-twice",
        "an item is taken whether or not the CAS succeeds",
        "agent::outbox::loom_models::loom_each_item_is_read_once",
    ),
    loom(
        "outbox.any-round",
        "a reader takes what is a round younger than what it came for",
        "agent::outbox::loom_models::loom_in_order",
    ),
    unit(
        "outbox.refused-uncounted",
        "an item that went for want of a node is not counted",
        "agent::outbox::tests::without_a_node_the_item_itself_goes",
    ),
    unit(
        "outbox.popped-uncounted",
        "an item that was read counts as one that had to go",
        "agent::outbox::tests::case_33_the_oldest_goes_and_is_counted",
    ),
    unit(
        "outbox.hint-believed",
        "items behind a late hint are not counted",
        "agent::outbox::tests::a_late_hint_is_only_a_detour",
    ),
    loom(
        "inbox.push-relaxed",
        "pushing: Release made Relaxed",
        "inbox::loom_models::loom_two_producers_and_a_consumer",
    ),
    loom(
        "inbox.take-relaxed",
        "taking: Acquire made Relaxed",
        "inbox::loom_models::loom_two_producers_and_a_consumer",
    ),
    unit(
        "inbox.refused-keeps-place",
        "an item that was refused is counted",
        "inbox::tests::comes_out_in_order_and_is_bounded",
    ),
    unit(
        "tables.any-agent",
        "a table of an agent that left replaces that of the slot's next one",
        "agent::tables::tests::a_table_is_its_agents_only",
    ),
    loom(
        "tables.freed-at-once",
        "a replaced table is freed while somebody may be reading it",
        "agent::protected::loom_models::loom_a_pin_keeps_what_it_found",
    ),
    unit(
        "directory.refused-keeps-account",
        "a name that is taken costs an account",
        "agent::directory::tests::a_name_is_given_once",
    ),
    unit(
        "tables.read-any-tenure",
        "an agent reads the table of the one that had its slot before",
        "agent::tables::tests::a_table_is_its_agents_only",
    ),
    unit(
        "tables.remove-any-tenure",
        "an agent that left takes the table of the slot's next one out",
        "agent::tables::tests::a_table_is_its_agents_only",
    ),
];
