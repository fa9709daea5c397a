//! Spread and z-score: the only file of the core where binary floats are computed with.
//!
//! The window is summed twice (mean, then deviations) and never updated in place, so that z
//! depends on the window's candles alone: a start by a timer, which sees twenty of them, and a
//! replay of a million agree to the last bit.

#![expect(clippy::float_arithmetic, reason = "a z-score is a statistic, not money")]

use rust_decimal::Decimal;

use super::candle::{Distrust, Legs, Window};
use super::market::Leg;
use super::time::{Interval, Timestamp};

/// How many sample standard deviations the newest spread is from the window's mean.
/// Always finite: where there is no deviation to speak of, there is no `ZScore`.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub struct ZScore(f64);

impl ZScore {
    /// A z-score read back from a file, if it is finite.
    #[must_use]
    pub fn new(value: f64) -> Option<Self> {
        value.is_finite().then_some(Self(value))
    }

    /// The number itself.
    #[must_use]
    pub fn value(self) -> f64 {
        self.0
    }
}

/// What a window says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reading {
    /// Numerator's close / denominator's close of the newest candle.
    pub spread: f64,
    /// Mean of the window's spreads, the newest included.
    pub mean: f64,
    /// Sample standard deviation (n - 1) of the window's spreads.
    pub std: f64,
    /// (spread - mean) / std; `None` when the deviation is zero or only rounding noise.
    pub z: Option<ZScore>,
}

/// One candle as the strategy saw it.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// The candle's open time.
    pub candle: Timestamp,
    /// What its window said; `None` for an earlier candle whose window could not be trusted.
    pub reading: Option<Reading>,
}

impl Observation {
    /// The candle's z-score, if it has one.
    #[must_use]
    pub fn z(&self) -> Option<ZScore> {
        self.reading.and_then(|reading| reading.z)
    }
}

/// When the strategy acts. See [`Thresholds::entry`] and the functions for each comparison.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Thresholds {
    /// Beyond it (strictly) an entry is made. Standard deviations, greater than `exit`.
    pub entry: f64,
    /// At it or past it a holding is sold. Standard deviations, at least 0.
    pub exit: f64,
    /// An entry needs the spread to be at least so far from its mean, in basis points of the mean.
    pub min_edge_bps: f64,
    /// Beyond it (strictly) a holding is sold at a loss.
    pub stop: Option<f64>,
}

impl Thresholds {
    /// Which leg is cheap enough to buy: the denominator when z is above the entry threshold,
    /// because the numerator is dear against it; the numerator when z is below its negative.
    #[must_use]
    pub fn cheap_leg(&self, z: ZScore) -> Option<Leg> {
        if z.0 > self.entry {
            Some(Leg::Denominator)
        } else if z.0 < -self.entry {
            Some(Leg::Numerator)
        } else {
            None
        }
    }

    /// Whether the spread came back, so that what is held on `leg` is sold.
    #[must_use]
    pub fn has_returned(&self, leg: Leg, z: ZScore) -> bool {
        match leg {
            Leg::Denominator => z.0 <= self.exit,
            Leg::Numerator => z.0 >= -self.exit,
        }
    }

    /// Whether the spread went on against what is held on `leg`, beyond the stop.
    #[must_use]
    pub fn is_stopped(&self, leg: Leg, z: ZScore) -> bool {
        self.stop.is_some_and(|stop| match leg {
            Leg::Denominator => z.0 > stop,
            Leg::Numerator => z.0 < -stop,
        })
    }

    /// Whether the spread is inside the entry threshold again.
    #[must_use]
    pub fn is_calm(&self, z: ZScore) -> bool {
        self.cheap_leg(z).is_none()
    }

    /// Whether the way back to the mean is long enough to pay for a trade.
    #[must_use]
    pub fn edge_is_enough(&self, reading: &Reading) -> bool {
        reading.edge_bps() >= self.min_edge_bps
    }
}

impl Reading {
    /// Distance of the spread from its mean, in basis points of the mean.
    #[must_use]
    pub fn edge_bps(&self) -> f64 {
        edge_bps(self.spread, self.mean)
    }
}

/// Looks at every candle after `since` up to `newest`, and always at `newest`.
///
/// **Shape**: oldest first, the last one is `newest` and has a reading.
///
/// **Errors**: what is wrong with the window of `newest`. An earlier candle whose window cannot be
/// trusted, or is not there any more, has no reading.
pub fn observe(
    legs: &Legs,
    interval: Interval,
    since: Option<Timestamp>,
    newest: Timestamp,
    length: usize,
) -> Result<Vec<Observation>, Distrust> {
    let window = Window::align(legs, interval, newest, length)?;
    let mut observations: Vec<Observation> = legs
        .candles(Leg::Numerator)
        .iter()
        .map(|candle| candle.open_time)
        .filter(|at| since.is_some_and(|since| *at > since) && *at < newest)
        .map(|at| Observation {
            candle: at,
            reading: Window::align(legs, interval, at, length).ok().map(|w| read(&w)),
        })
        .collect();
    observations.push(Observation { candle: newest, reading: Some(read(&window)) });
    Ok(observations)
}

/// What one window says.
#[must_use]
pub fn read(window: &Window) -> Reading {
    let closes = window.closes().iter();
    let spreads: Vec<f64> = closes.map(|[n, d]| spread(n.value(), d.value())).collect();
    reading(&spreads)
}

/// Numerator's close / denominator's close, each first made the double nearest to it.
#[must_use]
pub fn spread(numerator: Decimal, denominator: Decimal) -> f64 {
    nearest(numerator) / nearest(denominator)
}

/// Mean, sample deviation and z-score of the newest of `spreads`.
///
/// **Shape**: oldest first, at least two; the newest is included in mean and deviation.
///
/// `z` is `None` when the deviation is rounding noise. Each spread is a quotient of two rounded
/// numbers, so it carries a relative error of at most 3 × 2⁻⁵³ ≈ 3.4e-16; equal prices therefore
/// show a deviation of at most a few 1e-16 of the mean, and the sums of 500 of them add at most
/// 500 × 2⁻⁵³ ≈ 5.6e-14. A deviation up to 1e-12 of the mean is taken for noise; a real one of a
/// single tick of 0.01 on a price of 100,000 is a hundred thousand times that.
#[must_use]
pub fn reading(spreads: &[f64]) -> Reading {
    let [reading] = neighbours(spreads);
    reading
}

/// The readings of `LANES` windows, each one candle after the one before it, the same to the last
/// bit as [`reading`] of each: the sums of one window are made in its own order, but those of all
/// windows at once, which a processor does in little more time than one.
///
/// **Shape**: `spreads` holds the windows' candles, oldest first: `LANES - 1` more than a window.
#[must_use]
pub fn neighbours<const LANES: usize>(spreads: &[f64]) -> [Reading; LANES] {
    let Lanes::<LANES> { mean, std, z } = lanes(spreads);
    let newest = spreads.get(spreads.len() - LANES..).unwrap_or_default();
    std::array::from_fn(|lane| Reading {
        spread: newest[lane],
        mean: mean[lane],
        std: std[lane],
        z: ZScore::new(z[lane]),
    })
}

/// What several windows say, one number of all of them after the other.
#[derive(Debug, Clone, Copy)]
pub struct Lanes<const LANES: usize> {
    /// As [`Reading::mean`].
    pub mean: [f64; LANES],
    /// As [`Reading::std`].
    pub std: [f64; LANES],
    /// As [`Reading::z`]; not a finite number where there is none.
    pub z: [f64; LANES],
}

/// The same as [`neighbours`], number by number.
#[must_use]
pub fn lanes<const LANES: usize>(spreads: &[f64]) -> Lanes<LANES> {
    let length = spreads.len() - (LANES - 1);
    let count = count(length);
    let mut mean = [0.0; LANES];
    // The same candle of each window.
    for candle in spreads.windows(LANES) {
        let Some(candle) = candle.first_chunk::<LANES>() else { continue };
        for lane in 0..LANES {
            mean[lane] += candle[lane];
        }
    }
    for mean in &mut mean {
        *mean /= count;
    }
    let mut std = [0.0; LANES];
    for candle in spreads.windows(LANES) {
        let Some(candle) = candle.first_chunk::<LANES>() else { continue };
        for lane in 0..LANES {
            std[lane] += (candle[lane] - mean[lane]) * (candle[lane] - mean[lane]);
        }
    }
    for std in &mut std {
        *std = (*std / (count - 1.0)).sqrt();
    }
    let newest = spreads.get(length - 1..).unwrap_or_default();
    let mut z = [f64::NAN; LANES];
    for lane in 0..LANES {
        let score = (newest[lane] - mean[lane]) / std[lane];
        z[lane] = if std[lane] <= NOISE * mean[lane].abs() { f64::NAN } else { score };
    }
    Lanes { mean, std, z }
}

/// How far a spread is from a mean, in basis points of the mean.
#[must_use]
pub fn edge_bps(spread: f64, mean: f64) -> f64 {
    (spread - mean).abs() / mean * 10_000.0
}

/// The double nearest to a decimal.
#[must_use]
pub fn nearest(value: Decimal) -> f64 {
    let (mantissa, scale) = (value.mantissa(), value.scale());
    // Both are doubles exactly then, and a division rounds correctly.
    if let Ok(mantissa) = i64::try_from(mantissa)
        && mantissa.unsigned_abs() < 1 << 53
        && let Some(power) = POWERS.get(usize::try_from(scale).unwrap_or(usize::MAX))
    {
        #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "less than 2^53")]
        let mantissa = mantissa as f64;
        return mantissa / power;
    }
    value.to_string().parse().expect("a decimal is a number")
}

/// The double nearest to so many units of 0.00000001; `None` where that is not computed exactly.
#[must_use]
pub fn nearest_to_units(units: i64) -> Option<f64> {
    #[expect(clippy::as_conversions, clippy::cast_precision_loss, reason = "less than 2^53")]
    (units.unsigned_abs() < 1 << 53).then_some(units as f64 / POWERS[8])
}

fn count(length: usize) -> f64 {
    f64::from(u32::try_from(length).expect("a window has at most 500 candles"))
}

const NOISE: f64 = 1e-12;

/// The powers of ten that are doubles exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];
