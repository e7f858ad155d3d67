//! `docs/unsafe.md` names every file with unsafe code, and of the programs' own the number of blocks: an argument that is
//! not there, or is of code that is gone, fails.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, reason = "tests panic")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What follows the word where a piece of code begins that the compiler does not check.
const WORDS: [&str; 4] = ["{", "impl ", "fn ", "extern "];
const LIST: &str = include_str!("../docs/unsafe.md");

/// How many such pieces `text` has; comments do not count.
fn pieces(text: &str) -> usize {
    let code = text.lines().map(|line| line.split("//").next().unwrap_or_default());
    code.flat_map(|line| line.split("unsafe ").skip(1))
        .filter(|rest| WORDS.iter().any(|word| rest.starts_with(word)))
        .count()
}

/// The files below `folder` that have some, with how many, by their names from the root on.
fn files(folder: &str) -> BTreeMap<String, usize> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let (mut found, mut left) = (BTreeMap::new(), vec![root.join(folder)]);
    while let Some(folder) = left.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.ends_with("target") && !path.ends_with("cache") {
                left.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                let count = pieces(&fs::read_to_string(path).unwrap());
                found.extend((count > 0).then_some((name, count)));
            }
        }
    }
    found
}

#[test]
fn each_file_of_the_programs_is_listed_with_the_number_of_its_blocks() {
    let listed: BTreeMap<String, usize> = LIST
        .lines()
        .filter_map(|line| line.strip_prefix("### `")?.split_once("`: "))
        .map(|(name, count)| (name.to_owned(), count.parse().unwrap()))
        .collect();
    let found = files("src");
    assert!(!found.is_empty());
    assert_eq!(listed, found, "docs/unsafe.md (left) and src (right)");
}

#[test]
fn each_file_of_tests_and_benches_is_named() {
    let found: Vec<String> = ["tests", "benches", "fuzz/src", "fuzz/fuzz_targets"]
        .map(files)
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .collect();
    assert!(!found.is_empty());
    for name in found {
        assert!(LIST.contains(&format!("`{name}`")), "docs/unsafe.md does not name {name}");
    }
}

#[test]
fn what_is_listed_is_there() {
    for name in LIST.split('`').filter(|name| name.ends_with(".rs")) {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists(), "{name} is listed and gone");
    }
}

#[test]
fn comments_and_lint_names_are_no_unsafe_code() {
    assert_eq!(pieces("// unsafe { }\n#![deny(unsafe_code)]\nlet unsafe_things = 0;\n"), 0);
    let code = "let a = UNSAFE { b };\nUNSAFE impl Send for A {}\n    UNSAFE fn c() {\n";
    assert_eq!(pieces(&code.replace("UNSAFE", "unsafe")), 3);
}
