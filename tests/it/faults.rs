//! Everything that can go wrong with an order on its way, for an entry and for an exit: what the run says, and that runs
//! without faults find out what became of it. What is found is the table in `docs/faults.md`.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::exchange::{Execute, Lag, Lags, Logged, Reply, Rule};
use crate::support::live::Live;

#[test]
fn every_fault_of_an_order_ends_as_documented_and_is_settled_by_faultless_runs() {
    let faults = faults();
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(fault) = faults.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let line = catch_unwind(AssertUnwindSafe(|| fault.play())).ok();
                    found.lock().expect("no test holds it").push((fault, line));
                }
            });
        }
    });
    let mut found = found.into_inner().expect("no test holds it");
    found.sort_by_key(|(fault, _)| fault.number);
    let failed: Vec<String> = found
        .iter()
        .filter(|(_, line)| line.is_none())
        .map(|(fault, _)| format!("{} / {}", fault.name, fault.fate.name()))
        .collect();
    assert!(failed.is_empty(), "the messages above are of these faults: {failed:#?}");
    let mut table = HEAD.to_owned();
    for (Fault { name, fate, .. }, line) in &found {
        let (entry, exit) = line.as_ref().expect("none failed");
        let (fate, name) = (fate.name(), name.replace('|', "\\|"));
        let _ = writeln!(
            table,
            "| {name} | {fate} | {} | {} | {} | {} |",
            entry.code, entry.runs, exit.code, exit.runs
        );
    }
    compare(&table);
}

#[test]
fn every_code_that_can_answer_an_order_is_either_a_refusal_or_open() {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                while let Some(case) = CODES.get(next.fetch_add(1, Ordering::Relaxed)) {
                    answered(case);
                }
            });
        }
    });
}

/// An order, never executed, is answered with this code.
fn answered(&(expected, status, code, said): &(i32, u16, i64, &'static str)) {
    let what = format!("{status}, code {code}, {said}");
    let live = Live::entry_ahead();
    live.with(|world| {
        world.rules.push(Rule::order(Execute::Never, Reply::Code(status, code, said)));
    });
    let outcome = live.run().start().wait();
    assert_eq!(outcome.code, expected, "{what}: {}", outcome.transcript());
    assert_eq!(live.with(|world| world.posts()), 1, "{what}");
    let error = outcome.json()["error"].clone();
    let is_open = error["kind"] == "pending";
    let queries = live.with(|world| {
        world
            .log
            .iter()
            .filter(|it| it.asked.method == "GET" && it.asked.path.ends_with("/order"))
            .count()
    });
    if is_open {
        assert!(live.is_pending(), "{what}");
        live.pass_the_bound();
        assert_eq!(step(&live, &[0], &what), 0);
    } else {
        assert_eq!(queries, 0, "{what}: it is certain, nothing needs to be asked");
        let message = error["message"].as_str().expect("a message");
        if status == 400 {
            assert!(message.contains(said), "{what}: {message}");
        }
    }
    live.check();
    let status = live.status();
    assert_eq!((&status["state"], &status["halted"]), (&json!("NONE"), &json!(null)), "{what}");
    // The next run at this candle sends nothing; one at a later candle has another id.
    live.advance(2 * 60 * 1000);
    let _ = step(&live, &[0], &what);
    assert_eq!(live.with(|world| world.posts()), 1, "{what}: the candle is not tried again");
    live.next_candle("30");
    let _ = step(&live, &[0], &what);
    assert_eq!(live.with(|world| (world.posts(), world.orders.len())), (2, 1), "{what}");
    live.check();
}

/// Exit code; status, code and message of the answer. **Source**: Binance Spot, "Error codes".
const CODES: &[(i32, u16, i64, &str)] = &[
    (75, 400, -1000, "An unknown error occurred while processing the request."),
    (75, 400, -1001, "Internal error; unable to process your request. Please try again."),
    (77, 401, -1002, "You are not authorized to execute this request."),
    (75, 429, -1003, "Too many requests queued."),
    (
        75,
        429,
        -1003,
        "Too much request weight used; current limit is 6000 request weight per 1 MINUTE.",
    ),
    (75, 400, -1003, "Too many requests queued."),
    (75, 400, -1006, UNEXPECTED),
    (75, 400, -1007, TIMEOUT),
    (
        75,
        503,
        -1008,
        "Server is currently overloaded with other requests. Please try again in a few minutes.",
    ),
    (76, 400, -1010, "Market is closed."),
    (76, 400, -1013, "Filter failure: LOT_SIZE"),
    (76, 400, -1013, "Invalid quantity."),
    (76, 400, -1014, "Unsupported order combination."),
    (75, 429, -1015, "Too many new orders; current limit is 50 orders per 10 SECOND."),
    (75, 503, -1016, "This service is no longer available."),
    (76, 400, -1020, "This operation is not supported."),
    (69, 400, -1021, "Timestamp for this request is outside of the recvWindow."),
    (69, 400, -1021, "Timestamp for this request was 1000ms ahead of the server's time."),
    (77, 400, -1022, "Signature for this request is not valid."),
    (76, 400, -1100, "Illegal characters found in a parameter."),
    (76, 400, -1101, "Too many parameters sent for this endpoint."),
    (76, 400, -1102, "Mandatory parameter was not sent, was empty/null, or malformed."),
    (76, 400, -1103, "An unknown parameter was sent."),
    (76, 400, -1104, "Not all sent parameters were read."),
    (76, 400, -1105, "Parameter was empty."),
    (76, 400, -1106, "Parameter was sent when not required."),
    (76, 400, -1108, "Parameter overflowed."),
    (76, 400, -1111, "Parameter has too much precision."),
    (76, 400, -1112, "No orders on book for symbol."),
    (76, 400, -1114, "TimeInForce parameter sent when not required."),
    (76, 400, -1115, "Invalid timeInForce."),
    (76, 400, -1116, "Invalid orderType."),
    (76, 400, -1117, "Invalid side."),
    (76, 400, -1118, "New client order ID was empty."),
    (76, 400, -1121, "Invalid symbol."),
    (76, 400, -1128, "Combination of optional parameters invalid."),
    (75, 400, -1129, "Something between."),
    (76, 400, -1130, "Invalid data sent for a parameter."),
    (76, 400, -1131, "recvWindow must be less than 60000."),
    (76, 400, -1135, "Invalid JSON Request."),
    (76, 400, -1145, "Invalid cancelRestrictions."),
    (76, 400, -1151, "Symbol is present multiple times in the list."),
    (76, 400, -1194, "Invalid value for time unit."),
    (76, 400, -2010, "Account has insufficient balance for requested action."),
    (76, 400, -2010, "Market is closed."),
    (76, 400, -2010, "This account may not place or cancel orders."),
    (76, 400, -2010, "Order book liquidity is less than `LOT_SIZE` filter minimum quantity."),
    (75, 400, -2010, "Duplicate order sent."),
    (75, 400, -1010, "Duplicate order sent."),
    (75, 400, -2011, "Unknown order sent."),
    (75, 400, -2013, "Order does not exist."),
    (77, 401, -2014, "API-key format invalid."),
    (77, 401, -2015, "Invalid API-key, IP, or permissions for action."),
    (
        75,
        400,
        -2026,
        "Order was canceled or expired with no executed qty over 90 days ago and has been archived.",
    ),
    (75, 400, -2039, "Client order ID is not correct for this order ID."),
    (75, 400, -2043, "This symbol has no reference price."),
    (75, 451, 0, "Service unavailable from a restricted location."),
    (75, 400, -9999, "A code that did not exist."),
];

/// One thing that goes wrong.
struct Fault {
    number: usize,
    name: String,
    reply: Reply,
    fate: Fate,
    lag: Lags,
    /// The exit code where the exchange refuses for certain, or wants silence.
    code: Option<i32>,
}

/// What becomes of the order.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Executed before the answer.
    Executed,
    /// Executed before the answer, in part; the rest expires.
    InPart,
    /// It gets lost.
    Never,
    /// Executed when the program has given up.
    Late,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Side {
    Entry,
    Exit,
}

/// What came of it.
struct Line {
    code: i32,
    runs: u32,
}

impl Fate {
    fn name(self) -> &'static str {
        match self {
            Self::Executed => "yes",
            Self::InPart => "in part",
            Self::Never => "no",
            Self::Late => "late",
        }
    }

    fn execute(self) -> Execute {
        match self {
            Self::Executed | Self::InPart => Execute::Now,
            Self::Never => Execute::Never,
            // The last moment at which the request can be taken, and the engine takes its time.
            Self::Late => Execute::LateMillis(14_000),
        }
    }
}

impl Fault {
    /// An entry and an exit that meet it.
    fn play(&self) -> (Line, Line) {
        let live = Live::entry_ahead();
        let entry = self.strike(&live, Side::Entry);
        if live.status()["position"].is_null() {
            // Bought without any fault, so that there is something to sell.
            live.next_candle("30");
            let _ = step(&live, &[0], &self.name);
        }
        live.next_candle("10");
        let exit = self.strike(&live, Side::Exit);
        self.finish(&live);
        (entry, exit)
    }

    /// The next run meets it; those after it find out what became of the order.
    fn strike(&self, live: &Live, side: Side) -> Line {
        let what = format!("{}, {}, {side:?}", self.name, self.fate.name());
        let (posts, made) = live.with(|world| (world.posts(), world.orders.len()));
        live.with(|world| {
            world.lag = self.lag;
            world.rules.push(Rule::order(self.fate.execute(), self.reply.clone()));
            if self.fate == Fate::InPart {
                let depth = if side == Side::Entry { 60 } else { 30 };
                world.symbol("ETHUSDT").depth = vec![Decimal::from(depth)];
            }
        });
        let code = step(live, &[0, 69, 75, 76, 77], &what);
        live.with(|world| {
            world.symbol("ETHUSDT").depth = vec![Decimal::from(100_000_000)];
        });
        match (self.code, self.fate) {
            (Some(expected), _) => assert_eq!(code, expected, "{what}: the exit code"),
            (None, Fate::Executed | Fate::InPart) => {
                assert!([0, 75].contains(&code), "{what}: exit code {code}");
            }
            (None, Fate::Never | Fate::Late) => assert_eq!(code, 75, "{what}: the exit code"),
        }
        let is_open = code == 75 && self.is_unknown();
        let mut runs = 0;
        while is_open && (runs == 0 || live.is_pending()) {
            assert!(runs < 3, "{what}: pending after {runs} runs: {:#}", live.status());
            live.pass_the_bound();
            let settled = step(live, &[0, 75], &what);
            runs += 1;
            assert!(settled == 0 || live.is_pending(), "{what}: 75, but nothing is pending");
        }
        let (posted, all) = live.with(|world| (world.posts(), world.orders.len()));
        assert_eq!(posted, posts + 1, "{what}: one order, and the candle is not tried again");
        let is_made = self.fate != Fate::Never && self.is_unknown();
        assert_eq!(all, made + usize::from(is_made), "{what}: what was executed");
        live.check();
        Line { code, runs }
    }

    /// An exit that was decided is finished at later candles, whatever they say.
    fn finish(&self, live: &Live) {
        let what = format!("{}, {}, after it", self.name, self.fate.name());
        let mut is_held = !live.status()["position"].is_null();
        for spread in ["19", "20", "21"] {
            if !is_held {
                break;
            }
            live.next_candle(spread);
            let _ = step(live, &[0], &what);
            live.check();
            is_held = !live.status()["position"].is_null();
        }
        assert!(!is_held, "{what}: sold in the end");
        let ids: Vec<String> = live.with(|world| {
            world.log.iter().filter(|it| is_order(it)).map(|it| id_of(&it.asked.body)).collect()
        });
        for id in &ids {
            let count = ids.iter().filter(|other| *other == id).count();
            assert_eq!(count, 1, "{what}: {id} left more than once");
        }
    }

    /// Whether the answer leaves open what became of the order.
    fn is_unknown(&self) -> bool {
        self.code.is_none() || matches!(self.reply, Reply::Silence(_, _, None))
    }
}

/// One run: its exit code. However it goes, it asks only so much and sends at most one order.
fn step(live: &Live, codes: &[i32], what: &str) -> i32 {
    let before = live.with(|world| world.log.len());
    let outcome = live.run().start().wait();
    assert!(codes.contains(&outcome.code), "{what}: {}", outcome.transcript());
    live.with(|world| {
        let asked = &world.log[before..];
        let weight: u64 = asked.iter().map(|it| it.weight).sum();
        assert!(asked.len() <= 25 && weight <= 200, "{what}: {} requests, {weight}", asked.len());
        assert!(asked.iter().filter(|it| is_order(it)).count() <= 1, "{what}: two orders in a run");
        let elsewhere = asked.iter().find(|it| it.asked.path.contains("elsewhere"));
        assert!(elsewhere.is_none(), "{what}: a redirect was followed");
    });
    outcome.code
}

fn is_order(logged: &Logged) -> bool {
    logged.asked.method == "POST" && logged.asked.path == "/api/v3/order"
}

fn id_of(body: &str) -> String {
    let id = body.split('&').find_map(|part| part.strip_prefix("newClientOrderId="));
    id.expect("an order has an id").to_owned()
}

fn faults() -> Vec<Fault> {
    use Fate::{Executed, InPart, Late, Never};
    let mut faults = Vec::new();
    let mut add = |name: &str, reply: &Reply, fates: &[Fate], lag: Lags, code: Option<i32>| {
        for fate in fates {
            let (number, name, reply) = (faults.len(), name.to_owned(), reply.clone());
            faults.push(Fault { number, name, reply, fate: *fate, lag, code });
        }
    };
    // Nothing, or not enough, comes back; the client can't tell whether the order was executed.
    for (name, reply) in unknown() {
        add(&name, &reply, &[Executed, Never, Late], Lags::default(), None);
    }
    // What the answer says, though it is well-formed, can't be right: it is asked about.
    for (name, reply) in altered() {
        add(name, &reply, &[Executed], Lags::default(), None);
    }
    // Part of the order, whatever comes back.
    for (name, reply) in [
        ("nothing goes wrong", Reply::Good),
        ("closed", Reply::Close),
        ("cut", Reply::Cut),
        ("502, HTML", Reply::Html(502)),
        ("504, code -1007", Reply::Code(504, -1007, TIMEOUT)),
        ("silence", Reply::Hang),
    ] {
        add(name, &reply, &[InPart], Lags::default(), None);
    }
    // The order was executed, and does not show everywhere.
    for (name, lag) in [
        ("shows after 2 questions", Lag::Queries(2)),
        ("shows after 4 questions", Lag::Queries(4)),
        ("shows after 40 s", Lag::Millis(40_000)),
        ("shows at every other question", Lag::Flapping(40_000)),
    ] {
        add(
            &format!("closed, {name}"),
            &Reply::Close,
            &[Executed, InPart, Never],
            Lags::all(lag),
            None,
        );
    }
    // Refused for certain.
    let refused = |code: i32, reply: Reply| (format!("{reply:?}"), reply, code);
    let banned = |status: u16, after: &'static str| {
        let name = format!("{status}, code -1003, silence for {after} s");
        (name, Reply::Silence(status, Some(after), Some(-1003)), 75)
    };
    for (name, reply, code) in [
        refused(76, Reply::Code(400, -1013, "Filter failure: NOTIONAL")),
        refused(
            69,
            Reply::Code(400, -1021, "Timestamp for this request is outside of the recvWindow."),
        ),
        refused(
            76,
            Reply::Code(400, -2010, "Account has insufficient balance for requested action."),
        ),
        refused(77, Reply::Code(401, -2015, "Invalid API-key, IP, or permissions for action.")),
        refused(77, Reply::Code(400, -1022, "Signature for this request is not valid.")),
        refused(
            75,
            Reply::Code(
                429,
                -1015,
                "Too many new orders; current limit is 50 orders per 10 SECOND.",
            ),
        ),
        banned(429, "5"),
        banned(418, "90"),
    ] {
        add(&name, &reply, &[Never], Lags::default(), Some(code));
    }
    // Silence is wanted, so the order can't be asked about in this run.
    for status in [418, 429] {
        let reply = Reply::Silence(status, Some("5"), None);
        let name = format!("{status}, silence for 5 s, no body");
        add(&name, &reply, &[Executed, Never, Late], Lags::default(), Some(75));
    }
    faults
}

fn unknown() -> Vec<(String, Reply)> {
    let named = |reply: Reply| (format!("{reply:?}"), reply);
    let mut all: Vec<(String, Reply)> = vec![
        named(Reply::Close),
        named(Reply::Reset),
        named(Reply::Hang),
        named(Reply::SilenceAfterHeaders),
        named(Reply::Drip),
        ("late, after the deadline".to_owned(), Reply::Delay(2_000)),
        named(Reply::Cut),
        named(Reply::WrongLength),
        named(Reply::BrokenChunks),
        named(Reply::Empty),
        named(Reply::Huge),
    ];
    all.extend([200, 403, 404, 500, 502, 503, 504].map(|status| named(Reply::Html(status))));
    all.extend([301, 302, 307, 308].map(|status| named(Reply::Redirect(status))));
    for (status, body) in
        [(200, "null"), (200, "[]"), (200, "{}"), (200, "{\"a"), (400, ""), (408, ""), (500, "")]
    {
        let shown = if body.is_empty() { "empty".to_owned() } else { format!("`{body}`") };
        all.push((format!("{status}, {shown}"), Reply::Status(status, body.to_owned())));
    }
    for (status, code, said) in [
        (400, -1000, "An unknown error occurred while processing the request."),
        (500, -1001, "Internal error; unable to process your request. Please try again."),
        (429, -1003, "Too many requests queued."),
        (400, -1006, UNEXPECTED),
        (500, -1006, UNEXPECTED),
        (400, -1007, TIMEOUT),
        (408, -1007, TIMEOUT),
        (504, -1007, TIMEOUT),
        (503, -1008, "Server is currently overloaded with other requests."),
        (503, -1016, "This service is no longer available."),
        (500, -1013, "Filter failure: NOTIONAL"),
        (503, -2010, "Account has insufficient balance for requested action."),
        (400, -2010, "Duplicate order sent."),
        (400, -9999, "Something new."),
    ] {
        let reply = Reply::Code(status, code, said);
        let more = if said.contains("Duplicate") { ", duplicate" } else { "" };
        all.push((format!("{reply:?}{more}"), reply));
    }
    all
}

fn altered() -> Vec<(&'static str, Reply)> {
    let set = |name: &'static str, field: &'static str, value: Value| {
        let alter = move |body: &mut Value| body[field] = value.clone();
        (name, Reply::Alter(Arc::new(alter)))
    };
    vec![
        ("nothing goes wrong", Reply::Good),
        ("late, before the deadline", Reply::Delay(300)),
        set("another id", "clientOrderId", json!("web_1")),
        set("another symbol", "symbol", json!("BNBUSDT")),
        set("another type", "type", json!("LIMIT")),
        set("status NEW", "status", json!("NEW")),
        set("status PARTIALLY_FILLED", "status", json!("PARTIALLY_FILLED")),
        set("status unknown", "status", json!("SOMETHING")),
        set("more executed than ordered", "executedQty", json!("9.00000000")),
        set("executed is nothing", "executedQty", json!("0.00000000")),
        set("executed is a number", "executedQty", json!(0.05)),
        set("executed is `1e-2`", "executedQty", json!("1e-2")),
        set("quote amount of -1", "cummulativeQuoteQty", json!("-1.00000000")),
        set("quote amount beyond the fills", "cummulativeQuoteQty", json!("150.12345678")),
        set("no fills", "fills", json!([])),
        set("fills null", "fills", json!(null)),
        set("no time", "transactTime", json!(null)),
        set("order id a text", "orderId", json!("48230011223")),
    ]
}

/// That the file says what was found.
#[expect(clippy::disallowed_methods, reason = "a wish of whoever runs the tests")]
fn compare(table: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    if std::env::var_os("RENEW").is_some() {
        std::fs::write(&path, table).expect("docs/faults.md is written");
    }
    let known = std::fs::read_to_string(&path).unwrap_or_default();
    let missing: Vec<&str> = table.lines().filter(|line| !known.contains(line)).collect();
    assert!(
        known == table,
        "docs/faults.md is out of date (`RENEW=1 cargo test --test it faults::` writes it): {missing:#?}"
    );
}

const HEAD: &str = "# What can go wrong with an order

Each line is a fault of the simulated exchange, tried with an order to buy and an order to sell, and the exit code of the
run that met it. The order is sent once; runs without faults, each after the time within which it must show, then found
out what became of it: how many that took.

| what comes back | executed? | entry: exit code | runs until settled | exit: exit code | runs until settled |
| --- | --- | --- | --- | --- | --- |
";

const TIMEOUT: &str = "Timeout waiting for response from backend server. Send status unknown; execution status unknown.";
const UNEXPECTED: &str =
    "An unexpected response was received from the message bus. Execution status unknown.";

/// Each of them waits most of its time.
const AT_ONCE: usize = 8;
