//! When the program is to be started, for whoever starts it: the one place that knows. The timer of
//! `systemd/`, `units`, `crontab` and the doctor all have it from here, or are held against it.

use crate::trading::time::Interval;

/// How long after a candle's end a start comes. The exchange publishes a candle a moment after its
/// end; a run that finds it missing waits for it a little.
pub(super) const DELAY_SECONDS: u32 = 10;

/// The moments of a timer, as `OnCalendar=` takes them: `*-*-* *:00/15:10 UTC`.
///
/// UTC, whatever the machine's time zone: candles are cut in UTC, also when the clocks change.
#[must_use]
pub(super) fn calendar(interval: Interval) -> String {
    let minutes = minutes(interval);
    let moments = match (minutes, minutes / 60) {
        (1, _) => "*:*".to_owned(),
        (_, 0) => format!("*:00/{minutes}"),
        (_, 1) => "*:00".to_owned(),
        (_, 24) => "00:00".to_owned(),
        (_, hours) => format!("00/{hours}:00"),
    };
    format!("*-*-* {moments}:{DELAY_SECONDS} UTC")
}

/// The five fields of a crontab, right in every time zone.
///
/// Cron has the machine's time, not every cron knows `CRON_TZ`, and one that doesn't ignores it
/// without a word. Every zone is so many quarters of an hour from UTC: candles of up to a quarter
/// end at the same minutes everywhere, and for longer ones every quarter is a start. Those at which
/// no candle ended do nothing.
#[must_use]
pub(super) fn cron(interval: Interval) -> String {
    match minutes(interval).min(15) {
        1 => "* * * * *".to_owned(),
        every => format!("*/{every} * * * *"),
    }
}

fn minutes(interval: Interval) -> i64 {
    interval.millis() / 60_000
}

#[cfg(test)]
mod tests {
    use super::{calendar, cron, minutes};
    use crate::trading::time::Interval;

    #[test]
    fn a_timer_starts_ten_seconds_after_each_candle() {
        let all = Interval::ALL.map(|interval| format!("{interval} {}", calendar(interval)));
        let expected = [
            "1m *-*-* *:*:10 UTC",
            "3m *-*-* *:00/3:10 UTC",
            "5m *-*-* *:00/5:10 UTC",
            "15m *-*-* *:00/15:10 UTC",
            "30m *-*-* *:00/30:10 UTC",
            "1h *-*-* *:00:10 UTC",
            "2h *-*-* 00/2:00:10 UTC",
            "4h *-*-* 00/4:00:10 UTC",
            "6h *-*-* 00/6:00:10 UTC",
            "8h *-*-* 00/8:00:10 UTC",
            "12h *-*-* 00/12:00:10 UTC",
            "1d *-*-* 00:00:10 UTC",
        ];
        assert_eq!(all, expected);
    }

    #[test]
    fn the_timer_that_is_shipped_fits_the_default() {
        let timer = include_str!("../../systemd/ouroboros@.timer");
        let lines: Vec<&str> =
            timer.lines().filter(|line| line.starts_with("OnCalendar=")).collect();
        let default = Interval::named("15m").expect("an interval");
        assert_eq!(lines, [format!("OnCalendar={}", calendar(default))]);
    }

    #[test]
    fn cron_starts_at_the_end_of_every_candle_whatever_the_zone() {
        // From Baker Island to Kiribati; those of Nepal and the Chatham Islands are odd quarters.
        for offset in (-12 * 60..=14 * 60_i64).step_by(15) {
            for interval in Interval::ALL {
                let fields = cron(interval);
                let (minute, rest) = fields.split_once(' ').expect("five fields");
                assert_eq!(rest, "* * * *");
                let every = minute.strip_prefix("*/").map_or(1, |n| n.parse().expect("a number"));
                for end in (0..2 * 24 * 60).step_by(minutes(interval).try_into().expect("small")) {
                    let local = (end + offset).rem_euclid(60);
                    assert_eq!(local % every, 0, "{interval}, {offset} minutes from UTC, {end}");
                }
            }
        }
    }
}
