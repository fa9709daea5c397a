//! Settings that can't be understood: 78; the message names the variable and the value; nothing is
//! made on disk, and nobody is asked.

use std::fs;

use serde_json::Value;

use crate::support::desk::Desk;
use crate::support::run::Outcome;
use crate::support::table::spreads;

#[test]
fn thresholds() {
    for value in ["NaN", "nan", "inf", "-inf", "-1", "two", "1,5", "0x2", "2.0σ"] {
        refused("ENTRY_THRESHOLD", value);
        refused("EXIT_THRESHOLD", value);
        refused("STOP_Z", value);
    }
}

#[test]
fn an_entry_threshold_must_be_above_the_exit() {
    for (entry, exit) in [("1", "1"), ("1", "1.5"), ("0", "0"), ("0.0", "0")] {
        let said = refused_all(&[("ENTRY_THRESHOLD", entry), ("EXIT_THRESHOLD", exit)]);
        assert!(said.contains("ENTRY_THRESHOLD") && said.contains("EXIT_THRESHOLD"), "{said}");
    }
}

#[test]
fn windows() {
    for value in ["0", "1", "501", "-5", "4.5", "many", "99999999999999999999", "1e2", "0x10"] {
        let said = refused("ROLLING_WINDOW", value);
        assert!(said.contains('2') && said.contains("500"), "what is allowed: {said}");
    }
}

#[test]
fn how_far_to_look_back() {
    for value in ["0", "4", "1000", "-1", "5.5", "far"] {
        let said = refused("LOOKBACK_LIMIT", value);
        assert!(said.contains('5') && said.contains("999"), "what is allowed: {said}");
    }
}

#[test]
fn timeframes() {
    for value in [
        "7m",
        "15M",
        "1s",
        "1w",
        "1M",
        "3d",
        "15",
        "m",
        "1 m",
        "15min",
        "-1m",
        "1H",
        "1m # minutes",
    ] {
        let said = refused("TIMEFRAME", value);
        assert!(said.contains("1m") && said.contains("1d"), "what is allowed: {said}");
    }
}

#[test]
fn symbols() {
    for value in [
        "btcusdt",
        "btc/usdt",
        "ВТС/USDT",
        "BTC-USDT",
        "BTC/",
        "/USDT",
        "/",
        "BTC/USDT/",
        "BTC USDT",
        "BTC\u{200b}/USDT",
        "ＢＴＣ/USDT",
    ] {
        refused("SYMBOL_BASE", value);
        refused("SYMBOL_QUOTE", value);
    }
}

#[test]
fn legs_must_differ_and_share_their_quote_asset() {
    for (base, quote) in [
        ("ETH/USDT", "ETH/USDT"),
        ("ETHUSDT", "ETH/USDT"),
        ("BTC/USDC", "ETH/USDT"),
        ("ETH/BTC", "ETH/USDT"),
    ] {
        let said = refused_all(&[("SYMBOL_BASE", base), ("SYMBOL_QUOTE", quote)]);
        assert!(said.contains("SYMBOL_BASE") && said.contains("SYMBOL_QUOTE"), "{said}");
    }
}

#[test]
fn amounts() {
    for value in [
        "-1",
        "1e3",
        "1e30",
        "1.123456789",
        "NaN",
        "inf",
        "1,000",
        "150 USDT",
        "0x96",
        "--5",
        "1.2.3",
    ] {
        refused("TRADE_AMOUNT_USDT", value);
        refused("PAPER_BALANCE_USDT", value);
        refused("MAX_DAILY_LOSS_USDT", value);
    }
    refused("TRADE_AMOUNT_USDT", "0");
    refused("TRADE_AMOUNT_USDT", "0.00000000");
    refused("TRADE_AMOUNT_USDT", "1234567890123456789012345678901234567890");
}

#[test]
fn basis_points() {
    for value in ["-1", "NaN", "1e3", "ten", "10bps", "10%"] {
        for name in ["FEE_BPS", "SLIPPAGE_BPS", "MAX_SLIPPAGE_BPS", "MIN_EDGE_BPS"] {
            refused(name, value);
        }
    }
}

#[test]
fn counts() {
    for value in ["-1", "1.5", "NaN", "some", "1e3", "99999999999999999999999"] {
        refused("MAX_HOLD_CANDLES", value);
        refused("MAX_ORDERS_PER_DAY", value);
    }
}

#[test]
fn windows_of_receipt_and_settling() {
    for value in ["0", "60001", "-1", "5s", "NaN"] {
        let said = refused("RECV_WINDOW_MS", value);
        assert!(said.contains("60000"), "what is allowed: {said}");
    }
    for value in ["0", "59", "86401", "-1", "long"] {
        let said = refused("SETTLE_SECONDS", value);
        assert!(said.contains("60") && said.contains("86400"), "what is allowed: {said}");
    }
}

#[test]
fn a_word_that_is_neither_true_nor_false() {
    for value in ["maybe", "no", "yes", "0", "1", "off", "fals", "falsee", "f", "true false"] {
        refused("DRY_RUN", value);
    }
}

#[test]
fn true_and_false_in_any_case() {
    for value in ["true", "True", "TRUE", "tRuE"] {
        let desk = Desk::new(spreads("20 20 20 21"));
        let _ = desk.run().env("DRY_RUN", value).expect_exit(0);
    }
}

#[test]
fn live_without_a_key() {
    for value in ["false", "False", "FALSE"] {
        refused_all(&[("DRY_RUN", value)]);
    }
}

#[test]
fn a_secret_and_a_key_file_together() {
    let said =
        refused_all(&[("BINANCE_API_SECRET", "abc"), ("BINANCE_PRIVATE_KEY_FILE", "/dev/null")]);
    assert!(
        said.contains("BINANCE_API_SECRET") && said.contains("BINANCE_PRIVATE_KEY_FILE"),
        "{said}"
    );
}

#[test]
fn addresses() {
    for value in [
        "http://example.com",
        "http://10.0.0.1:80",
        "http://127.0.0.1.example.com",
        "http://localhost.example.com",
        "http://",
        "https://",
        "https://:443",
        "ftp://127.0.0.1",
        "file://",
        "127.0.0.1:80",
        "no address",
        "http://[::2]",
    ] {
        refused("BINANCE_MARKET_URL", value);
        refused("BINANCE_BASE_URL", value);
        refused("BINANCE_DUMPS_URL", value);
        // Its address is as good as a password, so it is named but not repeated.
        let said = refused_all(&[("HEALTHCHECK_URL", value)]);
        assert!(said.contains("HEALTHCHECK_URL"), "{said}");
    }
    // Further slashes are skipped by whoever reads an address: the host still ends before the secret.
    for slashes in ["//", "///", "////"] {
        let value = format!("http:{slashes}hc-ping.com/5f3c7e0a");
        let said = refused_all(&[("HEALTHCHECK_URL", &value)]);
        assert!(said.contains("hc-ping.com") && !said.contains("5f3c7e0a"), "{said}");
        let value = format!("https:{slashes}me:5f3c7e0a@example.com");
        let said = refused_all(&[("BINANCE_BASE_URL", &value)]);
        assert!(said.contains("example.com") && !said.contains("5f3c7e0a"), "{said}");
    }
    for value in ["http:a:80/5f3c7e0a://b", "http:=http:///hc/5f3c7e0a", "http:a://a/5f3c7e0a"] {
        let said = refused_all(&[("HEALTHCHECK_URL", value)]);
        assert!(!said.contains("5f3c7e0a"), "{said}");
    }
    for value in ["http://example.com", "http://", "ftp://127.0.0.1"] {
        let bot = [
            ("TELEGRAM_BOT_TOKEN", "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw9"),
            ("TELEGRAM_CHAT_ID", "42"),
        ];
        let said = refused_all(&[bot[0], bot[1], ("TELEGRAM_API_URL", value)]);
        assert!(said.contains("TELEGRAM_API_URL"), "{said}");
    }
}

#[test]
fn an_address_with_a_password_is_refused_and_not_repeated() {
    for name in ["BINANCE_MARKET_URL", "BINANCE_BASE_URL", "BINANCE_DUMPS_URL"] {
        let said = refused_all(&[(name, "https://user:marked-secret@127.0.0.1:1")]);
        assert!(said.contains(name), "{said}");
        assert!(!said.contains("marked-secret"), "{said}");
    }
}

#[test]
fn half_a_telegram() {
    let said = refused_all(&[("TELEGRAM_BOT_TOKEN", "123456789:marked-secret")]);
    assert!(said.contains("TELEGRAM_CHAT_ID") && !said.contains("marked-secret"), "{said}");
    let said = refused_all(&[("TELEGRAM_CHAT_ID", "42")]);
    assert!(said.contains("TELEGRAM_BOT_TOKEN"), "{said}");
}

#[test]
fn an_empty_value_is_no_value() {
    let names = [
        "DRY_RUN",
        "BINANCE_API_KEY",
        "BINANCE_API_SECRET",
        "BINANCE_PRIVATE_KEY_FILE",
        "BINANCE_BASE_URL",
        "RECV_WINDOW_MS",
        "SETTLE_SECONDS",
        "SYMBOL_BASE",
        "SYMBOL_QUOTE",
        "LOOKBACK_LIMIT",
        "EXIT_THRESHOLD",
        "MIN_EDGE_BPS",
        "TRADE_AMOUNT_USDT",
        "PAPER_BALANCE_USDT",
        "MAX_SLIPPAGE_BPS",
        "STOP_Z",
        "MAX_HOLD_CANDLES",
        "MAX_ORDERS_PER_DAY",
        "MAX_DAILY_LOSS_USDT",
        "FEE_BPS",
        "SLIPPAGE_BPS",
        "SSL_CERT_FILE",
        "TELEGRAM_BOT_TOKEN",
        "TELEGRAM_CHAT_ID",
        "TELEGRAM_API_URL",
        "HEALTHCHECK_URL",
        "STATE_DIR",
        "STATE_DIRECTORY",
        "LOGS_DIRECTORY",
        "CREDENTIALS_DIRECTORY",
    ];
    let desk = Desk::new(spreads("20 20 20 21"));
    let run = names.iter().fold(desk.run(), |run, name| run.env(name, ""));
    let told = run.expect_exit(0).json();
    assert_eq!(told["order"]["quote_quantity"], "149.73000000", "every default holds");
}

#[test]
fn values_at_the_edge_of_what_is_allowed() {
    let allowed = [
        ("EXIT_THRESHOLD", "0"),
        ("EXIT_THRESHOLD", "1.19"),
        ("LOOKBACK_LIMIT", "5"),
        ("LOOKBACK_LIMIT", "999"),
        ("RECV_WINDOW_MS", "1"),
        ("RECV_WINDOW_MS", "60000"),
        ("SETTLE_SECONDS", "60"),
        ("SETTLE_SECONDS", "86400"),
        ("SYMBOL_BASE", "BTCUSDT"),
        ("SYMBOL_QUOTE", "ETHUSDT"),
        ("TRADE_AMOUNT_USDT", "150.00000001"),
        ("FEE_BPS", "0"),
        ("MIN_EDGE_BPS", "0.5"),
        ("HEALTHCHECK_URL", "http://[::1]:1/ping"),
        ("HEALTHCHECK_URL", "http://localhost:1/ping"),
    ];
    for (name, value) in allowed {
        let desk = Desk::new(spreads("20 20 20 21"));
        let _ = desk.run().env(name, value).expect_exit(0);
    }
}

#[test]
fn a_value_that_is_not_text() {
    use std::os::unix::ffi::OsStringExt;
    let desk = Desk::new(spreads("20 20 20 21"));
    let value = std::ffi::OsString::from_vec(b"\xff\xfe".to_vec());
    let outcome = desk.run().env("TIMEFRAME", value).expect_exit(78);
    outcome.expect_said(&["TIMEFRAME"]);
}

#[test]
fn a_state_directory_that_is_a_file() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let file = desk.cwd().join("file");
    fs::write(&file, "mine").expect("a file is written");
    for path in [file.clone(), file.join("below")] {
        let args = ["--state-dir".as_ref(), path.as_os_str()];
        let run = crate::support::run::Run::paper(&desk.cwd(), &desk.server).args(args);
        // A wrong setting or a place that can't be written: the contract has both.
        let outcome = run.expect_one_of(&[74, 78]);
        outcome.expect_said(&["file"]);
    }
    assert_eq!(fs::read(&file).expect("still there"), b"mine");
    assert!(desk.server.requests().is_empty());
}

#[test]
fn settings_are_checked_before_the_lock() {
    let desk = Desk::entry_ahead();
    let lock = fs::File::open(desk.paper().join("lock")).expect("a lock");
    fs2::FileExt::lock_exclusive(&lock).expect("it is free");
    let _ = desk.run().env("ROLLING_WINDOW", "1").expect_exit(78);
    let _ = desk.run().expect_exit(75);
}

#[test]
fn every_command_checks_its_settings() {
    let desk = Desk::new(spreads("20 20 20 21"));
    for command in ["status", "halt", "resume", "flatten"] {
        let outcome = desk.command(&[command]).env("TIMEFRAME", "7m").expect_exit(78);
        outcome.expect_said(&["TIMEFRAME", "7m"]);
    }
    assert!(!desk.state().exists());
}

/// One setting that is wrong; the message has its name and its value.
#[track_caller]
fn refused(name: &str, value: &str) -> String {
    let said = refused_all(&[(name, value)]);
    assert!(said.contains(name), "{name} is not named: {said}");
    assert!(said.contains(value), "{value} is not named: {said}");
    said
}

/// Settings that are wrong together: 78, nothing made, nobody asked. Returns message and hint.
#[track_caller]
fn refused_all(settings: &[(&str, &str)]) -> String {
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome: Outcome = desk.run().envs(settings).start().wait();
    assert_eq!(outcome.code, 78, "{settings:?}\n{}", outcome.transcript());
    assert!(!desk.state().exists(), "{settings:?} made a state directory");
    assert!(desk.server.requests().is_empty(), "{settings:?} asked somebody");
    let error: Value = outcome.json()["error"].clone();
    assert_eq!(error["code"], 78);
    let text = |field: &str| error[field].as_str().expect("a text").to_owned();
    format!("{}\n{}", text("message"), text("hint"))
}
