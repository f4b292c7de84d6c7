//! Owns the batch sizes that the brokers accept, which may be smaller than the configured ones.
//!
//! A broker's limit (`message.max.bytes`, a topic's `max.message.bytes`) applies to a batch as the
//! library packs it, not to a message. So a refusal first makes batches smaller, and the size
//! stays: the next events are sent in batches of that size at once. Only a message that was
//! refused as a batch of its own is rejected permanently.
//! Invariants: batches only get smaller, by half at each refusal, so about twenty
//! refusals are enough; sizes here are never larger than the library's count.
//! Deliberately absent: growing again. A restart does that.

use super::messages::KafkaMessage;

/// The sizes learned since the process started.
#[derive(Debug)]
pub(super) struct Sizes {
    /// The library builds batches up to this size.
    batch_bytes: usize,
    /// Messages of at least this size are sent alone, because one of this size was rejected when
    /// sent alone.
    alone_from: usize,
    /// The size that was logged last.
    reported: usize,
}

impl Sizes {
    /// Starts with the configured size.
    pub(super) const fn new(batch_bytes: usize) -> Self {
        Self {
            batch_bytes,
            alone_from: usize::MAX,
            reported: batch_bytes,
        }
    }

    pub(super) const fn batch_bytes(&self) -> usize {
        self.batch_bytes
    }

    /// How many of these messages to send together; at least one.
    pub(super) fn together(&self, sizes: impl Iterator<Item = usize>) -> usize {
        let count = sizes.take_while(|size| *size < self.alone_from).count();
        count.max(1)
    }

    /// Learns from a rejection: these messages were sent together, and the one at `index` was
    /// rejected.
    pub(super) fn refused(&mut self, sizes: &[usize], index: usize) {
        let size = sizes[index];
        // The library adds to a batch only up to this size, so this message was a batch of its own.
        if sizes.len() == 1 || size >= self.batch_bytes {
            self.alone_from = self.alone_from.min(size);
        } else {
            let sent: usize = sizes.iter().sum();
            self.batch_bytes = (self.batch_bytes.min(sent) / 2).max(1);
        }
    }

    /// The size of batches, if it changed since the last call.
    pub(super) fn news(&mut self) -> Option<usize> {
        let changed = self.reported != self.batch_bytes;
        self.reported = self.batch_bytes;
        changed.then_some(self.batch_bytes)
    }
}

/// At most the size that the library counts for a message, which adds headers and framing.
pub(super) fn size_of(message: &KafkaMessage) -> usize {
    message.key.len() + message.json.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_get_smaller_until_the_message_that_is_too_large_stands_alone() {
        let mut sizes = Sizes::new(1_000_000);
        let messages = [300, 300, 900, 300];
        let mut refusals = 0;
        // As the library does, name the first message of the batch.
        while sizes.batch_bytes() > 900 {
            sizes.refused(&messages, 0);
            refusals += 1;
        }
        assert_eq!((refusals, sizes.batch_bytes()), (1, 900));
        assert_eq!(sizes.news(), Some(900));
        assert_eq!(sizes.news(), None);
        assert_eq!(sizes.together(messages.into_iter()), 4);
        sizes.refused(&messages, 2);
        assert_eq!(sizes.together(messages.into_iter()), 2);
        assert_eq!(sizes.together([900, 300].into_iter()), 1);
        assert_eq!(sizes.batch_bytes(), 900, "nothing is wrong with batches");
    }

    #[test]
    fn the_smallest_batch_is_one_message() {
        let mut sizes = Sizes::new(1 << 20);
        for _ in 0..21 {
            sizes.refused(&[1 << 20, 1], 1);
        }
        assert_eq!(sizes.batch_bytes(), 1);
        sizes.refused(&[7, 8], 1);
        assert_eq!(sizes.together([7, 8, 7].into_iter()), 1);
        assert_eq!(sizes.together([8].into_iter()), 1);
    }
}
