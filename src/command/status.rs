//! `status`: what is held and what came of it. Touches nothing, needs no network.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Answer;
use crate::config::{Config, Mode};
use crate::failure::Failure;
use crate::report::{entered_on, intent_json, state_name};
use crate::store::disk::System;
use crate::store::outside::Outside;
use crate::store::{State, read_halt, recent_records};
use crate::trading::book::{Book, HaltedBy, Holding};
use crate::trading::money::Quantity;
use crate::trading::strategy::ZScore;
use crate::trading::time::Timestamp;
use crate::world;

/// What is on disk, in words.
///
/// **Errors**: the state can't be read or trusted, or belongs to another pair.
pub fn status(config: &Config, now: Timestamp) -> Result<Answer, Failure> {
    let folder = world::folder(config)?;
    let state = world::peek(&System, config)?;
    let new_book =
        if config.mode.is_live() { Book::unclaimed() } else { Book::open(config.opening_balance) };
    let book = state.as_ref().map_or(&new_book, |state| &state.book);
    let halted =
        read_halt(&System, &folder)?.or(book.halt.as_ref().map(|halt| halt.reason.clone()));
    let records = match &state {
        Some(state) => recent_records(&System, &folder, state)?,
        None => Vec::new(),
    };
    let decisions = records.iter().map(|record| &record["result"]);
    let last = decisions.into_iter().find(|result| result.is_object()).unwrap_or(&Value::Null);
    let json = to_json(config, book, halted.as_deref(), last);

    let pair = &config.pair;
    let quote = pair.quote();
    let mut text = format!("{} {pair} {}", config.mode.name(), config.rules.interval);
    if state.is_none() {
        text.push_str(", no run yet");
    }
    let _ = write!(text, "\nstate          {}", state_name(&book.position, pair));
    if let Some(holding) = book.position.holding() {
        let asset = pair.asset(holding.leg);
        let _ = write!(text, "\nheld           {} {asset}", on_the_book(book, holding));
        let _ = write!(
            text,
            "\n  bought       at {} on the candle {}, {}",
            holding.entry_price,
            holding.entry_candle,
            entered_on(holding)
        );
        let _ = write!(text, "\n  cost         {} {quote}", holding.cost);
    }
    if let Some(ledger) = &book.ledger {
        let _ = write!(text, "\naccount        {}", ledger.uid);
    }
    match book.pending() {
        None => text.push_str("\npending        none"),
        Some(intent) => {
            let _ = write!(
                text,
                "\npending        {} {} {}, recorded at {}; its outcome is not known yet",
                intent.ordered.plan.side,
                pair.symbol(intent.ordered.leg),
                intent.client_order_id,
                intent.timestamp
            );
        }
    }
    let candle = book.last_candle.map_or_else(|| "none".to_owned(), |candle| candle.to_string());
    let _ = write!(text, "\nlast candle    {candle}");
    if let Some(why) = last["why"].as_str() {
        let _ = write!(text, "\nlast decision  {why}");
    }
    if let Some(cash) = book.cash {
        let _ = write!(text, "\npaper balance  {cash} {quote}");
    }
    let _ = write!(
        text,
        "\nrealized       {} {quote} over {} round trips, after fees",
        book.realized, book.round_trips
    );
    for (asset, fee) in &book.other_fees {
        let _ = write!(text, "\nother fees     {fee} {asset}, not part of what was realized");
    }
    for (leg, dust) in dust(book) {
        let _ = write!(text, "\ndust           {dust} {}", pair.asset(leg));
    }
    if let Some(reason) = &halted {
        let by = match book.halt.as_ref().map(|halt| halt.by) {
            Some(HaltedBy::Program) => "by the program itself",
            _ => "by a person",
        };
        let _ = write!(text, "\nhalted         {by}: {reason}");
    }
    text.push_str(&outside_lines(
        config,
        state.as_ref(),
        &Outside::load(System::shared(), &folder),
        now,
    ));
    Ok(Answer { text, json })
}

fn to_json(config: &Config, book: &Book, halted: Option<&str>, last: &Value) -> Value {
    json!({
        "mode": config.mode.name(),
        "pair": config.pair.to_string(),
        "timeframe": config.rules.interval.name(),
        "state": state_name(&book.position, &config.pair),
        "position": book.position.holding().map(|holding| position(config, book, holding)),
        "pending": book.pending().map(|intent| intent_json(intent, &config.pair)),
        "last_decision": if last.is_null() { Value::Null } else { json!({
            "candle": last["candle"],
            "z": last["z"],
            "signal": last["signal"],
            "action": last["action"],
            "why": last["why"],
        }) },
        "last_candle": book.last_candle.map(|candle| candle.to_string()),
        "realized_pnl": book.realized.to_string(),
        "trades": book.round_trips,
        "halted": halted,
        "paper_balance": book.cash.map(|cash| cash.to_string()),
        "account": book.ledger.as_ref().map(|ledger| ledger.uid),
        "other_fees": book
            .other_fees
            .iter()
            .map(|(asset, fee)| (asset.code().to_owned(), json!(fee.to_string())))
            .collect::<serde_json::Map<_, _>>(),
        "dust": dust(book)
            .map(|(leg, dust)| (config.pair.asset(leg).to_string(), json!(dust.to_string())))
            .collect::<serde_json::Map<_, _>>(),
    })
}

/// What is held, as `status --json` and `backtest --json` tell it.
pub(super) fn position(config: &Config, book: &Book, holding: &Holding) -> Value {
    json!({
        "symbol": config.pair.symbol(holding.leg).code(),
        "asset": config.pair.asset(holding.leg).code(),
        "quantity": on_the_book(book, holding).to_string(),
        "cost": holding.cost.to_string(),
        "entry_price": holding.entry_price.to_string(),
        "entry_z": holding.entry_z.map(ZScore::value),
        "entry_candle": holding.entry_candle.to_string(),
    })
}

/// Coins on the book, dust of that asset included.
fn on_the_book(book: &Book, holding: &Holding) -> Quantity {
    book.available().unwrap_or(holding.quantity)
}

fn dust(book: &Book) -> impl Iterator<Item = (crate::trading::market::Leg, Quantity)> + '_ {
    use crate::trading::market::Leg;
    Leg::BOTH.into_iter().map(|leg| (leg, book.dust.of(leg))).filter(|(_, dust)| !dust.is_zero())
}

fn outside_lines(
    config: &Config,
    state: Option<&State>,
    outside: &Outside,
    now: Timestamp,
) -> String {
    let mut text = String::new();
    let delivered = outside.memory.delivered;
    let waiting = state.map_or(0, |state| {
        state.outbox.waiting.iter().filter(|message| message.number > delivered).count()
    });
    if waiting > 0 {
        let _ = write!(text, "\nto be told     {waiting} messages wait for Telegram");
    }
    for (kind, failure) in &outside.memory.failures {
        let _ = write!(
            text,
            "\nfailing        {} runs since {}: {}",
            failure.runs, failure.since, kind
        );
    }
    let hosts = match &config.mode {
        Mode::Live(live) => vec![&config.market_url, &live.base_url],
        Mode::Paper => vec![&config.market_url],
        Mode::Replay(_) => Vec::new(),
    };
    let banned =
        |url: &&reqwest::Url| outside.banned_until(&url.origin().ascii_serialization(), now);
    let banned = hosts.into_iter().filter_map(|url| banned(&url)).max();
    if let Some(until) = banned {
        let _ = write!(text, "\nsilence        the exchange wants no request before {until}");
    }
    text
}
