//! Batches through gateway, matcher and custodian, on every core.
//!
//! A batch is a ciphertext's worth of attempts. Each thread has its own working memory, made once,
//! and takes the next batch when it has finished one; nothing on the way allocates but the results.
//! Decided batches go to the signer, and no answer leaves [`Pipeline::run`] before the log has it.

use crate::batching::Engine;
use crate::batching::histogram::Histogram;
use crate::custodian::{self, Claims, Custodian, Epoch, Epochs};
use crate::error::{Error, Kind, Result};
use crate::gallery::{Entry, Gallery};
use crate::gateway::{self, Gateway};
use crate::matcher::{self, Matcher};
use crate::signer::{Signer, Stated, Ticket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use symbolon_core::attest::{Digest, Leaf};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Decisions, Layout, Threshold};
use symbolon_platform::clock::Stopwatch;
use zeroize::Zeroizing;

/// One probe against one enrolled person.
#[derive(Clone, Copy)]
pub struct Attempt<'a> {
    /// The embedding, not yet normalised.
    pub probe: &'a [f64],
    /// The position in the gallery of whom it claims to be.
    pub claim: usize,
    /// Digest of the identity proof that came with it, already verified: it goes into the receipt.
    pub proof: Option<Digest>,
}

/// The same as a server has it: checked when it came in, so that no batch fails on it.
pub struct Request {
    /// Quantised: [`Layout::dims`] components.
    pub probe: Zeroizing<Vec<i16>>,
    /// Whom it claims to be.
    pub claim: Arc<Entry>,
    /// The relying party's challenge; drawn here where it has none.
    pub nonce: Option<[u8; 16]>,
    /// See [`Attempt::proof`].
    pub proof: Option<Digest>,
}

/// What a leaf says of an attempt beside its decision.
struct Claim<'a> {
    entry: &'a Entry,
    nonce: Option<[u8; 16]>,
    proof: Option<Digest>,
}

/// What each stage of a batch took, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages {
    /// Gateway: quantise, encode, encrypt.
    pub encrypt: f64,
    /// Matcher: encode templates, encrypt zero, flood, multiply, fold.
    pub fold: f64,
    /// Custodian: decrypt the folded values and decide.
    pub decrypt: f64,
    /// Digests, leaves and the batch's tree; signatures are made beside it, a window at once.
    pub attest: f64,
}

impl Stages {
    /// From probes to decisions.
    pub fn total(&self) -> f64 {
        self.encrypt + self.fold + self.decrypt
    }
}

/// What each stage of all batches took so far; see [`Stages`].
#[derive(Default)]
pub struct StageTimes {
    encrypt: Histogram,
    fold: Histogram,
    decrypt: Histogram,
    attest: Histogram,
}

impl StageTimes {
    fn add(&self, stages: &Stages) {
        let Stages { encrypt, fold, decrypt, attest } = *stages;
        let times = [encrypt, fold, decrypt, attest];
        for ((_, histogram), us) in self.all().into_iter().zip(times) {
            histogram.add([Duration::from_nanos((us * 1e3) as u64)]);
        }
    }

    /// By name, in the order in which a batch goes through them.
    #[must_use]
    pub fn all(&self) -> [(&'static str, &Histogram); 4] {
        let Self { encrypt, fold, decrypt, attest } = self;
        [("encrypt", encrypt), ("fold", fold), ("decrypt", decrypt), ("attest", attest)]
    }
}

/// A batch that was decided and stated, and is nowhere yet.
pub struct Decided {
    decisions: Decisions,
    #[cfg(feature = "lab")]
    scores: custodian::Scores,
    stages: Stages,
    stated: Stated,
}

/// A finished batch.
pub struct Outcome {
    /// One bit a lane.
    pub decisions: Decisions,
    /// A lab build's.
    #[cfg(feature = "lab")]
    pub scores: custodian::Scores,
    /// What it took.
    pub stages: Stages,
    /// The decisions in the log, and their receipts when they are signed.
    pub ticket: Ticket,
}

/// The three roles of a deployment in one process.
pub struct Pipeline<const L: usize> {
    kernels: &'static Kernels,
    layout: Layout,
    threshold: Threshold,
    gateway: Gateway,
    matcher: Matcher,
    custodian: Custodian<L>,
    signer: Arc<Signer>,
    times: StageTimes,
}

/// A thread's working memory, made once.
pub struct Worker<const L: usize> {
    epoch: Arc<Epoch<L>>,
    gateway: gateway::Desk<L>,
    matcher: matcher::Desk<L>,
    custodian: custodian::Desk<L>,
}

impl<const L: usize> Worker<L> {
    fn new(layout: Layout, epoch: Arc<Epoch<L>>) -> Result<Self> {
        Ok(Self {
            epoch,
            gateway: gateway::Desk::new(layout)?,
            matcher: matcher::Desk::new()?,
            custodian: custodian::Desk::new()?,
        })
    }
}

impl<const L: usize> Pipeline<L> {
    /// All roles: a custodian, and whoever signs what it decides.
    pub fn new(
        kernels: &'static Kernels,
        layout: Layout,
        threshold: Threshold,
        custodian: Custodian<L>,
        signer: Arc<Signer>,
    ) -> Self {
        let (gateway, matcher) = (Gateway::new(kernels, layout), Matcher::new(kernels, layout));
        let times = StageTimes::default();
        Self { kernels, layout, threshold, gateway, matcher, custodian, signer, times }
    }

    /// The custodian's keys.
    pub fn epochs(&self) -> &Epochs<L> {
        self.custodian.epochs()
    }

    /// What the stages of batches took so far.
    pub fn times(&self) -> &StageTimes {
        &self.times
    }

    /// Batches refused by the custodian so far.
    pub fn refused(&self) -> u64 {
        self.custodian.refused()
    }

    /// Runs attempts in batches, in parallel on the current rayon pool. Gives the outcomes in order,
    /// when the log has all of them; their receipts follow. Attempt i is lane `i % users` of outcome
    /// `i / users`. `progress` is told of every batch's attempts as it ends.
    ///
    /// Errors: the first of any batch, or of log and signer. `E-NOT-FINITE` and its like name the attempt as row.
    pub fn run(
        &self,
        gallery: &Gallery,
        attempts: &[Attempt<'_>],
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Outcome>> {
        let users = self.layout.users();
        let batches: Vec<_> = attempts.chunks(users).collect();
        let next = AtomicUsize::new(0);
        let work = || -> Result<Vec<(usize, Outcome)>> {
            let mut worker = Worker::new(self.layout, self.custodian.epochs().current())?;
            let mut done = Vec::new();
            loop {
                let index = next.fetch_add(1, Ordering::Relaxed);
                let Some(batch) = batches.get(index) else { return Ok(done) };
                let outcome = self.one(&mut worker, gallery, batch).map_err(|e| {
                    // The others stop at their next batch.
                    next.store(batches.len(), Ordering::Relaxed);
                    match e.row() {
                        Some(lane) => e.at_row(index * users + lane),
                        None => e,
                    }
                })?;
                progress(batch.len());
                done.push((index, outcome));
            }
        };
        let mut outcomes = Vec::with_capacity(batches.len());
        for done in rayon::broadcast(|_| work()) {
            outcomes.extend(done?);
        }
        outcomes.sort_unstable_by_key(|(index, _)| *index);
        outcomes.iter().try_for_each(|(_, outcome)| outcome.ticket.durable())?;
        Ok(outcomes.into_iter().map(|(_, outcome)| outcome).collect())
    }

    fn one(
        &self,
        worker: &mut Worker<L>,
        gallery: &Gallery,
        batch: &[Attempt<'_>],
    ) -> Result<Outcome> {
        let mut probes = Vec::with_capacity(batch.len());
        let mut claims = Vec::with_capacity(batch.len());
        for (lane, attempt) in batch.iter().enumerate() {
            probes.push(attempt.probe);
            let nobody =
                || Error::new(Kind::UnknownId, "nobody is enrolled at this position").at_row(lane);
            let entry = gallery.get(attempt.claim).ok_or_else(nobody)?;
            claims.push(Claim { entry, nonce: None, proof: attempt.proof });
        }
        let watch = Stopwatch::start();
        self.custodian.epochs().begin(&mut worker.epoch)?;
        self.gateway.encrypt(&mut worker.gateway, worker.epoch.public(), &probes)?;
        let decided = self.decide_encrypted(worker, &claims, watch)?;
        self.attest(decided)
    }

    /// Matches what the gateway has encrypted under the worker's epoch, decides, attests. The watch began with it.
    fn decide_encrypted(
        &self,
        worker: &mut Worker<L>,
        claims: &[Claim<'_>],
        mut watch: Stopwatch,
    ) -> Result<Decided> {
        let epoch = &*worker.epoch;
        let mut stages = Stages { encrypt: watch.lap(), ..Stages::default() };
        let templates: Vec<&Entry> = claims.iter().map(|claim| claim.entry).collect();
        let ciphertext = worker.gateway.ciphertext();
        let (folded, blind) =
            self.matcher.fold(&mut worker.matcher, epoch.public(), ciphertext, &templates)?;
        stages.fold = watch.lap();
        let decisions = self.custodian.decide(epoch, folded, claims.len(), self.threshold);
        stages.decrypt = watch.lap();
        #[cfg(feature = "lab")]
        let scores = self.custodian.scores(epoch, folded, decisions);

        let probe = worker.gateway.digest(self.kernels);
        let requests = worker.gateway.requests(claims.len());
        let leaves = requests.iter().zip(claims).map(|(request, claim)| Leaf {
            request: request.id,
            nonce: claim.nonce.unwrap_or(request.nonce),
            identity: claim.entry.identity,
            accept: false,
            proof: claim.proof,
            template: claim.entry.commitment,
        });
        let stated = self.custodian.attest(
            &mut worker.custodian,
            epoch,
            folded,
            decisions,
            self.threshold,
            Claims { leaves: leaves.collect(), probe, blind },
        )?;
        stages.attest = watch.lap();
        self.times.add(&stages);
        Ok(Decided {
            decisions,
            #[cfg(feature = "lab")]
            scores,
            stages,
            stated,
        })
    }
}

/// What single requests are gathered for: a batch of any of them can be decided.
impl<const L: usize> Engine for Pipeline<L> {
    type Request = Request;
    type Desk = Worker<L>;
    type Decided = Decided;
    type Batch = Outcome;

    fn lanes(&self) -> usize {
        self.layout.users()
    }

    fn desk(&self) -> Result<Worker<L>> {
        Worker::new(self.layout, self.custodian.epochs().current())
    }

    fn decide(
        &self,
        worker: &mut Worker<L>,
        requests: &mut dyn ExactSizeIterator<Item = &Request>,
    ) -> Result<Decided> {
        let requests: Vec<&Request> = requests.collect();
        let claims: Vec<_> = requests
            .iter()
            .map(|Request { claim, nonce, proof, .. }| Claim {
                entry: claim,
                nonce: *nonce,
                proof: *proof,
            })
            .collect();
        let watch = Stopwatch::start();
        self.custodian.epochs().begin(&mut worker.epoch)?;
        let probes = requests.iter().map(|request| request.probe.as_slice());
        self.gateway.encrypt_quantised(&mut worker.gateway, worker.epoch.public(), probes)?;
        self.decide_encrypted(worker, &claims, watch)
    }

    fn attest(&self, decided: Decided) -> Result<Outcome> {
        Ok(Outcome {
            decisions: decided.decisions,
            #[cfg(feature = "lab")]
            scores: decided.scores,
            stages: decided.stages,
            ticket: self.signer.submit(decided.stated)?,
        })
    }

    fn durable(&self, outcome: &Outcome) -> Result<()> {
        outcome.ticket.durable()
    }
}
