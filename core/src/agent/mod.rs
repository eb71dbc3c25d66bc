//! Agents: their names, and the tables of their blocks.

mod blocks;
mod directory;
mod protected;
mod tables;

pub use self::blocks::{AgentBlocks, AgentBlocksError, BlockRun, LayerBlocks};
pub use self::directory::{Directory, RegisterError};
pub use self::tables::{BlockTables, NotReplaced, TableAccess, TablePins, TooManyAccesses};
