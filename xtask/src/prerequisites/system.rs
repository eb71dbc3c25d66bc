//! Which operating system this is, what its packages are called, and installing them.

use std::env::consts::OS;
use std::fmt::Write as _;
use std::fs;
use std::process::Command;

use super::Tool;
use crate::run::{self, Failed};

/// An operating system, as far as its package manager goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum System {
    /// Debian, Ubuntu and their relatives: apt-get.
    Debian,
    /// Fedora, Red Hat and their relatives: dnf.
    Fedora,
    /// openSUSE: zypper.
    Suse,
    /// Arch and its relatives: pacman.
    Arch,
    /// Alpine: apk.
    Alpine,
    /// macOS: Apple's command line tools and Homebrew.
    MacOs,
    /// Anything else.
    Other,
}

/// Tools are missing and are not there now.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageError {
    /// Nothing was tried: it would need a password, or the package manager is not ours to run.
    #[error("{} missing; {}", listed(tools), hint(*system, tools))]
    Missing {
        /// What is missing.
        tools: Vec<Tool>,
        /// Where.
        system: System,
    },

    /// The package manager was run and failed.
    #[error("{} missing and could not be installed: {source}; {}", listed(tools), hint(*system, tools))]
    Install {
        /// What is missing.
        tools: Vec<Tool>,
        /// Where.
        system: System,
        /// The command that failed.
        source: Failed,
    },

    /// The package manager was content and the tool is still not found.
    #[error(
        "{} still missing after the packages were installed; look whether PATH or another variable \
         of the environment hides them",
        listed(tools)
    )]
    Ineffective {
        /// What is missing.
        tools: Vec<Tool>,
    },
}

impl System {
    /// The system that this runs on.
    pub(super) fn here() -> Self {
        if OS == "macos" {
            return Self::MacOs;
        }
        let paths = ["/etc/os-release", "/usr/lib/os-release"];
        let release = paths.iter().find_map(|path| fs::read_to_string(path).ok());
        release.map_or(Self::Other, |release| Self::from_os_release(&release))
    }

    /// Reads an os-release file: `ID`, and where that is not known, what it is like.
    /// Source: freedesktop.org, os-release(5).
    fn from_os_release(release: &str) -> Self {
        let value = |key: &str| {
            release.lines().find_map(|line| {
                let value = line.trim().strip_prefix(key)?.strip_prefix('=')?;
                Some(value.trim_matches(['"', '\'']).to_owned())
            })
        };
        let names = [value("ID"), value("ID_LIKE")].into_iter().flatten().collect::<Vec<_>>();
        let known = names.iter().flat_map(|names| names.split_whitespace()).find_map(|name| {
            Some(match name {
                "debian" | "ubuntu" => Self::Debian,
                "fedora" | "rhel" | "centos" => Self::Fedora,
                "suse" | "opensuse" => Self::Suse,
                "arch" => Self::Arch,
                "alpine" => Self::Alpine,
                _ => return None,
            })
        });
        known.unwrap_or(Self::Other)
    }

    /// The packages that bring `tool`.
    fn packages(self, tool: Tool) -> &'static [&'static str] {
        match self {
            Self::Debian => match tool {
                Tool::Cmake => &["cmake"],
                Tool::Make => &["make"],
                Tool::Cxx => &["g++"],
                // `libclang1-*` is the bare library; the -dev package brings the headers too.
                Tool::Libclang => &["libclang-dev"],
                Tool::Pip => &["python3", "python3-pip"],
            },
            Self::Fedora | Self::Suse => match tool {
                Tool::Cmake => &["cmake"],
                Tool::Make => &["make"],
                Tool::Cxx => &["gcc-c++"],
                Tool::Libclang => &["clang-devel"],
                Tool::Pip => &["python3", "python3-pip"],
            },
            Self::Arch => match tool {
                Tool::Cmake => &["cmake"],
                Tool::Make => &["make"],
                Tool::Cxx => &["gcc"],
                Tool::Libclang => &["clang"],
                Tool::Pip => &["python", "python-pip"],
            },
            Self::Alpine => match tool {
                Tool::Cmake => &["cmake"],
                Tool::Make => &["make"],
                Tool::Cxx => &["g++"],
                Tool::Libclang => &["clang-dev"],
                Tool::Pip => &["python3", "py3-pip"],
            },
            Self::MacOs => match tool {
                Tool::Cmake => &["cmake"],
                Tool::Pip => &["python"],
                // These come with Apple's command line tools.
                Tool::Make | Tool::Cxx | Tool::Libclang => &[],
            },
            Self::Other => &[],
        }
    }

    /// The package manager's words in front of the packages.
    fn install_words(self) -> &'static [&'static str] {
        match self {
            Self::Debian => &["apt-get", "install", "-y", "--no-install-recommends"],
            Self::Fedora => &["dnf", "install", "-y"],
            Self::Suse => &["zypper", "install", "-y"],
            Self::Arch => &["pacman", "-S", "--needed"],
            Self::Alpine => &["apk", "add"],
            Self::MacOs => &["brew", "install"],
            Self::Other => &[],
        }
    }

    /// The line that installs `tools`; `None` if this system's packages are not known here.
    fn install_line(self, tools: &[Tool]) -> Option<String> {
        let packages: Vec<_> =
            tools.iter().flat_map(|&tool| self.packages(tool)).copied().collect();
        (!packages.is_empty()).then(|| [self.install_words(), &packages].concat().join(" "))
    }
}

/// Installs `tools` if that can be done without asking anybody.
pub(super) fn install(system: System, tools: &[Tool]) -> Result<(), PackageError> {
    let missing = || PackageError::Missing { tools: tools.to_vec(), system };
    let Some(line) = system.install_line(tools) else {
        return Err(missing());
    };
    if system != System::Debian || run::probe("apt-get", &["--version"]).is_none() {
        return Err(missing());
    }
    let as_root: &[&str] = if run::probe("id", &["-u"]).is_some_and(|id| id.trim() == "0") {
        &[]
    } else if run::probe("sudo", &["-n", "true"]).is_some() {
        &["sudo", "-n"]
    } else {
        return Err(missing());
    };
    eprintln!("{} missing; installing: {line} (1 to 3 minutes)", listed(tools));
    // A stale or half-reachable index may still serve: only the installation itself has to succeed.
    if let Err(error) = run::run(&mut apt(as_root, &["update"])) {
        eprintln!("note: {error}; going on with the package lists that are there");
    }
    let words: Vec<_> = line.split(' ').skip(1).collect();
    run::run(&mut apt(as_root, &words)).map_err(|source| PackageError::Install {
        tools: tools.to_vec(),
        system,
        source,
    })
}

fn apt(as_root: &[&str], words: &[&str]) -> Command {
    // sudo drops the environment, hence `env`. Another apt (unattended upgrades) may be at work:
    // wait for it rather than fail.
    let front =
        ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-o", "DPkg::Lock::Timeout=300"];
    let all = [as_root, &front, words].concat();
    let mut command = Command::new(all[0]);
    command.args(&all[1..]);
    command
}

/// "cmake is", "cmake and make are".
fn listed(tools: &[Tool]) -> String {
    let names: Vec<_> = tools.iter().map(Tool::to_string).collect();
    match names.as_slice() {
        [] => "nothing is".to_owned(),
        [one] => format!("{one} is"),
        [front @ .., last] => format!("{} and {last} are", front.join(", ")),
    }
}

/// What to type to get `tools`.
fn hint(system: System, tools: &[Tool]) -> String {
    let mut hint = String::new();
    let apple = |tool: &Tool| matches!(tool, Tool::Make | Tool::Cxx | Tool::Libclang);
    if system == System::MacOs && tools.iter().any(apple) {
        hint.push_str("run `xcode-select --install`");
    }
    if let Some(line) = system.install_line(tools) {
        let joint = if hint.is_empty() { "run" } else { " and" };
        let root = if system == System::MacOs { "" } else { "sudo " };
        let _ = write!(hint, "{joint} `{root}{line}`");
    }
    if hint.is_empty() {
        hint.push_str(
            "install that with your package manager (libclang together with clang's headers; \
             LIBCLANG_PATH may name its folder)",
        );
    }
    if system == System::Alpine && tools.contains(&Tool::Libclang) {
        // A static musl program cannot load a shared library.
        hint.push_str(" and use Alpine's own rust and cargo: those of rustup cannot load libclang");
    }
    hint.push_str(", then run this command again");
    hint
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_known_by_id_and_by_what_they_are_like() {
        let cases = [
            ("PRETTY_NAME=\"Debian GNU/Linux 12\"\nID=debian\n", System::Debian),
            ("ID=ubuntu\nID_LIKE=debian\n", System::Debian),
            ("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", System::Debian),
            ("ID=fedora\nVARIANT_ID=container\n", System::Fedora),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", System::Fedora),
            ("ID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n", System::Suse),
            ("ID=manjaro\nID_LIKE=arch\n", System::Arch),
            ("ID='alpine'\n", System::Alpine),
            ("ID=nixos\n", System::Other),
            ("VERSION_ID=debian\n", System::Other),
            ("", System::Other),
        ];
        for (release, system) in cases {
            assert_eq!(System::from_os_release(release), system, "{release}");
        }
    }

    #[test]
    fn the_error_says_what_is_missing_and_the_line_to_type() {
        let tools = vec![Tool::Cmake, Tool::Libclang];
        let error = PackageError::Missing { tools, system: System::Debian };
        assert_eq!(
            error.to_string(),
            "cmake and libclang with its headers are missing; run `sudo apt-get install -y \
             --no-install-recommends cmake libclang-dev`, then run this command again"
        );
    }

    #[test]
    fn every_system_gets_a_line_for_every_tool() {
        let tools = [Tool::Cmake, Tool::Make, Tool::Cxx, Tool::Libclang, Tool::Pip];
        for system in [System::Debian, System::Fedora, System::Suse, System::Arch, System::Alpine] {
            for tool in tools {
                let line = system.install_line(&[tool]);
                assert!(line.is_some_and(|line| line.len() > 10), "{system:?} {tool:?}");
            }
        }
        for tool in tools {
            assert!(hint(System::MacOs, &[tool]).contains('`'), "{tool:?}");
            assert!(hint(System::Other, &[tool]).contains("package manager"), "{tool:?}");
        }
    }

    #[test]
    fn macos_gets_both_of_its_lines() {
        let hint = hint(System::MacOs, &[Tool::Cmake, Tool::Libclang]);
        assert_eq!(
            hint,
            "run `xcode-select --install` and `brew install cmake`, then run this command again"
        );
    }

    #[test]
    fn apt_gets_its_variable_also_through_sudo() {
        assert_eq!(
            run::shown(&apt(&["sudo", "-n"], &["update"])),
            "sudo -n env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 update"
        );
    }
}
