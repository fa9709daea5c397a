//! `.env`: the same lines as in the environment, read literally.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::support::desk::{Desk, write_private};
use crate::support::run::{Outcome, Run};
use crate::support::table::spreads;

#[test]
fn the_file_in_the_working_folder_is_read() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome = with_file(&desk, "TRADE_AMOUNT_USDT=31\n").expect_exit(0);
    assert_eq!(outcome.json()["order"]["quote_quantity"], "31.00000000");
}

#[test]
fn another_file_can_be_named() {
    let desk = Desk::new(spreads("20 20 20 21"));
    write_private(&desk.cwd().join("bot.env"), "TRADE_AMOUNT_USDT=31\n");
    let outcome = desk.command(&["--json", "--env-file", "bot.env"]).expect_exit(0);
    assert_eq!(outcome.json()["order"]["quote_quantity"], "31.00000000");
}

#[test]
fn a_named_file_that_is_missing_is_an_error() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome = desk.command(&["--json", "--env-file", "no-such.env"]).expect_exit(78);
    outcome.expect_said(&["no-such.env"]);
    expect_untouched(&desk);
}

#[test]
fn a_named_file_that_is_a_folder_is_an_error() {
    let desk = Desk::new(spreads("20 20 20 21"));
    fs::create_dir(desk.cwd().join("folder.env")).expect("a new folder");
    let outcome = desk.command(&["--json", "--env-file", "folder.env"]).expect_exit(78);
    outcome.expect_said(&["folder.env"]);
    expect_untouched(&desk);
}

#[test]
fn the_environment_wins_over_the_file() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let run = with_file(&desk, "TRADE_AMOUNT_USDT=62\n").env("TRADE_AMOUNT_USDT", "31");
    assert_eq!(run.expect_exit(0).json()["order"]["quote_quantity"], "31.00000000");
}

#[test]
fn an_empty_line_and_a_comment_are_no_settings_and_an_empty_value_is_none() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let text = "# A comment.\n\n   \n#TIMEFRAME=7m\nSTOP_Z=\nTRADE_AMOUNT_USDT=\n";
    let outcome = with_file(&desk, text).expect_exit(0);
    assert_eq!(outcome.json()["order"]["quote_quantity"], "149.73000000");
}

#[test]
fn names_of_the_python_bot_that_are_not_ours_are_let_be() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = with_file(&desk, "LOG_LEVEL=INFO\nSOME_OTHER_TOOL=1\n").expect_exit(0);
}

#[test]
fn a_dollar_is_a_dollar() {
    for path in ["/ping/pa$A", "/ping/$HOME", "/ping/$$"] {
        assert_eq!(pinged(&format!("URL{path}")), path);
    }
}

#[test]
fn one_pair_of_outer_quotes_is_removed() {
    assert_eq!(pinged("\"URL/ping/a\""), "/ping/a");
    assert_eq!(pinged("'URL/ping/a'"), "/ping/a");
    for (value, kept) in [
        ("\"'7m'\"", "'7m'"),
        ("''7m''", "'7m'"),
        ("\"7m", "\"7m"),
        ("'7m\"", "'7m\""),
        ("7'm", "7'm"),
    ] {
        let outcome = refused(&format!("TIMEFRAME={value}\n"), "TIMEFRAME");
        let message = outcome.json()["error"]["message"].as_str().expect("a message").to_owned();
        assert!(message.contains(kept), "{value} is read as something else: {message}");
    }
}

#[test]
fn there_are_no_comments_within_a_line() {
    let outcome = refused("TIMEFRAME=1m # a minute\n", "TIMEFRAME");
    outcome.expect_said(&["1m # a minute"]);
}

#[test]
fn a_mark_at_the_beginning_and_line_feeds_of_windows_are_fine() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let text = "\u{feff}TRADE_AMOUNT_USDT=31\r\nSTOP_Z=3\r\n";
    let outcome = with_file(&desk, text).expect_exit(0);
    assert_eq!(outcome.json()["order"]["quote_quantity"], "31.00000000");
}

#[test]
fn the_last_line_needs_no_line_feed() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome = with_file(&desk, "STOP_Z=3\nTRADE_AMOUNT_USDT=31").expect_exit(0);
    assert_eq!(outcome.json()["order"]["quote_quantity"], "31.00000000");
}

#[test]
fn a_line_without_an_equals_sign_is_an_error() {
    refused("STOP_Z=3\nTRADE_AMOUNT_USDT 31\n", "2");
}

#[test]
fn a_line_without_a_name_is_an_error() {
    refused("=31\n", "1");
}

#[test]
fn a_name_twice_is_an_error() {
    refused("STOP_Z=3\nSTOP_Z=3\n", "STOP_Z");
    refused("STOP_Z=3\nTIMEFRAME=1m\nSTOP_Z=4\n", "STOP_Z");
}

#[test]
fn a_zero_byte_is_an_error() {
    refused("STOP_Z=3\0\n", "env");
    refused("STOP_Z=3\n\0\n", "env");
}

#[test]
fn a_file_that_is_no_text_is_an_error() {
    let desk = Desk::new(spreads("20 20 20 21"));
    write_private(&desk.cwd().join(".env"), b"STOP_Z=\xff\n");
    let _ = desk.run().expect_exit(78);
    expect_untouched(&desk);
}

#[test]
fn a_secret_in_a_line_that_is_wrong_is_not_repeated() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let text = "BINANCE_API_SECRET marked-secret-of-a-test\n";
    let outcome = with_file(&desk, text).expect_exit(78);
    assert!(!outcome.said().contains("marked-secret"), "{}", outcome.transcript());
}

#[test]
fn a_file_that_others_may_read_is_a_warning() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let path = desk.cwd().join(".env");
    fs::write(&path, "TRADE_AMOUNT_USDT=31\n").expect("a file is written");
    for (mode, warned) in [(0o644, true), (0o640, true), (0o600, false), (0o400, false)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a file of ours");
        let outcome = desk.run().expect_exit(0);
        assert_eq!(outcome.stderr.contains(".env"), warned, "{mode:o}\n{}", outcome.transcript());
    }
}

#[test]
fn the_legs_and_the_place_of_the_state_can_be_set_in_the_file() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let place = desk.cwd().join("elsewhere");
    let text =
        format!("STATE_DIR={}\nSYMBOL_BASE=BTCUSDT\nSYMBOL_QUOTE=ETHUSDT\n", place.display());
    write_private(&desk.cwd().join(".env"), text);
    let _ = Run::paper(&desk.cwd(), &desk.server).expect_exit(0);
    assert!(place.join("paper/state.json").exists());
}

/// A step whose working folder has this `.env`.
fn with_file(desk: &Desk, text: &str) -> Run {
    write_private(&desk.cwd().join(".env"), text);
    desk.run()
}

/// A `.env` that is refused with this word, before anything is made or anyone asked.
#[track_caller]
fn refused(text: &str, word: &str) -> Outcome {
    let desk = Desk::new(spreads("20 20 20 21"));
    write_private(&desk.cwd().join(".env"), text);
    let outcome = desk.run().without("TIMEFRAME").expect_exit(78);
    outcome.expect_said(&[word]);
    expect_untouched(&desk);
    outcome
}

/// The path that is pinged when the file says `HEALTHCHECK_URL=value`, with `URL` for the server.
#[track_caller]
fn pinged(value: &str) -> String {
    let desk = Desk::new(spreads("20 20 20 21"));
    let value = value.replace("URL", &desk.server.url());
    let run = with_file(&desk, &format!("HEALTHCHECK_URL={value}\n"))
        .env("A", "wrong")
        .env("HOME", "/wrong");
    run.expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    desk.server.requests_to("/ping")[0].path().to_owned()
}

#[track_caller]
fn expect_untouched(desk: &Desk) {
    assert!(!desk.state().exists());
    assert!(desk.server.requests().is_empty());
}
