//! Substitutions: a pattern, a template and a text, a line each. What was matched is never a template.

use ferrix_fuzz::Corpus;
use ferrix_rule::{Substitution, TooLong};

const WORDS: &[&str] = &[
    "\n", "$", "$$", "$1", "${1}", "${a}", "${", "}", "$0", "(", ")", "(?P<a>", "(?i:", ".*",
    "a+?", "|", "[^/]", "^", "{1000}", "/", "/api", "a", "ä", "\\b", "%2F", "",
];

const LONGEST: usize = 1000;

#[test]
fn substitution() {
    fuzz!(Corpus::read("substitution", WORDS), property);
}

fn property(input: &[u8]) {
    let Ok(input) = std::str::from_utf8(input) else {
        return;
    };
    let mut lines = input.splitn(3, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (pattern, template, text) = (line(), line(), line());
    let Ok(substitution) = Substitution::new(pattern, template) else {
        return;
    };
    let replaced = substitution.apply(text, LONGEST);
    if let Ok(Some(replaced)) = &replaced {
        assert!(replaced.len() <= LONGEST);
    }
    // The text in place of itself, whatever it looks like.
    let whole = Substitution::new("(?s)^(.*)$", "$1").unwrap();
    let expected = match text.len() <= LONGEST {
        true => Ok(Some(text.to_owned())),
        false => Err(TooLong),
    };
    assert_eq!(whole.apply(text, LONGEST), expected);
    // Where nothing matches, with one template as with another.
    let literal = template.replace('$', "$$");
    let literal = Substitution::new(pattern, &literal).unwrap();
    let none = |replaced: &Result<Option<String>, TooLong>| matches!(replaced, Ok(None));
    assert_eq!(none(&literal.apply(text, usize::MAX)), none(&replaced));
}
