//! Checks that every authentication method should pass, and the other side of a session for its own tests.
//!
//! [`check`] plays a scripted [`Client`] against an authenticator in every way a network can: whole messages,
//! one octet at a time, with more octets behind the last message, and hanging up after each octet.
//!
//! ```
//! # use socks_auth::{none::NoAuthentication, testing::{Client, End, check}};
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
//! let client = Client::new(); // .sends(..).hears(..), message by message
//! check(&NoAuthentication, &client, End::Granted).await.expect("the method is well behaved");
//! # });
//! ```

mod client;
mod fake;
mod guard;
mod play;

pub use client::{Client, End};
pub use fake::{FakePolicy, FakeSession};
pub use guard::FakeGuard;
pub use play::{CheckFailure, check};
