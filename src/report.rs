//! What a run did, why, and why not: in a sentence, in JSON, in the journal, and as a message.

use std::fmt::Write as _;

use serde::Serialize;
use serde_json::{Value, json};

use crate::config::Config;
use crate::failure::{Failure, Kind};
use crate::trading::book::{Adoption, Book, Halt, HaltedBy, Holding, Position};
use crate::trading::candle::Legs;
use crate::trading::fill::Funds;
use crate::trading::ledger::Intent;
use crate::trading::machine::{Cause, Rules, Signal, Stay, Transition};
use crate::trading::market::{Leg, Pair, Side, SymbolRules};
use crate::trading::order::{Execution, Fees, Outcome, Size, Terms, Touch};
use crate::trading::settlement::Settled;
use crate::trading::strategy::{Reading, ZScore};
use crate::trading::time::Timestamp;

/// What one start did.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// `paper`, `live` or `replay`.
    pub mode: &'static str,
    /// The pair, for people.
    pub pair: String,
    /// The timeframe.
    pub timeframe: &'static str,
    /// The candle that was decided on.
    pub candle: Option<String>,
    /// Its z-score, if it has one.
    pub z: Option<f64>,
    /// Its spread.
    pub spread: Option<f64>,
    /// The window's mean.
    pub mean: Option<f64>,
    /// The window's sample deviation.
    pub std: Option<f64>,
    /// What the candle says to the state it met.
    pub signal: String,
    /// The state before.
    pub from: String,
    /// The state after.
    pub to: String,
    /// What was done.
    pub action: Action,
    /// An earlier order that was settled. On paper every order is settled when it is made.
    pub settled: Option<Order>,
    /// The decision in a sentence.
    pub why: String,
    /// The order, if one was made.
    pub order: Option<Order>,
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Coins that were bought elsewhere were taken into the book.
    Adopt,
    /// The newest candle was decided on by an earlier run.
    AlreadyProcessed,
    /// A leg was bought.
    Buy,
    /// The recording is over.
    EndOfData,
    /// No new order may leave.
    Halted,
    /// Nothing was traded.
    Hold,
    /// A leg was sold.
    Sell,
}

/// An order and what became of it.
#[derive(Debug, Clone, Serialize)]
pub struct Order {
    /// `ETHUSDT`.
    pub symbol: String,
    /// `BUY` or `SELL`.
    pub side: String,
    /// A function of the decision.
    pub client_order_id: String,
    /// Base asset that changed hands, before the fee.
    pub executed_quantity: String,
    /// Quote asset that changed hands, before the fee.
    pub quote_quantity: String,
    /// Null when nothing was executed.
    pub average_price: Option<String>,
    /// Asset to amount.
    pub fees: Value,
}

impl Report {
    /// A report of a start on which nothing has been decided yet.
    #[must_use]
    pub fn new(config: &Config, book: &Book, action: Action, why: String) -> Self {
        let state = state_name(&book.position, &config.pair);
        Self {
            mode: config.mode.name(),
            pair: config.pair.to_string(),
            timeframe: config.rules.interval.name(),
            candle: None,
            z: None,
            spread: None,
            mean: None,
            std: None,
            signal: signal_name(Signal::Hold, &config.pair),
            from: state.clone(),
            to: state,
            action,
            settled: None,
            why,
            order: None,
        }
    }

    /// The same, about this candle and what it says.
    #[must_use]
    pub fn about(mut self, candle: Option<Timestamp>, reading: Option<Reading>) -> Self {
        self.candle = candle.map(|candle| candle.to_string());
        self.z = reading.and_then(|reading| reading.z).map(ZScore::value);
        self.spread = reading.map(|reading| reading.spread);
        self.mean = reading.map(|reading| reading.mean);
        self.std = reading.map(|reading| reading.std);
        self
    }

    /// For people: two to four lines.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = format!("{} {} {}", self.mode, self.pair, self.timeframe);
        if let Some(candle) = &self.candle {
            let _ = write!(text, ", candle {candle}");
        }
        if let (Some(z), Some(spread), Some(mean), Some(std)) =
            (self.z, self.spread, self.mean, self.std)
        {
            let _ = write!(text, "\nz {z:+.4}  (spread {spread:.6}, mean {mean:.6}, std {std:.6})");
        }
        let _ = write!(text, "\n{}: {}", self.step(), self.why);
        if let Some(settled) = &self.settled {
            let _ = write!(text, "\nsettled: {}", settled.to_text());
        }
        if let Some(order) = &self.order {
            let _ = write!(text, "\n{}", order.to_text());
        }
        text
    }

    /// For the log and the health check: one line.
    #[must_use]
    pub fn to_line(&self) -> String {
        let candle = self.candle.as_deref().unwrap_or("no candle");
        let mut line = format!(
            "{} {} {} {candle}: {}: {}",
            self.mode,
            self.pair,
            self.timeframe,
            self.step(),
            self.why
        );
        if let Some(order) = &self.order {
            let _ = write!(line, "; {}", order.to_text());
        }
        if let Some(settled) = &self.settled {
            let _ = write!(line, "; settled before: {}", settled.to_text());
        }
        line
    }

    fn step(&self) -> String {
        if self.from == self.to { self.to.clone() } else { format!("{} -> {}", self.from, self.to) }
    }
}

impl Order {
    /// An order and what was executed of it.
    #[must_use]
    pub fn of(pair: &Pair, leg: Leg, side: Side, id: String, done: Option<&Execution>) -> Self {
        let mut fees = serde_json::Map::new();
        if let Some(Fees { base, quote, other }) = done.map(|done| &done.fees) {
            let base = (pair.asset(leg), base.value());
            let quote = (pair.quote(), quote.value());
            let other = other.iter().map(|(asset, fee)| (asset, fee.value()));
            for (asset, fee) in [base, quote].into_iter().chain(other) {
                if !fee.is_zero() {
                    fees.insert(asset.code().to_owned(), json!(format!("{fee:.8}")));
                }
            }
        }
        let nothing = || "0.00000000".to_owned();
        Self {
            symbol: pair.symbol(leg).code(),
            side: side.to_string(),
            client_order_id: id,
            executed_quantity: done.map_or_else(nothing, |done| done.quantity.to_string()),
            quote_quantity: done.map_or_else(nothing, |done| done.quote.to_string()),
            average_price: done.map(|done| done.price.to_string()),
            fees: Value::Object(fees),
        }
    }

    /// What an order does that was executed.
    #[must_use]
    pub fn action(&self) -> Action {
        if self.side == Side::Buy.to_string() { Action::Buy } else { Action::Sell }
    }

    fn to_text(&self) -> String {
        let fees: Vec<String> = self
            .fees
            .as_object()
            .into_iter()
            .flatten()
            .filter_map(|(asset, fee)| Some(format!("{} {asset}", fee.as_str()?)))
            .collect();
        match &self.average_price {
            Some(price) => format!(
                "{} {} {} at {price} = {} (fee {})",
                self.side,
                self.executed_quantity,
                self.symbol,
                self.quote_quantity,
                fees.join(", ")
            ),
            None => format!("{} {}: nothing was executed", self.side, self.symbol),
        }
    }
}

/// `NONE`, or `HOLDING_` and the asset that is held.
#[must_use]
pub fn state_name(position: &Position, pair: &Pair) -> String {
    match position.holding() {
        None => "NONE".to_owned(),
        Some(holding) => format!("HOLDING_{}", pair.asset(holding.leg)),
    }
}

/// `LONG_` and the asset, `CLOSE` or `HOLD`.
#[must_use]
pub fn signal_name(signal: Signal, pair: &Pair) -> String {
    match signal {
        Signal::Long(leg) => format!("LONG_{}", pair.asset(leg)),
        Signal::Close => "CLOSE".to_owned(),
        Signal::Hold => "HOLD".to_owned(),
    }
}

/// The decision in a sentence, with the numbers it rests on.
#[must_use]
pub fn why(transition: &Transition, newest: Timestamp, pair: &Pair, rules: &Rules) -> String {
    match transition {
        Transition::Stay(reason) => why_stay(reason, pair, rules),
        Transition::Enter(leg, z) => {
            let (asset, other) = (pair.asset(*leg), pair.asset(opposite(*leg)));
            let beyond = match leg {
                Leg::Denominator => format!("above {}", rules.thresholds.entry),
                Leg::Numerator => format!("below -{}", rules.thresholds.entry),
            };
            let z = z.value();
            format!("z {z:.4} is {beyond}: {other} is dear against {asset}, so {asset} is bought")
        }
        Transition::Leave(leg, cause) => why_leave(*leg, *cause, newest, pair, rules),
    }
}

fn why_stay(reason: &Stay, pair: &Pair, rules: &Rules) -> String {
    let thresholds = &rules.thresholds;
    let entry = thresholds.entry;
    match reason {
        Stay::Cooling(z) => format!(
            "z {:.4} is beyond ±{entry}, but after a stop nothing is bought until z has been back inside",
            z.value()
        ),
        Stay::EdgeTooSmall(z, reading) => format!(
            "z {:.4} is beyond ±{entry}, but the spread is only {:.1} basis points from its mean, \
             less than MIN_EDGE_BPS {}: nothing is bought",
            z.value(),
            reading.edge_bps(),
            thresholds.min_edge_bps
        ),
        Stay::Held(leg, z) => {
            let (asset, z) = (pair.asset(*leg), z.value());
            match leg {
                Leg::Denominator => {
                    format!("z {z:.4} is still above {}: {asset} is held", thresholds.exit)
                }
                Leg::Numerator => {
                    format!("z {z:.4} is still below {}: {asset} is held", negated(thresholds.exit))
                }
            }
        }
        Stay::Inside(z) => format!("z {:.4} is within ±{entry}: nothing to do", z.value()),
        Stay::LossToday(leg, z, lost) => format!(
            "z {:.4} says buy {}, but {} {} were lost today, the most that MAX_DAILY_LOSS_USDT \
             allows: nothing is bought",
            z.value(),
            pair.asset(*leg),
            lost.loss(),
            pair.quote()
        ),
        Stay::NoZ => {
            format!("the last {} spreads are flat, so there is no z: nothing to do", rules.window)
        }
        Stay::OrdersToday(leg, z, orders) => format!(
            "z {:.4} says buy {}, but {orders} orders were made today, the most that \
             MAX_ORDERS_PER_DAY allows: nothing is bought",
            z.value(),
            pair.asset(*leg)
        ),
        Stay::Untrusted(distrust) => format!("{}: no decision", distrust.sentence(pair)),
    }
}

fn why_leave(leg: Leg, cause: Cause, newest: Timestamp, pair: &Pair, rules: &Rules) -> String {
    let asset = pair.asset(leg);
    let when = |at: Timestamp| {
        if at == newest { String::new() } else { format!(" at {at}, while no run took place") }
    };
    match cause {
        Cause::Asked => format!("flatten was asked for: {asset} is sold"),
        Cause::HeldTooLong(candles) => {
            format!(
                "{asset} was held for {candles} candles, the most that MAX_HOLD_CANDLES allows: it is sold"
            )
        }
        Cause::Returned(at, z) => {
            let side = match leg {
                Leg::Denominator => format!("{} or below", rules.thresholds.exit),
                Leg::Numerator => format!("{} or above", negated(rules.thresholds.exit)),
            };
            format!("z {:.4} came back to {side}{}: {asset} is sold", z.value(), when(at))
        }
        Cause::Stopped(at, z) => format!(
            "z {:.4} went beyond the stop at {}{} against us: {asset} is sold",
            z.value(),
            rules.thresholds.stop.unwrap_or_default(),
            when(at)
        ),
        Cause::Unfinished => {
            format!("an exit decided earlier is not finished: what is left of {asset} is sold")
        }
    }
}

/// The record of a decision, with everything it rests on.
#[derive(Debug)]
pub struct DecisionRecord<'a> {
    /// The exchange's time.
    pub at: Timestamp,
    /// What decided.
    pub rules: &'a Rules,
    /// What a trade costs.
    pub terms: &'a Terms,
    /// The candles that were looked at.
    pub legs: &'a Legs,
    /// Whether they could be traded on.
    pub is_trusted: bool,
    /// The best price that an order met, and the rules it had to keep.
    pub touch: Option<&'a Touch>,
    /// What the account could spend.
    pub funds: Option<Funds>,
    /// What came of it.
    pub report: &'a Report,
    /// Why an order was refused, if one was.
    pub refused: Option<&'a str>,
    /// The book afterwards.
    pub book: &'a Book,
}

impl DecisionRecord<'_> {
    /// As it stands in the journal.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let closes = |leg| {
            let candles = self.legs.candles(leg).iter();
            candles
                .map(|candle| {
                    json!([candle.open_time.as_millis(), candle.close.normalize().to_string()])
                })
                .collect::<Vec<_>>()
        };
        json!({
            "kind": "decision",
            "at": self.at.to_string(),
            "rules": rules_json(self.rules, self.terms),
            "trusted": self.is_trusted,
            "numerator": closes(Leg::Numerator),
            "denominator": closes(Leg::Denominator),
            "touch": self.touch.map(|touch| json!({
                "price": touch.price.to_string(),
                "rules": symbol_rules_json(&touch.rules),
            })),
            "funds": self.funds.map(|funds| json!({
                "quote": funds.quote.to_string(),
                "base": funds.base.map(|base| base.to_string()),
            })),
            "result": self.report,
            "refused": self.refused,
            "paper_balance": self.book.cash.map(|cash| cash.to_string()),
            "realized_pnl": self.book.realized.to_string(),
        })
    }

    /// The same, of a decision whose order is about to be sent.
    #[must_use]
    pub fn of_intent(&self, intent: &Intent, config: &Config) -> Value {
        let mut record = self.to_json();
        record["kind"] = json!("intent");
        record["intent"] = intent_json(intent, &config.pair);
        record
    }
}

/// An open order, as `status` and the journal show it.
#[must_use]
pub fn intent_json(intent: &Intent, pair: &Pair) -> Value {
    let plan = &intent.ordered.plan;
    let (quantity, quote_amount) = match plan.size {
        Size::Base(quantity) => (Some(quantity.to_string()), None),
        Size::Quote(amount) => (None, Some(amount.to_string())),
    };
    json!({
        "symbol": pair.symbol(intent.ordered.leg).code(),
        "side": plan.side.to_string(),
        "type": plan.kind().name(),
        "quantity": quantity,
        "quote_amount": quote_amount,
        "limit": plan.limit.map(|limit| limit.to_string()),
        "client_order_id": intent.client_order_id,
        "candle": intent.candle.to_string(),
        "recorded_at": intent.timestamp.to_string(),
        "timestamp_ms": intent.timestamp.as_millis(),
        "recv_window_ms": intent.recv_window_ms,
        "base_before": intent.before.base.to_string(),
        "quote_before": intent.before.quote.to_string(),
        "newest_order_before": intent.newest_order,
    })
}

/// The record of an order that is over.
#[must_use]
pub fn settlement_record(
    intent: &Intent,
    settled: &Settled,
    report: &Report,
    book: &Book,
    is_later: bool,
) -> Value {
    json!({
        "kind": "settlement",
        "at": settled.at.to_precise_text(),
        "later": is_later,
        "client_order_id": intent.client_order_id,
        "order_id": settled.order_id,
        "executed": matches!(settled.outcome, Outcome::Executed(_)),
        "result": report,
        "realized_pnl": book.realized.to_string(),
    })
}

/// The record of an order that the exchange did not take.
#[must_use]
pub fn refusal_record(
    intent: &Intent,
    said: &str,
    is_order: bool,
    book: &Book,
    now: Timestamp,
) -> Value {
    json!({
        "kind": "refusal",
        "at": now.to_string(),
        "client_order_id": intent.client_order_id,
        "refused": said,
        "counts": is_order,
        "realized_pnl": book.realized.to_string(),
    })
}

/// What is said of an order that a later run settled.
#[must_use]
pub fn settled_later(
    config: &Config,
    before: &Book,
    after: &Book,
    intent: &Intent,
    order: Order,
) -> Report {
    let what = if order.average_price.is_some() { "was executed" } else { "was not executed" };
    let why = format!(
        "the order {} of an earlier run, whose outcome was not known, {what}",
        intent.client_order_id
    );
    let action = if order.average_price.is_some() { order.action() } else { Action::Hold };
    let mut report = Report::new(config, before, action, why).about(Some(intent.candle), None);
    report.to = state_name(&after.position, &config.pair);
    report.order = Some(order);
    report
}

/// The failure of a run whose order the exchange refused.
#[must_use]
pub fn refused_order(decided: &str, kind: Kind, said: &str) -> Failure {
    let hint = match kind {
        Kind::Refused => REFUSED_HINT,
        Kind::KeyRefused => {
            "look at the key's rights at the exchange; `ouroboros check` tries them"
        }
        Kind::Limited => "nothing was executed; the first run after that time goes on",
        Kind::Bug
        | Kind::Busy
        | Kind::Configuration
        | Kind::Halted
        | Kind::Pending
        | Kind::Stopped
        | Kind::Storage
        | Kind::Unreachable
        | Kind::Untrusted => "nothing was executed; the next run tries again",
    };
    Failure::new(kind, format!("{decided}; but the exchange refused it: {said}"), hint)
}

/// The failure of every run while the program has halted itself.
#[must_use]
pub fn halted_itself(halt: &Halt) -> Failure {
    Failure::new(
        Kind::Halted,
        format!("the program halted itself: {}", halt.reason),
        "look into it, then `ouroboros resume`",
    )
}

/// What helps after a refusal.
pub const REFUSED_HINT: &str =
    "look at the amount, the balance and the symbol; `ouroboros status` shows the book";

/// In the words of `outside.json` and `state.json`, which keep rules too.
fn symbol_rules_json(rules: &SymbolRules) -> Value {
    json!({
        "status": rules.status,
        "step": rules.step.to_string(),
        "min_quantity": rules.min_quantity.to_string(),
        "max_quantity": rules.max_quantity.map(|most| most.to_string()),
        "min_notional": rules.min_notional.to_string(),
        "tick": rules.tick.map(|tick| tick.to_string()),
        "quote_step": rules.quote_step.to_string(),
        "takes_quote_amounts": rules.takes_quote_amounts,
        "not_taken": rules.not_taken,
    })
}

fn rules_json(rules: &Rules, terms: &Terms) -> Value {
    let thresholds = &rules.thresholds;
    json!({
        "window": rules.window,
        "entry": thresholds.entry,
        "exit": thresholds.exit,
        "min_edge_bps": thresholds.min_edge_bps,
        "stop_z": thresholds.stop,
        "max_hold_candles": rules.max_hold_candles,
        "max_orders_per_day": rules.max_orders_per_day,
        "max_daily_loss": rules.max_daily_loss.map(|most| most.to_string()),
        "amount": terms.amount.to_string(),
        "fee_bps": terms.fee.to_string(),
        "slippage_bps": terms.slippage.to_string(),
        "max_slippage_bps": terms.max_slippage.map(|most| most.to_string()),
    })
}

/// The record of a halt.
#[must_use]
pub fn halt_record(now: Timestamp, halt: &Halt) -> Value {
    let by = match halt.by {
        HaltedBy::Person => "person",
        HaltedBy::Program => "program",
    };
    json!({ "kind": "halt", "at": now.to_string(), "by": by, "reason": halt.reason })
}

/// The record of a halt that was lifted.
#[must_use]
pub fn resume_record(now: Timestamp, halt: &Halt) -> Value {
    json!({ "kind": "resume", "at": now.to_string(), "lifted": halt.reason })
}

/// On what was entered, in words.
#[must_use]
pub fn entered_on(holding: &Holding) -> String {
    holding.entry_z.map_or_else(|| "adopted".to_owned(), |z| format!("z {:.4}", z.value()))
}

/// The record of coins that were taken into the book.
#[must_use]
pub fn adoption_record(
    now: Timestamp,
    pair: &Pair,
    adoption: &Adoption,
    candle: Timestamp,
    book: &Book,
) -> Value {
    json!({
        "kind": "adoption",
        "at": now.to_string(),
        "asset": pair.asset(adoption.leg).code(),
        "quantity": adoption.quantity.to_string(),
        "cost": adoption.cost.to_string(),
        "candle": candle.to_string(),
        "paper_balance": book.cash.map(|cash| cash.to_string()),
        "realized_pnl": book.realized.to_string(),
    })
}

/// The record of a live book that begins although an earlier one made orders.
#[must_use]
pub fn new_book_record(now: Timestamp, account: u64) -> Value {
    json!({ "kind": "new-book", "at": now.to_string(), "account": account })
}

/// The first message of a book.
#[must_use]
pub fn first_start(config: &Config) -> String {
    let (pair, quote) = (&config.pair, config.pair.quote());
    format!(
        "{}first start. A new book was opened with {} {quote} on paper; each entry spends {} {quote}, \
         entry beyond ±{}, exit at {}. No order leaves this machine.",
        headline(config),
        config.opening_balance.value().normalize(),
        config.terms.amount.value().normalize(),
        config.rules.thresholds.entry,
        config.rules.thresholds.exit,
    ) + &format!(
        " It watches {} and {}.",
        pair.symbol(Leg::Numerator),
        pair.symbol(Leg::Denominator)
    )
}

/// The first message of a live book: whose account, and how much it may spend.
#[must_use]
pub fn first_live_start(config: &Config, host: &str, uid: u64) -> String {
    let (pair, quote) = (&config.pair, config.pair.quote());
    let amount = config.terms.amount.value().normalize();
    format!(
        "{}first start, with real orders, on the account {uid} at {host}. It spends at most \
         {amount} {quote} at a time: one entry, and none before that is sold. Entry beyond ±{}, \
         exit at {}. It watches {} and {}, and sells nothing but what it bought.",
        headline(config),
        config.rules.thresholds.entry,
        config.rules.thresholds.exit,
        pair.symbol(Leg::Numerator),
        pair.symbol(Leg::Denominator)
    )
}

/// The message of a halt.
#[must_use]
pub fn halted(config: &Config, halt: &Halt) -> String {
    format!("{}halted: {}. `ouroboros resume` lifts it.", headline(config), halt.reason)
}

/// The message of a step that someone wants to know of.
#[must_use]
pub fn news(config: &Config, report: &Report, refused: Option<&str>, book: &Book) -> String {
    let mut text = format!("{}{}", headline(config), report.step());
    if let Some(order) = &report.order {
        let _ = write!(text, "\n{}", order.to_text());
    }
    let _ = write!(text, "\n{}", report.why);
    if let Some(refused) = refused {
        let _ = write!(text, "\nRefused: {refused}.");
    }
    let quote = config.pair.quote();
    text.push('\n');
    if let Some(cash) = book.cash {
        let _ = write!(text, "free {cash} {quote}, ");
    }
    let _ =
        write!(text, "realized {} {quote} over {} round trips", book.realized, book.round_trips);
    text
}

/// What every message begins with.
#[must_use]
pub fn headline(config: &Config) -> String {
    format!("{} {} {}: ", config.mode.name(), config.pair, config.rules.interval)
}

fn opposite(leg: Leg) -> Leg {
    match leg {
        Leg::Numerator => Leg::Denominator,
        Leg::Denominator => Leg::Numerator,
    }
}

/// The negative, but never "-0".
fn negated(threshold: f64) -> f64 {
    0.0 - threshold
}
