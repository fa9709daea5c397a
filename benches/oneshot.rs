//! What one step costs: the real release binary against a TLS server on this machine.
//!
//! First a step without a trade on paper, then a live one that enters: behind the TLS of the second stands the simulated
//! exchange of the tests.
//!
//! `cargo bench` prints a table of figures with the bars they should stay under, then the same step by the usual Python
//! stack (`peer.py`) beside it. A slow figure is printed, not punished: only a step that fails ends the bench with 1.
//! `cargo bench -- --no-peer` leaves Python out.
//!
//! Instructions, requests and round trips are the figures to trust: they hardly depend on what else the machine does.
//! Wall time and CPU time are medians; the two programs run in turn, so that a busy minute hits both.

#![allow(clippy::disallowed_methods)] // A bench is about the real clock.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

#[path = "../tests/exchange/mod.rs"]
mod exchange;
mod meter;

use exchange::{Exchange, Setup};
use meter::{METER, Result, Run, measured, median, meter};

const RUNS: usize = 15;
const RTT: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args_os().skip(1).collect();
    let result = match arguments.split_first() {
        Some((first, command)) if first == METER => meter(command),
        _ => bench(!arguments.iter().any(|argument| argument == "--no-peer")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("the bench failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(with_peer: bool) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let binary = Path::new(env!("CARGO_BIN_EXE_ouroboros"));
    let market = Arc::new(Market::default());
    let direct = market.serve(folder.path())?;
    let line = DelayLine::before(direct)?;
    let step = Step { binary, folder: folder.path(), market: &market };

    println!(
        "One step without a trade: lock, load, candles of both legs over TLS, z-score, decide, save."
    );
    println!("The server is on this machine; medians of {RUNS} runs.\n");
    println!("{:<44} {:>12} {:>12} {:>8}", "figure", "measured", "bar", "of bar");

    match step.instructions(direct)? {
        Ok(instructions) => row("instructions (callgrind)", instructions / 1e6, "M", Some(10.0)),
        Err(reason) => println!("{:<44} not measured: {reason}", "instructions (callgrind)"),
    }

    let runs = (0..RUNS).map(|_| step.run(direct)).collect::<Result<Vec<_>>>()?;
    row("peak memory", median(&runs, |run| run.peak_kib) / 1024.0, "MiB", Some(6.0));
    row("CPU time, user and system", median(&runs, |run| run.cpu_ms), "ms", None);
    row("wall time, no delay", median(&runs, |run| run.wall_ms), "ms", None);

    let mut seen = Vec::new();
    let delayed = (0..RUNS)
        .map(|_| {
            line.forget();
            let run = step.run(line.address)?;
            seen.push((market.requests(), line.connections(), line.round_trips()));
            Ok(run)
        })
        .collect::<Result<Vec<_>>>()?;
    let rtt_ms = RTT.as_secs_f64() * 1e3;
    let in_rtt = |run: &Run| run.wall_ms / rtt_ms;
    row("wall time behind a line of 50 ms", median(&delayed, in_rtt), "RTT", Some(3.3));
    let least = delayed.iter().map(in_rtt).fold(f64::INFINITY, f64::min);
    row("the same, least of all runs", least, "RTT", Some(3.3));
    row("sequential round trips", median(&seen, |seen| as_f64(seen.2)), "", Some(3.0));
    row("requests", median(&seen, |seen| as_f64(seen.0)), "", Some(2.0));
    row("connections", median(&seen, |seen| as_f64(seen.1)), "", Some(2.0));
    row("size of the binary", as_f64(fs::metadata(binary)?.len()) / 1e6, "MB", Some(4.5));

    order(binary, folder.path())?;

    if with_peer {
        println!();
        match Peer::install(folder.path())? {
            Ok(peer) => compare(&step, &peer, direct)?,
            Err(reason) => println!("The same step with ccxt and pandas: not measured, {reason}."),
        }
    }
    Ok(())
}

/// The table of a live start that enters.
fn order(binary: &Path, folder: &Path) -> Result<()> {
    let front = Front::serve(folder)?;
    let line = DelayLine::before(front.address)?;
    let entry = Entry::prepare(binary, folder, &front)?;
    println!(
        "\nOne live step that buys: the same with key, account, orders, prices and rules, and one order.\n"
    );
    println!("{:<44} {:>12} {:>12} {:>8}", "figure", "measured", "bar", "of bar");
    match entry.instructions(front.address) {
        Some(instructions) => row("instructions (callgrind)", instructions / 1e6, "M", None),
        None => println!("{:<44} not measured", "instructions (callgrind)"),
    }
    let runs = (0..RUNS)
        .map(|_| {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg(METER).arg(binary);
            entry.measure(|| measured(entry.command(&mut command, front.address)))
        })
        .collect::<Result<Vec<_>>>()?;
    row("peak memory", median(&runs, |(run, _)| run.peak_kib) / 1024.0, "MiB", None);
    row("CPU time, user and system", median(&runs, |(run, _)| run.cpu_ms), "ms", None);
    row("wall time, no delay", median(&runs, |(run, _)| run.wall_ms), "ms", None);

    let rtt_ms = RTT.as_secs_f64() * 1e3;
    let delayed = (0..RUNS)
        .map(|_| {
            line.forget();
            let (begin, seen) = entry.measure(|| {
                let begin = Instant::now();
                let output = entry.command(&mut Command::new(binary), line.address).output()?;
                if output.status.success() { Ok(begin) } else { Err(failed(&output)) }
            })?;
            // The answer still has to travel back.
            let answered = front.answered().ok_or("no order was answered")? + RTT / 2;
            let wall_ms = answered.duration_since(begin).as_secs_f64() * 1e3;
            Ok((wall_ms / rtt_ms, line.round_trips(), line.connections(), seen))
        })
        .collect::<Result<Vec<_>>>()?;
    let name = "order acknowledged behind a line of 50 ms";
    row(name, median(&delayed, |seen| seen.0), "RTT", Some(4.4));
    let least = delayed.iter().map(|seen| seen.0).fold(f64::INFINITY, f64::min);
    row("the same, least of all runs", least, "RTT", Some(4.4));
    row("sequential round trips", median(&delayed, |seen| as_f64(seen.1)), "", Some(4.0));
    row("requests", median(&delayed, |seen| as_f64(seen.3.requests)), "", Some(25.0));
    row("their weight", median(&delayed, |seen| as_f64(seen.3.weight)), "", Some(200.0));
    row("connections", median(&delayed, |seen| as_f64(seen.2)), "", None);
    Ok(())
}

/// Ours and theirs in turn, against the same server.
fn compare(step: &Step, peer: &Peer, server: SocketAddr) -> Result<()> {
    type Figure = fn(&Run) -> f64;
    const ROUNDS: usize = 7;
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..ROUNDS {
        ours.push(step.run(server)?);
        theirs.push(peer.run(step.folder, server)?);
    }
    println!(
        "The same step in Python ({}), in turn with ours, medians of {ROUNDS}.\n",
        peer.versions
    );
    println!("{:<44} {:>12} {:>12} {:>8}", "figure", "ouroboros", "Python", "ratio");
    let compared: [(&str, &str, Figure); 3] = [
        ("wall time", "ms", |run| run.wall_ms),
        ("CPU time, user and system", "ms", |run| run.cpu_ms),
        ("peak memory", "MiB", |run| run.peak_kib / 1024.0),
    ];
    for (name, unit, figure) in compared {
        let (a, b) = (median(&ours, figure), median(&theirs, figure));
        println!("{name:<44} {a:>8.2} {unit:<3} {b:>8.1} {unit:<3} {:>7.0}x", b / a);
    }
    Ok(())
}

fn row(name: &str, measured: f64, unit: &str, bar: Option<f64>) {
    let Some(bar) = bar else {
        return println!("{name:<44} {measured:>8.2} {unit:<3}");
    };
    let ratio = measured / bar;
    let over = if ratio > 1.0 { "  over the bar" } else { "" };
    println!("{name:<44} {measured:>8.2} {unit:<3} {bar:>8.1} {unit:<3} {ratio:>8.2}{over}");
}

#[allow(clippy::cast_precision_loss)] // Counts and sizes far below 2^53.
fn as_f64(count: u64) -> f64 {
    count as f64
}

// ---- the step that is measured ----------------------------------------------------------------

struct Step<'a> {
    binary: &'a Path,
    folder: &'a Path,
    market: &'a Market,
}

impl Step<'_> {
    /// One measured step. It finds the book of an earlier candle, so that it has a decision to make and to save.
    fn run(&self, server: SocketAddr) -> Result<Run> {
        let state = self.book_of_an_earlier_candle()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(METER).arg(self.binary);
        measured(self.step(&mut command, &state, server))
    }

    /// Instructions of one step, or why they could not be counted.
    fn instructions(&self, server: SocketAddr) -> Result<std::result::Result<f64, String>> {
        let mut counts = Vec::new();
        for _ in 0..3 {
            let state = self.book_of_an_earlier_candle()?;
            let mut command = Command::new("valgrind");
            command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(self.binary);
            let output = match self.step(&mut command, &state, server).output() {
                Ok(output) => output,
                Err(error) => return Ok(Err(format!("`valgrind` can't be started ({error})"))),
            };
            let text = String::from_utf8_lossy(&output.stderr);
            if !output.status.success() {
                return Err(format!(
                    "the step under valgrind ended with {}: {text}",
                    output.status
                )
                .into());
            }
            let count = text
                .lines()
                .find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok());
            match count {
                Some(count) => counts.push(count),
                None => return Ok(Err("callgrind printed no count".into())),
            }
        }
        Ok(Ok(median(&counts, |count| *count)))
    }

    /// A server that is 45 s behind, then 45 s ahead: far enough apart for another minute's candle, and both near
    /// enough to the local clock for the program's own check.
    fn book_of_an_earlier_candle(&self) -> Result<PathBuf> {
        let state = self.folder.join("state");
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        self.market.seconds_ahead.store(-45, Ordering::Relaxed);
        let server = self.market.address.lock().expect(UNPOISONED).ok_or("the server is not up")?;
        let output = self.step(&mut Command::new(self.binary), &state, server).output()?;
        self.market.seconds_ahead.store(45, Ordering::Relaxed);
        self.market.forget();
        // What was written and removed here must not wait for the disk in the step's own fsync.
        rustix::fs::sync();
        if output.status.success() {
            Ok(state)
        } else {
            let text = String::from_utf8_lossy(&output.stderr);
            Err(format!("the first step ended with {}: {text}", output.status).into())
        }
    }

    fn step<'c>(
        &self,
        command: &'c mut Command,
        state: &Path,
        server: SocketAddr,
    ) -> &'c mut Command {
        command
            .arg("--dry-run")
            .arg("--state-dir")
            .arg(state)
            .current_dir(self.folder) // no `.env` of the project
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("TIMEFRAME", "1m")
            .env("BINANCE_MARKET_URL", format!("https://localhost:{}", server.port()))
            .env("SSL_CERT_FILE", self.folder.join(CA_FILE))
            .stdin(Stdio::null())
    }
}

/// A live start that finds a book of an earlier candle, nothing open, and an entry.
struct Entry<'a> {
    binary: &'a Path,
    folder: &'a Path,
    front: &'a Front,
}

/// What the exchange counted in one start.
struct Counted {
    requests: u64,
    weight: u64,
}

impl<'a> Entry<'a> {
    /// Makes the book that every start begins from.
    fn prepare(binary: &'a Path, folder: &'a Path, front: &'a Front) -> Result<Self> {
        let entry = Self { binary, folder, front };
        // An exchange that is a minute behind, as far as the program lets it be.
        while SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_secs() % 60 >= 57 {
            thread::sleep(Duration::from_millis(500));
        }
        let exchange = entry.exchange(-58_000, ["20"; 30]);
        let output = entry.command(&mut Command::new(binary), front.address).output()?;
        if !output.status.success() {
            return Err(failed(&output));
        }
        drop(exchange);
        // That clock was made up: the next start would stamp its questions by it.
        fs::remove_file(entry.state().join("live/outside.json"))?;
        fs::rename(entry.state(), folder.join("book"))?;
        Ok(entry)
    }

    fn state(&self) -> PathBuf {
        self.folder.join("state-live")
    }

    /// An account in which nothing has happened, behind the TLS.
    fn exchange<const N: usize>(&self, offset_ms: i64, ratios: [&str; N]) -> Exchange {
        let exchange = Exchange::start(Setup::default());
        exchange.with(|world| {
            world.offset_ms = offset_ms;
            world.set_spreads(&ratios);
        });
        self.front.put_before(&exchange);
        exchange
    }

    /// One start from the same book upon a new exchange; it must have bought.
    fn measure<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<(T, Counted)> {
        let (state, book) = (self.state(), self.folder.join("book"));
        if state.exists() {
            fs::remove_dir_all(&state)?;
        }
        for folder in [&state, &state.join("live")] {
            fs::create_dir(folder)?;
        }
        for name in ["state.json", "journal.jsonl", "lock"] {
            fs::copy(book.join("live").join(name), state.join("live").join(name))?;
        }
        // What was written and removed here must not wait for the disk in the step's own fsync.
        rustix::fs::sync();
        let mut ratios = ["20"; 30];
        ratios[29] = "21";
        let exchange = self.exchange(0, ratios);
        let measured = start()?;
        exchange.with(|world| {
            let bought = world.orders.iter().filter(|order| order.status == "FILLED").count();
            if bought != 1 || world.posts() != 1 {
                return Err("the live step did not buy once".into());
            }
            let requests = u64::try_from(world.log.len())?;
            let weight = world.log.iter().map(|logged| logged.weight).sum();
            Ok((measured, Counted { requests, weight }))
        })
    }

    /// Instructions of one start, if they can be counted.
    fn instructions(&self, server: SocketAddr) -> Option<f64> {
        let mut command = Command::new("valgrind");
        command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]).arg(self.binary);
        let counted = self.measure(|| Ok(self.command(&mut command, server).output().ok()));
        let Ok((Some(output), _)) = counted else { return None };
        let text = String::from_utf8_lossy(&output.stderr);
        let mut lines = text.lines();
        lines.find_map(|line| line.split_once("Collected : ")?.1.trim().parse().ok())
    }

    fn command<'c>(&self, command: &'c mut Command, server: SocketAddr) -> &'c mut Command {
        let (key, secret) = self.front.credentials();
        command
            .arg("--state-dir")
            .arg(self.state())
            .current_dir(self.folder)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("DRY_RUN", "false")
            .env("TIMEFRAME", "1m")
            .env("BINANCE_BASE_URL", format!("https://localhost:{}", server.port()))
            .env("BINANCE_API_KEY", key)
            .env("BINANCE_API_SECRET", secret)
            .env("RECV_WINDOW_MS", "60000") // under valgrind an order would come too late
            .env("SSL_CERT_FILE", self.folder.join(CA_FILE))
            .stdin(Stdio::null())
    }
}

fn failed(output: &std::process::Output) -> Box<dyn Error> {
    let text = String::from_utf8_lossy(&output.stderr);
    format!("the live step ended with {}: {text}", output.status).into()
}

/// The ccxt and pandas script in a virtual environment of its own.
struct Peer {
    python: PathBuf,
    versions: String,
}

impl Peer {
    /// Installs it, or says why that can't be done here.
    fn install(folder: &Path) -> Result<std::result::Result<Self, String>> {
        let environment = folder.join("venv");
        let python = environment.join("bin/python");
        let mut make = Command::new("python3");
        make.args(["-m", "venv"]).arg(&environment);
        let mut install = Command::new(&python);
        install.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "ccxt",
            "pandas",
        ]);
        for (command, reason) in
            [(make, "`python3 -m venv` does not work here"), (install, "PyPI is out of reach")]
        {
            let mut command = command;
            let done =
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !done.is_ok_and(|status| status.success()) {
                return Ok(Err(reason.into()));
            }
        }
        let print = "import ccxt, pandas, sys; print(f'{sys.version.split()[0]}, ccxt {ccxt.__version__}, pandas {pandas.__version__}')";
        let versions = Command::new(&python).args(["-c", print]).output()?;
        Ok(Ok(Self { python, versions: String::from_utf8_lossy(&versions.stdout).trim().into() }))
    }

    fn run(&self, folder: &Path, server: SocketAddr) -> Result<Run> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg(METER)
            .arg(&self.python)
            .arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/peer.py"))
            .arg(format!("https://localhost:{}", server.port()))
            .arg(folder.join(CA_FILE))
            .arg(folder.join("peer.json"))
            .stdin(Stdio::null());
        measured(&mut command)
    }
}

// ---- the server -------------------------------------------------------------------------------

const CA_FILE: &str = "ca.pem";
const UNPOISONED: &str = "no thread panics while it holds the lock";

/// Binance's public answers over TLS 1.3 and HTTP/1.1, one thread a connection.
#[derive(Default)]
struct Market {
    address: Mutex<Option<SocketAddr>>,
    requests: Mutex<u64>,
    /// How far the exchange's clock is ahead of ours.
    seconds_ahead: AtomicI64,
}

impl Market {
    fn serve(self: &Arc<Self>, folder: &Path) -> Result<SocketAddr> {
        let tls = certificates(&folder.join(CA_FILE))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        *self.address.lock().expect(UNPOISONED) = Some(address);
        let market = Arc::clone(self);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (market, tls) = (Arc::clone(&market), Arc::clone(&tls));
                // A client that goes away ends its connection, nothing else.
                thread::spawn(move || market.talk(stream, tls).ok());
            }
        });
        Ok(address)
    }

    fn talk(&self, stream: TcpStream, tls: Arc<rustls::ServerConfig>) -> Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = rustls::StreamOwned::new(rustls::ServerConnection::new(tls)?, stream);
        let mut received = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            received.extend_from_slice(&buffer[..count]);
            // Only GETs come, so a request ends with its head.
            while let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let head: Vec<u8> = received.drain(..end + 4).collect();
                let head = String::from_utf8_lossy(&head);
                let target = head.split(' ').nth(1).unwrap_or_default();
                *self.requests.lock().expect(UNPOISONED) += 1;
                stream.write_all(self.answer(target).as_bytes())?;
            }
        }
    }

    fn answer(&self, target: &str) -> String {
        let now_ms = self.now_ms();
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let parameter = |name: &str| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or_default()
        };
        let body = match path {
            "/api/v3/klines" => {
                klines(parameter("symbol"), parameter("limit").parse().unwrap_or(500), now_ms)
            }
            "/api/v3/time" => format!(r#"{{"serverTime":{now_ms}}}"#),
            "/api/v3/exchangeInfo" => exchange_info(),
            "/api/v3/ticker/bookTicker" => format!(
                r#"{{"symbol":"{}","bidPrice":"100.00000000","bidQty":"9.00000000","askPrice":"100.01000000","askQty":"9.00000000"}}"#,
                parameter("symbol")
            ),
            _ => r#"{"code":-1,"msg":"not served here"}"#.into(),
        };
        let date = jiff::fmt::rfc2822::DateTimePrinter::new()
            .timestamp_to_rfc9110_string(
                &jiff::Timestamp::from_millisecond(now_ms).expect("a time near now"),
            )
            .expect("a time near now");
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json;charset=UTF-8\r\nContent-Length: {}\r\nConnection: keep-alive\r\n\
             Date: {date}\r\nX-MBX-USED-WEIGHT-1M: 4\r\n\r\n{body}",
            body.len()
        )
    }

    fn now_ms(&self) -> i64 {
        let now =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock after 1970");
        let ahead = self.seconds_ahead.load(Ordering::Relaxed) * 1000;
        i64::try_from(now.as_millis()).expect("a clock before the year 292 million") + ahead
    }

    fn requests(&self) -> u64 {
        *self.requests.lock().expect(UNPOISONED)
    }

    fn forget(&self) {
        *self.requests.lock().expect(UNPOISONED) = 0;
    }
}

/// TLS before a simulated exchange that speaks plain HTTP.
struct Front {
    address: SocketAddr,
    behind: Arc<Mutex<Behind>>,
}

#[derive(Default)]
struct Behind {
    address: Option<SocketAddr>,
    credentials: (String, String),
    /// When the answer to the last order left.
    answered: Option<Instant>,
}

impl Front {
    fn serve(folder: &Path) -> Result<Self> {
        let tls = certificates(&folder.join(CA_FILE))?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let behind = Arc::new(Mutex::new(Behind::default()));
        let shared = Arc::clone(&behind);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (behind, tls) = (Arc::clone(&shared), Arc::clone(&tls));
                thread::spawn(move || pass_on(stream, tls, &behind).ok());
            }
        });
        Ok(Self { address, behind })
    }

    fn put_before(&self, exchange: &Exchange) {
        let address = exchange.url().trim_start_matches("http://").parse().ok();
        let credentials = (exchange.key(), exchange.secret());
        *self.behind.lock().expect(UNPOISONED) = Behind { address, credentials, answered: None };
    }

    fn credentials(&self) -> (String, String) {
        self.behind.lock().expect(UNPOISONED).credentials.clone()
    }

    fn answered(&self) -> Option<Instant> {
        self.behind.lock().expect(UNPOISONED).answered
    }
}

/// Requests one after the other, each to its end, until the client goes away.
fn pass_on(
    stream: TcpStream,
    tls: Arc<rustls::ServerConfig>,
    behind: &Mutex<Behind>,
) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut client = rustls::StreamOwned::new(rustls::ServerConnection::new(tls)?, stream);
    let address = behind.lock().expect(UNPOISONED).address.ok_or("no exchange")?;
    let mut server = TcpStream::connect(address)?;
    server.set_nodelay(true)?;
    loop {
        let request = message(&mut client)?;
        server.write_all(&request)?;
        let answer = message(&mut server)?;
        client.write_all(&answer)?;
        client.flush()?;
        if request.starts_with(b"POST /api/v3/order ") {
            behind.lock().expect(UNPOISONED).answered = Some(Instant::now());
        }
    }
}

/// A head and as much of a body as it names.
fn message(from: &mut impl Read) -> Result<Vec<u8>> {
    let mut received = Vec::new();
    let mut buffer = [0; 16384];
    loop {
        if let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&received[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(Ok(0), |length| length.trim().parse())?;
            if received.len() >= end + 4 + length {
                return Ok(received);
            }
        }
        match from.read(&mut buffer)? {
            0 => return Err("the end".into()),
            count => received.extend_from_slice(&buffer[..count]),
        }
    }
}

/// Minute candles up to the forming one. The spread goes round in three small steps, so |z| stays below 1.3: no trade.
fn klines(symbol: &str, limit: i64, now_ms: i64) -> String {
    const STEP_MS: i64 = 60_000;
    let newest = now_ms / STEP_MS;
    let mut body = String::from("[");
    for index in newest - limit + 1..=newest {
        let close = if symbol.starts_with("BTC") { 64_000 + index % 3 * 10 } else { 3200 };
        let open_time = index * STEP_MS;
        let close_time = open_time + STEP_MS - 1;
        let comma = if body.len() > 1 { "," } else { "" };
        write!(
            body,
            r#"{comma}[{open_time},"{close}.00000000","{}.00000000","{}.00000000","{close}.00000000","512.40312000",{close_time},"32867120.11203400",98123,"250.10001000","16041233.90112000","0"]"#,
            close + 5,
            close - 5
        )
        .expect("a String takes everything");
    }
    body.push(']');
    body
}

fn exchange_info() -> String {
    let symbols: Vec<String> = [("BTC", "0.00001000"), ("ETH", "0.00010000")]
        .iter()
        .map(|(asset, step)| {
            format!(
                r#"{{"symbol":"{asset}USDT","status":"TRADING","baseAsset":"{asset}","baseAssetPrecision":8,"quoteAsset":"USDT","quotePrecision":8,"quoteAssetPrecision":8,"orderTypes":["LIMIT","MARKET"],"quoteOrderQtyMarketAllowed":true,"isSpotTradingAllowed":true,"isMarginTradingAllowed":false,"filters":[{{"filterType":"PRICE_FILTER","minPrice":"0.01000000","maxPrice":"1000000.00000000","tickSize":"0.01000000"}},{{"filterType":"LOT_SIZE","minQty":"{step}","maxQty":"9000.00000000","stepSize":"{step}"}},{{"filterType":"NOTIONAL","minNotional":"5.00000000","applyMinToMarket":true,"maxNotional":"9000000.00000000","applyMaxToMarket":false,"avgPriceMins":5}}],"permissions":[],"permissionSets":[["SPOT"]]}}"#
            )
        })
        .collect();
    format!(
        r#"{{"timezone":"UTC","serverTime":1784545207000,"rateLimits":[],"exchangeFilters":[],"symbols":[{}]}}"#,
        symbols.join(",")
    )
}

/// A root, an intermediate and a leaf on P-256, as public servers have them; the root goes to `ca_file`.
fn certificates(ca_file: &Path) -> Result<Arc<rustls::ServerConfig>> {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

    let authority = |name: &str| {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        params
    };
    let (root, root_key) = (authority("bench root"), KeyPair::generate()?);
    fs::write(ca_file, root.self_signed(&root_key)?.pem())?;
    let root = Issuer::new(root, root_key);
    let (middle, middle_key) = (authority("bench intermediate"), KeyPair::generate()?);
    let middle_certificate = middle.signed_by(&middle_key, &root)?;
    let middle = Issuer::new(middle, middle_key);
    let leaf_key = KeyPair::generate()?;
    let leaf = CertificateParams::new(["localhost".to_owned()])?.signed_by(&leaf_key, &middle)?;

    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![leaf.der().clone(), middle_certificate.der().clone()],
            rustls::pki_types::PrivatePkcs8KeyDer::from(leaf_key.serialize_der()).into(),
        )?;
    Ok(Arc::new(config))
}

// ---- the delay line ---------------------------------------------------------------------------

/// A TCP proxy that makes this machine's loopback as slow as a real line.
///
/// Bytes take half a round trip each way. A connect takes one, too, but the kernel completes it at once before any program
/// can step in; so what the client sends in the first round trip after it counts as sent at the end of that. What the
/// client computes meanwhile (its TLS hello, well under a millisecond) therefore costs nothing here.
struct DelayLine {
    address: SocketAddr,
    trips: Arc<Mutex<Trips>>,
}

/// Counts round trips as a logical clock: an answer knows one more than the question did, and the client's next question
/// knows as much as the best informed answer so far.
#[derive(Default)]
struct Trips {
    known_to_client: u64,
    connections: u64,
}

impl DelayLine {
    fn before(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let trips = Arc::new(Mutex::new(Trips::default()));
        let shared = Arc::clone(&trips);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let trips = Arc::clone(&shared);
                thread::spawn(move || carry(&client, server, &trips).ok());
            }
        });
        Ok(Self { address, trips })
    }

    fn forget(&self) {
        *self.trips.lock().expect(UNPOISONED) = Trips::default();
    }

    fn connections(&self) -> u64 {
        self.trips.lock().expect(UNPOISONED).connections
    }

    fn round_trips(&self) -> u64 {
        self.trips.lock().expect(UNPOISONED).known_to_client
    }
}

/// Both directions of one connection.
fn carry(client: &TcpStream, server: SocketAddr, trips: &Mutex<Trips>) -> io::Result<()> {
    let connected = Instant::now() + RTT;
    let connect_knows = {
        let mut trips = trips.lock().expect(UNPOISONED);
        trips.connections += 1;
        trips.known_to_client + 1
    };
    let server = TcpStream::connect(server)?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let asked = Mutex::new(connect_knows);
    thread::scope(|scope| {
        scope.spawn(|| {
            let ask = |now: Instant| {
                let mut asked = asked.lock().expect(UNPOISONED);
                *asked = asked.max(trips.lock().expect(UNPOISONED).known_to_client);
                (now.max(connected) + RTT / 2, 0)
            };
            relay(client, &server, ask, |_| ())
        });
        let answer = |now: Instant| (now + RTT / 2, *asked.lock().expect(UNPOISONED) + 1);
        let arrive = |knows: u64| {
            let mut trips = trips.lock().expect(UNPOISONED);
            trips.known_to_client = trips.known_to_client.max(knows);
        };
        relay(&server, client, answer, arrive)
    })
}

/// Carries bytes one way. `depart` says when they arrive and what they know, `arrive` is told when they do.
fn relay(
    mut from: &TcpStream,
    mut to: &TcpStream,
    depart: impl Fn(Instant) -> (Instant, u64),
    arrive: impl Fn(u64) + Send,
) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel::<(Instant, u64, Vec<u8>)>();
    thread::scope(|scope| {
        scope.spawn(move || {
            for (due, knows, bytes) in receiver {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                arrive(knows);
                // A peer that has gone needs nothing more; the other direction ends by itself.
                if to.write_all(&bytes).is_err() {
                    break;
                }
            }
            to.shutdown(Shutdown::Write).ok();
        });
        let mut buffer = [0; 16384];
        loop {
            let count = from.read(&mut buffer)?;
            let (due, knows) = depart(Instant::now());
            if count == 0 || sender.send((due, knows, buffer[..count].to_vec())).is_err() {
                drop(sender);
                return Ok(());
            }
        }
    })
}
