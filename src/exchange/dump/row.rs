//! One row of a dump: twelve columns, of which six are read.
//!
//! [`candle`] takes whatever a row may be, and says what is wrong with one. [`common`] takes the form
//! that Binance writes, eight bytes at a time and five times as quickly, and leaves every other row to
//! it: where both have an answer, it is the same one, to the number of decimals.

use rust_decimal::Decimal;

use crate::exchange::wire;
use crate::trading::candle::Candle;
use crate::trading::time::Timestamp;

/// How many columns a row has, and a header.
pub(super) const COLUMNS: usize = 12;

/// The candle of a line.
///
/// **Errors**: what is wrong with the line.
pub(crate) fn candle(line: &str) -> Result<Candle, String> {
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

/// The candle of the first line of these bytes and what comes after it, if the line is all there and of
/// the common form. `None` says nothing against a line: the last ones of a chunk get it as well.
pub(super) fn common(bytes: &[u8]) -> Option<(Candle, &[u8])> {
    let (open_time, rest) = time(bytes)?;
    let (open, rest) = price(rest)?;
    let (high, rest) = price(rest)?;
    let (low, rest) = price(rest)?;
    let (close, rest) = price(rest)?;
    let rest = after_row(after_time(after_volume(rest)?)?)?;
    Some((Candle { open_time, open, high, low, close }, rest))
}

/// 13 digits or 16, and a comma.
#[inline]
fn time(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (value, rest) = if bytes.get(13) == Some(&b',') {
        // Eight digits and eight digits, of which three are the same.
        (eight(bytes)? / 1000 * TEN_TO[8] + eight(bytes.get(5..)?)?, bytes.get(14..)?)
    } else {
        (eight(bytes)? * TEN_TO[8] + eight(bytes.get(8..)?)?, after(b',', bytes.get(16..)?)?)
    };
    Some((Timestamp::from_millis_or_micros(i64::try_from(value).ok()?)?, rest))
}

/// What comes after 13 digits or 16, and a comma: whatever they are, they are a time.
#[inline]
fn after_time(bytes: &[u8]) -> Option<&[u8]> {
    let length = if bytes.get(13) == Some(&b',') { 13 } else { 16 };
    eight(bytes)?;
    eight(bytes.get(length - 8..)?)?;
    after(b',', bytes.get(length..)?)
}

/// One to eight digits, a dot, one to eight digits, and a comma.
#[inline]
fn price(bytes: &[u8]) -> Option<(Decimal, &[u8])> {
    let (count, whole) = digits(bytes)?;
    let rest = after(b'.', bytes.get(count..)?)?;
    // Binance writes eight decimals, so that the next column's place need not wait for their count.
    let (scale, decimals) = match eight(rest) {
        Some(decimals) => (8, decimals),
        None => digits(rest)?,
    };
    let rest = after(b',', rest.get(scale..)?)?;
    let mantissa = whole * TEN_TO[scale] + decimals;
    Some((Decimal::new(i64::try_from(mantissa).ok()?, u32::try_from(scale).ok()?), rest))
}

/// What comes after this byte, if that comes first.
#[inline]
fn after(byte: u8, bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [first, rest @ ..] if *first == byte => Some(rest),
        _ => None,
    }
}

/// The value of eight digits.
#[inline]
fn eight(bytes: &[u8]) -> Option<u64> {
    let values = word(bytes)? ^ every(b'0');
    (others(values) == 0).then(|| joined(values))
}

/// How many digits these bytes begin with, eight at most, and their value; `None` without any.
#[inline]
fn digits(bytes: &[u8]) -> Option<(usize, u64)> {
    let values = word(bytes)? ^ every(b'0');
    let count = others(values).trailing_zeros() / 8;
    // Zeros in front make them eight.
    let values = values.checked_shl(64 - 8 * count)?;
    Some((usize::try_from(count).ok()?, joined(values)))
}

/// The top bit of each byte that is no digit's value. Adding may carry into the next byte, but the
/// first of them is right.
#[inline]
fn others(values: u64) -> u64 {
    (values.wrapping_add(every(0x7f - 9)) | values) & every(0x80)
}

/// The number of eight digits: neighbours are joined to twos, fours, and one number.
/// **Source**: Lemire, "Quickly parsing eight digits", 2018.
#[inline]
fn joined(ones: u64) -> u64 {
    let twos = ones.wrapping_mul(10 * 0x100 + 1) >> 8;
    let fours = (twos & 0x00ff_00ff_00ff_00ff).wrapping_mul(100 * 0x1_0000 + 1) >> 16;
    (fours & 0x0000_ffff_0000_ffff).wrapping_mul(10_000 * 0x1_0000_0000 + 1) >> 32
}

/// What comes after the next comma of this line.
#[inline]
fn after_volume(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    loop {
        let word = ascii(rest)?;
        let found = equal(word, b',') | equal(word, b'\n');
        if found != 0 {
            return after(b',', rest.get(first(found)..)?);
        }
        rest = rest.get(8..)?;
    }
}

/// What comes after this line, of which five columns are left.
#[inline]
fn after_row(bytes: &[u8]) -> Option<&[u8]> {
    // Each byte counts the commas that were in its place of a word.
    let mut commas = 0;
    let mut rest = bytes.get(..MOST_BYTES).unwrap_or(bytes);
    let length = rest.len();
    loop {
        let word = ascii(rest)?;
        let found = equal(word, b',') >> 7;
        let end = equal(word, b'\n');
        if end != 0 {
            let before = (end & end.wrapping_neg()) - 1;
            let count = (commas + (found & before)).wrapping_mul(every(1)) >> 56;
            return bytes.get(length - rest.len() + first(end) + 1..).filter(|_| count == 4);
        }
        commas += found;
        rest = rest.get(8..)?;
    }
}

/// Eight bytes that are ASCII: what is not has to be looked at as text.
#[inline]
fn ascii(bytes: &[u8]) -> Option<u64> {
    let word = word(bytes)?;
    (word & every(0x80) == 0).then_some(word)
}

/// The top bit of each byte that is this one. Both have to be ASCII, then nothing is carried.
#[inline]
fn equal(word: u64, byte: u8) -> u64 {
    !(word ^ every(byte)).wrapping_add(every(0x7f)) & every(0x80)
}

/// Which byte is the first to have its top bit set.
#[inline]
fn first(found: u64) -> usize {
    usize::try_from(found.trailing_zeros() / 8).expect("one of eight")
}

/// The first byte is the lowest.
#[inline]
fn word(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.first_chunk()?))
}

#[inline]
fn every(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

/// So few that the number of commas in them fits into a byte. What is left of a row has about 50.
const MOST_BYTES: usize = 248;

const TEN_TO: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str = "1735689600000,93576.00000000,93610.93000000,93537.50000000,93610.93000000,\
        8.21827000,1735689659999,769087.96234440,2631,3.95157000,369757.32652890,0\n";
    const MICROS: &str = "1735689600000000,0.00001234,12345678.00000000,9.5,1234.56789012,\
        123456789012.00000000,1735689659999999,0,0,0,0,0\r\n";

    #[test]
    fn what_binance_writes_is_of_the_common_form() {
        for row in [ROW, MICROS] {
            let bytes = [row, ROW].concat();
            let (candle, rest) = common(bytes.as_bytes()).expect("a common row");
            assert_eq!(rest, ROW.as_bytes());
            assert_eq!(told(&Ok(candle)), told(&super::candle(row.trim_end())));
        }
    }

    #[test]
    fn wherever_a_byte_is_another_both_readings_agree() {
        let mut common_ones = 0;
        for row in [ROW, MICROS] {
            let bytes = [row, ROW].concat().into_bytes();
            for at in 0..row.len() {
                for byte in 0..=u8::MAX {
                    let mut changed = bytes.clone();
                    changed[at] = byte;
                    common_ones += usize::from(agree(&changed));
                    changed.remove(at);
                    common_ones += usize::from(agree(&changed));
                }
            }
        }
        assert!(common_ones > 50_000, "{common_ones}");
    }

    #[test]
    fn however_many_digits_there_are_both_readings_agree() {
        let digits = "1234567890123456789012345678901";
        for whole in 0..=30 {
            for decimals in 0..=30 {
                let price = format!("{}.{}", &digits[..whole], &digits[..decimals]);
                let is_common = (1..=8).contains(&whole) && (1..=8).contains(&decimals);
                let row = ROW.replace("93537.50000000", &price) + ROW;
                assert_eq!(agree(row.as_bytes()), is_common, "{price}");
                let row = ROW.replace("1735689659999", &digits[..whole]) + ROW;
                assert_eq!(agree(row.as_bytes()), whole == 13 || whole == 16, "{whole} digits");
            }
        }
    }

    #[test]
    fn every_time_of_the_common_form_is_one() {
        for time in ["0000000000000", "9999999999999", "0000000000000000", "9999999999999999"]
            .into_iter()
            .chain(["0099999999999999", "0100000000000000"])
        {
            for column in ["1735689600000", "1735689659999"] {
                assert!(agree((ROW.replace(column, time) + ROW).as_bytes()), "{time}");
            }
        }
    }

    #[test]
    fn however_many_columns_there_are_both_readings_agree() {
        for columns in 0..600 {
            let row = ROW.trim_end().to_owned() + &",".repeat(columns) + "\n" + ROW;
            assert_eq!(agree(row.as_bytes()), columns == 0, "{columns} more");
            let row = ROW.replace(",0\n", &format!(",{}\n", "0".repeat(columns))) + ROW;
            agree(row.as_bytes());
        }
    }

    #[test]
    fn half_a_row_is_not_of_the_common_form() {
        for length in 0..ROW.len() {
            assert_eq!(common(&ROW.as_bytes()[..length]), None);
        }
    }

    /// Whether the first line is of the common form; what is read of it has to be what stands there.
    #[track_caller]
    fn agree(bytes: &[u8]) -> bool {
        let Some((candle, rest)) = common(bytes) else { return false };
        let length = bytes.iter().position(|byte| *byte == b'\n').expect("a line feed");
        assert_eq!(rest, &bytes[length + 1..]);
        let line = std::str::from_utf8(&bytes[..length]).expect("text");
        let line = line.strip_suffix('\r').unwrap_or(line);
        assert_eq!(told(&Ok(candle)), told(&super::candle(line)), "{line}");
        true
    }

    /// With every decimal that was written, which equality does not look at.
    fn told(candle: &Result<Candle, String>) -> String {
        format!("{candle:?}")
    }
}
