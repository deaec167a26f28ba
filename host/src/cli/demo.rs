//! `symbolon demo`

use super::auth::clear_decision;
use super::devices::{self, Devices};
use super::model::Model;
use super::output::Output;
use super::{KeyUse, Window, rotations_line, signing_json, signing_line, threshold};
use crate::batch::{Attempt, Outcome};
use crate::custodian::Rotations;
use crate::error::{Error, Kind, Result};
use crate::gallery::Gallery;
use crate::isa;
use crate::keyring::Keyring;
use crate::keys::ParameterSet;
use crate::log::{self, Reader};
use crate::signer::Metrics;
use serde_json::json;
use std::sync::Arc;
use symbolon_core::attest::{Digest, Receipt};
use symbolon_core::bfv::{Q54, Q81};
use symbolon_core::matching::Threshold;
use symbolon_platform::clock::Stopwatch;
use zeroize::Zeroizing;

/// Show everything at work; no input needed.
///
/// Makes a population by a documented model and enrols it into a store in a temporary directory. A few people
/// have devices, which prove in zero knowledge that they hold an enrolled credential, make sessions and resume
/// them. Then runs genuine and impostor attempts under encryption, checks every decision against the clear
/// computation, a receipt of every batch and the whole log, and prints what it took: what is verified for the
/// first time beside what is found again.
#[derive(clap::Args)]
pub struct Arguments {
    /// People to enrol.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u64).range(2..=1_000_000))]
    identities: u64,
    /// Attempts, half of them genuine.
    #[arg(long, default_value_t = 32_768, value_parser = clap::value_parser!(u64).range(2..=10_000_000))]
    attempts: u64,
    /// Dimensions of an embedding, 1 to 512.
    #[arg(long, default_value_t = 128)]
    dims: usize,
    /// The least cosine that is accepted, -1 to 1.
    #[arg(long, value_name = "COSINE", default_value = "0.5", allow_hyphen_values = true)]
    threshold: String,
    /// Parameter set.
    #[arg(long, value_enum, default_value = "q54")]
    params: ParameterSet,
    /// Devices that prove an enrolled credential, make sessions and send the first probes of as many people; 0
    /// leaves that out.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u64).range(0..=1024))]
    devices: u64,
    /// Seed of the population; keys and encryption are fresh every time.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    window: Window,
    #[command(flatten)]
    key_use: KeyUse,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    let Arguments { seed, identities, dims, params, .. } = *arguments;
    let model = Model::new(seed, identities, dims, params)?;
    let threshold = threshold(model.layout, &arguments.threshold)?;
    let demo = Demo { arguments, model, threshold };
    match params {
        ParameterSet::Q54 => demo.run::<Q54>(output),
        ParameterSet::Q81 => demo.run::<Q81>(output),
    }
}

struct Demo<'a> {
    arguments: &'a Arguments,
    model: Model,
    threshold: Threshold,
}

/// A planned attempt: whose capture, which one, and whom it claims to be.
#[derive(Clone, Copy)]
struct Plan {
    person: u64,
    capture: u32,
    claim: u64,
}

impl Demo<'_> {
    /// Genuine and impostor attempts in turn, over all people, each with a capture of its own.
    fn plan(&self) -> Vec<Plan> {
        let people = self.arguments.identities;
        (0..self.arguments.attempts)
            .map(|i| {
                let pair = i / 2;
                let person = pair % people;
                let round = pair / people;
                // Capture 0 is enrolled. Each round meets another stranger.
                let stranger = (person + 1 + round % (people - 1)) % people;
                let claim = if i % 2 == 0 { person } else { stranger };
                Plan { person, capture: u32::try_from(1 + round).unwrap_or(u32::MAX), claim }
            })
            .collect()
    }

    fn run<const L: usize>(&self, output: &mut Output) -> Result<()> {
        let kernels = isa::kernels()?;
        let gallery = self.model.enrol(output)?;
        let plan = self.plan();
        let dims = self.arguments.dims;
        let mut probes = Zeroizing::new(vec![0.0; plan.len() * dims]);
        for (plan, out) in plan.iter().zip(probes.chunks_exact_mut(dims)) {
            self.model.population.capture(plan.person, plan.capture, out)?;
        }
        let Arguments { window, key_use, .. } = self.arguments;
        let signing = self.model.signing()?;
        let signs = Arc::clone(&signing);
        let (pipeline, signer) =
            self.model.pipeline::<L>(kernels, self.threshold, signing, window, key_use, output)?;
        // Each of them sends the probe of its person's first attempt, which is genuine, through its session.
        let count = self.arguments.devices.min(self.arguments.identities);
        let mut evidence: Vec<Option<Digest>> = vec![None; plan.len()];
        let mut identity = None;
        if count > 0 {
            let memory = key_use.memory();
            let mut devices = Devices::connect(count as usize, &self.model, signs, memory, output)?;
            let first = plan.iter().zip(probes.chunks_exact_mut(dims)).zip(&mut evidence);
            for ((plan, probe), evidence) in first.step_by(2).take(count as usize) {
                let (sent, digest) = devices.send(plan.person as usize, probe)?;
                probe.copy_from_slice(&sent);
                *evidence = Some(digest);
            }
            identity = Some(devices.report);
        }
        let attempts: Vec<Attempt<'_>> = plan
            .iter()
            .zip(probes.chunks_exact(dims))
            .zip(&evidence)
            .map(|((plan, probe), proof)| Attempt {
                probe,
                claim: plan.claim as usize,
                proof: *proof,
            })
            .collect();

        let bar = output.progress("authenticating", attempts.len());
        let mut watch = Stopwatch::start();
        let outcomes = pipeline.run(&gallery, &attempts, &|n| bar.inc(n as u64))?;
        let answered = watch.lap();
        bar.finish_and_clear();
        let signing = signer.finish()?;
        let signed = answered + watch.lap();

        let ring = Keyring::load(self.model.dir(), None)?;
        let verified = self.verify(&outcomes, &evidence, &ring, output)?;
        let bar = output.progress("verifying log", outcomes.len());
        let history = log::verify(&Reader::open(self.model.dir())?, &ring, &|n| bar.inc(n))?;
        bar.finish_and_clear();
        let tally = self.tally(&plan, &attempts, &gallery, &outcomes)?;
        let report = Report {
            identity,
            isa: kernels.isa(),
            cpu: symbolon_platform::cpu::detect().name(),
            threads: rayon::current_num_threads(),
            refused: pipeline.refused(),
            rotations: pipeline.epochs().rotations(),
            users: self.model.layout.users(),
            batches: outcomes.len(),
            stages: Medians::of(&outcomes),
            answered,
            signed,
            signing,
            history,
            verified,
            tally,
        };
        if output.is_json() {
            output.line(self.json(&report).to_string())?;
        } else {
            self.print(&report, output)?;
        }
        if report.tally.mismatches != 0 {
            let message =
                format!("{} decisions differ from the clear computation", report.tally.mismatches);
            return Err(Error::new(Kind::Mismatch, message));
        }
        if !verified {
            return Err(Error::new(Kind::Receipt, "a receipt does not verify"));
        }
        Ok(())
    }

    /// Whether the last receipt of every batch verifies: decision, paths and all three signatures; and all name
    /// the proofs that came with their probes.
    fn verify(
        &self,
        outcomes: &[Outcome],
        evidence: &[Option<Digest>],
        ring: &Keyring,
        output: &Output,
    ) -> Result<bool> {
        let bar = output.progress("verifying", outcomes.len());
        let mut bytes = Vec::new();
        let mut valid = true;
        let mut proofs = evidence.iter();
        for outcome in outcomes {
            bytes.clear();
            outcome.ticket.receipts(&mut bytes)?;
            let mut rest = bytes.as_slice();
            let mut lane = 0;
            while !rest.is_empty() {
                let Ok((receipt, size)) = Receipt::decode(rest) else { return Ok(false) };
                rest = rest.get(size..).unwrap_or_default();
                valid &= proofs.next() == Some(&receipt.leaf.proof);
                valid &= receipt.leaf.accept == (outcome.decisions.accepted >> lane & 1 == 1);
                lane += 1;
                if rest.is_empty() {
                    valid &= ring.verify(&receipt).is_ok();
                }
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        Ok(valid)
    }

    fn tally(
        &self,
        plan: &[Plan],
        attempts: &[Attempt<'_>],
        gallery: &Gallery,
        outcomes: &[Outcome],
    ) -> Result<Tally> {
        let users = self.model.layout.users();
        let cosine_threshold: f64 = self.arguments.threshold.parse().unwrap_or(f64::NAN);
        let mut tally = Tally::default();
        let mut enrolled = Zeroizing::new(vec![0.0; self.arguments.dims]);
        for (i, (plan, attempt)) in plan.iter().zip(attempts).enumerate() {
            let outcome = outcomes.get(i / users);
            let accept = outcome.is_some_and(|o| o.decisions.accepted >> (i % users) & 1 == 1);
            let genuine = plan.person == plan.claim;
            *match (genuine, accept) {
                (true, true) => &mut tally.genuine_accepted,
                (true, false) => &mut tally.genuine_rejected,
                (false, true) => &mut tally.impostor_accepted,
                (false, false) => &mut tally.impostor_rejected,
            } += 1;
            let clear = clear_decision(self.model.layout, self.threshold, gallery, attempt);
            tally.mismatches += u64::from(clear != Some(accept));
            self.model.population.capture(plan.claim, 0, &mut enrolled)?;
            // Both are of length one already.
            let cosine: f64 = attempt.probe.iter().zip(enrolled.iter()).map(|(a, b)| a * b).sum();
            tally.float_differences += u64::from((cosine >= cosine_threshold) != accept);
        }
        Ok(tally)
    }

    fn json(&self, report: &Report) -> serde_json::Value {
        let (stages, tally) = (&report.stages, &report.tally);
        json!({
            "identities": self.arguments.identities,
            "dims": self.arguments.dims,
            "params": self.arguments.params.name(),
            "threshold": self.arguments.threshold.parse::<f64>().ok(),
            "seed": self.arguments.seed,
            "genuine": { "accepted": tally.genuine_accepted, "rejected": tally.genuine_rejected },
            "impostor": { "accepted": tally.impostor_accepted, "rejected": tally.impostor_rejected },
            "frr": tally.frr(),
            "far": tally.far(),
            "mismatches": tally.mismatches,
            "float_differences": tally.float_differences,
            "refused_batches": report.refused,
            "bfv_keys": report.rotations,
            "identity": report.identity.as_ref().map(devices::Report::json),
            "isa": report.isa,
            "cpu": report.cpu,
            "threads": report.threads,
            "batches": report.batches,
            "batch_us": {
                "encrypt": round(stages.encrypt), "match": round(stages.fold),
                "decrypt": round(stages.decrypt), "total": round(stages.total),
                "attest": round(stages.attest),
            },
            "auths_per_s_per_core": report.per_core().round(),
            "auths_per_s_answered": report.answered_rate(tally.attempts()).round(),
            "auths_per_s_signed": report.signed_rate(tally.attempts()).round(),
            "signing": signing_json(&report.signing),
            "signing_us_per_auth": round(report.signing_per_auth(tally.attempts())),
            "receipt_verified": report.verified,
            "log": {
                "batches": report.history.batches, "decisions": report.history.decisions,
                "windows": report.history.windows, "unsigned_batches": report.history.unsigned,
            },
        })
    }

    fn print(&self, report: &Report, output: &mut Output) -> Result<()> {
        let (stages, tally, users) = (&report.stages, &report.tally, report.users);
        let heading = format!(
            "{} people of {} dimensions, {} attempts in {} batches of {users}, {}, threshold {}",
            self.arguments.identities,
            self.arguments.dims,
            tally.attempts(),
            report.batches,
            self.arguments.params.name(),
            self.arguments.threshold,
        );
        output.line(heading)?;
        output.line("")?;
        output.line("attempts        accepted    rejected")?;
        let row = |name, a, r| format!("{name:<12} {a:>11} {r:>11}");
        let (frr, far) = (tally.frr() * 100.0, tally.far() * 100.0);
        let genuine = row("genuine", tally.genuine_accepted, tally.genuine_rejected);
        output.line(format!("{genuine}    false reject rate {frr:.3} %"))?;
        let impostor = row("impostor", tally.impostor_accepted, tally.impostor_rejected);
        output.line(format!("{impostor}    false accept rate {far:.3} %"))?;
        output.line("")?;
        output.line(format!(
            "decisions that differ from the clear computation: {} (from the unrounded cosine: {})",
            tally.mismatches, tally.float_differences,
        ))?;
        output.line(format!("batches refused by the custodian: {}", report.refused))?;
        output.line(rotations_line(self.arguments.key_use.limits(), &report.rotations))?;
        output.line("")?;
        if let Some(identity) = &report.identity {
            identity.print(output)?;
            output.line("")?;
        }
        output.line(format!("one batch on one core, median ({} kernels)", report.isa))?;
        for (name, us) in [
            ("gateway encrypts", stages.encrypt),
            ("matcher matches", stages.fold),
            ("custodian decides", stages.decrypt),
        ] {
            output.line(bar(name, us, stages.total))?;
        }
        let each = stages.total / users as f64;
        output.line(format!(
            "{:<18} {:>8.1} us, {each:.2} us a person: {:.0} authentications a second and core",
            "probes to bits",
            stages.total,
            report.per_core(),
        ))?;
        output.line(format!(
            "{:<18} {:>8.1} us more: digests, Merkle tree",
            "attesting", stages.attest,
        ))?;
        output.line(format!(
            "{:<18} {:>8.1} us more: its share of three signatures, {:.2} us a person",
            "signing",
            report.signing.signing_us_per_batch(),
            report.signing_per_auth(tally.attempts()),
        ))?;
        output.line(format!(
            "{:<18} {:>8.0} authentications a second answered, {:.0} signed, on {} threads",
            "all together",
            report.answered_rate(tally.attempts()),
            report.signed_rate(tally.attempts()),
            report.threads,
        ))?;
        output.line("")?;
        output.line(signing_line(&report.signing))?;
        output.line("")?;
        output.line(if report.verified {
            format!("receipts: one of each of the {} batches checked, all verify", report.batches)
        } else {
            "receipts: one does not verify".to_owned()
        })?;
        output.line(format!(
            "log: {} decisions in {} windows, chained: all verify",
            report.history.decisions, report.history.windows
        ))
    }
}

/// A stage's row: name, time, and its share as a bar.
fn bar(name: &str, us: f64, total: f64) -> String {
    let width = (us / total * 48.0).round().max(0.0) as usize;
    format!("{name:<18} {us:>8.1} us  {}", "#".repeat(width.min(48)))
}

/// One decimal: what a median of noisy times is worth.
fn round(us: f64) -> f64 {
    (us * 10.0).round() / 10.0
}

#[derive(Default)]
struct Tally {
    genuine_accepted: u64,
    genuine_rejected: u64,
    impostor_accepted: u64,
    impostor_rejected: u64,
    mismatches: u64,
    float_differences: u64,
}

impl Tally {
    fn attempts(&self) -> u64 {
        self.genuine_accepted
            + self.genuine_rejected
            + self.impostor_accepted
            + self.impostor_rejected
    }

    fn frr(&self) -> f64 {
        self.genuine_rejected as f64 / (self.genuine_accepted + self.genuine_rejected) as f64
    }

    fn far(&self) -> f64 {
        self.impostor_accepted as f64 / (self.impostor_accepted + self.impostor_rejected) as f64
    }
}

/// Median microseconds of each stage over all batches.
struct Medians {
    encrypt: f64,
    fold: f64,
    decrypt: f64,
    total: f64,
    attest: f64,
}

impl Medians {
    fn of(outcomes: &[Outcome]) -> Self {
        let median = |of: &dyn Fn(&Outcome) -> f64| {
            let mut times: Vec<f64> = outcomes.iter().map(of).collect();
            times.sort_unstable_by(f64::total_cmp);
            times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
        };
        Self {
            encrypt: median(&|o| o.stages.encrypt),
            fold: median(&|o| o.stages.fold),
            decrypt: median(&|o| o.stages.decrypt),
            total: median(&|o| o.stages.total()),
            attest: median(&|o| o.stages.attest),
        }
    }
}

struct Report {
    identity: Option<devices::Report>,
    rotations: Rotations,
    isa: &'static str,
    cpu: &'static str,
    threads: usize,
    refused: u64,
    users: usize,
    batches: usize,
    stages: Medians,
    /// Microseconds for all batches on all threads, until the log had them.
    answered: f64,
    /// The same, until all were signed.
    signed: f64,
    signing: Metrics,
    history: log::Report,
    verified: bool,
    tally: Tally,
}

impl Report {
    fn per_core(&self) -> f64 {
        self.users as f64 * 1e6 / self.stages.total
    }

    fn answered_rate(&self, attempts: u64) -> f64 {
        attempts as f64 * 1e6 / self.answered
    }

    fn signed_rate(&self, attempts: u64) -> f64 {
        attempts as f64 * 1e6 / self.signed
    }

    /// Time for an authentication's share of the signatures, waiting for a core included.
    fn signing_per_auth(&self, attempts: u64) -> f64 {
        self.signing.signing_us / attempts as f64
    }
}
