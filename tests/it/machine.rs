//! The machine as a table, a row a situation; and beside it every combination against laws.

use ouroboros::trading::book::{Book, Day, Holding, Leaving, Position};
use ouroboros::trading::candle::{Distrust, Fault};
use ouroboros::trading::machine::{self, Cause, Decision, Rules, Signal, Stay, Transition};
use ouroboros::trading::market::Leg;
use ouroboros::trading::money::{Amount, Price, Profit, Quantity};
use ouroboros::trading::strategy::{Observation, Reading, Thresholds, ZScore};
use ouroboros::trading::time::{Interval, Timestamp};

use crate::support::table::decimal;

/// One row a situation. `N` is the spread's numerator (`SYMBOL_BASE`), `D` its denominator; `-` is
/// "none" or "off".
///
/// - `position`: `flat`, `flat*` (cooling after a stop), `holds-D`, `leaves-D` (its exit goes on),
///   `leaves-D*` (it was a stop).
/// - `missed`: z of the candles that no run has seen, oldest first; `z`: of the newest; `.`: it has
///   none.
/// - `held`: candles since the entry, counted at the newest / `MAX_HOLD_CANDLES`.
/// - `orders`, `lost`: today's / `MAX_ORDERS_PER_DAY`, `MAX_DAILY_LOSS_USDT`.
/// - `edge`: of the newest candle / `MIN_EDGE_BPS`.
/// - `signal`: what the newest candle says. `step`: what is done, an exit with its cause and the
///   candle that met it (0 is the newest, 1 the one before), or for how many candles it was held. `after`: whether entries are barred after this candle, as
///   long as nothing is held.
const TABLE: &str = "
# Nothing is held: beyond the entry threshold the cheap leg is bought, and on it nothing is.
position   missed     z     entry exit stop held orders lost   edge       signal  step          after
flat       -          2.1   2     0    -    -    -      -      700/0      LONG-D  buy-D         free
flat       -         -2.1   2     0    -    -    -      -      700/0      LONG-N  buy-N         free
flat       -          2     2     0    -    -    -      -      700/0      HOLD    inside        free
flat       -         -2     2     0    -    -    -      -      700/0      HOLD    inside        free
flat       -          0     2     0    -    -    -      -      0/0        HOLD    inside        free
flat       -          1.9   2     0    -    -    -      -      700/0      HOLD    inside        free
flat       -          .     2     0    -    -    -      -      0/0        HOLD    no-z          free
flat       -          9     2     0    3    -    -      -      700/0      LONG-D  buy-D         free

# An entry that was missed is not taken, and what was missed keeps none back.
flat       2.5        1     2     0    -    -    -      -      700/0      HOLD    inside        free
flat       2.5,-2.5   .     2     0    -    -    -      -      0/0        HOLD    no-z          free
flat       2.5       -2.1   2     0    -    -    -      -      700/0      LONG-N  buy-N         free
flat       .,0        2.1   2     0    -    -    -      -      700/0      LONG-D  buy-D         free

# The edge must be at least what was asked for.
flat       -          2.1   2     0    -    -    -      -      625/625    LONG-D  buy-D         free
flat       -          2.1   2     0    -    -    -      -      625/625.1  HOLD    edge          free
flat       -         -2.1   2     0    -    -    -      -      625/625    LONG-N  buy-N         free
flat       -         -2.1   2     0    -    -    -      -      625/625.1  HOLD    edge          free
flat       -          1.9   2     0    -    -    -      -      625/626    HOLD    inside        free

# Limits of a day bar an entry once they are reached; what the candle says is said all the same.
flat       -          2.1   2     0    -    -    1/2    -      700/0      LONG-D  buy-D         free
flat       -          2.1   2     0    -    -    2/2    -      700/0      LONG-D  orders-D      free
flat       -         -2.1   2     0    -    -    3/2    -      700/0      LONG-N  orders-N      free
flat       -          2.1   2     0    -    -    9/-    -      700/0      LONG-D  buy-D         free
flat       -          2.1   2     0    -    -    -      49/50  700/0      LONG-D  buy-D         free
flat       -          2.1   2     0    -    -    -      50/50  700/0      LONG-D  lost-D        free
flat       -         -2.1   2     0    -    -    -      51/50  700/0      LONG-N  lost-N        free
flat       -          2.1   2     0    -    -    -      -51/50 700/0      LONG-D  buy-D         free
flat       -          2.1   2     0    -    -    -      99/-   700/0      LONG-D  buy-D         free
flat       -          1     2     0    -    -    2/2    50/50  700/0      HOLD    inside        free

# After a stop no entry until |z| has been back inside, on this candle or on one that was missed.
flat*      -          2.1   2     0    3    -    -      -      700/0      HOLD    cooling       barred
flat*      -         -2.1   2     0    3    -    -      -      700/0      HOLD    cooling       barred
flat*      -          2     2     0    3    -    -      -      700/0      HOLD    inside        free
flat*      -         -2     2     0    3    -    -      -      700/0      HOLD    inside        free
flat*      -          .     2     0    3    -    -      -      0/0        HOLD    no-z          barred
flat*      2.5,.      2.1   2     0    3    -    -      -      700/0      HOLD    cooling       barred
flat*      2.5,2      2.1   2     0    3    -    -      -      700/0      LONG-D  buy-D         free
flat*      0          .     2     0    3    -    -      -      0/0        HOLD    no-z          free
flat*      0          2.1   2     0    3    -    2/2    -      700/0      LONG-D  orders-D      free

# The denominator is held: z at the exit threshold or below sells it.
holds-D    -          0.1   2     0    -    -    -      -      700/0      HOLD    held-D        free
holds-D    -          0     2     0    -    -    -      -      700/0      CLOSE   back-D@0      free
holds-D    -         -9     2     0    -    -    -      -      700/0      CLOSE   back-D@0      free
holds-D    -          0.6   2     0.5  -    -    -      -      700/0      HOLD    held-D        free
holds-D    -          0.5   2     0.5  -    -    -      -      700/0      CLOSE   back-D@0      free
holds-D    -          9     2     0    -    -    -      -      700/0      HOLD    held-D        free
holds-D    -          .     2     0    -    -    -      -      0/0        HOLD    no-z          free

# The numerator is held: the same with the signs turned.
holds-N    -         -0.1   2     0    -    -    -      -      700/0      HOLD    held-N        free
holds-N    -          0     2     0    -    -    -      -      700/0      CLOSE   back-N@0      free
holds-N    -          9     2     0    -    -    -      -      700/0      CLOSE   back-N@0      free
holds-N    -         -0.6   2     0.5  -    -    -      -      700/0      HOLD    held-N        free
holds-N    -         -0.5   2     0.5  -    -    -      -      700/0      CLOSE   back-N@0      free
holds-N    -         -9     2     0    -    -    -      -      700/0      HOLD    held-N        free

# An exit that was missed is taken now, whatever z says by now; a candle without z is passed over.
holds-D    -0.2       2.5   2     0    -    -    -      -      700/0      CLOSE   back-D@1      free
holds-D    .,-0.2,1   2.5   2     0    -    -    -      -      700/0      CLOSE   back-D@2      free
holds-D    0          .     2     0    -    -    -      -      0/0        CLOSE   back-D@1      free
holds-D    1,.        1     2     0    -    -    -      -      700/0      HOLD    held-D        free
holds-D    1          .     2     0    -    -    -      -      0/0        HOLD    no-z          free
holds-N    0.2       -2.5   2     0    -    -    -      -      700/0      CLOSE   back-N@1      free

# Beyond the stop against us it is sold; on the stop it is not, and never on the side that pays.
holds-D    -          3     2     0    3    -    -      -      700/0      HOLD    held-D        free
holds-D    -          3.1   2     0    3    -    -      -      700/0      CLOSE   stop-D@0      barred
holds-D    -         -3.1   2     0    3    -    -      -      700/0      CLOSE   back-D@0      free
holds-N    -         -3     2     0    3    -    -      -      700/0      HOLD    held-N        free
holds-N    -         -3.1   2     0    3    -    -      -      700/0      CLOSE   stop-N@0      barred
holds-D    3.1        1     2     0    3    -    -      -      700/0      CLOSE   stop-D@1      barred

# What came first counts: had somebody been there, it would have been sold then.
holds-D    3.1        0     2     0    3    -    -      -      700/0      CLOSE   stop-D@1      barred
holds-D    0          3.1   2     0    3    -    -      -      700/0      CLOSE   back-D@1      free

# After so many candles it is sold, and then as after a stop.
holds-D    -          1     2     0    -    4/5  -      -      700/0      HOLD    held-D        free
holds-D    -          1     2     0    -    5/5  -      -      700/0      CLOSE   long-D:5      barred
holds-N    -         -1     2     0    -    6/5  -      -      700/0      CLOSE   long-N:6      barred
holds-D    -          0     2     0    -    5/5  -      -      700/0      CLOSE   back-D@0      free
holds-D    -          3.1   2     0    3    5/5  -      -      700/0      CLOSE   stop-D@0      barred
holds-D    1          1     2     0    -    6/5  -      -      700/0      CLOSE   long-D:5      barred
holds-D    -          .     2     0    -    6/5  -      -      0/0        HOLD    no-z          free

# Nothing keeps an exit back: no limit of a day, no edge.
holds-D    -          0     2     0    -    -    9/2    99/50  1/625      CLOSE   back-D@0      free
holds-N    -         -3.1   2     0    3    -    9/2    99/50  1/625      CLOSE   stop-N@0      barred

# What was decided once is finished, whatever z says now.
leaves-D   -          9     2     0    -    -    -      -      700/0      CLOSE   rest-D        free
leaves-D   -          .     2     0    -    -    -      -      0/0        CLOSE   rest-D        free
leaves-N   -          0     2     0    -    -    9/2    99/50  1/625      CLOSE   rest-N        free
leaves-D*  -          0     2     0    3    -    -      -      700/0      CLOSE   rest-D        barred
leaves-D*  0          2.1   2     0    3    -    -      -      700/0      CLOSE   rest-D        barred
";

#[test]
fn the_table() {
    let rows: Vec<&str> = TABLE
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#') && !line.starts_with("position"))
        .collect();
    let wrong: Vec<String> = rows
        .iter()
        .filter_map(|line| {
            let row = Row::parse(line);
            let found = told(&row.situation.decide());
            (found != row.expected).then(|| format!("{line}\n  is {}", found.join("  ")))
        })
        .collect();
    assert!(rows.len() > 70, "the table is there");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_limit_of_yesterday_binds_nobody_today() {
    let situation =
        Row::parse("flat - 2.1 2 0 - - 2/2 50/50 700/0      LONG-D orders-D free").situation;
    let at =
        |day: i64| machine::step(&situation.book, &situation.seen, &situation.rules, day_at(day));
    assert_eq!(told(&at(0))[1], "orders-D");
    assert_eq!(told(&at(1))[1], "buy-D");
    assert_eq!(told(&at(-1))[1], "buy-D");
}

#[test]
fn a_candle_that_cannot_be_traded_on_changes_nothing() {
    let fault = Fault::TooFew { have: 3, need: 4 };
    for leg in Leg::BOTH {
        for position in positions() {
            let book = Book { position, ..Book::open(Amount::ZERO) };
            let distrust = Distrust { leg, fault: fault.clone() };
            let decision = machine::stay_away(&book, distrust.clone());
            assert_eq!(decision.signal, Signal::Hold);
            assert_eq!(decision.transition, Transition::Stay(Stay::Untrusted(distrust)));
            if let Position::Flat { cooling } = book.position {
                assert_eq!(decision.cooling, cooling, "a bar is neither lifted nor set");
            }
        }
    }
}

#[test]
fn a_person_who_wants_out_gets_out_and_bars_nothing_new() {
    for position in positions() {
        let book = Book { position, ..Book::open(Amount::ZERO) };
        let Some(leg) = book.position.holding().map(|holding| holding.leg) else { continue };
        let decision = machine::leave_at_once(&book, leg);
        assert_eq!(decision.transition, Transition::Leave(leg, Cause::Asked));
        assert!(!Cause::Asked.cools());
        let was_stop = matches!(&book.position, Position::Leaving(leaving) if leaving.cools);
        assert_eq!(decision.cooling, was_stop, "a stop that is not finished stays a stop");
    }
}

// --- every combination -------------------------------------------------------------------------

/// What holds in every situation, with its name for the message.
const LAWS: &[(&str, Law)] = &[
    ("the same situation has the same decision", |at, is| at.decide() == *is),
    ("the mirrored situation has the mirrored decision", is_mirrored),
    ("nothing is bought while something is held", |at, is| {
        !is_buy(is) || matches!(at.book.position, Position::Flat { .. })
    }),
    ("only what is held is sold", |at, is| match is.transition {
        Transition::Leave(leg, _) => at.held() == Some(leg),
        _ => true,
    }),
    ("an exit that is under way goes on, whatever the candles say", is_finished),
    ("an entry is taken exactly when the newest candle says so and nothing bars it", |at, is| {
        let expected = at.is_flat().then(|| at.entry()).flatten();
        let found = match is.transition {
            Transition::Enter(leg, z) => Some((leg, z)),
            _ => None,
        };
        found == expected
    }),
    ("an exit is taken exactly when some candle since the last run met one", |at, is| {
        let Position::Holding(holding) = &at.book.position else { return true };
        let expected = at.seen.iter().find_map(|seen| at.exit(holding, seen));
        match is.transition {
            Transition::Leave(_, cause) => Some(cause) == expected,
            _ => expected.is_none(),
        }
    }),
    ("while nothing is held and nothing cools, what was missed has no say", |at, is| {
        let Position::Flat { cooling: false } = at.book.position else { return true };
        let newest = at.seen.last().cloned().into_iter().collect();
        at.with(|other| other.seen = newest).decide() == *is
    }),
    ("without any z nothing is done, but what was begun is finished", |at, is| {
        at.seen.iter().any(|seen| seen.z().is_some())
            || matches!(at.book.position, Position::Leaving(_))
            || matches!(is.transition, Transition::Stay(_))
    }),
    ("limits and edge bind entries only", |at, is| {
        let free = at.with(|other| {
            other.rules.max_orders_per_day = None;
            other.rules.max_daily_loss = None;
            other.rules.thresholds.min_edge_bps = 0.0;
        });
        let free = free.decide();
        trade(is) == trade(&free) || is_buy(&free) && trade(is).is_none()
    }),
    ("only a stop and a holding that took too long bar what comes after", |_, is| {
        match is.transition {
            Transition::Leave(_, cause) => {
                let barring = matches!(cause, Cause::Stopped(..) | Cause::HeldTooLong(_));
                cause.cools() == barring
            }
            _ => true,
        }
    }),
    ("a bar stays until a candle is calm, and nothing else sets one", |at, is| {
        match &at.book.position {
            Position::Flat { cooling } => is.cooling == (*cooling && !at.has_calmed()),
            Position::Holding(_) => !is.cooling,
            Position::Leaving(leaving) => is.cooling == leaving.cools,
        }
    }),
    ("a signal is what is done, or would be but for the day's limits", |_, is| {
        match (is.signal, &is.transition) {
            (
                Signal::Long(says),
                Transition::Enter(leg, _)
                | Transition::Stay(Stay::OrdersToday(leg, ..) | Stay::LossToday(leg, ..)),
            ) => says == *leg,
            (Signal::Close, Transition::Leave(..)) => true,
            (Signal::Hold, Transition::Stay(reason)) => {
                !matches!(reason, Stay::OrdersToday(..) | Stay::LossToday(..))
            }
            _ => false,
        }
    }),
];

type Law = fn(&Situation, &Decision) -> bool;

#[test]
fn every_combination_keeps_every_law() {
    let mut count = 0_u64;
    every_situation(|situation| {
        count += 1;
        let decision = situation.decide();
        for (name, law) in LAWS {
            assert!(law(situation, &decision), "{name}\n{situation:#?}\n{decision:#?}");
        }
    });
    // z x missed x position x (exit, stop, held) x (orders, lost, edge): nothing was left out.
    assert_eq!(count, 24 * 41 * 8 * 12 * 18, "situations");
}

fn is_buy(decision: &Decision) -> bool {
    matches!(decision.transition, Transition::Enter(..))
}

fn trade(decision: &Decision) -> Option<&Transition> {
    Some(&decision.transition).filter(|transition| !matches!(transition, Transition::Stay(_)))
}

fn is_finished(at: &Situation, is: &Decision) -> bool {
    let Position::Leaving(leaving) = &at.book.position else { return true };
    let expected = Transition::Leave(leaving.holding.leg, Cause::Unfinished);
    is.transition == expected && is.signal == Signal::Close
}

fn is_mirrored(at: &Situation, is: &Decision) -> bool {
    let there = at.mirrored().decide();
    let signal = match there.signal {
        Signal::Long(leg) => Signal::Long(other(leg)),
        same => same,
    };
    let transition = match there.transition {
        Transition::Enter(leg, z) => Transition::Enter(other(leg), negated(z)),
        Transition::Leave(leg, cause) => Transition::Leave(
            other(leg),
            match cause {
                Cause::Returned(candle, z) => Cause::Returned(candle, negated(z)),
                Cause::Stopped(candle, z) => Cause::Stopped(candle, negated(z)),
                same => same,
            },
        ),
        Transition::Stay(stay) => Transition::Stay(match stay {
            Stay::Cooling(z) => Stay::Cooling(negated(z)),
            Stay::EdgeTooSmall(z, reading) => Stay::EdgeTooSmall(negated(z), mirror(reading)),
            Stay::Held(leg, z) => Stay::Held(other(leg), negated(z)),
            Stay::Inside(z) => Stay::Inside(negated(z)),
            Stay::LossToday(leg, z, lost) => Stay::LossToday(other(leg), negated(z), lost),
            Stay::OrdersToday(leg, z, orders) => Stay::OrdersToday(other(leg), negated(z), orders),
            same => same,
        }),
    };
    *is == Decision { signal, transition, cooling: there.cooling }
}

// --- a situation -------------------------------------------------------------------------------

/// What one step is a function of.
#[derive(Debug, Clone)]
struct Situation {
    book: Book,
    seen: Vec<Observation>,
    rules: Rules,
}

impl Situation {
    fn decide(&self) -> Decision {
        machine::step(&self.book, &self.seen, &self.rules, day_at(0))
    }

    fn with(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut other = self.clone();
        change(&mut other);
        other
    }

    fn is_flat(&self) -> bool {
        self.held().is_none()
    }

    fn held(&self) -> Option<Leg> {
        self.book.position.holding().map(|holding| holding.leg)
    }

    /// What the contract lets in: the leg that is cheap on the newest candle.
    fn entry(&self) -> Option<(Leg, ZScore)> {
        let reading = self.seen.last()?.reading?;
        let z = reading.z?;
        let entry = self.rules.thresholds.entry;
        let leg = match z.value() {
            z if z > entry => Leg::Denominator,
            z if z < -entry => Leg::Numerator,
            _ => return None,
        };
        let edge = (reading.spread - reading.mean).abs() / reading.mean * 10_000.0;
        let barred = matches!(self.book.position, Position::Flat { cooling: true });
        let day = &self.book.day;
        let too_many = self.rules.max_orders_per_day.is_some_and(|most| day.orders >= most);
        let lost = -day.realized.value();
        let too_dear = self.rules.max_daily_loss.is_some_and(|most| lost >= most.value());
        let kept_back = barred && !self.has_calmed() || too_many || too_dear;
        (edge >= self.rules.thresholds.min_edge_bps && !kept_back).then_some((leg, z))
    }

    /// Whether |z| has been back inside the entry threshold.
    fn has_calmed(&self) -> bool {
        let calm = |z: ZScore| z.value().abs() <= self.rules.thresholds.entry;
        self.seen.iter().any(|seen| seen.z().is_some_and(calm))
    }

    /// What the contract sells for on one candle.
    fn exit(&self, holding: &Holding, seen: &Observation) -> Option<Cause> {
        let z = seen.z()?;
        // Turned so that an entry was made above the mean, whichever leg is held.
        let against_us = match holding.leg {
            Leg::Denominator => z.value(),
            Leg::Numerator => -z.value(),
        };
        let Thresholds { exit, stop, .. } = self.rules.thresholds;
        let held = seen.candle.millis_since(holding.entry_candle) / INTERVAL.millis();
        if against_us <= exit {
            return Some(Cause::Returned(seen.candle, z));
        }
        if stop.is_some_and(|stop| against_us > stop) {
            return Some(Cause::Stopped(seen.candle, z));
        }
        let most = self.rules.max_hold_candles?;
        (held >= i64::from(most)).then_some(Cause::HeldTooLong(held))
    }

    /// The same with numerator and denominator exchanged.
    fn mirrored(&self) -> Self {
        self.with(|there| {
            match &mut there.book.position {
                Position::Flat { .. } => {}
                Position::Holding(holding) | Position::Leaving(Leaving { holding, .. }) => {
                    holding.leg = other(holding.leg);
                }
            }
            for seen in &mut there.seen {
                seen.reading = seen.reading.map(mirror);
            }
        })
    }
}

/// Calls `visit` with the product of everything that a decision depends on.
///
/// z stands on, just below and just above each threshold of both signs; so do edge, holding time,
/// orders and loss.
fn every_situation(mut visit: impl FnMut(&Situation)) {
    let (newest, missed, limits) = (all_z(), all_missed(), all_limits());
    let day = Day {
        date: day_at(0),
        orders: ORDERS,
        realized: Profit::new(decimal("-50")).expect("a loss"),
    };
    let seen: Vec<Vec<Observation>> = missed
        .iter()
        .flat_map(|missed| newest.iter().map(|z| observations(missed, *z, EDGE)))
        .collect();
    for position in positions() {
        let book = Book { position, day, ..Book::open(Amount::ZERO) };
        for exit in [0.0, EXIT] {
            for stop in [None, Some(STOP)] {
                for held in [None, Some(HELD), Some(HELD + 1)] {
                    for (orders, lost, min_edge_bps) in &limits {
                        let rules = Rules {
                            interval: INTERVAL,
                            window: 20,
                            thresholds: Thresholds {
                                entry: ENTRY,
                                exit,
                                min_edge_bps: *min_edge_bps,
                                stop,
                            },
                            max_hold_candles: held.map(|held| u32::try_from(held).expect("a few")),
                            max_orders_per_day: *orders,
                            max_daily_loss: *lost,
                        };
                        let mut at = Situation { book: book.clone(), seen: Vec::new(), rules };
                        for seen in &seen {
                            at.seen.clone_from(seen);
                            visit(&at);
                        }
                    }
                }
            }
        }
    }
}

/// On, just below and just above each threshold and its negative; far out; and none at all.
fn all_z() -> Vec<Option<f64>> {
    let around = |z: f64| [z.next_down(), z, z.next_up()];
    let thresholds = [0.0, EXIT, -EXIT, ENTRY, -ENTRY, STOP, -STOP];
    let near = thresholds.into_iter().flat_map(around);
    near.chain([1e300, -1e300]).map(Some).chain([None]).collect()
}

/// Nothing was missed, one candle with any z, or two with one z of each kind.
fn all_missed() -> Vec<Vec<Option<f64>>> {
    let kinds = [None, Some(ENTRY), Some(-STOP.next_up()), Some(STOP.next_up())];
    let two = kinds.into_iter().flat_map(|first| kinds.map(|second| vec![first, second]));
    let one = all_z().into_iter().map(|z| vec![z]);
    std::iter::once(Vec::new()).chain(one).chain(two).collect()
}

/// Limits of the day and of the edge: off, reached exactly, and just not.
fn all_limits() -> Vec<(Option<u32>, Option<Amount>, f64)> {
    let orders = [None, Some(ORDERS), Some(ORDERS + 1)];
    let losses = [None, Some("50"), Some("50.00000001")];
    let edges = [EDGE, EDGE.next_up()];
    let mut all = Vec::new();
    for orders in orders {
        for lost in losses {
            all.extend(edges.map(|edge| (orders, lost.map(amount), edge)));
        }
    }
    all
}

/// Each state of the contract, of each leg.
fn positions() -> Vec<Position> {
    let flat = [true, false].map(|cooling| Position::Flat { cooling });
    let held = Leg::BOTH.into_iter().flat_map(|leg| {
        let leaving = |cools| Position::Leaving(Leaving { holding: holding(leg, HELD), cools });
        [Position::Holding(holding(leg, HELD)), leaving(true), leaving(false)]
    });
    flat.into_iter().chain(held).collect()
}

fn holding(leg: Leg, candles: i64) -> Holding {
    let z = match leg {
        Leg::Denominator => ENTRY + 0.1,
        Leg::Numerator => -ENTRY - 0.1,
    };
    Holding {
        leg,
        quantity: Quantity::new(decimal("0.5")).expect("a quantity"),
        cost: amount("150"),
        proceeds: Amount::ZERO,
        entry_price: Price::new(decimal("300")).expect("a price"),
        entry_z: ZScore::new(z),
        entry_candle: noon().plus_millis(-candles * INTERVAL.millis()),
    }
}

fn observations(missed: &[Option<f64>], z: Option<f64>, edge: f64) -> Vec<Observation> {
    let all: Vec<Option<f64>> = missed.iter().copied().chain([z]).collect();
    (1_i64..)
        .zip(&all)
        .map(|(number, z)| Observation {
            candle: noon().plus_millis((number - count(&all)) * INTERVAL.millis()),
            reading: Some(reading(*z, edge)),
        })
        .collect()
}

/// A reading with this z and this edge. The mean is a power of two, so that an edge of 625 basis
/// points, a sixteenth, is exact.
fn reading(z: Option<f64>, edge: f64) -> Reading {
    let mean = 16.0;
    let away = mean * edge / 10_000.0;
    let below = z.is_some_and(|z| z < 0.0);
    let spread = if below { mean - away } else { mean + away };
    Reading { spread, mean, std: 0.5, z: z.and_then(ZScore::new) }
}

fn mirror(reading: Reading) -> Reading {
    Reading { spread: 2.0 * reading.mean - reading.spread, z: reading.z.map(negated), ..reading }
}

fn negated(z: ZScore) -> ZScore {
    ZScore::new(-z.value()).expect("finite")
}

fn other(leg: Leg) -> Leg {
    match leg {
        Leg::Numerator => Leg::Denominator,
        Leg::Denominator => Leg::Numerator,
    }
}

fn amount(text: &str) -> Amount {
    Amount::new(decimal(text)).expect("an amount")
}

fn count<T>(all: &[T]) -> i64 {
    i64::try_from(all.len()).expect("a few")
}

// --- the table's words -------------------------------------------------------------------------

struct Row {
    situation: Situation,
    expected: [String; 3],
}

impl Row {
    fn parse(line: &str) -> Self {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let [position, missed, z, entry, exit, stop, held, orders, lost, edge, expected @ ..] =
            cells.as_slice()
        else {
            panic!("13 cells a row: {line}")
        };
        let [signal, step, after] = expected else { panic!("13 cells a row: {line}") };
        let (candles, most_candles) = halves(held);
        let (orders, most_orders) = halves(orders);
        let (lost, most_lost) = halves(lost);
        let (edge, min_edge) = halves(edge);
        let number = |text: &str| text.parse::<f64>().expect("a number");
        let whole = |text: &str| text.parse::<u32>().expect("a whole number");
        let z_of = |text: &str| (text != ".").then(|| number(text));
        let missed = on(missed).map_or(Vec::new(), |all| all.split(',').map(z_of).collect());
        let day = Day {
            date: day_at(0),
            orders: orders.map_or(0, whole),
            realized: Profit::new(-lost.map_or(decimal("0"), decimal)).expect("a profit"),
        };
        let position = position_named(position, candles.map_or(1, |text| i64::from(whole(text))));
        let book = Book { position, day, ..Book::open(Amount::ZERO) };
        let rules = Rules {
            interval: INTERVAL,
            window: 20,
            thresholds: Thresholds {
                entry: number(entry),
                exit: number(exit),
                min_edge_bps: min_edge.map_or(0.0, number),
                stop: on(stop).map(number),
            },
            max_hold_candles: most_candles.map(whole),
            max_orders_per_day: most_orders.map(whole),
            max_daily_loss: most_lost.map(amount),
        };
        let seen = observations(&missed, z_of(z), number(edge.expect("an edge")));
        let expected = [signal, step, after].map(|word| (*word).to_owned());
        Self { situation: Situation { book, seen, rules }, expected }
    }
}

fn position_named(name: &str, candles: i64) -> Position {
    let starred = name.ends_with('*');
    match name.trim_end_matches('*') {
        "flat" => Position::Flat { cooling: starred },
        "holds-N" => Position::Holding(holding(Leg::Numerator, candles)),
        "holds-D" => Position::Holding(holding(Leg::Denominator, candles)),
        "leaves-N" => leaving(Leg::Numerator, candles, starred),
        "leaves-D" => leaving(Leg::Denominator, candles, starred),
        other => panic!("no position: {other}"),
    }
}

fn leaving(leg: Leg, candles: i64, cools: bool) -> Position {
    Position::Leaving(Leaving { holding: holding(leg, candles), cools })
}

/// Signal, step, and whether entries are barred afterwards, in the table's words.
fn told(decision: &Decision) -> [String; 3] {
    let letter = |leg: Leg| match leg {
        Leg::Numerator => "N",
        Leg::Denominator => "D",
    };
    let ago = |candle: Timestamp| noon().millis_since(candle) / INTERVAL.millis();
    let signal = match decision.signal {
        Signal::Long(leg) => format!("LONG-{}", letter(leg)),
        Signal::Close => "CLOSE".to_owned(),
        Signal::Hold => "HOLD".to_owned(),
    };
    let step = match &decision.transition {
        Transition::Enter(leg, _) => format!("buy-{}", letter(*leg)),
        Transition::Leave(leg, cause) => {
            let leg = letter(*leg);
            match *cause {
                Cause::Asked => format!("asked-{leg}"),
                Cause::HeldTooLong(candles) => format!("long-{leg}:{candles}"),
                Cause::Returned(candle, _) => format!("back-{leg}@{}", ago(candle)),
                Cause::Stopped(candle, _) => format!("stop-{leg}@{}", ago(candle)),
                Cause::Unfinished => format!("rest-{leg}"),
            }
        }
        Transition::Stay(stay) => match stay {
            Stay::Cooling(_) => "cooling".to_owned(),
            Stay::EdgeTooSmall(..) => "edge".to_owned(),
            Stay::Held(leg, _) => format!("held-{}", letter(*leg)),
            Stay::Inside(_) => "inside".to_owned(),
            Stay::LossToday(leg, ..) => format!("lost-{}", letter(*leg)),
            Stay::NoZ => "no-z".to_owned(),
            Stay::OrdersToday(leg, ..) => format!("orders-{}", letter(*leg)),
            Stay::Untrusted(_) => "untrusted".to_owned(),
        },
    };
    let bars = match &decision.transition {
        Transition::Leave(_, cause) => cause.cools() || decision.cooling,
        _ => decision.cooling,
    };
    [signal, step, if bars { "barred" } else { "free" }.to_owned()]
}

/// `a/b`; `-` stands for neither, `a/-` for no limit.
fn halves(text: &str) -> (Option<&str>, Option<&str>) {
    let Some(text) = on(text) else { return (None, None) };
    let (value, limit) = text.split_once('/').expect("a value and its limit");
    (Some(value), on(limit))
}

fn on(text: &str) -> Option<&str> {
    (text != "-").then_some(text)
}

/// 2024-03-01T12:00:00Z, the newest candle.
fn noon() -> Timestamp {
    Timestamp::EPOCH.plus_millis(1_709_294_400_000)
}

/// The day of the decision, and the ones around it.
fn day_at(days: i64) -> Timestamp {
    noon().day().plus_millis(days * 24 * 60 * 60 * 1000)
}

const INTERVAL: Interval = Interval::ALL[3];

const ENTRY: f64 = 2.0;
const EXIT: f64 = 0.5;
const STOP: f64 = 3.0;
const EDGE: f64 = 625.0;
const HELD: i64 = 6;
const ORDERS: u32 = 2;
