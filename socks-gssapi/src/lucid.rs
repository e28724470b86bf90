//! MIT's description of an exported context (`gssapi_krb5.h`), which the bindings do not hold.

use std::ffi::c_void;

/// The version whose layout this is.
pub(crate) const VERSION: u32 = 1;

/// Messages of RFC 1964.
const RFC_1964: u32 = 0;
/// Messages of RFC 4121.
const RFC_4121: u32 = 1;

#[repr(C)]
pub(crate) struct Key {
    pub(crate) enctype: u32,
    pub(crate) length: u32,
    pub(crate) data: *mut c_void,
}

#[repr(C)]
pub(crate) struct Context {
    version: u32,
    pub(crate) initiate: u32,
    pub(crate) end_time: u32,
    pub(crate) send_sequence: u64,
    pub(crate) receive_sequence: u64,
    protocol: u32,
    rfc1964: Rfc1964,
    rfc4121: Rfc4121,
}

#[repr(C)]
struct Rfc1964 {
    sign_algorithm: u32,
    seal_algorithm: u32,
    key: Key,
}

#[repr(C)]
struct Rfc4121 {
    have_acceptor_subkey: u32,
    key: Key,
    acceptor_subkey: Key,
}

/// The keys that count for the kind of messages that a context has.
pub(crate) struct Keys<'a> {
    pub(crate) is_rfc4121: bool,
    pub(crate) key: &'a Key,
    pub(crate) acceptor_subkey: Option<&'a Key>,
}

impl Context {
    /// The keys that count; `None` when the kind of messages is unknown.
    pub(crate) fn keys(&self) -> Option<Keys<'_>> {
        let Rfc4121 { have_acceptor_subkey, key, acceptor_subkey } = &self.rfc4121;
        match self.protocol {
            RFC_1964 => Some(Keys { is_rfc4121: false, key: &self.rfc1964.key, acceptor_subkey: None }),
            RFC_4121 => Some(Keys {
                is_rfc4121: true,
                key,
                acceptor_subkey: (*have_acceptor_subkey != 0).then_some(acceptor_subkey),
            }),
            _ => None,
        }
    }
}
