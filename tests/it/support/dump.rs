//! Candle dumps as Binance publishes them: CSV of twelve columns, bare or in a zip.

use std::fs;
use std::path::{Path, PathBuf};

use rust_decimal::Decimal;

use super::clock::HOUR;
use super::table::{Row, eight};
pub(crate) use crate::exchange::zip;

/// How a dump is written.
pub(crate) struct Dump {
    /// Open time of the first row, in milliseconds.
    pub(crate) first: i64,
    pub(crate) interval: i64,
    /// The interval in file names.
    pub(crate) name: &'static str,
    /// Whether times are written in microseconds, as in dumps from 2025 on.
    pub(crate) micros: bool,
    pub(crate) header: bool,
    pub(crate) wrapping: Wrapping,
}

/// What a CSV is wrapped in.
#[derive(Clone, Copy)]
pub(crate) enum Wrapping {
    Bare,
    Deflated,
    Stored,
}

impl Dump {
    /// Plain rows of one hour.
    pub(crate) fn hourly(first: i64) -> Self {
        let wrapping = Wrapping::Bare;
        Self { first, interval: HOUR, name: "1h", micros: false, header: false, wrapping }
    }

    /// Writes a file for each leg of BTC and ETH into a folder, made if need be.
    pub(crate) fn write(&self, folder: &Path, rows: &[Row]) {
        fs::create_dir_all(folder).expect("a folder for candles");
        for (symbol, leg) in [("BTCUSDT", 0), ("ETHUSDT", 1)] {
            let closes: Vec<Decimal> = rows.iter().map(|row| [row.0, row.1][leg]).collect();
            self.write_leg(folder, symbol, "2024-03", &closes);
        }
    }

    /// Writes one leg's file.
    pub(crate) fn write_leg(&self, folder: &Path, symbol: &str, period: &str, closes: &[Decimal]) {
        let stem = format!("{symbol}-{}-{period}", self.name);
        let csv = self.csv(closes);
        let (name, bytes) = match self.wrapping {
            Wrapping::Bare => (format!("{stem}.csv"), csv.into_bytes()),
            Wrapping::Deflated => {
                (format!("{stem}.zip"), zip(&format!("{stem}.csv"), csv.as_bytes(), true))
            }
            Wrapping::Stored => {
                (format!("{stem}.zip"), zip(&format!("{stem}.csv"), csv.as_bytes(), false))
            }
        };
        fs::write(folder.join(name), bytes).expect("a dump is written");
    }

    /// The rows of one leg.
    pub(crate) fn csv(&self, closes: &[Decimal]) -> String {
        let header = if self.header { HEADER } else { "" };
        let times = (0..).map(|row| self.first + row * self.interval);
        let lines = times.zip(closes).map(|(open, close)| self.line(open, *close));
        header.to_owned() + &lines.collect::<String>()
    }

    /// One row, with its line feed.
    pub(crate) fn line(&self, open: i64, close: Decimal) -> String {
        let price = eight(close);
        let (unit, last) = if self.micros { (1_000, 999) } else { (1, 0) };
        let (open, end) = (open * unit, (open + self.interval - 1) * unit + last);
        format!("{open},{price},{price},{price},{price},1.50000000,{end},0,0,0,0,0\n")
    }
}

const HEADER: &str = "open_time,open,high,low,close,volume,close_time,quote_volume,count,\
taker_buy_volume,taker_buy_quote_volume,ignore\n";

/// Numbers that this program did not make, and small dumps.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// The real candles beside the project, for tests that are ignored where there are none.
pub(crate) fn real_candles() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data")
}
