//! One invocation, from arguments and environment to exit code. `main` only hands them over, so
//! that a test can call the whole of it.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{ErrorKind, Write as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{CommandFactory as _, Parser as _};
use rustix::process::{Resource, Rlimit, setrlimit};
use serde_json::json;

use crate::cli::{Cli, Command, Options};
use crate::clock;
use crate::command::backtest::Wanted;
use crate::command::resume::Resume;
use crate::command::{
    self, Answer, adopt, audit, backtest, candles, check, crontab, flatten, halt, init, instances,
    resume, status, sweep, trades, units,
};
use crate::config::{self, Config};
use crate::exchange::http::Http;
use crate::failure::{Failure, Kind};
use crate::instance::CONFIGURATION;
use crate::logging::{self, Surroundings, Verbosity};
use crate::notify::{self, Asked, Ending, Over};
use crate::report::{Action, Report};
use crate::run;
use crate::stop::Stop;
use crate::store::disk::{Disk, System};
use crate::store::outside::Outside;
use crate::trading::time::Timestamp;
use crate::world::{self, World};

/// Does what the arguments say and returns the exit code.
#[must_use]
pub fn invoke(arguments: &[OsString], environment: BTreeMap<OsString, OsString>) -> u8 {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => return usage(&error, arguments),
    };
    // A core dump would hold the secrets; where the limit can't be set the run goes on.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let _ = setrlimit(Resource::Core, none);
    start_log(&cli.options, &environment);
    let options = &cli.options;
    // A bug must end with its own code and leave the state alone, not with whatever a panic does.
    let done = catch_unwind(AssertUnwindSafe(|| dispatch(&cli, environment)));
    let failure = match done {
        Ok(Ok(Said { answer, failure: None })) => return print_answer(options, answer),
        Ok(Ok(Said { answer, failure: Some(failure) })) => {
            // The answer has the failure in it.
            print_answer(options, answer);
            log_failure(&failure);
            return failure.kind.code();
        }
        Ok(Err(failure)) => failure,
        Err(_) => bug(),
    };
    log_failure(&failure);
    if options.json {
        print_line(&json!({ "error": failure.to_json() }).to_string());
    }
    failure.kind.code()
}

/// What a command has to say. A list of findings is an answer, and yet there may be a failure in it.
struct Said {
    answer: Option<Answer>,
    failure: Option<Failure>,
}

impl From<Option<Answer>> for Said {
    fn from(answer: Option<Answer>) -> Self {
        Self { answer, failure: None }
    }
}

impl From<Answer> for Said {
    fn from(answer: Answer) -> Self {
        Some(answer).into()
    }
}

fn dispatch(cli: &Cli, environment: BTreeMap<OsString, OsString>) -> Result<Said, Failure> {
    let options = &cli.options;
    if let Some(command) = &cli.command
        && let Some(said) = without_a_book(command, options, &environment)?
    {
        return Ok(said);
    }

    // Signals are caught from the first moment on, but for a question: Ctrl-C answers that.
    let asks = cli.command.as_ref().is_some_and(asks);
    let stop = (!asks).then(Stop::on_signals);
    let config = configured(cli, environment)?;
    let looks = cli.command.as_ref().is_some_and(only_looks);
    let stops = matches!(cli.command, Some(Command::Halt { .. } | Command::Resume { .. }));
    if !looks && !stops {
        // Before anything is touched; what only looks or stops needs no key.
        config.check_key()?;
    }
    if !looks {
        logging::add_file(&config.logs_dir, |folder| System.make_folder(folder));
    }
    // Warnings are among what is found by a check.
    let is_check = matches!(cli.command, Some(Command::Check));
    for warning in config.warnings.iter().filter(|_| !is_check) {
        log::warn!("{warning}");
    }
    if asks && !is_meant(cli.command.as_ref(), &config)? {
        let text = "nothing was done".to_owned();
        return Ok(Answer { text, json: json!({ "action": "hold" }) }.into());
    }
    let stop = stop.unwrap_or_else(Stop::on_signals);
    let now = clock::now();
    let is_quiet = options.quiet && !options.json;
    let done = match &cli.command {
        Some(Command::Check) => {
            let http = Http::new(config.extra_roots.as_deref(), stop)?;
            let (answer, failure) = check::check(&config, &http, now);
            return Ok(Said { answer: Some(answer), failure });
        }
        Some(Command::Backtest { from, to, html, trades }) => {
            let (html, trades) = (html.as_deref(), trades.as_deref());
            let wanted = Wanted { from: *from, to: *to, html, trades };
            backtest::backtest(&config, &wanted).map(Some)
        }
        Some(Command::Sweep { window, entry, exit, edge, folds, html, jobs }) => {
            let (folds, jobs) = (usize::from(*folds), jobs.map(usize::from));
            let html = html.as_deref();
            let wanted = sweep::Wanted { window, entry, exit, edge, folds, jobs, html };
            sweep::sweep(&config, &wanted).map(Some)
        }
        Some(Command::Report { html }) => {
            command::report::report(&System, &config, html.as_deref(), now).map(Some)
        }
        Some(Command::Trades { by, year, zone, format }) => {
            let (by, year, zone, format) = (*by, *year, zone.as_deref(), *format);
            trades::trades(&System, &config, &trades::Wanted { by, year, zone, format }).map(Some)
        }
        Some(Command::Candles { symbols, interval, from, to }) => {
            let http = Http::new(config.extra_roots.as_deref(), stop)?;
            let wanted = candles::Wanted {
                symbols,
                interval: *interval,
                from: *from,
                to: *to,
                is_quiet: options.quiet,
            };
            candles::candles(&config, http, &wanted).map(Some)
        }
        Some(Command::Audit) => audit::audit(&System, &config).map(Some),
        Some(Command::Status { .. }) => status::status(&config, now).map(Some),
        Some(Command::Halt { reason }) => halt::halt(&config, reason, now).map(Some),
        Some(Command::Resume { not_executed, new_book }) => {
            let how = Resume::asked(not_executed.as_deref(), *new_book);
            resume::resume(&config, how, &stop, now).map(Some)
        }
        Some(Command::Adopt { asset, quantity, cost, .. }) => {
            let adoption = adopt::understood(&config, asset, quantity, cost)?;
            let http = Http::new(config.extra_roots.as_deref(), stop)?;
            step(&config, &http, &System::shared(), |world, config, _, now| {
                run::adopt(world, config, &adoption, now)
            })
            .map(|report| Some(answer(&report)))
        }
        Some(Command::Flatten { .. }) => {
            let http = Http::new(config.extra_roots.as_deref(), stop)?;
            step(&config, &http, &System::shared(), run::flatten)
                .map(|report| Some(answer(&report)))
        }
        // The others were done above, before there was a configuration.
        Some(
            Command::Run
            | Command::Completions { .. }
            | Command::Crontab
            | Command::Explain { .. }
            | Command::Init { .. }
            | Command::Man
            | Command::TelegramSetup
            | Command::Units { .. },
        )
        | None => {
            let http = Http::new(config.extra_roots.as_deref(), stop)?;
            let report = step(&config, &http, &System::shared(), run::run)?;
            Ok(Some(answer(&report)).filter(|_| !is_quiet))
        }
    };
    done.map(Said::from)
}

/// Whether a person is asked before anything is done.
fn asks(command: &Command) -> bool {
    matches!(command, Command::Adopt { yes: false, .. } | Command::Flatten { yes: false })
}

/// Whether a person means what can't be taken back, where they are asked.
fn is_meant(command: Option<&Command>, config: &Config) -> Result<bool, Failure> {
    match command {
        Some(Command::Adopt { asset, quantity, cost, yes: false }) => {
            adopt::is_meant(config, &adopt::understood(config, asset, quantity, cost)?)
        }
        Some(Command::Flatten { yes: false }) => flatten::is_meant(config),
        _ => Ok(true),
    }
}

/// What is done without a book of its own: what sets a job up, with the configuration of another
/// start or with none, and what explains.
fn without_a_book(
    command: &Command,
    options: &Options,
    environment: &BTreeMap<OsString, OsString>,
) -> Result<Option<Said>, Failure> {
    let answer = match command {
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut Cli::command(), "ouroboros", &mut script);
            document(&script)
        }
        Command::Man => {
            let mut page = Vec::new();
            clap_mangen::Man::new(Cli::command())
                .render(&mut page)
                .map_err(|error| Failure::storage(&anyhow::Error::new(error)))?;
            document(&page)
        }
        Command::Init { settings, instance, dir, yes } => {
            let (instance, folder) = (instance.as_ref(), dir.as_deref());
            let wanted = init::Wanted { instance, folder, settings, yes: *yes };
            init::init(options, &wanted)?
        }
        Command::Units { instance, interval, dir } => {
            let own = instance.env_file(Path::new(CONFIGURATION));
            let own = options.env_file.clone().or_else(|| own.exists().then_some(own));
            let interval = match interval {
                Some(interval) => *interval,
                None => {
                    as_started(&Options { env_file: own, ..options.clone() }, environment)?
                        .rules
                        .interval
                }
            };
            units::units(instance, interval, &program()?, dir.as_deref())?
        }
        Command::Crontab => {
            let config = as_started(options, environment)?;
            crontab::crontab(options, &config, &program()?)?
        }
        Command::Explain { topic } => command::explain::explain(topic.as_deref()),
        Command::TelegramSetup => {
            let (bot, extra_roots) = Config::load_bot(options, environment.clone())?;
            let http = Http::new(extra_roots.as_deref(), Stop::on_signals())?;
            command::telegram_setup::telegram_setup(&bot, &http)?
        }
        Command::Status { all: true } => {
            let (answer, failure) = instances::instances(options.state_dir.as_deref())?;
            return Ok(Some(Said { answer: Some(answer), failure }));
        }
        _ => return Ok(None),
    };
    Ok(Some(answer.into()))
}

/// What a timer's or cron's own start will be told: the file, and nothing of this shell's environment.
fn as_started(
    options: &Options,
    environment: &BTreeMap<OsString, OsString>,
) -> Result<Config, Failure> {
    let is_set = |name: &str| environment.get(OsStr::new(name)).is_some_and(|it| !it.is_empty());
    for variable in config::VARIABLES.iter().filter(|variable| is_set(variable.name)) {
        log::warn!(
            "`{}` is set in this shell, which the start will not see; what is in the file counts",
            variable.name
        );
    }
    let config = Config::load(options, BTreeMap::new())?;
    for warning in &config.warnings {
        log::warn!("{warning}");
    }
    Ok(config)
}

/// Where this program is.
fn program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|error| {
        let error = anyhow::Error::new(error).context("failed to find this program's own path");
        Failure::storage(&error)
    })
}

/// What options and environment say; a history has a place of its own where none is named.
fn configured(cli: &Cli, environment: BTreeMap<OsString, OsString>) -> Result<Config, Failure> {
    let place = match &cli.command {
        Some(Command::Backtest { .. } | Command::Sweep { .. }) => config::DEMO,
        Some(Command::Candles { .. }) => candles::FOLDER,
        _ => return Config::load(&cli.options, environment),
    };
    let candles = cli.options.candles.clone().or_else(|| Some(place.into()));
    Config::load(&Options { candles, ..cli.options.clone() }, environment)
}

/// Whether a command leaves the book and its log alone.
fn only_looks(command: &Command) -> bool {
    matches!(
        command,
        Command::Audit
            | Command::Backtest { .. }
            | Command::Candles { .. }
            | Command::Check
            | Command::Report { .. }
            | Command::Status { .. }
            | Command::Sweep { .. }
            | Command::Trades { .. }
    )
}

/// A step and the telling after it, with nothing of the outside but what is handed over: network,
/// clock and disk.
///
/// **Errors**: the step's own.
pub fn step(
    config: &Config,
    http: &Http,
    disk: &Arc<dyn Disk>,
    work: impl FnOnce(&mut World, &Config, &Stop, Timestamp) -> Result<Report, Failure>,
) -> Result<Report, Failure> {
    let (stop, now, stopwatch) = (http.stop(), http.clock().now(), http.clock().stopwatch());
    let mut opened = World::open(config, http, Arc::clone(disk));
    let mut asked = Asked::default();
    let done = match &mut opened {
        // A bug must end with its own code, be told like any failure, and leave the state alone.
        Ok(world) => catch_unwind(AssertUnwindSafe(|| {
            asked = world.heed(config, http)?;
            work(world, config, stop, now)
        }))
        .unwrap_or_else(|_| Err(bug())),
        Err(failure) => Err(failure.clone()),
    };
    // What was saved stands; what was not told yet waits in it.
    let done = match stop.check("what was done is saved, what was not told waits") {
        Err(stopped) if done.is_ok() => Err(stopped),
        _ => done,
    };
    let line = done.as_ref().map(Report::to_line).unwrap_or_default();
    let ending = match &done {
        Ok(report) if report.action == Action::Halted => Ending::StoodStill(&line),
        Ok(_) => Ending::Done(&line),
        Err(failure) => Ending::Failed(failure),
    };
    if done.is_ok() {
        log::info!("{line}");
    }
    let http = http.unstoppable();
    if let Ok(folder) = world::folder(config) {
        let (shared, disk, stopwatch) = (disk, disk.as_ref(), &stopwatch);
        let over = |state| Over { disk, folder: &folder, state, ending, asked, now, stopwatch };
        if let Ok(World { store, outside, .. }) = &mut opened {
            notify::tell(config, &http, outside, &over(store.state()));
        } else {
            // Even where the lock can't be had, what was told already is not told again.
            let mut outside = Outside::load(Arc::clone(shared), &folder);
            notify::tell(config, &http, &mut outside, &over(None));
        }
    }
    done
}

fn bug() -> Failure {
    Failure::new(
        Kind::Bug,
        "the program met a state that it was not made for",
        "please report it, with the lines above; the state on disk is whole",
    )
}

fn answer(report: &Report) -> Answer {
    Answer {
        text: report.to_text(),
        json: serde_json::to_value(report).expect("a report is plain JSON"),
    }
}

fn document(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes).trim_end().to_owned();
    Answer { json: json!({ "text": text }), text }
}

fn start_log(options: &Options, environment: &BTreeMap<OsString, OsString>) {
    let text = |name: &str| {
        environment.get(OsStr::new(name)).and_then(|value| value.to_str()).map(str::to_owned)
    };
    let verbosity = match (options.quiet, options.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let surroundings = Surroundings {
        journal_stream: text("JOURNAL_STREAM"),
        no_color: text("NO_COLOR").is_some_and(|value| !value.is_empty()),
    };
    logging::start(verbosity, &surroundings);
    std::panic::set_hook(Box::new(|panic| {
        // The console may panic when standard error is gone; that is no bug and goes nowhere.
        if !logging::is_printing() {
            log::error!("bug: {panic}");
        }
    }));
}

/// Wrong usage, or a request for help: clap's text, and JSON where that was asked for.
fn usage(error: &clap::Error, arguments: &[OsString]) -> u8 {
    if error.use_stderr() && arguments.iter().any(|argument| argument == "--json") {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first);
        let hint = "see `ouroboros --help`";
        let error = json!({ "code": 2, "kind": "usage", "message": message, "hint": hint });
        print_line(&json!({ "error": error }).to_string());
    }
    // Nothing can be done about a help text that can't be shown.
    let _ = error.print();
    u8::try_from(error.exit_code()).unwrap_or(2)
}

/// Prints the answer; the code says whether that worked where the answer is all there is.
fn print_answer(options: &Options, answer: Option<Answer>) -> u8 {
    let Some(answer) = answer else { return 0 };
    let text = if options.json { answer.json.to_string() } else { answer.text };
    print_line(&text);
    0
}

fn log_failure(failure: &Failure) {
    log::error!("{failure}");
    log::error!("hint: {}", failure.advice());
}

/// What was done is done, whether anybody reads of it or not: a full disk or a closed pipe at
/// standard output changes no exit code.
fn print_line(text: &str) {
    let mut out = std::io::stdout().lock();
    let printed = writeln!(out, "{text}").and_then(|()| out.flush());
    if let Err(error) = printed
        && error.kind() != ErrorKind::BrokenPipe
    {
        log::warn!("standard output can't be written to: {error}");
    }
}
