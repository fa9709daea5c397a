//! Binance's dumps, as text and packed: what is accepted is what stands there, in order, and a zip
//! that says something else than its checksum is refused.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::io::Write as _;

use flate2::write::DeflateEncoder;
use flate2::{Compression, Crc};
use ouroboros::exchange::dump::read;
use ouroboros::failure::{Failure, Kind};
use ouroboros::trading::candle::Candle;
use ouroboros::trading::market::Leg;
use ouroboros::trading::time::{Interval, Timestamp};
use tempfile::TempDir;

use super::world::{assert_plain, choice, exact, pair};

/// The text of a dump, or an archive.
pub(crate) fn dump(bytes: &[u8]) {
    let told = read_as("csv", bytes);
    match &told {
        Ok(candles) => assert_eq!(Some(candles), written(bytes).as_ref()),
        Err(failure) => assert_refused(failure),
    }
    match read_as("zip", bytes) {
        Ok(candles) => assert!(is_rising(&candles)),
        Err(failure) => assert_refused(&failure),
    }
    for is_packed in [false, true] {
        let archive = zip(bytes, is_packed);
        let unpacked = read_as("zip", &archive);
        let are_equal = told.as_ref().ok() == unpacked.as_ref().ok();
        assert!(are_equal, "packed or not, it is the same dump: {unpacked:?}");
        // A flipped bit is found, or it is in a field without meaning.
        let mut flipped = archive;
        let at = choice(&flipped) % (flipped.len() * 8);
        flipped[at / 8] ^= 1 << (at % 8);
        if let Ok(candles) = read_as("zip", &flipped) {
            assert_eq!(Some(&candles), told.as_ref().ok(), "bit {at} of {}", flipped.len());
        }
    }
}

fn read_as(end: &str, bytes: &[u8]) -> Result<Vec<Candle>, Failure> {
    thread_local! { static FOLDER: OnceCell<TempDir> = const { OnceCell::new() } }
    let folder = FOLDER.with(|cell| {
        let folder = cell.get_or_init(|| tempfile::tempdir().expect("a folder for files"));
        folder.path().to_owned()
    });
    let path = folder.join("BTCUSDT-1h-2024-01").with_extension(end);
    std::fs::write(&path, bytes).expect("a disk with room");
    let hour = Interval::named("1h").expect("an interval");
    let candles = read(&folder, pair().symbol(Leg::Numerator), hour);
    std::fs::remove_file(path).expect("it was just written");
    candles
}

fn assert_refused(failure: &Failure) {
    assert_eq!(failure.kind, Kind::Untrusted);
    assert_plain(failure);
}

fn is_rising(candles: &[Candle]) -> bool {
    candles.windows(2).all(|two| two[0].open_time < two[1].open_time)
}

/// The candles as they stand there, read in another way.
fn written(bytes: &[u8]) -> Option<Vec<Candle>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let mut candles: BTreeMap<Timestamp, Candle> = BTreeMap::new();
    for (number, line) in text.lines().enumerate() {
        let is_header = number == 0 && line.starts_with(|c: char| c.is_ascii_alphabetic());
        if is_header || line.is_empty() {
            continue;
        }
        let columns: Vec<&str> = line.split(',').collect();
        let [time, open, high, low, close, ..] = columns[..] else { return None };
        let time: i64 = time.parse().ok()?;
        let time = if time < 100_000_000_000_000 { time } else { time / 1000 };
        let candle = Candle {
            open_time: Timestamp::from_millis(time)?,
            open: exact(open)?,
            high: exact(high)?,
            low: exact(low)?,
            close: exact(close)?,
        };
        let is_last = candles.last_key_value().is_none_or(|(last, _)| *last <= candle.open_time);
        let before = candles.insert(candle.open_time, candle);
        if columns.len() != 12 || !is_last || before.is_some_and(|before| before != candle) {
            return None;
        }
    }
    Some(candles.into_values().collect())
}

/// An archive with one file in it. **Source**: PKWARE APPNOTE 6.3.
fn zip(content: &[u8], is_packed: bool) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(content);
    let packed = if is_packed {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).expect("memory");
        encoder.finish().expect("memory")
    } else {
        content.to_vec()
    };
    let name = b"a.csv";
    let size = |length: usize| u32::try_from(length).expect("a small file").to_le_bytes();
    let method: &[u8] = if is_packed { &[8, 0] } else { &[0, 0] };
    let fields = [
        method,
        &[0; 4],
        &crc.sum().to_le_bytes(),
        &size(packed.len()),
        &size(content.len()),
        &[5, 0, 0, 0],
    ]
    .concat();
    let local = [&b"PK\x03\x04\x14\0\0\0"[..], &fields, name, &packed].concat();
    let entry = [&b"PK\x01\x02\x14\0\x14\0\0\0"[..], &fields, &[0; 14], name].concat();
    let counts = [&b"PK\x05\x06\0\0\0\0\x01\0\x01\0"[..], &size(entry.len())].concat();
    let end = [&counts[..], &size(local.len()), &[0, 0]].concat();
    [local, entry, end].concat()
}
