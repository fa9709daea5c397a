//! What a live book must remember of the exchange: the open order, and those that are known.

use super::market::Leg;
use super::money::{Amount, Quantity};
use super::order::{Ordered, Touch};
use super::time::Timestamp;

/// What ties a live book to an account.
#[derive(Debug, Clone, PartialEq)]
pub struct Ledger {
    /// The account's number at the exchange.
    pub uid: u64,
    /// The order that may have been sent and whose outcome is not known yet. At most one.
    pub pending: Option<Intent>,
    /// The last order that was executed.
    pub last: Option<LastOrder>,
    /// Our orders that are over and that a scan may still meet.
    pub known: Vec<KnownOrder>,
    /// From which order on the next scan looks, per leg.
    pub seen: Seen,
    /// Orders with our prefix that the book can't explain; `resume` takes note of them.
    pub unexplained: Vec<KnownOrder>,
}

/// An order that must be assumed to have been sent, from the moment on that this is durable.
///
/// There is no record of "sent": nobody who died in between could have written it.
#[derive(Debug, Clone, PartialEq)]
pub struct Intent {
    /// A function of the decision; sent once, ever.
    pub client_order_id: String,
    /// The candle that was decided on.
    pub candle: Timestamp,
    /// What is asked.
    pub ordered: Ordered,
    /// What it was planned with.
    pub touch: Touch,
    /// The request's time stamp, in the exchange's time.
    pub timestamp: Timestamp,
    /// How long after it the request may still be taken.
    pub recv_window_ms: u32,
    /// What the account held before.
    pub before: Balances,
    /// The newest order of the symbol before this one.
    pub newest_order: Option<u64>,
}

/// What an account holds of one symbol's two assets, free and locked together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Balances {
    /// Of the base asset.
    pub base: Quantity,
    /// Of the quote asset.
    pub quote: Amount,
}

/// The last order that was executed: until the account shows it, it shows what was before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastOrder {
    /// Which leg.
    pub leg: Leg,
    /// What the account held before.
    pub before: Balances,
    /// When it was settled, in the exchange's time.
    pub at: Timestamp,
}

/// One order of ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownOrder {
    /// Which leg.
    pub leg: Leg,
    /// The exchange's number for it.
    pub order_id: u64,
    /// Ours.
    pub client_order_id: String,
}

/// An order number per leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Seen {
    /// Of the numerator's symbol.
    pub numerator: Option<u64>,
    /// Of the denominator's symbol.
    pub denominator: Option<u64>,
}

impl Seen {
    /// One leg's.
    #[must_use]
    pub fn of(&self, leg: Leg) -> Option<u64> {
        match leg {
            Leg::Numerator => self.numerator,
            Leg::Denominator => self.denominator,
        }
    }

    /// The same with another one for `leg`.
    #[must_use]
    pub fn with(mut self, leg: Leg, order_id: u64) -> Self {
        match leg {
            Leg::Numerator => self.numerator = Some(order_id),
            Leg::Denominator => self.denominator = Some(order_id),
        }
        self
    }
}

impl Intent {
    /// What begins every client order id of one book.
    #[must_use]
    pub fn prefix(instance: &str) -> String {
        format!("ouro-{instance}-")
    }

    /// The exchange's time after which "no such order" may be believed: the last moment at which
    /// the request can be taken, the exchange's own 10 s, and `settle_seconds` for it to show.
    #[must_use]
    pub fn final_after(&self, settle_seconds: u32) -> Timestamp {
        let millis = i64::from(self.recv_window_ms) + ENGINE_MILLIS;
        self.timestamp.plus_millis(millis + i64::from(settle_seconds) * 1000)
    }
}

impl Ledger {
    /// A ledger of an account without orders of ours.
    #[must_use]
    pub fn open(uid: u64) -> Self {
        Self {
            uid,
            pending: None,
            last: None,
            known: Vec::new(),
            seen: Seen::default(),
            unexplained: Vec::new(),
        }
    }

    /// The newest order of a leg that is known to have been before anything that is sent now.
    #[must_use]
    pub fn newest(&self, leg: Leg) -> Option<u64> {
        let known = self.known.iter().filter(|order| order.leg == leg).map(|order| order.order_id);
        known.max().max(self.seen.of(leg))
    }

    /// The ledger after its open order is over. `order_id` is the exchange's number, where
    /// something was executed.
    #[must_use]
    pub fn settled(mut self, order_id: Option<u64>, at: Timestamp) -> Self {
        if let (Some(intent), Some(order_id)) = (self.pending.take(), order_id) {
            let (leg, client_order_id) = (intent.ordered.leg, intent.client_order_id);
            self.last = Some(LastOrder { leg, before: intent.before, at });
            self.known.push(KnownOrder { leg, order_id, client_order_id });
        }
        self
    }

    /// The ledger after its open order ended with nothing executed. It changed no balance, but a
    /// scan may meet it, and as an open one for as long as the exchange's lists are old.
    #[must_use]
    pub fn expired(mut self, order_id: Option<u64>) -> Self {
        if let (Some(intent), Some(order_id)) = (self.pending.take(), order_id) {
            let (leg, client_order_id) = (intent.ordered.leg, intent.client_order_id);
            self.known.push(KnownOrder { leg, order_id, client_order_id });
        }
        self
    }

    /// The ledger after a person took note of orders that it could not explain.
    #[must_use]
    pub fn acknowledged(mut self) -> Self {
        self.known.append(&mut self.unexplained);
        self
    }
}

/// How long the exchange itself waits for its engine. **Source**: Binance Spot REST, "General
/// Information on Endpoints", timeout.
const ENGINE_MILLIS: i64 = 10_000;
