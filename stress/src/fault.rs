//! Faults by their names, and how often each of them comes: as by itself, or by a factor that somebody chose.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use fastrand::Rng;
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Something that goes wrong on purpose. Freezes are not among them: `--freeze` says how many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A panic with something in hand.
    Panic,
    /// A request is cancelled.
    Cancel,
    /// A reader takes one event at a time, and its request waits for it.
    SlowReader,
    /// A reader goes before its answer is over.
    Vanish,
    /// The backends of a model generation fail.
    Backend,
    /// A model cannot be loaded.
    Load,
    /// A file of the engine's cache is damaged, cut off or removed.
    Spoil,
    /// The process that owns the store is killed.
    Kill,
    /// Its disk has no room left.
    FullDisk,
    /// The system refuses its writes and descriptors for a moment.
    IoError,
    /// A clock is set ahead or back.
    Clock,
    /// An agent dies with what it has, or is taken for dead.
    Die,
}

impl Fault {
    pub(crate) const ALL: [Self; 12] = [
        Self::Panic,
        Self::Cancel,
        Self::SlowReader,
        Self::Vanish,
        Self::Backend,
        Self::Load,
        Self::Spoil,
        Self::Kill,
        Self::FullDisk,
        Self::IoError,
        Self::Clock,
        Self::Die,
    ];

    /// As it is written in options and files.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Cancel => "cancel",
            Self::SlowReader => "slow-reader",
            Self::Vanish => "vanish",
            Self::Backend => "backend",
            Self::Load => "load",
            Self::Spoil => "spoil",
            Self::Kill => "kill",
            Self::FullDisk => "full-disk",
            Self::IoError => "io-error",
            Self::Clock => "clock",
            Self::Die => "die",
        }
    }

    /// What parts count it by: names of what their threads decide, or of what came of it.
    pub(crate) fn counted_as(self) -> &'static [&'static str] {
        match self {
            Self::Panic => &["unwind"],
            Self::Cancel => &["cancelled"],
            Self::SlowReader => &["slow readers"],
            Self::Vanish => &["vanished"],
            Self::Backend => &["failed by a fault"],
            Self::Load => &["failed loads"],
            Self::Spoil => &["spoilt files"],
            Self::Kill => &["kills"],
            Self::FullDisk => &["full disks"],
            Self::IoError => &["I/O errors"],
            Self::Clock => &["jump-clock"],
            Self::Die => &["die", "reclaim-worker", "abandon", "take-back"],
        }
    }

    /// Whether nothing of it comes without `--faults`.
    fn needs_faults(self) -> bool {
        matches!(self, Self::Backend | Self::Spoil | Self::Kill | Self::FullDisk | Self::IoError)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Fault {
    type Err = RateError;

    fn from_str(name: &str) -> Result<Self, RateError> {
        let fault = Self::ALL.into_iter().find(|fault| fault.name() == name);
        fault.ok_or_else(|| RateError::Fault { name: name.to_owned() })
    }
}

/// Why faults cannot come so.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(crate) enum RateError {
    /// Nothing of that name comes.
    #[error("there is no fault `{name}`; write one of {}", Fault::ALL.map(Fault::name).join(", "))]
    Fault { name: String },
    /// Not so often.
    #[error(
        "`{text}` says no factor; write a number from 0 to {MOST}, with three decimals at most, as in \
         {fault}=3, or {fault}=0 for never"
    )]
    Factor { fault: Fault, text: String },
    /// Somebody has to ask for it first.
    #[error(
        "--rate {rate}: this fault comes only with --faults or --chaos; add one of them, or leave it out"
    )]
    NeedsFaults { rate: Rate },
}

/// The greatest factor.
const MOST: u32 = 100;

/// A factor, in thousandths: so that they can be compared, and weights multiplied by them, exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Factor(u32);

impl Factor {
    /// As by itself.
    pub(crate) const ONE: Self = Self(1_000);

    /// None for what is no factor.
    fn new(factor: f64) -> Option<Self> {
        let thousandths = factor * 1e3;
        let is_one = (0.0..=f64::from(MOST) * 1e3).contains(&thousandths)
            && (thousandths - thousandths.round()).abs() < 1e-6;
        is_one.then_some(Self(thousandths.round() as u32))
    }

    pub(crate) fn thousandths(self) -> u32 {
        self.0
    }

    fn value(self) -> f64 {
        f64::from(self.0) / 1e3
    }
}

/// A fault, and how many times as often as by itself it comes: `kill=3`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate {
    fault: Fault,
    factor: Factor,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.fault, self.factor.value())
    }
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, RateError> {
        let (name, factor) = text.split_once('=').unwrap_or((text, ""));
        let fault = name.trim().parse()?;
        let factor = factor.trim().parse().ok().and_then(Factor::new);
        let factor = factor.ok_or_else(|| RateError::Factor { fault, text: text.to_owned() })?;
        Ok(Self { fault, factor })
    }
}

/// How often each fault comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "BTreeMap<String, f64>", try_from = "BTreeMap<String, f64>")]
pub(crate) struct Rates([Factor; Fault::ALL.len()]);

impl Default for Rates {
    fn default() -> Self {
        Self([Factor::ONE; Fault::ALL.len()])
    }
}

impl Rates {
    /// What the command line says; of two rates of one fault the last one counts.
    pub(crate) fn new(rates: &[Rate], faults: bool) -> Result<Self, RateError> {
        let mut all = Self::default();
        for rate in rates {
            // That it never comes is true without them, too.
            if !faults && rate.fault.needs_faults() && rate.factor > Factor(0) {
                return Err(RateError::NeedsFaults { rate: *rate });
            }
            all.0[rate.fault as usize] = rate.factor;
        }
        Ok(all)
    }

    pub(crate) fn of(&self, fault: Fault) -> Factor {
        self.0[fault as usize]
    }

    /// Whether a fault strikes something, where it strikes a share `of` all by itself, and this one if it
    /// `comes`. At most all are struck. Nothing is drawn for what comes as often as by itself.
    pub(crate) fn strikes(&self, fault: Fault, comes: bool, of: f64, rng: &mut Rng) -> bool {
        let factor = self.of(fault);
        match factor.cmp(&Factor::ONE) {
            Ordering::Equal => comes,
            Ordering::Less => comes && rng.f64() < factor.value(),
            Ordering::Greater => {
                let more = (of * factor.value()).min(1.0) - of;
                comes || rng.f64() < more / (1.0 - of)
            }
        }
    }

    /// Those that are not as by themselves.
    pub(crate) fn chosen(&self) -> impl Iterator<Item = Rate> {
        let rates = Fault::ALL.into_iter().zip(self.0);
        let rates = rates.map(|(fault, factor)| Rate { fault, factor });
        rates.filter(|rate| rate.factor != Factor::ONE)
    }
}

/// As `--rate` takes them.
impl fmt::Display for Rates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rates: Vec<_> = self.chosen().map(|rate| rate.to_string()).collect();
        f.write_str(&rates.join(","))
    }
}

impl From<Rates> for BTreeMap<String, f64> {
    fn from(rates: Rates) -> Self {
        let named = |rate: Rate| (rate.fault.name().to_owned(), rate.factor.value());
        rates.chosen().map(named).collect()
    }
}

impl TryFrom<BTreeMap<String, f64>> for Rates {
    type Error = RateError;

    fn try_from(rates: BTreeMap<String, f64>) -> Result<Self, RateError> {
        let mut all = Self::default();
        for (name, factor) in rates {
            let rate: Rate = format!("{name}={factor}").parse()?;
            all.0[rate.fault as usize] = rate.factor;
        }
        Ok(all)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fmt::Write;

    use super::*;

    /// All faults by one factor.
    pub(crate) fn all(factor: f64) -> Rates {
        Rates([Factor::new(factor).unwrap(); Fault::ALL.len()])
    }

    /// As they are written.
    pub(crate) fn rates(texts: &[&str]) -> Rates {
        let rates: Vec<_> = texts.iter().map(|text| text.parse().unwrap()).collect();
        Rates::new(&rates, true).unwrap()
    }

    #[test]
    fn faults_stand_at_their_places() {
        for (place, fault) in Fault::ALL.into_iter().enumerate() {
            assert_eq!((fault as usize, fault.name().parse()), (place, Ok(fault)));
        }
    }

    #[test]
    fn rates_are_read_as_they_are_written() {
        for text in ["kill=0", "slow-reader=0.5", "io-error=100", "die=0.333", "cancel=12.25"] {
            assert_eq!(text.parse::<Rate>().unwrap().to_string(), text);
        }
        let texts = ["kill=3", "spoil=0", "panic=1", "kill=0.5"];
        assert_eq!(rates(&texts).to_string(), "spoil=0,kill=0.5", "the last one counts");
        let json = serde_json::to_string(&rates(&texts)).unwrap();
        assert_eq!(json, r#"{"kill":0.5,"spoil":0.0}"#);
        assert_eq!(serde_json::from_str::<Rates>(&json).unwrap(), rates(&texts));
        assert_eq!(serde_json::from_str::<Rates>("{}").unwrap(), Rates::default());
        assert!(serde_json::from_str::<Rates>(r#"{"kill":-1}"#).is_err());
    }

    #[test]
    fn what_is_no_rate_is_refused_with_what_is() {
        for (text, advice) in [
            ("lunch=1", "no fault `lunch`; write one of panic, cancel, slow-reader, "),
            ("kill", "as in kill=3, or kill=0 for never"),
            ("kill=", "from 0 to 100"),
            ("kill=-1", "from 0 to 100"),
            ("kill=often", "`kill=often` says no factor"),
            ("kill=100.1", "from 0 to 100"),
            ("kill=0.0001", "three decimals at most"),
            ("kill=NaN", "says no factor"),
        ] {
            let error = text.parse::<Rate>().unwrap_err().to_string();
            assert!(error.contains(advice), "{text}: {error}");
        }
    }

    #[test]
    fn what_faults_bring_needs_them() {
        let rate = |text: &str| Rates::new(&[text.parse().unwrap()], false);
        for fault in Fault::ALL {
            let more = rate(&format!("{fault}=3"));
            assert_eq!(more.is_err(), fault.needs_faults(), "{fault}");
            assert!(rate(&format!("{fault}=0")).is_ok(), "{fault}");
        }
        let error = rate("kill=2").unwrap_err().to_string();
        assert!(
            error.contains("--rate kill=2") && error.contains("--faults or --chaos"),
            "{error}"
        );
    }

    #[test]
    fn a_share_follows_its_factor_up_to_all() {
        let struck = |factor: f64, of: u32| {
            let (rates, mut rng) = (all(factor), Rng::with_seed(1));
            let comes = |number: u32| number % 100 < of;
            let strikes = |number: &u32| {
                let (comes, of) = (comes(*number), f64::from(of) / 100.0);
                rates.strikes(Fault::Kill, comes, of, &mut rng)
            };
            (0..100_000).filter(strikes).count() as f64 / 1e5
        };
        for (factor, of, expected) in [
            (1.0, 75, 0.75),
            (0.0, 75, 0.0),
            (0.5, 50, 0.25),
            (1.2, 75, 0.9),
            (3.0, 25, 0.75),
            (4.0, 25, 1.0),
            (100.0, 50, 1.0),
        ] {
            let share = struck(factor, of);
            assert!((share - expected).abs() < 0.01, "{factor} of {of} %: {share}");
        }
    }

    /// A row for each part, in per cent of its decisions by phase.
    #[test]
    fn the_book_says_how_often_faults_come_by_themselves() {
        type Percent = fn(Fault) -> Option<[f64; crate::phase::PHASES]>;
        let parts: [(&str, Percent); 4] = [
            ("pool", crate::pool::phases::percent),
            ("agents", crate::agents::phases::percent),
            ("engine", crate::engine::phases::percent),
            ("store", crate::store::phases::percent),
        ];
        let mut rows = String::new();
        for fault in Fault::ALL {
            for (part, percent) in parts {
                let Some(by_phase) = percent(fault) else { continue };
                let cells = by_phase.map(|percent| format!("{percent:.2}")).join(" | ");
                let _ = writeln!(rows, "| `{fault}` | `{part}` | {cells} |");
            }
        }
        let book = include_str!("../../docs/stress.md");
        assert!(book.contains(&rows), "docs/stress.md should say:\n{rows}");
        for fault in Fault::ALL {
            assert!(book.contains(&format!("| `{fault}` |")), "{fault}");
        }
    }

    #[test]
    fn nothing_is_drawn_for_what_comes_as_by_itself() {
        let (mut rng, mut untouched) = (Rng::with_seed(7), Rng::with_seed(7));
        for comes in [true, false] {
            assert_eq!(Rates::default().strikes(Fault::Backend, comes, 0.5, &mut rng), comes);
        }
        assert_eq!(rng.u64(..), untouched.u64(..));
    }
}
