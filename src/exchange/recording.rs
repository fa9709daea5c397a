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
    rows: Vec<[Candle; 2]>,
}

/// A leg's candles, a part at a time.
struct Source {
    candles: Vec<Candle>,
    /// How many of them were taken.
    taken: usize,
    /// What comes after them; `None` after the last part.
    ahead: Option<Receiver<Part>>,
}

/// As [`Dump::next_candles`].
type Part = Result<Option<Vec<Candle>>, Failure>;

impl Source {
    fn all(candles: Vec<Candle>) -> Self {
        Self { candles, taken: 0, ahead: None }
    }

    /// A dump that is read by a thread of its own.
    fn dump(dump: Dump) -> Self {
        let (sender, ahead) = sync_channel(PARTS);
        thread::spawn(move || read(dump, &sender));
        Self { candles: Vec::new(), taken: 0, ahead: Some(ahead) }
    }

    /// Candles that were not taken yet; none after the last.
    fn rest(&mut self) -> Result<&[Candle], Failure> {
        while self.taken == self.candles.len()
            && let Some(ahead) = &self.ahead
        {
            // A thread that died is no end.
            match ahead.recv().expect("a dump ends with `None`, or with a failure")? {
                Some(candles) => (self.candles, self.taken) = (candles, 0),
                None => self.ahead = None,
            }
        }
        Ok(self.candles.get(self.taken..).unwrap_or_default())
    }

    /// Takes the rest, and all that comes after it.
    fn take_all(&mut self) -> Result<(), Failure> {
        while !self.rest()?.is_empty() {
            self.taken = self.candles.len();
        }
        Ok(())
    }
}

/// Reads until the dump ends, or nobody is there any more who wants it.
fn read(mut dump: Dump, to: &SyncSender<Part>) {
    loop {
        let part = dump.next_candles();
        let is_last = !matches!(part, Ok(Some(_)));
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
            Recording::Demo => demo_candles(pair, interval)?.map(Source::all),
            Recording::Folder(folder) => {
                let dump = |leg| {
                    let dump = Dump::open(folder, pair.symbol(leg), interval)?;
                    Ok(Source::dump(dump))
                };
                [dump(Leg::Numerator)?, dump(Leg::Denominator)?]
            }
        };
        Ok(Self { legs, rows: Vec::new() })
    }

    /// The next rows: numerator's and denominator's candle of the same time. None after the last, when
    /// both legs were read to their ends, whichever of them is longer.
    ///
    /// **Errors**: files that are damaged.
    pub fn next_rows(&mut self) -> Result<&[[Candle; 2]], Failure> {
        self.rows.clear();
        let [numerator, denominator] = &mut self.legs;
        while self.rows.is_empty() {
            let (one, other) = (numerator.rest()?, denominator.rest()?);
            let ([first, ..], [other_first, ..]) = (one, other) else {
                // Damage in what the other leg lacks is damage.
                numerator.take_all()?;
                denominator.take_all()?;
                break;
            };
            match first.open_time.cmp(&other_first.open_time) {
                Ordering::Less => numerator.taken += 1,
                Ordering::Greater => denominator.taken += 1,
                Ordering::Equal => {
                    let rows = one.iter().zip(other).map(|(one, other)| [*one, *other]);
                    self.rows
                        .extend(rows.take_while(|[one, other]| one.open_time == other.open_time));
                    numerator.taken += self.rows.len();
                    denominator.taken += self.rows.len();
                }
            }
        }
        Ok(&self.rows)
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

/// How many parts a thread reads ahead.
const PARTS: usize = 4;
