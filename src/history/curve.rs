//! What is drawn of a history, in as little room as a drawing has: stretches of candles that double
//! when there are too many of them, the newest candles one by one, and where something was traded.
//!
//! Lowest and highest values are kept, so that nothing that happened is thinned away.

#![expect(clippy::float_arithmetic, reason = "what is drawn is no money")]

use std::collections::VecDeque;

use super::engine::Moment;
use super::trip::Trip;
use crate::trading::candle::Candle;
use crate::trading::market::{Leg, Side};
use crate::trading::strategy::{Reading, ZScore, nearest};
use crate::trading::time::{Interval, Timestamp};

/// A lowest and a highest value.
pub type Span = (f64, f64);

/// A stretch of candles.
#[derive(Debug, Clone, PartialEq)]
pub struct Stretch {
    /// Its first candle.
    pub from: Timestamp,
    /// Its last candle.
    pub to: Timestamp,
    /// The ratio of the closes.
    pub spread: Span,
    /// Mean and sample deviation of its newest window.
    pub band: Option<(f64, f64)>,
    /// The z-scores.
    pub z: Option<Span>,
    /// The equity, in the quote asset.
    pub equity: Span,
    /// The equity of its last candle.
    pub last_equity: f64,
    /// How deep the equity was below its peak, at most: a fraction.
    pub fall: f64,
    /// The closes of its last candle, numerator and denominator.
    pub closes: [f64; 2],
}

/// A trade.
#[derive(Debug, Clone, PartialEq)]
pub struct Mark {
    /// The candle.
    pub at: Timestamp,
    /// What was bought or sold.
    pub leg: Leg,
    /// What was done.
    pub deed: Deed,
    /// The ratio of the closes.
    pub spread: f64,
    /// The z-score.
    pub z: Option<f64>,
}

impl Mark {
    /// What a sale gained or lost. **Units**: basis points of the cost.
    #[must_use]
    pub fn gain(&self) -> Option<f64> {
        match self.deed {
            Deed::Bought => None,
            Deed::Sold(gain) => Some(gain),
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Deed {
    /// A leg was bought.
    Bought,
    /// All of it was sold, and so much of its cost was gained. **Units**: basis points.
    Sold(f64),
}

/// A history, as far as it is drawn.
#[derive(Debug, Clone)]
pub struct Curve {
    interval: Interval,
    /// Candles in a stretch.
    length: usize,
    /// Candles in the newest stretch.
    filled: usize,
    stretches: Vec<Stretch>,
    recent: VecDeque<Stretch>,
    marks: Vec<Mark>,
    peak: f64,
    first: Option<[f64; 2]>,
}

impl Curve {
    /// Nothing was seen yet, but that it begins with this equity.
    #[must_use]
    pub fn new(interval: Interval, opening: f64) -> Self {
        Self {
            interval,
            length: 1,
            filled: 0,
            stretches: Vec::new(),
            recent: VecDeque::new(),
            marks: Vec::new(),
            peak: opening,
            first: None,
        }
    }

    /// One more candle, the round trip that ended on it and the equity after it.
    pub fn add(&mut self, moment: &Moment<'_>, trip: Option<&Trip>, equity: f64) {
        let Moment { row, reading, .. } = moment;
        let closes = row.each_ref().map(|candle| nearest(candle.close));
        self.first.get_or_insert(closes);
        self.peak = self.peak.max(equity);
        let at = row[0].open_time;
        let spread = closes[0] / closes[1];
        let z = reading.as_ref().and_then(|reading| reading.z).map(ZScore::value);
        self.mark(moment, trip, spread, z);
        let one = Stretch {
            from: at,
            to: at,
            spread: (spread, spread),
            band: reading.as_ref().map(|Reading { mean, std, .. }| (*mean, *std)),
            z: z.map(|z| (z, z)),
            equity: (equity, equity),
            last_equity: equity,
            fall: 1.0 - equity / self.peak,
            closes,
        };
        self.recent.push_back(one.clone());
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        match self.stretches.last_mut() {
            Some(newest) if self.filled < self.length => newest.join(&one),
            _ => {
                self.filled = 0;
                self.stretches.push(one);
            }
        }
        self.filled += 1;
        if self.stretches.len() == MOST && self.filled == self.length {
            self.halve();
        }
    }

    fn mark(&mut self, moment: &Moment<'_>, trip: Option<&Trip>, spread: f64, z: Option<f64>) {
        let order = moment.step.and_then(|step| step.order.as_ref());
        let mark = |leg, deed| Mark { at: moment.row[0].open_time, leg, deed, spread, z };
        match (order, trip) {
            (_, Some(trip)) => self.marks.push(mark(trip.leg, Deed::Sold(trip.net_bps()))),
            (Some((leg, Side::Buy, Some(_))), None) => self.marks.push(mark(*leg, Deed::Bought)),
            _ => {}
        }
    }

    /// Makes one stretch of every two.
    fn halve(&mut self) {
        self.length *= 2;
        let mut both = std::mem::take(&mut self.stretches).into_iter();
        while let Some(mut stretch) = both.next() {
            if let Some(later) = both.next() {
                stretch.join(&later);
            }
            self.stretches.push(stretch);
        }
        self.filled = self.length;
    }

    /// All of it, oldest first.
    #[must_use]
    pub fn stretches(&self) -> &[Stretch] {
        &self.stretches
    }

    /// The newest candles, one by one, oldest first.
    #[must_use]
    pub fn recent(&mut self) -> &[Stretch] {
        self.recent.make_contiguous()
    }

    /// The trades, oldest first.
    #[must_use]
    pub fn marks(&self) -> &[Mark] {
        &self.marks
    }

    /// The first closes, that all others are compared with.
    #[must_use]
    pub fn first(&self) -> Option<[f64; 2]> {
        self.first
    }

    /// Whether candles lack between two neighbours.
    #[must_use]
    pub fn is_gap(&self, earlier: &Stretch, later: &Stretch) -> bool {
        // One candle that lacks among many can't be seen.
        let lacking = self.interval.candles_between(earlier.to, later.from) - 1;
        let length = self.interval.candles_between(earlier.from, later.from);
        lacking > 0 && lacking * 2 > length
    }
}

impl Stretch {
    /// What comes after it becomes a part of it.
    fn join(&mut self, later: &Self) {
        let joined = |a: Span, b: Span| (a.0.min(b.0), a.1.max(b.1));
        self.to = later.to;
        self.spread = joined(self.spread, later.spread);
        self.band = later.band.or(self.band);
        self.z = match (self.z, later.z) {
            (Some(a), Some(b)) => Some(joined(a, b)),
            (a, b) => a.or(b),
        };
        self.equity = joined(self.equity, later.equity);
        self.last_equity = later.last_equity;
        self.fall = self.fall.max(later.fall);
        self.closes = later.closes;
    }
}

/// Closes of a history of any length: all of them, or every second, fourth, eighth, ...
#[derive(Debug, Clone)]
pub struct Closes {
    step: usize,
    seen: usize,
    times: Vec<Timestamp>,
    legs: [Vec<f64>; 2],
}

impl Default for Closes {
    fn default() -> Self {
        Self { step: 1, seen: 0, times: Vec::new(), legs: [Vec::new(), Vec::new()] }
    }
}

impl Closes {
    /// One more candle; what can't be traded on is left out.
    pub fn add(&mut self, row: &[Candle; 2]) {
        if !row.iter().all(Candle::is_sound) {
            return;
        }
        if self.times.len() == MOST_CLOSES {
            self.step *= 2;
            self.times = every_second(&self.times);
            self.legs = self.legs.each_ref().map(|leg| every_second(leg));
        }
        if self.seen.is_multiple_of(self.step) {
            self.times.push(row[0].open_time);
            for (leg, candle) in self.legs.iter_mut().zip(row) {
                leg.push(nearest(candle.close));
            }
        }
        self.seen += 1;
    }

    /// How many candles lie from one of them to the next.
    #[must_use]
    pub fn step(&self) -> usize {
        self.step
    }

    /// The candles they are of.
    #[must_use]
    pub fn times(&self) -> &[Timestamp] {
        &self.times
    }

    /// The closes of both legs, oldest first.
    #[must_use]
    pub fn legs(&self) -> [&[f64]; 2] {
        self.legs.each_ref().map(|leg| &leg[..])
    }
}

fn every_second<T: Copy>(values: &[T]) -> Vec<T> {
    values.iter().copied().step_by(2).collect()
}

/// Of so many stretches half as many are made. A screen has no more points.
const MOST: usize = 1200;
/// How many of the newest candles are kept one by one.
const RECENT: usize = 300;
/// Of so many closes every second is kept: the tests of a pair's health take milliseconds then.
const MOST_CLOSES: usize = 1 << 14;
