//! Prices, quantities and amounts: exact decimals that cannot be mixed up.
//!
//! Only the operations that mean something exist, and the way they round is in their name. A
//! product is computed on integers and rounded once; where it would not fit, the answer is an
//! [`Overflow`], never a rounded guess.

use std::fmt;

use rust_decimal::Decimal;

/// Decimals of a quote amount and of a quantity, as Binance books them.
/// Source: `baseAssetPrecision` and `quoteAssetPrecision` of exchangeInfo, 8 for every spot asset.
pub const DECIMALS: u32 = 8;

/// A result with more digits than can be computed with exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow;

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the numbers are too large to compute with exactly")
    }
}

impl std::error::Error for Overflow {}

/// Quote asset per one unit of base asset. Greater than zero, never rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Price(Decimal);

/// Units of a base asset, at most [`DECIMALS`] decimals. Never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Quantity(Decimal);

/// Units of the quote asset, at most [`DECIMALS`] decimals. Never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Amount(Decimal);

/// What was gained (or, negative, lost), in the quote asset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Profit(Decimal);

/// Hundredths of a percent. Never negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct BasisPoints(Decimal);

impl Price {
    /// A price, if it is greater than zero.
    #[must_use]
    pub fn new(value: Decimal) -> Option<Self> {
        (value > Decimal::ZERO).then(|| Self(value.normalize()))
    }

    /// The number itself.
    #[must_use]
    pub fn value(self) -> Decimal {
        self.0
    }

    /// This price moved up by `bps`, not rounded. `None` beyond 28 digits.
    #[must_use]
    pub fn raised_by(self, bps: BasisPoints) -> Option<Self> {
        let factor = Decimal::ONE.checked_add(bps.fraction())?;
        Self::new(exact_product(self.0, factor)?)
    }

    /// **Rounding**: down to a multiple of `tick`; not rounded where there is none.
    pub fn floor_to(self, tick: Option<Step>) -> Result<Self, Overflow> {
        let Some(tick) = tick else { return Ok(self) };
        let rest = self.0.checked_rem(tick.value()).ok_or(Overflow)?;
        self.0.checked_sub(rest).and_then(Self::new).ok_or(Overflow)
    }

    /// **Rounding**: up to a multiple of `tick`; not rounded where there is none.
    pub fn ceil_to(self, tick: Option<Step>) -> Result<Self, Overflow> {
        let Some(tick) = tick else { return Ok(self) };
        let rest = self.0.checked_rem(tick.value()).ok_or(Overflow)?;
        if rest.is_zero() {
            return Ok(self);
        }
        let up = tick.value().checked_sub(rest).and_then(|up| self.0.checked_add(up));
        up.and_then(Self::new).ok_or(Overflow)
    }

    /// The average price of `quantity` that cost `quote`, if there is any.
    ///
    /// **Rounding**: to the nearest of 8 decimals. For people and records; nothing is computed
    /// from it.
    #[must_use]
    pub fn average(quote: Amount, quantity: Quantity) -> Option<Self> {
        Self::new(quote.0.checked_div(quantity.0)?.round_dp(DECIMALS))
    }

    /// The price at which `quantity` is worth `worth`, not rounded; `None` where there is none.
    #[must_use]
    pub fn at_which(quantity: Quantity, worth: Decimal) -> Option<Self> {
        Self::new(worth.checked_div(quantity.0)?)
    }

    /// This price moved down by `bps`, not rounded. `None` when nothing would be left of it.
    #[must_use]
    pub fn lowered_by(self, bps: BasisPoints) -> Option<Self> {
        let factor = Decimal::ONE.checked_sub(bps.fraction())?;
        Self::new(exact_product(self.0, factor)?)
    }
}

impl Quantity {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// A quantity, if it is not negative, has at most [`DECIMALS`] decimals and is below 10^19.
    #[must_use]
    pub fn new(value: Decimal) -> Option<Self> {
        fits(value).map(Self)
    }

    /// The number itself.
    #[must_use]
    pub fn value(self) -> Decimal {
        self.0
    }

    /// Whether there is nothing of it.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// How much `budget` buys at `price`.
    ///
    /// **Rounding**: down to a multiple of `step`, so that the cost never exceeds the budget.
    pub fn bought_with(budget: Amount, price: Price, step: Step) -> Result<Self, Overflow> {
        let quotient = budget.0.checked_div(price.0).filter(|it| *it < MOST).ok_or(Overflow)?;
        let bought = Self(quotient).floor_to(step)?;
        // The quotient has 28 digits, the last of them rounded; where that lifted it onto the
        // next step, one step is given back.
        if Product::of(bought.0, price.0)?.exceeds(budget.0) {
            return bought.0.checked_sub(step.value()).and_then(Self::new).ok_or(Overflow);
        }
        Ok(bought)
    }

    /// **Rounding**: down to a multiple of `step`.
    pub fn floor_to(self, step: Step) -> Result<Self, Overflow> {
        let rest = self.0.checked_rem(step.value()).ok_or(Overflow)?;
        let floored = self.0.checked_sub(rest).ok_or(Overflow)?;
        Self::new(floored).ok_or(Overflow)
    }

    /// The fee on this quantity, in the same asset.
    ///
    /// **Rounding**: up to 8 decimals, against us.
    pub fn fee_up(self, fee: BasisPoints) -> Result<Self, Overflow> {
        Product::of(self.0, fee.fraction())?.up().and_then(|it| Self::new(it).ok_or(Overflow))
    }

    /// The sum of both.
    pub fn plus(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_add(other.0).and_then(Self::new).ok_or(Overflow)
    }

    /// What is left when `other` is taken away; `None` when that is more than there is.
    #[must_use]
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).and_then(Self::new)
    }
}

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// An amount, if it is not negative, has at most [`DECIMALS`] decimals and is below 10^19.
    #[must_use]
    pub fn new(value: Decimal) -> Option<Self> {
        fits(value).map(Self)
    }

    /// The number itself.
    #[must_use]
    pub fn value(self) -> Decimal {
        self.0
    }

    /// What `quantity` costs at `price`.
    ///
    /// **Rounding**: up to 8 decimals, against us.
    pub fn cost_up(quantity: Quantity, price: Price) -> Result<Self, Overflow> {
        Product::of(quantity.0, price.0)?.up().and_then(|it| Self::new(it).ok_or(Overflow))
    }

    /// What selling `quantity` at `price` brings before the fee.
    ///
    /// **Rounding**: down to 8 decimals, against us.
    pub fn proceeds_down(quantity: Quantity, price: Price) -> Result<Self, Overflow> {
        Product::of(quantity.0, price.0)?.down().and_then(|it| Self::new(it).ok_or(Overflow))
    }

    /// **Rounding**: down to a multiple of `step`.
    pub fn floor_to(self, step: Step) -> Result<Self, Overflow> {
        let rest = self.0.checked_rem(step.value()).ok_or(Overflow)?;
        self.0.checked_sub(rest).and_then(Self::new).ok_or(Overflow)
    }

    /// The fee on this amount.
    ///
    /// **Rounding**: up to 8 decimals, against us.
    pub fn fee_up(self, fee: BasisPoints) -> Result<Self, Overflow> {
        Product::of(self.0, fee.fraction())?.up().and_then(|it| Self::new(it).ok_or(Overflow))
    }

    /// The sum of both.
    pub fn plus(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_add(other.0).and_then(Self::new).ok_or(Overflow)
    }

    /// What is left when `other` is taken away; `None` when that is more than there is.
    #[must_use]
    pub fn minus(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).and_then(Self::new)
    }
}

impl Profit {
    /// Neither gain nor loss.
    pub const ZERO: Self = Self(Decimal::ZERO);

    /// A profit, if it has at most [`DECIMALS`] decimals and can be computed with exactly.
    #[must_use]
    pub fn new(value: Decimal) -> Option<Self> {
        fits(value.abs()).map(|_| Self(value.normalize()))
    }

    /// The number itself.
    #[must_use]
    pub fn value(self) -> Decimal {
        self.0
    }

    /// What is gained when `paid` came back as `received`.
    pub fn of(received: Amount, paid: Amount) -> Result<Self, Overflow> {
        received.0.checked_sub(paid.0).and_then(Self::new).ok_or(Overflow)
    }

    /// The sum of both.
    pub fn plus(self, other: Self) -> Result<Self, Overflow> {
        self.0.checked_add(other.0).and_then(Self::new).ok_or(Overflow)
    }

    /// How much was lost; zero when nothing was.
    #[must_use]
    pub fn loss(self) -> Amount {
        Amount((-self.0).max(Decimal::ZERO))
    }
}

impl BasisPoints {
    /// Basis points, if they are not negative and less than the whole.
    #[must_use]
    pub fn new(value: Decimal) -> Option<Self> {
        let value = value.normalize();
        let fits = !value.is_sign_negative() || value.is_zero();
        // Four more decimals are needed for the fraction.
        (fits && value < Decimal::from(10_000) && value.scale() <= DECIMALS).then_some(Self(value))
    }

    /// The number itself, in basis points.
    #[must_use]
    pub fn value(self) -> Decimal {
        self.0
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The same as a fraction of one, exact.
    fn fraction(self) -> Decimal {
        self.0
            .checked_mul(Decimal::new(1, 4))
            .expect("less than 10,000 with at most 8 decimals has room for four more")
    }
}

/// The smallest part that a quantity can be traded in. Greater than zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step(Decimal);

impl Step {
    /// The finest step there is, 0.00000001: used in replay and backtest.
    #[must_use]
    pub fn finest() -> Self {
        Self(Decimal::new(1, DECIMALS))
    }

    /// A step, if it is greater than zero and has at most [`DECIMALS`] decimals.
    #[must_use]
    pub fn new(value: Decimal) -> Option<Self> {
        fits(value).filter(|value| !value.is_zero()).map(Self)
    }

    /// The number itself.
    #[must_use]
    pub fn value(self) -> Decimal {
        self.0
    }

    /// The smallest step that is a multiple of both, so that a quantity passes both filters.
    #[must_use]
    pub fn common(self, other: Self) -> Option<Self> {
        let (a, b) = (scaled(self.0)?, scaled(other.0)?);
        let multiple = a.checked_div(greatest_common_divisor(a, b))?.checked_mul(b)?;
        Decimal::try_from_i128_with_scale(multiple, DECIMALS).ok().and_then(Self::new)
    }
}

impl fmt::Display for Price {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.normalize())
    }
}

/// All eight decimals, as the exchange prints them.
macro_rules! display_with_all_decimals {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:.8}", self.0)
            }
        }
    )*};
}
display_with_all_decimals!(Quantity, Amount, Profit);

impl fmt::Display for BasisPoints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.normalize())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.normalize())
    }
}

/// The product, or `None` where it has more digits than a decimal holds.
fn exact_product(a: Decimal, b: Decimal) -> Option<Decimal> {
    let Product { mantissa, scale } = Product::of(a, b).ok()?;
    Decimal::try_from_i128_with_scale(mantissa, scale).ok()
}

/// A product in full, before it is rounded.
struct Product {
    mantissa: i128,
    scale: u32,
}

impl Product {
    fn of(a: Decimal, b: Decimal) -> Result<Self, Overflow> {
        let (a, b) = (a.normalize(), b.normalize());
        let mantissa = a.mantissa().checked_mul(b.mantissa()).ok_or(Overflow)?;
        let scale = a.scale().checked_add(b.scale()).ok_or(Overflow)?;
        Ok(Self { mantissa, scale })
    }

    fn down(&self) -> Result<Decimal, Overflow> {
        self.rounded(i128::div_euclid)
    }

    fn up(&self) -> Result<Decimal, Overflow> {
        self.rounded(|a, b| a.div_euclid(b) + i128::from(a.rem_euclid(b) != 0))
    }

    fn rounded(&self, divide: impl Fn(i128, i128) -> i128) -> Result<Decimal, Overflow> {
        let excess = self.scale.saturating_sub(DECIMALS);
        let mantissa = match 10_i128.checked_pow(excess) {
            Some(divisor) => divide(self.mantissa, divisor),
            // Beyond 38 decimals only "nothing" or "the smallest unit" can be left.
            None => divide(self.mantissa, i128::MAX),
        };
        Decimal::try_from_i128_with_scale(mantissa, self.scale.min(DECIMALS))
            .map(|value| value.normalize())
            .map_err(|_| Overflow)
    }

    /// Whether the exact product is more than `limit`, which has at most 8 decimals.
    fn exceeds(&self, limit: Decimal) -> bool {
        self.up().map_or(true, |rounded_up| rounded_up > limit)
    }
}

/// Not negative, at most eight decimals, and small enough that a sum of two is exact.
fn fits(value: Decimal) -> Option<Decimal> {
    let value = value.normalize();
    let negative = value.is_sign_negative() && !value.is_zero();
    (!negative && value.scale() <= DECIMALS && value < MOST).then_some(value)
}

/// 10^19: with eight decimals 27 of the 28 digits that a decimal holds.
const MOST: Decimal = Decimal::from_parts(2_313_682_944, 2_328_306_436, 0, false, 0);

/// The number in units of 0.00000001.
fn scaled(value: Decimal) -> Option<i128> {
    let value = value.normalize();
    let missing = DECIMALS.checked_sub(value.scale())?;
    value.mantissa().checked_mul(10_i128.checked_pow(missing)?)
}

fn greatest_common_divisor(a: i128, b: i128) -> i128 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
