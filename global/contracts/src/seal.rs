//! Seals: lines of a feed that are signed together (docs/adr/0022-the-table-is-signed.md).

use sha2::{Digest as _, Sha256};

/// No document that the same keys sign begins with it: tokens and cards begin with `eyJ`, bundles with `{`.
const PURPOSE: &[u8] = b"cytoplane routing feed v1\0";

/// Lines since the last seal. Writer and reader each keep one, and end with the same statement.
#[derive(Debug, Clone, Default)]
pub struct Unsealed(Sha256);

impl Unsealed {
    /// Whole lines, each with the line feed that ends it.
    pub fn add(&mut self, lines: &[u8]) {
        self.0.update(lines);
    }

    /// What is signed for all lines so far; the next line begins anew.
    pub fn statement(&mut self) -> Vec<u8> {
        [PURPOSE, self.0.finalize_reset().as_slice()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_of_all_lines_since_the_one_before() {
        let mut unsealed = Unsealed::default();
        let mut of = |pieces: &[&str]| {
            pieces.iter().for_each(|piece| unsealed.add(piece.as_bytes()));
            unsealed.statement()
        };
        let said = of(&["one\n", "two\n"]);
        assert!(said.starts_with(PURPOSE));
        assert_eq!(said, of(&["one\ntwo\n"]));
        for other in [&["two\n", "one\n"][..], &["one\n"], &["one\n", "two"], &[]] {
            assert_ne!(said, of(other));
        }
    }
}
