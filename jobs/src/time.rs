//! Points in time: parsed from what people and registers write, printed as RFC 3339 in UTC.
//!
//! Invariant: nothing here asks what time it is; `now` is an argument everywhere.

use std::fmt;
use std::str::FromStr;

/// A point in time, in microseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// Microseconds of an hour.
const HOUR_US: i64 = 3_600_000_000;

impl Timestamp {
    /// The point so many microseconds after 1970 began.
    pub const fn from_micros(micros: i64) -> Self {
        Timestamp(micros)
    }

    /// Microseconds since 1970 began.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// So many hours later; stays at the end of time rather than wrap.
    pub const fn plus_hours(self, hours: i64) -> Self {
        Timestamp(self.0.saturating_add(hours.saturating_mul(HOUR_US)))
    }

    /// So many seconds later; stays at the end of time rather than wrap.
    pub const fn plus_seconds(self, seconds: i64) -> Self {
        Timestamp(self.0.saturating_add(seconds.saturating_mul(1_000_000)))
    }

    /// The moment at which the day `YYYY-MM-DD` begins at so many minutes east of Greenwich.
    pub fn day_begins(date: &str, offset_minutes: i32) -> Option<Self> {
        let date = strict_date(date)?;
        let midnight = date.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_microsecond();
        Some(Timestamp(midnight - i64::from(offset_minutes) * 60_000_000))
    }

    /// The moment at which that day ends there: the first of the next day.
    pub fn day_ends(date: &str, offset_minutes: i32) -> Option<Self> {
        Some(Timestamp::day_begins(date, offset_minutes)?.plus_hours(24))
    }
}

/// `YYYY-MM-DD` and nothing else.
fn strict_date(text: &str) -> Option<jiff::civil::Date> {
    let plain = text.len() == 10
        && text.bytes().enumerate().all(|(at, byte)| match at {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    plain.then(|| text.parse().ok()).flatten()
}

/// A text is not a time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not a time; expected RFC 3339 such as 2026-06-30T17:00:00+09:00")]
pub struct TimeError {
    text: String,
}

/// Reads RFC 3339 with an offset.
impl FromStr for Timestamp {
    type Err = TimeError;

    fn from_str(text: &str) -> Result<Self, TimeError> {
        let separated =
            text.as_bytes().get(10) == Some(&b'T') && strict_date(text.get(..10).unwrap_or("")).is_some();
        let parsed = text.parse::<jiff::Timestamp>().ok().filter(|_| separated);
        let error = || TimeError { text: text.chars().take(40).collect() };
        parsed.map(|time| Timestamp(time.as_microsecond())).ok_or_else(error)
    }
}

/// Prints RFC 3339 in UTC with microseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = jiff::Timestamp::from_microsecond(self.0).unwrap_or(jiff::Timestamp::MAX);
        write!(f, "{time:.6}")
    }
}

impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_printed_as_rfc_3339() {
        let check = |text: &str, expect: &str| {
            let found =
                text.parse::<Timestamp>().map_or_else(|_| "refused".to_owned(), |time| time.to_string());
            assert_eq!(found, expect, "{text}");
        };
        check("2026-06-30T17:00:00+09:00", "2026-06-30T08:00:00.000000Z");
        check("1969-12-31T23:59:59.5Z", "1969-12-31T23:59:59.500000Z");
        check("2026-01-20T14:00:00.123456+09:00", "2026-01-20T05:00:00.123456Z");
        for bad in [
            "",
            "2026-06-30",
            "2026-06-30T17:00:00",
            "20260630T170000Z",
            "2026-06-30 17:00:00Z",
            "2026-02-30T00:00:00Z",
            "令和8年2月3日",
        ] {
            check(bad, "refused");
        }
    }

    #[test]
    fn a_day_begins_and_ends_where_it_is() {
        let show = |time: Option<Timestamp>| time.map_or("refused".to_owned(), |time| time.to_string());
        assert_eq!(show(Timestamp::day_begins("2026-01-20", 540)), "2026-01-19T15:00:00.000000Z");
        assert_eq!(show(Timestamp::day_ends("2026-01-20", 540)), "2026-01-20T15:00:00.000000Z");
        for bad in ["", "2026-1-20", "2026-01-32", "45996", "2026-01-20T", "２０２６-01"] {
            assert_eq!(Timestamp::day_begins(bad, 0), None, "{bad}");
        }
    }
}
