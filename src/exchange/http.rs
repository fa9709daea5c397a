//! HTTP as a trading job needs it: nothing is repeated, followed or waited for beyond a deadline.
//!
//! The client never retries, never follows a redirect, takes no proxy from the environment and
//! trusts the roots inside the binary (and those of `SSL_CERT_FILE`). A deadline bounds a request
//! as a whole, not each of its reads, and a body is cut off at a size that no honest answer has.

use std::fmt::Debug;
use std::io::Read as _;
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use reqwest::blocking::{Client, Response};
use reqwest::header::{HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::clock::{Clock, Deadline};
use crate::failure::{Failure, Kind};
use crate::stop::Stop;
use crate::trading::time::Timestamp;

/// The one client of a start.
#[derive(Debug, Clone)]
pub struct Http {
    carrier: Arc<dyn Carrier>,
    clock: Clock,
    stop: Stop,
}

/// Who carries requests. [`Http::new`] has the real network do it; tests put another in its place.
pub trait Carrier: Debug + Send + Sync {
    /// Sends all requests at the same time, each on a connection of its own, and waits for none:
    /// each answer goes to `answers` with the request's number, and later than the deadline only
    /// if nobody listens any more.
    fn carry(&self, requests: Vec<Request>, deadline: &Deadline, answers: &mpsc::Sender<Carried>);
}

/// An answer, or why there is none, with the number of its request.
pub type Carried = (usize, anyhow::Result<Answer>);

/// A request. It is sent once.
pub struct Request {
    /// `GET`, or `POST` with a body.
    pub method: Method,
    /// Where to. May hold a secret, so it is never shown.
    pub url: Url,
    /// Body and its type.
    pub body: Option<(&'static str, Vec<u8>)>,
    /// The key that a signed request names.
    pub api_key: Option<HeaderValue>,
    /// More than so many bytes are no honest answer.
    pub most_bytes: usize,
}

/// Requests that are under way.
#[derive(Debug)]
pub struct Asked {
    receiver: mpsc::Receiver<Carried>,
    count: usize,
    deadline: Deadline,
    stop: Stop,
}

/// An answer, whatever its status.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The server's clock, in whole seconds; it is never ahead of the true one.
    pub date: Option<Timestamp>,
    /// When it arrived, by our clock.
    pub received: Timestamp,
    /// `Retry-After`, as it was written.
    pub retry_after: Option<String>,
    /// `X-MBX-USED-WEIGHT-1M`.
    pub used_weight: Option<u64>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Request {
    /// A question.
    #[must_use]
    pub fn get(url: Url) -> Self {
        Self { method: Method::GET, url, body: None, api_key: None, most_bytes: MOST_BODY_BYTES }
    }

    /// A message.
    #[must_use]
    pub fn post(url: Url, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        let body = Some((content_type, body.into()));
        Self { method: Method::POST, body, ..Self::get(url) }
    }

    /// The same, with the key that it was signed for.
    #[must_use]
    pub fn with_key(self, api_key: HeaderValue) -> Self {
        Self { api_key: Some(api_key), ..self }
    }

    /// The same, where an honest answer may be of another size.
    #[must_use]
    pub fn up_to(self, most_bytes: usize) -> Self {
        Self { most_bytes, ..self }
    }
}

impl Answer {
    /// Whether the exchange wants no further request for a while.
    #[must_use]
    pub fn wants_silence(&self) -> bool {
        matches!(self.status, 418 | 429)
    }
}

impl Http {
    /// A client that trusts the built-in roots and those of `extra_roots`.
    ///
    /// **Errors**: the file of further roots can't be read or holds no certificate.
    pub fn new(extra_roots: Option<&Path>, stop: Stop) -> Result<Self, Failure> {
        let tls = tls(extra_roots).map_err(|error| {
            Failure::configuration(
                format!("`SSL_CERT_FILE`: {error:#}"),
                "set it to a file with at least one certificate in PEM, or not at all",
            )
        })?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .http1_only()
            .user_agent(concat!("ouroboros/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                let error = anyhow::Error::new(error.without_url());
                Failure::new(
                    Kind::Unreachable,
                    format!("no connection can be made from here: {error:#}"),
                    "look at this machine's limits (`ulimit -a`); nothing was done",
                )
            })?;
        // Dropping the last handle joins the client's thread, which may sit in a name lookup that
        // nothing can interrupt. The process ends when the run does; it waits for no lookup.
        std::mem::forget(client.clone());
        let clock = Clock::system();
        Ok(Self::over(Arc::new(Network { client, clock: clock.clone() }), clock, stop))
    }

    /// A client whose requests somebody else carries, by somebody else's clock.
    #[must_use]
    pub fn over(carrier: Arc<dyn Carrier>, clock: Clock, stop: Stop) -> Self {
        Self { carrier, clock, stop }
    }

    /// Sends all requests at the same time, each on a connection of its own, and waits for all.
    ///
    /// **Shape**: answers in the order of the requests.
    #[must_use]
    pub fn ask(&self, requests: Vec<Request>, deadline: Deadline) -> Vec<anyhow::Result<Answer>> {
        self.begin(requests, deadline).finish()
    }

    /// Sends all requests at the same time, each on a connection of its own, and waits for none.
    #[must_use]
    pub fn begin(&self, requests: Vec<Request>, deadline: Deadline) -> Asked {
        let (sender, receiver) = mpsc::channel();
        let count = requests.len();
        self.carrier.carry(requests, &deadline, &sender);
        Asked { receiver, count, deadline, stop: self.stop.clone() }
    }

    /// Sends one request.
    pub fn ask_one(&self, request: Request, deadline: Deadline) -> anyhow::Result<Answer> {
        self.ask(vec![request], deadline).pop().context("no answer")?
    }

    /// Waits, but not longer than until the run is told to stop.
    pub fn wait(&self, time: Duration) {
        let deadline = self.clock.deadline(time);
        while !deadline.has_passed() && !self.stop.is_asked() {
            deadline.sleep(STOP_INTERVAL);
        }
    }

    /// A client for commands that open a world but ask nobody: they need no further roots.
    pub fn for_nothing() -> Result<Self, Failure> {
        Self::new(None, Stop::default())
    }

    /// The same client for what is done at the very end, when a signal has had its effect.
    #[must_use]
    pub fn unstoppable(&self) -> Self {
        Self { stop: Stop::default(), ..self.clone() }
    }

    /// The clock by which it waits.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The flag of signals, for those who hold a client anyway.
    #[must_use]
    pub fn stop(&self) -> &Stop {
        &self.stop
    }
}

impl Asked {
    /// Waits for all answers, but not beyond the deadline.
    ///
    /// **Shape**: in the order of the requests.
    #[must_use]
    pub fn finish(self) -> Vec<anyhow::Result<Answer>> {
        let Self { receiver, count, deadline, stop } = self;
        let mut answers: Vec<_> = std::iter::repeat_with(|| None).take(count).collect();
        while answers.iter().any(Option::is_none) && !stop.is_asked() {
            match receiver.recv_timeout(deadline.left().min(STOP_INTERVAL)) {
                Ok((index, answer)) => answers[index] = Some(answer),
                Err(mpsc::RecvTimeoutError::Timeout) if !deadline.has_passed() => {}
                Err(_) => break,
            }
        }
        let why = if stop.is_asked() { "told to stop" } else { "no answer in time" };
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(anyhow!(why)))).collect()
    }
}

/// The real network.
#[derive(Debug)]
struct Network {
    client: Client,
    clock: Clock,
}

impl Carrier for Network {
    fn carry(&self, requests: Vec<Request>, deadline: &Deadline, answers: &mpsc::Sender<Carried>) {
        for (number, request) in requests.into_iter().enumerate() {
            let (client, clock, deadline) =
                (self.client.clone(), self.clock.clone(), deadline.clone());
            let sender = answers.clone();
            let spawned = thread::Builder::new().spawn(move || {
                let answer = send(&client, &clock, request, &deadline);
                // Nobody listens any more once the deadline has passed.
                let _ = sender.send((number, answer));
            });
            if let Err(error) = spawned {
                let _ = answers.send((number, Err(error).context("no thread for the request")));
            }
        }
    }
}

fn tls(extra_roots: Option<&Path>) -> anyhow::Result<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if let Some(path) = extra_roots {
        let shown = path.display();
        let mut found = 0;
        let certificates = CertificateDer::pem_file_iter(path)
            .with_context(|| format!("failed to read `{shown}`"))?;
        for certificate in certificates {
            let certificate = certificate.with_context(|| format!("failed to read `{shown}`"))?;
            roots.add(certificate).with_context(|| format!("a certificate of `{shown}`"))?;
            found += 1;
        }
        anyhow::ensure!(found > 0, "`{shown}` holds no certificate");
    }
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    Ok(rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .context("no TLS version")?
        .with_root_certificates(roots)
        .with_no_client_auth())
}

fn send(
    client: &Client,
    clock: &Clock,
    request: Request,
    deadline: &Deadline,
) -> anyhow::Result<Answer> {
    let (is_post, most_bytes) = (request.method == Method::POST, request.most_bytes);
    let mut builder = client.request(request.method, request.url).timeout(deadline.left());
    if let Some(key) = request.api_key {
        builder = builder.header("x-mbx-apikey", key);
    }
    if let Some((content_type, body)) = request.body {
        builder = builder.header("content-type", content_type).body(body);
    }
    // A URL may carry a token: no error shows it.
    let response = builder.send().map_err(reqwest::Error::without_url)?;
    let status = response.status().as_u16();
    let headers = response.headers();
    let (date, received) = (date(headers), clock.now());
    let retry_after = header(headers, "retry-after").map(str::to_owned);
    let used_weight =
        header(headers, "x-mbx-used-weight-1m").and_then(|weight| weight.parse().ok());
    let mut answer = Answer { status, date, received, retry_after, used_weight, body: Vec::new() };
    // A wish for silence is in the headers; it holds whatever becomes of the body. What was sent may
    // be told more there: whether an order was refused, and by Telegram for how long to be silent.
    if answer.wants_silence() {
        if is_post {
            answer.body = body(response, deadline, most_bytes).unwrap_or_default();
        }
    } else {
        answer.body = body(response, deadline, most_bytes)?;
    }
    Ok(answer)
}

fn body(mut response: Response, deadline: &Deadline, most: usize) -> anyhow::Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        // Each read has a timeout of its own; the deadline is for all of them.
        anyhow::ensure!(!deadline.has_passed(), "the body did not end in time");
        match response.read(&mut chunk).context("the body broke off")? {
            0 => return Ok(body),
            length => body.extend_from_slice(&chunk[..length]),
        }
        anyhow::ensure!(body.len() <= most, "the body has more than {} MiB", most / 1024 / 1024);
    }
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let date = jiff::fmt::rfc2822::parse(header(headers, "date")?).ok()?;
    Timestamp::from_millis(date.timestamp().as_millisecond())
}

/// How soon a signal is noticed while waiting for an answer.
const STOP_INTERVAL: Duration = Duration::from_millis(50);

/// 1000 candles are about 170 kB, two symbols' rules about 12 kB.
const MOST_BODY_BYTES: usize = 1024 * 1024;
