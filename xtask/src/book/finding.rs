//! What can be wrong with the documentation.

use std::fmt;
use std::path::PathBuf;

/// A line of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The page, seen from the root.
    pub(super) page: PathBuf,
    /// Counted from 1.
    pub(super) line: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.page.display(), self.line)
    }
}

/// Something that a reader would stumble over.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Finding {
    /// A page that nobody who reads from the beginning comes to.
    #[error("{} is not in docs/SUMMARY.md; give it a line there", page.display())]
    NotListed {
        /// The page.
        page: PathBuf,
    },

    /// A page that comes twice.
    #[error("{at}: {} is listed before; leave one of both out", page.display())]
    ListedTwice {
        /// The second line.
        at: Place,
        /// The page.
        page: PathBuf,
    },

    /// A link to nothing.
    #[error("{at}: there is no {to}; mend the link, or bring back what it led to")]
    NoSuchFile {
        /// The link.
        at: Place,
        /// Where it leads.
        to: String,
    },

    /// A link that is good on this machine at best.
    #[error("{at}: {to} is not inside the repository; give it a path relative to the page")]
    Outside {
        /// The link.
        at: Place,
        /// Where it leads.
        to: String,
    },

    /// A link to a page, and to nothing on it.
    #[error("{at}: nothing there is called #{anchor}; the headings are {known}")]
    NoSuchHeading {
        /// The link.
        at: Place,
        /// Behind the `#`.
        anchor: String,
        /// What could have been meant.
        known: String,
    },

    /// A block of which nobody knows what it is; rustdoc takes it for Rust.
    #[error("{at}: a block without a language; fence it and say one, `text` if it has none")]
    NoLanguage {
        /// The block.
        at: Place,
    },

    /// Rust that no compiler has seen.
    #[error(
        "{at}: no crate compiles the Rust of this page; include a page of the book in engine/src/book.rs, a \
         README in its crate's lib.rs"
    )]
    NotCompiled {
        /// The block.
        at: Place,
    },

    /// Rust that is kept from the compiler.
    #[error("{at}: `ignore` keeps this block from the compiler; mend it, or make it `no_run`")]
    Ignored {
        /// The block.
        at: Place,
    },

    /// TOML that is none.
    #[error("{at}: this is no TOML: {problem}")]
    BadToml {
        /// The block.
        at: Place,
        /// What the parser said.
        problem: String,
    },

    /// A command that would be refused.
    #[error("{at}: `cargo xtask` refuses `{command}`: {problem}")]
    NoSuchCommand {
        /// Where it is named.
        at: Place,
        /// As it stands there.
        command: String,
        /// The first line of the refusal.
        problem: String,
    },
}
