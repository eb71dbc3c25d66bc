//! A tool that does what a test says.

use std::time::Duration;

use super::{Access, Call, Tool, ToolError};

type Work = dyn Fn(&mut Call) -> Result<String, ToolError> + Send + Sync;

/// The tool.
pub(crate) struct Scripted {
    name: String,
    access: Access,
    limit: Duration,
    work: Box<Work>,
}

impl Scripted {
    pub(crate) fn reading(
        name: &str,
        work: impl Fn(&mut Call) -> Result<String, ToolError> + Send + Sync + 'static,
    ) -> Self {
        let limit = Duration::from_mins(1);
        Self { name: name.to_owned(), access: Access::Read, limit, work: Box::new(work) }
    }

    pub(crate) fn writing(
        name: &str,
        work: impl Fn(&mut Call) -> Result<String, ToolError> + Send + Sync + 'static,
    ) -> Self {
        Self { access: Access::Write, ..Self::reading(name, work) }
    }

    pub(crate) fn within(mut self, limit: Duration) -> Self {
        self.limit = limit;
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

    fn call(&self, call: &mut Call) -> Result<String, ToolError> {
        (self.work)(call)
    }
}
