//! A plan under six threads.

use std::sync::Arc;

use latchless::{ChangesetId, PlanContext};
use shuttle::thread;

use crate::explore;

/// Four record while two start changesets and seal the ones before: each record is in the changeset that
/// it was told, once, and each thread's are in order.
#[test]
fn each_record_is_where_it_was_told() {
    explore("changesets", || {
        let plan = Arc::new(PlanContext::new());
        plan.start().unwrap();
        let recorders = [0_u32, 10, 20, 30].map(|first| {
            let plan = Arc::clone(&plan);
            thread::spawn(move || {
                let record = |change| plan.record(change).ok().map(|id| (id, change));
                (first..first + 3).filter_map(record).collect::<Vec<_>>()
            })
        });
        let sealers = [(); 2].map(|()| {
            let plan = Arc::clone(&plan);
            thread::spawn(move || {
                let mut landed = Vec::new();
                for _ in 0..2 {
                    let id = plan.start().unwrap();
                    let before = ChangesetId(id.0 - 1);
                    let sealed = plan.seal(before).expect("its number is nobody else's");
                    landed.extend(sealed.map(|change| (before, change)));
                }
                landed
            })
        });
        let told: Vec<_> = recorders.into_iter().flat_map(|one| one.join().unwrap()).collect();
        assert_eq!(told.len(), 12, "the newest one is never sealed here");
        let mut landed: Vec<_> = sealers.into_iter().flat_map(|one| one.join().unwrap()).collect();
        let last = plan.newest().unwrap();
        assert_eq!(last, ChangesetId(4));
        landed.extend(plan.seal(last).unwrap().map(|change| (last, change)));
        for first in [0, 10, 20, 30] {
            let of_one: Vec<_> = told.iter().filter(|(_, c)| c / 10 * 10 == first).collect();
            assert!(of_one.is_sorted(), "to an older changeset");
        }
        let mut told = told;
        told.sort_unstable();
        landed.sort_unstable();
        assert_eq!(landed, told);
    });
}
