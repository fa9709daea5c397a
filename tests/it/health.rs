//! The health of a pair against numbers that were not made by this program: statsmodels and numpy
//! (`tests/oracle/history.py`).

use ouroboros::history::health::{Health, half_life, health, hurst, rolling};
use ouroboros::history::unit_root::{CriticalValues, Table, UnitRoot, dickey_fuller};
use ouroboros::random::SplitMix64;
use serde::Deserialize;

// --- against statsmodels -----------------------------------------------------------------------

#[test]
fn every_figure_of_a_pair_is_that_of_statsmodels() {
    let pairs = pairs();
    assert!(pairs.len() >= 11, "the fixture was read");
    for pair in &pairs {
        let name = &pair.name;
        let is = pair.health();
        assert_eq!(is.candles, pair.numerator.len());
        near(name, "correlation", is.correlation, Some(pair.correlation), 1e-9);
        let hedge = is.hedge.map(|hedge| [hedge.ratio, hedge.constant, hedge.r_squared]);
        for (part, expected) in pair.hedge.iter().enumerate() {
            near(name, "hedge", hedge.map(|hedge| hedge[part]), Some(*expected), 1e-9);
        }
        near_test(name, "cointegration", is.cointegration, pair.cointegration.as_ref());
        near_test(name, "stationarity", is.stationarity, Some(&pair.stationarity));
        near(name, "half-life", is.half_life, pair.half_life, 1e-8);
        near(name, "hurst", is.hurst, pair.hurst, 1e-9);
    }
}

#[test]
fn p_values_and_critical_values_are_those_of_statsmodels() {
    for (table, name) in [(Table::OneSeries, "table 1"), (Table::TwoSeries, "table 2")] {
        let expected = tables().into_iter().find(|table| table.name == name).expect("a table");
        assert!(expected.p_values.len() > 40, "the fixture was read");
        for [statistic, p_value] in expected.p_values {
            let what = format!("p of {statistic}");
            near(name, &what, Some(table.p_value(statistic)), Some(p_value), 1e-12);
        }
        for [count, one, five, ten] in expected.critical {
            let is = table.critical_values(format!("{count}").parse().expect("a whole number"));
            for (is, expected) in values(is).into_iter().zip([one, five, ten]) {
                near(name, "critical value", Some(is), Some(expected), 1e-13);
            }
        }
    }
}

// --- by themselves -----------------------------------------------------------------------------

#[test]
fn the_level_of_a_ratio_is_of_no_account_to_its_test() {
    let mut random = SplitMix64(1);
    let mut noise = 0.0;
    let series: Vec<f64> = (0..500)
        .map(|_| {
            noise = 0.8 * noise + random.uniform() - 0.5;
            noise
        })
        .collect();
    // 2^20 leaves 32 bits of each value; they are cut off first, so that the shift is exact.
    let exact: Vec<f64> =
        series.iter().map(|x| (x * 2_f64.powi(32)).round() / 2_f64.powi(32)).collect();
    let shifted: Vec<f64> = exact.iter().map(|x| x + 2_f64.powi(20)).collect();
    let [low, high] = [&exact, &shifted].map(|series| dickey_fuller(series).expect("a test"));
    assert_eq!(low.lag, high.lag);
    near("shifted", "statistic", Some(high.statistic), Some(low.statistic), 1e-9);
    near("shifted", "half-life", half_life(&shifted), half_life(&exact), 1e-9);
    near("shifted", "hurst", hurst(&shifted), hurst(&exact), 1e-9);
}

#[test]
fn half_of_a_deviation_is_gone_after_a_half_life() {
    // x is multiplied by 0.9 each candle, so that 0.9^h = 1/2.
    let series: Vec<f64> = (0..40).map(|t| 7.0 + 0.9_f64.powi(t)).collect();
    near("decay", "half-life", half_life(&series), Some(0.5_f64.ln() / 0.9_f64.ln()), 1e-9);
    let growing: Vec<f64> = (0..40).map(|t| 1.1_f64.powi(t)).collect();
    assert_eq!(half_life(&growing), None, "nothing comes back");
    let swinging: Vec<f64> = (0..40).map(|t| 3.0 + (-1.5_f64).powi(t)).collect();
    assert_eq!(half_life(&swinging), None, "it overshoots");
}

#[test]
fn what_does_not_move_has_no_figures() {
    let flat = vec![100.0; 300];
    let moving: Vec<f64> = walk(3, 300);
    let is = health(&flat, &flat).expect("good prices");
    let nothing = Health {
        candles: 300,
        correlation: None,
        hedge: None,
        cointegration: None,
        stationarity: None,
        half_life: None,
        hurst: None,
    };
    assert_eq!(is, nothing);
    // One leg is three times the other: the ratio is 3 but for its last bit.
    let triple: Vec<f64> = moving.iter().map(|price| price * 3.0).collect();
    let is = health(&triple, &moving).expect("good prices");
    near("triple", "correlation", is.correlation, Some(1.0), 1e-12);
    near("triple", "hedge", is.hedge.map(|hedge| hedge.ratio), Some(1.0), 1e-12);
    assert_eq!(
        (is.cointegration, is.stationarity, is.half_life, is.hurst),
        (None, None, None, None)
    );
    let last_bit: Vec<f64> = (0..60).map(|t| if t % 6 < 3 { 3.0 } else { 3.0 + 4e-16 }).collect();
    assert!(last_bit[0] < last_bit[3]);
    assert_eq!((half_life(&last_bit), hurst(&last_bit)), (None, None));
    assert_eq!(dickey_fuller(&last_bit), None);
    // Against a leg that stands still there is a ratio, but no regression.
    let is = health(&moving, &flat).expect("good prices");
    assert_eq!((is.correlation, is.hedge, is.cointegration), (None, None, None));
    assert!(is.stationarity.is_some() && is.hurst.is_some());
}

#[test]
fn what_its_past_predicts_to_the_last_digit_is_not_tested() {
    for rate in 900..1000 {
        let rate = f64::from(rate) / 1000.0;
        let decay: Vec<f64> = (0..100).map(|t| 7.0 + rate.powi(t)).collect();
        for count in 6..100 {
            assert_eq!(dickey_fuller(&decay[..count]), None, "{rate}, {count}");
        }
    }
    let line: Vec<f64> = (0..300).map(|t| 7.0 + 0.25 * f64::from(t)).collect();
    assert_eq!(dickey_fuller(&line), None);
    let wave: Vec<f64> = (0..300).map(|t| 7.0 + (0.1 * f64::from(t)).sin()).collect();
    assert_eq!(dickey_fuller(&wave), None);
}

#[test]
fn what_is_no_price_has_no_health_and_few_candles_have_few_figures() {
    let good = walk(4, 60);
    for bad in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut other = good.clone();
        other[30] = bad;
        assert_eq!(health(&good, &other), None, "{bad}");
        assert_eq!(health(&other, &good), None, "{bad}");
    }
    assert_eq!(health(&good[..2], &good[..2]), None);
    let other = walk(5, 60);
    for count in 3..60 {
        let is = health(&good[..count], &other[..count]).expect("good prices");
        assert!(is.correlation.is_some() && is.hedge.is_some(), "{count}");
        assert_eq!(is.hurst.is_some(), count >= 40, "{count}");
        let finite =
            |test: UnitRoot| test.statistic.is_finite() && (0.0..=1.0).contains(&test.p_value);
        assert!(is.stationarity.into_iter().chain(is.cointegration).all(finite), "{count}");
        assert!(count < 12 || is.stationarity.is_some(), "{count}");
    }
}

#[test]
fn rolling_windows_end_with_the_newest_candle_and_know_no_other() {
    let [numerator, denominator] = [walk(6, 500), walk(7, 500)];
    let windows = rolling(&numerator, &denominator, 120, 70);
    let newest: Vec<usize> = windows.iter().map(|window| window.newest).collect();
    assert_eq!(newest, [149, 219, 289, 359, 429, 499]);
    for window in &windows {
        let candles = window.newest - 119..=window.newest;
        let alone = health(&numerator[candles.clone()], &denominator[candles]);
        assert_eq!(Some(window.health), alone);
    }
    assert_eq!(rolling(&numerator, &denominator, 500, 1).len(), 1);
    assert_eq!(rolling(&numerator, &denominator, 501, 1), []);
}

#[test]
fn a_walk_has_half_an_exponent_and_is_rarely_called_stationary() {
    let (mut exponents, mut stationary, mut cointegrated) = (0.0, 0, 0);
    for seed in 0..200 {
        let [numerator, denominator] = [walk(2 * seed + 1000, 1000), walk(2 * seed + 1001, 1000)];
        let is = health(&numerator, &denominator).expect("good prices");
        exponents += is.hurst.expect("a walk has one") / 200.0;
        stationary += i32::from(is.stationarity.expect("it moves").p_value < 0.05);
        cointegrated += i32::from(is.cointegration.expect("it moves").p_value < 0.05);
    }
    // One in twenty, give or take three standard deviations of 200 draws.
    assert!((1..=20).contains(&stationary), "{stationary} of 200 walks are stationary");
    assert!((1..=20).contains(&cointegrated), "{cointegrated} of 200 pairs are cointegrated");
    assert!((0.45..0.52).contains(&exponents), "{exponents}");
}

// --- the fixture -------------------------------------------------------------------------------

#[derive(Deserialize)]
struct Pair {
    name: String,
    correlation: f64,
    hedge: [f64; 3],
    cointegration: Option<Expected>,
    stationarity: Expected,
    half_life: Option<f64>,
    hurst: Option<f64>,
    numerator: Vec<f64>,
    denominator: Vec<f64>,
}

#[derive(Deserialize)]
struct Expected {
    statistic: f64,
    p_value: f64,
    critical: [f64; 3],
    /// What `coint` does not tell.
    lag: Option<usize>,
    observations: Option<usize>,
}

#[derive(Deserialize)]
struct Distribution {
    name: String,
    p_values: Vec<[f64; 2]>,
    critical: Vec<[f64; 4]>,
}

impl Pair {
    fn health(&self) -> Health {
        health(&self.numerator, &self.denominator).expect("good prices")
    }
}

fn pairs() -> Vec<Pair> {
    cases().into_iter().filter_map(|case| serde_json::from_value(case).ok()).collect()
}

fn tables() -> Vec<Distribution> {
    cases().into_iter().filter_map(|case| serde_json::from_value(case).ok()).collect()
}

fn cases() -> Vec<serde_json::Value> {
    serde_json::from_str(include_str!("../fixtures/health.json")).expect("a fixture")
}

// --- comparing ---------------------------------------------------------------------------------

/// Relative to what is expected.
#[track_caller]
fn near(name: &str, what: &str, is: Option<f64>, expected: Option<f64>, allowed: f64) {
    let (Some(is), Some(expected)) = (is, expected) else {
        assert_eq!(is, expected, "{name}: {what}");
        return;
    };
    let off = (is - expected).abs();
    assert!(
        off <= allowed * expected.abs(),
        "{name}: {what} is {is} for {expected}, off by {off:e}"
    );
}

#[track_caller]
fn near_test(name: &str, what: &str, is: Option<UnitRoot>, expected: Option<&Expected>) {
    let (Some(is), Some(expected)) = (is, expected) else {
        assert!(is.is_none() && expected.is_none(), "{name}: {what} is {is:?}");
        return;
    };
    assert_eq!(Some(is.lag), expected.lag.or(Some(is.lag)), "{name}: lag of {what}");
    let observations = expected.observations.unwrap_or(is.observations);
    assert_eq!(is.observations, observations, "{name}: observations of {what}");
    near(name, what, Some(is.statistic), Some(expected.statistic), 1e-8);
    near(name, what, Some(is.p_value), Some(expected.p_value), 1e-6);
    for (is, expected) in values(is.critical).into_iter().zip(expected.critical) {
        near(name, what, Some(is), Some(expected), 1e-12);
    }
}

fn values(critical: CriticalValues) -> [f64; 3] {
    [critical.one_percent, critical.five_percent, critical.ten_percent]
}

/// Prices that go up or down by up to a percent, from a seed.
fn walk(seed: u64, count: usize) -> Vec<f64> {
    let mut random = SplitMix64(seed);
    let mut price = 100.0;
    let mut next = || {
        price *= 1.0 + 0.02 * (random.uniform() - 0.5);
        price
    };
    (0..count).map(|_| next()).collect()
}
