//! The algorithms, once for all vector units.
//!
//! Everything is inlined into the functions of a processor folder, which enable its instructions.
//! So: no closures, no calls, no loops but counted ones; and no iterators over arrays of registers,
//! which would copy them through memory.
#![allow(clippy::needless_range_loop)]

/// The body for I = 0 .. 15, each written out: a loop that the compiler leaves a loop would keep its
/// registers in memory.
macro_rules! sixteen {
    ($i:ident => $body:expr) => {
        sixteen!($i => $body; 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15)
    };
    ($i:ident => $body:expr; $($n:literal)*) => {
        $({
            const $i: usize = $n;
            $body
        })*
    };
}

/// `distance_8!(m args)` is `m!(args; a b t, ..)` over the butterflies (a, b) of four layers on 16
/// vectors that are 8 apart, t being the number of their twiddle factor; likewise 4, 2 and 1.
macro_rules! distance_8 {
    ($m:ident $($arg:ident)*) => {
        $m!($($arg)*; 0 8 0, 1 9 0, 2 10 0, 3 11 0, 4 12 0, 5 13 0, 6 14 0, 7 15 0)
    };
}
macro_rules! distance_4 {
    ($m:ident $($arg:ident)*) => {
        $m!($($arg)*; 0 4 1, 1 5 1, 2 6 1, 3 7 1, 8 12 2, 9 13 2, 10 14 2, 11 15 2)
    };
}
macro_rules! distance_2 {
    ($m:ident $($arg:ident)*) => {
        $m!($($arg)*; 0 2 3, 1 3 3, 4 6 4, 5 7 4, 8 10 5, 9 11 5, 12 14 6, 13 15 6)
    };
}
macro_rules! distance_1 {
    ($m:ident $($arg:ident)*) => {
        $m!($($arg)*; 0 1 7, 2 3 8, 4 5 9, 6 7 10, 8 9 11, 10 11 12, 12 13 13, 14 15 14)
    };
}

/// `each!(V, out, x, [a, b], e)`: for each vector x of limb `out`, and the vectors of limbs `a` and
/// `b` at the same place, x becomes e.
macro_rules! each {
    ($V:ident, $out:ident, $x:ident, [$($name:ident),*], $e:expr) => {{
        let out = $out.as_mut_ptr();
        $(let $name = $name.as_ptr();)*
        for i in (0..N).step_by($V::LANES) {
            // SAFETY: i + LANES is at most N, the length of every limb.
            unsafe {
                #[allow(unused_variables)]
                let $x = $V::load(out.add(i));
                $(let $name = $V::load($name.add(i));)*
                $V::store($e, out.add(i));
            }
        }
    }};
}

pub(super) mod base;
pub(super) mod keccak;
pub(super) mod ntt;
pub(super) mod pack;
pub(super) mod permute;
pub(super) mod plain;
pub(super) mod pointwise;
pub(super) mod quantise;
pub(super) mod sample;

use super::lanes::Lanes;

/// A signed |x| < 2^31 - 2^26 to |r| < q, since q is just below 2^`bits`: see the contract.
#[inline(always)]
fn centre<V: Lanes>(x: V, q: V, bits: u32) -> V {
    let k = x.add(V::splat(1 << (bits - 1))).sar_by(bits);
    x.sub(k.mul(q))
}

/// From \[-q, q) to \[0, q).
#[inline(always)]
fn lift<V: Lanes>(x: V, q: V) -> V {
    // A negative number is a large unsigned one.
    x.min(x.add(q))
}

/// From \[-q, 2q) to \[0, q).
#[inline(always)]
fn canonical<V: Lanes>(x: V, q: V) -> V {
    let x = lift(x, q);
    x.min(x.sub(q))
}
