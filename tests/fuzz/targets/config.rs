//! `.env` and the environment: what is accepted is in range, what is refused is named, and no
//! message, no warning and no debug text depends on a secret.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::Path;

use ouroboros::cli::Options;
use ouroboros::config::{Config, Live, Mode, VARIABLES};
use ouroboros::failure::{Failure, Kind};
use ouroboros::trading::market::Leg;
use reqwest::Url;
use rust_decimal::Decimal;
use tempfile::NamedTempFile;

use super::world::assert_plain;

/// The file; after the byte 0x1e, if there is one, the environment in the same form.
pub(crate) fn config(bytes: &[u8]) {
    // A key file and a folder of keys are opened: not those of the machine.
    if ["/dev", "/proc", "/sys"].iter().any(|name| find(bytes, name.as_bytes())) {
        return;
    }
    let (file, environment) = match bytes.iter().position(|byte| *byte == 0x1e) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &b""[..]),
    };
    let told = load(file, environment);
    match &told {
        Ok(config) => assert_in_range(config, file, environment),
        Err(failure) => assert_named(failure),
    }
    let disguised = load(&disguised(file), &disguised(environment));
    assert_eq!(shown(&told), shown(&disguised), "what is shown depends on a secret");
}

/// A configuration for other targets.
pub(crate) fn of(file: &str) -> Config {
    load(file.as_bytes(), b"").expect("a good configuration")
}

fn load(file: &[u8], environment: &[u8]) -> Result<Config, Failure> {
    thread_local! { static FILE: OnceCell<NamedTempFile> = const { OnceCell::new() } }
    let path = FILE.with(|cell| {
        let file = cell.get_or_init(|| NamedTempFile::new().expect("a folder for files"));
        file.path().to_owned()
    });
    std::fs::write(&path, file).expect("a disk with room");
    let options = Options {
        dry_run: false,
        candles: None,
        state_dir: None,
        env_file: Some(path),
        json: false,
        quiet: false,
        verbose: false,
    };
    let mut variables = BTreeMap::new();
    for line in environment.split(|byte| *byte == b'\n') {
        let Some(at) = line.iter().position(|byte| *byte == b'=') else { continue };
        let text = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        variables.insert(text(&line[..at]), text(&line[at + 1..]));
    }
    Config::load(&options, variables)
}

fn assert_named(failure: &Failure) {
    assert_eq!(failure.kind, Kind::Configuration);
    assert_plain(failure);
    let message = &failure.message;
    let is_variable = VARIABLES.iter().any(|it| message.contains(&format!("`{}`", it.name)));
    // What is no line of a variable is named by its number, and an empty file by its own name.
    let is_line = message.contains("`: line ") || message.ends_with("` is empty");
    let others = ["STATE_DIRECTORY", "LOGS_DIRECTORY", "CREDENTIALS_DIRECTORY"];
    let is_folder = others.iter().any(|name| message.contains(name));
    assert!(is_variable || is_line || is_folder, "it is not said what is wrong: {message}");
}

fn assert_in_range(config: &Config, file: &[u8], environment: &[u8]) {
    let Config { rules, terms, lookback, opening_balance, pair, .. } = config;
    let thresholds = &rules.thresholds;
    let statistics = [thresholds.entry, thresholds.exit, thresholds.min_edge_bps];
    assert!(statistics.iter().all(|it| it.is_finite() && *it >= 0.0), "{statistics:?}");
    assert!(thresholds.entry > thresholds.exit, "{thresholds:?}");
    assert!(thresholds.stop.is_none_or(|stop| stop.is_finite() && stop > thresholds.entry));
    assert!((2..=500).contains(&rules.window) && *lookback > rules.window && *lookback <= 999);
    for amount in [terms.amount, *opening_balance] {
        let value = amount.value();
        assert!(value > Decimal::ZERO && value < Decimal::from(10_000_000_000_u64), "{value}");
        assert!(value.normalize().scale() <= 8, "{value}");
    }
    for bps in [Some(terms.fee), Some(terms.slippage), terms.max_slippage].into_iter().flatten() {
        assert!(bps.value() >= Decimal::ZERO && bps.value() < Decimal::from(10_000));
    }
    assert!(terms.max_slippage.is_none_or(|bound| !bound.is_zero()), "a bound of 0 is none");
    assert_ne!(pair.asset(Leg::Numerator), pair.asset(Leg::Denominator));
    let telegram = config.telegram.as_ref().map(|telegram| &telegram.bot.api_url);
    let healthcheck = config.healthcheck.as_ref().map(ouroboros::config::SecretUrl::expose);
    let base = if let Mode::Live(live) = &config.mode { Some(&live.base_url) } else { None };
    for url in [Some(&config.market_url), base, telegram, healthcheck].into_iter().flatten() {
        assert_safe(url);
    }
    if let Mode::Live(Live { recv_window_ms, settle_seconds, .. }) = &config.mode {
        assert!((1..=60_000).contains(recv_window_ms) && (60..=86_400).contains(settle_seconds));
        let said = |text: &[u8]| find(&text.to_ascii_lowercase(), b"false");
        assert!(said(file) || said(environment), "nobody said that orders are real");
    }
    assert_ne!(config.state_dir, Path::new(""), "an empty value counts as not set");
}

/// Nothing travels unencrypted but to this machine itself.
fn assert_safe(url: &Url) {
    let host = url.host_str().unwrap_or_default();
    let is_here = host == "localhost" || host == "[::1]" || host.starts_with("127.");
    assert!(!host.is_empty() && (url.scheme() == "https" || is_here && url.scheme() == "http"));
    assert!(url.username().is_empty() && url.password().is_none());
}

fn shown(told: &Result<Config, Failure>) -> String {
    match told {
        Ok(config) => format!("{config:?}"),
        Err(Failure { kind, message, hint }) => format!("{kind:?} {message} {hint}"),
    }
}

/// The same text with every letter and digit of a secret replaced by another one. A line that is no
/// variable's is a secret too: its name may have been forgotten.
fn disguised(text: &[u8]) -> Vec<u8> {
    let Ok(text) = std::str::from_utf8(text) else { return text.to_vec() };
    let line = |line: &str| match line.split_once('=') {
        None => other(line),
        Some((name, value)) => {
            let plain_name = name.trim_start_matches('\u{feff}').trim();
            let plain_name = plain_name.strip_prefix("export ").unwrap_or(plain_name).trim();
            match VARIABLES.iter().find(|it| it.name == plain_name) {
                Some(it) if it.name.ends_with("_URL") && it.is_secret => {
                    format!("{name}={}", other_url(value))
                }
                Some(it) if it.is_secret => format!("{name}={}", other(value)),
                _ => line.to_owned(),
            }
        }
    };
    text.split('\n').map(line).collect::<Vec<_>>().join("\n").into_bytes()
}

/// Another address at the same host.
fn other_url(value: &str) -> String {
    let Some((scheme, rest)) = value.split_once(':') else { return value.to_owned() };
    let slashes = rest.len() - rest.trim_start_matches(['/', '\\', '\t']).len();
    let (slashes, rest) = rest.split_at(slashes);
    let (authority, path) = rest.split_at(rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = authority.split_at(authority.rfind('@').unwrap_or(0));
    format!("{scheme}:{slashes}{}{host}{}", other(user), other(path))
}

fn other(text: &str) -> String {
    let next = |c: char| match c {
        'z' => 'a',
        'Z' => 'A',
        '9' => '0',
        'a'..='y' | 'A'..='Y' | '0'..='8' => char::from(u8::try_from(c).expect("ASCII") + 1),
        _ => c,
    };
    text.chars().map(next).collect()
}

fn find(text: &[u8], word: &[u8]) -> bool {
    text.windows(word.len()).any(|window| window == word)
}
