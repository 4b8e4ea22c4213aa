//! The documents of the GA4GH Task Execution Service, version 1.1, as far as wakachi speaks them.
//!
//! Invariant: what is sent is valid by the published OpenAPI. What is received is read leniently: servers leave out
//! fields that are required, and add states and fields of their own; a state of another name is
//! [`State::Unknown`], never an error.

use std::collections::BTreeMap;

/// `tesTask`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Task {
    /// Given by the server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// Given by the server.
    #[serde(skip_serializing)]
    pub state: State,
    /// For people.
    pub name: String,
    /// For people.
    pub description: String,
    /// Files that are there before the first executor starts.
    pub inputs: Vec<Input>,
    /// What it needs.
    pub resources: Resources,
    /// What is run, one after the other.
    pub executors: Vec<Executor>,
    /// Words by which it is found again.
    pub tags: BTreeMap<String, String>,
    /// Given by the server: an entry for each time it was run.
    #[serde(skip_serializing)]
    pub logs: Vec<TaskLog>,
}

/// `tesState`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum State {
    /// Waits for resources.
    Queued,
    /// Downloads inputs and images.
    Initializing,
    /// The first executor was started.
    Running,
    /// Held by the system.
    Paused,
    /// All executors ended well.
    Complete,
    /// An executor did not.
    ExecutorError,
    /// Something else went wrong.
    SystemError,
    /// Cancelled, and gone.
    Canceled,
    /// The machine was taken away.
    Preempted,
    /// Cancelled, and not yet gone.
    Canceling,
    /// Not said, or in a word that this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

/// `tesInput`: a file by its content or by a URL that the server can read.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Input {
    /// Where it comes from; not with `content`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub url: String,
    /// Where it lies for the executors.
    pub path: String,
    /// What it holds.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub content: String,
}

/// `tesResources`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Resources {
    /// Cores.
    pub cpu_cores: u32,
    /// Memory in gigabytes.
    pub ram_gb: f64,
    /// Disk in gigabytes.
    pub disk_gb: f64,
    /// Whether the machine may be taken away.
    pub preemptible: bool,
    /// Where it may run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<String>,
    /// Words of the server's own, such as the type of machine.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub backend_parameters: BTreeMap<String, String>,
    /// Whether the server is to refuse words it does not know.
    pub backend_parameters_strict: bool,
}

/// `tesExecutor`.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Executor {
    /// The container image.
    pub image: String,
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
}

/// `tesTaskLog`.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default)]
pub struct TaskLog {
    /// Of each executor.
    #[serde(deserialize_with = "or_default")]
    pub logs: Vec<ExecutorLog>,
    /// What the system says.
    #[serde(deserialize_with = "or_default")]
    pub system_logs: Vec<String>,
}

/// `tesExecutorLog`.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize)]
#[serde(default)]
pub struct ExecutorLog {
    /// As the process ended; 137 and 143 by a signal.
    #[serde(deserialize_with = "or_default")]
    pub exit_code: i32,
    /// What it wrote, or the end of it.
    #[serde(deserialize_with = "or_default")]
    pub stderr: String,
}

/// `tesListTasksResponse`.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct TaskList {
    /// One page of tasks.
    pub tasks: Vec<Task>,
    /// Asks for the next.
    #[serde(deserialize_with = "or_default")]
    pub next_page_token: String,
}

/// `tesCreateTaskResponse`.
#[derive(Clone, Debug, serde::Deserialize)]
pub struct Created {
    /// The task's id.
    pub id: String,
}

/// `tesServiceInfo`, as far as it matters.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct ServiceInfo {
    /// The service's name.
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    /// What kind of service it is.
    #[serde(rename = "type")]
    pub kind: ServiceType,
    /// Words that `backend_parameters` may use.
    #[serde(rename = "tesResources_backend_parameters", deserialize_with = "or_default")]
    pub backend_parameters: Vec<String>,
}

/// `ServiceType` of the GA4GH service info.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(default)]
pub struct ServiceType {
    /// `tes`.
    #[serde(deserialize_with = "or_default")]
    pub artifact: String,
    /// Of the interface, such as `1.1.0`.
    #[serde(deserialize_with = "or_default")]
    pub version: String,
}

/// What is `null` counts as left out.
fn or_default<'de, D, T>(source: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + serde::Deserialize<'de>,
{
    Ok(<Option<T> as serde::Deserialize>::deserialize(source)?.unwrap_or_default())
}

impl State {
    /// Whether the task will not change any more.
    pub const fn is_over(self) -> bool {
        match self {
            State::Complete
            | State::ExecutorError
            | State::SystemError
            | State::Canceled
            | State::Preempted => true,
            State::Unknown
            | State::Queued
            | State::Initializing
            | State::Running
            | State::Paused
            | State::Canceling => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_any_name_are_read() {
        for (word, expect, over) in [
            ("QUEUED", State::Queued, false),
            ("INITIALIZING", State::Initializing, false),
            ("RUNNING", State::Running, false),
            ("PAUSED", State::Paused, false),
            ("CANCELING", State::Canceling, false),
            ("UNKNOWN", State::Unknown, false),
            ("HIBERNATING", State::Unknown, false),
            ("COMPLETE", State::Complete, true),
            ("EXECUTOR_ERROR", State::ExecutorError, true),
            ("SYSTEM_ERROR", State::SystemError, true),
            ("CANCELED", State::Canceled, true),
            ("PREEMPTED", State::Preempted, true),
        ] {
            let task: Task = serde_json::from_str(&format!(r#"{{"id": "1", "state": "{word}"}}"#)).unwrap();
            assert_eq!((task.state, task.state.is_over()), (expect, over), "{word}");
        }
        let task: Task = serde_json::from_str(r#"{"logs": [{"logs": null}]}"#).unwrap();
        assert_eq!(task.state, State::Unknown);
    }

    #[test]
    fn what_is_sent_has_nothing_that_is_the_servers() {
        let input = Input { path: "/a".to_owned(), content: "x".to_owned(), ..Input::default() };
        let task = Task { inputs: vec![input], ..Task::default() };
        let sent = serde_json::to_value(&task).unwrap();
        let keys: Vec<_> = sent.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["description", "executors", "inputs", "name", "resources", "tags"]);
        assert_eq!(sent["inputs"][0], serde_json::json!({ "path": "/a", "content": "x" }));
    }
}
