//! A run of each kind with marked secrets; then every byte that was written or said is searched.

use std::fs;
use std::path::Path;

use crate::support::desk::{Desk, write_private};
use crate::support::fault::Fault;
use crate::support::folder;
use crate::support::run::{Outcome, Run};
use crate::support::table::spreads;

/// The settings that are secrets, each with a mark of its own.
const SECRETS: [(&str, &str); 3] = [
    ("BINANCE_API_KEY", "MARKEDapikeyvmPUZE6mv9SD5VNHk4HlWFsOr6aKE2zvsw0MuIgwCIPy6utIco14"),
    ("BINANCE_API_SECRET", "MARKEDapisecretNhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClVN65XAb"),
    ("TELEGRAM_BOT_TOKEN", "123456789:MARKEDbottoken1vGWJxfSeofSAs0K5PA"),
];

#[test]
fn a_good_run_keeps_its_secrets() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome = secretly(&desk).args(["-v"]).expect_exit(0);
    expect_kept(&desk, &outcome);
}

#[test]
fn a_telegram_that_fails_tells_no_token() {
    let faults = [
        Fault::status(401),
        Fault::html(502),
        Fault::redirect(302, "/elsewhere"),
        Fault::Close,
        Fault::Reset,
        Fault::BrokenChunks,
    ];
    for fault in faults {
        let desk = Desk::new(spreads("20 20 20 21"));
        desk.server.fault("/bot", fault);
        let outcome = secretly(&desk).args(["-v"]).expect_exit(0);
        expect_kept(&desk, &outcome);
    }
    let desk = Desk::new(spreads("20 20 20 21"));
    let run = secretly(&desk).args(["-v"]).env("TELEGRAM_API_URL", "http://127.0.0.1:1");
    expect_kept(&desk, &run.expect_exit(0));
}

#[test]
fn a_run_that_fails_keeps_its_secrets() {
    let desk = Desk::entry_ahead();
    desk.server.fault("klines", Fault::Reset);
    let outcome = secretly(&desk).args(["-v"]).expect_exit(69);
    expect_kept(&desk, &outcome);
    let outcome = secretly(&desk).args(["-v"]).env("TIMEFRAME", "7m").expect_exit(78);
    expect_kept(&desk, &outcome);
}

#[test]
fn secrets_that_are_wrong_themselves_are_not_repeated() {
    for (name, value) in [
        ("TELEGRAM_BOT_TOKEN", "MARKED no token"),
        ("TELEGRAM_BOT_TOKEN", "123456789:MARKED/../getUpdates"),
        ("TELEGRAM_BOT_TOKEN", "123456789:MARKED\u{e9}"),
        ("BINANCE_API_SECRET", "MARKED with blanks"),
    ] {
        let desk = Desk::new(spreads("20 20 20 21"));
        let outcome = secretly(&desk).env(name, value).expect_one_of(&[0, 78]);
        expect_kept(&desk, &outcome);
    }
}

#[test]
fn secrets_from_a_file_and_from_systemd_are_kept_too() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let lines = SECRETS.map(|(name, value)| format!("{name}={value}\n")).concat();
    write_private(&desk.cwd().join(".env"), lines + "TELEGRAM_CHAT_ID=42\n");
    let outcome = desk.run().args(["-v"]).env("TELEGRAM_API_URL", desk.server.url()).expect_exit(0);
    expect_kept(&desk, &outcome);
    let credentials = desk.cwd().join("credentials");
    fs::create_dir(&credentials).expect("a new folder");
    write_private(&credentials.join("binance_api_key"), SECRETS[0].1);
    write_private(&credentials.join("binance_api_secret"), SECRETS[1].1);
    fs::remove_file(desk.cwd().join(".env")).expect("it was there");
    let outcome = desk.run().args(["-v"]).env("CREDENTIALS_DIRECTORY", &credentials).expect_exit(0);
    expect_kept(&desk, &outcome);
}

#[test]
fn only_telegram_gets_the_token() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let url = format!("{}/ping/1", desk.server.url());
    let _ = secretly(&desk).env("HEALTHCHECK_URL", url).expect_exit(0);
    for request in desk.server.requests() {
        let text = format!("{} {:?} {}", request.target, request.headers, request.body);
        let count = text.matches("MARKED").count();
        let expected = usize::from(request.target.starts_with("/bot"));
        assert_eq!(count, expected, "{text}");
    }
}

#[test]
fn other_commands_keep_the_secrets() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = secretly(&desk).expect_exit(0);
    for command in ["status", "halt", "resume", "flatten", "--help"] {
        let outcome = SECRETS
            .iter()
            .fold(desk.command(&["-v", command]), |run, (name, value)| run.env(name, *value));
        let outcome =
            outcome.env("TELEGRAM_CHAT_ID", "42").env("TELEGRAM_API_URL", desk.server.url());
        expect_kept(&desk, &outcome.start().wait());
    }
}

/// A step with every secret set.
fn secretly(desk: &Desk) -> Run {
    let run = SECRETS.iter().fold(desk.run(), |run, (name, value)| run.env(name, *value));
    run.env("TELEGRAM_CHAT_ID", "42").env("TELEGRAM_API_URL", desk.server.url())
}

/// No mark in what was said, nor in any file of the state directory.
#[track_caller]
fn expect_kept(desk: &Desk, outcome: &Outcome) {
    assert!(!outcome.said().contains("marked"), "{}", outcome.transcript());
    for path in folder::walk(&desk.state()).iter().filter(|path| path.is_file()) {
        assert!(!holds_mark(path), "a secret in {}", path.display());
    }
}

fn holds_mark(path: &Path) -> bool {
    fs::read(path).expect("a file").windows(6).any(|bytes| bytes == b"MARKED")
}
