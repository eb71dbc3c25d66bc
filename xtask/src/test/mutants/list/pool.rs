//! The pool: permits, spans, owners, accounts and limits.

use super::{Mutant, case, loom, unit};

pub(super) const MUTANTS: &[Mutant] = &[
    loom(
        "permits.refuse-in-half-gather",
        "a refusal while counts are still being moved",
        "pool::permits::loom_models::loom_two_gatherers",
    ),
    unit(
        "permits.refuse-without-gather",
        "a refusal from a sum over the stripes",
        "pool::permits::tests::goes_back_to_spread_and_gathers_again",
    ),
    loom(
        "permits.move-twice",
        "the bit that says that a stripe's count was moved is ignored",
        "pool::permits::loom_models::loom_two_gather_at_once",
    ),
    loom(
        "permits.no-epoch-check",
        "a late helper moves a count into a later gather",
        "pool::permits::loom_models::loom_two_gather_at_once",
    ),
    loom(
        "permits.close-goes-back",
        "a late helper closes a stripe under an older epoch",
        "pool::permits::loom_models::loom_two_gather_at_once",
    ),
    loom(
        "permits.closed-count-again",
        "the count of a closed stripe is moved by the next gather too",
        "pool::permits::loom_models::loom_two_gatherers",
    ),
    loom(
        "permits.reopen-any-label",
        "a stripe is reopened whatever epoch it was closed under",
        "pool::permits::loom_models::loom_two_gatherers",
    ),
    loom(
        "permits.spread-in-half-gather",
        "spread mode begins before all counts are moved",
        "pool::permits::loom_models::loom_two_gather_at_once",
    ),
    loom(
        "permits.release-relaxed",
        "giving permits back to a stripe: Release made Relaxed",
        "pool::loom_models::loom_payload_goes_with_its_block",
    ),
    loom(
        "permits.acquire-relaxed",
        "taking permits from a stripe: Acquire made Relaxed",
        "pool::loom_models::loom_payload_goes_with_its_block",
    ),
    loom(
        "permits.close-relaxed",
        "closing a stripe: AcqRel made Relaxed",
        "pool::loom_models::loom_payload_goes_with_its_block",
    ),
    loom(
        "permits.centre-relaxed",
        "changing the centre: AcqRel made Relaxed",
        "pool::loom_models::loom_payload_goes_with_its_block",
    ),
    loom(
        "serve.overtake",
        "an acquire takes what is promised to those who wait",
        "pool::permits::loom_waiting::loom_acquire_does_not_overtake",
    ),
    loom(
        "serve.release-walks-away",
        "a release leaves those who wait to others",
        "pool::permits::loom_waiting::loom_release_races_with_join",
    ),
    loom(
        "serve.join-unannounced",
        "who joins a queue does not change the centre",
        "pool::permits::loom_waiting::loom_the_queue_ends_while_somebody_joins",
    ),
    loom(
        "serve.note-stays",
        "the centre's note of a grantee outlives its seat",
        "pool::permits::loom_waiting::loom_a_slot_changes_hands_after_a_grant",
    ),
    loom(
        "serve.leave-unannounced",
        "who leaves does not change the centre",
        "pool::permits::loom_waiting::loom_a_slot_changes_hands_during_a_release",
    ),
    loom(
        "serve.hand-over-late",
        "a grant is handed over without looking whether the centre still says so",
        "pool::permits::loom_waiting::loom_a_slot_changes_hands_during_a_release",
    ),
    loom(
        "serve.no-version",
        "words of a queued centre have no version",
        "pool::permits::loom_waiting::loom_a_slot_changes_hands_during_a_release",
    ),
    loom(
        "serve.wake-nobody",
        "a grantee is not woken",
        "pool::permits::loom_waiting::loom_release_races_with_join",
    ),
    loom(
        "queue.waker-unannounced",
        "a waker is replaced without touching the seat",
        "pool::permits::loom_waiting::loom_a_waker_is_replaced_during_a_grant",
    ),
    unit(
        "queue.order-of-slots",
        "the first slot is served, not the first who came",
        "pool::permits::tests::the_order_is_that_of_joining_not_of_slots",
    ),
    loom(
        "span.claim-relaxed",
        "claiming bits: AcqRel made Relaxed",
        "pool::loom_models::loom_payload_goes_with_its_block",
    ),
    loom(
        "span.free-relaxed",
        "freeing bits: AcqRel made Relaxed",
        "pool::loom_models::loom_payload_goes_with_its_block",
    ),
    loom(
        "span.free-whole-relaxed",
        "freeing a whole span: Release made Relaxed",
        "pool::loom_models::loom_payload_goes_with_its_span",
    ),
    loom(
        "free-list.gate-open",
        "the gate of the free list lets everybody in",
        "pool::free_list::loom_models::loom_one_inside_at_a_time",
    ),
    loom(
        "free-list.enter-relaxed",
        "entering the gate: Acquire made Relaxed",
        "pool::free_list::loom_models::loom_one_inside_at_a_time",
    ),
    loom(
        "free-list.leave-relaxed",
        "leaving the gate: Release made Relaxed",
        "pool::free_list::loom_models::loom_one_inside_at_a_time",
    ),
    unit(
        "placement.listed-twice",
        "a span is listed although it is listed",
        "pool::placement::tests::a_span_is_listed_once_at_a_time",
    ),
    loom(
        "exchange.permits-before-bits",
        "permits are given back before the bits that they promise",
        "pool::loom_models::loom_release_and_allocate",
    ),
    loom(
        "exchange.geometry-checked-once",
        "the layer is not looked at again with permits in hand",
        "pool::loom_models::loom_reconfigure_to_fewer_layers",
    ),
    case(
        "owners.no-generation",
        "a block's generation does not grow",
        "pool_cases",
        "case_5_four_ways_to_free_wrongly",
    ),
    loom(
        "handed.claim-twice",
        "a handle is claimed whether or not the CAS succeeds",
        "pool::loom_models::loom_same_handles_freed_twice",
    ),
    unit(
        "handed.no-version",
        "blocks that were handed out again look like those that were out before",
        "pool::owners::handed::tests::a_block_that_was_handed_out_again_is_not_claimed_by_who_saw_it_before",
    ),
    case(
        "handles.refused-in-part",
        "a list with a bad handle keeps the good ones before it",
        "pool_cases",
        "a_bad_handle_leaves_those_of_other_spans_as_they_are",
    ),
    loom(
        "handles.put-back-unwatched",
        "handles of a refused list are put back without looking whether their agent was freed",
        "pool::loom_models::loom_free_agent_and_a_bad_list",
    ),
    loom(
        "handles.leased-unwatched",
        "handles are leased without looking whether their agent was freed",
        "pool::loom_models::loom_free_agent_and_lease_from_handles",
    ),
    loom(
        "owners.holder-uncounted",
        "a holder of shared blocks goes whether or not the CAS succeeds",
        "pool::loom_models::loom_last_holder_frees",
    ),
    unit(
        "owners.regrouped-keeps-generation",
        "what is left of a divided run has the run's generation",
        "pool::owners::tests::what_is_left_of_a_run_is_another_run_also_of_the_same_kind",
    ),
    unit(
        "owners.cut-keeps-generation",
        "what is left of a cut range has the range's generation",
        "pool::owners::tests::a_range_is_cut_into_ranges",
    ),
    case(
        "owners.inert-piece-keeps-generation",
        "a piece of an inert run takes the run's generation to another block",
        "pool_cases",
        "an_inert_lease_frees_nothing_of_later_ones_when_it_is_split",
    ),
    loom(
        "accounts.charge-any-tenure",
        "blocks are charged to a tenure that is over",
        "pool::loom_models::loom_free_agent_and_allocate",
    ),
    unit(
        "accounts.uncharge-any-tenure",
        "a charge of an earlier tenure is taken off the present one",
        "pool::accounts::tests::a_handle_ends_with_its_account",
    ),
    loom(
        "accounts.end-looked-at",
        "whether a tenure is over: a load instead of a read-modify-write",
        "pool::loom_models::loom_free_agent_and_split",
    ),
    unit(
        "accounts.tenure-by-tag",
        "a tenure is told by its tag, which comes round after 32 others",
        "pool::handles::tests::a_free_that_is_overtaken_by_sweeps_takes_nothing_from_a_later_tenure",
    ),
    unit(
        "accounts.empty-tenures-end",
        "freeing an agent that has nothing uses up a number, and nobody walks for it",
        "pool::sweep::tests::sweeps_of_nothing_do_not_hide_blocks_from_a_walk_that_is_late",
    ),
    unit(
        "accounts.any-generation",
        "a handle is good for the slot's next agent",
        "pool::accounts::tests::a_handle_ends_with_its_account",
    ),
    case(
        "accounts.regions-unmarked",
        "where an agent has blocks is not noted",
        "pool_cases",
        "case_6_free_agent",
    ),
    loom(
        "accounts.seen-relaxed",
        "looking at an account: Acquire made Relaxed",
        "pool::loom_models::loom_who_sees_an_account_closed_sees_it_ended",
    ),
    loom(
        "accounts.quota-unannounced",
        "a new quota does not stop charges by the old one",
        "pool::limits::loom_models::loom_no_charge_by_a_quota_that_was_replaced",
    ),
    loom(
        "accounts.quota-seen-once",
        "an agent is refused by its use and its quota of different times",
        "pool::limits::loom_models::loom_no_refusal_by_a_quota_and_a_use_of_different_times",
    ),
    case(
        "accounts.quota-inherited",
        "the quota of an agent that left is the next one's",
        "pool_limits",
        "limits_end_with_their_agent",
    ),
    case(
        "sweep.shared-blocks-too",
        "freeing an agent takes shared blocks whose holders are as many as its slot's number",
        "pool_cases",
        "the_last_holder_of_shared_blocks_frees_them",
    ),
    loom(
        "sweep.any-tenure",
        "freeing an agent takes what it has got since",
        "pool::loom_models::loom_free_agent_and_allocate",
    ),
    case(
        "sweep.reserve-left-behind",
        "the reserve of an agent that leaves stays in its slot",
        "pool_limits",
        "limits_end_with_their_agent",
    ),
    loom(
        "limits.refused-at-first-look",
        "an empty reserve is not looked at again before a refusal",
        "pool::limits::loom_models::loom_no_spurious_refusal_beside_a_reserve",
    ),
    loom(
        "limits.refund-past-reserve",
        "what an agent frees goes to the pool, not to its reserve",
        "pool::limits::loom_models::loom_reserve_after_free_agent_and_drop",
    ),
    loom(
        "limits.transfer-uncovered",
        "blocks leave an agent without its reserve being covered",
        "pool::limits::loom_models::loom_transfer_covers_the_reserve",
    ),
    unit(
        "limits.no-stamp",
        "a reserve that changed and changed back looks unchanged",
        "pool::limits::words::tests::a_reserve_word_keeps_its_parts_apart",
    ),
    case(
        "allocation.place-kept",
        "a caller who gives up waiting keeps its place",
        "pool_waiting",
        "a_deadline_that_passes_leaves_nothing",
    ),
];
