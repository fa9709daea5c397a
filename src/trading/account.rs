//! What the exchange shows of the account, and whether it agrees with the book.
//!
//! The exchange is asked, but what it shows may be old: an order shows up late in one place and
//! early in another. So an order of ours that the book doesn't know is a disagreement, and so is
//! less than the book says, unless our last order is so young that the account may not show it yet.
//! More than the book says is the owner's own and no business of ours.

use super::book::Book;
use super::ledger::{Balances, KnownOrder, Ledger};
use super::market::{Leg, Pair};
use super::money::{Amount, Overflow, Quantity, Step};
use super::settlement::OrderSeen;
use super::time::Timestamp;

/// What the exchange shows of the account.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Its number.
    pub uid: u64,
    /// Whether it may trade at all.
    pub can_trade: bool,
    /// The exchange's time.
    pub at: Timestamp,
    /// Per leg, numerator first.
    pub legs: [LegAccount; 2],
    /// Of the quote asset, free.
    pub free_quote: Amount,
}

/// What the exchange shows of one leg.
#[derive(Debug, Clone, PartialEq)]
pub struct LegAccount {
    /// Free and tradable of the base asset.
    pub free: Quantity,
    /// Free and locked of both assets.
    pub total: Balances,
    /// Orders of the symbol, from the ledger's [`Seen`](super::ledger::Seen) on, ascending.
    pub orders: Vec<OrderSeen>,
    /// Orders of the symbol that are open now.
    pub open: Vec<OrderSeen>,
}

/// Whether account and book agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Standing {
    /// They do.
    Agrees,
    /// The account doesn't show our last order yet. Nothing may be ordered until it does.
    Lags,
    /// They don't.
    Disagrees {
        /// In words.
        why: String,
        /// Orders of ours that the book doesn't know.
        unexplained: Vec<KnownOrder>,
    },
}

impl Account {
    /// One leg's.
    #[must_use]
    pub fn leg(&self, leg: Leg) -> &LegAccount {
        let [numerator, denominator] = &self.legs;
        match leg {
            Leg::Numerator => numerator,
            Leg::Denominator => denominator,
        }
    }

    /// The first order that begins with `prefix`, whatever became of it.
    #[must_use]
    pub fn any_own(&self, prefix: &str) -> Option<&OrderSeen> {
        self.all().map(|(_, order)| order).find(|order| order.client_order_id.starts_with(prefix))
    }

    /// Whether an order of this client id was seen.
    #[must_use]
    pub fn has(&self, client_order_id: &str) -> bool {
        self.all().any(|(_, order)| order.client_order_id == client_order_id)
    }

    fn all(&self) -> impl Iterator<Item = (Leg, &OrderSeen)> {
        Leg::BOTH.into_iter().flat_map(|leg| {
            let shown = self.leg(leg);
            shown.orders.iter().chain(&shown.open).map(move |order| (leg, order))
        })
    }
}

/// Whether account and book agree. `prefix` begins the ids of this book's orders; less than the
/// book says by no more than a leg's step is let pass.
///
/// **Errors**: quantities beyond computation.
pub fn compare(
    book: &Book,
    ledger: &Ledger,
    account: &Account,
    pair: &Pair,
    prefix: &str,
    steps: [Step; 2],
    settle_seconds: u32,
) -> Result<Standing, Overflow> {
    let mut unexplained: Vec<KnownOrder> = Vec::new();
    let mut words = Vec::new();
    for (leg, order) in account.all() {
        let is_own = order.client_order_id.starts_with(prefix);
        // What was not executed and is over changes nothing, whoever asked for it.
        let matters = order.status.is_open() || !order.executed.is_zero();
        // A number is its symbol's: the same one may be an order of each leg.
        let same = |known: &KnownOrder| known.leg == leg && known.order_id == order.order_id;
        let counted = unexplained.iter().any(same);
        if is_own && matters && !counted && !knows(ledger, order) {
            words.push(format!(
                "{} of {} ({} executed)",
                order.client_order_id,
                pair.symbol(leg),
                order.executed
            ));
            let (order_id, client_order_id) = (order.order_id, order.client_order_id.clone());
            unexplained.push(KnownOrder { leg, order_id, client_order_id });
        }
    }
    if !unexplained.is_empty() {
        let why = format!(
            "the exchange has orders of this instance that the book does not know: {}",
            words.join(", ")
        );
        return Ok(Standing::Disagrees { why, unexplained });
    }
    let recent = ledger
        .last
        .as_ref()
        .filter(|last| account.at.millis_since(last.at) < i64::from(settle_seconds) * 1000);
    // The base asset alone: of the quote asset an owner may have moved some before the order.
    if recent.is_some_and(|last| account.leg(last.leg).total.base == last.before.base) {
        return Ok(Standing::Lags);
    }
    for (leg, step) in Leg::BOTH.into_iter().zip(steps) {
        let held = book.position.holding().filter(|holding| holding.leg == leg);
        let booked = match held {
            Some(_) => book.available()?,
            None => book.dust.of(leg),
        };
        let free = account.leg(leg).free;
        let missing = booked.minus(free).unwrap_or_default();
        if missing.value() > step.value() {
            if recent.is_some() {
                // What is shown may be of before our last orders, and with what the owner did then.
                return Ok(Standing::Lags);
            }
            let asset = pair.asset(leg);
            let why = format!(
                "the account has {free} {asset} free, the book says {booked} {asset}: \
                 {missing} {asset} are missing"
            );
            return Ok(Standing::Disagrees { why, unexplained: Vec::new() });
        }
    }
    Ok(Standing::Agrees)
}

/// The ledger after a scan: orders that are older than an hour are not looked at again.
///
/// An hour, because an order with a smaller number may show up later than one with a larger.
#[must_use]
pub fn scanned(mut ledger: Ledger, account: &Account) -> Ledger {
    for leg in Leg::BOTH {
        let old = |order: &&OrderSeen| account.at.millis_since(order.time) > SCAN_AGAIN_MILLIS;
        let passed = account.leg(leg).orders.iter().filter(old).map(|order| order.order_id);
        if let Some(newest) = passed.max().filter(|id| Some(*id) > ledger.seen.of(leg)) {
            ledger.seen = ledger.seen.with(leg, newest);
            ledger.known.retain(|order| order.leg != leg || order.order_id >= newest);
        }
    }
    ledger
}

/// The ledger of a book that begins now, whatever orders an earlier one made.
#[must_use]
pub fn from_here_on(mut ledger: Ledger, account: &Account) -> Ledger {
    for leg in Leg::BOTH {
        let orders = &account.leg(leg).orders;
        let Some(newest) = orders.iter().max_by_key(|order| order.order_id) else { continue };
        ledger.seen = ledger.seen.with(leg, newest.order_id);
        // Older ones are not looked at again; one that shows up late is met by the next scan.
        let (order_id, client_order_id) = (newest.order_id, newest.client_order_id.clone());
        ledger.known.push(KnownOrder { leg, order_id, client_order_id });
    }
    ledger
}

fn knows(ledger: &Ledger, order: &OrderSeen) -> bool {
    let pending = ledger.pending.as_ref();
    let same = |known: &KnownOrder| {
        known.order_id == order.order_id && known.client_order_id == order.client_order_id
    };
    pending.is_some_and(|intent| intent.client_order_id == order.client_order_id)
        || ledger.known.iter().any(same)
}

const SCAN_AGAIN_MILLIS: i64 = 60 * 60 * 1000;
