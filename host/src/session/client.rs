//! The client's side: a device, and the deployment's public keys.

use super::channel::Channel;
use super::device::DeviceKey;
use super::handshake::{Handshake, Side};
use super::message::{
    BEGIN_HEAD, Begin, HEAD, Hello, Login, Offer, Presented, Resume, Resumed, Welcome, concat,
    prove, read_ask,
};
use super::schedule::{Label, Prf, Secret};
use super::server::{Epochs, KEY_KIND, ResumedKeys};
use super::table::SessionId;
use super::ticket::Held;
use super::{HELLO_SIZE, MAX_PRESENTED, RESUME_SIZE, Refusal};
use crate::error::{Error, Kind, Result};
use crate::families::mlkem::EncapsulationKey;
use crate::keyring::Keyring;
use crate::random::random;
use chacha20::ChaCha20Rng;
use rand_core::SeedableRng;
use std::fmt;
use std::time::Duration;
use symbolon_core::attest::family::wiping;
use symbolon_core::attest::mldsa::SIGNATURE_SIZE;
use symbolon_core::attest::{Certificate, Digest};
use symbolon_core::kem::{CIPHERTEXT_SIZE, Encapsulate, SECRET_SIZE};
use symbolon_platform::clock;
use zeroize::Zeroizing;

/// 64-bit words of stack to wipe after secrets were worked with.
const STACK: usize = 8 * 1024 / 8;
/// The same where a ciphertext and a signature are in the frame above those that have secrets.
const BEGIN_STACK: usize = 16 * 1024 / 8;

/// How far the server's clock may be ahead of ours.
const SKEW_MS: u64 = 5 * 60 * 1000;

/// Makes sessions with a deployment. A keyring that is kept from one to the next remembers what it verified last.
#[derive(Clone, Copy)]
pub struct Client<'a> {
    /// The device's key.
    pub device: &'a DeviceKey,
    /// The deployment's public keys, and which of them are revoked.
    pub keyring: &'a Keyring,
    /// The deployment that is meant.
    pub deployment: [u8; 16],
    /// This client's version, to which its sessions are bound.
    pub version: u32,
    /// The oldest key that is taken: what a server's supply holds its keys for, and an hour.
    pub max_key_age: Duration,
}

/// For [`Client::max_key_age`]: a supply holds its keys for a day.
pub const MAX_KEY_AGE: Duration = Duration::from_secs(25 * 60 * 60);

/// The server is to offer a key.
#[derive(Debug)]
pub struct Greeted {
    hello: [u8; HELLO_SIZE],
}

/// The server is to answer.
pub struct Begun {
    pub(super) handshake: Box<Handshake>,
    device: Digest,
    version: u32,
    epochs: Epochs,
}

/// What the server answered.
pub enum Next {
    /// It wants the proof.
    Ask(Asked),
    /// There is a session.
    Welcome(Resumption),
}

/// The server wants the proof.
pub struct Asked(Begun);

/// Of a session what it takes to go on with it, once.
pub struct Resumption {
    pub(super) held: Box<Held>,
    session: Option<SessionId>,
    device: Digest,
    version: u32,
    epochs: Epochs,
    left: Duration,
}

impl fmt::Debug for Resumption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resumption").field("left", &self.left).finish_non_exhaustive()
    }
}

/// The server is to answer a resume.
pub struct Resuming {
    next: Resumption,
    binder: [u8; 32],
}

fn refused(message: &str) -> Error {
    Error::new(Refusal::Certificate.kind(), message)
}

impl<'a> Client<'a> {
    /// A client with the deployment of the keyring's newest key set.
    ///
    /// Errors: `E-KEY-FILE` for an empty keyring.
    pub fn new(device: &'a DeviceKey, keyring: &'a Keyring, version: u32) -> Result<Self> {
        let newest = keyring.entries().last();
        let newest = newest.ok_or_else(|| Error::new(Kind::KeyFile, "the keyring is empty"))?;
        let deployment = newest.deployment.id;
        Ok(Self { device, keyring, deployment, version, max_key_age: MAX_KEY_AGE })
    }

    /// Writes a [`Hello`]. Errors: `E-ENTROPY`.
    pub fn hello(&self, out: &mut Vec<u8>) -> Result<Greeted> {
        let hello = Hello { nonce: random()? }.encode();
        *out = hello.to_vec();
        Ok(Greeted { hello })
    }

    /// Takes an [`Offer`] and, where its key is the deployment's, writes a [`Begin`].
    ///
    /// Errors: `E-SESSION` for what is no offer, or a refusal; for a key that is not certified, another
    /// deployment's, too old, or of signing keys that are revoked or not valid now; `E-ARGUMENT` for more than
    /// 64 KiB to present; `E-ENTROPY`, `E-SIGNING`.
    pub fn begin(
        &self,
        greeted: Greeted,
        message: &[u8],
        presented: Presented<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Begun> {
        wiping::<BEGIN_STACK, _>(|| self.answer(&greeted, message, presented, out))
    }

    fn answer(
        &self,
        greeted: &Greeted,
        message: &[u8],
        presented: Presented<'_>,
        out: &mut Vec<u8>,
    ) -> Result<Begun> {
        check_presented(presented.parts().1)?;
        let offer = Offer::decode(message)?;
        self.check(&offer, clock::unix_ms())?;
        let key = EncapsulationKey::decode(offer.key).map_err(|_| Refusal::Certificate)?;
        let mut rng = ChaCha20Rng::from_seed(*Zeroizing::new(random()?));
        let mut ciphertext = [0; CIPHERTEXT_SIZE];
        let mut shared = Zeroizing::new([0; SECRET_SIZE]);
        key.encapsulate(&mut rng, &mut ciphertext, &mut shared);

        let head = Begin { ciphertext: &ciphertext, sealed: &[] }.encode();
        debug_assert_eq!(head.len(), BEGIN_HEAD);
        let mut handshake = Handshake::new(&greeted.hello, message, &head, &shared);
        let (device, version) = (self.device, self.version);
        let mut signature = [0; SIGNATURE_SIZE];
        device.sign(handshake.transcript(), version, presented.parts(), &mut signature)?;
        let login = Login { version, device: device.public(), signature: &signature, presented };
        *out = handshake.say(Side::Client, &head, &mut login.encode())?;
        let epochs = Epochs { policy: offer.policy_epoch, identity: offer.identity_epoch };
        Ok(Begun { handshake, device: *device.digest(), version, epochs })
    }

    /// Whether the offered key is one that the deployment made for this, lately.
    fn check(&self, offer: &Offer<'_>, now_ms: u64) -> Result<()> {
        let certificate =
            Certificate::decode_exact(offer.certificate).map_err(|_| Refusal::Certificate)?;
        let refill = &certificate.refill;
        let entry = self
            .keyring
            .find(&refill.keys)
            .ok_or_else(|| refused("the server's key is certified by keys that are not known"))?;
        if [entry.deployment.id, refill.deployment] != [self.deployment; 2] {
            return Err(refused("the server's key is another deployment's"));
        }
        // A set that signs no more vouches no more for keys that were to be used at once.
        entry.keys.validity.check(now_ms).map_err(|e| refused(&e.to_string()))?;
        if refill.time_ms > now_ms.saturating_add(SKEW_MS) {
            return Err(refused("the server's key is from the future: whose clock is wrong?"));
        }
        let age = u128::from(now_ms.saturating_sub(refill.time_ms));
        if age > self.max_key_age.as_millis() {
            return Err(refused("the server's key is too old"));
        }
        let verified = certificate.verify(KEY_KIND, offer.key, &entry.keys);
        verified.map(drop).map_err(|e| refused(&e.to_string()))
    }
}

fn check_presented(bytes: &[u8]) -> Result<()> {
    if bytes.len() > MAX_PRESENTED {
        return Err(Error::new(Kind::Argument, "what is presented has more than 64 KiB"));
    }
    Ok(())
}

impl Begun {
    /// Takes the server's answer: a [`Welcome`], which fills the channel, or that it wants the proof.
    ///
    /// Errors: `E-SESSION` for anything else, and for a refusal.
    pub fn next(self, message: &[u8], channel: &mut Channel) -> Result<Next> {
        wiping::<STACK, _>(|| self.answered(message, channel))
    }

    fn answered(mut self, message: &[u8], channel: &mut Channel) -> Result<Next> {
        if read_ask(message)?.is_some() {
            self.handshake.hear(Side::Server, HEAD, message)?;
            return Ok(Next::Ask(Asked(self)));
        }
        Welcome::read(message)?;
        // Of what was said before it; what it says, it seals itself.
        let mut fresh = Channel::new();
        let mut secret = Secret::default();
        self.handshake.keys(Side::Client, &mut fresh, &mut secret);
        let text = self.handshake.hear(Side::Server, HEAD, message)?;
        let welcome = Welcome::decode(&text)?;
        let epochs = Epochs { policy: welcome.policy_epoch, identity: welcome.identity_epoch };
        if epochs != self.epochs {
            return Err(Refusal::Changed.into());
        }
        *channel = fresh;
        Ok(Next::Welcome(Resumption {
            held: Held::new(welcome.ticket, &secret),
            session: Some(SessionId::from_number(welcome.session)),
            device: self.device,
            version: self.version,
            epochs,
            left: Duration::from_millis(welcome.left_ms.into()),
        }))
    }
}

impl Asked {
    /// Writes the message with the proof. Errors: `E-ARGUMENT` for more than 64 KiB; `E-SESSION`.
    pub fn prove(mut self, proof: &[u8], out: &mut Vec<u8>) -> Result<Begun> {
        check_presented(proof)?;
        let mut proof = Zeroizing::new(proof.to_vec());
        *out = self.0.handshake.say(Side::Client, &prove(), &mut proof)?;
        Ok(self.0)
    }
}

impl Resumption {
    /// What is left of the session, counted from the message that brought this.
    #[must_use]
    pub fn left(&self) -> Duration {
        self.left
    }

    /// What the server calls the session, as far as it said.
    #[must_use]
    pub fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Writes a [`Resume`], and is used up by it: the ticket is good once.
    ///
    /// Errors: `E-ENTROPY`.
    pub fn resume(self, out: &mut [u8; RESUME_SIZE]) -> Result<Resuming> {
        wiping::<STACK, _>(|| self.ask(out))
    }

    fn ask(self, out: &mut [u8; RESUME_SIZE]) -> Result<Resuming> {
        let nonce = random()?;
        let mut binder = [0; 32];
        let resume = Resume {
            nonce: &nonce,
            version: self.version,
            policy_epoch: self.epochs.policy,
            identity_epoch: self.epochs.identity,
            ticket: &self.held.ticket,
            binder: &binder,
        };
        let bound = resume.bound();
        let prf = Prf::new(&self.held.secret);
        prf.expand(&Resume::context(&bound, &self.device), [(Label::Binder, &mut binder)]);
        *out = concat(&[&bound, &binder]);
        Ok(Resuming { next: self, binder })
    }
}

impl Resuming {
    /// Takes a [`Resumed`], which fills the channel, and gives what it takes for the next time.
    ///
    /// Errors: `E-SESSION`, or `E-TICKET` where that is what the server says: make a session anew.
    pub fn finish(self, message: &[u8], channel: &mut Channel) -> Result<Resumption> {
        wiping::<STACK, _>(|| self.finished(message, channel))
    }

    fn finished(mut self, message: &[u8], channel: &mut Channel) -> Result<Resumption> {
        let resumed = Resumed::decode(message)?;
        let mut keys = ResumedKeys::default();
        keys.derive(&Prf::new(&self.next.held.secret), &self.binder, resumed.nonce);
        let mut fresh = Channel::new();
        keys.start(Side::Client, &mut fresh);
        let mut text = *resumed.sealed;
        let half = fresh.halves().1.as_mut().ok_or(Refusal::Closed)?;
        let text = half.open(&Resumed::head(resumed.nonce), &mut text)?;
        let (left, ticket) = text.split_first_chunk::<4>().ok_or(Refusal::Malformed)?;
        self.next.held.ticket = *ticket.first_chunk().ok_or(Refusal::Malformed)?;
        self.next.held.secret.copy_from_slice(&*keys.resumption);
        self.next.left = Duration::from_millis(u32::from_le_bytes(*left).into());
        *channel = fresh;
        Ok(self.next)
    }
}
