//! Automorphisms on values: runs move between lanes, and turn within theirs.

use super::super::lanes::Lanes;
use super::super::scalar::REVERSED;
use crate::kernel::contract::{GROUP, Limb, Runs};
use crate::ntt::N;

/// v\[j\] = v\[j + S\] in the lanes where bit S of the carry is set, for each j mod 16.
#[inline(always)]
fn turn<V: Lanes, const S: usize>(v: &mut [V; 16], carry: V) {
    let set = V::splat(0).gt(V::splat(0).sub(carry.and(V::splat(S as u32))));
    let old = *v;
    sixteen!(J => v[J] = old[J].xor(old[J].xor(old[(J + S) % 16]).and(set)));
}

#[inline(always)]
pub(crate) fn permute<V: Lanes>(out: &mut Limb, x: &Limb, runs: &Runs) {
    let (x, out) = (x.as_ptr(), out.as_mut_ptr());
    let (from, carries) = (runs.from.as_ptr(), runs.carry.as_ptr());
    for at in (0..N / 16).step_by(V::LANES) {
        // SAFETY: `at` + LANES is at most N / 16. Runs that stand together come from runs that stand
        // together, 256 of them, so a row of their words is one vector within the limb.
        unsafe {
            let source = (*from.add(at) as usize % (N / 16)) & !(V::LANES - 1);
            let lanes = V::load(from.add(at)).and(V::splat(V::LANES as u32 - 1));
            let rows = x.add(GROUP * (source / 16) + source % 16);
            let mut v = [V::splat(0); 16];
            sixteen!(J => {
                let row = (runs.positions >> (4 * J)) as usize % 16;
                v[J] = V::load(rows.add(16 * row)).pick(lanes);
            });
            let carry = V::load(carries.add(at));
            turn::<V, 1>(&mut v, carry);
            turn::<V, 2>(&mut v, carry);
            turn::<V, 4>(&mut v, carry);
            turn::<V, 8>(&mut v, carry);
            let rows = out.add(GROUP * (at / 16) + at % 16);
            sixteen!(J => v[J].store(rows.add(16 * REVERSED[J])));
        }
    }
}
