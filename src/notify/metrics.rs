//! Figures for Prometheus, as the textfile collector of `node_exporter` reads them.
//!
//! **Source**: `prometheus/node_exporter`, README, "Textfile Collector", and `collector/textfile.go`: only
//! whole files that end in `.prom`, no time stamps; prometheus.io, "Metric and label naming".

use std::fmt::Write as _;
use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;

use super::overview::Overview;
use crate::config::Config;
use crate::store::State;
use crate::store::outside::Outside;
use crate::trading::market::Leg;
use crate::trading::time::Timestamp;

/// What a run leaves for Prometheus.
pub(super) struct Figures<'a> {
    pub(super) config: &'a Config,
    /// Its book, if it can be read.
    pub(super) state: Option<&'a State>,
    /// What that comes to.
    pub(super) overview: Option<&'a Overview>,
    pub(super) outside: &'a Outside,
    pub(super) exit_code: u8,
    pub(super) now: Timestamp,
    pub(super) took: Duration,
}

impl Figures<'_> {
    /// Replaces the file. A failure is said and costs nothing.
    pub(super) fn write(&self, path: &Path) {
        if let Err(error) = replace(path, &self.to_text()) {
            log::warn!("the figures for Prometheus were not written: {error:#}");
        }
    }

    fn to_text(&self) -> String {
        let Self { config, outside, .. } = self;
        let labels = format!(
            "mode=\"{}\",pair=\"{}\",timeframe=\"{}\"",
            config.mode.name(),
            config.pair,
            config.rules.interval
        );
        let mut page = Page { text: String::new(), labels };
        let version = concat!("version=\"", env!("CARGO_PKG_VERSION"), "\"");
        page.gauge("build_info", "The version that ran last.", &[(version, "1".to_owned())]);
        page.one(
            "timeframe_seconds",
            "How long a candle lasts.",
            seconds(config.rules.interval.millis()),
        );
        let ran = seconds(self.now.as_millis());
        page.one("last_run_timestamp_seconds", "When a run ended last.", ran);
        let success = outside.memory.last_success.as_deref().and_then(|at| at.parse().ok());
        if let Some(at) = success {
            let at: Timestamp = at;
            let help = "When a run ended with 0 last.";
            page.one("last_success_timestamp_seconds", help, seconds(at.as_millis()));
        }
        let took = format!("{:.3}", self.took.as_secs_f64());
        page.one("last_run_duration_seconds", "How long the last run took.", took);
        page.one("last_exit_code", "The last run's exit code.", self.exit_code.to_string());
        if let Some(weight) = outside.memory.used_weight {
            let help =
                "Weight of this address's requests that the exchange counted last, of a minute.";
            page.one("request_weight", help, weight.to_string());
        }
        if let Some(offset) = outside.memory.clock_offset_ms {
            let help = "The exchange's clock less this machine's.";
            page.one("clock_offset_seconds", help, seconds(offset));
        }
        if let Some(state) = self.state {
            self.book(&mut page, state);
        }
        page.text
    }

    fn book(&self, page: &mut Page, state: &State) {
        let Self { config, overview, outside, .. } = self;
        let book = &state.book;
        let held = book.position.holding().map(|holding| holding.leg);
        let quantity = |leg| match book.available() {
            Ok(quantity) if held == Some(leg) => quantity.to_string(),
            Ok(_) | Err(_) => book.dust.of(leg).to_string(),
        };
        let assets = Leg::BOTH.map(|leg| format!("asset=\"{}\"", config.pair.asset(leg)));
        let each = |value: &dyn Fn(Leg) -> String| {
            [(&*assets[0], value(Leg::BOTH[0])), (&*assets[1], value(Leg::BOTH[1]))]
        };
        let is_held = |leg| flag(held == Some(leg));
        page.gauge("holding", "Whether this asset is held.", &each(&is_held));
        page.gauge("book_quantity", "Coins on the book, dust included.", &each(&quantity));
        page.one(
            "realized_pnl_quote",
            "Gained or lost by round trips that are over, after fees.",
            book.realized.to_string(),
        );
        page.count("round_trips_total", "Round trips that are over.", book.round_trips);
        let help = "Whether an order's outcome is not known yet.";
        page.one("pending_order", help, flag(book.pending().is_some()));
        page.one("halted", "Whether no new order may leave.", flag(book.halt.is_some()));
        let delivered = outside.memory.delivered;
        let waiting = state.outbox.waiting.iter().filter(|it| it.number > delivered).count();
        page.one(
            "messages_waiting",
            "Messages that Telegram has not taken yet.",
            waiting.to_string(),
        );
        let Some(overview) = overview else { return };
        if let Some(z) = overview.z {
            page.one("zscore", "z of the candle that was decided on last.", z.to_string());
        }
        if let Some(unrealized) = overview.unrealized {
            let help = "What is held would gain or lose, sold at the newest close, after the fee.";
            page.one("unrealized_pnl_quote", help, unrealized.to_string());
        }
        if let Some(equity) = overview.equity {
            let help = "What the paper account would be worth after that sale.";
            page.one("paper_equity_quote", help, equity.to_string());
        }
    }
}

/// The text as it grows.
struct Page {
    text: String,
    labels: String,
}

impl Page {
    fn one(&mut self, name: &str, help: &str, value: String) {
        self.gauge(name, help, &[("", value)]);
    }

    fn gauge(&mut self, name: &str, help: &str, values: &[(&str, String)]) {
        self.metric(name, "gauge", help, values);
    }

    fn count(&mut self, name: &str, help: &str, value: u64) {
        self.metric(name, "counter", help, &[("", value.to_string())]);
    }

    fn metric(&mut self, name: &str, kind: &str, help: &str, values: &[(&str, String)]) {
        let _ = writeln!(self.text, "# HELP ouroboros_{name} {help}");
        let _ = writeln!(self.text, "# TYPE ouroboros_{name} {kind}");
        for (label, value) in values {
            let comma = if label.is_empty() { "" } else { "," };
            let _ =
                writeln!(self.text, "ouroboros_{name}{{{}{comma}{label}}} {value}", self.labels);
        }
    }
}

fn flag(is_so: bool) -> String {
    u8::from(is_so).to_string()
}

/// Milliseconds as seconds, exactly.
fn seconds(millis: i64) -> String {
    let sign = if millis < 0 { "-" } else { "" };
    let millis = millis.unsigned_abs();
    format!("{sign}{}.{:03}", millis / 1000, millis % 1000)
}

/// The whole file or the one before, readable to everybody: another user's program reads it.
fn replace(path: &Path, text: &str) -> anyhow::Result<()> {
    let shown = path.display();
    // Not read by anyone: it does not end in `.prom`.
    let temporary = path.with_extension(format!("prom.{}", std::process::id()));
    let write = || -> std::io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        fs::set_permissions(&temporary, Permissions::from_mode(0o644))?;
        fs::rename(&temporary, path)
    };
    write().with_context(|| format!("failed to replace `{shown}`")).inspect_err(|_| {
        // What is not there need not be taken away.
        let _ = fs::remove_file(&temporary);
    })
}
