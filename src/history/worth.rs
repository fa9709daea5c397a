//! What a few candles were worth, at once.

use super::engine::{Engine, Fold, Moment, Stopped};
use super::figures::{Figures, Tally};
use crate::trading::book::Book;
use crate::trading::candle::Candle;
use crate::trading::machine::Rules;
use crate::trading::money::Amount;
use crate::trading::order::Terms;

/// The backtest of these rows, oldest first and at least one; `look` is shown every candle.
///
/// **Errors**: as [`Stopped`].
pub fn worth(
    rows: &[[Candle; 2]],
    rules: &Rules,
    terms: &Terms,
    opening: Amount,
    mut look: impl FnMut(&Moment<'_>),
) -> Result<Figures, Stopped> {
    let mut tally = Tally::new(rules, terms, opening);
    let mut engine = Engine::new(Fold::new(Book::open(opening), rules, terms));
    let mut add = |moment: Moment<'_>| {
        tally.add(&moment);
        look(&moment);
    };
    engine.push(rows, &mut add)?;
    Ok(tally.figures(&engine.finish(), terms)?)
}
