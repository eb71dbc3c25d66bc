//! The calls of llama.cpp that llama-cpp-2 has no safe function for, each made safe here.
//!
//! A crate of its own, because `latchless-engine` forbids unsafe code.

pub mod quantize;
pub mod state;
