//! Binance's public dumps: `SYMBOL-INTERVAL-*.csv` or `.zip`, 12 columns, oldest first.
//!
//! **Source**: binance/binance-public-data, README. Spot files have no header as a rule and
//! microseconds from 2025-01-01 on; both are told by looking. What is damaged is refused with
//! file, line and reason; what merely is odd (early close times, candles without a trade, gaps)
//! is real and stays.
//!
//! Files are merged while they are read, so that memory holds a chunk of those that overlap at the
//! moment, as a rule of one, however long the history is. Hence a candle may be handed out before
//! damage is found: whoever takes them one by one may act on nothing before the last one came.

mod row;
mod rows;
mod zip;

use std::cmp::Reverse;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::trading::candle::Candle;
use crate::trading::market::Symbol;
use crate::trading::time::{Interval, Timestamp};

pub(crate) use row::candle;

use rows::Rows;
pub(crate) use rows::damaged;

/// All candles of `symbol` in the folder, oldest first, each once.
///
/// **Errors**: as [`Dump::open`] and [`Dump::next_candles`].
pub fn read(folder: &Path, symbol: &Symbol, interval: Interval) -> Result<Vec<Candle>, Failure> {
    let mut dump = Dump::open(folder, symbol, interval)?;
    let mut candles = Vec::new();
    while let Some(mut next) = dump.next_candles()? {
        candles.append(&mut next);
    }
    Ok(candles)
}

/// Reads a file to its end that is, or is to be, called `path`. What `look` says against a candle is said
/// of its line.
///
/// **Errors**: as [`Dump::next_candles`], and `look`'s.
pub(crate) fn check(
    file: File,
    path: &Path,
    mut look: impl FnMut(&Candle) -> Result<(), String>,
) -> Result<(), Failure> {
    let Some(mut rows) = Rows::of(file, path, CHUNK)? else { return Ok(()) };
    loop {
        if let Err(why) = look(rows.candle()) {
            return Err(rows.damaged(&why));
        }
        if !rows.advance()? {
            return Ok(());
        }
    }
}

/// The candles of a symbol, one part after the other.
pub struct Dump {
    /// In the order of their names.
    paths: Vec<PathBuf>,
    sizes: Sizes,
    /// What has not begun yet, the next one last.
    waiting: Vec<Waiting>,
    /// What is being read, in the order of names: one file, or those that overlap.
    begun: Vec<Begun>,
    last: Option<Timestamp>,
    failure: Option<Failure>,
}

/// How much is read at a time.
#[derive(Clone, Copy)]
struct Sizes {
    /// Bytes of a file.
    chunk: usize,
    /// Candles that are handed out together.
    part: usize,
}

#[derive(Clone, Copy)]
struct Waiting {
    first: Timestamp,
    file: usize,
}

/// A file at its next row, which is not older than what was handed out last.
struct Begun {
    rows: Rows,
    file: usize,
}

impl Dump {
    /// Finds the symbol's files, and with what candle each begins.
    ///
    /// **Errors**: no such folder or file, and one whose beginning can't be read.
    pub fn open(folder: &Path, symbol: &Symbol, interval: Interval) -> Result<Self, Failure> {
        Self::in_parts(folder, symbol, interval, Sizes { chunk: CHUNK, part: PART })
    }

    /// The next candles: each once, oldest first. `None` after the last.
    ///
    /// **Errors**: the first row met that can't be read, is out of order, or contradicts another, and
    /// at the end of an archive, that it is damaged; the same again if asked again. Candles before it
    /// are handed out first.
    pub fn next_candles(&mut self) -> Result<Option<Vec<Candle>>, Failure> {
        let mut candles = Vec::with_capacity(self.sizes.part);
        if self.failure.is_none() {
            self.failure = self.fill(&mut candles).err();
        }
        match &self.failure {
            Some(failure) if candles.is_empty() => Err(failure.clone()),
            _ => Ok(Some(candles).filter(|candles| !candles.is_empty())),
        }
    }

    fn in_parts(
        folder: &Path,
        symbol: &Symbol,
        interval: Interval,
        sizes: Sizes,
    ) -> Result<Self, Failure> {
        let paths = files(folder, symbol, interval)?;
        let mut waiting = Vec::new();
        for (file, path) in paths.iter().enumerate() {
            // A file without a candle is read to its end by that, and done with.
            if let Some(rows) = Rows::begin(path, sizes.chunk.min(BEGINNING))? {
                waiting.push(Waiting { first: rows.open_time(), file });
            }
        }
        waiting.sort_by_key(|waiting| Reverse((waiting.first, waiting.file)));
        Ok(Self { paths, sizes, waiting, begun: Vec::new(), last: None, failure: None })
    }

    fn fill(&mut self, candles: &mut Vec<Candle>) -> Result<(), Failure> {
        let part = self.sizes.part;
        while candles.len() < part {
            let Some(at) = self.earliest()? else { break };
            candles.push(*self.begun[at].rows.candle());
            // As long as one file is read alone its rows need not be compared with any other's.
            if let [Begun { rows, .. }] = &mut self.begun[..] {
                let next = self.waiting.last().map(|waiting| waiting.first);
                while candles.len() < part
                    && rows.advance()?
                    && next.is_none_or(|next| rows.open_time() < next)
                {
                    candles.push(*rows.candle());
                    self.last = Some(rows.open_time());
                }
            }
        }
        Ok(())
    }

    /// Which of the files that are being read has the next candle: the first one, if several have.
    fn earliest(&mut self) -> Result<Option<usize>, Failure> {
        self.leave_last()?;
        self.begin_what_is_due()?;
        self.last = self.begun.iter().map(|begun| begun.rows.open_time()).min();
        let is_next = |begun: &Begun| Some(begun.rows.open_time()) == self.last;
        let Some(first) = self.begun.iter().position(is_next) else { return Ok(None) };
        let mut before = first;
        for at in first + 1..self.begun.len() {
            let [one, other] =
                self.begun.get_disjoint_mut([before, at]).expect("two places of the list");
            if one.rows.open_time() == other.rows.open_time() {
                other.rows.expect_equal(&mut one.rows)?;
                before = at;
            }
        }
        Ok(Some(first))
    }

    /// Leaves the candle that was handed out, in each file that has it, and files that are over.
    fn leave_last(&mut self) -> Result<(), Failure> {
        let mut at = 0;
        while let Some(begun) = self.begun.get_mut(at) {
            if Some(begun.rows.open_time()) == self.last && !begun.rows.advance()? {
                self.begun.remove(at);
            } else {
                at += 1;
            }
        }
        Ok(())
    }

    /// Begins each file whose first candle is not later than all that are to come.
    fn begin_what_is_due(&mut self) -> Result<(), Failure> {
        while let Some(Waiting { first, file }) = self.waiting.last().copied() {
            if self.begun.iter().any(|begun| begun.rows.open_time() < first) {
                break;
            }
            self.waiting.pop();
            let path = &self.paths[file];
            let rows =
                Rows::begin(path, self.sizes.chunk)?.filter(|rows| rows.open_time() == first);
            let rows = rows.ok_or_else(|| {
                damaged(&format!("`{}` was changed while it was read", path.display()))
            })?;
            let place = self.begun.partition_point(|begun| begun.file < file);
            self.begun.insert(place, Begun { rows, file });
        }
        Ok(())
    }
}

fn files(folder: &Path, symbol: &Symbol, interval: Interval) -> Result<Vec<PathBuf>, Failure> {
    let shown = folder.display();
    let entries = std::fs::read_dir(folder).map_err(|error| {
        Failure::untrusted(
            format!("failed to read the folder of candles `{shown}`: {error}"),
            "give `--candles` a folder of Binance dumps, or `demo`",
        )
    })?;
    let prefix = format!("{}-{interval}-", symbol.code());
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| damaged(&format!("`{shown}`: {error}")))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_dump = path.extension().is_some_and(|end| end == "csv" || end == "zip");
        if name.starts_with(&prefix) && is_dump {
            files.push(path);
        }
    }
    if files.is_empty() {
        return Err(Failure::untrusted(
            format!("there is no `{prefix}*.csv` or `.zip` in `{shown}`"),
            "give `--candles` a folder with dumps of both symbols and of `TIMEFRAME`",
        ));
    }
    files.sort();
    Ok(files)
}

/// Small enough for the processor's own memory, large enough that asking for it costs nothing.
const CHUNK: usize = 256 * 1024;

/// Candles that are handed out together: few enough to stay near until they are used.
const PART: usize = 1024;

/// What is read of a file to know when it begins.
const BEGINNING: usize = 4096;

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;
    use crate::trading::market::Asset;

    #[test]
    fn wherever_a_chunk_ends_it_is_the_same_history() {
        let header = "a,b,c,d,e,f,g,h,i,j,k,l";
        let folder = folder(&[
            ("1", &format!("{}\n\n{}\r\n{2}\n{2}\n", row(1), row(2), row(2))),
            ("2", ""),
            ("3", &format!("{header}\n{}\n{}ä\n", row(2), row(3))),
            ("4", &format!("{header}ä\n")),
            ("5", &format!("{}\n{}", row(3), row(4))),
        ]);
        let times = [1, 2, 3, 4];
        for chunk in 1..500 {
            for part in [1, 2, 3, 9] {
                let read = minutes(&mut open(&folder, chunk, part));
                assert_eq!(read, Ok(times.to_vec()), "{chunk} and {part}");
            }
        }
        let damaged = row(6).replace('7', "x");
        let text = [&*row(3), &row(4), "\r", "", &row(5), &damaged, &row(7)].join("\n");
        write(&folder, "5", &text);
        for chunk in 1..500 {
            let told = minutes(&mut open(&folder, chunk, 3)).expect_err("no price");
            assert!(told.ends_with("-5.csv`, line 6: the open price is `x.50000000`"), "{told}");
        }
    }

    #[test]
    fn files_that_follow_each_other_are_read_one_at_a_time() {
        let texts: Vec<(String, String)> = (0..50)
            .map(|file| {
                (format!("{file:02}"), format!("{}\n{}\n", row(2 * file), row(2 * file + 1)))
            })
            .collect();
        let texts: Vec<(&str, &str)> =
            texts.iter().map(|(name, text)| (&**name, &**text)).collect();
        let folder = folder(&texts);
        for part in [1, 3, PART] {
            let mut dump = open(&folder, CHUNK, part);
            let mut candles = 0;
            while let Some(next) = dump.next_candles().expect("good files") {
                candles += next.len();
                assert!(dump.begun.len() <= 1);
            }
            assert_eq!(candles, 100);
            assert!(dump.next_candles().is_ok_and(|end| end.is_none()));
        }
    }

    #[test]
    fn of_rows_that_are_equal_the_first_file_s_is_kept() {
        let folder = folder(&[
            ("1", &format!("{}\n{}\n", row(1), row(2).replace("7.50000000", "7.5"))),
            ("2", &format!("{}\n{}\n", row(2), row(3))),
        ]);
        let mut dump = open(&folder, CHUNK, PART);
        let candles = dump.next_candles().expect("good files").expect("three");
        let shown: Vec<String> = candles.iter().map(|candle| candle.close.to_string()).collect();
        assert_eq!(shown, ["7.50000000", "7.5", "7.50000000"]);
    }

    #[test]
    fn a_contradiction_names_both_lines_and_stays() {
        let folder = folder(&[
            ("1", &format!("{}\n{}\n", row(1), row(3))),
            ("2", &format!("{}\n", row(2))),
            ("3", &format!("{}\n{}\n", row(2), row(3).replace('7', "8"))),
        ]);
        let mut dump = open(&folder, CHUNK, PART);
        let before = dump.next_candles().expect("good rows").expect("those before it");
        assert_eq!(before.len(), 2);
        for _ in 0..2 {
            let told = dump.next_candles().expect_err("two prices").message;
            assert!(told.contains("-3.csv`, line 2: the candle 1970-01-01T00:03:00Z is another"));
            assert!(told.ends_with("-1.csv`, line 2"), "{told}");
        }
    }

    #[test]
    fn a_file_that_changes_while_it_waits_is_refused() {
        let folder = folder(&[("1", &row(1)), ("2", &row(3))]);
        for text in [String::new(), row(2), row(0)] {
            write(&folder, "2", &row(3));
            let mut dump = open(&folder, CHUNK, PART);
            write(&folder, "2", &text);
            let told = minutes(&mut dump).expect_err("another file");
            assert!(told.ends_with("-2.csv` was changed while it was read"), "{told}");
        }
    }

    fn folder(files: &[(&str, &str)]) -> TempDir {
        let folder = tempfile::tempdir().expect("a folder for files");
        for (name, text) in files {
            write(&folder, name, text);
        }
        folder
    }

    fn write(folder: &TempDir, name: &str, text: &str) {
        let path = folder.path().join(format!("BTCUSDT-1m-{name}.csv"));
        fs::write(path, text).expect("a disk with room");
    }

    fn open(folder: &TempDir, chunk: usize, part: usize) -> Dump {
        let asset = |code| Asset::new(code).expect("an asset");
        let symbol = Symbol { base: asset("BTC"), quote: asset("USDT") };
        let minute = Interval::named("1m").expect("an interval");
        let sizes = Sizes { chunk, part };
        Dump::in_parts(folder.path(), &symbol, minute, sizes).expect("good beginnings")
    }

    /// The open times of all candles.
    fn minutes(dump: &mut Dump) -> Result<Vec<i64>, String> {
        let mut minutes = Vec::new();
        while let Some(next) = dump.next_candles().map_err(|failure| failure.message)? {
            minutes.extend(next.iter().map(|candle| candle.open_time.as_millis() / 60_000));
        }
        Ok(minutes)
    }

    /// With as many digits as the times of this century have.
    fn row(minute: i64) -> String {
        let price = "7.50000000";
        let time = minute * 60_000;
        format!("{time:013},{price},{price},{price},{price},1.5,{time:013},0,0,0,0,0")
    }
}
