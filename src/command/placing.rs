//! Files that a person asked for: whole or not there, with rights of their own from the first byte.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// A whole file under another name, until it is put in its place; what is not is removed.
pub(super) struct Draft {
    written: PathBuf,
    path: PathBuf,
}

impl Draft {
    /// Writes it beside its place, synced.
    ///
    /// **Errors**: the folder is not there or can't be written to, the disk is full.
    pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<Self> {
        let mut name = path.file_name().context("a file needs a name")?.to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let draft = Self { written: path.with_file_name(name), path: path.to_owned() };
        let write = || {
            let mut file =
                File::options().write(true).create_new(true).mode(mode).open(&draft.written)?;
            // Whatever the umask took away.
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.write_all(bytes)?;
            file.sync_all()
        };
        write().with_context(|| format!("failed to write `{}`", draft.written.display()))?;
        Ok(draft)
    }

    /// Where it is for now.
    pub(super) fn written(&self) -> &Path {
        &self.written
    }

    /// Puts it where nothing is yet; `false` where something is.
    ///
    /// **Errors**: the rename itself.
    pub(super) fn place_new(self) -> anyhow::Result<bool> {
        match renameat_with(CWD, &self.written, CWD, &self.path, RenameFlags::NOREPLACE) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(error) => Err(error)
                .with_context(|| format!("failed to put `{}` in its place", self.path.display())),
        }
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already where it was put in its place.
        let _ = fs::remove_file(&self.written);
    }
}

/// Puts a file in the place of an earlier one, if there is any.
///
/// **Errors**: the folder is not there or can't be written to, the disk is full.
pub(super) fn replace(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let draft = Draft::write(path, bytes, mode)?;
    fs::rename(&draft.written, path)
        .with_context(|| format!("failed to put `{}` in its place", path.display()))
}
