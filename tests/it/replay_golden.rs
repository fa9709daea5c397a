//! Replays by the real binary, one start a candle, against fills that a second implementation of
//! the contract computed with exact fractions (`tests/oracle/`, `tests/fixtures/golden/`).

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use clap::Parser as _;
use ouroboros::cli::Cli;
use ouroboros::config::{Config, Mode};
use ouroboros::exchange::demo;
use ouroboros::exchange::replay::Replay;
use ouroboros::trading::book::Book;
use ouroboros::trading::candle::Candle;
use ouroboros::trading::fill;
use ouroboros::trading::machine;
use ouroboros::trading::market::Side;
use ouroboros::trading::strategy;
use ouroboros::trading::time::Interval;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::dump::{fixtures, real_candles};

// --- what is not known from outside ----------------------------------------------------------

/// The end of a whole history.
#[derive(Debug, PartialEq, Eq)]
struct Totals {
    entries: u64,
    round_trips: u64,
    paper_balance: String,
    realized_pnl: String,
}

/// The only place here that knows the library: every step of the dumps in `dumps`, in one process
/// and without a disk, because a hundred thousand starts would take an hour.
fn fold(dumps: &Path, settings: &BTreeMap<String, String>) -> Totals {
    // A file of nothing, so that a developer's own `.env` has no say.
    let words = ["ouroboros", "--env-file", "/dev/null", "--candles"];
    let cli = Cli::parse_from(words.iter().map(OsStr::new).chain([dumps.as_os_str()]));
    let environment = settings.iter().map(|(name, value)| (name.into(), value.into())).collect();
    let config = Config::load(&cli.options, environment).expect("sound settings");
    let Config { pair, rules, terms, opening_balance, mode, .. } = &config;
    let Mode::Replay(recording) = mode else { panic!("`--candles` makes it a replay") };
    let replay = Replay::open(recording, pair, rules.interval).expect("sound dumps");

    let mut book = Book::open(*opening_balance);
    let mut entries = 0;
    while let Some(market) = replay.market(book.last_candle, rules.window) {
        let (candle, today) = (market.newest, market.now.day());
        let seen =
            strategy::observe(&market.legs, rules.interval, book.last_candle, candle, rules.window);
        let decision = match seen {
            Ok(seen) => machine::step(&book, &seen, rules, today),
            Err(distrust) => machine::stay_away(&book, distrust),
        };
        let touch = decision.needs().and_then(|(leg, _)| replay.touch_at(leg, candle));
        let step = fill::carry_out(&book, &decision, candle, touch.as_ref(), terms, today)
            .expect("small numbers");
        entries += u64::from(matches!(step.order, Some((_, Side::Buy, Some(_)))));
        book = step.book;
    }
    Totals {
        entries,
        round_trips: book.round_trips,
        paper_balance: book.cash.expect("paper").to_string(),
        realized_pnl: book.realized.to_string(),
    }
}

// --- the built-in sample -----------------------------------------------------------------------

#[test]
fn the_sample_has_what_a_newcomer_should_see() {
    let [numerator, denominator] = demo::candles();
    assert!(numerator.len() >= 2000 && numerator.len() == denominator.len());
    let step = Interval::named(demo::TIMEFRAME).expect("an interval").millis();
    let distances = |leg: &[Candle]| -> Vec<i64> {
        leg.windows(2).map(|pair| pair[1].open_time.millis_since(pair[0].open_time)).collect()
    };
    let gaps = distances(&numerator).into_iter().filter(|distance| *distance > step).count();
    assert_eq!(gaps, 1, "a gap");
    assert_eq!(distances(&numerator), distances(&denominator));
    let is_flat = |leg: &[Candle]| {
        leg.windows(20).any(|window| window.iter().all(|candle| candle.close == window[0].close))
    };
    assert!(is_flat(&numerator) && is_flat(&denominator), "a flat stretch");

    let totals = fold(Path::new("demo"), &BTreeMap::new());
    assert!(totals.round_trips >= 20, "{totals:?}");
    // It is no kinder than the market: after fees it loses.
    assert!(totals.realized_pnl.starts_with('-'), "{totals:?}");
}

// --- small dumps, every start ----------------------------------------------------------------

#[test]
fn every_start_over_the_small_dumps_fills_as_the_oracle_does() {
    Golden::load("dumps-defaults").replay(&fixtures().join("dumps"));
}

#[test]
fn fees_and_slippage_with_decimals_are_taken_to_the_last_digit() {
    Golden::load("dumps-costs").replay(&fixtures().join("dumps"));
}

#[test]
fn other_thresholds_make_other_fills() {
    Golden::load("dumps-thresholds").replay(&fixtures().join("dumps"));
}

#[test]
fn a_stop_and_a_longest_holding_sell_and_then_wait_until_z_was_back_inside() {
    let golden = Golden::load("dumps-stop");
    assert!(golden.summary.stops > 0 && golden.summary.timeouts > 0);
    assert!(golden.summary.refused.contains_key("cooling"));
    golden.replay(&fixtures().join("dumps"));
}

#[test]
fn an_entry_needs_its_edge() {
    Golden::load("dumps-edge").replay(&fixtures().join("dumps"));
}

#[test]
fn the_limits_of_a_day_bind_entries_until_midnight() {
    let golden = Golden::load("dumps-limits");
    assert!(golden.summary.refused.contains_key("orders of the day"));
    assert!(golden.summary.refused.contains_key("loss of the day"));
    golden.replay(&fixtures().join("dumps"));
}

#[test]
fn an_entry_that_the_balance_cannot_pay_is_a_hold() {
    let golden = Golden::load("dumps-poor");
    assert!(golden.summary.refused.contains_key("balance"));
    golden.replay(&fixtures().join("dumps"));
}

// --- real candles ----------------------------------------------------------------------------

#[test]
#[ignore = "needs the real candles in ../shared/data"]
fn two_hundred_starts_over_real_hours_fill_as_the_oracle_does() {
    Golden::load("real-1h-200").replay(&real_candles());
}

/// Entries and round trips were counted for the README of the data too, by a third program.
#[test]
#[ignore = "needs the real candles in ../shared/data"]
fn the_real_histories_end_as_the_oracle_says() {
    let text = fs::read_to_string(fixtures().join("golden/real-totals.json")).expect("a fixture");
    let histories: Vec<History> = serde_json::from_str(&text).expect("a fixture parses");
    assert_eq!(histories.len(), 10);
    for history in histories {
        let expected = Totals {
            entries: history.entries,
            round_trips: history.round_trips,
            paper_balance: history.paper_balance,
            realized_pnl: history.realized_pnl,
        };
        let totals = fold(&real_candles(), &history.settings);
        assert_eq!(totals, expected, "{:?}", history.settings);
    }
}

// --- the fixtures ----------------------------------------------------------------------------

/// What the oracle says of one replay.
#[derive(Deserialize)]
struct Golden {
    settings: BTreeMap<String, String>,
    summary: Summary,
    fills: Vec<Fill>,
}

#[derive(Deserialize)]
struct Summary {
    rows: usize,
    steps: usize,
    round_trips: u64,
    refused: BTreeMap<String, u64>,
    stops: u64,
    timeouts: u64,
    paper_balance: String,
    realized_pnl: String,
}

/// One fill, and the book after it.
#[derive(Deserialize)]
struct Fill {
    step: usize,
    candle: String,
    side: String,
    symbol: String,
    quantity: String,
    quote_quantity: String,
    price: String,
    fee: String,
    state: String,
    paper_balance: String,
    realized_pnl: String,
}

/// The end of a whole history.
#[derive(Deserialize)]
struct History {
    settings: BTreeMap<String, String>,
    entries: u64,
    round_trips: u64,
    paper_balance: String,
    realized_pnl: String,
}

impl Golden {
    fn load(name: &str) -> Self {
        let path = fixtures().join(format!("golden/{name}.json"));
        let text = fs::read_to_string(&path).expect("a fixture");
        let golden: Self = serde_json::from_str(&text).expect("a fixture parses");
        assert!(golden.fills.len() >= 10, "{name}: so few fills show nothing");
        golden
    }

    /// Starts the program once for each step and compares what it says.
    #[track_caller]
    fn replay(&self, dumps: &Path) {
        let program = Program::new(dumps, &self.settings);
        let mut fills = self.fills.iter().peekable();
        let mut state = "NONE";
        for step in 0..self.summary.steps {
            let said = program.ask(&[]);
            assert_eq!(said["from"], state, "step {step}: {said}");
            let Some(fill) = fills.next_if(|fill| fill.step == step) else {
                assert_eq!(said["action"], "hold", "step {step}: {said}");
                assert_eq!(said["order"], Value::Null, "step {step}: {said}");
                continue;
            };
            state = &fill.state;
            fill.is_told_by(&said);
            fill.is_in_the_book(&program.ask(&["status"]));
        }
        if self.summary.steps + self.window() > self.summary.rows {
            assert_eq!(program.ask(&[])["action"], "end-of-data");
        }
        let status = program.ask(&["status"]);
        assert_eq!(status["state"], state);
        assert_eq!(status["trades"], self.summary.round_trips);
        assert_eq!(status["paper_balance"], self.summary.paper_balance.as_str());
        assert_eq!(status["realized_pnl"], self.summary.realized_pnl.as_str());
    }

    fn window(&self) -> usize {
        self.settings.get("ROLLING_WINDOW").map_or(20, |text| text.parse().expect("a number"))
    }
}

impl Fill {
    #[track_caller]
    fn is_told_by(&self, said: &Value) {
        let order = &said["order"];
        assert_eq!(said["candle"], self.candle.as_str(), "{said}");
        assert_eq!(said["action"], self.side.to_lowercase(), "{said}");
        assert_eq!(said["to"], self.state.as_str(), "{said}");
        assert_eq!(order["side"], self.side.as_str(), "{said}");
        assert_eq!(order["symbol"], self.symbol.as_str(), "{said}");
        assert_eq!(order["executed_quantity"], self.quantity.as_str(), "{said}");
        assert_eq!(order["quote_quantity"], self.quote_quantity.as_str(), "{said}");
        // The fee comes out of what is received.
        let received =
            if self.side == "BUY" { self.symbol.trim_end_matches("USDT") } else { "USDT" };
        assert_eq!(order["fees"], json!({ received: self.fee }), "{said}");
        // As numbers: how many zeros end it says nothing.
        let price = order["average_price"].as_str().unwrap_or_default();
        assert_eq!(price.parse::<Decimal>(), self.price.parse(), "{said}");
    }

    #[track_caller]
    fn is_in_the_book(&self, status: &Value) {
        assert_eq!(status["state"], self.state.as_str(), "{status}");
        assert_eq!(status["last_candle"], self.candle.as_str(), "{status}");
        assert_eq!(status["paper_balance"], self.paper_balance.as_str(), "{status}");
        assert_eq!(status["realized_pnl"], self.realized_pnl.as_str(), "{status}");
    }
}

// --- the program -----------------------------------------------------------------------------

/// The real binary with a state directory of its own and no environment but the settings.
struct Program<'a> {
    dumps: &'a Path,
    settings: &'a BTreeMap<String, String>,
    state: tempfile::TempDir,
}

impl<'a> Program<'a> {
    fn new(dumps: &'a Path, settings: &'a BTreeMap<String, String>) -> Self {
        let state = tempfile::tempdir().expect("a temporary folder");
        Self { dumps, settings, state }
    }

    /// What one start says. Every start of a replay ends well.
    #[track_caller]
    fn ask(&self, words: &[&str]) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_ouroboros"))
            .env_clear()
            .envs(self.settings)
            .current_dir(self.state.path())
            .arg("--candles")
            .arg(self.dumps)
            .arg("--state-dir")
            .arg(self.state.path())
            .arg("--json")
            .args(words)
            .output()
            .expect("the program starts");
        let problems = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "{problems}");
        serde_json::from_slice(&output.stdout).expect("one JSON object")
    }
}
