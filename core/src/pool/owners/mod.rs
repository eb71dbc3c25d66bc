//! Owners decide **whose**: one word per block, and who changes it by CAS has the right to do so.
//!
//! # Runs
//!
//! Blocks are owned in *runs*, so that the cost of owning grows with requests, not with blocks. A run is
//! a set of blocks of one span, or a range of whole spans. Its lowest block is the *head*, and the head's
//! word speaks for all: agent slot, generation, and beside it the extent of the run. The words of the
//! other blocks stay `Free` and only remember their generation. So
//!
//! - taking a run is one store, giving it back one CAS, whatever its size;
//! - a word that is not `Free` is the head of something that lives now.
//!
//! Beside each word there are 32 bits for the extent: the run's mask in its half of the span. A run over
//! both halves keeps the other half's mask beside its second block, which is no head while the run
//! lives; so its lower half has two blocks at least, and a set with only one there is two runs. A range
//! keeps the number of its further spans. Word, extent and bit are 12.2 bytes a block, 13 with the
//! span's padding.
//!
//! # Generations
//!
//! A word's generation grows each time the block ends a life as a head. A run in a lease, and a handle,
//! carry the generation that they were given, so a CAS from the exact word they expect succeeds for one
//! holder, once: whoever comes late finds another generation and leaves everything as it is. The counter
//! has 32 bits and wraps: a stale handle is mistaken for a good one after exactly 4,294,967,296 lives of
//! its block.
//!
//! # Kinds
//!
//! `One`, `Part`, `Wide` and `Whole` are runs of one block, of several in a half of a span, of several in
//! both, and of one or more whole spans. `Shared` is a single block with a count of holders: sharing
//! breaks a run into such blocks, since each holder may end on its own.
//! `Handed` is a single block that is out under a handle: there the bits of [`handed`] decide, not the word.
//! `Moving` is a run that its lease is regrouping: nobody else touches it, and the lease
//! looks afterwards whether its agent was freed meanwhile (see [`accounts`](super::accounts)).

mod handed;
mod run;
mod word;

pub(super) use self::handed::Seen;
pub(super) use self::run::{Hold, MAX_RANGE, Run};
pub(super) use self::word::{Kind, MAX_VALUE, Word};

use std::ops::Range;
use std::{iter, mem};

use self::handed::Handed;
use self::run::pieces;
use super::accounts::Tenure;
use super::span::{FULL, SPAN_BLOCKS};
use crate::mutant::mutant;
use crate::sync::{AtomicU32, AtomicU64, Ordering};

/// Blocks that a partial run may come from.
pub(super) const HALF_BLOCKS: u32 = SPAN_BLOCKS / 2;
const HALF_FULL: u64 = FULL >> HALF_BLOCKS;

/// The owner words of one span.
#[derive(Debug)]
pub(super) struct Owners {
    words: [AtomicU64; SPAN_BLOCKS as usize],
    /// How far the run reaches whose head, or second block, this is: see the module's documentation.
    extents: [AtomicU32; SPAN_BLOCKS as usize],
    handed: Handed,
}

/// What a head speaks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Blocks of the span, or of each span of a range; none where there is no head.
    pub(super) mask: u64,
    pub(super) spans: u32,
}

impl Extent {
    fn of(mask: u64) -> Self {
        Self { mask, spans: 1 }
    }
}

impl Owners {
    pub(super) fn new() -> Self {
        Self {
            words: std::array::from_fn(|_| AtomicU64::new(0)),
            extents: std::array::from_fn(|_| AtomicU32::new(0)),
            handed: Handed::new(),
        }
    }

    pub(super) fn load(&self, bit: u32) -> Word {
        Word(self.words[bit as usize].load(Ordering::Acquire))
    }

    /// Records that `owner` owns the blocks of `mask`, which the caller has just claimed; for a full mask,
    /// also those of the spans that follow.
    #[inline]
    pub(super) fn record(
        &self,
        span_first: u32,
        mask: u64,
        spans: u32,
        owner: Tenure,
        mut run: impl FnMut(Run),
    ) {
        let (low, high) = (mask & HALF_FULL, mask & !HALF_FULL);
        if low.is_power_of_two() && high != 0 {
            run(self.record_one(span_first, 1, low, owner));
            run(self.record_one(span_first, 1, high, owner));
        } else {
            run(self.record_one(span_first, spans, mask, owner));
        }
    }

    #[inline]
    fn record_one(&self, span_first: u32, spans: u32, mask: u64, owner: Tenure) -> Run {
        // Relaxed: the claim of the bits was Acquire, so this is what the last owner left.
        let head = &self.words[mask.trailing_zeros() as usize];
        let generation = Word(head.load(Ordering::Relaxed)).generation();
        self.write(Run::new(span_first, spans, mask, generation), owner)
    }

    /// Gives the blocks of a run up: true for the one who may free its bits.
    #[inline]
    pub(super) fn release(&self, run: &Run, owner: Tenure) -> bool {
        let word = run.word(owner);
        self.change(run.head(), word, word.freed())
    }

    /// Passes a run on to another agent, in one step.
    pub(super) fn transfer(&self, run: &mut Run, from: Tenure, to: Tenure) -> bool {
        let generation = run.generation.wrapping_add(1);
        let word = run.word(from);
        let moved = self.change(run.head(), word, Word::of(word.kind(), to, generation));
        if moved {
            run.generation = generation;
        }
        moved
    }

    /// Regroups a run of `owner` in one span into the blocks of `low` and the others, calling `run` with each
    /// piece and whether it is of the low ones. False, and nothing done, when the run is not there any
    /// more.
    pub(super) fn regroup(
        &self,
        old: &Run,
        owner: Tenure,
        low: u64,
        mut run: impl FnMut(bool, Run),
    ) -> bool {
        if !self.begin_move(old, owner) {
            return false;
        }
        let high = old.mask & !low;
        for piece in pieces(high).filter(|piece| piece.trailing_zeros() as usize != old.head()) {
            let generation = self.load(piece.trailing_zeros()).generation();
            run(false, self.write(Run::new(old.span_first(), 1, piece, generation), owner));
        }
        // The old head is the lowest block: its word ends the move, so its piece comes last.
        let [first, second] = {
            let mut low = pieces(old.mask & low);
            [low.next(), low.next()]
        };
        for piece in [second, first].into_iter().flatten() {
            let head = self.load(piece.trailing_zeros());
            // Another generation than before: whoever read the old mask may not act on it.
            let generation = head.generation().wrapping_add(u32::from(
                head.kind() == Kind::Moving && !mutant("owners.regrouped-keeps-generation"),
            ));
            run(true, self.write(Run::new(old.span_first(), 1, piece, generation), owner));
        }
        true
    }

    /// Cuts a range of `owner` in two: `keep` spans, and those that begin with the span of `other`. As an
    /// error, two that are not there either, when the range is not there any more.
    pub(super) fn cut(
        &self,
        old: &Run,
        owner: Tenure,
        keep: u32,
        other: &Self,
    ) -> Result<[Run; 2], [Run; 2]> {
        let (at, spans) = (old.span_first(), old.spans());
        let first = Run::new(
            at,
            keep,
            FULL,
            old.generation.wrapping_add(u32::from(!mutant("owners.cut-keeps-generation"))),
        );
        let generation = other.load(0).generation();
        let second = Run::new(at + keep * SPAN_BLOCKS, spans - keep, FULL, generation);
        if !self.begin_move(old, owner) {
            // The old head's generation is over; so must be that of the new one.
            return Err([Run { generation: old.generation, ..first }, other.over(second)]);
        }
        // The old head last: its word ends the move.
        let second = other.write(second, owner);
        Ok([self.write(first, owner), second])
    }

    /// A run that is not there, with a generation that its head has behind it. The one of a run that it was
    /// a part of says nothing about another head: there it may be the one of somebody who lives.
    pub(super) fn over(&self, run: Run) -> Run {
        if mutant("owners.inert-piece-keeps-generation") {
            return run;
        }
        let now = self.load(run.head() as u32).generation();
        Run { generation: now.wrapping_sub(1), ..run }
    }

    /// Hands the blocks of a run of `owner` in one span out, as in [`hand_out`](Self::hand_out). False, and
    /// nothing done, when the run is not there any more.
    pub(super) fn break_up<H>(
        &self,
        old: &Run,
        owner: Tenure,
        handles: &mut [H],
        handle: impl Fn(u32, u32) -> H,
    ) -> bool {
        let here = self.begin_move(old, owner);
        if here {
            self.hand_out(old.mask, owner, handles, handle);
        }
        here
    }

    /// Hands out blocks that the caller has for itself, and makes a handle of the bit and generation of each,
    /// in order. There is room for as many.
    #[inline]
    pub(super) fn hand_out<H>(
        &self,
        mask: u64,
        owner: Tenure,
        mut handles: &mut [H],
        handle: impl Fn(u32, u32) -> H,
    ) {
        for bits in ranges(mask) {
            let (here, rest) = mem::take(&mut handles).split_at_mut(bits.len());
            handles = rest;
            for ((bit, word), place) in bits.clone().zip(&self.words[bits]).zip(here) {
                // Relaxed, both: the caller has come to the block by an Acquire, and the bits that are set
                // below publish it. Until then nobody acts on a word of this kind.
                let generation = Word(word.load(Ordering::Relaxed)).generation();
                *place = handle(bit as u32, generation);
                word.store(Word::of(Kind::Handed, owner, generation).0, Ordering::Relaxed);
            }
        }
        self.handed.hand_out(mask);
    }

    /// What is handed out in the half span of `bit`, to be read before the blocks' words.
    #[inline]
    pub(super) fn handed(&self, bit: u32) -> Seen {
        self.handed.read(bit)
    }

    /// Ends the hand-out of blocks that were `seen` out, all at once; what is out now when that has changed.
    /// As long as it succeeds, their words have not changed since.
    #[inline]
    pub(super) fn claim_handed(&self, seen: Seen, mask: u64) -> Result<(), Seen> {
        self.handed.claim(seen, mask)
    }

    /// Undoes [`claim_handed`](Self::claim_handed).
    pub(super) fn put_back(&self, mask: u64) {
        self.handed.put_back(mask);
    }

    /// Ends the lives of blocks that were [claimed](Self::claim_handed), calling `ended` with the word of
    /// each.
    #[inline]
    pub(super) fn end_handed(&self, mask: u64, mut ended: impl FnMut(Word)) {
        for bits in ranges(mask) {
            for word in &self.words[bits] {
                // Relaxed, both: the claim was Acquire, and what is done with the blocks next publishes it.
                let now = Word(word.load(Ordering::Relaxed));
                ended(now);
                word.store(now.freed().0, Ordering::Relaxed);
            }
        }
    }

    /// Claims every handed-out block of the span whose word `condemned` says so, and returns them.
    pub(super) fn claim_condemned(&self, condemned: impl Fn(Word) -> bool) -> u64 {
        let halves = [0, HALF_BLOCKS].into_iter().map(|first| {
            let mut seen = self.handed.read(first);
            loop {
                let mask = bits_downwards(seen.blocks())
                    .filter(|bit| condemned(self.load(*bit)))
                    .fold(0, |mask, bit| mask | 1 << bit);
                if mask == 0 {
                    return 0;
                }
                match self.handed.claim(seen, mask) {
                    Ok(()) => return mask,
                    Err(now) => seen = now,
                }
            }
        });
        halves.sum()
    }

    /// Makes a run of one span that `owner` holds alone a shared one with two holders. None when the run is not there
    /// any more.
    pub(super) fn share(&self, old: &Run, owner: Tenure) -> Option<Run> {
        if !self.begin_move(old, owner) {
            return None;
        }
        // One generation for all, which none of them has had.
        let newest = bits_downwards(old.mask).map(|bit| self.load(bit).generation()).max();
        let generation = newest.unwrap_or(old.generation).wrapping_add(1);
        for bit in bits_downwards(old.mask) {
            let shared = Word::shared(2, generation);
            self.store(bit as usize, shared);
        }
        Some(Run { generation, place: old.place | Run::SHARED, ..*old })
    }

    /// Adds a holder to the blocks of a shared run. The caller holds them, so they cannot go meanwhile;
    /// they can only be gone already (a force-clear), and those are left out of the run it returns.
    pub(super) fn share_again(&self, run: &Run) -> Run {
        let mask = bits_downwards(run.mask)
            .filter(|bit| {
                self.change_holders(*bit, run.generation, |holders| holders + 1).is_some()
            })
            .fold(0, |mask, bit| mask | 1 << bit);
        Run { mask, ..*run }
    }

    /// Ends one holder's part in a shared run and returns the blocks that had no other.
    pub(super) fn release_shared(&self, run: &Run) -> u64 {
        bits_downwards(run.mask)
            .filter(|bit| {
                self.change_holders(*bit, run.generation, |holders| holders - 1) == Some(1)
            })
            .fold(0, |mask, bit| mask | 1 << bit)
    }

    /// What the head at `bit` speaks for, by the word that was read there.
    pub(super) fn extent(&self, bit: u32, word: Word) -> Extent {
        // Relaxed: written before the word, which was read with Acquire. If the run has been regrouped
        // since, so has the generation, and a CAS from `word` fails.
        let load = |bit: u32| self.extents[bit as usize].load(Ordering::Relaxed);
        match word.kind() {
            Kind::Free | Kind::Moving => Extent::of(0),
            Kind::One | Kind::Shared | Kind::Handed => Extent::of(1 << bit),
            Kind::Part => Extent::of(u64::from(load(bit)) << (bit / HALF_BLOCKS * HALF_BLOCKS)),
            Kind::Wide => {
                let low = u64::from(load(bit));
                // If the word has changed since, this can be anything, but not out of bounds.
                let second = (low & low.wrapping_sub(1)).trailing_zeros() % SPAN_BLOCKS;
                Extent::of(u64::from(load(second)) << HALF_BLOCKS | low)
            }
            Kind::Whole => Extent { mask: FULL, spans: load(bit) % MAX_RANGE + 1 },
        }
    }

    /// Whether the block at `bit` is in somebody's run that begins in this span. A run on the move counts
    /// for all that it may hold here.
    pub(super) fn is_covered(&self, bit: u32) -> bool {
        (0..=bit).any(|head| {
            let word = self.load(head);
            let mask = match word.kind() {
                Kind::Moving => FULL << head,
                _ => self.extent(head, word).mask,
            };
            mask & 1 << bit != 0
        })
    }

    /// Spans that belong to the range which begins here; 0 when none does.
    pub(super) fn range(&self) -> u32 {
        let word = self.load(0);
        if word.kind() == Kind::Whole { self.extent(0, word).spans } else { 0 }
    }

    /// Ends the life of the head at `bit`, whoever owns it: true for the one who may free its blocks.
    pub(super) fn revoke(&self, bit: u32, word: Word) -> bool {
        self.change(bit as usize, word, word.freed())
    }

    #[inline]
    fn write(&self, run: Run, owner: Tenure) -> Run {
        let (word, head, mask) = (run.word(owner), run.head(), run.mask);
        // Relaxed: the Release of the word below publishes it.
        let extend = |bit: usize, to: u64| self.extents[bit].store(to as u32, Ordering::Relaxed);
        match word.kind() {
            Kind::Part => extend(head, mask >> (head as u32 / HALF_BLOCKS * HALF_BLOCKS)),
            Kind::Wide => {
                let second = (mask & (mask - 1)).trailing_zeros() as usize;
                extend(head, mask & HALF_FULL);
                extend(second, mask >> HALF_BLOCKS);
            }
            Kind::Whole => extend(head, u64::from(run.spans() - 1)),
            _ => {}
        }
        self.store(head, word);
        run
    }

    fn begin_move(&self, run: &Run, owner: Tenure) -> bool {
        let word = run.word(owner);
        self.change(run.head(), word, word.with_kind(Kind::Moving))
    }

    /// Changes the number of holders of a shared block, 0 freeing it, and returns the number before.
    fn change_holders(&self, bit: u32, generation: u32, to: impl Fn(u32) -> u32) -> Option<u32> {
        loop {
            let word = self.load(bit);
            if word.kind() != Kind::Shared || word.generation() != generation {
                return None;
            }
            let holders = to(word.value());
            let next = if holders == 0 { word.freed() } else { Word::shared(holders, generation) };
            if self.change(bit as usize, word, next) || mutant("owners.holder-uncounted") {
                return Some(word.value());
            }
        }
    }

    /// Publishes a word that only the caller may write: nobody else owns the block.
    #[inline]
    fn store(&self, bit: usize, word: Word) {
        self.words[bit].store(word.0, Ordering::Release);
    }

    #[inline]
    fn change(&self, bit: usize, from: Word, to: Word) -> bool {
        // Acquire: what the owner wrote is seen by whoever ends his life. Release: the next owner sees
        // the generation, and a gatherer of masks the one that belongs to the word.
        self.words[bit].compare_exchange(from.0, to.0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }
}

/// The set bits of a mask, as ranges of neighbours.
#[inline]
fn ranges(mut mask: u64) -> impl Iterator<Item = Range<usize>> {
    iter::from_fn(move || {
        if mask == 0 {
            return None;
        }
        let first = mask.trailing_zeros();
        let len = (mask >> first).trailing_ones();
        mask &= !(u64::MAX >> (u64::BITS - len) << first);
        Some(first as usize..(first + len) as usize)
    })
}

/// The set bits, highest first: the head of a run comes last, and with it the end of a move.
fn bits_downwards(mut mask: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = mask.checked_ilog2()?;
        mask &= !(1 << bit);
        Some(bit)
    })
}

#[cfg(all(test, not(latchless_loom)))]
mod tests {
    use super::*;

    fn owner(slot: u32) -> Tenure {
        Tenure::of(slot, 5)
    }

    fn record(owners: &Owners, mask: u64, slot: u32) -> Vec<Run> {
        let mut runs = Vec::new();
        owners.record(128, mask, 1, owner(slot), |run| runs.push(run));
        runs
    }

    #[test]
    fn a_set_of_blocks_is_one_run_if_its_extent_has_a_place() {
        for (mask, kinds) in [
            (0b100, &[Kind::One][..]),
            (0b101, &[Kind::Part]),
            (0b11 << 40, &[Kind::Part]),
            (0x3_8100_0000, &[Kind::Wide]),
            (u64::MAX >> 1, &[Kind::Wide]),
            (u64::MAX, &[Kind::Whole]),
            (0x3_8000_0000, &[Kind::One, Kind::Part]),
        ] {
            let owners = Owners::new();
            let runs = record(&owners, mask, 7);
            let heads: Vec<_> = runs
                .iter()
                .map(|run| (run.head() as u32, owners.load(run.head() as u32)))
                .collect();
            assert_eq!(heads.iter().map(|(_, word)| word.kind()).collect::<Vec<_>>(), kinds);
            let extents = heads.iter().map(|(bit, word)| owners.extent(*bit, *word).mask);
            assert_eq!(extents.collect::<Vec<_>>(), runs.iter().map(Run::mask).collect::<Vec<_>>());
            assert_eq!(runs.iter().fold(0, |all, run| all | run.mask()), mask, "{mask:#x}");
        }
    }

    #[test]
    fn a_range_is_cut_into_ranges() {
        let (owners, other) = (Owners::new(), Owners::new());
        let mut runs = Vec::new();
        owners.record(128, u64::MAX, 5, owner(7), |run| runs.push(run));
        let range = runs[0];
        assert_eq!((range.len(), range.spans(), owners.range()), (320, 5, 5));
        assert!(range.blocks().eq(128..448));
        let [first, second] = owners.cut(&range, owner(7), 2, &other).unwrap();
        assert!(first.blocks().eq(128..256) && second.blocks().eq(256..448));
        assert_eq!((owners.range(), other.range()), (2, 3));
        assert!(owners.cut(&range, owner(7), 2, &other).is_err(), "it is another range now");
        assert!(owners.release(&first, owner(7)) && other.release(&second, owner(7)));
        assert_eq!((owners.range(), other.range()), (0, 0));
    }

    #[test]
    fn a_run_is_given_up_once() {
        let owners = Owners::new();
        let run = record(&owners, 0b110, 7)[0];
        assert!(!owners.release(&run, owner(8)), "another agent's");
        assert!(!owners.release(&run, Tenure::of(7, 6)), "another tenure's");
        assert!(owners.release(&run, owner(7)));
        assert!(!owners.release(&run, owner(7)), "twice");
        let again = record(&owners, 0b110, 7)[0];
        assert!(!owners.release(&run, owner(7)), "an earlier life");
        assert!(owners.release(&again, owner(7)));
    }

    #[test]
    fn regrouping_a_span_ends_the_old_run() {
        let owners = Owners::new();
        let whole = record(&owners, u64::MAX, 3)[0];
        let (mut low, mut high) = (0, 0);
        let mut runs = Vec::new();
        assert!(owners.regroup(&whole, owner(3), (1 << 40) - 1, |is_low, run| {
            *(if is_low { &mut low } else { &mut high }) |= run.mask();
            runs.push(run);
        }));
        assert_eq!((low, high), ((1 << 40) - 1, !((1 << 40) - 1)));
        assert!(!owners.release(&whole, owner(3)));
        assert!(runs.iter().all(|run| owners.release(run, owner(3))));
        assert!((0..64).all(|bit| owners.load(bit).kind() == Kind::Free));
    }

    /// Who read the old run, and frees it late, must not free what is left of it.
    #[test]
    fn what_is_left_of_a_run_is_another_run_also_of_the_same_kind() {
        let owners = Owners::new();
        let run = record(&owners, 0b1111, 3)[0];
        let old = owners.load(0);
        let mut left = None;
        assert!(owners.regroup(&run, owner(3), 0b11, |is_low, run| {
            left = if is_low { Some(run) } else { left };
        }));
        assert_eq!(owners.load(0).kind(), old.kind());
        assert!(!owners.revoke(0, old));
        assert!(left.is_some_and(|left| owners.release(&left, owner(3))));
    }

    #[test]
    fn the_last_holder_frees() {
        let owners = Owners::new();
        let run = record(&owners, 0b1011, 3)[0];
        let shared = owners.share(&run, owner(3)).unwrap();
        let third = owners.share_again(&shared);
        assert_eq!(owners.release_shared(&shared), 0);
        assert_eq!(owners.release_shared(&third), 0);
        assert_eq!(owners.release_shared(&third), 0b1011);
        assert_eq!(owners.release_shared(&shared), 0, "nobody holds it any more");
    }
}
