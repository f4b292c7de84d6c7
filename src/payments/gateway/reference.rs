//! Owns our name of a payment at a gateway, and its text.
//!
//! Invariant: each payment of each log has a reference of its own, and the text of one reads back as
//! the same.
//!
//! Deliberately absent: the gateway's own ids, which `crate::ids` owns.

use crate::ids::{PURCHASE_DIGITS, PurchaseId, RequestId};
use std::fmt;

/// Our reference of a payment at a gateway: `hf-`, the log's id in 16 hexadecimal digits, `-`, the
/// purchase's id, `-`, the request that started the payment in 16 hexadecimal digits. Two data
/// directories never share one, so they may share a gateway; a purchase number that is assigned
/// again after an older copy of the log was restored gets another reference.
#[derive(Copy, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reference {
    log_id: u64,
    purchase: PurchaseId,
    request: RequestId,
}

impl Reference {
    /// The reference of the payment for `purchase` that `request` started, in the log `log_id`.
    pub const fn new(log_id: u64, purchase: PurchaseId, request: RequestId) -> Self {
        Self {
            log_id,
            purchase,
            request,
        }
    }

    pub const fn log_id(self) -> u64 {
        self.log_id
    }

    pub const fn purchase(self) -> PurchaseId {
        self.purchase
    }

    pub const fn request(self) -> RequestId {
        self.request
    }

    /// The reference written as `text`; `None` if it is malformed.
    pub fn parse(text: &str) -> Option<Self> {
        let (log_id, rest) = text.strip_prefix("hf-")?.split_at_checked(16)?;
        let (purchase, request) = rest.strip_prefix('-')?.rsplit_once('-')?;
        Some(Self {
            log_id: sixteen_digits(log_id)?,
            purchase: PurchaseId::parse_purchase(purchase)?,
            request: RequestId(sixteen_digits(request)?),
        })
    }
}

fn sixteen_digits(text: &str) -> Option<u64> {
    let lower = |b: u8| b.is_ascii_digit() || matches!(b, b'a'..=b'f');
    (text.len() == 16 && text.bytes().all(lower)).then_some(())?;
    u64::from_str_radix(text, 16).ok()
}

impl fmt::Display for Reference {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `hf-{log_id:016x}-{purchase}-{request:016x}`, formatted by hand because every call writes
        // it.
        let mut text = *b"hf-0000000000000000-p_00000000000000000000000000000000-0000000000000000";
        for (place, number) in [(3, self.log_id), (55, self.request.0)] {
            hex::encode_to_slice(number.to_be_bytes(), &mut text[place..place + 16])
                .expect("eight bytes are 16 hexadecimal digits");
        }
        text[22..22 + PURCHASE_DIGITS].copy_from_slice(&self.purchase.digits());
        out.write_str(std::str::from_utf8(&text).expect("it is made of ASCII only"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PurchaseTag, ShardId};

    #[test]
    fn a_reference_names_log_purchase_and_request_and_reads_back() {
        let purchase = PurchaseId::new(ShardId::new(7), 300, PurchaseTag(0xef));
        let reference = Reference::new(0xab, purchase, RequestId(0xcd));
        let text = "hf-00000000000000ab-p_0000000000012c0700000000000000ef-00000000000000cd";
        assert_eq!(reference.to_string(), text);
        assert_eq!(Reference::parse(text), Some(reference));
        for bad in [
            "",
            "hf-",
            "hf-00000000000000ab-p_0000000000012c0700000000000000ef",
            "hf-00000000000000AB-p_0000000000012c0700000000000000ef-00000000000000cd",
            "hf-00000000000000ab-h_0000000000012c0700000000000000ef-00000000000000cd",
            "hf-00000000000000abp_0000000000012c0700000000000000ef-00000000000000cd",
            "hf-000000000000000é-p_0000000000012c0700000000000000ef-00000000000000cd",
            "hf-+0000000000000ab-p_0000000000012c0700000000000000ef-00000000000000cd",
            "hf-00000000000000ab-p_0000000000012c0700000000000000ef-0000000000000cd",
            "hf-00000000000000ab-p_0000000000012c0700000000000000ef-00000000000000cd-",
        ] {
            assert_eq!(Reference::parse(bad), None, "{bad}");
        }
    }
}
