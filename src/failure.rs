//! What went wrong, in the words and numbers of the exit code table.
//!
//! A failure says what was tried, on what, and why it failed, in one lower-case line without a
//! full stop; the hint names the option, variable or command that helps.

use std::fmt;

use serde_json::{Value, json};

use crate::help;

/// Why a start did not end with 0.
#[derive(Debug, Clone)]
pub struct Failure {
    /// The row of the exit code table.
    pub kind: Kind,
    /// What happened.
    pub message: String,
    /// What helps.
    pub hint: String,
}

/// The rows of the exit code table; some codes have several reasons.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A bug in the program.
    Bug,
    /// Another run holds the lock.
    Busy,
    /// The configuration is wrong.
    Configuration,
    /// The program halted itself and waits for a person.
    Halted,
    /// The exchange refused the key, or the key lacks the permission.
    KeyRefused,
    /// The exchange's rate limit or ban is on.
    Limited,
    /// It is not known yet what became of an order; it stays recorded.
    Pending,
    /// The exchange, real or simulated, refused the order.
    Refused,
    /// The run was told to stop.
    Stopped,
    /// The state could not be read or written.
    Storage,
    /// The exchange or the network could not be reached, or answered nonsense.
    Unreachable,
    /// Candles or a state file that can't be trusted.
    Untrusted,
}

impl Kind {
    /// Every kind, for the tests that compare code and documents.
    pub const ALL: [Self; 12] = [
        Self::Bug,
        Self::Busy,
        Self::Configuration,
        Self::Halted,
        Self::KeyRefused,
        Self::Limited,
        Self::Pending,
        Self::Refused,
        Self::Stopped,
        Self::Storage,
        Self::Unreachable,
        Self::Untrusted,
    ];

    /// The exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Untrusted => 65,
            Self::Unreachable => 69,
            Self::Bug => 70,
            Self::Storage => 74,
            Self::Busy | Self::Limited | Self::Pending | Self::Stopped => 75,
            Self::Halted | Self::Refused => 76,
            Self::KeyRefused => 77,
            Self::Configuration => 78,
        }
    }

    /// The word for scripts, as in `--json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bug => "bug",
            Self::Busy => "busy",
            Self::Configuration => "configuration",
            Self::Halted => "halted",
            Self::KeyRefused => "key-refused",
            Self::Limited => "rate-limited",
            Self::Pending => "pending",
            Self::Refused => "refused",
            Self::Stopped => "stopped",
            Self::Storage => "storage",
            Self::Unreachable => "unreachable",
            Self::Untrusted => "untrusted",
        }
    }

    /// Whether the failure is told as one: a busy lock is somebody else's run, a stop was asked
    /// for, a wrong configuration is seen by whoever wrote it (and may name no one to tell). A
    /// refusal waits among the state's own messages, because it must not be lost.
    #[must_use]
    pub fn is_told(self) -> bool {
        match self {
            Self::Busy | Self::Configuration | Self::Stopped | Self::Refused => false,
            Self::Bug
            | Self::Halted
            | Self::KeyRefused
            | Self::Limited
            | Self::Pending
            | Self::Storage
            | Self::Unreachable
            | Self::Untrusted => true,
        }
    }

    /// Whether the health check is pinged. Not for a run that never was one.
    #[must_use]
    pub fn is_pinged(self) -> bool {
        !matches!(self, Self::Busy | Self::Configuration)
    }
}

impl Failure {
    /// A failure of any kind.
    pub fn new(kind: Kind, message: impl Into<String>, hint: impl Into<String>) -> Self {
        let shown = |text: String| match text.char_indices().nth(MOST_SHOWN) {
            Some((end, _)) => format!("{}…", plain(text.split_at(end).0)),
            None => plain(&text),
        };
        Self { kind, message: shown(message.into()), hint: shown(hint.into()) }
    }

    /// As `--json` shows it.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let Self { kind, message, .. } = self;
        let hint = self.advice();
        json!({ "code": kind.code(), "kind": kind.name(), "message": message, "hint": hint })
    }

    /// What helps, and where more is said.
    #[must_use]
    pub fn advice(&self) -> String {
        let halt = (self.kind == Kind::Halted).then(|| help::about_halt(&self.message)).flatten();
        let code = self.kind.code().to_string();
        let topic = halt.map_or(&*code, |part| part.topic);
        let more = format!("`ouroboros explain {topic}` says more");
        if self.hint.is_empty() { more } else { format!("{}; {more}", self.hint) }
    }

    /// A wrong configuration.
    pub fn configuration(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Kind::Configuration, message, hint)
    }

    /// Candles or a state file that can't be trusted.
    pub fn untrusted(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::new(Kind::Untrusted, message, hint)
    }

    /// No answer, or none that makes sense.
    pub fn unreachable(message: impl Into<String>) -> Self {
        Self::new(Kind::Unreachable, message, "nothing was done; the next run tries again")
    }

    /// A file that could not be read or written; the trail of causes becomes the message.
    #[must_use]
    pub fn storage(error: &anyhow::Error) -> Self {
        Self::new(
            Kind::Storage,
            format!("{error:#}"),
            "look at disk space, permissions and `--state-dir`; the next run tries again",
        )
    }
}

/// The text as one line that does nothing to a terminal: a file or a stranger may have written a part
/// of it.
#[must_use]
pub fn plain(text: &str) -> String {
    let printable = |c: char| match c {
        '\n' | '\r' | '\t' => ' ',
        c if c.is_control() => char::REPLACEMENT_CHARACTER,
        c => c,
    };
    text.chars().map(printable).collect()
}

/// An answer may have a megabyte, and what parses it quotes it. About what fits into one message.
const MOST_SHOWN: usize = 4000;

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stranger_wrote_does_nothing_to_a_terminal_and_has_an_end() {
        let failure = Failure::unreachable("it said `\u{1b}[2J\0`\nand\tmore");
        assert_eq!(failure.message, "it said `\u{fffd}[2J\u{fffd}` and more");
        let failure = Failure::unreachable("ä".repeat(1_000_000));
        assert_eq!(failure.message.chars().count(), MOST_SHOWN + 1);
        assert!(failure.message.ends_with("ä…"));
        let failure = Failure::unreachable("ä".repeat(MOST_SHOWN));
        assert!(failure.message.ends_with("ää"));
    }
}
