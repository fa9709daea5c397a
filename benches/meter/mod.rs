//! What a program took: the meter of both benches.

use std::error::Error;
use std::ffi::OsStr;
use std::process::{Command, Stdio};
use std::time::Instant;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;

pub(crate) type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// As first argument: run the rest as a command and print what it took. A process of its own, because the kernel counts
/// the memory of the process that starts another one as if the other had used it; this one is smaller than any it measures.
pub(crate) const METER: &str = "--meter";

pub(crate) struct Run {
    pub(crate) wall_ms: f64,
    pub(crate) cpu_ms: f64,
    pub(crate) peak_kib: f64,
}

pub(crate) fn meter(command: &[impl AsRef<OsStr>]) -> Result<()> {
    let (program, arguments) = command.split_first().ok_or("no command to measure")?;
    let begin = Instant::now();
    let output = Command::new(program).args(arguments).stdout(Stdio::null()).output()?;
    let wall = begin.elapsed();
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        return Err(
            format!("{} ended with {}: {text}", program.as_ref().display(), output.status).into()
        );
    }
    println!("{} {} {}", wall.as_micros(), cpu_us(UsageWho::RUSAGE_CHILDREN)?, {
        getrusage(UsageWho::RUSAGE_CHILDREN)?.max_rss()
    });
    Ok(())
}

/// User and system time so far.
pub(crate) fn cpu_us(who: UsageWho) -> Result<i64> {
    let used = getrusage(who)?;
    Ok(used.user_time().num_microseconds() + used.system_time().num_microseconds())
}

/// Runs a command that has the meter before it.
pub(crate) fn measured(command: &mut Command) -> Result<Run> {
    let output = command.output()?;
    let printed = String::from_utf8_lossy(&output.stdout);
    let figures: Vec<f64> =
        printed.split_whitespace().filter_map(|figure| figure.parse().ok()).collect();
    match figures[..] {
        [wall_us, cpu_us, peak_kib] => {
            Ok(Run { wall_ms: wall_us / 1e3, cpu_ms: cpu_us / 1e3, peak_kib })
        }
        _ => Err(String::from_utf8_lossy(&output.stderr).trim().into()),
    }
}

pub(crate) fn median<T>(runs: &[T], figure: impl Fn(&T) -> f64) -> f64 {
    let mut figures: Vec<f64> = runs.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
