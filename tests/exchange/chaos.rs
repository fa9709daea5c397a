//! Faults drawn from a seed, for rehearsals and long tests. What is drawn for a request depends on the seed, on what is
//! asked, and on how often that was asked before: two questions that are asked at the same time can't swap their luck.

use std::collections::BTreeMap;

use super::fault::{Execute, Fault, Reply};
use super::world::{Lag, Lags};

/// How much goes wrong.
#[derive(Clone, Debug, Default)]
pub struct Chaos {
    /// Of a hundred orders so many go wrong, and as many show late; of a thousand other requests so many go wrong, because
    /// a client asks ten things or more before it orders one.
    pub percent: u64,
    /// What the draws begin with.
    pub seed: u64,
    /// Whether an answer may also stay away for as long as the client waits.
    pub hangs: bool,
    asked: BTreeMap<String, u64>,
}

impl Chaos {
    pub fn new(percent: u64, seed: u64) -> Self {
        Self { percent, seed, ..Self::default() }
    }

    /// What goes wrong with this request, and, where it is an order, how late it shows.
    pub(super) fn draw(&mut self, question: &str, is_order: bool) -> (Option<Fault>, Option<Lags>) {
        let times = self.asked.entry(question.to_owned()).or_default();
        *times += 1;
        let mut luck = Luck(self.seed ^ hash(question) ^ times.wrapping_mul(0x9e37_79b9));
        let is_hit = luck.below(if is_order { 100 } else { 1000 }) < self.percent;
        let fault = match (is_hit, is_order) {
            (false, _) => None,
            (true, true) => Some(self.order(&mut luck)),
            (true, false) => Some(Fault { execute: Execute::Now, reply: self.reply(&mut luck) }),
        };
        let lags = is_order.then(|| {
            if luck.below(100) >= self.percent {
                return Lags::default();
            }
            let one = match luck.below(3) {
                0 => Lag::Millis(i64::try_from(luck.below(20_000)).expect("small")),
                1 => Lag::Queries(1 + luck.below(3)),
                _ => Lag::Flapping(20_000),
            };
            Lags::all(one)
        });
        (fault, lags)
    }

    /// An order whose answer says nothing of its fate, or one that is surely refused.
    fn order(&self, luck: &mut Luck) -> Fault {
        if luck.below(6) == 0 {
            let msg = "Too many new orders; current limit is 100 orders per 10 SECOND.";
            return Fault { execute: Execute::Never, reply: Reply::Code(429, -1015, msg) };
        }
        let execute = match luck.below(4) {
            0 => Execute::Never,
            1 => Execute::LateMillis(i64::try_from(luck.below(15_000)).expect("small")),
            2 => Execute::QueuedMillis(i64::try_from(luck.below(8_000)).expect("small")),
            _ => Execute::Now,
        };
        Fault { execute, reply: self.reply(luck) }
    }

    fn reply(&self, luck: &mut Luck) -> Reply {
        let timeout = "Timeout waiting for response from backend server. Send status unknown; \
                       execution status unknown.";
        match luck.below(if self.hangs { 12 } else { 11 }) {
            0 => Reply::Close,
            1 => Reply::Reset,
            2 => Reply::Cut,
            3 => Reply::WrongLength,
            4 => Reply::Html(502),
            5 => Reply::Html(403),
            6 => Reply::Status(504, String::new()),
            7 => Reply::Code(408, -1007, timeout),
            8 => Reply::Code(400, -1006, "An unexpected response was received."),
            9 => Reply::Code(503, -1008, "Server is currently overloaded with other requests."),
            10 => Reply::Code(500, -1000, "An unknown error occurred while processing."),
            _ => Reply::Hang,
        }
    }
}

/// Numbers that look random. **Source**: `SplitMix64`, Steele, Lea and Flood 2014.
#[derive(Clone, Debug)]
pub(super) struct Luck(pub(super) u64);

impl Luck {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % bound
    }
}

/// FNV-1a, the same on every machine and in every build.
fn hash(text: &str) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    text.bytes().fold(0xcbf2_9ce4_8422_2325, step)
}
