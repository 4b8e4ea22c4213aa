//! A client of one Task Execution Service.
//!
//! Invariant: every request has a time limit and a bounded number of tries; a task that could not be created for sure
//! may exist, so creation is tried once and the caller finds it again by its tags. The token is read anew for each
//! request (it may be rotated) and never printed.

use super::api::{Created, ServiceInfo, State, Task, TaskList};
use crate::store::error::without_query;
use crate::store::presigned::client;
use crate::store::{block_on, is_loopback};
use jobs::failure::{Class, Classified};
use reqwest::Method;
use std::path::PathBuf;
use std::time::Duration;

/// A request without an answer by then is given up.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How often a request that changes nothing is tried.
const ATTEMPTS_MAX: u32 = 4;
/// The first pause before trying again; doubled each time.
const PAUSE: Duration = Duration::from_millis(250);
/// Tasks of one page of a list; the interface allows less than 2,048.
const PAGE_TASKS: u32 = 256;
/// Pages of a list that are read: a server that always names a next page must not hold us.
const PAGES_MAX: u32 = 400;
/// Bytes of an answer that are read.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// Characters of a server's complaint that are shown.
const COMPLAINT_CHARS: usize = 300;

/// How much of a task is asked for.
#[derive(Clone, Copy, Debug)]
pub enum View {
    /// Id and state.
    Minimal,
    /// All but logs and contents.
    Basic,
    /// Everything.
    Full,
}

impl View {
    const fn name(self) -> &'static str {
        match self {
            View::Minimal => "MINIMAL",
            View::Basic => "BASIC",
            View::Full => "FULL",
        }
    }
}

/// A service and how to ask it.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    token_file: Option<PathBuf>,
}

/// A service did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum TesError {
    /// The URL is none, or would send a token in the clear.
    #[error("'{url}': expected {expected}")]
    Url {
        /// As given.
        url: String,
        /// What is possible.
        expected: &'static str,
    },
    /// The token cannot be read.
    #[error("token {}: cannot be read", path.display())]
    Token {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The service does not let us.
    #[error("{url}: the service refuses (HTTP {status})")]
    Refused {
        /// What was asked.
        url: String,
        /// 401 or 403.
        status: u16,
    },
    /// There is no such task, or no such service.
    #[error("{url}: is not there")]
    Missing {
        /// What was asked.
        url: String,
    },
    /// The service does not like the request.
    #[error("{url}: HTTP {status}: {complaint}")]
    Rejected {
        /// What was asked.
        url: String,
        /// As answered.
        status: u16,
        /// What the service says.
        complaint: String,
    },
    /// The answer is not the interface's.
    #[error("{url}: the answer is not one of TES 1.1: {what}")]
    Form {
        /// What was asked.
        url: String,
        /// What is wrong.
        what: String,
    },
    /// The service or the network failed.
    #[error("{url}: no answer")]
    Remote {
        /// What was asked.
        url: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl Classified for TesError {
    fn class(&self) -> Class {
        match self {
            TesError::Url { .. } => Class::Usage,
            TesError::Token { .. } | TesError::Refused { .. } | TesError::Rejected { .. } => Class::Failed,
            TesError::Missing { .. } | TesError::Form { .. } | TesError::Remote { .. } => Class::Remote,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            TesError::Url { .. } | TesError::Missing { .. } | TesError::Form { .. } => {
                "name the service as [engine.tes] url = \"https://HOST/ga4gh/tes/v1\"".to_owned()
            }
            TesError::Token { .. } | TesError::Refused { .. } => {
                "put a valid token into the file named by [engine.tes] token_file".to_owned()
            }
            TesError::Rejected { .. } => {
                "check resources, zones and backend_parameters under [engine.tes]".to_owned()
            }
            TesError::Remote { .. } => "give the same command again; what is done is kept".to_owned(),
        })
    }
}

impl Client {
    /// A service by its base URL, such as `https://host/ga4gh/tes/v1`. A token goes over HTTPS or to this machine only.
    pub fn new(url: &str, token_file: Option<PathBuf>) -> Result<Self, TesError> {
        let refuse = |expected| TesError::Url { url: without_query(url), expected };
        let plain = url.starts_with("http://");
        if !plain && !url.starts_with("https://") {
            return Err(refuse("an https:// URL"));
        }
        if plain && !is_loopback(url) {
            return Err(refuse(
                "https://: bundles' keys and the token do not go over a network in the clear",
            ));
        }
        Ok(Client { base: url.trim_end_matches('/').to_owned(), token_file })
    }

    /// The service's base URL.
    pub fn url(&self) -> &str {
        &self.base
    }

    /// What the service says it is; an error if it is no Task Execution Service of version 1.
    pub fn service_info(&self) -> Result<ServiceInfo, TesError> {
        let info: ServiceInfo = self.ask(Method::GET, "/service-info", &[], None)?;
        let version_1 =
            info.kind.version.is_empty() || info.kind.version.trim_start_matches('v').starts_with("1.");
        match info.kind.artifact.eq_ignore_ascii_case("tes") && version_1 {
            true => Ok(info),
            false => {
                let what = format!("it is '{}' {}", info.kind.artifact, info.kind.version);
                Err(TesError::Form { url: self.base.clone(), what })
            }
        }
    }

    /// Creates a task and returns its id. Not tried again: the caller cannot tell whether the first was heard.
    pub fn create(&self, task: &Task) -> Result<String, TesError> {
        let body = serde_json::to_vec(task).expect("plain data always prints");
        let created: Created = self.once(Method::POST, "/tasks", &[], Some(&body))?;
        Ok(created.id)
    }

    /// A task.
    pub fn get(&self, id: &str, view: View) -> Result<Task, TesError> {
        self.ask(Method::GET, &format!("/tasks/{}", escaped(id)), &[("view", view.name())], None)
    }

    /// Asks for the end of a task; one that is over or gone already is no error.
    pub fn cancel(&self, id: &str) -> Result<(), TesError> {
        let path = format!("/tasks/{}:cancel", escaped(id));
        match self.ask::<serde_json::Value>(Method::POST, &path, &[], None) {
            Ok(_) | Err(TesError::Missing { .. }) => Ok(()),
            Err(TesError::Rejected { .. })
                if self.get(id, View::Minimal).is_ok_and(|task| task.state.is_over()) =>
            {
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// All tasks whose tag `key` is `value`, whatever their state. Servers may ignore the filter, so it is applied here
    /// again.
    pub fn list(&self, key: &str, value: &str) -> Result<Vec<Task>, TesError> {
        let mut found = Vec::new();
        let mut page = String::new();
        let size = PAGE_TASKS.to_string();
        for _ in 0..PAGES_MAX {
            let mut query = vec![
                ("view", View::Basic.name()),
                ("page_size", &size),
                ("tag_key", key),
                ("tag_value", value),
            ];
            if !page.is_empty() {
                query.push(("page_token", &page));
            }
            let answer: TaskList = self.ask(Method::GET, "/tasks", &query, None)?;
            let tagged = |task: &Task| task.tags.get(key).is_some_and(|tag| tag == value);
            found.extend(answer.tasks.into_iter().filter(tagged));
            page = answer.next_page_token;
            if page.is_empty() {
                return Ok(found);
            }
        }
        let what = format!("a list of more than {PAGES_MAX} pages");
        Err(TesError::Form { url: self.base.clone(), what })
    }

    /// Cancels every task of that tag that is not over, but those that `keep` names; returns how many.
    pub fn cancel_all(
        &self,
        key: &str,
        value: &str,
        keep: impl Fn(&Task) -> bool,
    ) -> Result<usize, TesError> {
        let going = |task: &Task| !task.state.is_over() && task.state != State::Canceling && !keep(task);
        let orphans: Vec<Task> = self.list(key, value)?.into_iter().filter(going).collect();
        orphans.iter().try_for_each(|task| self.cancel(&task.id))?;
        Ok(orphans.len())
    }

    fn ask<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<T, TesError> {
        let mut pause = PAUSE;
        for _ in 1..ATTEMPTS_MAX {
            match self.once(method.clone(), path, query, body) {
                Err(TesError::Remote { .. }) => {}
                done => return done,
            }
            std::thread::sleep(pause);
            pause *= 2;
        }
        self.once(method, path, query, body)
    }

    fn once<T: serde::de::DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Result<T, TesError> {
        let url = format!("{}{path}", self.base);
        let query: String = query.iter().map(|(key, value)| format!("&{key}={}", escaped(value))).collect();
        let whole = format!("{url}{}", query.replacen('&', "?", 1));
        let mut request =
            client().request(method, whole).timeout(TIMEOUT).header("accept", "application/json");
        if let Some(path) = &self.token_file {
            let token = std::fs::read_to_string(path);
            let token = token.map_err(|source| TesError::Token { path: path.clone(), source })?;
            request = request.bearer_auth(token.trim());
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_vec());
        }
        let remote = |error: reqwest::Error| TesError::Remote { url: url.clone(), source: error.into() };
        let (status, bytes) = block_on(async {
            let mut answer = request.send().await?;
            let mut bytes = Vec::new();
            while let Some(part) = answer.chunk().await? {
                if bytes.len() + part.len() > ANSWER_BYTES_MAX {
                    break;
                }
                bytes.extend_from_slice(&part);
            }
            Ok((answer.status().as_u16(), bytes))
        })
        .map_err(remote)?;
        let complaint = || String::from_utf8_lossy(&bytes).trim().chars().take(COMPLAINT_CHARS).collect();
        match status {
            200..=299 => serde_json::from_slice(&bytes)
                .map_err(|error| TesError::Form { url: url.clone(), what: error.to_string() }),
            401 | 403 => Err(TesError::Refused { url, status }),
            404 => Err(TesError::Missing { url }),
            408 | 429 | 500.. => Err(TesError::Remote { url, source: format!("HTTP {status}").into() }),
            status => Err(TesError::Rejected { url, status, complaint: complaint() }),
        }
    }
}

/// RFC 3986 § 2: what is not plain in a URL, percent-encoded.
fn escaped(text: &str) -> String {
    use std::fmt::Write;
    text.bytes().fold(String::new(), |mut url, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => url.push(char::from(byte)),
            _ => write!(url, "%{byte:02X}").expect("a string takes everything"),
        }
        url
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_tokens_do_not_go_over_a_network_in_the_clear() {
        for (url, expect) in [
            ("https://host/ga4gh/tes/v1/", true),
            ("http://127.0.0.1:8000/ga4gh/tes/v1", true),
            ("http://host/ga4gh/tes/v1", false),
            ("ftp://host", false),
        ] {
            assert_eq!(Client::new(url, None).is_ok(), expect, "{url}");
        }
        assert_eq!(escaped("a b/ü:cancel"), "a%20b%2F%C3%BC%3Acancel");
    }
}
