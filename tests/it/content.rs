//! Answers that arrive whole and mean nothing: 69, nothing traded, and the next good run trades.

use serde_json::{Value, json};

use crate::support::desk::Desk;
use crate::support::fault::Fault;
use crate::support::table::spreads;

#[test]
fn candles_that_are_no_list_of_candles() {
    let bodies: [&[u8]; 13] = [
        b"",
        b" ",
        b"null",
        b"{}",
        b"true",
        b"\"candles\"",
        b"[null]",
        b"[[]",
        b"[{\"open\": 1}]",
        b"{\"code\":0,\"msg\":\"\"}",
        b"<html>welcome</html>",
        b"\xff\xfe[[1]]",
        b"\xef\xbb\xbfnot json",
    ];
    let desk = Desk::entry_ahead();
    for body in bodies {
        for leg in ["klines ETHUSDT", "klines"] {
            desk.server.fault(leg, Fault::body(body));
            desk.expect_refused(69, &[]);
            desk.server.heal();
        }
    }
    desk.expect_buy();
}

#[test]
fn a_portal_that_answers_every_page_with_its_own() {
    let desk = Desk::entry_ahead();
    desk.server.fault("/", Fault::html(200));
    desk.expect_refused(69, &[]);
    desk.server.heal();
    desk.expect_buy();
}

#[test]
fn prices_in_a_notation_that_binance_does_not_use() {
    let desk = Desk::entry_ahead();
    for price in ["1e-8", "+1", " 1", "1 ", "0x1", "1_000", "", ".", "three thousand", "３000"] {
        desk.server.bend("klines ETHUSDT", set(4, json!(price)));
        desk.expect_refused(69, &["ETHUSDT"]);
        desk.server.heal();
    }
    desk.expect_buy();
}

#[test]
fn prices_at_the_edge_of_notation_are_refused_in_one_way_or_the_other() {
    let desk = Desk::entry_ahead();
    let digits = "1234567890".repeat(4);
    for price in ["1,0", "-0", "00", &digits, &format!("0.{digits}1"), "1.", ".5"] {
        desk.server.bend("klines ETHUSDT", set(4, json!(price)));
        let before = desk.paper().snapshot();
        let outcome = desk.run().expect_one_of(&[65, 69]);
        assert_eq!(before, desk.paper().snapshot(), "{price}\n{}", outcome.transcript());
        desk.server.heal();
    }
    desk.expect_buy();
}

#[test]
fn a_number_where_a_string_belongs_and_the_reverse() {
    let desk = Desk::entry_ahead();
    let open = json!("1784538000000");
    for (column, value) in [
        (4, json!(3000)),
        (4, json!(3000.5)),
        (4, json!(null)),
        (0, open),
        (0, json!(1.5)),
        (0, json!(null)),
        (6, json!("soon")),
    ] {
        desk.server.bend("klines ETHUSDT", set(column, value));
        desk.expect_refused(69, &[]);
        desk.server.heal();
    }
    desk.expect_buy();
}

#[test]
fn a_price_that_means_nothing() {
    let desk = Desk::entry_ahead();
    let changes: [fn(&mut Value); 9] = [
        |ticker| *ticker = json!(null),
        |ticker| *ticker = json!([]),
        |ticker| *ticker = json!({}),
        |ticker| ticker["symbol"] = json!("BTCUSDT"),
        |ticker| ticker["askPrice"] = json!("0.00000000"),
        |ticker| ticker["askPrice"] = json!("-3100.00000000"),
        |ticker| ticker["askPrice"] = json!(3100),
        |ticker| ticker["askPrice"] = json!("1e3"),
        |ticker| {
            drop(ticker.as_object_mut().expect("an object").remove("askPrice"));
        },
    ];
    for change in changes {
        desk.server.bend("bookTicker", change);
        desk.expect_refused(69, &[]);
        desk.server.heal();
    }
    desk.expect_buy();
}

#[test]
fn rules_that_mean_nothing() {
    let desk = Desk::entry_ahead();
    for body in ["", "null", "[]", "{}", r#"{"symbols":null}"#, r#"{"symbols":[{}]}"#] {
        desk.server.fault("exchangeInfo", Fault::body(body));
        desk.expect_refused(69, &[]);
        desk.server.heal();
    }
    desk.expect_buy();
}

#[test]
fn a_step_that_is_no_number() {
    let desk = Desk::entry_ahead();
    for step in [json!("1e-4"), json!(0.0001), json!("-0.0001"), json!("a little")] {
        desk.server.bend("exchangeInfo", move |info| {
            for symbol in info["symbols"].as_array_mut().expect("symbols") {
                symbol["filters"][1]["stepSize"] = step.clone();
            }
        });
        desk.expect_refused(69, &[]);
        desk.server.heal();
    }
    desk.expect_buy();
}

#[test]
fn a_symbol_that_binance_does_not_know() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome = desk.run().env("SYMBOL_QUOTE", "DOGE/USDT").expect_exit(69);
    outcome.expect_said(&["DOGEUSDT"]);
}

/// Gives one column of the newest closed candle another value.
fn set(column: usize, value: Value) -> impl Fn(&mut Value) + Send + Sync {
    move |candles| {
        let rows = candles.as_array_mut().expect("candles are a list");
        let row = rows.len() - 2;
        rows[row][column] = value.clone();
    }
}
