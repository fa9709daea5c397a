//! A state that can't be trusted is kept as it is: 65, nothing traded, nothing overwritten.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::desk::{Desk, write_private};
use crate::support::run::Run;
use crate::support::table::spreads;
use crate::support::trace::tracing_works;

#[test]
fn a_state_that_is_cut_anywhere() {
    let desk = holding();
    let good = desk.paper().text("state.json");
    // A share of the places, because each takes a start of the program.
    for length in (0..good.trim_end().len()).step_by(29) {
        expect_distrust(&desk, &good.as_bytes()[..length], &["status", "--json"]);
    }
    expect_distrust(&desk, b"", &["--json"]);
    expect_distrust(&desk, &good.as_bytes()[..good.len() / 2], &["--json"]);
    expect_recovered(&desk, &good);
}

#[test]
fn a_state_with_a_flipped_bit() {
    let desk = holding();
    let good = desk.paper().text("state.json");
    for place in (0..good.trim_end().len()).step_by(31) {
        let mut bytes = good.clone().into_bytes();
        bytes[place] ^= 1 << (place % 7);
        expect_distrust(&desk, &bytes, &["status", "--json"]);
    }
    let mut bytes = good.clone().into_bytes();
    bytes[good.len() / 2] ^= 2;
    expect_distrust(&desk, &bytes, &["--json"]);
    expect_recovered(&desk, &good);
}

#[test]
fn a_state_that_somebody_edited() {
    let desk = holding();
    let good = desk.paper().text("state.json");
    let edits = [
        good.replace("0.04825170", "9.04825170"),
        good.replace("850.27000000", "999850.27000000"),
        good.replace("HOLDING", "holding").replace("ETH", "BTC"),
    ];
    for edited in edits.iter().filter(|edited| **edited != good) {
        expect_distrust(&desk, edited.as_bytes(), &["status", "--json"]);
        expect_distrust(&desk, edited.as_bytes(), &["--json"]);
    }
    expect_recovered(&desk, &good);
}

#[test]
fn a_state_of_another_version() {
    let desk = holding();
    let good = desk.paper().text("state.json");
    let mut state: Value = serde_json::from_str(&good).expect("JSON");
    let version = state["version"].as_u64().expect("a number");
    for other in [json!(0), json!(version + 1), json!(-1), json!("1"), json!(null), json!(1.5)] {
        state["version"] = other;
        expect_distrust(&desk, state.to_string().as_bytes(), &["--json"]);
    }
    expect_recovered(&desk, &good);
}

#[test]
fn other_json_than_a_state() {
    let desk = holding();
    let good = desk.paper().text("state.json");
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let deep_body = good.replacen('{', &format!("{{\"a\":{deep},"), 1);
    let twice = good.replacen('{', "{\"version\":1,", 1);
    let more = good.replacen('{', "{\"surprise\":1,", 1);
    for text in [
        "null",
        "[]",
        "{}",
        "\"state\"",
        "{\"version\":1}",
        &deep,
        &deep_body,
        &twice,
        &more,
        "{\"version\":1e999}",
    ] {
        expect_distrust(&desk, text.as_bytes(), &["--json"]);
    }
    expect_recovered(&desk, &good);
}

#[test]
fn a_message_about_a_state_names_the_file_and_a_way_out() {
    let desk = holding();
    write_private(&desk.paper().join("state.json"), "{");
    let outcome = desk.run().expect_exit(65);
    outcome.expect_said(&["state.json"]);
    assert_ne!(outcome.json()["error"]["hint"], "");
}

#[test]
fn no_request_is_made_with_a_state_that_cannot_be_trusted() {
    let desk = holding();
    write_private(&desk.paper().join("state.json"), "{");
    desk.server.forget();
    let _ = desk.run().expect_exit(65);
    assert!(desk.server.requests().is_empty());
}

#[test]
fn a_state_that_is_no_file() {
    let desk = holding();
    let path = desk.paper().join("state.json");
    let good = desk.paper().text("state.json");
    let elsewhere = desk.cwd().join("state.json");
    write_private(&elsewhere, &good);
    let places: [&dyn Fn(); 4] = [
        &|| fs::create_dir(&path).expect("a folder"),
        &|| symlink(&elsewhere, &path).expect("a link"),
        &|| symlink("/dev/zero", &path).expect("a link"),
        &|| make_fifo(&path),
    ];
    for place in places {
        remove(&path);
        place();
        let before = desk.paper().text("journal.jsonl");
        for args in [&["--json"][..], &["status", "--json"]] {
            let outcome = desk.command(args).unchecked().expect_one_of(&[65, 74]);
            assert!(outcome.took < Duration::from_secs(10), "it hangs: {:?}", outcome.took);
        }
        assert_eq!(before, desk.paper().text("journal.jsonl"));
    }
    remove(&path);
    expect_recovered(&desk, &good);
}

#[test]
fn a_journal_without_a_state_is_no_new_book() {
    let desk = holding();
    let good = desk.paper().text("state.json");
    remove(&desk.paper().join("state.json"));
    let journal = desk.paper().text("journal.jsonl");
    let _ = desk.run().expect_exit(65);
    assert_eq!(journal, desk.paper().text("journal.jsonl"));
    assert!(!desk.paper().join("state.json").exists());
    expect_recovered(&desk, &good);
}

#[test]
fn a_journal_that_is_behind_by_its_last_line_is_completed() {
    let desk = holding();
    let journal = desk.paper().text("journal.jsonl");
    let last = journal.trim_end().rfind('\n').map_or(0, |at| at + 1);
    // Killed between the state's commit and the journal's line: nothing of it, or a part.
    for end in [last, last + 1, last + 20, journal.len() - 1] {
        write_private(&desk.paper().join("journal.jsonl"), &journal[..end]);
        desk.run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
        assert!(desk.paper().text("journal.jsonl").starts_with(&journal), "cut at {end}");
    }
}

#[test]
fn a_journal_whose_end_is_not_ours_is_refused() {
    let desk = holding();
    let journal = desk.paper().text("journal.jsonl");
    let state = desk.paper().text("state.json");
    for damaged in [
        format!("{journal}{{\"seq\":"),
        format!("{journal}rubbish\n"),
        journal.replacen("0.0483", "0.0484", 9),
    ] {
        if damaged == journal {
            continue;
        }
        write_private(&desk.paper().join("journal.jsonl"), &damaged);
        let _ = desk.run().unchecked().expect_exit(65);
        assert_eq!(damaged, desk.paper().text("journal.jsonl"));
        assert_eq!(state, desk.paper().text("state.json"));
    }
}

#[test]
fn an_older_state_beside_a_newer_journal_is_refused() {
    let desk = holding();
    let old = desk.paper().text("state.json");
    desk.server.close_candle(spreads("20")[0]);
    let _ = desk.run().expect_exit(0);
    write_private(&desk.paper().join("state.json"), &old);
    let before = desk.paper().snapshot();
    let _ = desk.run().expect_exit(65);
    assert_eq!(before, desk.paper().snapshot());
}

#[test]
fn what_a_killed_run_left_half_written_is_no_obstacle() {
    let desk = holding();
    for name in ["state.json.tmp", ".state.json.tmp", "state.json.new", ".tmp123456"] {
        write_private(&desk.paper().join(name), "{\"version\":1,\"half\":");
    }
    desk.server.close_candle(spreads("20")[0]);
    let outcome = desk.run().unchecked().expect_exit(0);
    outcome.expect_json(&[("/action", json!("sell"))]);
}

#[test]
fn a_state_directory_behind_a_link_is_a_state_directory() {
    // As systemd hands out with `DynamicUser=`.
    let desk = Desk::new(spreads("20 20 20 21"));
    let real = desk.cwd().join("private");
    fs::DirBuilder::new().mode(0o700).create(&real).expect("a new folder");
    symlink(&real, desk.state()).expect("a link");
    desk.expect_buy();
    assert!(real.join("paper/state.json").exists());
    assert_eq!(desk.status()["state"], "HOLDING_ETH");
}

#[test]
fn a_link_inside_the_state_directory_is_not_followed() {
    let desk = holding();
    let elsewhere = desk.cwd().join("elsewhere");
    fs::rename(desk.state().join("paper"), &elsewhere).expect("a folder of ours");
    symlink(&elsewhere, desk.state().join("paper")).expect("a link");
    let before = fs::read(elsewhere.join("state.json")).expect("a state");
    let _ = desk.run().unchecked().expect_one_of(&[65, 74, 78]);
    assert_eq!(before, fs::read(elsewhere.join("state.json")).expect("still there"));
}

#[test]
fn a_line_that_only_the_state_has_is_audited_too() {
    let desk = Desk::for_two_more(spreads("20 20 20 20"));
    let _ = desk.run().expect_exit(0);
    let audited = || desk.command(&["audit", "--json"]).expect_exit(0).json()["records"].clone();
    let path = desk.paper().join("journal.jsonl");
    // Killed before the very first line.
    write_private(&path, "");
    assert_eq!(audited(), 1);
    for spread in ["20", "20"] {
        desk.server.close_candle(spreads(spread)[0]);
        let _ = desk.run().expect_exit(0);
    }
    let journal = desk.paper().text("journal.jsonl");
    let ends: Vec<usize> = journal.match_indices('\n').map(|(at, _)| at + 1).collect();
    assert_eq!((ends.len(), audited()), (3, json!(3)));
    write_private(&path, &journal[..ends[1]]);
    assert_eq!(audited(), 3, "the third one is in the state");
    // But no more than one.
    for (end, why) in [(ends[0], "is not the state's journal"), (0, "lacks its lines")] {
        write_private(&path, &journal[..end]);
        desk.command(&["audit"]).expect_exit(65).expect_said(&["journal.jsonl", why]);
    }
}

#[test]
fn a_commit_is_on_the_disk_before_anything_rests_on_it() {
    if !tracing_works() {
        return;
    }
    let desk = Desk::new(spreads("20 20 20 20"));
    // The log makes the first folder, the lock the second, each known to the one above it.
    let folders = ["sync state", "sync .", "sync state"];
    let state =
        ["sync state/paper/state.json.new", "rename state/paper/state.json", "sync state/paper"];
    // What is no money need not last.
    let outside = ["rename state/paper/outside.json"];
    // The journal's own name comes after that: until then the state has its line.
    assert_eq!(synced(&desk), [&folders[..], &state, &["sync state/paper"], &outside].concat());
    desk.server.close_candle(spreads("20")[0]);
    // The line that the state is about to forget is on the disk before it does.
    assert_eq!(synced(&desk), [&["sync state/paper/journal.jsonl"][..], &state, &outside].concat());
}

#[test]
fn a_lock_that_can_t_be_had_is_not_somebody_else_s() {
    if !tracing_works() {
        return;
    }
    let desk = Desk::new(spreads("20 20 20 20"));
    let log = desk.cwd().join("strace.log");
    let run = traced(&desk, &log, "flock -e inject=flock:error=ENOLCK");
    run.expect_exit(74).expect_said(&["failed to lock", "paper/lock"]);
}

/// What a run syncs and renames, in order.
fn synced(desk: &Desk) -> Vec<String> {
    let log = desk.cwd().join("strace.log");
    let calls = "?fsync,?fdatasync,?rename,?renameat,?renameat2";
    let _ = traced(desk, &log, calls).expect_exit(0);
    let log = fs::read_to_string(log).expect("strace wrote it");
    let state = desk.state();
    let home = state.parent().and_then(std::path::Path::to_str).expect("a path of a test");
    let named = |line: &str| {
        let (_, call) = line.split_once(' ')?;
        let (name, rest) = call.trim().split_once('(')?;
        let name = if name.starts_with("rename") { "rename" } else { "sync" };
        // A descriptor's path stands between `<` and `>`, the name that is replaced comes last.
        let mut paths = rest.split(['<', '>', '"']).filter(|path| path.starts_with(home));
        let path = paths.next_back()?.strip_prefix(home)?.trim_start_matches('/');
        Some(format!("{name} {}", if path.is_empty() { "." } else { path }))
    };
    log.lines().filter_map(named).collect()
}

fn traced(desk: &Desk, log: &std::path::Path, calls: &str) -> Run {
    let strace = format!("strace -f -y -qq -o '{}' -e trace={calls}", log.display());
    desk.run().unchecked().shell(&format!("exec {strace} \"$0\" \"$@\""))
}

/// A book that holds ETH.
fn holding() -> Desk {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.expect_buy();
    desk
}

/// With these bytes as its state, a command ends with 65 and the bytes stay.
#[track_caller]
fn expect_distrust(desk: &Desk, bytes: &[u8], args: &[&str]) {
    write_private(&desk.paper().join("state.json"), bytes);
    let before = desk.paper().snapshot();
    let outcome = desk.command(args).start().wait();
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(2_000)]);
    assert_eq!(outcome.code, 65, "{}\nwith the state {shown}", outcome.transcript());
    assert_eq!(before, desk.paper().snapshot());
}

/// With the good state back, everything is as it was.
#[track_caller]
fn expect_recovered(desk: &Desk, good: &str) {
    write_private(&desk.paper().join("state.json"), good);
    desk.run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
}

fn make_fifo(path: &std::path::Path) {
    use rustix::fs::{CWD, Mode, mkfifoat};
    mkfifoat(CWD, path, Mode::from_raw_mode(0o600)).expect("a pipe with a name");
}

/// Removes whatever stands there.
fn remove(path: &std::path::Path) {
    if path.is_dir() && !path.is_symlink() {
        fs::remove_dir(path).expect("an empty folder");
    } else {
        fs::remove_file(path).expect("a file");
    }
}
