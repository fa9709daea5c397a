//! A grid of parameters over one history: each cell is a backtest, and what was best on the past is
//! tried on what came after it.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;

use super::engine::{Fold, Stopped, Windows};
use super::figures::{Figures, Tally};
use super::quick::{self, Columns, Desk, Entries, Exits};
use super::sums::count;
use crate::trading::book::Book;
use crate::trading::candle::Candle;
use crate::trading::machine::Rules;
use crate::trading::money::{Amount, Profit};
use crate::trading::order::Terms;
use crate::trading::strategy::{Reading, Thresholds, nearest};
use crate::trading::time::Timestamp;

/// Values of one parameter, as a person writes them: `20`, `10..50:10`, `1.5..3:0.25`.
///
/// **Shape**: rising, both ends included as far as the steps hit the last one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Range(Vec<Decimal>);

impl Range {
    /// The values.
    #[must_use]
    pub fn values(&self) -> &[Decimal] {
        &self.0
    }

    /// They, as doubles.
    pub fn doubles(&self) -> impl Iterator<Item = f64> {
        self.0.iter().map(|value| nearest(*value))
    }
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || "give one value, such as 20, or a range, such as 10..50:10".to_owned();
        let number = |text: &str| {
            let number = Decimal::from_str_exact(text).ok();
            number.filter(|it| !it.is_sign_negative() && it.scale() <= 8 && *it < MOST_VALUE)
        };
        let Some((from, rest)) = text.split_once("..") else {
            return number(text).map(|value| Self(vec![value])).ok_or_else(wrong);
        };
        let (to, step) = rest.split_once(':').ok_or_else(wrong)?;
        let (from, to, step) =
            (number(from).ok_or_else(wrong)?, number(to).ok_or_else(wrong)?, number(step));
        let step = step.filter(|step| !step.is_zero()).ok_or_else(wrong)?;
        if from > to {
            return Err(format!("{from} is more than {to}; {}", wrong()));
        }
        let mut values = Vec::new();
        let mut value = from;
        while value <= to {
            if values.len() == MOST_VALUES {
                return Err(format!("these are more than {MOST_VALUES} values"));
            }
            values.push(value);
            value += step;
        }
        Ok(Self(values))
    }
}

/// What one backtest of a sweep is made with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// How many candles a z-score is made of.
    pub window: usize,
    /// As [`Thresholds::entry`].
    pub entry: f64,
    /// As [`Thresholds::exit`].
    pub exit: f64,
    /// As [`Thresholds::min_edge_bps`].
    pub edge_bps: f64,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { window, entry, exit, edge_bps } = self;
        write!(f, "window {window}, entry {entry}, exit {exit}, edge {edge_bps} bp")
    }
}

impl Cell {
    /// These rules, with the cell's own.
    #[must_use]
    pub fn rules(&self, rules: &Rules) -> Rules {
        let Self { window, entry, exit, edge_bps } = *self;
        let thresholds =
            Thresholds { entry, exit, min_edge_bps: edge_bps, stop: rules.thresholds.stop };
        Rules { window, thresholds, ..rules.clone() }
    }

    /// Whether a run could be configured so: an exit nearer than the entry, a stop beyond it.
    #[must_use]
    pub fn is_possible(&self, rules: &Rules) -> bool {
        self.entry > self.exit && rules.thresholds.stop.is_none_or(|stop| stop > self.entry)
    }
}

/// What came of a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    /// The cell.
    pub cell: Cell,
    /// As a backtest of the whole history has them.
    pub figures: Figures,
    /// What its round trips had gained or lost at the end of each fold.
    pub realized: Vec<Profit>,
    /// What its equity gained or lost on each UTC day, as fractions.
    pub days: Vec<f64>,
}

/// A fold, and the cell that was best on all before it.
#[derive(Debug, Clone)]
pub struct Forward<'a> {
    /// The fold's first candle.
    pub from: Timestamp,
    /// Its last candle.
    pub to: Timestamp,
    /// The cell.
    pub chosen: &'a Outcome,
    /// What it had gained or lost before the fold.
    pub in_sample: Profit,
    /// What it gained or lost in the fold.
    pub out_of_sample: Profit,
}

/// A history, and what the backtests of all cells over it have in common.
#[derive(Debug)]
pub struct Ground<'a> {
    rows: &'a [[Candle; 2]],
    rules: &'a Rules,
    terms: &'a Terms,
    opening: Amount,
    ends: Vec<usize>,
    /// Where thresholds alone decide.
    quick: Option<(Columns, Desk)>,
}

/// What the backtests of some cells of one window have in common.
#[derive(Debug)]
pub struct Window {
    /// What it says at each row, where that is wanted.
    readings: Vec<Option<Reading>>,
    entries: Vec<Entries>,
    exits: Vec<Exits>,
}

impl<'a> Ground<'a> {
    /// `ends` are the numbers of the rows with which folds end, rising. A cell's own rules take the
    /// place of those in `rules`.
    #[must_use]
    pub fn new(
        rows: &'a [[Candle; 2]],
        rules: &'a Rules,
        terms: &'a Terms,
        opening: Amount,
        ends: Vec<usize>,
    ) -> Self {
        let desk = Desk::new(rules, terms, opening);
        let quick = desk.and_then(|desk| Some((Columns::of(rows, rules.interval)?, desk)));
        Self { rows, rules, terms, opening, ends, quick }
    }

    /// What these cells have in common, which are of one window.
    #[must_use]
    pub fn window(&self, cells: &[Cell]) -> Window {
        let mut window = Window { readings: Vec::new(), entries: Vec::new(), exits: Vec::new() };
        let Some(Cell { window: length, .. }) = cells.first() else { return window };
        let Some((columns, _)) = &self.quick else {
            window.readings = self.readings(*length);
            return window;
        };
        for cell in cells {
            if window.entries(cell).is_none() {
                window.entries.push(Entries::new(cell.entry, cell.edge_bps));
            }
            if window.exits(cell).is_none() {
                window.exits.push(Exits::new(cell.exit));
            }
        }
        let with_edges = cells.iter().any(|cell| cell.edge_bps > 0.0);
        columns.read(*length, with_edges, |block| {
            window.entries.iter_mut().for_each(|entries| entries.push(block));
            window.exits.iter_mut().for_each(|exits| exits.push(block));
        });
        window
    }

    /// The backtest of one of the window's cells.
    ///
    /// **Errors**: as [`Stopped`].
    pub fn backtest(&self, window: &Window, cell: Cell) -> Result<Outcome, Stopped> {
        match (self.quickly(window, cell), &window.readings[..]) {
            (Some(outcome), _) => Ok(outcome),
            (None, []) => self.plainly(&self.readings(cell.window), cell),
            (None, readings) => self.plainly(readings, cell),
        }
    }

    /// The same by events alone; `None` where that is not possible.
    #[must_use]
    pub fn quickly(&self, window: &Window, cell: Cell) -> Option<Outcome> {
        let (columns, desk) = self.quick.as_ref()?;
        let events = (window.entries(&cell)?, window.exits(&cell)?);
        let Self { rows, rules, terms, opening, ends, .. } = self;
        let common = (*rules, *terms, *opening);
        let (figures, realized, days) = quick::backtest(rows, columns, events, desk, common, ends)?;
        Some(Outcome { cell, figures, realized, days })
    }

    /// The same, candle by candle, with what the cell's window says at each row: what the quick way
    /// is compared with.
    ///
    /// **Errors**: as [`Stopped`].
    pub fn plainly(&self, readings: &[Option<Reading>], cell: Cell) -> Result<Outcome, Stopped> {
        let rules = cell.rules(self.rules);
        let mut tally = Tally::new(&rules, self.terms, self.opening).by_day();
        let mut fold = Fold::new(Book::open(self.opening), &rules, self.terms);
        let mut realized = Vec::with_capacity(self.ends.len());
        let mut number = 0;
        for (row, reading) in self.rows.iter().zip(readings) {
            fold.next(row, *reading, &mut |moment| {
                tally.add(&moment);
                number += 1;
                // A history of fewer rows than folds has some that end where they begin.
                while self.ends.get(realized.len()).is_some_and(|end| *end <= number) {
                    realized.push(moment.book.realized);
                }
            })?;
        }
        let book = fold.finish();
        let days = tally.days();
        let figures = tally.figures(&book, self.terms)?;
        Ok(Outcome { cell, figures, realized, days })
    }

    /// What a window of so many candles says at each row.
    #[must_use]
    pub fn readings(&self, window: usize) -> Vec<Option<Reading>> {
        let mut windows = Windows::new(self.rules.interval, window);
        let mut readings = Vec::with_capacity(self.rows.len());
        let take = |_: &[Candle; 2], reading| -> Result<(), std::convert::Infallible> {
            readings.push(reading);
            Ok(())
        };
        let Ok(()) = windows.read(self.rows, take);
        readings
    }
}

impl Window {
    fn entries(&self, cell: &Cell) -> Option<&Entries> {
        self.entries.iter().find(|it| it.are(cell.entry, cell.edge_bps))
    }

    fn exits(&self, cell: &Cell) -> Option<&Exits> {
        self.exits.iter().find(|it| it.are(cell.exit))
    }
}

/// The rows with which `folds` parts of a history end that are as long as each other, to one row.
#[must_use]
pub fn ends(rows: usize, folds: usize) -> Vec<usize> {
    (1..=folds).map(|fold| rows * fold / folds).collect()
}

/// The number of the cell that gained most in the past that ended with this fold; the first of
/// those that are alike.
#[must_use]
pub fn best(outcomes: &[Outcome], fold: usize) -> Option<usize> {
    let realized = |outcome: &Outcome| outcome.realized.get(fold).copied().unwrap_or_default();
    let mut best: Option<(usize, Profit)> = None;
    for (number, outcome) in outcomes.iter().enumerate() {
        let profit = realized(outcome);
        if best.is_none_or(|(_, most)| profit > most) {
            best = Some((number, profit));
        }
    }
    best.map(|(number, _)| number)
}

/// Cells that differ from this one in one parameter, by one step of the grid.
pub fn neighbours<'a>(outcomes: &'a [Outcome], cell: &Cell) -> impl Iterator<Item = &'a Outcome> {
    let parts = |cell: &Cell| [count(cell.window), cell.entry, cell.exit, cell.edge_bps];
    let own = parts(cell);
    // The nearest values of each parameter that the grid has, below and above.
    let near: Vec<[Option<f64>; 2]> = (0..4)
        .map(|part| {
            let others = || outcomes.iter().map(|it| parts(&it.cell)[part]);
            let below = others().filter(|it| *it < own[part]).reduce(f64::max);
            let above = others().filter(|it| *it > own[part]).reduce(f64::min);
            [below, above]
        })
        .collect();
    outcomes.iter().filter(move |outcome| {
        let other = parts(&outcome.cell);
        let differs: Vec<usize> =
            (0..4).filter(|part| other[*part].to_bits() != own[*part].to_bits()).collect();
        matches!(differs[..], [part] if near[part].contains(&Some(other[part])))
    })
}

/// Whether a cell stands alone: it gained, and those beside it lost on average.
#[must_use]
pub fn is_island(outcomes: &[Outcome], cell: &Cell, net: Decimal) -> bool {
    let beside: Vec<Decimal> = neighbours(outcomes, cell).map(|it| it.figures.total.net).collect();
    net > Decimal::ZERO && !beside.is_empty() && beside.iter().sum::<Decimal>() < Decimal::ZERO
}

const MOST_VALUES: usize = 1_000;
const MOST_VALUE: Decimal = Decimal::from_parts(1_000_000, 0, 0, false, 0);
