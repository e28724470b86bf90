//! No authentication: the client is let in unasked, as an anonymous identity (RFC 1928 section 3, method 0x00).

use std::sync::Arc;

use async_trait::async_trait;
use socks_core::Identity;
use socks_core::wire::Method;

use crate::{
    AuthError, AuthSession, Authenticated, Authenticator, AuthenticatorFactory, BuildContext, BuildError,
    NoOptions,
};

/// Makes [`NoAuthentication`] of an entry of the kind `none`.
#[derive(Debug, Clone, Copy)]
pub struct Factory;

impl AuthenticatorFactory for Factory {
    type Options = NoOptions;

    fn kind(&self) -> &'static str {
        "none"
    }

    fn build(&self, _: NoOptions, _: &BuildContext) -> Result<Arc<dyn Authenticator>, BuildError> {
        Ok(Arc::new(NoAuthentication))
    }
}

/// Lets in whom the policy lets in without a name.
#[derive(Debug, Clone, Copy)]
pub struct NoAuthentication;

#[async_trait]
impl Authenticator for NoAuthentication {
    fn method(&self) -> Method {
        Method::NONE
    }

    async fn authenticate(&self, session: &mut AuthSession<'_>) -> Result<Authenticated, AuthError> {
        let identity = Identity::anonymous();
        session.require_unprotected(&identity)?;
        Ok(Authenticated::new(identity))
    }
}

#[cfg(test)]
mod tests {
    use socks_core::{Level, Levels};

    use super::*;
    use crate::testing::{Client, End, check};

    #[tokio::test]
    async fn everybody_is_let_in_and_nothing_is_read() {
        check(&NoAuthentication, &Client::new(), End::Granted).await.unwrap();
    }

    #[tokio::test]
    async fn nobody_is_let_in_where_the_policy_asks_for_protection() {
        let client = Client::new().with_levels(Levels::Only(vec![Level::Confidentiality]));
        check(&NoAuthentication, &client, End::LevelRefused).await.unwrap();
    }
}
