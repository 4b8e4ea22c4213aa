//! Amounts as people write them: `8G` of memory, `4M` bases.
//!
//! Invariant: what [`show_bytes`] and [`show_count`] print reads back as the same number. Memory counts in powers of
//! 1024 as Slurm and samtools do, everything else in powers of 1000 as geneticists do.

/// Why a text is no amount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// It does not start with a number.
    #[error("'{text}' is no amount; expected a number with an optional unit, such as {example}")]
    NotANumber {
        /// The text as given.
        text: String,
        /// A text that would do.
        example: &'static str,
    },
    /// The letters behind the number mean nothing.
    #[error("'{text}' has the unknown unit '{unit}'; expected K, M, G or T")]
    UnknownUnit {
        /// The text as given.
        text: String,
        /// The letters behind the number.
        unit: String,
    },
    /// It does not fit 64 bits, or is a fraction of one.
    #[error("'{text}' is no whole number below 2^64")]
    OutOfRange {
        /// The text as given.
        text: String,
    },
}

/// Bytes: `1048576`, `8G`, `1.5GiB`; K, M, G and T are powers of 1024, with or without `iB` or `B`.
pub fn parse_bytes(text: &str) -> Result<u64, QuantityError> {
    parse(text, 1024, "8G", &["", "B", "iB"])
}

/// A count of bases, reads or threads: `250000`, `4M`, `2.5k`; K, M, G and T are powers of 1000.
pub fn parse_count(text: &str) -> Result<u64, QuantityError> {
    parse(text, 1000, "4M", &[""])
}

/// Seconds: `90`, `90s`, `45m`, `11h`, `2d`.
pub fn parse_seconds(text: &str) -> Result<u64, QuantityError> {
    let trimmed = text.trim();
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let unit = units.iter().find_map(|&(unit, seconds)| Some((trimmed.strip_suffix(unit)?, seconds)));
    let (number, seconds) = unit.unwrap_or((trimmed, 1));
    let not_a_number = |_| QuantityError::NotANumber { text: text.to_owned(), example: "45m" };
    let number: u32 = number.parse().map_err(not_a_number)?;
    Ok(u64::from(number) * seconds)
}

/// Bytes in the largest unit that divides them: `8G`.
pub fn show_bytes(bytes: u64) -> String {
    show(bytes, 1024)
}

/// A count in the largest unit that divides it: `4M`.
pub fn show_count(count: u64) -> String {
    show(count, 1000)
}

const UNITS: [&str; 5] = ["", "K", "M", "G", "T"];

fn parse(text: &str, base: u128, example: &'static str, endings: &[&str]) -> Result<u64, QuantityError> {
    let trimmed = text.trim();
    let unit_at = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
    let (number, unit) = (&trimmed[..unit_at], trimmed[unit_at..].trim_start());
    let not_a_number = || QuantityError::NotANumber { text: text.to_owned(), example };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() || fraction.contains('.') {
        return Err(not_a_number());
    }
    let power = UNITS.iter().position(|name| {
        let rest = unit.get(name.len()..).filter(|_| unit[..name.len()].eq_ignore_ascii_case(name));
        rest.is_some_and(|rest| endings.iter().any(|ending| rest.eq_ignore_ascii_case(ending)))
    });
    let Some(power) = power else {
        return Err(QuantityError::UnknownUnit { text: text.to_owned(), unit: unit.to_owned() });
    };
    // The number is digits / 10^places, so the amount is whole where the division leaves nothing.
    let out_of_range = || QuantityError::OutOfRange { text: text.to_owned() };
    let fraction = fraction.trim_end_matches('0');
    let digits: u128 = format!("{whole}{fraction}").parse().map_err(|_| out_of_range())?;
    let divisor = 10u128.checked_pow(fraction.len() as u32).ok_or_else(out_of_range)?;
    let scaled = digits.checked_mul(base.pow(power as u32)).ok_or_else(out_of_range)?;
    let amount = u64::try_from(scaled / divisor).map_err(|_| out_of_range())?;
    if scaled % divisor == 0 { Ok(amount) } else { Err(out_of_range()) }
}

fn show(amount: u64, base: u64) -> String {
    let mut amount = amount;
    let mut power = 0;
    while amount != 0 && amount.is_multiple_of(base) && power + 1 < UNITS.len() {
        amount /= base;
        power += 1;
    }
    format!("{amount}{}", UNITS[power])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_in_their_units() {
        let bytes = |text| parse_bytes(text).ok();
        for (text, expect) in [
            ("0", Some(0)),
            ("8G", Some(8 << 30)),
            ("8 GiB", Some(8 << 30)),
            ("8gb", Some(8 << 30)),
            ("1.5G", Some(3 << 29)),
            ("512M", Some(512 << 20)),
            ("17b", Some(17)),
            ("1.50", None),
            ("1.0", Some(1)),
            ("16777216T", None),
            ("", None),
            ("G", None),
            (".5G", None),
            ("1..5G", None),
            ("-1", None),
            ("8X", None),
            ("8Gé", None),
            ("８G", None),
            ("99999999999999999999999999999999999999999", None),
            ("0.00000000000000000000000000000000000000000001T", None),
        ] {
            assert_eq!(bytes(text), expect, "{text:?}");
        }
        assert_eq!(parse_count("4M"), Ok(4_000_000));
        assert_eq!(parse_count("2.5k"), Ok(2500));
        assert!(matches!(parse_count("4MB"), Err(QuantityError::UnknownUnit { .. })));
    }

    #[test]
    fn times_are_read_in_their_units() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(parse_seconds(text).ok(), expect, "{text}");
        for (text, seconds) in [("90", 90), ("90s", 90), ("45m", 2700), (" 11h ", 39_600), ("2d", 172_800)] {
            check(text, Some(seconds));
        }
        for wrong in ["", "h", "-1", "1.5h", "1w", "4294967296"] {
            check(wrong, None);
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for amount in [0, 1, 1000, 1024, 1 << 20, 8 << 30, 4_000_000, 123_456_789, u64::MAX, 1 << 50] {
            assert_eq!(parse_bytes(&show_bytes(amount)), Ok(amount));
            assert_eq!(parse_count(&show_count(amount)), Ok(amount));
        }
    }
}
