//! The attributes of a client's name: asked for only where the library says that they are there.

use crate::gss::{AttributeValue, Failure};
use crate::sys::Name;

/// A name with the list of its attributes. Most tickets have few, and asking for each takes the library as long as
/// listing all.
pub(crate) struct Attributes<'a> {
    name: &'a Name,
    listed: Result<Vec<String>, Failure>,
}

impl<'a> Attributes<'a> {
    /// Lists those of a name.
    pub(crate) fn of(name: &'a Name) -> Self {
        Self { name, listed: name.attributes() }
    }

    /// The values of an attribute; none when the name has no such attribute.
    ///
    /// # Errors
    /// [`Failure`], also when it is not known which attributes there are.
    pub(crate) fn values(&self, attribute: &str) -> Result<Vec<AttributeValue>, Failure> {
        match &self.listed {
            Err(failure) => Err(failure.clone()),
            Ok(listed) if listed.iter().any(|listed| listed == attribute) => self.name.attribute(attribute),
            Ok(_) => Ok(Vec::new()),
        }
    }
}
