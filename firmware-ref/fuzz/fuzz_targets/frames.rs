//! Frames from the backplane and from hosts, and what a controller does about them.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use cluster::Configuration;
use cluster::message::{self, Heartbeat};
use cluster::{
    Cluster, Declared, Lock, LockAnswer, LockVerb, Message, Previous, Role, SLOTS_MAX, State,
};
use libfuzzer_sys::fuzz_target;
use scsi::ethernet::{DATA_MAX, parse_command, response_header};
use scsi::inquiry::Identity;
use scsi::target::{AccessState, DataIn, DiskError, DiskOperation, Step as ScsiStep, Target};

const BLOCKS: u64 = 1000;
const VERSIONS: [&str; 4] = ["1.0", "1.1", "2.0", "2.0-crash"];

#[derive(Debug, Arbitrary)]
enum Step {
    Frame(Frame),
    Tick(u32),
    Start,
    Leave,
    Succeed(u8),
    StepDown,
    Stopped(u8),
    LockAnswered {
        lun: bool,
        verb: u8,
        owner: Option<u8>,
        epoch: u64,
    },
    Declare(Option<(u8, Option<u8>)>),
    AccessState(u8, u8),
    DiskFails(Option<bool>),
}

/// A frame that is nearly one of this array's.
#[derive(Debug)]
struct Frame(Vec<u8>);

impl<'a> Arbitrary<'a> for Frame {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Frame> {
        let mut bytes = match u.int_in_range(0..=3u8)? {
            0 => heartbeat(u)?.encode().as_bytes().to_vec(),
            1 => {
                let kind = u.int_in_range(1..=4)?;
                let slot = u.int_in_range(0..=4)?;
                [&[0xff; 12][..], &[0x88, 0xb5, kind, 1, slot]].concat()
            }
            _ => scsi_command(u)?,
        };
        if u.ratio(1, 8)? {
            bytes.extend(u.arbitrary::<Vec<u8>>()?);
        }
        if u.ratio(1, 16)? && !bytes.is_empty() {
            let at = u.choose_index(bytes.len())?;
            bytes[at] = u.arbitrary()?;
        }
        if u.ratio(1, 16)? {
            bytes.truncate(u.int_in_range(0..=bytes.len())?);
        }
        Ok(Frame(bytes))
    }
}

fn heartbeat(u: &mut Unstructured<'_>) -> Result<Heartbeat> {
    Ok(Heartbeat {
        slot: u.int_in_range(0..=3)?,
        state: *u.choose(&[State::Booting, State::Operational, State::Leaving])?,
        role: *u.choose(&[None, Some(Role::Master), Some(Role::Alternate)])?,
        owns_lun: u.arbitrary()?,
        understands_2: u.arbitrary()?,
        epoch: if u.ratio(1, 8)? {
            u.arbitrary()?
        } else {
            u.int_in_range(0..=4)?
        },
        version: u.choose(&VERSIONS)?.parse().expect("a version"),
        boots: u.arbitrary()?,
    })
}

fn scsi_command(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    const OPERATIONS: [u8; 14] = [
        0x00, 0x03, 0x12, 0x1a, 0x25, 0x28, 0x28, 0x2a, 0x2a, 0x35, 0x88, 0x8a, 0x9e, 0xa0,
    ];
    let mut bytes = vec![2; 12];
    bytes.extend([0x88, 0xb6, 1, 0]);
    bytes.extend(u16::from(u.ratio(1, 16)?).to_le_bytes());
    bytes.extend(u.arbitrary::<[u8; 4]>()?);
    let mut cdb: [u8; 16] = u.arbitrary()?;
    cdb[0] = if u.ratio(1, 16)? {
        u.arbitrary()?
    } else {
        *u.choose(&OPERATIONS)?
    };
    if u.ratio(7, 8)? {
        // Few blocks near the beginning or the end; both lengths of block descriptors.
        cdb[1..].fill(0);
        cdb[5] = u.arbitrary()?;
        cdb[8] = u.int_in_range(0..=20)?;
        cdb[9] = u.int_in_range(0..=4)?;
        cdb[13] = u.int_in_range(0..=20)?;
        let at = u.choose_index(16)?;
        if at > 0 {
            cdb[at] = u.arbitrary()?;
        }
    }
    let data = 512 * u.int_in_range(0..=17usize)?;
    bytes.extend(u32::try_from(data).unwrap_or(0).to_le_bytes());
    bytes.extend(cdb);
    bytes.resize(bytes.len() + data, 7);
    Ok(bytes)
}

struct Controller {
    cluster: Cluster,
    target: Target,
    now_ns: u64,
    disk: Outcome,
}

type Outcome = std::result::Result<(), DiskError>;

impl Controller {
    fn frame(&mut self, bytes: &[u8]) {
        for newest in [1, 2] {
            let message = message::parse(bytes, newest);
            if let Some(Message::Heartbeat(heartbeat)) = message {
                let again = heartbeat.encode();
                let read = message::parse(again.as_bytes(), 2);
                assert_eq!(read, Some(Message::Heartbeat(heartbeat)));
            }
            match message {
                Some(Message::Heartbeat(heartbeat)) => self.cluster.heard(self.now_ns, &heartbeat),
                Some(Message::StepDown { .. }) => self.cluster.step_down(self.now_ns),
                _ => {}
            }
        }
        if let Some((exchange, command)) = parse_command(bytes) {
            assert!(command.data_out.len() <= DATA_MAX);
            let mut step = self.target.begin(&command);
            let mut steps = 0;
            while let ScsiStep::Disk(operation, task) = step {
                if let DiskOperation::Read(extent) | DiskOperation::Write(extent) = operation {
                    let end = extent.lba.checked_add(u64::from(extent.blocks));
                    assert!(end.is_some_and(|end| end <= BLOCKS), "outside the unit");
                    assert!(extent.blocks as usize * 512 <= DATA_MAX, "more than fits");
                }
                steps += 1;
                assert!(steps < 4, "a command without end");
                step = task.resume(self.disk);
            }
            if let ScsiStep::Answer(answer) = step {
                let length = match &answer.data_in {
                    DataIn::None => 0,
                    DataIn::Parameters(data) => data.as_bytes().len(),
                    DataIn::Disk(bytes) => *bytes as usize,
                };
                assert!(length <= DATA_MAX, "more data than fits");
                response_header(&exchange, &answer, length);
            }
        }
    }
}

fuzz_target!(|steps: Vec<Step>| {
    let version = |n: u8| VERSIONS[usize::from(n) % 4].parse().expect("a version");
    let identity = Identity {
        array: 1,
        slot: 0,
        controllers: 3,
        revision: *b"1.0 ",
    };
    let mut it = Controller {
        cluster: Cluster::new(Configuration {
            slot: 0,
            version: version(0),
            boots: 1,
            understands_2: true,
            tolerates_mixed: false,
        }),
        target: Target::new(identity, BLOCKS),
        now_ns: 0,
        disk: Ok(()),
    };
    for step in steps {
        match step {
            Step::Frame(Frame(bytes)) => it.frame(&bytes),
            Step::Tick(span) => {
                it.now_ns += u64::from(span);
                it.cluster.tick(it.now_ns);
            }
            Step::Start => it.cluster.start(it.now_ns),
            Step::Leave => it.cluster.leave(),
            Step::Succeed(slot) => drop(it.cluster.succeed(slot)),
            Step::StepDown => it.cluster.step_down(it.now_ns),
            Step::Stopped(slot) => it.cluster.stopped(it.now_ns, slot),
            Step::LockAnswered {
                lun,
                verb,
                owner,
                epoch,
            } => {
                let lock = if lun { Lock::Lun0 } else { Lock::Master };
                let verbs = [LockVerb::Acquire, LockVerb::Take, LockVerb::Release];
                let verb = verbs[usize::from(verb) % 3];
                let owner = owner.map(|owner| owner % 5);
                it.cluster
                    .lock_answered(lock, verb, LockAnswer { owner, epoch });
            }
            Step::Declare(declared) => {
                it.cluster
                    .declare(declared.map(|(preferred, previous)| Declared {
                        preferred: version(preferred),
                        previous: previous.map_or(Previous::Any, |it| Previous::Only(version(it))),
                    }))
            }
            Step::AccessState(slot, state) => {
                let states = [
                    AccessState::ActiveOptimized,
                    AccessState::Standby,
                    AccessState::Unavailable,
                ];
                let state = if slot % 4 == 0 {
                    0
                } else {
                    usize::from(state) % 3
                };
                it.target.set_access_state(slot % 5, states[state]);
            }
            Step::DiskFails(how) => {
                it.disk = match how {
                    None => Ok(()),
                    Some(true) => Err(DiskError::Medium),
                    Some(false) => Err(DiskError::NotOwner),
                };
            }
        }
        while it.cluster.next_action().is_some() {}
        it.cluster.deadline_ns();
        for slot in 0..u8::try_from(SLOTS_MAX).unwrap_or(0) + 1 {
            it.cluster.serves_lun(slot);
            it.cluster.version_of(slot);
        }
    }
});
