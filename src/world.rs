//! A world: one folder, its lock, and the exchange that belongs to it. Paper, live and replay never
//! meet, because store and exchange are opened together.

use std::fmt::Write as _;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::config::{Config, Mode};
use crate::exchange::Exchange;
use crate::exchange::binance::Binance;
use crate::exchange::http::Http;
use crate::exchange::live::Live;
use crate::exchange::paper::Paper;
use crate::exchange::replay::{self, Replay};
use crate::exchange::watch::Watch;
use crate::failure::Failure;
use crate::notify::{self, Asked};
use crate::report;
use crate::store::disk::Disk;
use crate::store::journal::hex;
use crate::store::outside::Outside;
use crate::store::shared::SharedLimits;
use crate::store::{self, Identity, Outbox, Recorded, State, Store};
use crate::trading::book::{Book, Halt, HaltedBy};
use crate::trading::ledger::{Intent, Ledger};
use crate::trading::market::{Leg, Side};
use crate::trading::time::Timestamp;

/// A world whose lock is held.
pub struct World {
    /// Where the book is kept.
    pub store: Store,
    /// Where candles and prices come from, and where orders go.
    pub exchange: Box<dyn Exchange>,
    /// What is remembered besides money.
    pub outside: Outside,
}

/// What earlier starts left.
#[derive(Debug, Clone)]
pub struct Past {
    /// The book; a new one where there was none.
    pub book: Book,
    /// What waits to be told.
    pub outbox: Outbox,
    /// The first message of a book that nothing was committed to yet.
    pub greeting: Option<String>,
    /// The account doesn't show our last order yet: nothing may be ordered.
    pub lags: bool,
}

impl Past {
    fn of(state: &State) -> Self {
        let (book, outbox) = (state.book.clone(), state.outbox.clone());
        Self { book, outbox, greeting: None, lags: false }
    }
}

impl World {
    /// Takes the lock of the world that the configuration names.
    ///
    /// **Errors**: another run holds it, the folder can't be made, or the recording is not there.
    pub fn open(config: &Config, http: &Http, disk: Arc<dyn Disk>) -> Result<Self, Failure> {
        let folder = folder(config)?;
        if let Mode::Live(_) = config.mode {
            // A lock on a network file system may be no lock.
            store::refuse_network(&folder)?;
        }
        let recording = recording(config)?;
        let store = Store::open(Arc::clone(&disk), &folder)?;
        let outside = Outside::load(disk, &folder)
            .sharing(config.shared_limits.clone().map(SharedLimits::at));
        let exchange = match recording {
            Some(recording) => Box::new(recording),
            None => market(config, http, &outside),
        };
        Ok(Self { store, exchange, outside })
    }

    /// Hears what a person wrote since the last run.
    ///
    /// **Errors**: as [`notify::heed`].
    pub fn heed(&mut self, config: &Config, http: &Http) -> Result<Asked, Failure> {
        let hears = config.telegram.as_ref().is_some_and(|telegram| telegram.commander.is_some());
        // Another pair's book must not be halted by mistake; the run itself will say what is wrong.
        if !hears || peek(self.store.disk(), config).is_err() {
            return Ok(Asked::default());
        }
        notify::heed(config, http, &self.store, &mut self.outside)
    }

    /// What earlier starts left, once it is sure that it belongs to this pair and timeframe.
    ///
    /// **Errors**: it can't be read or trusted, or belongs to another pair, timeframe or recording.
    pub fn load(&mut self, config: &Config) -> Result<Past, Failure> {
        let Some(state) = self.store.load()? else {
            self.outside.forget_other_book(&Outbox::default());
            let (book, greeting) = match config.mode {
                Mode::Paper | Mode::Replay(_) => {
                    (Book::open(config.opening_balance), Some(report::first_start(config)))
                }
                // Whose account it is, the exchange will say.
                Mode::Live(_) => (Book::unclaimed(), None),
            };
            return Ok(Past { book, outbox: Outbox::default(), greeting, lags: false });
        };
        check_identity(state, config)?;
        self.outside.forget_other_book(&state.outbox);
        check_candles(state, self.exchange.as_ref())?;
        if let (Some(live), Some(ledger)) = (self.exchange.live(), &state.book.ledger) {
            live.answer_for(ledger);
        }
        Ok(Past::of(state))
    }

    /// Makes the book, what is to be told and the record of how it came durable, all or none.
    pub fn commit(
        &mut self,
        config: &Config,
        past: &Past,
        book: Book,
        news: Option<String>,
        record: Value,
    ) -> Result<Past, Failure> {
        let record = begun(past, record);
        let outbox = self.outbox(config, past, news);
        let identity = identity(config, self.exchange.fingerprint(book.last_candle));
        self.store.commit(identity, book, outbox, &record).map(Past::of)
    }

    /// Makes an intent durable, with the book in which it is open. From here on a crash means: ask.
    pub fn record(
        &mut self,
        config: &Config,
        past: &Past,
        book: Book,
        intent: Intent,
        record: Value,
    ) -> Result<(Recorded, Past), Failure> {
        let record = begun(past, record);
        let outbox = self.outbox(config, past, None);
        let identity = identity(config, None);
        let recorded = self.store.record(identity, book, intent, outbox, &record)?;
        let state = self.store.state().expect("it was just committed");
        Ok((recorded, Past::of(state)))
    }

    fn outbox(&self, config: &Config, past: &Past, news: Option<String>) -> Outbox {
        let mut outbox = past.outbox.clone();
        outbox.forget_through(self.outside.memory.delivered);
        // Without anyone to tell, nothing would ever be taken out again.
        if config.telegram.is_some() {
            past.greeting.iter().cloned().chain(news).for_each(|text| outbox.add(text));
        }
        outbox
    }

    /// Commits a person's request for a halt and takes the request away.
    pub fn halt(
        &mut self,
        config: &Config,
        past: &Past,
        reason: String,
        now: Timestamp,
    ) -> Result<Past, Failure> {
        let halt = Halt { by: HaltedBy::Person, reason };
        let mut book = past.book.clone();
        let news = report::halted(config, &halt);
        let record = report::halt_record(now, &halt);
        // A halt of the program itself needs more than a person's `halt` to be forgotten.
        book.halt.get_or_insert(halt);
        let past = self.commit(config, past, book, Some(news), record)?;
        self.store.forget_halt()?;
        Ok(past)
    }

    /// Commits a halt of the program's own: a person must look.
    pub fn halt_itself(
        &mut self,
        config: &Config,
        past: &Past,
        reason: String,
        now: Timestamp,
    ) -> Result<Failure, Failure> {
        let halt = Halt { by: HaltedBy::Program, reason };
        let mut book = past.book.clone();
        let (news, record) = (report::halted(config, &halt), report::halt_record(now, &halt));
        let failure = report::halted_itself(&halt);
        book.halt = Some(halt);
        self.commit(config, past, book, Some(news), record)?;
        Ok(failure)
    }
}

/// The candles that the configuration names, where they are a recording.
///
/// **Errors**: files that are missing or damaged; a pair that the built-in sample lacks.
pub fn recording(config: &Config) -> Result<Option<Replay>, Failure> {
    match &config.mode {
        Mode::Replay(recording) => {
            Replay::open(recording, &config.pair, config.rules.interval).map(Some)
        }
        Mode::Paper | Mode::Live(_) => Ok(None),
    }
}

/// Both symbols' candles at the exchange that the configuration names.
#[must_use]
pub fn watch(config: &Config, http: &Http) -> Watch {
    let binance = Binance::new(http.clone(), config.market_url.clone());
    Watch::new(binance, config.pair.clone(), config.rules.interval)
}

/// The exchange that the configuration names, and real orders where it says so.
#[must_use]
pub fn market(config: &Config, http: &Http, outside: &Outside) -> Box<dyn Exchange> {
    let (watch, kind) = (watch(config, http), config.terms.kind());
    match &config.mode {
        Mode::Live(access) => Box::new(Live::new(watch, http, access, kind, outside)),
        Mode::Paper | Mode::Replay(_) => Box::new(Paper::new(watch, kind)),
    }
}

/// Whether a replay's book was made of the candles that there are now.
///
/// **Errors**: it was not.
pub fn check_candles(state: &State, exchange: &dyn Exchange) -> Result<(), Failure> {
    if state.identity.candles == exchange.fingerprint(state.book.last_candle) {
        return Ok(());
    }
    Err(Failure::configuration(
        "this replay began with other candles than those that `--candles` has now",
        "give the earlier candles, or another `--state-dir` for a new replay",
    ))
}

/// The first record of a book says what it began with; the rest follows from the records.
fn begun(past: &Past, mut record: Value) -> Value {
    if past.greeting.is_some() {
        record["opening_balance"] = json!(past.book.cash.map(|cash| cash.to_string()));
        record["account"] = json!(past.book.ledger.as_ref().map(|ledger| ledger.uid));
    }
    record
}

/// The id of an order for this candle: a function of the decision, so that whoever decides the
/// same, from another machine or a backup, computes the same.
///
/// 36 characters at most of `[a-zA-Z0-9-_]`. **Source**: Binance Spot REST, `newClientOrderId`.
#[must_use]
pub fn order_id(config: &Config, book: &Book, candle: Timestamp, side: Side) -> String {
    let letter = match side {
        Side::Buy => 'B',
        Side::Sell => 'S',
    };
    let (seconds, attempt) = (candle.as_millis() / 1000, book.attempts);
    format!("{}{seconds}-{letter}{attempt}", order_prefix(config, book.ledger.as_ref()))
}

/// What begins the ids of all orders of one book.
#[must_use]
pub fn order_prefix(config: &Config, ledger: Option<&Ledger>) -> String {
    let account = ledger.map(|ledger| ledger.uid);
    Intent::prefix(&instance(config, account))
}

/// The folder of the world that the configuration names; it need not exist.
///
/// **Errors**: the state directory is something else than a directory.
pub fn folder(config: &Config) -> Result<PathBuf, Failure> {
    let mut folder = resolved(&config.state_dir)?;
    let below = match &config.mode {
        Mode::Live(_) => vec!["live".to_owned()],
        Mode::Paper => vec!["paper".to_owned()],
        Mode::Replay(recording) => vec![
            "replay".to_owned(),
            replay::folder_name(recording, &config.pair, config.rules.interval),
        ],
    };
    for name in below {
        folder.push(name);
        store::refuse_link(&folder)?;
    }
    Ok(folder)
}

/// Whether a state belongs to what the configuration names.
///
/// **Errors**: it does not.
pub fn check_identity(state: &State, config: &Config) -> Result<(), Failure> {
    let expected = identity(config, state.identity.candles.clone());
    if state.identity == expected {
        return Ok(());
    }
    let Identity { numerator, denominator, timeframe, mode, .. } = &state.identity;
    Err(Failure::configuration(
        format!(
            "the {mode} book in `{}` belongs to {numerator} and {denominator} at {timeframe}, \
             not to {} and {} at {}",
            config.state_dir.display(),
            expected.numerator,
            expected.denominator,
            expected.timeframe
        ),
        "give another `--state-dir` for another pair or timeframe; this book was left alone",
    ))
}

/// What is in the world that the configuration names, looked at without its lock.
pub fn peek(disk: &dyn Disk, config: &Config) -> Result<Option<State>, Failure> {
    let state = store::peek(disk, &folder(config)?)?;
    if let Some(state) = &state {
        check_identity(state, config)?;
    }
    Ok(state)
}

/// systemd hands out a link; it is followed once, here. Links inside are refused.
fn resolved(state_dir: &Path) -> Result<PathBuf, Failure> {
    let shown = state_dir.display();
    let found = std::fs::canonicalize(state_dir)
        .and_then(|path| Ok((std::fs::metadata(&path)?.is_dir(), path)));
    match found {
        Ok((true, path)) => Ok(path),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(state_dir.to_owned()),
        Err(error) if error.kind() != ErrorKind::NotADirectory => {
            let error = anyhow::Error::new(error);
            Err(Failure::storage(&error.context(format!("failed to look at `{shown}`"))))
        }
        Ok((false, _)) | Err(_) => Err(Failure::configuration(
            format!("the state directory `{shown}` is not a directory"),
            "give `--state-dir` (or `STATE_DIR`) a directory",
        )),
    }
}

fn identity(config: &Config, candles: Option<String>) -> Identity {
    Identity {
        mode: config.mode.name().to_owned(),
        numerator: config.pair.symbol(Leg::Numerator).to_string(),
        denominator: config.pair.symbol(Leg::Denominator).to_string(),
        timeframe: config.rules.interval.name().to_owned(),
        candles,
    }
}

/// Account, pair and timeframe in ten characters. On paper there is no account.
fn instance(config: &Config, account: Option<u64>) -> String {
    let Identity { mode, numerator, denominator, timeframe, .. } = identity(config, None);
    let mut named = format!("{mode}\n{numerator}\n{denominator}\n{timeframe}");
    if let Some(account) = account {
        let _ = write!(named, "\n{account}");
    }
    let mut hash = hex(&Sha256::digest(named));
    hash.truncate(10);
    hash
}
