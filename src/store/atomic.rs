//! Files that are either the old or the new one, whatever happens in between.

use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};

use super::disk::{Disk, Distrusted, How};

/// Whether a file must survive a power loss once it was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// Yes: synced, folder included, and read back.
    Synced,
    /// It may be the old one again.
    Relaxed,
}

/// Puts `bytes` in the place of the file `name` in `folder`.
///
/// **Errors**: before the rename the old file stands; after it what is on disk is unknown, and
/// whoever called must not act on it. No error is answered by a second sync: a failed one has
/// marked the pages clean, and the next would report success for bytes that are lost.
pub(crate) fn replace(
    disk: &dyn Disk,
    folder: &Path,
    name: &str,
    bytes: &[u8],
    durability: Durability,
) -> anyhow::Result<()> {
    let path = folder.join(name);
    let temporary = temporary(folder, name);
    let written = write_new(disk, &temporary, bytes, durability)
        .with_context(|| format!("failed to write `{}`", temporary.display()));
    if let Err(error) = written {
        // The old file stands; what is left of the new one would only confuse a person.
        let _ = disk.remove(&temporary);
        return Err(error);
    }
    // The rename is the commit: readers and crashes see one file or the other.
    disk.rename(&temporary, &path).with_context(|| {
        let _ = disk.remove(&temporary);
        format!("failed to put `{}` in its place", path.display())
    })?;
    if durability == Durability::Relaxed {
        return Ok(());
    }
    // Neither rename nor the file's own sync makes the folder's entry durable.
    disk.sync_folder(folder)
        .with_context(|| format!("failed to sync the folder `{}`", folder.display()))?;
    // A disk that says yes and means no is found out now, not by the next run.
    let found = read(disk, &path, bytes.len())?.unwrap_or_default();
    ensure!(found == bytes, "`{}` does not read back as it was written", path.display());
    Ok(())
}

/// Removes what a killed run left of a replacement. Only with the lock held.
pub(crate) fn remove_temporary(disk: &dyn Disk, folder: &Path, name: &str) -> anyhow::Result<()> {
    let path = temporary(folder, name);
    match disk.remove(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error)
            .with_context(|| format!("failed to remove the left-over `{}`", path.display())),
        _ => Ok(()),
    }
}

/// The whole of a regular file of ours; `None` where there is none.
///
/// **Errors**: as [`Disk::open`], and a file of more than `most` bytes.
pub(crate) fn read(disk: &dyn Disk, path: &Path, most: usize) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(mut file) = disk.open(path, How::Read)? else {
        return Ok(None);
    };
    let shown = path.display();
    let length = file.length().with_context(|| format!("failed to look at `{shown}`"))?;
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    ensure!(
        length <= most,
        Distrusted(format!("`{shown}` has {length} bytes, {most} at most are expected"))
    );
    let mut bytes = Vec::with_capacity(length);
    file.read_to_end(&mut bytes).with_context(|| format!("failed to read `{shown}`"))?;
    Ok(Some(bytes))
}

fn temporary(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.new"))
}

fn write_new(
    disk: &dyn Disk,
    path: &Path,
    bytes: &[u8],
    durability: Durability,
) -> anyhow::Result<()> {
    let mut file = disk.open(path, How::New)?.context("its folder vanished")?;
    file.write_all(bytes)?;
    if durability == Durability::Synced {
        file.sync()?;
    }
    Ok(())
}
