//! What is said of orders and of the account, as live trading asks for it.

use ouroboros::config::Live as Access;
use ouroboros::exchange::binance::Binance;
use ouroboros::exchange::http::{Http, Request};
use ouroboros::exchange::live::{Live, Refusal, Sent, Standing};
use ouroboros::exchange::sign::Credentials;
use ouroboros::exchange::watch::Watch;
use ouroboros::failure::Kind as Failed;
use ouroboros::store::outside::Outside;
use ouroboros::store::{Identity, Outbox, Recorded, Store};
use ouroboros::trading::book::Book;
use ouroboros::trading::ledger::{Balances, Intent, Ledger};
use ouroboros::trading::market::{Leg, Side, SymbolRules};
use ouroboros::trading::money::{Amount, Price, Quantity};
use ouroboros::trading::order::{Execution, Ordered, Outcome, Plan, Purpose, Size, Touch};
use ouroboros::trading::settlement::{OrderSeen, Settled, Status};
use ouroboros::trading::strategy::ZScore;
use ouroboros::trading::time::Interval;
use reqwest::{Method, Url};
use rust_decimal::Decimal;
use secrecy::SecretString;
use serde_json::{Value, json};

use super::world::{
    Memory, Said, assert_plain, exact, http, is_about, is_object, json_of, names, now, pair,
};

const FOLDER: &str = "/fuzz/live";
const HOST: &str = "https://api.binance.com";

/// The answer to an order, and to the question for it.
pub(crate) fn order(bytes: &[u8]) {
    let intent = intent(bytes);
    let said = Said::good(bytes);
    match send(&intent, said.clone()).0 {
        Sent::Settled(settled) => assert_is_said(&settled, &intent, bytes, None),
        Sent::Refused(_) => panic!("an answer with 200 is no refusal"),
        Sent::Unknown(why) => assert!(!why.is_empty()),
    }
    let mut live = fresh(&http(move |request| {
        (is_about(request, "/order") && request.method == Method::GET).then(|| said.clone())
    }));
    match live.ask(&intent, &mut outside()) {
        Ok(Standing::Settled(settled)) => {
            assert_is_said(&settled, &intent, bytes, Some(TRADES));
        }
        Ok(Standing::Open { why, .. } | Standing::Unclear(why)) => assert!(!why.is_empty()),
        Err(failure) => {
            assert_eq!(failure.kind, Failed::Unreachable);
            assert_plain(&failure);
        }
    }
}

/// What is booked is what stands there: an order of ours, over, and every number to the last digit.
fn assert_is_said(settled: &Settled, intent: &Intent, bytes: &[u8], trades: Option<&[u8]>) {
    let Some(told) = json_of(bytes) else { return };
    let number = |name: &str| exact(told[name].as_str().expect("text")).expect("a number");
    let plan = &intent.ordered.plan;
    let symbol = pair().symbol(intent.ordered.leg).code();
    assert_eq!(told["clientOrderId"], json!(intent.client_order_id));
    assert_eq!(told["symbol"], json!(symbol));
    assert_eq!(told["side"], json!(plan.side.to_string()));
    assert_eq!(told["type"], json!(plan.kind().name()));
    match plan.size {
        Size::Base(quantity) => assert_eq!(number("origQty"), quantity.value()),
        Size::Quote(amount) => assert_eq!(number("origQuoteOrderQty"), amount.value()),
    }
    let (status, executed) = (told["status"].as_str().expect("text"), number("executedQty"));
    let open = ["NEW", "PARTIALLY_FILLED", "PENDING_NEW", "PENDING_CANCEL"];
    assert!(!open.contains(&status), "{status} is not the end");
    let Outcome::Executed(done) = &settled.outcome else {
        assert!(executed.is_zero(), "what was executed was lost");
        assert!(["EXPIRED", "CANCELED", "EXPIRED_IN_MATCH", "REJECTED"].contains(&status));
        return;
    };
    assert_ne!(status, "REJECTED");
    assert_eq!((done.side, settled.order_id), (plan.side, told["orderId"].as_u64()));
    assert!(!done.quantity.is_zero() && done.quantity.value() <= number("origQty"));
    if !executed.is_zero() {
        assert_eq!(done.quantity.value(), executed);
        let quote = told["cummulativeQuoteQty"].as_str().expect("text");
        if !quote.starts_with('-') {
            assert_eq!(Some(done.quote.value()), exact(quote));
        }
    }
    match trades {
        None => assert_fees(done, &told["fills"], intent, |_| true),
        Some(trades) => {
            let Some(trades) = json_of(trades) else { return };
            let is_ours = |trade: &Value| trade["orderId"] == told["orderId"];
            assert_fees(done, &trades, intent, is_ours);
        }
    }
}

/// Each fee is counted once, in its own asset.
fn assert_fees(done: &Execution, fills: &Value, intent: &Intent, is_ours: impl Fn(&Value) -> bool) {
    let pair = pair();
    let total = |is_meant: &dyn Fn(&str) -> bool| -> Decimal {
        let fills = fills.as_array().expect("fills").iter().filter(|fill| is_ours(fill));
        let fee = |fill: &Value| exact(fill["commission"].as_str().expect("text"));
        fills
            .filter(|fill| is_meant(fill["commissionAsset"].as_str().expect("text")))
            .map(|fill| fee(fill).expect("a number"))
            .sum()
    };
    let (base, quote) = (pair.asset(intent.ordered.leg).code(), pair.quote().code());
    assert_eq!(done.fees.base.value(), total(&|asset| asset == base));
    assert_eq!(done.fees.quote.value(), total(&|asset| asset == quote));
    let others: Decimal = done.fees.other.values().map(|fee| fee.value()).sum();
    assert_eq!(others, total(&|asset| asset != base && asset != quote));
}

/// An answer that is no 200: a line with the status, one with `Retry-After`, and the body.
pub(crate) fn error(bytes: &[u8]) {
    let mut parts = bytes.splitn(3, |byte| *byte == b'\n');
    let line = |part: Option<&[u8]>| Some(std::str::from_utf8(part?).ok()?.to_owned());
    let (Some(status), Some(wait)) = (line(parts.next()), line(parts.next())) else { return };
    let Ok(status) = status.parse::<u16>() else { return };
    let retry_after = Some(wait).filter(|wait| !wait.is_empty());
    let body = parts.next().unwrap_or_default();
    let said = Said { status, retry_after: retry_after.clone(), ..Said::good(body) };
    let told = json_of(body).unwrap_or_default();
    if told.is_null() && body.windows(6).any(|word| word == b"\"code\"") {
        return; // Nobody but the parser under test can read it.
    }
    let (code, msg) = (told["code"].as_i64(), told["msg"].as_str().unwrap_or_default());

    let (sent, outside) = send(&intent(body), said.clone());
    match sent {
        Sent::Settled(_) => assert_eq!(status, 200),
        Sent::Unknown(why) => assert!(!why.is_empty()),
        Sent::Refused(Refusal { kind, said }) => {
            assert!((400..500).contains(&status), "{status} says nothing about the order");
            let code = code.expect("a refusal has a code");
            assert!(is_no(status, code, msg), "HTTP {status}, {code}, {msg} is no certain no");
            assert_eq!(kind, reason(code), "{code}");
            assert!(!said.chars().any(char::is_control) && said.chars().count() <= 4001);
        }
    }
    assert_silence(&outside, status, retry_after.as_deref());

    // Long before the bound nothing but the exchange's own archive says that nothing happened.
    let answer = said.clone();
    let mut asking =
        fresh(&http(move |request| is_about(request, "/order").then(|| answer.clone())));
    match asking.ask(&intent(body), &mut self::outside()) {
        Ok(Standing::Settled(Settled { outcome: Outcome::Expired, .. })) if status != 200 => {
            assert_eq!(code, Some(-2026));
        }
        Ok(Standing::Settled(_) | Standing::Unclear(_)) => assert_eq!(status, 200),
        Ok(Standing::Open { .. }) => assert!(status == 200 || code == Some(-2013)),
        Err(failure) => {
            assert_plain(&failure);
            assert_kind(failure.kind, status, code);
        }
    }
    let mut asking =
        fresh(&http(move |request| is_about(request, "/account").then(|| said.clone())));
    match asking.account(&mut self::outside()) {
        Ok(_) => assert_eq!(status, 200),
        Err(failure) => {
            assert_plain(&failure);
            assert_kind(failure.kind, status, code);
        }
    }
}

/// The closed list of refusals, written down once more. **Source**: Binance Spot REST, "Error codes".
fn is_no(status: u16, code: i64, msg: &str) -> bool {
    match code {
        -1003 => matches!(status, 418 | 429) && !msg.contains("queued"),
        -2010 | -1010 => !msg.contains("Duplicate order"),
        -1002 | -1013 | -1014 | -1015 | -1020 | -1021 | -1022 | -1130 | -1131 | -1135 | -1145
        | -1151 | -1194 | -2014 | -2015 => true,
        _ => (-1128..=-1100).contains(&code),
    }
}

fn reason(code: i64) -> Failed {
    match code {
        -1003 | -1015 => Failed::Limited,
        -1021 => Failed::Unreachable,
        -1002 | -1022 | -2014 | -2015 => Failed::KeyRefused,
        _ => Failed::Refused,
    }
}

fn assert_kind(kind: Failed, status: u16, code: Option<i64>) {
    let is_key = matches!(code, Some(-1002 | -1022 | -2014 | -2015));
    match kind {
        Failed::Limited => assert!(matches!(status, 418 | 429)),
        Failed::KeyRefused => assert!(is_key && status != 200),
        Failed::Unreachable => assert!(!matches!(status, 418 | 429)),
        other => panic!("{other:?} is no failure of a question"),
    }
}

/// A wish for silence is remembered, to the second where it makes sense, and nothing else is.
fn assert_silence(outside: &Outside, status: u16, retry_after: Option<&str>) {
    let until = outside.banned_until(HOST, now());
    if !matches!(status, 418 | 429) {
        return assert_eq!(until, None);
    }
    let millis = until.expect("silence").millis_since(now());
    assert!((1000..=3 * 24 * 60 * 60 * 1000).contains(&millis), "{millis} ms");
    let is_plain = |text: &&str| text.len() <= 6 && text.bytes().all(|it| it.is_ascii_digit());
    let seconds: Option<i64> = retry_after.filter(is_plain).and_then(|text| text.parse().ok());
    if let Some(seconds) = seconds.filter(|seconds| (1..=259_200).contains(seconds)) {
        assert_eq!(millis, seconds * 1000);
    }
}

/// The answers to the questions for the account, its orders and its trades.
pub(crate) fn account(bytes: &[u8]) {
    if is_object(bytes) {
        return balances(bytes);
    }
    orders(bytes);
    trades(bytes);
}

fn balances(bytes: &[u8]) {
    let mut live = fresh(&answering("/account", bytes));
    let mut outside = outside();
    let account = match live.account(&mut outside) {
        Ok(account) => account,
        Err(failure) => {
            assert_eq!(failure.kind, Failed::Unreachable);
            return assert_plain(&failure);
        }
    };
    let Some(told) = json_of(bytes) else { return };
    assert_eq!(Some(account.uid), told["uid"].as_u64());
    assert_eq!(Some(account.can_trade), told["canTrade"].as_bool());
    let balance = |asset: &str| {
        let rows = told["balances"].as_array().expect("a list");
        let of = |name: &str| {
            let row = rows.iter().find(|row| row["asset"] == asset);
            row.map_or(Decimal::ZERO, |row| {
                exact(row[name].as_str().expect("text")).expect("a number")
            })
        };
        (of("free"), of("free") + of("locked"))
    };
    let (free_quote, quote) = balance("USDT");
    assert_eq!(account.free_quote.value(), free_quote);
    for (leg, asset) in Leg::BOTH.into_iter().zip(["BTC", "ETH"]) {
        let seen = account.leg(leg);
        let total = seen.total;
        assert_eq!((seen.free.value(), total.base.value()), balance(asset));
        assert_eq!(total.quote.value(), quote);
        assert!(seen.free <= total.base && seen.free >= Quantity::ZERO);
    }
}

fn orders(bytes: &[u8]) {
    let said = Said::good(bytes);
    let mut live = fresh(&http(move |request| {
        let is_list = is_about(request, "/allOrders") || is_about(request, "/openOrders");
        (is_list && names(request, "BTCUSDT")).then(|| said.clone())
    }));
    let mut outside = outside();
    let account = match live.account(&mut outside) {
        Ok(account) => account,
        Err(failure) => {
            assert_eq!(failure.kind, Failed::Unreachable);
            return assert_plain(&failure);
        }
    };
    let Some(told) = json_of(bytes) else { return };
    let rows = told.as_array().expect("a list");
    let seen = account.leg(Leg::Numerator);
    assert_eq!(seen.orders, seen.open);
    assert_eq!(rows.len(), seen.orders.len());
    for (row, order) in rows.iter().zip(&seen.orders) {
        assert_order(row, order);
    }
}

fn assert_order(row: &Value, order: &OrderSeen) {
    let number = |name: &str| exact(row[name].as_str().expect("text"));
    assert_eq!(row["symbol"], "BTCUSDT");
    assert_eq!(row["orderId"].as_u64(), Some(order.order_id));
    assert_eq!(row["side"], json!(order.side.to_string()));
    assert_eq!(number("origQty"), Some(order.quantity.value()));
    assert_eq!(number("executedQty"), Some(order.executed.value()));
    let quote = number("cummulativeQuoteQty").filter(|quote| !quote.is_sign_negative());
    assert!(order.quote.is_none_or(|shown| Some(shown.value()) == quote));
    let status = row["status"].as_str().expect("text");
    assert_eq!(order.status == Status::Filled, status == "FILLED");
    assert_eq!(order.status == Status::Rejected, status == "REJECTED");
    let is_over = ["FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"];
    assert_eq!(order.status.is_open(), !is_over.contains(&status));
}

fn trades(bytes: &[u8]) {
    let (trades, filled) = (Said::good(bytes), Said::good(FILLED));
    let mut live = fresh(&http(move |request| {
        if is_about(request, "/myTrades") {
            return Some(trades.clone());
        }
        (is_about(request, "/order") && request.method == Method::GET).then(|| filled.clone())
    }));
    let intent = intent(FILLED);
    match live.ask(&intent, &mut outside()) {
        Ok(Standing::Settled(settled)) => assert_is_said(&settled, &intent, FILLED, Some(bytes)),
        Ok(Standing::Open { .. }) => {}
        Ok(Standing::Unclear(why)) => panic!("the order was clear: {why}"),
        Err(failure) => {
            assert_eq!(failure.kind, Failed::Unreachable);
            assert_plain(&failure);
        }
    }
}

fn answering(path: &'static str, bytes: &[u8]) -> Http {
    let said = Said::good(bytes);
    http(move |request: &Request| is_about(request, path).then(|| said.clone()))
}

fn outside() -> Outside {
    Outside::load(Memory::default().shared(), FOLDER.as_ref())
}

pub(crate) fn live(http: &Http, outside: &Outside) -> Live {
    let url = Url::parse(HOST).expect("an address");
    let key = |text: &str| SecretString::from(text);
    let credentials = Credentials::hmac(key("key"), key("secret"));
    let access = Access {
        credentials: Ok(credentials.expect("a key")),
        base_url: url.clone(),
        recv_window_ms: 5000,
        settle_seconds: 660,
    };
    let interval = Interval::named("1h").expect("an interval");
    let watch = Watch::new(Binance::new(http.clone(), url), pair(), interval);
    let kind = ouroboros::trading::order::Kind::Market;
    Live::new(watch, http, &access, kind, outside)
}

/// One that remembers nothing of an earlier run.
fn fresh(http: &Http) -> Live {
    live(http, &outside())
}

fn send(intent: &Intent, said: Said) -> (Sent, Outside) {
    let mut live = fresh(&http(move |request| {
        assert_eq!(request.method, Method::POST, "an order is sent, and nothing is asked");
        Some(said.clone())
    }));
    let mut outside = outside();
    let sent = live.send(recorded(intent), &mut outside);
    (sent, outside)
}

/// The leave to send an order, once: it is on a disk.
fn recorded(intent: &Intent) -> Recorded {
    let identity = Identity {
        mode: "live".to_owned(),
        numerator: "BTC/USDT".to_owned(),
        denominator: "ETH/USDT".to_owned(),
        timeframe: "1h".to_owned(),
        candles: None,
    };
    let book = Book { ledger: Some(Ledger::open(1)), ..Book::unclaimed() };
    let mut store = Store::open(Memory::default().shared(), FOLDER.as_ref()).expect("a store");
    let record = json!({ "kind": "intent" });
    let outbox = Outbox::default();
    store.record(identity, book, intent.clone(), outbox, &record).expect("a disk in memory")
}

/// The order that the answer is about: one of the documented two, or the sale of the first.
fn intent(answer: &[u8]) -> Intent {
    let says = |word: &str| answer.windows(word.len()).any(|it| it == word.as_bytes());
    let number = |text: &str| -> Decimal { text.parse().expect("a number") };
    let quantity = |text: &str| Quantity::new(number(text)).expect("a quantity");
    let amount = |text: &str| Amount::new(number(text)).expect("an amount");
    let price = |text: &str| Price::new(number(text)).expect("a price");
    let entry = Purpose::Entry(ZScore::new(-2.5).expect("finite"));
    let (id, leg, purpose, side, size, limit) = if says("ETHUSDT") {
        let (size, limit) = (Size::Base(quantity("0.05")), Some(price("3200")));
        ("ouro-20260720T1100-E-01", Leg::Denominator, entry, Side::Buy, size, limit)
    } else if says("SELL") {
        let size = Size::Base(quantity("0.00155"));
        let purpose = Purpose::Exit { cools: false };
        ("ouro-20260720T1100-B-01", Leg::Numerator, purpose, Side::Sell, size, None)
    } else {
        let size = Size::Quote(amount("100"));
        ("ouro-20260720T1100-B-01", Leg::Numerator, entry, Side::Buy, size, None)
    };
    Intent {
        client_order_id: id.to_owned(),
        candle: now(),
        ordered: Ordered { leg, purpose, plan: Plan { side, size, limit } },
        touch: Touch { price: price("64250.01"), rules: SymbolRules::unlimited() },
        timestamp: now(),
        recv_window_ms: 5000,
        before: Balances { base: quantity("1"), quote: amount("1000") },
        newest_order: None,
    }
}

const FILLED: &[u8] = include_bytes!("../../corpus/order/documented-query");
const TRADES: &[u8] = include_bytes!("../../corpus/account/documented-trades");
