//! Live trading upon the simulated exchange: the real binary, real signatures, made-up money, and a clock that both
//! sides share and a test moves.

use std::cell::Cell;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rust_decimal::Decimal;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::clock::{self, HOUR, MINUTE, SECOND};
use super::desk::home;
use super::folder::Folder;
use super::run::{Outcome, Run, money};
use crate::exchange::{Exchange, Setup, World};

/// A live book, its account, and the time.
pub(crate) struct Live {
    pub(crate) exchange: Exchange,
    home: TempDir,
    /// What the account held before the book began.
    begin: Vec<(String, Decimal)>,
    shift: Cell<i64>,
}

/// A moment to go back to.
pub(crate) struct Moment(i64);

impl Live {
    /// An account in which nothing has happened, ten seconds after a candle of an hour that is no entry.
    pub(crate) fn new() -> Self {
        Self::upon(Setup::default())
    }

    /// The same upon another exchange.
    pub(crate) fn upon(setup: Setup) -> Self {
        let exchange = Exchange::start(Setup { interval_ms: HOUR, ..setup });
        let live = Self { exchange, home: home(), begin: Vec::new(), shift: Cell::new(0) };
        let now = clock::now();
        live.advance(now / HOUR * HOUR + HOUR + 10 * SECOND - now);
        live.exchange.with(|world| world.set_spreads(&["20", "20", "20", "20"]));
        let begin = live.exchange.with(|world| {
            world.balances.iter().map(|(asset, it)| (asset.clone(), it.free)).collect()
        });
        Self { begin, ..live }
    }

    /// A book that holds nothing, and a newest candle that is an entry: ETH is bought.
    #[track_caller]
    pub(crate) fn entry_ahead() -> Self {
        let live = Self::new();
        live.expect_hold();
        live.next_candle("21");
        live
    }

    /// A book that holds ETH, and a newest candle on which it is sold.
    #[track_caller]
    pub(crate) fn exit_ahead() -> Self {
        let live = Self::entry_ahead();
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
        live.next_candle("19");
        live
    }

    /// A run that does nothing.
    #[track_caller]
    pub(crate) fn expect_hold(&self) {
        let _ = self.run().expect_exit(0).expect_json(&[("/action", json!("hold"))]);
    }

    /// Lets so much time pass, for exchange and program.
    pub(crate) fn advance(&self, millis: i64) {
        self.exchange.advance(millis);
        self.shift.set(self.shift.get() + millis);
    }

    /// Lets the bound pass after which "no such order" may be believed.
    pub(crate) fn pass_the_bound(&self) {
        self.advance(2 * MINUTE);
    }

    /// Lets a candle end with this ratio.
    pub(crate) fn next_candle(&self, spread: &str) {
        self.shifted(|world| world.close_candle(spread));
    }

    /// A change that may move the exchange's clock; the program's goes along.
    pub(crate) fn shifted(&self, change: impl FnOnce(&mut World)) {
        let moved = self.exchange.with(|world| {
            let before = world.offset_ms;
            change(world);
            world.offset_ms - before
        });
        self.shift.set(self.shift.get() + moved);
    }

    /// Where the clocks stand.
    pub(crate) fn moment(&self) -> Moment {
        Moment(self.shift.get())
    }

    /// Sets the program's clock back; whoever sets the exchange back sets its clock with it.
    pub(crate) fn go_back_to(&self, moment: &Moment) {
        self.shift.set(moment.0);
    }

    /// The exchange, to look at or to change.
    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        self.exchange.with(look)
    }

    /// The state directory, which the first run makes.
    pub(crate) fn state(&self) -> PathBuf {
        self.home.path().join("state")
    }

    /// Another state directory.
    pub(crate) fn other_state(&self) -> PathBuf {
        self.home.path().join("other")
    }

    /// Questions and orders that came in; Telegram and the health check don't count.
    pub(crate) fn asked(&self) -> usize {
        let is_api = |logged: &&crate::exchange::Logged| {
            logged.asked.path.starts_with("/api/") || logged.asked.path.starts_with("/sapi/")
        };
        self.with(|world| world.log.iter().filter(is_api).count())
    }

    /// The program's working folder.
    pub(crate) fn cwd(&self) -> PathBuf {
        self.home.path().join("cwd")
    }

    /// The folder of live trading in it.
    pub(crate) fn folder(&self) -> Folder {
        Folder::new(self.state().join("live"))
    }

    /// Any start upon this account.
    pub(crate) fn command(&self, args: &[&str]) -> Run {
        self.command_at(&self.state(), args)
    }

    /// The same with another state directory, as on another machine.
    pub(crate) fn command_at(&self, state: &Path, args: &[&str]) -> Run {
        let exchange = &self.exchange;
        Run::bare(&self.cwd())
            .env("DRY_RUN", "false")
            .env("BINANCE_BASE_URL", exchange.url())
            .env("BINANCE_API_KEY", exchange.key())
            .env("BINANCE_API_SECRET", exchange.secret())
            .env("TIMEFRAME", "1h")
            .env("ROLLING_WINDOW", "4")
            .env("ENTRY_THRESHOLD", "1.2")
            .env("SETTLE_SECONDS", "60")
            .env("LD_PRELOAD", clock_of_its_own())
            .env("CLOCK_SHIFT_MS", self.shift.get().to_string())
            .env("CLOCK_SPEED", "10")
            .args(args)
            .state_dir(state)
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

    /// Whether an order's outcome is not known.
    #[track_caller]
    pub(crate) fn is_pending(&self) -> bool {
        !self.status()["pending"].is_null()
    }

    /// Faultless runs, each after the bound, until nothing is pending. How many it took.
    #[track_caller]
    pub(crate) fn settle(&self, most: u32) -> u32 {
        for count in 0..=most {
            if !self.is_pending() {
                return count;
            }
            self.pass_the_bound();
            let _ = self.run().expect_one_of(&[0, 75]);
        }
        panic!("pending after {most} runs: {:#}", self.status());
    }

    /// What must hold whenever nothing is pending: every coin is accounted for at the exchange, no
    /// id was executed twice, and the book says what the account got.
    #[track_caller]
    pub(crate) fn check(&self) {
        self.with(|world| world.conservation()).expect("the exchange keeps its own books");
        let ids: Vec<String> = self
            .with(|world| world.orders.iter().map(|order| order.client_order_id.clone()).collect());
        for id in ids.iter().filter(|id| id.starts_with("ouro-")) {
            assert_eq!(ids.iter().filter(|other| *other == id).count(), 1, "{id} was taken twice");
        }
        let status = self.status();
        assert!(status["pending"].is_null(), "something is pending: {status:#}");
        for (asset, before) in &self.begin {
            let moved = self.with(|world| {
                world.balances.get(asset).map(|it| it.free).unwrap_or_default() - *before
            });
            if asset == "BTC" || asset == "ETH" {
                assert_eq!(booked(&status, asset), moved, "{asset} in {status:#}");
            }
        }
        let quote = self.begin.iter().find(|(asset, _)| asset == "USDT").expect("USDT").1;
        let now = self.with(|world| world.free("USDT"));
        let cost = match &status["position"] {
            Value::Null => Decimal::ZERO,
            position => money(position, "/cost"),
        };
        let proceeds = self.proceeds();
        let realized = money(&status, "/realized_pnl");
        assert_eq!(now - quote, realized - cost + proceeds, "USDT in {status:#}");
    }

    /// What part sales of the open position brought so far: only the state file knows.
    fn proceeds(&self) -> Decimal {
        proceeds(&self.folder())
    }
}

/// What part sales of the open position in this book brought so far: only the state file knows.
pub(crate) fn proceeds(book: &Folder) -> Decimal {
    let state: Value = serde_json::from_str(&book.text("state.json")).expect("JSON");
    match state.pointer("/body/position/holding/proceeds") {
        Some(Value::String(text)) => super::table::decimal(text),
        _ => Decimal::ZERO,
    }
}

/// Coins on the book, dust included.
pub(crate) fn booked(status: &Value, asset: &str) -> Decimal {
    let position = &status["position"];
    if position["asset"] == asset {
        return money(position, "/quantity");
    }
    let dust = &status["dust"][asset];
    dust.as_str().map(super::table::decimal).unwrap_or_default()
}

/// The preloaded clock, compiled once: a C compiler is there wherever Rust links.
fn clock_of_its_own() -> OsString {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    let library = LIBRARY.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let (made, library) =
            (folder.join(format!("clock-{}.so", std::process::id())), folder.join("clock.so"));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/support/clock.c");
        let done = Command::new("cc")
            .args(["-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror", "-o"])
            .args([made.as_os_str(), source.as_ref()])
            .status();
        assert!(done.is_ok_and(|status| status.success()), "cc compiles {source}");
        // Renamed into place, because other tests may be loading it.
        std::fs::rename(&made, &library).expect("the same folder");
        library
    });
    library.clone().into_os_string()
}

/// The word of a run's failure, as `--json` has it.
#[track_caller]
pub(crate) fn kind(outcome: &Outcome) -> String {
    outcome.json()["error"]["kind"].as_str().expect("a failure").to_owned()
}
