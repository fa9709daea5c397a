//! The commands that are not a step, one file each.

pub mod audit;
pub mod backtest;
pub mod candles;
pub mod check;
pub mod explain;
pub mod flatten;
pub mod halt;
pub mod instances;
mod progress;
pub mod report;
pub mod resume;
pub mod status;
pub mod sweep;
pub mod telegram_setup;
pub mod trades;

use serde_json::Value;

/// What a command has to say: on standard output, as text or as one JSON object.
#[derive(Debug)]
pub struct Answer {
    /// For people.
    pub text: String,
    /// For scripts.
    pub json: Value,
}
