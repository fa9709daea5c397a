//! What a folder can do, tried out and left as it was. For `check`: a run finds out by doing.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::LOCK;
use super::atomic::{self, Durability};
use super::disk::{self, Disk as _, System};
use crate::clock::Clock;

/// What trying showed.
#[derive(Debug, Clone, Copy)]
pub struct Tried {
    /// How long it took to write a file, sync it, rename it, sync the folder and read it back.
    pub took: Duration,
    /// How much room is left.
    pub free_bytes: u64,
}

/// Who may look into a folder.
#[derive(Debug, Clone, Copy)]
pub struct Owner {
    /// Whose it is.
    pub user: u32,
    /// Who runs this.
    pub us: u32,
    /// Its mode, without the bits for the kind of file.
    pub mode: u32,
}

/// Makes the folder where there is none, replaces a file in it as a commit does, and takes both
/// away again.
///
/// **Errors**: what a commit would fail with.
pub fn try_out(folder: &Path) -> anyhow::Result<Tried> {
    let is_new = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let made: Vec<PathBuf> = folder.ancestors().take_while(is_new).map(Path::to_path_buf).collect();
    let tried = System.make_folder(folder).and_then(|()| try_writing(folder));
    for path in made {
        // A run that began in between has put something in, and then it stays.
        let _ = std::fs::remove_dir(path);
    }
    tried
}

/// Whose the folder is; `None` where there is none.
///
/// **Errors**: it can't be looked at.
pub fn owner(folder: &Path) -> anyhow::Result<Option<Owner>> {
    match std::fs::metadata(folder) {
        Ok(meta) => Ok(Some(Owner {
            user: meta.uid(),
            us: rustix::process::geteuid().as_raw(),
            mode: meta.permissions().mode() & 0o7777,
        })),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => {
            Err(error).with_context(|| format!("failed to look at `{}`", folder.display()))
        }
    }
}

/// Whether a run holds the lock at this moment. Nothing is made, and nothing is held afterwards.
///
/// **Errors**: what stands in the lock's place can't be opened.
pub fn is_locked(folder: &Path) -> anyhow::Result<bool> {
    if !folder.exists() {
        return Ok(false);
    }
    let shown = folder.display();
    let itself = File::open(folder).with_context(|| format!("failed to open `{shown}`"))?;
    let file = disk::open_own(&folder.join(LOCK), File::options().read(true))?;
    for file in file.iter().chain([&itself]) {
        // Shared, so that two who only look are not in each other's way.
        match fs2::FileExt::try_lock_shared(file) {
            // Given back at once: a run that begins now must not find it taken.
            Ok(()) => fs2::FileExt::unlock(file)?,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) => return Err(error).with_context(|| format!("failed to lock `{shown}`")),
        }
    }
    Ok(false)
}

fn try_writing(folder: &Path) -> anyhow::Result<Tried> {
    // A name of its own, because no lock is held.
    let name = format!("probe-{}", std::process::id());
    let stopwatch = Clock::system().stopwatch();
    let written = atomic::replace(&System, folder, &name, b"a probe\n", Durability::Synced);
    let took = stopwatch.elapsed();
    let removed = std::fs::remove_file(folder.join(&name));
    written?;
    removed.with_context(|| format!("failed to remove a file from `{}`", folder.display()))?;
    let space = rustix::fs::statvfs(folder)
        .with_context(|| format!("failed to look at the disk of `{}`", folder.display()))?;
    Ok(Tried { took, free_bytes: space.f_bavail.saturating_mul(space.f_frsize) })
}
