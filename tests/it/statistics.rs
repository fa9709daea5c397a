//! The z-score against numbers that were not made by this program: exact fractions and pandas
//! (`tests/fixtures/`), and a reference with twice the digits of a double for windows at random.

use ouroboros::trading::strategy;
use serde::Deserialize;

// --- the program's own answer ----------------------------------------------------------------

/// What is compared.
struct Answer {
    mean: f64,
    std: f64,
    z: Option<f64>,
}

/// The only place here that knows the library.
fn answer(spreads: &[f64]) -> Answer {
    let reading = strategy::reading(spreads);
    Answer { mean: reading.mean, std: reading.std, z: reading.z.map(strategy::ZScore::value) }
}

// --- the tests -------------------------------------------------------------------------------

#[test]
fn z_is_that_of_exact_fractions() {
    for window in Fixture::load(include_str!("../fixtures/zscore.json")) {
        let name = &window.name;
        let answer = answer(&window.closes().spreads());
        let Some(exact) = window.exact() else {
            assert_eq!(answer.z, None, "{name} is flat");
            continue;
        };
        let allowed = allowed(&exact, window.numerator.len());
        let z = answer.z.unwrap_or_else(|| panic!("{name} has a z"));
        assert!((z - exact.z).abs() <= allowed, "{name}: {z} for {}", exact.z);
        assert!((answer.mean / exact.mean - 1.0).abs() <= 1e-14, "{name}: mean");
        assert!((answer.std / exact.std - 1.0).abs() <= allowed, "{name}: std");
    }
}

#[test]
fn z_of_a_fresh_view_is_that_of_pandas() {
    for view in Fixture::load(include_str!("../fixtures/pandas.json")) {
        let name = &view.name;
        let answer = answer(&view.closes().spreads());
        let pandas = view.exact().expect("no view is flat");
        let z = answer.z.unwrap_or_else(|| panic!("{name} has a z"));
        assert!((z - pandas.z).abs() <= 1e-9, "{name}: {z} for {}", pandas.z);
        assert!((answer.mean / pandas.mean - 1.0).abs() <= 1e-12, "{name}: mean");
        assert!((answer.std / pandas.std - 1.0).abs() <= 1e-9, "{name}: std");
    }
}

#[test]
fn z_of_ten_thousand_windows_is_that_of_twice_the_digits() {
    let mut random = Random(20_240_301);
    let (mut loud, mut quiet) = (0, 0);
    for number in 0..10_000 {
        let closes = Closes::random(&mut random);
        let Some(exact) = closes.reference().filter(|exact| exact.std > 1e-9 * exact.mean) else {
            quiet += 1; // What is flat or nearly so has its own tests.
            continue;
        };
        let allowed = allowed(&exact, closes.numerator.len());
        loud += u32::from(allowed <= TOLERANCE);
        let z = answer(&closes.spreads()).z.unwrap_or_else(|| panic!("window {number} has a z"));
        let off = (z - exact.z).abs();
        assert!(off <= allowed, "window {number}: {z} is off by {off:e}: {closes:?}");
    }
    assert!(loud > 9_000, "only {loud} windows were compared with the full tolerance");
    assert!(quiet < 100, "{quiet} windows were not compared");
}

#[test]
fn the_reference_is_that_of_exact_fractions() {
    for window in Fixture::load(include_str!("../fixtures/zscore.json")) {
        let name = &window.name;
        let (Some(exact), reference) = (window.exact(), window.closes().reference()) else {
            continue; // Exactly flat windows are not asked of the reference.
        };
        let reference = reference.expect("what moves has a deviation");
        for (exact, reference, near_zero) in [
            // A z of zero is a difference of equals: only its absolute error is small.
            (exact.z, reference.z, 1e-18),
            (exact.mean, reference.mean, 0.0),
            (exact.std, reference.std, 0.0),
        ] {
            // Both were rounded to a double once, so they may be neighbours.
            let allowed = f64::EPSILON * exact.abs() + near_zero;
            assert!((reference - exact).abs() <= allowed, "{name}: {reference} for {exact}");
        }
    }
}

#[test]
fn a_window_of_equal_prices_has_no_z() {
    let mut random = Random(3);
    for size in [2, 3, 20, 99, 500] {
        for _ in 0..200 {
            let (numerator, denominator) = (random.price(), random.price());
            let closes = Closes {
                per: UNITS,
                numerator: vec![numerator; size],
                denominator: vec![denominator; size],
            };
            assert_eq!(answer(&closes.spreads()).z, None, "{numerator}/{denominator} × {size}");
        }
    }
}

/// The prices move, their ratio does not; as doubles the ratios still differ in the last bits.
#[test]
fn a_window_that_moves_by_rounding_noise_only_has_no_z() {
    let mut random = Random(4);
    let mut noisy = 0;
    for size in [2, 3, 20, 99, 500] {
        for _ in 0..200 {
            let times = 2 + random.below(1_000);
            let (mut numerator, mut denominator) = (Vec::new(), Vec::new());
            for _ in 0..size {
                let price = 1 + random.below(MOST / times);
                numerator.push(price * times);
                denominator.push(price);
            }
            let closes = Closes { per: UNITS, numerator, denominator };
            let spreads = closes.spreads();
            noisy += u32::from(spreads.iter().any(|spread| *spread > spreads[0]));
            assert_eq!(answer(&spreads).z, None, "{closes:?}");
            let inverse: Vec<f64> = spreads.iter().map(|spread| 1.0 / spread).collect();
            assert_eq!(answer(&inverse).z, None, "the inverse of {closes:?}");
        }
    }
    assert!(noisy > 100, "only {noisy} windows were not exactly flat: the test shows nothing");
}

/// How far a z may be from the exact one.
///
/// 1e-11 wherever a market moves by a ten-thousandth of its price or more. Where it moves less,
/// the rounding of the closes and of their quotient alone is more than that: each spread is off
/// by up to 3 × 2⁻⁵³ of itself and the mean by up to n × 2⁻⁵³ more, in units of the deviation,
/// and the deviation by the same part, which counts |z| times.
fn allowed(exact: &Exact, size: usize) -> f64 {
    let size = f64::from(u32::try_from(size).expect("a short window"));
    let relative = exact.std / exact.mean;
    let rounding = (size + 4.0) * (f64::EPSILON / 2.0) / relative * (1.0 + exact.z.abs());
    if relative >= 1e-4 { TOLERANCE } else { TOLERANCE.max(rounding) }
}

const TOLERANCE: f64 = 1e-11;

// --- windows ---------------------------------------------------------------------------------

/// A line of a fixture. Exact numbers come as text with 40 digits, those of pandas as numbers.
#[derive(Deserialize)]
struct Fixture {
    name: String,
    z: serde_json::Value,
    mean: serde_json::Value,
    std: serde_json::Value,
    per: u64,
    numerator: Vec<u64>,
    denominator: Vec<u64>,
}

/// What an answer should be, nearest doubles.
struct Exact {
    mean: f64,
    std: f64,
    z: f64,
}

impl Fixture {
    fn load(text: &str) -> Vec<Self> {
        let fixtures: Vec<Self> = serde_json::from_str(text).expect("a fixture parses");
        assert!(fixtures.len() >= 50, "a fixture that is nearly empty shows nothing");
        fixtures
    }

    fn closes(&self) -> Closes {
        Closes {
            per: self.per,
            numerator: self.numerator.clone(),
            denominator: self.denominator.clone(),
        }
    }

    /// `None` for a flat window.
    fn exact(&self) -> Option<Exact> {
        // From text, because the parser of the standard library rounds correctly and that of
        // serde_json may be off by one.
        let number = |value: &serde_json::Value| -> Option<f64> {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            (!value.is_null()).then(|| text.parse().expect("a number"))
        };
        Some(Exact { mean: number(&self.mean)?, std: number(&self.std)?, z: number(&self.z)? })
    }
}

/// Closes of both legs as whole numbers, so that they are exact; `per` of them make one.
#[derive(Debug)]
struct Closes {
    per: u64,
    numerator: Vec<u64>,
    denominator: Vec<u64>,
}

impl Closes {
    /// A walk of both legs from anywhere in the range of prices, by 0.01 % to 10 % a candle.
    fn random(random: &mut Random) -> Self {
        let size = match random.below(4) {
            0 => 2 + random.below(100),
            _ => 20,
        };
        let mut leg = || {
            let digits = 10_u64.pow(u32::try_from(2 + random.below(3)).expect("a few digits"));
            let reach = digits + random.below(9 * digits);
            let mut price = random.price();
            let mut walk = Vec::new();
            for _ in 0..size {
                walk.push(price);
                // Up to `reach` millionths either way, and never quite still.
                let reach = price / 1_000_000 * reach + price % 1_000_000 * reach / 1_000_000 + 1;
                let moved = price + random.below(2 * reach + 1);
                price = moved.saturating_sub(reach).clamp(1, MOST);
            }
            walk
        };
        Self { per: UNITS, numerator: leg(), denominator: leg() }
    }

    /// The spreads as the program has them: of closes that were rounded to doubles. A whole number
    /// below 2⁵³ divided by an exact power of ten is the double nearest to the decimal price.
    fn spreads(&self) -> Vec<f64> {
        let price = |units: u64| whole(units) / whole(self.per);
        let legs = self.numerator.iter().zip(&self.denominator);
        legs.map(|(numerator, denominator)| price(*numerator) / price(*denominator)).collect()
    }

    /// The answer in [`Double`]s, from the undivided closes; `None` when it moves not at all.
    ///
    /// Error: with u = 2⁻⁵³, a quotient, a sum and a product are each off by less than 16 u² of
    /// themselves. All summands of the mean are positive, so n = 500 of them put it off by less
    /// than 500 × 16 u² = 1e-28 of itself, and each deviation by 1e-28 of the mean, which is
    /// 1e-19 standard deviations where std is 1e-9 of the mean, the least that is compared. The
    /// rest adds parts of 1e-28. What is left, 2⁻⁵³ of z, is the one rounding to a double at the end.
    fn reference(&self) -> Option<Exact> {
        let size = Double::whole(u64::try_from(self.numerator.len()).expect("a short window"));
        let spreads: Vec<Double> = self
            .numerator
            .iter()
            .zip(&self.denominator)
            .map(|(numerator, denominator)| {
                Double::whole(*numerator).over(Double::whole(*denominator))
            })
            .collect();
        let sum = |all: &[Double]| all.iter().fold(Double::whole(0), |sum, next| sum.plus(*next));
        let mean = sum(&spreads).over(size);
        let off: Vec<Double> = spreads.iter().map(|spread| spread.minus(mean)).collect();
        let squares: Vec<Double> = off.iter().map(|off| off.times(*off)).collect();
        let variance = sum(&squares).over(size.minus(Double::whole(1)));
        if variance.high <= 0.0 {
            return None;
        }
        let std = variance.root();
        let z = off.last()?.over(std);
        Some(Exact { mean: mean.high, std: std.high, z: z.high })
    }
}

/// Whole units of 0.00000001 in one.
const UNITS: u64 = 100_000_000;
/// The largest price in them that every double can still say, 2⁵³.
const MOST: u64 = 1 << 53;

/// The double of a whole number up to 2⁵³, exactly; `as` would round larger ones in silence.
fn whole(number: u64) -> f64 {
    assert!(number <= MOST, "{number} may have no double");
    let [high, low] = [number >> 32, number & u64::from(u32::MAX)]
        .map(|half| f64::from(u32::try_from(half).expect("half of the bits")));
    high.mul_add(4_294_967_296.0, low)
}

/// `SplitMix64`: a seed and a few lines give the same windows everywhere and for ever.
/// Source: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to below `end`; the slight preference for small ones does not matter here.
    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// A price of any magnitude from 0.00001 to 90 million.
    fn price(&mut self) -> u64 {
        let digits = 10_u64.pow(u32::try_from(3 + self.below(13)).expect("a few digits"));
        (digits + self.below(9 * digits)).min(MOST)
    }
}

// --- twice the digits ------------------------------------------------------------------------

/// A number as the unevaluated sum of two doubles, the lower at most half a unit in the last
/// place of the higher: 106 bits. Chosen over big integers because it is forty lines whose error
/// bounds are proved. They need a fused multiply-add, which `mul_add` is on every machine.
///
/// Source: Joldes, Muller, Popescu, "Tight and rigorous error bounds for basic building blocks of
/// double-word arithmetic", ACM Transactions on Mathematical Software 44, 2017; the algorithms'
/// numbers are theirs. The root: Lefèvre et al., "Accurate calculation of Euclidean norms", 2023.
#[derive(Debug, Clone, Copy)]
struct Double {
    high: f64,
    low: f64,
}

impl Double {
    fn whole(number: u64) -> Self {
        Self { high: whole(number), low: 0.0 }
    }

    /// Algorithm 6, error at most 3 u² + 13 u³.
    fn plus(self, other: Self) -> Self {
        let high = two_sum(self.high, other.high);
        let low = two_sum(self.low, other.low);
        let first = fast_two_sum(high.high, high.low + low.high);
        fast_two_sum(first.high, low.low + first.low)
    }

    fn minus(self, other: Self) -> Self {
        self.plus(Self { high: -other.high, low: -other.low })
    }

    /// Algorithm 11, error below 6 u².
    fn times(self, other: Self) -> Self {
        let product = two_product(self.high, other.high);
        let cross = self.low.mul_add(other.high, self.high * other.low);
        fast_two_sum(product.high, product.low + cross)
    }

    /// Algorithm 17, error below 15 u² + 56 u³.
    fn over(self, other: Self) -> Self {
        let first = self.high / other.high;
        let product = other.times(Self { high: first, low: 0.0 });
        let rest = (self.high - product.high) + (self.low - product.low);
        fast_two_sum(first, rest / other.high)
    }

    /// One step of Newton's from the root of the high part, error below 4 u².
    fn root(self) -> Self {
        let first = self.high.sqrt();
        let rest = first.mul_add(-first, self.high) + self.low;
        fast_two_sum(first, rest / (2.0 * first))
    }
}

/// The sum of two doubles and its rounding error, exactly (Knuth).
fn two_sum(a: f64, b: f64) -> Double {
    let high = a + b;
    let rounded_b = high - a;
    Double { high, low: (a - (high - rounded_b)) + (b - rounded_b) }
}

/// The same where `a` is zero or not smaller than `b` (Dekker).
fn fast_two_sum(a: f64, b: f64) -> Double {
    let high = a + b;
    Double { high, low: b - (high - a) }
}

/// The product of two doubles and its rounding error, exactly.
fn two_product(a: f64, b: f64) -> Double {
    let high = a * b;
    Double { high, low: a.mul_add(b, -high) }
}
