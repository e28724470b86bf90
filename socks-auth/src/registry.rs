//! The kinds of methods that a program knows.

use std::fmt;
use std::sync::Arc;

use socks_config::{Finding, Findings, Node, Value};

use crate::{Authenticator, AuthenticatorFactory, BuildContext, BuildError, none, password};

/// The factories of a program, each under its kind.
#[derive(Default)]
pub struct Registry {
    factories: Vec<Box<dyn Factory>>,
}

impl Registry {
    /// A registry that knows no kind.
    pub fn new() -> Self {
        Self::default()
    }

    /// A registry with the kinds of this crate: `none` and `password`.
    pub fn shipped() -> Self {
        let mut registry = Self::new();
        registry.register(none::Factory).expect("nothing is registered yet");
        registry.register(password::Factory).expect("only `none` is registered yet");
        registry
    }

    /// Adds a kind.
    ///
    /// # Errors
    /// [`DuplicateKind`] when the kind is there already; the registry stays as it is.
    pub fn register<F: AuthenticatorFactory>(&mut self, factory: F) -> Result<(), DuplicateKind> {
        let kind = factory.kind();
        if self.find(kind).is_some() {
            return Err(DuplicateKind(kind));
        }
        self.factories.push(Box::new(factory));
        Ok(())
    }

    /// The kinds in the order in which they were added.
    pub fn kinds(&self) -> Vec<&'static str> {
        self.factories.iter().map(|factory| factory.kind()).collect()
    }

    /// Makes the authenticator of an `auth` entry with that `kind` and those `options`.
    ///
    /// Warnings are left in `context`.
    ///
    /// # Errors
    /// An unknown kind at its place; a mistake in the options at the key or value it is about; what the factory
    /// says at the options' place, or at the places in a file that it read.
    pub fn build(
        &self,
        kind: &Node,
        options: Option<&Node>,
        context: &BuildContext,
    ) -> Result<Arc<dyn Authenticator>, Findings> {
        let name = kind.text()?;
        let Some(factory) = self.find(name) else { return Err(self.unknown(kind, name).into()) };
        let none = Node { place: kind.place.clone(), value: Value::Map(Vec::new()) };
        let options = options.filter(|options| !options.is_null()).unwrap_or(&none);
        factory.build(options, context)
    }

    fn find(&self, kind: &str) -> Option<&dyn Factory> {
        self.factories.iter().find(|factory| factory.kind() == kind).map(|factory| &**factory)
    }

    fn unknown(&self, kind: &Node, name: &str) -> Finding {
        let kinds = self.kinds();
        let finding = Finding::mistake(&kind.place, format!("unknown kind `{name}`"));
        match socks_config::nearest(name, &kinds) {
            Some(word) => finding.with_help(format!("did you mean `{word}`?")),
            None => finding.with_help(format!("known kinds: `{}`", kinds.join("`, `"))),
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Registry").field(&self.kinds()).finish()
    }
}

/// Two factories of the same kind in one program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("two authentication methods are of the kind `{0}`")]
pub struct DuplicateKind(pub &'static str);

/// A factory whose options' type is forgotten.
trait Factory: Send + Sync {
    fn kind(&self) -> &'static str;

    fn build(&self, options: &Node, context: &BuildContext) -> Result<Arc<dyn Authenticator>, Findings>;
}

impl<F: AuthenticatorFactory> Factory for F {
    fn kind(&self) -> &'static str {
        AuthenticatorFactory::kind(self)
    }

    fn build(&self, options: &Node, context: &BuildContext) -> Result<Arc<dyn Authenticator>, Findings> {
        let read = options.read()?;
        AuthenticatorFactory::build(self, read, context).map_err(|error| placed(error, options))
    }
}

/// What a factory says, with a place for everything that has none of its own.
fn placed(error: BuildError, options: &Node) -> Findings {
    let place = || Some(options.place.clone());
    match error {
        BuildError::File(findings) => {
            findings.into_iter().map(|it| Finding { place: it.place.clone().or_else(place), ..it }).collect()
        }
        other => Finding::mistake(&options.place, other.to_string()).into(),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use socks_config::Document;
    use socks_core::wire::Method;

    use super::*;
    use crate::none::NoAuthentication;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct Options {
        max_age: crate::Span,
    }

    struct Picky;

    impl AuthenticatorFactory for Picky {
        type Options = Options;

        fn kind(&self) -> &'static str {
            "picky"
        }

        fn build(
            &self,
            options: Options,
            context: &BuildContext,
        ) -> Result<Arc<dyn Authenticator>, BuildError> {
            match options.max_age.0.as_secs() {
                0 => Err(BuildError::new("`max-age` is zero")),
                1 => Err(BuildError::File(Finding::unplaced("cannot read `x`").into())),
                2 => Err(BuildError::io("x", std::io::ErrorKind::NotFound.into())),
                _ => {
                    context.warn("odd");
                    Ok(Arc::new(NoAuthentication))
                }
            }
        }
    }

    /// Builds from `{kind: …, options: …}`; the first line of each finding and its help.
    fn build(text: &str) -> Result<Method, String> {
        let mut registry = Registry::shipped();
        registry.register(Picky).unwrap();
        let document = Document::parse("f", text.to_owned()).unwrap();
        let mut fields = document.root.fields(&mut Findings::default()).unwrap();
        let (kind, options) = (fields.take("kind").unwrap(), fields.take("options"));
        let context = BuildContext::new("picky", "", None);
        let built = registry.build(kind, options, &context);
        assert_eq!(built.is_ok() && context.warnings() == ["odd"], text.contains("9s"));
        let shown = |it: &Finding| {
            it.to_string().lines().next().unwrap().to_owned() + it.help.as_deref().unwrap_or("")
        };
        built.map(|it| it.method()).map_err(|findings| findings.iter().map(shown).collect())
    }

    #[test]
    fn an_entry_of_a_known_kind_is_built() {
        assert_eq!(build("{kind: picky, options: {max-age: 9s}}"), Ok(Method::NONE));
        assert_eq!(build("{kind: none}"), Ok(Method::NONE));
        assert_eq!(build("{kind: none, options: }"), Ok(Method::NONE));
    }

    #[test]
    fn a_mistake_stands_at_its_place() {
        for (text, expected) in [
            ("kind: pikcy", "f:1:7: mistake: unknown kind `pikcy`did you mean `picky`?"),
            ("kind: ldap", "f:1:7: mistake: unknown kind `ldap`known kinds: `none`, `password`, `picky`"),
            ("kind: [none]", "f:1:7: mistake: expected text, found a list"),
            ("kind: picky", "f:1:7: mistake: missing key `max-age`"),
            ("kind: none\noptions: {a: 1}", "f:2:11: mistake: unknown key `a`no key is known here"),
            (
                "kind: picky\noptions: {max-aeg: 1s}",
                "f:2:11: mistake: unknown key `max-aeg`did you mean `max-age`?",
            ),
            ("kind: picky\noptions: {max-age: 0s}", "f:2:10: mistake: `max-age` is zero"),
            ("kind: picky\noptions: {max-age: 1s}", "f:2:10: mistake: cannot read `x`"),
            ("kind: picky\noptions: {max-age: 2s}", "f:2:10: mistake: cannot read `x`: entity not found"),
        ] {
            assert_eq!(build(text), Err(expected.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_kind_is_registered_once() {
        let mut registry = Registry::shipped();
        assert_eq!(registry.register(none::Factory), Err(DuplicateKind("none")));
        assert_eq!(registry.kinds(), ["none", "password"]);
    }
}
