//! Damage to what is on disk, all of it: every byte and every bit, and everything that may stand in
//! a file's place. Each is refused with 65 and not a byte is changed; what a crash leaves is mended.
//!
//! Inside one process, because there are thousands of them; `state.rs` tries samples with the real
//! binary, and so do the last tests here for every command.

use std::any::Any;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, FileTypeExt as _, symlink};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use ouroboros::failure::{Failure, Kind};
use ouroboros::store::disk::{Disk, Handle, How, System};
use ouroboros::store::{self, Identity, Message, Outbox, Store};
use ouroboros::trading::book::{Book, Day, Dust, Halt, HaltedBy, Holding, Leaving, Position};
use ouroboros::trading::ledger::{Balances, Intent, KnownOrder, LastOrder, Ledger, Seen};
use ouroboros::trading::market::{Asset, Leg, Side, SymbolRules};
use ouroboros::trading::money::{Amount, Price, Profit, Quantity, Step as LotStep};
use ouroboros::trading::order::{Ordered, Plan, Purpose, Size, Touch};
use ouroboros::trading::strategy::ZScore;
use ouroboros::trading::time::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::Config;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;

use crate::support::desk::{Desk, write_private};
use crate::support::folder::walk;
use crate::support::law::{
    amount_of, as_amount, as_quantity, config, leg, price, quantity_of, step, units,
};
use crate::support::table::{decimal, spreads};

// --- state.json --------------------------------------------------------------------------------

#[test]
fn what_was_committed_is_what_is_loaded() {
    for book in [holding(), leaving(), flat(), live()] {
        let world = World::with(&book, 1);
        let loaded = world.open().load().expect("a good state").cloned().expect("a state");
        assert_eq!(loaded.book, book);
        assert_eq!(loaded.identity, identity());
        assert_eq!(loaded.outbox, outbox());
        let seen = store::peek(&System, &world.folder).expect("a good state").expect("a state");
        assert_eq!(seen.book, book);
    }
}

proptest! {
    #![proptest_config(Config { cases: 300, ..config() })]

    #[test]
    fn whatever_a_ledger_holds_is_loaded_as_it_was(
        ledger in ledger(),
        fees in prop::collection::btree_map("[A-Z0-9]{1,20}", units(), 0..3),
    ) {
        let asset = |(code, fee): (String, i128)| {
            (Asset::new(&code).expect("capital letters"), quantity_of(fee))
        };
        let other_fees = fees.into_iter().map(asset).collect();
        let book = Book { ledger: Some(ledger), other_fees, ..live() };
        let world = World::with(&book, 1);
        let loaded = world.open().load().expect("a good state").cloned().expect("a state");
        prop_assert_eq!(&loaded.book, &book);
        let seen = store::peek(&System, &world.folder).expect("a good state").expect("a state");
        prop_assert_eq!(&seen.book, &book);
    }
}

#[test]
fn a_state_cut_at_every_byte_is_refused() {
    for world in [World::new(), World::with(&live(), 3)] {
        let mut store = world.open();
        for length in 0..world.state.len() {
            let what = format!("cut at {length}");
            world.expect_state_refused(&mut store, &world.state[..length], &what);
        }
        world.expect_good(&mut store);
    }
}

#[test]
fn a_state_with_any_bit_flipped_is_refused() {
    for world in [World::new(), World::with(&live(), 3)] {
        let mut store = world.open();
        world.expect_flips_refused(&mut store, "state.json", 0..world.state.len());
        world.expect_good(&mut store);
    }
}

#[test]
fn a_state_with_a_byte_too_many_is_refused() {
    let world = World::new();
    let mut store = world.open();
    for more in ["\n", " ", "\0", "}", "x", "\r\n", "\u{feff}", "null"] {
        let (before, after) = ([more.as_bytes(), &world.state], [&world.state, more.as_bytes()]);
        world.expect_state_refused(&mut store, &before.concat(), &format!("{more:?} before it"));
        world.expect_state_refused(&mut store, &after.concat(), &format!("{more:?} after it"));
    }
    let crlf = world.text().replace('\n', "\r\n");
    world.expect_state_refused(&mut store, crlf.as_bytes(), "other line ends");
    let otherwise = minified(&world.text());
    let failure = world.expect_state_refused(&mut store, &otherwise, "the same on one line");
    assert!(failure.message.contains("is not written the way this program writes"), "{failure}");
    let text = world.text();
    let place = text.find("\"checksum\": \"").expect("a checksum") + 13;
    let digit = if &text[place..=place] == "0" { "1" } else { "0" };
    let other = [&text[..place], digit, &text[place + 1..]].concat();
    let failure = world.expect_state_refused(&mut store, other.as_bytes(), "another checksum");
    assert!(failure.message.contains("does not fit its checksum"), "{failure}");
    // It is damaged, and no later program's.
    assert!(failure.hint.contains("backup"), "{failure}");
    world.expect_good(&mut store);
}

#[test]
fn a_state_with_a_line_twice_missing_or_moved_is_refused() {
    let world = World::new();
    let mut store = world.open();
    let text = world.text();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    for place in 0..lines.len() {
        let line = lines[place].trim();
        let mut twice = lines.clone();
        twice.insert(place, lines[place]);
        world.expect_state_refused(&mut store, twice.concat().as_bytes(), &format!("twice {line}"));
        let mut missing = lines.clone();
        missing.remove(place);
        let missing = missing.concat();
        world.expect_state_refused(&mut store, missing.as_bytes(), &format!("without {line}"));
        if let Some(next) = lines.get(place + 1).filter(|next| *next != &lines[place]) {
            let mut moved = lines.clone();
            moved.swap(place, place + 1);
            let what = format!("{line} after {}", next.trim());
            world.expect_state_refused(&mut store, moved.concat().as_bytes(), &what);
        }
    }
    world.expect_good(&mut store);
}

#[test]
fn a_state_of_another_version_is_refused_and_says_so() {
    let world = World::new();
    let mut store = world.open();
    let text = world.text();
    for version in ["0", "2", "4294967296", "4294967297", "18446744073709551615"] {
        let other = text.replacen("\"version\": 1", &format!("\"version\": {version}"), 1);
        let failure = world.expect_state_refused(&mut store, other.as_bytes(), version);
        assert!(failure.message.contains(&format!("version {version}")), "{failure}");
        assert_eq!(failure.hint.contains("install that one again"), version != "0", "{failure}");
    }
    for version in
        ["-1", "1.0", "1e0", "01", "true", "null", "\"1\"", "[1]", "18446744073709551616"]
    {
        let other = text.replacen("\"version\": 1", &format!("\"version\": {version}"), 1);
        world.expect_state_refused(&mut store, other.as_bytes(), version);
    }
    // A later version may look different altogether, and still it is said which one it is.
    let later = b"{\"version\": 7, \"sealed\": true}";
    let failure = world.expect_state_refused(&mut store, later, "of a later program");
    assert!(failure.message.contains("version 7"), "{failure}");
    world.expect_good(&mut store);
}

#[test]
fn a_state_with_a_right_checksum_over_what_no_book_can_hold_is_refused() {
    let live = World::with(&live(), 3);
    for (world, forgeries) in [(World::new(), FORGERIES), (live, FORGERIES_OF_ORDERS)] {
        let mut store = world.open();
        let control = forged(&world.text(), "", "");
        assert_eq!(control, world.text(), "the checksum is computed as the program does");
        for (field, value, others) in forgeries {
            for other in *others {
                let good = format!("\"{field}\": {value}");
                assert!(world.text().contains(&good), "no `{good}` in {}", world.text());
                let bad = format!("\"{field}\": {other}");
                let state = forged(&world.text(), &good, &bad);
                world.expect_state_refused(&mut store, state.as_bytes(), &bad);
            }
        }
        world.expect_good(&mut store);
    }
}

/// A field, its good value, and others that no run can have written.
const FORGERIES: &[(&str, &str, &[&str])] = &[
    ("paper_balance", "\"850.27000000\"", AMOUNTS),
    ("cost", "\"149.73000000\"", AMOUNTS),
    ("proceeds", "\"12.50000000\"", AMOUNTS),
    ("quantity", "\"0.04825170\"", AMOUNTS),
    ("quantity", "\"0.04825170\"", &["\"0.00000000\"", "\"0\""]),
    (
        "realized_pnl",
        "\"-3.25000000\"",
        &["\"NaN\"", "\"-3.250000001\"", "\"1e30\"", "null", "-3.25"],
    ),
    ("entry_price", "\"3100\"", &["\"0\"", "\"-3100\"", "\"inf\"", "\"3100.0\"", "3100", "null"]),
    ("entry_z", "1.5", &["1e999", "-1e999", "NaN", "\"1.5\"", "1.50", "15e-1", "[1.5]"]),
    ("entry_candle", "\"2024-03-01T12:15:00Z\"", MOMENTS),
    ("last_candle", "\"2024-03-01T12:30:00Z\"", MOMENTS),
    ("date", "\"2024-03-01T00:00:00Z\"", MOMENTS),
    ("orders", "3", WHOLE),
    ("attempts", "2", WHOLE),
    ("refusals", "1", WHOLE),
    ("round_trips", "7", &["-1", "18446744073709551616", "1.5", "null", "\"7\"", "07", "7.0"]),
    ("leg", "\"denominator\"", &["\"both\"", "\"Denominator\"", "\"\"", "null", "1"]),
    ("is", "\"leaving\"", &["\"flat\"", "\"holding\"", "\"Leaving\"", "\"\"", "null", "2"]),
    ("cools", "true", &["\"true\"", "1", "null", "TRUE"]),
    ("by", "\"person\"", &["\"nobody\"", "\"Person\"", "null"]),
    // A number that was used is not used again.
    ("next_message", "13", &["11", "12", "0", "-1", "null"]),
    ("number", "12", &["11", "10", "13", "-12", "null"]),
    ("mode", "\"paper\"", &["null", "1", "[]"]),
    ("seq", "3", &["2", "4", "0", "-3", "null", "\"3\""]),
    // The journal's newest line is part of the state, and has a hash of its own.
    ("record", "{\"kind\":\"decision\"", &["{\"kind\":\"halt\"", "{ \"kind\":\"decision\""]),
];

/// The same of what only a live book has.
const FORGERIES_OF_ORDERS: &[(&str, &str, &[&str])] = &[
    ("account", "42", &["-42", "42.0", "\"42\"", "null", "18446744073709551616"]),
    ("client_order_id", "\"ouro-0123456789-1709295300-B1\"", &["null", "7", "[]"]),
    ("candle", "\"2024-03-01T12:15:00Z\"", MOMENTS),
    ("is", "\"entry\"", &["\"exit\"", "\"Entry\"", "\"\"", "null"]),
    ("z", "-2.25", &["1e999", "null", "\"-2.25\"", "-2.250"]),
    ("base", "\"0.04700000\"", AMOUNTS),
    ("limit", "\"3101.5\"", &["\"0\"", "\"-1\"", "\"3101.50\"", "3101.5", "\"\""]),
    ("touch", "\"3100.25\"", &["\"0\"", "\"-1\"", "\"3100.250\"", "3100.25", "null", "\"\""]),
    ("step", "\"0.0001\"", &["\"0\"", "\"-1\"", "\"0.00010\"", "0.0001", "null", "\"\""]),
    ("tick", "\"0.01\"", &["\"0\"", "\"-1\"", "\"0.010\"", "0.01", "\"\""]),
    ("quote_step", "\"0.00000001\"", &["\"0\"", "\"0.000000001\"", "null"]),
    ("min_notional", "\"5\"", &["\"five\"", "5", "null", "\"\""]),
    ("takes_quote_amounts", "true", &["1", "\"true\"", "null"]),
    // The moment is there twice, for people and for the program.
    ("recorded_at", "\"2024-03-01T12:30:01.234Z\"", &["\"2024-03-01T12:30:01.235Z\"", "null"]),
    ("timestamp_ms", "1709296201234", &["1709296201235", "-1", "null", "\"1709296201234\""]),
    ("timestamp_ms", "1709296201234", &["9223372036854775807", "1709296201234.0"]),
    ("recv_window_ms", "5000", WHOLE),
    ("quote", "\"1000.50000000\"", AMOUNTS),
    ("newest_order", "48230011222", &["-1", "\"48230011222\"", "18446744073709551616"]),
    ("at", "\"2024-03-01T12:15:02.001Z\"", MOMENTS),
    ("order_id", "48230011222", &["-1", "\"48230011222\"", "null", "1.5"]),
    ("seen_numerator", "17", &["-1", "\"17\"", "017", "17.0"]),
    ("BNB", "\"0.00012000\"", AMOUNTS),
    ("BNB", "\"0.00012000\"", &["\"0.00012000\",\n      \"BNB\": \"0.00012000\""]),
];

const AMOUNTS: &[&str] = &[
    "\"-1.00000000\"",
    "\"-0.00000001\"",
    "\"NaN\"",
    "\"inf\"",
    "\"\"",
    "\"1e3\"",
    "\"+1.00000000\"",
    "\" 1.00000000\"",
    "\"01.00000000\"",
    "\"1\"",
    "\"1.0\"",
    "\"1.000000001\"",
    "\"1.000000000\"",
    "\"1.00000000000000000000000000000000000000\"",
    "\"79228162514264337593543950336.00000000\"",
    "\"9999999999999999999999999999999999999999.00000000\"",
    "\"1_0.00000000\"",
    "\"0x1\"",
    "1.0",
    "1",
    "null",
    "{}",
];

const MOMENTS: &[&str] = &[
    "\"\"",
    "\"2024-03-01\"",
    "\"2024-02-30T00:00:00Z\"",
    "\"2024-03-01T12:15:00+01:00\"",
    "\"2024-03-01T12:15:00.000Z\"",
    "\"2024-03-01t12:15:00z\"",
    "\"2024-03-01 12:15:00Z\"",
    "\"99999-03-01T12:15:00Z\"",
    "1709295300000",
];

const WHOLE: &[&str] = &["-1", "4294967296", "1.5", "1e0", "null", "\"1\"", "01"];

#[test]
fn other_json_than_a_state_is_refused() {
    let world = World::new();
    let mut store = world.open();
    let text = world.text();
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let field = |value: &str| text.replacen('{', &format!("{{\n  \"surprise\": {value},"), 1);
    let inside = |value: &str| {
        forged(&text, "\"identity\": {", &format!("\"surprise\": {value},\n    \"identity\": {{"))
    };
    let deeper = "{\"a\":".repeat(10_000) + "1" + &"}".repeat(10_000);
    let record = format!("\"record\": {}", deep(100_000));
    for (what, bytes) in [
        ("nothing", String::new()),
        ("a blank", "\n".to_owned()),
        ("null", "null\n".to_owned()),
        ("a list", "[]\n".to_owned()),
        ("an empty object", "{}\n".to_owned()),
        ("a text", "\"state\"\n".to_owned()),
        ("a version and nothing else", "{\"version\":1}\n".to_owned()),
        ("a field too many", field("1")),
        ("a deep field", field(&deep(10_000))),
        ("a field too many in the body", inside("1")),
        ("a deep field in the body", inside(&deep(10_000))),
        ("10,000 lists", deep(10_000)),
        ("a million lists", deep(1_000_000)),
        ("10,000 objects", deeper),
        ("a deep record", text.replacen("\"record\": {", &format!("{record},\"x\": {{"), 1)),
        ("zeros", "\0".repeat(text.len())),
    ] {
        assert!(bytes != text, "{what} is no damage");
        world.expect_state_refused(&mut store, bytes.as_bytes(), what);
    }
    world.expect_state_refused(&mut store, &[0xff; 100], "not UTF-8");
    world.expect_good(&mut store);
}

#[test]
fn a_state_of_absurd_length_is_refused_without_reading_it() {
    let world = World::new();
    let mut store = world.open();
    let path = world.path("state.json");
    let file = fs::File::options().write(true).open(&path).expect("the state");
    // A hole: it takes no room on the disk.
    file.set_len(1 << 30).expect("a file may have holes");
    let loaded = store.load().map(|_| ()).expect_err("a gigabyte");
    let seen = store::peek(&System, &world.folder).map(|_| ()).expect_err("a gigabyte");
    for failure in [loaded, seen] {
        assert_eq!(failure.kind, Kind::Untrusted);
        assert!(failure.message.contains("1073741824 bytes"), "{failure}");
    }
    world.put_back();
    world.expect_good(&mut store);
}

#[test]
fn a_state_that_was_not_loaded_is_never_written_over() {
    let world = World::new();
    write_private(&world.path("state.json"), b"{");
    let mut store = world.open();
    assert_eq!(kind(store.load().map(|_| ())), Kind::Untrusted);
    let commit = || store.commit(identity(), flat(), outbox(), &json!({})).map(|_| ());
    assert!(catch_unwind(AssertUnwindSafe(commit)).is_err(), "a bug, and found as one");
    assert_eq!(fs::read(world.path("state.json")).expect("the state"), b"{");
    assert_eq!(fs::read(world.path("journal.jsonl")).expect("the journal"), world.journal);
}

#[test]
fn a_state_that_could_not_be_read_again_is_not_written() {
    let most = 16 << 20;
    let message = |length: usize| Outbox {
        waiting: vec![Message { number: 11, text: "x".repeat(length) }],
        ..outbox()
    };
    let world = World::new();
    let mut store = world.open();
    store.load().expect("a good state");
    store.commit(identity(), flat(), message(0), &json!({})).expect("it is saved");
    let shortest = world.now("state.json").len();
    let longest = most - shortest;
    store.commit(identity(), flat(), message(longest), &json!({})).expect("it is saved");
    assert_eq!(world.now("state.json").len(), most);
    for more in [1, 1_000] {
        let done = store.commit(identity(), flat(), message(longest + more), &json!({}));
        assert_eq!(kind(done.map(|_| ())), Kind::Storage, "{more} too many");
    }
    drop(store);
    let state = world.open().load().expect("it can be read").expect("a state").clone();
    assert_eq!(state.outbox, message(longest));
    assert_eq!(state.number(), 5, "three commits, and two");
}

#[test]
fn a_message_is_forgotten_once_it_was_delivered_and_not_before() {
    let mut outbox = outbox();
    let numbers = |outbox: &Outbox| -> Vec<u64> {
        outbox.waiting.iter().map(|message| message.number).collect()
    };
    assert_eq!(numbers(&outbox), [11, 12]);
    outbox.forget_through(10);
    assert_eq!(numbers(&outbox), [11, 12]);
    outbox.forget_through(11);
    assert_eq!(numbers(&outbox), [12]);
    outbox.forget_through(40);
    assert!(outbox.waiting.is_empty() && outbox.next == 13);
}

/// A disk on which somebody commits between the reading of a state and of its journal, or asks for a
/// halt while we do.
#[derive(Debug)]
struct Racing {
    folder: PathBuf,
    commits: AtomicUsize,
}

impl Disk for Racing {
    fn open(&self, path: &Path, how: How) -> anyhow::Result<Option<Box<dyn Handle>>> {
        let fewer = |left: usize| left.checked_sub(1);
        if path.ends_with("journal.jsonl")
            && self.commits.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fewer).is_ok()
        {
            let mut store = open(&self.folder).expect("nobody else holds the lock");
            store.load().expect("a good state");
            store.commit(identity(), flat(), outbox(), &json!({})).expect("it is saved");
        }
        if path.ends_with("halt") && matches!(how, How::New) {
            store::ask_to_halt(&System, &self.folder, "somebody else").expect("it is asked for");
        }
        System.open(path, how)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        System.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        System.remove(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        System.sync_folder(folder)
    }

    fn make_folder(&self, folder: &Path) -> anyhow::Result<()> {
        System.make_folder(folder)
    }

    fn exists(&self, path: &Path) -> bool {
        System.exists(path)
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        System.names(folder)
    }

    fn lock(&self, folder: &Path, name: &str) -> anyhow::Result<Option<Box<dyn Any>>> {
        System.lock(folder, name)
    }
}

#[test]
fn a_look_while_others_commit_sees_a_whole_state_and_damage_is_still_seen() {
    for commits in 0..5_u64 {
        let world = World::new();
        let number = usize::try_from(commits).expect("few");
        let racing = Racing { folder: world.folder.clone(), commits: AtomicUsize::new(number) };
        let state = store::peek(&racing, &world.folder).expect("a whole one").expect("a state");
        assert_eq!(state.number(), 3 + commits);
    }
    let world = World::new();
    write_private(&world.path("journal.jsonl"), b"");
    let racing = Racing { folder: world.folder.clone(), commits: AtomicUsize::new(0) };
    assert_eq!(kind(store::peek(&racing, &world.folder).map(|_| ())), Kind::Untrusted);
}

// --- journal.jsonl -----------------------------------------------------------------------------

#[test]
fn a_torn_last_line_of_every_length_is_completed() {
    for commits in [1, 2, 3] {
        let world = World::with(&holding(), commits);
        for length in world.last_line()..world.journal.len() {
            write_private(&world.path("journal.jsonl"), &world.journal[..length]);
            let mut store = world.open();
            assert!(store::peek(&System, &world.folder).is_ok(), "cut at {length}");
            assert!(store.load().is_ok(), "cut at {length}");
            assert_eq!(world.now("journal.jsonl").len(), length, "looking changes nothing");
            store.complete_journal().expect("it can be written");
            assert_eq!(world.now("journal.jsonl"), world.journal, "cut at {length}");
        }
    }
}

#[test]
fn the_next_commit_completes_a_torn_line_first() {
    let world = World::new();
    for length in [world.last_line(), world.last_line() + 9, world.journal.len() - 1] {
        world.put_back();
        write_private(&world.path("journal.jsonl"), &world.journal[..length]);
        let mut store = world.open();
        store.load().expect("a torn line is no damage");
        store.commit(identity(), flat(), outbox(), &json!({"kind": "next"})).expect("it is saved");
        let journal = world.now("journal.jsonl");
        assert!(journal.starts_with(&world.journal), "cut at {length}");
        assert_eq!(String::from_utf8_lossy(&journal).lines().count(), 4);
        drop(store);
        assert!(world.open().load().is_ok());
    }
}

#[test]
fn a_last_line_with_any_bit_flipped_is_refused() {
    let world = World::new();
    let mut store = world.open();
    let last_line = world.last_line()..world.journal.len();
    world.expect_flips_refused(&mut store, "journal.jsonl", last_line);
    world.expect_good(&mut store);
}

#[test]
fn a_torn_line_after_a_line_with_any_bit_flipped_is_refused() {
    let world = World::new();
    let mut store = world.open();
    let end = world.last_line();
    let before = world.journal[..end - 1].iter().rposition(|byte| *byte == b'\n');
    write_private(&world.path("journal.jsonl"), &world.journal[..end + 7]);
    let line_before = before.expect("three lines") + 1..end;
    world.expect_flips_refused(&mut store, "journal.jsonl", line_before);
    world.expect_good(&mut store);
}

#[test]
fn a_journal_cut_before_its_last_line_is_refused() {
    let world = World::new();
    let mut store = world.open();
    for length in 0..world.last_line() {
        let cut = &world.journal[..length];
        world.expect_journal_refused(&mut store, cut, &format!("cut at {length}"));
    }
    fs::remove_file(world.path("journal.jsonl")).expect("it was there");
    world.expect_refused(&mut store, "no journal at all");
    world.put_back();
    world.expect_good(&mut store);
}

#[test]
fn a_journal_that_ends_with_something_else_is_refused() {
    let world = World::new();
    let mut store = world.open();
    let text = String::from_utf8(world.journal.clone()).expect("the journal is text");
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let last = lines[2];
    for (what, journal) in [
        ("an empty line", format!("{text}\n")),
        ("a blank", format!("{text} ")),
        ("zeros", format!("{text}{}", "\0".repeat(4096))),
        ("half a line that is not ours", format!("{text}{{\"seq\":4")),
        ("the beginning of the newest line again", format!("{text}{}", &last[..20])),
        ("a line of another program", format!("{text}{{\"a\":1}}\n")),
        ("no line end but blanks", format!("{}   ", text.trim_end())),
        ("zeros in place of the newest", format!("{}{}{}", lines[0], lines[1], "\0".repeat(100))),
        ("the first line in place of the second", format!("{}{}", lines[0], lines[0])),
        ("other line ends", text.replace('\n', "\r\n")),
        (
            "a field too many",
            format!("{}{}", lines[..2].concat(), last.replacen('{', "{\"a\":1,", 1)),
        ),
        ("a key twice", format!("{}{}", lines[..2].concat(), last.replacen('{', "{\"seq\":3,", 1))),
    ] {
        world.expect_journal_refused(&mut store, journal.as_bytes(), what);
    }
    world.expect_good(&mut store);
}

#[test]
fn a_state_and_a_journal_of_different_days_are_refused() {
    // The same book with one to three commits.
    let worlds: Vec<World> = (1..=4).map(|commits| World::with(&holding(), commits)).collect();
    for (older, newer) in [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)] {
        let world = &worlds[newer];
        let mut store = world.open();
        // An old state was put back beside the journal of today.
        write_private(&world.path("state.json"), &worlds[older].state);
        world.expect_refused(&mut store, &format!("state {older}, journal {newer}"));
        world.put_back();
        // An old journal was put back beside the state of today: one line may be missing, not two.
        write_private(&world.path("journal.jsonl"), &worlds[older].journal);
        if newer - older == 1 {
            assert!(store.load().is_ok(), "the newest line is in the state");
        } else {
            world.expect_refused(&mut store, &format!("state {newer}, journal {older}"));
        }
        world.put_back();
    }
}

#[test]
fn a_journal_of_another_book_is_refused() {
    let of_another = Book { round_trips: 8, ..holding() };
    let (world, other) = (World::with(&holding(), 3), World::with(&of_another, 4));
    let mut store = world.open();
    world.expect_journal_refused(&mut store, &other.journal, "another book's");
    world.put_back();
    world.expect_state_refused(&mut store, &other.state, "another book's");
}

#[test]
fn a_journal_without_a_state_is_no_new_book() {
    let world = World::new();
    let mut store = world.open();
    fs::remove_file(world.path("state.json")).expect("it was there");
    world.expect_refused(&mut store, "no state");
    write_private(&world.path("journal.jsonl"), b"{");
    world.expect_refused(&mut store, "no state, and half a line");
    // A file that was made and not yet written to holds nothing that could be lost.
    write_private(&world.path("journal.jsonl"), b"");
    assert!(store.load().expect("a new book").is_none());
}

#[test]
fn long_records_are_completed_too() {
    let record = json!({ "candles": "x".repeat(60_000) });
    let world = World::committed(&holding(), &[record.clone(), record.clone(), record]);
    for length in [world.last_line(), world.last_line() + 30_000, world.journal.len() - 1] {
        write_private(&world.path("journal.jsonl"), &world.journal[..length]);
        let mut store = world.open();
        store.load().expect("a torn line is no damage");
        store.complete_journal().expect("it can be written");
        assert_eq!(world.now("journal.jsonl"), world.journal);
    }
}

// --- what stands in a file's place -------------------------------------------------------------

#[test]
fn what_is_no_plain_file_of_ours_is_refused() {
    for name in ["state.json", "journal.jsonl", "lock"] {
        for place in PLACES {
            let world = World::new();
            let Some(copy) = place.put(&world, name) else { continue };
            let before = (world.paths(), fs::read(&copy).expect("a copy"));
            let loaded = match open(&world.folder) {
                Ok(mut store) => store.load().map(|_| ()),
                Err(failure) => Err(failure),
            };
            assert_eq!(kind(loaded), Kind::Untrusted, "{place:?} for {name}");
            if name != "lock" {
                let seen = store::peek(&System, &world.folder).map(|_| ());
                assert_eq!(kind(seen), Kind::Untrusted, "{place:?} for {name}, peeked at");
            }
            let after = (world.paths(), fs::read(&copy).expect("a copy"));
            assert!(before == after, "{place:?} for {name}: nothing was changed");
            if name != "state.json" {
                assert_eq!(world.now("state.json"), world.state);
            }
        }
    }
}

#[test]
fn whatever_stands_in_the_place_of_a_request_to_halt_halts() {
    for place in PLACES {
        let world = World::new();
        write_private(&world.path("halt"), b"on holiday");
        if place.put(&world, "halt").is_some() {
            assert!(!matches!(world.open().asked_to_halt(), Ok(None)), "{place:?}");
            match store::read_halt(&System, &world.folder) {
                Ok(reason) => assert!(reason.is_some(), "{place:?}"),
                Err(failure) => assert!(failure.message.contains("halt"), "{place:?}: {failure}"),
            }
        }
    }
}

#[test]
fn a_request_to_halt_stands_until_it_is_forgotten_and_the_first_reason_stays() {
    let world = World::new();
    let asked = || store::read_halt(&System, &world.folder).expect("it is read");
    assert_eq!(asked(), None);
    for reason in ["on holiday", "again"] {
        store::ask_to_halt(&System, &world.folder, reason).expect("it is asked for");
        assert_eq!(asked().as_deref(), Some("on holiday"));
    }
    let store = world.open();
    assert_eq!(store.asked_to_halt().expect("it is read"), asked());
    for _ in 0..2 {
        store.forget_halt().expect("it is gone");
        assert_eq!(asked(), None);
    }
    store.ask_to_halt("a run's own").expect("it is asked for");
    assert_eq!(asked().as_deref(), Some("a run's own"));
    store.forget_halt().expect("it is gone");
    let racing = Racing { folder: world.folder.clone(), commits: AtomicUsize::new(0) };
    store::ask_to_halt(&racing, &world.folder, "us").expect("it is asked for");
    assert_eq!(asked().as_deref(), Some("somebody else"));
}

#[test]
fn a_request_to_halt_that_can_t_be_made_or_taken_away_is_told() {
    let world = World::new();
    symlink(world.home.path().join("nowhere"), world.path("halt")).expect("a link");
    let asked = store::ask_to_halt(&System, &world.folder, "on holiday");
    assert_eq!(kind(asked), Kind::Storage);
    fs::remove_file(world.path("halt")).expect("the link");
    fs::create_dir(world.path("halt")).expect("a folder in its place");
    assert_eq!(kind(world.open().forget_halt()), Kind::Storage);
}

#[test]
fn what_is_left_and_can_t_be_cleared_away_is_told() {
    let world = World::new();
    fs::create_dir(world.path("state.json.new")).expect("a folder in its place");
    assert_eq!(kind(open(&world.folder).map(|_| ())), Kind::Storage);
}

#[test]
fn a_world_that_is_a_link_is_refused() {
    let world = World::new();
    let link = world.home.path().join("link");
    symlink(&world.folder, &link).expect("a link");
    assert_eq!(kind(open(&link).map(|_| ())), Kind::Untrusted);
    assert_eq!(
        kind(store::peek(&System, &link).map(|_| ())),
        Kind::Untrusted,
        "`status` follows it"
    );
}

#[test]
fn what_a_killed_run_left_half_written_is_cleared_away() {
    let half = &World::new().state[..200];
    // Even a whole state that is newer than the one in force was never committed.
    let newer = World::with(&flat(), 4).state;
    for left in [half, &newer, b""] {
        let world = World::new();
        for name in ["state.json.new", "outside.json.new"] {
            write_private(&world.path(name), left);
        }
        let mut store = world.open();
        world.expect_good(&mut store);
        assert!(walk(&world.folder).iter().all(|path| path.extension() != Some("new".as_ref())));
        store.commit(identity(), flat(), outbox(), &json!({})).expect("it is saved");
    }
}

#[test]
fn a_link_in_the_place_of_what_is_half_written_is_not_followed() {
    let world = World::new();
    let target = world.home.path().join("precious");
    write_private(&target, b"precious");
    symlink(&target, world.path("state.json.new")).expect("a link");
    let mut store = world.open();
    store.load().expect("a good state");
    // It may come back while the program runs.
    symlink(&target, world.path("state.json.new")).expect("a link");
    let committed = store.commit(identity(), flat(), outbox(), &json!({})).map(|_| ());
    assert_eq!(fs::read(&target).expect("it is there"), b"precious");
    if committed.is_err() {
        assert_eq!(world.now("state.json"), world.state);
    }
}

// --- every command, with the real binary -------------------------------------------------------

#[test]
fn no_command_goes_on_from_what_cannot_be_trusted() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    let state = desk.paper().text("state.json");
    let journal = desk.paper().text("journal.jsonl");
    let halted_journal = journal.replacen("\"seq\":1", "\"seq\":2", 1);
    let damages: [(&str, &str, String); 6] = [
        ("state.json", "cut", state[..state.len() / 2].to_owned()),
        ("state.json", "empty", String::new()),
        ("state.json", "of version 2", state.replacen("\"version\": 1", "\"version\": 2", 1)),
        ("state.json", "edited", state.replacen("850.27", "950.27", 1)),
        ("state.json", "10,000 deep", "[".repeat(10_000)),
        ("journal.jsonl", "edited", halted_journal),
    ];
    for (name, what, bytes) in &damages {
        write_private(&desk.paper().join("state.json"), &state);
        write_private(&desk.paper().join("journal.jsonl"), &journal);
        write_private(&desk.paper().join(name), bytes);
        for command in COMMANDS {
            let before = desk.paper().snapshot();
            desk.server.forget();
            let outcome = desk.command(command).unchecked().start().wait();
            assert_eq!(outcome.code, 65, "{command:?}, {name} {what}\n{}", outcome.transcript());
            assert_eq!(before, desk.paper().snapshot(), "{command:?}, {name} {what}");
            assert!(desk.server.requests().is_empty(), "{command:?} asked the exchange");
            assert!(!desk.paper().join("halt").exists(), "{command:?} left a request to halt");
            outcome.expect_said(&[name]);
        }
    }
}

#[test]
fn no_command_goes_on_from_what_is_somebody_elses() {
    for name in ["state.json", "journal.jsonl", "lock"] {
        for place in PLACES {
            let desk = Desk::new(spreads("20 20 20 21"));
            desk.expect_buy();
            let world = World::at(desk.paper().join(""));
            if place.put(&world, name).is_none() {
                continue;
            }
            for command in COMMANDS {
                // Whoever only looks takes no lock.
                if name == "lock" && command[0] == "status" {
                    continue;
                }
                desk.server.forget();
                let before = world.paths();
                let outcome = desk.command(command).unchecked().start().wait();
                let what = format!("{command:?} with {place:?} for {name}");
                assert_eq!(outcome.code, 65, "{what}\n{}", outcome.transcript());
                let requested = world.path("halt");
                let after: Vec<PathBuf> =
                    world.paths().into_iter().filter(|path| *path != requested).collect();
                assert_eq!(before, after, "{what}");
                assert!(desk.server.requests().is_empty(), "{what} asked the exchange");
                outcome.expect_said(&[name]);
                if requested.exists() {
                    fs::remove_file(requested).expect("a request to halt");
                }
            }
        }
    }
}

const COMMANDS: &[&[&str]] = &[
    &["run", "--json"],
    &["status", "--json"],
    &["halt", "--json"],
    &["resume", "--json"],
    &["flatten", "--yes", "--json"],
];

// --- a world on disk ---------------------------------------------------------------------------

/// A folder in which something was committed, and its good bytes.
struct World {
    home: TempDir,
    folder: PathBuf,
    state: Vec<u8>,
    journal: Vec<u8>,
}

impl World {
    /// An exit that goes on, after three commits.
    fn new() -> Self {
        Self::with(&leaving(), 3)
    }

    fn with(book: &Book, commits: usize) -> Self {
        let record =
            |number| json!({"kind": "decision", "number": number, "trips": book.round_trips});
        let records: Vec<_> = (0..commits).map(record).collect();
        Self::committed(book, &records)
    }

    fn committed(book: &Book, records: &[serde_json::Value]) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let folder = home.path().join("paper");
        let mut store = open(&folder).expect("a new world");
        assert!(store.load().expect("nothing is there").is_none());
        for record in records {
            store.commit(identity(), book.clone(), outbox(), record).expect("it is saved");
        }
        drop(store);
        let bytes = |name: &str| fs::read(folder.join(name)).expect("it was committed");
        let (state, journal) = (bytes("state.json"), bytes("journal.jsonl"));
        Self { home, folder, state, journal }
    }

    /// One that the program itself has made.
    fn at(folder: PathBuf) -> Self {
        let bytes = |name: &str| fs::read(folder.join(name)).expect("it was committed");
        let (state, journal) = (bytes("state.json"), bytes("journal.jsonl"));
        Self { home: tempfile::tempdir().expect("a temporary folder"), folder, state, journal }
    }

    fn open(&self) -> Store {
        open(&self.folder).expect("nobody else holds the lock")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn now(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("it is there")
    }

    fn text(&self) -> String {
        String::from_utf8(self.state.clone()).expect("a state is text")
    }

    /// Where the journal's last line begins.
    fn last_line(&self) -> usize {
        let before = &self.journal[..self.journal.len() - 1];
        before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1)
    }

    fn paths(&self) -> Vec<PathBuf> {
        walk(&self.folder)
    }

    fn put_back(&self) {
        write_private(&self.path("state.json"), &self.state);
        write_private(&self.path("journal.jsonl"), &self.journal);
    }

    #[track_caller]
    fn expect_state_refused(&self, store: &mut Store, bytes: &[u8], what: &str) -> Failure {
        fs::write(self.path("state.json"), bytes).expect("a file is written");
        self.expect_refused(store, what)
    }

    #[track_caller]
    fn expect_journal_refused(&self, store: &mut Store, bytes: &[u8], what: &str) {
        fs::write(self.path("journal.jsonl"), bytes).expect("a file is written");
        self.expect_refused(store, what);
    }

    /// Whoever loads it and whoever only looks is told 65, with a way out, and nothing changes.
    #[track_caller]
    fn expect_refused(&self, store: &mut Store, what: &str) -> Failure {
        let files = || ["state.json", "journal.jsonl"].map(|name| fs::read(self.path(name)).ok());
        let before = files();
        let seen = store::peek(&System, &self.folder).map(|_| ()).expect_err(what);
        assert_eq!(seen.kind, Kind::Untrusted, "peeked at: {what}");
        let failure = store.load().map(|_| ()).expect_err(what);
        assert_eq!((failure.kind, failure.kind.code()), (Kind::Untrusted, 65), "loaded: {what}");
        assert!(before == files(), "a byte was changed: {what}");
        let names_a_file =
            failure.message.contains("state.json") || failure.message.contains("journal.jsonl");
        assert!(names_a_file && !failure.message.contains('\n'), "{failure}");
        assert!(!failure.hint.is_empty(), "{failure}");
        failure
    }

    /// Each bit of these bytes of a file, one after the other. Only loading is tried here: looking
    /// goes the same way, and is tried with every other damage.
    #[track_caller]
    fn expect_flips_refused(&self, store: &mut Store, name: &str, places: Range<usize>) {
        let file = fs::File::options().write(true).open(self.path(name)).expect("it is there");
        let put = |byte: u8, place: usize| {
            let place = u64::try_from(place).expect("a small file");
            assert_eq!(file.write_at(&[byte], place).expect("a file is written"), 1);
        };
        let mut bytes = self.now(name);
        for place in places {
            for bit in 0..8 {
                bytes[place] ^= 1 << bit;
                put(bytes[place], place);
                let what = format!("bit {bit} of byte {place} of {name}");
                let failure = store.load().map(|_| ()).expect_err(&what);
                assert_eq!(failure.kind, Kind::Untrusted, "{what}: {failure}");
                assert!(self.now(name) == bytes, "a byte was changed: {what}");
                bytes[place] ^= 1 << bit;
            }
            put(bytes[place], place);
        }
    }

    #[track_caller]
    fn expect_good(&self, store: &mut Store) {
        self.put_back();
        assert!(store.load().expect("the good state").is_some());
        assert!(store::peek(&System, &self.folder).expect("the good state").is_some());
    }
}

/// What may stand where a file was.
#[derive(Debug, Clone, Copy)]
enum Place {
    DanglingLink,
    Device,
    Folder,
    Fifo,
    LinkToEndlessDevice,
    LinkToTheFile,
    SomebodyElses,
}

const PLACES: &[Place] = &[
    Place::DanglingLink,
    Place::Device,
    Place::Folder,
    Place::Fifo,
    Place::LinkToEndlessDevice,
    Place::LinkToTheFile,
    Place::SomebodyElses,
];

impl Place {
    /// Puts it there and returns a copy of what was, to which a link may point; `None` where the
    /// machine does not let us.
    fn put(self, world: &World, name: &str) -> Option<PathBuf> {
        use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
        let path = world.path(name);
        let elsewhere = world.home.path().join(name);
        let mode = Mode::from_raw_mode(0o600);
        fs::copy(&path, &elsewhere).expect("a copy");
        if !matches!(self, Self::SomebodyElses) {
            fs::remove_file(&path).expect("it was there");
        }
        match self {
            Self::DanglingLink => symlink("nowhere", &path).expect("a link"),
            Self::Device => {
                // As /dev/zero: without end for whoever reads it.
                mknodat(CWD, &path, FileType::CharacterDevice, mode, makedev(1, 5)).ok()?;
                let kind = fs::metadata(&path).expect("it was made").file_type();
                assert!(kind.is_char_device());
            }
            Self::Folder => fs::create_dir(&path).expect("a folder"),
            Self::Fifo => mknodat(CWD, &path, FileType::Fifo, mode, 0).expect("a pipe"),
            Self::LinkToEndlessDevice => symlink("/dev/zero", &path).expect("a link"),
            Self::LinkToTheFile => symlink(&elsewhere, &path).expect("a link"),
            Self::SomebodyElses => {
                // Only the administrator can give a file away.
                std::os::unix::fs::chown(&path, Some(4242), None).ok()?;
            }
        }
        Some(elsewhere)
    }
}

/// Opens a world. Another test of this process may start a program at the same moment, and until
/// that has become one it holds copies of our descriptors, the lock among them.
pub(crate) fn open(folder: &Path) -> Result<Store, Failure> {
    for _ in 0..5_000 {
        match Store::open(System::shared(), folder) {
            Err(failure) if failure.kind == Kind::Busy => thread::sleep(Duration::from_millis(1)),
            opened => return opened,
        }
    }
    panic!("the lock of `{}` stays held", folder.display());
}

#[track_caller]
fn kind(done: Result<(), Failure>) -> Kind {
    done.expect_err("it must not be trusted").kind
}

/// The state with one piece of text replaced and the checksum made to fit.
fn forged(text: &str, good: &str, bad: &str) -> String {
    let text = text.replacen(good, bad, 1);
    let (head, body) = text.split_once("\"body\":").expect("a body");
    let body = body.trim_end().strip_suffix('}').expect("the end");
    let hash = Sha256::digest(minified(body));
    let hash = hash.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"));
    let (before, rest) = head.split_once("\"checksum\": \"").expect("a checksum");
    let (_, after) = rest.split_once('"').expect("its end");
    let place = text.len() - body.len() - (text.len() - text.trim_end().len()) - 1;
    format!("{before}\"checksum\": \"{hash}\"{after}\"body\":{}", &text[place..])
}

/// JSON without the blanks between its words.
fn minified(json: &str) -> Vec<u8> {
    let (mut inside, mut escaped) = (false, false);
    let keep = |c: &char| {
        let keep = inside || !c.is_whitespace();
        inside ^= *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        keep
    };
    json.chars().filter(keep).collect::<String>().into_bytes()
}

// --- a book with everything in it --------------------------------------------------------------

pub(crate) fn identity() -> Identity {
    Identity {
        mode: "paper".to_owned(),
        numerator: "BTC/USDT".to_owned(),
        denominator: "ETH/USDT".to_owned(),
        timeframe: "15m".to_owned(),
        candles: None,
    }
}

/// Two messages, numbers 11 and 12.
pub(crate) fn outbox() -> Outbox {
    let mut outbox = Outbox { next: 11, waiting: Vec::new() };
    outbox.add("bought".to_owned());
    outbox.add("\"halted\" – by a person\n".to_owned());
    outbox
}

fn leaving() -> Book {
    let book = holding();
    let Position::Holding(holding) = book.position.clone() else { unreachable!("it holds") };
    let halt = Halt { by: HaltedBy::Person, reason: "on holiday".to_owned() };
    let position = Position::Leaving(Leaving { holding, cools: true });
    Book { position, halt: Some(halt), ..book }
}

fn holding() -> Book {
    let quantity = |text: &str| Quantity::new(decimal(text)).expect("a quantity");
    let amount = |text: &str| Amount::new(decimal(text)).expect("an amount");
    let loss = Profit::new(decimal("-3.25")).expect("a profit");
    Book {
        position: Position::Holding(Holding {
            leg: Leg::Denominator,
            quantity: quantity("0.0482517"),
            cost: amount("149.73"),
            proceeds: amount("12.5"),
            entry_price: Price::new(decimal("3100")).expect("a price"),
            entry_z: ZScore::new(1.5),
            entry_candle: moment("2024-03-01T12:15:00Z"),
        }),
        dust: Dust { numerator: quantity("0.00000003"), denominator: Quantity::ZERO },
        cash: Some(amount("850.27")),
        other_fees: BTreeMap::new(),
        ledger: None,
        realized: loss,
        round_trips: 7,
        last_candle: Some(moment("2024-03-01T12:30:00Z")),
        day: Day { date: moment("2024-03-01T00:00:00Z"), orders: 3, realized: loss },
        attempts: 2,
        refusals: 1,
        halt: None,
    }
}

/// An exit that is done in part, an entry whose outcome nobody knows, and everything that a ledger
/// remembers.
fn live() -> Book {
    let order = |leg, order_id, id: &str| KnownOrder {
        leg,
        order_id,
        client_order_id: format!("ouro-0123456789-{id}"),
    };
    let z = ZScore::new(-2.25).expect("finite");
    let size = Size::Base(as_quantity(decimal("0.047")));
    let limit = Price::new(decimal("3101.5"));
    let plan = Plan { side: Side::Buy, size, limit };
    let before =
        Balances { base: as_quantity(decimal("1.5")), quote: as_amount(decimal("1000.5")) };
    let rules = SymbolRules {
        step: LotStep::new(decimal("0.0001")).expect("a step"),
        max_quantity: Some(as_quantity(decimal("900"))),
        min_notional: decimal("5"),
        tick: LotStep::new(decimal("0.01")),
        ..SymbolRules::unlimited()
    };
    let intent = Intent {
        client_order_id: "ouro-0123456789-1709295300-B1".to_owned(),
        candle: moment("2024-03-01T12:15:00Z"),
        ordered: Ordered { leg: Leg::Denominator, purpose: Purpose::Entry(z), plan },
        touch: Touch { price: Price::new(decimal("3100.25")).expect("a price"), rules },
        timestamp: moment("2024-03-01T12:30:01.234Z"),
        recv_window_ms: 5000,
        before,
        newest_order: Some(48_230_011_222),
    };
    let at = moment("2024-03-01T12:15:02.001Z");
    let ledger = Ledger {
        pending: Some(intent),
        last: Some(LastOrder { leg: Leg::Numerator, before, at }),
        known: vec![
            order(Leg::Denominator, 48_230_011_222, "1709294400-S0"),
            order(Leg::Numerator, 17, "1709293500-B0"),
        ],
        seen: Seen { numerator: Some(17), denominator: None },
        unexplained: vec![order(Leg::Numerator, 18, "1709293500-B1")],
        ..Ledger::open(42)
    };
    let bnb = Asset::new("BNB").expect("an asset");
    let other_fees = BTreeMap::from([(bnb, as_quantity(decimal("0.00012")))]);
    Book { cash: None, ledger: Some(ledger), other_fees, ..flat() }
}

/// Any ledger that a run could have.
fn ledger() -> impl Strategy<Value = Ledger> {
    let id = || prop_oneof!["ouro-[0-9a-f]{10}-[0-9]{10}-[BS][0-9]{1,3}", ".{0,12}"];
    let order = || {
        (leg(), any::<u64>(), id()).prop_map(|(leg, order_id, client_order_id)| KnownOrder {
            leg,
            order_id,
            client_order_id,
        })
    };
    let orders = || prop::collection::vec(order(), 0..4);
    let last = (leg(), balances(), moments());
    let last = last.prop_map(|(leg, before, at)| LastOrder { leg, before, at });
    let seen = any::<[Option<u64>; 2]>();
    let seen = seen.prop_map(|[numerator, denominator]| Seen { numerator, denominator });
    let pending =
        (id(), intent()).prop_map(|(client_order_id, intent)| Intent { client_order_id, ..intent });
    let parts =
        (any::<u64>(), prop::option::of(pending), prop::option::of(last), orders(), seen, orders());
    parts.prop_map(|(uid, pending, last, known, seen, unexplained)| Ledger {
        uid,
        pending,
        last,
        known,
        seen,
        unexplained,
    })
}

fn intent() -> impl Strategy<Value = Intent> {
    let plan = (any::<[bool; 3]>(), units(), prop::option::of(price()), -9.0..9.0_f64);
    let ordered = (leg(), plan).prop_map(|(leg, ([enters, by_amount, cools], units, limit, z))| {
        let (side, purpose) = if enters {
            (Side::Buy, Purpose::Entry(ZScore::new(z).expect("finite")))
        } else {
            (Side::Sell, Purpose::Exit { cools })
        };
        let size =
            if by_amount { Size::Quote(amount_of(units)) } else { Size::Base(quantity_of(units)) };
        Ordered { leg, purpose, plan: Plan { side, size, limit } }
    });
    let asked = (ordered, price(), rules());
    let sent = (moments(), moments(), any::<u32>(), balances(), any::<Option<u64>>());
    (asked, sent).prop_map(
        |((ordered, price, rules), (candle, timestamp, recv_window_ms, before, newest_order))| {
            Intent {
                client_order_id: String::new(),
                candle,
                ordered,
                touch: Touch { price, rules },
                timestamp,
                recv_window_ms,
                before,
                newest_order,
            }
        },
    )
}

fn rules() -> impl Strategy<Value = SymbolRules> {
    let steps = (step(), prop::option::of(step()), step());
    let limits = (units(), prop::option::of(units()), units());
    let words = ("[A-Z_]{0,12}", prop::option::of("[A-Z ]{0,12}"), any::<bool>());
    (steps, limits, words).prop_map(
        |((step, tick, quote_step), (least, most, notional), (status, not_taken, takes))| {
            SymbolRules {
                status,
                step,
                min_quantity: quantity_of(least),
                max_quantity: most.map(quantity_of),
                min_notional: quantity_of(notional).value(),
                tick,
                quote_step,
                takes_quote_amounts: takes,
                not_taken,
            }
        },
    )
}

fn balances() -> impl Strategy<Value = Balances> {
    [units(), units()]
        .prop_map(|[base, quote]| Balances { base: quantity_of(base), quote: amount_of(quote) })
}

/// To the millisecond.
fn moments() -> impl Strategy<Value = Timestamp> {
    (0..4_000_000_000_000_i64).prop_map(|millis| Timestamp::from_millis(millis).expect("in range"))
}

pub(crate) fn flat() -> Book {
    Book { position: Position::Flat { cooling: true }, last_candle: None, ..holding() }
}

fn moment(text: &str) -> Timestamp {
    text.parse().expect("a moment")
}
