//! The built-in sample: thirty days of made-up 15-minute candles of BTC/USDT and ETH/USDT.
//!
//! Synthetic, and no kinder than the market: one price walks at random, the ratio of the two
//! walks too and is pulled back a little. It has a gap of five candles, and ten hours without a
//! trade. Only additions, multiplications and divisions are used, so that every machine makes the
//! same candles from the seed.

use rust_decimal::Decimal;

use crate::random::SplitMix64;
use crate::trading::candle::Candle;
use crate::trading::time::Timestamp;

/// The symbols that the sample has, and its timeframe.
pub const SYMBOLS: [&str; 2] = ["BTC/USDT", "ETH/USDT"];
/// The sample's timeframe.
pub const TIMEFRAME: &str = "15m";

/// Both legs, oldest first.
#[must_use]
pub fn candles() -> [Vec<Candle>; 2] {
    let mut random = SplitMix64(SEED);
    let (mut bitcoin, mut pull, mut fair_ratio) = (42_000.0, 0.0, 18.4);
    let mut before = [bitcoin, bitcoin / fair_ratio];
    let mut legs = [Vec::new(), Vec::new()];
    for number in 0..COUNT {
        let is_flat = FLAT.contains(&number);
        if !is_flat {
            bitcoin *= 1.0 + 0.0016 * bell(&mut random);
            fair_ratio *= 1.0 + 0.0011 * bell(&mut random);
            pull = 0.9 * pull + 0.0009 * bell(&mut random);
        }
        let close = [bitcoin, bitcoin / (fair_ratio * (1.0 + pull))];
        let open_time = Timestamp::EPOCH.plus_millis(START_MILLIS + number * INTERVAL_MILLIS);
        for (leg, candles) in legs.iter_mut().enumerate() {
            let (open, close) = (before[leg], close[leg]);
            let (high, low) = if is_flat {
                (open.max(close), open.min(close))
            } else {
                let wick = |random: &mut SplitMix64| 1.0 + 0.0006 * bell(random).abs();
                (open.max(close) * wick(&mut random), open.min(close) / wick(&mut random))
            };
            if !GAP.contains(&number) {
                let [open, high, low, close] = [open, high, low, close].map(cents);
                candles.push(Candle { open_time, open, high, low, close });
            }
        }
        before = close;
    }
    legs
}

/// Rounded to the tick of both symbols.
fn cents(price: f64) -> Decimal {
    #[expect(clippy::cast_possible_truncation, reason = "prices of the sample are far below 2^53")]
    let cents = (price * 100.0 + 0.5) as i64;
    Decimal::new(cents, 2)
}

/// About normal, mean 0, deviation 1: twelve uniform numbers less six (Irwin-Hall).
fn bell(random: &mut SplitMix64) -> f64 {
    (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0
}

const SEED: u64 = 20_240_101;
/// 2024-01-01T00:00:00Z.
const START_MILLIS: i64 = 1_704_067_200_000;
const COUNT: i64 = 2880;
const INTERVAL_MILLIS: i64 = 15 * 60 * 1000;
const GAP: std::ops::Range<i64> = 1100..1105;
const FLAT: std::ops::Range<i64> = 1900..1940;
