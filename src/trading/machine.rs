//! The machine: what one step does, as a table.
//!
//! | position | newest candle | step |
//! | --- | --- | --- |
//! | `Flat` | z beyond entry, edge enough, nothing bars it | `Enter` the cheap leg |
//! | `Holding` | came back, stopped, or held too long; on this candle or on a missed one | `Leave` |
//! | `Leaving` | anything | `Leave`: what was decided once is finished |
//! | any | otherwise | `Stay`, with the reason |
//!
//! A missed exit is taken now, a missed entry is not: the first closes a risk, the second would
//! open one for a reason that may be gone.

use super::book::{Book, Holding, Position};
use super::candle::Distrust;
use super::market::Leg;
use super::money::{Amount, Profit};
use super::strategy::{Observation, Reading, Thresholds, ZScore};
use super::time::{Interval, Timestamp};

/// Everything that decides, apart from the book and the candles.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// How long a candle lasts.
    pub interval: Interval,
    /// How many candles a z-score is made of.
    pub window: usize,
    /// When z says so.
    pub thresholds: Thresholds,
    /// A holding is sold after so many candles.
    pub max_hold_candles: Option<u32>,
    /// No entry after so many orders of one UTC day.
    pub max_orders_per_day: Option<u32>,
    /// No entry once so much was lost on one UTC day.
    pub max_daily_loss: Option<Amount>,
}

/// What the newest candle says to the state it met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Buy this leg.
    Long(Leg),
    /// Sell what is held.
    Close,
    /// Nothing.
    Hold,
}

/// The step.
#[derive(Debug, Clone, PartialEq)]
pub enum Transition {
    /// Nothing is traded.
    Stay(Stay),
    /// Buy this leg.
    Enter(Leg, ZScore),
    /// Sell what is held on this leg.
    Leave(Leg, Cause),
}

/// Why nothing is traded.
#[derive(Debug, Clone, PartialEq)]
pub enum Stay {
    /// After a stop, z has not been back inside the entry threshold.
    Cooling(ZScore),
    /// The way back to the mean is too short to pay for a trade.
    EdgeTooSmall(ZScore, Reading),
    /// It is held, and z has not come back.
    Held(Leg, ZScore),
    /// Nothing is held, and z is inside the entry threshold.
    Inside(ZScore),
    /// So much was lost today that no entry is made.
    LossToday(Leg, ZScore, Profit),
    /// The window is flat: no z.
    NoZ,
    /// So many orders were made today that no further entry is.
    OrdersToday(Leg, ZScore, u32),
    /// The candles can't be traded on.
    Untrusted(Distrust),
}

/// Why it is sold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cause {
    /// A person asked for it.
    Asked,
    /// It has been held for so many candles, `MAX_HOLD_CANDLES` or more.
    HeldTooLong(i64),
    /// z came back on this candle.
    Returned(Timestamp, ZScore),
    /// z went beyond the stop on this candle.
    Stopped(Timestamp, ZScore),
    /// An earlier exit was not executed in full.
    Unfinished,
}

impl Cause {
    /// Whether entries are barred afterwards until z has been back inside the entry threshold.
    #[must_use]
    pub fn cools(self) -> bool {
        matches!(self, Self::Stopped(..) | Self::HeldTooLong(_))
    }
}

/// A step and what it rests on.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// What the newest candle says.
    pub signal: Signal,
    /// What is done.
    pub transition: Transition,
    /// Whether entries are barred after this candle, as long as nothing is held.
    pub cooling: bool,
}

/// The step of a candle that can't be traded on, where it counts as decided: in a replay.
#[must_use]
pub fn stay_away(book: &Book, distrust: Distrust) -> Decision {
    let cooling = matches!(book.position, Position::Flat { cooling: true });
    let transition = Transition::Stay(Stay::Untrusted(distrust));
    Decision { signal: Signal::Hold, transition, cooling }
}

/// The step of a person who wants out, whatever the candles say.
#[must_use]
pub fn leave_at_once(book: &Book, leg: Leg) -> Decision {
    let cooling = matches!(&book.position, Position::Leaving(leaving) if leaving.cools);
    Decision { signal: Signal::Close, transition: Transition::Leave(leg, Cause::Asked), cooling }
}

/// One step.
///
/// `seen` are the candles since the last one processed, oldest first, the newest last. `today` is
/// midnight UTC of the day on which it is decided, for the limits of a day.
#[must_use]
pub fn step(book: &Book, seen: &[Observation], rules: &Rules, today: Timestamp) -> Decision {
    match &book.position {
        Position::Flat { cooling } => {
            let cooling = *cooling && !seen.iter().any(|candle| is_calm(candle, rules));
            let (signal, transition) = enter_or_stay(book, cooling, seen, rules, today);
            Decision { signal, transition, cooling }
        }
        Position::Holding(holding) => {
            let leg = holding.leg;
            let cause = seen.iter().find_map(|candle| exit_cause(holding, candle, rules));
            let newest_z = seen.last().and_then(Observation::z);
            let (signal, transition) = match (cause, newest_z) {
                (Some(cause), _) => (Signal::Close, Transition::Leave(leg, cause)),
                (None, Some(z)) => (Signal::Hold, Transition::Stay(Stay::Held(leg, z))),
                (None, None) => (Signal::Hold, Transition::Stay(Stay::NoZ)),
            };
            Decision { signal, transition, cooling: false }
        }
        Position::Leaving(leaving) => Decision {
            signal: Signal::Close,
            transition: Transition::Leave(leaving.holding.leg, Cause::Unfinished),
            cooling: leaving.cools,
        },
    }
}

/// Whether [`step`] can only stay on a candle of this z, and leaves the book as it is but for the
/// candle's name: the quick answer, for histories. `false` may still come to nothing.
#[must_use]
pub fn is_quiet(book: &Book, z: Option<ZScore>, rules: &Rules) -> bool {
    let Some(z) = z else { return !matches!(book.position, Position::Leaving(_)) };
    let thresholds = &rules.thresholds;
    match &book.position {
        Position::Flat { cooling } => !cooling && thresholds.is_calm(z),
        Position::Holding(Holding { leg, .. }) => {
            rules.max_hold_candles.is_none()
                && !thresholds.has_returned(*leg, z)
                && !thresholds.is_stopped(*leg, z)
        }
        Position::Leaving(_) => false,
    }
}

fn enter_or_stay(
    book: &Book,
    cooling: bool,
    seen: &[Observation],
    rules: &Rules,
    today: Timestamp,
) -> (Signal, Transition) {
    let stay = |signal, reason| (signal, Transition::Stay(reason));
    let Some((reading, z)) = seen.last().and_then(|newest| {
        let reading = newest.reading?;
        Some((reading, reading.z?))
    }) else {
        return stay(Signal::Hold, Stay::NoZ);
    };
    let Some(leg) = rules.thresholds.cheap_leg(z) else {
        return stay(Signal::Hold, Stay::Inside(z));
    };
    if !rules.thresholds.edge_is_enough(&reading) {
        return stay(Signal::Hold, Stay::EdgeTooSmall(z, reading));
    }
    if cooling {
        return stay(Signal::Hold, Stay::Cooling(z));
    }
    let day = book.day.on(today);
    if rules.max_orders_per_day.is_some_and(|most| day.orders >= most) {
        return stay(Signal::Long(leg), Stay::OrdersToday(leg, z, day.orders));
    }
    if rules.max_daily_loss.is_some_and(|most| day.realized.loss() >= most) {
        return stay(Signal::Long(leg), Stay::LossToday(leg, z, day.realized));
    }
    (Signal::Long(leg), Transition::Enter(leg, z))
}

fn exit_cause(holding: &Holding, seen: &Observation, rules: &Rules) -> Option<Cause> {
    let z = seen.z()?;
    let held = rules.interval.candles_between(holding.entry_candle, seen.candle);
    if rules.thresholds.has_returned(holding.leg, z) {
        Some(Cause::Returned(seen.candle, z))
    } else if rules.thresholds.is_stopped(holding.leg, z) {
        Some(Cause::Stopped(seen.candle, z))
    } else if rules.max_hold_candles.is_some_and(|most| held >= i64::from(most)) {
        Some(Cause::HeldTooLong(held))
    } else {
        None
    }
}

fn is_calm(seen: &Observation, rules: &Rules) -> bool {
    seen.z().is_some_and(|z| rules.thresholds.is_calm(z))
}
