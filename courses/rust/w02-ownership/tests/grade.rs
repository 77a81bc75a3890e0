use ownership::*;

fn owned(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| word.to_string()).collect()
}

/// Whether a part is borrowed from a text, and not a copy of it.
fn lies_inside(part: &str, text: &str) -> bool {
    text.as_bytes().as_ptr_range().contains(&part.as_ptr())
}

#[test]
fn a_word_is_added_once() {
    let mut words = Vec::new();
    let places: Vec<usize> =
        ["sun", "moon", "sun"].iter().map(|word| place_of(&mut words, word)).collect();
    assert_eq!(places, [0, 1, 0], "places of sun, moon, sun");
    assert_eq!(words, ["sun", "moon"], "the list behind it");
}

#[test]
fn the_longer_of_two_is_borrowed() {
    let (short, long) = (String::from("sun"), String::from("moon"));
    assert!(lies_inside(longer(&short, &long), &long), "moon is longer, and borrowed");
    assert_eq!(longer("a", "b"), "a", "equally long: the first");
}

#[test]
fn the_longest_word_lies_inside_the_text() {
    let text = String::from("  rain and water fall ");
    let found = longest_word(&text);
    assert_eq!(found, "water", "in {text:?}");
    assert!(lies_inside(found, &text), "the answer is a copy");
    assert_eq!(longest_word(" "), "", "there is no word");
    assert_eq!(longest_word("one two"), "one", "equally long: the first");
}

#[test]
fn marked_words_keep_their_memory() {
    let mut word = String::with_capacity(100);
    word.push_str("sun");
    let place = word.as_ptr();
    let out = marked(vec![word, String::from("moon")], "!");
    assert_eq!(out, ["sun!", "moon!"], "the words with their mark");
    assert_eq!(out[0].as_ptr(), place, "there was room behind the word, and yet it was copied");
}

#[test]
fn the_longest_is_moved_out() {
    let mut words = owned(&["sun", "planet", "moon", "comets"]);
    let place = words[1].as_ptr();
    let taken = take_longest(&mut words).expect("there are words in the list");
    assert_eq!(taken.as_ptr(), place, "the word was copied instead of moved");
    assert_eq!(words, ["sun", "moon", "comets"], "what is left");
    assert_eq!(take_longest(&mut Vec::new()), None, "of an empty list");
}

#[test]
fn joining_allocates_once() {
    let text = joined(&owned(&["all", "that", "is"]));
    assert_eq!(text, "all that is", "with one space between");
    assert_eq!(text.capacity(), text.len(), "the text has grown on the way");
    assert_eq!(joined(&[]), "", "of nothing");
}

#[test]
fn nothing_is_cloned() {
    let source = include_str!("../src/lib.rs");
    assert!(!source.contains("todo!("), "write all functions first");
    for word in [".clone()", ".to_owned()", "format!", "Rc<"] {
        assert!(!source.contains(word), "it can be done without `{word}`");
    }
}
