//! Sessions: a device and a deployment agree on keys, use them, and later go on where they left off.
//!
//! # A handshake
//!
//! ```text
//!  device (client)                                         deployment (server)
//!    hello: nonce                                34 B ->
//!                                             <- 22.5 KB   offer: nonce, epochs, ML-KEM-768 key of the pool,
//!                                                            its certificate
//!    [certificate verifies, key is young]
//!    begin: ciphertext,                          6.4 KB ->
//!      {version, device key, signature, identity}          [signature verifies; Admit]
//!                                             <-   18 B    ask: {}          only where the fingerprint
//!    prove: {proof}                     18 B + proof ->                      is not known
//!                                             <-  206 B    welcome: {session, limits, ticket}
//!    records {probe}, {answer}                 n + 18 B    both ways
//! ```
//!
//! What stands in {} is sealed with AES-256-GCM under keys of its direction. [`message`] has every byte; the key
//! schedule is HKDF with HMAC-SHA-256 over the whole transcript, every message in order.
//!
//! *The server* is who can answer: the key that it offers is certified by the deployment's three signature
//! families, serves one handshake, and is wiped. Only its holder computes the shared secret, so only he opens the
//! begin and seals a welcome that opens. No signature is made online, and none is needed: what a signature of the
//! transcript would add, that the signer was there, the key's single use says too. Whoever steals the long-term
//! keys can certify keys of his own and play the server from then on, until the set is revoked in the
//! client's keyring; sessions that were recorded he cannot read, whose keys are gone. Whoever steals a key out of
//! a pool can play the server in handshakes for as long as its certificate is [young](MAX_KEY_AGE), so the
//! client refuses old ones, and those of sets that may not sign now. The certificate does not say that its key
//! is unused: a server that keeps and reuses keys gives forward secrecy away, as one that writes down its
//! secrets does.
//!
//! *The client* is who holds the device's key (ML-DSA-65): it signs the transcript, which has the server's nonce
//! and key in it, so that a signature is good in one handshake. Device and identity are sealed, and to a
//! server that has been verified: who listens learns neither.
//!
//! *Both know that the other knows*: a begin that opens shows that the client has the secret, a welcome that opens
//! shows that the server has it, and both saw the same transcript, hellos and version included: who changes
//! a byte on the way, to have an older version spoken for instance, ends the handshake.
//!
//! *Identity* is opaque here, and up to [`Admit`]: the fingerprint of a proof that was accepted before, or a
//! proof. A fingerprint that is not known costs two messages more, and no second key.
//!
//! # A channel
//!
//! [`Channel`]: records of at most 64 KiB, in strict order, each direction with a key and a counter of its own. A
//! record that does not open closes it. 2^20 records a direction, enforced; who needs more resumes, which gives
//! fresh keys. A revoked session's channel goes on until its owner asks [`Server::holds`].
//!
//! # A resume
//!
//! ```text
//!    resume: nonce, version, epochs,              238 B ->
//!      ticket, binder                                      [ticket opens, binder fits, session holds; one
//!                                                            compare-exchange: used, and not revoked]
//!                                             <-  198 B    resumed: nonce, {time left, next ticket}
//! ```
//!
//! A ticket is the session's state sealed under a key that only the server has, and that is replaced every ten
//! minutes; the one before opens for ten more. It carries the session's place in a table, its end, the epochs, the
//! client's version, the device, what admitted it and a secret. The binder is a MAC, under a key of that secret, over the message and
//! the device. So a resume verifies that the session still holds, and nothing of identity, which
//! was judged when it was made: not expired, not revoked, same device, same client version, same policy epoch, same
//! identity epoch. A resume prolongs nothing.
//!
//! The table has one 64-bit word a session, generation and count. A ticket is good for one value of it, and to use
//! the ticket is to exchange that value for the next: one instruction is single use and revocation at once.
//! No lock, no allocation, no system call, no wait.
//!
//! *A ticket that comes back* is refused and counted ([`Counts::spent`]), and the session goes on. It may be a theft,
//! but it looks the same when an answer was lost, and when anybody who recorded a resume sends it once more: if it
//! ended the session, every bystander could end every session. A device whose ticket is spent makes a new
//! session; [`Server::revoke_device`] ends the others that it has.
//!
//! *What a resume does not have* is forward secrecy of its own: its keys come of the secret in the ticket and of
//! nonces that anybody saw. Whoever recorded a resume and gets the ticket key out of the server's memory within
//! the twenty minutes in which it exists reads that session's records from there on, and can resume it. Each
//! secret replaces the one before, one way, so what was said before the oldest ticket he can open stays closed.
//! A client who wants new forward secrecy makes a handshake: 0.15 ms of the server's.
//!
//! # What a resume takes
//!
//! `cargo xtask bench --filter session` has the times.
//!
//! # Refusals
//!
//! Everything that is refused is a [`Refusal`], one byte on the wire and `E-SESSION` or `E-TICKET` as an
//! [`Error`](crate::error::Error). What is said of a ticket beyond that it is none is said to its rightful sender
//! alone, since the binder is looked at first. Comparisons of MACs take constant time.
//!
//! # What was left out
//!
//! A client could name the refill whose signatures it has verified, and be sent 21 KB less. But a refill is 64 keys,
//! and after as many handshakes by others it is gone: who comes back sooner than that resumes. Verification is
//! remembered, by [`Keyring`](crate::keyring::Keyring).

mod admit;
mod channel;
mod client;
mod clock;
pub mod device;
pub mod frame;
mod generator;
mod handshake;
pub mod message;
mod refusal;
mod schedule;
mod seal;
mod server;
mod table;
#[cfg(test)]
mod tests;
mod ticket;

pub use admit::{Admit, Admitted, Refused};
pub use channel::{Channel, Kind, RECORD_OVERHEAD};
pub use client::{
    Asked as AskedClient, Begun, Client, Greeted, MAX_KEY_AGE, Next, Resuming, Resumption,
};
pub use device::DeviceKey;
pub use message::{
    ASK_SIZE, BEGIN_SIZE, HELLO_SIZE, MAX_MESSAGE, OFFER_SIZE, Presented, REFUSED_SIZE,
    RESUME_SIZE, RESUMED_SIZE, WELCOME_SIZE, Welcome,
};
pub use refusal::Refusal;
pub use seal::{MAX_RECORDS, TAG};
pub use server::{Asked, Counts, Epochs, KEY_KIND, Offered, Server, Session, Settings, Step};
pub use table::{MAX_SESSIONS, SessionId};
pub use ticket::TICKET_SIZE;

/// Version of the protocol.
pub const VERSION: u8 = 1;

/// The most bytes of what a client presents.
pub const MAX_PRESENTED: usize = 64 << 10;

/// The most bytes of a record's message.
pub const MAX_RECORD: usize = 64 << 10;
