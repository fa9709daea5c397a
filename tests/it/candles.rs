//! Candles that can't be trusted: 65, the message names the leg, not a byte of the book changes, and
//! the run after the repair goes on as if nothing had been.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::desk::Desk;
use crate::support::table::spreads;

#[test]
fn too_few_candles() {
    expect_distrust("klines ETHUSDT", |candles| {
        drop(candles.drain(..candles.len() - 3));
    });
}

#[test]
fn a_newest_candle_that_stays_away() {
    // Each of these is waited for, so all of them at the same time.
    thread::scope(|scope| {
        scope.spawn(|| expect_distrust("klines ETHUSDT", Vec::clear));
        scope.spawn(|| expect_distrust("klines", Vec::clear));
        scope.spawn(|| expect_distrust("klines BTCUSDT", |list| list.truncate(list.len() - 2)));
        scope.spawn(|| expect_distrust("klines", |list| list.truncate(list.len() - 2)));
        // The forming candle is there, but not the one before it.
        scope.spawn(|| expect_distrust("klines ETHUSDT", |list| drop(list.remove(list.len() - 2))));
        scope.spawn(|| expect_distrust("klines ETHUSDT", |list| list.reverse()));
    });
}

#[test]
fn a_gap_inside_the_window() {
    expect_distrust("klines ETHUSDT", |candles| {
        drop(candles.remove(candles.len() - 4));
    });
}

#[test]
fn a_gap_in_both_legs() {
    expect_distrust("klines", |candles| drop(candles.remove(candles.len() - 4)));
}

#[test]
fn a_candle_twice() {
    expect_distrust("klines ETHUSDT", |candles| {
        let one = candles[candles.len() - 3].clone();
        candles.insert(candles.len() - 3, one);
    });
}

#[test]
fn two_candles_out_of_order() {
    expect_distrust("klines ETHUSDT", |candles| {
        let last = candles.len();
        candles.swap(last - 3, last - 4);
    });
}

#[test]
fn a_candle_off_the_grid() {
    expect_distrust("klines ETHUSDT", |candles| {
        let row = candles.len() - 3;
        shift(&mut candles[row], 1_000);
    });
}

#[test]
fn all_candles_off_the_grid() {
    expect_distrust("klines", |candles| {
        for one in candles {
            shift(one, 30_000);
        }
    });
}

#[test]
fn a_price_of_zero() {
    expect_distrust("klines ETHUSDT", |candles| {
        set_prices(candles, "0.00000000");
    });
}

#[test]
fn a_negative_price() {
    expect_distrust("klines ETHUSDT", |candles| {
        set_prices(candles, "-3000.00000000");
    });
}

#[test]
fn a_price_that_is_no_number() {
    expect_distrust("klines ETHUSDT", |candles| set_prices(candles, "NaN"));
}

#[test]
fn an_infinite_price() {
    expect_distrust("klines ETHUSDT", |candles| set_prices(candles, "inf"));
}

#[test]
fn a_high_below_the_low() {
    expect_distrust("klines ETHUSDT", |candles| {
        let row = candles.len() - 3;
        candles[row][2] = json!("2999.00000000");
        candles[row][3] = json!("3001.00000000");
    });
}

#[test]
fn a_candle_of_eleven_columns() {
    expect_distrust("klines ETHUSDT", |candles| {
        let row = candles.len() - 3;
        drop(candles[row].as_array_mut().expect("a candle").pop());
    });
}

#[test]
fn a_late_candle_is_asked_for_again_before_the_run_gives_up() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.bend("klines ETHUSDT", rows(|candles| candles.truncate(candles.len() - 2)));
    let outcome = desk.expect_refused(65, &["ETHUSDT"]);
    assert!(desk.server.requests_to("klines ETHUSDT").len() > 1, "asked once only");
    assert!(outcome.took < Duration::from_secs(10), "{:?}", outcome.took);
    assert!(desk.server.requests().len() <= 25, "no hammering");
}

#[test]
fn a_candle_that_is_only_late_is_waited_for() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let answers = AtomicUsize::new(0);
    desk.server.bend(
        "klines ETHUSDT",
        rows(move |candles| {
            if answers.fetch_add(1, Ordering::Relaxed) == 0 {
                candles.truncate(candles.len() - 2);
            }
        }),
    );
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[
        ("/candle", json!(desk.server.newest_candle())),
        ("/z", json!(1.5)),
        ("/action", json!("buy")),
    ]);
}

#[test]
fn both_legs_may_be_late() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let answers = AtomicUsize::new(0);
    desk.server.bend(
        "klines",
        rows(move |candles| {
            if answers.fetch_add(1, Ordering::Relaxed) < 2 {
                candles.truncate(candles.len() - 2);
            }
        }),
    );
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/action", json!("buy"))]);
}

#[test]
fn times_in_microseconds_are_told_by_their_size() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.bend(
        "klines",
        rows(|candles| {
            for candle in candles {
                let micros =
                    |value: &Value, more| json!(value.as_i64().expect("a time") * 1_000 + more);
                candle[0] = micros(&candle[0], 0);
                candle[6] = micros(&candle[6], 999);
            }
        }),
    );
    let outcome = desk.run().expect_exit(0);
    outcome
        .expect_json(&[("/candle", json!(desk.server.newest_candle())), ("/action", json!("buy"))]);
}

#[test]
fn a_candle_without_a_trade_is_a_candle() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.bend(
        "klines",
        rows(|candles| {
            let row = candles.len() - 3;
            candles[row][5] = json!("0.00000000");
            candles[row][8] = json!(0);
        }),
    );
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/action", json!("buy"))]);
}

#[test]
fn fields_that_binance_may_add_are_no_obstacle() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.bend("bookTicker", |ticker| {
        ticker["somethingNew"] = json!({"a": 1});
    });
    desk.server.bend("exchangeInfo", |info| {
        info["somethingNew"] = json!([1, 2, 3]);
    });
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/action", json!("buy"))]);
}

#[test]
fn a_new_book_is_not_begun_on_candles_that_cannot_be_trusted() {
    let desk = Desk::new(spreads("20 20 20 20 20 21"));
    desk.server.bend("klines ETHUSDT", rows(|candles| drop(candles.remove(candles.len() - 4))));
    desk.expect_refused(65, &["ETHUSDT"]);
    assert!(!desk.paper().join("state.json").exists());
    desk.server.heal();
    let _ = desk.run().expect_exit(0);
}

/// A book that holds nothing, then a candle that is an entry, but with this change to the answer.
#[track_caller]
fn expect_distrust(target: &str, change: impl Fn(&mut Vec<Value>) + Send + Sync + 'static) {
    let desk = Desk::new(spreads("20 20 20 20 20 20 20 20"));
    let _ = desk.run().expect_exit(0);
    desk.server.close_candle(spreads("21")[0]);
    desk.server.bend(target, rows(change));
    let outcome = desk.expect_refused(65, &["USDT"]);
    let error = &outcome.json()["error"];
    assert_eq!(error["code"], 65);
    assert_ne!(error["hint"], "", "a hint");
    desk.server.heal();
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/action", json!("buy"))]);
}

/// A change to the list of candles as a change to JSON.
fn rows(change: impl Fn(&mut Vec<Value>) + Send + Sync) -> impl Fn(&mut Value) + Send + Sync {
    move |value| change(value.as_array_mut().expect("candles are a list"))
}

/// Gives the newest closed candle four equal prices.
fn set_prices(candles: &mut [Value], price: &str) {
    let row = candles.len() - 2;
    let fields = candles[row].as_array_mut().expect("a candle");
    fields[1..=4].fill(json!(price));
}

fn shift(candle: &mut Value, by: i64) {
    for column in [0, 6] {
        candle[column] = json!(candle[column].as_i64().expect("a time") + by);
    }
}
