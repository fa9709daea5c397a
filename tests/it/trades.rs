//! `trades`: every fill, to the last digit, for spreadsheets and tax tools.

use std::collections::BTreeMap;
use std::fs;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::exchange::{FeeAsset, Setup};
use crate::support::desk::{Desk, Replay};
use crate::support::dump::Dump;
use crate::support::live::Live;
use crate::support::run::money;
use crate::support::table::{decimal, spreads};

#[test]
fn a_book_without_a_journal_has_an_empty_list() {
    let desk = Desk::entry_ahead();
    let _ = fs::remove_dir_all(desk.state());
    let text = desk.command(&["trades"]).expect_exit(0).stdout;
    assert_eq!(text.lines().count(), 1, "the names of the columns: {text}");
    assert!(
        text.starts_with("time,candle,z,symbol,side,quantity,price,quote_quantity,fee,fee_asset")
    );
    let told = desk.command(&["trades", "--json"]).expect_exit(0).json();
    assert_eq!(told["trades"], json!([]));
    assert_eq!((&told["mode"], &told["realized_pnl"]), (&json!("paper"), &json!("0.00000000")));
    assert!(!desk.state().exists(), "nothing is made");
}

#[test]
fn every_fill_of_a_replay_is_a_line() {
    let replay = bought_and_sold();
    let text = replay.command(&["trades"]).expect_exit(0).stdout;
    let rows = read(&text);
    let sides: Vec<&str> = rows.iter().map(|row| &*row["side"]).collect();
    assert_eq!(sides, ["BUY", "SELL", "BUY", "SELL"], "{text}");
    // The very figures that the runs told.
    let journal = replay.world().journal();
    let orders: Vec<&Value> = journal
        .iter()
        .map(|record| &record["result"]["order"])
        .filter(|it| !it.is_null())
        .collect();
    for (row, order) in rows.iter().zip(&orders) {
        for (column, field) in [
            ("symbol", "symbol"),
            ("price", "average_price"),
            ("client_order_id", "client_order_id"),
            ("quantity", "executed_quantity"),
            ("quote_quantity", "quote_quantity"),
        ] {
            assert_eq!(row[column], order[field].as_str().expect("a text"), "{column}");
        }
        assert_eq!(row["fee"], order["fees"][&row["fee_asset"]].as_str().expect("a fee"));
    }
    let trips: Vec<&str> = rows.iter().map(|row| &*row["round_trip"]).collect();
    assert_eq!(trips, ["1", "1", "2", "2"]);

    // Without dust, first in first out gains what the book gained.
    let told = replay.command(&["trades", "--json"]).expect_exit(0).json();
    assert_eq!(told["realized_pnl"], replay.status()["realized_pnl"]);
    assert_eq!(told["trades"].as_array().expect("a list").len(), 4);
    for (row, fill) in rows.iter().zip(told["trades"].as_array().expect("a list")) {
        assert_eq!(row["time"], fill["time"].as_str().expect("a time"));
        assert_eq!(row["quantity"], fill["executed_quantity"].as_str().expect("a quantity"));
        assert_eq!(row["realized_pnl"], fill["realized_pnl"].as_str().unwrap_or_default());
        assert_eq!(row["z"], fill["z"].to_string());
    }
    for (asset, fee) in told["fees"].as_object().expect("a map") {
        let of_asset = rows.iter().filter(|row| row["fee_asset"] == *asset);
        let sum: Decimal = of_asset.map(|row| decimal(&row["fee"])).sum();
        assert_eq!(decimal(fee.as_str().expect("a fee")), sum, "{asset}");
    }
}

#[test]
fn a_round_trip_is_what_it_cost_and_what_came_back() {
    let replay = bought_and_sold();
    let told = replay.command(&["trades", "--by", "trip", "--json"]).expect_exit(0).json();
    let trips = told["round_trips"].as_array().expect("a list");
    assert_eq!(trips.len(), 2);
    for trip in trips {
        let gained = money(trip, "/proceeds") - money(trip, "/cost");
        assert_eq!(money(trip, "/realized_pnl"), gained, "{trip}");
    }
    assert_eq!(told["realized_pnl"], replay.status()["realized_pnl"]);
    let rows = read(&replay.command(&["trades", "--by", "trip"]).expect_exit(0).stdout);
    assert_eq!(rows.len(), 2);
    for (row, trip) in rows.iter().zip(trips) {
        for column in ["entered", "left", "symbol", "quantity", "cost", "proceeds", "realized_pnl"]
        {
            assert_eq!(row[column], trip[column].as_str().expect("a text"), "{column}");
        }
    }
    // A backtest of the same candles is of the same opinion.
    let backtest = replay.command(&["backtest", "--json"]).expect_exit(0).json();
    assert_eq!(backtest["net_pnl"], told["realized_pnl"]);
}

#[test]
fn a_year_is_the_zone_s_own() {
    // The second candle of the new year in Berlin is the old year's in UTC.
    let begin = "2023-12-31T17:00:00Z".parse::<jiff::Timestamp>().expect("a moment");
    let replay =
        Replay::of(&Dump::hourly(begin.as_millisecond()), &spreads("20 20 20 21 20 18 17"));
    replay.expect_actions(&[], "buy sell buy hold");
    let count = |args: &[&str]| {
        let all: Vec<&str> = ["trades", "--json"].iter().chain(args).copied().collect();
        let told = replay.command(&all).expect_exit(0).json();
        told["trades"].as_array().expect("a list").len()
    };
    assert_eq!(count(&[]), 3);
    assert_eq!(count(&["--year", "2023"]), 3);
    assert_eq!(count(&["--year", "2024"]), 0);
    assert_eq!(count(&["--year", "2024", "--zone", "Asia/Tokyo"]), 3);
    assert_eq!(count(&["--year", "2023", "--zone", "Europe/Berlin"]), 2);
    assert_eq!(count(&["--year", "2024", "--zone", "Europe/Berlin"]), 1);
    let rows = read(&replay.command(&["trades", "--zone", "Europe/Berlin"]).expect_exit(0).stdout);
    assert_eq!(rows[2]["time"], "2024-01-01T00:00:00+01:00");
    let utc = read(&replay.command(&["trades"]).expect_exit(0).stdout);
    assert_eq!(utc[2]["time"], "2023-12-31T23:00:00Z");
    let run = replay.command(&["trades", "--zone", "Mars/Olympus"]);
    run.expect_exit(78).expect_said(&["--zone", "Mars/Olympus", "Europe/Berlin"]);
    let _ = replay.command(&["trades", "--year", "1999"]).expect_exit(2);
}

#[test]
fn live_fees_in_a_third_asset_are_told_and_no_gain() {
    let live = traded(FeeAsset::Mixed);
    let rows = read(&live.command(&["trades"]).expect_exit(0).stdout);
    assert_eq!(rows.len(), 2);
    let bought = &rows[0];
    assert_eq!((&*bought["fee_asset"], &*bought["other_fee_asset"]), ("ETH", "BNB"));
    let told = live.command(&["trades", "--json"]).expect_exit(0).json();
    let orders: Vec<Value> =
        live.with(|world| world.orders.iter().map(|order| json!(order.order_id)).collect());
    for (fill, order_id) in told["trades"].as_array().expect("a list").iter().zip(orders) {
        assert_eq!(fill["order_id"], order_id);
    }
    // What the account lost of each asset is in the list.
    let own = live.with(|world| world.free("BNB"));
    assert_eq!(decimal("0.01") - own, money(&told, "/fees/BNB"));
    let quote: Decimal = rows
        .iter()
        .map(|row| {
            let amount = decimal(&row["quote_quantity"]);
            if row["side"] == "BUY" { -amount } else { amount }
        })
        .sum();
    let quote_fees = told["fees"]["USDT"].as_str().map(decimal).unwrap_or_default();
    assert_eq!(live.with(|world| world.free("USDT")) - decimal("1000"), quote - quote_fees);
}

#[test]
fn live_dust_keeps_its_cost_until_it_is_sold() {
    let live = traded(FeeAsset::Received);
    let told = live.command(&["trades", "--json"]).expect_exit(0).json();
    let (bought, sold) = (&told["trades"][0], &told["trades"][1]);
    let dust = money(&live.status(), "/dust/ETH");
    assert!(dust > Decimal::ZERO);
    let received = money(bought, "/executed_quantity") - money(bought, "/fees/ETH");
    assert_eq!(received - money(sold, "/executed_quantity"), dust);
    // The book counts the whole cost, first in first out only that of what was sold.
    let cost = money(bought, "/quote_quantity");
    let kept = cost - (cost * money(sold, "/executed_quantity") / received).round_dp(8);
    assert_eq!(money(&told, "/realized_pnl"), money(&live.status(), "/realized_pnl") + kept);
    assert!(kept > Decimal::ZERO);
}

#[test]
fn tax_tools_get_the_balances_that_the_account_has() {
    for fee_asset in [FeeAsset::Received, FeeAsset::Bnb, FeeAsset::Mixed, FeeAsset::Quote] {
        let live = traded(fee_asset);
        let moved =
            |asset: &str, before: &str| live.with(|world| world.free(asset)) - decimal(before);
        let account: BTreeMap<&str, Decimal> = [("USDT", "1000"), ("ETH", "0"), ("BNB", "0.01")]
            .into_iter()
            .map(|(asset, before)| (asset, moved(asset, before)))
            .filter(|(_, moved)| !moved.is_zero())
            .collect();
        let mut koinly: BTreeMap<String, Decimal> = BTreeMap::new();
        for row in read(&live.command(&["trades", "--format", "koinly"]).expect_exit(0).stdout) {
            for (sign, column) in [(-1, "Sent"), (1, "Received"), (-1, "Fee")] {
                let (amount, asset) =
                    (&row[&format!("{column} Amount")], &row[&format!("{column} Currency")]);
                if !amount.is_empty() {
                    *koinly.entry(asset.clone()).or_default() +=
                        Decimal::from(sign) * decimal(amount);
                }
            }
            assert!(row["Date"].ends_with(" UTC") && row["Date"].len() == 23, "{row:?}");
        }
        let mut cointracking: BTreeMap<String, Decimal> = BTreeMap::new();
        let text = live.command(&["trades", "--format", "cointracking"]).expect_exit(0).stdout;
        for row in read(&text.replace('"', "")) {
            for (sign, column) in [(1, "Buy"), (-1, "Sell")] {
                let (amount, asset) =
                    (&row[&format!("{column} Amount")], &row[&format!("{column} Currency")]);
                if !amount.is_empty() {
                    *cointracking.entry(asset.clone()).or_default() +=
                        Decimal::from(sign) * decimal(amount);
                }
            }
        }
        for tool in [&koinly, &cointracking] {
            let tool: BTreeMap<&str, Decimal> = tool
                .iter()
                .map(|(asset, moved)| (&**asset, *moved))
                .filter(|(_, moved)| !moved.is_zero())
                .collect();
            assert_eq!(tool, account, "{fee_asset:?}");
        }
    }
    let live = traded(FeeAsset::Received);
    let run = live.command(&["trades", "--format", "koinly", "--by", "trip"]);
    run.expect_exit(78).expect_said(&["koinly", "--by trip"]);
}

#[test]
fn a_journal_that_does_not_fit_makes_no_list() {
    let replay = bought_and_sold();
    let path = replay.world().join("journal.jsonl");
    let text = fs::read_to_string(&path).expect("a journal");
    fs::write(&path, text.replacen("\"BUY\"", "\"SELL\"", 1)).expect("written");
    let outcome = replay.command(&["trades"]).expect_exit(65);
    assert!(outcome.stdout.is_empty(), "{}", outcome.stdout);
}

/// A replay in which ETH was bought and sold, and then BTC.
fn bought_and_sold() -> Replay {
    let replay = Replay::new(&spreads("20 20 20 21 20 18 19 20"));
    replay.expect_actions(&[], "buy sell buy hold sell");
    replay
}

/// A live book with one round trip in ETH.
fn traded(fee_asset: FeeAsset) -> Live {
    let balances = vec![("USDT", "1000"), ("ETH", "0"), ("BTC", "0"), ("BNB", "0.01")];
    let live = Live::upon(Setup { balances, ..Setup::default() });
    live.with(|world| world.fee_asset = fee_asset);
    live.expect_hold();
    for (spread, action) in [("21", "buy"), ("19", "sell")] {
        live.next_candle(spread);
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!(action))]);
    }
    live
}

/// The rows of a CSV, by the names of its columns.
fn read(text: &str) -> Vec<BTreeMap<String, String>> {
    let mut lines = text.lines();
    let names: Vec<&str> = lines.next().expect("names").split(',').collect();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        assert_eq!(cells.len(), names.len(), "{line}");
        let pair = |(name, cell): (&&str, &str)| ((*name).to_owned(), cell.to_owned());
        names.iter().zip(cells).map(pair).collect()
    };
    lines.map(row).collect()
}
