//! Proofs of identity as their users meet them: what verifies, and that nothing else does.

mod common;

use common::symbolon;
use p3_field::PrimeCharacteristicRing;
use p3_koala_bear::KoalaBear;
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use std::sync::LazyLock;
use std::thread;
use symbolon_host::error::Kind;
use symbolon_host::identity::circuit::DEPTH;
use symbolon_host::identity::hash::{NODE, Node, compress};
use symbolon_host::identity::statement::{Context, Statement, proof_digest};
use symbolon_host::identity::{
    Credential, MAX_PROOF_SIZE, Place, Prover, Verifier, circuit_id, security,
};

const CONTEXT: Context = Context { deployment: [1; 16], device: [2; 32], epoch: 3 };

static PROVER: LazyLock<Prover> = LazyLock::new(Prover::new);
static VERIFIER: LazyLock<Verifier> = LazyLock::new(Verifier::new);

/// A node for tests.
fn node(n: usize) -> Node {
    Node([(); NODE].map(|()| KoalaBear::from_usize(n)))
}

/// The root of a leaf under these siblings, lifted.
fn root(leaf: Node, index: u64, siblings: &[Node]) -> Node {
    (0..DEPTH).fold(leaf, |below, level| {
        let sibling = siblings.get(level).unwrap_or(&Node::ZERO);
        if (index >> level) & 1 == 0 {
            compress(&below, sibling)
        } else {
            compress(sibling, &below)
        }
    })
}

/// Someone enrolled in a tree.
struct Person {
    credential: Credential,
    index: u64,
    siblings: Vec<Node>,
    root: Node,
}

impl Person {
    fn new(index: u64, depth: usize) -> Self {
        let credential = Credential::draw(b"over 18").unwrap();
        let siblings: Vec<_> = (0..depth).map(|level| node(1000 + level)).collect();
        let root = root(credential.leaf(), index, &siblings);
        Self { credential, index, siblings, root }
    }

    fn place(&self) -> Place<'_> {
        Place { index: self.index, siblings: &self.siblings, root: self.root }
    }

    fn prove(&self, context: &Context) -> (Statement, Vec<u8>) {
        PROVER.prove(&self.credential, &self.place(), context).unwrap()
    }
}

#[track_caller]
fn refused(statement: &Statement, proof: &[u8], kinds: &[Kind]) {
    let error = VERIFIER.verify(statement, proof).expect_err("a proof that does not hold");
    assert!(kinds.contains(&error.kind()), "{error}");
}

const EITHER: &[Kind] = &[Kind::Proof, Kind::ProofFormat];

#[test]
fn enrolled_people_prove_it_in_trees_of_any_depth() {
    for (index, depth) in [(0, 0), (0x000f_0f0f, 20), (0x1_dead_beef, 33), ((1 << 62) - 1, 62)] {
        let person = Person::new(index, depth);
        let (statement, proof) = person.prove(&CONTEXT);
        assert_eq!(statement.root, person.root);
        assert_eq!(statement.context, CONTEXT.node());
        assert_eq!(statement.nullifier, person.credential.nullifier(&CONTEXT.node()));
        VERIFIER.verify(&statement, &proof).unwrap();
        assert!((35_000..=39_628).contains(&proof.len()), "{} bytes", proof.len());
    }
}

#[test]
fn two_proofs_of_a_statement_share_nothing_but_it() {
    let person = Person::new(9, 20);
    let (statement, proof) = person.prove(&CONTEXT);
    let (again, other) = person.prove(&CONTEXT);
    assert_eq!(statement, again);
    VERIFIER.verify(&statement, &other).unwrap();
    // By chance 1 in 256 bytes are the same.
    let same = proof.iter().zip(&other).filter(|(a, b)| a == b).count();
    assert!(same < proof.len() / 50, "{same} bytes of {}", proof.len());
    let circuit = circuit_id();
    let fingerprint = |proof: &[u8]| statement.fingerprint(circuit, &proof_digest(proof));
    assert_ne!(fingerprint(&proof), fingerprint(&other));
}

#[test]
fn a_proof_holds_in_its_context_only() {
    let person = Person::new(9, 20);
    let (statement, proof) = person.prove(&CONTEXT);
    let contexts = [
        Context { deployment: [9; 16], ..CONTEXT },
        Context { device: [9; 32], ..CONTEXT },
        Context { epoch: 4, ..CONTEXT },
    ];
    for context in contexts {
        let (other, _) = person.prove(&context);
        assert_ne!(other.nullifier, statement.nullifier);
        // Replayed as it is, and with the nullifier that it would have.
        refused(&other, &proof, &[Kind::Proof]);
        refused(&Statement { context: context.node(), ..statement }, &proof, &[Kind::Proof]);
    }
}

#[test]
fn every_element_of_the_statement_counts() {
    let (statement, proof) = Person::new(9, 20).prove(&CONTEXT);
    for i in 0..3 * NODE {
        let mut other = statement;
        let nodes = [&mut other.root, &mut other.context, &mut other.nullifier];
        nodes.into_iter().nth(i / NODE).unwrap().0[i % NODE] += KoalaBear::ONE;
        refused(&other, &proof, &[Kind::Proof]);
    }
}

#[test]
fn who_is_not_enrolled_cannot_prove_it() {
    let person = Person::new(9, 20);
    let stranger = Credential::draw(b"over 18").unwrap();
    let mut siblings = person.siblings.clone();
    siblings[19] = node(1);
    let short = &person.siblings[..19];
    let long = vec![Node::ZERO; DEPTH + 1];
    let wrong = [
        (&stranger, person.place()),
        (&person.credential, Place { siblings: &siblings, ..person.place() }),
        (&person.credential, Place { siblings: short, ..person.place() }),
        (&person.credential, Place { siblings: &long, ..person.place() }),
        (&person.credential, Place { index: 8, ..person.place() }),
        (&person.credential, Place { index: 9 | 1 << 20, ..person.place() }),
        (&person.credential, Place { index: u64::MAX, ..person.place() }),
        (&person.credential, Place { root: node(1), ..person.place() }),
    ];
    for (i, (credential, place)) in wrong.iter().enumerate() {
        let error = PROVER.prove(credential, place, &CONTEXT).unwrap_err();
        assert_eq!(error.kind(), Kind::Place, "{i}");
    }
}

#[test]
fn every_byte_of_a_proof_counts() {
    let (statement, proof) = Person::new(9, 20).prove(&CONTEXT);
    thread::scope(|scope| {
        for part in 0..2 {
            let mut proof = proof.clone();
            let statement = &statement;
            scope.spawn(move || {
                for at in (part..proof.len()).step_by(2) {
                    // Every byte, in one of its bits; every 61st, in all of them.
                    let bits = if at % 61 == 0 { 0..8 } else { at % 8..at % 8 + 1 };
                    for bit in bits {
                        proof[at] ^= 1 << bit;
                        refused(statement, &proof, EITHER);
                        proof[at] ^= 1 << bit;
                    }
                }
            });
        }
    });
}

#[test]
fn a_proof_is_as_long_as_it_is() {
    let (statement, proof) = Person::new(9, 20).prove(&CONTEXT);
    for length in (0..proof.len()).step_by(997).chain(proof.len() - 40..proof.len()) {
        refused(&statement, &proof[..length], &[Kind::ProofFormat]);
    }
    for more in [1, 2, 4, 32, MAX_PROOF_SIZE - proof.len(), MAX_PROOF_SIZE] {
        for byte in [0, 0xff] {
            let mut long = proof.clone();
            long.resize(proof.len() + more, byte);
            refused(&statement, &long, &[Kind::ProofFormat]);
        }
    }
    // A whole word or digest less or more, anywhere.
    for at in (0..proof.len() - 32).step_by(499) {
        for size in [4, 32] {
            let mut other = proof.clone();
            other.drain(at..at + size);
            refused(&statement, &other, EITHER);
            let mut other = proof.clone();
            let inserted = proof[at..at + size].to_vec();
            other.splice(at..at, inserted);
            refused(&statement, &other, EITHER);
        }
    }
    for junk in [0, 0xff, 0x7f] {
        refused(&statement, &vec![junk; proof.len()], EITHER);
    }
}

/// The proof that the fuzzer begins with, made when the circuit's id last changed: a change that older proofs do not
/// survive is one of the id too. `SYMBOLON_BLESS=1` makes it anew.
#[test]
fn an_older_proof_still_holds() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/proof/proof");
    let mut bytes = [0; 93];
    bytes[..5].copy_from_slice(b"SYID\x01");
    let credential = Credential::parse(&bytes, Path::new("seed")).unwrap();
    let siblings = vec![Node::ZERO; 20];
    let root = root(credential.leaf(), 0, &siblings);
    let context = Context { deployment: [0; 16], device: [0; 32], epoch: 1 };
    let person = Person { credential, index: 0, siblings, root };
    if std::env::var_os("SYMBOLON_BLESS").is_some() {
        fs::write(&file, person.prove(&context).1).unwrap();
    }
    let context = context.node();
    let statement = Statement { root, context, nullifier: person.credential.nullifier(&context) };
    VERIFIER.verify(&statement, &fs::read(&file).unwrap()).unwrap();
}

#[test]
fn verifiers_are_shared_by_threads() {
    fn shared<T: Send + Sync>(_: &T) {}
    shared(&*VERIFIER);
    shared(&*PROVER);
    let (statement, proof) = Person::new(9, 20).prove(&CONTEXT);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| VERIFIER.verify(&statement, &proof).unwrap());
        }
    });
}

#[test]
fn credentials_are_files_of_their_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("me.credential");
    let credential = Credential::draw(b"attributes").unwrap();
    credential.save(&path).unwrap();
    assert_eq!(credential.save(&path).unwrap_err().kind(), Kind::Io);
    let read = Credential::load(&path).unwrap();
    assert_eq!(read.leaf(), credential.leaf());
    assert_eq!(read.nullifier(&node(4)), credential.nullifier(&node(4)));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(Credential::load(&path).err().unwrap().kind(), Kind::Credential);
    }
    let bytes = fs::read(&path).unwrap();
    let parse = |bytes: &[u8]| Credential::parse(bytes, Path::new("x")).map(|c| c.leaf());
    assert_eq!(parse(&bytes).unwrap(), credential.leaf());
    for (at, value) in [(0, b'X'), (4, 0), (4, 2), (bytes.len() - 1, 0xff)] {
        let mut bytes = bytes.clone();
        bytes[at] = value;
        assert_eq!(parse(&bytes).unwrap_err().kind(), Kind::Credential, "byte {at}");
    }
    for length in [0, 4, 5, bytes.len() - 1] {
        assert_eq!(parse(&bytes[..length]).unwrap_err().kind(), Kind::Credential);
    }
    assert_eq!(parse(&[&*bytes, &[0]].concat()).unwrap_err().kind(), Kind::Credential);
    // Attributes and secret both go into the leaf.
    assert_ne!(Credential::draw(b"attributes").unwrap().leaf(), credential.leaf());
    let mut bytes = bytes;
    bytes[61] ^= 1;
    assert_ne!(parse(&bytes).unwrap(), credential.leaf());
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[test]
fn on_the_command_line() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let (me, path, proof, statement) = (at("me"), at("path.json"), at("proof"), at("statement"));
    let made = symbolon(["--json", "prove", "credential", &me]).ok_json();
    let leaf = made[0]["leaf"].as_str().unwrap().to_owned();
    assert_eq!(symbolon(["--json", "prove", "leaf", &me]).ok_json(), made);
    assert_eq!(symbolon(["prove", "leaf", &me]).ok(), format!("leaf {leaf}\n"));
    assert_eq!(symbolon(["prove", "credential", &me]).code, Some(2));

    let siblings: Vec<_> = (0..20).map(node).collect();
    let enrolled = Credential::load(Path::new(&me)).unwrap().leaf();
    assert_eq!(hex(&enrolled.encode()), leaf);
    let file = json!({
        "epoch": 3, "index": 5, "depth": 20, "root": hex(&root(enrolled, 5, &siblings).encode()),
        "siblings": siblings.iter().map(|n| hex(&n.encode())).collect::<Vec<_>>(),
    });
    fs::write(&path, file.to_string()).unwrap();
    let (deployment, device) = (hex(&CONTEXT.deployment), hex(&CONTEXT.device));
    let make = |out: &str| {
        let context = ["--deployment", &deployment, "--device", &device];
        let files = ["--json", "prove", "make", &me, "--path", &path, "--out", out];
        symbolon(files.iter().chain(&context))
    };
    let made = make(&proof).ok_json().remove(0);
    assert_eq!(made["root"], file["root"]);
    assert_eq!(made["context"], hex(&CONTEXT.node().encode()));
    assert_eq!(made["circuit"], hex(circuit_id()));
    assert_eq!(made["proof_bytes"], fs::metadata(&proof).unwrap().len());
    assert_eq!(made["bits_conjectured"], security().conjectured());
    assert_eq!(made["bits_proven"], security().proven());
    assert!(made["prove_us"].as_f64().unwrap() > 0.0);
    // None is overwritten.
    assert_eq!(make(&proof).code, Some(2));

    fs::write(&statement, made.to_string()).unwrap();
    let check = |proof: &str, statement: &str| {
        symbolon(["--json", "prove", "check", proof, "--statement", statement])
    };
    let checked = check(&proof, &statement).ok_json().remove(0);
    for field in ["root", "context", "nullifier", "circuit", "fingerprint", "proof_bytes"] {
        assert_eq!(checked[field], made[field], "{field}");
    }
    assert!(checked["verify_us"].as_f64().unwrap() > 0.0);
    let text = symbolon(["prove", "check", &proof, "--statement", &statement]).ok();
    assert!(text.contains("100 bits by conjecture, 59 proven"), "{text}");

    let failure = |run: common::Run| {
        let error: Value = serde_json::from_str(&run.stderr).unwrap();
        (run.code, error["error"]["code"].as_str().unwrap().to_owned())
    };
    // Another statement; no proof; a path that is not this leaf's, or malformed.
    let mut other = made.clone();
    other["nullifier"] = json!(leaf);
    fs::write(at("other"), other.to_string()).unwrap();
    assert_eq!(failure(check(&proof, &at("other"))), (Some(1), "E-PROOF".into()));
    assert_eq!(failure(check(&path, &statement)), (Some(2), "E-PROOF-FORMAT".into()));
    assert_eq!(failure(check(&proof, &proof)), (Some(2), "E-PARSE".into()));
    for (field, value, code) in [
        ("index", json!(4), "E-PLACE"),
        ("root", json!(leaf), "E-PLACE"),
        ("depth", json!(19), "E-PARSE"),
        ("root", json!("ff".repeat(32)), "E-PARSE"),
        ("siblings", json!(["00"]), "E-PARSE"),
    ] {
        let mut wrong = file.clone();
        wrong[field] = value;
        fs::write(&path, wrong.to_string()).unwrap();
        assert_eq!(failure(make(&at("new"))), (Some(2), code.into()), "{field}");
        assert!(!Path::new(&at("new")).exists());
    }
}
