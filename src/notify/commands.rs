//! What the configured person wrote to the bot since the last run. Nothing of it can trade or lift
//! a halt, and nobody else is listened to.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::Value;

use super::digest;
use super::overview::Overview;
use super::telegram::{Api, Received};
use crate::config::{Config, Telegram};
use crate::exchange::http::Http;
use crate::failure::Failure;
use crate::report;
use crate::store::outside::Outside;
use crate::store::{State, Store};
use crate::trading::time::Timestamp;

/// What is to be answered after the run: when each was asked last, by Telegram's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked {
    /// `/status`.
    pub(super) status: Option<Timestamp>,
    /// `/why`.
    pub(super) why: Option<Timestamp>,
    /// `/halt`. It holds already.
    pub(super) halt: Option<Timestamp>,
    /// Any other.
    pub(super) other: Option<Timestamp>,
}

impl Asked {
    pub(super) fn is_something(&self) -> bool {
        self.newest().is_some()
    }

    fn newest(&self) -> Option<Timestamp> {
        [self.status, self.why, self.halt, self.other].into_iter().flatten().max()
    }

    /// The answer to all of it, which says how long it took to come.
    pub(super) fn answer(
        &self,
        config: &Config,
        state: &State,
        overview: &Overview,
        records: &[Value],
        outside: &Outside,
        now: Timestamp,
    ) -> Option<String> {
        let at = self.newest()?;
        let late = now.millis_since(at).max(0) / 1000;
        let (minutes, seconds) = (late / 60, late % 60);
        let mut text = format!(
            "{}answers what was asked at {at}, {minutes} min {seconds} s before this run",
            report::headline(config)
        );
        if self.halt.is_some() {
            text.push_str("\nhalted: no new order leaves until `ouroboros resume`, on the machine");
        }
        if self.why.is_some() {
            let last = records.iter().map(|record| &record["result"]).find(|it| it.is_object());
            let _ = match last {
                Some(last) => write!(
                    text,
                    "\n{}: {}",
                    last["candle"].as_str().unwrap_or("no candle"),
                    last["why"].as_str().unwrap_or("no reason was recorded")
                ),
                None => write!(text, "\nnothing was decided in the last two days"),
            };
        }
        if self.status.is_some() {
            text.push_str(&digest::status(config, state, overview, outside));
        }
        if self.other.is_some() {
            text.push_str("\n/status, /why and /halt are understood, nothing else");
        }
        Some(text)
    }
}

/// Reads what was written and asks for the halt that was wanted.
///
/// What can't be read is said and costs nothing but the time that it took.
///
/// **Errors**: a halt was wanted and can't be written: the run must not go on.
pub fn heed(
    config: &Config,
    http: &Http,
    store: &Store,
    outside: &mut Outside,
) -> Result<Asked, Failure> {
    let Some((telegram, commander)) = commander(config) else { return Ok(Asked::default()) };
    let now = http.clock().now();
    if outside.telegram_until(now).is_some() {
        return Ok(Asked::default());
    }
    let api = Api::new(http, &telegram.bot, http.clock().deadline(READING));
    let from = outside.memory.telegram_update.unwrap_or(0);
    let received = match api.received(Some(from)) {
        Ok(received) => received,
        Err(trouble) => {
            log::warn!("commands can't be read from Telegram: {}", trouble.why);
            return Ok(Asked::default());
        }
    };
    let mut asked = Asked::default();
    for message in received.iter().filter(|message| message.text.starts_with('/')) {
        if !is_from(message, telegram, commander) {
            log::warn!(
                "`{}` was written by somebody else than `TELEGRAM_USER_ID` in `TELEGRAM_CHAT_ID`; it is ignored",
                message.text
            );
            continue;
        }
        let at = Some(message.at.unwrap_or(now));
        // In a group the bot's name comes after it.
        let command = message.text.split([' ', '@']).next().unwrap_or_default();
        match command {
            "/status" => asked.status = at,
            "/why" => asked.why = at,
            "/halt" => {
                let reason = message.text.split_once(' ').map_or("", |(_, reason)| reason.trim());
                let reason = if reason.is_empty() { HALTED } else { reason };
                store.ask_to_halt(reason)?;
                asked.halt = at;
            }
            _ => asked.other = at,
        }
    }
    // After the halt is written and not before: read twice it halts twice, which harms nobody.
    if let Some(newest) = received.iter().map(|message| message.update).max() {
        outside.memory.telegram_update = newest.checked_add(1);
        outside.save();
    }
    Ok(asked)
}

fn commander(config: &Config) -> Option<(&Telegram, i64)> {
    let telegram = config.telegram.as_ref().filter(|_| !config.mode.is_replay())?;
    Some((telegram, telegram.commander?))
}

fn is_from(message: &Received, telegram: &Telegram, commander: i64) -> bool {
    // A channel is named, a chat has a number; a message in a channel is nobody's.
    let is_chat = telegram.chat_id.parse().is_ok_and(|id: i64| id == message.chat);
    is_chat && message.user == Some(commander)
}

/// Why it is halted when no reason was given.
const HALTED: &str = "/halt was written to the bot";
/// A start must not wait for Telegram.
const READING: Duration = Duration::from_secs(3);
