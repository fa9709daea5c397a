//! Binance's JSON, and nothing else: what is read of it, and what makes an answer nonsense.
//!
//! New fields, new filters and new statuses are expected; missing or misshapen ones are not.

pub(crate) mod account;

use std::collections::BTreeMap;

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::Value;

use crate::trading::candle::{Candle, Fault};
use crate::trading::market::SymbolRules;
use crate::trading::money::{DECIMALS, Price, Quantity, Step};
use crate::trading::order::Kind;
use crate::trading::time::Timestamp;

/// Why rows of candles were not taken.
#[derive(Debug, PartialEq)]
pub(crate) enum BadKlines {
    /// The answer is no list of candles at all.
    Nonsense(String),
    /// It is, but the candles can't be traded on.
    Distrusted(Fault),
}

/// A kline that may still be forming.
#[derive(Debug, PartialEq)]
pub(crate) struct Kline {
    pub(crate) candle: Candle,
    pub(crate) close_time: Timestamp,
}

/// The answer to `GET /api/v3/klines`. **Source**: Binance Spot REST, "Kline/Candlestick data".
pub(crate) fn klines(body: &[u8]) -> Result<Vec<Kline>, BadKlines> {
    let rows: Vec<Vec<Value>> = serde_json::from_slice(body)
        .map_err(|error| BadKlines::Nonsense(format!("no list of candles: {error}")))?;
    rows.iter().map(|row| kline(row)).collect()
}

fn kline(row: &[Value]) -> Result<Kline, BadKlines> {
    let [open_time, open, high, low, close, _, close_time, _, _, _, _, _] = row else {
        return Err(BadKlines::Distrusted(Fault::WrongColumns { have: row.len() }));
    };
    let open_time = time(open_time)?;
    let price = |value: &Value| {
        let text = value.as_str().ok_or_else(|| nonsense("price", value))?;
        match decimal(text) {
            Some(price) => Ok(price),
            None if is_not_finite(text) => {
                let fault = Fault::BadPrice { at: open_time, price: text.to_owned() };
                Err(BadKlines::Distrusted(fault))
            }
            None => Err(nonsense("price", value)),
        }
    };
    Ok(Kline {
        candle: Candle {
            open_time,
            open: price(open)?,
            high: price(high)?,
            low: price(low)?,
            close: price(close)?,
        },
        close_time: time(close_time)?,
    })
}

fn time(value: &Value) -> Result<Timestamp, BadKlines> {
    value.as_i64().and_then(Timestamp::from_millis_or_micros).ok_or_else(|| nonsense("time", value))
}

fn nonsense(what: &str, value: &Value) -> BadKlines {
    let shown: String = value.to_string().chars().take(40).collect();
    BadKlines::Nonsense(format!("a candle's {what} is `{shown}`"))
}

/// A decimal as Binance writes one: digits, at most one dot, perhaps a minus; nothing else.
pub(crate) fn decimal(text: &str) -> Option<Decimal> {
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, decimals) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    // Digits beyond what a decimal holds would be rounded away: that is no reading of a price.
    let exact = whole.len() + decimals.trim_end_matches('0').len() <= 28;
    (digits(whole) && digits(decimals) && exact).then(|| text.parse().ok()).flatten()
}

/// Whether the text is a word for what is no number.
pub(crate) fn is_not_finite(text: &str) -> bool {
    let word = text.trim_start_matches(['-', '+']).to_ascii_lowercase();
    ["nan", "inf", "infinity"].contains(&word.as_str())
}

/// What every error of the API looks like.
#[derive(Debug, Deserialize)]
pub(crate) struct ApiError {
    pub(crate) code: i64,
    pub(crate) msg: String,
}

/// The answer to `GET /api/v3/time`.
pub(crate) fn server_time(body: &[u8]) -> Option<Timestamp> {
    #[derive(Deserialize)]
    struct ServerTime {
        #[serde(rename = "serverTime")]
        server_time: i64,
    }
    let answer: ServerTime = serde_json::from_slice(body).ok()?;
    Timestamp::from_millis_or_micros(answer.server_time)
}

/// The best bid and ask of one symbol.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BookTicker {
    pub(crate) bid: Price,
    pub(crate) ask: Price,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TickerJson {
    symbol: String,
    bid_price: String,
    ask_price: String,
}

/// The answer to `GET /api/v3/ticker/bookTicker` for `symbol`.
pub(crate) fn book_ticker(body: &[u8], symbol: &str) -> Result<BookTicker, String> {
    let answer: TickerJson =
        serde_json::from_slice(body).map_err(|error| format!("no book ticker: {error}"))?;
    if answer.symbol != symbol {
        return Err(format!("the book ticker is for another symbol than {symbol}"));
    }
    ticker(&answer)
}

/// The answer to `GET /api/v3/ticker/bookTicker` for both `symbols`, in their order. The inner error
/// is why one of them has no price: nobody may quote a symbol that is not traded any more.
pub(crate) fn book_tickers(
    body: &[u8],
    symbols: &[String; 2],
) -> Result<[Result<BookTicker, String>; 2], String> {
    let answers: Vec<TickerJson> =
        serde_json::from_slice(body).map_err(|error| format!("no book tickers: {error}"))?;
    let of = |symbol: &String| {
        let answer = answers.iter().find(|answer| answer.symbol == *symbol);
        ticker(answer.ok_or_else(|| format!("no book ticker for {symbol}"))?)
    };
    Ok(symbols.each_ref().map(of))
}

fn ticker(answer: &TickerJson) -> Result<BookTicker, String> {
    let symbol = &answer.symbol;
    let price = |name: &str, text: &str| {
        decimal(text)
            .and_then(Price::new)
            .ok_or_else(|| format!("the best {name} of {symbol} is `{text}`"))
    };
    let ticker =
        BookTicker { bid: price("bid", &answer.bid_price)?, ask: price("ask", &answer.ask_price)? };
    if ticker.bid > ticker.ask {
        return Err(format!(
            "the best bid of {symbol}, {}, is above the ask, {}",
            ticker.bid, ticker.ask
        ));
    }
    Ok(ticker)
}

#[derive(Debug, Deserialize)]
struct ExchangeInfo {
    symbols: Vec<SymbolInfo>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SymbolInfo {
    symbol: String,
    status: String,
    // Absent ones are no constraint; the exchange itself has the last word.
    order_types: Option<Vec<String>>,
    quote_order_qty_market_allowed: Option<bool>,
    is_spot_trading_allowed: Option<bool>,
    quote_asset_precision: Option<u32>,
    filters: Vec<BTreeMap<String, Value>>,
}

/// The rules of `symbol` for our kind of order in the answer to `GET /api/v3/exchangeInfo`, and
/// the filters that were not understood. **Source**: Binance Spot REST, "Filters".
pub(crate) fn symbol_rules(
    body: &[u8],
    symbol: &str,
    ours: Kind,
) -> Result<(SymbolRules, Vec<String>), String> {
    let info: ExchangeInfo =
        serde_json::from_slice(body).map_err(|error| format!("no exchange info: {error}"))?;
    let info = info
        .symbols
        .iter()
        .find(|info| info.symbol == symbol)
        .ok_or_else(|| format!("the exchange info does not have {symbol}"))?;
    let plain = info.status.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
    if !plain || !(1..=40).contains(&info.status.len()) {
        return Err(format!("the status of {symbol} is no word"));
    }
    let lacks = |types: &Vec<String>| !types.iter().any(|name| name == ours.name());
    let not_taken = if info.is_spot_trading_allowed == Some(false) {
        Some("spot".to_owned())
    } else {
        info.order_types.as_ref().filter(|types| lacks(types)).map(|_| ours.name().to_owned())
    };
    let mut rules = SymbolRules {
        status: info.status.clone(),
        takes_quote_amounts: info.quote_order_qty_market_allowed != Some(false),
        not_taken,
        ..SymbolRules::unlimited()
    };
    if let Some(precision) = info.quote_asset_precision.filter(|precision| *precision < DECIMALS) {
        rules.quote_step = Step::new(Decimal::new(1, precision)).unwrap_or(rules.quote_step);
    }
    let mut seen: Vec<&str> = Vec::new();
    let mut unknown = Vec::new();
    for fields in &info.filters {
        let kind = fields
            .get("filterType")
            .and_then(Value::as_str)
            .ok_or_else(|| format!("a filter of {symbol} has no type"))?;
        if seen.contains(&kind) {
            return Err(format!("{symbol} has the filter {kind} twice"));
        }
        seen.push(kind);
        let filter = Filter { symbol, kind, fields };
        match kind {
            "LOT_SIZE" => filter.narrow_lot(&mut rules)?,
            "MARKET_LOT_SIZE" if ours == Kind::Market => filter.narrow_lot(&mut rules)?,
            "PRICE_FILTER" if ours == Kind::Limit => filter.set_tick(&mut rules)?,
            "MIN_NOTIONAL" if ours == Kind::Limit || filter.flag("applyToMarket")? => {
                filter.raise_minimum(&mut rules)?;
            }
            "NOTIONAL" if ours == Kind::Limit || filter.flag("applyMinToMarket")? => {
                filter.raise_minimum(&mut rules)?;
            }
            known if NOT_FOR_OURS.contains(&known) => {}
            other => unknown.push(other.to_owned()),
        }
    }
    Ok((rules, unknown))
}

struct Filter<'a> {
    symbol: &'a str,
    kind: &'a str,
    fields: &'a BTreeMap<String, Value>,
}

impl Filter<'_> {
    fn decimal(&self, name: &str) -> Result<Decimal, String> {
        self.fields
            .get(name)
            .and_then(Value::as_str)
            .and_then(decimal)
            .filter(|value| *value >= Decimal::ZERO)
            .ok_or_else(|| self.misshapen(name))
    }

    fn flag(&self, name: &str) -> Result<bool, String> {
        self.fields.get(name).and_then(Value::as_bool).ok_or_else(|| self.misshapen(name))
    }

    fn misshapen(&self, name: &str) -> String {
        format!("the filter {} of {} has no sound `{name}`", self.kind, self.symbol)
    }

    /// Both lot filters bind a market order. A zero switches its part off, as the live
    /// `MARKET_LOT_SIZE` does with its step.
    fn narrow_lot(&self, rules: &mut SymbolRules) -> Result<(), String> {
        let quantity =
            |name: &str| Quantity::new(self.decimal(name)?).ok_or_else(|| self.misshapen(name));
        let (min, max, step) =
            (quantity("minQty")?, quantity("maxQty")?, self.decimal("stepSize")?);
        rules.min_quantity = rules.min_quantity.max(min);
        if !max.is_zero() {
            rules.max_quantity = Some(rules.max_quantity.map_or(max, |most| most.min(max)));
        }
        if !step.is_zero() {
            rules.step = Step::new(step)
                .and_then(|step| rules.step.common(step))
                .ok_or_else(|| self.misshapen("stepSize"))?;
        }
        Ok(())
    }

    /// A tick of zero switches it off.
    fn set_tick(&self, rules: &mut SymbolRules) -> Result<(), String> {
        let tick = self.decimal("tickSize")?;
        if !tick.is_zero() {
            rules.tick = Some(Step::new(tick).ok_or_else(|| self.misshapen("tickSize"))?);
        }
        Ok(())
    }

    fn raise_minimum(&self, rules: &mut SymbolRules) -> Result<(), String> {
        rules.min_notional = rules.min_notional.max(self.decimal("minNotional")?);
        Ok(())
    }
}

/// Filters that are known and have no say in a single order of ours, or that only the exchange
/// can judge.
const NOT_FOR_OURS: [&str; 14] = [
    "PRICE_FILTER",
    "MARKET_LOT_SIZE",
    "PERCENT_PRICE",
    "PERCENT_PRICE_BY_SIDE",
    "MIN_NOTIONAL",
    "NOTIONAL",
    "ICEBERG_PARTS",
    "TRAILING_DELTA",
    "MAX_POSITION",
    "MAX_NUM_ORDERS",
    "MAX_NUM_ALGO_ORDERS",
    "MAX_NUM_ICEBERG_ORDERS",
    "MAX_NUM_ORDER_LISTS",
    "MAX_NUM_ORDER_AMENDS",
];
