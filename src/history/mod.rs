//! History: the same step over recorded candles, and what it was worth.

pub mod engine;
pub mod figures;
pub mod overfit;
pub mod sweep;
pub mod trip;
pub mod verdict;
