//! The real step in any weather, drawn from a seed: random candles, kills and power losses at random operations, a disk
//! that fails or is full, a flipped bit, a network that breaks, an exchange that lags, bans, fills in part or later, and a
//! clock that is off. Each seed switches a part of it on (a swarm), lives through some hundred starts, and then everything
//! is well again: within three starts nothing may be open any more, and the book is the account's.
//!
//! The same seed makes the same trace. A seed that fails is repeated, with all that happened, by
//! `SIMULATOR=SEED cargo test --test it simulator_in_short -- --nocapture`.

use std::collections::BTreeMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash as _, Hasher as _};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use ouroboros::trading::book::HaltedBy;
use rust_decimal::Decimal;

use crate::exchange::{Execute, Fault, Lag, Lags, On, Reply, Rule};
use crate::inside::{Ended, Hurt, Inside, Work};
use crate::support::clock::{self, HOUR, MINUTE, SECOND};
use crate::support::dice::Dice;

#[test]
fn simulator_in_short_it_settles_after_any_weather() {
    simulate(1..61);
}

#[test]
#[ignore = "takes two minutes; .ci/run runs it"]
fn simulator_a_million_starts() {
    simulate(1_000..6_000);
}

#[test]
#[ignore = "takes ten minutes; tests/assurance runs it"]
fn simulator_three_million_starts_in_full() {
    simulate(10_000..25_000);
}

#[test]
fn simulator_the_same_seed_makes_the_same_trace() {
    let once = |seed| Life::new(seed).live().expect("a good seed");
    let traces: Vec<u64> = (1..6).map(|seed| once(seed).trace).collect();
    let again: Vec<u64> = (1..6).map(|seed| once(seed).trace).collect();
    assert_eq!(traces, again);
    assert!(traces.windows(2).all(|pair| pair[0] != pair[1]), "{traces:?}");
}

const STARTS: u64 = 200;

/// What was lived through.
#[derive(Default)]
struct Tally {
    lives: u64,
    starts: u64,
    kills: u64,
    losses: u64,
    hurts: u64,
    floods: u64,
    flips: u64,
    orders: usize,
    executed: usize,
    left_open: u64,
    settled_after: BTreeMap<u64, u64>,
    codes: BTreeMap<u8, u64>,
    trace: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.lives += other.lives;
        self.starts += other.starts;
        self.kills += other.kills;
        self.losses += other.losses;
        self.hurts += other.hurts;
        self.floods += other.floods;
        self.flips += other.flips;
        self.orders += other.orders;
        self.executed += other.executed;
        self.left_open += other.left_open;
        for (starts, count) in &other.settled_after {
            *self.settled_after.entry(*starts).or_default() += count;
        }
        for (code, count) in &other.codes {
            *self.codes.entry(*code).or_default() += count;
        }
        // Whatever the order in which the threads come.
        self.trace ^= other.trace;
    }
}

#[allow(clippy::disallowed_methods, reason = "how a person repeats one seed")]
fn simulate(seeds: std::ops::Range<u64>) {
    let alone = std::env::var("SIMULATOR").ok();
    let alone = alone.map(|seed| seed.parse::<u64>().expect("SIMULATOR=SEED"));
    let begin = clock::instant();
    let seeds = alone.map_or(seeds, |seed| seed..seed + 1);
    let (next, all) = (AtomicU64::new(seeds.start), Mutex::new(Tally::default()));
    let broken = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if !seeds.contains(&seed) || broken.lock().expect("whole").len() > 2 {
                        break;
                    }
                    let mut life = Life::new(seed);
                    life.tells = alone.is_some();
                    match life.live() {
                        Ok(tally) => all.lock().expect("whole").add(&tally),
                        Err(why) => broken.lock().expect("whole").push(format!(
                            "seed {seed}: {why}\nagain: SIMULATOR={seed} cargo test --test it simulator_in_short -- \
                             --nocapture"
                        )),
                    }
                }
            });
        }
    });
    let (all, broken) = (all.into_inner().expect("whole"), broken.into_inner().expect("whole"));
    println!(
        "exit codes: {:?}; faultless starts until settled: {:?}",
        all.codes, all.settled_after
    );
    println!(
        "figures: simulator seeds={} starts={} kills={} power-losses={} failed-operations={} full-disks={} \
         flipped-bits={} orders={} executed={} left-open={} trace={:016x} violations={} seconds={}",
        all.lives,
        all.starts,
        all.kills,
        all.losses,
        all.hurts,
        all.floods,
        all.flips,
        all.orders,
        all.executed,
        all.left_open,
        all.trace,
        broken.len(),
        begin.elapsed().as_secs()
    );
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    let is_at_stake = all.orders > 0 && all.left_open > 0;
    assert!(is_at_stake || alone.is_some(), "nothing was at stake");
}

/// What may go wrong in one life: of a thousand starts, so many.
struct Swarm {
    kills: u64,
    losses: u64,
    failures: u64,
    floods: u64,
    flips: u64,
    orders: u64,
    questions: u64,
    lags: u64,
    skews: u64,
    parts: u64,
    telegrams: u64,
}

impl Swarm {
    fn draw(dice: &mut Dice) -> Self {
        let mut some = |most: i64| match dice.below(2) {
            0 => 0,
            _ => u64::try_from(dice.between(1, most)).expect("above zero"),
        };
        Self {
            kills: some(300),
            losses: some(300),
            failures: some(200),
            floods: some(20),
            flips: some(30),
            orders: some(700),
            questions: some(200),
            lags: some(300),
            skews: some(60),
            parts: some(400),
            telegrams: some(300),
        }
    }
}

struct Life {
    seed: u64,
    dice: Dice,
    swarm: Swarm,
    inside: Inside,
    /// Thousandths of the ratio above 20.
    ratio: i64,
    tally: Tally,
    hasher: DefaultHasher,
    tells: bool,
}

impl Life {
    fn new(seed: u64) -> Self {
        let mut dice = Dice(seed);
        let swarm = Swarm::draw(&mut dice);
        let settings: &[&[(&str, &str)]] = &[
            &[],
            &[("MAX_SLIPPAGE_BPS", "10")],
            &[("STOP_Z", "1.45"), ("MAX_HOLD_CANDLES", "5")],
            &[("MAX_ORDERS_PER_DAY", "6")],
        ];
        let inside = Inside::new(dice.pick(settings));
        Self {
            seed,
            dice,
            swarm,
            inside,
            ratio: 0,
            tally: Tally::default(),
            hasher: DefaultHasher::new(),
            tells: false,
        }
    }

    fn live(mut self) -> Result<Tally, String> {
        for start in 0..STARTS {
            self.begin_again();
            self.weather();
            self.one_start().map_err(|why| format!("start {start}: {why}"))?;
        }
        self.clear_up()?;
        self.tally.lives = 1;
        let (orders, executed) = self.inside.with(|outer| {
            let orders = &outer.exchange.orders;
            (outer.sent.len(), orders.iter().filter(|it| !it.executed.is_zero()).count())
        });
        (self.tally.orders, self.tally.executed) = (orders, executed);
        self.seed.hash(&mut self.hasher);
        self.tally.trace = self.hasher.finish();
        Ok(self.tally)
    }

    /// Time passes: often a candle ends, sometimes several.
    fn begin_again(&mut self) {
        match self.dice.below(4) {
            0 | 1 => {
                let candles = if self.dice.one_in(30) { self.dice.between(2, 9) } else { 1 };
                for _ in 0..candles {
                    self.ratio = self.ratio * 7 / 10 + self.dice.between(-150, 150);
                    if self.dice.one_in(4) {
                        self.ratio += self.dice.pick(&[-700, -400, 400, 700]);
                    }
                    let spread = Decimal::new(20_000 + self.ratio, 3).to_string();
                    self.inside.with(|outer| {
                        outer.next_candle(&spread);
                        for symbol in ["BTCUSDT", "ETHUSDT"] {
                            let candles = &mut outer.exchange.symbol(symbol).candles;
                            if candles.rows.len() > 60 {
                                candles.rows.drain(..30);
                                candles.start += 30 * HOUR;
                            }
                        }
                    });
                }
            }
            2 => self.pass(&[2 * SECOND, 10 * SECOND, 30 * SECOND]),
            _ => self.pass(&[MINUTE, 2 * MINUTE, 10 * MINUTE]),
        }
    }

    fn pass(&mut self, times: &[i64]) {
        let time = self.dice.pick(times);
        self.inside.with(|outer| outer.advance(time));
    }

    fn happens(&mut self, of_a_thousand: u64) -> bool {
        self.dice.below(1_000) < of_a_thousand
    }

    /// What the next start meets outside of the program.
    fn weather(&mut self) {
        let mut rules = Vec::new();
        if self.happens(self.swarm.orders) {
            rules.push(self.order());
        }
        for _ in 0..2 {
            if self.happens(self.swarm.questions) {
                let skip = usize::try_from(self.dice.below(12)).expect("few");
                let count = usize::try_from(1 + self.dice.below(3)).expect("few");
                let fault = Fault { execute: Execute::Now, reply: self.answer() };
                rules.push(Rule { on: On::Any, skip, count, fault });
            }
        }
        if self.happens(self.swarm.telegrams) {
            let wish = r#"{"ok":false,"error_code":429,"description":"Too Many Requests: retry after 30","parameters":{"retry_after":30}}"#;
            let replies =
                [Reply::Close, Reply::Hang, Reply::Html(502), Reply::Status(429, wish.to_owned())];
            rules.push(Rule::every("POST /bot1:simulated/sendMessage", self.dice.pick(&replies)));
        }
        let lags = if self.happens(self.swarm.lags) { self.lags() } else { Lags::default() };
        let skew = if self.happens(self.swarm.skews) {
            self.dice.pick(&[-90 * SECOND, -7 * SECOND, -900, 1_500, 20 * SECOND, 90 * SECOND])
        } else {
            0
        };
        let depth = if self.happens(self.swarm.parts) {
            self.dice.pick(&[7, 40, 60, 140])
        } else {
            100_000_000
        };
        let room = self.happens(self.swarm.floods).then(|| self.dice.below(6_000));
        self.tally.floods += u64::from(room.is_some());
        self.inside.with(|outer| {
            outer.exchange.rules = rules;
            outer.exchange.lag = lags;
            outer.skew = skew;
            outer.files.room = room.map(|room| usize::try_from(room).expect("small"));
            for symbol in ["BTCUSDT", "ETHUSDT"] {
                outer.exchange.symbol(symbol).depth = vec![Decimal::from(depth)];
            }
        });
    }

    /// What becomes of an order, and what is heard of it.
    fn order(&mut self) -> Rule {
        if self.dice.one_in(6) {
            let refusals = [
                Reply::Code(
                    429,
                    -1015,
                    "Too many new orders; current limit is 100 orders per 10 SECOND.",
                ),
                Reply::Code(400, -1021, "Timestamp for this request is outside of the recvWindow."),
                Reply::Silence(429, Some("20"), Some(-1003)),
            ];
            return Rule::order(Execute::Never, self.dice.pick(&refusals));
        }
        let execute = match self.dice.below(5) {
            0 => Execute::Never,
            1 => Execute::LateMillis(self.dice.between(1, 15_000)),
            2 => Execute::QueuedMillis(self.dice.between(1, 8_000)),
            _ => Execute::Now,
        };
        let reply = if execute == Execute::Now && self.dice.one_in(4) {
            Reply::Good
        } else {
            self.answer()
        };
        Rule::order(execute, reply)
    }

    /// Answers that say nothing.
    fn answer(&mut self) -> Reply {
        self.dice.pick(&[
            Reply::Close,
            Reply::Reset,
            Reply::Cut,
            Reply::Hang,
            Reply::Empty,
            Reply::Html(200),
            Reply::Html(403),
            Reply::Html(502),
            Reply::Redirect(307),
            Reply::Status(504, String::new()),
            Reply::Delay(3_000),
            Reply::Code(408, -1007, "Timeout waiting for response from backend server."),
            Reply::Code(400, -1006, "An unexpected response was received."),
            Reply::Code(503, -1008, "Server is currently overloaded with other requests."),
            Reply::Code(500, -1000, "An unknown error occurred while processing."),
        ])
    }

    /// Replicas that are behind, each within what the program counts on.
    fn lags(&mut self) -> Lags {
        let mut one = || match self.dice.below(4) {
            0 => Lag::None,
            1 => Lag::Flapping(self.dice.between(1, 40) * SECOND),
            _ => Lag::Millis(self.dice.between(1, 50) * SECOND),
        };
        Lags {
            order: one(),
            open_orders: one(),
            all_orders: one(),
            my_trades: one(),
            account: one(),
        }
    }

    fn one_start(&mut self) -> Result<(), String> {
        self.tally.starts += 1;
        if self.happens(self.swarm.flips) && self.flip()? {
            return Ok(());
        }
        let hurt = if self.happens(self.swarm.kills) {
            Some(Hurt::Kill)
        } else if self.happens(self.swarm.failures) {
            self.tally.hurts += 1;
            Some(self.dice.pick(&[Hurt::Once, Hurt::ForEver, Hurt::Freeze]))
        } else {
            None
        };
        let at = usize::try_from(1 + self.dice.below(75)).expect("few");
        let work = if self.dice.one_in(200) { Work::Flatten } else { Work::Run };
        let (operations, ended) = self.inside.start(work, hurt.map(|hurt| (at, hurt)));
        self.note(&format!("{work:?} {hurt:?} at {at}: {operations} operations, {ended:?}"));
        match ended {
            Ended::Code(code) => *self.tally.codes.entry(code).or_default() += 1,
            Ended::Killed => {
                self.tally.kills += 1;
                if self.happens(self.swarm.losses) {
                    self.tally.losses += 1;
                    let pasts = self.inside.with(|outer| outer.files.pasts());
                    let past = self.dice.pick(&pasts);
                    self.note(&format!("the power goes and leaves {past:?}"));
                    self.inside.with(|outer| outer.files.power_lost(past));
                }
            }
        }
        self.inside.with(|outer| {
            outer.files.room = None;
            outer.exchange.messages.drain(..outer.exchange.messages.len().saturating_sub(60));
        });
        self.inside.check_always()?;
        // Looking is dear: it halts with this code, or because it was flattened.
        if !matches!((work, &ended), (Work::Flatten, _) | (_, Ended::Code(76))) {
            return Ok(());
        }
        match self.inside.halted() {
            None => Ok(()),
            Some(HaltedBy::Program) => Err("it halted, although nobody knows better".to_owned()),
            // It was flattened; a person lets it go on.
            Some(HaltedBy::Person) => self.inside.resume(),
        }
    }

    /// A bit of the state is flipped: the start refuses it and leaves it as it is. Whether there was a state to flip.
    fn flip(&mut self) -> Result<bool, String> {
        let name = "state.json";
        let Some(good) = self.inside.with(|outer| outer.files.read(name).map(<[u8]>::to_vec))
        else {
            return Ok(false);
        };
        self.tally.flips += 1;
        let at = usize::try_from(self.dice.below(good.len() as u64 * 8)).expect("small");
        self.inside.with(|outer| outer.files.tamper(name, |bytes| bytes[at / 8] ^= 1 << (at % 8)));
        let bad = self.inside.with(|outer| outer.files.read(name).map(<[u8]>::to_vec));
        let sent = self.inside.with(|outer| outer.sent.len());
        let (_, ended) = self.inside.start(Work::Run, None);
        self.note(&format!("bit {at} of the state is flipped: {ended:?}"));
        let left = self.inside.with(|outer| outer.files.read(name).map(<[u8]>::to_vec));
        if !matches!(ended, Ended::Code(65)) || left != bad {
            return Err(format!("bit {at} of the state flipped: {ended:?}"));
        }
        if self.inside.with(|outer| outer.sent.len()) != sent {
            return Err("an order upon a damaged state".to_owned());
        }
        self.inside.with(|outer| outer.files.tamper(name, |bytes| bytes.clone_from(&good)));
        Ok(true)
    }

    /// Everything is well again: within three starts nothing is open.
    fn clear_up(&mut self) -> Result<(), String> {
        self.inside.with(|outer| {
            outer.exchange.rules.clear();
            outer.exchange.lag = Lags::default();
            outer.skew = 0;
            for symbol in ["BTCUSDT", "ETHUSDT"] {
                outer.exchange.symbol(symbol).depth = vec![Decimal::from(100_000_000)];
            }
            // Longer than any ban that was asked for.
            outer.advance(5 * MINUTE);
        });
        let was_open = self.inside.check_book().is_err();
        self.tally.left_open += u64::from(was_open);
        let mut why = String::new();
        for start in 1..=3 {
            let (_, ended) = self.inside.start(Work::Run, None);
            self.note(&format!("in good weather: {ended:?}"));
            self.inside.check_always()?;
            match self.inside.check_settled() {
                Ok(()) => {
                    *self.tally.settled_after.entry(start).or_default() += 1;
                    return Ok(());
                }
                Err(still) => why = still,
            }
            self.inside.with(|outer| outer.advance(2 * MINUTE));
        }
        Err(format!("after three faultless starts: {why}"))
    }

    fn note(&mut self, what: &str) {
        what.hash(&mut self.hasher);
        self.inside.with(|outer| outer.now).hash(&mut self.hasher);
        if self.tells {
            println!("{:>6} {what}", self.tally.starts);
            for line in self.inside.trace().iter().filter(|line| line.starts_with("    ")) {
                println!("       {}", line.trim());
            }
        }
    }
}
