//! Orders: how much is asked for, and what the simulated exchange makes of it.
//!
//! [`buy`] and [`sell`] are the whole of a simulated market. A run in paper mode gives them the
//! exchange's best price of the moment and the symbol's real rules; replay gives them the close
//! of the candle and no rules but eight decimals.

use rust_decimal::Decimal;

use super::market::{Side, Symbol, SymbolRules};
use super::money::{Amount, BasisPoints, Overflow, Price, Quantity};

/// What a trade costs and how far it may go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Terms {
    /// Spent per entry.
    pub amount: Amount,
    /// Taken out of what is received.
    pub fee: BasisPoints,
    /// How much worse than the best price a simulated fill is.
    pub slippage: BasisPoints,
    /// How much worse than the best price an order may be filled at; `None` for market orders.
    pub max_slippage: Option<BasisPoints>,
}

/// What was executed.
#[derive(Debug, Clone, PartialEq)]
pub struct Execution {
    /// Which way.
    pub side: Side,
    /// How much of the base asset changed hands, before the fee.
    pub quantity: Quantity,
    /// How much of the quote asset changed hands, before the fee.
    pub quote: Amount,
    /// The price of the fill.
    pub price: Price,
    /// What the exchange kept, out of what was received.
    pub fee: Fee,
}

/// A fee, in the asset that was received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fee {
    /// On a buy.
    Base(Quantity),
    /// On a sell.
    Quote(Amount),
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was executed, in full or as far as one order may go.
    Executed(Execution),
    /// The price was beyond its bound: nothing was executed.
    Expired,
}

/// What became of the attempt to sell.
#[derive(Debug, Clone, PartialEq)]
pub enum Sale {
    /// An order was made.
    Ordered(Outcome),
    /// What there is, is less than the exchange takes.
    TooSmall,
}

/// Why no order can be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// The free balance is less than the amount.
    Balance {
        /// What one entry spends.
        amount: Amount,
        /// What there is.
        free: Amount,
    },
    /// The symbol is not traded now.
    NotTrading {
        /// Its status.
        status: String,
    },
    /// What the amount buys could not be sold again.
    NotSellable {
        /// What would be left to sell, after the fee, in whole steps.
        quantity: Quantity,
        /// What it is worth, in the quote asset.
        worth: Amount,
        /// The exchange's smallest quantity.
        min_quantity: Quantity,
        /// The exchange's smallest notional, with the margin that we add.
        min_notional: Decimal,
    },
    /// The numbers are beyond exact computation.
    TooLarge,
}

impl From<Overflow> for Refusal {
    fn from(_: Overflow) -> Self {
        Self::TooLarge
    }
}

impl Refusal {
    /// The sentence for a person, with the names of what is traded.
    #[must_use]
    pub fn sentence(&self, symbol: &Symbol) -> String {
        let quote = &symbol.quote;
        match self {
            Self::Balance { amount, free } => format!(
                "the free balance is {free} {quote}, less than the {amount} {quote} that an entry spends"
            ),
            Self::NotTrading { status } => {
                format!("the status of {} is {status}, not TRADING", symbol.code())
            }
            Self::NotSellable { quantity, worth, min_quantity, min_notional } => format!(
                "what would be left to sell of {}, {quantity} worth {worth} {quote}, is below the \
                 exchange's smallest order (quantity {min_quantity}, notional {min_notional} \
                 {quote} with a margin)",
                symbol.code()
            ),
            Self::TooLarge => format!("{}: {Overflow}", symbol.code()),
        }
    }
}

/// A market buy for `terms.amount`, filled at the touch.
///
/// **Rounding**: the quantity down to the step, the cost up, the fee up.
pub fn buy(
    terms: &Terms,
    free: Amount,
    touch: Price,
    rules: &SymbolRules,
) -> Result<Outcome, Refusal> {
    if !rules.is_trading() {
        return Err(Refusal::NotTrading { status: rules.status.clone() });
    }
    if free < terms.amount {
        return Err(Refusal::Balance { amount: terms.amount, free });
    }
    let price = touch.raised_by(terms.slippage).ok_or(Refusal::TooLarge)?;
    let wanted = Quantity::bought_with(terms.amount, price, rules.step)?;
    let quantity = at_most(wanted, rules)?;
    let fee = quantity.fee_up(terms.fee)?;

    let left = quantity.minus(fee).unwrap_or_default().floor_to(rules.step)?;
    let worth = Amount::proceeds_down(left, touch)?;
    let min_notional = rules.min_notional.checked_mul(EXIT_MARGIN).ok_or(Refusal::TooLarge)?;
    if left.is_zero() || left < rules.min_quantity || worth.value() < min_notional {
        return Err(Refusal::NotSellable {
            quantity: left,
            worth,
            min_quantity: rules.min_quantity,
            min_notional: min_notional.normalize(),
        });
    }
    if is_beyond(terms) {
        return Ok(Outcome::Expired);
    }
    let quote = Amount::cost_up(quantity, price)?;
    let fee = Fee::Base(fee);
    Ok(Outcome::Executed(Execution { side: Side::Buy, quantity, quote, price, fee }))
}

/// A market sell of `available`, or of as much of it as one order may sell, filled at the touch.
///
/// **Rounding**: the quantity down to the step, the proceeds down, the fee up.
pub fn sell(
    terms: &Terms,
    available: Quantity,
    touch: Price,
    rules: &SymbolRules,
) -> Result<Sale, Refusal> {
    if !rules.is_trading() {
        return Err(Refusal::NotTrading { status: rules.status.clone() });
    }
    if !is_sellable(available, touch, rules)? {
        return Ok(Sale::TooSmall);
    }
    if is_beyond(terms) {
        return Ok(Sale::Ordered(Outcome::Expired));
    }
    let price = touch.lowered_by(terms.slippage).ok_or(Refusal::TooLarge)?;
    let quantity = at_most(available.floor_to(rules.step)?, rules)?;
    let quote = Amount::proceeds_down(quantity, price)?;
    let fee = Fee::Quote(quote.fee_up(terms.fee)?);
    Ok(Sale::Ordered(Outcome::Executed(Execution {
        side: Side::Sell,
        quantity,
        quote,
        price,
        fee,
    })))
}

/// Whether the exchange takes an order for this quantity, in whole steps.
pub fn is_sellable(
    quantity: Quantity,
    touch: Price,
    rules: &SymbolRules,
) -> Result<bool, Overflow> {
    let quantity = quantity.floor_to(rules.step)?;
    let worth = Amount::proceeds_down(quantity, touch)?;
    Ok(!quantity.is_zero() && quantity >= rules.min_quantity && worth.value() >= rules.min_notional)
}

fn at_most(quantity: Quantity, rules: &SymbolRules) -> Result<Quantity, Overflow> {
    match rules.max_quantity {
        Some(most) if most < quantity => most.floor_to(rules.step),
        _ => Ok(quantity),
    }
}

/// Whether a simulated fill would be worse than the order's bound allows.
fn is_beyond(terms: &Terms) -> bool {
    terms.max_slippage.is_some_and(|most| terms.slippage > most)
}

/// The exchange judges an exit by an average price of the last minutes, and the price may fall
/// until then: an entry must be worth a twentieth more than the smallest exit.
/// **Source**: Binance Spot REST, "Filters", `NOTIONAL`, `avgPriceMins`.
const EXIT_MARGIN: Decimal = Decimal::from_parts(105, 0, 0, false, 2);
