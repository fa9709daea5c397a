//! What is fuzzed: ten parsers of bytes that somebody else wrote, each with the laws that hold
//! whatever the bytes are.
//!
//! A target is a plain function that panics where a law is broken. The fuzzer (`tests/fuzz/run`)
//! looks for such bytes, `tests/it/corpus.rs` tries again what it found. All of them go through the
//! doors that a run uses, with a disk, a network and a clock of their own.

mod config;
mod dump;
mod files;
mod market;
mod orders;
mod world;

/// Panics where a law is broken.
pub(crate) type Target = fn(&[u8]);

/// Each target and its name, which is also its folder in `tests/corpus`.
pub(crate) const TARGETS: [(&str, Target); 10] = [
    ("config", config::config),
    ("state", files::state),
    ("journal", files::journal),
    ("klines", market::klines),
    ("order", orders::order),
    ("error", orders::error),
    ("rules", market::rules),
    ("account", orders::account),
    ("dump", dump::dump),
    ("outside", files::outside),
];
