//! Pages: they hold what the figures are, ask nobody for anything, and lose nothing that happened on the way to
//! a drawing.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use ouroboros::history::curve::{Closes, Curve};
use ouroboros::history::engine::Moment;
use ouroboros::page::history::grouped;
use ouroboros::page::scale::{Scale, moments};
use ouroboros::trading::book::Book;
use ouroboros::trading::candle::Candle;
use ouroboros::trading::strategy::{self, nearest};
use ouroboros::trading::time::{Interval, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;
use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::support::desk::home;
use crate::support::live::Live;
use crate::support::run::{Run, money};
use crate::support::table::decimal;

// --- what a page holds ---------------------------------------------------------------------------

#[test]
fn a_page_of_a_backtest_says_what_its_figures_say() {
    let home = home();
    let page = home.path().join("page.html");
    let json = backtest(&home, &["--html", &page.to_string_lossy()]).expect_exit(0).json();
    assert_eq!(json["html"], json!(page.to_string_lossy()));
    let html = fs::read_to_string(&page).expect("a page");
    assert_stands_alone(&html);
    let percent = |name: &str| format!("{:+.2} %", json[name].as_f64().expect("a number") * 100.0);
    let bps = |name: &str| format!("{:+.2} bp", json[name].as_f64().expect("a number"));
    for said in
        [percent("return"), bps("mean_net_bps"), bps("mean_gross_bps"), percent("half_and_half")]
    {
        assert!(html.contains(&format!(">{said}</dd>")), "{said}");
    }
    let verdict = json["verdict"].as_str().expect("a sentence");
    assert!(html.replace('\u{a0}', " ").replace("&#39;", "'").contains(verdict), "{verdict}");
    for month in json["months"].as_array().expect("months") {
        let change = month["return"].as_f64().expect("a number") * 100.0;
        assert!(html.contains(&format!(">{change:+.1}</td>")), "{month}");
    }
    // Equity, ratio, the last candles, health.
    assert_eq!(html.matches("<figure class=\"chart\">").count(), 4);
    let charts = numbers(&html);
    let equity = charts[0]["series"].as_array().expect("series");
    let last = equity.last().expect("the strategy's")["values"].as_array().expect("values");
    let last = last.last().expect("a value");
    // The last stretch has a lowest and a highest equity; it ends somewhere between.
    let (low, high) = match last {
        Value::Array(both) => (both[0].as_f64().expect("low"), both[1].as_f64().expect("high")),
        one => (one.as_f64().expect("one"), one.as_f64().expect("one")),
    };
    let end = json["return"].as_f64().expect("a number") * 100.0;
    assert!(low - 1e-3 <= end && end <= high + 1e-3, "{low} {end} {high}");
    // The health of the pair, on the page and in the figures.
    let p_value = json["health"]["adf"]["p_value"].as_f64().expect("a number");
    assert!(html.contains(&format!("<td>p = {p_value:.3}</td>")), "{p_value}");
    assert_eq!(
        (&json["health"]["of_every"], &json["health"]["candles"]),
        (&json!(1), &json["candles"])
    );
    let notes = charts[1]["notes"].as_array().expect("notes");
    let round_trips = json["round_trips"].as_u64().expect("a count");
    assert_eq!(notes.len() as u64, json["entries"].as_u64().expect("a count") + round_trips);
}

#[test]
fn a_page_of_a_sweep_has_every_cell() {
    let home = home();
    let page = home.path().join("page.html");
    let grid = [
        "--window",
        "10..30:10",
        "--entry",
        "1.5..2.5:0.5",
        "--exit",
        "0..0.5:0.5",
        "--edge",
        "0..20:20",
    ];
    let json = demo(&home.path().join("state"))
        .args(["sweep", "--json", "--html", &page.to_string_lossy()])
        .args(grid)
        .expect_exit(0)
        .json();
    let html = fs::read_to_string(&page).expect("a page");
    assert_stands_alone(&html);
    let cells = json["cells"].as_array().expect("cells");
    assert_eq!(cells.len(), 36);
    for cell in cells {
        let said = format!(
            "window {}, entry {}, exit {}, edge {} bp: {:+.2} USDT in {} round trips",
            cell["window"],
            cell["entry"].as_f64().expect("a number"),
            cell["exit"].as_f64().expect("a number"),
            cell["edge"].as_f64().expect("a number"),
            money(cell, "/net_pnl"),
            cell["round_trips"]
        );
        assert_eq!(html.matches(&said).count(), 1, "{said}");
    }
    assert_eq!(html.matches("<td class=\"heat").count(), 36 + 4, "and the folds");
    assert_eq!(html.matches("<h3>exit ").count() + html.matches("<h3>edge ").count(), 4);
}

/// Everything is in it, and nothing in it could ask anybody.
#[track_caller]
fn assert_stands_alone(html: &str) {
    assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
    assert!(html.contains("content=\"default-src 'none';"));
    for outside in
        ["http:", "https:", "src=", "@import", "url(", "fetch(", "XMLHttpRequest", "import("]
    {
        assert!(!html.contains(outside), "{outside}");
    }
    for tag in [
        "main", "section", "figure", "table", "svg", "div", "script", "style", "header", "footer",
        "dl",
    ] {
        let opened =
            html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
    assert!(!html.contains("NaN") && !html.contains("inf%"));
}

/// The numbers beside each chart.
fn numbers(html: &str) -> Vec<Value> {
    let scripts = html.split("<script type=\"application/json\">").skip(1);
    let texts = scripts.map(|text| text.split("</script>").next().expect("an end"));
    texts.map(|text| serde_json::from_str(text).expect("JSON")).collect()
}

#[test]
fn a_page_that_can_not_be_written_is_a_failure_and_leaves_nothing() {
    let home = home();
    let nowhere = home.path().join("nowhere/page.html");
    let _ = backtest(&home, &["--html", &nowhere.to_string_lossy()])
        .expect_exit(74)
        .expect_json(&[("/error/kind", json!("storage"))]);
    let folder = home.path().join("folder.html");
    fs::create_dir(&folder).expect("a folder");
    let _ = backtest(&home, &["--html", &folder.to_string_lossy()]).expect_exit(74);
    let left: Vec<_> =
        fs::read_dir(home.path()).expect("a folder").flatten().map(|it| it.file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().ends_with(".new")), "{left:?}");
}

/// A start upon the built-in sample.
fn demo(state: &Path) -> Run {
    let cwd = state.parent().expect("a home").join("cwd");
    Run::bare(&cwd).args(["--candles", "demo"]).state_dir(state)
}

fn backtest(home: &tempfile::TempDir, arguments: &[&str]) -> Run {
    demo(&home.path().join("state")).args(["backtest", "--json"]).args(arguments)
}

// --- reports -------------------------------------------------------------------------------------

#[test]
fn a_report_of_a_replay_is_a_backtest_of_its_candles() {
    let home = home();
    let replay = || demo(&home.path().join("state"));
    for _ in 0..150 {
        let _ = replay().expect_exit(0);
    }
    let report = replay().args(["report", "--json"]).expect_exit(0).json();
    let page = home.path().join("state/report.html");
    assert_eq!(report["html"], json!(page.to_string_lossy()));
    assert_eq!(fs::metadata(&page).expect("a page").permissions().mode() & 0o777, 0o600);
    assert_stands_alone(&fs::read_to_string(&page).expect("a page"));
    let to = report["to"].as_str().expect("a time");
    let backtest = backtest(&home, &["--to", to]).expect_exit(0).json();
    assert!(report["round_trips"].as_u64().expect("a count") > 3, "{report}");
    for name in [
        "round_trips",
        "wins",
        "gross_pnl",
        "fees",
        "slippage",
        "net_pnl",
        "mean_gross_bps",
        "mean_net_bps",
        "entries",
        "refused",
        "final_equity",
        "max_drawdown",
        "t_stat",
        "mean_net_bps_95",
        "break_even_fee_bps",
        "open_position",
        "by_leg",
        "by_year",
        "to",
    ] {
        assert_eq!(report[name], backtest[name], "{name}");
    }
    let beside = &report["backtest"];
    assert_eq!(beside["net_pnl"], report["net_pnl"]);
    assert_eq!((&beside["only_real"], &beside["only_backtest"]), (&json!(0), &json!(0)));
    let trades = report["round_trips"].as_u64().expect("a count")
        + report["entries"].as_u64().expect("a count");
    assert_eq!(beside["same_trades"], json!(trades));
}

#[test]
fn a_report_of_real_trades_is_the_books_and_names_what_a_backtest_would_have_done_else() {
    let live = Live::entry_ahead();
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    // The machine sleeps through the exit and two more candles.
    for spread in ["19", "19.2", "19.1"] {
        live.next_candle(spread);
    }
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    let status = live.status();
    let json = live.command(&["report", "--json"]).expect_exit(0).json();
    assert_eq!(json["mode"], "live");
    assert_eq!((&json["round_trips"], &json["entries"]), (&json!(1), &json!(1)));
    assert_eq!(money(&json, "/net_pnl"), money(&status, "/realized_pnl"));
    let sum = |names: &[&str]| {
        names.iter().map(|name| money(&json, &format!("/{name}"))).sum::<Decimal>()
    };
    assert_eq!(sum(&["gross_pnl"]) - sum(&["slippage", "fees"]), money(&json, "/net_pnl"));
    assert!(money(&json, "/slippage") > Decimal::ZERO, "it bought at the ask and sold at the bid");
    let beside = &json["backtest"];
    assert_eq!(beside["same_trades"], json!(1), "the entry: {beside}");
    assert_eq!(beside["only_real"], json!(1), "a late exit: {beside}");
    assert_eq!(beside["only_backtest"], json!(1), "an exit in time: {beside}");
    let html = fs::read_to_string(live.state().join("report.html")).expect("a page");
    assert_stands_alone(&html);
    assert_eq!(html.matches("the backtest</td>").count(), 1);
    assert_eq!(html.matches("the runs</td>").count(), 1);
    assert!(html.contains("live report") && html.contains("ETH is sold"), "{html}");
    live.check();
}

#[test]
fn a_report_of_an_exit_in_parts_counts_one_round_trip() {
    let live = Live::exit_ahead();
    live.with(|world| world.symbol("ETHUSDT").depth = vec![decimal("60")]);
    for spread in ["25", "40", "20"] {
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
        live.next_candle(spread);
    }
    let (status, json) = (live.status(), live.command(&["report", "--json"]).expect_exit(0).json());
    assert_eq!(status["state"], "NONE");
    assert_eq!(json["round_trips"], json!(1));
    assert_eq!(money(&json, "/net_pnl"), money(&status, "/realized_pnl"));
    // Three sales at three prices: what they differed by is no fee.
    let costs = money(&json, "/fees") / decimal("300");
    assert!(costs > decimal("0.0005") && costs < decimal("0.0015"), "{costs}");
}

#[test]
fn without_a_journal_there_is_nothing_to_report() {
    let home = home();
    let replay = || demo(&home.path().join("state"));
    let json = replay().args(["report", "--json"]).expect_exit(0).json();
    assert_eq!(json["html"], json!(null));
    assert!(!home.path().join("state").exists(), "nothing was made");
}

#[test]
fn no_page_is_made_of_a_journal_that_does_not_fit() {
    let home = home();
    let state = home.path().join("state");
    let replay = || demo(&state);
    for _ in 0..15 {
        let _ = replay().expect_exit(0);
    }
    let journal = fs::read_dir(state.join("replay"))
        .expect("a folder")
        .flatten()
        .next()
        .expect("a world")
        .path();
    let journal = journal.join("journal.jsonl");
    let text = fs::read_to_string(&journal).expect("a journal");
    fs::write(&journal, text.replacen("\"spread\":18.", "\"spread\":19.", 1)).expect("damage");
    let _ = replay()
        .args(["report", "--json"])
        .expect_exit(65)
        .expect_json(&[("/error/code", json!(65))]);
    assert!(!state.join("report.html").exists());
}

#[test]
fn what_a_folder_is_called_can_not_break_a_page() {
    let home = home();
    let state = home.path().join("<img onerror='x'>&\"");
    for _ in 0..3 {
        let _ = demo(&state).expect_exit(0);
    }
    let _ = demo(&state).args(["report"]).expect_exit(0);
    let html = fs::read_to_string(state.join("report.html")).expect("a page");
    assert_stands_alone(&html);
    assert!(html.contains("&lt;img onerror=&#39;x&#39;&gt;&amp;&quot;") && !html.contains("<img"));
}

// --- drawing -------------------------------------------------------------------------------------

proptest! {
    #![proptest_config(crate::support::law::config())]

    /// However long a history is: no stretch is lost, no candle is in two, and what was highest is drawn.
    #[test]
    fn a_curve_keeps_the_ends_and_the_extremes(moves in vec(-50_i64..=50, 1..6000), opening in 500_i32..1500) {
        let opening = f64::from(opening);
        let interval = Interval::named("15m").expect("an interval");
        let mut curve = Curve::new(interval, opening);
        let mut closes = Closes::default();
        let book = Book::open(ouroboros::trading::money::Amount::ZERO);
        let (mut price, mut rows, mut equities) = (10_000_i64, Vec::new(), Vec::new());
        for (number, change) in moves.iter().enumerate() {
            price = (price + change).max(1000);
            let at = time(i64::try_from(number).expect("small") * interval.millis());
            let candle = |close| Candle { open_time: at, open: close, high: close, low: close, close };
            let row = [candle(Decimal::from(price)), candle(Decimal::from(500))];
            let equity = opening + f64::from(i32::try_from(price % 777).expect("small"));
            let reading = (number > 3).then(|| strategy::reading(&[20.0, 20.5, nearest(row[0].close) / 500.0]));
            curve.add(&Moment { row: &row, reading, step: None, book: &book }, None, equity);
            closes.add(&row);
            rows.push(row);
            equities.push(equity);
        }
        let stretches = curve.stretches();
        prop_assert!(stretches.len() <= 1200);
        prop_assert!(moves.len() < 1200 || stretches.len() >= 600, "{}", stretches.len());
        prop_assert_eq!(stretches[0].from, rows[0][0].open_time);
        let last = stretches.last().expect("one");
        prop_assert_eq!(last.to, rows[rows.len() - 1][0].open_time);
        prop_assert!(last.last_equity.total_cmp(&equities[equities.len() - 1]).is_eq());
        for pair in stretches.windows(2) {
            prop_assert_eq!(pair[1].from.millis_since(pair[0].to), interval.millis());
            prop_assert!(!curve.is_gap(&pair[0], &pair[1]));
        }
        let extreme = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), it| (low.min(it), high.max(it)))
        };
        let drawn = extreme(&mut stretches.iter().flat_map(|it| [it.equity.0, it.equity.1]));
        prop_assert_eq!(drawn, extreme(&mut equities.iter().copied()));
        let spreads = |row: &[Candle; 2]| nearest(row[0].close) / nearest(row[1].close);
        let drawn = extreme(&mut stretches.iter().flat_map(|it| [it.spread.0, it.spread.1]));
        prop_assert_eq!(drawn, extreme(&mut rows.iter().map(spreads)));
        let mut peak = opening;
        let falls = equities.iter().map(|equity| { peak = peak.max(*equity); 1.0 - equity / peak });
        let deepest = falls.fold(0.0_f64, f64::max);
        let drawn = stretches.iter().map(|it| it.fall).fold(0.0_f64, f64::max);
        prop_assert!(drawn.total_cmp(&deepest).is_eq(), "{drawn} {deepest}");
        let recent = curve.recent();
        prop_assert_eq!(recent.len(), rows.len().min(300));
        prop_assert_eq!(recent[recent.len() - 1].to, rows[rows.len() - 1][0].open_time);
        // Below their bound closes are kept as they are.
        let kept: Vec<f64> = rows.iter().map(|row| nearest(row[0].close)).collect();
        prop_assert_eq!((closes.step(), closes.legs()[0]), (1, &kept[..]));
    }

    #[test]
    fn a_scale_has_room_for_its_values_and_few_lines(values in vec(-1e6_f64..1e6, 0..50), lines in 2_u8..8) {
        let scale = Scale::over(values.iter().copied(), lines);
        for value in &values {
            prop_assert!((0.0..=1.0).contains(&scale.from_top(*value)), "{value} {scale:?}");
        }
        prop_assert!(scale.ticks.len() <= usize::from(lines) + 2, "{scale:?}");
        for tick in &scale.ticks {
            prop_assert!((-1e-9..=1.0 + 1e-9).contains(&scale.from_top(*tick)));
            let label: f64 = scale.label(*tick, false).parse().expect("a number");
            prop_assert!((label - tick).abs() <= tick.abs() * 1e-9 + 1e-9, "{label} {tick}");
        }
    }
}

#[test]
fn closes_of_a_long_history_are_thinned_evenly() {
    let mut closes = Closes::default();
    let many = 100_000;
    for number in 0..many {
        let close = Decimal::from(number + 1);
        let at = time(i64::from(number) * 60_000);
        let candle = Candle { open_time: at, open: close, high: close, low: close, close };
        closes.add(&[candle, candle]);
    }
    let step = closes.step();
    assert_eq!(step, 8);
    let expected: Vec<f64> = (0..many).step_by(step).map(|number| f64::from(number + 1)).collect();
    assert_eq!(closes.legs()[0], expected);
    assert_eq!(closes.times().len(), expected.len());
    assert_eq!(closes.times()[1].as_millis(), 8 * 60_000);
}

#[test]
fn a_gap_breaks_a_curve_and_one_candle_among_many_does_not() {
    let interval = Interval::named("1m").expect("an interval");
    let mut curve = Curve::new(interval, 1.0);
    let book = Book::open(ouroboros::trading::money::Amount::ZERO);
    let mut add = |number: i64| {
        let candle = Candle { open_time: time(number * 60_000), ..flat("1") };
        curve.add(
            &Moment { row: &[candle, candle], reading: None, step: None, book: &book },
            None,
            1.0,
        );
    };
    (0..5).chain(100..105).for_each(&mut add);
    let gaps: Vec<bool> =
        curve.stretches().windows(2).map(|two| curve.is_gap(&two[0], &two[1])).collect();
    assert_eq!(gaps, [false, false, false, false, true, false, false, false, false]);
}

#[test]
fn times_are_marked_where_people_expect_them() {
    let labels = |from: &str, to: &str| -> Vec<String> {
        let (from, to) = (from.parse().expect("a time"), to.parse().expect("a time"));
        moments(from, to, 8).into_iter().map(|(_, label)| label).collect()
    };
    assert_eq!(
        labels("2024-01-01T00:10:00Z", "2024-01-01T02:00:00Z"),
        ["00:15", "00:30", "00:45", "01:00", "01:15", "01:30", "01:45", "02:00"]
    );
    assert_eq!(
        labels("2024-02-27T22:00:00Z", "2024-03-01T06:00:00Z"),
        ["28 Feb", "12:00", "29 Feb", "12:00", "1 Mar"]
    );
    assert_eq!(
        labels("2023-01-01T00:00:00Z", "2023-11-30T23:45:00Z"),
        ["Mar", "May", "Jul", "Sep", "Nov"]
    );
    assert_eq!(
        labels("2019-06-01T00:00:00Z", "2021-12-31T00:00:00Z"),
        ["Jul", "2020", "Jul", "2021", "Jul"]
    );
    assert_eq!(
        labels("1971-01-01T00:00:00Z", "2060-01-01T00:00:00Z"),
        ["1980", "1990", "2000", "2010", "2020", "2030", "2040", "2050", "2060"][..0].to_vec()
    );
}

#[test]
fn digits_stand_in_threes() {
    for (number, expected) in [
        ("0", "0"),
        ("999", "999"),
        ("1000", "1,000"),
        ("-1234567.89", "-1,234,567.89"),
        ("-100.00", "-100.00"),
        ("+12345", "+12,345"),
    ] {
        assert_eq!(grouped(number), expected);
    }
}

fn time(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis).expect("a time")
}

fn flat(close: &str) -> Candle {
    let close = decimal(close);
    Candle { open_time: time(0), open: close, high: close, low: close, close }
}
