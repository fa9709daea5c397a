//! What the exchange knows: its clock, an account, its orders and trades, and what was asked of it.

use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::chaos::{Chaos, Luck};
use super::dumps::{self, Dumps};
use super::fault::{self, Execute, Fault, Reply, Rule};
use super::http::Response;
use super::limits::Limits;
use super::market::{Candle, Recording, Symbol, decimal};
use super::orders::{Late, Order, Trade};

/// How an exchange begins.
pub struct Setup {
    /// How long a candle lasts.
    pub interval_ms: i64,
    /// What the account holds.
    pub balances: Vec<(&'static str, &'static str)>,
    /// The taker fee.
    pub fee_bps: &'static str,
    /// For whatever is drawn.
    pub seed: u64,
    /// Where the key is of this kind, instead of the secret.
    pub ed25519: Option<Vec<u8>>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            interval_ms: 60_000,
            balances: vec![("USDT", "1000"), ("BTC", "0.25"), ("ETH", "2"), ("BNB", "0")],
            fee_bps: "10",
            seed: 1,
            ed25519: None,
        }
    }
}

/// What an account holds of one asset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Balance {
    pub free: Decimal,
    pub locked: Decimal,
}

/// In what a fee is paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeeAsset {
    /// In what is received.
    Received,
    /// In BNB, as long as there is any; then in what is received.
    Bnb,
    /// The first fill in BNB, the others in what is received.
    Mixed,
    /// There is none, as on the testnet.
    Nothing,
    /// In the quote asset, whatever is received.
    Quote,
    /// In the base asset, whatever is received.
    Base,
}

/// How old what an endpoint shows may be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lag {
    /// It is up to date.
    #[default]
    None,
    /// What happened shows so many milliseconds later.
    Millis(i64),
    /// What happened shows after the endpoint was asked so often.
    Queries(u64),
    /// Every other question is answered by a replica that is so old.
    Flapping(i64),
}

/// The lag of each endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Lags {
    pub order: Lag,
    pub open_orders: Lag,
    pub all_orders: Lag,
    pub my_trades: Lag,
    pub account: Lag,
}

impl Lags {
    /// The same for all.
    pub fn all(lag: Lag) -> Self {
        Self { order: lag, open_orders: lag, all_orders: lag, my_trades: lag, account: lag }
    }
}

/// One request as it came in.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub query: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Asked {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// One request, and what the exchange knew and did.
#[derive(Clone, Debug)]
pub struct Logged {
    pub asked: Asked,
    /// The exchange's time.
    pub at: i64,
    /// How many orders had been executed before.
    pub executed_before: usize,
    /// What went wrong with it.
    pub fault: Option<Fault>,
    /// The status of the answer, whatever became of it on the way.
    pub status: u16,
    /// The order that it made.
    pub order_id: Option<u64>,
    pub weight: u64,
}

/// An event: when it happened, and how often each endpoint had been asked by then.
#[derive(Clone, Debug, Default)]
pub(super) struct Stamp {
    pub(super) at: i64,
    pub(super) asked: BTreeMap<&'static str, u64>,
}

/// What the exchange knows.
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of a test's")]
pub struct World {
    pub offset_ms: i64,
    /// How much faster than this machine's its clock runs, in millionths.
    pub drift_ppm: i64,
    /// By how many milliseconds the clock of an endpoint differs; the engine's is called `engine`.
    pub skews: BTreeMap<&'static str, i64>,
    /// How long an order is on its way from the receipt to where it is forwarded, and from there to the engine. It takes
    /// no time; the windows are checked as if it had.
    pub forward_ms: i64,
    pub broker_ms: i64,
    /// Whether answers have a `Date`.
    pub has_date: bool,
    pub uid: u64,
    pub can_trade: bool,
    pub key: String,
    pub secret: String,
    pub ed25519: Option<Vec<u8>>,
    pub key_is_good: bool,
    pub key_may_trade: bool,
    pub key_may_read: bool,
    /// Whether the key is used from an address that it is restricted to.
    pub address_is_good: bool,
    /// Whether the client asks from a country that is not served.
    pub is_restricted: bool,
    /// What `apiRestrictions` says; `None` where there is no such endpoint.
    pub restrictions: Option<Value>,
    pub symbols: BTreeMap<String, Symbol>,
    /// Candles of past months, as files.
    pub dumps: Dumps,
    pub balances: BTreeMap<String, Balance>,
    pub orders: Vec<Order>,
    pub trades: Vec<Trade>,
    pub fee_bps: Decimal,
    pub fee_asset: FeeAsset,
    pub lag: Lags,
    pub rules: Vec<Rule>,
    pub log: Vec<Logged>,
    /// Texts that Telegram took.
    pub messages: Vec<String>,
    /// Paths that the health check was called with.
    pub pings: Vec<String>,
    /// Weight that an address may use in a minute.
    pub weight_limit: u64,
    /// Unfilled orders that an account may have sent in ten seconds and in a day.
    pub order_limits: [u64; 2],
    /// What goes wrong by chance, where no rule says what.
    pub chaos: Option<Chaos>,
    /// Whether to print what happens.
    pub talks: bool,
    pub(super) interval_ms: i64,
    pub(super) initial: BTreeMap<String, Decimal>,
    pub(super) moved: BTreeMap<String, Decimal>,
    pub(super) late: Vec<Late>,
    pub(super) next_order: u64,
    pub(super) next_trade: u64,
    pub(super) counts: BTreeMap<&'static str, u64>,
    pub(super) history: Vec<(Stamp, BTreeMap<String, Balance>)>,
    pub(super) limits: Limits,
    stopped: Option<i64>,
    began: i64,
    luck: Luck,
}

impl World {
    pub fn new(setup: Setup) -> Self {
        let symbol = |base: &str, tick: &str, step: &str| {
            let symbol = Symbol::new(base, "USDT", tick, step);
            (symbol.code(), symbol)
        };
        let symbols = BTreeMap::from([
            symbol("BTC", "0.01", "0.00001"),
            symbol("ETH", "0.01", "0.0001"),
            symbol("BNB", "0.01", "0.001"),
        ]);
        let initial: BTreeMap<String, Decimal> = setup
            .balances
            .iter()
            .map(|(asset, free)| ((*asset).to_owned(), decimal(free)))
            .collect();
        let balance = |(asset, free): (&String, &Decimal)| {
            (asset.clone(), Balance { free: *free, locked: Decimal::ZERO })
        };
        let balances: BTreeMap<String, Balance> = initial.iter().map(balance).collect();
        Self {
            offset_ms: 0,
            drift_ppm: 0,
            skews: BTreeMap::new(),
            forward_ms: 0,
            broker_ms: 0,
            has_date: true,
            uid: 354_937_868,
            can_trade: true,
            key: "simulated-key-0000000000000000000000000000000000000000000000000".to_owned(),
            secret: "simulated-secret-0000000000000000000000000000000000000000000000".to_owned(),
            ed25519: setup.ed25519,
            key_is_good: true,
            key_may_trade: true,
            key_may_read: true,
            address_is_good: true,
            is_restricted: false,
            restrictions: Some(json!({
                "ipRestrict": true, "createTime": 1_784_545_207_000_u64, "enableReading": true,
                "enableWithdrawals": false, "enableInternalTransfer": false, "enableMargin": false,
                "enableFutures": false, "permitsUniversalTransfer": false, "enableVanillaOptions": false,
                "enableFixApiTrade": false, "enableFixReadOnly": false, "enableSpotAndMarginTrading": true,
                "enablePortfolioMarginTrading": false,
            })),
            symbols,
            dumps: Dumps::default(),
            history: vec![(Stamp { at: i64::MIN, asked: BTreeMap::new() }, balances.clone())],
            balances,
            initial,
            orders: Vec::new(),
            trades: Vec::new(),
            fee_bps: decimal(setup.fee_bps),
            fee_asset: FeeAsset::Received,
            lag: Lags::default(),
            rules: Vec::new(),
            log: Vec::new(),
            messages: Vec::new(),
            pings: Vec::new(),
            weight_limit: 6000,
            order_limits: [100, 200_000],
            chaos: None,
            talks: false,
            interval_ms: setup.interval_ms,
            moved: BTreeMap::new(),
            late: Vec::new(),
            next_order: FIRST_ORDER,
            next_trade: FIRST_TRADE,
            counts: BTreeMap::new(),
            limits: Limits::default(),
            stopped: None,
            began: machine_now(),
            luck: Luck(setup.seed),
        }
    }

    /// The exchange's time.
    pub fn now(&self) -> i64 {
        let now = self.stopped.unwrap_or_else(machine_now);
        now + self.offset_ms + (now - self.began) * self.drift_ppm / 1_000_000
    }

    /// The time by the clock of an endpoint.
    pub(super) fn now_at(&self, endpoint: &str) -> i64 {
        self.now() + self.skews.get(endpoint).copied().unwrap_or(0)
    }

    /// Stops the clock: from now on only a test moves it.
    pub fn stop_clock(&mut self) {
        self.stopped = Some(machine_now());
    }

    /// Sets the clock to this instant.
    pub fn set_now(&mut self, at: i64) {
        self.offset_ms += at - self.now();
    }

    /// A number below `bound`, the same for the same seed and the same questions before.
    pub fn random(&mut self, bound: u64) -> u64 {
        self.luck.below(bound)
    }

    /// Candles whose closes have these ratios; the last of them is the newest that has ended.
    pub fn set_spreads(&mut self, spreads: &[&str]) {
        let newest = self.now() / self.interval_ms * self.interval_ms;
        let count = i64::try_from(spreads.len()).expect("few");
        let start = newest - count * self.interval_ms;
        for (code, price) in [("BTCUSDT", None), ("ETHUSDT", Some(Decimal::from(3000)))] {
            let close =
                |spread: &&str| price.unwrap_or_else(|| decimal(spread) * Decimal::from(3000));
            let mut rows: Vec<Candle> = spreads.iter().map(close).map(Candle::flat).collect();
            // The one that is forming says what the newest said.
            rows.extend(rows.last().copied());
            self.symbol(code).candles = Recording { start, interval: self.interval_ms, rows };
        }
    }

    /// Lets the newest candle end with this ratio: the clock goes to ten seconds after its end.
    pub fn close_candle(&mut self, spread: &str) {
        let end = (self.now() / self.interval_ms + 1) * self.interval_ms;
        self.set_now(end + 10_000);
        for (code, price) in [("BTCUSDT", None), ("ETHUSDT", Some(Decimal::from(3000)))] {
            let close = price.unwrap_or_else(|| decimal(spread) * Decimal::from(3000));
            let candles = &mut self.symbol(code).candles;
            let ended = usize::try_from((end - candles.start) / candles.interval).expect("later");
            candles.rows.resize(ended.max(1) - 1, Candle::flat(close));
            candles.rows.extend([Candle::flat(close); 2]);
        }
    }

    /// One symbol.
    pub fn symbol(&mut self, code: &str) -> &mut Symbol {
        self.symbols.get_mut(code).unwrap_or_else(|| panic!("no symbol {code}"))
    }

    /// What is free of an asset.
    pub fn free(&self, asset: &str) -> Decimal {
        self.balances.get(asset).map(|balance| balance.free).unwrap_or_default()
    }

    /// The owner's own doing: a deposit, or, below zero, a withdrawal.
    pub fn deposit(&mut self, asset: &str, amount: &str) {
        let amount = decimal(amount);
        *self.moved.entry(asset.to_owned()).or_default() += amount;
        self.balances.entry(asset.to_owned()).or_default().free += amount;
        self.remember_balances();
    }

    /// How many orders of this client id were executed, in part or in full.
    pub fn executed(&self, client_order_id: &str) -> usize {
        let ours = |order: &&Order| order.client_order_id == client_order_id;
        self.orders.iter().filter(ours).filter(|order| !order.executed.is_zero()).count()
    }

    /// How many sales were executed, in part or in full.
    pub fn executed_sales(&self) -> usize {
        self.orders.iter().filter(|order| !order.is_buy && !order.executed.is_zero()).count()
    }

    /// Requests for an order that came in.
    pub fn posts(&self) -> usize {
        let is_order = |logged: &&Logged| {
            logged.asked.method == "POST" && logged.asked.path == "/api/v3/order"
        };
        self.log.iter().filter(is_order).count()
    }

    /// Whether every coin is accounted for: what was there, what the owner moved, and the trades.
    pub fn conservation(&self) -> Result<(), String> {
        let mut expected = self.initial.clone();
        for (asset, amount) in &self.moved {
            *expected.entry(asset.clone()).or_default() += *amount;
        }
        for trade in &self.trades {
            let symbol = &self.symbols[&trade.symbol];
            let sign = if trade.is_buy { Decimal::ONE } else { -Decimal::ONE };
            *expected.entry(symbol.base.clone()).or_default() += sign * trade.quantity;
            *expected.entry(symbol.quote.clone()).or_default() -= sign * trade.quote;
            *expected.entry(trade.fee_asset.clone()).or_default() -= trade.fee;
        }
        for (asset, expected) in expected {
            let balance = self.balances.get(&asset).copied().unwrap_or_default();
            if balance.free + balance.locked != expected || balance.free < Decimal::ZERO {
                return Err(format!("{asset}: {balance:?}, but {expected} is accounted for"));
            }
        }
        Ok(())
    }

    pub(super) fn remember_balances(&mut self) {
        let stamp = self.stamp();
        self.history.push((stamp, self.balances.clone()));
    }

    pub(super) fn stamp(&self) -> Stamp {
        Stamp { at: self.now(), asked: self.counts.clone() }
    }

    /// Whether what happened then shows at this endpoint.
    pub(super) fn shows(&self, stamp: &Stamp, endpoint: &'static str, lag: Lag) -> bool {
        let asked = self.counts.get(endpoint).copied().unwrap_or(0);
        if stamp.at == i64::MIN {
            return true; // How the account began.
        }
        match lag {
            Lag::None => true,
            Lag::Millis(millis) => self.now() >= stamp.at.saturating_add(millis),
            Lag::Queries(count) => asked > stamp.asked.get(endpoint).copied().unwrap_or(0) + count,
            Lag::Flapping(millis) => {
                asked.is_multiple_of(2) || self.now() >= stamp.at.saturating_add(millis)
            }
        }
    }

    /// What the testnet does once a month: orders, trades and balances are gone, keys and candles stay.
    pub fn wipe(&mut self) {
        let balance = |(asset, free): (&String, &Decimal)| {
            (asset.clone(), Balance { free: *free, locked: Decimal::ZERO })
        };
        self.balances = self.initial.iter().map(balance).collect();
        self.moved.clear();
        self.orders.clear();
        self.trades.clear();
        self.late.clear();
        (self.next_order, self.next_trade) = (FIRST_ORDER, FIRST_TRADE);
        self.history = vec![(Stamp { at: i64::MIN, ..Stamp::default() }, self.balances.clone())];
    }

    /// Takes a symbol out of trading: in `BREAK` and `CANCEL_ONLY` no candle begins any more.
    pub fn close_market(&mut self, code: &str, status: &str) {
        let now = self.now();
        let symbol = self.symbol(code);
        status.clone_into(&mut symbol.status);
        symbol.candles_end = matches!(status, "BREAK" | "CANCEL_ONLY").then_some(now);
    }

    /// Back to trading; the candles that did not begin in between are never made up for.
    pub fn open_market(&mut self, code: &str) {
        let now = self.now();
        let symbol = self.symbol(code);
        "TRADING".clone_into(&mut symbol.status);
        if let Some(end) = symbol.candles_end.take() {
            let interval = symbol.candles.interval;
            let first = end / interval * interval + interval;
            symbol.gaps.extend((0..).map(|n| first + n * interval).take_while(|at| *at <= now));
        }
    }

    /// Answers a request, and says how.
    pub fn answer(&mut self, asked: Asked) -> (Response, Reply) {
        self.execute_late();
        self.fill_resting();
        let fault = self.next_fault(&asked);
        let (execute, reply) = match &fault {
            Some(fault) => (fault.execute, fault.reply.clone()),
            None => (Execute::Now, Reply::Good),
        };
        let executed_before = self.orders.len();
        let at = self.now();
        let is_api = asked.path.starts_with("/api/") || asked.path.starts_with("/sapi/");
        let parameters = super::sign::parameters(&asked);
        let mut weight = super::answers::weight(&asked, &parameters);
        let refused = if is_api { self.refused_at_the_edge(weight) } else { None };
        let was_limited = refused.is_some();
        let file = dumps::file(self, &asked.path);
        let (status, body) = match (refused, &file) {
            (Some(refused), _) => refused,
            (None, Some(_)) => (200, Value::Null),
            (None, None) => super::answers::answer(self, &asked, &parameters, execute),
        };
        let is_order = asked.path == "/api/v3/order" && matches!(&*asked.method, "POST" | "DELETE");
        if is_order && status == 200 {
            // An order that was placed weighs nothing, since 2026-04-02.
            self.limits.give_back(weight);
            weight = 0;
        }
        let made = self.orders.get(executed_before..).and_then(|new| new.last());
        let order_id = made.map(|order| order.order_id);
        let mut headers =
            vec![("Content-Type".to_owned(), "application/json;charset=UTF-8".to_owned())];
        if is_api {
            let is_new = is_order && asked.method == "POST" && status == 200;
            headers.extend(self.limits.headers(at, status, was_limited, is_new));
        }
        if self.has_date {
            headers.push(("Date".to_owned(), http_date(at)));
        }
        self.log.push(Logged { asked, at, executed_before, fault, status, order_id, weight });
        (Response { status, headers, body, file }, reply)
    }

    /// What goes wrong with this request: by a rule, else by chance.
    fn next_fault(&mut self, asked: &Asked) -> Option<Fault> {
        let by_rule = fault::next(&mut self.rules, &asked.method, &asked.path);
        let is_order = asked.method == "POST" && asked.path == "/api/v3/order";
        let Some(chaos) = &mut self.chaos else { return by_rule };
        let symbol = super::sign::parameters(asked).into_iter().find(|(name, _)| name == "symbol");
        let symbol = symbol.map(|(_, code)| code).unwrap_or_default();
        let path = if asked.path.starts_with("/bot") { "/bot" } else { &asked.path };
        let question = format!("{} {path} {symbol}", asked.method);
        let (by_chance, lags) = chaos.draw(&question, is_order);
        if let Some(lags) = lags {
            self.lag = lags;
        }
        if let Some(Fault { execute, reply }) = &by_chance
            && by_rule.is_none()
            && self.talks
        {
            let fate = if is_order { format!("  executed: {execute:?}") } else { String::new() };
            println!("fault    {} {path}: {reply:?}{fate}", asked.method);
        }
        by_rule.or(by_chance)
    }
}

fn machine_now() -> i64 {
    #[expect(clippy::disallowed_methods, reason = "an exchange has a clock of its own")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("past 1970");
    i64::try_from(since.as_millis()).expect("before the year 292 million")
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(ms: i64) -> String {
    let at = jiff::Timestamp::from_millisecond(ms).expect("in jiff's range");
    at.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

const FIRST_ORDER: u64 = 48_230_011_223;
const FIRST_TRADE: u64 = 5_123_456_701;
