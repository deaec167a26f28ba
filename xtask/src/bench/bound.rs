//! The least time that the arithmetic allows: what a figure is to be held against.
//!
//! A vector unit starts so many multiplications and so many instructions a cycle, and the work has
//! a known number of both, so bound = max(multiplications x cycles each, instructions x cycles
//! each) / clock. The clock is measured in the run ([`super::machine`]); cycles come from the table
//! below. Counted is the arithmetic modulo q alone: transforms, products and the sums of products.
//! Encoding (mod 65537), sampling, its generator, scaling, rounding, digits and the ways between
//! bases are not, so for whole operations the bound is out of reach by what they take. Loads and stores are taken to be free,
//! but for `ntt/pointwise`, whose operands do not fit the first-level cache: there the bytes from
//! the second level bound it as well. Where a processor or an instruction set is not in the table,
//! no bound is shown.

/// Cycles an instruction, when enough of them are under way.
struct Unit {
    isa: &'static str,
    /// 32-bit words in a register.
    lanes: f64,
    /// A multiplication of 32-bit words, low or widening.
    multiply: f64,
    /// Any vector instruction.
    any: f64,
    costs: &'static Costs,
}

/// Instructions for one register of words: (multiplications, all). `None`: not known.
struct Costs {
    forward: (f64, f64),
    inverse: (f64, f64),
    product: Option<(f64, f64)>,
    sum: Option<(f64, f64)>,
}

/// Forward butterfly: a widening product for even and one for odd lanes (the other operand's odd
/// lanes moved down), the two low halves times q, two high halves joined, one add, two subtract.
/// The inverse also centres. A product reduces what nobody precomputed: one multiplication more. A
/// sum of products adds 64-bit lanes.
const X86: Costs = Costs {
    forward: (4.0, 10.0),
    inverse: (4.0, 11.0),
    product: Some((5.0, 10.0)),
    sum: Some((2.0, 6.0)),
};

/// Doubling high product, low product, multiply-subtract high; an add and a subtract.
const NEON: Costs = Costs { forward: (3.0, 5.0), inverse: (3.0, 5.0), product: None, sum: None };

/// A kind of processor.
pub struct Processor {
    /// What its maker calls the core.
    pub name: &'static str,
    /// Vendor and family, or implementer and part, as in [`super::machine::Machine::id`].
    family: &'static str,
    /// Models, x86 only.
    models: &'static [(u32, u32)],
    /// Bytes a cycle from second-level to first-level cache.
    fill: f64,
    units: &'static [Unit],
}

/// Rates: measured (loops of twelve independent instructions) for Zen 4 with AVX-512 and Zen 5; the
/// rest, and the widths of caches, from the makers' optimisation guides.
const PROCESSORS: [Processor; 3] = [
    Processor {
        name: "Zen 4",
        family: "AuthenticAMD 25",
        models: &[(0x10, 0x1f), (0x60, 0x7f), (0xa0, 0xaf)],
        fill: 32.0,
        units: &[
            Unit { isa: "avx2", lanes: 8.0, multiply: 0.5, any: 0.25, costs: &X86 },
            Unit { isa: "avx512", lanes: 16.0, multiply: 1.0, any: 0.5, costs: &X86 },
        ],
    },
    // Server parts (models below 0x20 and from 0x40); mobile ones have half-width units.
    Processor {
        name: "Zen 5",
        family: "AuthenticAMD 26",
        models: &[(0x00, 0x1f), (0x40, 0x4f)],
        fill: 64.0,
        units: &[
            Unit { isa: "avx2", lanes: 8.0, multiply: 0.5, any: 0.25, costs: &X86 },
            Unit { isa: "avx512", lanes: 16.0, multiply: 0.5, any: 0.25, costs: &X86 },
        ],
    },
    Processor {
        name: "Neoverse V2",
        family: "0x41 0xd4f",
        models: &[],
        fill: 64.0,
        units: &[Unit { isa: "neon", lanes: 4.0, multiply: 0.5, any: 0.25, costs: &NEON }],
    },
];

/// Work modulo one prime on N words each: transforms, products, sums of products.
#[derive(Clone, Copy)]
struct Work {
    forward: f64,
    inverse: f64,
    products: f64,
    sums: f64,
}

impl Work {
    fn new(forward: f64, inverse: f64, products: f64, sums: f64) -> Self {
        Self { forward, inverse, products, sums }
    }

    fn times(self, n: f64) -> Self {
        Self::new(self.forward * n, self.inverse * n, self.products * n, self.sums * n)
    }

    fn and(self, other: Self) -> Self {
        Self::new(
            self.forward + other.forward,
            self.inverse + other.inverse,
            self.products + other.products,
            self.sums + other.sums,
        )
    }
}

/// A parameter set, and how the names of its work end.
struct Set {
    end: &'static str,
    degree: f64,
    /// Of Q.
    primes: f64,
    /// Of the basis that products of ciphertexts are made in, if they are.
    product: Option<f64>,
}

const SETS: [Set; 3] = [
    Set { end: "/Q81", degree: 4096.0, primes: 3.0, product: Some(7.0) },
    Set { end: "/Q135", degree: 8192.0, primes: 5.0, product: Some(11.0) },
    Set { end: "", degree: 4096.0, primes: 2.0, product: None },
];

/// Galois keys in a key set, and rotations in a slot sum.
const TURNS: f64 = 7.0;

/// What a name does in all, over L primes.
///
/// Encrypt: u, e0 + message and e1 forward; two products. Decrypt: one product, inverse. Folded: one
/// sum. A batch: encrypt; re-randomise with u and e1 forward, one product, one sum; templates
/// forward; fold with one product, one sum; folded decryption. Pooled: message and templates
/// forward, fold, folded decryption.
///
/// A key switch has L digits, each modulo L primes and the special one. From values they come by L
/// inverse transforms, and each is there already modulo its own prime. Two inner products of L with the
/// key; then the special prime's words inverse, and forward again modulo each other prime. A rotation
/// does that once; hoisted ones share the digits. A product in a basis of M primes: four polynomials
/// inverse, extended, and forward modulo the primes that are new; three products and a sum; three
/// polynomials inverse, scaled, and two of them forward. Relinearised, the third has its coefficients
/// already. A key set: s forward modulo all primes, e forward, e and a s make the public key; s^2; for
/// each row of a switching key, one e forward and one product.
fn work(stem: &str, set: &Set) -> Option<Work> {
    let l = if stem.starts_with("ntt/") { 1.0 } else { set.primes };
    let each =
        |forward, inverse, products, sums| Work::new(forward, inverse, products, sums).times(l);
    let digits = Work::new(l * l, l, 0.0, 0.0);
    let switch = Work::new(2.0 * l, 2.0, 2.0 * (l + 1.0), 2.0 * (l + 1.0) * (l - 1.0));
    let product =
        set.product.map(|m| Work::new(4.0 * (m - l) + 2.0 * l, 4.0 * l + 3.0 * m, 3.0 * m, m));
    let relinearise = Work::new(l * (l + 1.0), 0.0, 0.0, 0.0).and(switch);
    Some(match stem {
        "ntt/forward" => each(1.0, 0.0, 0.0, 0.0),
        "ntt/inverse" => each(0.0, 1.0, 0.0, 0.0),
        "ntt/pointwise" => each(0.0, 0.0, 1.0, 0.0),
        "bfv/encrypt" => each(3.0, 0.0, 2.0, 0.0),
        "bfv/decrypt" => each(0.0, 1.0, 1.0, 0.0),
        "bfv/decrypt-folded" => each(0.0, 0.0, 0.0, 1.0),
        "bfv/multiply-plain" => each(0.0, 0.0, 2.0, 0.0),
        "bfv/rotate" => digits.and(switch),
        "bfv/slot-sum" => digits.and(switch).times(TURNS),
        "bfv/hoisted" => digits.and(switch.times(TURNS)),
        "bfv/product" => product?,
        "bfv/relinearise" => relinearise,
        "bfv/multiply" => product?.and(relinearise),
        "bfv/keyset" => Work::new(l + 1.0 + l, 0.0, 2.0 * l, 0.0)
            .and(Work::new(1.0, 0.0, 1.0, 0.0).times((1.0 + TURNS) * l * (l + 1.0))),
        "batch/sealed-probe" => each(6.0, 0.0, 4.0, 3.0),
        "batch/sealed-probe-pooled" => each(2.0, 0.0, 1.0, 2.0),
        _ => return None,
    })
}

/// The processor with this id, if its rates are known.
pub fn processor(id: &str) -> Option<&'static Processor> {
    PROCESSORS.iter().find(|known| {
        if known.models.is_empty() {
            return id == known.family;
        }
        let model = id.strip_prefix(known.family).and_then(|rest| rest.strip_prefix('.'));
        let model = model.and_then(|model| model.parse().ok());
        model.is_some_and(|m| known.models.iter().any(|&(low, high)| (low..=high).contains(&m)))
    })
}

/// The bound in nanoseconds, where it is known.
pub fn nanoseconds(name: &str, isa: &str, id: &str, clock_ghz: f64) -> Option<f64> {
    let processor = processor(id)?;
    let unit = processor.units.iter().find(|unit| unit.isa == isa)?;
    let (stem, set) = SETS.iter().find_map(|set| Some((name.strip_suffix(set.end)?, set)))?;
    let work = work(stem, set)?;
    let part = |count: f64, cost: Option<(f64, f64)>, registers: f64| match cost {
        _ if count == 0.0 => Some(0.0),
        None => None,
        Some((multiplies, all)) => {
            Some(count * registers * (multiplies * unit.multiply).max(all * unit.any))
        }
    };
    let words = set.degree / unit.lanes;
    let butterflies = words / 2.0 * set.degree.log2();
    let mut cycles = part(work.forward, Some(unit.costs.forward), butterflies)?
        + part(work.inverse, Some(unit.costs.inverse), butterflies)?
        + part(work.products, unit.costs.product, words)?
        + part(work.sums, unit.costs.sum, words)?;
    if stem == "ntt/pointwise" {
        // Two operands in, and the result's old lines.
        cycles = cycles.max(3.0 * 4.0 * set.degree / processor.fill);
    }
    (clock_ghz > 0.0).then_some(cycles / clock_ghz)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ZEN4: &str = "AuthenticAMD 25.17";
    const ZEN5: &str = "AuthenticAMD 26.2";

    #[test]
    fn processors_are_told_apart() {
        let name = |id| processor(id).map(|known| known.name);
        assert_eq!(name(ZEN4), Some("Zen 4"));
        assert_eq!(name("AuthenticAMD 25.1"), None, "Zen 3");
        assert_eq!(name(ZEN5), Some("Zen 5"));
        assert_eq!(name("AuthenticAMD 26.36"), None, "mobile");
        assert_eq!(name("0x41 0xd4f"), Some("Neoverse V2"));
        assert_eq!(name(""), None);
    }

    #[test]
    fn bounds_are_those_worked_out_by_hand() {
        let bound = |name, isa, id| nanoseconds(name, isa, id, 4.0).map(|ns| ns * 4.0);
        // 1536 butterflies of five cycles.
        assert_eq!(bound("ntt/forward", "avx512", ZEN4), Some(7680.0));
        assert_eq!(bound("ntt/forward", "avx512", ZEN5), Some(3840.0));
        assert_eq!(bound("ntt/forward", "avx2", ZEN5), Some(7680.0));
        assert_eq!(bound("ntt/inverse", "avx512", ZEN4), Some(8448.0));
        // 6144 butterflies of one and a half.
        assert_eq!(bound("ntt/forward", "neon", "0x41 0xd4f"), Some(9216.0));
        // 48 KiB at 64 bytes a cycle.
        assert_eq!(bound("ntt/pointwise", "avx512", ZEN5), Some(768.0));
        // Six transforms and four products.
        let encrypt = 6.0 * 3840.0 + 4.0 * 640.0;
        assert_eq!(bound("bfv/encrypt", "avx512", ZEN5), Some(encrypt));
        assert_eq!(bound("bfv/encrypt/Q81", "avx512", ZEN5), Some(encrypt * 1.5));
        // Rotation: two inverse transforms and two of the special prime; two digits modulo the two
        // primes that are not theirs, and four back. Six inner products of two.
        let rotate = 4.0 * 4224.0 + 8.0 * 3840.0 + 6.0 * (640.0 + 384.0);
        assert_eq!(bound("bfv/rotate", "avx512", ZEN5), Some(rotate));
        assert_eq!(bound("bfv/slot-sum", "avx512", ZEN5), Some(rotate * 7.0));
        let shared = 2.0 * 4224.0 + 4.0 * 3840.0;
        assert_eq!(bound("bfv/hoisted", "avx512", ZEN5), Some(rotate * 7.0 - shared * 6.0));
        // Twelve inverse, sixteen forward into the new primes; seven primes of three products and a
        // sum, 21 inverse, six forward.
        let product = 33.0 * 4224.0 + 22.0 * 3840.0 + 7.0 * (3.0 * 640.0 + 384.0);
        assert_eq!(bound("bfv/product/Q81", "avx512", ZEN5), Some(product));
        // Twelve and six forward, two inverse; eight inner products of three.
        let relinearise = 18.0 * 3840.0 + 2.0 * 4224.0 + 8.0 * (640.0 + 2.0 * 384.0);
        assert_eq!(bound("bfv/relinearise/Q81", "avx512", ZEN5), Some(relinearise));
        assert_eq!(bound("bfv/multiply/Q81", "avx512", ZEN5), Some(product + relinearise));
        // Eight switching keys of six rows; three, two.
        let keyset = 53.0 * 3840.0 + 52.0 * 640.0;
        assert_eq!(bound("bfv/keyset", "avx512", ZEN5), Some(keyset));
        // Twice the words, thirteen layers.
        let encrypt = 15.0 * 2.0 * 3840.0 * 13.0 / 12.0 + 10.0 * 2.0 * 640.0;
        assert_eq!(bound("bfv/encrypt/Q135", "avx512", ZEN5), Some(encrypt));
    }

    #[test]
    fn nothing_is_invented() {
        assert_eq!(nanoseconds("ntt/forward", "scalar", ZEN4, 4.0), None);
        assert_eq!(nanoseconds("ntt/forward", "avx512", "GenuineIntel 6.143", 4.0), None);
        assert_eq!(nanoseconds("ntt/pointwise", "neon", "0x41 0xd4f", 4.0), None);
        assert_eq!(nanoseconds("fill/8", "avx512", ZEN4, 4.0), None);
        assert_eq!(nanoseconds("bfv/product", "avx512", ZEN4, 4.0), None, "not with Q54");
        assert_eq!(nanoseconds("ntt/forward", "avx512", ZEN4, 0.0), None);
    }
}
