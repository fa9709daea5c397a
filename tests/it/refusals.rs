//! What the exchange would not take is not simulated either: 76, and the candle is done with.

use serde_json::{Value, json};

use crate::support::desk::{Desk, Replay};
use crate::support::fault::Fault;
use crate::support::run::expect_money;
use crate::support::table::spreads;

#[test]
fn an_entry_that_the_balance_cannot_pay_needs_a_person() {
    expect_refused_entry(&[("PAPER_BALANCE_USDT", "149.72")], |_| {}, "balance");
}

#[test]
fn an_entry_that_the_balance_just_pays_is_made() {
    // 0.0483 × 3100.
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome = desk.run().env("PAPER_BALANCE_USDT", "150").expect_exit(0);
    outcome.expect_json(&[("/action", json!("buy"))]);
    expect_money(&desk.status(), &[("/paper_balance", "0.27")]);
}

#[test]
fn an_entry_below_the_minimum_notional_needs_a_person() {
    // 0.0012 × 3100 = 3.72, and 5 are the least.
    expect_refused_entry(&[("TRADE_AMOUNT_USDT", "4")], |_| {}, "notional");
}

#[test]
fn an_entry_of_less_than_one_step_needs_a_person() {
    expect_refused_entry(&[("TRADE_AMOUNT_USDT", "0.3")], |_| {}, "ETHUSDT");
}

#[test]
fn an_entry_that_could_not_be_sold_again_is_not_made() {
    // Exactly the minimum before the fee: 0.0017 × 3100 = 5.27 against 5.27; after the fee less.
    let minimum = |info: &mut Value| set_filter(info, "NOTIONAL", "minNotional", "5.27000000");
    expect_refused_entry(&[("TRADE_AMOUNT_USDT", "5.28")], minimum, "notional");
}

#[test]
fn a_symbol_that_is_not_trading_needs_a_person() {
    for status in ["BREAK", "HALT", "CANCEL_ONLY", "END_OF_DAY", "SOMETHING_NEW"] {
        let close = move |info: &mut Value| {
            for symbol in info["symbols"].as_array_mut().expect("symbols") {
                symbol["status"] = json!(status);
            }
        };
        expect_refused_entry(&[], close, status);
    }
}

#[test]
fn a_filter_that_nobody_knows_is_no_obstacle() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.bend("exchangeInfo", |info| {
        for symbol in info["symbols"].as_array_mut().expect("symbols") {
            let filters = symbol["filters"].as_array_mut().expect("filters");
            filters.push(json!({"filterType": "MOON_PHASE", "minPhase": 3, "nested": {"a": [1]}}));
            symbol["somethingNew"] = json!([null, 1.5]);
        }
    });
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/action", json!("buy"))]);
}

#[test]
fn an_old_style_minimum_counts_as_well() {
    let old = |info: &mut Value| {
        for symbol in info["symbols"].as_array_mut().expect("symbols") {
            let filters = symbol["filters"].as_array_mut().expect("filters");
            filters.retain(|filter| filter["filterType"] != "NOTIONAL");
            filters.push(json!({
                "filterType": "MIN_NOTIONAL", "minNotional": "200.00000000",
                "applyToMarket": true, "avgPriceMins": 5,
            }));
        }
    };
    expect_refused_entry(&[], old, "notional");
}

#[test]
fn a_quantity_beyond_the_largest_lot_needs_a_person() {
    let small = |info: &mut Value| set_filter(info, "LOT_SIZE", "maxQty", "0.01000000");
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.bend("exchangeInfo", small);
    let outcome = desk.run().expect_one_of(&[0, 76]);
    if outcome.code == 0 {
        let told = outcome.json();
        assert_ne!(told["order"]["executed_quantity"], "0.04830000", "more than the largest lot");
    }
}

#[test]
fn odd_rules_never_lead_to_an_odd_quantity() {
    // No step, a step of zero, two steps: refused or read as no constraint, but never a crash.
    let bends: [fn(&mut Value); 3] = [
        |info| {
            each_filters(info, |filters| {
                filters.retain(|one| one["filterType"] != "LOT_SIZE");
            });
        },
        |info| set_filter(info, "LOT_SIZE", "stepSize", "0.00000000"),
        |info| each_filters(info, |filters| filters.push(filters[1].clone())),
    ];
    for bend in bends {
        let desk = Desk::new(spreads("20 20 20 21"));
        desk.server.bend("exchangeInfo", bend);
        let outcome = desk.run().expect_one_of(&[0, 69, 76]);
        if outcome.code == 0 {
            desk.expect_conserved();
        }
    }
}

#[test]
fn a_symbol_that_the_exchange_does_not_list_is_not_bought() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.bend("exchangeInfo", |info| {
        let symbols = info["symbols"].as_array_mut().expect("symbols");
        symbols.retain(|symbol| symbol["symbol"] != "ETHUSDT");
    });
    let outcome = desk.run().expect_one_of(&[69, 76]);
    outcome.expect_said(&["ETHUSDT"]);
}

#[test]
fn in_a_replay_an_entry_that_the_balance_cannot_pay_is_a_hold() {
    let replay = Replay::new(&spreads("20 20 20 21 20"));
    let told = replay.expect_actions(&[("PAPER_BALANCE_USDT", "100")], "hold hold");
    assert_eq!(told["to"], "NONE");
}

#[test]
fn an_exit_without_a_price_is_owed_and_made_at_the_next_candle() {
    let desk = Desk::for_two_more(spreads("20 20 20 21"));
    let _ = desk.run().expect_exit(0);
    desk.server.close_candle(spreads("20")[0]);
    desk.server.fault("bookTicker", Fault::status(503));
    desk.expect_refused(69, &["503"]);
    desk.server.heal();
    desk.server.close_candle(spreads("21")[0]); // z = 0.87: the exit is still owed
    let outcome = desk.run().expect_exit(0);
    outcome.expect_json(&[("/action", json!("sell"))]);
}

#[test]
fn an_exit_that_is_refused_is_owed_whatever_z_says_later() {
    let desk = Desk::for_two_more(spreads("20 20 20 21"));
    desk.expect_buy();
    // The rules of the entry would be good for a day.
    std::fs::remove_file(desk.paper().join("outside.json")).expect("it was there");
    desk.server.bend("exchangeInfo", |info| {
        for symbol in info["symbols"].as_array_mut().expect("symbols") {
            symbol["status"] = json!("HALT");
        }
    });
    desk.server.close_candle(spreads("20")[0]);
    let _ = desk.run().expect_exit(76);
    assert_eq!(desk.status()["state"], "HOLDING_ETH");
    desk.server.heal();
    let _ = std::fs::remove_file(desk.paper().join("outside.json"));
    desk.server.close_candle(spreads("21")[0]); // z = 0.87
    desk.run().expect_exit(0).expect_json(&[("/action", json!("sell")), ("/to", json!("NONE"))]);
    desk.expect_conserved();
}

#[test]
fn a_holding_that_became_too_small_to_sell_is_accounted_for() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().env("TRADE_AMOUNT_USDT", "6").expect_exit(0);
    // 0.0018 × 2000 = 3.6, and 5 are the least: dust, or a person's business.
    desk.server.touch("ETHUSDT", "2000", "2001");
    desk.server.close_candle(spreads("20")[0]);
    let _ = desk.run().expect_one_of(&[0, 76]);
    desk.expect_conserved();
}

/// An entry under these settings and rules ends with 76 and says this word; the book stays flat;
/// the candle counts as processed; and the next good candle is a new chance.
#[track_caller]
fn expect_refused_entry(
    settings: &[(&str, &str)],
    bend: impl Fn(&mut Value) + Send + Sync + 'static,
    word: &str,
) {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.bend("exchangeInfo", bend);
    let outcome = desk.run().envs(settings).expect_exit(76);
    assert_eq!(outcome.json()["error"]["code"], 76);
    outcome.expect_said(&[word]);
    let status = desk.status();
    assert_eq!((&status["state"], &status["position"]), (&json!("NONE"), &json!(null)));
    assert_eq!(status["pending"], json!(null));
    let journal = desk.paper().text("journal.jsonl").to_lowercase();
    assert!(journal.contains("refus"), "the refusal is in the journal: {journal}");
    let outcome = desk.run().envs(settings).expect_exit(0);
    outcome.expect_json(&[("/action", json!("already-processed"))]);
}

fn each_filters(info: &mut Value, change: impl Fn(&mut Vec<Value>)) {
    for symbol in info["symbols"].as_array_mut().expect("symbols") {
        change(symbol["filters"].as_array_mut().expect("filters"));
    }
}

fn set_filter(info: &mut Value, kind: &str, field: &str, value: &str) {
    each_filters(info, |filters| {
        for filter in filters.iter_mut().filter(|filter| filter["filterType"] == kind) {
            filter[field] = json!(value);
        }
    });
}
