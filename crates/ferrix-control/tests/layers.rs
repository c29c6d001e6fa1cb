//! Files import what is below them and never what is above: there is no circle.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

#[test]
fn no_file_imports_itself_by_way_of_others() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    // Files of the crate, a folder counting with the file of its name; then those of its largest
    // folder among themselves.
    assert_no_circle(&imports(&source, "crate::"), 25);
    assert_no_circle(&imports(&source.join("kubernetes"), "super::"), 8);
}

/// What each module in a folder imports of the others.
fn imports(folder: &Path, from: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut imports = BTreeMap::new();
    for file in files(folder) {
        let module = file.strip_prefix(folder).expect("inside").iter().next();
        let module = module.expect("a name").to_string_lossy();
        let module = module.trim_end_matches(".rs").to_owned();
        let text = fs::read_to_string(&file).expect("source");
        let text = text
            .split("#[cfg(test)]\nmod tests {")
            .next()
            .expect("some");
        let named: &mut BTreeSet<String> = imports.entry(module.clone()).or_default();
        named.extend(named_after(text, from));
        named.remove(&module);
    }
    let modules: BTreeSet<String> = imports.keys().cloned().collect();
    for named in imports.values_mut() {
        named.retain(|name| modules.contains(name));
    }
    imports
}

/// Source files but for tests, the file of the crate and files in folders of tests.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        if path.is_dir() {
            files.extend(self::files(&path));
        } else if name.ends_with(".rs") && name != "tests.rs" && name != "lib.rs" {
            files.push(path);
        }
    }
    files
}

/// The modules that follow `crate::` or `super::`, alone or in braces.
fn named_after(text: &str, from: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (place, _) in text.match_indices(from) {
        let rest = &text[place + from.len()..];
        match rest.strip_prefix('{') {
            None => drop(named.insert(identifier(rest))),
            Some(list) => {
                let mut depth = 0;
                let mut first = true;
                for (place, letter) in list.char_indices() {
                    match letter {
                        '{' => depth += 1,
                        '}' if depth == 0 => break,
                        '}' => depth -= 1,
                        ',' if depth == 0 => first = true,
                        _ if first && depth == 0 && !letter.is_whitespace() => {
                            named.insert(identifier(&list[place..]));
                            first = false;
                        }
                        _ => {}
                    }
                }
            }
        }
    }
    named
}

fn identifier(text: &str) -> String {
    let inside = |letter: &char| letter.is_alphanumeric() || *letter == '_';
    text.chars().take_while(inside).collect()
}

/// Takes away whatever imports nothing that is left, until nothing is left.
fn assert_no_circle(imports: &BTreeMap<String, BTreeSet<String>>, least: usize) {
    assert!(imports.len() >= least, "only {:?}", imports.keys());
    let arrows: usize = imports.values().map(BTreeSet::len).sum();
    assert!(arrows >= least, "only {arrows} imports were found");
    let mut left = imports.clone();
    while !left.is_empty() {
        let gone: BTreeSet<String> = (left.iter())
            .filter(|(_, named)| named.iter().all(|name| !left.contains_key(name)))
            .map(|(module, _)| module.clone())
            .collect();
        assert!(!gone.is_empty(), "there is a circle among {left:#?}");
        left.retain(|module, _| !gone.contains(module));
    }
}
