//! The process and its surroundings. Whatever happens to its output, the trade is the same.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::thread;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::json;

use crate::support::desk::Desk;
use crate::support::fault::Fault;
use crate::support::run::{Run, Running, expect_money};
use crate::support::table::spreads;

#[test]
fn standard_output_may_be_closed() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().shell("exec >&-").expect_exit(0);
    expect_bought(&desk);
}

#[test]
fn standard_error_may_be_closed() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.command(&["-v"]).shell("exec 2>&-").expect_exit(0);
    expect_bought(&desk);
}

#[test]
fn every_descriptor_may_be_closed() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.command(&["-v"]).shell("exec <&- >&- 2>&-").expect_exit(0);
    expect_bought(&desk);
}

#[test]
fn standard_output_may_be_full() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().shell("exec >/dev/full").expect_exit(0);
    expect_bought(&desk);
}

#[test]
fn standard_error_may_be_full() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome = desk.command(&["-v", "--json"]).shell("exec 2>/dev/full").expect_exit(0);
    outcome.expect_json(&[("/action", json!("buy"))]);
    expect_bought(&desk);
}

#[test]
fn both_may_be_full() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.command(&["-v"]).shell("exec >/dev/full 2>/dev/full").expect_exit(0);
    expect_bought(&desk);
}

#[test]
fn the_readers_of_both_pipes_may_have_gone() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let gone = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        Stdio::from(writer)
    };
    let outcome = desk.command(&["-v"]).start_with(gone(), gone()).wait();
    assert_eq!(outcome.code, 0);
    expect_bought(&desk);
}

#[test]
fn a_failure_keeps_its_code_when_nobody_can_read_it() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.fault("klines", Fault::status(503));
    let _ = desk.run().shell("exec >/dev/full 2>/dev/full").expect_exit(69);
    let _ = desk.run().shell("exec >&- 2>&-").expect_exit(69);
    let _ = desk.run().env("TIMEFRAME", "7m").shell("exec >&- 2>/dev/full").expect_exit(78);
}

#[test]
fn a_loose_mask_makes_no_loose_files() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().shell("umask 000").expect_exit(0);
    for (path, expected) in [
        (desk.state(), 0o700),
        (desk.paper().join("state.json"), 0o600),
        (desk.state().join("logs/bot.log"), 0o600),
    ] {
        let mode = fs::metadata(&path).expect("it was made").permissions().mode() & 0o7777;
        assert_eq!(mode, expected, "{mode:o} of {}", path.display());
    }
}

#[test]
fn a_tight_mask_is_no_obstacle() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().shell("umask 077").expect_exit(0);
    expect_bought(&desk);
}

#[test]
fn neither_the_time_zone_nor_the_language_matters() {
    let plain = Desk::new(spreads("20 20 20 21"));
    let told = plain.run().expect_exit(0).json();
    let settings = [
        ("TZ", "Pacific/Kiritimati"),
        ("LANG", "tr_TR.UTF-8"),
        ("LC_ALL", "tr_TR.UTF-8"),
        ("LC_NUMERIC", "de_DE.UTF-8"),
    ];
    let desk = Desk::new(spreads("20 20 20 21"));
    let other = desk.run().envs(&settings).expect_exit(0);
    other
        .expect_json(&[("/candle", json!(desk.server.newest_candle())), ("/z", told["z"].clone())]);
    assert_eq!(other.json()["order"]["fees"], told["order"]["fees"]);
    // In Turkish the small letter of I is another one, and `DRY_RUN=FALSE` has none of either.
    let _ = desk.run().envs(&settings).env("DRY_RUN", "TRUE").expect_exit(0);
}

#[test]
fn neither_home_nor_path_is_needed() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().without("PATH").expect_exit(0);
    expect_bought(&desk);
}

#[test]
fn a_run_that_is_told_to_stop_stops_and_says_so() {
    for signal in [Signal::TERM, Signal::INT] {
        let desk = Desk::entry_ahead();
        let before = desk.paper().snapshot();
        desk.server.fault("klines", Fault::Silence);
        let running = start_and_wait_for(&desk, "klines");
        running.signal(signal);
        let outcome = running.wait();
        assert_eq!(outcome.code, 75, "{}", outcome.transcript());
        assert!(outcome.took < Duration::from_secs(45), "{:?}", outcome.took);
        assert_eq!(before, desk.paper().snapshot());
        desk.server.heal();
        desk.expect_buy();
    }
}

#[test]
fn a_run_that_is_told_to_stop_before_the_fill_does_not_fill() {
    let desk = Desk::entry_ahead();
    desk.server.fault("bookTicker", Fault::Delay(Duration::from_millis(700)));
    let running = start_and_wait_for(&desk, "bookTicker");
    running.signal(Signal::TERM);
    let outcome = running.wait();
    // Either it saw the signal before the fill, or the whole step was done: never something between.
    assert!([0, 75].contains(&outcome.code), "{}", outcome.transcript());
    let bought = desk.status()["state"] == "HOLDING_ETH";
    assert_eq!(bought, outcome.code == 0, "{}", outcome.transcript());
}

#[test]
fn a_run_that_was_killed_leaves_no_lock_behind() {
    let desk = Desk::entry_ahead();
    desk.server.fault("klines", Fault::Silence);
    let running = start_and_wait_for(&desk, "klines");
    running.signal(Signal::KILL);
    assert_eq!(running.wait().code, -1);
    desk.server.heal();
    desk.expect_buy();
}

#[test]
fn of_starts_at_once_one_works_and_the_others_come_later() {
    for count in [2, 8, 16] {
        let desk = Desk::entry_ahead();
        desk.server.forget();
        desk.server.fault("klines", Fault::Delay(Duration::from_millis(1_500)));
        let running: Vec<Running> = (0..count).map(|_| desk.run().start()).collect();
        let mut codes: Vec<i32> = running.into_iter().map(|one| one.wait().code).collect();
        codes.sort_unstable();
        let expected: Vec<i32> =
            std::iter::once(0).chain(std::iter::repeat_n(75, count - 1)).collect();
        assert_eq!(codes, expected);
        assert_eq!(desk.server.requests_to("klines").len(), 2, "only one of them asked");
        expect_bought(&desk);
    }
}

#[test]
fn a_run_that_finds_another_one_asks_and_tells_nobody() {
    let desk = Desk::entry_ahead();
    let before = desk.paper().snapshot();
    let lock =
        File::options().read(true).write(true).open(desk.paper().join("lock")).expect("a lock");
    fs2::FileExt::try_lock_exclusive(&lock).expect("it is free after a run");
    desk.server.forget();
    let url = desk.server.url();
    let outcome = desk
        .run()
        .env("TELEGRAM_BOT_TOKEN", "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw9")
        .env("TELEGRAM_CHAT_ID", "42")
        .env("TELEGRAM_API_URL", &url)
        .env("HEALTHCHECK_URL", format!("{url}/ping/1"))
        .expect_exit(75);
    assert_eq!(outcome.json()["error"]["code"], 75);
    assert!(outcome.took < Duration::from_secs(5), "it does not wait: {:?}", outcome.took);
    assert!(desk.server.requests().is_empty());
    assert_eq!(before, desk.paper().snapshot());
    assert_eq!(desk.status()["state"], "NONE", "status needs no lock");
    fs2::FileExt::unlock(&lock).expect("it was ours");
    desk.expect_buy();
}

#[test]
fn a_lock_file_that_was_deleted_does_not_let_two_in() {
    let desk = Desk::entry_ahead();
    desk.server.fault("klines", Fault::Delay(Duration::from_millis(1_500)));
    let first = start_and_wait_for(&desk, "klines");
    fs::remove_file(desk.paper().join("lock")).expect("it was there");
    let _ = desk.run().expect_exit(75);
    assert_eq!(first.wait().code, 0);
    expect_bought(&desk);
}

#[test]
fn a_halt_does_not_wait_for_a_run() {
    let desk = Desk::entry_ahead();
    desk.server.fault("klines", Fault::Delay(Duration::from_millis(1_500)));
    let first = start_and_wait_for(&desk, "klines");
    let _ = desk.command(&["halt"]).unchecked().expect_exit(0);
    let outcome = first.wait();
    assert_eq!(outcome.code, 0, "{}", outcome.transcript());
    desk.run().expect_exit(0).expect_json(&[("/action", json!("halted"))]);
    let _ = desk.command(&["resume"]).expect_exit(0);
}

#[test]
fn the_log_is_turned_over_when_it_is_long() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let logs = desk.state().join("logs");
    let _ = desk.run().expect_exit(0);
    let mut log = OpenOptions::new().append(true).open(logs.join("bot.log")).expect("a log");
    std::io::Write::write_all(&mut log, &vec![b'\n'; 5_100_000]).expect("a long log");
    let _ = desk.run().expect_exit(0);
    let sizes: Vec<u64> = fs::read_dir(&logs)
        .expect("a folder")
        .map(|entry| entry.expect("an entry").metadata().expect("a file").len())
        .collect();
    assert_eq!(sizes.len(), 2, "an old and a new one: {sizes:?}");
    assert!(sizes.iter().any(|size| *size < 1_000_000), "{sizes:?}");
}

/// A start of which the server has seen this request.
fn start_and_wait_for(desk: &Desk, target: &str) -> Running {
    desk.server.forget();
    let run: Run = desk.run();
    let running = run.start();
    for _ in 0..1_000 {
        if !desk.server.requests_to(target).is_empty() {
            return running;
        }
        thread::sleep(Duration::from_millis(10));
    }
    panic!("no request to {target}");
}

/// The entry of 0.0483 ETH at 3100 is on the books, whatever was said about it.
#[track_caller]
fn expect_bought(desk: &Desk) {
    let status = desk.status();
    assert_eq!(status["state"], "HOLDING_ETH");
    expect_money(&status, &[("/position/quantity", "0.0482517"), ("/paper_balance", "850.27")]);
}
