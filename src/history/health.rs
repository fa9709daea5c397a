//! How a pair behaves: whether its legs move together, and whether their ratio comes back.
//!
//! Measures of what was, from closes alone; none of them says what will be, and nothing here
//! decides. Candles are taken as they follow one another, so closes on both sides of a gap are
//! neighbours. Logarithms are natural.

use super::sums::{centred, count, dot, mean, steps, sum_of};
use super::unit_root::{self, UnitRoot, is_noise};

/// The health of a pair over some candles. A figure that can't be had is `None`: there are too few
/// candles for it, or what it divides by does not move.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Health {
    /// How many candles it is about.
    pub candles: usize,
    /// Pearson's correlation of the legs' logarithmic returns, -1 to 1.
    pub correlation: Option<f64>,
    /// The regression of one leg on the other.
    pub hedge: Option<Hedge>,
    /// The test of Engle and Granger on the logarithms of the closes: whether what `hedge` leaves
    /// over comes back. `None` also when it leaves hardly anything, see [`Hedge::r_squared`].
    ///
    /// **Source**: statsmodels `tsa.stattools.coint(numerator, denominator, trend="c",
    /// autolag="aic")`, after Engle, Granger, Econometrica 55(2), 1987.
    pub cointegration: Option<UnitRoot>,
    /// The augmented Dickey-Fuller test of the ratio, see [`unit_root::dickey_fuller`].
    pub stationarity: Option<UnitRoot>,
    /// In how many candles half of a deviation of the ratio is gone, see [`half_life`].
    pub half_life: Option<f64>,
    /// The Hurst exponent of the ratio: below 0.5 it comes back, above it goes on, see [`hurst`].
    pub hurst: Option<f64>,
}

/// log numerator = `constant` + `ratio` × log denominator + residual, by least squares.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hedge {
    /// By how many percent the numerator moves when the denominator moves by one.
    pub ratio: f64,
    /// Its logarithm when the denominator costs one.
    pub constant: f64,
    /// The share of the numerator's variance that the denominator explains, 0 to 1. Above
    /// 1 - 1.5e-6 one leg is a copy of the other, and statsmodels too refuses the test of
    /// Engle and Granger (its statistic is then minus infinity).
    pub r_squared: f64,
}

/// The health of a pair with these closes.
///
/// **Units**: quote asset per base asset; only ratios matter. **Shape**: oldest first, both legs
/// equally long. `None` when a price is not a positive number, or there are fewer than three.
///
/// **Speed**: mostly that of the two tests, n^1.25, and of 99 passes for [`hurst`]: a thousand
/// candles take a quarter of a millisecond, a million half a second. Nothing is capped.
#[must_use]
pub fn health(numerator: &[f64], denominator: &[f64]) -> Option<Health> {
    assert_eq!(numerator.len(), denominator.len(), "legs are aligned");
    let is_price = |price: &f64| price.is_finite() && *price > 0.0;
    let candles = numerator.len();
    if candles < 3 || !numerator.iter().chain(denominator).all(is_price) {
        return None;
    }
    let logs = [numerator, denominator].map(logarithms);
    let fit = hedge(&logs[0], &logs[1]);
    let ratio: Vec<f64> = numerator.iter().zip(denominator).map(|(n, d)| n / d).collect();
    Some(Health {
        candles,
        correlation: correlation(&steps(&logs[0]), &steps(&logs[1])),
        hedge: fit.as_ref().map(|(hedge, _)| *hedge),
        cointegration: fit
            .filter(|(hedge, _)| hedge.r_squared < 1.0 - 100.0 * f64::EPSILON.sqrt())
            .and_then(|(_, residuals)| unit_root::of_residuals(&residuals)),
        stationarity: unit_root::dickey_fuller(&ratio),
        half_life: half_life(&ratio),
        hurst: hurst(&ratio),
    })
}

/// The health of one window among many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rolling {
    /// The index of the window's newest candle.
    pub newest: usize,
    /// The health of the window.
    pub health: Health,
}

/// The health of every window of `length` candles, `step` candles apart, the last of which ends
/// with the newest candle. Each window is looked at by itself, as if there were no other.
///
/// **Shape**: oldest first. Empty when there are fewer candles than a window has; a window with a
/// bad price is left out.
#[must_use]
pub fn rolling(numerator: &[f64], denominator: &[f64], length: usize, step: usize) -> Vec<Rolling> {
    assert!(step > 0, "windows move on");
    let first = numerator.len().checked_sub(length).map(|most| most % step);
    let ends = first.map_or(0..0, |first| first + length..numerator.len() + 1);
    let windows = ends.step_by(step).map(|end| (end, end - length..end));
    let looked_at = windows.filter_map(|(end, window)| {
        let health = health(&numerator[window.clone()], &denominator[window])?;
        Some(Rolling { newest: end - 1, health })
    });
    looked_at.collect()
}

/// Pearson's correlation; `None` when one of them never moves.
fn correlation(a: &[f64], b: &[f64]) -> Option<f64> {
    let is_still = |values: &[f64]| is_noise(&centred(values), mean(values));
    if is_still(a) || is_still(b) {
        return None;
    }
    let (a, b) = (centred(a), centred(b));
    Some((dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt()).clamp(-1.0, 1.0))
}

/// Least squares, and what they leave over. `None` when a leg never moves.
fn hedge(numerator: &[f64], denominator: &[f64]) -> Option<(Hedge, Vec<f64>)> {
    let is_still = |leg: &[f64]| leg.iter().all(|close| close.total_cmp(&leg[0]).is_eq());
    if is_still(numerator) || is_still(denominator) {
        return None;
    }
    let (y, x) = (centred(numerator), centred(denominator));
    let ratio = dot(&x, &y) / dot(&x, &x);
    let residuals: Vec<f64> = y.iter().zip(&x).map(|(y, x)| y - ratio * x).collect();
    let constant = mean(numerator) - ratio * mean(denominator);
    let r_squared = 1.0 - dot(&residuals, &residuals) / dot(&y, &y);
    Some((Hedge { ratio, constant, r_squared }, residuals))
}

/// In how many steps half of a deviation is gone: with x(t) - x(t-1) = a + b x(t-1) by least
/// squares it is -ln 2 / ln(1 + b).
///
/// **Units**: steps of the series, candles. `None` when b ≥ 0, nothing comes back; when b ≤ -1, it
/// is back before the next candle; and when there is nothing but rounding noise.
#[must_use]
pub fn half_life(series: &[f64]) -> Option<f64> {
    let before = &series[..series.len().checked_sub(1)?];
    let levels = centred(before);
    if levels.len() < 2 || is_noise(&levels, mean(before)) {
        return None;
    }
    let pull = dot(&levels, &centred(&steps(series))) / dot(&levels, &levels);
    (pull < 0.0 && pull > -1.0).then(|| -std::f64::consts::LN_2 / pull.ln_1p())
}

/// The Hurst exponent as the scaling of differences: the slope, by least squares, of the logarithm
/// of std(x(t + lag) - x(t)) on the logarithm of the lag, for every lag from 2 to 100, or to a
/// quarter of the series where that is less. 0.5 for a random walk, near 0 for what comes back at
/// once; a trend has no part in it, because deviations are from the mean difference.
///
/// **Shape**: oldest first. `None` with fewer than 40 values, or when they are only rounding noise.
///
/// **Source**: the generalized Hurst exponent H(q) with q = 2, in Di Matteo, "Multi-scaling in
/// finance", Quantitative Finance 7(1), 2007. The lags are the ones in common use, not the paper's:
/// an exponent over other lags is another number.
#[must_use]
pub fn hurst(series: &[f64]) -> Option<f64> {
    let centred_series = centred(series);
    let most = (series.len() / 4).min(100);
    if most < 10 || is_noise(&centred_series, mean(series)) {
        return None;
    }
    let (sizes, spreads): (Vec<f64>, Vec<f64>) =
        (2..=most).map(|lag| (count(lag).ln(), deviation(&centred_series, lag).ln())).unzip();
    let (x, y) = (centred(&sizes), centred(&spreads));
    Some(dot(&x, &y) / dot(&x, &x)).filter(|slope| slope.is_finite())
}

/// The population standard deviation of the differences over `lag` steps.
fn deviation(series: &[f64], lag: usize) -> f64 {
    let (early, late) = (&series[..series.len() - lag], &series[lag..]);
    // All but the ends cancel in the sum of the differences.
    let ends = series[series.len() - lag..].iter().zip(&series[..lag]);
    let mean = ends.map(|(last, first)| last - first).sum::<f64>() / count(early.len());
    let squares = sum_of(late, early, |late, early| (late - early - mean).powi(2));
    (squares / count(early.len())).sqrt()
}

fn logarithms(prices: &[f64]) -> Vec<f64> {
    prices.iter().map(|price| price.ln()).collect()
}
