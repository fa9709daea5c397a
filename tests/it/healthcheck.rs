//! The ping at the end of a run: the URL itself after 0, `URL/fail` after anything else.

use serde_json::json;

use crate::support::binance::Request;
use crate::support::desk::{Desk, Replay};
use crate::support::fault::Fault;
use crate::support::run::Run;
use crate::support::table::spreads;

#[test]
fn a_good_run_pings_the_url_with_its_result() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = pinging(&desk).expect_exit(0);
    expect_ping(&desk, "/ping/abc", "ETH");
}

#[test]
fn every_good_run_pings_even_without_news() {
    let desk = Desk::new(spreads("20 20 21 20"));
    for _ in 0..2 {
        desk.server.forget();
        let _ = pinging(&desk).expect_exit(0);
        expect_ping(&desk, "/ping/abc", "");
    }
}

#[test]
fn a_run_that_the_user_halted_is_a_good_run() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.command(&["halt"]).expect_exit(0);
    desk.server.forget();
    let _ = pinging(&desk).expect_exit(0);
    expect_ping(&desk, "/ping/abc", "halt");
}

#[test]
fn a_run_without_an_exchange_pings_the_failure() {
    let desk = Desk::entry_ahead();
    desk.server.forget();
    desk.server.fault("klines", Fault::status(503));
    let _ = pinging(&desk).expect_exit(69);
    expect_ping(&desk, "/ping/abc/fail", "503");
}

#[test]
fn candles_that_cannot_be_trusted_ping_the_failure() {
    let desk = Desk::entry_ahead();
    desk.server.forget();
    desk.server.bend("klines ETHUSDT", |candles| {
        let list = candles.as_array_mut().expect("candles are a list");
        drop(list.remove(list.len() - 3));
    });
    let _ = pinging(&desk).expect_exit(65);
    expect_ping(&desk, "/ping/abc/fail", "");
}

#[test]
fn a_refusal_pings_the_failure() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = pinging(&desk).env("PAPER_BALANCE_USDT", "100").expect_exit(76);
    expect_ping(&desk, "/ping/abc/fail", "balance");
}

#[test]
fn a_ban_pings_the_failure() {
    let desk = Desk::entry_ahead();
    desk.server.fault("klines", Fault::limit(429, Some("60")));
    for _ in 0..2 {
        desk.server.forget();
        let _ = pinging(&desk).expect_exit(75);
        expect_ping(&desk, "/ping/abc/fail", "");
    }
}

#[test]
fn a_damaged_state_pings_the_failure() {
    let desk = Desk::entry_ahead();
    std::fs::write(desk.paper().join("state.json"), "{").expect("a file is written");
    desk.server.forget();
    let _ = pinging(&desk).expect_exit(65);
    expect_ping(&desk, "/ping/abc/fail", "");
}

#[test]
fn wrong_usage_and_wrong_settings_ping_nobody() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = pinging(&desk).env("TIMEFRAME", "7m").expect_exit(78);
    let _ = pinging(&desk).args(["--no-such-option"]).expect_exit(2);
    assert!(desk.server.requests().is_empty());
}

#[test]
fn a_replay_pings_nobody() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let replay = Replay::new(&spreads("20 20 20 21"));
    let url = format!("{}/ping/abc", desk.server.url());
    for _ in 0..2 {
        let _ = replay.run().env("HEALTHCHECK_URL", &url).expect_exit(0);
    }
    assert!(desk.server.requests().is_empty());
}

#[test]
fn commands_that_are_no_run_ping_nobody() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = pinging(&desk).expect_exit(0);
    desk.server.forget();
    let url = format!("{}/ping/abc", desk.server.url());
    for command in ["status", "halt", "resume"] {
        let _ = desk.command(&[command]).env("HEALTHCHECK_URL", &url).expect_exit(0);
    }
    assert!(desk.server.requests_to("/ping").is_empty());
}

#[test]
fn no_answer_to_a_ping_changes_the_run() {
    for fault in
        [Fault::status(404), Fault::status(500), Fault::html(200), Fault::Close, Fault::Reset]
    {
        let desk = Desk::new(spreads("20 20 20 21"));
        desk.server.fault("/ping", fault);
        let outcome = pinging(&desk).expect_exit(0);
        outcome.expect_json(&[("/action", json!("buy"))]);
    }
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome = desk.run().env("HEALTHCHECK_URL", "http://127.0.0.1:1/ping").expect_exit(0);
    outcome.expect_json(&[("/action", json!("buy"))]);
}

#[test]
fn a_ping_follows_no_redirect() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.fault("/ping", Fault::redirect(302, "/elsewhere"));
    let _ = pinging(&desk).expect_exit(0);
    assert!(desk.server.requests_to("elsewhere").is_empty());
}

/// A step with a health check.
fn pinging(desk: &Desk) -> Run {
    desk.run().env("HEALTHCHECK_URL", format!("{}/ping/abc", desk.server.url()))
}

/// One ping, to this path, whose body is one line with this word.
#[track_caller]
fn expect_ping(desk: &Desk, path: &str, word: &str) {
    let pings = desk.server.requests_to("/ping");
    let paths: Vec<&str> = pings.iter().map(Request::path).collect();
    assert_eq!(paths, [path], "one ping");
    let body = &pings[0].body;
    assert_eq!(body.trim_end().lines().count(), 1, "one line: {body}");
    assert!(body.to_lowercase().contains(&word.to_lowercase()), "`{word}` in {body}");
}
