//! The state directory: what is on disk, and the lock without which nothing is written there.
//!
//! A [`Store`] *is* the held lock; whoever only looks takes a [`peek`]. `state.json` is the only
//! commit point. The journal's newest line is part of it and reaches the journal's file afterwards.

pub(crate) mod atomic;
pub mod disk;
mod format;
mod halt;
pub(crate) mod journal;
mod mount;
pub mod outside;
pub mod probe;
pub mod shared;
mod years;

use std::any::Any;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use serde::Serialize;
use serde_json::value::to_raw_value;

use crate::failure::{Failure, Kind};
use crate::trading::book::Book;
use crate::trading::ledger::Intent;
use crate::trading::time::Timestamp;
use atomic::Durability;
use disk::{Disk, Distrusted, SomebodyElses};
use journal::{GENESIS, Line, Tail};

pub use mount::{network_filesystem, refuse_network};

/// Everything that a commit makes durable.
#[derive(Debug, Clone)]
pub struct State {
    /// Whose book this is.
    pub identity: Identity,
    /// The book.
    pub book: Book,
    /// What waits to be told.
    pub outbox: Outbox,
    /// The newest line of the journal. Its number is the state's sequence number.
    newest: Line,
}

impl State {
    /// How many commits there were.
    #[must_use]
    pub fn number(&self) -> u64 {
        self.newest.seq
    }
}

/// What a book belongs to. Started with anything else it is left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `paper` or `replay`.
    pub mode: String,
    /// `SYMBOL_BASE`.
    pub numerator: String,
    /// `SYMBOL_QUOTE`.
    pub denominator: String,
    /// `TIMEFRAME`.
    pub timeframe: String,
    /// In a replay, a hash of the candles that were decided on.
    pub candles: Option<String>,
}

/// An intent that is on the disk: the leave to send an order, once.
///
/// Only [`Store::record`] makes one, and it can neither be copied nor read from a file: after a
/// crash nobody can know whether it was used, so what is loaded can only be asked about.
#[derive(Debug)]
pub struct Recorded(Intent);

impl Recorded {
    /// The intent. The leave is used up.
    #[must_use]
    pub fn into_intent(self) -> Intent {
        self.0
    }
}

/// Messages that are kept until they were delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outbox {
    /// The number of the next message.
    pub next: u64,
    /// In rising order of their numbers.
    pub waiting: Vec<Message>,
}

/// One message. A repeat has the same number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Counts up from 1 in each book.
    pub number: u64,
    /// What is told.
    pub text: String,
}

impl Default for Outbox {
    fn default() -> Self {
        Self { next: 1, waiting: Vec::new() }
    }
}

impl Outbox {
    /// Adds a message at the end.
    pub fn add(&mut self, text: String) {
        self.waiting.push(Message { number: self.next, text });
        self.next = self.next.saturating_add(1);
    }

    /// Forgets what was delivered.
    pub fn forget_through(&mut self, delivered: u64) {
        self.waiting.retain(|message| message.number > delivered);
    }
}

/// The held lock of one world, and what is on disk in it.
pub struct Store {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    state: Option<State>,
    tail: Tail,
    _lock: Box<dyn Any>,
}

impl Store {
    /// Makes the folder where there is none and takes its lock.
    ///
    /// **Errors**: another run holds the lock, or the folder can't be made.
    pub fn open(disk: Arc<dyn Disk>, folder: &Path) -> Result<Self, Failure> {
        let lock = lock(disk.as_ref(), folder)?;
        for name in [STATE, outside::FILE] {
            // What a killed run left half-written was never committed.
            atomic::remove_temporary(disk.as_ref(), folder, name)
                .map_err(|error| Failure::storage(&error))?;
        }
        Ok(Self { disk, folder: folder.to_owned(), state: None, tail: Tail::NONE, _lock: lock })
    }

    /// The disk that it is on.
    #[must_use]
    pub fn disk(&self) -> &dyn Disk {
        self.disk.as_ref()
    }

    /// Reads and checks what was committed last; `None` in a world in which nothing has happened.
    ///
    /// **Errors**: the state or the end of the journal can't be read or trusted. Nothing is
    /// overwritten then, and a store that was not loaded refuses to commit over a state.
    pub fn load(&mut self) -> Result<Option<&State>, Failure> {
        let (state, tail) = load(self.disk.as_ref(), &self.folder)?;
        self.state = state;
        self.tail = tail;
        Ok(self.state.as_ref())
    }

    /// What was loaded or committed last.
    #[must_use]
    pub fn state(&self) -> Option<&State> {
        self.state.as_ref()
    }

    /// Makes identity, book, messages and a journal record durable, all or none of them.
    ///
    /// **Errors**: the old state stands, or what is on disk is unknown; either way nothing may be
    /// done that rests on the new one.
    pub fn commit(
        &mut self,
        identity: Identity,
        book: Book,
        outbox: Outbox,
        record: &impl Serialize,
    ) -> Result<&State, Failure> {
        let record = to_raw_value(record).expect("a record is plain JSON");
        let newest = match &self.state {
            Some(state) => {
                Line::after(state.newest.seq.saturating_add(1), &state.newest.hash, record)
            }
            None => Line::after(1, GENESIS, record),
        };
        let state = State { identity, book, outbox, newest };
        let bytes = format::render(&state);
        assert!(
            self.state.is_some() || !self.disk.exists(&self.folder.join(STATE)),
            "a state that was not loaded is not overwritten"
        );
        // Asserted in pairs, before writing and after reading: what is written can be read.
        assert!(format::parse(&bytes).is_ok(), "a state that is written can be read again");
        if bytes.len() > MOST_STATE_BYTES {
            let error = anyhow::anyhow!(
                "the state would have {} bytes, too many to be read again",
                bytes.len()
            );
            return Err(Failure::storage(&error));
        }

        let disk = Arc::clone(&self.disk);
        let disk = disk.as_ref();
        self.sync_journal()
            .and_then(|()| atomic::replace(disk, &self.folder, STATE, &bytes, Durability::Synced))
            .map_err(|error| Failure::storage(&error))?;
        // From here on the step is done. A line that can't be appended now is appended later.
        self.tail.is_complete = false;
        self.state = Some(state);
        if let Err(error) = self.append_newest() {
            log::warn!("{error:#}; the state keeps the line until it can be written");
        }
        Ok(self.state.as_ref().expect("it was put there"))
    }

    /// Commits a book with this intent open. From here on a crash means: ask.
    ///
    /// **Errors**: as [`Store::commit`]; then nothing may be sent.
    pub fn record(
        &mut self,
        identity: Identity,
        mut book: Book,
        intent: Intent,
        outbox: Outbox,
        record: &impl Serialize,
    ) -> Result<Recorded, Failure> {
        let open = self.state.as_ref().and_then(|state| state.book.pending());
        assert!(open.is_none(), "an order is sent only when no other may be under way");
        let ledger = book.ledger.as_mut().expect("only a live book has orders");
        ledger.pending = Some(intent.clone());
        self.commit(identity, book, outbox, record)?;
        Ok(Recorded(intent))
    }

    /// Appends the state's newest line to the journal where a crash kept it from there.
    pub fn complete_journal(&mut self) -> anyhow::Result<()> {
        if self.state.is_some() && !self.tail.is_complete {
            // Whoever was killed here may not have synced the state's name: the journal must never
            // have a line that the state could still forget.
            self.disk.sync_folder(&self.folder).with_context(|| {
                format!("failed to sync the folder `{}`", self.folder.display())
            })?;
            self.append_newest()?;
        }
        Ok(())
    }

    fn append_newest(&mut self) -> anyhow::Result<()> {
        let Some(state) = &self.state else { return Ok(()) };
        // A replay's years are not those in which it is read.
        let is_by_year = state.identity.candles.is_none();
        let disk = self.disk.as_ref();
        journal::complete(disk, &self.folder, &mut self.tail, &state.newest, is_by_year)
    }

    /// The same, and on the disk: the state is about to forget the line.
    fn sync_journal(&mut self) -> anyhow::Result<()> {
        self.complete_journal()?;
        let Some(state) = &self.state else { return Ok(()) };
        journal::sync(self.disk.as_ref(), &self.folder, self.tail, &state.newest)
    }

    /// As [`read_halt`], of this world.
    pub fn asked_to_halt(&self) -> Result<Option<String>, Failure> {
        read_halt(self.disk.as_ref(), &self.folder)
    }

    /// Asks for a halt beside the state: it holds whatever becomes of this run.
    pub fn ask_to_halt(&self, reason: &str) -> Result<(), Failure> {
        ask_to_halt(self.disk.as_ref(), &self.folder, reason)
    }

    /// Removes the request for a halt, once it is part of the state or was lifted.
    pub fn forget_halt(&self) -> Result<(), Failure> {
        halt::forget(self.disk.as_ref(), &self.folder).map_err(|error| Failure::storage(&error))
    }
}

/// Looks at a world without its lock: for `status`. `None` where nothing has happened yet.
///
/// **Errors**: as [`Store::open`], but for the lock.
pub fn peek(disk: &dyn Disk, folder: &Path) -> Result<Option<State>, Failure> {
    refuse_link(folder)?;
    // A run may commit between the two reads, and then state and journal don't fit. Only what is
    // wrong twice, with the same state, is wrong.
    let mut before = None;
    loop {
        let bytes = state_bytes(disk, folder)?;
        match load(disk, folder) {
            Ok((state, _)) => return Ok(state),
            Err(failure) if before.as_ref() == Some(&bytes) => return Err(failure),
            Err(_) => before = Some(bytes),
        }
    }
}

/// The state of a world, looked at without its lock and without its journal: for whoever walks that
/// from its first line on.
///
/// **Errors**: it can't be read or trusted.
pub fn peek_alone(disk: &dyn Disk, folder: &Path) -> Result<Option<State>, Failure> {
    refuse_link(folder)?;
    load_state(disk, folder)
}

/// The newest records of the journal, newest first, as far as a look at its end shows them. For
/// people; nothing is decided on them.
///
/// **Errors**: the journal can't be read.
pub fn recent_records(
    disk: &dyn Disk,
    folder: &Path,
    state: &State,
) -> Result<Vec<serde_json::Value>, Failure> {
    let older = journal::recent(disk, folder).map_err(refused_or_failed)?;
    // The state's own line may not have reached the journal yet; then it is the newest.
    let lines = std::iter::once(state.newest.clone()).chain(older);
    Ok(lines.filter_map(|line| serde_json::from_str(line.record.get()).ok()).collect())
}

/// The records of the journal from this moment on, newest first. For people; nothing is decided on them.
///
/// **Errors**: the journal can't be read.
pub fn records_since(
    disk: &dyn Disk,
    folder: &Path,
    state: &State,
    since: Timestamp,
) -> Result<Vec<serde_json::Value>, Failure> {
    let is_older = |line: &Line| {
        let record: serde_json::Value = serde_json::from_str(line.record.get()).unwrap_or_default();
        let at: Option<Timestamp> = record["at"].as_str().and_then(|at| at.parse().ok());
        at.is_none_or(|at| at < since)
    };
    let older = journal::recent_until(disk, folder, is_older).map_err(refused_or_failed)?;
    // The state's own line may not have reached the journal yet.
    let is_there = older.first().is_some_and(|line| line.seq == state.newest.seq);
    let newest = (!is_there && !is_older(&state.newest)).then(|| state.newest.clone());
    let lines = newest.into_iter().chain(older);
    Ok(lines.filter_map(|line| serde_json::from_str(line.record.get()).ok()).collect())
}

/// Walks the whole journal and gives each record, the oldest first, to `each`; then the state's
/// newest, where a crash kept it from the file. How many there were.
///
/// **Errors**: the first line that breaks the chain or that `each` refuses, with its number.
pub fn walk(
    disk: &dyn Disk,
    folder: &Path,
    state: &State,
    mut each: impl FnMut(&serde_json::Value) -> Result<(), String>,
) -> Result<u64, Failure> {
    let mut give = |line: &Line| {
        let record = serde_json::from_str(line.record.get()).map_err(|error| error.to_string())?;
        each(&record)
    };
    let path = folder.join(years::NEWEST);
    let last = journal::walk(disk, folder, &mut give).map_err(refused_or_failed)?;
    let newest = &state.newest;
    match last {
        Some((seq, hash)) if seq == newest.seq && hash == newest.hash => {}
        Some((_, hash)) if hash != newest.prev => {
            return Err(distrusted(&format!("`{}` is not the state's journal", path.display())));
        }
        None if newest.prev != GENESIS => {
            return Err(distrusted(&format!("`{}` lacks its lines", path.display())));
        }
        Some(_) | None => {
            let refused = |why: String| distrusted(&format!("the state's newest record: {why}"));
            give(newest).map_err(refused)?;
        }
    }
    Ok(newest.seq)
}

/// Asks for a halt without the lock, so that a run that is under way sees it too.
pub fn ask_to_halt(disk: &dyn Disk, folder: &Path, reason: &str) -> Result<(), Failure> {
    disk.make_folder(folder)
        .and_then(|()| halt::ask(disk, folder, reason))
        .map_err(|error| Failure::storage(&error))
}

/// Whether a person asked for a halt that is not part of the state yet, and why.
///
/// **Errors**: the request can't be read; nothing may be traded then.
pub fn read_halt(disk: &dyn Disk, folder: &Path) -> Result<Option<String>, Failure> {
    halt::read(disk, folder).map_err(|error| Failure::storage(&error))
}

/// Links inside the state directory are not followed: a lock behind one protects nothing.
///
/// **Errors**: `path` is a link.
pub fn refuse_link(path: &Path) -> Result<(), Failure> {
    if std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink()) {
        return Err(Failure::untrusted(
            format!("`{}` is a link, not a folder", path.display()),
            "links inside the state directory are not followed; put the folder itself there",
        ));
    }
    Ok(())
}

fn lock(disk: &dyn Disk, folder: &Path) -> Result<Box<dyn Any>, Failure> {
    refuse_link(folder)?;
    disk.make_folder(folder).map_err(|error| Failure::storage(&error))?;
    disk.lock(folder, LOCK).map_err(refused_or_failed)?.ok_or_else(|| {
        Failure::new(
            Kind::Busy,
            format!("another run holds the lock of `{}`", folder.display()),
            "wait for it to end (a run takes 45 seconds at most); don't delete the lock file",
        )
    })
}

fn load_state(disk: &dyn Disk, folder: &Path) -> Result<Option<State>, Failure> {
    let Some(bytes) = state_bytes(disk, folder)? else { return Ok(None) };
    let shown = folder.join(STATE);
    format::parse(&bytes).map(Some).map_err(|why| {
        let why = format!("`{}` {why}", shown.display());
        if format::is_of_a_later_version(&bytes) {
            let hint =
                "a later ouroboros wrote it, and nothing was changed; install that one again";
            return Failure::untrusted(why, hint);
        }
        distrusted(&why)
    })
}

fn load(disk: &dyn Disk, folder: &Path) -> Result<(Option<State>, Tail), Failure> {
    let state = load_state(disk, folder)?;
    let newest = state.as_ref().map(|state| &state.newest);
    let tail = journal::tail(disk, folder, newest).map_err(refused_or_failed)?;
    Ok((state, tail))
}

fn state_bytes(disk: &dyn Disk, folder: &Path) -> Result<Option<Vec<u8>>, Failure> {
    atomic::read(disk, &folder.join(STATE), MOST_STATE_BYTES).map_err(refused_or_failed)
}

/// The failure of a file that can't be read, or that is not to be trusted.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` hands over")]
pub(crate) fn refused_or_failed(error: anyhow::Error) -> Failure {
    if let Some(Distrusted(why)) = error.downcast_ref() {
        return distrusted(why);
    }
    match error.downcast_ref::<SomebodyElses>() {
        Some(why) => Failure::untrusted(
            why.to_string(),
            "nothing was changed; run it as that user, by `sudo -u`, as every other command too",
        ),
        None => Failure::storage(&error),
    }
}

fn distrusted(why: &str) -> Failure {
    Failure::untrusted(
        why,
        "nothing was changed; put back the file from a backup together with its journal, \
         or move both away to begin a new book",
    )
}

const STATE: &str = "state.json";
const LOCK: &str = "lock";

const MOST_STATE_BYTES: usize = 16 * 1024 * 1024;
