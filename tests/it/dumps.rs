//! Candle dumps: everything that Binance publishes is read, and damage is named by file and line.

use std::fs;

use ouroboros::exchange::dump;
use ouroboros::trading::market::{Asset, Symbol};
use ouroboros::trading::time::Interval;
use rust_decimal::Decimal;
use serde_json::json;

use crate::support::clock::{DAY, HOUR, rfc3339};
use crate::support::desk::{Desk, Replay, START};
use crate::support::dump::{Dump, Wrapping, zip};
use crate::support::table::spreads;

#[test]
fn a_header_is_skipped() {
    expect_played(&Dump { header: true, ..Dump::hourly(START) });
}

#[test]
fn times_in_microseconds_are_told_by_their_size() {
    expect_played(&Dump { micros: true, ..Dump::hourly(START) });
    expect_played(&Dump { micros: true, header: true, ..Dump::hourly(START) });
}

#[test]
fn a_zip_is_read_deflated_or_stored() {
    for wrapping in [Wrapping::Deflated, Wrapping::Stored] {
        expect_played(&Dump { wrapping, ..Dump::hourly(START) });
    }
}

#[test]
fn line_feeds_of_windows_are_fine() {
    let replay = Replay::new(&spreads("20 20 20 21"));
    for name in names() {
        edit(&replay, name, |text| text.replace('\n', "\r\n"));
    }
    replay.expect_actions(&[], "buy");
}

#[test]
fn the_last_line_needs_no_line_feed() {
    let replay = Replay::new(&spreads("20 20 20 21"));
    for name in names() {
        edit(&replay, name, |text| text.trim_end().to_owned());
    }
    replay.expect_actions(&[], "buy");
}

#[test]
fn several_files_of_a_symbol_are_one_history() {
    // January is written in milliseconds, bare; February in microseconds, zipped: as it was in 2025.
    let replay = Replay::empty();
    let (btc, eth): (Vec<_>, Vec<_>) = spreads("20 20 20 21").into_iter().unzip();
    let later =
        Dump { micros: true, wrapping: Wrapping::Deflated, ..Dump::hourly(START + 2 * HOUR) };
    for (symbol, leg) in [("BTCUSDT", &btc), ("ETHUSDT", &eth)] {
        Dump::hourly(START).write_leg(&replay.candles(), symbol, "2025-01", &leg[..2]);
        later.write_leg(&replay.candles(), symbol, "2025-02", &leg[2..]);
    }
    replay.expect_actions(&[], "buy end-of-data");
}

#[test]
fn rows_that_overlap_and_are_equal_count_once() {
    let replay = Replay::empty();
    let (btc, eth): (Vec<_>, Vec<_>) = spreads("20 20 20 21").into_iter().unzip();
    for (symbol, leg) in [("BTCUSDT", &btc), ("ETHUSDT", &eth)] {
        Dump::hourly(START).write_leg(&replay.candles(), symbol, "2024-03", &leg[..3]);
        Dump::hourly(START + HOUR).write_leg(&replay.candles(), symbol, "2024-03-01", &leg[1..]);
    }
    replay.expect_actions(&[], "buy end-of-data");
}

#[test]
fn rows_that_overlap_and_differ_are_refused() {
    let replay = Replay::empty();
    let (btc, eth): (Vec<_>, Vec<_>) = spreads("20 20 20 21").into_iter().unzip();
    Dump::hourly(START).write_leg(&replay.candles(), "BTCUSDT", "2024-03", &btc);
    Dump::hourly(START).write_leg(&replay.candles(), "ETHUSDT", "2024-03", &eth);
    let other = [eth[0] + eth[0]];
    Dump::hourly(START + HOUR).write_leg(&replay.candles(), "ETHUSDT", "2024-03-01", &other);
    expect_damage(&replay, &["ETHUSDT-1h-2024-03"]);
}

#[test]
fn files_of_every_kind_are_one_history() {
    let replay = Replay::empty();
    let (btc, eth): (Vec<_>, Vec<_>) = spreads("20 20 20 21 20 20").into_iter().unzip();
    let (micros, header, wrapping) = (true, true, Wrapping::Deflated);
    for (symbol, leg) in [("BTCUSDT", &btc), ("ETHUSDT", &eth)] {
        let folder = replay.candles();
        Dump::hourly(START).write_leg(&folder, symbol, "2024-03-01", &leg[..2]);
        let path = format!("{symbol}-1h-2024-03-01.csv");
        edit(&replay, &path, |text| text.trim_end().to_owned());
        // The candle on the border is the same, in other words.
        let middle = Dump { micros, header, wrapping, ..Dump::hourly(START + HOUR) };
        middle.write_leg(&folder, symbol, "2024-03-02", &leg[1..4]);
        fs::write(folder.join(format!("{symbol}-1h-2024-03-03.csv")), "").expect("an empty file");
        Dump { header, ..Dump::hourly(START) }.write_leg(&folder, symbol, "2024-03-04", &[]);
        // Named first, and the last of all.
        let last = Dump { micros, header, ..Dump::hourly(START + 4 * HOUR) };
        last.write_leg(&folder, symbol, "2024", &leg[4..]);
        edit(&replay, &format!("{symbol}-1h-2024.csv"), |text| text.replace('\n', "\r\n"));
    }
    replay.expect_actions(&[], "buy sell hold end-of-data");
}

#[test]
fn a_candle_that_a_border_has_twice_has_to_be_one() {
    let replay = Replay::empty();
    let (btc, eth): (Vec<_>, Vec<_>) = spreads("20 20 20 21").into_iter().unzip();
    Dump::hourly(START).write_leg(&replay.candles(), "BTCUSDT", "2024-03", &btc);
    Dump::hourly(START).write_leg(&replay.candles(), "ETHUSDT", "2024-03-01", &eth[..3]);
    let later = Dump { header: true, wrapping: Wrapping::Stored, ..Dump::hourly(START + 2 * HOUR) };
    later.write_leg(&replay.candles(), "ETHUSDT", "2024-03-02", &[eth[2] + eth[2], eth[3]]);
    let words = ["ETHUSDT-1h-2024-03-02.zip`, line 2: ", "ETHUSDT-1h-2024-03-01.csv`, line 3"];
    expect_damage(&replay, &words);
}

#[test]
fn a_line_that_stands_twice_has_to_be_one() {
    for (other, expected) in [("3000.00000000", None), ("3000.00000001", Some(", line 4: "))] {
        let replay = Replay::new(&spreads("20 20 20 21"));
        edit(&replay, "ETHUSDT-1h-2024-03.csv", |text| {
            let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
            let twice = lines[2].replacen("3000.00000000", other, 1);
            lines.insert(3, &twice);
            lines.concat()
        });
        match expected {
            Some(line) => expect_damage(&replay, &["ETHUSDT-1h-2024-03.csv`", line, "line 3"]),
            None => drop(replay.expect_actions(&[], "buy end-of-data")),
        }
    }
}

#[test]
fn damage_where_the_other_leg_is_over_is_damage() {
    for name in names() {
        let replay = Replay::new(&spreads("20 20 20 21 20 20 20"));
        for other in names() {
            edit(&replay, other, |text| {
                let lines: Vec<&str> = text.split_inclusive('\n').collect();
                lines[..if other == name { 7 } else { 4 }].concat()
            });
        }
        edit(&replay, name, |text| text.trim_end().to_owned() + ",0\n");
        expect_damage(&replay, &[name, "line 7: has 13 columns"]);
    }
}

#[test]
fn files_of_others_in_the_folder_are_let_be() {
    let replay = Replay::new(&spreads("20 20 20 21"));
    let folder = replay.candles();
    fs::write(folder.join("README.md"), "hello").expect("a file is written");
    fs::write(folder.join("BTCUSDT-15m-2024-03.csv"), "rubbish").expect("a file is written");
    fs::write(folder.join("LTCUSDT-1h-2024-03.csv"), "rubbish").expect("a file is written");
    fs::write(folder.join("BTCUSDT-1h-2024-03.zip.CHECKSUM"), "rubbish")
        .expect("a file is written");
    fs::create_dir(folder.join("more")).expect("a new folder");
    replay.expect_actions(&[], "buy");
}

#[test]
fn a_folder_without_candles_is_refused() {
    let replay = Replay::empty();
    let _ = replay.run().expect_one_of(&[65, 78]);
}

#[test]
fn a_folder_that_is_not_there_is_refused() {
    let replay = Replay::empty();
    let missing = replay.candles().join("not-there");
    let run = crate::support::run::Run::replay(&replay.cwd(), &missing).state_dir(&replay.state());
    run.expect_one_of(&[2, 65, 78]).expect_said(&["not-there"]);
}

#[test]
fn a_leg_without_a_file_is_refused() {
    let replay = Replay::new(&spreads("20 20 20 21"));
    fs::remove_file(replay.candles().join("ETHUSDT-1h-2024-03.csv")).expect("it was there");
    replay.run().expect_one_of(&[65, 78]).expect_said(&["ETHUSDT"]);
}

#[test]
fn damaged_rows_are_named_by_file_and_line() {
    let damages: [(&str, &str); 10] = [
        ("3000.00000000", "three"),
        ("3000.00000000", "3e3"),
        ("3000.00000000", "+3000"),
        ("3000.00000000", " 3000"),
        ("3000.00000000", "\"3000\""),
        ("3000.00000000", ""),
        (",0\n", "\n"),
        (",0\n", ",0,0\n"),
        ("1709258400000", "170925840000x"),
        ("1709258400000", "-1709258400000"),
    ];
    for (from, to) in damages {
        let replay = Replay::new(&spreads("20 20 20 21 20"));
        edit(&replay, "ETHUSDT-1h-2024-03.csv", |text| {
            let lines = text.split_inclusive('\n').enumerate();
            lines
                .map(
                    |(row, line)| {
                        if row == 2 { line.replacen(from, to, 1) } else { line.to_owned() }
                    },
                )
                .collect()
        });
        expect_damage(&replay, &["ETHUSDT-1h-2024-03.csv", "3"]);
    }
}

#[test]
fn rows_that_are_not_in_order_are_refused() {
    let replay = Replay::new(&spreads("20 20 20 21 20"));
    edit(&replay, "ETHUSDT-1h-2024-03.csv", |text| {
        let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
        lines.swap(1, 2);
        lines.concat()
    });
    expect_damage(&replay, &["ETHUSDT-1h-2024-03.csv"]);
}

#[test]
fn a_file_that_is_no_text_is_refused() {
    let replay = Replay::new(&spreads("20 20 20 21"));
    fs::write(replay.candles().join("ETHUSDT-1h-2024-03.csv"), b"\xff\xfe\0\0")
        .expect("a file is written");
    expect_damage(&replay, &["ETHUSDT-1h-2024-03.csv"]);
}

#[test]
fn a_broken_zip_is_refused() {
    let csv = Dump::hourly(START)
        .csv(&spreads("20 20 20 21").iter().map(|row| row.1).collect::<Vec<_>>());
    let good = zip("ETHUSDT-1h-2024-03.csv", csv.as_bytes(), true);
    let mut flipped = good.clone();
    flipped[60] ^= 0x40;
    let mut wrong_crc = zip("ETHUSDT-1h-2024-03.csv", csv.as_bytes(), false);
    let price = wrong_crc.windows(4).position(|bytes| bytes == b"3000").expect("a price");
    wrong_crc[price] = b'4';
    let cut = good[..good.len() / 2].to_vec();
    for bytes in [Vec::new(), b"PK".to_vec(), b"no zip at all".to_vec(), cut, flipped, wrong_crc] {
        let replay = Replay::new(&spreads("20 20 20 21"));
        fs::remove_file(replay.candles().join("ETHUSDT-1h-2024-03.csv")).expect("it was there");
        fs::write(replay.candles().join("ETHUSDT-1h-2024-03.zip"), bytes)
            .expect("a file is written");
        expect_damage(&replay, &["ETHUSDT-1h-2024-03.zip"]);
    }
}

#[test]
fn a_damaged_zip_is_told_before_the_lines_that_it_damages() {
    let folder = tempfile::tempdir().expect("a folder for files");
    let csv = Dump::hourly(START).csv(&vec![Decimal::from(60_000); 10_000]);
    let good = zip("a.csv", csv.as_bytes(), false);
    // A price that is none, a candle that is older, a column too few, and what is no text.
    for (text, byte) in [("60000.", b'x'), ("1709", b'0'), (",0\n", b'0'), ("60000.", 0xff)] {
        let places = good.windows(text.len()).enumerate();
        let mut places = places.filter(|(_, bytes)| *bytes == text.as_bytes());
        let mut bytes = good.clone();
        bytes[places.nth(8).expect("one of the first lines has it").0] = byte;
        fs::write(folder.path().join("BTCUSDT-1h-1.zip"), bytes).expect("a file is written");
        let told = dump::read(folder.path(), &bitcoin(), hour()).expect_err("damage").message;
        assert!(told.ends_with("its file does not fit its checksum"), "{told}");
    }
}

#[test]
fn a_zip_may_have_a_comment_of_any_length() {
    let folder = tempfile::tempdir().expect("a folder for files");
    let csv = Dump::hourly(START).csv(&[Decimal::from(60_000)]);
    for length in (0..40).chain(4_000..4_100).chain([65_535]) {
        let archive = [zip("a.csv", csv.as_bytes(), true), vec![b'P'; length]].concat();
        fs::write(folder.path().join("BTCUSDT-1h-1.zip"), archive).expect("a file is written");
        let candles = dump::read(folder.path(), &bitcoin(), hour()).expect("a good archive");
        assert_eq!(candles.len(), 1, "{length}");
    }
}

#[test]
fn the_reader_fails_at_the_end_of_a_damaged_zip_and_fails_again() {
    let folder = tempfile::tempdir().expect("a folder for files");
    let closes = vec![Decimal::from(60_000); 10_000];
    let text = Dump::hourly(START).csv(&closes);
    let mut archive = zip("a.csv", text.as_bytes(), false);
    // Which the size has nothing against.
    let volume = archive.windows(3).rposition(|bytes| bytes == b"1.5").expect("a volume");
    archive[volume] = b'2';
    fs::write(folder.path().join("BTCUSDT-1h-1.zip"), archive).expect("a file is written");
    let mut dump = dump::Dump::open(folder.path(), &bitcoin(), hour()).expect("a good beginning");
    let mut candles = 0;
    let failure = loop {
        match dump.next_candles() {
            Ok(Some(next)) => candles += next.len(),
            Ok(None) => panic!("the damage was not seen"),
            Err(failure) => break failure,
        }
    };
    assert!(
        (1_000..10_000).contains(&candles)
            && failure.message.ends_with("does not fit its checksum")
    );
    let again = dump.next_candles().expect_err("the same");
    assert_eq!(again.message, failure.message);
}

#[test]
fn damage_found_later_leaves_the_book_as_it_was() {
    let replay = Replay::new(&spreads("20 20 20 21 20"));
    replay.expect_actions(&[], "buy");
    let (world, before) = (replay.world(), replay.world().snapshot());
    let path = replay.candles().join("ETHUSDT-1h-2024-03.csv");
    let good = fs::read(&path).expect("a dump");
    fs::write(&path, "rubbish\n").expect("a file is written");
    let _ = replay.run().expect_exit(65);
    assert_eq!(before, world.snapshot());
    fs::write(&path, good).expect("a file is written");
    replay.expect_actions(&[], "sell");
}

#[test]
fn candles_of_a_day_are_candles() {
    let dump = Dump { interval: DAY, name: "1d", ..Dump::hourly(START) };
    let replay = Replay::of(&dump, &spreads("20 20 20 21"));
    let outcome = replay.run().env("TIMEFRAME", "1d").expect_exit(0);
    let candle = json!(rfc3339(START + 3 * DAY));
    outcome.expect_json(&[("/candle", candle), ("/action", json!("buy"))]);
}

#[test]
fn a_paper_run_reads_no_dump() {
    let desk = Desk::new(spreads("20 20 20 21"));
    Dump::hourly(START).write(&desk.cwd(), &spreads("20 20 20 19"));
    desk.expect_buy();
    assert_eq!(desk.status()["mode"], "paper");
}

/// Whatever the wrapping, the four candles are an entry at the last one.
#[track_caller]
fn expect_played(dump: &Dump) {
    let replay = Replay::of(dump, &spreads("20 20 20 21"));
    let outcome = replay.run().expect_exit(0);
    outcome.expect_json(&[
        ("/candle", json!(rfc3339(START + 3 * HOUR))),
        ("/z", json!(1.5)),
        ("/action", json!("buy")),
    ]);
    replay.expect_actions(&[], "end-of-data");
}

/// A first run that is refused, with these words.
#[track_caller]
fn expect_damage(replay: &Replay, words: &[&str]) {
    replay.run().expect_exit(65).expect_said(words);
}

fn bitcoin() -> Symbol {
    let asset = |code| Asset::new(code).expect("an asset");
    Symbol { base: asset("BTC"), quote: asset("USDT") }
}

fn hour() -> Interval {
    Interval::named("1h").expect("an interval")
}

fn edit(replay: &Replay, name: &str, change: impl Fn(&str) -> String) {
    let path = replay.candles().join(name);
    let text = fs::read_to_string(&path).expect("a dump");
    fs::write(&path, change(&text)).expect("a file is written");
}

fn names() -> [&'static str; 2] {
    ["BTCUSDT-1h-2024-03.csv", "ETHUSDT-1h-2024-03.csv"]
}
