//! The exchange's clock decides which candle is closed; the machine's own only has to be near it.

use serde_json::json;

use crate::support::clock::{MINUTE, SECOND};
use crate::support::desk::Desk;
use crate::support::fault::Fault;
use crate::support::table::spreads;

#[test]
fn a_machine_two_minutes_from_the_exchange_decides_nothing() {
    for shift in [2 * MINUTE, -2 * MINUTE] {
        let desk = Desk::daily(spreads("20 20 20 21"), shift);
        desk.expect_refused(69, &["clock"]);
        assert!(!desk.paper().join("state.json").exists());
    }
}

#[test]
fn a_machine_hours_or_years_from_the_exchange_decides_nothing() {
    for shift in [3 * 60 * MINUTE, -3 * 60 * MINUTE, 40 * 365 * 24 * 60 * MINUTE] {
        let desk = Desk::daily(spreads("20 20 20 21"), shift);
        desk.expect_refused(69, &["clock"]);
    }
}

#[test]
fn a_machine_that_is_nearly_right_is_right_enough() {
    for shift in [50 * SECOND, -50 * SECOND] {
        let desk = Desk::daily(spreads("20 20 20 21"), shift);
        desk.expect_buy();
    }
}

#[test]
fn the_difference_of_clocks_is_told() {
    let desk = Desk::daily(spreads("20 20 20 21"), 2 * MINUTE);
    let outcome = desk.expect_refused(69, &["clock"]);
    let said = outcome.said();
    // A second more or less, because `Date` knows whole seconds only.
    assert!(["119", "120", "121", "2 min"].iter().any(|text| said.contains(text)), "{said}");
}

#[test]
fn without_a_date_the_exchange_is_asked_for_its_time() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.no_date();
    desk.expect_buy();
    assert!(!desk.server.requests_to("/api/v3/time").is_empty());
}

#[test]
fn without_any_time_of_the_exchange_nothing_is_decided() {
    let desk = Desk::entry_ahead();
    desk.server.no_date();
    for fault in [Fault::status(503), Fault::body("{}"), Fault::body(r#"{"serverTime":"now"}"#)] {
        desk.server.fault("/api/v3/time", fault);
        desk.expect_refused(69, &[]);
        desk.server.heal();
    }
    desk.expect_buy();
}

#[test]
fn the_candle_that_is_still_forming_is_never_used() {
    // It would be an entry, and with the four before it, no.
    let desk = Desk::new(spreads("20 20 21 20"));
    desk.server.forming(spreads("90")[0]);
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[
        ("/candle", json!(desk.server.newest_candle())),
        ("/spread", json!(20.0)),
        ("/z", json!(-0.5)),
        ("/action", json!("hold")),
    ]);
}

#[test]
fn a_list_without_a_forming_candle_loses_none() {
    // The forming candle is known by its times and not by its place: here the last one is closed.
    let desk = Desk::new(spreads("20 20 20 20 21"));
    desk.server.bend("klines", |candles| {
        drop(candles.as_array_mut().expect("a list").pop());
    });
    let outcome = desk.run().expect_exit(0);
    outcome
        .expect_json(&[("/candle", json!(desk.server.newest_candle())), ("/action", json!("buy"))]);
}

#[test]
fn two_candles_that_are_not_closed_are_both_left_out() {
    let desk = Desk::new(spreads("20 20 20 20 20 21"));
    desk.server.bend("klines", |candles| {
        let list = candles.as_array_mut().expect("a list");
        let mut next = list[list.len() - 1].clone();
        for column in [0, 6] {
            next[column] = json!(next[column].as_i64().expect("a time") + MINUTE);
        }
        list.push(next);
    });
    let outcome = desk.run().expect_one_of(&[0, 65]);
    if outcome.code == 0 {
        let newest = desk.server.newest_candle();
        outcome.expect_json(&[("/candle", json!(newest)), ("/action", json!("buy"))]);
    }
}

#[test]
fn a_candle_once_decided_on_is_not_decided_again_when_the_clock_goes_back() {
    let desk = Desk::entry_ahead();
    desk.expect_buy();
    let before = desk.status();
    // The exchange shows the time and the candles of a minute ago.
    desk.server.clock(crate::support::clock::Clock::over_one_candle());
    desk.server.bend("klines", |candles| {
        let list = candles.as_array_mut().expect("a list");
        list.truncate(list.len() - 1);
    });
    let _ = desk.run().expect_one_of(&[0, 65]);
    assert_eq!(before["position"], desk.status()["position"]);
}
