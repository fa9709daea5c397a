//! What a decision makes of the book: the order it plans, and what an order's outcome changes.
//!
//! Live, on paper and in a replay [`plan`] and [`settle`] are the same; only what happens between
//! the two differs. [`carry_out`] is both with a simulated fill between them: a run in paper mode
//! gives it the exchange's best price of the moment, a replay the close of the candle.

use super::book::{Book, Halt, HaltedBy};
use super::machine::{Decision, Transition};
use super::market::{Leg, Side};
use super::money::{Amount, Overflow, Quantity};
use super::order::{self, Execution, Ordered, Outcome, Purpose, Refusal, Terms, Touch};
use super::time::Timestamp;

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

/// What a decision asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Planned {
    /// Nothing: it stays, or there is no price.
    Nothing,
    /// An exit of what is too small to be sold.
    TooSmall {
        /// As in [`Purpose::Exit`].
        cools: bool,
    },
    /// This order.
    Order(Ordered),
    /// An order that can't be made.
    Refused(Refusal),
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

    fn cools(&self) -> bool {
        match &self.transition {
            Transition::Leave(_, cause) => self.cooling || cause.cools(),
            Transition::Stay(_) | Transition::Enter(..) => self.cooling,
        }
    }
}

/// What may be used for an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Funds {
    /// Of the quote asset.
    pub quote: Amount,
    /// Of the leg's base asset; `None` where the book alone knows.
    pub base: Option<Quantity>,
}

/// The order that a decision asks for.
///
/// **Errors**: a price beyond computation.
pub fn plan(
    book: &Book,
    decision: &Decision,
    touch: Option<&Touch>,
    funds: Funds,
    terms: &Terms,
) -> Result<Planned, Overflow> {
    let Some(touch) = touch else { return Ok(Planned::Nothing) };
    let (leg, purpose, plan) = match decision.transition {
        Transition::Stay(_) => return Ok(Planned::Nothing),
        Transition::Enter(leg, z) => {
            let plan = order::buy(terms, funds.quote, touch.price, &touch.rules);
            (leg, Purpose::Entry(z), plan.map(Some))
        }
        Transition::Leave(leg, _) => {
            let available = book.available()?;
            let available = funds.base.map_or(available, |free| available.min(free));
            let plan = order::sell(terms, available, touch.price, &touch.rules);
            (leg, Purpose::Exit { cools: decision.cools() }, plan)
        }
    };
    Ok(match plan {
        Ok(Some(plan)) => Planned::Order(Ordered { leg, purpose, plan }),
        Ok(None) => Planned::TooSmall { cools: decision.cools() },
        Err(refusal) => Planned::Refused(refusal),
    })
}

/// The book after `decision` was made on `candle` and carried out at `touch`, simulated.
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
    let funds = Funds { quote: book.cash.unwrap_or_default(), base: None };
    let planned = plan(&book, decision, touch, funds, terms)?;
    let (Planned::Order(ordered), Some(touch)) = (&planned, touch) else {
        return without_order(book, decision, planned, today);
    };
    let outcome = order::fill(&ordered.plan, terms, touch.price, &touch.rules)?;
    let book = settle(book.ordered(today), ordered, candle, &outcome, touch, today)?;
    let done = match outcome {
        Outcome::Executed(execution) => Some(execution),
        Outcome::Expired => None,
    };
    Ok(Step { book, order: Some((ordered.leg, ordered.plan.side, done)), refused: None })
}

/// The book after a decision that comes to no order.
pub fn without_order(
    book: Book,
    decision: &Decision,
    planned: Planned,
    today: Timestamp,
) -> Result<Step, Overflow> {
    let (book, refused) = match planned {
        Planned::Nothing | Planned::Order(_) => (book, None),
        Planned::TooSmall { cools } => (book.written_off(cools, today)?, None),
        Planned::Refused(refusal) => {
            let book = match decision.transition {
                Transition::Leave(..) => refused_exit(book, decision.cools()),
                // An entry that was not executed is over.
                Transition::Enter(..) | Transition::Stay(_) => book,
            };
            (book, Some(refusal))
        }
    };
    Ok(Step { book, order: None, refused })
}

/// The book after an order that was made on `candle` is over.
///
/// `touch` tells whether what is left of a sale could be sold by a further order.
///
/// **Errors**: numbers beyond computation.
pub fn settle(
    book: Book,
    ordered: &Ordered,
    candle: Timestamp,
    outcome: &Outcome,
    touch: &Touch,
    today: Timestamp,
) -> Result<Book, Overflow> {
    match (ordered.purpose, outcome) {
        (Purpose::Entry(z), Outcome::Executed(bought)) => {
            book.entered(ordered.leg, bought, candle, z, today)
        }
        // An entry that was not executed is over.
        (Purpose::Entry(_), Outcome::Expired) => Ok(book),
        (Purpose::Exit { cools }, Outcome::Executed(sold)) => {
            let rest = book.rest_after(sold)?;
            let goes_on = order::is_sellable(rest, touch.price, &touch.rules)?;
            book.sold(sold, rest, goes_on, cools, today)
        }
        (Purpose::Exit { cools }, Outcome::Expired) => Ok(book.unsold(cools)),
    }
}

/// The book after an exit was refused: it stays due, and the third refusal needs a person.
#[must_use]
pub fn refused_exit(book: Book, cools: bool) -> Book {
    let mut book = book.unsold(cools);
    book.refusals = book.refusals.saturating_add(1);
    if book.refusals >= MOST_REFUSALS {
        let reason = format!("an exit was refused {} times", book.refusals);
        book.halt = Some(Halt { by: HaltedBy::Program, reason });
    }
    book
}

/// The same exit refused so often needs a person. **Source**: contract, exit code 76.
const MOST_REFUSALS: u32 = 3;
