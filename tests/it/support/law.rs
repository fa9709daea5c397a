//! What laws are tried on: everyday numbers of every size, and whole numbers of the smallest unit to
//! check them with.

use ouroboros::trading::market::Leg;
use ouroboros::trading::money::{Amount, BasisPoints, Price, Quantity, Step};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use rust_decimal::Decimal;

/// Cases of each law: 2,000, or more by `PROPTEST_CASES`. The same ones in every run, unless
/// `PROPTEST_RNG_SEED` asks for others.
pub(crate) fn config() -> Config {
    let given = Config::default();
    Config {
        cases: given.cases.max(2_000),
        rng_seed: match given.rng_seed {
            RngSeed::Random => RngSeed::Fixed(20_240_301),
            fixed @ RngSeed::Fixed(_) => fixed,
        },
        failure_persistence: None,
        ..given
    }
}

/// As traded: from 0.00000001 to ten million, with at most eight decimals.
pub(crate) fn price() -> impl Strategy<Value = Price> {
    (0..50_u32, any::<u64>()).prop_map(|(shift, bits)| {
        let mantissa = (bits >> (14 + shift)) % 1_000_000_000_000_000;
        let value = Decimal::from_i128_with_scale(i128::from(mantissa) + 1, 8);
        Price::new(value).expect("above zero")
    })
}

/// The smallest units of anything: from none to those of a million coins, the few and the many
/// alike.
pub(crate) fn units() -> impl Strategy<Value = i128> {
    (0..=EVERYDAY_UNITS, 0..47_u32).prop_map(|(units, shift)| units >> shift)
}

/// As configured: less than the whole, with at most four decimals.
pub(crate) fn basis_points() -> impl Strategy<Value = BasisPoints> {
    let odd = 0..100_000_000_i64;
    let usual = prop::sample::select(vec![0, 10_000, 75_000, 100_000, 1, 99_999_999]);
    prop_oneof![odd, usual].prop_map(bps)
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    prop::sample::select(vec![1, 3, 7, 10, 1_000, 5_000, 10_000, UNIT / 4, UNIT, 100 * UNIT])
        .prop_map(step_of)
}

pub(crate) fn leg() -> impl Strategy<Value = Leg> {
    prop::sample::select(Leg::BOTH.to_vec())
}

/// The number in units of 0.00000001, of which it has a whole number.
pub(crate) fn units_of(value: Decimal) -> i128 {
    let scale = value.scale();
    if scale > 8 {
        let surplus = 10_i128.pow(scale - 8);
        assert_eq!(value.mantissa() % surplus, 0, "{value} has more than eight decimals");
        value.mantissa() / surplus
    } else {
        value.mantissa() * 10_i128.pow(8 - scale)
    }
}

pub(crate) fn quantity_of(units: i128) -> Quantity {
    as_quantity(Decimal::from_i128_with_scale(units, 8))
}

pub(crate) fn amount_of(units: i128) -> Amount {
    as_amount(Decimal::from_i128_with_scale(units, 8))
}

pub(crate) fn step_of(units: i128) -> Step {
    Step::new(Decimal::from_i128_with_scale(units, 8)).expect("above zero, eight decimals")
}

pub(crate) fn as_quantity(value: Decimal) -> Quantity {
    Quantity::new(value).expect("not negative, eight decimals")
}

pub(crate) fn as_amount(value: Decimal) -> Amount {
    Amount::new(value).expect("not negative, eight decimals")
}

/// Of a basis point, ten thousandths.
pub(crate) fn bps(parts: i64) -> BasisPoints {
    BasisPoints::new(Decimal::new(parts, 4)).expect("less than the whole")
}

/// One coin, in its smallest units.
pub(crate) const UNIT: i128 = 100_000_000;
/// A million coins.
pub(crate) const EVERYDAY_UNITS: i128 = 1_000_000 * UNIT;
