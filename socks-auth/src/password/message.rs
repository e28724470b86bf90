//! The two messages of RFC 1929: the client's name and password, and the server's status.

use bytes::{Buf, BufMut, BytesMut};
use socks_core::wire::{Decode, DecodeError, Encode};
use zeroize::Zeroize;

use super::Secret;

/// The version octet of the sub-negotiation (RFC 1929 section 2); not that of SOCKS.
pub const VERSION: u8 = 0x01;

/// A client's name and password, each of 1 to 255 octets.
#[derive(Debug, Clone)]
pub struct Login {
    name: Box<[u8]>,
    password: Secret,
}

impl Login {
    /// A login; `None` when name or password is empty or longer than 255 octets.
    pub fn new(name: &[u8], password: &[u8]) -> Option<Self> {
        let fits = |octets: &[u8]| (1..=255).contains(&octets.len());
        (fits(name) && fits(password)).then(|| Self { name: name.into(), password: Secret::new(password) })
    }

    /// The name as the client sent it: any octets.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The password.
    pub fn password(&self) -> &Secret {
        &self.password
    }

    /// The name for the record: as it is if it is text without control characters, else escaped.
    pub fn shown_name(&self) -> Box<str> {
        match str::from_utf8(&self.name) {
            Ok(name) if !name.contains(char::is_control) => name.into(),
            _ => self.name.escape_ascii().to_string().into(),
        }
    }
}

impl Decode for Login {
    const MAX_LEN: usize = 1 + 1 + 255 + 1 + 255;

    /// What is taken from `src` is wiped there.
    fn decode(src: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        // RFC 1929 section 2: VER, ULEN, UNAME (1 to 255), PLEN, PASSWD (1 to 255).
        let Some((&version, rest)) = src.split_first() else { return Ok(None) };
        if version != VERSION {
            return Err(DecodeError::Version { found: version, expected: VERSION });
        }
        let Some((name, rest)) = counted(rest, "user name is empty")? else { return Ok(None) };
        let Some((password, _)) = counted(rest, "password is empty")? else { return Ok(None) };
        let login = Self { name: name.into(), password: Secret::new(password) };
        let len = 3 + name.len() + password.len();
        if let Some(taken) = src.get_mut(..len) {
            taken.zeroize();
        }
        src.advance(len);
        Ok(Some(login))
    }
}

/// The two parts of octets that begin with a count: those counted, and the rest.
type Counted<'a> = (&'a [u8], &'a [u8]);

fn counted<'a>(octets: &'a [u8], empty: &'static str) -> Result<Option<Counted<'a>>, DecodeError> {
    match octets.split_first() {
        None => Ok(None),
        Some((0, _)) => Err(DecodeError::Method(empty)),
        Some((&count, rest)) => Ok(rest.split_at_checked(count.into())),
    }
}

impl Encode for Login {
    fn encode(&self, dst: &mut BytesMut) {
        dst.put_u8(VERSION);
        for part in [&*self.name, self.password.expose()] {
            dst.put_u8(u8::try_from(part.len()).expect("a part has at most 255 octets"));
            dst.put_slice(part);
        }
    }
}

/// The server's answer: 0x00 lets the client in, anything else does not, and the server closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status(pub u8);

impl Status {
    /// The client is let in.
    pub const SUCCESS: Self = Self(0x00);
    /// The client is not let in.
    pub const FAILURE: Self = Self(0x01);
}

impl Decode for Status {
    const MAX_LEN: usize = 2;

    fn decode(src: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        match src.as_ref() {
            [] | [VERSION] => Ok(None),
            &[VERSION, status, ..] => {
                src.advance(Self::MAX_LEN);
                Ok(Some(Self(status)))
            }
            &[found, ..] => Err(DecodeError::Version { found, expected: VERSION }),
        }
    }
}

impl Encode for Status {
    fn encode(&self, dst: &mut BytesMut) {
        dst.put_slice(&[VERSION, self.0]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ALICE: &[u8] = b"\x01\x05alice\x06secret";

    fn decode<M: Decode>(octets: &[u8]) -> Result<Option<M>, DecodeError> {
        M::decode(&mut BytesMut::from(octets))
    }

    #[test]
    fn the_diagram_of_the_rfc_is_read_and_written() {
        let mut octets = BytesMut::from([ALICE, b"\x05\x01"].concat().as_slice());
        let login = Login::decode(&mut octets).unwrap().unwrap();
        assert_eq!((login.name(), login.password().expose()), (&b"alice"[..], &b"secret"[..]));
        assert_eq!(&octets[..], b"\x05\x01");
        let mut written = BytesMut::new();
        login.encode(&mut written);
        assert_eq!(&written[..], ALICE);
        assert_eq!(decode(b"\x01\x00rest").unwrap(), Some(Status::SUCCESS));
        assert_eq!(decode(b"\x01\x07").unwrap(), Some(Status(7)));
    }

    #[test]
    fn a_message_cut_at_any_octet_is_waited_for() {
        for len in 0..ALICE.len() {
            let mut octets = BytesMut::from(&ALICE[..len]);
            assert!(Login::decode(&mut octets).unwrap().is_none());
            assert_eq!(octets.len(), len);
        }
        assert_eq!(decode::<Status>(b"\x01").unwrap(), None);
    }

    #[test]
    fn what_is_no_login_is_refused_at_once() {
        let version = DecodeError::Version { found: 5, expected: 1 };
        assert_eq!(decode::<Login>(b"\x05").unwrap_err(), version);
        assert_eq!(decode::<Status>(b"\x05").unwrap_err(), version);
        assert_eq!(decode::<Login>(b"\x01\x00").unwrap_err(), DecodeError::Method("user name is empty"));
        assert_eq!(decode::<Login>(b"\x01\x01a\x00").unwrap_err(), DecodeError::Method("password is empty"));
    }

    #[test]
    fn a_password_is_never_shown() {
        let shown = format!("{:?}", decode::<Login>(ALICE).unwrap().unwrap());
        assert!(shown.contains("Secret(..)") && !shown.contains("secret"), "{shown}");
    }

    #[test]
    fn names_are_shown_as_text_or_escaped() {
        let shown = |name: &[u8]| Login::new(name, b"x").unwrap().shown_name();
        assert_eq!(&*shown("jürgen".as_bytes()), "jürgen");
        assert_eq!(&*shown(b"a\xFFb\n"), r"a\xffb\n");
        assert_eq!(&*shown(b"a\x1b[2J"), r"a\x1b[2J");
    }

    proptest! {
        #[test]
        fn logins_survive_the_wire(name in proptest::collection::vec(any::<u8>(), 1..256), password in proptest::collection::vec(any::<u8>(), 1..256)) {
            let mut octets = BytesMut::new();
            Login::new(&name, &password).unwrap().encode(&mut octets);
            prop_assert!(octets.len() <= Login::MAX_LEN);
            let login = Login::decode(&mut octets).unwrap().unwrap();
            prop_assert_eq!(login.name(), &name[..]);
            prop_assert_eq!(login.password().expose(), &password[..]);
            prop_assert!(octets.is_empty());
        }

        #[test]
        fn any_octets_are_decided_within_the_largest_message(octets in proptest::collection::vec(any::<u8>(), 0..600)) {
            let decided = decode::<Login>(&octets);
            prop_assert!(octets.len() < Login::MAX_LEN || !matches!(decided, Ok(None)));
        }
    }
}
