//! The progress of a job: a bar on a terminal, a line for each finished sample elsewhere.

use crate::job_dir::JobDir;
use crate::output::{Format, note};
use crate::progress::bar;
use crate::run::status::Status;
use cluster::{Ended, Observer, Report};
use indicatif::ProgressBar;
use jobs::task::{Stage, Task};
use scheduler::{Command, Event, Scheduler};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How old the status of a running job may be.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Draws what the engine tells.
pub struct Display {
    cohort: String,
    dir: JobDir,
    bar: Option<ProgressBar>,
    lines: bool,
    left: Option<Instant>,
    finished: Option<u32>,
}

impl Display {
    /// A bar if stderr is a terminal; lines otherwise, unless the user wants quiet.
    pub fn new(cohort: &str, dir: &JobDir, format: Format) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let quiet = format == Format::Quiet;
        Display {
            cohort: cohort.to_owned(),
            dir: dir.clone(),
            left: None,
            finished: None,
            bar: (terminal && !quiet).then(|| bar(0, cohort)),
            lines: !terminal && !quiet,
        }
    }

    /// Leaves the status for `wakachi job info`, not more often than once a second.
    fn leave_status(&mut self, scheduler: &Scheduler) {
        if self.left.is_none_or(|left| left.elapsed() >= STATUS_INTERVAL) {
            Status::of(&self.cohort, scheduler, true).leave(&self.dir);
            self.left = Some(Instant::now());
        }
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Observer for Display {
    fn heard(&mut self, _scheduler: &Scheduler, report: &Report) {
        if let Report::Ended(Ended { task: Task::FinishSample(sample), result: Ok(_), .. }) = report {
            self.finished = Some(*sample);
        }
    }

    fn after(&mut self, scheduler: &Scheduler, _event: &Event, _commands: &[Command]) {
        self.leave_status(scheduler);
        if let Some(bar) = &self.bar {
            let stages = Stage::ALL.map(|stage| (stage, scheduler.progress(stage, None)));
            bar.set_length(stages.iter().map(|(_, progress)| progress.tasks).sum());
            bar.set_position(stages.iter().map(|(_, progress)| progress.done).sum());
            let text = stages
                .iter()
                .filter(|(_, progress)| progress.running > 0)
                .map(|(stage, progress)| format!("{stage} {}/{}", progress.done, progress.tasks));
            bar.set_message(text.collect::<Vec<_>>().join(" · "));
        }
        if let (true, Some(sample)) = (self.lines, self.finished.take()) {
            let plan = scheduler.plan();
            let done = scheduler.progress(Stage::Finish, None).done;
            let name = &plan.samples[sample as usize].name;
            note(&format!("{}: finished {name} ({done} of {} samples)", self.cohort, plan.samples.len()));
        }
    }

    fn tick(&mut self, scheduler: &Scheduler) {
        self.leave_status(scheduler);
        if let Some(bar) = &self.bar {
            bar.tick();
        }
    }
}
