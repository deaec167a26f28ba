//! Instruction counts under valgrind, one run each: they do not move with the machine's load.
//!
//! Valgrind knows no AVX-512: a processor that has it shows itself as one with AVX2.
#![allow(missing_docs)]

use std::hint::black_box;

use gungraun::{library_benchmark, library_benchmark_group, main};
use symbolon_benches::{Pipeline, kernels, zero};
use symbolon_core::bfv::{Plaintext, Q54};
use symbolon_core::kernel::Kernels;
use symbolon_core::poly::{Coeff, Eval, Mont, Poly};

/// What valgrind can run: every capability here but AVX-512.
fn isas() -> Vec<&'static str> {
    kernels().into_iter().map(Kernels::isa).filter(|&isa| isa != "avx512").collect()
}

fn kernel(isa: &str) -> &'static Kernels {
    let found = kernels().into_iter().find(|k| k.isa() == isa);
    found.unwrap_or_else(|| panic!("this processor has no {isa}"))
}

/// One polynomial of two limbs in each form.
struct Operands {
    k: &'static Kernels,
    coeffs: Box<Poly<Q54, Coeff>>,
    values: Box<Poly<Q54, Eval>>,
    factor: Box<Poly<Q54, Mont>>,
}

fn operands(isa: &str) -> Operands {
    let k = kernel(isa);
    let (mut coeffs, mut values, mut factor) = (zero(), zero(), zero::<Poly<Q54, Mont>>());
    let mut plain = zero::<Plaintext>();
    plain.encode_coeffs(&[3, -1, 4, 1, -5]).expect("fits");
    factor.copy_from(plain.to_multiplicand(k, &mut coeffs));
    Poly::copy_from(&mut values, plain.to_addend(k, &mut coeffs));
    Operands { k, coeffs, values, factor }
}

fn pipeline(isa: &str) -> Pipeline<Q54> {
    let mut pipeline = Pipeline::new(kernel(isa));
    let users = pipeline.users();
    assert_eq!(pipeline.run(users), pipeline.expected(users), "right decisions");
    pipeline
}

// Two limbs.
#[library_benchmark]
#[benches::isa(iter = isas(), setup = operands)]

fn forward(mut o: Operands) -> Operands {
    black_box(o.coeffs.forward(o.k));
    o
}

// Two limbs.
#[library_benchmark]
#[benches::isa(iter = isas(), setup = operands)]

fn inverse(mut o: Operands) -> Operands {
    black_box(o.values.inverse(o.k));
    o
}

// Two limbs.
#[library_benchmark]
#[benches::isa(iter = isas(), setup = operands)]

fn pointwise(mut o: Operands) -> Operands {
    o.values.mul_assign(o.k, &o.factor);
    o
}

// 32 people, probes to decisions.
#[library_benchmark]
#[benches::isa(iter = isas(), setup = pipeline)]

fn sealed_probe(mut pipeline: Pipeline<Q54>) -> Pipeline<Q54> {
    let users = pipeline.users();
    black_box(pipeline.run(users));
    pipeline
}

library_benchmark_group!(name = ntt, benchmarks = [forward, inverse, pointwise]);
library_benchmark_group!(name = batch, benchmarks = [sealed_probe]);
main!(library_benchmark_groups = [ntt, batch]);
