//! Whatever the network does, a run ends within 45 seconds. The slow ones, all at the same time.

use std::thread;
use std::time::Duration;

use crate::support::desk::Desk;
use crate::support::fault::Fault;
use crate::support::table::spreads;

/// A server that is slow in one way, and the exit codes that answer it.
struct Slow {
    name: &'static str,
    faults: Vec<(&'static str, Fault)>,
    codes: &'static [i32],
}

#[test]
fn whatever_the_network_does_a_run_ends_within_45_seconds() {
    let nine = Fault::Delay(Duration::from_secs(9));
    let fourteen = Fault::Delay(Duration::from_secs(14));
    let slow = |name, codes, faults: &[(&'static str, &Fault)]| Slow {
        name,
        codes,
        faults: faults.iter().map(|(target, fault)| (*target, (*fault).clone())).collect(),
    };
    let (silence, drip, drip_head) = (&Fault::Silence, &Fault::DripBody, &Fault::DripHead);
    let half = &Fault::HeadersThenSilence;
    let scenarios = [
        slow("candles: silence", UNREACHABLE, &[("klines", silence)]),
        slow("candles of one leg: silence", UNREACHABLE, &[("klines ETHUSDT", silence)]),
        slow("candles: headers, then silence", UNREACHABLE, &[("klines", half)]),
        slow("candles: a byte a second", UNREACHABLE, &[("klines", drip)]),
        slow("candles: a byte of the headers a second", UNREACHABLE, &[("klines", drip_head)]),
        slow("price: silence", UNREACHABLE, &[("bookTicker", silence)]),
        slow("price: a byte a second", UNREACHABLE, &[("bookTicker", drip)]),
        slow("rules: headers, then silence", UNREACHABLE, &[("exchangeInfo", half)]),
        slow("Telegram: silence", DONE, &[("/bot", silence)]),
        slow("Telegram: a byte a second", DONE, &[("/bot", drip_head)]),
        slow("health check: silence", DONE, &[("/ping", silence)]),
        slow("health check: a byte a second", DONE, &[("/ping", drip)]),
        slow("both of them: silence", DONE, &[("/bot", silence), ("/ping", silence)]),
        slow("everything: silence", UNREACHABLE, &[("/", silence)]),
        slow("everything: a byte a second", UNREACHABLE, &[("/", drip)]),
        slow("everything: nine seconds late", EITHER, &[("/", &nine)]),
        slow("everything: fourteen seconds late", EITHER, &[("/", &fourteen)]),
        slow(
            "candles nine seconds late, the rest silent",
            UNREACHABLE,
            &[
                ("klines", &nine),
                ("exchangeInfo", silence),
                ("bookTicker", silence),
                ("/bot", silence),
                ("/ping", silence),
            ],
        ),
        slow(
            "prices nine seconds late, then nobody to tell",
            EITHER,
            &[("/api", &nine), ("/bot", drip_head), ("/ping", drip_head)],
        ),
    ];
    let failures: Vec<String> = thread::scope(|scope| {
        let handles: Vec<_> = scenarios
            .into_iter()
            .map(|slow| (slow.name, scope.spawn(move || play(slow))))
            .collect();
        let failed = |(name, handle): (&str, thread::ScopedJoinHandle<'_, Result<(), String>>)| {
            let result = handle.join().unwrap_or_else(|_| Err("it panicked, see above".to_owned()));
            result.err().map(|problem| format!("{name}: {problem}"))
        };
        handles.into_iter().filter_map(failed).collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}

fn play(slow: Slow) -> Result<(), String> {
    let desk = Desk::daily(spreads("20 20 20 21"), 0);
    for (target, fault) in slow.faults {
        desk.server.fault(target, fault);
    }
    let url = desk.server.url();
    let outcome = desk
        .run()
        .env("TELEGRAM_BOT_TOKEN", "123456789:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw9")
        .env("TELEGRAM_CHAT_ID", "42")
        .env("TELEGRAM_API_URL", &url)
        .env("HEALTHCHECK_URL", format!("{url}/ping/1"))
        .start()
        .wait();
    if outcome.took > Duration::from_secs(45) {
        return Err(format!("too long\n{}", outcome.transcript()));
    }
    if !slow.codes.contains(&outcome.code) {
        return Err(format!("not one of {:?}\n{}", slow.codes, outcome.transcript()));
    }
    let bought =
        desk.paper().join("state.json").exists() && desk.status()["state"] == "HOLDING_ETH";
    if bought != (outcome.code == 0) {
        return Err(format!("exit and book differ\n{}", outcome.transcript()));
    }
    desk.server.heal();
    let told = desk.run().expect_exit(0).json();
    let expected = if bought { "already-processed" } else { "buy" };
    if told["action"] == expected { Ok(()) } else { Err(format!("afterwards {told:#}")) }
}

const DONE: &[i32] = &[0];
const EITHER: &[i32] = &[0, 69, 75];
const UNREACHABLE: &[i32] = &[69];
