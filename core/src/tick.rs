//! Time, as the host tells it.

/// An instant of the host's monotonic clock, in whatever unit. The core has no clock: what depends on
/// time is told it. 40 bits are kept, with milliseconds 34 years; what is later counts as that.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tick(pub u64);

/// Bits that are kept.
pub(crate) const TICK_BITS: u32 = 40;
