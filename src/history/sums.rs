//! Sums over a history: what means, deviations and regressions are made of.
//!
//! Each sum is kept in eight lanes that are added at the end. The order of the additions is part
//! of the code, so the same numbers give the same sum on every machine; the lanes lose fewer
//! digits than one running total, and the processor does not wait for each addition.

/// The sum of `term` over the pairs of `a` and `b`, which are equally long.
pub fn sum_of(a: &[f64], b: &[f64], term: impl Fn(f64, f64) -> f64) -> f64 {
    assert_eq!(a.len(), b.len(), "pairs have two halves");
    let (a_lanes, a_rest) = a.as_chunks::<LANES>();
    let (b_lanes, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a_lanes.iter().zip(b_lanes) {
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| term(*a, *b)).sum();
    sums.iter().sum::<f64>() + rest
}

/// The sum of the products.
#[must_use]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    sum_of(a, b, |a, b| a * b)
}

/// The arithmetic mean; not a number when there is nothing.
#[must_use]
pub fn mean(values: &[f64]) -> f64 {
    sum_of(values, values, |value, _| value) / count(values.len())
}

/// The values less their mean.
#[must_use]
pub fn centred(values: &[f64]) -> Vec<f64> {
    let mean = mean(values);
    values.iter().map(|value| value - mean).collect()
}

/// The steps from each value to the next, one fewer than values.
#[must_use]
pub fn steps(values: &[f64]) -> Vec<f64> {
    values.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

/// How many, as a number to divide by.
#[must_use]
pub fn count(length: usize) -> f64 {
    f64::from(u32::try_from(length).expect("a history has fewer than four billion candles"))
}

/// A fraction in basis points.
#[must_use]
pub fn bps(fraction: f64) -> f64 {
    fraction * 10_000.0
}

const LANES: usize = 8;
