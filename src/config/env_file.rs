//! `.env`, read literally: what stands there is what is meant.
//!
//! No `$` expansion and no inline comments, because both silently change a secret (`pa$A` became
//! `pa` in a popular reader). One matching pair of outer quotes is removed; that is all.

use std::collections::BTreeMap;

/// Reads the lines of a `.env` file.
///
/// **Errors**: a sentence that names the line.
pub(super) fn parse(bytes: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let before = bytes.split_at(error.valid_up_to()).0;
        format!("line {} is not UTF-8", before.split(|byte| *byte == b'\n').count())
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut variables = BTreeMap::new();
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.contains('\0') {
            return Err(format!("line {number} contains a NUL byte"));
        }
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        // The whole line may be a secret with its name forgotten: it is never shown.
        let Some((name, value)) = line.split_once('=') else {
            return Err(format!("line {number} has no `=`; expected `NAME=value`"));
        };
        let name = name.strip_prefix("export ").unwrap_or(name).trim();
        if !is_name(name) {
            return Err(format!("line {number} does not begin with a variable's name and `=`"));
        }
        if variables.insert(name.to_owned(), unquoted(value.trim()).to_owned()).is_some() {
            return Err(format!("line {number} sets `{name}` a second time"));
        }
    }
    Ok(variables)
}

fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        let inner = value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        if let Some(inner) = inner {
            return inner;
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn values_are_literal() {
        let file = b"\xef\xbb\xbfA=pa$A\r\nB=\"x # y\"\r\n# c\r\n\nC='it''s'\nD= z # w\nexport E=1\nF=\"\n";
        let read = parse(file).unwrap();
        let value = |name: &str| read[name].as_str();
        assert_eq!(value("A"), "pa$A");
        assert_eq!(value("B"), "x # y");
        assert_eq!(value("C"), "it''s");
        assert_eq!(value("D"), "z # w");
        assert_eq!(value("E"), "1");
        assert_eq!(value("F"), "\"");
    }

    #[test]
    fn what_is_not_a_line_of_a_variable_is_named_without_its_text() {
        for (file, expected) in [
            (&b"A=1\nsecret"[..], "line 2 has no `=`; expected `NAME=value`"),
            (b"A=1\nA=2", "line 2 sets `A` a second time"),
            (b"A=1\0", "line 1 contains a NUL byte"),
            (b"A=1\n\xff=2", "line 2 is not UTF-8"),
            (b"A B=1", "line 1 does not begin with a variable's name and `=`"),
        ] {
            assert_eq!(parse(file).unwrap_err(), expected);
        }
    }
}
