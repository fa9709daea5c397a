//! How much of a good result is owed to the search for it: whoever tries a hundred strategies and
//! shows the best has shown luck, too.
//!
//! Two measures. [`pbo`] asks how often the best of one half of history is worse than the median
//! in the other half. [`deflated_sharpe`] asks whether a Sharpe ratio is more than the best of so
//! many worthless strategies would have had. Returns are per candle; a Sharpe ratio here is never
//! annualised.

use super::normal;
use super::sums::{centred, count, dot, mean, sum_of};

/// Mean over sample standard deviation (n - 1), risk-free rate zero. Zero when nothing moves: a
/// strategy that never traded has earned nothing.
///
/// **Units**: per observation; times the square root of the observations a year it is annualised.
#[must_use]
pub fn sharpe(returns: &[f64]) -> f64 {
    let deviations = centred(returns);
    let squares = dot(&deviations, &deviations);
    ratio(mean(returns), squares, count(returns.len()))
}

// --- probability of backtest overfitting --------------------------------------------------------

/// What combinatorially symmetric cross-validation says.
#[derive(Debug, Clone, PartialEq)]
pub struct Overfitting {
    /// How often the best of one half ranks in the lower half of the other, 0 to 1: the share of
    /// `logits` that are zero or less. One half is what luck alone gives.
    pub probability: f64,
    /// ln(w / (1 - w)) for each way to halve the blocks, where w is rank / (N + 1) out of sample of
    /// the strategy that was best in sample.
    pub logits: Vec<f64>,
}

/// The probability of backtest overfitting, by combinatorially symmetric cross-validation: history
/// is cut into `blocks`, every half of them is in sample once and out of sample once, and a
/// strategy's performance is its [`sharpe`].
///
/// **Shape**: a row of returns per strategy, N ≥ 2 of them, all of the same length T, oldest
/// first; `blocks` even, 2 to 24 (16, in the paper's own example, makes 12,870 halves; 24 make 2.7
/// million), and at least two observations in each. Where T is no multiple of `blocks` the oldest
/// are left out. `None` otherwise. Logits come in pairs, a half and its complement.
///
/// **Ties**: of equals in sample the first is the best; out of sample equals share the mean of
/// their ranks.
///
/// **Speed**: halves × N × `blocks`, whatever T is, beyond one pass.
/// **Source**: Bailey, Borwein, López de Prado, Zhu, "The probability of backtest overfitting",
/// Journal of Computational Finance 20(4), 2017, section 3; zero counts as overfit, as in the R
/// package pbo.
#[must_use]
pub fn pbo<R: AsRef<[f64]>>(strategies: &[R], blocks: usize) -> Option<Overfitting> {
    let length = strategies.first()?.as_ref().len();
    assert!(strategies.iter().all(|row| row.as_ref().len() == length), "rows are equally long");
    let is_good = blocks.is_multiple_of(2) && (2..=24).contains(&blocks);
    if !is_good || strategies.len() < 2 || length / blocks < 2 {
        return None;
    }
    let used = length / blocks * blocks;
    let rows = strategies.iter().map(|row| Row::new(&row.as_ref()[length - used..], blocks));
    let rows: Vec<Row> = rows.collect();
    let half = count(used / 2);
    let performance =
        |chosen: u32| -> Vec<f64> { rows.iter().map(|row| row.sharpe(chosen, half)).collect() };
    let all = (1_u32 << blocks) - 1;
    let mut logits = Vec::new();
    // A half and its complement are looked at together; the half is the one with the first block.
    for chosen in (1..=all).step_by(2).filter(|half| half.count_ones() as usize == blocks / 2) {
        let (one, other) = (performance(chosen), performance(all ^ chosen));
        logits.extend([logit(&one, &other), logit(&other, &one)]);
    }
    let overfit = logits.iter().filter(|logit| **logit <= 0.0).count();
    Some(Overfitting { probability: count(overfit) / count(logits.len()), logits })
}

/// A strategy's returns, summed by blocks.
struct Row {
    /// The mean of all; the sums are of what differs from it, so that squares lose no digits.
    mean: f64,
    /// Sum and sum of squares of each block.
    blocks: Vec<[f64; 2]>,
}

impl Row {
    fn new(returns: &[f64], blocks: usize) -> Self {
        let mean = mean(returns);
        let sums = |block: &[f64]| {
            let sum = sum_of(block, block, |value, _| value - mean);
            [sum, sum_of(block, block, |value, _| (value - mean).powi(2))]
        };
        let blocks = returns.chunks_exact(returns.len() / blocks).map(sums).collect();
        Self { mean, blocks }
    }

    /// The Sharpe ratio over the blocks whose bits are set, `length` observations in all.
    fn sharpe(&self, chosen: u32, length: f64) -> f64 {
        let [mut sum, mut squares] = [0.0, 0.0];
        for (number, block) in self.blocks.iter().enumerate() {
            if chosen >> number & 1 == 1 {
                sum += block[0];
                squares += block[1];
            }
        }
        ratio(self.mean + sum / length, squares - sum * sum / length, length)
    }
}

/// Mean over deviation; zero when the deviation is rounding noise of the mean.
fn ratio(mean: f64, squares: f64, length: f64) -> f64 {
    let deviation = (squares.max(0.0) / (length - 1.0)).sqrt();
    if deviation > 1e-12 * mean.abs() { mean / deviation } else { 0.0 }
}

/// Where the best in sample ranks out of sample.
fn logit(in_sample: &[f64], out_of_sample: &[f64]) -> f64 {
    let mut best = 0;
    for (number, performance) in in_sample.iter().enumerate() {
        if *performance > in_sample[best] {
            best = number;
        }
    }
    let its = out_of_sample[best];
    let below = out_of_sample.iter().filter(|other| **other < its).count();
    #[expect(clippy::float_cmp, reason = "equals are those that are computed alike")]
    let equal = out_of_sample.iter().filter(|other| **other == its).count();
    // The mean of ranks below + 1 to below + equal, counted from 1.
    let rank = count(below) + f64::midpoint(count(equal), 1.0);
    (rank / (count(in_sample.len()) + 1.0 - rank)).ln()
}

// --- deflated Sharpe ratio ----------------------------------------------------------------------

/// A Sharpe ratio, and what is left of it when the search is taken into account.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Deflated {
    /// The Sharpe ratio as it was measured.
    pub sharpe: f64,
    /// What the best of so many worthless strategies would be expected to have.
    pub expected_maximum: f64,
    /// The deflated Sharpe ratio: the probability that the true ratio is above `expected_maximum`,
    /// 0 to 1. `None` when the returns are so skewed that the ratio's error has no estimate.
    pub probability: Option<f64>,
}

/// The deflated Sharpe ratio of the strategy `chosen` among all that were tried.
///
/// **Shape**: a row of returns per strategy, all of the same length, at least two observations.
/// `None` when there is no such row or too little in it. Trials count as independent, which is
/// stern: cells of one sweep are much alike, and fewer independent ones would deflate less.
/// **Source**: see [`deflated_sharpe`].
#[must_use]
pub fn deflate<R: AsRef<[f64]>>(strategies: &[R], chosen: usize) -> Option<Deflated> {
    let returns = strategies.get(chosen)?.as_ref();
    if returns.len() < 2 {
        return None;
    }
    let ratios: Vec<f64> = strategies.iter().map(|row| sharpe(row.as_ref())).collect();
    let deviations = centred(&ratios);
    let freedom = count(ratios.len()) - 1.0;
    let variance = if freedom > 0.0 { dot(&deviations, &deviations) / freedom } else { 0.0 };
    let expected_maximum = expected_maximum_sharpe(ratios.len(), variance);
    let shape = Shape::of(returns);
    let (sharpe, observations) = (ratios[chosen], returns.len());
    let probability = probabilistic_sharpe(sharpe, expected_maximum, observations, shape);
    Some(Deflated { sharpe, expected_maximum, probability })
}

/// How returns differ from normal ones, by population moments.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shape {
    /// The third standardised moment; 0 for normal returns.
    pub skewness: f64,
    /// The fourth standardised moment, not the excess: 3 for normal returns.
    pub kurtosis: f64,
}

impl Shape {
    /// That of normal returns.
    pub const NORMAL: Self = Self { skewness: 0.0, kurtosis: 3.0 };

    /// That of these returns; of normal ones when they never move.
    #[must_use]
    pub fn of(returns: &[f64]) -> Self {
        let deviations = centred(returns);
        let length = count(returns.len());
        let moment =
            |power: i32| sum_of(&deviations, &deviations, |value, _| value.powi(power)) / length;
        let variance = moment(2);
        if variance.sqrt() <= 1e-12 * mean(returns).abs() {
            return Self::NORMAL;
        }
        Self {
            skewness: moment(3) / variance.powf(1.5),
            kurtosis: moment(4) / (variance * variance),
        }
    }
}

/// The deflated Sharpe ratio: the probability that a strategy, found as the best of `trials` whose
/// Sharpe ratios had this `variance`, is better than the best of so many worthless ones.
///
/// **Units**: `sharpe` and the root of `variance` per observation. 0 to 1, `None` as for
/// [`probabilistic_sharpe`].
/// **Source**: Bailey, López de Prado, "The deflated Sharpe ratio", Journal of Portfolio Management
/// 40(5), 2014.
#[must_use]
pub fn deflated_sharpe(
    sharpe: f64,
    observations: usize,
    shape: Shape,
    trials: usize,
    variance: f64,
) -> Option<f64> {
    probabilistic_sharpe(sharpe, expected_maximum_sharpe(trials, variance), observations, shape)
}

/// The Sharpe ratio to expect of the best of `trials` independent strategies, none of which is
/// worth anything, when their ratios have this `variance`. Zero for a single trial.
///
/// **Source**: Bailey, López de Prado 2014, equation 1: √V ((1 - γ) Φ⁻¹(1 - 1/N) + γ Φ⁻¹(1 - 1/(N
/// e))), with the constant γ of Euler and Mascheroni. Within some percent of the true expectation
/// for two trials, and nearer for more.
#[must_use]
pub fn expected_maximum_sharpe(trials: usize, variance: f64) -> f64 {
    if trials < 2 {
        return 0.0;
    }
    // Φ⁻¹(1 - p) is -Φ⁻¹(p), which keeps the digits of a small p.
    let upper = |probability: f64| -normal::quantile(probability);
    let share = 1.0 / count(trials);
    let gamma = EULER_MASCHERONI;
    variance.sqrt() * ((1.0 - gamma) * upper(share) + gamma * upper(share / std::f64::consts::E))
}

/// The probability that the true Sharpe ratio is above `benchmark`.
///
/// **Units**: both ratios per observation. `None` with fewer than two observations, or when the
/// estimate of the ratio's variance is not positive, which takes a skewness and kurtosis that
/// hardly any returns have.
/// **Source**: Bailey, López de Prado, "The Sharpe ratio efficient frontier", Journal of Risk
/// 15(2), 2012: Φ((SR - SR*) √(T - 1) / √(1 - γ₃ SR + (γ₄ - 1) SR² / 4)).
#[must_use]
pub fn probabilistic_sharpe(
    sharpe: f64,
    benchmark: f64,
    observations: usize,
    shape: Shape,
) -> Option<f64> {
    let freedom = count(observations.checked_sub(1).filter(|freedom| *freedom > 0)?);
    let Shape { skewness, kurtosis } = shape;
    let variance = 1.0 - skewness * sharpe + (kurtosis - 1.0) / 4.0 * sharpe * sharpe;
    (variance > 0.0).then(|| normal::cdf((sharpe - benchmark) * freedom.sqrt() / variance.sqrt()))
}

const EULER_MASCHERONI: f64 = 0.577_215_664_901_532_9;
