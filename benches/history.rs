//! What a history costs: a backtest from CSV to verdict, the kernel alone, and a sweep, beside pandas, polars and numba.
//!
//! `cargo bench --bench history` makes a history of a million candles of both legs (the same one every time), lets each
//! of them do the same work in turn, looks whether it came to the same, and prints medians with the goals.
//! `--no-peer` leaves Python out, `--python PROGRAM` takes one that has the packages instead of installing them, `--long`
//! adds ten million candles, for the memory. A goal that is missed is printed, not punished.
//!
//! On a machine that does other things, too, CPU time is the figure to trust, and ratios of what ran in turn.

#![allow(clippy::disallowed_methods)] // A bench is about the real clock.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio};
use std::time::Instant;

use nix::sys::resource::UsageWho;
use ouroboros::command::sweep;
use ouroboros::exchange::dump;
use ouroboros::history::sweep::{Cell, Ground, Outcome, ends};
use ouroboros::random::SplitMix64;
use ouroboros::trading::candle::Candle;
use ouroboros::trading::machine::Rules;
use ouroboros::trading::market::{Asset, Symbol};
use ouroboros::trading::money::{Amount, BasisPoints};
use ouroboros::trading::order::Terms;
use ouroboros::trading::strategy::Thresholds;
use ouroboros::trading::time::Interval;
use rust_decimal::Decimal;
use serde_json::{Value, json};

mod meter;

use meter::{METER, Result, Run, cpu_us, measured, median, meter};

const ROWS: usize = 1_000_000;
const ROUNDS: usize = 7;
/// As first argument: read a folder's candles and do what the standard input asks for.
const SERVE: &str = "--serve";
/// So much that every entry can be paid.
const OPENING: &str = "1000000";

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let result = match arguments.split_first() {
        Some((first, command)) if first == METER => meter(command),
        Some((first, [folder])) if first == SERVE => serve(Path::new(folder)),
        _ => {
            bench(&arguments.iter().map(|it| it.to_string_lossy().into_owned()).collect::<Vec<_>>())
        }
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the bench failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(arguments: &[String]) -> Result<()> {
    let has = |name: &str| arguments.iter().any(|it| it == name);
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("history");
    let candles = made(&folder, ROWS)?;
    let peer = match arguments.iter().position(|it| it == "--python") {
        _ if has("--no-peer") => None,
        Some(at) => Some(Peer { python: arguments.get(at + 1).ok_or("which Python?")?.into() }),
        None => Peer::install(&folder),
    };
    println!(
        "Medians of {ROUNDS}, in turn. `x` is how many times as much the best of the others took.\n"
    );
    backtest(&candles, peer.as_ref())?;
    if has("--long") {
        let run = ours(&made(&folder, 10 * ROWS)?)?;
        goal("peak memory, ten million candles", run.peak_kib / 1024.0, "MiB", 16.0, false);
        row("CPU time, ten million candles", run.cpu_ms, "ms");
    }
    compute(&candles, peer.as_ref())
}

type Figure = fn(&Run) -> f64;

/// The whole program, from CSV to verdict.
fn backtest(candles: &Path, peer: Option<&Peer>) -> Result<()> {
    let (mut own, mut pandas, mut polars) = (Vec::new(), Vec::new(), Vec::new());
    if let Some(peer) = peer {
        // What is compiled by this run is kept for those that count.
        peer.run("polars", candles)?;
    }
    for _ in 0..ROUNDS {
        own.push(ours(candles)?);
        if let Some(peer) = peer {
            pandas.push(peer.run("pandas", candles)?);
            polars.push(peer.run("polars", candles)?);
        }
    }
    println!("A backtest of a million candles of both legs, from CSV to verdict\n");
    let figures: [(&str, &str, Figure); 3] = [
        ("wall time", "ms", |run| run.wall_ms),
        ("CPU time", "ms", |run| run.cpu_ms),
        ("peak memory", "MiB", |run| run.peak_kib / 1024.0),
    ];
    for (name, unit, figure) in figures {
        let own = median(&own, figure);
        if peer.is_none() {
            row(name, own, unit);
            continue;
        }
        let (pandas, polars) = (median(&pandas, figure), median(&polars, figure));
        let ratio = pandas.min(polars) / own;
        row(&format!("{name}, ouroboros"), own, unit);
        row(&format!("{name}, pandas"), pandas, unit);
        row(&format!("{name}, polars and numba"), polars, unit);
        if unit == "ms" {
            goal(name, ratio, "x", 8.0, true);
        }
    }
    let peak = median(&own, |run| run.peak_kib) / 1024.0;
    goal("peak memory", peak, "MiB", 16.0, false);
    Ok(())
}

/// What is computed once the candles are in memory.
fn compute(candles: &Path, peer: Option<&Peer>) -> Result<()> {
    let mut own = Command::new(std::env::current_exe()?);
    let mut own = Server::start(own.arg(SERVE).arg(candles))?;
    let mut other = match peer {
        Some(peer) => Some(Server::start(&mut peer.command("serve", candles))?),
        None => None,
    };
    let work = ["kernel", "sweep 1", "sweep 2"];
    let mut took = [(); 3].map(|()| (Vec::new(), Vec::new()));
    for _ in 0..ROUNDS {
        for (work, (ours, theirs)) in work.iter().zip(&mut took) {
            let answer = own.ask(work)?;
            if let Some(other) = &mut other {
                let theirs_told = other.ask(work)?;
                expect_same(work, &answer.told, &theirs_told.told)?;
                theirs.push(theirs_told);
            }
            ours.push(answer);
        }
    }
    let [kernel, one, two] = took;
    println!(
        "\nThe kernel alone: z, steps, equity, Sharpe ratio and deepest fall of a million candles, one core\n"
    );
    #[allow(clippy::cast_precision_loss)] // A million.
    let speed = |runs: &[Answer]| ROWS as f64 / median(runs, |it| it.cpu_us);
    row("ouroboros, exact z", speed(&kernel.0), "M/s");
    if other.is_some() {
        row("numba, updated sums", speed(&kernel.1), "M/s");
        goal("kernel", speed(&kernel.0) / speed(&kernel.1), "x", 1.3, true);
    }
    println!("\nA sweep of 1,000 cells (10 windows, 10 entries, 10 exits) over 100,000 candles\n");
    let (wall, cpu) = (|it: &Answer| it.wall_us / 1e3, |it: &Answer| it.cpu_us / 1e3);
    row("wall time on two threads, ouroboros", median(&two.0, wall), "ms");
    row("CPU time on two threads, ouroboros", median(&two.0, cpu), "ms");
    row("CPU time on one thread, ouroboros", median(&one.0, cpu), "ms");
    if other.is_some() {
        row("wall time on two threads, numba", median(&two.1, wall), "ms");
        row("CPU time on two threads, numba", median(&two.1, cpu), "ms");
        goal("sweep, wall time", median(&two.1, wall) / median(&two.0, wall), "x", 4.0, true);
        goal("sweep, CPU time", median(&two.1, cpu) / median(&two.0, cpu), "x", 4.0, true);
    }
    goal("from one thread to two", median(&one.0, wall) / median(&two.0, wall), "x", 1.8, true);
    if other.is_some() {
        row("the same, numba", median(&one.1, wall) / median(&two.1, wall), "x");
    }
    row("the same, work that shares nothing", from_one_to_two()?, "x");
    Ok(())
}

/// What the machine itself has to give a second thread just now.
fn from_one_to_two() -> Result<f64> {
    let spin = || (0..30_000_000_u64).fold(0, |sum, it| std::hint::black_box(sum ^ it));
    let mut gains = Vec::new();
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        spin();
        let alone = begin.elapsed();
        let begin = Instant::now();
        let other = std::thread::spawn(spin);
        spin();
        other.join().map_err(|_| "a thread that counts")?;
        gains.push(2.0 * alone.as_secs_f64() / begin.elapsed().as_secs_f64());
    }
    Ok(median(&gains, |it| *it))
}

fn row(name: &str, measured: f64, unit: &str) {
    println!("{name:<44} {measured:>9.2} {unit}");
}

fn goal(name: &str, measured: f64, unit: &str, goal: f64, is_least: bool) {
    let is_met = if is_least { measured >= goal } else { measured <= goal };
    let (word, verdict) =
        (if is_least { "at least" } else { "at most" }, if is_met { "met" } else { "MISSED" });
    println!("{name:<44} {measured:>9.2} {unit}, {word} {goal}: {verdict}");
}

/// Both have to have traded the same, but for what binary floats lose.
fn expect_same(work: &str, one: &Value, other: &Value) -> Result<()> {
    let near = |name: &str| {
        let [one, other] = [one, other].map(|told| told[name].as_f64().unwrap_or(f64::NAN));
        (one - other).abs() <= 1e-6 * one.abs()
    };
    let is_same = one["round_trips"] == other["round_trips"]
        && ["net_pnl", "final_equity", "max_drawdown", "sharpe"].into_iter().all(near);
    if is_same { Ok(()) } else { Err(format!("{work}: {one} is not {other}").into()) }
}

// ---- those who compute ------------------------------------------------------------------------

fn ours(candles: &Path) -> Result<Run> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args([METER, env!("CARGO_BIN_EXE_ouroboros"), "backtest", "--json", "--candles"])
        .arg(candles)
        .current_dir(candles) // no `.env` of the project
        .env_clear()
        .env("TIMEFRAME", "1m")
        .env("PAPER_BALANCE_USDT", OPENING);
    measured(&mut command)
}

/// A Python that has pandas, polars and numba.
struct Peer {
    python: PathBuf,
}

impl Peer {
    /// In a virtual environment of its own; `None`, and why, where that can't be done.
    fn install(folder: &Path) -> Option<Self> {
        let environment = folder.join("venv");
        let python = environment.join("bin/python");
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(&environment);
        let mut install = Command::new(&python);
        install.args(["-m", "pip", "install", "--quiet", "pandas", "polars", "numba"]);
        for mut command in [make, install] {
            if !command.status().is_ok_and(|status| status.success()) {
                println!("Without Python: {command:?} did not work.\n");
                return None;
            }
        }
        Some(Self { python })
    }

    fn command(&self, what: &str, candles: &Path) -> Command {
        let mut command = Command::new(&self.python);
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/history.py");
        command.args([script, what]).arg(candles).env("NUMBA_CACHE_DIR", candles);
        command
    }

    fn run(&self, what: &str, candles: &Path) -> Result<Run> {
        let inner = self.command(what, candles);
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(METER).arg(inner.get_program()).args(inner.get_args());
        measured(command.env("NUMBA_CACHE_DIR", candles))
    }
}

/// A process that has the candles in memory and does what it is asked for.
struct Server {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

struct Answer {
    wall_us: f64,
    cpu_us: f64,
    told: Value,
}

impl Server {
    fn start(command: &mut Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (to, from) = (child.stdin.take(), child.stdout.take().ok_or("no output")?);
        let mut server = Self { child, to, from: BufReader::new(from) };
        server.line()?;
        Ok(server)
    }

    fn ask(&mut self, work: &str) -> Result<Answer> {
        writeln!(self.to.as_ref().ok_or("no input")?, "{work}")?;
        let answer: Value = serde_json::from_str(&self.line()?)?;
        let number = |name: &str| answer[name].as_f64().ok_or("no figure");
        let (wall_us, cpu_us) = (number("wall_us")?, number("cpu_us")?);
        Ok(Answer { wall_us, cpu_us, told: answer["told"].clone() })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.from.read_line(&mut line)? == 0 {
            return Err("a peer ended too early".into());
        }
        Ok(line)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It ends with its input.
        drop(self.to.take());
        let _ = self.child.wait();
    }
}

/// The other end of [`Server`].
fn serve(folder: &Path) -> Result<()> {
    let rows = rows(folder)?;
    let (rules, terms) = (rules()?, terms()?);
    let opening = Amount::new(OPENING.parse()?).ok_or("an amount")?;
    let ground = |rows, ends| Ground::new(rows, &rules, &terms, opening, ends);
    let (many, short) = (ground(&rows, Vec::new()), &rows[..rows.len().min(100_000)]);
    let few = ground(short, ends(short.len(), 5));
    let cells = grid();
    println!("ready");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (begin, before) = (Instant::now(), cpu_us(UsageWho::RUSAGE_SELF)?);
        let outcomes = match line.split_whitespace().collect::<Vec<_>>()[..] {
            ["kernel"] => {
                let cell = Cell { window: 20, entry: 2.0, exit: 0.0, edge_bps: 0.0 };
                vec![many.quickly(&many.window(&[cell]), cell).ok_or("two thresholds")?]
            }
            ["sweep", jobs] => {
                sweep::outcomes(&few, &cells, jobs.parse()?, |_| ()).map_err(|_| "it stopped")?
            }
            _ => return Err("nobody does that".into()),
        };
        let (wall, cpu) = (begin.elapsed(), cpu_us(UsageWho::RUSAGE_SELF)? - before);
        let wall_us = wall.as_secs_f64() * 1e6;
        println!("{}", json!({ "wall_us": wall_us, "cpu_us": cpu, "told": told(&outcomes)? }));
    }
    Ok(())
}

/// Of the first cell, but round trips and profit of all.
fn told(outcomes: &[Outcome]) -> Result<Value> {
    let first = &outcomes[0].figures;
    let trips: usize = outcomes.iter().map(|it| it.figures.total.round_trips).sum();
    let net: Decimal = outcomes.iter().map(|it| it.figures.total.net).sum();
    Ok(json!({
        "round_trips": trips,
        "net_pnl": net.to_string().parse::<f64>()?,
        "final_equity": first.final_equity.to_string().parse::<f64>()?,
        "max_drawdown": first.drawdown.depth,
        "sharpe": first.sharpe,
    }))
}

fn grid() -> Vec<Cell> {
    let mut cells = Vec::new();
    for window in (10..=100).step_by(10) {
        for entry in 0..10 {
            for exit in 0..10 {
                let (entry, exit) = (1.5 + 0.25 * f64::from(entry), f64::from(exit) / 10.0);
                cells.push(Cell { window, entry, exit, edge_bps: 0.0 });
            }
        }
    }
    cells
}

fn rules() -> Result<Rules> {
    Ok(Rules {
        interval: Interval::named("1m").ok_or("an interval")?,
        window: 20,
        thresholds: Thresholds { entry: 2.0, exit: 0.0, min_edge_bps: 0.0, stop: None },
        max_hold_candles: None,
        max_orders_per_day: None,
        max_daily_loss: None,
    })
}

/// The defaults of the configuration.
fn terms() -> Result<Terms> {
    Ok(Terms {
        amount: Amount::new(Decimal::from(150)).ok_or("an amount")?,
        fee: BasisPoints::new(Decimal::TEN).ok_or("a fee")?,
        slippage: BasisPoints::default(),
        max_slippage: None,
    })
}

fn rows(folder: &Path) -> Result<Vec<[Candle; 2]>> {
    let leg = |base: &str| -> Result<Vec<Candle>> {
        let asset = |code| Asset::new(code).ok_or("an asset");
        let symbol = Symbol { base: asset(base)?, quote: asset("USDT")? };
        let interval = Interval::named("1m").ok_or("an interval")?;
        Ok(dump::read(folder, &symbol, interval).map_err(|failure| failure.message)?)
    };
    Ok(leg("BTC")?.into_iter().zip(leg("ETH")?).map(<[Candle; 2]>::from).collect())
}

// ---- the history ------------------------------------------------------------------------------

/// The folder with so many candles of both legs, made unless it is there.
fn made(folder: &Path, rows: usize) -> Result<PathBuf> {
    let folder = folder.join(rows.to_string());
    fs::create_dir_all(&folder)?;
    for (name, price, seed) in [("BTC", 32_000.0, 1), ("ETH", 1_900.0, 2)] {
        let path = folder.join(format!("{name}USDT-1m-made.csv"));
        if !path.exists() {
            let new = path.with_extension("new");
            make(&new, rows, price, seed)?;
            fs::rename(new, path)?;
        }
    }
    Ok(folder)
}

/// A walk of minutes, as Binance writes them.
fn make(path: &Path, rows: usize, price: f64, seed: u64) -> Result<()> {
    let mut random = SplitMix64(seed);
    // Nearly normal, and the same on every machine.
    let mut normal = move || (0..12).map(|_| random.uniform()).sum::<f64>() - 6.0;
    let mut file = BufWriter::new(File::create(path)?);
    let (mut line, mut time, mut open) = (String::new(), 1_609_459_200_000_u64, price);
    for _ in 0..rows {
        let mut close = open * (1.0 + 0.0008 * normal());
        if !(price / 4.0..price * 4.0).contains(&close) {
            close = open;
        }
        let high = open.max(close) * (1.0 + 0.0004 * normal().abs());
        let low = open.min(close) * (1.0 - 0.0004 * normal().abs());
        let volume = 40.0 * (1.0 + normal().abs());
        let quote = volume * close;
        line.clear();
        writeln!(
            line,
            "{time},{open:.2}000000,{high:.2}000000,{low:.2}000000,{close:.2}000000,{volume:.5}000,{},\
             {quote:.8},{:.0},{:.5}000,{:.8},0",
            time + 59_999,
            volume * 20.0,
            volume / 2.0,
            quote / 2.0
        )?;
        file.write_all(line.as_bytes())?;
        (time, open) = (time + 60_000, close);
    }
    Ok(file.flush()?)
}
