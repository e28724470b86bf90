//! The calls of MIT's GSSAPI library, behind owned and safe types.
//!
//! Everything here may read files, and the initiator may talk to the network: it belongs on a thread of its
//! own. A [`Failure`] fetches its text before it returns, because MIT keeps the text for the thread that
//! failed.
#![allow(unsafe_code)]

use std::ffi::{CString, c_int, c_void};
use std::sync::Once;
use std::{ptr, slice};

use libgssapi_sys as c;
use zeroize::Zeroizing;

use crate::gss::oid::{KRB5, LUCID_KEYS, NO_CI_FLAGS, Oid};
use crate::gss::{
    AttributeValue, Facts, FailedStep, Failure, Lucid, LucidKey, Mechanisms, NameKind, Names, Progress,
    Unwrapped, Usage, Verdict,
};
use crate::initiator::Request;
use crate::lucid;

/// The most values of one name attribute.
const MOST_VALUES: usize = 64;

/// Makes a call that puts its minor status where it is told to, and passes the supplementary bits if it succeeds.
fn called(call: impl FnOnce(&mut u32) -> u32) -> Result<u32, Failure> {
    let mut minor = 0;
    let major = call(&mut minor);
    // RFC 2744 section 3.9.1: calling and routine errors are in the upper half.
    if major & 0xFFFF_0000 != 0 { Err(Failure::of(major, minor)) } else { Ok(major) }
}

/// The library's words for a status of this thread's last call.
pub(crate) fn status_text(code: u32, kind: u32, mechanism: Option<Oid>) -> String {
    let mut text = String::new();
    let (mut more, mut mechanism) = (0, mechanism.map(oid));
    loop {
        let (mut minor, mut buffer) = (0, Buffer::empty());
        let mechanism = mechanism.as_mut().map_or(ptr::null_mut(), ptr::from_mut);
        // SAFETY: all pointers are to locals that outlive the call; `buffer` owns what comes back.
        let major = unsafe {
            c::gss_display_status(&mut minor, code, kind.cast_signed(), mechanism, &mut more, &mut buffer.0)
        };
        if major != c::GSS_S_COMPLETE {
            return text;
        }
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&buffer.text());
        if more == 0 {
            return text;
        }
    }
}

/// The library takes descriptions of constants by pointers that it does not write through.
fn oid(oid: Oid) -> c::gss_OID_desc {
    // No object identifier here is longer than a few octets.
    #[allow(clippy::cast_possible_truncation)]
    let length = oid.len() as u32;
    c::gss_OID_desc { length, elements: oid.as_ptr().cast_mut().cast() }
}

/// Lends octets to a call that only reads them.
fn lend(octets: &[u8]) -> c::gss_buffer_desc {
    c::gss_buffer_desc { length: octets.len(), value: octets.as_ptr().cast_mut().cast() }
}

/// The octets behind a description that the library made.
///
/// # Safety
/// `buffer` is empty, or describes initialised octets that live and do not change for `'a`.
unsafe fn described<'a>(buffer: &c::gss_buffer_desc) -> &'a [u8] {
    if buffer.value.is_null() || buffer.length == 0 {
        return &[];
    }
    // SAFETY: the caller's promise, and it is neither null nor empty.
    unsafe { slice::from_raw_parts(buffer.value.cast(), buffer.length) }
}

/// Octets that the library allocated.
struct Buffer(c::gss_buffer_desc);

impl Buffer {
    fn empty() -> Self {
        Self(c::gss_buffer_desc { length: 0, value: ptr::null_mut() })
    }

    fn octets(&self) -> &[u8] {
        // SAFETY: empty, or filled by the library; it is ours until `drop`, and nobody writes while it is lent.
        unsafe { described(&self.0) }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(self.octets()).into_owned()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: empty or allocated by the library, and released once.
        unsafe { c::gss_release_buffer(&mut 0, &mut self.0) };
    }
}

/// Buffers that the library allocated.
struct Buffers(c::gss_buffer_set_t);

impl Buffers {
    fn none() -> Self {
        Self(ptr::null_mut())
    }

    fn all(&self) -> impl Iterator<Item = &[u8]> {
        // SAFETY: null, or a live set of the library, which is ours until `drop`; nobody writes while it is lent.
        let set = unsafe { self.0.as_ref() }.filter(|set| !set.elements.is_null());
        // SAFETY: a set has as many buffers as it counts.
        let buffers = set.map(|set| unsafe { slice::from_raw_parts(set.elements, set.count) });
        // SAFETY: a live set's buffers describe live octets.
        buffers.unwrap_or_default().iter().map(|buffer| unsafe { described(buffer) })
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: null or made by the library, and released once; null is allowed.
        unsafe { c::gss_release_buffer_set(&mut 0, &mut self.0) };
    }
}

/// A name.
pub(crate) struct Name(c::gss_name_t);

// SAFETY: a name is data without ties to a thread; one thread at a time has it.
unsafe impl Send for Name {}

impl Name {
    /// Reads a name; a host-based one may be looked up in the domain name system.
    pub(crate) fn import(text: &str, kind: NameKind) -> Result<Self, Failure> {
        let (mut text, mut name) = (lend(text.as_bytes()), Self(ptr::null_mut()));
        let mut kind = oid(kind.oid());
        // SAFETY: all pointers are to locals that outlive the call; the text is only read and copied.
        called(|minor| unsafe { c::gss_import_name(minor, &mut text, &mut kind, &mut name.0) })?;
        Ok(name)
    }

    /// The name as Kerberos prints it.
    pub(crate) fn display(&self) -> Result<String, Failure> {
        let mut text = Buffer::empty();
        // SAFETY: the name is alive, all other pointers are to locals; the type is not asked for.
        called(|minor| unsafe { c::gss_display_name(minor, self.0, &mut text.0, ptr::null_mut()) })?;
        Ok(text.text())
    }

    /// The local user that the configuration of Kerberos maps the name to.
    pub(crate) fn local(&self) -> Result<String, Failure> {
        let mut text = Buffer::empty();
        // SAFETY: the name is alive, all other pointers are to locals; no mechanism means the name's own.
        called(|minor| unsafe { c::gss_localname(minor, self.0, ptr::null(), &mut text.0) })?;
        Ok(text.text())
    }

    /// What the attributes are called that the name has.
    pub(crate) fn attributes(&self) -> Result<Vec<String>, Failure> {
        let (mut names, unasked) = (Buffers::none(), ptr::null_mut());
        // SAFETY: the name is alive, all other pointers are to locals, and null for results that nobody asks.
        called(|minor| unsafe {
            c::gss_inquire_name(minor, self.0, unasked, ptr::null_mut(), &mut names.0)
        })?;
        Ok(names.all().map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    /// The values of an attribute; none when the name has no such attribute.
    pub(crate) fn attribute(&self, attribute: &str) -> Result<Vec<AttributeValue>, Failure> {
        let (mut values, mut more) = (Vec::new(), -1);
        while more != 0 && values.len() < MOST_VALUES {
            let (mut authenticated, mut complete) = (0, 0);
            let mut attribute = lend(attribute.as_bytes());
            let (mut value, mut shown) = (Buffer::empty(), Buffer::empty());
            // SAFETY: the name is alive, all other pointers are to locals; `more` is what the call before left.
            let answer = called(|minor| unsafe {
                c::gss_get_name_attribute(
                    minor,
                    self.0,
                    &mut attribute,
                    &mut authenticated,
                    &mut complete,
                    &mut value.0,
                    &mut shown.0,
                    &mut more,
                )
            });
            match answer {
                Err(failure) if failure.is_unavailable() => break,
                answer => answer?,
            };
            let (authenticated, complete) = (authenticated != 0, complete != 0);
            values.push(AttributeValue { authenticated, complete, octets: value.octets().to_vec() });
        }
        Ok(values)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // SAFETY: null or made by the library, and released once; null is allowed.
        unsafe { c::gss_release_name(&mut 0, &mut self.0) };
    }
}

/// A credential. The library locks it for the whole of an accept: each thread wants its own.
pub(crate) struct Credential(c::gss_cred_id_t);

// SAFETY: a credential has no ties to a thread; one thread at a time has it.
unsafe impl Send for Credential {}

impl Credential {
    /// Acquires a credential from the places that `store` names (`keytab`, `rcache`, `ccache`), and from the
    /// environment's for those it does not.
    pub(crate) fn acquire(
        usage: Usage,
        mechanisms: Mechanisms,
        store: &[(CString, CString)],
    ) -> Result<Self, Failure> {
        let mut elements: Vec<_> = store
            .iter()
            .map(|(key, value)| c::gss_key_value_element_desc { key: key.as_ptr(), value: value.as_ptr() })
            .collect();
        let count = u32::try_from(elements.len()).map_err(|_| Failure::ours("store has too many entries"))?;
        let store = c::gss_key_value_set_desc { count, elements: elements.as_mut_ptr() };
        let mut oids: Vec<_> = mechanisms.oids().iter().map(|mechanism| oid(mechanism)).collect();
        let mut mechanisms = c::gss_OID_set_desc { count: oids.len(), elements: oids.as_mut_ptr() };
        let mut credential = Self(ptr::null_mut());
        // SAFETY: all pointers are to locals, or to strings that `store` borrows, and outlive the call; a null
        // name means any, and null for what was acquired and for how long means that nobody asks.
        called(|minor| unsafe {
            c::gss_acquire_cred_from(
                minor,
                ptr::null_mut(),
                u32::MAX,
                &mut mechanisms,
                usage.number().cast_signed(),
                &store,
                &mut credential.0,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        })?;
        if oids.len() > 1 { credential.negotiate_krb5_only() } else { Ok(credential) }
    }

    /// Keeps an initiator from offering confidentiality and integrity that nobody has asked for.
    pub(crate) fn offer_only_what_is_asked(mut self) -> Result<Self, Failure> {
        let (mut option, mut nothing) = (oid(NO_CI_FLAGS), lend(&[]));
        // SAFETY: the credential is alive and borrowed alone; the other pointers are to locals.
        called(|minor| unsafe { c::gss_set_cred_option(minor, &mut self.0, &mut option, &mut nothing) })?;
        Ok(self)
    }

    /// Keeps SPNEGO from agreeing to another mechanism than Kerberos.
    fn negotiate_krb5_only(self) -> Result<Self, Failure> {
        let mut krb5 = oid(KRB5);
        let mut mechanisms = c::gss_OID_set_desc { count: 1, elements: &mut krb5 };
        // SAFETY: the credential is alive; the set is local and copied.
        called(|minor| unsafe { c::gss_set_neg_mechs(minor, self.0, &mut mechanisms) })?;
        Ok(self)
    }
}

impl Drop for Credential {
    fn drop(&mut self) {
        // SAFETY: null or made by the library, and released once; null is allowed.
        unsafe { c::gss_release_cred(&mut 0, &mut self.0) };
    }
}

/// A security context, established or on the way. It may move between threads, and one at a time has it.
pub(crate) struct Context(c::gss_ctx_id_t);

// SAFETY: a context has no ties to a thread; `&mut self` on whatever changes it keeps two from meeting there.
unsafe impl Send for Context {}

impl Context {
    /// A context of which nothing is there yet.
    pub(crate) fn new() -> Self {
        Self(ptr::null_mut())
    }

    /// Gives a token of the initiator to the context, and takes the answer.
    pub(crate) fn accept(
        &mut self,
        credential: &mut Credential,
        token: &[u8],
    ) -> Result<(Progress, Vec<u8>), FailedStep> {
        let (mut input, mut output) = (lend(token), Buffer::empty());
        // SAFETY: context and credential are alive and borrowed alone, the token is only read, all other
        // pointers are to locals; null means no channel bindings, and for results that nobody asks: delegated
        // credentials are thus never taken.
        let answer = called(|minor| unsafe {
            c::gss_accept_sec_context(
                minor,
                &mut self.0,
                credential.0,
                &mut input,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                &mut output.0,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        });
        stepped(answer, &output)
    }

    /// Gives the acceptor's token, if there is one, to the context, and takes the next for it.
    pub(crate) fn initiate(
        &mut self,
        request: &mut Request,
        token: &[u8],
    ) -> Result<(Progress, Vec<u8>), FailedStep> {
        let (mut input, mut output) = (lend(token), Buffer::empty());
        let mut mechanism = oid(request.mechanism);
        // SAFETY: context, credential and name are alive, the token is only read, all other pointers are to
        // locals; null means no channel bindings, and for results that nobody asks.
        let answer = called(|minor| unsafe {
            c::gss_init_sec_context(
                minor,
                request.credential.0,
                &mut self.0,
                request.target.0,
                &mut mechanism,
                request.flags,
                0,
                ptr::null_mut(),
                &mut input,
                ptr::null_mut(),
                &mut output.0,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        });
        stepped(answer, &output)
    }

    /// What kind of context it is, once it is established.
    pub(crate) fn facts(&self) -> Result<Facts, Failure> {
        let (mut flags, mut mechanism) = (0, ptr::null_mut());
        // SAFETY: the context is alive or null, which the library refuses; all other pointers are to locals,
        // and null for results that nobody asks.
        called(|minor| unsafe {
            let (name, end, way) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
            c::gss_inquire_context(minor, self.0, name, name, end, &mut mechanism, &mut flags, way, way)
        })?;
        // SAFETY: null, or the library's own description, which it never releases.
        let is_krb5 = unsafe { mechanism.as_ref() }.is_some_and(|oid| {
            let elements = c::gss_buffer_desc { length: oid.length as usize, value: oid.elements };
            // SAFETY: a description's elements are as many octets as it says.
            unsafe { described(&elements) == KRB5 }
        });
        Ok(Facts { flags, is_krb5 })
    }

    /// Who is at the two ends of the context, once it is established.
    pub(crate) fn names(&self) -> Result<Names, Failure> {
        let (mut initiator, mut acceptor) = (Name(ptr::null_mut()), Name(ptr::null_mut()));
        // SAFETY: as above.
        called(|minor| unsafe {
            let (end, mechanism, flags) = (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
            let (initiator, acceptor, way) = (&mut initiator.0, &mut acceptor.0, ptr::null_mut());
            c::gss_inquire_context(minor, self.0, initiator, acceptor, end, mechanism, flags, way, way)
        })?;
        Ok(Names { initiator, acceptor })
    }

    /// Exports the keys of an established context, which stays as it is.
    pub(crate) fn keys(&self) -> Result<Lucid, Failure> {
        let (mut which, mut set) = (oid(LUCID_KEYS), Buffers::none());
        // SAFETY: the context is alive or null, which the library refuses; all other pointers are to locals.
        called(|minor| unsafe { c::gss_inquire_sec_context_by_oid(minor, self.0, &mut which, &mut set.0) })?;
        // The first buffer holds one pointer, to a context description.
        let exported = set.all().next().and_then(pointer);
        let exported = exported.ok_or_else(|| Failure::ours("library exports no context keys"))?;
        // SAFETY: the pointer that the library gave for this purpose: version 1, as the identifier asks.
        let lucid = unsafe { read_lucid(exported) };
        // SAFETY: from the export above, and released once; the library erases the keys.
        unsafe { gss_krb5_free_lucid_sec_context(&mut 0, exported) };
        lucid
    }

    /// Makes a token of a plaintext.
    pub(crate) fn wrap(&mut self, encrypt: bool, plaintext: &[u8]) -> Result<Vec<u8>, Failure> {
        let (mut input, mut output) = (lend(plaintext), Buffer::empty());
        let mut encrypted: c_int = 0;
        // SAFETY: the context is alive and borrowed alone, the plaintext is only read, all other pointers are
        // to locals.
        called(|minor| unsafe {
            c::gss_wrap(minor, self.0, encrypt.into(), 0, &mut input, &mut encrypted, &mut output.0)
        })?;
        if encrypt && encrypted == 0 {
            return Err(Failure::ours("library does not encrypt with this context"));
        }
        Ok(output.octets().to_vec())
    }

    /// Takes the plaintext out of a token, whose octets are spoiled then: the library turns them in place.
    pub(crate) fn unwrap(&mut self, token: &mut [u8]) -> Result<Unwrapped, Failure> {
        let mut output = Buffer::empty();
        let mut input = c::gss_buffer_desc { length: token.len(), value: token.as_mut_ptr().cast() };
        let mut encrypted: c_int = 0;
        // SAFETY: the context is alive and borrowed alone, the token may be written, all other pointers are to
        // locals; the quality of protection is always the default one.
        let bits = called(|minor| unsafe {
            c::gss_unwrap(minor, self.0, &mut input, &mut output.0, &mut encrypted, ptr::null_mut())
        })?;
        let plaintext = Zeroizing::new(output.octets().to_vec());
        Ok(Unwrapped { plaintext, was_encrypted: encrypted != 0, verdict: Verdict::of(bits) })
    }

    /// The most octets of plaintext whose token has at most `token_len` octets.
    pub(crate) fn wrap_size_limit(&self, encrypt: bool, token_len: u32) -> Result<u32, Failure> {
        let mut limit = 0;
        // SAFETY: the context is alive or null, which the library refuses; all other pointers are to locals.
        called(|minor| unsafe {
            c::gss_wrap_size_limit(minor, self.0, encrypt.into(), 0, token_len, &mut limit)
        })?;
        Ok(limit)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: null or made by the library, and deleted once; null is allowed, and no token is asked for.
        unsafe { c::gss_delete_sec_context(&mut 0, &mut self.0, ptr::null_mut()) };
    }
}

fn stepped(answer: Result<u32, Failure>, output: &Buffer) -> Result<(Progress, Vec<u8>), FailedStep> {
    let token = output.octets().to_vec();
    match answer {
        Ok(bits) => Ok((Progress::of(bits), token)),
        Err(failure) => Err(FailedStep { failure, token }),
    }
}

/// The pointer that is in these octets.
fn pointer(octets: &[u8]) -> Option<*mut c_void> {
    let address = usize::from_ne_bytes(octets.try_into().ok()?);
    let pointer = ptr::with_exposed_provenance_mut::<c_void>(address);
    (!pointer.is_null()).then_some(pointer)
}

#[link(name = "krb5")]
unsafe extern "C" {
    fn krb5_init_context(context: *mut *mut c_void) -> c_int;
    fn gss_krb5_free_lucid_sec_context(minor: *mut u32, context: *mut c_void) -> u32;
}

/// Copies what is in a description of an exported context.
///
/// # Safety
/// `exported` is a live description of version 1, or begins with another version's number.
unsafe fn read_lucid(exported: *const c_void) -> Result<Lucid, Failure> {
    // SAFETY: each version begins with its number.
    if unsafe { exported.cast::<u32>().read() } != lucid::VERSION {
        return Err(Failure::ours("library exports context keys in an unknown form"));
    }
    // SAFETY: it is version 1, whose layout this is.
    let context = unsafe { &*exported.cast::<lucid::Context>() };
    let keys = context.keys().ok_or_else(|| Failure::ours("context has messages of an unknown kind"))?;
    Ok(Lucid {
        is_initiator: context.initiate != 0,
        ends_at: context.end_time,
        send_sequence: context.send_sequence,
        receive_sequence: context.receive_sequence,
        is_rfc4121: keys.is_rfc4121,
        // SAFETY: the keys of the protocol that the description names are alive as long as it is.
        key: unsafe { copy_key(keys.key) },
        // SAFETY: as above.
        acceptor_subkey: keys.acceptor_subkey.map(|key| unsafe { copy_key(key) }),
    })
}

/// # Safety
/// `key` describes live octets, or has none.
unsafe fn copy_key(key: &lucid::Key) -> LucidKey {
    let octets = c::gss_buffer_desc { length: key.length as usize, value: key.data };
    // SAFETY: the caller's promise.
    LucidKey { enctype: key.enctype, octets: unsafe { described(&octets) }.to_vec().into() }
}

/// Lets the library keep krb5.conf as it has read it, until the file changes: it forgets it with its last context.
pub(crate) fn keep_configuration() {
    static KEPT: Once = Once::new();
    // SAFETY: the pointer is to a local; what it gives is never freed. Accepting tells why where it gives nothing.
    KEPT.call_once(|| _ = unsafe { krb5_init_context(&mut ptr::null_mut()) });
}
