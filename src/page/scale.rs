//! Scales: where a value stands on an axis, and where the axis has its lines.

#![expect(clippy::float_arithmetic, reason = "places on a page are no money")]

use crate::trading::time::Timestamp;

/// A stretch of values, with round numbers in it.
#[derive(Debug, Clone, PartialEq)]
pub struct Scale {
    low: f64,
    high: f64,
    /// Where lines are drawn, rising.
    pub ticks: Vec<f64>,
    decimals: usize,
}

impl Scale {
    /// A scale that has room for all these values, and for about so many lines.
    #[must_use]
    pub fn over(values: impl IntoIterator<Item = f64>, lines: u8) -> Self {
        let finite = values.into_iter().filter(|value| value.is_finite());
        let all = finite.fold(None, |all: Option<(f64, f64)>, value| match all {
            None => Some((value, value)),
            Some((low, high)) => Some((low.min(value), high.max(value))),
        });
        let (mut low, mut high) = all.unwrap_or((0.0, 1.0));
        if low >= high {
            // One value only: some room on both sides of it.
            let room = (low.abs() * 0.01).max(1e-9);
            (low, high) = (low - room, high + room);
        }
        let step = round_step((high - low) / f64::from(lines.max(1)));
        let margin = (high - low) * 0.03;
        (low, high) = (low - margin, high + margin);
        let mut ticks = Vec::new();
        let mut tick = (low / step).ceil();
        while tick * step <= high && ticks.len() < 50 {
            ticks.push(tick * step);
            tick += 1.0;
        }
        let decimals = (0..9).find(|decimals| is_whole(step * 10_f64.powi(*decimals))).unwrap_or(9);
        Self { low, high, ticks, decimals: usize::try_from(decimals).unwrap_or(0) }
    }

    /// How far from the top a value stands: 0 at the top, 1 at the bottom.
    #[must_use]
    pub fn from_top(&self, value: f64) -> f64 {
        (self.high - value) / (self.high - self.low)
    }

    /// How far from the left a value stands.
    #[must_use]
    pub fn from_left(&self, value: f64) -> f64 {
        (value - self.low) / (self.high - self.low)
    }

    /// A tick in words.
    #[must_use]
    pub fn label(&self, tick: f64, is_signed: bool) -> String {
        // A tick of nothing may come out as -0.
        let tick = if is_whole(tick * 1e9) && tick.abs() < 1e-9 { 0.0 } else { tick };
        if is_signed && tick != 0.0 {
            format!("{tick:+.*}", self.decimals)
        } else {
            format!("{tick:.*}", self.decimals)
        }
    }
}

fn is_whole(value: f64) -> bool {
    (value - value.round()).abs() < 1e-6
}

/// The next of 1, 2, 5, 10, 20, ... that is no smaller.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|it| it * power);
    steps.into_iter().find(|step| *step >= least * 0.999_999).unwrap_or(10.0 * power)
}

/// Lines on an axis of time, each with its label: at most about so many, at whole hours, days,
/// months or years.
#[must_use]
pub fn moments(from: Timestamp, to: Timestamp, most: u8) -> Vec<(Timestamp, String)> {
    let span = to.millis_since(from);
    let wanted = i64::from(most.max(1));
    let step = STEPS.into_iter().find(|step| span / step <= wanted);
    match step {
        Some(step) => {
            let first = from.as_millis().div_euclid(step) * step;
            let places = (1..=wanted + 1).map(|number| first + number * step);
            let places = places.filter_map(Timestamp::from_millis).filter(|at| *at <= to);
            places.map(|at| (at, day_or_hour(at))).collect()
        }
        None => months(from, to, wanted),
    }
}

fn months(from: Timestamp, to: Timestamp, wanted: i64) -> Vec<(Timestamp, String)> {
    let (mut starts, mut at) = (Vec::new(), from.month().2);
    while at <= to {
        let (year, month, next) = at.month();
        let label = if month == 1 { year.to_string() } else { month_name(month).to_owned() };
        starts.push((at, month, year, label));
        at = next;
    }
    let fits = |step: i64| {
        let is_shown = |month: i8, year: i16| {
            (i64::from(year) * 12 + i64::from(month) - 1).rem_euclid(step) == 0
        };
        let shown: Vec<_> =
            starts.iter().filter(|(_, month, year, _)| is_shown(*month, *year)).collect();
        (i64::try_from(shown.len()).unwrap_or(i64::MAX) <= wanted).then_some(shown)
    };
    let shown = [1, 2, 3, 6, 12, 24, 60, 120].into_iter().find_map(fits).unwrap_or_default();
    shown.into_iter().map(|(at, _, _, label)| (*at, label.clone())).collect()
}

fn day_or_hour(at: Timestamp) -> String {
    let text = at.to_string();
    if at == at.day() {
        let (_, month, _) = at.month();
        format!("{} {}", text[8..10].trim_start_matches('0'), month_name(month))
    } else {
        text[11..16].to_owned()
    }
}

/// A month's short name; its number is from 1.
#[must_use]
pub fn month_name(month: i8) -> &'static str {
    let index = usize::try_from(month - 1).unwrap_or(0);
    MONTHS.get(index).copied().unwrap_or("")
}

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// **Units**: ms. Above them months are counted.
const STEPS: [i64; 12] = [
    60_000,
    5 * 60_000,
    15 * 60_000,
    HOUR,
    3 * HOUR,
    6 * HOUR,
    12 * HOUR,
    DAY,
    2 * DAY,
    5 * DAY,
    10 * DAY,
    20 * DAY,
];
const HOUR: i64 = 3_600_000;
const DAY: i64 = 24 * HOUR;
