//! System calls of the real binary, as `strace` shows them: where a run can be ended or hurt.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// A system call of an undisturbed run: the n-th of its name in its thread.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) nth: usize,
    /// As strace shows it, with paths.
    pub(crate) shown: String,
}

impl Call {
    /// The option that ends a process before it.
    pub(crate) fn kill(&self) -> String {
        format!("-e inject={}:signal=KILL:when={}", self.name, self.nth)
    }
}

impl fmt::Display for Call {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} number {}, {}", self.name, self.nth, self.shown)
    }
}

/// The calls in a log of strace, from the first look at the state directory on unless all of them `begun`.
pub(crate) fn parse(log: &Path, state: &Path, mut begun: bool) -> Vec<Call> {
    let log = fs::read_to_string(log).expect("strace wrote it");
    let state = state.to_str().expect("a path of a test");
    let mut counts = BTreeMap::<(&str, &str), usize>::new();
    let mut seen = BTreeSet::new();
    let mut calls = Vec::new();
    for line in log.lines() {
        let Some((thread, shown)) = line.split_once(' ') else { continue };
        let Some((name, _)) = shown.trim().split_once('(') else { continue };
        // Not the ends of interrupted calls, nor signals.
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

/// Every n-th, so that about `most` are left, spread over all.
pub(crate) fn share<T: Clone>(all: &[T], most: usize) -> Vec<T> {
    all.iter().step_by(all.len().div_ceil(most).max(1)).cloned().collect()
}

/// Whether strace is there and may do its work; says so where not.
pub(crate) fn tracing_works() -> bool {
    let mut command = Command::new("strace");
    command.args(["-qq", "-o", "/dev/null", "-e", "trace=fsync", "true"]).stdin(Stdio::null());
    let reason = match command.output() {
        Ok(output) if output.status.success() => return true,
        Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        Err(error) => format!("it can't be started: {error}"),
    };
    println!("skipped, because strace does not work here: {reason}");
    false
}
