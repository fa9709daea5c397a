//! `sweep`: a grid of parameters over a history, in and out of sample. Nothing is kept.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
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
use crate::history::sweep::{self, Cell, Forward, Ground, Outcome, Range, Window};
use crate::page::Page;
use crate::page::sweep::Grid;
use crate::trading::candle::Candle;
use crate::trading::money::{Overflow, Profit};

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
    let part = Part::open(config, None, None, 0)?;
    let mut rows = Vec::new();
    part.read(|next| {
        rows.extend_from_slice(next);
        Ok(())
    })?;
    let cells = cells(config, wanted, rows.len())?;
    let ends = sweep::ends(rows.len(), wanted.folds);
    let ground = ground(config, &rows, ends.clone());
    let jobs = wanted.jobs.or_else(|| thread::available_parallelism().ok().map(usize::from));
    let progress = Progress::of(cells.len(), "cells");
    let outcomes = outcomes(&ground, &cells, jobs.unwrap_or(1), |done| progress.show(done));
    progress.clear();
    let outcomes = outcomes.map_err(stopped)?;
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

fn ground<'a>(config: &'a Config, rows: &'a [[Candle; 2]], ends: Vec<usize>) -> Ground<'a> {
    Ground::new(rows, &config.rules, &config.terms, config.opening_balance, ends)
}

/// The outcomes of all cells, by as many threads as there are `jobs`; the order is that of the cells.
/// `tell` is told how many there are so far.
///
/// **Shape**: the cells of a window stand together.
/// **Errors**: as [`Stopped`].
pub fn outcomes(
    ground: &Ground<'_>,
    cells: &[Cell],
    jobs: usize,
    tell: impl Fn(usize) + Sync,
) -> Result<Vec<Outcome>, Stopped> {
    let mut first = 0;
    let windows = cells.chunk_by(|one, other| one.window == other.window).map(|cells| {
        let begin = first;
        first += cells.len();
        Shared { first: begin, cells, next: AtomicUsize::new(0), window: Mutex::new(None) }
    });
    let windows: Vec<Shared<'_>> = windows.collect();
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::with_capacity(cells.len())));
    let finish = |shared: &Shared<'_>| {
        shared.finish(ground, |number, outcome| {
            let mut done = done.lock().expect(UNPOISONED);
            done.push((number, outcome));
            tell(done.len());
        });
    };
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(window) = windows.get(next.fetch_add(1, Ordering::Relaxed)) {
                    finish(window);
                }
                // Who finds no window that is not begun yet helps the others.
                windows.iter().for_each(finish);
            });
        }
    });
    let mut done = done.into_inner().expect(UNPOISONED);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, outcome)| outcome).collect()
}

/// The cells of a window, which several threads may go through.
struct Shared<'a> {
    /// The number of the first one.
    first: usize,
    cells: &'a [Cell],
    /// Which of them is the next.
    next: AtomicUsize,
    /// What they have in common, as long as there is a next one.
    window: Mutex<Option<Arc<Window>>>,
}

impl Shared<'_> {
    /// Does what nobody else has begun.
    fn finish(&self, ground: &Ground<'_>, done: impl Fn(usize, Result<Outcome, Stopped>)) {
        let window = {
            let mut window = self.window.lock().expect(UNPOISONED);
            if self.next.load(Ordering::Relaxed) >= self.cells.len() {
                return;
            }
            Arc::clone(window.get_or_insert_with(|| Arc::new(ground.window(self.cells))))
        };
        loop {
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(cell) = self.cells.get(number) else { break };
            done(self.first + number, ground.backtest(&window, *cell));
        }
        *self.window.lock().expect(UNPOISONED) = None;
    }
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
        let ground = ground(config, rows, Vec::new());
        let after =
            ground.backtest(&ground.window(&[chosen.cell]), chosen.cell).map_err(stopped)?;
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

const UNPOISONED: &str = "no thread panics while it holds it";

/// Rows of cells that a person is shown.
const SHOWN: usize = 12;
/// Into how many parts the days are cut for the probability of overfitting, where there are enough of
/// them: 12,870 ways of halves.
const BLOCKS: usize = 16;
