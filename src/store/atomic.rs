//! Files that are either the old or the new one, whatever happens in between.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail, ensure};

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
    folder: &Path,
    name: &str,
    bytes: &[u8],
    durability: Durability,
) -> anyhow::Result<()> {
    let path = folder.join(name);
    let temporary = temporary(folder, name);
    let written = write_new(&temporary, bytes, durability)
        .with_context(|| format!("failed to write `{}`", temporary.display()));
    if let Err(error) = written {
        // The old file stands; what is left of the new one would only confuse a person.
        let _ = std::fs::remove_file(&temporary);
        return Err(error);
    }
    // The rename is the commit: readers and crashes see one file or the other.
    std::fs::rename(&temporary, &path).with_context(|| {
        let _ = std::fs::remove_file(&temporary);
        format!("failed to put `{}` in its place", path.display())
    })?;
    if durability == Durability::Relaxed {
        return Ok(());
    }
    // Neither rename nor the file's own sync makes the folder's entry durable.
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .with_context(|| format!("failed to sync the folder `{}`", folder.display()))?;
    // A disk that says yes and means no is found out now, not by the next run.
    let found = read(&path, bytes.len())?.unwrap_or_default();
    ensure!(found == bytes, "`{}` does not read back as it was written", path.display());
    Ok(())
}

/// Removes what a killed run left of a replacement. Only with the lock held.
pub(crate) fn remove_temporary(folder: &Path, name: &str) -> anyhow::Result<()> {
    let path = temporary(folder, name);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error)
            .with_context(|| format!("failed to remove the left-over `{}`", path.display())),
        _ => Ok(()),
    }
}

/// The whole of a regular file of ours; `None` where there is none.
///
/// **Errors**: links, folders, devices and pipes in its place, somebody else's file, and a file
/// of more than `most` bytes.
pub(crate) fn read(path: &Path, most: usize) -> anyhow::Result<Option<Vec<u8>>> {
    let Some(mut file) = open_own(path, File::options().read(true))? else {
        return Ok(None);
    };
    let shown = path.display();
    let length = file.metadata().with_context(|| format!("failed to look at `{shown}`"))?.len();
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    ensure!(
        length <= most,
        Distrusted(format!("`{shown}` has {length} bytes, {most} at most are expected"))
    );
    let mut bytes = Vec::with_capacity(length);
    file.read_to_end(&mut bytes).with_context(|| format!("failed to read `{shown}`"))?;
    Ok(Some(bytes))
}

/// Opens a regular file of ours without following a link or waiting for a pipe's other end.
pub(crate) fn open_own(
    path: &Path,
    options: &mut std::fs::OpenOptions,
) -> anyhow::Result<Option<File>> {
    let shown = path.display();
    let no_trap = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(no_trap.bits()).unwrap_or_default();
    let file = match options.mode(0o600).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            if std::fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file()) {
                bail!(Distrusted(format!("`{shown}` is not a plain file")));
            }
            return Err(error).with_context(|| format!("failed to open `{shown}`"));
        }
    };
    let meta = file.metadata().with_context(|| format!("failed to look at `{shown}`"))?;
    ensure!(meta.is_file(), Distrusted(format!("`{shown}` is not a plain file")));
    let (owner, us) = (meta.uid(), rustix::process::geteuid().as_raw());
    ensure!(
        owner == us,
        Distrusted(format!(
            "`{shown}` belongs to user {owner}, not to user {us} who runs this; run it as that user, by `sudo -u`"
        ))
    );
    Ok(Some(file))
}

/// A file that is there and can be read, but is not to be trusted.
#[derive(Debug)]
pub(crate) struct Distrusted(pub(crate) String);

impl std::fmt::Display for Distrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Distrusted {}

fn temporary(folder: &Path, name: &str) -> PathBuf {
    folder.join(format!("{name}.new"))
}

fn write_new(path: &Path, bytes: &[u8], durability: Durability) -> std::io::Result<()> {
    // Exclusive, so that no link is followed; readable by nobody else from its first moment.
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    if durability == Durability::Synced {
        file.sync_all()?;
    }
    Ok(())
}
