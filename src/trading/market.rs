//! What is traded: assets, symbols, the two legs of the pair, and a symbol's rules.

use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;

use super::money::{Quantity, Step};

/// An asset's code, such as `BTC`: one to twenty capital letters and digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Asset(String);

impl Asset {
    /// The asset with this code, if it is written as Binance writes codes.
    #[must_use]
    pub fn new(code: &str) -> Option<Self> {
        let plain = code.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        (plain && (1..=20).contains(&code.len())).then(|| Self(code.to_owned()))
    }

    /// The code itself.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Asset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A market: `base` is bought and sold, `quote` pays for it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Symbol {
    /// What is traded.
    pub base: Asset,
    /// What it is priced in.
    pub quote: Asset,
}

impl Symbol {
    /// As the exchange writes it: `BTCUSDT`.
    #[must_use]
    pub fn code(&self) -> String {
        format!("{}{}", self.base, self.quote)
    }
}

/// As people write it: `BTC/USDT`.
impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.quote)
    }
}

/// With a slash, or without one where it ends with a quote asset that is known.
impl FromStr for Symbol {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parts = text.split_once('/').or_else(|| {
            // The longest known quote asset that fits, so that `BTCFDUSD` is not read as `BTCFD`.
            let quote = QUOTE_ASSETS
                .iter()
                .find(|quote| text.len() > quote.len() && text.ends_with(*quote))?;
            Some((text.strip_suffix(quote)?, quote))
        });
        parts
            .and_then(|(base, quote)| {
                Some(Self { base: Asset::new(base)?, quote: Asset::new(quote)? })
            })
            .filter(|symbol| symbol.base != symbol.quote)
            .ok_or_else(|| {
                "a symbol in capital letters, with a slash, such as `BTC/USDT`".to_owned()
            })
    }
}

/// Which of the pair's two symbols.
///
/// The environment calls them `SYMBOL_BASE` and `SYMBOL_QUOTE`; in here the spread's own words are
/// used, because "base" and "quote" belong to a symbol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Leg {
    /// The spread's upper half, `SYMBOL_BASE`.
    Numerator,
    /// The spread's lower half, `SYMBOL_QUOTE`.
    Denominator,
}

impl Leg {
    /// Both, numerator first.
    pub const BOTH: [Self; 2] = [Self::Numerator, Self::Denominator];

    /// Its place in [`Leg::BOTH`].
    #[must_use]
    pub fn index(self) -> usize {
        match self {
            Self::Numerator => 0,
            Self::Denominator => 1,
        }
    }
}

/// Two symbols against one quote asset.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pair {
    numerator: Symbol,
    denominator: Symbol,
}

impl Pair {
    /// The pair, if both symbols share their quote asset and differ in the other.
    #[must_use]
    pub fn new(numerator: Symbol, denominator: Symbol) -> Option<Self> {
        let fits = numerator.quote == denominator.quote && numerator.base != denominator.base;
        fits.then_some(Self { numerator, denominator })
    }

    /// The symbol of a leg.
    #[must_use]
    pub fn symbol(&self, leg: Leg) -> &Symbol {
        match leg {
            Leg::Numerator => &self.numerator,
            Leg::Denominator => &self.denominator,
        }
    }

    /// The asset that a leg buys and sells.
    #[must_use]
    pub fn asset(&self, leg: Leg) -> &Asset {
        &self.symbol(leg).base
    }

    /// The leg that buys and sells the asset of this code.
    #[must_use]
    pub fn leg_of(&self, code: &str) -> Option<Leg> {
        Leg::BOTH.into_iter().find(|leg| self.asset(*leg).code() == code)
    }

    /// The asset that pays.
    #[must_use]
    pub fn quote(&self) -> &Asset {
        &self.numerator.quote
    }
}

/// As people write it: `BTC/ETH`.
impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.numerator.base, self.denominator.base)
    }
}

/// Which way an order goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Quote asset for base asset.
    Buy,
    /// Base asset for quote asset.
    Sell,
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Buy => "BUY",
            Self::Sell => "SELL",
        })
    }
}

/// What the exchange lets through for one symbol and our kind of order, all filters put together.
///
/// **Source**: Binance Spot REST, "Filters"; `LOT_SIZE`, `MARKET_LOT_SIZE` (0 = no limit),
/// `MIN_NOTIONAL`, `NOTIONAL` and `PRICE_FILTER`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolRules {
    /// The symbol's status, `TRADING` when it can be traded.
    pub status: String,
    /// Quantities are multiples of it.
    pub step: Step,
    /// The smallest quantity of one order.
    pub min_quantity: Quantity,
    /// The largest quantity of one order, if there is a limit.
    pub max_quantity: Option<Quantity>,
    /// The smallest price × quantity of one order, in the quote asset.
    pub min_notional: Decimal,
    /// Limits are multiples of it; `None` where any price is.
    pub tick: Option<Step>,
    /// Amounts of the quote asset are multiples of it.
    pub quote_step: Step,
    /// Whether a market buy may name the amount that it spends.
    pub takes_quote_amounts: bool,
    /// Our kind of order, where the symbol doesn't take it.
    pub not_taken: Option<String>,
}

impl SymbolRules {
    /// No rule but eight decimals: the market of replay and backtest.
    #[must_use]
    pub fn unlimited() -> Self {
        Self {
            status: TRADING.to_owned(),
            step: Step::finest(),
            min_quantity: Quantity::ZERO,
            max_quantity: None,
            min_notional: Decimal::ZERO,
            tick: None,
            quote_step: Step::finest(),
            takes_quote_amounts: true,
            not_taken: None,
        }
    }

    /// Whether orders are taken. Every status but `TRADING`, a new one included, means no.
    #[must_use]
    pub fn is_trading(&self) -> bool {
        self.status == TRADING
    }
}

const TRADING: &str = "TRADING";

/// Quote assets of Binance Spot that a symbol without a slash is split at, longest first.
const QUOTE_ASSETS: [&str; 28] = [
    "FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USD1", "USDE", "EURI", "BTC", "ETH", "BNB", "EUR",
    "TRY", "BRL", "JPY", "DAI", "USD", "PLN", "ARS", "AUD", "COP", "CZK", "GBP", "MXN", "NGN",
    "RON", "UAH", "ZAR",
];
