//! The transforms modulo a limb's prime: two passes over memory, four layers in registers at a time.
//!
//! Pass A does the layers whose partners are 256 words or more apart, on columns of 16 vectors. Pass
//! B works on one group of 256 words at a time: four layers on its columns, then a transposition
//! that puts each run of 16 words in one lane, so that the last four layers need no shuffles. The
//! result stays transposed: that is the order of the contract. The inverse runs backwards.

use super::super::lanes::Lanes;
use super::super::twiddles::{GROUPS, Twiddles};
use super::{canonical, centre, lift};
use crate::kernel::contract::{GROUP, Limb};
use crate::ntt::Plan;
use crate::place::wipe;
use core::mem::MaybeUninit;

/// Twiddle factors of the 15 butterflies' blocks of four layers: 1, 2, 4, 8.
trait Source<V>: Copy {
    /// w, its companion, and the companion for odd lanes.
    ///
    /// # Safety
    /// `i` is below 15.
    unsafe fn get(self, i: usize) -> (V, V, V);
}

/// One factor for all lanes: four layers, the first of which has block b of m, `block` = m + b.
#[derive(Clone, Copy)]
struct Broadcast<'a> {
    table: &'a Twiddles,
    block: usize,
}

impl<V: Lanes> Source<V> for Broadcast<'_> {
    #[inline(always)]
    unsafe fn get(self, i: usize) -> (V, V, V) {
        let layer = (i + 1).ilog2();
        // Block b of layer m is entry m + b; its descendants s layers on begin at (m + b) 2^s.
        let at = (self.block << layer) + (i + 1 - (1 << layer));
        // SAFETY: block is below 32 and layer below 4, so at is below 256.
        unsafe { self.table.broadcast(at) }
    }
}

impl Twiddles {
    /// A factor in all lanes, as `Source::get`.
    ///
    /// # Safety
    /// `at` is below 256.
    #[inline(always)]
    unsafe fn broadcast<V: Lanes>(&self, at: usize) -> (V, V, V) {
        // SAFETY: the caller's promise.
        unsafe {
            let w = V::splat(*self.w.get_unchecked(at) as u32);
            let ws = V::splat(*self.ws.get_unchecked(at) as u32);
            (w, ws, ws)
        }
    }
}

/// The same for the inverse: the mirrored blocks' factors.
#[derive(Clone, Copy)]
struct Mirrored<'a> {
    table: &'a Twiddles,
    block: usize,
}

impl<V: Lanes> Source<V> for Mirrored<'_> {
    #[inline(always)]
    unsafe fn get(self, i: usize) -> (V, V, V) {
        let layer = (i + 1).ilog2();
        // The mirrored block's entry is 2m - 1 - b.
        let mirror = 3 * (1 << self.block.ilog2()) - 1 - self.block;
        let at = (mirror << layer) + ((2 << layer) - 1 - (i + 1));
        // SAFETY: as above.
        unsafe { self.table.broadcast(at) }
    }
}

/// A factor for each lane: the last four layers of 16 runs.
#[derive(Clone, Copy)]
struct Rows {
    w: *const i32,
    ws: *const i32,
}

impl Rows {
    #[inline(always)]
    fn new(tail: &[[[[i32; GROUPS]; 15]; GROUPS]; 2], group: usize, lane: usize) -> Self {
        let [w, ws] = tail;
        // SAFETY: group is below 16, lane below 16.
        unsafe {
            Self {
                w: w.get_unchecked(group).as_ptr().cast::<i32>().add(lane),
                ws: ws.get_unchecked(group).as_ptr().cast::<i32>().add(lane),
            }
        }
    }
}

impl<V: Lanes> Source<V> for Rows {
    #[inline(always)]
    unsafe fn get(self, i: usize) -> (V, V, V) {
        // SAFETY: rows of 16 words, of which this reads from `lane` on.
        unsafe {
            let w = V::load(self.w.add(GROUPS * i).cast());
            let ws = V::load(self.ws.add(GROUPS * i).cast());
            (w, ws, ws.odd())
        }
    }
}

/// One layer of (a, b) -> (a + w b, a - w b).
macro_rules! forward_layer {
    ($v:ident $source:ident $q:ident; $($a:literal $b:literal $t:literal),*) => {$({
        let (w, ws, ws_odd) = $source.get($t);
        let t = $v[$b].shoup(w, ws, ws_odd, $q);
        ($v[$a], $v[$b]) = ($v[$a].add(t), $v[$a].sub(t));
    })*};
}

/// One layer of (a, b) -> (a + b, (b - a) w).
macro_rules! inverse_layer {
    ($v:ident $source:ident $q:ident; $($a:literal $b:literal $t:literal),*) => {$({
        let (w, ws, ws_odd) = $source.get($t);
        let d = $v[$b].sub($v[$a]);
        $v[$a] = $v[$a].add($v[$b]);
        $v[$b] = d.shoup(w, ws, ws_odd, $q);
    })*};
}

/// Four forward layers.
///
/// # Safety
/// As `Source::get`.
#[inline(always)]
unsafe fn forward_four<V: Lanes, S: Source<V>>(v: &mut [V; 16], source: S, q: V) {
    // SAFETY: the caller's promise.
    unsafe {
        distance_8!(forward_layer v source q);
        distance_4!(forward_layer v source q);
        distance_2!(forward_layer v source q);
        distance_1!(forward_layer v source q);
    }
}

/// The first three of four inverse layers.
///
/// # Safety
/// As `Source::get`.
#[inline(always)]
unsafe fn inverse_three<V: Lanes, S: Source<V>>(v: &mut [V; 16], source: S, q: V) {
    // SAFETY: the caller's promise.
    unsafe {
        distance_1!(inverse_layer v source q);
        distance_2!(inverse_layer v source q);
        distance_4!(inverse_layer v source q);
    }
}

/// # Safety
/// 16 vectors, `stride` words apart, can be read.
#[inline(always)]
unsafe fn load<V: Lanes>(from: *const u32, stride: usize) -> [V; 16] {
    let mut v = [V::splat(0); 16];
    for (i, v) in v.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *v = unsafe { V::load(from.add(stride * i)) };
    }
    v
}

/// # Safety
/// 16 vectors, `stride` words apart, can be written.
#[inline(always)]
unsafe fn store<V: Lanes>(v: [V; 16], to: *mut u32, stride: usize) {
    for i in 0..16 {
        // SAFETY: the caller's promise.
        unsafe { v[i].store(to.add(stride * i)) };
    }
}

/// Runs `at` to `at + LANES` of a group, one in a row: vector LANES c + l is words LANES c .. of
/// run `at` + l.
///
/// # Safety
/// `group` points to a group, `at` + LANES is at most 16.
#[inline(always)]
unsafe fn load_runs<V: Lanes>(group: *const u32, at: usize) -> [V; 16] {
    let mut v = [V::splat(0); 16];
    for (i, v) in v.iter_mut().enumerate() {
        let (c, l) = (i / V::LANES, i % V::LANES);
        // SAFETY: the caller's promise.
        *v = unsafe { V::load(group.add(16 * (at + l) + V::LANES * c)) };
    }
    v
}

/// # Safety
/// As [`load_runs`].
#[inline(always)]
unsafe fn store_runs<V: Lanes>(v: [V; 16], group: *mut u32, at: usize) {
    for i in 0..16 {
        let (c, l) = (i / V::LANES, i % V::LANES);
        // SAFETY: the caller's promise.
        unsafe { v[i].store(group.add(16 * (at + l) + V::LANES * c)) };
    }
}

/// A group on its way between columns and runs, where the registers do not hold all of it.
#[repr(align(64))]
struct Group(MaybeUninit<[u32; GROUP]>);

#[inline(always)]
pub(crate) fn forward<V: Lanes>(x: &mut Limb, plan: &Plan) {
    forward_then::<V>(x, None, plan);
}

#[inline(always)]
pub(crate) fn forward_mul_acc<V: Lanes>(x: &mut Limb, a: &Limb, b: &Limb, plan: &Plan) {
    forward_then::<V>(x, Some((a, b)), plan);
}

/// x = its transform, plus a b 2^-32 if there is such a product.
#[inline(always)]
fn forward_then<V: Lanes>(x: &mut Limb, product: Option<(&Limb, &Limb)>, plan: &Plan) {
    let table = plan.twiddles;
    let q = V::splat(plan.prime.q());
    let inverse = V::splat(plan.prime.qinv());
    let bits = plan.prime.bits();
    let x = x.as_mut_ptr();
    let mut buffer = Group(MaybeUninit::uninit());
    let runs = buffer.0.as_mut_ptr().cast::<u32>();
    // SAFETY: columns and groups tile the limb: 256 i + column + LANES <= N and 256 group + 256 <= N;
    // the buffer is written in full before it is read.
    unsafe {
        for column in (0..GROUP).step_by(V::LANES) {
            let mut v = load::<V>(x.add(column), GROUP);
            forward_four(&mut v, Broadcast { table, block: 1 }, q);
            store(v, x.add(column), GROUP);
        }
        for group in 0..GROUPS {
            let at = GROUP * group;
            let x = x.add(at);
            let source = Broadcast { table, block: GROUPS + group };
            let factors = product.map(|(a, b)| (a.as_ptr().add(at), b.as_ptr().add(at)));
            let end = End { x, factors, table, group, q, inverse, bits };
            if V::LANES == 16 {
                let mut v = load::<V>(x, 16);
                forward_four(&mut v, source, q);
                end.finish(v, 0);
                continue;
            }
            for column in (0..16).step_by(V::LANES) {
                let mut v = load::<V>(x.add(column), 16);
                forward_four(&mut v, source, q);
                store(v, runs.add(column), 16);
            }
            for run in (0..16).step_by(V::LANES) {
                end.finish(load_runs::<V>(runs, run), run);
            }
        }
        if V::LANES < 16 {
            wipe(buffer.0.assume_init_mut());
        }
    }
}

/// The end of a group's forward transform.
struct End<'a, V> {
    x: *mut u32,
    /// The same group of two factors, whose product is added.
    factors: Option<(*const u32, *const u32)>,
    table: &'a Twiddles,
    group: usize,
    q: V,
    inverse: V,
    bits: u32,
}

impl<V: Lanes> End<'_, V> {
    /// The last four forward layers of LANES runs.
    ///
    /// # Safety
    /// The pointers point to groups; `run` + LANES is at most 16.
    #[inline(always)]
    unsafe fn finish(&self, v: [V; 16], run: usize) {
        let mut v = V::transpose(v);
        // SAFETY: the caller's promise.
        unsafe {
            forward_four(&mut v, Rows::new(&self.table.tail, self.group, run), self.q);
            if let Some((a, b)) = self.factors {
                sixteen!(I => {
                    let (a, b) = (V::load(a.add(16 * I + run)), V::load(b.add(16 * I + run)));
                    v[I] = v[I].add(a.montgomery(b, self.q, self.inverse));
                });
            }
            sixteen!(I => v[I] = lift(centre(v[I], self.q, self.bits), self.q));
            store(v, self.x.add(run), 16);
        }
    }
}

#[inline(always)]
pub(crate) fn inverse<V: Lanes>(x: &mut Limb, plan: &Plan) {
    let table = plan.twiddles;
    let q = V::splat(plan.prime.q());
    let bits = plan.prime.bits();
    let x = x.as_mut_ptr();
    let mut buffer = Group(MaybeUninit::uninit());
    let runs = buffer.0.as_mut_ptr().cast::<u32>();
    // SAFETY: as in `forward`.
    unsafe {
        for group in 0..GROUPS {
            let x = x.add(GROUP * group);
            let source = Mirrored { table, block: GROUPS + group };
            if V::LANES == 16 {
                let v = begin::<V>(x, table, group, 0, q, bits);
                store(inverse_middle(v, source, q, bits), x, 16);
                continue;
            }
            for run in (0..16).step_by(V::LANES) {
                store_runs(begin::<V>(x, table, group, run, q, bits), runs, run);
            }
            for column in (0..16).step_by(V::LANES) {
                let v = load::<V>(runs.add(column), 16);
                store(inverse_middle(v, source, q, bits), x.add(column), 16);
            }
        }
        let source = Mirrored { table, block: 1 };
        let (n, ns) = (V::splat(table.n_inv[0] as u32), V::splat(table.n_inv[1] as u32));
        let (w, ws) = (V::splat(table.w_last[0] as u32), V::splat(table.w_last[1] as u32));
        for column in (0..GROUP).step_by(V::LANES) {
            let mut v = load::<V>(x.add(column), GROUP);
            inverse_three(&mut v, source, q);
            (v[0], v[8]) = (centre(v[0], q, bits), centre(v[8], q, bits));
            for i in 0..8 {
                let (sum, difference) = (v[i].add(v[i + 8]), v[i + 8].sub(v[i]));
                v[i] = canonical(sum.shoup(n, ns, ns, q), q);
                v[i + 8] = canonical(difference.shoup(w, ws, ws, q), q);
            }
            store(v, x.add(column), GROUP);
        }
        if V::LANES < 16 {
            wipe(buffer.0.assume_init_mut());
        }
    }
}

/// The first four inverse layers of LANES runs, turned back into rows.
///
/// # Safety
/// As `End::finish`.
#[inline(always)]
unsafe fn begin<V: Lanes>(
    x: *const u32,
    table: &Twiddles,
    group: usize,
    run: usize,
    q: V,
    bits: u32,
) -> [V; 16] {
    // SAFETY: the caller's promise.
    unsafe {
        let source = Rows::new(&table.inverse_tail, group, run);
        V::transpose(inverse_middle(load::<V>(x.add(run), 16), source, q, bits))
    }
}

/// Four inverse layers on words below 7q/5, and the results brought below that again.
///
/// # Safety
/// As `Source::get`.
#[inline(always)]
unsafe fn inverse_middle<V: Lanes, S: Source<V>>(
    mut v: [V; 16],
    source: S,
    q: V,
    bits: u32,
) -> [V; 16] {
    // SAFETY: the caller's promise.
    unsafe {
        inverse_three(&mut v, source, q);
        (v[0], v[8]) = (centre(v[0], q, bits), centre(v[8], q, bits));
        let v = &mut v;
        distance_8!(inverse_layer v source q);
    }
    for i in 1..8 {
        v[i] = centre(v[i], q, bits);
    }
    v
}
