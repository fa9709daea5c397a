//! Candle dumps: everything that Binance publishes is read, and damage is named by file and line.

use std::fs;

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

fn edit(replay: &Replay, name: &str, change: impl Fn(&str) -> String) {
    let path = replay.candles().join(name);
    let text = fs::read_to_string(&path).expect("a dump");
    fs::write(&path, change(&text)).expect("a file is written");
}

fn names() -> [&'static str; 2] {
    ["BTCUSDT-1h-2024-03.csv", "ETHUSDT-1h-2024-03.csv"]
}
