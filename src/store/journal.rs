//! The journal: one line a commit, each with the hash of the one before, in the files of [`years`].
//!
//! It is evidence, written after the state and never read to decide. The state embeds its newest
//! line, so a line that a crash kept from the file is appended by a later run.

use std::io::{BufRead as _, BufReader, SeekFrom, Write as _};
use std::path::Path;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::disk::{Disk, Distrusted, Handle, How};
use super::years;

/// The hash before the first line.
pub(crate) const GENESIS: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Line {
    /// One more than the line before.
    pub(crate) seq: u64,
    /// The hash of the line before.
    pub(crate) prev: String,
    /// SHA-256 of sequence number, `prev` and the record's bytes, a line feed between them.
    pub(crate) hash: String,
    /// What happened.
    pub(crate) record: Box<RawValue>,
}

impl Line {
    /// The line after `prev`.
    pub(crate) fn after(seq: u64, prev: &str, record: Box<RawValue>) -> Self {
        let hash = hash(seq, prev, record.get());
        Self { seq, prev: prev.to_owned(), hash, record }
    }

    /// Whether the hash is the line's own, and the line is one.
    pub(crate) fn is_sound(&self) -> bool {
        let record = self.record.get();
        self.hash == hash(self.seq, &self.prev, record) && !record.contains('\n')
    }

    /// The year in which it was written, by the clock that it was written with; `None` where a record doesn't say.
    fn year(&self) -> Option<u16> {
        let record: When = serde_json::from_str(self.record.get()).ok()?;
        let (year, _) = record.at?.split_at_checked(4)?;
        year.parse().ok()
    }

    /// As it stands in the file, line feed included.
    pub(crate) fn to_text(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a line is plain JSON");
        text.push('\n');
        text
    }
}

/// What of a record says when it was written.
#[derive(Deserialize)]
struct When<'r> {
    at: Option<&'r str>,
}

/// How the newest file ends, compared with the newest line of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The length of the lines that are there in full; half a line may follow.
    whole: u64,
    /// Whether the newest line is among them.
    pub(crate) is_complete: bool,
    /// The year of the last of them, if the next line may put them away.
    year: Option<u16>,
}

impl Tail {
    /// Of a journal that has no line yet, and needs none.
    pub(crate) const NONE: Self = Self { whole: 0, is_complete: true, year: None };
}

/// Compares the end of the journal with the newest line of the state.
///
/// **Errors**: [`Distrusted`] where neither can be the other's continuation.
pub(crate) fn tail(disk: &dyn Disk, folder: &Path, newest: Option<&Line>) -> anyhow::Result<Tail> {
    let path = folder.join(years::NEWEST);
    let shown = path.display();
    let distrusted = |why: String| anyhow::Error::new(Distrusted(format!("`{shown}` {why}")));
    let (end, length) = end_of_file(disk, &path)?;
    let Some(newest) = newest else {
        let left =
            if length == 0 { years::last_put_away(disk, folder)? } else { Some(path.clone()) };
        return match left {
            None => Ok(Tail::NONE),
            Some(left) => Err(Distrusted(format!(
                "`{}` has lines but there is no `state.json`",
                left.display()
            ))
            .into()),
        };
    };

    let text = newest.to_text();
    let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (lines, torn) = end.split_at(whole);
    if !text.as_bytes().starts_with(torn) {
        return Err(distrusted("ends with half a line that is not the state's newest".to_owned()));
    }
    let whole = length - u64::try_from(torn.len()).unwrap_or(0);
    let missing = Tail { whole, is_complete: false, year: None };
    let Some(last) = lines.strip_suffix(b"\n") else {
        return if whole == 0 && is_begin_of_file(disk, folder, newest)? {
            Ok(missing)
        } else {
            Err(distrusted(format!("lacks the lines before line {} of the state", newest.seq)))
        };
    };
    let start = last.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    // The usual case: the state's own line, whose hash was looked at with the state. No other line has it.
    if torn.is_empty() && &lines[start..] == text.as_bytes() {
        return Ok(Tail { whole, is_complete: true, year: newest.year() });
    }
    let text = &lines[start..];
    let last: Line = serde_json::from_slice(text).map_err(|error| {
        distrusted(format!("ends with a line that is not one of ours: {error}"))
    })?;
    if !last.is_sound() || last.to_text().as_bytes() != text {
        return Err(distrusted(format!("has a line {} that does not fit its hash", last.seq)));
    }
    if last.hash == newest.prev && last.seq.checked_add(1) == Some(newest.seq) {
        // Where half of the newest line is here it belongs here.
        Ok(Tail { year: last.year().filter(|_| torn.is_empty()), ..missing })
    } else {
        Err(distrusted(format!(
            "ends with line {} but the state's newest is line {}",
            last.seq, newest.seq
        )))
    }
}

/// Whether the newest line is the first of its file: of all lines, or after those that were put away.
fn is_begin_of_file(disk: &dyn Disk, folder: &Path, newest: &Line) -> anyhow::Result<bool> {
    if newest.prev == GENESIS {
        return Ok(true);
    }
    let Some(before) = years::last_put_away(disk, folder)? else { return Ok(false) };
    let (end, _) = end_of_file(disk, &before)?;
    let last = end.ends_with(b"\n").then(|| lines_of(&end).into_iter().next()).flatten();
    Ok(last.is_some_and(|last| last.is_sound() && last.hash == newest.prev))
}

/// The lines at the end of the journal, newest first, as far as one look shows them.
pub(crate) fn recent(disk: &dyn Disk, folder: &Path) -> anyhow::Result<Vec<Line>> {
    let (end, length) = end_of_file(disk, &folder.join(years::NEWEST))?;
    let mut lines = lines_of(&end);
    // In the first days of a year those before it are what one looks for.
    if length < FIRST_LOOK
        && let Some(before) = years::last_put_away(disk, folder)?
    {
        lines.extend(lines_of(&end_of_file(disk, &before)?.0));
    }
    Ok(lines)
}

/// The lines at the end of the journal, newest first, back to the first that `is_older`.
pub(crate) fn recent_until(
    disk: &dyn Disk,
    folder: &Path,
    is_older: impl Fn(&Line) -> bool,
) -> anyhow::Result<Vec<Line>> {
    let mut recent = Vec::new();
    for path in years::all(disk, folder)?.iter().rev() {
        let Some(mut file) = disk.open(path, How::Read)? else { continue };
        let mut wanted = FIRST_LOOK;
        loop {
            let (end, length) = end_of(file.as_mut(), wanted)
                .with_context(|| format!("failed to read `{}`", path.display()))?;
            let mut lines = lines_of(&end);
            if let Some(first_older) = lines.iter().position(&is_older) {
                lines.truncate(first_older);
                recent.extend(lines);
                return Ok(recent);
            }
            if wanted >= length {
                recent.extend(lines);
                break;
            }
            wanted = wanted.saturating_mul(4);
        }
    }
    Ok(recent)
}

/// Whole lines, newest first.
fn lines_of(end: &[u8]) -> Vec<Line> {
    let lines = end.rsplit(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Walks the journal from its first line on, each checked against the one before; half a line at its
/// end is left out, the state has it whole. Number and hash of the last line.
///
/// **Errors**: [`Distrusted`] at the first line that doesn't fit, or a file can't be read.
pub(crate) fn walk(
    disk: &dyn Disk,
    folder: &Path,
    mut each: impl FnMut(&Line) -> Result<(), String>,
) -> anyhow::Result<Option<(u64, String)>> {
    let mut last = None;
    for path in years::all(disk, folder)? {
        last = walk_file(disk, &path, last, &mut each)?;
    }
    Ok(last)
}

fn walk_file(
    disk: &dyn Disk,
    path: &Path,
    mut last: Option<(u64, String)>,
    each: &mut impl FnMut(&Line) -> Result<(), String>,
) -> anyhow::Result<Option<(u64, String)>> {
    let shown = path.display();
    let Some(file) = disk.open(path, How::Read)? else {
        return Ok(last);
    };
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        reader
            .read_until(b'\n', &mut bytes)
            .with_context(|| format!("failed to read `{shown}`"))?;
        if !bytes.ends_with(b"\n") {
            return Ok(last);
        }
        let (seq, prev) =
            last.as_ref().map_or((1, GENESIS), |(seq, hash)| (seq.saturating_add(1), hash));
        let distrusted =
            |why: &str| anyhow::Error::new(Distrusted(format!("`{shown}`, line {seq}: {why}")));
        let line: Line = serde_json::from_slice(&bytes)
            .map_err(|error| distrusted(&format!("it is not one of ours: {error}")))?;
        if last.is_none() && line.seq > 1 {
            let seq = line.seq;
            return Err(anyhow::Error::new(Distrusted(format!(
                "`{shown}` begins with line {seq}: the journal of the years before is missing"
            ))));
        }
        if line.seq != seq || line.prev != prev {
            return Err(distrusted("it does not continue the line before"));
        }
        if !line.is_sound() || line.to_text().as_bytes() != bytes {
            return Err(distrusted("it does not fit its hash"));
        }
        each(&line).map_err(|why| distrusted(&why))?;
        last = Some((line.seq, line.hash));
    }
}

/// Appends the state's newest line where it is missing, to a new file where it is the first of a new year and
/// `is_by_year`. Not synced: the state has it too, and [`sync`] comes before the state forgets it.
///
/// **Errors**: it can't be written. `tail` says how the file ends by now.
pub(crate) fn complete(
    disk: &dyn Disk,
    folder: &Path,
    tail: &mut Tail,
    newest: &Line,
    is_by_year: bool,
) -> anyhow::Result<()> {
    if tail.is_complete {
        return Ok(());
    }
    let year = newest.year();
    if is_by_year
        && let (Some(ended), Some(year)) = (tail.year, year)
        && year > ended
        && years::put_year_away(disk, folder, ended)?
    {
        *tail = Tail { is_complete: false, ..Tail::NONE };
    }
    let (path, text) = (folder.join(years::NEWEST), newest.to_text());
    append(disk, &path, tail.whole, &text)
        .with_context(|| format!("failed to append to `{}`", path.display()))?;
    if tail.whole == 0 {
        // A new name, and perhaps the old file's too.
        disk.sync_folder(folder)
            .with_context(|| format!("failed to sync the folder `{}`", folder.display()))?;
    }
    let length = u64::try_from(text.len()).expect("a line is short");
    *tail = Tail { whole: tail.whole + length, is_complete: true, year };
    Ok(())
}

/// Makes sure that every line in the file is on the disk, before the state is replaced and with
/// it the only other copy of the newest.
///
/// The newest line is written once more, byte for byte: if an earlier run's sync of it failed, the
/// kernel has marked its pages clean, and a sync alone would report success for bytes that are lost.
pub(crate) fn sync(
    disk: &dyn Disk,
    folder: &Path,
    tail: Tail,
    newest: &Line,
) -> anyhow::Result<()> {
    let path = folder.join(years::NEWEST);
    let Some(mut file) = disk.open(&path, How::Write)? else {
        return Ok(());
    };
    let text = newest.to_text();
    let start = tail.whole.saturating_sub(u64::try_from(text.len()).expect("a line is short"));
    file.seek(SeekFrom::Start(start))
        .and_then(|_| file.write_all(text.as_bytes()))
        .and_then(|()| file.sync())
        .with_context(|| format!("failed to sync `{}`", path.display()))
}

/// Writes `text` after the first `whole` bytes, in the place of half a line that may be there.
fn append(disk: &dyn Disk, path: &Path, whole: u64, text: &str) -> anyhow::Result<()> {
    let mut file = disk.open(path, How::Write)?.context("it vanished")?;
    let length = file.length()?;
    anyhow::ensure!(length >= whole, "it has {length} bytes, but had {whole} a moment ago");
    if length > whole {
        file.set_length(whole)?;
    }
    file.seek(SeekFrom::Start(whole))?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

/// The end of a file with its last whole line in it, and the file's length; nothing where there is none.
fn end_of_file(disk: &dyn Disk, path: &Path) -> anyhow::Result<(Vec<u8>, u64)> {
    let Some(mut file) = disk.open(path, How::Read)? else { return Ok((Vec::new(), 0)) };
    last_bytes(file.as_mut()).with_context(|| format!("failed to read `{}`", path.display()))
}

/// The last so many bytes of the file, and its length.
fn end_of(file: &mut dyn Handle, wanted: u64) -> std::io::Result<(Vec<u8>, u64)> {
    let length = file.length()?;
    file.seek(SeekFrom::Start(length.saturating_sub(wanted)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok((bytes, length))
}

/// The end of the file, with its last whole line in it, and the file's length.
fn last_bytes(file: &mut dyn Handle) -> std::io::Result<(Vec<u8>, u64)> {
    let mut wanted = FIRST_LOOK;
    loop {
        let (bytes, length) = end_of(file, wanted)?;
        let line_ends = bytes.iter().filter(|byte| **byte == b'\n').take(2).count();
        if line_ends == 2 || wanted >= length {
            return Ok((bytes, length));
        }
        wanted = wanted.saturating_mul(4);
    }
}

fn hash(seq: u64, prev: &str, record: &str) -> String {
    hex(&Sha256::digest(format!("{seq}\n{prev}\n{record}")))
}

/// Lower-case hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

/// A line of 20 candles is about 1,700 bytes, one of 999 about 70,000.
const FIRST_LOOK: u64 = 8 * 1024;
