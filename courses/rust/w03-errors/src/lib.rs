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
        todo!("`match self`, and `write!(f, ...)` in every arm")
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
    // `source` tells the cause; without it the default says that there is none.
}

impl FromStr for Value {
    type Err = ();

    /// What stands behind the `=`, without spaces around it.
    fn from_str(text: &str) -> Result<Self, ()> {
        todo!("`strip_prefix('\"')`, and `parse::<i64>()` before `parse::<f64>()`")
    }
}

/// The settings of a text in their order. What follows a `#` at the beginning of a line is a
/// comment. Lines count from 1; the first error ends the work.
pub fn parse(text: &str) -> Result<Vec<(String, Value)>, ParseError> {
    todo!("`lines()`, `split_once('=')`, and `?`")
}

/// The number of this name; None if there is none, or if it is no whole number.
pub fn find_int(settings: &[(String, Value)], key: &str) -> Option<i64> {
    todo!("`find`, then `match` or `if let`")
}

/// Read and parse a file.
pub fn load(path: &Path) -> Result<Vec<(String, Value)>, LoadError> {
    todo!("with `impl From<std::io::Error> for LoadError` you may use `?`")
}
