//! Every operation of the real code is a place where it may end or fail: before an entry or an exit of either leg, on the
//! first start, in the first candle of a year, in a flatten and where nothing is to be done, for every outcome that an order
//! may have.
//!
//! At each operation the run is killed, with all that it wrote or with any past that a power loss may leave; or the
//! operation fails, once or for ever; or the process is frozen there for an hour. What comes of it is the place from which the next start is hurt in its turn: twice
//! each way, without leaving anything out, three times once equal worlds are taken for one. After every one of them
//! faultless starts must settle what is open, and the rules of `inside` hold.
//!
//! `CRASH_POINTS=SCENE/OUTCOME:DEPTH` looks at one case alone, and prints the way to what is broken.
//! `CRASH_POINTS_KEPT=FOLDER` keeps what each case came to, and goes on from there when it is started again.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::fs;
use std::hash::{Hash as _, Hasher};
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use ouroboros::trading::book::HaltedBy;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exchange::{Execute, Lag, Lags, Reply, Rule};
use crate::inside::{Ended, Hurt, Inside, Outer, Work};
use crate::support::clock::{self, MINUTE, SECOND};

#[test]
fn a_run_hurt_at_each_operation_is_made_good_by_the_next_ones() {
    explore(&one_of_each_kind(), 1);
}

#[test]
fn a_run_that_makes_good_a_hurt_one_is_hurt_itself_at_each_operation() {
    let mut cases = one_of_each_kind();
    cases.retain(|case| case.name() == "ExitOfEth/filled, told");
    explore(&cases, 2);
}

#[test]
#[ignore = "takes a minute; .ci/run runs it"]
fn crash_points_one_deep_for_every_outcome() {
    explore(&cases(), 1);
}

#[test]
#[ignore = "takes two minutes; .ci/run runs it"]
fn crash_points_two_deep_for_one_outcome_of_each_kind() {
    explore(&each_kind_once(), 2);
}

#[test]
#[ignore = "takes an hour of a processor; tests/assurance runs it"]
fn crash_points_two_deep_in_full() {
    explore(&cases(), 2);
}

#[test]
#[ignore = "takes hours of a processor; tests/assurance runs it"]
fn crash_points_three_deep_in_full() {
    explore(&each_kind_once(), 3);
}

/// Where the program stands before it is hurt for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scene {
    /// Nothing on the disk, and a newest candle that is an entry.
    FirstStart,
    NothingToDo,
    EntryOfEth,
    EntryOfBtc,
    ExitOfEth,
    ExitOfBtc,
    Flatten,
    /// An entry whose commits are the first of a year: the journal of the year before is put away.
    NewYear,
}

const SCENES: [Scene; 8] = [
    Scene::FirstStart,
    Scene::NothingToDo,
    Scene::EntryOfEth,
    Scene::EntryOfBtc,
    Scene::ExitOfEth,
    Scene::ExitOfBtc,
    Scene::Flatten,
    Scene::NewYear,
];

/// What is tried where all outcomes would take too long.
const KINDS: [&str; 6] =
    ["filled, told", "part, lost", "late, 502", "never, lost", "refused", "lagging, lost"];

/// What becomes of the first order that is sent.
struct Outcome {
    name: String,
    rules: Vec<Rule>,
    /// How much of the quote asset the book takes.
    depth: Option<u32>,
    lag: Lag,
}

struct Case {
    scene: Scene,
    outcome: Outcome,
}

impl Case {
    fn name(&self) -> String {
        format!("{:?}/{}", self.scene, self.outcome.name)
    }
}

fn cases() -> Vec<Case> {
    let of = |scene| outcomes().into_iter().map(move |outcome| Case { scene, outcome });
    let mut cases: Vec<Case> = SCENES.into_iter().flat_map(of).collect();
    // Where no order is sent they are all one.
    cases.retain(|case| case.scene != Scene::NothingToDo || case.outcome.name == "filled, told");
    // And what becomes of the order makes no difference to where a line of the journal stands.
    cases.retain(|case| case.scene != Scene::NewYear || KINDS.contains(&&*case.outcome.name));
    cases
}

fn one_of_each_kind() -> Vec<Case> {
    cases().into_iter().filter(|case| KINDS.contains(&&*case.outcome.name)).collect()
}

/// Each kind once, in an entry or in an exit, and the first entry of a year.
fn each_kind_once() -> Vec<Case> {
    let wanted = [
        "EntryOfEth/filled, told",
        "EntryOfEth/part, lost",
        "EntryOfEth/never, lost",
        "ExitOfEth/late, 502",
        "ExitOfEth/refused",
        "ExitOfEth/lagging, lost",
        "NewYear/filled, told",
    ];
    let mut cases = cases();
    cases.retain(|case| wanted.contains(&&*case.name()));
    assert_eq!(cases.len(), wanted.len());
    cases
}

/// Taken in full, in part, later, or still waiting at the engine's door; refused; never arrived. Each with each answer and
/// each lag that can be told apart.
fn outcomes() -> Vec<Outcome> {
    let timeout = "Timeout waiting for response from backend server.";
    let answers = [
        ("told", Reply::Good),
        ("lost", Reply::Close),
        ("cut", Reply::Cut),
        ("502", Reply::Html(502)),
        ("-1007", Reply::Code(408, -1007, timeout)),
        ("after our deadline", Reply::Delay(60_000)),
    ];
    let takings = [
        ("filled", Execute::Now, None, Lag::None),
        ("part", Execute::Now, Some(60), Lag::None),
        ("late", Execute::LateMillis(15 * SECOND), None, Lag::None),
        ("queued", Execute::QueuedMillis(4 * SECOND), None, Lag::None),
        ("lagging", Execute::Now, None, Lag::Millis(30 * SECOND)),
        ("lagging in part", Execute::Now, Some(60), Lag::Millis(70 * SECOND)),
    ];
    let mut all = Vec::new();
    for (taking, execute, depth, lag) in takings {
        for (answer, reply) in &answers {
            let rules = vec![Rule::order(execute, reply.clone())];
            all.push(Outcome { name: format!("{taking}, {answer}"), rules, depth, lag });
        }
    }
    let never = [
        ("refused", Reply::Code(400, -1013, "Filter failure: NOTIONAL")),
        ("too late", Reply::Code(400, -1021, "Timestamp for this request is outside.")),
        ("no funds", Reply::Code(400, -2010, "Account has insufficient balance.")),
        ("duplicate", Reply::Code(400, -2010, "Duplicate order sent.")),
        ("key refused", Reply::Code(401, -2015, "Invalid API-key, IP, or permissions.")),
        ("429", Reply::Silence(429, Some("7"), Some(-1015))),
        ("418", Reply::Silence(418, Some("30"), Some(-1003))),
        ("403", Reply::Html(403)),
        ("never, lost", Reply::Close),
        ("never, reset", Reply::Reset),
    ];
    for (name, reply) in never {
        let rules = vec![Rule::order(Execute::Never, reply)];
        all.push(Outcome { name: name.to_owned(), rules, depth: None, lag: Lag::None });
    }
    all
}

/// A world from which to go on, and the way to it.
struct Place {
    outer: Outer,
    way: Vec<String>,
}

/// What was done.
#[derive(Default, Serialize, Deserialize)]
struct Tally {
    seconds: u64,
    runs: usize,
    hurt: usize,
    worlds: usize,
    merged: usize,
    kills: usize,
    losses: usize,
    codes: BTreeMap<u8, usize>,
    deepest: Vec<usize>,
    broken: Vec<String>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.runs += other.runs;
        self.hurt += other.hurt;
        self.worlds += other.worlds;
        self.merged += other.merged;
        self.kills += other.kills;
        self.losses += other.losses;
        for (code, count) in other.codes {
            *self.codes.entry(code).or_default() += count;
        }
        self.deepest.resize(self.deepest.len().max(other.deepest.len()), 0);
        for (all, one) in self.deepest.iter_mut().zip(other.deepest) {
            *all += one;
        }
        self.broken.extend(other.broken);
    }
}

fn explore(cases: &[Case], depth: usize) {
    let (wanted, depth) = asked_for(depth);
    let chosen: Vec<&Case> = cases
        .iter()
        .filter(|case| wanted.as_ref().is_none_or(|wanted| case.name() == *wanted))
        .collect();
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Tally::default()));
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let tally = kept(case, depth, || {
                        let begin = clock::instant();
                        let mut tally = Explorer::new(case).explore(depth);
                        tally.seconds = begin.elapsed().as_secs();
                        tally
                    });
                    if wanted.is_some() {
                        println!("{}: {} runs, {} worlds", case.name(), tally.runs, tally.worlds);
                    }
                    all.lock().expect("nobody panics with it").add(tally);
                }
            });
        }
    });
    let all = all.into_inner().expect("nobody panics with it");
    println!("exit codes of hurt runs: {:?}", all.codes);
    println!(
        "figures: crash-points depth={depth} cases={} runs={} hurt={} kills={} power-losses={} worlds={} merged={} \
         worlds-by-depth={} violations={} seconds-of-a-thread={}",
        chosen.len(),
        all.runs,
        all.hurt,
        all.kills,
        all.losses,
        all.worlds,
        all.merged,
        all.deepest.iter().map(ToString::to_string).collect::<Vec<_>>().join("/"),
        all.broken.len(),
        all.seconds
    );
    let shown: Vec<&String> = all.broken.iter().take(3).collect();
    assert!(all.broken.is_empty(), "{} violations, the first: {shown:#?}", all.broken.len());
    assert!(all.hurt > 0, "nothing was tried");
}

#[allow(clippy::disallowed_methods, reason = "how a person looks at one case")]
fn asked_for(depth: usize) -> (Option<String>, usize) {
    let Ok(wanted) = std::env::var("CRASH_POINTS") else { return (None, depth) };
    let (name, wanted) = wanted.split_once(':').expect("CRASH_POINTS=SCENE/OUTCOME:DEPTH");
    (Some(name.to_owned()), wanted.parse().expect("a depth"))
}

/// What a case came to: as it was kept by a start before this one, or found out now.
fn kept(case: &Case, depth: usize, find_out: impl FnOnce() -> Tally) -> Tally {
    let Some(folder) = folder_to_keep_in() else { return find_out() };
    let file = folder.join(format!("{} {depth}", case.name().replace('/', " ")));
    if let Ok(text) = fs::read(&file) {
        return serde_json::from_slice(&text).expect("a whole file, by its name");
    }
    let tally = find_out();
    let new = file.with_extension("new");
    fs::write(&new, serde_json::to_vec(&tally).expect("a tally is JSON")).expect("a new file");
    fs::rename(new, file).expect("a file of the same folder");
    tally
}

#[allow(clippy::disallowed_methods, reason = "how the long layer is gone on with")]
fn folder_to_keep_in() -> Option<PathBuf> {
    std::env::var_os("CRASH_POINTS_KEPT").map(PathBuf::from)
}

struct Explorer<'c> {
    case: &'c Case,
    inside: Inside,
    work: Work,
    seen: HashSet<u64>,
    /// Worlds from which faultless starts are known to settle everything.
    good: HashSet<u64>,
    tally: Tally,
}

impl<'c> Explorer<'c> {
    fn new(case: &'c Case) -> Self {
        let is_new_year = case.scene == Scene::NewYear;
        let inside = if is_new_year { Inside::at(NEW_YEARS_EVE, &[]) } else { Inside::new(&[]) };
        let work = if case.scene == Scene::Flatten { Work::Flatten } else { Work::Run };
        Self {
            case,
            inside,
            work,
            seen: HashSet::new(),
            good: HashSet::new(),
            tally: Tally::default(),
        }
    }

    /// The world in which the scene begins.
    fn begin(&self) -> Outer {
        let clean = |next: &str| {
            let (_, ended) = self.inside.start(Work::Run, None);
            assert!(matches!(ended, Ended::Code(0)), "{}: {ended:?}", self.case.name());
            self.inside.with(|outer| outer.next_candle(next));
        };
        match self.case.scene {
            Scene::FirstStart => self.inside.with(|outer| outer.next_candle("21")),
            Scene::NothingToDo => clean("20"),
            Scene::EntryOfEth | Scene::NewYear => clean("21"),
            Scene::EntryOfBtc => clean("19"),
            Scene::ExitOfEth | Scene::Flatten => {
                clean("21");
                clean("19");
            }
            Scene::ExitOfBtc => {
                clean("19");
                clean("21");
            }
        }
        self.inside.with(|outer| {
            outer.exchange.rules.clone_from(&self.case.outcome.rules);
            outer.exchange.lag = Lags::all(self.case.outcome.lag);
            if let Some(depth) = self.case.outcome.depth {
                for symbol in ["BTCUSDT", "ETHUSDT"] {
                    outer.exchange.symbol(symbol).depth = vec![Decimal::from(depth)];
                }
            }
            outer.files.settle();
        });
        self.inside.save()
    }

    fn explore(mut self, depth: usize) -> Tally {
        let mut frontier = vec![Place { outer: self.begin(), way: vec![self.case.name()] }];
        self.settles(&frontier[0].way);
        for level in 1..=depth {
            let mut next = Vec::new();
            for place in frontier {
                self.hurt_everywhere(&place, level == depth, &mut next);
                if self.tally.broken.len() >= 3 {
                    return self.tally;
                }
            }
            self.tally.deepest.push(next.len());
            frontier = next;
        }
        self.tally
    }

    /// Hurts a run from here at each of its operations in each way.
    fn hurt_everywhere(&mut self, place: &Place, is_last: bool, next: &mut Vec<Place>) {
        self.inside.restore(&place.outer);
        let (operations, _) = self.start(None);
        for at in 1..=operations {
            for hurt in [Hurt::Kill, Hurt::Once, Hurt::ForEver, Hurt::Freeze] {
                self.inside.restore(&place.outer);
                let (_, ended) = self.start(Some((at, hurt)));
                self.tally.hurt += 1;
                let say = |after: &str| {
                    let mut way = place.way.clone();
                    way.push(format!(
                        "{hurt:?} at operation {at} of {operations}{after}: {ended:?}"
                    ));
                    way
                };
                match ended {
                    Ended::Code(code) => {
                        *self.tally.codes.entry(code).or_default() += 1;
                        self.arrive(&say(""), is_last, next);
                    }
                    Ended::Killed => {
                        self.tally.kills += 1;
                        let died = self.inside.save();
                        let pasts = died.files.pasts();
                        for past in pasts {
                            self.tally.losses += 1;
                            self.inside.restore(&died);
                            self.inside.with(|outer| outer.files.power_lost(past));
                            self.arrive(&say(&format!(", left {past:?}")), is_last, next);
                        }
                    }
                }
            }
        }
    }

    /// A world that a hurt run left: the rules must hold in it, and everything must settle from it, at once or later.
    fn arrive(&mut self, way: &[String], is_last: bool, next: &mut Vec<Place>) {
        if let Err(broken) = self.inside.check_always() {
            self.break_off(way, &broken);
            return;
        }
        let left = self.inside.save();
        for pause in [0, 20 * SECOND, 130 * SECOND] {
            self.inside.restore(&left);
            self.inside.with(|outer| if pause == 0 { outer.hurry() } else { outer.advance(pause) });
            if !self.seen.insert(self.digest()) {
                self.tally.merged += 1;
                continue;
            }
            self.tally.worlds += 1;
            let outer = self.inside.save();
            let mut way = way.to_vec();
            way.push(format!("{} s later", pause / SECOND));
            self.settles(&way);
            if !is_last {
                next.push(Place { outer, way });
            }
        }
    }

    /// Faultless starts, each after the bound, settle everything; the candles after it are traded as ever.
    fn settles(&mut self, way: &[String]) {
        let mut passed = Vec::new();
        for run in 0..=MOST_RUNS {
            let digest = self.digest();
            if self.good.contains(&digest) {
                break;
            }
            passed.push(digest);
            let (_, ended) = self.start(None);
            if let Err(broken) = self.inside.check_always() {
                return self.break_off(way, &format!("faultless run {run}, {ended:?}: {broken}"));
            }
            match self.inside.check_settled() {
                Ok(()) => {
                    if let Err(broken) = self.goes_on() {
                        return self.break_off(way, &broken);
                    }
                    break;
                }
                Err(why) if run == MOST_RUNS => {
                    return self.break_off(way, &format!("after {run} faultless runs: {why}"));
                }
                Err(_) => self.inside.with(|outer| outer.advance(2 * MINUTE)),
            }
        }
        self.good.extend(passed);
    }

    /// Two candles later everything is settled too: an order that was not executed may be tried again there, and meets what
    /// the first one was to meet.
    fn goes_on(&mut self) -> Result<(), String> {
        if self.inside.halted() == Some(HaltedBy::Program) {
            return Err("it halted, although nobody could know better".to_owned());
        }
        for spread in ["20", "20.01"] {
            self.inside.with(|outer| outer.next_candle(spread));
            self.settle().map_err(|why| format!("a candle later: {why}"))?;
        }
        // Candles that had become too old before the first run could decide on them keep it from beginning, but not for ever.
        if self.inside.has_state() { Ok(()) } else { Err("there is no book after all".to_owned()) }
    }

    /// Faultless starts, each after the bound, until nothing is open.
    fn settle(&mut self) -> Result<(), String> {
        let mut last = String::new();
        for run in 0..=MOST_RUNS {
            let (_, ended) = self.start(None);
            self.inside.check_always().map_err(|broken| format!("{ended:?}: {broken}"))?;
            match self.inside.check_settled() {
                Ok(()) => return Ok(()),
                Err(why) => last = format!("run {run}, {ended:?}: {why}"),
            }
            self.inside.with(|outer| outer.advance(2 * MINUTE));
        }
        Err(last)
    }

    fn start(&mut self, hurt: Option<(usize, Hurt)>) -> (usize, Ended) {
        self.tally.runs += 1;
        self.inside.start(self.work, hurt)
    }

    fn break_off(&mut self, way: &[String], broken: &str) {
        self.tally.broken.push(format!("{}\n=> {broken}", way.join("\n   ")));
    }

    /// Whatever the future may depend on.
    fn digest(&self) -> u64 {
        self.inside.with(|outer| {
            let mut hasher = Digest(DefaultHasher::new());
            for name in outer.files.names().filter(|name| *name != "outside.json") {
                (name, outer.files.read(name), outer.files.durable(name)).hash(&mut hasher.0);
            }
            outer.files.pasts().len().hash(&mut hasher.0);
            // What was told of failures, and the weight of questions, changes nothing that is looked at here.
            let outside = outer.files.read("outside.json").unwrap_or_default();
            let outside: Value = serde_json::from_slice(outside).unwrap_or_default();
            for name in ["bans", "delivered", "clock_offset_ms"] {
                outside[name].to_string().hash(&mut hasher.0);
            }
            let exchange = &outer.exchange;
            let left: Vec<usize> = exchange.rules.iter().map(|rule| rule.count).collect();
            let told = exchange.messages.iter().filter(|text| text.starts_with('#'));
            let told: BTreeSet<&String> = told.collect();
            (outer.now, &outer.sent, left, told).hash(&mut hasher.0);
            for it in &exchange.orders {
                (it.order_id, &it.client_order_id, &it.status, it.time, it.updated)
                    .hash(&mut hasher.0);
                it.executed.hash(&mut hasher.0);
            }
            write!(hasher, "{:?}", exchange.waiting()).expect("a hash takes everything");
            hasher.0.finish()
        })
    }
}

struct Digest(DefaultHasher);

impl std::fmt::Write for Digest {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// 2026-12-31T23:00:10Z.
const NEW_YEARS_EVE: i64 = 1_798_758_010_000;

/// A fill is known after at most so many faultless runs.
const MOST_RUNS: usize = 3;
