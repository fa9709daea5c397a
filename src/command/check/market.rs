//! The exchange: its clock, its addresses, its candles, and live the key, the account and whether
//! that agrees with the book.

use super::{Found, history, not_looked_at};
use crate::config::{Config, Mode};
use crate::exchange::binance::{Binance, Pulse};
use crate::exchange::http::Http;
use crate::exchange::live::Live;
use crate::exchange::watch::{Watch, distrusted};
use crate::exchange::{Exchange, View, Want};
use crate::failure::{Failure, Kind};
use crate::preflight::{self, Finding};
use crate::store::disk::System;
use crate::store::outside::Outside;
use crate::trading::account::{Account, Standing};
use crate::trading::strategy;
use crate::world;

/// Clock, addresses and candles; live key, account and book, on paper the symbols.
pub(super) fn look(
    config: &Config,
    http: &Http,
    found: &Found,
    outside: &mut Outside,
) -> Vec<Finding> {
    // Made at the same moment, so that all questions together end at the same one.
    let market = Binance::new(http.clone(), config.market_url.clone());
    let orders = match &config.mode {
        Mode::Live(access) if access.base_url != config.market_url => {
            Some(Binance::new(http.clone(), access.base_url.clone()))
        }
        Mode::Live(_) | Mode::Paper | Mode::Replay(_) => None,
    };
    let (watch, mut exchange) = (world::watch(config, http), world::market(config, http, outside));

    let market_pulse = market.pulse(outside);
    let orders = orders.map(|orders| (orders.pulse(outside), orders.host()));
    // Orders are judged by the clock of the address that takes them.
    let pulse = orders.as_ref().map_or(&market_pulse, |(pulse, _)| pulse);
    let mut findings = vec![clock(pulse)];
    findings.push(endpoint(&market.host(), &market_pulse, "BINANCE_MARKET_URL"));
    let of_orders = |(pulse, host): &(_, String)| endpoint(host, pulse, "BINANCE_BASE_URL");
    findings.extend(orders.as_ref().map(of_orders));
    findings.extend(match is_usable(&market_pulse) {
        Ok(()) => candles(config, &watch, outside),
        Err(why) => vec![not_looked_at(CANDLES, why)],
    });
    match (exchange.live(), is_usable(pulse)) {
        (Some(live), usable) => findings.extend(account(config, live, found, usable, outside)),
        (None, Ok(())) => findings.extend(preflight::symbols(&mut *exchange, config, outside)),
        (None, Err(why)) => findings.push(not_looked_at(SYMBOL, why)),
    }
    findings
}

/// The candles of a recording, and what would have come of the newest of them.
pub(super) fn recording(config: &Config, found: &Found) -> Vec<Finding> {
    let looked = || {
        let mut replay = world::recording(config)?.expect("this is a replay");
        if let Found::Book(state) = found {
            world::check_candles(state, &replay)?;
        }
        replay.view(&want(config), &mut Outside::load(System::shared(), &config.state_dir))?;
        let rows = replay.rows();
        let text = format!("the recording has {} candles that both legs share", rows.len());
        let newest = &rows[rows.len().saturating_sub(history::LOOKED_AT)..];
        Ok((text, history::look(config, newest)))
    };
    match looked() {
        Ok((text, history)) => std::iter::once(Finding::ok(CANDLES, text)).chain(history).collect(),
        Err(failure) => vec![Finding::failed(CANDLES, failure)],
    }
}

fn is_usable(pulse: &Result<Pulse, Failure>) -> Result<(), &'static str> {
    match pulse {
        Err(failure) => Err(silent(failure)),
        Ok(pulse) if pulse.check_clock().is_err() => Err("the clock is wrong"),
        Ok(_) => Ok(()),
    }
}

/// Why there is no pulse.
fn silent(failure: &Failure) -> &'static str {
    if failure.kind == Kind::Limited {
        "the exchange wants silence"
    } else {
        "the exchange was not reached"
    }
}

fn clock(pulse: &Result<Pulse, Failure>) -> Finding {
    const NAME: &str = "clock";
    let pulse = match pulse {
        Ok(pulse) => pulse,
        Err(failure) => return not_looked_at(NAME, silent(failure)),
    };
    if let Err(failure) = pulse.check_clock() {
        return Finding::failed(NAME, failure);
    }
    let millis = pulse.offset_ms.saturating_abs();
    // The exchange's ahead of ours is ours behind.
    let way = if pulse.offset_ms > 0 { "behind" } else { "ahead of" };
    match millis {
        0 => Finding::ok(NAME, "this machine's and the exchange's agree"),
        1..=MOST_MILLIS => Finding::ok(NAME, format!("{millis} ms {way} the exchange's")),
        _ => Finding::warning(
            NAME,
            format!("{}.{:03} s {way} the exchange's", millis / 1000, millis % 1000),
            "set this machine's clock (`timedatectl set-ntp true`): more than 60 s end every run",
        ),
    }
}

fn endpoint(host: &str, pulse: &Result<Pulse, Failure>, variable: &str) -> Finding {
    const NAME: &str = "endpoint";
    match pulse {
        Ok(pulse) => Finding::ok(NAME, format!("{host} answered in {} ms", pulse.took.as_millis())),
        Err(failure) if failure.kind == Kind::Unreachable => {
            let hint = format!("look at the network, name service and firewall, and `{variable}`");
            Finding::failed(NAME, Failure { hint, ..failure.clone() })
        }
        // It wants silence, and says until when.
        Err(failure) => Finding::failed(NAME, failure.clone()),
    }
}

/// Whether a decision could be made now, and what would have come of the last ones.
fn candles(config: &Config, watch: &Watch, outside: &mut Outside) -> Vec<Finding> {
    // A question for more of them has the same weight.
    let most = history::LOOKED_AT;
    let market = match watch.view(&Want { window: most, lookback: most, ..want(config) }, outside) {
        Ok(View::Candles(market)) => market,
        Ok(View::EndOfData(_)) => unreachable!("only a recording ends"),
        Err(failure) => return vec![Finding::failed(CANDLES, failure)],
    };
    let (interval, newest, window) = (config.rules.interval, market.newest, config.rules.window);
    match strategy::observe(&market.legs, interval, None, newest, window) {
        Ok(_) => {
            let text = format!("{window} closed ones of both legs, the newest of {newest}");
            let history = history::look(config, &history::rows(&market.legs));
            std::iter::once(Finding::ok(CANDLES, text)).chain(history).collect()
        }
        Err(distrust) => vec![Finding::failed(CANDLES, distrusted(&distrust, &config.pair))],
    }
}

fn want(config: &Config) -> Want {
    Want {
        last_candle: None,
        looks_back: false,
        window: config.rules.window,
        lookback: config.lookback,
    }
}

/// Key, account, balance, symbols, and whether account and book agree.
fn account(
    config: &Config,
    live: &mut Live,
    found: &Found,
    usable: Result<(), &str>,
    outside: &mut Outside,
) -> Vec<Finding> {
    const REST: [&str; 4] = ["account", "balance", SYMBOL, BOOK];
    if let Err(failure) = config.check_key() {
        let mut findings = vec![Finding::failed(KEY, failure)];
        findings.extend(REST.map(|name| not_looked_at(name, "there is no key")));
        return findings;
    }
    if let Err(why) = usable {
        let all = [KEY].into_iter().chain(REST);
        return all.map(|name| not_looked_at(name, why)).collect();
    }
    if let Some(ledger) = found.book().and_then(|book| book.ledger.as_ref()) {
        live.answer_for(ledger);
    }
    match live.account(outside).cloned() {
        Ok(account) => {
            let is_held = found.book().is_some_and(|book| book.position.holding().is_some());
            let mut findings = preflight::examine(live, config, &account, is_held, outside);
            findings.push(book(config, live, &account, found, outside));
            findings
        }
        Err(failure) => {
            let mut findings = vec![preflight::key(live, outside)];
            findings.push(Finding::failed("account", failure));
            let rest = REST.into_iter().skip(1);
            findings.extend(rest.map(|name| not_looked_at(name, "the account was not shown")));
            findings
        }
    }
}

/// What a run would say to book and account. Nothing is halted for it here.
fn book(
    config: &Config,
    live: &mut Live,
    account: &Account,
    found: &Found,
    outside: &mut Outside,
) -> Finding {
    if let Found::Unknown = found {
        return not_looked_at(BOOK, "the book can't be trusted");
    }
    let with_ledger = found.book().and_then(|book| Some((book, book.ledger.as_ref()?)));
    let Some((book, ledger)) = with_ledger else {
        return match preflight::refuse_earlier_orders(config, account) {
            Ok(()) => Finding::ok(BOOK, "there is none, nor an order of an earlier one"),
            Err(failure) => Finding::failed(BOOK, failure),
        };
    };
    if book.pending().is_some() {
        return Finding::warning(
            BOOK,
            "not compared with the account, because an order is pending",
            "the next run asks for that first",
        );
    }
    match preflight::compare(live, config, book, ledger, outside) {
        Ok(Standing::Agrees) => Finding::ok(BOOK, "it agrees with the account"),
        Ok(Standing::Lags) => Finding::warning(
            BOOK,
            "the account does not show the last order yet",
            "nothing is ordered until it does; look again in a few minutes",
        ),
        Ok(Standing::Disagrees { why, .. }) => {
            let hint = "the next run halts for it; look into it, then `ouroboros resume`";
            Finding::failed(BOOK, Failure::new(Kind::Halted, why, hint))
        }
        Err(failure) => Finding::failed(BOOK, failure),
    }
}

const BOOK: &str = "book";
const CANDLES: &str = "candles";
const KEY: &str = "key";
const SYMBOL: &str = "symbol";

/// A request from further ahead is refused. **Source**: Binance Spot REST, "Timing security".
const MOST_MILLIS: i64 = 1000;
