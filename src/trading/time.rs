//! Moments and intervals. The calendar itself is jiff's.

use std::fmt;
use std::str::FromStr;

/// A moment in UTC, as Binance counts it.
///
/// **Units**: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);

    /// The moment so many milliseconds after the epoch; `None` outside the years -9999 to 9999.
    #[must_use]
    pub fn from_millis(millis: i64) -> Option<Self> {
        jiff::Timestamp::from_millisecond(millis).ok().map(|_| Self(millis))
    }

    /// A time of a dump or of an answer, in milliseconds or in microseconds.
    ///
    /// Spot dumps have microseconds from 2025-01-01 on; the magnitude tells them apart.
    /// **Source**: binance/binance-public-data, README; 10^14 ms would be the year 5138.
    #[must_use]
    pub fn from_millis_or_micros(value: i64) -> Option<Self> {
        match value {
            ..0 => None,
            0..100_000_000_000_000 => Self::from_millis(value),
            _ => Self::from_millis(value.div_euclid(1000)),
        }
    }

    /// Milliseconds since the epoch.
    #[must_use]
    pub fn as_millis(self) -> i64 {
        self.0
    }

    /// RFC 3339 with all three decimals, so that lines of a log align.
    #[must_use]
    pub fn to_precise_text(self) -> String {
        let moment = jiff::Timestamp::from_millisecond(self.0)
            .expect("only moments of the calendar are constructed");
        format!("{moment:.3}")
    }

    /// This moment and so many milliseconds; the moment itself where the calendar ends.
    #[must_use]
    pub fn plus_millis(self, millis: i64) -> Self {
        self.0.checked_add(millis).and_then(Self::from_millis).unwrap_or(self)
    }

    /// Milliseconds from `earlier` to this moment; negative when `earlier` is later.
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Midnight UTC of this moment's day.
    #[must_use]
    pub fn day(self) -> Self {
        Self(self.0.div_euclid(DAY_MILLIS) * DAY_MILLIS)
    }

    /// Year and month of this moment in UTC, and when the next month begins.
    #[must_use]
    pub fn month(self) -> (i16, i8, Self) {
        let moment = jiff::Timestamp::from_millisecond(self.0)
            .expect("only moments of the calendar are constructed");
        let first = moment.to_zoned(jiff::tz::TimeZone::UTC).date().first_of_month();
        let next = first
            .checked_add(jiff::Span::new().months(1))
            .and_then(|next| next.to_zoned(jiff::tz::TimeZone::UTC))
            .map(|next| Self(next.timestamp().as_millisecond()));
        // The calendar's last month has no next one.
        (first.year(), first.month(), next.unwrap_or(Self(i64::MAX)))
    }
}

/// RFC 3339, `2024-03-01T12:15:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = jiff::Timestamp::from_millisecond(self.0)
            .expect("only moments of the calendar are constructed");
        write!(f, "{moment}")
    }
}

impl FromStr for Timestamp {
    type Err = jiff::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let moment: jiff::Timestamp = text.parse()?;
        Ok(Self(moment.as_millisecond()))
    }
}

/// A day or a moment, as a person writes it: `2023-01-31`, `2023-01-31T12:15:00Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct When {
    /// Its first moment.
    pub begin: Timestamp,
    /// The first moment after it.
    pub end: Timestamp,
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(begin) = text.parse::<Timestamp>() {
            return Ok(Self { begin, end: begin.plus_millis(1) });
        }
        let day = text.parse::<jiff::civil::Date>().ok();
        let begin = day.and_then(|day| day.to_zoned(jiff::tz::TimeZone::UTC).ok());
        let begin = begin.map(|begin| Timestamp(begin.timestamp().as_millisecond()));
        let begin = begin.filter(|_| text.len() == "2023-01-31".len());
        begin.map(|begin| Self { begin, end: begin.plus_millis(DAY_MILLIS) }).ok_or_else(|| {
            "give a day, such as 2023-01-31, or a moment, such as 2023-01-31T12:15:00Z".to_owned()
        })
    }
}

/// How long a candle lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval {
    name: &'static str,
    minutes: i64,
}

impl Interval {
    /// Binance's intervals from one minute to one day.
    /// **Source**: Binance Spot REST, "Kline/Candlestick chart intervals".
    pub const ALL: [Self; 12] = [
        Self { name: "1m", minutes: 1 },
        Self { name: "3m", minutes: 3 },
        Self { name: "5m", minutes: 5 },
        Self { name: "15m", minutes: 15 },
        Self { name: "30m", minutes: 30 },
        Self { name: "1h", minutes: 60 },
        Self { name: "2h", minutes: 2 * 60 },
        Self { name: "4h", minutes: 4 * 60 },
        Self { name: "6h", minutes: 6 * 60 },
        Self { name: "8h", minutes: 8 * 60 },
        Self { name: "12h", minutes: 12 * 60 },
        Self { name: "1d", minutes: 24 * 60 },
    ];

    /// The interval that Binance calls `name`.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|interval| interval.name == name)
    }

    /// As Binance writes it: `15m`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Milliseconds from one candle's open time to the next one's.
    #[must_use]
    pub fn millis(self) -> i64 {
        self.minutes * 60_000
    }

    /// How many candles a year of 365 days has.
    #[must_use]
    pub fn per_year(self) -> u32 {
        u32::try_from(365 * DAY_MILLIS / self.millis()).expect("half a million at most")
    }

    /// Whether a candle may begin at this moment.
    #[must_use]
    pub fn is_on_grid(self, open_time: Timestamp) -> bool {
        open_time.0.rem_euclid(self.millis()) == 0
    }

    /// The open time of the newest candle that is closed at `now`.
    #[must_use]
    pub fn newest_closed(self, now: Timestamp) -> Timestamp {
        let forming = now.0.div_euclid(self.millis()) * self.millis();
        Timestamp(forming - self.millis())
    }

    /// How many candles lie from `earlier` to `later`: 1 for neighbours, 0 for the same.
    #[must_use]
    pub fn candles_between(self, earlier: Timestamp, later: Timestamp) -> i64 {
        later.millis_since(earlier).div_euclid(self.millis())
    }
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let all = || Self::ALL.map(Self::name).join(", ");
        Self::named(name).ok_or_else(|| format!("one of {}", all()))
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;
