//! Who asks: keys, signatures, windows of receipt. **Source**: Binance Spot REST, "Request security".

use hmac::{Hmac, KeyInit as _, Mac as _};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use sha2::Sha256;

use super::world::{Asked, World};

/// A refusal: status and body.
pub(super) type Refusal = (u16, Value);

pub(super) fn refuse<T>(status: u16, code: i64, msg: impl Into<String>) -> Result<T, Refusal> {
    Err((status, json!({ "code": code, "msg": msg.into() })))
}

/// Names and values of query and body; the query wins.
pub(super) fn parameters(asked: &Asked) -> Vec<(String, String)> {
    let mut parameters: Vec<(String, String)> = Vec::new();
    for part in asked.query.split('&').chain(asked.body.split('&')).filter(|part| !part.is_empty())
    {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        if !parameters.iter().any(|(known, _)| known == name) {
            let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy();
            parameters.push((name.to_owned(), value.into_owned()));
        }
    }
    parameters
}

/// Checks key, signature and both bounds of time, as the exchange does at receipt.
pub(super) fn check(
    world: &World,
    asked: &Asked,
    parameters: &[(String, String)],
    needs_trade: bool,
) -> Result<(), Refusal> {
    let Some(key) = asked.header("x-mbx-apikey").filter(|key| !key.is_empty()) else {
        return refuse(401, -2014, "API-key format invalid.");
    };
    let value = |name: &str| value(parameters, name);
    let Some(signature) = value("signature") else { return missing("signature") };
    let may = if needs_trade { world.key_may_trade } else { world.key_may_read };
    if key != world.key || !world.key_is_good || !world.address_is_good || !may {
        return refuse(401, -2015, "Invalid API-key, IP, or permissions for action.");
    }
    if world.ed25519.is_none() && !is_hex(signature) {
        return illegal("signature", "^[A-Fa-f0-9]{64}$");
    }
    if !is_signed(world, asked, signature) {
        return refuse(400, -1022, "Signature for this request is not valid.");
    }
    let Some(timestamp) = value("timestamp").and_then(timestamp_ms) else {
        return missing("timestamp");
    };
    let window = window_of(value("recvWindow"))?;
    let now = world.now_at(&asked.path);
    if timestamp >= now + 1000 {
        return refuse(
            400,
            -1021,
            "Timestamp for this request was 1000ms ahead of the server's time.",
        );
    }
    Window { timestamp, window }.check(now)
}

/// Until when a request may be handed on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    timestamp: i64,
    window: Decimal,
}

impl Window {
    /// The window of a request that was found good at receipt.
    pub(super) fn of(parameters: &[(String, String)]) -> Option<Self> {
        let timestamp = value(parameters, "timestamp").and_then(timestamp_ms)?;
        Some(Self { timestamp, window: window_of(value(parameters, "recvWindow")).ok()? })
    }

    /// The end is still inside.
    pub(super) fn check(self, now: i64) -> Result<(), Refusal> {
        if Decimal::from(now - self.timestamp) > self.window {
            return refuse(400, -1021, "Timestamp for this request is outside of the recvWindow.");
        }
        Ok(())
    }
}

/// Milliseconds, or microseconds by their size.
fn timestamp_ms(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse::<i64>().ok().filter(|_| digits)?;
    Some(if number >= 100_000_000_000_000 { number / 1000 } else { number })
}

fn window_of(text: Option<&str>) -> Result<Decimal, Refusal> {
    let Some(text) = text else { return Ok(Decimal::from(5000)) };
    let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let window = text.parse::<Decimal>().ok();
    match window.filter(|_| digits(whole) && digits(part) && part.len() <= 3) {
        None => refuse(400, -1100, "Illegal characters found in parameter 'recvWindow'."),
        Some(window) if window > Decimal::from(60_000) => {
            refuse(400, -1131, "recvWindow must be less than 60000.")
        }
        Some(window) => Ok(window),
    }
}

fn is_hex(signature: &str) -> bool {
    signature.len() == 64 && signature.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Whether query and body as they came, one right after the other and without the signature, are what was signed.
fn is_signed(world: &World, asked: &Asked, signature: &str) -> bool {
    let all = || asked.query.split('&').chain(asked.body.split('&'));
    // What no URL may hold raw has to be encoded, and encoded before it is signed: since 2026-01-15.
    let is_raw = |byte: u8| !byte.is_ascii_graphic() || b"\"<>[]{}|\\^`".contains(&byte);
    if all().any(|part| part.bytes().any(is_raw)) {
        return false;
    }
    let strip = |text: &str| {
        text.split('&').filter(|part| !part.starts_with("signature=")).collect::<Vec<_>>().join("&")
    };
    let payload = format!("{}{}", strip(&asked.query), strip(&asked.body));
    match &world.ed25519 {
        None => {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(world.secret.as_bytes()).expect("any length");
            mac.update(payload.as_bytes());
            let ours = mac.finalize().into_bytes();
            let pairs = signature.as_bytes().chunks(2).map(|pair| std::str::from_utf8(pair));
            let theirs = pairs.map(|pair| u8::from_str_radix(pair.unwrap_or_default(), 16).ok());
            ours.iter().map(|byte| Some(*byte)).eq(theirs)
        }
        Some(public) => {
            use base64::Engine as _;
            let mut raw = all().filter_map(|part| part.strip_prefix("signature="));
            if raw.any(|raw| raw.contains(['+', '/', '='])) {
                return false;
            }
            let public = ring::signature::UnparsedPublicKey::new(&ring::signature::ED25519, public);
            let signature = base64::prelude::BASE64_STANDARD.decode(signature).unwrap_or_default();
            public.verify(payload.as_bytes(), &signature).is_ok()
        }
    }
}

pub(super) fn value<'a>(parameters: &'a [(String, String)], name: &str) -> Option<&'a str> {
    parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

pub(super) fn missing<T>(name: &str) -> Result<T, Refusal> {
    let msg = format!("Mandatory parameter '{name}' was not sent, was empty/null, or malformed.");
    refuse(400, -1102, msg)
}

pub(super) fn illegal<T>(name: &str, range: &str) -> Result<T, Refusal> {
    let msg = format!("Illegal characters found in parameter '{name}'; legal range is '{range}'.");
    refuse(400, -1100, msg)
}
