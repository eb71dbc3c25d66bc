//! Which request gets how many rows of the next batch: decodes first, one row each; then the prompts
//! that are not computed yet share what is left.
//!
//! Decode before prefill, and prompts in chunks beside it, is what Sarathi-Serve (Agrawal et al., OSDI
//! 2024) calls stall-free batching: a long prompt does not stop the text of the others.

/// What a request could put into the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Demand {
    /// Nothing: its reader is behind.
    Nothing,
    /// The row of the token that was sampled last.
    Decode,
    /// So many tokens of the prompt.
    Prefill(u32),
}

/// Consecutive rows of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Share {
    /// The request, by its index among the demands.
    pub(crate) request: usize,
    /// Its rows, at least one.
    pub(crate) rows: u32,
}

/// Plans batches; remembers whose turn it is.
#[derive(Debug)]
pub(crate) struct Assembler {
    batch_rows: u32,
    decode_turn: usize,
    prefill_turn: usize,
}

impl Assembler {
    /// For batches of at most `batch_rows` rows.
    pub(crate) fn new(batch_rows: u32) -> Self {
        Self { batch_rows, decode_turn: 0, prefill_turn: 0 }
    }

    /// Fills `shares` for the next batch, in which prompts have at most as many rows as `prefill_rows` says
    /// for the number of decodes.
    ///
    /// Whoever is cut short in a batch is further ahead in the next. Turns move only when somebody is
    /// cut short, so that the same requests in the same order give the same batches.
    pub(crate) fn assemble(
        &mut self,
        demands: &[Demand],
        prefill_rows: impl FnOnce(u32) -> u32,
        shares: &mut Vec<Share>,
    ) {
        shares.clear();
        let in_turn = |turn: usize| {
            let turn = turn.checked_rem(demands.len()).unwrap_or(0);
            (turn..demands.len()).chain(0..turn).map(|request| (request, demands[request]))
        };

        let mut room = self.batch_rows;
        let mut turn = None;
        for (request, demand) in in_turn(self.decode_turn) {
            if demand != Demand::Decode {
                continue;
            }
            if room == 0 {
                turn = Some(request);
                break;
            }
            room -= 1;
            shares.push(Share { request, rows: 1 });
        }
        self.decode_turn = turn.unwrap_or(0);

        let decodes = shares.len();
        let mut room = room.min(prefill_rows(decodes as u32));
        let mut prompts =
            demands.iter().filter(|demand| matches!(demand, Demand::Prefill(_))).count();
        let mut turn = None;
        for (request, demand) in in_turn(self.prefill_turn) {
            let Demand::Prefill(tokens) = demand else { continue };
            // An equal part of what is left for those that are left.
            let part = room.div_ceil(prompts as u32);
            let rows = tokens.min(part);
            if rows < tokens && turn.is_none() {
                turn = Some(request + usize::from(rows > 0));
            }
            if rows > 0 {
                shares.push(Share { request, rows });
            }
            room -= rows;
            prompts -= 1;
        }
        self.prefill_turn = turn.unwrap_or(0);

        // What a short prompt left over goes to the ones before it.
        for share in &mut shares[decodes..] {
            if let Demand::Prefill(tokens) = demands[share.request] {
                let more = room.min(tokens - share.rows);
                share.rows += more;
                room -= more;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Demand::{Decode, Nothing, Prefill};
    use super::*;

    /// An assembler, and the rows that prompts may have.
    type Fixed = (Assembler, u32);

    fn fixed(batch_rows: u32, prefill_rows: u32) -> Fixed {
        (Assembler::new(batch_rows), prefill_rows)
    }

    fn plan((assembler, prefill_rows): &mut Fixed, demands: &[Demand]) -> Vec<(usize, u32)> {
        let mut shares = Vec::new();
        assembler.assemble(demands, |_| *prefill_rows, &mut shares);
        shares.iter().map(|share| (share.request, share.rows)).collect()
    }

    #[test]
    fn decodes_come_first_and_prompts_share_the_rest() {
        let mut assembler = fixed(12, 100);
        let demands = [Prefill(100), Decode, Nothing, Prefill(2), Decode, Prefill(100)];
        assert_eq!(plan(&mut assembler, &demands), [(1, 1), (4, 1), (0, 4), (3, 2), (5, 4)]);
    }

    #[test]
    fn prompts_leave_room_below_their_own_limit() {
        let mut assembler = fixed(512, 16);
        assert_eq!(plan(&mut assembler, &[Prefill(300), Decode]), [(1, 1), (0, 16)]);
        assert_eq!(plan(&mut assembler, &[Prefill(16)]), [(0, 16)]);
        assert_eq!(plan(&mut assembler, &[]), []);
    }

    #[test]
    fn more_decodes_than_rows_take_turns() {
        let mut assembler = fixed(2, 2);
        assert_eq!(plan(&mut assembler, &[Decode; 3]), [(0, 1), (1, 1)]);
        assert_eq!(plan(&mut assembler, &[Decode; 3]), [(2, 1), (0, 1)]);
        assert_eq!(plan(&mut assembler, &[Decode; 3]), [(1, 1), (2, 1)]);
    }

    #[test]
    fn more_prompts_than_rows_take_turns() {
        let mut assembler = fixed(2, 2);
        let mut rows = [0; 5];
        for _ in 0..10 {
            for (request, share) in plan(&mut assembler, &[Prefill(9); 5]) {
                rows[request] += share;
            }
        }
        assert_eq!(rows, [4; 5]);
    }

    /// No batch is larger than it may be, and none is smaller than it could be.
    #[test]
    fn batches_are_full_and_never_too_full() {
        let mut assembler = fixed(7, 5);
        for case in 0_u32..4_096 {
            let demands: Vec<_> = (0..6)
                .map(|request| match case >> (2 * request) & 3 {
                    0 => Nothing,
                    1 => Decode,
                    2 => Prefill(1),
                    _ => Prefill(9),
                })
                .collect();
            let decodes = demands.iter().filter(|demand| **demand == Decode).count() as u32;
            let prompts: u32 =
                demands.iter().map(|d| if let Prefill(tokens) = d { *tokens } else { 0 }).sum();
            let planned: u32 = plan(&mut assembler, &demands).iter().map(|share| share.1).sum();
            let possible = decodes + prompts.min(5).min(7 - decodes);
            assert_eq!(planned, possible, "{demands:?}");
        }
    }
}
