//! `journal.jsonl`: one line a commit, each with the hash of the one before.
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

    /// As it stands in the file, line feed included.
    pub(crate) fn to_text(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a line is plain JSON");
        text.push('\n');
        text
    }
}

/// How the file ends, compared with the newest line of the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The length of the lines that are there in full; half a line may follow.
    pub(crate) whole: u64,
    /// Whether the newest line is among them.
    pub(crate) is_complete: bool,
}

/// Compares the end of the file with the newest line of the state.
///
/// **Errors**: [`Distrusted`] where neither can be the other's continuation.
pub(crate) fn tail(disk: &dyn Disk, path: &Path, newest: Option<&Line>) -> anyhow::Result<Tail> {
    let shown = path.display();
    let distrusted = |why: String| anyhow::Error::new(Distrusted(format!("`{shown}` {why}")));
    let (end, length) = match disk.open(path, How::Read)? {
        Some(mut file) => {
            last_bytes(file.as_mut()).with_context(|| format!("failed to read `{shown}`"))?
        }
        None => (Vec::new(), 0),
    };
    let Some(newest) = newest else {
        return if length == 0 {
            Ok(Tail { whole: 0, is_complete: true })
        } else {
            Err(distrusted("has lines but there is no `state.json`".to_owned()))
        };
    };

    let text = newest.to_text();
    let whole = end.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let (lines, torn) = end.split_at(whole);
    if !text.as_bytes().starts_with(torn) {
        return Err(distrusted("ends with half a line that is not the state's newest".to_owned()));
    }
    let whole = length - u64::try_from(torn.len()).unwrap_or(0);
    let missing = Tail { whole, is_complete: false };
    let Some(last) = lines.strip_suffix(b"\n") else {
        return if newest.prev == GENESIS && whole == 0 {
            Ok(missing)
        } else {
            Err(distrusted(format!("lacks the lines before line {} of the state", newest.seq)))
        };
    };
    let start = last.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    // The usual case: the state's own line, whose hash was looked at with the state.
    if torn.is_empty() && &lines[start..] == text.as_bytes() {
        return Ok(Tail { whole, is_complete: true });
    }
    let text = &lines[start..];
    let last: Line = serde_json::from_slice(text).map_err(|error| {
        distrusted(format!("ends with a line that is not one of ours: {error}"))
    })?;
    if !last.is_sound() || last.to_text().as_bytes() != text {
        return Err(distrusted(format!("has a line {} that does not fit its hash", last.seq)));
    }
    if torn.is_empty() && last.seq == newest.seq && last.hash == newest.hash {
        Ok(Tail { whole, is_complete: true })
    } else if last.hash == newest.prev && last.seq.checked_add(1) == Some(newest.seq) {
        Ok(missing)
    } else {
        Err(distrusted(format!(
            "ends with line {} but the state's newest is line {}",
            last.seq, newest.seq
        )))
    }
}

/// The lines at the end of the file, newest first; the first of them may be cut and is left out.
pub(crate) fn recent(disk: &dyn Disk, path: &Path) -> anyhow::Result<Vec<Line>> {
    let Some(mut file) = disk.open(path, How::Read)? else {
        return Ok(Vec::new());
    };
    let (end, _) = last_bytes(file.as_mut())
        .with_context(|| format!("failed to read `{}`", path.display()))?;
    Ok(lines_of(&end))
}

/// The lines at the end of the file, newest first, back to the first that `is_older`.
pub(crate) fn recent_until(
    disk: &dyn Disk,
    path: &Path,
    is_older: impl Fn(&Line) -> bool,
) -> anyhow::Result<Vec<Line>> {
    let Some(mut file) = disk.open(path, How::Read)? else {
        return Ok(Vec::new());
    };
    let mut wanted = FIRST_LOOK;
    loop {
        let (end, length) = end_of(file.as_mut(), wanted)
            .with_context(|| format!("failed to read `{}`", path.display()))?;
        let mut lines = lines_of(&end);
        let first_older = lines.iter().position(&is_older);
        if first_older.is_some() || wanted >= length {
            lines.truncate(first_older.unwrap_or(lines.len()));
            return Ok(lines);
        }
        wanted = wanted.saturating_mul(4);
    }
}

/// Whole lines, newest first.
fn lines_of(end: &[u8]) -> Vec<Line> {
    let lines = end.rsplit(|byte| *byte == b'\n');
    lines.filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// Walks the file from its first line on, each checked against the one before; half a line at its
/// end is left out, the state has it whole.
///
/// **Errors**: [`Distrusted`] at the first line that doesn't fit, or the file can't be read.
pub(crate) fn walk(
    disk: &dyn Disk,
    path: &Path,
    mut each: impl FnMut(&Line) -> Result<(), String>,
) -> anyhow::Result<Option<(u64, String)>> {
    let shown = path.display();
    let Some(file) = disk.open(path, How::Read)? else {
        return Ok(None);
    };
    let mut last: Option<(u64, String)> = None;
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

/// Appends the state's newest line where it is missing. Not synced: the state has it too, and
/// [`sync`] comes before the state forgets it.
pub(crate) fn complete(
    disk: &dyn Disk,
    path: &Path,
    tail: Tail,
    newest: &Line,
) -> anyhow::Result<Tail> {
    if tail.is_complete {
        return Ok(tail);
    }
    let text = newest.to_text();
    append(disk, path, tail.whole, &text)
        .with_context(|| format!("failed to append to `{}`", path.display()))?;
    let length = u64::try_from(text.len()).expect("a line is short");
    Ok(Tail { whole: tail.whole + length, is_complete: true })
}

/// Makes sure that every line in the file is on the disk, before the state is replaced and with
/// it the only other copy of the newest.
///
/// The newest line is written once more, byte for byte: if an earlier run's sync of it failed, the
/// kernel has marked its pages clean, and a sync alone would report success for bytes that are lost.
pub(crate) fn sync(disk: &dyn Disk, path: &Path, tail: Tail, newest: &Line) -> anyhow::Result<()> {
    let Some(mut file) = disk.open(path, How::Write)? else {
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
