//! Orders: what is asked of the exchange, and what a simulated one makes of it.
//!
//! [`buy`] and [`sell`] plan; live, on paper and in a replay they are the same. [`fill`] is the
//! whole of a simulated market. A run in paper mode gives them the exchange's best price of the
//! moment and the symbol's real rules; replay gives them the close of the candle and no rules but
//! eight decimals.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::market::{Asset, Leg, Side, Symbol, SymbolRules};
use super::money::{Amount, BasisPoints, Overflow, Price, Quantity};
use super::strategy::ZScore;

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

/// A kind of order, in the exchange's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// At whatever price there is.
    Market,
    /// At a limit or better, immediately or not at all.
    Limit,
}

impl Kind {
    /// `MARKET` or `LIMIT`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Market => "MARKET",
            Self::Limit => "LIMIT",
        }
    }
}

impl Terms {
    /// The kind of order that these terms ask for.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.max_slippage.is_some() { Kind::Limit } else { Kind::Market }
    }
}

impl Plan {
    /// The kind of order that this is.
    #[must_use]
    pub fn kind(&self) -> Kind {
        if self.limit.is_some() { Kind::Limit } else { Kind::Market }
    }
}

/// What is asked of the exchange. It never rests there: a market order and a limit order that is
/// immediate-or-cancel are both over once the engine has seen them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Which way.
    pub side: Side,
    /// How much.
    pub size: Size,
    /// The worst price, for a LIMIT IOC order; `None` for a market order.
    pub limit: Option<Price>,
}

/// How much is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// So much of the base asset: `quantity`.
    Base(Quantity),
    /// As much as this buys: `quoteOrderQty`. Part of it may be left over.
    Quote(Amount),
}

/// The best price for an order, and the rules it must keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Touch {
    /// The best ask for a buy, the best bid for a sell.
    pub price: Price,
    /// The symbol's rules.
    pub rules: SymbolRules,
}

/// An order for a decision, before anybody was asked.
#[derive(Debug, Clone, PartialEq)]
pub struct Ordered {
    /// Which leg.
    pub leg: Leg,
    /// What for.
    pub purpose: Purpose,
    /// What is asked.
    pub plan: Plan,
}

/// What an order is for, with what the book has to know of it once it is executed.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Purpose {
    /// To hold the leg; on this z-score.
    Entry(ZScore),
    /// To hold nothing.
    Exit {
        /// Whether entries are barred afterwards until z has been back inside the threshold.
        cools: bool,
    },
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
    /// The average price of the fills.
    pub price: Price,
    /// What the exchange kept.
    pub fees: Fees,
}

/// Fees by asset. Usually they come out of what is received; with a discount out of something else.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fees {
    /// In the symbol's base asset.
    pub base: Quantity,
    /// In the symbol's quote asset.
    pub quote: Amount,
    /// In any other asset, such as BNB.
    pub other: BTreeMap<Asset, Quantity>,
}

impl Fees {
    /// A fee in the base asset.
    #[must_use]
    pub fn in_base(fee: Quantity) -> Self {
        Self { base: fee, ..Self::default() }
    }

    /// A fee in the quote asset.
    #[must_use]
    pub fn in_quote(fee: Amount) -> Self {
        Self { quote: fee, ..Self::default() }
    }
}

/// What became of an order.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// It was executed, in full or as far as it went.
    Executed(Execution),
    /// It is over, and nothing was executed.
    Expired,
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
    /// The symbol doesn't take this kind of order.
    NotTaken {
        /// In the exchange's words, such as `MARKET`.
        kind: String,
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
            Self::NotTaken { kind } => format!(
                "{} takes no {kind} orders; with MAX_SLIPPAGE_BPS an order is a limit order, \
                 with 0 a market order",
                symbol.code()
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

/// A buy for `terms.amount`.
///
/// A market order names the amount; a limit order the quantity that it buys at the worst price.
///
/// **Rounding**: the amount down to the exchange's precision, the quantity down to the step, the
/// limit down to the tick.
pub fn buy(
    terms: &Terms,
    free: Amount,
    touch: Price,
    rules: &SymbolRules,
) -> Result<Plan, Refusal> {
    check_taken(rules)?;
    if free < terms.amount {
        return Err(Refusal::Balance { amount: terms.amount, free });
    }
    let limit = match terms.max_slippage {
        Some(most) => {
            let limit = touch.raised_by(most).ok_or(Refusal::TooLarge)?;
            Some(limit.floor_to(rules.tick)?)
        }
        None => None,
    };
    let price = match limit {
        Some(limit) => limit,
        None => touch.raised_by(terms.slippage).ok_or(Refusal::TooLarge)?,
    };
    let wanted = Quantity::bought_with(terms.amount, price, rules.step)?;
    let quantity = at_most(wanted, rules)?;
    check_sellable(quantity, touch, terms, rules)?;
    // An amount would buy more than one order may have; then the quantity is named.
    let size = if limit.is_some() || quantity < wanted {
        Size::Base(quantity)
    } else if rules.takes_quote_amounts {
        Size::Quote(terms.amount.floor_to(rules.quote_step)?)
    } else {
        return Err(Refusal::NotTaken { kind: "MARKET by quote amount".to_owned() });
    };
    Ok(Plan { side: Side::Buy, size, limit })
}

/// A sell of `available`, or of as much of it as one order may sell; `None` where that is less
/// than the exchange takes.
///
/// **Rounding**: the quantity down to the step, the limit up to the tick and to where the order is
/// worth enough.
pub fn sell(
    terms: &Terms,
    available: Quantity,
    touch: Price,
    rules: &SymbolRules,
) -> Result<Option<Plan>, Refusal> {
    check_taken(rules)?;
    if !is_sellable(available, touch, rules)? {
        return Ok(None);
    }
    let quantity = at_most(available.floor_to(rules.step)?, rules)?;
    let limit = match terms.max_slippage {
        Some(most) => {
            let limit = touch.lowered_by(most).ok_or(Refusal::TooLarge)?;
            // The exchange judges such an order at its limit: what is worth enough at the touch
            // must not be refused for a bound that is wider than that.
            let least = Price::at_which(quantity, rules.min_notional);
            let limit = least.map_or(limit, |least| limit.max(least.min(touch)));
            Some(limit.ceil_to(rules.tick)?)
        }
        None => None,
    };
    Ok(Some(Plan { side: Side::Sell, size: Size::Base(quantity), limit }))
}

/// What a simulated exchange makes of a plan: a fill at the touch, moved against us by
/// `terms.slippage`.
///
/// **Rounding**: the quantity down to the step, a cost up, proceeds down, the fee up.
pub fn fill(
    plan: &Plan,
    terms: &Terms,
    touch: Price,
    rules: &SymbolRules,
) -> Result<Outcome, Overflow> {
    if plan.limit.is_some() && terms.max_slippage.is_some_and(|most| terms.slippage > most) {
        return Ok(Outcome::Expired);
    }
    let price = match plan.side {
        Side::Buy => touch.raised_by(terms.slippage).ok_or(Overflow)?,
        Side::Sell => touch.lowered_by(terms.slippage).ok_or(Overflow)?,
    };
    // The limit is in whole ticks, so it may be a fraction of one nearer than the bound.
    let price = match (plan.limit, plan.side) {
        (Some(limit), Side::Buy) => price.min(limit),
        (Some(limit), Side::Sell) => price.max(limit),
        (None, _) => price,
    };
    let quantity = match plan.size {
        Size::Base(quantity) => quantity,
        Size::Quote(amount) => Quantity::bought_with(amount, price, rules.step)?,
    };
    let (quote, fees) = match plan.side {
        Side::Buy => {
            (Amount::cost_up(quantity, price)?, Fees::in_base(quantity.fee_up(terms.fee)?))
        }
        Side::Sell => {
            let quote = Amount::proceeds_down(quantity, price)?;
            (quote, Fees::in_quote(quote.fee_up(terms.fee)?))
        }
    };
    Ok(Outcome::Executed(Execution { side: plan.side, quantity, quote, price, fees }))
}

/// Whether the exchange takes an order for this quantity, in whole steps, at `price`.
pub fn is_sellable(
    quantity: Quantity,
    price: Price,
    rules: &SymbolRules,
) -> Result<bool, Overflow> {
    let quantity = quantity.floor_to(rules.step)?;
    let worth = Amount::proceeds_down(quantity, price)?;
    Ok(!quantity.is_zero() && quantity >= rules.min_quantity && worth.value() >= rules.min_notional)
}

fn check_taken(rules: &SymbolRules) -> Result<(), Refusal> {
    if !rules.is_trading() {
        return Err(Refusal::NotTrading { status: rules.status.clone() });
    }
    match &rules.not_taken {
        Some(kind) => Err(Refusal::NotTaken { kind: kind.clone() }),
        None => Ok(()),
    }
}

/// Whether what is left of `quantity` after the fee could be sold again.
fn check_sellable(
    quantity: Quantity,
    price: Price,
    terms: &Terms,
    rules: &SymbolRules,
) -> Result<(), Refusal> {
    let fee = quantity.fee_up(terms.fee)?;
    let left = quantity.minus(fee).unwrap_or_default().floor_to(rules.step)?;
    let worth = Amount::proceeds_down(left, price)?;
    let min_notional = rules.min_notional.checked_mul(EXIT_MARGIN).ok_or(Refusal::TooLarge)?;
    if left.is_zero() || left < rules.min_quantity || worth.value() < min_notional {
        return Err(Refusal::NotSellable {
            quantity: left,
            worth,
            min_quantity: rules.min_quantity,
            min_notional: min_notional.normalize(),
        });
    }
    Ok(())
}

fn at_most(quantity: Quantity, rules: &SymbolRules) -> Result<Quantity, Overflow> {
    match rules.max_quantity {
        Some(most) if most < quantity => most.floor_to(rules.step),
        _ => Ok(quantity),
    }
}

/// The exchange judges an exit by an average price of the last minutes, and the price may fall
/// until then: an entry must be worth a twentieth more than the smallest exit.
/// **Source**: Binance Spot REST, "Filters", `NOTIONAL`, `avgPriceMins`.
const EXIT_MARGIN: Decimal = Decimal::from_parts(105, 0, 0, false, 2);
