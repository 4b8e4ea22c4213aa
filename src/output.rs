//! How the program talks: data on stdout, talk on stderr, errors with their causes and a hint.

use jobs::failure::{Class, Failure};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

/// The form in which a command prints its result.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Aligned text for people.
    #[default]
    Table,
    /// One JSON document with a `schema` field; see docs/json.md.
    Json,
    /// Nothing on stdout.
    Quiet,
}

/// Prints a failure in the way of the program: what failed, the causes, an empty line, a hint.
pub fn complain(failure: &Failure) {
    let mut stderr = std::io::stderr().lock();
    let chain = failure.chain();
    // An output nobody can read is no reason to fail differently.
    let _ = writeln!(stderr, "{} {}", paint("error:", "31;1"), chain[0]);
    for cause in &chain[1..] {
        let _ = writeln!(stderr, "  caused by: {cause}");
    }
    if let Some(hint) = failure.hint() {
        let _ = writeln!(stderr, "\n{} {hint}", paint("hint:", "36;1"));
    }
}

/// The text in colour, where the terminal wants colour.
pub fn paint(text: &str, code: &str) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some() || !std::io::stderr().is_terminal();
    if plain { text.to_owned() } else { format!("\x1b[{code}m{text}\x1b[0m") }
}

/// Prints a JSON document on stdout.
pub fn json(value: &serde_json::Value) {
    let text = serde_json::to_string_pretty(value).expect("a JSON value always prints");
    say(&text);
}

/// Prints a line of data on stdout. A closed pipe ends the program quietly, as other filters do.
pub fn say(line: &str) {
    if writeln!(std::io::stdout().lock(), "{line}").is_err() {
        std::process::exit(i32::from(Class::Failed.exit_code()));
    }
}

/// Prints a line of talk on stderr.
pub fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// The command as it was given.
pub fn command_line() -> String {
    let mut words = std::env::args_os();
    let program = words.next().map(PathBuf::from);
    let program = program.and_then(|path| Some(path.file_name()?.to_owned()));
    let words = program.into_iter().chain(words);
    words.map(|word| shell_word(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// A word as a shell takes it.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

/// Rows as aligned columns: the first and those with words in them to the left, the others to the right. Control
/// characters, which only a name can have brought, are written out, so that a row stays on its line.
pub fn table(header: &[&str], rows: &[Vec<String>]) -> String {
    let written = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    let printable = |cell: &String| cell.chars().map(written).collect::<String>();
    let rows: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(printable).collect()).collect();
    let columns = header.len();
    let cells = |column: usize| rows.iter().map(move |row| row[column].as_str());
    let widths: Vec<usize> = (0..columns)
        .map(|c| cells(c).chain([header[c]]).map(|cell| cell.chars().count()).max().unwrap_or(0))
        .collect();
    let left: Vec<bool> =
        (0..columns).map(|c| c == 0 || cells(c).any(|cell| cell.starts_with(char::is_alphabetic))).collect();
    let line = |cells: Vec<&str>| {
        let padded = cells.iter().enumerate().map(|(c, text)| {
            let fill = " ".repeat(widths[c] - text.chars().count());
            if left[c] { format!("{text}{fill}") } else { format!("{fill}{text}") }
        });
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    let mut lines = vec![line(header.to_vec())];
    lines.extend(rows.iter().map(|row| line(row.iter().map(String::as_str).collect())));
    lines.join("\n")
}

/// Bytes for people: `12.3 MB`.
pub fn bytes(count: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let mut value = count as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    if unit == 0 { format!("{count} B") } else { format!("{value:.1} {}", units[unit]) }
}

/// Milliseconds for people: `12.3 s`, `4 min 05 s`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{:.1} s", ms as f64 / 1000.0),
        60_000..3_600_000 => format!("{} min {:02} s", ms / 60_000, ms / 1000 % 60),
        _ => format!("{} h {:02} min", ms / 3_600_000, ms / 60_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_as_people_write_them() {
        assert_eq!([bytes(999), bytes(12_345_678), bytes(999_600)], ["999 B", "12.3 MB", "1.0 MB"]);
        let durations = [duration(950), duration(245_000), duration(3_660_000)];
        assert_eq!(durations, ["0.9 s", "4 min 05 s", "1 h 01 min"]);
        assert_eq!([shell_word("a/b.c"), shell_word("it's"), shell_word("")], ["a/b.c", "'it'\\''s'", "''"]);
        let rows = [["a", "1", "x"], ["bcd", "1234", "yz"]].map(|row| row.map(str::to_owned).to_vec());
        let expect = "n    reads  what\na        1  x\nbcd   1234  yz";
        assert_eq!(table(&["n", "reads", "what"], &rows), expect);
    }
}
