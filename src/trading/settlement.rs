//! What became of an order: a verdict on what the exchange shows of it.
//!
//! The money fact is what was executed, never the status alone. Nothing is final until every
//! figure equals the intent's and the fills add up; what doesn't fit is asked again or, if it
//! can't be explained, left to a person.

use rust_decimal::Decimal;

use super::ledger::Intent;
use super::market::{Asset, Pair, Side};
use super::money::{Amount, DECIMALS, Overflow, Price, Quantity};
use super::order::{Execution, Fees, Outcome, Size};
use super::time::Timestamp;

/// What the exchange shows of an order.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderSeen {
    /// `BTCUSDT`.
    pub symbol: String,
    /// The exchange's number.
    pub order_id: u64,
    /// Ours, or somebody's.
    pub client_order_id: String,
    /// Which way.
    pub side: Side,
    /// `MARKET`, `LIMIT` or another.
    pub kind: String,
    /// How far it got.
    pub status: Status,
    /// How much of the base asset was asked for; chosen by the engine for a quote amount.
    pub quantity: Quantity,
    /// The quote amount that was asked for; zero for an order by quantity.
    pub quote_amount: Amount,
    /// How much of the base asset was executed.
    pub executed: Quantity,
    /// How much of the quote asset; `None` where the exchange says "not available".
    pub quote: Option<Amount>,
    /// When it came, in the exchange's time.
    pub time: Timestamp,
}

/// How far an order got.
///
/// **Source**: Binance Spot REST, "Enums", order status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// `NEW`, `PARTIALLY_FILLED`, `PENDING_NEW`, `PENDING_CANCEL`.
    Open,
    /// `FILLED`.
    Filled,
    /// `CANCELED`, `EXPIRED`, `EXPIRED_IN_MATCH`: over, perhaps with a part executed.
    Ended,
    /// `REJECTED`: never accepted.
    Rejected,
    /// A status that did not exist when this was written.
    Unknown(String),
}

impl Status {
    /// Whether more of the order may still be executed.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open | Self::Unknown(_))
    }
}

/// One trade of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fill {
    /// How much of the base asset.
    pub quantity: Quantity,
    /// How much of the quote asset.
    pub quote: Amount,
    /// What the exchange kept.
    pub fee: Quantity,
    /// Of which asset.
    pub fee_asset: Asset,
}

/// An order that is over.
#[derive(Debug, Clone)]
pub struct Settled {
    /// What was executed.
    pub outcome: Outcome,
    /// The exchange's number, where it has one.
    pub order_id: Option<u64>,
    /// When it was known, in the exchange's time.
    pub at: Timestamp,
}

/// What is known of an intent.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// It is over.
    Final(Outcome),
    /// It was executed in part or in full; the fills that say at what fee don't show yet, or order
    /// and fills don't show the same yet.
    FillsMissing,
    /// It is under way.
    Open,
    /// What the exchange shows is not what was asked for, or contradicts itself.
    Unclear(String),
}

/// The verdict on `order`, with its fills where they are known.
///
/// **Errors**: numbers beyond computation.
pub fn judge(
    intent: &Intent,
    pair: &Pair,
    order: &OrderSeen,
    fills: Option<&[Fill]>,
) -> Result<Verdict, Overflow> {
    if let Some(why) = differs(intent, pair, order) {
        return Ok(Verdict::Unclear(why));
    }
    let were_asked = fills.is_some();
    let fills = fills.filter(|fills| !fills.is_empty());
    let is_whole = match intent.ordered.plan.size {
        Size::Base(quantity) => order.executed == quantity,
        Size::Quote(_) => order.executed == order.quantity && !order.executed.is_zero(),
    };
    let is_over = match &order.status {
        Status::Open => return Ok(Verdict::Open),
        // The trades decide; without any the status is empty words.
        Status::Filled if order.executed.is_zero() && !were_asked => {
            return Ok(Verdict::FillsMissing);
        }
        Status::Filled if order.executed.is_zero() => {
            let quantity = sum(fills.unwrap_or_default().iter().map(|fill| fill.quantity))?;
            if quantity.is_zero() || quantity != order.quantity {
                let why = format!("FILLED with nothing executed, and trades of {quantity}");
                return Ok(Verdict::Unclear(why));
            }
            let told = OrderSeen { executed: quantity, quote: None, ..order.clone() };
            return judge(intent, pair, &told, fills);
        }
        Status::Rejected if !order.executed.is_zero() => {
            return Ok(Verdict::Unclear("REJECTED with something executed".to_owned()));
        }
        Status::Filled | Status::Ended | Status::Rejected => true,
        Status::Unknown(_) => is_whole,
    };
    if !is_over {
        let Status::Unknown(status) = &order.status else { return Ok(Verdict::Open) };
        return Ok(Verdict::Unclear(format!("its status is {status}, which is not known")));
    }
    if order.executed.is_zero() && fills.is_none() {
        return Ok(Verdict::Final(Outcome::Expired));
    }
    let Some(fills) = fills else { return Ok(Verdict::FillsMissing) };
    let is_short = matches!(intent.ordered.plan.size, Size::Base(_)) && !is_whole;
    if is_short && order.status == Status::Filled {
        // One of the two is old: what else was executed would be lost.
        return Ok(Verdict::FillsMissing);
    }
    let quantity = sum(fills.iter().map(|fill| fill.quantity))?;
    let quote = fills.iter().try_fold(Amount::ZERO, |sum, fill| sum.plus(fill.quote))?;
    // The order's own sum is the exact one: each fill may have been rounded to its last decimal.
    let quote = match order.quote {
        Some(shown) if is_rounded_sum(shown, quote, fills.len()) => shown,
        Some(_) => return Ok(Verdict::FillsMissing),
        None => quote,
    };
    if quantity != order.executed {
        return Ok(Verdict::FillsMissing);
    }
    let Some(price) = Price::average(quote, quantity) else {
        return Ok(Verdict::Unclear(format!("{quantity} were executed for {quote}")));
    };
    let side = intent.ordered.plan.side;
    let fees = fees(intent, pair, fills)?;
    Ok(Verdict::Final(Outcome::Executed(Execution { side, quantity, quote, price, fees })))
}

/// Whether two sums differ by no more than the last decimal of each fill.
fn is_rounded_sum(shown: Amount, sum: Amount, fills: usize) -> bool {
    let apart = shown.minus(sum).or_else(|| sum.minus(shown)).unwrap_or_default();
    let Ok(fills) = i64::try_from(fills) else { return false };
    apart.value() <= Decimal::new(fills, DECIMALS)
}

/// In what the order is not the intent, in words.
fn differs(intent: &Intent, pair: &Pair, order: &OrderSeen) -> Option<String> {
    let plan = &intent.ordered.plan;
    let kind = plan.kind().name();
    let symbol = pair.symbol(intent.ordered.leg).code();
    let differs = |what: &str, asked: &dyn ToString, shown: &dyn ToString| {
        Some(format!("its {what} is {}, not {}", shown.to_string(), asked.to_string()))
    };
    if order.client_order_id != intent.client_order_id {
        return differs("id", &intent.client_order_id, &order.client_order_id);
    }
    if order.symbol != symbol {
        return differs("symbol", &symbol, &order.symbol);
    }
    if order.side != plan.side {
        return differs("side", &plan.side, &order.side);
    }
    if order.kind != kind {
        return differs("type", &kind, &order.kind);
    }
    match plan.size {
        Size::Base(quantity) if order.quantity != quantity => {
            return differs("quantity", &quantity, &order.quantity);
        }
        Size::Quote(amount) if order.quote_amount != amount => {
            return differs("quote amount", &amount, &order.quote_amount);
        }
        Size::Base(_) | Size::Quote(_) => {}
    }
    if order.executed > order.quantity {
        return Some(format!("{} of {} were executed", order.executed, order.quantity));
    }
    None
}

fn fees(intent: &Intent, pair: &Pair, fills: &[Fill]) -> Result<Fees, Overflow> {
    let base = pair.asset(intent.ordered.leg);
    let mut fees = Fees::default();
    for fill in fills.iter().filter(|fill| !fill.fee.is_zero()) {
        if fill.fee_asset == *base {
            fees.base = fees.base.plus(fill.fee)?;
        } else if fill.fee_asset == *pair.quote() {
            let fee = Amount::new(fill.fee.value()).ok_or(Overflow)?;
            fees.quote = fees.quote.plus(fee)?;
        } else {
            let paid = fees.other.entry(fill.fee_asset.clone()).or_default();
            *paid = paid.plus(fill.fee)?;
        }
    }
    Ok(fees)
}

fn sum(quantities: impl Iterator<Item = Quantity>) -> Result<Quantity, Overflow> {
    let mut sum = Quantity::ZERO;
    for quantity in quantities {
        sum = sum.plus(quantity)?;
    }
    Ok(sum)
}
