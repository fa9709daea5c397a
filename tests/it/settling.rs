//! An order whose outcome a run did not learn: what the next runs make of each answer to the question for it.

use std::sync::Arc;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::exchange::{Execute, Fault, FeeAsset, Lag, Lags, Logged, On, Reply, Rule};
use crate::support::clock::{DAY, MINUTE, SECOND};
use crate::support::live::{Live, kind};
use crate::support::run::{Outcome, Run, money};

#[test]
fn an_order_that_is_found_is_booked_as_it_is_found() {
    for depth in [100_000_000, 60] {
        let live = left_open(Execute::Now, depth);
        let run = live.run().expect_exit(0);
        let json = run.expect_json(&[("/action", json!("already-processed"))]);
        let executed = money(&json, "/settled/executed_quantity");
        assert_eq!(executed, live.with(|world| world.orders[0].executed));
        assert_eq!(live.status()["state"], "HOLDING_ETH");
        live.check();
        done_once(&live);
    }
}

/// The entry's trade is of the second before the exit's order, in the balance that was read then, and its order was not
/// in the list that was read then. That is no trace of the exit.
#[test]
fn the_order_before_it_is_no_trace_of_one_that_never_was() {
    let live = Live::entry_ahead();
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.with(|world| world.lag.all_orders = Lag::Millis(40 * SECOND));
    live.exchange.fault(Rule::order(Execute::Never, Reply::Close));
    let _ = live.command(&["flatten", "--yes"]).expect_exit(75);
    live.pass_the_bound();
    let json = live.run().expect_exit(0).json();
    assert_eq!(money(&json, "/settled/executed_quantity"), Decimal::ZERO, "{json:#}");
    let _ = live.command(&["resume"]).expect_exit(0);
    assert_eq!(live.status()["state"], "HOLDING_ETH");
    live.next_candle("19");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    live.check();
}

#[test]
fn a_part_is_booked_whatever_ended_the_order() {
    for status in ["CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"] {
        let live = left_open(Execute::Now, 60);
        every(&live, QUESTION, alter("status", json!(status)));
        let json = live.run().expect_exit(0).json();
        assert!(!money(&json, "/settled/executed_quantity").is_zero(), "{status}: {json:#}");
        live.check();
    }
}

#[test]
fn a_part_of_an_exit_is_booked_and_the_rest_is_sold_at_a_later_candle() {
    let live = Live::exit_ahead();
    open_by_next_order(&live, Execute::Now, 60);
    let json = live.run().expect_exit(0).json();
    assert_eq!(json["settled"]["side"], "SELL");
    live.check();
    deep(&live);
    // What is left is sold whatever the candle says.
    live.next_candle("30");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    live.check();
    assert_eq!(live.status()["position"], json!(null));
}

#[test]
fn an_order_that_ended_with_nothing_was_not_executed() {
    for status in ["CANCELED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"] {
        let live = left_open(Execute::Never, 60);
        let shown = shown(&live, status);
        every(&live, QUESTION, Reply::Status(200, shown.to_string()));
        not_executed(&live, status);
    }
    let live = left_open(Execute::Never, 60);
    every(&live, QUESTION, Reply::Code(400, -2026, "Order was archived."));
    not_executed(&live, "-2026");
}

#[test]
fn an_order_that_is_not_over_is_asked_about_again() {
    for status in ["NEW", "PARTIALLY_FILLED", "PENDING_NEW", "PENDING_CANCEL"] {
        let live = left_open(Execute::Never, 60);
        let shown = shown(&live, status);
        every(&live, QUESTION, Reply::Status(200, shown.to_string()));
        still_open(&live, status);
        live.pass_the_bound();
        still_open(&live, status);
        live.with(|world| world.rules.clear());
        not_executed(&live, status);
    }
}

#[test]
fn what_can_not_be_of_an_order_is_left_to_a_person() {
    let whole: Vec<(&str, Value)> = vec![
        ("clientOrderId", json!("web_1")),
        ("symbol", json!("BTCUSDT")),
        ("side", json!("SELL")),
        ("type", json!("LIMIT")),
        ("origQuoteOrderQty", json!("149.00000000")),
        ("executedQty", json!("9.00000000")),
        ("status", json!("REJECTED")),
    ];
    for (field, value) in whole {
        stopped(100_000_000, field, &value);
    }
    stopped(60, "status", &json!("SOMETHING_NEW"));
}

#[test]
fn a_status_of_empty_words_is_decided_by_the_trades() {
    // FILLED with nothing executed, and the trades say what was.
    let live = left_open(Execute::Now, 100_000_000);
    every(&live, QUESTION, alter("executedQty", json!("0.00000000")));
    let _ = live.run().expect_exit(0);
    assert!(!live.is_pending());
    live.with(|world| world.rules.clear());
    live.check();
    done_once(&live);
    // Without trades it can't be: a person must look.
    let live = left_open(Execute::Now, 100_000_000);
    every(&live, QUESTION, alter("executedQty", json!("0.00000000")));
    every(&live, "GET /api/v3/myTrades", Reply::Status(200, "[]".to_owned()));
    let _ = live.run().expect_exit(76);
    assert!(live.is_pending());
}

/// The question is answered with something that can't be: halted, the order stays recorded; and
/// settled once the answers are good and a person said so.
#[track_caller]
fn stopped(depth: u32, field: &'static str, value: &Value) {
    let live = left_open(Execute::Now, depth);
    every(&live, QUESTION, alter(field, value.clone()));
    for _ in 0..2 {
        let outcome = live.run().start().wait();
        // An answer about another symbol or id may as well count as none.
        assert_eq!(outcome.code, 76, "{field} {value}: {}", outcome.transcript());
        assert!(live.is_pending(), "{field}");
    }
    live.with(|world| world.rules.clear());
    let _ = live.command(&["resume"]).expect_exit(0);
    assert!(live.is_pending(), "{field}: a halt is lifted, the order is still open");
    let _ = live.run().expect_exit(0);
    live.check();
    done_once(&live);
}

#[test]
fn sums_that_do_not_add_up_are_never_booked() {
    let live = left_open(Execute::Now, 100_000_000);
    every(&live, QUESTION, alter("cummulativeQuoteQty", json!("140.00000000")));
    still_open(&live, "quote");
    live.pass_the_bound();
    still_open(&live, "quote, past the bound");
    live.advance(DAY);
    assert_eq!(kind(&live.run().expect_exit(76)), "halted");
    assert!(live.is_pending());
}

#[test]
fn trades_that_lag_are_waited_for() {
    let live = left_open(Execute::Now, 100_000_000);
    live.with(|world| world.lag.my_trades = Lag::Millis(2 * MINUTE));
    still_open(&live, "before they show");
    live.advance(MINUTE);
    still_open(&live, "before they show");
    live.advance(MINUTE);
    let _ = live.run().expect_exit(0);
    live.check();
}

#[test]
fn some_of_the_trades_are_not_enough() {
    for has_quote in [true, false] {
        let live = Live::entry_ahead();
        open_by_next_order(&live, Execute::Now, 60);
        live.with(|world| assert_eq!(world.trades.len(), 1));
        let part = |body: &mut Value| {
            body[0]["qty"] = json!("0.01000000");
            body[0]["quoteQty"] = json!("30.00010000");
        };
        every(&live, "GET /api/v3/myTrades", Reply::Alter(Arc::new(part)));
        if !has_quote {
            every(&live, QUESTION, alter("cummulativeQuoteQty", json!("-1.00000000")));
        }
        still_open(&live, "a part");
        live.pass_the_bound();
        still_open(&live, "a part, past the bound");
        live.with(|world| world.rules.clear());
        let _ = live.run().expect_exit(0);
        live.check();
    }
}

#[test]
fn trades_of_other_orders_are_nobodys_business() {
    // The same number but the other side, or the other way round: neither is of this order.
    let others = [("orderId", json!(99_999_999)), ("isBuyer", json!(false))];
    for (field, value) in others {
        let live = left_open(Execute::Now, 100_000_000);
        let more = move |body: &mut Value| {
            let mut other = body[0].clone();
            other["id"] = json!(88_888_888);
            other[field] = value.clone();
            body.as_array_mut().expect("trades").push(other);
        };
        every(&live, "GET /api/v3/myTrades", Reply::Alter(Arc::new(more)));
        let _ = live.run().expect_exit(0);
        live.check();
    }
}

#[test]
fn orders_with_a_limit_and_fees_in_another_coin_are_settled_alike() {
    for (depth, fee) in [
        (vec![], FeeAsset::Received),
        (vec![60], FeeAsset::Bnb),
        (vec![60, 100_000_000], FeeAsset::Mixed),
        (vec![100_000_000], FeeAsset::Nothing),
    ] {
        for is_lost in [false, true] {
            let live = Live::entry_ahead();
            live.with(|world| {
                world.deposit("BNB", "1");
                world.fee_asset = fee;
                world.symbol("ETHUSDT").depth = depth.iter().copied().map(Decimal::from).collect();
                if is_lost {
                    world.rules.push(Rule::order(Execute::Now, Reply::Close));
                }
            });
            let bounded = || live.run().env("MAX_SLIPPAGE_BPS", "5");
            let _ = bounded().expect_exit(0);
            live.check();
            live.next_candle("10");
            if is_lost {
                live.with(|world| world.rules.push(Rule::order(Execute::Now, Reply::Reset)));
            }
            let _ = bounded().expect_exit(0);
            live.check();
            live.with(|world| world.rules.clear());
            deep(&live);
            live.next_candle("30");
            let _ = bounded().expect_exit(0);
            live.check();
            if !depth.is_empty() {
                assert_eq!(live.status()["position"], json!(null), "{depth:?}, {fee:?}");
            }
        }
    }
}

#[test]
fn no_such_order_is_believed_only_after_the_bound() {
    let live = left_open(Execute::Never, 60);
    let first = live.status()["pending"]["client_order_id"].clone();
    still_open(&live, "at once");
    live.advance(MINUTE);
    still_open(&live, "60 of 75 seconds");
    live.advance(20 * SECOND);
    not_executed(&live, "after it");
    // A further attempt needs another candle, and has another id.
    deep(&live);
    live.next_candle("30");
    let json = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    assert_ne!(json["order"]["client_order_id"], first);
    live.check();
}

#[test]
fn one_trace_of_an_order_is_enough_for_it_to_stay_open() {
    type Traces = fn(&mut Lags);
    let hidden = Lag::Millis(i64::MAX);
    let cases: [(&str, Traces); 4] = [
        ("orders", |lag| lag.all_orders = Lag::None),
        ("trades", |lag| lag.my_trades = Lag::None),
        ("balances", |lag| lag.account = Lag::None),
        ("orders, late", |lag| lag.all_orders = Lag::Millis(60_000)),
    ];
    for (name, show) in cases {
        for is_exit in [false, true] {
            let live = if is_exit { Live::exit_ahead() } else { Live::entry_ahead() };
            open_by_next_order(&live, Execute::Now, 100_000_000);
            live.with(|world| {
                world.lag = Lags::all(hidden);
                show(&mut world.lag);
            });
            live.pass_the_bound();
            for _ in 0..2 {
                still_open(&live, name);
                live.pass_the_bound();
            }
            live.with(|world| world.lag = Lags::default());
            let _ = live.run().expect_exit(0);
            live.check();
        }
    }
}

#[test]
fn a_trade_whose_order_is_not_shown_is_a_trace_even_where_other_orders_are() {
    let live = Live::new();
    live.expect_hold();
    live.with(|world| world.foreign_order("ETHUSDT", true, "0.1"));
    live.next_candle("21");
    open_by_next_order(&live, Execute::Now, 100_000_000);
    // The owner's order of an hour ago shows everywhere; of ours nothing does but its trade.
    let lag = Lags { my_trades: Lag::None, ..Lags::all(Lag::Millis(50 * MINUTE)) };
    live.with(|world| world.lag = lag);
    live.pass_the_bound();
    still_open(&live, "the trade shows");
    live.with(|world| world.lag = Lags::default());
    let _ = live.run().expect_exit(0);
    assert_eq!(live.status()["state"], "HOLDING_ETH");
}

#[test]
fn no_such_order_counts_only_said_three_times() {
    let shown = |live: &Live| Reply::Status(200, shown(live, "NEW").to_string());
    for skip in [0, 1, 2] {
        for is_shown in [false, true] {
            let live = left_open(Execute::Never, 60);
            live.pass_the_bound();
            let reply = if is_shown { shown(&live) } else { Reply::Html(502) };
            once(&live, QUESTION, skip, reply);
            still_open(&live, &format!("question {skip} of 3"));
            not_executed(&live, "all three");
        }
    }
}

#[test]
fn no_such_order_is_asked_for_three_times_a_second_apart() {
    let live = left_open(Execute::Never, 60);
    live.pass_the_bound();
    live.with(|world| world.log.clear());
    let _ = live.run().expect_exit(0);
    let is_question = |it: &&Logged| it.asked.method == "GET" && it.asked.path == "/api/v3/order";
    let asked: Vec<i64> =
        live.with(|world| world.log.iter().filter(is_question).map(|it| it.at).collect());
    assert_eq!(asked.len(), 3);
    for (earlier, later) in asked.iter().zip(&asked[1..]) {
        // The program's clock runs ten times as fast as the exchange's; the log is in milliseconds.
        assert!(later - earlier >= SECOND / 10 - 2, "{asked:?}");
    }
}

#[test]
fn every_further_question_must_be_answered_too() {
    let questions = [
        "GET /api/v3/time",
        "GET /api/v3/myTrades",
        "GET /api/v3/account",
        "GET /api/v3/allOrders",
        "GET /api/v3/openOrders",
    ];
    for question in questions {
        for reply in [Reply::Html(502), Reply::Empty, Reply::Code(503, -1008, "busy"), Reply::Cut] {
            let live = left_open(Execute::Never, 60);
            live.pass_the_bound();
            once(&live, question, 0, reply.clone());
            still_open(&live, &format!("{question}: {reply:?}"));
            not_executed(&live, question);
        }
    }
}

#[test]
fn a_question_that_fails_says_nothing() {
    for reply in [
        Reply::Hang,
        Reply::Reset,
        Reply::Close,
        Reply::Cut,
        Reply::Empty,
        Reply::Html(200),
        Reply::Html(403),
        Reply::Html(404),
        Reply::Html(502),
        Reply::Redirect(302),
        Reply::Status(200, "{}".to_owned()),
        Reply::Status(200, "[]".to_owned()),
        Reply::Code(504, -1007, "Timeout waiting for response from backend server."),
        Reply::Code(400, -1021, "Timestamp for this request is outside of the recvWindow."),
        Reply::Code(400, -2039, "Client order ID is not correct for this order ID."),
        Reply::Code(400, -1121, "Invalid symbol."),
    ] {
        let live = left_open(Execute::Never, 60);
        live.pass_the_bound();
        every(&live, QUESTION, reply.clone());
        still_open(&live, &format!("{reply:?}"));
        live.with(|world| world.rules.clear());
        not_executed(&live, &format!("after {reply:?}"));
    }
}

#[test]
fn a_wish_for_silence_is_kept_while_an_order_is_open() {
    for status in [418, 429] {
        let live = left_open(Execute::Now, 100_000_000);
        once(&live, QUESTION, 0, Reply::Silence(status, Some("90"), Some(-1003)));
        still_open(&live, "told to be silent");
        for _ in 0..2 {
            live.advance(40 * SECOND);
            let before = live.with(|world| world.log.len());
            still_open(&live, "silent");
            assert_eq!(live.with(|world| world.log.len()), before, "{status}: no request");
        }
        live.advance(20 * SECOND);
        let _ = live.run().expect_exit(0);
        live.check();
    }
}

#[test]
fn an_order_that_is_open_for_two_runs_is_told_and_so_is_its_end() {
    let live = Live::entry_ahead();
    block(&live, Execute::Now);
    let _ = telling(&live).expect_exit(75);
    let told = |live: &Live| live.with(|world| world.messages.clone());
    assert!(!told(&live).iter().any(|text| text.contains("not known")), "{:?}", told(&live));
    let _ = telling(&live).expect_exit(75);
    assert!(told(&live).iter().any(|text| text.contains("not known")), "{:?}", told(&live));
    let count = told(&live).len();
    let _ = telling(&live).expect_exit(75);
    assert_eq!(told(&live).len(), count, "told once: {:?}", told(&live));
    live.with(|world| world.rules.clear());
    let _ = telling(&live).expect_exit(0);
    assert!(told(&live)[count..].iter().any(|text| text.contains("ETH")), "{:?}", told(&live));
    live.check();
}

#[test]
fn a_day_after_the_bound_a_person_is_called() {
    let live = left_open(Execute::Now, 100_000_000);
    live.with(|world| world.lag = Lags { account: Lag::None, ..Lags::all(Lag::Millis(i64::MAX)) });
    live.advance(DAY);
    still_open(&live, "a day after the order");
    live.advance(3 * MINUTE);
    assert_eq!(kind(&live.run().expect_exit(76)), "halted");
    assert!(live.is_pending());
    assert!(live.status()["halted"].as_str().is_some_and(|why| why.contains("open for a day")));
    // Halted, but an answer still counts.
    live.with(|world| world.lag = Lags::default());
    let _ = live.run().expect_exit(76);
    live.check();
    let _ = live.command(&["resume"]).expect_exit(0);
    live.next_candle("21");
    let _ = live.run().expect_exit(0);
    done_once(&live);
}

#[test]
fn a_person_may_say_that_an_order_was_not_executed() {
    let live = left_open(Execute::Never, 60);
    let id = live.status()["pending"]["client_order_id"].as_str().expect("an id").to_owned();
    let before = live.folder().snapshot();
    let _ = live.command(&["resume", "--not-executed", "ouro-0-0-B1"]).expect_exit(78);
    assert_eq!(live.folder().snapshot(), before);
    let _ = live.command(&["resume", "--not-executed", &id]).expect_exit(0);
    live.check();
    let before = live.folder().snapshot();
    let _ = live.command(&["resume", "--not-executed", &id]).expect_exit(78);
    assert_eq!(live.folder().snapshot(), before);
    let _ = live.run().expect_exit(0);
    assert_eq!(live.with(|world| world.posts()), 1);
}

#[test]
fn a_person_who_was_wrong_about_an_order_is_told_so() {
    let live = left_open(Execute::Now, 100_000_000);
    let id = live.status()["pending"]["client_order_id"].as_str().expect("an id").to_owned();
    let _ = live.command(&["resume", "--not-executed", &id]).expect_exit(0);
    live.next_candle("30");
    live.run().expect_exit(76).expect_said(&[&id]);
    assert_eq!(live.with(|world| world.posts()), 1);
}

#[test]
fn another_account_says_nothing_of_an_order() {
    let live = left_open(Execute::Now, 100_000_000);
    live.with(|world| {
        world.uid += 1;
        // The other account has never had such an order.
        world.lag = Lags::all(Lag::Millis(i64::MAX));
    });
    let before = live.folder().snapshot();
    let _ = live.run().expect_one_of(&[65, 75]);
    live.pass_the_bound();
    let _ = live.run().expect_exit(65);
    assert_eq!(live.folder().snapshot(), before);
    assert!(live.is_pending());
    live.with(|world| {
        world.uid -= 1;
        world.lag = Lags::default();
    });
    let _ = live.run().expect_exit(0);
    live.check();
}

#[test]
fn a_wrong_clock_keeps_no_order_open() {
    for millis in [2 * MINUTE, -2 * MINUTE] {
        let live = left_open(Execute::Now, 100_000_000);
        live.exchange.advance(millis);
        let _ = live.run().expect_exit(69);
        live.check();
        done_once(&live);
    }
    let live = left_open(Execute::Never, 60);
    live.exchange.advance(2 * MINUTE);
    let _ = live.run().expect_exit(69);
    live.check();
}

#[test]
fn a_wrong_clock_of_ours_does_not_end_the_waiting() {
    // Ours is two minutes ahead: by it the bound has passed, by the exchange's it has not.
    let live = left_open(Execute::Never, 60);
    live.pass_the_bound();
    live.exchange.advance(-2 * MINUTE);
    let _ = live.run().expect_exit(75);
    assert!(live.is_pending());
}

#[test]
fn who_halts_still_learns_what_became_of_an_order() {
    let live = left_open(Execute::Now, 100_000_000);
    let _ = live.command(&["halt"]).expect_exit(0);
    let json = live.run().expect_exit(0).expect_json(&[("/action", json!("halted"))]);
    assert!(json["settled"].is_object(), "{json:#}");
    live.check();
}

#[test]
fn a_sale_of_everything_whose_answer_is_lost_is_settled_and_stays_halted() {
    for execute in [Execute::Now, Execute::Never] {
        let live = Live::exit_ahead();
        block(&live, execute);
        let _ = live.command(&["flatten", "--yes", "--json"]).expect_exit(75);
        live.with(|world| world.rules.clear());
        assert!(live.is_pending());
        live.pass_the_bound();
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("halted"))]);
        live.check();
        let is_sold = execute == Execute::Now;
        assert_eq!(live.status()["position"].is_null(), is_sold);
        // The same again sells what is still there, under another id, and nothing twice.
        live.next_candle("19");
        let _ = live.command(&["flatten", "--yes", "--json"]).expect_exit(0);
        live.check();
        assert!(live.status()["position"].is_null());
        assert_eq!(live.with(|world| world.orders.len()), 2);
    }
}

#[test]
fn an_exit_that_is_refused_three_times_calls_a_person() {
    let live = Live::exit_ahead();
    let funds = "Account has insufficient balance for requested action.";
    for (number, spread) in ["19", "20", "21"].iter().enumerate() {
        let rule = Rule::order(Execute::Never, Reply::Code(400, -2010, funds));
        live.with(|world| world.rules.push(rule));
        let refused = live.run().expect_exit(76);
        refused.expect_said(&[funds]);
        live.check();
        assert_eq!(live.status()["halted"].is_null(), number < 2, "refusal {number}");
        live.next_candle(spread);
    }
    assert_eq!(kind(&live.run().expect_exit(76)), "halted");
    assert_eq!(live.with(|world| world.posts()), 4);
    let _ = live.command(&["resume"]).expect_exit(0);
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    live.check();
}

#[test]
fn an_order_of_a_run_that_was_killed_is_settled_by_the_next() {
    for execute in [Execute::Now, Execute::Never, Execute::LateMillis(10_000)] {
        for is_exit in [false, true] {
            let live = if is_exit { Live::exit_ahead() } else { Live::entry_ahead() };
            let before = live.with(|world| world.posts());
            live.with(|world| world.rules.push(Rule::order(execute, Reply::Hang)));
            let run = live.run().start();
            while live.with(|world| world.posts()) == before {
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
            run.signal(rustix::process::Signal::KILL);
            assert_eq!(run.wait().code, -1);
            assert!(live.is_pending());
            let _ = live.settle(2);
            live.check();
            assert_eq!(live.with(|world| world.posts()), before + 1);
        }
    }
}

/// A book with one order whose outcome is not known, in a market so deep.
#[track_caller]
fn left_open(execute: Execute, depth: u32) -> Live {
    let live = Live::entry_ahead();
    open_by_next_order(&live, execute, depth);
    live
}

#[track_caller]
fn open_by_next_order(live: &Live, execute: Execute, depth: u32) {
    live.with(|world| world.symbol("ETHUSDT").depth = vec![Decimal::from(depth)]);
    block(live, execute);
    let _ = live.run().expect_exit(75);
    live.with(|world| world.rules.clear());
    assert!(live.is_pending());
}

/// Neither the order nor the question for it is answered.
fn block(live: &Live, execute: Execute) {
    live.with(|world| world.rules.push(Rule::order(execute, Reply::Close)));
    every(live, QUESTION, Reply::Html(502));
}

fn deep(live: &Live) {
    live.with(|world| world.symbol("ETHUSDT").depth = vec![Decimal::from(100_000_000)]);
}

fn telling(live: &Live) -> Run {
    live.run()
        .env("TELEGRAM_BOT_TOKEN", "123456:simulated")
        .env("TELEGRAM_CHAT_ID", "42")
        .env("TELEGRAM_API_URL", live.exchange.url())
}

/// A run that does not learn what became of the order: 75, nothing is sent, and it stays recorded.
#[track_caller]
fn still_open(live: &Live, what: &str) -> Outcome {
    let posts = live.with(|world| world.posts());
    let outcome = live.run().start().wait();
    assert_eq!(outcome.code, 75, "{what}: {}", outcome.transcript());
    assert_eq!(kind(&outcome), "pending", "{what}");
    assert_eq!(live.with(|world| world.posts()), posts, "{what}: an order is sent");
    assert!(live.is_pending(), "{what}: {:#}", live.status());
    outcome
}

/// A run that learns that the order was not executed, and does not try the same candle again.
#[track_caller]
fn not_executed(live: &Live, what: &str) {
    // Faults of single answers may have told the program to wait for the bound.
    if live.with(|world| world.rules.is_empty()) {
        live.pass_the_bound();
    }
    let outcome = live.run().start().wait();
    assert_eq!(outcome.code, 0, "{what}: {}", outcome.transcript());
    let json = outcome.json();
    assert!(money(&json, "/settled/executed_quantity").is_zero(), "{what}: {json:#}");
    let _ = live.run().expect_exit(0);
    live.check();
    assert_eq!(live.with(|world| world.posts()), 1, "{what}: the candle is not tried again");
}

/// The same candle is not tried again.
#[track_caller]
fn done_once(live: &Live) {
    let _ = live.run().start().wait();
    assert_eq!(live.with(|world| (world.posts(), world.orders.len())), (1, 1));
}

/// The order that was sent, as the exchange would show it with nothing executed.
fn shown(live: &Live, status: &str) -> Value {
    let body = live.with(|world| {
        let sent = world.log.iter().rfind(|it| it.asked.method == "POST").expect("an order");
        sent.asked.body.clone()
    });
    let value = |name: &str| {
        let mut parts = body.split('&').filter_map(|part| part.split_once('='));
        parts.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
    };
    let at: i64 = value("timestamp").expect("signed").parse().expect("a number");
    json!({
        "symbol": value("symbol"), "orderId": 77, "orderListId": -1,
        "clientOrderId": value("newClientOrderId"), "price": "0.00000000",
        "origQty": "0.05000000", "executedQty": "0.00000000",
        "origQuoteOrderQty": value("quoteOrderQty"), "cummulativeQuoteQty": "0.00000000",
        "status": status, "timeInForce": "GTC", "type": value("type"), "side": value("side"),
        "time": at, "updateTime": at, "isWorking": true, "workingTime": at,
        "selfTradePreventionMode": "EXPIRE_MAKER",
    })
}

fn alter(field: &'static str, value: Value) -> Reply {
    Reply::Alter(Arc::new(move |body| body[field] = value.clone()))
}

fn every(live: &Live, question: &'static str, reply: Reply) {
    live.with(|world| world.rules.push(Rule::every(question, reply)));
}

fn once(live: &Live, question: &'static str, skip: usize, reply: Reply) {
    let fault = Fault { execute: Execute::Now, reply };
    let rule = Rule { on: On::Path(question), skip, count: 1, fault };
    live.with(|world| world.rules.push(rule));
}

const QUESTION: &str = "GET /api/v3/order";
