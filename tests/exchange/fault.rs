//! What may go wrong with a request: what becomes of an order, and what the client hears of it, each for itself.

use std::sync::Arc;

use serde_json::Value;

/// Which requests go wrong.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Which.
    pub on: On,
    /// Matching requests that are let through first.
    pub skip: usize,
    /// Matching requests that go wrong after them; `usize::MAX` for all.
    pub count: usize,
    /// How.
    pub fault: Fault,
}

/// Requests, by what they ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum On {
    /// Whatever is asked.
    Any,
    /// Candles of past months, and their checksums.
    Dumps,
    /// `POST /api/v3/order`.
    Order,
    /// Method and path.
    Path(&'static str),
}

/// What happens to a request.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Whether an order gets to the engine.
    pub execute: Execute,
    /// What the client hears.
    pub reply: Reply,
}

/// Whether an order gets to the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Execute {
    /// At once, as it should.
    Now,
    /// Never.
    Never,
    /// So many milliseconds of the exchange's time later, because the engine itself is slow: no window is looked at
    /// any more.
    LateMillis(i64),
    /// So many milliseconds later, because it waits in front of the engine: refused there once its window is over.
    QueuedMillis(i64),
}

/// What the client hears.
#[derive(Clone)]
pub enum Reply {
    /// The answer, as it should be.
    Good,
    /// The answer, changed.
    Alter(Arc<dyn Fn(&mut Value) + Send + Sync>),
    /// The answer, so many milliseconds later.
    Delay(u64),
    /// The connection is closed without an answer.
    Close,
    /// The connection is reset without an answer.
    Reset,
    /// Nothing, for as long as the client waits.
    Hang,
    /// The headers, then nothing.
    SilenceAfterHeaders,
    /// The headers, then a byte of the body a second.
    Drip,
    /// Half of the body, then the end of the connection.
    Cut,
    /// A length that is one more than the body has.
    WrongLength,
    /// Chunks whose lengths are no numbers.
    BrokenChunks,
    /// 200 with nothing.
    Empty,
    /// More than two megabytes.
    Huge,
    /// A page.
    Html(u16),
    /// A redirect to the same path.
    Redirect(u16),
    /// Any status and body.
    Status(u16, String),
    /// An error of the exchange: status, code, message.
    Code(u16, i64, &'static str),
    /// A wish for silence: status, `Retry-After`, code.
    Silence(u16, Option<&'static str>, Option<i64>),
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = match self {
            Self::Good => "good",
            Self::Alter(_) => "altered",
            Self::Delay(_) => "late",
            Self::Close => "closed",
            Self::Reset => "reset",
            Self::Hang => "silence",
            Self::SilenceAfterHeaders => "headers, then silence",
            Self::Drip => "a byte a second",
            Self::Cut => "cut",
            Self::WrongLength => "wrong length",
            Self::BrokenChunks => "broken chunks",
            Self::Empty => "200, empty",
            Self::Huge => "200, 2 MiB",
            Self::Html(status) => return write!(f, "{status}, HTML"),
            Self::Redirect(status) => return write!(f, "{status}, redirect"),
            Self::Status(status, body) => return write!(f, "{status}, `{body}`"),
            Self::Code(status, code, _) => return write!(f, "{status}, code {code}"),
            Self::Silence(status, after, code) => {
                return write!(f, "{status}, Retry-After {after:?}, code {code:?}");
            }
        };
        f.write_str(name)
    }
}

impl Rule {
    /// The next order goes wrong like this.
    pub fn order(execute: Execute, reply: Reply) -> Self {
        Self { on: On::Order, skip: 0, count: 1, fault: Fault { execute, reply } }
    }

    /// All requests of this method and path are answered like this.
    pub fn every(path: &'static str, reply: Reply) -> Self {
        let fault = Fault { execute: Execute::Now, reply };
        Self { on: On::Path(path), skip: 0, count: usize::MAX, fault }
    }
}

/// The fault of the first rule that matches, which is used up by it.
pub(super) fn next(rules: &mut [Rule], method: &str, path: &str) -> Option<Fault> {
    for rule in rules {
        let matches = match rule.on {
            On::Any => true,
            On::Dumps => path.starts_with("/data/"),
            On::Order => method == "POST" && path == "/api/v3/order",
            On::Path(wanted) => wanted.split_once(' ') == Some((method, path)),
        };
        if !matches || rule.count == 0 {
            continue;
        }
        if rule.skip > 0 {
            rule.skip -= 1;
            continue;
        }
        rule.count = rule.count.saturating_sub(usize::from(rule.count != usize::MAX));
        return Some(rule.fault.clone());
    }
    None
}
