//! Logins that were verified a moment ago, kept without their passwords.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use blake2::Blake2sMac256;
use blake2::digest::{KeyInit, Mac};
use zeroize::Zeroizing;

use super::{Secret, StoredHash};

/// The most logins that are kept.
const MAX_LOGINS: usize = 4096;

/// A memory of verified logins.
///
/// It holds keyed hashes of name, password and stored hash under a random key that never leaves it: without
/// the process's memory they say nothing, and a changed password or account makes another key.
pub(super) struct Cache {
    secret: Zeroizing<[u8; 32]>,
    verified: Mutex<HashMap<Key, Instant>>,
}

/// The keyed hash of a login.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32]);

impl Cache {
    /// An empty cache with a fresh random key.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut secret = Zeroizing::new([0; 32]);
        getrandom::fill(&mut *secret)?;
        Ok(Self { secret, verified: Mutex::default() })
    }

    /// The key of a login; each part goes in with its length before it.
    pub(super) fn key(&self, name: &[u8], password: &Secret, hash: &StoredHash) -> Key {
        let mut mac = Blake2sMac256::new_from_slice(&*self.secret).expect("32 octets are a key of BLAKE2s");
        for part in [name, password.expose(), hash.as_str().as_bytes()] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        Key(mac.finalize().into_bytes().into())
    }

    /// Notes that a login was verified.
    pub(super) fn keep(&self, key: Key, now: Instant, lifetime: Duration) {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        if verified.len() >= MAX_LOGINS {
            verified.retain(|_, since| now.saturating_duration_since(*since) < lifetime);
        }
        if verified.len() >= MAX_LOGINS {
            let oldest = verified.iter().min_by_key(|(_, since)| **since).map(|(key, _)| *key);
            oldest.and_then(|oldest| verified.remove(&oldest));
        }
        verified.insert(key, now);
    }

    /// Tells whether a login was verified less than `lifetime` ago.
    pub(super) fn holds(&self, key: &Key, now: Instant, lifetime: Duration) -> bool {
        let mut verified = self.verified.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(since) = verified.get(key) else { return false };
        let fresh = now.saturating_duration_since(*since) < lifetime;
        if !fresh {
            verified.remove(key);
        }
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::tests::quick_hash;

    const LIFETIME: Duration = Duration::from_secs(30);

    fn hash(password: &[u8]) -> StoredHash {
        quick_hash(password).parse().unwrap()
    }

    #[test]
    fn keys_depend_on_name_password_hash_and_secret() {
        let (cache, other) = (Cache::new().unwrap(), Cache::new().unwrap());
        let (one, two) = (hash(b"one"), hash(b"two"));
        let key = |cache: &Cache, name: &[u8], password: &[u8], hash: &StoredHash| {
            cache.key(name, &Secret::new(password), hash).0
        };
        let first = key(&cache, b"ab", b"c", &one);
        assert_eq!(first, key(&cache, b"ab", b"c", &one));
        assert_ne!(first, key(&cache, b"a", b"bc", &one));
        assert_ne!(first, key(&cache, b"ab", b"d", &one));
        assert_ne!(first, key(&cache, b"ab", b"c", &two));
        assert_ne!(first, key(&other, b"ab", b"c", &one));
    }

    #[test]
    fn a_login_is_forgotten_after_its_lifetime() {
        let cache = Cache::new().unwrap();
        let key = cache.key(b"a", &Secret::new(b"b"), &hash(b"b"));
        let start = Instant::now();
        assert!(!cache.holds(&key, start, LIFETIME));
        cache.keep(key, start, LIFETIME);
        assert!(cache.holds(&key, start + LIFETIME - Duration::from_nanos(1), LIFETIME));
        assert!(!cache.holds(&key, start + LIFETIME, LIFETIME));
        assert!(!cache.holds(&key, start, LIFETIME), "what has expired stays forgotten");
    }

    #[test]
    fn a_full_cache_forgets_its_oldest() {
        let cache = Cache::new().unwrap();
        let key = |number: usize| {
            let mut octets = [0; 32];
            octets[..8].copy_from_slice(&number.to_le_bytes());
            Key(octets)
        };
        let start = Instant::now();
        let at = |number: usize| start + Duration::from_millis(number as u64);
        for number in 0..=MAX_LOGINS {
            cache.keep(key(number), at(number), LIFETIME);
        }
        assert_eq!(cache.verified.lock().unwrap().len(), MAX_LOGINS);
        assert!(!cache.holds(&key(0), at(MAX_LOGINS), LIFETIME));
        assert!(cache.holds(&key(1), at(MAX_LOGINS), LIFETIME));
        cache.keep(key(9999), start + LIFETIME * 2, LIFETIME);
        assert_eq!(cache.verified.lock().unwrap().len(), 1, "first goes what has expired");
    }
}
