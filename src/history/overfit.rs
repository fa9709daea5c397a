//! How far the best of many settings may be luck.
//!
//! **Sources**: Bailey, Borwein, Lopez de Prado, Zhu, "The probability of backtest overfitting",
//! Journal of Computational Finance 20(4), 2017; Bailey, Lopez de Prado, "The deflated Sharpe ratio:
//! correcting for selection bias, backtest overfitting and non-normality", Journal of Portfolio
//! Management 40(5), 2014.

#![expect(clippy::float_arithmetic, reason = "probabilities are statistics, not money")]

use rust_decimal::Decimal;

use crate::trading::strategy::nearest;

/// Sums over returns, of which a Sharpe ratio is made.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    count: f64,
    first: f64,
    second: f64,
}

impl Sums {
    fn of(returns: &[f64]) -> Self {
        let first = returns.iter().sum();
        let second = returns.iter().map(|it| it * it).sum();
        Self { count: float(returns.len()), first, second }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            first: self.first + other.first,
            second: self.second + other.second,
        }
    }

    /// Mean / sample deviation; nothing where nothing ever changed.
    fn sharpe(self) -> f64 {
        let mean = self.first / self.count;
        let variance = (self.second - self.first * mean) / (self.count - 1.0);
        let ratio = mean / variance.sqrt();
        if ratio.is_finite() { ratio } else { 0.0 }
    }
}

/// The probability of backtest overfitting, by combinatorially symmetric cross-validation: how often
/// the strategy that was best on one half of the blocks did no better than the median on the other.
///
/// **Shape**: a list of returns for each strategy, all of one length. `blocks` is even; it is cut
/// down to what the returns are enough for.
/// `None` for fewer than two strategies, or fewer than two returns a block.
#[must_use]
pub fn probability(strategies: &[&[f64]], blocks: usize) -> Option<f64> {
    let length = strategies.first()?.len();
    let blocks = blocks.min(length / 2) & !1;
    if strategies.len() < 2 || blocks < 2 {
        return None;
    }
    let cut = |block: usize| length * block / blocks;
    let sums: Vec<Vec<Sums>> = (0..blocks)
        .map(|block| {
            let returns = |it: &&[f64]| Sums::of(&it[cut(block)..cut(block + 1)]);
            strategies.iter().map(returns).collect()
        })
        .collect();
    let (mut all, mut overfitted) = (0_u32, 0_u32);
    for inside in 0..1_u32 << blocks {
        if inside.count_ones() != u32::try_from(blocks / 2).expect("few") {
            continue;
        }
        let ratios = |inside: u32| -> Vec<f64> {
            let chosen = (0..blocks).filter(|block| inside >> block & 1 == 1);
            let mut totals = vec![Sums::default(); strategies.len()];
            for block in chosen {
                for (total, sums) in totals.iter_mut().zip(&sums[block]) {
                    *total = total.plus(*sums);
                }
            }
            totals.into_iter().map(Sums::sharpe).collect()
        };
        let (before, after) = (ratios(inside), ratios(!inside));
        let mut best = 0;
        for (number, ratio) in before.iter().enumerate() {
            if *ratio > before[best] {
                best = number;
            }
        }
        // Its relative rank among all, the same ratios sharing theirs; the median is a half.
        let below = after.iter().filter(|ratio| **ratio < after[best]).count();
        let alike = after.iter().filter(|ratio| ratio.to_bits() == after[best].to_bits()).count();
        let rank = float(below) + f64::midpoint(float(alike), 1.0);
        all += 1;
        overfitted += u32::from(rank / (float(strategies.len()) + 1.0) <= 0.5);
    }
    Some(f64::from(overfitted) / f64::from(all))
}

/// The deflated Sharpe ratio: the probability that the true ratio of the best of many strategies is
/// above nothing, given that the best of as many that are worth nothing would show one as well.
///
/// **Shape**: the returns of the best, and the Sharpe ratio of each strategy that was tried, all of
/// the same frequency and not annualised. `None` where nothing ever changed.
#[must_use]
pub fn deflated_sharpe(returns: &[f64], tried: &[f64]) -> Option<f64> {
    let sums = Sums::of(returns);
    let (ratio, mean) = (sums.sharpe(), sums.first / sums.count);
    let moment =
        |power: i32| returns.iter().map(|it| (it - mean).powi(power)).sum::<f64>() / sums.count;
    let deviation = moment(2).sqrt();
    let (skewness, kurtosis) = (moment(3) / deviation.powi(3), moment(4) / deviation.powi(4));
    let of_tried = Sums::of(tried);
    let middle = of_tried.first / of_tried.count;
    let variance =
        tried.iter().map(|it| (it - middle) * (it - middle)).sum::<f64>() / (of_tried.count - 1.0);
    let probability = deflated(ratio, sums.count, skewness, kurtosis, of_tried.count, variance);
    probability.is_finite().then_some(probability)
}

/// The same of numbers, as the paper has them: the best one's ratio, how many returns it is of, their
/// skewness and kurtosis (3 for a normal distribution), how many strategies were tried, and the
/// variance of their ratios.
#[must_use]
pub fn deflated(
    ratio: f64,
    count: f64,
    skewness: f64,
    kurtosis: f64,
    tried: f64,
    variance: f64,
) -> f64 {
    let expected = if tried > 1.0 { variance.sqrt() * expected_maximum(tried) } else { 0.0 };
    let spread = 1.0 - skewness * ratio + (kurtosis - 1.0) / 4.0 * ratio * ratio;
    normal((ratio - expected) * (count - 1.0).sqrt() / spread.sqrt())
}

/// About the largest of so many independent numbers that are normally distributed.
fn expected_maximum(tried: f64) -> f64 {
    (1.0 - EULER) * quantile(1.0 - 1.0 / tried)
        + EULER * quantile(1.0 - 1.0 / (tried * std::f64::consts::E))
}

/// The normal distribution: the probability of less than `x`.
fn normal(x: f64) -> f64 {
    libm::erfc(-x / std::f64::consts::SQRT_2) / 2.0
}

/// Where [`normal`] has this value, by halving: exact to the last bits, and needed twice.
fn quantile(probability: f64) -> f64 {
    let (mut low, mut high) = (-40.0, 40.0);
    for _ in 0..80 {
        let middle = f64::midpoint(low, high);
        if normal(middle) < probability { low = middle } else { high = middle }
    }
    f64::midpoint(low, high)
}

/// The mean / sample deviation of returns; nothing where nothing ever changed.
#[must_use]
pub fn sharpe(returns: &[f64]) -> f64 {
    Sums::of(returns).sharpe()
}

fn float(count: usize) -> f64 {
    nearest(Decimal::from(count))
}

/// The Euler-Mascheroni constant.
const EULER: f64 = 0.577_215_664_901_532_9;
