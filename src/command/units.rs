//! `units`: what systemd needs to start one instance. The units are those of `systemd/`, the same
//! for every instance; a drop-in beside the timer has the instance's own calendar.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::{Answer, placing, schedule};
use crate::failure::Failure;
use crate::instance::Instance;
use crate::trading::time::Interval;

/// The units of an instance: printed, or put into `folder`.
///
/// **Errors**: a file can't be read or written, or is there and was changed by hand.
pub fn units(
    instance: &Instance,
    interval: Interval,
    program: &Path,
    folder: Option<&Path>,
) -> Result<Answer, Failure> {
    let packaged = Path::new(PACKAGED).join(SERVICE.0).exists();
    let files = files(instance, interval, program, packaged);
    let listed = |files: &[(String, String)]| -> Vec<Value> {
        files.iter().map(|(name, text)| json!({ "name": name, "text": text })).collect()
    };
    let json = json!({
        "instance": instance.to_string(),
        "timeframe": interval.name(),
        "calendar": schedule::calendar(interval),
        "files": listed(&files),
    });
    let Some(folder) = folder else {
        let shown = |(name, text): &(String, String)| format!("# {LOCAL}/{name}\n{text}");
        let text = files.iter().map(shown).collect::<Vec<_>>().join("\n");
        return Ok(Answer { text: text.trim_end().to_owned(), json });
    };
    let mut said = put(folder, &files)?;
    said.push(format!(
        "next: sudo systemctl daemon-reload && sudo systemctl enable --now ouroboros@{instance}.timer"
    ));
    Ok(Answer { text: said.join("\n"), json })
}

/// Name and text of each file. Where a package has brought the units, only the drop-in: a unit of
/// the same name in `/etc` would hide every newer one of the package.
fn files(
    instance: &Instance,
    interval: Interval,
    program: &Path,
    packaged: bool,
) -> Vec<(String, String)> {
    let mut files = Vec::new();
    if !packaged {
        let (from, to) = (INSTALLED, start(program));
        let service =
            SERVICE.1.replace(&format!("ExecStart={from}\n"), &format!("ExecStart={to}\n"));
        files.push((SERVICE.0.to_owned(), service));
        files.extend([TIMER, NOTICE].map(|(name, text)| (name.to_owned(), text.to_owned())));
    }
    let calendar = schedule::calendar(interval);
    let text = format!(
        "{MADE}, for TIMEFRAME={interval}.\n[Timer]\n# The empty line forgets what the timer itself says.\n\
         OnCalendar=\nOnCalendar={calendar}\n"
    );
    files.push((format!("ouroboros@{instance}.timer.d/{DROP_IN}"), text));
    files
}

/// Where the unit starts the program; where it can't be this very one, whoever set it up is told.
fn start(program: &Path) -> &str {
    // The unit sees none of them (`ProtectHome=`, `PrivateTmp=`).
    let hidden = ["/home", "/root", "/run/user", "/tmp", "/var/tmp"];
    let is_seen = !hidden.iter().any(|folder| program.starts_with(folder));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+".contains(c);
    let shown = program.to_str().filter(|path| is_seen && path.chars().all(is_plain));
    shown.unwrap_or_else(|| {
        log::warn!(
            "the unit starts `{INSTALLED}`, as it can't see this program, `{0}`: \
             `sudo install -m 0755 {0} {INSTALLED}`",
            program.display()
        );
        INSTALLED
    })
}

/// Puts the files there, and says of each what was done.
fn put(folder: &Path, files: &[(String, String)]) -> Result<Vec<String>, Failure> {
    // All are looked at before the first one is written.
    let mut said = Vec::new();
    let mut wanted: Vec<(PathBuf, &str)> = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        let shown = path.display();
        let found = match fs::read(&path) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            Err(error) => {
                let error = anyhow::Error::new(error).context(format!("failed to read `{shown}`"));
                return Err(Failure::storage(&error));
            }
        };
        match found {
            Some(bytes) if bytes == text.as_bytes() => said.push(format!("kept {shown}")),
            Some(bytes) if !bytes.starts_with(MADE.as_bytes()) => {
                return Err(Failure::configuration(
                    format!("`{shown}` is there already, and is another one"),
                    "it is another version's or was changed by hand: move it away, start this \
                     again, and put changes of your own into `systemctl edit`",
                ));
            }
            _ => {
                said.push(format!("wrote {shown}"));
                wanted.push((path, text));
            }
        }
    }
    for (path, text) in wanted {
        let parent = path.parent().expect("a name in a folder");
        fs::create_dir_all(parent)
            .with_context(|| format!("failed to make the folder `{}`", parent.display()))
            .and_then(|()| placing::replace(&path, text.as_bytes(), 0o644))
            .map_err(|error| Failure::storage(&error))?;
    }
    Ok(said)
}

const SERVICE: (&str, &str) =
    ("ouroboros@.service", include_str!("../../systemd/ouroboros@.service"));
const TIMER: (&str, &str) = ("ouroboros@.timer", include_str!("../../systemd/ouroboros@.timer"));
const NOTICE: (&str, &str) =
    ("ouroboros-failed@.service", include_str!("../../systemd/ouroboros-failed@.service"));

/// What the drop-in begins with, and no file that a person wrote.
const MADE: &str = "# Made by `ouroboros units`";
const DROP_IN: &str = "timeframe.conf";

/// Where the unit of `systemd/` has the program.
const INSTALLED: &str = "/usr/local/bin/ouroboros";
/// Where a package puts units, and where a person does. **Source**: systemd.unit(5).
const PACKAGED: &str = "/usr/lib/systemd/system";
const LOCAL: &str = "/etc/systemd/system";

#[cfg(test)]
mod tests {
    use super::*;

    fn made(interval: &str, program: &str, packaged: bool) -> Vec<(String, String)> {
        let instance = "BTC-ETH".parse().expect("a name");
        let interval = Interval::named(interval).expect("an interval");
        files(&instance, interval, Path::new(program), packaged)
    }

    #[test]
    fn the_units_are_those_of_the_folder_with_the_place_of_this_program() {
        let files = made("15m", "/opt/ouroboros/bin/ouroboros", false);
        let names: Vec<&str> = files.iter().map(|(name, _)| &**name).collect();
        let drop_in = "ouroboros@BTC-ETH.timer.d/timeframe.conf";
        assert_eq!(names, [SERVICE.0, TIMER.0, NOTICE.0, drop_in]);
        let starts: Vec<&str> =
            files[0].1.lines().filter(|line| line.starts_with("ExecStart=")).collect();
        assert_eq!(starts, ["ExecStart=/opt/ouroboros/bin/ouroboros"]);
        assert_eq!(made("15m", INSTALLED, false)[0].1, SERVICE.1);
    }

    #[test]
    fn an_instance_has_its_own_calendar_and_forgets_the_timer_s() {
        let files = made("4h", INSTALLED, true);
        assert_eq!(files.len(), 1, "a package has brought the rest");
        let lines: Vec<&str> = files[0].1.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(lines, ["[Timer]", "OnCalendar=", "OnCalendar=*-*-* 00/4:00:10 UTC"]);
    }

    #[test]
    fn a_unit_starts_no_program_that_it_could_not_see() {
        for program in [
            "/home/you/.cargo/bin/ouroboros",
            "/root/.cargo/bin/ouroboros",
            "/tmp/ouroboros",
            "/opt/with blank/ouroboros",
        ] {
            assert_eq!(start(Path::new(program)), INSTALLED, "{program}");
        }
        assert_eq!(start(Path::new("/usr/bin/ouroboros")), "/usr/bin/ouroboros");
        assert_eq!(start(Path::new("/homes/ouroboros")), "/homes/ouroboros");
    }
}
