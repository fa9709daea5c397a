//! A person's request for a halt: the file `halt` in the world's folder.
//!
//! It is made without the lock, so that a run under way sees it too, and is there from the moment
//! its name is: whether the reason inside was written in full is of no matter. Whoever holds the
//! lock makes it part of the state and only then takes it away.

use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::Context as _;

use super::atomic;
use super::disk::{Disk, How};

/// Asks for a halt. Asked twice is asked once: the first reason stays.
pub(super) fn ask(disk: &dyn Disk, folder: &Path, reason: &str) -> anyhow::Result<()> {
    let path = folder.join(FILE);
    let failed = || format!("failed to write the request for a halt, `{}`", path.display());
    if !disk.exists(&path) {
        // The request stands from here on, whatever becomes of its reason.
        match disk.open(&path, How::New) {
            Ok(Some(mut file)) => {
                file.write_all(reason.as_bytes())
                    .and_then(|()| file.sync())
                    .with_context(failed)?;
            }
            Ok(None) => anyhow::bail!(failed()),
            // Somebody else asked in between.
            Err(_) if disk.exists(&path) => {}
            Err(error) => return Err(error).with_context(failed),
        }
    }
    disk.sync_folder(folder).with_context(failed)
}

/// Whether a halt was asked for that is not part of the state yet, and why.
///
/// **Errors**: something stands in its place that can't be read. Whoever asked must not trade then.
pub(super) fn read(disk: &dyn Disk, folder: &Path) -> anyhow::Result<Option<String>> {
    let Some(reason) = atomic::read(disk, &folder.join(FILE), MOST_BYTES)? else { return Ok(None) };
    let reason = String::from_utf8_lossy(&reason).trim().to_owned();
    Ok(Some(if reason.is_empty() { "asked for by hand".to_owned() } else { reason }))
}

/// Takes the request away, once it is part of the state or was lifted.
pub(super) fn forget(disk: &dyn Disk, folder: &Path) -> anyhow::Result<()> {
    match disk.remove(&folder.join(FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).context("failed to remove the request for a halt")
        }
        _ => Ok(()),
    }
}

const FILE: &str = "halt";
const MOST_BYTES: usize = 4096;
