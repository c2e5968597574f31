//! Small files with one reason each; functions that can be read without scrolling.

use syn::spanned::Spanned as _;
use syn::visit::Visit;

use crate::tree::{files, none, relative};

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 60;
/// A longer one carries a comment that begins so and says why.
const REASON: &str = "// length:";

#[test]
fn no_file_is_longer_than_its_bound_without_a_reason() {
    let findings = files("", &["rs"])
        .iter()
        .map(|path| (relative(path), std::fs::read_to_string(path).unwrap()))
        .filter(|(_, text)| text.lines().count() > FILE_LINES && !text.contains(REASON))
        .map(|(name, text)| format!("{name}: {} lines", text.lines().count()))
        .collect();
    none("a file has at most 400 lines", findings);
}

struct Functions<'a> {
    file: String,
    lines: Vec<&'a str>,
    findings: Vec<String>,
}

impl Functions<'_> {
    fn check(&mut self, name: &syn::Ident, block: &syn::Block) {
        let (from, to) = (block.span().start().line, block.span().end().line);
        let reasoned = self.lines[from.saturating_sub(6)..to.min(self.lines.len())].iter().any(|l| l.contains(REASON));
        if to - from > FUNCTION_LINES && !reasoned {
            self.findings.push(format!("{}:{from} {name}: {} lines", self.file, to - from));
        }
    }
}

impl<'ast> Visit<'ast> for Functions<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.check(&item.sig.ident, &item.block);
        syn::visit::visit_item_fn(self, item);
    }
    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.check(&item.sig.ident, &item.block);
        syn::visit::visit_impl_item_fn(self, item);
    }
}

#[test]
fn no_function_is_longer_than_its_bound_without_a_reason() {
    let mut findings = Vec::new();
    for path in files("", &["rs"]) {
        let text = std::fs::read_to_string(&path).unwrap();
        let parsed = syn::parse_file(&text).unwrap_or_else(|e| panic!("{}: {e}", relative(&path)));
        let mut functions = Functions { file: relative(&path), lines: text.lines().collect(), findings: Vec::new() };
        functions.visit_file(&parsed);
        findings.append(&mut functions.findings);
    }
    none("a function has at most 60 lines", findings);
}
