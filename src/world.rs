//! A world: one folder, its lock, and the exchange that belongs to it. Paper and replay never
//! meet, because store and exchange are opened together.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use crate::config::{Config, Mode};
use crate::exchange::Exchange;
use crate::exchange::binance::Binance;
use crate::exchange::http::Http;
use crate::exchange::paper::Paper;
use crate::exchange::replay::{self, Replay};
use crate::failure::Failure;
use crate::report;
use crate::store::journal::hex;
use crate::store::outside::Outside;
use crate::store::{self, Identity, Outbox, State, Store};
use crate::trading::book::{Book, Halt, HaltedBy};
use crate::trading::market::{Leg, Side};
use crate::trading::time::Timestamp;

/// A world whose lock is held.
pub struct World {
    /// Where the book is kept.
    pub store: Store,
    /// Where candles and prices come from.
    pub exchange: Box<dyn Exchange>,
    /// What is remembered besides money.
    pub outside: Outside,
    instance: String,
}

/// What earlier starts left.
#[derive(Debug, Clone)]
pub struct Past {
    /// The book; a new one where there was none.
    pub book: Book,
    /// What waits to be told.
    pub outbox: Outbox,
    is_new: bool,
}

impl World {
    /// Takes the lock of the world that the configuration names.
    ///
    /// **Errors**: another run holds it, the folder can't be made, or the recording is not there.
    pub fn open(config: &Config, http: &Http) -> Result<Self, Failure> {
        let exchange: Box<dyn Exchange> = match &config.mode {
            Mode::Paper => {
                let binance = Binance::new(http.clone(), config.market_url.clone());
                Box::new(Paper::new(binance, config.pair.clone(), config.rules.interval))
            }
            Mode::Replay(recording) => {
                Box::new(Replay::open(recording, &config.pair, config.rules.interval)?)
            }
        };
        let folder = folder(config)?;
        let store = Store::open(&folder)?;
        let outside = Outside::load(&folder);
        Ok(Self { store, exchange, outside, instance: instance(config) })
    }

    /// What earlier starts left, once it is sure that it belongs to this pair and timeframe.
    ///
    /// **Errors**: it can't be read or trusted, or belongs to another pair, timeframe or recording.
    pub fn load(&mut self, config: &Config) -> Result<Past, Failure> {
        let Some(state) = self.store.load()? else {
            self.outside.forget_other_book(&Outbox::default());
            return Ok(Past {
                book: Book::open(config.opening_balance),
                outbox: Outbox::default(),
                is_new: true,
            });
        };
        check_identity(state, config)?;
        self.outside.forget_other_book(&state.outbox);
        let fingerprint = self.exchange.fingerprint(state.book.last_candle);
        if state.identity.candles != fingerprint {
            return Err(Failure::configuration(
                "this replay began with other candles than those that `--candles` has now",
                "give the earlier candles, or another `--state-dir` for a new replay",
            ));
        }
        Ok(Past { book: state.book.clone(), outbox: state.outbox.clone(), is_new: false })
    }

    /// Makes the book, what is to be told and the record of how it came durable, all or none.
    pub fn commit(
        &mut self,
        config: &Config,
        past: &Past,
        book: Book,
        news: Option<String>,
        record: &impl Serialize,
    ) -> Result<(), Failure> {
        let mut outbox = past.outbox.clone();
        outbox.forget_through(self.outside.memory.delivered);
        // Without anyone to tell, nothing would ever be taken out again.
        if config.telegram.is_some() {
            let first = past.is_new.then(|| report::first_start(config));
            first.into_iter().chain(news).for_each(|text| outbox.add(text));
        }
        let candles = self.exchange.fingerprint(book.last_candle);
        self.store.commit(identity(config, candles), book, outbox, record)?;
        Ok(())
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
        self.commit(config, past, book, Some(news), &record)?;
        self.store.forget_halt()?;
        self.load(config)
    }

    /// The id of an order for this candle: a function of the decision, so that whoever decides
    /// the same, from another machine or a backup, computes the same.
    ///
    /// 36 characters at most of `[a-zA-Z0-9-_]`. **Source**: Binance Spot REST, `newClientOrderId`.
    #[must_use]
    pub fn order_id(&self, candle: Timestamp, side: Side, attempt: u32) -> String {
        let seconds = candle.as_millis() / 1000;
        let letter = match side {
            Side::Buy => 'B',
            Side::Sell => 'S',
        };
        format!("ouro-{}-{seconds}-{letter}{attempt}", self.instance)
    }
}

/// The folder of the world that the configuration names; it need not exist.
///
/// **Errors**: the state directory is something else than a directory.
pub fn folder(config: &Config) -> Result<PathBuf, Failure> {
    let mut folder = resolved(&config.state_dir)?;
    let below = match &config.mode {
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
pub fn peek(config: &Config) -> Result<Option<State>, Failure> {
    let state = store::peek(&folder(config)?)?;
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
fn instance(config: &Config) -> String {
    let Identity { mode, numerator, denominator, timeframe, .. } = identity(config, None);
    let named = format!("{mode}\n{numerator}\n{denominator}\n{timeframe}");
    let mut hash = hex(&Sha256::digest(named));
    hash.truncate(10);
    hash
}
