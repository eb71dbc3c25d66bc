//! Agents: their names.

mod directory;

pub use self::directory::{Directory, RegisterError};
