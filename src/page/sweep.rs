//! The parts of a page that a sweep has: every cell as a colour, and what choosing was worth.

#![expect(clippy::float_arithmetic, reason = "what is drawn and said of statistics is no money")]

use std::fmt::Write as _;

use rust_decimal::Decimal;

use super::history::{grouped, minute, money};
use super::table::{Cell, table};
use super::{Page, Tone, escape};
use crate::history::sweep::{self, Forward, Outcome};
use crate::trading::market::Asset;
use crate::trading::money::Profit;
use crate::trading::strategy::nearest;

/// What is to be shown.
#[derive(Debug)]
pub struct Grid<'a> {
    /// What profits are counted in.
    pub quote: &'a Asset,
    /// The cells.
    pub outcomes: &'a [Outcome],
    /// The one that gained most.
    pub best: &'a Outcome,
    /// Whether the cells beside it lose.
    pub is_island: bool,
    /// What the best of the past did afterwards.
    pub walk: &'a [Forward<'a>],
    /// The probability of overfitting.
    pub pbo: Option<f64>,
    /// How likely the best cell's Sharpe ratio is above nothing.
    pub deflated: Option<f64>,
}

/// A parameter of a cell.
struct Parameter {
    name: &'static str,
    of: fn(&sweep::Cell) -> f64,
}

const PARAMETERS: [Parameter; 4] = [
    Parameter { name: "window", of: |cell| crate::history::sums::count(cell.window) },
    Parameter { name: "entry", of: |cell| cell.entry },
    Parameter { name: "exit", of: |cell| cell.exit },
    Parameter { name: "edge", of: |cell| cell.edge_bps },
];

impl Parameter {
    /// Its values, rising.
    fn values(&self, outcomes: &[Outcome]) -> Vec<f64> {
        let mut values: Vec<f64> = outcomes.iter().map(|it| (self.of)(&it.cell)).collect();
        values.sort_by(f64::total_cmp);
        values.dedup();
        values
    }
}

impl Grid<'_> {
    /// What the page is about, in a line.
    #[must_use]
    pub fn subtitle(&self) -> String {
        let (from, to) = self.best.figures.span;
        let candles = grouped(&self.best.figures.candles.to_string());
        let cells = grouped(&self.outcomes.len().to_string());
        format!("{} to {}, {candles} candles; {cells} cells", minute(from), minute(to))
    }

    /// The figures that are read first.
    pub fn tiles(&self, page: &mut Page) {
        let net = |outcome: &Outcome| outcome.figures.total.net;
        let gained = self.outcomes.iter().filter(|it| net(it) > Decimal::ZERO).count();
        let out: Decimal = self.walk.iter().map(|fold| fold.out_of_sample.value()).sum();
        let paid = self.walk.iter().filter(|it| it.out_of_sample > Profit::ZERO).count();
        let likely = |value: Option<f64>| {
            value.map_or_else(|| "none".to_owned(), |it| format!("{:.0} %", it * 100.0))
        };
        let quote = self.quote;
        page.tiles([
            (
                "Cells that gained",
                format!("{gained} of {}", self.outcomes.len()),
                "on all candles, after costs".to_owned(),
                Tone::Plain,
            ),
            (
                "The best of them",
                format!("{:+.2} {quote}", net(self.best)),
                if self.is_island { "an island: its neighbours lose" } else { "chosen afterwards" }
                    .to_owned(),
                Tone::of(nearest(net(self.best))),
            ),
            (
                "Chosen beforehand",
                format!("{out:+.2} {quote}"),
                format!("out of sample; a gain in {paid} of {} folds", self.walk.len()),
                Tone::of(nearest(out)),
            ),
            (
                "Overfitting",
                likely(self.pbo),
                "that the best of one half is below the median in the other".to_owned(),
                Tone::Plain,
            ),
            (
                "Not only luck",
                likely(self.deflated),
                format!(
                    "that its Sharpe ratio is above nothing after {} tries",
                    self.outcomes.len()
                ),
                Tone::Plain,
            ),
        ]);
    }

    /// Maps and tables.
    pub fn sections(&self, page: &mut Page) {
        page.section(
            "Every cell",
            &format!(
                "Net profit in {} on all candles. Neighbours that look alike are a good sign; a \
                 single bright cell is luck.",
                self.quote
            ),
            &self.maps(),
        );
        if !self.walk.is_empty() {
            page.section(
                "Walk-forward",
                "The cell that gained most on all that came before is tried on the next fold. Only \
                 that is out of sample.",
                &self.folds(),
            );
        }
        page.section(
            "The best cells",
            "Chosen afterwards, so none of these figures is to be expected again.",
            &self.ranking(),
        );
    }

    /// A map for every choice of the two parameters that have the fewest values.
    fn maps(&self) -> String {
        let mut parameters: Vec<(&Parameter, Vec<f64>)> =
            PARAMETERS.iter().map(|it| (it, it.values(self.outcomes))).collect();
        parameters.sort_by_key(|(_, values)| std::cmp::Reverse(values.len()));
        let [across, down, third, fourth] = &parameters[..] else {
            unreachable!("there are four of them")
        };
        let all = self.outcomes.iter().map(|it| nearest(it.figures.total.net).abs());
        let most = all.fold(1e-9_f64, f64::max);
        let mut html = "<div class=\"maps\">".to_owned();
        for c in &third.1 {
            for d in &fourth.1 {
                let fixed = [(third, c), (fourth, d)].map(|((parameter, values), value)| {
                    (values.len() > 1).then(|| format!("{} {value}", parameter.name))
                });
                let fixed: Vec<String> = fixed.into_iter().flatten().collect();
                let _ = write!(html, "<div><h3>{}</h3>", escape(&fixed.join(", ")));
                let is_here = |it: &&Outcome| {
                    let is_at = |parameter: &Parameter, value: &f64| {
                        (parameter.of)(&it.cell).total_cmp(value).is_eq()
                    };
                    is_at(third.0, c) && is_at(fourth.0, d)
                };
                let here: Vec<&Outcome> = self.outcomes.iter().filter(is_here).collect();
                html.push_str(&self.map(across, down, &here, most));
                html.push_str("</div>\n");
            }
        }
        html.push_str("</div>");
        html
    }

    fn map(
        &self,
        (across, columns): &(&Parameter, Vec<f64>),
        (down, rows): &(&Parameter, Vec<f64>),
        outcomes: &[&Outcome],
        most: f64,
    ) -> String {
        let mut headings = vec![format!("{} \\ {}", down.name, across.name)];
        headings.extend(columns.iter().map(f64::to_string));
        let rows: Vec<Vec<Cell>> = rows
            .iter()
            .map(|row| {
                let mut cells = vec![Cell::Words(row.to_string())];
                cells.extend(columns.iter().map(|column| {
                    let is_it = |it: &&&Outcome| {
                        (down.of)(&it.cell).total_cmp(row).is_eq()
                            && (across.of)(&it.cell).total_cmp(column).is_eq()
                    };
                    outcomes.iter().find(is_it).map_or(Cell::Empty, |it| self.heat(it, most))
                }));
                cells
            })
            .collect();
        table(&headings, &rows)
    }

    fn heat(&self, outcome: &Outcome, most: f64) -> Cell {
        let total = &outcome.figures.total;
        let said = format!(
            "{}: {:+.2} {} in {} round trips, {} bp each",
            outcome.cell,
            total.net,
            self.quote,
            total.round_trips,
            total.mean_net_bps().map_or_else(|| "no".to_owned(), |it| format!("{it:+.1}"))
        );
        // The root of it, so that small gains are seen beside great losses.
        let share = nearest(total.net) / most;
        let shown = format!("{:.0}", total.net.round_dp(0).normalize());
        Cell::Heat(shown, share.abs().sqrt().copysign(share), said)
    }

    fn folds(&self) -> String {
        let quote = self.quote;
        let headings = [
            "from".to_owned(),
            "to".to_owned(),
            "chosen".to_owned(),
            format!("{quote} before"),
            format!("{quote} then"),
        ];
        let most = self.walk.iter().map(|it| nearest(it.out_of_sample.value()).abs());
        let most = most.fold(1e-9_f64, f64::max);
        let rows: Vec<Vec<Cell>> = self
            .walk
            .iter()
            .map(|fold| {
                let then = fold.out_of_sample.value();
                vec![
                    Cell::Words(minute(fold.from)),
                    Cell::Words(minute(fold.to)),
                    Cell::Words(fold.chosen.cell.to_string()),
                    Cell::Number(money(fold.in_sample.value())),
                    Cell::Heat(money(then), nearest(then) / most, "out of sample".to_owned()),
                ]
            })
            .collect();
        table(&headings, &rows)
    }

    fn ranking(&self) -> String {
        let mut ranked: Vec<&Outcome> = self.outcomes.iter().collect();
        ranked.sort_by_key(|it| std::cmp::Reverse(it.figures.total.net));
        let headings = [
            "window".to_owned(),
            "entry".to_owned(),
            "exit".to_owned(),
            "edge".to_owned(),
            "round trips".to_owned(),
            self.quote.to_string(),
            "bp each".to_owned(),
            "deepest fall".to_owned(),
            "Sharpe".to_owned(),
        ];
        let rows: Vec<Vec<Cell>> = ranked
            .into_iter()
            .take(SHOWN)
            .map(|Outcome { cell, figures, .. }| {
                let number = |text: String| Cell::Number(text);
                let or_none = |value: Option<f64>| {
                    value.map_or(Cell::Empty, |it| Cell::Number(format!("{it:+.2}")))
                };
                vec![
                    number(cell.window.to_string()),
                    number(cell.entry.to_string()),
                    number(cell.exit.to_string()),
                    number(cell.edge_bps.to_string()),
                    number(grouped(&figures.total.round_trips.to_string())),
                    number(money(figures.total.net)),
                    or_none(figures.total.mean_net_bps()),
                    number(format!("{:.1} %", figures.drawdown.depth * 100.0)),
                    or_none(figures.sharpe),
                ]
            })
            .collect();
        table(&headings, &rows)
    }
}

/// Rows of cells that a person is shown.
const SHOWN: usize = 20;
