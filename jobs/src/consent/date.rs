//! Dates as people and registers write them, read against the reader: what is not said exactly opens no door.
//!
//! Invariant: a start is read as late and an end as early as the words allow, in the programme's own time; what is not
//! ISO 8601 is refused, with the date it would be in the hint, and never guessed.

use crate::time::Timestamp;
use jiff::civil::Date;

/// Minutes east of Greenwich of dates without a time: the programme is in Japan.
pub(crate) const PROGRAMME_OFFSET_MINUTES: i32 = 9 * 60;

/// Which end of a period a date is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Start,
    End,
}

/// A text is not a date: what is wrong, and the date it would be.
pub(super) struct NotADate {
    pub message: String,
    pub hint: Option<String>,
}

/// The moment of a date or time: `2026`, `2026-01`, `2026-01-20` or RFC 3339 (FHIR R4 `dateTime`). Days begin and end
/// in the programme's time, an end takes its day in. Of a year or month, a start takes the last day and an end the
/// first.
pub(super) fn moment(text: &str, edge: Edge) -> Result<Timestamp, NotADate> {
    let digits = |range: std::ops::Range<usize>| {
        text.as_bytes().get(range).is_some_and(|part| part.iter().all(u8::is_ascii_digit))
    };
    let days: Vec<String> = match (text.len(), edge) {
        (4, Edge::Start) if digits(0..4) => vec![format!("{text}-12-31")],
        (4, Edge::End) if digits(0..4) => vec![format!("{text}-01-01")],
        (7, Edge::Start) => (28..=31).rev().map(|day| format!("{text}-{day}")).collect(),
        (7, Edge::End) => vec![format!("{text}-01")],
        _ => vec![text.to_owned()],
    };
    let day = |day: &String| match edge {
        Edge::Start => Timestamp::day_begins(day, PROGRAMME_OFFSET_MINUTES),
        Edge::End => Timestamp::day_ends(day, PROGRAMME_OFFSET_MINUTES),
    };
    days.iter().find_map(day).or_else(|| text.parse().ok()).ok_or_else(|| not_a_date(text))
}

/// The moment of a text that must be RFC 3339 (FHIR `instant`).
pub(super) fn instant(text: &str) -> Result<Timestamp, NotADate> {
    text.parse().map_err(|_| NotADate {
        message: "E-DATE: expected a time with its offset, such as 2026-05-31T18:00:00+09:00".to_owned(),
        hint: not_a_date(text).hint,
    })
}

fn not_a_date(text: &str) -> NotADate {
    let narrow: String = text.chars().map(super::words::half_width).collect();
    let (code, what, date) = if let Some(date) = of_serial(&narrow) {
        ("E-DATE-EXCEL", "a spreadsheet's day number", Some(date))
    } else if let Some(date) = of_era(&narrow) {
        ("E-DATE-ERA", "a date of a Japanese era", Some(date))
    } else {
        ("E-DATE", "no date", numbers(&narrow).and_then(|[year, month, day]| civil(year, month, day)))
    };
    NotADate {
        message: format!("{code}: this is {what}; expected ISO 8601 such as 2026-02-03"),
        hint: date.map(|date| format!("in ISO 8601 it would be {date}")),
    }
}

/// A day number of five digits as spreadsheets count from 1899-12-30; a time of day behind the point does not matter.
fn of_serial(text: &str) -> Option<Date> {
    let days = text.split('.').next().filter(|days| days.len() == 5)?.parse::<i32>().ok()?;
    let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let origin = Date::new(1899, 12, 30).ok()?;
    plain.then(|| origin.checked_add(jiff::Span::new().try_days(days).ok()?).ok()).flatten()
}

/// `令和8年2月3日`, `R8.2.3`, `令和元年5月1日`.
fn of_era(text: &str) -> Option<Date> {
    /// Names of an era, and the year before its first.
    const ERAS: [(&[&str], i16); 5] = [
        (&["令和", "㋿", "R", "r"], 2018),
        (&["平成", "㍻", "H", "h"], 1988),
        (&["昭和", "㍼", "S", "s"], 1925),
        (&["大正", "㍽", "T", "t"], 1911),
        (&["明治", "㍾", "M", "m"], 1867),
    ];
    let (rest, before) = ERAS.iter().find_map(|(names, before)| {
        names.iter().find_map(|name| Some((text.strip_prefix(name)?, *before)))
    })?;
    let [year, month, day] = numbers(&rest.replace('元', "1"))?;
    civil(before.checked_add(year)?, month, day)
}

fn civil(year: i16, month: i16, day: i16) -> Option<Date> {
    Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()
}

/// The three numbers of a text that holds three numbers and separators.
fn numbers(text: &str) -> Option<[i16; 3]> {
    let separator = |c: char| " ./-年月日".contains(c);
    let parts: Option<Vec<i16>> =
        text.split(separator).filter(|part| !part.is_empty()).map(|part| part.parse().ok()).collect();
    parts?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(read: Result<Timestamp, NotADate>) -> String {
        match read {
            Ok(time) => time.to_string(),
            Err(bad) => {
                let hint = bad.hint.unwrap_or_default();
                let (code, date) = (bad.message.split(':').next(), hint.split(' ').next_back());
                format!("{} {}", code.unwrap_or_default(), date.unwrap_or_default())
            }
        }
    }

    #[test]
    fn partial_dates_are_read_against_the_reader() {
        let check = |text: &str, start: &str, end: &str| {
            assert_eq!(show(moment(text, Edge::Start)), start, "{text}");
            assert_eq!(show(moment(text, Edge::End)), end, "{text}");
        };
        check("2026-01-20", "2026-01-19T15:00:00.000000Z", "2026-01-20T15:00:00.000000Z");
        check("2026-02", "2026-02-27T15:00:00.000000Z", "2026-02-01T15:00:00.000000Z");
        check("2028-02", "2028-02-28T15:00:00.000000Z", "2028-02-01T15:00:00.000000Z");
        check("2026", "2026-12-30T15:00:00.000000Z", "2026-01-01T15:00:00.000000Z");
        let exact = "2026-01-20T05:00:00.000000Z";
        check("2026-01-20T14:00:00+09:00", exact, exact);
    }

    #[test]
    fn other_dates_are_refused_with_the_date_they_would_be() {
        let check = |text: &str, expect: &str| assert_eq!(show(moment(text, Edge::Start)), expect, "{text}");
        check("45996", "E-DATE-EXCEL 2025-12-05");
        check("45996.5", "E-DATE-EXCEL 2025-12-05");
        check("４５９９６", "E-DATE-EXCEL 2025-12-05");
        check("令和8年2月3日", "E-DATE-ERA 2026-02-03");
        check("令和８年２月３日", "E-DATE-ERA 2026-02-03");
        check("令和元年5月1日", "E-DATE-ERA 2019-05-01");
        check("R8.2.3", "E-DATE-ERA 2026-02-03");
        check("平成31年4月30日", "E-DATE-ERA 2019-04-30");
        check("S64/1/7", "E-DATE-ERA 1989-01-07");
        check("2026/2/3", "E-DATE 2026-02-03");
        check("2026年2月3日", "E-DATE 2026-02-03");
        check("２０２６－０２－０３", "E-DATE 2026-02-03");
        for bad in [
            "",
            "soon",
            "2026-13",
            "2026-02-30",
            "2026-00",
            "20260203",
            "2026-01-20T14:00:00",
            "令和",
            "R99999.1.1",
            "山田",
        ] {
            check(bad, "E-DATE ");
        }
    }
}
