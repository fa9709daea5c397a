//! What the program itself wrote, and what a crash, a disk or a person made of it: the state, the
//! journal, and what is not money.
//!
//! Nobody guesses a SHA-256, so a fuzzer would never get past the first one. Here the checksums are
//! put right after a change, and what is behind them is reached.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use ouroboros::command::audit::audit;
use ouroboros::config::{Config, Mode};
use ouroboros::failure::{Failure, Kind as Failed};
use ouroboros::run;
use ouroboros::stop::Stop;
use ouroboros::store::outside::{Memory as Remembered, Outside, RulesV1};
use ouroboros::store::{self, Identity, Outbox, State, Store};
use ouroboros::trading::book::Book;
use ouroboros::trading::market::{Leg, Side};
use ouroboros::trading::money::{Amount, Profit, Quantity};
use ouroboros::trading::order::Kind;
use ouroboros::trading::time::Interval;
use ouroboros::world::{self as opened, World};
use rust_decimal::Decimal;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::world::{Memory, assert_plain, choice, http, now};
use super::{config, market, orders};

/// `state.json`, as it is and with its checksums put right.
pub(crate) fn state(bytes: &[u8]) {
    state_as_it_is(bytes);
    if let Some(mended) = mended(bytes).filter(|mended| mended != bytes) {
        state_as_it_is(&mended);
    }
}

fn state_as_it_is(bytes: &[u8]) {
    let state = match peek_alone(bytes) {
        Ok(state) => state,
        Err(failure) => {
            // Another one's state or a damaged one is never taken for none.
            assert_eq!(failure.kind, Failed::Untrusted);
            return assert_plain(&failure);
        }
    };
    assert_can_be(&state);
    // A single bit that flips is found, wherever it is.
    let mut flipped = bytes.to_vec();
    let at = choice(bytes) % (bytes.len() * 8);
    flipped[at / 8] ^= 1 << (at % 8);
    assert!(peek_alone(&flipped).is_err(), "bit {at} flipped, and nobody noticed");

    // Nobody gets there by counting, and what comes after the last number there is has none.
    if state.number() > u64::MAX / 2 || state.outbox.next > u64::MAX / 2 {
        return;
    }
    let Some(newest) = newest_line(bytes) else { panic!("a state has its newest line") };
    let folder = Path::new("/fuzz/world");
    let disk =
        || Memory::default().with(folder.join(STATE), bytes).with(folder.join(JOURNAL), &newest);
    assert_can_be_continued(&state, &disk(), folder);
    assert_can_be_run(&state, bytes, &disk(), folder);
}

fn peek_alone(bytes: &[u8]) -> Result<State, Failure> {
    let folder = Path::new("/fuzz/world");
    let disk = Memory::default().with(folder.join(STATE), bytes);
    store::peek_alone(&disk, folder).map(|state| state.expect("there is a state"))
}

/// No number that no book can have.
fn assert_can_be(state: &State) {
    let book = &state.book;
    let most: Decimal = 10_000_000_000_000_000_000_u64.into();
    let fits = |value: Decimal| value.abs() < most && value.normalize().scale() <= 8;
    let amount = |value: Amount| {
        assert!(fits(value.value()) && value.value() >= Decimal::ZERO, "{value}");
    };
    let quantity = |value: Quantity| {
        assert!(fits(value.value()) && value.value() >= Decimal::ZERO, "{value}");
    };
    let profit = |value: Profit| assert!(fits(value.value()), "{value}");
    if let Some(holding) = book.position.holding() {
        assert!(!holding.quantity.is_zero(), "nothing is held");
        assert!(
            holding.entry_price.value() > Decimal::ZERO
                && holding.entry_z.is_none_or(|z| z.value().is_finite())
        );
        quantity(holding.quantity);
        amount(holding.cost);
        amount(holding.proceeds);
    }
    for leg in Leg::BOTH {
        quantity(book.dust.of(leg));
    }
    book.cash.into_iter().for_each(amount);
    book.other_fees.values().copied().for_each(quantity);
    profit(book.realized);
    profit(book.day.realized);
    if let Some(intent) = book.pending() {
        assert!(intent.touch.price.value() > Decimal::ZERO);
        assert!(intent.touch.rules.step.value() > Decimal::ZERO);
        quantity(intent.before.base);
        amount(intent.before.quote);
    }
    let waiting = &state.outbox.waiting;
    assert!(waiting.windows(2).all(|two| two[0].number < two[1].number));
    assert!(waiting.iter().all(|message| message.number < state.outbox.next));
}

/// Whatever was read can be written again, and comes back the same.
fn assert_can_be_continued(state: &State, disk: &Memory, folder: &Path) {
    let mut store = Store::open(disk.shared(), folder).expect("a disk in memory");
    let loaded = store.load().expect("a state with its newest line").expect("there is a state");
    assert_eq!(loaded.number(), state.number());
    let State { identity, book, outbox, .. } = state.clone();
    store.commit(identity, book, outbox, &json!({ "kind": "fuzz" })).expect("it is written");
    let again = store::peek(disk, folder).expect("it can be read").expect("there is a state");
    assert_eq!(again.number(), state.number() + 1);
    assert_eq!((again.identity, again.book), (state.identity.clone(), state.book.clone()));
    assert_eq!(again.outbox, state.outbox);
}

/// A start on this state ends, with one of the documented failures or none, and leaves a state that
/// the next one can read.
fn assert_can_be_run(state: &State, bytes: &[u8], disk: &Memory, folder: &Path) {
    let config = if state.identity.mode == "live" { live() } else { paper() };
    let http = http(|_| None);
    let outside = Outside::load(disk.shared(), folder);
    let exchange = opened::market(config, &http, &outside);
    let store = Store::open(disk.shared(), folder).expect("a disk in memory");
    let mut world = World { store, exchange, outside };
    match run::run(&mut world, config, &Stop::default(), now()) {
        Ok(report) => assert!(!report.to_text().is_empty() && !report.to_line().is_empty()),
        Err(failure) => {
            assert_ne!(failure.kind, Failed::Bug, "{}", failure.message);
            assert_ne!(failure.kind, Failed::Storage, "{}", failure.message);
        }
    }
    drop(world);
    let after = store::peek(disk, folder).expect("it can be read").expect("there is a state");
    if after.number() == state.number() {
        assert_eq!(disk.read(folder.join(STATE)), bytes, "no commit without news");
    }
}

/// `journal.jsonl`: as it is, and its records as the lines of a chain that holds.
pub(crate) fn journal(bytes: &[u8]) {
    let records = records(bytes);
    let is_live = !bytes.windows(14).any(|word| word == b"\"mode\":\"paper\"");
    let config = if is_live { live_by_minutes() } else { paper_by_minutes() };
    let folder = opened::folder(config).expect("a folder");
    journal_as_it_is(bytes, &folder, config);
    if !records.is_empty() {
        assert_chain_holds(&records, &folder, config);
    }
}

fn journal_as_it_is(bytes: &[u8], folder: &Path, config: &Config) {
    let last = bytes.split_inclusive(|byte| *byte == b'\n').rfind(|line| line.ends_with(b"\n"));
    let newest = last.filter(|line| parsed(line).is_some());
    let newest = newest.map_or_else(|| chained(&[null()]).concat(), <[u8]>::to_vec);
    let disk = Memory::default()
        .with(folder.join(STATE), &state_with(&newest, config))
        .with(folder.join(JOURNAL), bytes);
    let Ok(Some(state)) = store::peek_alone(&disk, folder) else { return };
    let mut seen = 0;
    let walked = store::walk(&disk, folder, &state, |_| {
        seen += 1;
        Ok(())
    });
    match walked {
        Ok(count) => {
            assert_eq!((count, count), (seen, state.number()));
            // What was walked is a chain, looked at in another way.
            let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
            let whole = lines.into_iter().filter(|line| line.ends_with(b"\n"));
            let records: Vec<RawText> =
                whole.clone().map(|line| parsed(line).expect("a line").record).collect();
            assert_eq!(chained(&records).concat(), whole.collect::<Vec<_>>().concat());
        }
        Err(failure) => {
            assert_eq!(failure.kind, Failed::Untrusted);
            assert_plain(&failure);
        }
    }
    match store::peek(&disk, folder) {
        Ok(Some(peeked)) => assert_eq!(peeked.number(), state.number()),
        Ok(None) => panic!("there is a state"),
        Err(failure) => assert_eq!(failure.kind, Failed::Untrusted),
    }
    assert!(store::recent_records(&disk, folder, &state).is_ok_and(|recent| !recent.is_empty()));
}

fn assert_chain_holds(records: &[RawText], folder: &Path, config: &Config) {
    let lines = chained(records);
    let (whole, newest) = (lines.concat(), lines.last().expect("a line"));
    let state_bytes = state_with(newest, config);
    let disk = |journal: &[u8]| {
        Memory::default().with(folder.join(STATE), &state_bytes).with(folder.join(JOURNAL), journal)
    };
    let full = disk(&whole);
    let state = store::peek(&full, folder).expect("it can be read").expect("there is a state");
    let mut seen = Vec::new();
    let count = store::walk(&full, folder, &state, |record| {
        seen.push(record.clone());
        Ok(())
    });
    assert_eq!(count.expect("the chain holds"), state.number());
    let given = records.iter().map(|record| serde_json::from_str(record.get()).expect("JSON"));
    assert_eq!(seen, given.collect::<Vec<Value>>());

    // Cut anywhere: what lacks at most the newest line is completed, anything else is refused.
    let cut = choice(&whole) % (whole.len() + 1);
    let torn = disk(&whole[..cut]);
    let mut store = Store::open(torn.shared(), folder).expect("a disk in memory");
    let lacks_newest_only = cut >= whole.len() - newest.len();
    match store.load() {
        Ok(_) => {
            assert!(lacks_newest_only, "cut at {cut} of {}, and nobody noticed", whole.len());
            store.complete_journal().expect("a disk in memory");
            assert!(torn.read(folder.join(JOURNAL)) == whole, "it is whole again");
        }
        Err(failure) => {
            assert_eq!(failure.kind, Failed::Untrusted);
            assert!(!lacks_newest_only, "cut at {cut} of {}: {}", whole.len(), failure.message);
        }
    }
    drop(store);

    // A single bit that flips is found. The last line feed is none: without it the line is half a
    // line, and the state has it whole.
    let mut flipped = whole.clone();
    let at = choice(&whole) % ((whole.len() - 1) * 8);
    flipped[at / 8] ^= 1 << (at % 8);
    let walked = store::walk(&disk(&flipped), folder, &state, |_| Ok(()));
    assert!(walked.is_err(), "bit {at} flipped, and nobody noticed");

    // Whatever the records say, an audit says whether it is so.
    if let Err(failure) = audit(&full, config) {
        assert_eq!(failure.kind, Failed::Untrusted, "{}", failure.message);
    }
}

/// `outside.json`: it is understood or forgotten, never in the way.
pub(crate) fn outside(bytes: &[u8]) {
    let folder = Path::new("/fuzz/paper");
    let disk = Memory::default().with(folder.join("outside.json"), bytes);
    let load = || Outside::load(disk.shared(), folder);
    let mut outside = load();
    if serde_json::from_slice::<IgnoredAny>(bytes).is_err() {
        assert_eq!(outside.memory, Remembered::default(), "nonsense is forgotten");
    }
    for host in outside.memory.bans.keys() {
        if let Some(until) = outside.banned_until(host, now()) {
            // A clock that was set back must not make years of it.
            let millis = until.millis_since(now());
            assert!(millis > 0 && millis <= 4 * 24 * 60 * 60 * 1000, "{millis} ms of silence");
        }
    }
    let rules = outside.memory.rules.iter().flat_map(|known| known.symbols.values());
    for rules in rules.filter_map(RulesV1::rules) {
        assert_eq!(RulesV1::of(&rules).rules().as_ref(), Some(&rules));
    }
    for kind in [Kind::Market, Kind::Limit] {
        use ouroboros::exchange::Exchange as _;
        let mut paper = market::paper("nothing", b"", kind);
        if let Ok((touch, _)) = paper.touch(Leg::Numerator, Side::Buy, now(), &mut outside) {
            market::assert_plans_keep(&touch, kind);
        }
    }
    outside.forget_other_book(&Outbox::default());
    outside.save();
    assert_eq!(load().memory, outside.memory, "what was saved is what is read");
    // The clock of the last run may be off by anything.
    let mut live = orders::live(&http(|_| None), &outside);
    if let Err(failure) = live.account(&mut outside) {
        assert_plain(&failure);
    }
}

/// The lines of these records, each with the hash of the one before.
fn chained(records: &[RawText]) -> Vec<Vec<u8>> {
    let mut prev = "0".repeat(64);
    let line = |(seq, record): (u64, &RawText)| {
        let hash = hash_of(seq, &prev, record.get());
        let record = record.get();
        let line = format!(
            "{{\"seq\":{seq},\"prev\":\"{prev}\",\"hash\":\"{hash}\",\"record\":{record}}}\n"
        );
        prev = hash;
        line.into_bytes()
    };
    (1..).zip(records).map(line).collect()
}

/// What can be a record: that of each line, or the line itself.
fn records(bytes: &[u8]) -> Vec<RawText> {
    let lines = bytes.split(|byte| *byte == b'\n').take(64);
    let record = |line: &[u8]| {
        parsed(line).map(|line| line.record).or_else(|| serde_json::from_slice(line).ok())
    };
    // A number beyond all numbers is JSON, and no value of ours.
    let is_value = |record: &RawText| serde_json::from_str::<Value>(record.get()).is_ok();
    lines.filter_map(record).filter(is_value).collect()
}

/// A record, byte for byte.
type RawText = Box<RawValue>;

#[derive(Deserialize)]
struct LineText {
    seq: u64,
    prev: String,
    hash: String,
    record: RawText,
}

fn parsed(line: &[u8]) -> Option<LineText> {
    serde_json::from_slice(line).ok()
}

fn null() -> RawText {
    RawValue::from_string("null".to_owned()).expect("JSON")
}

#[derive(Deserialize)]
struct StateText<'a> {
    checksum: String,
    #[serde(borrow)]
    body: &'a RawValue,
}

#[derive(Deserialize)]
struct BodyText<'a> {
    #[serde(borrow)]
    newest_record: &'a RawValue,
}

/// The newest line of a state as it stands in the journal.
fn newest_line(state: &[u8]) -> Option<Vec<u8>> {
    let file: StateText<'_> = serde_json::from_slice(state).ok()?;
    let body: BodyText<'_> = serde_json::from_str(file.body.get()).ok()?;
    let LineText { seq, prev, hash, record } = parsed(body.newest_record.get().as_bytes())?;
    let record = record.get();
    let text =
        format!("{{\"seq\":{seq},\"prev\":\"{prev}\",\"hash\":\"{hash}\",\"record\":{record}}}\n");
    Some(text.into_bytes())
}

/// A state of an empty book, with this line as its newest.
fn state_with(line: &[u8], config: &Config) -> Vec<u8> {
    static EMPTY: OnceLock<[String; 2]> = OnceLock::new();
    let empty = EMPTY.get_or_init(|| [live_by_minutes(), paper_by_minutes()].map(empty_state));
    let empty = &empty[usize::from(!config.mode.is_live())];
    let Some(LineText { seq, prev, hash, record }) = parsed(line) else { return Vec::new() };
    let file: StateText<'_> = serde_json::from_str(empty).expect("a state");
    let body: BodyText<'_> = serde_json::from_str(file.body.get()).expect("a body");
    let (prev, hash) = (Value::from(prev), Value::from(hash));
    let newest = format!(
        "{{\n      \"seq\": {seq},\n      \"prev\": {prev},\n      \"hash\": {hash},\n      \
         \"record\": {record}\n    }}"
    );
    let text = empty.replacen(body.newest_record.get(), &newest, 1);
    let body: StateText<'_> = serde_json::from_str(&text).expect("a state");
    let checksum = checksum(body.body.get(), record.get());
    text.replacen(&file.checksum, &checksum, 1).into_bytes()
}

fn empty_state(config: &Config) -> String {
    let mode = if let Mode::Live(_) = config.mode { "live" } else { "paper" };
    let identity = Identity {
        mode: mode.to_owned(),
        numerator: "BTC/USDT".to_owned(),
        denominator: "ETH/USDT".to_owned(),
        timeframe: config.rules.interval.name().to_owned(),
        candles: None,
    };
    let book = match config.mode {
        Mode::Live(_) => Book::unclaimed(),
        Mode::Paper | Mode::Replay(_) => Book::open(config.opening_balance),
    };
    let (disk, folder) = (Memory::default(), PathBuf::from("/fuzz/empty"));
    let mut store = Store::open(disk.shared(), &folder).expect("a disk in memory");
    store.commit(identity, book, Outbox::default(), &json!(null)).expect("a disk in memory");
    String::from_utf8(disk.read(folder.join(STATE))).expect("text")
}

/// The same state with the hash of its line and its checksum put right.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(bytes).ok()?;
    let file: StateText<'_> = serde_json::from_str(text).ok()?;
    let body: BodyText<'_> = serde_json::from_str(file.body.get()).ok()?;
    let newest = body.newest_record.get();
    let line = parsed(newest.as_bytes())?;
    let hash = hash_of(line.seq, &line.prev, line.record.get());
    let new_body = match line.hash.as_str() {
        "" => file.body.get().to_owned(),
        old => file.body.get().replacen(newest, &newest.replacen(old, &hash, 1), 1),
    };
    let checksum = checksum(&new_body, line.record.get());
    let text = text.replacen(file.body.get(), &new_body, 1);
    let old = Some(file.checksum.as_str()).filter(|old| !old.is_empty())?;
    Some(text.replacen(old, &checksum, 1).into_bytes())
}

/// The checksum of a body: it stands for the same JSON without blanks, but for the record, which is
/// what it is.
fn checksum(body: &str, record: &str) -> String {
    let (before, after) = body.rsplit_once(record).expect("a body has a record");
    let parts = [&without_blanks(before), record, &without_blanks(after)];
    hex(&Sha256::digest(parts.concat()))
}

/// JSON without the blanks between its parts.
fn without_blanks(json: &str) -> String {
    let (mut inside, mut escaped) = (false, false);
    let stays = |c: &char| {
        let was_inside = inside;
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = inside,
            '"' => inside = !inside,
            _ => {}
        }
        was_inside || inside || !c.is_ascii_whitespace()
    };
    json.chars().filter(stays).collect()
}

fn hash_of(seq: u64, prev: &str, record: &str) -> String {
    hex(&Sha256::digest(format!("{seq}\n{prev}\n{record}")))
}

fn hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from_digit(value.into(), 16).expect("four bits");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Two candles are enough for a z-score of 0.7, and that is enough for an order.
fn live() -> &'static Config {
    static LIVE: OnceLock<Config> = OnceLock::new();
    LIVE.get_or_init(|| {
        config::of(&format!(
            "DRY_RUN=false\nBINANCE_API_KEY=key\nBINANCE_API_SECRET=secret\n{EAGER}"
        ))
    })
}

fn paper() -> &'static Config {
    static PAPER: OnceLock<Config> = OnceLock::new();
    PAPER.get_or_init(|| config::of(EAGER))
}

/// The recorded journals are a rehearsal's; a record brings the rest of its rules along.
fn by_minutes(config: &Config) -> Config {
    let mut config = config.clone();
    config.rules.interval = Interval::named("1m").expect("an interval");
    config
}

fn live_by_minutes() -> &'static Config {
    static LIVE: OnceLock<Config> = OnceLock::new();
    LIVE.get_or_init(|| by_minutes(live()))
}

fn paper_by_minutes() -> &'static Config {
    static PAPER: OnceLock<Config> = OnceLock::new();
    PAPER.get_or_init(|| by_minutes(paper()))
}

const EAGER: &str = "TIMEFRAME=1h\nROLLING_WINDOW=2\nENTRY_THRESHOLD=0.5\nSTATE_DIR=/fuzz\n\
    TELEGRAM_BOT_TOKEN=1:a\nTELEGRAM_CHAT_ID=1\n";
const STATE: &str = "state.json";
const JOURNAL: &str = "journal.jsonl";
