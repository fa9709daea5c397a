//! One variable's text made into one value.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use reqwest::Url;
use rust_decimal::Decimal;
use secrecy::SecretString;

use super::{Bot, Telegram, VARIABLES, Variable};
use crate::exchange::sign::is_plain;
use crate::failure::Failure;
use crate::trading::market::{Pair, Symbol};
use crate::trading::money::{Amount, BasisPoints, DECIMALS};
use crate::trading::time::Interval;

/// The variables as they were written; the environment's win over the file's, and an empty one
/// counts as not set.
pub(super) struct Settings {
    environment: BTreeMap<OsString, OsString>,
    file: BTreeMap<String, String>,
}

impl Settings {
    pub(super) fn new(
        environment: BTreeMap<OsString, OsString>,
        file: BTreeMap<String, String>,
    ) -> Result<Self, Failure> {
        let settings = Self { environment, file };
        for variable in VARIABLES {
            settings.text(variable.name)?;
        }
        Ok(settings)
    }

    fn text(&self, name: &str) -> Result<Option<&str>, Failure> {
        Ok(self.in_environment(name)?.or(self.in_file(name)))
    }

    pub(super) fn in_environment(&self, name: &str) -> Result<Option<&str>, Failure> {
        match self.environment.get(std::ffi::OsStr::new(name)) {
            Some(value) if !value.is_empty() => value.to_str().map(Some).ok_or_else(|| {
                Failure::configuration(format!("`{name}` is not UTF-8"), "write it in plain text")
            }),
            _ => Ok(None),
        }
    }

    pub(super) fn in_file(&self, name: &str) -> Option<&str> {
        self.file.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// What is said of a value that is not allowed. A secret is not shown.
    pub(super) fn refused(&self, name: &str, allowed: &str) -> Failure {
        let is_secret = VARIABLES.iter().any(|it| it.name == name && it.is_secret);
        let message = match self.text(name) {
            Ok(Some(value)) if name.ends_with("_URL") && (is_public(value) || !is_secret) => {
                format!("`{name}` is `{}`, which is not {allowed}", address(value))
            }
            Ok(Some(value)) if !is_secret => {
                format!("`{name}` is `{}`, which is not {allowed}", shortened(value))
            }
            Ok(Some(_)) => format!("`{name}` (its value is not shown) is not {allowed}"),
            _ => format!("`{name}` is not {allowed}"),
        };
        Failure::configuration(message, format!("set `{name}` to {allowed}"))
    }

    pub(super) fn dry_run(&self) -> Result<bool, Failure> {
        match self.text("DRY_RUN")?.map(str::to_ascii_lowercase).as_deref() {
            None | Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(self.refused("DRY_RUN", "`true` or `false`")),
        }
    }

    pub(super) fn pair(&self) -> Result<Pair, Failure> {
        let numerator = self.symbol("SYMBOL_BASE", "BTC/USDT")?;
        let denominator = self.symbol("SYMBOL_QUOTE", "ETH/USDT")?;
        let (left, right) = (numerator.to_string(), denominator.to_string());
        Pair::new(numerator, denominator).ok_or_else(|| {
            Failure::configuration(
                format!(
                    "`SYMBOL_BASE` is `{left}` and `SYMBOL_QUOTE` is `{right}`, which are not two \
                         different symbols against one quote asset"
                ),
                "set both to symbols such as `BTC/USDT` and `ETH/USDT`",
            )
        })
    }

    fn symbol(&self, name: &str, default: &str) -> Result<Symbol, Failure> {
        let text = self.text(name)?.unwrap_or(default);
        text.parse().map_err(|allowed: String| self.refused(name, &allowed))
    }

    pub(super) fn interval(&self) -> Result<Interval, Failure> {
        let name = self.text("TIMEFRAME")?.unwrap_or("15m");
        name.parse().map_err(|allowed: String| self.refused("TIMEFRAME", &allowed))
    }

    pub(super) fn whole(
        &self,
        name: &str,
        default: usize,
        allowed: RangeInclusive<usize>,
    ) -> Result<usize, Failure> {
        let Some(text) = self.text(name)? else {
            return Ok(default);
        };
        let plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|value| plain && allowed.contains(value)).ok_or_else(|| {
            let (least, most) = (allowed.start(), allowed.end());
            self.refused(name, &format!("a whole number from {least} to {most}"))
        })
    }

    /// A count that is off when it is 0.
    pub(super) fn limit(&self, name: &str) -> Result<Option<u32>, Failure> {
        let count = self.whole(name, 0, 0..=1_000_000)?;
        Ok(u32::try_from(count).ok().filter(|count| *count > 0))
    }

    /// A number of at least 0 that is compared with a statistic.
    pub(super) fn threshold(&self, name: &str, default: f64) -> Result<f64, Failure> {
        let Some(text) = self.text(name)? else {
            return Ok(default);
        };
        plain_decimal(text, 6, 8).and_then(|_| text.parse().ok()).ok_or_else(|| {
            self.refused(name, "a number of at least 0 with at most 8 decimals such as `2.0`")
        })
    }

    pub(super) fn amount(&self, name: &str, default: u32) -> Result<Amount, Failure> {
        let value = match self.text(name)? {
            None => Some(Decimal::from(default)),
            Some(text) => plain_decimal(text, 10, DECIMALS),
        };
        value.filter(|value| !value.is_zero()).and_then(Amount::new).ok_or_else(|| {
            self.refused(
                name,
                "an amount above 0, below 10000000000, with at most 8 decimals, such as `150`",
            )
        })
    }

    /// An amount that is off when it is 0.
    pub(super) fn amount_or_off(&self, name: &str) -> Result<Option<Amount>, Failure> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        plain_decimal(text, 10, DECIMALS)
            .and_then(Amount::new)
            .map(|amount| Some(amount).filter(|amount| *amount > Amount::ZERO))
            .ok_or_else(|| {
                self.refused(name, "0 for off, or an amount with at most 8 decimals such as `50`")
            })
    }

    pub(super) fn basis_points(&self, name: &str, default: u32) -> Result<BasisPoints, Failure> {
        let value = match self.text(name)? {
            None => Some(Decimal::from(default)),
            Some(text) => plain_decimal(text, 4, 4),
        };
        value.and_then(BasisPoints::new).ok_or_else(|| {
            self.refused(name, "basis points from 0 to 9999 with at most 4 decimals such as `7.5`")
        })
    }

    pub(super) fn path(&self, name: &str) -> Result<Option<PathBuf>, Failure> {
        Ok(self.text(name)?.map(PathBuf::from))
    }

    /// The first of the folders that systemd hands out, separated by colons.
    pub(super) fn first_path(&self, name: &str) -> Result<Option<PathBuf>, Failure> {
        Ok(self
            .text(name)?
            .and_then(|paths| paths.split(':').next())
            .filter(|path| !path.is_empty())
            .map(PathBuf::from))
    }

    /// The address of an API: a base without query, encrypted unless it is this very machine.
    pub(super) fn url(&self, name: &str) -> Result<Option<Url>, Failure> {
        let Some(url) = self.secret_url(name)? else {
            return Ok(None);
        };
        if url.query().is_some() || url.fragment().is_some() {
            return Err(self.refused(name, "an address without `?` and `#`"));
        }
        Ok(Some(url))
    }

    pub(super) fn secret_url(&self, name: &str) -> Result<Option<Url>, Failure> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let refused = |allowed| Err(self.refused(name, allowed));
        let Ok(url) = Url::parse(text) else {
            return refused("an address such as `https://example.org`");
        };
        if url.host_str().is_none_or(str::is_empty) {
            return refused("an address with a host");
        }
        if !url.username().is_empty() || url.password().is_some() {
            return refused("an address without a user's name and password");
        }
        match url.scheme() {
            "https" => Ok(Some(url)),
            "http" if is_loopback(&url) => Ok(Some(url)),
            "http" => refused("an `https://` address (`http://` is for this machine only)"),
            _ => refused("an `https://` address"),
        }
    }

    pub(super) fn telegram(&self) -> Result<Option<Telegram>, Failure> {
        let bot = self.bot()?;
        let chat_id = self.text("TELEGRAM_CHAT_ID")?;
        let (bot, chat_id) = match (bot, chat_id) {
            (None, None) => return self.nobody_is_told(),
            (Some(bot), Some(chat_id)) => (bot, chat_id),
            (Some(_), None) => return Err(half_set("TELEGRAM_BOT_TOKEN", "TELEGRAM_CHAT_ID")),
            (None, Some(_)) => return Err(half_set("TELEGRAM_CHAT_ID", "TELEGRAM_BOT_TOKEN")),
        };
        let is_channel = chat_id.strip_prefix('@').is_some_and(|name| !name.is_empty());
        if chat_id.parse::<i64>().is_err() && !is_channel {
            return Err(self.refused("TELEGRAM_CHAT_ID", "a number or `@channel`"));
        }
        Ok(Some(Telegram {
            bot,
            chat_id: chat_id.to_owned(),
            digest_at: self.time_of_day("DAILY_DIGEST_UTC")?,
            commander: self.commander(chat_id)?,
        }))
    }

    /// Who tells.
    pub(super) fn bot(&self) -> Result<Option<Bot>, Failure> {
        let api_url = match self.url("TELEGRAM_API_URL")? {
            Some(url) => url,
            None => Url::parse(TELEGRAM_API_URL).expect("a constant URL parses"),
        };
        let Some(token) = self.text("TELEGRAM_BOT_TOKEN")? else { return Ok(None) };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-');
        if !token.bytes().all(plain) {
            return Err(self.refused("TELEGRAM_BOT_TOKEN", "a token as BotFather gives it"));
        }
        Ok(Some(Bot { api_url, token: SecretString::from(token) }))
    }

    /// What is set for a bot that isn't.
    fn nobody_is_told(&self) -> Result<Option<Telegram>, Failure> {
        for name in ["DAILY_DIGEST_UTC", "TELEGRAM_COMMANDS", "TELEGRAM_USER_ID"] {
            if self.text(name)?.is_some_and(|value| !value.eq_ignore_ascii_case("off")) {
                return Err(half_set(name, "TELEGRAM_BOT_TOKEN"));
            }
        }
        Ok(None)
    }

    /// Whose commands are read. In a chat of two it is the one who is written to.
    fn commander(&self, chat_id: &str) -> Result<Option<i64>, Failure> {
        let user = match self.text("TELEGRAM_USER_ID")? {
            None => chat_id.parse().ok().filter(|id| *id > 0),
            Some(text) => match text.parse() {
                Ok(id) if id > 0 => Some(id),
                Ok(_) | Err(_) => {
                    return Err(self.refused("TELEGRAM_USER_ID", "a user's number, above 0"));
                }
            },
        };
        match self.text("TELEGRAM_COMMANDS")?.map(str::to_ascii_lowercase).as_deref() {
            None | Some("off") => Ok(None),
            Some("on") if user.is_some() => Ok(user),
            Some("on") => Err(Failure::configuration(
                format!(
                    "`TELEGRAM_COMMANDS` is `on`, but in the chat `{chat_id}` anybody may write: \
                     `TELEGRAM_USER_ID` is not set"
                ),
                "set `TELEGRAM_USER_ID` to your own number; `ouroboros telegram-setup` shows it",
            )),
            Some(_) => Err(self.refused("TELEGRAM_COMMANDS", "`on` or `off`")),
        }
    }

    /// So long after midnight.
    fn time_of_day(&self, name: &str) -> Result<Option<Duration>, Failure> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        let part = |text: &str, end: u64| {
            let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
            text.parse().ok().filter(|value: &u64| is_plain && *value < end)
        };
        let parsed = text.split_once(':').and_then(|(hours, minutes)| {
            Some(Duration::from_secs((part(hours, 24)? * 60 + part(minutes, 60)?) * 60))
        });
        let allowed = "a time of day in UTC such as `08:00`";
        parsed.map(Some).ok_or_else(|| self.refused(name, allowed))
    }

    /// Where figures go. Other names are not read by `node_exporter`.
    pub(super) fn metrics_file(&self) -> Result<Option<PathBuf>, Failure> {
        let path = self.path("METRICS_FILE")?;
        let is_read = |path: &PathBuf| path.extension().is_some_and(|end| end == "prom");
        if path.as_ref().is_some_and(|path| !is_read(path)) {
            let allowed = "a file whose name ends in `.prom`, as node_exporter wants it";
            return Err(self.refused("METRICS_FILE", allowed));
        }
        Ok(path)
    }

    /// How long after its time stamp a signed request may still be accepted.
    pub(super) fn recv_window_ms(&self) -> Result<u32, Failure> {
        let millis = self.whole("RECV_WINDOW_MS", 5000, 1..=60_000)?;
        Ok(u32::try_from(millis).expect("it is at most 60000"))
    }

    /// How long after its last possible acceptance an order may still come to light.
    pub(super) fn settle_seconds(&self) -> Result<u32, Failure> {
        let seconds = self.whole("SETTLE_SECONDS", 660, 60..=86_400)?;
        Ok(u32::try_from(seconds).expect("it is at most 86400"))
    }

    pub(super) fn check_live_variables(&self) -> Result<(), Failure> {
        self.recv_window_ms()?;
        self.settle_seconds()?;
        for name in ["BINANCE_API_KEY", "BINANCE_API_SECRET"] {
            if self.text(name)?.is_some_and(|secret| !is_plain(secret)) {
                return Err(self.refused(name, KEY));
            }
        }
        if self.text("BINANCE_API_SECRET")?.is_some() && self.text(PRIVATE_KEY_FILE)?.is_some() {
            return Err(both_set("`BINANCE_API_SECRET`"));
        }
        Ok(())
    }

    /// Names that are nearly one of ours: a limit that is misspelt does not bind.
    pub(super) fn misspelt(&self) -> Vec<String> {
        let environment = self.environment.keys().filter_map(|name| name.to_str());
        let names = self.file.keys().map(String::as_str).chain(environment);
        let ours: Vec<(&Variable, u64)> =
            VARIABLES.iter().map(|it| (it, letters(it.name))).collect();
        names
            .filter(|name| !VARIABLES.iter().any(|it| it.name == *name))
            .filter_map(|name| {
                let theirs = letters(name);
                // An environment has a hundred names, and the exact answer for all of them would
                // cost more than a handshake. Each slip of the pen changes the length by one at
                // most, and puts one letter in the place of another.
                let is_near = |(it, ours): &&(&Variable, u64)| {
                    it.name.len().abs_diff(name.len()) <= 2
                        && (ours ^ theirs).count_ones() <= 4
                        && strsim::damerau_levenshtein(it.name, name) <= 2
                };
                let (meant, _) = ours.iter().find(is_near)?;
                Some(format!("`{name}` is not a variable; did you mean `{}`?", meant.name))
            })
            .collect()
    }
}

/// What is said of a secret, named by its place, beside a key file.
pub(super) fn both_set(secret: &str) -> Failure {
    Failure::configuration(
        format!("{secret} and `{PRIVATE_KEY_FILE}` are both set"),
        "keep the one that belongs to the key, remove the other",
    )
}

/// Which letters a name has.
fn letters(name: &str) -> u64 {
    name.bytes().fold(0, |letters, byte| letters | 1_u64.rotate_left(u32::from(byte)))
}

fn half_set(set: &str, missing: &str) -> Failure {
    Failure::configuration(format!("`{set}` is set but `{missing}` is not"), "set both, or neither")
}

/// Digits with at most one dot between them: no sign, exponent, blank or comma.
fn plain_decimal(text: &str, most_digits: usize, most_decimals: u32) -> Option<Decimal> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let fits = whole.len() <= most_digits && u32::try_from(decimals.len()).ok()? <= most_decimals;
    (digits(whole) && digits(decimals) && fits).then(|| text.parse().ok()).flatten()
}

fn is_loopback(url: &Url) -> bool {
    // `host_str` keeps the brackets of an IPv6 address.
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let address: Option<std::net::IpAddr> = host.parse().ok();
    host == "localhost" || address.is_some_and(|address| address.is_loopback())
}

/// Whether an address has a host that can be shown without what comes before or after it.
fn is_public(value: &str) -> bool {
    // Whoever reads an address skips line ends and tabs in it: what looks like a path may be its host.
    let is_plain = !value.contains(|c: char| c == '\\' || c.is_control());
    is_plain && Url::parse(value).is_ok_and(|url| url.host().is_some())
}

/// Scheme and host of an address: what comes before the host or after it may be a password.
fn address(value: &str) -> String {
    let (scheme, rest) = value.split_once("://").unwrap_or(("", value));
    // Whoever reads an address skips further slashes; the host comes after them.
    let rest = rest.trim_start_matches(['/', '\\']);
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // It may be read in another way than it looks: `http:a/secret://b` is at `a`.
    if let Some(url) = Url::parse(value).ok().filter(Url::has_host) {
        let its_host = url.host_str().unwrap_or_default();
        let is_port = |rest: &str| rest.bytes().all(|byte| matches!(byte, b':' | b'0'..=b'9'));
        let is_its = host.to_ascii_lowercase().strip_prefix(its_host).is_some_and(is_port);
        if !is_its || !scheme.eq_ignore_ascii_case(url.scheme()) {
            return shortened(&format!("{}://{its_host}…", url.scheme()));
        }
    }
    if authority.is_empty() {
        return shortened(value);
    }
    let begin = if scheme.is_empty() { String::new() } else { format!("{scheme}://") };
    let hidden = if path.len() > 1 || host.len() < authority.len() { "…" } else { "" };
    shortened(&format!("{begin}{host}{hidden}"))
}

/// Enough to recognise it by, and never a screenful.
fn shortened(value: &str) -> String {
    let printable = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut text: String = value.chars().take(60).map(printable).collect();
    if value.chars().count() > 60 {
        text.push('…');
    }
    text
}

/// What a key is, as a message ends.
pub(super) const KEY: &str = "a key without blanks, as Binance shows it";

pub(super) const PRIVATE_KEY_FILE: &str = "BINANCE_PRIVATE_KEY_FILE";

const TELEGRAM_API_URL: &str = "https://api.telegram.org";
