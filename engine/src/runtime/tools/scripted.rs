//! A tool that does what a test says.

use std::time::Duration;

use super::{Access, Call, Tool, ToolError};

type Work = dyn Fn(&mut Call) -> Result<String, ToolError> + Send + Sync;

/// The tool.
pub(crate) struct Scripted {
    name: String,
    access: Access,
    limit: Duration,
    least: Duration,
    work: Box<Work>,
}

impl Scripted {
    pub(crate) fn reading(
        name: &str,
        work: impl Fn(&mut Call) -> Result<String, ToolError> + Send + Sync + 'static,
    ) -> Self {
        let limit = Duration::from_mins(1);
        let (access, work) = (Access::Read, Box::new(work));
        Self { name: name.to_owned(), access, limit, least: limit, work }
    }

    pub(crate) fn writing(
        name: &str,
        work: impl Fn(&mut Call) -> Result<String, ToolError> + Send + Sync + 'static,
    ) -> Self {
        Self { access: Access::Write, ..Self::reading(name, work) }
    }

    /// With a fixed limit.
    pub(crate) fn within(mut self, limit: Duration) -> Self {
        (self.least, self.limit) = (limit, limit);
        self
    }

    /// With a limit that follows, down to this.
    pub(crate) fn least(mut self, least: Duration) -> Self {
        self.least = least;
        self
    }
}

impl Tool for Scripted {
    fn name(&self) -> &str {
        &self.name
    }

    fn usage(&self) -> &'static str {
        "ANYTHING"
    }

    fn access(&self) -> Access {
        self.access
    }

    fn time_limit(&self) -> Duration {
        self.limit
    }

    fn least_time_limit(&self) -> Duration {
        self.least
    }

    fn call(&self, call: &mut Call) -> Result<String, ToolError> {
        (self.work)(call)
    }
}
