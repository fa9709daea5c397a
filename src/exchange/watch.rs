//! The candles of both legs at Binance: asked for at the same time, again where one is late, and
//! judged by the exchange's own clock.

use std::time::Duration;

use super::binance::{Binance, Klines};
use super::{Market, View, Want};
use crate::failure::Failure;
use crate::store::outside::Outside;
use crate::trading::candle::{Distrust, Legs};
use crate::trading::market::{Leg, Pair};
use crate::trading::time::{Interval, Timestamp};

/// Two symbols that are watched.
#[derive(Debug)]
pub struct Watch {
    /// Whom it asks.
    pub(crate) binance: Binance,
    /// Both symbols.
    pub(crate) pair: Pair,
    interval: Interval,
}

impl Watch {
    /// Watches `pair`'s candles of `interval`.
    #[must_use]
    pub fn new(binance: Binance, pair: Pair, interval: Interval) -> Self {
        Self { binance, pair, interval }
    }

    /// The closed candles of both legs.
    ///
    /// **Errors**: no answer, none that makes sense, or one that asks for silence.
    pub fn view(&self, want: &Want, outside: &mut Outside) -> Result<View, Failure> {
        // The local clock only guesses how many to ask for; the answers' own clock decides.
        let mut limit = self.limit(want, self.interval.newest_closed(self.binance.now()));
        let mut seen = self.ask(&Leg::BOTH, limit, outside)?;
        let patience = self.binance.patience(PATIENCE);
        let mut asked_again = false;
        loop {
            let [numerator, denominator] = seen.as_slice() else {
                unreachable!("two legs were asked for")
            };
            let now = numerator.at.min(denominator.at);
            let newest = self.interval.newest_closed(now);
            let later = self.interval.newest_closed(numerator.at.max(denominator.at));
            if newest != later && !asked_again {
                // A candle ended between the two answers: asked again, both are after its end.
                // Once only, because two servers' clocks may differ for good.
                asked_again = true;
                seen = self.ask(&Leg::BOTH, limit, outside)?;
                continue;
            }
            let needed = self.limit(want, newest);
            if needed > limit {
                limit = needed;
                seen = self.ask(&Leg::BOTH, limit, outside)?;
                continue;
            }
            let late: Vec<Leg> = Leg::BOTH
                .into_iter()
                .zip(&seen)
                .filter(|(_, klines)| !klines.rows.iter().any(|row| row.candle.open_time >= newest))
                .map(|(leg, _)| leg)
                .collect();
            let processed = want.last_candle.is_some_and(|last| newest <= last);
            if late.is_empty() || processed || patience.has_passed() {
                let closed = |klines: &Klines| {
                    let is_closed = |row: &&super::wire::Kline| {
                        row.close_time < now && row.candle.open_time <= newest
                    };
                    klines.rows.iter().filter(is_closed).map(|row| row.candle).collect()
                };
                let legs = Legs::new(closed(numerator), closed(denominator))
                    .map_err(|distrust| self.distrust(&distrust))?;
                return Ok(View::Candles(Market { legs, newest, now }));
            }
            // Right after the boundary the newest candle may not have reached the database.
            self.binance.wait(BETWEEN_QUESTIONS)?;
            let again = self.ask(&late, limit, outside)?;
            for (leg, klines) in late.into_iter().zip(again) {
                seen[leg.index()] = klines;
            }
        }
    }

    fn distrust(&self, distrust: &Distrust) -> Failure {
        distrusted(distrust, &self.pair)
    }

    /// How many candles to ask for: the window, those missed where they matter, the forming one.
    fn limit(&self, want: &Want, newest: Timestamp) -> usize {
        let missed = match want.last_candle {
            Some(last) if want.looks_back => self.interval.candles_between(last, newest),
            _ => 1,
        };
        let earlier = usize::try_from(missed - 1).unwrap_or(0);
        want.window.saturating_add(earlier).min(want.lookback) + 1
    }

    fn ask(
        &self,
        legs: &[Leg],
        limit: usize,
        outside: &mut Outside,
    ) -> Result<Vec<Klines>, Failure> {
        let symbols: Vec<String> = legs.iter().map(|leg| self.pair.symbol(*leg).code()).collect();
        let answers = self.binance.klines(&symbols, self.interval, limit, outside)?;
        answers
            .into_iter()
            .zip(legs)
            .map(|(answer, leg)| {
                answer.map_err(|fault| self.distrust(&Distrust { leg: *leg, fault }))
            })
            .collect()
    }
}

/// A window that is not traded on, as a failure.
#[must_use]
pub fn distrusted(distrust: &Distrust, pair: &Pair) -> Failure {
    Failure::untrusted(
        distrust.sentence(pair),
        "no decision was made and nothing was changed; the next run looks again",
    )
}

const PATIENCE: Duration = Duration::from_secs(3);
const BETWEEN_QUESTIONS: Duration = Duration::from_secs(1);
