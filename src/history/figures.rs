//! What a history was worth: sums that grow with every candle, and the figures made of them.
//!
//! Money is exact; what is a statistic (returns, drawdown, Sharpe ratio) is a double. The equity of a
//! candle is what selling everything at its close would leave, after the fee.

#![expect(clippy::float_arithmetic, reason = "returns and ratios are statistics, not money")]

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::course::Course;
pub use super::course::Drawdown;
use super::engine::Moment;
use super::sums::{bps, centred, count, dot, mean};
use super::trip::{Trip, Trips};
use crate::trading::book::{Book, Position};
use crate::trading::candle::Candle;
use crate::trading::machine::Rules;
use crate::trading::market::{Leg, Side};
use crate::trading::money::{Amount, Overflow, Price, Profit, Quantity};
use crate::trading::order::Terms;
use crate::trading::strategy::nearest;
use crate::trading::time::{Interval, Timestamp};

/// What is counted while a history goes by.
#[derive(Debug, Clone)]
pub struct Tally {
    pub(super) interval: Interval,
    pub(super) opening: Amount,
    pub(super) fee: f64,
    pub(super) slippage: f64,
    pub(super) trips: Trips,
    pub(super) equity: Equity,
    pub(super) candles: usize,
    pub(super) held: usize,
    pub(super) first: Option<Close>,
    pub(super) last: Option<Close>,
    pub(super) entries: usize,
    pub(super) refused: usize,
    /// By the year in which they ended, and the leg.
    pub(super) sums: BTreeMap<i16, [Sums; 2]>,
    pub(super) returns: Vec<f64>,
}

/// What both legs closed at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Close {
    at: Timestamp,
    prices: [Decimal; 2],
}

impl Close {
    pub(super) fn of(row: &[Candle; 2]) -> Self {
        Self { at: row[0].open_time, prices: row.each_ref().map(|candle| candle.close) }
    }
}

/// Sums over round trips.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sums {
    /// How many.
    pub round_trips: usize,
    /// How many of them gained something, after all costs.
    pub wins: usize,
    /// Before fees and slippage, in the quote asset.
    pub gross: Decimal,
    /// What the exchange took, in the quote asset.
    pub fees: Decimal,
    /// What prices beside the closes took, in the quote asset.
    pub slippage: Decimal,
    /// What was left.
    pub net: Decimal,
    pub(super) close_ratios: f64,
    pub(super) fill_ratios: f64,
    pub(super) net_returns: f64,
}

impl Sums {
    fn add(&mut self, trip: &Trip) {
        self.round_trips += 1;
        self.wins += usize::from(trip.net > Profit::ZERO);
        self.gross += trip.gross;
        self.fees += trip.fees;
        self.slippage += trip.slippage;
        self.net += trip.net.value();
        self.close_ratios += trip.close_ratio - 1.0;
        self.fill_ratios += trip.fill_ratio - 1.0;
        self.net_returns += trip.net_return;
    }

    fn mean(&self, sum: f64) -> Option<f64> {
        (self.round_trips > 0).then(|| sum / count(self.round_trips))
    }

    /// Mean move of what was held from close to close, before all costs. **Units**: basis points.
    #[must_use]
    pub fn mean_gross_bps(&self) -> Option<f64> {
        self.mean(self.close_ratios).map(bps)
    }

    /// Mean of profit / cost, after all costs. **Units**: basis points.
    #[must_use]
    pub fn mean_net_bps(&self) -> Option<f64> {
        self.mean(self.net_returns).map(bps)
    }

    /// The mean of profit / cost that a fee a side of so many basis points would have left.
    /// **Units**: basis points.
    #[must_use]
    pub fn mean_net_bps_at(&self, fee_bps: f64) -> Option<f64> {
        let kept = 1.0 - fee_bps / bps(1.0);
        self.mean(self.fill_ratios).map(|ratio| bps((1.0 + ratio) * kept * kept - 1.0))
    }

    /// The mean of profit / cost that closes, a fee a side and a slippage a side would have left.
    /// **Units**: basis points.
    #[must_use]
    pub fn mean_net_bps_with(&self, fee_bps: f64, slippage_bps: f64) -> Option<f64> {
        let (fee, slippage) = (fee_bps / bps(1.0), slippage_bps / bps(1.0));
        let kept = (1.0 - fee) * (1.0 - fee) * (1.0 - slippage) / (1.0 + slippage);
        self.mean(self.close_ratios).map(|ratio| bps((1.0 + ratio) * kept - 1.0))
    }

    /// The fee a side at which the mean would be nothing; below zero where even no fee at all
    /// leaves a loss. **Units**: basis points.
    #[must_use]
    pub fn break_even_fee_bps(&self) -> Option<f64> {
        self.mean(self.fill_ratios).map(|ratio| bps(1.0 - (1.0 / (1.0 + ratio)).sqrt()))
    }
}

impl<'a> std::iter::Sum<&'a Self> for Sums {
    fn sum<I: Iterator<Item = &'a Self>>(parts: I) -> Self {
        let mut all = Self::default();
        for part in parts {
            all.round_trips += part.round_trips;
            all.wins += part.wins;
            all.gross += part.gross;
            all.fees += part.fees;
            all.slippage += part.slippage;
            all.net += part.net;
            all.close_ratios += part.close_ratios;
            all.fill_ratios += part.fill_ratios;
            all.net_returns += part.net_returns;
        }
        all
    }
}

/// The equity, marked at every close.
#[derive(Debug, Clone)]
pub(super) struct Equity {
    pub(super) fee: f64,
    /// What is held in the quote asset, and which leg's coins beside it.
    pub(super) cash: f64,
    pub(super) coins: Option<(Leg, f64)>,
    pub(super) course: Course,
    pub(super) months: Vec<Month>,
    pub(super) next_month: Timestamp,
    /// The equity with which each UTC day ended, if that is wanted, and the newest day.
    pub(super) days: Option<Vec<f64>>,
    pub(super) day: Option<Timestamp>,
}

/// A month of the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Month {
    /// Its year.
    pub year: i16,
    /// Its number, from 1.
    pub month: i8,
    /// The equity at the last close before it, and at its own last close. **Units**: quote asset.
    pub equity: (f64, f64),
}

impl Month {
    /// What was gained or lost in it, as a fraction.
    #[must_use]
    pub fn change(&self) -> f64 {
        self.equity.1 / self.equity.0 - 1.0
    }
}

impl Equity {
    fn new(opening: Amount, fee: f64) -> Self {
        let opening = nearest(opening.value());
        Self {
            fee,
            cash: opening,
            coins: None,
            course: Course::new(opening),
            months: Vec::new(),
            next_month: Timestamp::EPOCH,
            days: None,
            day: None,
        }
    }

    /// Takes over what the book holds after a trade.
    fn traded(&mut self, book: &Book) {
        self.cash = nearest(book.cash.unwrap_or_default().value());
        self.coins = book.position.holding().map(|holding| {
            let quantity = book.available().unwrap_or(holding.quantity);
            (holding.leg, nearest(quantity.value()))
        });
    }

    fn mark(&mut self, row: &[Candle; 2], is_traded: bool) {
        let at = row[0].open_time;
        if at >= self.next_month {
            self.begin_month(at);
        }
        let equity = match self.coins {
            None => self.cash,
            // A price that can't be traded on is none to be marked at.
            Some((leg, _)) if row[leg.index()].close <= Decimal::ZERO => self.course.newest(),
            Some((leg, coins)) => {
                worth(self.cash, coins, nearest(row[leg.index()].close), self.fee)
            }
        };
        self.course.mark(equity, at, is_traded);
        if let Some(month) = self.months.last_mut() {
            month.equity.1 = equity;
        }
        if let Some(days) = &mut self.days {
            let day = Some(at.day());
            match days.last_mut().filter(|_| self.day == day) {
                Some(newest) => *newest = equity,
                None => days.push(equity),
            }
            self.day = day;
        }
    }

    fn begin_month(&mut self, at: Timestamp) {
        let (year, month, next) = at.month();
        self.next_month = next;
        let newest = self.course.newest();
        self.months.push(Month { year, month, equity: (newest, newest) });
    }
}

/// The equity of so much cash, and coins that are sold at this close.
pub(super) fn worth(cash: f64, coins: f64, close: f64, fee: f64) -> f64 {
    cash + coins * close * (1.0 - fee)
}

impl Tally {
    /// Nothing was seen yet.
    #[must_use]
    pub fn new(rules: &Rules, terms: &Terms, opening: Amount) -> Self {
        let fraction = |points: Decimal| nearest(points) / bps(1.0);
        let (fee, slippage) = (fraction(terms.fee.value()), fraction(terms.slippage.value()));
        Self {
            interval: rules.interval,
            opening,
            fee,
            slippage,
            trips: Trips::default(),
            equity: Equity::new(opening, fee),
            candles: 0,
            held: 0,
            first: None,
            last: None,
            entries: 0,
            refused: 0,
            sums: BTreeMap::new(),
            returns: Vec::new(),
        }
    }

    /// The same, and the equity of each day is kept.
    #[must_use]
    pub fn by_day(mut self) -> Self {
        self.equity.days = Some(Vec::new());
        self
    }

    /// What the equity gained or lost on each UTC day, as fractions; the first is that of the opening
    /// balance.
    #[must_use]
    pub fn days(&self) -> Vec<f64> {
        let mut before = nearest(self.opening.value());
        let days = self.equity.days.iter().flatten();
        days.map(|equity| equity / std::mem::replace(&mut before, *equity) - 1.0).collect()
    }

    /// The equity after the newest candle, in the quote asset.
    #[must_use]
    pub fn equity(&self) -> f64 {
        self.equity.course.newest()
    }

    /// One more candle; the round trip that ended on it, if one did.
    pub fn add(&mut self, moment: &Moment<'_>) -> Option<Trip> {
        self.candles += 1;
        self.held += usize::from(!matches!(moment.book.position, Position::Flat { .. }));
        let close = Close::of(moment.row);
        self.first.get_or_insert(close);
        self.last = Some(close);
        let trip = match moment.step {
            None => None,
            Some(step) => {
                self.entries += usize::from(matches!(step.order, Some((_, Side::Buy, Some(_)))));
                let is_flat = matches!(moment.book.position, Position::Flat { .. });
                self.refused += usize::from(step.refused.is_some() && is_flat);
                self.equity.traded(moment.book);
                self.trips.next(moment, self.interval)
            }
        };
        if let Some(trip) = &trip {
            let year = self.sums.entry(trip.exit_candle.month().0).or_default();
            year[trip.leg.index()].add(trip);
            self.returns.push(trip.net_return);
        }
        self.equity.mark(moment.row, moment.step.is_some());
        trip
    }

    /// The figures, with the book that the history ended with. At least one candle was added.
    ///
    /// **Errors**: numbers beyond exact computation.
    pub fn figures(self, book: &Book, terms: &Terms) -> Result<Figures, Overflow> {
        let held = match book.position.holding() {
            Some(holding) => Some((holding.leg, book.available()?)),
            None => None,
        };
        self.figures_of(book.cash.unwrap_or_default(), held, terms)
    }

    /// The figures, with the cash and the coins that the history ended with.
    pub(super) fn figures_of(
        self,
        cash: Amount,
        held: Option<(Leg, Quantity)>,
        terms: &Terms,
    ) -> Result<Figures, Overflow> {
        let first = self.first.expect("a history has a candle");
        let last = self.last.expect("a history has a candle");
        let span = self.interval.candles_between(first.at, last.at) + 1;
        let final_equity = liquidated(cash, held, &last, terms)?;
        let held_to_the_end = |leg: Leg| {
            let price = |close: &Close| nearest(close.prices[leg.index()]);
            let kept = (1.0 - self.fee) * (1.0 - self.fee);
            price(&last) * (1.0 - self.slippage) / (price(&first) * (1.0 + self.slippage)) * kept
                - 1.0
        };
        let leg = |leg: Leg| self.sums.values().map(|year| &year[leg.index()]).sum();
        let by_leg: [Sums; 2] = Leg::BOTH.map(leg);
        Ok(Figures {
            candles: self.candles,
            missing: usize::try_from(span).unwrap_or(0).saturating_sub(self.candles),
            span: (first.at, last.at),
            opening: self.opening,
            final_equity,
            drawdown: self.equity.course.worst(),
            exposure: count(self.held) / count(self.candles),
            sharpe: self.equity.course.sharpe(self.interval),
            t_stat: t_stat(&self.returns),
            buy_and_hold: Leg::BOTH.map(held_to_the_end),
            entries: self.entries,
            refused: self.refused,
            total: by_leg.iter().sum(),
            by_leg,
            by_year: self.sums.iter().map(|(year, legs)| (*year, legs.iter().sum())).collect(),
            months: self.equity.months,
            returns: self.returns,
        })
    }
}

/// What a history was worth.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Rows that both legs share.
    pub candles: usize,
    /// Rows that the grid lacks between the first and the last.
    pub missing: usize,
    /// The first and the last candle.
    pub span: (Timestamp, Timestamp),
    /// What it began with.
    pub opening: Amount,
    /// What selling everything at the last close would leave, after the fee.
    pub final_equity: Amount,
    /// The deepest fall of the equity, marked at every close.
    pub drawdown: Drawdown,
    /// The part of the candles at whose close something was held.
    pub exposure: f64,
    /// Annualised, of the returns from candle to candle, with no riskless rate; `None` where
    /// nothing ever changed.
    pub sharpe: Option<f64>,
    /// Mean of the round trips' returns / its standard error.
    pub t_stat: Option<f64>,
    /// What holding each leg from the first close to the last would have returned, after costs.
    pub buy_and_hold: [f64; 2],
    /// Entries that were made.
    pub entries: usize,
    /// Entries that could not be paid.
    pub refused: usize,
    /// All round trips.
    pub total: Sums,
    /// Those of each leg.
    pub by_leg: [Sums; 2],
    /// Those that ended in a year.
    pub by_year: BTreeMap<i16, Sums>,
    /// The equity from month to month.
    pub months: Vec<Month>,
    /// Profit / cost of each round trip, oldest first.
    pub returns: Vec<f64>,
}

impl Figures {
    /// What was gained or lost, as a fraction of what it began with.
    #[must_use]
    pub fn total_return(&self) -> f64 {
        let opening = nearest(self.opening.value());
        nearest(self.final_equity.value()) / opening - 1.0
    }

    /// Half of the opening balance in each leg, from the first close to the last.
    #[must_use]
    pub fn half_and_half(&self) -> f64 {
        let [numerator, denominator] = self.buy_and_hold;
        f64::midpoint(numerator, denominator)
    }
}

/// What selling everything at these closes would leave.
///
/// **Rounding**: as a sale is rounded, against us.
fn liquidated(
    cash: Amount,
    held: Option<(Leg, Quantity)>,
    close: &Close,
    terms: &Terms,
) -> Result<Amount, Overflow> {
    let Some((leg, quantity)) = held else { return Ok(cash) };
    let Some(price) = Price::new(close.prices[leg.index()]) else { return Ok(cash) };
    let worth = Amount::proceeds_down(quantity, price)?;
    let fee = worth.fee_up(terms.fee)?;
    cash.plus(worth.minus(fee).unwrap_or_default())
}

fn t_stat(returns: &[f64]) -> Option<f64> {
    let (count, deviations) = (count(returns.len()), centred(returns));
    let error = (dot(&deviations, &deviations) / (count - 1.0) / count).sqrt();
    let t = mean(returns) / error;
    t.is_finite().then_some(t)
}
