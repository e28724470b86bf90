//! Password hashes: argon2id in the PHC string format, within bounds.

use std::fmt;
use std::str::FromStr;

use argon2::password_hash::phc::{Output, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Argon2, Params, PasswordHasher, PasswordVerifier, Version};

/// The most memory one hash may take, in KiB: 1 GiB.
const MAX_MEMORY: u32 = 1 << 20;
/// The most memory times passes, in KiB: about four seconds of one processor.
const MAX_WORK: u64 = 4 << 20;
/// The most lanes; they are computed one after the other.
const MAX_LANES: u32 = 16;
/// The least octets of salt and of output.
const MIN_SALT: usize = 8;
const MIN_OUTPUT: usize = 16;
/// Memory times passes below which a hash counts as weak: a little less than OWASP's weakest advice.
const WEAK_WORK: u64 = 35_000;

/// Algorithms that somebody may try to bring along, as hashes name them.
const OTHER_ALGORITHMS: [&str; 12] =
    ["1", "2a", "2b", "2x", "2y", "5", "6", "7", "argon2d", "argon2i", "scrypt", "y"];

/// An argon2id hash that was checked: verifying with it takes bounded time and memory.
#[derive(Clone, PartialEq, Eq)]
pub struct StoredHash {
    hash: PasswordHash,
    cost: Cost,
    text: Box<str>,
}

/// What one verification costs; the same for every password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cost {
    /// Memory times passes, in KiB.
    work: u64,
    memory: u32,
    passes: u32,
    lanes: u32,
}

impl StoredHash {
    /// Hashes a password with a fresh salt: argon2id with 19 MiB, two passes and one lane, as OWASP advises.
    ///
    /// This takes some ten milliseconds of computing.
    ///
    /// # Errors
    /// [`HashError::Length`], or [`HashError::Random`] where the system gives no random octets.
    pub fn of_password(password: &[u8]) -> Result<Self, HashError> {
        if !(1..=255).contains(&password.len()) {
            return Err(HashError::Length(password.len()));
        }
        let hash = Argon2::default().hash_password(password).map_err(|_| HashError::Random)?;
        hash.to_string().parse()
    }

    /// A hash that no password has, and that costs as much as another to find that out.
    pub(super) fn dummy(cost: Cost) -> Result<Self, HashError> {
        let mut random = [0; 48];
        getrandom::fill(&mut random).map_err(|_| HashError::Random)?;
        let (salt, output) = random.split_at(16);
        let params = Params::new(cost.memory, cost.passes, cost.lanes, None).map_err(|_| HashError::Form)?;
        let hash = PasswordHash {
            algorithm: ARGON2ID_IDENT,
            version: Some(Version::V0x13.into()),
            params: (&params).try_into().map_err(|_| HashError::Form)?,
            salt: Some(Salt::new(salt).map_err(|_| HashError::Form)?),
            hash: Some(Output::new(output).map_err(|_| HashError::Form)?),
        };
        hash.to_string().parse()
    }

    /// Tells whether this is the hash of `password`. Computes for as long as the hash's parameters say.
    pub fn verify(&self, password: &[u8]) -> bool {
        Argon2::default().verify_password(password, &self.hash).is_ok()
    }

    /// What a verification costs.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// The hash in the PHC string format, as it was read.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Cost {
    /// The cost of the hashes that [`StoredHash::of_password`] makes.
    pub fn of_new_hashes() -> Self {
        Self::of(&Params::DEFAULT)
    }

    /// Tells whether guessing is cheaper than OWASP advises.
    pub fn is_weak(self) -> bool {
        self.work < WEAK_WORK
    }

    fn of(params: &Params) -> Self {
        let (memory, passes, lanes) = (params.m_cost(), params.t_cost(), params.p_cost());
        Self { work: u64::from(memory) * u64::from(passes), memory, passes, lanes }
    }

    fn check(self) -> Result<(), HashError> {
        if self.memory > MAX_MEMORY {
            return Err(HashError::Memory(self.memory));
        }
        if self.work > MAX_WORK {
            return Err(HashError::Work(self.passes));
        }
        if self.lanes > MAX_LANES {
            return Err(HashError::Lanes(self.lanes));
        }
        Ok(())
    }
}

impl FromStr for StoredHash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Self, HashError> {
        // Only what is surely an algorithm's name is repeated: anything else could be a password.
        let algorithm = text.strip_prefix('$').and_then(|text| text.split('$').next()).unwrap_or_default();
        if OTHER_ALGORITHMS.contains(&algorithm) {
            return Err(HashError::Algorithm(algorithm.into()));
        }
        let hash = PasswordHash::new(text).map_err(|_| HashError::Form)?;
        if hash.algorithm != ARGON2ID_IDENT {
            return Err(HashError::Form);
        }
        if hash.version != Some(Version::V0x13.into()) {
            return Err(HashError::Version);
        }
        let params = Params::try_from(&hash).map_err(|_| HashError::Parameters)?;
        if !params.keyid().is_empty() || !params.data().is_empty() {
            return Err(HashError::Parameters);
        }
        let cost = Cost::of(&params);
        cost.check()?;
        if hash.salt.as_ref().is_none_or(|salt| salt.len() < MIN_SALT) {
            return Err(HashError::Salt);
        }
        if hash.hash.as_ref().is_none_or(|output| output.len() < MIN_OUTPUT) {
            return Err(HashError::Output);
        }
        Ok(Self { hash, cost, text: text.into() })
    }
}

impl fmt::Debug for StoredHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredHash").field("cost", &self.cost).finish_non_exhaustive()
    }
}

/// Why a text is no hash that can be used, or a password cannot be hashed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HashError {
    /// The text has another form.
    #[error("is no hash of the form `$argon2id$v=19$m=…,t=…,p=…$salt$hash`")]
    Form,
    /// It is a hash of another algorithm.
    #[error("is a hash of `{0}` instead of `argon2id`")]
    Algorithm(Box<str>),
    /// It is of another version of argon2.
    #[error("is a hash of another version than `v=19`")]
    Version,
    /// The parameters are not those of argon2, or there is a key or data among them.
    #[error("has parameters other than `m`, `t` and `p` within their ranges")]
    Parameters,
    /// It takes too much memory.
    #[error("takes {0} KiB of memory, more than 1 GiB")]
    Memory(u32),
    /// It takes too long.
    #[error("takes too long with {0} passes: memory times passes is more than 4 GiB")]
    Work(u32),
    /// It has too many lanes.
    #[error("has {0} lanes, more than 16")]
    Lanes(u32),
    /// There is no salt, or too short a one.
    #[error("has a salt of less than 8 octets")]
    Salt,
    /// There is no hash, or too short a one.
    #[error("has an output of less than 16 octets")]
    Output,
    /// A password that cannot be sent (RFC 1929 section 2).
    #[error("a password has 1 to 255 octets, not {0}")]
    Length(usize),
    /// No random octets.
    #[error("the system gives no random octets")]
    Random,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hash of `secret` that is quick to verify.
    const QUICK: &str = "$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$UU2i+1p1mS7L9F7Iw1wb3g";

    fn quick(params: &str) -> Result<StoredHash, HashError> {
        format!("$argon2id$v=19${params}$c2FsdHNhbHRzYWx0$UU2i+1p1mS7L9F7Iw1wb3g").parse()
    }

    #[test]
    fn a_new_hash_knows_its_password_and_has_the_advised_cost() {
        let hash = StoredHash::of_password(b"correct horse").unwrap();
        assert!(hash.verify(b"correct horse"));
        assert!(!hash.verify(b"correct horsf"));
        assert!(hash.as_str().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{}", hash.as_str());
        assert_eq!(hash.cost(), Cost::of_new_hashes());
        assert!(!hash.cost().is_weak());
        assert_ne!(StoredHash::of_password(b"correct horse").unwrap().as_str(), hash.as_str());
        assert_eq!(hash.as_str().parse(), Ok(hash));
    }

    #[test]
    fn a_dummy_costs_what_it_should_and_fits_nothing() {
        let cost = quick("m=16,t=3,p=2").unwrap().cost();
        let dummy = StoredHash::dummy(cost).unwrap();
        assert_eq!(dummy.cost(), cost);
        assert!(!dummy.verify(b"") && !dummy.verify(b"secret"));
    }

    #[test]
    fn hashes_beyond_bounds_are_refused() {
        assert!(QUICK.parse::<StoredHash>().is_ok());
        assert!(quick("m=1048576,t=4,p=1").is_ok());
        assert_eq!(quick("m=1048577,t=1,p=1"), Err(HashError::Memory(1_048_577)));
        assert_eq!(quick("m=1048576,t=5,p=1"), Err(HashError::Work(5)));
        assert_eq!(quick("m=8,t=4294967295,p=1"), Err(HashError::Work(4_294_967_295)));
        assert_eq!(quick("m=1024,t=1,p=17"), Err(HashError::Lanes(17)));
        for params in ["m=8,t=0,p=1", "m=7,t=1,p=1", "m=8,t=1,p=2", "m=8,t=1,p=1,data=AAAA", "m=8,x=1"] {
            assert_eq!(quick(params), Err(HashError::Parameters), "{params}");
        }
    }

    #[test]
    fn other_hashes_are_refused() {
        for (text, expected) in [
            ("", HashError::Form),
            ("secret", HashError::Form),
            ("$2b$12$abcdefghijklmnopqrstuv", HashError::Algorithm("2b".into())),
            (
                "$argon2i$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$UU2i+1p1mS7L9F7Iw1wb3g",
                HashError::Algorithm("argon2i".into()),
            ),
            ("$argon2id$v=16$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$UU2i+1p1mS7L9F7Iw1wb3g", HashError::Version),
            ("$argon2id$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$UU2i+1p1mS7L9F7Iw1wb3g", HashError::Version),
            ("$argon2id$v=19$m=8,t=1,p=1", HashError::Salt),
            ("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0", HashError::Output),
            ("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHRzYWx0$UU2i+1p1mS7L9A", HashError::Output),
        ] {
            assert_eq!(text.parse::<StoredHash>(), Err(expected), "{text}");
        }
    }

    #[test]
    fn a_hash_is_never_shown() {
        let hash: StoredHash = QUICK.parse().unwrap();
        assert!(!format!("{hash:?}").contains("UU2i"));
    }

    #[test]
    fn passwords_that_cannot_be_sent_are_not_hashed() {
        assert_eq!(StoredHash::of_password(b""), Err(HashError::Length(0)));
        assert_eq!(StoredHash::of_password(&[b'x'; 256]), Err(HashError::Length(256)));
    }
}
