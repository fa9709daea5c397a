//! The digest: once a day what happened in it, and what `/status` answers.

use std::fmt::Write as _;

use serde_json::Value;

use super::overview::Overview;
use super::picture::{Day, Reading};
use crate::config::{Config, Telegram};
use crate::report;
use crate::store::State;
use crate::store::outside::Outside;
use crate::trading::market::Side;
use crate::trading::money::Profit;
use crate::trading::time::Timestamp;

/// The UTC day whose digest is due: its time has come, and it was not told yet.
pub(super) fn due(telegram: &Telegram, outside: &Outside, now: Timestamp) -> Option<Timestamp> {
    let (at, today) = (telegram.digest_at?, now.day());
    let at = i64::try_from(at.as_millis()).ok()?;
    let is_told = outside.memory.digest_day.as_deref() == Some(&*today.to_string());
    (now.millis_since(today) >= at && !is_told).then_some(today)
}

/// The last 24 hours in a few lines. `records` are those of the last 48, newest first.
pub(super) fn text(
    config: &Config,
    state: &State,
    overview: &Overview,
    records: &[Value],
    outside: &Outside,
    now: Timestamp,
) -> String {
    let mut text = format!("{}the day to {now}", report::headline(config));
    let (day, before) = split(records, now);
    let quote = config.pair.quote();
    let realized = |record: &&Value| record["realized_pnl"].as_str()?.parse().ok();
    let before = before.iter().find_map(|record| realized(&record));
    if let Some(change) = before.and_then(|before: rust_decimal::Decimal| {
        Profit::new(state.book.realized.value().checked_sub(before)?)
    }) {
        let _ = write!(text, "\nrealized in it {change} {quote}");
    }
    let trades = trades(day);
    let count = |side| trades.iter().filter(|(_, it)| *it == side).count();
    let candles = points(day).len();
    let _ = write!(
        text,
        "\n{} bought, {} sold, {candles} candles with a z-score",
        count(Side::Buy),
        count(Side::Sell)
    );
    text.push_str(&status(config, state, overview, outside));
    text
}

/// What is held, what it is worth, and what waits.
pub(super) fn status(
    config: &Config,
    state: &State,
    overview: &Overview,
    outside: &Outside,
) -> String {
    let (book, quote) = (&state.book, config.pair.quote());
    let mut text = String::new();
    // A paper book whose equity is not known has gained nothing that is known either.
    if let Some(equity) = overview.equity {
        let _ = write!(text, "\nequity {equity} {quote} on paper");
    } else if let Some(gained) = overview.gained {
        let _ = write!(text, "\nequity {gained} {quote} since it began, with what is held");
    }
    let _ = write!(
        text,
        "\nrealized {} {quote} over {} round trips, after fees",
        book.realized, book.round_trips
    );
    match book.position.holding() {
        None => text.push_str("\nholds nothing"),
        Some(holding) => {
            let asset = config.pair.asset(holding.leg);
            let quantity = book.available().unwrap_or(holding.quantity);
            let _ = write!(
                text,
                "\nholds {quantity} {asset}, bought at {} on the candle {}, {}",
                holding.entry_price,
                holding.entry_candle,
                report::entered_on(holding)
            );
            if let Some(unrealized) = overview.unrealized {
                let _ = write!(text, "\nif sold at the newest close: {unrealized} {quote}");
            }
        }
    }
    if let Some(candle) = &overview.candle {
        match overview.z {
            Some(z) => {
                let _ = write!(text, "\nz {z:+.4} on the candle {candle}");
            }
            None => {
                let _ = write!(text, "\nno z on the candle {candle}");
            }
        }
    }
    if let Some(intent) = book.pending() {
        let (id, at) = (&intent.client_order_id, intent.timestamp);
        let _ = write!(text, "\nopen: the order {id}, recorded at {at}; its outcome is not known");
    }
    if let Some(halt) = &book.halt {
        let _ = write!(text, "\nhalted: {}", halt.reason);
    }
    for (kind, failure) in &outside.memory.failures {
        let _ = write!(text, "\nfailing since {}, {} runs: {kind}", failure.since, failure.runs);
    }
    text
}

/// The last 24 hours as a picture.
pub(super) fn day(config: &Config, records: &[Value], now: Timestamp) -> Day {
    let (records, _) = split(records, now);
    let title = format!(
        "{} {} {}, 24 hours to {now}",
        config.mode.name(),
        config.pair,
        config.rules.interval
    );
    Day {
        title,
        points: points(records),
        trades: trades(records),
        entry: config.rules.thresholds.entry,
        step: config.rules.interval.millis(),
    }
}

/// The records of the last 24 hours, and those before.
fn split(records: &[Value], now: Timestamp) -> (&[Value], &[Value]) {
    let is_in_day = |record: &Value| {
        let at: Option<Timestamp> = record["at"].as_str().and_then(|at| at.parse().ok());
        at.is_some_and(|at| now.millis_since(at) < DAY_MILLIS)
    };
    records.split_at(records.iter().take_while(|record| is_in_day(record)).count())
}

/// What was executed, oldest first.
fn trades(records: &[Value]) -> Vec<(Timestamp, Side)> {
    let trade = |record: &Value| {
        let result = &record["result"];
        let order = [&result["order"], &result["settled"]]
            .into_iter()
            .find(|order| order["average_price"].is_string())?;
        let side = match order["side"].as_str()? {
            "BUY" => Side::Buy,
            _ => Side::Sell,
        };
        Some((result["candle"].as_str()?.parse().ok()?, side))
    };
    records.iter().rev().filter_map(trade).collect()
}

/// The candles that were decided on and have a z-score, oldest first, each once.
fn points(records: &[Value]) -> Vec<Reading> {
    let reading = |record: &Value| {
        let result = &record["result"];
        Some(Reading {
            at: result["candle"].as_str()?.parse().ok()?,
            spread: result["spread"].as_f64()?,
            mean: result["mean"].as_f64()?,
            std: result["std"].as_f64()?,
            z: result["z"].as_f64()?,
        })
    };
    let mut points: Vec<Reading> = records.iter().rev().filter_map(reading).collect();
    points.sort_by_key(|point| point.at);
    points.dedup_by_key(|point| point.at);
    points
}

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use secrecy::SecretString;

    use super::*;
    use crate::config::Bot;
    use crate::store::disk::System;

    #[test]
    fn it_is_due_once_a_day_from_its_time_on() {
        let url = "http://127.0.0.1".parse().expect("an address");
        let telegram = Telegram {
            bot: Bot { api_url: url, token: SecretString::from("1:a") },
            chat_id: "42".to_owned(),
            digest_at: Some(Duration::from_secs(8 * 3600)),
            commander: None,
        };
        let nowhere = std::path::Path::new("/nonexistent");
        let mut outside = Outside::load(Arc::new(System), nowhere);
        let mut due = |now: &str, told: Option<&str>| {
            outside.memory.digest_day = told.map(str::to_owned);
            let now = now.parse().expect("a moment");
            due(&telegram, &outside, now).map(|day| day.to_string())
        };
        let (first, second) = ("2024-03-01T00:00:00Z", "2024-03-02T00:00:00Z");
        assert_eq!(due("2024-03-01T07:59:59.999Z", None), None);
        assert_eq!(due("2024-03-01T08:00:00Z", None).as_deref(), Some(first));
        assert_eq!(due("2024-03-01T23:59:59Z", Some(first)), None);
        assert_eq!(due("2024-03-02T00:00:10Z", Some(first)), None, "its time has not come");
        assert_eq!(due("2024-03-02T08:00:10Z", Some(first)).as_deref(), Some(second));
        // Of a clock that was set back, the day is another one.
        assert_eq!(due("2024-03-01T09:00:00Z", Some(second)).as_deref(), Some(first));
    }
}
