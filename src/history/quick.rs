//! A backtest by its events alone, for rules that know nothing but two thresholds.
//!
//! Whether a candle lies beyond a threshold is a bit, 64 of them a word; from an entry to its exit
//! and to the next entry it goes by the next bit that is set, and a candle on which nothing is held
//! costs nothing. Money is counted in whole units of 0.00000001, in the order and with the rounding
//! of [`crate::trading::fill::carry_out`]. Whatever that can't count exactly is answered with `None`,
//! and the fold has to do it. Where there is an answer it is the fold's, to the last bit.

#![expect(clippy::float_arithmetic, reason = "returns are statistics, not money")]

use rust_decimal::Decimal;

use super::course::Course;
use super::engine::Chain;
use super::figures::{Close, Figures, Month, Sums, Tally, worth};
use crate::trading::candle::Candle;
use crate::trading::machine::Rules;
use crate::trading::market::Leg;
use crate::trading::money::{Amount, DECIMALS, Profit, Quantity};
use crate::trading::order::Terms;
use crate::trading::strategy::{self, Lanes, edge_bps, nearest, nearest_to_units};
use crate::trading::time::{Interval, Timestamp};

// --- a history, column by column -----------------------------------------------------------------

/// A history, number by number.
#[derive(Debug)]
pub(super) struct Columns {
    times: Vec<Timestamp>,
    /// How many rows up to each are sound and follow each other without a gap.
    sound: Vec<u32>,
    /// At what each leg is marked: its close, or the one before that could be traded on.
    closes: [Vec<f64>; 2],
    /// The numbers of the rows after which a UTC day ends.
    days: Vec<usize>,
    /// Year and month, and how many of the days end before it does.
    months: Vec<(i16, i8, usize)>,
    /// Each year, and the number of the first row after it.
    years: Vec<(i16, usize)>,
}

impl Columns {
    /// `None` where a close is no whole number of units, or not known by its nearest double.
    pub(super) fn of(rows: &[[Candle; 2]], interval: Interval) -> Option<Self> {
        let mut chain = Chain::new(interval);
        let closes = rows.iter().flatten().map(|candle| candle.close);
        let mut closes = closes.filter(|close| *close > Decimal::ZERO);
        if !closes.all(|close| units(close).is_some_and(|units| units < 1 << 51)) {
            return None;
        }
        let leg = |leg: Leg| rows.iter().map(move |row| row[leg.index()].close);
        let closes = Leg::BOTH.map(|it| {
            let mut newest = 0.0;
            let mark = |close: Decimal| {
                newest = if close > Decimal::ZERO { nearest(close) } else { newest };
                newest
            };
            leg(it).map(mark).collect()
        });
        let times: Vec<Timestamp> = rows.iter().map(|row| row[0].open_time).collect();
        let last_of_days = times.windows(2).enumerate();
        let last_of_days = last_of_days.filter(|(_, pair)| pair[0].day() != pair[1].day());
        let mut days: Vec<usize> = last_of_days.map(|(number, _)| number).collect();
        days.extend(rows.len().checked_sub(1));
        let (mut months, mut years) = (Vec::<(i16, i8, usize)>::new(), Vec::<(i16, usize)>::new());
        for (number, last) in days.iter().enumerate() {
            let (year, month, _) = times[*last].month();
            match months.last_mut().filter(|it| (it.0, it.1) == (year, month)) {
                Some(newest) => newest.2 = number + 1,
                None => months.push((year, month, number + 1)),
            }
            match years.last_mut().filter(|it| it.0 == year) {
                Some(newest) => newest.1 = last + 1,
                None => years.push((year, last + 1)),
            }
        }
        Some(Self {
            sound: rows.iter().map(|row| count(chain.next(row))).collect(),
            closes,
            times,
            days,
            months,
            years,
        })
    }

    fn len(&self) -> usize {
        self.times.len()
    }

    /// Goes through what a window of so many candles says, 64 rows at a time.
    /// Edges only if they are wanted.
    pub(super) fn read(&self, window: usize, with_edges: bool, mut take: impl FnMut(&Block)) {
        let before = window - 1;
        let full = count(window);
        let mut spreads = vec![f64::NAN; before + 64];
        let mut block = Block { z: [0.0; 64], edges_bps: [0.0; 64] };
        for first in (0..self.len()).step_by(64) {
            let rows = first..(first + 64).min(self.len());
            let [numerator, denominator] = &self.closes;
            let closes = numerator[rows.clone()].iter().zip(&denominator[rows.clone()]);
            spreads[before..].fill(f64::NAN);
            for (spread, (numerator, denominator)) in spreads[before..].iter_mut().zip(closes) {
                *spread = numerator / denominator;
            }
            for at in (0..64).step_by(EIGHT) {
                let newest = &spreads[at + before..at + before + EIGHT];
                let Lanes::<EIGHT> { mean, z, .. } =
                    strategy::lanes(&spreads[at..at + before + EIGHT]);
                block.z[at..at + EIGHT].copy_from_slice(&z);
                for lane in 0..if with_edges { EIGHT } else { 0 } {
                    block.edges_bps[at + lane] = edge_bps(newest[lane], mean[lane]);
                }
            }
            for (z, sound) in block.z.iter_mut().zip(&self.sound[rows]) {
                let is_one = *sound >= full && z.is_finite();
                *z = if is_one { *z } else { f64::NAN };
            }
            take(&block);
            spreads.copy_within(64.., 0);
        }
    }
}

/// What the windows of 64 rows say.
pub(super) struct Block {
    /// Not a number where there is none.
    z: [f64; 64],
    /// How far the spread is from the mean.
    edges_bps: [f64; 64],
}

// --- events --------------------------------------------------------------------------------------

/// A bit for each row.
#[derive(Debug, Default)]
struct Mask(Vec<u64>);

/// A bit for each of these numbers.
fn word(values: &[f64; 64], is: impl Fn(f64) -> bool) -> u64 {
    let mut word = 0;
    for at in 0..64 {
        word |= if is(values[at]) { BITS[at] } else { 0 };
    }
    word
}

impl Mask {
    fn has(&self, row: usize) -> bool {
        self.0[row / 64] >> (row % 64) & 1 == 1
    }

    /// The first row from this one on.
    fn next(&self, row: usize) -> Option<usize> {
        let mut at = row / 64;
        let mut word = self.0.get(at)? & (u64::MAX << (row % 64));
        while word == 0 {
            at += 1;
            word = *self.0.get(at)?;
        }
        Some(at * 64 + usize::try_from(word.trailing_zeros()).expect("less than 64"))
    }

    /// How many there are from this one on.
    fn count_from(&self, row: usize) -> usize {
        let later = self.0[row / 64 + 1..].iter().map(|word| word.count_ones()).sum::<u32>();
        let first = (self.0[row / 64] & (u64::MAX << (row % 64))).count_ones();
        usize::try_from(first + later).expect("no more than rows")
    }
}

/// The rows on which something would be bought.
#[derive(Debug)]
pub(super) struct Entries {
    entry: f64,
    min_edge_bps: f64,
    any: Mask,
    /// Those on which it is the denominator.
    denominator: Mask,
}

impl Entries {
    pub(super) fn new(entry: f64, min_edge_bps: f64) -> Self {
        Self { entry, min_edge_bps, any: Mask::default(), denominator: Mask::default() }
    }

    /// Whether they are those of these thresholds.
    pub(super) fn are(&self, entry: f64, min_edge_bps: f64) -> bool {
        same(self.entry, entry) && same(self.min_edge_bps, min_edge_bps)
    }

    /// Goes on.
    pub(super) fn push(&mut self, block: &Block) {
        let Self { entry, min_edge_bps, .. } = *self;
        let above = word(&block.z, |z| z > entry);
        let below = word(&block.z, |z| z < -entry);
        // A z is no nearer to the mean than not at all.
        let enough = if min_edge_bps > 0.0 {
            word(&block.edges_bps, |edge| edge >= min_edge_bps)
        } else {
            u64::MAX
        };
        self.any.0.push((above | below) & enough);
        self.denominator.0.push(above);
    }
}

/// The rows on which the numerator would be sold, and the denominator.
#[derive(Debug)]
pub(super) struct Exits {
    exit: f64,
    of: [Mask; 2],
}

impl Exits {
    pub(super) fn new(exit: f64) -> Self {
        Self { exit, of: [Mask::default(), Mask::default()] }
    }

    /// Whether they are those of this threshold.
    pub(super) fn are(&self, exit: f64) -> bool {
        same(self.exit, exit)
    }

    /// Goes on.
    pub(super) fn push(&mut self, block: &Block) {
        let exit = self.exit;
        let [numerator, denominator] = &mut self.of;
        numerator.0.push(word(&block.z, |z| z >= -exit));
        denominator.0.push(word(&block.z, |z| z <= exit));
    }
}

fn count(rows: usize) -> u32 {
    u32::try_from(rows).expect("a history has fewer than four billion candles")
}

fn same(one: f64, other: f64) -> bool {
    one.to_bits() == other.to_bits()
}

// --- money ---------------------------------------------------------------------------------------

/// What a trade comes to, in units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Desk {
    opening: u64,
    /// Spent per entry.
    amount: u64,
    /// Units of a fee per unit.
    fee: u64,
}

/// What was bought, in units.
#[derive(Debug, Clone, Copy)]
struct Bought {
    /// Before the fee.
    quantity: u64,
    /// After it.
    coins: u64,
    cost: u64,
}

impl Desk {
    /// `None` for rules with more than two thresholds, and fills that are moved.
    pub(super) fn new(rules: &Rules, terms: &Terms, opening: Amount) -> Option<Self> {
        let Rules { thresholds, max_hold_candles, max_orders_per_day, max_daily_loss, .. } = rules;
        let is_simple = thresholds.stop.is_none()
            && max_hold_candles.is_none()
            && max_orders_per_day.is_none()
            && max_daily_loss.is_none()
            && terms.slippage.is_zero()
            && terms.max_slippage.is_none();
        let fee = terms.fee.value().checked_mul(Decimal::new(1, 4))?;
        let [opening, amount] = [opening, terms.amount].map(|it| units(it.value()));
        is_simple.then_some(Self { opening: opening?, amount: amount?, fee: units(fee)? })
    }

    fn buy(&self, price: u64) -> Option<Bought> {
        let quantity = quotient(self.amount, price)?;
        let cost = product_up(quantity, price)?;
        let coins = quantity - product_up(quantity, self.fee)?;
        (coins > 0).then_some(Bought { quantity, coins, cost })
    }

    /// What is left of the proceeds after the fee.
    fn sell(&self, coins: u64, price: u64) -> Option<u64> {
        let (quote, _) = product(coins, price)?;
        Some(quote - product_up(quote, self.fee)?)
    }
}

/// Sums over round trips, in units.
#[derive(Debug, Clone, Copy, Default)]
struct Whole {
    round_trips: usize,
    wins: usize,
    gross: i128,
    net: i128,
    ratios: f64,
    returns: f64,
}

impl Whole {
    fn add(&mut self, gross: i64, net: i64, ratio: f64, net_return: f64) {
        self.round_trips += 1;
        self.wins += usize::from(net > 0);
        self.gross += i128::from(gross);
        self.net += i128::from(net);
        self.ratios += ratio - 1.0;
        self.returns += net_return;
    }

    fn sums(self) -> Option<Sums> {
        Some(Sums {
            round_trips: self.round_trips,
            wins: self.wins,
            gross: decimal(self.gross)?,
            fees: decimal(self.gross - self.net)?,
            slippage: Decimal::ZERO,
            net: decimal(self.net)?,
            close_ratios: self.ratios,
            fill_ratios: self.ratios,
            net_returns: self.returns,
        })
    }
}

// --- the backtest --------------------------------------------------------------------------------

/// The equity at the end of each day, and what round trips had gained by the end of each fold.
struct Ends<'a> {
    columns: &'a Columns,
    days: Vec<f64>,
    folds: &'a [usize],
    realized: Vec<i64>,
}

impl Ends<'_> {
    /// Up to this row the equity of each is `equity` of its number.
    fn days_before(&mut self, row: usize, equity: impl Fn(usize) -> f64) {
        while let Some(last) = self.columns.days.get(self.days.len()).filter(|last| **last < row) {
            self.days.push(equity(*last));
        }
    }

    /// Up to this row so much was gained.
    fn folds_before(&mut self, row: usize, realized: i64) {
        while self.folds.get(self.realized.len()).is_some_and(|end| *end <= row) {
            self.realized.push(realized);
        }
    }
}

/// What was held, and what it was worth.
#[derive(Clone, Copy)]
struct Stretch {
    leg: Leg,
    entry: usize,
    after: usize,
    free: f64,
    coins: f64,
    sold: Option<f64>,
}

impl Stretch {
    /// Its first candle of no more than this equity.
    fn first(&self, columns: &Columns, fee: f64, most: f64) -> Option<Timestamp> {
        let closes = &columns.closes[self.leg.index()][self.entry..self.after];
        let equities = closes.iter().map(|close| worth(self.free, self.coins, *close, fee));
        let row = equities.chain(self.sold).position(|equity| equity <= most)?;
        Some(columns.times[self.entry + row])
    }
}

/// Figures, realized profit at the end of each fold, and what each day gained or lost: those of a
/// fold, which has to make them where this is `None`.
pub(super) fn backtest(
    rows: &[[Candle; 2]],
    columns: &Columns,
    (entries, exits): (&Entries, &Exits),
    desk: &Desk,
    (rules, terms, opening): (&Rules, &Terms, Amount),
    folds: &[usize],
) -> Option<(Figures, Vec<Profit>, Vec<f64>)> {
    let mut tally = Tally::new(rules, terms, opening);
    let fee = tally.fee;
    let mut course = Course::new(double(desk.opening)?);
    let mut ends = Ends { columns, days: Vec::new(), folds, realized: Vec::new() };
    let mut sums = vec![[Whole::default(); 2]; columns.years.len()];
    let (mut cash, mut realized) = (desk.opening, 0);
    let (mut open, mut fall, mut year) = (None, None, 0);
    // The first row on which nothing was done yet.
    let mut at = 0;
    while let Some(entry) = entries.any.next(at) {
        if cash < desk.amount {
            tally.refused = entries.any.count_from(entry);
            break;
        }
        let leg = if entries.denominator.has(entry) { Leg::Denominator } else { Leg::Numerator };
        let closes = &columns.closes[leg.index()];
        let exit = exits.of[leg.index()].next(entry + 1);
        let after = exit.unwrap_or(columns.len());

        let bought = desk.buy(whole(closes[entry]))?;
        cash -= bought.cost;
        let (free, coins) = (double(cash)?, double(bought.coins)?);
        let received = match exit {
            Some(exit) => Some(desk.sell(bought.coins, whole(closes[exit]))?),
            None => None,
        };
        cash = cash.checked_add(received.unwrap_or(0))?;
        let sold = if exit.is_some() { Some(double(cash)?) } else { None };

        let equity = |close: f64| worth(free, coins, close, fee);
        ends.days_before(entry, |_| course.newest());
        course.rest(entry - at);
        let when = |row: usize| columns.times[entry + row];
        let is_lower = course.hold(&closes[entry..after], equity, sold, when);
        ends.days_before(after, |row| equity(closes[row]));
        let stretch = Stretch { leg, entry, after, free, coins, sold };
        fall = if is_lower { Some(stretch) } else { fall };
        tally.entries += 1;
        tally.held += after - entry;
        at = after;
        let (Some(exit), Some(received)) = (exit, received) else {
            open = Some((leg, bought.coins));
            break;
        };

        at = exit + 1;
        ends.folds_before(exit, realized);
        let net = received.cast_signed() - bought.cost.cast_signed();
        realized += net;
        let net_return = nearest_to_units(net)? / double(bought.cost)?;
        while columns.years[year].1 <= exit {
            year += 1;
        }
        sums[year][leg.index()].add(
            gained(bought.quantity, whole(closes[entry]), whole(closes[exit]))?,
            net,
            closes[exit] / closes[entry],
            net_return,
        );
        tally.returns.push(net_return);
    }
    course.rest(columns.len() - at);
    ends.days_before(columns.len(), |_| course.newest());
    ends.folds_before(columns.len(), realized);
    course.fell(|floor| fall.and_then(|stretch: Stretch| stretch.first(columns, fee, floor)));

    let mut before = double(desk.opening)?;
    tally.equity.months = columns
        .months
        .iter()
        .map(|(year, month, days)| {
            let after = ends.days[days - 1];
            Month {
                year: *year,
                month: *month,
                equity: (std::mem::replace(&mut before, after), after),
            }
        })
        .collect();
    tally.equity.days = Some(ends.days);
    tally.equity.course = course;
    (tally.first, tally.last) = (rows.first().map(Close::of), rows.last().map(Close::of));
    tally.candles = rows.len();
    for ((year, _), [numerator, denominator]) in columns.years.iter().zip(sums) {
        if numerator.round_trips + denominator.round_trips > 0 {
            tally.sums.insert(*year, [numerator.sums()?, denominator.sums()?]);
        }
    }
    let days = tally.days();
    let held = match open {
        Some((leg, coins)) => Some((leg, Quantity::new(decimal(coins.into())?)?)),
        None => None,
    };
    let figures = tally.figures_of(Amount::new(decimal(cash.into())?)?, held, terms).ok()?;
    let realized = ends.realized.into_iter();
    let realized = realized.map(|units| Profit::new(decimal(units.into())?));
    Some((figures, realized.collect::<Option<_>>()?, days))
}

/// The number in units, if it is a whole number of them.
fn units(value: Decimal) -> Option<u64> {
    let value = if value.scale() > DECIMALS { value.normalize() } else { value };
    let missing = DECIMALS.checked_sub(value.scale())?;
    u64::try_from(value.mantissa()).ok()?.checked_mul(10_u64.pow(missing))
}

/// The number of units whose nearest double this is. It is less than 2^51 of them, so two roundings
/// of a double are less than half of one.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "above zero, cut off")]
fn whole(close: f64) -> u64 {
    (close * 1e8 + 0.5) as u64
}

fn double(units: u64) -> Option<f64> {
    nearest_to_units(i64::try_from(units).ok()?)
}

fn decimal(units: i128) -> Option<Decimal> {
    Decimal::try_from_i128_with_scale(units, DECIMALS).ok()
}

/// The quotient, rounded down.
fn quotient(a: u64, b: u64) -> Option<u64> {
    match a.checked_mul(UNIT) {
        Some(a) => a.checked_div(b),
        None => u64::try_from((u128::from(a) * u128::from(UNIT)).checked_div(u128::from(b))?).ok(),
    }
}

/// The product, rounded down, and what that took away.
fn product(a: u64, b: u64) -> Option<(u64, u64)> {
    if let Some(product) = a.checked_mul(b) {
        return Some((product / UNIT, product % UNIT));
    }
    let (product, unit) = (u128::from(a) * u128::from(b), u128::from(UNIT));
    Some((u64::try_from(product / unit).ok()?, u64::try_from(product % unit).ok()?))
}

fn product_up(a: u64, b: u64) -> Option<u64> {
    let (down, rest) = product(a, b)?;
    Some(down + u64::from(rest > 0))
}

/// What `a` gained by the way from one price to another, rounded to the nearest; of two that are as
/// near, to the even one.
fn gained(a: u64, from: u64, to: u64) -> Option<i64> {
    let (down, rest) = product(a, to.abs_diff(from))?;
    let is_up = rest > UNIT / 2 || rest == UNIT / 2 && down % 2 != 0;
    let gained = i64::try_from(down + u64::from(is_up)).ok()?;
    Some(if to < from { -gained } else { gained })
}

/// One, in units.
const UNIT: u64 = 100_000_000;
/// As many windows as are read at once.
const EIGHT: usize = 8;
/// Each bit of a word, the first one first.
const BITS: [u64; 64] = {
    let mut bits = [1; 64];
    let mut at = 1;
    while at < 64 {
        bits[at] = bits[at - 1] << 1;
        at += 1;
    }
    bits
};
