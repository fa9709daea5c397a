//! A disk in memory: what was synced, and what was only written.
//!
//! Bytes and names are apart, as on a real one: a file's bytes are durable after its own sync, its name after its folder's.
//! When the power goes, of the names any prefix of what happened since is there, and of the bytes none, half or all.

use std::any::Any;
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context as _;
use ouroboros::store::disk::{Disk, Handle, How};

use super::{Class, Shared};

/// What is on it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Files {
    bodies: BTreeMap<u64, Body>,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    /// What happened to the names since their folder was synced.
    renamings: Vec<Renaming>,
    next: u64,
    /// Bytes that fit on it besides those that are there; `None` for as many as one likes.
    pub(crate) room: Option<usize>,
    pub(crate) is_locked: bool,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Body {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// A sync failed: what is not durable by now never will be, unless it is written again.
    is_forsaken: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Renaming {
    Made(String, u64),
    Renamed(String, String),
    Removed(String),
}

/// How much of the bytes that were not synced is there after a power loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Survives {
    Nothing,
    Half,
    All,
}

impl Files {
    /// What is in a file, if there is one.
    pub(crate) fn read(&self, name: &str) -> Option<&[u8]> {
        Some(&self.bodies[self.names.get(name)?].bytes)
    }

    /// What would be in a file if the power went now, whatever else was lost.
    pub(crate) fn durable(&self, name: &str) -> Option<&[u8]> {
        Some(&self.bodies[self.durable_names.get(name)?].durable)
    }

    /// The names of all files.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }

    /// Changes a file behind the program's back.
    pub(crate) fn tamper(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let body = self.bodies.get_mut(&self.names[name]).expect("every name has a body");
        change(&mut body.bytes);
        body.durable.clone_from(&body.bytes);
    }

    /// The process is gone, the machine goes on: everything written is there.
    pub(crate) fn process_died(&mut self) {
        self.is_locked = false;
    }

    /// How many different pasts the power may leave, at most.
    pub(crate) fn pasts(&self) -> Vec<(usize, Survives)> {
        let is_dirty = self.bodies.values().any(|body| body.bytes != body.durable);
        let bytes: &[Survives] = if is_dirty {
            &[Survives::Nothing, Survives::Half, Survives::All]
        } else {
            &[Survives::All]
        };
        let prefixes = 0..=self.renamings.len();
        prefixes.flat_map(|kept| bytes.iter().map(move |bytes| (kept, *bytes))).collect()
    }

    /// The power went and came back.
    pub(crate) fn power_lost(&mut self, (kept, bytes): (usize, Survives)) {
        self.is_locked = false;
        for renaming in std::mem::take(&mut self.renamings).into_iter().take(kept) {
            match renaming {
                Renaming::Made(name, body) => {
                    self.durable_names.insert(name, body);
                }
                Renaming::Renamed(from, to) => {
                    if let Some(body) = self.durable_names.remove(&from) {
                        self.durable_names.insert(to, body);
                    }
                }
                Renaming::Removed(name) => {
                    self.durable_names.remove(&name);
                }
            }
        }
        self.names.clone_from(&self.durable_names);
        for body in self.bodies.values_mut() {
            let survives = if body.is_forsaken { Survives::Nothing } else { bytes };
            body.bytes = match survives {
                Survives::All => std::mem::take(&mut body.bytes),
                Survives::Nothing => body.durable.clone(),
                Survives::Half => {
                    // What both have in common was never written to.
                    let pairs = body.durable.iter().zip(&body.bytes);
                    let same = pairs.take_while(|(old, new)| old == new).count();
                    body.bytes[..same + (body.bytes.len() - same) / 2].to_vec()
                }
            };
            body.durable.clone_from(&body.bytes);
            body.is_forsaken = false;
        }
        self.forget_nameless();
    }

    /// Time has passed: everything is durable by itself, but for what a failed sync has made the kernel forget about.
    pub(crate) fn settle(&mut self) {
        self.durable_names.clone_from(&self.names);
        self.renamings.clear();
        for body in self.bodies.values_mut().filter(|body| !body.is_forsaken) {
            body.durable.clone_from(&body.bytes);
        }
        self.forget_nameless();
    }

    fn forget_nameless(&mut self) {
        let (names, durable) = (&self.names, &self.durable_names);
        self.bodies.retain(|number, _| {
            names.values().chain(durable.values()).any(|named| named == number)
        });
        // Numbers that nobody remembers make no difference between two disks.
        let order: BTreeMap<u64, u64> = self.bodies.keys().copied().zip(0..).collect();
        self.bodies = std::mem::take(&mut self.bodies)
            .into_iter()
            .map(|(number, body)| (order[&number], body))
            .collect();
        for named in self.names.values_mut().chain(self.durable_names.values_mut()) {
            *named = order[named];
        }
        self.next = u64::try_from(self.bodies.len()).expect("few");
    }

    fn write(&mut self, number: u64, at: usize, bytes: &[u8]) -> io::Result<usize> {
        let body = self.bodies.get_mut(&number).expect("an open file has a body");
        let end = at + bytes.len();
        let more = end.saturating_sub(body.bytes.len());
        if self.room.is_some_and(|room| room < more) {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        self.room = self.room.map(|room| room - more);
        if body.bytes.len() < end {
            body.bytes.resize(end, 0);
        }
        // Written anew, it is synced anew.
        body.is_forsaken &= at > body.durable.len();
        body.bytes[at..end].copy_from_slice(bytes);
        Ok(bytes.len())
    }
}

/// The disk as the program sees it.
#[derive(Debug)]
pub(super) struct Memory(pub(super) Shared);

impl Memory {
    fn operation(&self, name: &'static str) -> io::Result<()> {
        self.0.operation(name, Class::Disk).map_err(|()| io::Error::from_raw_os_error(EIO))
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().expect("files have names").to_string_lossy().into_owned()
}

impl Disk for Memory {
    fn open(&self, path: &Path, how: How) -> anyhow::Result<Option<Box<dyn Handle>>> {
        let name = name_of(path);
        self.operation("open").with_context(|| format!("failed to open `{name}`"))?;
        let mut outer = self.0.lock();
        let files = &mut outer.files;
        let number = match (files.names.get(&name).copied(), how) {
            (Some(_), How::New) => anyhow::bail!("`{name}` is there already"),
            (Some(number), How::Read | How::Write) => number,
            (None, How::Read) => return Ok(None),
            (None, How::New | How::Write) => {
                let number = files.next;
                files.next += 1;
                files.bodies.insert(number, Body::default());
                files.names.insert(name.clone(), number);
                files.renamings.push(Renaming::Made(name, number));
                number
            }
        };
        drop(outer);
        Ok(Some(Box::new(Open { disk: Self(self.0.clone()), number, at: 0, was_read: false })))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.operation("rename")?;
        let (from, to) = (name_of(from), name_of(to));
        let files = &mut self.0.lock().files;
        let number = files.names.remove(&from).ok_or(io::ErrorKind::NotFound)?;
        files.names.insert(to.clone(), number);
        files.renamings.push(Renaming::Renamed(from, to));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.operation("unlink")?;
        let name = name_of(path);
        let files = &mut self.0.lock().files;
        files.names.remove(&name).ok_or(io::ErrorKind::NotFound)?;
        files.renamings.push(Renaming::Removed(name));
        Ok(())
    }

    fn sync_folder(&self, _folder: &Path) -> io::Result<()> {
        self.operation("sync the folder")?;
        let files = &mut self.0.lock().files;
        files.durable_names.clone_from(&files.names);
        files.renamings.clear();
        Ok(())
    }

    fn make_folder(&self, _folder: &Path) -> anyhow::Result<()> {
        Ok(self.operation("mkdir")?)
    }

    fn exists(&self, path: &Path) -> bool {
        self.0.lock().files.names.contains_key(&name_of(path))
    }

    fn names(&self, _folder: &Path) -> io::Result<Vec<String>> {
        self.operation("look into the folder")?;
        Ok(self.0.lock().files.names().map(str::to_owned).collect())
    }

    fn lock(&self, _folder: &Path, _name: &str) -> anyhow::Result<Option<Box<dyn Any>>> {
        self.operation("lock")?;
        let files = &mut self.0.lock().files;
        if files.is_locked {
            return Ok(None);
        }
        files.is_locked = true;
        Ok(Some(Box::new(Locked(self.0.clone()))))
    }
}

struct Locked(Shared);

impl Drop for Locked {
    fn drop(&mut self) {
        self.0.lock().files.is_locked = false;
    }
}

struct Open {
    disk: Memory,
    number: u64,
    at: usize,
    was_read: bool,
}

impl Read for Open {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.was_read {
            self.disk.operation("read")?;
            self.was_read = true;
        }
        let outer = self.disk.0.lock();
        let bytes = &outer.files.bodies[&self.number].bytes;
        let rest = bytes.get(self.at..).unwrap_or_default();
        let count = rest.len().min(into.len());
        into[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

impl Write for Open {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // In two halves, so that what is killed in between leaves one.
        let (first, second) = bytes.split_at(bytes.len() / 2);
        for half in [first, second] {
            self.disk.operation("write")?;
            self.at += self.disk.0.lock().files.write(self.number, self.at, half)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Open {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Start(at) = to else { return Err(io::ErrorKind::Unsupported.into()) };
        self.at = usize::try_from(at).expect("a small file");
        Ok(at)
    }
}

impl Handle for Open {
    fn length(&self) -> io::Result<u64> {
        Ok(self.disk.0.lock().files.bodies[&self.number].bytes.len() as u64)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.disk.operation("truncate")?;
        let mut outer = self.disk.0.lock();
        let body = outer.files.bodies.get_mut(&self.number).expect("an open file has a body");
        body.bytes.resize(usize::try_from(length).expect("a small file"), 0);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let done = self.disk.operation("sync");
        let mut outer = self.disk.0.lock();
        let body = outer.files.bodies.get_mut(&self.number).expect("an open file has a body");
        if done.is_err() {
            // A failed sync marks the pages clean: the next one has nothing to write.
            body.is_forsaken = true;
        } else if !body.is_forsaken {
            body.durable.clone_from(&body.bytes);
        }
        done
    }
}

const EIO: i32 = 5;
const ENOSPC: i32 = 28;
