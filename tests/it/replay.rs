//! Replay: one candle of the data a run, with the data's clock, without a network.

use std::fs;

use serde_json::json;

use crate::support::clock::{HOUR, rfc3339};
use crate::support::desk::{Desk, Replay, START, home};
use crate::support::dump::Dump;
use crate::support::run::{Run, expect_money};
use crate::support::table::{closes, spreads};

#[test]
fn the_first_run_takes_the_first_candle_with_a_full_window() {
    let replay = Replay::new(&spreads("20 20 20 21 20"));
    let outcome = replay.run().expect_exit(0);
    outcome.expect_json(&[
        ("/mode", json!("replay")),
        ("/candle", json!(rfc3339(START + 3 * HOUR))),
        ("/z", json!(1.5)),
        ("/action", json!("buy")),
    ]);
}

#[test]
fn every_further_run_takes_the_next_candle() {
    let replay = Replay::new(&spreads("20 20 20 21 21 20"));
    for (step, action) in ["buy", "hold", "sell"].iter().enumerate() {
        let candle = rfc3339(START + (3 + i64::try_from(step).expect("small")) * HOUR);
        let outcome = replay.run().expect_exit(0);
        outcome.expect_json(&[("/candle", json!(candle)), ("/action", json!(action))]);
    }
}

#[test]
fn after_the_last_candle_a_run_says_so() {
    let replay = Replay::new(&spreads("20 20 20 21"));
    replay.expect_actions(&[], "buy end-of-data");
    let before = replay.status();
    replay.expect_actions(&[], "end-of-data end-of-data");
    assert_eq!(before, replay.status());
}

#[test]
fn data_shorter_than_a_window_is_over_at_once() {
    let replay = Replay::new(&spreads("20 20 21"));
    let outcome = replay.run().expect_one_of(&[0, 65]);
    if outcome.code == 0 {
        outcome.expect_json(&[("/action", json!("end-of-data"))]);
    }
}

#[test]
fn a_replay_asks_nobody() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let replay = Replay::new(&spreads("20 20 20 21 20"));
    let url = desk.server.url();
    for _ in 0..3 {
        let run = replay.run().env("BINANCE_MARKET_URL", &url).env("BINANCE_BASE_URL", &url);
        let _ = run.expect_exit(0);
    }
    assert!(desk.server.requests().is_empty());
}

#[test]
fn a_replay_is_paper_whatever_is_set() {
    let replay = Replay::new(&spreads("20 20 20 21"));
    let run = replay.run().env("DRY_RUN", "false");
    run.expect_exit(0).expect_json(&[("/mode", json!("replay")), ("/action", json!("buy"))]);
}

#[test]
fn the_same_candles_give_the_same_book() {
    let book = || {
        let replay = Replay::new(&spreads("20 20 20 21 20 30 20 80 20"));
        replay.expect_actions(&[], "buy sell buy sell buy sell end-of-data");
        replay.status()
    };
    assert_eq!(book(), book());
}

#[test]
fn only_rows_that_both_legs_have_are_candles() {
    // ETH has one row more at the end, and BTC one more at the beginning.
    let replay = Replay::empty();
    let (btc, eth): (Vec<_>, Vec<_>) = spreads("20 20 20 21").into_iter().unzip();
    let early = Dump::hourly(START - HOUR);
    early.write_leg(&replay.candles(), "BTCUSDT", "2024-03", &[&btc[..1], &btc].concat());
    Dump::hourly(START).write_leg(
        &replay.candles(),
        "ETHUSDT",
        "2024-03",
        &[&eth[..], &eth[..1]].concat(),
    );
    let outcome = replay.run().expect_exit(0);
    let first = rfc3339(START + 3 * HOUR);
    outcome.expect_json(&[("/candle", json!(first)), ("/action", json!("buy"))]);
    replay.expect_actions(&[], "end-of-data");
}

#[test]
fn a_gap_inside_the_window_holds_until_it_is_past() {
    // Rows 3 and 4 are two hours apart: the windows that end at rows 4, 5 and 6 have the gap inside.
    let replay = Replay::empty();
    let (btc, eth): (Vec<_>, Vec<_>) = spreads("20 20 20 20 40 40 40 80").into_iter().unzip();
    for (symbol, leg) in [("BTCUSDT", &btc), ("ETHUSDT", &eth)] {
        Dump::hourly(START).write_leg(&replay.candles(), symbol, "2024-03-a", &leg[..4]);
        Dump::hourly(START + 5 * HOUR).write_leg(&replay.candles(), symbol, "2024-03-b", &leg[4..]);
    }
    replay.expect_actions(&[], "hold");
    for _ in 0..3 {
        let outcome = replay.run().expect_exit(0);
        outcome.expect_json(&[("/z", json!(null)), ("/action", json!("hold"))]);
    }
    replay.expect_actions(&[], "buy end-of-data");
}

#[test]
fn a_price_of_zero_holds_until_it_is_past() {
    let mut rows = spreads("20 20 20 20 20 20 20 20 21");
    rows[4].1 = rust_decimal::Decimal::ZERO;
    let replay = Replay::new(&rows);
    replay.expect_actions(&[], "hold");
    for _ in 0..4 {
        let outcome = replay.run().expect_exit(0);
        outcome.expect_json(&[("/z", json!(null)), ("/action", json!("hold"))]);
    }
    replay.expect_actions(&[], "buy end-of-data");
}

#[test]
fn a_gap_does_not_sell_what_is_held() {
    let replay = Replay::empty();
    let (btc, eth): (Vec<_>, Vec<_>) = spreads("20 20 20 21 20 20 20 20 19").into_iter().unzip();
    for (symbol, leg) in [("BTCUSDT", &btc), ("ETHUSDT", &eth)] {
        Dump::hourly(START).write_leg(&replay.candles(), symbol, "2024-03-a", &leg[..4]);
        Dump::hourly(START + 5 * HOUR).write_leg(&replay.candles(), symbol, "2024-03-b", &leg[4..]);
    }
    // The window after the gap is flat and has no z; the one after that has z = -1.5.
    replay.expect_actions(&[], "buy hold hold hold hold sell");
}

#[test]
fn a_world_belongs_to_its_pair_timeframe_and_candles() {
    let replay = Replay::new(&spreads("20 20 20 21 20"));
    replay.expect_actions(&[], "buy");
    // Other candles under the same state directory: a book of their own.
    let other = Replay::new(&spreads("20 20 20 19 20"));
    let run =
        Run::replay(&replay.cwd(), &other.candles()).args(["--json"]).state_dir(&replay.state());
    run.expect_exit(0).expect_json(&[("/to", json!("HOLDING_BTC"))]);
    assert_eq!(replay.status()["state"], "HOLDING_ETH");
    replay.expect_actions(&[], "sell");
    let worlds = fs::read_dir(replay.state().join("replay")).expect("a folder").count();
    assert_eq!(worlds, 2);
}

#[test]
fn the_same_folder_by_another_path_is_the_same_world() {
    let replay = Replay::new(&spreads("20 20 20 21 20"));
    replay.expect_actions(&[], "buy");
    std::os::unix::fs::symlink(replay.candles(), replay.cwd().join("link")).expect("a link");
    let cwd = replay.cwd();
    let run = Run::replay(&cwd, "link".as_ref()).args(["--json"]).state_dir(&replay.state());
    run.expect_exit(0).expect_json(&[("/action", json!("sell"))]);
}

#[test]
fn rows_that_are_added_later_are_played_on() {
    let replay = Replay::new(&spreads("20 20 20 21"));
    replay.expect_actions(&[], "buy end-of-data");
    Dump::hourly(START).write(&replay.candles(), &spreads("20 20 20 21 20"));
    replay.expect_actions(&[], "sell end-of-data");
}

#[test]
fn the_built_in_sample_plays_without_anything() {
    let home = home();
    let cwd = home.path().join("cwd");
    let demo = || {
        Run::bare(&cwd).args(["--candles", "demo", "--json"]).state_dir(&home.path().join("state"))
    };
    let first = demo().expect_exit(0).json();
    let second = demo().expect_exit(0).json();
    assert_eq!(first["mode"], "replay");
    assert!(first["candle"].as_str() < second["candle"].as_str(), "{first:#} {second:#}");
}

#[test]
fn a_replay_without_steps_or_minimums_buys_any_amount() {
    let replay = Replay::new(&spreads("20 20 20 21"));
    let told = replay.run().env("TRADE_AMOUNT_USDT", "0.01").expect_exit(0).json();
    // 0.01 / 3000 = 0.00000333.., down; 0.00000333 × 3000 = 0.00999.
    expect_money(
        &told,
        &[("/order/executed_quantity", "0.00000333"), ("/order/quote_quantity", "0.00999")],
    );
}

#[test]
fn a_replay_sells_at_the_close_of_its_leg() {
    let replay = Replay::new(&closes("60000 3000\n60000 3000\n60000 3000\n57000 3000\n61000 3000"));
    replay.expect_actions(&[], "buy");
    let told = replay.expect_actions(&[], "sell");
    expect_money(&told, &[("/order/average_price", "61000")]);
}
