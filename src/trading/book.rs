//! The book: what is held, what it cost, what was gained, and what a trade makes of it.
//!
//! Invariant on paper, exact: `cash = opening balance + realized - cost of what is held + proceeds
//! so far`. Live there is no cash in the book: the account says what is free.

use std::collections::BTreeMap;

use super::ledger::{Intent, Ledger};
use super::market::{Asset, Leg};
use super::money::{Amount, Overflow, Price, Profit, Quantity};
use super::order::Execution;
use super::strategy::ZScore;
use super::time::Timestamp;

/// Everything that a run needs to know of the past.
#[derive(Debug, Clone, PartialEq)]
pub struct Book {
    /// What is held.
    pub position: Position,
    /// What was too small to sell, per leg; it goes along with the next sale of that leg.
    pub dust: Dust,
    /// Free quote asset of the paper account; `None` live.
    pub cash: Option<Amount>,
    /// Gained or lost by round trips that are over, after fees in their base and quote assets.
    pub realized: Profit,
    /// Fees paid in any other asset, such as BNB; they are not in `realized`.
    pub other_fees: BTreeMap<Asset, Quantity>,
    /// How many round trips are over.
    pub round_trips: u64,
    /// The newest candle that was decided on.
    pub last_candle: Option<Timestamp>,
    /// Orders and results of one UTC day, for the limits.
    pub day: Day,
    /// Orders made for the last candle, so that each has an id of its own.
    pub attempts: u32,
    /// How often in a row the exit that is under way was refused.
    pub refusals: u32,
    /// Set when no new order may leave.
    pub halt: Option<Halt>,
    /// What ties the book to an account of the exchange; `None` on paper.
    pub ledger: Option<Ledger>,
}

/// What is held. Exactly one of three, so that "half sold" cannot be forgotten.
#[derive(Debug, Clone, PartialEq)]
pub enum Position {
    /// Nothing. While `cooling`, no entry is made.
    Flat {
        /// A stop was hit and z has not been back inside the entry threshold.
        cooling: bool,
    },
    /// Bought.
    Holding(Holding),
    /// An exit was decided and is not finished: z has no say any more.
    Leaving(Leaving),
}

/// A leg that was bought.
#[derive(Debug, Clone, PartialEq)]
pub struct Holding {
    /// Which.
    pub leg: Leg,
    /// How much of it is left to sell. Greater than zero.
    pub quantity: Quantity,
    /// What the entry cost, in the quote asset.
    pub cost: Amount,
    /// What part sales brought so far, after fees, in the quote asset.
    pub proceeds: Amount,
    /// The price of the entry.
    pub entry_price: Price,
    /// The z-score it was entered on; `None` where it was bought elsewhere and adopted.
    pub entry_z: Option<ZScore>,
    /// The candle it was entered on.
    pub entry_candle: Timestamp,
}

/// Coins that somebody else bought, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adoption {
    /// Which.
    pub leg: Leg,
    /// How many. Greater than zero.
    pub quantity: Quantity,
    /// What they cost, in the quote asset. Greater than zero.
    pub cost: Amount,
}

/// A holding whose exit is under way.
#[derive(Debug, Clone, PartialEq)]
pub struct Leaving {
    /// What is left.
    pub holding: Holding,
    /// Whether the exit was a stop, so that entries are barred after it.
    pub cools: bool,
}

/// What was too small to sell, per leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dust {
    /// Of the numerator.
    pub numerator: Quantity,
    /// Of the denominator.
    pub denominator: Quantity,
}

impl Dust {
    /// One leg's.
    #[must_use]
    pub fn of(&self, leg: Leg) -> Quantity {
        match leg {
            Leg::Numerator => self.numerator,
            Leg::Denominator => self.denominator,
        }
    }

    fn with(mut self, leg: Leg, quantity: Quantity) -> Self {
        match leg {
            Leg::Numerator => self.numerator = quantity,
            Leg::Denominator => self.denominator = quantity,
        }
        self
    }
}

/// Orders and results of one UTC day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Midnight of the day.
    pub date: Timestamp,
    /// How many orders were made, entries and exits.
    pub orders: u32,
    /// Gained or lost by the round trips that ended on it.
    pub realized: Profit,
}

impl Day {
    /// A day on which nothing has happened yet.
    #[must_use]
    pub fn fresh(date: Timestamp) -> Self {
        Self { date, orders: 0, realized: Profit::ZERO }
    }

    /// This day's figures if it is `today`, else a fresh day's.
    #[must_use]
    pub fn on(self, today: Timestamp) -> Self {
        if self.date == today { self } else { Self::fresh(today) }
    }
}

/// Why nothing new is traded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halt {
    /// Who stopped it.
    pub by: HaltedBy,
    /// In words.
    pub reason: String,
}

/// Who stopped it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HaltedBy {
    /// A person, by `halt` or `flatten`: runs end well.
    Person,
    /// The program itself: every run asks for a person.
    Program,
}

impl Position {
    /// What is held, if anything, whether its exit is under way or not.
    #[must_use]
    pub fn holding(&self) -> Option<&Holding> {
        match self {
            Self::Flat { .. } => None,
            Self::Holding(holding) | Self::Leaving(Leaving { holding, .. }) => Some(holding),
        }
    }
}

impl Book {
    /// A paper book in which nothing has happened yet.
    #[must_use]
    pub fn open(cash: Amount) -> Self {
        Self { cash: Some(cash), ..Self::unclaimed() }
    }

    /// A live book in which nothing has happened yet: until an account answers for it nothing is
    /// traded.
    #[must_use]
    pub fn unclaimed() -> Self {
        Self {
            position: Position::Flat { cooling: false },
            dust: Dust::default(),
            cash: None,
            realized: Profit::ZERO,
            other_fees: BTreeMap::new(),
            round_trips: 0,
            last_candle: None,
            day: Day::fresh(Timestamp::EPOCH),
            attempts: 0,
            refusals: 0,
            halt: None,
            ledger: None,
        }
    }

    /// The order that may have been sent and whose outcome is not known yet.
    #[must_use]
    pub fn pending(&self) -> Option<&Intent> {
        self.ledger.as_ref()?.pending.as_ref()
    }

    /// How much of what is held can be sold: the holding and its leg's dust.
    pub fn available(&self) -> Result<Quantity, Overflow> {
        match self.position.holding() {
            Some(holding) => holding.quantity.plus(self.dust.of(holding.leg)),
            None => Ok(Quantity::ZERO),
        }
    }

    /// The book after a candle was decided on.
    #[must_use]
    pub fn decided(mut self, candle: Timestamp, cooling: bool) -> Self {
        if self.last_candle != Some(candle) {
            self.attempts = 0;
        }
        self.last_candle = Some(candle);
        if let Position::Flat { cooling: flat } = &mut self.position {
            *flat = cooling;
        }
        self
    }

    /// The book after an order was made, whatever becomes of it.
    #[must_use]
    pub fn ordered(mut self, today: Timestamp) -> Self {
        let mut day = self.day.on(today);
        day.orders = day.orders.saturating_add(1);
        self.day = day;
        self.attempts = self.attempts.saturating_add(1);
        self
    }

    /// The book after a leg was bought.
    ///
    /// **Errors**: the cost is more than the cash, or the numbers are beyond computation; neither
    /// is possible for a simulated fill.
    pub fn entered(
        mut self,
        leg: Leg,
        bought: &Execution,
        candle: Timestamp,
        z: ZScore,
        today: Timestamp,
    ) -> Result<Self, Overflow> {
        let cost = bought.quote.plus(bought.fees.quote)?;
        self.cash = match self.cash {
            Some(cash) => Some(cash.minus(cost).ok_or(Overflow)?),
            None => None,
        };
        self = self.paid_elsewhere(bought)?;
        self.refusals = 0;
        let holding = Holding {
            leg,
            // What a fee takes beyond what was bought was the owner's.
            quantity: bought.quantity.minus(bought.fees.base).unwrap_or_default(),
            cost,
            proceeds: Amount::ZERO,
            entry_price: bought.price,
            entry_z: Some(z),
            entry_candle: candle,
        };
        if holding.quantity.is_zero() {
            let rest = self.dust.of(leg);
            return self.closed(&holding, rest, false, today);
        }
        self.position = Position::Holding(holding);
        Ok(self)
    }

    /// The book after coins were taken into it that somebody else had bought. `candle` is the newest
    /// that was closed then; the next decision is on it, and on none before.
    ///
    /// **Errors**: the cost is more than the cash, or the numbers are beyond computation.
    pub fn adopted(
        mut self,
        adoption: &Adoption,
        candle: Timestamp,
        before: Timestamp,
    ) -> Result<Self, Overflow> {
        let Adoption { leg, quantity, cost } = *adoption;
        self.cash = match self.cash {
            Some(cash) => Some(cash.minus(cost).ok_or(Overflow)?),
            None => None,
        };
        if self.last_candle.is_none_or(|last| last < before) {
            self = self.decided(before, false);
        }
        self.refusals = 0;
        self.position = Position::Holding(Holding {
            leg,
            quantity,
            cost,
            proceeds: Amount::ZERO,
            entry_price: Price::average(cost, quantity).ok_or(Overflow)?,
            entry_z: None,
            entry_candle: candle,
        });
        Ok(self)
    }

    /// The book after (a part of) what is held was sold. `rest_is_sellable` says whether what is
    /// left is enough for a further order; if so the exit goes on, else it becomes dust.
    pub fn sold(
        mut self,
        sold: &Execution,
        rest: Quantity,
        rest_is_sellable: bool,
        cools: bool,
        today: Timestamp,
    ) -> Result<Self, Overflow> {
        let Some(holding) = self.position.holding().cloned() else {
            return Ok(self);
        };
        let received = sold.quote.minus(sold.fees.quote).ok_or(Overflow)?;
        self.cash = match self.cash {
            Some(cash) => Some(cash.plus(received)?),
            None => None,
        };
        self = self.paid_elsewhere(sold)?;
        let proceeds = holding.proceeds.plus(received)?;
        self.refusals = 0;
        if rest_is_sellable {
            self.dust = self.dust.with(holding.leg, Quantity::ZERO);
            let holding = Holding { quantity: rest, proceeds, ..holding };
            self.position = Position::Leaving(Leaving { holding, cools });
            return Ok(self);
        }
        self.closed(&Holding { proceeds, ..holding }, rest, cools, today)
    }

    /// What would be left of what can be sold after this sale. A fee in the base asset that is
    /// more than the rest was the owner's.
    pub fn rest_after(&self, sold: &Execution) -> Result<Quantity, Overflow> {
        let rest = self.available()?.minus(sold.quantity).ok_or(Overflow)?;
        Ok(rest.minus(sold.fees.base).unwrap_or_default())
    }

    fn paid_elsewhere(mut self, execution: &Execution) -> Result<Self, Overflow> {
        for (asset, fee) in &execution.fees.other {
            let paid = self.other_fees.entry(asset.clone()).or_default();
            *paid = paid.plus(*fee)?;
        }
        Ok(self)
    }

    /// The book after a fee was paid in the coin of a leg that was not traded. The exchange takes it
    /// from whatever there is of that coin, and there may be nothing but what was left as dust.
    #[must_use]
    pub fn without_dust(mut self, leg: Leg, fee: Quantity) -> Self {
        self.dust = self.dust.with(leg, self.dust.of(leg).minus(fee).unwrap_or_default());
        self
    }

    /// The book when what is held is too small to be sold: it becomes dust, the round trip is over.
    pub fn written_off(self, cools: bool, today: Timestamp) -> Result<Self, Overflow> {
        let Some(holding) = self.position.holding().cloned() else {
            return Ok(self);
        };
        let rest = self.available()?;
        self.closed(&holding, rest, cools, today)
    }

    /// The book when an exit was decided but nothing of it was executed.
    #[must_use]
    pub fn unsold(mut self, cools: bool) -> Self {
        if let Some(holding) = self.position.holding().cloned() {
            self.position = Position::Leaving(Leaving { holding, cools });
        }
        self
    }

    fn closed(
        mut self,
        holding: &Holding,
        rest: Quantity,
        cools: bool,
        today: Timestamp,
    ) -> Result<Self, Overflow> {
        let profit = Profit::of(holding.proceeds, holding.cost)?;
        self.dust = self.dust.with(holding.leg, rest);
        self.realized = self.realized.plus(profit)?;
        self.round_trips = self.round_trips.saturating_add(1);
        let mut day = self.day.on(today);
        day.realized = day.realized.plus(profit)?;
        self.day = day;
        self.position = Position::Flat { cooling: cools };
        Ok(self)
    }
}
