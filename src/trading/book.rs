//! The book: what is held, what it cost, what was gained, and what a trade makes of it.
//!
//! Invariant, exact: `cash = opening balance + realized - cost of what is held + proceeds so far`.

use super::market::Leg;
use super::money::{Amount, Overflow, Price, Profit, Quantity};
use super::order::{Execution, Fee};
use super::strategy::ZScore;
use super::time::Timestamp;

/// Everything that a run needs to know of the past.
#[derive(Debug, Clone, PartialEq)]
pub struct Book {
    /// What is held.
    pub position: Position,
    /// What was too small to sell, per leg; it goes along with the next sale of that leg.
    pub dust: Dust,
    /// Free quote asset of the paper account.
    pub cash: Amount,
    /// Gained or lost by round trips that are over, after fees.
    pub realized: Profit,
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
    /// The z-score it was entered on.
    pub entry_z: ZScore,
    /// The candle it was entered on.
    pub entry_candle: Timestamp,
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
    /// A book in which nothing has happened yet.
    #[must_use]
    pub fn open(cash: Amount) -> Self {
        Self {
            position: Position::Flat { cooling: false },
            dust: Dust::default(),
            cash,
            realized: Profit::ZERO,
            round_trips: 0,
            last_candle: None,
            day: Day::fresh(Timestamp::EPOCH),
            attempts: 0,
            refusals: 0,
            halt: None,
        }
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
    /// **Errors**: the cost is more than the cash, or the fee more than the coins; neither is
    /// possible for an execution of [`super::order::buy`].
    pub fn entered(
        mut self,
        leg: Leg,
        bought: &Execution,
        candle: Timestamp,
        z: ZScore,
    ) -> Result<Self, Overflow> {
        let fee = match bought.fee {
            Fee::Base(fee) => fee,
            Fee::Quote(_) => Quantity::ZERO,
        };
        self.cash = self.cash.minus(bought.quote).ok_or(Overflow)?;
        self.position = Position::Holding(Holding {
            leg,
            quantity: bought.quantity.minus(fee).ok_or(Overflow)?,
            cost: bought.quote,
            proceeds: Amount::ZERO,
            entry_price: bought.price,
            entry_z: z,
            entry_candle: candle,
        });
        self.refusals = 0;
        Ok(self)
    }

    /// The book after (a part of) what is held was sold. `rest_is_sellable` says whether what is
    /// left is enough for a further order; if so the exit goes on, else it becomes dust.
    pub fn sold(
        mut self,
        sold: &Execution,
        rest_is_sellable: bool,
        cools: bool,
        today: Timestamp,
    ) -> Result<Self, Overflow> {
        let Some(holding) = self.position.holding().cloned() else {
            return Ok(self);
        };
        let fee = match sold.fee {
            Fee::Base(_) => Amount::ZERO,
            Fee::Quote(fee) => fee,
        };
        let received = sold.quote.minus(fee).ok_or(Overflow)?;
        let rest = self.available()?.minus(sold.quantity).ok_or(Overflow)?;
        self.cash = self.cash.plus(received)?;
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
