//! What a password must be. Length counts, recipes of character classes do not (NIST SP 800-63B).

pub const MIN_CHARACTERS: usize = 12;
pub const MAX_CHARACTERS: usize = 128;
/// Below this many different characters a password is a pattern.
const MIN_DIFFERENT: usize = 5;

/// Long enough to pass the length rule, and among the first that anybody tries.
const COMMON: &[&str] = &[
    "password1234",
    "passwordpassword",
    "password12345",
    "password123456",
    "123456789012",
    "1234567890123",
    "qwertyuiop12",
    "qwertyuiop123",
    "qwertyqwerty",
    "administrator",
    "letmeinletmein",
    "iloveyou1234",
    "welcome12345",
    "changeme1234",
    "changemechangeme",
    "correcthorsebatterystaple",
    "abcdefghijkl",
    "qwertyuiopasdf",
    "1q2w3e4r5t6y",
    "zaq12wsxcde3",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordFlaw {
    #[error("a password has at least 12 characters")]
    Short,
    #[error("a password has at most 128 characters")]
    Long,
    #[error("this password is among the first that anybody tries")]
    Common,
    #[error("a password has at least 5 different characters")]
    Pattern,
    #[error("a password does not contain the account's name")]
    Name,
}

pub fn check(password: &str, email: &str) -> Result<(), PasswordFlaw> {
    let characters = password.chars().count();
    if characters < MIN_CHARACTERS {
        return Err(PasswordFlaw::Short);
    }
    if characters > MAX_CHARACTERS {
        return Err(PasswordFlaw::Long);
    }
    let lower = password.to_lowercase();
    if COMMON.contains(&lower.as_str()) {
        return Err(PasswordFlaw::Common);
    }
    let mut different: Vec<char> = lower.chars().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() < MIN_DIFFERENT {
        return Err(PasswordFlaw::Pattern);
    }
    let name = email.split('@').next().unwrap_or_default().to_lowercase();
    if name.chars().count() >= 4 && lower.contains(&name) { Err(PasswordFlaw::Name) } else { Ok(()) }
}

/// Lower-cased, or refused: one `@`, something on both sides, no space, at most 254 bytes.
pub fn normalise_email(text: &str) -> Option<String> {
    let email = text.trim().to_lowercase();
    let (local, domain) = email.split_once('@')?;
    let well_formed = !local.is_empty()
        && !domain.is_empty()
        && !domain.contains('@')
        && email.len() <= 254
        && email.chars().all(|c| !c.is_whitespace() && !c.is_control());
    well_formed.then_some(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weak_passwords_are_refused_with_their_reason() {
        let flaw = |p: &str| check(p, "ada.lovelace@acme.example").unwrap_err();
        assert_eq!(flaw("short"), PasswordFlaw::Short);
        assert_eq!(flaw(&"long".repeat(40)), PasswordFlaw::Long);
        assert_eq!(flaw("Password1234"), PasswordFlaw::Common);
        assert_eq!(flaw("ababababababab"), PasswordFlaw::Pattern);
        assert_eq!(flaw("xx-Ada.Lovelace-xx"), PasswordFlaw::Name);
    }

    #[test]
    fn length_is_counted_in_characters_not_bytes() {
        assert_eq!(check("äöüßéèñçøåæł", "a@b"), Ok(()));
        assert_eq!(check("tall ships sail at noon", "ada@acme.example"), Ok(()));
    }

    #[test]
    fn an_email_is_lower_case_and_has_one_at() {
        assert_eq!(normalise_email(" Ada@Acme.Example "), Some("ada@acme.example".into()));
        for bad in ["", "ada", "@x", "a@", "a@b@c", "a b@c"] {
            assert_eq!(normalise_email(bad), None, "{bad}");
        }
    }
}
