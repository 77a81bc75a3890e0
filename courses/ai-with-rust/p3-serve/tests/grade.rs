use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use serving::*;

/// A running service; it is stopped when the test ends.
struct Service {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    fn start(engine: impl Engine + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it has an address");
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = thread::spawn(move || serve(listener, Arc::new(engine), flag));
        Service { address, stop, thread: Some(thread) }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("the service takes connections");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream
    }

    /// Status code, headers and body.
    fn ask(&self, request: &str) -> (u16, String, String) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("the service reads");
        read_all(stream)
    }

    fn get(&self, path: &str) -> (u16, String, String) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n"))
    }

    fn post(&self, path: &str, body: &str) -> (u16, String, String) {
        self.ask(&post(path, body))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // After a failed test an engine may wait for ever: the end of the process ends it.
        if let Some(thread) = self.thread.take().filter(|_| !thread::panicking()) {
            thread.join().expect("`serve` returns without a panic");
        }
    }
}

fn post(path: &str, body: &str) -> String {
    let length = body.len();
    format!("POST {path} HTTP/1.1\r\nHost: test\r\nContent-Length: {length}\r\n\r\n{body}")
}

fn read_all(mut stream: TcpStream) -> (u16, String, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("the answer ends and is UTF-8");
    let (head, body) = text.split_once("\r\n\r\n").expect("headers end with an empty line");
    let code = head.split(' ').nth(1).and_then(|code| code.parse().ok()).expect("a status code");
    (code, head.to_ascii_lowercase(), body.to_string())
}

/// An engine that makes its second piece when it is told to, and notes how it ended.
struct Slow {
    go_on: Mutex<mpsc::Receiver<()>>,
    ended: mpsc::Sender<bool>,
}

impl Slow {
    fn new() -> (Self, mpsc::Sender<()>, mpsc::Receiver<bool>) {
        let ((go, go_on), (ended, end)) = (mpsc::channel(), mpsc::channel());
        (Slow { go_on: Mutex::new(go_on), ended }, go, end)
    }
}

impl Engine for Slow {
    fn answer(&self, _: &str, on_piece: &mut dyn FnMut(&str) -> bool) {
        let go_on = self.go_on.lock().expect("one request at a time");
        let mut listens = on_piece("first");
        while listens && go_on.recv().is_ok() {
            listens = on_piece(" next");
        }
        let _ = self.ended.send(listens);
    }
}

#[test]
fn it_says_that_it_lives() {
    let service = Service::start(Echo);
    let (code, head, body) = service.get("/healthz");
    assert_eq!((code, body.as_str()), (200, "ok"), "GET /healthz");
    assert!(head.contains("content-length: 2"), "no Content-Length in {head:?}");
    assert_eq!(service.get("/readyz").0, 200, "GET /readyz");
}

#[test]
fn it_answers_a_prompt() {
    let service = Service::start(Echo);
    let (code, head, body) = service.post("/infer", r#"{"prompt": "say \"水\"\nplease"}"#);
    assert_eq!(code, 200, "POST /infer");
    assert_eq!(json::field(&body, "text").as_deref(), Some("say \"水\"\nplease"), "in {body}");
    assert!(head.contains("application/json"), "the content type in {head:?}");
    let mut slow = service.connect();
    for part in post("/infer", r#"{"prompt": "in parts"}"#).as_bytes().chunks(40) {
        slow.write_all(part).and_then(|()| slow.flush()).expect("the service reads on");
    }
    assert_eq!(read_all(slow).0, 200, "a request that comes in parts");
}

#[test]
fn wrong_requests_get_their_code() {
    let service = Service::start(Echo);
    assert_eq!(service.get("/nothing").0, 404, "an unknown path");
    assert_eq!(service.get("/infer").0, 405, "GET of what takes POST");
    assert_eq!(service.post("/healthz", "").0, 405, "POST of what takes GET");
    assert_eq!(service.post("/infer", "{}").0, 400, "no prompt");
    assert_eq!(service.post("/infer", "prompt").0, 400, "no JSON");
    assert_eq!(service.ask("hello\r\n\r\n").0, 400, "no HTTP");
    let length = "POST /infer HTTP/1.1\r\nContent-Length: many\r\n\r\n";
    assert_eq!(service.ask(length).0, 400, "a length that is no number");
    assert_eq!(service.get("/healthz").0, 200, "after all of these it lives");
}

#[test]
fn large_requests_are_refused() {
    let service = Service::start(Echo);
    let head = |length: usize| format!("POST /infer HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
    assert_eq!(service.ask(&head(MAX_BODY + 1)).0, 413, "refused before the body comes");
    assert_eq!(service.ask(&head(usize::MAX)).0, 413, "as large as a number can be");
    let prompt = "a".repeat(MAX_BODY - 14);
    let (code, _, body) = service.post("/infer", &format!("{{\"prompt\": \"{prompt}\"}}"));
    assert_eq!(code, 200, "a body of exactly MAX_BODY bytes");
    assert!(body.len() > prompt.len(), "the whole answer");
}

#[test]
fn pieces_arrive_while_others_are_made() {
    let (engine, go, _end) = Slow::new();
    let service = Service::start(engine);
    let mut stream = service.connect();
    stream.write_all(post("/stream", r#"{"prompt": "go"}"#).as_bytes()).expect("the service reads");
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("a line in time"));
    let head: Vec<String> = lines.by_ref().take_while(|line| !line.is_empty()).collect();
    assert!(head.iter().any(|line| line.contains("text/event-stream")), "in {head:?}");
    let mut next = || lines.by_ref().find(|line| !line.is_empty());
    assert_eq!(next().as_deref(), Some("data: \"first\""), "before there is a second piece");
    go.send(()).expect("the engine waits");
    assert_eq!(next().as_deref(), Some("data: \" next\""), "the second piece");
    drop(go);
    assert_eq!(next().as_deref(), Some("data: [DONE]"), "the end");
    assert_eq!(next(), None, "behind the end");
}

#[test]
fn hanging_up_stops_the_engine() {
    let (engine, go, end) = Slow::new();
    let service = Service::start(engine);
    let mut stream = service.connect();
    stream.write_all(post("/stream", r#"{"prompt": "go"}"#).as_bytes()).expect("the service reads");
    let mut first = [0; 20];
    stream.read_exact(&mut first).expect("the answer begins");
    stream.shutdown(Shutdown::Both).expect("we hang up");
    drop(stream);
    // The first write to a closed connection may still succeed.
    let ended = loop {
        go.send(()).ok();
        if let Ok(ended) = end.recv_timeout(Duration::from_millis(10)) {
            break ended;
        }
    };
    assert!(!ended, "`on_piece` has to return false once nobody listens");
}

#[test]
fn it_stops_gracefully() {
    let (engine, go, _end) = Slow::new();
    let mut service = Service::start(engine);
    let address = service.address;
    let waiting = service.connect(); // accepted before the stop: asked for readiness after it
    let mut stream = service.connect();
    stream.write_all(post("/stream", r#"{"prompt": "go"}"#).as_bytes()).expect("the service reads");
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    while !line.contains("first") {
        line.clear();
        reader.read_line(&mut line).expect("the answer begins");
    }
    service.stop.store(true, Ordering::SeqCst);
    let mut waiting = waiting;
    waiting.write_all(b"GET /readyz HTTP/1.1\r\n\r\n").expect("the connection is open");
    assert_eq!(read_all(waiting).0, 503, "GET /readyz while it is stopping");
    let thread = service.thread.take().expect("it runs");
    assert!(!thread.is_finished(), "`serve` returned while an answer was under way");
    go.send(()).expect("the engine is still there");
    drop(go);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).expect("the answer goes on");
    assert!(rest.contains("next") && rest.contains("[DONE]"), "the answer was cut off: {rest:?}");
    thread.join().expect("`serve` returns without a panic");
    let late = TcpStream::connect(address);
    assert!(late.is_err(), "the port is free again after `serve` has returned");
}
