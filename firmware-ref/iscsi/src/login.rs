//! The login phase (RFC 7143 §6.3) and what is negotiated in it (§13), the target's half.

use crate::TCP_PORT;
use crate::pdu::{DATA_SEGMENT_MAX, Request, flag};
use crate::text::{Malformed, Name, TextWriter, number, offers, pairs};

/// Most bytes of a write that travel at a time: MaxBurstLength and FirstBurstLength (§13.13, §13.14).
const BURST_MAX: u32 = 8192;
/// What a peer takes that does not say what it takes (§13.12), and the least it may say.
const SEGMENT_DEFAULT: u32 = 8192;
const SEGMENT_LEAST: u32 = 512;

/// Why a login is refused: class and detail (§11.13.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Refusal {
    /// Nothing better fits.
    InitiatorError = 0x0200,
    /// It insists on authentication.
    AuthenticationFailure = 0x0201,
    /// There is no such target.
    NotFound = 0x0203,
    /// It speaks no version this end does.
    UnsupportedVersion = 0x0205,
    /// It wants a second connection in its session.
    TooManyConnections = 0x0206,
    /// It does not say who it is, or whom it wants.
    MissingParameter = 0x0207,
    /// A kind of session that there is not.
    SessionTypeNotSupported = 0x0209,
    /// A second connection for a session that there is not.
    SessionDoesNotExist = 0x020a,
    /// Not now, out of order.
    InvalidDuringLogin = 0x020b,
}

/// A stage of the login phase (§11.12.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// SecurityNegotiation.
    Security,
    /// LoginOperationalNegotiation.
    Operational,
    /// FullFeaturePhase.
    FullFeature,
}

impl Stage {
    fn from_bits(bits: u8) -> Option<Stage> {
        match bits & 3 {
            0 => Some(Stage::Security),
            1 => Some(Stage::Operational),
            3 => Some(Stage::FullFeature),
            _ => None,
        }
    }

    fn bits(self) -> u8 {
        match self {
            Stage::Security => 0,
            Stage::Operational => 1,
            Stage::FullFeature => 3,
        }
    }
}

/// What a session is for (§4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionType {
    /// Asking which targets there are.
    Discovery,
    /// Using one.
    Normal,
}

/// What both ends agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameters {
    /// Longest data segment the initiator takes.
    pub segment_max: u32,
    /// Longest sequence of data.
    pub burst_max: u32,
    /// Most data of a write that come unasked.
    pub first_burst_max: u32,
    /// Data may come with the command.
    pub immediate_data: bool,
}

impl Default for Parameters {
    /// The defaults of §13, as far as this end is able to.
    fn default() -> Parameters {
        Parameters {
            segment_max: SEGMENT_DEFAULT,
            burst_max: BURST_MAX,
            first_burst_max: BURST_MAX,
            immediate_data: true,
        }
    }
}

/// A login in progress.
#[derive(Clone, Debug)]
pub struct Login {
    stage: Stage,
    heard: bool,
    isid: [u8; 6],
    initiator: Option<Name>,
    session_type: SessionType,
    target_named: bool,
    parameters: Parameters,
}

/// What an accepted login amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who logged in.
    pub initiator: Name,
    /// Which of its sessions this is (§4.2.7.1).
    pub isid: [u8; 6],
    /// What for.
    pub session_type: SessionType,
    /// What was agreed.
    pub parameters: Parameters,
}

impl Session {
    /// A short name of the I_T nexus: the initiator port, as every session goes to this one target port.
    pub fn nexus(&self) -> u64 {
        // FNV-1a over InitiatorName and ISID, which together name the port (§4.2.7.1).
        let bytes = self.initiator.as_str().bytes().chain(self.isid);
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    }
}

/// How a login request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// Flags of the response: T, CSG, NSG.
    pub flags: u8,
    /// The session, when this was the last request.
    pub session: Option<Session>,
}

/// Who answers.
#[derive(Clone, Copy, Debug)]
pub struct Identity<'a> {
    /// iSCSI name of the target.
    pub name: &'a str,
    /// Tag of this target's portal group.
    pub portal_group: u16,
    /// IPv4 addresses of all portals of the target, those of other controllers included; a portal's group
    /// is its position, counted from 1.
    pub portals: &'a [[u8; 4]],
}

impl Identity<'_> {
    /// The answer to SendTargets (Appendix C).
    pub(crate) fn describe(&self, writer: &mut TextWriter<'_>) {
        writer.pair("TargetName", self.name);
        for (group, [a, b, c, d]) in (1..).zip(self.portals) {
            let group: u16 = group;
            let value = format_args!("{a}.{b}.{c}.{d}:{TCP_PORT},{group}");
            writer.pair("TargetAddress", value);
        }
    }
}

impl Default for Login {
    fn default() -> Login {
        Login {
            stage: Stage::Security,
            heard: false,
            isid: [0; 6],
            initiator: None,
            session_type: SessionType::Normal,
            target_named: false,
            parameters: Parameters::default(),
        }
    }
}

impl Login {
    /// Answers a request; the keys of the answer go to `answer`.
    ///
    /// # Errors
    /// The login is refused.
    pub fn request(
        &mut self,
        request: &Request,
        text: &[u8],
        identity: &Identity<'_>,
        answer: &mut TextWriter<'_>,
    ) -> Result<Accepted, Refusal> {
        let [_, version_min] = request.versions;
        if version_min > 0 {
            return Err(Refusal::UnsupportedVersion);
        }
        // A text in several PDUs (C, §6.2) is of no use for what can be said here.
        if request.has(flag::CONTINUE) {
            return Err(Refusal::InitiatorError);
        }
        let stage = Stage::from_bits(request.flags >> 2).ok_or(Refusal::InitiatorError)?;
        let [i0, i1, i2, i3, i4, i5, tsih @ ..] = request.lun;
        let isid = [i0, i1, i2, i3, i4, i5];
        let first = !self.heard;
        if first {
            self.heard = true;
            self.isid = isid;
            self.stage = stage;
            if tsih != [0; 2] {
                return Err(Refusal::SessionDoesNotExist);
            }
        } else if isid != self.isid || stage != self.stage {
            return Err(Refusal::InvalidDuringLogin);
        }
        if stage == Stage::FullFeature {
            return Err(Refusal::InvalidDuringLogin);
        }
        for pair in pairs(text) {
            let (key, value) = pair.map_err(|Malformed| Refusal::InitiatorError)?;
            self.key(key, value, identity, answer)?;
        }
        if first {
            self.check_first(identity, answer)?;
        }
        if !request.has(flag::TRANSIT) {
            return Ok(Accepted {
                flags: stage.bits() << 2,
                session: None,
            });
        }
        let next = Stage::from_bits(request.flags).ok_or(Refusal::InitiatorError)?;
        let forward = match (stage, next) {
            (Stage::Security, Stage::Operational | Stage::FullFeature) => true,
            (Stage::Operational, Stage::FullFeature) => true,
            (Stage::Security | Stage::Operational | Stage::FullFeature, _) => false,
        };
        if !forward {
            return Err(Refusal::InvalidDuringLogin);
        }
        self.stage = next;
        let mut session = None;
        if next == Stage::FullFeature {
            let initiator = self.initiator.ok_or(Refusal::MissingParameter)?;
            session = Some(Session {
                initiator,
                isid,
                session_type: self.session_type,
                parameters: self.parameters,
            });
        }
        Ok(Accepted {
            flags: flag::TRANSIT | stage.bits() << 2 | next.bits(),
            session,
        })
    }

    /// What the first request must say (§6.3.1), and the answer to it must.
    fn check_first(
        &self,
        identity: &Identity<'_>,
        answer: &mut TextWriter<'_>,
    ) -> Result<(), Refusal> {
        if self.initiator.is_none() {
            return Err(Refusal::MissingParameter);
        }
        if self.session_type == SessionType::Normal {
            if !self.target_named {
                return Err(Refusal::MissingParameter);
            }
            answer.pair("TargetPortalGroupTag", identity.portal_group);
        }
        Ok(())
    }

    fn key(
        &mut self,
        key: &str,
        value: &str,
        identity: &Identity<'_>,
        answer: &mut TextWriter<'_>,
    ) -> Result<(), Refusal> {
        let numeric = || number(value).ok_or(Refusal::InitiatorError);
        let parameters = &mut self.parameters;
        match key {
            // Declarations, without an answer.
            "InitiatorName" => {
                self.initiator = Some(Name::new(value).ok_or(Refusal::InitiatorError)?);
            }
            "InitiatorAlias" => {}
            "TargetName" => {
                if value != identity.name {
                    return Err(Refusal::NotFound);
                }
                self.target_named = true;
            }
            "SessionType" => {
                self.session_type = match value {
                    "Discovery" => SessionType::Discovery,
                    "Normal" => SessionType::Normal,
                    _ => return Err(Refusal::SessionTypeNotSupported),
                };
            }
            "MaxRecvDataSegmentLength" => {
                parameters.segment_max = numeric()?.max(SEGMENT_LEAST);
                answer.pair(key, DATA_SEGMENT_MAX);
            }
            // Choices out of a list.
            "AuthMethod" => {
                if !offers(value, "None") {
                    return Err(Refusal::AuthenticationFailure);
                }
                answer.pair(key, "None");
            }
            "HeaderDigest" | "DataDigest" if offers(value, "None") => answer.pair(key, "None"),
            "TaskReporting" if offers(value, "RFC3720") => answer.pair(key, "RFC3720"),
            "HeaderDigest" | "DataDigest" | "TaskReporting" => answer.pair(key, "Reject"),
            // Numbers: the smaller or the larger one.
            "MaxConnections" | "MaxOutstandingR2T" => {
                let _any = numeric()?;
                answer.pair(key, 1);
            }
            "ErrorRecoveryLevel" | "DefaultTime2Retain" => {
                let _any = numeric()?;
                answer.pair(key, 0);
            }
            "DefaultTime2Wait" => answer.pair(key, numeric()?),
            "MaxBurstLength" => {
                parameters.burst_max = numeric()?.clamp(SEGMENT_LEAST, BURST_MAX);
                answer.pair(key, parameters.burst_max);
            }
            "FirstBurstLength" => {
                parameters.first_burst_max = numeric()?.clamp(SEGMENT_LEAST, BURST_MAX);
                answer.pair(key, parameters.first_burst_max);
            }
            // Yes or no: no data unasked but with the command, everything in order.
            "ImmediateData" => {
                parameters.immediate_data = boolean(value)?;
                answer.pair(key, value);
            }
            "InitialR2T" | "DataPDUInOrder" | "DataSequenceInOrder" => {
                let _either = boolean(value)?;
                answer.pair(key, "Yes");
            }
            // Obsolete, but understood (§13, Obsoleted Keys).
            "IFMarker" | "OFMarker" => answer.pair(key, "No"),
            "IFMarkInt" | "OFMarkInt" => answer.pair(key, "Reject"),
            _ => answer.pair(key, "NotUnderstood"),
        }
        Ok(())
    }
}

fn boolean(value: &str) -> Result<bool, Refusal> {
    match value {
        "Yes" => Ok(true),
        "No" => Ok(false),
        _ => Err(Refusal::InitiatorError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDENTITY: Identity<'static> = Identity {
        name: "iqn.2001-08.example:t",
        portal_group: 2,
        portals: &[[10, 0, 0, 1], [10, 0, 0, 2]],
    };

    /// T, CSG and NSG as the figure of §11.12 has them.
    fn login(login: &mut Login, flags: u8, text: &str) -> Result<(Accepted, String), Refusal> {
        let mut request = Request::new(0x43, flags, 1);
        request.lun[1] = 7;
        let mut bytes = [0; 1024];
        let mut writer = TextWriter::new(&mut bytes);
        let accepted = login.request(
            &request,
            text.replace(' ', "\0").as_bytes(),
            &IDENTITY,
            &mut writer,
        )?;
        let length = writer.length().unwrap();
        let text = String::from_utf8(bytes[..length].to_vec()).unwrap();
        Ok((accepted, text.replace('\0', " ")))
    }

    const NAMES: &str = "InitiatorName=iqn.h TargetName=iqn.2001-08.example:t ";

    #[test]
    fn an_initiator_goes_through_both_stages() {
        let mut state = Login::default();
        let (accepted, text) = login(
            &mut state,
            0x81,
            &format!("{NAMES}AuthMethod=CHAP,None SessionType=Normal "),
        )
        .unwrap();
        assert_eq!((accepted.flags, accepted.session), (0x81, None));
        assert_eq!(text, "AuthMethod=None TargetPortalGroupTag=2 ");
        let keys = "HeaderDigest=CRC32C,None InitialR2T=No ImmediateData=Yes \
                    MaxRecvDataSegmentLength=262144 MaxBurstLength=16776192 \
                    FirstBurstLength=0x1000 DefaultTime2Wait=2 DefaultTime2Retain=20 \
                    ErrorRecoveryLevel=2 IFMarker=No X-com.example.new=1 ";
        let (accepted, text) = login(&mut state, 0x87, keys).unwrap();
        assert_eq!(
            text,
            "HeaderDigest=None InitialR2T=Yes ImmediateData=Yes \
             MaxRecvDataSegmentLength=8192 MaxBurstLength=8192 FirstBurstLength=4096 \
             DefaultTime2Wait=2 DefaultTime2Retain=0 ErrorRecoveryLevel=0 IFMarker=No \
             X-com.example.new=NotUnderstood "
        );
        assert_eq!(accepted.flags, 0x87);
        let session = accepted.session.unwrap();
        assert_eq!(session.initiator.as_str(), "iqn.h");
        assert_eq!(session.parameters.segment_max, 262_144);
        assert_eq!(session.parameters.first_burst_max, 4096);
    }

    #[test]
    fn what_is_refused_says_why() {
        let check = |flags, text: &str, refusal| {
            let found = login(&mut Login::default(), flags, text);
            assert_eq!(found.map(|_| ()), Err(refusal), "{flags:#x} {text}");
        };
        check(0x87, "SessionType=Normal ", Refusal::MissingParameter);
        check(0x87, "InitiatorName=iqn.h ", Refusal::MissingParameter);
        check(
            0x87,
            "InitiatorName=iqn.h TargetName=other ",
            Refusal::NotFound,
        );
        check(
            0x81,
            &format!("{NAMES}AuthMethod=CHAP "),
            Refusal::AuthenticationFailure,
        );
        check(
            0x87,
            &format!("{NAMES}SessionType=Odd "),
            Refusal::SessionTypeNotSupported,
        );
        check(0x87, "garbage ", Refusal::InitiatorError);
        check(
            0x87,
            &format!("{NAMES}MaxBurstLength=many "),
            Refusal::InitiatorError,
        );
        // To the same stage, from the last one, to the one that there is not.
        check(0x85, NAMES, Refusal::InvalidDuringLogin);
        check(0x8f, NAMES, Refusal::InvalidDuringLogin);
        check(0x86, NAMES, Refusal::InitiatorError);
        // A text that goes on.
        check(0x44, NAMES, Refusal::InitiatorError);
    }

    #[test]
    fn a_session_is_named_by_the_initiators_port() {
        let session = |isid| Session {
            initiator: Name::new("iqn.h").unwrap(),
            isid,
            session_type: SessionType::Normal,
            parameters: Parameters::default(),
        };
        assert_eq!(session([1; 6]).nexus(), session([1; 6]).nexus());
        assert_ne!(session([1; 6]).nexus(), session([2; 6]).nexus());
    }
}
