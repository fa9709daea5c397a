//! What a fuzzer found worth keeping, tried again: every file of `tests/corpus` through its target,
//! and then thousands of changed copies of them. The same ones in every run.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::PathBuf;

use crate::targets::{TARGETS, Target};

/// Changed copies for each target, all of its files together.
const COPIES: usize = 2_000;

/// A test for each target, so that they run side by side.
macro_rules! corpora {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            try_corpus(stringify!($name));
        })*

        #[test]
        fn no_target_is_left_out() {
            let names = TARGETS.map(|(name, _)| name);
            assert_eq!(names, [$(stringify!($name)),*]);
        }
    };
}
corpora!(config, state, journal, klines, order, error, rules, account, dump, outside);

fn try_corpus(name: &str) {
    let (_, target) = TARGETS.into_iter().find(|(it, _)| *it == name).expect("a target");
    let files = corpus(name);
    assert!(files.len() >= 10, "{name} has {} files", files.len());
    for (file, bytes) in &files {
        attempt(target, bytes, file);
    }
    let mut random = Random(0x6f75_726f);
    for copy in 0..COPIES {
        let (file, bytes) = &files[copy % files.len()];
        let (_, other) = &files[random.below(files.len())];
        attempt(target, &changed(bytes, other, &mut random), &format!("copy {copy} of {file}"));
    }
}

/// Says on what bytes a law was broken, for who wants to make a file of the corpus of them.
fn attempt(target: Target, bytes: &[u8], what: &str) {
    let tried = catch_unwind(AssertUnwindSafe(|| target(bytes)));
    if let Err(panic) = tried {
        eprintln!("{what}: {}", bytes.escape_ascii());
        resume_unwind(panic);
    }
}

fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(name);
    let entries = fs::read_dir(&folder).expect("a corpus");
    let mut files: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let path = entry.expect("an entry").path();
            let bytes = fs::read(&path).expect("a file");
            (path.display().to_string(), bytes)
        })
        .collect();
    files.sort();
    files
}

/// A copy with a few changes of the kind that a fuzzer makes.
fn changed(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut copy = bytes.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(copy.len() + 1);
        let end = at + random.below((copy.len() - at).min(40) + 1);
        match random.below(8) {
            0 if at < copy.len() => copy[at] ^= 1 << random.below(8),
            1 if at < copy.len() => copy[at] = BYTES[random.below(BYTES.len())],
            2 => drop(copy.drain(at..end)),
            3 => copy.truncate(at),
            4 => {
                let part = copy[at..end].to_vec();
                copy.splice(at..at, part);
            }
            5 => {
                let from = random.below(other.len() + 1);
                let to = from + random.below((other.len() - from).min(60) + 1);
                copy.splice(at..end, other[from..to].iter().copied());
            }
            6 => drop(copy.splice(at..at, WORDS[random.below(WORDS.len())].bytes())),
            _ => change_number(&mut copy, at, random),
        }
    }
    copy
}

/// Another number in the place of the first one after `at`, so that what stands there still parses.
fn change_number(copy: &mut Vec<u8>, at: usize, random: &mut Random) {
    let Some(start) = (at..copy.len()).find(|at| copy[*at].is_ascii_digit()) else { return };
    let is_number = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let end = (start..copy.len()).find(|at| !is_number(copy[*at])).unwrap_or(copy.len());
    copy.splice(start..end, NUMBERS[random.below(NUMBERS.len())].bytes());
}

/// What means something in at least one of the notations.
const BYTES: &[u8] = b"0123456789-.eE\"{}[],:=\\\n\r\0\xff";

const NUMBERS: [&str; 16] = [
    "0",
    "0.00000000",
    "1",
    "0.00000001",
    "0.000000001",
    "9999999999999999999",
    "9999999999999999999.99999999",
    "10000000000000000000",
    "18446744073709551615",
    "9223372036854775807",
    "9223372036854775808",
    "79228162514264337593543950335",
    "1.50000000",
    "100",
    "1784541600000",
    "253402207200000",
];

const WORDS: [&str; 12] = [
    "-",
    "null",
    "true",
    "\"\"",
    "NaN",
    "[]",
    "{}",
    "\r\n",
    "\u{feff}",
    "\u{1b}[2J",
    "BTCUSDT",
    "FILLED",
];

/// `SplitMix64`: numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let count = u64::try_from(count).expect("a size");
        usize::try_from((mixed >> 16) % count).expect("below a size")
    }
}
