//! Which vectors kernels use.
//!
//! Invariant: a kernel is one source, compiled for each level, so that the level never shows in a result. It is written
//! as plain loops over arrays of `LANES` numbers, which the compiler turns into vectors. It does where a loop touches
//! local arrays only, copied from and to memory around it, and never chooses between two elements as they are: that
//! becomes a choice between two addresses, and the loop stays scalar.

#![allow(unsafe_code)] // what is compiled for features that not every CPU has may run only where they were found

use std::fmt;
use std::str::FromStr;

/// Instructions that kernels may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Level {
    /// What every CPU of the architecture has; 128-bit vectors, as a rule.
    Scalar,
    /// 128-bit vectors of ARM; every 64-bit one has them.
    Neon,
    /// 256-bit vectors of x86.
    Avx2,
    /// 512-bit vectors of x86, with bytes and words (F, BW, VL).
    Avx512,
}

/// A kernel and its arguments.
pub trait Kernel {
    /// What it returns.
    type Output;

    /// Runs it, `LANES` 16-bit numbers a vector. It is to be `#[inline(always)]`, and so is what it calls in hot loops:
    /// only what is inlined is compiled for the level.
    fn run<const LANES: usize>(self) -> Self::Output;
}

impl Level {
    const ALL: [Level; 4] = [Level::Scalar, Level::Neon, Level::Avx2, Level::Avx512];

    /// The levels of this CPU, the best last.
    pub fn available() -> impl Iterator<Item = Level> {
        Level::ALL.into_iter().filter(|level| level.is_available())
    }

    /// The best level of this CPU.
    pub fn best() -> Level {
        Level::available().last().unwrap_or(Level::Scalar)
    }

    /// Whether this CPU has it.
    pub fn is_available(self) -> bool {
        match self {
            Level::Scalar => true,
            Level::Neon => cfg!(target_arch = "aarch64"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => is_x86_feature_detected!("avx2"),
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => {
                is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512vl")
            }
            #[cfg(not(target_arch = "x86_64"))]
            Level::Avx2 | Level::Avx512 => false,
        }
    }

    /// 16-bit numbers of a vector.
    pub fn lanes(self) -> usize {
        match self.or_scalar() {
            Level::Scalar | Level::Neon => 8,
            Level::Avx2 => 16,
            Level::Avx512 => 32,
        }
    }

    /// Runs a kernel with [`Level::lanes`] lanes; as scalar where this CPU lacks the level.
    #[inline]
    pub fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.or_scalar() {
            // SAFETY: `or_scalar` lets a level pass only if the CPU has it.
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => unsafe { avx512(kernel) },
            // SAFETY: `or_scalar` lets a level pass only if the CPU has it.
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => unsafe { avx2(kernel) },
            _ => kernel.run::<8>(),
        }
    }

    fn or_scalar(self) -> Level {
        if self.is_available() { self } else { Level::Scalar }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512vl")]
fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<32>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<16>()
}

/// The best level of this CPU.
impl Default for Level {
    fn default() -> Self {
        Level::best()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Scalar => "scalar",
            Level::Neon => "neon",
            Level::Avx2 => "avx2",
            Level::Avx512 => "avx512",
        })
    }
}

/// A text is no level, or none of this CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LevelError {
    /// No level has this name.
    Unknown(String),
    /// This CPU lacks the level.
    Lacking(Level),
}

impl std::error::Error for LevelError {}

impl fmt::Display for LevelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LevelError::Unknown(text) => write!(f, "'{text}' is no level of vectors")?,
            LevelError::Lacking(level) => write!(f, "this CPU lacks {level}")?,
        }
        f.write_str("; expected auto")?;
        Level::available().try_for_each(|level| write!(f, ", {level}"))
    }
}

/// A level of this CPU by name, `auto` being the best.
impl FromStr for Level {
    type Err = LevelError;

    fn from_str(text: &str) -> Result<Level, LevelError> {
        if text == "auto" {
            return Ok(Level::best());
        }
        let named = Level::ALL.into_iter().find(|level| level.to_string() == text);
        let level = named.ok_or_else(|| LevelError::Unknown(text.to_owned()))?;
        if level.is_available() { Ok(level) } else { Err(LevelError::Lacking(level)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Lanes;

    impl Kernel for Lanes {
        type Output = usize;

        #[inline(always)]
        fn run<const LANES: usize>(self) -> usize {
            LANES
        }
    }

    #[test]
    fn every_level_runs_everywhere_with_the_lanes_it_says() {
        for level in Level::ALL {
            assert_eq!(level.run(Lanes), level.lanes(), "{level}");
        }
    }

    #[test]
    fn names_lead_to_the_levels_of_this_cpu_only() {
        assert!(Level::available().any(|level| level == Level::Scalar));
        for level in Level::ALL {
            let expect = if level.is_available() { Ok(level) } else { Err(LevelError::Lacking(level)) };
            assert_eq!(level.to_string().parse(), expect);
        }
        assert_eq!("auto".parse(), Ok(Level::best()));
        let wrong = "sse".parse::<Level>().unwrap_err().to_string();
        assert!(wrong.starts_with("'sse' is no level of vectors; expected auto, scalar"), "{wrong}");
    }
}
