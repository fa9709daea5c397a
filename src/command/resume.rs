//! `resume`: lifts a halt, and shows what it lifts.

use serde_json::json;

use super::Answer;
use crate::config::Config;
use crate::exchange::http::Http;
use crate::failure::Failure;
use crate::report;
use crate::trading::time::Timestamp;
use crate::world::World;

/// Lifts the halt.
///
/// **Errors**: another run holds the lock, or the state can't be read, trusted or written.
pub fn resume(config: &Config, now: Timestamp) -> Result<Answer, Failure> {
    let mut world = World::open(config, &Http::for_nothing()?)?;
    let mut past = world.load(config)?;
    if let Some(reason) = world.store.asked_to_halt()? {
        // Recorded even though it is lifted at once: the journal has every halt.
        past = world.halt(config, &past, reason, now)?;
    }
    let Some(halt) = past.book.halt.clone() else {
        return Ok(Answer {
            text: "not halted: there is nothing to lift".to_owned(),
            json: json!({ "mode": config.mode.name(), "lifted": null }),
        });
    };
    let mut book = past.book.clone();
    book.halt = None;
    book.refusals = 0;
    world.commit(config, &past, book, None, &report::resume_record(now, &halt))?;
    Ok(Answer {
        text: format!("resumed; it had been halted for this reason: {}", halt.reason),
        json: json!({ "mode": config.mode.name(), "lifted": halt.reason }),
    })
}
