//! A scripted exchange on loopback: candles, the book's touch, rules, time; and, on the same port, a
//! Telegram bot API (`/bot…/sendMessage`, `getMe`, `getChat`) and a health check (`/ping/…`).
//!
//! Every request is noted before it is answered. Faults are set by words of the target and apply to
//! every matching request or to the n-th one only.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::clock::{self, Clock};
use crate::exchange::as_read;

use super::fault::{self, Fault, Response};
use super::table::{Row, decimal, eight};

/// One request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
    /// The body, byte for byte.
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: Instant,
    /// Whether the real answer went out, untouched by a fault.
    pub(crate) answered: bool,
}

impl Request {
    /// The target without its query.
    pub(crate) fn path(&self) -> &str {
        self.target.split_once('?').map_or(&self.target, |(path, _)| path)
    }

    /// The value of a query parameter, as it was sent.
    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value)
    }

    /// The value of a header, whatever its case.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let named = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers.iter().find(named).map(|(_, value)| value.as_str())
    }
}

/// The server; it ends when it is dropped.
pub(crate) struct Server {
    shared: Arc<Shared>,
    address: SocketAddr,
}

struct Shared {
    exchange: Mutex<Exchange>,
    log: Mutex<Vec<Request>>,
    stop: AtomicBool,
}

struct Exchange {
    clock: Clock,
    date: bool,
    interval: i64,
    legs: [String; 2],
    rows: Vec<Row>,
    /// Open time of the newest row, the last candle that has ended.
    newest: i64,
    forming: Row,
    touches: BTreeMap<String, (String, String)>,
    bends: Vec<(String, Bend)>,
    rules: Vec<Rule>,
    /// What was written to the bot.
    updates: Vec<Value>,
}

/// A change to a good answer before it is sent.
type Bend = Arc<dyn Fn(&mut Value) + Send + Sync>;

struct Rule {
    part: String,
    /// Matching requests still to be let through.
    skip: usize,
    /// Matching requests still to be spoilt.
    left: usize,
    fault: Fault,
}

impl Server {
    /// Candles of one minute for BTC and ETH, and a clock that can step over one of them.
    pub(crate) fn start(rows: Vec<Row>) -> Self {
        Self::with(rows, Clock::over_one_candle(), clock::MINUTE)
    }

    /// Any clock and any interval.
    pub(crate) fn with(rows: Vec<Row>, clock: Clock, interval: i64) -> Self {
        let newest = clock.read() / interval * interval - interval;
        let touch = |bid: &str, ask: &str| (bid.to_owned(), ask.to_owned());
        let touches = BTreeMap::from([
            ("BTCUSDT".to_owned(), touch("60000.00000000", "62000.00000000")),
            ("ETHUSDT".to_owned(), touch("3000.00000000", "3100.00000000")),
        ]);
        let forming = *rows.last().expect("at least one candle");
        let legs = ["BTCUSDT".to_owned(), "ETHUSDT".to_owned()];
        let (bends, rules) = (Vec::new(), Vec::new());
        let exchange = Exchange {
            clock,
            date: true,
            interval,
            legs,
            rows,
            newest,
            forming,
            touches,
            bends,
            rules,
            updates: Vec::new(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            exchange: Mutex::new(exchange),
            log: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if accepting.stop.load(Ordering::Relaxed) {
                    break;
                }
                let shared = Arc::clone(&accepting);
                // A client that goes away in the middle is no fault of the server.
                thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Self { shared, address }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `http://127.0.0.1:PORT`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Whether its candles last a day.
    pub(crate) fn is_daily(&self) -> bool {
        self.shared.exchange().interval == clock::DAY
    }

    /// Other symbols than BTCUSDT and ETHUSDT, with their touches (bid, ask).
    pub(crate) fn legs(&self, numerator: (&str, &str, &str), denominator: (&str, &str, &str)) {
        let mut exchange = self.shared.exchange();
        exchange.legs = [numerator.0.to_owned(), denominator.0.to_owned()];
        for (symbol, bid, ask) in [numerator, denominator] {
            exchange.touches.insert(symbol.to_owned(), (bid.to_owned(), ask.to_owned()));
        }
    }

    /// The best bid and ask of a symbol.
    pub(crate) fn touch(&self, symbol: &str, bid: &str, ask: &str) {
        let touch = (eight(decimal(bid)), eight(decimal(ask)));
        self.shared.exchange().touches.insert(symbol.to_owned(), touch);
    }

    /// The candle that is still open.
    pub(crate) fn forming(&self, row: Row) {
        self.shared.exchange().forming = row;
    }

    /// One more candle ends: its closes, and the clock steps into the next one.
    pub(crate) fn close_candle(&self, row: Row) {
        let mut exchange = self.shared.exchange();
        exchange.clock.step();
        exchange.rows.push(row);
        exchange.newest += exchange.interval;
        exchange.forming = row;
    }

    /// Another clock; the candles stay where they are.
    pub(crate) fn clock(&self, clock: Clock) {
        self.shared.exchange().clock = clock;
    }

    /// Answers without a `Date`.
    pub(crate) fn no_date(&self) {
        self.shared.exchange().date = false;
    }

    /// Open time of the newest candle that has ended, as the program names it.
    pub(crate) fn newest_candle(&self) -> String {
        clock::rfc3339(self.shared.exchange().newest)
    }

    /// Changes good answers to targets with these words; the value is the JSON about to be sent,
    /// for candles the whole list before `limit` cuts it.
    pub(crate) fn bend(&self, part: &str, bend: impl Fn(&mut Value) + Send + Sync + 'static) {
        self.shared.exchange().bends.push((part.to_owned(), Arc::new(bend)));
    }

    /// Spoils every answer to targets with these words.
    pub(crate) fn fault(&self, part: &str, fault: Fault) {
        self.rule(part, 0, usize::MAX, fault);
    }

    /// Spoils only the n-th answer from now on, counted from 0.
    pub(crate) fn fault_nth(&self, part: &str, nth: usize, fault: Fault) {
        self.rule(part, nth, 1, fault);
    }

    /// Spoils so many answers and then none.
    pub(crate) fn fault_times(&self, part: &str, times: usize, fault: Fault) {
        self.rule(part, 0, times, fault);
    }

    fn rule(&self, part: &str, skip: usize, left: usize, fault: Fault) {
        self.shared.exchange().rules.push(Rule { part: part.to_owned(), skip, left, fault });
    }

    /// Everything works again.
    pub(crate) fn heal(&self) {
        let mut exchange = self.shared.exchange();
        exchange.rules.clear();
        exchange.bends.clear();
    }

    /// Every request so far, in the order of arrival.
    pub(crate) fn requests(&self) -> Vec<Request> {
        lock(&self.shared.log).clone()
    }

    /// Those with these words in the target.
    pub(crate) fn requests_to(&self, part: &str) -> Vec<Request> {
        self.requests().into_iter().filter(|request| contains(&request.target, part)).collect()
    }

    /// Forgets what was asked.
    pub(crate) fn forget(&self) {
        lock(&self.shared.log).clear();
    }

    /// Somebody writes to the bot; the number of that.
    pub(crate) fn write_to_bot(&self, chat: i64, user: i64, text: &str) -> i64 {
        let mut exchange = self.shared.exchange();
        let (now, number) = (exchange.clock.read(), exchange.updates.len() + 500);
        exchange.updates.push(json!({
            "update_id": number,
            "message": {
                "message_id": number, "date": now / 1_000 - 60, "text": text,
                "chat": { "id": chat, "type": "private", "first_name": "Ada" },
                "from": { "id": user, "is_bot": false, "first_name": "Ada" },
            },
        }));
        i64::try_from(number).expect("a small number")
    }

    /// Texts that Telegram took, in the order of arrival.
    pub(crate) fn told(&self) -> Vec<String> {
        let text = |request: Request| {
            let body: Value = serde_json::from_str(&request.body).expect("a message is JSON");
            as_read(&body["text"])
        };
        self.requests_to("/sendMessage")
            .into_iter()
            .filter(|request| request.answered)
            .map(text)
            .collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // The listener waits for a connection: give it one, so that it sees the flag.
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        lock(&self.exchange)
    }

    /// Answers one connection until the client or a fault ends it.
    fn serve(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        while let Some(length) = head_length(&stream)? {
            let mut head = vec![0; length];
            // Looked at, not read: a socket that is closed with unread bytes resets its peer.
            stream.peek(&mut head)?;
            let mut request = parse(&String::from_utf8_lossy(&head));
            let fault = self.exchange().fault(&request.target);
            if fault.as_ref().is_some_and(Fault::is_reset) {
                lock(&self.log).push(request);
                return Ok(());
            }
            stream.read_exact(&mut head)?;
            let length = request.header("content-length").and_then(|text| text.parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            stream.read_exact(&mut body)?;
            request.body = String::from_utf8_lossy(&body).into_owned();
            request.bytes = body;
            request.answered = fault.is_none();
            let (answer, date) = self.exchange().answer(&request);
            lock(&self.log).push(request);
            match fault {
                None => fault::send(&mut stream, &answer, date.as_deref())?,
                Some(fault) => {
                    if !fault.play(&mut stream, answer, date.as_deref(), &self.stop)? {
                        return Ok(());
                    }
                }
            }
            stream.flush()?;
        }
        Ok(())
    }
}

impl Exchange {
    /// The first rule that binds this target, used up by one.
    fn fault(&mut self, target: &str) -> Option<Fault> {
        for rule in self.rules.iter_mut().filter(|rule| contains(target, &rule.part)) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.left > 0 {
                rule.left -= 1;
                return Some(rule.fault.clone());
            }
        }
        None
    }

    /// The answer to a request, and its `Date`.
    fn answer(&self, request: &Request) -> (Response, Option<String>) {
        let now = self.clock.read();
        let date = self.date.then(|| clock::http_date(now));
        let response = match request.path() {
            "/api/v3/klines" => self.klines(request),
            "/api/v3/time" => self.good(request, json!({ "serverTime": now })),
            "/api/v3/exchangeInfo" => self.good(request, self.exchange_info(request, now)),
            "/api/v3/ticker/bookTicker" => self.book_ticker(request),
            path if path.starts_with("/bot") && path.ends_with("/sendMessage") => {
                let message = json!({"message_id": 7, "date": now / 1_000, "chat": {"id": 42}});
                self.good(request, json!({ "ok": true, "result": message }))
            }
            path if path.starts_with("/bot") && path.ends_with("/sendPhoto") => {
                self.good(request, json!({ "ok": true, "result": { "message_id": 8 } }))
            }
            path if path.starts_with("/bot") && path.ends_with("/getUpdates") => {
                let question: Value = serde_json::from_str(&request.body).expect("JSON");
                let offset = question["offset"].as_i64().unwrap_or(0);
                let is_new = |update: &&Value| update["update_id"].as_i64() >= Some(offset);
                let updates: Vec<&Value> = self.updates.iter().filter(is_new).collect();
                self.good(request, json!({ "ok": true, "result": updates }))
            }
            path if path.starts_with("/bot") && path.ends_with("/getMe") => {
                let bot = json!({"id": 123_456_789, "is_bot": true, "username": "a_test_bot"});
                self.good(request, json!({ "ok": true, "result": bot }))
            }
            path if path.starts_with("/bot") && path.ends_with("/getChat") => {
                let chat = json!({"id": 42, "type": "private", "first_name": "Ada"});
                self.good(request, json!({ "ok": true, "result": chat }))
            }
            path if path.starts_with("/ping") => Response::new(200, "OK"),
            _ => Response::new(404, r#"{"code":-1000,"msg":"no such path in this test"}"#),
        };
        (response, date)
    }

    fn good(&self, request: &Request, mut value: Value) -> Response {
        self.bent(request, &mut value);
        Response::json(&value)
    }

    fn bent(&self, request: &Request, value: &mut Value) {
        for (_, bend) in self.bends.iter().filter(|(part, _)| contains(&request.target, part)) {
            bend(value);
        }
    }

    fn klines(&self, request: &Request) -> Response {
        let symbol = request.query("symbol").unwrap_or_default();
        let Some(leg) = self.legs.iter().position(|leg| leg == symbol) else {
            return bad_symbol();
        };
        let rows = self.rows.iter().chain([&self.forming]).enumerate();
        let first = self.newest - self.interval * (index(self.rows.len()) - 1);
        let kline = |(row, closes): (usize, &Row)| {
            kline(first + self.interval * index(row), self.interval, [closes.0, closes.1][leg])
        };
        let mut list = Value::Array(rows.map(kline).collect());
        self.bent(request, &mut list);
        let time = |name| request.query(name).and_then(|text| text.parse::<i64>().ok());
        let limit = time("limit").unwrap_or(500);
        if let Some(list) = list.as_array_mut() {
            let open = |kline: &Value| kline[0].as_i64().unwrap_or(0);
            list.retain(|kline| time("startTime").is_none_or(|start| open(kline) >= start));
            list.retain(|kline| time("endTime").is_none_or(|end| open(kline) <= end));
            let limit = usize::try_from(limit).unwrap_or(0);
            let surplus = list.len().saturating_sub(limit);
            match time("startTime") {
                Some(_) => list.truncate(limit),
                None => drop(list.drain(..surplus)),
            }
        }
        Response::json(&list)
    }

    fn book_ticker(&self, request: &Request) -> Response {
        let ticker = |symbol: &str| {
            let (bid, ask) = self.touches.get(symbol)?;
            Some(
                json!({"symbol": symbol, "bidPrice": bid, "bidQty": "31.21000000", "askPrice": ask, "askQty": "4.02000000"}),
            )
        };
        match request.query("symbol").map(ticker) {
            Some(Some(one)) => self.good(request, one),
            Some(None) => bad_symbol(),
            None => {
                self.good(request, self.legs.iter().filter_map(|symbol| ticker(symbol)).collect())
            }
        }
    }

    /// The real answer's shape: more fields and filters than anyone asked for.
    fn exchange_info(&self, request: &Request, now: i64) -> Value {
        let asked = |symbol: &&String| {
            request.query("symbols").is_none_or(|symbols| symbols.contains(*symbol))
                && request.query("symbol").is_none_or(|one| one == *symbol)
        };
        let symbols: Vec<Value> =
            self.legs.iter().filter(asked).map(|symbol| rules_of(symbol)).collect();
        json!({
            "timezone": "UTC",
            "serverTime": now,
            "rateLimits": [{"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": 6_000}],
            "exchangeFilters": [],
            "symbols": symbols,
        })
    }
}

/// One kline of twelve fields.
pub(crate) fn kline(open_time: i64, interval: i64, close: rust_decimal::Decimal) -> Value {
    let text = eight(close);
    json!([
        open_time,
        text,
        text,
        text,
        text,
        "12.50000000",
        open_time + interval - 1,
        "64000.00000000",
        311,
        "6.25000000",
        "32000.00000000",
        "0"
    ])
}

/// The filters of BTCUSDT and ETHUSDT as they were seen in the field: ETH in steps of 0.0001, BTC in
/// steps of 0.00001, a cent a tick, at least 5 USDT an order.
fn rules_of(symbol: &str) -> Value {
    let base = symbol.trim_end_matches("USDT");
    let step = if base == "BTC" { "0.00001000" } else { "0.00010000" };
    json!({
        "symbol": symbol, "status": "TRADING",
        "baseAsset": base, "baseAssetPrecision": 8,
        "quoteAsset": "USDT", "quotePrecision": 8, "quoteAssetPrecision": 8,
        "baseCommissionPrecision": 8, "quoteCommissionPrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"],
        "icebergAllowed": true, "ocoAllowed": true, "quoteOrderQtyMarketAllowed": true,
        "isSpotTradingAllowed": true, "isMarginTradingAllowed": true,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": "0.01000000", "maxPrice": "1000000.00000000", "tickSize": "0.01000000"},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000.00000000", "stepSize": step},
            {"filterType": "ICEBERG_PARTS", "limit": 100},
            {"filterType": "MARKET_LOT_SIZE", "minQty": "0.00000000", "maxQty": "141.67845966", "stepSize": "0.00000000"},
            {"filterType": "PERCENT_PRICE_BY_SIDE", "bidMultiplierUp": "2", "bidMultiplierDown": "0.5", "askMultiplierUp": "2", "askMultiplierDown": "0.5", "avgPriceMins": 5},
            {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": true, "maxNotional": "9000000.00000000", "applyMaxToMarket": false, "avgPriceMins": 5},
            {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200}
        ],
        "permissions": [], "permissionSets": [],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER",
        "allowedSelfTradePreventionModes": ["EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER"]
    })
}

/// Whether every word of `parts` is in the target: `klines ETHUSDT` are the candles of one leg.
fn contains(target: &str, parts: &str) -> bool {
    parts.split_whitespace().all(|part| target.contains(part))
}

fn bad_symbol() -> Response {
    Response::new(400, r#"{"code":-1121,"msg":"Invalid symbol."}"#)
}

fn index(row: usize) -> i64 {
    i64::try_from(row).expect("few rows")
}

/// Length of the request's head once all of it is there, or `None` at the end of the connection.
fn head_length(stream: &TcpStream) -> std::io::Result<Option<usize>> {
    let mut seen = vec![0; 64 * 1024];
    loop {
        let length = stream.peek(&mut seen)?;
        if seen[..length].first().is_some_and(|first| !first.is_ascii_uppercase()) {
            // No method begins like this; it may be TLS.
            return Ok(None);
        }
        if let Some(end) = seen[..length].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            return Ok(Some(end + 4));
        }
        if length == 0 {
            return Ok(None);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

fn parse(head: &str) -> Request {
    let mut lines = head.lines();
    let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let header = |line: &str| {
        line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
    };
    Request {
        method: words.next().unwrap_or_default(),
        target: words.next().unwrap_or_default(),
        headers: lines.filter_map(header).collect(),
        body: String::new(),
        bytes: Vec::new(),
        at: clock::instant(),
        answered: false,
    }
}

/// A test that panicked while it held the lock has failed already; the others go on.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
