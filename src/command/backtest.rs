//! `backtest`: the same step over history, with an honest verdict. Nothing is kept but what
//! `--trades` asks for.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::{Answer, status};
use crate::config::{Config, Mode};
use crate::exchange::recording::Shared;
use crate::exchange::replay::too_short;
use crate::failure::Failure;
use crate::history::bootstrap;
use crate::history::curve::{Closes, Curve};
use crate::history::engine::{Engine, Fold, Moment, Stopped};
use crate::history::figures::{Figures, Sums, Tally};
use crate::history::health::{Health, health};
use crate::history::sums::{bps, count};
use crate::history::trip::Trip;
use crate::history::unit_root::UnitRoot;
use crate::history::verdict::{health_words, verdict};
use crate::page::Page;
use crate::page::history::History;
use crate::report;
use crate::trading::book::Book;
use crate::trading::candle::Candle;
use crate::trading::market::{Leg, Pair};
use crate::trading::money::Overflow;
use crate::trading::strategy::nearest;
use crate::trading::time::{Timestamp, When};

/// What part of a history counts, and what is written of it.
#[derive(Debug, Clone, Default)]
pub struct Wanted<'a> {
    /// From its beginning on.
    pub from: Option<When>,
    /// To its end.
    pub to: Option<When>,
    /// Where the page goes.
    pub html: Option<&'a Path>,
    /// Where the round trips go.
    pub trades: Option<&'a Path>,
}

/// What the history was worth.
///
/// **Errors**: candles that are missing or damaged, too few of them, numbers beyond computation, a
/// file that can't be written.
pub fn backtest(config: &Config, wanted: &Wanted<'_>) -> Result<Answer, Failure> {
    let part = Part::open(config, wanted.from, wanted.to, config.rules.window)?;
    let mut table = wanted.trades.map(Table::create).transpose()?;
    let mut tally = Tally::new(&config.rules, &config.terms, config.opening_balance);
    let book = Book::open(config.opening_balance);
    let mut engine = Engine::new(Fold::new(book, &config.rules, &config.terms));
    let mut curve = Curve::new(config.rules.interval, tally.equity());
    let mut closes = Closes::default();
    let mut written = Ok(());
    let mut look = |moment: Moment<'_>| {
        let trip = tally.add(&moment);
        if wanted.html.is_some() {
            curve.add(&moment, trip.as_ref(), tally.equity());
        }
        closes.add(moment.row);
        if let (Some(trip), Some(table), Ok(())) = (trip, &mut table, &written) {
            written = table.add(&trip, &config.pair);
        }
    };
    part.read(|rows| engine.push(rows, &mut look).map_err(stopped))?;
    let book = engine.finish();
    written?;
    if let Some(table) = table {
        table.0.finish()?;
    }
    let figures = tally.figures(&book, &config.terms).map_err(too_large)?;
    let verdict = verdict(&figures, &config.pair, Some(config.terms.fee));
    let interval = bootstrap::interval_of_mean(&figures.returns, CONFIDENCE, SEED);
    let interval = interval.map(|it| [it.low, it.high].map(bps));
    let mut answer = Answer {
        text: to_text(config, &figures, interval, &verdict),
        json: to_json(config, &book, &figures, interval, &verdict),
    };
    let [numerator, denominator] = closes.legs();
    let health = health(numerator, denominator);
    if let Some(health) = &health {
        let _ =
            write!(answer.text, "\n\n{}", wrapped(&health_words(health, closes.step())).join("\n"));
    }
    answer.json["health"] = json!(health.map(|it| health_json(&it, closes.step())));
    if let Some(path) = wanted.html {
        let Config { pair, rules, terms, .. } = config;
        let history = History { pair, rules, terms, figures: &figures, interval };
        let title = format!("{pair} {}", rules.interval);
        let mut page = Page::new("backtest", &title, &history.subtitle(), &verdict);
        history.tiles(&mut page);
        history.sections(&mut page, &mut curve, &closes);
        write_page(&mut answer, path, &page.finish(SMALL_PRINT))?;
    }
    Ok(answer)
}

/// The rows of a recording that count.
pub(super) struct Part {
    rows: Shared,
    from: Option<When>,
    to: Option<When>,
    window: usize,
}

impl Part {
    /// `window` is how many of them there must be.
    ///
    /// **Errors**: candles that are missing or damaged.
    pub(super) fn open(
        config: &Config,
        from: Option<When>,
        to: Option<When>,
        window: usize,
    ) -> Result<Self, Failure> {
        let Mode::Replay(recording) = &config.mode else {
            unreachable!("without `--candles` the sample is taken")
        };
        let rows = Shared::open(recording, &config.pair, config.rules.interval)?;
        Ok(Self { rows, from, to, window })
    }

    /// Hands them over, oldest first. Nothing may be told of them before the end: what comes after them
    /// is read as well, and a damaged file may have damaged any of its rows.
    ///
    /// **Errors**: damage, fewer rows than a window needs, and those of `take`.
    pub(super) fn read(
        mut self,
        mut take: impl FnMut(&[[Candle; 2]]) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut count = 0;
        while let rows @ [_, ..] = self.rows.next_rows()? {
            let before = |time: Timestamp| rows.partition_point(|row| row[0].open_time < time);
            let begin = self.from.map_or(0, |from| before(from.begin));
            let end = self.to.map_or(rows.len(), |to| before(to.end));
            // Where `--to` is before `--from` there is nothing between them.
            let rows = rows.get(begin..end).unwrap_or_default();
            count += rows.len();
            take(rows)?;
        }
        let window = self.window;
        if count >= window {
            return Ok(());
        }
        Err(match (self.from, self.to) {
            (None, None) => too_short(count, window),
            _ => Failure::untrusted(
                format!(
                    "between `--from` and `--to` are {count} candles that both legs share, a \
                     window needs {window}"
                ),
                "give it a longer part of the recording, or set a smaller `ROLLING_WINDOW`",
            ),
        })
    }
}

pub(super) fn stopped(why: Stopped) -> Failure {
    match why {
        Stopped::Overflow => too_large(Overflow),
        Stopped::Halted(halt) => report::halted_itself(&halt),
    }
}

pub(super) fn too_large(overflow: Overflow) -> Failure {
    Failure::untrusted(
        format!("the history has prices beyond computation: {overflow}"),
        "look at the candles and at `TRADE_AMOUNT_USDT`",
    )
}

pub(super) fn to_json(
    config: &Config,
    book: &Book,
    figures: &Figures,
    interval: Option<[f64; 2]>,
    verdict: &str,
) -> Value {
    let money = |value: rust_decimal::Decimal| format!("{value:.8}");
    let assets = Leg::BOTH.map(|leg| config.pair.asset(leg).to_string());
    let hold: Map<String, Value> =
        assets.iter().cloned().zip(figures.buy_and_hold.map(Value::from)).collect();
    let sums = |sums: &Sums| {
        json!({
            "round_trips": sums.round_trips,
            "wins": sums.wins,
            "gross_pnl": money(sums.gross),
            "fees": money(sums.fees),
            "slippage": money(sums.slippage),
            "net_pnl": money(sums.net),
            "mean_gross_bps": sums.mean_gross_bps(),
            "mean_net_bps": sums.mean_net_bps(),
        })
    };
    let mut json = sums(&figures.total);
    let more = json!({
        "mode": "backtest",
        "pair": config.pair.to_string(),
        "timeframe": config.rules.interval.name(),
        "candles": figures.candles,
        "missing": figures.missing,
        "from": figures.span.0.to_string(),
        "to": figures.span.1.to_string(),
        "entries": figures.entries,
        "refused": figures.refused,
        "opening_balance": figures.opening.to_string(),
        "final_equity": figures.final_equity.to_string(),
        "return": figures.total_return(),
        "max_drawdown": figures.drawdown.depth,
        "drawdown_from": figures.drawdown.peak.map(|at| at.to_string()),
        "drawdown_to": figures.drawdown.trough.map(|at| at.to_string()),
        "exposure": figures.exposure,
        "sharpe": figures.sharpe,
        "t_stat": figures.t_stat,
        "mean_net_bps_95": interval,
        "break_even_fee_bps": figures.total.break_even_fee_bps(),
        "buy_and_hold": hold,
        "half_and_half": figures.half_and_half(),
        "open_position": book.position.holding().map(|it| status::position(config, book, it)),
        "by_leg": assets
            .iter()
            .zip(&figures.by_leg)
            .map(|(asset, it)| (asset.clone(), sums(it)))
            .collect::<Map<_, _>>(),
        "by_year": figures
            .by_year
            .iter()
            .map(|(year, it)| (year.to_string(), sums(it)))
            .collect::<Map<_, _>>(),
        "months": figures
            .months
            .iter()
            .map(|it| json!({ "month": format!("{}-{:02}", it.year, it.month), "return": it.change() }))
            .collect::<Vec<_>>(),
        "net_bps_at_fee": FEES
            .map(|fee| json!({ "fee_bps": fee, "mean_net_bps": figures.total.mean_net_bps_at(fee) })),
        "net_bps_at_slippage": SLIPPAGES.map(|slippage| {
            let mean = figures.total.mean_net_bps_with(nearest(config.terms.fee.value()), slippage);
            json!({ "slippage_bps": slippage, "mean_net_bps": mean })
        }),
        "verdict": verdict,
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut json, more) {
        all.extend(more);
    }
    json
}

/// **Units**: the half-life is in candles; of every `step` candles one was looked at.
fn health_json(health: &Health, step: usize) -> Value {
    let test = |test: Option<UnitRoot>| {
        test.map(|it| {
            json!({
                "statistic": it.statistic,
                "p_value": it.p_value,
                "critical_values": [
                    it.critical.one_percent,
                    it.critical.five_percent,
                    it.critical.ten_percent,
                ],
            })
        })
    };
    json!({
        "candles": health.candles,
        "of_every": step,
        "correlation": health.correlation,
        "hedge_ratio": health.hedge.map(|it| it.ratio),
        "engle_granger": test(health.cointegration),
        "adf": test(health.stationarity),
        "half_life": health.half_life.map(|it| in_candles(it, step)),
        "hurst": health.hurst,
    })
}

#[expect(clippy::float_arithmetic, reason = "a statistic, not money")]
fn in_candles(steps: f64, step: usize) -> f64 {
    steps * count(step)
}

fn to_text(
    config: &Config,
    figures: &Figures,
    interval: Option<[f64; 2]>,
    verdict: &str,
) -> String {
    let pair = &config.pair;
    let quote = pair.quote();
    let total = &figures.total;
    let mut text = format!("backtest {pair} {}", config.rules.interval);
    let (from, to) = figures.span;
    let _ = write!(text, ", {from} to {to}");
    let _ = writeln!(text, ": {} candles, {} missing", figures.candles, figures.missing);
    for line in wrapped(verdict) {
        let _ = write!(text, "\n{line}");
    }
    text.push('\n');
    let mut line = |name: &str, value: String| {
        let _ = write!(text, "\n{name:<16} {value}");
    };
    let percent = |fraction: f64| format!("{:+.2} %", fraction * 100.0);
    let or_none = |value: Option<f64>, unit: &str| {
        value.map_or_else(|| "none".to_owned(), |value| format!("{value:+.2}{unit}"))
    };
    line(
        "round trips",
        format!("{}, {} won, of {} entries", total.round_trips, total.wins, figures.entries),
    );
    line(
        "before costs",
        format!(
            "{:.8} {quote}, {} a round trip",
            total.gross,
            or_none(total.mean_gross_bps(), " bp")
        ),
    );
    line("fees", format!("{:.8} {quote}", total.fees));
    if !total.slippage.is_zero() {
        line("slippage", format!("{:.8} {quote}", total.slippage));
    }
    line(
        "after costs",
        format!("{:.8} {quote}, {} a round trip", total.net, or_none(total.mean_net_bps(), " bp")),
    );
    line(
        "equity",
        format!(
            "{} {quote} of {}, {}",
            figures.final_equity,
            figures.opening,
            percent(figures.total_return())
        ),
    );
    line("deepest fall", format!("{:.2} %", figures.drawdown.depth * 100.0));
    line("in the market", format!("{:.1} % of the candles", figures.exposure * 100.0));
    line("Sharpe ratio", or_none(figures.sharpe, " a year"));
    line("t", or_none(figures.t_stat, ""));
    if let Some([low, high]) = interval {
        line("95 % of means", format!("{low:+.2} to {high:+.2} bp a round trip, by bootstrap"));
    }
    for (leg, sums) in Leg::BOTH.into_iter().zip(&figures.by_leg) {
        line(
            &format!("by {}", pair.asset(leg)),
            format!(
                "{} round trips, {:.8} {quote}, {}",
                sums.round_trips,
                sums.net,
                or_none(sums.mean_net_bps(), " bp")
            ),
        );
    }
    for (year, sums) in &figures.by_year {
        line(
            &format!("in {year}"),
            format!(
                "{} round trips, {:.8} {quote}, {}",
                sums.round_trips,
                sums.net,
                or_none(sums.mean_net_bps(), " bp")
            ),
        );
    }
    let at = FEES.map(|fee| format!("{fee}: {}", or_none(total.mean_net_bps_at(fee), "")));
    line("bp at a fee of", at.join(", "));
    let fee = nearest(config.terms.fee.value());
    let at = SLIPPAGES
        .map(|slippage| (slippage, or_none(total.mean_net_bps_with(fee, slippage), "")))
        .map(|(slippage, mean)| format!("{slippage}: {mean}"));
    line("at a slippage of", at.join(", "));
    text
}

/// Writes a page, whole or not at all, and says where it is.
pub(super) fn write_page(answer: &mut Answer, path: &Path, html: &str) -> Result<(), Failure> {
    let mut file = Replacement::create(path)?;
    file.write(html)?;
    file.finish()?;
    let _ = write!(answer.text, "\n\nthe page is `{}`", path.display());
    answer.json["html"] = json!(path.to_string_lossy());
    Ok(())
}

/// Lines of words, none longer than a person reads with ease.
pub(super) fn wrapped(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is one from the beginning on");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= LINE {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

/// The file of round trips.
struct Table(Replacement);

impl Table {
    fn create(path: &Path) -> Result<Self, Failure> {
        let mut table = Self(Replacement::create(path)?);
        table.0.write(
            "entry_candle,exit_candle,state,entry_z,exit_z,quantity,entry_price,exit_price,fees,\
             net_pnl,net_bps,candles_held\n",
        )?;
        Ok(table)
    }

    fn add(&mut self, trip: &Trip, pair: &Pair) -> Result<(), Failure> {
        let exit_z = trip.exit_z.map(|z| z.value().to_string()).unwrap_or_default();
        self.0.write(&format!(
            "{},{},HOLDING_{},{},{exit_z},{:.8},{},{},{:.8},{},{},{}\n",
            trip.entry_candle,
            trip.exit_candle,
            pair.asset(trip.leg),
            trip.entry_z.map(|z| z.value().to_string()).unwrap_or_default(),
            trip.quantity,
            trip.entry_price,
            trip.exit_price,
            trip.fees,
            trip.net,
            trip.net_bps(),
            trip.candles
        ))
    }
}

/// A file that takes another's place when it is whole, and is not there before.
struct Replacement {
    path: PathBuf,
    temporary: PathBuf,
    out: BufWriter<File>,
}

impl Replacement {
    fn create(path: &Path) -> Result<Self, Failure> {
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let temporary = PathBuf::from(name);
        // Whose trades these are is nobody else's business.
        let how =
            File::options().write(true).create(true).truncate(true).mode(0o600).open(&temporary);
        let file = how.map_err(|error| failed(&temporary, error))?;
        Ok(Self { path: path.to_owned(), temporary, out: BufWriter::new(file) })
    }

    fn write(&mut self, text: &str) -> Result<(), Failure> {
        self.out.write_all(text.as_bytes()).map_err(|error| failed(&self.temporary, error))
    }

    fn finish(mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| failed(&self.temporary, error))?;
        std::fs::rename(&self.temporary, &self.path).map_err(|error| failed(&self.path, error))
    }
}

impl Drop for Replacement {
    fn drop(&mut self) {
        // Of what did not come to its end nothing is left behind.
        let _ = std::fs::remove_file(&self.temporary);
    }
}

fn failed(path: &Path, error: std::io::Error) -> Failure {
    let shown = path.display();
    Failure::storage(&anyhow::Error::new(error).context(format!("failed to write `{shown}`")))
}

/// What a reader of a page should not forget.
pub(super) const SMALL_PRINT: &str = "Made by ouroboros from recorded candles. Fills are simulated at the close; \
                           what was is no promise of what will be.";
pub(super) const CONFIDENCE: f64 = 0.95;
/// The same history has the same interval.
pub(super) const SEED: u64 = 20_240_101;

/// **Units**: characters.
const LINE: usize = 96;

/// Fees a side for which it is said what a round trip would have left. **Units**: basis points.
const FEES: [f64; 7] = [0.0, 1.0, 2.0, 5.0, 7.5, 10.0, 20.0];
/// Slippages a side, for the same. **Units**: basis points.
const SLIPPAGES: [f64; 6] = [0.0, 1.0, 2.0, 5.0, 10.0, 20.0];
