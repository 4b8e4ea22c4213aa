//! `wakachi policy vectors` answers tables of decisions as an independent oracle did, whether or not it is told what that
//! expected.

#[path = "program/wakachi.rs"]
mod wakachi;

use std::fs;
use wakachi::{folder, shared, text, wakachi};

/// Columns that a table of each kind expects, as the answer's columns (id, verdict, reasons, obligations).
const TABLES: [(&str, &[(&str, usize)]); 3] = [
    ("consent", &[("verdict", 1), ("reasons", 2)]),
    ("duo", &[("verdict", 1), ("reasons", 2), ("obligations", 3)]),
    ("placement", &[("refused", 2), ("sites_ok", 3)]),
];

/// The cells of a row, in which a quoted cell may hold commas.
fn cells(row: &str) -> Vec<String> {
    let mut cells = vec![String::new()];
    let mut quoted = false;
    for character in row.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => cells.push(String::new()),
            _ => cells.last_mut().expect("one at least").push(character),
        }
    }
    cells
}

fn rows(table: &str) -> Vec<Vec<String>> {
    table.lines().map(cells).collect()
}

fn written(rows: &[Vec<String>]) -> String {
    let quoted = |cell: &String| if cell.contains(',') { format!("\"{cell}\"") } else { cell.clone() };
    rows.iter().map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(",") + "\n").collect()
}

#[test]
fn every_row_is_decided_as_the_oracle_did() {
    let folder = folder();
    for (name, expected) in TABLES {
        let Some(path) = shared(&format!("vectors/governance/{name}_vectors.csv")) else { return };
        let said = wakachi(&["policy", "vectors", text(&path)]).ok();
        let (mut table, answers) = (rows(&fs::read_to_string(&path).unwrap()), rows(&said.stdout));
        assert_eq!(answers[0], ["id", "verdict", "reasons", "obligations"]);
        assert_eq!(answers.len(), table.len(), "{name}");
        let column = |name: &str| table[0].iter().position(|column| column == name).expect("a column");
        let columns: Vec<_> = expected.iter().map(|&(name, answer)| (column(name), answer)).collect();
        for (row, answer) in table.iter().zip(&answers).skip(1) {
            assert_eq!(row[0], answer[0]);
            for &(at, answered) in &columns {
                assert_eq!(row[at], answer[answered], "{name}: {row:?}");
            }
        }

        let wrong = folder.path().join(format!("{name}-wrong.csv"));
        let (row, cell) = (table.len() / 2, columns[0].0);
        let id = table[row][0].clone();
        let right = std::mem::replace(&mut table[row][cell], "SOMETHING_ELSE".to_owned());
        fs::write(&wrong, written(&table)).unwrap();
        let said = wakachi(&["policy", "vectors", text(&wrong)]);
        assert!(matches!(said.code, Some(1 | 3)), "{:?}: {}", said.code, said.stderr);
        assert!(
            said.stderr.contains(&id) || said.stderr.contains(&format!(":{}:", row + 1)),
            "{}",
            said.stderr
        );
        table[row][cell] = right;

        // Rows whose answers are kept apart come without the columns for them.
        for row in &mut table {
            let mut at = 0;
            row.retain(|_| {
                at += 1;
                !columns.iter().any(|(column, _)| *column == at - 1)
            });
        }
        let apart = folder.path().join(format!("{name}-apart.csv"));
        fs::write(&apart, written(&table)).unwrap();
        assert_eq!(rows(&wakachi(&["policy", "vectors", text(&apart)]).ok().stdout), answers, "{name}");
    }
}
