//! A job as Prometheus reads it: the text exposition format, version 0.0.4.
//!
//! Invariant: a pure function of the document; names carry their unit, counters end with `_total`, every family is
//! declared once and stands in one piece, and label values are escaped.

use crate::bill::Idle;
use crate::info::{JobInfo, State};
use std::fmt::Write;

/// Content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// All metrics of a job.
pub fn render(info: &JobInfo) -> String {
    let mut text = Text { out: String::new(), cohort: &info.job, family: "" };
    job(&mut text, info);
    tasks(&mut text, info);
    workers(&mut text, info);
    bill(&mut text, info);
    text.out
}

fn job(text: &mut Text<'_>, info: &JobInfo) {
    text.family("wakachi_job_state", "gauge", "Whether the job is in this state.");
    for state in State::ALL {
        text.value(&[("state", state.name())], f64::from(u8::from(state == info.state)));
    }
    text.family(
        "wakachi_status_timestamp_seconds",
        "gauge",
        "When the job last said how far it is, in seconds since 1970.",
    );
    text.value(&[], seconds(info.as_of_ms));
    text.family("wakachi_start_timestamp_seconds", "gauge", "When this start of the job began.");
    text.value(&[], seconds(info.started_ms));
    if let Some(left) = info.remaining {
        text.family("wakachi_remaining_seconds", "gauge", "Time left, expected and within bounds.");
        let bounds = [("expected", left.expected_ms), ("low", left.low_ms), ("high", left.high_ms)];
        bounds.into_iter().for_each(|(bound, ms)| text.value(&[("bound", bound)], seconds(ms)));
    }
}

fn tasks(text: &mut Text<'_>, info: &JobInfo) {
    text.family("wakachi_tasks", "gauge", "Tasks by stage and state; those expected are counted as waiting.");
    for stage in &info.stages {
        let begun = stage.queued + stage.running + stage.done + stage.failed;
        let states = [
            ("waiting", stage.tasks.saturating_sub(begun)),
            ("queued", stage.queued),
            ("running", stage.running),
            ("done", stage.done),
            ("failed", stage.failed),
        ];
        for (state, tasks) in states {
            text.value(&[("stage", stage.stage.name()), ("state", state)], tasks as f64);
        }
    }
    text.family("wakachi_waiting_tasks", "gauge", "Tasks that wait, by stage and reason.");
    let mut waiting = std::collections::BTreeMap::new();
    for one in info.samples.iter().flat_map(|sample| &sample.waiting) {
        *waiting.entry((one.stage, one.reason.as_str())).or_insert(0) += one.tasks;
    }
    for ((stage, reason), tasks) in waiting {
        text.value(&[("stage", stage.name()), ("reason", reason)], tasks as f64);
    }
    text.family("wakachi_sample_tasks", "gauge", "Tasks of a sample that are known or expected.");
    each_sample(text, info, |stage| stage.tasks);
    text.family("wakachi_sample_tasks_done", "gauge", "Tasks of a sample that are committed.");
    each_sample(text, info, |stage| stage.done);
    text.family("wakachi_stragglers", "gauge", "Attempts that run far beyond what was expected of them.");
    text.value(&[], info.running.iter().filter(|attempt| attempt.straggles).count() as f64);
}

fn each_sample(text: &mut Text<'_>, info: &JobInfo, number: impl Fn(&crate::info::StageInfo) -> u64) {
    for sample in &info.samples {
        let Some(name) = &sample.sample else { continue };
        for stage in &sample.stages {
            text.value(&[("sample", name), ("stage", stage.stage.name())], number(stage) as f64);
        }
    }
}

fn workers(text: &mut Text<'_>, info: &JobInfo) {
    text.family("wakachi_workers", "gauge", "Workers that are there, by site.");
    info.sites.iter().for_each(|site| text.value(&[("site", &site.name)], f64::from(site.workers)));
    text.family("wakachi_slots", "gauge", "Cores of the workers, by site.");
    info.sites.iter().for_each(|site| text.value(&[("site", &site.name)], f64::from(site.slots)));
    text.family("wakachi_slots_busy", "gauge", "Cores that run an attempt, by site.");
    info.sites.iter().for_each(|site| text.value(&[("site", &site.name)], f64::from(site.busy)));
    text.family("wakachi_site_draining", "gauge", "Whether the site is being left.");
    info.sites
        .iter()
        .for_each(|site| text.value(&[("site", &site.name)], f64::from(u8::from(site.draining))));
    text.family(
        "wakachi_workers_quarantined",
        "gauge",
        "Workers that get nothing more: their output was wrong.",
    );
    text.value(&[], info.workers.iter().filter(|worker| worker.quarantined).count() as f64);
}

fn bill(text: &mut Text<'_>, info: &JobInfo) {
    let bill = &info.bill;
    text.family(
        "wakachi_allocated_core_seconds_total",
        "counter",
        "Cores times wall of all workers, by site; the work and the idle time sum to it.",
    );
    bill.sites.iter().for_each(|line| text.value(&[("site", &line.site)], seconds(line.core_ms)));
    text.family("wakachi_work_core_seconds_total", "counter", "Core time of committed work.");
    for line in &bill.work {
        let sample = line.sample.as_deref().unwrap_or("");
        let labels = [("sample", sample), ("stage", line.stage.name()), ("site", line.site.as_str())];
        text.value(&labels, seconds(line.core_ms));
    }
    text.family(
        "wakachi_idle_core_seconds_total",
        "counter",
        "Core time that went into nothing that counts, by cause.",
    );
    let sites = || bill.sites.iter().map(|line| line.site.as_str());
    for (cause, site) in Idle::ALL.into_iter().flat_map(|cause| sites().map(move |site| (cause, site))) {
        let line = bill.idle.iter().find(|line| line.cause == cause && line.site == site);
        let labels = [("cause", cause.name()), ("site", site)];
        text.value(&labels, seconds(line.map_or(0, |line| line.core_ms)));
    }
    text.family(
        "wakachi_transferred_bytes_total",
        "counter",
        "Bytes that attempts read (in) and wrote (out).",
    );
    for line in &bill.sites {
        text.value(&[("site", &line.site), ("direction", "in")], line.bytes_in as f64);
        text.value(&[("site", &line.site), ("direction", "out")], line.bytes_out as f64);
    }
    text.family("wakachi_price_total", "counter", "Price of the allocation, in the configured currency.");
    bill.sites.iter().for_each(|line| text.value(&[("site", &line.site)], line.price));
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// The text so far. The label is `cohort` because `job` is Prometheus's own.
struct Text<'a> {
    out: String,
    cohort: &'a str,
    family: &'static str,
}

impl Text<'_> {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.family = name;
        let _ = write!(self.out, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    /// A sample of the family that was declared last.
    fn value(&mut self, labels: &[(&str, &str)], value: f64) {
        let _ = write!(self.out, "{}{{cohort=\"{}\"", self.family, escape(self.cohort));
        for (label, text) in labels {
            let _ = write!(self.out, ",{label}=\"{}\"", escape(text));
        }
        let _ = writeln!(self.out, "}} {value}");
    }
}

/// A label's value as the format wants it.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}
