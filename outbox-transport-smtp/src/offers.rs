//! [`Offers`]: what a relay can do, as it says itself.

use crate::reply::Reply;

/// What the relay offers in its reply to `EHLO`.
#[derive(Debug, Default)]
pub(crate) struct Offers {
    pub(crate) starttls: bool,
    pub(crate) size: bool,
    pub(crate) eight_bit: bool,
    pub(crate) utf8: bool,
    pub(crate) plain: bool,
    pub(crate) login: bool,
}

impl Offers {
    pub(crate) fn read(reply: &Reply) -> Self {
        let mut offers = Self::default();
        for line in reply.lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            let mut words = line.split([' ', '=']);
            match words.next() {
                Some("STARTTLS") => offers.starttls = true,
                Some("SIZE") => offers.size = true,
                Some("8BITMIME") => offers.eight_bit = true,
                Some("SMTPUTF8") => offers.utf8 = true,
                Some("AUTH") => {
                    for mechanism in words {
                        offers.plain |= mechanism == "PLAIN";
                        offers.login |= mechanism == "LOGIN";
                    }
                }
                _ => {}
            }
        }
        offers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_are_read_whatever_their_case_and_spelling() {
        let read = |lines: &[&str]| {
            let lines = lines.iter().map(|&line| line.to_owned()).collect();
            Offers::read(&Reply { code: 250, lines })
        };
        let offers = read(&["relay.example.org", "size 1000", "8BITMIME", "Auth=login PLAIN", "smtputf8"]);
        assert!(offers.size && offers.eight_bit && offers.utf8 && offers.plain && offers.login);
        assert!(!offers.starttls);
        let named_like_an_offer = read(&["STARTTLS"]);
        assert!(!named_like_an_offer.starttls, "the first line is the relay's name");
    }
}
