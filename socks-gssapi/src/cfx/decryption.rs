//! Decryption with an encryption type's own check, of tokens and of Kerberos' own messages alike.

use zeroize::Zeroizing;

use super::cipher::Decryptor;
use super::derive::{DerivedKey, Purpose};
use super::enctype::{Enctype, Profile};
use super::mac::Mac;
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

    /// Decrypts more than [`CONFOUNDER`] octets in place, the confounder first; tells whether they are authentic.
    pub(super) fn decrypt(&self, ciphertext: &mut [u8], tag: &[u8]) -> bool {
        match self.enctype.profile() {
            Profile::Simplified => {
                self.encryption.decrypt(ciphertext);
                self.integrity.verify(&[], ciphertext, tag)
            }
            Profile::EncryptThenMac => {
                // RFC 8009 section 5: the cipher state, which is zero, stands before the ciphertext.
                let authentic = self.integrity.verify(&[0; CONFOUNDER], ciphertext, tag);
                if authentic {
                    self.encryption.decrypt(ciphertext);
                }
                authentic
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
    let authentic = Decryption::new(enctype, protocol_key, usage).decrypt(&mut plaintext, tag);
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
