//! Who may do what at the dashboard, and what browsers are told to refuse.
//!
//! Invariant: every request passes [`check`] before anything else looks at it. Authority travels in a header that a page
//! of another origin cannot set, never in a cookie or an address, so no foreign page can borrow it; on a loopback address
//! a name that somebody else's DNS gave this machine is refused.

use super::Desk;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use std::fmt;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

/// How long a wrong token has to wait for its answer.
const WRONG_TOKEN_DELAY: Duration = Duration::from_millis(300);

/// Fewest characters of a token.
const TOKEN_CHARS_MIN: usize = 16;

/// What proves that somebody may ask something of the job. Only its digest is kept.
#[derive(Clone)]
pub struct Token([u8; 32]);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

impl Token {
    /// The token; `None` if it is shorter than 16 characters or cannot stand in a header.
    pub fn new(text: &str) -> Option<Self> {
        let fits = text.len() >= TOKEN_CHARS_MIN && text.bytes().all(|byte| byte.is_ascii_graphic());
        fits.then(|| Token(Sha256::digest(text).into()))
    }

    /// Whether this is it, in a time that does not depend on how much of it is right.
    fn is(&self, text: &[u8]) -> bool {
        let other = Sha256::digest(text);
        let different = self.0.iter().zip(other.iter()).fold(0, |sum, (a, b)| black_box(sum | (a ^ b)));
        different == 0
    }
}

/// The rules of one dashboard.
#[derive(Debug)]
pub(super) struct Guard {
    /// Who may ask.
    pub token: Option<Token>,
    /// Whether reading needs the token.
    pub private: bool,
    /// Whether only this machine can connect.
    pub loopback: bool,
}

impl Guard {
    /// What the page may load and do: its own script and style, and requests to where it came from.
    pub fn content_policy(&self, page: &str) -> HeaderValue {
        let hash = |tag: &str| {
            let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
            let text = page.split_once(&open).and_then(|(_, rest)| rest.split_once(&close));
            format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.map_or("", |(text, _)| text))))
        };
        let policy = format!(
            "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
             frame-ancestors 'none'",
            hash("script"),
            hash("style")
        );
        HeaderValue::from_str(&policy).unwrap_or(HeaderValue::from_static("default-src 'none'"))
    }

    /// Whether a request is authorised; `None`: it did not say so.
    fn holds_token(&self, headers: &HeaderMap) -> Option<bool> {
        let given = headers.get(header::AUTHORIZATION)?.as_bytes().strip_prefix(b"Bearer ")?;
        Some(self.token.as_ref().is_some_and(|token| token.is(given)))
    }

    /// Whether the host that a request names is this machine by a name that nobody else gives out.
    fn knows_host(&self, headers: &HeaderMap) -> bool {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => host,
        };
        let ip = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
        name.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
    }
}

/// Lets a request pass, or answers it.
pub(super) async fn check(State(desk): State<Arc<Desk>>, request: Request, next: Next) -> Response {
    let guard = &desk.guard;
    let (headers, path) = (request.headers(), request.uri().path());
    // Elsewhere reading needs a token, which a page of a foreign name does not have.
    if guard.loopback && !guard.knows_host(headers) {
        let why = "this dashboard answers to localhost and loopback addresses only\n";
        return harden((StatusCode::MISDIRECTED_REQUEST, why).into_response());
    }
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let open = reads && (!guard.private || matches!(path, "/" | "/healthz"));
    let response = match (open, guard.holds_token(headers)) {
        (true, _) | (false, Some(true)) => next.run(request).await,
        (false, _) if guard.token.is_none() => {
            let why = "this dashboard only reads: it was started without --token-file\n";
            (StatusCode::FORBIDDEN, why).into_response()
        }
        (false, wrong) => {
            if wrong.is_some() {
                tokio::time::sleep(WRONG_TOKEN_DELAY).await;
            }
            let ask = [(header::WWW_AUTHENTICATE, "Bearer")];
            (StatusCode::UNAUTHORIZED, ask, "the token of --token-file is needed\n").into_response()
        }
    };
    harden(response)
}

/// What every answer tells browsers.
fn harden(mut response: Response) -> Response {
    let set = [
        ("cache-control", "no-store"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
    ];
    set.into_iter().for_each(|(name, value)| {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    });
    response
}

/// Beginning of a digest, to tell two texts apart.
pub(super) fn digest_hex(text: &[u8]) -> String {
    Sha256::digest(text).iter().take(12).map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a browser would rather have Japanese than English.
pub(super) fn prefers_japanese(accepted: Option<&HeaderValue>) -> bool {
    let accepted = accepted.and_then(|value| value.to_str().ok()).unwrap_or_default();
    let weight = |language: &str| {
        accepted
            .split(',')
            .filter_map(|entry| {
                let (tag, parameters) = entry.trim().split_once(';').unwrap_or((entry.trim(), "q=1"));
                let matches = tag.split('-').next().is_some_and(|tag| tag.eq_ignore_ascii_case(language));
                let quality = parameters.trim().strip_prefix("q=").and_then(|q| q.trim().parse::<f64>().ok());
                matches.then_some(quality.unwrap_or(0.0))
            })
            .fold(0.0, f64::max)
    };
    weight("ja") > weight("en")
        || (weight("ja") > 0.0 && weight("ja") == weight("en") && accepted.find("ja") < accepted.find("en"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_token_is_the_token() {
        let token = Token::new("correct-horse-battery").unwrap();
        assert!(token.is(b"correct-horse-battery"));
        for wrong in ["", "correct-horse-batter", "correct-horse-battery ", "Correct-horse-battery"] {
            assert!(!token.is(wrong.as_bytes()), "{wrong}");
        }
        assert!(Token::new("short").is_none() && Token::new("sixteen characters").is_none());
    }

    #[test]
    fn the_language_is_the_browsers() {
        let check = |accepted: &str, expect: bool| {
            let value = HeaderValue::from_str(accepted).unwrap();
            assert_eq!(prefers_japanese(Some(&value)), expect, "{accepted}");
        };
        check("ja,en-US;q=0.9,en;q=0.8", true);
        check("ja-JP", true);
        check("en-US,en;q=0.9,ja;q=0.8", false);
        check("ja,en", true);
        check("en,ja", false);
        check("de", false);
        check(";;;q=,,", false);
        assert!(!prefers_japanese(None));
    }

    #[test]
    fn names_that_others_give_this_machine_are_not_its_own() {
        let guard = Guard { token: None, private: false, loopback: true };
        let check = |host: &str, expect: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            assert_eq!(guard.knows_host(&headers), expect, "{host}");
        };
        for own in
            ["localhost", "localhost:7777", "127.0.0.1:80", "127.9.9.9", "[::1]:7777", "[::1]", "LOCALHOST:1"]
        {
            check(own, true);
        }
        for foreign in
            ["evil.example", "localhost.evil.example:7777", "10.0.0.1:7777", "", "127.0.0.1.evil:1"]
        {
            check(foreign, false);
        }
        assert!(!guard.knows_host(&HeaderMap::new()));
    }
}
