//! The real binary in live mode, against the simulated exchange over HTTP: it is killed before each system call that
//! changes something, twice in a row, each of its calls fails once and for ever, sixteen start at once.
//! Afterwards runs that nothing disturbs settle everything: each coin is where the book says, no
//! order was made twice, the journal leads to the book.
//!
//! As in `crash.rs`, `strace` does it, and where there is none these tests say so and pass.

use std::collections::BTreeMap;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rust_decimal::Decimal;

use crate::exchange::{Execute, Reply, Rule, World};
use crate::support::clock;
use crate::support::folder::copy_folder;
use crate::support::live::{Live, Moment};
use crate::support::run::{Run, succeeds};
use crate::support::trace::{Call, parse, share, tracing_works};

#[test]
fn live_a_run_killed_at_any_system_call_is_made_good() {
    kill(42, 0);
}

#[test]
#[ignore = "takes a quarter of an hour; tests/assurance runs it"]
fn live_a_run_killed_at_every_system_call_is_made_good_in_full() {
    kill(usize::MAX, 0);
}

#[test]
fn live_two_runs_killed_in_turn_are_made_good() {
    kill(14, 7919);
}

#[test]
#[ignore = "takes some minutes; tests/assurance runs it"]
fn live_two_runs_killed_in_turn_at_many_places_are_made_good_in_full() {
    kill(500, 7919);
}

#[test]
fn live_a_failing_system_call_has_a_documented_code_and_loses_nothing() {
    fail(42);
}

#[test]
#[ignore = "takes half an hour; tests/assurance runs it"]
fn live_every_failing_system_call_has_a_documented_code_in_full() {
    fail(usize::MAX);
}

#[test]
fn live_of_sixteen_starts_at_once_one_orders_and_the_others_try_later() {
    let live = Live::entry_ahead();
    live.exchange.fault(Rule::every("GET /api/v3/klines", Reply::Delay(600)));
    let running: Vec<_> = (0..16).map(|_| live.run().start()).collect();
    let mut codes: Vec<i32> = running.into_iter().map(|running| running.wait().code).collect();
    codes.sort_unstable();
    let mut expected = vec![75; 16];
    expected[0] = 0;
    assert_eq!(codes, expected);
    assert_eq!(live.with(|world| world.posts()), 1);
    live.check();
}

#[test]
fn live_a_power_loss_on_a_real_file_system_is_made_good() {
    lose_power(8);
}

#[test]
#[ignore = "takes a quarter of an hour; tests/assurance runs it"]
fn live_a_power_loss_at_every_system_call_is_made_good_in_full() {
    lose_power(1_200);
}

/// What the run that is disturbed is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    NothingToDo,
    Entry,
    Exit,
    SettleFound,
    SettleAbsent,
    Refused,
    Part,
}

const KINDS: [Kind; 7] = [
    Kind::NothingToDo,
    Kind::Entry,
    Kind::Exit,
    Kind::SettleFound,
    Kind::SettleAbsent,
    Kind::Refused,
    Kind::Part,
];

/// A live book just before the disturbed run, to be begun again and again.
struct Scene {
    kind: Kind,
    live: Live,
    world: World,
    moment: Moment,
    kept: PathBuf,
    built: Instant,
}

impl Scene {
    fn new(kind: Kind) -> Self {
        let live = match kind {
            Kind::NothingToDo => {
                let live = Live::new();
                live.expect_hold();
                live.next_candle("20");
                live
            }
            Kind::Exit => Live::exit_ahead(),
            Kind::Entry | Kind::SettleFound | Kind::SettleAbsent | Kind::Refused | Kind::Part => {
                Live::entry_ahead()
            }
        };
        match kind {
            Kind::SettleFound => live.exchange.fault(Rule::order(Execute::Now, Reply::Close)),
            Kind::SettleAbsent => live.exchange.fault(Rule::order(Execute::Never, Reply::Close)),
            Kind::Refused => live.exchange.fault(Rule::order(
                Execute::Never,
                Reply::Code(400, -1013, "Filter failure: NOTIONAL"),
            )),
            Kind::Part => {
                live.with(|world| world.symbol("ETHUSDT").depth = vec![Decimal::from(60)]);
            }
            Kind::NothingToDo | Kind::Entry | Kind::Exit => {}
        }
        if kind == Kind::SettleFound {
            // The fill is not asked for in the run that lost its answer.
            live.exchange
                .fault(Rule { count: 1, ..Rule::every("GET /api/v3/order", Reply::Html(502)) });
        }
        if matches!(kind, Kind::SettleFound | Kind::SettleAbsent) {
            let _ = live.run().expect_exit(75);
            live.pass_the_bound();
        }
        let kept = live.cwd().with_file_name("kept");
        copy_folder(&live.state(), &kept);
        let (world, moment) = (live.with(|world| world.clone()), live.moment());
        Self { kind, live, world, moment, kept, built: clock::instant() }
    }

    /// As it was. The clocks have gone on by a little.
    fn begin(&self) {
        self.live.with(|world| world.clone_from(&self.world));
        self.live.go_back_to(&self.moment);
        let state = self.live.state();
        // A link, where a power loss was tried.
        let _ = fs::remove_file(&state).or_else(|_| fs::remove_dir_all(&state));
        copy_folder(&self.kept, &self.live.state());
    }

    /// Kills a run before a call on a disk of its own, and goes on from what had reached that.
    fn power_lost(&self, call: &Call, more: &str, what: &str) {
        self.begin();
        let home = tempfile::tempdir().expect("a folder");
        let disk = Mounted::new(home.path()).expect("it could be mounted before");
        let (state, inside) = (self.live.state(), disk.place.join("state"));
        copy_folder(&state, &inside);
        fs::remove_dir_all(&state).expect("it is ours");
        // The program follows a link to its state directory, as systemd hands one out.
        std::os::unix::fs::symlink(&inside, &state).expect("a link");
        assert!(succeeds("sync", &["-f", &inside.to_string_lossy()]), "what was before is durable");
        let kill = format!("{more} -e inject={}:signal=KILL:when={}", call.name, call.nth);
        let _ = self.traced(&call.name, &[], &kill).start().wait();
        assert!(disk.lose_power(), "the image can be mounted again");
        self.settles(what);
        fs::remove_file(&state).expect("the link");
    }

    fn is_fresh(&self) -> bool {
        self.built.elapsed() < Duration::from_secs(300)
    }

    fn log(&self) -> PathBuf {
        self.live.cwd().with_file_name("strace.log")
    }

    fn traced(&self, names: &str, only: &[PathBuf], injection: &str) -> Run {
        let names = names.replace(' ', ",?");
        let only: Vec<String> =
            only.iter().map(|path| format!("-P '{}'", path.display())).collect();
        let (log, only) = (self.log(), only.join(" "));
        let strace =
            format!("strace -f -y -qq -o '{}' -e trace=?{names} {only} {injection}", log.display());
        self.live.run().shell(&format!("exec {strace} \"$0\" \"$@\"")).unchecked()
    }

    /// What an undisturbed run calls.
    fn calls(&self, names: &str) -> Vec<Call> {
        self.calls_on(names, &[])
    }

    fn calls_on(&self, names: &str, only: &[PathBuf]) -> Vec<Call> {
        self.begin();
        let outcome = self.traced(names, only, "").start().wait();
        let expected = if self.kind == Kind::Refused { 76 } else { 0 };
        assert_eq!(outcome.code, expected, "{:?}: {}", self.kind, outcome.transcript());
        parse(&self.log(), &self.live.state(), !names.contains("openat"))
    }

    /// What is on the disk or will be.
    fn files(&self) -> Vec<PathBuf> {
        let (state, folder) = (self.live.state(), self.live.state().join("live"));
        let names = [
            "state.json",
            "state.json.new",
            "outside.json",
            "outside.json.new",
            "lock",
            "journal.jsonl",
            "halt",
        ];
        let mut all = vec![state, folder.clone()];
        all.extend(names.map(|name| folder.join(name)));
        all
    }

    /// Runs that nothing disturbs: three at most, and everything is in its place.
    fn settles(&self, what: &str) {
        let done = catch_unwind(AssertUnwindSafe(|| {
            self.live.with(|world| world.rules.clear());
            self.live.pass_the_bound();
            let _ = self.live.run().expect_one_of(&[0, 75, 76]);
            let _ = self.live.settle(3);
            self.live.check();
            let _ = self.live.command(&["audit"]).expect_exit(0);
        }));
        if let Err(panic) = done {
            let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
            panic!("{:?}, {what}: {text}", self.kind);
        }
        let halted = self.live.status()["halted"].clone();
        assert!(halted.is_null(), "{:?}, {what}: halted, {halted}", self.kind);
        let entries = self.live.with(|world| {
            let executed =
                |order: &&crate::exchange::Order| order.is_buy && !order.executed.is_zero();
            world.orders.iter().filter(executed).count()
        });
        assert!(entries <= 1, "{:?}, {what}: {entries} entries of one decision", self.kind);
    }
}

/// Kills a run before a call; with `stride`, also the one that would have made it good.
fn kill(most: usize, stride: usize) {
    if !tracing_works() {
        return;
    }
    let begin = clock::instant();
    let cases = places(CHANGING);
    let boundaries = cases.len();
    let cases = share(&cases, most);
    let by_kind: BTreeMap<usize, Vec<Call>> =
        cases.iter().fold(BTreeMap::new(), |mut all, (kind, call)| {
            all.entry(*kind as usize).or_insert_with(Vec::new).push(call.clone());
            all
        });
    let reached = in_parallel(&cases, |scene, call| {
        scene.begin();
        let inject = |call: &Call| format!("-e inject={}:signal=KILL:when={}", call.name, call.nth);
        let mut killed = 0;
        let outcome = scene.traced(&call.name, &[], &inject(call)).start().wait();
        killed += usize::from(outcome.code == -1);
        if stride > 0 {
            let others = &by_kind[&(scene.kind as usize)];
            let index = others.iter().position(|other| other == call).expect("it is one of them");
            let second = &others[(index * stride + 13) % others.len()];
            scene.live.pass_the_bound();
            let outcome = scene.traced(&second.name, &[], &inject(second)).start().wait();
            killed += usize::from(outcome.code == -1);
        }
        scene.settles(&format!("killed before {call}"));
        killed
    });
    let name = if stride > 0 { "kill-live-twice" } else { "kill-live" };
    println!(
        "figures: {name} scenes={} boundaries={boundaries} tried={} kills={} violations=0 seconds={}",
        KINDS.len(),
        cases.len(),
        reached.iter().sum::<usize>(),
        begin.elapsed().as_secs()
    );
    let least = cases.len() * 8 / 10;
    assert!(
        reached.iter().filter(|killed| **killed > 0).count() >= least,
        "few places are reached"
    );
}

/// The state lies on an ext4 of its own, which writes nothing by itself for five minutes. A run is killed, and what had
/// reached the disk by then is all that the next run finds. Without fsync the same must lose something.
fn lose_power(images: usize) {
    if !tracing_works() || !mounting_works() {
        return;
    }
    let begin = clock::instant();
    let kinds = [Kind::Entry, Kind::Exit, Kind::SettleFound, Kind::Part];
    let all = |names| -> Vec<(Kind, Call)> {
        let of =
            |kind: Kind| Scene::new(kind).calls(names).into_iter().map(move |call| (kind, call));
        kinds.into_iter().flat_map(of).collect()
    };
    let cases = all(CHANGING);
    let rounds = images.div_ceil(cases.len()).max(1);
    let cases: Vec<(Kind, Call)> = (0..rounds).flat_map(|_| share(&cases, images)).collect();
    in_parallel(&cases, |scene, call| {
        scene.power_lost(call, "", &format!("the power went before {call}"));
    });
    // The control: an order that was acknowledged, by a run whose syncs did nothing.
    let deaf = "-e trace=fsync,fdatasync -e inject=fsync,fdatasync:retval=0";
    let after: Vec<(Kind, Call)> = all("recvfrom")
        .into_iter()
        .rev()
        .filter(|(kind, _)| *kind == Kind::Entry)
        .take(6)
        .collect();
    let lost = in_parallel(&after, |scene, call| {
        let scene = AssertUnwindSafe(scene);
        catch_unwind(move || scene.power_lost(call, deaf, "without fsync")).is_err()
    });
    let lost = lost.into_iter().filter(|lost| *lost).count();
    println!(
        "figures: power-loss-ext4 images={} violations=0 control-images={} control-lost={lost} seconds={}",
        cases.len(),
        after.len(),
        begin.elapsed().as_secs()
    );
    assert!(lost > 0, "without fsync nothing was lost: this test can see nothing");
}

/// Whether an ext4 can be made and mounted here; says so where not.
fn mounting_works() -> bool {
    let folder = tempfile::tempdir().expect("a folder");
    let works = Mounted::new(folder.path()).is_some();
    if !works {
        println!("skipped, because no ext4 can be mounted here");
    }
    works
}

/// An ext4 in a file, mounted.
struct Mounted {
    image: PathBuf,
    place: PathBuf,
}

impl Mounted {
    /// A new one, below a folder.
    fn new(folder: &Path) -> Option<Self> {
        let (image, place) = (folder.join("image"), folder.join("mounted"));
        let file = fs::File::create(&image).expect("a file");
        file.set_len(16 << 20).expect("room");
        let made = succeeds("mkfs.ext4", &["-q", "-F", &image.to_string_lossy()]);
        fs::create_dir_all(&place).expect("a folder");
        (made && mount(&image, &place)).then_some(Self { image, place })
    }

    /// The power goes: what is in the image now is all that there is.
    fn lose_power(&self) -> bool {
        let after = self.image.with_extension("after");
        succeeds("cp", &[&self.image.to_string_lossy(), &after.to_string_lossy()])
            && succeeds("umount", &[&self.place.to_string_lossy()])
            && fs::rename(&after, &self.image).is_ok()
            && mount(&self.image, &self.place)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        succeeds("umount", &["-l", &self.place.to_string_lossy()]);
    }
}

fn mount(image: &Path, place: &Path) -> bool {
    let options = "loop,commit=300,noatime";
    succeeds("mount", &["-o", options, &image.to_string_lossy(), &place.to_string_lossy()])
}

/// Each call says that it failed, this one only, or from this one on.
fn fail(most: usize) {
    if !tracing_works() {
        return;
    }
    let begin = clock::instant();
    let mut cases = Vec::new();
    for (names, errors, on_disk) in ERRORS {
        for kind in KINDS {
            let scene = Scene::new(kind);
            let only = if *on_disk { scene.files() } else { Vec::new() };
            for call in scene.calls_on(names, &only) {
                for error in errors.split(' ') {
                    cases.extend(
                        ["", "+"].map(|ever| (kind, (call.clone(), error, ever, *on_disk))),
                    );
                }
            }
        }
    }
    let cases = share(&cases, most);
    let codes = in_parallel(&cases, |scene, (call, error, ever, on_disk)| {
        scene.begin();
        let only = if *on_disk { scene.files() } else { Vec::new() };
        let inject = format!("-e inject={}:error={error}:when={}{ever}", call.name, call.nth);
        let outcome = scene.traced(&call.name, &only, &inject).start().wait();
        let what = format!("{error}{ever} at {call}");
        let said = outcome.transcript();
        assert!([0, 69, 74, 75, 76].contains(&outcome.code), "{:?}, {what}: {said}", scene.kind);
        scene.settles(&what);
        outcome.code
    });
    let mut counted = BTreeMap::<i32, usize>::new();
    for code in codes {
        *counted.entry(code).or_default() += 1;
    }
    println!("exit codes of failing calls: {counted:?}");
    println!(
        "figures: errors-live scenes={} failing-calls={} violations=0 seconds={}",
        KINDS.len(),
        cases.len(),
        begin.elapsed().as_secs()
    );
}

fn places(names: &str) -> Vec<(Kind, Call)> {
    let of = |kind: Kind| Scene::new(kind).calls(names).into_iter().map(move |call| (kind, call));
    KINDS.into_iter().flat_map(of).collect()
}

/// Two workers, each with scenes of its own; results in the order of the cases.
fn in_parallel<T: Sync, R: Send>(
    cases: &[(Kind, T)],
    trial: impl Fn(&Scene, &T) -> R + Sync,
) -> Vec<R> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut scene: Option<Scene> = None;
        let mut results = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some((kind, case)) = cases.get(index) else { return results };
            let result = catch_unwind(AssertUnwindSafe(|| {
                let ready = match scene.take() {
                    Some(scene) if scene.kind == *kind && scene.is_fresh() => scene,
                    _ => Scene::new(*kind),
                };
                let result = trial(&ready, case);
                scene = Some(ready);
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

const CHANGING: &str = "openat write pwrite64 fsync fdatasync rename renameat renameat2 unlink \
    unlinkat ftruncate mkdir mkdirat flock connect sendto sendmsg writev recvfrom close";

/// Calls, what each may fail with, and whether only those on the state directory are meant.
const ERRORS: &[(&str, &str, bool)] = &[
    ("openat rename renameat renameat2 unlink unlinkat mkdir", "EACCES EIO ENOSPC", true),
    ("write pwrite64 fsync fdatasync ftruncate", "EIO ENOSPC", true),
    ("read flock lseek", "EIO", true),
    ("connect sendto sendmsg writev recvfrom", "ECONNRESET ETIMEDOUT ECONNREFUSED", false),
];
