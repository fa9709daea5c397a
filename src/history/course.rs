//! The course of an equity: what its changes sum up to, its peak and its deepest fall.
//!
//! Candle by candle ([`Course::mark`]) or from a purchase on in one go ([`Course::hold`]), with the
//! same result to the last bit: a sum is kept in lanes, and which of them a change is added to is
//! counted from the last trade, so that a stretch begins with the first lane wherever it begins.

#![expect(clippy::float_arithmetic, reason = "returns and ratios are statistics, not money")]

use super::sums::count;
use crate::trading::time::{Interval, Timestamp};

/// What is known of the equity of all candles so far.
#[derive(Debug, Clone)]
pub(super) struct Course {
    newest: f64,
    candles: usize,
    /// The lane of the next change.
    lane: usize,
    returns: [f64; LANES],
    squares: [f64; LANES],
    peak: (f64, Option<Timestamp>),
    worst: Drawdown,
    /// Below it the fall is a new deepest one.
    floor: f64,
    /// Whether the floor is an equity whose fall was not looked at yet, and the last one that was.
    is_lower: bool,
    lowest: f64,
}

/// The deepest fall of the equity.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Drawdown {
    /// As a fraction of the peak before it.
    pub depth: f64,
    /// The candle of that peak, and of the lowest equity after it; `None` for how it began.
    pub peak: Option<Timestamp>,
    /// The candle of the lowest equity.
    pub trough: Option<Timestamp>,
}

impl Course {
    /// Begins with this equity.
    pub(super) fn new(opening: f64) -> Self {
        Self {
            newest: opening,
            candles: 0,
            lane: 0,
            returns: [0.0; LANES],
            squares: [0.0; LANES],
            peak: (opening, None),
            worst: Drawdown::default(),
            floor: opening,
            is_lower: false,
            lowest: opening,
        }
    }

    /// The equity of the newest candle.
    pub(super) fn newest(&self) -> f64 {
        self.newest
    }

    /// The deepest fall so far.
    pub(super) fn worst(&self) -> Drawdown {
        self.worst
    }

    /// One more candle; whether something was traded on it.
    pub(super) fn mark(&mut self, equity: f64, at: Timestamp, is_traded: bool) {
        if is_traded {
            self.lane = 0;
        }
        #[expect(clippy::float_cmp, reason = "flat candles have the very same equity")]
        if equity != self.newest {
            self.change(self.lane, equity, self.newest);
            self.newest = equity;
            self.extreme(equity, at);
        }
        self.lane = if is_traded { 0 } else { (self.lane + 1) % LANES };
        self.candles += 1;
    }

    /// So many more candles on which nothing is held.
    pub(super) fn rest(&mut self, candles: usize) {
        self.candles += candles;
    }

    /// The candle of a purchase and those after it to the one of the sale: the [`Course::mark`] of
    /// each of them. Whether the equity fell lower than ever on one of them; which one that was is
    /// looked for at the end only, see [`Course::fell`].
    ///
    /// **Shape**: `closes` of what was bought, at least one; `equity` is what a close makes it,
    /// `sold` what the sale made it, if there was one, and `at` when each of them was.
    pub(super) fn hold(
        &mut self,
        closes: &[f64],
        equity: impl Fn(f64) -> f64,
        sold: Option<f64>,
        at: impl Fn(usize) -> Timestamp,
    ) -> bool {
        let [bought, after @ ..] = closes else { return false };
        let first = equity(*bought);
        self.change(0, first, self.newest);
        let (mut returns, mut squares) = (self.returns, self.squares);
        let (mut most, mut least) = ([first; LANES], [first; LANES]);
        let last = *closes.last().unwrap_or(bought);
        for at in (0..after.len()).step_by(LANES) {
            let (mut now, mut before) = ([last; LANES], [last; LANES]);
            match (after[at..].first_chunk::<LANES>(), closes[at..].first_chunk::<LANES>()) {
                (Some(four), Some(four_before)) => (now, before) = (*four, *four_before),
                // Lanes without a candle change by nothing.
                _ => {
                    for (lane, (one, one_before)) in
                        after[at..].iter().zip(&closes[at..]).enumerate()
                    {
                        (now[lane], before[lane]) = (*one, *one_before);
                    }
                }
            }
            for lane in 0..LANES {
                let now = equity(now[lane]);
                let change = now / equity(before[lane]) - 1.0;
                returns[lane] += change;
                squares[lane] += change * change;
                most[lane] = if now > most[lane] { now } else { most[lane] };
                least[lane] = if now < least[lane] { now } else { least[lane] };
            }
        }
        (self.returns, self.squares) = (returns, squares);
        self.candles += closes.len() + usize::from(sold.is_some());
        self.lane = after.len() % LANES;
        self.newest = equity(last);
        if let Some(sold) = sold {
            self.change(0, sold, self.newest);
            (self.lane, self.newest) = (0, sold);
        }
        let most = most.into_iter().fold(self.newest, f64::max);
        let least = least.into_iter().fold(self.newest, f64::min);
        if most > self.peak.0 {
            self.settle();
            for (number, equity) in closes.iter().map(|it| equity(*it)).chain(sold).enumerate() {
                self.extreme(equity, at(number));
            }
            return false;
        }
        let is_lower = least < self.floor;
        self.floor = if is_lower { least } else { self.floor };
        self.is_lower |= is_lower;
        is_lower
    }

    /// The candle of the deepest fall, if that was in the last stretch that fell lower than ever:
    /// the first one of this equity.
    pub(super) fn fell(&mut self, at: impl FnOnce(f64) -> Option<Timestamp>) {
        self.settle();
        if self.worst.depth > 0.0 && self.worst.trough.is_none() {
            self.worst.trough = at(self.lowest);
        }
    }

    fn settle(&mut self) {
        if self.is_lower {
            let depth = 1.0 - self.floor / self.peak.0;
            self.worst = Drawdown { depth, peak: self.peak.1, trough: None };
            self.lowest = self.floor;
            self.is_lower = false;
        }
    }

    #[inline]
    fn change(&mut self, lane: usize, now: f64, before: f64) {
        let change = now / before - 1.0;
        self.returns[lane] += change;
        self.squares[lane] += change * change;
    }

    /// Looks whether this equity is the highest or the lowest.
    fn extreme(&mut self, equity: f64, at: Timestamp) {
        if equity > self.peak.0 {
            self.peak = (equity, Some(at));
            self.floor = equity * (1.0 - self.worst.depth);
        } else if equity < self.floor {
            let depth = 1.0 - equity / self.peak.0;
            self.worst = Drawdown { depth, peak: self.peak.1, trough: Some(at) };
            self.floor = equity;
        }
    }

    /// Mean of the returns from candle to candle / their sample deviation, annualised.
    pub(super) fn sharpe(&self, interval: Interval) -> Option<f64> {
        let [returns, squares] =
            [self.returns, self.squares].map(|lanes| lanes.iter().sum::<f64>());
        let count = count(self.candles.saturating_sub(1));
        let mean = returns / count;
        let variance = (squares - returns * mean) / (count - 1.0);
        let ratio = mean / variance.sqrt() * f64::from(interval.per_year()).sqrt();
        ratio.is_finite().then_some(ratio)
    }
}

/// As many changes as are computed at once. More would be more than a short stretch has.
const LANES: usize = 4;
