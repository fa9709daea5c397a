//! Telling people and machines, after everything is saved. Nothing here changes what was done or
//! the exit code.
//!
//! What must not be lost waits in the state, numbered, until it was delivered; what went wrong is
//! told once, then once a day, and once more when it is over.

mod commands;
mod digest;
mod healthcheck;
mod metrics;
mod overview;
mod picture;
mod telegram;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::clock::Stopwatch;
use crate::config::{Bot, Config, Telegram};
use crate::exchange::http::Http;
use crate::failure::{Failure, Kind};
use crate::report;
use crate::store::disk::Disk;
use crate::store::outside::{OngoingFailure, Outside};
use crate::store::{self, Message, State};
use crate::trading::time::Timestamp;
use metrics::Figures;
use overview::Overview;
use telegram::{Api, Chat, Delivery, Trouble};

pub use commands::{Asked, heed};

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

/// A run that is over.
#[derive(Debug)]
pub struct Over<'a> {
    /// Where its book is.
    pub disk: &'a dyn Disk,
    /// The book's folder.
    pub folder: &'a Path,
    /// What is in it, where the run had its lock and could read it.
    pub state: Option<&'a State>,
    /// How it ended.
    pub ending: Ending<'a>,
    /// What a person wants to know.
    pub asked: Asked,
    /// When it began.
    pub now: Timestamp,
    /// What it took so far.
    pub stopwatch: &'a Stopwatch,
}

impl Over<'_> {
    fn exit_code(&self) -> u8 {
        match self.ending {
            Ending::Done(_) | Ending::StoodStill(_) => 0,
            Ending::Failed(failure) => failure.kind.code(),
        }
    }

    /// The journal's records from this moment on, newest first. Nothing where it can't be read:
    /// the run's own answer says so.
    fn records(&self, since: Timestamp) -> Vec<Value> {
        let state = self.state.into_iter();
        let records = state.map(|state| store::records_since(self.disk, self.folder, state, since));
        records.flatten().flatten().collect()
    }

    /// What the book comes to.
    fn overview(&self, config: &Config, records: &[Value]) -> Option<Overview> {
        Overview::of(config, &self.state?.book, records).ok()
    }
}

/// Tells what waits and how the run ended.
///
/// Without a lock nothing is told, and nothing after a wrong configuration: what waits may be
/// another book's. A run that was told to stop sends the ping alone, so that it ends soon.
pub fn tell(config: &Config, http: &Http, outside: &mut Outside, over: &Over<'_>) {
    let Over { ending, .. } = *over;
    let is_stopped = matches!(ending, Ending::Failed(failure) if failure.kind == Kind::Stopped);
    match ending {
        Ending::Failed(failure) if !failure.kind.is_pinged() => return,
        _ => {}
    }
    if let Some(path) = config.metrics_file.as_ref().filter(|_| !config.mode.is_replay()) {
        leave_figures(config, outside, over, path);
    }
    // The ping goes before what is told: it is one request, and it is what a monitor waits for.
    if let Some(url) = config.healthcheck.as_ref().filter(|_| !config.mode.is_replay()) {
        let (line, is_good) = match ending {
            Ending::Done(line) | Ending::StoodStill(line) => (line, true),
            Ending::Failed(failure) => (failure.message.as_str(), false),
        };
        healthcheck::ping(http, url.expose(), line, is_good);
    }
    if let Some(telegram) = config.telegram.as_ref().filter(|_| !is_stopped) {
        let chat = Chat::new(http, telegram, http.clock().deadline(ALL_MESSAGES));
        tell_chat(config, telegram, &chat, outside, over);
    }
    outside.save();
}

fn leave_figures(config: &Config, outside: &mut Outside, over: &Over<'_>, path: &Path) {
    let (exit_code, took) = (over.exit_code(), over.stopwatch.elapsed());
    let now = over.now.plus_millis(i64::try_from(took.as_millis()).unwrap_or(0));
    if exit_code == 0 {
        outside.memory.last_success = Some(now.to_string());
    }
    let records = over.records(over.now.plus_millis(-DAY_MILLIS));
    let overview = over.overview(config, &records);
    let (state, overview) = (over.state, overview.as_ref());
    Figures { config, state, overview, outside, exit_code, now, took }.write(path);
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
        no_good_answer(&trouble, hint)
    };
    let bot = chat.api.bot().map_err(|trouble| failure(trouble, WRONG_TOKEN))?;
    let kind = chat.kind().map_err(|trouble| {
        let hint = "look at `TELEGRAM_CHAT_ID`; `ouroboros telegram-setup` shows it";
        failure(trouble, hint)
    })?;
    Ok(format!("@{bot} tells the chat {} ({kind})", telegram.chat_id))
}

/// The chats in which somebody wrote to the bot in the last 24 hours, the newest first, and the
/// bot's name. Waits a minute for somebody; `look` is shown the name before.
///
/// **Errors**: Telegram does not know the bot, or gave no answer; nobody wrote; told to stop.
pub fn find_chats(
    bot: &Bot,
    http: &Http,
    look: impl FnOnce(&str),
) -> Result<(String, Vec<Found>), Failure> {
    let deadline = http.clock().deadline(LONGEST_WAIT);
    let api = Api::new(http, bot, deadline.clone());
    let name = api.bot().map_err(|trouble| no_good_answer(&trouble, WRONG_TOKEN))?;
    look(&name);
    loop {
        http.stop().check("nothing was changed")?;
        let received = api.received(None).map_err(|trouble| {
            if trouble.is_refusal {
                return no_good_answer(&trouble, WRONG_TOKEN);
            }
            Failure::new(
                Kind::Unreachable,
                format!("Telegram does not show what was written: {}", trouble.why),
                "if another program reads this bot's messages, stop it for a moment; then try again",
            )
        })?;
        let mut found: Vec<Found> = Vec::new();
        for message in received.into_iter().rev() {
            if !found.iter().any(|it| (it.chat, it.user) == (message.chat, message.user)) {
                found.push(Found {
                    chat: message.chat,
                    name: message.chat_name,
                    user: message.user,
                });
            }
        }
        if !found.is_empty() {
            return Ok((name, found));
        }
        if deadline.has_passed() {
            return Err(Failure::configuration(
                format!("nobody has written to @{name} in the last 24 hours"),
                format!(
                    "write anything to @{name} in Telegram, in a group /start@{name}, and start this again"
                ),
            ));
        }
        deadline.sleep(BETWEEN_LOOKS);
    }
}

/// A chat in which somebody wrote to the bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its number; below 0 where it is a group.
    pub chat: i64,
    /// What it is called.
    pub name: String,
    /// Who wrote.
    pub user: Option<i64>,
}

fn no_good_answer(trouble: &Trouble, hint: &str) -> Failure {
    if trouble.is_refusal {
        return Failure::configuration(format!("Telegram refused: {}", trouble.why), hint);
    }
    let hint = "what is to be told waits until Telegram takes it; no trade depends on it";
    let message = format!("Telegram gave no good answer: {}", trouble.why);
    Failure::new(Kind::Unreachable, message, hint)
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
    telegram: &Telegram,
    chat: &Chat<'_>,
    outside: &mut Outside,
    over: &Over<'_>,
) {
    let Over { state, ending, now, asked, .. } = *over;
    let silent = Cell::new(false);
    if let Some(until) = outside.telegram_until(now) {
        log::warn!("Telegram wants no message before {until}; what waits is told later");
        silent.set(true);
    }
    let deliver = |outside: &mut Outside, message: &dyn Fn() -> Delivery| {
        if silent.get() {
            return false;
        }
        match message() {
            Delivery::Delivered => true,
            // One that failed is not followed by more: they would wait for as long.
            Delivery::Failed { silent_for } => {
                silent.set(true);
                outside.memory.telegram_until = silent_for
                    .map(|seconds| now.plus_millis(seconds.saturating_mul(1000)).to_string());
                false
            }
        }
    };
    let send = |outside: &mut Outside, text: &str| deliver(outside, &|| chat.send(text));

    let delivered = outside.memory.delivered;
    let waiting: Vec<&Message> = state
        .into_iter()
        .flat_map(|state| &state.outbox.waiting)
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
            let told = is_due && if is_said { !silent.get() } else { send(outside, &text()) };
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

    let Some(state) = state.filter(|_| !config.mode.is_replay()) else { return };
    let digest = digest::due(telegram, outside, now);
    if digest.is_none() && !asked.is_something() {
        return;
    }
    let records = over.records(now.plus_millis(-2 * DAY_MILLIS));
    let Some(overview) = over.overview(config, &records) else { return };
    if let Some(answer) = asked.answer(config, state, &overview, &records, outside, now) {
        send(outside, &answer);
    }
    if let Some(day) = digest {
        let text = digest::text(config, state, &overview, &records, outside, now);
        let picture = picture::png(&digest::day(config, &records, now));
        let message = || match &picture {
            Some(picture) => chat.send_picture(picture, &text),
            None => chat.send(&text),
        };
        if deliver(outside, &message) {
            outside.memory.digest_day = Some(day.to_string());
        }
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
        failure.advice()
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
/// `telegram-setup` is started by a person, who has a phone at hand.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
const BETWEEN_LOOKS: Duration = Duration::from_secs(2);
const WRONG_TOKEN: &str = "look at `TELEGRAM_BOT_TOKEN`; Telegram's @BotFather shows it";
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
