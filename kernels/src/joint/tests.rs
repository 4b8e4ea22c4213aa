//! Joint genotyping on small cohorts whose answer is known by hand.
