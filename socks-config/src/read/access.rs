//! The steps by which serde walks through lists, mappings and variants.

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::error::ReadError;
use crate::Node;

/// A list's items.
pub(super) struct Items<'a>(std::slice::Iter<'a, Node>);

impl<'a> Items<'a> {
    pub(super) fn new(items: &'a [Node]) -> Self {
        Self(items.iter())
    }

    /// How many were not taken.
    pub(super) fn rest(&self) -> usize {
        self.0.len()
    }
}

impl<'de> SeqAccess<'de> for &mut Items<'de> {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some(item) = self.0.next() else { return Ok(None) };
        seed.deserialize(item).map(Some).map_err(|error| error.at(&item.place))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest())
    }
}

/// A mapping's keys and values.
pub(super) struct Entries<'a> {
    pairs: std::slice::Iter<'a, (Node, Node)>,
    value: Option<&'a Node>,
}

impl<'a> Entries<'a> {
    pub(super) fn new(pairs: &'a [(Node, Node)]) -> Self {
        Self { pairs: pairs.iter(), value: None }
    }
}

impl<'de> MapAccess<'de> for Entries<'de> {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        let Some((key, value)) = self.pairs.next() else { return Ok(None) };
        self.value = Some(value);
        seed.deserialize(key).map(Some).map_err(|error| error.at(&key.place))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let value = self.value.take().ok_or_else(|| ReadError::custom("value asked for before its key"))?;
        seed.deserialize(value).map_err(|error| error.at(&value.place))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.pairs.len())
    }
}

/// A variant's name, and what it holds.
pub(super) struct Variant<'a> {
    pub(super) name: &'a Node,
    pub(super) content: Option<&'a Node>,
}

impl<'a> Variant<'a> {
    fn content(&self) -> Result<&'a Node, ReadError> {
        self.content.ok_or_else(|| self.name.expected("a mapping of one key and its value").into())
    }
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = ReadError;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), ReadError> {
        let value = seed.deserialize(self.name).map_err(|error| error.at(&self.name.place))?;
        Ok((value, self))
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = ReadError;

    fn unit_variant(self) -> Result<(), ReadError> {
        match self.content {
            Some(content) if !content.is_null() => Err(content.expected("nothing").into()),
            _ => Ok(()),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, ReadError> {
        let content = self.content()?;
        seed.deserialize(content).map_err(|error| error.at(&content.place))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, ReadError> {
        self.content()?.deserialize_tuple(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.content()?.deserialize_struct("", fields, visitor)
    }
}
