//! A batch of attempts in the binary form; the first byte is the number of dimensions. Whatever the bytes, an answer;
//! what is taken in is the attempts and nothing else, and written again it is the same bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use symbolon_host::error::Kind;
use symbolon_host::server::MAX_ITEMS;
use symbolon_host::server::api::binary::{Attempt, MAGIC, places, write};

fuzz_target!(|bytes: &[u8]| {
    let Some((&dims, body)) = bytes.split_first() else { return };
    let dims = dims.into();
    let places = match places(body, dims) {
        Ok(places) => places,
        Err(error) => {
            assert!(matches!(error.kind(), Kind::Request | Kind::TooLarge));
            return;
        }
    };
    assert!(places.len() <= MAX_ITEMS);
    let mut again = MAGIC.to_vec();
    for place in places {
        assert_eq!(place.start, again.len());
        let (attempt, rest) = Attempt::split(&body[place], dims).expect("it was found there");
        assert!(rest.is_empty() && attempt.values().len() == dims);
        write(&mut again, attempt.id, attempt.nonce.as_ref(), attempt.values())
            .expect("its id fits");
    }
    assert_eq!(again, body);
});
