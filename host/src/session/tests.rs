//! What is seen only from within: other devices' binders, and secrets that should be gone.

use super::message::{Begin, RESUME_BOUND, Resume, concat};
use super::schedule::{Label, Prf};
use super::server::{Epochs, KEY_KIND};
use super::{
    Admit, Admitted, Begun, Channel, Client, DeviceKey, Next, Offered, Presented, RESUME_SIZE,
    RESUMED_SIZE, Refusal, Refused, Resumption, Server, Settings, Step,
};
use crate::families::mlkem::DecapsulationKey;
use crate::keyring::Keyring;
use crate::keys::{Deployment, SigningSeeds};
use crate::pools::{CertifiedSupply, Config};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use symbolon_core::attest::{Digest, Validity};
use symbolon_core::kem::Decapsulate;
use symbolon_platform::locked::{OnFailure, Options};
use zeroize::{Zeroize, Zeroizing};

const MEMORY: Options = Options { on_failure: OnFailure::Degrade, huge: false };
const EPOCHS: Epochs = Epochs { policy: 1, identity: 2 };

struct Everybody;

impl Admit for Everybody {
    fn admit(&self, _: &Digest, _: Presented<'_>) -> Result<Admitted, Refused> {
        Ok(Admitted {
            identity_epoch: EPOCHS.identity,
            lifetime: Duration::from_secs(60),
            evidence: [0xe1; 32],
        })
    }
}

struct World {
    server: Server,
    ring: Keyring,
    device: DeviceKey,
}

fn world(keys: u32) -> World {
    let deployment = Deployment { id: [7; 16], epoch: 1 };
    let signing = SigningSeeds::draw(deployment, Validity::ALWAYS).unwrap().keys().unwrap();
    let ring = Keyring::parse(&signing.public(), Path::new("verify.key")).unwrap();
    let config = Config::fixed::<DecapsulationKey>(keys, MEMORY);
    let supply = CertifiedSupply::start(config, KEY_KIND, Arc::new(signing), || Ok(())).unwrap();
    supply.fill(&mut supply.desk(()), &mut |_| ()).unwrap();
    let settings = Settings { memory: MEMORY, sessions: 8, ..Settings::default() };
    let server =
        Server::start([7; 16], Arc::new(supply), Arc::new(Everybody), EPOCHS, settings).unwrap();
    World { server, ring, device: DeviceKey::derive(&[1; 32]) }
}

impl World {
    fn session(&self) -> (Resumption, Channel, Channel) {
        self.session_seen(|_, _, _| ())
    }

    /// Shows what there is between the client's begin and the server's answer, and the begin.
    fn session_seen(
        &self,
        see: impl FnOnce(&Begun, &Offered<'_>, &[u8]),
    ) -> (Resumption, Channel, Channel) {
        let client = Client::new(&self.device, &self.ring, 1).unwrap();
        let (mut hello, mut offer, mut begin, mut answer) = (vec![], vec![], vec![], vec![]);
        let (mut here, mut there) = (Channel::new(), Channel::new());
        let greeted = client.hello(&mut hello).unwrap();
        let offered = self.server.offer(&hello, &mut offer).unwrap();
        let shown = Presented::Fingerprint(b"");
        let begun = client.begin(greeted, &offer, shown, &mut begin).unwrap();
        see(&begun, &offered, &begin);
        let step = offered.begin(&begin, &mut here, &mut answer).unwrap();
        assert!(matches!(step, Step::Welcome(_)));
        let Next::Welcome(next) = begun.next(&answer, &mut there).unwrap() else { panic!() };
        (next, here, there)
    }
}

/// A ticket and its secret in another device, or of another version or epoch, with a binder that says so.
#[test]
fn a_ticket_serves_its_own_device_and_version_alone() {
    let world = world(1);
    let (next, mut channel, _) = world.session();
    let ours = Resume {
        nonce: &[9; 32],
        version: 1,
        policy_epoch: 1,
        identity_epoch: 2,
        ticket: &next.held.ticket,
        binder: &[0; 32],
    };
    let mut answer = |resume: Resume<'_>, device: &Digest| {
        let bound = resume.bound();
        let mut binder = [0; 32];
        let prf = Prf::new(&next.held.secret);
        prf.expand(&Resume::context(&bound, device), [(Label::Binder, &mut binder)]);
        let message: [u8; RESUME_SIZE] = concat(&[&bound, &binder]);
        assert_eq!(bound.len(), RESUME_BOUND);
        world.server.resume(&message, &mut channel, &mut [0; RESUMED_SIZE]).err()
    };
    let device = world.device.digest();
    assert_eq!(answer(ours, &[1; 32]), Some(Refusal::Binder));
    assert_eq!(answer(Resume { version: 2, ..ours }, device), Some(Refusal::Client));
    assert_eq!(answer(Resume { policy_epoch: 2, ..ours }, device), Some(Refusal::Epoch));
    assert_eq!(answer(Resume { identity_epoch: 3, ..ours }, device), Some(Refusal::Epoch));
    assert_eq!(answer(ours, device), None, "and none of these has spent it");
}

/// Of a secret that both sides held, nothing is left when they are done with it.
#[cfg(target_os = "linux")]
#[test]
fn no_secret_is_left_behind() {
    use symbolon_platform::scan;
    const MASK: u8 = 0x5a;
    let masked = |secret: &[u8; 32]| secret.iter().map(|b| b ^ MASK).collect::<Vec<u8>>();
    let count = |masked: &[u8]| scan::count(masked, MASK, &[]).unwrap();
    let world = world(1);
    let mut secrets = Vec::new();
    let (next, mut here, mut there) = world.session_seen(|begun, offered, begin| {
        // ML-KEM's secret, which the key that is still there gives once more; and what the handshake keeps of it: the
        // state after the first half of an HMAC's key.
        let begin = Begin::decode(begin).unwrap();
        let mut shared = Zeroizing::new([0; 32]);
        offered.key.decapsulate(begin.ciphertext, &mut shared).unwrap();
        secrets.push(masked(&shared));
        assert!(count(&secrets[0]) > 0, "the search finds it");
        // Where it is: a move would leave a copy.
        shared.zeroize();
        assert_eq!(count(&secrets[0]), 0, "the client has it no more");
        let words = begun.handshake.secret.inner.iter();
        secrets.push(words.flat_map(|word| word.to_ne_bytes().map(|b| b ^ MASK)).collect());
        assert_eq!(count(&secrets[1]), 1, "the client has it in one place");
    });
    secrets.push(masked(&next.held.secret));
    assert!(count(&secrets[2]) > 0, "the search finds it");
    let mut next = Box::new(next);
    for _ in 0..3 {
        let (mut message, mut answer) = ([0; RESUME_SIZE], [0; RESUMED_SIZE]);
        let resuming = next.resume(&mut message).unwrap();
        world.server.resume(&message, &mut here, &mut answer).unwrap();
        next = Box::new(resuming.finish(&answer, &mut there).unwrap());
        secrets.push(masked(&next.held.secret));
    }
    drop((next, here, there));
    for (number, secret) in secrets.iter().enumerate() {
        assert_eq!(count(secret), 0, "secret {number}");
    }
}
