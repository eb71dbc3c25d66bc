//! Deliberate weakenings of this crate, which its tests have to notice.
//!
//! A place that a proof leans on asks [`mutant`] whether it is to be weakened, by a name that no other
//! mutant has. `cargo xtask test --mutants` compiles with `--cfg latchless_mutants`, names one mutant
//! after the other in `LATCHLESS_MUTANT`, and wants the test that its table names to fail. Everywhere
//! else both functions are constants, of which nothing is left in the code.

#[cfg(not(latchless_mutants))]
pub use self::none::{mutant, weaker};
#[cfg(latchless_mutants)]
pub use self::selected::{mutant, weaker};

#[cfg(not(latchless_mutants))]
mod none {
    use std::sync::atomic::Ordering;

    /// Whether the run weakens the code here.
    #[inline(always)]
    #[allow(clippy::inline_always)] // Also where nothing is optimised there is to be nothing here.
    pub const fn mutant(_name: &'static str) -> bool {
        false
    }

    /// `ordering`, or `Relaxed` in a run that weakens it.
    #[inline(always)]
    #[allow(clippy::inline_always)] // As above; and an ordering has to be a constant.
    pub const fn weaker(_name: &'static str, ordering: Ordering) -> Ordering {
        ordering
    }
}

#[cfg(latchless_mutants)]
mod selected {
    use std::env;
    // Not `crate::sync`'s: a model need not know.
    use std::sync::OnceLock;
    use std::sync::atomic::Ordering;

    /// Whether the run weakens the code here.
    pub fn mutant(name: &'static str) -> bool {
        static SELECTED: OnceLock<Option<String>> = OnceLock::new();
        SELECTED.get_or_init(|| env::var("LATCHLESS_MUTANT").ok()).as_deref() == Some(name)
    }

    /// `ordering`, or `Relaxed` in a run that weakens it.
    pub fn weaker(name: &'static str, ordering: Ordering) -> Ordering {
        if mutant(name) { Ordering::Relaxed } else { ordering }
    }
}
