//! `tfhe-ntt`'s 32-bit plan on a prime of ours. It takes AVX-512 where the processor has it.

use criterion::BenchmarkGroup;
use criterion::measurement::WallTime;
use symbolon_core::ntt::{N, PLANS};
use tfhe_ntt::prime32::Plan;

const NAME: &str = "tfhe-ntt 0.7.1";

/// Aligned as our own limbs are.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Limb([u32; N]);

/// A plan that has shown that it multiplies.
fn plan(words: &[u32; N]) -> Plan {
    let q = PLANS[0].prime.q();
    let plan = Plan::try_new(N, q).expect("a prime of 27 bits");
    // x times X, the long way and through the transform.
    let (mut product, mut x) = (Limb(*words), Limb([0; N]));
    x.0[1] = 1;
    plan.fwd(&mut product.0);
    plan.fwd(&mut x.0);
    plan.mul_assign_normalize(&mut product.0, &x.0);
    plan.inv(&mut product.0);
    let mut shifted = *words;
    shifted.rotate_right(1);
    shifted[0] = q - shifted[0];
    assert!(product.0 == shifted, "multiplies by X");
    plan
}

/// Forward transform.
pub fn forward(group: &mut BenchmarkGroup<'_, WallTime>, words: &[u32; N]) {
    let (plan, mut limb) = (plan(words), Limb(*words));
    group.bench_function(NAME, |b| b.iter(|| plan.fwd(&mut limb.0)));
}

/// Inverse transform without 1/N, which its product includes.
pub fn inverse(group: &mut BenchmarkGroup<'_, WallTime>, words: &[u32; N]) {
    let (plan, mut limb) = (plan(words), Limb(*words));
    group.bench_function(NAME, |b| b.iter(|| plan.inv(&mut limb.0)));
}

/// Product in place, times 1/N.
pub fn pointwise(group: &mut BenchmarkGroup<'_, WallTime>, words: &[u32; N]) {
    let (plan, mut limb, factor) = (plan(words), Limb(*words), Limb(*words));
    group.bench_function(NAME, |b| b.iter(|| plan.mul_assign_normalize(&mut limb.0, &factor.0)));
}
