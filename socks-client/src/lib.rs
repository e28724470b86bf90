//! The client side of a SOCKS5 gateway: connections through it, with Kerberos and encryption if wanted.
//!
//! A [`Client`] knows a gateway and how to log in there; [`Client::connect`] gives a [`Connection`], a stream
//! of octets like any other, whatever protects it on its way. No step waits without a deadline, and nothing
//! that a gateway sends is trusted before it was checked. A method is a [`ClientAuth`]: [`NoAuthentication`],
//! [`Password`] and [`Gssapi`] ship, others plug in the same way. [`Client::bind`] lets the gateway accept one
//! connection ([`Listening`]), [`Client::associate`] lets it relay datagrams ([`Association`]), with the same
//! protection. The crate resolves no target's name: that is the gateway's business.
//!
//! ```no_run
//! use socks_client::{Client, Gssapi, Level};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::builder("gateway.corp.example:1080".parse()?)
//!     .method(Gssapi::new(Level::Confidentiality))
//!     .build()?;
//! let mut connection = client.connect("git.corp.example:22".parse()?).await?;
//! connection.write_all(b"SSH-2.0-example\r\n").await?;
//! connection.flush().await?;
//! let mut banner = [0; 7];
//! connection.read_exact(&mut banner).await?;
//! # Ok(())
//! # }
//! ```

mod association;
mod auth;
mod client;
mod connection;
mod dial;
mod error;
mod exchange;
mod gssapi;
mod listening;
mod outcome;
mod password;
mod request;
pub mod testing;

pub use association::{Association, DatagramError};
pub use async_trait::async_trait;
pub use auth::{ClientAuth, NoAuthentication};
pub use client::{BuildError, Client, ClientBuilder, Timeouts};
pub use connection::{Connection, Parts};
pub use error::{ConnectError, Fault, Step};
pub use exchange::{Exchange, Pipe};
pub use gssapi::{Gssapi, ServiceName, ServiceNameError};
pub use listening::Listening;
pub use password::{LoginError, Password};
pub use socks_core::Level;
pub use socks_core::wire::{Method, ReplyCode, Target};
