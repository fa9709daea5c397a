//! Each row of the strategy's table, with spreads over a window of four.
//!
//! Three equal spreads and a fourth one off have z = ±1.5 exactly; the entry threshold is 1.2.

use serde_json::json;

use crate::support::desk::{Desk, Replay};
use crate::support::table::{closes, spreads};

#[test]
fn the_first_run_on_a_quiet_market_holds() {
    // 20 20 21 20 has the mean 20.25, the deviation 0.5 and z = -0.5.
    let desk = Desk::new(spreads("20 20 21 20"));
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[
        ("/mode", json!("paper")),
        ("/candle", json!(desk.server.newest_candle())),
        ("/z", json!(-0.5)),
        ("/spread", json!(20.0)),
        ("/mean", json!(20.25)),
        ("/std", json!(0.5)),
        ("/signal", json!("HOLD")),
        ("/from", json!("NONE")),
        ("/to", json!("NONE")),
        ("/action", json!("hold")),
        ("/order", json!(null)),
        ("/settled", json!(null)),
    ]);
    assert_eq!(desk.status()["state"], "NONE");
}

#[test]
fn a_spread_far_above_its_mean_buys_the_quote_leg() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[
        ("/z", json!(1.5)),
        ("/signal", json!("LONG_ETH")),
        ("/from", json!("NONE")),
        ("/to", json!("HOLDING_ETH")),
        ("/action", json!("buy")),
        ("/order/symbol", json!("ETHUSDT")),
        ("/order/side", json!("BUY")),
    ]);
    assert_eq!(desk.status()["state"], "HOLDING_ETH");
}

#[test]
fn a_spread_far_below_its_mean_buys_the_base_leg() {
    let desk = Desk::new(spreads("20 20 20 19"));
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[
        ("/z", json!(-1.5)),
        ("/signal", json!("LONG_BTC")),
        ("/to", json!("HOLDING_BTC")),
        ("/action", json!("buy")),
        ("/order/symbol", json!("BTCUSDT")),
    ]);
    assert_eq!(desk.status()["state"], "HOLDING_BTC");
}

#[test]
fn z_exactly_at_the_entry_threshold_is_no_entry() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome = desk.run().env("ENTRY_THRESHOLD", "1.5").expect_exit(0);
    outcome.expect_json(&[("/z", json!(1.5)), ("/action", json!("hold"))]);
}

#[test]
fn a_flat_market_has_no_z_and_no_action() {
    let desk = Desk::new(spreads("20 20 20 20"));
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/z", json!(null)), ("/action", json!("hold"))]);
}

#[test]
fn a_deviation_that_is_only_rounding_noise_gives_no_z() {
    // 0.3 = 0.1 × 3 is not the same double as 0.3; nobody should trade on that.
    let rows = closes("0.3 1\n0.9 3\n0.6 2\n2.1 7");
    let desk = Desk::new(rows);
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/z", json!(null)), ("/action", json!("hold"))]);
}

#[test]
fn the_quote_leg_is_sold_when_the_spread_is_back() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().expect_exit(0);
    desk.server.close_candle(spreads("20")[0]); // z = -0.5 <= 0
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[
        ("/signal", json!("CLOSE")),
        ("/from", json!("HOLDING_ETH")),
        ("/to", json!("NONE")),
        ("/action", json!("sell")),
        ("/order/symbol", json!("ETHUSDT")),
        ("/order/side", json!("SELL")),
    ]);
    assert_eq!(desk.status()["state"], "NONE");
}

#[test]
fn the_base_leg_is_sold_when_the_spread_is_back() {
    let desk = Desk::new(spreads("20 20 20 19"));
    let _ = desk.run().expect_exit(0);
    desk.server.close_candle(spreads("20")[0]); // z = 0.5 >= 0
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[
        ("/from", json!("HOLDING_BTC")),
        ("/to", json!("NONE")),
        ("/action", json!("sell")),
        ("/order/symbol", json!("BTCUSDT")),
    ]);
}

#[test]
fn a_holding_is_kept_while_the_spread_is_still_away() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().expect_exit(0);
    desk.server.close_candle(spreads("21")[0]); // 20 20 21 21: z = 0.87
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[
        ("/signal", json!("HOLD")),
        ("/from", json!("HOLDING_ETH")),
        ("/to", json!("HOLDING_ETH")),
        ("/action", json!("hold")),
        ("/order", json!(null)),
    ]);
}

#[test]
fn an_exit_threshold_sells_earlier() {
    // z = 0.87 is above an exit at 0, and below one at 0.9; on the other side the same with minus.
    for (spread, entry) in [("21", "20 20 20 21"), ("19", "20 20 20 19")] {
        let desk = Desk::new(spreads(entry));
        let _ = desk.run().env("EXIT_THRESHOLD", "0.9").expect_exit(0);
        desk.server.close_candle(spreads(spread)[0]);
        let outcome = desk.run().env("EXIT_THRESHOLD", "0.9").expect_exit(0);
        outcome.expect_json(&[("/action", json!("sell"))]);
    }
}

#[test]
fn a_candle_is_acted_on_once() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().expect_exit(0);
    let before = desk.status();
    for _ in 0..3 {
        let outcome = desk.run().expect_exit(0);
        outcome.expect_json(&[
            ("/action", json!("already-processed")),
            ("/from", json!("HOLDING_ETH")),
            ("/to", json!("HOLDING_ETH")),
            ("/order", json!(null)),
        ]);
    }
    assert_eq!(before, desk.status());
}

#[test]
fn a_candle_that_was_held_is_not_acted_on_later_with_other_settings() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().env("ENTRY_THRESHOLD", "1.5").expect_exit(0);
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/action", json!("already-processed"))]);
}

#[test]
fn an_exit_met_while_the_machine_slept_is_taken_now() {
    let desk = Desk::for_two_more(spreads("20 20 20 21"));
    let _ = desk.run().expect_exit(0);
    // Back at the mean (z = -0.5) while nobody looked, then away from it again (z = 0.87).
    desk.server.close_candle(spreads("20")[0]);
    desk.server.close_candle(spreads("21")[0]);
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[
        ("/candle", json!(desk.server.newest_candle())),
        ("/action", json!("sell")),
        ("/to", json!("NONE")),
    ]);
}

#[test]
fn an_entry_missed_while_the_machine_slept_is_not_taken() {
    let desk = Desk::for_two_more(spreads("20 20 20 20"));
    let _ = desk.run().expect_exit(0);
    // z = 1.5 while nobody looked, then 0.26.
    desk.server.close_candle(spreads("21")[0]);
    desk.server.close_candle(spreads("20.5")[0]);
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/action", json!("hold")), ("/to", json!("NONE"))]);
}

#[test]
fn a_candle_without_z_is_skipped_when_looking_back() {
    // A window of two knows z = ±0.71 and, when both are equal, none.
    let window = [("ROLLING_WINDOW", "2"), ("ENTRY_THRESHOLD", "0.7")];
    let desk = Desk::for_two_more(spreads("20 21"));
    let outcome = desk.run().envs(&window).expect_exit(0);
    outcome.expect_json(&[("/action", json!("buy"))]);
    desk.server.close_candle(spreads("21")[0]);
    desk.server.close_candle(spreads("22")[0]);
    let outcome = desk.run().envs(&window).expect_exit(0);
    outcome.expect_json(&[("/action", json!("hold")), ("/to", json!("HOLDING_ETH"))]);
}

#[test]
fn the_first_run_knows_only_its_newest_candle() {
    // The candle before the newest one was an entry.
    let desk = Desk::new(spreads("20 20 20 21 20.5"));
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/action", json!("hold")), ("/to", json!("NONE"))]);
}

#[test]
fn an_exit_and_an_entry_never_fall_into_one_run() {
    // The candle that ends the one holding is an entry for the other side: z = -1.47.
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().expect_exit(0);
    desk.server.close_candle(spreads("15")[0]);
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/action", json!("sell")), ("/to", json!("NONE"))]);
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/action", json!("already-processed"))]);
}

#[test]
fn states_carry_the_legs_own_assets() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.legs(("LTCUSDT", "60000.00", "62000.00"), ("BCHUSDT", "3000.00", "3100.00"));
    let pair = [("SYMBOL_BASE", "LTC/USDT"), ("SYMBOL_QUOTE", "BCHUSDT")];
    let outcome = desk.run().envs(&pair).expect_exit(0);
    outcome.expect_json(&[
        ("/signal", json!("LONG_BCH")),
        ("/to", json!("HOLDING_BCH")),
        ("/order/symbol", json!("BCHUSDT")),
    ]);
    let status = desk.command(&["status", "--json"]).envs(&pair).expect_exit(0).json();
    assert_eq!(status["state"], "HOLDING_BCH");
    assert_eq!(status["position"]["asset"], "BCH");
}

#[test]
fn why_says_the_decision_with_its_numbers() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let why = desk.run().expect_exit(0).json()["why"].as_str().expect("a sentence").to_owned();
    assert!(why.contains("1.5") && why.contains("1.2"), "z and the threshold: {why}");
    assert!(!why.contains('\n'), "one sentence: {why}");
}

#[test]
fn text_names_what_was_done() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome = desk.command(&[]).expect_exit(0);
    assert!(outcome.stdout.contains("HOLDING_ETH") || outcome.stdout.contains("ETH"));
    assert!(!outcome.stdout.contains('\u{1b}'), "no colour in a pipe");
}

#[test]
fn a_whole_cycle_of_both_sides_in_a_replay() {
    // Windows and z: 20 20 20 21: 1.5, 20 20 21 20: -0.5, 20 21 20 20: -0.5, 21 20 20 19: -1.22,
    // 20 20 19 20: 0.5.
    let replay = Replay::new(&spreads("20 20 20 21 20 20 19 20"));
    replay.expect_actions(&[], "buy sell hold buy sell end-of-data");
    assert_eq!(replay.status()["trades"], 2);
}
