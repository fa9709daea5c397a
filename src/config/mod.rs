//! The environment and `.env` made into a [`Config`]: fallible once, typed ever after.
//!
//! A value that can't be understood names the variable, the value (unless it is secret) and what
//! is allowed. Nothing falls back silently, and nothing else in the program reads a variable.

mod env_file;
mod keys;
mod value;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;

use crate::cli::Options;
use crate::exchange::sign::Credentials;
use crate::failure::Failure;
use crate::trading::machine::Rules;
use crate::trading::market::Pair;
use crate::trading::money::Amount;
use crate::trading::order::Terms;
use crate::trading::strategy::Thresholds;

use value::Settings;

/// Everything that a start is told, understood.
#[derive(Debug, Clone)]
pub struct Config {
    /// Which world this is.
    pub mode: Mode,
    /// The two legs.
    pub pair: Pair,
    /// What decides.
    pub rules: Rules,
    /// What a trade costs.
    pub terms: Terms,
    /// How many closed candles a run may look back per leg.
    pub lookback: usize,
    /// What a new paper account starts with.
    pub opening_balance: Amount,
    /// Where candles and prices come from.
    pub market_url: Url,
    /// Where the exchange publishes the candles of past months; `None` where nobody does.
    pub dumps_url: Option<Url>,
    /// What instances on one address tell each other of the exchange's limits.
    pub shared_limits: Option<PathBuf>,
    /// A PEM file of further trusted roots.
    pub extra_roots: Option<PathBuf>,
    /// Whom to tell.
    pub telegram: Option<Telegram>,
    /// What to ping at the end of a run.
    pub healthcheck: Option<SecretUrl>,
    /// Where figures for Prometheus are left at the end of a run.
    pub metrics_file: Option<PathBuf>,
    /// Where the worlds are kept.
    pub state_dir: PathBuf,
    /// Where `bot.log` is kept.
    pub logs_dir: PathBuf,
    /// What should be said once there is a log.
    pub warnings: Vec<String>,
}

/// Which world a start belongs to.
#[derive(Debug, Clone)]
pub enum Mode {
    /// Live candles, real orders.
    Live(Live),
    /// Live candles, simulated fills.
    Paper,
    /// Candles and clock of a recording.
    Replay(Recording),
}

/// What only real orders need. A key exists nowhere else.
#[derive(Debug, Clone)]
pub struct Live {
    /// Who asks; or what is wrong with the key, for those commands that ask nobody.
    pub credentials: Result<Credentials, Failure>,
    /// Where signed requests go.
    pub base_url: Url,
    /// How long after its time stamp a signed request may still be accepted.
    pub recv_window_ms: u32,
    /// How long after an order's last possible acceptance "no such order" may be believed.
    pub settle_seconds: u32,
}

/// How `--candles` calls the built-in sample.
pub const DEMO: &str = "demo";

/// Where a replay's candles come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recording {
    /// The built-in sample.
    Demo,
    /// A folder of Binance dumps.
    Folder(PathBuf),
}

/// Who tells.
#[derive(Debug, Clone)]
pub struct Bot {
    /// The Bot API.
    pub api_url: Url,
    /// The bot's password.
    pub token: SecretString,
}

/// Whom to tell.
#[derive(Debug, Clone)]
pub struct Telegram {
    /// Who tells.
    pub bot: Bot,
    /// A number, or `@channel`.
    pub chat_id: String,
    /// When the digest of a day is due: so long after midnight UTC.
    pub digest_at: Option<Duration>,
    /// Whose messages in that chat are read as commands; `None` where nobody's are.
    pub commander: Option<i64>,
}

/// An address that is as good as a password.
#[derive(Clone)]
pub struct SecretUrl(Url);

impl SecretUrl {
    /// The address, for the one request that needs it.
    #[must_use]
    pub fn expose(&self) -> &Url {
        &self.0
    }
}

impl std::fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Mode {
    /// As in `--json`.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Live(_) => "live",
            Self::Paper => "paper",
            Self::Replay(_) => "replay",
        }
    }

    /// Whether orders are real.
    #[must_use]
    pub fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// Whether candles and clock are those of a recording.
    #[must_use]
    pub fn is_replay(&self) -> bool {
        matches!(self, Self::Replay(_))
    }
}

/// One variable, as the documents list it.
#[derive(Debug, Clone, Copy)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// Whether its value must never be shown.
    pub is_secret: bool,
}

const fn plain(name: &'static str) -> Variable {
    Variable { name, is_secret: false }
}

const fn secret(name: &'static str) -> Variable {
    Variable { name, is_secret: true }
}

/// Every variable that is understood. README and `.env.example` list the same; a test compares.
pub const VARIABLES: &[Variable] = &[
    plain("DRY_RUN"),
    secret("BINANCE_API_KEY"),
    secret("BINANCE_API_SECRET"),
    plain("BINANCE_PRIVATE_KEY_FILE"),
    plain("BINANCE_BASE_URL"),
    plain("BINANCE_MARKET_URL"),
    plain("BINANCE_DUMPS_URL"),
    plain("RECV_WINDOW_MS"),
    plain("SETTLE_SECONDS"),
    plain("SYMBOL_BASE"),
    plain("SYMBOL_QUOTE"),
    plain("TIMEFRAME"),
    plain("LOOKBACK_LIMIT"),
    plain("ROLLING_WINDOW"),
    plain("ENTRY_THRESHOLD"),
    plain("EXIT_THRESHOLD"),
    plain("MIN_EDGE_BPS"),
    plain("TRADE_AMOUNT_USDT"),
    plain("PAPER_BALANCE_USDT"),
    plain("MAX_SLIPPAGE_BPS"),
    plain("STOP_Z"),
    plain("MAX_HOLD_CANDLES"),
    plain("MAX_ORDERS_PER_DAY"),
    plain("MAX_DAILY_LOSS_USDT"),
    plain("FEE_BPS"),
    plain("SLIPPAGE_BPS"),
    plain("SHARED_LIMITS_FILE"),
    plain("SSL_CERT_FILE"),
    secret("TELEGRAM_BOT_TOKEN"),
    plain("TELEGRAM_CHAT_ID"),
    plain("TELEGRAM_API_URL"),
    plain("TELEGRAM_COMMANDS"),
    plain("TELEGRAM_USER_ID"),
    plain("DAILY_DIGEST_UTC"),
    secret("HEALTHCHECK_URL"),
    plain("METRICS_FILE"),
    plain("STATE_DIR"),
];

impl Config {
    /// Understands the options, the environment and the `.env` file.
    ///
    /// **Errors**: the first thing that can't be understood; nothing was written or sent.
    pub fn load(
        options: &Options,
        environment: BTreeMap<OsString, OsString>,
    ) -> Result<Self, Failure> {
        let mut warnings = Vec::new();
        let file = read_env_file(options.env_file.as_deref(), &mut warnings)?;
        let settings = Settings::new(environment, file)?;

        let is_dry = settings.dry_run()? || options.dry_run;
        let pair = settings.pair()?;
        let window = settings.whole("ROLLING_WINDOW", 20, 2..=500)?;
        let entry = settings.threshold("ENTRY_THRESHOLD", 2.0)?;
        let exit = settings.threshold("EXIT_THRESHOLD", 0.0)?;
        if entry <= exit {
            return Err(settings.refused(
                "ENTRY_THRESHOLD",
                &format!("a number greater than `EXIT_THRESHOLD`, which is {exit}"),
            ));
        }
        let stop = Some(settings.threshold("STOP_Z", 0.0)?).filter(|stop| *stop > 0.0);
        if stop.is_some_and(|stop| stop <= entry) {
            let allowed = format!("0 for off, or more than `ENTRY_THRESHOLD`, which is {entry}");
            return Err(settings.refused("STOP_Z", &allowed));
        }
        let rules = Rules {
            interval: settings.interval()?,
            window,
            thresholds: Thresholds {
                entry,
                exit,
                min_edge_bps: settings.threshold("MIN_EDGE_BPS", 0.0)?,
                stop,
            },
            max_hold_candles: settings.limit("MAX_HOLD_CANDLES")?,
            max_orders_per_day: settings.limit("MAX_ORDERS_PER_DAY")?,
            max_daily_loss: settings.amount_or_off("MAX_DAILY_LOSS_USDT")?,
        };
        let terms = Terms {
            amount: settings.amount("TRADE_AMOUNT_USDT", 150)?,
            fee: settings.basis_points("FEE_BPS", 10)?,
            slippage: settings.basis_points("SLIPPAGE_BPS", 0)?,
            max_slippage: Some(settings.basis_points("MAX_SLIPPAGE_BPS", 0)?)
                .filter(|bound| !bound.is_zero()),
        };
        let lookback_default = window.saturating_add(80).max(100);
        let lookback =
            settings.whole("LOOKBACK_LIMIT", lookback_default, window.saturating_add(1)..=999)?;
        let opening_balance = settings.amount("PAPER_BALANCE_USDT", 1000)?;

        // Live trading's own variables are checked in paper mode too, so that the day it goes
        // live is not the day a slip of the pen is found.
        settings.check_live_variables()?;
        let base_url = settings.url("BINANCE_BASE_URL")?;
        let own_market_url = settings.url("BINANCE_MARKET_URL")?.or_else(|| base_url.clone());
        let own_dumps_url = settings.url("BINANCE_DUMPS_URL")?;
        let telegram = settings.telegram()?;
        let healthcheck = settings.secret_url("HEALTHCHECK_URL")?.map(SecretUrl);
        let metrics_file = settings.metrics_file()?;
        let shared_limits = settings.path("SHARED_LIMITS_FILE")?;
        let extra_roots = settings.path("SSL_CERT_FILE")?;

        let mode = match &options.candles {
            Some(path) if path.as_os_str() == DEMO => Mode::Replay(Recording::Demo),
            Some(path) => Mode::Replay(Recording::Folder(path.clone())),
            None if is_dry => Mode::Paper,
            None => Mode::Live(Live {
                credentials: keys::credentials(&settings, &mut warnings),
                base_url: base_url.unwrap_or_else(|| constant(BASE_URL)),
                recv_window_ms: settings.recv_window_ms()?,
                settle_seconds: settings.settle_seconds()?,
            }),
        };
        let market_url = own_market_url.unwrap_or_else(|| match &mode {
            Mode::Live(live) => live.base_url.clone(),
            Mode::Paper | Mode::Replay(_) => constant(PUBLIC_MARKET_URL),
        });
        // Another market's candles would be other candles.
        let public_dumps = || is_production(&market_url).then(|| constant(PUBLIC_DUMPS_URL));
        let dumps_url = own_dumps_url.or_else(public_dumps);

        let state_dir = match &options.state_dir {
            Some(dir) => dir.clone(),
            None => settings
                .first_path("STATE_DIRECTORY")?
                .or(settings.path("STATE_DIR")?)
                .unwrap_or_else(|| PathBuf::from("state")),
        };
        let logs_dir =
            settings.first_path("LOGS_DIRECTORY")?.unwrap_or_else(|| state_dir.join("logs"));
        warnings.extend(settings.misspelt());
        Ok(Self {
            mode,
            pair,
            rules,
            terms,
            lookback,
            opening_balance,
            market_url,
            dumps_url,
            shared_limits,
            extra_roots,
            telegram,
            healthcheck,
            metrics_file,
            state_dir,
            logs_dir,
            warnings,
        })
    }
}

impl Config {
    /// The bot alone and the further trusted roots, for whoever has no chat yet.
    ///
    /// **Errors**: there is none, or it can't be understood.
    pub fn load_bot(
        options: &Options,
        environment: BTreeMap<OsString, OsString>,
    ) -> Result<(Bot, Option<PathBuf>), Failure> {
        let file = read_env_file(options.env_file.as_deref(), &mut Vec::new())?;
        let settings = Settings::new(environment, file)?;
        let bot = settings.bot()?.ok_or_else(|| {
            Failure::configuration(
                "`TELEGRAM_BOT_TOKEN` is not set",
                "write /newbot to @BotFather in Telegram, and set it to the token that it gives",
            )
        })?;
        Ok((bot, settings.path("SSL_CERT_FILE")?))
    }

    /// Whether there is a key, where one is needed.
    ///
    /// **Errors**: it is missing, can't be read or is none.
    pub fn check_key(&self) -> Result<(), Failure> {
        match &self.mode {
            Mode::Live(Live { credentials: Err(failure), .. }) => Err(failure.clone()),
            Mode::Live(_) | Mode::Paper | Mode::Replay(_) => Ok(()),
        }
    }
}

fn read_env_file(
    named: Option<&Path>,
    warnings: &mut Vec<String>,
) -> Result<BTreeMap<String, String>, Failure> {
    let path = named.unwrap_or(Path::new(".env"));
    let shown = path.display();
    // A pipe without a writer would be waited for, for ever; one that is named on purpose may be.
    let is_file = |meta: &std::fs::Metadata| meta.is_file();
    let meta = std::fs::metadata(path).ok();
    if named.is_none() && meta.as_ref().is_some_and(|meta| !is_file(meta)) {
        return Err(Failure::configuration(
            format!("`{shown}` is not a plain file"),
            "move it away, or name another file with `--env-file`",
        ));
    }
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if named.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(BTreeMap::new());
        }
        Err(error) => {
            return Err(Failure::configuration(
                format!("failed to read the variables of `{shown}`: {error}"),
                "give `--env-file` a file that exists and that you may read",
            ));
        }
    };
    let is_blank = bytes.iter().all(u8::is_ascii_whitespace);
    if named.is_some() && is_blank && meta.as_ref().is_some_and(is_file) {
        return Err(Failure::configuration(
            format!("`{shown}` is empty"),
            "write the variables into it, as in `.env.example`, or leave `--env-file` away",
        ));
    }
    if meta.is_some_and(|meta| is_file(&meta) && meta.permissions().mode() & 0o077 != 0) {
        warnings.push(format!("others may read `{shown}`; `chmod 600 {shown}` keeps its secrets"));
    }
    env_file::parse(&bytes).map_err(|why| {
        Failure::configuration(
            format!("`{shown}`: {why}"),
            "write one `NAME=value` a line, as in `.env.example`",
        )
    })
}

/// Whether this is Binance's own exchange, by any of its names, and not its testnet, its demo mode,
/// Binance.US or a machine in between. **Source**: Binance Spot REST, "General API Information".
fn is_production(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default();
    let is_api = |name: &str| matches!(name, "api" | "api-gcp" | "api1" | "api2" | "api3" | "api4");
    url.scheme() == "https"
        && url.port().is_none()
        && (host == "data-api.binance.vision"
            || host.strip_suffix(".binance.com").is_some_and(is_api))
}

fn constant(url: &str) -> Url {
    Url::parse(url).expect("a constant URL parses")
}

/// Takes orders. **Source**: Binance Spot REST, "General API Information".
const BASE_URL: &str = "https://api.binance.com";

/// Serves market data and needs no key. **Source**: Binance Spot REST, "General API Information".
const PUBLIC_MARKET_URL: &str = "https://data-api.binance.vision";

/// The candles of past months. **Source**: binance/binance-public-data, README.
const PUBLIC_DUMPS_URL: &str = "https://data.binance.vision";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_binance_s_own_exchange_has_these_dumps() {
        for url in [
            BASE_URL,
            PUBLIC_MARKET_URL,
            "https://api-gcp.binance.com",
            "https://api1.binance.com/",
            "https://API4.binance.com:443",
        ] {
            assert!(is_production(&constant(url)), "{url}");
        }
        for url in [
            "https://testnet.binance.vision",
            "https://api1.testnet.binance.vision",
            "https://demo-api.binance.com",
            "https://api.binance.us",
            "https://api.binance.com:8443",
            "http://127.0.0.1:9443",
            "https://api.binance.com.example.org",
            "https://evil-api.binance.com",
        ] {
            assert!(!is_production(&constant(url)), "{url}");
        }
    }
}
