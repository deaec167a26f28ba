//! What comes over the wire before anybody is known: every message, a login, and resumes at a server. Whatever
//! the bytes, an answer; what decodes encodes to the same bytes; and no ticket of another's making is taken.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use symbolon_core::attest::{Digest, Validity};
use symbolon_host::families::mlkem::DecapsulationKey;
use symbolon_host::keys::{Deployment, SigningSeeds};
use symbolon_host::pools::{CertifiedSupply, Config};
use symbolon_host::session::message::{
    Begin, Hello, Login, Offer, Resume, Resumed, Welcome, read_ask, read_prove, read_refused,
    refused,
};
use symbolon_host::session::{
    Admit, Admitted, Channel, Epochs, KEY_KIND, MAX_PRESENTED, Presented, RESUMED_SIZE, Refusal,
    Refused, Server, Settings,
};
use symbolon_platform::locked::{OnFailure, Options};

struct Nobody;

impl Admit for Nobody {
    fn admit(&self, _: &Digest, _: Presented<'_>) -> Result<Admitted, Refused> {
        Err(Refused::Refused)
    }
}

/// One key, of which no ticket was ever sealed.
static SERVER: LazyLock<Server> = LazyLock::new(|| {
    let deployment = Deployment { id: [7; 16], epoch: 1 };
    let seeds = SigningSeeds::draw(deployment, Validity::ALWAYS).expect("entropy");
    let keys = Arc::new(seeds.keys().expect("keys"));
    let memory = Options { on_failure: OnFailure::Degrade, huge: false };
    let config = Config::fixed::<DecapsulationKey>(1, memory);
    let supply = CertifiedSupply::start(config, KEY_KIND, keys, || Ok(())).expect("a supply");
    supply.fill(&mut supply.desk(()), &mut |_| ()).expect("a key");
    let settings =
        Settings { sessions: 4, lifetime: Duration::from_secs(60), memory, ..Settings::default() };
    let epochs = Epochs { policy: 0, identity: 0 };
    Server::start([7; 16], Arc::new(supply), Arc::new(Nobody), epochs, settings).expect("a server")
});

fuzz_target!(|bytes: &[u8]| {
    if let Ok(hello) = Hello::decode(bytes) {
        assert_eq!(hello.encode(), bytes);
        let (mut offer, mut answer) = (Vec::new(), Vec::new());
        let offered = SERVER.offer(bytes, &mut offer);
        if let Ok(offered) = offered {
            let begun = offered.begin(bytes, &mut Channel::new(), &mut answer);
            assert_eq!(begun.err(), Some(Refusal::Malformed));
            let supply_is_empty = SERVER.offer(bytes, &mut offer).err();
            assert_eq!(supply_is_empty, Some(Refusal::Busy));
        }
    }
    if let Ok(offer) = Offer::decode(bytes) {
        assert_eq!(offer.encode(), bytes);
    }
    if let Ok(begin) = Begin::decode(bytes) {
        assert_eq!(begin.encode(), bytes);
    }
    if let Ok(login) = Login::decode(bytes) {
        assert_eq!(login.encode(), bytes);
    }
    if let Ok(Some(tag)) = read_ask(bytes) {
        assert_eq!((&bytes[2..], bytes.len()), (&tag[..], 18));
    }
    if let Ok(sealed) = read_prove(bytes) {
        assert!(sealed.len() <= MAX_PRESENTED + 16 && bytes[2..] == *sealed);
    }
    if let Ok(sealed) = Welcome::read(bytes) {
        assert_eq!(bytes[2..], *sealed);
    }
    if let Ok(welcome) = Welcome::decode(bytes) {
        assert_eq!(welcome.encode(), bytes);
    }
    if let Ok(resume) = Resume::decode(bytes) {
        assert_eq!(resume.encode(), bytes);
        let mut channel = Channel::new();
        let taken = SERVER.resume(bytes, &mut channel, &mut [0; RESUMED_SIZE]);
        assert_eq!(taken.err(), Some(Refusal::Ticket));
        assert!(!channel.is_open());
    }
    if let Ok(resumed) = Resumed::decode(bytes) {
        assert_eq!(resumed.encode(), bytes);
    }
    if let Ok(refusal) = read_refused(bytes) {
        assert_eq!(refused(refusal), bytes);
    }
    let mut record = bytes.to_vec();
    assert!(Channel::new().open(&mut record).is_err());
});
