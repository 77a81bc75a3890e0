//! A settings file: `key = value` lines, and every way in which it can be wrong.

use std::error::Error;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Flag(bool),   // true or false
    Int(i64),     // 42
    Float(f64),   // 0.5, 1e-3
    Text(String), // "in double quotes", which are not part of it
}

#[derive(Debug, Clone, PartialEq)]
pub enum ParseError {
    NoEquals { line: usize },
    BadValue { line: usize, text: String },
    Twice { line: usize, key: String },
}

impl fmt::Display for ParseError {
    /// "line 3: there is no `=`", "line 3: `abc` is no value", "line 3: `steps` is there twice"
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParseError::NoEquals { line } => write!(f, "line {line}: there is no `=`"),
            ParseError::BadValue { line, text } => write!(f, "line {line}: `{text}` is no value"),
            ParseError::Twice { line, key } => write!(f, "line {line}: `{key}` is there twice"),
        }
    }
}

impl Error for ParseError {}

/// What keeps a file from being loaded.
#[derive(Debug)]
pub enum LoadError {
    File(std::io::Error),
    Content(ParseError),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LoadError::File(error) => write!(f, "the file cannot be read: {error}"),
            LoadError::Content(error) => write!(f, "the file is not valid: {error}"),
        }
    }
}

impl Error for LoadError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            LoadError::File(error) => Some(error),
            LoadError::Content(error) => Some(error),
        }
    }
}

impl From<std::io::Error> for LoadError {
    fn from(error: std::io::Error) -> Self {
        LoadError::File(error)
    }
}

impl From<ParseError> for LoadError {
    fn from(error: ParseError) -> Self {
        LoadError::Content(error)
    }
}

impl FromStr for Value {
    type Err = ();

    /// What stands behind the `=`, without spaces around it.
    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(rest) = text.strip_prefix('"') {
            let inner = rest.strip_suffix('"').ok_or(())?;
            return if inner.contains('"') { Err(()) } else { Ok(Value::Text(inner.to_string())) };
        }
        if let Ok(flag) = text.parse() {
            return Ok(Value::Flag(flag));
        }
        if let Ok(number) = text.parse() {
            return Ok(Value::Int(number));
        }
        match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Float(number)),
            _ => Err(()),
        }
    }
}

/// The settings of a text in their order. What follows a `#` at the beginning of a line is a
/// comment. Lines count from 1; the first error ends the work.
pub fn parse(text: &str) -> Result<Vec<(String, Value)>, ParseError> {
    let mut settings: Vec<(String, Value)> = Vec::new();
    for (line, content) in (1..).zip(text.lines().map(str::trim)) {
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        let (key, value) = content.split_once('=').ok_or(ParseError::NoEquals { line })?;
        let (key, value) = (key.trim().to_string(), value.trim());
        if settings.iter().any(|(known, _)| *known == key) {
            return Err(ParseError::Twice { line, key });
        }
        let value =
            value.parse().map_err(|()| ParseError::BadValue { line, text: value.to_string() })?;
        settings.push((key, value));
    }
    Ok(settings)
}

/// The number of this name; None if there is none, or if it is no whole number.
pub fn find_int(settings: &[(String, Value)], key: &str) -> Option<i64> {
    match settings.iter().find(|(name, _)| name == key)? {
        (_, Value::Int(number)) => Some(*number),
        _ => None,
    }
}

/// Read and parse a file.
pub fn load(path: &Path) -> Result<Vec<(String, Value)>, LoadError> {
    Ok(parse(&std::fs::read_to_string(path)?)?)
}
