//! Symbols: their filters, their book and their candles.

use rust_decimal::Decimal;
use serde_json::{Value, json};

/// One symbol.
#[derive(Clone, Debug)]
pub struct Symbol {
    pub base: String,
    pub quote: String,
    pub status: String,
    pub filters: Filters,
    /// Further filters, as they stand in `exchangeInfo`; they refuse nothing.
    pub more_filters: Vec<Value>,
    /// Best bid and ask where a test pins them; else they follow the candles.
    pub touch: Option<(Decimal, Decimal)>,
    /// How much of the quote asset each level of the book takes; further levels are a tick worse.
    pub depth: Vec<Decimal>,
    /// How many ticks lie between two levels.
    pub level_ticks: u32,
    pub candles: Recording,
    /// Newest closed candles that have not reached the database.
    pub behind: usize,
    /// Whether the candle that is forming is the last row. Without it and with `behind` at one, the symbol is simply a
    /// candle behind.
    pub shows_forming: bool,
    /// What the newest closed candle says as long as it is not final.
    pub preliminary_close: Option<Decimal>,
    /// Open times that are missing.
    pub gaps: Vec<i64>,
    /// Open times of candles in which nobody traded.
    pub quiet: Vec<i64>,
    /// Since when no candle begins.
    pub(super) candles_end: Option<i64>,
    /// The average price of the last minutes where a test pins it; else the middle of the book.
    pub average: Option<Decimal>,
    /// The rule that nothing is filled further from the average than by this ratio, where there is one.
    pub price_range: Option<Decimal>,
    /// What becomes of orders of one account that would meet, unless the order says so itself.
    pub self_trade: String,
    pub order_types: Vec<String>,
    pub quote_orders: bool,
}

/// The filters that are enforced; zero switches a part of one off.
#[derive(Clone, Debug)]
pub struct Filters {
    pub tick: Decimal,
    pub step: Decimal,
    pub min_quantity: Decimal,
    pub max_quantity: Decimal,
    pub market_step: Decimal,
    pub market_min: Decimal,
    pub market_max: Decimal,
    pub min_notional: Decimal,
    pub applies_to_market: bool,
    pub max_notional: Decimal,
    pub max_applies_to_market: bool,
    /// The older filter `MIN_NOTIONAL`, as far as there is one.
    pub older_min_notional: Decimal,
    pub older_applies_to_market: bool,
    pub min_price: Decimal,
    pub max_price: Decimal,
    /// How far a limit may be from the average, as a factor up and down.
    pub percent_price: Decimal,
    pub max_position: Decimal,
    pub max_orders: usize,
}

/// One candle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candle {
    pub open: Decimal,
    pub high: Decimal,
    pub low: Decimal,
    pub close: Decimal,
}

impl Candle {
    /// A candle without a movement.
    pub fn flat(close: Decimal) -> Self {
        Self { open: close, high: close, low: close, close }
    }
}

/// Candles one after the other, laid onto the exchange's clock.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// Open time of the first.
    pub start: i64,
    /// How long each lasts.
    pub interval: i64,
    pub rows: Vec<Candle>,
}

impl Recording {
    /// Open time and candle of all that have begun.
    fn begun(&self, now: i64) -> impl Iterator<Item = (i64, Candle)> {
        let (start, interval) = (self.start, self.interval);
        let at = move |index: usize| start + i64::try_from(index).expect("few") * interval;
        self.rows
            .iter()
            .enumerate()
            .map(move |(index, row)| (at(index), *row))
            .take_while(move |(open, _)| *open <= now)
    }

    /// The newest candle's close, the forming one's perhaps.
    pub fn price(&self, now: i64) -> Option<Decimal> {
        self.begun(now).last().map(|(_, candle)| candle.close)
    }
}

impl Symbol {
    pub fn new(base: &str, quote: &str, tick: &str, step: &str) -> Self {
        let zero = Decimal::ZERO;
        Self {
            base: base.to_owned(),
            quote: quote.to_owned(),
            status: "TRADING".to_owned(),
            filters: Filters {
                tick: decimal(tick),
                step: decimal(step),
                min_quantity: decimal(step),
                max_quantity: decimal("9000"),
                market_step: zero,
                market_min: zero,
                market_max: decimal("141.67845966"),
                min_notional: decimal("5"),
                applies_to_market: true,
                max_notional: decimal("9000000"),
                max_applies_to_market: false,
                older_min_notional: zero,
                older_applies_to_market: true,
                min_price: decimal(tick),
                max_price: decimal("1000000"),
                percent_price: decimal("2"),
                max_position: zero,
                max_orders: 200,
            },
            more_filters: Vec::new(),
            touch: None,
            depth: vec![decimal("60"), decimal("60"), decimal("100000000")],
            level_ticks: 1,
            candles: Recording::default(),
            behind: 0,
            shows_forming: true,
            preliminary_close: None,
            gaps: Vec::new(),
            quiet: Vec::new(),
            candles_end: None,
            average: None,
            price_range: None,
            self_trade: "EXPIRE_MAKER".to_owned(),
            order_types: ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT"]
                .map(str::to_owned)
                .into(),
            quote_orders: true,
        }
    }

    pub fn code(&self) -> String {
        format!("{}{}", self.base, self.quote)
    }

    /// Best bid and best ask.
    pub fn best(&self, now: i64) -> (Decimal, Decimal) {
        if let Some(touch) = self.touch {
            return touch;
        }
        let price = self.candles.price(now).unwrap_or(Decimal::from(600));
        (price, price + self.filters.tick)
    }

    /// The average price by which filters judge.
    pub fn average(&self, now: i64) -> Decimal {
        let (bid, ask) = self.best(now);
        self.average.unwrap_or((bid + ask) / Decimal::from(2))
    }

    /// Prices and quantities of one side of the book, best first.
    pub fn levels(&self, is_buy: bool, now: i64) -> Vec<(Decimal, Decimal)> {
        let (bid, ask) = self.best(now);
        let apart = self.filters.tick * Decimal::from(self.level_ticks);
        let level = |(number, notional): (usize, &Decimal)| {
            let away = apart * Decimal::from(number);
            let price = if is_buy { ask + away } else { bid - away };
            let quantity = *notional / price;
            (price, whole_steps(quantity, self.filters.step))
        };
        self.depth.iter().enumerate().map(level).collect()
    }

    pub(super) fn klines(&self, now: i64, from: i64, to: i64, limit: usize) -> Vec<Value> {
        let interval = self.candles.interval;
        let newest = now / interval * interval;
        let hidden = |open: i64| {
            let behind = i64::try_from(self.behind).expect("few");
            self.gaps.contains(&open)
                || (open < newest && open >= newest - behind * interval)
                || (open >= newest && !self.shows_forming)
                || self.candles_end.is_some_and(|end| open > end)
        };
        let mut rows: Vec<(i64, Candle, bool)> = Vec::new();
        let mut last_close = None;
        for (open, mut candle) in self.candles.begun(now) {
            let is_quiet = self.quiet.contains(&open);
            if let Some(close) = last_close.filter(|_| is_quiet) {
                candle = Candle::flat(close);
            }
            last_close = Some(candle.close);
            if let Some(close) = self.preliminary_close.filter(|_| open == newest - interval) {
                candle.close = close;
                candle.high = candle.high.max(close);
                candle.low = candle.low.min(close);
            }
            if !hidden(open) && open >= from && open <= to {
                rows.push((open, candle, is_quiet));
            }
        }
        let skip = if from > i64::MIN { 0 } else { rows.len().saturating_sub(limit) };
        let volume =
            |text: &'static str, is_quiet: bool| if is_quiet { "0.00000000" } else { text };
        let row = |(open, candle, is_quiet): &(i64, Candle, bool)| {
            let Candle { open: first, high, low, close } = candle;
            json!([
                open,
                eight(*first),
                eight(*high),
                eight(*low),
                eight(*close),
                volume("12.50000000", *is_quiet),
                open + interval - 1,
                volume("37500.00000000", *is_quiet),
                if *is_quiet { 0 } else { 42 },
                volume("6.25000000", *is_quiet),
                volume("18750.00000000", *is_quiet),
                "0"
            ])
        };
        rows.iter().skip(skip).take(limit).map(row).collect()
    }

    pub(super) fn info(&self) -> Value {
        let f = &self.filters;
        let (up, down) = (f.percent_price, Decimal::ONE / f.percent_price);
        let mut filters = vec![
            json!({ "filterType": "PRICE_FILTER", "minPrice": eight(f.min_price), "maxPrice": eight(f.max_price), "tickSize": eight(f.tick) }),
            json!({ "filterType": "LOT_SIZE", "minQty": eight(f.min_quantity), "maxQty": eight(f.max_quantity), "stepSize": eight(f.step) }),
            json!({ "filterType": "ICEBERG_PARTS", "limit": 100 }),
            json!({ "filterType": "MARKET_LOT_SIZE", "minQty": eight(f.market_min), "maxQty": eight(f.market_max), "stepSize": eight(f.market_step) }),
            json!({ "filterType": "TRAILING_DELTA", "minTrailingAboveDelta": 10, "maxTrailingAboveDelta": 2000, "minTrailingBelowDelta": 10, "maxTrailingBelowDelta": 2000 }),
            json!({ "filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": up.to_string(), "bidMultiplierDown": down.to_string(), "askMultiplierUp": up.to_string(), "askMultiplierDown": down.to_string(), "avgPriceMins": 5 }),
            json!({ "filterType": "NOTIONAL", "minNotional": eight(f.min_notional), "applyMinToMarket": f.applies_to_market, "maxNotional": eight(f.max_notional), "applyMaxToMarket": f.max_applies_to_market, "avgPriceMins": 5 }),
            json!({ "filterType": "MAX_NUM_ORDERS", "maxNumOrders": f.max_orders }),
            json!({ "filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": 5 }),
        ];
        if !f.older_min_notional.is_zero() {
            filters.push(json!({ "filterType": "MIN_NOTIONAL", "minNotional": eight(f.older_min_notional), "applyToMarket": f.older_applies_to_market, "avgPriceMins": 5 }));
        }
        if !f.max_position.is_zero() {
            filters.push(
                json!({ "filterType": "MAX_POSITION", "maxPosition": eight(f.max_position) }),
            );
        }
        filters.extend(self.more_filters.iter().cloned());
        let mut info = json!({
            "symbol": self.code(), "status": self.status, "baseAsset": self.base, "baseAssetPrecision": 8,
            "quoteAsset": self.quote, "quotePrecision": 8, "quoteAssetPrecision": 8, "baseCommissionPrecision": 8,
            "quoteCommissionPrecision": 8, "orderTypes": self.order_types, "icebergAllowed": true, "ocoAllowed": true,
            "otoAllowed": true, "opoAllowed": true, "quoteOrderQtyMarketAllowed": self.quote_orders,
            "allowTrailingStop": true, "cancelReplaceAllowed": true, "amendAllowed": true,
            "pegInstructionsAllowed": true, "isSpotTradingAllowed": true, "isMarginTradingAllowed": false,
            "permissions": [], "permissionSets": [["SPOT"]],
            "defaultSelfTradePreventionMode": self.self_trade,
            "allowedSelfTradePreventionModes": SELF_TRADE,
        });
        info["filters"] = Value::Array(filters); // moved; in `json!` it would be written anew
        info
    }
}

/// What may become of orders of one account that would meet. The last two are taken for `EXPIRE_BOTH`.
pub(super) const SELF_TRADE: [&str; 5] =
    ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER"];

/// A quantity rounded down to the step; zero is none, and then eight decimals are left.
pub(super) fn whole_steps(quantity: Decimal, step: Decimal) -> Decimal {
    if step.is_zero() { quantity.trunc_with_scale(8) } else { quantity - quantity % step }
}

/// A decimal of a test's text.
pub(super) fn decimal(text: &str) -> Decimal {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// Eight decimals, as the exchange writes them.
pub(super) fn eight(value: Decimal) -> String {
    format!("{value:.8}")
}
