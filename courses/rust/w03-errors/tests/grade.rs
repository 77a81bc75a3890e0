use std::error::Error;
use std::path::PathBuf;

use settings::*;

const FILE: &str =
    "# of a training\n\nsteps = 1500\n  rate=0.014\nname = \"tiny = small\"\nquick = false\n";

#[test]
fn values_are_of_four_kinds() {
    let cases = [
        ("true", Value::Flag(true)),
        ("-42", Value::Int(-42)),
        ("1e-3", Value::Float(0.001)),
        ("\"42\"", Value::Text("42".into())),
        ("\"\"", Value::Text(String::new())),
    ];
    for (text, value) in cases {
        assert_eq!(text.parse(), Ok(value), "of {text}");
    }
    for text in ["", "abc", "True", "\"", "\"open", "\"a\"b\"", "NaN", "1 2"] {
        assert_eq!(text.parse::<Value>(), Err(()), "`{text}` is no value");
    }
}

#[test]
fn comments_and_empty_lines_are_passed_over() {
    let found = parse(FILE).expect("the file is valid");
    let keys: Vec<&str> = found.iter().map(|(key, _)| key.as_str()).collect();
    assert_eq!(keys, ["steps", "rate", "name", "quick"], "keys in their order, without spaces");
    assert_eq!(found[2].1, Value::Text("tiny = small".into()), "only the first `=` divides");
}

#[test]
fn errors_name_their_line() {
    let line = 3;
    assert_eq!(parse("\na = 1\nb 2"), Err(ParseError::NoEquals { line }), "no `=`");
    let bad = ParseError::BadValue { line, text: "two".into() };
    assert_eq!(parse("\na = 1\nb = two"), Err(bad), "no value");
    let twice = ParseError::Twice { line, key: "a".into() };
    assert_eq!(parse("\na = 1\na = 2"), Err(twice), "the same key again");
}

#[test]
fn errors_are_sentences() {
    let said = [
        ParseError::NoEquals { line: 3 }.to_string(),
        ParseError::BadValue { line: 4, text: "abc".into() }.to_string(),
        ParseError::Twice { line: 5, key: "steps".into() }.to_string(),
    ];
    let wanted =
        ["line 3: there is no `=`", "line 4: `abc` is no value", "line 5: `steps` is there twice"];
    assert_eq!(said, wanted, "the words");
}

#[test]
fn the_first_error_ends_it() {
    let text = "a = 1\nb\nc = nothing\n";
    assert_eq!(parse(text), Err(ParseError::NoEquals { line: 2 }), "line 2 comes before line 3");
}

#[test]
fn looking_up_a_number() {
    let found = parse(FILE).expect("the file is valid");
    assert_eq!(find_int(&found, "steps"), Some(1500), "steps");
    assert_eq!(find_int(&found, "rate"), None, "0.014 is no whole number");
    assert_eq!(find_int(&found, "seed"), None, "there is no seed");
}

fn file(name: &str, content: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("airust-w03-{}-{name}", std::process::id()));
    std::fs::write(&path, content).expect("a file in the folder for temporary files");
    path
}

#[test]
fn a_file_that_is_not_there() {
    let error = load(&std::env::temp_dir().join("airust-w03-nothing")).expect_err("no such file");
    assert!(matches!(error, LoadError::File(_)), "found {error:?}");
    assert!(error.source().is_some(), "`source` should give the error of the file system");
}

#[test]
fn a_file_with_a_mistake_keeps_its_cause() {
    let (good, bad) = (file("good", FILE), file("bad", "steps: 3\n"));
    let (settings, error) = (load(&good), load(&bad));
    for path in [good, bad] {
        std::fs::remove_file(path).expect("the file can be removed");
    }
    assert_eq!(settings.expect("the good file loads").len(), 4, "settings in the good file");
    let error = error.expect_err("the bad file is refused");
    let cause = error.source().expect("`source` gives the ParseError");
    assert_eq!(cause.to_string(), "line 1: there is no `=`", "the cause");
}
