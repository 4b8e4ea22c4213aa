//! Text into HTML: escaping, numbers as people read them, tables and figures.
//!
//! Invariant: every text that came from outside goes through [`escape`]; every figure has a title for those who do not
//! see it and its numbers beside it.

use std::fmt::Write;

/// The text with the five characters replaced that mean something to HTML.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            control if control.is_control() => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

/// A whole number with commas: 1,234,567.
pub fn integer(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Three significant digits and a letter: 12.3 M.
pub fn short(value: f64) -> String {
    scaled(value, &["", " k", " M", " G", " T", " P"])
}

/// A tick's label: as [`short`], without zeros that say nothing: 0.5, 1, 50 k.
pub fn tick(value: f64) -> String {
    let text = short(value);
    let (number, unit) = text.split_once(' ').map_or((text.as_str(), ""), |(number, unit)| (number, unit));
    let number =
        if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    if unit.is_empty() { number.to_owned() } else { format!("{number} {unit}") }
}

/// A size in decimal units: 12.3 MB.
pub fn bytes(value: u64) -> String {
    scaled(value as f64, &[" B", " kB", " MB", " GB", " TB", " PB"])
}

fn scaled(value: f64, units: &[&str]) -> String {
    let mut value = value;
    let mut unit = 0;
    while value.abs() >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match value.abs() {
        _ if unit == 0 && value.fract() == 0.0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{}", units[unit])
}

/// A time span from milliseconds: 850 ms, 12.3 s, 4 min 05 s, 2 h 07 min.
pub fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match seconds {
        0 => format!("{milliseconds} ms"),
        1..60 => format!("{:.1} s", milliseconds as f64 / 1000.0),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// A number with so many decimals, or a dash where there is none.
pub fn decimal(value: Option<f64>, decimals: usize) -> String {
    value.map_or_else(|| "–".to_owned(), |value| format!("{value:.decimals$}"))
}

/// A table; cells are HTML already. Columns after the first `text_columns` are numbers and stand right.
pub struct Table {
    html: String,
    text_columns: usize,
}

impl Table {
    /// A table with a caption for screen readers and column heads.
    pub fn new(caption: &str, text_columns: usize, heads: &[&str]) -> Self {
        let mut html = format!(
            "<div class=\"scroll\" tabindex=\"0\"><table><caption>{}</caption><thead><tr>",
            escape(caption)
        );
        for (index, head) in heads.iter().enumerate() {
            let class = if index < text_columns { "" } else { " class=\"n\"" };
            let _ = write!(html, "<th scope=\"col\"{class}>{}</th>", escape(head));
        }
        html.push_str("</tr></thead><tbody>\n");
        Table { html, text_columns }
    }

    /// Adds a row; the first cell heads it.
    pub fn row(&mut self, cells: &[String]) {
        self.html.push_str("<tr>");
        for (index, cell) in cells.iter().enumerate() {
            let class = if index < self.text_columns { "" } else { " class=\"n\"" };
            let _ = match index {
                0 => write!(self.html, "<th scope=\"row\"{class}>{cell}</th>"),
                _ => write!(self.html, "<td{class}>{cell}</td>"),
            };
        }
        self.html.push_str("</tr>\n");
    }

    /// The whole table.
    pub fn finish(mut self) -> String {
        self.html.push_str("</tbody></table></div>\n");
        self.html
    }

    /// The whole table behind a line to click on.
    pub fn folded(self, summary: &str) -> String {
        format!("<details><summary>{}</summary>{}</details>\n", escape(summary), self.finish())
    }
}

/// A plot on its card: heading, one sentence that says how to read it, the drawing, then what belongs below.
pub struct Figure<'a> {
    /// What it shows.
    pub title: &'a str,
    /// How to read it; plain text.
    pub note: &'a str,
    /// SVG.
    pub drawing: String,
    /// Legend, data table; HTML.
    pub below: String,
    /// Over the whole width.
    pub wide: bool,
}

impl Figure<'_> {
    /// The card.
    pub fn html(self) -> String {
        let class = if self.wide { "card wide" } else { "card" };
        format!(
            "<figure class=\"{class}\"><figcaption><h3>{}</h3><p>{}</p></figcaption>\
             <div class=\"plot\">{}</div>{}</figure>\n",
            escape(self.title),
            escape(self.note),
            self.drawing,
            self.below
        )
    }
}

/// A legend of `(class, label)`.
pub fn legend(entries: &[(&str, &str)]) -> String {
    let items: String = entries
        .iter()
        .map(|(class, label)| format!("<li><i class=\"key {class}\"></i>{}</li>", escape(label)))
        .collect();
    format!("<ul class=\"legend\">{items}</ul>")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_people_write_them() {
        let check = |seen: String, expect: &str| assert_eq!(seen, expect);
        check(integer(0), "0");
        check(integer(999), "999");
        check(integer(1_234_567), "1,234,567");
        check(short(0.0), "0");
        check(short(1234.0), "1.23 k");
        check(short(999_700.0), "1.00 M");
        check(tick(0.5), "0.5");
        check(tick(100.0), "100");
        check(tick(50_000.0), "50 k");
        check(tick(-0.2), "-0.2");
        check(bytes(5), "5 B");
        check(bytes(12_340_000), "12.3 MB");
        check(duration(850), "850 ms");
        check(duration(12_340), "12.3 s");
        check(duration(245_000), "4 min 05 s");
        check(duration(7_620_000), "2 h 07 min");
        check(decimal(Some(1.239), 2), "1.24");
        check(decimal(None, 2), "–");
    }

    #[test]
    fn hostile_text_stays_text() {
        assert_eq!(escape("<script>'a'&\"b\"\u{0}"), "&lt;script&gt;&#39;a&#39;&amp;&quot;b&quot;\u{fffd}");
    }
}
