//! The machine's clock, read here and nowhere else, and the exchange's clock, which a test holds still.
//!
//! The program follows the exchange's clock and only insists that its own is within 60 s of it. So a
//! test may hold the exchange's clock at a chosen instant near now, and step it over the end of a
//! one-minute candle without waiting for it.

use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// Milliseconds of one second.
pub(crate) const SECOND: i64 = 1_000;
/// Milliseconds of one minute.
pub(crate) const MINUTE: i64 = 60 * SECOND;
/// Milliseconds of one hour.
pub(crate) const HOUR: i64 = 60 * MINUTE;
/// Milliseconds of one day.
pub(crate) const DAY: i64 = 24 * HOUR;

/// What the exchange believes the time to be.
#[derive(Clone, Debug)]
pub(crate) enum Clock {
    /// Stands at one of these instants until it is moved to the next.
    Held { instants: Vec<i64>, index: usize },
    /// The machine's clock, so many milliseconds off.
    Live { shift: i64 },
}

impl Clock {
    /// Held ten seconds before the end of a minute, then ten seconds after it.
    ///
    /// The minute's end is the one nearest to now, so both are at most 40 s away.
    pub(crate) fn over_one_candle() -> Self {
        let boundary = (now() + MINUTE / 2) / MINUTE * MINUTE;
        Self::held([boundary - 10 * SECOND, boundary + 10 * SECOND])
    }

    /// Held just before one minute, in the middle of it and just after it: two candles end.
    ///
    /// All three must be within 60 s of now, so this waits for the part of the minute where they are.
    pub(crate) fn over_two_candles() -> Self {
        loop {
            let boundary = now() / MINUTE * MINUTE;
            if (7 * SECOND..=45 * SECOND).contains(&(now() - boundary)) {
                let (first, last) = (boundary - 3 * SECOND, boundary + MINUTE + 3 * SECOND);
                return Self::held([first, boundary + MINUTE / 2, last]);
            }
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Running, for tests that take long; only with candles of a day, and never near midnight.
    pub(crate) fn live(shift: i64) -> Self {
        while DAY - now() % DAY < 2 * MINUTE || now() % DAY < 2 * MINUTE {
            thread::sleep(Duration::from_secs(1));
        }
        Self::Live { shift }
    }

    fn held(instants: impl Into<Vec<i64>>) -> Self {
        Self::Held { instants: instants.into(), index: 0 }
    }

    /// The exchange's time.
    pub(crate) fn read(&self) -> i64 {
        match self {
            Self::Held { instants, index } => instants[*index],
            Self::Live { shift } => now() + shift,
        }
    }

    /// Moves a held clock over the end of the candle.
    pub(crate) fn step(&mut self) {
        let Self::Held { instants, index } = self else { panic!("only a held clock steps") };
        assert!(*index + 1 < instants.len(), "this clock has no further candle: {instants:?}");
        *index += 1;
    }
}

/// The machine's clock in milliseconds since the epoch.
#[allow(clippy::disallowed_methods, reason = "the one place where tests read the clock")]
pub(crate) fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_millis()).expect("the clock is before the year 292 million")
}

/// An instant to measure durations from.
#[allow(clippy::disallowed_methods, reason = "the one place where tests read the clock")]
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, as HTTP has it.
pub(crate) fn http_date(ms: i64) -> String {
    timestamp(ms).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

/// `1994-11-06T08:49:00Z`, as the program writes a candle's name.
pub(crate) fn rfc3339(ms: i64) -> String {
    timestamp(ms).to_string()
}

fn timestamp(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).expect("a time in jiff's range")
}
