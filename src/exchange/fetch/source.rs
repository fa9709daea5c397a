//! Who is asked for candles: the exchange itself, and where it publishes whole months.
//!
//! Only questions are asked, so they may be repeated; but not more often than leaves room for a
//! trading run that asks from the same address.

use std::cell::Cell;
use std::time::Duration;

use reqwest::Url;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::GOES_ON;
use super::grid::Gap;
use crate::config::Config;
use crate::exchange::binance::{INVALID_SYMBOL, KLINES, TIME, silent_until};
use crate::exchange::dump;
use crate::exchange::http::{Answer, Http, Request};
use crate::exchange::wire;
use crate::failure::{Failure, Kind};
use crate::store::journal::hex;
use crate::trading::market::Symbol;
use crate::trading::time::{Interval, Timestamp};

/// The exchange, and its archive of past months where it has one.
#[derive(Debug)]
pub struct Source {
    http: Http,
    market: Url,
    dumps: Option<Url>,
    bytes: Cell<usize>,
}

/// A candle of the exchange's answer as a line of a dump, in the exchange's own digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// When it began.
    pub open_time: Timestamp,
    /// Twelve columns, no line feed.
    pub line: String,
}

/// A month as it was published.
#[derive(Debug)]
pub struct Archive {
    /// A zip with one CSV in it.
    pub zip: Vec<u8>,
    /// What `sha256sum -c` reads; it fits.
    pub checksum: Vec<u8>,
}

impl Source {
    /// Asks where the configuration says.
    #[must_use]
    pub fn new(config: &Config, http: Http) -> Self {
        let (market, dumps) = (config.market_url.clone(), config.dumps_url.clone());
        Self { http, market, dumps, bytes: Cell::new(0) }
    }

    /// How many bytes it was answered so far.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Whether somebody publishes whole months.
    #[must_use]
    pub fn has_dumps(&self) -> bool {
        self.dumps.is_some()
    }

    /// Goes on unless the process was told to stop.
    pub fn check_stop(&self) -> Result<(), Failure> {
        self.http.stop().check(GOES_ON)
    }

    /// The exchange's time; this machine's has no say in what is closed.
    pub fn now(&self) -> Result<Timestamp, Failure> {
        let (asked, answer) = self.ask_exchange(TIME, None)?;
        wire::server_time(&answer.body)
            .ok_or_else(|| unreachable(format!("{asked}: the answer is no time")))
    }

    /// The first candle at or after this moment, if there is one.
    pub fn first(
        &self,
        symbol: &Symbol,
        interval: Interval,
        from: Timestamp,
    ) -> Result<Option<Timestamp>, Failure> {
        let rows = self.page(symbol, interval, from, None, 1)?;
        Ok(rows.first().map(|row| row.open_time))
    }

    /// What there is of missing candles.
    ///
    /// **Shape**: oldest first.
    pub fn candles(
        &self,
        symbol: &Symbol,
        interval: Interval,
        gap: &Gap,
    ) -> Result<Vec<Row>, Failure> {
        let mut all: Vec<Row> = Vec::new();
        let mut from = gap.from;
        while from <= gap.to {
            let page = self.page(symbol, interval, from, Some(gap.to), MOST_ROWS)?;
            let Some(last) = page.last() else { break };
            from = last.open_time.plus_millis(1);
            all.extend(page);
        }
        Ok(all)
    }

    /// A month's archive; `None` where it is not published, or not yet.
    ///
    /// **Errors**: one that does not fit its checksum, twice.
    pub fn archive(
        &self,
        symbol: &Symbol,
        interval: Interval,
        name: &str,
    ) -> Result<Option<Archive>, Failure> {
        let mut tries = 0;
        loop {
            tries += 1;
            let Some(checksum) = self.checksum(symbol, interval, name)? else { return Ok(None) };
            let Some((asked, zip)) = self.published(symbol, interval, name)? else {
                return Ok(None);
            };
            let expected = expected(&checksum, name)
                .map_err(|why| unreachable(format!("{asked}.CHECKSUM: {why}")))?;
            let found = hex(&Sha256::digest(&zip));
            if found == expected {
                return Ok(Some(Archive { zip, checksum }));
            }
            // Binance replaces files now and then: the two may have been asked for around that.
            if tries == 2 {
                return Err(Failure::untrusted(
                    format!(
                        "{asked}: the archive has the SHA-256 {found}, its checksum file says {expected}"
                    ),
                    format!("it was not kept; {GOES_ON}"),
                ));
            }
        }
    }

    /// The checksum file of a month's archive; `None` where it is not published, or not yet.
    pub fn checksum(
        &self,
        symbol: &Symbol,
        interval: Interval,
        name: &str,
    ) -> Result<Option<Vec<u8>>, Failure> {
        let file = self.published(symbol, interval, &format!("{name}.CHECKSUM"))?;
        Ok(file.map(|(_, bytes)| bytes))
    }

    fn published(
        &self,
        symbol: &Symbol,
        interval: Interval,
        name: &str,
    ) -> Result<Option<(String, Vec<u8>)>, Failure> {
        let Some(base) = &self.dumps else { return Ok(None) };
        let path = format!("/data/spot/monthly/klines/{}/{interval}/{name}", symbol.code());
        let (asked, answer) = self.ask(base, &path, None, MOST_ARCHIVE_BYTES, ARCHIVE_TIME)?;
        match answer.status {
            200 => Ok(Some((asked, answer.body))),
            404 => Ok(None),
            status => Err(unreachable(format!("{asked}: HTTP {status}"))),
        }
    }

    /// Candles from this moment on, `limit` at most.
    fn page(
        &self,
        symbol: &Symbol,
        interval: Interval,
        from: Timestamp,
        to: Option<Timestamp>,
        limit: usize,
    ) -> Result<Vec<Row>, Failure> {
        let (code, start) = (symbol.code(), from.as_millis());
        let end = to.map(|to| format!("&endTime={}", to.as_millis())).unwrap_or_default();
        let query =
            format!("symbol={code}&interval={interval}&startTime={start}{end}&limit={limit}");
        let (asked, answer) = self.ask_exchange(KLINES, Some(&query))?;
        if answer.status != 200 {
            let error: Option<wire::ApiError> = serde_json::from_slice(&answer.body).ok();
            return Err(match error {
                Some(error) if error.code == INVALID_SYMBOL => Failure::configuration(
                    format!("{asked}: there is no symbol {code}"),
                    "give a symbol of this exchange, such as `BTC/USDT`",
                ),
                Some(error) => unreachable(format!(
                    "{asked}: HTTP {}, code {}, {}",
                    answer.status, error.code, error.msg
                )),
                None => unreachable(format!("{asked}: HTTP {}", answer.status)),
            });
        }
        let answered: Vec<Vec<Value>> = serde_json::from_slice(&answer.body).map_err(|error| {
            unreachable(format!("{asked}: the answer is no list of candles: {error}"))
        })?;
        let mut rows: Vec<Row> = Vec::new();
        for (number, cells) in (1..).zip(&answered) {
            let distrusted = |why: &str| {
                let message = format!("{asked}: candle {number} of the answer {why}");
                Failure::untrusted(message, format!("it was not kept; {GOES_ON}"))
            };
            let row = row(cells).map_err(|why| distrusted(&why))?;
            if row.open_time < from || rows.last().is_some_and(|it| it.open_time >= row.open_time) {
                return Err(distrusted(&format!("is out of order: {}", row.open_time)));
            }
            rows.push(row);
        }
        // How `endTime` is meant is not documented for candles.
        rows.retain(|row| to.is_none_or(|to| row.open_time <= to));
        Ok(rows)
    }

    /// Asks the exchange itself, and waits where much of its patience for this minute is used.
    fn ask_exchange(&self, path: &str, query: Option<&str>) -> Result<(String, Answer), Failure> {
        let (asked, answer) =
            self.ask(&self.market, path, query, MOST_ANSWER_BYTES, ANSWER_TIME)?;
        if answer.used_weight.is_some_and(|weight| weight > CALM_WEIGHT) {
            let at = answer.date.unwrap_or(answer.received).as_millis();
            // The time of an answer is in whole seconds.
            let left = 61_000 - at.rem_euclid(60_000);
            log::debug!("{asked}: waiting {left} ms, this address asked much in this minute");
            self.http.wait(Duration::from_millis(left.unsigned_abs()));
            self.check_stop()?;
        }
        Ok((asked, answer))
    }

    /// An answer that is none of a server in trouble, and how the question reads.
    fn ask(
        &self,
        base: &Url,
        path: &str,
        query: Option<&str>,
        most_bytes: usize,
        time: Duration,
    ) -> Result<(String, Answer), Failure> {
        let host = base.origin().ascii_serialization();
        let mut url = base.clone();
        url.set_path(&format!("{}{path}", base.path().trim_end_matches('/')));
        url.set_query(query);
        let asked = match query {
            Some(query) => format!("{host} was asked for {path}?{query}"),
            None => format!("{host} was asked for {path}"),
        };
        let mut pauses = PAUSES.into_iter();
        loop {
            self.check_stop()?;
            let request = Request::get(url.clone()).up_to(most_bytes);
            let answer = self.http.ask_one(request, self.http.clock().deadline(time));
            self.check_stop()?;
            let why = match answer {
                Ok(answer) if answer.wants_silence() => return Err(silenced(&host, &answer)),
                Ok(answer) if answer.status < 500 => {
                    self.bytes.set(self.bytes.get() + answer.body.len());
                    return Ok((asked, answer));
                }
                Ok(answer) => format!("HTTP {}", answer.status),
                Err(error) => format!("{error:#}"),
            };
            let Some(pause) = pauses.next() else {
                let tries = PAUSES.len() + 1;
                return Err(unreachable(format!("{asked} {tries} times: {why}")));
            };
            log::debug!("{asked}: {why}; once more in {pause:?}");
            self.http.wait(pause);
        }
    }
}

/// The SHA-256 that a checksum file has for the archive of this name, in lower-case digits.
///
/// **Errors**: what is wrong with the file.
pub(super) fn expected(checksum: &[u8], name: &str) -> Result<String, String> {
    let text = std::str::from_utf8(checksum).unwrap_or_default();
    let (digits, file) = text.trim_end().split_once(char::is_whitespace).unwrap_or_default();
    let is_hash = digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !is_hash || file.trim_start_matches([' ', '*']) != name {
        return Err(format!("it does not say `SHA-256  {name}`"));
    }
    Ok(digits.to_ascii_lowercase())
}

/// The line of a dump that says what the exchange answered.
fn row(cells: &[Value]) -> Result<Row, String> {
    let mut columns = Vec::new();
    for cell in cells {
        let text = match cell {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let is_number = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'-');
        if text.is_empty() || !text.bytes().all(is_number) {
            let shown: String = text.chars().take(40).collect();
            return Err(format!("has `{shown}` where a number belongs"));
        }
        columns.push(text);
    }
    let line = columns.join(",");
    let open_time = dump::candle(&line)?.open_time;
    Ok(Row { open_time, line })
}

fn silenced(host: &str, answer: &Answer) -> Failure {
    let (status, until) = (answer.status, silent_until(answer));
    Failure::new(
        Kind::Limited,
        format!("{host} answered with HTTP {status} and wants no request before {until}"),
        format!("{GOES_ON}, after that time. Other programs on this address count too"),
    )
}

fn unreachable(message: String) -> Failure {
    Failure::new(Kind::Unreachable, message, GOES_ON)
}

/// As many as the exchange gives at once. **Source**: Binance Spot REST, "Kline/Candlestick data".
const MOST_ROWS: usize = 1000;
/// 1000 candles are about 170 kB.
const MOST_ANSWER_BYTES: usize = 1024 * 1024;
/// A month of candles of one minute is about 3 MB.
const MOST_ARCHIVE_BYTES: usize = 64 * 1024 * 1024;

/// For one question; the exchange itself gives up after 10 s.
const ANSWER_TIME: Duration = Duration::from_secs(15);
const ARCHIVE_TIME: Duration = Duration::from_secs(120);

/// Before a question is asked once more.
const PAUSES: [Duration; 4] = [
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// Of the 6000 a minute that an address may use (1200 at Binance.US). The rest is for trading.
const CALM_WEIGHT: u64 = 1000;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_becomes_a_line_in_the_same_digits() {
        let cells = json!([
            1_784_538_000_000_i64,
            "64102.10000000",
            "64188.0",
            "64050.01",
            "64150.2200",
            "512.40312000",
            1_784_541_599_999_i64,
            "32867120.11203400",
            98123,
            "250.1",
            "16041233.90112000",
            "0"
        ]);
        let cells = cells.as_array().expect("a row");
        let row_of = |cells: &[Value]| row(cells).map(|row| row.line);
        assert_eq!(
            row_of(cells).expect("a candle"),
            "1784538000000,64102.10000000,64188.0,64050.01,64150.2200,512.40312000,1784541599999,\
             32867120.11203400,98123,250.1,16041233.90112000,0"
        );
        for (column, value, why) in [
            (1, json!("NaN"), "has `NaN` where a number belongs"),
            (5, json!("1,2"), "has `1,2` where a number belongs"),
            (5, json!(""), "has `` where a number belongs"),
            (5, json!(null), "has `null` where a number belongs"),
            (4, json!("1.2.3"), "the close price is `1.2.3`"),
            (0, json!("-1"), "the open time is `-1`"),
        ] {
            let mut bad = cells.clone();
            bad[column] = value;
            assert_eq!(row_of(&bad).expect_err("no candle"), why);
        }
        let told = row_of(cells.split_at(11).0).expect_err("too few");
        assert_eq!(told, "has 11 columns, 12 are expected");
    }

    #[test]
    fn a_checksum_file_names_its_archive() {
        let hash = "0123456789abcdef".repeat(4);
        let read = |text: &str| expected(text.as_bytes(), "A.zip");
        for good in [format!("{hash}  A.zip\n"), format!("{} *A.zip", hash.to_uppercase())] {
            assert_eq!(read(&good), Ok(hash.clone()), "{good}");
        }
        for bad in ["", "<html>", &hash, &format!("{hash}  B.zip"), &format!("{hash}0  A.zip")] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
