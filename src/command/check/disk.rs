//! The state directory: whether a run could keep its book there, and what is kept there now.

use std::path::{Path, PathBuf};

use super::{Found, not_looked_at};
use crate::command::{Answer, audit};
use crate::config::Config;
use crate::failure::Failure;
use crate::preflight::Finding;
use crate::report;
use crate::store::disk::System;
use crate::store::{self, State, probe};
use crate::trading::book::{Halt, HaltedBy};
use crate::world;

/// Directory, file system, disk and lock. Returns the world's folder, which need not exist.
pub(super) fn look(config: &Config, findings: &mut Vec<Finding>) -> Option<PathBuf> {
    let folder = match world::folder(config) {
        Ok(folder) => folder,
        Err(failure) => {
            findings.push(Finding::failed(DIRECTORY, failure));
            for name in [FILE_SYSTEM, DISK, LOCK] {
                findings.push(not_looked_at(name, "there is no state directory"));
            }
            return None;
        }
    };
    findings.push(directory(&config.state_dir, &folder));
    findings.push(file_system(config, &folder));
    findings.push(disk(&folder));
    findings.push(lock(&folder));
    Some(folder)
}

/// What is in it, as a run would read it: form, checksum, and that the end of the journal fits. Then
/// the journal as a whole, whose lines must make a chain and lead to the book.
pub(super) fn state(config: &Config, folder: Option<&Path>, findings: &mut Vec<Finding>) -> Found {
    let Some(folder) = folder else {
        findings.push(not_looked_at(STATE, "there is no state directory"));
        return Found::Unknown;
    };
    let asked = store::read_halt(&System, folder);
    let found = match world::peek(&System, config) {
        Ok(Some(state)) => {
            findings.push(Finding::ok(STATE, book(config, &state)));
            findings.push(journal(config));
            Found::Book(Box::new(state))
        }
        Ok(None) => {
            findings.push(Finding::ok(STATE, "no book yet; the first run opens one"));
            Found::Nothing
        }
        Err(failure) => {
            findings.push(Finding::failed(STATE, failure));
            Found::Unknown
        }
    };
    let halt = found.book().and_then(|book| book.halt.clone());
    match asked {
        Ok(asked) => {
            let asked = asked.map(|reason| Halt { by: HaltedBy::Person, reason });
            findings.extend(halt.or(asked).map(|halt| halted(&halt)));
        }
        Err(failure) => findings.push(Finding::failed(HALT, failure)),
    }
    if let Some(intent) = found.book().and_then(|book| book.pending()) {
        let symbol = config.pair.symbol(intent.ordered.leg);
        findings.push(Finding::warning(
            "pending",
            format!(
                "{} {symbol} {}, recorded at {}: its outcome is not known yet",
                intent.ordered.plan.side, intent.client_order_id, intent.timestamp
            ),
            "the next run asks for it before anything else",
        ));
    }
    found
}

fn journal(config: &Config) -> Finding {
    match audit::audit(&System, config) {
        Ok(Answer { text, .. }) => Finding::ok(JOURNAL, text),
        Err(failure) => Finding::failed(JOURNAL, failure),
    }
}

fn directory(state_dir: &Path, folder: &Path) -> Finding {
    let folders = [state_dir, folder];
    for path in folders {
        let shown = path.display();
        match probe::owner(path) {
            Err(error) => return Finding::failed(DIRECTORY, Failure::storage(&error)),
            Ok(Some(owner)) if owner.user != owner.us => {
                return Finding::warning(
                    DIRECTORY,
                    format!("`{shown}` is user {}'s, this is run by {}", owner.user, owner.us),
                    "run it as that user, by `sudo -u`, as every other command too",
                );
            }
            Ok(Some(owner)) if owner.mode & 0o077 != 0 => {
                return Finding::warning(
                    DIRECTORY,
                    format!("others may look into `{shown}`, its mode is {:04o}", owner.mode),
                    format!("`chmod 700 {shown}` keeps them out"),
                );
            }
            Ok(_) => {}
        }
    }
    let is_there = folder.exists();
    let said = if is_there { "is there" } else { "is not there yet, the first run makes it" };
    Finding::ok(DIRECTORY, format!("`{}` {said}", folder.display()))
}

fn file_system(config: &Config, folder: &Path) -> Finding {
    match store::refuse_network(folder) {
        Ok(()) => Finding::ok(FILE_SYSTEM, "none that other machines write to"),
        Err(failure) if config.mode.is_live() => Finding::failed(FILE_SYSTEM, failure),
        // Good enough for paper: a run there does not refuse it either.
        Err(Failure { message, hint, .. }) => Finding::warning(FILE_SYSTEM, message, hint),
    }
}

fn disk(folder: &Path) -> Finding {
    let tried = match probe::try_out(folder) {
        Ok(tried) => tried,
        Err(error) => return Finding::failed(DISK, Failure::storage(&error)),
    };
    let (millis, mib) = (tried.took.as_millis(), tried.free_bytes / MIB);
    let text = format!("a file was written, synced and renamed in {millis} ms; {mib} MiB are free");
    if mib < LEAST_FREE_MIB {
        return Finding::warning(DISK, text, "make room: a full disk ends every run with 74");
    }
    if tried.took.as_millis() > SLOW_MILLIS {
        return Finding::warning(DISK, text, "a slow disk delays an order: look for a faster one");
    }
    Finding::ok(DISK, text)
}

fn lock(folder: &Path) -> Finding {
    match probe::is_locked(folder) {
        Ok(false) => Finding::ok(LOCK, "free"),
        Ok(true) => Finding::warning(
            LOCK,
            "a run is under way, and what it does may show below in part",
            "look again when it has ended, after 45 seconds at most; don't delete the lock file",
        ),
        Err(error) => Finding::failed(LOCK, store::refused_or_failed(error)),
    }
}

fn book(config: &Config, state: &State) -> String {
    let book = &state.book;
    let account = match &book.ledger {
        Some(ledger) => format!(" of the account {}", ledger.uid),
        None => String::new(),
    };
    format!(
        "the book{account} and the end of its journal are whole: {}, commit {}",
        report::state_name(&book.position, &config.pair),
        state.number()
    )
}

fn halted(halt: &Halt) -> Finding {
    match halt.by {
        HaltedBy::Person => {
            let text = format!("on a person's word, nothing is traded: {}", halt.reason);
            Finding::warning(HALT, text, "`ouroboros resume` lifts it")
        }
        HaltedBy::Program => Finding::failed(HALT, report::halted_itself(halt)),
    }
}

const DIRECTORY: &str = "directory";
const DISK: &str = "disk";
const FILE_SYSTEM: &str = "file system";
const HALT: &str = "halt";
const JOURNAL: &str = "journal";
const LOCK: &str = "lock";
const STATE: &str = "state";

const MIB: u64 = 1024 * 1024;
/// A state of the largest size twice, and the logs, fit into it.
const LEAST_FREE_MIB: u64 = 64;
/// An order waits for two commits.
const SLOW_MILLIS: u128 = 1000;
