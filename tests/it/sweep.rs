//! `sweep`: each cell is a backtest, the past chooses and the future judges, and luck is called luck.

use std::fs;
use std::path::PathBuf;

use ouroboros::history::sweep::{self, Cell, Ground, Outcome, Range};
use ouroboros::trading::candle::Candle;
use ouroboros::trading::machine::Rules;
use ouroboros::trading::money::{Amount, BasisPoints};
use ouroboros::trading::order::Terms;
use ouroboros::trading::strategy::Thresholds;
use ouroboros::trading::time::{Interval, Timestamp};
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::backtest::rows;
use crate::support::desk::{Replay, home};
use crate::support::dump::fixtures;
use crate::support::law::config;
use crate::support::run::Run;
use crate::support::table::{decimal, spreads};

// --- the grid ------------------------------------------------------------------------------------

#[test]
fn each_cell_is_a_backtest_to_the_last_digit() {
    let grid = [
        "--window",
        "12..20:8",
        "--entry",
        "1.5..2:0.5",
        "--exit",
        "0..0.5:0.5",
        "--edge",
        "0..20:20",
    ];
    let settings = [("STOP_Z", "2.6"), ("SLIPPAGE_BPS", "1")];
    let told = sweep(&grid).envs(&settings).expect_exit(0).json();
    let cells = told["cells"].as_array().expect("cells");
    assert_eq!(cells.len(), 16);
    for cell in cells {
        let text = |name: &str| cell[name].to_string();
        let run = run(&["backtest"])
            .envs(&settings)
            .env("ROLLING_WINDOW", text("window"))
            .env("ENTRY_THRESHOLD", text("entry"))
            .env("EXIT_THRESHOLD", text("exit"))
            .env("MIN_EDGE_BPS", text("edge"));
        let alone = run.expect_exit(0).json();
        for name in ["round_trips", "net_pnl", "mean_net_bps", "sharpe"] {
            assert_eq!(cell[name], alone[name], "{name} of {cell}");
        }
    }
    let net = |cell: &Value| decimal(cell["net_pnl"].as_str().expect("money"));
    let most = cells.iter().map(net).max().expect("one");
    let best = cells.iter().find(|cell| net(cell) == most).expect("it is one of them");
    for name in ["window", "entry", "exit", "edge"] {
        assert_eq!(told["best"][name], best[name]);
    }
}

#[test]
fn the_past_chooses_and_what_came_next_judges() {
    let grid = [
        "--window",
        "10..20:5",
        "--entry",
        "1.5..2.5:0.5",
        "--exit",
        "0",
        "--edge",
        "0",
        "--folds",
        "4",
    ];
    let told = sweep(&grid).expect_exit(0).json();
    let folds = told["walk_forward"].as_array().expect("folds");
    assert_eq!(folds.len(), 3, "the first fold is past only");
    let mut sum = Decimal::ZERO;
    for fold in folds {
        let [from, to] = ["from", "to"].map(|name| fold[name].as_str().expect("a time").to_owned());
        let before = {
            let begin: jiff::Timestamp = from.parse().expect("a time");
            (begin - jiff::Span::new().minutes(1)).to_string()
        };
        let net = |cell: &Value, span: &[&str]| {
            let text = |name: &str| cell[name].to_string();
            let run = run(&[&["backtest"], span].concat())
                .env("ROLLING_WINDOW", text("window"))
                .env("ENTRY_THRESHOLD", text("entry"))
                .env("EXIT_THRESHOLD", text("exit"))
                .env("MIN_EDGE_BPS", text("edge"));
            run.expect_exit(0).json()["net_pnl"].clone()
        };
        let chosen = &fold["cell"];
        assert_eq!(fold["in_sample"], net(chosen, &["--to", &before]), "{fold}");
        assert_eq!(fold["out_of_sample"], net(chosen, &["--from", &from, "--to", &to]), "{fold}");
        let money = |value: &Value| decimal(value.as_str().expect("money"));
        for cell in told["cells"].as_array().expect("cells") {
            let other = net(cell, &["--to", &before]);
            assert!(money(&other) <= money(&fold["in_sample"]), "{cell} was better before {from}");
        }
        sum += money(&fold["out_of_sample"]);
    }
    assert_eq!(decimal(told["out_of_sample"].as_str().expect("money")), sum);
}

#[test]
fn a_short_history_may_have_more_folds_than_candles() {
    let replay = Replay::new(&spreads("20 20 20 21 21 19 20 20 20 19"));
    let grid =
        ["sweep", "--window", "4", "--entry", "1.2", "--exit", "0", "--edge", "0", "--folds", "30"];
    let told = replay.command(&grid).args(["--json"]).expect_exit(0).json();
    assert_eq!(told["cells"][0]["round_trips"], 1, "{told:#}");
    let folds = told["walk_forward"].as_array().expect("folds");
    assert_eq!(folds.len(), 10, "those with a candle");
    // The window of the configuration, which has 20 candles, is none of the grid's.
    let told = Run::bare(&replay.cwd()).env("TIMEFRAME", "1h").args(grid).args(["--json"]);
    let told =
        told.args(["--candles".as_ref(), replay.candles().as_os_str()]).expect_exit(0).json();
    assert_eq!(told["cells"][0]["round_trips"], 1, "{told:#}");
}

#[test]
fn how_many_do_it_changes_nothing() {
    let grid = ["--window", "10..22:4", "--entry", "1.5..3:0.5"];
    let all: Vec<Value> = ["1", "2", "7"]
        .map(|jobs| sweep(&[&grid[..], &["--jobs", jobs]].concat()).expect_exit(0).json())
        .into();
    assert_eq!(all[0], all[1]);
    assert_eq!(all[0], all[2]);
    let [probability, deflated] = ["pbo", "deflated_sharpe"].map(|name| all[0][name].as_f64());
    assert!(probability.is_some_and(|it| (0.0..=1.0).contains(&it)), "{:#}", all[0]);
    assert!(deflated.is_some_and(|it| (0.0..=1.0).contains(&it)), "{:#}", all[0]);
}

#[test]
fn without_candles_the_sample_is_swept_and_nothing_is_left_behind() {
    let home = home();
    let cwd = home.path().join("cwd");
    let grid = ["sweep", "--json", "--window", "20", "--entry", "2", "--exit", "0", "--edge", "0"];
    let told = Run::bare(&cwd).args(grid).expect_exit(0).json();
    assert_eq!(told["cells"].as_array().map(Vec::len), Some(1));
    assert_eq!(told["pbo"], json!(null), "one cell was not chosen among others");
    let verdict = told["verdict"].as_str().expect("a verdict");
    assert!(
        verdict.contains("0 gained anything") && verdict.contains("Nothing here earns its costs")
    );
    assert_eq!(fs::read_dir(&cwd).expect("a folder").count(), 0, "something was left behind");
}

#[test]
fn what_cannot_be_swept_is_refused() {
    for bad in ["5..1:1", "1..5", "1..5:0", "-1", "x", "0..1000:0.001", "1e3", "0.123456789"] {
        let _ = sweep(&["--entry", bad]).expect_exit(2);
    }
    let _ = sweep(&["--folds", "1"]).expect_exit(2);
    let _ = sweep(&["--jobs", "0"]).expect_exit(2);
    sweep(&["--window", "1"]).expect_exit(78).expect_said(&["--window", "2 to 500"]);
    sweep(&["--window", "20.5"]).expect_exit(78).expect_said(&["--window"]);
    sweep(&["--window", "500"]).expect_exit(65).expect_said(&["window needs 500"]);
    sweep(&["--entry", "1", "--exit", "1"]).expect_exit(78).expect_said(&["no cell"]);
}

#[test]
fn a_range_is_what_a_person_means() {
    let values = |text: &str| -> Vec<String> {
        let range: Range = text.parse().expect("a range");
        range.values().iter().map(ToString::to_string).collect()
    };
    assert_eq!(values("20"), ["20"]);
    assert_eq!(values("10..50:20"), ["10", "30", "50"]);
    assert_eq!(values("1.5..2.6:0.5"), ["1.5", "2.0", "2.5"]);
    assert_eq!(values("0.1..0.3:0.1"), ["0.1", "0.2", "0.3"]);
    assert_eq!(values("2..2:1"), ["2"]);
}

// --- one engine ----------------------------------------------------------------------------------

proptest! {
    #![proptest_config(config())]

    #[test]
    fn by_events_alone_it_is_the_same_backtest(
        rows in rows(),
        (decimals, window, folds) in (0_u32..9, 2_usize..30, 1_usize..40),
        interval in prop_oneof![Just("1m"), Just("1h"), Just("1d")],
        (entry, exit, edge) in (3_u32..30, 0_u32..12, 0_u32..30),
        (fee, spent, opening) in (0_i64..30, 1_i64..400_000, 100_000_i64..1_000_000),
    ) {
        let scaled = |price: Decimal| {
            let mut price = price;
            price.set_scale(price.scale() + decimals).expect("few decimals");
            price
        };
        let interval = Interval::named(interval).expect("one");
        let begin = rows[0][0].open_time.day();
        let spread = |at: Timestamp| {
            begin.plus_millis(at.millis_since(begin) * (interval.millis() / 60_000))
        };
        let rows: Vec<[Candle; 2]> = rows.iter().map(|row| row.map(|candle| Candle {
            open_time: spread(candle.open_time),
            open: scaled(candle.open),
            high: scaled(candle.high),
            low: scaled(candle.low),
            close: scaled(candle.close),
        })).collect();
        let tenths = |number: u32| f64::from(number) / 10.0;
        let amount = |tenths: i64| Amount::new(Decimal::new(tenths, 1)).expect("above zero");
        let rules = Rules {
            interval,
            window: 20,
            thresholds: Thresholds { entry: 2.0, exit: 0.0, min_edge_bps: 0.0, stop: None },
            max_hold_candles: None,
            max_orders_per_day: None,
            max_daily_loss: None,
        };
        let terms = Terms {
            amount: amount(spent),
            fee: BasisPoints::new(Decimal::new(fee, 0)).expect("few"),
            slippage: BasisPoints::default(),
            max_slippage: None,
        };
        let cell = Cell { window, entry: tenths(entry), exit: tenths(exit), edge_bps: tenths(edge) };
        let ends = sweep::ends(rows.len(), folds);
        let ground = Ground::new(&rows, &rules, &terms, amount(opening), ends);
        let shared = ground.window(&[cell]);
        let quick = ground.quickly(&shared, cell);
        prop_assert!(quick.is_some() || decimals > 6, "two thresholds, and no more than 8 decimals");
        let either = ground.backtest(&shared, cell).expect("small numbers");
        let plain = ground.plainly(&ground.readings(window), cell).expect("small numbers");
        // Of a history that begins or ends without a price there is no such number.
        let told = |mut outcome: Outcome| {
            outcome.figures.buy_and_hold = outcome.figures.buy_and_hold.map(|it| if it.is_nan() { 0.0 } else { it });
            outcome
        };
        let plain = told(plain);
        prop_assert_eq!(quick.map_or_else(|| plain.clone(), told), plain.clone());
        prop_assert_eq!(told(either), plain);
    }
}

// --- the command ---------------------------------------------------------------------------------

fn run(args: &[&str]) -> Run {
    let candles = fixtures().join("dumps");
    Run::bare(&working_folder())
        .args(args)
        .args(["--json"])
        .args(["--candles".as_ref(), candles.as_os_str()])
}

fn sweep(args: &[&str]) -> Run {
    run(&[&["sweep"], args].concat())
}

/// Nothing is kept by either command, so any folder will do.
fn working_folder() -> PathBuf {
    std::env::temp_dir()
}
