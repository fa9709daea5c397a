//! Connections that break: 69, the message says what was asked and what came, not a byte of the book
//! changes, and the next good run goes on. What takes long is in `bounded`.
//!
//! Rules that came are kept for a day, so they are spoilt before the price that is asked for with them.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use serde_json::json;

use crate::support::binance::Server;
use crate::support::desk::{Desk, home};
use crate::support::fault::{Fault, Response};
use crate::support::run::Run;
use crate::support::table::spreads;
use crate::support::tls::{Flaw, Front};

/// One byte more than is read of any answer.
const TOO_MUCH: usize = 1024 * 1024 + 1;

#[test]
fn a_status_that_is_no_success() {
    let desk = Desk::entry_ahead();
    for status in
        [301, 302, 303, 307, 308, 400, 401, 403, 404, 408, 409, 451, 500, 501, 502, 503, 504]
    {
        let words = status.to_string();
        desk.server.fault("klines ETHUSDT", Fault::status(status));
        desk.expect_refused(69, &[&words]);
        desk.server.heal();
        desk.server.fault("klines ETHUSDT", Fault::html(status));
        desk.expect_refused(69, &[&words]);
        desk.server.heal();
    }
    desk.expect_buy();
}

#[test]
fn a_status_that_is_no_success_for_prices_and_rules() {
    let desk = Desk::entry_ahead();
    for target in ["exchangeInfo", "bookTicker"] {
        for status in [302, 403, 404, 500, 503] {
            desk.server.fault(target, Fault::status(status));
            desk.expect_refused(69, &[&status.to_string()]);
            desk.server.heal();
        }
    }
    desk.expect_buy();
}

#[test]
fn what_binance_says_is_passed_on() {
    let desk = Desk::entry_ahead();
    let body = r#"{"code":-1100,"msg":"Illegal characters found in a parameter."}"#;
    desk.server.fault("klines", Fault::json(400, body));
    desk.expect_refused(69, &["-1100", "Illegal characters"]);
}

#[test]
fn an_error_of_binance_under_a_good_status() {
    let desk = Desk::entry_ahead();
    desk.server
        .fault("klines", Fault::body(r#"{"code":-1000,"msg":"An unknown error occurred."}"#));
    desk.expect_refused(69, &[]);
    desk.server.heal();
    desk.expect_buy();
}

#[test]
fn a_connection_that_breaks_in_any_way() {
    let desk = Desk::entry_ahead();
    let faults = [
        Fault::Close,
        Fault::Reset,
        Fault::BrokenChunks,
        Fault::WrongLength(100),
        Fault::WrongLength(-20),
    ];
    for target in ["klines", "klines BTCUSDT", "exchangeInfo", "bookTicker"] {
        for fault in &faults {
            desk.server.fault(target, fault.clone());
            desk.expect_refused(69, &[]);
            desk.server.heal();
        }
    }
    desk.expect_buy();
}

#[test]
fn more_than_a_mebibyte_is_not_read() {
    let desk = Desk::entry_ahead();
    for target in ["klines ETHUSDT", "exchangeInfo", "bookTicker"] {
        for chunked in [false, true] {
            desk.server.fault(target, Fault::Blanks { count: TOO_MUCH, chunked });
            desk.expect_refused(69, &[]);
            desk.server.heal();
        }
    }
    desk.expect_buy();
}

#[test]
fn an_answer_in_good_chunks_is_an_answer() {
    let desk = Desk::entry_ahead();
    desk.server.fault("/api", Fault::Blanks { count: 7, chunked: true });
    desk.expect_buy();
}

#[test]
fn no_redirect_is_followed() {
    let desk = Desk::entry_ahead();
    let other = Server::start(spreads("20 20 20 21"));
    for target in ["klines", "exchangeInfo", "bookTicker"] {
        for status in [301, 302, 303, 307, 308] {
            for location in ["/elsewhere", &format!("{}/elsewhere", other.url())] {
                desk.server.fault(target, Fault::redirect(status, location));
                desk.expect_refused(69, &[&status.to_string()]);
                desk.server.heal();
            }
        }
    }
    assert!(desk.server.requests_to("elsewhere").is_empty());
    assert!(other.requests().is_empty());
}

#[test]
fn a_redirect_to_itself_is_no_circle() {
    let desk = Desk::entry_ahead();
    desk.server.forget();
    desk.server.fault("klines", Fault::redirect(302, "/api/v3/klines"));
    desk.expect_refused(69, &["302"]);
    assert!(desk.server.requests().len() <= 25);
}

#[test]
fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    let desk = Desk::entry_ahead();
    let before = desk.paper().snapshot();
    let outcome = desk.run().env("BINANCE_MARKET_URL", &url).expect_exit(69);
    assert_eq!(before, desk.paper().snapshot());
    outcome.expect_said(&["127.0.0.1"]);
    desk.expect_buy();
}

#[test]
fn a_name_that_nobody_knows() {
    let desk = Desk::entry_ahead();
    let before = desk.paper().snapshot();
    // `.invalid` never resolves: RFC 2606.
    let outcome = desk.run().env("BINANCE_MARKET_URL", "https://nobody.invalid").expect_exit(69);
    assert_eq!(before, desk.paper().snapshot());
    outcome.expect_said(&["nobody.invalid"]);
    desk.expect_buy();
}

#[test]
fn the_proxy_of_the_environment_is_not_asked() {
    let desk = Desk::new(spreads("20 20 20 21"));
    let proxy = Server::start(spreads("20 20 20 21"));
    let run = ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
        .iter()
        .fold(desk.run(), |run, name| run.env(name, proxy.url()));
    let _ = run.expect_exit(0);
    assert!(proxy.requests().is_empty());
}

#[test]
fn a_certificate_of_a_root_that_was_named_is_trusted() {
    let (folder, server) = (home(), Server::start(spreads("20 20 20 21")));
    let front = Front::start(server.address(), Flaw::None);
    let outcome = tls_run(folder.path(), &server, &front, true).expect_exit(0);
    outcome.expect_json(&[("/action", json!("buy"))]);
}

#[test]
fn a_certificate_of_an_unknown_root_is_not_trusted() {
    let (folder, server) = (home(), Server::start(spreads("20 20 20 21")));
    let front = Front::start(server.address(), Flaw::None);
    let outcome = tls_run(folder.path(), &server, &front, false).expect_exit(69);
    outcome.expect_said(&["certificate"]);
    assert!(server.requests().is_empty());
}

#[test]
fn a_certificate_that_is_over_or_for_another_name_is_not_trusted() {
    for flaw in [Flaw::Expired, Flaw::WrongName] {
        let (folder, server) = (home(), Server::start(spreads("20 20 20 21")));
        let front = Front::start(server.address(), flaw);
        let outcome = tls_run(folder.path(), &server, &front, true).expect_exit(69);
        outcome.expect_said(&["certificate"]);
        assert!(server.requests().is_empty());
    }
}

#[test]
fn plain_http_where_tls_was_asked_for() {
    let desk = Desk::entry_ahead();
    let url = desk.server.url().replace("http://", "https://");
    let before = desk.paper().snapshot();
    let _ = desk.run().env("BINANCE_MARKET_URL", &url).expect_exit(69);
    assert_eq!(before, desk.paper().snapshot());
    desk.expect_buy();
}

#[test]
fn headers_without_end_are_not_read() {
    let desk = Desk::entry_ahead();
    let many = (0..4_000).fold(Response::new(200, "[]"), |answer, number| {
        answer.with(&format!("X-Filler-{number}"), &"x".repeat(500))
    });
    desk.server.fault("klines", Fault::Answer(many));
    desk.expect_refused(69, &[]);
    desk.server.heal();
    desk.expect_buy();
}

/// A run through TLS, with the test's root among the trusted ones or not.
fn tls_run(folder: &Path, server: &Server, front: &Front, trusted: bool) -> Run {
    let run = Run::paper(&folder.join("cwd"), server)
        .args(["--json"])
        .state_dir(&folder.join("state"))
        .env("BINANCE_MARKET_URL", front.url());
    if !trusted {
        return run;
    }
    let pem = folder.join("root.pem");
    fs::write(&pem, &front.root_pem).expect("a file is written");
    run.env("SSL_CERT_FILE", pem)
}
