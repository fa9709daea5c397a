//! A recording in the exchange's place: its candles are the market, its clock is the time.
//!
//! The first start takes the first candle with a full window, every further one the next. Only
//! rows that both legs have are stepped through; one that a leg lacks is a gap to the window.

use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::recording::Shared;
use super::{Exchange, Market, View, Want};
use crate::config::{DEMO, Recording};
use crate::failure::Failure;
use crate::store::journal::hex;
use crate::store::outside::Outside;
use crate::trading::candle::{Candle, Legs};
use crate::trading::market::{Leg, Pair, Side, SymbolRules};
use crate::trading::money::Price;
use crate::trading::order::Touch;
use crate::trading::time::{Interval, Timestamp};

/// A recording of both legs.
#[derive(Debug)]
pub struct Replay {
    /// Rows that both legs have, oldest first.
    rows: Vec<[Candle; 2]>,
    interval: Interval,
}

impl Replay {
    /// Reads the recording.
    ///
    /// **Errors**: files that are missing or damaged; a pair that the built-in sample lacks.
    pub fn open(recording: &Recording, pair: &Pair, interval: Interval) -> Result<Self, Failure> {
        let mut shared = Shared::open(recording, pair, interval)?;
        let mut rows = Vec::new();
        while let next @ [_, ..] = shared.next_rows()? {
            rows.extend_from_slice(next);
        }
        Ok(Self { rows, interval })
    }

    /// The rows that both legs have, oldest first.
    #[must_use]
    pub fn rows(&self) -> &[[Candle; 2]] {
        &self.rows
    }

    /// The close of this candle, and no rules but eight decimals.
    #[must_use]
    pub fn touch_at(&self, leg: Leg, candle: Timestamp) -> Option<Touch> {
        let index = self.rows.binary_search_by_key(&candle, |[row, _]| row.open_time).ok()?;
        let close = self.rows[index][leg.index()].close;
        Some(Touch { price: Price::new(close)?, rules: SymbolRules::unlimited() })
    }

    /// The candle that comes after `last`, and those its window needs.
    #[must_use]
    pub fn market(&self, last: Option<Timestamp>, window: usize) -> Option<Market> {
        let index = match last {
            Some(last) => self.rows.partition_point(|[row, _]| row.open_time <= last),
            None => window - 1,
        };
        let newest = self.rows.get(index)?[0].open_time;
        let seen = &self.rows[(index + 1).saturating_sub(window)..=index];
        let leg = |leg: usize| seen.iter().map(|row| row[leg]).collect();
        let legs = Legs::new(leg(0), leg(1)).expect("shared rows are in strictly rising order");
        Some(Market { legs, newest, now: newest.plus_millis(self.interval.millis()) })
    }
}

impl Exchange for Replay {
    fn view(&mut self, want: &Want, _outside: &mut Outside) -> Result<View, Failure> {
        if self.rows.len() < want.window {
            return Err(too_short(self.rows.len(), want.window));
        }
        Ok(match self.market(want.last_candle, want.window) {
            Some(market) => View::Candles(market),
            None => View::EndOfData(self.rows.last().map(|[row, _]| row.open_time)),
        })
    }

    fn touch(
        &mut self,
        leg: Leg,
        _side: Side,
        candle: Timestamp,
        _outside: &mut Outside,
    ) -> Result<(Touch, Timestamp), Failure> {
        let now = candle.plus_millis(self.interval.millis());
        self.touch_at(leg, candle).map(|touch| (touch, now)).ok_or_else(|| {
            Failure::untrusted(
                format!("the recording has no price for the candle {candle}"),
                "use the candles that this replay began with",
            )
        })
    }

    fn fingerprint(&self, through: Option<Timestamp>) -> Option<String> {
        let mut hash = Sha256::new();
        for [numerator, denominator] in &self.rows {
            if through.is_none_or(|through| numerator.open_time > through) {
                break;
            }
            hash.update(numerator.open_time.as_millis().to_le_bytes());
            for candle in [numerator, denominator] {
                hash.update(candle.close.normalize().serialize());
            }
        }
        Some(hex(&hash.finalize()))
    }
}

/// Not even one window is full.
#[must_use]
pub fn too_short(have: usize, window: usize) -> Failure {
    Failure::untrusted(
        format!("the recording has {have} candles that both legs share, a window needs {window}"),
        "give `--candles` more dumps, or set a smaller `ROLLING_WINDOW`",
    )
}

/// The folder of a recording's world below `replay/`: one for each pair, timeframe and place.
#[must_use]
pub fn folder_name(recording: &Recording, pair: &Pair, interval: Interval) -> String {
    let [numerator, denominator] = Leg::BOTH.map(|leg| pair.symbol(leg).code());
    let candles = match recording {
        Recording::Demo => DEMO.to_owned(),
        Recording::Folder(folder) => {
            let place = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.clone());
            short_hash(&place)
        }
    };
    format!("{numerator}-{denominator}-{interval}-{candles}")
}

fn short_hash(place: &Path) -> String {
    let mut text = hex(&Sha256::digest(place.as_os_str().as_encoded_bytes()));
    text.truncate(10);
    text
}
