//! What a book comes to at the newest close that a run looked at, for those who are told.

use serde_json::Value;

use crate::config::Config;
use crate::trading::book::Book;
use crate::trading::market::Leg;
use crate::trading::money::{Amount, Overflow, Price, Profit};

/// A book at the newest close.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Overview {
    /// The newest candle that a record is about, by its open time.
    pub(super) candle: Option<String>,
    /// Its z-score.
    pub(super) z: Option<f64>,
    /// What is held would gain or lose so much, sold at that candle's close, after the fee.
    /// **Units**: quote asset. `None` where nothing is held or no close is known.
    pub(super) unrealized: Option<Profit>,
    /// What the paper account would be worth after that sale. **Units**: quote asset.
    pub(super) equity: Option<Amount>,
    /// What the book has gained since it began: what is over, and what is held after that sale. A live book has no
    /// capital of its own, this is its equity. **Units**: quote asset. `None` where no close of what is held is known.
    pub(super) gained: Option<Profit>,
}

impl Overview {
    /// The book as these records, newest first, let it be seen.
    ///
    /// **Errors**: a sum is too large to be told.
    pub(super) fn of(config: &Config, book: &Book, records: &[Value]) -> Result<Self, Overflow> {
        let newest = records.iter().find(|record| record["result"]["candle"].is_string());
        let result = newest.map_or(&Value::Null, |record| &record["result"]);
        let holding = book.position.holding();
        let sale = match holding {
            None => None,
            Some(holding) => match records.iter().find_map(|record| close(record, holding.leg)) {
                None => None,
                Some(price) => {
                    let worth = Amount::proceeds_down(book.available()?, price)?;
                    let fee = worth.fee_up(config.terms.fee)?;
                    Some(worth.minus(fee).unwrap_or_default())
                }
            },
        };
        let unrealized = match holding.zip(sale) {
            None => None,
            Some((holding, sale)) => Some(Profit::of(sale.plus(holding.proceeds)?, holding.cost)?),
        };
        let equity = match (book.cash, holding, sale) {
            (Some(cash), None, _) => Some(cash),
            (Some(cash), Some(_), Some(sale)) => Some(cash.plus(sale)?),
            (None, _, _) | (Some(_), Some(_), None) => None,
        };
        let gained = match (holding, unrealized) {
            (None, _) => Some(book.realized),
            (Some(_), Some(unrealized)) => Some(book.realized.plus(unrealized)?),
            (Some(_), None) => None,
        };
        Ok(Self {
            candle: result["candle"].as_str().map(str::to_owned),
            z: result["z"].as_f64(),
            unrealized,
            equity,
            gained,
        })
    }
}

/// The newest close of a leg that a record rests on.
fn close(record: &Value, leg: Leg) -> Option<Price> {
    let name = match leg {
        Leg::Numerator => "numerator",
        Leg::Denominator => "denominator",
    };
    record[name].as_array()?.last()?[1].as_str()?.parse().ok().and_then(Price::new)
}
