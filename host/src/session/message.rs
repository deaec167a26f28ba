//! The handshake's messages as bytes: fixed fields back to back, integers little-endian, what is long and of
//! open length last. Each begins with its type and the version, 1; what is sealed stands in {}.
//!
//! | message | bytes |
//! |---|---|
//! | [`Hello`] | 34: 1, version; client nonce (32) |
//! | [`Offer`] | 1,226, and a certificate of 21,190 to 21,382: 2, version; server nonce (32), epochs (4, 4), key (1,184) |
//! | [`Begin`] | 6,372, and what is presented, at most 64 KiB: 3, version; ciphertext (1,088), {[`Login`]}, tag |
//! | [`Login`] | client version (4), device's key (1,952), signature (3,309), 0 or 1 for fingerprint or proof, its bytes |
//! | [`ask`] | 18: 4, version; {}, tag |
//! | [`prove`] | 18, and a proof, at most 64 KiB: 5, version; {proof}, tag |
//! | [`Welcome`] | 206: 6, version; {session (8), milliseconds left (4), epochs (4, 4), limits (4, 4), ticket (160)}, tag |
//! | [`Resume`] | 238: 7, version; client nonce (32), client version (4), epochs (4, 4), ticket (160), binder (32) |
//! | [`Resumed`] | 198: 8, version; server nonce (16), {milliseconds left (4), ticket (160)}, tag |
//! | [`refused`] | 3: 9, version; [`Refusal`]'s code |
//!
//! Epochs are the policy's, then the identities'; a tag has 16 bytes.

use super::seal::TAG;
use super::ticket::TICKET_SIZE;
use super::{MAX_PRESENTED, Refusal, VERSION};
use symbolon_core::attest::{Certificate, Digest, mldsa};
use symbolon_core::kem::{CIPHERTEXT_SIZE, ENCAPSULATION_KEY_SIZE};

const HELLO: u8 = 1;
const OFFER: u8 = 2;
const BEGIN: u8 = 3;
const ASK: u8 = 4;
const PROVE: u8 = 5;
const WELCOME: u8 = 6;
const RESUME: u8 = 7;
const RESUMED: u8 = 8;
const REFUSED: u8 = 9;
pub(super) const RECORD: u8 = 10;

/// Bytes of type and version.
pub(super) const HEAD: usize = 2;
/// Encoded size of a [`Hello`].
pub const HELLO_SIZE: usize = HEAD + 32;
/// Encoded size of an [`Offer`] without its certificate.
pub const OFFER_SIZE: usize = HEAD + 32 + 4 + 4 + ENCAPSULATION_KEY_SIZE;
/// Of a [`Begin`] what is not sealed.
pub(super) const BEGIN_HEAD: usize = HEAD + CIPHERTEXT_SIZE;
/// Encoded size of a [`Login`] without what is presented.
const LOGIN_SIZE: usize = 4 + mldsa::PUBLIC_KEY_SIZE + mldsa::SIGNATURE_SIZE + 1;
/// Encoded size of a [`Begin`] that presents nothing.
pub const BEGIN_SIZE: usize = BEGIN_HEAD + LOGIN_SIZE + TAG;
/// Encoded size of an [`ask`], and of a [`prove`] without its proof.
pub const ASK_SIZE: usize = HEAD + TAG;
const WELCOME_TEXT: usize = 8 + 5 * 4 + TICKET_SIZE;
/// Encoded size of a [`Welcome`].
pub const WELCOME_SIZE: usize = HEAD + WELCOME_TEXT + TAG;
/// Of a [`Resume`] what its binder is over.
pub(super) const RESUME_BOUND: usize = HEAD + 32 + 3 * 4 + TICKET_SIZE;
/// Encoded size of a [`Resume`].
pub const RESUME_SIZE: usize = RESUME_BOUND + 32;
/// Of a [`Resumed`] what is not sealed.
pub(super) const RESUMED_HEAD: usize = HEAD + 16;
/// Encoded size of a [`Resumed`].
pub const RESUMED_SIZE: usize = RESUMED_HEAD + 4 + TICKET_SIZE + TAG;
/// Encoded size of a [`refused`].
pub const REFUSED_SIZE: usize = HEAD + 1;

/// The most bytes of any message or record, for those who read them off a stream.
pub const MAX_MESSAGE: usize = BEGIN_SIZE + MAX_PRESENTED;

/// Takes fixed-size fields off the front.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// What follows the head of a message of this type. A refusal in its place is one.
    fn of(kind: u8, message: &'a [u8]) -> Result<Self, Refusal> {
        let (&[found, version], rest) = message.split_first_chunk().ok_or(Refusal::Malformed)?;
        if version != VERSION {
            return Err(Refusal::Version);
        }
        if found == REFUSED && kind != REFUSED {
            return Err(read_refused(message).unwrap_or(Refusal::Malformed));
        }
        if found == kind { Ok(Self(rest)) } else { Err(Refusal::Malformed) }
    }

    fn take<const N: usize>(&mut self) -> Result<&'a [u8; N], Refusal> {
        let (field, rest) = self.0.split_first_chunk().ok_or(Refusal::Malformed)?;
        self.0 = rest;
        Ok(field)
    }

    fn u32(&mut self) -> Result<u32, Refusal> {
        self.take().map(|bytes| u32::from_le_bytes(*bytes))
    }

    fn end(self) -> Result<(), Refusal> {
        if self.0.is_empty() { Ok(()) } else { Err(Refusal::Malformed) }
    }
}

/// Fields back to back; their lengths add up to `N`.
#[inline]
pub(super) fn concat<const N: usize>(fields: &[&[u8]]) -> [u8; N] {
    let mut out = [0; N];
    write(fields, &mut out);
    out
}

/// The same, in place.
#[inline]
pub(super) fn write(fields: &[&[u8]], out: &mut [u8]) {
    let mut at = 0;
    for field in fields {
        if let Some(place) = out.get_mut(at..at + field.len()) {
            place.copy_from_slice(field);
        }
        at += field.len();
    }
    debug_assert_eq!(at, out.len());
}

/// The client asks for a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Drawn by the client.
    pub nonce: [u8; 32],
}

impl Hello {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HELLO_SIZE] {
        concat(&[&[HELLO, VERSION], &self.nonce])
    }

    /// Inverse of [`encode`](Self::encode).
    ///
    /// # Errors
    /// As of all messages: [`Refusal::Malformed`], [`Refusal::Version`]; what a refusal says, where that is what came.
    pub fn decode(message: &[u8]) -> Result<Self, Refusal> {
        let mut fields = Fields::of(HELLO, message)?;
        let hello = Self { nonce: *fields.take()? };
        fields.end()?;
        Ok(hello)
    }
}

/// The server's key for this one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer<'a> {
    /// Drawn by the server.
    pub nonce: [u8; 32],
    /// The policy's epoch.
    pub policy_epoch: u32,
    /// The identities' epoch.
    pub identity_epoch: u32,
    /// ML-KEM-768.
    pub key: &'a [u8; ENCAPSULATION_KEY_SIZE],
    /// Of the key: a [`Certificate`].
    pub certificate: &'a [u8],
}

impl<'a> Offer<'a> {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [
            &[OFFER, VERSION],
            self.nonce.as_slice(),
            &self.policy_epoch.to_le_bytes(),
            &self.identity_epoch.to_le_bytes(),
            self.key,
            self.certificate,
        ]
        .concat()
    }

    /// Inverse of [`encode`](Self::encode). The certificate is well formed.
    ///
    /// # Errors
    /// As [`Hello::decode`].
    pub fn decode(message: &'a [u8]) -> Result<Self, Refusal> {
        let mut fields = Fields::of(OFFER, message)?;
        let offer = Self {
            nonce: *fields.take()?,
            policy_epoch: fields.u32()?,
            identity_epoch: fields.u32()?,
            key: fields.take()?,
            certificate: fields.0,
        };
        Certificate::decode_exact(offer.certificate).map_err(|_| Refusal::Malformed)?;
        Ok(offer)
    }
}

/// The client's half of the secret, and its [`Login`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Begin<'a> {
    /// For the key that was offered.
    pub ciphertext: &'a [u8; CIPHERTEXT_SIZE],
    /// A login, sealed, and its tag.
    pub sealed: &'a [u8],
}

impl<'a> Begin<'a> {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [&[BEGIN, VERSION], self.ciphertext.as_slice(), self.sealed].concat()
    }

    /// Inverse of [`encode`](Self::encode).
    ///
    /// # Errors
    /// As [`Hello::decode`].
    pub fn decode(message: &'a [u8]) -> Result<Self, Refusal> {
        let mut fields = Fields::of(BEGIN, message)?;
        let begin = Self { ciphertext: fields.take()?, sealed: fields.0 };
        let most = LOGIN_SIZE + MAX_PRESENTED + TAG;
        if !(LOGIN_SIZE + TAG..=most).contains(&begin.sealed.len()) {
            return Err(Refusal::Malformed);
        }
        Ok(begin)
    }
}

/// What a client shows of the person, opaque here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presented<'a> {
    /// A statement and the digest of a proof that was accepted before.
    Fingerprint(&'a [u8]),
    /// A proof.
    Proof(&'a [u8]),
}

impl<'a> Presented<'a> {
    /// 0 or 1, and the bytes.
    pub(super) fn parts(self) -> (u8, &'a [u8]) {
        match self {
            Self::Fingerprint(bytes) => (0, bytes),
            Self::Proof(bytes) => (1, bytes),
        }
    }
}

/// Who the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login<'a> {
    /// The client's version, to which the session is bound.
    pub version: u32,
    /// The device's public key, ML-DSA-65.
    pub device: &'a [u8; mldsa::PUBLIC_KEY_SIZE],
    /// The device's signature over the transcript and the rest of this.
    pub signature: &'a [u8; mldsa::SIGNATURE_SIZE],
    /// At most 64 KiB.
    pub presented: Presented<'a>,
}

impl<'a> Login<'a> {
    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, bytes) = self.presented.parts();
        let version = self.version.to_le_bytes();
        [&version, self.device.as_slice(), self.signature, &[kind], bytes].concat()
    }

    /// Inverse of [`encode`](Self::encode).
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn decode(text: &'a [u8]) -> Result<Self, Refusal> {
        let mut fields = Fields(text);
        let (version, device, signature) = (fields.u32()?, fields.take()?, fields.take()?);
        let presented = match *fields.take()? {
            [0] => Presented::Fingerprint(fields.0),
            [1] => Presented::Proof(fields.0),
            [_] => return Err(Refusal::Malformed),
        };
        if fields.0.len() > MAX_PRESENTED {
            return Err(Refusal::Malformed);
        }
        Ok(Self { version, device, signature, presented })
    }
}

/// The server does not know the fingerprint: a head, to be followed by the tag of nothing.
#[must_use]
pub const fn ask() -> [u8; HEAD] {
    [ASK, VERSION]
}

/// Whether the server asks for the proof, and the tag that says so.
///
/// # Errors
/// As [`Hello::decode`].
pub fn read_ask(message: &[u8]) -> Result<Option<&[u8; TAG]>, Refusal> {
    match Fields::of(ASK, message) {
        Ok(mut fields) => {
            let tag = fields.take()?;
            fields.end()?;
            Ok(Some(tag))
        }
        Err(Refusal::Malformed) => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// A head, to be followed by the proof, sealed.
#[must_use]
pub const fn prove() -> [u8; HEAD] {
    [PROVE, VERSION]
}

/// What is sealed in the message with the proof.
///
/// # Errors
/// As [`Hello::decode`].
pub fn read_prove(message: &[u8]) -> Result<&[u8], Refusal> {
    let fields = Fields::of(PROVE, message)?;
    if (TAG..=MAX_PRESENTED + TAG).contains(&fields.0.len()) {
        Ok(fields.0)
    } else {
        Err(Refusal::Malformed)
    }
}

/// A session's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome<'a> {
    /// The session.
    pub session: u64,
    /// Milliseconds until it is over, whatever is resumed.
    pub left_ms: u32,
    /// The policy's epoch.
    pub policy_epoch: u32,
    /// The identities' epoch.
    pub identity_epoch: u32,
    /// Bytes of the largest message of a record.
    pub max_record: u32,
    /// Records that a key serves for.
    pub max_records: u32,
    /// For the first resume.
    pub ticket: &'a [u8; TICKET_SIZE],
}

impl<'a> Welcome<'a> {
    /// What is not sealed.
    pub(super) const HEAD: [u8; HEAD] = [WELCOME, VERSION];

    /// Its bytes, before they are sealed.
    #[must_use]
    pub fn encode(&self) -> [u8; WELCOME_TEXT] {
        concat(&[
            &self.session.to_le_bytes(),
            &self.left_ms.to_le_bytes(),
            &self.policy_epoch.to_le_bytes(),
            &self.identity_epoch.to_le_bytes(),
            &self.max_record.to_le_bytes(),
            &self.max_records.to_le_bytes(),
            self.ticket,
        ])
    }

    /// Inverse of [`encode`](Self::encode).
    ///
    /// # Errors
    /// [`Refusal::Malformed`].
    pub fn decode(text: &'a [u8]) -> Result<Self, Refusal> {
        let mut fields = Fields(text);
        let welcome = Self {
            session: u64::from_le_bytes(*fields.take()?),
            left_ms: fields.u32()?,
            policy_epoch: fields.u32()?,
            identity_epoch: fields.u32()?,
            max_record: fields.u32()?,
            max_records: fields.u32()?,
            ticket: fields.take()?,
        };
        fields.end()?;
        Ok(welcome)
    }

    /// What is sealed in the message.
    ///
    /// # Errors
    /// As [`Hello::decode`].
    pub fn read(message: &[u8]) -> Result<&[u8; WELCOME_TEXT + TAG], Refusal> {
        let mut fields = Fields::of(WELCOME, message)?;
        let sealed = fields.take()?;
        fields.end()?;
        Ok(sealed)
    }
}

/// A ticket, and the proof that its sender holds the secret in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resume<'a> {
    /// Drawn by the client.
    pub nonce: &'a [u8; 32],
    /// The client's version.
    pub version: u32,
    /// The policy's epoch, as the client knows it.
    pub policy_epoch: u32,
    /// The identities' epoch, as the client knows it.
    pub identity_epoch: u32,
    /// The ticket.
    pub ticket: &'a [u8; TICKET_SIZE],
    /// Over all of these.
    pub binder: &'a [u8; 32],
}

impl<'a> Resume<'a> {
    /// Its bytes but for the binder.
    pub(super) fn bound(&self) -> [u8; RESUME_BOUND] {
        concat(&[
            &[RESUME, VERSION],
            self.nonce,
            &self.version.to_le_bytes(),
            &self.policy_epoch.to_le_bytes(),
            &self.identity_epoch.to_le_bytes(),
            self.ticket,
        ])
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; RESUME_SIZE] {
        concat(&[&self.bound(), self.binder])
    }

    /// What the binder is over: a message's bytes before it, and the device.
    pub(super) fn context(
        bound: &[u8; RESUME_BOUND],
        device: &Digest,
    ) -> [u8; RESUME_BOUND + size_of::<Digest>()] {
        concat(&[bound, device])
    }

    /// Inverse of [`encode`](Self::encode).
    ///
    /// # Errors
    /// As [`Hello::decode`].
    pub fn decode(message: &'a [u8]) -> Result<Self, Refusal> {
        let mut fields = Fields::of(RESUME, message)?;
        let resume = Self {
            nonce: fields.take()?,
            version: fields.u32()?,
            policy_epoch: fields.u32()?,
            identity_epoch: fields.u32()?,
            ticket: fields.take()?,
            binder: fields.take()?,
        };
        fields.end()?;
        Ok(resume)
    }
}

/// The session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resumed<'a> {
    /// Drawn by the server.
    pub nonce: &'a [u8; 16],
    /// Sealed: milliseconds left, and the next ticket; and the tag.
    pub sealed: &'a [u8; 4 + TICKET_SIZE + TAG],
}

impl<'a> Resumed<'a> {
    /// What is not sealed.
    pub(super) fn head(nonce: &[u8; 16]) -> [u8; RESUMED_HEAD] {
        concat(&[&[RESUMED, VERSION], nonce])
    }

    /// Its bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; RESUMED_SIZE] {
        concat(&[&Self::head(self.nonce), self.sealed])
    }

    /// Inverse of [`encode`](Self::encode).
    ///
    /// # Errors
    /// As [`Hello::decode`].
    pub fn decode(message: &'a [u8]) -> Result<Self, Refusal> {
        let mut fields = Fields::of(RESUMED, message)?;
        let resumed = Self { nonce: fields.take()?, sealed: fields.take()? };
        fields.end()?;
        Ok(resumed)
    }
}

/// A refusal as a message. It is not sealed, so anybody on the way can write one: that ends a handshake, which
/// cutting the line would too.
#[must_use]
pub const fn refused(refusal: Refusal) -> [u8; REFUSED_SIZE] {
    [REFUSED, VERSION, refusal.code()]
}

/// Inverse of [`refused`].
///
/// # Errors
/// As [`Hello::decode`].
pub fn read_refused(message: &[u8]) -> Result<Refusal, Refusal> {
    let mut fields = Fields::of(REFUSED, message)?;
    let [code] = *fields.take()?;
    fields.end()?;
    Refusal::from_code(code).ok_or(Refusal::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_those_of_the_table() {
        assert_eq!((HELLO_SIZE, OFFER_SIZE, BEGIN_SIZE, ASK_SIZE), (34, 1226, 6372, 18));
        assert_eq!((WELCOME_SIZE, RESUME_SIZE, RESUMED_SIZE, REFUSED_SIZE), (206, 238, 198, 3));
        assert_eq!((Certificate::MIN_SIZE, Certificate::MAX_SIZE), (21_190, 21_382));
    }

    #[test]
    fn a_refusal_says_so_in_place_of_any_message() {
        let message = refused(Refusal::Busy);
        assert_eq!(Hello::decode(&message), Err(Refusal::Busy));
        assert_eq!(Offer::decode(&message), Err(Refusal::Busy));
        assert_eq!(read_ask(&message), Err(Refusal::Busy));
        assert_eq!(read_refused(&message), Ok(Refusal::Busy));
        assert_eq!(read_refused(&[REFUSED, VERSION, 0]), Err(Refusal::Malformed));
        assert_eq!(read_refused(&[REFUSED, VERSION, 3, 0]), Err(Refusal::Malformed));
        assert_eq!(Hello::decode(&[REFUSED, VERSION, 0]), Err(Refusal::Malformed));
    }

    /// What is decoded encodes to the same bytes; a byte less or more, another type or version, does not decode.
    #[test]
    fn encodings_are_canonical() {
        let hello = Hello { nonce: [3; 32] }.encode();
        let resume: Vec<u8> = [RESUME, VERSION].into_iter().chain(0..236).collect();
        let resumed: Vec<u8> = [RESUMED, VERSION].into_iter().chain(0..196).collect();
        type Read = fn(&[u8]) -> Result<Vec<u8>, Refusal>;
        let cases: [(&[u8], Read); 3] = [
            (&hello, |m| Ok(Hello::decode(m)?.encode().to_vec())),
            (&resume, |m| Ok(Resume::decode(m)?.encode().to_vec())),
            (&resumed, |m| Ok(Resumed::decode(m)?.encode().to_vec())),
        ];
        for (bytes, read) in cases {
            assert_eq!(read(bytes).as_deref(), Ok(bytes));
            for size in 0..bytes.len() {
                assert!(read(&bytes[..size]).is_err(), "{size}");
            }
            assert_eq!(read(&[bytes, &[0]].concat()), Err(Refusal::Malformed));
            let mut other = bytes.to_vec();
            other[0] ^= 0x40;
            assert_eq!(read(&other), Err(Refusal::Malformed));
            let mut other = bytes.to_vec();
            other[1] = 2;
            assert_eq!(read(&other), Err(Refusal::Version));
        }
    }
}
