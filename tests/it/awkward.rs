//! Live trading at awkward moments: what an owner, a slow replica or an impatient person may do in
//! between.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::exchange::{Execute, FeeAsset, Lag, Reply, Rule, Setup};
use crate::support::clock::{DAY, HOUR, SECOND};
use crate::support::live::{Live, kind};
use crate::support::run::Run;
use crate::support::table::decimal;

/// An exit whose outcome a person must look at is no reason to sell again, nor a bug.
#[test]
fn a_flatten_while_an_order_calls_for_a_person_is_76_and_orders_nothing() {
    for is_exit in [true, false] {
        let live = if is_exit { Live::exit_ahead() } else { Live::entry_ahead() };
        let posts = live.with(|world| world.posts());
        live.exchange.fault(Rule::order(Execute::Never, Reply::Close));
        live.exchange.fault(Rule::every("GET /api/v3/order", Reply::Html(502)));
        let _ = live.run().expect_exit(75);
        live.with(|world| world.rules.clear());
        live.with(|world| world.lag.order = Lag::Millis(i64::MAX));
        // A deposit that can't be told from what the order would have moved keeps it open.
        live.with(|world| world.deposit("ETH", if is_exit { "-0.5" } else { "0.5" }));
        live.advance(DAY + HOUR);
        let _ = live.run().expect_exit(76);
        assert!(live.is_pending());
        let outcome = live.command(&["flatten", "--yes", "--json"]).expect_exit(76);
        assert_eq!(kind(&outcome), "halted");
        assert!(live.is_pending());
        assert_eq!(live.with(|world| world.posts()), posts + 1);
    }
}

/// An order that ended with nothing may be among the open ones for a while, like one that was filled.
#[test]
fn an_expired_order_among_the_open_ones_is_no_alarm() {
    for is_lost in [false, true] {
        let live = Live::entry_ahead();
        live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("0.1")]);
        if is_lost {
            live.exchange.fault(Rule::order(Execute::Now, Reply::Close));
        }
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("hold"))]);
        live.exchange.fault(Rule::every(
            "GET /api/v3/openOrders",
            Reply::Alter(Arc::new(|orders: &mut Value| {
                for order in orders.as_array_mut().into_iter().flatten() {
                    order["status"] = json!("NEW");
                }
            })),
        ));
        live.with(|world| world.lag.open_orders = Lag::Flapping(36 * SECOND));
        for _ in 0..2 {
            live.advance(10 * SECOND);
            let _ =
                live.run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
        }
    }
}

/// A trade of an order that is older than ours is not ours, whether that order is shown or not.
#[test]
fn an_old_order_of_the_owner_that_is_filled_meanwhile_keeps_no_order_open() {
    let live = Live::new();
    live.expect_hold();
    // It rests while others come and go.
    live.with(|world| world.foreign_order("ETHUSDT", true, "0.1"));
    let old = live.with(|world| world.orders[0].order_id);
    live.with(|world| world.foreign_order("ETHUSDT", true, "0.1"));
    for _ in 0..3 {
        live.next_candle("20");
        live.expect_hold();
    }
    live.next_candle("21");
    live.exchange.fault(Rule::order(Execute::Never, Reply::Close));
    let _ = live.run().expect_exit(75);
    live.with(|world| world.foreign_order("ETHUSDT", true, "0.1"));
    live.with(|world| {
        let last = world.orders.pop().expect("it was just made");
        for trade in &mut world.trades {
            if trade.order_id == last.order_id {
                trade.order_id = old;
            }
        }
    });
    assert_eq!(live.settle(2), 1);
    assert_eq!(live.status()["state"], "NONE");
}

#[test]
fn a_new_book_after_a_halt_is_recomputed() {
    let live = Live::entry_ahead();
    let second = live.other_state();
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    let _ = live.command_at(&second, &["halt", "first look"]).expect_exit(0);
    let _ = live.command_at(&second, &["resume", "--new-book"]).expect_exit(0);
    let _ = live.command_at(&second, &["audit"]).expect_exit(0);
    live.next_candle("10");
    let _ = live.command_at(&second, &["--json"]).expect_exit(0);
    let _ = live.command_at(&second, &["audit"]).expect_exit(0);
}

#[test]
fn a_halt_before_the_first_start_is_recomputed() {
    let live = Live::new();
    let _ = live.command(&["halt", "first look"]).expect_exit(0);
    let _ = live.command(&["audit"]).expect_exit(0);
    let _ = live.command(&["flatten", "--yes"]).expect_exit(0);
    let _ = live.command(&["resume"]).expect_exit(0);
    let _ = live.command(&["audit"]).expect_exit(0);
    live.expect_hold();
    live.next_candle("21");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    let _ = live.command(&["audit"]).expect_exit(0);
}

/// The other leg is no longer traded: what is held can be sold all the same.
#[test]
fn what_is_held_is_sold_although_nobody_quotes_the_other_leg() {
    let live = Live::entry_ahead();
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.with(|world| {
        world.close_market("BTCUSDT", "BREAK");
        world.symbol("BTCUSDT").touch = Some((decimal("0"), decimal("0")));
    });
    let _ = live
        .command(&["flatten", "--yes", "--json"])
        .expect_exit(0)
        .expect_json(&[("/action", json!("sell")), ("/to", json!("NONE"))]);
    live.check();
}

/// Nor does it keep a lost order open.
#[test]
fn a_lost_order_is_settled_although_nobody_quotes_the_other_leg() {
    let live = Live::entry_ahead();
    live.exchange.fault(Rule::order(Execute::Never, Reply::Close));
    let _ = live.run().expect_exit(75);
    live.with(|world| world.symbol("BTCUSDT").touch = Some((decimal("0"), decimal("0"))));
    live.pass_the_bound();
    let _ = live.run().expect_one_of(&[0, 69]);
    assert!(!live.is_pending());
}

/// A fee that is paid with the other leg's coin is paid out of its dust, where there is nothing else.
#[test]
fn fees_in_the_other_legs_coin_do_not_halt() {
    let balances = vec![("USDT", "1000"), ("ETH", "2"), ("BTC", "0"), ("BNB", "0")];
    let live = Live::upon(Setup { balances, ..Setup::default() });
    let copy = || {
        live.with(|world| {
            let candles = world.symbol("BTCUSDT").candles.clone();
            world.symbol("BNBUSDT").candles = candles;
        });
    };
    let run = || live.run().env("SYMBOL_BASE", "BNB/USDT");
    copy();
    live.with(|world| world.symbol("BNBUSDT").filters.step = decimal("0.00001"));
    let _ = run().expect_exit(0);
    live.next_candle("19");
    copy();
    // So little is there to be bought that it can't be sold again: dust.
    live.with(|world| world.symbol("BNBUSDT").depth = vec![decimal("4")]);
    let _ = run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.next_candle("40");
    copy();
    let _ = run().expect_exit(0);
    assert_eq!(
        live.command(&["status", "--json"]).env("SYMBOL_BASE", "BNB/USDT").expect_exit(0).json()["state"],
        "NONE"
    );
    live.with(|world| world.fee_asset = FeeAsset::Bnb);
    for spread in ["20", "40", "80", "20", "20", "60"] {
        live.next_candle(spread);
        copy();
        let _ = run().expect_exit(0);
    }
}

/// The account shows a deposit of minutes ago, and not yet the order of a moment ago.
#[test]
fn a_deposit_before_the_last_order_is_no_alarm_while_the_account_is_old() {
    let balances = vec![("USDT", "1000"), ("BTC", "0"), ("ETH", "0"), ("BNB", "0")];
    let live = Live::upon(Setup { balances, ..Setup::default() });
    live.expect_hold();
    live.next_candle("21");
    live.with(|world| {
        world.lag.account = Lag::Millis(40 * SECOND);
        world.deposit("USDT", "5");
    });
    live.advance(10 * SECOND);
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.advance(35 * SECOND);
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
    live.with(|world| world.lag.account = Lag::None);
    live.next_candle("19");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
}

/// A run may commit while the journal is walked.
#[test]
fn a_journal_that_grows_is_recomputed_all_the_same() {
    let home = tempfile::tempdir().expect("a folder");
    let state = home.path().join("state");
    let run = || {
        Run::bare(home.path()).args(["--candles", "demo", "--json"]).state_dir(&state).unchecked()
    };
    let _ = run().expect_exit(0);
    std::thread::scope(|scope| {
        let runs = scope.spawn(|| {
            for _ in 0..150 {
                let _ = run().expect_exit(0);
            }
        });
        while !runs.is_finished() {
            let _ = run().args(["audit"]).expect_exit(0);
        }
    });
}

/// An order that took hundreds of others, and whose answer was lost.
#[test]
fn an_order_of_many_fills_is_settled_by_all_of_them() {
    let live = Live::entry_ahead();
    live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("1.2"); 900]);
    live.exchange.fault(Rule::order(Execute::Now, Reply::Close));
    let run = live.run().env("TRADE_AMOUNT_USDT", "900").expect_exit(0);
    let _ = run.expect_json(&[("/action", json!("buy"))]);
    assert!(live.with(|world| world.trades.len()) > 500);
    live.check();
}
