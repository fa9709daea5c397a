//! Both legs of a recording, joined while they are read: a row is what both legs have.
//!
//! Binance's dumps are read a chunk at a time, see [`super::dump`]: whoever takes the rows one by one
//! may act on nothing before the last one came.

use std::cmp::Ordering;

use super::demo;
use super::dump::Dump;
use crate::config::Recording;
use crate::failure::Failure;
use crate::trading::candle::Candle;
use crate::trading::market::{Leg, Pair};
use crate::trading::time::Interval;

/// The rows that both legs have, oldest first; what a leg lacks is left out.
pub struct Shared {
    legs: [Source; 2],
}

enum Source {
    Demo(std::vec::IntoIter<Candle>),
    Dump(Box<Dump>),
}

impl Shared {
    /// Finds the recording of both legs.
    ///
    /// **Errors**: files that are missing, or whose beginning can't be read; a pair that the built-in
    /// sample lacks.
    pub fn open(recording: &Recording, pair: &Pair, interval: Interval) -> Result<Self, Failure> {
        let legs = match recording {
            Recording::Demo => {
                demo_candles(pair, interval)?.map(|leg| Source::Demo(leg.into_iter()))
            }
            Recording::Folder(folder) => {
                let dump = |leg| {
                    let dump = Dump::open(folder, pair.symbol(leg), interval)?;
                    Ok(Source::Dump(Box::new(dump)))
                };
                [dump(Leg::Numerator)?, dump(Leg::Denominator)?]
            }
        };
        Ok(Self { legs })
    }

    /// Numerator's and denominator's next candle of the same time. `None` after the last, when both
    /// legs were read to their ends, whichever of them is longer.
    ///
    /// **Errors**: files that are damaged.
    #[expect(clippy::should_implement_trait, reason = "the failure is outside, for `?`")]
    pub fn next(&mut self) -> Result<Option<[Candle; 2]>, Failure> {
        let [numerator, denominator] = &mut self.legs;
        let mut row = (numerator.next()?, denominator.next()?);
        while let (Some(one), Some(other)) = row {
            match one.open_time.cmp(&other.open_time) {
                Ordering::Less => row.0 = numerator.next()?,
                Ordering::Equal => return Ok(Some([one, other])),
                Ordering::Greater => row.1 = denominator.next()?,
            }
        }
        // Damage in what the other leg lacks is damage.
        while numerator.next()?.is_some() {}
        while denominator.next()?.is_some() {}
        Ok(None)
    }
}

impl Source {
    fn next(&mut self) -> Result<Option<Candle>, Failure> {
        match self {
            Self::Demo(candles) => Ok(candles.next()),
            Self::Dump(dump) => dump.next(),
        }
    }
}

fn demo_candles(pair: &Pair, interval: Interval) -> Result<[Vec<Candle>; 2], Failure> {
    let symbols = Leg::BOTH.map(|leg| pair.symbol(leg).to_string());
    if symbols != demo::SYMBOLS || interval.name() != demo::TIMEFRAME {
        return Err(Failure::configuration(
            format!(
                "the built-in sample has {} and {} at {}, not {} and {} at {interval}",
                demo::SYMBOLS[0],
                demo::SYMBOLS[1],
                demo::TIMEFRAME,
                symbols[0],
                symbols[1]
            ),
            "leave `SYMBOL_BASE`, `SYMBOL_QUOTE` and `TIMEFRAME` at their defaults for `demo`",
        ));
    }
    Ok(demo::candles())
}
