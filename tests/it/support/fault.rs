//! What may go wrong between the program and a server, one variant a kind.

use std::io::{Result, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

/// An answer of the server.
#[derive(Clone, Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// Text of any kind, announced as JSON.
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let kind = ("Content-Type".to_owned(), "application/json;charset=UTF-8".to_owned());
        Self { status, headers: vec![kind], body: body.into() }
    }

    /// A good answer.
    pub(crate) fn json(value: &Value) -> Self {
        Self::new(200, value.to_string())
    }

    /// The page of a proxy, a firewall or a hotel's network.
    pub(crate) fn html(status: u16) -> Self {
        let page = "<!DOCTYPE html><html><body><h1>Welcome, please log in</h1></body></html>";
        let kind = ("Content-Type".to_owned(), "text/html".to_owned());
        Self { status, headers: vec![kind], body: page.into() }
    }

    /// The same with one more header.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Bytes of the status line and the headers, with the blank line that ends them.
    pub(crate) fn head(&self, date: Option<&str>, framing: &str) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} Scripted\r\n", self.status);
        let date = date.map(|date| ("Date".to_owned(), date.to_owned()));
        for (name, value) in date.iter().chain(&self.headers) {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.extend([framing, "\r\n\r\n"]);
        head.into_bytes()
    }
}

/// One way of not answering as one should.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// Another answer than the real one.
    Answer(Response),
    /// The real answer with so many blanks in front: good JSON, but too much of it.
    Blanks { count: usize, chunked: bool },
    /// Chunks whose lengths are no numbers.
    BrokenChunks,
    /// The connection is closed before the answer.
    Close,
    /// The real answer, this much later.
    Delay(Duration),
    /// The real headers at once, then one byte of the body a second.
    DripBody,
    /// One byte a second from the first one on.
    DripHead,
    /// The real headers, then nothing more.
    HeadersThenSilence,
    /// The connection is reset after the request.
    Reset,
    /// No answer, and the connection stays open.
    Silence,
    /// A `Content-Length` that is off by so many bytes, after which the connection is closed.
    WrongLength(isize),
}

impl Fault {
    /// An error of the exchange with its usual kind of body.
    pub(crate) fn status(status: u16) -> Self {
        Self::json(status, r#"{"code":-1000,"msg":"An unknown error occurred."}"#)
    }

    /// This status and this body.
    pub(crate) fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer(Response::new(status, body))
    }

    /// This body where a good answer belongs.
    pub(crate) fn body(body: impl Into<Vec<u8>>) -> Self {
        Self::json(200, body)
    }

    /// A page in place of JSON.
    pub(crate) fn html(status: u16) -> Self {
        Self::Answer(Response::html(status))
    }

    /// A rate limit (429) or a ban (418) with or without `Retry-After`.
    pub(crate) fn limit(status: u16, retry_after: Option<&str>) -> Self {
        let body = r#"{"code":-1003,"msg":"Too much request weight used."}"#;
        let answer = Response::new(status, body);
        Self::Answer(match retry_after {
            Some(seconds) => answer.with("Retry-After", seconds),
            None => answer,
        })
    }

    /// A redirect to another path of the same server.
    pub(crate) fn redirect(status: u16, location: &str) -> Self {
        Self::Answer(Response::new(status, "").with("Location", location))
    }

    /// Whether nothing is said to the client any more; the peer is reset by closing unread data.
    pub(crate) fn is_reset(&self) -> bool {
        matches!(self, Self::Reset)
    }

    /// Plays the fault. `false` when the connection is of no more use.
    pub(crate) fn play(
        self,
        stream: &mut TcpStream,
        real: Response,
        date: Option<&str>,
        stop: &AtomicBool,
    ) -> Result<bool> {
        let length = format!("Content-Length: {}", real.body.len());
        match self {
            Self::Answer(answer) => return send(stream, &answer, date).map(|()| true),
            Self::Blanks { count, chunked: false } => {
                let body = [vec![b' '; count], real.body.clone()].concat();
                return send(stream, &Response { body, ..real }, date).map(|()| true);
            }
            Self::Blanks { count, chunked: true } => {
                stream.write_all(&real.head(date, "Transfer-Encoding: chunked"))?;
                for part in [&vec![b' '; count][..], &real.body] {
                    stream.write_all(format!("{:x}\r\n", part.len()).as_bytes())?;
                    stream.write_all(part)?;
                    stream.write_all(b"\r\n")?;
                }
                stream.write_all(b"0\r\n\r\n")?;
                return Ok(true);
            }
            Self::BrokenChunks => {
                stream.write_all(&real.head(date, "Transfer-Encoding: chunked"))?;
                stream.write_all(b"zz\r\n[[1,2\r\n-4\r\n")?;
            }
            Self::Close | Self::Reset => {}
            Self::Delay(time) => {
                pause(time, stop);
                return send(stream, &real, date).map(|()| true);
            }
            Self::DripBody => {
                stream.write_all(&real.head(date, &length))?;
                drip(stream, &real.body, stop)?;
            }
            Self::DripHead => drip(stream, &real.head(date, &length), stop)?,
            Self::HeadersThenSilence => {
                stream.write_all(&real.head(date, &length))?;
                pause(FOR_EVER, stop);
            }
            Self::Silence => pause(FOR_EVER, stop),
            Self::WrongLength(off) => {
                let wrong = real.body.len().saturating_add_signed(off);
                stream.write_all(&real.head(date, &format!("Content-Length: {wrong}")))?;
                stream.write_all(&real.body)?;
            }
        }
        // A reset must not become an orderly end, so only the others say goodbye.
        stream.shutdown(Shutdown::Both)?;
        Ok(false)
    }
}

/// The answer as it should be sent.
pub(crate) fn send(stream: &mut TcpStream, answer: &Response, date: Option<&str>) -> Result<()> {
    let mut bytes = answer.head(date, &format!("Content-Length: {}", answer.body.len()));
    bytes.extend_from_slice(&answer.body);
    stream.write_all(&bytes)
}

fn drip(stream: &mut TcpStream, bytes: &[u8], stop: &AtomicBool) -> Result<()> {
    for byte in bytes {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        stream.write_all(&[*byte])?;
        pause(Duration::from_secs(1), stop);
    }
    Ok(())
}

/// Sleeps in small pieces, so that a server that is dropped does not leave its threads behind.
fn pause(time: Duration, stop: &AtomicBool) {
    let piece = Duration::from_millis(20);
    let mut left = time;
    while !left.is_zero() && !stop.load(Ordering::Relaxed) {
        thread::sleep(piece.min(left));
        left = left.saturating_sub(piece);
    }
}

const FOR_EVER: Duration = Duration::from_secs(3_600);
