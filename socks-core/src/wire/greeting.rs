//! The client's greeting and the server's choice of a method (RFC 1928 section 3).

use std::fmt;

use bytes::{Buf, BufMut, BytesMut};

use super::{Cursor, Decode, DecodeError, Encode, VERSION, version};

/// The number of an authentication method. 0x80 to 0xFE belong to private methods, so the set is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Method(pub u8);

impl Method {
    /// No authentication required.
    pub const NONE: Self = Self(0x00);
    /// GSSAPI (RFC 1961).
    pub const GSSAPI: Self = Self(0x01);
    /// Username and password (RFC 1929).
    pub const USERNAME_PASSWORD: Self = Self(0x02);
    /// The answer to a client none of whose methods is acceptable. Never a method itself.
    pub const NO_ACCEPTABLE: Self = Self(0xFF);

    /// Tells whether the number is reserved for private methods.
    pub fn is_private(self) -> bool {
        (0x80..=0xFE).contains(&self.0)
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#04x}", self.0)
    }
}

/// The first message of a client: the methods it can do, one to 255, in its own order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    methods: Vec<Method>,
}

impl Greeting {
    /// Makes a greeting; `None` when there is no method, or more than 255.
    pub fn new(methods: Vec<Method>) -> Option<Self> {
        (1..=255).contains(&methods.len()).then_some(Self { methods })
    }

    /// Tells whether the client can do `method`. 0xFF is never on offer.
    pub fn offers(&self, method: Method) -> bool {
        method != Method::NO_ACCEPTABLE && self.methods.contains(&method)
    }

    /// The methods in the client's order, as it sent them.
    pub fn methods(&self) -> &[Method] {
        &self.methods
    }
}

impl Decode for Greeting {
    const MAX_LEN: usize = 2 + 255;

    fn decode(src: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        let mut cursor = Cursor::new(src);
        if version(cursor.octet())?.is_none() {
            return Ok(None);
        }
        let Some(count) = cursor.octet() else { return Ok(None) };
        if count == 0 {
            return Err(DecodeError::NoMethods);
        }
        let Some(octets) = cursor.take(count.into()) else { return Ok(None) };
        let methods = octets.iter().copied().map(Method).collect();
        let taken = cursor.taken;
        src.advance(taken);
        Ok(Some(Self { methods }))
    }
}

impl Encode for Greeting {
    fn encode(&self, dst: &mut BytesMut) {
        dst.put_u8(VERSION);
        dst.put_u8(u8::try_from(self.methods.len()).expect("a greeting has at most 255 methods"));
        dst.extend(self.methods.iter().map(|method| method.0));
    }
}

/// The server's answer to a greeting: the method to go on with, or [`Method::NO_ACCEPTABLE`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MethodChoice(pub Method);

impl Decode for MethodChoice {
    const MAX_LEN: usize = 2;

    fn decode(src: &mut BytesMut) -> Result<Option<Self>, DecodeError> {
        let mut cursor = Cursor::new(src);
        if version(cursor.octet())?.is_none() {
            return Ok(None);
        }
        let Some(method) = cursor.octet() else { return Ok(None) };
        src.advance(2);
        Ok(Some(Self(Method(method))))
    }
}

impl Encode for MethodChoice {
    fn encode(&self, dst: &mut BytesMut) {
        dst.put_slice(&[VERSION, self.0.0]);
    }
}
