//! The search of this process's memory finds what is there, and arenas leave nothing behind.
#![cfg(target_os = "linux")]

mod common;

use std::slice;
use std::time::Instant;

use common::plant;
use symbolon_platform::locked::{Arena, OnFailure, Options};
use symbolon_platform::{entropy, scan};

const DEGRADE: Options = Options { on_failure: OnFailure::Degrade, huge: false };
const MASK: u8 = 0x5a;

#[test]
fn a_thousand_arenas_leave_no_copy() {
    let masked: [u8; 32] = entropy::array().unwrap();
    for _ in 0..1000 {
        let mut arena = Arena::new(1, DEGRADE).unwrap();
        plant(&mut arena.bytes_mut()[8..], &masked, MASK);
    }
    assert_eq!(scan::count(&masked, MASK, &[]).unwrap(), 0);

    let mut arena = Arena::new(1, DEGRADE).unwrap();
    plant(arena.bytes_mut(), &masked, MASK);
    assert_eq!(scan::count(&masked, MASK, &[]).unwrap(), 1);
    let start = arena.as_ptr().as_ptr().addr();
    let own = start..start + arena.len();
    assert_eq!(scan::count(&masked, MASK, slice::from_ref(&own)).unwrap(), 0);

    let leaked = arena.bytes()[..32].to_vec();
    assert_eq!(scan::count(&masked, MASK, slice::from_ref(&own)).unwrap(), 1);
    assert_eq!(scan::count(&masked, MASK, &[]).unwrap(), 2);
    drop(arena);
    assert_eq!(scan::count(&masked, MASK, &[]).unwrap(), 1);
    std::hint::black_box(&leaked);
}

/// At every border that the search has: of its blocks of 1 MiB, of a mapping, of pages.
#[test]
fn nothing_hides_at_a_border() {
    let masked: [u8; 32] = entropy::array().unwrap();
    let mut arena = Arena::new(3 << 20, DEGRADE).unwrap();
    let len = arena.len();
    for at in [0, (1 << 20) - 32, (1 << 20) - 31, (1 << 20) - 1, 1 << 20, 4095, len - 32] {
        plant(&mut arena.bytes_mut()[at..], &masked, MASK);
        assert_eq!(scan::count(&masked, MASK, &[]).unwrap(), 1, "at {at}");
        arena.bytes_mut()[at..at + 32].fill(0);
    }
    // Two that overlap, as bytes repeat.
    arena.bytes_mut()[500..533].fill(masked[0] ^ MASK);
    let repeated = [masked[0]; 32];
    let start = arena.as_ptr().as_ptr().addr();
    let outside = [0..start, start + len..usize::MAX];
    assert_eq!(scan::count(&repeated, MASK, &outside).unwrap(), 2);
}

#[test]
fn it_is_fast_enough_to_be_used() {
    let masked: [u8; 32] = entropy::array().unwrap();
    let filler = vec![0x77_u8; 64 << 20];
    let start = Instant::now();
    assert_eq!(scan::count(&masked, MASK, &[]).unwrap(), 0);
    println!("{:?} for more than {} bytes", start.elapsed(), filler.len());
    std::hint::black_box(&filler);
}
