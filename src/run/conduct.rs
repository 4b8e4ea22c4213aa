//! How a job is conducted, wherever it is started from: flags that `wakachi run` takes and `wakachi submit` hands on.

use super::engines::BurstName;

/// Flags of `run` and `submit`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct ConductArgs {
    /// What is used beside the engine: [engine.tes] says which service, and docs/operators/cloud.md what leaves the house
    #[arg(long, value_enum)]
    pub burst: Option<BurstName>,
    /// Goes on without a sample that cannot be done, and ends with exit code 10; as [limits] on_failed_sample = "go_on"
    #[arg(long)]
    pub keep_going: bool,
    /// Does about so many percent of the tasks a second time, on another worker where there is one, and compares
    #[arg(long, value_name = "PERCENT", default_value = "0", value_parser = per_mille)]
    pub audit: u32,
}

impl ConductArgs {
    /// As words of a command line.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(BurstName::Tes) = self.burst {
            words.extend(["--burst".to_owned(), "tes".to_owned()]);
        }
        if self.keep_going {
            words.push("--keep-going".to_owned());
        }
        if self.audit > 0 {
            words.extend(["--audit".to_owned(), format!("{}.{}%", self.audit / 10, self.audit % 10)]);
        }
        words
    }
}

/// A percentage, with a sign or without, in thousandths.
fn per_mille(text: &str) -> Result<u32, String> {
    let percent = text.trim_end_matches('%').parse::<f64>().ok();
    let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
    percent.map(|percent| (percent * 10.0).round() as u32).ok_or_else(|| "expected 0 to 100".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        conduct: ConductArgs,
    }

    #[test]
    fn what_is_handed_on_is_read_as_it_was_meant() {
        for line in ["", "--keep-going", "--audit 1%", "--audit 0.3 --burst tes", "--audit 100% --keep-going"]
        {
            let parse = |words: &[String]| {
                let words = std::iter::once("wakachi".to_owned()).chain(words.iter().cloned());
                Command::try_parse_from(words).expect("flags").conduct
            };
            let first = parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
            let again = parse(&first.words());
            let all = |one: &ConductArgs| (one.burst, one.keep_going, one.audit);
            assert_eq!(all(&again), all(&first), "{line}");
        }
        assert!(per_mille("101").is_err() && per_mille("x").is_err() && per_mille("NaN").is_err());
    }
}
