//! Live trading as it should go, order by order, against the simulated exchange.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::exchange::{Execute, Fault, On, Reply, Rule};
use crate::support::live::Live;
use crate::support::run::{expect_money, money};

#[test]
fn a_round_trip_is_two_orders_and_the_book_says_what_the_account_got() {
    let live = Live::entry_ahead();
    let bought = live.run().expect_exit(0).expect_json(&[
        ("/mode", json!("live")),
        ("/action", json!("buy")),
        ("/from", json!("NONE")),
        ("/to", json!("HOLDING_ETH")),
        ("/order/symbol", json!("ETHUSDT")),
        ("/order/side", json!("BUY")),
        ("/settled", json!(null)),
    ]);
    assert!(bought["order"]["fees"]["ETH"].is_string(), "the fee comes out of the coin");
    live.check();
    live.next_candle("21");
    live.expect_hold();
    live.next_candle("19");
    let _ = live.run().expect_exit(0).expect_json(&[
        ("/action", json!("sell")),
        ("/to", json!("NONE")),
        ("/order/side", json!("SELL")),
    ]);
    live.check();
    let status = live.status();
    assert_eq!(status["trades"], 1);
    assert_eq!(status["position"], json!(null));
    assert_eq!(status["paper_balance"], json!(null));
    assert_eq!(live.with(|world| world.posts()), 2);
    // What was the owner's own is still there.
    let eth = live.with(|world| world.free("ETH"));
    assert!(eth >= 2.into() && money(&status, "/dust/ETH") == eth - rust_decimal::Decimal::from(2));
    expect_money(&status, &[]);
}

/// How often each path was asked for since the log was cleared.
fn asked(live: &Live, path: &str) -> usize {
    live.with(|world| world.log.iter().filter(|it| it.asked.path == path).count())
}

#[test]
fn what_failed_of_the_account_is_not_asked_for_again_in_the_same_run() {
    let live = Live::entry_ahead();
    let broken = Rule::every("GET /api/v3/exchangeInfo", Reply::Html(502));
    live.with(|world| {
        world.log.clear();
        world.rules.push(broken);
    });
    let _ = live.run().expect_exit(69);
    assert_eq!(live.with(|world| world.log.len()), 9, "two for candles, seven for the account");
    live.with(|world| world.rules.clear());
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.check();
}

#[test]
fn only_what_came_too_late_is_asked_once_more() {
    let live = Live::entry_ahead();
    let late = Reply::Code(400, -1021, "Timestamp for this request is outside of the recvWindow.");
    let fault = Fault { execute: Execute::Now, reply: late };
    live.with(|world| {
        world.log.clear();
        world.rules.push(Rule { on: On::Path("GET /api/v3/account"), skip: 0, count: 1, fault });
    });
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    assert_eq!(asked(&live, "/api/v3/account"), 2);
    assert_eq!(asked(&live, "/api/v3/time"), 1);
    for (path, times) in [("allOrders", 2), ("openOrders", 2), ("exchangeInfo", 1)] {
        assert_eq!(asked(&live, &format!("/api/v3/{path}")), times, "{path}");
    }
    live.check();
}

#[test]
fn a_trade_of_the_owners_right_before_an_order_does_not_keep_it_open() {
    let live = Live::exit_ahead();
    live.with(|world| {
        world.foreign_order("ETHUSDT", true, "0.1");
        world.rules.push(Rule::order(Execute::Never, Reply::Html(504)));
    });
    let _ = live.run().expect_exit(75);
    assert!(live.settle(1) <= 1);
    live.next_candle("19");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    assert_eq!(live.status()["position"], json!(null));
}

#[test]
fn with_too_little_time_left_for_an_order_none_is_sent() {
    // Of its 30 seconds a run keeps 13 for the order. Each answer comes within a question's own 12.
    let late = Reply::Code(400, -1021, "Timestamp for this request is outside of the recvWindow.");
    let fault = Fault { execute: Execute::Now, reply: late };
    let rule = Rule { on: On::Path("GET /api/v3/account"), skip: 0, count: 1, fault };
    for (seconds, is_sent) in [(10, false), (1, true)] {
        // The program's clock runs ten times as fast.
        let slow = || Reply::Delay(seconds * 1000 / 10);
        let live = Live::entry_ahead();
        live.with(|world| {
            world.rules.push(rule.clone());
            world.rules.push(Rule::every("GET /api/v3/openOrders", slow()));
            world.rules.push(Rule::every("GET /api/v3/time", slow()));
        });
        let outcome = live.run().start().wait();
        let found = (outcome.code, live.with(|world| world.posts()), live.is_pending());
        let expected = if is_sent { (0, 1, false) } else { (69, 0, false) };
        assert_eq!(found, expected, "{seconds}: {}", outcome.transcript());
        live.with(|world| world.rules.clear());
        let _ = live.run().expect_exit(0);
        assert_eq!(
            live.status()["state"],
            "HOLDING_ETH",
            "it is bought by the next run at the latest"
        );
        live.check();
    }
}

#[test]
fn an_answer_to_an_order_that_lacks_the_amount_is_asked_about() {
    let live = Live::entry_ahead();
    let without = |body: &mut Value| body["cummulativeQuoteQty"] = json!("-1.00000000");
    live.with(|world| {
        world.log.clear();
        world.rules.push(Rule::order(Execute::Now, Reply::Alter(Arc::new(without))));
    });
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    assert_eq!(asked(&live, "/api/v3/order"), 2, "sent once, asked about once");
    assert_eq!(live.with(|world| world.posts()), 1);
    live.check();
}
