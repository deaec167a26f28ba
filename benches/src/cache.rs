//! What the benches of caches share: traces from fixed seeds, and what keeps verdicts.

use std::io::Write;

use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use symbolon_core::cache::{Cache, Digest, Handle, Key, Record, Verdict};
use symbolon_host::cache::{Desk, Heap, Verdicts};

/// Keys of a trace.
pub const KEYS: usize = 1_000_000;
/// Accesses of a trace.
pub const ACCESSES: usize = 6_000_000;
/// The first of them fill the cache and are not counted.
pub const WARM: usize = 1_000_000;
/// Of the traces.
pub const CAPACITY: usize = KEYS / 10;

/// What is kept: `expiry` and `epoch` are looked at on every hit.
pub type Value = (u32, u32, bool);

/// Never expires.
pub const VALUE: Value = (u32::MAX, 0, true);

/// The digest of a number. Not SHA3, which would be timed too: a bijection of it in every word (Stafford's mix 13).
#[must_use]
pub fn digest(number: u64) -> Digest {
    let mut digest = [0; 32];
    for (at, word) in digest.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let mut z = number.wrapping_add((at as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        *word = (z ^ z >> 31).to_le_bytes();
    }
    digest
}

/// Ranks by Zipf's law with exponent 0.99.
pub struct Zipf(Vec<f64>);

impl Zipf {
    /// Of so many ranks.
    #[must_use]
    pub fn new(ranks: usize) -> Self {
        let mut sum = 0.0;
        let upto = |rank: usize| {
            sum += (rank as f64).powf(-0.99);
            sum
        };
        Self((1..=ranks).map(upto).collect())
    }

    /// One of them, from 0.
    pub fn draw(&self, rng: &mut impl Rng) -> usize {
        let at = uniform(rng) * self.0[self.0.len() - 1];
        self.0.partition_point(|sum| *sum < at).min(self.0.len() - 1)
    }
}

fn uniform(rng: &mut impl Rng) -> f64 {
    (rng.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
}

/// What is asked for, one after the other.
#[derive(Clone, Copy, Debug)]
pub enum Trace {
    /// Zipf's law.
    Zipf,
    /// The same, and every third access for something that is never asked for again.
    OneHit,
    /// The same, and every 250,000 accesses all ranks move on by 6,250: what was cold becomes hot.
    Shifting,
}

impl Trace {
    /// All.
    pub const ALL: [Self; 3] = [Self::Zipf, Self::OneHit, Self::Shifting];

    /// As in the rows' names.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Zipf => "zipf",
            Self::OneHit => "one-hit",
            Self::Shifting => "shifting",
        }
    }

    /// The numbers of the digests, from a fixed seed.
    #[must_use]
    pub fn accesses(self, zipf: &Zipf) -> Vec<u32> {
        let mut rng = ChaCha20Rng::from_seed([self as u8; 32]);
        let access = |at: usize| match self {
            Self::OneHit if uniform(&mut rng) < 0.33 => (KEYS + at) as u32,
            Self::Zipf | Self::OneHit => zipf.draw(&mut rng) as u32,
            Self::Shifting => {
                let shift = at / 250_000 * 6_250;
                ((zipf.draw(&mut rng) + KEYS - shift % KEYS) % KEYS) as u32
            }
        };
        (0..ACCESSES).map(access).collect()
    }
}

/// Something that keeps verdicts.
pub trait Keeper: Sync {
    /// Who it is.
    const WHO: &'static str;
    /// A thread's access.
    type Desk<'a>: Ask
    where
        Self: 'a;

    /// With room for so many.
    fn new(capacity: usize) -> Self;
    /// For one thread.
    fn desk(&self) -> Self::Desk<'_>;
}

/// What a thread asks.
pub trait Ask {
    /// Whether there is a verdict that holds.
    fn get(&self, digest: &Digest) -> bool;
    /// Keeps [`VALUE`].
    fn put(&self, digest: &Digest);
}

/// Whether it holds: what a user of a plain map looks at.
#[must_use]
pub fn holds(value: Value) -> bool {
    value.0 > 0 && value.1 == 0 && value.2
}

/// Ours, with all there is to observe; its memory stays with the process.
pub struct Ours(pub &'static Verdicts<'static>);

/// Threads with counters of their own.
const THREADS: usize = 96;

impl Keeper for Ours {
    const WHO: &'static str = "any";
    type Desk<'a> = Desk<'a>;

    fn new(capacity: usize) -> Self {
        Self(Verdicts::start(capacity, THREADS).expect("memory and a key"))
    }

    fn desk(&self) -> Desk<'_> {
        self.0.desk()
    }
}

impl Ask for Desk<'_> {
    #[inline]
    fn get(&self, digest: &Digest) -> bool {
        Desk::get(self, digest, 0, VALUE.1) == Ok(Verdict::Accepted)
    }

    fn put(&self, digest: &Digest) {
        let _ = self.insert(self.ticket(digest), digest, RECORD, 0);
    }
}

/// [`VALUE`] as ours has it.
pub const RECORD: Record = Record { verdict: Verdict::Accepted, expiry: VALUE.0, epoch: VALUE.1 };

/// Ours bare: core's, with nothing counted or sampled.
pub struct Bare(Cache<'static, false>);

impl Keeper for Bare {
    const WHO: &'static str = "any, nothing observed";
    type Desk<'a> = Handle<'a, false>;

    fn new(capacity: usize) -> Self {
        let heap = Box::leak(Box::new(Heap::new(capacity, 0)));
        Self(Cache::new(heap.memory(), Key::draw(&mut crate::rng())).expect("memory"))
    }

    fn desk(&self) -> Handle<'_, false> {
        self.0.handle()
    }
}

impl Ask for Handle<'_, false> {
    #[inline]
    fn get(&self, digest: &Digest) -> bool {
        Handle::get(self, digest, 0, VALUE.1) == Ok(Verdict::Accepted)
    }

    fn put(&self, digest: &Digest) {
        let _ = self.insert(self.ticket(digest), digest, RECORD, 0);
    }
}

/// The part of a trace that hits after [`WARM`], in percent; a miss is put in.
pub fn rate(trace: &[u32], desk: &impl Ask) -> f64 {
    let mut hits = 0_u32;
    for (at, number) in trace.iter().enumerate() {
        let digest = digest(u64::from(*number));
        if !desk.get(&digest) {
            desk.put(&digest);
        } else if at >= WARM {
            hits += 1;
        }
    }
    f64::from(hits) * 100.0 / (trace.len() - WARM) as f64
}

/// Prints a hit rate in percent, and appends it to the file of this name in the environment, if there is one: a line of
/// row, whose, and rate, separated by tabs.
///
/// # Panics
/// If the file cannot be written.
pub fn tell_rate(row: &str, who: &str, percent: f64) {
    println!("hit rate {row}: {percent:.2} % {who}");
    if let Some(path) = std::env::var_os("SYMBOLON_HIT_RATES") {
        let file = std::fs::File::options().create(true).append(true).open(path);
        writeln!(file.expect("a file"), "{row}\t{who}\t{percent}").expect("it is written");
    }
}

/// The most that any choice of [`CAPACITY`] keys that stay could have, in percent.
#[must_use]
pub fn best_static(trace: &[u32]) -> f64 {
    let counted = &trace[WARM..];
    let mut counts = vec![0_u32; KEYS + ACCESSES];
    counted.iter().for_each(|number| counts[*number as usize] += 1);
    counts.sort_unstable_by_key(|count| std::cmp::Reverse(*count));
    let hits: u64 = counts.iter().take(CAPACITY).map(|count| u64::from(*count)).sum();
    hits as f64 * 100.0 / counted.len() as f64
}
