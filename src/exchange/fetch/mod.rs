//! History from the exchange into a folder that `--candles` reads, a month at a time.
//!
//! A past month is taken from the public dumps, `SYMBOL-INTERVAL-YYYY-MM.zip` with its `.CHECKSUM`
//! beside it, and never again. What they don't have (the running month, one that is not published
//! yet) the exchange itself is asked for, into a `.csv` of the same name; only what that lacks is asked
//! for. When the archive is published it takes the `.csv`'s place: dump and answer differ in rare rows,
//! and a folder that says two things of one candle is not trusted.
//!
//! Whatever happens in between, each file is whole, so that the folder can be read and the same
//! command goes on from there.

pub mod grid;
mod shelf;
mod source;

use std::collections::BTreeMap;

use grid::{Coverage, Month};
pub use shelf::Shelf;
use source::Row;
pub use source::Source;

use super::dump::{self, Dump};
use crate::failure::Failure;
use crate::trading::market::Symbol;
use crate::trading::time::{Interval, Timestamp};

/// One symbol's candles of one interval, from a source to a shelf.
pub struct Fetch<'a> {
    source: &'a Source,
    shelf: &'a Shelf,
    symbol: &'a Symbol,
    interval: Interval,
    /// The first moment at which a candle begins that is not final yet.
    end: Timestamp,
}

/// Where a month's candles came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The public dumps.
    Dumps,
    /// The exchange itself.
    Exchange,
    /// They were there already.
    Kept,
    /// There are none.
    Nowhere,
}

impl<'a> Fetch<'a> {
    /// `now` is the exchange's time.
    #[must_use]
    pub fn new(
        source: &'a Source,
        shelf: &'a Shelf,
        symbol: &'a Symbol,
        interval: Interval,
        now: Timestamp,
    ) -> Self {
        Self { source, shelf, symbol, interval, end: settled(interval, now) }
    }

    /// Sees to it that a month is there, as far as it is over.
    ///
    /// **Errors**: no answer, or one that asks for silence; candles, there or here, that can't be
    /// trusted; the disk's. The folder keeps what it had.
    pub fn month(&self, month: &Month) -> Result<Origin, Failure> {
        let stem = format!("{}{month}", prefix(self.symbol, self.interval));
        let (zip, csv) = (format!("{stem}.zip"), format!("{stem}.csv"));
        let origin = if self.is_whole(&zip)? {
            Origin::Kept
        } else if month.end <= self.end && self.bring(&zip, month)? {
            Origin::Dumps
        } else {
            return self.complete(&csv, month);
        };
        // Last of all: in between there are two files for the month, never none.
        self.shelf.remove(&csv)?;
        Ok(origin)
    }

    /// What of a span is in the folder, as every reader of it sees it.
    ///
    /// **Errors**: candles that can't be read, or that contradict each other.
    pub fn coverage(&self, from: Timestamp, end: Timestamp) -> Result<Coverage, Failure> {
        let mut coverage = Coverage::new(self.interval, from, end);
        let mut dump = Dump::open(self.shelf.folder(), self.symbol, self.interval)?;
        while let Some(next) = dump.next_candles()? {
            for candle in next {
                coverage.add(candle.open_time);
            }
        }
        Ok(coverage.finish())
    }

    /// Whether the archive is there and fits its checksum.
    fn is_whole(&self, name: &str) -> Result<bool, Failure> {
        let Some(found) = self.shelf.digest(name)? else { return Ok(false) };
        let checksum = format!("{name}.CHECKSUM");
        let known = self.shelf.read(&checksum)?;
        let is_known = known.is_some();
        // Somebody put the archive here without its checksum.
        let published = match known {
            None => self.source.checksum(self.symbol, self.interval, name)?,
            known => known,
        };
        let shown = self.shelf.path(name).display().to_string();
        let Some(bytes) = published else {
            log::warn!("`{shown}` has no checksum; it is taken as it is");
            return Ok(true);
        };
        let expected = source::expected(&bytes, name)
            .map_err(|why| dump::damaged(&format!("`{shown}.CHECKSUM`: {why}")))?;
        if found != expected {
            return Err(dump::damaged(&format!(
                "`{shown}` has the SHA-256 {found}, its checksum file says {expected}"
            )));
        }
        if !is_known {
            self.shelf.put(&checksum, &bytes, |_, _| Ok(()))?;
        }
        Ok(true)
    }

    /// Brings a month's archive, whether there is one.
    fn bring(&self, name: &str, month: &Month) -> Result<bool, Failure> {
        let Some(archive) = self.source.archive(self.symbol, self.interval, name)? else {
            return Ok(false);
        };
        // The checksum first: an archive without it would be asked about again.
        let checksum = format!("{name}.CHECKSUM");
        self.shelf.put(&checksum, &archive.checksum, |_, _| Ok(()))?;
        let put = self.shelf.put(name, &archive.zip, |file, path| {
            let (mut all, mut off_grid) = (0, 0);
            dump::check(file, path, |candle| {
                all += 1;
                off_grid += i32::from(!self.interval.is_on_grid(candle.open_time));
                of_month(month, candle.open_time)
            })?;
            // An outage of 2018 left some; most of them are another interval's.
            if all == 0 || off_grid * 2 > all {
                return Err(dump::damaged(&format!(
                    "`{}`: {off_grid} of {all} candles begin where no candle of {} may begin",
                    path.display(),
                    self.interval
                )));
            }
            Ok(())
        });
        if put.is_err() {
            // Of nothing there is no checksum; that it is left changes nothing.
            let _ = self.shelf.remove(&checksum);
        }
        put.map(|()| true)
    }

    /// Asks the exchange for what a month's file lacks.
    fn complete(&self, name: &str, month: &Month) -> Result<Origin, Failure> {
        let mut lines = self.lines(name, month)?;
        let was_there = !lines.is_empty();
        let mut coverage = Coverage::new(self.interval, month.begin, month.end.min(self.end));
        for open_time in lines.keys() {
            coverage.add(*open_time);
        }
        let mut brought = 0;
        for gap in coverage.finish().gaps {
            for Row { open_time, line } in self.source.candles(self.symbol, self.interval, &gap)? {
                brought += 1;
                lines.entry(open_time).or_insert(line);
            }
        }
        if brought == 0 {
            return Ok(if was_there { Origin::Kept } else { Origin::Nowhere });
        }
        let text: String = lines.values().flat_map(|line| [line, "\n"]).collect();
        self.shelf.put(name, text.as_bytes(), |file, path| {
            dump::check(file, path, |candle| of_month(month, candle.open_time))
        })?;
        Ok(Origin::Exchange)
    }

    /// The lines of a month's file, by their open times.
    fn lines(&self, name: &str, month: &Month) -> Result<BTreeMap<Timestamp, String>, Failure> {
        let mut lines = BTreeMap::new();
        let Some(file) = self.shelf.open_file(name)? else { return Ok(lines) };
        dump::check(file, &self.shelf.path(name), |candle| of_month(month, candle.open_time))?;
        let bytes = self.shelf.read(name)?.unwrap_or_default();
        // What is no candle is a header or an empty line: the file is good.
        for line in String::from_utf8_lossy(&bytes).lines() {
            if let Ok(candle) = dump::candle(line) {
                lines.insert(candle.open_time, line.to_owned());
            }
        }
        Ok(lines)
    }
}

/// How the names of a symbol's files begin.
#[must_use]
pub fn prefix(symbol: &Symbol, interval: Interval) -> String {
    format!("{}-{interval}-", symbol.code())
}

/// The first moment at which a candle begins that is not final yet.
#[must_use]
pub fn settled(interval: Interval, now: Timestamp) -> Timestamp {
    let newest = interval.newest_closed(now.plus_millis(-SETTLING_MILLIS));
    newest.plus_millis(interval.millis())
}

fn of_month(month: &Month, open_time: Timestamp) -> Result<(), String> {
    if month.has(open_time) {
        return Ok(());
    }
    Err(format!("the candle {open_time} is not of {month}"))
}

/// Right after its end a candle may still change or not be there yet: nothing promises more than "Data
/// Source: Database". A history can wait a minute.
const SETTLING_MILLIS: i64 = 60_000;

/// What every failure can promise, as its hint ends.
const GOES_ON: &str = "the folder keeps what it has, and the same command goes on from there";
