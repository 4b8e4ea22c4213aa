//! Progress on stderr: drawn on a terminal, silent elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// A bar over a known amount of work.
pub fn bar(total: u64, what: &str) -> ProgressBar {
    drawn(total, what, "{prefix:>10} [{bar:30}] {pos}/{len} {msg} {elapsed}")
}

/// A bar over a known amount of bytes.
pub fn bytes(total: u64, what: &str) -> ProgressBar {
    drawn(total, what, "{prefix:>10} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {msg} {elapsed}")
}

fn drawn(total: u64, what: &str, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(template);
    bar.set_style(style.expect("the template is well-formed").progress_chars("=> "));
    bar.set_prefix(what.to_owned());
    bar
}

/// A sign of life for work of unknown amount.
pub fn spinner(what: &str) -> ProgressBar {
    let spinner = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{spinner} {prefix}: {msg} {elapsed}");
    spinner.set_style(style.expect("the template is well-formed"));
    spinner.set_prefix(what.to_owned());
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}
