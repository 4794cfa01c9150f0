//! Which QEMU is used, and how it is started.
//!
//! `scripts/setup --qemu` unpacks a newer QEMU than the system may have into `.setup/qemu` of the
//! checkout, with the C library and loader it was built for. So it is started through that loader:
//! nothing of it depends on the system's libraries.

use std::env;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use thiserror::Error;

/// Names the QEMU to use: a program, or a folder as `scripts/setup --qemu` unpacks it.
const VARIABLE: &str = "ARRAYBENCH_QEMU";
/// Where `scripts/setup --qemu` unpacks it, in the checkout.
const UNPACKED: &str = ".setup/qemu";
const PROGRAM: &str = "qemu-system-x86_64";
/// What brings one.
const SETUP: &str = "scripts/setup --qemu";

/// A QEMU that was found and answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    origin: Origin,
    kind: Kind,
    version: Version,
}

/// Who named a QEMU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The environment variable `ARRAYBENCH_QEMU`.
    Variable(PathBuf),
    /// `scripts/setup --qemu`.
    Unpacked(PathBuf),
    /// The search path for programs.
    SearchPath(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Variable(path) => write!(out, "{}, named in {VARIABLE}", path.display()),
            Origin::Unpacked(path) => write!(out, "{}, from {SETUP}", path.display()),
            Origin::SearchPath(path) => write!(out, "{}, in PATH", path.display()),
        }
    }
}

/// How a QEMU is started.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// As any program of this system.
    Program(PathBuf),
    /// Out of a folder of unpacked Debian packages.
    Root(PathBuf),
}

impl Kind {
    fn command(&self) -> Command {
        let root = match self {
            Kind::Program(path) => return Command::new(path),
            Kind::Root(root) => root,
        };
        let mut command = Command::new(root.join("usr/lib64/ld-linux-x86-64.so.2"));
        command
            .arg("--library-path")
            .arg(root.join("usr/lib/x86_64-linux-gnu"))
            .arg(root.join("usr/bin").join(PROGRAM))
            .arg("-L")
            .arg(root.join("usr/share/qemu"))
            .arg("-L")
            .arg(root.join("usr/share/seabios"));
        command
    }

    /// Asks it for its version.
    fn version(&self) -> Result<Version, Trouble> {
        let output = self.command().arg("--version").output()?;
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            return Err(Trouble::Failed(format!("{}: {errors}", output.status)));
        }
        let text = String::from_utf8_lossy(&output.stdout);
        Version::in_text(&text).ok_or_else(|| Trouble::NoVersion(text.into_owned()))
    }
}

/// A version of QEMU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    /// The number before the first point.
    pub major: u32,
    /// The number after the first point.
    pub minor: u32,
    /// The number after the second point.
    pub micro: u32,
}

impl Version {
    /// From here on `vhost-user-test-device` may be created by users, which takes any virtio id
    /// QEMU has a name for.
    pub const ANY_VIRTIO_ID: Version = Version {
        major: 10,
        minor: 2,
        micro: 0,
    };

    /// Reads what `--version` prints: `QEMU emulator version 11.1.3 (Debian …)` and more lines.
    fn in_text(text: &str) -> Option<Version> {
        let (_, rest) = text.lines().next()?.split_once(" version ")?;
        let mut numbers = rest
            .split_whitespace()
            .next()?
            .split('.')
            .map(|number| number.parse().ok());
        let version = Version {
            major: numbers.next()??,
            minor: numbers.next()??,
            micro: numbers.next()??,
        };
        Some(version)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}.{}.{}", self.major, self.minor, self.micro)
    }
}

/// There is no QEMU to use.
#[derive(Debug, Error)]
#[non_exhaustive]
#[error("{}; mend it with: {}", self.what(), self.remedy())]
pub enum Missing {
    /// It was named, and there is none.
    Named {
        /// What the variable says.
        path: PathBuf,
        /// Why it cannot be used.
        trouble: Trouble,
    },
    /// It works, and most devices do not attach to it.
    Old {
        /// Who named it.
        origin: Origin,
        /// What it says it is.
        version: Version,
    },
    /// It was unpacked, and does not work.
    Broken {
        /// The unpacked folder.
        path: PathBuf,
        /// Why it cannot be used.
        trouble: Trouble,
    },
    /// It was named nowhere and is in none of the usual places.
    Nowhere {
        /// From where on upwards `.setup/qemu` was looked for.
        above: Vec<PathBuf>,
        /// What was found in PATH.
        found: InSearchPath,
    },
}

impl Missing {
    /// What was looked for, and where.
    pub fn what(&self) -> String {
        match self {
            Missing::Named { path, trouble } => format!(
                "{VARIABLE} names {}, neither a QEMU nor an unpacked one: {trouble}",
                path.display()
            ),
            Missing::Old { origin, version } => format!(
                "QEMU {version} at {origin}; network and disks attach to it, but board control, flash, \
                 console and panel only to {} or newer",
                Version::ANY_VIRTIO_ID
            ),
            Missing::Broken { path, trouble } => {
                format!("{} does not work: {trouble}", path.display())
            }
            Missing::Nowhere { above, found } => format!(
                "no QEMU {} or newer: {VARIABLE} is not set, there is no {UNPACKED} in a folder \
                 above {}, and {found}",
                Version::ANY_VIRTIO_ID,
                searched(above)
            ),
        }
    }

    /// The command that mends it.
    pub fn remedy(&self) -> String {
        match self {
            Missing::Named { .. } | Missing::Old { .. } => format!("unset {VARIABLE}; {SETUP}"),
            Missing::Broken { path, .. } => format!("rm -r {}; {SETUP}", path.display()),
            Missing::Nowhere { .. } => SETUP.to_owned(),
        }
    }
}

fn searched(above: &[PathBuf]) -> String {
    let folders: Vec<String> = above
        .iter()
        .map(|folder| folder.display().to_string())
        .collect();
    folders.join(" or ")
}

/// Why a QEMU cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Trouble {
    /// It does not start.
    #[error("it does not start: {0}")]
    Start(#[from] io::Error),
    /// It starts and fails.
    #[error("it was asked for its version and ended with {0}")]
    Failed(String),
    /// It answers in words that are not QEMU's.
    #[error("it was asked for its version and answered {0:?}")]
    NoVersion(String),
}

/// What PATH had to offer where nothing of it is good enough.
#[derive(Debug)]
pub enum InSearchPath {
    /// No such program.
    Nothing,
    /// One that is too old.
    Old(PathBuf, Version),
    /// One that does not work.
    Broken(PathBuf, Trouble),
}

impl fmt::Display for InSearchPath {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InSearchPath::Nothing => write!(out, "no {PROGRAM} in PATH"),
            InSearchPath::Old(path, version) => {
                write!(out, "{} in PATH is {version}", path.display())
            }
            InSearchPath::Broken(path, trouble) => {
                write!(out, "of {} in PATH: {trouble}", path.display())
            }
        }
    }
}

/// Where to look: what [`Installation::find`] takes from its surroundings.
#[derive(Debug, Default)]
struct Places {
    named: Option<PathBuf>,
    /// Each folder is looked at, then those above it.
    above: Vec<PathBuf>,
    search_path: Option<OsString>,
}

impl Places {
    fn of_this_process() -> Places {
        let beside = env::current_exe()
            .ok()
            .and_then(|program| program.parent().map(Path::to_owned));
        Places {
            named: env::var_os(VARIABLE).map(PathBuf::from),
            above: beside.into_iter().chain(env::current_dir()).collect(),
            search_path: env::var_os("PATH"),
        }
    }

    fn unpacked(&self) -> Option<PathBuf> {
        self.above
            .iter()
            .flat_map(|folder| folder.ancestors())
            .map(|folder| folder.join(UNPACKED))
            .find(|folder| folder.is_dir())
    }

    fn in_search_path(&self) -> Option<PathBuf> {
        env::split_paths(self.search_path.as_ref()?)
            .map(|folder| folder.join(PROGRAM))
            .find(|program| program.is_file())
    }
}

impl Installation {
    /// Looks for a QEMU: the one that `ARRAYBENCH_QEMU` names and no other; else the one of
    /// `scripts/setup --qemu`, in any folder above this program or above the current folder;
    /// else one in PATH that takes any virtio id.
    ///
    /// # Errors
    /// There is none, or the first one found does not work.
    pub fn find() -> Result<Installation, Missing> {
        Installation::find_in(&Places::of_this_process())
    }

    fn find_in(places: &Places) -> Result<Installation, Missing> {
        if let Some(path) = &places.named {
            let kind = match path.is_dir() {
                true => Kind::Root(path.clone()),
                false => Kind::Program(path.clone()),
            };
            return Installation::asked(kind, Origin::Variable(path.clone())).map_err(|trouble| {
                Missing::Named {
                    path: path.clone(),
                    trouble,
                }
            });
        }
        if let Some(path) = places.unpacked() {
            let kind = Kind::Root(path.clone());
            return Installation::asked(kind, Origin::Unpacked(path.clone()))
                .map_err(|trouble| Missing::Broken { path, trouble });
        }
        let found = match places.in_search_path() {
            None => InSearchPath::Nothing,
            Some(path) => {
                let kind = Kind::Program(path.clone());
                match Installation::asked(kind, Origin::SearchPath(path.clone())) {
                    Ok(installation) if installation.supports_any_virtio_id() => {
                        return Ok(installation);
                    }
                    Ok(old) => InSearchPath::Old(path, old.version),
                    Err(trouble) => InSearchPath::Broken(path, trouble),
                }
            }
        };
        Err(Missing::Nowhere {
            above: places.above.clone(),
            found,
        })
    }

    fn asked(kind: Kind, origin: Origin) -> Result<Installation, Trouble> {
        let version = kind.version()?;
        Ok(Installation {
            origin,
            kind,
            version,
        })
    }

    /// Starts it, with its loader, libraries and data folders given where it needs them. The rest
    /// of the command line is the caller's.
    pub fn command(&self) -> Command {
        self.kind.command()
    }

    /// What it says it is.
    pub fn version(&self) -> Version {
        self.version
    }

    /// Whether a device of any virtio id it has a name for can be attached over vhost-user.
    pub fn supports_any_virtio_id(&self) -> bool {
        self.version >= Version::ANY_VIRTIO_ID
    }

    /// Whether every device of a board can be attached to it.
    ///
    /// # Errors
    /// It is too old.
    pub fn fit_for_boards(&self) -> Result<(), Missing> {
        match self.supports_any_virtio_id() {
            true => Ok(()),
            false => Err(Missing::Old {
                origin: self.origin.clone(),
                version: self.version,
            }),
        }
    }

    /// Where it was found, for people.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;

    use tempfile::{NamedTempFile, TempDir};

    use super::*;

    const NEW: Version = Version {
        major: 11,
        minor: 1,
        micro: 3,
    };

    /// A program at `path` that prints `line` and ends with `code`.
    ///
    /// Another process writes it: had this one it open for writing, a child that another test
    /// starts at that moment would hold it open too, and it could not be run ("text file busy").
    fn program(path: &Path, line: &str, code: u8) {
        let mut text = NamedTempFile::new().unwrap();
        write!(text, "#!/bin/sh\necho '{line}'\nexit {code}\n").unwrap();
        let installed = Command::new("install")
            .args(["-D", "-m", "755"])
            .args([text.path(), path])
            .status();
        assert!(installed.unwrap().success());
    }

    fn version_line(version: &str) -> String {
        format!("QEMU emulator version {version} (Debian 1:{version}+ds-1)")
    }

    /// An unpacked folder whose loader only tells a version.
    fn unpacked(root: &Path) {
        program(
            &root.join("usr/lib64/ld-linux-x86-64.so.2"),
            &version_line("11.1.3"),
            0,
        );
    }

    fn in_search_path(folder: &TempDir, version: &str) -> Places {
        program(&folder.path().join(PROGRAM), &version_line(version), 0);
        Places {
            search_path: Some(folder.path().into()),
            ..Places::default()
        }
    }

    #[test]
    fn versions_are_read_from_what_qemu_prints() {
        assert_eq!(
            Version::in_text("QEMU emulator version 11.1.3 (Debian 1:11.1.3)\nCopyright"),
            Some(NEW)
        );
        assert_eq!(
            Version::in_text("QEMU emulator version 11.1.3\n"),
            Some(NEW)
        );
        for other in ["", "bash version 5", "QEMU emulator version x.y.z"] {
            assert_eq!(Version::in_text(other), None);
        }
    }

    #[test]
    fn any_virtio_id_from_10_2_on() {
        let folder = TempDir::new().unwrap();
        for (version, any) in [
            ("7.2.22", false),
            ("10.1.9", false),
            ("10.2.0", true),
            ("11.1.3", true),
        ] {
            let path = folder.path().join(version);
            program(&path, &version_line(version), 0);
            let places = Places {
                named: Some(path),
                ..Places::default()
            };
            let found = Installation::find_in(&places).unwrap();
            assert_eq!(found.supports_any_virtio_id(), any, "{version}");
            let told = found.fit_for_boards().map_err(|it| it.to_string());
            assert_eq!(told.is_ok(), any, "{version}");
            let told = told.err().unwrap_or_default();
            for part in [version, "ARRAYBENCH_QEMU", "10.2.0 or newer; mend"] {
                assert!(any || told.contains(part), "{told}");
            }
        }
    }

    #[test]
    fn the_variable_goes_first_then_what_setup_brought_then_the_search_path() {
        let folder = TempDir::new().unwrap();
        let mut places = in_search_path(&folder, "11.1.3");
        let found = Installation::find_in(&places).unwrap();
        assert!(matches!(found.origin(), Origin::SearchPath(_)), "{found:?}");

        let checkout = TempDir::new().unwrap();
        unpacked(&checkout.path().join(UNPACKED));
        places.above = vec![folder.path().into(), checkout.path().join("target/release")];
        let found = Installation::find_in(&places).unwrap();
        assert_eq!(
            *found.origin(),
            Origin::Unpacked(checkout.path().join(UNPACKED))
        );

        for named in [
            folder.path().join(PROGRAM),
            checkout.path().join(".setup/qemu"),
        ] {
            places.named = Some(named.clone());
            let found = Installation::find_in(&places).unwrap();
            assert_eq!(*found.origin(), Origin::Variable(named));
            assert_eq!(found.version(), NEW);
        }
    }

    #[test]
    fn a_broken_one_is_never_passed_over() {
        let folder = TempDir::new().unwrap();
        let mut places = in_search_path(&folder, "11.1.3");
        let checkout = TempDir::new().unwrap();
        fs::create_dir_all(checkout.path().join(UNPACKED)).unwrap();
        places.above = vec![checkout.path().into()];
        let broken = Installation::find_in(&places).unwrap_err();
        assert!(matches!(broken, Missing::Broken { .. }), "{broken}");
        assert!(broken.to_string().contains("it does not start"), "{broken}");

        program(&folder.path().join("fails"), "", 7);
        program(&folder.path().join("other"), "grep (GNU grep) 3.8", 0);
        for (named, trouble) in [
            ("nothing", "it does not start"),
            ("fails", "exit status: 7"),
            ("other", "grep (GNU grep) 3.8"),
        ] {
            places.named = Some(folder.path().join(named));
            let missing = Installation::find_in(&places).unwrap_err();
            assert!(matches!(missing, Missing::Named { .. }), "{missing}");
            assert!(missing.to_string().contains(trouble), "{missing}");
        }
    }

    #[test]
    fn what_is_missing_says_where_it_was_looked_for_and_what_mends_it() {
        let folder = TempDir::new().unwrap();
        let mut places = in_search_path(&folder, "7.2.22");
        places.above = vec!["/checkout/target/release".into(), "/home".into()];
        let missing = Installation::find_in(&places).unwrap_err().to_string();
        assert_eq!(
            missing,
            format!(
                "no QEMU 10.2.0 or newer: ARRAYBENCH_QEMU is not set, there is no .setup/qemu in a \
                 folder above /checkout/target/release or /home, and {}/qemu-system-x86_64 in PATH \
                 is 7.2.22; mend it with: scripts/setup --qemu",
                folder.path().display()
            )
        );
        places.search_path = None;
        let missing = Installation::find_in(&places).unwrap_err().to_string();
        assert!(
            missing.contains("no qemu-system-x86_64 in PATH; mend"),
            "{missing}"
        );
    }

    #[test]
    fn an_unpacked_one_is_started_through_its_own_loader() {
        let command = Kind::Root("/q".into()).command();
        assert_eq!(command.get_program(), "/q/usr/lib64/ld-linux-x86-64.so.2");
        let arguments: Vec<_> = command.get_args().collect();
        assert_eq!(
            arguments,
            [
                "--library-path",
                "/q/usr/lib/x86_64-linux-gnu",
                "/q/usr/bin/qemu-system-x86_64",
                "-L",
                "/q/usr/share/qemu",
                "-L",
                "/q/usr/share/seabios"
            ]
        );
    }
}
