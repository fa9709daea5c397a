//! The endpoints: who may ask what, what it weighs, and what anybody is answered.

use serde_json::{Value, json};

use super::door;
use super::fault::Execute;
use super::market::{Symbol, eight};
use super::questions::{self, Question};
use super::sign::{self, Refusal, refuse};
use super::world::{Asked, World};

/// What a request weighs. **Source**: Binance Spot REST, the weights at each endpoint.
pub(super) fn weight(asked: &Asked, parameters: &[(String, String)]) -> u64 {
    let value = |name: &str| sign::value(parameters, name);
    let one_symbol = value("symbol").is_some();
    match (asked.method.as_str(), asked.path.as_str()) {
        (_, "/api/v3/myTrades") if value("orderId").is_some() => 5,
        (
            _,
            "/api/v3/exchangeInfo"
            | "/api/v3/allOrders"
            | "/api/v3/myTrades"
            | "/api/v3/account"
            | "/api/v3/account/commission",
        ) => 20,
        (_, "/api/v3/rateLimit/order") => 40,
        ("GET", "/api/v3/openOrders") => {
            if one_symbol {
                6
            } else {
                80
            }
        }
        (_, "/api/v3/ticker/bookTicker" | "/api/v3/ticker/price") if one_symbol => 2,
        ("GET", "/api/v3/order" | "/api/v3/ticker/bookTicker" | "/api/v3/ticker/price") => 4,
        (_, "/api/v3/ticker/24hr") if !one_symbol => 80,
        (_, "/api/v3/klines" | "/api/v3/avgPrice" | "/api/v3/ticker/24hr") => 2,
        (_, "/api/v3/depth") => match value("limit").and_then(|text| text.parse().ok()) {
            Some(501_u32..=1000) => 50,
            Some(101..=500) => 25,
            Some(1001..) => 250,
            _ => 5,
        },
        (_, path) => u64::from(path.starts_with("/api/") || path.starts_with("/sapi/")),
    }
}

/// The parameters that an endpoint reads, besides those of a signature. `None` where there is no such endpoint.
fn known(method: &str, path: &str) -> Option<(bool, &'static [&'static str])> {
    const ORDER: &[&str] = &[
        "symbol",
        "side",
        "type",
        "timeInForce",
        "quantity",
        "quoteOrderQty",
        "price",
        "newClientOrderId",
        "newOrderRespType",
        "selfTradePreventionMode",
        "strategyId",
        "strategyType",
        "icebergQty",
        "computeCommissionRates",
    ];
    let public = |names: &'static [&'static str]| Some((false, names));
    let signed = |names: &'static [&'static str]| Some((true, names));
    match (method, path.strip_prefix("/api/v3/")?) {
        ("GET", "ping" | "time") => public(&[]),
        ("GET", "exchangeInfo") => {
            public(&["symbol", "symbols", "permissions", "symbolStatus", "showPermissionSets"])
        }
        ("GET", "klines") => {
            public(&["symbol", "interval", "startTime", "endTime", "timeZone", "limit"])
        }
        ("GET", "ticker/bookTicker" | "ticker/price" | "ticker/24hr") => {
            public(&["symbol", "symbols", "symbolStatus", "type"])
        }
        ("GET", "avgPrice") => public(&["symbol"]),
        ("GET", "depth") => public(&["symbol", "limit", "symbolStatus"]),
        ("POST", "order" | "order/test") => signed(ORDER),
        ("GET", "order") => signed(&["symbol", "orderId", "origClientOrderId"]),
        ("DELETE", "order") => signed(&[
            "symbol",
            "orderId",
            "origClientOrderId",
            "newClientOrderId",
            "cancelRestrictions",
        ]),
        ("GET" | "DELETE", "openOrders") | ("GET", "account/commission") => signed(&["symbol"]),
        ("GET", "allOrders") => signed(&["symbol", "orderId", "startTime", "endTime", "limit"]),
        ("GET", "myTrades") => {
            signed(&["symbol", "orderId", "startTime", "endTime", "fromId", "limit"])
        }
        ("GET", "account") => signed(&["omitZeroBalances"]),
        ("GET", "rateLimit/order") => signed(&[]),
        _ => None,
    }
}

pub(super) fn answer(
    world: &mut World,
    asked: &Asked,
    parameters: &[(String, String)],
    execute: Execute,
) -> (u16, Value) {
    let unit = asked.header("x-mbx-time-unit").map(str::to_ascii_lowercase);
    if unit.as_ref().is_some_and(|unit| !["microsecond", "millisecond"].contains(&unit.as_str())) {
        let msg = "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.";
        return (400, json!({ "code": -1194, "msg": msg }));
    }
    let (status, mut body) =
        route(world, asked, parameters, execute).unwrap_or_else(|refusal| refusal);
    if unit.is_some_and(|unit| unit == "microsecond") && asked.path.starts_with("/api/") {
        in_micros(&mut body);
    }
    (status, body)
}

fn route(
    world: &mut World,
    asked: &Asked,
    parameters: &[(String, String)],
    execute: Execute,
) -> Result<(u16, Value), Refusal> {
    let path = asked.path.as_str();
    if path.starts_with("/api/") {
        let Some((is_signed, names)) = known(&asked.method, path) else { return nothing_there() };
        let security = ["recvWindow", "timestamp", "signature"];
        let is_read = |name: &str| names.contains(&name) || (is_signed && security.contains(&name));
        let read = parameters.iter().filter(|(name, _)| is_read(name)).count();
        if is_signed {
            let trades = path.starts_with("/api/v3/order") || path == "/api/v3/openOrders";
            sign::check(world, asked, parameters, trades && asked.method != "GET")?;
        }
        if read < parameters.len() {
            let sent = parameters.len();
            let msg = format!(
                "Not all sent parameters were read; read '{read}' parameter(s) but was sent '{sent}'."
            );
            return refuse(400, -1104, msg);
        }
        let question = Question { parameters };
        let body = if is_signed {
            private(world, asked, &question, execute)
        } else {
            public(world, asked, &question)
        };
        return body.map(|body| (200, body));
    }
    match path {
        "/sapi/v1/account/apiRestrictions" => {
            let Some(restrictions) = world.restrictions.clone() else { return nothing_there() };
            sign::check(world, asked, parameters, false)?;
            Ok((200, restrictions))
        }
        // Clients ask for these with the symbols; on this exchange there is no margin.
        "/sapi/v1/margin/allPairs" | "/sapi/v1/margin/isolated/allPairs" => {
            sign::check(world, asked, parameters, false)?;
            Ok((200, json!([])))
        }
        _ if path.starts_with("/bot") => telegram(world, asked),
        _ if path.starts_with("/ping/") => {
            if world.talks {
                println!("ping     {path}  {}", asked.body);
            }
            world.pings.push(path.to_owned());
            Ok((200, json!("OK")))
        }
        _ => nothing_there(),
    }
}

fn nothing_there<T>() -> Result<T, Refusal> {
    Err((404, Value::Null))
}

/// What needs a key.
fn private(
    world: &mut World,
    asked: &Asked,
    question: &Question<'_>,
    execute: Execute,
) -> Result<Value, Refusal> {
    let path = asked.path.strip_prefix("/api/v3/").unwrap_or_default();
    if let Some(counted) = COUNTED.iter().find(|name| **name == path && asked.method == "GET") {
        *world.counts.entry(counted).or_default() += 1;
    }
    match (asked.method.as_str(), path) {
        ("POST", "order") => {
            let wanted = door::admit(world, question.parameters)?;
            world.forward(wanted, execute)
        }
        ("POST", "order/test") => door::admit(world, question.parameters).map(|_| json!({})),
        ("DELETE", "order") => questions::cancel(world, question),
        ("DELETE", "openOrders") => questions::cancel_all(world, question),
        ("GET", "order") => questions::order(world, question),
        ("GET", "openOrders") => questions::open_orders(world, question),
        ("GET", "allOrders") => questions::all_orders(world, question),
        ("GET", "myTrades") => questions::my_trades(world, question),
        ("GET", "account") => Ok(questions::account(world, question)),
        ("GET", "account/commission") => questions::commission(world, question),
        ("GET", "rateLimit/order") => Ok(questions::order_rate(world)),
        _ => nothing_there(),
    }
}

/// Endpoints that may lag.
const COUNTED: [&str; 5] = ["order", "openOrders", "allOrders", "myTrades", "account"];

/// What anybody may ask.
fn public(world: &World, asked: &Asked, question: &Question<'_>) -> Result<Value, Refusal> {
    let now = world.now_at(&asked.path);
    let each = |row: &dyn Fn(&Symbol) -> Value| -> Result<Value, Refusal> {
        let codes = symbols(world, question)?;
        match question.text("symbol") {
            Some(_) => Ok(row(&world.symbols[&codes[0]])),
            None => Ok(codes.iter().map(|code| row(&world.symbols[code])).collect()),
        }
    };
    match asked.path.strip_prefix("/api/v3/").unwrap_or_default() {
        "ping" => Ok(json!({})),
        "time" => Ok(json!({ "serverTime": now })),
        "exchangeInfo" => exchange_info(world, question, now),
        "klines" => {
            let code = symbol(world, question.text("symbol"))?;
            let Some(interval) = question.text("interval").and_then(interval_ms) else {
                return refuse(400, -1120, "Invalid interval.");
            };
            let market = &world.symbols[&code];
            if market.candles.interval != interval {
                return Ok(json!([]));
            }
            let from = question.number("startTime")?.unwrap_or(i64::MIN);
            let to = question.number("endTime")?.unwrap_or(i64::MAX);
            Ok(Value::Array(market.klines(now, from, to, question.limit()?)))
        }
        "ticker/bookTicker" => each(&|it| {
            let (bid, ask) = it.best(now);
            json!({ "symbol": it.code(), "bidPrice": eight(bid), "bidQty": "3.21001000", "askPrice": eight(ask), "askQty": "1.00000000" })
        }),
        "ticker/price" => {
            each(&|it| json!({ "symbol": it.code(), "price": eight(it.best(now).0) }))
        }
        "ticker/24hr" => each(&|it| {
            let (bid, ask) = it.best(now);
            json!({
                "symbol": it.code(), "priceChange": "0.00000000", "priceChangePercent": "0.000",
                "weightedAvgPrice": eight(it.average(now)), "prevClosePrice": eight(bid), "lastPrice": eight(bid),
                "lastQty": "1.00000000", "bidPrice": eight(bid), "bidQty": "3.21001000", "askPrice": eight(ask),
                "askQty": "1.00000000", "openPrice": eight(bid), "highPrice": eight(ask), "lowPrice": eight(bid),
                "volume": "1200.00000000", "quoteVolume": "3600000.00000000", "openTime": now - 86_400_000,
                "closeTime": now, "firstId": 1, "lastId": 4032, "count": 4032,
            })
        }),
        "avgPrice" => {
            let code = symbol(world, question.text("symbol"))?;
            let price = eight(world.symbols[&code].average(now));
            Ok(json!({ "mins": 5, "price": price, "closeTime": now }))
        }
        "depth" => {
            let code = symbol(world, question.text("symbol"))?;
            let most = usize::try_from(question.number("limit")?.unwrap_or(100)).unwrap_or(0);
            let side = |is_buy: bool| -> Vec<Value> {
                let levels = world.symbols[&code].levels(is_buy, now);
                let level = |(price, size): &(_, _)| json!([eight(*price), eight(*size)]);
                levels.iter().take(most).map(level).collect()
            };
            let (bids, asks) = (side(false), side(true));
            Ok(json!({ "lastUpdateId": 81_230_011_223_u64, "bids": bids, "asks": asks }))
        }
        _ => nothing_there(),
    }
}

fn exchange_info(world: &World, question: &Question<'_>, now: i64) -> Result<Value, Refusal> {
    let codes = symbols(world, question)?;
    let wanted = question.text("symbolStatus");
    let names_symbols = question.text("symbol").is_some() || question.text("symbols").is_some();
    if wanted.is_some() && names_symbols {
        return refuse(400, -1128, "Combination of optional parameters invalid.");
    }
    let infos: Vec<Value> = codes
        .iter()
        .map(|code| &world.symbols[code])
        .filter(|symbol| wanted.is_none_or(|wanted| symbol.status == wanted))
        .map(Symbol::info)
        .collect();
    let mut info = json!({
        "timezone": "UTC", "serverTime": now,
        "rateLimits": [
            { "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": world.weight_limit },
            { "rateLimitType": "ORDERS", "interval": "SECOND", "intervalNum": 10, "limit": world.order_limits[0] },
            { "rateLimitType": "ORDERS", "interval": "DAY", "intervalNum": 1, "limit": world.order_limits[1] },
            { "rateLimitType": "RAW_REQUESTS", "interval": "MINUTE", "intervalNum": 5, "limit": 300_000 },
        ],
        "exchangeFilters": [],
    });
    info["symbols"] = Value::Array(infos);
    Ok(info)
}

/// A message as a phone shows it, without its markup.
///
/// # Panics
/// Telegram would not take it.
pub fn as_read(text: &Value) -> String {
    let text = text.as_str().expect("a message has a text");
    let plain = text.replace("<b>", "").replace("</b>", "");
    assert!(!plain.contains(['<', '>']), "a tag, or a character that is not escaped: {text}");
    let entities = [("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")];
    let bare = entities.iter().fold(plain.clone(), |text, (name, _)| text.replace(name, ""));
    assert!(!bare.contains('&'), "an entity that Telegram does not know: {text}");
    entities.iter().fold(plain, |text, (name, character)| text.replace(name, character))
}

fn telegram(world: &mut World, asked: &Asked) -> Result<(u16, Value), Refusal> {
    let body: Value = serde_json::from_str(&asked.body).unwrap_or_default();
    let result = match asked.path.rsplit('/').next() {
        Some("sendMessage") => {
            let text = as_read(&body["text"]);
            if world.talks {
                println!("telegram {}", text.replace('\n', "\n         "));
            }
            world.messages.push(text);
            json!({ "message_id": world.messages.len(), "date": world.now() / 1000, "chat": { "id": body["chat_id"], "type": "private" } })
        }
        // Nobody writes to this bot.
        Some("getUpdates") => json!([]),
        // Of a picture only what stands below it is looked at.
        Some("sendPhoto") => {
            let caption = asked.body.split("name=\"caption\"\r\n\r\n").nth(1);
            let caption = caption.and_then(|rest| rest.split("\r\n--").next());
            let text = as_read(&json!(caption));
            world.messages.push(text);
            json!({ "message_id": world.messages.len() })
        }
        Some("getMe") => {
            json!({ "id": 1, "is_bot": true, "first_name": "Simulated", "username": "simulated_bot" })
        }
        Some("getChat") => json!({ "id": 42, "type": "private", "first_name": "You" }),
        _ => {
            return Err((
                404,
                json!({ "ok": false, "error_code": 404, "description": "Not Found" }),
            ));
        }
    };
    Ok((200, json!({ "ok": true, "result": result })))
}

pub(super) fn symbol(world: &World, code: Option<&str>) -> Result<String, Refusal> {
    match code {
        None => sign::missing("symbol"),
        Some(code) if world.symbols.contains_key(code) => Ok(code.to_owned()),
        Some(_) => refuse(400, -1121, "Invalid symbol."),
    }
}

fn symbols(world: &World, question: &Question<'_>) -> Result<Vec<String>, Refusal> {
    let codes: Vec<String> = match (question.text("symbol"), question.text("symbols")) {
        (Some(_), Some(_)) => {
            return refuse(400, -1128, "Combination of optional parameters invalid.");
        }
        (Some(code), None) => vec![code.to_owned()],
        (None, Some(list)) => match serde_json::from_str(list) {
            Ok(codes) => codes,
            Err(_) => {
                return refuse(400, -1100, "Illegal characters found in parameter 'symbols'.");
            }
        },
        (None, None) => world.symbols.keys().cloned().collect(),
    };
    if codes.iter().enumerate().any(|(index, code)| codes[..index].contains(code)) {
        return refuse(400, -1151, "Symbol is present multiple times in the list.");
    }
    codes.into_iter().map(|code| symbol(world, Some(&code))).collect()
}

/// Two times may lie a day apart.
pub(super) fn span(from: Option<i64>, to: Option<i64>) -> Result<(), Refusal> {
    match from.zip(to) {
        Some((from, to)) if to - from > 86_400_000 => {
            refuse(400, -1127, "More than 24 hours between startTime and endTime.")
        }
        _ => Ok(()),
    }
}

pub(super) fn interval_ms(name: &str) -> Option<i64> {
    const NAMES: [&str; 16] = [
        "1s", "1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d",
        "1w", "1M",
    ];
    let (count, unit) = NAMES.contains(&name).then(|| name.split_at(name.len() - 1))?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => 2_592_000,
    };
    count.parse::<i64>().ok().map(|count| count * seconds * 1000)
}

/// Times in microseconds, wherever they stand.
fn in_micros(body: &mut Value) {
    const TIMES: [&str; 8] = [
        "serverTime",
        "time",
        "updateTime",
        "workingTime",
        "transactTime",
        "closeTime",
        "openTime",
        "createTime",
    ];
    let scale = |time: &mut Value, rest: i64| {
        if let Some(ms) = time.as_i64() {
            *time = json!(ms * 1000 + rest);
        }
    };
    match body {
        // A candle.
        Value::Array(row) if row.len() == 12 && row[0].is_i64() => {
            scale(&mut row[0], 0);
            scale(&mut row[6], 999);
        }
        Value::Array(rows) => rows.iter_mut().for_each(in_micros),
        Value::Object(fields) => {
            for (name, value) in fields {
                if TIMES.contains(&name.as_str()) {
                    scale(value, 0);
                } else {
                    in_micros(value);
                }
            }
        }
        _ => {}
    }
}
