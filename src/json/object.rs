//! Owns writing a JSON object field by field, directly into bytes.
//!
//! Invariant: fields are written in the order of the calls; the caller writes each name once.

use super::value;
use crate::ids::PurchaseId;
use crate::money::Currency;
use crate::time::UnixMs;
use serde::{Serialize, Serializer};
use std::fmt::Display;

/// An object that is being written.
pub struct Object<'b> {
    into: &'b mut Vec<u8>,
    separator: u8,
}

impl<'b> Object<'b> {
    /// Appends an object to `into`, with the fields that `fill` writes.
    pub fn write(into: &'b mut Vec<u8>, fill: impl FnOnce(&mut Self)) {
        let mut object = Self {
            into,
            separator: b'{',
        };
        fill(&mut object);
        if object.separator == b'{' {
            object.into.push(b'{');
        }
        object.into.push(b'}');
    }

    /// A field with a serializable value.
    pub fn put<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> &mut Self {
        self.name(name);
        serde_json::to_writer(&mut *self.into, value)
            .expect("bytes in memory are always written, and no value here has keys but texts");
        self
    }

    /// A field with the `Display` text of `value`.
    pub fn text(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.put(name, &JsonText(value))
    }

    /// The same, or `null` if there is no value.
    pub fn text_or_null(&mut self, name: &str, value: Option<impl Display>) -> &mut Self {
        self.put(name, &value.map(JsonText))
    }

    /// A field with a text that needs no escape: an id, a word of the program.
    pub fn id(&mut self, name: &str, text: &str) -> &mut Self {
        self.name(name);
        value::id(self.into, text);
        self
    }

    /// The same, or `null` if there is no text.
    pub fn id_or_null(&mut self, name: &str, text: Option<&str>) -> &mut Self {
        self.name(name);
        value::id_or_null(self.into, text);
        self
    }

    /// A field with an instant.
    pub fn instant(&mut self, name: &str, at: UnixMs) -> &mut Self {
        self.name(name);
        value::instant(self.into, at);
        self
    }

    /// A field with a purchase's id: `h_…` as a hold, `p_…` as a purchase, `r_…` as its receipt.
    pub fn purchase(&mut self, name: &str, prefix: &str, purchase: PurchaseId) -> &mut Self {
        self.name(name);
        value::purchase(self.into, prefix, purchase);
        self
    }

    /// A field with a displayed value that needs no escape.
    pub fn shown(&mut self, name: &str, value: impl Display) -> &mut Self {
        self.name(name);
        value::shown(self.into, value);
        self
    }

    /// A field with a whole number.
    pub fn number(&mut self, name: &str, number: impl itoa::Integer) -> &mut Self {
        self.name(name);
        value::number(self.into, number);
        self
    }

    /// A field that is `null`.
    pub fn null(&mut self, name: &str) -> &mut Self {
        self.name(name);
        value::raw(self.into, "null");
        self
    }

    /// A field with an amount of money.
    pub fn money(&mut self, name: &str, minor_units: i64, currency: Currency) -> &mut Self {
        self.name(name);
        value::money(self.into, minor_units, currency);
        self
    }

    /// A field with bytes, in hexadecimal.
    pub fn hex(&mut self, name: &str, bytes: &[u8]) -> &mut Self {
        self.name(name);
        self.into.push(b'"');
        value::hex(self.into, bytes);
        self.into.push(b'"');
        self
    }

    /// A field with an object as its value.
    pub fn object(&mut self, name: &str, fill: impl FnOnce(&mut Object<'_>)) -> &mut Self {
        self.name(name);
        Object::write(self.into, fill);
        self
    }

    /// A field with a list of objects, one for each of `items`.
    pub fn list<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        mut fill: impl FnMut(&mut Object<'_>, T),
    ) -> &mut Self {
        self.name(name);
        let mut separator = b'[';
        for item in items {
            self.into.push(separator);
            Object::write(self.into, |object| fill(object, item));
            separator = b',';
        }
        if separator == b'[' {
            self.into.push(b'[');
        }
        self.into.push(b']');
        self
    }

    /// A field whose value `write` appends.
    pub fn with(&mut self, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> &mut Self {
        self.name(name);
        write(self.into);
        self
    }

    fn name(&mut self, name: &str) {
        debug_assert!(
            name.bytes()
                .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'"' | b'\\')),
            "{name:?} would have to be escaped"
        );
        self.into.extend([self.separator, b'"']);
        self.into.extend_from_slice(name.as_bytes());
        self.into.extend_from_slice(b"\":");
        self.separator = b',';
    }
}

struct JsonText<T>(T);

impl<T: Display> Serialize for JsonText<T> {
    fn serialize<S: Serializer>(&self, into: S) -> Result<S::Ok, S::Error> {
        into.collect_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PurchaseTag, ShardId};
    use serde_json::{Value, json};

    #[test]
    fn fields_stand_in_their_order_and_texts_are_escaped() {
        let mut bytes = b">".to_vec();
        Object::write(&mut bytes, |object| {
            object.text("z", "a \"b\"\n").put("a", &1);
            object.id("i", "a:1").hex("h", &[0x0f; 16]);
            let purchase = PurchaseId::new(ShardId::new(7), 1, PurchaseTag(0));
            object
                .instant("t", UnixMs::new(1))
                .purchase("p", "p_", purchase);
            object.shown("s", 7).number("n", -1_i64).null("u");
            object
                .id_or_null("o", None)
                .list("l", [1, 2], |item, number| {
                    item.number("k", number);
                });
            object.list("e", [0_u8; 0], |_, _| {});
            object.with("w", |out| out.extend_from_slice(b"true"));
            object.object("none", |_| {});
            object.object("some", |some| {
                some.text_or_null("x", None::<&str>)
                    .put("y", &json!([1, null]));
            });
        });
        let text = r#">{"z":"a \"b\"\n","a":1,"i":"a:1","h":"0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f","t":"1970-01-01T00:00:00.001Z","p":"p_00000000000001070000000000000000","s":"7","n":-1,"u":null,"o":null,"l":[{"k":1},{"k":2}],"e":[],"w":true,"none":{},"some":{"x":null,"y":[1,null]}}"#;
        assert_eq!(String::from_utf8(bytes.clone()).unwrap(), text);
        let value: Value = serde_json::from_slice(&bytes[1..]).unwrap();
        assert_eq!(value["z"], "a \"b\"\n");
    }
}
