//! `[engine.slurm]`: what a job asks of Slurm.
//!
//! Invariant: a value that got here is safe in a `#SBATCH` line: no white space, no quote, nothing that a shell or Slurm
//! reads as more than the value. Lines of `setup` and `sbatch` are the site's own and are taken as they are, one line each.

use super::Origin;
use crate::document::Section;
use crate::quantity::parse_bytes;
use std::collections::BTreeMap;
use toml::Spanned;
use toml::de::DeValue;

/// The `[engine.slurm]` table. Each key but the lists is also a flag of `wakachi submit` (`--ntasks-per-node`) and a
/// variable (`WAKACHI_SLURM_NTASKS_PER_NODE`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Slurm {
    /// `partition`, `account`, `qos`, `clusters`: names that the site knows. Default: the site's.
    ///
    /// `time`: limit of one allocation, as sbatch takes it: `90` minutes, `12:00:00`, `2-00`. Default: the partition's.
    ///
    /// `nodes`, `ntasks_per_node`, `cpus_per_task`: shape of the allocation. Default: one task on one node.
    ///
    /// `mem`: memory of each node, such as `64G`. Default: the partition's.
    ///
    /// `mpi`: how srun starts ranks: `pmix`, `pmi2`, or `none` for threads of one process on one node.
    ///
    /// `warning`: seconds before the limit at which the job stops cleanly. Default: 300.
    ///
    /// `requeues_max`: how often a job that met its limit is put back into the queue. Default: 50.
    values: BTreeMap<&'static str, String>,
    /// `setup`: shell lines before the program starts, such as `module load openmpi`.
    pub setup: Vec<String>,
    /// `sbatch`: more options of sbatch, such as `--constraint=avx512`.
    pub sbatch: Vec<String>,
}

/// One key: its name, whether a value will do, and what would.
struct Key {
    name: &'static str,
    accepts: fn(&str) -> bool,
    expected: &'static str,
}

/// The keys that hold one value.
const KEYS: [Key; 12] = [
    Key { name: "account", accepts: is_name, expected: NAME },
    Key { name: "clusters", accepts: is_name, expected: NAME },
    Key {
        name: "cpus_per_task",
        accepts: |text| is_whole(text, 1, 4096),
        expected: "a number from 1 to 4096",
    },
    Key {
        name: "mem",
        accepts: |text| is_amount(text) && parse_bytes(text).is_ok(),
        expected: "memory such as \"64G\"",
    },
    Key {
        name: "mpi",
        accepts: |text| ["none", "pmi2", "pmix"].contains(&text),
        expected: "\"none\", \"pmi2\" or \"pmix\"",
    },
    Key { name: "nodes", accepts: |text| is_whole(text, 1, 100_000), expected: "a number from 1 to 100000" },
    Key {
        name: "ntasks_per_node",
        accepts: |text| is_whole(text, 1, 4096),
        expected: "a number from 1 to 4096",
    },
    Key { name: "partition", accepts: is_name, expected: NAME },
    Key { name: "qos", accepts: is_name, expected: NAME },
    Key { name: "requeues_max", accepts: |text| is_whole(text, 0, 10_000), expected: "a number up to 10000" },
    Key {
        name: "time",
        accepts: |text| seconds_of(text).is_some(),
        expected: "a time such as \"12:00:00\" or \"2-00\"",
    },
    // Slurm keeps it in 16 bits.
    Key { name: "warning", accepts: |text| is_whole(text, 10, 65_535), expected: "seconds from 10 to 65535" },
];

const NAME: &str = "a name of letters, digits, '.', '_', '-' and ','";

impl Slurm {
    /// The value of a key, as it was written.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// The whole number under a key.
    pub fn number(&self, key: &str) -> Option<u32> {
        self.get(key)?.parse().ok()
    }

    /// Limit of one allocation in seconds, where one is set.
    pub fn time_seconds(&self) -> Option<u64> {
        seconds_of(self.get("time")?)
    }

    /// What flags and environment say, over what was set before. Errors come with where the value is from.
    pub(super) fn overrule(
        &mut self,
        flags: &BTreeMap<&'static str, String>,
        env: &BTreeMap<String, String>,
        resolved: &mut BTreeMap<String, (String, Origin)>,
    ) -> Vec<(Origin, String)> {
        let mut found = Vec::new();
        for key in &KEYS {
            let variable = format!("WAKACHI_SLURM_{}", key.name.to_ascii_uppercase());
            let from_env = env.get(&variable).filter(|text| !text.is_empty());
            let from_flag = flags.get(key.name).map(|text| (text, Origin::Flag(key.flag())));
            let Some((text, origin)) = from_flag.or(from_env.map(|text| (text, Origin::Env(variable))))
            else {
                continue;
            };
            match key.check(text) {
                Ok(()) => {
                    self.values.insert(key.name, text.clone());
                    resolved.insert(format!("engine.slurm.{}", key.name), (text.clone(), origin));
                }
                Err(message) => found.push((origin, message)),
            }
        }
        found
    }

    /// What a file says, over what was set before.
    pub(super) fn read(&mut self, section: &mut Section<'_>) {
        for key in &KEYS {
            let Some(value) = section.value(key.name) else { continue };
            let text = match value.get_ref() {
                DeValue::String(text) => text.as_ref(),
                DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str(),
                _ => {
                    section.error(value.span(), format!("{}: expected {}", key.name, key.expected), None);
                    continue;
                }
            };
            match key.check(text) {
                Ok(()) => drop(self.values.insert(key.name, text.to_owned())),
                Err(message) => section.error(value.span(), message, None),
            }
        }
        for (name, lines) in [("setup", &mut self.setup), ("sbatch", &mut self.sbatch)] {
            if let Some(texts) = section.texts(name) {
                *lines = texts.iter().filter_map(|text| line(name, text, section)).collect();
            }
        }
    }
}

/// A text that is one line; options of sbatch begin with a dash, so that none is taken for the script.
fn line(name: &str, text: &Spanned<&str>, section: &Section<'_>) -> Option<String> {
    let problem = match *text.get_ref() {
        line if line.contains(|c: char| c.is_control()) => "expected one line",
        line if name == "sbatch" && !line.starts_with("--") => {
            "expected an option such as \"--constraint=avx512\""
        }
        line => return Some(line.to_owned()),
    };
    section.error(text.span(), format!("{name}: {problem}"), None);
    None
}

impl Key {
    fn flag(&self) -> String {
        format!("--{}", self.name.replace('_', "-"))
    }

    fn check(&self, text: &str) -> Result<(), String> {
        match (self.accepts)(text) {
            true => Ok(()),
            false => Err(format!("{}: '{text}' will not do; expected {}", self.name, self.expected)),
        }
    }
}

fn is_name(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphanumeric() || "._-,".contains(c);
    !text.is_empty() && !text.starts_with('-') && text.chars().all(letter)
}

fn is_whole(text: &str, least: u32, most: u32) -> bool {
    text.bytes().all(|c| c.is_ascii_digit())
        && text.parse::<u32>().is_ok_and(|number| (least..=most).contains(&number))
}

/// Digits and one unit, as sbatch takes memory.
fn is_amount(text: &str) -> bool {
    let digits = text.strip_suffix(['K', 'M', 'G', 'T']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|c| c.is_ascii_digit())
}

/// Seconds of a time limit as sbatch takes it: `minutes`, `minutes:seconds`, `hours:minutes:seconds`, `days-hours`,
/// `days-hours:minutes`, `days-hours:minutes:seconds` (man sbatch, `--time`).
fn seconds_of(text: &str) -> Option<u64> {
    let numbers = |text: &str| -> Option<Vec<u64>> {
        let parts = text.split(':').map(|part| {
            let whole = (1..=6).contains(&part.len()) && part.bytes().all(|c| c.is_ascii_digit());
            whole.then(|| part.parse().ok())?
        });
        parts.collect()
    };
    let seconds = match text.split_once('-') {
        Some((days, rest)) => {
            let (days, rest) = (numbers(days)?, numbers(rest)?);
            let ([days], 1..=3) = (&days[..], rest.len()) else { return None };
            let at = |place: usize| rest.get(place).copied().unwrap_or(0);
            days * 86_400 + at(0) * 3600 + at(1) * 60 + at(2)
        }
        None => match numbers(text)?[..] {
            [minutes] => minutes * 60,
            [minutes, seconds] => minutes * 60 + seconds,
            [hours, minutes, seconds] => hours * 3600 + minutes * 60 + seconds,
            _ => return None,
        },
    };
    (seconds > 0).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_sbatch_reads_them() {
        let check = |text: &str, expect: Option<u64>| assert_eq!(seconds_of(text), expect, "{text}");
        check("90", Some(5400));
        check("1:30", Some(90));
        check("12:00:00", Some(43_200));
        check("2-00", Some(172_800));
        check("1-02:03", Some(86_400 + 7380));
        check("1-02:03:04", Some(86_400 + 7384));
        for wrong in ["", "0", "-1", "1-", "1:2:3:4", "1-2:3:4:5", "1h", "9999999", "UNLIMITED", "1 "] {
            check(wrong, None);
        }
    }

    #[test]
    fn nothing_gets_through_that_a_shell_would_read() {
        for text in ["", "-x", "a b", "a\nb", "a;b", "$(x)", "`x`", "a'b", "分"] {
            assert!(KEYS.iter().all(|key| !(key.accepts)(text)), "{text}");
        }
        assert!(is_name("short,long") && is_amount("64G") && is_whole("1", 1, 1));
        assert!(!is_amount("6.4G") && !is_amount("64GB") && !is_whole("+1", 0, 9) && !is_whole("2", 1, 1));
    }
}
