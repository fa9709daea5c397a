//! HTTP/1.1 over plain sockets, because only those can be reset, cut, and left hanging.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use super::Shared;
use super::fault::Reply;
use super::world::Asked;

/// An answer before it is sent.
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Value,
    /// The body where it is no JSON.
    pub file: Option<Vec<u8>>,
}

pub(super) fn listen(shared: &Arc<Shared>, port: u16) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("a free port");
    let address = listener.local_addr().expect("an address");
    let shared = Arc::clone(shared);
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            if shared.stop.load(Ordering::Relaxed) {
                break;
            }
            let shared = Arc::clone(&shared);
            // A client that goes away in the middle is no fault of the server.
            thread::spawn(move || drop(serve(&shared, stream)));
        }
    });
    address
}

fn serve(shared: &Shared, mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut buffer = Vec::new();
    while let Some(asked) = read(&mut stream, &mut buffer)? {
        let (response, reply) = shared.lock().answer(asked);
        if !play(&mut stream, &response, reply, shared)? {
            break;
        }
    }
    Ok(())
}

/// One request, or `None` at the end of the connection.
fn read(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> io::Result<Option<Asked>> {
    let mut chunk = [0; 8192];
    loop {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        let parsed = request.parse(buffer).map_err(io::Error::other)?;
        if let httparse::Status::Complete(start) = parsed {
            let headers: Vec<(String, String)> = request
                .headers
                .iter()
                .map(|header| {
                    let value = String::from_utf8_lossy(header.value).into_owned();
                    (header.name.to_ascii_lowercase(), value)
                })
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length = length.and_then(|(_, value)| value.parse().ok()).unwrap_or(0);
            if buffer.len() >= start + length {
                let method = request.method.unwrap_or_default().to_owned();
                let target = request.path.unwrap_or_default().to_owned();
                let body = String::from_utf8_lossy(&buffer[start..start + length]).into_owned();
                buffer.drain(..start + length);
                let (path, query) = target.split_once('?').unwrap_or((&target, ""));
                let (path, query) = (path.to_owned(), query.to_owned());
                return Ok(Some(Asked { method, path, query, headers, body }));
            }
        }
        match stream.read(&mut chunk)? {
            0 => return Ok(None),
            count => buffer.extend_from_slice(&chunk[..count]),
        }
    }
}

/// Sends the answer, or what stands in its place. `false` when the connection is of no more use.
fn play(
    stream: &mut TcpStream,
    response: &Response,
    reply: Reply,
    shared: &Shared,
) -> io::Result<bool> {
    let mut body = response.body.clone();
    let plain = |body: &Value| match &response.file {
        Some(file) => file.clone(),
        None if body.is_null() => Vec::new(),
        None => body.to_string().into_bytes(),
    };
    match reply {
        Reply::Good => send(stream, response.status, &response.headers, &plain(&body)),
        Reply::Alter(alter) => {
            alter(&mut body);
            send(stream, response.status, &response.headers, &plain(&body))
        }
        Reply::Delay(millis) => {
            pause(Duration::from_millis(millis), shared);
            send(stream, response.status, &response.headers, &plain(&body))
        }
        Reply::Empty => send(stream, 200, &response.headers, b""),
        Reply::Huge => send(stream, 200, &response.headers, &vec![b' '; 2 * 1024 * 1024]),
        Reply::Html(status) => {
            let page = b"<!DOCTYPE html><html><body><h1>Please log in</h1></body></html>";
            send(stream, status, &[("Content-Type".into(), "text/html".into())], page)
        }
        Reply::Redirect(status) => {
            send(stream, status, &[("Location".into(), "/api/v3/elsewhere".into())], b"")
        }
        Reply::Status(status, body) => send(stream, status, &response.headers, body.as_bytes()),
        Reply::Code(status, code, msg) => {
            let body = serde_json::json!({ "code": code, "msg": msg }).to_string();
            send(stream, status, &response.headers, body.as_bytes())
        }
        Reply::Silence(status, after, code) => {
            let mut headers = response.headers.clone();
            headers.extend(after.map(|after| ("Retry-After".to_owned(), after.to_owned())));
            let msg = "Way too much request weight used; IP banned until later.";
            let body = code.map(|code| serde_json::json!({ "code": code, "msg": msg }).to_string());
            send(stream, status, &headers, body.unwrap_or_default().as_bytes())
        }
        Reply::Close => stream.shutdown(Shutdown::Both).map(|()| false),
        Reply::Reset => {
            socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
            Ok(false)
        }
        Reply::Hang => {
            pause(FOR_EVER, shared);
            Ok(false)
        }
        Reply::SilenceAfterHeaders => {
            stream.write_all(head(response, plain(&body).len()).as_bytes())?;
            pause(FOR_EVER, shared);
            Ok(false)
        }
        Reply::Drip => {
            let body = plain(&body);
            stream.write_all(head(response, body.len()).as_bytes())?;
            for byte in body {
                stream.write_all(&[byte])?;
                pause(Duration::from_secs(1), shared);
            }
            Ok(true)
        }
        Reply::Cut => {
            let body = plain(&body);
            stream.write_all(head(response, body.len()).as_bytes())?;
            stream.write_all(&body[..body.len() / 2])?;
            stream.shutdown(Shutdown::Both).map(|()| false)
        }
        Reply::WrongLength => {
            let body = plain(&body);
            stream.write_all(head(response, body.len() + 1).as_bytes())?;
            stream.write_all(&body)?;
            stream.shutdown(Shutdown::Both).map(|()| false)
        }
        Reply::BrokenChunks => {
            let status = response.status;
            let head = format!("HTTP/1.1 {status} Simulated\r\nTransfer-Encoding: chunked\r\n\r\n");
            stream.write_all(head.as_bytes())?;
            stream.write_all(b"zz\r\n{\"a\r\n-4\r\n")?;
            stream.shutdown(Shutdown::Both).map(|()| false)
        }
    }
}

fn send(
    stream: &mut TcpStream,
    status: u16,
    headers: &[(String, String)],
    body: &[u8],
) -> io::Result<bool> {
    let response = Response { status, headers: headers.to_vec(), body: Value::Null, file: None };
    let mut bytes = head(&response, body.len()).into_bytes();
    bytes.extend_from_slice(body);
    stream.write_all(&bytes).map(|()| true)
}

fn head(response: &Response, length: usize) -> String {
    let mut head =
        format!("HTTP/1.1 {} Simulated\r\nContent-Length: {length}\r\n", response.status);
    for (name, value) in &response.headers {
        head.extend([name.as_str(), ": ", value, "\r\n"]);
    }
    head + "\r\n"
}

/// Sleeps in small pieces, so that a server that is dropped does not leave its threads behind.
fn pause(time: Duration, shared: &Shared) {
    let piece = Duration::from_millis(20);
    let mut left = time;
    while !left.is_zero() && !shared.stop.load(Ordering::Relaxed) {
        thread::sleep(piece.min(left));
        left = left.saturating_sub(piece);
    }
}

const FOR_EVER: Duration = Duration::from_secs(3600);
