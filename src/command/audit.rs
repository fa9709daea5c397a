//! `audit`: begins with an empty book and makes every step of the journal again.
//!
//! What a record rests on is taken from it (candles, rules, prices, what the exchange answered);
//! what it says is computed anew by the functions that a run uses, and must come out byte for byte.
//! In the end the book must be the state's.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use super::Answer;
use crate::config::Config;
use crate::exchange::Market;
use crate::failure::Failure;
use crate::report;
use crate::run::{self, Done, Resolve};
use crate::store::disk::Disk;
use crate::store::outside::RulesV1;
use crate::store::{self, State};
use crate::trading::book::{Adoption, Book, Halt, HaltedBy};
use crate::trading::candle::{Candle, Legs};
use crate::trading::fill::Funds;
use crate::trading::ledger::{Balances, Intent, Ledger};
use crate::trading::machine::{self, Rules};
use crate::trading::market::{Asset, Leg, Pair, Side};
use crate::trading::money::{Amount, BasisPoints, Price, Quantity};
use crate::trading::order::{Execution, Fees, Outcome, Terms, Touch};
use crate::trading::settlement::Settled;
use crate::trading::strategy::{self, Thresholds};
use crate::trading::time::Timestamp;
use crate::world;

/// Recomputes the journal of the world that the configuration names.
///
/// **Errors**: the first record that does not fit, by its number.
pub fn audit(disk: &dyn Disk, config: &Config) -> Result<Answer, Failure> {
    let count = |counts: &mut BTreeMap<String, u64>, record: &Value, _: &Book| {
        *counts.entry(text(record, "kind")?.to_owned()).or_default() += 1;
        Ok(())
    };
    let Some((counts, _)) = recompute(disk, config, count)? else {
        let text = "there is no journal yet".to_owned();
        return Ok(Answer { text, json: json!({ "mode": config.mode.name(), "records": 0 }) });
    };
    let records: u64 = counts.values().sum();
    let kinds: Vec<String> = counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let text = format!(
        "{records} {} recomputed ({}), and the book is what they lead to",
        if records == 1 { "record" } else { "records" },
        kinds.join(", ")
    );
    let json = json!({ "mode": config.mode.name(), "records": records, "kinds": counts });
    Ok(Answer { text, json })
}

/// Recomputes the journal; `look` is shown each record that fits, oldest first, with the book after
/// it, and what it makes of them is returned with the state. `None` where there is no journal yet.
///
/// **Errors**: the first record that does not fit, by its number; a book that they don't lead to.
pub(super) fn recompute<T: Default>(
    disk: &dyn Disk,
    config: &Config,
    look: impl Fn(&mut T, &Value, &Book) -> Checked<()>,
) -> Result<Option<(T, State)>, Failure> {
    let folder = world::folder(config)?;
    // Without the look at the journal's end: the first line that doesn't fit is to be named.
    let Some(mut state) = store::peek_alone(disk, &folder)? else {
        world::peek(disk, config)?;
        return Ok(None);
    };
    world::check_identity(&state, config)?;
    loop {
        let failure = match walk(disk, config, &folder, &state, &look) {
            Ok(seen) => return Ok(Some((seen, state))),
            Err(failure) => failure,
        };
        // A run may commit in between, and then the journal goes on beyond the state that was read.
        match store::peek_alone(disk, &folder)? {
            Some(newer) if newer.number() > state.number() => state = newer,
            Some(_) | None => return Err(failure),
        }
    }
}

/// Walks the journal up to this state.
fn walk<T: Default>(
    disk: &dyn Disk,
    config: &Config,
    folder: &Path,
    state: &State,
    look: impl Fn(&mut T, &Value, &Book) -> Checked<()>,
) -> Result<T, Failure> {
    let mut audit = Audit { config: config.clone(), book: None, sent: None };
    let mut seen = T::default();
    let records = store::walk(disk, folder, state, |record| {
        let book = audit.record(record)?;
        look(&mut seen, record, book)
    })?;
    audit.compare(state).map_err(|why| {
        Failure::untrusted(
            format!("the journal of {records} records does not lead to the state: {why}"),
            "one of the two was changed; put both back from one backup",
        )
    })?;
    Ok(seen)
}

/// The book as far as the records were read.
struct Audit {
    /// With the rules and terms of the record at hand.
    config: Config,
    book: Option<Book>,
    /// The decision whose order is open, with the intent.
    sent: Option<(Owned, Intent)>,
}

/// What a decision rested on.
#[derive(Clone)]
struct Owned {
    book: Book,
    closes: [Vec<(Timestamp, Price)>; 2],
    at: Timestamp,
    candle: Timestamp,
    rules: Rules,
    terms: Terms,
    touch: Option<Touch>,
    funds: Option<Funds>,
}

pub(super) type Checked<T> = Result<T, String>;

impl Audit {
    /// Makes the step of a record again. The book after it.
    fn record(&mut self, record: &Value) -> Checked<&Book> {
        let kind = text(record, "kind")?;
        let before = match self.book.take() {
            Some(book) => book,
            None => self.begin(record)?,
        };
        let after = match kind {
            "decision" => self.decision(before, record)?,
            "intent" => self.intent(before, record)?,
            "settlement" => self.settlement(&before, record)?,
            "refusal" => self.refusal(&before, record)?,
            "halt" => halted(before, record)?,
            "resume" => Book {
                halt: None,
                refusals: 0,
                ledger: before.ledger.clone().map(Ledger::acknowledged),
                ..before
            },
            "adoption" => self.adoption(before, record)?,
            "new-book" => Book {
                last_candle: Some(self.config.rules.interval.newest_closed(time(record, "at")?)),
                halt: None,
                // A halt may have been recorded before, when it had no account yet.
                ..with_account(before, record)
            },
            other => return Err(format!("a record of the kind `{other}` is not known")),
        };
        Ok(self.book.insert(after))
    }

    /// The book that the first record began with.
    fn begin(&self, record: &Value) -> Checked<Book> {
        match &record["opening_balance"] {
            Value::String(amount) => Ok(Book::open(parse(amount, Amount::new)?)),
            _ if !self.config.mode.is_live() => {
                Err("it does not say what the book began with".into())
            }
            _ => Ok(with_account(Book::unclaimed(), record)),
        }
    }

    fn decision(&mut self, before: Book, record: &Value) -> Checked<Book> {
        let owned = self.owned(before, record)?;
        if record["trusted"] == json!(false) {
            return untrusted(&owned, record);
        }
        self.config.rules = owned.rules.clone();
        self.config.terms = owned.terms;
        let resolve = owned.resolve(&self.config)?;
        let done = if self.config.mode.is_live() {
            match resolve.planned(&self.config).map_err(|error| error.to_string())? {
                Err(done) => done,
                Ok(_) => return Err("it asks for an order, and there is no intent".to_owned()),
            }
        } else {
            resolve.simulated(&self.config).map_err(|error| error.to_string())?
        };
        same(&done, record)?;
        Ok(done.book)
    }

    fn intent(&mut self, before: Book, record: &Value) -> Checked<Book> {
        let owned = self.owned(before, record)?;
        self.config.rules = owned.rules.clone();
        self.config.terms = owned.terms;
        let resolve = owned.resolve(&self.config)?;
        let Ok(ordered) = resolve.planned(&self.config).map_err(|error| error.to_string())? else {
            return Err("its decision asks for no order".to_owned());
        };
        let told = &record["intent"];
        let mut book = resolve.ordered(ordered.purpose);
        let touch = owned.touch.clone().ok_or("it has no price")?;
        let intent = Intent {
            client_order_id: world::order_id(&self.config, &book, owned.candle, ordered.plan.side),
            candle: owned.candle,
            ordered,
            touch,
            timestamp: whole(told, "timestamp_ms").and_then(|ms| {
                Timestamp::from_millis(ms).ok_or_else(|| "it is stamped beyond the calendar".into())
            })?,
            recv_window_ms: whole(told, "recv_window_ms")?,
            before: Balances {
                base: parse(text(told, "base_before")?, Quantity::new)?,
                quote: parse(text(told, "quote_before")?, Amount::new)?,
            },
            newest_order: told["newest_order_before"].as_u64(),
        };
        let recomputed = resolve.intent_record(&self.config, &book, &intent);
        same_value(&recomputed, record)?;
        if let Some(ledger) = &mut book.ledger {
            ledger.pending = Some(intent.clone());
        }
        self.sent = Some((owned, intent));
        Ok(book)
    }

    fn settlement(&mut self, before: &Book, record: &Value) -> Checked<Book> {
        let (owned, intent) = self.open(record)?;
        let executed = executed(&record["result"]["order"], intent.ordered.leg, &self.config.pair)?;
        if executed.as_ref().is_some_and(|it| it.side != intent.ordered.plan.side) {
            return Err("it is no execution of what was asked for".to_owned());
        }
        let outcome = executed.map_or(Outcome::Expired, Outcome::Executed);
        let order_id = record["order_id"].as_u64();
        let settled = Settled { outcome, order_id, at: time(record, "at")? };
        let done = if record["later"] == json!(true) {
            run::settled_later(&self.config, before, &intent, &settled)
        } else {
            owned.resolve(&self.config)?.settlement(&self.config, before, &intent, &settled)
        };
        let done = done.map_err(|error| error.to_string())?;
        same(&done, record)?;
        Ok(done.book)
    }

    fn refusal(&mut self, before: &Book, record: &Value) -> Checked<Book> {
        let (_, intent) = self.open(record)?;
        let (said, at) = (text(record, "refused")?, time(record, "at")?);
        let counts = record["counts"] == json!(true);
        let book = run::refused_book(before, &intent, said, counts, at);
        same_value(&report::refusal_record(&intent, said, counts, &book, at), record)?;
        Ok(book)
    }

    /// Coins that were bought elsewhere.
    fn adoption(&self, before: Book, record: &Value) -> Checked<Book> {
        let Config { pair, rules, .. } = &self.config;
        let (at, candle) = (time(record, "at")?, time(record, "candle")?);
        if candle != rules.interval.newest_closed(at) {
            return Err(format!("`candle` is {candle}, which was not the newest at {at}"));
        }
        let adoption = adopted(record, pair)?;
        if before.position.holding().is_some() {
            return Err("something was adopted while something was held".to_owned());
        }
        let previous = candle.plus_millis(-rules.interval.millis());
        let book = with_account(before, record).adopted(&adoption, candle, previous);
        let book = book.map_err(|error| error.to_string())?;
        same_value(&report::adoption_record(at, pair, &adoption, candle, &book), record)?;
        Ok(book)
    }

    /// The order that a record closes, with the rules under which it was made.
    fn open(&mut self, record: &Value) -> Checked<(Owned, Intent)> {
        let (owned, intent) = self.sent.take().ok_or("no order is open")?;
        if text(record, "client_order_id")? != intent.client_order_id {
            return Err(format!("it is about another order than {}", intent.client_order_id));
        }
        self.config.rules = owned.rules.clone();
        self.config.terms = owned.terms;
        Ok((owned, intent))
    }

    fn owned(&self, before: Book, record: &Value) -> Checked<Owned> {
        // A live book is given its account by the first record after it was opened.
        let book = with_account(before, record);
        let (rules, terms) = rules(&record["rules"], &self.config)?;
        let touch = match &record["touch"] {
            Value::Null => None,
            touch => Some(Touch {
                price: parse(text(touch, "price")?, Price::new)?,
                rules: serde_json::from_value::<RulesV1>(touch["rules"].clone())
                    .ok()
                    .and_then(|rules| rules.rules())
                    .ok_or("its symbol's rules can't be read")?,
            }),
        };
        let funds = match &record["funds"] {
            Value::Null => None,
            funds => Some(Funds {
                quote: parse(text(funds, "quote")?, Amount::new)?,
                base: match &funds["base"] {
                    Value::Null => None,
                    _ => Some(parse(text(funds, "base")?, Quantity::new)?),
                },
            }),
        };
        Ok(Owned {
            book,
            closes: [closes(record, "numerator")?, closes(record, "denominator")?],
            at: time(record, "at")?,
            candle: time(&record["result"], "candle")?,
            rules,
            terms,
            touch,
            funds,
        })
    }

    /// Whether the book that the journal leads to is the state's, but for what a scan of the
    /// account moves without a record.
    fn compare(&self, state: &State) -> Checked<()> {
        let mut ours = self.book.clone().ok_or("it is empty")?;
        let theirs = &state.book;
        if let (Some(ours), Some(theirs)) = (&mut ours.ledger, &theirs.ledger) {
            ours.seen = theirs.seen;
            ours.known.clone_from(&theirs.known);
            ours.unexplained.clone_from(&theirs.unexplained);
        }
        if ours == *theirs {
            return Ok(());
        }
        Err(format!("it leads to {ours:?}, and the state has {theirs:?}"))
    }
}

impl Owned {
    fn resolve(&self, config: &Config) -> Checked<Resolve<'_>> {
        let [numerator, denominator] =
            self.closes.each_ref().map(|rows| rows.iter().map(flat).collect::<Vec<_>>());
        let is_asked = numerator.is_empty();
        let legs = Legs::new(numerator, denominator).map_err(|it| it.sentence(&config.pair))?;
        let (decision, reading, halt) = if is_asked {
            let holding = self.book.position.holding().ok_or("it sells, and nothing is held")?;
            let halt = Halt { by: HaltedBy::Person, reason: run::FLATTENED.to_owned() };
            (machine::leave_at_once(&self.book, holding.leg), None, Some(halt))
        } else {
            let (since, window) = (self.book.last_candle, self.rules.window);
            let seen = strategy::observe(&legs, self.rules.interval, since, self.candle, window)
                .map_err(|distrust| distrust.sentence(&config.pair))?;
            let reading = seen.last().and_then(|newest| newest.reading);
            (machine::step(&self.book, &seen, &self.rules, self.at.day()), reading, None)
        };
        Ok(Resolve {
            book: &self.book,
            market: Market { legs, newest: self.candle, now: self.at },
            reading,
            decision,
            touch: self.touch.clone(),
            funds: self.funds,
            halt,
        })
    }
}

/// The closes of a leg that a record rests on, oldest first.
pub(super) fn closes(record: &Value, leg: &str) -> Checked<Vec<(Timestamp, Price)>> {
    let rows = record[leg].as_array().ok_or_else(|| format!("`{leg}` is no list"))?;
    let row = |row: &Value| {
        let at = row[0].as_i64().and_then(Timestamp::from_millis);
        let at = at.ok_or_else(|| format!("`{leg}` has a candle without a time"))?;
        Ok((at, parse(row[1].as_str().unwrap_or_default(), Price::new)?))
    };
    rows.iter().map(row).collect()
}

/// A candle of which only the close is known.
pub(super) fn flat((open_time, close): &(Timestamp, Price)) -> Candle {
    let close = close.value();
    Candle { open_time: *open_time, open: close, high: close, low: close, close }
}

fn with_account(mut book: Book, record: &Value) -> Book {
    if let (None, Some(uid)) = (&book.ledger, record["account"].as_u64()) {
        book.ledger = Some(Ledger::open(uid));
    }
    book
}

/// A candle that could not be traded on: what was wrong with it is not in the record, but it must
/// have changed nothing.
fn untrusted(owned: &Owned, record: &Value) -> Checked<Book> {
    let result = &record["result"];
    let is_nothing = result["action"] == json!("hold")
        && result["signal"] == json!("HOLD")
        && result["order"].is_null()
        && result["from"] == result["to"];
    if !is_nothing {
        return Err("something was done on a candle that could not be traded on".to_owned());
    }
    let cooling =
        matches!(owned.book.position, crate::trading::book::Position::Flat { cooling: true });
    Ok(owned.book.clone().decided(owned.candle, cooling))
}

fn halted(mut book: Book, record: &Value) -> Checked<Book> {
    let reason = text(record, "reason")?.to_owned();
    match text(record, "by")? {
        // A person's request does not take the place of the program's own.
        "person" => {
            book.halt.get_or_insert(Halt { by: HaltedBy::Person, reason });
        }
        "program" => book.halt = Some(Halt { by: HaltedBy::Program, reason }),
        other => return Err(format!("halted by `{other}`, whom nobody knows")),
    }
    Ok(with_account(book, record))
}

/// What was executed of an order, as a record has it.
pub(super) fn executed(order: &Value, leg: Leg, pair: &Pair) -> Checked<Option<Execution>> {
    let Value::String(price) = &order["average_price"] else { return Ok(None) };
    let mut fees = Fees::default();
    for (code, fee) in order["fees"].as_object().into_iter().flatten() {
        let fee = fee.as_str().unwrap_or_default();
        if code == pair.asset(leg).code() {
            fees.base = parse(fee, Quantity::new)?;
        } else if code == pair.quote().code() {
            fees.quote = parse(fee, Amount::new)?;
        } else {
            let asset = Asset::new(code).ok_or_else(|| format!("`{code}` is no asset"))?;
            fees.other.insert(asset, parse(fee, Quantity::new)?);
        }
    }
    Ok(Some(Execution {
        side: match text(order, "side")? {
            "BUY" => Side::Buy,
            "SELL" => Side::Sell,
            other => return Err(format!("`{other}` is no side")),
        },
        quantity: parse(text(order, "executed_quantity")?, Quantity::new)?,
        quote: parse(text(order, "quote_quantity")?, Amount::new)?,
        price: parse(price, Price::new)?,
        fees,
    }))
}

pub(super) fn rules(told: &Value, config: &Config) -> Checked<(Rules, Terms)> {
    let number = |name: &str| told[name].as_f64().ok_or_else(|| format!("`{name}` is no number"));
    let limit = |name: &str| match &told[name] {
        Value::Null => Ok(None),
        _ => whole(told, name).map(Some),
    };
    let rules = Rules {
        interval: config.rules.interval,
        window: whole(told, "window").and_then(|window| match window {
            2..=500 => Ok(window),
            _ => Err(format!("`window` is {window}: it has 2 to 500 candles")),
        })?,
        thresholds: Thresholds {
            entry: number("entry")?,
            exit: number("exit")?,
            min_edge_bps: number("min_edge_bps")?,
            stop: told["stop_z"].as_f64(),
        },
        max_hold_candles: limit("max_hold_candles")?,
        max_orders_per_day: limit("max_orders_per_day")?,
        max_daily_loss: match &told["max_daily_loss"] {
            Value::Null => None,
            _ => Some(parse(text(told, "max_daily_loss")?, Amount::new)?),
        },
    };
    let terms = Terms {
        amount: parse(text(told, "amount")?, Amount::new)?,
        fee: parse(text(told, "fee_bps")?, BasisPoints::new)?,
        slippage: parse(text(told, "slippage_bps")?, BasisPoints::new)?,
        max_slippage: match &told["max_slippage_bps"] {
            Value::Null => None,
            _ => Some(parse(text(told, "max_slippage_bps")?, BasisPoints::new)?),
        },
    };
    Ok((rules, terms))
}

fn same(done: &Done, record: &Value) -> Checked<()> {
    same_value(&done.record, record)
}

/// Whether a record is what was computed anew; what the book began with is not computed.
fn same_value(recomputed: &Value, record: &Value) -> Checked<()> {
    let fields = record.as_object().into_iter().flatten();
    let names = fields.map(|(name, _)| name.as_str());
    for name in names.filter(|name| !["opening_balance", "account"].contains(name)) {
        if recomputed.get(name) != record.get(name) {
            return Err(format!(
                "`{name}` is {}, and comes out as {}",
                record[name],
                recomputed.get(name).unwrap_or(&Value::Null)
            ));
        }
    }
    Ok(())
}

/// What the record of an adoption says was taken into the book.
pub(super) fn adopted(record: &Value, pair: &Pair) -> Checked<Adoption> {
    let asset = text(record, "asset")?;
    Ok(Adoption {
        leg: pair.leg_of(asset).ok_or_else(|| format!("`{asset}` is no leg's"))?,
        quantity: parse(text(record, "quantity")?, Quantity::new)?,
        cost: parse(text(record, "cost")?, Amount::new)?,
    })
}

pub(super) fn text<'a>(value: &'a Value, name: &str) -> Checked<&'a str> {
    value[name].as_str().ok_or_else(|| format!("`{name}` is no text"))
}

pub(super) fn time(value: &Value, name: &str) -> Checked<Timestamp> {
    text(value, name)?.parse().map_err(|_| format!("`{name}` is no time"))
}

fn whole<T: TryFrom<i64>>(value: &Value, name: &str) -> Checked<T> {
    let number = value[name].as_i64().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("`{name}` is no whole number"))
}

pub(super) fn parse<T>(
    text: &str,
    make: impl Fn(rust_decimal::Decimal) -> Option<T>,
) -> Checked<T> {
    text.parse().ok().and_then(make).ok_or_else(|| format!("`{text}` is out of range"))
}
