//! Times as people write them, in files: `90s`, `1h 30m`. For `#[serde(with = "humane")]`.

use std::time::Duration;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serializer};

pub(crate) fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_duration(*time))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Duration, D::Error> {
    humantime::parse_duration(&String::deserialize(deserializer)?).map_err(Error::custom)
}

/// The same for what may be missing.
pub(crate) mod maybe {
    use super::{Deserialize, Deserializer, Duration, Error, Serializer};

    #[expect(clippy::ref_option, reason = "serde calls it so")]
    pub(crate) fn serialize<S: Serializer>(
        time: &Option<Duration>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Duration>, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        text.map(|text| humantime::parse_duration(&text).map_err(Error::custom)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, serde::Serialize, Deserialize)]
    struct Times {
        #[serde(with = "super")]
        gap: Duration,
        #[serde(with = "maybe")]
        end: Option<Duration>,
    }

    #[test]
    fn times_are_written_as_they_are_read() {
        for end in [None, Some(Duration::from_nanos(90_000_000_001))] {
            let times = Times { gap: Duration::from_mins(90), end };
            let text = serde_json::to_string(&times).unwrap();
            assert!(text.contains(r#""gap":"1h 30m""#), "{text}");
            assert_eq!(serde_json::from_str::<Times>(&text).unwrap(), times);
        }
        assert!(serde_json::from_str::<Times>(r#"{"gap":"5 parsecs","end":null}"#).is_err());
    }
}
