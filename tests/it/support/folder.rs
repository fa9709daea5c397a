//! What lies in a state directory, and what must hold of it after every run.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

/// One world's folder: `paper/`, or the one folder in `replay/`.
#[derive(Clone, Debug)]
pub(crate) struct Folder {
    path: PathBuf,
}

/// The bytes that a refusal must not touch.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    state: Option<Vec<u8>>,
    journal: Option<Vec<u8>>,
}

impl Folder {
    pub(crate) fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// A file in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The text of a file in it, which must be there.
    #[track_caller]
    pub(crate) fn text(&self, name: &str) -> String {
        let path = self.join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// `state.json` and `journal.jsonl`, byte for byte.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let bytes = |name| fs::read(self.join(name)).ok();
        Snapshot { state: bytes("state.json"), journal: bytes("journal.jsonl") }
    }

    /// The journal's records.
    #[track_caller]
    pub(crate) fn journal(&self) -> Vec<Value> {
        let record = |line: &str| {
            serde_json::from_str(line).unwrap_or_else(|error| panic!("journal: {error} in {line}"))
        };
        self.text("journal.jsonl").lines().map(record).collect()
    }
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (name, bytes) in [("state.json", &self.state), ("journal.jsonl", &self.journal)] {
            let text = bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes));
            writeln!(formatter, "{name}: {}", text.as_deref().unwrap_or("(none)"))?;
        }
        Ok(())
    }
}

/// Every path below a folder, folders before what is in them.
pub(crate) fn walk(path: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = fs::read_dir(path)
        .into_iter()
        .flatten()
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    let below = |path: PathBuf| {
        let inner = if path.is_dir() && !path.is_symlink() { walk(&path) } else { Vec::new() };
        std::iter::once(path).chain(inner)
    };
    paths.into_iter().flat_map(below).collect()
}

/// Holds after every run, whatever happened in it: no file that the contract does not name, nothing
/// that others may read, and a journal that is a chain of whole lines.
#[track_caller]
pub(crate) fn check_invariants(state: &Path) {
    for path in walk(state) {
        let mode =
            fs::symlink_metadata(&path).expect("it was listed").permissions().mode() & 0o7777;
        let shown = path.strip_prefix(state).expect("below").display().to_string();
        if path.is_dir() {
            assert_eq!(mode, 0o700, "mode {mode:o} of the folder {shown}");
            continue;
        }
        assert_eq!(mode, 0o600, "mode {mode:o} of {shown}");
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let known = ["state.json", "outside.json", "lock", "halt", "report.html"];
        let is_known = known.contains(&&*name) || name.starts_with("bot.log") || is_journal(&name);
        assert!(is_known, "a stray file: {shown}");
        if is_journal(&name) {
            check_chain(&fs::read_to_string(&path).expect("the journal is text"));
        }
    }
}

/// Numbers rise by one, and each record carries the hash of the one before.
#[track_caller]
fn check_chain(journal: &str) {
    assert!(journal.is_empty() || journal.ends_with('\n'), "a torn last line: {journal}");
    let record = |line: &str| -> Value { serde_json::from_str(line).expect("a record is JSON") };
    let records: Vec<Value> = journal.lines().map(record).collect();
    for pair in records.windows(2) {
        let seq = |record: &Value| record["seq"].as_u64().expect("a record has a number");
        assert_eq!(seq(&pair[0]) + 1, seq(&pair[1]), "the journal's numbers: {journal}");
        assert_eq!(pair[0]["hash"], pair[1]["prev"], "the journal's chain: {journal}");
    }
}

/// `journal.jsonl`, or a year that was put away.
pub(crate) fn is_journal(name: &str) -> bool {
    let rest = name.strip_prefix("journal").and_then(|name| name.strip_suffix(".jsonl"));
    rest.is_some_and(|rest| rest.is_empty() || (rest.len() == 5 && rest.starts_with('-')))
}

/// A copy of a folder with all that is in it.
pub(crate) fn copy_folder(from: &Path, to: &Path) {
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

/// A folder for nobody else.
pub(crate) fn make_folder(path: &Path) {
    fs::DirBuilder::new().mode(0o700).create(path).expect("a new folder");
}
