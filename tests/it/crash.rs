//! The power may go at any instant: the real binary is killed before each system call that changes
//! something, and each of its calls fails once and for ever. After that the state is the old or the
//! new one, and the next start goes on as if nothing had happened.
//!
//! `strace` does it: `inject=CALL:signal=KILL:when=N` ends the process before its N-th CALL. Where
//! there is no strace, or where it may not trace, these tests say so and pass.
//!
//! `cargo test` tries a share of all places, `cargo test -- --ignored crash` every one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::binance::Server;
use crate::support::clock;
use crate::support::desk::{START, home};
use crate::support::dump::Dump;
use crate::support::fault::Fault;
use crate::support::folder::{check_invariants, walk};
use crate::support::run::{Outcome, Run};
use crate::support::table::spreads;

#[test]
fn a_run_killed_at_any_system_call_is_made_good_by_the_next_one() {
    kill_everywhere(120);
}

#[test]
#[ignore = "takes a minute or two; .ci/run runs it"]
fn a_run_killed_at_every_system_call_is_made_good_by_the_next_one() {
    kill_everywhere(usize::MAX);
}

#[test]
fn two_runs_killed_in_turn_are_made_good_by_the_next_one() {
    kill_twice(40);
}

#[test]
#[ignore = "takes a minute or two; .ci/run runs it"]
fn two_runs_killed_in_turn_at_many_places_are_made_good_by_the_next_one() {
    kill_twice(600);
}

#[test]
fn a_failing_system_call_leaves_a_documented_code_and_a_whole_state() {
    fail_everywhere(120);
}

#[test]
#[ignore = "takes a minute or two; .ci/run runs it"]
fn every_failing_system_call_leaves_a_documented_code_and_a_whole_state() {
    fail_everywhere(usize::MAX);
}

#[test]
fn of_sixteen_starts_at_once_one_works_and_the_others_try_later() {
    start_at_once(16);
}

#[test]
#[ignore = "takes half a minute; .ci/run runs it"]
fn of_any_number_of_starts_at_once_one_works_and_the_others_try_later() {
    (2..=16).for_each(start_at_once);
}

#[test]
fn a_lock_file_deleted_under_a_run_lets_no_second_one_in() {
    let stage = Stage::build(&PAPER_HOLD);
    let server = &stage.server;
    server.fault("klines", Fault::Delay(HELD));
    server.forget();
    let first = stage.run(&stage.before).start();
    // The lock is taken before any request.
    while server.requests().is_empty() {
        thread::sleep(Duration::from_millis(2));
    }
    fs::remove_file(stage.before.join("paper/lock")).expect("the lock file is there");
    stage.run(&stage.before).expect_exit(75);
    let outcome = first.wait();
    assert_eq!(outcome.code, 0, "{}", outcome.transcript());
}

fn start_at_once(starts: usize) {
    let stage = Stage::build(&PAPER_HOLD);
    let server = &stage.server;
    // The one that holds the lock waits long enough for all the others to find it taken.
    server.fault("klines", Fault::Delay(HELD));
    server.forget();
    let running: Vec<_> = (0..starts).map(|_| stage.run(&stage.before).start()).collect();
    let mut codes: Vec<i32> = running.into_iter().map(|running| running.wait().code).collect();
    codes.sort_unstable();
    let mut expected = vec![75; starts];
    expected[0] = 0;
    assert_eq!(codes, expected, "the exit codes of {starts} starts at once");
    assert_eq!(server.requests_to("klines").len(), 2, "only one of {starts} asked for candles");
    assert_eq!(stage.position(&stage.before), 1, "one step was taken");
}

/// Before each call that changes something: the process is gone.
fn kill_everywhere(most: usize) {
    let Some(cases) = cases(CHANGING, most) else {
        return;
    };
    let (mut reached, mut committed) = (0, 0);
    for (killed, position) in in_parallel(&cases, |stage, call| {
        let state = stage.copy();
        let killed = stage.kill(&state, call);
        let position = stage.recover(&state, call);
        (killed, position)
    }) {
        reached += usize::from(killed);
        committed += position;
    }
    println!(
        "killed at {reached} of {} places, at {committed} of them after the commit",
        cases.len()
    );
    assert!(
        reached * 10 >= cases.len() * 9,
        "most places are reached: {reached} of {}",
        cases.len()
    );
}

/// The same, and the run that mends it is killed, too.
fn kill_twice(most: usize) {
    let Some(all) = cases(CHANGING, usize::MAX) else {
        return;
    };
    let cases = share(&all, most);
    let reached = in_parallel(&cases, |stage, first| {
        // Any two places of the same scene; which ones does not matter, that they vary does.
        let others: Vec<_> = all.iter().filter(|(plan, _)| *plan == stage.plan).collect();
        let index = others.iter().position(|(_, call)| call == first).expect("it is one of them");
        let (_, second) = others[(index * 7919 + 13) % others.len()];
        let state = stage.copy();
        let killed = stage.kill(&state, first);
        let again = stage.kill(&state, second);
        stage.recover(&state, second);
        usize::from(killed && again)
    });
    println!(
        "killed twice in {} of {} pairs of places",
        reached.iter().sum::<usize>(),
        cases.len()
    );
}

/// Each call says that it failed: this one only, or from this one on.
fn fail_everywhere(most: usize) {
    let Some(calls) = cases(FAILING, usize::MAX) else {
        return;
    };
    let cases: Vec<_> = calls
        .iter()
        .flat_map(|(plan, call)| {
            let errors =
                ERRORS.iter().filter(|(names, _)| names.split(' ').any(|it| it == call.name));
            errors.flat_map(|(_, errors)| errors.split(' ')).flat_map(|error| {
                [false, true].map(|ever| (*plan, Failing { call: call.clone(), error, ever }))
            })
        })
        .collect();
    let cases = share(&cases, most);
    let mut codes = BTreeMap::<i32, usize>::new();
    for code in in_parallel(&cases, |stage, failing| {
        let state = stage.copy();
        let code = stage.fail(&state, failing);
        stage.recover(&state, failing);
        code
    }) {
        *codes.entry(code).or_default() += 1;
    }
    println!("{} failing calls ended with these codes (code: runs): {codes:?}", cases.len());
}

// ---- places -----------------------------------------------------------------------------------

/// A system call of an undisturbed run: the n-th of its name in its thread.
#[derive(Clone, Debug, PartialEq)]
struct Call {
    name: String,
    nth: usize,
    /// As strace shows it, with paths.
    shown: String,
}

/// A call that returns an error, and perhaps all later ones of its name with it.
#[derive(Clone, Debug)]
struct Failing {
    call: Call,
    error: &'static str,
    ever: bool,
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} number {}, {}", self.name, self.nth, self.shown)
    }
}

impl fmt::Display for Failing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ever = if self.ever { " and ever after" } else { "" };
        write!(formatter, "{}{ever} at {}", self.error, self.call)
    }
}

/// The places of every scene, thinned out to a number; `None` where they can't be found out.
fn cases(names: &str, most: usize) -> Option<Vec<(&'static Plan, Call)>> {
    if let Err(reason) = tracing_works() {
        println!("skipped: {reason}");
        return None;
    }
    let cases: Vec<_> = PLANS
        .iter()
        .flat_map(|plan| {
            let calls = Stage::build(plan).calls(names);
            assert!(calls.len() > 10, "{}: only {} calls were seen", plan.name, calls.len());
            calls.into_iter().map(move |call| (plan, call))
        })
        .collect();
    Some(share(&cases, most))
}

/// Every n-th, so that about `most` are left, spread over all.
fn share<T: Clone>(all: &[T], most: usize) -> Vec<T> {
    all.iter().step_by(all.len().div_ceil(most).max(1)).cloned().collect()
}

fn tracing_works() -> Result<(), String> {
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=?fsync", "true"]).stdin(Stdio::null());
    match command.output() {
        Err(error) => Err(format!("`strace` can't be started ({error})")),
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!(
            "`strace` may not trace here: {}",
            String::from_utf8_lossy(&output.stderr).trim()
        )),
    }
}

/// Two workers through the cases, each with stages of its own; results in the order of the cases.
fn in_parallel<T: Sync, R: Send>(
    cases: &[(&'static Plan, T)],
    trial: impl Fn(&Stage, &T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut stage: Option<Stage> = None;
        let mut results = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((plan, case)) = cases.get(index) else {
                return results;
            };
            let fresh = match stage.take() {
                Some(stage) if stage.plan == *plan && stage.is_fresh() => stage,
                _ => Stage::build(plan),
            };
            results.push((index, trial(&fresh, case)));
            stage = Some(fresh);
        }
    };
    let mut results = thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        let joined =
            workers.map(|worker| worker.join().unwrap_or_else(|panic| resume_unwind(panic)));
        joined.into_iter().flatten().collect::<Vec<_>>()
    });
    results.sort_by_key(|(index, _)| *index);
    results.into_iter().map(|(_, result)| result).collect()
}

// ---- the stage --------------------------------------------------------------------------------

/// What the run that is disturbed is about to do.
#[derive(Debug, PartialEq)]
struct Plan {
    name: &'static str,
    world: World,
    /// Whether there is a Telegram chat to tell.
    told: bool,
    /// Spreads of the candles; on paper of those that have ended before the first start.
    spreads: &'static str,
    /// Undisturbed starts before it; on paper one more candle, with the spread 20, ends after them.
    starts: usize,
}

#[derive(Debug, PartialEq)]
enum World {
    Paper,
    Replay,
}

/// With z over a window of four: -0.5 holds, 1.31 buys, -0.78 sells, and then nothing to do.
const REPLAYED: &str = "20 20 21 20 22 20 20 20 20.5 20";

const PAPER_HOLD: Plan = paper("paper, nothing to do", "20 20 21 20", 1);

static PLANS: [Plan; 8] = [
    replay("replay, the first start", 0),
    replay("replay, an entry", 1),
    replay("replay, an exit", 2),
    replay("replay, nothing to do", 3),
    Plan { told: true, ..replay("replay, an entry to tell", 1) },
    paper("paper, an entry at the first start", "20 20 20 21", 0),
    paper("paper, an exit", "20 20 20 21", 1),
    PAPER_HOLD,
];

const fn replay(name: &'static str, starts: usize) -> Plan {
    Plan { name, world: World::Replay, told: false, spreads: REPLAYED, starts }
}

const fn paper(name: &'static str, spreads: &'static str, starts: usize) -> Plan {
    Plan { name, world: World::Paper, told: true, spreads, starts }
}

/// A state directory just before the disturbed run, and what undisturbed starts make of it.
struct Stage {
    plan: &'static Plan,
    home: TempDir,
    server: Server,
    before: PathBuf,
    /// `before`, and how it stands after each of three undisturbed starts.
    steps: Vec<Files>,
    /// What those starts have told, all in all.
    messages: Vec<BTreeSet<String>>,
    built: Instant,
    copies: AtomicUsize,
}

impl Stage {
    fn build(plan: &'static Plan) -> Self {
        let home = home();
        let before = home.path().join("before");
        let built = clock::instant();
        let server = Server::start(spreads(plan.spreads));
        Dump::hourly(START).write(&home.path().join("candles"), &spreads(plan.spreads));
        let (steps, told, copies) = (Vec::new(), Vec::new(), AtomicUsize::new(0));
        let mut stage = Self { plan, home, server, before, steps, messages: told, built, copies };
        make_folder(&stage.before);
        for _ in 0..plan.starts {
            stage.run(&stage.before).expect_exit(0);
        }
        if plan.world == World::Paper && plan.starts > 0 {
            stage.server.close_candle(spreads("20")[0]);
        }
        let undisturbed = stage.copy();
        stage.steps.push(files(&undisturbed));
        stage.messages.push(BTreeSet::new());
        for _ in 0..3 {
            stage.run(&undisturbed).expect_exit(0);
            stage.steps.push(files(&undisturbed));
            stage.messages.push(messages(&stage.server));
        }
        stage
    }

    /// The exchange's clock is held, and the program's own check of the local one allows 60 s.
    fn is_fresh(&self) -> bool {
        self.built.elapsed() < Duration::from_secs(15)
    }

    fn run(&self, state: &Path) -> Run {
        let cwd = self.home.path().join("cwd");
        let run = match self.plan.world {
            World::Paper => Run::paper(&cwd, &self.server),
            World::Replay => Run::replay(&cwd, &self.home.path().join("candles")),
        };
        let run = run.state_dir(state);
        if !self.plan.told {
            return run;
        }
        run.env("TELEGRAM_API_URL", self.server.url())
            .env("TELEGRAM_BOT_TOKEN", "1234:crash")
            .env("TELEGRAM_CHAT_ID", "42")
    }

    /// The state directory before the disturbed run, in a folder of its own; nothing told yet.
    fn copy(&self) -> PathBuf {
        let number = self.copies.fetch_add(1, Ordering::Relaxed);
        let copy = self.home.path().join(format!("state-{number}"));
        copy_folder(&self.before, &copy);
        self.server.forget();
        copy
    }

    fn traced(&self, state: &Path, names: &str, injection: &str) -> Outcome {
        let log = self.home.path().join("strace.log");
        let strace =
            format!("strace -f -y -qq -o '{}' -e trace={names} {injection}", log.display());
        // What it leaves behind is looked at after the recovery.
        self.run(state).unchecked().shell(&format!("exec {strace} \"$0\" \"$@\"")).start().wait()
    }

    /// What an undisturbed run calls, from its first look at the state directory on.
    fn calls(&self, names: &str) -> Vec<Call> {
        let state = self.copy();
        let outcome = self.traced(&state, names, "");
        assert_eq!(outcome.code, 0, "{}: {}", self.plan.name, outcome.transcript());
        let log = fs::read_to_string(self.home.path().join("strace.log")).expect("strace wrote it");
        let state = state.to_str().expect("a path of a test");
        let mut counts = BTreeMap::<(&str, &str), usize>::new();
        let mut seen = BTreeSet::new();
        let mut calls = Vec::new();
        let mut begun = false;
        for line in log.lines() {
            let Some((thread, shown)) = line.split_once(' ') else {
                continue;
            };
            let Some((name, _)) = shown.trim().split_once('(') else {
                continue;
            };
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                continue;
            }
            let nth = counts.entry((thread, name)).or_default();
            *nth += 1;
            begun |= shown.contains(state);
            // Threads count for themselves, and whichever comes first to its n-th call is hit.
            if begun && seen.insert((name, *nth)) {
                let shown = shown.trim().replace(state, "…").chars().take(100).collect();
                calls.push(Call { name: name.to_owned(), nth: *nth, shown });
            }
        }
        calls
    }

    /// Kills a run before a call; whether it came there.
    fn kill(&self, state: &Path, call: &Call) -> bool {
        let from = self.position(state);
        let Call { name, nth, .. } = call;
        let outcome = self.traced(state, name, &format!("-e inject={name}:signal=KILL:when={nth}"));
        let context =
            || format!("{}, killed before {call}: {}", self.plan.name, outcome.transcript());
        assert!([-1, 0].contains(&outcome.code), "{}", context());
        let to = self.position(state);
        assert!(to == from || to == from + 1, "from {from} to {to} in {}", context());
        outcome.code == -1
    }

    /// Lets a call fail; the exit code.
    fn fail(&self, state: &Path, failing: &Failing) -> i32 {
        let Failing { call: Call { name, nth, .. }, error, ever } = failing;
        let when = format!("{nth}{}", if *ever { "+" } else { "" });
        let outcome =
            self.traced(state, name, &format!("-e inject={name}:error={error}:when={when}"));
        let context = || format!("{}, {failing}: {}", self.plan.name, outcome.transcript());
        let codes: &[i32] = match self.plan.world {
            World::Paper => &[0, 69, 74],
            World::Replay => &[0, 74],
        };
        assert!(codes.contains(&outcome.code), "a code of {codes:?}: {}", context());
        let position = self.position(state);
        assert!(position <= 1, "{}", context());
        assert!(outcome.code != 0 || position == 1, "0 means that the step is done: {}", context());
        outcome.code
    }

    /// How many undisturbed starts the state is worth; it must be exactly what one of them wrote.
    #[track_caller]
    fn position(&self, state: &Path) -> usize {
        let found = files(state);
        let position = self.steps.iter().position(|step| step.state() == found.state());
        position.unwrap_or_else(|| {
            panic!("{}: neither the old nor the new state:\n{found:?}", self.plan.name)
        })
    }

    /// A start that nothing disturbs: everything is as if nothing ever had. How many starts the
    /// state had been worth before.
    #[track_caller]
    fn recover(&self, state: &Path, disturbance: &impl fmt::Display) -> usize {
        let position = self.position(state);
        let outcome = self.run(state).start().wait();
        let context =
            || format!("{}, after {disturbance}: {}", self.plan.name, outcome.transcript());
        assert_eq!(outcome.code, 0, "{}", context());
        check_invariants(state);
        let (found, expected) = (files(state), &self.steps[position + 1]);
        assert!(found.same_book(expected), "{}\n{found:?}\nbut expected\n{expected:?}", context());
        let (told, expected) = (messages(&self.server), &self.messages[position + 1]);
        assert!(told.is_superset(expected), "told {told:?}, expected {expected:?}: {}", context());
        fs::remove_dir_all(state).expect("it is ours");
        position
    }
}

/// Messages that arrived, one by one: several that waited come in one text, each with its number.
fn messages(server: &Server) -> BTreeSet<String> {
    let mut messages = BTreeSet::new();
    for text in server.told() {
        let mut message = String::new();
        for line in text.lines() {
            if line.starts_with('#') && !message.is_empty() {
                messages.insert(std::mem::take(&mut message).trim().to_owned());
            }
            message += line;
            message.push('\n');
        }
        messages.insert(message.trim().to_owned());
    }
    messages
}

/// The bytes of every file but the log, by its path in the state directory.
struct Files(BTreeMap<PathBuf, Vec<u8>>);

fn files(state: &Path) -> Files {
    let paths = walk(state).into_iter().filter(|path| path.is_file());
    let named = paths.map(|path| {
        let bytes = fs::read(&path).expect("a file of ours");
        (path.strip_prefix(state).expect("below").to_owned(), bytes)
    });
    Files(named.filter(|(path, _)| !path.starts_with("logs")).collect())
}

impl Files {
    fn state(&self) -> Option<&[u8]> {
        self.named("state.json")
    }

    fn named(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(path, _)| path.file_name().is_some_and(|it| it == name));
        found.map(|(_, bytes)| &**bytes)
    }

    /// The same state and journal to the byte, and the same files. What is not money may differ.
    fn same_book(&self, other: &Self) -> bool {
        let journal = "journal.jsonl";
        self.state() == other.state()
            && self.named(journal) == other.named(journal)
            && self.0.keys().eq(other.0.keys())
    }
}

impl fmt::Debug for Files {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (path, bytes) in &self.0 {
            writeln!(formatter, "--- {}\n{}", path.display(), String::from_utf8_lossy(bytes))?;
        }
        Ok(())
    }
}

fn copy_folder(from: &Path, to: &Path) {
    make_folder(to);
    for path in walk(from) {
        let copy = to.join(path.strip_prefix(from).expect("below"));
        if path.is_dir() {
            make_folder(&copy);
        } else {
            fs::copy(&path, &copy).expect("a file of ours");
        }
    }
}

fn make_folder(path: &Path) {
    fs::DirBuilder::new().mode(0o700).create(path).expect("a new folder");
}

/// Calls that change something, on the disk or at the other end of a connection; a name that this
/// machine does not have is passed over. A kill before any other call is one before the next of these.
const CHANGING: &str = "?openat,?write,?pwrite64,?fsync,?fdatasync,?rename,?renameat,?renameat2,\
?unlink,?unlinkat,?ftruncate,?mkdir,?mkdirat,?flock,?connect,?sendto,?sendmsg,?writev,?recvfrom,?close";

/// The same and those that look.
const FAILING: &str = "?openat,?read,?write,?pwrite64,?fsync,?fdatasync,?rename,?renameat,?renameat2,\
?unlink,?unlinkat,?ftruncate,?mkdir,?mkdirat,?flock,?connect,?sendto,?sendmsg,?writev,?recvfrom,?close,\
?statx,?fstat,?newfstatat,?lseek";

/// What each call may fail with.
const ERRORS: [(&str, &str); 4] = [
    ("openat", "EACCES EIO ENOSPC"),
    ("write pwrite64 fsync fdatasync ftruncate", "EIO ENOSPC"),
    ("rename renameat renameat2 unlink unlinkat mkdir mkdirat", "EACCES EIO ENOSPC"),
    ("read flock close statx fstat newfstatat lseek connect sendto sendmsg writev recvfrom", "EIO"),
];

/// How long the run that holds the lock waits for its candles while others start.
const HELD: Duration = Duration::from_secs(2);
