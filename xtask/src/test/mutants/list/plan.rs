//! Plans: changesets, and the table that they are in.

use super::{Mutant, loom};

pub(super) const MUTANTS: &[Mutant] = &[
    loom(
        "plan.seal-skipped",
        "a changeset's records are taken and it stays open",
        "plan::loom_models::loom_sealed_by_one",
    ),
    loom(
        "plan.seal-relaxed",
        "sealing: AcqRel made Relaxed",
        "plan::loom_models::loom_sealed_or_in_the_next",
    ),
    loom(
        "plan.sealed-relaxed",
        "finding a changeset sealed: Acquire made Relaxed",
        "plan::loom_models::loom_sealed_or_in_the_next",
    ),
    loom(
        "plan.segment-relaxed",
        "putting a segment into a changeset: Release made Relaxed",
        "plan::loom_models::loom_sealed_or_in_the_next",
    ),
    loom(
        "plan.put-relaxed",
        "saying that a record is whole: AcqRel made Relaxed",
        "plan::loom_models::loom_sealed_or_in_the_next",
    ),
    loom(
        "plan.close-relaxed",
        "closing a segment: AcqRel made Relaxed",
        "plan::loom_models::loom_sealed_or_in_the_next",
    ),
    loom(
        "plan.closed-unnoticed",
        "who fills a place of a segment that was closed meanwhile does not notice",
        "plan::loom_models::loom_sealed_or_in_the_next",
    ),
    loom(
        "plan.any-life",
        "a place is taken in whatever life the segment is",
        "plan::segment::loom_models::loom_a_late_recorder_is_out_before_the_next_life",
    ),
    loom(
        "plan.late-uncounted",
        "a segment is used again although somebody is about to fill a place of it",
        "plan::segment::loom_models::loom_a_late_recorder_is_out_before_the_next_life",
    ),
    loom(
        "plan.leave-relaxed",
        "leaving a closed segment: AcqRel made Relaxed",
        "plan::segment::loom_models::loom_a_late_recorder_is_out_before_the_next_life",
    ),
    loom(
        "plan.no-tag",
        "the stack of free segments has no tag",
        "plan::segment::loom_models::loom_a_segment_is_in_one_hand",
    ),
    loom(
        "plan.newest-looked-at-once",
        "who finds a changeset sealed does not look for a newer one",
        "plan::loom_models::loom_sealed_or_in_the_next",
    ),
    loom(
        "plan.start-relaxed",
        "publishing a changeset: AcqRel made Relaxed",
        "plan::loom_models::loom_who_records_sees_what_was_done_before_the_start",
    ),
    loom(
        "plan.newest-relaxed",
        "looking for the newest changeset: Acquire made Relaxed",
        "plan::loom_models::loom_who_records_sees_what_was_done_before_the_start",
    ),
    loom(
        "plan.published-unmade",
        "a changeset is published before it is there",
        "plan::loom_models::loom_refused_only_when_all_are_sealed",
    ),
    loom(
        "plan.chunk-relaxed",
        "putting a chunk of entries in: Release made Relaxed",
        "plan::table::loom_models::loom_an_entry_is_whole",
    ),
    loom(
        "plan.chunk-replaced",
        "of two chunks made at once the second replaces the first",
        "plan::table::loom_models::loom_one_of_two_chunks",
    ),
    loom(
        "plan.entry-relaxed",
        "finding an entry: Acquire made Relaxed",
        "plan::table::loom_models::loom_an_entry_is_whole",
    ),
];
