//! The lines on the command port.
//!
//! The host writes `NUMBER COMMAND [ARGUMENTS]`; the guest answers each such line with exactly one line,
//! `@seat NUMBER OK VALUE` or `@seat NUMBER ERR REASON`, where VALUE is JSON. When the guest is up, and again after each
//! reboot, it says `@seat READY` without being asked.

/// What every line of ours starts with.
pub const PREFIX: &str = "@seat ";

/// What the guest says when it takes commands.
pub const READY: &str = "@seat READY";

/// Writes the answer to command `number` as one line, without its end.
pub fn encode(number: u64, result: &Result<String, String>) -> String {
    let (word, text) = match result {
        Ok(value) => ("OK", value),
        Err(reason) => ("ERR", reason),
    };
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    format!("{PREFIX}{number} {word} {line}")
}

/// Reads an answer: the number and the outcome; `None` for a line that is no answer.
pub fn decode(line: &str) -> Option<(u64, Result<String, String>)> {
    let rest = line.trim_end().strip_prefix(PREFIX)?;
    let (number, rest) = rest.split_once(' ')?;
    let (word, text) = rest.split_once(' ').unwrap_or((rest, ""));
    let number = number.parse().ok()?;
    match word {
        "OK" => Some((number, Ok(text.to_owned()))),
        "ERR" => Some((number, Err(text.to_owned()))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_come_back_as_they_were_given() {
        let ok = Ok("{\"a\":1}".to_owned());
        assert_eq!(decode(&encode(7, &ok)), Some((7, ok)));
        assert_eq!(decode(&encode(8, &Err("two\nlines".into()))), Some((8, Err("two lines".into()))));
    }

    #[test]
    fn other_lines_are_no_answers() {
        for line in ["", READY, "[    1.0] @seat 1 OK", "@seat x OK 1", "@seat 1 MAYBE"] {
            assert_eq!(decode(line), None, "{line}");
        }
    }
}
