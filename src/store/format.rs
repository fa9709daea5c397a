//! `state.json`, version 1: how a [`State`] stands on disk.
//!
//! There is one way to write a state, and only bytes written that way are read: after parsing,
//! the state is rendered again and must come out byte for byte. With the checksum over the body
//! that leaves no room for a flipped bit, a doubled key or an unknown field.

use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::journal::{Line, hex};
use super::{Identity, Message, Outbox, State};
use crate::trading::book::{Book, Day, Dust, Halt, HaltedBy, Holding, Leaving, Position};
use crate::trading::market::Leg;
use crate::trading::money::{Amount, Price, Profit, Quantity};
use crate::trading::strategy::ZScore;
use crate::trading::time::Timestamp;

/// The version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// The bytes of a state.
pub(super) fn render(state: &State) -> Vec<u8> {
    let body = BodyV1::of(state);
    let file = FileV1 { version: VERSION, checksum: checksum(&body), body };
    let mut bytes = serde_json::to_vec_pretty(&file).expect("a state is plain JSON");
    bytes.push(b'\n');
    bytes
}

/// The state in these bytes.
///
/// **Errors**: why they can't be trusted, in words that follow "`state.json`".
pub(super) fn parse(bytes: &[u8]) -> Result<State, String> {
    if bytes.is_empty() {
        return Err("is empty".to_owned());
    }
    let outline: OutlineV1 = serde_json::from_slice(bytes)
        .map_err(|error| format!("is not a state that this program wrote: {error}"))?;
    if outline.version != u64::from(VERSION) {
        return Err(format!(
            "has version {}, this program writes and reads version {VERSION}",
            outline.version
        ));
    }
    let file: FileV1 = serde_json::from_slice(bytes)
        .map_err(|error| format!("is not a state that this program wrote: {error}"))?;
    let written = file.checksum;
    let damaged = match file.body.state() {
        // The rendered checksum is computed anew, so equal bytes have the right one.
        Some(state) if render(&state) == bytes => return Ok(state),
        Some(state) if checksum(&BodyV1::of(&state)) != written => "does not fit its checksum",
        Some(_) => "is not written the way this program writes",
        None => "holds numbers that no book can have",
    };
    Err(damaged.to_owned())
}

/// Only what is needed to tell another version from damage.
#[derive(Deserialize)]
struct OutlineV1 {
    version: u64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileV1 {
    version: u32,
    checksum: String,
    body: BodyV1,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BodyV1 {
    identity: IdentityV1,
    position: PositionV1,
    dust: DustV1,
    paper_balance: String,
    realized_pnl: String,
    round_trips: u64,
    last_candle: Option<String>,
    day: DayV1,
    attempts: u32,
    refusals: u32,
    halt: Option<HaltV1>,
    next_message: u64,
    messages: Vec<MessageV1>,
    newest_record: Line,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityV1 {
    mode: String,
    numerator: String,
    denominator: String,
    timeframe: String,
    candles: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "is")]
enum PositionV1 {
    #[serde(rename = "flat")]
    Flat { cooling: bool },
    #[serde(rename = "holding")]
    Holding { holding: HoldingV1 },
    #[serde(rename = "leaving")]
    Leaving { holding: HoldingV1, cools: bool },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HoldingV1 {
    leg: LegV1,
    quantity: String,
    cost: String,
    proceeds: String,
    entry_price: String,
    entry_z: f64,
    entry_candle: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LegV1 {
    Numerator,
    Denominator,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DustV1 {
    numerator: String,
    denominator: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct DayV1 {
    date: String,
    orders: u32,
    realized_pnl: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HaltV1 {
    by: HaltedByV1,
    reason: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum HaltedByV1 {
    Person,
    Program,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageV1 {
    number: u64,
    text: String,
}

fn checksum(body: &BodyV1) -> String {
    hex(&Sha256::digest(serde_json::to_vec(body).expect("a state is plain JSON")))
}

impl BodyV1 {
    fn of(state: &State) -> Self {
        let State { identity, book, outbox, newest } = state;
        Self {
            identity: IdentityV1 {
                mode: identity.mode.clone(),
                numerator: identity.numerator.clone(),
                denominator: identity.denominator.clone(),
                timeframe: identity.timeframe.clone(),
                candles: identity.candles.clone(),
            },
            position: PositionV1::of(&book.position),
            dust: DustV1 {
                numerator: book.dust.numerator.to_string(),
                denominator: book.dust.denominator.to_string(),
            },
            paper_balance: book.cash.to_string(),
            realized_pnl: book.realized.to_string(),
            round_trips: book.round_trips,
            last_candle: book.last_candle.map(|at| at.to_string()),
            day: DayV1 {
                date: book.day.date.to_string(),
                orders: book.day.orders,
                realized_pnl: book.day.realized.to_string(),
            },
            attempts: book.attempts,
            refusals: book.refusals,
            halt: book.halt.as_ref().map(|halt| HaltV1 {
                by: match halt.by {
                    HaltedBy::Person => HaltedByV1::Person,
                    HaltedBy::Program => HaltedByV1::Program,
                },
                reason: halt.reason.clone(),
            }),
            next_message: outbox.next,
            messages: outbox
                .waiting
                .iter()
                .map(|message| MessageV1 { number: message.number, text: message.text.clone() })
                .collect(),
            newest_record: newest.clone(),
        }
    }

    fn state(self) -> Option<State> {
        let numbers_rise = self
            .messages
            .iter()
            .zip(self.messages.iter().skip(1))
            .all(|(a, b)| a.number < b.number);
        let below_next = self.messages.last().is_none_or(|last| last.number < self.next_message);
        if !numbers_rise || !below_next || !self.newest_record.is_sound() {
            return None;
        }
        Some(State {
            identity: Identity {
                mode: self.identity.mode,
                numerator: self.identity.numerator,
                denominator: self.identity.denominator,
                timeframe: self.identity.timeframe,
                candles: self.identity.candles,
            },
            book: Book {
                position: self.position.position()?,
                dust: Dust {
                    numerator: quantity(&self.dust.numerator)?,
                    denominator: quantity(&self.dust.denominator)?,
                },
                cash: amount(&self.paper_balance)?,
                realized: profit(&self.realized_pnl)?,
                round_trips: self.round_trips,
                last_candle: match self.last_candle {
                    Some(text) => Some(time(&text)?),
                    None => None,
                },
                day: Day {
                    date: time(&self.day.date)?,
                    orders: self.day.orders,
                    realized: profit(&self.day.realized_pnl)?,
                },
                attempts: self.attempts,
                refusals: self.refusals,
                halt: self.halt.map(|halt| Halt {
                    by: match halt.by {
                        HaltedByV1::Person => HaltedBy::Person,
                        HaltedByV1::Program => HaltedBy::Program,
                    },
                    reason: halt.reason,
                }),
            },
            outbox: Outbox {
                next: self.next_message,
                waiting: self
                    .messages
                    .into_iter()
                    .map(|message| Message { number: message.number, text: message.text })
                    .collect(),
            },
            newest: self.newest_record,
        })
    }
}

impl PositionV1 {
    fn of(position: &Position) -> Self {
        match position {
            Position::Flat { cooling } => Self::Flat { cooling: *cooling },
            Position::Holding(holding) => Self::Holding { holding: HoldingV1::of(holding) },
            Position::Leaving(Leaving { holding, cools }) => {
                Self::Leaving { holding: HoldingV1::of(holding), cools: *cools }
            }
        }
    }

    fn position(self) -> Option<Position> {
        Some(match self {
            Self::Flat { cooling } => Position::Flat { cooling },
            Self::Holding { holding } => Position::Holding(holding.holding()?),
            Self::Leaving { holding, cools } => {
                Position::Leaving(Leaving { holding: holding.holding()?, cools })
            }
        })
    }
}

impl HoldingV1 {
    fn of(holding: &Holding) -> Self {
        Self {
            leg: match holding.leg {
                Leg::Numerator => LegV1::Numerator,
                Leg::Denominator => LegV1::Denominator,
            },
            quantity: holding.quantity.to_string(),
            cost: holding.cost.to_string(),
            proceeds: holding.proceeds.to_string(),
            entry_price: holding.entry_price.to_string(),
            entry_z: holding.entry_z.value(),
            entry_candle: holding.entry_candle.to_string(),
        }
    }

    fn holding(self) -> Option<Holding> {
        Some(Holding {
            leg: match self.leg {
                LegV1::Numerator => Leg::Numerator,
                LegV1::Denominator => Leg::Denominator,
            },
            quantity: quantity(&self.quantity).filter(|quantity| !quantity.is_zero())?,
            cost: amount(&self.cost)?,
            proceeds: amount(&self.proceeds)?,
            entry_price: Decimal::from_str(&self.entry_price).ok().and_then(Price::new)?,
            entry_z: ZScore::new(self.entry_z)?,
            entry_candle: time(&self.entry_candle)?,
        })
    }
}

fn quantity(text: &str) -> Option<Quantity> {
    Decimal::from_str(text).ok().and_then(Quantity::new)
}

fn amount(text: &str) -> Option<Amount> {
    Decimal::from_str(text).ok().and_then(Amount::new)
}

fn profit(text: &str) -> Option<Profit> {
    Decimal::from_str(text).ok().and_then(Profit::new)
}

fn time(text: &str) -> Option<Timestamp> {
    text.parse().ok()
}
