//! Where keys come from. Read for live trading only: on paper nobody needs one.
//!
//! The key's name and its secret come, each for itself, from the first place that has it: the
//! environment, `$CREDENTIALS_DIRECTORY` (systemd's `LoadCredential=`), `.env`. What was given to
//! this very start wins over what lies in a folder, as everywhere.

use std::fs::{File, Metadata};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;
use secrecy::SecretString;
use secrecy::zeroize::Zeroizing;

use super::value::{KEY, PRIVATE_KEY_FILE, Settings, both_set};
use crate::exchange::sign::{Credentials, is_plain};
use crate::failure::Failure;

/// The key that the settings name.
///
/// **Errors**: a part of it is missing, is there twice, can't be read or is no key. No message
/// holds any of it.
pub(super) fn credentials(
    settings: &Settings,
    warnings: &mut Vec<String>,
) -> Result<Credentials, Failure> {
    let api_key = find(settings, &API_KEY)?;
    let secret = find(settings, &API_SECRET)?;
    let file = settings.path(PRIVATE_KEY_FILE)?;
    match (api_key, secret, file) {
        (_, Some(secret), Some(_)) => Err(both_set(&secret.place)),
        (Some(api_key), Some(secret), None) => Credentials::hmac(api_key.value, secret.value)
            .map_err(|why| {
                Failure::configuration(
                    format!("the key of {} {why}", api_key.place),
                    "write it as Binance shows it",
                )
            }),
        (Some(api_key), None, Some(file)) => from_file(settings, api_key.value, &file, warnings),
        (api_key, secret, file) => {
            let is_signed = secret.is_some() || file.is_some();
            Err(missing(api_key.is_none(), !is_signed))
        }
    }
}

/// A variable and the file that can stand for it.
struct Name {
    variable: &'static str,
    file: &'static str,
}

struct Found {
    value: SecretString,
    /// As a message names it.
    place: String,
}

fn find(settings: &Settings, name: &Name) -> Result<Option<Found>, Failure> {
    let variable = |text: &str| Found {
        value: SecretString::from(text),
        place: format!("`{}`", name.variable),
    };
    if let Some(text) = settings.in_environment(name.variable)? {
        return Ok(Some(variable(text)));
    }
    if let Some(folder) = settings.path(CREDENTIALS_DIRECTORY)? {
        let path = folder.join(name.file);
        if let Some(found) = credential(&path, name.variable)? {
            return Ok(Some(found));
        }
    }
    Ok(settings.in_file(name.variable).map(variable))
}

/// A file of `$CREDENTIALS_DIRECTORY`. One that is empty counts as not there, as a variable does.
fn credential(path: &Path, variable: &str) -> Result<Option<Found>, Failure> {
    let shown = path.display();
    let bytes = match read(path) {
        Ok((bytes, _)) => bytes,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::configuration(
                format!("failed to read `{variable}` from `{shown}`: {error}"),
                format!("make it a plain file that you may read, or set `{variable}`"),
            ));
        }
    };
    let text = std::str::from_utf8(&bytes).unwrap_or(NO_KEY).trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Ok(None);
    }
    if !is_plain(text) {
        return Err(Failure::configuration(
            format!("`{shown}` (its content is not shown) is not {KEY}"),
            format!("write nothing but the key into it, or set `{variable}`"),
        ));
    }
    Ok(Some(Found { value: SecretString::from(text), place: format!("`{shown}`") }))
}

fn from_file(
    settings: &Settings,
    api_key: SecretString,
    path: &Path,
    warnings: &mut Vec<String>,
) -> Result<Credentials, Failure> {
    let text = path.to_string_lossy();
    // Somebody put the key itself where its file's name belongs: it is not repeated.
    let is_key = text.contains("PRIVATE KEY")
        || (text.len() >= 40 && !text.starts_with('/') && !text.contains('.'));
    let is_name = path.exists() || !is_key;
    let shown = if is_name { format!("`{text}`") } else { "what it names".to_owned() };
    let refused = |why: String| {
        Failure::configuration(
            format!("`{PRIVATE_KEY_FILE}`: {shown} {why}"),
            "set it to the name of an Ed25519 key in PEM: `openssl genpkey -algorithm ed25519 \
             -out new.pem` makes one (Binance gets `openssl pkey -in new.pem -pubout`), `openssl \
             pkey -in old.pem -out plain.pem` takes the password off an encrypted one",
        )
    };
    let (pem, meta) = read(path).map_err(|error| refused(format!("can't be read: {error}")))?;
    let credentials = Credentials::ed25519(api_key, &pem).map_err(|why| refused(why.to_owned()))?;
    // systemd's own folder lets nobody else in, though the bits of its files may look so.
    let folder = settings.path(CREDENTIALS_DIRECTORY)?;
    let is_systemds = folder.is_some_and(|folder| path.starts_with(folder));
    if !is_systemds && meta.permissions().mode() & 0o077 != 0 {
        warnings.push(format!("others may read {shown}; `chmod 600 {text}` keeps its secrets"));
    }
    Ok(credentials)
}

/// A small file as it is, in memory that is wiped. A pipe is not waited for.
fn read(path: &Path) -> io::Result<(Zeroizing<Vec<u8>>, Metadata)> {
    let flags = i32::try_from(OFlags::NONBLOCK.bits()).map_err(io::Error::other)?;
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("it is not a plain file"));
    }
    // All of it at once: a buffer that grows leaves copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(MOST_BYTES * 2));
    let most = u64::try_from(MOST_BYTES).map_err(io::Error::other)?;
    file.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() > MOST_BYTES {
        return Err(io::Error::other("it is too large for a key"));
    }
    Ok((bytes, meta))
}

fn missing(api_key: bool, signer: bool) -> Failure {
    let what = match (api_key, signer) {
        (true, true) => {
            "`BINANCE_API_KEY`, and `BINANCE_API_SECRET` or `BINANCE_PRIVATE_KEY_FILE`, but none \
             of them is set"
        }
        (true, false) => "`BINANCE_API_KEY`, which is not set",
        (false, _) => {
            "`BINANCE_API_SECRET` or `BINANCE_PRIVATE_KEY_FILE`, but neither of them is set"
        }
    };
    Failure::configuration(
        format!("`DRY_RUN` is `false`, and live trading needs {what}"),
        "set them in the environment or in `.env`, or put the files `binance_api_key` and \
         `binance_api_secret` into `$CREDENTIALS_DIRECTORY` (systemd's `LoadCredential=`); to \
         trade on paper, start with `--dry-run` or set `DRY_RUN=true`",
    )
}

const API_KEY: Name = Name { variable: "BINANCE_API_KEY", file: "binance_api_key" };
const API_SECRET: Name = Name { variable: "BINANCE_API_SECRET", file: "binance_api_secret" };
const CREDENTIALS_DIRECTORY: &str = "CREDENTIALS_DIRECTORY";

/// Stands for bytes that are no text; it is no key either.
const NO_KEY: &str = " ";

/// A key has 64 letters, a PEM file about 120.
const MOST_BYTES: usize = 16 * 1024;
