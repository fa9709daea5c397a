//! Many instances: one account and its USDT, one address and its limits, and a book for each.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::thread;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::exchange::{Candle, Recording, Reply, Rule, Setup, Symbol};
use crate::support::clock::{self, HOUR};
use crate::support::desk::Desk;
use crate::support::dice::Dice;
use crate::support::folder::{Folder, make_folder};
use crate::support::live::{Live, booked, kind, proceeds};
use crate::support::run::{Run, money};

#[test]
fn live_instances_share_an_account_and_each_keeps_to_its_own_book() {
    let mut many = Many::new(4, 11);
    many.live_through(12);
    many.expect_every_coin();
}

#[test]
#[ignore = "takes minutes; tests/assurance runs it"]
fn live_thirty_instances_in_full() {
    let mut many = Many::new(30, 12);
    let (begin, before) = (clock::instant(), cpu_ms());
    many.live_through(200);
    let (wall, cpu) = (begin.elapsed(), cpu_ms() - before);
    many.expect_every_coin();
    println!(
        "figures: many instances=30 candles=200 runs={} orders={} most-weight-a-minute={} limit=6000 cpu-ms-a-run={:.1} \
         violations=0 seconds={}",
        many.runs,
        many.live.with(|world| world.orders.len()),
        many.most_weight,
        f64::from(i32::try_from(cpu).expect("few")) / f64::from(many.runs),
        wall.as_secs()
    );
    assert!(many.most_weight <= 6000, "{}", many.most_weight);
}

#[test]
fn live_a_ban_of_one_is_honoured_by_all() {
    let live = Live::new();
    let limits = live.cwd().join("limits.json");
    let sharing = |state: PathBuf| {
        live.command_at(&state, &["--json"]).env("SHARED_LIMITS_FILE", limits.as_os_str())
    };
    live.with(|world| {
        world
            .rules
            .push(Rule::every("GET /api/v3/klines", Reply::Silence(418, Some("120"), Some(-1003))));
    });
    assert_eq!(kind(&sharing(live.state()).expect_exit(75)), "rate-limited");
    live.with(|world| world.rules.clear());
    let before = live.asked();
    let outcome = sharing(live.other_state()).expect_exit(75);
    assert_eq!(kind(&outcome), "rate-limited");
    assert_eq!(live.asked(), before, "not one request of the other instance");
    // Without the file it would have asked.
    let _ = live.command_at(&live.cwd().join("third"), &["--json"]).expect_exit(0);
    assert!(live.asked() > before);
    live.advance(121_000);
    let _ = sharing(live.other_state()).expect_exit(0);
}

#[test]
fn a_minute_that_is_used_up_is_waited_for() {
    let desk = Desk::entry_ahead();
    let limits = desk.cwd().join("limits.json");
    let run = || desk.run().env("SHARED_LIMITS_FILE", limits.as_os_str());
    let _ = run().expect_exit(0);
    let text = std::fs::read_to_string(&limits).expect("the file");
    let mut known: Value = serde_json::from_str(&text).expect("JSON");
    let host = known.as_object().expect("hosts").keys().next().expect("a host").clone();
    assert!(host.starts_with("http://127.0.0.1:"), "by scheme, host and port: {host}");
    let weight = known[&host]["weight"].as_u64().expect("a weight");
    assert!((1..40).contains(&weight), "{weight}");
    for (minute, code) in
        [("2000-01-01T00:00:00Z", 0), (known[&host]["minute"].as_str().expect("a minute"), 75)]
    {
        let mut full = known.clone();
        full[&host]["minute"] = json!(minute);
        full[&host]["weight"] = json!(5_399);
        std::fs::write(&limits, full.to_string()).expect("written");
        desk.server.forget();
        let outcome = run().expect_one_of(&[code, 0]);
        // A minute may have ended since; then the weight is another's.
        if outcome.code == 75 {
            outcome.expect_said(&["SHARED_LIMITS_FILE", "wants no request before"]);
            assert!(desk.server.requests_to("/api/").is_empty());
        }
    }
    known[&host]["weight"] = json!("nonsense");
    std::fs::write(&limits, known.to_string()).expect("written");
    run().expect_exit(0).expect_said(&["begun anew"]);
}

#[test]
fn status_all_shows_every_instance_in_one_table() {
    let desk = Desk::entry_ahead();
    let homes = desk.cwd().join("homes");
    let one = |name: &str, args: &[&str]| {
        Run::paper(&desk.cwd(), &desk.server).args(args).state_dir(&homes.join(name))
    };
    let turned = [("SYMBOL_BASE", "ETH/USDT"), ("SYMBOL_QUOTE", "BTC/USDT")];
    let _ = one("btc-eth", &[]).expect_exit(0);
    let _ = one("eth-btc", &[]).envs(&turned).expect_exit(0);
    let _ = one("eth-btc", &["halt", "on holiday"]).envs(&turned).expect_exit(0);
    make_folder(&homes.join("nothing-yet"));
    let all = |args: &[&str]| {
        Run::bare(&desk.cwd()).args(["status", "--all"]).args(args).state_dir(&homes)
    };
    let text = all(&[]).expect_exit(0).stdout;
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines[0].starts_with("instance  mode   pair"), "{text}");
    assert!(
        lines[1].starts_with("btc-eth   paper  BTC/ETH  1m") && lines[1].contains("HOLDING_ETH"),
        "{text}"
    );
    assert!(
        lines[2].starts_with("eth-btc   paper  ETH/BTC  1m")
            && lines[2].ends_with("halted: on holiday"),
        "{text}"
    );
    let instances = all(&["--json"]).expect_exit(0).json();
    assert_eq!(instances["instances"][1]["remarks"], json!(["halted: on holiday"]));
    // One that can't be trusted is a line too, and the exit code.
    std::fs::write(homes.join("btc-eth/paper/state.json"), "{").expect("written");
    let outcome = all(&[]).expect_exit(65);
    assert!(outcome.stdout.contains("eth-btc   paper"), "{}", outcome.stdout);
    let _ = Run::bare(&desk.cwd())
        .args(["status", "--all"])
        .state_dir(&desk.cwd().join("nowhere"))
        .expect_exit(78);
}

/// Pairs of one coin with many others, all traded by one account.
struct Many {
    live: Live,
    coins: Vec<String>,
    dice: Dice,
    prices: Vec<i64>,
    runs: i32,
    most_weight: u64,
}

impl Many {
    fn new(count: usize, seed: u64) -> Self {
        let balances = vec![("USDT", "100000"), ("BTC", "0.25"), ("ETH", "2"), ("BNB", "0.01")];
        let live = Live::upon(Setup { balances, ..Setup::default() });
        let coins: Vec<String> = (0..count).map(|number| format!("C{number:02}")).collect();
        let prices = vec![300_000; count + 1];
        live.with(|world| {
            for coin in &coins {
                let symbol = Symbol::new(coin, "USDT", "0.01", "0.0001");
                world.symbols.insert(symbol.code(), symbol);
            }
        });
        let mut many = Self { live, coins, dice: Dice(seed), prices, runs: 0, most_weight: 0 };
        for _ in 0..4 {
            many.candle();
        }
        many
    }

    fn codes(&self) -> Vec<String> {
        std::iter::once("BTC")
            .chain(self.coins.iter().map(String::as_str))
            .map(|it| format!("{it}USDT"))
            .collect()
    }

    /// A candle ends for every symbol, each a step away from where it was.
    fn candle(&mut self) {
        for price in &mut self.prices {
            *price += self.dice.between(0, 6_000) - 3_000;
        }
        let (codes, prices) = (self.codes(), self.prices.clone());
        self.live.shifted(|world| {
            let end = (world.now() / HOUR + 1) * HOUR;
            world.set_now(end + 10_000);
            for (code, cents) in codes.iter().zip(prices) {
                let candles = &mut world.symbol(code).candles;
                let close = Candle::flat(Decimal::new(cents, 2));
                if candles.rows.is_empty() || candles.interval != HOUR {
                    *candles = Recording { start: end - HOUR, interval: HOUR, rows: Vec::new() };
                }
                let ended = usize::try_from((end - candles.start) / HOUR).expect("later");
                candles.rows.resize(ended - 1, close);
                candles.rows.extend([close; 2]);
            }
        });
    }

    /// The timers start all instances after each candle, a few at a time.
    fn live_through(&mut self, candles: usize) {
        for _ in 0..candles {
            self.candle();
            let seen = self.live.with(|world| world.log.len());
            let runs = (0..self.coins.len()).map(|number| self.command(number, &["--json"]));
            let waiting = Mutex::new(runs.collect::<Vec<_>>());
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        loop {
                            let next = waiting.lock().expect("no panic while it is held").pop();
                            let Some(run) = next else { break };
                            let _ = run.expect_exit(0);
                        }
                    });
                }
            });
            self.runs += i32::try_from(self.coins.len()).expect("few");
            let by_minute = self.live.with(|world| {
                let mut weights: BTreeMap<i64, u64> = BTreeMap::new();
                for logged in &world.log[seen..] {
                    *weights.entry(logged.at / 60_000).or_default() += logged.weight;
                }
                weights
            });
            self.most_weight =
                by_minute.into_values().chain([self.most_weight]).max().expect("one");
        }
    }

    fn command(&self, number: usize, args: &[&str]) -> Run {
        self.live
            .command_at(&self.state(number), args)
            .env("SYMBOL_QUOTE", format!("{}/USDT", self.coins[number]))
            .env("SHARED_LIMITS_FILE", self.live.cwd().join("limits.json").as_os_str())
    }

    fn state(&self, number: usize) -> PathBuf {
        self.live.cwd().join("homes").join(&self.coins[number])
    }

    /// What all books say together is what the account got.
    fn expect_every_coin(&self) {
        self.live.with(|world| world.conservation()).expect("the exchange keeps its own books");
        let mut coins: BTreeMap<&str, Decimal> = BTreeMap::new();
        let (mut quote, mut trips, mut held) = (Decimal::ZERO, 0, 0);
        for number in 0..self.coins.len() {
            let status = self.command(number, &["status", "--json"]).expect_exit(0).json();
            assert!(status["pending"].is_null() && status["halted"].is_null(), "{status:#}");
            for asset in ["BTC", &self.coins[number]] {
                *coins.entry(asset).or_default() += booked(&status, asset);
            }
            quote += money(&status, "/realized_pnl");
            if !status["position"].is_null() {
                quote += proceeds(&Folder::new(self.state(number).join("live")))
                    - money(&status["position"], "/cost");
                held += 1;
            }
            trips += status["trades"].as_u64().expect("a number");
        }
        let free = |asset: &str| self.live.with(|world| world.free(asset));
        assert_eq!(free("USDT"), Decimal::from(100_000) + quote);
        for (asset, booked) in coins {
            let own = if asset == "BTC" { Decimal::new(25, 2) } else { Decimal::ZERO };
            assert_eq!(free(asset) - own, booked, "{asset}");
        }
        assert!(trips > 0 && held > 0, "something was traded: {trips} round trips, {held} held");
    }
}

/// What all children used.
fn cpu_ms() -> i64 {
    let used = getrusage(UsageWho::RUSAGE_CHILDREN).expect("a number");
    used.user_time().num_milliseconds() + used.system_time().num_milliseconds()
}
