//! Binance's public dumps: `SYMBOL-INTERVAL-*.csv` or `.zip`, 12 columns, oldest first.
//!
//! **Source**: binance/binance-public-data, README. Spot files have no header as a rule and
//! microseconds from 2025-01-01 on; both are told by looking. What is damaged is refused with
//! file, line and reason; what merely is odd (early close times, candles without a trade, gaps)
//! is real and stays.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use crate::failure::Failure;
use crate::trading::candle::Candle;
use crate::trading::market::Symbol;
use crate::trading::time::{Interval, Timestamp};

use super::wire;

/// All candles of `symbol` in the folder, oldest first, each once.
///
/// **Errors**: no such folder or file, and the first row that can't be read, is out of order, or
/// contradicts another file's.
pub fn read(folder: &Path, symbol: &Symbol, interval: Interval) -> Result<Vec<Candle>, Failure> {
    let mut rows: Vec<Row> = Vec::new();
    let files = files(folder, symbol, interval)?;
    for (number, path) in files.iter().enumerate() {
        let text = text(path).map_err(|why| damaged(&format!("`{}` {why}", path.display())))?;
        let in_file = candles(&text)
            .map_err(|(line, why)| damaged(&format!("`{}`, line {line}: {why}", path.display())))?;
        rows.extend(in_file.into_iter().map(|(line, candle)| Row { candle, file: number, line }));
    }
    // Stable, so that of two equal rows the earlier file's stays.
    rows.sort_by_key(|row| row.candle.open_time);
    for (one, other) in rows.iter().zip(rows.iter().skip(1)) {
        if one.candle.open_time == other.candle.open_time && one.candle != other.candle {
            return Err(damaged(&format!(
                "`{}`, line {}: the candle {} is another one in `{}`, line {}",
                files[other.file].display(),
                other.line,
                other.candle.open_time,
                files[one.file].display(),
                one.line,
            )));
        }
    }
    rows.dedup_by_key(|row| row.candle.open_time);
    Ok(rows.into_iter().map(|row| row.candle).collect())
}

struct Row {
    candle: Candle,
    file: usize,
    line: usize,
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

fn text(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| format!("can't be read: {error}"))?;
    let is_zip = path.extension().is_some_and(|end| end == "zip");
    let bytes = if is_zip { unzip(&bytes)? } else { bytes };
    String::from_utf8(bytes).map_err(|_| "is not text".to_owned())
}

/// Candles with their line numbers.
fn candles(text: &str) -> Result<Vec<(usize, Candle)>, (usize, String)> {
    let mut candles: Vec<(usize, Candle)> = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        let is_header = number == 1 && line.starts_with(|c: char| c.is_ascii_alphabetic());
        if is_header && line.split(',').count() != COLUMNS {
            return Err((number, "is neither a candle nor a header of candles".to_owned()));
        }
        if is_header || line.is_empty() {
            continue;
        }
        let candle = candle(line).map_err(|why| (number, why))?;
        if candles.last().is_some_and(|(_, last)| last.open_time > candle.open_time) {
            return Err((number, "is older than the line before it".to_owned()));
        }
        candles.push((number, candle));
    }
    Ok(candles)
}

fn candle(line: &str) -> Result<Candle, String> {
    let mut columns = [""; COLUMNS];
    let mut count = 0;
    for column in line.split(',') {
        if let Some(place) = columns.get_mut(count) {
            *place = column;
        }
        count += 1;
    }
    if count != columns.len() {
        return Err(format!("has {count} columns, {COLUMNS} are expected"));
    }
    let time = |name: &str, text: &str| {
        let time = text.parse().ok().and_then(Timestamp::from_millis_or_micros);
        time.ok_or_else(|| format!("the {name} time is `{text}`"))
    };
    let price = |name: &str, text: &str| {
        wire::decimal(text).ok_or_else(|| format!("the {name} price is `{text}`"))
    };
    // The close time is checked to be one and then left alone: maintenance ended some candles
    // early, one even before it began.
    time("close", columns[6])?;
    Ok(Candle {
        open_time: time("open", columns[0])?,
        open: price("open", columns[1])?,
        high: price("high", columns[2])?,
        low: price("low", columns[3])?,
        close: price("close", columns[4])?,
    })
}

/// The one file of a zip archive, its checksum verified. **Source**: PKWARE APPNOTE 6.3.
fn unzip(archive: &[u8]) -> Result<Vec<u8>, String> {
    let broken = |why: &str| format!("is no archive with one file in it: {why}");
    let end = archive
        .windows(4)
        .rposition(|bytes| bytes == b"PK\x05\x06")
        .ok_or_else(|| broken("it has no directory"))?;
    let short = || broken("it is cut off");
    let entries = u16_at(archive, end + 10).ok_or_else(short)?;
    if entries != 1 {
        return Err(broken(&format!("it has {entries} files")));
    }
    // The directory's entry is believed, not the file's own header: that may leave its sizes to
    // a descriptor behind the data.
    let entry = u32_at(archive, end + 16).ok_or_else(short)?;
    if archive.get(entry..entry + 4) != Some(b"PK\x01\x02") {
        return Err(broken("its directory is broken"));
    }
    let method = u16_at(archive, entry + 10).ok_or_else(short)?;
    let checksum = u32_at(archive, entry + 16).ok_or_else(short)?;
    let packed = u32_at(archive, entry + 20).ok_or_else(short)?;
    let size = u32_at(archive, entry + 24).ok_or_else(short)?;
    let local = u32_at(archive, entry + 42).ok_or_else(short)?;
    if archive.get(local..local + 4) != Some(b"PK\x03\x04") {
        return Err(broken("its file is not where the directory says"));
    }
    let name = u16_at(archive, local + 26).ok_or_else(short)?;
    let extra = u16_at(archive, local + 28).ok_or_else(short)?;
    let start = local + 30 + name + extra;
    let data = archive.get(start..start + packed).ok_or_else(short)?;
    if size > MOST_UNZIPPED_BYTES {
        return Err(broken(&format!("its file has {size} bytes")));
    }
    let mut bytes = Vec::new();
    match method {
        0 => bytes.extend_from_slice(data),
        8 => {
            // One byte more than promised would show that the size is wrong.
            let limit = u64::try_from(size).unwrap_or(u64::MAX).saturating_add(1);
            flate2::read::DeflateDecoder::new(data)
                .take(limit)
                .read_to_end(&mut bytes)
                .map_err(|error| broken(&error.to_string()))?;
        }
        other => return Err(broken(&format!("it is packed by method {other}"))),
    }
    let mut crc = flate2::Crc::new();
    crc.update(&bytes);
    if bytes.len() != size || usize::try_from(crc.sum()).ok() != Some(checksum) {
        return Err(broken("its file does not fit its checksum"));
    }
    Ok(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<usize> {
    let field: [u8; 2] = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
    Some(usize::from(u16::from_le_bytes(field)))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    let field: [u8; 4] = bytes.get(at..at.checked_add(4)?)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(field)).ok()
}

fn damaged(what: &str) -> Failure {
    Failure::untrusted(what, "nothing was changed; fetch the file anew, or take it away")
}

const COLUMNS: usize = 12;

/// A year of one-second candles is about 4 GB; a month of one-minute candles 6 MB.
const MOST_UNZIPPED_BYTES: usize = 512 * 1024 * 1024;
