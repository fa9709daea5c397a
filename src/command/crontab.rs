//! `crontab`: the line by which cron starts this very program, with nothing left to fill in.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::{Answer, schedule};
use crate::cli::Options;
use crate::config::{Config, DEMO};
use crate::failure::Failure;

/// The line for what `options` name. `config` is what a start by cron is told: the file, and
/// nothing of this shell's environment.
///
/// **Errors**: a path that can't stand in a crontab.
pub fn crontab(options: &Options, config: &Config, program: &Path) -> Result<Answer, Failure> {
    let mut command = format!("{} -q", word(program.as_os_str())?);
    if options.dry_run {
        command.push_str(" --dry-run");
    }
    let place = |path: &Path| {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        word(path.as_os_str())
    };
    if let Some(candles) = &options.candles {
        let shown = if candles.as_os_str() == DEMO { DEMO.to_owned() } else { place(candles)? };
        let _ = write!(command, " --candles {shown}");
    }
    // Cron starts in the user's home, where another `.env` may lie or none.
    let own = Path::new(".env");
    let file = options.env_file.as_deref().or_else(|| own.exists().then_some(own));
    if let Some(file) = file {
        let _ = write!(command, " --env-file {}", place(file)?);
    }
    let _ = write!(command, " --state-dir {}", place(&config.state_dir)?);

    let interval = config.rules.interval;
    let (when, delay) = (schedule::cron(interval), schedule::DELAY_SECONDS);
    let line = format!("{when} sleep {delay}; {command}");
    let text = format!(
        "# {} {} {interval}: silent unless something is wrong; then cron mails what it says.\n{line}",
        config.mode.name(),
        config.pair
    );
    Ok(Answer { text, json: json!({ "line": line, "timeframe": interval.name() }) })
}

/// A word of a shell's line in a crontab: in quotes where it needs them. Cron makes a line end of
/// every `%` that has no backslash before it, inside quotes too. **Source**: crontab(5).
fn word(text: &OsStr) -> Result<String, Failure> {
    let shown = text.to_string_lossy();
    if text.to_str().is_none_or(|text| text.contains(char::is_control)) {
        return Err(Failure::configuration(
            format!("`{shown}` can't stand in a crontab: it has bytes that are no plain text"),
            "give it another name",
        ));
    }
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@".contains(c);
    if shown.chars().all(is_plain) {
        return Ok(shown.into_owned());
    }
    Ok(format!("'{}'", shown.replace('\'', r"'\''").replace('%', r"\%")))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::word;

    #[test]
    fn a_path_stays_one_word_for_cron_and_shell() {
        for (path, expected) in [
            ("/usr/local/bin/ouroboros", "/usr/local/bin/ouroboros"),
            ("/home/you/my pairs/.env", "'/home/you/my pairs/.env'"),
            ("/home/it's/$HOME", r"'/home/it'\''s/$HOME'"),
            ("/home/100%", r"'/home/100\%'"),
        ] {
            assert_eq!(word(OsStr::new(path)).expect("a word"), expected);
        }
        for bad in [&b"/a\nb"[..], b"/\xff"] {
            let failure = word(OsStr::from_bytes(bad)).expect_err("no word");
            assert!(failure.message.contains("can't stand in a crontab"), "{failure}");
        }
    }
}
