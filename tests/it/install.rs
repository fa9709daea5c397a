//! From nothing to a job that runs: `init`, `units`, `crontab`.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::desk::{home, write_private};
use crate::support::run::{Run, succeeds};

#[test]
fn what_init_writes_is_loaded_without_a_word_by_the_next_command() {
    let home = home();
    let cwd = home.path().join("cwd");
    let done = Run::bare(&cwd).args(["init"]).expect_exit(0);
    assert_eq!(
        done.stdout,
        "wrote .env: paper BTC/ETH 15m, 150.00000000 USDT an entry; only its owner may read it\n\
         next: ouroboros check\n"
    );
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/.env.example");
    assert_eq!(
        fs::read(cwd.join(".env")).expect("the file"),
        fs::read(example).expect("the example")
    );
    assert_eq!(mode(&cwd.join(".env")), 0o600);
    assert_eq!(fs::read_dir(&cwd).expect("a folder").count(), 1, "nothing else is left");
    let status = Run::bare(&cwd).args(["status"]).expect_exit(0);
    assert_eq!(status.stderr, "");
}

#[test]
fn on_a_terminal_init_asks_and_a_slip_of_the_pen_is_asked_again() {
    if !succeeds("script", &["--version"]) {
        eprintln!("skipped: no script(1) here");
        return;
    }
    let home = home();
    let cwd = home.path().join("cwd");
    // script(1) of bsdutils lends a terminal, and hands it what it reads itself.
    let command = format!("{} init TRADE_AMOUNT_USDT=50", env!("CARGO_BIN_EXE_ouroboros"));
    let mut script = Command::new("script");
    script.args(["-qec", &command, "/dev/null"]).current_dir(&cwd);
    let mut script =
        script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("script(1)");
    let answers = b"live\nBTC/USDT ETH/USDC\nSOL/USDC ETH/USDC\n\n";
    script.stdin.take().expect("a pipe").write_all(answers).expect("it reads");
    let done = script.wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{said}");
    assert_eq!(said.matches("The two symbols").count(), 2, "{said}");
    assert!(!said.contains("How much"), "what was given is not asked: {said}");
    let wrote = "wrote .env: live SOL/ETH 15m, 50.00000000 USDC an entry";
    assert!(said.contains(wrote), "{said}");
    assert_eq!(fs::read_dir(&cwd).expect("a folder").count(), 1, "nothing else is left");
}

#[test]
fn init_takes_every_variable_by_its_name_and_says_what_comes_next() {
    let home = home();
    let (cwd, folder) = (home.path().join("cwd"), home.path().join("etc"));
    let settings = ["SYMBOL_BASE=SOL/USDC", "SYMBOL_QUOTE=ETH/USDC", "TIMEFRAME=4h"];
    let done = Run::bare(&cwd)
        .shell("umask 0")
        .args(["init", "--yes", "--instance", "SOL-ETH", "--dir"])
        .args([folder.as_os_str()])
        .args(settings)
        .expect_exit(0);
    let file = folder.join("SOL-ETH.env");
    let shown = file.display();
    done.expect_said(&[
        &format!("wrote {shown}: paper SOL/ETH 4h, 150.00000000 USDC an entry"),
        &format!(
            "next: sudo ouroboros units --instance SOL-ETH --dir /etc/systemd/system --env-file {shown}"
        ),
    ]);
    assert_eq!(mode(&file), 0o600, "whatever the umask is");
    let text = fs::read_to_string(&file).expect("the file");
    for setting in settings {
        assert!(text.lines().any(|line| line == setting), "{setting}");
    }
}

#[test]
fn init_never_overwrites_not_even_a_link_to_nothing() {
    let home = home();
    let cwd = home.path().join("cwd");
    write_private(&cwd.join(".env"), "TIMEFRAME=1d\n");
    std::os::unix::fs::symlink("nowhere", cwd.join("other.env")).expect("a link");
    for args in [&["init", "--yes"][..], &["init", "--yes", "--env-file", "other.env"]] {
        Run::bare(&cwd).args(args).expect_exit(78).expect_said(&["is there already"]);
    }
    assert_eq!(fs::read(cwd.join(".env")).expect("the file"), b"TIMEFRAME=1d\n");
    assert!(!cwd.join("nowhere").exists());
}

#[test]
fn what_init_can_t_understand_is_named_and_nothing_is_written() {
    let home = home();
    let cwd = home.path().join("cwd");
    for (settings, words) in [
        (&["TIMEFRAME=4m"][..], &["`TIMEFRAME`", "4m", "1m, 3m, 5m"][..]),
        (&["SYMBOL_BASE=ETH/USDT"], &["SYMBOL_"]),
        (&["TIMEFRAMES=4h"], &["`TIMEFRAMES` is not a variable"]),
        (&["TIMEFRAME"], &["has no `=`"]),
        (&["TIMEFRAME=1h", "TIMEFRAME=4h"], &["`TIMEFRAME` is given twice"]),
        (&["SSL_CERT_FILE=a\nDRY_RUN=false"], &["`SSL_CERT_FILE` has a line end"]),
    ] {
        let done = Run::bare(&cwd).args(["init", "--yes"]).args(settings).expect_exit(78);
        done.expect_said(words);
        assert_eq!(fs::read_dir(&cwd).expect("a folder").count(), 0, "{settings:?}");
    }
}

#[test]
fn init_takes_no_secret_from_the_command_line_and_does_not_repeat_it() {
    let home = home();
    let cwd = home.path().join("cwd");
    let secrets =
        ["BINANCE_API_KEY", "BINANCE_API_SECRET", "TELEGRAM_BOT_TOKEN", "HEALTHCHECK_URL"];
    for name in secrets {
        let setting = format!("{name}=marked");
        let done = Run::bare(&cwd).args(["init", "--yes", &setting]).expect_exit(78);
        done.expect_said(&[&format!("`{name}` is a secret"), "with an editor"]);
        assert!(!done.stderr.contains("marked") && !done.stdout.contains("marked"));
    }
    assert_eq!(fs::read_dir(&cwd).expect("a folder").count(), 0);
}

#[test]
fn live_begins_without_a_key_and_init_says_where_it_goes() {
    let home = home();
    let cwd = home.path().join("cwd");
    let done = Run::bare(&cwd).args(["init", "--yes", "DRY_RUN=false"]).expect_exit(0);
    done.expect_said(&["wrote .env: live", "first write the key into it", "LoadCredential="]);
}

#[test]
fn units_have_the_calendar_of_the_file_and_not_of_the_shell() {
    let home = home();
    let cwd = home.path().join("cwd");
    write_private(&cwd.join("a.env"), "TIMEFRAME=4h\n");
    let asked = ["units", "--instance", "no-such-instance", "--env-file", "a.env", "--json"];
    let done = Run::bare(&cwd).env("TIMEFRAME", "1m").args(asked).expect_exit(0);
    done.expect_said(&["`TIMEFRAME` is set in this shell"]);
    assert_eq!(done.json()["calendar"], "*-*-* 00/4:00:10 UTC");
    // An instance without a file, and without a `.env` here, has the default.
    let done = Run::bare(&cwd).args(["units", "--instance", "no-such-instance"]).expect_exit(0);
    assert!(done.stdout.contains("\nOnCalendar=\nOnCalendar=*-*-* *:00/15:10 UTC\n"));
    Run::bare(&cwd).args(["units", "--instance", "../a"]).expect_exit(2).expect_said(&["BTC-ETH"]);
}

#[test]
fn units_are_written_again_with_another_calendar_but_never_over_a_person_s() {
    let home = home();
    let cwd = home.path().join("cwd");
    let units = |interval: &str| {
        let words = ["units", "--instance", "A-B", "--dir", "system", "--interval", interval];
        Run::bare(&cwd).args(words)
    };
    units("15m").expect_exit(0).expect_said(&[
        "wrote system/ouroboros@.service",
        "wrote system/ouroboros@.timer",
        "wrote system/ouroboros-failed@.service",
        "wrote system/ouroboros@A-B.timer.d/timeframe.conf",
        "next: sudo systemctl daemon-reload && sudo systemctl enable --now ouroboros@A-B.timer",
    ]);
    units("1h").expect_exit(0).expect_said(&[
        "kept system/ouroboros@.service",
        "wrote system/ouroboros@A-B.timer.d/timeframe.conf",
    ]);
    let drop_in = cwd.join("system/ouroboros@A-B.timer.d/timeframe.conf");
    let written = fs::read_to_string(&drop_in).expect("the drop-in");
    assert!(written.ends_with("\nOnCalendar=\nOnCalendar=*-*-* *:00:10 UTC\n"), "{written}");

    let timer = cwd.join("system/ouroboros@.timer");
    fs::write(&timer, "# mine\n").expect("a file");
    units("4h").expect_exit(78).expect_said(&["`system/ouroboros@.timer` is there already"]);
    assert_eq!(fs::read_to_string(&drop_in).expect("the drop-in"), written, "nothing was changed");
    assert_eq!(fs::read_to_string(&timer).expect("the timer"), "# mine\n");
}

#[test]
fn a_crontab_s_line_starts_this_program_from_anywhere() {
    let home = home();
    let cwd = home.path().join("cwd");
    let folder = cwd.join("a pair, 100%");
    fs::create_dir(&folder).expect("a folder");
    let settings = "TIMEFRAME=4h\nROLLING_WINDOW=4\nSTATE_DIR=state\n";
    write_private(&folder.join(".env"), settings);
    let done = Run::bare(&folder)
        .env("TIMEFRAME", "1m")
        .args(["crontab", "--candles", "demo", "--json"])
        .expect_exit(0);
    done.expect_said(&["`TIMEFRAME` is set in this shell"]);
    let line = done.json()["line"].as_str().expect("a line").to_owned();
    let begin = "*/15 * * * * sleep 10; ";
    let command = line.strip_prefix(begin).unwrap_or_else(|| panic!("{line}"));
    // What cron does to a line, and what it starts it with: a shell, in the user's home.
    assert!(!command.replace(r"\%", "").contains('%'), "cron would end the line here: {line}");
    let command = command.replace(r"\%", "%").replace(" --candles demo", "");
    let shown = Command::new("/bin/sh")
        .args(["-c", &format!("{command} status --json")])
        .current_dir("/")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .stdin(Stdio::null())
        .output()
        .expect("a shell");
    let text = String::from_utf8_lossy(&shown.stdout);
    assert!(shown.status.success(), "{line}\n{}", String::from_utf8_lossy(&shown.stderr));
    assert!(text.contains(r#""timeframe":"4h""#), "{text}");
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}
