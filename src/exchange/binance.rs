//! Questions to Binance that need no key: candles, the best price, the symbols' rules.
//!
//! Knows the paths, the weights and when the exchange wants silence; knows nothing of trading.

use std::time::Duration;

use reqwest::Url;

use super::http::{Answer, Asked, Http, Request};
use super::sign::Query;
use super::wire::{self, BadKlines, BookTicker, Kline};
use crate::clock::Deadline;
use crate::failure::{self, Failure};
use crate::store::outside::Outside;
use crate::store::shared::Leave;
use crate::trading::candle::Fault;
use crate::trading::market::SymbolRules;
use crate::trading::order::Kind;
use crate::trading::time::{Interval, Timestamp};

/// Binance's public market data at one address.
#[derive(Debug)]
pub struct Binance {
    http: Http,
    base: Url,
    /// For all questions of this run together.
    deadline: Deadline,
}

/// One leg's newest candles, the forming one perhaps among them.
#[derive(Debug)]
pub(crate) struct Klines {
    pub(crate) rows: Vec<Kline>,
    /// The exchange's time when it answered, or a little before.
    pub(crate) at: Timestamp,
}

/// How an address answered when it was asked for the time.
#[derive(Debug, Clone, Copy)]
pub struct Pulse {
    /// From question to answer, a handshake included.
    pub took: Duration,
    /// The exchange's clock less ours, as far as it is certain: zero where the exchange's time lies
    /// between our question and the answer.
    ///
    /// **Units**: milliseconds.
    pub offset_ms: i64,
    received: Timestamp,
    at: Timestamp,
}

impl Pulse {
    /// Whether a run would go by these clocks.
    ///
    /// **Errors**: they are too far apart.
    pub fn check_clock(&self) -> Result<(), Failure> {
        check_clocks(self.received, self.at, self.offset_ms)
    }
}

impl Binance {
    /// Asks at `base`.
    #[must_use]
    pub fn new(http: Http, base: Url) -> Self {
        let deadline = http.clock().deadline(ALL_QUESTIONS);
        Self { http, base, deadline }
    }

    /// The newest `limit` candles of each symbol, asked for at the same time.
    ///
    /// **Shape**: in the order of the symbols. The inner error is what is wrong with the candles.
    pub(crate) fn klines(
        &self,
        symbols: &[String],
        interval: Interval,
        limit: usize,
        outside: &mut Outside,
    ) -> Result<Vec<Result<Klines, Fault>>, Failure> {
        let query = |symbol: &String| format!("symbol={symbol}&interval={interval}&limit={limit}");
        let paths: Vec<(String, String)> =
            symbols.iter().map(|symbol| (KLINES.to_owned(), query(symbol))).collect();
        let answers = self.get(&paths, outside)?;
        let mut klines = Vec::new();
        for (answer, symbol) in answers.into_iter().zip(symbols) {
            let rows = match wire::klines(&answer.body) {
                Ok(rows) => rows,
                Err(BadKlines::Distrusted(fault)) => {
                    klines.push(Err(fault));
                    continue;
                }
                Err(BadKlines::Nonsense(why)) => {
                    return Err(Failure::unreachable(format!(
                        "{} answered the question for candles of {symbol} with {why}",
                        self.host()
                    )));
                }
            };
            let at = self.time_of(&answer, outside)?;
            klines.push(Ok(Klines { rows, at }));
        }
        Ok(klines)
    }

    /// The best bid and ask of `symbol`, and the exchange's time.
    pub(crate) fn book_ticker(
        &self,
        symbol: &str,
        outside: &mut Outside,
    ) -> Result<(BookTicker, Timestamp), Failure> {
        let answer = self.get_one(BOOK_TICKER, format!("symbol={symbol}"), outside)?;
        let ticker = wire::book_ticker(&answer.body, symbol)
            .map_err(|why| Failure::unreachable(format!("{}: {why}", self.host())))?;
        let at = self.time_of(&answer, outside)?;
        Ok((ticker, at))
    }

    /// The rules of both symbols for our kind of order.
    pub(crate) fn rules(
        &self,
        symbols: &[String],
        kind: Kind,
        outside: &mut Outside,
    ) -> Result<Vec<SymbolRules>, Failure> {
        let (path, query) = Self::rules_question(symbols);
        let answer = self.get_one(path, query.unsigned(), outside)?;
        self.read_rules(&answer.body, symbols, kind)
    }

    /// Path and query of the question for the rules of both symbols.
    pub(crate) fn rules_question(symbols: &[String]) -> (&'static str, Query) {
        // The list of permission sets is long and unused.
        let query = Query::new().with("symbols", list(symbols));
        (EXCHANGE_INFO, query.with("showPermissionSets", false))
    }

    /// The rules of the symbols in the answer to that question.
    pub(crate) fn read_rules(
        &self,
        body: &[u8],
        symbols: &[String],
        kind: Kind,
    ) -> Result<Vec<SymbolRules>, Failure> {
        let mut all = Vec::new();
        for symbol in symbols {
            let (rules, unknown) = wire::symbol_rules(body, symbol, kind)
                .map_err(|why| Failure::unreachable(format!("{}: {why}", self.host())))?;
            for filter in unknown {
                log::warn!("{symbol} has a filter that is not understood: {filter}");
            }
            all.push(rules);
        }
        Ok(all)
    }

    /// Asks for the time, to see how the exchange answers.
    ///
    /// **Errors**: no answer, none that makes sense, or one that asks for silence.
    pub fn pulse(&self, outside: &mut Outside) -> Result<Pulse, Failure> {
        let (asked, stopwatch) = (self.now(), self.http.clock().stopwatch());
        let answer = self.get_one(TIME, String::new(), outside)?;
        let (took, received) = (stopwatch.elapsed(), answer.received);
        let at = self.read_time(&answer)?;
        let behind = at.millis_since(asked).min(0);
        let ahead = at.millis_since(received).max(0);
        Ok(Pulse { took, offset_ms: behind + ahead, received, at })
    }

    /// Waits, but not longer than until the run is told to stop.
    pub(crate) fn wait(&self, time: Duration) -> Result<(), Failure> {
        self.http.wait(time);
        self.http.stop().check(NOTHING_DONE)
    }

    /// Until when questions may be asked.
    pub(crate) fn deadline(&self) -> &Deadline {
        &self.deadline
    }

    /// So much time from now on.
    pub(crate) fn patience(&self, time: Duration) -> Deadline {
        self.http.clock().deadline(time)
    }

    /// This machine's idea of the time.
    pub(crate) fn now(&self) -> Timestamp {
        self.http.clock().now()
    }

    /// Whom this asks, for messages and for bans.
    #[must_use]
    pub fn host(&self) -> String {
        self.base.origin().ascii_serialization()
    }

    fn get_one(&self, path: &str, query: String, outside: &mut Outside) -> Result<Answer, Failure> {
        let mut answers = self.get(&[(path.to_owned(), query)], outside)?;
        Ok(answers.pop().expect("one question has one answer"))
    }

    /// Asks all questions at the same time; all must be answered with 200.
    fn get(
        &self,
        paths: &[(String, String)],
        outside: &mut Outside,
    ) -> Result<Vec<Answer>, Failure> {
        let requests = paths.iter().map(|(path, query)| Request::get(self.url(path, query)));
        let asked = self.begin(requests.collect(), outside)?;
        let answers = self.finish(asked, outside)?;
        let mut good = Vec::new();
        for (answer, (path, query)) in answers.into_iter().zip(paths) {
            let asked = format!("{} was asked for {path}", self.host());
            let asked = if query.is_empty() { asked } else { format!("{asked}?{query}") };
            let answer =
                answer.map_err(|error| Failure::unreachable(format!("{asked}: {error:#}")))?;
            log::debug!("{asked}: {} with {} bytes", answer.status, answer.body.len());
            if answer.status != 200 {
                return Err(refused_question(&asked, &answer));
            }
            good.push(answer);
        }
        Ok(good)
    }

    /// Sends questions, unless the exchange wants silence.
    pub(crate) fn begin(
        &self,
        requests: Vec<Request>,
        outside: &Outside,
    ) -> Result<Asked, Failure> {
        let weight = requests.iter().map(|request| weight(&request.url)).sum();
        match outside.ask(&self.host(), weight, self.now()) {
            Leave::Granted => {}
            Leave::Silence(until) => return Err(self.silenced("asked for silence and", until)),
            Leave::UsedUp(until) => {
                let why = "has answered as much as this address may ask in a minute, and by SHARED_LIMITS_FILE";
                return Err(self.silenced(why, until));
            }
        }
        Ok(self.http.begin(requests, self.deadline.within(ONE_QUESTION)))
    }

    /// Waits for the answers, and remembers what they say besides.
    pub(crate) fn finish(
        &self,
        asked: Asked,
        outside: &mut Outside,
    ) -> Result<Vec<anyhow::Result<Answer>>, Failure> {
        let answers = asked.finish();
        // A wish for silence among the answers counts more than whatever else went wrong, and is
        // remembered even by a run that was told to stop.
        let weights = answers.iter().flatten().filter_map(|answer| answer.used_weight);
        if let Some(weight) = weights.max() {
            outside.counted(&self.host(), weight, self.now());
            log::debug!("{} counts a used weight of {weight} for this minute", self.host());
        }
        let silence = answers.iter().flatten().filter(|answer| answer.wants_silence());
        if let Some(longest) = silence.max_by_key(|answer| silent_until(answer)) {
            return Err(self.note_ban(longest, outside));
        }
        self.http.stop().check(NOTHING_DONE)?;
        Ok(answers)
    }

    pub(crate) fn url(&self, path: &str, query: &str) -> Url {
        let mut url = self.base.clone();
        let base = self.base.path().trim_end_matches('/');
        url.set_path(&format!("{base}{path}"));
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        url
    }

    /// The exchange's time of an answer: its own `Date`, or else asked for.
    pub(crate) fn time_of(
        &self,
        answer: &Answer,
        outside: &mut Outside,
    ) -> Result<Timestamp, Failure> {
        let (at, received) = if let Some(date) = answer.date {
            (date, answer.received)
        } else {
            let answer = self.get_one(TIME, String::new(), outside)?;
            (self.read_time(&answer)?, answer.received)
        };
        let offset_ms = at.millis_since(received);
        outside.memory.clock_offset_ms = Some(offset_ms);
        check_clocks(received, at, offset_ms)?;
        Ok(at)
    }

    fn read_time(&self, answer: &Answer) -> Result<Timestamp, Failure> {
        wire::server_time(&answer.body)
            .ok_or_else(|| Failure::unreachable(format!("{} does not tell the time", self.host())))
    }

    /// Remembers a wish for silence.
    pub(crate) fn note_ban(&self, answer: &Answer, outside: &mut Outside) -> Failure {
        let until = silent_until(answer);
        outside.silence(&self.host(), until);
        self.silenced(&format!("answered with HTTP {} and", answer.status), until)
    }

    fn silenced(&self, why: &str, until: Timestamp) -> Failure {
        Failure::new(
            failure::Kind::Limited,
            format!("{} {why} wants no request before {until}", self.host()),
            "nothing was done; the first run after that time goes on. \
             Other programs on this address count too",
        )
    }
}

/// What a question counts as. **Source**: Binance Spot REST, each endpoint's "Weight"; one that is
/// not listed here counts as the heaviest that is.
fn weight(url: &Url) -> u64 {
    let has = |name: &str| url.query_pairs().any(|(key, _)| key == name);
    let path = url.path();
    let is = |end: &str| path.ends_with(end);
    if is(TIME) || path.contains("/sapi/") {
        // Endpoints of `/sapi` have a budget of their own.
        1
    } else if is(KLINES) {
        2
    } else if is(BOOK_TICKER) {
        if has("symbol") { 2 } else { 4 }
    } else if is("/order") {
        4
    } else if is("/openOrders") {
        if has("symbol") { 6 } else { 80 }
    } else if is("/myTrades") && has("orderId") {
        5
    } else {
        20
    }
}

/// `["BTCUSDT","ETHUSDT"]`.
pub(crate) fn list(symbols: &[String]) -> String {
    format!("[\"{}\"]", symbols.join("\",\""))
}

/// `Retry-After` in seconds; where it makes no sense, as long as the shortest ban or window lasts.
pub(super) fn silent_until(answer: &Answer) -> Timestamp {
    let default = if answer.status == 418 { 120 } else { 60 };
    let seconds: i64 = answer
        .retry_after
        .as_deref()
        .and_then(|text| text.trim().parse().ok())
        .filter(|seconds| *seconds > 0)
        .unwrap_or(default);
    answer.received.plus_millis(seconds.min(LONGEST_BAN_SECONDS) * 1000)
}

fn check_clocks(ours: Timestamp, theirs: Timestamp, offset_ms: i64) -> Result<(), Failure> {
    let apart = offset_ms.saturating_abs();
    if apart <= MOST_CLOCK_OFFSET_MILLIS {
        return Ok(());
    }
    Err(Failure::new(
        failure::Kind::Unreachable,
        format!(
            "the local clock says {ours}, the exchange's {theirs}: {} s apart, more than {}",
            apart / 1000,
            MOST_CLOCK_OFFSET_MILLIS / 1000
        ),
        "set this machine's clock (`timedatectl set-ntp true`); nothing was done",
    ))
}

fn refused_question(asked: &str, answer: &Answer) -> Failure {
    let status = answer.status;
    let error: Option<wire::ApiError> = serde_json::from_slice(&answer.body).ok();
    match error {
        Some(error) if error.code == INVALID_SYMBOL => Failure::new(
            failure::Kind::Unreachable,
            format!("{asked}: there is no such symbol"),
            "look at `SYMBOL_BASE` and `SYMBOL_QUOTE`; nothing was done",
        ),
        Some(error) => Failure::unreachable(format!(
            "{asked}: HTTP {status}, code {}, {}",
            error.code,
            error.msg.chars().filter(|c| !c.is_control()).take(200).collect::<String>()
        )),
        None => Failure::unreachable(format!("{asked}: HTTP {status}")),
    }
}

pub(super) const KLINES: &str = "/api/v3/klines";
const BOOK_TICKER: &str = "/api/v3/ticker/bookTicker";
const EXCHANGE_INFO: &str = "/api/v3/exchangeInfo";
pub(super) const TIME: &str = "/api/v3/time";

pub(super) const INVALID_SYMBOL: i64 = -1121;

/// With the 10 s that telling may take, a run stays below 45 s.
const ALL_QUESTIONS: Duration = Duration::from_secs(30);
const ONE_QUESTION: Duration = Duration::from_secs(12);

pub(super) const MOST_CLOCK_OFFSET_MILLIS: i64 = 60_000;
/// The longest ban there is. **Source**: Binance Spot REST, "IP Limits".
const LONGEST_BAN_SECONDS: i64 = 3 * 24 * 60 * 60;

const NOTHING_DONE: &str = "nothing was done";
