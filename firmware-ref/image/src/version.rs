//! Versions: two numbers to compare, one label to tell builds apart.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

/// Room for a version's text, padded with NUL.
pub const LABEL_SIZE: usize = 16;

/// Version of an image or package, such as `1.0` or `2.0-crash`.
///
/// Two builds are *equal* only when their whole text is (VC38, VC43: any difference counts), but which
/// of them is *more recent* (VC66) is decided by the numbers alone: `2.0` and `2.0-crash` differ
/// and neither is newer.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    major: u16,
    minor: u16,
    label: [u8; LABEL_SIZE],
}

/// Why a text or a stored field is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VersionError {
    /// Longer than 16 characters.
    TooLong,
    /// Not `MAJOR.MINOR` or `MAJOR.MINOR-BUILD`, with numbers up to 65535 without leading zeros and
    /// a build of letters, digits, dots and dashes.
    Malformed,
    /// The stored numbers are not those of the stored text.
    NumbersDiffer,
}

impl Version {
    /// The numbers that order versions.
    pub fn number(&self) -> (u16, u16) {
        (self.major, self.minor)
    }

    /// The whole text, as stored.
    pub fn as_str(&self) -> &str {
        let length = self
            .label
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(LABEL_SIZE);
        // Construction admits ASCII only, so the fallback is never taken.
        self.label
            .get(..length)
            .and_then(|text| str::from_utf8(text).ok())
            .unwrap_or_default()
    }

    /// The text field as stored: NUL-padded.
    pub(crate) fn label(&self) -> [u8; LABEL_SIZE] {
        self.label
    }

    /// Reads the three stored fields back.
    pub(crate) fn from_fields(
        major: u16,
        minor: u16,
        label: &[u8; LABEL_SIZE],
    ) -> Result<Version, VersionError> {
        let length = label
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(LABEL_SIZE);
        let (text, padding) = label
            .split_at_checked(length)
            .ok_or(VersionError::Malformed)?;
        if padding.iter().any(|byte| *byte != 0) {
            return Err(VersionError::Malformed);
        }
        let version: Version = str::from_utf8(text)
            .map_err(|_| VersionError::Malformed)?
            .parse()?;
        if version.number() != (major, minor) {
            return Err(VersionError::NumbersDiffer);
        }
        Ok(version)
    }
}

fn number(text: &str) -> Result<u16, VersionError> {
    let digits_only = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    // One spelling per number, or equal versions could differ in text.
    if !digits_only || (text.len() > 1 && text.starts_with('0')) {
        return Err(VersionError::Malformed);
    }
    text.parse().map_err(|_| VersionError::Malformed)
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Version, VersionError> {
        let mut label = [0; LABEL_SIZE];
        label
            .get_mut(..text.len())
            .ok_or(VersionError::TooLong)?
            .copy_from_slice(text.as_bytes());
        let (numbers, build) = match text.split_once('-') {
            Some((numbers, build)) => (numbers, Some(build)),
            None => (text, None),
        };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
        if build.is_some_and(|build| build.is_empty() || !build.bytes().all(plain)) {
            return Err(VersionError::Malformed);
        }
        let (major, minor) = numbers.split_once('.').ok_or(VersionError::Malformed)?;
        Ok(Version {
            major: number(major)?,
            minor: number(minor)?,
            label,
        })
    }
}

/// More or less recent; `None` for two builds of the same number.
impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Version) -> Option<Ordering> {
        match self.number().cmp(&other.number()) {
            Ordering::Equal if self != other => None,
            order => Some(order),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Version({self})")
    }
}

impl fmt::Display for VersionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            VersionError::TooLong => "a version has at most 16 characters",
            VersionError::Malformed => "a version is MAJOR.MINOR or MAJOR.MINOR-BUILD",
            VersionError::NumbersDiffer => "the version's numbers and text differ",
        })
    }
}

impl core::error::Error for VersionError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    #[test]
    fn text_is_accepted_only_in_its_one_spelling() {
        for text in [
            "0.0",
            "1.0",
            "2.0-crash",
            "65535.65535",
            "1.1-a.b-c",
            "1.0-0123456789ab",
        ] {
            assert_eq!(version(text).to_string(), text);
        }
        for (text, error) in [
            ("", VersionError::Malformed),
            ("1", VersionError::Malformed),
            ("1.", VersionError::Malformed),
            ("01.0", VersionError::Malformed),
            ("1.00", VersionError::Malformed),
            ("+1.0", VersionError::Malformed),
            ("1.0-", VersionError::Malformed),
            ("1.0-a b", VersionError::Malformed),
            ("1.0-\0", VersionError::Malformed),
            ("1.0.0", VersionError::Malformed),
            ("65536.0", VersionError::Malformed),
            ("1.0-ä", VersionError::Malformed),
            ("1.0-0123456789abc", VersionError::TooLong),
        ] {
            assert_eq!(text.parse::<Version>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn vc66_recency_is_by_number_and_vc43_equality_by_everything() {
        assert!(version("1.9") < version("1.10"));
        assert!(version("1.1") < version("2.0-crash"));
        assert_ne!(version("2.0"), version("2.0-crash"));
        assert_eq!(version("2.0").partial_cmp(&version("2.0-crash")), None);
        assert_eq!(
            version("2.0").partial_cmp(&version("2.0")),
            Some(Ordering::Equal)
        );
    }

    #[test]
    fn stored_fields_must_agree() {
        let stored = version("2.0-crash");
        assert_eq!(Version::from_fields(2, 0, &stored.label()), Ok(stored));
        assert_eq!(
            Version::from_fields(2, 1, &stored.label()),
            Err(VersionError::NumbersDiffer)
        );
        let mut dirty = stored.label();
        dirty[15] = b'x';
        assert_eq!(
            Version::from_fields(2, 0, &dirty),
            Err(VersionError::Malformed)
        );
    }
}
