//! What both sides of a handshake compute: the transcript, and the keys that come of it.
//!
//! ```text
//!   transcript(hello, offer, ciphertext)      ML-KEM's shared secret
//!                  |salt                             |
//!                  +----------> HKDF-Extract <-------+
//!                                    |
//!                             handshake secret ---> client's and server's handshake keys
//!                                    |
//!      transcript of all before  --> + Main
//!      the welcome                   |
//!                              session secret  ---> client's and server's record keys,
//!                                                   resumption secret
//! ```

use super::Refusal;
use super::channel::Channel;
use super::schedule::{Label, Prf, Secret, extract, step, transcript};
use super::seal::Half;
use symbolon_core::attest::Digest;
use symbolon_core::kem::SECRET_SIZE;

/// A handshake from the ciphertext on: in a box, where its secrets stay.
pub(super) struct Handshake {
    pub(super) secret: Prf,
    transcript: Digest,
    /// The client's messages.
    client: Half,
    /// The server's.
    server: Half,
}

/// Which side this is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

impl Handshake {
    /// `ciphertext` with its head.
    pub(super) fn new(
        hello: &[u8],
        offer: &[u8],
        ciphertext: &[u8],
        shared: &[u8; SECRET_SIZE],
    ) -> Box<Self> {
        let transcript = transcript(hello, offer, ciphertext);
        let mut extracted = Secret::default();
        extract(&transcript, shared, &mut extracted);
        let secret = Prf::new(&extracted);
        let [mut client, mut server] = [(); 2].map(|()| Secret::default());
        let keys = [(Label::ClientHandshake, &mut *client), (Label::ServerHandshake, &mut *server)];
        secret.expand(&[], keys);
        let (client, server) = (Half::new(&client), Half::new(&server));
        Box::new(Self { secret, transcript, client, server })
    }

    /// Of all that was said so far.
    pub(super) fn transcript(&self) -> &Digest {
        &self.transcript
    }

    fn half(&mut self, side: Side) -> &mut Half {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// A message of this side: `head`, then `text` sealed, bound to the transcript. It becomes part of that.
    pub(super) fn say(
        &mut self,
        side: Side,
        head: &[u8],
        text: &mut [u8],
    ) -> Result<Vec<u8>, Refusal> {
        let transcript = self.transcript;
        let tag = self.half(side).seal(&transcript, text)?;
        let message = [head, text, &tag].concat();
        self.transcript = step(&transcript, &message);
        Ok(message)
    }

    /// What the other side sealed in a message after `head` bytes. It becomes part of the transcript.
    pub(super) fn hear(
        &mut self,
        side: Side,
        head: usize,
        message: &[u8],
    ) -> Result<zeroize::Zeroizing<Vec<u8>>, Refusal> {
        let next = step(&self.transcript, message);
        let sealed = message.get(head..).ok_or(Refusal::Malformed)?;
        let mut text = zeroize::Zeroizing::new(sealed.to_vec());
        let transcript = self.transcript;
        let size = self.half(side).open(&transcript, &mut text)?.len();
        text.truncate(size);
        self.transcript = next;
        Ok(text)
    }

    /// Keys of the session, bound to all that was said: call it before the welcome is said or heard. The
    /// channel gets its keys, and `resumption` the first ticket's secret.
    pub(super) fn keys(&self, side: Side, channel: &mut Channel, resumption: &mut [u8; 32]) {
        let mut main = Secret::default();
        self.secret.expand(&self.transcript, [(Label::Main, &mut main)]);
        let main = Prf::new(&main);
        let [mut client, mut server] = [(); 2].map(|()| Secret::default());
        let keys = [
            (Label::ClientRecords, &mut *client),
            (Label::ServerRecords, &mut *server),
            (Label::Resumption, resumption),
        ];
        main.expand(&[], keys);
        match side {
            Side::Client => channel.start(&client, &server),
            Side::Server => channel.start(&server, &client),
        }
    }
}
