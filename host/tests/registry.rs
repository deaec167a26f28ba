//! The identity registry: its tree against one computed in full, epochs, nullifiers, crashes and damage.

use proptest::prelude::*;
use redb::{Database, ReadableTable, TableDefinition, WriteTransaction};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path as FilePath, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Barrier;
use std::time::{Duration, Instant};
use symbolon_host::error::{Error, Kind};
use symbolon_host::identity::epochs::{RootError, State};
use symbolon_host::identity::hash::{Node, Secret, compress};
use symbolon_host::identity::nullifiers::{Presentation, Presented, Refused};
use symbolon_host::identity::registry::{FILE, Published, Registry};
use symbolon_host::identity::tree::{LEVELS, Path, lift, node, parent};
use tempfile::TempDir;

const DEPLOYMENT: [u8; 16] = [0xd0; 16];
const HOUR: u64 = 3_600_000;

type Result<T> = std::result::Result<T, Error>;

/// In memory where that is to be had: these tests commit hundreds of times, and disks sync slowly.
fn tempdir() -> TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// The leaf of a credential with a number.
fn leaf(number: u64) -> Node {
    let mut seed = [0; Secret::SEED];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    Secret::of_seed(&seed).leaf(&Node::of_digest(&[1; 32]))
}

fn person(number: u64) -> (String, Node) {
    (format!("p{number}"), leaf(number))
}

fn people(numbers: impl IntoIterator<Item = u64>) -> Vec<(String, Node)> {
    numbers.into_iter().map(person).collect()
}

fn registry(depth: u8) -> (TempDir, Registry) {
    let temp = tempdir();
    Registry::create(temp.path(), depth, DEPLOYMENT).unwrap();
    let registry = Registry::open(temp.path()).unwrap();
    (temp, registry)
}

fn check(registry: &Registry) -> Result<()> {
    registry.check(&|_| ()).map(|_| ())
}

#[track_caller]
fn refusal<T>(outcome: Result<T>) -> (Kind, Option<usize>, String) {
    let error = outcome.err().unwrap();
    assert!(!error.to_string().contains('\n'));
    (error.kind(), error.row(), error.to_string())
}

/// The root of all places, each node computed anew: `None` for a tree with nothing in it.
fn full(places: &[Node]) -> Option<Node> {
    let node = match places {
        [leaf] => *leaf,
        _ => {
            let (left, right) = places.split_at(places.len() / 2);
            match (full(left), full(right)) {
                (None, None) => return None,
                (a, b) => compress(&a.unwrap_or(Node::ZERO), &b.unwrap_or(Node::ZERO)),
            }
        }
    };
    (node != Node::ZERO).then_some(node)
}

/// As it is proven.
fn lifted(places: &[Node]) -> Node {
    let levels = usize::from(LEVELS) - places.len().ilog2() as usize;
    let root = full(places);
    root.map_or(Node::ZERO, |root| (0..levels).fold(root, |root, _| compress(&root, &Node::ZERO)))
}

/// The root that a path leads to, as the circuit computes it: 62 hashes, whatever the depth.
fn as_proven(path: &Path, leaf: &Node) -> Node {
    let mut node = *leaf;
    for (level, sibling) in path.lifted().iter().enumerate() {
        node = match path.index >> level & 1 {
            0 => compress(&node, sibling),
            _ => compress(sibling, &node),
        };
    }
    node
}

// --- the tree ---

#[test]
fn nothing_is_above_nothing() {
    assert_eq!(parent(&Node::ZERO, &Node::ZERO), Node::ZERO);
    assert_ne!(compress(&Node::ZERO, &Node::ZERO), Node::ZERO);
    assert_eq!(parent(&leaf(1), &Node::ZERO), compress(&leaf(1), &Node::ZERO));
    assert_ne!(parent(&leaf(1), &Node::ZERO), parent(&Node::ZERO, &leaf(1)));
    assert_eq!((lift(&Node::ZERO, 20), lift(&leaf(1), 62)), (Node::ZERO, leaf(1)));
}

/// What a registry should hold.
struct Model {
    depth: u8,
    published: Vec<Node>,
    staged: BTreeMap<u64, Node>,
    ids: BTreeMap<String, (u64, Node)>,
    next: u64,
    now: u64,
    /// Root, end.
    epochs: Vec<(Node, std::result::Result<u64, RootError>)>,
}

impl Model {
    fn new(depth: u8) -> Self {
        let published = vec![Node::ZERO; 1 << depth];
        let (staged, ids) = (BTreeMap::new(), BTreeMap::new());
        Self { depth, published, staged, ids, next: 0, now: 1000, epochs: Vec::new() }
    }

    fn enrol(&mut self, people: &[(String, Node)]) -> bool {
        if self.next + people.len() as u64 > 1 << self.depth {
            return false;
        }
        for (id, leaf) in people {
            self.ids.insert(id.clone(), (self.next, *leaf));
            self.staged.insert(self.next, *leaf);
            self.next += 1;
        }
        true
    }

    fn revoke(&mut self, id: &str) -> bool {
        let Some((place, _)) = self.ids.remove(id) else { return false };
        if self.staged.remove(&place).is_none() {
            self.staged.insert(place, Node::ZERO);
        }
        true
    }

    fn publish(&mut self, overlap: u64) -> bool {
        let revokes = self.staged.values().any(|leaf| *leaf == Node::ZERO);
        for (place, leaf) in std::mem::take(&mut self.staged) {
            self.published[place as usize] = leaf;
        }
        for (_, until) in &mut self.epochs {
            match until {
                _ if revokes => *until = Err(RootError::Withdrawn),
                Ok(end) => {
                    *end = (*end).min(self.now + overlap);
                    if *end <= self.now {
                        *until = Err(RootError::Expired);
                    }
                }
                Err(_) => {}
            }
        }
        self.epochs.push((lifted(&self.published), Ok(u64::MAX)));
        revokes
    }

    fn root_of(&self, number: u32, now: u64) -> std::result::Result<Node, RootError> {
        let before = (number as usize).checked_sub(1);
        let epoch = before.and_then(|at| self.epochs.get(at));
        let (root, until) = epoch.ok_or(RootError::Unknown)?;
        if (*until)? > now { Ok(*root) } else { Err(RootError::Expired) }
    }

    fn compare(&self, registry: &Registry) {
        check(registry).unwrap();
        let current = self.epochs.len() as u32;
        assert_eq!(registry.current_epoch(), current);
        for number in 0..current + 2 {
            for time in [0, self.now - 1, self.now, self.now + 10, self.now + 100, u64::MAX - 1] {
                let (found, wanted) = (registry.root_of(number, time), self.root_of(number, time));
                assert_eq!(found, wanted, "epoch {number} of {current} at {time}");
            }
        }
        for (id, (place, leaf)) in &self.ids {
            let path = registry.path(id);
            if self.staged.contains_key(place) {
                assert_eq!(refusal(path).0, Kind::Unpublished);
                continue;
            }
            let path = path.unwrap();
            assert_eq!((path.epoch, path.index), (current, *place));
            assert_eq!(path.siblings.len(), usize::from(self.depth));
            assert!(path.verify(leaf));
            assert_eq!(path.root, self.epochs.last().unwrap().0);
            assert_eq!(as_proven(&path, leaf), path.root);
        }
        let status = registry.status().unwrap();
        let revokes = self.staged.values().filter(|leaf| **leaf == Node::ZERO).count() as u64;
        let counts =
            (self.ids.len() as u64, self.next, self.staged.len() as u64 - revokes, revokes);
        let found = (status.enrolled, status.places, status.to_enrol, status.to_revoke);
        assert_eq!(found, counts);
    }
}

#[derive(Clone, Debug)]
enum Step {
    Enrol(u64),
    Revoke(Vec<prop::sample::Index>),
    Publish { later: u64, overlap: u64 },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (1_u64..6).prop_map(Step::Enrol),
        2 => prop::collection::vec(any::<prop::sample::Index>(), 1..4).prop_map(Step::Revoke),
        3 => (0_u64..60, 0_u64..150).prop_map(|(later, overlap)| Step::Publish { later, overlap }),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_history(depth in 1_u8..7, steps in prop::collection::vec(step(), 1..25)) {
        let (temp, registry) = registry(depth);
        let mut registry = Some(registry);
        let mut model = Model::new(depth);
        let mut number = 0;
        for step in steps {
            let open = registry.as_ref().unwrap();
            match step {
                Step::Enrol(count) => {
                    let people = people(number..number + count);
                    let enrolled = open.enrol(&people);
                    if model.enrol(&people) {
                        enrolled.unwrap();
                    } else {
                        prop_assert_eq!(refusal(enrolled).0, Kind::IdentitiesFull);
                    }
                    number += count;
                }
                Step::Revoke(chosen) => {
                    let all: Vec<String> = model.ids.keys().cloned().collect();
                    if all.is_empty() {
                        continue;
                    }
                    let ids: BTreeSet<_> = chosen.iter().map(|one| one.get(&all)).collect();
                    open.revoke(&ids.iter().collect::<Vec<_>>()).unwrap();
                    ids.iter().for_each(|id| assert!(model.revoke(id)));
                }
                Step::Publish { later, overlap } => {
                    model.now += later;
                    let published = open.publish(model.now, overlap).unwrap();
                    prop_assert_eq!(published.revoked != 0, model.publish(overlap));
                    prop_assert_eq!(published.epoch.root, model.epochs.last().unwrap().0);
                }
                Step::Reopen => {
                    drop(registry.take());
                    registry = Some(Registry::open(temp.path()).unwrap());
                }
            }
            model.compare(registry.as_ref().unwrap());
        }
        drop(registry.take());
        model.compare(&Registry::open(temp.path()).unwrap());
    }
}

#[test]
fn depth_changes_no_root() {
    let roots: Vec<Node> = [3, 20, 32, 62]
        .into_iter()
        .map(|depth| {
            let (_temp, registry) = registry(depth);
            registry.enrol(&people(0..5)).unwrap();
            let root = registry.publish(1, 0).unwrap().epoch.root;
            let path = registry.path("p3").unwrap();
            assert!(path.verify(&leaf(3)) && !path.verify(&leaf(2)));
            assert_eq!(path.siblings.len(), usize::from(depth));
            root
        })
        .collect();
    let mut places = [Node::ZERO; 8];
    (0..5).for_each(|i| places[i as usize] = leaf(i));
    assert_eq!(roots, [lifted(&places); 4]);
}

#[test]
fn many_at_once_and_one_by_one_are_the_same() {
    let (_temp, one) = registry(40);
    // More than are hashed by a thread at a time, and an odd number.
    one.enrol(&people(0..2501)).unwrap();
    let at_once = one.publish(1, 0).unwrap();
    assert_eq!((at_once.enrolled, at_once.revoked), (2501, 0));
    // 2501 leaves, each level rounded up, 62 levels; nothing was there before.
    let mut wanted = 0;
    let mut width: u64 = 2501;
    for _ in 0..LEVELS {
        width = width.div_ceil(2);
        wanted += width;
    }
    assert_eq!(at_once.hashes, wanted);
    let (_temp, other) = registry(40);
    for start in (0..2501).step_by(100) {
        other.enrol(&people(start..(start + 100).min(2501))).unwrap();
        other.publish(1, 0).unwrap();
    }
    assert_eq!(other.root_of(other.current_epoch(), 1), Ok(at_once.epoch.root));
    // Another leaf, beside the last: 62 hashes, and as many for what was there before. Then away with it.
    other.enrol(&people([9999])).unwrap();
    assert_eq!(other.publish(1, 0).unwrap().hashes, 2 * 62);
    other.revoke(&["p9999"]).unwrap();
    assert_eq!(other.publish(1, 0).unwrap().epoch.root, at_once.epoch.root);
    check(&other).unwrap();
}

// --- enrolment and revocation are all or nothing ---

#[test]
fn refusals_change_nothing() {
    let (_temp, registry) = registry(3);
    registry.enrol(&people(0..4)).unwrap();
    registry.publish(1, 0).unwrap();
    registry.revoke(&["p3"]).unwrap();
    let status = registry.status().unwrap();
    let long = "x".repeat(257);
    let of = |id: &str, number| (id.to_owned(), leaf(number));
    for (row, bad, kind) in [
        (1, of("p2", 10), Kind::DuplicateId),
        (1, of("p9", 10), Kind::DuplicateId),
        (1, of("", 10), Kind::Id),
        (1, of("a\nb", 10), Kind::Id),
        (1, of(&long, 10), Kind::Id),
        (1, of("q", 2), Kind::DuplicateLeaf),
        (1, of("q", 9), Kind::DuplicateLeaf),
        // A revoked one's.
        (1, of("q", 3), Kind::DuplicateLeaf),
        (1, ("q".to_owned(), Node::ZERO), Kind::Leaf),
    ] {
        let (found, at, line) = refusal(registry.enrol(&[person(9), bad]));
        assert_eq!((found, at), (kind, Some(row)), "{line}");
        assert_eq!(registry.status().unwrap(), status, "{line}");
    }
    let (kind, row, line) = refusal(registry.enrol(&people(20..25)));
    assert_eq!((kind, row), (Kind::IdentitiesFull, Some(4)), "{line}");
    for (row, ids) in [(1, ["p1", "p3"]), (1, ["p1", "p1"]), (0, ["nobody", "p1"])] {
        let (kind, at, line) = refusal(registry.revoke(&ids));
        assert_eq!((kind, at), (Kind::UnknownId, Some(row)), "{line}");
    }
    assert_eq!(registry.status().unwrap(), status);
    check(&registry).unwrap();
    // The last place is taken, and then there is none.
    registry.enrol(&people(20..24)).unwrap();
    registry.publish(2, 0).unwrap();
    assert!(registry.path("p23").unwrap().verify(&leaf(23)));
    assert_eq!(refusal(registry.enrol(&people([30]))).0, Kind::IdentitiesFull);
    check(&registry).unwrap();
}

#[test]
fn an_id_comes_back_with_another_leaf() {
    let (_temp, registry) = registry(20);
    registry.enrol(&people(0..3)).unwrap();
    assert_eq!(refusal(registry.path("p1")).0, Kind::Unpublished);
    assert_eq!(refusal(registry.path("nobody")).0, Kind::UnknownId);
    registry.publish(1, 0).unwrap();
    registry.revoke(&["p1"]).unwrap();
    registry.enrol(&[("p1", leaf(77))]).unwrap();
    assert_eq!(refusal(registry.path("p1")).0, Kind::Unpublished);
    let published = registry.publish(2, 0).unwrap();
    assert_eq!((published.enrolled, published.revoked), (1, 1));
    let path = registry.path("p1").unwrap();
    assert!(path.verify(&leaf(77)) && path.index == 3);
    // Enrolled and revoked between two publications, a leaf is never in the tree, and nothing ends.
    registry.enrol(&people([50])).unwrap();
    registry.revoke(&["p50"]).unwrap();
    let next = registry.publish(3, HOUR).unwrap();
    assert_eq!((next.enrolled, next.revoked, next.epoch.root), (0, 0, published.epoch.root));
    assert_eq!(registry.root_of(2, 3), Ok(published.epoch.root));
    assert_eq!(refusal(registry.enrol(&people([50]))).0, Kind::DuplicateLeaf);
    check(&registry).unwrap();
}

// --- epochs ---

#[test]
fn overlaps_end_on_the_millisecond() {
    let (temp, registry) = registry(20);
    let publish = |registry: &Registry, number, now, overlap| -> Published {
        registry.enrol(&people([number])).unwrap();
        registry.publish(now, overlap).unwrap()
    };
    assert_eq!((registry.current_epoch(), registry.root_of(0, 0)), (0, Err(RootError::Unknown)));
    assert_eq!(registry.root_of(1, 0), Err(RootError::Unknown));
    let first = publish(&registry, 1, 1000, 50).epoch;
    assert_eq!((first.number, first.published_ms, first.until_ms), (1, 1000, u64::MAX));
    assert_eq!(registry.root_of(1, u64::MAX - 1), Ok(first.root));
    let second = publish(&registry, 2, 2000, 50).epoch;
    let both = |registry: &Registry| {
        assert_eq!(registry.root_of(1, 2049), Ok(first.root));
        assert_eq!(registry.root_of(1, 2050), Err(RootError::Expired));
        assert_eq!(registry.root_of(2, 2050), Ok(second.root));
        assert_eq!(registry.root_of(3, 2050), Err(RootError::Unknown));
    };
    both(&registry);
    drop(registry);
    let registry = Registry::open(temp.path()).unwrap();
    both(&registry);
    // A longer overlap later gives the first no more time.
    let third = publish(&registry, 3, 2010, 1000).epoch;
    both_end(&registry, [2050, 3010]);
    // A shorter one takes it away from both.
    publish(&registry, 4, 2020, 5);
    both_end(&registry, [2025, 2025]);
    assert_eq!(registry.root_of(3, 2024), Ok(third.root));
    // Found over, an epoch stays so, whatever the clock.
    publish(&registry, 5, 2025, 100);
    for number in 1..=3 {
        assert_eq!(registry.root_of(number, 0), Err(RootError::Expired));
    }
    assert!(registry.root_of(4, 2124).is_ok());
    let states: Vec<State> = registry.history().unwrap().iter().map(|epoch| epoch.state).collect();
    assert_eq!(states, [State::Expired, State::Expired, State::Expired, State::Open, State::Open]);
    // Without overlap the end is at once.
    publish(&registry, 6, 2030, 0);
    assert_eq!(registry.root_of(5, 2030), Err(RootError::Expired));
    // The end of time is none.
    publish(&registry, 7, 2040, u64::MAX);
    assert!(registry.root_of(6, u64::MAX - 1).is_ok());
    check(&registry).unwrap();
}

#[track_caller]
fn both_end(registry: &Registry, ends: [u64; 2]) {
    for (number, end) in (1..).zip(ends) {
        assert!(registry.root_of(number, end - 1).is_ok());
        assert_eq!(registry.root_of(number, end), Err(RootError::Expired));
    }
}

#[test]
fn a_revocation_withdraws_every_root_before_it() {
    let (temp, registry) = registry(20);
    for number in 0..5 {
        registry.enrol(&people([number])).unwrap();
        registry.publish(1000, 24 * HOUR).unwrap();
    }
    registry.revoke(&["p2"]).unwrap();
    // Not before it is published.
    (1..=5).for_each(|number| assert!(registry.root_of(number, 1000).is_ok()));
    let published = registry.publish(1001, 24 * HOUR).unwrap();
    let withdrawn = |registry: &Registry| {
        for number in 1..=5 {
            assert_eq!(registry.root_of(number, 1001), Err(RootError::Withdrawn));
        }
        assert_eq!(registry.root_of(6, 1001), Ok(published.epoch.root));
    };
    withdrawn(&registry);
    assert_eq!(refusal(registry.path("p2")).0, Kind::UnknownId);
    assert!(registry.path("p4").unwrap().verify(&leaf(4)));
    drop(registry);
    let registry = Registry::open(temp.path()).unwrap();
    withdrawn(&registry);
    registry.enrol(&people([9])).unwrap();
    registry.publish(1002, 10).unwrap();
    assert!(registry.root_of(6, 1011).is_ok() && registry.root_of(6, 1012).is_err());
    drop(registry);
    let registry = Registry::open(temp.path()).unwrap();
    assert_eq!(registry.root_of(5, 0), Err(RootError::Withdrawn));
    assert_eq!(registry.root_of(6, 1012), Err(RootError::Expired));
    assert_eq!(Error::from(RootError::Withdrawn).code(), "E-ROOT");
    check(&registry).unwrap();
}

#[test]
fn roots_are_read_while_others_are_published() {
    let (_temp, registry) = registry(20);
    let root = registry.publish(1, HOUR).unwrap().epoch.root;
    let start = Barrier::new(4);
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    start.wait();
                    let mut seen = 0;
                    while seen < 200 {
                        let current = registry.current_epoch();
                        assert!(current >= seen);
                        seen = current;
                        // What is current is there, and so is what came before.
                        assert_eq!(registry.root_of(current, 2), Ok(root));
                        assert_eq!(registry.root_of(1, 2), Ok(root));
                    }
                })
            })
            .collect();
        start.wait();
        (1..200).for_each(|_| assert_eq!(registry.publish(1, HOUR).unwrap().epoch.root, root));
        readers.into_iter().for_each(|reader| reader.join().unwrap());
    });
}

// --- nullifiers ---

fn presentation(epoch: u32, nullifier: u64, fingerprint: u8) -> Presentation {
    Presentation { epoch, nullifier: leaf(nullifier), fingerprint: [fingerprint; 32] }
}

#[test]
fn one_proof_a_nullifier() {
    let (temp, registry) = registry(20);
    registry.enrol(&people(0..3)).unwrap();
    registry.publish(1000, HOUR).unwrap();
    let spend = |registry: &Registry, one| registry.spend(&one, 1000);
    assert_eq!(spend(&registry, presentation(1, 7, 1)), Ok(Presented::First));
    assert_eq!(spend(&registry, presentation(1, 7, 1)), Ok(Presented::Again));
    assert_eq!(refusal(spend(&registry, presentation(1, 7, 2))).0, Kind::Nullifier);
    assert_eq!(refusal(spend(&registry, presentation(0, 7, 1))).0, Kind::Root);
    assert_eq!(refusal(spend(&registry, presentation(2, 7, 1))).0, Kind::Root);
    drop(registry);
    let registry = Registry::open(temp.path()).unwrap();
    assert_eq!(spend(&registry, presentation(1, 7, 1)), Ok(Presented::Again));
    assert_eq!(refusal(spend(&registry, presentation(1, 7, 2))).0, Kind::Nullifier);
    // Many, in order: the first of equal ones counts.
    let many = [
        presentation(1, 7, 1),
        presentation(1, 7, 3),
        presentation(1, 8, 1),
        presentation(1, 8, 1),
        presentation(1, 8, 2),
        presentation(5, 8, 2),
    ];
    use Presented::{Again, First};
    let spent = Err(Refused::Spent);
    let unknown = Err(Refused::Root(RootError::Unknown));
    let wanted = [Ok(Again), spent, Ok(First), Ok(Again), spent, unknown];
    assert_eq!(registry.spend_many(&many, 1000).unwrap(), wanted);
    assert_eq!(registry.spend_many(&[], 1000).unwrap(), []);
    assert_eq!(registry.status().unwrap().nullifiers, 2);
}

#[test]
fn nullifiers_go_with_their_epochs() {
    let (_temp, registry) = registry(20);
    registry.enrol(&people(0..3)).unwrap();
    let kept = || registry.status().unwrap().nullifiers;
    registry.publish(1000, 50).unwrap();
    registry.spend(&presentation(1, 1, 1), 1000).unwrap();
    registry.publish(2000, 50).unwrap();
    // The same nullifier in two epochs would be two hashes that collide; each is kept by itself.
    registry.spend(&presentation(1, 2, 1), 2049).unwrap();
    registry.spend(&presentation(2, 2, 2), 2049).unwrap();
    assert_eq!(refusal(registry.spend(&presentation(1, 3, 1), 2050)).0, Kind::Root);
    // Epoch 1 holds: nothing goes.
    registry.publish(2049, 50).unwrap();
    assert_eq!(kept(), 3);
    // It is over: its two go, and with an earlier clock none comes in anew.
    registry.publish(2050, 50).unwrap();
    assert_eq!(kept(), 1);
    assert_eq!(refusal(registry.spend(&presentation(1, 1, 9), 2000)).0, Kind::Root);
    assert_eq!(registry.spend(&presentation(2, 2, 2), 2050), Ok(Presented::Again));
    registry.spend(&presentation(4, 5, 5), 2050).unwrap();
    registry.revoke(&["p1"]).unwrap();
    registry.publish(2051, 50).unwrap();
    assert_eq!(kept(), 0);
    assert_eq!(refusal(registry.spend(&presentation(4, 5, 5), 2051)).0, Kind::Root);
}

#[test]
fn of_many_proofs_at_once_one_gets_in() {
    let (_temp, registry) = registry(20);
    registry.publish(1, 0).unwrap();
    let first: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let registry = &registry;
                scope.spawn(move || {
                    let outcomes = (0..50).map(|n| registry.spend(&presentation(1, n, thread), 1));
                    outcomes.filter(|outcome| *outcome == Ok(Presented::First)).count()
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).sum()
    });
    assert_eq!((first, registry.status().unwrap().nullifiers), (50, 50));
}

#[test]
fn nothing_is_noted_once_its_epoch_was_withdrawn() {
    let (_temp, registry) = registry(20);
    for round in 0..20 {
        registry.enrol(&people([round])).unwrap();
        let epoch = registry.publish(1, HOUR).unwrap().epoch.number;
        registry.revoke(&[format!("p{round}")]).unwrap();
        std::thread::scope(|scope| {
            for thread in 0..3 {
                let registry = &registry;
                scope.spawn(move || {
                    let mut outcomes =
                        (0..).map(|n| registry.spend(&presentation(epoch, n, thread), 1));
                    let end = outcomes.find(|outcome| {
                        outcome.as_ref().is_err_and(|error| error.kind() != Kind::Nullifier)
                    });
                    assert_eq!(refusal(end.unwrap()).0, Kind::Root);
                });
            }
            std::thread::sleep(Duration::from_micros(200 * round));
            registry.publish(1, HOUR).unwrap();
        });
        assert_eq!(registry.status().unwrap().nullifiers, 0);
    }
}

// --- paths as files ---

#[test]
fn paths_are_read_as_they_were_written() {
    let (_temp, registry) = registry(20);
    registry.enrol(&people(0..5)).unwrap();
    registry.publish(1, 0).unwrap();
    let path = registry.path("p3").unwrap();
    let json = path.to_json();
    assert_eq!(Path::parse(json.as_bytes()).unwrap(), path);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        (&value["epoch"], &value["index"], &value["depth"]),
        (&1.into(), &3.into(), &20.into())
    );
    let first = value["siblings"][0].as_str().unwrap();
    assert_eq!((node(first), first.len()), (Some(leaf(2)), 64));
    assert_eq!(value["siblings"][19], "0".repeat(64));
    assert_eq!(value.as_object().unwrap().len(), 5);

    let edit = |key: &str, to: serde_json::Value| {
        let mut value = value.clone();
        value[key] = to;
        value.to_string()
    };
    for bad in [
        String::new(),
        "{}".into(),
        json[1..].into(),
        format!("{json}x"),
        edit("depth", 21.into()),
        edit("depth", 0.into()),
        edit("depth", 256.into()),
        edit("index", (1 << 20).into()),
        edit("index", (-1).into()),
        edit("epoch", (1_u64 << 32).into()),
        edit("more", 1.into()),
        edit("root", "0".repeat(63).into()),
        edit("root", "f".repeat(64).into()),
        edit("root", "g".repeat(64).into()),
        edit("siblings", vec!["0".repeat(64); 19].into()),
        edit("siblings", vec!["0"; 20].into()),
    ] {
        let (kind, _, line) = refusal(Path::parse(bad.as_bytes()));
        assert_eq!(kind, Kind::Parse, "{line}");
    }
    // Well-formed, and leading elsewhere.
    for bad in [edit("index", 2.into()), edit("root", "0".repeat(64).into())] {
        assert!(!Path::parse(bad.as_bytes()).unwrap().verify(&leaf(3)), "{bad}");
    }
    assert!(!Path { index: path.index | 1 << 20, ..path.clone() }.verify(&leaf(3)));
    assert!(!Path { siblings: vec![], index: 0, ..path.clone() }.verify(&path.root));
    let empty = Path { epoch: 1, index: 0, siblings: vec![Node::ZERO; 20], root: Node::ZERO };
    assert!(!empty.verify(&Node::ZERO));
}

proptest! {
    #[test]
    fn any_path_file(
        epoch: u32, place: u64, depth in 1_u8..=62,
        digests in prop::collection::vec(any::<[u8; 32]>(), 63),
        at: prop::sample::Index, byte: u8,
    ) {
        let nodes: Vec<Node> = digests.iter().map(Node::of_digest).collect();
        let (root, siblings) = (nodes[62], nodes[..usize::from(depth)].to_vec());
        let path = Path { epoch, index: place & ((1 << depth) - 1), siblings, root };
        let mut json = path.to_json().into_bytes();
        prop_assert_eq!(&Path::parse(&json).unwrap(), &path);
        prop_assert!(!path.verify(&nodes[61]));
        *at.get_mut(&mut json) = byte;
        if let Ok(other) = Path::parse(&json) {
            prop_assert_eq!(&Path::parse(other.to_json().as_bytes()).unwrap(), &other);
        }
    }

    #[test]
    fn any_bytes_are_a_path_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Path::parse(&bytes);
    }
}

// --- places that will not do ---

#[test]
fn places_that_will_not_do() {
    let (temp, registry) = registry(20);
    assert_eq!((registry.depth(), registry.deployment()), (20, DEPLOYMENT));
    assert_eq!(refusal(Registry::open(temp.path())).0, Kind::IdentitiesBusy);
    assert_eq!(refusal(Registry::create(temp.path(), 20, DEPLOYMENT)).0, Kind::Argument);
    let other = tempdir();
    assert_eq!(refusal(Registry::open(other.path())).0, Kind::IdentitiesFormat);
    for depth in [0, 63, 255] {
        assert_eq!(refusal(Registry::create(other.path(), depth, DEPLOYMENT)).0, Kind::Argument);
    }
    fs::create_dir(other.path().join(FILE)).unwrap();
    assert_eq!(refusal(Registry::open(other.path())).0, Kind::IdentitiesFormat);
    assert_eq!(refusal(Registry::create(other.path(), 20, DEPLOYMENT)).0, Kind::IdentitiesFormat);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = temp.path().join(FILE).metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

// --- tampering and damage ---

type Bytes = [u8; 32];
const IDS: TableDefinition<&[u8], u64> = TableDefinition::new("ids");
const LEAVES: TableDefinition<&Bytes, u64> = TableDefinition::new("leaves");
const NODES: TableDefinition<(u8, u64), &Bytes> = TableDefinition::new("nodes");
const STAGED: TableDefinition<u64, &Bytes> = TableDefinition::new("staged");
const EPOCHS: TableDefinition<u32, &[u8]> = TableDefinition::new("epochs");
const META: TableDefinition<&[u8], &[u8]> = TableDefinition::new("meta");

/// A registry with a history: p0 to p5, of whom p2 was revoked, p6 to come and p4 to go; epochs 1 to 3.
fn filled() -> (TempDir, PathBuf) {
    let (temp, registry) = registry(20);
    registry.enrol(&people(0..4)).unwrap();
    registry.publish(1000, HOUR).unwrap();
    registry.revoke(&["p2"]).unwrap();
    registry.publish(2000, HOUR).unwrap();
    registry.enrol(&people(4..6)).unwrap();
    registry.publish(3000, HOUR).unwrap();
    registry.enrol(&people([6])).unwrap();
    registry.revoke(&["p4"]).unwrap();
    registry.spend(&presentation(3, 1, 1), 3000).unwrap();
    check(&registry).unwrap();
    drop(registry);
    let path = temp.path().to_owned();
    (temp, path)
}

fn tamper(dir: &FilePath, change: impl FnOnce(&WriteTransaction)) {
    let database = Database::open(dir.join(FILE)).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

type Change = fn(&WriteTransaction);

#[test]
fn what_does_not_agree_is_found() {
    let changes: [(&str, Change); 17] = [
        ("a leaf changed", |t| {
            drop(t.open_table(NODES).unwrap().insert((0, 1), &leaf(99).encode()).unwrap());
        }),
        ("a leaf taken away", |t| drop(t.open_table(NODES).unwrap().remove((0, 1)).unwrap())),
        ("a leaf added", |t| {
            drop(t.open_table(NODES).unwrap().insert((0, 9), &leaf(99).encode()).unwrap());
        }),
        ("a revoked leaf put back", |t| {
            drop(t.open_table(NODES).unwrap().insert((0, 2), &leaf(2).encode()).unwrap());
        }),
        ("a node changed", |t| {
            drop(t.open_table(NODES).unwrap().insert((2, 0), &leaf(99).encode()).unwrap());
        }),
        ("a node taken away", |t| drop(t.open_table(NODES).unwrap().remove((3, 0)).unwrap())),
        ("a node above nothing", |t| {
            drop(t.open_table(NODES).unwrap().insert((3, 7), &leaf(99).encode()).unwrap());
        }),
        ("a node above the root", |t| {
            drop(t.open_table(NODES).unwrap().insert((21, 0), &leaf(99).encode()).unwrap());
        }),
        ("no field elements", |t| {
            drop(t.open_table(NODES).unwrap().insert((1, 0), &[0xff; 32]).unwrap());
        }),
        ("an id taken away", |t| drop(t.open_table(IDS).unwrap().remove(&b"p1"[..]).unwrap())),
        ("an id added", |t| drop(t.open_table(IDS).unwrap().insert(&b"zoe"[..], 2).unwrap())),
        ("an id with another's place", |t| {
            drop(t.open_table(IDS).unwrap().insert(&b"p1"[..], 0).unwrap());
        }),
        ("an id that is none", |t| {
            let mut ids = t.open_table(IDS).unwrap();
            ids.remove(&b"p1"[..]).unwrap();
            ids.insert(&b"\xff"[..], 1).unwrap();
        }),
        ("a revoked leaf forgotten", |t| {
            drop(t.open_table(LEAVES).unwrap().remove(&leaf(2).encode()).unwrap());
        }),
        ("a change of nobody's", |t| {
            drop(t.open_table(STAGED).unwrap().insert(2, &leaf(2).encode()).unwrap());
        }),
        ("a change forgotten", |t| drop(t.open_table(STAGED).unwrap().remove(6).unwrap())),
        ("a root changed", |t| {
            let mut epochs = t.open_table(EPOCHS).unwrap();
            let mut record = epochs.get(3).unwrap().unwrap().value().to_vec();
            record[0] ^= 1;
            epochs.insert(3, &record[..]).unwrap();
        }),
    ];
    for (what, change) in changes {
        let (_temp, dir) = filled();
        tamper(&dir, change);
        let registry = Registry::open(&dir).unwrap();
        let (kind, _, line) = refusal(check(&registry));
        assert_eq!(kind, Kind::IdentitiesFormat, "{what}: {line}");
    }
}

#[test]
fn nothing_is_published_on_nodes_that_are_not_the_roots() {
    // Each beside or below what the next publication changes: places 4 and 6.
    for at in [(0, 5), (1, 2), (2, 0)] {
        let (_temp, dir) = filled();
        tamper(&dir, |t| {
            drop(t.open_table(NODES).unwrap().insert(at, &leaf(99).encode()).unwrap());
        });
        let registry = Registry::open(&dir).unwrap();
        // The node beside another that changes is computed, not read.
        let read = at != (1, 2);
        let outcome = registry.publish(4000, HOUR);
        if read {
            assert_eq!(refusal(outcome).0, Kind::IdentitiesFormat, "{at:?}");
            assert_eq!(registry.current_epoch(), 3);
            assert_eq!(registry.history().unwrap().len(), 3);
        } else {
            check(&registry).unwrap();
        }
    }
    let (_temp, dir) = filled();
    tamper(&dir, |t| {
        drop(t.open_table(NODES).unwrap().insert((0, 0), &leaf(99).encode()).unwrap());
    });
    let registry = Registry::open(&dir).unwrap();
    assert_eq!(refusal(registry.path("p1")).0, Kind::IdentitiesFormat);
    assert_eq!(refusal(registry.path("p0")).0, Kind::IdentitiesFormat);
    assert!(registry.path("p3").is_ok());
}

#[test]
fn every_bit_of_the_header_counts() {
    let (_temp, dir) = filled();
    let mut good = Vec::new();
    tamper(&dir, |t| {
        good = t.open_table(META).unwrap().get(&b"header"[..]).unwrap().unwrap().value().to_vec();
    });
    let put = |bytes: &[u8]| {
        tamper(&dir, |t| {
            drop(t.open_table(META).unwrap().insert(&b"header"[..], bytes).unwrap());
        });
    };
    assert_eq!(good.len(), 54);
    for byte in 0..good.len() {
        let mut bad = good.clone();
        bad[byte] ^= 1 << (byte % 8);
        put(&bad);
        let (kind, _, line) = refusal(Registry::open(&dir));
        assert_eq!(kind, Kind::IdentitiesFormat, "{byte}");
        assert_eq!(byte == 4, line.contains("is of version"), "{line}");
    }
    for bad in [&[][..], &good[..53], &[&good[..], &[0]].concat()] {
        put(bad);
        assert_eq!(refusal(Registry::open(&dir)).0, Kind::IdentitiesFormat);
    }
    put(&good);
    check(&Registry::open(&dir).unwrap()).unwrap();
}

#[test]
fn epochs_must_follow_each_other() {
    let changes: [Change; 4] = [
        |t| drop(t.open_table(EPOCHS).unwrap().remove(3).unwrap()),
        |t| drop(t.open_table(EPOCHS).unwrap().remove(2).unwrap()),
        |t| drop(t.open_table(EPOCHS).unwrap().insert(3, &[0; 48][..]).unwrap()),
        |t| {
            let mut epochs = t.open_table(EPOCHS).unwrap();
            let record = epochs.get(1).unwrap().unwrap().value().to_vec();
            epochs.insert(3, &record[..]).unwrap();
        },
    ];
    for change in changes {
        let (_temp, dir) = filled();
        tamper(&dir, change);
        let outcome = Registry::open(&dir).and_then(|registry| check(&registry));
        assert_eq!(refusal(outcome).0, Kind::IdentitiesFormat);
    }
}

/// Uses a damaged registry in every way. If it passes its check, all paths are as they were.
fn use_damaged(dir: &FilePath, damaged: &[u8], before: &BTreeMap<String, Path>) -> bool {
    fs::write(dir.join(FILE), damaged).unwrap();
    let damage = |error: &Error| {
        let kinds = [Kind::IdentitiesFormat, Kind::UnknownId, Kind::DuplicateId, Kind::Unpublished];
        let more = [Kind::Root, Kind::Nullifier, Kind::DuplicateLeaf, Kind::IdentitiesFull];
        assert!(kinds.contains(&error.kind()) || more.contains(&error.kind()), "{error}");
        assert!(!error.to_string().contains('\n'));
    };
    let registry = match Registry::open(dir) {
        Ok(registry) => registry,
        Err(error) => {
            assert_eq!(error.kind(), Kind::IdentitiesFormat, "{error}");
            return false;
        }
    };
    let whole = check(&registry).inspect_err(damage).is_ok();
    for (id, path) in before {
        match registry.path(id) {
            Ok(found) => assert!(!whole || found == *path),
            Err(error) => {
                assert!(!whole, "{error}");
                damage(&error);
            }
        }
    }
    let _ = registry.status().inspect_err(damage);
    let _ = registry.history().inspect_err(damage);
    let _ = registry.spend(&presentation(3, 9, 9), 3000).inspect_err(damage);
    let _ = registry.enrol(&people([77])).inspect_err(damage);
    let _ = registry.revoke(&["p1"]).inspect_err(damage);
    let _ = registry.publish(5000, HOUR).inspect_err(damage);
    whole
}

fn paths(dir: &FilePath) -> BTreeMap<String, Path> {
    let registry = Registry::open(dir).unwrap();
    let ids = ["p0", "p1", "p3", "p5"].into_iter();
    ids.map(|id| (id.to_owned(), registry.path(id).unwrap())).collect()
}

#[test]
fn damage_is_an_error_or_without_effect() {
    let (_temp, dir) = filled();
    let (before, good) = (paths(&dir), fs::read(dir.join(FILE)).unwrap());
    let used = good.iter().rposition(|&b| b != 0).unwrap();
    let mut errors = 0;
    // All of the database's header; of the rest, what is not zero.
    for place in (0..320).chain((320..=used).filter(|&i| good[i] != 0).step_by(53)) {
        let mut bad = good.clone();
        bad[place] ^= 0x81;
        errors += u32::from(!use_damaged(&dir, &bad, &before));
    }
    assert!(errors > 50, "{errors}");
    for len in (0..good.len()).step_by(4999) {
        assert!(!use_damaged(&dir, &good[..len], &before), "{len}");
    }
    assert!(use_damaged(&dir, &good, &before));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_damage(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..40)) {
        let (_temp, dir) = filled();
        let (before, mut bytes) = (paths(&dir), fs::read(dir.join(FILE)).unwrap());
        for (place, byte) in changes {
            *place.get_mut(&mut bytes) = byte;
        }
        use_damaged(&dir, &bytes, &before);
    }
}

// --- crashes ---

/// Run by the next test in a process of its own, which is killed: enrols, revokes, publishes and spends, and
/// says what was done once it was.
#[test]
#[ignore = "a helper of a_killed_process_loses_nothing_it_told_of"]
fn writes_until_killed() {
    let dir = PathBuf::from(std::env::var_os("SYMBOLON_TEST_DIR").unwrap());
    let registry = Registry::open(&dir).unwrap();
    let start = registry.status().unwrap().places;
    for number in (start..).step_by(3) {
        registry.enrol(&people(number..number + 3)).unwrap();
        println!("enrolled {number}");
        registry.revoke(&[format!("p{number}")]).unwrap();
        let epoch = registry.publish(number, HOUR).unwrap().epoch.number;
        println!("published {epoch}");
        registry.spend(&presentation(epoch, number, 1), number).unwrap();
        println!("spent {epoch} {number}");
    }
}

#[test]
fn a_killed_process_loses_nothing_it_told_of() {
    let (temp, registry) = registry(32);
    drop(registry);
    for round in 0..6_u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "writes_until_killed", "--ignored", "--nocapture"])
            .env("SYMBOLON_TEST_DIR", temp.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Well into its work, at any point of it.
        let mut told: Vec<String> = Vec::new();
        while told.iter().filter(|line| line.starts_with("spent")).count() < 3 {
            told.push(lines.next().unwrap().unwrap());
        }
        std::thread::sleep(Duration::from_micros(700 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        told.extend(lines.map_while(|line| line.ok()));
        let registry = Registry::open(temp.path()).unwrap();
        check(&registry).unwrap();
        for line in told {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["enrolled", number] => {
                    let path = registry.path(&format!("p{}", number.parse::<u64>().unwrap() + 1));
                    assert!(path.is_ok() || refusal(path).0 == Kind::Unpublished);
                }
                ["published", epoch] => assert!(registry.current_epoch() >= epoch.parse().unwrap()),
                ["spent", epoch, number] => {
                    let (epoch, number) = (epoch.parse().unwrap(), number.parse().unwrap());
                    let outcome = registry.spend(&presentation(epoch, number, 1), number);
                    assert_eq!(outcome, Ok(Presented::Again));
                }
                _ => {}
            }
        }
    }
}

// --- speed, printed: cargo test --test registry speed -- --nocapture ---

#[test]
fn speed() {
    // On a disk: SYMBOLON_TEST_DIR=. (the directory to measure in).
    let (temp, registry) = match std::env::var_os("SYMBOLON_TEST_DIR") {
        None => registry(32),
        Some(dir) => {
            let temp = tempfile::tempdir_in(dir).unwrap();
            Registry::create(temp.path(), 32, DEPLOYMENT).unwrap();
            let registry = Registry::open(temp.path()).unwrap();
            (temp, registry)
        }
    };
    let each = |what: &str, count: u64, start: Instant| {
        println!("{what}: {:.1} us each", start.elapsed().as_secs_f64() * 1e6 / count as f64);
    };
    let (a, b) = (leaf(1), leaf(2));
    let start = Instant::now();
    let end = (0..100_000).fold(a, |node, _| compress(&node, &b));
    each(&format!("a hash ({})", end == a), 100_000, start);
    let many = people(0..10_000);
    let start = Instant::now();
    registry.enrol(&many).unwrap();
    each("enrol 10,000", 10_000, start);
    let start = Instant::now();
    let published = registry.publish(1, HOUR).unwrap();
    each("publish them", 10_000, start);
    println!("  {} hashes", published.hashes);
    for what in ["enrol one", "publish one", "revoke one", "publish that"] {
        let mut took: Vec<Duration> = Vec::new();
        for number in 0..20 {
            let id = format!("p{}", 20_000 + number);
            match what {
                "enrol one" | "publish one" => {
                    let start = Instant::now();
                    let number = if what == "enrol one" { number } else { 1000 + number };
                    registry.enrol(&people([20_000 + number])).unwrap();
                    if what == "enrol one" {
                        took.push(start.elapsed());
                    }
                }
                "revoke one" => {
                    let start = Instant::now();
                    registry.revoke(&[&id]).unwrap();
                    took.push(start.elapsed());
                }
                _ => registry.revoke(&[format!("p{}", number * 317)]).unwrap(),
            }
            let start = Instant::now();
            let published = registry.publish(1, HOUR).unwrap();
            if what.starts_with("publish") {
                took.push(start.elapsed());
                if number == 19 {
                    println!("  {} hashes", published.hashes);
                }
            }
        }
        println!("{what}: {:.1} us", took.iter().min().unwrap().as_secs_f64() * 1e6);
    }
    let epoch = registry.current_epoch();
    let start = Instant::now();
    (0..1000).for_each(|number| assert!(registry.path(&format!("p{}", 7000 + number)).is_ok()));
    each("path", 1000, start);
    let start = Instant::now();
    let held = (0..1_000_000).filter(|_| registry.root_of(std::hint::black_box(epoch), 1).is_ok());
    assert_eq!(held.count(), 1_000_000);
    each("root_of", 1_000_000, start);
    let start = Instant::now();
    (0..1000).for_each(|n| assert!(registry.spend(&presentation(epoch, n, 1), 1).is_ok()));
    each("spend one by one", 1000, start);
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 1..=16 {
            let registry = &registry;
            scope.spawn(move || {
                for n in 0..250 {
                    let one = presentation(epoch, 1000 * thread + n, 1);
                    assert_eq!(registry.spend(&one, 1), Ok(Presented::First));
                }
            });
        }
    });
    each("spend by 16 threads", 4000, start);
    let many: Vec<_> = (0..10_000).map(|n| presentation(epoch, 100_000 + n, 1)).collect();
    let start = Instant::now();
    assert!(registry.spend_many(&many, 1).is_ok());
    each("spend 10,000", 10_000, start);
    let start = Instant::now();
    assert_eq!(registry.spend(&many[5], 1), Ok(Presented::Again));
    each("spend again", 1, start);
    let start = Instant::now();
    let report = registry.check(&|_| ()).unwrap();
    each("check", report.leaves, start);
    let size = fs::metadata(temp.path().join(FILE)).unwrap().len();
    println!("{} bytes a leaf on the disk", size / report.leaves);
}
