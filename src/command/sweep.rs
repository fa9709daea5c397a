//! `sweep`: a grid of parameters over a history, in and out of sample. Nothing is kept.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rust_decimal::Decimal;
use serde_json::{Value, json};

use super::Answer;
use super::backtest::{Part, SMALL_PRINT, stopped, too_large, wrapped, write_page};
use super::progress::Progress;
use crate::config::Config;
use crate::exchange::replay::too_short;
use crate::failure::Failure;
use crate::history::engine::Stopped;
use crate::history::overfit;
use crate::history::sweep::{self, Cell, Forward, Outcome, Range};
use crate::page::Page;
use crate::page::sweep::Grid;
use crate::trading::candle::Candle;
use crate::trading::money::{Overflow, Profit};
use crate::trading::strategy::Reading;

/// The grid, and how it is gone through.
#[derive(Debug, Clone)]
pub struct Wanted<'a> {
    /// Values of `ROLLING_WINDOW`.
    pub window: &'a Range,
    /// Values of `ENTRY_THRESHOLD`.
    pub entry: &'a Range,
    /// Values of `EXIT_THRESHOLD`.
    pub exit: &'a Range,
    /// Values of `MIN_EDGE_BPS`.
    pub edge: &'a Range,
    /// Into how many parts the history is cut.
    pub folds: usize,
    /// How many cells are computed at the same time; as many as there are processors without one.
    pub jobs: Option<usize>,
    /// Where the page goes.
    pub html: Option<&'a Path>,
}

/// Every cell of the grid, and what choosing the best of the past was worth afterwards.
///
/// **Errors**: as `backtest`; a grid without a cell that could be configured.
pub fn sweep(config: &Config, wanted: &Wanted<'_>) -> Result<Answer, Failure> {
    // Each cell has a window of its own.
    let mut part = Part::open(config, None, None, 0)?;
    let mut rows = Vec::new();
    while let Some(row) = part.next()? {
        rows.push(row);
    }
    let cells = cells(config, wanted, rows.len())?;
    let ends = sweep::ends(rows.len(), wanted.folds);
    let outcomes = outcomes(config, &rows, &cells, &ends, wanted.jobs)?;
    let walk = walk_forward(config, &rows, &outcomes, &ends)?;
    let judged = Judged::of(&outcomes, &walk, wanted.folds, config);
    let mut answer = Answer {
        text: to_text(config, &outcomes, &walk, &judged),
        json: to_json(&outcomes, &walk, &judged),
    };
    if let Some(path) = wanted.html {
        let grid = Grid {
            quote: config.pair.quote(),
            outcomes: &outcomes,
            best: judged.best,
            is_island: judged.is_island,
            walk: &walk,
            pbo: judged.probability,
            deflated: judged.deflated,
        };
        let title = format!("{} {}", config.pair, config.rules.interval);
        let mut page = Page::new("sweep", &title, &grid.subtitle(), &judged.verdict);
        grid.tiles(&mut page);
        grid.sections(&mut page);
        write_page(&mut answer, path, &page.finish(SMALL_PRINT))?;
    }
    Ok(answer)
}

fn cells(config: &Config, wanted: &Wanted<'_>, rows: usize) -> Result<Vec<Cell>, Failure> {
    let mut cells = Vec::new();
    for window in wanted.window.values() {
        let whole = Some(*window).filter(|it| it.fract().is_zero());
        let window =
            whole.and_then(|it| usize::try_from(it).ok()).filter(|it| (2..=500).contains(it));
        let window = window.ok_or_else(|| {
            Failure::configuration(
                "`--window`: a window has 2 to 500 candles, whole ones",
                "give other values",
            )
        })?;
        if window > rows {
            return Err(too_short(rows, window));
        }
        for entry in wanted.entry.doubles() {
            for exit in wanted.exit.doubles() {
                for edge_bps in wanted.edge.doubles() {
                    cells.push(Cell { window, entry, exit, edge_bps });
                }
            }
        }
    }
    cells.retain(|cell| cell.is_possible(&config.rules));
    if cells.is_empty() {
        return Err(Failure::configuration(
            "no cell of the grid can be configured",
            "an entry threshold must be greater than an exit threshold, and `STOP_Z` greater than both",
        ));
    }
    Ok(cells)
}

/// All cells, by as many threads as there are jobs; the order is that of the cells.
fn outcomes(
    config: &Config,
    rows: &[[Candle; 2]],
    cells: &[Cell],
    ends: &[usize],
    jobs: Option<usize>,
) -> Result<Vec<Outcome>, Failure> {
    let jobs = jobs.or_else(|| thread::available_parallelism().ok().map(usize::from)).unwrap_or(1);
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(cells.len())));
    let progress = Progress::of(cells.len(), "cells");
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                let mut known: Option<(usize, Vec<Option<Reading>>)> = None;
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(cell) = cells.get(number) else { break };
                    let readings = match &mut known {
                        Some((window, readings)) if *window == cell.window => readings,
                        known => {
                            let readings =
                                sweep::readings(rows, config.rules.interval, cell.window);
                            &mut known.insert((cell.window, readings)).1
                        }
                    };
                    let outcome = sweep::run(
                        rows,
                        readings,
                        *cell,
                        &config.rules,
                        &config.terms,
                        config.opening_balance,
                        ends,
                    );
                    let mut done = done.lock().expect("no thread panics while it holds it");
                    done.push((number, outcome));
                    progress.show(done.len());
                }
            });
        }
    });
    progress.clear();
    let mut done = done.into_inner().expect("no thread panics while it holds it");
    done.sort_by_key(|(number, _)| *number);
    let outcomes: Result<Vec<Outcome>, Stopped> = done.into_iter().map(|(_, it)| it).collect();
    outcomes.map_err(stopped)
}

fn walk_forward<'a>(
    config: &Config,
    rows: &[[Candle; 2]],
    outcomes: &'a [Outcome],
    ends: &[usize],
) -> Result<Vec<Forward<'a>>, Failure> {
    let mut walk = Vec::new();
    for (fold, span) in ends.windows(2).enumerate() {
        let rows = &rows[span[0]..span[1]];
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { continue };
        let best = sweep::best(outcomes, fold).expect("there is a cell");
        let chosen = &outcomes[best];
        let readings = sweep::readings(rows, config.rules.interval, chosen.cell.window);
        let after = sweep::run(
            rows,
            &readings,
            chosen.cell,
            &config.rules,
            &config.terms,
            config.opening_balance,
            &[],
        );
        let after = after.map_err(stopped)?;
        let out_of_sample = Profit::new(after.figures.total.net);
        walk.push(Forward {
            from: first[0].open_time,
            to: last[0].open_time,
            chosen,
            in_sample: chosen.realized[fold],
            out_of_sample: out_of_sample.ok_or_else(|| too_large(Overflow))?,
        });
    }
    Ok(walk)
}

/// What the whole grid says.
struct Judged<'a> {
    best: &'a Outcome,
    is_island: bool,
    probability: Option<f64>,
    deflated: Option<f64>,
    out_of_sample: Decimal,
    verdict: String,
}

impl<'a> Judged<'a> {
    fn of(outcomes: &'a [Outcome], walk: &[Forward<'_>], folds: usize, config: &Config) -> Self {
        let number = sweep::best(outcomes, folds - 1).expect("there is a cell");
        let best = &outcomes[number];
        let days: Vec<&[f64]> = outcomes.iter().map(|it| &it.days[..]).collect();
        let blocks = (best.days.len() / 2).min(BLOCKS) & !1;
        let mut judged = Self {
            best,
            is_island: sweep::is_island(outcomes, &best.cell, best.figures.total.net),
            probability: overfit::pbo(&days, blocks).map(|it| it.probability),
            deflated: overfit::deflate(&days, number).and_then(|it| it.probability),
            out_of_sample: walk.iter().map(|fold| fold.out_of_sample.value()).sum(),
            verdict: String::new(),
        };
        judged.verdict = judged.sentences(outcomes, walk, config).join(" ");
        judged
    }

    fn sentences(
        &self,
        outcomes: &[Outcome],
        walk: &[Forward<'_>],
        config: &Config,
    ) -> Vec<String> {
        let quote = config.pair.quote();
        let net = |outcome: &Outcome| outcome.figures.total.net;
        let gained = outcomes.iter().filter(|it| net(it) > Decimal::ZERO).count();
        let mut said = vec![format!(
            "Of {} cells {gained} gained anything; the best, {}, made {:+.2} {quote} in {} round trips.",
            outcomes.len(),
            self.best.cell,
            net(self.best),
            self.best.figures.total.round_trips
        )];
        if !walk.is_empty() {
            let paid = walk.iter().filter(|it| it.out_of_sample > Profit::ZERO).count();
            said.push(format!(
                "Chosen on the past alone and tried on what came next, the best cells made {:+.2} {quote}, \
                 with a gain in {paid} of {} folds.",
                self.out_of_sample,
                walk.len()
            ));
        }
        if let Some(probability) = self.probability {
            said.push(format!(
                "With a probability of {:.0} % the best cell of one half of the history is below the median \
                 in the other.",
                probability * 100.0
            ));
        }
        if let Some(deflated) = self.deflated {
            said.push(format!(
                "That its Sharpe ratio is above nothing although {} were tried is {:.0} % likely.",
                outcomes.len(),
                deflated * 100.0
            ));
        }
        if self.is_island {
            said.push(
                "It is an island: the cells beside it lose, so it may well be chance.".to_owned(),
            );
        }
        let is_sure = self.out_of_sample > Decimal::ZERO
            && !self.is_island
            && self.probability.is_some_and(|it| it < 0.1)
            && self.deflated.is_some_and(|it| it > 0.95);
        said.push(
            if is_sure {
                "Nothing here speaks against it; that is not a promise."
            } else if self.out_of_sample <= Decimal::ZERO {
                "Nothing here earns its costs."
            } else {
                "That is no reason to trust it with money."
            }
            .to_owned(),
        );
        said
    }
}

fn cell_json(cell: &Cell) -> Value {
    json!({
        "window": cell.window,
        "entry": cell.entry,
        "exit": cell.exit,
        "edge": cell.edge_bps,
    })
}

fn to_json(outcomes: &[Outcome], walk: &[Forward<'_>], judged: &Judged<'_>) -> Value {
    let cells: Vec<Value> = outcomes
        .iter()
        .map(|outcome| {
            let mut json = cell_json(&outcome.cell);
            let total = &outcome.figures.total;
            json["round_trips"] = json!(total.round_trips);
            json["net_pnl"] = json!(format!("{:.8}", total.net));
            json["mean_net_bps"] = json!(total.mean_net_bps());
            json["sharpe"] = json!(outcome.figures.sharpe);
            json
        })
        .collect();
    let walk: Vec<Value> = walk
        .iter()
        .map(|fold| {
            json!({
                "from": fold.from.to_string(),
                "to": fold.to.to_string(),
                "cell": cell_json(&fold.chosen.cell),
                "in_sample": fold.in_sample.to_string(),
                "out_of_sample": fold.out_of_sample.to_string(),
            })
        })
        .collect();
    json!({
        "cells": cells,
        "best": cell_json(&judged.best.cell),
        "is_island": judged.is_island,
        "walk_forward": walk,
        "out_of_sample": format!("{:.8}", judged.out_of_sample),
        "pbo": judged.probability,
        "deflated_sharpe": judged.deflated,
        "verdict": judged.verdict,
    })
}

fn to_text(
    config: &Config,
    outcomes: &[Outcome],
    walk: &[Forward<'_>],
    judged: &Judged<'_>,
) -> String {
    let quote = config.pair.quote();
    let mut text = format!("sweep {} {}", config.pair, config.rules.interval);
    let (from, to) = outcomes[0].figures.span;
    let _ = write!(text, ", {from} to {to}");
    let _ = writeln!(text, ": {} cells", outcomes.len());
    for line in wrapped(&judged.verdict) {
        let _ = write!(text, "\n{line}");
    }
    let mut ranked: Vec<&Outcome> = outcomes.iter().collect();
    ranked.sort_by_key(|it| std::cmp::Reverse(it.figures.total.net));
    let _ = write!(
        text,
        "\n\n{:>6} {:>6} {:>6} {:>6} {:>8} {:>16} {:>9} {:>7}",
        "window",
        "entry",
        "exit",
        "edge",
        "trips",
        quote.code(),
        "bp a trip",
        "Sharpe"
    );
    let or_none =
        |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |it| format!("{it:+.2}"));
    for Outcome { cell, figures, .. } in ranked.into_iter().take(SHOWN) {
        let _ = write!(
            text,
            "\n{:>6} {:>6} {:>6} {:>6} {:>8} {:>+16.8} {:>9} {:>7}",
            cell.window,
            cell.entry,
            cell.exit,
            cell.edge_bps,
            figures.total.round_trips,
            figures.total.net,
            or_none(figures.total.mean_net_bps()),
            or_none(figures.sharpe)
        );
    }
    if outcomes.len() > SHOWN {
        let _ = write!(text, "\n... and {} more, in --json", outcomes.len() - SHOWN);
    }
    text.push('\n');
    for fold in walk {
        let _ = write!(
            text,
            "\n{} to {}: {}, {:+} {quote} before, {:+} {quote} then",
            fold.from,
            fold.to,
            fold.chosen.cell,
            fold.in_sample.value(),
            fold.out_of_sample.value()
        );
    }
    text
}

/// Rows of cells that a person is shown.
const SHOWN: usize = 12;
/// Into how many parts the days are cut for the probability of overfitting, where there are enough of
/// them: 12,870 ways of halves.
const BLOCKS: usize = 16;
