//! `backtest`: the same as starting a replay once after every candle, its figures equal to those of a second
//! implementation, and nothing left behind.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use ouroboros::history::engine::{Engine, Fold, Moment};
use ouroboros::trading::book::Book;
use ouroboros::trading::candle::{Candle, Legs};
use ouroboros::trading::fill::{self, Step};
use ouroboros::trading::machine::{self, Rules};
use ouroboros::trading::market::{Leg, SymbolRules};
use ouroboros::trading::money::{Amount, BasisPoints, Price};
use ouroboros::trading::order::{Terms, Touch};
use ouroboros::trading::strategy::{self, Thresholds};
use ouroboros::trading::time::{Interval, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::desk::{Replay, home};
use crate::support::dump::{fixtures, real_candles};
use crate::support::law::config;
use crate::support::run::Run;
use crate::support::table::{decimal, spreads};

// --- figures -------------------------------------------------------------------------------------

#[test]
fn the_figures_are_those_of_a_second_implementation() {
    let histories = Worth::load().into_iter().filter(|it| !it.is_real);
    assert_eq!(histories.map(|it| it.check(&fixtures().join("dumps"))).count(), 7);
}

/// Entries and round trips were counted for the README of the data too, by a third program.
#[test]
#[ignore = "needs the real candles in ../shared/data"]
fn the_figures_of_real_histories_are_those_of_a_second_implementation() {
    let histories = Worth::load().into_iter().filter(|it| it.is_real);
    assert_eq!(histories.map(|it| it.check(&real_candles())).count(), 10);
}

/// What `tests/oracle/worth.py` says of one history.
#[derive(Deserialize)]
struct Worth {
    settings: BTreeMap<String, String>,
    is_real: bool,
    figures: BTreeMap<String, Value>,
}

impl Worth {
    fn load() -> Vec<Self> {
        let text = fs::read_to_string(fixtures().join("golden/worth.json")).expect("a fixture");
        serde_json::from_str(&text).expect("a fixture parses")
    }

    #[track_caller]
    fn check(&self, candles: &Path) {
        let home = home();
        let table = home.path().join("trips.csv");
        let mut run = backtest(&home, candles, &["--trades", &table.to_string_lossy()]);
        for (name, value) in &self.settings {
            run = run.env(name, value);
        }
        let json = run.expect_exit(0).json();
        let mut compared = 0;
        for (name, expected) in &self.figures {
            match name.as_str() {
                "trips" => check_trips(&table, expected, &self.settings),
                "years" => {
                    for (year, net) in expected.as_object().expect("a map") {
                        assert_eq!(&json["by_year"][year]["net_pnl"], net, "{year}");
                    }
                }
                "buy_and_hold" => {
                    for (asset, expected) in expected.as_object().expect("a map") {
                        same(&json["buy_and_hold"][asset], expected, asset);
                    }
                }
                _ => same(&json[name], expected, name),
            }
            compared += 1;
        }
        assert_eq!(compared, 24);
        let [low, high] = [0, 1].map(|end| number(&json["mean_net_bps_95"][end]));
        let (mean, t) = (number(&json["mean_net_bps"]), number(&json["t_stat"]));
        assert!(low < mean && mean < high, "{low} {mean} {high}");
        // Of a few hundred round trips and more it is about twice the standard error to each side.
        let widths = (high - low) / (mean / t).abs();
        assert!(!self.is_real || (3.4..4.4).contains(&widths), "{widths}");
        let returns: f64 = json["months"]
            .as_array()
            .expect("a table")
            .iter()
            .map(|month| 1.0 + number(&month["return"]))
            .product();
        // The last month ends at the last close, whose equity is rounded as a sale is.
        let whole = 1.0 + number(&json["return"]);
        assert!((returns / whole - 1.0).abs() < 1e-9, "{returns} {whole}");
    }
}

/// Money to the last digit, statistics to what two ways of summing a year of doubles may differ by.
#[track_caller]
fn same(told: &Value, expected: &Value, name: &str) {
    if let (Value::Number(told), Value::Number(expected)) = (told, expected)
        && expected.is_f64()
    {
        let (told, expected) = (told.as_f64().expect("one"), expected.as_f64().expect("one"));
        let apart = (told - expected).abs() / expected.abs().max(1e-6);
        assert!(apart < 1e-9, "{name}: {told}, not {expected}");
    } else {
        assert_eq!(told, expected, "{name}");
    }
}

#[track_caller]
fn check_trips(table: &Path, expected: &Value, settings: &BTreeMap<String, String>) {
    let text = fs::read_to_string(table).expect("a table");
    let mut lines = text.lines();
    let columns = lines.next().expect("a header");
    assert_eq!(
        columns,
        "entry_candle,exit_candle,state,entry_z,exit_z,quantity,entry_price,exit_price,fees,net_pnl,\
         net_bps,candles_held"
    );
    let rows: Vec<Vec<&str>> = lines.map(|line| line.split(',').collect()).collect();
    let expected = expected.as_array().expect("round trips");
    let end = rows.len().saturating_sub(expected.len() / 2);
    let shown = if rows.len() == expected.len() {
        rows.iter().collect::<Vec<_>>()
    } else {
        rows.iter().take(3).chain(&rows[end..]).collect()
    };
    assert_eq!(shown.len(), expected.len());
    for (row, expected) in shown.into_iter().zip(expected) {
        let told = json!([row[0], row[1], row[5], row[9]]);
        assert_eq!(&told, expected);
        let fraction: f64 = row[10].parse().expect("a number");
        let net: f64 = row[9].parse().expect("a number");
        let (quantity, price): (f64, f64) =
            (row[5].parse().expect("a number"), row[6].parse().expect("a number"));
        assert!((fraction / 10_000.0 - net / (quantity * price)).abs() < 1e-8, "{row:?}");
        let candles: i64 = row[11].parse().expect("a number");
        let interval = settings.get("TIMEFRAME").map_or("15m", String::as_str);
        let interval = Interval::named(interval).expect("one");
        let [begin, end] = [row[0], row[1]].map(|at| at.parse::<Timestamp>().expect("a time"));
        assert_eq!(candles, interval.candles_between(begin, end));
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

// --- one engine ----------------------------------------------------------------------------------

#[test]
fn a_backtest_does_what_a_start_after_every_candle_does() {
    starts_equal_one_backtest(&fixtures().join("dumps"), &[("TIMEFRAME", "15m")], 381);
    let other = [("STOP_Z", "2.5"), ("MAX_HOLD_CANDLES", "12"), ("SLIPPAGE_BPS", "3")];
    starts_equal_one_backtest(&fixtures().join("dumps"), &other, 381);
}

#[test]
#[ignore = "needs the real candles in ../shared/data, and a thousand starts"]
fn a_backtest_does_what_a_thousand_starts_over_real_candles_do() {
    let home = home();
    let folder = home.path().join("cut");
    fs::create_dir(&folder).expect("a folder");
    for symbol in ["BTCUSDT", "ETHUSDT"] {
        let name = format!("{symbol}-15m-2023-01..2023-11.csv");
        let text = fs::read_to_string(real_candles().join(&name)).expect("real candles");
        let cut: String = text.split_inclusive('\n').take(1019).collect();
        fs::write(folder.join(name), cut).expect("written");
    }
    starts_equal_one_backtest(&folder, &[], 1000);
}

#[track_caller]
fn starts_equal_one_backtest(candles: &Path, settings: &[(&str, &str)], starts: usize) {
    let home = home();
    let state = home.path().join("state");
    let start = |args: &[&str]| {
        let run = Run::bare(&home.path().join("cwd")).envs(settings).args(args);
        run.args(["--json".as_ref(), "--candles".as_ref(), candles.as_os_str()]).state_dir(&state)
    };
    let mut orders = Vec::new();
    for _ in 0..starts {
        let json = start(&[]).expect_exit(0).json();
        if !json["order"].is_null() {
            orders.push(json);
        }
    }
    let end = start(&[]).expect_exit(0).json();
    assert_eq!(end["action"], "end-of-data");
    let status = start(&["status"]).expect_exit(0).json();

    let table = home.path().join("trips.csv");
    let run = backtest(&home, candles, &["--trades", &table.to_string_lossy()]).envs(settings);
    let told = run.expect_exit(0).json();
    let entries = orders.iter().filter(|order| order["action"] == "buy").count();
    assert!(entries > 5, "{entries} entries show nothing");
    assert_eq!(told["entries"], entries);
    assert_eq!(told["round_trips"], status["trades"]);
    assert_eq!(told["net_pnl"], status["realized_pnl"]);
    assert_eq!(told["open_position"], status["position"]);
    if status["position"].is_null() {
        assert_eq!(told["final_equity"], status["paper_balance"]);
    }
    let text = fs::read_to_string(&table).expect("a table");
    let rows = text.lines().skip(1).map(|line| line.split(',').collect::<Vec<_>>());
    for (row, pair) in rows.zip(orders.chunks(2)) {
        let [bought, sold] = pair else { panic!("a sale is missing") };
        assert_eq!(row[0], bought["candle"], "{row:?}");
        assert_eq!(row[1], sold["candle"], "{row:?}");
        assert_eq!(row[2], bought["to"], "{row:?}");
        assert_eq!(row[3], bought["z"].to_string(), "{row:?}");
        assert_eq!(row[4], sold["z"].to_string(), "{row:?}");
        assert_eq!(row[5], bought["order"]["executed_quantity"], "{row:?}");
        for (cell, order) in [(row[6], bought), (row[7], sold)] {
            let price = order["order"]["average_price"].as_str().expect("a price");
            assert_eq!(decimal(cell), decimal(price), "{row:?}");
        }
        let money = |order: &Value, path: &str| {
            decimal(order.pointer(path).and_then(Value::as_str).expect("money"))
        };
        let got = money(sold, "/order/quote_quantity") - money(sold, "/order/fees/USDT");
        assert_eq!(decimal(row[9]), got - money(bought, "/order/quote_quantity"), "{row:?}");
    }
}

/// What a replay does, candle by candle, with nothing but the functions of a run.
fn fold(rows: &[[Candle; 2]], rules: &Rules, terms: &Terms, opening: Amount) -> (Book, Vec<Step>) {
    let (mut book, mut steps) = (Book::open(opening), Vec::new());
    for end in rules.window..=rows.len() {
        let seen = &rows[end - rules.window..end];
        let candle = seen[rules.window - 1][0].open_time;
        let today = candle.plus_millis(rules.interval.millis()).day();
        let leg = |leg: usize| seen.iter().map(|row| row[leg]).collect();
        let legs = Legs::new(leg(0), leg(1)).expect("rising");
        let seen = strategy::observe(&legs, rules.interval, book.last_candle, candle, rules.window);
        let decision = match seen {
            Ok(seen) => machine::step(&book, &seen, rules, today),
            Err(distrust) => machine::stay_away(&book, distrust),
        };
        let touch = decision.needs().and_then(|(leg, _)| {
            let close = rows[end - 1][usize::from(leg == Leg::Denominator)].close;
            Some(Touch { price: Price::new(close)?, rules: SymbolRules::unlimited() })
        });
        let step = fill::carry_out(&book, &decision, candle, touch.as_ref(), terms, today)
            .expect("small numbers");
        book = step.book.clone();
        if step.order.is_some() || step.refused.is_some() {
            steps.push(step);
        }
    }
    (book, steps)
}

/// The book in the end and every trade, quickly or candle by candle.
fn engine(
    rows: &[[Candle; 2]],
    rules: &Rules,
    terms: &Terms,
    opening: Amount,
    is_plain: bool,
) -> (Book, Vec<Step>) {
    let fold = Fold::new(Book::open(opening), rules, terms);
    let mut engine = Engine::new(if is_plain { fold.plainly() } else { fold });
    let (mut steps, mut shown) = (Vec::new(), Vec::new());
    let mut look = |moment: Moment<'_>| {
        steps.extend(moment.step.cloned());
        shown.push(*moment.row);
    };
    // In how many parts they come means nothing.
    for rows in rows.chunks(if is_plain { 7 } else { 300 }) {
        engine.push(rows, &mut look).expect("small numbers");
    }
    let book = engine.finish();
    assert_eq!(shown, rows, "every row is shown once, in order");
    (book, steps)
}

/// Closes as a walk, with gaps, prices of nothing, highs below lows and flat stretches.
pub(crate) fn rows() -> impl Strategy<Value = Vec<[Candle; 2]>> {
    let change = (0_u8..40, -60_i64..60, -60_i64..60);
    vec(change, 1..600).prop_map(|changes| {
        let (mut at, mut closes) = (1_700_006_400_000, [6_000_000_i64, 300_000]);
        let row = |(what, one, other): (u8, i64, i64)| {
            at += 60_000 * if what == 0 { 3 } else { 1 };
            let is_flat = what > 36;
            if !is_flat {
                closes = [(closes[0] + one * 100).max(1), (closes[1] + other * 5).max(1)];
            }
            let open_time = Timestamp::from_millis(at + i64::from(what == 1)).expect("a time");
            closes.map(|close| {
                let close = Decimal::new(if what == 2 { 0 } else { close }, 2);
                let high = if what == 3 { close - Decimal::ONE } else { close };
                Candle { open_time, open: close, high, low: close, close }
            })
        };
        changes.into_iter().map(row).collect()
    })
}

fn settings() -> impl Strategy<Value = (Rules, Terms, Amount)> {
    let thresholds = (10_u32..30, 0_u32..10, 0_u32..40, proptest::option::of(1_u32..15));
    let limits = (
        2_usize..40,
        proptest::option::of(1_u32..30),
        proptest::option::of(1_u32..9),
        proptest::option::of(1_i64..50),
    );
    let costs = (0_i64..20, 0_i64..20, proptest::option::of(0_i64..20), 120_i64..2000);
    (thresholds, limits, costs).prop_map(|(thresholds, limits, costs)| {
        let (entry, exit, edge, stop) = thresholds;
        let (window, max_hold_candles, max_orders_per_day, loss) = limits;
        let (fee, slippage, most, opening) = costs;
        let tenths = |number: u32| f64::from(number) / 10.0;
        let bps = |number| BasisPoints::new(Decimal::from(number)).expect("few");
        let amount = |number: i64| Amount::new(Decimal::from(number)).expect("above zero");
        let rules = Rules {
            interval: Interval::named("1m").expect("one"),
            window,
            thresholds: Thresholds {
                entry: tenths(entry),
                exit: tenths(exit),
                min_edge_bps: tenths(edge) * 10.0,
                stop: stop.map(|more| tenths(entry + more)),
            },
            max_hold_candles,
            max_orders_per_day,
            max_daily_loss: loss.map(|loss| Amount::new(Decimal::new(loss, 1)).expect("small")),
        };
        let terms = Terms {
            amount: amount(150),
            fee: bps(fee),
            slippage: bps(slippage),
            max_slippage: most.map(bps),
        };
        (rules, terms, amount(opening))
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_quick_way_is_the_plain_way_is_a_run_after_every_candle(
        rows in rows(),
        (rules, terms, opening) in settings(),
    ) {
        let folded = fold(&rows, &rules, &terms, opening);
        let quick = engine(&rows, &rules, &terms, opening, false);
        prop_assert_eq!(&quick, &engine(&rows, &rules, &terms, opening, true));
        prop_assert_eq!(&quick.1, &folded.1);
        prop_assert_eq!(&quick.0, &folded.0);
    }

    #[test]
    fn neighbouring_windows_are_read_as_one_alone_is(
        spreads in vec(prop_oneof![Just(20.0), 1e-3..1e6_f64, 19.0..21.0_f64], 10..120),
    ) {
        let window = spreads.len() - 7;
        let eight: [_; 8] = strategy::neighbours(&spreads);
        for (lane, reading) in eight.iter().enumerate() {
            let alone = strategy::reading(&spreads[lane..lane + window]);
            prop_assert_eq!(reading.mean.to_bits(), alone.mean.to_bits());
            prop_assert_eq!(reading.std.to_bits(), alone.std.to_bits());
            prop_assert_eq!(reading, &alone);
        }
    }

    #[test]
    fn the_nearest_double_is_the_one_that_parsing_finds(
        mantissa in any::<i64>(),
        shift in 0_u32..60,
        scale in 0_u32..28,
    ) {
        let value = Decimal::from_i128_with_scale(i128::from(mantissa >> shift), scale);
        let parsed: f64 = value.to_string().parse().expect("a number");
        prop_assert_eq!(strategy::nearest(value).to_bits(), parsed.to_bits());
    }
}

// --- the command ---------------------------------------------------------------------------------

#[test]
fn without_candles_it_takes_the_built_in_sample_and_keeps_nothing() {
    let home = home();
    let cwd = home.path().join("cwd");
    let run = Run::bare(&cwd).env("DRY_RUN", "false").args(["backtest", "--json"]);
    let json = run.expect_exit(0).json();
    assert_eq!(json["candles"], 2875);
    assert_eq!(json["missing"], 5);
    // It is no kinder than the market: after fees it loses, and says so.
    assert!(json["return"].as_f64().is_some_and(|it| it < 0.0));
    assert!(json["verdict"].as_str().is_some_and(|it| it.starts_with("It lost 2.0 %")));
    assert_eq!(fs::read_dir(&cwd).expect("a folder").count(), 0, "something was left behind");
}

#[test]
fn a_part_of_a_history_is_its_own_history() {
    let home = home();
    let dumps = fixtures().join("dumps");
    let part = |args: &[&str]| backtest(&home, &dumps, args).expect_exit(0).json();
    let day = part(&["--from", "2024-03-02", "--to", "2024-03-03"]);
    assert_eq!(day["from"], "2024-03-02T00:00:00Z");
    assert_eq!(day["to"], "2024-03-03T23:45:00Z");
    let moment =
        part(&["--from", "2024-03-02T00:00:00Z", "--to", "2024-03-03T23:45:00Z", "--json"]);
    assert_eq!(day, moment);
    let all = part(&[]);
    assert!(all["candles"].as_u64() > day["candles"].as_u64());
}

#[test]
fn what_cannot_be_is_refused() {
    let home = home();
    let dumps = fixtures().join("dumps");
    let run = |args: &[&str]| backtest(&home, &dumps, args);
    let _ = run(&["--from", "yesterday"]).expect_exit(2);
    let _ = run(&["--from", "2024-03-32"]).expect_exit(2);
    run(&["--from", "2025-01-01"])
        .expect_exit(65)
        .expect_said(&["are 0 candles", "window needs 20"]);
    run(&["--to", "2024-03-01T04:30:00Z"]).expect_exit(65).expect_said(&["are 19 candles"]);
    let nowhere = home.path().join("no/such/folder/trips.csv");
    let outcome = run(&["--trades", &nowhere.to_string_lossy()]).expect_exit(74);
    outcome.expect_said(&["trips.csv"]);
    let empty = home.path().join("empty");
    fs::create_dir(&empty).expect("a folder");
    backtest(&home, &empty, &[]).expect_exit(65).expect_said(&["btcusdt-15m-"]);
}

#[test]
fn of_a_history_that_breaks_off_no_table_is_left() {
    let replay = Replay::new(&spreads("20 20 20 21 20 19 20 21 20"));
    let home = home();
    let table = home.path().join("trips.csv");
    fs::write(&table, "an older one").expect("written");
    let name = replay.candles().join("ETHUSDT-1h-2024-03.csv");
    let text = fs::read_to_string(&name).expect("a dump");
    fs::write(&name, &text[..text.len() - 30]).expect("written");
    let run = backtest(&home, &replay.candles(), &["--trades", &table.to_string_lossy()]);
    let run = run.env("TIMEFRAME", "1h").env("ROLLING_WINDOW", "4");
    let _ = run.expect_exit(65);
    assert_eq!(fs::read_to_string(&table).expect("still there"), "an older one");
    let names: Vec<_> = fs::read_dir(home.path()).expect("a folder").flatten().collect();
    assert!(names.iter().all(|it| !it.file_name().to_string_lossy().ends_with(".new")));
}

#[test]
fn what_the_balance_cannot_pay_is_counted_and_told() {
    let home = home();
    let run = backtest(&home, &fixtures().join("dumps"), &[]).env("PAPER_BALANCE_USDT", "150.1");
    let json = run.expect_exit(0).json();
    assert!(json["refused"].as_u64().is_some_and(|refused| refused > 0), "{json:#}");
    let refused = json["refused"].to_string();
    assert!(json["verdict"].as_str().is_some_and(|it| it.contains(&refused)), "{json:#}");
}

#[track_caller]
fn backtest(home: &TempDir, candles: &Path, args: &[&str]) -> Run {
    let json: &[&str] = if args.contains(&"--json") { &[] } else { &["--json"] };
    let run = Run::bare(&home.path().join("cwd")).args(["backtest"]).args(json).args(args);
    run.args(["--candles".as_ref(), candles.as_os_str()])
}
