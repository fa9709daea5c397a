//! What went wrong for others with the same exchange: each test names where it was reported.
//! None of the reports is a document of the exchange; all of them were seen.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::exchange::{Candle, Execute, Lag, Lags, Reply, Rule, Setup};
use crate::support::clock::{MINUTE, SECOND};
use crate::support::live::{Live, kind};
use crate::support::run::money;
use crate::support::table::decimal;

/// `taniman/profit-trailer#1604`, `ccxt/binance-trade-bot#272`, #296, #297: the order was filled,
/// its answer lost, and "Order does not exist." for over five minutes.
#[test]
fn an_order_that_does_not_exist_for_five_minutes_is_booked_in_the_sixth() {
    for lag in [
        Lags { order: Lag::Millis(330 * SECOND), ..Lags::default() },
        Lags::all(Lag::Millis(330 * SECOND)),
    ] {
        let live = Live::entry_ahead();
        live.with(|world| world.lag = lag);
        lose_answer(&live, Execute::Now, Reply::Close);
        let patient = || live.run().env("SETTLE_SECONDS", "660");
        assert_eq!(kind(&patient().expect_exit(75)), "pending");
        for _ in 0..5 {
            live.advance(MINUTE);
            assert_eq!(kind(&patient().expect_exit(75)), "pending");
        }
        live.advance(MINUTE);
        let _ = patient()
            .expect_exit(0)
            .expect_json(&[("/settled/side", json!("BUY")), ("/to", json!("HOLDING_ETH"))]);
        assert_eq!(live.with(|world| world.posts()), 1);
        live.check();
    }
}

/// The same, with a bound that is too short for it: what the book takes for never executed is met
/// later, and a person is called.
#[test]
fn an_order_that_shows_only_after_the_bound_halts() {
    let live = Live::entry_ahead();
    live.with(|world| world.lag = Lags::all(Lag::Millis(330 * SECOND)));
    lose_answer(&live, Execute::Now, Reply::Close);
    let _ = live.run().expect_exit(75);
    live.pass_the_bound();
    let _ = live
        .run()
        .expect_exit(0)
        .expect_json(&[("/settled/executed_quantity", json!("0.00000000"))]);
    live.advance(6 * MINUTE);
    let outcome = live.run().expect_exit(76);
    assert_eq!(kind(&outcome), "halted");
    outcome.expect_said(&["does not know", "ouro-"]);
    assert_eq!(live.with(|world| world.posts()), 1);
}

/// `ccxt/ccxt#1786`, #6615, `tony-ho/binance-oco#26`, `ccxt/binance-api-node#196`: "Order does not
/// exist." for two to ten seconds.
#[test]
fn an_order_that_does_not_exist_for_ten_seconds_is_booked_by_the_next_run() {
    for seconds in [2, 10] {
        let live = Live::entry_ahead();
        live.with(|world| world.lag.order = Lag::Millis(seconds * SECOND));
        lose_answer(&live, Execute::Now, Reply::Reset);
        let _ = live.run().expect_exit(75);
        live.advance(seconds * SECOND);
        let _ = live.run().expect_exit(0).expect_json(&[("/settled/side", json!("BUY"))]);
        live.check();
    }
}

/// `binance/binance-api-postman#102`, `sammchardy/python-binance#690`: the list of open orders
/// still has an order that was executed, now and then, for 36 seconds.
#[test]
fn an_executed_order_among_the_open_ones_is_no_alarm() {
    for lost in [false, true] {
        let live = Live::entry_ahead();
        live.with(|world| world.lag.open_orders = Lag::Flapping(36 * SECOND));
        live.exchange.fault(Rule::every(
            "GET /api/v3/openOrders",
            Reply::Alter(Arc::new(|orders: &mut Value| {
                for order in orders.as_array_mut().into_iter().flatten() {
                    order["status"] = json!("NEW");
                    order["executedQty"] = json!("0.00000000");
                    order["cummulativeQuoteQty"] = json!("0.00000000");
                }
            })),
        ));
        if lost {
            lose_answer(&live, Execute::Now, Reply::Close);
        }
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
        for _ in 0..3 {
            live.advance(10 * SECOND);
            let _ =
                live.run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
        }
        live.next_candle("19");
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
        live.check();
    }
}

/// `sonvister/Binance#66`, #77: a request timed out, once with and once without an execution behind
/// it.
#[test]
fn a_timeout_is_booked_as_what_it_was() {
    for (execute, state) in [(Execute::Now, "HOLDING_ETH"), (Execute::Never, "NONE")] {
        for reply in [Reply::Hang, Reply::Html(504), Reply::Drip, Reply::Cut] {
            let live = Live::entry_ahead();
            lose_answer(&live, execute, reply.clone());
            let _ = live.run().expect_one_of(&[0, 75]);
            let _ = live.settle(2);
            assert_eq!(live.status()["state"], state, "{reply:?}");
            assert_eq!(live.with(|world| world.posts()), 1, "{reply:?}");
            live.check();
        }
    }
}

/// The same for a sale: the exit goes on exactly if it was not executed.
#[test]
fn a_sale_that_timed_out_is_not_made_twice() {
    for (execute, posts) in [(Execute::Now, 2), (Execute::Never, 3)] {
        let live = Live::exit_ahead();
        lose_answer(&live, execute, Reply::Hang);
        let _ = live.run().expect_one_of(&[0, 75]);
        let _ = live.settle(2);
        live.next_candle("19");
        let _ = live.run().expect_exit(0);
        assert_eq!(live.with(|world| world.posts()), posts);
        assert_eq!(live.status()["state"], "NONE");
        live.check();
    }
}

/// `scrtlabs/catalyst#317`, `hummingbot/hummingbot#493`: a timeout was taken for a failure, the
/// order was made again, and either bought twice or was refused for want of the funds that the
/// first had taken.
#[test]
fn after_a_lost_answer_no_second_order_leaves_whatever_the_candles_say() {
    let live = Live::entry_ahead();
    live.with(|world| world.lag = Lags::all(Lag::Millis(10 * 60 * MINUTE)));
    lose_answer(&live, Execute::Now, Reply::Close);
    for spread in ["25", "30", "10"] {
        let _ = live.run().env("SETTLE_SECONDS", "86400").expect_exit(75);
        live.next_candle(spread);
    }
    assert_eq!(live.with(|world| world.posts()), 1);
    live.with(|world| world.lag = Lags::default());
    let _ = live.run().expect_exit(0).expect_json(&[("/settled/side", json!("BUY"))]);
    assert_eq!(live.with(|world| world.executed(&id_of(world, 0))), 1);
}

/// `hummingbot/hummingbot#6033`, `banbox/banbot#114`: an error was answered, and the order was
/// placed all the same. `nautechsystems/nautilus_trader#4215`, `sieblyio/binance#580`: the backend
/// timed out, and took the order later.
#[test]
fn an_error_that_is_no_refusal_is_asked_about() {
    let replies = [
        Reply::Code(503, -1008, "Server is currently overloaded with other requests."),
        Reply::Code(400, -1008, "Server is currently overloaded with other requests."),
        // What a failing server says of an order is no word about the order.
        Reply::Code(500, -1013, "Filter failure: LOT_SIZE"),
        Reply::Code(502, -2010, "Account has insufficient balance for requested action."),
        Reply::Code(503, -1021, "Timestamp for this request is outside of the recvWindow."),
        Reply::Code(503, 0, "Unknown error, please check your request or try again later."),
        Reply::Code(504, -1007, TIMED_OUT),
        Reply::Code(408, -1007, TIMED_OUT),
        Reply::Code(400, -1006, "An unexpected response was received from the message bus."),
        Reply::Code(400, -1000, "An unknown error occurred while processing the request."),
        Reply::Code(
            400,
            -1001,
            "Internal error; unable to process your request. Please try again.",
        ),
        Reply::Code(400, -1016, "This service is no longer available."),
    ];
    for reply in replies {
        let live = Live::entry_ahead();
        lose_answer(&live, Execute::Now, reply.clone());
        let _ = live.run().expect_exit(0).expect_json(&[("/to", json!("HOLDING_ETH"))]);
        assert_eq!(live.with(|world| world.posts()), 1, "{reply:?}");
        live.check();
    }
}

/// `nautechsystems/nautilus_trader#4215` in slow motion: the order is taken after the run has
/// ended.
#[test]
fn an_order_that_is_taken_late_is_booked() {
    let live = Live::entry_ahead();
    lose_answer(&live, Execute::LateMillis(14 * SECOND), Reply::Code(504, -1007, TIMED_OUT));
    assert_eq!(kind(&live.run().expect_exit(75)), "pending");
    live.advance(20 * SECOND);
    let _ = live.run().expect_exit(0).expect_json(&[("/settled/side", json!("BUY"))]);
    live.check();
}

/// `JKorf/Binance.Net#935`, `nkaz001/hftbacktest#146`: "Duplicate order sent." says that there is
/// an order, not that there is none.
#[test]
fn a_duplicate_is_asked_about() {
    for (execute, state) in [(Execute::Now, "HOLDING_ETH"), (Execute::Never, "NONE")] {
        let live = Live::entry_ahead();
        lose_answer(&live, execute, Reply::Code(400, -2010, "Duplicate order sent."));
        let _ = live.run().expect_one_of(&[0, 75]);
        let _ = live.settle(2);
        assert_eq!(live.status()["state"], state);
        live.check();
    }
}

/// `binance/binance-spot-api-docs#34`, `nautechsystems/nautilus_trader#383`: a client id with a dot
/// is refused.
#[test]
fn client_ids_are_of_the_letters_that_the_exchange_takes_and_never_come_twice() {
    let live = Live::exit_ahead();
    let _ = live.run().expect_exit(0);
    live.next_candle("25");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    let ids: Vec<String> =
        live.with(|world| world.orders.iter().map(|order| order.client_order_id.clone()).collect());
    assert_eq!(ids.len(), 3);
    for (index, id) in ids.iter().enumerate() {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
        assert!(id.len() <= 36 && id.bytes().all(plain), "{id}");
        assert!(!ids[..index].contains(id), "{id} came twice");
    }
}

/// `ccxt/ccxt#14639`, `freqtrade/freqtrade#7187`, `ccxt/node-binance-api#233`: an address that
/// others share is banned.
#[test]
fn a_banned_address_asks_nothing_until_the_ban_is_over() {
    for (path, before) in [
        ("GET /api/v3/account", 0),
        ("GET /api/v3/klines", 0),
        ("POST /api/v3/order", 1),
        ("GET /api/v3/allOrders", 0),
    ] {
        let live = Live::entry_ahead();
        live.exchange.fault(Rule {
            count: 1,
            fault: crate::exchange::Fault {
                execute: Execute::Never,
                reply: Reply::Silence(418, Some("600"), Some(-1003)),
            },
            ..Rule::every(path, Reply::Good)
        });
        assert_eq!(kind(&live.run().expect_exit(75)), "rate-limited", "{path}");
        let asked = live.with(|world| world.log.len());
        live.advance(9 * MINUTE);
        assert_eq!(kind(&live.run().expect_exit(75)), "rate-limited", "{path}");
        assert_eq!(live.with(|world| world.log.len()), asked, "{path}: asked while banned");
        live.advance(2 * MINUTE);
        let expected = if before == 0 { "buy" } else { "already-processed" };
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!(expected))]);
        assert_eq!(live.with(|world| world.posts()), 1, "{path}");
        live.check();
    }
}

/// `freqtrade/freqtrade#12322`: what is left of an exit is below the smallest order, and the trade
/// becomes immortal.
#[test]
fn what_is_left_of_an_exit_is_dust_and_not_a_trade_for_ever() {
    let live = Live::exit_ahead();
    live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("147")]);
    let _ = live
        .run()
        .expect_exit(0)
        .expect_json(&[("/action", json!("sell")), ("/to", json!("NONE"))]);
    assert_eq!(live.status()["trades"], 1);
    live.check();
    let dust = money(&live.status(), "/dust/ETH");
    assert!(dust >= decimal("0.0005"), "{dust}");
    live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("100000000")]);
    live.next_candle("25");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    let held = money(&live.status(), "/position/quantity");
    live.next_candle("10");
    let sold = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    let sold = money(&sold, "/order/executed_quantity");
    assert!(held - sold < decimal("0.0001"), "{held} held, {sold} sold");
    live.check();
}

/// `freqtrade/freqtrade#4324`, #528, `bmino/binance-triangle-arbitrage#66`: the fee leaves less
/// than was executed, and a sale of `executedQty` is refused for want of funds.
#[test]
fn what_is_sold_is_what_was_bought_less_the_fee() {
    let live = Live::upon(Setup {
        balances: vec![("USDT", "1000"), ("ETH", "0"), ("BTC", "0")],
        ..Setup::default()
    });
    live.expect_hold();
    live.next_candle("21");
    let bought = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    let free = live.with(|world| world.free("ETH"));
    assert!(money(&bought, "/order/executed_quantity") > free);
    assert_eq!(money(&live.status(), "/position/quantity"), free);
    live.next_candle("19");
    let sold = live
        .run()
        .expect_exit(0)
        .expect_json(&[("/action", json!("sell")), ("/to", json!("NONE"))]);
    assert_eq!(money(&sold, "/order/executed_quantity"), free - free % decimal("0.0001"));
    assert_eq!(money(&live.status(), "/dust/ETH"), live.with(|world| world.free("ETH")));
    live.check();
}

/// `freqtrade/freqtrade#528`: all that is held is worth less than the smallest order by now.
#[test]
fn a_holding_that_is_too_small_by_now_is_dust_and_goes_with_the_next_sale() {
    let live = Live::exit_ahead();
    let held = money(&live.status(), "/position/quantity");
    live.with(|world| world.symbol("ETHUSDT").filters.min_notional = decimal("160"));
    let outcome = live.run().expect_exit(0);
    let _ = outcome.expect_json(&[("/action", json!("hold")), ("/to", json!("NONE"))]);
    outcome.expect_said(&["too small", "dust"]);
    assert_eq!(money(&live.status(), "/dust/ETH"), held);
    live.check();
    live.with(|world| world.symbol("ETHUSDT").filters.min_notional = decimal("5"));
    live.next_candle("25");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.next_candle("10");
    let sold = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    assert!(money(&sold, "/order/executed_quantity") > held + decimal("0.0495"));
    live.check();
}

/// `JKorf/Binance.Net#215`: a step of zero switches the filter off, and nothing is divided by it.
#[test]
fn a_step_of_zero_is_no_step() {
    let live = Live::new();
    for code in ["BTCUSDT", "ETHUSDT"] {
        live.with(|world| {
            let filters = &mut world.symbol(code).filters;
            filters.step = decimal("0");
            filters.market_step = decimal("0");
            filters.min_quantity = decimal("0");
        });
    }
    // Whole prices, so that no product has more than eight decimals.
    live.with(|world| {
        world.symbol("ETHUSDT").touch = Some((decimal("3000"), decimal("3001")));
        world.symbol("ETHUSDT").level_ticks = 100;
    });
    live.expect_hold();
    live.next_candle("21");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.next_candle("19");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    assert_eq!(live.status()["dust"], json!({}), "every coin could be sold");
    live.check();
}

/// `ccxt/go-binance#796`: since January 2026 what is signed must be percent-encoded before.
#[test]
fn every_signed_byte_is_encoded_before_it_is_signed() {
    let live = Live::exit_ahead();
    let _ = live.run().expect_exit(0);
    live.with(|world| {
        for logged in &world.log {
            let parameters = format!("{}{}", logged.asked.query, logged.asked.body);
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~%=&".contains(&byte);
            assert!(parameters.bytes().all(plain), "{parameters}");
            assert_ne!(logged.status, 400, "{parameters}");
        }
    });
}

/// `JKorf/Binance.Net#597`, `sammchardy/python-binance#1246`, #1259, `ccxt/binance-api-node#93`:
/// the candle that is forming was taken for a closed one.
#[test]
fn a_candle_that_is_forming_decides_nothing() {
    let live = Live::new();
    live.expect_hold();
    live.next_candle("20");
    let set_forming = |ratio: &str| {
        live.with(|world| {
            let rows = &mut world.symbol("BTCUSDT").candles.rows;
            *rows.last_mut().expect("one is forming") =
                Candle::flat(decimal(ratio) * decimal("3000"));
        });
    };
    set_forming("25");
    live.expect_hold();
    set_forming("15");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
    assert_eq!(live.with(|world| world.posts()), 0);
}

fn lose_answer(live: &Live, execute: Execute, reply: Reply) {
    live.exchange.fault(Rule::order(execute, reply));
}

fn id_of(world: &crate::exchange::World, index: usize) -> String {
    world.orders[index].client_order_id.clone()
}

const TIMED_OUT: &str = "Timeout waiting for response from backend server. Send status unknown; execution status unknown.";
