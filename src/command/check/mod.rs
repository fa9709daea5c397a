//! `check`: every thing that a run needs, one line each, and how to mend what is not as it should
//! be. It looks at what a run would meet and changes none of it; only a wish for silence is kept.

mod disk;
mod history;
mod market;
mod timer;

use serde_json::{Value, json};

use super::Answer;
use crate::config::{Config, Mode};
use crate::exchange::http::Http;
use crate::failure::{Failure, Kind};
use crate::notify;
use crate::preflight::{Finding, Verdict};
use crate::store::State;
use crate::store::disk::System;
use crate::store::outside::Outside;
use crate::trading::book::Book;
use crate::trading::market::Leg;
use crate::trading::time::Timestamp;

/// What was found on the disk.
enum Found {
    /// A book of ours.
    Book(Box<State>),
    /// No run yet.
    Nothing,
    /// Something that can't be read or trusted.
    Unknown,
}

impl Found {
    fn book(&self) -> Option<&Book> {
        match self {
            Self::Book(state) => Some(&state.book),
            Self::Nothing | Self::Unknown => None,
        }
    }
}

/// Looks at everything. The list is the answer, whatever is in it; the failure is the first of it.
#[must_use]
pub fn check(config: &Config, http: &Http, now: Timestamp) -> (Answer, Option<Failure>) {
    let mut findings = configuration(config);
    let folder = disk::look(config, &mut findings);
    let found = disk::state(config, folder.as_deref(), &mut findings);
    if let Mode::Replay(_) = config.mode {
        findings.extend(market::recording(config, &found));
    } else {
        let folder = folder.unwrap_or_else(|| config.state_dir.join(config.mode.name()));
        let mut outside = Outside::load(System::shared(), &folder);
        findings.extend(market::look(config, http, &found, &mut outside));
        findings.push(telegram(config, http, &mut outside, now));
        findings.push(health_check(config));
        findings.push(timer::look(config, &found, now));
    }
    let failure = findings.iter().find_map(Finding::failure);
    let json = to_json(config, &findings, failure.as_ref());
    (Answer { text: to_text(&findings), json }, failure)
}

fn configuration(config: &Config) -> Vec<Finding> {
    let [numerator, denominator] = Leg::BOTH.map(|leg| config.pair.symbol(leg));
    let seen = format!(
        "{}, {numerator} and {denominator} at {}, {} {} an entry",
        config.mode.name(),
        config.rules.interval,
        config.terms.amount,
        config.pair.quote()
    );
    let said = match config.mode {
        Mode::Live(_) => format!("{seen}; orders are real"),
        Mode::Paper | Mode::Replay(_) => format!("{seen}; no order leaves"),
    };
    let mut findings = vec![Finding::ok(CONFIG, said)];
    for warning in &config.warnings {
        // Where a warning has two halves, the second is what helps.
        let (text, remedy) = warning.split_once("; ").unwrap_or((warning, ""));
        findings.push(Finding::warning(CONFIG, text, remedy));
    }
    findings
}

fn telegram(config: &Config, http: &Http, outside: &mut Outside, now: Timestamp) -> Finding {
    const NAME: &str = "telegram";
    let Some(telegram) = &config.telegram else {
        return Finding::ok(NAME, "not set; nobody is told of trades and failures");
    };
    match notify::introduce(telegram, http, outside, now) {
        Ok(text) => Finding::ok(NAME, text),
        Err(failure) if failure.kind == Kind::Configuration => Finding::failed(NAME, failure),
        // No run ends otherwise for it.
        Err(Failure { message, hint, .. }) => Finding::warning(NAME, message, hint),
    }
}

fn health_check(config: &Config) -> Finding {
    let text = match &config.healthcheck {
        Some(_) => "set; it is pinged by runs, not by this",
        None => "not set; nobody notices from outside when no run comes",
    };
    Finding::ok("health check", text)
}

/// The line of what could not be looked at. What failed before has a line, and a code, of its own.
fn not_looked_at(name: &'static str, why: &str) -> Finding {
    Finding::warning(name, format!("not looked at, because {why}"), "mend that first")
}

/// One line each, at most 100 columns wide; how to mend it below.
fn to_text(findings: &[Finding]) -> String {
    let mut lines = Vec::new();
    for Finding { name, verdict, text } in findings {
        let (word, remedy) = parts(verdict);
        lines.extend(wrapped(&format!("{word:<INDENT$}{name}: {text}")));
        if !remedy.is_empty() {
            lines.extend(wrapped(&format!("{:INDENT$}{remedy}", "")));
        }
    }
    lines.join("\n")
}

fn to_json(config: &Config, findings: &[Finding], failure: Option<&Failure>) -> Value {
    let one = |finding: &Finding| {
        let (word, remedy) = parts(&finding.verdict);
        let code = finding.failure().map(|failure| failure.kind.code());
        let remedy = Some(remedy).filter(|remedy| !remedy.is_empty());
        let Finding { name, text, .. } = finding;
        json!({ "name": name, "verdict": word, "text": text, "remedy": remedy, "code": code })
    };
    let checks: Vec<Value> = findings.iter().map(one).collect();
    let mut json = json!({ "mode": config.mode.name(), "checks": checks });
    if let Some(failure) = failure {
        json["error"] = failure.to_json();
    }
    json
}

fn parts(verdict: &Verdict) -> (&'static str, &str) {
    match verdict {
        Verdict::Ok => ("ok", ""),
        Verdict::Warning(remedy) => ("warning", remedy),
        Verdict::Failed(_, remedy) => ("failed", remedy),
    }
}

/// The line, broken at blanks; what follows begins where the text of the first began. A word is
/// never broken: it may be a path.
fn wrapped(line: &str) -> Vec<String> {
    let (head, text) = line.split_at(INDENT);
    let mut lines = vec![head.to_owned()];
    let mut is_new = true;
    for word in text.split(' ') {
        let last = lines.last_mut().expect("there is one from the beginning");
        if !is_new && last.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("{:INDENT$}{word}", ""));
            continue;
        }
        if !is_new {
            last.push(' ');
        }
        last.push_str(word);
        is_new = false;
    }
    lines
}

const CONFIG: &str = "config";
const INDENT: usize = 9;
const WIDTH: usize = 100;

#[cfg(test)]
mod tests {
    use super::{Finding, to_text};
    use crate::failure::Failure;

    #[test]
    fn a_line_is_a_verdict_a_name_and_a_text_with_the_remedy_below() {
        let findings = [
            Finding::ok("key", "may trade"),
            Finding::warning("clock", "1.5 s behind", "set it"),
            Finding::failed("state", Failure::untrusted("it is torn", "put it back")),
        ];
        let expected = "\
ok       key: may trade
warning  clock: 1.5 s behind
         set it
failed   state: it is torn
         put it back";
        assert_eq!(to_text(&findings), expected);
    }

    #[test]
    fn a_long_line_is_broken_at_blanks_and_never_inside_a_word() {
        let path = format!("/{}", "long/".repeat(30));
        let text = to_text(&[Finding::ok("disk", format!("{path} {}", "word ".repeat(30).trim()))]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "ok       disk:");
        assert_eq!(lines[1], format!("         {path}"));
        assert!(lines[2..].iter().all(|line| line.len() <= 100 && line.starts_with("         w")));
        assert_eq!(text.split_whitespace().count(), 33);
    }
}
