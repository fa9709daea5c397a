//! Candles, and the one door between them and the strategy.
//!
//! A [`Window`] exists only if both legs passed every check: the newest candle is there, nothing
//! is missing, doubled, off the grid or without a sane price. What did not pass is a [`Distrust`]
//! that says which leg and why.

use std::fmt;

use rust_decimal::Decimal;

use super::market::{Leg, Pair};
use super::money::Price;
use super::time::{Interval, Timestamp};

/// One closed candle, as it was read: its prices are not yet trusted.
///
/// **Units**: quote asset per base asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candle {
    /// When it began; this is its name.
    pub open_time: Timestamp,
    /// The first price.
    pub open: Decimal,
    /// The highest price.
    pub high: Decimal,
    /// The lowest price.
    pub low: Decimal,
    /// The last price, the only one that is traded on.
    pub close: Decimal,
}

impl Candle {
    /// Whether its prices can be traded on.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let Self { open, high, low, close, .. } = self;
        // Equal scales, which a dump's prices have, spare a comparison of decimals.
        let is_ordered = if high.scale() == low.scale() {
            high.mantissa() >= low.mantissa()
        } else {
            high >= low
        };
        is_ordered && [open, high, low, close].into_iter().all(is_above_zero)
    }

    fn fault(&self) -> Option<Fault> {
        if self.is_sound() {
            return None;
        }
        let (at, prices) = (self.open_time, [self.open, self.high, self.low, self.close]);
        Some(match prices.iter().find(|price| !is_above_zero(price)) {
            Some(price) => Fault::BadPrice { at, price: price.to_string() },
            None => Fault::HighBelowLow { at },
        })
    }
}

fn is_above_zero(price: &Decimal) -> bool {
    price.is_sign_positive() && !price.is_zero()
}

/// Why candles are not traded on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Distrust {
    /// Whose candles.
    pub leg: Leg,
    /// What is wrong with them.
    pub fault: Fault,
}

/// What is wrong with a leg's candles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A price that is zero, negative or not a number.
    BadPrice {
        /// The candle.
        at: Timestamp,
        /// The price as it was read.
        price: String,
    },
    /// The same candle twice.
    Duplicate {
        /// The candle.
        at: Timestamp,
    },
    /// A candle is missing inside the window.
    Gap {
        /// The missing candle.
        at: Timestamp,
    },
    /// The high is below the low.
    HighBelowLow {
        /// The candle.
        at: Timestamp,
    },
    /// A candle that does not begin where one may begin.
    OffGrid {
        /// The candle.
        at: Timestamp,
    },
    /// A candle that is older than the one before it.
    OutOfOrder {
        /// The candle.
        at: Timestamp,
    },
    /// The newest closed candle that should exist is not there.
    Stale {
        /// The missing candle.
        expected: Timestamp,
        /// The newest one there is.
        newest: Option<Timestamp>,
    },
    /// There are fewer candles than the window is long.
    TooFew {
        /// How many there are.
        have: usize,
        /// How many are needed.
        need: usize,
    },
    /// A row with another number of columns than a candle has.
    WrongColumns {
        /// How many it has.
        have: usize,
    },
}

impl Distrust {
    /// The sentence for a person, with the symbol's name.
    #[must_use]
    pub fn sentence(&self, pair: &Pair) -> String {
        let symbol = pair.symbol(self.leg).code();
        match &self.fault {
            Fault::BadPrice { at, price } => {
                format!("the candle {at} of {symbol} has the price `{price}`")
            }
            Fault::Duplicate { at } => format!("the candle {at} of {symbol} came twice"),
            Fault::Gap { at } => format!("the candle {at} of {symbol} is missing in the window"),
            Fault::HighBelowLow { at } => {
                format!("the candle {at} of {symbol} has a high below its low")
            }
            Fault::OffGrid { at } => {
                format!("the candle {at} of {symbol} does not begin where a candle may begin")
            }
            Fault::OutOfOrder { at } => format!("the candle {at} of {symbol} is out of order"),
            Fault::Stale { expected, newest: Some(newest) } => format!(
                "the candle {expected} of {symbol} should be closed but is not there, the newest is {newest}"
            ),
            Fault::Stale { expected, newest: None } => {
                format!(
                    "the candle {expected} of {symbol} should be closed but there is no candle at all"
                )
            }
            Fault::TooFew { have, need } => {
                format!("there are {have} closed candles of {symbol}, {need} are needed")
            }
            Fault::WrongColumns { have } => {
                format!("a candle of {symbol} has {have} columns, 12 are expected")
            }
        }
    }
}

impl fmt::Display for Leg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Numerator => "numerator",
            Self::Denominator => "denominator",
        })
    }
}

/// Both legs' closed candles, each in strictly rising order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Legs {
    numerator: Vec<Candle>,
    denominator: Vec<Candle>,
}

impl Legs {
    /// **Errors**: the first candle that is doubled or out of order.
    pub fn new(numerator: Vec<Candle>, denominator: Vec<Candle>) -> Result<Self, Distrust> {
        for (leg, candles) in [(Leg::Numerator, &numerator), (Leg::Denominator, &denominator)] {
            for (earlier, later) in candles.iter().zip(candles.iter().skip(1)) {
                let at = later.open_time;
                let fault = match at.cmp(&earlier.open_time) {
                    std::cmp::Ordering::Greater => continue,
                    std::cmp::Ordering::Equal => Fault::Duplicate { at },
                    std::cmp::Ordering::Less => Fault::OutOfOrder { at },
                };
                return Err(Distrust { leg, fault });
            }
        }
        Ok(Self { numerator, denominator })
    }

    /// One leg's candles, oldest first.
    #[must_use]
    pub fn candles(&self, leg: Leg) -> &[Candle] {
        match leg {
            Leg::Numerator => &self.numerator,
            Leg::Denominator => &self.denominator,
        }
    }
}

/// Both legs' closes over consecutive candles, all checked.
///
/// **Shape**: oldest first, the newest is the candle that is decided on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    newest: Timestamp,
    closes: Vec<[Price; 2]>,
}

impl Window {
    /// The `length` candles of both legs that end with `newest`.
    ///
    /// **Errors**: the first thing that is wrong with them, the numerator's first.
    pub fn align(
        legs: &Legs,
        interval: Interval,
        newest: Timestamp,
        length: usize,
    ) -> Result<Self, Distrust> {
        let numerator = leg_closes(legs, Leg::Numerator, interval, newest, length)?;
        let denominator = leg_closes(legs, Leg::Denominator, interval, newest, length)?;
        let closes = numerator.into_iter().zip(denominator).map(|(n, d)| [n, d]).collect();
        Ok(Self { newest, closes })
    }

    /// The candle that is decided on.
    #[must_use]
    pub fn newest(&self) -> Timestamp {
        self.newest
    }

    /// Numerator's and denominator's close, oldest first.
    #[must_use]
    pub fn closes(&self) -> &[[Price; 2]] {
        &self.closes
    }
}

fn leg_closes(
    legs: &Legs,
    leg: Leg,
    interval: Interval,
    newest: Timestamp,
    length: usize,
) -> Result<Vec<Price>, Distrust> {
    let distrust = |fault| Distrust { leg, fault };
    let candles = legs.candles(leg);
    let end = candles.partition_point(|candle| candle.open_time <= newest);
    let candles = candles.get(..end).unwrap_or_default();

    let last = candles.last().map(|candle| candle.open_time);
    if last != Some(newest) {
        return Err(distrust(match last.filter(|at| !interval.is_on_grid(*at)) {
            Some(at) => Fault::OffGrid { at },
            None => Fault::Stale { expected: newest, newest: last },
        }));
    }
    let start = candles
        .len()
        .checked_sub(length)
        .ok_or_else(|| distrust(Fault::TooFew { have: candles.len(), need: length }))?;

    let mut closes = Vec::with_capacity(length);
    let mut expected: Option<Timestamp> = None;
    for candle in candles.get(start..).unwrap_or_default() {
        let at = candle.open_time;
        if !interval.is_on_grid(at) {
            return Err(distrust(Fault::OffGrid { at }));
        }
        if let Some(missing) = expected.filter(|expected| *expected != at) {
            return Err(distrust(Fault::Gap { at: missing }));
        }
        if let Some(fault) = candle.fault() {
            return Err(distrust(fault));
        }
        closes.push(Price::new(candle.close).expect("a price without fault is above zero"));
        expected = Some(at.plus_millis(interval.millis()));
    }
    Ok(closes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sound_candle_is_one_without_a_fault() {
        let minus_zero = -Decimal::new(0, 2);
        let prices = ["-1", "-1.5", "0", "0.00000001", "1", "1.0", "1.50000000", "2.5"];
        let mut prices = prices.map(|price| price.parse().expect("a price")).to_vec();
        prices.push(minus_zero);
        let mut sound = 0;
        for open in &prices {
            for high in &prices {
                for low in &prices {
                    for close in &prices {
                        let (open, high, low, close) = (*open, *high, *low, *close);
                        let candle = Candle { open_time: Timestamp::EPOCH, open, high, low, close };
                        let least = [open, high, low, close].into_iter().min().expect("four");
                        let fault = candle.fault();
                        assert_eq!(candle.is_sound(), least > Decimal::ZERO && high >= low);
                        assert_eq!(candle.is_sound(), fault.is_none(), "{candle:?}");
                        let is_price = matches!(fault, Some(Fault::BadPrice { .. }));
                        assert_eq!(is_price, least <= Decimal::ZERO, "{candle:?}");
                        sound += usize::from(candle.is_sound());
                    }
                }
            }
        }
        // Five prices are above zero; of them one and 1.0 are as much.
        assert_eq!(sound, 5 * 5 * (5 + 4 + 4 + 2 + 1));
    }
}
