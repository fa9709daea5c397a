//! Keys of live trading: the places they come from, which of them wins, and every way in which one
//! can be wrong: 78, named, never shown, before anything is made or anybody asked.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use clap::Parser as _;
use ouroboros::cli::Cli;
use ouroboros::config::{Config, Live, Mode};
use ouroboros::exchange::sign::Credentials;
use ouroboros::failure::Failure;
use rustix::fs::{CWD, mkfifoat};
use secrecy::SecretString;
use tempfile::TempDir;

use crate::support::desk::{Desk, home, write_private};
use crate::support::table::spreads;

// --- which world ---------------------------------------------------------------------------------

#[test]
fn live_is_what_was_asked_for_in_so_many_words() {
    for (dry_run, options, expected) in [
        ("", &[][..], "paper"),
        ("true", &[], "paper"),
        ("false", &[], "live"),
        ("False", &[], "live"),
        ("FALSE", &[], "live"),
        ("false", &["--dry-run"], "paper"),
        ("false", &["--candles", "demo"], "replay"),
        ("false", &["--candles", "demo", "--dry-run"], "replay"),
        ("true", &["--dry-run"], "paper"),
    ] {
        let place = Place::new();
        let config = place.with(&BOTH).with(&[("DRY_RUN", dry_run)]).load(options).expect("good");
        assert_eq!(config.mode.name(), expected, "`{dry_run}` {options:?}");
        assert_eq!(config.mode.is_live(), expected == "live");
        assert_eq!(config.mode.is_replay(), expected == "replay");
    }
}

#[test]
fn addresses_and_times_of_live_trading() {
    let live = Place::new().with(&BOTH).live();
    assert_eq!(live.base_url.as_str(), "https://api.binance.com/");
    assert_eq!((live.recv_window_ms, live.settle_seconds), (5000, 660));
    let live = Place::new().with(&BOTH).with(&[("RECV_WINDOW_MS", "1")]).live();
    assert_eq!(live.recv_window_ms, 1);
    let live = Place::new().with(&BOTH).with(&[("SETTLE_SECONDS", "86400")]).live();
    assert_eq!(live.settle_seconds, 86_400);

    let [default, base, market] =
        ["https://api.binance.com/", "https://testnet.binance.vision/", "https://example.org/"];
    for (settings, orders, candles) in [
        (&[][..], default, default),
        (&[("BINANCE_BASE_URL", base)], base, base),
        (&[("BINANCE_MARKET_URL", market)], default, market),
        (&[("BINANCE_BASE_URL", base), ("BINANCE_MARKET_URL", market)], base, market),
    ] {
        let config = Place::new().with(&BOTH).with(&LIVE).with(settings).load(&[]).expect("good");
        assert_eq!(config.market_url.as_str(), candles, "{settings:?}");
        let Mode::Live(live) = config.mode else { panic!("it is live") };
        assert_eq!(live.base_url.as_str(), orders, "{settings:?}");
    }
}

#[test]
fn paper_needs_no_key_and_reads_none() {
    let desk = Desk::new(spreads("20 20 20 21"));
    // Whoever opened this pipe would wait for ever; whoever read these would refuse them.
    let credentials = desk.cwd().join("credentials");
    fs::create_dir(&credentials).expect("a new folder");
    write_private(&credentials.join("binance_api_key"), "no key at all");
    fs::create_dir(credentials.join("binance_api_secret")).expect("a new folder");
    let pipe = desk.cwd().join("key.pem");
    make_pipe(&pipe);
    let run = desk.run().env("CREDENTIALS_DIRECTORY", &credentials);
    let _ = run.env("BINANCE_PRIVATE_KEY_FILE", &pipe).expect_exit(0);
}

// --- the places ----------------------------------------------------------------------------------

#[test]
fn environment_then_credentials_then_file() {
    // Every set of places, for the name and for the secret.
    for places in 0..64_u32 {
        let place = Place::new();
        let mut expected = [None, None];
        let mut lines = String::new();
        let mut settings = Vec::new();
        for (index, (variable, file)) in PARTS.iter().enumerate() {
            let has = |bit: usize| places >> (index * 3 + bit) & 1 == 1;
            if has(0) {
                settings.push((*variable, "MARKEDenvironment"));
            }
            if has(1) {
                place.credential(file, "MARKEDcredentials\n");
            }
            if has(2) {
                lines.extend([variable, "=MARKEDfile\n"]);
            }
            expected[index] = ["environment", "credentials", "file"]
                .into_iter()
                .enumerate()
                .find_map(|(bit, name)| has(bit).then(|| format!("MARKED{name}")));
        }
        place.file(&lines);
        let place = place.with(&settings).with(&LIVE);
        match &expected {
            [Some(api_key), Some(secret)] => expect_key(&place.live(), api_key, secret),
            [api_key, secret] => {
                let said = said(&place.load(&[]).expect_err("a part is missing"));
                for (part, (variable, file)) in [api_key, secret].into_iter().zip(PARTS) {
                    assert_eq!(said.contains(&format!("`{variable}`")), part.is_none(), "{said}");
                    assert!(said.contains(file), "{said}");
                }
            }
        }
    }
}

#[test]
fn an_empty_value_is_no_value_wherever_it_stands() {
    for empty in ["", "\n", "\r\n", "\n\n"] {
        let place = Place::new().with(&LIVE);
        for (variable, file) in PARTS {
            place.credential(file, empty);
            place.file(&PARTS.map(|(name, _)| format!("{name}=MARKEDfile\n")).concat());
            let place = Place { home: place.home.clone(), settings: place.settings.clone() };
            let place = place.with(&[(variable, "")]);
            expect_key(&place.live(), "MARKEDfile", "MARKEDfile");
        }
    }
}

#[test]
fn a_newline_at_the_end_of_a_credential_is_not_part_of_it() {
    for end in ["", "\n", "\r\n", "\n\n"] {
        let place = Place::new().with(&LIVE);
        for (_, file) in PARTS {
            place.credential(file, &format!("MARKED{file}{end}"));
        }
        expect_key(&place.live(), "MARKEDbinance_api_key", "MARKEDbinance_api_secret");
    }
}

#[test]
fn a_key_file_instead_of_a_secret() {
    let place = Place::new().with(&KEY_ONLY);
    write_private(&place.path("key.pem"), PEM);
    let expected = Credentials::ed25519(SecretString::from(KEY_ONLY[0].1), PEM.as_bytes());
    let expected = expected.expect("a good key");
    for config in [place.key_file("key.pem").load(&[]), place.key_file_line("key.pem").load(&[])] {
        let config = config.expect("a good key");
        assert_eq!(config.warnings, [""; 0]);
        let Mode::Live(live) = config.mode else { panic!("it is live") };
        assert_eq!(
            live.credentials.as_ref().expect("a key").sign(b"message"),
            expected.sign(b"message")
        );
        assert_eq!(live.credentials.as_ref().expect("a key").header(), KEY_ONLY[0].1);
    }
}

#[test]
fn a_key_file_that_others_may_read_is_a_warning() {
    let place = Place::new().with(&KEY_ONLY);
    let path = place.path("key.pem");
    write_private(&path, PEM);
    for (mode, expected) in [(0o600, 0), (0o400, 0), (0o640, 1), (0o604, 1), (0o644, 1)] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("a file of ours");
        let warnings = place.key_file("key.pem").load(&[]).expect("a good key").warnings;
        assert_eq!(warnings.len(), expected, "{mode:o}: {warnings:?}");
        let names = |warning: &String| warning.contains("key.pem") && warning.contains("chmod 600");
        assert!(warnings.iter().all(names), "{warnings:?}");
    }
    // In systemd's folder an access list stands behind the bits.
    place.credential("key.pem", PEM);
    let path = place.path("credentials/key.pem");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o440)).expect("a file of ours");
    let warnings = place.key_file("credentials/key.pem").load(&[]).expect("a good key").warnings;
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn what_was_read_is_not_shown() {
    let place = Place::new().with(&BOTH).with(&LIVE);
    let config = place.load(&[]).expect("good");
    assert!(!format!("{config:?} {config:#?}").contains("MARKED"));
}

// --- what is wrong -------------------------------------------------------------------------------

#[test]
fn live_without_a_key_or_a_secret_names_all_the_places() {
    let places = ["`.env`", "`$CREDENTIALS_DIRECTORY`", "binance_api_key", "binance_api_secret"];
    let [key, secret] = [BOTH[0], BOTH[1]];
    let file = ("BINANCE_PRIVATE_KEY_FILE", "/no/such/key.pem");
    let names = ["`BINANCE_API_KEY`", "`BINANCE_API_SECRET`", "`BINANCE_PRIVATE_KEY_FILE`"];
    for (settings, named) in [
        (&[][..], &names[..]),
        (&[key], &names[1..]),
        (&[secret], &names[..1]),
        (&[file], &names[..1]),
    ] {
        let said = refused(&Desk::new(spreads("20 20 20 21")), settings);
        for word in named.iter().chain(&places).chain(&["--dry-run"]) {
            assert!(said.contains(word), "`{word}` is not said: {said}");
        }
    }
}

#[test]
fn a_key_with_blanks_in_it() {
    for wrong in ["MARKED key", "MARKED\tkey", " MARKED", "MARKED\nkey", "MARKED\u{7f}", "MARKEDé"]
    {
        for (name, file) in PARTS {
            let mut settings = BOTH.to_vec();
            settings.push((name, wrong));
            let said = refused(&Desk::new(spreads("20 20 20 21")), &settings);
            assert!(said.contains(name), "{said}");

            let desk = Desk::new(spreads("20 20 20 21"));
            credential(&desk, file, wrong.as_bytes());
            let said = refused(&desk, &[]);
            assert!(said.contains(file) && said.contains(name), "{said}");
        }
    }
    for (name, _) in PARTS {
        let desk = Desk::new(spreads("20 20 20 21"));
        write_private(&desk.cwd().join(".env"), format!("{name}=MARKED with blanks\n"));
        assert!(refused(&desk, &[]).contains(name));
    }
}

#[test]
fn a_credential_that_is_there_but_can_not_be_read() {
    for (name, file) in PARTS {
        let make: [&dyn Fn(&Path); 4] = [
            &|path| fs::create_dir(path).expect("a new folder"),
            &make_pipe,
            &|path| write_private(path, b"MARKED\xff\xfe"),
            &|path| write_private(path, "MARKED".repeat(4000)),
        ];
        for make in make {
            let desk = Desk::new(spreads("20 20 20 21"));
            credential(&desk, file, b"");
            let path = desk.cwd().join("credentials").join(file);
            fs::remove_file(&path).expect("it was made");
            make(&path);
            // What stands in the file of variables is no way round it.
            write_private(&desk.cwd().join(".env"), env_lines());
            let said = refused(&desk, &[]);
            assert!(said.contains(file) && said.contains(name), "{said}");
            // What was given to this very start is.
            let place = Place::new().with(&BOTH).with(&LIVE);
            expect_key(&place.live(), BOTH[0].1, BOTH[1].1);
        }
    }
    let desk = Desk::new(spreads("20 20 20 21"));
    write_private(&desk.cwd().join("credentials"), "a file");
    let said = refused(&desk, &[("CREDENTIALS_DIRECTORY", "credentials")]);
    assert!(said.contains("credentials/binance_api_key"), "{said}");
}

#[test]
fn a_secret_and_a_key_file() {
    let secret = "BINANCE_API_SECRET=MARKEDfile\n";
    let file = "BINANCE_PRIVATE_KEY_FILE=key.pem\n";
    let variables =
        [("BINANCE_API_SECRET", "MARKEDenvironment"), ("BINANCE_PRIVATE_KEY_FILE", "key.pem")];
    for (settings, lines, is_credential) in [
        (&variables[..], String::new(), false),
        (&variables[..1], file.to_owned(), false),
        (&variables[1..], secret.to_owned(), false),
        (&[], format!("{secret}{file}"), false),
        (&variables[1..], String::new(), true),
        (&[], file.to_owned(), true),
    ] {
        let desk = Desk::new(spreads("20 20 20 21"));
        write_private(&desk.cwd().join("key.pem"), PEM);
        write_private(&desk.cwd().join(".env"), format!("BINANCE_API_KEY=MARKEDkey\n{lines}"));
        let name = if is_credential { "binance_api_secret" } else { "BINANCE_API_SECRET" };
        if is_credential {
            credential(&desk, name, b"MARKEDcredentials");
        }
        let said = refused(&desk, settings);
        assert!(said.contains(name) && said.contains("BINANCE_PRIVATE_KEY_FILE"), "{said}");
        assert!(said.contains("both set"), "{said}");
    }
}

#[test]
fn key_files_that_are_none() {
    let other = rcgen::KeyPair::generate().expect("a key").serialize_pem();
    let relabelled = |label: &str| PEM.replace("PRIVATE", label);
    for (content, why) in [
        (String::new(), "is empty"),
        ("\n \n".to_owned(), "is empty"),
        ("MARKED".to_owned(), "holds no private key"),
        (relabelled("ENCRYPTED PRIVATE"), "is encrypted"),
        (relabelled("PUBLIC"), "is the public key"),
        (relabelled("OPENSSH PRIVATE"), "holds no private key"),
        (other, "holds a private key that is not Ed25519"),
        (PEM.replace("MC4C", "MC5C"), "holds a private key that is not Ed25519, or damaged"),
        ("#\n".repeat(10_000) + PEM, "is too large"),
    ] {
        let desk = Desk::new(spreads("20 20 20 21"));
        write_private(&desk.cwd().join("key.pem"), &content);
        expect_no_key_file(&desk, "key.pem", why);
    }
    let desk = Desk::new(spreads("20 20 20 21"));
    expect_no_key_file(&desk, "key.pem", "No such file");
    expect_no_key_file(&desk, "/dev/null", "not a plain file");
    fs::create_dir(desk.cwd().join("folder")).expect("a new folder");
    expect_no_key_file(&desk, "folder", "not a plain file");
    make_pipe(&desk.cwd().join("pipe"));
    expect_no_key_file(&desk, "pipe", "not a plain file");
}

#[test]
fn a_key_in_the_place_of_its_files_name_is_not_repeated() {
    for value in [
        "MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+MARKED0lQOl1s4CLIAB9m89u",
        "-----BEGIN PRIVATE KEY-----MARKED-----END PRIVATE KEY-----",
        "NhqPtmdSJYdKjVHjA7PZj4Mge3R5YNiP1e3UZjInClMARKEDvqqM6A7H5fATj0j",
    ] {
        let desk = Desk::new(spreads("20 20 20 21"));
        let said = refused(&desk, &[KEY_ONLY[0], ("BINANCE_PRIVATE_KEY_FILE", value)]);
        assert!(said.contains("BINANCE_PRIVATE_KEY_FILE"), "{said}");
    }
    // A file with a long name is called by it.
    let desk = Desk::new(spreads("20 20 20 21"));
    let name = "a".repeat(64);
    write_private(&desk.cwd().join(&name), "");
    expect_no_key_file(&desk, &name, "is empty");
}

#[test]
fn other_settings_of_live_trading_are_looked_at_too() {
    for (name, value) in [
        ("RECV_WINDOW_MS", "0"),
        ("RECV_WINDOW_MS", "60001"),
        ("SETTLE_SECONDS", "59"),
        ("SETTLE_SECONDS", "86401"),
        ("BINANCE_BASE_URL", "http://api.binance.com"),
        ("BINANCE_BASE_URL", "https://api.binance.com?a=b"),
        ("TRADE_AMOUNT_USDT", "0"),
    ] {
        let mut settings = BOTH.to_vec();
        settings.push((name, value));
        let said = refused(&Desk::new(spreads("20 20 20 21")), &settings);
        assert!(said.contains(name), "{said}");
    }
}

// --- helpers -------------------------------------------------------------------------------------

/// A folder with a file of variables, a folder of credentials and an environment.
struct Place {
    home: std::rc::Rc<TempDir>,
    settings: Vec<(String, OsString)>,
}

impl Place {
    fn new() -> Self {
        let place = Self { home: std::rc::Rc::new(home()), settings: Vec::new() };
        fs::create_dir(place.path("credentials")).expect("a new folder");
        place.file("# Nothing is set.\n");
        let folder = place.path("credentials").into();
        Self { settings: vec![("CREDENTIALS_DIRECTORY".to_owned(), folder)], ..place }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn file(&self, lines: &str) {
        write_private(&self.path("env"), format!("# Variables.\n{lines}"));
    }

    fn credential(&self, name: &str, content: &str) {
        write_private(&self.path("credentials").join(name), content);
    }

    fn with(mut self, settings: &[(&str, &str)]) -> Self {
        self.settings.extend(settings.iter().map(|(name, value)| ((*name).into(), value.into())));
        self
    }

    /// The same place, live, with this key file in the environment.
    fn key_file(&self, name: &str) -> Self {
        let mut settings = self.settings.clone();
        settings.push(("BINANCE_PRIVATE_KEY_FILE".to_owned(), self.path(name).into()));
        Self { home: self.home.clone(), settings }.with(&LIVE)
    }

    /// The same place, live, with this key file in the file of variables.
    fn key_file_line(&self, name: &str) -> Self {
        self.file(&format!("BINANCE_PRIVATE_KEY_FILE={}\n", self.path(name).display()));
        Self { home: self.home.clone(), settings: self.settings.clone() }.with(&LIVE)
    }

    fn load(&self, options: &[&str]) -> Result<Config, Failure> {
        let file = self.path("env").into_os_string();
        let words = ["ouroboros".into(), "--env-file".into(), file].into_iter();
        let cli = Cli::try_parse_from(words.chain(options.iter().map(OsString::from)));
        let environment: BTreeMap<OsString, OsString> =
            self.settings.iter().map(|(name, value)| (name.into(), value.clone())).collect();
        let config = Config::load(&cli.expect("good options").options, environment)?;
        config.check_key().map(|()| config)
    }

    #[track_caller]
    fn live(self) -> Live {
        let config = self.with(&LIVE).load(&[]).expect("a good configuration");
        let Mode::Live(live) = config.mode else { panic!("it is live") };
        live
    }
}

#[track_caller]
fn expect_key(live: &Live, api_key: &str, secret: &str) {
    let expected = Credentials::hmac(SecretString::from(api_key), SecretString::from(secret));
    assert_eq!(
        live.credentials.as_ref().expect("a key").sign(b"x"),
        expected.expect("a key").sign(b"x"),
        "{secret}"
    );
    assert_eq!(live.credentials.as_ref().expect("a key").header(), api_key);
}

#[track_caller]
fn expect_no_key_file(desk: &Desk, name: &str, why: &str) {
    let said = refused(desk, &[KEY_ONLY[0], ("BINANCE_PRIVATE_KEY_FILE", name)]);
    for word in ["`BINANCE_PRIVATE_KEY_FILE`", &format!("`{name}`"), why, "openssl"] {
        assert!(said.contains(word), "`{word}` is not said of {name}: {said}");
    }
}

/// A live start of the program, and of what only looks: 78, nothing shown, made or asked.
#[track_caller]
fn refused(desk: &Desk, settings: &[(&str, &str)]) -> String {
    let mut text = String::new();
    for command in ["flatten", "run"] {
        let run = desk.command(&["--json", command]).env("DRY_RUN", "false");
        let run = if desk.cwd().join("credentials").is_dir() {
            run.env("CREDENTIALS_DIRECTORY", desk.cwd().join("credentials"))
        } else {
            run
        };
        let outcome = run.envs(settings).expect_exit(78);
        assert!(!outcome.said().contains("marked"), "{}", outcome.transcript());
        assert!(!desk.state().exists(), "a state directory was made");
        assert!(desk.server.requests().is_empty(), "somebody was asked");
        let error = outcome.json()["error"].clone();
        let part = |name: &str| error[name].as_str().expect("a text").to_owned();
        text = format!("{}\n{}", part("message"), part("hint"));
        assert!(!text.contains("next version"), "it was taken for good: {settings:?}");
    }
    text
}

fn credential(desk: &Desk, name: &str, content: &[u8]) {
    let folder = desk.cwd().join("credentials");
    fs::create_dir_all(&folder).expect("a folder");
    write_private(&folder.join(name), content);
}

fn env_lines() -> String {
    BOTH.map(|(name, value)| format!("{name}={value}\n")).concat()
}

fn said(failure: &Failure) -> String {
    assert_eq!(failure.kind.code(), 78);
    format!("{}\n{}", failure.message, failure.hint)
}

fn make_pipe(path: &Path) {
    mkfifoat(CWD, path, rustix::fs::Mode::from_raw_mode(0o600)).expect("a pipe with a name");
}

const LIVE: [(&str, &str); 1] = [("DRY_RUN", "false")];
const BOTH: [(&str, &str); 2] =
    [("BINANCE_API_KEY", "MARKEDapikey"), ("BINANCE_API_SECRET", "MARKEDapisecret")];
const KEY_ONLY: [(&str, &str); 1] = [("BINANCE_API_KEY", "MARKEDapikey")];

/// Each part of a key: its variable, and its file below `$CREDENTIALS_DIRECTORY`.
const PARTS: [(&str, &str); 2] =
    [("BINANCE_API_KEY", "binance_api_key"), ("BINANCE_API_SECRET", "binance_api_secret")];

/// The key of the exchange's own documents, as openssl writes one.
const PEM: &str = "-----BEGIN PRIVATE KEY-----\n\
                   MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u\n\
                   -----END PRIVATE KEY-----\n";
