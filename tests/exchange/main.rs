//! The simulated exchange, started by hand: a rehearsal of live trading without an account.
//!
//! `cargo run --example exchange -- --help`

#[path = "mod.rs"]
mod exchange;

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use exchange::{Candle, Chaos, Exchange, Recording, Setup};
use ouroboros::exchange::{demo, dump};
use ouroboros::trading::market::{Asset, Symbol};
use ouroboros::trading::time::Interval;

/// A Binance Spot that is not one: recorded candles, made-up money, real rules.
///
/// Its clock is this machine's, because a client insists on that; recorded candles are laid onto it, the newest closed one
/// first. With --speed 15, recorded candles of 15 minutes are served as candles of one.
#[derive(Parser)]
struct Options {
    /// Binance CSV dumps (a folder), or `demo` for the built-in sample
    #[arg(long, default_value = "demo")]
    candles: PathBuf,
    /// How long a recorded candle lasts
    #[arg(long, default_value = "15m")]
    interval: String,
    /// How much faster than recorded; interval / speed must be one of Binance's intervals
    #[arg(long, default_value_t = 15)]
    speed: u32,
    /// How many recorded candles come before the one that closed last at the start; after 33 of the sample comes an entry
    #[arg(long, default_value_t = 33)]
    skip: usize,
    /// Where to listen on 127.0.0.1; 0 for any free port
    #[arg(long, default_value_t = 9443)]
    port: u16,
    /// What the account holds, such as USDT=1000; may be given more than once
    #[arg(long, default_values = ["USDT=1000", "BTC=0.25", "ETH=2"])]
    balance: Vec<String>,
    /// Fee in basis points
    #[arg(long, default_value = "10")]
    fee_bps: String,
    /// Of a hundred orders so many go wrong: lost, cut, refused, executed late, shown late; of other requests a tenth as many
    #[arg(long, default_value_t = 0)]
    chaos: u64,
    /// What the faults are drawn from: the same requests, the same faults
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the variables that point a client here; printed otherwise
    #[arg(long)]
    env_out: Option<PathBuf>,
}

fn main() {
    let options = Options::parse();
    let recorded = Interval::named(&options.interval).expect("one of Binance's intervals");
    let served_ms = recorded.millis() / i64::from(options.speed.max(1));
    let served = Interval::ALL.into_iter().find(|interval| interval.millis() == served_ms);
    let served = served.expect("interval / speed must be one of Binance's intervals");

    let setup = Setup { interval_ms: served_ms, balances: Vec::new(), ..Setup::default() };
    let exchange = Exchange::start_at(setup, options.port);
    let rows = read(&options, recorded);
    exchange.with(|world| {
        world.talks = true;
        world.fee_bps = options.fee_bps.parse().expect("basis points");
        world.chaos = (options.chaos > 0).then(|| Chaos::new(options.chaos, options.seed));
        for balance in &options.balance {
            let (asset, amount) = balance.split_once('=').expect("ASSET=AMOUNT");
            world.deposit(asset, amount);
        }
        let newest = world.now() / served_ms * served_ms;
        let skip = i64::try_from(options.skip).expect("few");
        for (code, rows) in ["BTCUSDT", "ETHUSDT"].into_iter().zip(rows) {
            let start = newest - (skip + 1) * served_ms;
            world.symbol(code).candles = Recording { start, interval: served_ms, rows };
        }
    });

    let variables = variables(&exchange, served);
    match &options.env_out {
        None => println!("{variables}"),
        Some(path) => {
            write_secret(path, &variables);
            println!("listening at {}; start a client with", exchange.url());
            println!("  ouroboros --env-file {}", path.display());
        }
    }
    println!(
        "a candle ends every {} s; what happens is said here, Ctrl-C ends it",
        served_ms / 1000
    );
    // The connections have threads of their own.
    loop {
        std::thread::sleep(Duration::from_secs(3600));
    }
}

/// What points a client here.
fn variables(exchange: &Exchange, served: Interval) -> String {
    let (url, key, secret) = (exchange.url(), exchange.key(), exchange.secret());
    format!(
        "DRY_RUN=false\nBINANCE_BASE_URL={url}\nBINANCE_API_KEY={key}\nBINANCE_API_SECRET={secret}\n\
         TIMEFRAME={served}\nSETTLE_SECONDS=60\nTELEGRAM_API_URL={url}\nTELEGRAM_BOT_TOKEN=1:simulated\n\
         TELEGRAM_CHAT_ID=42\nHEALTHCHECK_URL={url}/ping/rehearsal\nSTATE_DIR=rehearsal\n"
    )
}

/// A file that nobody else can read, as the program asks for one.
fn write_secret(path: &Path, text: &str) {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(path).expect("a folder that can be written to");
    file.write_all(text.as_bytes()).expect("a disk with room");
}

fn read(options: &Options, recorded: Interval) -> [Vec<Candle>; 2] {
    let legs = if options.candles.as_os_str() == "demo" {
        demo::candles()
    } else {
        ["BTC", "ETH"].map(|base| {
            let asset = |code: &str| Asset::new(code).expect("an asset");
            let symbol = Symbol { base: asset(base), quote: asset("USDT") };
            dump::read(&options.candles, &symbol, recorded)
                .unwrap_or_else(|failure| panic!("{failure}"))
        })
    };
    // Both legs have to be there; a gap in the recording closes up, for a clock has none.
    let open_times = |leg: usize| legs[leg].iter().map(|candle| candle.open_time);
    let known: Vec<std::collections::BTreeSet<_>> =
        (0..2).map(|leg| open_times(leg).collect()).collect();
    let both = |candle: &&ouroboros::trading::candle::Candle| {
        known.iter().all(|leg| leg.contains(&candle.open_time))
    };
    [0, 1].map(|leg| {
        let candle = |candle: &ouroboros::trading::candle::Candle| Candle {
            open: candle.open,
            high: candle.high,
            low: candle.low,
            close: candle.close,
        };
        legs[leg].iter().filter(both).map(candle).collect()
    })
}
