//! Round trips: an entry and the exit that ended it, with what it earned and what it cost.

use rust_decimal::Decimal;

use super::engine::Moment;
use super::sums::bps;
use crate::trading::book::{Holding, Position};
use crate::trading::market::{Leg, Side};
use crate::trading::money::{DECIMALS, Price, Profit};
use crate::trading::order::Execution;
use crate::trading::strategy::{ZScore, nearest};
use crate::trading::time::{Interval, Timestamp};

/// A round trip that is over.
///
/// `gross - slippage - fees = net`, to the last digit.
#[derive(Debug, Clone, PartialEq)]
pub struct Trip {
    /// What was held.
    pub leg: Leg,
    /// The candle it was entered on.
    pub entry_candle: Timestamp,
    /// The candle it was left on.
    pub exit_candle: Timestamp,
    /// The z-score of the entry; `None` where it was adopted.
    pub entry_z: Option<ZScore>,
    /// The z-score of the exit's candle.
    pub exit_z: Option<ZScore>,
    /// What was bought, before the fee. **Units**: coins.
    pub quantity: Decimal,
    /// The price of the entry, slippage included.
    pub entry_price: Price,
    /// The price of the exit, slippage included; of its last part where there were several.
    pub exit_price: Price,
    /// What the entry cost, in the quote asset.
    pub cost: Decimal,
    /// What the quantity gained from close to close, had there been neither fee nor slippage.
    /// **Rounding**: to 8 decimals.
    pub gross: Decimal,
    /// What the prices beside the closes took. **Rounding**: to 8 decimals.
    pub slippage: Decimal,
    /// What the exchange took, and rounding: a fee in coins at the price at which the others were
    /// sold.
    pub fees: Decimal,
    /// What was gained.
    pub net: Profit,
    /// The bought leg's close at the exit / that at the entry.
    pub close_ratio: f64,
    /// The price of the exit / that of the entry.
    pub fill_ratio: f64,
    /// `net` as a fraction of `cost`.
    pub net_return: f64,
    /// How many candles it was held.
    pub candles: i64,
}

impl Trip {
    /// `net_return` in basis points.
    #[must_use]
    pub fn net_bps(&self) -> f64 {
        bps(self.net_return)
    }
}

/// An entry that was made, and is not left yet.
#[derive(Debug, Clone)]
struct Entry {
    bought: Execution,
    close: Decimal,
    realized: Profit,
    /// What was sold of it before the last sale: quantity, price and close.
    parts: Vec<[Decimal; 3]>,
}

/// Makes round trips of what an engine shows.
#[derive(Debug, Clone, Default)]
pub struct Trips {
    open: Option<(Entry, Holding)>,
}

impl Trips {
    /// The round trip that ended on this moment's candle.
    pub fn next(&mut self, moment: &Moment<'_>, interval: Interval) -> Option<Trip> {
        let (leg, side, execution) = moment.step?.order.as_ref()?;
        let execution = execution.as_ref()?;
        let close = moment.row[leg.index()].close;
        match side {
            Side::Buy => {
                let (bought, realized) = (execution.clone(), moment.book.realized);
                let entry = Entry { bought, close, realized, parts: Vec::new() };
                self.open = moment.book.position.holding().map(|it| (entry, it.clone()));
                None
            }
            Side::Sell if matches!(moment.book.position, Position::Flat { .. }) => {
                let (entry, holding) = self.open.take()?;
                Some(entry.left(&holding, execution, close, moment, interval))
            }
            // A part of it: more is to come.
            Side::Sell => {
                let (entry, _) = self.open.as_mut()?;
                let (quantity, price) = (execution.quantity.value(), execution.price.value());
                entry.parts.push([quantity, price, close]);
                None
            }
        }
    }
}

impl Entry {
    /// Price and close of the sale, of all its parts where there were several.
    fn averages(&self, sold: &Execution, close: Decimal) -> (Decimal, Decimal) {
        let last = [sold.quantity.value(), sold.price.value(), close];
        if self.parts.is_empty() {
            return (last[1], last[2]);
        }
        let parts = || self.parts.iter().chain(std::iter::once(&last));
        let all: Decimal = parts().map(|part| part[0]).sum();
        let average = |of: usize| parts().map(|part| part[0] * part[of]).sum::<Decimal>() / all;
        (average(1), average(2))
    }

    #[expect(clippy::float_arithmetic, reason = "returns are statistics, not money")]
    fn left(
        self,
        holding: &Holding,
        sold: &Execution,
        close: Decimal,
        moment: &Moment<'_>,
        interval: Interval,
    ) -> Trip {
        let quantity = self.bought.quantity.value();
        let exit_candle = moment.row[0].open_time;
        let net = Profit::new(moment.book.realized.value() - self.realized.value());
        let net = net.unwrap_or_default();
        let round = |value: Decimal| value.round_dp(DECIMALS).normalize();
        let (sold_at, close) = self.averages(sold, close);
        let bought_at = self.bought.price.value();
        let gross = round(quantity * (close - self.close));
        let slippage = round(quantity * (bought_at - self.close + close - sold_at));
        Trip {
            leg: holding.leg,
            entry_candle: holding.entry_candle,
            exit_candle,
            entry_z: holding.entry_z,
            exit_z: moment.reading.and_then(|reading| reading.z),
            quantity,
            entry_price: self.bought.price,
            exit_price: sold.price,
            cost: holding.cost.value(),
            gross,
            slippage,
            fees: gross - slippage - net.value(),
            net,
            close_ratio: nearest(close) / nearest(self.close),
            fill_ratio: nearest(sold_at) / nearest(bought_at),
            net_return: nearest(net.value()) / nearest(holding.cost.value()),
            candles: interval.candles_between(holding.entry_candle, exit_candle),
        }
    }
}
