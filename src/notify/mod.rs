//! Telling people and machines, after everything is saved. Nothing here changes what was done or
//! the exit code.
//!
//! What must not be lost waits in the state, numbered, until it was delivered; what went wrong is
//! told once, then once a day, and once more when it is over.

mod healthcheck;
mod telegram;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::clock::Deadline;
use crate::config::{Config, Mode};
use crate::exchange::http::Http;
use crate::failure::{Failure, Kind};
use crate::report;
use crate::store::outside::{OngoingFailure, Outside};
use crate::store::{Message, Outbox};
use crate::trading::time::Timestamp;
use telegram::{Chat, Delivery};

/// How a run ended, for those who are told.
#[derive(Debug, Clone, Copy)]
pub enum Ending<'a> {
    /// It did its step, in one line.
    Done(&'a str),
    /// It stood still without asking anyone: nothing is known of what was wrong before.
    StoodStill(&'a str),
    /// It failed.
    Failed(&'a Failure),
}

/// Tells what waits and how the run ended.
///
/// Without a lock nothing is told, and nothing after a wrong configuration: what waits may be
/// another book's. A run that was told to stop sends the ping alone, so that it ends soon.
pub fn tell(
    config: &Config,
    http: &Http,
    outbox: Option<&Outbox>,
    outside: &mut Outside,
    ending: Ending<'_>,
    now: Timestamp,
) {
    let is_stopped = matches!(ending, Ending::Failed(failure) if failure.kind == Kind::Stopped);
    match ending {
        Ending::Failed(failure) if !failure.kind.is_pinged() => return,
        _ => {}
    }
    // The ping goes first: it is one request, and it is what a monitor waits for.
    if let (Some(url), Mode::Paper) = (&config.healthcheck, &config.mode) {
        let (line, is_good) = match ending {
            Ending::Done(line) | Ending::StoodStill(line) => (line, true),
            Ending::Failed(failure) => (failure.message.as_str(), false),
        };
        healthcheck::ping(http, url.expose(), line, is_good);
    }
    if let Some(telegram) = config.telegram.as_ref().filter(|_| !is_stopped) {
        let chat = Chat::new(http, telegram, Deadline::after(ALL_MESSAGES));
        tell_chat(config, &chat, outbox, outside, ending, now);
    }
    outside.save();
}

fn tell_chat(
    config: &Config,
    chat: &Chat<'_>,
    outbox: Option<&Outbox>,
    outside: &mut Outside,
    ending: Ending<'_>,
    now: Timestamp,
) {
    let mut silent = false;
    if let Some(until) = outside.telegram_until(now) {
        log::warn!("Telegram wants no message before {until}; what waits is told later");
        silent = true;
    }
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
        outside.remember_delivery(batch.last);
        outside.save();
    }

    match ending {
        Ending::Failed(failure) if failure.kind.is_told() => {
            let kind = failure.kind.name();
            let ongoing = ongoing(outside.memory.failures.remove(kind), now);
            let is_due = ongoing.told_at.as_ref().is_none_or(|told_at| {
                let told_at: Result<Timestamp, _> = told_at.parse();
                told_at.map_or(true, |told_at| now.millis_since(told_at) >= DAY_MILLIS)
            });
            let told = is_due && send(outside, &failure_text(config, failure, &ongoing));
            let told_at = if told { Some(now.to_string()) } else { ongoing.told_at };
            let ongoing = OngoingFailure { told_at, ..ongoing };
            outside.memory.failures.insert(kind.to_owned(), ongoing);
        }
        Ending::Done(line) => {
            // What was never told needs no end either.
            outside.memory.failures.retain(|_, failure| failure.told_at.is_some());
            let over = &outside.memory.failures;
            if !over.is_empty() && send(outside, &works_again(config, &over.clone(), line)) {
                outside.memory.failures.clear();
            }
        }
        Ending::Failed(_) | Ending::StoodStill(_) => {}
    }
}

/// Messages that go out as one.
struct Batch<'a> {
    text: String,
    last: &'a Message,
}

/// As many messages in each as Telegram takes, in order.
fn batches<'a>(waiting: &[&'a Message]) -> Vec<Batch<'a>> {
    let mut batches: Vec<Batch<'a>> = Vec::new();
    for message in waiting {
        let text = format!("#{} {}", message.number, message.text);
        match batches.last_mut() {
            Some(batch) if batch.text.len() + text.len() + 2 <= telegram::MOST_TEXT => {
                batch.text = format!("{}\n\n{text}", batch.text);
                batch.last = message;
            }
            _ => batches.push(Batch { text, last: message }),
        }
    }
    batches
}

fn ongoing(before: Option<OngoingFailure>, now: Timestamp) -> OngoingFailure {
    match before {
        Some(before) => OngoingFailure { runs: before.runs.saturating_add(1), ..before },
        None => OngoingFailure { since: now.to_string(), runs: 1, told_at: None },
    }
}

fn failure_text(config: &Config, failure: &Failure, ongoing: &OngoingFailure) -> String {
    let again = match ongoing.runs {
        1 => String::new(),
        runs => format!(" ({runs} runs since {})", ongoing.since),
    };
    format!(
        "{}failed with exit code {}{again}: {}\n{}",
        report::headline(config),
        failure.kind.code(),
        failure.message,
        failure.hint
    )
}

fn works_again(config: &Config, over: &BTreeMap<String, OngoingFailure>, line: &str) -> String {
    let each: Vec<String> = over
        .iter()
        .map(|(kind, over)| {
            let runs =
                if over.runs == 1 { "1 run".to_owned() } else { format!("{} runs", over.runs) };
            format!("{runs} failed since {} ({kind})", over.since)
        })
        .collect();
    format!("{}works again, after {}\n{line}", report::headline(config), each.join(", "))
}

/// With 30 s for the exchange and 4 s for the ping, a run stays below 45 s.
const ALL_MESSAGES: Duration = Duration::from_secs(6);
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
