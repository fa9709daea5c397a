//! `candles`: fetches history into a folder that `--candles` reads. Knows no key, no book and no
//! state directory.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::{Value, json};

use super::Answer;
use super::progress::Progress;
use crate::config::{Config, Mode, Recording};
use crate::exchange::dump::Dump;
use crate::exchange::fetch::grid::{Coverage, Gap, Month};
use crate::exchange::fetch::{self, Fetch, Origin, Shelf, Source};
use crate::exchange::http::Http;
use crate::failure::Failure;
use crate::trading::market::{Leg, Pair, Symbol};
use crate::trading::time::{Interval, Timestamp, When};

/// What is to be in the folder.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// Whose candles; those of the configured pair where none is named.
    pub symbols: &'a [Symbol],
    /// Of which length; the configured one without it.
    pub interval: Option<Interval>,
    /// From here on.
    pub from: When,
    /// To here, or to now.
    pub to: Option<When>,
    /// Whether only problems are to be told.
    pub is_quiet: bool,
}

/// A symbol's months that are to be there, and of which of their candles is told.
struct Plan {
    symbol: Symbol,
    /// The exchange's first candle, where that is later than what was asked for.
    begins_late: Option<Timestamp>,
    from: Timestamp,
    end: Timestamp,
    months: Vec<Month>,
}

/// What came of a plan.
struct Fetched {
    plan: Plan,
    coverage: Coverage,
    /// Files by where they came from.
    from_dumps: usize,
    from_api: usize,
    kept: usize,
    bytes: usize,
}

/// Fetches what the folder lacks.
///
/// **Errors**: a folder or a symbol that can't be; no answer, or one that asks for silence; candles,
/// there or here, that can't be trusted; the disk's; told to stop. The folder keeps what it has.
pub fn candles(config: &Config, http: Http, wanted: &Wanted<'_>) -> Result<Answer, Failure> {
    let folder = folder(config)?;
    let interval = wanted.interval.unwrap_or(config.rules.interval);
    let source = Source::new(config, http);
    let now = source.now()?;
    let mut plans = Vec::new();
    for symbol in symbols(config, wanted.symbols) {
        plans.push(plan(&source, symbol, interval, wanted, now)?);
    }

    // Nothing is made before it is sure that there is something to fetch.
    let shelf = Shelf::open(folder)?;
    let progress = Progress::of(plans.iter().map(|plan| plan.months.len()).sum(), "months");
    let progress = progress.unless(wanted.is_quiet);
    let mut done = 0;
    let mut all = Vec::new();
    for plan in plans {
        let step = || {
            progress.show(done);
            done += 1;
        };
        let fetched = fetch(&source, &shelf, plan, interval, now, step);
        if fetched.is_err() {
            progress.clear();
        }
        all.push(fetched?);
    }
    progress.clear();
    let next = next(config, folder, interval, wanted, &all);
    Ok(Answer {
        text: to_text(folder, interval, &source, &all, &next),
        json: json!({
            "folder": folder.to_string_lossy(),
            "interval": interval.name(),
            "symbols": all.iter().map(to_json).collect::<Vec<Value>>(),
            "next": next,
        }),
    })
}

fn folder(config: &Config) -> Result<&Path, Failure> {
    match &config.mode {
        Mode::Replay(Recording::Folder(folder)) => Ok(folder),
        _ => Err(Failure::configuration(
            "`--candles demo` is the built-in sample: nothing can be fetched into it",
            "give `--candles` the name of a folder, or leave it away for `./candles`",
        )),
    }
}

/// Each once, in the order in which they were named.
fn symbols(config: &Config, named: &[Symbol]) -> Vec<Symbol> {
    let pair = Leg::BOTH.map(|leg| config.pair.symbol(leg).clone());
    let mut symbols: Vec<Symbol> = Vec::new();
    for symbol in if named.is_empty() { &pair } else { named } {
        if !symbols.iter().any(|known| known.code() == symbol.code()) {
            symbols.push(symbol.clone());
        }
    }
    symbols
}

/// What there is to fetch: nothing from before the exchange's first candle, for nobody has it.
fn plan(
    source: &Source,
    symbol: Symbol,
    interval: Interval,
    wanted: &Wanted<'_>,
    now: Timestamp,
) -> Result<Plan, Failure> {
    let (from, settled) = (wanted.from.begin, fetch::settled(interval, now));
    let end = wanted.to.map_or(settled, |to| to.end.min(settled));
    if let Some(to) = wanted.to.filter(|to| to.end <= from) {
        return Err(Failure::configuration(
            format!("`--to` {} is before `--from` {}", written(to), written(wanted.from)),
            "give `--to` a later day",
        ));
    }
    let none = || {
        let from = written(wanted.from);
        Failure::configuration(
            format!("there is no closed candle of {symbol} at {interval} from {from} on"),
            "give `--from` an earlier day",
        )
    };
    if from >= end {
        return Err(none());
    }
    let first = source.first(&symbol, interval, Month::of(from).begin)?;
    let first = first.filter(|first| *first < end).ok_or_else(none)?;
    let begins_late = Some(first).filter(|first| first.millis_since(from) >= interval.millis());
    let from = from.max(first);
    Ok(Plan { months: Month::all(from, end), symbol, begins_late, from, end })
}

fn fetch(
    source: &Source,
    shelf: &Shelf,
    plan: Plan,
    interval: Interval,
    now: Timestamp,
    mut step: impl FnMut(),
) -> Result<Fetched, Failure> {
    shelf.tidy(&fetch::prefix(&plan.symbol, interval))?;
    let before = source.bytes();
    let fetch = Fetch::new(source, shelf, &plan.symbol, interval, now);
    let (mut from_dumps, mut from_api, mut kept) = (0, 0, 0);
    for month in &plan.months {
        step();
        source.check_stop()?;
        let origin = fetch.month(month)?;
        log::debug!("{} {month}: {origin:?}", plan.symbol);
        match origin {
            Origin::Dumps => from_dumps += 1,
            Origin::Exchange => from_api += 1,
            Origin::Kept => kept += 1,
            Origin::Nowhere => {}
        }
    }
    let coverage = fetch.coverage(plan.from, plan.end)?;
    let bytes = source.bytes() - before;
    Ok(Fetched { plan, coverage, from_dumps, from_api, kept, bytes })
}

fn to_json(fetched: &Fetched) -> Value {
    let Fetched { plan, coverage, from_dumps, from_api, kept, bytes } = fetched;
    let gap = |Gap { from, to, candles }: &Gap| json!({ "from": from.to_string(), "to": to.to_string(), "candles": candles });
    json!({
        "symbol": plan.symbol.code(),
        "from": coverage.span.map(|(first, _)| first.to_string()),
        "to": coverage.span.map(|(_, last)| last.to_string()),
        "candles": coverage.candles,
        "missing": coverage.missing(),
        "off_grid": coverage.off_grid.map_or(0, |(_, count)| count),
        "gaps": coverage.gaps.iter().map(gap).collect::<Vec<Value>>(),
        "files": { "dumps": from_dumps, "api": from_api, "kept": kept },
        "bytes_fetched": bytes,
    })
}

fn to_text(
    folder: &Path,
    interval: Interval,
    source: &Source,
    all: &[Fetched],
    next: &str,
) -> String {
    let mut text = format!("candles of {interval} in {}", folder.display());
    if !source.has_dumps() {
        text.push_str(", all from the exchange itself: nobody publishes dumps of this market");
    }
    text.push('\n');
    for Fetched { plan, coverage, from_dumps, from_api, kept, bytes } in all {
        let symbol = plan.symbol.to_string();
        let _ = match coverage.span {
            Some((first, last)) => {
                write!(text, "\n{symbol:<10} {} candles, {first} to {last}", coverage.candles)
            }
            None => write!(text, "\n{symbol:<10} no candle from {} on", plan.from),
        };
        let _ = write!(
            text,
            "\n{:<10} {from_dumps} files from the dumps, {from_api} from the exchange, {kept} were \
             there; {bytes} bytes fetched",
            ""
        );
        if let Some(first) = plan.begins_late {
            let _ = write!(text, "\n{:<10} the exchange has none before {first}", "");
        }
        if let Some((first, count)) = coverage.off_grid {
            let _ = write!(
                text,
                "\n{:<10} {count} begin where no candle may begin, the first {first}: no decision \
                 is made on them",
                ""
            );
        }
        let missing = coverage.missing();
        if missing == 0 {
            let _ = write!(text, "\n{:<10} nothing is missing", "");
        } else {
            let gaps = coverage.gaps.len();
            let _ = write!(text, "\n{:<10} {missing} are missing, in {gaps} gaps:", "");
        }
        for Gap { from, to, candles } in coverage.gaps.iter().take(SHOWN) {
            let _ = write!(text, "\n{:<10} {candles:>6}: {from} to {to}", "");
        }
        if coverage.gaps.len() > SHOWN {
            let more = coverage.gaps.len() - SHOWN;
            let _ = write!(text, "\n{:<10} ... and {more} gaps more, in --json", "");
        }
    }
    let _ = write!(text, "\n\nnext: {next}");
    text
}

/// The command to type after this one.
fn next(
    config: &Config,
    folder: &Path,
    interval: Interval,
    wanted: &Wanted<'_>,
    all: &[Fetched],
) -> String {
    let is_here = |symbol: &Symbol| Dump::open(folder, symbol, interval).is_ok();
    let pair = &config.pair;
    let legs = Leg::BOTH.map(|leg| pair.symbol(leg));
    let place = quoted(&folder.to_string_lossy());
    let mut variables = String::new();
    if interval != config.rules.interval {
        let _ = write!(variables, "TIMEFRAME={interval} ");
    }
    if !legs.iter().all(|leg| is_here(leg)) {
        let named: Vec<&Symbol> = all.iter().map(|it| &it.plan.symbol).take(2).collect();
        let missing = legs.iter().find(|leg| !is_here(leg));
        match (&named[..], missing) {
            ([one, other], _) if Pair::new((*one).clone(), (*other).clone()).is_some() => {
                let _ = write!(variables, "SYMBOL_BASE={one} SYMBOL_QUOTE={other} ");
            }
            (_, Some(missing)) => {
                let from = written(wanted.from);
                return format!(
                    "ouroboros candles {missing} --interval {interval} --from {from} --candles {place}"
                );
            }
            _ => {}
        }
    }
    let mut part = String::new();
    // Whole months are there.
    if Month::of(wanted.from.begin).begin != wanted.from.begin {
        let _ = write!(part, " --from {}", written(wanted.from));
    }
    if let Some(to) = wanted.to.filter(|to| Month::of(to.end).begin != to.end) {
        let _ = write!(part, " --to {}", written(to));
    }
    format!("{variables}ouroboros backtest --candles {place}{part}")
}

/// As it can be given on the command line.
fn written(when: When) -> String {
    let text = when.begin.to_string();
    let is_day = when.end == when.begin.plus_millis(DAY_MILLIS);
    text.split_once('T').filter(|_| is_day).map_or(text.clone(), |(day, _)| day.to_owned())
}

/// As a shell takes it for one word.
fn quoted(path: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    if !path.is_empty() && path.chars().all(is_plain) {
        return path.to_owned();
    }
    format!("'{}'", path.replace('\'', "'\\''"))
}

/// Where the candles go unless a folder is named.
pub const FOLDER: &str = "./candles";
/// Gaps that a person is shown.
const SHOWN: usize = 20;
const DAY_MILLIS: i64 = 24 * 60 * 60 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_be_typed_next_is_one_word_to_a_shell() {
        assert_eq!(quoted("./a-b_1/c.d"), "./a-b_1/c.d");
        assert_eq!(quoted("my candles"), "'my candles'");
        assert_eq!(quoted("a'b"), "'a'\\''b'");
        assert_eq!(quoted(""), "''");
    }

    #[test]
    fn a_day_is_written_as_a_day_and_a_moment_as_a_moment() {
        for text in ["2024-03-01", "2024-03-01T00:00:00Z", "2024-03-01T12:15:00Z"] {
            assert_eq!(written(text.parse().expect("a day or a moment")), text);
        }
    }
}
