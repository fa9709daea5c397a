//! Both legs of a recording, joined while they are read: a row is what both legs have.
//!
//! Binance's dumps are read a chunk at a time, see [`super::dump`]: whoever takes the rows one by one
//! may act on nothing before the last one came. Each leg has a thread that reads a little ahead; what
//! is handed out, and what is told of damage, is the same in every run.

use std::cmp::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

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
    Dump(Ahead),
}

/// A dump that is read by a thread of its own.
struct Ahead {
    parts: Receiver<Part>,
    part: Part,
    /// How many of the part's candles were taken.
    taken: usize,
}

/// Candles that follow each other, and how the dump ends if it ends after them.
#[derive(Default)]
struct Part {
    candles: Vec<Candle>,
    end: Option<Result<(), Failure>>,
}

impl Ahead {
    fn of(dump: Dump) -> Self {
        let (sender, parts) = sync_channel(PARTS);
        thread::spawn(move || read(dump, &sender));
        Self { parts, part: Part::default(), taken: 0 }
    }

    fn next(&mut self) -> Result<Option<Candle>, Failure> {
        loop {
            if let Some(candle) = self.part.candles.get(self.taken) {
                self.taken += 1;
                return Ok(Some(*candle));
            }
            match &self.part.end {
                Some(Ok(())) => return Ok(None),
                Some(Err(failure)) => return Err(failure.clone()),
                None => {}
            }
            self.part = self.parts.recv().expect("a part without an end is not the last one");
            self.taken = 0;
        }
    }
}

/// Reads until the dump ends, or nobody is there any more who wants it.
fn read(mut dump: Dump, to: &SyncSender<Part>) {
    loop {
        let mut part = Part { candles: Vec::with_capacity(CANDLES), end: None };
        while part.end.is_none() && part.candles.len() < CANDLES {
            match dump.next() {
                Ok(Some(candle)) => part.candles.push(candle),
                Ok(None) => part.end = Some(Ok(())),
                Err(failure) => part.end = Some(Err(failure)),
            }
        }
        let is_last = part.end.is_some();
        if to.send(part).is_err() || is_last {
            break;
        }
    }
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
                    Ok(Source::Dump(Ahead::of(dump)))
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

/// How far a thread reads ahead: in parts of so many candles, so many parts.
const CANDLES: usize = 1024;
const PARTS: usize = 4;
