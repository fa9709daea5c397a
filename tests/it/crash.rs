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
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::binance::Server;
use crate::support::clock;
use crate::support::desk::{START, home};
use crate::support::dump::Dump;
use crate::support::fault::Fault;
use crate::support::folder::{check_invariants, copy_folder, make_folder, walk};
use crate::support::run::{Outcome, Run};
use crate::support::table::spreads;
use crate::support::trace::{Call, parse, share, tracing_works};

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
fn a_command_killed_at_any_system_call_is_done_by_the_next_one() {
    kill_commands(40);
}

#[test]
#[ignore = "takes a minute or two; .ci/run runs it"]
fn a_command_killed_at_every_system_call_is_done_by_the_next_one() {
    kill_commands(usize::MAX);
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
    if !tracing_works() {
        return;
    }
    let cases = share(&places(CHANGING), most);
    let results = in_parallel(&cases, |stage, call| {
        let state = stage.copy();
        (stage.kill(&state, call), stage.recover(&state, call))
    });
    let reached = results.iter().filter(|(killed, _)| *killed).count();
    let committed = results.iter().filter(|(_, position)| *position > 0).count();
    println!(
        "figures: kill-paper places={} reached={reached} after-the-commit={committed}",
        cases.len()
    );
    // Threads race, so a few places may have moved; if many had, the rig would be broken.
    assert!(
        reached * 10 >= cases.len() * 9,
        "only {reached} of {} places are reached",
        cases.len()
    );
}

/// The same, and the run that mends it is killed, too.
fn kill_twice(most: usize) {
    if !tracing_works() {
        return;
    }
    let all = places(CHANGING);
    let cases = share(&all, most);
    let results = in_parallel(&cases, |stage, first| {
        // Any two places of the same stage: which ones matters little, that they vary does.
        let others: Vec<_> = all.iter().filter(|(plan, _)| *plan == stage.plan).collect();
        let index = others.iter().position(|(_, call)| call == first).expect("it is one of them");
        let (_, second) = others[(index * 7919 + 13) % others.len()];
        let state = stage.copy();
        let killed = [first, second].map(|call| stage.kill(&state, call));
        stage.recover(&state, second);
        killed == [true, true]
    });
    let reached = results.iter().filter(|killed| **killed).count();
    println!("figures: kill-paper-twice pairs={} reached={reached}", cases.len());
}

/// Each call says that it failed: this one only, or from this one on.
fn fail_everywhere(most: usize) {
    if !tracing_works() {
        return;
    }
    let mut cases = Vec::new();
    for (names, errors, scope) in ERRORS {
        for (plan, call) in places_of(names, scope) {
            for error in errors.split(' ') {
                let failing = |ever| Failing { call: call.clone(), error, ever, scope };
                cases.extend([false, true].map(|ever| (plan, failing(ever))));
            }
        }
    }
    let cases = share(&cases, most);
    let results = in_parallel(&cases, |stage, failing| {
        let state = stage.copy();
        let code = stage.fail(&state, failing);
        stage.recover(&state, failing);
        code
    });
    let mut codes = BTreeMap::<i32, usize>::new();
    for code in results {
        *codes.entry(code).or_default() += 1;
    }
    println!("exit codes of failing calls: {codes:?}");
    println!("figures: errors-paper failing-calls={} violations=0", cases.len());
}

const ADOPT: [&str; 7] = ["adopt", "--asset", "BTC", "--quantity", "0.001", "--cost", "60"];

type Command = (&'static Plan, &'static [&'static str], &'static [&'static str], bool, bool);

/// What a person tells the program by hand must not need luck either.
fn kill_commands(most: usize) {
    if !tracing_works() {
        return;
    }
    // The book; what was told before; the command; whether it is halted and holding in the end.
    let commands: [Command; 4] = [
        (&PAPER_EXIT, &[], &["halt", "looking into it"], true, true),
        (&PAPER_EXIT, &["halt"], &["resume"], false, true),
        (&PAPER_EXIT, &[], &["flatten", "--yes"], true, false),
        (&PAPER_HOLD, &[], &ADOPT, false, true),
    ];
    let prepared = |stage: &Stage, before: &[&str]| {
        let state = stage.copy();
        if !before.is_empty() {
            stage.run(&state).args(before).expect_exit(0);
        }
        state
    };
    let mut cases = Vec::new();
    for command in commands {
        let (plan, before, args, ..) = command;
        let stage = Stage::build(plan);
        let calls = stage.calls(&prepared(&stage, before), args, CHANGING, Scope::All);
        cases.extend(calls.into_iter().map(|call| (plan, (command, call))));
    }
    let cases = share(&cases, most);
    in_parallel(&cases, |stage, ((_, before, args, halted, holding), call)| {
        let state = prepared(stage, before);
        stage.traced(&state, args, &call.name, Scope::All, &call.kill());
        // A plain run in between, on a copy: it leaves no stray file behind.
        let aside = state.with_extension("aside");
        copy_folder(&state, &aside);
        stage.run(&aside).expect_exit(0);
        let outcome = stage.run(&state).args(*args).start().wait();
        let context = || format!("{args:?}, killed before {call}: {}", outcome.transcript());
        // A resume that was killed after its commit has nothing left to lift, and what was adopted is not adopted twice.
        let is_done = outcome.code == 78 && outcome.transcript().contains("HOLDING_BTC already");
        assert!(outcome.code == 0 || is_done, "{}", context());
        check_invariants(&state);
        let status = stage.run(&state).args(["status", "--json"]).expect_exit(0).json();
        assert_eq!(!status["halted"].is_null(), *halted, "{status:#} {}", context());
        assert_eq!(!status["position"].is_null(), *holding, "{status:#} {}", context());
        assert_eq!(status["trades"], u8::from(!holding), "{status:#} {}", context());
        if *args == ADOPT {
            assert_eq!(status["position"]["quantity"], "0.00100000", "{status:#} {}", context());
            assert_eq!(status["paper_balance"], "940.00000000", "{status:#} {}", context());
        }
    });
    println!("figures: kill-commands places={} violations=0", cases.len());
}

// ---- places -----------------------------------------------------------------------------------

/// A call that returns an error, and perhaps all later ones of its name with it.
#[derive(Clone, Debug)]
struct Failing {
    call: Call,
    error: &'static str,
    ever: bool,
    scope: Scope,
}

/// Which of a run's calls are meant, and counted.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scope {
    All,
    /// Those on the candles and on files and folders of the state directory. Not those on what the
    /// kernel keeps in memory, such as the counters by which threads wake each other: they can't fail.
    Disk,
}

impl fmt::Display for Failing {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ever = if self.ever { " and ever after" } else { "" };
        write!(formatter, "{}{ever} at {}", self.error, self.call)
    }
}

/// The places of every plan, calls with these names.
fn places(names: &str) -> Vec<(&'static Plan, Call)> {
    places_of(names, Scope::All)
}

fn places_of(names: &str, scope: Scope) -> Vec<(&'static Plan, Call)> {
    let of = |plan: &'static Plan| {
        let stage = Stage::build(plan);
        let calls = stage.calls(&stage.copy(), &[], names, scope);
        calls.into_iter().map(move |call| (plan, call))
    };
    PLANS.iter().flat_map(of).collect()
}

/// Two workers through all the cases, each with stages of its own; results in the order of the cases.
/// A case that fails does not keep the others from being tried.
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
            let Some((plan, case)) = cases.get(index) else { return results };
            let result = catch_unwind(AssertUnwindSafe(|| {
                let fresh = match stage.take() {
                    Some(stage) if stage.plan == *plan && stage.is_fresh() => stage,
                    _ => Stage::build(plan),
                };
                let result = trial(&fresh, case);
                stage = Some(fresh);
                result
            }));
            results.push((index, result.ok()));
        }
    };
    let mut results = thread::scope(|scope| {
        let workers = [scope.spawn(work), scope.spawn(work)];
        let joined = workers.map(|worker| worker.join().expect("its panics are caught"));
        joined.into_iter().flatten().collect::<Vec<_>>()
    });
    results.sort_by_key(|(index, _)| *index);
    let good: Vec<R> = results.into_iter().filter_map(|(_, result)| result).collect();
    assert_eq!(good.len(), cases.len(), "so many cases are good, the others are shown above");
    good
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

const PAPER_EXIT: Plan = paper("paper, an exit", "20 20 20 21", 1);
const PAPER_HOLD: Plan = paper("paper, nothing to do", "20 20 21 20", 1);

static PLANS: [Plan; 8] = [
    replay("replay, the first start", 0),
    replay("replay, an entry", 1),
    replay("replay, an exit", 2),
    replay("replay, nothing to do", 3),
    Plan { told: true, ..replay("replay, an entry to tell", 1) },
    paper("paper, an entry at the first start", "20 20 20 21", 0),
    PAPER_EXIT,
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

    fn traced(
        &self,
        state: &Path,
        args: &[&str],
        names: &str,
        scope: Scope,
        injection: &str,
    ) -> Outcome {
        let log = self.log();
        let names = names.replace(' ', ",?");
        let paths = if scope == Scope::Disk { self.paths(state) } else { String::new() };
        let log = log.display();
        let strace = format!("strace -f -y -qq -o '{log}' -e trace=?{names} {paths} {injection}");
        let run = self.run(state).args(args).shell(&format!("exec {strace} \"$0\" \"$@\""));
        // What it leaves behind is looked at after the recovery.
        run.unchecked().start().wait()
    }

    fn log(&self) -> PathBuf {
        self.home.path().join("strace.log")
    }

    /// What is on the disk or will be, as strace's options.
    fn paths(&self, state: &Path) -> String {
        let candles = self.home.path().join("candles");
        let mut paths = BTreeSet::from([candles.clone(), state.to_owned()]);
        paths.extend(walk(&candles));
        let names = self.steps[1].0.keys().cloned().chain(["logs/bot.log".into()]);
        for path in names.map(|name| state.join(name)) {
            let below = path.ancestors().take_while(|above| *above != state);
            paths.extend(below.map(Path::to_owned));
            paths.extend([path.with_file_name("halt"), path.with_extension("json.new")]);
        }
        let options = paths.iter().map(|path| format!("-P '{}'", path.display()));
        options.collect::<Vec<_>>().join(" ")
    }

    /// What an undisturbed start calls, from its first look at the state directory on.
    fn calls(&self, state: &Path, args: &[&str], names: &str, scope: Scope) -> Vec<Call> {
        let outcome = self.traced(state, args, names, scope, "");
        assert_eq!(outcome.code, 0, "{}: {}", self.plan.name, outcome.transcript());
        // What the loader opens is left out; of the other calls it makes none.
        parse(&self.log(), state, !names.contains("openat"))
    }

    /// Kills a run before a call; whether it came there.
    fn kill(&self, state: &Path, call: &Call) -> bool {
        let from = self.position(state);
        let outcome = self.traced(state, &[], &call.name, Scope::All, &call.kill());
        let context =
            || format!("{}, killed before {call}: {}", self.plan.name, outcome.transcript());
        assert!([-1, 0].contains(&outcome.code), "{}", context());
        let to = self.position(state);
        assert!(to == from || to == from + 1, "from {from} to {to} in {}", context());
        let (found, all) = (files(state), &self.steps[self.steps.len() - 1]);
        let is_prefix = all
            .named(JOURNAL)
            .unwrap_or_default()
            .starts_with(found.named(JOURNAL).unwrap_or_default());
        assert!(is_prefix, "the journal has a hole: {found:?} {}", context());
        outcome.code == -1
    }

    /// Lets a call fail; the exit code.
    fn fail(&self, state: &Path, failing: &Failing) -> i32 {
        let Failing { call: Call { name, nth, .. }, error, ever, scope } = failing;
        let when = format!("{nth}{}", if *ever { "+" } else { "" });
        let injection = format!("-e inject={name}:error={error}:when={when}");
        let outcome = self.traced(state, &[], name, *scope, &injection);
        let context = || format!("{}, {failing}: {}", self.plan.name, outcome.transcript());
        let documented = match (outcome.code, &self.plan.world) {
            (0 | 74, _) | (69, World::Paper) => true,
            // The recording can't be read; a state that can't be read is no reason for distrust.
            (65, World::Replay) => outcome.stderr.contains("/candles"),
            _ => false,
        };
        assert!(documented, "the exit code: {}", context());
        let position = self.position(state);
        assert!(position <= 1, "{}", context());
        assert!(outcome.code != 0 || position == 1, "0 means that the step is done: {}", context());
        outcome.code
    }

    /// How many undisturbed starts the state is worth; it must be exactly what one of them wrote.
    #[track_caller]
    fn position(&self, state: &Path) -> usize {
        let found = files(state);
        let position = self.steps.iter().position(|step| self.is_same_state(step, &found));
        position.unwrap_or_else(|| {
            panic!("{}: neither the old nor the new state:\n{found:?}", self.plan.name)
        })
    }

    /// The same bytes. Only where messages are told, one that a killed run could not tell (or could
    /// not note as told) may still wait in the state, where an undisturbed run has forgotten it.
    fn is_same_state(&self, one: &Files, other: &Files) -> bool {
        one.named(STATE) == other.named(STATE) || self.plan.told && one.book() == other.book()
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
        // The same state and journal, and the same files. What is not money may differ.
        let same = self.is_same_state(&found, expected)
            && found.named(JOURNAL) == expected.named(JOURNAL)
            && found.0.keys().eq(expected.0.keys());
        assert!(same, "{}\n{found:?}\nbut expected\n{expected:?}", context());
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
    fn named(&self, name: &str) -> Option<&[u8]> {
        let found = self.0.iter().find(|(path, _)| path.file_name().is_some_and(|it| it == name));
        found.map(|(_, bytes)| &**bytes)
    }

    /// The state without the messages that wait in it.
    fn book(&self) -> Option<Value> {
        let mut state: Value =
            serde_json::from_slice(self.named(STATE)?).expect("JSON, or nothing");
        state["checksum"].take();
        state["body"]["messages"].take();
        Some(state)
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

/// Calls that change something, on the disk or at the other end of a connection. A kill before any
/// other call is one before the next of these. (Which of them there are depends on the machine.)
const CHANGING: &str = "openat write pwrite64 fsync fdatasync rename renameat renameat2 unlink \
    unlinkat ftruncate mkdir mkdirat flock connect sendto sendmsg writev recvfrom close";

/// Calls and what each may fail with. Not `close`: what counts was synced before, and the standard
/// library takes a folder that can't be closed for a bug.
const ERRORS: [(&str, &str, Scope); 4] = [
    (
        "openat rename renameat renameat2 unlink unlinkat mkdir mkdirat",
        "EACCES EIO ENOSPC",
        Scope::Disk,
    ),
    ("write pwrite64 fsync fdatasync ftruncate", "EIO ENOSPC", Scope::Disk),
    ("read flock statx fstat newfstatat lseek", "EIO", Scope::Disk),
    ("connect sendto sendmsg writev recvfrom", "ECONNRESET ETIMEDOUT", Scope::All),
];

const STATE: &str = "state.json";
const JOURNAL: &str = "journal.jsonl";

/// How long the run that holds the lock waits for its candles while others start.
const HELD: Duration = Duration::from_secs(2);
