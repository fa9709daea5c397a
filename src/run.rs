//! One step, from load to commit. The lock is held before, the telling comes after.

use crate::config::{Config, Mode};
use crate::exchange::{Market, Touch, View, Want};
use crate::failure::{Failure, Kind};
use crate::report::{self, Action, DecisionRecord, Order, Report};
use crate::stop::Stop;
use crate::trading::book::{Book, Halt, HaltedBy, Position};
use crate::trading::machine::{self, Cause, Decision, Transition};
use crate::trading::market::{Leg, Side};
use crate::trading::money::Overflow;
use crate::trading::order::{self, Execution, Outcome, Refusal, Sale};
use crate::trading::strategy::{self, Reading, ZScore};
use crate::trading::time::Timestamp;
use crate::world::{Past, World};

/// Does one step and says what it was.
///
/// **Errors**: nothing was committed, but for a [`Kind::Refused`] order: that the exchange said no
/// is part of the book.
pub fn run(
    world: &mut World,
    config: &Config,
    stop: &Stop,
    now: Timestamp,
) -> Result<Report, Failure> {
    let past = world.load(config)?;
    if let Some(report) = stand_still(world, config, &past, now)? {
        return Ok(report);
    }

    let market = match world.exchange.view(&want(&past.book, config), &mut world.outside)? {
        View::Candles(market) => market,
        View::EndOfData(last) => return end_of_data(world, config, &past, last),
    };
    if past.book.last_candle.is_some_and(|last| market.newest <= last) {
        return already_processed(world, config, &past, &market);
    }

    let (decision, reading) = decide(&past.book, &market, config)?;
    stop.check("nothing was decided")?;
    let step = act(world, config, &past.book, &market, &decision)?;

    // Asked again, because a person may have asked while the exchange was answering.
    stop.check("nothing was done")?;
    if let Some(report) = stand_still(world, config, &past, now)? {
        return Ok(report);
    }
    record(world, config, &past, &market, reading, &decision, step)
}

/// Sells what is held, whatever the candles say, and halts.
///
/// **Errors**: as [`run`].
pub fn flatten(
    world: &mut World,
    config: &Config,
    stop: &Stop,
    now: Timestamp,
) -> Result<Report, Failure> {
    let past = world.load(config)?;
    let halt = Halt { by: HaltedBy::Person, reason: "flatten was asked for".to_owned() };
    let candle = past.book.last_candle;
    let Some(leg) = past.book.position.holding().map(|holding| holding.leg) else {
        let why = "nothing is held: nothing is sold, and nothing new is bought until `resume`";
        world.halt(config, &past, halt.reason, now)?;
        return Ok(Report::new(config, &past.book, Action::Halted, why.to_owned()));
    };
    let touch = world.exchange.touch(leg, Side::Sell, candle, &mut world.outside)?;
    stop.check("nothing was sold")?;
    let mut step = leave(config, &past.book, touch, leg, false, now)?;
    step.book.halt.get_or_insert(halt);
    let market = Market { legs: no_candles(), newest: candle.unwrap_or(now), now };
    let decision = Decision {
        signal: machine::Signal::Close,
        transition: Transition::Leave(leg, Cause::Asked),
        cooling: false,
    };
    let report = record(world, config, &past, &market, None, &decision, step);
    world.store.forget_halt()?;
    report
}

/// What became of a decision, not yet committed.
struct Step {
    book: Book,
    touch: Option<Touch>,
    order: Option<(Leg, Side, Option<Execution>)>,
    refused: Option<Refusal>,
}

/// Whether nothing may be done: a person or the program itself said so.
fn stand_still(
    world: &mut World,
    config: &Config,
    past: &Past,
    now: Timestamp,
) -> Result<Option<Report>, Failure> {
    let asked = world.store.asked_to_halt();
    let past = match asked {
        Some(reason) => world.halt(config, past, reason, now)?,
        None => past.clone(),
    };
    let Some(halt) = &past.book.halt else {
        return Ok(None);
    };
    let why = format!("halted: {}; `ouroboros resume` lifts it", halt.reason);
    match halt.by {
        HaltedBy::Person => {
            mend_journal(world)?;
            Ok(Some(Report::new(config, &past.book, Action::Halted, why)))
        }
        HaltedBy::Program => Err(Failure::new(
            Kind::Halted,
            format!("the program halted itself: {}", halt.reason),
            "look into it, then `ouroboros resume`",
        )),
    }
}

fn want(book: &Book, config: &Config) -> Want {
    Want {
        last_candle: book.last_candle,
        // Only an exit or the end of a cooling can lie in what was missed.
        looks_back: !matches!(book.position, Position::Flat { cooling: false }),
        window: config.rules.window,
        lookback: config.lookback,
    }
}

fn end_of_data(
    world: &mut World,
    config: &Config,
    past: &Past,
    last: Option<Timestamp>,
) -> Result<Report, Failure> {
    mend_journal(world)?;
    let why = "the recording is over: there is no further candle".to_owned();
    Ok(Report::new(config, &past.book, Action::EndOfData, why).about(last, None))
}

fn already_processed(
    world: &mut World,
    config: &Config,
    past: &Past,
    market: &Market,
) -> Result<Report, Failure> {
    mend_journal(world)?;
    let candle = past.book.last_candle;
    let newest = candle.map_or_else(String::new, |candle| format!(" {candle}"));
    let why = format!("the newest closed candle{newest} was decided on by an earlier run");
    let reading = observe(market, config, None).ok().and_then(|seen| seen.last()?.reading);
    let report = Report::new(config, &past.book, Action::AlreadyProcessed, why);
    Ok(report.about(candle, reading.filter(|_| candle == Some(market.newest))))
}

/// A line that a crash kept from the journal is appended by the next run that ends well.
fn mend_journal(world: &mut World) -> Result<(), Failure> {
    world.store.complete_journal().map_err(|error| Failure::storage(&error))
}

fn observe(
    market: &Market,
    config: &Config,
    since: Option<Timestamp>,
) -> Result<Vec<strategy::Observation>, crate::trading::candle::Distrust> {
    let rules = &config.rules;
    strategy::observe(&market.legs, rules.interval, since, market.newest, rules.window)
}

/// The decision, a pure function of book and candles.
fn decide(
    book: &Book,
    market: &Market,
    config: &Config,
) -> Result<(Decision, Option<Reading>), Failure> {
    match observe(market, config, book.last_candle) {
        Ok(seen) => {
            let reading = seen.last().and_then(|newest| newest.reading);
            Ok((machine::step(book, &seen, &config.rules, market.now.day()), reading))
        }
        // A recording does not get better by waiting: the candle counts as decided on.
        Err(distrust) if is_replay(config) => Ok((machine::stay_away(book, distrust), None)),
        Err(distrust) => Err(crate::exchange::paper::distrusted(&distrust, &config.pair)),
    }
}

/// What the decision makes of the book, with a simulated fill where it trades.
fn act(
    world: &mut World,
    config: &Config,
    book: &Book,
    market: &Market,
    decision: &Decision,
) -> Result<Step, Failure> {
    let candle = market.newest;
    let decided = book.clone().decided(candle, decision.cooling);
    match decision.transition {
        Transition::Stay(_) => Ok(Step { book: decided, touch: None, order: None, refused: None }),
        Transition::Enter(leg, z) => {
            let touch = world.exchange.touch(leg, Side::Buy, Some(candle), &mut world.outside)?;
            enter(config, decided, touch, leg, z, candle, market.now)
        }
        Transition::Leave(leg, cause) => {
            let touch = world.exchange.touch(leg, Side::Sell, Some(candle), &mut world.outside)?;
            let cools = decision.cooling || cause.cools();
            leave(config, &decided, touch, leg, cools, market.now)
        }
    }
}

fn enter(
    config: &Config,
    book: Book,
    touch: Touch,
    leg: Leg,
    z: ZScore,
    candle: Timestamp,
    now: Timestamp,
) -> Result<Step, Failure> {
    let today = now.day();
    let outcome = order::buy(&config.terms, book.cash, touch.price, &touch.rules);
    let touch = Some(touch);
    Ok(match outcome {
        Ok(Outcome::Executed(bought)) => Step {
            book: book.ordered(today).entered(leg, &bought, candle, z).map_err(too_large)?,
            touch,
            order: Some((leg, Side::Buy, Some(bought))),
            refused: None,
        },
        // An entry that was not executed is over.
        Ok(Outcome::Expired) => Step {
            book: book.ordered(today),
            touch,
            order: Some((leg, Side::Buy, None)),
            refused: None,
        },
        Err(refusal) => Step { book, touch, order: None, refused: Some(refusal) },
    })
}

fn leave(
    config: &Config,
    book: &Book,
    touch: Touch,
    leg: Leg,
    cools: bool,
    now: Timestamp,
) -> Result<Step, Failure> {
    let today = now.day();
    let available = book.available().map_err(too_large)?;
    let outcome = order::sell(&config.terms, available, touch.price, &touch.rules);
    let book = book.clone();
    let mut refused = None;
    let (book, order) = match outcome {
        Ok(Sale::Ordered(Outcome::Executed(sold))) => {
            let rest = available.minus(sold.quantity).unwrap_or_default();
            let goes_on = order::is_sellable(rest, touch.price, &touch.rules).map_err(too_large)?;
            let book = book.ordered(today).sold(&sold, goes_on, cools, today);
            (book.map_err(too_large)?, Some((leg, Side::Sell, Some(sold))))
        }
        Ok(Sale::Ordered(Outcome::Expired)) => {
            (book.ordered(today).unsold(cools), Some((leg, Side::Sell, None)))
        }
        Ok(Sale::TooSmall) => (book.written_off(cools, today).map_err(too_large)?, None),
        Err(refusal) => {
            let mut book = book.unsold(cools);
            book.refusals = book.refusals.saturating_add(1);
            if book.refusals >= MOST_REFUSALS {
                let reason = format!("an exit was refused {} times: {refusal}", book.refusals);
                book.halt = Some(Halt { by: HaltedBy::Program, reason });
            }
            refused = Some(refusal);
            (book, None)
        }
    };
    Ok(Step { book, touch: Some(touch), order, refused })
}

/// Commits the step and says what it was.
fn record(
    world: &mut World,
    config: &Config,
    past: &Past,
    market: &Market,
    reading: Option<Reading>,
    decision: &Decision,
    step: Step,
) -> Result<Report, Failure> {
    let Step { book, touch, order, refused } = step;
    let pair = &config.pair;
    let refused = refused.map(|refusal| refusal.to_string());

    let decided = report::why(&decision.transition, market.newest, pair, &config.rules);
    let but = match (&refused, &order) {
        (Some(refusal), _) => format!("; but it was refused: {refusal}"),
        (None, Some((_, _, None))) => {
            "; but nothing was executed, the price was beyond MAX_SLIPPAGE_BPS".to_owned()
        }
        (None, None) if matches!(decision.transition, Transition::Leave(..)) => {
            "; but it is too small to be sold, and is kept as dust".to_owned()
        }
        _ => String::new(),
    };
    let action = match &order {
        Some((_, Side::Buy, Some(_))) => Action::Buy,
        Some((_, Side::Sell, Some(_))) => Action::Sell,
        _ => Action::Hold,
    };
    let mut report = Report::new(config, &past.book, action, format!("{decided}{but}"))
        .about(Some(market.newest), reading);
    report.signal = report::signal_name(decision.signal, pair);
    report.to = report::state_name(&book.position, pair);
    report.order = order.map(|(leg, side, done)| {
        let id = world.order_id(Some(market.newest), side, book.attempts);
        Order::of(pair, leg, side, id, done.as_ref())
    });
    if refused.is_some() && is_replay(config) {
        // The contract's word for a candle that counts as decided on although nothing was done.
        report.z = None;
    }

    let is_news = report.order.is_some() || report.from != report.to;
    let is_news = is_news || (refused.is_some() && !is_replay(config));
    let news = is_news.then(|| report::news(config, &report, refused.as_deref(), &book));
    let entry = DecisionRecord {
        at: market.now,
        rules: &config.rules,
        terms: &config.terms,
        legs: &market.legs,
        touch: touch.as_ref(),
        report: &report,
        refused: refused.as_deref(),
        book: &book,
    };
    world.commit(config, past, book.clone(), news, &entry.to_json())?;
    match refused {
        Some(refusal) if !is_replay(config) => Err(Failure::new(
            Kind::Refused,
            format!("{decided}; but it was refused: {refusal}"),
            "look at the amount, the balance and the symbol; `ouroboros status` shows the book",
        )),
        _ => Ok(report),
    }
}

fn is_replay(config: &Config) -> bool {
    matches!(config.mode, Mode::Replay(_))
}

fn too_large(overflow: Overflow) -> Failure {
    Failure::unreachable(format!("a price beyond computation: {overflow}"))
}

fn no_candles() -> crate::trading::candle::Legs {
    crate::trading::candle::Legs::new(Vec::new(), Vec::new()).expect("nothing is out of order")
}

/// The same exit refused so often needs a person. **Source**: contract, exit code 76.
const MOST_REFUSALS: u32 = 3;
