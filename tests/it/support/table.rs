//! Candles from text: closes of both legs, oldest first.

use std::str::FromStr;

use rust_decimal::Decimal;

/// Closes of the numerator and the denominator of one candle.
pub(crate) type Row = (Decimal, Decimal);

/// Rows whose spread is each of the numbers, with the denominator at 3000.
///
/// `20 20 20 21` has, over a window of four, the mean 20.25, the deviation 0.5 and so z = 1.5: the
/// most that four values can reach, and exact in binary.
pub(crate) fn spreads(text: &str) -> Vec<Row> {
    let denominator = decimal("3000");
    text.split_whitespace().map(|spread| (decimal(spread) * denominator, denominator)).collect()
}

/// Rows from lines of `numerator denominator`.
pub(crate) fn closes(text: &str) -> Vec<Row> {
    let row = |line: &str| {
        let mut words = line.split_whitespace().map(decimal);
        let row = (words.next().expect("a numerator"), words.next().expect("a denominator"));
        assert_eq!(words.next(), None, "two closes a line: {line}");
        row
    };
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(row).collect()
}

/// A decimal from text that a test has written.
pub(crate) fn decimal(text: &str) -> Decimal {
    Decimal::from_str(text).unwrap_or_else(|error| panic!("{text} is no decimal: {error}"))
}

/// A price as Binance writes it.
pub(crate) fn eight(value: Decimal) -> String {
    format!("{value:.8}")
}
