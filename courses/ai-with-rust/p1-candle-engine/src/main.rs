//! The model as a program that Python talks to through pipes. Given; you need not change it.
//!
//! A line in: `new 5 6 7` begins a text with these tokens, `more 8` goes on with it. A line out:
//! the logits behind the last token, with spaces between; or `error` and a reason.

use std::io::{BufRead, Write};
use std::path::Path;

use candle_core::{Result, bail};
use candle_engine::{Cache, Model};

fn main() -> Result<()> {
    let Some(folder) = std::env::args().nth(1) else { bail!("say which folder the model is in") };
    let model = Model::load(Path::new(&folder))?;
    let mut cache = model.new_cache();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        match answer(&model, &mut cache, &line?) {
            Ok(logits) => {
                let numbers: Vec<String> = logits.iter().map(f32::to_string).collect();
                writeln!(out, "{}", numbers.join(" "))?;
            }
            Err(error) => writeln!(out, "error {}", error.to_string().replace('\n', " "))?,
        }
        out.flush()?;
    }
    Ok(())
}

fn answer(model: &Model, cache: &mut Cache, line: &str) -> Result<Vec<f32>> {
    let mut words = line.split_whitespace();
    match words.next() {
        Some("new") => *cache = model.new_cache(),
        Some("more") => {}
        _ => bail!("a line begins with new or more"),
    }
    let ids: std::result::Result<Vec<u32>, _> = words.map(str::parse).collect();
    let Ok(ids) = ids else { bail!("a token is a number") };
    if ids.is_empty() {
        bail!("there is no token");
    }
    let logits = model.forward(&ids, cache)?; // (T, V)
    logits.get(ids.len() - 1)?.to_vec1()
}
