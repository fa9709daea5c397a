//! The name of one instance: what stands behind the `@` of its units, and names its variables.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A name that is the same for systemd, for a folder and for a shell: `BTC-ETH`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance(String);

impl Instance {
    /// Its file of variables. The units read the one in [`CONFIGURATION`].
    #[must_use]
    pub fn env_file(&self, folder: &Path) -> PathBuf {
        folder.join(format!("{}.env", self.0))
    }
}

impl FromStr for Instance {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        // What systemd would escape is left out, and so is what a shell or an option reads.
        let is_good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let begins = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
        (begins && name.len() <= MOST_BYTES && name.bytes().all(is_good))
            .then(|| Self(name.to_owned()))
            .ok_or_else(|| {
                format!(
                    "give at most {MOST_BYTES} letters, digits, `-`, `_` and `.`, a letter or \
                     digit first, such as BTC-ETH"
                )
            })
    }
}

impl fmt::Display for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where the units look for an instance's variables.
pub const CONFIGURATION: &str = "/etc/ouroboros";

/// A unit's whole name may have 255.
const MOST_BYTES: usize = 100;

#[cfg(test)]
mod tests {
    use super::Instance;

    #[test]
    fn a_name_is_read_alike_by_systemd_folders_and_shells() {
        for good in ["BTC-ETH", "a", "2", "a.b_c-d", &"x".repeat(100)] {
            assert_eq!(good.parse::<Instance>().expect(good).to_string(), good);
        }
        for bad in
            ["", "a/b", "../a", ".a", "-a", "a b", "a%i", "a@b", "ä", "a\n", &"x".repeat(101)]
        {
            assert!(bad.parse::<Instance>().is_err(), "{bad:?}");
        }
    }
}
