//! `audit`: every record is computed again, and the first one that doesn't fit is named.

use std::fmt::Write as _;
use std::fs;

use serde_json::{Value, json};

use crate::exchange::{Execute, Reply, Rule};
use crate::support::live::Live;
use crate::support::run::Run;

#[test]
fn a_replay_of_the_sample_is_recomputed_to_the_last_bit() {
    let home = tempfile::tempdir().expect("a folder");
    let run = || {
        Run::bare(home.path())
            .args(["--candles", "demo", "--json"])
            .state_dir(&home.path().join("state"))
            .env("STOP_Z", "3")
            .env("MAX_HOLD_CANDLES", "9")
            .env("MAX_ORDERS_PER_DAY", "12")
            .env("MIN_EDGE_BPS", "5")
    };
    for step in 0..150 {
        let start = match step {
            60 => run().args(["halt", "for lunch"]),
            61 | 101 => run().args(["resume"]),
            100 => run().args(["flatten"]),
            _ => run(),
        };
        let _ = start.expect_exit(0);
    }
    let told = run().args(["audit"]).expect_exit(0).json();
    assert_eq!(told["records"], 150, "{told:#}");
    assert!(told["kinds"]["decision"].as_u64() >= Some(140), "{told:#}");
}

#[test]
fn a_live_book_is_recomputed_with_all_that_befell_it() {
    let live = Live::entry_ahead();
    // A run on the newest candle, and one that settles what it left open.
    let run = |codes: &[i32]| {
        let outcome = live.run().expect_one_of(codes);
        live.pass_the_bound();
        let _ = live.run().expect_exit(0);
        outcome.code
    };
    let enter = |fault: Option<Rule>, code: i32| {
        for spread in ["20", "20", "20"] {
            live.next_candle(spread);
            run(&[0]);
        }
        live.next_candle("21");
        if let Some(fault) = fault {
            live.exchange.fault(fault);
        }
        assert_eq!(run(&[code]), code);
    };
    live.exchange.fault(Rule::order(Execute::Now, Reply::Reset));
    run(&[0]);
    live.next_candle("19");
    live.exchange.fault(Rule::order(Execute::Never, Reply::Reset));
    run(&[75]);
    live.next_candle("19");
    run(&[0]);
    let funds = "Account has insufficient balance for requested action.";
    enter(Some(Rule::order(Execute::Never, Reply::Code(400, -2010, funds))), 76);
    live.with(|world| world.symbol("ETHUSDT").depth = vec![60.into()]);
    enter(None, 0);
    for _ in 0..3 {
        live.next_candle("19");
        run(&[0]);
    }
    live.with(|world| world.symbol("ETHUSDT").depth = vec![6_000_000.into()]);
    enter(None, 0);
    let _ = live.command(&["halt"]).expect_exit(0);
    let _ = live.command(&["flatten", "--yes"]).expect_exit(0);
    let _ = live.command(&["resume"]).expect_exit(0);
    live.check();
    let told = live.command(&["audit", "--json"]).expect_exit(0).json();
    for kind in ["decision", "intent", "settlement", "refusal", "halt", "resume"] {
        assert!(told["kinds"][kind].as_u64() >= Some(1), "no {kind} in {told:#}");
    }
}

#[test]
fn a_number_that_was_changed_is_named_with_its_line() {
    let home = tempfile::tempdir().expect("a folder");
    let state = home.path().join("state");
    let run = || {
        Run::bare(home.path()).args(["--candles", "demo", "--json"]).state_dir(&state).unchecked()
    };
    for _ in 0..30 {
        let _ = run().expect_exit(0);
    }
    let world = fs::read_dir(state.join("replay")).expect("a replay").next().expect("one");
    let journal = world.expect("an entry").path().join("journal.jsonl");
    let good = fs::read_to_string(&journal).expect("text");
    let lines: Vec<Value> =
        good.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    // A forger who knows the chain makes all hashes fit again; the numbers still don't.
    for (field, forged) in [
        ("/record/result/z", json!(1.5)),
        ("/record/paper_balance", json!("999.99999999")),
        ("/record/numerator/3/1", json!("42001.01")),
        ("/record/rules/entry", json!(1.9)),
        ("/record/result/signal", json!("LONG_ETH")),
        ("/record/at", json!("2024-01-02T00:00:01Z")),
    ] {
        let mut lines = lines.clone();
        *lines[12].pointer_mut(field).expect(field) = forged;
        fs::write(&journal, chained(&lines)).expect("a file of ours");
        let code = run().args(["audit"]).expect_exit(65);
        let error = code.json()["error"]["message"].as_str().expect("a message").to_owned();
        // Time and rules matter only through what is computed from them; then the chain tells.
        let is_later = ["/record/at", "/record/rules/entry"].contains(&field);
        assert!(is_later || error.contains("line 13"), "{field}: {error}");
    }
    // One who doesn't is told by the hash.
    fs::write(&journal, good.replacen("\"hold\"", "\"sell\"", 1)).expect("a file of ours");
    let code = run().args(["audit"]).expect_exit(65);
    code.expect_said(&["line 1", "hash"]);
    fs::write(&journal, &good).expect("a file of ours");
    let _ = run().args(["audit"]).expect_exit(0);
}

/// The lines with every hash made to fit.
pub(crate) fn chained(lines: &[Value]) -> String {
    use sha2::{Digest as _, Sha256};
    let mut prev = "0".repeat(64);
    let mut text = String::new();
    for line in lines {
        let (seq, record) = (line["seq"].as_u64().expect("a number"), line["record"].to_string());
        let hash: String = Sha256::digest(format!("{seq}\n{prev}\n{record}"))
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect::<Vec<_>>()
            .concat();
        let _ = writeln!(
            text,
            "{{\"seq\":{seq},\"prev\":\"{prev}\",\"hash\":\"{hash}\",\"record\":{record}}}"
        );
        prev = hash;
    }
    text
}
