//! The engine against the cases 15 to 22 of its behaviour. One binary, so that llama.cpp is linked once.

mod cache;
mod cancels;
mod chaos;
mod drains;
mod failures;
mod lanes;
#[cfg(feature = "llama")]
mod llama;
mod order;
mod pressure;
mod requests;
mod sharing;
mod support;
mod swaps;
mod threads;
mod wakers;
