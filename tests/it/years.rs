//! The journal's years: one chain over several files, whatever dies while one is put away and whatever the clock says; and
//! files of versions before this one.
//!
//! `crash_points.rs` hurts the very first commit of a year at each of its operations.

use std::fs;
use std::path::{Path, PathBuf};

use ouroboros::failure::{Failure, Kind};
use ouroboros::store::disk::{Disk as _, System};
use ouroboros::store::{self, Store};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::damage::{flat, identity, open, outbox};
use crate::support::desk::{Replay, write_private};
use crate::support::dump::Dump;
use crate::support::folder::make_folder;
use crate::support::live::Live;
use crate::support::run::Run;
use crate::support::table::spreads;

#[test]
fn each_year_has_its_file_and_all_are_one_chain() {
    let journal = Journal::new();
    let moments =
        ["2026-01-02", "2026-12-31", "2027-01-01", "2027-06-01", "2029-01-01", "2030-01-01"];
    for moment in moments {
        journal.commit(moment);
    }
    assert_eq!(journal.files(), ["journal-2026", "journal-2027", "journal-2029", "journal"]);
    assert_eq!(journal.walked(), Ok(moments.map(str::to_owned).to_vec()));
    let state = store::peek(&System, &journal.folder).expect("a good state").expect("a state");
    let recent = store::recent_records(&System, &journal.folder, &state).expect("it is read");
    assert_eq!(days(&recent)[..2], ["2030-01-01", "2030-01-01"], "the state's own, and the line");
    assert!(days(&recent).contains(&"2029-01-01".to_owned()), "those before are told as well");
    // The very moment of a record, and one after all that the file has.
    let since = |moment: &str| {
        let moment = moment.parse().expect("a moment");
        let since = store::records_since(&System, &journal.folder, &state, moment);
        days(&since.expect("they are read"))
    };
    let all = ["2030-01-01", "2029-01-01", "2027-06-01", "2027-01-01"];
    assert_eq!(since("2027-01-01T00:00:05Z"), all);
    // What a crash kept from the file is in the state, if it is not older.
    journal.put("journal", b"");
    assert_eq!(since("2027-01-01T00:00:05Z"), all);
    assert_eq!(since("2030-01-01T00:00:05Z"), all[..1]);
    assert_eq!(since("2030-01-01T00:00:06Z"), all[..0]);
}

#[test]
fn where_there_is_no_folder_yet_there_is_no_book() {
    let journal = Journal::new();
    let nothing = journal.folder.join("nothing");
    assert!(store::peek(&System, &nothing).is_ok_and(|state| state.is_none()));
    // But a folder that can't be looked into may have years.
    journal.commit("2026-01-01");
    assert!(System.names(&journal.path("journal")).is_err());
}

#[test]
fn a_year_that_is_put_away_is_not_touched_again() {
    let journal = Journal::new();
    journal.commit("2026-12-31");
    journal.commit("2027-01-01");
    let put_away = journal.bytes("journal-2026");
    for day in 1..=20 {
        journal.commit(&format!("2027-03-{day:02}"));
    }
    assert_eq!(journal.bytes("journal-2026"), put_away);
}

/// What a crash between the names and the line leaves, and every half of the line.
#[test]
fn the_first_line_of_a_year_is_made_good_wherever_it_broke_off() {
    let journal = Journal::new();
    journal.commit("2026-12-30");
    journal.commit("2026-12-31");
    journal.commit("2027-01-01");
    let line = journal.bytes("journal");
    let breaks = (0..line.len()).map(Some).chain([None]);
    for left in breaks {
        match left {
            Some(length) => journal.put("journal", &line[..length]),
            None => fs::remove_file(journal.path("journal")).expect("it was there"),
        }
        assert!(store::peek(&System, &journal.folder).is_ok(), "{left:?}");
        let mut store = journal.open();
        store.load().expect("what a crash leaves is no damage");
        store.complete_journal().expect("it can be written");
        assert_eq!(journal.bytes("journal"), line, "{left:?}");
    }
    // Before the names: the line belongs to a file that is not there yet.
    fs::rename(journal.path("journal-2026"), journal.path("journal")).expect("it is there");
    let mut store = journal.open();
    store.load().expect("what a crash leaves is no damage");
    store.complete_journal().expect("it can be written");
    drop(store);
    assert_eq!(journal.files(), ["journal-2026", "journal"]);
    assert_eq!(journal.bytes("journal"), line);
}

#[test]
fn a_year_without_the_years_before_it_is_refused() {
    let breaks = "it does not continue the line before";
    let lost = "begins with line 3: the journal of the years before is missing";
    for (what, words, change) in [
        ("lost", lost, (|journal, _| journal.remove("journal-2026")) as Change),
        ("cut", breaks, |journal, old| journal.put("journal-2026", &old[..old.len() - 1])),
        ("without its last line", breaks, |journal, old| {
            let end = old[..old.len() - 1].iter().rposition(|byte| *byte == b'\n');
            journal.put("journal-2026", &old[..=end.expect("two lines")]);
        }),
        ("another's", breaks, |journal, _| {
            let other = Journal::new();
            other.commit("2026-05-05");
            journal.put("journal-2026", &other.bytes("journal"));
        }),
    ] {
        let journal = Journal::new();
        for moment in ["2026-12-30", "2026-12-31", "2027-01-01"] {
            journal.commit(moment);
        }
        change(&journal, &journal.bytes("journal-2026"));
        let why = journal.walked().expect_err(what);
        assert!(why.contains("journal") && why.contains(words), "{what}: {why}");
        // A run needs it no more, but where its own file has no line to go on from.
        let mut store = journal.open();
        store.load().expect(what);
        journal.put("journal", b"");
        assert_eq!(store.load().expect_err(what).kind, Kind::Untrusted);
    }
}

#[test]
fn a_flipped_bit_in_the_last_line_put_away_is_seen_where_it_is_gone_on_from() {
    let journal = Journal::new();
    journal.commit("2026-12-31");
    journal.commit("2027-01-01");
    let old = journal.bytes("journal-2026");
    journal.put("journal", b"");
    let mut store = journal.open();
    for place in 0..old.len() {
        let mut damaged = old.clone();
        damaged[place] ^= 1;
        journal.put("journal-2026", &damaged);
        assert!(store.load().is_err(), "byte {place}");
    }
    journal.put("journal-2026", &old);
    store.load().expect("it is as it was");
}

#[test]
fn a_line_of_another_journal_does_not_fit_in_its_place() {
    let journals = [["2026-01-01", "2026-01-02", "2026-01-03"], ["2026-02-01"; 3]].map(|days| {
        let journal = Journal::new();
        for day in days {
            journal.commit(day);
        }
        journal
    });
    let [own, other] = journals.each_ref().map(|journal| journal.bytes("journal"));
    let [own, other] = [&own, &other]
        .map(|bytes| bytes.split_inclusive(|byte| *byte == b'\n').collect::<Vec<_>>());
    for place in 0..3 {
        let mut mixed = own.clone();
        mixed[place] = other[place];
        journals[0].put("journal", &mixed.concat());
        let why = journals[0].walked().expect_err("two journals are no chain");
        // The first line has none before it, so that the second shows it.
        let line = if place == 0 { 2 } else { place + 1 };
        let told = format!("line {line}: it does not continue the line before");
        let is_last = place == 2 && why.contains("is not the state's journal");
        assert!(why.contains(&told) || is_last, "{place}: {why}");
    }
}

#[test]
fn a_year_that_was_put_away_is_no_new_book() {
    let journal = Journal::new();
    journal.commit("2026-12-31");
    journal.commit("2027-01-01");
    journal.remove("journal");
    journal.remove("state.json");
    let failure = journal.open().load().map(drop).expect_err("a book was here");
    assert_eq!(failure.kind, Kind::Untrusted);
    assert!(failure.message.contains("journal-2026.jsonl"), "{failure}");
}

#[test]
fn years_that_a_clock_made_up_lose_nothing() {
    let journal = Journal::new();
    let moments = [
        "2026-12-31",
        "2106-02-07",
        "2027-01-01",
        "1970-01-01",
        "2027-01-02",
        "2028-01-01",
        "2106-02-08",
        "2029-01-01",
        "2107-01-01",
        "2030-01-01",
        "2031-01-01",
    ];
    for moment in moments {
        journal.commit(moment);
    }
    assert_eq!(journal.walked(), Ok(moments.map(str::to_owned).to_vec()), "{:?}", journal.files());
}

#[test]
fn a_file_of_the_name_that_is_needed_is_not_written_over() {
    let journal = Journal::new();
    journal.commit("2026-12-31");
    journal.put("journal-2026", b"a person's\n");
    journal.commit("2027-01-01");
    journal.commit("2027-01-02");
    assert_eq!(journal.bytes("journal-2026"), b"a person's\n");
    assert_eq!(journal.files(), ["journal-2026", "journal"]);
    assert!(journal.walked().is_err_and(|why| why.contains("journal-2026.jsonl")));
}

#[test]
fn names_that_only_look_like_a_year_are_left_alone() {
    let journal = Journal::new();
    for name in [
        "journal-26",
        "journal-02026",
        "journal-+026",
        "journal-2026.bak",
        "journal-",
        "my-journal-2025",
    ] {
        journal.put(name, b"a person's\n");
    }
    journal.commit("2026-12-31");
    journal.commit("2027-01-01");
    assert_eq!(journal.walked().map(|days| days.len()), Ok(2));
}

#[test]
fn a_replay_stays_in_one_file() {
    let rows = spreads("20 20 20 20 21 19 20 21 19 20 20 20");
    let eve = "2026-12-31T18:00:00Z".parse::<jiff::Timestamp>().expect("a moment");
    let replay = Replay::of(&Dump::hourly(eve.as_millisecond()), &rows);
    for _ in 0..8 {
        let _ = replay.run().expect_exit(0);
    }
    assert_eq!(replay.world().journal().len(), 8);
    let _ = replay.command(&["audit"]).expect_exit(0);
}

/// The fixture was written by the program as it first had all of this: it is never made anew. Whatever comes later reads it,
/// finds the same in it, and goes on from it.
#[test]
fn what_version_1_wrote_is_read_for_ever() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let fixture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/version-1");
    make_folder(&home.path().join("state"));
    for world in ["live", "paper"] {
        make_folder(&home.path().join("state").join(world));
        for entry in fs::read_dir(Path::new(fixture).join(world)).expect("a fixture") {
            let entry = entry.expect("an entry");
            let copy = home.path().join("state").join(world).join(entry.file_name());
            write_private(&copy, fs::read(entry.path()).expect("a file"));
        }
    }
    let start = |world: &str, args: &[&str]| {
        let run = Run::bare(home.path()).state_dir(&home.path().join("state"));
        let run = run.env("ROLLING_WINDOW", "4").env("ENTRY_THRESHOLD", "1.2");
        let run = match world {
            "live" => {
                run.env("DRY_RUN", "false").env("TIMEFRAME", "1h").env("SETTLE_SECONDS", "60")
            }
            _ => run.env("TIMEFRAME", "1m"),
        };
        let run =
            run.env("BINANCE_API_KEY", "k".repeat(64)).env("BINANCE_API_SECRET", "s".repeat(64));
        let outcome = run.args(args.iter().copied()).args(["--json"]).expect_exit(0);
        outcome.json()
    };
    // Bought without an answer, halted and resumed, sold in part in a year, and the rest is under way in the next one.
    let live = start("live", &["status"]);
    assert_eq!(live["pending"]["client_order_id"], "ouro-ad5b4f1e16-1830297600-S1", "{live:#}");
    assert_eq!(live["position"]["cost"], "149.70090000");
    assert_eq!(start("live", &["audit"])["records"], 8);
    assert_eq!(start("live", &["trades"])["trades"].as_array().map(Vec::len), Some(2));
    // Adopted, halted, and nobody was told yet.
    let paper = start("paper", &["status"]);
    assert_eq!(
        (&paper["halted"], &paper["position"]["cost"]),
        (&json!("a look"), &json!("150.00000000"))
    );
    assert_eq!(
        start("paper", &["audit"])["kinds"],
        json!({ "adoption": 1, "decision": 1, "halt": 1 })
    );
    let _ = start("paper", &["resume"]);
    assert_eq!(start("paper", &["audit"])["records"], 4);
    let old = fs::read(Path::new(fixture).join("paper/journal.jsonl")).expect("a fixture");
    let new = fs::read(home.path().join("state/paper/journal.jsonl")).expect("a journal");
    assert!(new.starts_with(&old) && new.len() > old.len());
}

#[test]
fn live_over_new_year_everything_that_reads_the_journal_reads_both_files() {
    let live = Live::new();
    let eve: jiff::Timestamp = "2027-12-31T22:00:10Z".parse().expect("a moment");
    live.advance(eve.as_millisecond() - live.with(|world| world.now()));
    live.with(|world| world.set_spreads(&["20", "20", "20", "20"]));
    live.expect_hold();
    // Bought in the one year, sold in the other.
    let mut told = 0;
    for spread in ["21", "19", "20", "20"] {
        live.next_candle(spread);
        told += live.run().expect_exit(0).stderr.matches("journal-2027.jsonl").count();
    }
    assert_eq!(told, 1, "it is said once");
    live.check();
    let old = live.folder().text("journal-2027.jsonl").lines().count();
    let lines = old + live.folder().journal().len();
    let audited = live.command(&["audit", "--json"]).expect_exit(0).json();
    assert_eq!(audited["records"], json!(lines));
    let trips = live.command(&["trades", "--by", "trip", "--json"]).expect_exit(0).json();
    assert_eq!(trips["round_trips"].as_array().map(Vec::len), Some(1), "{trips}");
    let in_year = |year: &str| {
        let told = live.command(&["trades", "--year", year, "--json"]).expect_exit(0).json();
        told["trades"].as_array().map(Vec::len)
    };
    assert_eq!((in_year("2027"), in_year("2028")), (Some(1), Some(1)));
    let _ = live.command(&["status"]).expect_exit(0);
    let _ = live.command(&["report"]).expect_exit(0);
    // A byte of the year before, and each of them says so.
    let path = live.folder().join("journal-2027.jsonl");
    let damaged = fs::read_to_string(&path).expect("text").replacen("decision", "decisiom", 1);
    write_private(&path, damaged);
    for command in ["audit", "trades", "report"] {
        let refused = live.command(&[command]).expect_exit(65);
        refused.expect_said(&["journal-2027.jsonl"]);
    }
    // A run rests on none of it.
    live.next_candle("20");
    live.expect_hold();
}

type Change = fn(&Journal, &[u8]);

/// A book to which commits are made on days that a test names.
struct Journal {
    _home: TempDir,
    folder: PathBuf,
}

impl Journal {
    fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let folder = home.path().join("paper");
        fs::create_dir(&folder).expect("a new folder");
        Self { _home: home, folder }
    }

    fn open(&self) -> Store {
        open(&self.folder).expect("nobody else holds the lock")
    }

    /// One commit of a start of its own.
    fn commit(&self, day: &str) {
        let mut store = self.open();
        store.load().expect("a good state");
        let record = json!({ "kind": "decision", "at": format!("{day}T00:00:05Z") });
        store.commit(identity(), flat(), outbox(), &record).expect("it is saved");
    }

    /// Names without their ending, in the order in which they are read.
    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(&self.folder).expect("a folder");
        let names = names.map(|entry| entry.expect("an entry").file_name());
        let names = names.filter_map(|name| name.into_string().ok());
        let mut names: Vec<String> =
            names.filter_map(|name| Some(name.strip_suffix(".jsonl")?.to_owned())).collect();
        names.sort_by_key(|name| (name == "journal", name.clone()));
        names
    }

    /// The days of all records, the oldest first.
    fn walked(&self) -> Result<Vec<String>, String> {
        let said = |failure: Failure| failure.to_string();
        let state = store::peek_alone(&System, &self.folder).map_err(said)?.expect("a state");
        let mut records = Vec::new();
        store::walk(&System, &self.folder, &state, |record| {
            records.push(record.clone());
            Ok(())
        })
        .map_err(said)?;
        Ok(days(&records))
    }

    fn path(&self, name: &str) -> PathBuf {
        let name = if Path::new(name).extension().is_some() {
            name.to_owned()
        } else {
            format!("{name}.jsonl")
        };
        self.folder.join(name)
    }

    fn bytes(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).expect("it is there")
    }

    fn put(&self, name: &str, bytes: &[u8]) {
        write_private(&self.path(name), bytes);
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.path(name)).expect("it was there");
    }
}

fn days(records: &[Value]) -> Vec<String> {
    records.iter().map(|record| record["at"].as_str().expect("a time")[..10].to_owned()).collect()
}
