//! The three roles together, where the command line cannot reach: lanes that are not in use, the
//! order of lanes, and what comes to the custodian altered or made up.

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use std::collections::{HashMap, HashSet};
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;
use symbolon_core::attest::{Domain, Receipt, Validity, bulk};
use symbolon_core::bfv::{Ciphertext, Q54, Q81};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Folded, Layout, Threshold};
use symbolon_core::wire::Wire;
use symbolon_host::batch::{Attempt, Outcome, Pipeline};
use symbolon_host::custodian::{Custodian, Limits};
use symbolon_host::error::Kind;
use symbolon_host::gallery::{Entry, Gallery, record};
use symbolon_host::gateway::{self, Gateway};
use symbolon_host::isa;
use symbolon_host::keyring::Keyring;
use symbolon_host::keys::{CustodianSeeds, SigningSeeds};
use symbolon_host::log::Log;
use symbolon_host::matcher::{self, Matcher};
use symbolon_host::policy;
use symbolon_host::private_file;
use symbolon_host::signer::{Settings, Signer};
use symbolon_host::store::Store;
use symbolon_platform::locked::{OnFailure, Options};

const LAYOUTS: [Layout; 3] = [Layout::D128, Layout::D256, Layout::D512];
const PEOPLE: usize = 6;

fn kernels() -> &'static Kernels {
    isa::kernels().unwrap()
}

/// Seeds that are the same every time, by way of a key file.
fn seeds<const L: usize>() -> CustodianSeeds {
    let dir = tempfile::tempdir().unwrap();
    // SYCK, version, parameter set, epoch, deployment, seed.
    let mut file = b"SYCK\x02".to_vec();
    file.push(L as u8);
    file.extend_from_slice(&7u32.to_le_bytes());
    file.extend_from_slice(&[0xd0; 16]);
    file.extend_from_slice(&[1; 32]);
    private_file::create(&dir.path().join("custodian.key"), &file).unwrap();
    CustodianSeeds::load(dir.path()).unwrap()
}

/// A person's embedding: far from everybody else's.
fn embedding(layout: Layout, person: usize) -> Vec<f64> {
    let mut rng = ChaCha20Rng::from_seed([person as u8; 32]);
    (0..layout.dims()).map(|_| f64::from(rng.next_u32() as i32)).collect()
}

/// Person i at position i.
fn gallery(layout: Layout) -> Gallery {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::create_or_open(dir.path(), layout.dims()).unwrap();
    let name = |person: usize| format!("person {person}");
    let record = |person| record(layout, &embedding(layout, person)).unwrap();
    store.enrol((0..PEOPLE).map(|person| (name(person), record(person)))).unwrap();
    let mut gallery = Gallery::new(layout);
    for person in 0..PEOPLE {
        assert_eq!(gallery.load(&store, &name(person)).unwrap(), Some(person));
    }
    gallery
}

fn pipeline<const L: usize>(layout: Layout, cosine: f64) -> Pipeline<L> {
    signing_pipeline(layout, cosine, None).0
}

/// A custodian with the key of the seeds first.
fn custodian<const L: usize>(limits: Option<Limits>) -> Custodian<L> {
    // As root or not, and with how much memory may be locked, is not what these tests are about.
    let memory = Options { on_failure: OnFailure::Degrade, huge: false };
    Custodian::new(kernels(), &seeds::<L>(), limits, memory).unwrap()
}

/// With the keys that its receipts verify under.
fn signing_pipeline<const L: usize>(
    layout: Layout,
    cosine: f64,
    limits: Option<Limits>,
) -> (Pipeline<L>, Keyring) {
    let (seeds, threshold) = (seeds::<L>(), Threshold::from_cosine(layout, cosine).unwrap());
    // The log's file stays open after its directory has gone, on Unix.
    let dir = tempfile::tempdir().unwrap();
    let log = Log::create_or_open(dir.path(), seeds.deployment.id, seeds.seal_key()).unwrap();
    let keys = SigningSeeds::draw(seeds.deployment, Validity::ALWAYS).unwrap().keys().unwrap();
    let ring = Keyring::parse(&keys.public(), Path::new("ring")).unwrap();
    let signer = Signer::start(log, Arc::new(keys), Settings::default()).unwrap();
    let signer = Arc::new(signer);
    (Pipeline::new(kernels(), layout, threshold, custodian(limits), signer), ring)
}

/// Whose probe, and whom it claims to be: with no period that a permutation of lanes could keep.
fn plan(count: usize) -> Vec<(usize, usize)> {
    let mut rng = ChaCha20Rng::from_seed([99; 32]);
    let mut person = || rng.next_u32() as usize % PEOPLE;
    (0..count)
        .map(|_| {
            let own = person();
            (own, if person() < PEOPLE / 2 { own } else { person() })
        })
        .collect()
}

fn run<const L: usize>(
    pipeline: &Pipeline<L>,
    layout: Layout,
    plan: &[(usize, usize)],
) -> Vec<Outcome> {
    let people: Vec<_> = (0..PEOPLE).map(|person| embedding(layout, person)).collect();
    let attempts: Vec<_> = plan
        .iter()
        .map(|&(own, claim)| Attempt { probe: &people[own], claim, proof: None })
        .collect();
    pipeline.run(&gallery(layout), &attempts, &|_| {}).unwrap()
}

fn lanes_in_order<const L: usize>() {
    for layout in LAYOUTS {
        let users = layout.users();
        let (half, all) = (pipeline::<L>(layout, 0.5), pipeline::<L>(layout, -1.0));
        // A full batch or several; then a last one with one lane in use, with all but one.
        for count in [1, users - 1, users, users + 1, 4 * users - 3] {
            let plan = plan(count);
            let outcomes = run(&half, layout, &plan);
            assert_eq!(outcomes.len(), count.div_ceil(users));
            for (outcome, plan) in outcomes.iter().zip(plan.chunks(users)) {
                let bits = plan
                    .iter()
                    .rev()
                    .fold(0, |bits, (own, claim)| bits << 1 | u32::from(own == claim));
                assert_eq!(outcome.decisions.accepted, bits);
                assert!(!outcome.decisions.refused);
            }
            // Whoever takes part is accepted, and nobody else.
            for (outcome, plan) in run(&all, layout, &plan).iter().zip(plan.chunks(users)) {
                assert_eq!(u64::from(outcome.decisions.accepted), (1 << plan.len()) - 1);
            }
        }
        assert_eq!((half.refused(), all.refused()), (0, 0));
        assert!(run(&half, layout, &[]).is_empty());
    }
}

#[test]
fn lanes_in_order_q54() {
    lanes_in_order::<Q54>();
}

#[test]
fn lanes_in_order_q81() {
    lanes_in_order::<Q81>();
}

#[test]
fn receipts_say_who_and_what() {
    let layout = Layout::D256;
    let (plan, people) = (plan(20), gallery(layout));
    let probes: Vec<_> = (0..PEOPLE).map(|person| embedding(layout, person)).collect();
    let attempts: Vec<_> = plan
        .iter()
        .map(|&(own, claim)| Attempt { probe: &probes[own], claim, proof: None })
        .collect();
    let (pipeline, ring) = signing_pipeline::<Q54>(layout, 0.5, None);
    let outcomes = pipeline.run(&people, &attempts, &|_| {}).unwrap();

    let (mut requests, mut batches, mut row) = (Vec::new(), Vec::new(), 0);
    for (outcome, batch) in outcomes.iter().zip(plan.chunks(layout.users())) {
        let mut bytes = Vec::new();
        outcome.ticket.receipts(&mut bytes).unwrap();
        let mut rest = &bytes[..];
        for (lane, &(own, claim)) in batch.iter().enumerate() {
            let (receipt, size) = Receipt::decode(rest).unwrap();
            rest = &rest[size..];
            let leaf = ring.verify(&receipt).unwrap();
            let entry = people.get(claim).unwrap();
            assert_eq!(leaf.accept, own == claim);
            assert_eq!((leaf.identity, leaf.template), (entry.identity, entry.commitment));
            assert_eq!(leaf.proof, None);
            let statement = &receipt.batch;
            assert_eq!(statement.verifier, 0);
            let half = Threshold::from_cosine(layout, 0.5).unwrap();
            assert_eq!(statement.policy, policy::digest("Q54", layout, half));
            assert_eq!(usize::from(receipt.index), lane);
            assert_eq!(usize::from(statement.count), batch.len());
            assert_eq!((statement.deployment, statement.key_epoch), ([0xd0; 16], 7));
            assert_eq!((statement.params, statement.dims), (Q54 as u8, 256));
            // ceil(0.5 * 173^2)
            assert_eq!(statement.threshold, 14_965);
            requests.extend([leaf.request, leaf.nonce]);
            batches.push(statement.batch);
            row += 1;
        }
        assert!(rest.is_empty());
    }
    assert_eq!(row, plan.len());
    requests.sort_unstable();
    requests.dedup();
    assert_eq!(requests.len(), 2 * plan.len(), "every request and nonce is its own");
    batches.dedup();
    assert_eq!(batches.len(), outcomes.len());
}

#[test]
fn errors_name_the_attempt() {
    let layout = Layout::D128;
    let (pipeline, gallery) = (pipeline::<Q54>(layout, 0.5), gallery(layout));
    let good = embedding(layout, 0);
    let mut nan = good.clone();
    nan[77] = f64::NAN;
    let (zero, long) = (vec![0.0; 128], vec![1.0; 129]);
    let cases: [(&[f64], usize, Kind); 5] = [
        (&nan, 0, Kind::NotFinite),
        (&zero, 0, Kind::ZeroVector),
        (&long, 0, Kind::Dimension),
        (&[], 0, Kind::Dimension),
        (&good, PEOPLE, Kind::UnknownId),
    ];
    for (probe, claim, kind) in cases {
        for (at, count) in [(0, 1), (70, 100)] {
            let mut attempts = vec![Attempt { probe: &good, claim: 0, proof: None }; count];
            attempts[at] = Attempt { probe, claim, proof: None };
            let error = pipeline.run(&gallery, &attempts, &|_| {}).err().unwrap();
            assert_eq!(error.kind(), kind);
            assert_eq!(error.row(), Some(at), "{error}");
        }
    }
}

// --- one key after the other ---

fn limits(batches: u32) -> Option<Limits> {
    Some(Limits { batches: NonZeroU32::new(batches)?, ..Limits::default() })
}

/// Keys change every few batches on all threads at once: every decision is right, receipts name the key's
/// epoch and verify, and nothing is refused.
fn keys_follow_one_another(threads: usize, each: u32, count: usize) {
    let layout = Layout::D512;
    let (plan, people) = (plan(layout.users() * count), gallery(layout));
    let probes: Vec<_> = (0..PEOPLE).map(|person| embedding(layout, person)).collect();
    let attempts: Vec<_> = plan
        .iter()
        .map(|&(own, claim)| Attempt { probe: &probes[own], claim, proof: None })
        .collect();
    let (pipeline, ring) = signing_pipeline::<Q54>(layout, 0.5, limits(each));
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let outcomes = pool.install(|| pipeline.run(&people, &attempts, &|_| {})).unwrap();

    let mut batches = HashMap::<u32, u32>::new();
    let mut bytes = Vec::new();
    for (outcome, batch) in outcomes.iter().zip(plan.chunks(layout.users())) {
        let bits =
            batch.iter().rev().fold(0, |bits, (own, claim)| bits << 1 | u32::from(own == claim));
        assert_eq!(outcome.decisions.accepted, bits);
        *batches.entry(outcome.ticket.attested().batch.key_epoch).or_default() += 1;
    }
    outcomes[0].ticket.receipts(&mut bytes).unwrap();
    ring.verify(&Receipt::decode(&bytes).unwrap().0).unwrap();
    let rotations = pipeline.epochs().rotations();
    assert_eq!((pipeline.refused(), rotations.failed), (0, 0));
    // Who meets a rotation under way begins under the old key, up to twice the limit.
    assert!(batches.values().all(|&count| count <= 2 * each), "{batches:?}");
    assert!(batches.len() >= count / (2 * each as usize), "{batches:?}");
    // Seconds since 1970, not the deployment's own epoch.
    assert!(batches.keys().all(|&epoch| epoch > 1_767_225_600));
}

#[test]
fn keys_follow_one_another_on_two_threads() {
    keys_follow_one_another(2, 5, 200);
    keys_follow_one_another(2, 1, 50);
}

/// With more threads than cores, whoever brings in the next key is often interrupted in the middle.
#[test]
fn keys_follow_one_another_on_many_threads() {
    keys_follow_one_another(16, 1, 200);
    keys_follow_one_another(16, 5, 200);
    keys_follow_one_another(96, 64, 400);
}

/// However many old keys are still held, there is a next one, and none serves twice.
#[test]
fn every_epoch_has_a_key_of_its_own() {
    let custodian = custodian::<Q54>(limits(1));
    let (mut worker, mut held, mut seen) =
        (custodian.epochs().current(), Vec::new(), HashSet::new());
    for turn in 0..40 {
        custodian.epochs().begin(&mut worker).unwrap();
        assert!(seen.insert(encoded(worker.public())), "a key serves twice");
        if turn < 12 { held.push(Arc::clone(&worker)) } else { held.clear() }
    }
    let rotations = custodian.epochs().rotations();
    assert_eq!((rotations.rotated, rotations.failed), (39, 0));
}

/// Somebody who has one batch decided again and again does not shut out those who begin; and no start of
/// the deployment uses the key of another.
#[test]
fn whoever_asks_too_often_shuts_out_nobody() {
    let layout = Layout::D128;
    let (gateway, matcher) = (Gateway::new(kernels(), layout), Matcher::new(kernels(), layout));
    let (mut front, mut back) =
        (gateway::Desk::new(layout).unwrap(), matcher::Desk::new().unwrap());
    let (people, probe) = (gallery(layout), embedding(layout, 0));
    let half = Threshold::from_cosine(layout, 0.5).unwrap();
    let custodian = custodian::<Q54>(limits(5));
    let mut mine = custodian.epochs().current();
    let mut answers = 0;
    for turn in 0..2 {
        custodian.epochs().begin(&mut mine).unwrap();
        gateway.encrypt(&mut front, mine.public(), &[&probe]).unwrap();
        let templates: [&Entry; 1] = [people.get(0).unwrap()];
        let key = mine.public();
        let (folded, _) = matcher.fold(&mut back, key, front.ciphertext(), &templates).unwrap();
        let decisions = custodian.decide(&mine, folded, 1, half);
        assert_eq!((decisions.accepted, decisions.refused), (1, false), "turn {turn}");
        for _ in 0..20 {
            answers += u32::from(!custodian.decide(&mine, folded, 1, half).refused);
        }
        // The same deployment, started anew: to its key this batch is noise.
        let again = self::custodian::<Q54>(limits(5));
        assert!(again.decide(&again.epochs().current(), folded, 1, half).refused);
    }
    assert_eq!(answers, 2 * 9);
}

/// A batch keeps the key that it began with, however many follow; a key that has decided twice its limit
/// decides nothing more, whoever asks.
#[test]
fn a_batch_ends_under_its_key_and_a_key_ends() {
    let layout = Layout::D128;
    let custodian = custodian::<Q54>(limits(2));
    let epochs = custodian.epochs();
    let (gateway, matcher) = (Gateway::new(kernels(), layout), Matcher::new(kernels(), layout));
    let (mut front, mut back) =
        (gateway::Desk::new(layout).unwrap(), matcher::Desk::new().unwrap());
    let (people, probe) = (gallery(layout), embedding(layout, 0));
    let half = Threshold::from_cosine(layout, 0.5).unwrap();

    let mut mine = epochs.current();
    epochs.begin(&mut mine).unwrap();
    gateway.encrypt(&mut front, mine.public(), &[&probe]).unwrap();
    let templates: [&Entry; 1] = [people.get(0).unwrap()];
    let mut worker = epochs.current();
    for _ in 0..20 {
        epochs.begin(&mut worker).unwrap();
    }
    assert!(epochs.rotations().rotated >= 9, "{:?}", epochs.rotations());
    assert_ne!(worker.number(), mine.number());
    let (folded, _) =
        matcher.fold(&mut back, mine.public(), front.ciphertext(), &templates).unwrap();
    for _ in 0..4 {
        let decisions = custodian.decide(&mine, folded, 1, half);
        assert_eq!((decisions.accepted, decisions.refused), (1, false));
    }
    let decisions = custodian.decide(&mine, folded, 1, half);
    assert_eq!((decisions.accepted, decisions.refused), (0, true));
    assert_eq!(custodian.refused(), 1);
    // Under another key the same batch is noise.
    assert!(custodian.decide(&worker, folded, 1, half).refused);
}

#[test]
fn keys_get_old() {
    let age = Duration::from_millis(40);
    let limits = Limits { age, ..Limits::default() };
    let custodian = custodian::<Q54>(Some(limits));
    let mut epoch = custodian.epochs().current();
    let first = epoch.number();
    custodian.epochs().begin(&mut epoch).unwrap();
    assert_eq!(epoch.number(), first);
    thread::sleep(2 * age);
    custodian.epochs().begin(&mut epoch).unwrap();
    assert!(epoch.number() > first);
    // Without limits the deployment's own key stays.
    let custodian = self::custodian::<Q54>(None);
    let mut epoch = custodian.epochs().current();
    for _ in 0..2_000 {
        custodian.epochs().begin(&mut epoch).unwrap();
    }
    assert_eq!((epoch.number(), custodian.epochs().rotations().rotated), (7, 0));
}

// --- what is altered or made up ---

const HEADER: usize = 8;

/// The header of a folded batch.
fn folded_header<const L: usize>(layout: Layout) -> Vec<u8> {
    [b"SYMB".as_slice(), &[1, 4, L as u8, layout.id()]].concat()
}

/// Packs words of 27 bits, lowest bit first.
fn pack(out: &mut Vec<u8>, words: impl Iterator<Item = u32>) {
    let bits: Vec<bool> = words.flat_map(|word| (0..27).map(move |i| word >> i & 1 == 1)).collect();
    let byte = |bits: &[bool]| bits.iter().rev().fold(0, |byte, &bit| byte << 1 | u8::from(bit));
    out.extend(bits.chunks(8).map(byte));
}

/// Adds one to the packed word at `index`; one that would leave the range becomes zero.
fn increment(bytes: &mut [u8], index: usize) {
    let bit = HEADER * 8 + index * 27;
    let get = |bytes: &[u8], i: usize| u32::from(bytes[(bit + i) / 8] >> ((bit + i) % 8) & 1);
    let word = (0..27).fold(0, |word, i| word | get(bytes, i) << i);
    // All primes are above it.
    let next = if word < 134_000_000 { word + 1 } else { 0 };
    for i in 0..27 {
        let (at, shift) = ((bit + i) / 8, (bit + i) % 8);
        bytes[at] = bytes[at] & !(1 << shift) | ((next >> i & 1) as u8) << shift;
    }
}

fn encoded<T: Wire>(value: &T) -> Vec<u8> {
    let mut bytes = vec![0; T::SIZE];
    value.encode(kernels(), &mut bytes).unwrap();
    bytes
}

fn decoded<T: Wire + bytemuck::Zeroable>(bytes: &[u8]) -> Box<T> {
    let mut value = bytemuck::zeroed_box::<T>();
    value.decode(kernels(), bytes).unwrap();
    value
}

/// Random words are a well-formed folded batch, and a custodian that decides on it must accept
/// nobody, whatever the threshold. With 8 users one in 4^8 would pass the bound; seeds are fixed.
fn garbage_is_refused<const L: usize>() {
    let custodian = custodian::<L>(None);
    let epoch = custodian.epochs().current();
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let mut word = || rng.next_u32() % 134_000_000;
    let mut refused = 0;
    for layout in LAYOUTS {
        let lowest = Threshold::from_cosine(layout, -1.0).unwrap();
        for _ in 0..10 {
            let mut bytes = folded_header::<L>(layout);
            for _ in 0..L {
                pack(&mut bytes, (0..32).map(|i| if i < layout.users() { word() } else { 0 }));
            }
            pack(&mut bytes, (0..4096 * L).map(|_| word()));
            let folded = decoded::<Folded<L>>(&bytes);
            assert_eq!(folded.layout(), layout);
            for count in [1, layout.users(), 32] {
                let decisions = custodian.decide(&epoch, &folded, count, lowest);
                assert!(decisions.refused);
                assert_eq!(decisions.accepted, 0);
                refused += 1;
                assert_eq!(custodian.refused(), refused);
            }
        }
    }
}

#[test]
fn garbage_is_refused_q54() {
    garbage_is_refused::<Q54>();
}

#[test]
fn garbage_is_refused_q81() {
    garbage_is_refused::<Q81>();
}

/// One word changed by one, at any place between the roles, and the whole batch is refused.
fn one_word_is_enough<const L: usize>() {
    let layout = Layout::D128;
    let users = layout.users();
    let (gateway, matcher) = (Gateway::new(kernels(), layout), Matcher::new(kernels(), layout));
    let custodian = custodian::<L>(None);
    let epoch = custodian.epochs().current();
    let key = epoch.public();
    let lowest = Threshold::from_cosine(layout, -1.0).unwrap();
    let (mut front, mut back) =
        (gateway::Desk::new(layout).unwrap(), matcher::Desk::new().unwrap());

    let (people, probe) = (gallery(layout), embedding(layout, 0));
    let templates: Vec<&Entry> = vec![people.get(0).unwrap(); users];
    gateway.encrypt(&mut front, key, &vec![probe.as_slice(); users]).unwrap();
    let ciphertext = encoded(front.ciphertext());
    assert_eq!(front.digest(kernels()), bulk(kernels(), Domain::PROBE, &[&ciphertext]));
    let (folded, _) = matcher.fold(&mut back, key, front.ciphertext(), &templates).unwrap();
    let honest = encoded(folded);

    // All lanes hold a genuine attempt: those not in use are rejected all the same.
    let half = Threshold::from_cosine(layout, 0.5).unwrap();
    for (count, bits) in [(0, 0), (1, 1), (5, 31), (31, u32::MAX >> 1), (32, u32::MAX)] {
        for threshold in [lowest, half] {
            let decisions = custodian.decide(&epoch, folded, count, threshold);
            assert_eq!((decisions.accepted, decisions.refused), (bits, false));
        }
    }
    assert_eq!(custodian.decide(&epoch, folded, usize::MAX, half).accepted, u32::MAX);
    assert_eq!(custodian.refused(), 0);

    let mut refused = 0;
    let mut refuses = |folded: &Folded<L>, what: &str, index: usize| {
        let decisions = custodian.decide(&epoch, folded, users, lowest);
        assert!(decisions.refused && decisions.accepted == 0, "{what}, word {index}");
        refused += 1;
        assert_eq!(custodian.refused(), refused);
    };
    // Every sum; of the second component the first, the last and some between.
    let (sums, words) = (32 * L, (32 + 4096) * L);
    for index in (0..sums).chain((sums..words).step_by(509)).chain([words - 1]) {
        let mut bytes = honest.clone();
        increment(&mut bytes, index);
        refuses(&decoded::<Folded<L>>(&bytes), "folded", index);
    }
    // The same before the matcher has it.
    for index in (0..2 * 4096 * L).step_by(1021) {
        let mut bytes = ciphertext.clone();
        increment(&mut bytes, index);
        let altered = decoded::<Ciphertext<L>>(&bytes);
        let (folded, _) = matcher.fold(&mut back, key, &altered, &templates).unwrap();
        refuses(folded, "probe", index);
    }
}

#[test]
fn one_word_is_enough_q54() {
    one_word_is_enough::<Q54>();
}

#[test]
fn one_word_is_enough_q81() {
    one_word_is_enough::<Q81>();
}
