//! The algorithms, once for all vector units.
//!
//! Everything is inlined into the functions of a processor folder, which enable its instructions.
//! So: no closures, no calls, no loops but counted ones.

pub(super) mod ntt;
pub(super) mod pointwise;

use super::lanes::Lanes;

/// A signed |x| < 2^31 - 2^26 to |r| <= 2^26 + 2^22 (less than 0.54 q), since q is just below 2^27.
#[inline(always)]
fn centre<V: Lanes>(x: V, q: V) -> V {
    let k = x.add(V::splat(1 << 26)).sar::<27>();
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
