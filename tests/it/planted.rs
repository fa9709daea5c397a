//! A check that nothing can fail is worse than none. So bugs are planted in a copy of the sources, each is switched on in
//! its turn, and the test that must catch it has to fail. The list is `tests/planted/bugs`; no build that is shipped knows
//! of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::clock;

#[test]
fn planted_bugs_fit_the_sources_and_no_source_knows_of_them() {
    let bugs = bugs();
    let named: BTreeSet<&str> =
        bugs.iter().filter(|bug| !bug.is_always()).map(|bug| &*bug.name).collect();
    assert!(named.len() >= 20, "{} planted bugs", named.len());
    assert_eq!(named.len(), bugs.iter().filter(|bug| !bug.is_always()).count(), "a name twice");
    // One after the other, as they are planted.
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for bug in &bugs {
        let text = fs::read_to_string(root.join(&bug.file)).expect("it is there");
        assert_eq!(
            text.matches(&*bug.stands).count(),
            1,
            "{}: its place in {}",
            bug.name,
            bug.file
        );
        if !bug.is_always() {
            let switch = format!("planted(\"{}\")", bug.name);
            assert!(bug.instead.contains(&switch), "{} is not switched by {switch}", bug.name);
        }
    }
    for path in sources(root) {
        let text = fs::read_to_string(&path).expect("it is there");
        let word = "planted(";
        assert!(!text.contains(word), "{} knows of planted bugs", path.display());
    }
}

#[test]
#[ignore = "takes minutes; .ci/run runs it"]
fn planted_bugs_of_the_day_are_each_caught() {
    // Another six each day: all in a week.
    let bugs: Vec<Bug> = bugs().into_iter().filter(|bug| !bug.is_always()).collect();
    let day = usize::try_from(clock::now() / clock::DAY).expect("after 1970");
    catch((0..4).map(|at| &bugs[(day * 4 + at) % bugs.len()]));
}

#[test]
#[ignore = "takes minutes; tests/assurance runs it"]
fn planted_bugs_are_each_caught_in_full() {
    catch(bugs().iter().filter(|bug| !bug.is_always()));
}

/// A bug, the test that must catch it, and how it is planted.
struct Bug {
    name: String,
    test: String,
    what: String,
    file: String,
    stands: String,
    instead: String,
}

impl Bug {
    /// What is no bug but the switch.
    fn is_always(&self) -> bool {
        self.name == "always:"
    }
}

fn bugs() -> Vec<Bug> {
    let list = include_str!("../planted/bugs");
    list.split("\n-- ")
        .skip(1)
        .map(|text| {
            let (first, rest) = text.split_once('\n').expect("a line for the name");
            let (file, rest) = rest.split_once('\n').expect("a line for the file");
            let (stands, instead) = rest.split_once("\n====\n").expect("`====`");
            let mut words = first.splitn(3, ' ').map(str::to_owned);
            let mut word = || words.next().expect("a name, a test, and what it is");
            Bug {
                name: word(),
                test: word(),
                what: word(),
                file: file.to_owned(),
                stands: stands.to_owned(),
                instead: instead.trim_end().to_owned(),
            }
        })
        .collect()
}

/// Plants all, and switches on one after the other.
fn catch<'b>(bugs: impl Iterator<Item = &'b Bug>) {
    let begin = clock::instant();
    let program = build();
    let bugs: Vec<&Bug> = bugs.collect();
    let tests: BTreeSet<&str> = bugs.iter().map(|bug| &*bug.test).collect();
    for test in tests {
        let output = run(&program, test, None);
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "without a bug {test} fails: {text}");
        assert!(!text.contains(" 0 passed"), "there is no test {test}: {text}");
    }
    let (next, missed) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(bug) = bugs.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let output = run(&program, &bug.test, Some(&bug.name));
                    let is_caught = !output.status.success();
                    let verdict = if is_caught { "caught" } else { "MISSED" };
                    println!("planted: {} | {} | {} | {verdict}", bug.name, bug.what, bug.test);
                    if !is_caught {
                        missed.lock().expect("nobody panics with it").push(bug.name.clone());
                    }
                }
            });
        }
    });
    let missed = missed.into_inner().expect("nobody panics with it");
    println!(
        "figures: planted bugs={} caught={} missed={} seconds={}",
        bugs.len(),
        bugs.len() - missed.len(),
        missed.len(),
        begin.elapsed().as_secs()
    );
    assert!(missed.is_empty(), "nobody saw {missed:?}");
}

/// A copy of the sources with all bugs in it, and the program of its tests.
fn build() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let copy = Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted");
    let tree = copy.join("tree");
    // What an earlier copy had and the sources have no more must not stay. Only what is not new is left out of the
    // next build: the copy keeps the times of the files.
    if tree.exists() {
        fs::remove_dir_all(&tree).expect("the earlier copy goes");
    }
    fs::create_dir_all(&tree).expect("a folder for the copy");
    let files = ["Cargo.toml", "Cargo.lock", "README.md", "LICENSE-MIT", ".env.example"];
    let kept = files.into_iter().chain(["benches", "docs", "src", "systemd", "tests"]);
    let there = kept.filter(|name| root.join(name).exists());
    for name in there {
        let done = Command::new("cp").arg("-a").arg(root.join(name)).arg(&tree).status();
        assert!(done.is_ok_and(|status| status.success()), "{name} is copied");
    }
    for bug in bugs() {
        let path = tree.join(&bug.file);
        let text = fs::read_to_string(&path).expect("it was copied");
        assert_eq!(
            text.matches(&*bug.stands).count(),
            1,
            "{}: its place in {}",
            bug.name,
            bug.file
        );
        let text = text.replacen(&*bug.stands, &bug.instead, 1);
        fs::write(&path, text).expect("it can be written");
    }
    take_what_is_built(&copy);
    let output = cargo(
        &copy,
        &tree,
        &["test", "--locked", "--test", "it", "--no-run", "--message-format=json"],
    );
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let program = text
        .lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "it")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.expect("cargo says what it built")
}

/// What others wrote is the same in both and was built for these tests already: minutes that need not be spent again. A
/// copy, not links: cargo writes over some of its files.
fn take_what_is_built(copy: &Path) {
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../debug");
    let there = copy.join("target/debug");
    if there.exists() || !built.exists() {
        return;
    }
    fs::create_dir_all(&there).expect("a new folder");
    for part in ["deps", "build", ".fingerprint"] {
        let done = Command::new("cp").arg("-a").arg(built.join(part)).arg(&there).status();
        assert!(done.is_ok_and(|status| status.success()), "{part} is copied");
    }
}

fn cargo(copy: &Path, tree: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO"))
        .args(arguments)
        .env("CARGO_TARGET_DIR", copy.join("target"))
        .current_dir(tree)
        .output()
        .expect("cargo is there")
}

fn run(program: &Path, test: &str, bug: Option<&str>) -> Output {
    let mut command = Command::new("timeout");
    command.arg("300").arg(program).args([test, "--test-threads=2"]).env_remove("PLANTED");
    command.envs(bug.map(|bug| ("PLANTED", bug)));
    command.current_dir(env!("CARGO_TARGET_TMPDIR")).output().expect("the copy's tests start")
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut all = crate::support::folder::walk(&folder.join("src"));
    all.retain(|path| path.is_file());
    all
}
