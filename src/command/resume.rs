//! `resume`: lifts a halt, and shows what it lifts. With more words it is a person's word for what
//! the program can't know.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;

use super::Answer;
use crate::config::Config;
use crate::exchange::http::Http;
use crate::failure::Failure;
use crate::preflight;
use crate::report;
use crate::run;
use crate::stop::Stop;
use crate::store::disk::{Disk, System};
use crate::trading::account;
use crate::trading::book::Book;
use crate::trading::ledger::Ledger;
use crate::trading::order::Outcome;
use crate::trading::settlement::Settled;
use crate::trading::time::Timestamp;
use crate::world::{Past, World};

/// What a person says.
#[derive(Debug, Clone, Copy)]
pub enum Resume<'a> {
    /// That it may go on.
    Lift,
    /// That the pending order of this id was never executed.
    NotExecuted(&'a str),
    /// That a new book begins, whatever orders an earlier one made.
    NewBook,
}

impl<'a> Resume<'a> {
    /// As the command line says it.
    #[must_use]
    pub fn asked(not_executed: Option<&'a str>, new_book: bool) -> Self {
        match (not_executed, new_book) {
            (Some(id), _) => Self::NotExecuted(id),
            (None, true) => Self::NewBook,
            (None, false) => Self::Lift,
        }
    }
}

/// Lifts the halt, or takes a person's word.
///
/// **Errors**: another run holds the lock, the state can't be read, trusted or written, or what was
/// said does not fit it.
pub fn resume(
    config: &Config,
    how: Resume<'_>,
    stop: &Stop,
    now: Timestamp,
) -> Result<Answer, Failure> {
    match how {
        Resume::Lift => lift(config, &Http::for_nothing()?, &System::shared(), now),
        Resume::NotExecuted(id) => not_executed(config, id, now),
        Resume::NewBook => new_book(config, stop),
    }
}

/// Lifts the halt of the world on this disk. Nobody is asked anything.
///
/// **Errors**: the lock is taken, or the state can't be read or written.
pub fn lift(
    config: &Config,
    http: &Http,
    disk: &Arc<dyn Disk>,
    now: Timestamp,
) -> Result<Answer, Failure> {
    let mut world = World::open(config, http, Arc::clone(disk))?;
    let past = load(&mut world, config, now)?;
    let Some(halt) = past.book.halt.clone() else {
        return Ok(Answer {
            text: "not halted: there is nothing to lift".to_owned(),
            json: json!({ "mode": config.mode.name(), "lifted": null }),
        });
    };
    let book = lifted(past.book.clone());
    world.commit(config, &past, book, None, report::resume_record(now, &halt))?;
    Ok(Answer {
        text: format!("resumed; it had been halted for this reason: {}", halt.reason),
        json: json!({ "mode": config.mode.name(), "lifted": halt.reason }),
    })
}

/// Whoever says so has looked, so a halt is lifted with it.
fn not_executed(config: &Config, id: &str, now: Timestamp) -> Result<Answer, Failure> {
    let mut world = World::open(config, &Http::for_nothing()?, System::shared())?;
    let past = load(&mut world, config, now)?;
    let Some(intent) = past.book.pending().filter(|intent| intent.client_order_id == id) else {
        let pending = match past.book.pending() {
            Some(intent) => format!("the pending order is {}", intent.client_order_id),
            None => "no order is pending".to_owned(),
        };
        return Err(Failure::configuration(
            format!("`--not-executed {id}`: {pending}"),
            "`ouroboros status` shows what is pending; nothing was changed",
        ));
    };
    let settled = Settled { outcome: Outcome::Expired, order_id: None, at: now };
    let halt = past.book.halt.clone();
    let (past, _) = run::book_settled(&mut world, config, &past, &intent.clone(), &settled)?;
    let mut text = format!("{id} is booked as never executed, on your word");
    if let Some(halt) = &halt {
        let book = lifted(past.book.clone());
        world.commit(config, &past, book, None, report::resume_record(now, halt))?;
        let _ = write!(text, "; resumed, it had been halted for this reason: {}", halt.reason);
    }
    let lifted = halt.map(|halt| halt.reason);
    let json = json!({ "mode": config.mode.name(), "not_executed": id, "lifted": lifted });
    Ok(Answer { text, json })
}

fn new_book(config: &Config, stop: &Stop) -> Result<Answer, Failure> {
    if !config.mode.is_live() {
        return Err(Failure::configuration(
            format!("`--new-book` is for live trading, this is {}", config.mode.name()),
            "set `DRY_RUN=false`; on paper a new book needs no more than another `--state-dir`",
        ));
    }
    config.check_key()?;
    let http = Http::new(config.extra_roots.as_deref(), stop.clone())?;
    let mut world = World::open(config, &http, System::shared())?;
    let past = world.load(config)?;
    if past.book.ledger.is_some() {
        return Err(Failure::configuration(
            format!("`--new-book`: there is a book in `{}`", config.state_dir.display()),
            "move it away first, or give another `--state-dir`; nothing was changed",
        ));
    }
    let live = world.exchange.live().expect("this is live");
    let host = live.host();
    let account = live.account(&mut world.outside)?.clone();
    // This is a first start too.
    preflight::require(live, config, &account, &mut world.outside)?;
    // What was executed before is none of this book's business, and stays known as such.
    let ledger = account::from_here_on(Ledger::open(account.uid), &account);
    let greeting = report::first_live_start(config, &host, account.uid);
    let book = Book {
        ledger: Some(ledger),
        // An order of the earlier book may have the id that this candle's would have.
        last_candle: Some(config.rules.interval.newest_closed(account.at)),
        halt: None,
        ..past.book.clone()
    };
    let record = report::new_book_record(account.at, account.uid);
    world.commit(config, &past, book, Some(greeting.clone()), record)?;
    world.store.forget_halt()?;
    log::info!("{greeting}");
    let json = json!({ "mode": config.mode.name(), "new_book": account.uid });
    Ok(Answer { text: format!("a new book begins on the account {}", account.uid), json })
}

/// The past, with a request for a halt recorded even though it is lifted at once: the journal has
/// every halt.
fn load(world: &mut World, config: &Config, now: Timestamp) -> Result<Past, Failure> {
    let past = world.load(config)?;
    match world.store.asked_to_halt()? {
        Some(reason) => world.halt(config, &past, reason, now),
        None => Ok(past),
    }
}

fn lifted(mut book: Book) -> Book {
    book.halt = None;
    book.refusals = 0;
    // A person has looked at the orders that could not be explained.
    book.ledger = book.ledger.map(Ledger::acknowledged);
    book
}
