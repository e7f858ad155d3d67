//! What Rust's test runner prints, read back: one line for each test, then what the failed ones had to say.

use std::collections::HashMap;

/// How one test ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Ok,
    Ignored,
    /// With what was captured of it.
    Failed(String),
}

/// The outcome of each test by its name, as a run with `--test-threads=1` prints it. A test that was begun and has no
/// outcome is not in it: the program ended there.
pub fn outcomes(output: &str) -> HashMap<String, Outcome> {
    let mut all = HashMap::new();
    for line in output.lines() {
        let Some((name, word)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... ")) else {
            continue;
        };
        let outcome = match word {
            "ok" => Outcome::Ok,
            "FAILED" => Outcome::Failed(captured(output, name)),
            _ if word.starts_with("ignored") => Outcome::Ignored,
            _ => continue,
        };
        // "should panic" and the like stand behind the name.
        let name = name.split(" - ").next().unwrap_or(name);
        all.insert(name.to_owned(), outcome);
    }
    all
}

/// What stands under the heading of a failed test, up to the next heading or the list of names.
fn captured(output: &str, name: &str) -> String {
    let heading = format!("---- {name} stdout ----\n");
    let Some((_, text)) = output.split_once(&heading) else { return String::new() };
    let end = ["\n---- ", "\nfailures:\n"].iter().filter_map(|end| text.find(end)).min();
    text[..end.unwrap_or(text.len())].trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: &str = "
running 4 tests
test a::good ... ok
test a::bad ... FAILED
test worse ... FAILED
test left ... ignored, for a reason

failures:

---- a::bad stdout ----

thread 'a::bad' panicked at x.rs:1:1:
one
two

---- worse stdout ----

three


failures:
    a::bad
    worse

test result: FAILED. 1 passed; 2 failed; 1 ignored
";

    #[test]
    fn each_test_has_its_outcome_and_its_words() {
        let all = outcomes(RUN);
        assert_eq!(all.len(), 4);
        assert_eq!(all["a::good"], Outcome::Ok);
        assert_eq!(all["left"], Outcome::Ignored);
        assert_eq!(all["a::bad"], Outcome::Failed("\nthread 'a::bad' panicked at x.rs:1:1:\none\ntwo".to_owned()));
        assert_eq!(all["worse"], Outcome::Failed("\nthree".to_owned()));
    }

    #[test]
    fn a_test_in_which_the_program_ended_has_none() {
        let all = outcomes("test first ... ok\ntest second ... ");
        assert_eq!(all.keys().collect::<Vec<_>>(), ["first"]);
    }
}
