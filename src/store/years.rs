//! The journal's years: `journal.jsonl` has the newest lines, `journal-2025.jsonl` those of 2025.
//!
//! The first line of a new year puts what is there away under the name of the year that is over and begins a new
//! file, whose first line has the hash of the last one put away. All of them are one chain. Years that a clock made up
//! change nothing but where a line stands: a file is put away once, and only after all that were put away before.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::disk::Disk;

/// The file that lines are appended to.
pub(crate) const NEWEST: &str = "journal.jsonl";

/// The last year that was put away.
pub(crate) fn last_put_away(disk: &dyn Disk, folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    Ok(years(disk, folder)?.last().map(|year| folder.join(name(*year))))
}

/// All files of the journal, the oldest first.
pub(crate) fn all(disk: &dyn Disk, folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let names = years(disk, folder)?.into_iter().map(name).chain([NEWEST.to_owned()]);
    Ok(names.map(|name| folder.join(name)).collect())
}

/// Puts the lines of a year that is over away. `false` where this year or a later one was put away already: then the
/// journal goes on in the file that it has.
///
/// **Errors**: the file is where it was, or under its new name.
pub(crate) fn put_year_away(disk: &dyn Disk, folder: &Path, year: u16) -> anyhow::Result<bool> {
    if years(disk, folder)?.last().is_some_and(|last| *last >= year) {
        return Ok(false);
    }
    let (from, to) = (folder.join(NEWEST), folder.join(name(year)));
    disk.rename(&from, &to)
        .with_context(|| format!("failed to put `{}` away as `{}`", from.display(), name(year)))?;
    log::info!("a new year begins: the journal of {year} is `{}` from here on", to.display());
    Ok(true)
}

fn years(disk: &dyn Disk, folder: &Path) -> anyhow::Result<Vec<u16>> {
    let names = disk
        .names(folder)
        .with_context(|| format!("failed to look into the folder `{}`", folder.display()))?;
    let mut years: Vec<u16> = names.iter().filter_map(|name| year_of(name)).collect();
    years.sort_unstable();
    Ok(years)
}

fn name(year: u16) -> String {
    format!("journal-{year:04}.jsonl")
}

fn year_of(file: &str) -> Option<u16> {
    let year = file.strip_prefix("journal-")?.strip_suffix(".jsonl")?;
    year.parse().ok().filter(|year| name(*year) == file)
}
