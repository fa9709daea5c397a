//! Telling people and machines, after everything is saved. Nothing here changes what was done or
//! the exit code.
//!
//! What must not be lost waits in the state, numbered, until it was delivered; what went wrong is
//! told once, then once a day, and once more when it is over.

mod healthcheck;
mod telegram;

use std::collections::BTreeMap;
use std::time::Duration;

use crate::config::{Config, Telegram};
use crate::exchange::http::Http;
use crate::failure::{Failure, Kind};
use crate::report;
use crate::store::outside::{OngoingFailure, Outside};
use crate::store::{Message, Outbox};
use crate::trading::time::Timestamp;
use telegram::{Chat, Delivery, Trouble};

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
    if let Some(url) = config.healthcheck.as_ref().filter(|_| !config.mode.is_replay()) {
        let (line, is_good) = match ending {
            Ending::Done(line) | Ending::StoodStill(line) => (line, true),
            Ending::Failed(failure) => (failure.message.as_str(), false),
        };
        healthcheck::ping(http, url.expose(), line, is_good);
    }
    if let Some(telegram) = config.telegram.as_ref().filter(|_| !is_stopped) {
        let chat = Chat::new(http, telegram, http.clock().deadline(ALL_MESSAGES));
        tell_chat(config, &chat, outbox, outside, ending, now);
    }
    outside.save();
}

/// Which bot would tell which chat. Tells nothing.
///
/// **Errors**: Telegram knows the one or the other not (a wrong configuration), wants silence, or
/// gave no answer.
pub fn introduce(
    telegram: &Telegram,
    http: &Http,
    outside: &mut Outside,
    now: Timestamp,
) -> Result<String, Failure> {
    if let Some(until) = outside.telegram_until(now) {
        return Err(silence(until));
    }
    let chat = Chat::new(http, telegram, http.clock().deadline(ALL_MESSAGES));
    let mut failure = |trouble: Trouble, hint: &str| {
        if let Some(seconds) = trouble.silent_for {
            let until = now.plus_millis(seconds.saturating_mul(1000));
            outside.memory.telegram_until = Some(until.to_string());
            outside.save();
            return silence(until);
        }
        if trouble.is_refusal {
            return Failure::configuration(format!("Telegram refused: {}", trouble.why), hint);
        }
        let hint = "what is to be told waits until Telegram takes it; no trade depends on it";
        let message = format!("Telegram gave no good answer: {}", trouble.why);
        Failure::new(Kind::Unreachable, message, hint)
    };
    let bot = chat.bot().map_err(|trouble| {
        failure(trouble, "look at `TELEGRAM_BOT_TOKEN`; Telegram's @BotFather shows it")
    })?;
    let kind = chat.kind().map_err(|trouble| {
        let hint = "look at `TELEGRAM_CHAT_ID`; write to the bot once, or add it to the group";
        failure(trouble, hint)
    })?;
    Ok(format!("@{bot} tells the chat {} ({kind})", telegram.chat_id))
}

fn silence(until: Timestamp) -> Failure {
    Failure::new(
        Kind::Limited,
        format!("Telegram wants no message before {until}"),
        "what is to be told waits until then",
    )
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
            // An order is often known a run later; only one that stays open is news.
            let is_news = failure.kind != Kind::Pending || ongoing.runs > 1;
            let is_due = is_news
                && ongoing.told_at.as_ref().is_none_or(|told_at| {
                    let told_at: Result<Timestamp, _> = told_at.parse();
                    told_at.map_or(true, |told_at| now.millis_since(told_at) >= DAY_MILLIS)
                });
            // A halt of the program's own is among the messages of the state, if there is a state.
            let is_said = failure.kind == Kind::Halted && !waiting.is_empty();
            let text = || failure_text(config, failure, &ongoing);
            let told = is_due && if is_said { !silent } else { send(outside, &text()) };
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
