//! The rows of one file, a chunk at a time: memory holds no more of it than a chunk.
//!
//! What is wrong with the file as a whole (it can't be read, its archive is broken, it is no text)
//! is told before what is wrong with a line of it, even if the line comes first: of a damaged archive
//! any line may be damaged.

use std::cmp::Ordering;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::row::{self, COLUMNS};
use super::zip::{self, Unzipped, unread};
use crate::failure::Failure;
use crate::trading::candle::Candle;
use crate::trading::time::Timestamp;

/// A file at one of its rows.
pub(super) struct Rows {
    lines: Lines,
    candle: Candle,
}

impl Rows {
    /// Begins a file with its first row; `None` if it has no row. So many bytes are read at a time, but
    /// for a longer line.
    pub(super) fn begin(path: &Path, chunk: usize) -> Result<Option<Self>, Failure> {
        let file = File::open(path).map_err(|error| damaged_file(path, &unread(&error)))?;
        Self::of(file, path, chunk)
    }

    /// The same with a file that may not have this name yet.
    pub(super) fn of(file: File, path: &Path, chunk: usize) -> Result<Option<Self>, Failure> {
        let mut lines = Lines::of(file, path, chunk)?;
        Ok(lines.candle()?.map(|candle| Self { lines, candle }))
    }

    pub(super) fn candle(&self) -> &Candle {
        &self.candle
    }

    pub(super) fn open_time(&self) -> Timestamp {
        self.candle.open_time
    }

    /// Goes on to the next candle, whether there is one. After the last, the file is known to be whole.
    ///
    /// **Errors**: a file that can't be read, is not what was packed or is no text; a line that is no
    /// candle, is older than the one before it, or another candle of the same time.
    pub(super) fn advance(&mut self) -> Result<bool, Failure> {
        if let Some((candle, rest)) = row::common(self.lines.bytes())
            && candle.open_time > self.candle.open_time
        {
            self.lines.unread.start = self.lines.unread.end - rest.len();
            self.lines.number += 1;
            self.candle = candle;
            return Ok(true);
        }
        loop {
            let line = self.lines.number;
            let Some(candle) = self.lines.candle()? else { return Ok(false) };
            match candle.open_time.cmp(&self.candle.open_time) {
                Ordering::Less => {
                    return Err(self.lines.damaged("is older than the line before it"));
                }
                Ordering::Equal if candle == self.candle => {}
                Ordering::Equal => {
                    let why = another(candle.open_time, &self.lines.path, line);
                    return Err(self.lines.damaged(&why));
                }
                Ordering::Greater => {
                    self.candle = candle;
                    return Ok(true);
                }
            }
        }
    }

    /// This row is damaged, if nothing worse is wrong with the file.
    pub(super) fn damaged(&mut self, why: &str) -> Failure {
        self.lines.damaged(why)
    }

    /// **Errors**: another candle than the other file's of the same time, if nothing worse is wrong
    /// with one of the files.
    pub(super) fn expect_equal(&mut self, other: &mut Self) -> Result<(), Failure> {
        if self.candle == other.candle {
            return Ok(());
        }
        let why = another(self.open_time(), &other.lines.path, other.lines.number);
        other.lines.expect_text()?;
        Err(self.lines.damaged(&why))
    }
}

/// The lines of a file.
struct Lines {
    path: PathBuf,
    content: Content,
    chunk: Vec<u8>,
    /// What of the chunk is still to be read.
    unread: Range<usize>,
    is_over: bool,
    /// The number of the line that was read last.
    number: usize,
}

enum Content {
    Plain(File),
    Zipped(Unzipped),
}

impl Lines {
    fn of(file: File, path: &Path, chunk: usize) -> Result<Self, Failure> {
        Ok(Self {
            path: path.to_owned(),
            content: content(file, path).map_err(|why| damaged_file(path, &why))?,
            chunk: vec![0; chunk],
            unread: 0..0,
            is_over: false,
            number: 0,
        })
    }

    /// What of the chunk is still to be read.
    fn bytes(&self) -> &[u8] {
        self.chunk.get(self.unread.clone()).unwrap_or_default()
    }

    /// The candle of the next line that has one.
    fn candle(&mut self) -> Result<Option<Candle>, Failure> {
        while let Some(line) = self.next_line()? {
            let bytes = self.chunk.get(line).unwrap_or_default();
            let Ok(text) = std::str::from_utf8(bytes) else { return Err(self.no_text()) };
            let is_header = self.number == 1 && text.starts_with(|c: char| c.is_ascii_alphabetic());
            if is_header && text.split(',').count() != COLUMNS {
                return Err(self.damaged("is neither a candle nor a header of candles"));
            }
            if is_header || text.is_empty() {
                continue;
            }
            return match row::candle(text) {
                Ok(candle) => Ok(Some(candle)),
                Err(why) => Err(self.damaged(&why)),
            };
        }
        Ok(None)
    }

    /// Where in the chunk the next line is, as [`str::lines`] divides a text.
    fn next_line(&mut self) -> Result<Option<Range<usize>>, Failure> {
        loop {
            let Range { start, end } = self.unread;
            let bytes = self.bytes();
            if let Some(length) = bytes.iter().position(|byte| *byte == b'\n') {
                let is_wide = bytes.get(..length).is_some_and(|line| line.ends_with(b"\r"));
                self.unread.start = start + length + 1;
                self.number += 1;
                return Ok(Some(start..start + length - usize::from(is_wide)));
            }
            if self.is_over && bytes.is_empty() {
                return Ok(None);
            }
            if self.is_over {
                self.unread.start = end;
                self.number += 1;
                return Ok(Some(start..end));
            }
            self.fill().map_err(|why| damaged_file(&self.path, &why))?;
        }
    }

    /// Fills the chunk. One that holds not even a line becomes larger.
    fn fill(&mut self) -> Result<(), String> {
        self.chunk.copy_within(self.unread.clone(), 0);
        self.unread = 0..self.unread.len();
        if self.unread.end == self.chunk.len() {
            self.chunk.resize(self.chunk.len() * 2, 0);
        }
        while let Some(space @ [_, ..]) = self.chunk.get_mut(self.unread.end..) {
            match self.content.read(space)? {
                0 => {
                    self.is_over = true;
                    break;
                }
                count => self.unread.end += count,
            }
        }
        Ok(())
    }

    /// The line that was read last is damaged, if nothing worse is wrong with the file.
    fn damaged(&mut self, why: &str) -> Failure {
        let number = self.number;
        self.expect_text()
            .err()
            .unwrap_or_else(|| damaged(&format!("`{}`, line {number}: {why}", self.path.display())))
    }

    /// **Errors**: what is wrong with the rest of the file as a whole.
    fn expect_text(&mut self) -> Result<(), Failure> {
        while let Some(line) = self.next_line()? {
            if std::str::from_utf8(self.chunk.get(line).unwrap_or_default()).is_err() {
                return Err(self.no_text());
            }
        }
        Ok(())
    }

    /// The file is no text, if it is what was packed.
    fn no_text(&mut self) -> Failure {
        loop {
            match self.next_line() {
                Ok(Some(_)) => {}
                Ok(None) => return damaged_file(&self.path, "is not text"),
                Err(worse) => return worse,
            }
        }
    }
}

impl Content {
    fn read(&mut self, space: &mut [u8]) -> Result<usize, String> {
        match self {
            Self::Plain(file) => zip::read(file, space).map_err(|error| unread(&error)),
            Self::Zipped(file) => file.read(space),
        }
    }
}

fn content(file: File, path: &Path) -> Result<Content, String> {
    let is_zip = path.extension().is_some_and(|end| end == "zip");
    Ok(if is_zip { Content::Zipped(Unzipped::open(file)?) } else { Content::Plain(file) })
}

/// Why a candle can't be, as another file or line has it too.
fn another(open_time: Timestamp, path: &Path, line: usize) -> String {
    format!("the candle {open_time} is another one in `{}`, line {line}", path.display())
}

fn damaged_file(path: &Path, why: &str) -> Failure {
    damaged(&format!("`{}` {why}", path.display()))
}

/// Candles that can't be trusted.
pub(crate) fn damaged(what: &str) -> Failure {
    Failure::untrusted(what, "nothing was changed; fetch the file anew, or take it away")
}
