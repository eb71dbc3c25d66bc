//! Peers: what others have published.
//!
//! [`ArrayQueuePlain`] is the textbook way to a pool without a mutex, on crossbeam's queue. The
//! strongest public block pool, `kvbm-logical`, is measured with the feature `kvbm`.

mod array_queue;
#[cfg(feature = "kvbm")]
mod kvbm;

pub use self::array_queue::ArrayQueuePlain;
#[cfg(feature = "kvbm")]
pub use self::kvbm::KvbmLogical;
