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
use crate::trading::book::{Book, Halt, HaltedBy};
use crate::trading::candle::{Candle, Legs};
use crate::trading::fill::Funds;
use crate::trading::ledger::{Balances, Intent, Ledger};
use crate::trading::machine::{self, Rules};
use crate::trading::market::{Asset, Side};
use crate::trading::money::{Amount, BasisPoints, Price, Quantity};
use crate::trading::order::{Execution, Fees, Outcome, Purpose, Terms, Touch};
use crate::trading::settlement::Settled;
use crate::trading::strategy::{self, Thresholds};
use crate::trading::time::Timestamp;
use crate::world;

/// Recomputes the journal of the world that the configuration names.
///
/// **Errors**: the first record that does not fit, by its number.
pub fn audit(disk: &dyn Disk, config: &Config) -> Result<Answer, Failure> {
    let folder = world::folder(config)?;
    // Without the look at the journal's end: the first line that doesn't fit is to be named.
    let Some(mut state) = store::peek_alone(disk, &folder)? else {
        world::peek(disk, config)?;
        let text = "there is no journal yet".to_owned();
        return Ok(Answer { text, json: json!({ "mode": config.mode.name(), "records": 0 }) });
    };
    world::check_identity(&state, config)?;
    let (audit, records) = loop {
        let failure = match recompute(disk, config, &folder, &state) {
            Ok(done) => break done,
            Err(failure) => failure,
        };
        // A run may commit in between, and then the journal goes on beyond the state that was read.
        match store::peek_alone(disk, &folder)? {
            Some(newer) if newer.number() > state.number() => state = newer,
            Some(_) | None => return Err(failure),
        }
    };
    let kinds: Vec<String> =
        audit.counts.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
    let text = format!(
        "{records} {} recomputed ({}), and the book is what they lead to",
        if records == 1 { "record" } else { "records" },
        kinds.join(", ")
    );
    let json = json!({ "mode": config.mode.name(), "records": records, "kinds": audit.counts });
    Ok(Answer { text, json })
}

/// Walks the journal up to this state.
///
/// **Errors**: the first record that does not fit, or the book that they lead to.
fn recompute(
    disk: &dyn Disk,
    config: &Config,
    folder: &Path,
    state: &State,
) -> Result<(Audit, u64), Failure> {
    let mut audit =
        Audit { config: config.clone(), book: None, sent: None, counts: BTreeMap::new() };
    let records = store::walk(disk, folder, state, |record| audit.record(record))?;
    audit.compare(state).map_err(|why| {
        Failure::untrusted(
            format!("the journal of {records} records does not lead to the state: {why}"),
            "one of the two was changed; put both back from one backup",
        )
    })?;
    Ok((audit, records))
}

/// The book as far as the records were read.
struct Audit {
    /// With the rules and terms of the record at hand.
    config: Config,
    book: Option<Book>,
    /// The decision whose order is open, with the intent.
    sent: Option<(Owned, Intent)>,
    counts: BTreeMap<String, u64>,
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

type Checked<T> = Result<T, String>;

impl Audit {
    fn record(&mut self, record: &Value) -> Checked<()> {
        let kind = text(record, "kind")?.to_owned();
        let before = match self.book.take() {
            Some(book) => book,
            None => self.begin(record)?,
        };
        let after = match kind.as_str() {
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
            "new-book" => Book {
                last_candle: Some(self.config.rules.interval.newest_closed(time(record, "at")?)),
                halt: None,
                // A halt may have been recorded before, when it had no account yet.
                ..with_account(before, record)
            },
            other => return Err(format!("a record of the kind `{other}` is not known")),
        };
        *self.counts.entry(kind).or_default() += 1;
        self.book = Some(after);
        Ok(())
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
        let outcome = outcome(&record["result"]["order"], &intent, &self.config)?;
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
        let closes = |name: &str| -> Checked<Vec<(Timestamp, Price)>> {
            let rows = record[name].as_array().ok_or_else(|| format!("`{name}` is no list"))?;
            let row = |row: &Value| {
                let at = row[0].as_i64().and_then(Timestamp::from_millis);
                let at = at.ok_or_else(|| format!("`{name}` has a candle without a time"))?;
                Ok((at, parse(row[1].as_str().unwrap_or_default(), Price::new)?))
            };
            rows.iter().map(row).collect()
        };
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
            closes: [closes("numerator")?, closes("denominator")?],
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
        let flat = |(open_time, close): &(Timestamp, Price)| {
            let close = close.value();
            Candle { open_time: *open_time, open: close, high: close, low: close, close }
        };
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

/// What the exchange executed of an order, as the record has it.
fn outcome(order: &Value, intent: &Intent, config: &Config) -> Checked<Outcome> {
    let Value::String(price) = &order["average_price"] else { return Ok(Outcome::Expired) };
    let mut fees = Fees::default();
    for (code, fee) in order["fees"].as_object().into_iter().flatten() {
        let fee = fee.as_str().unwrap_or_default();
        if code == config.pair.asset(intent.ordered.leg).code() {
            fees.base = parse(fee, Quantity::new)?;
        } else if code == config.pair.quote().code() {
            fees.quote = parse(fee, Amount::new)?;
        } else {
            let asset = Asset::new(code).ok_or_else(|| format!("`{code}` is no asset"))?;
            fees.other.insert(asset, parse(fee, Quantity::new)?);
        }
    }
    Ok(Outcome::Executed(Execution {
        side: match intent.ordered.purpose {
            Purpose::Entry(_) => Side::Buy,
            Purpose::Exit { .. } => Side::Sell,
        },
        quantity: parse(text(order, "executed_quantity")?, Quantity::new)?,
        quote: parse(text(order, "quote_quantity")?, Amount::new)?,
        price: parse(price, Price::new)?,
        fees,
    }))
}

fn rules(told: &Value, config: &Config) -> Checked<(Rules, Terms)> {
    let number = |name: &str| told[name].as_f64().ok_or_else(|| format!("`{name}` is no number"));
    let limit = |name: &str| match &told[name] {
        Value::Null => Ok(None),
        _ => whole(told, name).map(Some),
    };
    let rules = Rules {
        interval: config.rules.interval,
        window: whole(told, "window")?,
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

fn text<'a>(value: &'a Value, name: &str) -> Checked<&'a str> {
    value[name].as_str().ok_or_else(|| format!("`{name}` is no text"))
}

fn time(value: &Value, name: &str) -> Checked<Timestamp> {
    text(value, name)?.parse().map_err(|_| format!("`{name}` is no time"))
}

fn whole<T: TryFrom<i64>>(value: &Value, name: &str) -> Checked<T> {
    let number = value[name].as_i64().and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("`{name}` is no whole number"))
}

fn parse<T>(text: &str, make: impl Fn(rust_decimal::Decimal) -> Option<T>) -> Checked<T> {
    text.parse().ok().and_then(make).ok_or_else(|| format!("`{text}` is out of range"))
}
