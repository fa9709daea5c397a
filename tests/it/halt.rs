//! The user's switch: nothing is traded while it is on, and it says what it lifts.

use std::fs::File;

use serde_json::json;

use crate::support::desk::{Desk, Replay};
use crate::support::fault::Fault;
use crate::support::run::expect_money;
use crate::support::table::spreads;

#[test]
fn a_halted_run_trades_nothing_and_is_no_failure() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.command(&["halt"]).expect_exit(0);
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/action", json!("halted")), ("/order", json!(null))]);
    let status = desk.status();
    assert_ne!(status["halted"], json!(null));
    assert_eq!(status["state"], "NONE");
}

#[test]
fn a_halt_keeps_an_exit_back_too() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    let _ = desk.command(&["halt"]).expect_exit(0);
    desk.server.close_candle(spreads("20")[0]);
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/action", json!("halted"))]);
    assert_eq!(desk.status()["state"], "HOLDING_ETH");
}

#[test]
fn while_halted_no_candle_counts_as_processed() {
    let desk = Desk::entry_ahead();
    let _ = desk.command(&["halt"]).expect_exit(0);
    let _ = desk.run().expect_exit(0);
    let _ = desk.command(&["resume"]).expect_exit(0);
    desk.expect_buy();
}

#[test]
fn a_halt_stays_until_it_is_lifted() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.command(&["halt"]).expect_exit(0);
    for _ in 0..3 {
        desk.run().expect_exit(0).expect_json(&[("/action", json!("halted"))]);
    }
    let _ = desk.command(&["halt"]).expect_exit(0);
    let _ = desk.command(&["resume"]).expect_exit(0);
    assert_eq!(desk.status()["halted"], json!(null));
    desk.expect_buy();
}

#[test]
fn a_reason_is_kept_and_shown_when_it_is_lifted() {
    let desk = Desk::new(spreads("20 20 21 20"));
    let _ = desk.run().expect_exit(0);
    let _ = desk.command(&["halt", "holiday in Crete"]).expect_exit(0);
    let reason = desk.status()["halted"].as_str().expect("a reason").to_owned();
    assert!(reason.contains("holiday in Crete"), "{reason}");
    let outcome = desk.command(&["resume"]).expect_exit(0);
    outcome.expect_said(&["holiday in Crete"]);
}

#[test]
fn a_halt_and_its_end_are_in_the_journal() {
    let desk = Desk::new(spreads("20 20 21 20"));
    let _ = desk.run().expect_exit(0);
    let _ = desk.command(&["halt", "holiday"]).expect_exit(0);
    let _ = desk.command(&["resume"]).expect_exit(0);
    // A halt may be written down by the next run.
    let _ = desk.run().expect_exit(0);
    let journal = desk.paper().journal();
    let kinds: Vec<&str> =
        journal.iter().filter_map(|record| record["record"]["kind"].as_str()).collect();
    assert!(kinds.contains(&"halt") && kinds.contains(&"resume"), "{kinds:?}");
}

#[test]
fn resuming_what_was_not_halted_is_no_harm() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().expect_exit(0);
    let before = desk.status();
    let _ = desk.command(&["resume"]).expect_exit(0);
    assert_eq!(before, desk.status());
}

#[test]
fn flatten_sells_what_is_held_at_the_bid_and_halts() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    desk.server.touch("ETHUSDT", "3200", "3201");
    let _ = desk.command(&["flatten", "--yes"]).expect_exit(0);
    // As in `fills`: 0.0482 × 3200 = 154.24, fee 0.15424; 850.27 + 154.08576.
    let status = desk.status();
    assert_eq!((&status["state"], &status["position"]), (&json!("NONE"), &json!(null)));
    assert_ne!(status["halted"], json!(null));
    expect_money(&status, &[("/paper_balance", "1004.35576"), ("/realized_pnl", "4.35576")]);
    desk.expect_conserved();
    desk.server.close_candle(spreads("30")[0]);
    desk.run().expect_exit(0).expect_json(&[("/action", json!("halted"))]);
}

#[test]
fn flatten_with_nothing_held_only_halts() {
    let desk = Desk::new(spreads("20 20 21 20"));
    let _ = desk.run().expect_exit(0);
    let _ = desk.command(&["flatten", "--yes"]).expect_exit(0);
    let status = desk.status();
    assert_ne!(status["halted"], json!(null));
    expect_money(&status, &[("/paper_balance", "1000")]);
    assert_eq!(status["trades"], 0);
}

#[test]
fn flatten_asks_nobody_where_there_is_no_terminal() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    let _ = desk.command(&["flatten"]).expect_exit(0);
    assert_eq!(desk.status()["state"], "NONE");
}

#[test]
fn what_writes_the_book_waits_for_no_other() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    let before = desk.paper().snapshot();
    let lock = File::open(desk.paper().join("lock")).expect("a lock");
    fs2::FileExt::try_lock_exclusive(&lock).expect("it is free after a run");
    for args in [&["flatten", "--yes"][..], &["resume"]] {
        let _ = desk.command(args).expect_exit(75);
    }
    assert_eq!(before, desk.paper().snapshot());
}

#[test]
fn flatten_works_while_halted() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    let _ = desk.command(&["halt"]).expect_exit(0);
    let _ = desk.command(&["flatten", "--yes"]).expect_exit(0);
    assert_eq!(desk.status()["state"], "NONE");
}

#[test]
fn flatten_without_a_price_sells_nothing() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    desk.server.fault("bookTicker", Fault::status(503));
    let _ = desk.command(&["flatten", "--yes"]).expect_exit(69);
    let status = desk.status();
    assert_eq!(status["state"], "HOLDING_ETH");
    expect_money(&status, &[("/paper_balance", "850.27")]);
    desk.server.heal();
    let _ = desk.command(&["flatten", "--yes"]).expect_exit(0);
    assert_eq!(desk.status()["state"], "NONE");
}

#[test]
fn a_halt_needs_no_network() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    desk.server.forget();
    let _ = desk.command(&["halt"]).expect_exit(0);
    let _ = desk.command(&["status"]).expect_exit(0);
    let _ = desk.command(&["resume"]).expect_exit(0);
    assert!(desk.server.requests().is_empty());
}

#[test]
fn a_replay_has_a_switch_of_its_own() {
    let replay = Replay::new(&spreads("20 20 20 21 20"));
    replay.expect_actions(&[], "buy");
    let _ = replay.command(&["halt"]).expect_exit(0);
    replay.expect_actions(&[], "halted");
    let _ = replay.command(&["resume"]).expect_exit(0);
    replay.expect_actions(&[], "sell end-of-data");
}

#[test]
fn the_switch_of_one_world_is_not_that_of_another() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let replay = Replay::new(&spreads("20 20 20 21"));
    let candles = replay.candles();
    let candles = candles.to_str().expect("a plain path");
    let _ = desk.command(&["halt", "--candles", candles]).env("TIMEFRAME", "1h").expect_exit(0);
    desk.expect_buy();
}
