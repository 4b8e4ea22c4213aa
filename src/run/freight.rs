//! What leaves the house with a bundle, and what comes back.
//!
//! Invariant: whatever is packed was leased for the bundle's site and is read here under a permit of its own; only
//! what a task needs is in it. What comes back is opened and sealed again under the samples' own keys before it counts.

use super::runner::Runner;
use cluster::bundle::carried::{CarriedLane, CarriedSample, Standing};
use cluster::bundle::outcome::{Reading, Word};
use cluster::bundle::ticket::BundleKey;
use cluster::tes::Freight;
use cluster::{Output, Request};
use jobs::event::{Event, EventName, Outcome};
use jobs::failure::Failure;
use jobs::parameters::Parameters;
use jobs::policy::Action;
use jobs::task::Task;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use storage::DiskError;
use storage::lease::LeaseKey;
use workers::access::samples_of;
use workers::parcel;
use workers::task::check_summary;

/// Packs for one site.
pub struct SiteFreight<'a> {
    /// Knows the job, the gate and the keys.
    pub runner: &'a Runner<'a>,
    /// The scheduler's key.
    pub leases: &'a LeaseKey,
    /// Where the bundles go.
    pub site: String,
}

impl SiteFreight<'_> {
    fn samples_read(request: &Request) -> Vec<u32> {
        samples_of(request.task, &request.inputs)
    }
}

impl Freight for SiteFreight<'_> {
    fn index(&self) -> Result<(PathBuf, String), Failure> {
        let path = self.runner.context.index.path().to_owned();
        let hashed = blake3::Hasher::new().update_mmap_rayon(&path).map(|hasher| hasher.finalize());
        let digest = hashed.map_err(DiskError::on("read", &path))?;
        Ok((path, digest.to_string()))
    }

    fn parameters(&self) -> Parameters {
        self.runner.cohort.parameters.clone()
    }

    fn lease_key(&self) -> String {
        blake3::Hash::from_bytes(self.leases.public()).to_string()
    }

    fn samples(&self, request: &Request) -> BTreeMap<u32, CarriedSample> {
        let carried = |sample: u32| {
            let known = self.runner.context.sample(sample);
            let lanes = known.lanes.iter().map(|lane| CarriedLane {
                read_group: lane.read_group.clone(),
                header_line: lane.header_line.clone(),
                library: lane.library,
                paired: lane.input.fastq_2.is_some(),
            });
            CarriedSample {
                name: known.name.clone(),
                joint: known.joint,
                participant: known.participant,
                lanes: lanes.collect(),
            }
        };
        Self::samples_read(request).into_iter().map(|sample| (sample, carried(sample))).collect()
    }

    fn pack(&self, request: &Request, key: &BundleKey, pack: &str) -> Result<(Vec<u8>, Request), Failure> {
        let (samples, results) = (Self::samples_read(request), self.runner.dir.results());
        let (bytes, inputs) = self.runner.with_output(request.task, &samples, |access| {
            parcel::pack(access, request.task, &request.inputs, &key.records(), pack, &results)
        })?;
        Ok((bytes, Request { inputs: Arc::new(inputs), ..request.clone() }))
    }

    fn standing(&self, requests: &[Request]) -> Result<Standing, Failure> {
        let (mut leases, mut subjects, mut events) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
        for request in requests {
            let samples = Self::samples_read(request);
            let attempt = (request.task, request.number);
            let (lease, event) = self.runner.lease(self.leases, &self.site, attempt, &samples)?;
            events.push(event);
            leases.insert(request.attempt.0, lease);
            subjects.extend(samples.iter().copied().zip(self.runner.subjects(&samples)));
        }
        self.runner.trail.write_many(&events)?;
        let gate = self.runner.gate;
        Ok(Standing { leases, knowledge: gate.excerpt(&self.site, &*gate.register()?, &subjects) })
    }

    fn read_there(&self, request: &Request, bundle: &str, readings: &[Reading]) -> Result<(), Failure> {
        let (runner, samples) = (self.runner, Self::samples_read(request));
        let event = |reading: &Reading| {
            let (name, outcome) = match &reading.word {
                Word::Permitted { .. } => (EventName::PolicyPermit, Outcome::Ok),
                Word::Renewed { .. } => (EventName::ShardRenewed, Outcome::Ok),
                Word::Refused { .. } => (EventName::PolicyDeny, Outcome::Refused),
            };
            let event = runner.of_task(name, outcome, (request.task, Some(request.number)), &samples);
            let event = Event { consent_epoch: Some(reading.epoch), ..event };
            // It is the worker's word, and its clock.
            let event = event.with("action", Action::Read.name()).with("worker", bundle);
            let event = event.with("site", self.site.as_str()).with("at", reading.at.to_string());
            match &reading.word {
                Word::Permitted { expires } | Word::Renewed { expires } => {
                    event.with("expires", expires.to_string())
                }
                Word::Refused { reasons } => Event { reasons: reasons.clone(), ..event },
            }
        };
        runner.trail.write_many(&readings.iter().map(event).collect::<Vec<_>>())
    }

    fn unpack(
        &self,
        request: &Request,
        task: Task,
        key: &BundleKey,
        folder: &Path,
        output: Output,
    ) -> Result<Output, Failure> {
        let samples = Self::samples_read(request);
        let (pieces, content) = self.runner.with_output(task, &samples, |access| {
            let sent = (&output.pieces[..], &output.summary[..]);
            let (pieces, content) = parcel::unpack(access, task, &key.records(), folder, sent)?;
            check_summary(access, (task, &samples), (&pieces, &output.summary))?;
            Ok((pieces, content))
        })?;
        Ok(Output { pieces, content, summary: output.summary })
    }
}
