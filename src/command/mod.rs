//! The commands that are not a step, one file each.

pub mod adopt;
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

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use serde_json::Value;

use crate::failure::Failure;

/// Whether a person at the terminal means `what`; where there is no terminal nobody is asked.
///
/// **Errors**: those of `what`.
fn ask(what: impl FnOnce() -> Result<String, Failure>) -> Result<bool, Failure> {
    if !std::io::stdin().is_terminal() {
        return Ok(true);
    }
    let what = what()?;
    // A question that can't be shown can't be answered with yes.
    let asked = write!(std::io::stderr(), "{what}? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    Ok(asked.is_ok() && read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// What a command has to say: on standard output, as text or as one JSON object.
#[derive(Debug)]
pub struct Answer {
    /// For people.
    pub text: String,
    /// For scripts.
    pub json: Value,
}
