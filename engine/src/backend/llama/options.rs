//! What a host chooses about a model and its context.

use super::LoadError;

/// How a model is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelOptions {
    /// Tokens of a block of the pool, 32 unless chosen. It divides the pool's book-keeping, not
    /// llama.cpp's memory: small blocks waste fewer tokens at a sequence's end, large ones cost less
    /// to allocate.
    pub block_tokens: u32,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self { block_tokens: 32 }
    }
}

/// What a context can hold and how it computes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextOptions {
    /// Tokens that all sequences together can keep; rounded up to a multiple of 256, for each sequence
    /// if they are [divided](CellLayout::Divided). `None` takes 512 a sequence, or as many as the
    /// model was trained for if that is less.
    pub cells: Option<u32>,
    /// Who may use which cells.
    pub layout: CellLayout,
    /// Sequences that can live at once, 1 to 256; 8 unless chosen.
    pub sequences: u32,
    /// Rows of one batch, 1 to 8,192; 512 unless chosen. A context of fewer tokens takes fewer rows.
    pub batch_rows: u32,
    /// ggml's threads. `None` takes one a core; more than the process may use are never taken.
    pub threads: Option<u32>,
}

impl Default for ContextOptions {
    fn default() -> Self {
        Self {
            cells: None,
            layout: CellLayout::Shared,
            sequences: 8,
            batch_rows: 512,
            threads: None,
        }
    }
}

/// Who may use which cells of a context.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CellLayout {
    /// Any sequence any cell: one long sequence may take what short ones leave, and a common prefix is
    /// copied by marking its cells.
    ///
    /// Rows then pass over the cells of other sequences. What that costs, measured in CPU time on
    /// SmolLM2-135M (one thread, x86-64-v3, 8 sequences): with 100 tokens each 6 % of a decode and 7 %
    /// of a prefill; with 400 tokens each 10 % of a decode, and a batch that mixes decodes with a
    /// prefill of 57 rows takes twice as long.
    #[default]
    Shared,
    /// Each sequence its own part: 1/n of the cells, used or not. The cost of a row depends on its own
    /// sequence only.
    Divided,
}

/// llama.cpp rounds a context up to such a multiple.
pub(super) const CELL_STEP: u32 = 256;

impl ContextOptions {
    /// Tokens a sequence that a context gets when the host does not choose.
    const CELLS_A_SEQUENCE: u32 = 512;

    /// Refuses what llama.cpp would abort on.
    pub(super) fn validate(&self) -> Result<(), LoadError> {
        // llama.cpp's LLAMA_MAX_SEQ is 256; positions are i32, and rounding up must not overflow.
        let most_cells = i32::MAX as u32 - CELL_STEP;
        for (option, value, most, allowed) in [
            ("the number of sequences", self.sequences, 256, "1 to 256"),
            ("the number of rows of a batch", self.batch_rows, 8192, "1 to 8192"),
            ("the context", self.cells.unwrap_or(1), most_cells, "1 to 2147483391 tokens"),
            ("the number of threads", self.threads.unwrap_or(1), 512, "1 to 512"),
        ] {
            if !(1..=most).contains(&value) {
                return Err(LoadError::Option { option, value, allowed });
            }
        }
        Ok(())
    }

    /// The cells of the context, rounded as llama.cpp does, for a model trained for `trained` tokens.
    pub(super) fn cells(&self, trained: u32) -> u32 {
        let default = self.sequences.saturating_mul(trained.min(Self::CELLS_A_SEQUENCE));
        let cells = self.cells.unwrap_or(default).max(1).next_multiple_of(CELL_STEP);
        match self.layout {
            CellLayout::Shared => cells,
            CellLayout::Divided => (cells / self.sequences.max(1))
                .max(1)
                .next_multiple_of(CELL_STEP)
                .saturating_mul(self.sequences),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_out_of_range_are_named() {
        let base = ContextOptions::default;
        assert!(base().validate().is_ok());
        for (options, named) in [
            (ContextOptions { sequences: 0, ..base() }, "sequences is 0; give it 1 to 256"),
            (ContextOptions { sequences: 257, ..base() }, "sequences is 257"),
            (ContextOptions { batch_rows: 0, ..base() }, "rows of a batch is 0"),
            (ContextOptions { cells: Some(0), ..base() }, "context is 0"),
            (ContextOptions { cells: Some(u32::MAX), ..base() }, "context is 4294967295"),
            (ContextOptions { threads: Some(0), ..base() }, "threads is 0"),
        ] {
            let error = options.validate().unwrap_err().to_string();
            assert!(error.contains(named), "{error:?} does not say {named:?}");
        }
    }

    #[test]
    fn cells_are_512_a_sequence_unless_chosen_or_trained_for_less() {
        let options = ContextOptions { sequences: 3, ..ContextOptions::default() };
        assert_eq!(options.cells(8192), 1536);
        assert_eq!(options.cells(100), 512, "300, rounded up");
        let thousand = ContextOptions { cells: Some(1000), ..options };
        assert_eq!(thousand.cells(8192), 1024);
        let divided = ContextOptions { layout: CellLayout::Divided, ..thousand };
        assert_eq!(divided.cells(8192), 3 * 512, "341 each, rounded up");
    }
}
