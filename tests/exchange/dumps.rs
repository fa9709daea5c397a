//! Whole months of candles as files, each with its checksum: what `data.binance.vision` publishes.
//! **Source**: binance/binance-public-data, README.

use std::io::Write as _;
use std::sync::Arc;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use jiff::civil::Date;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::answers::interval_ms;
use super::market::Symbol;
use super::world::World;

/// What is published, and what is wrong with it.
#[derive(Clone, Default)]
pub struct Dumps {
    /// How long after its end a month is published.
    pub delay_ms: i64,
    /// Archives that are not published.
    pub missing: Vec<String>,
    /// Archives whose checksum file is wrong.
    pub lies: Vec<String>,
    /// What becomes of an archive's rows before they are packed.
    pub rows: Option<Bend<String>>,
    /// What becomes of an archive before its checksum is taken.
    pub archive: Option<Bend<Vec<u8>>>,
}

/// A change to what belongs to the archive of this name.
pub type Bend<T> = Arc<dyn Fn(&str, &mut T) + Send + Sync>;

/// The file at this path, if it is published.
pub(super) fn file(world: &World, path: &str) -> Option<Vec<u8>> {
    let inner = path.strip_prefix("/data/spot/monthly/klines/")?;
    let [code, interval, file] = inner.split('/').collect::<Vec<_>>().try_into().ok()?;
    let (name, is_checksum) = match file.strip_suffix(".CHECKSUM") {
        Some(name) => (name, true),
        None => (file, false),
    };
    let month = name.strip_prefix(&format!("{code}-{interval}-"))?.strip_suffix(".zip")?;
    let begin: Date = format!("{month}-01").parse().ok()?;
    let millis = |date: Date| {
        date.to_zoned(jiff::tz::TimeZone::UTC).expect("a day").timestamp().as_millisecond()
    };
    let (begin, end) = (millis(begin), millis(begin.last_of_month().tomorrow().ok()?));
    let market = world.symbols.get(code)?;
    let is_there = market.candles.interval == interval_ms(interval)?
        && world.now() >= end + world.dumps.delay_ms
        && !world.dumps.missing.iter().any(|missing| missing == name);
    let mut rows = rows(market, world.now(), begin, end);
    if !is_there || rows.is_empty() {
        return None;
    }
    if let Some(bend) = &world.dumps.rows {
        bend(name, &mut rows);
    }
    let mut archive = zip(&name.replace(".zip", ".csv"), rows.as_bytes(), true);
    if let Some(bend) = &world.dumps.archive {
        bend(name, &mut archive);
    }
    if !is_checksum {
        return Some(archive);
    }
    if world.dumps.lies.iter().any(|lie| lie == name) {
        archive.push(0);
    }
    let hash = Sha256::digest(&archive);
    let digits = hash.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    Some(format!("{digits}  {name}\n").into_bytes())
}

/// Twelve columns without a header; microseconds from 2025-01-01 on.
fn rows(market: &Symbol, now: i64, begin: i64, end: i64) -> String {
    let unit = if begin >= 1_735_689_600_000 { 1000 } else { 1 };
    let line = |row: &Value| {
        let cells = row.as_array().expect("a candle").iter().enumerate();
        let cell = |(column, cell): (usize, &Value)| match (column, cell) {
            (0, open) => (open.as_i64().expect("a time") * unit).to_string(),
            (6, close) => ((close.as_i64().expect("a time") + 1) * unit - 1).to_string(),
            (_, Value::String(text)) => text.clone(),
            (_, other) => other.to_string(),
        };
        cells.map(cell).collect::<Vec<_>>().join(",") + "\n"
    };
    market.klines(now, begin, end - 1, usize::MAX).iter().map(line).collect()
}

/// An archive with one entry, header by header.
pub fn zip(name: &str, content: &[u8], deflate: bool) -> Vec<u8> {
    let packed = if deflate {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(content).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    } else {
        content.to_vec()
    };
    let mut crc = Crc::new();
    crc.update(content);
    let size = |bytes: &[u8]| u32::try_from(bytes.len()).expect("a small file").to_le_bytes();
    let name_length = u16::try_from(name.len()).expect("a short name").to_le_bytes();
    let method = if deflate { 8_u16 } else { 0 }.to_le_bytes();
    // Shared by the local and the central header: method, time and date, CRC, sizes, name's length.
    let shared = [
        &method[..],
        &[0, 0, 0x21, 0x58],
        &crc.sum().to_le_bytes(),
        &size(&packed),
        &size(content),
        &name_length,
        &[0, 0],
    ]
    .concat();
    let local = [b"PK\x03\x04\x14\0\0\0", &shared[..], name.as_bytes(), &packed].concat();
    let central = [b"PK\x01\x02\x14\0\x14\0\0\0", &shared[..], &[0; 14], name.as_bytes()].concat();
    let end =
        [&b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], &size(&central), &size(&local), &[0, 0]].concat();
    [local, central, end].concat()
}
