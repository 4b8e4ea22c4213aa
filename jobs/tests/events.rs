//! The events against the programme's own table of them.

use jobs::event::EventName;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The programme's event table, where it is at hand.
fn event_table() -> Option<String> {
    let shared = std::env::var_os("WAKACHI_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"));
    fs::read_to_string(shared.join("vectors/governance/EVENTS.md")).ok()
}

/// `a.b / .c / d.e (words)` as `a.b`, `a.c`, `d.e`.
fn names_of(cell: &str) -> Vec<String> {
    let mut group = String::new();
    let of = |name: &str| {
        let name = name.split_whitespace().next().unwrap_or("");
        match name.strip_prefix('.') {
            Some(last) => format!("{group}.{last}"),
            None => {
                group = name.split('.').next().unwrap_or("").to_owned();
                name.to_owned()
            }
        }
    };
    cell.split('/').map(str::trim).filter(|name| name.contains('.')).map(of).collect()
}

/// Numbers of six digits in each part of the cell between slashes; all of them are those of every event if there are
/// not as many parts as events.
fn type_uids_of(cell: &str, names: usize) -> Vec<Vec<u32>> {
    let numbers = |part: &str| -> Vec<u32> {
        let words = part.split(|c: char| !c.is_ascii_digit()).filter(|word| word.len() == 6);
        words.map(|word| word.parse().unwrap()).collect()
    };
    let parts: Vec<&str> = cell.split('/').filter(|part| !numbers(part).is_empty()).collect();
    match parts.len() {
        parts_count if parts_count == names => parts.into_iter().map(numbers).collect(),
        _ => {
            assert_eq!(parts.len(), 1, "{cell}");
            vec![numbers(parts[0]); names]
        }
    }
}

#[test]
fn every_row_of_the_event_table_is_here_and_nothing_else() {
    let Some(table) = event_table() else { return eprintln!("skipped: no event table in ../shared") };
    let rows = table.lines().skip_while(|line| !line.starts_with("| event |")).skip(2);
    let mut expect = BTreeMap::new();
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.split('|').collect();
        let names = names_of(cells[1]);
        let type_uids = type_uids_of(cells[2], names.len());
        expect.extend(names.into_iter().zip(type_uids));
    }
    let own = EventName::ALL.iter().map(|event| (event.name().to_owned(), event.type_uids().to_vec()));
    assert_eq!(own.collect::<BTreeMap<_, _>>(), expect);
    assert_eq!(EventName::ALL.len(), expect.len());
}
