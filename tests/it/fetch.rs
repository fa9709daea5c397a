//! `candles`: what is in the folder is what the exchange has, candle by candle, whatever happens on the way; nothing is
//! fetched twice, and nothing is trusted that need not be.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use ouroboros::exchange::dump;
use ouroboros::trading::time::Interval;
use rust_decimal::Decimal;
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::exchange::{
    Asked, Candle, Dumps, Exchange, Execute, Fault, On, Recording, Reply, Rule, Setup, zip,
};
use crate::support::clock::{HOUR, instant};
use crate::support::desk::home;
use crate::support::folder::{copy_folder, walk};
use crate::support::run::{Outcome, Run};
use crate::support::trace::{parse, tracing_works};

// --- what comes of it ----------------------------------------------------------------------------

#[test]
fn the_folder_has_what_the_exchange_has_candle_by_candle() {
    let market = Market::new();
    let told = market.fetch().expect_exit(0).json();
    let names = [
        "BTCUSDT-1h-2024-12.zip",
        "BTCUSDT-1h-2024-12.zip.CHECKSUM",
        "BTCUSDT-1h-2025-01.zip",
        "BTCUSDT-1h-2025-01.zip.CHECKSUM",
        "BTCUSDT-1h-2025-02.csv",
    ];
    let names = names.map(str::to_owned);
    let both = names.iter().cloned().chain(names.iter().map(|it| it.replace("BTC", "ETH")));
    assert_eq!(market.files().into_keys().collect::<Vec<_>>(), both.collect::<Vec<_>>());
    market.expect_all("2024-12-01T00:00:00Z");
    // December, January, nine days and nine hours: the tenth hour ended half an hour ago.
    let expected = 24 * (31 + 31 + 9) + 10;
    for (at, code) in [(0, "BTCUSDT"), (1, "ETHUSDT")] {
        let said = &told["symbols"][at];
        let bytes = said["bytes_fetched"].as_u64().expect("a number");
        assert!((10_000..1_000_000).contains(&bytes), "{bytes}");
        let expected = json!({
            "symbol": code, "from": "2024-12-01T00:00:00Z", "to": "2025-02-10T09:00:00Z", "candles": expected,
            "missing": 0, "off_grid": 0, "gaps": [], "files": { "dumps": 2, "api": 1, "kept": 0 },
            "bytes_fetched": bytes,
        });
        assert_eq!(*said, expected);
    }
    assert_eq!(told["folder"], "./candles");
    assert_eq!(told["interval"], "1h");
    // What it says is to be typed next.
    assert_eq!(told["next"], "ouroboros backtest --candles ./candles");
    let next = market.run(&["backtest", "--candles", "./candles"]).expect_exit(0);
    let _ = next.expect_json(&[
        ("/candles", json!(expected)),
        ("/missing", json!(0)),
        ("/from", json!("2024-12-01T00:00:00Z")),
        ("/to", json!("2025-02-10T09:00:00Z")),
    ]);
}

#[test]
fn it_says_so_in_sentences() {
    let market = Market::new();
    market.with_gaps(&["2024-12-03T05:00:00Z", "2024-12-03T06:00:00Z", "2025-02-01T00:00:00Z"]);
    let outcome = market.bare(&["candles", "--from", "2024-12-01"]).expect_exit(0);
    let said = outcome.stdout.replace(|c: char| c.is_ascii_digit(), "0");
    let line = |text: &str| {
        let text = text.replace(|c: char| c.is_ascii_digit(), "0");
        assert!(said.contains(&text), "`{text}`\n{}", outcome.transcript());
    };
    line("candles of 0h in ./candles\n");
    line("BTC/USDT   0000 candles, 2024-12-01T00:00:00Z to 2025-02-10T09:00:00Z\n");
    line("2 files from the dumps, 1 from the exchange, 0 were there; ");
    assert!(outcome.stdout.contains(" 3 are missing, in 2 gaps:\n"), "{}", outcome.transcript());
    let gap = "     2: 2024-12-03T05:00:00Z to 2024-12-03T06:00:00Z\n";
    assert!(outcome.stdout.contains(gap), "{}", outcome.transcript());
    assert!(outcome.stdout.ends_with("next: ouroboros backtest --candles ./candles\n"));
    assert_eq!(outcome.stderr, "", "no bar where there is no terminal");
}

#[test]
fn the_next_command_has_what_differs_from_the_configuration() {
    let market = Market::new();
    let next = |words: &[&str]| {
        let told = market.run(words).without("TIMEFRAME").expect_exit(0).json();
        told["next"].as_str().expect("a command").to_owned()
    };
    let one =
        ["candles", "BTCUSDT", "--interval", "1h", "--from", "2025-01-15", "--candles", "a b"];
    assert_eq!(
        next(&one),
        "ouroboros candles ETH/USDT --interval 1h --from 2025-01-15 --candles 'a b'"
    );
    let other = one.map(|word| if word == "BTCUSDT" { "ETH/USDT" } else { word });
    let expected = "TIMEFRAME=1h ouroboros backtest --candles 'a b' --from 2025-01-15";
    assert_eq!(next(&other), expected);
    let words = [
        "candles",
        "BNB/USDT",
        "BTC/USDT",
        "BNBUSDT",
        "--interval=1h",
        "--from=2025-01-01",
        "--to=2025-02-03",
        "--candles=c",
    ];
    let expected = "TIMEFRAME=1h SYMBOL_BASE=BNB/USDT SYMBOL_QUOTE=BTC/USDT ouroboros backtest \
                    --candles c --to 2025-02-03";
    assert_eq!(next(&words), expected);
}

#[test]
fn gaps_are_named_and_those_of_the_exchange_s_own_answers_are_asked_for_again() {
    let market = Market::new();
    market.with_gaps(&[
        "2024-12-03T05:00:00Z",
        "2024-12-03T06:00:00Z",
        "2025-01-31T23:00:00Z",
        "2025-02-01T00:00:00Z",
        "2025-02-10T09:00:00Z",
    ]);
    let gaps = json!([
        { "from": "2024-12-03T05:00:00Z", "to": "2024-12-03T06:00:00Z", "candles": 2 },
        { "from": "2025-01-31T23:00:00Z", "to": "2025-02-01T00:00:00Z", "candles": 2 },
        { "from": "2025-02-10T09:00:00Z", "to": "2025-02-10T09:00:00Z", "candles": 1 },
    ]);
    let said = market.fetch().expect_exit(0).json();
    assert_eq!(said["symbols"][0]["gaps"], gaps);
    assert_eq!(said["symbols"][0]["missing"], 5);
    market.expect_all("2024-12-01T00:00:00Z");
    // The exchange finds two of them; the archive of January is what was published.
    market.with_gaps(&["2024-12-03T05:00:00Z", "2024-12-03T06:00:00Z"]);
    let said = market.fetch().expect_exit(0).json();
    let gaps = json!([
        { "from": "2024-12-03T05:00:00Z", "to": "2024-12-03T06:00:00Z", "candles": 2 },
        { "from": "2025-01-31T23:00:00Z", "to": "2025-01-31T23:00:00Z", "candles": 1 },
    ]);
    assert_eq!(said["symbols"][0]["gaps"], gaps);
    assert_eq!(said["symbols"][0]["files"], json!({ "dumps": 0, "api": 1, "kept": 2 }));
}

#[test]
fn nothing_but_the_folder_is_written_and_no_key_is_looked_at() {
    let market = Market::new();
    let run = market
        .fetch()
        .env("DRY_RUN", "false")
        .env("BINANCE_BASE_URL", market.exchange.url())
        .env("BINANCE_API_KEY", market.exchange.key())
        .env("BINANCE_PRIVATE_KEY_FILE", "/nowhere/at/all.pem")
        .env("STATE_DIR", "state")
        .env("TELEGRAM_API_URL", market.exchange.url())
        .env("TELEGRAM_BOT_TOKEN", "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw9")
        .env("TELEGRAM_CHAT_ID", "42")
        .env("HEALTHCHECK_URL", format!("{}/ping/x", market.exchange.url()));
    let _ = run.expect_exit(0);
    let strange = |path: &PathBuf| !path.starts_with(market.folder());
    let strange: Vec<PathBuf> = walk(&market.cwd()).into_iter().filter(strange).collect();
    assert!(strange.is_empty(), "{strange:?}");
    market.exchange.with(|world| {
        assert!(world.pings.is_empty() && world.messages.is_empty());
        for logged in &world.log {
            assert_eq!(logged.asked.header("x-mbx-apikey"), None, "{:?}", logged.asked);
            assert_eq!((logged.asked.method.as_str(), logged.asked.body.as_str()), ("GET", ""));
        }
    });
}

#[test]
fn a_listing_later_than_the_beginning_is_said_and_nothing_before_it_asked_for() {
    let market = Market::new();
    let outcome = market.run(&["candles", "--from", "2019-07-01"]).expect_exit(0);
    assert_eq!(outcome.json()["symbols"][0]["from"], "2024-11-15T00:00:00Z");
    assert_eq!(outcome.json()["symbols"][0]["missing"], 0);
    market.expect_all("2024-11-15T00:00:00Z");
    let asked = market.asked();
    assert!(!asked.iter().any(|asked| asked.contains("2024-10") || asked.contains("2019")));
    let outcome = market.bare(&["candles", "--from", "2019-07-01"]).expect_exit(0);
    outcome.expect_said(&["the exchange has none before 2024-11-15T00:00:00Z"]);
    let outcome = market.bare(&["candles", "--from", "2024-11-15"]).expect_exit(0);
    assert!(!outcome.said().contains("none before"), "{}", outcome.transcript());
}

#[test]
fn a_candle_is_taken_a_minute_after_its_end() {
    let market = Market::new();
    for (now, newest) in [
        ("2025-02-10T10:00:45Z", "2025-02-10T08:00:00Z"),
        ("2025-02-10T10:01:00Z", "2025-02-10T09:00:00Z"),
        ("2025-02-10T10:59:45Z", "2025-02-10T09:00:00Z"),
    ] {
        market.set_now(now);
        let told = market.fetch().expect_exit(0).json();
        assert_eq!(told["symbols"][0]["to"], newest, "{now}");
        assert_eq!(told["symbols"][0]["missing"], 0, "{now}");
    }
}

#[test]
fn another_market_s_candles_are_not_mixed_with_the_dumps_of_binance() {
    let market = Market::new();
    let told = market.fetch().without("BINANCE_DUMPS_URL").expect_exit(0).json();
    assert_eq!(told["symbols"][0]["files"], json!({ "dumps": 0, "api": 3, "kept": 0 }));
    assert!(market.files().keys().all(|name| name.contains(".csv")), "{:?}", market.files());
    assert!(!market.asked().iter().any(|asked| asked.starts_with("/data/")));
    market.expect_all("2024-12-01T00:00:00Z");
    // A month that is over and complete is not asked for again.
    market.forget();
    let told = market.fetch().without("BINANCE_DUMPS_URL").expect_exit(0).json();
    assert_eq!(told["symbols"][0]["files"], json!({ "dumps": 0, "api": 0, "kept": 3 }));
    let only = ["/api/v3/time", "limit=1&", "limit=1"];
    assert!(market.asked().iter().all(|asked| only.iter().any(|it| asked.ends_with(it))));
}

#[test]
fn a_month_of_several_pages_is_whole() {
    let market = Market::of(QUARTER);
    market.set_now("2025-02-01T00:00:30Z");
    let words = ["candles", "BTC/USDT", "--interval", "15m", "--from", "2025-01-01"];
    let run = || market.run(&words).without("BINANCE_DUMPS_URL");
    // The last quarter of an hour of the month is not final yet.
    let told = run().expect_exit(0).json()["symbols"][0].clone();
    assert_eq!((&told["candles"], &told["missing"]), (&json!(4 * 744 - 1), &json!(0)));
    let pages = |asked: &Vec<String>| asked.iter().filter(|it| it.ends_with("limit=1000")).count();
    assert_eq!(pages(&market.asked()), 3);
    market.set_now("2025-02-01T00:01:00Z");
    market.forget();
    let told = run().expect_exit(0).json()["symbols"][0].clone();
    assert_eq!((&told["candles"], &told["missing"]), (&json!(4 * 744), &json!(0)));
    assert_eq!(pages(&market.asked()), 1);
    let times: Vec<i64> =
        read(&market.folder(), "BTCUSDT", "15m").iter().map(|row| row.0).collect();
    let begin = millis("2025-01-01T00:00:00Z");
    assert_eq!(times, (0..4 * 744).map(|n| begin + n * QUARTER).collect::<Vec<_>>());
}

// --- going on ------------------------------------------------------------------------------------

#[test]
fn a_second_run_fetches_the_tail_and_nothing_else() {
    let market = Market::new();
    let _ = market.fetch().expect_exit(0);
    let before = market.files();
    market.forget();
    market.set_now("2025-02-10T13:30:00Z");
    let told = market.fetch().expect_exit(0).json();
    assert_eq!(told["symbols"][1]["files"], json!({ "dumps": 0, "api": 1, "kept": 2 }));
    let ten = millis("2025-02-10T10:00:00Z");
    let twelve = millis("2025-02-10T12:00:00Z");
    let first = format!("interval=1h&startTime={}&limit=1", millis("2024-12-01T00:00:00Z"));
    let tail = format!("interval=1h&startTime={ten}&endTime={twelve}&limit=1000");
    let klines = |code: &str, rest: &str| format!("/api/v3/klines?symbol={code}&{rest}");
    assert_eq!(
        market.asked(),
        [
            "/api/v3/time".to_owned(),
            klines("BTCUSDT", &first),
            klines("ETHUSDT", &first),
            klines("BTCUSDT", &tail),
            klines("ETHUSDT", &tail),
        ]
    );
    market.expect_all("2024-12-01T00:00:00Z");
    let after = market.files();
    for (name, bytes) in &before {
        let is_running = name.ends_with("2025-02.csv");
        assert_eq!(after[name] == *bytes, !is_running, "{name}");
        assert!(after[name].starts_with(bytes), "{name} was continued");
    }
}

#[test]
fn an_archive_takes_the_place_of_what_the_exchange_answered_once_it_is_published() {
    let market = Market::new();
    // Answer and archive differ, as they do now and then: both in one folder would not be trusted.
    market.dumps(|dumps| {
        dumps.delay_ms = 12 * 24 * HOUR;
        dumps.rows = Some(Arc::new(|_, rows| *rows = rows.replace("1005.", "1006.")));
    });
    let told = market.fetch().expect_exit(0).json();
    assert_eq!(told["symbols"][0]["files"], json!({ "dumps": 1, "api": 2, "kept": 0 }));
    assert!(market.files().contains_key("BTCUSDT-1h-2025-01.csv"));
    // Asked for again, not published yet.
    let told = market.fetch().expect_exit(0).json();
    assert_eq!(told["symbols"][0]["files"], json!({ "dumps": 0, "api": 0, "kept": 3 }));
    market.set_now("2025-03-01T00:30:00Z");
    let told = market.fetch().expect_exit(0).json();
    assert_eq!(told["symbols"][0]["files"], json!({ "dumps": 1, "api": 1, "kept": 1 }));
    assert_eq!(told["symbols"][0]["missing"], 0);
    let names: BTreeSet<String> = market.files().into_keys().collect();
    assert!(names.contains("BTCUSDT-1h-2025-01.zip") && names.contains("BTCUSDT-1h-2025-02.csv"));
    assert!(!names.contains("BTCUSDT-1h-2025-01.csv"), "{names:?}");
    let _ = market.run(&["backtest", "--candles", "./candles"]).expect_exit(0);
}

#[test]
fn a_download_of_one_s_own_is_kept_and_gets_its_checksum() {
    let market = Market::new();
    let _ = market.fetch().expect_exit(0);
    let (name, sum) = ("BTCUSDT-1h-2025-01.zip", "BTCUSDT-1h-2025-01.zip.CHECKSUM");
    let checksum = market.files()[sum].clone();
    fs::remove_file(market.folder().join(sum)).expect("it is there");
    market.forget();
    let told = market.fetch().expect_exit(0).json();
    assert_eq!(told["symbols"][0]["files"]["kept"], 3);
    assert_eq!(market.files()[sum], checksum);
    let asked = market.asked();
    assert!(!asked.iter().any(|asked| asked.ends_with(name)), "{asked:?}");
    // Another one is not: what it is can't be known.
    fs::remove_file(market.folder().join(sum)).expect("it is there");
    fs::write(market.folder().join(name), zip("x.csv", b"", true)).expect("a disk with room");
    market.refused(65, &[name, "has the SHA-256", "its checksum file says"]);
}

#[test]
fn killed_at_any_question_it_goes_on() {
    let whole = Market::new();
    let _ = whole.fetch().expect_exit(0);
    let (files, questions) = (whole.files(), whole.asked().len());
    assert_eq!(questions, 13, "time, and for each symbol its first, four of dumps, and one page");
    let market = Market::new();
    for question in 0..questions {
        let _ = fs::remove_dir_all(market.folder());
        market.forget();
        let fault = Fault { execute: Execute::Now, reply: Reply::Hang };
        market.fault(Rule { on: On::Any, skip: question, count: usize::MAX, fault });
        let running = market.fetch().start();
        while market.asked().len() <= question {
            thread::sleep(Duration::from_millis(2));
        }
        running.signal(Signal::KILL);
        let _ = running.wait();
        market.expect_a_part_of(&files);
        market.exchange.with(|world| world.rules.clear());
        let _ = market.fetch().expect_exit(0);
        assert_eq!(market.files(), files, "killed at question {question}");
    }
}

#[test]
fn killed_before_any_change_of_the_folder_it_goes_on() {
    if !tracing_works() {
        return;
    }
    let market = Market::new();
    market.dumps(|dumps| dumps.delay_ms = 12 * 24 * HOUR);
    let _ = market.fetch_of("BTCUSDT").expect_exit(0);
    // Now a month is published, another one has begun, and the tail has grown.
    market.set_now("2025-03-01T00:30:00Z");
    let (folder, begun) = (market.folder(), market.home.path().join("begun"));
    copy_folder(&folder, &begun);
    let before = market.files();
    let log = market.home.path().join("strace.log");
    // Only calls that touch these count, whichever thread makes them.
    let mut paths = format!("-P '{}'", folder.display());
    for month in ["2024-12", "2025-01", "2025-02"] {
        for end in ["csv", "csv.new", "zip", "zip.new", "zip.CHECKSUM", "zip.CHECKSUM.new"] {
            let path = folder.join(format!("BTCUSDT-1h-{month}.{end}"));
            paths = format!("{paths} -P '{}'", path.display());
        }
    }
    let traced = |options: &str| {
        let (log, calls) = (log.display(), CALLS);
        let strace = format!("strace -f -y -qq -o '{log}' -e trace={calls} {paths} {options}");
        let run = market.fetch_of("BTCUSDT").args(["--candles".as_ref(), folder.as_os_str()]);
        run.unchecked().shell(&format!("exec {strace} \"$0\" \"$@\""))
    };
    let _ = traced("").expect_exit(0);
    let files = market.files();
    let calls = parse(&log, &folder, true);
    let named = |name: &str| calls.iter().filter(|call| call.name.contains(name)).count();
    // An archive, its checksum and the new month are written; what the archive stands for is removed.
    assert_eq!((named("rename"), named("write")), (3, 3), "{calls:#?}");
    assert!(named("unlink") >= 1 && named("fsync") == 6, "{calls:#?}");
    for call in calls {
        fs::remove_dir_all(&folder).expect("it is there");
        copy_folder(&begun, &folder);
        let _ = traced(&call.kill()).start().wait();
        for (name, bytes) in market.files() {
            let is_whole = [&before, &files].iter().any(|it| it.get(&name) == Some(&bytes));
            assert!(is_whole || is_left(&name), "{name} is half, killed before {call}");
        }
        let _ = market.fetch_of("BTCUSDT").expect_exit(0);
        assert_eq!(market.files(), files, "killed before {call}");
    }
}

/// What changes a folder.
const CALLS: &str =
    "?openat,?write,?fsync,?fdatasync,?rename,?renameat,?renameat2,?unlink,?unlinkat,?mkdir,?flock";

#[test]
fn a_signal_ends_it_with_75_and_it_goes_on() {
    let market = Market::new();
    let fault = Fault { execute: Execute::Now, reply: Reply::Hang };
    market.fault(Rule { on: On::Dumps, skip: 3, count: usize::MAX, fault });
    for signal in [Signal::TERM, Signal::INT] {
        let running = market.fetch().start();
        market.forget();
        while !market.hangs() {
            thread::sleep(Duration::from_millis(2));
        }
        running.signal(signal);
        let outcome = running.wait();
        assert_eq!(outcome.code, 75, "{}", outcome.transcript());
        outcome.expect_said(&["told to stop by a signal", "the same command goes on from there"]);
    }
    assert!(market.files().contains_key("BTCUSDT-1h-2024-12.zip"));
    market.exchange.with(|world| world.rules.clear());
    let _ = market.fetch().expect_exit(0);
    market.expect_all("2024-12-01T00:00:00Z");
}

#[test]
fn one_fetch_at_a_time_writes_to_a_folder() {
    let market = Market::new();
    fs::create_dir(market.folder()).expect("a new folder");
    let other = fs::File::open(market.folder()).expect("a folder");
    fs2::FileExt::try_lock_exclusive(&other).expect("nobody else's");
    market.refused(75, &["another `ouroboros candles` is at work in `./candles`"]);
    drop(other);
    let _ = market.fetch().expect_exit(0);
}

// --- what can't be trusted -----------------------------------------------------------------------

#[test]
fn an_archive_that_does_not_fit_its_checksum_is_asked_for_once_more_and_refused() {
    let market = Market::new();
    market.dumps(|dumps| dumps.lies = vec!["BTCUSDT-1h-2025-01.zip".to_owned()]);
    let words = ["BTCUSDT-1h-2025-01.zip", "has the SHA-256", "its checksum file says"];
    market.refused(65, &words);
    let is_it = |asked: &&String| asked.ends_with("BTCUSDT-1h-2025-01.zip");
    assert_eq!(market.asked().iter().filter(is_it).count(), 2);
    // What came before it is kept.
    let names: Vec<String> = market.files().into_keys().collect();
    assert_eq!(names, ["BTCUSDT-1h-2024-12.zip", "BTCUSDT-1h-2024-12.zip.CHECKSUM"]);
    // A file that is replaced at that very moment is not refused.
    market.dumps(|dumps| dumps.lies.clear());
    let broken: Reply = Reply::Status(200, format!("{}  BTCUSDT-1h-2025-01.zip\n", "0".repeat(64)));
    let fault = Fault { execute: Execute::Now, reply: broken };
    let on = On::Path("GET /data/spot/monthly/klines/BTCUSDT/1h/BTCUSDT-1h-2025-01.zip.CHECKSUM");
    market.fault(Rule { on, skip: 0, count: 1, fault });
    let _ = market.fetch().expect_exit(0);
    market.expect_all("2024-12-01T00:00:00Z");
}

#[test]
fn an_archive_that_is_broken_is_refused_with_file_line_and_reason() {
    type Case = (fn(&mut Dumps), &'static [&'static str]);
    let cases: [Case; 7] = [
        (
            |it| it.archive = Some(Arc::new(|_, archive| archive.truncate(archive.len() / 2))),
            &["is no archive with one file in it"],
        ),
        (
            |it| it.archive = Some(Arc::new(|_, archive| archive[100] ^= 1)),
            &["is no archive with one file in it"],
        ),
        (
            |it| it.rows = Some(Arc::new(|_, rows| *rows = rows.replacen(".00000000", ".x", 1))),
            &["line 1: the open price is"],
        ),
        (
            |it| it.rows = Some(Arc::new(|_, rows| *rows = rows.replacen(",0\n", "\n", 1))),
            &["line 1: has 11 columns, 12 are expected"],
        ),
        (
            |it| {
                it.rows = Some(Arc::new(|_, rows| {
                    rows.push_str("1735689600000000,1,1,1,1,1,1735693199999999,1,1,1,1,0\n");
                }));
            },
            &["line 745: the candle 2025-01-01T00:00:00Z is not of 2024-12"],
        ),
        (
            |it| {
                it.rows = Some(Arc::new(|_, rows| {
                    *rows = rows.replace("00000,1", "60000,1");
                }));
            },
            &["744 of 744 candles begin where no candle of 1h may begin"],
        ),
        (|it| it.rows = Some(Arc::new(|_, rows| rows.clear())), &["0 of 0 candles"]),
    ];
    for (change, words) in cases {
        let market = Market::new();
        market.dumps(change);
        market.refused(65, words);
        market.refused(65, &["candles/BTCUSDT-1h-2024-12.zip`"]);
        assert_eq!(market.files(), BTreeMap::new());
        market.dumps(|dumps| *dumps = Dumps::default());
        let _ = market.fetch().expect_exit(0);
    }
}

/// An outage of February 2018 left candles that begin at 28 minutes past the hour: they are real.
#[test]
fn a_candle_beside_the_grid_is_kept_and_named() {
    let market = Market::new();
    let off = millis("2024-12-03T05:00:00Z");
    market.dumps(|dumps| {
        dumps.rows = Some(Arc::new(move |_, rows| {
            *rows = rows.replace(&format!("{off},"), &format!("{},", off + 28 * 60_000));
        }));
    });
    let said = market.fetch().expect_exit(0).json()["symbols"][0].clone();
    assert_eq!((&said["off_grid"], &said["missing"]), (&json!(1), &json!(1)));
    let outcome = market.bare(&["candles", "--from", "2024-12-01"]).expect_exit(0);
    outcome.expect_said(&["1 begin where no candle may begin, the first 2024-12-03T05:28:00Z"]);
    let told = market.run(&["backtest", "--candles", "./candles"]).expect_exit(0).json();
    assert_eq!(told["candles"], said["candles"]);
}

#[test]
fn a_file_that_was_damaged_is_refused_and_left_alone() {
    let market = Market::new();
    let _ = market.fetch().expect_exit(0);
    let whole = market.files();
    let damage = |name: &str, change: &dyn Fn(&mut Vec<u8>), words: &[&str]| {
        let mut bytes = whole[name].clone();
        change(&mut bytes);
        fs::write(market.folder().join(name), &bytes).expect("a disk with room");
        market.forget();
        market.refused(65, &[words, &[name]].concat());
        assert_eq!(market.files()[name], bytes);
        let asked = market.asked();
        assert!(!asked.iter().any(|asked| asked.contains("/data/")), "{asked:?}");
        fs::write(market.folder().join(name), &whole[name]).expect("a disk with room");
    };
    let zip = "BTCUSDT-1h-2025-01.zip";
    damage(zip, &|bytes| bytes[2000] ^= 1, &["has the SHA-256", "its checksum file says"]);
    damage(zip, &|bytes| bytes.truncate(1000), &["has the SHA-256"]);
    let checksum = "ETHUSDT-1h-2025-01.zip.CHECKSUM";
    damage(checksum, &|bytes| bytes.truncate(40), &["it does not say `SHA-256"]);
    let csv = "BTCUSDT-1h-2025-02.csv";
    damage(csv, &|bytes| bytes.truncate(bytes.len() - 20), &["line 226: "]);
    damage(csv, &|bytes| bytes.copy_within(0..20, 1), &["line 1: "]);
    let foreign = b"1735689600000000,1,1,1,1,1,1735693199999999,1,1,1,1,0\n";
    let words = ["line 1: the candle 2025-01-01T00:00:00Z is not of 2025-02"];
    damage(csv, &|bytes| drop(bytes.splice(0..0, foreign.iter().copied())), &words);
    let _ = market.fetch().expect_exit(0);
    assert_eq!(market.files(), whole);
}

#[test]
fn answers_that_are_no_candles_are_refused() {
    let odd = |change: fn(&mut Value)| Reply::Alter(Arc::new(change));
    for (reply, code, words) in [
        (odd(|it| it[3][4] = json!("NaN")), 65, "candle 4 of the answer has `NaN` where a number"),
        (odd(|it| it[3][4] = json!("1,5")), 65, "candle 4 of the answer has `1,5` where a number"),
        (odd(|it| it[3] = json!([1, 2])), 65, "candle 4 of the answer has 2 columns"),
        (odd(|it| it[3] = it[2].clone()), 65, "candle 4 of the answer is out of order"),
        (odd(|it| it[0][0] = json!(1_700_000_000_000_i64)), 65, "candle 1 of the answer is out"),
        (odd(|it| *it = json!({})), 69, "the answer is no list of candles"),
        (Reply::Empty, 69, "the answer is no list of candles"),
        (Reply::Html(200), 69, "the answer is no list of candles"),
        (Reply::Html(403), 69, "HTTP 403"),
        (Reply::Redirect(302), 69, "HTTP 302"),
        (Reply::Code(400, -1100, "Illegal characters"), 69, "code -1100, Illegal characters"),
    ] {
        let market = Market::new();
        let fault = Fault { execute: Execute::Now, reply: reply.clone() };
        // The first questions are for the first candle of each symbol.
        market.fault(Rule { on: On::Path("GET /api/v3/klines"), skip: 2, count: 9, fault });
        let outcome = market.refused(code, &[words]);
        outcome.expect_said(&["the folder keeps what it has, and the same command goes on"]);
        assert_eq!(market.files().len(), 4, "{reply:?}: the archives are kept");
    }
}

// --- the network ---------------------------------------------------------------------------------

#[test]
fn a_question_that_fails_is_asked_again_some_times() {
    let market = Market::new();
    for (on, reply) in [
        (On::Dumps, Reply::Cut),
        (On::Dumps, Reply::Status(503, "SlowDown".to_owned())),
        (On::Path("GET /api/v3/klines"), Reply::Close),
        (On::Path("GET /api/v3/time"), Reply::Status(500, String::new())),
    ] {
        let fault = Fault { execute: Execute::Now, reply };
        market.fault(Rule { on, skip: 0, count: 1, fault });
    }
    let _ = market.fetch().expect_exit(0);
    market.expect_all("2024-12-01T00:00:00Z");
}

#[test]
fn a_network_that_stays_broken_is_69_and_what_was_fetched_is_kept() {
    let market = Market::new();
    let fault = Fault { execute: Execute::Now, reply: Reply::Cut };
    market.fault(Rule { on: On::Dumps, skip: 3, count: usize::MAX, fault });
    let begin = instant();
    let outcome = market.refused(69, &["BTCUSDT-1h-2025-01.zip", "5 times", "broke off"]);
    outcome.expect_said(&["the folder keeps what it has, and the same command goes on"]);
    assert!(begin.elapsed() > Duration::from_secs(7), "it waited in between");
    let names: Vec<String> = market.files().into_keys().collect();
    assert_eq!(names, ["BTCUSDT-1h-2024-12.zip", "BTCUSDT-1h-2024-12.zip.CHECKSUM"]);
    market.exchange.with(|world| world.rules.clear());
    let told = market.fetch().expect_exit(0).json();
    assert_eq!(told["symbols"][0]["files"], json!({ "dumps": 1, "api": 1, "kept": 1 }));
}

#[test]
fn a_wish_for_silence_is_75_at_once() {
    for (on, status) in [(On::Path("GET /api/v3/klines"), 418), (On::Dumps, 429)] {
        let market = Market::new();
        market.fault(Rule {
            on,
            skip: 3,
            count: 9,
            fault: Fault {
                execute: Execute::Now,
                reply: Reply::Silence(status, Some("77"), Some(-1003)),
            },
        });
        let outcome = market.refused(75, &[&format!("HTTP {status}"), "wants no request before"]);
        outcome.expect_json(&[("/error/kind", json!("rate-limited"))]);
        let silenced = market
            .exchange
            .with(|world| world.log.iter().filter(|logged| logged.fault.is_some()).count());
        assert_eq!(silenced, 1, "it is not asked again");
    }
}

/// A trading run may ask from the same address.
#[test]
fn much_of_a_minute_s_weight_is_left_to_others() {
    let market = Market::new();
    market.exchange.with(|world| {
        world.set_now(millis("2025-02-10T10:29:57Z"));
        for _ in 0..50 {
            let path = "/api/v3/exchangeInfo".to_owned();
            let (method, query, body) = ("GET".to_owned(), String::new(), String::new());
            let (response, _) =
                world.answer(Asked { method, path, query, headers: Vec::new(), body });
            assert_eq!(response.status, 200);
        }
        world.log.clear();
    });
    let begin = instant();
    let _ = market.fetch().expect_exit(0);
    let took = begin.elapsed();
    assert!(took > Duration::from_millis(2500), "{took:?}: it waited for the next minute");
    let minutes = market.exchange.with(|world| {
        world.log.iter().map(|logged| logged.at / 60_000).collect::<BTreeSet<i64>>().len()
    });
    assert_eq!(minutes, 2);
}

// --- what can't be meant -------------------------------------------------------------------------

#[test]
fn an_unknown_symbol_is_78_and_nothing_is_made() {
    let market = Market::new();
    let outcome = market.run(&["candles", "BTC/USDT", "DOGE/USDT", "--from", "2025-01-01"]);
    let outcome = outcome.expect_exit(78);
    outcome.expect_said(&["there is no symbol DOGEUSDT"]);
    assert!(!market.folder().exists());
}

#[test]
fn what_can_t_be_meant_is_refused_before_anything_is_made() {
    let market = Market::new();
    for (words, code, said) in [
        (&["candles"][..], 2, "--from"),
        (&["candles", "btcusdt", "--from", "2025-01-01"], 2, "a symbol in capital letters"),
        (&["candles", "BTC/BTC", "--from", "2025-01-01"], 2, "a symbol in capital letters"),
        (&["candles", "--from", "yesterday"], 2, "give a day, such as"),
        (&["candles", "--from", "2025-01-01", "--interval", "1w"], 2, "one of 1m, 3m"),
        (
            &["candles", "--from", "2025-01-02", "--to", "2025-01-01"],
            78,
            "`--to` 2025-01-01 is before",
        ),
        (
            &["candles", "--from", "2030-01-01"],
            78,
            "no closed candle of BTC/USDT at 1h from 2030-01-01",
        ),
        (&["candles", "--from", "2025-02-10T10:00:00Z"], 78, "no closed candle of BTC/USDT"),
        (&["candles", "--from", "2019-01-01", "--to", "2019-12-31"], 78, "no closed candle"),
        (&["candles", "--from", "2025-01-01", "--candles", "demo"], 78, "the built-in sample"),
    ] {
        market.run(words).expect_exit(code).expect_said(&[said]);
        assert!(!market.folder().exists());
    }
}

#[test]
fn a_folder_that_can_t_be_is_74() {
    let market = Market::new();
    fs::write(market.folder(), "not a folder").expect("a disk with room");
    let outcome = market.refused(74, &["failed to make the folder `./candles`"]);
    outcome.expect_said(&["look at disk space and permissions"]);
    fs::remove_file(market.folder()).expect("it is there");
    // What is in the way of one file.
    let path = market.folder().join("BTCUSDT-1h-2025-01.zip/x");
    fs::create_dir_all(path).expect("a new folder");
    market.refused(74, &["failed to read `./candles/BTCUSDT-1h-2025-01.zip`"]);
}

// --- the market ----------------------------------------------------------------------------------

/// An exchange of three symbols that began to trade on 2024-11-15, on the morning of 2025-02-10, and a folder for the
/// program.
struct Market {
    exchange: Exchange,
    home: TempDir,
}

impl Market {
    fn new() -> Self {
        Self::of(HOUR)
    }

    /// With candles of this length.
    fn of(interval: i64) -> Self {
        let exchange = Exchange::start(Setup { interval_ms: interval, ..Setup::default() });
        let market = Self { exchange, home: home() };
        let start = millis("2024-11-15T00:00:00Z");
        market.exchange.with(|world| {
            for (code, base) in [("BTCUSDT", 1000), ("ETHUSDT", 50), ("BNBUSDT", 7)] {
                let close = |hour: i64| Decimal::from(base + hour * 37 % 101);
                let candle = |hour: i64| Candle {
                    open: close(hour),
                    high: close(hour) + Decimal::new(5, 1),
                    low: close(hour) - Decimal::new(125, 2),
                    close: close(hour + 1) / Decimal::from(8),
                };
                let rows = (0..120 * 24 * HOUR / interval).map(candle).collect();
                world.symbol(code).candles = Recording { start, interval, rows };
            }
        });
        market.set_now("2025-02-10T10:30:00Z");
        market
    }

    fn set_now(&self, at: &str) {
        self.exchange.with(|world| world.set_now(millis(at)));
    }

    /// Hours at which BTC was not traded.
    fn with_gaps(&self, at: &[&str]) {
        let gaps = at.iter().map(|at| millis(at)).collect();
        self.exchange.with(|world| world.symbol("BTCUSDT").gaps = gaps);
    }

    fn dumps(&self, change: impl FnOnce(&mut Dumps)) {
        self.exchange.with(|world| change(&mut world.dumps));
    }

    fn fault(&self, rule: Rule) {
        self.exchange.fault(rule);
    }

    fn cwd(&self) -> PathBuf {
        self.home.path().join("cwd")
    }

    fn folder(&self) -> PathBuf {
        self.cwd().join("candles")
    }

    fn bare(&self, words: &[&str]) -> Run {
        Run::bare(&self.cwd())
            .env("BINANCE_MARKET_URL", self.exchange.url())
            .env("BINANCE_DUMPS_URL", self.exchange.url())
            .env("TIMEFRAME", "1h")
            .args(words.iter().copied())
    }

    fn run(&self, words: &[&str]) -> Run {
        self.bare(words).args(["--json"])
    }

    /// Both legs from December on.
    fn fetch(&self) -> Run {
        self.run(&["candles", "--from", "2024-12-01"])
    }

    fn fetch_of(&self, code: &str) -> Run {
        self.run(&["candles", code, "--from", "2024-12-01"])
    }

    /// A fetch that ends with this code and says these words.
    #[track_caller]
    fn refused(&self, code: i32, words: &[&str]) -> Outcome {
        let outcome = self.fetch().expect_exit(code);
        outcome.expect_said(words);
        outcome
    }

    /// Every file of the folder.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let read = |path: PathBuf| {
            let name = path.file_name().expect("a file").to_string_lossy().into_owned();
            (name, fs::read(path).expect("a file of ours"))
        };
        walk(&self.folder()).into_iter().map(read).collect()
    }

    /// Paths and queries of all questions, in their order.
    fn asked(&self) -> Vec<String> {
        self.exchange.with(|world| world.log.iter().map(|logged| question(&logged.asked)).collect())
    }

    /// Whether the last question is one that something goes wrong with.
    fn hangs(&self) -> bool {
        self.exchange.with(|world| world.log.last().is_some_and(|it| it.fault.is_some()))
    }

    fn forget(&self) {
        self.exchange.with(|world| world.log.clear());
    }

    /// The folder is read as the exchange would answer from this moment on, up to the last hour that is over.
    #[track_caller]
    fn expect_all(&self, from: &str) {
        for code in ["BTCUSDT", "ETHUSDT"] {
            let answered = self.exchange.with(|world| {
                let query = format!("symbol={code}&interval=1h&limit=1000&startTime=");
                let mut rows: Vec<Value> = Vec::new();
                let mut from = millis(from);
                loop {
                    let (response, _) = world.answer(Asked {
                        method: "GET".to_owned(),
                        path: "/api/v3/klines".to_owned(),
                        query: format!("{query}{from}"),
                        headers: Vec::new(),
                        body: String::new(),
                    });
                    let page = response.body.as_array().expect("a page").clone();
                    let Some(last) = page.last() else { break };
                    from = last[0].as_i64().expect("a time") + 1;
                    rows.extend(page);
                }
                let now = world.now();
                rows.retain(|row| row[6].as_i64().expect("a time") < now);
                rows
            });
            let text = |cell: &Value| cell.as_str().expect("a price").to_owned();
            let expected: Vec<(i64, [String; 4])> = answered
                .iter()
                .map(|row| {
                    (row[0].as_i64().expect("a time"), [1, 2, 3, 4].map(|at| text(&row[at])))
                })
                .collect();
            assert_eq!(read(&self.folder(), code, "1h"), expected, "{code}");
        }
    }

    /// No file is there that a whole folder has not, and none of them is half.
    #[track_caller]
    fn expect_a_part_of(&self, whole: &BTreeMap<String, Vec<u8>>) {
        for (name, bytes) in self.files() {
            assert!(is_left(&name) || whole.get(&name) == Some(&bytes), "{name} is another");
        }
    }
}

/// Open times and prices, as `--candles` reads them, in the digits that they are written in.
fn read(folder: &Path, code: &str, interval: &str) -> Vec<(i64, [String; 4])> {
    let symbol = code.parse().expect("a symbol");
    let interval = Interval::named(interval).expect("an interval");
    let candles =
        dump::read(folder, &symbol, interval).unwrap_or_else(|failure| panic!("{failure}"));
    let row = |candle: &ouroboros::trading::candle::Candle| {
        let prices = [candle.open, candle.high, candle.low, candle.close];
        (candle.open_time.as_millis(), prices.map(|price| price.to_string()))
    };
    candles.iter().map(row).collect()
}

/// What a fetch that was killed was writing.
fn is_left(name: &str) -> bool {
    name.strip_suffix(".new").is_some()
}

fn question(asked: &Asked) -> String {
    let Asked { path, query, .. } = asked;
    if query.is_empty() { path.clone() } else { format!("{path}?{query}") }
}

const QUARTER: i64 = HOUR / 4;

fn millis(at: &str) -> i64 {
    at.parse::<Timestamp>().expect("a moment").as_millisecond()
}
