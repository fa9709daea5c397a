//! One step, from load to commit. The lock is held before, the telling comes after.

use crate::config::{Config, Mode};
use crate::exchange::{Market, View, Want};
use crate::failure::{Failure, Kind};
use crate::report::{self, Action, DecisionRecord, Order, Report};
use crate::stop::Stop;
use crate::trading::book::{Book, Halt, HaltedBy, Position};
use crate::trading::candle::{Distrust, Legs};
use crate::trading::fill::{self, Step, Touch};
use crate::trading::machine::{self, Decision, Transition};
use crate::trading::market::Side;
use crate::trading::money::Overflow;
use crate::trading::strategy::{self, Reading};
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
    let touch = touch(world, &decision, market.newest)?;

    // Asked again, because a person may have asked while the exchange was answering.
    stop.check("nothing was done")?;
    if let Some(report) = stand_still(world, config, &past, now)? {
        return Ok(report);
    }
    let touch = touch.as_ref().map(|(touch, _)| touch);
    record(world, config, &past, &market, reading, &decision, touch, None)
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
    let held = past.book.position.holding().map(|holding| holding.leg);
    let (Some(leg), Some(candle)) = (held, past.book.last_candle) else {
        let why = "nothing is held: nothing is sold, and nothing new is bought until `resume`";
        world.halt(config, &past, halt.reason, now)?;
        return Ok(Report::new(config, &past.book, Action::Halted, why.to_owned()));
    };
    let decision = machine::leave_at_once(&past.book, leg);
    let touch = touch(world, &decision, candle)?;
    stop.check("nothing was sold")?;
    let now = touch.as_ref().map_or(now, |(_, now)| *now);
    let touch = touch.as_ref().map(|(touch, _)| touch);
    let market = Market { legs: Legs::default(), newest: candle, now };
    let report = record(world, config, &past, &market, None, &decision, touch, Some(halt));
    // A request for a halt is taken away only once the halt is part of the state.
    if report.as_ref().map_or_else(|failure| failure.kind == Kind::Refused, |_| true) {
        world.store.forget_halt()?;
    }
    report
}

/// Whether nothing may be done: a person or the program itself said so.
fn stand_still(
    world: &mut World,
    config: &Config,
    past: &Past,
    now: Timestamp,
) -> Result<Option<Report>, Failure> {
    let past = match world.store.asked_to_halt()? {
        Some(reason) if past.book.halt.is_none() => world.halt(config, past, reason, now)?,
        asked => {
            // Halted already: what was asked for is the case, and not recorded twice.
            if asked.is_some() {
                world.store.forget_halt()?;
            }
            past.clone()
        }
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
        looks_back: matches!(
            book.position,
            Position::Holding(_) | Position::Flat { cooling: true }
        ),
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
) -> Result<Vec<strategy::Observation>, Distrust> {
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

/// The best price that a decision needs, if it needs one, and the time of it.
fn touch(
    world: &mut World,
    decision: &Decision,
    candle: Timestamp,
) -> Result<Option<(Touch, Timestamp)>, Failure> {
    let Some((leg, side)) = decision.needs() else { return Ok(None) };
    world.exchange.touch(leg, side, candle, &mut world.outside).map(Some)
}

/// Carries the decision out, commits what came of it, and says what it was.
#[expect(clippy::too_many_arguments, reason = "everything that a decision rests on is recorded")]
fn record(
    world: &mut World,
    config: &Config,
    past: &Past,
    market: &Market,
    reading: Option<Reading>,
    decision: &Decision,
    touch: Option<&Touch>,
    halt: Option<Halt>,
) -> Result<Report, Failure> {
    let today = market.now.day();
    let step = fill::carry_out(&past.book, decision, market.newest, touch, &config.terms, today);
    let Step { mut book, order, refused } = step.map_err(too_large)?;
    if book.halt.is_none() {
        book.halt = halt;
    }
    let pair = &config.pair;
    let refused = refused.zip(decision.needs()).map(|(refusal, (leg, _))| {
        let sentence = refusal.sentence(pair.symbol(leg));
        if let Some(Halt { by: HaltedBy::Program, reason }) = &mut book.halt {
            *reason = format!("{reason}: {sentence}");
        }
        sentence
    });

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
        let id = world.order_id(market.newest, side, book.attempts);
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
        touch,
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
