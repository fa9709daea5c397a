//! Shapes that scripts rely on, and manners towards the exchange.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::desk::{Desk, Replay, home, write_private};
use crate::support::fault::Fault;
use crate::support::run::{Run, expect_money};
use crate::support::table::spreads;

#[test]
fn run_json_has_every_field_of_the_contract() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let told = desk.run().expect_exit(0).json();
    expect_fields(
        &told,
        &[
            "mode", "candle", "z", "spread", "mean", "std", "signal", "from", "to", "action",
            "settled", "why", "order",
        ],
    );
    let order = [
        "symbol",
        "side",
        "client_order_id",
        "executed_quantity",
        "quote_quantity",
        "average_price",
        "fees",
    ];
    expect_fields(&told["order"], &order);
    for statistic in ["z", "spread", "mean", "std"] {
        assert!(told[statistic].is_number(), "{statistic} is a plain number: {told:#}");
    }
    for text in ["mode", "candle", "signal", "from", "to", "action", "why"] {
        assert!(told[text].is_string(), "{text}: {told:#}");
    }
    for amount in ["executed_quantity", "quote_quantity", "average_price"] {
        assert!(told["order"][amount].is_string(), "{amount}: {told:#}");
    }
    assert!(told["order"]["fees"]["ETH"].is_string());
    let id = told["order"]["client_order_id"].as_str().expect("an id");
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    assert!((1..=36).contains(&id.len()) && id.chars().all(allowed), "{id}");
}

#[test]
fn status_json_has_every_field_of_the_contract() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let fields = [
        "mode",
        "state",
        "position",
        "pending",
        "last_candle",
        "realized_pnl",
        "trades",
        "halted",
        "paper_balance",
    ];
    let empty = desk.status();
    expect_fields(&empty, &fields);
    assert_eq!((&empty["state"], &empty["position"]), (&json!("NONE"), &json!(null)));
    assert_eq!(empty["last_candle"], json!(null));
    desk.expect_buy();
    let status = desk.status();
    expect_fields(&status, &fields);
    let position =
        ["symbol", "asset", "quantity", "cost", "entry_price", "entry_z", "entry_candle"];
    expect_fields(&status["position"], &position);
    assert_eq!(status["mode"], "paper");
    assert_eq!(status["pending"], json!(null));
    assert_eq!(status["halted"], json!(null));
    assert_eq!(status["last_candle"], json!(desk.server.newest_candle()));
    assert!(status["trades"].is_u64(), "{status:#}");
}

#[test]
fn a_failure_is_one_json_object_with_code_kind_message_and_hint() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.fault("klines", Fault::status(503));
    let outcomes =
        [(69, desk.run().expect_exit(69)), (78, desk.run().env("TIMEFRAME", "7m").expect_exit(78))];
    for (code, outcome) in outcomes {
        let told = outcome.json();
        assert_eq!(told.as_object().expect("an object").len(), 1, "{told:#}");
        let error = &told["error"];
        assert_eq!(error["code"], code);
        for field in ["kind", "message", "hint"] {
            assert!(!error[field].as_str().expect(field).is_empty(), "{field}: {told:#}");
        }
        assert!(!error["message"].as_str().expect("a message").contains('\n'), "one line");
    }
}

#[test]
fn a_failure_without_json_is_told_on_standard_error_only() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.fault("klines", Fault::status(503));
    let outcome = desk.command(&[]).expect_exit(69);
    assert_eq!(outcome.stdout, "");
    assert!(outcome.stderr.contains("503"), "{}", outcome.stderr);
}

#[test]
fn no_command_means_run_and_options_may_stand_on_either_side() {
    for args in [
        &["run", "--json"][..],
        &["--json", "run"],
        &["--dry-run", "--json"],
        &["--json", "run", "--dry-run"],
    ] {
        let desk = Desk::new(spreads("20 20 20 21"));
        let outcome = desk.command(args).expect_exit(0);
        outcome.expect_json(&[("/mode", json!("paper")), ("/action", json!("buy"))]);
    }
}

#[test]
fn dry_run_wins_over_the_setting() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let run = desk.command(&["--dry-run", "--json"]).env("DRY_RUN", "false");
    run.expect_exit(0).expect_json(&[("/mode", json!("paper"))]);
}

#[test]
fn wrong_usage_is_two_and_leaves_nothing() {
    let desk = Desk::new(spreads("20 20 20 21"));
    for args in [
        &["--no-such-option"][..],
        &["no-such-command"],
        &["--state-dir"],
        &["status", "extra"],
        &["run", "extra"],
    ] {
        let _ = Run::paper(&desk.cwd(), &desk.server).args(args).expect_exit(2);
    }
    assert!(desk.server.requests().is_empty());
    assert_eq!(fs::read_dir(desk.cwd()).expect("a folder").count(), 0);
}

#[test]
fn help_and_version_touch_nothing() {
    let home = home();
    let cwd = home.path().join("cwd");
    for args in
        [&["--help"][..], &["--version"], &["run", "--help"], &["completions", "bash"], &["man"]]
    {
        let outcome = Run::bare(&cwd).args(args).expect_exit(0);
        assert!(!outcome.stdout.is_empty(), "{args:?}");
    }
    assert_eq!(fs::read_dir(&cwd).expect("a folder").count(), 0);
}

#[test]
fn status_before_the_first_run_touches_nothing() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let status = desk.status();
    assert_eq!(status["state"], "NONE");
    assert_eq!(status["trades"], 0);
    assert!(!desk.state().exists(), "a state directory was made");
    assert!(desk.server.requests().is_empty());
}

#[test]
fn status_reads_and_changes_nothing() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    let files = || -> Vec<_> {
        let paths = crate::support::folder::walk(&desk.state()).into_iter();
        paths
            .filter(|path| path.is_file())
            .map(|path| (fs::read(&path).expect("a file"), path))
            .collect()
    };
    let before = files();
    desk.server.forget();
    let _ = desk.command(&["status"]).expect_exit(0);
    let _ = desk.status();
    assert!(before == files(), "status wrote something");
    assert!(desk.server.requests().is_empty());
}

#[test]
fn quiet_says_nothing_when_all_is_well() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome = desk.command(&["-q"]).expect_exit(0);
    assert_eq!(outcome.stderr, "");
    desk.server.fault("klines", Fault::status(503));
    let outcome = desk.command(&["-q"]).expect_exit(69);
    assert!(outcome.stderr.contains("503"), "{}", outcome.stderr);
}

#[test]
fn results_are_on_standard_output_and_logs_are_not() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome = desk.command(&["-v", "--json"]).expect_exit(0);
    assert_eq!(outcome.json()["action"], "buy");
    let log = fs::read_to_string(desk.state().join("logs/bot.log")).expect("a log file");
    assert!(!log.is_empty());
    assert!(!log.contains('\u{1b}') && !outcome.stderr.contains('\u{1b}'), "no colour in a pipe");
}

#[test]
fn the_log_goes_where_systemd_wants_it() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let logs = desk.cwd().join("logs of systemd");
    fs::create_dir(&logs).expect("a new folder");
    let _ = desk.run().env("LOGS_DIRECTORY", &logs).expect_exit(0);
    assert!(logs.join("bot.log").exists());
    assert!(!desk.state().join("logs/bot.log").exists());
}

#[test]
fn a_log_that_cannot_be_written_stops_no_run() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let file = desk.cwd().join("a file");
    fs::write(&file, "").expect("a file is written");
    let outcome = desk.run().env("LOGS_DIRECTORY", file.join("below")).expect_exit(0);
    outcome.expect_json(&[("/action", json!("buy"))]);
}

#[test]
fn the_state_directory_is_chosen_in_the_order_of_the_contract() {
    let desk = Desk::new(spreads("20 20 21 20"));
    let cwd = desk.cwd();
    let places = [cwd.join("option"), cwd.join("systemd"), cwd.join("setting"), cwd.join("state")];
    let base = || Run::paper(&cwd, &desk.server);
    let setting = || base().env("STATE_DIR", &places[2]);
    let systemd = || setting().env("STATE_DIRECTORY", &places[1]);
    let runs = [
        systemd().args(["--state-dir".as_ref(), places[0].as_os_str()]),
        systemd(),
        setting(),
        base(),
    ];
    for (number, run) in runs.into_iter().enumerate() {
        let _ = run.expect_exit(0);
        let made: Vec<bool> =
            places.iter().map(|place| place.join("paper/state.json").exists()).collect();
        let expected: Vec<bool> = (0..4).map(|place| place <= number).collect();
        assert_eq!(made, expected);
    }
}

#[test]
fn a_run_writes_nowhere_but_in_its_state_directory() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().env("HOME", desk.cwd()).env("TMPDIR", desk.cwd()).expect_exit(0);
    assert_eq!(fs::read_dir(desk.cwd()).expect("a folder").count(), 0);
    let names: BTreeSet<_> = fs::read_dir(desk.state())
        .expect("a folder")
        .map(|entry| entry.expect("an entry").file_name().into_string().expect("a plain name"))
        .collect();
    assert_eq!(names, BTreeSet::from(["logs".to_owned(), "paper".to_owned()]));
}

#[test]
fn state_and_journal_are_json_as_the_contract_says() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    let state: Value = serde_json::from_str(&desk.paper().text("state.json")).expect("JSON");
    assert!(state["version"].is_number(), "{state:#}");
    let journal = desk.paper().journal();
    assert!(!journal.is_empty() && journal.iter().all(Value::is_object));
    let outside: Value = serde_json::from_str(&desk.paper().text("outside.json")).expect("JSON");
    assert!(outside.is_object());
}

#[test]
fn losing_what_is_not_money_costs_nothing() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    fs::remove_file(desk.paper().join("outside.json")).expect("it was there");
    desk.server.close_candle(spreads("20")[0]);
    desk.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
}

#[test]
fn what_is_not_money_may_be_damaged_without_harm() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    write_private(&desk.paper().join("outside.json"), "{\"bans\": 1e999");
    desk.server.close_candle(spreads("20")[0]);
    desk.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
}

#[test]
fn both_legs_are_asked_for_at_the_same_time() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.fault("klines", Fault::Delay(Duration::from_millis(600)));
    desk.expect_buy();
    let requests = desk.server.requests_to("klines");
    assert_eq!(requests.len(), 2, "{requests:?}");
    let apart = requests[1].at.duration_since(requests[0].at);
    assert!(apart < Duration::from_millis(500), "the second one came {apart:?} after the first");
}

#[test]
fn no_more_candles_are_asked_for_than_are_needed() {
    // The window and the forming candle; one more is forgiven.
    let desk = Desk::new(spreads("20 20 20 20 20 20 20 20 20 21"));
    desk.expect_buy();
    for request in desk.server.requests_to("klines") {
        let limit: u32 = request.query("limit").expect("a limit").parse().expect("a number");
        assert!((5..=6).contains(&limit), "{}", request.target);
        assert_eq!(request.query("interval"), Some("1m"));
    }
}

#[test]
fn a_holding_looks_back_over_the_candles_it_missed_and_no_further() {
    for (lookback, most) in [("100", 8), ("5", 6)] {
        let desk = Desk::for_two_more(spreads("20 20 20 20 20 20 20 20 20 20 20 21"));
        desk.expect_buy();
        desk.server.forget();
        desk.server.close_candle(spreads("20")[0]);
        desk.server.close_candle(spreads("21")[0]);
        let run = desk.run().env("LOOKBACK_LIMIT", lookback);
        run.expect_exit(0).expect_json(&[("/action", json!("sell"))]);
        for request in desk.server.requests_to("klines") {
            let limit: u32 = request.query("limit").expect("a limit").parse().expect("a number");
            assert!(limit <= most, "{}", request.target);
        }
    }
}

#[test]
fn rules_and_prices_are_asked_for_only_when_something_is_traded() {
    let desk = Desk::new(spreads("20 20 21 20"));
    let _ = desk.run().expect_exit(0);
    let paths: BTreeSet<String> =
        desk.server.requests().iter().map(|request| request.path().to_owned()).collect();
    assert_eq!(paths, BTreeSet::from(["/api/v3/klines".to_owned()]));
}

#[test]
fn rules_that_are_known_are_not_asked_for_again() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    desk.server.close_candle(spreads("20")[0]);
    desk.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    assert_eq!(desk.server.requests_to("exchangeInfo").len(), 1);
    assert_eq!(desk.server.requests_to("bookTicker").len(), 2, "a price is asked for each time");
}

#[test]
fn paper_signs_nothing_even_with_keys_at_hand() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let keys = [
        ("BINANCE_API_KEY", "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zv"),
        ("BINANCE_API_SECRET", "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP"),
    ];
    let _ = desk.run().envs(&keys).expect_exit(0);
    let _ = desk.command(&["flatten", "--yes"]).envs(&keys).expect_exit(0);
    for request in desk.server.requests() {
        assert_eq!(request.method, "GET", "{}", request.target);
        assert_eq!(request.header("x-mbx-apikey"), None);
        assert!(!request.target.contains("signature") && !request.target.contains("timestamp"));
        assert!(request.path().starts_with("/api/v3/"), "{}", request.target);
    }
}

#[test]
fn a_whole_run_asks_a_handful_of_questions() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    assert!(desk.server.requests().len() <= 5, "{:?}", desk.server.requests());
}

#[test]
fn the_base_url_alone_serves_the_market_too() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let run = desk.run().without("BINANCE_MARKET_URL").env("BINANCE_BASE_URL", desk.server.url());
    run.expect_exit(0).expect_json(&[("/action", json!("buy"))]);
}

#[test]
fn the_market_url_goes_before_the_base_url() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let run = desk.run().env("BINANCE_BASE_URL", "http://127.0.0.1:1");
    run.expect_exit(0).expect_json(&[("/action", json!("buy"))]);
}

#[test]
fn a_slash_at_the_end_of_a_url_is_no_difference() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let run = desk.run().env("BINANCE_MARKET_URL", format!("{}/", desk.server.url()));
    run.expect_exit(0).expect_json(&[("/action", json!("buy"))]);
}

#[test]
fn a_book_of_another_pair_or_timeframe_is_left_alone() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    let before = desk.paper().snapshot();
    let others = [
        &[("TIMEFRAME", "5m")][..],
        &[("SYMBOL_BASE", "LTC/USDT")],
        &[("SYMBOL_BASE", "ETH/USDT"), ("SYMBOL_QUOTE", "BTC/USDT")],
    ];
    for other in others {
        let outcome = desk.run().envs(other).expect_exit(78);
        outcome.expect_said(&["--state-dir"]);
        assert_eq!(before, desk.paper().snapshot());
    }
    desk.run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
}

#[test]
fn the_worlds_do_not_see_each_other() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let replay = Replay::new(&spreads("20 20 20 19"));
    desk.expect_buy();
    let candles = replay.candles();
    let args = ["--candles", candles.to_str().expect("a plain path"), "--json"];
    let in_replay = |command: &str| {
        let command: Vec<&str> = std::iter::once(command).chain(args).collect();
        desk.command(&command).env("TIMEFRAME", "1h").expect_exit(0).json()
    };
    assert_eq!(in_replay("status")["state"], "NONE");
    assert_eq!(in_replay("run")["to"], "HOLDING_BTC");
    let status = in_replay("status");
    assert_eq!((&status["mode"], &status["state"]), (&json!("replay"), &json!("HOLDING_BTC")));
    let paper = desk.status();
    assert_eq!((&paper["mode"], &paper["state"]), (&json!("paper"), &json!("HOLDING_ETH")));
    expect_money(&paper, &[("/paper_balance", "850.27")]);
}

#[test]
fn every_word_of_the_strategy_and_the_exit_codes_is_as_promised() {
    // One run of each kind in one book, told in the contract's words.
    let desk = Desk::for_two_more(spreads("20 20 20 21"));
    let mut told = vec![desk.run().expect_exit(0).json()];
    desk.server.close_candle(spreads("20")[0]);
    told.push(desk.run().expect_exit(0).json());
    told.push(desk.run().expect_exit(0).json());
    let _ = desk.command(&["halt"]).expect_exit(0);
    told.push(desk.run().expect_exit(0).json());
    let words: Vec<&str> =
        told.iter().map(|one| one["action"].as_str().expect("an action")).collect();
    assert_eq!(words, ["buy", "sell", "already-processed", "halted"]);
}

#[track_caller]
fn expect_fields(value: &Value, names: &[&str]) {
    let object = value.as_object().unwrap_or_else(|| panic!("an object: {value:#}"));
    let missing: Vec<_> = names.iter().filter(|name| !object.contains_key(**name)).collect();
    assert!(missing.is_empty(), "{missing:?} are missing in {value:#}");
}
