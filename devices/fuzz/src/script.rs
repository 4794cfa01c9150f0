use arbitrary::{Arbitrary, Result, Unstructured};

/// A request as the device under test knows it.
pub trait Request {
    /// What the device reads.
    fn readable(&self) -> Vec<u8>;
    /// How many bytes it may write.
    fn room(&self) -> u32;
}

/// What the driver (`R`) and the world around the device (`P`) do.
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
        /// On which queue, modulo the number of queues.
        queue: u8,
        /// What it says.
        request: R,
        /// How its bytes are spread over descriptors.
        cut: u8,
        /// What is wrong with it.
        spoil: Option<Spoil>,
    },
    /// Let time pass, then service the device.
    Advance(u32),
    /// Service the device at its deadline.
    Deadline,
    /// The driver resets the device.
    Reset,
    /// The driver writes the configuration space.
    WriteConfig(u16, Vec<u8>),
    /// Something else happens.
    Poke(P),
}

/// What a hostile driver does to a chain or a ring.
#[derive(Debug, Arbitrary)]
pub enum Spoil {
    /// A descriptor (by position in the chain) points elsewhere.
    Address(u8, u64),
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

/// What a poke did to the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poked {
    /// The device goes on.
    Running,
    /// The board was reset: the driver starts from nothing.
    Reset,
}

impl<'a, R: Arbitrary<'a>, P: Arbitrary<'a>> Arbitrary<'a> for Step<R, P> {
    /// Weighted: a ring that is spoiled early shows nothing of the device behind it.
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Self> {
        Ok(match u.int_in_range(0..=63u8)? {
            0..=35 => Step::Offer {
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
            36..=41 => Step::Advance(u.arbitrary::<u32>()? >> u.int_in_range(0..=31u8)?),
            42..=53 => Step::Deadline,
            54 => Step::Reset,
            55 => Step::WriteConfig(u.arbitrary()?, u.arbitrary()?),
            _ => Step::Poke(u.arbitrary()?),
        })
    }
}
