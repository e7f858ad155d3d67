//! The lines on the command port.
//!
//! The host writes `NUMBER COMMAND [ARGUMENTS]`; the guest answers each such line with exactly one line,
//! `@seat NUMBER OK VALUE` or `@seat NUMBER ERR REASON`, where VALUE is JSON. When the guest is up, and again after each
//! reboot, it says `@seat READY` without being asked.

use serde_json::{Value, json};

/// What every line of ours starts with.
pub const PREFIX: &str = "@seat ";

/// What the guest says when it takes commands.
pub const READY: &str = "@seat READY";

/// What the guest is to run: the argument of its command `exec`, as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The folder to start in.
    pub folder: String,
    /// A path, or a name that the PATH finds.
    pub program: String,
    pub arguments: Vec<String>,
    /// All of the environment besides PATH and HOME.
    pub environment: Vec<(String, String)>,
}

impl Order {
    /// A program with its arguments, started in `/`, in an empty environment.
    pub fn new(program: &str, arguments: &[&str]) -> Self {
        Order {
            folder: "/".to_owned(),
            program: program.to_owned(),
            arguments: arguments.iter().map(|&argument| argument.to_owned()).collect(),
            environment: Vec::new(),
        }
    }

    pub fn encode(&self) -> String {
        let environment: serde_json::Map<_, _> =
            self.environment.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let order = json!({
            "folder": self.folder, "program": self.program, "arguments": self.arguments, "environment": environment,
        });
        order.to_string()
    }

    pub fn decode(text: &str) -> Option<Self> {
        let order: Value = serde_json::from_str(text).ok()?;
        let string = |value: &Value| value.as_str().map(str::to_owned);
        let environment = order["environment"].as_object()?;
        Some(Order {
            folder: string(&order["folder"])?,
            program: string(&order["program"])?,
            arguments: order["arguments"].as_array()?.iter().map(string).collect::<Option<_>>()?,
            environment: environment
                .iter()
                .map(|(name, value)| Some((name.clone(), string(value)?)))
                .collect::<Option<_>>()?,
        })
    }
}

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
    fn an_order_comes_back_as_it_was_given() {
        let order = Order {
            folder: "/a folder".to_owned(),
            program: "sh".to_owned(),
            arguments: vec!["-c".to_owned(), "echo \"two\nlines\"".to_owned()],
            environment: vec![("A".to_owned(), String::new()), ("B".to_owned(), "x=y".to_owned())],
        };
        assert!(!order.encode().contains('\n'));
        assert_eq!(Order::decode(&order.encode()), Some(order));
        assert_eq!(Order::decode("{}"), None);
    }

    #[test]
    fn other_lines_are_no_answers() {
        for line in ["", READY, "[    1.0] @seat 1 OK", "@seat x OK 1", "@seat 1 MAYBE"] {
            assert_eq!(decode(line), None, "{line}");
        }
    }
}
