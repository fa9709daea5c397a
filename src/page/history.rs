//! The parts of a page that a history has: its figures, charts and tables.

#![expect(clippy::float_arithmetic, reason = "what is drawn and said of statistics is no money")]

use std::fmt::Write as _;

use rust_decimal::Decimal;

use super::chart::{Chart, Panel, Series, Shape, bars};
use super::scale::month_name;
use super::table::{Cell, table};
use super::{Page, Tone};
use crate::history::curve::{Closes, Curve, Deed, Mark, Stretch};
use crate::history::figures::{Figures, Sums};
use crate::history::health::{self, Health};
use crate::history::sums::{bps, count};
use crate::trading::machine::Rules;
use crate::trading::market::{Asset, Leg, Pair};
use crate::trading::order::Terms;
use crate::trading::strategy::{Thresholds, nearest};
use crate::trading::time::Timestamp;

/// What is to be shown.
#[derive(Debug)]
pub struct History<'a> {
    /// Of what.
    pub pair: &'a Pair,
    /// By which rules.
    pub rules: &'a Rules,
    /// For what fees.
    pub terms: &'a Terms,
    /// What it was worth.
    pub figures: &'a Figures,
    /// The interval of the mean round trip, in basis points.
    pub interval: Option<[f64; 2]>,
}

impl History<'_> {
    /// What the page is about, in a line.
    #[must_use]
    pub fn subtitle(&self) -> String {
        let (from, to) = self.figures.span;
        let Rules { window, thresholds, .. } = self.rules;
        let mut text = format!(
            "{} to {}, {} candles",
            minute(from),
            minute(to),
            grouped(&self.figures.candles.to_string())
        );
        if self.figures.missing > 0 {
            let _ = write!(text, " ({} missing)", self.figures.missing);
        }
        let Thresholds { entry, exit, min_edge_bps, .. } = thresholds;
        let _ = write!(text, "; window {window}, entry {entry}, exit {exit}");
        if *min_edge_bps > 0.0 {
            let _ = write!(text, ", edge {min_edge_bps} bp");
        }
        text
    }

    /// The figures that are read first.
    pub fn tiles(&self, page: &mut Page) {
        let Figures { total, opening, final_equity, .. } = self.figures;
        let quote = self.pair.quote();
        let or_none = |value: Option<f64>, unit: &str| {
            value.map_or_else(|| "none".to_owned(), |it| format!("{it:+.2}{unit}"))
        };
        let tone = |value: Option<f64>| value.map_or(Tone::Plain, Tone::of);
        let change = self.figures.total_return();
        let net = total.mean_net_bps();
        let interval = self.interval.map_or_else(
            || "too few to say more".to_owned(),
            |[low, high]| format!("95 %: {low:+.1} to {high:+.1}"),
        );
        page.tiles([
            (
                "Return",
                percent(change),
                format!("{} {quote} of {}", money(final_equity.value()), money(opening.value())),
                Tone::of(change),
            ),
            ("A round trip, after costs", or_none(net, " bp"), interval, tone(net)),
            (
                "A round trip, before costs",
                or_none(total.mean_gross_bps(), " bp"),
                total.break_even_fee_bps().map_or_else(String::new, |fee| {
                    format!("pays for a fee of {:.1} bp", fee.max(0.0))
                }),
                tone(total.mean_gross_bps()),
            ),
            (
                "Round trips",
                grouped(&total.round_trips.to_string()),
                format!("{} won, {} entries", total.wins, self.figures.entries),
                Tone::Plain,
            ),
            (
                "Deepest fall",
                format!("{:.1} %", self.figures.drawdown.depth * 100.0),
                fell(self.figures.drawdown.peak, self.figures.drawdown.trough),
                Tone::of(-self.figures.drawdown.depth),
            ),
            (
                "In the market",
                format!("{:.0} %", self.figures.exposure * 100.0),
                "of all candles".to_owned(),
                Tone::Plain,
            ),
            (
                "Sharpe ratio",
                or_none(self.figures.sharpe, ""),
                "a year, no riskless rate".to_owned(),
                tone(self.figures.sharpe),
            ),
            (
                "Bought and held",
                percent(self.figures.half_and_half()),
                format!(
                    "half of each; {}",
                    Leg::BOTH
                        .map(|leg| format!(
                            "{} {}",
                            self.asset(leg),
                            percent(self.figures.buy_and_hold[leg.index()])
                        ))
                        .join(", ")
                ),
                Tone::of(self.figures.half_and_half()),
            ),
        ]);
    }

    /// Charts and tables, from what is looked at first to what is looked up.
    pub fn sections(&self, page: &mut Page, curve: &mut Curve, closes: &Closes) {
        let equity = self.equity(curve);
        page.section(
            "Equity",
            "Marked at every close, as what selling everything there would leave. Buying and holding \
             pays the same fees once.",
            &equity.to_html(),
        );
        let ratio = self.ratio(curve.stretches(), curve.marks(), curve);
        page.section(
            "The ratio, and what was done about it",
            &format!(
                "{} in {}. The band is the window's mean and {} deviations on both sides of it.",
                self.asset(Leg::Numerator),
                self.asset(Leg::Denominator),
                self.rules.thresholds.entry
            ),
            &ratio.to_html(),
        );
        let recent = curve.recent().to_vec();
        if recent.len() < self.figures.candles {
            let ratio = self.ratio(&recent, curve.marks(), curve);
            page.section(
                &format!("The last {} candles", recent.len()),
                "The same, candle by candle.",
                &ratio.to_html(),
            );
        }
        page.section("Months", "What the equity gained or lost, in percent.", &self.months());
        self.round_trips(page);
        page.section(
            "What costs leave",
            &format!(
                "A round trip's mean, in basis points, for a fee and a slippage a side. It was {} bp \
                 and {} bp.",
                self.terms.fee.value(),
                self.terms.slippage.value()
            ),
            &self.costs(),
        );
        Self::health(page, closes);
    }

    fn asset(&self, leg: Leg) -> &Asset {
        self.pair.asset(leg)
    }

    fn equity(&self, curve: &Curve) -> Chart {
        let stretches = curve.stretches();
        let opening = nearest(self.figures.opening.value());
        let change = |equity: f64| (equity / opening - 1.0) * 100.0;
        let held = |leg: Leg| {
            let (first, last) = (curve.first(), stretches.last());
            let (first, last) = (first.unwrap_or([1.0; 2]), last.map_or([1.0; 2], |it| it.closes));
            let (first, last) = (first[leg.index()], last[leg.index()]);
            let kept = (1.0 + self.figures.buy_and_hold[leg.index()]) * first / last;
            move |stretch: &Stretch| (stretch.closes[leg.index()] / first * kept - 1.0) * 100.0
        };
        let [numerator, denominator] = Leg::BOTH.map(held);
        let both = |it: &Stretch| f64::midpoint(numerator(it), denominator(it));
        let line = |name: &str, colour, value: &dyn Fn(&Stretch) -> f64| Series {
            name: name.to_owned(),
            colour,
            shape: Shape::Line(with_gaps(curve, stretches, |it| Some(value(it)))),
        };
        Chart {
            times: times(stretches),
            notes: Vec::new(),
            panels: vec![
                Panel {
                    name: "Gained or lost".to_owned(),
                    unit: " %",
                    is_signed: true,
                    is_tall: true,
                    levels: vec![0.0],
                    series: vec![
                        line(&format!("{} held", self.asset(Leg::Numerator)), "num", &numerator),
                        line(
                            &format!("{} held", self.asset(Leg::Denominator)),
                            "den",
                            &denominator,
                        ),
                        line("half of each", "half", &both),
                        Series {
                            name: "the strategy".to_owned(),
                            colour: "main",
                            shape: Shape::Span(with_gaps(curve, stretches, |it| {
                                Some((change(it.equity.0), change(it.equity.1)))
                            })),
                        },
                    ],
                },
                Panel {
                    name: "Below its peak".to_owned(),
                    unit: " %",
                    is_signed: false,
                    is_tall: false,
                    levels: Vec::new(),
                    series: vec![Series {
                        name: "the strategy".to_owned(),
                        colour: "fall",
                        shape: Shape::Area(with_gaps(curve, stretches, |it| {
                            Some((-it.fall * 100.0, 0.0))
                        })),
                    }],
                },
            ],
        }
    }

    /// The ratio with its band, the z-score with its thresholds, and the trades.
    fn ratio(&self, stretches: &[Stretch], marks: &[Mark], curve: &Curve) -> Chart {
        let times = times(stretches);
        let is_in = |mark: &&Mark| stretches.first().is_some_and(|first| mark.at >= first.from);
        let place = |at: Timestamp| times.partition_point(|time| *time <= at).saturating_sub(1);
        let marks: Vec<(usize, &Mark)> =
            marks.iter().filter(is_in).map(|mark| (place(mark.at), mark)).collect();
        let notes = marks.iter().map(|(index, mark)| {
            let asset = self.asset(mark.leg);
            let said = match mark.deed {
                Deed::Bought => format!("{asset} bought"),
                Deed::Sold(gain) => format!("{asset} sold, {gain:+.1} bp"),
            };
            (*index, said)
        });
        let notes = notes.collect();
        // Dots that cover each other say nothing.
        let is_sparse = marks.len() <= MOST_DOTS;
        let dotted = |value: &dyn Fn(&Mark) -> Option<f64>| {
            if is_sparse { self.dots(&marks, value) } else { Vec::new() }
        };

        let entry = self.rules.thresholds.entry;
        let band = |it: &Stretch| {
            let (mean, std) = it.band?;
            Some((mean - entry * std, mean + entry * std))
        };
        let values = |name: &str, colour, shape| Series { name: name.to_owned(), colour, shape };
        let mean = with_gaps(curve, stretches, |it| Some(it.band?.0));
        let mut ratio = vec![
            values("band", "band", Shape::Area(with_gaps(curve, stretches, band))),
            values("mean", "half", Shape::Line(mean)),
            values("ratio", "main", Shape::Span(with_gaps(curve, stretches, |it| Some(it.spread)))),
        ];
        ratio.extend(dotted(&|mark| Some(mark.spread)));
        let z = with_gaps(curve, stretches, |it| it.z);
        // Of many candles at once only a block would be seen of a line.
        let is_single = stretches.iter().all(|it| it.from == it.to);
        let z = if is_single { Shape::Span(z) } else { Shape::Area(z) };
        let mut z = vec![values("z", "main", z)];
        z.extend(dotted(&|mark| mark.z).into_iter().map(|it| Series { name: String::new(), ..it }));
        let [numerator, denominator] = Leg::BOTH.map(|leg| self.asset(leg));
        let mut panels = vec![
            Panel {
                name: format!("{numerator} in {denominator}"),
                unit: "",
                is_signed: false,
                is_tall: true,
                levels: Vec::new(),
                series: ratio,
            },
            Panel {
                name: "z-score, with the thresholds".to_owned(),
                unit: "",
                is_signed: true,
                is_tall: false,
                levels: self.levels(),
                series: z,
            },
        ];
        if !is_sparse {
            panels.push(Panel {
                name: "What each round trip left".to_owned(),
                unit: " bp",
                is_signed: true,
                is_tall: false,
                levels: vec![0.0],
                series: self.sales(&marks),
            });
        }
        Chart { times, panels, notes }
    }

    fn levels(&self) -> Vec<f64> {
        let Thresholds { entry, exit, stop, .. } = &self.rules.thresholds;
        let levels = [Some(*entry), Some(*exit), *stop].into_iter().flatten();
        let mut levels: Vec<f64> = levels.flat_map(|level| [-level, level]).collect();
        levels.dedup();
        levels
    }

    /// A dot for each trade, by what was done.
    fn dots(&self, marks: &[(usize, &Mark)], value: &dyn Fn(&Mark) -> Option<f64>) -> Vec<Series> {
        let series = |name: String, colour, is_meant: &dyn Fn(&Mark) -> bool| {
            let meant = marks.iter().filter(|(_, mark)| is_meant(mark));
            let dots = meant.filter_map(|(index, mark)| Some((*index, value(mark)?))).collect();
            Series { name, colour, shape: Shape::Dots(dots) }
        };
        let bought = |leg: Leg, colour| {
            series(format!("{} bought", self.asset(leg)), colour, &|mark| {
                mark.leg == leg && mark.deed == Deed::Bought
            })
        };
        vec![
            bought(Leg::Numerator, "num"),
            bought(Leg::Denominator, "den"),
            series("sold with a gain".to_owned(), "gain", &|it| it.gain().is_some_and(is_gain)),
            series("with a loss".to_owned(), "loss", &|it| {
                it.gain().is_some_and(|it| !is_gain(it))
            }),
        ]
    }

    /// A dot for each sale, at what it gained or lost.
    fn sales(&self, marks: &[(usize, &Mark)]) -> Vec<Series> {
        let all = self.dots(marks, &Mark::gain);
        let sales = all.into_iter().filter(|it| ["gain", "loss"].contains(&it.colour));
        sales.map(|it| Series { name: String::new(), ..it }).collect()
    }

    fn months(&self) -> String {
        let mut years: Vec<(i16, [Option<f64>; 12], f64)> = Vec::new();
        for month in &self.figures.months {
            if years.last().is_none_or(|(year, ..)| *year != month.year) {
                years.push((month.year, [None; 12], 1.0));
            }
            let (_, changes, whole) = years.last_mut().expect("there is one by now");
            changes[usize::try_from(month.month - 1).expect("months count from 1")] =
                Some(month.change());
            *whole *= 1.0 + month.change();
        }
        let all = self.figures.months.iter().map(|month| month.change().abs());
        let most = all.fold(0.0_f64, f64::max).max(1e-9);
        let mut headings = vec![String::new()];
        headings.extend((1..=12).map(|month| month_name(month).to_owned()));
        headings.push("year".to_owned());
        let rows: Vec<Vec<Cell>> = years
            .into_iter()
            .map(|(year, changes, whole)| {
                let mut row = vec![Cell::Words(year.to_string())];
                row.extend(changes.into_iter().zip(1..).map(|(change, month)| match change {
                    None => Cell::Empty,
                    Some(change) => Cell::Heat(
                        format!("{:+.1}", change * 100.0),
                        change / most,
                        format!("{} {year}: {:+.2} %", month_name(month), change * 100.0),
                    ),
                }));
                row.push(Cell::Number(format!("{:+.1}", (whole - 1.0) * 100.0)));
                row
            })
            .collect();
        table(&headings, &rows)
    }

    fn round_trips(&self, page: &mut Page) {
        let quote = self.pair.quote();
        let headings = [
            "",
            "round trips",
            "won",
            "before costs",
            "fees",
            "slippage",
            "after costs",
            "bp each",
        ];
        let headings = headings.map(str::to_owned);
        let row = |name: String, sums: &Sums| {
            let number = |value: Decimal| Cell::Number(money(value));
            vec![
                Cell::Words(name),
                Cell::Number(grouped(&sums.round_trips.to_string())),
                Cell::Number(grouped(&sums.wins.to_string())),
                number(sums.gross),
                number(sums.fees),
                number(sums.slippage),
                number(sums.net),
                sums.mean_net_bps().map_or(Cell::Empty, |it| Cell::Number(format!("{it:+.1}"))),
            ]
        };
        let mut rows = vec![row("all".to_owned(), &self.figures.total)];
        let legs = Leg::BOTH.into_iter().zip(&self.figures.by_leg);
        rows.extend(legs.map(|(leg, sums)| row(self.asset(leg).to_string(), sums)));
        let years = self.figures.by_year.iter();
        rows.extend(years.map(|(year, sums)| row(year.to_string(), sums)));
        let mut html = table(&headings, &rows);
        if self.figures.returns.len() > 1 {
            html.push_str("<h3>How often a round trip left so many basis points</h3>\n");
            html.push_str(&bars("Round trips by basis points", &self.distribution()));
        }
        page.section("Round trips", &format!("In {quote}, after they were over."), &html);
    }

    /// How many round trips left so many basis points: equal steps, with all beyond the outermost
    /// two hundredths in the first and the last bar.
    fn distribution(&self) -> Vec<(String, usize, bool)> {
        let mut sorted: Vec<f64> = self.figures.returns.iter().copied().map(bps).collect();
        sorted.sort_by(f64::total_cmp);
        let at = |hundredths: usize| sorted[(sorted.len() - 1) * hundredths / 100];
        let (low, high) = (at(1), at(99));
        let least = ((high - low) / 24.0).max(0.1);
        let steps = [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0];
        let step = steps.into_iter().find(|step| *step >= least).unwrap_or(1000.0);
        let (first, last) = ((low / step).floor(), (high / step).floor());
        let mut bars = Vec::new();
        let mut number = first;
        while number <= last {
            let (from, to) = (number * step, (number + 1.0) * step);
            let is_in =
                |it: &&f64| (**it >= from || number <= first) && (**it < to || number >= last);
            let decimals = usize::from(step < 1.0);
            bars.push((
                format!("{from:+.decimals$} to {to:+.decimals$}"),
                sorted.iter().filter(is_in).count(),
                from >= 0.0,
            ));
            number += 1.0;
        }
        bars
    }

    fn costs(&self) -> String {
        let mut headings = vec!["fee \\ slippage".to_owned()];
        headings.extend(SLIPPAGES.map(|it| format!("{it} bp")));
        let all = |fee: f64| SLIPPAGES.map(|it| self.figures.total.mean_net_bps_with(fee, it));
        let most = FEES.into_iter().flat_map(all).flatten().map(f64::abs);
        let most = most.fold(1e-9_f64, f64::max);
        let rows: Vec<Vec<Cell>> = FEES
            .into_iter()
            .map(|fee| {
                let mut row = vec![Cell::Words(format!("{fee} bp"))];
                row.extend(all(fee).into_iter().zip(SLIPPAGES).map(|(mean, slippage)| {
                    mean.map_or(Cell::Empty, |mean| {
                        let said = format!(
                            "with a fee of {fee} bp and a slippage of {slippage} bp: {mean:+.2} bp"
                        );
                        Cell::Heat(format!("{mean:+.1}"), mean / most, said)
                    })
                }));
                row
            })
            .collect();
        table(&headings, &rows)
    }

    fn health(page: &mut Page, closes: &Closes) {
        let [numerator, denominator] = closes.legs();
        let Some(whole) = health::health(numerator, denominator) else { return };
        let length = ROLLING.min(numerator.len() / 4);
        let step = (numerator.len() / 120).max(1);
        let rolling = if length >= LEAST {
            health::rolling(numerator, denominator, length, step)
        } else {
            Vec::new()
        };
        let scale = count(closes.step());
        let mut html =
            table(&["", "over all", "what it means"].map(str::to_owned), &of_health(&whole, scale));
        if rolling.len() > 2 {
            let line = |name: &str, colour, value: &dyn Fn(&Health) -> Option<f64>| Series {
                name: name.to_owned(),
                colour,
                shape: Shape::Line(rolling.iter().map(|it| value(&it.health)).collect()),
            };
            let panel = |name: &str, levels: Vec<f64>, series: Series| Panel {
                name: name.to_owned(),
                unit: "",
                is_signed: false,
                is_tall: false,
                levels,
                series: vec![series],
            };
            let chart = Chart {
                times: rolling.iter().map(|it| closes.times()[it.newest]).collect(),
                notes: Vec::new(),
                panels: vec![
                    panel(
                        "Correlation of the returns",
                        Vec::new(),
                        line("correlation", "num", &|it| it.correlation),
                    ),
                    panel(
                        "Probability of such a ratio if it does not come back (ADF)",
                        vec![0.05],
                        line("p", "main", &|it| it.stationarity.map(|it| it.p_value)),
                    ),
                    panel(
                        "Hurst exponent: 0.5 is a random walk",
                        vec![0.5],
                        line("Hurst", "den", &|it| it.hurst),
                    ),
                ],
            };
            let all = grouped(&(length * closes.step()).to_string());
            let _ = writeln!(html, "<h3>Over {all} candles at a time</h3>");
            html.push_str(&chart.to_html());
        }
        let mut note = "What the closes were like, whatever was traded on them.".to_owned();
        if closes.step() > 1 {
            let _ = write!(note, " Of every {} candles one is looked at.", closes.step());
        }
        page.section("The health of the pair", &note, &html);
    }
}

fn of_health(health: &Health, scale: f64) -> Vec<Vec<Cell>> {
    let row = |name: &str, value: Option<String>, meaning: &str| {
        vec![
            Cell::Words(name.to_owned()),
            Cell::Number(value.unwrap_or_else(|| "none".to_owned())),
            Cell::Words(meaning.to_owned()),
        ]
    };
    let p = |p: f64| if p < 0.001 { "p < 0.001".to_owned() } else { format!("p = {p:.3}") };
    vec![
        row(
            "Correlation of the returns",
            health.correlation.map(|it| format!("{it:.3}")),
            "1: both move together; 0: each for itself",
        ),
        row(
            "Hedge ratio",
            health.hedge.map(|it| format!("{:.3}", it.ratio)),
            "by how many percent the first moves when the second moves by one",
        ),
        row(
            "Engle-Granger",
            health.cointegration.map(|it| p(it.p_value)),
            "below 0.05: some mix of the two comes back to a mean",
        ),
        row(
            "Augmented Dickey-Fuller",
            health.stationarity.map(|it| p(it.p_value)),
            "below 0.05: their ratio comes back to a mean",
        ),
        row(
            "Half-life",
            health
                .half_life
                .map(|it| format!("{} candles", grouped(&format!("{:.0}", it * scale)))),
            "after so long half of a deviation from the whole span's mean is gone",
        ),
        row(
            "Hurst exponent",
            health.hurst.map(|it| format!("{it:.3}")),
            "below 0.5 it comes back, above 0.5 it goes on",
        ),
    ]
}

fn is_gain(gain: f64) -> bool {
    gain > 0.0
}

fn times(stretches: &[Stretch]) -> Vec<Timestamp> {
    stretches.iter().map(|stretch| stretch.from).collect()
}

/// A value for each stretch; nothing for one after which candles lack, so that no line goes on there.
fn with_gaps<T>(
    curve: &Curve,
    stretches: &[Stretch],
    value: impl Fn(&Stretch) -> Option<T>,
) -> Vec<Option<T>> {
    let before = std::iter::once(None).chain(stretches.iter().map(Some));
    let both = before.zip(stretches);
    both.map(|(before, it)| {
        value(it).filter(|_| !before.is_some_and(|before| curve.is_gap(before, it)))
    })
    .collect()
}

fn fell(peak: Option<Timestamp>, trough: Option<Timestamp>) -> String {
    match (peak, trough) {
        (_, None) => "never".to_owned(),
        (None, Some(trough)) => format!("from the beginning to {}", day(trough)),
        (Some(peak), Some(trough)) => format!("{} to {}", day(peak), day(trough)),
    }
}

fn day(at: Timestamp) -> String {
    at.to_string()[..10].to_owned()
}

/// To the minute, as people write it.
#[must_use]
pub fn minute(at: Timestamp) -> String {
    format!("{} {}", &at.to_string()[..10], &at.to_string()[11..16])
}

fn percent(fraction: f64) -> String {
    format!("{:+.2} %", fraction * 100.0)
}

/// An amount to the hundredth, for the eye; the digits behind that are in `--json`.
#[must_use]
pub fn money(value: Decimal) -> String {
    grouped(&format!("{value:.2}"))
}

/// A number's digits in threes.
#[must_use]
pub fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let (sign, digits) = whole.split_at(usize::from(whole.starts_with(['-', '+'])));
    let mut text = sign.to_owned();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// More trades than that have a panel of their own.
const MOST_DOTS: usize = 150;
/// **Units**: basis points a side.
const FEES: [f64; 7] = [0.0, 1.0, 2.0, 5.0, 7.5, 10.0, 20.0];
/// **Units**: basis points a side.
const SLIPPAGES: [f64; 6] = [0.0, 1.0, 2.0, 5.0, 10.0, 20.0];
/// Candles that the health of a pair is looked at over, again and again.
const ROLLING: usize = 1000;
/// Fewer of them say nothing.
const LEAST: usize = 100;
