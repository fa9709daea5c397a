//! A trading desk: a folder of its own, an exchange or a dump, and starts of the program upon it.

use std::fs;
use std::path::{Path, PathBuf};

use rust_decimal::Decimal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::binance::Server;
use super::clock::{self, Clock};
use super::dump::Dump;
use super::folder::Folder;
use super::run::{Outcome, Run, money};
use super::table::{Row, decimal, spreads};

/// Paper trading against a scripted exchange.
pub(crate) struct Desk {
    pub(crate) server: Server,
    home: TempDir,
}

impl Desk {
    /// Candles of one minute whose last has just ended; one more can.
    pub(crate) fn new(rows: Vec<Row>) -> Self {
        Self::of(Server::start(rows))
    }

    /// The same, where two more candles can end.
    pub(crate) fn for_two_more(rows: Vec<Row>) -> Self {
        Self::of(Server::with(rows, Clock::over_two_candles(), clock::MINUTE))
    }

    /// Candles of a day and a running clock, so many milliseconds from the machine's.
    pub(crate) fn daily(rows: Vec<Row>, shift: i64) -> Self {
        Self::of(Server::with(rows, Clock::live(shift), clock::DAY))
    }

    /// A book that holds nothing, and a newest candle that is an entry.
    #[track_caller]
    pub(crate) fn entry_ahead() -> Self {
        let desk = Self::new(spreads("20 20 20 20"));
        let _ = desk.run().expect_exit(0);
        desk.server.close_candle(spreads("21")[0]);
        desk
    }

    fn of(server: Server) -> Self {
        Self { server, home: home() }
    }

    /// The program's working folder.
    pub(crate) fn cwd(&self) -> PathBuf {
        self.home.path().join("cwd")
    }

    /// The state directory, which the first run makes.
    pub(crate) fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// The folder of paper trading in it.
    pub(crate) fn paper(&self) -> Folder {
        Folder::new(self.state().join("paper"))
    }

    /// Any start upon this desk.
    pub(crate) fn command(&self, args: &[&str]) -> Run {
        let run = Run::paper(&self.cwd(), &self.server).args(args).state_dir(&self.state());
        if self.server.is_daily() { run.env("TIMEFRAME", "1d") } else { run }
    }

    /// One step, told as JSON.
    pub(crate) fn run(&self) -> Run {
        self.command(&["--json"])
    }

    /// The book as `status` shows it.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.command(&["status", "--json"]).expect_exit(0).json()
    }

    /// A good run that takes the entry.
    #[track_caller]
    pub(crate) fn expect_buy(&self) {
        self.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    }

    /// That every quote coin is accounted for: balance = start + realized - cost of what is held.
    #[track_caller]
    pub(crate) fn expect_conserved(&self) {
        expect_conserved(&self.status());
    }

    /// A run that fails: this code, these words, and neither state nor journal touched.
    #[track_caller]
    pub(crate) fn expect_refused(&self, code: i32, words: &[&str]) -> Outcome {
        let before = self.paper().snapshot();
        let outcome = self.run().expect_exit(code);
        assert_eq!(before, self.paper().snapshot(), "a byte changed\n{}", outcome.transcript());
        outcome.expect_said(words);
        outcome
    }
}

/// Replay of candles from a dump.
pub(crate) struct Replay {
    home: TempDir,
}

impl Replay {
    /// Candles of one hour from 1 March 2024 on.
    pub(crate) fn new(rows: &[Row]) -> Self {
        Self::of(&Dump::hourly(START), rows)
    }

    /// Candles as the dump has them.
    pub(crate) fn of(dump: &Dump, rows: &[Row]) -> Self {
        let replay = Self { home: home() };
        dump.write(&replay.candles(), rows);
        replay
    }

    /// A folder for candles with nothing in it.
    pub(crate) fn empty() -> Self {
        let replay = Self { home: home() };
        fs::create_dir(replay.candles()).expect("a new folder");
        replay
    }

    /// Where the candles are.
    pub(crate) fn candles(&self) -> PathBuf {
        self.home.path().join("candles")
    }

    /// The state directory, which the first run makes.
    pub(crate) fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// The program's working folder.
    pub(crate) fn cwd(&self) -> PathBuf {
        self.home.path().join("cwd")
    }

    /// The only folder in `replay/`.
    pub(crate) fn world(&self) -> Folder {
        let entries = fs::read_dir(self.state().join("replay")).expect("a replay has run");
        let mut paths = entries.map(|entry| entry.expect("an entry").path());
        let world = paths.next().expect("a world");
        assert_eq!(paths.next(), None, "one world");
        Folder::new(world)
    }

    /// Any start upon these candles.
    pub(crate) fn command(&self, args: &[&str]) -> Run {
        Run::replay(&self.cwd(), &self.candles()).args(args).state_dir(&self.state())
    }

    /// One step, told as JSON.
    pub(crate) fn run(&self) -> Run {
        self.command(&["--json"])
    }

    /// Steps with these settings, one a word, whose actions must be these words.
    ///
    /// Returns what the last of them told.
    #[track_caller]
    pub(crate) fn expect_actions(&self, settings: &[(&str, &str)], actions: &str) -> Value {
        let mut last = Value::Null;
        for (step, action) in actions.split_whitespace().enumerate() {
            let outcome = self.run().envs(settings).expect_exit(0);
            last = outcome.json();
            assert_eq!(
                last["action"],
                action,
                "step {step} of `{actions}`\n{}",
                outcome.transcript()
            );
        }
        last
    }

    /// The book as `status` shows it.
    #[track_caller]
    pub(crate) fn status(&self) -> Value {
        self.command(&["status", "--json"]).expect_exit(0).json()
    }
}

/// Every quote coin is accounted for: balance = 1000 + realized - cost of what is held.
#[track_caller]
pub(crate) fn expect_conserved(status: &Value) {
    let cost = match &status["position"] {
        Value::Null => Decimal::ZERO,
        position => money(position, "/cost"),
    };
    let balance = decimal("1000") + money(status, "/realized_pnl") - cost;
    assert_eq!(money(status, "/paper_balance"), balance, "{status:#}");
}

/// An empty folder of a test, and in it an empty one to work in.
pub(crate) fn home() -> TempDir {
    let home = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(home.path().join("cwd")).expect("a new folder");
    home
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, bytes: impl AsRef<[u8]>) {
    use std::os::unix::fs::PermissionsExt;
    fs::write(path, bytes).expect("a file is written");
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("a file of ours");
}

/// 2024-03-01T00:00:00Z.
pub(crate) const START: i64 = 1_709_251_200_000;
