//! The only place where the clock is read. Everything else is given a moment.

use std::time::{Duration, Instant, SystemTime};

use crate::trading::time::Timestamp;

/// This machine's idea of the time. It decides nothing about candles: those have the exchange's.
#[must_use]
pub fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "the one place")]
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let millis = since_epoch.map_or(0, |elapsed| elapsed.as_millis());
    i64::try_from(millis).ok().and_then(Timestamp::from_millis).unwrap_or(Timestamp::EPOCH)
}

/// Measures how long something took.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Begins now.
    #[must_use]
    pub fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place")]
        let now = Instant::now();
        Self(now)
    }

    /// What has passed since the start.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// A moment after which no more time is spent.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// So much time from now on.
    #[must_use]
    pub fn after(time: Duration) -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place")]
        let now = Instant::now();
        Self(now + time)
    }

    /// What is left of it; zero once it has passed.
    #[must_use]
    pub fn left(self) -> Duration {
        #[expect(clippy::disallowed_methods, reason = "the one place")]
        let now = Instant::now();
        self.0.saturating_duration_since(now)
    }

    /// The earlier of this one and `time` from now on.
    #[must_use]
    pub fn within(self, time: Duration) -> Self {
        Self(self.0.min(Self::after(time).0))
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(self) -> bool {
        self.left().is_zero()
    }
}
