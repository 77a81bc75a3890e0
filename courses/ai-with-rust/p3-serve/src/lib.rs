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

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub const MAX_BODY: usize = 100_000;

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
    todo!(
        "a nonblocking listener can look at `stop` between two connections; `thread::scope` waits \
         for all threads; a connection needs a read timeout, or a silent client holds it for ever"
    )
}
