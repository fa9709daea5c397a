//! The program's own step with nothing real around it: a disk in memory, the simulated exchange without sockets, and a
//! clock that moves when it is told to. A run takes microseconds, and can be ended or hurt at each of its operations.
//!
//! An operation is what passes one of the three seams: a call of the file system, a request on its way there, an answer on
//! its way back. A killed run unwinds from the operation and meets a dead world from then on, so nothing that it does
//! afterwards has an effect.

pub(crate) mod disk;

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

use anyhow::anyhow;
use clap::Parser as _;
use ouroboros::app;
use ouroboros::cli::Cli;
use ouroboros::clock::{Clock, Deadline, Time};
use ouroboros::command::{audit, resume};
use ouroboros::config::Config;
use ouroboros::exchange::http::{Answer, Carried, Carrier, Http, Request};
use ouroboros::failure::{Failure, Kind};
use ouroboros::report::Report;
use ouroboros::run;
use ouroboros::stop::Stop;
use ouroboros::store::disk::Disk;
use ouroboros::trading::book::{HaltedBy, Position};
use ouroboros::trading::market::Leg;
use ouroboros::trading::time::Timestamp;
use ouroboros::world;
use rust_decimal::Decimal;
use serde_json::Value;

use crate::exchange::{Asked, Balance, Reply, Setup, World};
use crate::support::clock::HOUR;
use disk::{Files, Memory};

/// What a run can be asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Work {
    Run,
    Flatten,
}

/// What happens to a run at one of its operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hurt {
    /// It ends before the operation.
    Kill,
    /// The operation fails.
    Once,
    /// It and all after it on the same side of the program fail.
    ForEver,
    /// Before it the process is frozen for an hour, by a signal or with its machine.
    Freeze,
}

/// Which side of the program an operation is on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Disk,
    Network,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Ended {
    Killed,
    /// With this exit code.
    Code(u8),
}

/// Everything outside of the program.
#[derive(Clone)]
pub(crate) struct Outer {
    pub(crate) files: Files,
    pub(crate) exchange: World,
    /// The program's clock, in milliseconds since the epoch.
    pub(crate) now: i64,
    /// The exchange's clock less the program's.
    pub(crate) skew: i64,
    passed: Duration,
    /// Orders that were sent, by their ids.
    pub(crate) sent: BTreeMap<String, u32>,
    /// Rules that were broken, in words.
    pub(crate) broken: Vec<String>,
    operations: usize,
    hurt: Option<(usize, Hurt)>,
    class: Option<Class>,
    is_dead: bool,
    requests: usize,
    /// The skew of the run before.
    last_skew: i64,
    trace: Option<Vec<String>>,
}

/// The same, for all three seams.
#[derive(Clone)]
pub(crate) struct Shared(Arc<Mutex<Outer>>);

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("outside")
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Outer> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One operation: it may be the last, or fail.
    fn operation(&self, name: &'static str, class: Class) -> Result<(), ()> {
        let mut outer = self.lock();
        outer.operations += 1;
        let number = outer.operations;
        if let Some(trace) = &mut outer.trace {
            trace.push(format!("{number:>3} {name}"));
        }
        let is_hit = match outer.hurt {
            Some((at, _)) if number == at => {
                outer.class = Some(class);
                true
            }
            Some((at, Hurt::ForEver)) => number > at && outer.class == Some(class),
            _ => false,
        };
        match outer.hurt {
            _ if outer.is_dead => {}
            Some((_, Hurt::Kill)) if is_hit => outer.is_dead = true,
            Some((_, Hurt::Freeze)) if is_hit => {
                outer.pass(Duration::from_secs(3600));
                return Ok(());
            }
            Some(_) if is_hit => return Err(()),
            _ => return Ok(()),
        }
        drop(outer);
        // Without the hook: this is not a panic, it is the end of a process.
        resume_unwind(Box::new("killed"))
    }
}

#[derive(Debug)]
struct Ticks(Shared);

impl Time for Ticks {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.lock().now).expect("after 1970")
    }

    fn passed(&self) -> Duration {
        self.0.lock().passed
    }

    fn sleep(&self, time: Duration) {
        self.0.lock().pass(time);
    }
}

/// Requests without sockets.
#[derive(Debug)]
struct Wire(Shared);

impl Carrier for Wire {
    fn carry(&self, requests: Vec<Request>, deadline: &Deadline, answers: &mpsc::Sender<Carried>) {
        for (number, request) in requests.into_iter().enumerate() {
            let answer = self.carry_one(&request, deadline);
            // Nobody may listen any more.
            let _ = answers.send((number, answer));
        }
    }
}

impl Wire {
    fn carry_one(&self, request: &Request, deadline: &Deadline) -> anyhow::Result<Answer> {
        let failed = |()| anyhow!("the connection broke");
        let is_order = request.method.as_str() == "POST" && request.url.path() == ORDER;
        let (there, back) = if is_order { ("order", "answer to it") } else { ("ask", "hear") };
        self.0.operation(there, Class::Network).map_err(failed)?;
        let (response, reply) = self.0.lock().hear(request);
        self.0.operation(back, Class::Network).map_err(failed)?;
        let received = || Timestamp::from_millis(self.0.lock().now).expect("after 1970");
        let text = |body: &Value| match body {
            Value::Null => Vec::new(),
            body => serde_json::to_vec(body).expect("it is JSON already"),
        };
        let (mut status, mut headers) = (response.status, response.headers);
        let body = match reply {
            Reply::Good => text(&response.body),
            Reply::Alter(alter) => {
                let mut body = response.body;
                alter(&mut body);
                text(&body)
            }
            Reply::Delay(millis) => {
                let (time, left) = (Duration::from_millis(millis), deadline.left());
                self.0.lock().pass(time.min(left));
                if time >= left {
                    return Err(anyhow!("no answer in time"));
                }
                text(&response.body)
            }
            Reply::Close | Reply::Reset => return Err(anyhow!("the connection was closed")),
            Reply::Cut | Reply::WrongLength | Reply::BrokenChunks | Reply::Huge => {
                return Err(anyhow!("the body broke off"));
            }
            Reply::Hang | Reply::SilenceAfterHeaders | Reply::Drip => {
                let left = deadline.left();
                self.0.lock().pass(left);
                return Err(anyhow!("no answer in time"));
            }
            Reply::Empty => {
                status = 200;
                Vec::new()
            }
            Reply::Html(code) => {
                status = code;
                b"<html><body>no</body></html>".to_vec()
            }
            Reply::Redirect(code) => {
                status = code;
                Vec::new()
            }
            Reply::Status(code, body) => {
                status = code;
                body.into_bytes()
            }
            Reply::Code(code, number, msg) => {
                status = code;
                serde_json::json!({ "code": number, "msg": msg }).to_string().into_bytes()
            }
            Reply::Silence(code, after, number) => {
                status = code;
                headers.extend(after.map(|after| ("Retry-After".to_owned(), after.to_owned())));
                let body = |number| serde_json::json!({ "code": number, "msg": "too much" });
                number.map(|number| body(number).to_string()).unwrap_or_default().into_bytes()
            }
        };
        let header = |name: &str| {
            headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, it)| it)
        };
        let date = header("date").and_then(|date| jiff::fmt::rfc2822::parse(date).ok());
        Ok(Answer {
            status,
            date: date.and_then(|at| Timestamp::from_millis(at.timestamp().as_millisecond())),
            received: received(),
            retry_after: header("retry-after").cloned(),
            used_weight: header("x-mbx-used-weight-1m").and_then(|weight| weight.parse().ok()),
            body,
        })
    }
}

impl Outer {
    fn pass(&mut self, time: Duration) {
        self.passed += time;
        self.now += i64::try_from(time.as_millis()).expect("not for ever");
    }

    /// What the exchange makes of a request.
    fn hear(&mut self, request: &Request) -> (crate::exchange::Response, Reply) {
        self.exchange.set_now(self.now + self.skew);
        let body = request
            .body
            .as_ref()
            .map(|(_, body)| String::from_utf8_lossy(body).into_owned())
            .unwrap_or_default();
        let (path, query) = (request.url.path(), request.url.query().unwrap_or_default());
        let mut headers = Vec::new();
        if let Some(key) = &request.api_key {
            let key = key.to_str().expect("a key is text");
            headers.push(("x-mbx-apikey".to_owned(), key.to_owned()));
        }
        if let Some((kind, _)) = &request.body {
            headers.push(("content-type".to_owned(), (*kind).to_owned()));
        }
        let method = request.method.as_str();
        if path.starts_with("/api") || path.starts_with("/sapi") {
            self.requests += 1;
        }
        if method == "POST" && path == ORDER {
            self.see_order(&body);
        }
        let (path, query) = (path.to_owned(), query.to_owned());
        self.exchange.answer(Asked { method: method.to_owned(), path, query, headers, body })
    }

    /// An order leaves once, and only after its intent is durable, whatever is lost now.
    fn see_order(&mut self, body: &str) {
        let value = |name| body.split('&').find_map(|pair| pair.strip_prefix(name)).unwrap_or("");
        let (id, stamp) = (value("newClientOrderId=").to_owned(), value("timestamp="));
        let durable = self.files.durable("state.json").unwrap_or_default();
        let durable = String::from_utf8_lossy(durable);
        if !durable.contains(&format!("\"client_order_id\": \"{id}\"")) {
            self.broken.push(format!("{id} was sent before its intent was durable"));
        } else if !durable.contains(&format!("\"timestamp_ms\": {stamp},")) {
            self.broken.push(format!("{id} is stamped {stamp}, its intent is not"));
        }
        let sent = self.sent.entry(id.clone()).or_default();
        *sent += 1;
        if *sent > 1 {
            self.broken.push(format!("{id} was sent twice"));
        }
    }

    /// Lets a candle end with this ratio; the program's clock goes along.
    pub(crate) fn next_candle(&mut self, spread: &str) {
        self.exchange.set_now(self.now);
        self.exchange.close_candle(spread);
        self.now = self.exchange.now();
    }

    /// Lets the next run begin at once, before anything gets to the disk by itself.
    pub(crate) fn hurry(&mut self) {
        self.now += 1_000;
    }

    /// Lets time pass between two runs: what was written gets to the disk by itself.
    pub(crate) fn advance(&mut self, millis: i64) {
        self.now += millis;
        self.files.settle();
    }
}

/// A live book, its account and the program, in one process.
pub(crate) struct Inside {
    shared: Shared,
    disk: Arc<dyn Disk>,
    config: Config,
    begin: BTreeMap<String, Balance>,
}

impl Inside {
    /// An account in which nothing has happened, and a disk with nothing on it.
    pub(crate) fn new(settings: &[(&str, &str)]) -> Self {
        Self::at(BEGIN, settings)
    }

    /// The same at another moment, in milliseconds since the epoch.
    pub(crate) fn at(begins: i64, settings: &[(&str, &str)]) -> Self {
        let mut exchange = World::new(Setup { interval_ms: HOUR, ..Setup::default() });
        exchange.stop_clock();
        exchange.set_now(begins);
        exchange.set_spreads(&["20", "20", "20", "20"]);
        let begin = exchange.balances.clone();
        let mut environment: BTreeMap<String, String> = [
            ("DRY_RUN", "false"),
            ("BINANCE_BASE_URL", "http://127.0.0.1:1"),
            ("TELEGRAM_API_URL", "http://127.0.0.1:1"),
            ("TELEGRAM_BOT_TOKEN", "1:simulated"),
            ("TELEGRAM_CHAT_ID", "1"),
            ("TIMEFRAME", "1h"),
            ("ROLLING_WINDOW", "4"),
            ("ENTRY_THRESHOLD", "1.2"),
            ("SETTLE_SECONDS", "60"),
        ]
        .into_iter()
        .chain(settings.iter().copied())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        environment.insert("BINANCE_API_KEY".to_owned(), exchange.key.clone());
        environment.insert("BINANCE_API_SECRET".to_owned(), exchange.secret.clone());
        let cli = Cli::parse_from(["ouroboros", "--state-dir", "/nowhere/at/all"]);
        let environment = environment.into_iter().map(|(name, value)| (name.into(), value.into()));
        let config = Config::load(&cli.options, environment.collect()).expect("a good set-up");
        let shared = Shared(Arc::new(Mutex::new(Outer {
            files: Files::default(),
            exchange,
            now: begins,
            skew: 0,
            passed: Duration::ZERO,
            sent: BTreeMap::new(),
            broken: Vec::new(),
            operations: 0,
            hurt: None,
            class: None,
            is_dead: false,
            requests: 0,
            last_skew: 0,
            trace: None,
        })));
        let disk = Arc::new(Memory(shared.clone()));
        Self { shared, disk, config, begin }
    }

    /// What is around the program, to look at or to change.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut Outer) -> T) -> T {
        look(&mut self.shared.lock())
    }

    /// All of it, to come back to.
    pub(crate) fn save(&self) -> Outer {
        self.shared.lock().clone()
    }

    /// As it was.
    pub(crate) fn restore(&self, outer: &Outer) {
        self.shared.lock().clone_from(outer);
    }

    /// One start. How many operations it had, and how it ended.
    pub(crate) fn start(&self, work: Work, hurt: Option<(usize, Hurt)>) -> (usize, Ended) {
        self.with(|outer| {
            outer.operations = 0;
            outer.requests = 0;
            outer.hurt = hurt;
            outer.class = None;
            outer.is_dead = false;
            outer.exchange.log.clear();
        });
        let http = self.http();
        let step = || match work {
            Work::Run => app::step(&self.config, &http, &self.disk, run::run),
            Work::Flatten => app::step(&self.config, &http, &self.disk, run::flatten),
        };
        let done = catch_unwind(AssertUnwindSafe(step));
        let mut outer = self.shared.lock();
        outer.hurt = None;
        let weight: u64 = outer.exchange.log.iter().map(|logged| logged.weight).sum();
        outer.exchange.log.clear();
        // Where the clocks differ from what was remembered the account is asked for once more.
        let was_frozen = matches!(hurt, Some((_, Hurt::Freeze)));
        let is_same = (outer.skew, outer.last_skew) == (0, 0) && !was_frozen;
        outer.last_skew = outer.skew;
        let (most_requests, most_weight) = if is_same { (25, 200) } else { (31, 275) };
        if outer.requests > most_requests || weight > most_weight {
            let (requests, why) = (outer.requests, "in one run");
            outer.broken.push(format!("{requests} requests of weight {weight} {why}"));
        }
        let operations = outer.operations;
        if std::mem::take(&mut outer.is_dead) {
            outer.files.process_died();
            return (operations, Ended::Killed);
        }
        let done = done.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            outer.broken.push(format!("it panicked: {text}"));
            Err(Failure::new(Kind::Bug, "a panic", ""))
        });
        if outer.files.is_locked {
            outer.broken.push("the lock outlived the run".to_owned());
        }
        outer.say(&done);
        let code = done.map_or_else(|failure| failure.kind.code(), |_| 0);
        if !CODES.contains(&code) {
            outer.broken.push(format!("it ended with {code}"));
        }
        (operations, Ended::Code(code))
    }

    fn http(&self) -> Http {
        let shared = || self.shared.clone();
        Http::over(Arc::new(Wire(shared())), Clock::of(Ticks(shared())), Stop::default())
    }

    /// A person lifts the halt.
    pub(crate) fn resume(&self) -> Result<(), String> {
        let now = Timestamp::from_millis(self.with(|outer| outer.now)).expect("after 1970");
        let lifted = resume::lift(&self.config, &self.http(), &self.disk, now);
        lifted.map(drop).map_err(|failure| failure.to_string())
    }

    /// What must hold after every start: orders at most once, one a decision, nothing stray on the disk, a state that is
    /// one of those that were committed.
    pub(crate) fn check_always(&self) -> Result<(), String> {
        let outer = self.shared.lock();
        if let Some(broken) = outer.broken.first() {
            return Err(broken.clone());
        }
        outer.exchange.conservation()?;
        let ours =
            outer.exchange.orders.iter().filter(|it| it.client_order_id.starts_with("ouro-"));
        let mut seen = BTreeSet::new();
        let mut decisions = BTreeMap::new();
        for order in ours {
            if !seen.insert(&order.client_order_id) {
                return Err(format!("{} was taken twice", order.client_order_id));
            }
            // `ouro-INSTANCE-CANDLE-B1`: the decision is all but the attempt. What an exit left over is sold by another.
            let decision = order.client_order_id.trim_end_matches(|c: char| c.is_ascii_digit());
            let executed = usize::from(order.is_buy && !order.executed.is_zero());
            *decisions.entry(decision.to_owned()).or_insert(0) += executed;
        }
        if let Some((decision, count)) = decisions.iter().find(|(_, count)| **count > 1) {
            return Err(format!("{count} entries of the decision {decision} were executed"));
        }
        let known = ["state.json", "state.json.new", "outside.json", "outside.json.new", "halt"];
        let known = |name: &&str| known.contains(name) || crate::support::folder::is_journal(name);
        match outer.files.names().find(|name| !known(name)) {
            Some(stray) => Err(format!("a stray file: {stray}")),
            None => Ok(()),
        }
    }

    /// What must hold once nothing is open any more: the book is what the account says, everything was told, and the journal
    /// leads to the book.
    pub(crate) fn check_settled(&self) -> Result<(), String> {
        self.check_book()?;
        let audited = audit::audit(self.disk.as_ref(), &self.config);
        audited.map(drop).map_err(|failure| failure.to_string())
    }

    /// Where nothing was ever decided, as on candles that were too old already, nothing was ever ordered.
    fn check_untouched(&self) -> Result<(), String> {
        let outer = self.shared.lock();
        let is_as_it_was =
            |(asset, balance): (&String, &Balance)| outer.exchange.free(asset) == balance.free;
        if outer.sent.is_empty() && self.begin.iter().all(is_as_it_was) {
            Ok(())
        } else {
            Err("there is no state, but there were orders".to_owned())
        }
    }

    /// Whether there is a book.
    pub(crate) fn has_state(&self) -> bool {
        world::peek(self.disk.as_ref(), &self.config).is_ok_and(|state| state.is_some())
    }

    /// The same without the journal, which takes longest.
    pub(crate) fn check_book(&self) -> Result<(), String> {
        let state = world::peek(self.disk.as_ref(), &self.config);
        let state = state.map_err(|failure| failure.to_string())?;
        let Some(state) = state else { return self.check_untouched() };
        if let Some(intent) = state.book.pending() {
            return Err(format!("{} is still open", intent.client_order_id));
        }
        if !state.outbox.waiting.is_empty() {
            let outer = self.shared.lock();
            let told = &outer.exchange.messages;
            for message in &state.outbox.waiting {
                if !told.iter().any(|text| text.contains(&message.text)) {
                    return Err(format!("message {} was never told", message.number));
                }
            }
        }
        let book = &state.book;
        let mut held = BTreeMap::from([
            ("BTC", book.dust.of(Leg::Numerator).value()),
            ("ETH", book.dust.of(Leg::Denominator).value()),
        ]);
        let mut spent = Decimal::ZERO;
        let holding = match &book.position {
            Position::Holding(holding) => Some(holding),
            Position::Leaving(leaving) => Some(&leaving.holding),
            Position::Flat { .. } => None,
        };
        if let Some(holding) = holding {
            let asset = if holding.leg == Leg::Numerator { "BTC" } else { "ETH" };
            *held.get_mut(asset).expect("both") += holding.quantity.value();
            spent = holding.cost.value() - holding.proceeds.value();
        }
        let outer = self.shared.lock();
        let gained = |asset: &str| outer.exchange.free(asset) - self.begin[asset].free;
        for (asset, held) in held {
            if gained(asset) != held {
                let gained = gained(asset);
                return Err(format!("the account gained {gained} {asset}, the book says {held}"));
            }
        }
        let realized = book.realized.value();
        if gained("USDT") != realized - spent {
            let gained = gained("USDT");
            return Err(format!("{gained} USDT, the book says {realized} less {spent}"));
        }
        Ok(())
    }

    /// Whether the book is halted, and whether by the program itself.
    pub(crate) fn halted(&self) -> Option<HaltedBy> {
        let state = world::peek(self.disk.as_ref(), &self.config).ok().flatten();
        Some(state?.book.halt?.by)
    }

    /// Writes down every operation from now on; what was written so far.
    pub(crate) fn trace(&self) -> Vec<String> {
        self.with(|outer| outer.trace.replace(Vec::new()).unwrap_or_default())
    }
}

impl Outer {
    fn say(&mut self, done: &Result<Report, Failure>) {
        if let Some(trace) = &mut self.trace {
            trace.push(match done {
                Ok(report) => format!("    {}", report.to_line()),
                Err(failure) => format!("    {}: {failure}", failure.kind.code()),
            });
        }
    }
}

/// A decision's own exit codes; 2, 70 and 78 are none of a run's with a good set-up.
const CODES: [u8; 7] = [0, 65, 69, 74, 75, 76, 77];
const ORDER: &str = "/api/v3/order";
/// 2026-03-02T10:00:10Z.
const BEGIN: i64 = 1_772_445_610_000;
