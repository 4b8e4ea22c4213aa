//! The local engine: threads of this process.
//!
//! The engine's own thread drives the scheduler and writes the journal; worker threads run tasks. A task's output is
//! committed before the scheduler hears of it. A panic in a task is that task's failure, not the process's.

use crate::engine::{Observer, Output, Request, TaskRunner};
use crate::meter::{now_ms, thread_cpu_ms};
use jobs::failure::{Class, Classified, Failure};
use jobs::task::Task;
use scheduler::old::{Command, Ending, Event, Scheduler};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use storage::{Changes, Commit, Journal};

/// How often the engine looks whether somebody wants it to stop.
const TICK: Duration = Duration::from_millis(100);

/// A task ended by a panic.
#[derive(Debug, thiserror::Error)]
#[error("task {task} broke a promise of the program: {message}")]
pub struct TaskPanicked {
    /// The task's key.
    pub task: String,
    /// What the panic said.
    pub message: String,
}

impl Classified for TaskPanicked {
    fn class(&self) -> Class {
        Class::Internal
    }

    fn hint(&self) -> Option<String> {
        Some("this is a bug of wakachi; please report it with the message above".to_owned())
    }
}

/// How a run of the engine ended.
#[derive(Debug)]
pub struct Outcome {
    /// What the scheduler said last.
    pub ending: Ending,
    /// The first failure, with the task that failed.
    pub failure: Option<(Task, Failure)>,
    /// Tasks run by this process, not counting what the journal already held.
    pub tasks_run: u64,
    /// CPU time of those tasks, and of attempts that failed, in milliseconds.
    pub cpu_ms: u64,
}

struct Ended {
    task: Task,
    attempt: u32,
    result: Result<Output, Failure>,
    cpu_ms: u64,
    started_ms: u64,
    finished_ms: u64,
    slot: u32,
}

/// Runs the job to its end: first tells the scheduler what the journal holds, then feeds `threads` workers.
/// `stop` may be set at any time; the engine then abandons what runs and returns.
pub fn run(
    scheduler: &mut Scheduler,
    journal: &Journal,
    runner: &dyn TaskRunner,
    observer: &mut dyn Observer,
    threads: u32,
    stop: &AtomicBool,
) -> Result<Outcome, Failure> {
    let samples: Vec<String> = scheduler.plan().samples.iter().map(|sample| sample.name.clone()).collect();
    let mut commits = HashMap::new();
    for (key, commit) in journal.commits()? {
        // A commit of another cut of the genome names a task this plan does not have; it is left alone.
        let Some(task) = Task::from_key(&key, &samples) else { continue };
        commits.insert(task, Arc::new(commit));
    }
    let begun = Instant::now();
    let mut known: Vec<Task> = commits.keys().copied().filter(|&task| scheduler.knows(task)).collect();
    known.sort();
    for task in known {
        let event = Event::Done { task, chunks: runner.chunks_of(&commits[&task]) };
        scheduler.handle(0, event);
    }
    let (requests, queue) = channel::<Request>();
    let (results, ended) = channel::<Ended>();
    let queue = Mutex::new(queue);
    thread::scope(|scope| {
        for slot in 0..threads {
            let (queue, results, samples) = (&queue, results.clone(), &samples);
            scope.spawn(move || serve(slot, queue, &results, runner, samples));
        }
        let mut driver = Driver {
            scheduler,
            journal,
            runner,
            samples: &samples,
            commits,
            requests,
            outcome: Outcome { ending: Ending::Stopped, failure: None, tasks_run: 0, cpu_ms: 0 },
        };
        let elapsed_ms = || begun.elapsed().as_millis() as u64;
        let mut ending = driver.tell(elapsed_ms(), Event::Begin, observer)?;
        while ending.is_none() {
            ending = match ended.recv_timeout(TICK) {
                Ok(task) => {
                    let event = driver.settle(task)?;
                    driver.tell(elapsed_ms(), event, observer)?
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    observer.tick(driver.scheduler);
                    None
                }
            };
            if stop.load(Ordering::Relaxed) && ending.is_none() {
                ending = driver.tell(elapsed_ms(), Event::Stop, observer)?;
            }
        }
        driver.outcome.ending = ending.expect("the loop ends with an ending");
        Ok(driver.outcome)
    })
}

struct Driver<'a> {
    scheduler: &'a mut Scheduler,
    journal: &'a Journal,
    runner: &'a dyn TaskRunner,
    samples: &'a [String],
    commits: HashMap<Task, Arc<Commit>>,
    requests: Sender<Request>,
    outcome: Outcome,
}

impl Driver<'_> {
    /// Gives the scheduler an event and carries out its commands.
    fn tell(
        &mut self,
        now_ms: u64,
        event: Event,
        observer: &mut dyn Observer,
    ) -> Result<Option<Ending>, Failure> {
        let commands = self.scheduler.handle(now_ms, event.clone());
        observer.after(self.scheduler, &event);
        for command in commands {
            match command {
                Command::Start(task) => {
                    if let Err(failure) = self.start(task)? {
                        let class = failure.class();
                        self.outcome.failure.get_or_insert((task, failure));
                        let ending = self.tell(now_ms, Event::Failed { task, class }, observer)?;
                        if ending.is_some() {
                            return Ok(ending);
                        }
                    }
                }
                Command::End(ending) => return Ok(Some(ending)),
            }
        }
        Ok(None)
    }

    /// Leases a task and hands it to the workers; the inner error is a lease refused.
    fn start(&mut self, task: Task) -> Result<Result<(), Failure>, Failure> {
        let attempt =
            self.journal.apply(&Changes { attempts: &[&task.key(self.samples)], ..Changes::default() })?[0];
        let lease = match self.runner.lease(task, attempt) {
            Ok(lease) => lease,
            Err(refused) => return Ok(Err(refused)),
        };
        let inputs = self.scheduler.inputs(task).into_iter();
        let inputs = inputs.map(|input| (input, Arc::clone(&self.commits[&input]))).collect();
        // The workers outlive the driver: the scope ends only when the channel is dropped.
        let _ = self.requests.send(Request { task, attempt, lease, inputs: Arc::new(inputs) });
        Ok(Ok(()))
    }

    /// Commits an output, or remembers a failure, and says what the scheduler should hear.
    fn settle(&mut self, ended: Ended) -> Result<Event, Failure> {
        let task = ended.task;
        self.outcome.cpu_ms += ended.cpu_ms;
        match ended.result {
            Ok(output) => {
                self.runner.committing(task, ended.attempt, &output)?;
                let commit = Commit {
                    attempt: ended.attempt,
                    pieces: output.pieces,
                    summary: output.summary,
                    cpu_ms: ended.cpu_ms,
                    started_ms: ended.started_ms,
                    finished_ms: ended.finished_ms,
                    slot: ended.slot,
                    ..Commit::default()
                };
                self.journal.commit(&task.key(self.samples), &commit)?;
                self.commits.insert(task, Arc::new(commit));
                self.outcome.tasks_run += 1;
                Ok(Event::Done { task, chunks: output.chunks })
            }
            Err(failure) => {
                let class = failure.class();
                self.outcome.failure.get_or_insert((task, failure));
                Ok(Event::Failed { task, class })
            }
        }
    }
}

/// A worker thread: takes requests until there are no more.
fn serve(
    slot: u32,
    queue: &Mutex<Receiver<Request>>,
    results: &Sender<Ended>,
    runner: &dyn TaskRunner,
    samples: &[String],
) {
    loop {
        let request = match queue.lock() {
            Ok(queue) => queue.recv(),
            Err(_) => return,
        };
        let Ok(request) = request else { return };
        let (started_ms, cpu) = (now_ms(), thread_cpu_ms());
        let result = catch_unwind(AssertUnwindSafe(|| runner.run(&request))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
            Err(Failure::from(TaskPanicked { task: request.task.key(samples), message }))
        });
        let ended = Ended {
            task: request.task,
            attempt: request.attempt,
            result,
            cpu_ms: thread_cpu_ms() - cpu,
            started_ms,
            finished_ms: now_ms(),
            slot,
        };
        if results.send(ended).is_err() {
            return;
        }
    }
}
