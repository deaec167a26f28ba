//! Model people, enrolled in a deployment of their own in a temporary directory.

use super::output::Output;
use super::{KeyUse, Window};
use crate::batch::Pipeline;
use crate::error::{Error, Kind, Result};
use crate::gallery::{self, Gallery};
use crate::keys::{self, CustodianSeeds, ParameterSet, SigningKeys};
use crate::log::Log;
use crate::population::Population;
use crate::signer::Signer;
use crate::store::Store;
use std::path::Path;
use std::sync::Arc;
use symbolon_core::kernel::Kernels;
use symbolon_core::matching::{Layout, Threshold};
use symbolon_platform::clock;
use zeroize::Zeroizing;

/// The people and their deployment's keys. The directory goes with it.
pub struct Model {
    pub population: Population,
    pub layout: Layout,
    identities: u64,
    dims: usize,
    dir: tempfile::TempDir,
    seeds: CustodianSeeds,
}

impl Model {
    pub fn new(seed: u64, identities: u64, dims: usize, params: ParameterSet) -> Result<Self> {
        let population = Population::new(seed, identities, dims)?;
        let layout =
            Layout::for_dims(dims).map_err(|e| Error::new(Kind::Dimension, e.to_string()))?;
        let dir = tempfile::Builder::new()
            .prefix("symbolon-demo-")
            .tempdir()
            .map_err(|e| Error::io(&std::env::temp_dir(), "create a directory", &e))?;
        keys::create(dir.path(), params, 1)?;
        let seeds = CustodianSeeds::load(dir.path())?;
        Ok(Self { population, layout, identities, dims, dir, seeds })
    }

    pub fn deployment(&self) -> [u8; 16] {
        self.seeds.deployment.id
    }

    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Enrols everybody's first capture: person i at position i.
    pub fn enrol(&self, output: &Output) -> Result<Gallery> {
        let bar = output.progress("enrolling", self.identities as usize);
        let mut embedding = Zeroizing::new(vec![0.0; self.dims]);
        let mut records = Vec::new();
        for person in 0..self.identities {
            self.population.capture(person, 0, &mut embedding)?;
            records.push((name(person), gallery::record(self.layout, &embedding)?));
            bar.inc(1);
        }
        let mut store = Store::create_or_open(self.dir(), self.dims)?;
        store.enrol(records)?;
        let mut gallery = Gallery::new(self.layout);
        for person in 0..self.identities {
            if gallery.load(&store, &name(person))?.is_none() {
                return Err(Error::new(Kind::UnknownId, "an enrolled person is not in the store"));
            }
        }
        bar.finish_and_clear();
        Ok(gallery)
    }

    /// The deployment's signing keys.
    pub fn signing(&self) -> Result<Arc<SigningKeys>> {
        let now = clock::unix_ms();
        SigningKeys::load(self.dir(), self.seeds.deployment, now).map(Arc::new)
    }

    /// The three roles and whoever signs.
    pub fn pipeline<const L: usize>(
        &self,
        kernels: &'static Kernels,
        threshold: Threshold,
        signing: Arc<SigningKeys>,
        window: &Window,
        key_use: &KeyUse,
        output: &Output,
    ) -> Result<(Pipeline<L>, Arc<Signer>)> {
        keys::check_public::<L>(self.dir(), kernels, &self.seeds)?;
        let deployment = self.seeds.deployment;
        let log = Log::create_or_open(self.dir(), deployment.id, self.seeds.seal_key())?;
        let signer = Arc::new(Signer::start(log, signing, window.settings())?);
        let custodian = key_use.custodian::<L>(kernels, &self.seeds, output)?;
        let pipeline =
            Pipeline::new(kernels, self.layout, threshold, custodian, Arc::clone(&signer));
        Ok((pipeline, signer))
    }
}

/// A person's id.
pub fn name(person: u64) -> String {
    format!("person-{person:07}")
}
