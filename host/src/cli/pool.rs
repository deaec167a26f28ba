//! `symbolon pool`

use super::output::Output;
use super::status;
use crate::error::{Error, Kind, Result};
use crate::isa;
use crate::pools::sizing::{self, Config};
use crate::pools::trial::{self, Trial, Visitor, together};
use crate::pools::{Desk, Failure, Supply};
use crate::random::random;
use chacha20::ChaCha20Rng;
use clap::Subcommand;
use clap::builder::PossibleValuesParser;
use indicatif::ProgressBar;
use rand_core::SeedableRng;
use serde::Serialize;
use serde_json::json;
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::thread;
use std::time::{Duration, Instant};
use symbolon_core::pool::{KeyId, Material, Pool};
use symbolon_platform::clock::Stopwatch;
use symbolon_platform::locked::{self, OnFailure, Options};
use zeroize::Zeroizing;

/// Measure pools of keys made ahead, size them, and ask a running server how its own are.
///
/// A pool holds keys of one kind, ready to be taken, in memory that is locked where the system allows it;
/// threads behind it make up for what is taken. What a pool needs is known from two figures: how many keys are taken a second
/// at the peak, and for how long refilling may lag behind.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
// Each command's help stands at its arguments.
#[allow(missing_docs)]
enum Command {
    Bench(Bench),
    Size(Size),
    Status(status::Arguments),
}

/// Measure each kind of key on this machine: made when it is asked for, and ready in a pool.
///
/// Of each kind it makes a pool of --keys keys, looks whether a key does what it is for, and times:
///
/// made: a key made, with nothing ready; and how many a second, by one thread and by all
///
/// dry: nothing ready, the miss and the key made for it
///
/// cold: a sealed key, which may have been paged out, opened
///
/// taken: a key that was ready, and wiped as it may serve once
///
/// again: taken and given back, for kinds that may serve more than once; by one thread, and by all:
/// the time in which each has done one, so where threads do not disturb each other it is that of one
///
/// first use: taken, used once, wiped; what is held compact is expanded for it
///
/// a burst: all threads take --keys keys as fast as they can, while as many threads of low priority
/// refill the pool: how many keys were ready, how long it took, how long until the pool was full again; and
/// whether a key was lost or handed out twice, which would end it with E-MISMATCH
///
/// Taking a key that is ready is not making one: what a pool saves is waiting, not work. The bars have a
/// logarithmic scale.
///
/// --threads are the threads that take keys, and those that refill; by default one for each core.
///
/// Examples: `symbolon pool bench`; and for one kind what the vendor of another pool advises, 50,000 keys
/// and an alarm at 10,000: `symbolon pool bench --kind ml-kem-768-libcrux --keys 50000 --low 10000`.
#[derive(clap::Args)]
struct Bench {
    /// Only this kind; may be given several times. By default all.
    #[arg(long = "kind", value_name = "KIND", value_parser = PossibleValuesParser::new(trial::KINDS))]
    kinds: Vec<String>,
    /// Keys to hold. What does not fit into half of the memory that is free is cut down, with a warning.
    #[arg(long, value_name = "N", default_value_t = 128, value_parser = clap::value_parser!(u32).range(1..=i64::from(sizing::MOST)))]
    keys: u32,
    /// Below so many keys refilling is urgent: all threads refill, without a rest. By default a quarter.
    #[arg(long, value_name = "N")]
    low: Option<u32>,
    /// How long each figure is measured, above 0 and at most 60.
    #[arg(long, value_name = "S", default_value_t = 0.1)]
    seconds: f64,
    /// Stop where memory for keys cannot be locked; by default that is a warning.
    #[arg(long)]
    require_locked_memory: bool,
}

/// Say how many keys to hold, and whether this process may lock the memory for them.
///
/// As many as are taken in twice the interval at the peak rate: the interval may begin when the last one has
/// just ended. Take as the interval what refilling may lag behind: the longest burst, or the time in which
/// `symbolon pool bench` refills. Keys must be made as fast as they are taken on average, whatever a pool
/// holds.
///
/// Example: `symbolon pool size --peak 200 --interval 30 --kind ml-kem-768-libcrux`.
#[derive(clap::Args)]
struct Size {
    /// Keys taken a second, at the most.
    #[arg(long, value_name = "RATE")]
    peak: f64,
    /// Seconds for which refilling may lag behind.
    #[arg(long, value_name = "SECONDS")]
    interval: f64,
    /// Only this kind; may be given several times. By default all.
    #[arg(long = "kind", value_name = "KIND", value_parser = PossibleValuesParser::new(trial::KINDS))]
    kinds: Vec<String>,
}

pub fn run(arguments: &Arguments, output: &mut Output) -> Result<()> {
    match &arguments.command {
        Command::Bench(a) => bench(a, output),
        Command::Size(a) => size(a, output),
        Command::Status(a) => status::run(a, output),
    }
}

fn is_wanted(kinds: &[String], name: &str) -> bool {
    kinds.is_empty() || kinds.iter().any(|kind| kind == name)
}

/// A supply of so many keys in shards, for so many threads: no warm and no cold tier.
fn config<T: Material>(keys: u32, threads: usize) -> Config {
    let threads = u32::try_from(threads).unwrap_or(u32::MAX);
    // A shard of fewer than eight keys is soon empty.
    let shards = threads.clamp(1, (keys / 8).max(1));
    Config { shards, hot: keys, warm: 0, cold: 0, ..Config::of::<T>(1) }
}

/// What was measured of a kind. Times are medians; `null` where there is no such thing.
#[derive(Serialize)]
struct Figures {
    kind: &'static str,
    #[serde(rename = "use")]
    used_to: &'static str,
    keys: u32,
    low: u32,
    key_bytes: usize,
    memory_bytes: usize,
    locked: bool,
    direct_us: f64,
    made_per_s_one: f64,
    made_per_s_all: f64,
    taken_ns: f64,
    again_ns_one: Option<f64>,
    again_ns_all: Option<f64>,
    first_use_us: f64,
    dry_us: f64,
    cold_us: Option<f64>,
    burst: Burst,
}

#[derive(Serialize)]
struct Burst {
    asked: u32,
    hits: u32,
    hit_rate: f64,
    drain_us: f64,
    refill_ms: f64,
    lost: u32,
    doubled: u32,
}

fn bench(arguments: &Bench, output: &mut Output) -> Result<()> {
    let seconds = arguments.seconds;
    if !(seconds > 0.0 && seconds <= 60.0) {
        return Err(Error::new(Kind::Argument, "--seconds takes a number above 0, at most 60"));
    }
    if arguments.low.is_some_and(|low| low > arguments.keys) {
        return Err(Error::new(Kind::Argument, "--low is more than --keys"));
    }
    let kernels = isa::kernels()?;
    let count = trial::KINDS.iter().filter(|kind| is_wanted(&arguments.kinds, kind)).count();
    let mut measuring = Measuring {
        arguments,
        threads: rayon::current_num_threads(),
        output,
        bar: output.progress("pools", count * STEPS),
        figures: Vec::new(),
        degraded: None,
    };
    trial::each(kernels, |name| is_wanted(&arguments.kinds, name), &mut measuring)?;
    let Measuring { threads, bar, figures, degraded, .. } = measuring;
    bar.finish_and_clear();
    if let Some(reason) = degraded {
        output.warn(&format!("keys are in memory that is not protected: {reason}"));
    }
    if output.is_json() {
        let all = json!({ "isa": kernels.isa(), "threads": threads, "kinds": figures });
        output.line(all.to_string())?;
    } else {
        print(&figures, threads, kernels.isa(), output)?;
    }
    let bad = figures.iter().find(|f| f.burst.lost + f.burst.doubled > 0);
    bad.map_or(Ok(()), |f| {
        let Burst { lost, doubled, .. } = f.burst;
        let message = format!("{}: {lost} keys lost, {doubled} handed out twice", f.kind);
        Err(Error::new(Kind::Mismatch, message))
    })
}

/// What the progress bar counts of each kind.
const STEPS: usize = 7;
/// Keys of the pool that times are taken of; the burst has all that were asked for.
const FEW: u32 = 256;
/// Sealed keys that are opened.
const SEALED: u32 = 16;
/// Takings that are timed together.
const TOGETHER: u32 = 1000;
/// How long a burst's refilling is waited for, at the least.
const PATIENCE: Duration = Duration::from_secs(10);

struct Measuring<'a> {
    arguments: &'a Bench,
    threads: usize,
    output: &'a Output,
    bar: ProgressBar,
    figures: Vec<Figures>,
    degraded: Option<String>,
}

impl Visitor for Measuring<'_> {
    fn visit<T: Material, D: Trial<T>>(
        &mut self,
        desk: impl Fn() -> std::result::Result<D, Failure> + Clone + Send + Sync + 'static,
    ) -> Result<()> {
        self.bar.set_message(T::NAME);
        let keys = self.affordable::<T>()?;
        let mut own = desk()?;
        let (direct_us, made_per_s_all) = self.making::<T, D>(&mut own, &desk)?;
        // One for each thread at least, or some would find none.
        let few = keys.min(FEW).max(u32::try_from(self.threads).unwrap_or(u32::MAX));
        let config = Config { max_uses: None, ..self.settings::<T>(few) };
        let supply = Supply::<T>::start(config, desk.clone())?;
        check(&supply, &mut own)?;
        supply.fill(&mut own, &mut |_| ())?;
        let again = if T::MAX_USES.is_none() { Some(self.again(&supply)?) } else { None };
        self.bar.inc(1);
        let first_use_us = self.first_use(&supply, &mut own)?;
        self.bar.inc(1);
        supply.fill(&mut own, &mut |_| ())?;
        let taken_ns = drain(&supply);
        self.bar.inc(1);
        let dry_us = median(self.arguments.seconds, || {
            supply.acquire_or_make(&mut own)?.retire();
            Ok(())
        })?;
        self.bar.inc(1);
        drop(supply);
        let cold_us = self.cold::<T, D>(&mut own, &desk)?;
        self.bar.inc(1);
        let replenishers = u32::try_from(self.threads).unwrap_or(u32::MAX);
        let config = Config {
            replenishers,
            low: self.arguments.low.map_or(25, |low| percent(low, self.arguments.keys)),
            ..self.settings::<T>(keys)
        };
        let supply = Supply::<T>::start(config, desk)?;
        supply.fill(&mut own, &mut |_| ())?;
        let status = supply.status();
        let burst = self.burst(&supply, status.high, direct_us)?;
        self.bar.inc(1);
        if let Some(reason) = status.protection.degraded {
            self.degraded.get_or_insert(reason);
        }
        self.figures.push(Figures {
            kind: T::NAME,
            used_to: D::USE,
            keys: status.high,
            low: status.low,
            key_bytes: size_of::<T>(),
            memory_bytes: status.protection.bytes,
            locked: status.protection.locked,
            direct_us,
            made_per_s_one: 1e6 / direct_us,
            made_per_s_all,
            taken_ns,
            again_ns_one: again.map(|(one, _)| one),
            again_ns_all: again.map(|(_, all)| all),
            first_use_us,
            dry_us,
            cold_us,
            burst,
        });
        Ok(())
    }
}

impl Measuring<'_> {
    /// As many keys as were asked for, or as fit.
    fn affordable<T: Material>(&self) -> Result<u32> {
        let (keys, cell) = (self.arguments.keys, Pool::<T>::CELL_SIZE as u64);
        let Some(free) = free_memory() else { return Ok(keys) };
        let most = u32::try_from(free / 2 / cell).unwrap_or(u32::MAX);
        if keys <= most {
            return Ok(keys);
        }
        let needed = mebibytes(u64::from(keys) * cell);
        let free = mebibytes(free);
        if most == 0 {
            let message = format!("{}: {needed} MiB for keys, and {free} are free", T::NAME);
            return Err(Error::new(Kind::Pool, message));
        }
        let message = format!(
            "{}: {keys} keys take {needed} MiB and {free} are free: {most} instead",
            T::NAME
        );
        self.bar.suspend(|| self.output.warn(&message));
        Ok(most)
    }

    /// A supply that nobody refills.
    fn settings<T: Material>(&self, keys: u32) -> Config {
        let refuse = self.arguments.require_locked_memory;
        let on_failure = if refuse { OnFailure::Refuse } else { OnFailure::Degrade };
        Config {
            replenishers: 0,
            memory: Options { on_failure, huge: false },
            max_uses: Some(NonZeroU32::MIN),
            ..config::<T>(keys, self.threads)
        }
    }

    /// Microseconds to make a key, and keys a second that all threads make.
    fn making<T: Material, D: Desk<T>>(
        &self,
        own: &mut D,
        desk: &(impl Fn() -> std::result::Result<D, Failure> + Sync),
    ) -> Result<(f64, f64)> {
        let seconds = self.arguments.seconds;
        let mut maker = Maker::<T>::new()?;
        let one = median(seconds, || maker.make(own))?;
        let (spent, made) = together(self.threads, |_| {
            let (mut desk, mut maker) = (desk()?, Maker::<T>::new()?);
            let (start, mut made) = (Instant::now(), 0u32);
            while made == 0 || start.elapsed().as_secs_f64() < seconds {
                maker.make(&mut desk)?;
                made += 1;
            }
            Ok(made)
        });
        let made: u32 = made.into_iter().sum::<Result<_>>()?;
        self.bar.inc(1);
        Ok((one, f64::from(made) / spent.as_secs_f64()))
    }

    /// Nanoseconds to take a key and to give it back, for one thread and for each of all.
    fn again<T: Material>(&self, supply: &Supply<T>) -> Result<(f64, f64)> {
        let each = || {
            for _ in 0..TOGETHER {
                drop(supply.acquire());
            }
        };
        let one = median(self.arguments.seconds, || {
            each();
            Ok(())
        })?;
        let rounds = (self.arguments.seconds * 1e6 / one).ceil().clamp(1.0, 1e6) as u32;
        let (spent, _) = together(self.threads, |_| (0..rounds).for_each(|_| each()));
        let each = 1e3 / f64::from(TOGETHER);
        Ok((one * each, spent.as_secs_f64() * 1e6 / f64::from(rounds) * each))
    }

    /// Microseconds to take a key, use it and have it wiped.
    fn first_use<T: Material, D: Trial<T>>(&self, supply: &Supply<T>, desk: &mut D) -> Result<f64> {
        let (start, mut times) = (Instant::now(), Vec::new());
        while start.elapsed().as_secs_f64() < self.arguments.seconds || times.is_empty() {
            let mut watch = Stopwatch::start();
            let Ok(mut key) = supply.acquire() else {
                supply.fill(desk, &mut |_| ())?;
                continue;
            };
            if let Some(key) = key.get_mut() {
                desk.spend(key)?;
            }
            key.retire();
            times.push(watch.lap());
        }
        Ok(middle(times))
    }

    /// Microseconds to open a sealed key, for kinds with a cold tier.
    fn cold<T: Material, D: Desk<T>>(
        &self,
        own: &mut D,
        desk: &(impl Fn() -> std::result::Result<D, Failure> + Clone + Send + Sync + 'static),
    ) -> Result<Option<f64>> {
        if Config::of::<T>(1).cold == 0 {
            return Ok(None);
        }
        let config = Config { cold: SEALED, shards: 1, ..self.settings::<T>(SEALED) };
        let supply = Supply::<T>::start(config, desk.clone())?;
        let spent = trial::promotion(&supply, own, SEALED)?;
        Ok(Some(spent.as_secs_f64() * 1e6 / f64::from(SEALED)))
    }

    /// All threads take `keys` keys together; then the pool fills again.
    fn burst<T: Material>(&self, supply: &Supply<T>, keys: u32, direct_us: f64) -> Result<Burst> {
        let threads = u32::try_from(self.threads).unwrap_or(u32::MAX);
        let (spent, taken) = together(self.threads, |at| {
            let share = keys / threads + u32::from((at as u32) < keys % threads);
            let mut ids: Vec<(usize, KeyId)> = Vec::with_capacity(share as usize);
            for _ in 0..share {
                if let Ok(key) = supply.acquire() {
                    ids.push(key.id());
                }
            }
            ids
        });
        let start = Instant::now();
        let hits = taken.iter().map(Vec::len).sum::<usize>() as u32;
        let unique = taken.iter().flatten().collect::<HashSet<_>>().len() as u32;
        // Between the watermarks a replenisher works a quarter of the time.
        let patience = PATIENCE + Duration::from_secs_f64(direct_us * 16e-6 * f64::from(keys));
        let mut status = supply.status();
        while status.level < keys && start.elapsed() < patience {
            thread::sleep(Duration::from_millis(1));
            status = supply.status();
        }
        Ok(Burst {
            asked: keys,
            hits,
            hit_rate: f64::from(hits) / f64::from(keys),
            drain_us: spent.as_secs_f64() * 1e6,
            refill_ms: start.elapsed().as_secs_f64() * 1e3,
            lost: keys.saturating_sub(status.level),
            doubled: hits - unique,
        })
    }
}

/// Looks whether a key does what it is for.
fn check<T: Material, D: Trial<T>>(supply: &Supply<T>, desk: &mut D) -> Result<()> {
    let mut key = supply.acquire_or_make(desk)?;
    let is_right = match key.get_mut() {
        Some(key) => desk.check(key)?,
        None => false,
    };
    if is_right {
        return Ok(());
    }
    Err(Error::new(Kind::Mismatch, format!("{}: a key does not {}", T::NAME, D::USE)))
}

/// A place where a thread makes keys, one over the other.
struct Maker<T> {
    key: Box<T>,
    rng: ChaCha20Rng,
}

impl<T: Material> Maker<T> {
    fn new() -> Result<Self> {
        let rng = ChaCha20Rng::from_seed(*Zeroizing::new(random()?));
        Ok(Self { key: bytemuck::zeroed_box(), rng })
    }

    fn make(&mut self, desk: &mut impl Desk<T>) -> Result<()> {
        let made = self.key.generate(&mut desk.maker(), &mut self.rng);
        made.map_err(|e| Failure::Generator(e).into())
    }
}

/// Nanoseconds to take a key and have it wiped, over all that a supply holds.
fn drain<T: Material>(supply: &Supply<T>) -> f64 {
    let (mut watch, mut taken) = (Stopwatch::start(), 0u32);
    while let Ok(key) = supply.acquire() {
        key.retire();
        taken += 1;
    }
    watch.lap() * 1e3 / f64::from(taken.max(1))
}

/// Median microseconds of a call, over so many seconds and three calls at least.
fn median(seconds: f64, mut call: impl FnMut() -> Result<()>) -> Result<f64> {
    let (start, mut times) = (Instant::now(), Vec::new());
    while times.len() < 3 || start.elapsed().as_secs_f64() < seconds {
        let mut watch = Stopwatch::start();
        call()?;
        times.push(watch.lap());
    }
    Ok(middle(times))
}

fn middle(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Hundredths, rounded up.
fn percent(part: u32, whole: u32) -> u32 {
    (u64::from(part) * 100).div_ceil(u64::from(whole.max(1))).min(100) as u32
}

/// Bytes that programs can still have without swapping, where the system says so.
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

fn mebibytes(bytes: u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

fn print(all: &[Figures], threads: usize, isa: &str, output: &mut Output) -> Result<()> {
    output.line(format!("{threads} threads, {isa} kernels; medians"))?;
    output.line("")?;
    output.line(format!(
        "{:<20} {:>8} {:>7} {:>9} {:>10} {:>10} {:>10} {:>10}",
        "keys made", "bytes", "KiB", "made us", "one/s", "all/s", "dry us", "cold us"
    ))?;
    for f in all {
        output.line(format!(
            "{:<20} {:>8} {:>7} {:>9.1} {:>10.0} {:>10.0} {:>10.1} {:>10}",
            f.kind,
            f.key_bytes,
            f.memory_bytes / 1024,
            f.direct_us,
            f.made_per_s_one,
            f.made_per_s_all,
            f.dry_us,
            optional(f.cold_us),
        ))?;
    }
    output.line("")?;
    output.line(format!(
        "{:<20} {:>9} {:>9} {:>9} {:>12}  {}",
        "keys ready", "taken ns", "again ns", "all", "first use us", "use"
    ))?;
    for f in all {
        output.line(format!(
            "{:<20} {:>9.0} {:>9} {:>9} {:>12.1}  {}",
            f.kind,
            f.taken_ns,
            optional(f.again_ns_one),
            optional(f.again_ns_all),
            f.first_use_us,
            f.used_to,
        ))?;
    }
    output.line("")?;
    output.line(format!(
        "{:<20} {:>8} {:>8} {:>8} {:>10} {:>10} {:>6} {:>8}",
        "a burst", "keys", "low", "ready", "taken us", "refill ms", "lost", "doubled"
    ))?;
    for Figures { kind, low, burst: b, .. } in all {
        output.line(format!(
            "{kind:<20} {:>8} {low:>8} {:>6.1} % {:>10.0} {:>10.1} {:>6} {:>8}",
            b.asked,
            b.hit_rate * 100.0,
            b.drain_us,
            b.refill_ms,
            b.lost,
            b.doubled,
        ))?;
    }
    output.line("")?;
    output
        .line("a key made when it is asked for, and one that was ready (each # is a third more)")?;
    let least = all.iter().map(|f| f.taken_ns).fold(f64::MAX, f64::min);
    for f in all {
        output.line(bar(f.kind, "made", f.direct_us * 1e3, least))?;
        output.line(bar("", "ready", f.taken_ns, least))?;
    }
    Ok(())
}

fn optional(value: Option<f64>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.1}"))
}

/// A row of the picture: as many marks as the time is powers of 4/3 above the least.
fn bar(kind: &str, what: &str, ns: f64, least: f64) -> String {
    let marks = ((ns / least).ln() / (4.0f64 / 3.0).ln()).round().clamp(0.0, 60.0) as usize;
    let time = match ns {
        ns if ns < 1e3 => format!("{ns:.0} ns"),
        ns if ns < 1e6 => format!("{:.1} us", ns / 1e3),
        ns => format!("{:.1} ms", ns / 1e6),
    };
    format!("{kind:<20} {what:<5} {} {time}", "#".repeat(marks + 1))
}

fn size(arguments: &Size, output: &mut Output) -> Result<()> {
    let positive = |name: &str, value: f64| {
        if value.is_finite() && value > 0.0 {
            return Ok(value);
        }
        Err(Error::new(Kind::Argument, format!("{name} takes a number above 0")))
    };
    let peak = positive("--peak", arguments.peak)?;
    // A year: Duration has an end.
    let interval = Duration::from_secs_f64(positive("--interval", arguments.interval)?.min(3.2e7));
    let mut sizes = Sizes { keys: sizing::capacity(peak, interval), kinds: Vec::new() };
    trial::each(isa::kernels()?, |name| is_wanted(&arguments.kinds, name), &mut sizes)?;
    let Sizes { keys, kinds } = sizes;
    let total: usize = kinds.iter().map(|(_, _, bytes)| *bytes).fold(0, usize::saturating_add);
    let is_lockable = |bytes: usize| locked::check_lockable(bytes);
    let limit = locked::memlock_limit();
    let advice = is_lockable(total).err().map(|error| error.to_string());
    if f64::from(keys) < peak * interval.as_secs_f64() * 2.0 {
        output.warn(&format!("a pool of {keys} keys is the largest that is advised"));
    }
    if output.is_json() {
        let kind = |(name, each, bytes): &(&str, usize, usize)| {
            json!({
                "kind": name, "key_bytes": each, "locked_bytes": bytes,
                "lockable": is_lockable(*bytes).is_ok(),
            })
        };
        let all = json!({
            "keys": keys,
            "low": keys.div_ceil(4),
            "kinds": kinds.iter().map(kind).collect::<Vec<_>>(),
            "locked_bytes": total,
            "memlock_limit": limit,
            "lockable": advice.is_none(),
            "advice": advice,
        });
        return output.line(all.to_string());
    }
    output
        .line(format!("{keys} keys of each kind, refilled urgently below {}", keys.div_ceil(4)))?;
    output.line("")?;
    output
        .line(format!("{:<20} {:>8} {:>12}  {}", "kind", "bytes", "locked KiB", "may be locked"))?;
    for (name, each, bytes) in &kinds {
        let may = if is_lockable(*bytes).is_ok() { "yes" } else { "no" };
        output.line(format!("{name:<20} {each:>8} {:>12}  {may}", bytes.div_ceil(1024)))?;
    }
    let may = if advice.is_none() { "yes" } else { "no" };
    output.line(format!("{:<20} {:>8} {:>12}  {may}", "together", "", total.div_ceil(1024)))?;
    output.line("")?;
    output.line(match limit {
        Some(limit) => format!("this process may lock {} KiB (`ulimit -l`)", limit / 1024),
        None => "this process may lock as much as it likes".to_owned(),
    })?;
    advice.map_or(Ok(()), |advice| output.line(advice))
}

/// The kinds, bytes of a key, and bytes to lock for so many.
struct Sizes {
    keys: u32,
    kinds: Vec<(&'static str, usize, usize)>,
}

impl Visitor for Sizes {
    fn visit<T: Material, D: Trial<T>>(
        &mut self,
        _: impl Fn() -> std::result::Result<D, Failure> + Clone + Send + Sync + 'static,
    ) -> Result<()> {
        let config = config::<T>(self.keys, rayon::current_num_threads());
        let bytes = config.locked::<T>();
        let too_many = || Error::new(Kind::Pool, format!("{}: no pool has so many keys", T::NAME));
        self.kinds.push((T::NAME, size_of::<T>(), bytes.ok_or_else(too_many)?));
        Ok(())
    }
}
