//! Receipts against independent oracles: the RFC's recursion for the tree, published vectors for
//! ML-DSA-65, encodings written out by hand; and every way of breaking a receipt.

use chacha20::ChaCha20Rng;
use core::convert::Infallible;
use proptest::prelude::*;
use rand_core::{SeedableRng, TryCryptoRng, TryRng};
use sha2::Sha256;
use sha3::{Digest as _, Sha3_256};
use std::sync::LazyLock;
use symbolon_core::attest::merkle::{path, path_len, root};
use symbolon_core::attest::*;

/// A key pair on the heap: test threads have small stacks.
struct Pair {
    signing: Box<Option<SigningKey>>,
    verifying: Box<VerifyingKey>,
}

impl Pair {
    fn new(seed: u8) -> Self {
        let mut signing = Box::new(None);
        let mut public = [0; PUBLIC_KEY_SIZE];
        SigningKey::init(&mut signing, &[seed; SEED_SIZE]).public_key(&mut public);
        Self { signing, verifying: Box::new(VerifyingKey::decode(&public)) }
    }

    fn signing(&self) -> &SigningKey {
        self.signing.as_ref().as_ref().unwrap()
    }
}

static PAIR: LazyLock<Pair> = LazyLock::new(|| Pair::new(42));

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

/// Field values that differ from field to field, from leaf to leaf and from batch to batch.
fn leaf(batch: u8, index: u8) -> Leaf {
    let fill = |field: u8| sha3(&[&[batch, index, field]]);
    Leaf {
        request: *fill(0).first_chunk().unwrap(),
        nonce: *fill(1).first_chunk().unwrap(),
        identity: fill(2),
        accept: index.is_multiple_of(2),
        probe: fill(3),
        template: fill(4),
        blind: fill(5),
    }
}

struct Batch {
    leaves: Vec<Leaf>,
    tree: Tree,
    statement: Statement,
    signature: Box<Signature>,
}

impl Batch {
    fn new(id: u8, count: u8) -> Self {
        let leaves: Vec<_> = (0..count).map(|index| leaf(id, index)).collect();
        let hashes: Vec<_> = leaves.iter().map(Leaf::hash).collect();
        let mut tree = Tree::new();
        let statement = Statement {
            deployment: [0xd0; 16],
            key_epoch: 0x0102_0304,
            params: 5,
            mode: 6,
            dims: 128,
            threshold: -7,
            batch: [id; 16],
            time_ms: 0x0102_0304_0506_0708,
            count,
            result: [0xe0 ^ id; 32],
            root: tree.build(&hashes).unwrap(),
        };
        let mut signature = Box::new([0; SIGNATURE_SIZE]);
        statement.sign(PAIR.signing(), &mut rng(id), &mut signature).unwrap();
        Self { leaves, tree, statement, signature }
    }

    fn receipt(&self, index: u8) -> Receipt<'_> {
        let mut path = Path::EMPTY;
        self.tree.path(usize::from(index), &mut path).unwrap();
        Receipt {
            statement: self.statement,
            leaf: self.leaves[usize::from(index)],
            index,
            path,
            signature: &self.signature,
        }
    }
}

fn encode(receipt: &Receipt) -> Vec<u8> {
    let mut out = vec![0; Receipt::MAX_SIZE];
    let size = receipt.encode(&mut out).unwrap();
    out.truncate(size);
    out
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
    let expected: Digest =
        Sha256::digest([tag, &5_u64.to_le_bytes(), b"abcde"].concat().as_slice()).into();
    assert_eq!(bulk(domain, &[b"abcde"]), expected);
}

#[test]
fn digests_separate_what_differs() {
    let (a, b) = (Domain::new("a"), Domain::new("b"));
    assert_ne!(hash(a, &[b"x"]), hash(b, &[b"x"]));
    assert_ne!(hash(a, &[b"ab", b"c"]), hash(a, &[b"a", b"bc"]));
    assert_ne!(hash(a, &[b"ab"]), hash(a, &[b"ab", b""]));
    assert_ne!(commit(a, &[0; 32], b"x"), commit(b, &[0; 32], b"x"));
    assert_ne!(commit(a, &[0; 32], b"x"), commit(a, &[1; 32], b"x"));
    assert_ne!(bulk(a, &[b"x"]), bulk(b, &[b"x"]));
    assert_ne!(bulk(a, &[b"x"]), bulk(a, &[b"x\0"]));
    assert_eq!(bulk(a, &[b"ab", b"", b"c"]), bulk(a, &[b"a", b"bc"]));
    let domains =
        [Domain::IDENTITY, Domain::PROBE, Domain::TEMPLATE, Domain::BLIND, Domain::RESULT];
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

// Leaf and statement

#[test]
fn leaf_encoding_and_hash() {
    let leaf = Leaf {
        request: [1; 16],
        nonce: [2; 16],
        identity: [3; 32],
        accept: true,
        probe: [4; 32],
        template: [5; 32],
        blind: [6; 32],
    };
    let expected = [&[1; 16][..], &[2; 16], &[3; 32], &[1], &[4; 32], &[5; 32], &[6; 32]].concat();
    assert_eq!(leaf.encode(), *expected);
    assert_eq!(Leaf::SIZE, 161);
    assert_eq!(leaf.hash(), sha3(&[b"\x10symbolon/leaf/v1\x00", &expected]));
    assert_ne!(leaf.hash(), Leaf { accept: false, ..leaf }.hash());
    for accept in 0..=u8::MAX {
        let mut bytes = leaf.encode();
        bytes[64] = accept;
        let expected = match accept {
            0 | 1 => Ok(Leaf { accept: accept == 1, ..leaf }),
            _ => Err(Error::NonCanonical),
        };
        assert_eq!(Leaf::decode(&bytes), expected);
    }
}

#[test]
fn statement_encoding() {
    let statement = Batch::new(9, 3).statement;
    let expected = [
        &[1][..],
        &[0xd0; 16],
        &[4, 3, 2, 1],
        &[5, 6],
        &[128, 0],
        &[0xf9, 0xff, 0xff, 0xff],
        &[9; 16],
        &[8, 7, 6, 5, 4, 3, 2, 1],
        &[3],
        &[0xe9; 32],
        &statement.root,
    ]
    .concat();
    assert_eq!(statement.encode(), *expected);
    assert_eq!(Statement::SIZE, 118);
    assert_eq!(Statement::decode(&statement.encode()), Ok(statement));

    let mut bytes = statement.encode();
    for version in (0..=u8::MAX).filter(|&version| version != Statement::VERSION) {
        bytes[0] = version;
        assert_eq!(Statement::decode(&bytes), Err(Error::UnknownVersion));
    }
    for count in 0..=u8::MAX {
        let statement = Statement { count, ..statement };
        let possible = (1..=MAX_LEAVES).contains(&usize::from(count));
        let expected = if possible { Ok(statement) } else { Err(Error::LeafCount) };
        assert_eq!(Statement::decode(&statement.encode()), expected);
    }
    let mut signature = [0; SIGNATURE_SIZE];
    let result =
        Statement { count: 0, ..statement }.sign(PAIR.signing(), &mut rng(1), &mut signature);
    assert_eq!(result, Err(Error::LeafCount));
    assert_eq!(signature, [0; SIGNATURE_SIZE]);
}

// Merkle tree, against RFC 9162 to the letter

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

#[test]
fn tree_agrees_with_the_rfc() {
    let mut tree = Tree::new();
    // Downwards, so that each tree is built over the remains of a larger one.
    for count in (1..=MAX_LEAVES).rev() {
        let leaves = hashes(count);
        let expected = oracle_root(&leaves);
        assert_eq!(root(&leaves), Ok(expected));
        assert_eq!(tree.build(&leaves), Ok(expected));
        for (index, leaf) in leaves.iter().enumerate() {
            let nodes = oracle_path(index, &leaves);
            let (mut kept, mut once) = (Path::new(&[[9; 32]; MAX_PATH]).unwrap(), Path::EMPTY);
            tree.path(index, &mut kept).unwrap();
            path(&leaves, index, &mut once).unwrap();
            assert_eq!(kept, once);
            assert_eq!(kept, Path::new(&nodes).unwrap());
            assert_eq!(kept.nodes(), nodes);
            assert_eq!(path_len(index, count), Ok(nodes.len()));
            assert_eq!(kept.root(leaf, index, count), Ok(expected));
        }
    }
}

#[test]
fn path_verification_agrees_with_the_rfc_on_every_claim() {
    let nodes = hashes(MAX_PATH);
    let leaf = [1; 32];
    for count in 0..=MAX_LEAVES + 1 {
        for index in 0..=count + 1 {
            for len in 0..=MAX_PATH {
                let path = Path::new(&nodes[..len]).unwrap();
                let expected = if count == 0 || count > MAX_LEAVES {
                    Err(Error::LeafCount)
                } else if index >= count {
                    Err(Error::LeafIndex)
                } else {
                    oracle_walk(&leaf, index, count, path.nodes()).ok_or(Error::PathLength)
                };
                assert_eq!(path.root(&leaf, index, count), expected, "{index} of {count}, {len}");
            }
        }
    }
    assert_eq!(path_len(usize::MAX, usize::MAX), Err(Error::LeafCount));
    assert_eq!(path_len(usize::MAX, MAX_LEAVES), Err(Error::LeafIndex));
}

#[test]
fn path_proves_one_leaf_at_one_place() {
    for count in 1..=MAX_LEAVES {
        let leaves = hashes(count);
        let expected = root(&leaves).unwrap();
        for index in 0..count {
            let mut path = Path::EMPTY;
            merkle::path(&leaves, index, &mut path).unwrap();
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
    let mut tree = Tree::new();
    let mut path = Path::EMPTY;
    assert_eq!(tree.path(0, &mut path), Err(Error::LeafCount));
    assert_eq!(tree.build(&[]), Err(Error::LeafCount));
    assert_eq!(tree.build(&too_many), Err(Error::LeafCount));
    assert_eq!(root(&[]), Err(Error::LeafCount));
    assert_eq!(merkle::path(&too_many, 0, &mut path), Err(Error::LeafCount));
    tree.build(&too_many[..3]).unwrap();
    assert_eq!(tree.path(3, &mut path), Err(Error::LeafIndex));
    assert_eq!(tree.build(&too_many), Err(Error::LeafCount));
    tree.path(2, &mut path).unwrap();
    assert_eq!(path.nodes().len(), 1);
    assert_eq!(Path::new(&too_many[..MAX_PATH + 1]), Err(Error::PathLength));
    // No leaf is doubled: three leaves and the same with the last one twice differ.
    let doubled = [too_many[0], too_many[1], too_many[2], too_many[2]];
    assert_ne!(root(&too_many[..3]), root(&doubled));
}

// ML-DSA-65

/// Key generation seeds of the NIST known-answer file for ML-DSA-65 and the SHA3-256 of the public
/// keys, as published with libcrux.
#[test]
fn key_generation_known_answers() {
    let vectors = [
        (
            "7c9935a0b07694aa0c6d10e4db6b1add2fd81a25ccb148032dcd739936737f2d",
            "67099a6aed1ca9dd645a73261cead798ba29e4a15ede3a469ad4cb620b0296be",
        ),
        (
            "4b622de1350119c45a9f2e2ef3dc5df50a759d138cdfbd64c81cc7cc2f513345",
            "114dbfea406d98227a7e962050ed302be8b3be65e246416cc15465e07bcc39cf",
        ),
        (
            "1d836e889e46259bcd1ccd2b369583c5b47cfbb919ec2b72c280247cb15a5569",
            "dcad3c37aa5fa8c3b7d2ff78d98c7bcdbd9c7a44091f28a5e85bda9831279856",
        ),
    ];
    let mut slot = Box::new(None);
    for (seed, expected) in vectors {
        let mut public = [0; PUBLIC_KEY_SIZE];
        SigningKey::init(&mut slot, &unhex(seed).try_into().unwrap()).public_key(&mut public);
        assert_eq!(sha3(&[&public])[..], *unhex(expected));
        assert_eq!(VerifyingKey::decode(&public).encode(), public);
    }
}

/// Wycheproof, `mldsa_65_sign_seed_test.json`, case 4: deterministic, with a context string. The
/// first 48 bytes of the signature, which hash the key, the message, the context and the
/// commitment, and its last 16, the end of the hint.
#[test]
fn signature_known_answer() {
    let key = PAIR.signing();
    let context = Domain::new("A".repeat(255).leak());
    let mut signature = [0; SIGNATURE_SIZE];
    key.sign_deterministic(context, b"Hello world", &mut signature).unwrap();
    assert_eq!(
        signature[..48],
        *unhex(
            "88b645448a1c81f55c81631d057b1ca1fa8bb42af19f1c2dd2bf12594f23b86e\
             17e383aefec687503d0077658497fcc5"
        )
    );
    assert_eq!(signature[SIGNATURE_SIZE - 16..], *unhex("0000000000000000000004090b131a1d"));
    PAIR.verifying.verify(context, b"Hello world", &signature).unwrap();
    // FIPS 204, Algorithm 2: the deterministic variant is the hedged one with 32 zero bytes.
    let mut hedged = [0; SIGNATURE_SIZE];
    key.sign(context, b"Hello world", &mut Fixed([0; 32]), &mut hedged).unwrap();
    assert_eq!(hedged, signature);
    key.sign(context, b"Hello world", &mut Fixed([1; 32]), &mut hedged).unwrap();
    assert_ne!(hedged, signature);
    PAIR.verifying.verify(context, b"Hello world", &hedged).unwrap();
}

/// A generator that can be asked for 32 bytes once.
struct Fixed([u8; 32]);

impl TryRng for Fixed {
    type Error = Infallible;
    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        unreachable!("it is asked for 32 bytes")
    }
    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        unreachable!("it is asked for 32 bytes")
    }
    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0);
        Ok(())
    }
}

impl TryCryptoRng for Fixed {}

#[test]
fn signatures_bind_key_context_and_message() {
    let (a, b) = (Domain::new("symbolon/a"), Domain::new("symbolon/b"));
    let mut signature = [0; SIGNATURE_SIZE];
    PAIR.signing().sign(a, b"message", &mut rng(1), &mut signature).unwrap();
    let check = |key: &VerifyingKey, context, message: &[u8], signature: &Signature| {
        key.verify(context, message, signature)
    };
    assert_eq!(check(&PAIR.verifying, a, b"message", &signature), Ok(()));
    assert_eq!(check(&PAIR.verifying, b, b"message", &signature), Err(Error::WrongSignature));
    assert_eq!(check(&PAIR.verifying, a, b"massage", &signature), Err(Error::WrongSignature));
    let other = Pair::new(43);
    assert_eq!(check(&other.verifying, a, b"message", &signature), Err(Error::WrongSignature));
    for malformed in [[0; SIGNATURE_SIZE], [0xff; SIGNATURE_SIZE]] {
        assert_eq!(check(&PAIR.verifying, a, b"message", &malformed), Err(Error::WrongSignature));
    }
}

#[test]
fn keys_do_not_print_themselves() {
    assert_eq!(format!("{:?}", PAIR.signing()), "SigningKey { .. }");
    assert_eq!(format!("{:?}", PAIR.verifying), "VerifyingKey { .. }");
}

/// What the documentation says about the stack, with a little room: a thread that needs more
/// kills the test run.
#[test]
#[cfg(not(miri))]
fn stack_use_is_bounded() {
    fn on_stack<T: Send>(kib: usize, run: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().stack_size(kib * 1024);
            thread.spawn_scoped(scope, run).unwrap().join().unwrap()
        })
    }
    let context = Domain::new("symbolon/stack");
    // Boxed out here: `Box::new` may build its value on the stack first.
    let mut slot = Box::new(None);
    let mut public = Box::new([0; PUBLIC_KEY_SIZE]);
    let mut signature = Box::new([0; SIGNATURE_SIZE]);
    let mut verifying = Box::new(None);
    on_stack(320, || {
        SigningKey::init(&mut slot, &[1; SEED_SIZE]);
    });
    let key = || slot.as_ref().as_ref().unwrap();
    on_stack(208, || key().public_key(&mut public));
    on_stack(144, || key().sign(context, b"message", &mut rng(1), &mut signature).unwrap());
    on_stack(192, || *verifying = Some(VerifyingKey::decode(&public)));
    on_stack(112, || verifying.as_ref().as_ref().unwrap().verify(context, b"message", &signature))
        .unwrap();
}

// Receipts

#[test]
fn receipts_of_every_batch_size_verify() {
    for count in [1, 2, 3, 5, 6, 7, 17, 31, 32] {
        let batch = Batch::new(count, count);
        let mut file = Vec::new();
        for index in 0..count {
            let receipt = batch.receipt(index);
            assert_eq!(receipt.verify(&PAIR.verifying), Ok(&batch.leaves[usize::from(index)]));
            file.extend(encode(&receipt));
        }
        let mut rest = &file[..];
        for index in 0..count {
            let (receipt, used) = Receipt::decode(rest).unwrap();
            assert_eq!(receipt, batch.receipt(index));
            assert!((Receipt::MIN_SIZE..=Receipt::MAX_SIZE).contains(&used));
            rest = &rest[used..];
        }
        assert_eq!(rest, &[]);
    }
}

#[test]
fn receipt_encoding() {
    let batch = Batch::new(1, 32);
    let receipt = batch.receipt(13);
    let expected = [
        &b"SYRC\x01\x01"[..],
        &receipt.statement.encode(),
        &[13],
        &receipt.leaf.encode(),
        receipt.path.nodes().as_flattened(),
        receipt.signature,
    ]
    .concat();
    assert_eq!(encode(&receipt), expected);
    assert_eq!((Receipt::MIN_SIZE, Receipt::MAX_SIZE), (3595, 3755));
    assert_eq!(expected.len(), Receipt::MAX_SIZE);
    assert_eq!(encode(&Batch::new(1, 1).receipt(0)).len(), Receipt::MIN_SIZE);
}

/// Pins the format: a change of any byte of it, of a domain or of a hash shows here. The same bytes
/// were put together in Python (hashlib), where OpenSSL 4.0 accepts the signature in them.
#[test]
fn receipt_known_answer() {
    let batch = Batch::new(7, 5);
    let mut signature = [0; SIGNATURE_SIZE];
    let statement = batch.statement.encode();
    PAIR.signing().sign_deterministic(Statement::CONTEXT, &statement, &mut signature).unwrap();
    let receipt = Receipt { signature: &signature, ..batch.receipt(2) };
    receipt.verify(&PAIR.verifying).unwrap();
    assert_eq!(
        sha3(&[&encode(&receipt)])[..],
        *unhex("d6b0f32e49dad90dc20a42bbd34fd699889b4f366fd2e889651522f4ec7d2971")
    );
}

#[test]
fn any_flipped_bit_breaks_a_receipt() {
    let batch = Batch::new(2, 32);
    let mut bytes = encode(&batch.receipt(21));
    assert!(Receipt::decode_exact(&bytes).unwrap().verify(&PAIR.verifying).is_ok());
    for at in 0..bytes.len() {
        for bit in 0..8 {
            bytes[at] ^= 1 << bit;
            let result = Receipt::decode_exact(&bytes)
                .and_then(|receipt| receipt.verify(&PAIR.verifying).copied());
            let error = result.expect_err("a changed receipt verifies");
            let expected: &[Error] = match at {
                0..4 => &[Error::BadMagic],
                4 | 6 => &[Error::UnknownVersion],
                5 => &[Error::UnknownAlgorithm],
                // The count decides how long the path is, and so where everything after it is.
                59 => &[
                    Error::LeafCount,
                    Error::LeafIndex,
                    Error::WrongPath,
                    Error::WrongSignature,
                    Error::TrailingBytes,
                ],
                92..124 => &[Error::WrongPath],
                7..124 => &[Error::WrongSignature],
                124 => &[Error::LeafIndex, Error::WrongPath],
                189 => &[Error::NonCanonical, Error::WrongPath],
                125..446 => &[Error::WrongPath],
                _ => &[Error::WrongSignature],
            };
            assert!(expected.contains(&error), "byte {at}, bit {bit}: {error:?}");
            bytes[at] ^= 1 << bit;
        }
    }
}

#[test]
fn truncation_and_trailing_bytes_are_errors() {
    for (count, index) in [(1, 0), (5, 4), (32, 31)] {
        let batch = Batch::new(3, count);
        let mut bytes = encode(&batch.receipt(index));
        for len in 0..bytes.len() {
            assert_eq!(Receipt::decode(&bytes[..len]), Err(Error::Truncated));
            assert_eq!(Receipt::decode_exact(&bytes[..len]), Err(Error::Truncated));
            let mut out = vec![0; len];
            assert_eq!(batch.receipt(index).encode(&mut out), Err(Error::BufferTooSmall));
        }
        let size = bytes.len();
        bytes.push(0);
        assert_eq!(Receipt::decode(&bytes).map(|(_, used)| used), Ok(size));
        assert_eq!(Receipt::decode_exact(&bytes), Err(Error::TrailingBytes));
        assert_eq!(Receipt::decode_exact(&bytes.repeat(2)), Err(Error::TrailingBytes));
    }
}

#[test]
fn parts_of_other_receipts_do_not_fit() {
    let (batch, other) = (Batch::new(4, 21), Batch::new(5, 21));
    let verify = |receipt: Receipt| receipt.verify(&PAIR.verifying).copied();
    for index in 0..21 {
        let (receipt, foreign) = (batch.receipt(index), other.receipt(index));
        assert_eq!(verify(receipt), Ok(receipt.leaf));
        // Of another batch, at the same place.
        assert_eq!(verify(Receipt { leaf: foreign.leaf, ..receipt }), Err(Error::WrongPath));
        assert_eq!(
            verify(Receipt { statement: foreign.statement, ..receipt }),
            Err(Error::WrongPath)
        );
        assert_eq!(
            verify(Receipt {
                statement: foreign.statement,
                signature: foreign.signature,
                ..receipt
            }),
            Err(Error::WrongPath)
        );
        assert_eq!(
            verify(Receipt { signature: foreign.signature, ..receipt }),
            Err(Error::WrongSignature)
        );
        // The statement of one batch with the leaves of another and its root: not signed.
        let statement = Statement { root: foreign.statement.root, ..batch.statement };
        assert_eq!(
            verify(Receipt { statement, signature: receipt.signature, ..foreign }),
            Err(Error::WrongSignature)
        );
        // The other decision.
        let leaf = Leaf { accept: !receipt.leaf.accept, ..receipt.leaf };
        assert_eq!(verify(Receipt { leaf, ..receipt }), Err(Error::WrongPath));
        // Of the same batch, at another place. Only a tree of one leaf has an empty path.
        for neighbour in (0..21).filter(|&neighbour| neighbour != index) {
            let neighbour = batch.receipt(neighbour);
            let same = receipt.path.nodes().len() == neighbour.path.nodes().len();
            let wrong = if same { Error::WrongPath } else { Error::PathLength };
            assert_eq!(verify(Receipt { path: neighbour.path, ..receipt }), Err(wrong));
            assert_eq!(verify(Receipt { index: neighbour.index, ..receipt }), Err(wrong));
            assert_eq!(verify(Receipt { leaf: neighbour.leaf, ..receipt }), Err(Error::WrongPath));
        }
    }
    let key = Pair::new(44);
    assert_eq!(batch.receipt(0).verify(&key.verifying), Err(Error::WrongSignature));
}

#[test]
fn receipts_that_do_not_fit_together_are_not_encoded() {
    let batch = Batch::new(6, 5);
    let receipt = batch.receipt(2);
    let mut out = [0; Receipt::MAX_SIZE];
    let none = Statement { count: 0, ..receipt.statement };
    for (broken, error) in [
        (Receipt { path: Path::EMPTY, ..receipt }, Error::PathLength),
        (Receipt { path: Path::new(&[[1; 32]; MAX_PATH]).unwrap(), ..receipt }, Error::PathLength),
        (Receipt { index: 4, ..receipt }, Error::PathLength),
        (Receipt { index: 5, ..receipt }, Error::LeafIndex),
        (Receipt { statement: none, ..receipt }, Error::LeafCount),
    ] {
        assert_eq!(broken.encode(&mut out), Err(error));
        assert_eq!(broken.verify(&PAIR.verifying), Err(error));
    }
    assert_eq!(out, [0; Receipt::MAX_SIZE]);
}

#[test]
fn errors_are_small_and_have_distinct_messages() {
    assert_eq!(size_of::<Error>(), 1);
    let all = [
        Error::BadMagic,
        Error::UnknownVersion,
        Error::UnknownAlgorithm,
        Error::Truncated,
        Error::TrailingBytes,
        Error::NonCanonical,
        Error::BufferTooSmall,
        Error::LeafCount,
        Error::LeafIndex,
        Error::PathLength,
        Error::WrongPath,
        Error::WrongSignature,
        Error::Signing,
    ];
    let messages: std::collections::HashSet<_> = all.iter().map(Error::to_string).collect();
    assert_eq!(messages.len(), all.len());
}

fn statements() -> impl Strategy<Value = Statement> {
    (any::<[u8; Statement::SIZE]>(), 1..=MAX_LEAVES as u8).prop_map(|(mut bytes, count)| {
        bytes[0] = Statement::VERSION;
        bytes[53] = count;
        Statement::decode(&bytes).unwrap()
    })
}

fn leaves() -> impl Strategy<Value = Leaf> {
    (any::<[u8; Leaf::SIZE]>(), any::<bool>()).prop_map(|(mut bytes, accept)| {
        bytes[64] = u8::from(accept);
        Leaf::decode(&bytes).unwrap()
    })
}

/// Bytes of a well-formed receipt, its signature and path being noise.
fn receipts() -> impl Strategy<Value = Vec<u8>> {
    let path = any::<[Digest; MAX_PATH]>();
    (statements(), leaves(), any::<u8>(), path, any::<u64>()).prop_map(
        |(statement, leaf, index, nodes, seed)| {
            let index = index % statement.count;
            let len = path_len(usize::from(index), usize::from(statement.count)).unwrap();
            let path = Path::new(&nodes[..len]).unwrap();
            let mut signature = [0; SIGNATURE_SIZE];
            ChaCha20Rng::seed_from_u64(seed).try_fill_bytes(&mut signature).unwrap();
            let receipt = Receipt { statement, leaf, index, path, signature: &signature };
            let bytes = encode(&receipt);
            // decode after encode is the identity
            assert_eq!(Receipt::decode(&bytes), Ok((receipt, bytes.len())));
            assert_eq!(Receipt::decode_exact(&bytes), Ok(receipt));
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
    fn random_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..Receipt::MAX_SIZE + 64),
    ) {
        check_canonical(&bytes);
        check_canonical(&[&b"SYRC\x01\x01\x01"[..], &bytes].concat());
        if let Some(bytes) = bytes.first_chunk()
            && let Ok(leaf) = Leaf::decode(bytes)
        {
            assert_eq!(leaf.encode(), *bytes);
        }
        if let Some(bytes) = bytes.first_chunk()
            && let Ok(statement) = Statement::decode(bytes)
        {
            assert_eq!(statement.encode(), *bytes);
        }
    }

    #[test]
    fn well_formed_receipts_round_trip(bytes in receipts()) {
        check_canonical(&bytes);
    }

    #[test]
    fn accepted_input_is_canonical(
        mut bytes in receipts(),
        changes in prop::collection::vec((0..512_usize, any::<u8>()), 0..4),
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
        if let Ok((receipt, _)) = Receipt::decode(&bytes) {
            assert!(receipt.verify(&PAIR.verifying).is_err());
        }
    }
}
