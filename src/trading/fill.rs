//! What a decision makes of the book, with a simulated fill where it trades.
//!
//! A run in paper mode gives it the exchange's best price of the moment, a replay the close of the
//! candle; nothing else differs, so what a replay shows is what a run would have done.

use super::book::{Book, Halt, HaltedBy};
use super::machine::{Decision, Transition};
use super::market::{Leg, Side, SymbolRules};
use super::money::{Overflow, Price};
use super::order::{self, Execution, Outcome, Refusal, Sale, Terms};
use super::strategy::ZScore;
use super::time::Timestamp;

/// The best price for an order, and the rules it must keep.
#[derive(Debug, Clone, PartialEq)]
pub struct Touch {
    /// The best ask for a buy, the best bid for a sell.
    pub price: Price,
    /// The symbol's rules.
    pub rules: SymbolRules,
}

/// What became of a decision.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The book afterwards.
    pub book: Book,
    /// The order that was made, and what was executed of it.
    pub order: Option<(Leg, Side, Option<Execution>)>,
    /// Why no order could be made.
    pub refused: Option<Refusal>,
}

impl Decision {
    /// What has to be known of the market before this decision can be carried out.
    #[must_use]
    pub fn needs(&self) -> Option<(Leg, Side)> {
        match self.transition {
            Transition::Stay(_) => None,
            Transition::Enter(leg, _) => Some((leg, Side::Buy)),
            Transition::Leave(leg, _) => Some((leg, Side::Sell)),
        }
    }
}

/// The book after `decision` was made on `candle` and carried out at `touch`.
///
/// `today` is midnight UTC of the day, for the limits of a day. Without a touch nothing is traded.
///
/// **Errors**: a price beyond computation.
pub fn carry_out(
    book: &Book,
    decision: &Decision,
    candle: Timestamp,
    touch: Option<&Touch>,
    terms: &Terms,
    today: Timestamp,
) -> Result<Step, Overflow> {
    let book = book.clone().decided(candle, decision.cooling);
    match (&decision.transition, touch) {
        (Transition::Enter(leg, z), Some(touch)) => {
            enter(book, *leg, *z, candle, touch, terms, today)
        }
        (Transition::Leave(leg, cause), Some(touch)) => {
            leave(book, *leg, decision.cooling || cause.cools(), touch, terms, today)
        }
        (_, None) | (Transition::Stay(_), _) => Ok(Step { book, order: None, refused: None }),
    }
}

fn enter(
    book: Book,
    leg: Leg,
    z: ZScore,
    candle: Timestamp,
    touch: &Touch,
    terms: &Terms,
    today: Timestamp,
) -> Result<Step, Overflow> {
    let order = |done| Some((leg, Side::Buy, done));
    Ok(match order::buy(terms, book.cash, touch.price, &touch.rules) {
        Ok(Outcome::Executed(bought)) => Step {
            book: book.ordered(today).entered(leg, &bought, candle, z)?,
            order: order(Some(bought)),
            refused: None,
        },
        // An entry that was not executed is over.
        Ok(Outcome::Expired) => {
            Step { book: book.ordered(today), order: order(None), refused: None }
        }
        Err(refusal) => Step { book, order: None, refused: Some(refusal) },
    })
}

/// Sells what is held, as far as one order may go.
///
/// **Errors**: a price beyond computation.
pub fn leave(
    book: Book,
    leg: Leg,
    cools: bool,
    touch: &Touch,
    terms: &Terms,
    today: Timestamp,
) -> Result<Step, Overflow> {
    let order = |done| Some((leg, Side::Sell, done));
    let available = book.available()?;
    Ok(match order::sell(terms, available, touch.price, &touch.rules) {
        Ok(Sale::Ordered(Outcome::Executed(sold))) => {
            let rest = available.minus(sold.quantity).ok_or(Overflow)?;
            let goes_on = order::is_sellable(rest, touch.price, &touch.rules)?;
            Step {
                book: book.ordered(today).sold(&sold, goes_on, cools, today)?,
                order: order(Some(sold)),
                refused: None,
            }
        }
        Ok(Sale::Ordered(Outcome::Expired)) => {
            Step { book: book.ordered(today).unsold(cools), order: order(None), refused: None }
        }
        Ok(Sale::TooSmall) => {
            Step { book: book.written_off(cools, today)?, order: None, refused: None }
        }
        Err(refusal) => {
            let mut book = book.unsold(cools);
            book.refusals = book.refusals.saturating_add(1);
            if book.refusals >= MOST_REFUSALS {
                let reason = format!("an exit was refused {} times", book.refusals);
                book.halt = Some(Halt { by: HaltedBy::Program, reason });
            }
            Step { book, order: None, refused: Some(refusal) }
        }
    })
}

/// The same exit refused so often needs a person. **Source**: contract, exit code 76.
const MOST_REFUSALS: u32 = 3;
