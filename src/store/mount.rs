//! What kind of file system a folder is on: a lock and a rename mean what they say on this
//! machine's own only.

use std::io::{self, ErrorKind};
use std::path::Path;

use crate::failure::Failure;

/// The network file system that this path is on, if it is one. A path that does not exist is
/// looked at where it would be made.
///
/// **Errors**: nothing on the way up can be looked at.
pub fn network_filesystem(path: &Path) -> io::Result<Option<&'static str>> {
    for folder in path.ancestors() {
        // The last ancestor of a relative path is empty: it means here.
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        match rustix::fs::statfs(folder) {
            Ok(found) => return Ok(name(found.f_type)),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(ErrorKind::NotFound.into())
}

/// Lets no real money depend on a lock that another machine may not see.
///
/// **Errors**: the folder is on a network file system, or that can't be found out.
pub fn refuse_network(path: &Path) -> Result<(), Failure> {
    let shown = path.display();
    match network_filesystem(path) {
        Ok(None) => Ok(()),
        Ok(Some(name)) => Err(Failure::configuration(
            format!(
                "the state directory `{shown}` is on {name}, where a lock and a durable write are \
                 not certain"
            ),
            "give `--state-dir` (or `STATE_DIR`) a folder on a disk of this machine",
        )),
        Err(error) => {
            let error = anyhow::Error::new(error);
            Err(Failure::storage(&error.context(format!("failed to look at `{shown}`"))))
        }
    }
}

fn name(magic: i64) -> Option<&'static str> {
    // Where the number is signed and of 32 bits, its upper half is filled with the sign.
    let magic = magic & 0xffff_ffff;
    NETWORK.iter().find(|(number, _)| *number == magic).map(|(_, name)| *name)
}

/// File systems that other machines may write to, or where a user's program stands between us and
/// the disk. **Source**: Linux, `include/uapi/linux/magic.h` and `statfs(2)`; for those that are
/// not part of the kernel, their own headers.
///
/// GFS2 and OCFS2 are on a disk, but a shared one, and whether their locks reach the other machines
/// depends on how they were mounted. FUSE may be a local disk as well as `sshfs`; nothing tells.
const NETWORK: [(i64, &str); 17] = [
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9p"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x7375_7245, "Coda"),
    (0x6573_5546, "FUSE"),
    (0x00c3_6400, "Ceph"),
    (0x0bd0_0bd0, "Lustre"),
    (0x0116_1970, "GFS2"),
    (0x7461_636f, "OCFS2"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0x564c, "NCP"),
    (0x786f_4256, "a shared folder of VirtualBox"),
];

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{NETWORK, name, network_filesystem, refuse_network};

    #[test]
    fn file_systems_by_their_numbers() {
        for (number, expected) in [
            (0x6969, Some("NFS")),
            (0xff53_4d42, Some("CIFS")),
            (-0x00ac_b2be, Some("CIFS")),
            (0x6573_5546, Some("FUSE")),
            (0x0102_1994, None), // tmpfs
            (0xef53, None),      // ext2, ext3, ext4
            (0x5846_5342, None), // XFS
            (0x9123_683e, None), // Btrfs
            (0x2fc1_2fc1, None), // ZFS
            (0xf2f5_2010, None), // F2FS
            (0x794c_7630, None), // overlayfs, as in a container
        ] {
            assert_eq!(name(number), expected, "{number:#x}");
        }
        let mut numbers: Vec<i64> = NETWORK.iter().map(|(number, _)| *number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), NETWORK.len());
    }

    #[test]
    fn a_folder_that_is_still_to_be_made_is_looked_at_where_it_would_be() {
        // Every Linux has these, and they are the kernel's own.
        for path in ["/proc", "/proc/no/such/folder", "/sys/no"] {
            assert_eq!(network_filesystem(Path::new(path)).unwrap(), None, "{path}");
            assert!(refuse_network(Path::new(path)).is_ok());
        }
        let here = network_filesystem(Path::new(".")).unwrap();
        assert_eq!(network_filesystem(Path::new("no/such/folder")).unwrap(), here);
        assert_eq!(network_filesystem(Path::new("")).unwrap(), here);
        assert!(network_filesystem(Path::new("/proc/self/status/below")).is_err());
    }
}
