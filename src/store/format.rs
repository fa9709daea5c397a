//! `state.json`, version 1: how a [`State`] stands on disk.
//!
//! There is one way to write a state, and only bytes written that way are read: after parsing,
//! the state is rendered again and must come out byte for byte. With the checksum over the body
//! that leaves no room for a flipped bit, a doubled key or an unknown field.

use std::collections::BTreeMap;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::journal::{Line, hex};
use super::outside::RulesV1;
use super::{Identity, Message, Outbox, State};
use crate::trading::book::{Book, Day, Dust, Halt, HaltedBy, Holding, Leaving, Position};
use crate::trading::ledger::{Balances, Intent, KnownOrder, LastOrder, Ledger, Seen};
use crate::trading::market::{Asset, Leg, Side};
use crate::trading::money::{Amount, Price, Profit, Quantity};
use crate::trading::order::{Ordered, Plan, Purpose, Size, Touch};
use crate::trading::strategy::ZScore;
use crate::trading::time::Timestamp;

/// The version that is written, and the only one that is read. A field that a later program adds is left out where it
/// has nothing to say, so that what is here is read for ever (`tests/fixtures/version-1`); one that changes what is here is
/// the next version, which reads this one and never writes over it.
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

/// Whether these bytes are those of a program that is newer than this one.
pub(super) fn is_of_a_later_version(bytes: &[u8]) -> bool {
    let outline = serde_json::from_slice::<OutlineV1>(bytes);
    outline.is_ok_and(|outline| outline.version > u64::from(VERSION))
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
    // Absent where there is none, so that a paper book reads as it did before there was live.
    #[serde(skip_serializing_if = "Option::is_none")]
    paper_balance: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ledger: Option<LedgerV1>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    other_fees: BTreeMap<String, String>,
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
    // None where it was adopted.
    entry_z: Option<f64>,
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
struct LedgerV1 {
    account: u64,
    pending: Option<IntentV1>,
    last: Option<LastOrderV1>,
    known: Vec<KnownOrderV1>,
    seen_numerator: Option<u64>,
    seen_denominator: Option<u64>,
    unexplained: Vec<KnownOrderV1>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct IntentV1 {
    client_order_id: String,
    candle: String,
    leg: LegV1,
    purpose: PurposeV1,
    size: SizeV1,
    limit: Option<String>,
    touch: String,
    rules: RulesV1,
    recorded_at: String,
    timestamp_ms: i64,
    recv_window_ms: u32,
    before: BalancesV1,
    newest_order: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, tag = "is")]
enum PurposeV1 {
    #[serde(rename = "entry")]
    Entry { z: f64 },
    #[serde(rename = "exit")]
    Exit { cools: bool },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum SizeV1 {
    Base(String),
    Quote(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BalancesV1 {
    base: String,
    quote: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct LastOrderV1 {
    leg: LegV1,
    before: BalancesV1,
    at: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KnownOrderV1 {
    leg: LegV1,
    order_id: u64,
    client_order_id: String,
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
            paper_balance: book.cash.map(|cash| cash.to_string()),
            ledger: book.ledger.as_ref().map(LedgerV1::of),
            other_fees: book
                .other_fees
                .iter()
                .map(|(asset, fee)| (asset.code().to_owned(), fee.to_string()))
                .collect(),
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
                cash: optional(self.paper_balance.as_deref(), amount)?,
                ledger: match self.ledger {
                    Some(ledger) => Some(ledger.ledger()?),
                    None => None,
                },
                other_fees: self
                    .other_fees
                    .iter()
                    .map(|(asset, fee)| Some((Asset::new(asset)?, quantity(fee)?)))
                    .collect::<Option<_>>()?,
                realized: profit(&self.realized_pnl)?,
                round_trips: self.round_trips,
                last_candle: optional(self.last_candle.as_deref(), time)?,
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
            leg: LegV1::of(holding.leg),
            quantity: holding.quantity.to_string(),
            cost: holding.cost.to_string(),
            proceeds: holding.proceeds.to_string(),
            entry_price: holding.entry_price.to_string(),
            entry_z: holding.entry_z.map(ZScore::value),
            entry_candle: holding.entry_candle.to_string(),
        }
    }

    fn holding(self) -> Option<Holding> {
        Some(Holding {
            leg: self.leg.leg(),
            quantity: quantity(&self.quantity).filter(|quantity| !quantity.is_zero())?,
            cost: amount(&self.cost)?,
            proceeds: amount(&self.proceeds)?,
            entry_price: price(&self.entry_price)?,
            entry_z: match self.entry_z {
                Some(z) => Some(ZScore::new(z)?),
                None => None,
            },
            entry_candle: time(&self.entry_candle)?,
        })
    }
}

impl LegV1 {
    fn of(leg: Leg) -> Self {
        match leg {
            Leg::Numerator => Self::Numerator,
            Leg::Denominator => Self::Denominator,
        }
    }

    fn leg(&self) -> Leg {
        match self {
            Self::Numerator => Leg::Numerator,
            Self::Denominator => Leg::Denominator,
        }
    }
}

impl LedgerV1 {
    fn of(ledger: &Ledger) -> Self {
        let orders = |orders: &[KnownOrder]| orders.iter().map(KnownOrderV1::of).collect();
        Self {
            account: ledger.uid,
            pending: ledger.pending.as_ref().map(IntentV1::of),
            last: ledger.last.as_ref().map(|last| LastOrderV1 {
                leg: LegV1::of(last.leg),
                before: BalancesV1::of(&last.before),
                at: last.at.to_string(),
            }),
            known: orders(&ledger.known),
            seen_numerator: ledger.seen.numerator,
            seen_denominator: ledger.seen.denominator,
            unexplained: orders(&ledger.unexplained),
        }
    }

    fn ledger(self) -> Option<Ledger> {
        let orders = |orders: Vec<KnownOrderV1>| orders.into_iter().map(KnownOrderV1::order);
        let last = match self.last {
            Some(last) => Some(LastOrder {
                leg: last.leg.leg(),
                before: last.before.balances()?,
                at: time(&last.at)?,
            }),
            None => None,
        };
        Some(Ledger {
            uid: self.account,
            pending: match self.pending {
                Some(intent) => Some(intent.intent()?),
                None => None,
            },
            last,
            known: orders(self.known).collect(),
            seen: Seen { numerator: self.seen_numerator, denominator: self.seen_denominator },
            unexplained: orders(self.unexplained).collect(),
        })
    }
}

impl IntentV1 {
    fn of(intent: &Intent) -> Self {
        let Ordered { leg, purpose, plan } = &intent.ordered;
        Self {
            client_order_id: intent.client_order_id.clone(),
            candle: intent.candle.to_string(),
            leg: LegV1::of(*leg),
            purpose: match purpose {
                Purpose::Entry(z) => PurposeV1::Entry { z: z.value() },
                Purpose::Exit { cools } => PurposeV1::Exit { cools: *cools },
            },
            size: match plan.size {
                Size::Base(quantity) => SizeV1::Base(quantity.to_string()),
                Size::Quote(amount) => SizeV1::Quote(amount.to_string()),
            },
            limit: plan.limit.map(|limit| limit.to_string()),
            touch: intent.touch.price.to_string(),
            rules: RulesV1::of(&intent.touch.rules),
            recorded_at: intent.timestamp.to_string(),
            timestamp_ms: intent.timestamp.as_millis(),
            recv_window_ms: intent.recv_window_ms,
            before: BalancesV1::of(&intent.before),
            newest_order: intent.newest_order,
        }
    }

    fn intent(self) -> Option<Intent> {
        let purpose = match self.purpose {
            PurposeV1::Entry { z } => Purpose::Entry(ZScore::new(z)?),
            PurposeV1::Exit { cools } => Purpose::Exit { cools },
        };
        let side = match purpose {
            Purpose::Entry(_) => Side::Buy,
            Purpose::Exit { .. } => Side::Sell,
        };
        let size = match self.size {
            SizeV1::Base(text) => Size::Base(quantity(&text)?),
            SizeV1::Quote(text) => Size::Quote(amount(&text)?),
        };
        let plan = Plan { side, size, limit: optional(self.limit.as_deref(), price)? };
        Some(Intent {
            client_order_id: self.client_order_id,
            candle: time(&self.candle)?,
            ordered: Ordered { leg: self.leg.leg(), purpose, plan },
            touch: Touch { price: price(&self.touch)?, rules: self.rules.rules()? },
            timestamp: Timestamp::from_millis(self.timestamp_ms)?,
            recv_window_ms: self.recv_window_ms,
            before: self.before.balances()?,
            newest_order: self.newest_order,
        })
    }
}

impl BalancesV1 {
    fn of(balances: &Balances) -> Self {
        Self { base: balances.base.to_string(), quote: balances.quote.to_string() }
    }

    fn balances(&self) -> Option<Balances> {
        Some(Balances { base: quantity(&self.base)?, quote: amount(&self.quote)? })
    }
}

impl KnownOrderV1 {
    fn of(order: &KnownOrder) -> Self {
        Self {
            leg: LegV1::of(order.leg),
            order_id: order.order_id,
            client_order_id: order.client_order_id.clone(),
        }
    }

    fn order(self) -> KnownOrder {
        let Self { leg, order_id, client_order_id } = self;
        KnownOrder { leg: leg.leg(), order_id, client_order_id }
    }
}

/// What may be absent, but not wrong.
#[expect(clippy::option_option, reason = "the outer one says whether the text makes sense")]
fn optional<T>(text: Option<&str>, parse: impl Fn(&str) -> Option<T>) -> Option<Option<T>> {
    text.map_or(Some(None), |text| parse(text).map(Some))
}

fn price(text: &str) -> Option<Price> {
    Decimal::from_str(text).ok().and_then(Price::new)
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
