//! Chunks that nobody needs any more, for what is written next.
//!
//! What a round brings to the members takes the place of as many chunks there. Making new ones costs more
//! than all else that is done with them, so they go round. Nothing depends on which chunk is used: a copy of
//! a shelf begins with none.

use std::collections::VecDeque;

use crate::medium::Chunk;

/// So many chunks before one is handed out it is fetched.
const AHEAD: usize = 16;

/// Chunks to be used again, the oldest first: they mostly follow each other in memory as they did on the
/// member.
#[derive(Debug, Default)]
pub(super) struct Pool {
    chunks: VecDeque<Chunk>,
    /// Chunks handed out and not taken back so far: it keeps no more than were of use.
    out: usize,
}

impl Pool {
    /// A chunk that nobody else has, with anything in it.
    pub(super) fn take(&mut self) -> Chunk {
        self.out += 1;
        // Whether it is shared is asked soon.
        if let Some(later) = self.chunks.get(AHEAD) {
            later.fetch();
        }
        while let Some(mut chunk) = self.chunks.pop_front() {
            // A checkpoint may have it.
            if chunk.is_unshared() {
                return chunk;
            }
        }
        Chunk::zeros()
    }

    /// Takes a chunk back, for each that was handed out. It may be shared for now.
    pub(super) fn give(&mut self, chunk: Chunk) {
        if self.out > 0 {
            self.out -= 1;
            self.chunks.push_back(chunk);
        }
    }
}

impl Clone for Pool {
    fn clone(&self) -> Self {
        Pool::default()
    }
}

impl PartialEq for Pool {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Pool {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_still_has_is_not_handed_out() {
        let mut kept = Chunk::zeros();
        kept.bytes_mut()[0] = 1;
        let mut free = Chunk::zeros();
        free.bytes_mut()[0] = 2;
        let mut pool = Pool::default();
        pool.give(kept.clone());
        assert!(pool.chunks.is_empty(), "none was handed out");
        let _ = [pool.take(), pool.take()];
        pool.give(kept.clone());
        pool.give(free);
        assert_eq!(pool.take()[0], 2);
        assert_eq!(pool.take()[0], 0);
        assert_eq!(kept[0], 1);
    }
}
