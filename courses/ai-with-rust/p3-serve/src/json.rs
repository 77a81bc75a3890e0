//! The little JSON that the service needs. Given; you need not change it.

use std::fmt::Write;

/// A text as a JSON string, quotes included.
pub fn string(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            c if c < ' ' => write!(out, "\\u{:04x}", c as u32).expect("a String takes everything"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The text of this name in an object of texts; None if it is not there, or not JSON.
pub fn field(object: &str, name: &str) -> Option<String> {
    let mut rest = object.trim().strip_prefix('{')?;
    loop {
        let (key, behind) = read_string(rest)?;
        let (value, behind) = read_string(behind.trim_start().strip_prefix(':')?)?;
        if key == name {
            return Some(value);
        }
        rest = behind.trim_start().strip_prefix(',')?;
    }
}

/// The string that a text begins with, and what stands behind it.
fn read_string(text: &str) -> Option<(String, &str)> {
    let inner = text.trim_start().strip_prefix('"')?;
    let (mut out, mut signs) = (String::new(), inner.char_indices());
    while let Some((place, c)) = signs.next() {
        match c {
            '"' => return Some((out, &inner[place + 1..])),
            '\\' => match signs.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                'r' => out.push('\r'),
                'u' => {
                    let digits: String = signs.by_ref().take(4).map(|(_, c)| c).collect();
                    out.push(char::from_u32(u32::from_str_radix(&digits, 16).ok()?)?);
                }
                c => out.push(c),
            },
            c => out.push(c),
        }
    }
    None
}
