//! Live orders to the last digit: what is sent, what is booked of it, and what can't be ordered.

use std::collections::BTreeMap;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::exchange::{Execute, FeeAsset, Reply, Rule, Setup};
use crate::support::live::{Live, kind};
use crate::support::run::{Run, money};
use crate::support::table::decimal;

#[test]
fn an_entry_names_the_amount_and_what_it_leaves_over_is_not_booked() {
    let live = Live::entry_ahead();
    let bought = buy(&live, live.run());
    let sent = sent(&live);
    let names: Vec<&str> = sent.keys().map(String::as_str).collect();
    let expected = [
        "newClientOrderId",
        "newOrderRespType",
        "quoteOrderQty",
        "recvWindow",
        "side",
        "signature",
        "symbol",
        "timestamp",
        "type",
    ];
    assert_eq!(names, expected);
    for (name, value) in [
        ("symbol", "ETHUSDT"),
        ("side", "BUY"),
        ("type", "MARKET"),
        ("quoteOrderQty", "150"),
        ("newOrderRespType", "FULL"),
        ("recvWindow", "5000"),
    ] {
        assert_eq!(sent[name], value, "{name}");
    }
    assert_eq!(json!(sent["newClientOrderId"]), bought["order"]["client_order_id"]);
    let spent = decimal("1000") - live.with(|world| world.free("USDT"));
    assert!(spent < decimal("150"), "something is left over");
    assert_eq!(money(&live.status(), "/position/cost"), spent);
    live.check();
}

#[test]
fn an_exit_names_the_quantity() {
    let live = Live::exit_ahead();
    sell(&live, live.run());
    let sent = sent(&live);
    assert_eq!(sent["type"], "MARKET");
    assert_eq!(sent["side"], "SELL");
    // 0.0499 were bought, 0.0000499 of them were the fee.
    assert_eq!(sent["quantity"], "0.0498");
    for name in ["quoteOrderQty", "price", "timeInForce"] {
        assert!(!sent.contains_key(name), "{name}");
    }
    assert_eq!(money(&live.status(), "/dust/ETH"), decimal("0.0000501"));
    live.check();
}

#[test]
fn with_a_bound_the_orders_are_immediate_or_cancel_at_a_whole_tick_within_it() {
    let live = Live::entry_ahead();
    let bounded = || live.run().env("MAX_SLIPPAGE_BPS", "10");
    buy(&live, bounded());
    let entry = sent(&live);
    for (name, value) in [
        ("symbol", "ETHUSDT"),
        ("side", "BUY"),
        ("type", "LIMIT"),
        ("timeInForce", "IOC"),
        // The ask is 3000.01: 3003.01001 down to the tick.
        ("price", "3003.01"),
        ("quantity", "0.0499"),
        ("newOrderRespType", "FULL"),
    ] {
        assert_eq!(decimal_or_word(&entry[name]), decimal_or_word(value), "{name}");
    }
    assert!(!entry.contains_key("quoteOrderQty"));
    live.check();
    live.with(|world| {
        world.symbol("ETHUSDT").touch = Some((decimal("2999.37"), decimal("2999.99")));
    });
    live.next_candle("19");
    sell(&live, bounded());
    let exit = sent(&live);
    for (name, value) in [
        ("side", "SELL"),
        ("type", "LIMIT"),
        ("timeInForce", "IOC"),
        // 2996.37063 up to the tick.
        ("price", "2996.38"),
        ("quantity", "0.0498"),
    ] {
        assert_eq!(decimal_or_word(&exit[name]), decimal_or_word(value), "{name}");
    }
    live.check();
}

#[test]
fn a_part_of_an_entry_is_held_and_sold_like_a_whole_one() {
    for bound in ["0", "5"] {
        let live = Live::entry_ahead();
        live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("60")]);
        buy(&live, live.run().env("MAX_SLIPPAGE_BPS", bound));
        let held = money(&live.status(), "/position/quantity");
        assert!(held < decimal("0.02") && held > decimal("0.0198"), "{held}");
        live.check();
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
        live.next_candle("21");
        let _ = live.run().env("MAX_SLIPPAGE_BPS", bound).expect_exit(0);
        assert_eq!(live.with(|world| world.posts()), 1, "an entry is not topped up");
        live.next_candle("19");
        sell(&live, live.run().env("MAX_SLIPPAGE_BPS", bound));
        assert_eq!(live.status()["state"], "NONE");
        live.check();
    }
}

#[test]
fn a_part_of_an_exit_is_booked_and_the_rest_is_sold_at_later_candles_whatever_they_say() {
    for bound in ["0", "5"] {
        let live = Live::exit_ahead();
        let run = || live.run().env("MAX_SLIPPAGE_BPS", bound);
        live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("60")]);
        for (number, spread) in ["25", "40"].iter().enumerate() {
            let sold = run()
                .expect_exit(0)
                .expect_json(&[("/action", json!("sell")), ("/to", json!("HOLDING_ETH"))]);
            assert_eq!(money(&sold, "/order/executed_quantity"), decimal("0.02"));
            live.check();
            assert_eq!(live.status()["trades"], 0);
            let _ = run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
            assert_eq!(live.with(|world| world.posts()), number + 2);
            live.next_candle(spread);
        }
        // 0.0098 and the dust of 0.0000501 are left, and no candle says sell.
        let sold =
            run().expect_exit(0).expect_json(&[("/action", json!("sell")), ("/to", json!("NONE"))]);
        assert_eq!(money(&sold, "/order/executed_quantity"), decimal("0.0098"));
        assert_eq!(live.status()["trades"], 1);
        live.check();
    }
}

#[test]
fn a_part_of_an_entry_that_is_too_small_to_be_sold_becomes_dust() {
    let live = Live::entry_ahead();
    live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("3.1")]);
    buy(&live, live.run());
    live.check();
    live.next_candle("19");
    let _ = live
        .run()
        .expect_exit(0)
        .expect_json(&[("/action", json!("hold")), ("/to", json!("NONE"))]);
    assert_eq!(money(&live.status(), "/dust/ETH"), decimal("0.000999"));
    assert_eq!(live.with(|world| world.posts()), 1);
    live.check();
}

/// The exchange judges an order with a price by that price.
#[test]
fn a_sale_is_worth_enough_at_its_limit_too() {
    let live = Live::exit_ahead();
    let run = || live.run().env("MAX_SLIPPAGE_BPS", "300");
    // 0.0017 are left: 5.10 at the touch, 4.947 at three per cent below it.
    live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("144.31")]);
    let _ = run().expect_exit(0).expect_json(&[("/to", json!("HOLDING_ETH"))]);
    live.check();
    live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("100000")]);
    live.next_candle("40");
    sell(&live, run());
    assert_eq!(decimal(&sent(&live)["quantity"]), decimal("0.0017"));
    // 5 / 0.0017 up to the tick.
    assert_eq!(decimal(&sent(&live)["price"]), decimal("2941.18"));
    live.check();
}

#[test]
fn a_small_entry_with_a_wide_bound_can_be_sold_again() {
    let live = Live::entry_ahead();
    let run = || live.run().env("MAX_SLIPPAGE_BPS", "1000").env("TRADE_AMOUNT_USDT", "6.30");
    buy(&live, run());
    live.next_candle("19");
    sell(&live, run());
    live.check();
}

#[test]
fn fees_in_a_coin_that_is_a_leg_itself_are_booked_as_that_coin() {
    let balances = vec![("USDT", "1000"), ("ETH", "2"), ("BTC", "0"), ("BNB", "0.3")];
    let live = Live::upon(Setup { balances, ..Setup::default() });
    let copy = || {
        live.with(|world| {
            let candles = world.symbol("BTCUSDT").candles.clone();
            world.symbol("BNBUSDT").candles = candles;
            world.fee_asset = FeeAsset::Bnb;
        });
    };
    let run = || live.run().env("SYMBOL_BASE", "BNB/USDT");
    copy();
    let _ = run().expect_exit(0);
    for (spread, action) in [("19", "buy"), ("40", "sell"), ("60", "buy"), ("5", "sell")] {
        live.next_candle(spread);
        copy();
        let told = run().expect_exit(0).expect_json(&[("/action", json!(action))]);
        expect_fees(&live, &told);
    }
    live.with(|world| world.conservation()).expect("the exchange keeps its own books");
}

#[test]
fn an_exchange_without_a_date_is_traded_on_too() {
    let live = Live::new();
    live.with(|world| world.has_date = false);
    live.expect_hold();
    live.next_candle("21");
    buy(&live, live.run());
    live.next_candle("19");
    sell(&live, live.run());
    live.check();
}

#[test]
fn an_entry_that_meets_no_one_is_over() {
    for bound in ["0", "5"] {
        let live = Live::entry_ahead();
        live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("0.1")]);
        let outcome = live.run().env("MAX_SLIPPAGE_BPS", bound).expect_exit(0);
        let told = outcome.expect_json(&[
            ("/action", json!("hold")),
            ("/to", json!("NONE")),
            ("/order/executed_quantity", json!("0.00000000")),
            ("/order/average_price", json!(null)),
        ]);
        assert!(told["why"].as_str().expect("a sentence").contains("nothing was executed"));
        live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("100000")]);
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
        assert_eq!(live.with(|world| world.posts()), 1);
        live.check();
    }
}

#[test]
fn an_exit_that_meets_no_one_stays_due() {
    let live = Live::exit_ahead();
    live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("0.1")]);
    let _ = live
        .run()
        .expect_exit(0)
        .expect_json(&[("/action", json!("hold")), ("/to", json!("HOLDING_ETH"))]);
    live.check();
    live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("100000")]);
    live.next_candle("40");
    sell(&live, live.run());
    live.check();
}

#[test]
fn an_empty_book_refuses_an_entry() {
    let live = Live::entry_ahead();
    live.with(|world| world.symbol("ETHUSDT").depth = Vec::new());
    let outcome = live.run().expect_exit(76);
    assert_eq!(kind(&outcome), "refused");
    outcome.expect_said(&["liquidity"]);
    live.check();
}

#[test]
fn fees_are_booked_by_asset_to_the_last_digit() {
    let rows = [
        (FeeAsset::Received, "0"),
        (FeeAsset::Base, "0"),
        (FeeAsset::Quote, "0"),
        (FeeAsset::Bnb, "1"),
        (FeeAsset::Mixed, "1"),
        (FeeAsset::Nothing, "1"),
        // Enough for the first of three fills.
        (FeeAsset::Bnb, "0.00015"),
    ];
    for (fee_asset, bnb) in rows {
        for lost in [false, true] {
            let balances = vec![("USDT", "1000"), ("ETH", "2"), ("BTC", "0.25"), ("BNB", bnb)];
            let live = Live::upon(Setup { balances, ..Setup::default() });
            live.with(|world| world.fee_asset = fee_asset);
            live.expect_hold();
            live.next_candle("21");
            if lost {
                live.exchange.fault(Rule::order(Execute::Now, Reply::Close));
            }
            let bought = buy(&live, live.run());
            expect_fees(&live, &bought);
            live.check();
            live.next_candle("19");
            let sold = sell(&live, live.run());
            expect_fees(&live, &sold);
            live.check();
            let paid = live.with(|world| decimal(bnb) - world.free("BNB"));
            let booked = live.status()["other_fees"]["BNB"].as_str().map(decimal);
            assert_eq!(booked.unwrap_or_default(), paid, "{fee_asset:?} {bnb} lost: {lost}");
            assert_eq!(paid.is_zero(), !matches!(fee_asset, FeeAsset::Bnb | FeeAsset::Mixed));
        }
    }
}

#[test]
fn dust_piles_up_until_it_is_a_step_and_goes_with_a_sale() {
    let live = Live::entry_ahead();
    let (mut sold, mut up) = (Vec::new(), 25);
    for _ in 0..3 {
        buy(&live, live.run());
        live.next_candle("5");
        let order = sell(&live, live.run());
        sold.push(money(&order, "/order/executed_quantity").to_string());
        live.check();
        up *= 4;
        live.next_candle(&up.to_string());
    }
    // 0.0000501 each time; with the second there is more than a step of 0.0001.
    assert_eq!(sold, ["0.04980000", "0.04990000", "0.04980000"]);
    assert_eq!(money(&live.status(), "/dust/ETH"), decimal("0.0000503"));
}

#[test]
fn a_larger_step_at_the_exit_sells_whole_steps_and_keeps_the_rest_as_dust() {
    for is_market_step in [false, true] {
        let live = Live::exit_ahead();
        live.with(|world| {
            let filters = &mut world.symbol("ETHUSDT").filters;
            if is_market_step {
                filters.market_step = decimal("0.01");
            } else {
                filters.step = decimal("0.01");
            }
        });
        sell(&live, live.run());
        assert_eq!(sent(&live)["quantity"], "0.04");
        assert_eq!(live.status()["state"], "NONE");
        assert_eq!(money(&live.status(), "/dust/ETH"), decimal("0.0098501"));
        live.check();
    }
}

#[test]
fn steps_of_both_lot_filters_are_kept_by_an_entry_that_can_be_sold_again() {
    let live = Live::entry_ahead();
    live.with(|world| {
        let filters = &mut world.symbol("ETHUSDT").filters;
        (filters.step, filters.market_step) = (decimal("0.004"), decimal("0.006"));
    });
    // The sale must be in steps of both, 0.012.
    live.with(|world| world.symbol("ETHUSDT").filters.min_quantity = decimal("0.004"));
    buy(&live, live.run());
    live.next_candle("19");
    sell(&live, live.run());
    assert_eq!(sent(&live)["quantity"], "0.036");
    live.check();
}

#[test]
fn the_largest_market_order_bounds_entries_and_makes_several_exits_of_one() {
    let live = Live::entry_ahead();
    let most = |most: &str| {
        live.with(|world| world.symbol("ETHUSDT").filters.market_max = decimal(most));
    };
    most("0.03");
    buy(&live, live.run());
    assert_eq!(sent(&live)["quantity"], "0.03");
    live.check();
    most("0.02");
    live.next_candle("19");
    let _ = live
        .run()
        .expect_exit(0)
        .expect_json(&[("/action", json!("sell")), ("/to", json!("HOLDING_ETH"))]);
    live.check();
    live.next_candle("40");
    sell(&live, live.run());
    // 0.02997 less 0.02, in whole steps.
    assert_eq!(sent(&live)["quantity"], "0.0099");
    assert_eq!(live.status()["trades"], 1);
    live.check();
}

#[test]
fn a_symbol_without_market_orders_is_bought_only_with_a_bound() {
    let live = Live::entry_ahead();
    live.with(|world| {
        for code in ["BTCUSDT", "ETHUSDT"] {
            world.symbol(code).order_types = vec!["LIMIT".to_owned(), "LIMIT_MAKER".to_owned()];
        }
    });
    let outcome = live.run().expect_exit(76);
    assert_eq!(kind(&outcome), "refused");
    outcome.expect_said(&["takes no market orders", "MAX_SLIPPAGE_BPS"]);
    assert_eq!(live.with(|world| world.posts()), 0);
    live.next_candle("40");
    buy(&live, live.run().env("MAX_SLIPPAGE_BPS", "20"));
    live.check();
}

#[test]
fn a_symbol_without_orders_by_amount_is_bought_only_with_a_bound() {
    let live = Live::entry_ahead();
    live.with(|world| world.symbol("ETHUSDT").quote_orders = false);
    live.run().expect_exit(76).expect_said(&["quote amount"]);
    assert_eq!(live.with(|world| world.posts()), 0);
    live.next_candle("40");
    buy(&live, live.run().env("MAX_SLIPPAGE_BPS", "20"));
    live.check();
}

#[test]
fn an_entry_that_could_not_be_sold_again_is_refused_with_the_numbers() {
    let live = Live::entry_ahead();
    let outcome = live.run().env("TRADE_AMOUNT_USDT", "5.10").expect_exit(76);
    assert_eq!(kind(&outcome), "refused");
    // 0.0016 ETH less the fee in whole steps; 5 with a twentieth more.
    outcome.expect_said(&["0.00150000", "4.5", "5.25"]);
    assert_eq!(live.with(|world| world.posts()), 0);
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
    live.check();
}

#[test]
fn nothing_is_bought_of_a_symbol_that_is_not_traded() {
    for status in ["HALT", "BREAK", "CANCEL_ONLY", "END_OF_DAY", "A_NEW_STATUS"] {
        let live = Live::entry_ahead();
        live.with(|world| status.clone_into(&mut world.symbol("ETHUSDT").status));
        let outcome = live.run().expect_exit(76);
        assert_eq!(kind(&outcome), "refused");
        outcome.expect_said(&[status]);
        assert_eq!(live.with(|world| world.posts()), 0);
        live.with(|world| "TRADING".clone_into(&mut world.symbol("ETHUSDT").status));
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
        live.next_candle("40");
        buy(&live, live.run());
        live.check();
    }
}

#[test]
fn a_third_refusal_of_one_exit_halts_and_resume_sells() {
    for status in ["HALT", "BREAK", "CANCEL_ONLY", "A_NEW_STATUS"] {
        let live = Live::exit_ahead();
        live.with(|world| status.clone_into(&mut world.symbol("ETHUSDT").status));
        for spread in ["19", "18", "40"] {
            let outcome = live.run().expect_exit(76);
            assert_eq!(kind(&outcome), "refused");
            outcome.expect_said(&[status]);
            live.next_candle(spread);
        }
        let outcome = live.run().expect_exit(76);
        assert_eq!(kind(&outcome), "halted");
        outcome.expect_said(&["refused 3 times", status]);
        live.with(|world| "TRADING".clone_into(&mut world.symbol("ETHUSDT").status));
        let _ = live.run().expect_exit(76);
        live.command(&["resume"]).expect_exit(0).expect_said(&["refused 3 times"]);
        sell(&live, live.run());
        live.check();
    }
}

#[test]
fn the_engine_that_refuses_one_exit_three_times_halts_it() {
    for (code, words) in [
        (-1013, "Market is closed."),
        (-1013, "Filter failure: NOTIONAL"),
        (-2010, "Account has insufficient balance for requested action."),
        (-2010, "This symbol is restricted for this account."),
    ] {
        let live = Live::exit_ahead();
        live.exchange
            .fault(Rule { count: 3, ..Rule::order(Execute::Never, Reply::Code(400, code, words)) });
        for spread in ["19", "18", "40"] {
            let outcome = live.run().expect_exit(76);
            assert_eq!(kind(&outcome), "refused");
            outcome.expect_said(&[words]);
            assert!(!live.is_pending());
            live.next_candle(spread);
        }
        let outcome = live.run().expect_exit(76);
        assert_eq!(kind(&outcome), "halted");
        outcome.expect_said(&[words]);
        assert_eq!(live.with(|world| world.posts()), 4);
        let _ = live.command(&["resume"]).expect_exit(0);
        sell(&live, live.run());
        live.check();
    }
}

#[test]
fn an_entry_without_the_money_is_refused_and_the_next_candle_goes_on() {
    let live = Live::entry_ahead();
    live.with(|world| world.deposit("USDT", "-900"));
    let outcome = live.run().expect_exit(76);
    assert_eq!(kind(&outcome), "refused");
    outcome.expect_said(&["100", "150"]);
    assert_eq!(live.with(|world| world.posts()), 0);
    live.with(|world| world.deposit("USDT", "900"));
    live.next_candle("40");
    buy(&live, live.run());
    live.check();
}

#[test]
fn an_entry_that_the_engine_refuses_for_want_of_money_is_over_and_the_next_candle_goes_on() {
    let live = Live::entry_ahead();
    let words = "Account has insufficient balance for requested action.";
    live.exchange.fault(Rule::order(Execute::Never, Reply::Code(400, -2010, words)));
    let outcome = live.run().expect_exit(76);
    assert_eq!(kind(&outcome), "refused");
    outcome.expect_said(&[words]);
    live.check();
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
    live.next_candle("40");
    buy(&live, live.run());
    live.check();
}

#[test]
fn an_amount_has_no_more_digits_than_the_exchange_takes() {
    let live = Live::entry_ahead();
    live.exchange.fault(Rule::every(
        "GET /api/v3/exchangeInfo",
        Reply::Alter(Arc::new(|info: &mut Value| {
            for symbol in info["symbols"].as_array_mut().into_iter().flatten() {
                symbol["quoteAssetPrecision"] = json!(2);
            }
        })),
    ));
    buy(&live, live.run().env("TRADE_AMOUNT_USDT", "150.12987654"));
    assert_eq!(sent(&live)["quoteOrderQty"], "150.12");
    live.check();
}

#[test]
fn a_buy_of_the_base_leg_is_a_round_trip_too() {
    let live = Live::new();
    live.expect_hold();
    live.next_candle("19");
    let _ = live.run().expect_exit(0).expect_json(&[
        ("/action", json!("buy")),
        ("/to", json!("HOLDING_BTC")),
        ("/order/symbol", json!("BTCUSDT")),
    ]);
    live.check();
    live.next_candle("21");
    let _ = sell(&live, live.run());
    assert_eq!(sent(&live)["symbol"], "BTCUSDT");
    live.check();
}

/// A run that buys.
#[track_caller]
fn buy(live: &Live, run: Run) -> Value {
    let posts = live.with(|world| world.posts());
    let told = run.expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    assert_eq!(live.with(|world| world.posts()), posts + 1);
    told
}

/// A run that sells all that is held.
#[track_caller]
fn sell(live: &Live, run: Run) -> Value {
    let posts = live.with(|world| world.posts());
    let told =
        run.expect_exit(0).expect_json(&[("/action", json!("sell")), ("/to", json!("NONE"))]);
    assert_eq!(live.with(|world| world.posts()), posts + 1);
    told
}

/// The parameters of the last order that was sent.
#[track_caller]
fn sent(live: &Live) -> BTreeMap<String, String> {
    let body = live.with(|world| {
        let order = |logged: &&crate::exchange::Logged| logged.asked.method == "POST";
        world.log.iter().rfind(order).expect("an order was sent").asked.body.clone()
    });
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=').expect("a name and a value");
        (name.to_owned(), value.to_owned())
    };
    body.split('&').map(pair).collect()
}

/// That an order's fees are those of its trades at the exchange.
#[track_caller]
fn expect_fees(live: &Live, told: &Value) {
    let expected = live.with(|world| {
        let order = world.orders.last().expect("an order").order_id;
        let mut fees: BTreeMap<String, Decimal> = BTreeMap::new();
        for trade in world.trades.iter().filter(|trade| trade.order_id == order) {
            if !trade.fee.is_zero() {
                *fees.entry(trade.fee_asset.clone()).or_default() += trade.fee;
            }
        }
        fees
    });
    let fees = told["order"]["fees"].as_object().expect("fees by asset");
    let fees: BTreeMap<String, Decimal> = fees
        .iter()
        .map(|(asset, fee)| (asset.clone(), decimal(fee.as_str().expect("a string"))))
        .collect();
    assert_eq!(fees, expected);
}

fn decimal_or_word(text: &str) -> String {
    match text.parse::<Decimal>() {
        Ok(number) => number.normalize().to_string(),
        Err(_) => text.to_owned(),
    }
}
