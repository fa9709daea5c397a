//! The order protocol as a machine of its own, small enough to read, and every state that it can get into.
//!
//! Two starts, one disk, one exchange, and whatever may happen between them: a start is killed or frozen at any step, the
//! power fails and the disk comes back with what was synced or with what was written, an order is delivered late or never,
//! executed in part, its answer is lost, a question is answered by a replica that lags, the other host's clock is fast. A
//! breadth-first search visits all of it. Each bug of the list below is planted in turn; the search must find it, and what
//! it prints is the shortest way there.
//!
//! Time is counted in ticks, a candle is three of them. An order is taken until [`WINDOW`] after its stamp, the engine takes
//! up to [`ENGINE`], and it shows at the latest [`SHOWS`] after that.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::fmt::Write as _;

const WINDOW: u8 = 1;
const ENGINE: u8 = 1;
const SHOWS: u8 = 1;
const CANDLE: u8 = 3;
/// What an entry buys.
const LOT: u8 = 2;

/// A change of the protocol that must not go unseen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Bug {
    /// The order is sent, then the intent is written.
    NoIntentBeforeThePost,
    /// The folder is not synced after the rename.
    NoFolderSync,
    /// "No such order" is believed at once.
    AbsenceIsFinalAtOnce,
    /// It is believed when the window is over, not when the order must show.
    NoTimeToShow,
    /// The bound is compared with a clock that runs ahead.
    LocalClock,
    /// A lost answer counts as a refusal.
    LostAnswerIsARefusal,
    /// After a lost answer the same order is sent again.
    SameIdAgain,
    /// After a lost answer a new order with a new id is sent.
    NewIdAtOnce,
    /// The HTTP client sends a request a second time by itself.
    ClientRepeats,
    /// Nobody holds a lock.
    NoLock,
    /// A part that was executed counts as nothing.
    PartDropped,
    /// The rest of a part-filled exit is forgotten: the whole is sold again.
    WholeSoldAgain,
    /// A state that can't be read counts as an empty book.
    ResetOnDamage,
    /// The request is stamped when it is sent, not when it is recorded.
    StampedAgain,
    /// What is open is not settled before the next decision.
    DecidesWhilePending,
    /// The result of an order is written, but the intent stays open, and is booked again.
    BookedTwice,
}

const BUGS: [Bug; 16] = [
    Bug::NoIntentBeforeThePost,
    Bug::NoFolderSync,
    Bug::AbsenceIsFinalAtOnce,
    Bug::NoTimeToShow,
    Bug::LocalClock,
    Bug::LostAnswerIsARefusal,
    Bug::SameIdAgain,
    Bug::NewIdAtOnce,
    Bug::ClientRepeats,
    Bug::NoLock,
    Bug::PartDropped,
    Bug::WholeSoldAgain,
    Bug::ResetOnDamage,
    Bug::StampedAgain,
    Bug::DecidesWhilePending,
    Bug::BookedTwice,
];

/// An order: of which decision, which way, how much, stamped when.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Order {
    candle: u8,
    attempt: u8,
    is_buy: bool,
    units: u8,
    stamp: u8,
}

impl Order {
    /// A function of the decision.
    fn id(self) -> (u8, u8, bool) {
        (self.candle, self.attempt, self.is_buy)
    }

    fn name(self) -> String {
        let side = if self.is_buy { 'B' } else { 'S' };
        format!("order {}-{side}{} stamped {}", self.candle, self.attempt, self.stamp)
    }
}

/// The state file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Disk {
    held: u8,
    is_leaving: bool,
    /// One more than the newest candle that was decided on.
    decided: u8,
    pending: Option<Order>,
    is_damaged: bool,
}

/// One start: what it is about to do, and the book as it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Start {
    next: Next,
    book: Disk,
}

/// What a start does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Next {
    Load,
    Ask(Order),
    Decide,
    /// What it wrote is renamed into place; the folder is to be synced, then it goes on.
    Sync(After),
    Send(Order),
    /// The answer to its order.
    Wait(Order),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum After {
    Decide,
    Send(Order),
    Wait(Order),
    End,
}

/// What the exchange executed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Executed {
    order: Order,
    units: u8,
    at: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct World {
    now: u8,
    /// As the page cache has it, and as it would survive a power failure.
    disk: Disk,
    synced: Disk,
    starts: [Option<Start>; 2],
    /// Requests on their way, sorted.
    net: Vec<Order>,
    executed: Vec<Executed>,
    /// Set by a step that no state can show.
    broken: Option<&'static str>,
}

impl World {
    fn new() -> Self {
        let disk =
            Disk { held: 0, is_leaving: false, decided: 0, pending: None, is_damaged: false };
        let starts = [None, None];
        let (net, executed) = (Vec::new(), Vec::new());
        Self { now: 0, disk, synced: disk, starts, net, executed, broken: None }
    }

    fn coins(&self) -> i16 {
        let signed = |it: &Executed| {
            if it.order.is_buy { i16::from(it.units) } else { -i16::from(it.units) }
        };
        self.executed.iter().map(signed).sum()
    }

    /// What is wrong with this state, if anything is.
    fn violation(&self) -> Option<&'static str> {
        if let Some(broken) = self.broken {
            return Some(broken);
        }
        for (number, one) in self.executed.iter().enumerate() {
            for other in &self.executed[number + 1..] {
                if one.order.id() == other.order.id() {
                    return Some("an order was executed twice");
                }
                if one.order.candle == other.order.candle && one.order.is_buy == other.order.is_buy
                {
                    return Some("a decision was executed twice");
                }
            }
        }
        if self.coins() > i16::from(LOT) {
            return Some("bought twice");
        }
        if self.coins() < 0 {
            return Some("sold what was not bought");
        }
        let is_quiet = self.starts == [None, None] && self.net.is_empty();
        if is_quiet
            && self.disk.pending.is_none()
            && !self.disk.is_damaged
            && i16::from(self.disk.held) != self.coins()
        {
            return Some("the book is not what the exchange has");
        }
        None
    }

    /// The exchange takes an order: its intent must be on the disk, and stay there.
    fn execute(&mut self, order: Order, units: u8) {
        if self.synced.pending.map(Order::id) != Some(order.id()) {
            self.broken = Some("an order without an intent on the disk");
        }
        self.executed.push(Executed { order, units, at: self.now });
        self.executed.sort_unstable();
    }
}

/// A world after a step, and what the step was.
type Step = (String, World);

fn add(steps: &mut Vec<Step>, world: &World, what: String, change: impl FnOnce(&mut World)) {
    let mut next = world.clone();
    change(&mut next);
    steps.push((what, next));
}

/// Everything that may happen next.
fn steps(world: &World, bug: Option<Bug>, until: u8) -> Vec<Step> {
    let mut steps = Vec::new();
    // The exchange, and the way to it.
    for (number, order) in world.net.iter().copied().enumerate() {
        if world.now <= order.stamp + WINDOW + ENGINE {
            for units in 1..=order.units {
                let what = format!("the exchange executes {units} of {}", order.name());
                add(&mut steps, world, what, |world| {
                    world.net.remove(number);
                    world.execute(order, units);
                });
            }
        }
        let what = format!("{} is lost or refused", order.name());
        add(&mut steps, world, what, |world| {
            world.net.remove(number);
        });
    }
    if world.now < until {
        add(&mut steps, world, "a tick passes".to_owned(), |world| world.now += 1);
    }
    // Power, and damage.
    if world.disk != world.synced {
        add(&mut steps, world, "power fails, what was written survives".to_owned(), |world| {
            world.starts = [None, None];
            world.synced = world.disk;
        });
        add(&mut steps, world, "power fails, only what was synced survives".to_owned(), |world| {
            world.starts = [None, None];
            world.disk = world.synced;
        });
    }
    let is_idle = world.starts == [None, None];
    if is_idle && !world.disk.is_damaged && world.disk.held > 0 {
        add(&mut steps, world, "the state file is damaged".to_owned(), |world| {
            world.disk.is_damaged = true;
            world.synced.is_damaged = true;
        });
    }
    for which in 0..2 {
        match world.starts[which] {
            Some(start) => {
                let name = ["the first start", "the second start"][which];
                add(&mut steps, world, format!("{name} is killed"), |world| {
                    world.starts[which] = None;
                });
                for (what, next) in advance(world, which, start, bug) {
                    steps.push((format!("{name} {what}"), next));
                }
            }
            // The two are alike: the second begins only beside the first.
            None if may_begin(world, which, bug) => {
                let what = ["a start begins", "a second start begins beside it"][which];
                add(&mut steps, world, what.to_owned(), |world| {
                    world.starts[which] = Some(Start { next: Next::Load, book: world.disk });
                });
            }
            None => {}
        }
    }
    steps
}

/// The lock: a start that finds it held ends at once, so it does not begin.
fn may_begin(world: &World, which: usize, bug: Option<Bug>) -> bool {
    let [first, second] = world.starts;
    match which {
        0 => second.is_none() || bug == Some(Bug::NoLock),
        _ => first.is_some() && bug == Some(Bug::NoLock),
    }
}

/// THE PROTOCOL: what a start may do next. This is what `src/run.rs` does.
#[expect(clippy::too_many_lines, reason = "one arm a step, read from top to bottom")]
fn advance(world: &World, which: usize, start: Start, bug: Option<Bug>) -> Vec<Step> {
    let mut steps = Vec::new();
    let has = |planted: Bug| bug == Some(planted);
    let mut go = |what: &str, next: Option<Next>, change: &dyn Fn(&mut World, &mut Disk)| {
        add(&mut steps, world, what.to_owned(), |world| {
            let mut book = start.book;
            change(world, &mut book);
            world.starts[which] = next.map(|next| Start { next, book });
        });
    };
    let nothing = |_: &mut World, _: &mut Disk| {};
    // Writes the book; whether it survives a power failure is only sure after the sync.
    let write = |change: &dyn Fn(&mut Disk)| {
        let mut book = start.book;
        change(&mut book);
        book
    };
    match start.next {
        Next::Load => match world.disk {
            Disk { is_damaged: true, .. } if has(Bug::ResetOnDamage) => {
                go("begins a new book", Some(Next::Decide), &|world, book| {
                    *book = World::new().disk;
                    world.disk = *book;
                });
            }
            Disk { is_damaged: true, .. } => go("refuses the state", None, &nothing),
            Disk { pending: Some(order), .. } if !has(Bug::DecidesWhilePending) => {
                go("loads an open intent", Some(Next::Ask(order)), &|world, book| {
                    *book = world.disk;
                });
            }
            _ => go("loads", Some(Next::Decide), &|world, book| *book = world.disk),
        },
        Next::Ask(order) => {
            go("gets no answer to its question", None, &nothing);
            let found = world.executed.iter().find(|it| it.order.id() == order.id());
            let booked = |units: u8| write(&|book| settle(book, order, units, bug));
            if let Some(found) = found {
                go("is told what was executed", Some(Next::Sync(After::Decide)), &|world, book| {
                    *book = booked(found.units);
                    world.disk = *book;
                });
            }
            if found.is_none_or(|found| world.now < found.at + SHOWS) {
                let clock = if has(Bug::LocalClock) { world.now + 2 } else { world.now };
                let bound = match bug {
                    Some(Bug::AbsenceIsFinalAtOnce) => None,
                    Some(Bug::NoTimeToShow) => Some(order.stamp + WINDOW),
                    _ => Some(order.stamp + WINDOW + ENGINE + SHOWS),
                };
                if bound.is_none_or(|bound| clock > bound) {
                    let next = Some(Next::Sync(After::Decide));
                    go(
                        "is told that there is no such order, and believes it",
                        next,
                        &|world, book| {
                            *book = booked(0);
                            world.disk = *book;
                        },
                    );
                } else {
                    go("is told that there is no such order, and waits", None, &nothing);
                }
            }
        }
        Next::Decide => {
            let candle = world.now / CANDLE + 1;
            let Disk { held, is_leaving, decided, .. } = start.book;
            if decided >= candle {
                go("finds the candle decided", None, &nothing);
                return steps;
            }
            if !is_leaving {
                go("holds", Some(Next::Sync(After::End)), &|world, book| {
                    book.decided = candle;
                    world.disk = *book;
                });
            }
            let (is_buy, units) = if held == 0 { (true, LOT) } else { (false, held) };
            let order = Order { candle, attempt: 1, is_buy, units, stamp: world.now };
            if has(Bug::NoIntentBeforeThePost) {
                go("decides to trade", Some(Next::Send(order)), &nothing);
            } else {
                go("records an intent", Some(Next::Sync(After::Send(order))), &|world, book| {
                    *book = write(&|book| record(book, order));
                    world.disk = *book;
                });
            }
        }
        Next::Sync(after) => {
            let next = match after {
                After::Decide => Some(Next::Decide),
                After::Send(order) => Some(Next::Send(order)),
                After::Wait(order) => Some(Next::Wait(order)),
                After::End => None,
            };
            go("syncs", next, &|world, _| {
                if !has(Bug::NoFolderSync) {
                    world.synced = world.disk;
                }
            });
        }
        Next::Send(order) => {
            let stamp = if has(Bug::StampedAgain) { world.now } else { order.stamp };
            let copies = if has(Bug::ClientRepeats) { 2 } else { 1 };
            let late_intent = has(Bug::NoIntentBeforeThePost);
            let next = if late_intent { Next::Sync(After::Wait(order)) } else { Next::Wait(order) };
            go("sends the order", Some(next), &|world, book| {
                world.net.extend(vec![Order { stamp, ..order }; copies]);
                world.net.sort_unstable();
                if late_intent {
                    *book = write(&|book| record(book, order));
                    world.disk = *book;
                }
            });
        }
        Next::Wait(order) => {
            let is_under_way = world.net.iter().any(|it| it.id() == order.id());
            let booked = |units: u8| write(&|book| settle(book, order, units, bug));
            if let Some(done) = world.executed.iter().find(|it| it.order.id() == order.id()) {
                go("hears what was executed", Some(Next::Sync(After::End)), &|world, book| {
                    *book = booked(done.units);
                    world.disk = *book;
                });
            } else if !is_under_way {
                go("hears that it was refused", Some(Next::Sync(After::End)), &|world, book| {
                    *book = booked(0);
                    world.disk = *book;
                });
            }
            match bug {
                Some(Bug::LostAnswerIsARefusal) => {
                    go(
                        "hears nothing, and gives up",
                        Some(Next::Sync(After::End)),
                        &|world, book| {
                            *book = booked(0);
                            world.disk = *book;
                        },
                    );
                }
                Some(Bug::SameIdAgain) if order.stamp == world.now => {
                    go("hears nothing, and sends it again", Some(Next::Send(order)), &nothing);
                }
                Some(Bug::NewIdAtOnce) if order.attempt == 1 => {
                    let again = Order { attempt: 2, stamp: world.now, ..order };
                    let next = Some(Next::Sync(After::Send(again)));
                    go("hears nothing, and takes a new id", next, &|world, book| {
                        book.pending = Some(again);
                        world.disk = *book;
                    });
                }
                _ => go("hears nothing, and ends", None, &nothing),
            }
        }
    }
    steps
}

fn record(book: &mut Disk, order: Order) {
    book.decided = order.candle;
    book.pending = Some(order);
    // Decided is decided: the rest of an exit is sold by later starts.
    book.is_leaving |= !order.is_buy;
}

fn settle(book: &mut Disk, order: Order, units: u8, bug: Option<Bug>) {
    let is_part = units < order.units;
    let units = if is_part && bug == Some(Bug::PartDropped) { 0 } else { units };
    if bug != Some(Bug::BookedTwice) {
        book.pending = None;
    }
    if order.is_buy {
        book.held = (book.held + units).min(9);
    } else if !(is_part && bug == Some(Bug::WholeSoldAgain)) {
        book.held = book.held.saturating_sub(units);
        book.is_leaving = book.held > 0;
    }
}

/// What a search found.
struct Search {
    states: usize,
    steps: usize,
    /// The violation, and the shortest way there.
    violation: Option<(&'static str, Vec<String>)>,
}

fn search(bug: Option<Bug>, until: u8) -> Search {
    let mut seen: HashMap<World, u32> = HashMap::new();
    // Where each state was reached from, by what.
    let mut from: Vec<(u32, String)> = Vec::new();
    let mut queue = VecDeque::new();
    let begin = World::new();
    seen.insert(begin.clone(), 0);
    from.push((0, String::new()));
    queue.push_back((begin, 0_u32));
    let mut count = 0;
    while let Some((world, number)) = queue.pop_front() {
        for (what, next) in steps(&world, bug, until) {
            count += 1;
            if seen.contains_key(&next) {
                continue;
            }
            let reached = u32::try_from(from.len()).expect("fewer than four billion states");
            from.push((number, if bug.is_some() { what } else { String::new() }));
            if let Some(violation) = next.violation() {
                let mut way = Vec::new();
                let mut at = reached;
                while at != 0 {
                    let (before, what) = &from[at as usize];
                    way.push(what.clone());
                    at = *before;
                }
                way.reverse();
                let states = from.len();
                return Search { states, steps: count, violation: Some((violation, way)) };
            }
            seen.insert(next.clone(), reached);
            queue.push_back((next, reached));
        }
    }
    Search { states: from.len(), steps: count, violation: None }
}

#[test]
fn the_protocol_has_no_state_in_which_money_is_spent_twice_or_lost() {
    let found = search(None, UNTIL);
    println!("{} states, {} steps between them", found.states, found.steps);
    assert!(found.violation.is_none(), "{:?}", found.violation);
}

#[test]
#[ignore = "a minute"]
fn the_protocol_has_no_such_state_among_a_million_either() {
    let found = search(None, UNTIL + CANDLE);
    println!("figures: model states={} steps={} violations=0", found.states, found.steps);
    assert!(found.violation.is_none(), "{:?}", found.violation);
    assert!(found.states > 1_000_000, "only {} states", found.states);
}

#[test]
fn each_planted_bug_is_found_by_its_shortest_way() {
    let mut text = String::new();
    for bug in BUGS {
        let found = search(Some(bug), UNTIL);
        let Some((violation, way)) = found.violation else {
            panic!("{bug:?} goes unseen in {} states", found.states);
        };
        let _ = writeln!(text, "{bug:?}: {violation}, in {} steps", way.len());
        for (number, step) in way.iter().enumerate() {
            let _ = writeln!(text, "  {:2}. {step}", number + 1);
        }
    }
    println!("{text}");
    println!("figures: model-planted bugs={} found={}", BUGS.len(), BUGS.len());
}

/// Three candles.
const UNTIL: u8 = 8;
