//! An inference service over HTTP/1.1, with the standard library alone.
//!
//! | Request | Answer |
//! |---|---|
//! | `GET /healthz` | 200, `ok`: the process lives |
//! | `GET /readyz` | 200, `ready`; 503 while it is stopping |
//! | `POST /infer` with `{"prompt": "..."}` | 200, `{"text": "..."}` |
//! | `POST /stream` with the same | 200, `text/event-stream`: `data: "piece"` and an empty line for each piece as a JSON string, `data: [DONE]` at the end |
//!
//! Errors: 400 for what is no request or has no prompt, 404 for another path, 405 for another
//! method of a known path, 413 for a body of more than [`MAX_BODY`] bytes. Every answer has
//! `Connection: close`; all but streams have a Content-Length.

pub mod json;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

pub const MAX_BODY: usize = 100_000;
const MAX_HEAD: u64 = 16_384; // bytes of request line and headers
const PATIENCE: Duration = Duration::from_secs(10); // with a client that says or takes nothing
const LOOK: Duration = Duration::from_millis(5); // how often the listener looks at `stop`

/// What answers. `on_piece` is given each piece of text; where it returns false, nobody listens
/// any more, and the engine stops.
pub trait Engine: Send + Sync {
    fn answer(&self, prompt: &str, on_piece: &mut dyn FnMut(&str) -> bool);
}

/// The smallest engine: the prompt, word by word.
pub struct Echo;

impl Engine for Echo {
    fn answer(&self, prompt: &str, on_piece: &mut dyn FnMut(&str) -> bool) {
        for word in prompt.split_inclusive(' ') {
            if !on_piece(word) {
                return;
            }
        }
    }
}

/// Answer requests, each connection in a thread, until `stop` is set. Then take no new ones, let
/// those under way finish, and return. Connections that come in meanwhile may be refused; one
/// that is already open gets 503 from `/readyz`.
pub fn serve(listener: TcpListener, engine: Arc<dyn Engine>, stop: Arc<AtomicBool>) {
    listener.set_nonblocking(true).expect("the listener is a socket");
    thread::scope(|scope| {
        while !stop.load(Ordering::SeqCst) {
            match listener.accept() {
                // An error on a connection is the end of that connection.
                Ok((stream, _)) => {
                    scope.spawn(|| drop(handle(stream, &*engine, &stop)));
                }
                Err(_) => thread::sleep(LOOK),
            }
        }
    });
}

struct Request {
    method: String,
    path: String,
    body: Vec<u8>,
}

/// Why a request gets no answer of the engine: code and words.
struct Refusal(u16, &'static str);

fn handle(stream: TcpStream, engine: &dyn Engine, stop: &AtomicBool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut out = &stream;
    let request = match read_request(&mut BufReader::new(&stream))? {
        Ok(request) => request,
        Err(refusal) => return refuse(out, &refusal),
    };
    match (request.method.as_str(), request.path.as_str()) {
        ("GET", "/healthz") => respond(out, 200, "text/plain", "ok"),
        ("GET", "/readyz") if stop.load(Ordering::SeqCst) => {
            respond(out, 503, "text/plain", "stopping")
        }
        ("GET", "/readyz") => respond(out, 200, "text/plain", "ready"),
        ("POST", "/infer" | "/stream") => {
            let body = String::from_utf8(request.body).ok();
            let Some(prompt) = body.and_then(|body| json::field(&body, "prompt")) else {
                return refuse(out, &Refusal(400, "there is no prompt"));
            };
            if request.path == "/stream" {
                return stream_answer(&mut out, engine, &prompt);
            }
            let mut text = String::new();
            engine.answer(&prompt, &mut |piece| {
                text.push_str(piece);
                true
            });
            respond(out, 200, "application/json", &format!("{{\"text\": {}}}", json::string(&text)))
        }
        (_, "/healthz" | "/readyz" | "/infer" | "/stream") => {
            refuse(out, &Refusal(405, "not with this method"))
        }
        _ => refuse(out, &Refusal(404, "there is nothing here")),
    }
}

/// Head and body; the outer error is the connection's, the inner one the request's.
fn read_request(input: &mut impl BufRead) -> io::Result<Result<Request, Refusal>> {
    const BAD: Refusal = Refusal(400, "this is no HTTP request");
    let mut head = input.by_ref().take(MAX_HEAD);
    let mut lines = Vec::new();
    loop {
        let mut line = Vec::new();
        head.read_until(b'\n', &mut line)?;
        let Ok(line) = String::from_utf8(line) else { return Ok(Err(BAD)) };
        if !line.ends_with('\n') {
            return Ok(Err(BAD));
        }
        match line.trim_end() {
            "" => break,
            line => lines.push(line.to_string()),
        }
    }
    let first: Vec<&str> = lines.first().map(|line| line.split(' ').collect()).unwrap_or_default();
    let [method, path, version] = first[..] else { return Ok(Err(BAD)) };
    if !version.starts_with("HTTP/1.") {
        return Ok(Err(BAD));
    }
    let mut length = 0;
    for line in &lines[1..] {
        let Some((name, value)) = line.split_once(':') else { return Ok(Err(BAD)) };
        if name.eq_ignore_ascii_case("content-length") {
            match value.trim().parse() {
                Ok(number) => length = number,
                Err(_) => return Ok(Err(BAD)),
            }
        }
    }
    if length > MAX_BODY {
        return Ok(Err(Refusal(413, "the body is too large")));
    }
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    Ok(Ok(Request { method: method.to_string(), path: path.to_string(), body }))
}

fn stream_answer(out: &mut impl Write, engine: &dyn Engine, prompt: &str) -> io::Result<()> {
    write!(out, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n")?;
    let mut result = Ok(());
    engine.answer(prompt, &mut |piece| {
        let event = format!("data: {}\n\n", json::string(piece));
        result = out.write_all(event.as_bytes()).and_then(|()| out.flush());
        result.is_ok()
    });
    result?;
    write!(out, "data: [DONE]\n\n")
}

fn refuse(out: impl Write, Refusal(code, words): &Refusal) -> io::Result<()> {
    respond(out, *code, "application/json", &format!("{{\"error\": {}}}", json::string(words)))
}

fn respond(mut out: impl Write, code: u16, kind: &str, body: &str) -> io::Result<()> {
    let reason = match code {
        200 => "OK",
        400 => "Bad Request",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Content Too Large",
        _ => "Service Unavailable",
    };
    let length = body.len();
    let head = format!("HTTP/1.1 {code} {reason}\r\nContent-Type: {kind}\r\n");
    write!(out, "{head}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}
