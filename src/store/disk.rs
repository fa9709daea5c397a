//! The file system as the store needs it: few operations, each of which may fail or be the last.
//!
//! [`System`] is the real one. Tests put another in its place, on which the power may go between
//! any two operations, and which forgets what was not synced.

use std::any::Any;
use std::fmt::Debug;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};

/// Where files are kept.
pub trait Disk: Debug + Send + Sync {
    /// Opens a regular file of ours; `None` where there is none and none is to be made.
    ///
    /// **Errors**: [`Distrusted`] for links, folders, devices and pipes in its place, and [`SomebodyElses`].
    fn open(&self, path: &Path, how: How) -> anyhow::Result<Option<Box<dyn Handle>>>;

    /// Takes the place of a name that may be taken.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes a name away.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &Path) -> io::Result<()>;

    /// Makes the folder and those above it, durable and for nobody else.
    fn make_folder(&self, folder: &Path) -> anyhow::Result<()>;

    /// Whether there is anything of this name.
    fn exists(&self, path: &Path) -> bool;

    /// The names in a folder, in no order; none where there is no folder. What is no text is none of ours.
    fn names(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Takes the folder's lock, for as long as what is returned lives; `None` where somebody else
    /// holds it.
    fn lock(&self, folder: &Path, name: &str) -> anyhow::Result<Option<Box<dyn Any>>>;
}

/// For what a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// To be read.
    Read,
    /// To be written to, and made where there is none.
    Write,
    /// To be made: it must not be there yet.
    New,
}

/// An open file.
pub trait Handle: Read + Write + Seek {
    /// How many bytes it has.
    fn length(&self) -> io::Result<u64>;
    /// Cuts it, or fills it up with zeros.
    fn set_length(&self, length: u64) -> io::Result<()>;
    /// Makes its bytes durable; its name is its folder's.
    fn sync(&self) -> io::Result<()>;
}

impl Handle for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_all()
    }
}

/// A file that is there and can be read, but is not to be trusted.
#[derive(Debug)]
pub struct Distrusted(pub String);

impl std::fmt::Display for Distrusted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Distrusted {}

/// A file of another user: nothing is wrong with it, but with who runs this.
#[derive(Debug)]
pub struct SomebodyElses {
    path: String,
    owner: u32,
    us: u32,
}

impl std::fmt::Display for SomebodyElses {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, owner, us } = self;
        write!(f, "`{path}` belongs to user {owner}, not to user {us} who runs this")
    }
}

impl std::error::Error for SomebodyElses {}

/// This machine's.
#[derive(Debug, Clone, Copy)]
pub struct System;

impl System {
    /// One that can be shared.
    #[must_use]
    pub fn shared() -> Arc<dyn Disk> {
        Arc::new(Self)
    }
}

impl Disk for System {
    fn open(&self, path: &Path, how: How) -> anyhow::Result<Option<Box<dyn Handle>>> {
        let options = &mut File::options();
        let options = match how {
            How::Read => options.read(true),
            How::Write => options.write(true).create(true).truncate(false),
            // Exclusive, so that no link is followed.
            How::New => options.write(true).create_new(true),
        };
        Ok(open_own(path, options)?.map(|file| Box::new(file) as Box<dyn Handle>))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        std::fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        File::open(folder)?.sync_all()
    }

    fn make_folder(&self, folder: &Path) -> anyhow::Result<()> {
        let is_new = |path: &&Path| !path.exists();
        let parents: Vec<&Path> = folder.ancestors().take_while(is_new).collect();
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .with_context(|| format!("failed to make the folder `{}`", folder.display()))?;
        // A folder is on the disk when its parent says so.
        for parent in parents.into_iter().filter_map(Path::parent) {
            let parent = if parent.as_os_str().is_empty() { Path::new(".") } else { parent };
            self.sync_folder(parent)
                .with_context(|| format!("failed to sync the folder `{}`", parent.display()))?;
        }
        Ok(())
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn names(&self, folder: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        let entries = match std::fs::read_dir(folder) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(names),
            entries => entries?,
        };
        for entry in entries {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }

    fn lock(&self, folder: &Path, name: &str) -> anyhow::Result<Option<Box<dyn Any>>> {
        let path = folder.join(name);
        let file = open_own(&path, File::options().read(true).write(true).create(true))?
            .context("the lock file vanished")?;
        let itself =
            File::open(folder).with_context(|| format!("failed to open `{}`", folder.display()))?;
        // The file may be deleted by somebody who tidies up; the folder's own descriptor can't.
        for locked in [&file, &itself] {
            match fs2::FileExt::try_lock_exclusive(locked) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
                Err(error) => {
                    let failed = || format!("failed to lock `{}`", path.display());
                    return Err(error).with_context(failed);
                }
            }
        }
        // The kernel frees both when the process ends, however it ends.
        Ok(Some(Box::new((file, itself))))
    }
}

/// Opens a regular file of ours without following a link or waiting for a pipe's other end.
pub(crate) fn open_own(path: &Path, options: &mut OpenOptions) -> anyhow::Result<Option<File>> {
    let shown = path.display();
    let no_trap = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    let flags = i32::try_from(no_trap.bits()).unwrap_or_default();
    // Readable by nobody else from its first moment.
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
    ensure!(owner == us, SomebodyElses { path: shown.to_string(), owner, us });
    Ok(Some(file))
}
