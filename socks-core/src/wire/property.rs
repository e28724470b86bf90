//! What holds of any octets from a peer, for the fuzzer and for tests over its seeds.

use bytes::BytesMut;

use super::{Decode, Encode, ProxyHeader, Request};

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

/// Reads octets as a header of the PROXY protocol: nothing is taken unless it is whole, a part of it asks for more,
/// and what follows it changes nothing.
///
/// # Panics
/// When that does not hold.
pub fn proxy_header(octets: &[u8]) {
    let mut buffer = BytesMut::from(octets);
    match ProxyHeader::decode(&mut buffer) {
        Ok(Some(header)) => {
            let taken = octets.len().checked_sub(buffer.len()).expect("decoding adds nothing");
            assert!((1..=ProxyHeader::MAX_LEN).contains(&taken), "a header of {taken} octets");
            let mut alone = BytesMut::from(octets.get(..taken).expect("what was taken was there"));
            let without_its_last = alone.get(..taken - 1).expect("it is not empty");
            assert_eq!(ProxyHeader::decode(&mut BytesMut::from(without_its_last)), Ok(None), "a part");
            assert_eq!(ProxyHeader::decode(&mut alone), Ok(Some(header)), "the same alone");
        }
        Ok(None) => {
            assert_eq!(buffer, octets, "nothing is taken of a part");
            assert!(octets.len() < ProxyHeader::MAX_LEN, "{} octets and no header", octets.len());
            assert!(ProxyHeader::may_begin(octets));
        }
        Err(error) => {
            assert_eq!(buffer, octets, "nothing is taken of what is none");
            buffer.extend_from_slice(&[0]);
            assert_eq!(ProxyHeader::decode(&mut buffer), Err(error), "more octets mend nothing");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    fn holds_of_seeds(folder: &str, property: fn(&[u8])) {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds").join(folder);
        let seeds: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!seeds.is_empty());
        for seed in seeds {
            property(&fs::read(seed).unwrap());
        }
    }

    #[test]
    fn they_hold_of_the_fuzzers_seeds() {
        holds_of_seeds("wire_request", super::request);
        holds_of_seeds("proxy_header", super::proxy_header);
    }
}
