//! What is owed to luck, against numbers that were not made by this program: the papers' own
//! steps in numpy and 40 digits of mpmath (`tests/oracle/history.py`), and what must hold anyway.

use ouroboros::history::bootstrap::interval_of_mean;
use ouroboros::history::normal;
use ouroboros::history::overfit::{
    Overfitting, Shape, deflate, deflated_sharpe, expected_maximum_sharpe, pbo,
    probabilistic_sharpe, sharpe,
};
use ouroboros::random::SplitMix64;
use serde::Deserialize;
use serde::de::DeserializeOwned;

// --- probability of backtest overfitting --------------------------------------------------------

#[test]
fn halves_rank_as_they_do_by_brute_force() {
    let matrices: Vec<Matrix> = cases();
    assert!(matrices.len() >= 5, "the fixture was read");
    for matrix in matrices {
        let name = &matrix.name;
        let Overfitting { probability, mut logits } =
            pbo(&matrix.strategies, matrix.blocks).expect("a good matrix");
        logits.sort_by(f64::total_cmp);
        assert_eq!(logits.len(), matrix.logits.len(), "{name}");
        for (is, expected) in logits.iter().zip(&matrix.logits) {
            assert!((is - expected).abs() <= 1e-12, "{name}: {is} for {expected}");
        }
        assert!((probability - matrix.probability).abs() <= 1e-12, "{name}: {probability}");
    }
}

#[test]
fn luck_alone_is_worse_than_the_median_half_of_the_time() {
    let mut total = 0.0;
    for seed in 0..300 {
        let mut random = SplitMix64(seed);
        let strategies: Vec<_> = (0..20).map(|_| noise(&mut random, 80, 0.0)).collect();
        total += pbo(&strategies, 8).expect("a good matrix").probability / 300.0;
    }
    // A single matrix deviates by about 0.25, the mean of 300 by 0.015.
    assert!((total - 0.5).abs() < 0.05, "{total}");
}

#[test]
fn what_is_truly_better_is_not_called_luck() {
    for seed in 0..30 {
        let mut random = SplitMix64(seed);
        let mut strategies: Vec<_> = (0..20).map(|_| noise(&mut random, 160, 0.0)).collect();
        strategies[7] = noise(&mut random, 160, 1.0);
        let is = pbo(&strategies, 8).expect("a good matrix").probability;
        assert!(is < 0.01, "seed {seed}: {is}");
    }
}

#[test]
fn what_won_because_it_will_lose_is_called_overfit() {
    // Each earns in one block what it loses in another, so the best of a half is the other's worst.
    let mut random = SplitMix64(5);
    let strategies: Vec<Vec<f64>> = (0..8)
        .map(|lucky| {
            let mut returns = noise(&mut random, 80, 0.0);
            returns[lucky * 10..][..10].iter_mut().for_each(|value| *value += 2.0);
            returns[(lucky + 4) % 8 * 10..][..10].iter_mut().for_each(|value| *value -= 2.0);
            returns
        })
        .collect();
    let is = pbo(&strategies, 8).expect("a good matrix").probability;
    assert!(is > 0.9, "{is}");
}

#[test]
fn the_oldest_rows_that_fill_no_block_are_left_out() {
    let mut random = SplitMix64(9);
    let whole: Vec<_> = (0..5).map(|_| noise(&mut random, 46, 0.0)).collect();
    let newest: Vec<&[f64]> = whole.iter().map(|row| &row[6..]).collect();
    assert_eq!(pbo(&whole, 8), pbo(&newest, 8));
    assert!(pbo(&whole, 8).is_some());
}

#[test]
fn of_equals_the_first_is_taken() {
    // The first two are alike in the older half; in the newer one the first gains, the other loses.
    let strategies = [[3.0, 4.0, 1.0, 2.0], [3.0, 4.0, -2.0, -1.0], [-1.0, 1.0, 0.5, -0.5]];
    let logits = pbo(&strategies, 2).expect("a good matrix").logits;
    // It ranks third of three, which is the best, and shares the second and third rank the other way round.
    assert_eq!(logits, [3.0_f64.ln(), (2.5_f64 / 1.5).ln()]);
}

#[test]
fn every_half_is_in_sample_once() {
    let mut random = SplitMix64(10);
    let strategies: Vec<_> = (0..3).map(|_| noise(&mut random, 64, 0.0)).collect();
    for (blocks, halves) in [(2, 2), (4, 6), (8, 70), (16, 12_870)] {
        assert_eq!(pbo(&strategies, blocks).expect("a good matrix").logits.len(), halves);
    }
    for blocks in [0, 1, 7, 26, 34] {
        assert_eq!(pbo(&strategies, blocks), None, "{blocks} blocks");
    }
    assert_eq!(pbo(&strategies[..1], 8), None, "nothing to choose from");
    assert_eq!(pbo::<Vec<f64>>(&[], 8), None);
    let short: Vec<_> = strategies.iter().map(|row| &row[..15]).collect();
    assert_eq!(pbo(&short, 8), None, "one observation has no deviation");
}

// --- deflated Sharpe ratio ----------------------------------------------------------------------

#[test]
fn the_example_of_the_paper() {
    // Daily returns of five years, 250 days each; ratios and their variance are given a year.
    let (ratio, days, variance) = (2.5 / 250_f64.sqrt(), 1250, 0.5 / 250.0);
    let shape = Shape { skewness: -3.0, kurtosis: 10.0 };
    let deflated = |shape, trials| {
        let is = deflated_sharpe(ratio, days, shape, trials, variance).expect("it has one");
        (is * 1e4).round() / 1e4
    };
    assert_eq!(format!("{:.4}", expected_maximum_sharpe(100, variance)), "0.1132");
    assert_eq!(format!("{:.4}", deflated(shape, 100)), "0.9004");
    assert_eq!(format!("{:.4}", deflated(shape, 46)), "0.9505");
    assert_eq!(format!("{:.4}", deflated(Shape::NORMAL, 88)), "0.9505");
}

#[test]
fn deflation_is_that_of_40_digits() {
    let [deflation]: [Deflation; 1] = cases().try_into().ok().expect("one of them");
    for [ratio, observations, skewness, kurtosis, trials, variance, maximum, expected] in
        deflation.cases
    {
        let [observations, trials] = [observations, trials].map(whole);
        let shape = Shape { skewness, kurtosis };
        near("maximum", expected_maximum_sharpe(trials, variance), maximum, 1e-14);
        let is = deflated_sharpe(ratio, observations, shape, trials, variance);
        near("deflated", is.expect("it has one"), expected, 1e-12);
    }
}

#[test]
fn a_matrix_deflates_by_its_own_moments() {
    let mut seen = 0;
    for matrix in cases::<Matrix>() {
        let (name, rows) = (&matrix.name, &matrix.strategies);
        for (chosen, expected) in matrix.deflated.iter().flatten().enumerate() {
            let shape = Shape::of(&rows[chosen]);
            let [skewness, kurtosis] = matrix.shapes.as_ref().expect("both or none")[chosen];
            near(name, shape.skewness, skewness, 1e-11);
            near(name, shape.kurtosis, kurtosis, 1e-12);
            let is = deflate(rows, chosen).expect("it has one");
            near(name, is.sharpe, sharpe(&rows[chosen]), 0.0);
            near(name, is.expected_maximum, expected[0], 1e-12);
            near(name, is.probability.expect("ordinary returns"), expected[1], 1e-10);
            seen += 1;
        }
    }
    assert!(seen >= 20, "{seen} strategies were compared");
}

#[test]
fn a_single_trial_is_not_deflated_and_no_trade_is_worth_nothing() {
    assert_eq!(expected_maximum_sharpe(1, 0.5).to_bits(), 0.0_f64.to_bits());
    let returns = [[0.01, -0.005, 0.02, 0.0, 0.004]];
    let is = deflate(&returns, 0).expect("it has one");
    let alone = probabilistic_sharpe(is.sharpe, 0.0, 5, Shape::of(&returns[0]));
    assert_eq!((is.expected_maximum.to_bits(), is.probability), (0, alone));
    assert_eq!(sharpe(&[0.0; 9]).to_bits(), 0.0_f64.to_bits());
    let idle = deflate(&[[0.0; 9]], 0).expect("it has one");
    assert_eq!(idle.probability, Some(0.5));
    assert_eq!(deflate(&returns, 1), None);
    assert_eq!(deflate(&[[0.01]], 0), None);
    let odd = Shape { skewness: 9.0, kurtosis: 3.0 };
    assert_eq!(probabilistic_sharpe(1.0, 0.0, 100, odd), None);
}

#[test]
fn the_formula_for_the_best_of_many_is_what_many_draw() {
    let mut random = SplitMix64(77);
    let mut best = || (0..50).map(|_| bell(&mut random)).fold(f64::MIN, f64::max);
    let mean = (0..4000).map(|_| best()).sum::<f64>() / 4000.0;
    let formula = expected_maximum_sharpe(50, 1.0);
    assert!((mean / formula - 1.0).abs() < 0.03, "{mean} for {formula}");
}

// --- the normal distribution --------------------------------------------------------------------

#[test]
fn the_normal_distribution_is_that_of_40_digits() {
    let [expected]: [Normal; 1] = cases().try_into().ok().expect("one of them");
    assert!(expected.cdf.len() > 100 && expected.quantile.len() > 15, "the fixture was read");
    for [x, probability] in expected.cdf {
        near(&format!("cdf of {x}"), normal::cdf(x), probability, 2e-15);
    }
    for [probability, x] in expected.quantile {
        near(&format!("quantile of {probability}"), normal::quantile(probability), x, 2e-15);
    }
}

#[test]
fn the_normal_distribution_has_its_ends() {
    assert_eq!([-40.0, f64::NEG_INFINITY].map(normal::cdf).map(f64::to_bits), [0, 0]);
    assert_eq!([40.0, f64::INFINITY].map(normal::cdf).map(f64::to_bits), [1.0_f64.to_bits(); 2]);
    let ends = [f64::NEG_INFINITY, f64::INFINITY].map(f64::to_bits);
    assert_eq!([0.0, 1.0].map(normal::quantile).map(f64::to_bits), ends);
    assert!([-0.1, 1.1, f64::NAN].map(normal::quantile).iter().all(|x| x.is_nan()));
    assert!(normal::cdf(f64::NAN).is_nan());
}

// --- bootstrap ----------------------------------------------------------------------------------

#[test]
fn an_interval_is_that_of_a_second_implementation() {
    let [expected]: [Bootstrap; 1] = cases().try_into().ok().expect("one of them");
    let is = interval_of_mean(&expected.values, 0.95, 42).expect("enough values");
    near("low", is.low, expected.low, 1e-12);
    near("high", is.high, expected.high, 1e-12);
    assert!(is.low < is.mean && is.mean < is.high);
    assert_eq!(interval_of_mean(&expected.values, 0.95, 42), Some(is), "the same seed");
    assert_ne!(interval_of_mean(&expected.values, 0.95, 43), Some(is), "another seed");
}

#[test]
fn many_values_have_the_interval_of_the_central_limit() {
    let values = noise(&mut SplitMix64(3), 5001, 4.0);
    let is = interval_of_mean(&values, 0.95, 1).expect("enough values");
    let resampled = interval_of_mean(&values[..5000], 0.95, 1).expect("enough values");
    for [one, other] in [[is.low, resampled.low], [is.high, resampled.high]] {
        assert!((one - other).abs() < 0.05 * (is.high - is.low), "{is:?} and {resampled:?}");
    }
    // 1.96 standard errors on each side; the deviation of the noise is 1.
    near("width", is.high - is.low, 2.0 * 1.96 / 5001_f64.sqrt(), 0.03);
}

#[test]
fn the_interval_covers_the_truth_as_often_as_it_says() {
    let mut covered = 0;
    for seed in 0..200 {
        let values = noise(&mut SplitMix64(seed), 40, 1.0);
        let is = interval_of_mean(&values, 0.9, seed).expect("enough values");
        covered += i32::from(is.low < 1.0 && 1.0 < is.high);
    }
    // 180 give or take three standard deviations, and a little less for so few values.
    assert!((162..=193).contains(&covered), "{covered} of 200");
}

#[test]
fn too_few_values_have_no_interval() {
    assert_eq!(interval_of_mean(&[], 0.95, 1), None);
    assert_eq!(interval_of_mean(&[5.0], 0.95, 1), None);
    for confidence in [0.0, 1.0, -0.5, 95.0, f64::NAN] {
        assert_eq!(interval_of_mean(&[5.0, 6.0], confidence, 1), None, "{confidence}");
    }
    let same = interval_of_mean(&[5.0; 20], 0.95, 1).expect("enough values");
    assert_eq!([same.low, same.mean, same.high].map(f64::to_bits), [5.0_f64.to_bits(); 3]);
}

// --- the fixture --------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Matrix {
    name: String,
    blocks: usize,
    /// A row a strategy.
    strategies: Vec<Vec<f64>>,
    logits: Vec<f64>,
    probability: f64,
    /// Skewness and kurtosis, where every strategy traded.
    shapes: Option<Vec<[f64; 2]>>,
    /// Expected maximum and deflated ratio.
    deflated: Option<Vec<[f64; 2]>>,
}

#[derive(Deserialize)]
struct Deflation {
    cases: Vec<[f64; 8]>,
}

#[derive(Deserialize)]
struct Normal {
    cdf: Vec<[f64; 2]>,
    quantile: Vec<[f64; 2]>,
}

#[derive(Deserialize)]
struct Bootstrap {
    values: Vec<f64>,
    low: f64,
    high: f64,
}

/// The cases of that shape.
fn cases<T: DeserializeOwned>() -> Vec<T> {
    let all: Vec<serde_json::Value> =
        serde_json::from_str(include_str!("../fixtures/overfit.json")).expect("a fixture");
    all.into_iter().filter_map(|case| serde_json::from_value(case).ok()).collect()
}

fn whole(number: f64) -> usize {
    format!("{number}").parse().expect("a whole number")
}

#[track_caller]
fn near(what: &str, is: f64, expected: f64, allowed: f64) {
    let off = (is - expected).abs();
    assert!(off <= allowed * expected.abs(), "{what}: {is} for {expected}, off by {off:e}");
}

/// Returns around `mean`, with deviation 1.
fn noise(random: &mut SplitMix64, count: usize, mean: f64) -> Vec<f64> {
    (0..count).map(|_| mean + bell(random)).collect()
}

fn bell(random: &mut SplitMix64) -> f64 {
    (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0
}
