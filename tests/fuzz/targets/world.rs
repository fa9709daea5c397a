//! What stands in for disk, network and clock, and what an honest exchange answers.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, mpsc};
use std::time::Duration;

use ouroboros::clock::{Clock, Deadline, Time};
use ouroboros::exchange::http::{Answer, Carried, Carrier, Http, Request};
use ouroboros::failure::Failure;
use ouroboros::stop::Stop;
use ouroboros::store::disk::{Disk, Handle, How};
use ouroboros::trading::market::{Asset, Pair, Symbol};
use ouroboros::trading::time::Timestamp;
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::Value;

/// When everything here happens: a few seconds after an hour's candle, as in the documented answers.
pub(crate) fn now() -> Timestamp {
    Timestamp::from_millis(1_784_545_208_123).expect("a moment of the calendar")
}

pub(crate) fn pair() -> Pair {
    let asset = |code: &str| Asset::new(code).expect("an asset");
    let symbol = |code: &str| Symbol { base: asset(code), quote: asset("USDT") };
    Pair::new(symbol("BTC"), symbol("ETH")).expect("a pair")
}

/// What every message of a failure must be: something that can be shown to a person.
#[track_caller]
pub(crate) fn assert_plain(failure: &Failure) {
    let Failure { message, hint, .. } = failure;
    assert!(!message.is_empty(), "a failure says what failed");
    for text in [message, hint] {
        assert!(!text.chars().any(char::is_control), "control characters are shown: {text:?}");
        assert!(text.chars().count() <= 4001, "{} bytes are shown", text.len());
    }
}

/// A number as it stands there, or nothing where it is not written the way Binance writes one. By
/// hand, so that it can judge the parser that is under test.
pub(crate) fn exact(text: &str) -> Option<Decimal> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |rest| (-1, rest));
    let (whole, decimals) = digits.split_once('.').unwrap_or((digits, "0"));
    let are_digits =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(whole) || !are_digits(decimals) {
        return None;
    }
    let decimals = decimals.trim_end_matches('0');
    let mut mantissa: i128 = 0;
    for digit in whole.bytes().chain(decimals.bytes()) {
        mantissa = mantissa.checked_mul(10)?.checked_add(i128::from(digit - b'0'))?;
    }
    let scale = u32::try_from(decimals.len()).ok()?;
    Decimal::try_from_i128_with_scale(sign * mantissa, scale).ok()
}

/// JSON read in another way than by the parser under test. Nothing where this way is the stricter one:
/// a field that nobody reads may have broken text, or be nested without end.
pub(crate) fn json_of(bytes: &[u8]) -> Option<Value> {
    serde_json::from_str(&String::from_utf8_lossy(bytes)).ok()
}

/// Whether it can be an object at all. Each question is answered with either objects or lists, and
/// what is neither is tried as a list.
pub(crate) fn is_object(bytes: &[u8]) -> bool {
    bytes.trim_ascii_start().starts_with(b"{")
}

/// A small number that depends on every byte: where a target has a choice to make.
pub(crate) fn choice(bytes: &[u8]) -> usize {
    let mixed = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    });
    usize::try_from(mixed >> 33).expect("31 bits")
}

/// A disk in memory.
#[derive(Debug, Default, Clone)]
pub(crate) struct Memory(Arc<Mutex<BTreeMap<PathBuf, Vec<u8>>>>);

impl Memory {
    pub(crate) fn with(self, path: impl Into<PathBuf>, bytes: &[u8]) -> Self {
        self.files().insert(path.into(), bytes.to_vec());
        self
    }

    pub(crate) fn read(&self, path: impl AsRef<Path>) -> Vec<u8> {
        self.files().get(path.as_ref()).cloned().unwrap_or_default()
    }

    pub(crate) fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<PathBuf, Vec<u8>>> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl Disk for Memory {
    fn open(&self, path: &Path, how: How) -> anyhow::Result<Option<Box<dyn Handle>>> {
        let is_there = self.exists(path);
        match how {
            How::Read if !is_there => return Ok(None),
            How::New if is_there => return Err(io::Error::from(ErrorKind::AlreadyExists).into()),
            How::Read | How::Write | How::New => {}
        }
        self.files().entry(path.to_owned()).or_default();
        Ok(Some(Box::new(Open { disk: self.clone(), path: path.to_owned(), at: 0 })))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut files = self.files();
        let bytes = files.remove(from).ok_or(ErrorKind::NotFound)?;
        files.insert(to.to_owned(), bytes);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.files().remove(path).map(|_| ()).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn sync_folder(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }

    fn make_folder(&self, _: &Path) -> anyhow::Result<()> {
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        self.files().contains_key(path)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let files = self.files();
        let inside = files.keys().filter(|path| path.parent() == Some(folder));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn lock(&self, _: &Path, _: &str) -> anyhow::Result<Option<Box<dyn Any>>> {
        Ok(Some(Box::new(())))
    }
}

struct Open {
    disk: Memory,
    path: PathBuf,
    at: usize,
}

impl Open {
    fn bytes<T>(&mut self, work: impl FnOnce(&mut Vec<u8>, &mut usize) -> T) -> T {
        let mut files = self.disk.files();
        work(files.entry(self.path.clone()).or_default(), &mut self.at)
    }
}

impl Read for Open {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.bytes(|bytes, at| {
            let rest = bytes.get(*at..).unwrap_or_default();
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            *at += length;
            length
        }))
    }
}

impl Write for Open {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.bytes(|bytes, at| {
            let end = *at + buffer.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[*at..end].copy_from_slice(buffer);
            *at = end;
        });
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Open {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(at) = to else { return Err(ErrorKind::Unsupported.into()) };
        self.at = usize::try_from(at).map_err(io::Error::other)?;
        Ok(at)
    }
}

impl Handle for Open {
    fn length(&self) -> io::Result<u64> {
        let length = self.disk.files().get(&self.path).map_or(0, Vec::len);
        u64::try_from(length).map_err(io::Error::other)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let length = usize::try_from(length).map_err(io::Error::other)?;
        self.disk.files().entry(self.path.clone()).or_default().resize(length, 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// What a question or an order is answered with.
#[derive(Clone)]
pub(crate) struct Said {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) body: Vec<u8>,
}

impl Said {
    pub(crate) fn good(body: &[u8]) -> Self {
        Self { status: 200, retry_after: None, body: body.to_vec() }
    }
}

/// A client of an exchange that answers what `answer` says, and an honest one's answer where that
/// says nothing. Waiting takes no time.
pub(crate) fn http(answer: impl Fn(&Request) -> Option<Said> + Send + Sync + 'static) -> Http {
    let clock = Clock::of(Still(AtomicU64::new(0)));
    Http::over(Arc::new(Script(Box::new(answer))), clock, Stop::default())
}

type Answering = Box<dyn Fn(&Request) -> Option<Said> + Send + Sync>;

struct Script(Answering);

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a script")
    }
}

impl Carrier for Script {
    fn carry(&self, requests: Vec<Request>, _: &Deadline, answers: &mpsc::Sender<Carried>) {
        for (number, request) in requests.into_iter().enumerate() {
            let Said { status, retry_after, body } =
                (self.0)(&request).unwrap_or_else(|| honest(&request));
            let (date, received) = (Some(now()), now());
            let answer = Answer { status, date, received, retry_after, used_weight: None, body };
            answers.send((number, Ok(answer))).expect("somebody listens");
        }
    }
}

#[derive(Debug)]
struct Still(AtomicU64);

impl Time for Still {
    fn now(&self) -> Timestamp {
        now()
    }

    fn passed(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::Relaxed))
    }

    fn sleep(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).expect("a short while");
        self.0.fetch_add(millis.max(1), Ordering::Relaxed);
    }
}

pub(crate) fn is_about(request: &Request, path: &str) -> bool {
    request.url.path().ends_with(path)
}

pub(crate) fn names(request: &Request, symbol: &str) -> bool {
    let query = request.url.query().unwrap_or_default();
    query.split('&').any(|pair| pair.strip_prefix("symbol=") == Some(symbol))
}

fn honest(request: &Request) -> Said {
    let (path, query) = (request.url.path(), request.url.query().unwrap_or_default());
    let body: &[u8] = match path.rsplit('/').next().expect("a last part") {
        "account" => include_bytes!("../../corpus/account/documented-account"),
        "exchangeInfo" => RULES,
        "klines" if query.contains("ETHUSDT") => ETH_KLINES,
        "klines" => include_bytes!("../../corpus/klines/documented"),
        "bookTicker" if query.contains("symbols=") => {
            include_bytes!("../../corpus/klines/documented-tickers")
        }
        "bookTicker" if query.contains("ETHUSDT") => ETH_TICKER,
        "bookTicker" => include_bytes!("../../corpus/klines/documented-ticker"),
        "myTrades" if query.contains("symbol=BTCUSDT") => {
            include_bytes!("../../corpus/account/documented-trades")
        }
        "openOrders" | "allOrders" | "myTrades" => b"[]",
        "time" => br#"{"serverTime":1784545208123}"#,
        "apiRestrictions" => RESTRICTIONS,
        "order" if request.method == Method::POST => {
            return Said { status: 504, ..Said::good(b"<html>") };
        }
        "order" => {
            let body = br#"{"code":-2013,"msg":"Order does not exist."}"#;
            return Said { status: 400, ..Said::good(body) };
        }
        _ => b"{}",
    };
    Said::good(body)
}

const ETH_KLINES: &[u8] = br#"[
 [1784538000000,"3190","3201","3189","3195.5","512",1784541599999,"1","9","1","1","0"],
 [1784541600000,"3195.5","3200","3190","3190.01","478",1784545199999,"1","9","1","1","0"],
 [1784545200000,"3190.01","3199.9","3190","3199.9","1.2",1784548799999,"1","9","1","1","0"]]"#;
/// Short: nearly every target asks for it.
const RULES: &[u8] = br#"{"symbols":[
 {"symbol":"BTCUSDT","status":"TRADING","filters":[
  {"filterType":"LOT_SIZE","minQty":"0.00001","maxQty":"9000","stepSize":"0.00001"},
  {"filterType":"NOTIONAL","minNotional":"5","applyMinToMarket":true}]},
 {"symbol":"ETHUSDT","status":"TRADING","filters":[
  {"filterType":"LOT_SIZE","minQty":"0.0001","maxQty":"9000","stepSize":"0.0001"},
  {"filterType":"NOTIONAL","minNotional":"5","applyMinToMarket":true}]}]}"#;
const ETH_TICKER: &[u8] = br#"{"symbol":"ETHUSDT","bidPrice":"3199.89000000","bidQty":"12.4",
    "askPrice":"3199.90000000","askQty":"0.02"}"#;
const RESTRICTIONS: &[u8] = br#"{"ipRestrict":true,"enableReading":true,"enableWithdrawals":false,
    "enableInternalTransfer":false,"permitsUniversalTransfer":false,
    "enableSpotAndMarginTrading":true}"#;
