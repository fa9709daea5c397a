//! History: the same step over recorded candles, and what it was worth.

pub mod bootstrap;
mod course;
pub mod curve;
pub mod engine;
pub mod figures;
pub mod health;
pub mod lots;
pub mod normal;
pub mod overfit;
mod quick;
pub mod sums;
pub mod sweep;
pub mod trip;
pub mod unit_root;
pub mod verdict;
pub mod worth;
