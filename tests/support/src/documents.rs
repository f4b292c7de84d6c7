//! Tables of the documents that the code decides: held to it, and written by `./dev bless`.

use std::path::Path;

/// Holds the first table below `heading` in a document of the repository to `rows`; with
/// `HOLDFAST_BLESS=1` it writes them there.
pub fn check_table(document: &str, heading: &str, rows: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(document);
    let text = std::fs::read_to_string(&path).expect("the document is there");
    let rule = text
        .find(heading)
        .and_then(|at| Some(at + text[at..].find("\n|---")?));
    let rule = rule.expect("a table stands below the heading") + 1;
    let from = rule + text[rule..].find('\n').expect("the table has rows") + 1;
    let lines = text[from..].split_inclusive('\n');
    let length: usize = lines
        .take_while(|line| line.starts_with('|'))
        .map(str::len)
        .sum();
    let (above, below) = text.split_at(from);
    let (found, after) = below.split_at(length);
    let wanted = format!("{}\n", rows.join("\n"));
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        std::fs::write(&path, [above, &wanted, after].concat()).expect("the document is writable");
        return;
    }
    assert_eq!(
        found, wanted,
        "{document}, below {heading:?}: `./dev bless` writes the rows"
    );
}
