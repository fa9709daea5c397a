//! `SHARED_LIMITS_FILE`: what all instances on one address know of the exchange's limits.
//!
//! The exchange counts the weight of requests by address, not by program, and a ban is for the whole
//! address. Nothing in it is money: where it can't be read or written, each instance goes by what it
//! knows itself, as without it. **Source**: Binance Spot REST, "IP Limits".

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use fs2::FileExt as _;
use serde::{Deserialize, Serialize};

use crate::trading::time::Timestamp;

/// The file, and the weight that may be used.
#[derive(Debug, Clone)]
pub struct SharedLimits {
    path: PathBuf,
}

/// What is known of one exchange: scheme, host and port.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Known {
    /// The minute whose weight this is.
    minute: String,
    /// What was used in it, as the exchange counted it or as we reckon, whichever is more.
    weight: u64,
    /// No request before this moment.
    silent_until: Option<String>,
}

/// By scheme, host and port.
type Hosts = BTreeMap<String, Known>;

/// Whether requests may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leave {
    /// They may, and are counted.
    Granted,
    /// The address's weight of this minute is used up until then.
    UsedUp(Timestamp),
    /// The exchange asked another instance for silence until then.
    Silence(Timestamp),
}

impl SharedLimits {
    /// In this file, which is made when it is needed.
    #[must_use]
    pub fn at(path: PathBuf) -> Self {
        Self { path }
    }

    /// Counts requests of so much weight that are about to be sent, if they may be.
    #[must_use]
    pub fn ask(&self, host: &str, weight: u64, now: Timestamp) -> Leave {
        let minute = now.plus_millis(-(now.as_millis().rem_euclid(MINUTE)));
        let asked = self.change(|hosts| {
            let known = hosts.entry(host.to_owned()).or_default();
            let until = known.silent_until.as_deref().and_then(|until| later(until, now));
            if let Some(until) = until {
                return Leave::Silence(until);
            }
            known.silent_until = None;
            if known.minute != minute.to_string() {
                known.minute = minute.to_string();
                known.weight = 0;
            }
            if known.weight.saturating_add(weight) > MOST_WEIGHT {
                return Leave::UsedUp(minute.plus_millis(MINUTE));
            }
            known.weight = known.weight.saturating_add(weight);
            Leave::Granted
        });
        asked.unwrap_or(Leave::Granted)
    }

    /// Remembers what the exchange itself counted for this minute.
    pub fn counted(&self, host: &str, weight: u64, now: Timestamp) {
        let minute = now.plus_millis(-(now.as_millis().rem_euclid(MINUTE))).to_string();
        self.change(|hosts| {
            let known = hosts.entry(host.to_owned()).or_default();
            if known.minute == minute {
                known.weight = known.weight.max(weight);
            } else {
                known.minute = minute;
                known.weight = weight;
            }
        });
    }

    /// Remembers that the exchange wants silence.
    pub fn silence(&self, host: &str, until: Timestamp) {
        self.change(|hosts| {
            hosts.entry(host.to_owned()).or_default().silent_until = Some(until.to_string());
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Hosts) -> T) -> Option<T> {
        match self.try_change(change) {
            Ok(changed) => Some(changed),
            Err(error) => {
                log::warn!("what other instances know is not shared: {error:#}");
                None
            }
        }
    }

    fn try_change<T>(&self, change: impl FnOnce(&mut Hosts) -> T) -> anyhow::Result<T> {
        let shown = self.path.display();
        let beside = |end: &str| {
            let mut name = self.path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let lock = made(&beside(".lock")).with_context(|| format!("failed to lock `{shown}`"))?;
        // Held for less than a millisecond by each, and by no dead process.
        lock.lock_exclusive().with_context(|| format!("failed to lock `{shown}`"))?;
        let mut hosts = match std::fs::read(&self.path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                log::warn!("`{shown}` is begun anew, it can't be read: {error}");
                Hosts::new()
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Hosts::new(),
            Err(error) => return Err(error).with_context(|| format!("failed to read `{shown}`")),
        };
        let before = hosts.clone();
        let changed = change(&mut hosts);
        if hosts != before {
            let temporary = beside(".new");
            let bytes = serde_json::to_vec_pretty(&hosts).expect("it is plain JSON");
            std::fs::remove_file(&temporary).ok();
            made(&temporary)
                .and_then(|mut file| file.write_all(&bytes))
                .and_then(|()| std::fs::rename(&temporary, &self.path))
                .with_context(|| format!("failed to write `{shown}`"))?;
        }
        Ok(changed)
    }
}

/// The moment, if it lies ahead but not absurdly far: a clock that was set back by years must not
/// turn a minute's ban into years of silence.
pub(super) fn later(moment: &str, now: Timestamp) -> Option<Timestamp> {
    let until: Timestamp = moment.parse().ok()?;
    (until > now && until.millis_since(now) <= LONGEST_BAN_MILLIS).then_some(until)
}

/// A file that nobody else may read or write, made where it is not there. No link is followed.
fn made(path: &Path) -> std::io::Result<File> {
    let no_follow = rustix::fs::OFlags::NOFOLLOW.bits();
    let flags = i32::try_from(no_follow).expect("a flag of open(2)");
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(flags)
        .open(path)
}

/// Of 6,000 a minute: other programs on this address ask as well. **Source**: `exchangeInfo`,
/// `rateLimits`.
const MOST_WEIGHT: u64 = 5400;
const MINUTE: i64 = 60_000;
/// Binance's longest ban is three days; one more for clocks.
const LONGEST_BAN_MILLIS: i64 = 4 * 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = "https://api.binance.com";

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    #[test]
    fn a_minute_s_weight_is_shared_and_the_next_minute_has_its_own() {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = SharedLimits::at(folder.path().join("limits.json"));
        let now = at("2024-03-01T12:15:10Z");
        let granted = (0..100).filter(|_| limits.ask(HOST, 100, now) == Leave::Granted).count();
        assert_eq!(granted, 54);
        let full = Leave::UsedUp(at("2024-03-01T12:16:00Z"));
        assert_eq!(limits.ask(HOST, 1, now), full);
        assert_eq!(limits.ask("https://testnet.binance.vision", 100, now), Leave::Granted);
        assert_eq!(limits.ask(HOST, 100, at("2024-03-01T12:16:00Z")), Leave::Granted);
    }

    #[test]
    fn what_the_exchange_counts_is_believed_where_it_is_more() {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = SharedLimits::at(folder.path().join("limits.json"));
        let now = at("2024-03-01T12:15:10Z");
        limits.counted(HOST, 5390, now);
        limits.counted(HOST, 7, now);
        assert_eq!(limits.ask(HOST, 10, now), Leave::Granted);
        assert_ne!(limits.ask(HOST, 1, now), Leave::Granted);
    }

    #[test]
    fn a_ban_of_one_is_honoured_by_all_until_it_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let limits = SharedLimits::at(folder.path().join("limits.json"));
        let until = at("2024-03-01T12:17:10Z");
        limits.silence(HOST, until);
        let other = limits.clone();
        assert_eq!(other.ask(HOST, 1, at("2024-03-01T12:17:09Z")), Leave::Silence(until));
        assert_eq!(other.ask(HOST, 1, until), Leave::Granted);
    }

    #[test]
    fn a_file_that_is_nonsense_or_can_t_be_written_costs_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("limits.json");
        std::fs::write(&path, "[").expect("written");
        let now = at("2024-03-01T12:15:10Z");
        assert_eq!(SharedLimits::at(path).ask(HOST, 1, now), Leave::Granted);
        let nowhere = SharedLimits::at(folder.path().join("no").join("limits.json"));
        assert_eq!(nowhere.ask(HOST, 1, now), Leave::Granted);
    }
}
