//! Authentication methods of a SOCKS5 gateway.
//!
//! A method is an [`Authenticator`], made from its configuration by an [`AuthenticatorFactory`] that stands in
//! a [`Registry`]. What ships here, [`none`] and [`password`], registers the way a stranger's crate does; the
//! checks that each method should pass are in [`testing`].
//!
//! Groups that a method does not learn from its own proof come from the sources in [`groups`].
//!
//! A method whose proofs can be guessed asks before it judges one ([`AuthSession::attempt`]), so that guessing becomes
//! slow and ends in a lock.
//!
//! A method sees an [`AuthSession`]: a byte pipe and what is known of the client, never a socket, a policy or
//! a configuration file.
//!
//! ```
//! use std::sync::Arc;
//! use socks_auth::{AuthError, AuthSession, Authenticated, Authenticator, async_trait};
//! use socks_core::{Identity, wire::Method};
//!
//! /// Lets in whoever says the right octet.
//! struct Knock(u8);
//!
//! #[async_trait]
//! impl Authenticator for Knock {
//!     fn method(&self) -> Method {
//!         Method(0x80)
//!     }
//!
//!     async fn authenticate(&self, session: &mut AuthSession<'_>) -> Result<Authenticated, AuthError> {
//!         let mut knock = [0];
//!         session.read_exact(&mut knock).await?;
//!         let granted = knock == [self.0];
//!         session.write_all(&[u8::from(!granted)]).await?;
//!         if !granted {
//!             return Err(AuthError::refused("wrong knock"));
//!         }
//!         Ok(Authenticated::new(Identity::user("visitor")))
//!     }
//! }
//! ```

mod authenticator;
mod factory;
pub mod groups;
mod logins;
pub mod none;
pub mod password;
mod registry;
mod session;
pub mod testing;

pub use async_trait::async_trait;
pub use authenticator::{Account, AuthError, Authenticated, Authenticator, Figures};
pub use factory::{AuthenticatorFactory, BuildContext, BuildError, NoOptions};
pub use logins::{Attempt, Lockout, LoginGuard, Passage, Standing};
pub use registry::{DuplicateKind, Registry};
pub use session::{AuthSession, BytePipe, ClientInfo, LevelPolicy};
pub use socks_config::value::{Size, Span};
