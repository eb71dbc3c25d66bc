//! Agents: their names, how many run, what they are doing, what they put out, and the tables of their
//! blocks.

mod blocks;
mod directory;
mod outbox;
mod protected;
mod spawner;
mod state;
mod tables;

pub use self::blocks::{AgentBlocks, AgentBlocksError, BlockRun, LayerBlocks};
pub use self::directory::{Directory, DirectoryContention, RegisterError};
pub use self::outbox::{Outbox, OutboxCapacity, OutboxContention};
pub use self::spawner::{
    AllSlotsTaken, SpawnContention, SpawnLimit, SpawnSlot, SpawnSlotId, SpawnSlots,
};
pub use self::state::{
    AgentState, Overtaken, StateMachine, StateSnapshot, TransitionError, TransitionRefused,
};
pub use self::tables::{BlockTables, NotReplaced, TableAccess, TablePins, TooManyAccesses};
