//! The folder that `--candles` reads: a file is there whole or not at all, and one fetch at a time
//! writes to it.
//!
//! What is being written has a name that ends with `.new`, which no reader takes for candles. A
//! process that is killed leaves such a name at the worst; the next fetch of the symbol removes it.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::GOES_ON;
use crate::failure::{Failure, Kind};
use crate::store::journal::hex;

/// A folder of candles that nobody else fetches into.
#[derive(Debug)]
pub struct Shelf {
    folder: PathBuf,
    /// Held for as long as it is open; the kernel lets go of it, however the process ends.
    _lock: File,
}

impl Shelf {
    /// Makes the folder where there is none.
    ///
    /// **Errors**: it can't be made, or another fetch is at work in it.
    pub fn open(folder: &Path) -> Result<Self, Failure> {
        let shown = folder.display();
        let storage = |what: &str, error: &io::Error| storage(&format!("{what} `{shown}`"), error);
        fs::create_dir_all(folder).map_err(|error| storage("failed to make the folder", &error))?;
        let lock = File::open(folder).map_err(|error| storage("failed to open", &error))?;
        match fs2::FileExt::try_lock_exclusive(&lock) {
            Ok(()) => Ok(Self { folder: folder.to_owned(), _lock: lock }),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(Failure::new(
                Kind::Busy,
                format!("another `ouroboros candles` is at work in `{shown}`"),
                "nothing was done; wait for its end",
            )),
            Err(error) => Err(storage("failed to lock", &error)),
        }
    }

    /// Removes what a killed fetch was writing, of the files whose names begin like this.
    pub fn tidy(&self, prefix: &str) -> Result<(), Failure> {
        let shown = self.folder.display();
        let failed = |error| storage(&format!("failed to list `{shown}`"), &error);
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let name = name.to_str().unwrap_or_default();
            let is_ours = [".csv.new", ".zip.new", ".zip.CHECKSUM.new"];
            if name.starts_with(prefix) && is_ours.iter().any(|end| name.ends_with(end)) {
                self.remove(name)?;
            }
        }
        Ok(())
    }

    /// Where it is.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a file is, or would be.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Opens a file; `None` where there is none.
    pub fn open_file(&self, name: &str) -> Result<Option<File>, Failure> {
        let path = self.path(name);
        match File::open(&path) {
            Ok(file) => Ok(Some(file)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(storage(&format!("failed to open `{}`", path.display()), &error)),
        }
    }

    /// The bytes of a file; `None` where there is none.
    pub fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        let Some(mut file) = self.open_file(name)? else { return Ok(None) };
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| self.unread(name, &error))?;
        Ok(Some(bytes))
    }

    /// The SHA-256 of a file, in hexadecimal digits; `None` where there is none.
    pub fn digest(&self, name: &str) -> Result<Option<String>, Failure> {
        let Some(mut file) = self.open_file(name)? else { return Ok(None) };
        let mut hash = Sha256::new();
        let mut chunk = [0; 16 * 1024];
        loop {
            match file.read(&mut chunk) {
                Ok(0) => return Ok(Some(hex(&hash.finalize()))),
                Ok(count) => hash.update(chunk.get(..count).unwrap_or_default()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(self.unread(name, &error)),
            }
        }
    }

    /// Puts these bytes in the place of a file, once `look` has nothing against them.
    ///
    /// **Errors**: `look`'s, and the disk's; the file that was there stands.
    pub fn put(
        &self,
        name: &str,
        bytes: &[u8],
        look: impl FnOnce(File, &Path) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (path, new) = (self.path(name), self.path(&format!("{name}.new")));
        let done = write(&new, bytes)
            .map_err(|error| storage(&format!("failed to write `{}`", new.display()), &error))
            .and_then(|file| look(file, &path))
            .and_then(|()| {
                // The rename is the commit: readers see one file or the other.
                fs::rename(&new, &path).and_then(|()| File::open(&self.folder)?.sync_all()).map_err(
                    |error| {
                        storage(&format!("failed to put `{}` in its place", path.display()), &error)
                    },
                )
            });
        if done.is_err() {
            // What is left of it would only confuse a person; the next fetch removes it too.
            let _ = fs::remove_file(&new);
        }
        done
    }

    /// Takes a file away, if it is there.
    pub fn remove(&self, name: &str) -> Result<(), Failure> {
        let path = self.path(name);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(storage(&format!("failed to remove `{}`", path.display()), &error))
            }
            _ => Ok(()),
        }
    }

    fn unread(&self, name: &str, error: &io::Error) -> Failure {
        storage(&format!("failed to read `{}`", self.path(name).display()), error)
    }
}

/// Writes a new file, durably, and opens it to be read.
fn write(path: &Path, bytes: &[u8]) -> io::Result<File> {
    let mut file = File::create_new(path)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    File::open(path)
}

fn storage(what: &str, error: &io::Error) -> Failure {
    Failure::new(
        Kind::Storage,
        format!("{what}: {error}"),
        format!("look at disk space and permissions; {GOES_ON}"),
    )
}
