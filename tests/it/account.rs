//! Account and book: when they agree, what a ledger remembers, and the ids that orders are known by.
//! Against a second reading of the rules that keeps every order for ever.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ffi::OsString;

use clap::Parser as _;
use ouroboros::cli::Cli;
use ouroboros::config::Config;
use ouroboros::trading::account::{Account, LegAccount, Standing, compare, from_here_on, scanned};
use ouroboros::trading::book::{Book, Dust, Holding, Leaving, Position};
use ouroboros::trading::ledger::{Balances, Intent, KnownOrder, LastOrder, Ledger, Seen};
use ouroboros::trading::market::{Asset, Leg, Pair, Side, Symbol, SymbolRules};
use ouroboros::trading::money::{Amount, Price};
use ouroboros::trading::order::{Ordered, Plan, Purpose, Size, Touch};
use ouroboros::trading::settlement::{OrderSeen, Status};
use ouroboros::trading::strategy::ZScore;
use ouroboros::trading::time::{Interval, Timestamp};
use ouroboros::world;
use proptest::prelude::*;

use crate::support::clock::{HOUR, MINUTE, SECOND};
use crate::support::law::{amount_of, as_quantity, config, leg, quantity_of, step_of, units};
use crate::support::table::decimal;

// --- orders that the book does not know --------------------------------------------------------

#[test]
fn an_order_that_the_book_does_not_know() {
    let (mine, other) = (format!("{PREFIX}1709295300-B0"), "web_1234".to_owned());
    let sibling = "ouro-9876543210-1709295300-B0".to_owned();
    let (open, ended) = (Status::Open, Status::Ended);
    let rows = [
        (&mine, Status::Filled, "0.01", true),
        (&mine, ended.clone(), "0.01", true),
        (&mine, ended.clone(), "0", false),
        (&mine, Status::Rejected, "0", false),
        (&mine, Status::Rejected, "0.01", true),
        (&mine, open.clone(), "0", true),
        (&mine, open.clone(), "0.01", true),
        (&mine, Status::Unknown("MELTED".to_owned()), "0", true),
        (&other, Status::Filled, "0.01", false),
        (&other, open.clone(), "0", false),
        (&sibling, Status::Filled, "0.01", false),
        (&sibling, open, "0.01", false),
    ];
    for (id, status, executed, disagrees) in rows {
        for leg in Leg::BOTH {
            for is_in_open in [false, true] {
                let order = order(leg, 7, id, &status, executed);
                let mut account = account();
                let shown = leg_of(&mut account, leg);
                if is_in_open { &mut shown.open } else { &mut shown.orders }.push(order.clone());
                let what = format!("{id} {status:?} {executed} of {leg:?}");
                let standing = standing(&Book::unclaimed(), &ledger(), &account);
                if disagrees {
                    let Standing::Disagrees { why, unexplained } = standing else {
                        panic!("{what}: {standing:?}")
                    };
                    assert_eq!(unexplained, [known(leg, &order)], "{what}");
                    assert!(why.contains(id.as_str()), "{why}");
                } else {
                    assert_eq!(standing, Standing::Agrees, "{what}");
                }
                let knowing = Ledger { known: vec![known(leg, &order)], ..ledger() };
                assert_eq!(compared(&knowing, &account), Standing::Agrees, "{what}, known");
                let pending = Ledger { pending: Some(intent(leg, id)), ..ledger() };
                assert_eq!(compared(&pending, &account), Standing::Agrees, "{what}, pending");
                // The same number with another id, or the same id with another number: not that one.
                for (order_id, id) in [(7, "ouro-0123456789-1-B9"), (8, id.as_str())] {
                    let client_order_id = id.to_owned();
                    let stranger = KnownOrder { leg, order_id, client_order_id };
                    let ledger = Ledger { known: vec![stranger], ..ledger() };
                    let agrees = compared(&ledger, &account) == Standing::Agrees;
                    assert_eq!(agrees, !disagrees, "{what}, another is known");
                }
            }
        }
    }
}

#[test]
fn orders_of_both_legs_with_the_same_number_are_both_named() {
    // An order's number is its symbol's.
    let mut account = account();
    for (leg, id) in Leg::BOTH.into_iter().zip(["1709295300-B0", "1709295300-B1"]) {
        let order = order(leg, 7, &format!("{PREFIX}{id}"), &Status::Filled, "0.01");
        leg_of(&mut account, leg).orders.push(order);
    }
    let Standing::Disagrees { why, unexplained } = compared(&ledger(), &account) else {
        panic!("two orders that the book does not know")
    };
    assert_eq!(unexplained.len(), 2, "{why}");
    assert!(why.contains("-B0 of BTC/USDT") && why.contains("-B1 of ETH/USDT"), "{why}");
    let acknowledged = Ledger { unexplained, ..ledger() }.acknowledged();
    assert_eq!(compared(&acknowledged, &account), Standing::Agrees, "a person took note of both");
    assert!(acknowledged.unexplained.is_empty());
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn exactly_the_orders_of_ours_that_matter_and_are_not_known_are_named(
        rows in prop::collection::vec(
            (leg(), 1..6_u64, 0..4_usize, status(), prop_oneof![Just("0"), Just("0.01")], any::<bool>()),
            0..6,
        ),
        remembered in prop::collection::vec((leg(), 1..6_u64, 0..4_usize), 0..4),
        pending in prop::option::of((leg(), 0..4_usize)),
    ) {
        // A client id is one order's for ever, so the number is part of it.
        let id = |leg: Leg, number: u64, kind: usize| {
            let prefix = [PREFIX, PREFIX, "ouro-012345678-", "x"][kind];
            format!("{prefix}{leg:?}-{number}")
        };
        let mut account = account();
        let mut expected = BTreeSet::new();
        let known: Vec<KnownOrder> = remembered
            .iter()
            .map(|(leg, order_id, kind)| KnownOrder {
                leg: *leg,
                order_id: *order_id,
                client_order_id: id(*leg, *order_id, *kind),
            })
            .collect();
        let pending = pending.map(|(leg, kind)| (leg, id(Leg::Numerator, 1, kind)));
        for (leg, number, kind, status, executed, is_in_open) in &rows {
            let order = order(*leg, *number, &id(*leg, *number, *kind), status, executed);
            let is_open = matches!(status, Status::Open | Status::Unknown(_));
            let matters = is_open || *executed != "0";
            let mine = order.client_order_id.starts_with(PREFIX);
            let is_pending = pending.as_ref().is_some_and(|(_, id)| *id == order.client_order_id);
            let is_known = known.contains(&self::known(*leg, &order));
            if mine && matters && !is_pending && !is_known {
                expected.insert((*leg, *number, order.client_order_id.clone()));
            }
            let shown = leg_of(&mut account, *leg);
            if *is_in_open { &mut shown.open } else { &mut shown.orders }.push(order);
        }
        let pending = pending.map(|(leg, id)| intent(leg, &id));
        let ledger = Ledger { known, pending, ..ledger() };
        let named = match compared(&ledger, &account) {
            Standing::Disagrees { unexplained, .. } => unexplained,
            Standing::Agrees => Vec::new(),
            Standing::Lags => return Err(TestCaseError::fail("nothing was executed")),
        };
        let count = named.len();
        let named: BTreeSet<_> = named
            .into_iter()
            .map(|known| (known.leg, known.order_id, known.client_order_id))
            .collect();
        prop_assert_eq!(named.len(), count, "none is named twice");
        prop_assert_eq!(named, expected);
    }

    // --- balances ------------------------------------------------------------------------------

    #[test]
    fn less_than_the_book_says_by_more_than_a_step_is_a_disagreement(
        leg in leg(),
        held in prop::option::of(1..1_000_000_i128),
        dust in [0..1_000_i128, 0..1_000_i128],
        steps in [1..1_000_i128, 1..1_000_i128],
        // What the account has more than the book, for each leg.
        more in [-1_200..1_200_i128, -1_200..1_200_i128],
        leaves in any::<bool>(),
    ) {
        let book = book(leg, held, dust, leaves);
        let mut account = account();
        let mut missing = false;
        for (place, at) in Leg::BOTH.into_iter().enumerate() {
            let held = held.filter(|_| at == leg).unwrap_or(0);
            let free = (held + dust[place] + more[place]).max(0);
            missing |= held + dust[place] - free > steps[place];
            leg_of(&mut account, at).free = quantity_of(free);
        }
        let steps = steps.map(step_of);
        let standing =
            compare(&book, &ledger(), &account, &pair(), PREFIX, steps, 660).expect("small");
        match standing {
            Standing::Agrees => prop_assert!(!missing, "coins are missing"),
            Standing::Disagrees { why, unexplained } => {
                prop_assert!(missing && unexplained.is_empty(), "{why}");
                prop_assert!(why.contains("missing"), "{why}");
            }
            Standing::Lags => prop_assert!(false, "there was no order"),
        }
    }

    #[test]
    fn an_account_that_shows_what_was_before_the_last_order_lags_for_a_while(
        leg in leg(),
        before in [units(), units()],
        off in [prop_oneof![3 => Just(0), 1 => 1..1_000_i128], prop_oneof![3 => Just(0), 1 => 1..1_000_i128]],
        age_ms in prop_oneof![0..2_000_000_i64, 659_990..660_010_i64],
        settle_seconds in prop_oneof![Just(660_u32), 60..86_400_u32],
        bought in 2..1_000_000_i128,
        is_missing in any::<bool>(),
    ) {
        let book = book(leg, Some(bought), [0, 0], false);
        let balances = |[base, quote]: [i128; 2]| Balances {
            base: quantity_of(base),
            quote: amount_of(quote),
        };
        let last = LastOrder { leg, before: balances(before), at: now().plus_millis(-age_ms) };
        let ledger = Ledger { last: Some(last), ..ledger() };
        let mut account = account();
        let shown = leg_of(&mut account, leg);
        shown.free = quantity_of(if is_missing { 0 } else { bought });
        shown.total = balances([before[0] + off[0], before[1] + off[1]]);
        // The other leg's balances say nothing about this order.
        let other = if leg == Leg::Numerator { Leg::Denominator } else { Leg::Numerator };
        leg_of(&mut account, other).total = balances(before);
        let steps = [step_of(1), step_of(1)];
        let standing = compare(&book, &ledger, &account, &pair(), PREFIX, steps, settle_seconds);
        let standing = standing.expect("everyday numbers");
        // Whatever else moved: what is missing, or not changed, may be of any time before the order.
        let is_recent = age_ms < i64::from(settle_seconds) * SECOND;
        let lags = is_recent && (is_missing || off[0] == 0);
        prop_assert_eq!(standing == Standing::Lags, lags, "{:?}", standing);
        let disagrees = is_missing && !is_recent;
        prop_assert_eq!(matches!(standing, Standing::Disagrees { .. }), disagrees, "{:?}", standing);
        // What the book does not know is said even while the account lags.
        let id = format!("{PREFIX}1-B0");
        leg_of(&mut account, leg).open.push(order(leg, 9, &id, &Status::Open, "0"));
        let standing = compare(&book, &ledger, &account, &pair(), PREFIX, steps, settle_seconds);
        prop_assert!(matches!(standing, Ok(Standing::Disagrees { .. })), "{standing:?}");
    }

    // --- scanning ------------------------------------------------------------------------------

    #[test]
    fn scanning_forgets_nothing_that_could_still_be_shown(
        events in prop::collection::vec(event(), 1..40),
    ) {
        let mut history = History::new();
        for event in events {
            history.live_through(event)?;
        }
    }

    #[test]
    fn a_book_that_begins_now_knows_every_order_that_was_there(
        orders in prop::collection::vec((leg(), 1..50_u64), 0..12),
        later in (leg(), 1..10_u64),
    ) {
        let mut account = account();
        for (leg, number) in &orders {
            let id = format!("{PREFIX}{number}-{leg:?}");
            leg_of(&mut account, *leg).orders.push(order(*leg, *number, &id, &Status::Filled, "0.01"));
        }
        let ledger = from_here_on(Ledger::open(UID), &account);
        for leg in Leg::BOTH {
            let newest = account.leg(leg).orders.iter().map(|order| order.order_id).max();
            prop_assert_eq!(ledger.seen.of(leg), newest);
            // What is shown from then on begins with the newest.
            let seen = ledger.seen.of(leg);
            leg_of(&mut account, leg).orders.retain(|order| Some(order.order_id) >= seen);
        }
        prop_assert_eq!(compared(&ledger, &account), Standing::Agrees);
        let (leg, more) = later;
        let number = ledger.seen.of(leg).unwrap_or(0) + more;
        let id = format!("{PREFIX}{number}-{leg:?}");
        leg_of(&mut account, leg).orders.push(order(leg, number, &id, &Status::Filled, "0.01"));
        let is_known = matches!(compared(&ledger, &account), Standing::Agrees);
        prop_assert!(!is_known, "one that comes later is not known");
    }

    // --- the ledger ----------------------------------------------------------------------------

    #[test]
    fn an_order_that_is_over_is_known_if_something_was_executed(
        leg in leg(),
        order_id in prop::option::of(1..1_000_u64),
        pending in any::<bool>(),
        millis in 0..1_000_000_000_i64,
    ) {
        let id = format!("{PREFIX}1709295300-B0");
        let at = now().plus_millis(millis);
        let mut before = ledger();
        before.known.push(known(leg, &order(leg, 3, "ouro-0123456789-1-B0", &Status::Filled, "1")));
        before.last = Some(LastOrder { leg, before: Balances::default(), at: now() });
        before.pending = pending.then(|| intent(leg, &id));
        let after = before.clone().settled(order_id, at);
        prop_assert!(after.pending.is_none());
        if let Some(order_id) = order_id.filter(|_| pending) {
            prop_assert_eq!(&after.known[..1], &before.known[..]);
            let mine = KnownOrder { leg, order_id, client_order_id: id.clone() };
            prop_assert_eq!(&after.known[1..], &[mine]);
            let last = after.last.as_ref().expect("something was executed");
            let intent = intent(leg, &id);
            prop_assert_eq!((last.leg, last.before, last.at), (leg, intent.before, at));
        } else {
            let expected = Ledger { pending: None, ..before.clone() };
            prop_assert_eq!(&after, &expected, "nothing was executed");
        }
        prop_assert_eq!((after.uid, after.seen), (before.uid, before.seen));
    }

    #[test]
    fn no_such_order_is_believed_only_after_everything_that_may_take_its_time(
        stamp in 0..4_000_000_000_000_i64,
        recv_window_ms in 1..=60_000_u32,
        settle_seconds in 60..=86_400_u32,
    ) {
        let timestamp = Timestamp::from_millis(stamp).expect("within the calendar");
        let intent = Intent { timestamp, recv_window_ms, ..intent(Leg::Numerator, "x") };
        let wait = i64::from(recv_window_ms) + 10 * SECOND + i64::from(settle_seconds) * SECOND;
        prop_assert_eq!(intent.final_after(settle_seconds).as_millis(), stamp + wait);
    }
}

#[test]
fn a_scan_that_meets_nothing_newer_forgets_nothing() {
    // An old order of ours that is still open was acknowledged; its number is below the scan's.
    let old = order(Leg::Numerator, 5, &format!("{PREFIX}1-B0"), &Status::Open, "0");
    let before = Ledger {
        known: vec![known(Leg::Numerator, &old)],
        seen: Seen { numerator: Some(10), denominator: None },
        ..ledger()
    };
    for number in [9, 10] {
        let mut account = account();
        let time = now().plus_millis(-2 * HOUR);
        let met = order(Leg::Numerator, number, "web_1", &Status::Filled, "1");
        leg_of(&mut account, Leg::Numerator).orders.push(OrderSeen { time, ..met });
        assert_eq!(scanned(before.clone(), &account), before, "{number}");
    }
}

#[test]
fn an_order_is_found_wherever_the_account_shows_it() {
    let (mine, other) = (format!("{PREFIX}1709295300-B0"), "web_1234");
    for leg in Leg::BOTH {
        for is_in_open in [false, true] {
            let mut account = account();
            let mut show = |number, id: &str| {
                let shown = leg_of(&mut account, leg);
                let order = order(leg, number, id, &Status::Ended, "0");
                if is_in_open { &mut shown.open } else { &mut shown.orders }.push(order);
                (account.has(&mine), account.has(other), account.any_own(PREFIX).cloned())
            };
            assert_eq!(show(6, "web_1"), (false, false, None));
            assert_eq!(show(7, other), (false, true, None));
            let (has_mine, has_other, own) = show(8, &mine);
            assert!(has_mine && has_other);
            assert_eq!(own.map(|order| order.client_order_id), Some(mine.clone()));
        }
    }
    assert!(!account().has(&mine) && account().any_own(PREFIX).is_none());
}

#[test]
fn a_book_has_an_open_order_exactly_if_its_ledger_has_one() {
    let intent = intent(Leg::Numerator, "x");
    let open = Ledger { pending: Some(intent.clone()), ..ledger() };
    let over = Ledger { pending: None, ..ledger() };
    for (ledger, expected) in [(None, None), (Some(over), None), (Some(open), Some(&intent))] {
        let book = Book { ledger, ..Book::unclaimed() };
        assert_eq!(book.pending(), expected);
    }
}

/// What happens at the exchange and here, one thing after the other.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// Nothing, for so long.
    Wait(i64),
    /// An order of this kind is accepted; it shows up so much later.
    Order { leg: Leg, whose: Whose, executed: bool, shows_after: i64 },
    /// A run looks.
    Scan,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Ours, and settled by the book.
    Booked,
    /// With our prefix, but not in the book.
    Foreign,
    /// Somebody's.
    Other,
}

/// The exchange's own list, and a ledger that is shown only what it asks for.
struct History {
    now: Timestamp,
    next: u64,
    all: Vec<(Leg, Whose, bool, Timestamp, OrderSeen)>,
    ledger: Ledger,
    /// Numbers of orders that were found and that a person took note of.
    noted: HashSet<u64>,
}

impl History {
    fn new() -> Self {
        let (next, noted) = (100, HashSet::new());
        Self { now: now(), next, all: Vec::new(), ledger: Ledger::open(UID), noted }
    }

    fn live_through(&mut self, event: Event) -> Result<(), TestCaseError> {
        match event {
            Event::Wait(millis) => self.now = self.now.plus_millis(millis),
            Event::Order { leg, whose, executed, shows_after } => {
                self.next += 1;
                let number = self.next;
                let prefix = if whose == Whose::Other { "web" } else { PREFIX };
                let id = format!("{prefix}{number}");
                let coins = if executed { "0.01" } else { "0" };
                let mut order = order(leg, number, &id, &Status::Ended, coins);
                order.time = self.now;
                let shows = self.now.plus_millis(shows_after);
                if whose == Whose::Booked {
                    self.ledger.pending = Some(intent(leg, &id));
                    let executed = executed.then_some(number);
                    self.ledger = self.ledger.clone().settled(executed, self.now);
                    // The balances are another test's.
                    self.ledger.last = None;
                }
                self.all.push((leg, whose, executed, shows, order));
            }
            Event::Scan => self.scan()?,
        }
        Ok(())
    }

    fn scan(&mut self) -> Result<(), TestCaseError> {
        let mut account = Account { at: self.now, ..account() };
        let mut unknown = BTreeSet::new();
        for (leg, whose, executed, shows, order) in &self.all {
            let asked = Some(order.order_id) >= self.ledger.seen.of(*leg);
            if *shows <= self.now && asked {
                leg_of(&mut account, *leg).orders.push(order.clone());
            }
            let is_new = !self.noted.contains(&order.order_id);
            if *whose == Whose::Foreign && *executed && *shows <= self.now && is_new {
                unknown.insert(order.order_id);
            }
        }
        match compared(&self.ledger, &account) {
            Standing::Agrees => prop_assert!(unknown.is_empty(), "{unknown:?} were not found"),
            Standing::Disagrees { unexplained, why } => {
                let named: BTreeSet<u64> = unexplained.iter().map(|order| order.order_id).collect();
                prop_assert_eq!(&named, &unknown, "{}", why);
                self.noted.extend(named);
                let halted = Ledger { unexplained, ..self.ledger.clone() };
                self.ledger = halted.acknowledged();
                prop_assert_eq!(compared(&self.ledger, &account), Standing::Agrees);
            }
            Standing::Lags => prop_assert!(false, "there was no order"),
        }
        let before = self.ledger.clone();
        self.ledger = scanned(before.clone(), &account);
        let after = &self.ledger;
        for leg in Leg::BOTH {
            prop_assert!(after.seen.of(leg) >= before.seen.of(leg), "a watermark never falls");
            for (at, _, _, _, order) in &self.all {
                let age = self.now.millis_since(order.time);
                if *at == leg && age <= HOUR {
                    let looked_at_again = Some(order.order_id) >= after.seen.of(leg);
                    prop_assert!(looked_at_again, "{} is {age} ms old", order.order_id);
                }
            }
            // Old ones are not looked at for ever.
            let shown = &account.leg(leg).orders;
            let old = shown.iter().filter(|order| self.now.millis_since(order.time) > HOUR);
            let old = old.map(|order| order.order_id).max();
            prop_assert!(after.seen.of(leg) >= old, "{old:?} is looked at again");
        }
        let expected: Vec<_> = before
            .known
            .iter()
            .filter(|known| Some(known.order_id) >= after.seen.of(known.leg))
            .collect();
        for known in expected {
            prop_assert!(after.known.contains(known), "{known:?} could be shown again");
        }
        prop_assert!(after.known.iter().all(|known| before.known.contains(known)));
        let same = Ledger { seen: before.seen, known: before.known.clone(), ..after.clone() };
        prop_assert_eq!(same, before, "and nothing else changes");
        Ok(())
    }
}

fn event() -> impl Strategy<Value = Event> {
    let wait = prop_oneof![0..2 * HOUR, HOUR - 2..HOUR + 2, 0..MINUTE].prop_map(Event::Wait);
    let whose = prop::sample::select(vec![Whose::Booked, Whose::Foreign, Whose::Other]);
    // Within the hour: what shows up later than that is not found, which the documents say.
    let order = (leg(), whose, any::<bool>(), prop_oneof![Just(0), 0..=HOUR / 2]);
    let order = order.prop_map(|(leg, whose, executed, shows_after)| Event::Order {
        leg,
        whose,
        executed,
        shows_after,
    });
    prop_oneof![3 => wait, 3 => order, 4 => Just(Event::Scan)]
}

#[test]
fn an_order_of_exactly_an_hour_is_looked_at_again() {
    for (age, seen) in [(HOUR, None), (HOUR + 1, Some(7))] {
        let mut account = account();
        let mut order = order(Leg::Denominator, 7, "web", &Status::Filled, "0.01");
        order.time = now().plus_millis(-age);
        leg_of(&mut account, Leg::Denominator).orders.push(order);
        let ledger = scanned(ledger(), &account);
        assert_eq!(ledger.seen, Seen { numerator: None, denominator: seen }, "{age}");
    }
}

#[test]
fn an_old_answer_lowers_no_watermark() {
    let mut account = account();
    let mut order = order(Leg::Numerator, 50, "web", &Status::Filled, "0.01");
    order.time = now().plus_millis(-2 * HOUR);
    leg_of(&mut account, Leg::Numerator).orders.push(order);
    let seen = Seen { numerator: Some(100), denominator: None };
    assert_eq!(scanned(Ledger { seen, ..ledger() }, &account).seen, seen);
}

// --- ids ---------------------------------------------------------------------------------------

#[test]
fn an_id_is_one_orders_and_fits_what_the_exchange_takes() {
    let mut ids = BTreeMap::new();
    let long = format!("{}/USDT", "A1".repeat(10));
    let pairs = [
        ("BTC/USDT", "ETH/USDT"),
        ("ETH/USDT", "BTC/USDT"),
        ("BTC/EUR", "ETH/EUR"),
        (&long, "ETHUSDT"),
    ];
    for (numerator, denominator) in pairs {
        for timeframe in Interval::ALL {
            for is_live in [false, true] {
                let config = loaded(numerator, denominator, timeframe.name(), is_live);
                for account in [None, Some(1), Some(12), Some(u64::MAX)] {
                    expect_fresh_ids(&mut ids, &config, account);
                }
            }
        }
    }
    assert_eq!(ids.len(), 4 * 12 * 2 * 4 * 3 * 2 * 5);
}

fn expect_fresh_ids(ids: &mut BTreeMap<String, String>, config: &Config, account: Option<u64>) {
    let ledger = account.map(Ledger::open);
    let prefix = world::order_prefix(config, ledger.as_ref());
    // From 2001 to 2286, and one more order than any candle can have runs for.
    for millis in [1_000_000_000_000, 1_709_295_300_000, 9_999_999_960_000] {
        let candle = Timestamp::from_millis(millis).expect("within the calendar");
        for side in [Side::Buy, Side::Sell] {
            for attempts in [0, 1, 10, 100, 99_999_999] {
                let book = Book { attempts, ledger: ledger.clone(), ..Book::unclaimed() };
                let id = world::order_id(config, &book, candle, side);
                let (mode, interval) = (config.mode.name(), config.rules.interval);
                let what = format!(
                    "{mode} {account:?} {}/{} {interval} {candle} {side} {attempts}",
                    config.pair,
                    config.pair.quote()
                );
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
                assert!(id.len() <= 36 && id.bytes().all(plain), "{id}: {what}");
                assert!(id.starts_with(&prefix) && id.len() > prefix.len(), "{id}: {what}");
                assert_eq!(id, world::order_id(config, &book, candle, side), "a function of it");
                if let Some(other) = ids.insert(id.clone(), what.clone()) {
                    panic!("{id} is {other} and {what}");
                }
            }
        }
    }
}

#[test]
fn an_id_depends_on_nothing_but_what_names_the_order() {
    let config = loaded("BTC/USDT", "ETH/USDT", "15m", true);
    let plain = Book { ledger: Some(Ledger::open(UID)), attempts: 1, ..Book::unclaimed() };
    let mut other = Book { attempts: 1, ..book(Leg::Numerator, Some(5), [1, 2], true) };
    other.ledger = Some(Ledger {
        last: Some(LastOrder { leg: Leg::Numerator, before: Balances::default(), at: now() }),
        seen: Seen { numerator: Some(3), denominator: None },
        ..Ledger::open(UID)
    });
    other.round_trips = 9;
    for side in [Side::Buy, Side::Sell] {
        let id = |book| world::order_id(&config, book, now(), side);
        assert_eq!(id(&plain), id(&other), "a second host or a backup computes the same");
    }
    let prefix = world::order_prefix(&config, plain.ledger.as_ref());
    assert_eq!(prefix, world::order_prefix(&config, other.ledger.as_ref()));
}

fn loaded(numerator: &str, denominator: &str, timeframe: &str, is_live: bool) -> Config {
    let cli = Cli::parse_from(["ouroboros", "--env-file", "/dev/null"]);
    let settings = [
        ("SYMBOL_BASE", numerator),
        ("SYMBOL_QUOTE", denominator),
        ("TIMEFRAME", timeframe),
        ("DRY_RUN", if is_live { "false" } else { "true" }),
        ("BINANCE_API_KEY", "MARKEDapikey"),
        ("BINANCE_API_SECRET", "MARKEDapisecret"),
    ];
    let settings = settings.map(|(name, value)| (OsString::from(name), OsString::from(value)));
    Config::load(&cli.options, settings.into()).expect("sound settings")
}

// --- accounts and books ------------------------------------------------------------------------

const UID: u64 = 42;
const PREFIX: &str = "ouro-0123456789-";

fn now() -> Timestamp {
    "2024-03-01T12:15:00Z".parse().expect("a moment")
}

fn ledger() -> Ledger {
    Ledger::open(UID)
}

/// More than enough of everything, and no orders.
fn account() -> Account {
    let leg = || LegAccount {
        free: as_quantity(decimal("1000000")),
        total: Balances { base: as_quantity(decimal("1000000")), quote: Amount::ZERO },
        orders: Vec::new(),
        open: Vec::new(),
    };
    Account { uid: UID, can_trade: true, at: now(), legs: [leg(), leg()], free_quote: Amount::ZERO }
}

fn leg_of(account: &mut Account, leg: Leg) -> &mut LegAccount {
    &mut account.legs[usize::from(leg == Leg::Denominator)]
}

fn standing(book: &Book, ledger: &Ledger, account: &Account) -> Standing {
    let steps = [step_of(1), step_of(1)];
    compare(book, ledger, account, &pair(), PREFIX, steps, 660).expect("small numbers")
}

fn compared(ledger: &Ledger, account: &Account) -> Standing {
    standing(&Book::unclaimed(), ledger, account)
}

fn book(leg: Leg, held: Option<i128>, dust: [i128; 2], leaves: bool) -> Book {
    let [numerator, denominator] = dust.map(quantity_of);
    let price = Price::new(decimal("3100")).expect("a price");
    let position = held.map(|held| Holding {
        leg,
        quantity: quantity_of(held),
        cost: amount_of(1),
        proceeds: Amount::ZERO,
        entry_price: price,
        entry_z: ZScore::new(2.5),
        entry_candle: now(),
    });
    let position = match position {
        Some(holding) if leaves => Position::Leaving(Leaving { holding, cools: false }),
        Some(holding) => Position::Holding(holding),
        None => Position::Flat { cooling: leaves },
    };
    Book { position, dust: Dust { numerator, denominator }, ..Book::unclaimed() }
}

fn order(leg: Leg, order_id: u64, id: &str, status: &Status, executed: &str) -> OrderSeen {
    OrderSeen {
        symbol: pair().symbol(leg).code(),
        order_id,
        client_order_id: id.to_owned(),
        side: Side::Buy,
        kind: "MARKET".to_owned(),
        status: status.clone(),
        quantity: as_quantity(decimal("0.03")),
        quote_amount: Amount::ZERO,
        executed: as_quantity(decimal(executed)),
        quote: None,
        time: now(),
    }
}

fn known(leg: Leg, order: &OrderSeen) -> KnownOrder {
    let client_order_id = order.client_order_id.clone();
    KnownOrder { leg, order_id: order.order_id, client_order_id }
}

fn intent(leg: Leg, id: &str) -> Intent {
    let quantity = as_quantity(decimal("0.03"));
    let plan = Plan { side: Side::Sell, size: Size::Base(quantity), limit: None };
    Intent {
        client_order_id: id.to_owned(),
        candle: now(),
        ordered: Ordered { leg, purpose: Purpose::Exit { cools: false }, plan },
        touch: Touch {
            price: Price::new(decimal("3100")).expect("a price"),
            rules: SymbolRules::unlimited(),
        },
        timestamp: now(),
        recv_window_ms: 5000,
        before: Balances { base: quantity, quote: Amount::ZERO },
        newest_order: None,
    }
}

fn pair() -> Pair {
    let asset = |code: &str| Asset::new(code).expect("an asset");
    let symbol = |code: &str| Symbol { base: asset(code), quote: asset("USDT") };
    Pair::new(symbol("BTC"), symbol("ETH")).expect("two legs")
}

fn status() -> impl Strategy<Value = Status> {
    prop::sample::select(vec![
        Status::Open,
        Status::Filled,
        Status::Ended,
        Status::Rejected,
        Status::Unknown("MELTED".to_owned()),
    ])
}
