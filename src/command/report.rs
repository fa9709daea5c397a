//! `report`: what a book really did, as a page, and where it differs from what a backtest says of the
//! same candles.
//!
//! The journal is recomputed on the way, so a page is made of nothing that does not fit. What
//! happened is counted and drawn by what counts and draws a history.

use std::fmt::Write as _;
use std::path::Path;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::audit::{self, Checked};
use super::backtest::{self, CONFIDENCE, SEED, stopped, too_large, write_page};
use super::{Answer, status};
use crate::config::Config;
use crate::failure::Failure;
use crate::history::bootstrap;
use crate::history::curve::{Closes, Curve};
use crate::history::engine::Moment;
use crate::history::figures::{Figures, Tally};
use crate::history::sums::{bps, mean};
use crate::history::verdict::verdict;
use crate::history::worth::worth;
use crate::page::history::{History, minute, money};
use crate::page::table::{Cell, table};
use crate::page::{Page, escape};
use crate::store::disk::Disk;
use crate::trading::book::Book;
use crate::trading::candle::Candle;
use crate::trading::fill::Step;
use crate::trading::machine::Rules;
use crate::trading::market::{Leg, Side};
use crate::trading::money::{Amount, Price};
use crate::trading::order::{Execution, Terms};
use crate::trading::strategy::{Reading, ZScore, nearest};
use crate::trading::time::Timestamp;

/// Writes the page.
///
/// **Errors**: a journal that can't be trusted; a page that can't be written.
pub fn report(
    disk: &dyn Disk,
    config: &Config,
    html: Option<&Path>,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let look = |told: &mut Told, record: &Value, book: &Book| told.record(config, record, book);
    let Some((told, state)) = audit::recompute(disk, config, look)? else {
        let text = "there is no journal yet, so there is nothing to report".to_owned();
        let json = json!({ "mode": config.mode.name(), "html": null });
        return Ok(Answer { text, json });
    };
    let (Some((rules, terms)), false) = (told.rules.clone(), told.seen.is_empty()) else {
        let text = "no candle was decided on yet, so there is nothing to report".to_owned();
        let json = json!({ "mode": config.mode.name(), "html": null });
        return Ok(Answer { text, json });
    };
    // What was decided is shown under the rules that it was last decided by.
    let config = &Config { rules, terms, ..config.clone() };
    let opening = told.opening.unwrap_or(config.terms.amount);
    let (figures, mut curve, closes) = told.fold(config, opening, &state.book)?;
    let said = Said::new(config, &told, &figures, opening)?;

    let interval = bootstrap::interval_of_mean(&figures.returns, CONFIDENCE, SEED);
    let interval = interval.map(|it| [it.low, it.high].map(bps));
    let Config { pair, rules, terms, .. } = config;
    let verdict = verdict(&figures, pair, None);
    let history = History { pair, rules, terms, figures: &figures, interval };
    let title = format!("{pair} {}", rules.interval);
    let kind = format!("{} report", config.mode.name());
    let verdict = format!("{verdict} {}", said.sentence);
    let mut page = Page::new(&kind, &title, &history.subtitle(), &verdict);
    history.tiles(&mut page);
    let standing = status::status(config, now)?;
    page.section("Now", "", &format!("<pre>{}</pre>", escape(&standing.text)));
    history.sections(&mut page, &mut curve, &closes);
    page.section("Beside a backtest", COMPARED, &said.table(config));
    page.section("The newest trades", "", &trades(config, &told));

    let mut json = backtest::to_json(config, &state.book, &figures, interval, &verdict);
    json["mode"] = json!(config.mode.name());
    json["backtest"] = said.json();
    let mut answer = Answer { text: backtest::wrapped(&verdict).join("\n"), json };
    let kept = config.state_dir.join("report.html");
    let of_what = if config.mode.is_live() {
        " A return is of what the account had free before the first order."
    } else {
        ""
    };
    let small = format!(
        "Made by ouroboros at {} UTC from the journal in {}, every record of which was recomputed.{}",
        minute(now),
        config.state_dir.display(),
        of_what
    );
    write_page(&mut answer, html.unwrap_or(&kept), &page.finish(&small))?;
    Ok(answer)
}

/// What the journal tells, oldest first.
#[derive(Default)]
struct Told {
    /// Every candle that a decision was made on, and those that were looked back at.
    seen: Vec<Seen>,
    /// The closes of all of them, and of the window before the first.
    rows: Vec<[Candle; 2]>,
    /// Those of the newest decision.
    rules: Option<(Rules, Terms)>,
    /// What there was to trade with.
    opening: Option<Amount>,
}

/// A candle.
struct Seen {
    row: [Candle; 2],
    reading: Option<Reading>,
    step: Option<Step>,
    book: Book,
    why: String,
}

impl Told {
    fn record(&mut self, config: &Config, record: &Value, book: &Book) -> Checked<()> {
        if let Value::String(opening) = &record["opening_balance"] {
            self.opening = Some(audit::parse(opening, Amount::new)?);
        }
        // Live it is what was free before the first order.
        if let (None, Value::String(quote)) = (self.opening, &record["intent"]["quote_before"]) {
            self.opening = Some(audit::parse(quote, Amount::new)?);
        }
        if record["rules"].is_object() {
            self.rules = Some(audit::rules(&record["rules"], config)?);
        }
        if record["numerator"].is_array() {
            self.candles(record, book)?;
        }
        let result = &record["result"];
        let Some(newest) = self.seen.last_mut() else { return Ok(()) };
        newest.book = book.clone();
        if let Some(why) = result["why"].as_str() {
            why.clone_into(&mut newest.why);
        }
        let order = &result["order"];
        let Some(leg) = Leg::BOTH
            .into_iter()
            .find(|leg| order["symbol"] == json!(config.pair.symbol(*leg).code()))
        else {
            return Ok(());
        };
        if let Some(execution) = audit::executed(order, leg, &config.pair)? {
            let order = Some((leg, execution.side, Some(execution)));
            let step = Step { book: book.clone(), order, refused: None };
            if newest.step.is_some() {
                // Two trades on one candle: the second is shown as if there were one more.
                let again = Seen { row: newest.row, step: Some(step), ..newest.without_step() };
                self.seen.push(again);
            } else {
                newest.step = Some(step);
            }
        }
        Ok(())
    }

    /// The candles of a decision that are newer than the last one.
    fn candles(&mut self, record: &Value, book: &Book) -> Checked<()> {
        let legs = ["numerator", "denominator"].map(|leg| audit::closes(record, leg));
        let [numerator, denominator] = legs;
        let both = numerator?.into_iter().zip(denominator?);
        let known = self.rows.last().map(|row| row[0].open_time);
        let is_first = self.seen.is_empty();
        let mut rows: Vec<[Candle; 2]> = both
            .filter(|((at, _), _)| known.is_none_or(|known| *at > known))
            .map(|(n, d)| [audit::flat(&n), audit::flat(&d)])
            .collect();
        self.rows.extend(&rows);
        let Some(decided) = rows.pop() else { return Ok(()) };
        if !is_first {
            // Nobody was there on these.
            self.seen.extend(rows.into_iter().map(|row| Seen {
                row,
                reading: None,
                step: None,
                book: book.clone(),
                why: String::new(),
            }));
        }
        let result = &record["result"];
        let number = |name: &str| result[name].as_f64();
        let reading = match (number("spread"), number("mean"), number("std")) {
            (Some(spread), Some(mean), Some(std)) => {
                Some(Reading { spread, mean, std, z: number("z").and_then(ZScore::new) })
            }
            _ => None,
        };
        let why = String::new();
        self.seen.push(Seen { row: decided, reading, step: None, book: book.clone(), why });
        Ok(())
    }

    /// What happened, counted and drawn as a history is.
    fn fold(
        &self,
        config: &Config,
        opening: Amount,
        last: &Book,
    ) -> Result<(Figures, Curve, Closes), Failure> {
        let mut tally = Tally::new(&config.rules, &config.terms, opening);
        let mut curve = Curve::new(config.rules.interval, tally.equity());
        let mut closes = Closes::default();
        for seen in &self.seen {
            let book = with_cash(&seen.book, opening);
            let step = seen.step.as_ref();
            let moment = Moment { row: &seen.row, reading: seen.reading, step, book: &book };
            let trip = tally.add(&moment);
            curve.add(&moment, trip.as_ref(), tally.equity());
            closes.add(&seen.row);
        }
        let figures = tally.figures(&with_cash(last, opening), &config.terms);
        Ok((figures.map_err(too_large)?, curve, closes))
    }

    fn trades(&self) -> impl DoubleEndedIterator<Item = Trade<'_>> {
        self.seen.iter().filter_map(|seen| {
            let (leg, side, execution) = seen.step.as_ref()?.order.as_ref()?;
            let (candle, close) = (seen.row[0].open_time, seen.row[leg.index()].close);
            let execution = execution.as_ref()?;
            Some(Trade { candle, leg: *leg, side: *side, execution, close, seen: Some(seen) })
        })
    }
}

impl Seen {
    fn without_step(&self) -> Self {
        let Self { row, reading, book, why, .. } = self;
        Self { row: *row, reading: *reading, step: None, book: book.clone(), why: why.clone() }
    }
}

/// The book as it would be on paper: a live one has no cash of its own.
fn with_cash(book: &Book, opening: Amount) -> Book {
    if book.cash.is_some() {
        return book.clone();
    }
    let held = book.position.holding();
    let held = held.map_or(Decimal::ZERO, |it| it.proceeds.value() - it.cost.value());
    let cash = Amount::new(opening.value() + book.realized.value() + held);
    Book { cash: Some(cash.unwrap_or_default()), ..book.clone() }
}

/// A trade that was made.
struct Trade<'a> {
    candle: Timestamp,
    leg: Leg,
    side: Side,
    execution: &'a Execution,
    close: Decimal,
    seen: Option<&'a Seen>,
}

/// What a backtest says of the same candles.
struct Said {
    sentence: String,
    figures: Figures,
    /// Trades that only one of the two made.
    apart: Vec<Apart>,
    same: usize,
}

/// A trade that only one of the two made.
struct Apart {
    candle: Timestamp,
    leg: Leg,
    side: Side,
    price: Price,
    is_real: bool,
}

impl Said {
    fn new(config: &Config, told: &Told, real: &Figures, opening: Amount) -> Result<Self, Failure> {
        let mut trades: Vec<(Timestamp, Leg, Side, Price)> = Vec::new();
        let look = |moment: &Moment<'_>| {
            let order = moment.step.and_then(|step| step.order.as_ref());
            if let Some((leg, side, Some(execution))) = order {
                trades.push((moment.row[0].open_time, *leg, *side, execution.price));
            }
        };
        let figures = worth(&told.rows, &config.rules, &config.terms, opening, look);
        let figures = figures.map_err(stopped)?;

        let mut same = Vec::new();
        let mut apart = Vec::new();
        for trade in told.trades() {
            let Trade { candle, leg, side, execution, close, .. } = trade;
            let is_it =
                |it: &(Timestamp, Leg, Side, Price)| (it.0, it.1, it.2) == (candle, leg, side);
            if let Some(place) = trades.iter().position(is_it) {
                trades.remove(place);
                same.push(worse_by(side, execution.price.value(), close));
            } else {
                apart.push(Apart { candle, leg, side, price: execution.price, is_real: true });
            }
        }
        apart.extend(trades.into_iter().map(|(candle, leg, side, price)| Apart {
            candle,
            leg,
            side,
            price,
            is_real: false,
        }));
        apart.sort_by_key(|it| it.candle);
        let quote = config.pair.quote();
        let mut sentence = format!(
            "A backtest of the same candles makes {} round trips and {:+.2} {quote}; in truth there \
             were {} and {:+.2}.",
            figures.total.round_trips, figures.total.net, real.total.round_trips, real.total.net
        );
        if same.is_empty() {
            sentence.push_str(" They have no trade in common.");
        } else {
            let _ = write!(
                sentence,
                " {} trades are in both, at prices that were {:+.1} bp worse than the close on average.",
                same.len(),
                mean(&same)
            );
        }
        if !apart.is_empty() {
            let really = apart.iter().filter(|it| it.is_real).count();
            let _ = write!(
                sentence,
                " {really} were made and are not in the backtest, {} are in it and were not made.",
                apart.len() - really
            );
        }
        Ok(Self { sentence, figures, apart, same: same.len() })
    }

    fn json(&self) -> Value {
        let total = &self.figures.total;
        let of = |is_real| self.apart.iter().filter(|it| it.is_real == is_real).count();
        json!({
            "round_trips": total.round_trips,
            "net_pnl": format!("{:.8}", total.net),
            "fees": format!("{:.8}", total.fees),
            "same_trades": self.same,
            "only_real": of(true),
            "only_backtest": of(false),
            "said": self.sentence,
        })
    }

    fn table(&self, config: &Config) -> String {
        if self.apart.is_empty() {
            return "<p>Every trade is in both.</p>".to_owned();
        }
        let headings = ["candle", "side", "asset", "price", "made by"].map(str::to_owned);
        let rows: Vec<Vec<Cell>> = self
            .apart
            .iter()
            .rev()
            .take(SHOWN)
            .map(|it| {
                vec![
                    Cell::Words(minute(it.candle)),
                    Cell::Words(it.side.to_string()),
                    Cell::Words(config.pair.asset(it.leg).to_string()),
                    Cell::Number(it.price.to_string()),
                    Cell::Words(if it.is_real { "the runs" } else { "the backtest" }.to_owned()),
                ]
            })
            .collect();
        table(&headings, &rows)
    }
}

/// By how much a price is worse for us than the close. **Units**: basis points.
#[expect(clippy::float_arithmetic, reason = "a statistic for people")]
fn worse_by(side: Side, price: Decimal, close: Decimal) -> f64 {
    let ratio = nearest(price) / nearest(close) - 1.0;
    bps(match side {
        Side::Buy => ratio,
        Side::Sell => -ratio,
    })
}

fn trades(config: &Config, told: &Told) -> String {
    let headings =
        ["candle", "side", "quantity", "price", "from the close", "fees", "realized so far", "why"]
            .map(str::to_owned);
    let rows: Vec<Vec<Cell>> = told
        .trades()
        .rev()
        .take(SHOWN)
        .map(|trade| {
            let Trade { candle, leg, side, execution, close, seen } = trade;
            let fees = &execution.fees;
            let mut paid = Vec::new();
            if !fees.base.value().is_zero() {
                paid.push(format!("{} {}", fees.base, config.pair.asset(leg)));
            }
            if !fees.quote.value().is_zero() {
                paid.push(format!("{} {}", fees.quote, config.pair.quote()));
            }
            paid.extend(fees.other.iter().map(|(asset, fee)| format!("{fee} {asset}")));
            vec![
                Cell::Words(minute(candle)),
                Cell::Words(side.to_string()),
                Cell::Number(format!("{} {}", execution.quantity, config.pair.asset(leg))),
                Cell::Number(execution.price.to_string()),
                Cell::Number(format!("{:+.1} bp", worse_by(side, execution.price.value(), close))),
                Cell::Number(paid.join(", ")),
                seen.map_or(Cell::Empty, |it| Cell::Number(money(it.book.realized.value()))),
                seen.map_or(Cell::Empty, |it| Cell::Words(it.why.clone())),
            ]
        })
        .collect();
    if rows.is_empty() {
        return "<p>There was none yet.</p>".to_owned();
    }
    table(&headings, &rows)
}

/// Rows of trades that a person is shown.
const SHOWN: usize = 50;
const COMPARED: &str = "The same rules over the closes that the journal has, with fills at the close \
                        and nothing ever missed. Trades that only one of the two made:";
