//! Purpose: a private Dovecot: real mailboxes filled by LMTP and read by IMAP.
//!
//! Cast: [`Mailboxes`] who has one; [`Dovecot`] the running instance.
//!
//! Never: knows a mailbox that was not listed (LMTP refuses it with 550 5.1.1), or touches the machine's own Dovecot.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::Result;

use super::imap::Imap;
use super::process::{Process, free_port, ids_of, require_root, scratch};

/// Password of every mailbox.
pub const PASSWORD: &str = "reading";
/// Every Debian machine has it, and mail needs no user of its own here.
const MAIL_USER: &str = "nobody";

/// The mailboxes to keep, by full address.
pub struct Mailboxes<'a> {
    /// Take mail.
    pub open: &'a [&'a str],
    /// Exist but are over their quota: LMTP refuses mail with 552 5.2.2.
    pub full: &'a [&'a str],
}

/// A running private Dovecot; ends with this value.
pub struct Dovecot {
    process: Process,
    imap: SocketAddr,
    lmtp: SocketAddr,
}

impl Dovecot {
    /// Starts an instance and waits until both services greet.
    ///
    /// # Errors
    /// Without root, without the packages, or when it does not greet; with Dovecot's own words.
    pub async fn start(mailboxes: &Mailboxes<'_>) -> Result<Dovecot> {
        require_root("Dovecot")?;
        let directory = scratch("dovecot-")?;
        let imap = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let lmtp = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let mail = directory.path().join("mail");
        fs::create_dir(&mail)?;
        let (uid, gid) = ids_of(MAIL_USER)?;
        chown(&mail, Some(uid), Some(gid))?;
        fs::write(directory.path().join("users"), user_table(mailboxes, (uid, gid), &mail))?;
        fs::set_permissions(directory.path().join("users"), Permissions::from_mode(0o644))?;
        let configuration = directory.path().join("dovecot.conf");
        fs::write(&configuration, dovecot_conf(directory.path(), imap, lmtp))?;

        let mut command = Command::new("/usr/sbin/dovecot");
        command.arg("-F").arg("-c").arg(&configuration);
        let mut process = Process::start("Dovecot", command, directory)?;
        process.wait_for_greeting(imap, "* OK").await?;
        process.wait_for_greeting(lmtp, "220 ").await?;
        Ok(Dovecot { process, imap, lmtp })
    }

    /// Where mailboxes are read by IMAP, without TLS.
    pub fn imap_address(&self) -> SocketAddr {
        self.imap
    }

    /// Where mail is delivered by LMTP.
    pub fn lmtp_address(&self) -> SocketAddr {
        self.lmtp
    }

    /// The instance's own folder.
    pub fn directory(&self) -> &Path {
        self.process.directory()
    }

    /// Every message in the user's inbox, oldest first, as it lies there.
    pub async fn fetch_all(&self, user: &str) -> Result<Vec<Vec<u8>>> {
        let mut session = Imap::login(self.imap, user, PASSWORD).await?;
        session.fetch_all().await
    }

    /// Waits until the user's inbox holds at least `count` messages and returns all of them.
    ///
    /// # Errors
    /// When they have not come before the deadline (see [`super::imap::MAIL_DEADLINE`]).
    pub async fn wait_for_messages(&self, user: &str, count: usize) -> Result<Vec<Vec<u8>>> {
        let mut session = Imap::login(self.imap, user, PASSWORD).await?;
        session.wait_until_exists(count).await?;
        session.fetch_all().await
    }

    /// Waits for the user's first message and returns it.
    pub async fn wait_for_message(&self, user: &str) -> Result<Vec<u8>> {
        let messages = self.wait_for_messages(user, 1).await?;
        messages.into_iter().next().ok_or_else(|| anyhow::anyhow!("the inbox lost its message"))
    }
}

/// A passwd-file: name, password, user and group number, home, and the quota of a full mailbox.
fn user_table(mailboxes: &Mailboxes<'_>, (uid, gid): (u32, u32), mail: &Path) -> String {
    let row = |address: &str, extra: &str| format!("{address}:{{PLAIN}}{PASSWORD}:{uid}:{gid}::{}/{address}::{extra}\n", mail.display());
    let open = mailboxes.open.iter().map(|address| row(address, ""));
    let full = mailboxes.full.iter().map(|address| row(address, "userdb_quota_rule=*:bytes=1"));
    open.chain(full).collect()
}

fn dovecot_conf(directory: &Path, imap: SocketAddr, lmtp: SocketAddr) -> String {
    let directory = directory.display();
    format!(
        "protocols = imap lmtp
base_dir = {directory}/run
state_dir = {directory}/state
log_path = {directory}/output.log
listen = 127.0.0.1
ssl = no
disable_plaintext_auth = no
first_valid_uid = 1
default_login_user = {MAIL_USER}
default_internal_user = {MAIL_USER}
default_internal_group = nogroup
mail_location = maildir:~/Maildir
recipient_delimiter = +
mailbox_idle_check_interval = 1 secs
auth_failure_delay = 0
mail_plugins = quota
plugin {{
  quota = count:User quota
  quota_vsizes = yes
}}
passdb {{
  driver = passwd-file
  args = {directory}/users
}}
userdb {{
  driver = passwd-file
  args = {directory}/users
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {imap_port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service lmtp {{
  inet_listener lmtp {{
    port = {lmtp_port}
  }}
}}
service anvil {{
  chroot =
  unix_listener anvil-auth-penalty {{
    mode = 0
  }}
}}
service stats {{
  chroot =
}}
",
        imap_port = imap.port(),
        lmtp_port = lmtp.port(),
    )
}
