//! One start of the real binary, and what came of it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rust_decimal::Decimal;
use serde_json::Value;

use super::binance::Server;
use super::clock;
use super::folder;
use super::table::decimal;

/// A start of the program: environment, arguments, folders.
///
/// Nothing is inherited but `PATH`; standard input is empty; the working folder is the test's own.
#[must_use]
#[derive(Clone)]
pub(crate) struct Run {
    env: BTreeMap<OsString, OsString>,
    args: Vec<OsString>,
    cwd: PathBuf,
    state: Option<PathBuf>,
    shell: Option<String>,
    checked: bool,
}

impl Run {
    /// A start without any settings.
    #[allow(clippy::disallowed_methods, reason = "`PATH` is all that a test takes from outside")]
    pub(crate) fn bare(cwd: &Path) -> Self {
        let path = std::env::var_os("PATH").unwrap_or_default();
        Self {
            env: BTreeMap::from([("PATH".into(), path)]),
            args: Vec::new(),
            cwd: cwd.to_owned(),
            state: None,
            shell: None,
            checked: true,
        }
    }

    /// Paper trading against a scripted exchange, with a window so short that a person can check it.
    pub(crate) fn paper(cwd: &Path, server: &Server) -> Self {
        Self::bare(cwd)
            .env("BINANCE_MARKET_URL", server.url())
            .env("TIMEFRAME", "1m")
            .env("ROLLING_WINDOW", "4")
            .env("ENTRY_THRESHOLD", "1.2")
    }

    /// A replay of candles in a folder, with the same short window.
    pub(crate) fn replay(cwd: &Path, candles: &Path) -> Self {
        Self::bare(cwd)
            .args(["--candles".as_ref(), candles.as_os_str()])
            .env("TIMEFRAME", "1h")
            .env("ROLLING_WINDOW", "4")
            .env("ENTRY_THRESHOLD", "1.2")
    }

    /// One more environment variable.
    pub(crate) fn env(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Several of them, from a test's table.
    pub(crate) fn envs(self, pairs: &[(&str, &str)]) -> Self {
        pairs.iter().fold(self, |run, (name, value)| run.env(name, value))
    }

    /// One variable less.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.env.remove(OsStr::new(name));
        self
    }

    /// More arguments.
    pub(crate) fn args(mut self, args: impl IntoIterator<Item = impl Into<OsString>>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Where the state is kept, by option.
    pub(crate) fn state_dir(mut self, path: &Path) -> Self {
        self.state = Some(path.to_owned());
        self.args(["--state-dir".as_ref(), path.as_os_str()])
    }

    /// Lines of a shell that come before the program in the same process: `umask 000`, `exec >&-`.
    pub(crate) fn shell(mut self, lines: &str) -> Self {
        self.shell = Some(lines.to_owned());
        self
    }

    /// Leaves out the look at the state directory, for tests that put odd things there themselves.
    pub(crate) fn unchecked(mut self) -> Self {
        self.checked = false;
        self
    }

    /// Runs it to its end, which must be this exit code.
    #[track_caller]
    pub(crate) fn expect_exit(self, code: i32) -> Outcome {
        let outcome = self.start().wait();
        assert_eq!(outcome.code, code, "the exit code\n{}", outcome.transcript());
        outcome
    }

    /// Runs it to its end, which must be one of these exit codes.
    #[track_caller]
    pub(crate) fn expect_one_of(self, codes: &[i32]) -> Outcome {
        let outcome = self.start().wait();
        assert!(
            codes.contains(&outcome.code),
            "an exit code of {codes:?}\n{}",
            outcome.transcript()
        );
        outcome
    }

    /// Starts it and returns at once.
    pub(crate) fn start(self) -> Running {
        self.start_with(Stdio::piped(), Stdio::piped())
    }

    /// The same with other ends for its output.
    pub(crate) fn start_with(self, stdout: Stdio, stderr: Stdio) -> Running {
        let program = env!("CARGO_BIN_EXE_ouroboros");
        let mut command = match &self.shell {
            None => Command::new(program),
            Some(lines) => {
                let mut shell = Command::new("/bin/sh");
                shell.args(["-c", &format!("{lines}; exec \"$0\" \"$@\""), program]);
                shell
            }
        };
        command.args(&self.args).env_clear().envs(&self.env).current_dir(&self.cwd);
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let started = clock::instant();
        let mut child = command.spawn().expect("the program starts");
        let stdout = child.stdout.take().map(collect);
        let stderr = child.stderr.take().map(collect);
        Running { child, started, stdout, stderr, run: self }
    }
}

/// A program that has not ended yet.
pub(crate) struct Running {
    child: Child,
    started: Instant,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    run: Run,
}

impl Running {
    /// The arguments that everyone on the machine can see.
    pub(crate) fn command_line(&self) -> Vec<u8> {
        std::fs::read(format!("/proc/{}/cmdline", self.child.id())).expect("it is still running")
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("it is still running");
    }

    /// Whether it has ended.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("a child").is_some()
    }

    /// Waits for its end and checks what must hold after every run.
    #[track_caller]
    pub(crate) fn wait(mut self) -> Outcome {
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                break status;
            }
            if self.started.elapsed() > LIMIT {
                self.child.kill().expect("it hangs");
                panic!("no end after {LIMIT:?}: {:?}", self.run.args);
            }
            thread::sleep(Duration::from_millis(3));
        };
        let took = self.started.elapsed();
        let text = |handle: Option<JoinHandle<String>>| {
            handle.map(|handle| handle.join().expect("a reader")).unwrap_or_default()
        };
        let (stdout, stderr) = (text(self.stdout), text(self.stderr));
        // A process that a signal ended has no code; -1 is none of the contract's.
        let code = status.code().unwrap_or(-1);
        let outcome = Outcome { code, stdout, stderr, took };
        assert!(!outcome.stderr.contains("panicked"), "a panic\n{}", outcome.transcript());
        if code != -1 && self.run.checked {
            assert!(CODES.contains(&code), "not in the table\n{}", outcome.transcript());
            self.run.state.iter().for_each(|state| folder::check_invariants(state));
        }
        outcome
    }
}

/// What a start came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl Outcome {
    /// Standard output as the one JSON object that `--json` promises.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let value: Value = serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("no JSON: {error}\n{}", self.transcript()));
        assert!(value.is_object(), "one JSON object\n{}", self.transcript());
        value
    }

    /// The same, of which these fields have these values.
    #[track_caller]
    pub(crate) fn expect_json(&self, fields: &[(&str, Value)]) -> Value {
        let value = self.json();
        for (pointer, expected) in fields {
            let found = value.pointer(pointer);
            assert_eq!(found, Some(expected), "{pointer}\n{}", self.transcript());
        }
        value
    }

    /// Everything that it said, in lower case, to look for words whose order is not promised.
    pub(crate) fn said(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr).to_lowercase()
    }

    /// That each of these words is in what it said.
    #[track_caller]
    pub(crate) fn expect_said(&self, words: &[&str]) {
        let said = self.said();
        for word in words {
            assert!(
                said.contains(&word.to_lowercase()),
                "`{word}` is not said\n{}",
                self.transcript()
            );
        }
    }

    /// All of it, for the message of a failed test.
    pub(crate) fn transcript(&self) -> String {
        let mut text = format!("exit {} after {:?}\n", self.code, self.took);
        let _ = write!(text, "--- stdout\n{}\n--- stderr\n{}", self.stdout, self.stderr);
        text
    }
}

/// A decimal of the program's JSON, which is always a string in plain notation.
#[track_caller]
pub(crate) fn money(value: &Value, pointer: &str) -> Decimal {
    let found = value.pointer(pointer).and_then(Value::as_str);
    let text = found.unwrap_or_else(|| panic!("{pointer} is no decimal string in {value:#}"));
    decimal(text)
}

/// That decimals of the program's JSON have these values, whatever their trailing zeros.
#[track_caller]
pub(crate) fn expect_money(value: &Value, expected: &[(&str, &str)]) {
    for (pointer, text) in expected {
        assert_eq!(money(value, pointer), decimal(text), "{pointer} of {value:#}");
    }
}

fn collect(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("a pipe reads");
        String::from_utf8(bytes).expect("the program writes UTF-8")
    })
}

/// The exit codes of the contract but 70, which is a bug.
const CODES: [i32; 9] = [0, 2, 65, 69, 74, 75, 76, 77, 78];
/// A run that takes longer hangs: it has 45 seconds, and a crowded machine needs some air.
const LIMIT: Duration = Duration::from_secs(90);

/// Whether another program is there and ends well.
pub(crate) fn succeeds(name: &str, arguments: &[&str]) -> bool {
    let done = Command::new(name).args(arguments).stdin(Stdio::null()).output();
    done.is_ok_and(|output| output.status.success())
}
