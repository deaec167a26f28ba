//! `symbolon auth`

use super::output::Output;
use super::{captures, selected, threshold};
use crate::batch::{Attempt, Outcome, Pipeline};
use crate::error::{Error, Kind, Result};
use crate::gallery::Gallery;
use crate::input::Embeddings;
use crate::isa;
use crate::keys::{self, CustodianSeeds, ParameterSet};
use crate::store::Store;
use serde_json::json;
use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use symbolon_core::attest::Receipt;
use symbolon_core::bfv::{Q54, Q81};
use symbolon_core::cap::Scalar;
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Layout, Threshold, quantise};
use zeroize::Zeroizing;

/// Authenticate: match each probe against the person its id claims, under encryption.
///
/// Prints accept or reject for each row; scores are shown to nobody. A reject is no error: the exit
/// code is 0 when every row was decided.
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
    if let Some(path) = &arguments.receipt {
        refuse_other_files(path)?;
    }
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
        })
        .collect();

    let bar = output.progress("authenticating", attempts.len());
    let progress = |n: usize| bar.inc(n as u64);
    let context = Context { arguments, layout, threshold, seeds: &seeds };
    let outcomes = match seeds.set {
        ParameterSet::Q54 => context.run::<Q54>(&gallery, &attempts, &progress),
        ParameterSet::Q81 => context.run::<Q81>(&gallery, &attempts, &progress),
    };
    bar.finish_and_clear();
    let outcomes = outcomes.map_err(|e| match e.row().and_then(|i| claims.get(i)) {
        Some(claim) => e.in_file(arguments.embeddings.to_string_lossy()).at_row(claim.row),
        None => e,
    })?;

    if let Some(path) = &arguments.receipt {
        let mut bytes = Vec::new();
        outcomes.iter().try_for_each(|outcome| outcome.signed.receipts(&mut bytes))?;
        fs::write(path, bytes).map_err(|e| Error::io(path, "write", &e))?;
    }
    let users = layout.users();
    let accepted = |i: usize| {
        outcomes.get(i / users).is_some_and(|o| o.decisions.accepted >> (i % users) & 1 == 1)
    };
    for (i, claim) in claims.iter().enumerate() {
        let (row, id, accept) = (claim.row, claim.id, accepted(i));
        if output.is_json() {
            let mut line = json!({ "row": row, "id": id, "accept": accept });
            if claim.impostor {
                line["impostor"] = true.into();
            }
            output.line(line.to_string())?;
        } else {
            let verdict = if accept { "accept" } else { "reject" };
            let note = if claim.impostor { "  (impostor)" } else { "" };
            output.line(format!("row {row:>6}  {verdict}  {id}{note}"))?;
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

/// Receipts may take the place of older receipts, and of nothing else: a slip must not cost a key.
fn refuse_other_files(path: &Path) -> Result<()> {
    if fs::metadata(path).is_ok_and(|metadata| !metadata.is_file()) {
        // A pipe or a device loses nothing.
        return Ok(());
    }
    let mut magic = [0; Receipt::MAGIC.len()];
    match fs::File::open(path).and_then(|mut file| file.read_exact(&mut magic)) {
        Ok(()) if magic == Receipt::MAGIC => Ok(()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        Ok(()) | Err(_) => {
            let message = "exists and holds no receipts: it is not overwritten";
            Err(Error::new(Kind::Argument, message).in_file(path.to_string_lossy()))
        }
    }
}

struct Context<'a> {
    arguments: &'a Arguments,
    layout: Layout,
    threshold: Threshold,
    seeds: &'a CustodianSeeds,
}

impl Context<'_> {
    fn run<const L: usize>(
        &self,
        gallery: &Gallery,
        attempts: &[Attempt<'_>],
        progress: &(dyn Fn(usize) + Sync),
    ) -> Result<Vec<Outcome>> {
        let kernels = isa::kernels()?;
        let public = keys::load_public::<L>(&self.arguments.store, kernels, self.seeds)?;
        Pipeline::new(kernels, self.layout, self.threshold, self.seeds, public)
            .run(gallery, attempts, progress)
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
