//! What of a command line must not be recorded.

/// Instead of a secret.
const MASK: &str = "***";
/// An option with one of these in its name has a secret, and nothing else, as its value.
const SECRET: [&str; 6] = ["passphrase", "password", "token", "secret", "credential", "participant"];
/// The value of such an option says where the secret lies.
const PLACE: [&str; 3] = ["file", "fd", "path"];

/// The arguments, their secrets masked. `--api-key=VALUE` is masked and `--custodian-key FILE...` is not: our own
/// options so named take files, as words of their own.
pub fn masked<'a>(args: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut secret_follows = false;
    let mask = |word: &'a str| {
        let is_option = word.starts_with('-');
        if std::mem::take(&mut secret_follows) && !is_option {
            return MASK.to_owned();
        }
        // `--field=name=VALUE` has two names.
        let mut named = word.match_indices('=').map(|(at, _)| &word[..at]);
        let is_name = |name: &&str| {
            let own = name.rsplit('=').next().unwrap_or_default();
            is_secret(own) || names(own, &["key"])
        };
        match (named.find(is_name), word.split_once('=')) {
            (Some(name), _) => format!("{name}={MASK}"),
            (None, Some((name, value))) => format!("{name}={}", without_password(value)),
            (None, None) => {
                secret_follows = is_option && is_secret(word);
                without_password(word)
            }
        }
    };
    args.into_iter().map(mask).collect()
}

fn is_secret(name: &str) -> bool {
    names(name, &SECRET)
}

fn names(name: &str, words: &[&str]) -> bool {
    let name = name.to_ascii_lowercase();
    let place = name.rsplit(['-', '_']).next().is_some_and(|last| PLACE.contains(&last));
    !place && words.iter().any(|word| name.contains(word))
}

/// `s3://user:PASSWORD@host/…` without the password.
fn without_password(word: &str) -> String {
    let masked = || {
        let (scheme, rest) = word.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        let (user, host) = authority.rsplit_once('@')?;
        let (user, _) = user.split_once(':')?;
        Some(format!("{scheme}://{user}:{MASK}@{host}{}", &rest[authority.len()..]))
    };
    masked().unwrap_or_else(|| word.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_places_kept() {
        let check = |given: &str, expect: &str| assert_eq!(masked(given.split(' ')).join(" "), expect);
        check("vault seal a.cram --vault v", "vault seal a.cram --vault v");
        check("--passphrase-file p.txt --passphrase-fd 3", "--passphrase-file p.txt --passphrase-fd 3");
        check("--passphrase-file=p.txt", "--passphrase-file=p.txt");
        check("--passphrase hunter2 --quorum 2", "--passphrase *** --quorum 2");
        check("--Token=abc= x", "--Token=*** x");
        check("--show-secrets --quorum 2", "--show-secrets --quorum 2");
        check("AWS_SECRET_ACCESS_KEY=abc", "AWS_SECRET_ACCESS_KEY=***");
        check("--custodian-key a.key b.key", "--custodian-key a.key b.key");
        check("--api-key=abc", "--api-key=***");
        check("--manifest-field participant=P-01", "--manifest-field participant=***");
        check("--manifest-field=participant=P-01", "--manifest-field=participant=***");
        check("--manifest-field=participant=P-01=a", "--manifest-field=participant=***");
        check("--manifest-field=panel=hearing=x", "--manifest-field=panel=hearing=x");
        check("--url=https://host?token=abc", "--url=https://host?token=***");
        check("--site s3://me:pass@host/a@b", "--site s3://me:***@host/a@b");
        check("--site=https://me:p:a@ss@host?x", "--site=https://me:***@host?x");
        check("file:///a:b@c", "file:///a:b@c");
    }
}
