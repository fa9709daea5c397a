//! `init`: a file of variables to begin with. The text is that of `.env.example`; on a terminal a few
//! questions fill in what most people change. Nothing that is there is overwritten, and no secret
//! is asked for: it would stay in a history, a scroll-back or the list of processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::process::geteuid;
use serde_json::json;

use super::{Answer, placing::Draft};
use crate::cli::Options;
use crate::config::{Config, VARIABLES};
use crate::failure::{Failure, Kind};
use crate::instance::{CONFIGURATION, Instance};

/// What the command line says.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The file goes into the folder of instances.
    pub instance: Option<&'a Instance>,
    /// That folder, where it is another one than the units look in.
    pub folder: Option<&'a Path>,
    /// `NAME=VALUE`, in the words of `.env.example`.
    pub settings: &'a [String],
    /// Nothing is asked.
    pub yes: bool,
}

/// Writes the file, 0600, and says what to type next.
///
/// **Errors**: it is there already, a value can't be understood, or the disk has something against
/// it; then nothing was written.
pub fn init(options: &Options, wanted: &Wanted) -> Result<Answer, Failure> {
    let folder = wanted.folder.unwrap_or(Path::new(CONFIGURATION));
    let path = match wanted.instance {
        Some(instance) => instance.env_file(folder),
        None => options.env_file.clone().unwrap_or_else(|| PathBuf::from(".env")),
    };
    // Before anybody is asked anything; the rename looks again.
    if fs::symlink_metadata(&path).is_ok() {
        return Err(there_already(&path));
    }
    let mut text = EXAMPLE.to_owned();
    let mut given = BTreeSet::new();
    for setting in wanted.settings {
        let (name, value) = understood(setting)?;
        if !given.insert(name) {
            return Err(Failure::configuration(format!("`{name}` is given twice"), "give it once"));
        }
        text = with(&text, name, value);
    }
    if wanted.instance.is_some() {
        fs::create_dir_all(folder)
            .with_context(|| format!("failed to make the folder `{}`", folder.display()))
            .map_err(|error| Failure::storage(&error))?;
    }
    let mut config = load(&path, &text)?;
    if !wanted.yes && std::io::stdin().is_terminal() {
        for question in QUESTIONS {
            if question.names.iter().any(|name| given.contains(name)) {
                continue;
            }
            loop {
                let changed = question.fill_in(&text, &ask(question)?);
                match changed.and_then(|changed| Ok((load(&path, &changed)?, changed))) {
                    Ok(done) => {
                        (config, text) = done;
                        break;
                    }
                    // A slip of the pen is asked again; Ctrl-C or Ctrl-D ends it.
                    Err(failure) if failure.kind == Kind::Configuration => {
                        let _ = writeln!(std::io::stderr(), "{failure}: {}", failure.hint);
                    }
                    Err(failure) => return Err(failure),
                }
            }
        }
    }
    let draft = write(&path, &text)?;
    // Without an instance, or without root's rights, it is and stays the caller's own.
    let is_homeless = wanted.instance.is_some()
        && geteuid().is_root()
        && !give_away(draft.written()).map_err(|error| Failure::storage(&error))?;
    if !draft.place_new().map_err(|error| Failure::storage(&error))? {
        return Err(there_already(&path));
    }
    Ok(answer(&path, wanted, &config, is_homeless))
}

/// A variable of ours that is no secret, and its value.
fn understood(setting: &str) -> Result<(&'static str, &str), Failure> {
    let Some((name, value)) = setting.split_once('=') else {
        // It may be a secret whose name was forgotten.
        return Err(Failure::configuration(
            "one of the settings has no `=`",
            "write them as NAME=VALUE, such as TIMEFRAME=4h",
        ));
    };
    let Some(variable) = VARIABLES.iter().find(|variable| variable.name == name) else {
        return Err(Failure::configuration(
            format!("`{name}` is not a variable"),
            "take the names that `.env.example` and the README list, such as TIMEFRAME",
        ));
    };
    if variable.is_secret {
        return Err(Failure::configuration(
            format!("`{name}` is a secret, and everybody on this machine can read a command line"),
            "leave it away here, and write it into the file afterwards with an editor",
        ));
    }
    if value.contains(char::is_control) {
        return Err(Failure::configuration(
            format!("`{name}` has a line end or another control character in it"),
            "give it a value of one line",
        ));
    }
    Ok((variable.name, value))
}

/// The example with another value for one of its variables.
fn with(text: &str, name: &str, value: &str) -> String {
    let line = |line: &str| match line.split_once('=') {
        Some((known, _)) if known == name => format!("{name}={value}\n"),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// What a start will make of the text: none of this shell's variables.
fn load(path: &Path, text: &str) -> Result<Config, Failure> {
    let draft = write(path, text)?;
    let options = Options { env_file: Some(draft.written().to_owned()), ..Options::default() };
    Config::load(&options, BTreeMap::new())
}

/// The text as a file beside its place, for its owner alone.
fn write(path: &Path, text: &str) -> Result<Draft, Failure> {
    Draft::write(path, text.as_bytes(), 0o600).map_err(|error| Failure::storage(&error))
}

/// A question whose answers are the values of these variables, one word each.
struct Question {
    words: &'static str,
    names: &'static [&'static str],
    /// What an empty answer means.
    default: &'static str,
}

impl Question {
    /// The text with the answer in it.
    fn fill_in(&self, text: &str, answer: &str) -> Result<String, Failure> {
        let answer = if answer.is_empty() { self.default } else { answer };
        let values: Vec<&str> = answer.split_whitespace().map(plain).collect();
        if values.len() != self.names.len() {
            let message = format!("`{answer}` is not an answer");
            return Err(Failure::configuration(message, format!("such as `{}`", self.default)));
        }
        let pairs = self.names.iter().zip(values);
        Ok(pairs.fold(text.to_owned(), |text, (name, value)| with(&text, name, value)))
    }
}

/// The words for `DRY_RUN`; everything else is a value as it is.
fn plain(word: &str) -> &str {
    match word {
        "paper" => "true",
        "live" => "false",
        other => other,
    }
}

fn ask(question: &Question) -> Result<String, Failure> {
    let mut error = std::io::stderr();
    let mut answer = String::new();
    let asked = write!(error, "{} [{}] ", question.words, question.default);
    // A question that can't be shown or answered has no answer.
    let read = asked.and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    match read {
        Ok(1..) => Ok(answer.trim().to_owned()),
        Ok(0) | Err(_) => Err(Failure::configuration(
            "the questions were not answered; nothing was written",
            "start it again, or with `--yes` and settings such as TIMEFRAME=4h",
        )),
    }
}

/// Makes the file that of the user under whom the units run, so that commands by hand can read it;
/// `false` where there is no such user.
fn give_away(file: &Path) -> anyhow::Result<bool> {
    let users = fs::read_to_string("/etc/passwd").context("failed to read `/etc/passwd`")?;
    let Some((uid, gid)) = ids(&users, USER) else { return Ok(false) };
    chown(file, Some(uid), Some(gid))
        .with_context(|| format!("failed to give `{}` to `{USER}`", file.display()))?;
    Ok(true)
}

/// User and group of a name. **Source**: passwd(5).
fn ids(users: &str, name: &str) -> Option<(u32, u32)> {
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    let found = fields.filter(|fields| fields.len() == 7).find(|fields| fields[0] == name)?;
    Some((found[2].parse().ok()?, found[3].parse().ok()?))
}

fn answer(path: &Path, wanted: &Wanted, config: &Config, is_homeless: bool) -> Answer {
    let shown = path.display();
    let Config { mode, pair, rules, terms, .. } = config;
    let mut lines = vec![format!(
        "wrote {shown}: {} {pair} {}, {} {} an entry; only its owner may read it",
        mode.name(),
        rules.interval,
        terms.amount,
        pair.quote()
    )];
    if is_homeless {
        lines.push(format!(
            "there is no user `{USER}` yet: make it (README, \"By systemd\"), then `chown {USER}: {shown}`"
        ));
    }
    let next = match wanted.instance {
        Some(instance) => {
            let own = wanted.folder.map(|_| format!(" --env-file {shown}")).unwrap_or_default();
            format!("sudo ouroboros units --instance {instance} --dir /etc/systemd/system{own}")
        }
        None if path == Path::new(".env") => "ouroboros check".to_owned(),
        None => format!("ouroboros --env-file {shown} check"),
    };
    if mode.is_live() {
        lines.push(format!(
            "first write the key into it with an editor; under systemd, better two files for \
             `LoadCredential=`: {CONFIGURATION}/NAME.key and {CONFIGURATION}/NAME.secret, see the unit"
        ));
    }
    lines.push(format!("next: {next}"));
    let json = json!({ "file": path.to_string_lossy(), "mode": mode.name(), "next": next });
    Answer { text: lines.join("\n"), json }
}

fn there_already(path: &Path) -> Failure {
    Failure::configuration(
        format!("`{}` is there already, and is never overwritten", path.display()),
        "edit it, or move it away; `--env-file` and `--instance` name another one",
    )
}

/// The one source of what a variable means.
const EXAMPLE: &str = include_str!("../../.env.example");

/// Whom `systemd/ouroboros.sysusers` makes.
const USER: &str = "ouroboros";

const QUESTIONS: &[Question] = &[
    Question { words: "Paper, or live with real orders?", names: &["DRY_RUN"], default: "paper" },
    Question {
        words: "The two symbols, against one quote asset?",
        names: &["SYMBOL_BASE", "SYMBOL_QUOTE"],
        default: "BTC/USDT ETH/USDT",
    },
    Question { words: "Candles of?", names: &["TIMEFRAME"], default: "15m" },
    Question {
        words: "How much an entry spends, in the quote asset?",
        names: &["TRADE_AMOUNT_USDT"],
        default: "150",
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_of_each_question_is_that_of_the_example() {
        for question in QUESTIONS {
            assert_eq!(question.fill_in(EXAMPLE, "").expect("an answer"), EXAMPLE);
        }
    }

    #[test]
    fn only_the_value_of_the_named_variable_changes() {
        let changed = with(EXAMPLE, "TIMEFRAME", "4h");
        let differing: Vec<(&str, &str)> =
            EXAMPLE.lines().zip(changed.lines()).filter(|(a, b)| a != b).collect();
        assert_eq!(differing, [("TIMEFRAME=15m", "TIMEFRAME=4h")]);
    }

    #[test]
    fn a_user_is_found_by_the_whole_name() {
        let users = "root:x:0:0:root:/root:/bin/bash\nouroboros2:x:7:8::/:/bin/sh\nouroboros:x:998:997:T:/:/sbin/nologin\n";
        assert_eq!(ids(users, "ouroboros"), Some((998, 997)));
        assert_eq!(ids(users, "nobody"), None);
    }
}
