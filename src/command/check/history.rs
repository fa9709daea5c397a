//! What the configured strategy would have done on the newest candles, and how its pair behaves.

use std::fmt::Write as _;

use crate::command::backtest::stopped;
use crate::config::Config;
use crate::history::health::health;
use crate::history::verdict::health_words;
use crate::history::worth::worth;
use crate::preflight::Finding;
use crate::trading::candle::{Candle, Legs};
use crate::trading::market::Leg;
use crate::trading::strategy::nearest;

/// Rows that both legs have.
pub(super) fn rows(legs: &Legs) -> Vec<[Candle; 2]> {
    let [numerator, denominator] = Leg::BOTH.map(|leg| legs.candles(leg));
    let row = |numerator: &Candle| {
        let at = |candle: &Candle| candle.open_time;
        let index = denominator.binary_search_by_key(&numerator.open_time, at).ok()?;
        Some([*numerator, denominator[index]])
    };
    numerator.iter().filter_map(row).collect()
}

/// A line about the strategy, one about the pair.
pub(super) fn look(config: &Config, rows: &[[Candle; 2]]) -> Vec<Finding> {
    let window = config.rules.window;
    let (Some(first), true) = (rows.first(), rows.len() > window) else {
        let text = format!("not tried: {} candles are too few", rows.len());
        return vec![Finding::ok(STRATEGY, text)];
    };
    let since = first[0].open_time;
    let (rules, terms) = (&config.rules, &config.terms);
    // On what a paper book begins with: live the account's own money is not to be guessed at.
    let strategy = match worth(rows, rules, terms, config.opening_balance, |_| {}) {
        Err(why) => Finding::failed(STRATEGY, stopped(why)),
        Ok(figures) => {
            let total = &figures.total;
            let quote = config.pair.quote();
            let mut text = format!(
                "on the {} candles since {since} it would have made {:+.2} {quote} in {} round trips",
                rows.len(),
                total.net,
                total.round_trips
            );
            if let (Some(gross), Some(net)) = (total.mean_gross_bps(), total.mean_net_bps()) {
                let _ = write!(text, ", {gross:+.1} bp each before costs, {net:+.1} bp after");
            }
            if total.net.is_sign_negative() && !total.net.is_zero() {
                let remedy = "`ouroboros candles` fetches more of them, `ouroboros sweep` tries \
                              other settings; nothing stops you";
                Finding::warning(STRATEGY, text, remedy)
            } else {
                Finding::ok(STRATEGY, text)
            }
        }
    };
    let is_sound = |row: &&[Candle; 2]| row.iter().all(Candle::is_sound);
    let closes = Leg::BOTH.map(|leg| -> Vec<f64> {
        let sound = rows.iter().filter(is_sound);
        sound.map(|row| nearest(row[leg.index()].close)).collect()
    });
    let [numerator, denominator] = &closes;
    let said = health(numerator, denominator)
        .map_or_else(|| "too few candles".to_owned(), |it| health_words(&it, 1));
    vec![strategy, Finding::ok(PAIR, said)]
}

const PAIR: &str = "pair";
const STRATEGY: &str = "strategy";

/// How many candles are asked for: with the one that is still forming they are the most that one
/// question answers. **Source**: Binance Spot REST, klines, `limit`.
pub(super) const LOOKED_AT: usize = 999;
