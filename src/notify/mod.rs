//! Telling people and machines, after everything is saved. Nothing here changes what was done or
//! the exit code.
//!
//! What must not be lost waits in the state, numbered, until it was delivered; what went wrong is
//! told once, then once a day, and once more when it is over.

mod healthcheck;
mod telegram;

use std::time::Duration;

use crate::clock::Deadline;
use crate::config::{Config, Mode};
use crate::exchange::http::Http;
use crate::failure::Failure;
use crate::report;
use crate::store::outside::{OngoingFailure, Outside};
use crate::store::{Message, Outbox};
use crate::trading::time::Timestamp;
use crate::world::World;
use telegram::{Chat, Delivery};

/// How a run ended, for those who are told.
pub type Ending<'a> = Result<&'a str, &'a Failure>;

/// Tells what waits and how the run ended.
///
/// `world` is `None` where it could not be opened: then nothing is known of what was told before,
/// and nothing is remembered.
pub fn tell(
    config: &Config,
    http: &Http,
    mut world: Option<&mut World>,
    ending: Ending<'_>,
    now: Timestamp,
) {
    let deadline = Deadline::after(ALL_TELLING);
    if let Some(telegram) = &config.telegram {
        let chat = Chat::new(http, telegram, deadline);
        match &mut world {
            Some(World { store, outside, .. }) => {
                let outbox = store.state().map(|state| &state.outbox);
                tell_with_memory(config, &chat, outbox, outside, ending, now);
            }
            None => {
                if let Err(failure) = ending
                    && failure.kind.is_told()
                {
                    chat.send(&failure_text(config, failure, None));
                }
            }
        }
    }
    // A replay is no run that anyone waits for.
    if let (Some(url), Mode::Paper) = (&config.healthcheck, &config.mode) {
        match ending {
            Ok(line) => healthcheck::ping(http, url, line, true, deadline),
            Err(failure) if failure.kind.is_pinged() => {
                healthcheck::ping(http, url, &failure.message, false, deadline);
            }
            Err(_) => {}
        }
    }
}

fn tell_with_memory(
    config: &Config,
    chat: &Chat<'_>,
    outbox: Option<&Outbox>,
    outside: &mut Outside,
    ending: Ending<'_>,
    now: Timestamp,
) {
    let silent_until = outside.telegram_until(now);
    if let Some(until) = silent_until {
        log::warn!("Telegram wants no message before {until}; what waits is told later");
    }
    let mut silent = silent_until.is_some();
    let mut send = |outside: &mut Outside, text: &str| {
        if silent {
            return false;
        }
        match chat.send(text) {
            Delivery::Delivered => true,
            // One that failed is not followed by more: they would wait for as long.
            Delivery::Failed { silent_for } => {
                silent = true;
                outside.memory.telegram_until = silent_for
                    .map(|seconds| now.plus_millis(seconds.saturating_mul(1000)).to_string());
                false
            }
        }
    };

    let delivered = outside.memory.delivered;
    let waiting: Vec<&Message> = outbox
        .into_iter()
        .flat_map(|outbox| &outbox.waiting)
        .filter(|message| message.number > delivered)
        .collect();
    for batch in batches(&waiting) {
        if !send(outside, &batch.text) {
            break;
        }
        // Remembered at once: a repeat after a kill is visible by its number, but not nice.
        outside.memory.delivered = batch.last;
        outside.save();
    }

    match ending {
        Err(failure) if failure.kind.is_told() => {
            let ongoing = ongoing(outside.memory.failure.take(), failure, now);
            let is_due = ongoing.told_at.as_ref().is_none_or(|told_at| {
                let told_at: Result<Timestamp, _> = told_at.parse();
                told_at.map_or(true, |told_at| now.millis_since(told_at) >= DAY_MILLIS)
            });
            let told = is_due && send(outside, &failure_text(config, failure, Some(&ongoing)));
            let told_at = if told { Some(now.to_string()) } else { ongoing.told_at };
            outside.memory.failure = Some(OngoingFailure { told_at, ..ongoing });
        }
        Ok(line) => {
            if let Some(over) = outside.memory.failure.take() {
                let was_told = over.told_at.is_some();
                if was_told && !send(outside, &works_again(config, &over, line)) {
                    outside.memory.failure = Some(over);
                }
            }
        }
        Err(_) => {}
    }
    outside.save();
}

/// Messages that go out as one.
struct Batch {
    text: String,
    last: u64,
}

/// As many messages in each as Telegram takes, in order.
fn batches(waiting: &[&Message]) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for message in waiting {
        let text = format!("#{} {}", message.number, message.text);
        match batches.last_mut() {
            Some(batch) if batch.text.len() + text.len() + 2 <= telegram::MOST_TEXT => {
                batch.text = format!("{}\n\n{text}", batch.text);
                batch.last = message.number;
            }
            _ => batches.push(Batch { text, last: message.number }),
        }
    }
    batches
}

fn ongoing(before: Option<OngoingFailure>, failure: &Failure, now: Timestamp) -> OngoingFailure {
    let kind = failure.kind.name();
    match before.filter(|before| before.kind == kind) {
        Some(before) => OngoingFailure { runs: before.runs.saturating_add(1), ..before },
        None => {
            OngoingFailure { kind: kind.to_owned(), since: now.to_string(), runs: 1, told_at: None }
        }
    }
}

fn failure_text(config: &Config, failure: &Failure, ongoing: Option<&OngoingFailure>) -> String {
    let again = match ongoing {
        Some(ongoing) if ongoing.runs > 1 => {
            format!(" ({} runs since {})", ongoing.runs, ongoing.since)
        }
        _ => String::new(),
    };
    format!(
        "{}failed with exit code {}{again}: {}\n{}",
        report::headline(config),
        failure.kind.code(),
        failure.message,
        failure.hint
    )
}

fn works_again(config: &Config, over: &OngoingFailure, line: &str) -> String {
    let runs = if over.runs == 1 { "1 run".to_owned() } else { format!("{} runs", over.runs) };
    format!(
        "{}works again, after {runs} failed since {} ({})\n{line}",
        report::headline(config),
        over.since,
        over.kind
    )
}

/// With the 30 s of all questions to the exchange, a run stays below 45 s.
const ALL_TELLING: Duration = Duration::from_secs(10);
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
