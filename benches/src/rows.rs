//! Slots as plain integers: what encrypted ones are compared with.

use rand_core::Rng;
use symbolon_core::zt::T;

/// Two rows of slots in natural order, centred mod t.
#[derive(Clone, PartialEq)]
pub struct Rows(pub Vec<i32>);

impl Rows {
    /// These slots, centred.
    #[must_use]
    pub fn new(slots: impl IntoIterator<Item = i64>) -> Self {
        let (t, half) = (i64::from(T), i64::from(T / 2));
        Self(slots.into_iter().map(|x| ((x + half).rem_euclid(t) - half) as i32).collect())
    }

    /// `slots` slots, uniform mod t.
    #[must_use]
    pub fn random(slots: usize, rng: &mut impl Rng) -> Self {
        Self::new((0..slots).map(|_| i64::from(rng.next_u32())))
    }

    /// Both rows turned to the left.
    #[must_use]
    pub fn turned(&self, places: i32) -> Self {
        let row = self.0.len() / 2;
        let mut turned = self.clone();
        for row in turned.0.chunks_exact_mut(row) {
            row.rotate_left(places.rem_euclid(row.len() as i32) as usize);
        }
        turned
    }

    /// The rows exchanged.
    #[must_use]
    pub fn swapped(&self) -> Self {
        let mut swapped = self.clone();
        swapped.0.rotate_left(self.0.len() / 2);
        swapped
    }

    /// Slot by slot.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        self.joined(other, |a, b| a + b)
    }

    /// Slot by slot.
    #[must_use]
    pub fn times(&self, other: &Self) -> Self {
        self.joined(other, |a, b| a * b)
    }

    /// For each turn after another: itself plus itself turned.
    #[must_use]
    pub fn summed(&self, turns: &[i32]) -> Self {
        turns.iter().fold(self.clone(), |sum, &places| sum.plus(&sum.turned(places)))
    }

    fn joined(&self, other: &Self, join: impl Fn(i64, i64) -> i64) -> Self {
        let pairs = self.0.iter().zip(&other.0);
        Self::new(pairs.map(|(&a, &b)| join(a.into(), b.into())))
    }
}
