//! The commands that are not a step, one file each.

pub mod audit;
pub mod backtest;
pub mod candles;
pub mod check;
pub mod crontab;
pub mod explain;
pub mod flatten;
pub mod halt;
pub mod init;
pub mod instances;
mod placing;
mod progress;
pub mod report;
pub mod resume;
mod schedule;
pub mod status;
pub mod sweep;
pub mod telegram_setup;
pub mod trades;
pub mod units;

use serde_json::Value;

/// What a command has to say: on standard output, as text or as one JSON object.
#[derive(Debug)]
pub struct Answer {
    /// For people.
    pub text: String,
    /// For scripts.
    pub json: Value,
}
