//! `symbolon auth`

use super::output::Output;
use super::receipts::Receipts;
use super::{KeyUse, Window, captures, selected, signing_json, signing_line, threshold};
use crate::batch::{Attempt, Outcome, Pipeline};
use crate::error::{Error, Kind, Result};
use crate::gallery::Gallery;
use crate::input::Embeddings;
use crate::isa;
use crate::keyring::hex;
use crate::keys::{self, CustodianSeeds, ParameterSet, SigningKeys};
use crate::log::Log;
use crate::signer::Signer;
use crate::store::Store;
use serde_json::json;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use symbolon_core::bfv::{Q54, Q81};
use symbolon_core::cap::Scalar;
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Layout, Threshold, quantise};
use symbolon_platform::clock;
use zeroize::Zeroizing;

/// Authenticate: match each probe against the person its id claims, under encryption.
///
/// Prints accept or reject for each row, and the request's id, which names its receipt; scores are shown
/// to nobody. A reject is no error: the exit code is 0 when every row was decided. Every decision is in
/// the receipt log, on the disk, before it is printed; the signatures follow, a window at once.
#[derive(clap::Args)]
pub struct Arguments {
    /// Probes, one a row: .npy (2-D, f32 or f64), .csv or .jsonl.
    #[arg(long, value_name = "FILE")]
    embeddings: PathBuf,
    /// Claimed ids, one a line, in the order of the rows. A .jsonl file may hold them itself.
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// The store's directory, which holds the deployment's keys too.
    #[arg(long, value_name = "DIR")]
    store: PathBuf,
    /// The least cosine that is accepted, -1 to 1.
    #[arg(long, value_name = "COSINE", default_value = "0.5", allow_hyphen_values = true)]
    threshold: String,
    /// Which captures of each id to take, where ids repeat: 0 is an id's first row, 1..3 its second to
    /// fourth.
    #[arg(long, value_name = "RANGE")]
    captures: Option<String>,
    /// Try each probe against another person as well: the next id in the file.
    #[arg(long)]
    impostors: bool,
    /// Recompute every decision in the clear (this process holds both sides) and fail on a difference.
    #[arg(long)]
    check: bool,
    /// Write the receipts of all attempts, in order, for `symbolon verify`.
    #[arg(long, value_name = "FILE")]
    receipt: Option<PathBuf>,
    /// The directory of the receipt log, receipts.redb; by default the store's. One process at a time.
    #[arg(long, value_name = "DIR")]
    log: Option<PathBuf>,
    #[command(flatten)]
    window: Window,
    #[command(flatten)]
    key_use: KeyUse,
}

/// One attempt's place in the input.
struct Claim<'a> {
    row: usize,
    id: &'a str,
    position: usize,
    impostor: bool,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    let captures = captures(arguments.captures.as_deref())?;
    let store = Store::open(&arguments.store)?;
    let layout =
        Layout::for_dims(store.dims()).map_err(|e| Error::new(Kind::Dimension, e.to_string()))?;
    let threshold = threshold(layout, &arguments.threshold)?;
    let seeds = CustodianSeeds::load(&arguments.store)?;
    let embeddings = Embeddings::load(&arguments.embeddings)?;
    embeddings.require_dims(store.dims())?;
    let ids = embeddings.label(arguments.ids.as_deref())?;
    let ids_file = arguments.ids.as_ref().unwrap_or(&arguments.embeddings).to_string_lossy();
    let rows = selected(&ids, captures.as_ref()).map_err(|e| e.in_file(&ids_file))?;

    let mut gallery = Gallery::new(layout);
    let mut position = |row: usize, id: &str| {
        gallery.load(&store, id)?.ok_or_else(|| {
            let message = format!("nobody is enrolled as \"{id}\"");
            Error::new(Kind::UnknownId, message).in_file(&ids_file).at_row(row)
        })
    };
    let others = if arguments.impostors { next_ids(&rows)? } else { HashMap::new() };
    let mut claims = Vec::with_capacity(rows.len());
    for &(row, id) in &rows {
        claims.push(Claim { row, id, position: position(row, id)?, impostor: false });
        if let Some(&id) = others.get(id) {
            claims.push(Claim { row, id, position: position(row, id)?, impostor: true });
        }
    }
    let attempts: Vec<Attempt<'_>> = claims
        .iter()
        .map(|claim| Attempt {
            probe: embeddings.row(claim.row).unwrap_or_default(),
            claim: claim.position,
            proof: None,
        })
        .collect();

    let receipts = arguments.receipt.as_deref().map(Receipts::create).transpose()?;
    let bar = output.progress("authenticating", attempts.len());
    let progress = |n: usize| bar.inc(n as u64);
    let context = Context { arguments, layout, threshold, seeds: &seeds, output };
    let outcomes = match seeds.set {
        ParameterSet::Q54 => context.run::<Q54>(&gallery, &attempts, &progress),
        ParameterSet::Q81 => context.run::<Q81>(&gallery, &attempts, &progress),
    };
    bar.finish_and_clear();
    let (outcomes, signer) = outcomes.map_err(|e| match e.row().and_then(|i| claims.get(i)) {
        Some(claim) => e.in_file(arguments.embeddings.to_string_lossy()).at_row(claim.row),
        None => e,
    })?;

    let users = layout.users();
    let accepted = |i: usize| {
        outcomes.get(i / users).is_some_and(|o| o.decisions.accepted >> (i % users) & 1 == 1)
    };
    for (i, claim) in claims.iter().enumerate() {
        let (row, id, accept) = (claim.row, claim.id, accepted(i));
        let leaf = outcomes.get(i / users).and_then(|o| o.ticket.attested().leaves.get(i % users));
        let request = leaf.map(|leaf| hex(&leaf.request)).unwrap_or_default();
        if output.is_json() {
            let mut line = json!({ "row": row, "id": id, "accept": accept, "request": request });
            if claim.impostor {
                line["impostor"] = true.into();
            }
            output.line(line.to_string())?;
        } else {
            let verdict = if accept { "accept" } else { "reject" };
            let note = if claim.impostor { "  (impostor)" } else { "" };
            output.line(format!("row {row:>6}  {verdict}  {id}{note}  request {request}"))?;
        }
    }
    if !output.is_json() {
        let count = |impostor: bool| {
            let of = claims.iter().enumerate().filter(|(_, c)| c.impostor == impostor);
            (of.clone().filter(|(i, _)| accepted(*i)).count(), of.count())
        };
        let (own, all_own) = count(false);
        output.line(format!("accepted {own} of {all_own} at threshold {}", arguments.threshold))?;
        if arguments.impostors {
            let (other, all_other) = count(true);
            output.line(format!("accepted {other} of {all_other} impostors"))?;
        }
    }
    // The answers leave; what was signed follows.
    output.finish()?;
    signer.flush();
    if let Some(mut file) = receipts {
        let bar = output.progress("signing", outcomes.len());
        let mut bytes = Vec::new();
        for outcome in &outcomes {
            bytes.clear();
            outcome.ticket.receipts(&mut bytes)?;
            file.write(&bytes)?;
            bar.inc(1);
        }
        bar.finish_and_clear();
        file.finish()?;
    }
    let metrics = signer.finish()?;
    if output.is_json() {
        output.line(json!({ "signing": signing_json(&metrics) }).to_string())?;
    } else {
        output.line(signing_line(&metrics))?;
    }
    if arguments.check {
        let wrong = attempts
            .iter()
            .enumerate()
            .filter(|(i, a)| clear_decision(layout, threshold, &gallery, a) != Some(accepted(*i)))
            .count();
        if wrong != 0 {
            let message = format!("{wrong} decisions differ from the clear computation");
            return Err(Error::new(Kind::Mismatch, message));
        }
        if !output.is_json() {
            output.line("every decision equals the clear computation")?;
        }
    }
    Ok(())
}

struct Context<'a> {
    arguments: &'a Arguments,
    layout: Layout,
    threshold: Threshold,
    seeds: &'a CustodianSeeds,
    output: &'a Output,
}

impl Context<'_> {
    fn run<const L: usize>(
        &self,
        gallery: &Gallery,
        attempts: &[Attempt<'_>],
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<(Vec<Outcome>, Arc<Signer>)> {
        let kernels = isa::kernels()?;
        let store = &self.arguments.store;
        keys::check_public::<L>(store, kernels, self.seeds)?;
        let deployment = self.seeds.deployment;
        let signing = SigningKeys::load(store, deployment, clock::unix_ms())?;
        let custodian = self.arguments.key_use.custodian::<L>(kernels, self.seeds, self.output)?;
        // The log last: what is refused before it changes nothing.
        let log = self.arguments.log.as_ref().unwrap_or(store);
        let log = Log::create_or_open(log, deployment.id, self.seeds.seal_key())?;
        let settings = self.arguments.window.settings();
        let signer = Arc::new(Signer::start(log, Arc::new(signing), settings)?);
        let (layout, threshold) = (self.layout, self.threshold);
        let pipeline = Pipeline::new(kernels, layout, threshold, custodian, Arc::clone(&signer));
        Ok((pipeline.run(gallery, attempts, progress)?, signer))
    }
}

/// For each id the next one in order of first appearance, the last one's being the first.
fn next_ids<'a>(rows: &[(usize, &'a str)]) -> Result<HashMap<&'a str, &'a str>> {
    let mut order = Vec::new();
    let mut seen = HashMap::new();
    for &(_, id) in rows {
        if seen.insert(id, ()).is_none() {
            order.push(id);
        }
    }
    if order.len() < 2 {
        return Err(Error::new(Kind::Argument, "--impostors needs at least two ids"));
    }
    Ok(order.iter().zip(order.iter().cycle().skip(1)).map(|(&id, &next)| (id, next)).collect())
}

/// The decision by plain integers: accept iff the inner product reaches the threshold.
pub fn clear_decision(
    layout: Layout,
    threshold: Threshold,
    gallery: &Gallery,
    attempt: &Attempt<'_>,
) -> Option<bool> {
    let mut probe = Zeroizing::new(vec![0i16; layout.dims()]);
    quantise(Kernels::scalar(Scalar), layout, attempt.probe, &mut probe).ok()?;
    let template = &gallery.get(attempt.claim)?.template;
    let score: i32 =
        probe.iter().zip(template.iter()).map(|(&p, &t)| i32::from(p) * i32::from(t)).sum();
    Some(score >= threshold.score())
}
