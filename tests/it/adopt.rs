//! `adopt`: a position that was bought elsewhere is held and sold like one of our own, and nothing
//! else of the owner's is.

use std::fs;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::audit::chained;
use crate::exchange::Setup;
use crate::support::desk::Desk;
use crate::support::live::{Live, kind};
use crate::support::run::{Run, expect_money, money};
use crate::support::table::{decimal, spreads};

#[test]
fn on_paper_it_is_held_and_sold_and_every_coin_is_accounted_for() {
    let desk = Desk::new(spreads("20 20 21 20"));
    let _ = desk.run().expect_exit(0);
    let told = adopt(&desk, "ETH", "0.05", "150").expect_exit(0).json();
    assert_eq!((&told["action"], &told["to"]), (&json!("adopt"), &json!("HOLDING_ETH")), "{told}");
    let status = desk.status();
    assert_eq!(status["state"], "HOLDING_ETH");
    assert!(status["position"]["entry_z"].is_null(), "{status:#}");
    expect_money(
        &status,
        &[
            ("/position/quantity", "0.05"),
            ("/position/cost", "150"),
            ("/position/entry_price", "3000"),
            ("/paper_balance", "850"),
        ],
    );
    desk.expect_conserved();
    assert!(desk.command(&["status"]).expect_exit(0).stdout.contains("adopted"));
    desk.server.close_candle(spreads("19")[0]);
    let sold = desk.run().expect_exit(0).json();
    assert_eq!(sold["action"], "sell", "{sold}");
    assert_eq!(
        decimal(sold["order"]["executed_quantity"].as_str().expect("it sold")),
        decimal("0.05")
    );
    desk.expect_conserved();
    let audit = desk.command(&["audit", "--json"]).expect_exit(0).json();
    assert_eq!(audit["kinds"]["adoption"], 1, "{audit}");
    let trades = desk.command(&["trades", "--json"]).expect_exit(0).json();
    assert_eq!(trades["realized_pnl"], desk.status()["realized_pnl"], "its cost is known");
    let trips = desk.command(&["trades", "--by", "trip", "--json"]).expect_exit(0).json();
    assert_eq!(money(&trips["round_trips"][0], "/cost"), decimal("150"));
    let _ = desk.command(&["report"]).expect_exit(0);
}

#[test]
fn an_exit_that_is_due_is_taken_by_the_very_next_run() {
    // The newest candle is one on which ETH is sold, and no run has decided on it yet.
    let desk = Desk::new(spreads("20 20 21 19"));
    let _ = adopt(&desk, "ETH", "0.05", "150").expect_exit(0);
    let report = desk.run().expect_exit(0).json();
    assert_eq!(report["action"], "sell", "no further candle is needed: {report}");
    desk.expect_conserved();
}

#[test]
fn what_was_due_before_it_was_ours_is_not_taken() {
    // ETH was a sale two candles ago, and is none now.
    let desk = Desk::for_two_more(spreads("20 20 20 20"));
    let _ = desk.run().expect_exit(0);
    desk.server.close_candle(spreads("19")[0]);
    desk.server.close_candle(spreads("21")[0]);
    let _ = adopt(&desk, "ETH", "0.05", "150").expect_exit(0);
    let report = desk.run().expect_exit(0).json();
    assert_eq!(report["action"], "hold", "{report}");
}

#[test]
fn what_cannot_be_adopted_is_refused_with_the_reason_and_nothing_is_changed() {
    let desk = Desk::new(spreads("20 20 20 21"));
    for (asset, quantity, cost, words) in [
        ("SOL", "1", "1", &["--asset SOL", "BTC", "ETH"][..]),
        ("ETH", "0", "1", &["--quantity 0"][..]),
        ("ETH", "-1", "1", &["--quantity"][..]),
        ("ETH", "1e3", "1", &["--quantity 1e3"][..]),
        ("ETH", "0.000000001", "1", &["--quantity 0.000000001", "8 decimals"][..]),
        ("ETH", "1", "", &["--cost"][..]),
        ("ETH", "1", "1001", &["--cost 1001", "paper account"][..]),
    ] {
        let run = desk.command(&["--json", "adopt", "--yes", "--asset", asset]);
        let run = run.args([format!("--quantity={quantity}"), format!("--cost={cost}")]);
        run.expect_exit(78).expect_said(words);
    }
    assert!(!desk.state().join("paper").join("state.json").exists());
    desk.expect_buy();
    let outcome = adopt(&desk, "BTC", "0.001", "50").expect_exit(78);
    outcome.expect_said(&["HOLDING_ETH already"]);
    let run = desk.command(&["adopt", "--yes", "--asset", "BTC", "--quantity", "1", "--cost", "1"]);
    let run = run.env("TIMEFRAME", "15m").args(["--candles", "demo"]);
    run.expect_exit(78).expect_said(&["replay"]);
}

#[test]
fn live_the_account_must_have_it_and_what_else_is_there_stays() {
    let balances = vec![("USDT", "1000"), ("BTC", "0.25"), ("ETH", "2"), ("BNB", "0")];
    let live = Live::upon(Setup { balances, ..Setup::default() });
    let adopt = |quantity| live.command(&words("ETH", quantity, "300"));
    let outcome = adopt("2.0001").expect_exit(76);
    assert_eq!(kind(&outcome), "refused");
    outcome.expect_said(&["2.0001", "2.00000000 ETH free"]);
    adopt("0.10001").expect_exit(78).expect_said(&["0.10001", "steps of 0.0001"]);
    // The first thing that this book ever does: the account is looked at as at every first start.
    let _ = adopt("0.1").expect_exit(0);
    assert_eq!(live.with(|world| world.orders.len()), 0, "no order is sent");
    expect_money(&live.status(), &[("/position/quantity", "0.1"), ("/position/cost", "300")]);
    let _ = live.command(&["audit"]).expect_exit(0);
    live.next_candle("19");
    let sold = live.run().expect_exit(0).json();
    assert_eq!(sold["action"], "sell", "{sold}");
    assert_eq!(live.with(|world| world.free("ETH")), decimal("1.9"));
    assert_eq!(live.with(|world| world.free("BTC")), decimal("0.25"));
    let gained = live.with(|world| world.free("USDT")) - decimal("1000");
    assert_eq!(money(&live.status(), "/realized_pnl"), gained - Decimal::from(300));
    let _ = live.command(&["audit"]).expect_exit(0);
}

#[test]
fn live_an_account_that_lacks_it_later_halts_as_for_our_own() {
    let balances = vec![("USDT", "1000"), ("BTC", "0"), ("ETH", "0.1"), ("BNB", "0")];
    let live = Live::upon(Setup { balances, ..Setup::default() });
    let args = ["adopt", "--yes", "--asset", "eth", "--quantity", "0.1", "--cost", "300"];
    let _ = live.command(&args).expect_exit(0);
    live.with(|world| world.deposit("ETH", "-0.05"));
    live.next_candle("21");
    let outcome = live.run().expect_exit(76);
    outcome.expect_said(&["0.05", "are missing", "coins-missing"]);
}

#[test]
fn a_record_that_says_otherwise_is_named() {
    let desk = Desk::new(spreads("20 20 20 20"));
    let _ = desk.run().expect_exit(0);
    let _ = adopt(&desk, "ETH", "0.05", "150").expect_exit(0);
    desk.server.close_candle(spreads("21")[0]);
    let _ = desk.run().expect_exit(0);
    let path = desk.state().join("paper").join("journal.jsonl");
    let good = fs::read_to_string(&path).expect("a journal");
    let lines: Vec<Value> =
        good.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines[1]["record"]["kind"], "adoption");
    for (field, forged) in [
        ("cost", json!("140.00000000")),
        ("asset", json!("SOL")),
        ("candle", json!("2020-01-01T00:00:00Z")),
        ("paper_balance", json!("851.00000000")),
    ] {
        let mut lines = lines.clone();
        lines[1]["record"][field] = forged;
        fs::write(&path, chained(&lines)).expect("a file of ours");
        let run = desk.command(&["audit", "--json"]).unchecked();
        run.expect_exit(65).expect_said(&["line 2"]);
    }
}

fn adopt(desk: &Desk, asset: &str, quantity: &str, cost: &str) -> Run {
    desk.command(&words(asset, quantity, cost))
}

fn words<'a>(asset: &'a str, quantity: &'a str, cost: &'a str) -> [&'a str; 9] {
    ["--json", "adopt", "--yes", "--asset", asset, "--quantity", quantity, "--cost", cost]
}
