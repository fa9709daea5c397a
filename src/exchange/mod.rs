//! Where candles and prices come from, and where orders go.
//!
//! [`Exchange`] is what a run needs of the outside: the closed candles of both legs, and the best
//! price of the moment with the symbol's rules. [`paper::Paper`] asks Binance for them,
//! [`replay::Replay`] reads a recording; neither can send an order, their fills are simulated by
//! [`crate::trading::order`]. [`live::Live`] trades.

pub mod binance;
pub mod demo;
pub mod dump;
pub mod fetch;
pub mod http;
pub mod live;
pub mod paper;
pub mod recording;
pub mod replay;
pub mod sign;
pub mod watch;
pub(crate) mod wire;

use crate::failure::Failure;
use crate::store::outside::Outside;
use crate::trading::candle::Legs;
use crate::trading::market::{Leg, Side};
use crate::trading::order::Touch;
use crate::trading::time::Timestamp;

/// What a run needs of the outside.
pub trait Exchange {
    /// The closed candles of both legs.
    ///
    /// **Errors**: no answer, an answer that makes no sense, or one that asks for silence.
    fn view(&mut self, want: &Want, outside: &mut Outside) -> Result<View, Failure>;

    /// The best price for an order of this side, and the rules it must keep. In a recording that
    /// is the close of `candle`, the one that was decided on. With the exchange's time.
    ///
    /// **Errors**: as [`Exchange::view`].
    fn touch(
        &mut self,
        leg: Leg,
        side: Side,
        candle: Timestamp,
        outside: &mut Outside,
    ) -> Result<(Touch, Timestamp), Failure>;

    /// The account behind it, where orders are real.
    fn live(&mut self) -> Option<&mut live::Live> {
        None
    }

    /// In a replay, a hash of the candles up to this one; they are what its book belongs to.
    fn fingerprint(&self, _through: Option<Timestamp>) -> Option<String> {
        None
    }
}

/// How many candles are wanted.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    /// The newest candle that was decided on.
    pub last_candle: Option<Timestamp>,
    /// Whether the candles missed since then matter.
    pub looks_back: bool,
    /// How many candles a z-score is made of.
    pub window: usize,
    /// How many closed candles may be asked for.
    pub lookback: usize,
}

/// What the exchange showed.
#[derive(Debug)]
pub enum View {
    /// Candles to decide on.
    Candles(Market),
    /// The recording is over; this was its last candle.
    EndOfData(Option<Timestamp>),
}

/// Candles to decide on.
#[derive(Debug)]
pub struct Market {
    /// Closed candles, oldest first.
    pub legs: Legs,
    /// The newest candle that should be closed by now.
    pub newest: Timestamp,
    /// The exchange's time.
    pub now: Timestamp,
}
