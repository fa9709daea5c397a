//! One step, from load to commit. The lock is held before, the telling comes after.

use serde_json::Value;

use crate::config::Config;
use crate::exchange::live::{Refusal, Sent, Standing};
use crate::exchange::{Market, View, Want};
use crate::failure::{Failure, Kind};
use crate::preflight;
use crate::report::{self, Action, DecisionRecord, Order, Report};
use crate::stop::Stop;
use crate::store::Recorded;
use crate::trading::account;
use crate::trading::book::{Adoption, Book, Halt, HaltedBy, Position};
use crate::trading::candle::{Distrust, Legs};
use crate::trading::fill::{self, Funds, Planned, Step};
use crate::trading::ledger::{Intent, Ledger};
use crate::trading::machine::{self, Decision, Transition};
use crate::trading::market::{Leg, Side};
use crate::trading::money::{Amount, Overflow};
use crate::trading::order::{self, Ordered, Outcome, Purpose, Touch};
use crate::trading::settlement::Settled;
use crate::trading::strategy::{self, Reading};
use crate::trading::time::Timestamp;
use crate::world::{self, Past, World};

/// Does one step and says what it was.
///
/// **Errors**: nothing was committed, but for what the exchange said of an order: that it refused
/// one, or that it is not known what became of it, is part of the book.
pub fn run(
    world: &mut World,
    config: &Config,
    stop: &Stop,
    now: Timestamp,
) -> Result<Report, Failure> {
    let past = world.load(config)?;
    let (past, settled) = settle(world, config, past, now)?;
    let mut report = step(world, config, stop, &past, now)?;
    report.settled = settled;
    Ok(report)
}

fn step(
    world: &mut World,
    config: &Config,
    stop: &Stop,
    past: &Past,
    now: Timestamp,
) -> Result<Report, Failure> {
    if let Some(report) = stand_still(world, config, past, now)? {
        return Ok(report);
    }
    let view = world.exchange.view(&want(&past.book, config), &mut world.outside);
    let past = &agree(world, config, past, now)?;
    let market = match view? {
        View::Candles(market) => market,
        View::EndOfData(last) => return end_of_data(world, config, past, last),
    };
    if past.book.last_candle.is_some_and(|last| market.newest <= last) {
        return already_processed(world, config, past, &market);
    }

    let (decision, reading) = decide(&past.book, &market, config)?;
    stop.check("nothing was decided")?;
    let touch = touch(world, &decision, market.newest)?.map(|(touch, _)| touch);

    // Asked again, because a person may have asked while the exchange was answering.
    stop.check("nothing was done")?;
    if let Some(report) = stand_still(world, config, past, now)? {
        return Ok(report);
    }
    let book = &past.book;
    let resolve = Resolve { book, market, reading, decision, touch, funds: None, halt: None };
    resolve.carry_out(world, config, past)
}

/// Sells what is held, whatever the candles say, and halts.
///
/// **Errors**: as [`run`]. Whoever wants out wants no entry either: it is halted even where the
/// sale did not come about.
pub fn flatten(
    world: &mut World,
    config: &Config,
    stop: &Stop,
    now: Timestamp,
) -> Result<Report, Failure> {
    let past = world.load(config)?;
    let was_asked = world.store.asked_to_halt()?.is_some();
    world.store.ask_to_halt(FLATTENED)?;
    let done = sell_all(world, config, stop, past, now);
    if matches!(&done, Err(failure) if failure.kind == Kind::Untrusted) && !was_asked {
        // It was not this book that was meant, or not this key's account.
        world.store.forget_halt()?;
    }
    done
}

/// Takes coins into the book that were bought elsewhere: from here on they are held and sold as if
/// they had been bought by a run. No order is sent.
///
/// **Errors**: something is held already, or open, or the program halted itself; the account has
/// less than is to be adopted, or disagrees with the book. Nothing was committed then.
pub fn adopt(
    world: &mut World,
    config: &Config,
    adoption: &Adoption,
    now: Timestamp,
) -> Result<Report, Failure> {
    let past = world.load(config)?;
    let (past, _) = settle(world, config, past, now)?;
    let pair = &config.pair;
    if let Some(halt @ Halt { by: HaltedBy::Program, .. }) = &past.book.halt {
        return Err(report::halted_itself(halt));
    }
    if past.book.position.holding().is_some() {
        let state = report::state_name(&past.book.position, pair);
        return Err(Failure::configuration(
            format!("the book is {state} already: it holds one thing at a time"),
            "`ouroboros status` shows it; `ouroboros flatten` sells it. Nothing was changed",
        ));
    }
    // Which candle is the newest, the exchange's own clock says.
    let view = world.exchange.view(&want(&past.book, config), &mut world.outside);
    let past = agree(world, config, &past, now)?;
    let at = match view? {
        View::Candles(market) => market.now,
        View::EndOfData(_) => unreachable!("a replay adopts nothing"),
    };
    on_the_account(world, config, &past, adoption)?;
    let candle = config.rules.interval.newest_closed(at);
    let before = candle.plus_millis(-config.rules.interval.millis());
    let too_much = |_| {
        Failure::configuration(
            format!("`--cost {}`: the paper account can't have paid it", adoption.cost),
            "on paper the cost is taken from the free balance, which `ouroboros status` shows",
        )
    };
    let book = past.book.clone().adopted(adoption, candle, before).map_err(too_much)?;
    let why = format!(
        "{} {} that cost {} {} were adopted: they are held from here on, and sold when z says so",
        adoption.quantity,
        pair.asset(adoption.leg),
        adoption.cost,
        pair.quote()
    );
    let mut report = Report::new(config, &past.book, Action::Adopt, why);
    report.to = report::state_name(&book.position, pair);
    report.candle = Some(candle.to_string());
    let news = report::news(config, &report, None, &book);
    let record = report::adoption_record(at, pair, adoption, candle, &book);
    world.commit(config, &past, book, Some(news), record)?;
    Ok(report)
}

/// Whether the account has what is to be adopted. On paper nobody is asked.
fn on_the_account(
    world: &mut World,
    config: &Config,
    past: &Past,
    adoption: &Adoption,
) -> Result<(), Failure> {
    let Some(live) = world.exchange.live() else { return Ok(()) };
    let Adoption { leg, quantity, .. } = *adoption;
    let asset = config.pair.asset(leg);
    let step = live.rules(&mut world.outside)?[leg.index()].step;
    if quantity.floor_to(step).map_err(too_large)? != quantity {
        return Err(Failure::configuration(
            format!(
                "`--quantity {quantity}`: the exchange trades {asset} in steps of {}",
                step.value()
            ),
            "leave away what is below a step: it stays yours and is not touched",
        ));
    }
    if past.lags {
        return Err(Failure::new(
            Kind::Pending,
            "the account doesn't show the last order yet: nothing is adopted until it does",
            "nothing was done; try again in a minute",
        ));
    }
    let account = live.account(&mut world.outside)?;
    let (free, dust) = (account.leg(leg).free, past.book.dust.of(leg));
    let needed = quantity.plus(dust).map_err(too_large)?;
    if free < needed {
        return Err(Failure::new(
            Kind::Refused,
            format!(
                "the account has {free} {asset} free, and {needed} {asset} are to be on the book \
                 ({quantity} adopted, {dust} there already)"
            ),
            "adopt what there is, or free what an open order or Earn holds; nothing was changed",
        ));
    }
    Ok(())
}

fn sell_all(
    world: &mut World,
    config: &Config,
    stop: &Stop,
    past: Past,
    now: Timestamp,
) -> Result<Report, Failure> {
    let (past, settled) = settle(world, config, past, now)?;
    if let (Some(_), Some(halt)) = (past.book.pending(), &past.book.halt) {
        // A person was called to look at it: whether there is anything to sell, nobody knows.
        return Err(report::halted_itself(halt));
    }
    let halt = Halt { by: HaltedBy::Person, reason: FLATTENED.to_owned() };
    let held = past.book.position.holding().map(|holding| holding.leg);
    let (Some(leg), Some(candle)) = (held, past.book.last_candle) else {
        let why = "nothing is held: nothing is sold, and nothing new is bought until `resume`";
        world.halt(config, &past, halt.reason, now)?;
        let mut report = Report::new(config, &past.book, Action::Halted, why.to_owned());
        report.settled = settled;
        return Ok(report);
    };
    let past = &agree(world, config, &past, now)?;
    let decision = machine::leave_at_once(&past.book, leg);
    let touch = touch(world, &decision, candle)?;
    stop.check("nothing was sold")?;
    let now = touch.as_ref().map_or(now, |(_, now)| *now);
    let touch = touch.map(|(touch, _)| touch);
    let market = Market { legs: Legs::default(), newest: candle, now };
    let book = &past.book;
    let (reading, funds, halt) = (None, None, Some(halt));
    let resolve = Resolve { book, market, reading, decision, touch, funds, halt };
    let mut report = resolve.carry_out(world, config, past);
    // A request for a halt is taken away only once the halt is part of the state.
    if world.store.state().is_some_and(|state| state.book.halt.is_some()) {
        world.store.forget_halt()?;
    }
    if let Ok(report) = &mut report {
        report.settled = settled;
    }
    report
}

/// What an earlier run may have sent comes first: until it is known, nothing else is.
fn settle(
    world: &mut World,
    config: &Config,
    past: Past,
    now: Timestamp,
) -> Result<(Past, Option<Order>), Failure> {
    let Some(intent) = past.book.pending().cloned() else { return Ok((past, None)) };
    let Some(live) = world.exchange.live() else { return Ok((past, None)) };
    let halt = |world: &mut World, reason| Err(world.halt_itself(config, &past, reason, now)?);
    let by_program = matches!(&past.book.halt, Some(Halt { by: HaltedBy::Program, .. }));
    match live.ask(&intent, &mut world.outside) {
        Ok(Standing::Settled(settled)) => {
            let (past, order) = book_settled(world, config, &past, &intent, &settled)?;
            Ok((past, Some(order)))
        }
        // A person was called already; nothing here is told twice.
        Ok(Standing::Open { .. } | Standing::Unclear(_)) | Err(_) if by_program => Ok((past, None)),
        Ok(Standing::Open { why, at }) => {
            let patience = intent.final_after(live.settle_seconds()).plus_millis(DAY_MILLIS);
            let id = &intent.client_order_id;
            if at > patience {
                return halt(world, format!("the order {id} is open for a day: {why}"));
            }
            Err(still_open(&intent, &why))
        }
        Ok(Standing::Unclear(why)) => {
            halt(world, format!("the order {} can't be explained: {why}", intent.client_order_id))
        }
        Err(failure) => Err(match failure.kind {
            Kind::Unreachable | Kind::Limited => still_open(&intent, &failure.message),
            Kind::Bug
            | Kind::Busy
            | Kind::Configuration
            | Kind::Halted
            | Kind::KeyRefused
            | Kind::Pending
            | Kind::Refused
            | Kind::Stopped
            | Kind::Storage
            | Kind::Untrusted => failure,
        }),
    }
}

/// Whether account and book agree; a book that has no account yet is given one. Without an account
/// there is nothing to compare.
///
/// **Errors**: they don't, and that is now part of the book; or they can't be compared.
fn agree(world: &mut World, config: &Config, past: &Past, now: Timestamp) -> Result<Past, Failure> {
    let Some(live) = world.exchange.live() else { return Ok(past.clone()) };
    let account = live.account(&mut world.outside)?.clone();
    let Some(ledger) = &past.book.ledger else {
        return preflight::first_start(world, config, past, &account);
    };
    let standing = preflight::compare(live, config, &past.book, ledger, &mut world.outside)?;
    let mut past = past.clone();
    let ledger = ledger.clone();
    match standing {
        account::Standing::Agrees => {
            past.book.ledger = Some(account::scanned(ledger, &account));
            Ok(past)
        }
        account::Standing::Lags => {
            past.lags = true;
            Ok(past)
        }
        account::Standing::Disagrees { why, unexplained } => {
            past.book.ledger = Some(Ledger { unexplained, ..ledger });
            Err(world.halt_itself(config, &past, why, now)?)
        }
    }
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
        HaltedBy::Program => Err(report::halted_itself(halt)),
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
        Err(distrust) if config.mode.is_replay() => Ok((machine::stay_away(book, distrust), None)),
        Err(distrust) => Err(crate::exchange::watch::distrusted(&distrust, &config.pair)),
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

/// A decision, everything that it rests on, and what it is to become.
pub(crate) struct Resolve<'a> {
    /// The book that it was made on.
    pub(crate) book: &'a Book,
    pub(crate) market: Market,
    pub(crate) reading: Option<Reading>,
    pub(crate) decision: Decision,
    pub(crate) touch: Option<Touch>,
    /// What the account may spend, where there is one and the decision needs it.
    pub(crate) funds: Option<Funds>,
    /// Set with whatever comes of it.
    pub(crate) halt: Option<Halt>,
}

/// What a step comes to, before it is committed.
pub(crate) struct Done {
    pub(crate) book: Book,
    pub(crate) report: Report,
    pub(crate) refused: Option<String>,
    pub(crate) record: Value,
}

impl Resolve<'_> {
    /// Carries the decision out, commits what came of it, and says what it was.
    fn carry_out(
        mut self,
        world: &mut World,
        config: &Config,
        past: &Past,
    ) -> Result<Report, Failure> {
        if world.exchange.live().is_some() {
            self.funds = self.funds(world, past)?;
            return self.trade(world, config, past);
        }
        let done = self.simulated(config).map_err(too_large)?;
        commit(world, config, past, done)
    }

    /// What a simulated fill makes of the decision.
    pub(crate) fn simulated(&self, config: &Config) -> Result<Done, Overflow> {
        let (candle, today) = (self.market.newest, self.market.now.day());
        let touch = self.touch.as_ref();
        let terms = &config.terms;
        let step = fill::carry_out(self.book, &self.decision, candle, touch, terms, today)?;
        Ok(self.done(config, step))
    }

    /// The same with a real order: planned, recorded, sent once, settled.
    fn trade(&self, world: &mut World, config: &Config, past: &Past) -> Result<Report, Failure> {
        let ordered = match self.planned(config).map_err(too_large)? {
            Ok(ordered) => ordered,
            Err(done) => return commit(world, config, past, done),
        };
        let (recorded, past) = self.record(world, config, past, ordered)?;
        let intent = past.book.pending().cloned().expect("it was just recorded");
        let live = world.exchange.live().expect("this is live");
        match live.send(recorded, &mut world.outside) {
            Sent::Settled(settled) => self.settled(world, config, &past, &intent, &settled),
            Sent::Refused(refusal) => self.refused(world, config, &past, &intent, &refusal),
            Sent::Unknown(why) => {
                log::warn!("{}: {why}; it is asked about", intent.client_order_id);
                match live.ask(&intent, &mut world.outside) {
                    Ok(Standing::Settled(settled)) => {
                        self.settled(world, config, &past, &intent, &settled)
                    }
                    Ok(Standing::Open { why, .. }) => Err(still_open(&intent, &why)),
                    Ok(Standing::Unclear(why)) => {
                        let id = &intent.client_order_id;
                        let reason = format!("the order {id} can't be explained: {why}");
                        Err(world.halt_itself(config, &past, reason, self.market.now)?)
                    }
                    Err(failure) => Err(still_open(&intent, &failure.message)),
                }
            }
        }
    }

    /// What the account may spend, if the decision needs it.
    fn funds(&self, world: &mut World, past: &Past) -> Result<Option<Funds>, Failure> {
        let Some((leg, _)) = self.decision.needs() else { return Ok(None) };
        let live = world.exchange.live().expect("this is live");
        let account = live.account(&mut world.outside)?;
        if past.lags {
            return Err(Failure::new(
                Kind::Pending,
                "the account doesn't show the last order yet: nothing is ordered until it does",
                "nothing was done; the next run tries again",
            ));
        }
        if !account.can_trade {
            return Err(preflight::may_not_trade(account.uid));
        }
        Ok(Some(Funds { quote: account.free_quote, base: Some(account.leg(leg).free) }))
    }

    /// The order that a real account is asked for, or what the step comes to without one.
    pub(crate) fn planned(&self, config: &Config) -> Result<Result<Ordered, Done>, Overflow> {
        let (candle, today) = (self.market.newest, self.market.now.day());
        let book = self.book.clone().decided(candle, self.decision.cooling);
        let nothing = Funds { quote: Amount::ZERO, base: None };
        let (touch, funds) = (self.touch.as_ref(), self.funds.unwrap_or(nothing));
        match fill::plan(&book, &self.decision, touch, funds, &config.terms)? {
            Planned::Order(ordered) => Ok(Ok(ordered)),
            planned => {
                let step = fill::without_order(book, &self.decision, planned, today)?;
                Ok(Err(self.done(config, step)))
            }
        }
    }

    /// The book in which an order is about to be sent.
    pub(crate) fn ordered(&self, purpose: Purpose) -> Book {
        let (candle, today) = (self.market.newest, self.market.now.day());
        let mut book = self.book.clone().decided(candle, self.decision.cooling).ordered(today);
        if let Purpose::Exit { cools } = purpose {
            // Decided is decided: whatever comes of the order, the rest is sold by later runs.
            book = book.unsold(cools);
        }
        if book.halt.is_none() {
            book.halt.clone_from(&self.halt);
        }
        book
    }

    /// Makes the intent durable. Nothing was sent before, and everything after it is asked about.
    fn record(
        &self,
        world: &mut World,
        config: &Config,
        past: &Past,
        ordered: Ordered,
    ) -> Result<(Recorded, Past), Failure> {
        let (candle, now) = (self.market.newest, self.market.now);
        let book = self.ordered(ordered.purpose);
        let id = world::order_id(config, &book, candle, ordered.plan.side);
        let touch = self.touch.clone().expect("an order was planned with a price");
        let live = world.exchange.live().expect("this is live");
        live.check_time()?;
        let is_taken = live.account(&mut world.outside)?.has(&id);
        let known = book.ledger.as_ref().and_then(|ledger| ledger.newest(ordered.leg));
        let intent = live.intent(id, candle, ordered, touch, known, &mut world.outside)?;
        if is_taken {
            let id = &intent.client_order_id;
            let reason = format!(
                "an order {id} exists already: another machine or a restored backup decides the same"
            );
            return Err(world.halt_itself(config, past, reason, now)?);
        }
        let record = self.intent_record(config, &book, &intent);
        world.record(config, past, book, intent, record)
    }

    /// The record of an order that is about to be sent.
    pub(crate) fn intent_record(&self, config: &Config, book: &Book, intent: &Intent) -> Value {
        let mut report = self.report(config, book, None);
        report.action = match intent.ordered.plan.side {
            Side::Buy => Action::Buy,
            Side::Sell => Action::Sell,
        };
        self.record_of(config, &report, None, book).of_intent(intent, config)
    }

    fn settled(
        &self,
        world: &mut World,
        config: &Config,
        past: &Past,
        intent: &Intent,
        settled: &Settled,
    ) -> Result<Report, Failure> {
        let done = self.settlement(config, &past.book, intent, settled).map_err(too_large)?;
        let news = report::news(config, &done.report, None, &done.book);
        world.commit(config, past, done.book, Some(news), done.record)?;
        Ok(done.report)
    }

    /// What the order's outcome makes of the book in which it was open.
    pub(crate) fn settlement(
        &self,
        config: &Config,
        book: &Book,
        intent: &Intent,
        settled: &Settled,
    ) -> Result<Done, Overflow> {
        let (book, order) = settled_book(config, book, intent, settled)?;
        let mut report = self.report(config, &book, Some(order));
        if matches!(settled.outcome, Outcome::Expired) {
            report.why.push_str(nothing_executed(intent.ordered.plan.kind()));
        }
        let record = report::settlement_record(intent, settled, &report, &book, false);
        Ok(Done { book, report, refused: None, record })
    }

    fn refused(
        &self,
        world: &mut World,
        config: &Config,
        past: &Past,
        intent: &Intent,
        refusal: &Refusal,
    ) -> Result<Report, Failure> {
        let is_order = refusal.kind == Kind::Refused;
        let book = refused_book(&past.book, intent, &refusal.said, is_order, self.market.now);
        let report = self.report(config, &book, None);
        let news = report::news(config, &report, Some(&refusal.said), &book);
        let news = Some(news).filter(|_| is_order);
        let record =
            report::refusal_record(intent, &refusal.said, is_order, &book, self.market.now);
        world.commit(config, past, book, news, record)?;
        Err(report::refused_order(&report.why, refusal.kind, &refusal.said))
    }

    /// What a step that needed no order, or whose order was simulated, comes to.
    fn done(&self, config: &Config, step: Step) -> Done {
        let Step { mut book, order, refused } = step;
        if book.halt.is_none() {
            book.halt.clone_from(&self.halt);
        }
        let pair = &config.pair;
        let refused = refused.zip(self.decision.needs()).map(|(refusal, (leg, _))| {
            let sentence = refusal.sentence(pair.symbol(leg));
            if let Some(Halt { by: HaltedBy::Program, reason }) = &mut book.halt {
                *reason = format!("{reason}: {sentence}");
            }
            sentence
        });
        let order = order.map(|(leg, side, done)| {
            let id = world::order_id(config, &book, self.market.newest, side);
            Order::of(pair, leg, side, id, done.as_ref())
        });
        let mut report = self.report(config, &book, order);
        let decided = report.why.clone();
        match (&refused, &report.order) {
            (Some(refusal), _) => {
                report.why = format!("{decided}; but it was refused: {refusal}");
            }
            (None, Some(order)) if order.average_price.is_none() => {
                report.why.push_str(nothing_executed(config.terms.kind()));
            }
            (None, None) if matches!(self.decision.transition, Transition::Leave(..)) => {
                report.why.push_str("; but it is too small to be sold, and is kept as dust");
            }
            (None, _) => {}
        }
        if refused.is_some() && config.mode.is_replay() {
            // The contract's word for a candle that counts as decided on although nothing was done.
            report.z = None;
        }
        let record = self.record_of(config, &report, refused.as_deref(), &book).to_json();
        Done { book, report, refused, record }
    }

    /// What is said of the decision, with the order that was made, if one was.
    fn report(&self, config: &Config, book: &Book, order: Option<Order>) -> Report {
        let pair = &config.pair;
        let decided =
            report::why(&self.decision.transition, self.market.newest, pair, &config.rules);
        let action = match &order {
            Some(order) if order.average_price.is_some() => order.action(),
            _ => Action::Hold,
        };
        let mut report = Report::new(config, self.book, action, decided)
            .about(Some(self.market.newest), self.reading);
        report.signal = report::signal_name(self.decision.signal, pair);
        report.to = report::state_name(&book.position, pair);
        report.order = order;
        report
    }

    fn record_of<'b>(
        &'b self,
        config: &'b Config,
        report: &'b Report,
        refused: Option<&'b str>,
        book: &'b Book,
    ) -> DecisionRecord<'b> {
        let is_trusted =
            !matches!(self.decision.transition, Transition::Stay(machine::Stay::Untrusted(_)));
        DecisionRecord {
            at: self.market.now,
            rules: &config.rules,
            terms: &config.terms,
            legs: &self.market.legs,
            is_trusted,
            touch: self.touch.as_ref(),
            funds: self.funds,
            report,
            refused,
            book,
        }
    }
}

/// Commits a step that needed no order, or whose order was simulated.
fn commit(world: &mut World, config: &Config, past: &Past, done: Done) -> Result<Report, Failure> {
    let Done { book, report, refused, record } = done;
    let is_replay = config.mode.is_replay();
    let is_news = report.order.is_some() || report.from != report.to;
    let is_news = is_news || (refused.is_some() && !is_replay);
    let news = is_news.then(|| report::news(config, &report, refused.as_deref(), &book));
    world.commit(config, past, book, news, record)?;
    match refused {
        Some(_) if !is_replay => Err(Failure::new(Kind::Refused, report.why, report::REFUSED_HINT)),
        _ => Ok(report),
    }
}

/// Books what became of an order of an earlier run, and commits it with its record and message.
pub(crate) fn book_settled(
    world: &mut World,
    config: &Config,
    past: &Past,
    intent: &Intent,
    settled: &Settled,
) -> Result<(Past, Order), Failure> {
    let done = settled_later(config, &past.book, intent, settled).map_err(too_large)?;
    let order = done.report.order.clone().expect("a settlement is about an order");
    let news = report::news(config, &done.report, None, &done.book);
    let past = world.commit(config, past, done.book, Some(news), done.record)?;
    Ok((past, order))
}

/// What the outcome of an earlier run's order makes of the book.
pub(crate) fn settled_later(
    config: &Config,
    book: &Book,
    intent: &Intent,
    settled: &Settled,
) -> Result<Done, Overflow> {
    let (after, order) = settled_book(config, book, intent, settled)?;
    let report = report::settled_later(config, book, &after, intent, order);
    let record = report::settlement_record(intent, settled, &report, &after, true);
    Ok(Done { book: after, report, refused: None, record })
}

fn settled_book(
    config: &Config,
    book: &Book,
    intent: &Intent,
    settled: &Settled,
) -> Result<(Book, Order), Overflow> {
    let (ordered, touch, today) = (&intent.ordered, &intent.touch, settled.at.day());
    let (candle, outcome) = (intent.candle, &settled.outcome);
    let mut book = fill::settle(book.clone(), ordered, candle, outcome, touch, today)?;
    if let Outcome::Executed(execution) = outcome {
        for leg in Leg::BOTH.into_iter().filter(|leg| *leg != ordered.leg) {
            let fee = execution.fees.other.get(config.pair.asset(leg));
            book = book.without_dust(leg, fee.copied().unwrap_or_default());
        }
    }
    let done = match outcome {
        Outcome::Executed(execution) => Some(execution),
        Outcome::Expired => None,
    };
    book.ledger = book.ledger.map(|ledger| match outcome {
        Outcome::Executed(_) => ledger.settled(settled.order_id, settled.at),
        Outcome::Expired => ledger.expired(settled.order_id),
    });
    let (leg, side) = (ordered.leg, ordered.plan.side);
    Ok((book, Order::of(&config.pair, leg, side, intent.client_order_id.clone(), done)))
}

/// The book after the exchange refused an order. Only a refusal of the order itself counts
/// against an exit; a wrong key, a limit or a late request says nothing about it.
pub(crate) fn refused_book(
    book: &Book,
    intent: &Intent,
    said: &str,
    is_order: bool,
    now: Timestamp,
) -> Book {
    let mut book = book.clone();
    book.ledger = book.ledger.map(|ledger| ledger.settled(None, now));
    if let (Purpose::Exit { cools }, true) = (intent.ordered.purpose, is_order) {
        book = fill::refused_exit(book, cools);
        if let Some(Halt { by: HaltedBy::Program, reason }) = &mut book.halt {
            *reason = format!("{reason}: {said}");
        }
    }
    book
}

/// The failure of a run that leaves an order whose outcome it does not know.
fn still_open(intent: &Intent, why: &str) -> Failure {
    Failure::new(
        Kind::Pending,
        format!("it is not known what became of the order {}: {why}", intent.client_order_id),
        "it stays recorded and nothing else is ordered; the next run asks again",
    )
}

fn too_large(overflow: Overflow) -> Failure {
    Failure::unreachable(format!("a price beyond computation: {overflow}"))
}

fn nothing_executed(kind: order::Kind) -> &'static str {
    match kind {
        order::Kind::Limit => "; but nothing was executed, the price was beyond MAX_SLIPPAGE_BPS",
        order::Kind::Market => "; but nothing was executed, the exchange let the order expire",
    }
}

/// Why it is halted after `flatten`.
pub(crate) const FLATTENED: &str = "flatten was asked for";
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
