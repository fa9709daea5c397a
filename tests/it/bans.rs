//! Rate limits (429) and bans (418): exit 75, the end is kept, and not one request before it.

use std::thread;
use std::time::Duration;

use serde_json::json;

use crate::support::desk::Desk;
use crate::support::fault::Fault;
use crate::support::table::spreads;

#[test]
fn a_rate_limit_is_kept_until_its_end() {
    expect_kept(429, Some("30"));
}

#[test]
fn a_ban_of_three_days_is_kept() {
    expect_kept(418, Some("259200"));
}

#[test]
fn a_limit_without_a_usable_time_is_kept_for_a_while() {
    for status in [429, 418] {
        for text in
            [None, Some("-1"), Some("soon"), Some(""), Some("1e9"), Some("99999999999999999999")]
        {
            expect_kept(status, text);
        }
    }
}

#[test]
fn a_limit_of_no_seconds_is_still_a_limit() {
    let desk = Desk::entry_ahead();
    desk.server.fault("klines", Fault::limit(429, Some("0")));
    desk.expect_refused(75, &[]);
}

#[test]
fn one_leg_that_is_limited_is_enough() {
    let desk = Desk::entry_ahead();
    desk.server.fault("klines BTCUSDT", Fault::limit(429, Some("30")));
    desk.expect_refused(75, &[]);
    expect_no_request(&desk);
}

#[test]
fn a_limit_on_the_price_or_the_rules_trades_nothing() {
    for target in ["bookTicker", "exchangeInfo"] {
        let desk = Desk::entry_ahead();
        desk.server.fault(target, Fault::limit(429, Some("30")));
        desk.expect_refused(75, &[]);
        expect_no_request(&desk);
        assert_eq!(desk.status()["state"], "NONE");
    }
}

#[test]
fn after_its_end_the_limit_is_forgotten() {
    let desk = Desk::daily(spreads("20 20 20 21"), 0);
    desk.server.fault_times("klines", 2, Fault::limit(429, Some("1")));
    desk.expect_refused(75, &[]);
    // A second more than was asked for, because `Date` knows whole seconds only.
    thread::sleep(Duration::from_millis(2_200));
    desk.expect_buy();
    desk.run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
}

#[test]
fn what_needs_no_network_works_during_a_ban() {
    let desk = Desk::entry_ahead();
    desk.server.fault("klines", Fault::limit(418, Some("600")));
    desk.expect_refused(75, &[]);
    assert_eq!(desk.status()["state"], "NONE");
    let _ = desk.command(&["halt"]).expect_exit(0);
    let _ = desk.command(&["resume"]).expect_exit(0);
    expect_no_request(&desk);
}

#[test]
fn a_ban_is_kept_by_a_run_that_was_told_to_stop() {
    let desk = Desk::entry_ahead();
    desk.server.fault("klines BTCUSDT", Fault::limit(418, Some("600")));
    desk.server.fault("klines ETHUSDT", Fault::Silence);
    let run = desk.run().start();
    std::thread::sleep(std::time::Duration::from_millis(700));
    run.signal(rustix::process::Signal::TERM);
    assert_eq!(run.wait().code, 75);
    expect_no_request(&desk);
}

#[test]
fn a_limit_says_until_when() {
    let desk = Desk::entry_ahead();
    desk.server.fault("klines", Fault::limit(418, Some("259200")));
    let outcome = desk.expect_refused(75, &["418"]);
    let error = outcome.json()["error"].clone();
    assert_eq!(error["code"], 75);
    let text = format!("{} {}", error["message"], error["hint"]);
    assert!(text.contains("20") && text.contains('Z'), "a time: {text}");
}

/// A limit is met once; the next run asks nothing and ends with 75 too.
#[track_caller]
fn expect_kept(status: u16, retry_after: Option<&str>) {
    let desk = Desk::entry_ahead();
    desk.server.fault("klines", Fault::limit(status, retry_after));
    desk.server.forget();
    desk.expect_refused(75, &[]);
    let asked = desk.server.requests().len();
    assert!(asked <= 2, "{asked} requests: a limit is no reason to ask again");
    expect_no_request(&desk);
}

/// The exchange would answer again, but the run does not ask before the time.
#[track_caller]
fn expect_no_request(desk: &Desk) {
    desk.server.heal();
    desk.server.forget();
    for _ in 0..2 {
        desk.expect_refused(75, &[]);
    }
    assert!(desk.server.requests().is_empty(), "{:?}", desk.server.requests());
}
