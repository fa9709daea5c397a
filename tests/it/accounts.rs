//! Whose account it is: the number that is remembered, coins that are missing, orders that the book
//! does not know, a second machine, a backup, a key with the wrong rights.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::exchange::{Execute, Lag, Lags, Reply, Rule, Setup};
use crate::support::clock::{HOUR, SECOND};
use crate::support::live::{Live, kind};
use crate::support::run::{Run, money};
use crate::support::table::decimal;

#[test]
fn a_book_of_another_account_is_left_alone_byte_for_byte() {
    let live = Live::exit_ahead();
    let account = live.with(|world| world.uid);
    assert_eq!(live.status()["account"], account);
    live.with(|world| world.uid = 1);
    let before = live.folder().snapshot();
    let outcome = live.run().expect_exit(65);
    outcome.expect_said(&[&account.to_string(), "1"]);
    assert_eq!(live.folder().snapshot(), before);
    let _ = live.command(&["flatten", "--yes"]).expect_exit(65);
    assert_eq!(live.folder().snapshot(), before);
    assert_eq!(live.with(|world| world.posts()), 1);
    live.with(|world| world.uid = account);
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    live.check();
}

#[test]
fn another_account_settles_no_order_of_the_first() {
    let live = Live::entry_ahead();
    live.exchange.fault(Rule::order(Execute::Now, Reply::Close));
    live.with(|world| world.lag = Lags::all(Lag::Millis(24 * HOUR)));
    let _ = live.run().expect_exit(75);
    let account = live.with(|world| std::mem::replace(&mut world.uid, 1));
    let before = live.folder().snapshot();
    let _ = live.run().expect_one_of(&[65, 75]);
    live.pass_the_bound();
    let _ = live.run().expect_exit(65);
    assert_eq!(live.folder().snapshot(), before);
    live.with(|world| {
        world.uid = account;
        world.lag = Lags::default();
    });
    let _ = live.run().expect_exit(0).expect_json(&[("/settled/side", json!("BUY"))]);
    live.check();
}

#[test]
fn a_step_less_than_the_book_says_is_let_pass() {
    let live = alone();
    live.with(|world| world.deposit("ETH", "-0.0001"));
    live.next_candle("19");
    let sold = live
        .run()
        .expect_exit(0)
        .expect_json(&[("/action", json!("sell")), ("/to", json!("NONE"))]);
    assert_eq!(money(&sold, "/order/executed_quantity"), decimal("0.0497"));
    live.next_candle("19");
    let _ = live.run().expect_exit(0);
}

#[test]
fn more_than_a_step_less_than_the_book_says_halts_once_and_for_all() {
    let live = alone();
    live.with(|world| world.deposit("ETH", "-0.0002"));
    live.next_candle("19");
    let outcome = telling(&live, live.run()).expect_exit(76);
    assert_eq!(kind(&outcome), "halted");
    outcome.expect_said(&["0.0496501", "0.0498501", "0.0002"]);
    let asked = live.asked();
    for _ in 0..3 {
        live.next_candle("18");
        let outcome = telling(&live, live.run()).expect_exit(76);
        assert_eq!(kind(&outcome), "halted");
        outcome.expect_said(&["0.0496501"]);
    }
    assert_eq!(live.asked(), asked, "asked while halted");
    let told =
        live.with(|world| world.messages.iter().filter(|text| text.contains("0.0496501")).count());
    assert_eq!(told, 1, "{:#?}", live.with(|world| world.messages.clone()));
    assert!(live.status()["halted"].as_str().expect("a reason").contains("0.0002"));
    live.command(&["resume"]).expect_exit(0).expect_said(&["0.0496501", "0.0498501"]);
    // Nothing has changed, so it halts again; with the coins back it goes on.
    let _ = live.run().expect_exit(76);
    live.with(|world| world.deposit("ETH", "0.0002"));
    let _ = live.command(&["resume"]).expect_exit(0);
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    live.check();
}

#[test]
fn the_owners_own_coins_are_never_sold() {
    for how in ["exit", "flatten"] {
        let live = Live::entry_ahead();
        let before = live.with(|world| world.balances.clone());
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
        if how == "exit" {
            live.next_candle("19");
            let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
        } else {
            let _ = live.command(&["flatten", "--yes"]).expect_exit(0);
        }
        live.check();
        for asset in ["ETH", "BTC", "BNB"] {
            let left = live.with(|world| world.free(asset)) - before[asset].free;
            assert!(left >= decimal("0") && left < decimal("0.0001"), "{how} {asset}: {left}");
        }
    }
}

#[test]
fn what_the_owner_does_on_the_account_changes_nothing() {
    let live = Live::entry_ahead();
    let meddle = || {
        live.with(|world| {
            world.deposit("USDT", "500");
            world.deposit("ETH", "-1.5");
            world.deposit("ETH", "1.1");
            world.foreign_order("ETHUSDT", true, "0.1");
            world.foreign_order("ETHUSDT", false, "0.05");
            world.foreign_order("BTCUSDT", false, "0.001");
            world.deposit("USDT", "-400");
        });
    };
    meddle();
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    let held = live.status()["position"]["quantity"].clone();
    meddle();
    live.next_candle("21");
    live.expect_hold();
    assert_eq!(live.status()["position"]["quantity"], held);
    meddle();
    live.next_candle("19");
    let sold = live
        .run()
        .expect_exit(0)
        .expect_json(&[("/action", json!("sell")), ("/to", json!("NONE"))]);
    assert_eq!(money(&sold, "/order/executed_quantity"), decimal("0.0498"));
    live.with(|world| world.conservation()).expect("the exchange keeps its own books");
}

#[test]
fn orders_of_the_owner_neither_hide_nor_fake_a_lost_one() {
    for execute in [Execute::Now, Execute::Never] {
        let live = Live::entry_ahead();
        live.exchange.fault(Rule::order(execute, Reply::Close));
        live.with(|world| world.lag.order = Lag::Millis(10 * SECOND));
        let _ = live.run().expect_exit(75);
        live.with(|world| {
            world.foreign_order("ETHUSDT", true, "0.0499");
            world.foreign_order("ETHUSDT", false, "0.02");
            world.deposit("USDT", "-150");
        });
        assert!(live.settle(3) > 0);
        let expected = if execute == Execute::Now { "HOLDING_ETH" } else { "NONE" };
        assert_eq!(live.status()["state"], expected);
    }
}

#[test]
fn coins_that_came_while_an_order_is_lost_keep_it_open_until_a_person_looks() {
    let live = Live::entry_ahead();
    live.exchange.fault(Rule::order(Execute::Never, Reply::Close));
    let _ = live.run().expect_exit(75);
    live.with(|world| world.deposit("ETH", "0.0499"));
    live.pass_the_bound();
    let outcome = live.run().expect_exit(75);
    outcome.expect_said(&["moved", "0.0499"]);
    let id = live.status()["pending"]["client_order_id"].as_str().expect("pending").to_owned();
    let _ = live.command(&["resume", "--not-executed", &id]).expect_exit(0);
    let _ = live.run().expect_exit(0);
    assert_eq!(live.status()["state"], "NONE");
}

#[test]
fn an_order_of_this_book_that_it_does_not_know_halts_until_a_person_took_note() {
    for is_buy in [true, false] {
        let live = Live::exit_ahead();
        let id = format!("{}1700000000-B1", prefix(&live));
        live.with(|world| world.order_of("BTCUSDT", is_buy, "0.001", &id));
        let outcome = live.run().expect_exit(76);
        assert_eq!(kind(&outcome), "halted");
        outcome.expect_said(&[&id, "does not know"]);
        assert_eq!(live.with(|world| world.posts()), 1);
        let asked = live.asked();
        let _ = live.run().expect_exit(76);
        assert_eq!(live.asked(), asked);
        live.command(&["resume"]).expect_exit(0).expect_said(&[&id]);
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
        live.next_candle("20");
        let _ = live.run().expect_exit(0);
    }
}

#[test]
fn a_second_machine_that_starts_later_orders_nothing() {
    let live = Live::exit_ahead();
    let second = live.other_state();
    let outcome = live.command_at(&second, &["--json"]).expect_exit(76);
    assert_eq!(kind(&outcome), "halted");
    outcome.expect_said(&["orders of this instance", "resume --new-book"]);
    assert!(!second.join("live/state.json").exists(), "something was committed");
    assert_eq!(live.with(|world| world.posts()), 1);
    let _ = live.command_at(&second, &["resume", "--new-book"]).expect_exit(0);
    // The candle of the new book's beginning is not traded on.
    let _ = live.command_at(&second, &["--json"]).expect_exit(0);
    assert_eq!(live.with(|world| world.posts()), 1);
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
}

#[test]
fn a_second_machine_that_decides_the_same_orders_nothing() {
    for is_lost in [false, true] {
        let live = Live::new();
        let second = live.other_state();
        live.expect_hold();
        let _ = live.command_at(&second, &["--json"]).expect_exit(0);
        live.next_candle("21");
        if is_lost {
            live.exchange.fault(Rule::order(Execute::Now, Reply::Close));
        }
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
        let outcome = live.command_at(&second, &["--json"]).expect_exit(76);
        assert_eq!(kind(&outcome), "halted");
        outcome.expect_said(&["ouro-"]);
        assert_eq!(live.with(|world| world.posts()), 1);
        // The first machine goes on undisturbed.
        live.next_candle("19");
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
        let _ = live.command_at(&second, &["--json"]).expect_exit(76);
        assert_eq!(live.with(|world| world.posts()), 2);
        live.check();
    }
}

#[test]
fn a_new_book_begins_afresh_and_the_old_one_notices() {
    let live = Live::exit_ahead();
    let second = live.other_state();
    let _ = live.command_at(&second, &["resume", "--new-book"]).expect_exit(0);
    live.next_candle("40");
    let _ = live
        .command_at(&second, &["--json"])
        .expect_exit(0)
        .expect_json(&[("/action", json!("buy"))]);
    let outcome = live.run().expect_exit(76);
    assert_eq!(kind(&outcome), "halted");
    assert_eq!(live.with(|world| world.posts()), 2);
    live.next_candle("10");
    let _ = live
        .command_at(&second, &["--json"])
        .expect_exit(0)
        .expect_json(&[("/action", json!("sell"))]);
    // What the first book holds was not sold by the second.
    let held = money(&live.status(), "/position/quantity");
    assert!(live.with(|world| world.free("ETH")) >= held + decimal("2"));
}

#[test]
fn a_backup_of_before_the_last_order_is_noticed() {
    // The copy is made before the entry, or before the exit.
    for knows_entry in [false, true] {
        let live = Live::new();
        live.expect_hold();
        if !knows_entry {
            copy(&live.state(), &live.other_state());
        }
        live.next_candle("21");
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
        if knows_entry {
            copy(&live.state(), &live.other_state());
            live.next_candle("19");
            let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
        }
        let posts = live.with(|world| world.posts());
        std::fs::remove_dir_all(live.state()).expect("it was there");
        copy(&live.other_state(), &live.state());
        let outcome = live.run().expect_exit(76);
        assert_eq!(kind(&outcome), "halted");
        outcome.expect_said(&["ouro-"]);
        live.next_candle("10");
        let _ = live.run().expect_exit(76);
        assert_eq!(live.with(|world| world.posts()), posts);
    }
}

#[test]
fn a_backup_of_before_a_round_trip_is_noticed() {
    let live = Live::new();
    live.expect_hold();
    copy(&live.state(), &live.other_state());
    live.next_candle("21");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.next_candle("19");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    std::fs::remove_dir_all(live.state()).expect("it was there");
    copy(&live.other_state(), &live.state());
    live.next_candle("40");
    let _ = live.run().expect_exit(76);
    assert_eq!(live.with(|world| world.posts()), 2);
}

#[test]
fn nothing_is_ordered_while_the_account_does_not_show_the_last_order() {
    for lag in [Lag::Millis(60 * SECOND), Lag::Flapping(60 * SECOND)] {
        let live = alone_before_entry();
        live.advance(HOUR - 40 * SECOND);
        live.with(|world| world.lag.account = lag);
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("already-processed"))]);
        live.next_candle("19");
        let (mut codes, mut posts) = (Vec::new(), 1);
        for _ in 0..4 {
            let outcome = live.run().expect_one_of(&[0, 75]);
            codes.push(outcome.code);
            if outcome.code == 0 {
                posts = live.with(|world| world.posts());
                break;
            }
            assert_eq!(kind(&outcome), "pending");
            assert_eq!(live.with(|world| world.posts()), 1);
        }
        if lag == Lag::Millis(60 * SECOND) {
            assert_eq!((codes, posts), (vec![75; 4], 1));
        }
        live.advance(60 * SECOND);
        let _ = live.run().expect_exit(0);
        assert_eq!(live.status()["state"], "NONE");
        assert_eq!(live.with(|world| world.posts()), 2);
        live.check();
    }
}

#[test]
fn an_account_that_shows_a_sale_late_is_no_alarm() {
    for lag in [Lag::Millis(60 * SECOND), Lag::Flapping(60 * SECOND), Lag::Queries(2)] {
        let live = alone();
        for _ in 0..2 {
            let _ = live.run().expect_exit(0);
        }
        live.next_candle("19");
        live.with(|world| world.lag = Lags::all(lag));
        let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
        for _ in 0..3 {
            let _ = live.run().expect_exit(0);
        }
        live.next_candle("20");
        let _ = live.run().expect_exit(0);
        live.check();
    }
}

#[test]
fn an_account_that_may_not_trade_is_77() {
    let live = Live::new();
    live.with(|world| world.can_trade = false);
    let outcome = live.run().expect_exit(77);
    outcome.expect_said(&["may not trade"]);
    expect_nothing_kept(&live);
    live.with(|world| world.can_trade = true);
    live.expect_hold();
    live.next_candle("21");
    live.with(|world| world.can_trade = false);
    let _ = live.run().expect_exit(77);
    assert_eq!(live.with(|world| world.posts()), 0);
    live.with(|world| world.can_trade = true);
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.check();
}

#[test]
fn a_key_with_the_wrong_rights_is_77_at_the_first_start_and_nothing_is_kept() {
    for (right, value, words) in [
        ("enableWithdrawals", true, "may withdraw"),
        ("enableInternalTransfer", true, "may transfer"),
        ("permitsUniversalTransfer", true, "may transfer"),
        ("enableSpotAndMarginTrading", false, "may not trade on Spot"),
    ] {
        let live = Live::new();
        live.with(|world| {
            world.restrictions.as_mut().expect("it tells")[right] = json!(value);
        });
        let outcome = telling(&live, live.run()).expect_exit(77);
        assert_eq!(kind(&outcome), "key-refused");
        outcome.expect_said(&["the key", words, "spot trading"]);
        expect_nothing_kept(&live);
        live.with(|world| {
            world.restrictions.as_mut().expect("it tells")[right] = json!(!value);
        });
        live.expect_hold();
    }
}

#[test]
fn a_new_book_needs_what_a_first_start_needs() {
    for is_used in [false, true] {
        let live = if is_used { Live::exit_ahead() } else { Live::new() };
        let second = live.other_state();
        live.with(|world| {
            world.restrictions.as_mut().expect("it tells")["enableWithdrawals"] = json!(true);
        });
        let outcome = live.command_at(&second, &["resume", "--new-book", "--json"]).expect_exit(77);
        outcome.expect_said(&["the key", "may withdraw"]);
        assert!(!second.join("live/state.json").exists(), "something was committed");
        live.with(|world| {
            world.restrictions.as_mut().expect("it tells")["enableWithdrawals"] = json!(false);
        });
        let _ = live.command_at(&second, &["resume", "--new-book", "--json"]).expect_exit(0);
    }
}

#[test]
fn a_word_that_was_wrong_is_met_by_a_halt() {
    let live = Live::entry_ahead();
    live.with(|world| world.lag = Lags::all(Lag::Millis(HOUR)));
    live.exchange.fault(Rule::order(Execute::Now, Reply::Close));
    let _ = live.run().expect_exit(75);
    let id = live.status()["pending"]["client_order_id"].as_str().expect("pending").to_owned();
    let _ = live.command(&["resume", "--not-executed", "ouro-another"]).expect_exit(78);
    let _ = live.command(&["resume", "--not-executed", &id]).expect_exit(0);
    assert!(!live.is_pending());
    live.with(|world| world.lag = Lags::default());
    live.run().expect_exit(76).expect_said(&[&id]);
    assert_eq!(live.with(|world| world.posts()), 1);
}

#[test]
fn an_owner_with_thousands_of_orders_is_no_hindrance() {
    let live = Live::entry_ahead();
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    let busy = || {
        live.with(|world| {
            for _ in 0..750 {
                world.foreign_order("ETHUSDT", true, "0.002");
                world.foreign_order("ETHUSDT", false, "0.002");
            }
        });
    };
    busy();
    // Two candles: only what is older than an hour is not looked at again.
    for _ in 0..2 {
        live.next_candle("21");
        live.expect_hold();
    }
    busy();
    live.next_candle("19");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("sell"))]);
    busy();
    let id = format!("{}1700000000-B1", prefix(&live));
    live.with(|world| world.order_of("ETHUSDT", true, "0.01", &id));
    live.next_candle("20");
    live.with(|world| world.log.clear());
    live.run().expect_exit(76).expect_said(&[&id]);
    // From the last one of the first 1,500 on to the last one, a full page after the other.
    live.with(|world| {
        let orders = world.orders.iter().filter(|order| order.symbol == "ETHUSDT");
        let ids: Vec<u64> = orders.map(|order| order.order_id).collect();
        let asked = world.log.iter().filter(|it| it.asked.path == "/api/v3/allOrders");
        let asked = asked.filter(|it| it.asked.query.contains("symbol=ETHUSDT"));
        let from = |query: &str| -> Option<u64> {
            let mut parts = query.split('&');
            parts.find_map(|part| part.strip_prefix("orderId="))?.parse().ok()
        };
        let begins: Vec<Option<u64>> = asked.map(|it| from(&it.asked.query)).collect();
        let first = ids.iter().position(|id| Some(*id) == begins[0]).expect("it is one of them");
        let pages = ids[first..].len() / 1000 + 1;
        assert_eq!(begins.len(), pages, "{begins:?}");
        for (page, begin) in begins.iter().enumerate().skip(1) {
            let last_shown = ids[first + 1000 * page - 1];
            assert_eq!(*begin, Some(last_shown + 1), "page {page}");
        }
    });
}

#[test]
fn a_key_whose_order_is_refused_is_77_and_nothing_is_pending() {
    let live = Live::entry_ahead();
    live.with(|world| world.key_may_trade = false);
    let outcome = live.run().expect_exit(77);
    assert_eq!(kind(&outcome), "key-refused");
    assert!(!live.is_pending());
    live.check();
    live.with(|world| world.key_may_trade = true);
    live.next_candle("40");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.check();
}

#[test]
fn a_key_that_is_refused_is_77_and_nothing_is_kept() {
    let live = Live::new();
    live.with(|world| world.key_is_good = false);
    let outcome = live.run().expect_exit(77);
    assert_eq!(kind(&outcome), "key-refused");
    expect_nothing_kept(&live);
}

#[test]
fn an_exchange_that_does_not_tell_the_keys_rights_is_a_warning() {
    let live = Live::new();
    live.with(|world| world.restrictions = None);
    let outcome = live.run().expect_exit(0);
    outcome.expect_said(&[
        "warn",
        "does not tell what the key may do",
        "neither withdraw nor transfer",
    ]);
    live.next_candle("21");
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live.check();
}

#[test]
fn the_first_start_says_whose_account_it_is_and_how_much_it_may_spend() {
    let live = Live::new();
    let outcome = telling(&live, live.run()).expect_exit(0);
    let account = live.with(|world| world.uid).to_string();
    let url = live.exchange.url();
    let words = ["first start", "real orders", &account, &url, "at most 150 USDT"];
    outcome.expect_said(&words);
    let messages = live.with(|world| world.messages.clone());
    assert_eq!(messages.len(), 1, "{messages:#?}");
    for word in words {
        assert!(messages[0].contains(word), "{word} in {}", messages[0]);
    }
    let log = std::fs::read_to_string(live.state().join("logs/bot.log")).expect("a log");
    assert!(log.contains(&account));
    live.next_candle("20");
    let _ = telling(&live, live.run()).expect_exit(0);
    assert_eq!(live.with(|world| world.messages.len()), 1, "told once");
}

#[test]
fn a_first_start_without_the_money_is_76_and_nothing_is_kept() {
    let live = Live::upon(Setup {
        balances: vec![("USDT", "149.99"), ("ETH", "2"), ("BTC", "1")],
        ..Setup::default()
    });
    let outcome = live.run().expect_exit(76);
    assert_eq!(kind(&outcome), "refused");
    outcome.expect_said(&["149.99", "150"]);
    assert_eq!(live.with(|world| world.posts()), 0);
    expect_nothing_kept(&live);
}

/// An account that holds nothing but money, and a newest candle that is an entry.
#[track_caller]
fn alone_before_entry() -> Live {
    let balances = vec![("USDT", "1000"), ("ETH", "0"), ("BTC", "0")];
    let live = Live::upon(Setup { balances, ..Setup::default() });
    live.expect_hold();
    live.next_candle("21");
    live
}

/// The same after the entry.
#[track_caller]
fn alone() -> Live {
    let live = alone_before_entry();
    let _ = live.run().expect_exit(0).expect_json(&[("/action", json!("buy"))]);
    live
}

/// The start of the ids of all orders of the book.
fn prefix(live: &Live) -> String {
    let id = live.with(|world| world.orders[0].client_order_id.clone());
    let parts: Vec<&str> = id.split('-').collect();
    format!("{}-{}-", parts[0], parts[1])
}

/// A run that tells by Telegram.
fn telling(live: &Live, run: Run) -> Run {
    run.env("TELEGRAM_BOT_TOKEN", "123456789:AAtoken1vGWJxfSeofSAs0K5PA")
        .env("TELEGRAM_CHAT_ID", "42")
        .env("TELEGRAM_API_URL", live.exchange.url())
}

#[track_caller]
fn expect_nothing_kept(live: &Live) {
    let kept = live.folder().snapshot();
    assert_eq!(kept, crate::support::folder::Folder::new("/nonexistent").snapshot(), "{kept:?}");
}

/// Copies a state directory as a backup does, modes included.
#[track_caller]
fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(done.is_ok_and(|status| status.success()), "cp -a");
}
