//! The file for Prometheus: its form as `node_exporter` wants it, its values those of the book.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use crate::support::desk::Desk;
use crate::support::fault::Fault;
use crate::support::run::Run;

#[test]
fn a_run_leaves_what_it_found() {
    let desk = Desk::entry_ahead();
    let _ = leaving(&desk).expect_exit(0);
    let found = figures(&desk);
    let one = |name: &str| &*found[&format!("ouroboros_{name}{{{LABELS}}}")];
    let number = |name: &str| -> f64 { one(name).parse().expect("a number") };
    let status = desk.status();
    assert_eq!((one("last_exit_code"), one("halted")), ("0", "0"));
    assert_eq!(one("timeframe_seconds"), "60.000");
    assert_eq!(one("zscore"), status["last_decision"]["z"].to_string(), "to the last digit");
    assert!(number("last_success_timestamp_seconds") > 1.7e9);
    assert_eq!(one("last_run_timestamp_seconds"), one("last_success_timestamp_seconds"));
    let of = |name: &str, asset: &str| {
        &*found[&format!("ouroboros_{name}{{{LABELS},asset=\"{asset}\"}}")]
    };
    assert_eq!((of("holding", "BTC"), of("holding", "ETH")), ("0", "1"));
    assert_eq!(of("book_quantity", "ETH"), status["position"]["quantity"]);
    // Bought at an ask above the close: it would be sold for less, and that is what is told.
    let (equity, unrealized) = (number("paper_equity_quote"), number("unrealized_pnl_quote"));
    assert!(unrealized < 0.0 && (equity - (1000.0 + unrealized)).abs() < 1e-6, "{equity}");
}

#[test]
fn a_failure_keeps_when_it_went_well_last() {
    let desk = Desk::entry_ahead();
    let _ = leaving(&desk).expect_exit(0);
    let success = format!("ouroboros_last_success_timestamp_seconds{{{LABELS}}}");
    let before = figures(&desk)[&success].clone();
    desk.server.fault("klines", Fault::status(503));
    let _ = leaving(&desk).expect_exit(69);
    let found = figures(&desk);
    assert_eq!(found[&success], before);
    assert_eq!(found[&format!("ouroboros_last_exit_code{{{LABELS}}}")], "69");
}

#[test]
fn the_file_has_the_form_that_node_exporter_reads() {
    let desk = Desk::entry_ahead();
    let _ = leaving(&desk).expect_exit(0);
    let text = fs::read_to_string(file(&desk)).expect("the file");
    assert!(text.ends_with('\n'));
    let mut known: BTreeMap<&str, usize> = BTreeMap::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert!(["gauge", "counter"].contains(&kind), "{line}");
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            assert!(known.insert(name, 0).is_none(), "{name} twice");
        } else if !line.starts_with("# HELP ") {
            let name = line.split('{').next().expect("a name");
            *known.get_mut(name).unwrap_or_else(|| panic!("{line} before its type")) += 1;
            assert_eq!(line.matches(' ').count(), 1, "a value, and no time stamp: {line}");
        }
    }
    assert!(known.len() > 12 && known.values().all(|count| *count > 0), "{known:?}");
    let mode = fs::metadata(file(&desk)).expect("the file").permissions().mode();
    assert_eq!(mode & 0o777, 0o644, "another user reads it");
    let folder = fs::read_dir(desk.cwd().join("textfile")).expect("the folder");
    assert_eq!(folder.count(), 1, "nothing half-written is left");
}

#[test]
fn a_file_that_cannot_be_written_changes_nothing() {
    let desk = Desk::entry_ahead();
    let path = desk.cwd().join("nowhere").join("ouroboros.prom");
    let outcome = desk.run().env("METRICS_FILE", path).expect_exit(0);
    outcome.expect_said(&["Prometheus", "nowhere"]);
    assert_eq!(outcome.json()["action"], "buy");
}

#[test]
fn a_name_that_is_not_read_is_refused() {
    let desk = Desk::entry_ahead();
    let run = desk.run().env("METRICS_FILE", "/tmp/ouroboros.txt");
    run.expect_exit(78).expect_said(&["METRICS_FILE", "/tmp/ouroboros.txt", ".prom"]);
}

#[test]
fn neither_another_run_s_file_nor_a_replay_s_is_written() {
    let desk = Desk::entry_ahead();
    let _ = leaving(&desk).env("TIMEFRAME", "15m").args(["--candles", "demo"]).expect_exit(0);
    assert!(!file(&desk).exists(), "a replay is no run that is watched");
    let paper = desk.state().join("paper");
    let lock = fs::File::open(paper).expect("the folder");
    fs2::FileExt::lock_exclusive(&lock).expect("the lock");
    let _ = leaving(&desk).expect_exit(75);
    assert!(!file(&desk).exists(), "the run that has the lock writes it");
}

fn leaving(desk: &Desk) -> Run {
    fs::create_dir_all(desk.cwd().join("textfile")).expect("a folder");
    desk.run().env("METRICS_FILE", file(desk))
}

fn file(desk: &Desk) -> PathBuf {
    desk.cwd().join("textfile").join("ouroboros.prom")
}

fn figures(desk: &Desk) -> BTreeMap<String, String> {
    let text = fs::read_to_string(file(desk)).expect("the file");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let pair = |line: &str| {
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        assert!(value.parse::<f64>().is_ok_and(f64::is_finite), "{line}");
        (name.to_owned(), value.to_owned())
    };
    lines.map(pair).collect()
}

const LABELS: &str = r#"mode="paper",pair="BTC/ETH",timeframe="1m""#;
