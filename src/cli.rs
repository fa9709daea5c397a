//! The command line: clap's types and the help text, no logic.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Parser, Subcommand};

use crate::help;
use crate::history::sweep::Range;
use crate::instance::Instance;
use crate::trading::market::Symbol;
use crate::trading::time::{Interval, When};

/// Trades a pair by mean reversion on Binance Spot: one safe step per start.
#[derive(Debug, Parser)]
#[command(
    name = "ouroboros",
    version,
    about,
    long_about = "Trades a pair by mean reversion on Binance Spot: one safe step per start.\n\n\
        A timer starts it once per candle. Each start locks its state, looks at the closed candles \
        of both symbols, takes at most one step (buy the cheap one, sell it, or hold), saves, tells \
        and exits. Without a command it runs one step.",
    after_help = EXAMPLES,
    disable_help_subcommand = true,
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// What every command understands.
    #[command(flatten)]
    pub options: Options,
}

/// What every command understands.
#[derive(Debug, Clone, Default, Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of its own on the command line")]
pub struct Options {
    /// Paper trading: real candles, simulated fills, no order leaves; wins over `DRY_RUN=false`
    #[arg(long, global = true)]
    pub dry_run: bool,

    /// Replay candles from Binance CSV dumps: a folder, or `demo` for the built-in sample; implies
    /// --dry-run, and each start takes the next candle
    #[arg(long, global = true, value_name = "PATH")]
    pub candles: Option<PathBuf>,

    /// Where the state is kept
    #[arg(long, global = true, value_name = "DIR", help = STATE_DIR_HELP)]
    pub state_dir: Option<PathBuf>,

    /// Where variables are read from; the environment wins over it [default: ./.env if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    pub env_file: Option<PathBuf>,

    /// One JSON object on standard output instead of text
    #[arg(long, global = true)]
    pub json: bool,

    /// Say nothing unless something is wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,

    /// Say more on standard error
    #[arg(short, long, global = true)]
    pub verbose: bool,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// One step: lock, load, fetch, decide, act, save, tell, exit (the default)
    #[command(after_help = RUN_EXAMPLES)]
    Run,
    /// What is held, the last decision, profit and loss; touches nothing, needs no network
    #[command(after_help = STATUS_EXAMPLES)]
    Status {
        /// Every instance in one table: those below `--state-dir`, else below /var/lib/ouroboros
        #[arg(long)]
        all: bool,
    },
    /// Look at everything that a run needs, one line each, and say how to mend it
    #[command(after_help = CHECK_EXAMPLES)]
    Check,
    /// Let no new order out until `resume`
    #[command(after_help = HALT_EXAMPLES)]
    Halt {
        /// Why, for whoever reads it later
        reason: Vec<String>,
    },
    /// Lift a halt, and show what it lifts
    #[command(after_help = RESUME_EXAMPLES)]
    Resume {
        /// You have looked: this pending order was never executed
        #[arg(long, value_name = "ID", conflicts_with = "new_book")]
        not_executed: Option<String>,
        /// Begin a new live book although earlier orders of this instance exist
        #[arg(long)]
        new_book: bool,
    },
    /// Sell what is held in one order, then halt; asks first on a terminal
    #[command(after_help = FLATTEN_EXAMPLES)]
    Flatten {
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// Take a position into the book that was bought elsewhere; asks first on a terminal
    #[command(after_help = ADOPT_EXAMPLES)]
    Adopt {
        /// Which coin: one of the two that are traded
        #[arg(long, value_name = "ASSET")]
        asset: String,
        /// How many of them
        #[arg(long, value_name = "QUANTITY")]
        quantity: String,
        /// What they cost, in the quote asset
        #[arg(long, value_name = "AMOUNT")]
        cost: String,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// Recompute every decision and every number of the journal; 65 at the first line that doesn't fit
    #[command(after_help = AUDIT_EXAMPLES)]
    Audit,
    /// The same step over history, with an honest verdict
    #[command(after_help = BACKTEST_EXAMPLES)]
    Backtest {
        /// The first day (or moment) that counts
        #[arg(long, value_name = "DATE")]
        from: Option<When>,
        /// The last day (or moment) that counts
        #[arg(long, value_name = "DATE")]
        to: Option<When>,
        /// Write a page with charts
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        /// Write one line a round trip
        #[arg(long, value_name = "FILE.csv")]
        trades: Option<PathBuf>,
    },
    /// A grid of parameters over history, in and out of sample
    #[command(after_help = SWEEP_EXAMPLES)]
    Sweep {
        /// Values of `ROLLING_WINDOW`
        #[arg(long, value_name = "A..B:STEP", default_value = "10..50:10")]
        window: Range,
        /// Values of `ENTRY_THRESHOLD`
        #[arg(long, value_name = "A..B:STEP", default_value = "1.5..3:0.5")]
        entry: Range,
        /// Values of `EXIT_THRESHOLD`
        #[arg(long, value_name = "A..B:STEP", default_value = "0..0.5:0.5")]
        exit: Range,
        /// Values of `MIN_EDGE_BPS`
        #[arg(long, value_name = "A..B:STEP", default_value = "0..60:20")]
        edge: Range,
        /// Into how many parts the history is cut
        #[arg(long, value_name = "N", default_value = "5", value_parser = clap::value_parser!(u16).range(2..=100))]
        folds: u16,
        /// Write a page with heat maps
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
        /// Threads; as many as there are processors by default
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=256))]
        jobs: Option<u16>,
    },
    /// One page of what a book really did, beside what a backtest says of the same candles
    #[command(after_help = REPORT_EXAMPLES)]
    Report {
        /// Where the page goes [default: `report.html` in the state directory]
        #[arg(long, value_name = "FILE")]
        html: Option<PathBuf>,
    },
    /// What was bought and sold, as CSV or JSON, for spreadsheets and tax tools
    #[command(after_help = TRADES_EXAMPLES)]
    Trades {
        /// One line a fill or a round trip
        #[arg(long, value_enum, default_value_t = By::Fill)]
        by: By,
        /// Only this year's; of a round trip its end counts
        #[arg(long, value_name = "YEAR", value_parser = clap::value_parser!(i16).range(2009..=9999))]
        year: Option<i16>,
        /// In whose time, such as Europe/Berlin; UTC by default
        #[arg(long, value_name = "ZONE")]
        zone: Option<String>,
        /// For whom the CSV is
        #[arg(long, value_enum, default_value_t = Format::Csv)]
        format: Format,
    },
    /// Fetch history into a folder that --candles reads, `./candles` unless it is named
    #[command(after_help = CANDLES_EXAMPLES)]
    Candles {
        /// Such as BTC/USDT or BTCUSDT; the two that are configured without one
        #[arg(value_name = "SYMBOL")]
        symbols: Vec<Symbol>,
        /// How long a candle lasts; `TIMEFRAME` by default
        #[arg(long, value_name = "INTERVAL")]
        interval: Option<Interval>,
        /// The first day (or moment) that is wanted
        #[arg(long, value_name = "DATE")]
        from: When,
        /// The last day (or moment) that is wanted; until now by default
        #[arg(long, value_name = "DATE")]
        to: Option<When>,
    },
    /// What an exit code or a halt means, what is safe then, and what to type
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain {
        /// An exit code or another topic; without one, the list of them
        #[arg(hide_possible_values = true, value_parser = PossibleValuesParser::new(help::parts().map(|part| part.topic)))]
        topic: Option<String>,
    },
    /// Find the number of a chat: write to the bot, and it is shown
    #[command(after_help = TELEGRAM_SETUP_EXAMPLES)]
    TelegramSetup,
    /// Write a file of variables to begin with, and say what to type next; asks on a terminal
    #[command(after_help = INIT_EXAMPLES)]
    Init {
        /// Values, in the words of `.env.example`; what is given is not asked
        #[arg(value_name = "NAME=VALUE")]
        settings: Vec<String>,
        /// For systemd: the file is /etc/ouroboros/NAME.env instead of ./.env (or `--env-file`)
        #[arg(long, value_name = "NAME", conflicts_with = "env_file")]
        instance: Option<Instance>,
        /// Another folder than /etc/ouroboros
        #[arg(long, value_name = "DIR", requires = "instance")]
        dir: Option<PathBuf>,
        /// Don't ask
        #[arg(long)]
        yes: bool,
    },
    /// The units of an instance for systemd, with the calendar of its timeframe
    #[command(after_help = UNITS_EXAMPLES)]
    Units {
        /// A name of your own: its variables are in /etc/ouroboros/NAME.env
        #[arg(long, value_name = "NAME")]
        instance: Instance,
        /// How long a candle lasts; `TIMEFRAME` of the instance by default
        #[arg(long, value_name = "INTERVAL")]
        interval: Option<Interval>,
        /// Write them there instead of printing them
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
    },
    /// The line for a crontab
    #[command(after_help = CRONTAB_EXAMPLES)]
    Crontab,
    /// Print completions for a shell
    #[command(after_help = COMPLETIONS_EXAMPLES)]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    #[command(after_help = MAN_EXAMPLES)]
    Man,
}

/// What a line of `trades` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    /// An order, as far as it was executed.
    Fill,
    /// An entry and what ended it.
    Trip,
}

/// For whom the CSV of `trades` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Spreadsheets and scripts.
    Csv,
    /// Koinly's universal template.
    Koinly,
    /// `CoinTracking`'s own columns.
    Cointracking,
}

impl Format {
    /// As it is asked for.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Koinly => "koinly",
            Self::Cointracking => "cointracking",
        }
    }
}

const STATE_DIR_HELP: &str =
    "Where the state is kept [default: $STATE_DIRECTORY, STATE_DIR, ./state]";

const EXAMPLES: &str = "Examples:
  ouroboros --dry-run --candles demo    one step on the built-in sample, offline
  ouroboros --dry-run                   one step of paper trading on live candles
  ouroboros status                      what is held and what came of it
  ouroboros -q --env-file BTC-ETH.env   for a crontab: silent unless something is wrong

Variables are read from the environment and from .env; see .env.example and the README.
Exit codes: 0 done, 2 usage, 65 not trusted, 69 unreachable, 70 bug, 74 storage, 75 try later,
76 a person is needed, 77 key refused, 78 configuration.";

const RUN_EXAMPLES: &str = "Examples:
  ouroboros run --dry-run
  ouroboros run --candles ./dumps --json";

const STATUS_EXAMPLES: &str = "Examples:
  ouroboros status
  ouroboros status --candles demo --json
  sudo -u ouroboros ouroboros status --all";

const CHECK_EXAMPLES: &str = "Examples:
  ouroboros check
  ouroboros check --dry-run             what paper trading needs: no key is looked at
  ouroboros check --json

Nothing is changed or ordered. The exit code is that of the first line that failed, else 0.";

const HALT_EXAMPLES: &str = "Examples:
  ouroboros halt
  ouroboros halt on holiday until Monday";

const RESUME_EXAMPLES: &str = "Examples:
  ouroboros resume
  ouroboros resume --not-executed ouro-1a2b3c4d5e-1709295300-B1
  ouroboros resume --new-book";

const FLATTEN_EXAMPLES: &str = "Examples:
  ouroboros flatten
  ouroboros flatten --yes --json";

const ADOPT_EXAMPLES: &str = "Examples:
  ouroboros adopt --asset BTC --quantity 0.00357 --cost 149.98

The account must have that much free. No order is sent; from the next candle on it is held and sold
as if a run had bought it. What else is in the account stays untouched.";

const AUDIT_EXAMPLES: &str = "Examples:
  ouroboros audit
  ouroboros audit --candles demo --json";

const BACKTEST_EXAMPLES: &str = "Examples:
  ouroboros backtest                    the built-in sample
  ouroboros backtest --candles ./dumps --from 2023-01-01 --to 2023-06-30 --trades trades.csv
  ROLLING_WINDOW=96 MIN_EDGE_BPS=40 ouroboros backtest --candles ./dumps --json

It begins with PAPER_BALANCE_USDT and does what `ouroboros run --dry-run --candles ./dumps`, started
once after every candle, would have done. Nothing is kept.";

const SWEEP_EXAMPLES: &str = "Examples:
  ouroboros sweep --candles ./dumps
  ouroboros sweep --candles ./dumps --window 10..200:10 --entry 1.5..3:0.25 --edge 0..60:20 --json

Each cell is what `ouroboros backtest` says with those values. Walk-forward: the cell that gained most
in all folds so far is tried on the next one, and only that counts as out of sample.";

const REPORT_EXAMPLES: &str = "Examples:
  ouroboros report
  ouroboros report --candles demo --html demo.html

The journal is recomputed as by `ouroboros audit`; nothing is asked of the network.";

const TRADES_EXAMPLES: &str = "Examples:
  ouroboros trades > trades.csv
  ouroboros trades --year 2026 --zone Europe/Berlin --by trip
  ouroboros trades --format koinly > koinly.csv
  ouroboros trades --json

The journal is recomputed as by `ouroboros audit`; nothing is asked of the network. What a fill gained
is reckoned against the oldest coins of its asset (FIFO), after fees in the asset and the quote asset;
what a round trip gained is the book's own figure, which counts all that the entry cost.";

const CANDLES_EXAMPLES: &str = "Examples:
  ouroboros candles --from 2023-01-01
  ouroboros candles BTC/USDT ETH/USDT --interval 1h --from 2020-01-01 --to 2023-12-31 --candles ./dumps
  ouroboros backtest --candles ./candles

Months that are over come from Binance's public dumps, their checksums verified; the rest from the
exchange itself, closed candles only. Whole months are fetched. What is there already is not fetched
again: started anew, it goes on where it was, and brings what is new. No key is needed.";

const EXPLAIN_EXAMPLES: &str = "Examples:
  ouroboros explain
  ouroboros explain 76
  ouroboros explain coins-missing";

const TELEGRAM_SETUP_EXAMPLES: &str = "Examples:
  ouroboros telegram-setup
  ouroboros telegram-setup --env-file /etc/ouroboros/BTC-ETH.env

Needs TELEGRAM_BOT_TOKEN alone. Waits a minute for somebody to write; nothing is changed.";

const INIT_EXAMPLES: &str = "Examples:
  ouroboros init
  ouroboros init --yes SYMBOL_BASE=SOL/USDT TIMEFRAME=1h TRADE_AMOUNT_USDT=50
  sudo ouroboros init --instance BTC-ETH

It has every variable with its comment, mode 0600. Nothing is overwritten. Secrets are neither asked for
nor taken here: write them into the file, or under systemd name them by LoadCredential= (see the unit).";

const UNITS_EXAMPLES: &str = "Examples:
  ouroboros units --instance BTC-ETH --interval 4h
  sudo ouroboros units --instance BTC-ETH --dir /etc/systemd/system

TIMEFRAME is read from --env-file, else from /etc/ouroboros/NAME.env if it is there, else from ./.env.
Nothing is started or enabled. Started again after TIMEFRAME was changed, it changes the calendar.";

const CRONTAB_EXAMPLES: &str = "Examples:
  ouroboros crontab
  (crontab -l; ouroboros --env-file ~/btc-eth.env --state-dir ~/btc-eth crontab) | crontab -

TIMEFRAME is read from the file of variables, as cron's own starts do. For candles of more than a quarter
of an hour it starts every quarter, which is right in every time zone: where no candle ended, nothing is done.";

const COMPLETIONS_EXAMPLES: &str = "Examples:
  ouroboros completions bash > /etc/bash_completion.d/ouroboros
  ouroboros completions zsh > \"${fpath[1]}/_ouroboros\"";

const MAN_EXAMPLES: &str = "Examples:
  ouroboros man > /usr/local/share/man/man1/ouroboros.1";
