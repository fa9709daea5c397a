//! `halt`: the switch that lets no new order out, at once, even while a run is under way.

use serde_json::json;

use super::Answer;
use crate::config::Config;
use crate::exchange::http::Http;
use crate::failure::{Failure, Kind};
use crate::store::{self, disk::System};
use crate::trading::time::Timestamp;
use crate::world::{self, World};

/// Makes the halt part of the state; while a run holds the lock, asks for it beside the state.
///
/// **Errors**: the state can't be read, trusted or written, or belongs to another pair. A run that
/// holds the lock is no error: it sees the request before it would trade, and the next run records
/// it.
pub fn halt(config: &Config, reason: &[String], now: Timestamp) -> Result<Answer, Failure> {
    let reason = match reason.join(" ").trim() {
        "" => "asked for by hand".to_owned(),
        words => words.chars().filter(|c| !c.is_control()).take(MOST_REASON).collect(),
    };
    let text = match World::open(config, &Http::for_nothing()?, System::shared()) {
        Ok(mut world) => {
            let past = world.load(config)?;
            if past.book.halt.is_none() {
                world.halt(config, &past, reason.clone(), now)?;
            }
            "halted: no new order leaves until `ouroboros resume`"
        }
        Err(failure) if failure.kind == Kind::Busy => {
            // Another pair's book must not be halted by mistake.
            world::peek(&System, config)?;
            store::ask_to_halt(&System, &world::folder(config)?, &reason)?;
            "halted: a run is under way; if it has not traded yet it will not, and neither will any \
             other until `ouroboros resume`"
        }
        Err(failure) => return Err(failure),
    };
    let json = json!({ "mode": config.mode.name(), "halted": reason });
    Ok(Answer { text: format!("{text}\nreason: {reason}"), json })
}

const MOST_REASON: usize = 500;
