//! Decryption with an encryption type's own check, of tokens and of Kerberos' own messages alike.

use std::slice;

use zeroize::Zeroizing;

use super::cipher::Decryptor;
use super::derive::{DerivedKey, Purpose};
use super::enctype::{Enctype, Profile};
use super::mac::{Checking, Mac};
use super::token::CONFOUNDER;

/// The keys that decrypt for one usage.
pub(super) struct Decryption {
    enctype: Enctype,
    encryption: Decryptor,
    integrity: Mac,
}

impl Decryption {
    pub(super) fn new(enctype: Enctype, protocol_key: &[u8], usage: u32) -> Self {
        let derive = |purpose| DerivedKey::derive(enctype, protocol_key, usage, purpose);
        Self {
            enctype,
            encryption: Decryptor::new(derive(Purpose::Encryption).octets()),
            integrity: Mac::new(enctype, derive(Purpose::Integrity).octets()),
        }
    }

    /// Decrypts messages of more than [`CONFOUNDER`] octets in place, the confounder first, and tells of each whether
    /// it is authentic. What is not may be left encrypted.
    pub(super) fn decrypt_all(&self, messages: &mut [Checking<'_>]) {
        match self.enctype.profile() {
            Profile::Simplified => {
                for message in &mut *messages {
                    self.encryption.decrypt(message.content);
                }
                self.integrity.verify_all(&[], messages);
            }
            Profile::EncryptThenMac => {
                // RFC 8009 section 5: the cipher state, which is zero, stands before the ciphertext.
                self.integrity.verify_all(&[0; CONFOUNDER], messages);
                for message in messages.iter_mut().filter(|message| message.authentic) {
                    self.encryption.decrypt(message.content);
                }
            }
        }
    }
}

/// Decrypts an `EncryptedData` of RFC 4120; `None` when the key is another one.
pub(crate) fn decrypt(
    enctype: Enctype,
    protocol_key: &[u8],
    usage: u32,
    sealed: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let (ciphertext, tag) = sealed.split_at_checked(sealed.len().checked_sub(enctype.tag_len())?)?;
    if ciphertext.len() <= CONFOUNDER || protocol_key.len() != enctype.key_len() {
        return None;
    }
    let mut plaintext = Zeroizing::new(ciphertext.to_vec());
    let mut message = Checking { content: &mut plaintext, tag, ..Checking::default() };
    Decryption::new(enctype, protocol_key, usage).decrypt_all(slice::from_mut(&mut message));
    let authentic = message.authentic;
    plaintext.drain(..CONFOUNDER);
    authentic.then_some(plaintext)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cfx::testing::unhex;

    #[test]
    fn what_rfc_8009_appendix_a_encrypts_comes_out_again() {
        let key = unhex("3705d96080c17728a0e800eab6e0d23c");
        let mut sealed =
            unhex("84d7f30754ed987bab0bf3506beb09cfb55402cef7e6 877ce99e247e52d16ed4421dfdf8976c");
        let plaintext = decrypt(Enctype::Aes128Sha256, &key, 2, &sealed).unwrap();
        assert_eq!(*plaintext, [0, 1, 2, 3, 4, 5]);
        sealed[3] ^= 1;
        assert_eq!(decrypt(Enctype::Aes128Sha256, &key, 2, &sealed), None);
        for len in 0..sealed.len() {
            assert_eq!(decrypt(Enctype::Aes128Sha256, &key, 2, &sealed[..len]), None);
        }
    }
}
