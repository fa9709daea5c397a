//! The simulated exchange itself, held against the real one's documents: raw requests over plain sockets, signed here. What
//! judges the program must not be wrong in the same way as the program is.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use hmac::{Hmac, KeyInit as _, Mac as _};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::exchange::{
    Chaos, Exchange, Execute, FeeAsset, Lag, Lags, On, Reply, Rule, Setup, Symbol, World,
};
use crate::support::clock::{HOUR, MINUTE, SECOND};
use crate::support::table::decimal;

/// The exchange, with a clock that stands still.
struct Desk {
    exchange: Exchange,
}

/// What was answered.
#[derive(Debug)]
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn good(self) -> Value {
        assert_eq!(self.status, 200, "{self:?}");
        self.body
    }

    #[track_caller]
    fn refused(&self, code: i64, msg: &str) {
        assert!(self.status >= 400 && self.body["code"] == code, "not {code}: {self:?}");
        assert!(self.body["msg"].as_str().is_some_and(|text| text.contains(msg)), "{self:?}");
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut headers = self.headers.iter();
        headers.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

impl Desk {
    fn new() -> Self {
        Self::upon(Setup { interval_ms: HOUR, ..Setup::default() })
    }

    fn upon(setup: Setup) -> Self {
        let exchange = Exchange::start(setup);
        exchange.with(|world| {
            world.stop_clock();
            world.set_spreads(&["20", "20.1", "20.2", "20.3"]);
            world.symbol("ETHUSDT").touch = Some((decimal("3000"), decimal("3000.01")));
            world.symbol("BTCUSDT").touch = Some((decimal("60000"), decimal("60000.01")));
        });
        Self { exchange }
    }

    fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        self.exchange.with(look)
    }

    fn eth(&self, change: impl FnOnce(&mut Symbol)) {
        self.with(|world| change(world.symbol("ETHUSDT")));
    }

    fn advance(&self, millis: i64) {
        self.exchange.advance(millis);
    }

    fn now(&self) -> i64 {
        self.with(|world| world.now())
    }

    /// These very bytes, and what comes back; `None` where nothing does.
    fn try_raw(&self, method: &str, target: &str, headers: &str, body: &str) -> Option<Answer> {
        let address = self.exchange.url();
        let mut stream = TcpStream::connect(address.strip_prefix("http://").expect("a URL"))
            .expect("it listens");
        let request = format!(
            "{method} {target} HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n{headers}\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).ok()?;
        stream.shutdown(std::net::Shutdown::Write).ok()?;
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        let text = String::from_utf8(text).expect("UTF-8");
        let (head, body) = text.split_once("\r\n\r\n")?;
        let mut lines = head.lines();
        let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
        let headers = lines.filter_map(|line| line.split_once(": "));
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        Some(Answer { status, headers, body: serde_json::from_str(body).unwrap_or_default() })
    }

    #[track_caller]
    fn raw(&self, method: &str, target: &str, headers: &str, body: &str) -> Answer {
        self.try_raw(method, target, headers, body).expect("an answer")
    }

    fn key(&self) -> String {
        format!("X-MBX-APIKEY: {}\r\n", self.exchange.key())
    }

    #[track_caller]
    fn get(&self, path_and_query: &str) -> Answer {
        self.raw("GET", &format!("/api/v3/{path_and_query}"), "", "")
    }

    /// Parameters with time and signature.
    fn sign(&self, query: &str) -> String {
        let and = if query.is_empty() { "" } else { "&" };
        self.seal(&format!("{query}{and}recvWindow=5000&timestamp={}", self.now()))
    }

    /// Parameters with a signature.
    fn seal(&self, query: &str) -> String {
        format!("{query}&signature={}", hmac(&self.exchange.secret(), query))
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, query: &str) -> Answer {
        let signed = self.sign(query);
        self.raw(method, &format!("/api/v3/{path}?{signed}"), &self.key(), "")
    }

    /// A signed question.
    #[track_caller]
    fn see(&self, path: &str, query: &str) -> Value {
        self.ask("GET", path, query).good()
    }

    #[track_caller]
    fn order(&self, query: &str) -> Answer {
        self.ask("POST", "order", &format!("symbol=ETHUSDT&{query}"))
    }

    #[track_caller]
    fn buy(&self, quantity: &str, id: &str) -> Value {
        self.order(&format!("side=BUY&type=MARKET&quantity={quantity}&newClientOrderId={id}"))
            .good()
    }

    fn balance(&self, asset: &str) -> (Decimal, Decimal) {
        self.with(|world| {
            let it = world.balances.get(asset).copied().unwrap_or_default();
            (it.free, it.locked)
        })
    }

    fn rule(&self, execute: Execute, reply: Reply) {
        self.exchange.fault(Rule::order(execute, reply));
    }

    #[track_caller]
    fn keeps_its_books(&self) {
        self.with(|world| world.conservation()).expect("every coin is accounted for");
    }
}

fn hmac(secret: &str, payload: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("any length");
    mac.update(payload.as_bytes());
    let digit = |half: u8| char::from_digit(u32::from(half), 16).expect("a hex digit");
    let pair = |byte: &u8| [digit(byte >> 4), digit(byte & 15)];
    mac.finalize().into_bytes().iter().flat_map(pair).collect()
}

// --- signatures: REST, "Request security" --------------------------------------------------------

const DOCUMENTED_KEY: &str = "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A";
const DOCUMENTED_SECRET: &str = "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j";

/// An exchange at the time of the documents' samples, with their key and symbols.
fn of_the_documents() -> Desk {
    let desk = Desk::new();
    desk.with(|world| {
        (world.key, world.secret) = (DOCUMENTED_KEY.to_owned(), DOCUMENTED_SECRET.to_owned());
        world.set_now(1_499_827_319_560);
        for (base, quote) in [("LTC", "BTC"), ("１２３", "４５６")] {
            let mut symbol = Symbol::new(base, quote, "0.01", "0.01");
            symbol.touch = Some((decimal("0.1"), decimal("0.11")));
            symbol.filters.min_notional = Decimal::ZERO;
            world.symbols.insert(symbol.code(), symbol);
        }
    });
    desk
}

#[test]
fn the_documents_signatures_are_taken() {
    let desk = of_the_documents();
    let rest = "side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559";
    let one = "c8db56825ae71d6d79447849e617115f4a920fa2acdcab2b053c4b2838bd6b71";
    let test = |target: &str, body: &str| desk.raw("POST", target, &desk.key(), body);
    for signature in [one.to_owned(), one.to_uppercase()] {
        let query = format!("symbol=LTCBTC&{rest}&signature={signature}");
        assert_eq!(test(&format!("/api/v3/order/test?{query}"), "").good(), json!({}));
        assert_eq!(test("/api/v3/order/test", &query).good(), json!({}));
    }
    let wide = "symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96";
    let signature = "e1353ec6b14d888f1164ae9af8228a3dbd508bc82eb867db8ab6046442f33ef3";
    test(&format!("/api/v3/order/test?{wide}&{rest}&signature={signature}"), "").good();
    // Query and body, with nothing between them.
    let query = "symbol=LTCBTC&side=BUY&type=LIMIT&timeInForce=GTC";
    let body = "quantity=1&price=0.1&recvWindow=5000&timestamp=1499827319559";
    let signature = "0fd168b8ddb4876a0358a8d14d0c9f3da0e9b20c5d52b2a00fcf7d1c602f9a77";
    let mixed = format!("/api/v3/order/test?{query}");
    test(&mixed, &format!("{body}&signature={signature}")).good();
    let with_separator = hmac(DOCUMENTED_SECRET, &format!("{query}&{body}"));
    test(&mixed, &format!("{body}&signature={with_separator}")).refused(-1022, "not valid");
    let order = "symbol=BTCUSDT&side=BUY&type=MARKET&quoteOrderQty=100.00&newClientOrderId=ouro-0001\
                 &newOrderRespType=FULL&recvWindow=5000&timestamp=1499827319559\
                 &signature=96939c81605fd172e3417f23bae26afc7df07056eac432be09a4ebbc1c7ad668";
    assert_eq!(test(&format!("/api/v3/order?{order}"), "").good()["status"], "FILLED");
}

#[test]
fn an_ed25519_signature_is_taken_when_its_base64_is_encoded() {
    let public = "19420abfd752a565c15625e9da6eaf0086fc40c14960183214442c14996a800d";
    let byte = |at: usize| u8::from_str_radix(&public[at..at + 2], 16).expect("hex");
    let public: Vec<u8> = (0..public.len()).step_by(2).map(byte).collect();
    let desk = Desk::upon(Setup { ed25519: Some(public), ..Setup::default() });
    desk.with(|world| {
        world.set_now(1_668_481_559_918);
        world.symbol("BTCUSDT").touch = Some((decimal("0.2"), decimal("0.21")));
        world.symbol("BTCUSDT").filters.min_notional = Decimal::ZERO;
    });
    let query = "symbol=BTCUSDT&side=SELL&type=LIMIT&timeInForce=GTC&quantity=1&price=0.2\
                 &timestamp=1668481559918&recvWindow=5000";
    let signature = "inDT086KVIP8vgUfw5sV3VTkescWztiAGlf4x8FLKHM4NInsn0c1kYVLoGMO8cyjfR6vmTku2YQE0gtf\
                     VVlfCw==";
    let send = |signature: &str| {
        let target = format!("/api/v3/order/test?{query}&signature={signature}");
        desk.raw("POST", &target, &desk.key(), "")
    };
    let encoded = signature.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    send(&encoded).good();
    send(signature).refused(-1022, "not valid");
    send(&encoded.replacen('i', "j", 1)).refused(-1022, "not valid");
}

#[test]
fn what_is_encoded_after_it_was_signed_or_not_at_all_is_refused() {
    let desk = of_the_documents();
    let now = desk.now();
    let plain = format!("symbol=１２３４５６&timestamp={now}");
    let encoded =
        plain.replace("１２３４５６", "%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96");
    let send = |sent: &str, signed: &str| {
        let signature = hmac(DOCUMENTED_SECRET, signed);
        desk.raw(
            "GET",
            &format!("/api/v3/openOrders?{sent}&signature={signature}"),
            &desk.key(),
            "",
        )
    };
    assert_eq!(send(&encoded, &encoded).good(), json!([]));
    send(&encoded, &plain).refused(-1022, "");
    let raw = format!("symbol=[\"A\"]&timestamp={now}");
    send(&raw, &raw).refused(-1022, "");
    // Another order of the same parameters is another text.
    let turned = format!("timestamp={now}&symbol=LTCBTC");
    send(&format!("symbol=LTCBTC&timestamp={now}"), &turned).refused(-1022, "");
    let short = format!("/api/v3/openOrders?timestamp={now}&signature=abc");
    desk.raw("GET", &short, &desk.key(), "").refused(-1100, "'^[A-Fa-f0-9]{64}$'");
}

#[test]
fn keys_that_are_wrong_or_may_not() {
    let desk = Desk::new();
    let ask = |method: &str, path: &str, query: &str| desk.ask(method, path, query);
    let target = format!("/api/v3/account?{}", desk.sign(""));
    desk.raw("GET", &target, "", "").refused(-2014, "API-key format invalid.");
    desk.raw("GET", &target, "X-MBX-APIKEY: other\r\n", "").refused(-2015, "Invalid API-key, IP");
    desk.with(|world| world.address_is_good = false);
    ask("GET", "account", "").refused(-2015, "");
    desk.with(|world| (world.address_is_good, world.key_may_trade) = (true, false));
    ask("GET", "account", "").good();
    ask("GET", "order", "symbol=ETHUSDT&orderId=1").refused(-2013, "");
    for (method, path) in [("POST", "order"), ("POST", "order/test"), ("DELETE", "order")] {
        ask(method, path, "symbol=ETHUSDT").refused(-2015, "");
    }
    desk.with(|world| (world.key_may_trade, world.key_may_read) = (true, false));
    ask("GET", "account", "").refused(-2015, "");
}

// --- time: REST, "Timing security" ---------------------------------------------------------------

#[test]
fn the_future_is_closed_strictly_and_the_past_inclusively() {
    let desk = Desk::new();
    let at = |timestamp: i64, window: &str| {
        let signed = desk.seal(&format!("{window}timestamp={timestamp}"));
        desk.raw("GET", &format!("/api/v3/account?{signed}"), &desk.key(), "")
    };
    let now = desk.now();
    at(now + 999, "").good();
    at(now + 1000, "").refused(-1021, "1000ms ahead of the server's time.");
    at(now - 5000, "").good();
    at(now - 5001, "").refused(-1021, "outside of the recvWindow.");
    at(now - 60_000, "recvWindow=60000&").good();
    at(now - 60_001, "recvWindow=60000&").refused(-1021, "outside");
    at(now, "recvWindow=60000.001&").refused(-1131, "");
    at(now - 1, "recvWindow=1.5&").good();
    at(now - 2, "recvWindow=1.5&").refused(-1021, "outside");
    for bad in ["1.2345", "-1", "abc", "NaN", "1e3", "."] {
        at(now, &format!("recvWindow={bad}&")).refused(-1100, "recvWindow");
    }
    // Microseconds are known by their size.
    at((now - 5000) * 1000, "").good();
    at((now - 5001) * 1000, "").refused(-1021, "outside");
    at(0, "").refused(-1021, "outside");
    let signed = desk.seal("recvWindow=5000");
    desk.raw("GET", &format!("/api/v3/account?{signed}"), &desk.key(), "")
        .refused(-1102, "timestamp");
}

#[test]
fn the_window_is_looked_at_twice_more_on_the_way_to_the_engine() {
    let desk = Desk::new();
    let order =
        |id: &str| desk.order(&format!("side=BUY&type=MARKET&quantity=0.01&newClientOrderId={id}"));
    for (forward, broker) in [(5001, 0), (2500, 2501)] {
        desk.with(|world| (world.forward_ms, world.broker_ms) = (forward, broker));
        order("slow").refused(-1021, "outside");
    }
    // Refused on the way, and counted all the same.
    assert_eq!(desk.with(|world| (world.orders.len(), world.order_counts())), (0, [2, 2]));
    desk.with(|world| (world.forward_ms, world.broker_ms) = (2500, 2500));
    order("just").good();
    desk.with(|world| (world.forward_ms, world.broker_ms) = (0, 0));
    desk.with(|world| world.skews.insert("engine", 5001));
    order("skewed").refused(-1021, "outside");
    desk.with(|world| world.skews.clear());
    let seen = |id: &str| desk.with(|world| world.executed(id));
    for (id, execute, wait, expected) in [
        ("in-time", Execute::QueuedMillis(5000), 5000, 1),
        ("too-late", Execute::QueuedMillis(5001), 6000, 0),
        ("in-the-engine", Execute::LateMillis(9000), 8999, 0),
        ("from-the-engine", Execute::LateMillis(9000), 9000, 1),
        ("never", Execute::Never, HOUR, 0),
    ] {
        desk.rule(execute, Reply::Close);
        let query =
            format!("symbol=ETHUSDT&side=BUY&type=MARKET&quantity=0.01&newClientOrderId={id}");
        let signed = desk.sign(&query);
        let answer = desk.try_raw("POST", &format!("/api/v3/order?{signed}"), &desk.key(), "");
        assert!(answer.is_none(), "{answer:?}");
        assert_eq!(seen(id), 0, "{id}");
        desk.advance(wait);
        desk.get("ping").good();
        assert_eq!(seen(id), expected, "{id}");
    }
    desk.keeps_its_books();
}

#[test]
fn clocks_drift_and_differ_by_endpoint() {
    let desk = Desk::new();
    let time = || desk.get("time").good()["serverTime"].as_i64().expect("a time");
    let now = desk.now();
    assert_eq!(time(), now);
    desk.with(|world| world.skews.insert("/api/v3/time", -300));
    assert_eq!((time(), desk.now()), (now - 300, now));
    desk.with(|world| world.skews.insert("/api/v3/account", 5001));
    desk.ask("GET", "account", "").refused(-1021, "outside");
    let exchange = Exchange::start(Setup::default());
    exchange.with(|world| world.drift_ppm = 500_000_000);
    let drifted = |world: &mut World| world.now();
    let before = exchange.with(drifted);
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert!(exchange.with(drifted) - before >= 20 * 500, "500 times as fast");
}

// --- parameters ----------------------------------------------------------------------------------

#[test]
fn an_order_that_is_not_said_properly_is_refused_by_the_documented_code() {
    let desk = Desk::new();
    let id37 = "a".repeat(37);
    let id36 = "a".repeat(36);
    let market = "symbol=ETHUSDT&side=BUY&type=MARKET";
    let limit = "symbol=ETHUSDT&side=BUY&type=LIMIT";
    for (query, code, msg) in [
        (
            format!("{market}&quantity=0.01&quantiy=1"),
            -1104,
            "Not all sent parameters were read; read '7'",
        ),
        (format!("{market}&quantity=0.01&newClientOrderId="), -1118, ""),
        (format!("{market}&quantity="), -1105, "quantity"),
        (
            format!("{market}&quantity=0.01&newClientOrderId={id37}"),
            -1100,
            "'^[a-zA-Z0-9-_]{1,36}$'",
        ),
        (format!("{market}&quantity=0.01&newClientOrderId=a.b"), -1100, "newClientOrderId"),
        (format!("{market}&quantity=0.01&newClientOrderId=a%2Fb"), -1100, "newClientOrderId"),
        ("side=BUY&type=MARKET&quantity=1".to_owned(), -1102, "'symbol'"),
        ("symbol=NOUSDT&side=BUY&type=MARKET&quantity=1".to_owned(), -1121, "Invalid symbol."),
        ("symbol=ethusdt&side=BUY&type=MARKET&quantity=1".to_owned(), -1121, ""),
        ("symbol=ETHUSDT&side=buy&type=MARKET&quantity=1".to_owned(), -1117, "Invalid side."),
        ("symbol=ETHUSDT&side=BUY&type=Market&quantity=1".to_owned(), -1116, "Invalid orderType."),
        (market.to_owned(), -1102, "'quantity' or 'quoteOrderQty'"),
        (format!("{market}&quantity=1&quoteOrderQty=10"), -1128, ""),
        (format!("{market}&quantity=1&price=3000"), -1106, "'price'"),
        (format!("{market}&quantity=1&timeInForce=IOC"), -1106, "'timeInForce'"),
        (format!("{limit}&quantity=1&price=3000"), -1102, "'timeInForce'"),
        (format!("{limit}&quantity=1&price=3000&timeInForce=ioc"), -1115, ""),
        (format!("{limit}&price=3000&timeInForce=IOC"), -1102, "'quantity'"),
        (format!("{limit}&quantity=1&timeInForce=IOC"), -1102, "'price'"),
        (format!("{limit}&quantity=1&price=3000.001000001&timeInForce=IOC"), -1111, "'price'"),
        (format!("{market}&quantity=0.123456789"), -1111, "'quantity' has too much precision."),
        (format!("{market}&quantity=1e-2"), -1100, "'quantity'"),
        (format!("{market}&quantity=.5"), -1100, ""),
        (format!("{market}&quantity=-1"), -1100, ""),
        (format!("{market}&quantity=1%2C5"), -1100, ""),
        (format!("{market}&quantity={}", "1".repeat(21)), -1100, ""),
        (format!("{market}&quantity=0.01&newOrderRespType=all"), -1130, "newOrderRespType"),
        (format!("{market}&quantity=0.01&selfTradePreventionMode=NONE"), -1130, ""),
        (format!("{market}&quantity=0.01&strategyType=999999"), -1130, ""),
    ] {
        for path in ["order/test", "order"] {
            let answer = desk.ask("POST", path, &query);
            assert_eq!(answer.status, 400, "{query}");
            answer.refused(code, msg);
        }
    }
    assert_eq!(desk.with(|world| world.orders.len()), 0);
    let names = desk.with(|world| world.order_counts());
    assert_eq!(names, [0, 0], "what never left the door is not counted");
    for good in [
        format!("{market}&quantity=0.01000000000000&newClientOrderId={id36}"),
        format!("{market}&quoteOrderQty=10.0&strategyId=7&strategyType=1000000"),
    ] {
        assert_eq!(desk.ask("POST", "order/test", &good).good(), json!({}));
    }
    assert_eq!(desk.with(|world| world.orders.len()), 0, "a test is no order");
}

#[test]
fn questions_that_are_not_said_properly_are_refused_by_the_documented_code() {
    let desk = Desk::new();
    let signed =
        |path: &str, query: &str, code: i64| desk.ask("GET", path, query).refused(code, "");
    signed("order", "symbol=ETHUSDT", -1102);
    signed("order", "orderId=1", -1102);
    signed("order", "symbol=ETHUSDT&orderId=1&x=1", -1104);
    signed("order", "symbol=ETHUSDT&orderId=x", -1100);
    let made = desk.buy("0.01", "mine");
    let id = made["orderId"].as_u64().expect("an id");
    signed("order", "symbol=BTCUSDT&origClientOrderId=mine", -2013);
    signed("order", &format!("symbol=ETHUSDT&orderId={id}&origClientOrderId=other"), -2039);
    desk.see("order", &format!("symbol=ETHUSDT&orderId={id}&origClientOrderId=mine"));
    for (query, is_good) in [
        ("", true),
        ("&orderId=1", true),
        ("&startTime=1", true),
        ("&endTime=1", true),
        ("&fromId=1", true),
        ("&startTime=1&endTime=86400001", true),
        ("&orderId=1&fromId=1", true),
        ("&orderId=1&startTime=1", false),
        ("&orderId=1&endTime=1", false),
        ("&fromId=1&startTime=1", false),
        ("&fromId=1&endTime=1", false),
    ] {
        let answer = desk.ask("GET", "myTrades", &format!("symbol=ETHUSDT{query}"));
        if is_good { drop(answer.good()) } else { answer.refused(-1128, "") }
    }
    signed("myTrades", "symbol=ETHUSDT&startTime=1&endTime=86400002", -1127);
    signed("allOrders", "symbol=ETHUSDT&startTime=1&endTime=86400002", -1127);
    desk.get("klines?symbol=ETHUSDT&interval=7m").refused(-1120, "Invalid interval.");
    desk.get("exchangeInfo?symbols=%5B%22ETHUSDT%22%2C%22NO%22%5D").refused(-1121, "");
    desk.get("exchangeInfo?symbols=%5B%22ETHUSDT%22%2C%22ETHUSDT%22%5D").refused(-1151, "");
    desk.get("ticker/price?symbol=ETHUSDT&and=1").refused(-1104, "");
    assert_eq!(desk.get("nowhere").status, 404);
    desk.raw("GET", "/api/v3/time", "X-MBX-TIME-UNIT: HOUR\r\n", "").refused(-1194, "");
}

// --- an id is not a key against doing it twice ---------------------------------------------------

#[test]
fn an_id_is_taken_again_once_the_order_is_over_and_refused_while_it_is_open() {
    let desk = Desk::new();
    let first = desk.buy("0.01", "same");
    let second = desk.buy("0.01", "same");
    assert_ne!(first["orderId"], second["orderId"]);
    assert_eq!(desk.with(|world| world.executed("same")), 2, "bought twice");
    let rest =
        "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=2000&newClientOrderId=rests";
    assert_eq!(desk.order(rest).good()["status"], "NEW");
    desk.order(rest).refused(-2010, "Duplicate order sent.");
    desk.ask("DELETE", "order", "symbol=ETHUSDT&origClientOrderId=rests").good();
    assert_eq!(desk.order(rest).good()["status"], "NEW");
    desk.keeps_its_books();
}

#[test]
fn the_same_signed_bytes_buy_again_as_long_as_their_window_is_open() {
    let desk = Desk::new();
    let signed = desk.sign("symbol=ETHUSDT&side=BUY&type=MARKET&quantity=0.01&newClientOrderId=x");
    let send = || desk.raw("POST", &format!("/api/v3/order?{signed}"), &desk.key(), "");
    send().good();
    desk.advance(5000);
    send().good();
    assert_eq!(desk.with(|world| world.executed("x")), 2);
    desk.advance(1);
    send().refused(-1021, "outside");
}

// --- filters: REST, "Filters" --------------------------------------------------------------------

type Change = fn(&mut Symbol);

#[test]
fn each_filter_refuses_what_is_just_beyond_it() {
    let limit = |quantity: &str, price: &str| {
        format!("side=BUY&type=LIMIT&timeInForce=IOC&quantity={quantity}&price={price}")
    };
    let market = |quantity: &str| format!("side=BUY&type=MARKET&quantity={quantity}");
    let cost = |amount: &str| format!("side=BUY&type=MARKET&quoteOrderQty={amount}");
    let rows: Vec<(&str, Change, String, String)> = vec![
        ("PRICE_FILTER", |_| (), limit("0.01", "3000.01"), limit("0.01", "3000.015")),
        (
            "PRICE_FILTER",
            |it| it.filters.max_price = decimal("3100"),
            limit("0.01", "3100"),
            limit("0.01", "3100.01"),
        ),
        (
            "PRICE_FILTER",
            |it| it.filters.min_price = decimal("2900"),
            limit("0.01", "2900"),
            limit("0.01", "2899.99"),
        ),
        (
            "PERCENT_PRICE_BY_SIDE",
            |it| it.average = Some(decimal("3000")),
            limit("0.01", "6000"),
            limit("0.01", "6000.01"),
        ),
        ("LOT_SIZE", |_| (), market("0.0101"), market("0.01015")),
        (
            "LOT_SIZE",
            |it| it.filters.min_quantity = decimal("0.02"),
            market("0.02"),
            market("0.0199"),
        ),
        (
            "LOT_SIZE",
            |it| it.filters.max_quantity = decimal("0.02"),
            market("0.02"),
            market("0.0201"),
        ),
        (
            "MARKET_LOT_SIZE",
            |it| it.filters.market_step = decimal("0.01"),
            market("0.02"),
            market("0.0201"),
        ),
        (
            "MARKET_LOT_SIZE",
            |it| it.filters.market_min = decimal("0.02"),
            market("0.02"),
            market("0.0199"),
        ),
        (
            "MARKET_LOT_SIZE",
            |it| it.filters.market_max = decimal("0.02"),
            cost("60.01"),
            cost("70"),
        ),
        ("NOTIONAL", |it| it.average = Some(decimal("2500")), market("0.002"), market("0.0019")),
        ("NOTIONAL", |_| (), cost("5"), cost("4.99")),
        (
            "NOTIONAL",
            |it| it.filters.max_notional = decimal("30"),
            market("0.02"),
            limit("0.01", "3000.01"),
        ),
        (
            "MIN_NOTIONAL",
            |it| it.filters.older_min_notional = decimal("30"),
            limit("0.01", "3000"),
            limit("0.01", "2999.99"),
        ),
        (
            "MAX_POSITION",
            |it| it.filters.max_position = decimal("2.01"),
            market("0.01"),
            market("0.0101"),
        ),
    ];
    for (name, change, good, bad) in rows {
        let desk = Desk::new();
        desk.eth(change);
        desk.ask("POST", "order/test", &format!("symbol=ETHUSDT&{good}")).good();
        desk.order(&bad).refused(-1013, &format!("Filter failure: {name}"));
        assert_eq!(desk.with(|world| world.orders.len()), 0);
        desk.order(&good).good();
        let filters =
            desk.get("exchangeInfo?symbol=ETHUSDT").good()["symbols"][0]["filters"].clone();
        let known = filters.as_array().expect("a list").iter().any(|it| it["filterType"] == name);
        assert!(known, "{name} is told");
    }
}

#[test]
fn a_filter_whose_parts_are_zero_refuses_nothing_and_only_what_rests_is_counted() {
    let limit = |quantity: &str, price: &str| {
        format!("side=BUY&type=LIMIT&timeInForce=IOC&quantity={quantity}&price={price}")
    };
    let desk = Desk::new();
    desk.eth(|it| {
        let f = &mut it.filters;
        let zero = Decimal::ZERO;
        (f.tick, f.min_price, f.max_price, f.percent_price) = (zero, zero, zero, zero);
        (f.min_quantity, f.max_quantity, f.min_notional) = (zero, zero, zero);
        it.filters.applies_to_market = false;
    });
    desk.ask("POST", "order/test", &format!("symbol=ETHUSDT&{}", limit("0.0001", "0.00123")))
        .good();
    let desk = Desk::new();
    desk.eth(|it| it.filters.max_orders = 1);
    let rest = "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=2000";
    desk.order(rest).good();
    desk.order(rest).refused(-1013, "Filter failure: MAX_NUM_ORDERS");
    desk.order(&limit("0.01", "2000")).good();
}

#[test]
fn a_symbol_that_is_not_trading_takes_no_order_whatever_its_status_is_called() {
    for status in ["HALT", "BREAK", "CANCEL_ONLY", "END_OF_DAY", "SOMETHING_NEW"] {
        let desk = Desk::new();
        desk.with(|world| world.close_market("ETHUSDT", status));
        desk.order("side=BUY&type=MARKET&quantity=0.01").refused(-2010, "Market is closed.");
        let told = desk.get("exchangeInfo?symbol=ETHUSDT").good();
        assert_eq!(told["symbols"][0]["status"], *status);
        let newest = |desk: &Desk| {
            let rows = desk.get("klines?symbol=ETHUSDT&interval=1h").good();
            rows.as_array().expect("rows").last().expect("a row")[0].as_i64().expect("a time")
        };
        let before = newest(&desk);
        desk.with(|world| world.close_candle("20"));
        let emits = !matches!(status, "BREAK" | "CANCEL_ONLY");
        assert_eq!(newest(&desk), if emits { before + HOUR } else { before }, "{status}");
        desk.with(|world| world.open_market("ETHUSDT"));
        desk.order("side=BUY&type=MARKET&quantity=0.01").good();
        desk.with(|world| world.close_candle("20"));
        let again = newest(&desk);
        assert_eq!(again, before + 2 * HOUR, "{status}");
        let rows = desk.get("klines?symbol=ETHUSDT&interval=1h").good();
        let has = rows.as_array().expect("rows").iter().any(|row| row[0] == before + HOUR);
        assert_eq!(has, emits, "the candle of the break is never made up for");
    }
    let desk = Desk::new();
    desk.with(|world| world.can_trade = false);
    desk.order("side=BUY&type=MARKET&quantity=0.01").refused(-2010, "may not place");
}

// --- fills ---------------------------------------------------------------------------------------

#[test]
fn a_market_order_by_amount_leaves_what_no_step_fits_into() {
    let desk = Desk::new();
    let order = desk.order("side=BUY&type=MARKET&quoteOrderQty=100&newClientOrderId=q").good();
    // By hand: 60 USDT at 3000.01 are 0.0199 (59.700199); 40.299801 / 3000.02 = 0.0134.
    assert_eq!(order["origQty"], "0.03330000");
    assert_eq!(order["cummulativeQuoteQty"], "99.90046700");
    assert_eq!(
        (&order["status"], &order["origQuoteOrderQty"]),
        (&json!("FILLED"), &json!("100.00000000"))
    );
    assert_eq!((&order["price"], &order["timeInForce"]), (&json!("0.00000000"), &json!("GTC")));
    let prices: Vec<&str> = order["fills"]
        .as_array()
        .expect("fills")
        .iter()
        .map(|fill| fill["price"].as_str().expect("text"))
        .collect();
    assert_eq!(prices, ["3000.01000000", "3000.02000000"]);
    assert_eq!(desk.balance("USDT").0, decimal("900.09953300"));
    assert_eq!(desk.balance("ETH").0, decimal("2.0332667"), "less a thousandth");
    desk.keeps_its_books();
}

#[test]
fn what_the_book_does_not_give_expires_for_a_reason_that_is_told() {
    let desk = Desk::new();
    desk.eth(|it| it.depth = vec![decimal("60"), decimal("60")]);
    let reason = |order: &Value| {
        let text = |name: &str| order[name].as_str().unwrap_or("-").to_owned();
        (text("status"), text("expiryReason"), text("executedQty"))
    };
    let expired = |reason: &str, executed: &str| {
        ("EXPIRED".to_owned(), reason.to_owned(), executed.to_owned())
    };
    let thin = "INSUFFICIENT_LIQUIDITY";
    let by_quantity = desk.order("side=BUY&type=MARKET&quantity=0.05").good();
    assert_eq!(reason(&by_quantity), expired(thin, "0.03980000"));
    let by_amount = desk.order("side=BUY&type=MARKET&quoteOrderQty=150").good();
    assert_eq!(reason(&by_amount), expired(thin, "0.03980000"));
    let ioc = desk.order("side=BUY&type=LIMIT&timeInForce=IOC&quantity=0.03&price=3000.01").good();
    assert_eq!(reason(&ioc), expired("UNFILLED_IOC_QUANTITY_EXPIRED", "0.01990000"));
    let none = desk.order("side=BUY&type=LIMIT&timeInForce=IOC&quantity=0.03&price=3000").good();
    assert_eq!(reason(&none), expired("UNFILLED_IOC_QUANTITY_EXPIRED", "0.00000000"));
    assert_eq!(none["fills"], json!([]));
    let killed =
        desk.order("side=BUY&type=LIMIT&timeInForce=FOK&quantity=0.03&price=3000.01").good();
    assert_eq!(reason(&killed), expired("UNFILLED_FOK_ORDER_EXPIRED", "0.00000000"));
    desk.eth(|it| (it.price_range, it.level_ticks) = (Some(decimal("0.001")), 1000));
    let far = desk.order("side=SELL&type=MARKET&quantity=0.03").good();
    assert_eq!(reason(&far), expired("EXECUTION_RULE_PRICE_RANGE_EXCEEDED", "0.02000000"));
    desk.keeps_its_books();
}

#[test]
fn orders_of_one_account_do_not_meet() {
    let rest = "side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=2999.995";
    for (mode, taker, maker, executed) in [
        ("EXPIRE_MAKER", "FILLED", "EXPIRED_IN_MATCH", "0.03000000"),
        ("EXPIRE_TAKER", "EXPIRED_IN_MATCH", "NEW", "0.02000000"),
        ("EXPIRE_BOTH", "EXPIRED_IN_MATCH", "EXPIRED_IN_MATCH", "0.02000000"),
    ] {
        let desk = Desk::new();
        desk.eth(|it| (it.filters.tick, it.level_ticks) = (decimal("0.005"), 2));
        desk.eth(|it| mode.clone_into(&mut it.self_trade));
        let maker_id = desk.order(rest).good()["orderId"].clone();
        let order = desk.order("side=SELL&type=MARKET&quantity=0.03").good();
        assert_eq!((&order["status"], &order["executedQty"]), (&json!(taker), &json!(executed)));
        assert_eq!(order.get("preventedQuantity").is_some(), taker == "EXPIRED_IN_MATCH");
        let seen = desk.see("order", &format!("symbol=ETHUSDT&orderId={maker_id}"));
        assert_eq!((&seen["status"], &seen["executedQty"]), (&json!(maker), &json!("0.00000000")));
        assert_eq!(desk.balance("USDT").1.is_zero(), maker != "NEW", "nothing stays locked");
        desk.keeps_its_books();
    }
}

#[test]
fn what_rests_locks_its_money_until_it_is_filled_or_cancelled() {
    let desk = Desk::new();
    let rest = |price: &str| {
        desk.order(&format!("side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.1&price={price}"))
            .good()
    };
    let order = rest("2500");
    assert_eq!(desk.balance("USDT"), (decimal("750"), decimal("250")));
    desk.order("side=BUY&type=MARKET&quoteOrderQty=751").refused(-2010, "insufficient balance");
    let open = desk.see("openOrders", "symbol=ETHUSDT");
    assert_eq!(open[0]["orderId"], order["orderId"]);
    let by_id = format!("symbol=ETHUSDT&orderId={}", order["orderId"]);
    let cancelled = desk.ask("DELETE", "order", &by_id).good();
    assert_eq!(
        (&cancelled["status"], &cancelled["origClientOrderId"]),
        (&json!("CANCELED"), &order["clientOrderId"])
    );
    assert_eq!(desk.balance("USDT"), (decimal("1000"), Decimal::ZERO));
    desk.ask("DELETE", "order", &by_id).refused(-2011, "Unknown order sent.");
    desk.ask("DELETE", "order", "symbol=ETHUSDT&orderId=1").refused(-2011, "Unknown order sent.");
    // The price comes to it: filled whole, at its own price, as the maker.
    let order = rest("2500");
    desk.eth(|it| it.touch = Some((decimal("2400"), decimal("2400.01"))));
    let seen = desk.see("order", &format!("symbol=ETHUSDT&orderId={}", order["orderId"]));
    assert_eq!(
        (&seen["status"], &seen["cummulativeQuoteQty"]),
        (&json!("FILLED"), &json!("250.00000000"))
    );
    let trade = desk.see("myTrades", &format!("symbol=ETHUSDT&orderId={}", order["orderId"]));
    assert_eq!((&trade[0]["isMaker"], &trade[0]["price"]), (&json!(true), &json!("2500.00000000")));
    assert_eq!(desk.balance("USDT"), (decimal("750"), Decimal::ZERO));
    // One that is filled in part rests with what is left.
    desk.eth(|it| it.depth = vec![decimal("60")]);
    let part = rest("2400.01");
    assert_eq!(
        (&part["status"], &part["executedQty"]),
        (&json!("PARTIALLY_FILLED"), &json!("0.02490000"))
    );
    desk.eth(|it| it.touch = Some((decimal("2500"), decimal("2500.01"))));
    desk.keeps_its_books();
    let all = desk.ask("DELETE", "openOrders", "symbol=ETHUSDT").good();
    assert_eq!(
        (&all[0]["status"], &all[0]["executedQty"]),
        (&json!("CANCELED"), &json!("0.02490000"))
    );
    desk.keeps_its_books();
}

#[test]
fn fees_are_taken_in_what_the_exchange_says_and_may_change_between_two_fills() {
    let paid = |asset: FeeAsset, bnb: &str, side: &str| -> Vec<(String, String)> {
        let desk = Desk::new();
        desk.with(|world| {
            world.fee_asset = asset;
            world.deposit("BNB", bnb);
        });
        let order = desk.order(&format!("side={side}&type=MARKET&quantity=0.03")).good();
        desk.keeps_its_books();
        let text = |fill: &Value, name: &str| fill[name].as_str().expect("text").to_owned();
        let fills = order["fills"].as_array().expect("fills");
        // What is said of trades later is the same.
        let trades = desk.see("myTrades", &format!("symbol=ETHUSDT&orderId={}", order["orderId"]));
        for (fill, trade) in fills.iter().zip(trades.as_array().expect("trades")) {
            for name in ["price", "qty", "commission", "commissionAsset"] {
                assert_eq!(fill[name], trade[name]);
            }
            assert_eq!(fill["tradeId"], trade["id"]);
        }
        fills.iter().map(|fill| (text(fill, "commission"), text(fill, "commissionAsset"))).collect()
    };
    let pairs = |rows: &[(&str, &str)]| -> Vec<(String, String)> {
        rows.iter().map(|(fee, asset)| ((*fee).to_owned(), (*asset).to_owned())).collect()
    };
    // 0.0199 and 0.0101 at 3000.01 and 3000.02; sold, 0.02 at 3000 and 0.01 at 2999.99.
    assert_eq!(
        paid(FeeAsset::Received, "1", "BUY"),
        pairs(&[("0.00001990", "ETH"), ("0.00001010", "ETH")])
    );
    assert_eq!(
        paid(FeeAsset::Received, "1", "SELL"),
        pairs(&[("0.06000000", "USDT"), ("0.02999990", "USDT")])
    );
    assert_eq!(
        paid(FeeAsset::Nothing, "1", "BUY"),
        pairs(&[("0.00000000", "ETH"), ("0.00000000", "ETH")])
    );
    assert_eq!(
        paid(FeeAsset::Bnb, "1", "BUY"),
        pairs(&[("0.00009951", "BNB"), ("0.00005051", "BNB")])
    );
    assert_eq!(
        paid(FeeAsset::Mixed, "1", "BUY"),
        pairs(&[("0.00009951", "BNB"), ("0.00001010", "ETH")])
    );
    // It runs out after the first fill, and is not touched when it does not suffice.
    assert_eq!(
        paid(FeeAsset::Bnb, "0.0001", "BUY"),
        pairs(&[("0.00009951", "BNB"), ("0.00001010", "ETH")])
    );
    assert_eq!(
        paid(FeeAsset::Bnb, "0.00001", "BUY"),
        pairs(&[("0.00001990", "ETH"), ("0.00001010", "ETH")])
    );
}

#[test]
fn every_coin_is_accounted_for_after_a_thousand_orders() {
    let desk = Desk::new();
    let mut taken = 0;
    for number in 0..1000 {
        let draw = |bound: u64| desk.with(|world| world.random(bound));
        let side = ["BUY", "SELL"][usize::try_from(draw(2)).expect("small")];
        let steps = Decimal::new(i64::try_from(draw(600)).expect("small"), 4);
        let cents = Decimal::new(i64::try_from(299_950 + draw(100)).expect("small"), 2);
        let query = match draw(5) {
            0 => format!("side={side}&type=MARKET&quantity={steps}"),
            1 => format!("side={side}&type=MARKET&quoteOrderQty={}", steps * Decimal::from(3000)),
            2 => format!("side={side}&type=LIMIT&timeInForce=IOC&quantity={steps}&price={cents}"),
            3 => format!("side={side}&type=LIMIT&timeInForce=FOK&quantity={steps}&price={cents}"),
            _ => format!("side={side}&type=LIMIT&timeInForce=GTC&quantity={steps}&price={cents}"),
        };
        taken += u32::from(desk.order(&query).status == 200);
        let fee = [FeeAsset::Received, FeeAsset::Bnb, FeeAsset::Mixed, FeeAsset::Nothing]
            [usize::try_from(draw(4)).expect("small")];
        let ticks = Decimal::new(i64::try_from(draw(100)).expect("small"), 2) - decimal("0.5");
        let bid = decimal("3000") + ticks;
        desk.with(|world| {
            world.fee_asset = fee;
            (world.weight_limit, world.order_limits) = (u64::MAX, [u64::MAX; 2]);
            if number % 100 == 0 {
                world.deposit("BNB", "0.001");
                world.deposit("USDT", "100");
            }
            world.symbol("ETHUSDT").touch = Some((bid, bid + decimal("0.01")));
        });
        if draw(20) == 0 {
            let _ = desk.ask("DELETE", "openOrders", "symbol=ETHUSDT");
        }
        desk.keeps_its_books();
    }
    assert!(taken > 500, "most are taken: {taken}");
    desk.with(|world| {
        let known: Vec<u64> = world.orders.iter().map(|order| order.order_id).collect();
        assert!(known.is_sorted() && world.trades.iter().map(|it| it.id).is_sorted());
        for order in &world.orders {
            let of_it = world.trades.iter().filter(|trade| trade.order_id == order.order_id);
            assert_eq!(of_it.map(|trade| trade.quantity).sum::<Decimal>(), order.executed);
        }
    });
    let _ = desk.ask("DELETE", "openOrders", "symbol=ETHUSDT");
    assert!(desk.with(|world| world.balances.values().all(|it| it.locked.is_zero())));
}

// --- what shows when -----------------------------------------------------------------------------

/// Whether an order of this id shows in an order's own answer, among all and open orders, trades, and in the account.
fn shows(desk: &Desk, id: &str) -> [bool; 5] {
    let by_id = desk.ask("GET", "order", &format!("symbol=ETHUSDT&origClientOrderId={id}"));
    if by_id.status != 200 {
        by_id.refused(-2013, "Order does not exist.");
    }
    let lists = |path: &str| {
        let rows = desk.see(path, "symbol=ETHUSDT");
        rows.as_array().is_some_and(|rows| !rows.is_empty())
    };
    let account = desk.see("account", "omitZeroBalances=true");
    let eth =
        account["balances"].as_array().expect("a list").iter().find(|it| it["asset"] == "ETH");
    let moved = eth.expect("ETH")["free"] != "2.00000000";
    [by_id.status == 200, lists("allOrders"), lists("openOrders"), lists("myTrades"), moved]
}

#[test]
fn each_endpoint_is_as_stale_as_it_is_told_to_be() {
    let desk = Desk::new();
    desk.with(|world| {
        world.lag = Lags {
            order: Lag::Millis(2 * SECOND),
            all_orders: Lag::Queries(2),
            open_orders: Lag::None,
            my_trades: Lag::Millis(MINUTE),
            account: Lag::Millis(6 * MINUTE),
        }
    });
    let bought = desk.buy("0.01", "a");
    assert_eq!(bought["status"], "FILLED", "the answer itself never lags");
    assert_eq!(shows(&desk, "a"), [false, false, false, false, false]);
    desk.advance(2 * SECOND);
    assert_eq!(shows(&desk, "a"), [true, false, false, false, false]);
    assert_eq!(shows(&desk, "a"), [true, true, false, false, false]);
    desk.advance(MINUTE);
    assert_eq!(shows(&desk, "a"), [true, true, false, true, false]);
    desk.advance(5 * MINUTE);
    assert_eq!(shows(&desk, "a"), [true, true, false, true, true]);
}

#[test]
fn replicas_disagree_from_question_to_question() {
    let desk = Desk::new();
    desk.with(|world| world.lag = Lags::all(Lag::Flapping(MINUTE)));
    let _ = desk.buy("0.01", "a");
    let seen: Vec<[bool; 5]> = (0..4).map(|_| shows(&desk, "a")).collect();
    for endpoint in 0..5 {
        let column: Vec<bool> = seen.iter().map(|row| row[endpoint]).collect();
        assert!(
            column == [true, false, true, false] || column == [false, true, false, true],
            "{column:?}"
        );
    }
    // A replica that has not heard of the end lists it as open, with nothing executed.
    let lists: Vec<Value> = (0..2).map(|_| desk.see("openOrders", "symbol=ETHUSDT")).collect();
    let stale = lists.iter().find(|rows| **rows != json!([])).expect("one of two");
    assert_eq!(
        (&stale[0]["status"], &stale[0]["executedQty"]),
        (&json!("NEW"), &json!("0.00000000"))
    );
    desk.advance(MINUTE);
    assert_eq!(shows(&desk, "a"), [true, true, false, true, true]);
}

#[test]
fn a_cancellation_shows_late_too() {
    let desk = Desk::new();
    desk.with(|world| world.lag = Lags::all(Lag::Millis(MINUTE)));
    desk.order("side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=2000&newClientOrderId=r")
        .good();
    assert_eq!(desk.see("openOrders", "symbol=ETHUSDT"), json!([]), "not yet");
    desk.advance(MINUTE);
    assert_eq!(desk.see("openOrders", "symbol=ETHUSDT")[0]["status"], "NEW");
    desk.ask("DELETE", "order", "symbol=ETHUSDT&origClientOrderId=r").good();
    let status = || desk.see("order", "symbol=ETHUSDT&origClientOrderId=r")["status"].clone();
    assert_eq!(
        (status(), desk.see("openOrders", "symbol=ETHUSDT")[0]["status"].clone()),
        (json!("NEW"), json!("NEW"))
    );
    desk.advance(MINUTE);
    assert_eq!(
        (status(), desk.see("openOrders", "symbol=ETHUSDT")),
        (json!("CANCELED"), json!([]))
    );
}

#[test]
fn what_never_filled_is_archived_after_ninety_days_and_a_wiped_testnet_knows_nothing() {
    let desk = Desk::new();
    desk.order(
        "side=BUY&type=LIMIT&timeInForce=IOC&quantity=0.01&price=2000&newClientOrderId=none",
    )
    .good();
    let _ = desk.buy("0.01", "filled");
    desk.advance(90 * 24 * HOUR);
    let ask =
        |id: &str| desk.ask("GET", "order", &format!("symbol=ETHUSDT&origClientOrderId={id}"));
    ask("none").good();
    desk.advance(1);
    ask("none").refused(-2026, "archived");
    assert_eq!(ask("filled").good()["status"], "FILLED");
    let uid = desk.see("account", "")["uid"].clone();
    desk.with(World::wipe);
    ask("filled").refused(-2013, "");
    assert_eq!(shows(&desk, "filled"), [false; 5]);
    assert_eq!(
        (desk.balance("ETH").0, desk.see("account", "")["uid"].clone()),
        (decimal("2"), uid)
    );
    desk.keeps_its_books();
}

// --- limits --------------------------------------------------------------------------------------

#[test]
fn weights_are_counted_in_fixed_minutes_and_whoever_goes_on_is_banned_longer_each_time() {
    let desk = Desk::new();
    let minute = desk.now() / MINUTE * MINUTE + MINUTE;
    desk.with(|world| world.set_now(minute + 50 * SECOND));
    let used = |answer: &Answer| {
        answer.header("x-mbx-used-weight-1m").expect("told").parse::<u64>().expect("a number")
    };
    let mut before = 0;
    for (path, weight) in [
        ("ping", 1),
        ("time", 1),
        ("exchangeInfo", 20),
        ("klines?symbol=ETHUSDT&interval=1h", 2),
        ("ticker/bookTicker?symbol=ETHUSDT", 2),
        ("ticker/bookTicker", 4),
        ("ticker/price?symbols=%5B%22ETHUSDT%22%5D", 4),
        ("avgPrice?symbol=ETHUSDT", 2),
        ("depth?symbol=ETHUSDT", 5),
        ("depth?symbol=ETHUSDT&limit=500", 25),
        ("depth?symbol=ETHUSDT&limit=1000", 50),
        ("depth?symbol=ETHUSDT&limit=5000", 250),
    ] {
        let now = used(&desk.get(path));
        assert_eq!(now - before, weight, "{path}");
        before = now;
    }
    for (method, path, query, weight) in [
        ("GET", "order", "symbol=ETHUSDT&orderId=1", 4),
        ("GET", "openOrders", "symbol=ETHUSDT", 6),
        ("GET", "openOrders", "", 80),
        ("GET", "allOrders", "symbol=ETHUSDT", 20),
        ("GET", "myTrades", "symbol=ETHUSDT", 20),
        ("GET", "myTrades", "symbol=ETHUSDT&orderId=1", 5),
        ("GET", "account", "", 20),
        ("GET", "account/commission", "symbol=ETHUSDT", 20),
        ("GET", "rateLimit/order", "", 40),
        // Nothing when it succeeds, one when it does not.
        ("POST", "order", "symbol=ETHUSDT&side=BUY&type=MARKET&quantity=0.01", 0),
        ("POST", "order", "symbol=ETHUSDT&side=BUY&type=MARKET&quantity=0", 1),
        ("DELETE", "order", "symbol=ETHUSDT&orderId=1", 1),
    ] {
        let now = used(&desk.ask(method, path, query));
        assert_eq!(now - before, weight, "{method} {path} {query}");
        before = now;
    }
    desk.with(|world| world.weight_limit = before);
    let over = desk.get("ping");
    over.refused(-1003, "Too much request weight used; current limit is");
    assert_eq!((over.status, over.header("retry-after")), (429, Some("11")));
    desk.advance(10 * SECOND);
    desk.get("ping").good();
    let mut bans = Vec::new();
    for _ in 0..8 {
        desk.with(|world| world.weight_limit = 0);
        let asked: Vec<u16> = (0..6).map(|_| desk.get("ping").status).collect();
        assert_eq!(asked, [429, 429, 429, 429, 429, 418]);
        desk.with(|world| world.weight_limit = 6000);
        let banned = desk.get("ping");
        banned.refused(-1003, "Way too much request weight used; IP banned until");
        let seconds: i64 = banned.header("retry-after").expect("told").parse().expect("a number");
        desk.advance((seconds - 2) * SECOND);
        assert_eq!(desk.get("ping").status, 418, "it is prolonged by each call");
        desk.advance(MINUTE + 2 * SECOND);
        desk.get("ping").good();
        bans.push(seconds - 61);
    }
    assert_eq!(bans[..3], [120, 480, 1920]);
    assert_eq!(bans.last(), Some(&(3 * 86_400)), "never longer than three days");
}

#[test]
fn too_many_unfilled_orders_are_refused_until_the_window_ends() {
    let desk = Desk::new();
    let window = desk.now() / (10 * SECOND) * (10 * SECOND) + 10 * SECOND;
    desk.with(|world| {
        world.order_limits = [2, 3];
        world.set_now(window + 3 * SECOND);
    });
    let rest = || desk.order("side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=2000");
    let told = |answer: Answer| {
        let header = |name: &str| answer.header(name).expect("told").to_owned();
        (header("X-MBX-ORDER-COUNT-10S"), header("X-MBX-ORDER-COUNT-1D"))
    };
    // What fills gives its place back.
    for _ in 0..5 {
        let filled = desk.order("side=BUY&type=MARKET&quantity=0.01");
        assert_eq!(told(filled), ("1".to_owned(), "1".to_owned()));
    }
    assert_eq!(told(rest()), ("1".to_owned(), "1".to_owned()));
    assert_eq!(told(rest()), ("2".to_owned(), "2".to_owned()));
    let refused = rest();
    refused.refused(-1015, "Too many new orders; current limit is 2 orders per 10 SECOND.");
    assert_eq!((refused.status, refused.header("retry-after")), (429, Some("8")));
    desk.advance(7 * SECOND);
    assert_eq!(told(rest()), ("1".to_owned(), "3".to_owned()));
    rest().refused(-1015, "3 orders per 1 DAY");
    let rates = desk.see("rateLimit/order", "");
    assert_eq!((&rates[0]["count"], &rates[1]["count"]), (&json!(1), &json!(3)));
}

#[test]
fn a_country_that_is_not_served_and_a_firewall() {
    let desk = Desk::new();
    desk.with(|world| world.is_restricted = true);
    let answer = desk.get("time");
    assert_eq!((answer.status, &answer.body["code"]), (451, &json!(0)));
    desk.with(|world| world.is_restricted = false);
    desk.exchange.fault(Rule::every("GET /api/v3/time", Reply::Html(403)));
    let answer = desk.get("time");
    assert_eq!((answer.status, &answer.body), (403, &Value::Null));
}

// --- candles -------------------------------------------------------------------------------------

#[test]
fn candles_have_twelve_columns_and_the_last_one_is_forming() {
    let desk = Desk::new();
    let rows = |query: &str| -> Vec<Value> {
        let rows = desk.get(&format!("klines?symbol=BTCUSDT&interval=1h{query}")).good();
        rows.as_array().expect("rows").clone()
    };
    let newest = desk.now() / HOUR * HOUR;
    let opens = |rows: &[Value]| -> Vec<i64> {
        rows.iter().map(|row| (row[0].as_i64().expect("a time") - newest) / HOUR).collect()
    };
    let all = rows("");
    assert_eq!(opens(&all), [-4, -3, -2, -1, 0]);
    assert_eq!(
        all[3],
        json!([
            newest - HOUR,
            "60900.00000000",
            "60900.00000000",
            "60900.00000000",
            "60900.00000000",
            "12.50000000",
            newest - 1,
            "37500.00000000",
            42,
            "6.25000000",
            "18750.00000000",
            "0"
        ])
    );
    assert!(all[4][6].as_i64().expect("a time") > desk.now(), "nothing but this marks it");
    assert_eq!(opens(&rows("&limit=2")), [-1, 0], "the newest");
    let (two, one) = (newest - 2 * HOUR, newest - HOUR);
    assert_eq!(
        opens(&rows(&format!("&startTime={two}&limit=2"))),
        [-2, -1],
        "the oldest from there"
    );
    assert_eq!(
        opens(&rows(&format!("&endTime={one}&limit=2"))),
        [-2, -1],
        "the newest until there"
    );
    assert_eq!(opens(&rows(&format!("&startTime={two}&endTime={two}"))), [-2]);
    let change = |change: &dyn Fn(&mut Symbol)| desk.with(|world| change(world.symbol("BTCUSDT")));
    change(&|it| it.shows_forming = false);
    assert_eq!(opens(&rows("")), [-4, -3, -2, -1]);
    change(&|it| it.behind = 1);
    assert_eq!(opens(&rows("")), [-4, -3, -2], "a candle behind");
    let other = desk.get("klines?symbol=ETHUSDT&interval=1h").good();
    assert_eq!(other.as_array().map(Vec::len), Some(5), "the other one is not");
    change(&|it| it.shows_forming = true);
    assert_eq!(opens(&rows("")), [-4, -3, -2, 0], "the newest closed one is missing");
    change(&|it| (it.behind, it.gaps) = (0, vec![newest - 2 * HOUR]));
    assert_eq!(opens(&rows("")), [-4, -3, -1, 0], "a gap");
    change(&|it| (it.gaps, it.quiet) = (Vec::new(), vec![newest - 2 * HOUR]));
    let quiet = &rows("")[2];
    assert_eq!(
        (&quiet[4], &quiet[5], &quiet[8]),
        (&json!("60300.00000000"), &json!("0.00000000"), &json!(0))
    );
    change(&|it| it.preliminary_close = Some(decimal("1")));
    assert_eq!(rows("")[3][4], "1.00000000", "not final yet");
}

#[test]
fn times_are_microseconds_where_they_are_asked_for() {
    let desk = Desk::new();
    let header = format!("{}X-MBX-TIME-UNIT: microsecond\r\n", desk.key());
    let ask = |target: &str| desk.raw("GET", &format!("/api/v3/{target}"), &header, "").good();
    let newest = desk.now() / HOUR * HOUR;
    let rows = ask("klines?symbol=ETHUSDT&interval=1h&limit=1");
    assert_eq!(
        (&rows[0][0], &rows[0][6]),
        (&json!(newest * 1000), &json!((newest + HOUR) * 1000 - 1))
    );
    assert_eq!(ask("time")["serverTime"], json!(desk.now() * 1000));
    let order = desk.buy("0.01", "a");
    assert_eq!(order["transactTime"], json!(desk.now()));
    let seen = ask(&format!("order?{}", desk.sign("symbol=ETHUSDT&origClientOrderId=a")));
    assert_eq!(seen["time"], json!(desk.now() * 1000));
}

// --- faults --------------------------------------------------------------------------------------

#[test]
fn the_same_fault_with_and_without_an_execution_looks_the_same() {
    let timeout = "Timeout waiting for response from backend server. Send status unknown; execution status unknown.";
    let replies = [
        Reply::Close,
        Reply::Reset,
        Reply::Cut,
        Reply::WrongLength,
        Reply::BrokenChunks,
        Reply::Empty,
        Reply::Html(502),
        Reply::Html(403),
        Reply::Status(504, String::new()),
        Reply::Code(500, -1000, "Unknown."),
        Reply::Code(400, -1006, "Unexpected."),
        Reply::Code(408, -1007, timeout),
        Reply::Code(503, -1008, "Busy."),
    ];
    for reply in replies {
        let seen = [Execute::Now, Execute::Never].map(|execute| {
            let desk = Desk::new();
            desk.rule(execute, reply.clone());
            let query = "symbol=ETHUSDT&side=BUY&type=MARKET&quantity=0.01&newClientOrderId=x";
            let target = format!("/api/v3/order?{}", desk.sign(query));
            let answer = desk.try_raw("POST", &target, &desk.key(), "");
            let expected = usize::from(execute == Execute::Now);
            assert_eq!(desk.with(|world| world.executed("x")), expected, "{reply:?}");
            // What is cut off is half of another text; nothing else may differ.
            let says = !matches!(reply, Reply::Cut | Reply::WrongLength);
            answer.filter(|_| says).map(|answer| (answer.status, answer.body))
        });
        assert_eq!(seen[0], seen[1], "{reply:?}");
    }
}

#[test]
fn chance_is_the_same_for_the_same_seed_and_the_same_requests() {
    let story = |seed: u64, percent: u64| -> Vec<(String, usize)> {
        let desk = Desk::new();
        desk.with(|world| world.chaos = Some(Chaos::new(percent, seed)));
        let mut story = Vec::new();
        for number in 0..60 {
            let query = format!(
                "symbol=ETHUSDT&side=BUY&type=MARKET&quantity=0.002&newClientOrderId=n{number}"
            );
            let target = format!("/api/v3/order?{}", desk.sign(&query));
            let _ = desk.try_raw("POST", &target, &desk.key(), "");
            desk.advance(20 * SECOND);
            // A question in between, of which there may be any number of others.
            for _ in 0..=(seed % 2) {
                let _ = desk.try_raw("GET", "/api/v3/time", "", "");
            }
            let id = format!("n{number}");
            let fault = desk.with(|world| {
                let mut posts =
                    world.log.iter().rev().filter(|logged| logged.asked.method == "POST");
                format!("{:?} {:?}", posts.next().expect("one").fault, world.lag)
            });
            story.push((fault, desk.with(|world| world.executed(&id))));
        }
        desk.keeps_its_books();
        story
    };
    let first = story(7, 40);
    assert_eq!(first, story(7, 40));
    assert_ne!(first, story(9, 40));
    let hit = first.iter().filter(|(fault, _)| fault.starts_with("Some")).count();
    assert!((12..=36).contains(&hit), "about 24 of 60: {hit}");
    assert!(
        story(7, 0).iter().all(|(fault, executed)| fault.starts_with("None") && *executed == 1)
    );
    // A rule comes first.
    let desk = Desk::new();
    desk.with(|world| world.chaos = Some(Chaos::new(100, 1)));
    desk.exchange.fault(Rule { on: On::Any, ..Rule::every("", Reply::Good) });
    let _ = desk.buy("0.01", "a");
}
