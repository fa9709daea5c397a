//! A run of each kind with marked secrets; then every byte that was written or said is searched.

use std::fs;
use std::path::Path;

use crate::exchange::{Execute, Lag, Lags, Reply, Rule, Setup};
use crate::support::desk::{Desk, write_private};
use crate::support::fault::Fault;
use crate::support::folder;
use crate::support::live::Live;
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

// --- Live trading --------------------------------------------------------------------------------

#[test]
fn live_runs_of_every_kind_keep_their_secrets() {
    for pem in [false, true] {
        let vault = Vault::new(pem);
        let live = &vault.live;
        for how in [&["-v"][..], &["-v", "--json"], &["--json"]] {
            // Nothing to do, an entry, a refusal, an open order, its settlement, an exit, a halt.
            vault.expect_kept(0, how);
            live.next_candle("21");
            vault.expect_kept(0, how);
            live.next_candle("19");
            let words = "Filter failure: LOT_SIZE";
            live.exchange.fault(Rule::order(Execute::Never, Reply::Code(400, -1013, words)));
            vault.expect_kept(76, how);
            live.next_candle("19");
            live.with(|world| world.lag = Lags::all(Lag::Millis(10_000)));
            live.exchange.fault(Rule::order(Execute::Now, Reply::Close));
            vault.expect_kept(75, how);
            live.pass_the_bound();
            vault.expect_kept(0, how);
            live.with(|world| world.lag = Lags::default());
            for spread in ["20", "20", "20", "20"] {
                live.next_candle(spread);
            }
        }
        vault.expect_kept(0, &["-v", "status", "--json"]);
        vault.expect_kept(0, &["-v", "flatten", "--yes"]);
        vault.expect_kept(0, &["-v", "resume"]);
        let id = live.with(|world| world.orders[0].client_order_id.clone()) + "X";
        live.with(|world| world.order_of("BTCUSDT", true, "0.001", &id));
        vault.expect_kept(76, &["-v"]);
        vault.expect_kept(76, &["-v", "--json"]);
    }
}

#[test]
fn answers_of_every_kind_make_a_live_run_tell_no_secret() {
    let replies = [
        Reply::Close,
        Reply::Reset,
        Reply::Cut,
        Reply::Empty,
        Reply::BrokenChunks,
        Reply::Html(502),
        Reply::Redirect(302),
        Reply::Code(401, -2015, "Invalid API-key, IP, or permissions for action."),
        Reply::Code(400, -1022, "Signature for this request is not valid."),
        Reply::Code(400, -1021, "Timestamp for this request is outside of the recvWindow."),
        Reply::Silence(418, Some("5"), Some(-1003)),
    ];
    let vault = Vault::new(false);
    let live = &vault.live;
    for reply in &replies {
        for path in [
            "GET /sapi/v1/account/apiRestrictions",
            "GET /api/v3/account",
            "GET /api/v3/allOrders",
            "GET /api/v3/openOrders",
        ] {
            live.exchange.fault(Rule { count: 1, ..Rule::every(path, reply.clone()) });
            vault.expect_kept_after(&["-v"]);
            live.with(|world| world.rules.clear());
            live.advance(10_000);
        }
    }
    vault.expect_kept(0, &["-v"]);
    for (number, reply) in replies.iter().enumerate() {
        live.next_candle(if number.is_multiple_of(2) { "1000" } else { "1" });
        live.exchange.fault(Rule::order(Execute::Now, reply.clone()));
        for path in ["GET /api/v3/order", "GET /api/v3/myTrades"] {
            live.exchange.fault(Rule { count: 1, ..Rule::every(path, reply.clone()) });
        }
        vault.expect_kept_after(&["-v"]);
        live.with(|world| world.rules.clear());
        live.pass_the_bound();
        vault.expect_kept_after(&["-v"]);
        let _ = vault.secretly(live.command(&["resume"])).start().wait();
    }
}

#[test]
fn every_secret_of_a_live_run_goes_only_where_it_belongs() {
    for pem in [false, true] {
        let vault = Vault::new(pem);
        let live = &vault.live;
        vault.expect_kept(0, &["-v"]);
        live.next_candle("21");
        live.exchange.fault(Rule::every("GET /api/v3/klines", Reply::Delay(200)));
        let running = vault.secretly(live.command(&["-v"])).start();
        std::thread::sleep(std::time::Duration::from_millis(100));
        let command_line = running.command_line();
        let outcome = running.wait();
        assert_eq!(outcome.code, 0, "{}", outcome.transcript());
        assert!(String::from_utf8_lossy(&command_line).contains("ouroboros"));
        vault.expect_free(&command_line, "the command line");
        live.next_candle("19");
        vault.expect_kept(0, &["-v"]);
        assert_eq!(live.with(|world| world.posts()), 2);
        live.with(|world| {
            let (mut signed, mut told) = (0, 0);
            for logged in &world.log {
                let asked = &logged.asked;
                let headers = format!("{:?}", asked.headers);
                let rest = format!("{}?{}\n{}", asked.path, asked.query, asked.body);
                let is_signed = rest.contains("signature=");
                signed += usize::from(is_signed);
                assert_eq!(headers.matches(API_KEY).count(), usize::from(is_signed), "{rest}");
                assert_eq!(asked.header("x-mbx-apikey").is_some(), is_signed, "{rest}");
                let bot = asked.path.starts_with(&format!("/bot{TOKEN}/"));
                told += usize::from(bot);
                assert_eq!(rest.matches(TOKEN).count(), usize::from(bot), "{rest}");
                let ping = asked.path.starts_with(&format!("/ping/{PING}"));
                assert_eq!(rest.matches(PING).count(), usize::from(ping), "{rest}");
                for secret in [API_SECRET, PEM_BODY] {
                    assert!(!headers.contains(secret) && !rest.contains(secret), "{rest}");
                }
                assert!(!rest.contains(API_KEY), "{rest}");
            }
            assert!(signed > 10 && told > 1, "{signed} signed, {told} told");
        });
    }
}

/// A live book whose every secret is marked.
struct Vault {
    live: Live,
    pem: Option<std::path::PathBuf>,
}

impl Vault {
    fn new(pem: bool) -> Self {
        let public = [
            0x19, 0x42, 0x0a, 0xbf, 0xd7, 0x52, 0xa5, 0x65, 0xc1, 0x56, 0x25, 0xe9, 0xda, 0x6e,
            0xaf, 0x00, 0x86, 0xfc, 0x40, 0xc1, 0x49, 0x60, 0x18, 0x32, 0x14, 0x44, 0x2c, 0x14,
            0x99, 0x6a, 0x80, 0x0d,
        ];
        let ed25519 = pem.then(|| public.to_vec());
        let live = Live::upon(Setup { ed25519, ..Setup::default() });
        live.with(|world| {
            API_KEY.clone_into(&mut world.key);
            API_SECRET.clone_into(&mut world.secret);
        });
        let pem = pem.then(|| {
            let path = live.cwd().join("key.pem");
            let lines = ["-----BEGIN PRIVATE KEY-----", PEM_BODY, "-----END PRIVATE KEY-----", ""];
            write_private(&path, lines.join("\n"));
            path
        });
        Self { live, pem }
    }

    /// The same start with every secret set.
    fn secretly(&self, run: Run) -> Run {
        let url = self.live.exchange.url();
        let run = run
            .env("TELEGRAM_BOT_TOKEN", TOKEN)
            .env("TELEGRAM_CHAT_ID", "42")
            .env("TELEGRAM_API_URL", url.clone())
            .env("HEALTHCHECK_URL", format!("{url}/ping/{PING}"));
        match &self.pem {
            None => run,
            Some(path) => run.without("BINANCE_API_SECRET").env("BINANCE_PRIVATE_KEY_FILE", path),
        }
    }

    /// A start with these arguments that ends with this code.
    #[track_caller]
    fn expect_kept(&self, code: i32, args: &[&str]) {
        let outcome = self.secretly(self.live.command(args)).expect_exit(code);
        self.expect_free_everywhere(&outcome);
    }

    /// Whatever it ends with.
    #[track_caller]
    fn expect_kept_after(&self, args: &[&str]) {
        let outcome = self.secretly(self.live.command(args)).start().wait();
        self.expect_free_everywhere(&outcome);
    }

    #[track_caller]
    fn expect_free_everywhere(&self, outcome: &Outcome) {
        self.expect_free(outcome.stdout.as_bytes(), "standard output");
        self.expect_free(outcome.stderr.as_bytes(), "standard error");
        for path in folder::walk(&self.live.state()).iter().filter(|path| path.is_file()) {
            let bytes = fs::read(path).expect("a file");
            self.expect_free(&bytes, &path.display().to_string());
        }
    }

    /// No secret and no signature that was ever sent is in these bytes.
    #[track_caller]
    fn expect_free(&self, bytes: &[u8], place: &str) {
        let text = String::from_utf8_lossy(bytes);
        for secret in [API_KEY, API_SECRET, TOKEN, PING, PEM_BODY, "BEGIN PRIVATE KEY"] {
            assert!(!text.contains(secret), "{secret} in {place}: {text}");
        }
        assert!(!text.contains("signature="), "a signature in {place}: {text}");
        let signatures = self.live.with(|world| {
            let sent = world.log.iter().filter_map(|logged| {
                let parameters = format!("{}&{}", logged.asked.query, logged.asked.body);
                let signature = parameters.split('&').find_map(|it| it.strip_prefix("signature="));
                signature.map(str::to_owned)
            });
            sent.collect::<Vec<String>>()
        });
        for signature in signatures {
            assert!(!text.contains(&signature), "{signature} in {place}: {text}");
        }
    }
}

const API_KEY: &str = SECRETS[0].1;
const API_SECRET: &str = SECRETS[1].1;
const TOKEN: &str = SECRETS[2].1;
const PING: &str = "MARKEDhealthcheck-5f1c";
/// The key of the documents' example.
const PEM_BODY: &str = "MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u";
