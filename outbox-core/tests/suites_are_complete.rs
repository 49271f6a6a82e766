//! Every check that is written is also run by the macro of its suite.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

#[test]
fn every_check_is_in_the_list_of_its_suite() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/conformance");
    for suite in ["store", "admin", "transport", "inbox", "enqueued_in", "corrupt"] {
        let (list, sources) = files(&root, suite);
        let written: BTreeSet<String> = sources.iter().flat_map(|source| checks(source)).collect();
        let listed = listed(&list);
        assert!(written.len() > 2, "the suite {suite} has checks");
        assert_eq!(written, listed, "the checks that {suite} has, and those that its macro lists");
    }
}

/// The text with the macro, and the texts with the checks.
fn files(root: &Path, suite: &str) -> (String, Vec<String>) {
    let read = |path: PathBuf| fs::read_to_string(path).expect("the sources of the suite can be read");
    let folder = root.join(suite);
    if !folder.is_dir() {
        let text = read(root.join(format!("{suite}.rs")));
        return (text.clone(), vec![text]);
    }
    let entries = fs::read_dir(&folder).expect("the folder of the suite can be read");
    let sources = entries.map(|entry| read(entry.expect("an entry can be read").path())).collect();
    (read(folder.join("mod.rs")), sources)
}

fn checks(source: &str) -> Vec<String> {
    let declared = source.lines().filter_map(|line| line.strip_prefix("pub async fn "));
    let names = declared.filter_map(|rest| rest.split('<').next()).map(str::to_owned);
    // Takes a seed, so it is called by hand.
    names.filter(|name| name != "run_by_chance").collect()
}

fn listed(source: &str) -> BTreeSet<String> {
    let after = source.split_once("[$($check = $why),*],").expect("the macro passes its exceptions on").1;
    let list = after.split_once('[').and_then(|(_, rest)| rest.split_once(']')).expect("then its list").0;
    list.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}
