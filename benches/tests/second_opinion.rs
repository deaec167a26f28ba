//! `fhe` as a second opinion: the same work in both libraries gives the same slots.
//!
//! It is asked for results alone: its keys, noise and formats are its own, and its moduli are larger
//! than ours, so that its noise is never in question. The slots are computed in the clear as well, to
//! tell who is wrong. All seeds are fixed.
#![allow(missing_docs)]

use chacha20::ChaCha20Rng;
use fhe::bfv::{Ciphertext as Theirs, EvaluationKey, Multiplicator};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand_core::Rng;
use symbolon_benches::owner::Owner;
use symbolon_benches::peers::fhe_rs::{Fixture, Set, sum_slots};
use symbolon_benches::rows::Rows;
use symbolon_benches::{TURNS, best, rng, zero};
use symbolon_core::bfv::{
    Ciphertext, GaloisKey, Multiply, Product, Q54, Q81, Q135, RelinKey, Rotation, Switch, Tensor,
};
use symbolon_core::rns::Rns;

/// Those of [`TURNS`] first.
const ROTATIONS: [Rotation; 13] = {
    let mut all = [Rotation::Swap; 13];
    let places = [1, 5, 1000, -1, -300];
    let mut i = 0;
    while i < 12 {
        all[i] = Rotation::Rows(if i < 7 { TURNS[i] } else { places[i - 7] });
        i += 1;
    }
    all
};

/// Bounds on our noise, rounded up: fresh; what a key switch adds; and how often a product of
/// ciphertexts has the noise of both, t sqrt(N) times six sigma of the multiples of Q that it lifts.
const FRESH: f64 = 2048.0;
const ROTATED: f64 = 1024.0;
const MULTIPLIED: f64 = (1 << 29) as f64;

/// One value: in the clear, and encrypted twice.
struct Value<const L: usize> {
    clear: Rows,
    ours: Box<Ciphertext<L>>,
    theirs: Theirs,
    /// A bound on our noise.
    noise: f64,
}

/// Both libraries, with keys.
struct Both<const L: usize, const PARTS: usize>
where
    Rns<L>: Switch,
{
    random: ChaCha20Rng,
    ours: Owner<L, PARTS>,
    keys: Box<[GaloisKey<L>; ROTATIONS.len()]>,
    theirs: Fixture,
    their_keys: EvaluationKey,
    their_random: StdRng,
    values: Vec<Value<L>>,
}

impl<const L: usize, const PARTS: usize> Both<L, PARTS>
where
    Rns<L>: Switch,
{
    /// Noise that still decrypts.
    const LIMIT: f64 = {
        let (mut limit, mut i) = (0.25, 0);
        while i < Rns::<L>::COUNT {
            limit *= Rns::<L>::PRIMES[i].q() as f64;
            i += 1;
        }
        limit / 65_537.0
    };

    fn new(moduli: &'static [usize]) -> Self {
        let set = Set { degree: Owner::<L, PARTS>::SLOTS, moduli, level: 0, name: "" };
        let mut their_random = StdRng::seed_from_u64(L as u64);
        let theirs = Fixture::new(&set, &mut their_random);
        let turns: Vec<_> = ROTATIONS.into_iter().filter_map(Self::column).collect();
        let their_keys = theirs.rotations(&turns, true, &mut their_random);
        let mut ours = Owner::new(best());
        let mut keys = zero::<[_; ROTATIONS.len()]>();
        ours.galois(&ROTATIONS, &mut *keys);
        let values = Vec::new();
        let mut both = Self { random: rng(), ours, keys, theirs, their_keys, their_random, values };
        both.values = (0..3).map(|_| both.fresh()).collect();
        both
    }

    /// What they call a rotation of the columns: places to the left, never negative.
    fn column(rotation: Rotation) -> Option<i32> {
        match rotation {
            Rotation::Rows(places) => Some(places.rem_euclid(Owner::<L, PARTS>::SLOTS as i32 / 2)),
            Rotation::Swap => None,
        }
    }

    fn fresh(&mut self) -> Value<L> {
        let clear = Rows::random(Owner::<L, PARTS>::SLOTS, &mut self.random);
        let plain = self.theirs.encode(&clear.0);
        let theirs = self.theirs.encrypt(&plain, &mut self.their_random);
        Value { ours: self.ours.encrypt(&clear), theirs, clear, noise: FRESH }
    }

    fn below(&mut self, n: usize) -> usize {
        self.random.next_u32() as usize % n
    }

    /// Takes a value out, or a fresh one for it if it will not bear what is to come.
    fn take(&mut self, noise: impl Fn(f64) -> f64) -> Value<L> {
        let at = self.below(self.values.len());
        let value = self.values.swap_remove(at);
        if noise(value.noise) < Self::LIMIT { value } else { self.fresh() }
    }

    /// Puts a value back, if all three agree.
    fn put(&mut self, value: Value<L>, what: &str) {
        let ours = self.ours.decrypt(&value.ours);
        let theirs = Rows::new(self.theirs.decrypt(&value.theirs));
        let place = |other: &Rows| ours.0.iter().zip(&other.0).position(|(a, b)| a != b);
        let (them, clear) = (place(&theirs), place(&value.clear));
        assert!(
            them.is_none() && clear.is_none(),
            "{what}: first slot that differs from theirs: {them:?}, from the clear: {clear:?}"
        );
        self.values.push(value);
    }

    /// One rotation, by one key or with digits for all.
    fn rotate(&mut self, is_hoisted: bool) {
        let mut x = self.take(|noise| noise + ROTATED);
        let at = self.below(ROTATIONS.len());
        if is_hoisted {
            let mut rotated = zero::<[Ciphertext<L>; ROTATIONS.len()]>();
            self.ours.hoisted(&x.ours, &*self.keys, &mut *rotated);
            x.ours.copy_from(&rotated[at]);
        } else {
            self.ours.rotate(&mut x.ours, &self.keys[at]);
        }
        (x.theirs, x.clear) = match (Self::column(ROTATIONS[at]), ROTATIONS[at]) {
            (Some(column), Rotation::Rows(places)) => (
                self.their_keys
                    .rotates_columns_by(&x.theirs, column as usize)
                    .expect("has the key"),
                x.clear.turned(places),
            ),
            _ => (self.their_keys.rotates_rows(&x.theirs).expect("has the key"), x.clear.swapped()),
        };
        x.noise += ROTATED;
        self.put(x, &format!("{:?}, hoisted: {is_hoisted}", ROTATIONS[at]));
    }

    fn sum_slots(&mut self) {
        let after = |noise| TURNS.iter().fold(noise, |noise, _| 2.0 * noise + ROTATED);
        let mut x = self.take(after);
        self.ours.rotate_sum(&mut x.ours, &self.keys[..TURNS.len()]);
        sum_slots(&self.their_keys, &TURNS, &mut x.theirs);
        x.clear = x.clear.summed(&TURNS);
        x.noise = after(x.noise);
        self.put(x, "slot sum");
    }

    fn add(&mut self) {
        let (mut x, y) = (self.take(|noise| 2.0 * noise), self.take(|noise| 2.0 * noise));
        x.ours.add_assign(self.ours.kernels(), &y.ours);
        x.theirs += &y.theirs;
        x.clear = x.clear.plus(&y.clear);
        x.noise += y.noise;
        self.put(x, "sum");
        self.put(y, "operand");
    }
}

/// Rotations, sums, slot sums.
fn rotations<const L: usize, const PARTS: usize>(moduli: &'static [usize], rounds: usize)
where
    Rns<L>: Switch,
{
    let mut both = Both::<L, PARTS>::new(moduli);
    for _ in 0..rounds {
        both.rotate(false);
        both.add();
        both.rotate(true);
        both.sum_slots();
    }
}

/// The same with products, and sums of products with one relinearisation.
fn products<const L: usize, const PARTS: usize>(moduli: &'static [usize], rounds: usize)
where
    Rns<L>: Multiply,
{
    let mut both = Both::<L, PARTS>::new(moduli);
    let mut key = zero::<RelinKey<L>>();
    both.ours.relin(&mut key);
    let their_key = both.theirs.relinearisation(&mut both.their_random);
    let multiplicator = Multiplicator::default(&their_key).expect("builds");
    let (mut product, mut other) = (zero::<Product<L>>(), zero::<Product<L>>());
    let mut space = zero::<Tensor<L>>();
    let k = both.ours.kernels();
    for round in 0..rounds {
        both.rotate(round % 2 == 0);
        // x y + y z, with one relinearisation.
        let mut operands = [(); 3].map(|()| both.take(|noise| 4.0 * noise * MULTIPLIED));
        let [x, y, z] = &mut operands;
        product.multiply(k, &x.ours, &y.ours, &mut space);
        other.multiply(k, &y.ours, &z.ours, &mut space);
        product.add_assign(k, &other);
        both.ours.relinearise(&product, &key, &mut x.ours);
        let [first, second] = [&x.theirs, &z.theirs]
            .map(|operand| multiplicator.multiply(operand, &y.theirs).expect("multiplies"));
        x.theirs = &first + &second;
        x.clear = x.clear.plus(&z.clear).times(&y.clear);
        x.noise = (x.noise + 2.0 * y.noise + z.noise) * MULTIPLIED + ROTATED;
        for (value, what) in operands.into_iter().zip(["sum of products", "operand", "operand"]) {
            both.put(value, what);
        }
        both.sum_slots();
    }
}

#[test]
fn rotations_with_q54() {
    rotations::<Q54, 1>(&[50, 50], 6);
}

#[test]
fn products_with_q81() {
    products::<Q81, 1>(&[50, 50, 50], 6);
}

#[test]
fn products_with_q135() {
    products::<Q135, 2>(&[60, 60, 60, 60], 4);
}
