//! `flatten`: sell what is held, in one order, then halt. On a terminal it asks first.

use super::ask;
use crate::config::Config;
use crate::failure::Failure;
use crate::store::disk::System;
use crate::trading::book::Book;
use crate::world;

/// Asks a person whether they mean it; without a terminal nobody is asked.
///
/// **Errors**: the state can't be read or trusted.
pub fn is_meant(config: &Config) -> Result<bool, Failure> {
    ask(|| {
        let state = world::peek(&System, config)?;
        let what = state.as_ref().and_then(|state| held(config, &state.book));
        Ok(what.unwrap_or_else(|| "nothing is held; halt".to_owned()))
    })
}

fn held(config: &Config, book: &Book) -> Option<String> {
    let holding = book.position.holding()?;
    let asset = config.pair.asset(holding.leg);
    let quantity = book.available().unwrap_or(holding.quantity);
    Some(format!("sell {quantity} {asset} ({}) and halt", config.mode.name()))
}
