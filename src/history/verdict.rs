//! What the figures mean, in a few sentences that are no kinder than they are.

#![expect(clippy::float_arithmetic, reason = "percentages of statistics, for people")]

use super::figures::Figures;
use super::health::Health;
use super::sums::count;
use crate::trading::market::{Leg, Pair};
use crate::trading::money::BasisPoints;

/// The verdict: what was gained or lost, why, how sure that is, and what doing nothing would have
/// brought. `charged` is the fee a side, where there was one for all of them.
#[must_use]
pub fn verdict(figures: &Figures, pair: &Pair, charged: Option<BasisPoints>) -> String {
    let quote = pair.quote();
    let trips = figures.total.round_trips;
    let (Some(gross), Some(net), Some(break_even)) = (
        figures.total.mean_gross_bps(),
        figures.total.mean_net_bps(),
        figures.total.break_even_fee_bps(),
    ) else {
        return nothing_came_of_it(figures, pair);
    };
    let mut sentences = vec![format!(
        "It {} {} of {} {quote} in {trips} round {}: what was bought moved {gross:+.1} bp on \
         average until it was sold, and {net:+.1} bp were left after fees and slippage.",
        if figures.total_return() < 0.0 { "lost" } else { "gained" },
        percent(figures.total_return().abs()),
        figures.opening.value().normalize(),
        if trips == 1 { "trip" } else { "trips" },
    )];
    sentences.push(if break_even <= 0.0 {
        "Not even trading without any fee would have paid.".to_owned()
    } else {
        match charged {
            Some(fee) => format!(
                "It would break even at a fee of {break_even:.1} bp a side; {} were charged.",
                fee.value()
            ),
            None => format!("It would break even at a fee of {break_even:.1} bp a side."),
        }
    });
    sentences.push(match figures.t_stat {
        _ if trips < FEW => format!("{trips} round trips are too few to tell it from chance."),
        None => "All round trips came out alike.".to_owned(),
        Some(t) if t.abs() < SURE => format!("With t = {t:.1} that can't be told from chance."),
        Some(t) if net < 0.0 => format!("With t = {t:.1} the loss is no accident."),
        Some(t) => format!(
            "With t = {t:.1} it is hardly chance on these candles, which says little of the next: \
             whoever tries many settings finds one that fits."
        ),
    });
    if figures.refused > 0 {
        sentences.push(format!(
            "{} further {} could not be paid.",
            figures.refused,
            if figures.refused == 1 { "entry" } else { "entries" }
        ));
    }
    if figures.drawdown.depth > 0.0 {
        sentences.push(format!(
            "At the worst it was {} below its peak.",
            percent(figures.drawdown.depth)
        ));
    }
    sentences.push(doing_nothing(figures, pair));
    sentences.join(" ")
}

fn nothing_came_of_it(figures: &Figures, pair: &Pair) -> String {
    let what = match (figures.entries, figures.refused) {
        (0, 0) => "no entry was made".to_owned(),
        (0, refused) => format!("no entry was made: {refused} could not be paid"),
        _ => "one entry was made, and it is still open".to_owned(),
    };
    format!("On {} candles {what}. {}", figures.candles, doing_nothing(figures, pair))
}

fn doing_nothing(figures: &Figures, pair: &Pair) -> String {
    let [numerator, denominator] = Leg::BOTH.map(|leg| pair.asset(leg));
    let made = |fraction: f64| format!("{:+.1} %", fraction * 100.0);
    format!(
        "Bought at the beginning and held, {numerator} made {}, {denominator} {}, half of each {}.",
        made(figures.buy_and_hold[0]),
        made(figures.buy_and_hold[1]),
        made(figures.half_and_half())
    )
}

/// How a pair behaved, in a line. Of every `step` candles one was looked at.
#[must_use]
pub fn health_words(health: &Health, step: usize) -> String {
    let or_none =
        |value: Option<f64>| value.map_or_else(|| "none".to_owned(), |it| format!("{it:.2}"));
    let returns = match health.stationarity {
        None => "whether their ratio comes back can't be told".to_owned(),
        Some(it) if it.p_value < 0.05 => {
            format!("their ratio came back to its mean (ADF p = {:.3})", it.p_value)
        }
        Some(it) => {
            format!("their ratio can't be told from a random walk (ADF p = {:.3})", it.p_value)
        }
    };
    let half_life = health.half_life.map_or_else(String::new, |it| {
        let candles = it * count(step);
        format!(", half of a deviation was gone after {candles:.0} candles")
    });
    format!(
        "correlation {}, hedge ratio {}; {returns}{half_life}; Hurst exponent {}",
        or_none(health.correlation),
        or_none(health.hedge.map(|it| it.ratio)),
        or_none(health.hurst)
    )
}

fn percent(fraction: f64) -> String {
    format!("{:.1} %", fraction * 100.0)
}

/// Below so many nobody can tell anything.
const FEW: usize = 30;
/// A mean that is twice its standard error from nothing: by chance that is so once in twenty times.
const SURE: f64 = 1.96;
