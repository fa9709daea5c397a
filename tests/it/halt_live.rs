//! The user's switch and the user's limits, with real orders.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::exchange::{Execute, Lag, Lags, Reply, Rule};
use crate::support::clock::{DAY, HOUR, SECOND};
use crate::support::live::{Live, kind};
use crate::support::run::{Running, money};
use crate::support::table::decimal;

#[test]
fn a_halt_before_a_run_lets_no_order_out_and_asks_nothing() {
    for live in [Live::entry_ahead(), Live::exit_ahead()] {
        let posts = live.with(|world| world.posts());
        live.command(&["halt", "holiday"]).expect_exit(0).expect_said(&["holiday"]);
        let asked = live.asked();
        for _ in 0..2 {
            let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("halted"))]);
        }
        assert_eq!(live.asked(), asked);
        live.check();
        live.command(&["resume"]).expect_exit(0).expect_said(&["holiday"]);
        let _ = live.run().expect_exit(0);
        assert_eq!(live.with(|world| world.posts()), posts + 1, "no candle was lost");
        live.check();
    }
}

#[test]
fn a_halt_during_a_run_lets_no_order_out_any_more() {
    for path in ["GET /api/v3/klines", "GET /api/v3/account", "GET /api/v3/exchangeInfo"] {
        for live in [Live::entry_ahead(), Live::exit_ahead()] {
            let posts = live.with(|world| world.posts());
            live.exchange.fault(Rule { count: 2, ..Rule::every(path, Reply::Delay(600)) });
            let running = started(&live, path);
            let halt = live.command(&["halt", "stop it"]).expect_exit(0);
            halt.expect_said(&["a run is under way", "stop it"]);
            let outcome = running.wait();
            assert_eq!(outcome.code, 0, "{path}\n{}", outcome.transcript());
            let _ = outcome.expect_json(&[("/action", json!("halted")), ("/order", json!(null))]);
            assert_eq!(live.with(|world| world.posts()), posts, "{path}");
            let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("halted"))]);
            assert!(live.status()["halted"].as_str().expect("halted").contains("stop it"));
            live.check();
        }
    }
}

#[test]
fn a_halt_after_the_order_has_left_keeps_the_order() {
    let live = Live::entry_ahead();
    live.exchange.fault(Rule::order(Execute::Now, Reply::Delay(600)));
    let running = started(&live, "POST /api/v3/order");
    let _ = live.command(&["halt"]).expect_exit(0);
    let outcome = running.wait();
    let _ = outcome.expect_json(&[("/action", json!("buy"))]);
    live.next_candle("19");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("halted"))]);
    let _ = live.command(&["resume"]).expect_exit(0);
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    live.check();
}

#[test]
fn while_halted_what_is_pending_is_settled_all_the_same() {
    for execute in [Execute::Now, Execute::Never] {
        let live = Live::entry_ahead();
        live.with(|world| world.lag.order = Lag::Millis(10 * SECOND));
        live.exchange.fault(Rule::order(execute, Reply::Close));
        let _ = live.run().expect_exit(75);
        let _ = live.command(&["halt"]).expect_exit(0);
        live.pass_the_bound();
        let told = live
            .run()
            .expect_exit(0)
            .expect_json(&[("/action", json!("halted")), ("/settled/side", json!("BUY"))]);
        let executed = money(&told, "/settled/executed_quantity");
        assert_eq!(executed.is_zero(), execute == Execute::Never);
        live.check();
    }
}

#[test]
fn flatten_sells_what_is_held_by_an_order_like_any_other_and_halts() {
    let live = Live::entry_ahead();
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    let told = live.command(&["flatten", "--yes", "--json"]).expect_exit(0).expect_json(&[
        ("/action", json!("sell")),
        ("/from", json!("HOLDING_ETH")),
        ("/to", json!("NONE")),
    ]);
    assert_eq!(money(&told, "/order/executed_quantity"), decimal("0.0498"));
    live.check();
    let id = told["order"]["client_order_id"].as_str().expect("an id").to_owned();
    let kinds: Vec<String> = live
        .folder()
        .journal()
        .iter()
        .filter(|record| record.to_string().contains(&id))
        .map(|record| record["record"]["kind"].as_str().expect("a kind").to_owned())
        .collect();
    assert_eq!(kinds, ["intent", "settlement"]);
    assert!(live.status()["halted"].as_str().expect("halted").contains("flatten"));
    live.next_candle("40");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("halted"))]);
    live.command(&["resume"]).expect_exit(0).expect_said(&["flatten"]);
    let _ = live.run().expect_exit(0);
    live.check();
}

#[test]
fn a_flatten_whose_answer_is_lost_is_settled_by_the_next_run_and_stays_halted() {
    for (execute, state) in [(Execute::Now, "NONE"), (Execute::Never, "HOLDING_ETH")] {
        let live = Live::entry_ahead();
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
        live.advance(20 * SECOND);
        live.with(|world| world.lag = Lags::all(Lag::Millis(10 * SECOND)));
        live.exchange.fault(Rule::order(execute, Reply::Close));
        let outcome = live.command(&["flatten", "--yes", "--json"]).expect_exit(75);
        assert_eq!(kind(&outcome), "pending");
        assert!(live.is_pending());
        live.pass_the_bound();
        let _ = live.run().expect_exit(0).expect_json(&[
            ("/action", json!("halted")),
            ("/settled/side", json!("SELL")),
            ("/to", json!(state)),
        ]);
        live.check();
        // Where nothing was sold, a second flatten sells.
        let _ = live.command(&["flatten", "--yes"]).expect_exit(0);
        assert_eq!(live.status()["state"], "NONE");
        assert_eq!(live.with(|world| world.executed_sales()), 1);
        live.check();
    }
}

#[test]
fn a_flatten_that_sells_a_part_is_finished_by_another_or_after_resume() {
    for how in ["flatten", "resume"] {
        let live = Live::entry_ahead();
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
        live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("60")]);
        let _ = live.command(&["flatten", "--yes"]).expect_exit(0);
        assert_eq!(live.status()["state"], "HOLDING_ETH");
        live.check();
        live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("60000")]);
        live.next_candle("40");
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("halted"))]);
        if how == "flatten" {
            let _ = live.command(&["flatten", "--yes"]).expect_exit(0);
        } else {
            let _ = live.command(&["resume"]).expect_exit(0);
            let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
        }
        assert_eq!(live.status()["state"], "NONE");
        live.check();
    }
}

#[test]
fn flatten_with_nothing_held_orders_nothing_and_halts() {
    let live = Live::entry_ahead();
    let _ = live
        .command(&["flatten", "--yes", "--json"])
        .expect_exit(0)
        .expect_json(&[("/action", json!("halted")), ("/order", json!(null))]);
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("halted"))]);
    assert_eq!(live.with(|world| world.posts()), 0);
    live.check();
}

#[test]
fn flatten_while_an_order_is_pending_is_75_and_orders_nothing() {
    let live = Live::entry_ahead();
    live.with(|world| world.lag = Lags::all(Lag::Millis(10 * SECOND)));
    live.exchange.fault(Rule::order(Execute::Now, Reply::Close));
    let _ = live.run().expect_exit(75);
    let outcome = live.command(&["flatten", "--yes", "--json"]).expect_exit(75);
    assert_eq!(kind(&outcome), "pending");
    assert_eq!(live.with(|world| world.posts()), 1);
    live.advance(10 * SECOND);
    // By now it is known that it was executed, and that is sold.
    let _ = live.command(&["flatten", "--yes", "--json"]).expect_exit(0).expect_json(&[
        ("/settled/side", json!("BUY")),
        ("/order/side", json!("SELL")),
        ("/to", json!("NONE")),
    ]);
    live.check();
}

#[test]
fn a_flatten_that_is_refused_halts_all_the_same() {
    let live = Live::entry_ahead();
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.with(|world| "BREAK".clone_into(&mut world.symbol("ETHUSDT").status));
    let _ = live.command(&["flatten", "--yes"]).expect_exit(76);
    assert_ne!(live.status()["halted"], json!(null));
    assert_eq!(live.status()["state"], "HOLDING_ETH");
    live.with(|world| "TRADING".clone_into(&mut world.symbol("ETHUSDT").status));
    let _ = live.command(&["flatten", "--yes"]).expect_exit(0);
    assert_eq!(live.status()["state"], "NONE");
    live.check();
}

#[test]
fn a_new_book_is_refused_where_there_is_one() {
    let live = Live::exit_ahead();
    let before = live.folder().snapshot();
    live.command(&["resume", "--new-book"]).expect_exit(78).expect_said(&["there is a book"]);
    assert_eq!(live.folder().snapshot(), before);
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    live.check();
}

#[test]
fn no_more_orders_a_day_than_were_allowed_but_every_exit() {
    let live = morning();
    let run = || live.run().env("MAX_ORDERS_PER_DAY", "1");
    let _ = run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.next_candle("19");
    let _ = run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    live.next_candle("40");
    let outcome = run().expect_exit(0);
    let _ = outcome.expect_json(&[("/action", json!("hold"))]);
    outcome.expect_said(&["MAX_ORDERS_PER_DAY", "2 orders"]);
    assert_eq!(live.with(|world| world.posts()), 2);
    another_day(&live);
    let _ = run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.check();
}

#[test]
fn an_order_that_was_refused_counts_towards_those_of_the_day() {
    let live = morning();
    let words = "Account has insufficient balance for requested action.";
    live.exchange.fault(Rule::order(Execute::Never, Reply::Code(400, -2010, words)));
    let run = || live.run().env("MAX_ORDERS_PER_DAY", "1");
    let _ = run().expect_exit(76);
    live.next_candle("40");
    let _ = run().expect_exit(0).expect_json(&[("/action", json!("hold"))]);
    assert_eq!(live.with(|world| world.posts()), 1);
}

#[test]
fn after_the_loss_of_a_day_nothing_is_bought_until_the_next() {
    let live = morning();
    let run = || live.run().env("MAX_DAILY_LOSS_USDT", "0.2");
    let _ = run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.next_candle("19");
    // Two fees of 0.15.
    let _ = run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    live.next_candle("40");
    let outcome = run().expect_exit(0);
    let _ = outcome.expect_json(&[("/action", json!("hold"))]);
    outcome.expect_said(&["MAX_DAILY_LOSS_USDT"]);
    another_day(&live);
    let _ = run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.check();
}

#[test]
fn a_stop_sells_and_bars_entries_until_the_spread_was_back() {
    let live = Live::entry_ahead();
    let run = || live.run().env("STOP_Z", "1.47");
    let actions = ["buy", "sell", "hold", "hold", "buy"];
    // 20 20 21 25: 1.474; 20 21 25 40: 1.459; 21 25 40 30: 0.12; 25 40 30 100: 1.476, an entry.
    for (action, next) in actions.iter().zip(["25", "40", "30", "100", "100"]) {
        let _ = run().expect_exit(0).expect_json(&[("/action", json!(action))]);
        live.check();
        live.next_candle(next);
    }
}

#[test]
fn a_holding_is_sold_after_so_many_candles() {
    let live = Live::entry_ahead();
    let run = || live.run().env("MAX_HOLD_CANDLES", "2");
    for action in ["buy", "hold", "sell"] {
        let _ = run().expect_exit(0).expect_json(&[("/action", json!(action))]);
        live.check();
        live.next_candle("21");
    }
}

/// A run that waits for the answer to this request.
fn started(live: &Live, path: &str) -> Running {
    let before = live.with(|world| world.log.len());
    let running = live.run().start();
    for _ in 0..2000 {
        let came = live.with(|world| {
            let is_it = |logged: &crate::exchange::Logged| {
                format!("{} {}", logged.asked.method, logged.asked.path) == path
            };
            world.log[before..].iter().any(is_it)
        });
        if came {
            return running;
        }
        thread::sleep(Duration::from_millis(2));
    }
    panic!("{path} was never asked");
}

/// An entry ahead at seven in the morning, so that the day does not end in a test.
#[track_caller]
fn morning() -> Live {
    let live = Live::new();
    let now = live.with(|world| world.now());
    live.advance((now / DAY + 1) * DAY + 6 * HOUR + 10 * SECOND - now);
    live.with(|world| world.set_spreads(&["20", "20", "20", "20"]));
    live.expect_hold();
    live.next_candle("21");
    live
}

/// An entry ahead on the next day; nothing was run in between.
fn another_day(live: &Live) {
    let day = |live: &Live| live.with(|world| world.now()) / DAY;
    let today = day(live);
    while day(live) == today {
        live.next_candle("20");
    }
    for _ in 0..3 {
        live.next_candle("20");
    }
    live.next_candle("21");
}
