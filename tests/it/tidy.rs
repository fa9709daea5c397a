//! Reads the sources and the papers: who knows whom, what must not be written, and that the papers
//! say what the program does.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use clap::{CommandFactory as _, Parser as _};
use ouroboros::cli::Cli;
use ouroboros::config::{Config, VARIABLES};
use ouroboros::failure::Kind;

use crate::support::desk::{home, write_private};
use crate::support::folder::walk;

// --- who knows whom ----------------------------------------------------------------------------

/// The program from the bottom up. A module may know what is on a lower line, and nothing else.
const LEVELS: &[&[&str]] = &[
    &["instance", "random", "trading"],
    &["history"],
    &["page"],
    &["help"],
    &["cli", "clock", "failure"],
    &["config", "logging", "stop"],
    &["report"],
    &["exchange", "notify", "store"],
    &["world"],
    &["preflight"],
    &["run"],
    &["command"],
    &["app"],
    &["main"],
];

/// Arrows that do not point down. Whoever adds one adds its reason.
const EXCEPTIONS: &[(&str, &str)] = &[
    ("config", "exchange"), // a key is read once, and from then on is what signs
    ("exchange", "store"),  // bans, clock offset and rules are remembered in `outside.json`
    ("notify", "exchange"), // the same HTTP client, with the same bounds
    ("notify", "store"),    // messages wait in the state, what was told is in `outside.json`
];

#[test]
fn arrows_point_one_way() {
    let level = |name: &str| {
        let found = LEVELS.iter().position(|level| level.contains(&name));
        found.unwrap_or_else(|| panic!("`{name}` is new: give it a place in LEVELS"))
    };
    let known: BTreeSet<(&str, &str)> = EXCEPTIONS.iter().copied().collect();
    let sources = sources();
    let arrows = arrows(&sources);
    let top = |module: &str| module.split("::").next().expect("a name").to_owned();
    let found: BTreeSet<(String, String)> = arrows
        .iter()
        .map(|(from, to)| (top(from), top(to)))
        .filter(|(from, to)| from != to && level(from) <= level(to))
        .collect();
    let found: BTreeSet<(&str, &str)> = found.iter().map(|(from, to)| (&**from, &**to)).collect();
    let new: Vec<_> = found.difference(&known).collect();
    assert!(new.is_empty(), "arrows that do not point down: {new:?}");
    let gone: Vec<_> = known.difference(&found).collect();
    assert!(gone.is_empty(), "no exceptions any more, take them out: {gone:?}");
}

#[test]
fn no_module_knows_itself_by_a_detour() {
    let sources = sources();
    let arrows = arrows(&sources);
    // A folder's `mod.rs` and the files in it are one thing that was split for the reader.
    let is_inner =
        |a: &str, b: &str| a.starts_with(&format!("{b}::")) || b.starts_with(&format!("{a}::"));
    let mut known: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (from, to) in arrows.iter().filter(|(from, to)| !is_inner(from, to)) {
        known.entry(from).or_default().insert(to);
    }
    // Whoever knows only modules that are settled is settled; what never settles goes in a circle.
    let mut open: BTreeSet<&str> = known.keys().copied().collect();
    loop {
        let settled: Vec<&str> =
            open.iter().filter(|name| known[*name].is_disjoint(&open)).copied().collect();
        if settled.is_empty() {
            break;
        }
        for name in settled {
            open.remove(name);
        }
    }
    assert!(open.is_empty(), "among these is a circle: {open:?}");
}

#[test]
fn the_core_knows_neither_files_nor_net_nor_clock_nor_anyone_outside() {
    let dependencies = dependencies();
    assert!(dependencies.contains("reqwest") && dependencies.contains("log"), "{dependencies:?}");
    let mut seen = 0;
    let is_core = |module: &str| module.starts_with("trading") || module.starts_with("history");
    for source in sources().iter().filter(|source| is_core(&source.module)) {
        seen += 1;
        let shown = source.path.display();
        for (word, _) in words(&source.code) {
            let is_known = ["rust_decimal", "jiff"].contains(&word);
            assert!(is_known || !dependencies.contains(word), "{shown} uses the crate `{word}`");
        }
        for path in paths_from(&source.code, "std") {
            let first = path.first().expect("something of the standard library");
            assert!(PURE.contains(&first.as_str()), "{shown} uses `std::{}`", path.join("::"));
        }
        for path in paths_from(&source.code, "crate") {
            // A seed makes it the same numbers every time.
            let is_pure = is_core(&path[0]) || path[0] == "random";
            assert!(is_pure, "{shown} uses `crate::{}`", path.join("::"));
        }
        for word in
            ["super::super", "::now(", "print!", "println!", "eprint!", "eprintln!", "unsafe"]
        {
            assert!(!source.code.contains(word), "{shown} says `{word}`");
        }
    }
    assert!(seen >= 8, "the core was found: {seen} files");
}

/// Parts of the standard library that depend on nothing but their arguments.
const PURE: &[&str] = &[
    "array",
    "cmp",
    "collections",
    "convert",
    "error",
    "f64",
    "fmt",
    "iter",
    "mem",
    "num",
    "ops",
    "str",
];

// --- what must not be written ------------------------------------------------------------------

#[test]
fn nothing_is_unwrapped_left_undone_or_printed_aside() {
    for source in sources() {
        for word in [".unwrap()", "todo!", "unimplemented!", "dbg!", "println!", "print!("] {
            let shown = source.path.display();
            assert!(!source.code.contains(word), "{shown} has a `{word}` outside of its tests");
        }
    }
}

#[test]
fn every_file_says_first_what_it_answers_for() {
    for folder in ["src", "tests", "benches"] {
        for path in rust_files(&root().join(folder)) {
            let text = read(&path);
            assert!(text.starts_with("//! "), "{} does not begin with `//!`", path.display());
        }
    }
}

#[test]
fn every_test_file_is_run() {
    let main = read(&root().join("tests/it/main.rs"));
    for path in rust_files(&root().join("tests/it")) {
        let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let is_ours = path.parent().is_some_and(|folder| folder.ends_with("it"));
        if is_ours && name != "main" {
            assert!(main.contains(&format!("\nmod {name};")), "`tests/it/{name}.rs` is never run");
        }
    }
}

// --- what the papers say -----------------------------------------------------------------------

#[test]
fn the_example_of_an_env_file_names_every_variable_once() {
    let text = read(&root().join(".env.example"));
    let names: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim_start_matches(['#', ' ']).split_once('='))
        .map(|(name, _)| name)
        .filter(|name| is_variable(name))
        .collect();
    let set: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!(set, variables(), ".env.example and config::VARIABLES");
    assert_eq!(names.len(), set.len(), "one of them stands there twice: {names:?}");
}

#[test]
fn the_example_of_an_env_file_can_be_used_as_it_is_and_means_the_defaults() {
    let home = home();
    let (example, empty) = (home.path().join("example"), home.path().join("empty"));
    write_private(&example, read(&root().join(".env.example")));
    write_private(&empty, "# Nothing is set.\n");
    let [example, empty] = [example, empty].map(|path| {
        let words = ["ouroboros".into(), "--env-file".into(), OsString::from(path)];
        let cli = Cli::try_parse_from(words).expect("good options");
        Config::load(&cli.options, BTreeMap::new()).expect("a good file")
    });
    let plain = |config: &Config| {
        let Config { mode, pair, rules, terms, lookback, opening_balance, .. } = config;
        let Config { market_url, dumps_url, extra_roots, state_dir, logs_dir, .. } = config;
        let trading = format!("{mode:?} {pair:?} {rules:?} {terms:?} {lookback} {opening_balance}");
        format!("{trading} {market_url} {dumps_url:?} {extra_roots:?} {state_dir:?} {logs_dir:?}")
    };
    assert_eq!(plain(&example), plain(&empty));
    assert!(example.telegram.is_none() && example.healthcheck.is_none());
    assert_eq!(example.warnings, [""; 0]);
}

#[test]
fn the_readme_lists_every_variable() {
    let named: BTreeSet<String> = table("variable")
        .iter()
        .flat_map(|row| quoted(row))
        .filter(|name| is_variable(name))
        .collect();
    let named: BTreeSet<&str> = named.iter().map(String::as_str).collect();
    assert_eq!(named, variables(), "README's table of variables and config::VARIABLES");
}

#[test]
fn the_readme_lists_every_exit_code() {
    let codes: BTreeSet<u8> = table("code")
        .iter()
        .map(|cell| cell.trim_matches(['`', '*', ' ']).parse().expect("an exit code"))
        .collect();
    for kind in Kind::ALL {
        assert!(codes.contains(&kind.code()), "{} ({}) is missing", kind.code(), kind.name());
    }
    let contract = BTreeSet::from([0, 2, 65, 69, 70, 74, 75, 76, 77, 78]);
    assert_eq!(codes, contract, "README's table of exit codes");
}

#[test]
fn the_help_lists_every_exit_code() {
    let help = Cli::command().get_after_help().expect("examples and codes").to_string();
    let (_, codes) = help.split_once("Exit codes:").expect("the codes");
    let listed: BTreeSet<u8> =
        codes.split(',').filter_map(|item| item.split_whitespace().next()?.parse().ok()).collect();
    assert_eq!(listed, BTreeSet::from([0, 2, 65, 69, 70, 74, 75, 76, 77, 78]));
}

#[test]
fn the_readme_begins_with_the_two_commands_that_need_nothing() {
    let commands = commands(&read(&root().join("README.md")));
    let expected = ["cargo run --release -- --dry-run --candles demo", "cargo test"];
    assert_eq!(commands.get(..2), Some(&expected.map(str::to_owned)[..]));
}

#[test]
fn every_option_and_command_of_the_readme_exists() {
    let readme = read(&root().join("README.md"));
    let program = Cli::command();
    let mut known: BTreeSet<String> = program
        .get_subcommands()
        .flat_map(clap::Command::get_arguments)
        .chain(program.get_arguments())
        .filter_map(|argument| argument.get_long().map(|long| format!("--{long}")))
        .collect();
    known.extend(["--help", "--version", "--release", "--locked", "--"].map(str::to_owned));
    for command in commands(&readme) {
        let mut words = command.split_whitespace().peekable();
        let is_ours = words.by_ref().any(|word| word.ends_with("ouroboros") || word == "--");
        // The simulated exchange is another program.
        if !is_ours || command.contains("--example") {
            continue;
        }
        for word in words.take_while(|word| !["|", ">", "&&", "#"].contains(word)) {
            let name = word.split('=').next().expect("a name");
            if name.starts_with("--") {
                assert!(known.contains(name), "`{name}` of `{command}` is no option");
            }
        }
    }
}

// --- sources -----------------------------------------------------------------------------------

/// A file of `src/`.
struct Source {
    path: PathBuf,
    /// `store::format`; the library's and the program's own roots are `lib` and `main`.
    module: String,
    /// Without comments, without what stands in quotes, and without tests.
    code: String,
}

fn sources() -> Vec<Source> {
    let src = root().join("src");
    let source = |path: PathBuf| {
        let inner = path.strip_prefix(&src).expect("below").with_extension("");
        let names: Vec<&str> = inner.iter().map(|name| name.to_str().expect("plain")).collect();
        let module = names.join("::");
        let module = module.strip_suffix("::mod").unwrap_or(&module).to_owned();
        Source { code: code(&read(&path)), path, module }
    };
    let all: Vec<Source> = rust_files(&src).into_iter().map(source).collect();
    assert!(all.len() > 20, "the sources were found");
    all
}

/// Who names whom: pairs of modules.
fn arrows(sources: &[Source]) -> BTreeSet<(String, String)> {
    let modules: BTreeSet<&str> = sources.iter().map(|source| source.module.as_str()).collect();
    let mut arrows = BTreeSet::new();
    for source in sources.iter().filter(|source| source.module != "lib") {
        let parents: Vec<&str> = source.module.split("::").collect();
        let above = |levels: usize| parents[..parents.len().saturating_sub(levels)].join("::");
        let paths = |root: &str, base: String| {
            paths_from(&source.code, root).into_iter().map(move |path| (base.clone(), path))
        };
        let named = paths("crate", String::new())
            .chain(paths("ouroboros", String::new()))
            .chain(paths("super", above(1)));
        for (base, mut path) in named {
            if !base.is_empty() {
                path.insert(0, base);
            }
            // The longest beginning that is a module; the rest is what is taken from it.
            let beginnings = (1..=path.len()).rev().map(|length| path[..length].join("::"));
            let found = beginnings.into_iter().find(|name| modules.contains(name.as_str()));
            if let Some(module) = found.filter(|module| *module != source.module) {
                arrows.insert((source.module.clone(), module));
            }
        }
    }
    assert!(arrows.len() > 60, "{} arrows were found", arrows.len());
    arrows
}

/// Every path that begins with `root::`, groups in braces taken apart, without `root` itself.
fn paths_from(code: &str, root: &str) -> Vec<Vec<String>> {
    let mut paths = Vec::new();
    for (word, after) in words(code) {
        if let Some(rest) = after.strip_prefix("::").filter(|_| word == root) {
            read_path(rest, &[], &mut paths);
        }
    }
    paths
}

/// Reads `a::b`, `a::{b, c::d}` or `a::*` and returns what follows.
fn read_path<'a>(text: &'a str, before: &[String], paths: &mut Vec<Vec<String>>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = read_path(rest, before, paths).trim_start();
            match rest.strip_prefix(',') {
                Some(more) if !more.trim_start().starts_with('}') => rest = more,
                Some(more) => return more.trim_start().trim_start_matches('}'),
                None => return rest.strip_prefix('}').unwrap_or(rest),
            }
        }
    }
    let end = text.find(|c: char| !is_word(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let rest = rest.strip_prefix('*').unwrap_or(rest);
    let mut path = before.to_vec();
    if !name.is_empty() && name != "self" {
        path.push(name.to_owned());
    }
    if let Some(rest) = rest.strip_prefix("::") {
        return read_path(rest, &path, paths);
    }
    if !path.is_empty() {
        paths.push(path);
    }
    // `x as y`: the other name is of no interest.
    rest.strip_prefix(" as ").map_or(rest, |rest| rest.trim_start_matches(is_word))
}

/// Each word and what comes after it.
fn words(code: &str) -> Vec<(&str, &str)> {
    let mut words = Vec::new();
    let mut rest = code;
    while let Some(start) = rest.find(is_word) {
        let text = &rest[start..];
        let (word, after) = text.split_at(text.find(|c| !is_word(c)).unwrap_or(text.len()));
        words.push((word, after));
        rest = after;
    }
    words
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The text without comments, quotes and tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().expect("a beginning");
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("r\"") || rest.starts_with("r#\"") {
            let hashes = rest[1..].find('"').expect("it was seen");
            let end = format!("\"{}", "#".repeat(hashes));
            let inner = 2 + hashes;
            inner + rest[inner..].find(&end).expect("a quote ends") + end.len()
        } else if first == '"' {
            quote_length(rest, '"')
        } else if first == '\'' && is_character(rest) {
            quote_length(rest, '\'')
        } else {
            code.push(first);
            first.len_utf8()
        };
        rest = &rest[skipped..];
    }
    code
}

/// A letter in quotes, and not a lifetime.
fn is_character(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    let (first, second) = (chars.next(), chars.next());
    first == Some('\\') || second == Some('\'')
}

fn quote_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let all = walk(folder).into_iter();
    all.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
}

/// Names of crates as they are written in code.
fn dependencies() -> BTreeSet<String> {
    let manifest = read(&root().join("Cargo.toml"));
    let (_, rest) = manifest.split_once("[dependencies]").expect("dependencies");
    let own = rest.split("\n[").next().expect("their end");
    let names = own.lines().filter_map(|line| line.split_once('='));
    names.map(|(name, _)| name.trim().replace('-', "_")).filter(|name| is_name(name)).collect()
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(is_word)
}

// --- papers ------------------------------------------------------------------------------------

fn variables() -> BTreeSet<&'static str> {
    VARIABLES.iter().map(|variable| variable.name).collect()
}

fn is_variable(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    name.len() > 2 && name.chars().all(allowed)
}

/// The first cells of README's table whose first column has this title.
fn table(title: &str) -> Vec<String> {
    let readme = read(&root().join("README.md"));
    let first_cell = |line: &str| -> Option<String> {
        let cells = line.trim().strip_prefix('|')?;
        Some(cells.split('|').next()?.trim().to_owned())
    };
    let mut lines = readme.lines();
    let heading = lines.by_ref().find(|line| first_cell(line).is_some_and(|cell| cell == title));
    assert!(heading.is_some(), "README has no table whose first column is `{title}`");
    let cells: Vec<String> = lines.map_while(first_cell).skip(1).collect();
    assert!(!cells.is_empty(), "README's table `{title}` is empty");
    cells
}

/// What stands in backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The commands in a document's blocks of code, in their order.
fn commands(document: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in document.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside && !line.trim().is_empty() && !line.trim_start().starts_with('#') {
            let line = line.trim().trim_start_matches("$ ");
            commands.push(line.split(" # ").next().expect("a command").trim().to_owned());
        }
    }
    commands
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

// --- the reader of sources itself --------------------------------------------------------------

#[test]
fn sources_are_read_as_they_are_meant() {
    let text = r##"
        //! crate::comment
        use crate::{a, b::{self, c as d, e::*}, f};
        use super::{g, h};
        const URL: &str = "crate::quoted // \" crate::too";
        const RAW: &str = r#"crate::raw "quoted" "#;
        fn f<'a>(x: &'a str) -> char { let _ = crate::inline::path(x); '"' } // crate::end
        #[cfg(test)]
        mod tests { use crate::test; }
    "##;
    let found = |root: &str| -> Vec<String> {
        paths_from(&code(text), root).iter().map(|path| path.join("::")).collect()
    };
    assert_eq!(found("crate"), ["a", "b", "b::c", "b::e", "f", "inline::path"]);
    assert_eq!(found("super"), ["g", "h"]);
    assert_eq!(quoted("`A`, `B_C` and D"), ["A", "B_C"]);
    assert_eq!(commands("x\n```sh\n$ one\n# two\nthree # four\n```\nfive"), ["one", "three"]);
}
