use serde::{Deserialize, Serialize};

/// A stretch of bus that is whole whatever is unplugged: a frame of a library, a backplane.
pub type SegmentId = u16;
/// A cable between two segments, in the order they were laid.
pub type CableId = usize;
/// Segments that hear each other, named by the lowest of them.
pub type IslandId = u16;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cable {
    ends: (SegmentId, SegmentId),
    plugged: bool,
}

/// Which segments hear each other: segments, and the cables that join them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Topology {
    /// The island of each segment.
    islands: Vec<IslandId>,
    cables: Vec<Cable>,
}

impl Topology {
    /// So many segments (at least one), not joined.
    pub fn new(segments: u16) -> Topology {
        Topology {
            islands: (0..segments.max(1)).collect(),
            cables: Vec::new(),
        }
    }

    /// Lays a cable between two segments, plugged in at both ends. One to a segment that does not exist
    /// joins nothing.
    #[must_use]
    pub fn with_cable(mut self, a: SegmentId, b: SegmentId) -> Topology {
        self.cables.push(Cable {
            ends: (a, b),
            plugged: true,
        });
        self.find_islands();
        self
    }

    /// Number of segments.
    pub fn segments(&self) -> usize {
        self.islands.len()
    }

    /// Number of cables.
    pub fn cables(&self) -> usize {
        self.cables.len()
    }

    /// Whether a cable is plugged in.
    pub fn is_plugged(&self, cable: CableId) -> bool {
        self.cables.get(cable).is_some_and(|it| it.plugged)
    }

    /// The island a segment belongs to; nothing for a segment that does not exist.
    pub fn island(&self, segment: SegmentId) -> Option<IslandId> {
        self.islands.get(usize::from(segment)).copied()
    }

    /// Every island, in order.
    pub fn islands(&self) -> impl Iterator<Item = IslandId> {
        let named = (0..).zip(&self.islands);
        named.filter_map(|(segment, island)| (segment == *island).then_some(*island))
    }

    /// Plugs or pulls a cable; whether that changed who hears whom.
    pub(super) fn set_plugged(&mut self, cable: CableId, plugged: bool) -> bool {
        if let Some(cable) = self.cables.get_mut(cable) {
            cable.plugged = plugged;
        }
        let before = self.islands.clone();
        self.find_islands();
        before != self.islands
    }

    fn find_islands(&mut self) {
        for (segment, island) in (0..).zip(&mut self.islands) {
            *island = segment;
        }
        // Each pass settles at least one more segment of an island.
        for _ in 0..self.islands.len() {
            for Cable { ends, plugged } in &self.cables {
                let ends = [ends.0, ends.1].map(usize::from);
                let (Some(a), Some(b)) = (self.islands.get(ends[0]), self.islands.get(ends[1]))
                else {
                    continue;
                };
                if *plugged {
                    let lower = *a.min(b);
                    self.islands[ends[0]] = lower;
                    self.islands[ends[1]] = lower;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Base, extension and high-availability frame of a library, in a row.
    fn library() -> Topology {
        Topology::new(3).with_cable(2, 1).with_cable(0, 1)
    }

    fn islands(topology: &Topology) -> Vec<Option<IslandId>> {
        (0..3).map(|it| topology.island(it)).collect()
    }

    #[test]
    fn cables_make_islands() {
        let mut library = library();
        assert_eq!(islands(&library), [Some(0); 3]);
        assert_eq!(library.islands().collect::<Vec<_>>(), [0]);
        assert!(library.set_plugged(0, false));
        assert_eq!(islands(&library), [Some(0), Some(0), Some(2)]);
        assert!(library.set_plugged(1, false));
        assert_eq!(library.islands().collect::<Vec<_>>(), [0, 1, 2]);
        assert!(library.set_plugged(0, true));
        assert_eq!(islands(&library), [Some(0), Some(1), Some(1)]);
        assert!(!library.set_plugged(0, true));
        assert!(!library.set_plugged(7, false));
        assert_eq!(library.island(3), None);
    }

    #[test]
    fn a_second_way_keeps_an_island_whole() {
        let mut ring = library().with_cable(0, 2);
        assert!(!ring.set_plugged(1, false));
        assert_eq!(islands(&ring), [Some(0); 3]);
    }

    #[test]
    fn a_cable_to_nowhere_joins_nothing() {
        let topology = Topology::new(2).with_cable(0, 9);
        assert_eq!(topology.islands().count(), 2);
    }
}
