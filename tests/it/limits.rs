//! What a user sets to trade less. Replays, because their clock is the data's: days can be chosen.

use serde_json::json;

use crate::support::clock::HOUR;
use crate::support::desk::{Desk, Replay, START};
use crate::support::dump::Dump;
use crate::support::table::{closes, spreads};

#[test]
fn an_entry_needs_the_edge_that_was_set() {
    // |21 - 20.25| / 20.25 = 370.37 bps.
    for (edge, action) in [("370", "buy"), ("371", "hold")] {
        let desk = Desk::new(spreads("20 20 20 21"));
        let outcome = desk.run().env("MIN_EDGE_BPS", edge).expect_exit(0);
        outcome.expect_json(&[("/action", json!(action)), ("/z", json!(1.5))]);
    }
}

#[test]
fn the_edge_counts_below_the_mean_too() {
    // |19 - 19.75| / 19.75 = 379.75 bps.
    for (edge, action) in [("379", "buy"), ("380", "hold")] {
        let desk = Desk::new(spreads("20 20 20 19"));
        let outcome = desk.run().env("MIN_EDGE_BPS", edge).expect_exit(0);
        outcome.expect_json(&[("/action", json!(action))]);
    }
}

#[test]
fn the_edge_does_not_keep_an_exit_back() {
    let edge = [("MIN_EDGE_BPS", "370")];
    let replay = Replay::new(&spreads("20 20 20 21 20.01"));
    replay.expect_actions(&edge, "buy sell");
}

#[test]
fn a_spread_that_runs_further_away_is_stopped() {
    // 20 20 21 25 has z = 1.47: no exit of the strategy, but beyond the stop at 1.4.
    let rows = spreads("20 20 20 21 25");
    Replay::new(&rows).expect_actions(&[], "buy hold");
    let stopped = Replay::new(&rows).expect_actions(&[("STOP_Z", "1.4")], "buy sell");
    assert_eq!(stopped["signal"], "CLOSE");
    assert_eq!(stopped["to"], "NONE");
    Replay::new(&rows).expect_actions(&[("STOP_Z", "1.48")], "buy hold");
}

#[test]
fn a_holding_of_the_base_leg_is_stopped_on_the_other_side() {
    // 20 20 19 15 has z = -1.47.
    let rows = spreads("20 20 20 19 15");
    Replay::new(&rows).expect_actions(&[], "buy hold");
    Replay::new(&rows).expect_actions(&[("STOP_Z", "1.4")], "buy sell");
}

#[test]
fn after_a_stop_no_entry_until_the_spread_has_been_back_inside() {
    // z after the stop: 20 21 25 40: 1.459, an entry by itself; 21 25 40 30: 0.12, back inside;
    // 25 40 30 100: 1.476, an entry again.
    let replay = Replay::new(&spreads("20 20 20 21 25 40 30 100"));
    replay.expect_actions(&[("STOP_Z", "1.47")], "buy sell hold hold buy");
}

#[test]
fn without_a_stop_the_same_candles_keep_the_holding() {
    let replay = Replay::new(&spreads("20 20 20 21 25 40 30 100"));
    replay.expect_actions(&[], "buy hold hold hold hold");
}

#[test]
fn a_holding_is_sold_after_so_many_candles() {
    // 20 20 21 21: 0.87, 20 21 21 21: 0.5: the strategy would hold both times.
    let rows = spreads("20 20 20 21 21 21");
    Replay::new(&rows).expect_actions(&[], "buy hold hold");
    Replay::new(&rows).expect_actions(&[("MAX_HOLD_CANDLES", "2")], "buy hold sell");
    Replay::new(&rows).expect_actions(&[("MAX_HOLD_CANDLES", "1")], "buy sell");
}

#[test]
fn after_too_long_a_holding_no_entry_until_the_spread_has_been_back_inside() {
    // Sold at 20 21 21 25 (1.466); 21 21 25 40 (1.467) is an entry by itself; then 21 25 40 30 is
    // back inside and 25 40 30 100 an entry again.
    let replay = Replay::new(&spreads("20 20 20 21 21 25 40 30 100"));
    replay.expect_actions(&[("MAX_HOLD_CANDLES", "2")], "buy hold sell hold hold buy");
}

/// Three entries with an exit after each of the first two: z is 1.5, -0.5, 1.49, -0.57, 1.49.
///
/// 20 20 20 21 | 20 20 21 20 | 20 21 20 30 | 21 20 30 20 | 20 30 20 80
const THREE_ENTRIES: &str = "20 20 20 21 20 30 20 80";

#[test]
fn the_candles_of_the_daily_limits_have_three_entries() {
    Replay::new(&spreads(THREE_ENTRIES)).expect_actions(&[], "buy sell buy sell buy");
}

#[test]
fn orders_a_day_bind_entries_only() {
    // A sale is an order too, so it counts, but nothing keeps it back.
    for (most, actions) in [
        ("1", "buy sell hold hold hold"),
        ("2", "buy sell hold hold hold"),
        ("3", "buy sell buy sell hold"),
        ("4", "buy sell buy sell hold"),
        ("5", "buy sell buy sell buy"),
    ] {
        let replay = Replay::new(&spreads(THREE_ENTRIES));
        replay.expect_actions(&[("MAX_ORDERS_PER_DAY", most)], actions);
    }
}

#[test]
fn a_new_day_has_orders_again() {
    // 20 21 20 20 holds, 21 20 20 30 has z = 1.49. The exit's candle ends an hour before midnight,
    // the second entry's begins at midnight.
    let rows = spreads("20 20 20 21 20 20 30");
    let limit = [("MAX_ORDERS_PER_DAY", "1")];
    Replay::new(&rows).expect_actions(&limit, "buy sell hold hold");
    Replay::of(&evening(), &rows).expect_actions(&limit, "buy sell hold buy");
}

#[test]
fn a_day_with_too_great_a_loss_has_no_further_entry() {
    // The first round trip buys ETH at 3000 and sells it at 2900: a loss of about 5.30.
    let rows = closes(
        "60000 3000
         60000 3000
         60000 3000
         63000 3000
         58000 2900
         90000 3000
         60000 3000",
    );
    Replay::new(&rows).expect_actions(&[], "buy sell buy sell");
    Replay::new(&rows).expect_actions(&[("MAX_DAILY_LOSS_USDT", "6")], "buy sell buy sell");
    Replay::new(&rows).expect_actions(&[("MAX_DAILY_LOSS_USDT", "5")], "buy sell hold hold");
}

#[test]
fn a_new_day_forgets_the_loss_of_the_old_one() {
    let rows = closes(
        "60000 3000
         60000 3000
         60000 3000
         63000 3000
         58000 2900
         60000 3000
         90000 3000",
    );
    let limit = [("MAX_DAILY_LOSS_USDT", "5")];
    Replay::new(&rows).expect_actions(&limit, "buy sell hold hold");
    Replay::of(&evening(), &rows).expect_actions(&limit, "buy sell hold buy");
}

#[test]
fn a_loss_limit_does_not_keep_an_exit_back() {
    let rows = closes(
        "60000 3000
         60000 3000
         60000 3000
         63000 3000
         50000 2500",
    );
    Replay::new(&rows).expect_actions(&[("MAX_DAILY_LOSS_USDT", "0.01")], "buy sell");
}

#[test]
fn a_limit_says_why_nothing_was_bought() {
    let replay = Replay::new(&spreads(THREE_ENTRIES));
    let told = replay.expect_actions(&[("MAX_ORDERS_PER_DAY", "1")], "buy sell hold");
    let why = told["why"].as_str().expect("a sentence").to_lowercase();
    assert!(why.contains("order") && why.contains("day"), "{why}");
}

/// A dump whose seventh candle opens at midnight.
fn evening() -> Dump {
    Dump::hourly(START + 18 * HOUR)
}
