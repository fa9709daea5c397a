//! Whether something starts the program. The book knows best: its last decision is new or it is
//! not. Where there is none yet, a timer or a line for cron is looked for. Nothing of it is certain
//! (a unit of a user, another machine), so nothing of it fails.

use std::fs;
use std::path::{Path, PathBuf};

use super::Found;
use crate::command::schedule;
use crate::config::Config;
use crate::preflight::Finding;
use crate::trading::time::{Interval, Timestamp};

/// The newest decision against the clock, or what would make the first one.
pub(super) fn look(config: &Config, found: &Found, now: Timestamp) -> Finding {
    let interval = config.rules.interval;
    let Some(book) = found.book() else { return no_run_yet(interval) };
    let Some(last) = book.last_candle else { return no_run_yet(interval) };
    decided(last, interval, book.halt.is_some(), now)
}

fn decided(last: Timestamp, interval: Interval, is_halted: bool, now: Timestamp) -> Finding {
    let ago = interval.candles_between(last, interval.newest_closed(now));
    let text = match ago {
        ..=0 => format!("the last run decided on the newest candle, {last}"),
        1 => format!("the last run decided on the candle {last}, one before the newest"),
        _ => format!("the last run decided on the candle {last}, {ago} before the newest"),
    };
    // Nothing is decided while halted, and the halt has a line of its own.
    if ago <= MOST_CANDLES || is_halted {
        return Finding::ok(NAME, text);
    }
    Finding::warning(
        NAME,
        text,
        "look at `systemctl list-timers` or `crontab -l`, and at what the last runs said in the \
         journal or in `logs/bot.log`",
    )
}

fn no_run_yet(interval: Interval) -> Finding {
    match starter() {
        Some(path) => {
            let text = format!("no decision yet; `{}` is there to start a run", path.display());
            Finding::ok(NAME, text)
        }
        None => Finding::warning(
            NAME,
            "no decision yet, and neither a timer nor a line for cron was found",
            format!(
                "`ouroboros units` prints a timer for `{}`, `ouroboros crontab` a line for cron",
                schedule::calendar(interval)
            ),
        ),
    }
}

/// A timer that is enabled, or a crontab that names the program, as far as we may read them.
fn starter() -> Option<PathBuf> {
    let is_ours = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PROGRAM))
    };
    if let Some(timer) = entries(TIMERS.as_ref()).into_iter().find(is_ours) {
        return Some(timer);
    }
    let tables = TABLES.iter().flat_map(|folder| entries(folder.as_ref()));
    let mut tables = tables.chain([PathBuf::from("/etc/crontab")]);
    tables.find(|path| starts_us(path))
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).take(MOST_FILES).collect();
    paths.sort();
    paths
}

fn starts_us(crontab: &Path) -> bool {
    // A pipe in its place would be waited for, for ever.
    let is_small =
        fs::metadata(crontab).is_ok_and(|meta| meta.is_file() && meta.len() < MOST_BYTES);
    let names_us = |text: String| {
        let mut lines = text.lines().map(str::trim);
        lines.any(|line| !line.starts_with('#') && line.contains(PROGRAM))
    };
    is_small && fs::read_to_string(crontab).is_ok_and(names_us)
}

const NAME: &str = "timer";
const PROGRAM: &str = "ouroboros";

/// One may have failed, or have just not begun.
const MOST_CANDLES: i64 = 2;

/// Where `systemctl enable` puts a timer.
const TIMERS: &str = "/etc/systemd/system/timers.target.wants";
const TABLES: [&str; 2] = ["/etc/cron.d", "/var/spool/cron/crontabs"];
const MOST_FILES: usize = 1000;
const MOST_BYTES: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::{decided, starts_us};
    use crate::preflight::Verdict;
    use crate::trading::time::{Interval, Timestamp};

    #[test]
    fn a_decision_that_is_old_is_a_warning_and_while_halted_it_is_none() {
        let interval = Interval::named("15m").expect("an interval");
        let last: Timestamp = "2024-03-01T12:00:00Z".parse().expect("a moment");
        for (now, is_halted, is_good, words) in [
            ("2024-03-01T12:15:00Z", false, true, "the newest candle, 2024-03-01T12:00:00Z"),
            ("2024-03-01T12:44:59Z", false, true, "12:00:00Z, one before the newest"),
            ("2024-03-01T12:45:00Z", false, true, "12:00:00Z, 2 before the newest"),
            ("2024-03-01T13:00:00Z", false, false, "12:00:00Z, 3 before the newest"),
            ("2024-03-01T13:00:00Z", true, true, "12:00:00Z, 3 before the newest"),
            // A clock that was set back.
            ("2024-03-01T11:00:00Z", false, true, "the newest candle, 2024-03-01T12:00:00Z"),
        ] {
            let finding = decided(last, interval, is_halted, now.parse().expect("a moment"));
            assert!(finding.text.contains(words), "{now}: {}", finding.text);
            assert_eq!(matches!(finding.verdict, Verdict::Ok), is_good, "{now}");
        }
    }

    #[test]
    fn a_crontab_starts_us_by_a_line_that_is_no_comment() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("crontab");
        for (text, expected) in [
            ("", false),
            ("# */15 * * * * ouroboros -q", false),
            ("MAILTO=x\n*/15 * * * * sleep 10; /usr/local/bin/ouroboros -q\n", true),
        ] {
            std::fs::write(&path, text).expect("a file");
            assert_eq!(starts_us(&path), expected, "{text}");
        }
        assert!(!starts_us(folder.path()));
        assert!(!starts_us(&folder.path().join("none")));
    }
}
