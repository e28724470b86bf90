//! Reads a node into a type through serde; a mistake keeps the place of the node it is about.

mod access;
mod error;

use serde::de::{DeserializeOwned, Deserializer, Visitor};

use crate::{Finding, Node, Value, fields};
use access::{Entries, Items, Variant};
pub use error::ReadError;

impl Node {
    /// Reads this value, and all below it, into a type.
    ///
    /// Structs are mappings, unit variants of enums their names, other variants mappings of one key. A text may
    /// stand without quotes whatever it looks like; a number or `true` and `false` must. `deny_unknown_fields`
    /// belongs on every struct.
    ///
    /// # Errors
    /// The first mistake, at the key or value that it is about.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Finding> {
        T::deserialize(self).map_err(|error| error.finding(&self.place))
    }

    fn plain(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar(scalar) if scalar.is_plain() => Some(scalar.text()),
            _ => None,
        }
    }

    fn visit_list<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, ReadError> {
        let Value::List(items) = &self.value else {
            return Err(ReadError::mismatch(self, &visitor));
        };
        let mut access = Items::new(items);
        let value = visitor.visit_seq(&mut access).map_err(|error| error.at(&self.place))?;
        match access.rest() {
            0 => Ok(value),
            rest => {
                let wanted = items.len() - rest;
                Err(self.expected(&format!("a list of {wanted}")).into())
            }
        }
    }

    fn visit_mapping<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, ReadError> {
        let Value::Map(pairs) = &self.value else {
            return Err(self.expected("a mapping").into());
        };
        let mut known = std::collections::HashMap::with_capacity(pairs.len());
        for (key, _) in pairs {
            let Value::Scalar(scalar) = &key.value else {
                return Err(key.expected("text as a key").into());
            };
            if let Some(earlier) = known.insert(scalar.text(), key) {
                return Err(fields::duplicate_key(key, earlier).into());
            }
        }
        visitor.visit_map(Entries::new(pairs)).map_err(|error| error.at(&self.place))
    }

    fn visit_text<'de, V: Visitor<'de>>(&'de self, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::Scalar(scalar) => {
                visitor.visit_borrowed_str(scalar.text()).map_err(|error: ReadError| error.at(&self.place))
            }
            _ => Err(ReadError::mismatch(self, &visitor)),
        }
    }
}

/// A whole number in decimal, or in hexadecimal behind `0x`; zeros in front would be octal elsewhere.
fn integer(text: &str) -> Option<i128> {
    if let Some(digits) = text.strip_prefix("0x") {
        return digits
            .starts_with(|it: char| it.is_ascii_hexdigit())
            .then(|| i128::from_str_radix(digits, 16).ok())?;
    }
    let digits = text.strip_prefix('-').unwrap_or(text);
    let whole =
        digits.starts_with(|it: char| it.is_ascii_digit()) && (digits.len() == 1 || !digits.starts_with('0'));
    whole.then(|| text.parse().ok())?
}

/// A decimal number; `inf` and `nan` are none.
fn float(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let number = digits.starts_with(|it: char| it.is_ascii_digit()).then(|| text.parse::<f64>().ok())?;
    number.filter(|number| number.is_finite())
}

/// Methods for whole numbers: name, type, what the visitor is given.
macro_rules! integers {
    ($($method:ident $type:ty, $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            let number = self.plain().and_then(integer).and_then(|number| <$type>::try_from(number).ok());
            let Some(number) = number else {
                let range = format!("a whole number from {} to {}", <$type>::MIN, <$type>::MAX);
                return Err(self.expected(&range).into());
            };
            visitor.$visit(number).map_err(|error: ReadError| error.at(&self.place))
        }
    )*};
}

/// Methods that read like another one.
macro_rules! alike {
    ($($method:ident $visit:ident;)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            self.$visit(visitor)
        }
    )*};
}

impl<'de> Deserializer<'de> for &'de Node {
    type Error = ReadError;

    integers! {
        deserialize_i8 i8, visit_i8;
        deserialize_i16 i16, visit_i16;
        deserialize_i32 i32, visit_i32;
        deserialize_i64 i64, visit_i64;
        deserialize_u8 u8, visit_u8;
        deserialize_u16 u16, visit_u16;
        deserialize_u32 u32, visit_u32;
        deserialize_u64 u64, visit_u64;
    }

    alike! {
        deserialize_char visit_text;
        deserialize_str visit_text;
        deserialize_string visit_text;
        deserialize_bytes visit_text;
        deserialize_byte_buf visit_text;
        deserialize_identifier visit_text;
        deserialize_seq visit_list;
        deserialize_map visit_mapping;
        deserialize_f32 deserialize_f64;
    }

    /// Where the type leaves open what it wants: text in quotes is text, anything else what it looks like.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let result: Result<V::Value, ReadError> = match (&self.value, self.plain()) {
            (Value::Null, _) => visitor.visit_unit(),
            (Value::List(_), _) => return self.visit_list(visitor),
            (Value::Map(_), _) => return self.visit_mapping(visitor),
            (_, Some("true")) => visitor.visit_bool(true),
            (_, Some("false")) => visitor.visit_bool(false),
            (Value::Scalar(scalar), plain) => match plain.and_then(integer) {
                Some(number) => match (u64::try_from(number), i64::try_from(number)) {
                    (Ok(number), _) => visitor.visit_u64(number),
                    (_, Ok(number)) => visitor.visit_i64(number),
                    _ => visitor.visit_borrowed_str(scalar.text()),
                },
                None => match plain.filter(|text| text.contains('.')).and_then(float) {
                    Some(number) => visitor.visit_f64(number),
                    None => visitor.visit_borrowed_str(scalar.text()),
                },
            },
        };
        result.map_err(|error| error.at(&self.place))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let switch = crate::value::switch(self)?;
        visitor.visit_bool(switch).map_err(|error: ReadError| error.at(&self.place))
    }

    fn deserialize_f64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Some(number) = self.plain().and_then(float) else { return Err(self.expected("a number").into()) };
        visitor.visit_f64(number).map_err(|error: ReadError| error.at(&self.place))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value {
            Value::Null => visitor.visit_unit(),
            _ => Err(self.expected("nothing").into()),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, ReadError> {
        match &self.value {
            Value::List(items) if items.len() == len => self.visit_list(visitor),
            Value::List(items) => {
                let message = format!("expected a list of {len}, found {}", items.len());
                Err(Finding::mistake(&self.place, message).into())
            }
            _ => Err(self.expected(&format!("a list of {len}")).into()),
        }
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.deserialize_tuple(len, visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        self.visit_mapping(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let variant = match &self.value {
            Value::Scalar(_) => Variant { name: self, content: None },
            Value::Map(pairs) => match pairs.as_slice() {
                [(name, content)] => Variant { name, content: Some(content) },
                _ => return Err(self.expected("a mapping of one key").into()),
            },
            _ => return Err(self.expected(&format!("one of {}", fields::list_words(variants))).into()),
        };
        visitor.visit_enum(variant).map_err(|error| error.at(&self.place))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_unit()
    }
}

#[cfg(test)]
mod tests;
