//! The digest: once a day, after its time, with the book's figures and a picture of the day.

use std::io::Read as _;

use crate::exchange::as_read;
use crate::support::desk::Desk;
use crate::support::fault::Fault;
use crate::support::live::Live;
use crate::support::run::{Run, money};
use crate::support::table::{decimal, spreads};

#[test]
fn once_a_day_it_tells_equity_position_z_trades_and_what_waits() {
    let desk = Desk::entry_ahead();
    let _ = daily(&desk).expect_exit(0);
    let told = captions(&desk).pop().or_else(|| desk.server.told().pop()).expect("a digest");
    let status = desk.status();
    let quantity = status["position"]["quantity"].as_str().expect("a quantity");
    for words in [
        "the day to ",
        "equity ",
        " USDT on paper",
        "0 round trips",
        quantity,
        "1 bought, 0 sold",
        "z +",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
    desk.server.forget();
    let _ = daily(&desk).expect_exit(0);
    assert!(desk.server.requests_to("/bot").is_empty(), "once is enough");
}

#[test]
fn live_the_equity_is_what_the_book_gained_since_it_began() {
    let live = Live::entry_ahead();
    let _ = live.run().expect_exit(0);
    let digest = || {
        live.exchange.with(|world| world.messages.clear());
        let url = live.exchange.url();
        let run = live.run().env("TELEGRAM_API_URL", url).env("TELEGRAM_BOT_TOKEN", "1:simulated");
        let run = run.env("TELEGRAM_CHAT_ID", "1").env("DAILY_DIGEST_UTC", "00:00");
        let _ = run.expect_exit(0);
        let told = live.exchange.with(|world| world.messages.clone());
        told.into_iter().find(|text| text.contains("the day to")).expect("a digest")
    };
    let gained = |told: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix("equity ")).expect(told);
        assert!(line.ends_with(" USDT since it began, with what is held"), "{line}");
        decimal(line.split(' ').next().expect("a number"))
    };
    // What was bought lost its fee at once, and a sale would lose another.
    let status = live.status();
    let held = money(&status, "/position/quantity") * decimal("3000");
    let least = held - money(&status, "/position/cost");
    let (open, fee) = (gained(&digest()), held / decimal("1000"));
    assert!((open - (least - fee)).abs() < decimal("0.00000002"), "{open} {least} {fee}");
    live.next_candle("19");
    let _ = live.run().expect_exit(0);
    live.advance(24 * 60 * 60 * 1000);
    live.with(|world| world.set_spreads(&["20", "20", "20", "20"]));
    let over = gained(&digest());
    assert_eq!(over, money(&live.status(), "/realized_pnl"), "nothing is held any more");
    assert!(over < decimal("0"));
}

#[test]
fn what_could_not_be_told_is_told_by_the_next_run() {
    let desk = Desk::entry_ahead();
    desk.server.fault("/bot", Fault::status(502));
    let _ = daily(&desk).expect_exit(0);
    desk.server.heal();
    desk.server.forget();
    let _ = daily(&desk).expect_exit(0);
    assert!(
        !captions(&desk).is_empty() || desk.server.told().iter().any(|it| it.contains("the day"))
    );
}

#[test]
fn a_day_of_candles_comes_with_a_picture_of_it() {
    let desk = Desk::for_two_more(spreads("20 20 20 21"));
    for _ in 0..2 {
        let _ = desk.run().expect_exit(0);
        desk.server.close_candle(spreads("20")[0]);
    }
    let _ = daily(&desk).expect_exit(0);
    let request = &desk.server.requests_to("/sendPhoto")[0];
    let kind = request.header("content-type").expect("a type");
    let boundary = kind.strip_prefix("multipart/form-data; boundary=").expect("a form");
    assert!(request.body.starts_with(&format!("--{boundary}\r\n")));
    assert!(request.body.ends_with(&format!("--{boundary}--\r\n")));
    for field in ["chat_id", "caption", "parse_mode", "photo"] {
        assert!(request.body.contains(&format!("name=\"{field}\"")), "{field}");
    }
    // The picture is whole: its parts have the length and the sum that they say, and as many
    // pixels as its head.
    let start = find(&request.bytes, b"\x89PNG\r\n\x1a\n").expect("a picture");
    let mut rest = &request.bytes[start + 8..];
    let (mut size, mut packed) = (0, Vec::new());
    loop {
        let length = number(&rest[..4]);
        let (part, after) = rest[4..].split_at(4 + length);
        let mut sum = flate2::Crc::new();
        sum.update(part);
        assert_eq!(number(&after[..4]), usize::try_from(sum.sum()).expect("a number"));
        match &part[..4] {
            b"IHDR" => size = (1 + number(&part[4..8]) / 2) * number(&part[8..12]),
            b"IDAT" => packed.extend_from_slice(&part[4..]),
            b"IEND" => break,
            _ => {}
        }
        rest = &after[4..];
    }
    let mut pixels = Vec::new();
    flate2::read::ZlibDecoder::new(&*packed).read_to_end(&mut pixels).expect("deflated");
    assert_eq!(pixels.len(), size);
    // Something is drawn in it: the ratio's line and the mark of what was bought.
    for ink in [5, 7] {
        let has = |byte: &u8| byte >> 4 == ink || byte & 15 == ink;
        assert!(pixels.iter().filter(|byte| has(byte)).count() > 20, "ink {ink}");
    }
}

#[test]
fn a_picture_that_is_not_taken_costs_no_word() {
    let desk = Desk::for_two_more(spreads("20 20 20 21"));
    for _ in 0..2 {
        let _ = desk.run().expect_exit(0);
        desk.server.close_candle(spreads("20")[0]);
    }
    let said =
        r#"{"ok":false,"error_code":400,"description":"Bad Request: PHOTO_INVALID_DIMENSIONS"}"#;
    desk.server.fault("/sendPhoto", Fault::json(400, said));
    let _ = daily(&desk).expect_exit(0);
    assert!(desk.server.told().iter().any(|text| text.contains("the day to")));
}

#[test]
fn a_replay_has_no_days() {
    let desk = Desk::entry_ahead();
    let _ = daily(&desk).env("TIMEFRAME", "15m").args(["--candles", "demo"]).expect_exit(0);
    let told = desk.server.told();
    assert!(!told.iter().any(|text| text.contains("the day to")), "{told:?}");
}

#[test]
fn a_time_that_is_none_and_a_digest_without_a_bot_are_refused() {
    let desk = Desk::entry_ahead();
    for time in ["8:00", "24:00", "08:60", "08", "0800", "08:00:00", "+8:00", "noon"] {
        let run = daily(&desk).env("DAILY_DIGEST_UTC", time);
        run.expect_exit(78).expect_said(&["DAILY_DIGEST_UTC", time, "08:00"]);
    }
    let run = desk.run().env("DAILY_DIGEST_UTC", "08:00");
    run.expect_exit(78).expect_said(&["DAILY_DIGEST_UTC", "TELEGRAM_BOT_TOKEN"]);
}

/// A step whose digest is due from midnight on.
fn daily(desk: &Desk) -> Run {
    desk.run()
        .env("TELEGRAM_BOT_TOKEN", "123456:AAF-the_bot")
        .env("TELEGRAM_CHAT_ID", "42")
        .env("TELEGRAM_API_URL", desk.server.url())
        .env("DAILY_DIGEST_UTC", "00:00")
}

/// What stands beneath the pictures, as a phone shows it.
fn captions(desk: &Desk) -> Vec<String> {
    let caption = |body: String| {
        let (_, rest) = body.split_once("name=\"caption\"\r\n\r\n").expect("a caption");
        as_read(&rest.split("\r\n--").next().expect("its end").into())
    };
    desk.server.requests_to("/sendPhoto").into_iter().map(|it| caption(it.body)).collect()
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|window| window == part)
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
