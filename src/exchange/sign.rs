//! Who asks: the key, and the query whose bytes it signs.
//!
//! A [`Query`] is written once. What is signed is what is sent: values are percent-encoded before
//! the signature is made, and what [`Query::signed`] returns passes through
//! `reqwest::Url::set_query` without another change. **Source**: Binance Spot REST, "Request
//! Security", "SIGNED Endpoint Examples"; enforced since 2026-01-15, else -1022.
//!
//! Knows no variable and no file; where keys come from is the configuration's.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::header::HeaderValue;
use ring::signature::Ed25519KeyPair;
use rustls::pki_types::PrivatePkcs8KeyDer;
use rustls::pki_types::pem::PemObject as _;
use secrecy::zeroize::Zeroize as _;
use secrecy::{ExposeSecret as _, SecretSlice, SecretString};
use sha2::Sha256;

use crate::store::journal::hex;

/// A key of the exchange, with what signs for it.
///
/// A clone shares the one copy in memory; the last one wipes it. No formatter shows any of it.
#[derive(Clone)]
pub struct Credentials(Arc<Key>);

struct Key {
    api_key: SecretString,
    signer: Signer,
}

enum Signer {
    /// The secret, as Binance showed it once.
    Hmac(SecretString),
    /// PKCS#8 in DER. ring's own pair is not wiped, so it lives for one signature only.
    Ed25519(SecretSlice<u8>),
}

impl Credentials {
    /// A key with a secret: HMAC-SHA256.
    ///
    /// **Errors**: what is wrong, as the end of a sentence that begins with the key.
    pub fn hmac(api_key: SecretString, secret: SecretString) -> Result<Self, &'static str> {
        if !is_plain(secret.expose_secret()) {
            return Err("has a secret that is empty, or not plain letters and digits");
        }
        Self::new(api_key, Signer::Hmac(secret))
    }

    /// A key with the private half of an Ed25519 pair, in PEM as openssl writes it.
    ///
    /// **Errors**: what is wrong, as the end of a sentence that begins with the file.
    pub fn ed25519(api_key: SecretString, pem: &[u8]) -> Result<Self, &'static str> {
        Self::new(api_key, Signer::Ed25519(pkcs8(pem)?))
    }

    fn new(api_key: SecretString, signer: Signer) -> Result<Self, &'static str> {
        if !is_plain(api_key.expose_secret()) {
            return Err("has a name that is empty, or not plain letters and digits");
        }
        Ok(Self(Arc::new(Key { api_key, signer })))
    }

    /// The value of the header `X-MBX-APIKEY`, marked as nothing to be shown.
    #[must_use]
    pub fn header(&self) -> HeaderValue {
        let key = self.0.api_key.expose_secret();
        let mut value = HeaderValue::from_str(key).expect("a plain key fits in a header");
        value.set_sensitive(true);
        value
    }

    /// The signature of these bytes: hexadecimal by HMAC, base64 by Ed25519.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> String {
        match &self.0.signer {
            Signer::Hmac(secret) => {
                let mut mac = Hmac::<Sha256>::new_from_slice(secret.expose_secret().as_bytes())
                    .expect("HMAC takes a key of any length");
                mac.update(message);
                hex(&mac.finalize().into_bytes())
            }
            Signer::Ed25519(key) => {
                let pair = pair(key.expose_secret()).expect("it was read once before");
                BASE64_STANDARD.encode(pair.sign(message))
            }
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// What is asked: names and values in the order in which they are signed and sent.
///
/// ```
/// use ouroboros::exchange::sign::Query;
///
/// let query = Query::new().with("symbol", "BTCUSDT").with("quoteOrderQty", "100.00");
/// assert_eq!(query.unsigned(), "symbol=BTCUSDT&quoteOrderQty=100.00");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query(String);

impl Query {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more pair. The name stands as it is, because no name of the exchange's needs more.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        self.0.push_str(name);
        self.0.push('=');
        self.0.extend(utf8_percent_encode(&value.to_string(), RESERVED));
        self
    }

    /// The query of a question that anybody may ask.
    #[must_use]
    pub fn unsigned(self) -> String {
        self.0
    }

    /// The query with its window of receipt, its time and its signature, byte for byte as it must
    /// be sent. The window is always named, so that whoever asks knows when the request has died.
    ///
    /// **Units**: both in milliseconds; the time is the exchange's, since the epoch.
    #[must_use]
    pub fn signed(
        self,
        credentials: &Credentials,
        timestamp_ms: i64,
        recv_window_ms: u32,
    ) -> String {
        let query = self.with("recvWindow", recv_window_ms).with("timestamp", timestamp_ms);
        let signature = credentials.sign(query.0.as_bytes());
        // Base64 has three letters that mean something else in a query.
        query.with("signature", signature).unsigned()
    }
}

/// Whether a key or a secret looks like one: no blank, nothing beyond ASCII, not empty.
#[must_use]
pub fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn pkcs8(pem: &[u8]) -> Result<SecretSlice<u8>, &'static str> {
    let says = |words: &str| pem.windows(words.len()).any(|part| part == words.as_bytes());
    if pem.iter().all(u8::is_ascii_whitespace) {
        return Err("is empty");
    }
    if says("ENCRYPTED") {
        return Err("is encrypted, and a job that nobody watches can't be asked for its password");
    }
    let Ok(mut read) = PrivatePkcs8KeyDer::from_pem_slice(pem) else {
        return Err(if says("-----BEGIN PUBLIC KEY-----") {
            "is the public key, which Binance gets; the private one is needed"
        } else {
            "holds no private key in PEM (PKCS#8)"
        });
    };
    let key = SecretSlice::from(read.secret_pkcs8_der().to_vec());
    read.zeroize();
    match pair(key.expose_secret()) {
        Some(_) => Ok(key),
        None => Err("holds a private key that is not Ed25519, or damaged"),
    }
}

/// openssl writes version 1 of PKCS#8, without the public half; the strict reader refuses it.
fn pair(pkcs8: &[u8]) -> Option<Ed25519KeyPair> {
    Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8).ok()
}

/// All but the unreserved characters. **Source**: RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
