//! Callers who wait: a wake-up that is lost is a deadlock, which shuttle reports.

use std::sync::Arc;
use std::time::Duration;

use latchless::{BlockPool, LayerId, ModelSpec, PoolConfig};
use shuttle::thread;

use crate::explore;

/// Seven threads want more than half of the pool each, so that six of them have to wait for others; one of
/// those gives up.
#[test]
fn everybody_who_waits_is_served() {
    explore("waiting", || {
        let spec = ModelSpec::new(1, 1, 1, 1).unwrap();
        let config = PoolConfig::new(10, spec).max_agents(1).stripes(2);
        let pool = Arc::new(BlockPool::new(config).unwrap());
        let agent = pool.open_account().unwrap();
        let threads = [6, 7, 8, 6, 10, 6, 1].map(|n| {
            let pool = Arc::clone(&pool);
            thread::spawn(move || {
                let timeout = if n == 8 { Duration::ZERO } else { Duration::MAX };
                let lease = pool.allocate_within(agent, LayerId(0), n, timeout);
                assert!(lease.is_ok() || n == 8, "{:?}", lease.err());
            })
        });
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!((pool.usage().used, pool.waiters()), (0, 0));
        assert_eq!(pool.allocate(agent, LayerId(0), 10).map(|lease| lease.len()), Ok(10));
    });
}
