//! The gateway: sees probes, encrypts them, and nothing else. It is given the public key only.

use crate::error::{Error, Kind, Result};
use crate::gallery::vector_error;
use crate::random::random;
use chacha20::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use symbolon_core::attest::{Digest, Domain, bulk};
use symbolon_core::bfv::{Ciphertext, Plaintext, PublicKey, encrypt};
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Layout, quantise};
use symbolon_core::poly::{Coeff, Poly};
use symbolon_core::wire::Wire;
use zeroize::Zeroizing;

/// What names a request to everybody: chosen by the gateway, shown in the receipt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Names the request.
    pub id: [u8; 16],
    /// Makes the receipt fresh.
    pub nonce: [u8; 16],
}

/// A gateway, shared by all threads.
pub struct Gateway {
    kernels: &'static Kernels,
    layout: Layout,
}

/// One thread's working memory, made once.
pub struct Desk<const L: usize> {
    rng: ChaCha20Rng,
    quantised: Zeroizing<Vec<i16>>,
    plain: Box<Plaintext>,
    scratch: Box<Poly<L, Coeff>>,
    ciphertext: Box<Ciphertext<L>>,
    wire: Vec<u8>,
}

impl<const L: usize> Desk<L> {
    /// Errors: `E-ENTROPY`.
    pub fn new(layout: Layout) -> Result<Self> {
        Ok(Self {
            rng: ChaCha20Rng::from_seed(*Zeroizing::new(random()?)),
            // Of its full size, so that it never moves and leaves a copy behind.
            quantised: Zeroizing::new(vec![0; layout.users() * layout.dims()]),
            plain: bytemuck::zeroed_box(),
            scratch: bytemuck::zeroed_box(),
            ciphertext: bytemuck::zeroed_box(),
            wire: vec![0; Ciphertext::<L>::SIZE],
        })
    }

    /// The batch that was encrypted last: what goes to the matcher.
    pub fn ciphertext(&self) -> &Ciphertext<L> {
        &self.ciphertext
    }

    /// Names for the batch's requests.
    pub fn requests(&mut self, count: usize) -> Vec<Request> {
        let mut requests = vec![Request::default(); count];
        for request in &mut requests {
            self.rng.fill_bytes(&mut request.id);
            self.rng.fill_bytes(&mut request.nonce);
        }
        requests
    }

    /// The digest of the batch's wire form, which goes into its leaves.
    pub fn digest(&mut self, k: &Kernels) -> Digest {
        // The buffer was made in the right size.
        let written = self.ciphertext.encode(k, &mut self.wire);
        debug_assert!(written.is_ok());
        bulk(k, Domain::PROBE, &[&self.wire])
    }
}

impl Gateway {
    /// A gateway for people of this layout.
    pub fn new(kernels: &'static Kernels, layout: Layout) -> Self {
        Self { kernels, layout }
    }

    /// Quantises a batch and encrypts it under `key`: one probe a lane, from lane 0.
    ///
    /// Errors: `E-NOT-FINITE`, `E-ZERO-VECTOR`, `E-DIMENSION`, each with the lane as row;
    /// `E-ARGUMENT` for more probes than lanes.
    pub fn encrypt<const L: usize>(
        &self,
        desk: &mut Desk<L>,
        key: &PublicKey<L>,
        probes: &[&[f64]],
    ) -> Result<()> {
        let dims = self.layout.dims();
        // Taken for as long as it is borrowed beside the rest of the desk; it keeps its place in memory.
        let mut buffer = std::mem::take(&mut desk.quantised);
        let encrypted = (|| {
            let Some(quantised) = buffer.get_mut(..probes.len() * dims) else {
                return Err(Error::new(Kind::Argument, "more probes than lanes"));
            };
            for (lane, (probe, out)) in
                probes.iter().zip(quantised.chunks_exact_mut(dims)).enumerate()
            {
                self.quantise(probe, out).map_err(|e| e.at_row(lane))?;
            }
            self.encrypt_quantised(desk, key, quantised.chunks_exact(dims))
        })();
        desk.quantised = buffer;
        encrypted
    }

    /// Normalises and quantises a probe into `out`, of [`Layout::dims`] components.
    ///
    /// Errors: `E-NOT-FINITE`, `E-ZERO-VECTOR`, `E-DIMENSION`.
    pub fn quantise(&self, probe: &[f64], out: &mut [i16]) -> Result<()> {
        quantise(self.kernels, self.layout, probe, out).map_err(vector_error)
    }

    /// Encrypts quantised probes under `key`: one a lane, from lane 0.
    ///
    /// Errors: `E-ARGUMENT` for more probes than lanes, or of another layout.
    pub fn encrypt_quantised<'a, const L: usize>(
        &self,
        desk: &mut Desk<L>,
        key: &PublicKey<L>,
        probes: impl IntoIterator<Item = &'a [i16]>,
    ) -> Result<()> {
        self.layout
            .encode_probes(self.kernels, probes, &mut desk.plain)
            .map_err(|e| Error::new(Kind::Argument, e.to_string()))?;
        encrypt(
            self.kernels,
            key,
            &desk.plain,
            &mut desk.rng,
            &mut desk.ciphertext,
            &mut desk.scratch,
        );
        Ok(())
    }
}
