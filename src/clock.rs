//! The only place where the clock is read. Everything else is given a moment, or a [`Clock`].

use std::fmt::Debug;
use std::sync::Arc;
use std::thread;
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

/// What tells the time of day, lets time pass, and measures it.
pub trait Time: Debug + Send + Sync {
    /// This machine's idea of the time.
    fn now(&self) -> Timestamp;
    /// What has passed since a moment that stays the same, whatever is done to the time of day.
    fn passed(&self) -> Duration;
    /// Lets so much pass.
    fn sleep(&self, time: Duration);
}

/// A clock, shared by all who wait for the same things.
#[derive(Debug, Clone)]
pub struct Clock(Arc<dyn Time>);

impl Clock {
    /// This machine's.
    #[must_use]
    pub fn system() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place")]
        let began = Instant::now();
        Self::of(Machine { began })
    }

    /// One that somebody else drives.
    #[must_use]
    pub fn of(time: impl Time + 'static) -> Self {
        Self(Arc::new(time))
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.now()
    }

    /// Lets so much time pass.
    pub fn sleep(&self, time: Duration) {
        self.0.sleep(time);
    }

    /// So much time from now on.
    #[must_use]
    pub fn deadline(&self, time: Duration) -> Deadline {
        Deadline { clock: self.clone(), at: self.0.passed().saturating_add(time) }
    }

    /// Begins to measure.
    #[must_use]
    pub fn stopwatch(&self) -> Stopwatch {
        Stopwatch { clock: self.clone(), began: self.0.passed() }
    }
}

#[derive(Debug)]
struct Machine {
    began: Instant,
}

impl Time for Machine {
    fn now(&self) -> Timestamp {
        now()
    }

    fn passed(&self) -> Duration {
        self.began.elapsed()
    }

    fn sleep(&self, time: Duration) {
        thread::sleep(time);
    }
}

/// Measures how long something took.
#[derive(Debug, Clone)]
pub struct Stopwatch {
    clock: Clock,
    began: Duration,
}

impl Stopwatch {
    /// What has passed since the start.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.clock.0.passed().saturating_sub(self.began)
    }
}

/// A moment after which no more time is spent.
#[derive(Debug, Clone)]
pub struct Deadline {
    clock: Clock,
    at: Duration,
}

impl Deadline {
    /// What is left of it; zero once it has passed.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.at.saturating_sub(self.clock.0.passed())
    }

    /// The earlier of this one and `time` from now on.
    #[must_use]
    pub fn within(&self, time: Duration) -> Self {
        Self { clock: self.clock.clone(), at: self.at.min(self.clock.deadline(time).at) }
    }

    /// Whether it has passed.
    #[must_use]
    pub fn has_passed(&self) -> bool {
        self.left().is_zero()
    }

    /// Lets time pass, but not beyond this moment and not more than `most`.
    pub fn sleep(&self, most: Duration) {
        self.clock.sleep(self.left().min(most));
    }
}
