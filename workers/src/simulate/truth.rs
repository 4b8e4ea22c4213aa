//! The truth a simulated read carries in its name:
//! `contig1:start1:end1:<strand><flag>:contig2:start2:end2:<strand><flag>:<u|dGROUP>:id`, 1-based inclusive.
//!
//! Invariant: what [`ReadTruth::write`] writes, [`ReadTruth::parse`] gives back, also where contig names hold colons.

/// What kind of sequence a read comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// One place of the reference (`.`).
    Plain,
    /// More than 20 bases lie across a structural breakpoint or in novel sequence (`s`).
    Breakpoint,
    /// Mostly sequence the reference does not have (`n`).
    Novel,
}

impl Origin {
    fn letter(self) -> u8 {
        match self {
            Origin::Plain => b'.',
            Origin::Breakpoint => b's',
            Origin::Novel => b'n',
        }
    }
}

/// Where a read, or its larger part, lies on a contig: 0-based, half-open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placement {
    /// First base.
    pub start: u32,
    /// One past the last base.
    pub end: u32,
    /// Whether the read is the reverse complement of the reference.
    pub reverse: bool,
    /// How much of the read the place explains.
    pub origin: Origin,
}

/// The truth of both reads of a pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadTruth<'a> {
    /// Contig and place of the first and the last read.
    pub reads: [(&'a str, Placement); 2],
    /// The fragment this pair is a PCR copy of; `None` for a pair of its own.
    pub copy_of: Option<u64>,
    /// Number of the pair within its sample, from 1.
    pub id: u64,
}

impl<'a> ReadTruth<'a> {
    /// Appends the read name.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (contig, place) in &self.reads {
            out.extend_from_slice(contig.as_bytes());
            out.push(b':');
            write_number(u64::from(place.start) + 1, out);
            out.push(b':');
            write_number(u64::from(place.end), out);
            out.extend_from_slice(&[
                b':',
                if place.reverse { b'-' } else { b'+' },
                place.origin.letter(),
                b':',
            ]);
        }
        match self.copy_of {
            Some(group) => {
                out.push(b'd');
                write_number(group, out);
            }
            None => out.push(b'u'),
        }
        out.push(b':');
        write_number(self.id, out);
    }

    /// Reads a read name; `None` if it carries no truth.
    pub fn parse(name: &'a str) -> Option<Self> {
        let mut fields = name.rsplitn(3, ':');
        let id = fields.next()?.parse().ok()?;
        let group = fields.next()?;
        let copy_of = match group.strip_prefix('d') {
            Some(number) => Some(number.parse().ok()?),
            None => (group == "u").then_some(None)?,
        };
        let (rest, second) = parse_place(fields.next()?)?;
        // The second contig follows the first place, whose last field is a strand and a flag.
        let cuts = rest.match_indices(':').map(|(at, _)| at);
        let mut firsts = cuts.filter_map(|at| Some((&rest[at + 1..], parse_place(&rest[..at])?)));
        let (second_contig, (first_contig, first)) = firsts.next()?;
        Some(ReadTruth { reads: [(first_contig, first), (second_contig, second)], copy_of, id })
    }

    /// The fragment the pair was copied from, itself if it is no copy.
    pub fn fragment(&self) -> u64 {
        self.copy_of.unwrap_or(self.id)
    }
}

/// Takes `:start:end:<strand><flag>` off the end; gives what is before it.
fn parse_place(text: &str) -> Option<(&str, Placement)> {
    let mut fields = text.rsplitn(4, ':');
    let (strand, flag) = match fields.next()?.as_bytes() {
        &[strand @ (b'+' | b'-'), flag] => (strand, flag),
        _ => return None,
    };
    let origin = [Origin::Plain, Origin::Breakpoint, Origin::Novel]
        .into_iter()
        .find(|origin| origin.letter() == flag)?;
    let end = fields.next()?.parse().ok()?;
    let start = fields.next()?.parse::<u32>().ok()?.checked_sub(1)?;
    Some((fields.next()?, Placement { start, end, reverse: strand == b'-', origin }))
}

fn write_number(number: u64, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut rest = number;
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_give_back_the_truth() {
        let place = |start, end, reverse, origin| Placement { start, end, reverse, origin };
        for (contigs, copy_of) in [(["chr1", "chr1"], None), (["HLA:A*01", "x:3:4"], Some(17))] {
            let truth = ReadTruth {
                reads: [
                    (contigs[0], place(0, 150, false, Origin::Plain)),
                    (contigs[1], place(4_000_000_000, 4_000_000_151, true, Origin::Breakpoint)),
                ],
                copy_of,
                id: u64::MAX,
            };
            let mut name = Vec::new();
            truth.write(&mut name);
            assert_eq!(ReadTruth::parse(std::str::from_utf8(&name).unwrap()), Some(truth));
        }
    }

    #[test]
    fn the_format_is_the_written_one() {
        let truth = ReadTruth::parse("chr2:101:250:+.:chr2:301:450:-n:d12:13").unwrap();
        let [(contig, first), (_, second)] = truth.reads;
        assert_eq!((contig, first.start, first.end, first.reverse), ("chr2", 100, 250, false));
        assert_eq!((second.origin, truth.copy_of, truth.fragment()), (Origin::Novel, Some(12), 12));
    }

    #[test]
    fn other_names_carry_no_truth() {
        for name in [
            "",
            "read1",
            "a:1:2:+.:u:1",
            "a:0:2:+.:b:1:2:-.:u:1",
            "a:1:2:+.:b:1:2:-.:x:1",
            "a:1:2:*.:b:1:2:-.:u:1",
        ] {
            assert_eq!(ReadTruth::parse(name), None, "{name}");
        }
    }
}
