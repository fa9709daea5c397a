//! Which months and which candles there should be, and which are missing. Pure: what is there is told
//! by others.

use std::fmt;

use crate::trading::time::{Interval, Timestamp};

/// A month of UTC, the piece that a history is fetched in. Prints as `2024-03`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Month {
    /// Its first moment.
    pub begin: Timestamp,
    /// The first moment of the next one.
    pub end: Timestamp,
    year: i16,
    number: i8,
}

impl Month {
    /// The month of a moment.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        let (year, number, end) = at.month();
        let begin = format!("{year:04}-{number:02}-01T00:00:00Z").parse();
        // Before the year 0 a month begins with its moment: no exchange is that old.
        Self { begin: begin.unwrap_or(at), end, year, number }
    }

    /// Each month that has a moment at or after `from` and before `end`, oldest first.
    #[must_use]
    pub fn all(from: Timestamp, end: Timestamp) -> Vec<Self> {
        let mut months = Vec::new();
        let mut at = from;
        while at < end {
            let month = Self::of(at);
            at = month.end;
            months.push(month);
        }
        months
    }

    /// Whether a moment is in it.
    #[must_use]
    pub fn has(&self, at: Timestamp) -> bool {
        self.begin <= at && at < self.end
    }
}

impl fmt::Display for Month {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}", self.year, self.number)
    }
}

/// Candles that are missing one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gap {
    /// Open time of the first.
    pub from: Timestamp,
    /// Open time of the last.
    pub to: Timestamp,
    /// How many they are.
    pub candles: i64,
}

/// What of a span is there, candle by candle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    interval: Interval,
    from: Timestamp,
    end: Timestamp,
    /// The first candle that was not told yet.
    next: Timestamp,
    /// How many there are.
    pub candles: i64,
    /// The first and the last.
    pub span: Option<(Timestamp, Timestamp)>,
    /// The first that begins where none may begin, and how many do: an outage of 2018 left some.
    pub off_grid: Option<(Timestamp, i64)>,
    /// What is missing, oldest first.
    pub gaps: Vec<Gap>,
}

impl Coverage {
    /// Nothing is there yet of the candles that begin at or after `from` and before `end`.
    #[must_use]
    pub fn new(interval: Interval, from: Timestamp, end: Timestamp) -> Self {
        Self {
            interval,
            from,
            end,
            next: first_at_or_after(interval, from),
            candles: 0,
            span: None,
            off_grid: None,
            gaps: Vec::new(),
        }
    }

    /// This candle is there. One outside of the span does not count.
    ///
    /// **Shape**: oldest first, each once.
    pub fn add(&mut self, open_time: Timestamp) {
        if open_time < self.from || open_time >= self.end {
            return;
        }
        self.candles += 1;
        self.span = Some((self.span.map_or(open_time, |(first, _)| first), open_time));
        if !self.interval.is_on_grid(open_time) {
            let (first, count) = self.off_grid.unwrap_or((open_time, 0));
            self.off_grid = Some((first, count + 1));
            return;
        }
        self.miss_until(open_time);
        self.next = open_time.plus_millis(self.interval.millis());
    }

    /// No further candle is there.
    #[must_use]
    pub fn finish(mut self) -> Self {
        self.miss_until(first_at_or_after(self.interval, self.end));
        self
    }

    /// How many candles are missing.
    #[must_use]
    pub fn missing(&self) -> i64 {
        self.gaps.iter().map(|gap| gap.candles).sum()
    }

    fn miss_until(&mut self, at: Timestamp) {
        let candles = self.interval.candles_between(self.next, at);
        if candles > 0 {
            let to = at.plus_millis(-self.interval.millis());
            self.gaps.push(Gap { from: self.next, to, candles });
            self.next = at;
        }
    }
}

/// The first moment at or after this one at which a candle may begin.
fn first_at_or_after(interval: Interval, at: Timestamp) -> Timestamp {
    let over = at.as_millis().rem_euclid(interval.millis());
    at.plus_millis(if over == 0 { 0 } else { interval.millis() - over })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("{text}Z").parse().expect("a moment")
    }

    fn hours() -> Interval {
        Interval::named("1h").expect("an interval")
    }

    #[test]
    fn a_month_has_its_first_moment_and_not_its_last() {
        let month = Month::of(at("2024-02-29T23:59:59.999"));
        assert_eq!(month.to_string(), "2024-02");
        assert_eq!((month.begin, month.end), (at("2024-02-01T00:00"), at("2024-03-01T00:00")));
        assert!(month.has(month.begin) && !month.has(month.end));
    }

    #[test]
    fn every_month_that_is_touched_is_meant() {
        let names = |from: &str, end: &str| {
            let months = Month::all(at(from), at(end));
            months.iter().map(Month::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names("2023-11-30T23:59", "2024-02-01T00:00"), "2023-11 2023-12 2024-01");
        assert_eq!(names("2024-01-01T00:00", "2024-02-01T00:00:00.001"), "2024-01 2024-02");
        assert_eq!(names("2024-01-31T23:59", "2024-01-31T23:59:30"), "2024-01");
        assert_eq!(names("2024-01-01T00:00", "2024-01-01T00:00"), "");
    }

    /// The coverage of a span by candles at these times of a day.
    fn coverage(from: &str, end: &str, times: &[&str]) -> Coverage {
        let day = |time: &str| at(&format!("2024-03-01T{time}"));
        let mut coverage = Coverage::new(hours(), day(from), day(end));
        for time in times {
            coverage.add(day(time));
        }
        coverage.finish()
    }

    fn gaps(coverage: &Coverage) -> String {
        let gap = |gap: &Gap| {
            let time = |at: Timestamp| at.to_string()[11..16].to_owned();
            format!("{}-{} {}", time(gap.from), time(gap.to), gap.candles)
        };
        coverage.gaps.iter().map(gap).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_is_missing_has_a_first_a_last_and_a_number() {
        for (from, end, times, expected) in [
            ("00:00", "03:00", &["00:00", "01:00", "02:00"][..], ""),
            ("00:00", "03:00", &["00:00", "02:00"], "01:00-01:00 1"),
            ("00:00", "06:00", &["02:00"], "00:00-01:00 2, 03:00-05:00 3"),
            ("00:00", "02:00", &[], "00:00-01:00 2"),
            ("00:00", "00:00", &[], ""),
            // Only what begins within counts, and only there something can be missing.
            ("00:30", "03:30", &["00:00", "01:00", "04:00"], "02:00-03:00 2"),
            ("00:01", "00:59", &[], ""),
        ] {
            let coverage = coverage(from, end, times);
            assert_eq!(gaps(&coverage), expected, "{from} to {end}: {times:?}");
            let slots = coverage.candles + coverage.missing();
            assert_eq!(
                slots,
                hours().candles_between(
                    first_at_or_after(hours(), coverage.from),
                    first_at_or_after(hours(), coverage.end),
                )
            );
        }
    }

    #[test]
    fn a_candle_beside_the_grid_fills_no_place_of_it() {
        let coverage = coverage("00:00", "04:00", &["00:00", "01:28", "02:28", "03:00"]);
        assert_eq!(gaps(&coverage), "01:00-02:00 2");
        assert_eq!(coverage.off_grid, Some((at("2024-03-01T01:28"), 2)));
        assert_eq!((coverage.candles, coverage.missing()), (4, 2));
    }
}
