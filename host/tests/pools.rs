//! Supplies of keys: threads against an oracle, tiers, replenishers, and what is left in memory.

use bytemuck::Zeroable;
use rand_core::CryptoRng;
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use symbolon_core::Error;
use symbolon_core::pool::{Material, Miss};
use symbolon_host::pools::{Activity, Alert, Config, Desk, Failure, Key, Progress, Supply};
use symbolon_platform::locked::{OnFailure, Options};
use zeroize::Zeroize;

const DEGRADE: Options = Options { on_failure: OnFailure::Degrade, huge: false };
const PATTERN: usize = 32;

/// A numbered key whose bytes are a pattern: half a key would show, and so would a copy.
#[derive(Zeroable, Zeroize)]
#[repr(C)]
struct Marked {
    number: u64,
    pattern: [u8; PATTERN],
    again: u64,
}

/// Where keys of a test come from, and what goes wrong there.
struct Source {
    next: AtomicU64,
    masked: [u8; PATTERN],
    panics: AtomicU32,
    fails: AtomicU32,
    slow: AtomicU64,
    stall: AtomicBool,
    stalled: AtomicBool,
}

const MASK: u8 = 0x5a;

impl Source {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            next: AtomicU64::new(1),
            masked: symbolon_host::random::random().unwrap(),
            panics: AtomicU32::new(0),
            fails: AtomicU32::new(0),
            slow: AtomicU64::new(0),
            stall: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
        })
    }
}

fn take_one(of: &AtomicU32) -> bool {
    of.try_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Material for Marked {
    const NAME: &'static str = "marked";
    const MAX_USES: Option<u32> = None;
    const PUBLIC_SIZE: usize = 8;
    const SERIAL_SIZE: usize = 8 + PATTERN;
    type Maker<'m> = &'m Source;

    fn generate<R: CryptoRng + ?Sized>(
        &mut self,
        source: &mut &Source,
        _: &mut R,
    ) -> Result<(), Error> {
        assert_eq!((self.number, self.again), (0, 0), "an empty cell is wiped");
        self.number = source.next.fetch_add(1, Ordering::SeqCst);
        for (byte, masked) in self.pattern.iter_mut().zip(source.masked) {
            *byte = masked ^ MASK;
        }
        if source.stall.swap(false, Ordering::SeqCst) {
            source.stalled.store(true, Ordering::SeqCst);
            while source.stalled.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        thread::sleep(Duration::from_micros(source.slow.load(Ordering::SeqCst)));
        assert!(!take_one(&source.panics), "this generator panics on purpose");
        if take_one(&source.fails) {
            return Err(Error::Range);
        }
        self.again = self.number;
        Ok(())
    }

    fn public(&self, _: &mut &Source, out: &mut [u8]) -> Result<(), Error> {
        out.copy_from_slice(&self.number.to_le_bytes());
        Ok(())
    }

    fn serialise(&self, _: &mut &Source, out: &mut [u8]) -> Result<(), Error> {
        let (number, pattern) = out.split_at_mut(8);
        number.copy_from_slice(&self.number.to_le_bytes());
        pattern.copy_from_slice(&self.pattern);
        Ok(())
    }

    fn restore(&mut self, _: &mut &Source, bytes: &[u8]) -> Result<(), Error> {
        let (number, pattern) = bytes.split_first_chunk().ok_or(Error::Length)?;
        self.number = u64::from_le_bytes(*number);
        self.pattern.copy_from_slice(pattern);
        self.again = self.number;
        Ok(())
    }
}

struct Bench(Arc<Source>);

impl Desk<Marked> for Bench {
    fn maker(&mut self) -> &Source {
        &self.0
    }
}

fn config(shards: u32, hot: u32, warm: u32, cold: u32, replenishers: u32) -> Config {
    Config { shards, hot, warm, cold, replenishers, memory: DEGRADE, ..Config::of::<Marked>(1) }
}

fn start(source: &Arc<Source>, config: Config) -> Supply<Marked> {
    let source = Arc::clone(source);
    Supply::start(config, move || Ok(Bench(Arc::clone(&source)))).unwrap()
}

fn full(source: &Arc<Source>, config: Config) -> Supply<Marked> {
    let supply = start(source, config);
    supply.fill(&mut Bench(Arc::clone(source)), &mut |_| ()).unwrap();
    supply
}

/// Waits for what takes its time, however long that is on a busy machine.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(1));
    }
}

fn number(key: &Key<Marked>) -> u64 {
    assert_eq!(key.number, key.again, "half a key");
    assert_ne!(key.number, 0, "no key");
    key.number
}

#[test]
fn each_key_is_handed_out_once() {
    let source = Source::new();
    let supply = start(&source, config(2, 64, 32, 128, 2));
    let seen = Mutex::new(HashSet::new());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut desk = Bench(Arc::clone(&source));
                let mut own = Vec::new();
                for turn in 0..5_000 {
                    let key = match supply.acquire() {
                        Ok(key) => key,
                        Err(_) if turn % 2 == 0 => supply.acquire_or_make(&mut desk).unwrap(),
                        Err(_) => continue,
                    };
                    let shared = key.share().unwrap();
                    own.push(number(&key));
                    drop(key);
                    assert_eq!(
                        number(&shared),
                        own[own.len() - 1],
                        "until the last reference goes"
                    );
                }
                let mut seen = seen.lock().unwrap();
                for number in own {
                    assert!(seen.insert(number), "key {number} twice");
                }
            });
        }
    });
    let (seen, status) = (seen.into_inner().unwrap(), supply.status());
    assert!(seen.len() >= 10_000, "{}", seen.len());
    // On demand, a miss comes before.
    assert!(status.hits <= seen.len() as u64 && seen.len() as u64 <= status.hits + status.misses);
    println!("{status:?}");
    supply.shut_down(Duration::from_secs(60)).unwrap();
    assert_eq!(supply.acquire().unwrap_err(), Miss::Closed);
}

#[test]
fn the_home_shard_first_then_neighbours_then_warm() {
    let source = Source::new();
    let supply = full(&source, config(3, 6, 2, 0, 0));
    let keys: Vec<_> = (0..8).map(|_| supply.acquire().unwrap()).collect();
    let pools: Vec<_> = keys.iter().map(|key| key.id().0).collect();
    let home = pools[0];
    let (second, third) = ((home + 1) % 3, (home + 2) % 3);
    assert_eq!(pools, [home, home, second, second, third, third, 3, 3]);
    assert_eq!(supply.acquire().unwrap_err(), Miss::Dry);
    // Threads come from different homes.
    drop(keys);
    supply.fill(&mut Bench(Arc::clone(&source)), &mut |_| ()).unwrap();
    let homes: HashSet<_> = thread::scope(|scope| {
        let own = |_| scope.spawn(|| supply.acquire().unwrap().id().0);
        let threads: Vec<_> = (0..3).map(own).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(homes.len() > 1, "{homes:?}");
}

#[test]
fn who_finds_none_has_a_miss_and_may_make_one() {
    let source = Source::new();
    let supply = start(&source, config(1, 2, 1, 0, 0));
    let mut desk = Bench(Arc::clone(&source));
    assert_eq!(supply.acquire().unwrap_err(), Miss::Dry);
    let keys: Vec<_> = (0..3).map(|_| supply.acquire_or_make(&mut desk).unwrap()).collect();
    let numbers: HashSet<_> = keys.iter().map(number).collect();
    assert_eq!(numbers.len(), 3);
    assert!(matches!(supply.acquire_or_make(&mut desk), Err(Failure::NoRoom)));
    let status = supply.status();
    assert_eq!((status.hits, status.misses, status.hit_rate), (0, 5, 0.0));
    drop(keys);
    source.fails.store(1, Ordering::SeqCst);
    let failed = supply.acquire_or_make(&mut desk);
    assert!(matches!(failed, Err(Failure::Generator(Error::Range))));
    supply.shut_down(Duration::ZERO).unwrap();
    assert!(matches!(supply.acquire_or_make(&mut desk), Err(Failure::Closed)));
}

#[test]
fn filling_tells_how_far_it_is() {
    let source = Source::new();
    let supply = start(&source, config(2, 10, 5, 0, 0));
    let mut told = Vec::new();
    supply.fill(&mut Bench(Arc::clone(&source)), &mut |progress| told.push(progress)).unwrap();
    assert_eq!(told.first(), Some(&Progress { kind: "marked", made: 0, wanted: 15 }));
    assert_eq!(told.last(), Some(&Progress { kind: "marked", made: 15, wanted: 15 }));
    assert!(told.is_sorted_by_key(|progress| progress.made));
    let status = supply.status();
    assert_eq!((status.level, status.capacity, status.alert), (15, 15, None));
    assert_eq!(status.tiers.warm.unwrap().level, 5);
}

#[test]
fn replenishers_park_and_wake() {
    let source = Source::new();
    let supply = start(&source, config(2, 40, 20, 30, 2));
    let rests = || {
        let status = supply.status();
        let cold = status.tiers.cold.unwrap();
        let parked = status.replenishers.iter().all(|how| *how == Activity::Parked);
        status.level == status.high && cold.level == cold.capacity && parked
    };
    until("full and parked", rests);
    let made = supply.status().level + 30;
    for round in 0..3 {
        let taken: Vec<_> = (0..50).map(|_| supply.acquire().unwrap()).collect();
        assert_eq!(taken.iter().map(number).collect::<HashSet<_>>().len(), 50, "{round}");
        drop(taken);
        until("full and parked again", rests);
    }
    // All that was made is there, or was handed out: what went through the cold tier too. Two threads may
    // make a key each for its last place, and one key is for nothing.
    let next = source.next.load(Ordering::SeqCst) - 1;
    let expected = u64::from(made) + 150;
    assert!((expected..=expected + 4).contains(&next), "{next} made, {expected} accounted for");
    assert_eq!(supply.status().tiers.cold.unwrap().unreadable, 0);
}

/// Below the low watermark at full speed; above it, with rests three times as long as the work.
#[test]
fn above_the_low_watermark_they_take_their_time() {
    let source = Source::new();
    let supply = full(&source, config(1, 40, 0, 0, 1));
    until("parked", || supply.status().replenishers == [Activity::Parked]);
    let slow = Duration::from_millis(2);
    source.slow.store(slow.as_micros() as u64, Ordering::SeqCst);
    let keys: Vec<_> = (0..40).map(|_| supply.acquire().unwrap()).collect();
    assert_eq!(supply.status().alert, Some(Alert::BelowLow));
    drop(keys);
    until("above low", || supply.status().level >= 10);
    let begun = Instant::now();
    until("full", || supply.status().level == 40);
    // Sleeps are never shorter than asked for: 30 keys, of which one may have been begun.
    assert!(begun.elapsed() >= slow * 28 * 3, "{:?}", begun.elapsed());
}

#[test]
fn keys_of_all_tiers_expire() {
    let source = Source::new();
    let ttl = Duration::from_millis(800);
    let settings = Config { ttl: Some(ttl), ..config(2, 8, 4, 16, 1) };
    let supply = full(&source, settings);
    until("cold keys", || supply.status().tiers.cold.unwrap().level == 16);
    source.fails.store(u32::MAX, Ordering::SeqCst);
    // One may have been in the making.
    thread::sleep(Duration::from_millis(100));
    let last = source.next.load(Ordering::SeqCst);
    thread::sleep(ttl + Duration::from_millis(20));
    assert_eq!(supply.acquire().unwrap_err(), Miss::Dry);
    source.fails.store(0, Ordering::SeqCst);
    until("new keys", || supply.status().level == 12);
    let keys: Vec<_> = (0..12).filter_map(|_| supply.acquire().ok()).collect();
    assert!(!keys.is_empty() && keys.iter().all(|key| number(key) >= last), "{last}");
    assert!(supply.status().expired > 0);
}

/// Where keys are used more than once: no more often than they may be, and not at all after they were retired.
#[test]
fn keys_wear_out_and_are_retired() {
    let source = Source::new();
    let settings = Config { max_uses: NonZeroU32::new(3), ..config(1, 4, 0, 0, 0) };
    let supply = full(&source, settings);
    let mut uses = vec![0; 5];
    while let Ok(key) = supply.acquire() {
        uses[number(&key) as usize] += 1;
        if number(&key) == 2 {
            key.retire();
        }
    }
    assert_eq!(uses, [0, 3, 1, 3, 3]);
    supply.fill(&mut Bench(Arc::clone(&source)), &mut |_| ()).unwrap();
    assert_eq!(supply.flush(), 4);
    assert_eq!(supply.acquire().unwrap_err(), Miss::Dry);
}

#[test]
fn a_generator_that_panics_or_fails_is_tried_again() {
    let source = Source::new();
    source.panics.store(3, Ordering::SeqCst);
    source.fails.store(2, Ordering::SeqCst);
    let supply = start(&source, config(1, 16, 8, 0, 2));
    until("full all the same", || supply.status().level == 24);
    let status = supply.status();
    assert_eq!((status.panics, status.failures), (3, 2));
    let keys: Vec<_> = (0..24).map(|_| supply.acquire().unwrap()).collect();
    assert_eq!(keys.iter().map(number).collect::<HashSet<_>>().len(), 24);
}

#[test]
fn a_generator_that_hangs_holds_up_no_other() {
    let source = Source::new();
    source.stall.store(true, Ordering::SeqCst);
    let supply = start(&source, config(1, 16, 8, 0, 2));
    until("full but for one", || supply.status().level == 23);
    assert!(source.stalled.load(Ordering::SeqCst));
    let key = supply.acquire().unwrap();
    let remaining = supply.shut_down(Duration::from_millis(50)).unwrap_err();
    assert_eq!((remaining.cells, remaining.replenishers), (2, 1));
    assert_eq!(number(&key), key.number);
    drop(key);
    source.stalled.store(false, Ordering::SeqCst);
    supply.shut_down(Duration::from_secs(60)).unwrap();
    assert_eq!(supply.status().replenishers, [Activity::Ended; 2]);
}

/// Ten thousand keys, drained by two threads at full speed, and again when they have been made up for.
#[test]
fn a_burst_loses_no_key() {
    const CELLS: u32 = 10_000;
    let source = Source::new();
    let supply = full(&source, Config { ttl: None, ..config(2, CELLS, 0, 0, 0) });
    let mut seen = HashSet::new();
    let mut burst = |asks: usize| {
        let keys = thread::scope(|scope| {
            let drain = || {
                let got = (0..asks).filter_map(|_| supply.acquire().ok());
                got.map(|key| number(&key)).collect::<Vec<_>>()
            };
            [scope.spawn(drain), scope.spawn(drain)].map(|thread| thread.join().unwrap())
        });
        let before = seen.len();
        keys.into_iter()
            .flatten()
            .for_each(|number| assert!(seen.insert(number), "{number} twice"));
        seen.len() - before
    };
    // 12,000 asked for: 10,000 hits.
    assert_eq!(burst(6_000), CELLS as usize);
    let status = supply.status();
    assert_eq!((status.hits, status.misses, status.level), (10_000, 2_000, 0));
    assert!((status.hit_rate - 10.0 / 12.0).abs() < 1e-9);
    supply.fill(&mut Bench(Arc::clone(&source)), &mut |_| ()).unwrap();
    assert_eq!(supply.status().alert, Some(Alert::HitRate));
    assert_eq!(burst(5_000), CELLS as usize);
    let status = supply.status();
    assert_eq!((status.hits, status.misses), (20_000, 2_000));
    assert_eq!(seen, (1..=20_000).collect());
}

#[test]
fn a_status_is_json_without_keys() {
    let source = Source::new();
    let supply = full(&source, config(1, 8, 4, 8, 1));
    let key = supply.acquire().unwrap();
    assert!(!format!("{key:?}").contains("pattern"));
    let json = serde_json::to_value(supply.status()).unwrap();
    assert_eq!(json["kind"], "marked");
    assert_eq!(json["tiers"]["hot"]["leased"], 1);
    assert_eq!(json["protection"]["undumped"], cfg!(target_os = "linux"));
    assert!(json["replenishers"][0].is_string());
}

#[cfg(target_os = "linux")]
mod memory {
    use super::*;
    use symbolon_core::kem::mlkem::DecapsulationKey;
    use symbolon_platform::locked::Arena;
    use symbolon_platform::scan;

    /// A search sees the buffer of another.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    /// A thousand keys were made, used and wiped, in all tiers: no copy is left outside the pools, and none in
    /// them after the end.
    #[test]
    fn no_key_is_left_behind() {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
        let source = Source::new();
        let supply = start(&source, config(2, 64, 32, 64, 2));
        let mut desk = Bench(Arc::clone(&source));
        for turn in 0..1000 {
            let key = supply.acquire_or_make(&mut desk).unwrap();
            if turn % 3 == 0 {
                key.retire();
            }
        }
        until("full", || {
            let status = supply.status();
            status.level == 96 && status.tiers.cold.unwrap().level == 64
        });
        until("parked", || supply.status().replenishers == [Activity::Parked; 2]);
        let pools: Vec<_> = supply.addresses().collect();
        assert_eq!(scan::count(&source.masked, MASK, &[]).unwrap(), 96, "the search finds them");
        assert_eq!(scan::count(&source.masked, MASK, &pools).unwrap(), 0);

        let mut planted = supply.acquire().unwrap().pattern.to_vec();
        assert_eq!(scan::count(&source.masked, MASK, &pools).unwrap(), 1);
        planted.zeroize();
        supply.shut_down(Duration::from_secs(60)).unwrap();
        assert_eq!(scan::count(&source.masked, MASK, &[]).unwrap(), 0);
    }

    /// The same of a real kind: its secret's first bytes.
    #[test]
    fn no_decapsulation_key_is_left_behind() {
        let _alone = ONE_AT_A_TIME.lock().unwrap_or_else(|e| e.into_inner());
        let settings = Config {
            hot: 32,
            warm: 0,
            cold: 16,
            memory: DEGRADE,
            ..Config::of::<DecapsulationKey>(1)
        };
        let supply = Supply::<DecapsulationKey>::start(settings, || Ok(())).unwrap();
        let mut serial = Arena::new(DecapsulationKey::SERIAL_SIZE, DEGRADE).unwrap();
        let mut masked = Vec::new();
        for turn in 0..1000 {
            let key = supply.acquire_or_make(&mut ()).unwrap();
            if turn % 250 == 0 {
                let buffer = &mut serial.bytes_mut()[..DecapsulationKey::SERIAL_SIZE];
                key.serialise(&mut (), buffer).unwrap();
                masked.push(buffer[..PATTERN].iter().map(|byte| byte ^ MASK).collect::<Vec<u8>>());
            }
        }
        let last = supply.acquire_or_make(&mut ()).unwrap();
        last.serialise(&mut (), &mut serial.bytes_mut()[..DecapsulationKey::SERIAL_SIZE]).unwrap();
        let live: Vec<u8> = serial.bytes()[..PATTERN].iter().map(|byte| byte ^ MASK).collect();
        serial.wipe();
        for masked in &masked {
            assert_eq!(scan::count(masked, MASK, &[]).unwrap(), 0);
        }
        let pools: Vec<_> = supply.addresses().collect();
        assert_eq!(scan::count(&live, MASK, &[]).unwrap(), 1);
        assert_eq!(scan::count(&live, MASK, &pools).unwrap(), 0);
        drop(last);
        supply.shut_down(Duration::from_secs(60)).unwrap();
        assert_eq!(scan::count(&live, MASK, &[]).unwrap(), 0);
    }
}

mod certified {
    use super::*;
    use std::path::Path;
    use symbolon_core::attest::{
        Certificate, Error as AttestError, KeyId, Refill, Validity, Window,
    };
    use symbolon_core::kem::mlkem::DecapsulationKey;
    use symbolon_host::error::{Error as HostError, Kind, Result};
    use symbolon_host::keyring::Keyring;
    use symbolon_host::keys::{Deployment, SigningKeys, SigningSeeds};
    use symbolon_host::pools::{CertifiedSupply, SignRefill};
    use symbolon_host::signer::{SignWindow, SignatureSet};

    const KEM: &str = "ml-kem-768";

    fn keys() -> SigningKeys {
        let deployment = Deployment { id: [7; 16], epoch: 1 };
        SigningSeeds::draw(deployment, Validity::ALWAYS).unwrap().keys().unwrap()
    }

    fn config(hot: u32) -> Config {
        Config {
            shards: 2,
            hot,
            warm: 0,
            cold: 0,
            memory: DEGRADE,
            ..Config::of::<DecapsulationKey>(1)
        }
    }

    fn public(key: &DecapsulationKey) -> Vec<u8> {
        let mut out = vec![0; DecapsulationKey::PUBLIC_SIZE];
        key.public(&mut (), &mut out).unwrap();
        out
    }

    /// Every key comes with a certificate that a relying party verifies, for itself alone; refills are
    /// forgotten when their keys are gone.
    #[test]
    fn every_key_has_its_certificate() {
        let keys = Arc::new(keys());
        let ring = Keyring::parse(&keys.public(), Path::new("verify.key")).unwrap();
        let verify = &ring.find(&keys.id()).unwrap().keys;
        let supply =
            CertifiedSupply::<DecapsulationKey>::start(config(80), KEM, keys, || Ok(())).unwrap();
        until("full", || supply.status().level == 80);
        let held: Vec<_> = (0..80).map(|_| supply.acquire().unwrap()).collect();
        let mut seen = HashSet::new();
        for (i, key) in held.iter().enumerate() {
            let bytes = supply.certificate(key).unwrap().encode().unwrap();
            let certificate = Certificate::decode_exact(&bytes).unwrap();
            let refill = certificate.verify(KEM, &public(key), verify).unwrap();
            assert_eq!(refill.deployment, [7; 16]);
            assert!(seen.insert((refill.sequence, certificate.index)), "twice in one place");
            let other = &held[(i + 1) % 80];
            let wrong = certificate.verify(KEM, &public(other), verify);
            assert_eq!(wrong, Err(AttestError::WrongPath));
        }
        let refills: HashSet<_> = seen.iter().map(|(sequence, _)| sequence).collect();
        assert!(refills.len() <= 40, "one signature serves several: {}", refills.len());

        // Held keys keep theirs, however long; those that are gone do not.
        let begun = supply.status().window_s;
        until("swept twice", || supply.status().window_s >= begun + 2.5);
        assert!(held.iter().all(|key| supply.certificate(key).is_ok()));
        assert_eq!(supply.certified(), 80);
        drop(held);
        until("full again", || supply.status().level == 80);
        until("forgotten", || supply.certified() == 80);
        let key = supply.acquire().unwrap();
        let certificate = supply.certificate(&key).unwrap();
        assert!(certificate.borrowed().verify(KEM, &public(&key), verify).is_ok());
    }

    #[test]
    fn keys_made_on_demand_are_certified_too() {
        let keys = Arc::new(keys());
        let ring = Keyring::parse(&keys.public(), Path::new("verify.key")).unwrap();
        let verify = &ring.find(&keys.id()).unwrap().keys;
        let settings = Config { replenishers: 0, ..config(4) };
        let supply =
            CertifiedSupply::<DecapsulationKey>::start(settings, KEM, keys, || Ok(())).unwrap();
        let key = supply.acquire_or_make(&mut supply.desk(())).unwrap();
        let certificate = supply.certificate(&key).unwrap();
        assert!(certificate.borrowed().verify(KEM, &public(&key), verify).is_ok());
        // Made at a desk that does not certify.
        let plain = supply.acquire_or_make(&mut ()).unwrap();
        assert_eq!(supply.certificate(&plain).err().unwrap().kind(), Kind::Pool);
        supply.fill(&mut supply.desk(()), &mut |_| ()).unwrap();
        // The other two cells are in use.
        assert_eq!((supply.certified(), supply.status().level), (3, 2));
    }

    /// Whoever signs fails at first.
    struct Faulty(SigningKeys, AtomicU32);

    impl SignWindow for Faulty {
        fn id(&self) -> KeyId {
            self.0.id()
        }
        fn deployment(&self) -> [u8; 16] {
            self.0.deployment()
        }
        fn sign(&self, window: &Window, out: &mut SignatureSet) -> Result<f64> {
            self.0.sign(window, out)
        }
    }

    impl SignRefill for Faulty {
        fn sign_refill(&self, refill: &Refill, out: &mut SignatureSet) -> Result<f64> {
            if take_one(&self.1) {
                return Err(HostError::new(Kind::Signing, "on purpose"));
            }
            self.0.sign_refill(refill, out)
        }
    }

    #[test]
    fn no_key_is_handed_out_without_a_signature() {
        let faulty = Arc::new(Faulty(keys(), AtomicU32::new(3)));
        let supply =
            CertifiedSupply::<DecapsulationKey>::start(config(16), KEM, faulty, || Ok(())).unwrap();
        until("three failures", || {
            let status = supply.status();
            assert!(status.failures >= 3 || status.level == 0);
            status.failures == 3
        });
        until("full", || supply.status().level == 16);
        let key = supply.acquire().unwrap();
        assert!(supply.certificate(&key).is_ok());
    }

    #[test]
    fn settings_that_cannot_work_are_refused() {
        let cold = Config { cold: 4, ..config(4) };
        let refused =
            CertifiedSupply::<DecapsulationKey>::start(cold, KEM, Arc::new(keys()), || Ok(()));
        assert!(matches!(refused.err(), Some(Failure::Settings(_))));
    }
}
