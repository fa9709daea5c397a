//! The market of paper trading: Binance's candles, prices and rules, nobody's orders.

use super::watch::Watch;
use super::{Exchange, View, Want};
use crate::failure::Failure;
use crate::store::outside::{KnownRules, Outside, RulesV1};
use crate::trading::market::{Leg, Side, SymbolRules};
use crate::trading::order::{Kind, Touch};
use crate::trading::time::Timestamp;

/// Binance, as paper trading sees it.
#[derive(Debug)]
pub struct Paper {
    watch: Watch,
    kind: Kind,
}

impl Paper {
    /// Trades on what `watch` sees, by orders of this kind.
    #[must_use]
    pub fn new(watch: Watch, kind: Kind) -> Self {
        Self { watch, kind }
    }

    /// The rules of a leg's symbol, asked for at most once a day.
    fn rules(&self, leg: Leg, outside: &mut Outside) -> Result<SymbolRules, Failure> {
        let (now, host) = (self.watch.binance.now(), self.watch.binance.host());
        let wanted = self.watch.pair.symbol(leg).code();
        let known = outside.memory.rules.as_ref().filter(|known| {
            let age = known.at.parse().map(|at: Timestamp| now.millis_since(at));
            known.host == host
                && known.kind == self.kind.name()
                && age.is_ok_and(|age| (0..DAY_MILLIS).contains(&age))
        });
        let known = known.and_then(|known| known.symbols.get(&wanted)?.rules());
        // A pause of trading is over in minutes: only a symbol that trades is believed for a day.
        if let Some(rules) = known.filter(SymbolRules::is_trading) {
            return Ok(rules);
        }
        let symbols = Leg::BOTH.map(|leg| self.watch.pair.symbol(leg).code());
        let rules = self.watch.binance.rules(&symbols, self.kind, outside)?;
        let kept = symbols.iter().cloned().zip(rules.iter().map(RulesV1::of)).collect();
        let (at, kind) = (now.to_string(), self.kind.name().to_owned());
        outside.memory.rules = Some(KnownRules { at, host, kind, symbols: kept });
        let position = symbols.iter().position(|symbol| *symbol == wanted).unwrap_or(0);
        Ok(rules.into_iter().nth(position).expect("both symbols have rules"))
    }
}

impl Exchange for Paper {
    fn view(&mut self, want: &Want, outside: &mut Outside) -> Result<View, Failure> {
        self.watch.view(want, outside)
    }

    fn touch(
        &mut self,
        leg: Leg,
        side: Side,
        _candle: Timestamp,
        outside: &mut Outside,
    ) -> Result<(Touch, Timestamp), Failure> {
        let rules = self.rules(leg, outside)?;
        let (ticker, now) =
            self.watch.binance.book_ticker(&self.watch.pair.symbol(leg).code(), outside)?;
        let price = match side {
            Side::Buy => ticker.ask,
            Side::Sell => ticker.bid,
        };
        Ok((Touch { price, rules }, now))
    }
}

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
