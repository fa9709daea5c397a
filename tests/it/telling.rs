//! Telegram: every message arrives, in order and numbered, and nothing that Telegram does matters
//! to the trade.

use serde_json::json;

use crate::support::desk::{Desk, Replay};
use crate::support::fault::{Fault, Response};
use crate::support::run::Run;
use crate::support::table::spreads;

#[test]
fn an_entry_and_an_exit_are_told() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = telling(&desk).expect_exit(0);
    let told = desk.server.told().join("\n");
    assert!(told.contains("ETH") && told.contains("0.0483"), "what was bought: {told}");
    desk.server.forget();
    desk.server.close_candle(spreads("20")[0]);
    let _ = telling(&desk).expect_exit(0);
    let told = desk.server.told().join("\n");
    assert!(told.contains("ETH") && told.contains("0.0482"), "what was sold: {told}");
}

#[test]
fn messages_go_to_the_chat_as_telegram_wants_them() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = telling(&desk).expect_exit(0);
    let requests = desk.server.requests_to("/bot");
    assert!(!requests.is_empty());
    for request in requests {
        assert_eq!(request.method, "POST");
        assert_eq!(request.path(), format!("/bot{TOKEN}/sendMessage"));
        assert!(request.header("content-type").unwrap_or_default().contains("application/json"));
        let body: serde_json::Value = serde_json::from_str(&request.body).expect("JSON");
        assert!(
            body["chat_id"] == json!("-100123") || body["chat_id"] == json!(-100_123),
            "{body}"
        );
        assert!(body["text"].as_str().expect("a text").encode_utf16().count() <= 4096);
    }
}

#[test]
fn a_run_without_news_tells_nothing() {
    let desk = Desk::new(spreads("20 20 21 20"));
    let _ = telling(&desk).expect_exit(0);
    desk.server.forget();
    let _ = telling(&desk).expect_exit(0);
    desk.server.close_candle(spreads("20")[0]);
    let _ = telling(&desk).expect_exit(0);
    assert!(desk.server.requests_to("/bot").is_empty(), "{:?}", desk.server.told());
}

#[test]
fn a_book_that_is_put_back_tells_what_waits_in_it() {
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.fault("/bot", Fault::status(500));
    let _ = telling(&desk).expect_exit(0);
    let (world, shelf) = (desk.state().join("paper"), desk.cwd().join("shelf"));
    std::fs::create_dir(&shelf).expect("a folder");
    let book = ["state.json", "journal.jsonl"];
    for name in book {
        std::fs::rename(world.join(name), shelf.join(name)).expect("moved away");
    }
    // Another book with messages of the same numbers, and these are delivered.
    desk.server.heal();
    let _ = telling(&desk).env("TRADE_AMOUNT_USDT", "100").expect_exit(0);
    desk.server.forget();
    for name in book {
        std::fs::rename(shelf.join(name), world.join(name)).expect("put back");
    }
    let _ = telling(&desk).expect_exit(0);
    let told = desk.server.told().join("\n");
    assert!(told.contains("#1 ") && told.contains("#2 ") && told.contains("149."), "{told}");
}

#[test]
fn a_failure_before_there_is_a_folder_is_told_once() {
    let desk = Desk::new(spreads("20 20 20 21"));
    for _ in 0..3 {
        let _ = telling(&desk).args(["--candles", "nowhere"]).expect_exit(65);
    }
    assert_eq!(desk.server.told().len(), 1, "{:?}", desk.server.told());
}

#[test]
fn nobody_is_told_without_a_bot() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = desk.run().env("TELEGRAM_API_URL", desk.server.url()).expect_exit(0);
    assert!(desk.server.requests_to("/bot").is_empty());
}

#[test]
fn no_answer_of_telegram_changes_the_step_or_its_exit_code() {
    let told = |code: u16, text: &str| {
        Fault::json(code, json!({"ok": false, "error_code": code, "description": text}).to_string())
    };
    let flood = json!({
        "ok": false, "error_code": 429, "description": "Too Many Requests: retry after 34",
        "parameters": {"retry_after": 34},
    });
    let faults = [
        told(400, "Bad Request: chat not found"),
        told(400, "Bad Request: can't parse entities"),
        told(401, "Unauthorized"),
        told(403, "Forbidden: bot was blocked by the user"),
        told(404, "Not Found"),
        told(409, "Conflict"),
        told(413, "Request Entity Too Large"),
        Fault::Answer(Response::new(429, flood.to_string()).with("Retry-After", "34")),
        Fault::status(500),
        Fault::html(502),
        Fault::html(200),
        Fault::body(""),
        Fault::body(r#"{"ok":false}"#),
        Fault::redirect(302, "/elsewhere"),
        Fault::Close,
        Fault::Reset,
        Fault::BrokenChunks,
        Fault::WrongLength(50),
        Fault::Blanks { count: 2 * 1024 * 1024, chunked: false },
    ];
    for fault in faults {
        let desk = Desk::new(spreads("20 20 20 21"));
        desk.server.fault("/bot", fault.clone());
        let outcome = telling(&desk).expect_exit(0);
        outcome.expect_json(&[("/action", json!("buy")), ("/to", json!("HOLDING_ETH"))]);
        assert!(desk.server.requests_to("elsewhere").is_empty(), "a redirect was followed");
        assert!(!outcome.stderr.contains(TOKEN), "the token is told: {fault:?}");
    }
}

#[test]
fn a_bot_api_that_is_not_there_changes_nothing() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let outcome = telling(&desk).env("TELEGRAM_API_URL", "http://127.0.0.1:1").expect_exit(0);
    outcome.expect_json(&[("/action", json!("buy"))]);
}

#[test]
fn what_could_not_be_told_is_told_later_in_order_and_once() {
    let desk = Desk::for_two_more(spreads("20 20 20 21"));
    desk.server.fault("/bot", Fault::status(500));
    let _ = telling(&desk).expect_exit(0);
    desk.server.close_candle(spreads("20")[0]);
    let _ = telling(&desk).expect_exit(0);
    assert_eq!(desk.server.told(), Vec::<String>::new());
    desk.server.heal();
    let _ = telling(&desk).expect_exit(0);
    let told = desk.server.told().join("\n");
    let (bought, sold) = (told.find("0.0483"), told.find("0.0482"));
    assert!(bought.is_some() && sold.is_some(), "both arrive: {told}");
    let numbers = numbers(&told);
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert!(numbers.len() >= 2 && numbers == expected, "numbered: {told}");
    desk.server.forget();
    let _ = telling(&desk).expect_exit(0);
    assert!(desk.server.told().is_empty(), "told twice");
}

#[test]
fn a_message_that_only_the_answer_of_was_lost_keeps_its_number() {
    // Telegram has it, but the run can't know: it comes again, under the same number.
    let desk = Desk::new(spreads("20 20 20 21"));
    desk.server.fault_nth("/bot", 0, Fault::Close);
    let _ = telling(&desk).expect_exit(0);
    let _ = telling(&desk).expect_exit(0);
    let requests = desk.server.requests_to("/bot");
    let seen: Vec<u64> = requests.iter().flat_map(|request| numbers(&request.body)).collect();
    assert!(seen.iter().filter(|number| **number == 1).count() >= 2, "{seen:?}");
}

#[test]
fn a_failure_is_told_once_and_its_end_too() {
    let desk = Desk::entry_ahead();
    desk.server.fault("klines", Fault::status(503));
    for _ in 0..3 {
        let _ = telling(&desk).expect_exit(69);
    }
    let about = |word: &str| desk.server.told().iter().filter(|text| text.contains(word)).count();
    assert_eq!(about("503"), 1, "{:?}", desk.server.told());
    desk.server.heal();
    desk.server.forget();
    let _ = telling(&desk).expect_exit(0);
    let told = desk.server.told().join("\n").to_lowercase();
    assert!(told.contains("works again"), "{told}");
    assert!(told.contains("0.0483"), "and what was bought: {told}");
}

#[test]
fn failures_of_two_kinds_in_turn_are_told_once_each() {
    let desk = Desk::entry_ahead();
    for _ in 0..3 {
        desk.server.heal();
        desk.server.fault("klines", Fault::status(503));
        let _ = telling(&desk).expect_exit(69);
        desk.server.heal();
        desk.server.bend("klines ETHUSDT", |candles| candles[3][4] = json!("0"));
        let _ = telling(&desk).expect_exit(65);
    }
    let failures = desk.server.told().iter().filter(|text| text.contains("failed")).count();
    assert_eq!(failures, 2, "{:#?}", desk.server.told());
}

#[test]
fn a_failure_that_could_not_be_told_is_told_when_telegram_is_back() {
    let desk = Desk::entry_ahead();
    desk.server.fault("klines", Fault::status(503));
    desk.server.fault("/bot", Fault::status(500));
    let _ = telling(&desk).expect_exit(69);
    desk.server.heal();
    desk.server.fault("klines", Fault::status(503));
    let _ = telling(&desk).expect_exit(69);
    assert!(desk.server.told().join("\n").contains("503"), "{:?}", desk.server.told());
}

#[test]
fn a_refusal_is_told() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = telling(&desk).env("PAPER_BALANCE_USDT", "100").expect_exit(76);
    let told = desk.server.told().join("\n").to_lowercase();
    assert!(told.contains("balance"), "{told}");
}

#[test]
fn a_wrong_setting_is_told_to_nobody() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let _ = telling(&desk).env("TIMEFRAME", "7m").expect_exit(78);
    assert!(desk.server.requests().is_empty());
}

#[test]
fn many_messages_that_waited_arrive_in_pieces_that_telegram_takes() {
    // 20 and 21 in turn, over a window of four, have z = ±0.87: a trade at every candle.
    let exchange = Desk::new(spreads("20 20 20 20"));
    let replay = Replay::new(&spreads(&"20 21 ".repeat(21)));
    let step = || {
        replay
            .run()
            .env("ENTRY_THRESHOLD", "0.7")
            .env("TELEGRAM_BOT_TOKEN", TOKEN)
            .env("TELEGRAM_CHAT_ID", "-100123")
            .env("TELEGRAM_API_URL", exchange.server.url())
            .expect_exit(0)
            .json()
    };
    exchange.server.fault("/bot", Fault::status(500));
    for _ in 0..36 {
        assert_ne!(step()["action"], "hold");
    }
    exchange.server.heal();
    // A run may tell them in as many pieces as it has time for.
    for _ in 0..4 {
        let _ = step();
    }
    let told = exchange.server.told();
    for text in &told {
        assert!(text.encode_utf16().count() <= 4_096, "{} characters", text.len());
    }
    let numbers = numbers(&told.join("\n"));
    let expected: Vec<u64> = (1..=numbers.len() as u64).collect();
    assert!(numbers.len() >= 36, "{}", numbers.len());
    assert_eq!(numbers, expected);
}

#[test]
fn characters_that_are_markup_arrive_as_they_are() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let reason = "<b>5 > 3 & _so_ *on* [x](y) `z` \u{1f642}";
    let _ = telling(&desk).args(["halt", reason]).expect_exit(0);
    let _ = telling(&desk).expect_exit(0);
    let told = desk.server.told().join("\n");
    assert!(told.contains(reason), "{told}");
    let sent = &desk.server.requests_to("/sendMessage")[0];
    assert!(sent.body.contains(r#""text":"<b>#1 paper BTC/ETH 1m:</b>"#), "{}", sent.body);
}

#[test]
fn markup_that_is_not_understood_is_sent_once_more_without() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let why = "Bad Request: can't parse entities: Unsupported start tag";
    let said = json!({ "ok": false, "error_code": 400, "description": why });
    desk.server.fault_times("/sendMessage", 1, Fault::json(400, said.to_string()));
    let _ = telling(&desk).expect_exit(0);
    let sent = desk.server.requests_to("/sendMessage");
    assert_eq!(sent.len(), 2);
    let body: serde_json::Value = serde_json::from_str(&sent[1].body).expect("JSON");
    assert!(body["parse_mode"].is_null(), "{body}");
    assert!(body["text"].as_str().expect("a text").contains("NONE -> HOLDING_ETH"), "{body}");
    desk.server.forget();
    let _ = telling(&desk).expect_exit(0);
    assert!(desk.server.requests_to("/sendMessage").is_empty(), "it arrived");
}

#[test]
fn a_chat_that_has_moved_is_told_where_it_is_and_its_number_is_named() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let said = json!({
        "ok": false, "error_code": 400,
        "description": "Bad Request: group chat was upgraded to a supergroup chat",
        "parameters": { "migrate_to_chat_id": -1_009_876_543_210_i64 },
    });
    desk.server.fault_times("/sendMessage", 1, Fault::json(400, said.to_string()));
    telling(&desk).expect_exit(0).expect_said(&["-1009876543210", "TELEGRAM_CHAT_ID"]);
    let sent = desk.server.requests_to("/sendMessage");
    assert_eq!(sent.len(), 2);
    let body: serde_json::Value = serde_json::from_str(&sent[1].body).expect("JSON");
    assert_eq!(body["chat_id"], json!(-1_009_876_543_210_i64));
}

/// A step with a bot.
fn telling(desk: &Desk) -> Run {
    desk.run()
        .env("TELEGRAM_BOT_TOKEN", TOKEN)
        .env("TELEGRAM_CHAT_ID", "-100123")
        .env("TELEGRAM_API_URL", desk.server.url())
}

/// The `N` of each `#N `.
fn numbers(text: &str) -> Vec<u64> {
    let number = |part: &str| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    };
    text.split('#').skip(1).filter_map(number).collect()
}

const TOKEN: &str = "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw9";
