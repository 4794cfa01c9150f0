use arbitrary::{Arbitrary, Result, Unstructured};

/// What the drivers (with requests `R`) and the world around the devices (`P`) do.
#[derive(Debug, Arbitrary)]
pub struct Script<R, P> {
    /// Queue size as an exponent of two, modulo what the device allows.
    pub queue_size_log2: u8,
    /// One after another.
    pub steps: Vec<Step<R, P>>,
}

/// One step of a script.
#[derive(Debug)]
pub enum Step<R, P> {
    /// Make a request available.
    Offer {
        /// On which queue, counted over all devices, modulo their number.
        queue: u8,
        /// What it says.
        request: R,
        /// How its bytes are spread over descriptors.
        cut: u8,
        /// What is wrong with it.
        spoil: Option<Spoil>,
    },
    /// Let time pass, then service the devices.
    Advance(u32),
    /// Service the devices at their deadline.
    Deadline,
    /// A driver resets its device and sets up its rings, perhaps where no ring should be.
    Reset(u8, Option<Misplaced>),
    /// A driver writes the configuration space.
    WriteConfig(u8, u16, Vec<u8>),
    /// Everything is stored as bytes, loaded again and goes on from there.
    Snapshot,
    /// Something else happens.
    Poke(P),
}

/// A ring that lies where another ring, a buffer or nothing is.
#[derive(Debug, Arbitrary)]
pub struct Misplaced {
    /// Descriptor table, available ring or used ring, modulo three.
    pub ring: u8,
    /// Its address, in units of 16 bytes.
    pub at: u16,
}

/// What a hostile driver does to a chain or a ring.
#[derive(Debug, Arbitrary)]
pub enum Spoil {
    /// A descriptor (by position in the chain) points elsewhere.
    Address(u8, u64),
    /// The same, within the rings and buffers of its own queue.
    Inside(u8, u16),
    /// A descriptor has another length.
    Length(u8, u32),
    /// A descriptor has other flags: indirect, direction, no end.
    Flags(u8, u16),
    /// A descriptor continues elsewhere: a loop, or an index that does not exist.
    Next(u8, u16),
    /// The available ring names another head.
    Head(u16),
    /// The index of the available ring jumps.
    AvailableIndex(u16),
    /// The request is made available a second time.
    Twice,
}

impl<'a, R: Arbitrary<'a>, P: Arbitrary<'a>> Arbitrary<'a> for Step<R, P> {
    /// Weighted: a ring that is spoiled early shows nothing of the device behind it.
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=63u8)? {
            0..=33 => Step::Offer {
                queue: u.arbitrary()?,
                request: u.arbitrary()?,
                cut: u.arbitrary()?,
                spoil: if u.ratio(1, 32)? {
                    Some(u.arbitrary()?)
                } else {
                    None
                },
            },
            // Nanoseconds and seconds alike.
            34..=39 => Step::Advance(u.arbitrary::<u32>()? >> u.int_in_range(0..=31u8)?),
            40..=51 => Step::Deadline,
            52 => Step::Reset(
                u.arbitrary()?,
                if u.ratio(1, 8)? {
                    Some(u.arbitrary()?)
                } else {
                    None
                },
            ),
            53 => Step::WriteConfig(u.arbitrary()?, u.arbitrary()?, u.arbitrary()?),
            54..=55 => Step::Snapshot,
            _ => Step::Poke(u.arbitrary()?),
        })
    }
}
