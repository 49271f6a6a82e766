//! [`Mailbox`]: a mail address that can be written anywhere, with the name shown beside it.

use std::fmt;

use lettre::Address;

use crate::MailError;
use crate::text::one_line;

/// A mail address, with a name to show beside it if one is set.
///
/// The address is plain ASCII: an internationalised domain is kept in its ASCII form (IDNA), and local parts
/// that only some servers take are refused: quoted ones (`"a b"@example.org`) and those beyond ASCII (RFC 6531).
#[derive(Clone, PartialEq, Eq)]
pub struct Mailbox {
    name: Option<String>,
    address: Address,
}

impl Mailbox {
    /// The longest name, in characters.
    pub const MAX_NAME: usize = 255;

    /// The mailbox of `address`: one plain address (`anna@example.org`), nothing around it.
    ///
    /// # Errors
    /// [`MailError::Address`] says what is wrong with it.
    pub fn new(address: &str) -> Result<Self, MailError> {
        let (local, domain) = address.rsplit_once('@').ok_or(refused("it has no @"))?;
        check_local_part(local)?;
        let domain = ascii_domain(domain)?;
        if local.len() + 1 + domain.len() > MAX_ADDRESS {
            return Err(refused("it is longer than 254 characters"));
        }
        let address =
            Address::new(local, domain).map_err(|_| refused("it is not of the form name@domain"))?;
        Ok(Self { name: None, address })
    }

    /// Sets the name shown beside the address. White space is tidied; an empty name is none. In a calendar a
    /// backslash of it becomes a slash, since readers disagree on it.
    ///
    /// # Errors
    /// [`MailError::TooLong`] beyond [`MAX_NAME`](Self::MAX_NAME), [`MailError::ControlCharacter`].
    pub fn named(mut self, name: &str) -> Result<Self, MailError> {
        let name = one_line("name", name, Self::MAX_NAME)?;
        self.name = (!name.is_empty()).then_some(name);
        Ok(self)
    }

    /// The name shown beside the address.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// The address, in ASCII.
    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Whether mail to both arrives at the same place, as far as one can tell from outside: letters compare
    /// without case.
    pub(crate) fn is_same_address(&self, other: &Self) -> bool {
        let text: &str = self.address.as_ref();
        text.eq_ignore_ascii_case(other.address.as_ref())
    }
}

/// Hides name and address: a debug print must not carry personal data into a log.
impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mailbox").finish_non_exhaustive()
    }
}

/// RFC 5321 4.5.3.1.3 allows 256 octets for a path, of which two are its brackets.
const MAX_ADDRESS: usize = 254;
/// RFC 5321 4.5.3.1.1.
const MAX_LOCAL_PART: usize = 64;

/// A dot-atom of RFC 5322 3.2.3.
fn check_local_part(local: &str) -> Result<(), MailError> {
    let atext = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c);
    if !local.is_ascii() {
        return Err(refused("the part before the @ is not plain ASCII, which many mail servers refuse"));
    }
    if local.is_empty() || local.len() > MAX_LOCAL_PART {
        return Err(refused("the part before the @ must have 1 to 64 characters"));
    }
    if !local.chars().all(atext) {
        return Err(refused(
            "the part before the @ holds a character that needs quoting; give the address alone, without a name",
        ));
    }
    if local.starts_with('.') || local.ends_with('.') || local.contains("..") {
        return Err(refused("the part before the @ has a dot at an end, or two in a row"));
    }
    // RFC 2047 5 allows no encoded word in an address, yet readers decode one there and see another address.
    if local.split_once("=?").is_some_and(|(_, rest)| rest.contains("?=")) {
        return Err(refused("the part before the @ looks like an encoded word, which some readers decode"));
    }
    Ok(())
}

fn ascii_domain(domain: &str) -> Result<String, MailError> {
    let ascii = if domain.is_ascii() {
        domain.to_owned()
    } else {
        idna::domain_to_ascii_strict(domain)
            .map_err(|_| refused("the domain is not a valid internationalised domain name"))?
    };
    let label = |label: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        (1..=63).contains(&label.len())
            && label.chars().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    if ascii.split('.').all(label) { Ok(ascii) } else { Err(refused("the domain is not a host name")) }
}

const fn refused(reason: &'static str) -> MailError {
    MailError::Address { reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_addresses_are_taken_as_they_are() {
        for address in
            ["anna@example.org", "Anna.Berg+x@Example.org", "a@localhost", "!#$%&'*/=?^_`{|}~@example.org"]
        {
            let mailbox = Mailbox::new(address).unwrap_or_else(|error| panic!("{address}: {error}"));
            assert_eq!(mailbox.address().to_string(), address);
        }
    }

    #[test]
    fn an_internationalised_domain_becomes_ascii() {
        let mailbox = Mailbox::new("anna@bücher.example").expect("valid");
        assert_eq!(mailbox.address().to_string(), "anna@xn--bcher-kva.example");
    }

    #[test]
    fn what_is_not_one_plain_address_is_refused() {
        let long_local = format!("{}@example.org", "a".repeat(65));
        let long_domain = format!("a@{}example.org", "abcdefghi.".repeat(25));
        let refused = [
            "",
            "anna",
            "@example.org",
            "anna@",
            "anna@@example.org",
            "anna@example..org",
            "anna@-example.org",
            ".anna@example.org",
            "an..na@example.org",
            "anna berg@example.org",
            "\"anna berg\"@example.org",
            "Anna <anna@example.org>",
            "anna@example.org, b@example.org",
            "anna@example.org\r\nBcc: b@example.org",
            "anna@example.org ",
            "anna@[127.0.0.1]",
            "ännchen@example.org",
            "anna@exa mple.org",
            "anna@example.org\0",
            "anna@example.org>",
            "anna@\u{2028}example.org",
            "=?utf-8?q?x?=@example.org",
            &long_local,
            &long_domain,
        ];
        for address in refused {
            assert!(
                matches!(Mailbox::new(address), Err(MailError::Address { .. })),
                "{address:?} was accepted"
            );
        }
    }

    #[test]
    fn a_name_is_one_line() {
        let mailbox = Mailbox::new("anna@example.org").expect("valid");
        assert_eq!(mailbox.clone().named(" Anna  Berg ").expect("valid").name(), Some("Anna Berg"));
        assert_eq!(mailbox.clone().named(" ").expect("valid").name(), None);
        assert!(mailbox.named("Anna\r\nBcc: b@example.org").is_err());
    }

    #[test]
    fn a_debug_print_shows_neither_name_nor_address() {
        let mailbox = Mailbox::new("anna@example.org").and_then(|m| m.named("Anna")).expect("valid");
        assert_eq!(format!("{mailbox:?}"), "Mailbox { .. }");
    }
}
