//! The core: what is decided and what it does to the book.
//!
//! Nothing in here reads a file, the network, the environment, the clock or a log. Everything is
//! a function of its arguments, so that a start by a timer, a replay and a test are the same code.
//!
//! The states, and the only ways between them:
//!
//! ```text
//!              z > entry, buy the denominator        z < -entry, buy the numerator
//!         ┌───────────────────────────────── Flat ─────────────────────────────────┐
//!         ▼                                   ▲ ▲                                  ▼
//!  Holding(denominator) ── z <= exit, sell ───┘ └── z >= -exit, sell ── Holding(numerator)
//!         │                                   ▲ ▲                                  │
//!         └── sold in part, or not at all ──► Leaving ◄── sold in part, or not at all
//!                                    (ignores z, sells the rest at later candles)
//! ```
//!
//! Outside, `Holding` and `Leaving` both print as `HOLDING_` and the asset.

#![deny(clippy::float_arithmetic, clippy::as_conversions)]

pub mod account;
pub mod book;
pub mod candle;
pub mod fill;
pub mod ledger;
pub mod machine;
pub mod market;
pub mod money;
pub mod order;
pub mod settlement;
pub mod strategy;
pub mod time;
