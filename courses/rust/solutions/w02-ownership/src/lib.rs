//! Words, owned and borrowed.

/// The place of a word in the list, where it is added if it is not there yet.
pub fn place_of(words: &mut Vec<String>, word: &str) -> usize {
    for (place, known) in words.iter().enumerate() {
        if known == word {
            return place;
        }
    }
    words.push(word.to_string());
    words.len() - 1
}

/// The longer of two texts, the first one if they are equally long.
pub fn longer<'a>(a: &'a str, b: &'a str) -> &'a str {
    if b.len() > a.len() { b } else { a }
}

/// All words with a mark behind them: ["sun", "moon"] and "!" give ["sun!", "moon!"].
pub fn marked(words: Vec<String>, mark: &str) -> Vec<String> {
    let mut out = Vec::with_capacity(words.len());
    for mut word in words {
        word.push_str(mark);
        out.push(word);
    }
    out
}

/// The longest word of a text, the first one of several; "" if there is none.
pub fn longest_word(text: &str) -> &str {
    let mut longest = "";
    for word in text.split_whitespace() {
        longest = longer(longest, word);
    }
    longest
}

/// Take the longest word out of the list; the others stay in their order.
pub fn take_longest(words: &mut Vec<String>) -> Option<String> {
    if words.is_empty() {
        return None;
    }
    let mut longest = 0;
    for place in 1..words.len() {
        if words[place].len() > words[longest].len() {
            longest = place;
        }
    }
    Some(words.remove(longest))
}

/// All parts in one text, with a space between.
pub fn joined(parts: &[String]) -> String {
    let letters: usize = parts.iter().map(String::len).sum();
    let mut text = String::with_capacity(letters + parts.len().saturating_sub(1));
    for (place, part) in parts.iter().enumerate() {
        if place > 0 {
            text.push(' ');
        }
        text.push_str(part);
    }
    text
}
