//! From the handlers to the batching service and back, whatever the parameter set.

use super::attempts::Attempts;
use super::newest::{Decided, Newest};
use super::roster::Seat;
use crate::batch::{Outcome, Pipeline, Request, StageTimes};
use crate::batching::{
    Answer, Breaker, Counters, Pace, Priority, Rejected, Reply, Service, Settings,
};
use crate::custodian::Rotations;
use crate::error::{Error, Kind, Result};
use crate::pools;
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// A decision that the disk has.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The bit.
    pub accept: bool,
    /// Names the request, and its receipt.
    pub request: [u8; 16],
    /// Names the batch it was decided in.
    pub batch: [u8; 16],
    /// The batch's number in the log.
    pub number: u64,
    /// The cosine, in a lab build.
    #[cfg(feature = "lab")]
    pub score: Option<f64>,
}

/// What becomes of one item of many.
pub type Item = (u32, Result<Verdict>);

/// Whoever waits for a verdict.
pub enum Asker {
    /// For one.
    One(oneshot::Sender<Result<Verdict>>),
    /// For the so-manieth of many.
    Many(mpsc::UnboundedSender<Item>, u32),
}

/// An attempt under way: the identity's budget was charged for it.
pub struct Attempt {
    seat: Arc<Seat>,
    attempts: Arc<Attempts>,
    asker: Asker,
}

impl Attempt {
    /// Charges the identity's budget.
    ///
    /// Errors: `E-LOCKED`, and the time until it may be tried again.
    pub fn begin(
        seat: &Arc<Seat>,
        attempts: &Arc<Attempts>,
        asker: Asker,
    ) -> std::result::Result<Self, std::time::Duration> {
        attempts.begin(seat)?;
        Ok(Self { seat: Arc::clone(seat), attempts: Arc::clone(attempts), asker })
    }
}

/// An attempt that was taken in, and where its decision is noted.
struct Entrant {
    attempt: Attempt,
    newest: Arc<Newest>,
}

impl Reply<Outcome> for Entrant {
    fn answer(self, answer: Result<Answer<Outcome>>) {
        let Self { attempt: Attempt { seat, attempts, asker }, newest } = self;
        let verdict = answer.and_then(|Answer { batch, lane }| {
            let attested = batch.ticket.attested();
            let missing = || Error::new(Kind::Internal, "a batch has fewer leaves than requests");
            let leaf = attested.leaves.get(lane).ok_or_else(missing)?;
            let verdict = Verdict {
                accept: leaf.accept,
                request: leaf.request,
                batch: attested.batch.batch,
                number: batch.ticket.number(),
                #[cfg(feature = "lab")]
                score: batch.scores.and_then(|scores| scores.get(lane).copied()),
            };
            newest.add(Decided { verdict, time_ms: attested.batch.time_ms });
            Ok(verdict)
        });
        match &verdict {
            Ok(Verdict { accept: false, .. }) => attempts.rejected(&seat),
            Ok(_) | Err(_) => attempts.absolve(&seat),
        }
        // Whoever asked may have gone.
        match asker {
            Asker::One(one) => drop(one.send(verdict)),
            Asker::Many(many, index) => drop(many.send((index, verdict))),
        }
    }
}

/// A batching service, whatever its pipeline.
pub trait Decider: Send + Sync {
    /// Takes an attempt in; it is answered. Where it is not taken in, the budget is as before.
    ///
    /// # Errors
    /// [`Rejected`], with the request.
    fn submit(
        &self,
        request: Request,
        attempt: Attempt,
        priority: Priority,
        deadline: Option<Instant>,
    ) -> std::result::Result<(), (Rejected, Request)>;

    /// What the service has done.
    fn counters(&self) -> &Counters;

    /// What the stages of its batches took.
    fn stages(&self) -> &StageTimes;

    /// Its breaker.
    fn breaker(&self) -> &Breaker;

    /// That of attestation.
    fn attestation(&self) -> &Breaker;

    /// Its strategy.
    fn pace(&self) -> &Pace;

    /// Requests that wait, by priority, and the room for those of one.
    fn depth(&self) -> ([usize; 3], usize);

    /// How the custodian's keys were rotated.
    fn rotations(&self) -> Rotations;

    /// The key in use.
    fn epoch(&self) -> u32;

    /// The pool of the next keys, if there is one.
    fn pool(&self) -> Option<pools::Status>;

    /// Batches that the custodian refused.
    fn refused(&self) -> u64;

    /// What it cannot go on without, if it lacks it.
    fn failure(&self) -> Option<Error>;

    /// What the memory of keys lacks.
    fn degraded(&self) -> Option<String>;

    /// The newest decisions.
    fn newest(&self) -> &Newest;

    /// Takes nothing in any more, and returns when everything is answered. Errors: those of [`Service::drain`].
    fn drain(self: Box<Self>) -> Result<()>;
}

struct Live<const L: usize> {
    pipeline: Arc<Pipeline<L>>,
    service: Service<Pipeline<L>, Entrant>,
    newest: Arc<Newest>,
}

/// Starts a service over a pipeline. Errors: those of [`Service::start`].
pub fn start<const L: usize>(
    pipeline: Pipeline<L>,
    settings: &Settings,
) -> Result<Box<dyn Decider>> {
    let pipeline = Arc::new(pipeline);
    let service = Service::start(Arc::clone(&pipeline), settings)?;
    Ok(Box::new(Live { pipeline, service, newest: Arc::default() }))
}

impl<const L: usize> Decider for Live<L> {
    fn submit(
        &self,
        request: Request,
        attempt: Attempt,
        priority: Priority,
        deadline: Option<Instant>,
    ) -> std::result::Result<(), (Rejected, Request)> {
        let entrant = Entrant { attempt, newest: Arc::clone(&self.newest) };
        let submitted = self.service.submit(request, entrant, priority, deadline);
        submitted.map_err(|(rejected, request, entrant)| {
            let Attempt { seat, attempts, .. } = entrant.attempt;
            attempts.absolve(&seat);
            (rejected, request)
        })
    }

    fn counters(&self) -> &Counters {
        self.service.counters()
    }

    fn stages(&self) -> &StageTimes {
        self.pipeline.times()
    }

    fn breaker(&self) -> &Breaker {
        self.service.breaker()
    }

    fn attestation(&self) -> &Breaker {
        self.service.attestation()
    }

    fn pace(&self) -> &Pace {
        self.service.pace()
    }

    fn depth(&self) -> ([usize; 3], usize) {
        self.service.depth()
    }

    fn rotations(&self) -> Rotations {
        self.pipeline.epochs().rotations()
    }

    fn epoch(&self) -> u32 {
        self.pipeline.epochs().current().number()
    }

    fn pool(&self) -> Option<pools::Status> {
        self.pipeline.epochs().pool()
    }

    fn refused(&self) -> u64 {
        self.pipeline.refused()
    }

    fn failure(&self) -> Option<Error> {
        self.service.failure()
    }

    fn degraded(&self) -> Option<String> {
        self.pipeline.epochs().degraded()
    }

    fn newest(&self) -> &Newest {
        &self.newest
    }

    fn drain(self: Box<Self>) -> Result<()> {
        self.service.drain()
    }
}
