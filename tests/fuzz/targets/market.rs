//! Candles, prices and the symbols' rules, as a paper account asks for them.

use ouroboros::exchange::binance::Binance;
use ouroboros::exchange::paper::Paper;
use ouroboros::exchange::watch::Watch;
use ouroboros::exchange::{Exchange as _, View, Want};
use ouroboros::failure::Kind as Failed;
use ouroboros::store::outside::Outside;
use ouroboros::trading::candle::Candle;
use ouroboros::trading::market::{Leg, Side, SymbolRules};
use ouroboros::trading::money::{Amount, BasisPoints, Quantity};
use ouroboros::trading::order::{self, Kind, Outcome, Plan, Size, Terms, Touch};
use ouroboros::trading::strategy;
use ouroboros::trading::time::{Interval, Timestamp};
use reqwest::Url;
use rust_decimal::Decimal;
use serde_json::Value;

use super::world::{
    Memory, Said, assert_plain, exact, http, is_about, is_object, json_of, now, pair,
};

const FOLDER: &str = "/fuzz/paper";

/// The answer to the question for candles, and to the one for the best price.
pub(crate) fn klines(bytes: &[u8]) {
    if is_object(bytes) { best_price(bytes) } else { candles(bytes) }
}

fn candles(bytes: &[u8]) {
    let mut outside = Outside::load(Memory::default().shared(), FOLDER.as_ref());
    let mut paper = paper("klines", bytes, Kind::Market);
    let want = Want { last_candle: None, looks_back: true, window: 2, lookback: 999 };
    let market = match paper.view(&want, &mut outside) {
        Ok(View::Candles(market)) => market,
        Ok(View::EndOfData(_)) => panic!("the market goes on"),
        Err(failure) => {
            assert!(matches!(failure.kind, Failed::Unreachable | Failed::Untrusted));
            return assert_plain(&failure);
        }
    };
    assert_eq!((market.newest, market.now), (hour().newest_closed(now()), now()));
    let Some(told) = json_of(bytes) else { return };
    let expected = written(&told).expect("what was accepted is a list of candles");
    for leg in Leg::BOTH {
        let seen = market.legs.candles(leg);
        assert_eq!(seen, expected, "every closed candle, and nothing else");
        assert!(seen.windows(2).all(|two| two[0].open_time < two[1].open_time));
    }
    let seen = strategy::observe(&market.legs, hour(), None, market.newest, want.window);
    if let Ok(seen) = seen {
        let newest = seen.last().expect("the newest is among them");
        assert_eq!(newest.candle, market.newest);
        assert!(newest.z().is_none_or(|z| z.value().is_finite()));
        let closes = expected.iter().rev().take(want.window).map(|candle| candle.close);
        assert!(closes.clone().count() == want.window && closes.min() > Some(Decimal::ZERO));
    }
}

/// The closed candles as they stand there, read in another way.
fn written(rows: &Value) -> Option<Vec<Candle>> {
    let mut candles = Vec::new();
    for row in rows.as_array()? {
        let row = row.as_array().filter(|row| row.len() == 12)?;
        let time = |at: usize| {
            let time = row[at].as_i64().filter(|time| *time >= 0)?;
            Timestamp::from_millis(if time < 100_000_000_000_000 { time } else { time / 1000 })
        };
        let price = |at: usize| exact(row[at].as_str()?);
        let candle = Candle {
            open_time: time(0)?,
            open: price(1)?,
            high: price(2)?,
            low: price(3)?,
            close: price(4)?,
        };
        if time(6)? < now() && candle.open_time <= hour().newest_closed(now()) {
            candles.push(candle);
        }
    }
    Some(candles)
}

fn best_price(bytes: &[u8]) {
    let mut outside = Outside::load(Memory::default().shared(), FOLDER.as_ref());
    for (side, name) in [(Side::Buy, "askPrice"), (Side::Sell, "bidPrice")] {
        let mut paper = paper("bookTicker", bytes, Kind::Market);
        match paper.touch(Leg::Numerator, side, now(), &mut outside) {
            Ok((touch, at)) => {
                let Some(told) = json_of(bytes) else { return };
                let price = |name: &str| exact(told[name].as_str().expect("text"));
                assert_eq!((told["symbol"].as_str(), at), (Some("BTCUSDT"), now()));
                assert_eq!(Some(touch.price.value()), price(name));
                assert!(price("bidPrice") <= price("askPrice"), "the book is not crossed");
                assert!(price("bidPrice") > Some(Decimal::ZERO));
            }
            Err(failure) => {
                assert_eq!(failure.kind, Failed::Unreachable);
                assert_plain(&failure);
            }
        }
    }
}

/// The answer to the question for the symbols' rules.
pub(crate) fn rules(bytes: &[u8]) {
    for kind in [Kind::Market, Kind::Limit] {
        let disk = Memory::default();
        let mut outside = Outside::load(disk.shared(), FOLDER.as_ref());
        let touch = paper("exchangeInfo", bytes, kind).touch(
            Leg::Numerator,
            Side::Buy,
            now(),
            &mut outside,
        );
        let touch = match touch {
            Ok((touch, _)) => touch,
            Err(failure) => {
                assert_eq!(failure.kind, Failed::Unreachable);
                assert_plain(&failure);
                continue;
            }
        };
        assert_keeps_filters(&touch.rules, bytes, kind);
        assert_plans_keep(&touch, kind);
        // What is remembered is what was told: the next start asks nobody.
        outside.save();
        let mut outside = Outside::load(disk.shared(), FOLDER.as_ref());
        if touch.rules.is_trading() {
            let again = paper("exchangeInfo", b"no answer", kind).touch(
                Leg::Numerator,
                Side::Buy,
                now(),
                &mut outside,
            );
            assert_eq!(again.expect("the rules are remembered").0, touch);
        }
    }
}

/// Whether the rules are at least as strict as each filter, read in another way.
fn assert_keeps_filters(rules: &SymbolRules, bytes: &[u8], kind: Kind) {
    let Some(told) = json_of(bytes) else { return };
    let symbols = told["symbols"].as_array().expect("a list");
    let told = symbols.iter().find(|it| it["symbol"] == "BTCUSDT").expect("the symbol");
    assert_eq!(told["status"].as_str(), Some(rules.status.as_str()));
    let is_taken = told["orderTypes"]
        .as_array()
        .is_none_or(|types| types.iter().any(|name| name.as_str() == Some(kind.name())));
    let is_spot = told["isSpotTradingAllowed"] != false;
    assert_eq!(rules.not_taken.is_none(), is_taken && is_spot);
    assert_eq!(rules.takes_quote_amounts, told["quoteOrderQtyMarketAllowed"] != false);
    for filter in told["filters"].as_array().expect("a list") {
        let value = |name: &str| exact(filter[name].as_str().expect("text")).expect("a number");
        let applies = |flag: &str| kind == Kind::Limit || filter[flag] == true;
        match (filter["filterType"].as_str().expect("a type"), kind) {
            ("LOT_SIZE", _) | ("MARKET_LOT_SIZE", Kind::Market) => {
                let (step, max) = (value("stepSize"), value("maxQty"));
                let is_whole = step.is_zero() || (rules.step.value() % step).is_zero();
                assert!(is_whole, "steps of {} are none of {step}", rules.step);
                assert!(rules.min_quantity.value() >= value("minQty"));
                let most = rules.max_quantity.map(Quantity::value);
                assert!(max.is_zero() || most.is_some_and(|most| most <= max));
            }
            ("PRICE_FILTER", Kind::Limit) => {
                let tick = Some(value("tickSize")).filter(|tick| !tick.is_zero());
                assert_eq!(rules.tick.map(ouroboros::trading::money::Step::value), tick);
            }
            ("NOTIONAL", _) if applies("applyMinToMarket") => {
                assert!(rules.min_notional >= value("minNotional"));
            }
            ("MIN_NOTIONAL", _) if applies("applyToMarket") => {
                assert!(rules.min_notional >= value("minNotional"));
            }
            _ => {}
        }
    }
}

/// Whatever the rules are: an order keeps them, and costs no more than it may.
pub(crate) fn assert_plans_keep(touch: &Touch, kind: Kind) {
    let amount = |text: &str| text.parse().ok().and_then(Amount::new).expect("an amount");
    let terms = Terms {
        amount: amount("150"),
        fee: BasisPoints::new(10.into()).expect("few"),
        slippage: BasisPoints::default(),
        max_slippage: (kind == Kind::Limit).then(|| BasisPoints::new(20.into()).expect("few")),
    };
    let available = "0.00154845".parse().ok().and_then(Quantity::new).expect("a quantity");
    let Touch { price, rules } = touch;
    let bought = order::buy(&terms, amount("1000"), *price, rules).ok();
    let sold = order::sell(&terms, available, *price, rules).ok().flatten();
    for plan in [bought, sold].into_iter().flatten() {
        assert!(rules.is_trading() && rules.not_taken.is_none());
        assert_eq!(plan.kind(), kind);
        assert_plan_keeps(&plan, touch, &terms, available);
        let filled = order::fill(&plan, &terms, *price, rules);
        if let (Ok(Outcome::Executed(done)), Side::Buy) = (filled, plan.side) {
            assert!(done.quote <= terms.amount, "{plan:?} costs {}", done.quote);
        }
    }
}

fn assert_plan_keeps(plan: &Plan, touch: &Touch, terms: &Terms, available: Quantity) {
    let Touch { price, rules } = touch;
    let is_multiple = |value: Decimal, step: Decimal| (value % step).is_zero();
    match plan.size {
        Size::Base(quantity) => {
            assert!(!quantity.is_zero(), "an order for nothing: {plan:?} by {rules:?}");
            assert!(is_multiple(quantity.value(), rules.step.value()), "{plan:?} by {rules:?}");
            assert!(rules.max_quantity.is_none_or(|most| quantity <= most), "{plan:?} {rules:?}");
            let is_sane = rules.max_quantity.is_none_or(|most| most >= rules.min_quantity);
            assert!(!is_sane || quantity >= rules.min_quantity, "{plan:?} by {rules:?}");
            if plan.side == Side::Sell {
                assert!(quantity <= available, "more than there is: {plan:?}");
            } else {
                let cost = Amount::cost_up(quantity, plan.limit.unwrap_or(*price));
                assert!(cost.is_ok_and(|cost| cost <= terms.amount), "{plan:?} by {rules:?}");
            }
        }
        Size::Quote(amount) => {
            assert!(rules.takes_quote_amounts && plan.side == Side::Buy);
            assert!(amount <= terms.amount && amount > Amount::ZERO, "{plan:?}");
            assert!(is_multiple(amount.value(), rules.quote_step.value()), "{plan:?} {rules:?}");
        }
    }
    if let (Some(limit), Some(tick)) = (plan.limit, rules.tick) {
        assert!(is_multiple(limit.value(), tick.value()), "{plan:?} by {rules:?}");
    }
}

/// A paper account whose questions of one kind are answered with these bytes.
pub(crate) fn paper(path: &'static str, bytes: &[u8], kind: Kind) -> Paper {
    let said = Said::good(bytes);
    let http = http(move |request| is_about(request, path).then(|| said.clone()));
    let url = Url::parse("https://data-api.binance.vision").expect("an address");
    Paper::new(Watch::new(Binance::new(http, url), pair(), hour()), kind)
}

fn hour() -> Interval {
    Interval::named("1h").expect("an interval")
}
