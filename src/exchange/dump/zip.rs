//! The one file of a zip archive, a chunk at a time. **Source**: PKWARE APPNOTE 6.3.
//!
//! Size and checksum can only be known to be right at the end, so that is where a wrong one is told:
//! nothing that was read is to be relied on before [`Unzipped::read`] returned 0.

use std::fs::File;
use std::io::{self, Read, Seek as _, SeekFrom};
use std::os::unix::fs::FileExt as _;

use flate2::Crc;
use flate2::read::DeflateDecoder;

/// The content of an archive's only file.
pub(super) struct Unzipped {
    /// Ends one byte after the size that was promised: that byte shows that the size is wrong.
    content: io::Take<Box<dyn Read + Send>>,
    seen: Crc,
    size: u32,
    checksum: u32,
}

impl Unzipped {
    /// Finds the file in the archive.
    ///
    /// **Errors**: what is wrong, as a sentence whose subject is the archive.
    pub(super) fn open(file: File) -> Result<Self, String> {
        let archive =
            Archive { length: file.metadata().map_err(|error| unread(&error))?.len(), file };
        let end = archive.end_of_directory()?;
        let entries = archive.u16_at(end + 10)?;
        if entries != 1 {
            return Err(broken(&format!("it has {entries} files")));
        }
        // The directory's entry is believed, not the file's own header: that may leave its sizes to
        // a descriptor behind the data.
        let entry = u64::from(archive.u32_at(end + 16)?);
        if !archive.has(*b"PK\x01\x02", entry)? {
            return Err(broken("its directory is broken"));
        }
        let method = archive.u16_at(entry + 10)?;
        let checksum = archive.u32_at(entry + 16)?;
        let packed = u64::from(archive.u32_at(entry + 20)?);
        let size = archive.u32_at(entry + 24)?;
        let local = u64::from(archive.u32_at(entry + 42)?);
        if !archive.has(*b"PK\x03\x04", local)? {
            return Err(broken("its file is not where the directory says"));
        }
        let name = u64::from(archive.u16_at(local + 26)?);
        let extra = u64::from(archive.u16_at(local + 28)?);
        let start = local + 30 + name + extra;
        if start + packed > archive.length {
            return Err(cut_off());
        }
        if size > MOST_UNZIPPED_BYTES {
            return Err(broken(&format!("its file has {size} bytes")));
        }
        let mut file = archive.file;
        file.seek(SeekFrom::Start(start)).map_err(|error| unread(&error))?;
        let data = file.take(packed);
        let content: Box<dyn Read + Send> = match method {
            0 => Box::new(data),
            8 => Box::new(DeflateDecoder::new(data)),
            other => return Err(broken(&format!("it is packed by method {other}"))),
        };
        let content = content.take(u64::from(size) + 1);
        Ok(Self { content, seen: Crc::new(), size, checksum })
    }

    /// The next bytes of the file; 0 at its end.
    ///
    /// **Errors**: as [`Unzipped::open`], and at the end, a file that is not what was packed.
    pub(super) fn read(&mut self, space: &mut [u8]) -> Result<usize, String> {
        let count = read(&mut self.content, space).map_err(|error| match error.raw_os_error() {
            Some(_) => unread(&error),
            None => broken(&error.to_string()),
        })?;
        self.seen.update(space.get(..count).unwrap_or_default());
        let is_whole = self.seen.amount() == self.size && self.seen.sum() == self.checksum;
        if count == 0 && !space.is_empty() && !is_whole {
            return Err(broken("its file does not fit its checksum"));
        }
        Ok(count)
    }
}

struct Archive {
    file: File,
    length: u64,
}

impl Archive {
    /// Where the last record of its kind begins. It ends the archive but for a comment, so the search
    /// goes backwards; the blocks overlap, for a signature may lie on a border.
    fn end_of_directory(&self) -> Result<u64, String> {
        let mut block = [0; 4096];
        let mut end = self.length;
        loop {
            let start = end.saturating_sub(4096);
            let part = usize::try_from(end - start).ok().and_then(|length| block.get_mut(..length));
            let part = part.expect("a block is no longer than that");
            self.file.read_exact_at(part, start).map_err(|error| unread(&error))?;
            if let Some(at) = part.windows(4).rposition(|bytes| bytes == b"PK\x05\x06") {
                return Ok(start + u64::try_from(at).expect("within a block"));
            }
            if start == 0 {
                return Err(broken("it has no directory"));
            }
            end = start + 3;
        }
    }

    /// Whether these bytes stand there.
    fn has(&self, signature: [u8; 4], at: u64) -> Result<bool, String> {
        Ok(self.bytes_at(at)? == Some(signature))
    }

    fn u16_at(&self, at: u64) -> Result<u16, String> {
        self.bytes_at(at)?.map(u16::from_le_bytes).ok_or_else(cut_off)
    }

    fn u32_at(&self, at: u64) -> Result<u32, String> {
        self.bytes_at(at)?.map(u32::from_le_bytes).ok_or_else(cut_off)
    }

    /// `None` where the archive ends before.
    fn bytes_at<const COUNT: usize>(&self, at: u64) -> Result<Option<[u8; COUNT]>, String> {
        let mut bytes = [0; COUNT];
        match self.file.read_exact_at(&mut bytes, at) {
            Ok(()) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(unread(&error)),
        }
    }
}

fn broken(why: &str) -> String {
    format!("is no archive with one file in it: {why}")
}

fn cut_off() -> String {
    broken("it is cut off")
}

/// Reads on when a signal came.
pub(super) fn read(from: &mut impl Read, space: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(space) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// The disk's fault, not the archive's.
pub(super) fn unread(error: &io::Error) -> String {
    format!("can't be read: {error}")
}

/// A year of one-second candles is about 4 GB; a month of one-minute candles 6 MB.
const MOST_UNZIPPED_BYTES: u32 = 512 * 1024 * 1024;
