//! Tests prove something: none is switched off, none waits by the clock.

use crate::tree::{files, none, relative};

#[test]
fn no_test_is_ignored_and_no_code_is_unfinished() {
    let marks = [["#[ig", "nore"].concat(), ["to", "do!("].concat(), ["unimple", "mented!("].concat()];
    let mut findings = Vec::new();
    for path in files("", &["rs"]) {
        let text = std::fs::read_to_string(&path).unwrap();
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark.as_str())) {
                findings.push(format!("{}:{}", relative(&path), number + 1));
            }
        }
    }
    none("no ignored test, nothing unfinished", findings);
}

#[test]
fn no_test_file_sleeps() {
    let mark = ["sle", "ep("].concat();
    let mut findings = Vec::new();
    for path in files("", &["rs", "py"]) {
        let name = relative(&path);
        if !name.contains("/tests") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().enumerate().filter(|(_, line)| line.contains(&mark));
        findings.extend(lines.map(|(number, _)| format!("{name}:{}", number + 1)));
    }
    none("a test waits for a condition, never for the clock", findings);
}
