//! Receipts against independent oracles: the RFC's recursion for the trees, encodings written out by
//! hand; and every way of breaking a receipt. Stand-in families make the exhaustive runs fast, the
//! real ones follow at the end.

mod common;

use chacha20::ChaCha20Rng;
use common::kernels;
use proptest::prelude::*;
use rand_core::{CryptoRng, Rng, SeedableRng};
use sha3::{Digest as _, Sha3_256};
use std::sync::LazyLock;
use symbolon_core::attest::*;

fn rng(seed: u8) -> ChaCha20Rng {
    ChaCha20Rng::from_seed([seed; 32])
}

fn unhex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0);
    (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap()).collect()
}

fn sha3(parts: &[&[u8]]) -> Digest {
    let mut hasher = Sha3_256::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize().into()
}

// Stand-ins

const ML_DSA: u8 = Family::MlDsa65.id();
const FN_DSA: u8 = Family::FnDsa512Draft.id();
const SLH_DSA: u8 = Family::SlhDsaSha2_128f.id();

/// A key that signs and verifies, and proves nothing: a signature is the hash of key, context and
/// message, repeated until it is as long as one of the family.
#[derive(Clone, Copy, Debug)]
struct StandIn<const ID: u8>(u8);

impl<const ID: u8> StandIn<ID> {
    const OF: Family = match Family::from_id(ID) {
        Some(family) => family,
        None => panic!(),
    };

    fn make(self, context: Domain, message: &[u8], out: &mut [u8]) -> Result<()> {
        let digest = sha3(&[&[ID, self.0], context.as_bytes(), message]);
        let out = out.get_mut(..Self::OF.signature_size()).ok_or(Error::BufferTooSmall)?;
        out.chunks_mut(32).for_each(|chunk| chunk.copy_from_slice(&digest[..chunk.len()]));
        Ok(())
    }
}

impl<const ID: u8> Verify for StandIn<ID> {
    const FAMILY: Family = Self::OF;

    fn verify(&self, context: Domain, message: &[u8], signature: &[u8]) -> Result<()> {
        let mut expected = vec![0; Self::OF.signature_size()];
        self.make(context, message, &mut expected)?;
        if signature == expected { Ok(()) } else { Err(Error::WrongSignature(Self::OF)) }
    }
}

impl<const ID: u8> Sign for StandIn<ID> {
    const FAMILY: Family = Self::OF;

    fn sign<R: CryptoRng + ?Sized>(
        &self,
        context: Domain,
        message: &[u8],
        _: &mut R,
        out: &mut [u8],
    ) -> Result<()> {
        self.make(context, message, out)
    }

    fn sign_deterministic(&self, context: Domain, message: &[u8], out: &mut [u8]) -> Result<()> {
        self.make(context, message, out)
    }

    fn public_key(&self, out: &mut [u8]) -> Result<()> {
        out.get_mut(..Self::OF.public_key_size()).ok_or(Error::BufferTooSmall)?.fill(self.0);
        Ok(())
    }
}

type StandIns = KeySet<StandIn<ML_DSA>, StandIn<FN_DSA>, StandIn<SLH_DSA>>;

/// The time at which every window here was signed.
const TIME: u64 = 0x0102_0304_0506_0708;

const fn stand_ins(seed: u8) -> StandIns {
    KeySet {
        id: [seed; 16],
        validity: Validity { not_before_ms: TIME - 5, not_after_ms: TIME + 5, revoked: false },
        ml_dsa: StandIn(seed),
        fn_dsa: StandIn(seed),
        slh_dsa: StandIn(seed),
    }
}

const KEYS: StandIns = stand_ins(7);

// A window and its receipts

/// Field values that differ from field to field, from leaf to leaf and from batch to batch.
fn leaf(batch: u8, index: u8) -> Leaf {
    let fill = |field: u8| sha3(&[&[batch, index, field]]);
    Leaf {
        request: *fill(0).first_chunk().unwrap(),
        nonce: *fill(1).first_chunk().unwrap(),
        identity: fill(2),
        accept: index.is_multiple_of(2),
        proof: (index % 3 == 2).then(|| fill(6)),
        template: fill(4),
    }
}

struct Decided {
    leaves: Vec<Leaf>,
    tree: BatchTree,
    batch: Batch,
}

impl Decided {
    fn new(id: u8, count: u8) -> Self {
        let leaves: Vec<_> = (0..count).map(|index| leaf(id, index)).collect();
        let hashes: Vec<_> = leaves.iter().map(Leaf::hash).collect();
        let mut tree = BatchTree::new();
        let batch = Batch {
            deployment: [0xd0; 16],
            key_epoch: 0x0102_0304,
            params: 5,
            mode: 6,
            dims: 128,
            threshold: -7,
            policy: [0xc0; 32],
            verifier: 0x0506_0708,
            batch: [id; 16],
            time_ms: TIME - 1,
            count,
            probe: [0xa0 ^ id; 32],
            blind: [0xb0 ^ id; 32],
            result: [0xe0 ^ id; 32],
            root: tree.build(kernels(), &hashes).unwrap(),
        };
        Self { leaves, tree, batch }
    }
}

struct Signed {
    batches: Vec<Decided>,
    tree: Box<WindowTree>,
    window: Window,
    ml_dsa: Box<[u8; Family::MlDsa65.signature_size()]>,
    fn_dsa: Box<[u8; Family::FnDsa512Draft.signature_size()]>,
    slh_dsa: Box<[u8; Family::SlhDsaSha2_128f.signature_size()]>,
}

impl Signed {
    /// The window of this sequence number, of a batch for each count.
    fn new(sequence: u8, counts: &[u8]) -> Self {
        let batch = |(id, &count)| Decided::new((id as u8) ^ sequence << 4, count);
        Self::of(sequence, counts.iter().enumerate().map(batch).collect())
    }

    fn of(sequence: u8, batches: Vec<Decided>) -> Self {
        let mut tree: Box<WindowTree> = bytemuck::zeroed_box();
        let hashes: Vec<_> = batches.iter().map(|decided| decided.batch.hash()).collect();
        let window = Window {
            deployment: [0xd0; 16],
            keys: KEYS.id,
            sequence: sequence.into(),
            time_ms: TIME,
            count: batches.len() as u16,
            previous: if sequence == 0 { [0; 32] } else { [0xf0; 32] },
            root: tree.build(kernels(), &hashes).unwrap(),
        };
        let mut signed = Self {
            batches,
            tree,
            window,
            ml_dsa: Box::new([0; _]),
            fn_dsa: Box::new([0; _]),
            slh_dsa: Box::new([0; _]),
        };
        signed.sign(&KEYS.ml_dsa, &KEYS.fn_dsa, &KEYS.slh_dsa);
        signed
    }

    fn sign(&mut self, ml_dsa: &impl Sign, fn_dsa: &impl Sign, slh_dsa: &impl Sign) {
        self.window.sign(ml_dsa, &mut rng(1), &mut *self.ml_dsa).unwrap();
        self.window.sign(fn_dsa, &mut rng(2), &mut *self.fn_dsa).unwrap();
        self.window.sign(slh_dsa, &mut rng(3), &mut *self.slh_dsa).unwrap();
    }

    fn signatures(&self) -> Signatures<'_> {
        Signatures { ml_dsa: &self.ml_dsa, fn_dsa: &self.fn_dsa, slh_dsa: &self.slh_dsa }
    }

    fn receipt(&self, batch: usize, index: u8) -> Receipt<'_> {
        let decided = &self.batches[batch];
        let (mut path, mut window_path) = (BatchPath::EMPTY, WindowPath::EMPTY);
        decided.tree.path(usize::from(index), &mut path).unwrap();
        self.tree.path(batch, &mut window_path).unwrap();
        Receipt {
            leaf: decided.leaves[usize::from(index)],
            index,
            path,
            batch: decided.batch,
            batch_index: batch as u16,
            window_path,
            window: self.window,
            signatures: self.signatures(),
        }
    }
}

fn encode(receipt: &Receipt) -> Vec<u8> {
    let mut out = vec![0; Receipt::MAX_SIZE];
    let size = receipt.encode(&mut out).unwrap();
    out.truncate(size);
    out
}

/// The verdict on bytes that are to be one receipt.
fn whole<M: Verify, F: Verify, S: Verify>(keys: &KeySet<M, F, S>, bytes: &[u8]) -> Result<Leaf> {
    Receipt::decode_exact(bytes)?.verify(keys).copied()
}

/// The verdict on pieces of one receipt as they come in.
fn stream<'a, M: Verify, F: Verify, S: Verify>(
    keys: &KeySet<M, F, S>,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Leaf> {
    let mut buffer = Box::new([0x5a; size_of::<StreamBuffer>()]);
    let mut verifier = StreamVerifier::new(keys, &mut buffer);
    let pushed = pieces.into_iter().try_for_each(|piece| verifier.push(piece));
    let verdict = verifier.finish().map(|proven| proven.leaf);
    if let Err(error) = pushed {
        assert_eq!(verdict, Err(error), "an error is forgotten");
    }
    verdict
}

/// Both verdicts, which must agree: a stream may meet another error first where there are several.
fn verdict<M: Verify, F: Verify, S: Verify>(keys: &KeySet<M, F, S>, bytes: &[u8]) -> Result<Leaf> {
    let (whole, stream) = (whole(keys, bytes), stream(keys, [bytes]));
    match Receipt::decode_exact(bytes) {
        Ok(_) => assert_eq!(whole, stream),
        Err(_) => assert!(stream.is_err()),
    }
    whole
}

// Digests

#[test]
fn digests_are_what_their_documentation_says() {
    let domain = Domain::new("symbolon/test/v1");
    let tag: &[u8] = b"\x10symbolon/test/v1";
    let (two, three) = (2_u64.to_le_bytes(), 3_u64.to_le_bytes());
    let expected = sha3(&[tag, &two, b"ab", &three, b"cde"]);
    assert_eq!(hash(domain, &[b"ab", b"cde"]), expected);
    let salt = [7; 32];
    assert_eq!(commit(domain, &salt, b"cde"), sha3(&[tag, &salt, &three, b"cde"]));
}

#[test]
fn digests_separate_what_differs() {
    let (a, b) = (Domain::new("a"), Domain::new("b"));
    assert_ne!(hash(a, &[b"x"]), hash(b, &[b"x"]));
    assert_ne!(hash(a, &[b"ab", b"c"]), hash(a, &[b"a", b"bc"]));
    assert_ne!(hash(a, &[b"ab"]), hash(a, &[b"ab", b""]));
    assert_ne!(commit(a, &[0; 32], b"x"), commit(b, &[0; 32], b"x"));
    assert_ne!(commit(a, &[0; 32], b"x"), commit(a, &[1; 32], b"x"));
    assert_ne!(bulk(kernels(), a, &[b"x"]), bulk(kernels(), b, &[b"x"]));
    assert_ne!(bulk(kernels(), a, &[b"x"]), bulk(kernels(), a, &[b"x\0"]));
    assert_eq!(bulk(kernels(), a, &[b"ab", b"", b"c"]), bulk(kernels(), a, &[b"a", b"bc"]));
    let domains = [
        Domain::IDENTITY,
        Domain::PROBE,
        Domain::TEMPLATE,
        Domain::BLIND,
        Domain::PROOF,
        Domain::POLICY,
        Domain::RESULT,
        Window::CONTEXT,
        Refill::CONTEXT,
    ];
    for (i, first) in domains.iter().enumerate() {
        assert!(domains[i + 1..].iter().all(|second| first != second));
    }
}

#[test]
fn domains_hold_1_to_255_ascii_characters() {
    assert_eq!(Domain::new("symbolon/x").as_bytes(), b"symbolon/x");
    let longest: &'static str = "x".repeat(255).leak();
    assert_eq!(Domain::new(longest).as_bytes().len(), 255);
    for bad in ["", "\u{e9}", "x".repeat(256).leak()] {
        assert!(std::panic::catch_unwind(|| Domain::new(bad)).is_err());
    }
}

// Statements

#[test]
fn leaf_encoding_and_hash() {
    let leaf = Leaf {
        request: [1; 16],
        nonce: [2; 16],
        identity: [3; 32],
        accept: true,
        proof: Some([7; 32]),
        template: [5; 32],
    };
    let fields = |mark: u8, proof: u8| {
        let front = [&[1; 16][..], &[2; 16], &[3; 32], &[1, mark], &[proof; 32]].concat();
        [&front[..], &[5; 32]].concat()
    };
    assert_eq!(Leaf::SIZE, 130);
    assert_eq!(leaf.encode(), *fields(1, 7));
    assert_eq!(leaf.hash(), sha3(&[b"\x10symbolon/leaf/v2", &[0; 136 - 17], &[0], &fields(1, 7)]));
    let absent = Leaf { proof: None, ..leaf };
    assert_eq!(absent.encode(), *fields(0, 0));
    for other in [Leaf { accept: false, ..leaf }, absent, Leaf { proof: Some([0; 32]), ..leaf }] {
        assert_ne!(leaf.hash(), other.hash());
        assert_eq!(Leaf::decode(&other.encode()), Ok(other));
    }
    for byte in 0..=u8::MAX {
        let mut bytes = leaf.encode();
        bytes[64] = byte;
        let expected = match byte {
            0 | 1 => Ok(Leaf { accept: byte == 1, ..leaf }),
            _ => Err(Error::NonCanonical),
        };
        assert_eq!(Leaf::decode(&bytes), expected);
        // An absent proof has no digest.
        let mut bytes = leaf.encode();
        bytes[65] = byte;
        let expected = if byte == 1 { Ok(leaf) } else { Err(Error::NonCanonical) };
        assert_eq!(Leaf::decode(&bytes), expected);
    }
    for at in 66..98 {
        let mut bytes = absent.encode();
        bytes[at] = 1;
        assert_eq!(Leaf::decode(&bytes), Err(Error::NonCanonical));
    }
}

#[test]
fn batch_encoding_and_hash() {
    let batch = Decided::new(9, 3).batch;
    let expected = [
        &[2][..],
        &[0xd0; 16],
        &[4, 3, 2, 1],
        &[5, 6],
        &[128, 0],
        &[0xf9, 0xff, 0xff, 0xff],
        &[0xc0; 32],
        &[8, 7, 6, 5],
        &[9; 16],
        &[7, 7, 6, 5, 4, 3, 2, 1],
        &[3],
        &[0xa9; 32],
        &[0xb9; 32],
        &[0xe9; 32],
        &batch.root,
    ]
    .concat();
    assert_eq!(Batch::SIZE, 218);
    assert_eq!(batch.encode(), *expected);
    assert_eq!(Batch::decode(&batch.encode()), Ok(batch));
    assert_eq!(batch.hash(), sha3(&[b"\x11symbolon/batch/v2\x00", &expected]));

    let mut bytes = batch.encode();
    for version in (0..=u8::MAX).filter(|&version| version != Batch::VERSION) {
        bytes[0] = version;
        assert_eq!(Batch::decode(&bytes), Err(Error::UnknownVersion));
    }
    for count in 0..=u8::MAX {
        let batch = Batch { count, ..batch };
        let possible = (1..=MAX_LEAVES).contains(&usize::from(count));
        let expected = if possible { Ok(batch) } else { Err(Error::LeafCount) };
        assert_eq!(Batch::decode(&batch.encode()), expected);
    }
}

#[test]
fn window_encoding_and_hash() {
    let window = Window { count: 0x0203, ..Signed::new(1, &[1]).window };
    let expected = [
        &[1][..],
        &[0xd0; 16],
        &[7; 16],
        &[1, 0, 0, 0, 0, 0, 0, 0],
        &[8, 7, 6, 5, 4, 3, 2, 1],
        &[3, 2],
        &[0xf0; 32],
        &window.root,
    ]
    .concat();
    assert_eq!(Window::SIZE, 115);
    assert_eq!(window.encode(), *expected);
    assert_eq!(Window::decode(&window.encode()), Ok(window));
    let length = 115_u64.to_le_bytes();
    assert_eq!(window.hash(), sha3(&[b"\x17symbolon/window-hash/v1", &length, &expected]));
    assert_eq!(Window::CONTEXT.as_bytes(), b"symbolon/window/v1");

    let mut bytes = window.encode();
    for version in (0..=u8::MAX).filter(|&version| version != Window::VERSION) {
        bytes[0] = version;
        assert_eq!(Window::decode(&bytes), Err(Error::UnknownVersion));
    }
    for (count, expected) in [
        (0, Err(Error::LeafCount)),
        (1, Ok(())),
        (4096, Ok(())),
        (4097, Err(Error::LeafCount)),
        (u16::MAX, Err(Error::LeafCount)),
    ] {
        let window = Window { count, ..window };
        assert_eq!(Window::decode(&window.encode()), expected.map(|()| window));
    }
    // The first window has none before it.
    let first = Window { sequence: 0, ..window };
    assert_eq!(Window::decode(&first.encode()), Err(Error::NonCanonical));
    let first = Window { previous: [0; 32], ..first };
    assert_eq!(Window::decode(&first.encode()), Ok(first));
}

#[test]
fn windows_that_break_a_rule_are_not_signed() {
    let window = Signed::new(1, &[1]).window;
    let mut out = [0; Family::MlDsa65.signature_size()];
    for (broken, error) in [
        (Window { count: 0, ..window }, Error::LeafCount),
        (Window { count: 4097, ..window }, Error::LeafCount),
        (Window { sequence: 0, ..window }, Error::NonCanonical),
    ] {
        assert_eq!(broken.sign(&KEYS.ml_dsa, &mut rng(1), &mut out), Err(error));
        assert_eq!(broken.sign_deterministic(&KEYS.ml_dsa, &mut out), Err(error));
    }
    assert_eq!(out, [0; _]);
    let short = window.sign_deterministic(&KEYS.ml_dsa, &mut out[1..]);
    assert_eq!(short, Err(Error::BufferTooSmall));
    window.sign_deterministic(&KEYS.ml_dsa, &mut out).unwrap();
    assert_eq!(KEYS.ml_dsa.verify(Window::CONTEXT, &window.encode(), &out), Ok(()));
}

// Merkle trees, against RFC 9162 to the letter

fn node(left: &Digest, right: &Digest) -> Digest {
    sha3(&[b"\x10symbolon/node/v1\x01", left, right])
}

/// "the largest power of two smaller than n"
fn split(n: usize) -> usize {
    (0..).map(|exponent| 1 << exponent).take_while(|&k| k < n).last().unwrap()
}

/// RFC 9162, section 2.1.1: MTH.
fn oracle_root(leaves: &[Digest]) -> Digest {
    match leaves {
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node(&oracle_root(left), &oracle_root(right))
        }
    }
}

/// RFC 9162, section 2.1.3.1: PATH.
fn oracle_path(index: usize, leaves: &[Digest]) -> Vec<Digest> {
    if leaves.len() == 1 {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = if index < k {
        (oracle_path(index, left), oracle_root(right))
    } else {
        (oracle_path(index - k, right), oracle_root(left))
    };
    path.push(sibling);
    path
}

/// RFC 9162, section 2.1.3.2: the root that an accepted path computes.
fn oracle_walk(leaf: &Digest, index: usize, count: usize, path: &[Digest]) -> Option<Digest> {
    if index >= count {
        return None;
    }
    let (mut f, mut s, mut r) = (index, count - 1, *leaf);
    for p in path {
        if s == 0 {
            return None;
        }
        if f & 1 == 1 || f == s {
            r = node(p, &r);
            while f & 1 == 0 && f != 0 {
                f >>= 1;
                s >>= 1;
            }
        } else {
            r = node(&r, p);
        }
        f >>= 1;
        s >>= 1;
    }
    (s == 0).then_some(r)
}

fn hashes(count: usize) -> Vec<Digest> {
    (0..count).map(|i| sha3(&[&i.to_le_bytes()])).collect()
}

/// Every root and the paths of `indices` that a tree of this capacity gives.
fn check_tree<const LEAVES: usize, const NODES: usize>(
    tree: &mut Tree<LEAVES>,
    leaves: &[Digest],
    indices: impl IntoIterator<Item = usize>,
) {
    let count = leaves.len();
    let expected = oracle_root(leaves);
    assert_eq!(tree.build(kernels(), leaves), Ok(expected));
    for index in indices {
        let nodes = oracle_path(index, leaves);
        let mut path = Path::<NODES>::new(&[[9; 32]; NODES]).unwrap();
        tree.path(index, &mut path).unwrap();
        assert_eq!(path, Path::new(&nodes).unwrap());
        assert_eq!(path.nodes(), nodes);
        assert_eq!(Path::<NODES>::length(index, count), Ok(nodes.len()));
        assert_eq!(path.check(index, count), Ok(()));
        assert_eq!(path.root(&leaves[index], index, count), Ok(expected));
    }
}

#[test]
fn small_trees_agree_with_the_rfc() {
    let mut batch = BatchTree::new();
    let mut small = Tree::<128>::new();
    let mut large: Box<WindowTree> = bytemuck::zeroed_box();
    // Downwards, so that each tree is built over the remains of a larger one.
    for count in (1..=70).rev() {
        let leaves = hashes(count);
        check_tree::<128, 7>(&mut small, &leaves, 0..count);
        check_tree::<4096, 12>(&mut large, &leaves, 0..count);
        if count <= MAX_LEAVES {
            check_tree::<32, 5>(&mut batch, &leaves, 0..count);
            check_tree::<32, 12>(&mut batch, &leaves, 0..count);
        }
    }
}

#[test]
fn large_trees_agree_with_the_rfc() {
    let mut tree: Box<WindowTree> = bytemuck::zeroed_box();
    for count in [127, 128, 129, 1000, 2047, 2048, 2049, 4095, 4096] {
        let indices = [0, 1, count / 3, count / 2, count - 2, count - 1];
        check_tree::<4096, 12>(&mut tree, &hashes(count), indices);
    }
}

#[test]
fn path_verification_agrees_with_the_rfc_on_every_claim() {
    let nodes = hashes(MAX_PATH);
    let leaf = [1; 32];
    for count in 0..=MAX_LEAVES + 1 {
        for index in 0..=count + 1 {
            for len in 0..=MAX_PATH {
                let path = BatchPath::new(&nodes[..len]).unwrap();
                let expected = if count == 0 || count > MAX_LEAVES {
                    Err(Error::LeafCount)
                } else if index >= count {
                    Err(Error::LeafIndex)
                } else {
                    oracle_walk(&leaf, index, count, path.nodes()).ok_or(Error::PathLength)
                };
                assert_eq!(path.root(&leaf, index, count), expected, "{index} of {count}, {len}");
                assert_eq!(path.check(index, count), expected.map(|_| ()));
            }
        }
    }
    assert_eq!(BatchPath::length(usize::MAX, usize::MAX), Err(Error::LeafCount));
    assert_eq!(BatchPath::length(usize::MAX, MAX_LEAVES), Err(Error::LeafIndex));
    assert_eq!(WindowPath::length(0, MAX_BATCHES + 1), Err(Error::LeafCount));
}

#[test]
fn path_proves_one_leaf_at_one_place() {
    let mut tree = BatchTree::new();
    for count in 1..=MAX_LEAVES {
        let leaves = hashes(count);
        let expected = tree.build(kernels(), &leaves).unwrap();
        for index in 0..count {
            let mut path = BatchPath::EMPTY;
            tree.path(index, &mut path).unwrap();
            for other in (0..count).filter(|&other| other != index) {
                assert_ne!(path.root(&leaves[other], index, count), Ok(expected));
                assert_ne!(path.root(&leaves[index], other, count), Ok(expected));
            }
        }
    }
}

#[test]
fn tree_refuses_what_does_not_fit() {
    let too_many = hashes(MAX_LEAVES + 1);
    let mut tree = BatchTree::new();
    let mut path = BatchPath::EMPTY;
    assert_eq!(tree.path(0, &mut path), Err(Error::LeafCount));
    assert_eq!(tree.build(kernels(), &[]), Err(Error::LeafCount));
    assert_eq!(tree.build(kernels(), &too_many), Err(Error::LeafCount));
    tree.build(kernels(), &too_many[..3]).unwrap();
    assert_eq!(tree.path(3, &mut path), Err(Error::LeafIndex));
    assert_eq!(tree.build(kernels(), &too_many), Err(Error::LeafCount));
    tree.path(2, &mut path).unwrap();
    assert_eq!(path.nodes().len(), 1);
    assert_eq!(BatchPath::new(&too_many[..MAX_PATH + 1]), Err(Error::PathLength));
    // No leaf is doubled: three leaves and the same with the last one twice differ.
    let three = tree.build(kernels(), &too_many[..3]);
    let doubled = [too_many[0], too_many[1], too_many[2], too_many[2]];
    assert_ne!(three, tree.build(kernels(), &doubled));
}

// Keys

#[test]
fn key_ids_bind_all_three_keys() {
    let id = key_id(&[1; _], &[2; _], &[3; _]);
    let tag: &[u8] = b"\x13symbolon/key-set/v1";
    let size = |size: u64| size.to_le_bytes();
    let expected =
        sha3(&[tag, &size(1952), &[1; 1952], &size(897), &[2; 897], &size(32), &[3; 32]]);
    assert_eq!(id, expected[..16]);
    assert_ne!(id, key_id(&[9; _], &[2; _], &[3; _]));
    assert_ne!(id, key_id(&[1; _], &[9; _], &[3; _]));
    assert_ne!(id, key_id(&[1; _], &[2; _], &[9; _]));
}

#[test]
fn keys_sign_from_their_first_millisecond_to_their_last() {
    let validity = Validity { not_before_ms: 10, not_after_ms: 20, revoked: false };
    for (time, expected) in [
        (0, Err(Error::NotYetValid)),
        (9, Err(Error::NotYetValid)),
        (10, Ok(())),
        (20, Ok(())),
        (21, Err(Error::Retired)),
        (u64::MAX, Err(Error::Retired)),
    ] {
        assert_eq!(validity.check(time), expected);
        // Whatever the time.
        assert_eq!(Validity { revoked: true, ..validity }.check(time), Err(Error::Revoked));
        assert_eq!(Validity::ALWAYS.check(time), Ok(()));
    }
}

#[test]
fn receipts_under_keys_that_may_not_sign_are_refused() {
    let signed = Signed::new(1, &[3, 2]);
    let bytes = encode(&signed.receipt(1, 1));
    assert_eq!(verdict(&KEYS, &bytes), Ok(signed.batches[1].leaves[1]));
    let check = |not_before_ms, not_after_ms, revoked| {
        let validity = Validity { not_before_ms, not_after_ms, revoked };
        verdict(&KeySet { validity, ..KEYS }, &bytes).map(|_| ())
    };
    assert_eq!(check(TIME, TIME, false), Ok(()));
    assert_eq!(check(TIME + 1, u64::MAX, false), Err(Error::NotYetValid));
    assert_eq!(check(0, TIME - 1, false), Err(Error::Retired));
    assert_eq!(check(TIME, TIME, true), Err(Error::Revoked));
    // Revoked keys count for nothing at times at which they would not have been valid either.
    assert_eq!(check(TIME + 1, u64::MAX, true), Err(Error::Revoked));
    assert_eq!(check(0, TIME - 1, true), Err(Error::Revoked));
    assert_eq!(verdict(&stand_ins(8), &bytes), Err(Error::UnknownKey));
    // Other keys that claim this name.
    let keys = KeySet { id: KEYS.id, ..stand_ins(8) };
    assert_eq!(verdict(&keys, &bytes), Err(Error::WrongSignature(Family::MlDsa65)));
}

#[test]
fn references_to_keys_verify_like_keys() {
    let signed = Signed::new(1, &[3, 2]);
    let keys = KeySet {
        id: KEYS.id,
        validity: KEYS.validity,
        ml_dsa: &KEYS.ml_dsa,
        fn_dsa: &KEYS.fn_dsa,
        slh_dsa: &KEYS.slh_dsa,
    };
    assert_eq!(verdict(&keys, &encode(&signed.receipt(0, 2))), Ok(signed.batches[0].leaves[2]));
}

// Receipts

#[test]
fn receipts_of_every_shape_verify_whole_and_in_a_stream() {
    for counts in [&[1][..], &[32], &[1, 1], &[3, 1, 32], &[2; 5], &[7, 6, 5, 4, 3, 17, 31]] {
        let signed = Signed::new(1, counts);
        let mut file = Vec::new();
        for (batch, &count) in counts.iter().enumerate() {
            for index in 0..count {
                let bytes = encode(&signed.receipt(batch, index));
                assert!((Receipt::MIN_SIZE..=Receipt::MAX_SIZE).contains(&bytes.len()));
                let expected = signed.batches[batch].leaves[usize::from(index)];
                assert_eq!(verdict(&KEYS, &bytes), Ok(expected));
                file.extend(bytes);
            }
        }
        // A file is receipts back to back.
        let mut rest = &file[..];
        let mut buffer = Box::new([0; size_of::<StreamBuffer>()]);
        let mut verifier = StreamVerifier::new(&KEYS, &mut buffer);
        for (batch, &count) in counts.iter().enumerate() {
            for index in 0..count {
                let (receipt, used) = Receipt::decode(rest).unwrap();
                assert_eq!(receipt, signed.receipt(batch, index));
                assert_eq!(verifier.push_some(rest), Ok(used));
                assert_eq!(verifier.push_some(&rest[used..]), Ok(0));
                let Receipt { leaf, batch, window, .. } = receipt;
                assert_eq!(verifier.finish(), Ok(Proven { leaf, batch, window }));
                rest = &rest[used..];
            }
        }
        assert_eq!(rest, &[]);
    }
}

#[test]
fn a_window_of_4096_batches() {
    let mut tree: Box<WindowTree> = bytemuck::zeroed_box();
    let decided = Decided::new(3, 5);
    let mut leaves = hashes(MAX_BATCHES);
    for at in [0, 2730, 4095] {
        leaves[at] = decided.batch.hash();
    }
    let mut signed = Signed::of(1, vec![decided]);
    signed.window.count = MAX_BATCHES as u16;
    signed.window.root = tree.build(kernels(), &leaves).unwrap();
    signed.sign(&KEYS.ml_dsa, &KEYS.fn_dsa, &KEYS.slh_dsa);
    for at in [0, 2730, 4095] {
        let mut receipt = Receipt { batch_index: at, ..signed.receipt(0, 3) };
        tree.path(usize::from(at), &mut receipt.window_path).unwrap();
        assert_eq!(receipt.window_path.nodes().len(), MAX_WINDOW_PATH);
        assert_eq!(verdict(&KEYS, &encode(&receipt)), Ok(receipt.leaf));
    }
    assert_eq!(
        Receipt { batch_index: 4096, ..signed.receipt(0, 3) }.encode(&mut []),
        Err(Error::LeafIndex)
    );
}

#[test]
fn receipt_encoding() {
    let signed = Signed::new(1, &[2, 32, 4]);
    let receipt = signed.receipt(1, 13);
    let expected = [
        &b"SYRC\x02\x0d"[..],
        &receipt.leaf.encode(),
        &[5],
        receipt.path.nodes().as_flattened(),
        &receipt.batch.encode(),
        &[1, 0, 2],
        receipt.window_path.nodes().as_flattened(),
        &receipt.window.encode(),
        &[3, 0x01],
        &*signed.ml_dsa,
        &[0x82],
        &*signed.fn_dsa,
        &[0x03],
        &*signed.slh_dsa,
    ]
    .concat();
    assert_eq!(encode(&receipt), expected);
    assert_eq!((Receipt::MIN_SIZE, Receipt::MAX_SIZE), (21540, 22084));
    assert_eq!(expected.len(), Receipt::MIN_SIZE + 7 * 32);
    assert_eq!(encode(&Signed::new(1, &[1]).receipt(0, 0)).len(), Receipt::MIN_SIZE);
}

/// Pins the format: a change of any byte of it, of a domain or of a hash shows here. The same bytes
/// were put together in Python (hashlib), stand-in signatures included.
#[test]
fn receipt_known_answer() {
    let signed = Signed::new(1, &[5, 32, 3]);
    assert_eq!(
        sha3(&[&encode(&signed.receipt(2, 2))])[..],
        *unhex("91e2ab8a05e4778c4d941cf133c1ac53625a301808c363bccb4b3689956224eb")
    );
}

/// Where things are in the receipt of leaf 21 of 32 in batch 2 of 5, whose paths have 5 and 3 nodes.
mod at {
    pub const LEAF: usize = 6;
    pub const PATH: usize = LEAF + 130;
    pub const BATCH: usize = PATH + 1 + 5 * 32;
    pub const BATCH_COUNT: usize = BATCH + 89;
    pub const BATCH_INDEX: usize = BATCH + 218;
    pub const WINDOW_PATH: usize = BATCH_INDEX + 2;
    pub const WINDOW: usize = WINDOW_PATH + 1 + 3 * 32;
    pub const SIGNATURES: usize = WINDOW + 115;
    pub const ML_DSA: usize = SIGNATURES + 1;
    pub const FN_DSA: usize = ML_DSA + 1 + 3309;
    pub const SLH_DSA: usize = FN_DSA + 1 + 666;
    pub const END: usize = SLH_DSA + 1 + 17088;
}

fn example() -> Signed {
    Signed::new(1, &[3, 1, 32, 7, 2])
}

/// The errors that a change of this byte of the [`example`] may lead to.
fn errors_of_byte(at: usize) -> &'static [Error] {
    match at {
        0..4 => &[Error::BadMagic],
        4 | at::BATCH | at::WINDOW => &[Error::UnknownVersion],
        5 => &[Error::LeafIndex, Error::WrongPath],
        // The decision, and whether there is an identity proof.
        70 | 71 => &[Error::NonCanonical, Error::WrongPath],
        // Of the absent proof.
        72..104 => &[Error::NonCanonical],
        at::LEAF..at::PATH => &[Error::WrongPath],
        // What follows is not where it seems to be.
        at::PATH | at::WINDOW_PATH => &[Error::PathLength, Error::UnknownVersion, Error::Truncated],
        at::PATH..at::BATCH => &[Error::WrongPath],
        at::BATCH_COUNT => {
            &[Error::LeafCount, Error::LeafIndex, Error::PathLength, Error::WrongPath]
        }
        // The batch's root.
        _ if (at::BATCH_INDEX - 32..at::BATCH_INDEX).contains(&at) => &[Error::WrongPath],
        at::BATCH..at::BATCH_INDEX => &[Error::WrongWindowPath],
        at::BATCH_INDEX..at::WINDOW_PATH => {
            &[Error::LeafIndex, Error::PathLength, Error::WrongWindowPath]
        }
        at::WINDOW_PATH..at::WINDOW => &[Error::WrongWindowPath],
        _ if at < at::WINDOW + 17 => &[Error::WrongDeployment],
        _ if at < at::WINDOW + 33 => &[Error::UnknownKey],
        // The sequence number: 0 would have no window before it.
        _ if at < at::WINDOW + 41 => &[Error::NonCanonical, Error::WrongSignature(Family::MlDsa65)],
        // The time may leave the validity of the keys.
        _ if at < at::WINDOW + 49 => {
            &[Error::NotYetValid, Error::Retired, Error::WrongSignature(Family::MlDsa65)]
        }
        // The count.
        _ if at < at::WINDOW + 51 => &[
            Error::LeafCount,
            Error::LeafIndex,
            Error::PathLength,
            Error::WrongWindowPath,
            Error::WrongSignature(Family::MlDsa65),
        ],
        // The window before.
        _ if at < at::WINDOW + 83 => &[Error::WrongSignature(Family::MlDsa65)],
        // The window's root.
        _ if at < at::SIGNATURES => &[Error::WrongWindowPath],
        at::SIGNATURES => &[Error::MissingFamily, Error::NonCanonical],
        at::ML_DSA | at::FN_DSA | at::SLH_DSA => &[Error::UnknownAlgorithm, Error::FamilyOrder],
        _ if at < at::FN_DSA => &[Error::WrongSignature(Family::MlDsa65)],
        _ if at < at::SLH_DSA => &[Error::WrongSignature(Family::FnDsa512Draft)],
        _ => &[Error::WrongSignature(Family::SlhDsaSha2_128f)],
    }
}

/// Every bit before the signatures, and one bit of each byte of theirs: a stand-in compares bytes.
#[test]
fn any_flipped_bit_breaks_a_receipt() {
    let signed = example();
    let mut bytes = encode(&signed.receipt(2, 21));
    assert_eq!(bytes.len(), at::END);
    assert!(verdict(&KEYS, &bytes).is_ok());
    for at in 0..bytes.len() {
        for bit in (0..8).filter(|bit| at <= at::ML_DSA || *bit == at % 8) {
            bytes[at] ^= 1 << bit;
            let error = verdict(&KEYS, &bytes).expect_err("a changed receipt verifies");
            assert!(errors_of_byte(at).contains(&error), "byte {at}, bit {bit}: {error:?}");
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn truncation_and_trailing_bytes_are_errors() {
    let signed = example();
    for (batch, index) in [(2, 21), (1, 0), (4, 1)] {
        let receipt = signed.receipt(batch, index);
        let mut bytes = encode(&receipt);
        let mut out = vec![0; bytes.len()];
        for len in 0..bytes.len() {
            assert_eq!(Receipt::decode(&bytes[..len]), Err(Error::Truncated));
            assert_eq!(Receipt::decode_exact(&bytes[..len]), Err(Error::Truncated));
            assert_eq!(receipt.encode(&mut out[..len]), Err(Error::BufferTooSmall));
            if len < at::FN_DSA || len % 101 == 0 {
                assert_eq!(stream(&KEYS, [&bytes[..len]]), Err(Error::Truncated), "{len}");
            }
        }
        let size = bytes.len();
        bytes.push(0);
        assert_eq!(Receipt::decode(&bytes).map(|(_, used)| used), Ok(size));
        for input in [&bytes[..], &bytes.repeat(2)] {
            assert_eq!(Receipt::decode_exact(input), Err(Error::TrailingBytes));
            assert_eq!(stream(&KEYS, [input]), Err(Error::TrailingBytes));
        }
        let pieces = [&bytes[..size], &[], &bytes[size..]];
        assert_eq!(stream(&KEYS, pieces), Err(Error::TrailingBytes));
    }
}

#[test]
fn parts_of_other_receipts_do_not_fit() {
    let (signed, other) = (Signed::new(1, &[21, 21, 9]), Signed::new(2, &[21, 21, 9]));
    let verify = |receipt: Receipt| verdict(&KEYS, &encode(&receipt));
    let wrong = |family| Err(Error::WrongSignature(family));
    for index in 0..21 {
        let receipt = signed.receipt(0, index);
        assert_eq!(verify(receipt), Ok(receipt.leaf));
        // Of another batch of this window, at the same place.
        let beside = signed.receipt(1, index);
        assert_eq!(verify(Receipt { leaf: beside.leaf, ..receipt }), Err(Error::WrongPath));
        assert_eq!(verify(Receipt { path: beside.path, ..receipt }), Err(Error::WrongPath));
        assert_eq!(verify(Receipt { batch: beside.batch, ..receipt }), Err(Error::WrongPath));
        let leaf_and_batch = Receipt { leaf: beside.leaf, path: beside.path, ..receipt };
        let leaf_and_batch = Receipt { batch: beside.batch, ..leaf_and_batch };
        assert_eq!(verify(leaf_and_batch), Err(Error::WrongWindowPath));
        let Receipt { batch_index, window_path, .. } = beside;
        assert_eq!(verify(Receipt { batch_index, ..receipt }), Err(Error::WrongWindowPath));
        assert_eq!(verify(Receipt { window_path, ..receipt }), Err(Error::WrongWindowPath));
        // A whole batch of another window.
        let foreign = other.receipt(0, index);
        let Receipt { window, signatures, .. } = foreign;
        assert_eq!(verify(Receipt { window, ..receipt }), Err(Error::WrongWindowPath));
        let moved = Receipt { window, signatures, ..receipt };
        assert_eq!(verify(moved), Err(Error::WrongWindowPath));
        // The signatures of another window, and its root under this window's signatures.
        assert_eq!(verify(Receipt { signatures, ..receipt }), wrong(Family::MlDsa65));
        let window = Window { root: window.root, ..receipt.window };
        let forged = Receipt { window, signatures: receipt.signatures, ..foreign };
        assert_eq!(verify(forged), wrong(Family::MlDsa65));
        // The other decision; an identity proof put in, or taken away.
        let leaf = Leaf { accept: !receipt.leaf.accept, ..receipt.leaf };
        assert_eq!(verify(Receipt { leaf, ..receipt }), Err(Error::WrongPath));
        let proof = receipt.leaf.proof.is_none().then_some([1; 32]);
        let leaf = Leaf { proof, ..receipt.leaf };
        assert_eq!(verify(Receipt { leaf, ..receipt }), Err(Error::WrongPath));
        // Of the same batch, at another place. These do not always make an encoding.
        for neighbour in (0..21).filter(|&neighbour| neighbour != index) {
            let neighbour = signed.receipt(0, neighbour);
            let same = receipt.path.nodes().len() == neighbour.path.nodes().len();
            let wrong = if same { Error::WrongPath } else { Error::PathLength };
            let path = Receipt { path: neighbour.path, ..receipt };
            assert_eq!(path.verify(&KEYS), Err(wrong));
            let place = Receipt { index: neighbour.index, ..receipt };
            assert_eq!(place.verify(&KEYS), Err(wrong));
            assert_eq!(verify(Receipt { leaf: neighbour.leaf, ..receipt }), Err(Error::WrongPath));
        }
    }
}

#[test]
fn batches_of_another_deployment_are_refused() {
    let mut foreign = Decided::new(1, 4);
    foreign.batch.deployment = [0xd1; 16];
    let signed = Signed::of(1, vec![Decided::new(0, 4), foreign]);
    assert!(verdict(&KEYS, &encode(&signed.receipt(0, 3))).is_ok());
    let bytes = encode(&signed.receipt(1, 3));
    assert_eq!(verdict(&KEYS, &bytes), Err(Error::WrongDeployment));
}

#[test]
fn paths_of_wrong_length_are_refused() {
    let signed = example();
    let bytes = encode(&signed.receipt(2, 21));
    for (at, nodes) in [(at::PATH, 5), (at::WINDOW_PATH, 3)] {
        let (front, back) = bytes.split_at(at);
        let (path, back) = back[1..].split_at(nodes * 32);
        // One node more, one less, and none at all, each in a receipt that is otherwise whole.
        for (len, path) in [
            (nodes + 1, [path, &[1; 32]].concat()),
            (nodes - 1, path[32..].to_vec()),
            (nodes - 1, path[..path.len() - 32].to_vec()),
            (0, Vec::new()),
        ] {
            let input = [front, &[len as u8], &path, back].concat();
            assert_eq!(verdict(&KEYS, &input), Err(Error::PathLength));
            assert_eq!(stream(&KEYS, [&input[..]]), Err(Error::PathLength));
            assert_eq!(Receipt::decode(&input), Err(Error::PathLength));
        }
        let input = [front, &[u8::MAX], &bytes[at + 1..]].concat();
        assert_eq!(verdict(&KEYS, &input), Err(Error::PathLength));
    }
}

#[test]
fn receipts_that_do_not_fit_together_are_not_encoded() {
    let signed = Signed::new(1, &[5, 1, 1]);
    let receipt = signed.receipt(0, 2);
    let mut out = [0; Receipt::MAX_SIZE];
    let batch = Batch { count: 0, ..receipt.batch };
    let empty = Window { count: 0, ..receipt.window };
    let crowded = Window { count: 4097, ..receipt.window };
    let first = Window { sequence: 0, ..receipt.window };
    for (broken, error) in [
        (Receipt { path: Path::EMPTY, ..receipt }, Error::PathLength),
        (Receipt { path: Path::new(&[[1; 32]; MAX_PATH]).unwrap(), ..receipt }, Error::PathLength),
        (Receipt { index: 4, ..receipt }, Error::PathLength),
        (Receipt { index: 5, ..receipt }, Error::LeafIndex),
        (Receipt { batch, ..receipt }, Error::LeafCount),
        (Receipt { window_path: Path::EMPTY, ..receipt }, Error::PathLength),
        (Receipt { batch_index: 2, ..receipt }, Error::PathLength),
        (Receipt { batch_index: 3, ..receipt }, Error::LeafIndex),
        (Receipt { window: empty, ..receipt }, Error::LeafCount),
        (Receipt { window: crowded, ..receipt }, Error::LeafCount),
        (Receipt { window: first, ..receipt }, Error::NonCanonical),
    ] {
        assert_eq!(broken.encode(&mut out), Err(error));
        assert_eq!(broken.verify(&KEYS), Err(error));
    }
    assert_eq!(out, [0; Receipt::MAX_SIZE]);
}

// Three families, not two

/// The three signatures of the [`example`]'s receipts, each with its identifier.
fn parts(bytes: &[u8]) -> (&[u8], [&[u8]; 3]) {
    let front = &bytes[..at::SIGNATURES];
    let ml_dsa = &bytes[at::ML_DSA..at::FN_DSA];
    (front, [ml_dsa, &bytes[at::FN_DSA..at::SLH_DSA], &bytes[at::SLH_DSA..]])
}

fn with(front: &[u8], signatures: &[&[u8]]) -> Vec<u8> {
    [front, &[signatures.len() as u8], &signatures.concat()].concat()
}

#[test]
fn two_of_three_are_not_enough() {
    let (signed, other) = (example(), Signed::new(2, &[3, 1, 32, 7, 2]));
    let receipt = signed.receipt(2, 21);
    let bytes = encode(&receipt);
    let (front, [ml_dsa, fn_dsa, slh_dsa]) = parts(&bytes);
    // Two good signatures and one of another window, or by another key, or none at all.
    let keys = stand_ins(8);
    for family in Family::ALL {
        let mut signature = vec![0; family.signature_size()];
        let wrong = Error::WrongSignature(family);
        for bad in 0..3 {
            let out = &mut signature[..];
            match (bad, family) {
                (0, _) => out.copy_from_slice(other.signatures().of(family)),
                (1, Family::MlDsa65) => {
                    receipt.window.sign_deterministic(&keys.ml_dsa, out).unwrap()
                }
                (1, Family::FnDsa512Draft) => {
                    receipt.window.sign_deterministic(&keys.fn_dsa, out).unwrap();
                }
                (1, Family::SlhDsaSha2_128f) => {
                    receipt.window.sign_deterministic(&keys.slh_dsa, out).unwrap();
                }
                _ => out.fill(0),
            }
            let mut signatures = receipt.signatures;
            match family {
                Family::MlDsa65 => signatures.ml_dsa = signature[..].try_into().unwrap(),
                Family::FnDsa512Draft => signatures.fn_dsa = signature[..].try_into().unwrap(),
                Family::SlhDsaSha2_128f => signatures.slh_dsa = signature[..].try_into().unwrap(),
            }
            let bytes = encode(&Receipt { signatures, ..receipt });
            assert_eq!(verdict(&KEYS, &bytes), Err(wrong));
            assert_eq!(receipt.window.verify(&KEYS, &signatures), Err(wrong));
        }
    }
    assert_eq!(receipt.window.verify(&KEYS, &receipt.signatures), Ok(()));
    // Two signatures or fewer.
    for few in [
        &[fn_dsa, slh_dsa][..],
        &[ml_dsa, slh_dsa],
        &[ml_dsa, fn_dsa],
        &[ml_dsa],
        &[fn_dsa],
        &[slh_dsa],
        &[],
    ] {
        let input = with(front, few);
        assert_eq!(verdict(&KEYS, &input), Err(Error::MissingFamily));
        assert_eq!(stream(&KEYS, [&input[..]]), Err(Error::MissingFamily));
        // Two that pass for three.
        let input = [front, &[3], &few.concat()].concat();
        let error = match few.first() {
            Some(first) if *first == ml_dsa => match few.get(1) {
                Some(second) if *second == slh_dsa => Error::FamilyOrder,
                _ => Error::Truncated,
            },
            Some(_) => Error::FamilyOrder,
            None => Error::Truncated,
        };
        assert_eq!(verdict(&KEYS, &input), Err(error));
        assert_eq!(stream(&KEYS, [&input[..]]), Err(error));
    }
}

#[test]
fn families_stand_in_one_order() {
    let bytes = encode(&example().receipt(2, 21));
    let (front, [ml_dsa, fn_dsa, slh_dsa]) = parts(&bytes);
    assert_eq!(with(front, &[ml_dsa, fn_dsa, slh_dsa]), bytes);
    for wrong in [
        [ml_dsa, slh_dsa, fn_dsa],
        [fn_dsa, ml_dsa, slh_dsa],
        [fn_dsa, slh_dsa, ml_dsa],
        [slh_dsa, ml_dsa, fn_dsa],
        [slh_dsa, fn_dsa, ml_dsa],
        // One twice in place of another.
        [ml_dsa, ml_dsa, slh_dsa],
        [ml_dsa, fn_dsa, fn_dsa],
        [slh_dsa, fn_dsa, slh_dsa],
    ] {
        let input = with(front, &wrong);
        assert_eq!(verdict(&KEYS, &input), Err(Error::FamilyOrder));
        assert_eq!(stream(&KEYS, [&input[..]]), Err(Error::FamilyOrder));
    }
    let four = with(front, &[ml_dsa, fn_dsa, slh_dsa, ml_dsa]);
    assert_eq!(verdict(&KEYS, &four), Err(Error::NonCanonical));
}

#[test]
fn unknown_algorithms_are_refused() {
    let bytes = encode(&example().receipt(2, 21));
    for (at, family) in [at::ML_DSA, at::FN_DSA, at::SLH_DSA].into_iter().zip(Family::ALL) {
        let mut bytes = bytes.clone();
        for id in 0..=u8::MAX {
            bytes[at] = id;
            let expected = match Family::from_id(id) {
                Some(found) if found == family => None,
                Some(_) => Some(Error::FamilyOrder),
                None => Some(Error::UnknownAlgorithm),
            };
            assert_eq!(verdict(&KEYS, &bytes).err(), expected);
            assert_eq!(stream(&KEYS, [&bytes[..]]).err(), expected);
        }
    }
}

// Refills

/// Keys of a kind, certified: a public key of each is its number, eight times.
struct Refilled {
    tree: RefillTree,
    refill: Refill,
    ml_dsa: Box<[u8; Family::MlDsa65.signature_size()]>,
    fn_dsa: Box<[u8; Family::FnDsa512Draft.signature_size()]>,
    slh_dsa: Box<[u8; Family::SlhDsaSha2_128f.signature_size()]>,
}

const KIND: &str = "ml-kem-768";

const fn public(index: u16) -> [u8; 8] {
    [index as u8; 8]
}

impl Refilled {
    fn new(count: u16) -> Self {
        let leaves: Vec<_> = (0..count).map(|index| Refill::leaf(KIND, &public(index))).collect();
        let mut tree = RefillTree::new();
        let refill = Refill {
            deployment: [0xd0; 16],
            keys: KEYS.id,
            kind: Refill::kind(KIND),
            sequence: 0x1112_1314_1516_1718,
            time_ms: TIME,
            count,
            root: tree.build(kernels(), &leaves).unwrap(),
        };
        Self::of(tree, refill, &KEYS.ml_dsa, &KEYS.fn_dsa, &KEYS.slh_dsa)
    }

    fn of(
        tree: RefillTree,
        refill: Refill,
        ml: &impl Sign,
        fndsa: &impl Sign,
        slh: &impl Sign,
    ) -> Self {
        let mut made = Self {
            tree,
            refill,
            ml_dsa: Box::new([0; _]),
            fn_dsa: Box::new([0; _]),
            slh_dsa: Box::new([0; _]),
        };
        refill.sign(ml, &mut rng(1), &mut *made.ml_dsa).unwrap();
        refill.sign(fndsa, &mut rng(2), &mut *made.fn_dsa).unwrap();
        refill.sign(slh, &mut rng(3), &mut *made.slh_dsa).unwrap();
        made
    }

    fn certificate(&self, index: u16) -> Certificate<'_> {
        let mut path = RefillPath::EMPTY;
        self.tree.path(index.into(), &mut path).unwrap();
        let signatures =
            Signatures { ml_dsa: &self.ml_dsa, fn_dsa: &self.fn_dsa, slh_dsa: &self.slh_dsa };
        Certificate { refill: self.refill, index, path, signatures }
    }
}

fn certificate_bytes(certificate: &Certificate) -> Vec<u8> {
    let mut out = vec![0; Certificate::MAX_SIZE];
    let size = certificate.encode(&mut out).unwrap();
    out.truncate(size);
    out
}

fn certified(bytes: &[u8], public: &[u8]) -> Result<Refill> {
    Certificate::decode_exact(bytes)?.verify(KIND, public, &KEYS).copied()
}

#[test]
fn refill_encoding_and_hashes() {
    let made = Refilled::new(5);
    let (ten, eight) = (10_u64.to_le_bytes(), 8_u64.to_le_bytes());
    let kind = sha3(&[b"\x14symbolon/key-kind/v1", &ten, b"ml-kem-768"]);
    let leaf = sha3(&[b"\x16symbolon/refill-key/v1", &ten, b"ml-kem-768", &eight, &[3; 8]]);
    assert_eq!((Refill::kind(KIND), Refill::leaf(KIND, &[3; 8])), (kind, leaf));
    let leaves: Vec<_> = (0..5).map(|i| Refill::leaf(KIND, &[i; 8])).collect();
    let fields: [&[u8]; 8] = [
        &[1],
        &[0xd0; 16],
        &[7; 16],
        &kind,
        &[0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11],
        &[8, 7, 6, 5, 4, 3, 2, 1],
        &[5, 0],
        &oracle_root(&leaves),
    ];
    assert_eq!(made.refill.encode(), *fields.concat());
    assert_eq!(Refill::decode(&made.refill.encode()), Ok(made.refill));
    assert_eq!(Refill::CONTEXT.as_bytes(), b"symbolon/refill/v1");

    let path = oracle_path(3, &leaves);
    let certificate = made.certificate(3);
    let signatures = certificate.signatures;
    let parts: [&[u8]; 12] = [
        b"SYPC\x01",
        &made.refill.encode(),
        &[3, 0],
        &[path.len() as u8],
        path.as_flattened(),
        &[3],
        &[0x01],
        signatures.ml_dsa,
        &[0x82],
        signatures.fn_dsa,
        &[0x03],
        signatures.slh_dsa,
    ];
    assert_eq!(certificate_bytes(&certificate), parts.concat());
}

/// Pins the format, as [`receipt_known_answer`] does; put together in Python too.
#[test]
fn certificate_known_answer() {
    let bytes = certificate_bytes(&Refilled::new(5).certificate(3));
    assert_eq!(
        sha3(&[&bytes])[..],
        *unhex("95c8b685d02d964de3bde0ae93bba96680ac2f3b2ae3664fea78a112369b23da")
    );
}

#[test]
fn certificates_of_every_shape_verify() {
    for count in [1, 2, 3, 5, 31, 32, 33, 63, 64] {
        let made = Refilled::new(count);
        for index in 0..count {
            let certificate = made.certificate(index);
            let bytes = certificate_bytes(&certificate);
            assert!((Certificate::MIN_SIZE..=Certificate::MAX_SIZE).contains(&bytes.len()));
            assert_eq!(Certificate::decode_exact(&bytes), Ok(certificate));
            assert_eq!(certified(&bytes, &public(index)), Ok(made.refill));
            let other = public((index + 1) % count);
            if count > 1 {
                assert_eq!(certified(&bytes, &other), Err(Error::WrongPath));
            }
        }
    }
    assert_eq!(certificate_bytes(&Refilled::new(1).certificate(0)).len(), Certificate::MIN_SIZE);
    assert_eq!(certificate_bytes(&Refilled::new(64).certificate(9)).len(), Certificate::MAX_SIZE);
}

#[test]
fn refills_have_1_to_64_keys() {
    for count in [0, 65, u16::MAX] {
        let refill = Refill { count, ..Refilled::new(64).refill };
        assert_eq!(Refill::decode(&refill.encode()), Err(Error::LeafCount));
        let mut out = [0; Family::MlDsa65.signature_size()];
        assert_eq!(refill.sign(&KEYS.ml_dsa, &mut rng(1), &mut out), Err(Error::LeafCount));
    }
}

/// Each bit of a certificate counts; and each error is the one of its place.
#[test]
fn any_flipped_bit_breaks_a_certificate() {
    // Index 21 of 33: a path of six nodes.
    let bytes = certificate_bytes(&Refilled::new(33).certificate(21));
    let head = 5 + Refill::SIZE + 2 + 1 + 6 * 32;
    let signatures = [head + 1, head + 2 + 3309, head + 3 + 3309 + 666];
    let errors = |at: usize| -> &'static [Error] {
        match at {
            0..4 => &[Error::BadMagic],
            4 | 5 => &[Error::UnknownVersion],
            // Deployment, sequence and the time, where keys are valid, are what was signed.
            6..22 | 70..78 => &[Error::WrongSignature(Family::MlDsa65)],
            22..38 => &[Error::UnknownKey],
            38..70 => &[Error::WrongKind],
            78..86 => &[Error::NotYetValid, Error::Retired, Error::WrongSignature(Family::MlDsa65)],
            86..88 => &[
                Error::LeafCount,
                Error::LeafIndex,
                Error::PathLength,
                Error::WrongPath,
                Error::WrongSignature(Family::MlDsa65),
            ],
            88..120 => &[Error::WrongPath],
            120..122 => &[Error::LeafIndex, Error::PathLength, Error::WrongPath],
            // A longer path takes its last nodes from what follows.
            122 => &[Error::PathLength],
            _ if at < head => &[Error::WrongPath],
            _ if at == head => &[Error::MissingFamily, Error::NonCanonical],
            _ if signatures.contains(&at) => &[Error::UnknownAlgorithm, Error::FamilyOrder],
            _ if at < signatures[1] => &[Error::WrongSignature(Family::MlDsa65)],
            _ if at < signatures[2] => &[Error::WrongSignature(Family::FnDsa512Draft)],
            _ => &[Error::WrongSignature(Family::SlhDsaSha2_128f)],
        }
    };
    assert!(certified(&bytes, &public(21)).is_ok());
    let mut spoilt = bytes.clone();
    for at in (0..head + 300).chain((head + 300..bytes.len()).step_by(61)).chain(signatures) {
        for bit in 0..8 {
            spoilt[at] ^= 1 << bit;
            let error = certified(&spoilt, &public(21)).unwrap_err();
            assert!(errors(at).contains(&error), "byte {at}, bit {bit}: {error:?}");
            spoilt[at] ^= 1 << bit;
        }
    }
    for len in 0..bytes.len() {
        if len < head + 300 || len % 61 == 0 {
            assert_eq!(Certificate::decode_exact(&bytes[..len]), Err(Error::Truncated), "{len}");
        }
    }
    spoilt.push(0);
    assert_eq!(Certificate::decode_exact(&spoilt), Err(Error::TrailingBytes));
}

#[test]
fn certificates_hold_for_their_key_kind_and_signers_only() {
    let made = Refilled::new(6);
    let certificate = made.certificate(4);
    let verdict = |name, key: &[u8], keys: &StandIns| certificate.verify(name, key, keys).copied();
    let (key, long) = (public(4), [4; 9]);
    assert_eq!(verdict(KIND, &key, &KEYS), Ok(made.refill));
    assert_eq!(verdict("ml-kem-1024", &key, &KEYS), Err(Error::WrongKind));
    assert_eq!(verdict(KIND, &key[1..], &KEYS), Err(Error::WrongPath));
    assert_eq!(verdict(KIND, &long, &KEYS), Err(Error::WrongPath));
    assert_eq!(verdict(KIND, &key, &stand_ins(8)), Err(Error::UnknownKey));
    let forged = StandIns { id: KEYS.id, ..stand_ins(8) };
    assert_eq!(verdict(KIND, &key, &forged), Err(Error::WrongSignature(Family::MlDsa65)));
    let revoked = Validity { revoked: true, ..KEYS.validity };
    let late = Validity { not_before_ms: TIME + 1, ..Validity::ALWAYS };
    let early = Validity { not_after_ms: TIME - 1, ..Validity::ALWAYS };
    for (validity, error) in
        [(revoked, Error::Revoked), (late, Error::NotYetValid), (early, Error::Retired)]
    {
        assert_eq!(verdict(KIND, &key, &StandIns { validity, ..KEYS }), Err(error));
    }
    // Two of three are not enough, whichever they are.
    let bad = StandIn::<ML_DSA>(8);
    assert_eq!(
        verdict(KIND, &key, &StandIns { ml_dsa: bad, ..KEYS }),
        Err(Error::WrongSignature(Family::MlDsa65))
    );
    assert_eq!(
        verdict(KIND, &key, &StandIns { fn_dsa: StandIn(8), ..KEYS }),
        Err(Error::WrongSignature(Family::FnDsa512Draft))
    );
    assert_eq!(
        verdict(KIND, &key, &StandIns { slh_dsa: StandIn(8), ..KEYS }),
        Err(Error::WrongSignature(Family::SlhDsaSha2_128f))
    );
}

/// The same bytes signed as a window are no refill: the context tells them apart.
#[test]
fn a_window_is_no_refill() {
    let made = Refilled::new(6);
    let mut certificate = made.certificate(4);
    let mut as_window = [0; Family::MlDsa65.signature_size()];
    KEYS.ml_dsa.sign_deterministic(Window::CONTEXT, &made.refill.encode(), &mut as_window).unwrap();
    certificate.signatures.ml_dsa = &as_window;
    let verdict = certificate.verify(KIND, &public(4), &KEYS);
    assert_eq!(verdict, Err(Error::WrongSignature(Family::MlDsa65)));
}

#[test]
fn certificates_that_do_not_fit_together_are_neither_encoded_nor_verified() {
    let made = Refilled::new(6);
    let good = made.certificate(4);
    let mut out = vec![0; Certificate::MAX_SIZE];
    for (bad, error) in [
        (Certificate { index: 6, ..good }, Error::LeafIndex),
        (Certificate { path: RefillPath::EMPTY, ..good }, Error::PathLength),
        (Certificate { refill: Refill { count: 0, ..good.refill }, ..good }, Error::LeafCount),
    ] {
        assert_eq!(bad.encode(&mut out), Err(error));
        assert_eq!(bad.verify(KIND, &public(4), &KEYS), Err(error));
    }
    let size = certificate_bytes(&good).len();
    assert_eq!(good.encode(&mut out[..size - 1]), Err(Error::BufferTooSmall));
    assert_eq!(good.encode(&mut out[..20]), Err(Error::BufferTooSmall));
}

// Streams

#[test]
fn streams_take_single_bytes() {
    let signed = example();
    let mut bytes = encode(&signed.receipt(2, 21));
    assert_eq!(stream(&KEYS, bytes.chunks(1)), Ok(signed.batches[2].leaves[21]));
    // Each fault is seen when its part is whole, without what follows.
    let mut buffer = Box::new([0; size_of::<StreamBuffer>()]);
    for (at, whole) in [
        (0, 4),
        (at::LEAF + 3, at::ML_DSA),
        (at::ML_DSA, at::ML_DSA + 1),
        (at::ML_DSA + 1, at::FN_DSA),
        (at::FN_DSA, at::FN_DSA + 1),
        (at::FN_DSA + 1, at::SLH_DSA),
        (at::SLH_DSA + 9, at::END),
    ] {
        bytes[at] ^= 0x40;
        let mut verifier = StreamVerifier::new(&KEYS, &mut buffer);
        for piece in bytes[..whole - 1].chunks(1) {
            assert_eq!(verifier.push(piece), Ok(()), "{at}");
        }
        let error = verifier.push(&bytes[whole - 1..whole]).unwrap_err();
        // And stays.
        assert_eq!(verifier.push(&[]), Err(error));
        assert_eq!(verifier.push_some(&bytes[whole..]), Err(error));
        assert_eq!(verifier.finish(), Err(error));
        // The next receipt has a chance of its own.
        bytes[at] ^= 0x40;
        assert_eq!(verifier.push(&bytes), Ok(()));
        assert!(verifier.finish().is_ok());
        assert_eq!(verifier.finish(), Err(Error::Truncated));
    }
}

/// The whole of what a stream needs, but for the keys and what the families take.
#[test]
fn streams_need_little_memory() {
    let memory =
        size_of::<StreamVerifier<'_, StandIn<ML_DSA>, StandIn<FN_DSA>, StandIn<SLH_DSA>>>();
    assert!(memory <= 768, "{memory}");
    assert_eq!(size_of::<StreamBuffer>(), 17089);
}

#[test]
fn errors_are_small_and_have_distinct_messages() {
    assert!(size_of::<Error>() <= 2);
    let all = [
        Error::BadMagic,
        Error::UnknownVersion,
        Error::UnknownAlgorithm,
        Error::MissingFamily,
        Error::FamilyOrder,
        Error::Truncated,
        Error::TrailingBytes,
        Error::NonCanonical,
        Error::BufferTooSmall,
        Error::LeafCount,
        Error::LeafIndex,
        Error::PathLength,
        Error::WrongPath,
        Error::WrongWindowPath,
        Error::WrongKind,
        Error::WrongDeployment,
        Error::UnknownKey,
        Error::NotYetValid,
        Error::Retired,
        Error::Revoked,
        Error::WrongSignature(Family::MlDsa65),
        Error::WrongSignature(Family::FnDsa512Draft),
        Error::WrongSignature(Family::SlhDsaSha2_128f),
        Error::Signing,
    ];
    let messages: std::collections::HashSet<_> = all.iter().map(Error::to_string).collect();
    assert_eq!(messages.len(), all.len());
}

// The real families

/// Keys on the heap: test threads have small stacks.
struct Real {
    keys: KeySet<&'static mldsa::VerifyingKey, fndsa::VerifyingKey, slhdsa::VerifyingKey>,
    signed: Signed,
}

static REAL: LazyLock<Real> = LazyLock::new(|| {
    let (mut ml_dsa, mut fn_dsa, mut slh_dsa) = (Box::new(None), Box::new(None), Box::new(None));
    let ml_dsa = mldsa::SigningKey::init(&mut ml_dsa, &[1; SEED_SIZE]);
    let fn_dsa = fndsa::SigningKey::init(&mut fn_dsa, &[2; SEED_SIZE]);
    let slh_dsa = slhdsa::SigningKey::init(&mut slh_dsa, &[3; SEED_SIZE]);
    let mut public =
        ([0; mldsa::PUBLIC_KEY_SIZE], [0; fndsa::PUBLIC_KEY_SIZE], [0; slhdsa::PUBLIC_KEY_SIZE]);
    ml_dsa.public_key(&mut public.0).unwrap();
    fn_dsa.public_key(&mut public.1).unwrap();
    slh_dsa.public_key(&mut public.2).unwrap();
    let keys = KeySet {
        id: key_id(&public.0, &public.1, &public.2),
        validity: KEYS.validity,
        ml_dsa: &*Box::leak(Box::new(mldsa::VerifyingKey::decode(&public.0))),
        fn_dsa: fndsa::VerifyingKey::decode(&public.1).unwrap(),
        slh_dsa: slhdsa::VerifyingKey::decode(&public.2),
    };
    let mut signed = example();
    signed.window.keys = keys.id;
    signed.sign(ml_dsa, fn_dsa, slh_dsa);
    Real { keys, signed }
});

#[test]
fn receipts_of_the_real_families_verify() {
    let Real { keys, signed } = &*REAL;
    for (batch, index) in [(0, 0), (1, 0), (2, 21), (4, 1)] {
        let receipt = signed.receipt(batch, index);
        let bytes = encode(&receipt);
        assert_eq!(verdict(keys, &bytes), Ok(receipt.leaf));
        assert_eq!(stream(keys, bytes.chunks(61)), Ok(receipt.leaf));
    }
}

/// Every byte before SLH-DSA's signature, and a sample of that.
#[test]
fn any_flipped_byte_breaks_a_receipt_of_the_real_families() {
    let Real { keys, signed } = &*REAL;
    let mut bytes = encode(&signed.receipt(2, 21));
    let sample = (at::SLH_DSA..at::END).step_by(97).chain([at::SLH_DSA + 1, at::END - 1]);
    for at in (0..at::SLH_DSA).chain(sample) {
        bytes[at] ^= 1 << (at % 8);
        let error = whole(keys, &bytes).expect_err("a changed receipt verifies");
        assert!(errors_of_byte(at).contains(&error), "byte {at}: {error:?}");
        bytes[at] ^= 1 << (at % 8);
    }
    assert!(whole(keys, &bytes).is_ok());
}

#[test]
fn two_real_families_of_three_are_not_enough() {
    let Real { keys, signed } = &*REAL;
    let receipt = signed.receipt(2, 21);
    let other = example();
    let (good, bad) = (signed.signatures(), other.signatures());
    for (signatures, family) in [
        (Signatures { ml_dsa: bad.ml_dsa, ..good }, Family::MlDsa65),
        (Signatures { fn_dsa: bad.fn_dsa, ..good }, Family::FnDsa512Draft),
        (Signatures { slh_dsa: bad.slh_dsa, ..good }, Family::SlhDsaSha2_128f),
    ] {
        let bytes = encode(&Receipt { signatures, ..receipt });
        assert_eq!(verdict(keys, &bytes), Err(Error::WrongSignature(family)));
    }
}

// Any bytes

fn leaves() -> impl Strategy<Value = Leaf> {
    (any::<[u8; Leaf::SIZE]>(), any::<bool>(), any::<bool>()).prop_map(
        |(mut bytes, accept, proof)| {
            bytes[64] = u8::from(accept);
            bytes[65] = u8::from(proof);
            if !proof {
                bytes[66..98].fill(0);
            }
            Leaf::decode(&bytes).unwrap()
        },
    )
}

fn batches() -> impl Strategy<Value = Batch> {
    (any::<[u8; Batch::SIZE]>(), 1..=MAX_LEAVES as u8).prop_map(|(mut bytes, count)| {
        bytes[0] = Batch::VERSION;
        bytes[at::BATCH_COUNT - at::BATCH] = count;
        Batch::decode(&bytes).unwrap()
    })
}

fn windows() -> impl Strategy<Value = Window> {
    (any::<[u8; Window::SIZE]>(), 1..=MAX_BATCHES as u16).prop_map(|(mut bytes, count)| {
        bytes[0] = Window::VERSION;
        bytes[33] |= 1;
        bytes[49..51].copy_from_slice(&count.to_le_bytes());
        Window::decode(&bytes).unwrap()
    })
}

/// Bytes of a well-formed receipt, its signatures and paths being noise.
fn receipts() -> impl Strategy<Value = Vec<u8>> {
    let indices = (any::<u8>(), any::<u16>());
    (leaves(), batches(), windows(), indices, any::<u64>()).prop_map(
        |(leaf, batch, window, (index, batch_index), seed)| {
            let mut noise = vec![0; Receipt::MAX_SIZE];
            ChaCha20Rng::seed_from_u64(seed).fill_bytes(&mut noise);
            let (nodes, noise) = noise.split_at(MAX_WINDOW_PATH * 32);
            let (nodes, _) = nodes.as_chunks::<32>();
            let index = index % batch.count;
            let len = BatchPath::length(index.into(), batch.count.into()).unwrap();
            let path = Path::new(&nodes[..len]).unwrap();
            let batch_index = batch_index % window.count;
            let len = WindowPath::length(batch_index.into(), window.count.into()).unwrap();
            let window_path = Path::new(&nodes[..len]).unwrap();
            let signatures = Signatures {
                ml_dsa: noise.first_chunk().unwrap(),
                fn_dsa: noise[9..].first_chunk().unwrap(),
                slh_dsa: noise.last_chunk().unwrap(),
            };
            let receipt =
                Receipt { leaf, index, path, batch, batch_index, window_path, window, signatures };
            let bytes = encode(&receipt);
            // decode after encode is the identity
            assert_eq!(Receipt::decode(&bytes), Ok((receipt, bytes.len())));
            bytes
        },
    )
}

/// Encode after decode is the identity on whatever is accepted.
fn check_canonical(bytes: &[u8]) {
    match Receipt::decode(bytes) {
        Ok((receipt, used)) => {
            assert_eq!(encode(&receipt), bytes[..used]);
            assert_eq!(Receipt::decode_exact(bytes).is_ok(), used == bytes.len());
        }
        Err(error) => assert_eq!(Receipt::decode_exact(bytes), Err(error)),
    }
}

proptest! {
    #[test]
    fn trees_of_any_size_agree_with_the_rfc(
        count in 1..=MAX_BATCHES,
        index in any::<prop::sample::Index>(),
    ) {
        let mut tree: Box<WindowTree> = bytemuck::zeroed_box();
        check_tree::<4096, 12>(&mut tree, &hashes(count), [index.index(count)]);
    }

    #[test]
    fn long_paths_verify_as_in_the_rfc(
        count in 1..=MAX_BATCHES,
        index in 0..MAX_BATCHES,
        len in 0..=MAX_WINDOW_PATH,
    ) {
        let path = WindowPath::new(&hashes(len)).unwrap();
        let expected = if index < count {
            oracle_walk(&[1; 32], index, count, path.nodes()).ok_or(Error::PathLength)
        } else {
            Err(Error::LeafIndex)
        };
        assert_eq!(path.root(&[1; 32], index, count), expected);
    }

    #[test]
    fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        check_canonical(&bytes);
        assert!(verdict(&KEYS, &bytes).is_err());
        let bytes = [&b"SYRC\x02"[..], &bytes].concat();
        check_canonical(&bytes);
        assert!(verdict(&KEYS, &bytes).is_err());
        if let Some(bytes) = bytes.first_chunk()
            && let Ok(leaf) = Leaf::decode(bytes)
        {
            assert_eq!(leaf.encode(), *bytes);
        }
        if let Some(bytes) = bytes.first_chunk()
            && let Ok(batch) = Batch::decode(bytes)
        {
            assert_eq!(batch.encode(), *bytes);
        }
        if let Some(bytes) = bytes.first_chunk()
            && let Ok(window) = Window::decode(bytes)
        {
            assert_eq!(window.encode(), *bytes);
        }
    }

    #[test]
    fn well_formed_receipts_round_trip(bytes in receipts()) {
        check_canonical(&bytes);
    }

    #[test]
    fn accepted_input_is_canonical(
        mut bytes in receipts(),
        changes in prop::collection::vec((0..1100_usize, any::<u8>()), 0..4),
        tail in prop::collection::vec(any::<u8>(), 0..200),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        for (at, value) in changes {
            bytes[at] = value;
        }
        bytes.extend(tail);
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        check_canonical(&bytes);
        assert!(verdict(&KEYS, &bytes).is_err());
    }

    /// However a receipt is cut, whole or damaged, the verdict is that on one piece.
    #[test]
    fn cuts_change_nothing(
        mut cuts in prop::collection::vec(0..at::END, 0..20),
        near in prop::collection::vec((0..6_usize, 0..5_usize), 0..4),
        change in prop::option::of((0..at::END, 1..=u8::MAX)),
        end in prop::option::of(0..at::END + 9),
    ) {
        static SIGNED: LazyLock<Signed> = LazyLock::new(example);
        let mut bytes = encode(&SIGNED.receipt(2, 21));
        if let Some((at, mask)) = change {
            bytes[at] ^= mask;
        }
        if let Some(end) = end {
            bytes.resize(end, 0);
        }
        // Where parts meet.
        let seams = [at::BATCH, at::WINDOW, at::ML_DSA, at::FN_DSA, at::SLH_DSA, at::END];
        cuts.extend(near.iter().map(|&(seam, beside)| seams[seam] + beside - 2));
        cuts.iter_mut().for_each(|cut| *cut = (*cut).min(bytes.len()));
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| &bytes[ends[0]..ends[1]]);
        assert_eq!(stream(&KEYS, pieces), stream(&KEYS, [&bytes[..]]));
        verdict(&KEYS, &bytes).ok();
    }
}
