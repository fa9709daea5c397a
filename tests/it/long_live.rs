//! Weeks of live trading in bad weather: the real binary against the simulated exchange, with everything that can go
//! wrong drawn from a seed. After every run each coin is accounted for to the last digit; at the end the weather clears,
//! what is open must settle within three runs, and an exit must leave nothing held.
//!
//! A seed that fails is repeated with the line that it prints. The same seed makes the same fills, but for those that kill
//! the program by the clock: their line has a `~`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use rust_decimal::Decimal;
use rustix::process::Signal;
use serde_json::Value;

use crate::exchange::{Candle, Execute, Fault, FeeAsset, Lag, Lags, On, Reply, Rule, Setup, World};
use crate::support::clock::{self, HOUR, MINUTE, SECOND};
use crate::support::dice::Dice;
use crate::support::folder::check_invariants;
use crate::support::live::Live;
use crate::support::table::decimal;

#[test]
fn long_live_in_short_every_coin_is_accounted_for_in_any_weather() {
    survive(&[(101, 100), (102, 100), (103, 100)], 3);
}

#[test]
#[ignore = "takes some minutes; .ci/run runs it"]
fn long_live_every_coin_is_accounted_for_in_any_weather() {
    survive(&ask_for_seeds(250), 4);
}

#[test]
#[ignore = "takes ten minutes; tests/assurance runs it"]
fn long_live_ten_thousand_candles_in_full() {
    survive(&ask_for_seeds(1250), 4);
}

/// As many candles as a month has quarters of an hour, one after the other in one book: what that leaves on the disk and
/// asks of the exchange.
#[test]
#[ignore = "takes minutes; tests/assurance runs it"]
fn long_live_a_month_of_quarters_in_full() {
    let begin = clock::instant();
    let mut weeks = Weeks::begin(5);
    for _ in 0..2_976 {
        weeks.candle();
    }
    weeks.clear_up();
    let live = weeks.live.folder();
    let kib = |name: &str| fs::metadata(live.join(name)).map_or(0, |meta| meta.len() / 1024);
    let logs: u64 = fs::read_dir(weeks.live.state().join("logs"))
        .expect("a folder")
        .map(|entry| entry.expect("an entry").metadata().expect("its size").len() / 1024)
        .sum();
    println!("{}", weeks.tally.line());
    println!(
        "figures: month candles=2976 runs={} requests={} orders={} executed={} faults={} kills={} journal-kib={} state-kib={} \
         outside-kib={} logs-kib={logs} violations=0 seconds={}",
        weeks.tally.runs,
        weeks.tally.requests,
        weeks.tally.orders,
        weeks.tally.executed,
        weeks.tally.faults.values().sum::<usize>(),
        weeks.tally.kills,
        kib("journal.jsonl"),
        kib("state.json"),
        kib("outside.json"),
        begin.elapsed().as_secs()
    );
}

/// Seeds and how many candles each lasts; `LONG_LIVE=SEED:CANDLES,...` names others.
#[allow(clippy::disallowed_methods, reason = "how a person repeats one seed")]
fn ask_for_seeds(candles: usize) -> Vec<(u64, usize)> {
    let Ok(wanted) = std::env::var("LONG_LIVE") else {
        return (1..=8).map(|seed| (seed, candles)).collect();
    };
    let number = |text: &str| text.parse::<u64>().expect("LONG_LIVE=SEED:CANDLES,...");
    let one = |text: &str| {
        let (seed, candles) = text.split_once(':').unwrap_or((text, "1250"));
        (number(seed), usize::try_from(number(candles)).expect("few"))
    };
    wanted.split(',').map(one).collect()
}

/// Lives through all of them, a few at a time, and says what they saw.
fn survive(seeds: &[(u64, usize)], threads: usize) {
    let begin = clock::instant();
    let waiting = Mutex::new(seeds.iter().rev().copied().collect::<Vec<_>>());
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().expect("no panic while it is held").pop();
                    let Some((seed, candles)) = next else { break };
                    let seen = catch_unwind(AssertUnwindSafe(|| Weeks::begin(seed).live_through(candles)));
                    let again = format!(
                        "LONG_LIVE={seed}:{candles} cargo test --test it -- --ignored --nocapture long_live_every"
                    );
                    let seen = seen.map_err(|panic| {
                        let text = panic.downcast_ref::<String>().cloned();
                        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
                        format!("{}\nagain: {again}", text.unwrap_or_default())
                    });
                    done.lock().expect("no panic while it is held").push((seed, seen));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no panic while it is held");
    done.sort_by_key(|(seed, _)| *seed);
    let mut all = Tally::default();
    let mut broken = Vec::new();
    for (seed, seen) in done {
        match seen {
            Ok(tally) => {
                println!("seed {seed:>3}: {}", tally.line());
                all.add(&tally);
            }
            Err(why) => broken.push(format!("seed {seed}: {why}")),
        }
    }
    println!("all     : {}", all.line());
    println!("codes   : {:?}", all.codes);
    for (fault, count) in &all.faults {
        println!("{count:>8}  {fault}");
    }
    println!(
        "figures: long-live seeds={} candles={} runs={} orders={} executed={} faults={} kills={} left-open={} violations={} \
         seconds={}",
        seeds.len(),
        all.candles,
        all.runs,
        all.orders,
        all.executed,
        all.faults.values().sum::<usize>(),
        all.kills,
        all.intents_left,
        broken.len(),
        begin.elapsed().as_secs()
    );
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

/// What was seen.
#[derive(Default)]
struct Tally {
    candles: usize,
    runs: usize,
    orders: usize,
    executed: usize,
    kills: usize,
    intents_left: usize,
    halts: usize,
    words: usize,
    owner: usize,
    requests: usize,
    most_requests: usize,
    most_weight: u64,
    /// Runs and exchange's time for which an order was open.
    longest: (usize, i64),
    faults: BTreeMap<String, usize>,
    codes: BTreeMap<i32, usize>,
    fills: Hash,
    is_repeatable: bool,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.candles += other.candles;
        self.runs += other.runs;
        self.orders += other.orders;
        self.executed += other.executed;
        self.kills += other.kills;
        self.intents_left += other.intents_left;
        self.halts += other.halts;
        self.words += other.words;
        self.owner += other.owner;
        self.requests += other.requests;
        self.most_requests = self.most_requests.max(other.most_requests);
        self.most_weight = self.most_weight.max(other.most_weight);
        self.longest.0 = self.longest.0.max(other.longest.0);
        self.longest.1 = self.longest.1.max(other.longest.1);
        for (fault, count) in &other.faults {
            *self.faults.entry(fault.clone()).or_default() += count;
        }
        for (code, count) in &other.codes {
            *self.codes.entry(*code).or_default() += count;
        }
        self.fills.number(other.fills.0);
        self.is_repeatable = false;
    }

    fn line(&self) -> String {
        format!(
            "{} candles, {} runs, {} orders sent ({} executed), {} faults, {} kills, {} intents left open, {} halts \
             ({} by a person's word), {} doings of the owner's, longest open {} runs or {} min, at most {} requests and \
             weight {} a run, fills {:016x}{}",
            self.candles,
            self.runs,
            self.orders,
            self.executed,
            self.faults.values().sum::<usize>(),
            self.kills,
            self.intents_left,
            self.halts,
            self.words,
            self.owner,
            self.longest.0,
            self.longest.1 / MINUTE,
            self.most_requests,
            self.most_weight,
            self.fills.0,
            if self.is_repeatable { "" } else { " ~" },
        )
    }
}

/// FNV-1a, of what was traded.
struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    fn text(&mut self, text: &str) {
        for byte in text.bytes().chain([b'\n']) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.text(&number.to_string());
    }
}

/// How a run is killed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kill {
    /// When the exchange has got the request that it holds back.
    AtRequest,
    /// So many microseconds after its start.
    ByTheClock(u64),
}

/// What the book says, as far as money is concerned.
#[derive(Clone, Debug, Default)]
struct Book {
    coins: [Decimal; 2],
    quote: Decimal,
    in_bnb: Decimal,
    pending: Option<String>,
    pending_leg: usize,
    halted_by: Option<String>,
    halt_reason: String,
    is_flat: bool,
    next_message: u64,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Weeks {
    seed: u64,
    dice: Dice,
    live: Live,
    slippage: Option<&'static str>,
    kills_by_the_clock: bool,
    /// What the account would hold without the program.
    own: BTreeMap<&'static str, Decimal>,
    /// Until when the exchange wants no request.
    banned_until: i64,
    /// Ratio less 20, and ETH's price in cents.
    walk: (i64, i64),
    halted_candles: u64,
    orders_seen: usize,
    taken_ids: BTreeSet<String>,
    entered: BTreeSet<String>,
    /// Since when an order is open: its id, runs, the exchange's time.
    open: Option<(String, usize, i64)>,
    /// Whether the owner moved what an open order's balances are judged by.
    is_confounded: bool,
    /// Whose balance the owner moved since the last candle's end, while the account may show what was before.
    moved_leg: Option<usize>,
    account_lags: bool,
    /// Whether the last run took so long that its clock, ten times as fast, may have ended its patience.
    was_slow: bool,
    book: Book,
    tally: Tally,
    trace: VecDeque<String>,
    /// The end of the trace when the open order began.
    opening: Vec<String>,
}

const ASSETS: [&str; 4] = ["BTC", "ETH", "USDT", "BNB"];
const LEGS: [(&str, &str); 2] = [("BTC", "BTCUSDT"), ("ETH", "ETHUSDT")];
/// A request that is held back so long is never answered: the program is killed while it waits.
const HELD_BACK: u64 = 1_100;
const TELEGRAM: &str = "POST /bot1:simulated/sendMessage";
const CODES: [i32; 7] = [0, 65, 69, 74, 75, 76, 77];

impl Weeks {
    fn begin(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let nothing = vec![("USDT", "1000"), ("BTC", "0"), ("ETH", "0"), ("BNB", "0.01")];
        let something = vec![("USDT", "1000"), ("BTC", "0.25"), ("ETH", "2"), ("BNB", "0.01")];
        let balances = if seed.is_multiple_of(3) { nothing } else { something };
        let live = Live::upon(Setup { balances, seed, ..Setup::default() });
        let fee_asset = dice.pick(&[FeeAsset::Received, FeeAsset::Bnb, FeeAsset::Mixed]);
        let own = live.with(|world| {
            world.fee_asset = fee_asset;
            ASSETS.map(|asset| (asset, world.free(asset))).into()
        });
        let mut weeks = Self {
            seed,
            dice,
            live,
            slippage: (seed % 2 == 1).then_some("10"),
            kills_by_the_clock: seed % 4 == 3,
            own,
            banned_until: 0,
            walk: (0, 300_000),
            halted_candles: 0,
            orders_seen: 0,
            taken_ids: BTreeSet::new(),
            entered: BTreeSet::new(),
            open: None,
            is_confounded: false,
            moved_leg: None,
            account_lags: false,
            was_slow: false,
            book: Book::default(),
            tally: Tally { is_repeatable: seed % 4 != 3, ..Tally::default() },
            trace: VecDeque::new(),
            opening: Vec::new(),
        };
        let code = weeks.good_run();
        weeks.demand(code == 0, "the first run is a good one");
        weeks
    }

    fn live_through(mut self, candles: usize) -> Tally {
        for _ in 0..candles {
            self.candle();
        }
        self.clear_up();
        self.tally
    }

    /// One candle ends; what may happen in the hour after it happens.
    fn candle(&mut self) {
        self.tally.candles += 1;
        self.next_candle();
        self.person();
        let mut is_clear = !self.owner();
        is_clear &= !self.climate();
        let extra = if self.dice.one_in(5) { self.dice.between(1, 2) } else { 0 };
        for run in 0..=extra {
            if run > 0 {
                let pause = self.dice.pick(&[5, 20, 100, 120, 300]) * SECOND;
                self.live.advance(pause);
            }
            let (rules, kill) = self.weather();
            let before = self.book.clone();
            let is_silent = self.live.with(|world| world.now()) < self.banned_until + SECOND;
            let is_clear = is_clear && rules.is_empty() && kill.is_none() && !is_silent;
            let code = self.run(rules, kill);
            if is_clear && before.pending.is_none() && before.halted_by.is_none() {
                self.demand(code == 0 || self.was_slow, "a run in good weather is a good run");
            }
            if before.halted_by.is_some() {
                self.demand(matches!(code, -1 | 75 | 76 | 69 | 77), "a halt stays");
            }
        }
    }

    /// Prices walk, and now and then jump.
    fn next_candle(&mut self) {
        let (ratio, eth) = &mut self.walk;
        // Thousandths of the ratio.
        *ratio = *ratio * 7 / 10 + self.dice.between(-120, 120);
        if self.dice.one_in(5) {
            *ratio += self.dice.pick(&[-700, -400, 400, 700]);
        }
        *eth = (*eth + self.dice.between(-600, 600)).clamp(250_000, 350_000);
        let eth_close = Decimal::new(*eth, 2);
        let btc_close = (eth_close * Decimal::new(20_000 + *ratio, 3)).round_dp(2);
        self.close([btc_close, eth_close]);
    }

    fn close(&mut self, closes: [Decimal; 2]) {
        self.live.shifted(|world| {
            let end = (world.now() / HOUR + 1) * HOUR;
            world.set_now(end + 10 * SECOND);
            for ((_, code), close) in LEGS.into_iter().zip(closes) {
                let candles = &mut world.symbol(code).candles;
                let ended = usize::try_from((end - candles.start) / HOUR).expect("later");
                candles.rows.resize(ended - 1, Candle::flat(close));
                candles.rows.extend([Candle::flat(close); 2]);
                if candles.rows.len() > 300 {
                    candles.rows.drain(..150);
                    candles.start += 150 * HOUR;
                }
            }
        });
        self.note("-- candle");
    }

    /// Time in which nothing happens.
    fn hours(&mut self, hours: u32) {
        let eth = Decimal::new(self.walk.1, 2);
        for _ in 0..hours {
            self.close([eth * Decimal::from(20), eth]);
        }
    }

    /// What lasts for some runs: lags, thin books, a symbol that is not traded. Whether there is any of it.
    fn climate(&mut self) -> bool {
        let dice = &mut self.dice;
        let lag = |dice: &mut Dice| match dice.below(4) {
            0 => Lag::None,
            1 => Lag::Millis(dice.between(10, 40) * SECOND),
            2 => Lag::Queries(2),
            _ => Lag::Flapping(dice.between(10, 40) * SECOND),
        };
        // Those that are asked about both symbols at once must not depend on which comes first.
        let even =
            |dice: &mut Dice| dice.pick(&[Lag::None, Lag::Millis(30 * SECOND), Lag::Queries(2)]);
        // The program asks for the account once a run: counted in questions an old balance could last for hours.
        let seconds = |dice: &mut Dice| match lag(dice) {
            Lag::Queries(_) => Lag::None,
            lag => lag,
        };
        let lags = if dice.one_in(8) {
            Lags {
                order: lag(dice),
                open_orders: dice.pick(&[Lag::None, Lag::Millis(30 * SECOND)]),
                all_orders: even(dice),
                my_trades: lag(dice),
                account: seconds(dice),
            }
        } else {
            Lags::default()
        };
        let deep: Vec<Decimal> = [60, 60, 100_000_000].map(Decimal::from).into();
        let thin: [Vec<Decimal>; 2] = [0, 1].map(|_| {
            if !dice.one_in(10) {
                return deep.clone();
            }
            let levels = dice.between(0, 3);
            (0..levels).map(|_| Decimal::from(dice.between(8, 90))).collect()
        });
        let halts = dice.one_in(60);
        let is_over = dice.one_in(3);
        let level_ticks = dice.pick(&[1, 1, 1, 3000]);
        let behind = usize::from(dice.one_in(40));
        self.account_lags = lags.account != Lag::None;
        let is_lagging = lags.order != Lag::None
            || lags.open_orders != Lag::None
            || lags.all_orders != Lag::None
            || lags.my_trades != Lag::None
            || lags.account != Lag::None;
        let is_thin = thin.iter().any(|levels| *levels != deep);
        let is_halted = self.live.with(|world| {
            world.lag = lags;
            for ((_, code), depth) in LEGS.into_iter().zip(thin) {
                let symbol = world.symbol(code);
                (symbol.depth, symbol.level_ticks, symbol.behind) = (depth, level_ticks, behind);
                if halts {
                    "HALT".clone_into(&mut symbol.status);
                } else if is_over {
                    "TRADING".clone_into(&mut symbol.status);
                }
            }
            LEGS.into_iter().any(|(_, code)| world.symbol(code).status != "TRADING")
        });
        let mut count = |what: &str, is_on: bool| {
            if is_on {
                *self.tally.faults.entry(format!("a candle of {what}")).or_default() += 1;
            }
        };
        count("lagging replicas", is_lagging);
        count("thin books", is_thin);
        count("a halted symbol", is_halted);
        count("candles that come late", behind > 0);
        if is_lagging || is_thin || is_halted || behind > 0 {
            let text =
                format!("climate: {lags:?} thin {is_thin} halted {is_halted} behind {behind}");
            self.note(&text);
            return true;
        }
        false
    }

    /// What goes wrong in one run.
    fn weather(&mut self) -> (Vec<Rule>, Option<Kill>) {
        let dice = &mut self.dice;
        let mut rules = Vec::new();
        let mut kill = None;
        if dice.one_in(20) {
            if self.kills_by_the_clock {
                return (rules, Some(Kill::ByTheClock(dice.below(150_000))));
            }
            kill = Some(Kill::AtRequest);
            let on = match dice.below(4) {
                0 | 1 => On::Order,
                2 => On::Path(TELEGRAM),
                _ => On::Path(dice.pick(&QUESTIONS)),
            };
            let execute = dice.pick(&[Execute::Now, Execute::Never]);
            let skip = usize::from(dice.one_in(4) && on != On::Order);
            let fault = Fault { execute, reply: Reply::Delay(HELD_BACK) };
            rules.push(Rule { on, skip, count: 1, fault });
        }
        if dice.one_in(2) && kill.is_none() {
            let (execute, reply) = order_fault(dice);
            rules.push(Rule::order(execute, reply));
        }
        if dice.one_in(6) {
            let reply = question_fault(dice);
            let on = On::Path(dice.pick(&QUESTIONS));
            let skip = usize::from(dice.one_in(4));
            let fault = Fault { execute: Execute::Now, reply };
            rules.push(Rule { on, skip, count: 1, fault });
        }
        if dice.one_in(15) {
            let silence = Reply::Status(
                429,
                r#"{"ok":false,"error_code":429,"parameters":{"retry_after":40}}"#.to_owned(),
            );
            let reply = dice.pick(&[
                Reply::Reset,
                Reply::Html(502),
                Reply::Empty,
                silence,
                Reply::Html(403),
            ]);
            let fault = Fault { execute: Execute::Now, reply };
            rules.push(Rule { on: On::Path(TELEGRAM), skip: 0, count: 2, fault });
        }
        (rules, kill)
    }

    /// The owner trades, deposits and withdraws what is the owner's. Whether anything was done.
    fn owner(&mut self) -> bool {
        if self.book.pending.is_none()
            && self.live.with(|world| world.free("USDT")) < Decimal::from(320)
        {
            self.owners("a deposit of 500 USDT", |world| world.deposit("USDT", "500"));
        }
        self.moved_leg = None;
        if !self.dice.one_in(12) {
            return false;
        }
        self.tally.owner += 1;
        let leg = usize::try_from(self.dice.below(2)).expect("0 or 1");
        let (asset, code) = LEGS[leg];
        self.moved_leg = Some(leg);
        let step = if leg == 0 { 5 } else { 4 };
        let some = Decimal::new(self.dice.between(20, 400), step);
        let is_trading = self.live.with(|world| world.symbol(code).status == "TRADING");
        match self.dice.below(6) {
            0 if is_trading => {
                self.owners(&format!("buys {some} {asset}"), |world| {
                    world.foreign_order(code, true, &some.to_string());
                });
            }
            1 if is_trading && self.own[asset] >= some => {
                self.owners(&format!("sells {some} {asset}"), |world| {
                    world.foreign_order(code, false, &some.to_string());
                });
            }
            2 => {
                self.is_confounded |= self.book.pending.is_some() && self.book.pending_leg == leg;
                self.owners(&format!("deposits {some} {asset}"), |world| {
                    world.deposit(asset, &some.to_string());
                });
            }
            3 if self.own[asset] >= some => {
                self.is_confounded |= self.book.pending.is_some() && self.book.pending_leg == leg;
                self.owners(&format!("withdraws {some} {asset}"), |world| {
                    world.deposit(asset, &(-some).to_string());
                });
            }
            4 => self.owners("buys BNB", |world| world.foreign_order("BNBUSDT", true, "0.010")),
            _ => self.owners("deposits USDT", |world| world.deposit("USDT", "7.5")),
        }
        true
    }

    fn owners(&mut self, what: &str, deed: impl FnOnce(&mut World)) {
        let moved = self.live.with(|world| {
            let before = ASSETS.map(|asset| world.free(asset));
            deed(world);
            let moved = ASSETS.into_iter().zip(before);
            moved.map(|(asset, before)| (asset, world.free(asset) - before)).collect::<Vec<_>>()
        });
        for (asset, moved) in moved {
            *self.own.get_mut(asset).expect("all four") += moved;
        }
        self.note(&format!("owner: {what}"));
    }

    /// Somebody looks at a halt after some hours, and lifts it.
    fn person(&mut self) {
        let Some(by) = self.book.halted_by.clone() else {
            self.halted_candles = 0;
            return;
        };
        self.halted_candles += 1;
        if self.halted_candles == 1 {
            self.tally.halts += 1;
            let reason: String =
                self.book.halt_reason.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
            *self.tally.faults.entry(format!("halt: {reason}")).or_default() += 1;
        }
        if self.halted_candles < 1 + self.dice.below(3) {
            return;
        }
        self.demand(by == "program", "only the program halts here");
        self.resume();
    }

    fn resume(&mut self) {
        let mut words = vec!["resume".to_owned()];
        if let Some(id) = self.book.pending.clone() {
            // A person looks at the exchange's own list.
            if self.live.with(|world| world.executed(&id)) == 0 {
                self.demand(
                    self.is_confounded,
                    "without the owner's doing no person is needed to settle",
                );
                self.tally.words += 1;
                words.extend(["--not-executed".to_owned(), id]);
            }
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let outcome = self.live.command(&words).unchecked().start().wait();
        self.note(&format!("{words:?}: {}", outcome.code));
        self.demand(outcome.code == 0, &outcome.transcript());
        self.halted_candles = 0;
        self.look();
    }

    /// One start, killed perhaps, and everything that must hold after it.
    fn run(&mut self, rules: Vec<Rule>, kill: Option<Kill>) -> i32 {
        self.live.with(|world| {
            world.rules = rules;
            world.log.clear();
        });
        let url = self.live.exchange.url();
        let run = self.live.command(&["--json"]).unchecked();
        let run = run.env("TELEGRAM_API_URL", url).env("TELEGRAM_BOT_TOKEN", "1:simulated");
        let run = run.env("TELEGRAM_CHAT_ID", "42").env("TRADE_AMOUNT_USDT", "100");
        let run = match self.slippage {
            Some(bps) => run.env("MAX_SLIPPAGE_BPS", bps),
            None => run,
        };
        let mut running = run.start();
        let mut is_killed = false;
        match kill {
            None => {}
            Some(Kill::ByTheClock(micros)) => {
                thread::sleep(Duration::from_micros(micros));
                is_killed = !running.has_ended();
            }
            Some(Kill::AtRequest) => {
                let is_held = |fault: &Fault| matches!(fault.reply, Reply::Delay(HELD_BACK));
                while !is_killed && !running.has_ended() {
                    is_killed = self.live.with(|world| {
                        world.log.iter().any(|logged| logged.fault.as_ref().is_some_and(is_held))
                    });
                    thread::sleep(Duration::from_millis(1));
                }
            }
        }
        if is_killed {
            running.signal(Signal::KILL);
            self.tally.kills += 1;
        }
        let outcome = running.wait();
        self.tally.runs += 1;
        *self.tally.codes.entry(outcome.code).or_default() += 1;
        let said: String = match outcome.code {
            0 => serde_json::from_str::<Value>(&outcome.stdout)
                .map(|told| format!("{} ({})", told["action"], told["why"]))
                .unwrap_or_default(),
            _ => outcome.stdout.clone(),
        };
        let took = outcome.took.as_millis();
        self.was_slow = took > 800;
        self.note(&format!(
            "run {}, {took} ms: {}, {}",
            self.tally.runs,
            outcome.code,
            said.trim()
        ));
        self.demand(is_killed || CODES.contains(&outcome.code), "a code of the contract");
        self.check_requests(is_killed);
        self.look();
        outcome.code
    }

    /// What was asked in this run: not too much, not in a ban, and at most one order.
    fn check_requests(&mut self, is_killed: bool) {
        let log = self.live.with(|world| {
            world.rules.clear();
            std::mem::take(&mut world.log)
        });
        let mut asked: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut posts, mut requests, mut weight) = (0, 0, 0);
        let mut is_new = false;
        for logged in &log {
            let path = logged.asked.path.as_str();
            let is_order = logged.asked.method == "POST" && path == "/api/v3/order";
            if let Some(fault) = &logged.fault {
                let what = if is_order {
                    format!("order {}: {:?}", executed(fault.execute), fault.reply)
                } else if path.starts_with("/bot") {
                    format!("Telegram: {:?}", fault.reply)
                } else {
                    format!("question: {:?}", fault.reply)
                };
                self.note(&format!("   {} {path}: {what}", logged.asked.method));
                *self.tally.faults.entry(what).or_default() += 1;
            }
            if path.starts_with("/bot") {
                continue;
            }
            (requests, weight) = (requests + 1, weight + logged.weight);
            posts += usize::from(is_order);
            let count = asked.entry(path).or_default();
            *count += 1;
            // Questions that go out together are under way when the first of them is refused.
            let is_under_way =
                is_new && BURST.iter().any(|(known, most)| *known == path && *count <= *most);
            if logged.at < self.banned_until && !is_under_way {
                self.fail(&format!(
                    "{path} was asked {} ms before a ban's end",
                    self.banned_until - logged.at
                ));
            }
            // Of what a killed run was told nobody knows.
            if let Some(Fault { reply: Reply::Silence(_, Some(after), _), .. }) = &logged.fault
                && !is_killed
            {
                let until = logged.at + after.parse::<i64>().expect("seconds") * SECOND;
                self.banned_until = self.banned_until.max(until);
                is_new = true;
            }
        }
        self.demand(posts <= 1, "a run sends one order at most");
        self.tally.requests += requests;
        self.tally.most_requests = self.tally.most_requests.max(requests);
        self.tally.most_weight = self.tally.most_weight.max(weight);
        self.tally.orders += posts;
        if requests > 25 || weight > 200 {
            let list: Vec<String> = log
                .iter()
                .map(|it| format!("{} {} {}", it.asked.method, it.asked.path, it.weight))
                .collect();
            self.fail(&format!("{requests} requests of weight {weight}: {list:#?}"));
        }
    }

    /// Book and account, both as they are now.
    fn look(&mut self) {
        let state = self.live.folder().join("state.json");
        self.book = match fs::read(&state) {
            Ok(bytes) => book_of(&serde_json::from_slice(&bytes).expect("a state is JSON")),
            Err(_) => Book { is_flat: true, ..Book::default() },
        };
        let (book, seen) = (self.book.clone(), self.orders_seen);
        // One look at everything, so that nothing moves in between.
        let (balances, open, fresh, conserved, now) = self.live.with(|world| {
            let open = book.pending.as_ref().map(|id| moved_by(world, id)).unwrap_or_default();
            let fresh: Vec<(String, bool, String)> = world.orders[seen..]
                .iter()
                .filter(|order| order.client_order_id.starts_with("ouro-"))
                .map(|order| {
                    let fills = world.trades.iter().filter(|it| it.order_id == order.order_id);
                    let fills = fills.fold(String::new(), |mut text, it| {
                        let _ = write!(
                            text,
                            " {}x{}-{}{}",
                            it.price, it.quantity, it.fee, it.fee_asset
                        );
                        text
                    });
                    let what =
                        format!("{} {} {}{fills}", order.symbol, order.is_buy, order.quantity);
                    (order.client_order_id.clone(), !order.executed.is_zero(), what)
                })
                .collect();
            self.orders_seen = world.orders.len();
            let balances =
                ASSETS.map(|asset| world.balances.get(asset).copied().unwrap_or_default());
            (balances, open, fresh, world.conservation(), world.now())
        });
        self.demand(conserved.is_ok(), &format!("the exchange keeps its own books: {conserved:?}"));

        for (id, is_executed, what) in fresh {
            self.note(&format!("   exchange: {id} {what}"));
            self.tally.fills.text(&format!("{} {what}", self.tally.candles));
            let is_new = self.taken_ids.insert(id.clone());
            self.demand(is_new, &format!("{id} was taken twice"));
            if !is_executed {
                continue;
            }
            self.tally.executed += 1;
            let (candle, action) = id.rsplit_once('-').expect("an id ends with its action");
            if action.starts_with('B') {
                let is_first = self.entered.insert(candle.to_owned());
                self.demand(is_first, &format!("two entries on one candle: {id}"));
            }
        }

        // Everything at the exchange is the owner's, on the book, or the open order's.
        let booked = [book.coins[0], book.coins[1], book.quote, -book.in_bnb];
        for (index, asset) in ASSETS.into_iter().enumerate() {
            let total = balances[index].free + balances[index].locked;
            let explained = self.own[asset] + booked[index] + open[index];
            self.demand(
                total == explained,
                &format!(
                    "{asset}: the account has {total}, the owner's {} + the book's {} + the open order's {} = {explained}",
                    self.own[asset], booked[index], open[index]
                ),
            );
            if index < 2 {
                self.demand(total >= self.own[asset], &format!("{asset} of the owner's was sold"));
            }
        }

        match (&book.pending, self.open.take()) {
            (Some(id), Some((before, runs, since))) if *id == before => {
                self.tally.longest.0 = self.tally.longest.0.max(runs + 1);
                self.tally.longest.1 = self.tally.longest.1.max(now - since);
                self.open = Some((before, runs + 1, since));
            }
            (Some(id), _) => {
                self.tally.intents_left += 1;
                self.open = Some((id.clone(), 0, now));
                self.opening = self.trace.iter().rev().take(15).rev().cloned().collect();
                // An order whose balances before were read off an old replica is judged by those.
                self.is_confounded = self.account_lags && self.moved_leg == Some(book.pending_leg);
            }
            (None, Some((_, runs, since))) => {
                self.tally.longest.0 = self.tally.longest.0.max(runs + 1);
                self.tally.longest.1 = self.tally.longest.1.max(now - since);
            }
            (None, None) => {}
        }
        if self.tally.runs.is_multiple_of(100) {
            check_invariants(&self.live.state());
        }
    }

    /// The weather clears: what is open settles within three runs, and an exit leaves nothing.
    fn clear_up(&mut self) {
        self.note("-- the weather clears");
        self.live.with(|world| {
            world.rules.clear();
            world.lag = Lags::default();
            for (_, code) in LEGS {
                let symbol = world.symbol(code);
                (symbol.level_ticks, symbol.behind) = (1, 0);
                symbol.depth = vec![Decimal::from(100_000_000)];
                "TRADING".clone_into(&mut symbol.status);
            }
        });
        // Bans end, and what was on its way arrives.
        self.hours(3);
        if self.book.halted_by.is_some() {
            self.resume();
        }
        if self.is_confounded && self.book.pending.is_some() {
            // Nobody but a person can tell the owner's coins from the order's.
            self.hours(25);
            let code = self.run(Vec::new(), None);
            if self.book.pending.is_some() {
                self.demand(code == 76, "a day is enough to call a person");
                self.resume();
            }
        }
        for _ in 0..3 {
            self.live.pass_the_bound();
            let code = self.good_run();
            self.demand(matches!(code, 0 | 75), "a settling run");
        }
        self.demand(self.book.pending.is_none(), "settled within three runs");
        for jump in [-900, 900] {
            // Two candles, of which each is an exit for one of the legs.
            let eth = Decimal::new(self.walk.1, 2);
            self.close([(eth * Decimal::new(20_000 + jump, 3)).round_dp(2), eth]);
            if !self.book.is_flat {
                let code = self.good_run();
                self.demand(code == 0, "an exit");
            }
        }
        self.demand(self.book.is_flat, "flat after an exit candle");
        let code = self.good_run();
        self.demand(code == 0 && self.book.halted_by.is_none(), "it goes on");
        check_invariants(&self.live.state());
        let outside = self.live.folder().text("outside.json");
        let outside: Value = serde_json::from_str(&outside).expect("JSON");
        self.demand(
            outside["delivered"]
                .as_u64()
                .is_some_and(|delivered| delivered + 1 >= self.book.next_message),
            &format!("everything was told: {outside}, next is {}", self.book.next_message),
        );
    }

    /// A run without faults, once more where the machine was too busy for it.
    fn good_run(&mut self) -> i32 {
        for _ in 0..5 {
            let code = self.run(Vec::new(), None);
            if code == 0 || !self.was_slow {
                return code;
            }
        }
        self.fail("this machine is too busy");
    }

    fn note(&mut self, text: &str) {
        if self.trace.len() == 60 {
            self.trace.pop_front();
        }
        self.trace.push_back(text.to_owned());
    }

    #[track_caller]
    fn demand(&self, holds: bool, what: &str) {
        if !holds {
            self.fail(what);
        }
    }

    #[track_caller]
    fn fail(&self, what: &str) -> ! {
        let trace: Vec<&str> = self.trace.iter().map(String::as_str).collect();
        panic!(
            "{what}\ncandle {} of seed {}, book {:#?}, owner's {:?}\nhow the last open order began:\n{}\nthe end:\n{}",
            self.tally.candles,
            self.seed,
            self.book,
            self.own,
            self.opening.join("\n"),
            trace.join("\n")
        );
    }
}

/// Questions that go out at the same time, and how many of each.
const BURST: [(&str, usize); 6] = [
    ("/api/v3/account", 1),
    ("/api/v3/openOrders", 2),
    ("/api/v3/allOrders", 2),
    ("/api/v3/ticker/bookTicker", 1),
    ("/api/v3/exchangeInfo", 1),
    ("/api/v3/klines", 2),
];

const QUESTIONS: [&str; 9] = [
    "GET /api/v3/account",
    "GET /api/v3/openOrders",
    "GET /api/v3/allOrders",
    "GET /api/v3/ticker/bookTicker",
    "GET /api/v3/exchangeInfo",
    "GET /api/v3/klines",
    "GET /api/v3/order",
    "GET /api/v3/myTrades",
    "GET /api/v3/time",
];

fn executed(execute: Execute) -> &'static str {
    match execute {
        Execute::Now => "executed",
        Execute::Never => "not executed",
        Execute::LateMillis(_) | Execute::QueuedMillis(_) => "executed late",
    }
}

fn order_fault(dice: &mut Dice) -> (Execute, Reply) {
    if dice.one_in(40) {
        // This one waits for the deadline.
        return (dice.pick(&[Execute::Now, Execute::Never]), Reply::Hang);
    }
    let lost = [
        Reply::Close,
        Reply::Reset,
        Reply::Cut,
        Reply::WrongLength,
        Reply::BrokenChunks,
        Reply::Empty,
        Reply::Html(502),
        Reply::Html(504),
        Reply::Redirect(307),
        Reply::Status(200, "{}".to_owned()),
        Reply::Status(500, String::new()),
        Reply::Code(504, -1007, "Timeout waiting for response from backend server."),
        Reply::Code(503, -1000, "An unknown error occurred while processing the request."),
        Reply::Code(503, -1008, "Server is currently overloaded with other requests."),
        Reply::Code(400, -1006, "An unexpected response was received from the message bus."),
    ];
    let insufficient = "Account has insufficient balance for requested action.";
    let refused = [
        Reply::Code(400, -1013, "Filter failure: LOT_SIZE"),
        Reply::Code(400, -2010, insufficient),
        Reply::Code(400, -1021, "Timestamp for this request is outside of the recvWindow."),
        Reply::Code(401, -2015, "Invalid API-key, IP, or permissions for action."),
        Reply::Code(429, -1015, "Too many new orders."),
        Reply::Code(400, -2010, "Duplicate order sent."),
        Reply::Html(403),
        Reply::Silence(429, Some("30"), Some(-1003)),
        Reply::Silence(429, Some("30"), None),
        Reply::Silence(418, Some("5400"), Some(-1003)),
    ];
    match dice.below(9) {
        0..=2 => (Execute::Now, dice.pick(&lost)),
        3 | 4 => (Execute::Never, dice.pick(&lost)),
        5 => (Execute::LateMillis(dice.between(500, 14_000)), dice.pick(&lost)),
        6 | 7 => (Execute::Never, dice.pick(&refused)),
        _ => {
            let without_fills = |answer: &mut Value| {
                if let Some(fields) = answer.as_object_mut() {
                    fields.remove("fills");
                }
            };
            (Execute::Now, Reply::Alter(std::sync::Arc::new(without_fills)))
        }
    }
}

fn question_fault(dice: &mut Dice) -> Reply {
    dice.pick(&[
        Reply::Close,
        Reply::Reset,
        Reply::Cut,
        Reply::WrongLength,
        Reply::BrokenChunks,
        Reply::Empty,
        Reply::Html(200),
        Reply::Html(403),
        Reply::Html(502),
        Reply::Redirect(302),
        Reply::Status(200, "null".to_owned()),
        Reply::Code(503, -1000, "An unknown error occurred while processing the request."),
        Reply::Code(400, -1021, "Timestamp for this request is outside of the recvWindow."),
        Reply::Code(401, -2015, "Invalid API-key, IP, or permissions for action."),
        Reply::Silence(429, Some("30"), Some(-1003)),
        Reply::Silence(418, Some("5400"), Some(-1003)),
    ])
}

/// How an order moved each asset.
fn moved_by(world: &World, client_order_id: &str) -> [Decimal; 4] {
    let mut moved = [Decimal::ZERO; 4];
    let ours = world.orders.iter().rev().filter(|order| order.client_order_id == client_order_id);
    for order in ours {
        for trade in world.trades.iter().filter(|trade| trade.order_id == order.order_id) {
            let sign = if trade.is_buy { Decimal::ONE } else { -Decimal::ONE };
            let leg = usize::from(trade.symbol == "ETHUSDT");
            moved[leg] += sign * trade.quantity;
            moved[2] -= sign * trade.quote;
            let of = ASSETS.iter().position(|asset| *asset == trade.fee_asset);
            moved[of.expect("one of the four")] -= trade.fee;
        }
    }
    moved
}

/// The money in a state, as it stands on disk.
fn book_of(state: &Value) -> Book {
    let body = &state["body"];
    let number = |value: &Value| value.as_str().map(decimal).unwrap_or_default();
    let holding = &body["position"]["holding"];
    let mut coins = [number(&body["dust"]["numerator"]), number(&body["dust"]["denominator"])];
    let leg_of = |value: &Value| usize::from(value == "denominator");
    if holding.is_object() {
        coins[leg_of(&holding["leg"])] += number(&holding["quantity"]);
    }
    let pending = &body["ledger"]["pending"];
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Book {
        coins,
        quote: number(&body["realized_pnl"]) - number(&holding["cost"])
            + number(&holding["proceeds"]),
        in_bnb: number(&body["other_fees"]["BNB"]),
        pending: text(&pending["client_order_id"]),
        pending_leg: leg_of(&pending["leg"]),
        halted_by: text(&body["halt"]["by"]),
        halt_reason: text(&body["halt"]["reason"]).unwrap_or_default(),
        is_flat: holding.is_null(),
        next_message: body["next_message"].as_u64().unwrap_or_default(),
    }
}
