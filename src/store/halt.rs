//! A person's request for a halt: the file `halt` in the world's folder.
//!
//! It is made without the lock, so that a run under way sees it too, and is there from the moment
//! its name is: whether the reason inside was written in full is of no matter. Whoever holds the
//! lock makes it part of the state and only then takes it away.

use std::fs::File;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::Context as _;

use super::atomic;

/// Asks for a halt. Asked twice is asked once: the first reason stays.
pub(super) fn ask(folder: &Path, reason: &str) -> anyhow::Result<()> {
    let path = folder.join(FILE);
    let failed = || format!("failed to write the request for a halt, `{}`", path.display());
    match File::options().write(true).create_new(true).mode(0o600).open(&path) {
        // The request stands, whatever becomes of its reason.
        Ok(mut file) => file.write_all(reason.as_bytes()).and_then(|()| file.sync_all()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
    .with_context(failed)?;
    File::open(folder).and_then(|folder| folder.sync_all()).with_context(failed)
}

/// Whether a halt was asked for that is not part of the state yet, and why.
///
/// **Errors**: something stands in its place that can't be read. Whoever asked must not trade then.
pub(super) fn read(folder: &Path) -> anyhow::Result<Option<String>> {
    let Some(reason) = atomic::read(&folder.join(FILE), MOST_BYTES)? else { return Ok(None) };
    let reason = String::from_utf8_lossy(&reason).trim().to_owned();
    Ok(Some(if reason.is_empty() { "asked for by hand".to_owned() } else { reason }))
}

/// Takes the request away, once it is part of the state or was lifted.
pub(super) fn forget(folder: &Path) -> anyhow::Result<()> {
    match std::fs::remove_file(folder.join(FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context("failed to remove the request for a halt")
        }
        _ => Ok(()),
    }
}

const FILE: &str = "halt";
const MOST_BYTES: usize = 4096;
