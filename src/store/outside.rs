//! `outside.json`: what is worth remembering but is not money.
//!
//! Losing it costs a repeated message or a repeated question, no more. So a file that can't be
//! read is replaced with a warning, and one that can't be written changes no run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use sha2::{Digest as _, Sha256};

use super::atomic::{self, Durability};
use super::disk::Disk;
use super::journal::hex;
use super::shared::{Leave, SharedLimits, later};
use super::{Message, Outbox};
use crate::trading::market::SymbolRules;
use crate::trading::time::Timestamp;

pub(super) const FILE: &str = "outside.json";

/// What is remembered, and where.
#[derive(Debug)]
pub struct Outside {
    disk: Arc<dyn Disk>,
    folder: PathBuf,
    /// What is remembered.
    pub memory: Memory,
    saved: Memory,
    /// What other instances on this address know, if they share it.
    shared: Option<SharedLimits>,
}

/// What is remembered.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// Until when (local clock) an exchange's address asked for silence.
    pub bans: BTreeMap<String, String>,
    /// The weight of requests that the exchange counted last.
    pub used_weight: Option<u64>,
    /// Exchange's clock less ours, in milliseconds, as seen last.
    pub clock_offset_ms: Option<i64>,
    /// The two symbols' rules.
    pub rules: Option<KnownRules>,
    /// The failures that are going on, by [`crate::failure::Kind::name`].
    pub failures: BTreeMap<String, OngoingFailure>,
    /// The number of the last message delivered.
    pub delivered: u64,
    /// A hash of its text, so that another book's message of that number is not taken for it.
    pub delivered_hash: Option<String>,
    /// Until when (local clock) Telegram asked for silence.
    pub telegram_until: Option<String>,
    /// The number of the next update that is read from Telegram.
    pub telegram_update: Option<i64>,
    /// The UTC day (its midnight) whose digest was told last.
    pub digest_day: Option<String>,
    /// When a run ended well last; kept where figures are left for Prometheus.
    pub last_success: Option<String>,
}

/// Rules of symbols and when they were asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KnownRules {
    /// When they were asked for.
    pub at: String,
    /// Whom.
    pub host: String,
    /// For which kind of order.
    #[serde(default)]
    pub kind: String,
    /// By the symbol's code.
    pub symbols: BTreeMap<String, RulesV1>,
}

/// A [`SymbolRules`] as text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RulesV1 {
    status: String,
    step: String,
    min_quantity: String,
    max_quantity: Option<String>,
    min_notional: String,
    tick: Option<String>,
    #[serde(default = "finest")]
    quote_step: String,
    #[serde(default = "yes")]
    takes_quote_amounts: bool,
    not_taken: Option<String>,
}

/// A failure that was seen and not yet seen to be over.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OngoingFailure {
    /// When it was seen first.
    pub since: String,
    /// In how many runs.
    pub runs: u64,
    /// When it was told last; `None` while it could not be.
    pub told_at: Option<String>,
}

impl Outside {
    /// What is remembered in a world's folder.
    #[must_use]
    pub fn load(disk: Arc<dyn Disk>, folder: &Path) -> Self {
        let memory = match atomic::read(disk.as_ref(), &folder.join(FILE), 1024 * 1024) {
            Ok(None) => Memory::default(),
            Ok(Some(bytes)) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                log::warn!("`{FILE}` is forgotten, it can't be read: {error}");
                Memory::default()
            }),
            Err(error) => {
                log::warn!("`{FILE}` is forgotten: {error:#}");
                Memory::default()
            }
        };
        Self { disk, folder: folder.to_owned(), saved: memory.clone(), memory, shared: None }
    }

    /// The same, and what other instances on this address know counts too.
    #[must_use]
    pub fn sharing(self, shared: Option<SharedLimits>) -> Self {
        Self { shared, ..self }
    }

    /// Whether requests of so much weight may be sent to `host`; they are counted then.
    #[must_use]
    pub fn ask(&self, host: &str, weight: u64, now: Timestamp) -> Leave {
        match (self.banned_until(host, now), &self.shared) {
            (Some(until), _) => Leave::Silence(until),
            (None, Some(shared)) => shared.ask(host, weight, now),
            (None, None) => Leave::Granted,
        }
    }

    /// Remembers the weight that `host` counted for this minute.
    pub fn counted(&mut self, host: &str, weight: u64, now: Timestamp) {
        self.memory.used_weight = Some(weight);
        if let Some(shared) = &self.shared {
            shared.counted(host, weight, now);
        }
    }

    /// Remembers at once that `host` wants silence: the process may be killed before it ends.
    pub fn silence(&mut self, host: &str, until: Timestamp) {
        self.memory.bans.insert(host.to_owned(), until.to_string());
        self.save();
        if let Some(shared) = &self.shared {
            shared.silence(host, until);
        }
    }

    /// Writes what changed. A failure is said and costs nothing.
    pub fn save(&mut self) {
        if self.memory == self.saved {
            return;
        }
        // A ban must survive a power loss, or the next start would earn a longer one.
        let durability = if self.memory.bans == self.saved.bans {
            Durability::Relaxed
        } else {
            Durability::Synced
        };
        let mut bytes = serde_json::to_vec_pretty(&self.memory).expect("it is plain JSON");
        bytes.push(b'\n');
        // A world that could not be opened may have no folder yet; what was told is remembered
        // there all the same, or it would be told again every time.
        let disk = self.disk.as_ref();
        let saved = disk
            .make_folder(&self.folder)
            .and_then(|()| atomic::replace(disk, &self.folder, FILE, &bytes, durability));
        match saved {
            Ok(()) => self.saved = self.memory.clone(),
            Err(error) => log::warn!("what is not money was not saved: {error:#}"),
        }
    }

    /// Remembers that this message and all before it were delivered.
    pub fn remember_delivery(&mut self, message: &Message) {
        self.memory.delivered = message.number;
        self.memory.delivered_hash = Some(text_hash(message));
    }

    /// Forgets what was delivered if it was another book's: one that was moved away, or that was
    /// put back from a backup. A repeat is allowed, a loss is not.
    pub fn forget_other_book(&mut self, outbox: &Outbox) {
        let delivered = self.memory.delivered;
        let ours = outbox.waiting.iter().find(|message| message.number == delivered);
        let differs = ours.is_some_and(|it| self.memory.delivered_hash != Some(text_hash(it)));
        if differs || delivered >= outbox.next {
            self.memory.delivered = 0;
        }
    }

    /// Until when `host` asked for silence, if that is still to come.
    #[must_use]
    pub fn banned_until(&self, host: &str, now: Timestamp) -> Option<Timestamp> {
        later(self.memory.bans.get(host)?, now)
    }

    /// Until when Telegram asked for silence, if that is still to come.
    #[must_use]
    pub fn telegram_until(&self, now: Timestamp) -> Option<Timestamp> {
        later(self.memory.telegram_until.as_deref()?, now)
    }
}

fn text_hash(message: &Message) -> String {
    hex(&Sha256::digest(&message.text))
}

impl RulesV1 {
    /// The rules as text.
    #[must_use]
    pub fn of(rules: &SymbolRules) -> Self {
        Self {
            status: rules.status.clone(),
            step: rules.step.to_string(),
            min_quantity: rules.min_quantity.to_string(),
            max_quantity: rules.max_quantity.map(|quantity| quantity.to_string()),
            min_notional: rules.min_notional.to_string(),
            tick: rules.tick.map(|tick| tick.to_string()),
            quote_step: rules.quote_step.to_string(),
            takes_quote_amounts: rules.takes_quote_amounts,
            not_taken: rules.not_taken.clone(),
        }
    }

    /// The rules, if the text makes sense.
    #[must_use]
    pub fn rules(&self) -> Option<SymbolRules> {
        use crate::trading::money::{Quantity, Step};
        let quantity = |text: &str| text.parse().ok().and_then(Quantity::new);
        Some(SymbolRules {
            status: self.status.clone(),
            step: self.step.parse().ok().and_then(Step::new)?,
            min_quantity: quantity(&self.min_quantity)?,
            max_quantity: match &self.max_quantity {
                Some(text) => Some(quantity(text)?),
                None => None,
            },
            min_notional: self.min_notional.parse().ok()?,
            tick: match &self.tick {
                Some(text) => Some(text.parse().ok().and_then(Step::new)?),
                None => None,
            },
            quote_step: self.quote_step.parse().ok().and_then(Step::new)?,
            takes_quote_amounts: self.takes_quote_amounts,
            not_taken: self.not_taken.clone(),
        })
    }
}

// What the files of an earlier version left out.
fn finest() -> String {
    crate::trading::money::Step::finest().to_string()
}

fn yes() -> bool {
    true
}
