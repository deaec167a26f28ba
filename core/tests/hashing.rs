//! Hashing with every vector unit, against other implementations and the standards' examples.

mod common;

use common::every;
use k12::CustomRefKt128;
use k12::digest::{ExtendableOutput, Update, XofReader};
use proptest::prelude::*;
use symbolon_core::attest::*;
use symbolon_core::kernel::Kernels;

const DOMAIN: Domain = Domain::new("symbolon/test/v1");

/// RFC 9861's test pattern.
fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|i| (i % 251) as u8).collect()
}

fn oracle(domain: Domain, message: &[u8]) -> Digest {
    let mut hash = CustomRefKt128::new_customized(domain.as_bytes());
    hash.update(message);
    let mut out = Digest::default();
    hash.finalize_xof().read(&mut out);
    out
}

fn hex(digest: Digest) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn bulk_is_kt128() {
    // RFC 9861, section 5: those that have a customization string of ASCII.
    let examples: [(&[u8], usize, &str); 2] = [
        (b"", 1, "fab658db63e94a246188bf7af69a133045f46ee984c56e3c3328caaf1aa1a583"),
        (b"\xff", 41, "d848c5068ced736f4462159b9867fd4c20b808acc3d5bc48e0b06ba0a3762ec4"),
    ];
    for kernels in every() {
        for (message, length, expected) in examples {
            let name = String::from_utf8(pattern(length)).unwrap();
            let digest = bulk(kernels, Domain::new(name.leak()), &[message]);
            assert_eq!(hex(digest), expected, "{}", kernels.isa());
        }
    }
}

#[test]
fn bulk_of_every_length_about_a_boundary() {
    // What is hashed has the domain's name and two bytes of its length at its end.
    let tail = DOMAIN.as_bytes().len() + 2;
    let near = |at: usize| (at.saturating_sub(tail + 2)..=at + 2).collect::<Vec<_>>();
    let chunks = [1, 2, 7, 8, 9, 15, 16, 17].map(|chunks| 8192 * chunks);
    let blocks = [0, 168, 336, 8192 + 168, 8192 + 8064, 3 * 8192 + 4000];
    let message = pattern(18 * 8192);
    for length in chunks.into_iter().chain(blocks).flat_map(near) {
        let message = &message[..length];
        let expected = oracle(DOMAIN, message);
        for kernels in every() {
            assert_eq!(bulk(kernels, DOMAIN, &[message]), expected, "{length}, {}", kernels.isa());
        }
    }
}

fn leaf(number: u8) -> Leaf {
    Leaf {
        request: [number; 16],
        nonce: [number ^ 0xff; 16],
        identity: [number.wrapping_mul(7); 32],
        accept: number & 1 == 1,
        proof: number.is_multiple_of(3).then_some([number; 32]),
        template: [number.wrapping_mul(3); 32],
    }
}

fn hashes(kernels: &Kernels, leaves: &[Leaf]) -> Vec<Digest> {
    let mut out = vec![[0; 32]; leaves.len()];
    LeafHasher::new(kernels).hash(kernels, leaves, &mut out);
    out
}

#[test]
fn leaves_at_once_are_leaves_one_by_one() {
    let leaves: Vec<_> = (0..MAX_LEAVES as u8).map(leaf).collect();
    let expected: Vec<_> = leaves.iter().map(Leaf::hash).collect();
    for kernels in every() {
        for count in 0..=leaves.len() {
            let hashes = hashes(kernels, &leaves[..count]);
            assert_eq!(hashes, expected[..count], "{count}, {}", kernels.isa());
        }
        // No more than there is room for.
        let mut few = [[9; 32]; 3];
        LeafHasher::new(kernels).hash(kernels, &leaves, &mut few);
        assert_eq!(few[..], expected[..3]);
    }
}

#[test]
fn trees_are_the_same_with_every_vector_unit() {
    let leaves: Vec<_> = (0..200).map(|number| leaf(number).hash()).collect();
    let mut tree: Box<WindowTree> = bytemuck::zeroed_box();
    for count in 1..=leaves.len() {
        let roots: Vec<_> =
            every().map(|kernels| tree.build(kernels, &leaves[..count]).unwrap()).collect();
        assert!(roots.iter().all(|root| *root == roots[0]), "{count}");
        // The paths are hashed one by one, by other code.
        let mut path = WindowPath::EMPTY;
        tree.path(count / 2, &mut path).unwrap();
        assert_eq!(path.root(&leaves[count / 2], count / 2, count), Ok(roots[0]));
    }
}

proptest! {
    #[test]
    fn pieces_make_no_difference(
        length in 0_usize..40_000,
        cuts in proptest::collection::vec(0_usize..40_000, 0..6),
    ) {
        let message = pattern(length);
        let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(length)).collect();
        cuts.extend([0, length]);
        cuts.sort_unstable();
        let pieces: Vec<_> = cuts.windows(2).map(|pair| &message[pair[0]..pair[1]]).collect();
        let expected = oracle(DOMAIN, &message);
        for kernels in every() {
            prop_assert_eq!(bulk(kernels, DOMAIN, &pieces), expected);
        }
    }
}
