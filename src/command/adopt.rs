//! `adopt`: what was bought elsewhere, by the Python bot or by hand, becomes the book's. On a terminal
//! it asks first.

use rust_decimal::Decimal;

use super::ask;
use crate::config::Config;
use crate::failure::Failure;
use crate::trading::book::Adoption;
use crate::trading::market::Leg;
use crate::trading::money::{Amount, DECIMALS, Quantity};

/// What is to be adopted, understood.
///
/// **Errors**: a replay, an asset that is no leg's, a quantity or a cost that can't be.
pub fn understood(
    config: &Config,
    asset: &str,
    quantity: &str,
    cost: &str,
) -> Result<Adoption, Failure> {
    if config.mode.is_replay() {
        return Err(Failure::configuration(
            "a replay holds nothing but what its candles made it buy",
            "`adopt` is for paper and live books: leave `--candles` away",
        ));
    }
    let pair = &config.pair;
    // Codes are capital letters; who types one need not be.
    let leg = pair.leg_of(&asset.to_ascii_uppercase()).ok_or_else(|| {
        let [numerator, denominator] = Leg::BOTH.map(|leg| pair.asset(leg));
        Failure::configuration(
            format!("`--asset {asset}` is neither {numerator} nor {denominator}"),
            "look at `SYMBOL_BASE` and `SYMBOL_QUOTE`",
        )
    })?;
    let number = |option: &str, text: &str| {
        let value: Option<Decimal> = text.parse().ok();
        let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let fits = |value: &Decimal| plain && *value > Decimal::ZERO && value.scale() <= DECIMALS;
        value.filter(fits).ok_or_else(|| {
            Failure::configuration(
                format!("`{option} {text}` is no amount above 0 with at most {DECIMALS} decimals"),
                format!("give `{option}` a number such as `0.00357415`"),
            )
        })
    };
    let too_large =
        || Failure::configuration("that is more than there can be", "look at the numbers");
    Ok(Adoption {
        leg,
        quantity: Quantity::new(number("--quantity", quantity)?).ok_or_else(too_large)?,
        cost: Amount::new(number("--cost", cost)?).ok_or_else(too_large)?,
    })
}

/// Asks a person whether they mean it; without a terminal nobody is asked.
///
/// **Errors**: none that are its own.
pub fn is_meant(config: &Config, adoption: &Adoption) -> Result<bool, Failure> {
    let Adoption { leg, quantity, cost } = adoption;
    let (asset, quote) = (config.pair.asset(*leg), config.pair.quote());
    let mode = config.mode.name();
    ask(|| Ok(format!("adopt {quantity} {asset} that cost {cost} {quote} ({mode})")))
}
