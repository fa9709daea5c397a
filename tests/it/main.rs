//! Whole runs of the real binary against a scripted exchange: what a user can rely on, and nothing
//! of the inside. Written from the contract, so each test's name is a sentence about the outside.

/// Account and book: when they agree, and what a ledger remembers of the exchange.
mod account;
/// Whose account it is, and what else happens on it.
mod accounts;
/// A position that was bought elsewhere.
mod adopt;
/// `audit` recomputes the journal, record by record.
mod audit;
/// Awkward moments of live trading: owners, slow replicas, impatient people.
mod awkward;
/// A history at once: the same as a start after every candle.
mod backtest;
/// Rate limits and bans are kept to the second, with no request before their end.
mod bans;
/// Whatever the network does, a run ends within 45 seconds.
mod bounded;
/// Candles that can't be trusted: 65, and not a byte changed.
mod candles;
/// The doctor: a line for each thing that a run needs, and nothing changed.
mod check;
/// Which candle is closed: the exchange's clock decides, the machine's only has to be near.
mod clocks;
/// What a person writes to the bot.
mod commands;
/// Every setting that can't be understood: 78, with its name, before anything else happens.
mod config;
/// Answers that are nonsense: 69, and nothing traded.
mod content;
/// The shapes of JSON, commands, folders and the manners towards the exchange.
mod contract;
/// What a fuzzer found worth keeping, and changed copies of it.
mod corpus;
/// Killed before every system call: the old state or the new one, never a mix.
mod crash;
/// Crash points on the real code.
mod crash_points;
/// Every byte and every bit of the state, and what may stand in its place.
mod damage;
/// What happened in a day, told once a day.
mod digest;
/// Candle dumps as Binance publishes them, whole and damaged.
mod dumps;
/// The `.env` file, read literally.
mod envfile;
/// The simulated exchange.
#[path = "../exchange/mod.rs"]
mod exchange;
/// The simulated exchange itself, held against the real one's documents.
mod exchange_rules;
/// Every fault of an order, and how it ends.
mod faults;
/// History from the exchange into a folder.
mod fetch;
/// What went wrong for others in the field, each with where it was reported.
mod field;
/// Quantities, costs, fees and balances to the last digit.
mod fills;
/// The user's switch: halt, resume, flatten.
mod halt;
/// The user's switch and limits, with real orders.
mod halt_live;
/// The health of a pair against statsmodels.
mod health;
/// The ping at the end of a run.
mod healthcheck;
/// The program with nothing real around it.
mod inside;
/// From nothing to a job that runs: `init`, `units`, `crontab`.
mod install;
/// Keys of live trading: where they come from, and every way in which one can be wrong.
mod keys;
/// The real binary in live mode, killed and hurt at every system call.
mod kill_live;
/// Limits that a user sets: edge, stop, holding time, orders and loss a day.
mod limits;
/// Live trading as it should go.
mod live;
/// Weeks of live trading in bad weather, drawn from a seed.
mod long_live;
/// The machine as a table, and every combination enumerated.
mod machine;
/// Many instances on one machine, one address and one account.
mod many;
/// Figures for Prometheus.
mod metrics;
/// The order protocol as a model, searched exhaustively, and with planted bugs.
mod model;
/// The laws of money: which way it rounds, and that nothing gets lost.
mod money;
/// Orders with limits and real fills, against whole numbers of the smallest unit.
mod orders;
/// Live orders to the last digit: what is sent, what is booked, and what can't be ordered.
mod orders_live;
/// What is owed to luck: overfitting, deflated Sharpe ratios, intervals.
mod overfit;
mod pages;
/// Bugs that the tests must find, in a copy of the sources.
mod planted;
/// The process and its surroundings: signals, pipes, masks, two starts at once.
mod process;
/// Entries that the exchange would not take: 76, told once, and the candle is done.
mod refusals;
/// Replay: the same step over candles from a folder.
mod replay;
/// Replays against a second implementation, to the last digit.
mod replay_golden;
/// A machine without room, rights or descriptors.
mod scarce;
/// Secrets are in no byte written or said.
mod secrets;
/// The verdict on an order: nothing is final until everything adds up.
mod settlement;
/// What the next runs make of an order whose outcome is not known.
mod settling;
/// Signatures: the documented vectors, and that what is signed is what is sent.
mod sign;
/// The real step in any weather, drawn from a seed.
mod simulator;
/// A state that can't be trusted is kept as it is.
mod state;
/// The z-score against numbers that were not made by this program.
mod statistics;
/// The table of the strategy, a row a test.
mod step;
/// The scripted exchange, the runner and the tables.
mod support;
/// A grid over a history: each cell a backtest, and what choosing the best was worth.
mod sweep;
/// The laws of what is parsed, shared with the fuzzer.
#[path = "../fuzz/targets/mod.rs"]
mod targets;
/// Telegram: nothing is lost, nothing is told twice, and no answer of it matters to the trade.
mod telling;
/// Sources and documents: arrows that point one way, and papers that agree with the code.
mod tidy;
/// What was bought and sold, as a list.
mod trades;
/// Connections that break in every way: 69, and the next good run goes on.
mod transport;
/// The journal's years: one chain over several files; files of older versions.
mod years;

/// Millions of runs in this process ask for memory all the time; this one is a fifth quicker in all.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;
