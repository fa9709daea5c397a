//! What a person writes to the bot: read by the next run, from that person in that chat alone, and
//! nothing of it can trade.

use crate::support::desk::Desk;
use crate::support::fault::Fault;
use crate::support::run::Run;
use crate::support::table::spreads;

#[test]
fn status_and_why_are_answered_with_how_old_the_answer_is() {
    let desk = Desk::entry_ahead();
    let _ = desk.server.write_to_bot(ADA, ADA, "/status");
    let _ = desk.server.write_to_bot(ADA, ADA, "/why@a_test_bot please");
    let _ = hearing(&desk).expect_exit(0);
    let told = desk.server.told().pop().expect("an answer");
    let status = desk.status();
    let why = status["last_decision"]["why"].as_str().expect("a reason");
    let quantity = status["position"]["quantity"].as_str().expect("a quantity");
    for words in ["answers what was asked at ", " s before this run", why, quantity] {
        assert!(told.contains(words), "{words}: {told}");
    }
    desk.server.forget();
    let _ = hearing(&desk).expect_exit(0);
    assert!(desk.server.told().is_empty(), "it is answered once");
}

#[test]
fn a_halt_holds_before_the_run_that_reads_it_can_trade() {
    let desk = Desk::entry_ahead();
    let _ = desk.server.write_to_bot(ADA, ADA, "/halt I am at the beach");
    let report = hearing(&desk).expect_exit(0).json();
    assert_eq!(report["action"], "halted", "{report}");
    assert_eq!(desk.status()["halted"], "I am at the beach");
    assert!(desk.status()["position"].is_null());
    let told = desk.server.told().join("\n");
    assert!(told.contains("halted: no new order leaves") && told.contains("beach"), "{told}");
    let _ = desk.command(&["resume"]).expect_exit(0);
    let report = hearing(&desk).expect_exit(0).json();
    assert_eq!(report["action"], "buy", "read once, it halts once: {report}");
}

#[test]
fn nobody_else_is_listened_to() {
    let desk = Desk::entry_ahead();
    let _ = desk.server.write_to_bot(99, 99, "/halt");
    let _ = desk.server.write_to_bot(ADA, 99, "/halt");
    let _ = desk.server.write_to_bot(-5, ADA, "/halt");
    let outcome = hearing(&desk).expect_exit(0);
    outcome.expect_said(&["ignored"]);
    assert_eq!(outcome.json()["action"], "buy");
    assert!(!desk.server.told().iter().any(|text| text.contains("answers")));
}

#[test]
fn nothing_that_could_trade_or_lift_a_halt_is_understood() {
    let desk = Desk::entry_ahead();
    let _ = desk.command(&["halt"]).expect_exit(0);
    for text in ["/resume", "/flatten", "/buy BTC", "/sell", "/run", "resume", "halt"] {
        let _ = desk.server.write_to_bot(ADA, ADA, text);
    }
    let report = hearing(&desk).expect_exit(0).json();
    assert_eq!(report["action"], "halted", "{report}");
    let told = desk.server.told().pop().expect("an answer");
    assert!(told.contains("/status, /why and /halt"), "{told}");
}

#[test]
fn whatever_becomes_of_the_reading_the_step_is_done() {
    for fault in [
        Fault::status(500),
        Fault::json(
            409,
            r#"{"ok":false,"error_code":409,"description":"Conflict: terminated by other getUpdates request"}"#,
        ),
        Fault::html(200),
        Fault::body(r#"{"ok":true,"result":[{},{"update_id":"x"},{"update_id":7,"message":5}]}"#),
        Fault::body(r#"{"ok":true,"result":7}"#),
        Fault::Close,
        Fault::Reset,
    ] {
        let desk = Desk::entry_ahead();
        let what = format!("{fault:?}");
        desk.server.fault("/getUpdates", fault);
        let report = hearing(&desk).expect_exit(0).json();
        assert_eq!(report["action"], "buy", "{what}");
    }
}

#[test]
fn a_halt_that_cannot_be_written_ends_the_run_before_it_trades() {
    let desk = Desk::entry_ahead();
    let _ = desk.server.write_to_bot(ADA, ADA, "/halt");
    // Something else stands where the request for a halt would be written.
    std::fs::create_dir(desk.state().join("paper").join("halt")).expect("a folder");
    let _ = hearing(&desk).unchecked().expect_one_of(&[65, 74]);
    std::fs::remove_dir(desk.state().join("paper").join("halt")).expect("taken away");
    assert!(desk.status()["position"].is_null());
}

#[test]
fn another_pair_s_book_is_not_halted() {
    let desk = Desk::entry_ahead();
    let _ = desk.server.write_to_bot(ADA, ADA, "/halt");
    let _ = hearing(&desk).env("TIMEFRAME", "5m").expect_exit(78);
    assert!(desk.status()["halted"].is_null());
}

#[test]
fn commands_are_off_unless_they_are_asked_for() {
    let desk = Desk::entry_ahead();
    let _ = desk.server.write_to_bot(ADA, ADA, "/halt");
    let report = hearing(&desk).without("TELEGRAM_COMMANDS").expect_exit(0).json();
    assert!(desk.server.requests_to("/getUpdates").is_empty());
    assert_eq!(report["action"], "buy", "{report}");
}

#[test]
fn in_a_group_it_must_be_said_whose_commands_count() {
    let desk = Desk::entry_ahead();
    for chat in ["-100123", "@a_channel"] {
        let run = hearing(&desk).env("TELEGRAM_CHAT_ID", chat);
        run.expect_exit(78).expect_said(&["TELEGRAM_COMMANDS", "TELEGRAM_USER_ID", chat]);
    }
    let _ = desk.server.write_to_bot(-100_123, ADA, "/halt");
    let run = hearing(&desk).env("TELEGRAM_CHAT_ID", "-100123").env("TELEGRAM_USER_ID", "42");
    assert_eq!(run.expect_exit(0).json()["action"], "halted");
    for (name, value) in
        [("TELEGRAM_USER_ID", "-1"), ("TELEGRAM_USER_ID", "ada"), ("TELEGRAM_COMMANDS", "yes")]
    {
        hearing(&desk).env(name, value).expect_exit(78).expect_said(&[name, value]);
    }
}

#[test]
fn setup_shows_the_chat_s_number_and_changes_nothing() {
    let desk = Desk::new(spreads("20 20 20 20"));
    let _ = desk.server.write_to_bot(ADA, ADA, "hello");
    let _ = desk.server.write_to_bot(-100_123, 7, "/start@a_test_bot");
    let setup = || {
        let run = desk.command(&["telegram-setup"]).env("TELEGRAM_BOT_TOKEN", TOKEN);
        run.env("TELEGRAM_API_URL", desk.server.url())
    };
    let text = setup().expect_exit(0).stdout;
    for line in [
        "TELEGRAM_CHAT_ID=42",
        "TELEGRAM_USER_ID=42",
        "TELEGRAM_CHAT_ID=-100123",
        "TELEGRAM_USER_ID=7",
        "@a_test_bot",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert_eq!(setup().args(["--json"]).expect_exit(0).json()["chats"][0]["chat_id"], -100_123);
    for request in desk.server.requests_to("/getUpdates") {
        assert!(!request.body.contains("offset\":5"), "nothing is taken from a later reader");
    }
    setup()
        .without("TELEGRAM_BOT_TOKEN")
        .expect_exit(78)
        .expect_said(&["TELEGRAM_BOT_TOKEN", "BotFather"]);
    let said = r#"{"ok":false,"error_code":401,"description":"Unauthorized"}"#;
    desk.server.fault("/getMe", Fault::json(401, said));
    setup().expect_exit(78).expect_said(&["Unauthorized", "TELEGRAM_BOT_TOKEN"]);
    assert!(!desk.state().exists());
}

/// A step that hears what Ada writes.
fn hearing(desk: &Desk) -> Run {
    desk.run()
        .env("TELEGRAM_BOT_TOKEN", TOKEN)
        .env("TELEGRAM_CHAT_ID", "42")
        .env("TELEGRAM_API_URL", desk.server.url())
        .env("TELEGRAM_COMMANDS", "on")
}

const TOKEN: &str = "123456:AAF-the_bot";
const ADA: i64 = 42;
