//! What must be true of key, account, rules and amount before the first real order.
//!
//! The first live start of a book asks it, and refuses with these words; `check` shows all of it.

use crate::config::Config;
use crate::exchange::Exchange;
use crate::exchange::live::Live;
use crate::failure::{Failure, Kind};
use crate::report;
use crate::store::outside::Outside;
use crate::trading::account::{self, Account};
use crate::trading::book::Book;
use crate::trading::ledger::Ledger;
use crate::trading::market::{Leg, Side};
use crate::trading::order::{self, Refusal};
use crate::trading::time::Timestamp;
use crate::world::{self, Past, World};

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub struct Finding {
    /// What, in a word or two.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen, in one line.
    pub text: String,
}

/// How a thing is.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// It works, but should be mended; this is how.
    Warning(String),
    /// It must be mended; the row of the exit code table, and how.
    Failed(Kind, String),
}

impl Finding {
    /// As it should be.
    pub fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, text: text.into() }
    }

    /// It works, but should be mended.
    pub fn warning(name: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Warning(remedy.into()), text: text.into() }
    }

    /// It must be mended: a failure's own words.
    #[must_use]
    pub fn failed(name: &'static str, failure: Failure) -> Self {
        let Failure { kind, message, hint } = failure;
        Self { name, verdict: Verdict::Failed(kind, hint), text: message }
    }

    /// The failure that this finding is, if it is one.
    #[must_use]
    pub fn failure(&self) -> Option<Failure> {
        match &self.verdict {
            Verdict::Failed(kind, remedy) => {
                Some(Failure::new(*kind, format!("{}: {}", self.name, self.text), remedy))
            }
            Verdict::Ok | Verdict::Warning(_) => None,
        }
    }
}

/// Opens a live book: looks at everything that a first order needs, and says whose account it is.
///
/// **Errors**: the first thing that must be mended, or orders of an earlier book of this instance.
/// Nothing was committed.
pub fn first_start(
    world: &mut World,
    config: &Config,
    past: &Past,
    account: &Account,
) -> Result<Past, Failure> {
    let live = world.exchange.live().expect("this is live");
    let host = live.host();
    require(live, config, account, &mut world.outside)?;
    let ledger = Ledger::open(account.uid);
    refuse_earlier_orders(config, account)?;
    let greeting = report::first_live_start(config, &host, account.uid);
    log::info!("{greeting}");
    let book = Book { ledger: Some(ledger), ..past.book.clone() };
    Ok(Past { book, greeting: Some(greeting), ..past.clone() })
}

/// Lets no new book begin beside the orders of an earlier one.
///
/// **Errors**: the account has orders of this instance.
pub fn refuse_earlier_orders(config: &Config, account: &Account) -> Result<(), Failure> {
    let prefix = world::order_prefix(config, Some(&Ledger::open(account.uid)));
    let Some(order) = account.any_own(&prefix) else { return Ok(()) };
    Err(Failure::new(
        Kind::Halted,
        format!(
            "there is no book here, but the account {} has orders of this instance, such as {}",
            account.uid, order.client_order_id
        ),
        "put the state directory back, or begin afresh with `ouroboros resume --new-book`",
    ))
}

/// Whether account and book agree.
///
/// **Errors**: as [`Live::account`], or quantities beyond computation.
pub fn compare(
    live: &mut Live,
    config: &Config,
    book: &Book,
    ledger: &Ledger,
    outside: &mut Outside,
) -> Result<account::Standing, Failure> {
    let settle_seconds = live.settle_seconds();
    let account = live.account(outside)?.clone();
    let prefix = world::order_prefix(config, Some(ledger));
    let steps = live.rules(outside)?.each_ref().map(|rules| rules.step);
    account::compare(book, ledger, &account, &config.pair, &prefix, steps, settle_seconds)
        .map_err(|overflow| Failure::unreachable(format!("a price beyond computation: {overflow}")))
}

/// Everything that [`examine`] looks at, told to the log.
///
/// **Errors**: the first thing that must be mended.
pub fn require(
    live: &mut Live,
    config: &Config,
    account: &Account,
    outside: &mut Outside,
) -> Result<(), Failure> {
    for finding in examine(live, config, account, false, outside) {
        if let Some(failure) = finding.failure() {
            return Err(failure);
        }
        match finding.verdict {
            Verdict::Warning(remedy) => log::warn!("{}: {}; {remedy}", finding.name, finding.text),
            Verdict::Ok | Verdict::Failed(..) => log::info!("{}: {}", finding.name, finding.text),
        }
    }
    Ok(())
}

/// Key, rights, account, rules and amount.
#[must_use]
pub fn examine(
    live: &mut Live,
    config: &Config,
    account: &Account,
    is_held: bool,
    outside: &mut Outside,
) -> Vec<Finding> {
    let mut findings = vec![key(live, outside)];
    findings.push(if account.can_trade {
        Finding::ok("account", format!("{} may trade", account.uid))
    } else {
        Finding::failed("account", may_not_trade(account.uid))
    });
    findings.push(balance(config, account, is_held));
    findings.extend(symbols(live, config, outside));
    findings
}

/// Whether an entry of the configured amount could be made now in either leg, and sold again.
#[must_use]
pub fn symbols(
    exchange: &mut dyn Exchange,
    config: &Config,
    outside: &mut Outside,
) -> [Finding; 2] {
    Leg::BOTH.map(|leg| symbol(exchange, config, leg, outside))
}

/// The failure of an account that may not trade.
#[must_use]
pub fn may_not_trade(uid: u64) -> Failure {
    Failure::new(
        Kind::KeyRefused,
        format!("the exchange says that the account {uid} may not trade"),
        "look at the account's status at the exchange; nothing was done",
    )
}

/// What the key may do: to trade, and nothing that takes money away.
#[must_use]
pub fn key(live: &mut Live, outside: &mut Outside) -> Finding {
    const NAME: &str = "key";
    let rights = match live.restrictions(outside) {
        Ok(Some(rights)) => rights,
        Ok(None) => {
            return Finding::warning(
                NAME,
                "this exchange does not tell what the key may do",
                "make sure yourself that it may trade, but neither withdraw nor transfer",
            );
        }
        Err(failure) => return Finding::failed(NAME, failure),
    };
    let refused = |what: &str| {
        let message = format!("the key {what}");
        let hint = "at the exchange, give the key reading and spot trading, and nothing else";
        Finding::failed(NAME, Failure::new(Kind::KeyRefused, message, hint))
    };
    if rights.enable_withdrawals {
        return refused("may withdraw");
    }
    if rights.enable_internal_transfer || rights.permits_universal_transfer {
        return refused("may transfer");
    }
    if rights.enable_spot_and_margin_trading == Some(false) {
        return refused("may not trade on Spot");
    }
    if rights.ip_restrict {
        Finding::ok(NAME, "may read and trade, from its own addresses only, and not withdraw")
    } else {
        Finding::warning(
            NAME,
            "may read and trade from any address, and not withdraw",
            "restrict it to this machine's address at the exchange",
        )
    }
}

fn balance(config: &Config, account: &Account, is_held: bool) -> Finding {
    const NAME: &str = "balance";
    let (free, amount, quote) = (account.free_quote, config.terms.amount, config.pair.quote());
    if is_held {
        return Finding::ok(NAME, format!("{free} {quote} are free, and an entry is paid already"));
    }
    if free < amount {
        let message = format!("{free} {quote} are free, an entry spends {amount}");
        let hint = "deposit more, or set a smaller `TRADE_AMOUNT_USDT`";
        return Finding::failed(NAME, Failure::new(Kind::Refused, message, hint));
    }
    Finding::ok(NAME, format!("{free} {quote} are free, an entry spends {amount}"))
}

fn symbol(
    exchange: &mut dyn Exchange,
    config: &Config,
    leg: Leg,
    outside: &mut Outside,
) -> Finding {
    const NAME: &str = "symbol";
    let symbol = config.pair.symbol(leg);
    let touch = match exchange.touch(leg, Side::Buy, Timestamp::EPOCH, outside) {
        Ok((touch, _)) => touch,
        Err(failure) => return Finding::failed(NAME, failure),
    };
    let amount = config.terms.amount;
    match order::buy(&config.terms, amount, touch.price, &touch.rules) {
        Ok(_) => Finding::ok(
            NAME,
            format!(
                "{symbol} is traded in steps of {}, an order is worth {} at least",
                touch.rules.step,
                touch.rules.min_notional.normalize()
            ),
        ),
        Err(refusal) => {
            let hint = match refusal {
                Refusal::NotTrading { .. } => "wait until the exchange trades it again",
                Refusal::Balance { .. }
                | Refusal::NotSellable { .. }
                | Refusal::NotTaken { .. }
                | Refusal::TooLarge => "look at `TRADE_AMOUNT_USDT` and `MAX_SLIPPAGE_BPS`",
            };
            let message = refusal.sentence(symbol);
            Finding::failed(NAME, Failure::new(Kind::Refused, message, hint))
        }
    }
}
