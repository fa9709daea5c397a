//! The log: the console through `simple_logger`, and `bot.log` beside it.
//!
//! Invariant: no sink that fails stops or changes a run. A full disk, a closed pipe or a folder
//! that can't be made costs log lines, never a trade. `simple_logger` prints with `eprintln!`,
//! which panics when standard error is full or gone, so it is called inside `catch_unwind`.

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use log::{Level, LevelFilter, Log, Metadata, Record};
use simple_logger::SimpleLogger;

use crate::clock;
use crate::failure::plain;

/// How much is said on standard error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Only problems.
    Quiet,
    /// A line or two a run.
    Normal,
    /// Each step.
    Verbose,
}

/// What the environment says about standard error.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// `$JOURNAL_STREAM`: the device and inode of the stream that the journal reads.
    pub journal_stream: Option<String>,
    /// `$NO_COLOR` is set.
    pub no_color: bool,
}

/// Opens the console. Called once, before anything can be said.
pub fn start(verbosity: Verbosity, surroundings: &Surroundings) {
    let level = match verbosity {
        Verbosity::Quiet => LevelFilter::Warn,
        Verbosity::Normal => LevelFilter::Info,
        Verbosity::Verbose => LevelFilter::Debug,
    };
    let colors = std::io::stderr().is_terminal() && !surroundings.no_color;
    let tee = Tee {
        console: SimpleLogger::new().with_level(level).with_colors(colors),
        console_level: level,
        journal: is_journal(surroundings),
    };
    // The file has what a person needs afterwards, even where the console was asked to be quiet.
    log::set_max_level(level.max(LevelFilter::Info));
    // A second logger can't be set; in a test the first one serves.
    let _ = log::set_boxed_logger(Box::new(tee));
}

/// Adds `bot.log` in `folder`, rotated when it has grown. Where that fails the run goes on
/// without it and says so once. `make` makes the folder, and what lacks above it: the state directory
/// may be one of them, which has to be on the disk before anything in it is.
pub fn add_file(folder: &Path, make: impl FnOnce(&Path) -> anyhow::Result<()>) {
    match make(folder).and_then(|()| Ok(open(folder)?)) {
        Ok(file) => {
            let _ = FILE.set(file);
        }
        Err(error) => log::warn!("no log file in `{}`: {error:#}", folder.display()),
    }
}

/// Whether a panic of this moment is the console's, and no bug.
#[must_use]
pub fn is_printing() -> bool {
    PRINTING.load(Ordering::Relaxed)
}

struct Tee {
    console: SimpleLogger,
    console_level: LevelFilter,
    /// Standard error is the journal: priorities in front, no second timestamp.
    journal: bool,
}

impl Log for Tee {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // Libraries have their say only when something is wrong.
        metadata.target().starts_with("ouroboros") || metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let now = clock::now().to_precise_text();
        let message = plain(&record.args().to_string());
        if let Some(mut file) = FILE.get() {
            let line = format!("{now} {:<5} {message}\n", record.level());
            let _ = file.write_all(line.as_bytes());
        }
        if record.level() > self.console_level {
            return;
        }
        if self.journal {
            let line = format!("<{}>{message}\n", priority(record.level()));
            let _ = std::io::stderr().write_all(line.as_bytes());
            return;
        }
        PRINTING.store(true, Ordering::Relaxed);
        let _ = catch_unwind(AssertUnwindSafe(|| {
            self.console.log(
                &Record::builder()
                    .args(format_args!("{now} {message}"))
                    .level(record.level())
                    .target("ouroboros")
                    .build(),
            );
        }));
        PRINTING.store(false, Ordering::Relaxed);
    }

    fn flush(&self) {}
}

/// Syslog's priorities, as systemd reads them. **Source**: sd-daemon(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// systemd names the stream, so that a redirected standard error is not taken for the journal.
/// **Source**: systemd.exec(5), `$JOURNAL_STREAM`.
fn is_journal(surroundings: &Surroundings) -> bool {
    let Some(named) = &surroundings.journal_stream else {
        return false;
    };
    rustix::fs::fstat(std::io::stderr().as_fd())
        .is_ok_and(|stat| *named == format!("{}:{}", stat.st_dev, stat.st_ino))
}

fn open(folder: &Path) -> std::io::Result<File> {
    let path = folder.join("bot.log");
    let file = append_to(&path)?;
    if file.metadata()?.len() < ROTATE_AT {
        return Ok(file);
    }
    // Two worlds may share the folder: only whoever holds this very file's lock rotates it.
    let held = fs2::FileExt::try_lock_exclusive(&file).is_ok();
    if held && std::fs::metadata(&path)?.ino() == file.metadata()?.ino() {
        for number in (1..KEPT).rev() {
            let older = folder.join(format!("bot.log.{}", number + 1));
            // The first rotations have nothing to move yet.
            let _ = std::fs::rename(folder.join(format!("bot.log.{number}")), older);
        }
        std::fs::rename(&path, folder.join("bot.log.1"))?;
    }
    append_to(&path)
}

fn append_to(path: &Path) -> std::io::Result<File> {
    let no_trap = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(no_trap.bits()).unwrap_or_default();
    File::options().append(true).create(true).mode(0o600).custom_flags(flags).open(path)
}

static FILE: OnceLock<File> = OnceLock::new();
static PRINTING: AtomicBool = AtomicBool::new(false);

const ROTATE_AT: u64 = 5_000_000;
const KEPT: u32 = 3;
