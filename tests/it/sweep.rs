//! `sweep`: each cell is a backtest, the past chooses and the future judges, and luck is called luck.

use std::fs;
use std::path::PathBuf;

use ouroboros::history::sweep::Range;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::support::desk::{Replay, home};
use crate::support::dump::fixtures;
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
