//! Where a statement ends: at a `;` outside quotes and comments.

/// What the reader is inside of.
#[derive(Clone, Copy, PartialEq)]
enum Inside {
    Nothing,
    /// `'text'` or `"identifier"`; a doubled quote leaves and enters again, which is the same.
    Quote(char),
    LineComment,
    BlockComment,
}

/// Complete statements without their `;`, and what follows the last one.
pub fn split(text: &str) -> (Vec<String>, String) {
    let (mut statements, mut current, mut inside) = (Vec::new(), String::new(), Inside::Nothing);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let next = characters.peek().copied();
        if inside == Inside::Nothing && character == ';' {
            let statement = std::mem::take(&mut current);
            if !is_blank(&statement) {
                statements.push(statement.trim().to_owned());
            }
            continue;
        }
        current.push(character);
        inside = match (inside, character, next) {
            (Inside::Nothing, '\'' | '"', _) => Inside::Quote(character),
            (Inside::Nothing, '-', Some('-')) => Inside::LineComment,
            (Inside::Nothing, '/', Some('*')) => {
                current.extend(characters.next());
                Inside::BlockComment
            }
            (Inside::Quote(open), close, _) if open == close => Inside::Nothing,
            (Inside::LineComment, '\n', _) => Inside::Nothing,
            (Inside::BlockComment, '*', Some('/')) => {
                current.extend(characters.next());
                Inside::Nothing
            }
            (same, _, _) => same,
        };
    }
    if is_blank(&current) && inside == Inside::Nothing {
        current.clear();
    }
    (statements, current)
}

/// Nothing but space and comments to the end of their lines.
fn is_blank(text: &str) -> bool {
    text.lines().all(|line| line.trim().is_empty() || line.trim().starts_with("--"))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn a_semicolon_in_quotes_or_comments_ends_nothing() {
        let (done, rest) = split("select ';' as \"a;b\" -- no; end\n, 2 /* ; */;\n select 'it''s;' ; select 3");
        assert_eq!(done, ["select ';' as \"a;b\" -- no; end\n, 2 /* ; */", "select 'it''s;'"]);
        assert_eq!(rest.trim(), "select 3");
    }

    #[test]
    fn empty_statements_are_no_statements() {
        assert_eq!(split(";; -- note\n ;"), (vec![], String::new()));
        assert_eq!(split("select 'open ;").1, "select 'open ;");
    }
}
