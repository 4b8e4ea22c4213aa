//! The progress of a job: a bar on a terminal, a line for each finished sample elsewhere; and for everybody else the
//! status, which `job info` and the dashboard read, and the metrics file.

use super::{asks, status};
use crate::job_dir::JobDir;
use crate::output::{Format, note};
use crate::progress::bar;
use cluster::bill::Account;
use cluster::dashboard::Ask;
use cluster::info::{JobInfo, State};
use cluster::meter::now_ms;
use cluster::watch::{Names, Watch};
use cluster::{Observer, Report, metrics};
use indicatif::ProgressBar;
use jobs::failure::Failure;
use jobs::task::{Stage, Task};
use scheduler::{AttemptId, Command, Event, Scheduler, SiteSpec};
use std::collections::{BTreeMap, HashMap};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use storage::Journal;

/// How often a running job says how it stands, at most.
const STATUS_INTERVAL: Duration = Duration::from_secs(1);

/// Saying so may cost this part of the time: of a job of very many workers it is said less often.
const STATUS_PART: u32 = 100;

/// What the display needs of a run.
pub struct View {
    /// What the job and its parts are called.
    pub names: Names,
    /// Its directory.
    pub dir: JobDir,
    /// Form of the output, which may be quiet.
    pub format: Format,
    /// Where metrics are left too.
    pub metrics_file: Option<PathBuf>,
    /// Price of an hour of a core, by site, where the engine does not say.
    pub prices: BTreeMap<String, f64>,
    /// What an ask to stop sets.
    pub stop: &'static AtomicBool,
    /// What was paid since the last status, while no run drove the job.
    pub brought: Account,
    /// Of a coordinator of waves: set once it has sent one, which ends its run.
    pub sent: Option<Arc<AtomicBool>>,
}

/// Draws and writes what the driver tells.
pub struct Display {
    view: View,
    watch: Watch,
    begun: Instant,
    bar: Option<ProgressBar>,
    lines: bool,
    finishing: HashMap<AttemptId, u32>,
    asked: Vec<Report>,
    next: Instant,
    interval: Duration,
    /// How the job stood when a wave was sent.
    out: Option<JobInfo>,
}

impl Display {
    /// A bar if stderr is a terminal; lines otherwise, unless the user wants quiet.
    pub fn new(view: View) -> Self {
        // What was asked of an earlier run is not asked of this one.
        asks::take(&view.dir);
        let (terminal, quiet) = (std::io::stderr().is_terminal(), view.format == Format::Quiet);
        let mut before = status::found(&view.dir).map(|info| info.bill).unwrap_or_default();
        before.add(&view.brought);
        let begun = Instant::now();
        let display = Display {
            watch: Watch::new(view.names.clone(), now_ms(), before),
            bar: (terminal && !quiet).then(|| bar(0, &view.names.job)),
            lines: !terminal && !quiet,
            finishing: HashMap::new(),
            asked: Vec::new(),
            begun,
            next: begun,
            interval: STATUS_INTERVAL,
            out: None,
            view,
        };
        // Until the first status, the last run's would be taken for this one's.
        let bill = display.watch.before().clone();
        let job = display.view.names.job.clone();
        display.leave(&JobInfo { job, bill, ..status::starting() });
        display
    }

    /// Takes the bar away and leaves the last status, with all that ran; returns the bill of all starts.
    pub fn finish(mut self, scheduler: &Scheduler, journal: &Journal, failure: Option<&Failure>) -> Account {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let mut info = self.watch.info(self.now_ms(), scheduler);
        info.failure = failure.map(|failure| failure.chain().join(": "));
        // A drawing that cannot be made is no reason to fail; the last one of the run stays.
        if let Ok(timeline) = status::timeline(journal, &self.view.names.samples) {
            info.timeline = timeline;
            self.watch.name_lanes(&mut info.timeline);
        }
        info.vaults = status::vaults(&self.view.dir);
        if let (Some(out), State::Stopped) = (self.out.take(), info.state) {
            // The wave is out: what was given to it is not waiting for anybody to go on.
            info = JobInfo { state: State::Waiting, samples: out.samples, stages: out.stages, ..info };
        }
        self.leave(&info);
        info.bill
    }

    fn now_ms(&self) -> u64 {
        self.begun.elapsed().as_millis() as u64
    }

    fn leave(&self, info: &JobInfo) {
        status::leave(&self.view.dir, info);
        if let Some(path) = &self.view.metrics_file {
            status::replace(path, metrics::render(info).as_bytes());
        }
    }

    /// Says how the job stands and does what is asked of it, if it is time to.
    fn attend(&mut self, scheduler: &Scheduler) {
        let sent = self.view.sent.as_ref().is_some_and(|sent| sent.load(Ordering::Relaxed));
        if sent && self.out.is_none() {
            self.out = Some(self.watch.info(self.now_ms(), scheduler));
            self.view.stop.store(true, Ordering::Relaxed);
        }
        if Instant::now() < self.next {
            return;
        }
        let began = Instant::now();
        let info = self.watch.info(self.now_ms(), scheduler);
        let info = JobInfo { interval_ms: self.interval.as_millis() as u64, ..info };
        self.leave(&info);
        for ask in asks::take(&self.view.dir) {
            match ask {
                Ask::Stop => self.view.stop.store(true, Ordering::Relaxed),
                Ask::Drain { site, drain } => {
                    let known = scheduler.sites().find(|(_, spec, _)| spec.name == site);
                    self.asked.extend(known.map(|(site, ..)| Report::Drain { site, drain }));
                }
            }
        }
        let took = began.elapsed();
        self.interval = STATUS_INTERVAL.max(took * STATUS_PART);
        self.next = Instant::now() + self.interval;
    }

    /// A site with its price, where its engine does not say one.
    fn priced(&self, event: &Event) -> Option<Event> {
        let Event::Site { site, spec } = event else { return None };
        let price_core_hour = *self.view.prices.get(&spec.name).filter(|_| spec.price_core_hour == 0.0)?;
        Some(Event::Site { site: *site, spec: SiteSpec { price_core_hour, ..spec.clone() } })
    }

    fn draw_bar(&self, bar: &ProgressBar, scheduler: &Scheduler) {
        let stages = Stage::ALL.map(|stage| (stage, scheduler.progress(stage, None)));
        bar.set_length(stages.iter().map(|(_, progress)| progress.tasks).sum());
        bar.set_position(stages.iter().map(|(_, progress)| progress.done).sum());
        let text = stages
            .iter()
            .filter(|(_, progress)| progress.running > 0)
            .map(|(stage, progress)| format!("{stage} {}/{}", progress.done, progress.tasks));
        bar.set_message(text.collect::<Vec<_>>().join(" · "));
    }

    /// Says that a sample is finished.
    fn say_finished(&self, scheduler: &Scheduler, sample: u32) {
        let names = &self.view.names;
        let done = (0..names.samples.len() as u32)
            .map(|sample| scheduler.progress(Stage::Finish, Some(sample)))
            .filter(|progress| progress.tasks > 0 && progress.done == progress.tasks)
            .count();
        let name = &names.samples[sample as usize];
        note(&format!("{}: finished {name} ({done} of {} samples)", names.job, names.samples.len()));
    }
}

impl Observer for Display {
    fn heard(&mut self, _scheduler: &Scheduler, report: &Report) {
        self.watch.heard(self.now_ms(), report);
    }

    fn after(&mut self, scheduler: &Scheduler, event: &Event, commands: &[Command]) {
        match self.priced(event) {
            Some(event) => self.watch.after(self.now_ms(), &event, commands),
            None => self.watch.after(self.now_ms(), event, commands),
        }
        if self.lines {
            for command in commands {
                if let Command::Start { attempt, task: Task::FinishSample(sample), .. } = command {
                    self.finishing.insert(*attempt, *sample);
                }
            }
            if let Event::Done { attempt, .. } = event
                && let Some(sample) = self.finishing.remove(attempt)
            {
                self.say_finished(scheduler, sample);
            }
        }
    }

    fn asked(&mut self) -> Vec<Report> {
        std::mem::take(&mut self.asked)
    }

    fn tick(&mut self, scheduler: &Scheduler) {
        self.attend(scheduler);
        if let Some(bar) = &self.bar {
            self.draw_bar(bar, scheduler);
            bar.tick();
        }
    }
}
