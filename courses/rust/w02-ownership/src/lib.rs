//! Words, owned and borrowed. Three functions are written, and the compiler refuses all three.

/// The place of a word in the list, where it is added if it is not there yet.
pub fn place_of(words: &mut Vec<String>, word: &str) -> usize {
    let last = words.last();
    for (place, known) in words.iter().enumerate() {
        if known == word {
            return place;
        }
    }
    words.push(word.to_string());
    if last.is_none() { 0 } else { words.len() - 1 }
}

/// The longer of two texts, the first one if they are equally long.
pub fn longer(a: &str, b: &str) -> &str {
    if b.len() > a.len() { b } else { a }
}

/// All words with a mark behind them: ["sun", "moon"] and "!" give ["sun!", "moon!"].
pub fn marked(words: Vec<String>, mark: &str) -> Vec<String> {
    let mut out = Vec::new();
    for word in words {
        let mut changed = word;
        changed.push_str(mark);
        out.push(changed);
        println!("{word} is marked");
    }
    assert_eq!(out.len(), words.len());
    out
}

/// The longest word of a text, the first one of several; "" if there is none.
pub fn longest_word(text: &str) -> &str {
    todo!("`split_whitespace` gives borrowed parts; `longer` is there already")
}

/// Take the longest word out of the list; the others stay in their order.
pub fn take_longest(words: &mut Vec<String>) -> Option<String> {
    todo!("find its place first; `remove` moves a value out")
}

/// All parts in one text, with a space between.
pub fn joined(parts: &[String]) -> String {
    todo!("count the bytes first, then `String::with_capacity`")
}
