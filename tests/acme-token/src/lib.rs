//! Acme's tokens: a private authentication method for the gateway, in a crate of its own.
//!
//! The client says `01 LEN TOKEN`, the server answers `01 00` or `01 01`. From then on everything travels in
//! frames of a **toy cipher** that protects nothing: it shows how a method brings a protection of its own.

mod toy;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use socks_auth::{
    AuthError, AuthSession, Authenticated, Authenticator, AuthenticatorFactory, BuildContext, BuildError,
    async_trait,
};
use socks_core::wire::Method;
use socks_core::{Identity, Level, Protection, Timestamp};

pub use toy::{ToyOpen, ToySeal};

/// Makes Acme's authenticator out of its options.
#[derive(Debug)]
pub struct Factory;

/// What stands under `options` of an entry of kind `acme-token`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Options {
    /// The tokens and whom they belong to; at least one.
    pub tokens: Vec<Token>,
    /// The key of the toy cipher, 1 to 255.
    pub cipher_key: u8,
}

/// One token.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Token {
    /// Whom it belongs to.
    pub user: String,
    /// The token itself, 1 to 255 octets.
    pub token: String,
    /// Groups of the user.
    #[serde(default)]
    pub groups: Vec<String>,
    /// For how many hours an authentication counts; without it, for ever.
    pub valid_hours: Option<u32>,
}

impl AuthenticatorFactory for Factory {
    type Options = Options;

    fn kind(&self) -> &'static str {
        "acme-token"
    }

    fn build(&self, options: Options, _: &BuildContext) -> Result<Arc<dyn Authenticator>, BuildError> {
        if options.cipher_key == 0 {
            return Err(BuildError::new("`cipher-key` 0 would change nothing; use 1 to 255"));
        }
        let mut holders = BTreeMap::new();
        for token in options.tokens {
            if token.token.is_empty() || token.token.len() > 255 {
                return Err(BuildError::new(format!("token of `{}` must have 1 to 255 octets", token.user)));
            }
            let user = token.user.clone();
            if holders.insert(token.token.clone().into_bytes(), token).is_some() {
                return Err(BuildError::new(format!("token of `{user}` belongs to somebody else already")));
            }
        }
        if holders.is_empty() {
            return Err(BuildError::new("`tokens` is empty: nobody could log in"));
        }
        Ok(Arc::new(AcmeToken { holders, cipher_key: options.cipher_key }))
    }
}

/// Acme's authenticator.
struct AcmeToken {
    holders: BTreeMap<Vec<u8>, Token>,
    cipher_key: u8,
}

#[async_trait]
impl Authenticator for AcmeToken {
    fn method(&self) -> Method {
        Method(0x80)
    }

    fn protects(&self) -> bool {
        true
    }

    async fn authenticate(&self, session: &mut AuthSession<'_>) -> Result<Authenticated, AuthError> {
        let mut head = [0; 2];
        session.read_exact(&mut head).await?;
        let mut token = vec![0; head[1].into()];
        session.read_exact(&mut token).await?;
        let Some(holder) = self.holders.get(&token).filter(|_| head[0] == 0x01) else {
            session.write_all(&[0x01, 0x01]).await?;
            return Err(AuthError::refused("unknown token"));
        };
        let identity = holder.identity();
        if !session.levels(&identity).allow(Level::Confidentiality) {
            session.write_all(&[0x01, 0x01]).await?;
            return Err(AuthError::LevelRefused { claimed: Some(holder.user.as_str().into()) });
        }
        session.write_all(&[0x01, 0x00]).await?;
        Ok(Authenticated::new(identity).protected(Protection {
            level: Level::Confidentiality,
            seal: Box::new(ToySeal::new(self.cipher_key)),
            open: Box::new(ToyOpen::new(self.cipher_key)),
        }))
    }
}

impl Token {
    fn identity(&self) -> Identity {
        let mut identity = Identity::user(self.user.as_str());
        identity.groups = self.groups.iter().map(|group| group.as_str().into()).collect();
        identity.attributes.insert("acme-badge".into(), format!("badge of {}", self.user).into());
        identity.valid_until = self.valid_hours.and_then(|hours| {
            Timestamp::now().checked_add(Duration::from_secs(u64::from(hours) * 3600)).ok()
        });
        identity
    }
}

#[cfg(test)]
mod tests;
