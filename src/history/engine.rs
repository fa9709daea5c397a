//! A history, folded: what starting a replay once after every candle would have done, in one go.
//!
//! Every trade is made by the functions of a run ([`machine::step`], [`fill::carry_out`]) on the
//! same book. Most candles trade nothing, and a z-score is all that is computed of them: the
//! readings of eight neighbouring windows at once, bit for bit those of one ([`strategy::neighbours`]),
//! and a book on which the step can only stay is not touched ([`machine::is_quiet`]). A test folds
//! both ways and compares.

use crate::trading::book::{Book, Halt, Position};
use crate::trading::candle::Candle;
use crate::trading::fill::{self, Step};
use crate::trading::machine::{self, Rules};
use crate::trading::market::SymbolRules;
use crate::trading::money::{Overflow, Price};
use crate::trading::order::{Terms, Touch};
use crate::trading::strategy::{self, Observation, Reading};
use crate::trading::time::{Interval, Timestamp};

/// What a history ends on before its last candle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stopped {
    /// Numbers beyond exact computation.
    Overflow,
    /// The program halted itself.
    Halted(Halt),
}

impl From<Overflow> for Stopped {
    fn from(_: Overflow) -> Self {
        Self::Overflow
    }
}

/// One candle of both legs, and what was done on it.
#[derive(Debug)]
pub struct Moment<'a> {
    /// Numerator's and denominator's candle.
    pub row: &'a [Candle; 2],
    /// What its window says; `None` where that can't be trusted, or is not full yet.
    pub reading: Option<Reading>,
    /// What the step came to; `None` where it stayed.
    pub step: Option<&'a Step>,
    /// The book after it. Its last candle is the newest one on which more than looking was done.
    pub book: &'a Book,
}

/// What the window of each candle says, of eight windows at once.
#[derive(Debug)]
pub struct Windows {
    window: usize,
    /// Of the newest rows: those that the next one's window needs.
    spreads: Vec<f64>,
    chain: Chain,
}

/// Counts rows that can be traded on and follow each other.
#[derive(Debug)]
pub(super) struct Chain {
    interval: Interval,
    newest: Option<Timestamp>,
    length: usize,
}

impl Chain {
    pub(super) fn new(interval: Interval) -> Self {
        Self { interval, newest: None, length: 0 }
    }

    /// How many rows up to this next one are sound and follow each other without a gap.
    pub(super) fn next(&mut self, row: &[Candle; 2]) -> usize {
        let at = row[0].open_time;
        let interval = self.interval;
        let follows = self.newest.is_none_or(|newest| at.millis_since(newest) == interval.millis());
        let is_sound = row.iter().all(Candle::is_sound) && interval.is_on_grid(at);
        self.length = match (is_sound, follows) {
            (true, true) => self.length + 1,
            (true, false) => 1,
            (false, _) => 0,
        };
        self.newest = Some(at);
        self.length
    }
}

impl Windows {
    /// Windows of so many candles.
    #[must_use]
    pub fn new(interval: Interval, window: usize) -> Self {
        let spreads = Vec::with_capacity(BLOCK + window);
        Self { window, spreads, chain: Chain::new(interval) }
    }

    /// Hands over the rows that come next, in order, each with what its window says; `None` where that
    /// can't be trusted or is not full yet.
    ///
    /// **Errors**: those of `take`; rows after that are not handed over.
    pub fn read<E>(
        &mut self,
        rows: &[[Candle; 2]],
        mut take: impl FnMut(&[Candle; 2], Option<Reading>) -> Result<(), E>,
    ) -> Result<(), E> {
        for rows in rows.chunks(BLOCK) {
            let spread = |[one, other]: &[Candle; 2]| strategy::spread(one.close, other.close);
            self.spreads.extend(rows.iter().map(spread));
            for (row, reading) in rows.iter().zip(self.readings(rows.len())) {
                let is_full = self.chain.next(row) >= self.window;
                take(row, reading.filter(|_| is_full))?;
            }
            let kept = (self.window - 1).min(self.spreads.len());
            self.spreads.drain(..self.spreads.len() - kept);
        }
        Ok(())
    }

    /// What the window of each of the newest rows says, whether it can be trusted or not; `None` where
    /// there is no full one.
    fn readings(&self, rows: usize) -> Vec<Option<Reading>> {
        let window = self.window;
        let mut readings = Vec::with_capacity(rows);
        // Before the first full window there are fewer spreads than rows and window need.
        let missing = (rows + window - 1).saturating_sub(self.spreads.len());
        readings.resize(missing.min(rows), None);
        let mut rest = &self.spreads[..];
        while rest.len() >= window + LANES - 1 {
            let eight: [Reading; LANES] = strategy::neighbours(&rest[..window + LANES - 1]);
            readings.extend(eight.map(Some));
            rest = &rest[LANES..];
        }
        readings.extend(rest.windows(window).map(|spreads| Some(strategy::reading(spreads))));
        readings
    }
}

/// The steps over a history whose windows were read.
#[derive(Debug)]
pub struct Fold<'a> {
    rules: &'a Rules,
    terms: &'a Terms,
    /// As [`Moment::book`].
    book: Book,
    newest: Option<Timestamp>,
    count: usize,
    is_plain: bool,
}

impl<'a> Fold<'a> {
    /// A fold that begins with this book.
    #[must_use]
    pub fn new(book: Book, rules: &'a Rules, terms: &'a Terms) -> Self {
        Self { rules, terms, book, newest: None, count: 0, is_plain: false }
    }

    /// The same, but each candle takes the whole step: what the quick way is compared with.
    #[must_use]
    pub fn plainly(self) -> Self {
        Self { is_plain: true, ..self }
    }

    /// The next row, with what its window says; `look` is shown what was done.
    ///
    /// **Errors**: as [`Stopped`].
    pub fn next(
        &mut self,
        row: &[Candle; 2],
        reading: Option<Reading>,
        look: &mut impl FnMut(Moment<'_>),
    ) -> Result<(), Stopped> {
        self.newest = Some(row[0].open_time);
        self.count += 1;
        let z = reading.and_then(|reading| reading.z);
        let is_quiet = |fold: &Self| !fold.is_plain && machine::is_quiet(&fold.book, z, fold.rules);
        let step = match reading {
            Some(reading) if !is_quiet(self) => Some(self.step(row, reading)?),
            // A candle that can't be traded on is left alone whatever is held.
            Some(_) | None => None,
        };
        let is_traded = |step: &&Step| step.order.is_some() || step.refused.is_some();
        let step = step.as_ref().filter(is_traded);
        look(Moment { row, reading, step, book: &self.book });
        Ok(())
    }

    /// There are no further rows. The book in the end.
    #[must_use]
    pub fn finish(self) -> Book {
        let cooling = matches!(self.book.position, Position::Flat { cooling: true });
        match self.newest.filter(|_| self.count >= self.rules.window) {
            Some(newest) => self.book.decided(newest, cooling),
            None => self.book,
        }
    }

    /// The step of a run that finds this candle.
    fn step(&mut self, row: &[Candle; 2], reading: Reading) -> Result<Step, Stopped> {
        let candle = row[0].open_time;
        let today = candle.plus_millis(self.rules.interval.millis()).day();
        let seen = [Observation { candle, reading: Some(reading) }];
        let decision = machine::step(&self.book, &seen, self.rules, today);
        let touch = decision.needs().and_then(|(leg, _)| {
            let price = Price::new(row[leg.index()].close)?;
            Some(Touch { price, rules: SymbolRules::unlimited() })
        });
        let touch = touch.as_ref();
        let step = fill::carry_out(&self.book, &decision, candle, touch, self.terms, today)?;
        self.book.clone_from(&step.book);
        match &self.book.halt {
            Some(halt) => Err(Stopped::Halted(halt.clone())),
            None => Ok(step),
        }
    }
}

/// Windows and steps over a history of any length.
#[derive(Debug)]
pub struct Engine<'a> {
    windows: Windows,
    fold: Fold<'a>,
}

impl<'a> Engine<'a> {
    /// Begins with what this fold begins with.
    #[must_use]
    pub fn new(fold: Fold<'a>) -> Self {
        Self { windows: Windows::new(fold.rules.interval, fold.rules.window), fold }
    }

    /// The rows that come next. `look` is shown each of them, in order.
    ///
    /// **Errors**: as [`Stopped`]; rows after that are not looked at.
    pub fn push(
        &mut self,
        rows: &[[Candle; 2]],
        look: &mut impl FnMut(Moment<'_>),
    ) -> Result<(), Stopped> {
        let Self { windows, fold } = self;
        windows.read(rows, |row, reading| fold.next(row, reading, look))
    }

    /// There are no further rows. The book in the end.
    #[must_use]
    pub fn finish(self) -> Book {
        self.fold.finish()
    }
}

/// Rows whose windows are read together.
const BLOCK: usize = 256;
const LANES: usize = 8;
