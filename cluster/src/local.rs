//! The local engine: threads of this process, as one worker.

use crate::engine::{Engine, Order, Report, TaskRunner};
use crate::worker::Pool;
use jobs::failure::Failure;
use scheduler::{WorkerId, WorkerSpec};
use std::sync::mpsc::Sender;
use std::thread::Scope;

/// The threads of this process. Dropping it ends them.
#[derive(Debug)]
pub struct Local {
    pool: Option<Pool>,
}

impl Local {
    /// Starts the threads in `scope`; their worker joins as `worker`.
    pub fn start<'scope, 'env>(
        scope: &'scope Scope<'scope, 'env>,
        runner: &'env (dyn TaskRunner + 'env),
        worker: WorkerId,
        spec: WorkerSpec,
        reports: Sender<Report>,
    ) -> Self {
        let pool = Pool::start(scope, runner, spec.slots, reports.clone());
        // Whoever does not listen any more needs no worker.
        let _ = reports.send(Report::Joined { worker, spec });
        Local { pool: Some(pool) }
    }
}

impl Engine for Local {
    fn give(&mut self, _worker: WorkerId, orders: Vec<Order>) -> Result<(), Failure> {
        if let Some(pool) = &self.pool {
            orders.into_iter().for_each(|order| pool.take(order));
        }
        Ok(())
    }

    fn logs_here(&self) -> bool {
        true
    }

    fn close(&mut self) -> Result<(), Failure> {
        self.pool = None;
        Ok(())
    }
}
