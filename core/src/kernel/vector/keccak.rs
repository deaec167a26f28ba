//! Keccak-p\[1600\] (FIPS 202, section 3.3), on as many states at once as a register has 64-bit lanes.

use super::super::lanes::Words;
use crate::kernel::contract::{BLOCK, Block, Rounds, SPONGES, Sponges};

/// What a round adds to the first word (FIPS 202, algorithms 5 and 6).
const ROUND_CONSTANTS: [u64; 24] = [
    0x0000_0000_0000_0001,
    0x0000_0000_0000_8082,
    0x8000_0000_0000_808a,
    0x8000_0000_8000_8000,
    0x0000_0000_0000_808b,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8009,
    0x0000_0000_0000_008a,
    0x0000_0000_0000_0088,
    0x0000_0000_8000_8009,
    0x0000_0000_8000_000a,
    0x0000_0000_8000_808b,
    0x8000_0000_0000_008b,
    0x8000_0000_0000_8089,
    0x8000_0000_0000_8003,
    0x8000_0000_0000_8002,
    0x8000_0000_0000_0080,
    0x0000_0000_0000_800a,
    0x8000_0000_8000_000a,
    0x8000_0000_8000_8081,
    0x8000_0000_0000_8080,
    0x0000_0000_8000_0001,
    0x8000_0000_8000_8008,
];

/// Theta's second half, rho and pi: `b[to] = (a[from] ^ d[x]) <<< K`.
macro_rules! rho_pi {
    ($a:ident $d:ident $b:ident; $($from:literal $x:literal $to:literal $k:literal $rest:literal),*) => {
        $($b[$to] = $a[$from].xor($d[$x]).rotl::<$k, $rest>();)*
    };
}

/// A round: five columns' parities, then every word.
#[inline(always)]
fn round<V: Words>(a: [V; 25], constant: u64) -> [V; 25] {
    let mut parity = [a[0]; 5];
    for x in 0..5 {
        parity[x] = a[x].xor3(a[x + 5], a[x + 10]).xor3(a[x + 15], a[x + 20]);
    }
    let mut d = parity;
    for x in 0..5 {
        d[x] = parity[(x + 4) % 5].xor(parity[(x + 1) % 5].rotl::<1, 63>());
    }
    let mut b = a;
    b[0] = a[0].xor(d[0]);
    rho_pi!(a d b;
        1 1 10 1 63, 2 2 20 62 2, 3 3 5 28 36, 4 4 15 27 37,
        5 0 16 36 28, 6 1 1 44 20, 7 2 11 6 58, 8 3 21 55 9, 9 4 6 20 44,
        10 0 7 3 61, 11 1 17 10 54, 12 2 2 43 21, 13 3 12 25 39, 14 4 22 39 25,
        15 0 23 41 23, 16 1 8 45 19, 17 2 18 15 49, 18 3 3 21 43, 19 4 13 8 56,
        20 0 14 18 46, 21 1 24 2 62, 22 2 9 61 3, 23 3 19 56 8, 24 4 4 14 50
    );
    let mut out = b;
    for y in 0..5 {
        for x in 0..5 {
            out[5 * y + x] = b[5 * y + x].chi(b[5 * y + (x + 1) % 5], b[5 * y + (x + 2) % 5]);
        }
    }
    out[0] = out[0].xor(V::splat(constant));
    out
}

#[inline(always)]
pub(crate) fn absorb<V: Words>(states: &mut Sponges, blocks: &[&Block; SPONGES], count: usize) {
    const LENGTH: usize = BLOCK / 8;
    let words = states.0.as_mut_ptr().cast::<u64>();
    for at in (0..count.min(SPONGES)).step_by(V::COUNT) {
        let mut done = 0;
        while done < LENGTH {
            // The last square overlaps the one before it.
            let from = done.min(LENGTH - V::COUNT);
            let mut rows = [V::splat(0); SPONGES];
            for i in 0..V::COUNT {
                // SAFETY: COUNT divides 8 and at < 8, so at + i < 8; from + COUNT <= LENGTH.
                rows[i] =
                    unsafe { V::load_bytes(blocks[at + i].as_ptr().cast::<[u8; 8]>().add(from)) };
            }
            let rows = V::transpose(rows);
            for i in done - from..V::COUNT {
                // SAFETY: from + i < LENGTH < 25, the number of rows, each of 8 words.
                unsafe {
                    let word = words.add(SPONGES * (from + i) + at);
                    V::load(word).xor(rows[i]).store(word);
                }
            }
            done = from + V::COUNT;
        }
    }
}

#[inline(always)]
pub(crate) fn keccak<V: Words>(states: &mut Sponges, count: usize, rounds: Rounds) {
    if 2 * count <= V::COUNT {
        return V::few(states, count, rounds);
    }
    let words = states.0.as_mut_ptr().cast::<u64>();
    for at in (0..count.min(SPONGES)).step_by(V::COUNT) {
        let mut a = [V::splat(0); 25];
        for i in 0..25 {
            // SAFETY: COUNT divides 8 and at < 8, so that at + COUNT <= 8, the length of each of 25 rows.
            a[i] = unsafe { V::load(words.add(SPONGES * i + at)) };
        }
        let first = match rounds {
            Rounds::Half => 12,
            Rounds::All => 0,
        };
        for constant in &ROUND_CONSTANTS[first..] {
            a = round(a, *constant);
        }
        for i in 0..25 {
            // SAFETY: as above.
            unsafe { a[i].store(words.add(SPONGES * i + at)) };
        }
    }
}
