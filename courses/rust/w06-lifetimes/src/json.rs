//! As much JSON as the header of a safetensors file holds. Given; you need not change it.

#[derive(Debug, Clone, PartialEq)]
pub enum Json {
    Object(Vec<(String, Json)>),
    Array(Vec<Json>),
    Text(String),
    Number(u64),
}

impl Json {
    /// The value of this name in an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(entries) => entries.iter().find(|(key, _)| key == name).map(|(_, v)| v),
            _ => None,
        }
    }

    /// The numbers of an array that holds nothing else.
    pub fn numbers(&self) -> Option<Vec<u64>> {
        let Json::Array(items) = self else { return None };
        items.iter().map(|item| if let Json::Number(n) = item { Some(*n) } else { None }).collect()
    }
}

/// Read a text; None if it is not JSON, or holds what no header has (fractions, escapes, null).
pub fn parse(text: &str) -> Option<Json> {
    let mut rest = text;
    let value = value(&mut rest)?;
    rest.trim().is_empty().then_some(value)
}

fn take(rest: &mut &str, sign: char) -> Option<()> {
    *rest = rest.trim_start().strip_prefix(sign)?;
    Some(())
}

fn text(rest: &mut &str) -> Option<String> {
    take(rest, '"')?;
    let (inner, behind) = rest.split_once('"')?;
    *rest = behind;
    (!inner.contains('\\')).then(|| inner.to_string())
}

fn value(rest: &mut &str) -> Option<Json> {
    match rest.trim_start().chars().next()? {
        '{' => {
            take(rest, '{')?;
            let entry = |rest: &mut &str| {
                let key = text(rest)?;
                take(rest, ':')?;
                Some((key, value(rest)?))
            };
            Some(Json::Object(list(rest, '}', entry)?))
        }
        '[' => {
            take(rest, '[')?;
            Some(Json::Array(list(rest, ']', value)?))
        }
        '"' => text(rest).map(Json::Text),
        _ => {
            *rest = rest.trim_start();
            let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
            let (number, behind) = rest.split_at(digits);
            *rest = behind;
            number.parse().ok().map(Json::Number)
        }
    }
}

/// Items with commas between, up to and with the closing sign.
fn list<T>(rest: &mut &str, end: char, item: impl Fn(&mut &str) -> Option<T>) -> Option<Vec<T>> {
    let mut items = Vec::new();
    if take(rest, end).is_some() {
        return Some(items);
    }
    loop {
        items.push(item(rest)?);
        if take(rest, end).is_some() {
            return Some(items);
        }
        take(rest, ',')?;
    }
}
