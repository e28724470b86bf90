//! What holds of any octets from a peer, for the fuzzer and for tests over its seeds.

use bytes::BytesMut;

use super::{Decode, Encode, Request};

/// Reads octets as a request: nothing is taken unless it is whole, and what is taken can be written and read
/// again.
///
/// # Panics
/// When that does not hold.
pub fn request(octets: &[u8]) {
    let mut buffer = BytesMut::from(octets);
    match Request::decode(&mut buffer) {
        Ok(Some(request)) => {
            let taken = octets.len().checked_sub(buffer.len()).expect("decoding adds nothing");
            assert!((1..=Request::MAX_LEN).contains(&taken), "a request of {taken} octets");
            let mut written = BytesMut::new();
            request.encode(&mut written);
            assert!(written.len() <= Request::MAX_LEN, "a request of {} octets", written.len());
            assert_eq!(Request::decode(&mut written), Ok(Some(request)), "the same again");
        }
        Ok(None) => {
            assert_eq!(buffer, octets, "nothing is taken of a part");
            assert!(octets.len() < Request::MAX_LEN, "{} octets and no request", octets.len());
        }
        Err(error) => {
            assert_eq!(buffer, octets, "nothing is taken of what is none");
            buffer.extend_from_slice(&[0]);
            assert_eq!(Request::decode(&mut buffer), Err(error), "more octets mend nothing");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn it_holds_of_the_fuzzers_seeds() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/wire_request");
        let seeds: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!seeds.is_empty());
        for seed in seeds {
            super::request(&fs::read(seed).unwrap());
        }
    }
}
