//! Agents: their names, what they are doing, and the tables of their blocks.

mod blocks;
mod directory;
mod protected;
mod state;
mod tables;

pub use self::blocks::{AgentBlocks, AgentBlocksError, BlockRun, LayerBlocks};
pub use self::directory::{Directory, RegisterError};
pub use self::state::{
    AgentState, Overtaken, StateMachine, StateSnapshot, TransitionError, TransitionRefused,
};
pub use self::tables::{BlockTables, NotReplaced, TableAccess, TablePins, TooManyAccesses};
