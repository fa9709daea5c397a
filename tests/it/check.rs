//! `check`: what it finds, how it says so, with which code it ends, and that it changes nothing.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};
use serde_json::{Value, json};

use crate::support::clock::SECOND;
use crate::support::desk::{Desk, Replay, home, write_private};
use crate::support::fault::Fault;
use crate::support::folder::walk;
use crate::support::live::Live;
use crate::support::run::{Outcome, Run, money};
use crate::support::table::spreads;

// --- when all is well ------------------------------------------------------------------------------

#[test]
fn all_is_well_and_every_line_says_so() {
    let desk = after_one_run();
    let outcome = told(&desk).expect_exit(0);
    let lines = lines(&outcome);
    let names: Vec<&str> = lines.iter().map(|line| text_of(line, "name")).collect();
    assert_eq!(
        names,
        [
            "config",
            "directory",
            "file system",
            "disk",
            "lock",
            "state",
            "journal",
            "clock",
            "endpoint",
            "candles",
            "strategy",
            "symbol",
            "symbol",
            "telegram",
            "health check",
            "timer"
        ]
    );
    for line in &lines {
        assert_eq!(line["verdict"], "ok", "{}", outcome.transcript());
        assert_eq!((&line["remedy"], &line["code"]), (&json!(null), &json!(null)));
    }
    assert_eq!(outcome.json().get("error"), None);
    assert_eq!(outcome.json()["mode"], "paper");
    assert!(text_of(&line(&outcome, "telegram"), "text").contains("@a_test_bot"));
}

#[test]
fn nothing_is_changed_told_or_pinged() {
    let desk = after_one_run();
    let before = everything(&desk.state());
    desk.server.forget();
    told(&desk).expect_exit(0);
    assert_eq!(everything(&desk.state()), before);
    let asked: Vec<String> = desk.server.requests().into_iter().map(|it| it.target).collect();
    assert!(asked.len() <= 8, "{asked:?}");
    for part in ["sendMessage", "/ping", "order"] {
        assert!(!asked.iter().any(|target| target.contains(part)), "{asked:?}");
    }
}

#[test]
fn a_state_directory_that_is_not_there_is_not_made() {
    let desk = Desk::daily(spreads("20 20 20 21"), 0);
    let outcome = check(&desk).expect_exit(0);
    assert!(!desk.state().exists());
    outcome.expect_said(&["is not there yet", "no book yet"]);
    // The first run makes what was found possible.
    desk.expect_buy();
}

#[test]
fn the_text_has_a_line_for_each_and_is_at_most_a_hundred_columns_wide() {
    let desk = after_one_run();
    let outcome = desk.command(&["check"]).expect_exit(0);
    for line in outcome.stdout.lines() {
        assert!(line.starts_with("ok       ") && line.len() <= 100, "{line}");
    }
    assert_eq!(outcome.stdout.lines().count(), 16, "{}", outcome.stdout);
    assert_eq!(outcome.stderr, "");
}

// --- the configuration -------------------------------------------------------------------------------

#[test]
fn a_configuration_that_can_not_be_understood_ends_it_as_any_command() {
    let desk = after_one_run();
    let outcome = check(&desk).env("TIMEFRAME", "7m").expect_exit(78);
    assert_eq!(outcome.json().as_object().expect("an object").len(), 1);
    outcome.expect_json(&[("/error/code", json!(78))]);
}

#[test]
fn a_loose_env_file_is_a_warning() {
    let desk = after_one_run();
    let path = desk.cwd().join(".env");
    write_private(&path, "FEE_BPS=10\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("a file of ours");
    let outcome = check(&desk).expect_exit(0);
    let warning = expect(&outcome, "config", "warning", "others may read");
    assert!(text_of(&warning, "remedy").contains("chmod 600"));
}

#[test]
fn paper_needs_no_key_and_says_nothing_of_one() {
    let desk = after_one_run();
    let run = check(&desk).env("DRY_RUN", "false").args(["--dry-run"]);
    let outcome = run.expect_exit(0);
    assert!(lines(&outcome).iter().all(|line| line["name"] != "key" && line["name"] != "account"));
}

// --- the state directory -------------------------------------------------------------------------------

#[test]
fn a_state_directory_that_is_a_file_hides_nothing_else() {
    let desk = Desk::daily(spreads("20 20 20 21"), 0);
    write_private(&desk.state(), "a file");
    let outcome = told(&desk).unchecked().expect_exit(78);
    let failed = expect(&outcome, "directory", "failed", "is not a directory");
    assert_eq!(failed["code"], 78);
    for name in ["disk", "lock", "state"] {
        expect(&outcome, name, "warning", "not looked at, because there is no state directory");
    }
    for name in ["clock", "endpoint", "candles", "symbol", "telegram"] {
        assert_eq!(line(&outcome, name)["verdict"], "ok", "{}", outcome.transcript());
    }
    assert_eq!(fs::read(desk.state()).expect("it is there"), b"a file");
}

#[test]
fn a_state_directory_that_can_not_be_written_to_fails() {
    let desk = Desk::daily(spreads("20 20 20 21"), 0);
    // Not even root may make something here.
    let run = Run::paper(&desk.cwd(), &desk.server).env("TIMEFRAME", "1d");
    let outcome = run.args(["check", "--json", "--state-dir", "/proc/state"]).expect_exit(74);
    assert_eq!(expect(&outcome, "disk", "failed", "/proc/state")["code"], 74);
    assert_eq!(line(&outcome, "candles")["verdict"], "ok");
}

#[test]
fn a_folder_that_others_may_look_into_is_a_warning() {
    let desk = after_one_run();
    fs::set_permissions(desk.state(), fs::Permissions::from_mode(0o755)).expect("ours");
    let outcome = check(&desk).unchecked().expect_exit(0);
    let warning = expect(&outcome, "directory", "warning", "0755");
    assert!(text_of(&warning, "remedy").starts_with("`chmod 700 "));
}

#[test]
fn a_run_under_way_is_a_warning_and_the_rest_goes_on() {
    let desk = after_one_run();
    let lock = File::open(desk.paper().join("lock")).expect("a run was here");
    flock(&lock, FlockOperation::NonBlockingLockExclusive).expect("it is free");
    let outcome = check(&desk).expect_exit(0);
    expect(&outcome, "lock", "warning", "a run is under way");
    for name in ["disk", "state", "candles"] {
        assert_eq!(line(&outcome, name)["verdict"], "ok");
    }
    drop(lock);
    assert_eq!(line(&check(&desk).expect_exit(0), "lock")["verdict"], "ok");
}

#[test]
fn a_state_that_can_not_be_trusted_is_65_and_stays_as_it_is() {
    let desk = after_one_run();
    fs::write(desk.paper().join("state.json"), "{\"version\":1").expect("it is ours");
    let before = everything(&desk.state());
    let outcome = told(&desk).expect_exit(65);
    let failed = expect(&outcome, "state", "failed", "state.json");
    assert_eq!(failed["code"], 65);
    assert!(text_of(&failed, "remedy").contains("backup"));
    assert_eq!(line(&outcome, "candles")["verdict"], "ok");
    assert_eq!(everything(&desk.state()), before);
}

#[test]
fn a_journal_that_does_not_fit_is_65() {
    let desk = after_one_run();
    write_private(&desk.paper().join("journal.jsonl"), "{}\n");
    let outcome = check(&desk).unchecked().expect_exit(65);
    expect(&outcome, "state", "failed", "journal.jsonl");
}

#[test]
fn a_journal_that_was_edited_long_ago_is_65_although_a_run_would_not_see_it() {
    let replay = Replay::new(&spreads("20 20 20 21 20 20 19 20"));
    for _ in 0..4 {
        let _ = replay.run().expect_exit(0);
    }
    let path = replay.world().join("journal.jsonl");
    let good = fs::read_to_string(&path).expect("there is one");
    let bad = good.replacen("\"prev\":\"0", "\"prev\":\"1", 1);
    assert_ne!(good, bad);
    write_private(&path, &bad);
    let outcome = replay.command(&["check", "--json"]).unchecked().expect_exit(65);
    assert_eq!(line(&outcome, "state")["verdict"], "ok");
    expect(&outcome, "journal", "failed", "line 1");
    assert_eq!(fs::read_to_string(&path).expect("it is there"), bad);
    write_private(&path, &good);
    let outcome = replay.command(&["check", "--json"]).expect_exit(0);
    assert!(text_of(&line(&outcome, "journal"), "text").starts_with("4 records recomputed"));
}

#[test]
fn a_book_of_another_pair_is_78() {
    let desk = after_one_run();
    let outcome = check(&desk).env("SYMBOL_BASE", "SOL/USDT").expect_exit(78);
    expect(&outcome, "state", "failed", "belongs to BTC/USDT and ETH/USDT");
}

#[test]
fn a_halt_is_a_warning() {
    let desk = after_one_run();
    let _ = desk.command(&["halt", "on", "holiday"]).expect_exit(0);
    let outcome = check(&desk).expect_exit(0);
    let warning = expect(&outcome, "halt", "warning", "on holiday");
    assert!(text_of(&warning, "remedy").contains("ouroboros resume"));
}

// --- the exchange -------------------------------------------------------------------------------------

#[test]
fn a_clock_that_is_a_little_off_is_a_warning_and_a_run_would_go_by_it() {
    for (seconds, way) in [(5, "behind"), (-5, "ahead of")] {
        let desk = Desk::daily(spreads("20 20 20 21"), seconds * SECOND);
        let outcome = check(&desk).expect_exit(0);
        let warning = expect(&outcome, "clock", "warning", way);
        assert!(text_of(&warning, "remedy").contains("timedatectl"));
        assert_eq!(line(&outcome, "candles")["verdict"], "ok");
    }
}

#[test]
fn a_clock_that_is_more_than_a_minute_off_is_69() {
    for seconds in [62, -62] {
        let desk = Desk::daily(spreads("20 20 20 21"), seconds * SECOND);
        let outcome = check(&desk).expect_exit(69);
        assert_eq!(expect(&outcome, "clock", "failed", "s apart")["code"], 69);
        assert_eq!(line(&outcome, "endpoint")["verdict"], "ok");
        expect(&outcome, "candles", "warning", "not looked at, because the clock is wrong");
    }
}

#[test]
fn an_exchange_that_can_not_be_reached_is_69_and_the_rest_is_looked_at() {
    let desk = after_one_run();
    let outcome = told(&desk).env("BINANCE_MARKET_URL", "http://127.0.0.1:1").expect_exit(69);
    let failed = expect(&outcome, "endpoint", "failed", "http://127.0.0.1:1");
    assert!(text_of(&failed, "remedy").contains("`BINANCE_MARKET_URL`"));
    for name in ["clock", "candles", "symbol"] {
        expect(&outcome, name, "warning", "not looked at, because the exchange was not reached");
    }
    for name in ["state", "telegram", "timer"] {
        assert_eq!(line(&outcome, name)["verdict"], "ok", "{}", outcome.transcript());
    }
}

#[test]
fn an_exchange_that_answers_nonsense_is_69() {
    let desk = after_one_run();
    for fault in [Fault::status(503), Fault::html(200), Fault::body("{}"), Fault::Close] {
        desk.server.fault("/time", fault);
        let outcome = check(&desk).expect_exit(69);
        assert_eq!(line(&outcome, "endpoint")["verdict"], "failed");
        desk.server.heal();
    }
    assert_eq!(check(&desk).expect_exit(0).code, 0);
}

#[test]
fn candles_that_are_not_traded_on_are_65() {
    let desk = after_one_run();
    desk.server.bend("klines ETHUSDT", |list| {
        for row in list.as_array_mut().expect("a list") {
            row[4] = json!("0.00000000");
        }
    });
    let outcome = check(&desk).expect_exit(65);
    expect(&outcome, "candles", "failed", "ETHUSDT");
    assert_eq!(line(&outcome, "symbol")["verdict"], "ok");
}

#[test]
fn an_amount_that_the_exchange_does_not_take_is_76() {
    let desk = after_one_run();
    let outcome = check(&desk).env("TRADE_AMOUNT_USDT", "1").expect_exit(76);
    let failed = expect(&outcome, "symbol", "failed", "BTCUSDT");
    assert!(text_of(&failed, "remedy").contains("`TRADE_AMOUNT_USDT`"));
}

#[test]
fn a_wish_for_silence_is_kept_by_this_and_by_the_runs_after_it() {
    let desk = after_one_run();
    desk.server.fault("/time", Fault::limit(418, Some("600")));
    let outcome = check(&desk).expect_exit(75);
    assert_eq!(expect(&outcome, "endpoint", "failed", "418")["code"], 75);
    desk.server.heal();
    desk.server.forget();
    let outcome = check(&desk).expect_exit(75);
    expect(&outcome, "endpoint", "failed", "wants no request before");
    expect(&outcome, "candles", "warning", "not looked at, because the exchange wants silence");
    let _ = desk.run().expect_exit(75);
    assert!(desk.server.requests().is_empty(), "{:?}", desk.server.requests());
}

#[test]
fn whatever_the_network_does_it_ends_within_45_seconds() {
    let desk = after_one_run();
    for part in ["klines", "exchangeInfo", "bookTicker", "/bot"] {
        desk.server.fault(part, Fault::Silence);
    }
    let outcome = told(&desk).expect_exit(69);
    assert!(outcome.took < Duration::from_secs(45), "{}", outcome.transcript());
    assert_eq!(line(&outcome, "candles")["verdict"], "failed");
    assert_eq!(line(&outcome, "timer")["verdict"], "ok");
}

// --- who is told ----------------------------------------------------------------------------------------

#[test]
fn a_telegram_that_refuses_bot_or_chat_is_78() {
    for (method, status, remedy) in
        [("getMe", 401, "`TELEGRAM_BOT_TOKEN`"), ("getChat", 400, "`TELEGRAM_CHAT_ID`")]
    {
        let desk = after_one_run();
        let body =
            format!(r#"{{"ok":false,"error_code":{status},"description":"Bad Request: said so"}}"#);
        desk.server.fault(method, Fault::json(status, body));
        let outcome = told(&desk).expect_exit(78);
        let failed = expect(&outcome, "telegram", "failed", "said so");
        assert!(text_of(&failed, "remedy").contains(remedy));
        assert_eq!(line(&outcome, "timer")["verdict"], "ok");
    }
}

#[test]
fn a_telegram_that_is_down_is_a_warning() {
    let desk = after_one_run();
    for fault in [Fault::status(502), Fault::html(502), Fault::Reset] {
        desk.server.fault("/bot", fault);
        expect(&told(&desk).expect_exit(0), "telegram", "warning", "Telegram");
        desk.server.heal();
    }
}

#[test]
fn a_telegram_that_wants_silence_gets_it() {
    let desk = after_one_run();
    let body =
        r#"{"ok":false,"error_code":429,"description":"x","parameters":{"retry_after":600}}"#;
    desk.server.fault("/bot", Fault::json(429, body));
    expect(&told(&desk).expect_exit(0), "telegram", "warning", "no message before");
    desk.server.heal();
    desk.server.forget();
    expect(&told(&desk).expect_exit(0), "telegram", "warning", "no message before");
    assert!(desk.server.requests_to("/bot").is_empty());
}

#[test]
fn no_secret_is_said_or_written() {
    const TOKEN: &str = "123456789:MARKEDbottoken1vGWJxfSeofSAs0K5PA";
    const PING: &str = "MARKED-a-ping-s-uuid";
    let marks = ["MARKED", "MARKEDapikey", "MARKEDapisecret"];
    for fault in [None, Some(Fault::status(401)), Some(Fault::Reset), Some(Fault::html(502))] {
        let desk = after_one_run();
        if let Some(fault) = fault {
            desk.server.fault("/", fault);
        }
        for live in ["true", "false"] {
            let run = desk.command(&["check", "-v"]).env("DRY_RUN", live);
            let run = run.env("BINANCE_API_KEY", "MARKEDapikeyvmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0");
            let run = run.env("BINANCE_API_SECRET", "MARKEDapisecretNhqPtmdSJYdKjVHjA7PZj4Mge3R5");
            let run = run.env("BINANCE_BASE_URL", desk.server.url());
            let run = run.env("TELEGRAM_BOT_TOKEN", TOKEN).env("TELEGRAM_CHAT_ID", "42");
            let run = run.env("TELEGRAM_API_URL", desk.server.url());
            let run = run.env("HEALTHCHECK_URL", format!("{}/ping/{PING}", desk.server.url()));
            let outcome = run.expect_one_of(&[0, 69, 76, 77, 78]);
            let written: Vec<u8> =
                everything(&desk.state()).into_iter().flat_map(|(_, bytes)| bytes).collect();
            let all = format!(
                "{}{}{}",
                outcome.stdout,
                outcome.stderr,
                String::from_utf8_lossy(&written)
            );
            for mark in marks {
                assert!(!all.contains(mark), "{mark}\n{}", outcome.transcript());
            }
            assert!(!all.contains("signature"), "{}", outcome.transcript());
        }
    }
}

// --- how it is said -------------------------------------------------------------------------------------

#[test]
fn the_list_is_the_answer_and_its_first_failure_the_code() {
    let desk = after_one_run();
    fs::write(desk.paper().join("state.json"), "").expect("it is ours");
    let far = |run: Run| run.env("BINANCE_MARKET_URL", "http://127.0.0.1:1");
    let outcome = far(check(&desk)).expect_exit(65);
    // The first of two.
    let codes: Vec<Value> = lines(&outcome).iter().map(|line| line["code"].clone()).collect();
    let codes: Vec<&Value> = codes.iter().filter(|code| !code.is_null()).collect();
    assert_eq!(codes, [&json!(65), &json!(69)]);
    let error = outcome.json()["error"].clone();
    assert_eq!((&error["code"], &error["kind"]), (&json!(65), &json!("untrusted")));
    assert!(text_of(&error, "message").starts_with("state: "), "{error}");
    assert!(!text_of(&error, "hint").is_empty());

    let outcome = far(desk.command(&["check"])).expect_exit(65);
    for start in ["ok       lock: ", "failed   state: ", "failed   endpoint: ", "         look at"]
    {
        assert!(outcome.stdout.lines().any(|line| line.starts_with(start)), "{}", outcome.stdout);
    }
    assert!(outcome.stderr.contains("state: "), "the log has the failure: {}", outcome.stderr);
}

// --- what would have come of it -------------------------------------------------------------------------

#[test]
fn the_strategy_is_tried_on_the_last_candles_and_a_loss_is_a_warning() {
    let home = home();
    let start = |words: &[&str]| {
        let state = home.path().join("state");
        Run::bare(&home.path().join("cwd"))
            .args(["--candles", "demo"])
            .args(words)
            .state_dir(&state)
    };
    let outcome = start(&["check", "--json"]).expect_exit(0);
    let backtest =
        start(&["backtest", "--json", "--from", "2024-01-20T14:15:00Z"]).expect_exit(0).json();
    assert_eq!(backtest["candles"], 999);
    let said = format!(
        "on the 999 candles since 2024-01-20T14:15:00Z it would have made {:.2} USDT in {} round trips, \
         {:+.1} bp each before costs, {:+.1} bp after",
        money(&backtest, "/net_pnl"),
        backtest["round_trips"],
        backtest["mean_gross_bps"].as_f64().expect("a number"),
        backtest["mean_net_bps"].as_f64().expect("a number"),
    );
    assert!(money(&backtest, "/net_pnl").is_sign_negative(), "{said}");
    expect(&outcome, "strategy", "warning", &said);
    let pair = line(&outcome, "pair");
    assert_eq!(pair["verdict"], "ok");
    for words in ["correlation 0.74, hedge ratio 0.60", "ADF p = 0.248"] {
        assert!(text_of(&pair, "text").contains(words), "{pair}");
    }
    // Without a trade nothing is lost.
    let outcome = start(&["check", "--json"]).env("ENTRY_THRESHOLD", "4.3").expect_exit(0);
    let strategy = line(&outcome, "strategy");
    assert_eq!(strategy["verdict"], "ok", "{strategy}");
}

#[test]
fn the_strategy_is_tried_on_the_candles_of_the_exchange() {
    let rows = "20 20 20 21 20 19 20 20 21 20 ".repeat(40);
    let desk = Desk::daily(spreads(rows.trim()), 0);
    let outcome = check(&desk).expect_exit(0);
    assert!(text_of(&line(&outcome, "strategy"), "text").starts_with("on the 400 candles since "));
    assert!(text_of(&line(&outcome, "pair"), "text").starts_with("correlation "));
}

// --- a replay ---------------------------------------------------------------------------------------------

#[test]
fn a_replay_needs_a_state_directory_and_candles() {
    let replay = Replay::new(&spreads("20 20 20 21 20"));
    let names = |outcome: &Outcome| -> Vec<String> {
        lines(outcome).iter().map(|line| text_of(line, "name").to_owned()).collect()
    };
    let outcome = replay.command(&["check", "--json"]).expect_exit(0);
    assert_eq!(
        names(&outcome),
        [
            "config",
            "directory",
            "file system",
            "disk",
            "lock",
            "state",
            "candles",
            "strategy",
            "pair"
        ]
    );
    assert!(!replay.state().exists());
    let _ = replay.run().expect_exit(0);
    let outcome = replay.command(&["check", "--json"]).expect_exit(0);
    // Five candles on which it bought and did not get its costs back.
    let rest = lines(&outcome).into_iter().filter(|line| line["name"] != "strategy");
    assert!(rest.into_iter().all(|line| line["verdict"] == "ok"));
}

#[test]
fn a_replay_without_enough_candles_is_65() {
    let replay = Replay::new(&spreads("20 20 20"));
    let outcome = replay.command(&["check", "--json"]).expect_exit(65);
    expect(&outcome, "candles", "failed", "a window needs 4");
}

#[test]
fn a_replay_whose_candles_were_changed_is_78() {
    let replay = Replay::new(&spreads("20 20 20 21 20"));
    let _ = replay.run().expect_exit(0);
    let dump = walk(&replay.candles()).into_iter().find(|path| path.is_file()).expect("a dump");
    let text = fs::read_to_string(&dump).expect("text");
    fs::write(&dump, text.replacen(".00", ".01", 8)).expect("it is ours");
    let outcome = replay.command(&["check", "--json"]).expect_one_of(&[65, 78]);
    assert_eq!(line(&outcome, "candles")["verdict"], "failed", "{}", outcome.transcript());
}

// --- live, as far as no account is needed -------------------------------------------------------------------

#[test]
fn live_without_a_key_is_a_line_and_hides_nothing_else() {
    let desk = after_one_run();
    let outcome = live(&desk).expect_exit(78);
    let failed = expect(&outcome, "key", "failed", "`BINANCE_API_KEY`");
    assert_eq!(failed["code"], 78);
    for name in ["account", "balance", "symbol", "book"] {
        expect(&outcome, name, "warning", "not looked at, because there is no key");
    }
    for name in ["config", "disk", "state", "clock", "endpoint", "candles"] {
        assert_eq!(line(&outcome, name)["verdict"], "ok", "{}", outcome.transcript());
    }
    assert!(!desk.state().join("live").exists());
    assert!(desk.server.requests().iter().all(|request| !request.target.contains("signature")));
}

#[test]
fn live_where_orders_go_nowhere_is_69_and_nothing_signed_leaves() {
    let desk = after_one_run();
    desk.server.forget();
    let run = with_key(live(&desk)).env("BINANCE_BASE_URL", "http://127.0.0.1:1");
    let outcome = run.expect_exit(69);
    let endpoints: Vec<Value> =
        lines(&outcome).into_iter().filter(|line| line["name"] == "endpoint").collect();
    let verdicts: Vec<&str> = endpoints.iter().map(|line| text_of(line, "verdict")).collect();
    assert_eq!(verdicts, ["ok", "failed"]);
    assert!(text_of(&endpoints[1], "remedy").contains("`BINANCE_BASE_URL`"));
    assert_eq!(line(&outcome, "candles")["verdict"], "ok");
    for name in ["clock", "key", "account", "balance", "symbol", "book"] {
        expect(&outcome, name, "warning", "not looked at, because the exchange was not reached");
    }
    assert!(desk.server.requests().iter().all(|request| !request.target.contains("signature")));
}

#[test]
fn live_with_a_key_that_is_refused_is_77() {
    let desk = after_one_run();
    let refused = r#"{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}"#;
    desk.server.fault("signature=", Fault::json(401, refused));
    let outcome = with_key(live(&desk)).expect_exit(77);
    assert_eq!(expect(&outcome, "key", "failed", "-2015")["code"], 77);
    assert_eq!(expect(&outcome, "account", "failed", "-2015")["code"], 77);
    for name in ["balance", "symbol", "book"] {
        expect(&outcome, name, "warning", "not looked at, because the account was not shown");
    }
    assert!(!outcome.said().contains("signature"));
}

// --- live, upon the simulated exchange ------------------------------------------------------------------------

#[test]
fn live_all_is_well_before_the_first_run_and_no_order_leaves() {
    let live = Live::new();
    let outcome = live.command(CHECK).expect_exit(0);
    for name in ["key", "account", "balance", "symbol", "book", "clock", "endpoint", "candles"] {
        assert_ne!(line(&outcome, name)["verdict"], "failed", "{}", outcome.transcript());
    }
    assert_eq!(live.with(|world| world.posts()), 0);
    assert!(!live.state().exists());
}

#[test]
fn a_key_that_may_withdraw_or_transfer_or_not_trade_is_77() {
    for (right, is_given) in [
        ("enableWithdrawals", true),
        ("enableInternalTransfer", true),
        ("permitsUniversalTransfer", true),
        ("enableSpotAndMarginTrading", false),
    ] {
        let live = Live::new();
        live.with(|world| world.restrictions = Some(rights(right, is_given)));
        let outcome = live.command(CHECK).expect_exit(77);
        assert_eq!(expect(&outcome, "key", "failed", "the key may")["code"], 77, "{right}");
        // The rest is looked at all the same.
        assert_eq!(line(&outcome, "book")["verdict"], "ok");
    }
    let live = Live::new();
    live.with(|world| world.restrictions = Some(rights("ipRestrict", true)));
    assert_eq!(line(&live.command(CHECK).expect_exit(0), "key")["verdict"], "ok");
    live.with(|world| world.restrictions = Some(rights("ipRestrict", false)));
    expect(&live.command(CHECK).expect_exit(0), "key", "warning", "from any address");
    live.with(|world| world.restrictions = None);
    expect(&live.command(CHECK).expect_exit(0), "key", "warning", "does not tell");
}

#[test]
fn an_account_that_may_not_trade_is_77_and_too_little_money_76() {
    let live = Live::new();
    live.with(|world| world.can_trade = false);
    expect(&live.command(CHECK).expect_exit(77), "account", "failed", "may not trade");
    live.with(|world| world.can_trade = true);
    let outcome = live.command(CHECK).env("TRADE_AMOUNT_USDT", "99999999").expect_exit(76);
    expect(&outcome, "balance", "failed", "an entry spends 99999999");
}

#[test]
fn while_something_is_held_its_price_is_not_asked_for_again() {
    let live = Live::exit_ahead();
    let before = everything(&live.state());
    let run = live.command(CHECK).env("TRADE_AMOUNT_USDT", "99999999");
    let balance = line(&run.expect_one_of(&[0, 76]), "balance");
    assert_eq!(balance["verdict"], "ok", "{balance}");
    let outcome = live.command(CHECK).expect_exit(0);
    assert_ne!(line(&outcome, "book")["verdict"], "failed", "{}", outcome.transcript());
    assert_eq!(everything(&live.state()), before);
    assert_eq!(live.with(|world| world.posts()), 1);
}

#[test]
fn a_disagreement_is_76_and_halts_nothing_yet() {
    let live = Live::exit_ahead();
    // Somebody sold by hand what the book holds, and what was there before.
    live.with(|world| world.deposit("ETH", &format!("-{}", world.free("ETH"))));
    let before = everything(&live.state());
    let outcome = live.command(CHECK).expect_exit(76);
    assert_eq!(expect(&outcome, "book", "failed", "are missing")["code"], 76);
    assert_eq!(everything(&live.state()), before);
    assert_eq!(live.status()["halted"], json!(null));
}

#[test]
fn a_book_of_another_account_is_65_and_orders_without_a_book_are_76() {
    let live = Live::exit_ahead();
    live.with(|world| world.uid += 1);
    let outcome = live.command(CHECK).expect_exit(65);
    expect(&outcome, "account", "failed", "belongs to the account");
    live.with(|world| world.uid -= 1);
    fs::remove_dir_all(live.state()).expect("it is ours");
    let outcome = live.command(CHECK).expect_exit(76);
    expect(&outcome, "book", "failed", "orders of this instance");
}

// --- words --------------------------------------------------------------------------------------------------

const CHECK: &[&str] = &["check", "--json"];

/// A key that may trade and nothing else, but for this right.
fn rights(name: &str, is_given: bool) -> Value {
    let mut rights = json!({
        "ipRestrict": true, "createTime": 1_698_645_219_000_i64, "enableReading": true,
        "enableWithdrawals": false, "enableInternalTransfer": false, "enableMargin": false,
        "enableFutures": false, "permitsUniversalTransfer": false,
        "enableVanillaOptions": false, "enableSpotAndMarginTrading": true,
    });
    rights[name] = json!(is_given);
    rights
}

/// A desk whose exchange keeps the machine's time, with a book of one decision.
fn after_one_run() -> Desk {
    let desk = Desk::daily(spreads("20 20 20 20"), 0);
    let _ = desk.run().expect_exit(0);
    desk
}

fn check(desk: &Desk) -> Run {
    desk.command(&["check", "--json"])
}

/// With somebody to tell, and a health check.
fn told(desk: &Desk) -> Run {
    check(desk)
        .env("TELEGRAM_BOT_TOKEN", "123456789:AAF1vGWJxfSeofSAs0K5PAdefghijkl")
        .env("TELEGRAM_CHAT_ID", "42")
        .env("TELEGRAM_API_URL", desk.server.url())
        .env("HEALTHCHECK_URL", format!("{}/ping/a-uuid", desk.server.url()))
}

fn live(desk: &Desk) -> Run {
    check(desk).env("DRY_RUN", "false").env("BINANCE_BASE_URL", desk.server.url())
}

fn with_key(run: Run) -> Run {
    run.env("BINANCE_API_KEY", "vmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14y7Ju91duEh8A")
        .env(
            "BINANCE_API_SECRET",
            "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAbvqqM6A7H5fATj0j",
        )
}

#[track_caller]
fn lines(outcome: &Outcome) -> Vec<Value> {
    let json = outcome.json();
    json["checks"].as_array().unwrap_or_else(|| panic!("{}", outcome.transcript())).clone()
}

/// The first line of this name.
#[track_caller]
fn line(outcome: &Outcome, name: &str) -> Value {
    let found = lines(outcome).into_iter().find(|line| line["name"] == name);
    found.unwrap_or_else(|| panic!("no line `{name}`\n{}", outcome.transcript()))
}

/// That a line of this name has this verdict and these words.
#[track_caller]
fn expect(outcome: &Outcome, name: &str, verdict: &str, words: &str) -> Value {
    let fits = |line: &Value| {
        line["name"] == name && line["verdict"] == verdict && text_of(line, "text").contains(words)
    };
    let found = lines(outcome).into_iter().find(fits);
    let found =
        found.unwrap_or_else(|| panic!("{name} {verdict} `{words}`\n{}", outcome.transcript()));
    assert!(!text_of(&found, "remedy").is_empty(), "{found}");
    found
}

#[track_caller]
fn text_of<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_else(|| panic!("`{field}` of {value}"))
}

/// Every path of a folder with its bytes.
fn everything(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    walk(folder)
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap_or_default()))
        .collect()
}
