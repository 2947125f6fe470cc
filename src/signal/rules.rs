//! The literals that tell user agents apart, as ordered data.
//!
//! Cast: [`Sign`] (what a literal means), [`Place`] (where it must stand), [`LITERALS`] (the data: `mail`, `machines`, `people`).
//!
//! The literals describe shapes (robots name themselves, libraries carry their library's name, people's programs carry a device
//! or an engine) rather than a list of known robots. Everything is in lower case. This module decides nothing.

mod machines;
mod mail;
mod people;

/// What a literal says about a user agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// Hides the signs that start inside it: a brand that merely contains a robot's word.
    Harmless,
    /// A mail provider's fetcher, by provider.
    ProxyGmail,
    /// As above.
    ProxyYahoo,
    /// As above.
    ProxyOther,
    /// Someone's proxy for pictures: a mail provider's where it does not say otherwise.
    ProxyPicture,
    /// A mail program, by family.
    MailGmail,
    /// As above.
    MailApple,
    /// As above.
    MailOutlook,
    /// As above.
    MailYahoo,
    /// As above.
    MailThunderbird,
    /// As above.
    MailSamsung,
    /// As above.
    MailOther,
    /// A security product by name.
    Scanner,
    /// A link preview by name.
    Preview,
    /// A robot, a monitor, an archive: no person sits there.
    Robot,
    /// What robots are for; apps too.
    Trade,
    /// A program library or tool. On a phone or tablet it is a part of an app.
    Library,
    /// A phrase behind the engine's name that browsers do not write.
    Oddity,
    /// No user agent at all but an attempt to inject something.
    Injection,
    /// An app's own view of the web, or a program made around a browser's engine.
    InApp,
    /// A browser engine.
    Engine,
    /// A device or system people use; also a phone's, a tablet's, a desktop's.
    Platform,
    /// As above.
    Phone,
    /// As above.
    Tablet,
    /// As above.
    Desktop,
    /// Android without saying which size.
    Android,
    /// The word that makes an Android device a phone.
    Mobile,
    /// A browser by brand.
    Edge,
    /// As above.
    Chrome,
    /// As above.
    Firefox,
    /// As above.
    Safari,
    /// As above.
    OtherBrowser,
}

impl Sign {
    /// Whether it names a mail program.
    pub const fn is_mail_program(self) -> bool {
        matches!(
            self,
            Self::MailGmail
                | Self::MailApple
                | Self::MailOutlook
                | Self::MailYahoo
                | Self::MailThunderbird
                | Self::MailSamsung
                | Self::MailOther
        )
    }
}

/// Where a literal must stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Anywhere.
    Anywhere,
    /// At the very beginning.
    Start,
    /// Not behind a letter.
    Word,
    /// Not before a letter.
    Tail,
    /// Before a digit: a product's version.
    Version,
    /// Behind a label with a letter in it and before anything but a letter, digit, dot or hyphen: the end of a host name.
    Ending,
    /// Between a name and a host name: the middle of an e-mail address.
    Mailbox,
}

/// Signs that share a place, with their literals.
pub type Group = (Sign, Place, &'static [&'static str]);
/// The data. Order matters only for [`Sign::Harmless`], which comes before what it hides.
pub const LITERALS: [&[Group]; 3] = [mail::LITERALS, machines::LITERALS, people::LITERALS];
