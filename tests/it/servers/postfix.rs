//! Purpose: a private Postfix that relays mail to the test's own mailboxes and bounce listener, and returns real
//! delivery status notifications.
//!
//! Cast: [`Routes`] where mail goes; [`Postfix`] the running instance.
//!
//! Never: reads or changes the machine's own Postfix, asks DNS, or sends mail outside loopback.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::chown;
use std::path::Path;
use std::process::Command;
use std::time::UNIX_EPOCH;

use anyhow::Result;

use super::process::{Process, free_port, ids_of, require_root, scratch};

/// Where Postfix hands mail on. Recipients of any other domain are refused at once (550 5.1.2).
pub struct Routes<'a> {
    /// Domain of the readers' addresses.
    pub readers_domain: &'a str,
    /// LMTP server that knows the readers' mailboxes.
    pub readers_lmtp: SocketAddr,
    /// Domain of the envelope senders, to which notifications return.
    pub bounce_domain: &'a str,
    /// SMTP server that takes the notifications.
    pub bounce_listener: SocketAddr,
}

/// A running private Postfix; ends with this value.
pub struct Postfix {
    process: Process,
    address: SocketAddr,
}

impl Postfix {
    /// Starts an instance and waits until it greets.
    ///
    /// # Errors
    /// Without root, without the package, or when it does not greet; with Postfix's own words.
    pub async fn start(routes: &Routes<'_>) -> Result<Postfix> {
        require_root("Postfix")?;
        let directory = scratch("postfix-")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let configuration = directory.path().join("etc");
        for folder in ["etc", "queue", "data"] {
            fs::create_dir(directory.path().join(folder))?;
        }
        let (uid, gid) = ids_of("postfix")?;
        chown(directory.path().join("data"), Some(uid), Some(gid))?;
        write_settled(&configuration.join("main.cf"), &main_cf(directory.path(), routes))?;
        write_settled(&configuration.join("master.cf"), &master_cf(address))?;

        let mut command = Command::new("/usr/sbin/postfix");
        command.arg("-c").arg(&configuration).arg("start-fg");
        let mut process = Process::start("Postfix", command, directory)?;
        process.wait_for_greeting(address, "220 mta.test").await?;
        Ok(Postfix { process, address })
    }

    /// Where it takes mail by SMTP.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its mail log so far: what became of each message.
    pub fn log(&self) -> String {
        self.process.output()
    }

    /// The instance's own folder.
    pub fn directory(&self) -> &Path {
        self.process.directory()
    }
}

/// Writes a configuration file and dates it back: Postfix waits two seconds for a fresh one to settle.
fn write_settled(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text)?;
    File::options().write(true).open(file)?.set_modified(UNIX_EPOCH)?;
    Ok(())
}

fn main_cf(directory: &Path, routes: &Routes<'_>) -> String {
    let Routes { readers_domain, readers_lmtp, bounce_domain, bounce_listener } = routes;
    let directory = directory.display();
    format!(
        "compatibility_level = 3.6
queue_directory = {directory}/queue
data_directory = {directory}/data
maillog_file = {directory}/output.log
maillog_file_prefixes = {directory}
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mta.test
smtpd_banner = mta.test ESMTP
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtp_dns_support_level = disabled
lmtp_dns_support_level = disabled
smtp_host_lookup = native
lmtp_host_lookup = native
smtp_tls_security_level = none
recipient_delimiter = +
transport_maps = inline:{{ {readers_domain}=lmtp:inet:{readers_lmtp}, {bounce_domain}=smtp:{bounce} }}
default_transport = error:5.1.2 no such domain in this test
local_transport = error:5.1.1 no local mailboxes in this test
notify_classes =
in_flow_delay = 0
smtpd_client_connection_count_limit = 0
queue_run_delay = 1s
minimal_backoff_time = 1s
maximal_backoff_time = 5s
",
        bounce = format_args!("[{}]:{}", bounce_listener.ip(), bounce_listener.port()),
    )
}

/// The services a relay needs, none of them in a chroot.
fn master_cf(address: SocketAddr) -> String {
    let unix_services = "\
cleanup   unix  n - n -    0 cleanup
qmgr      unix  n - n 300  1 qmgr
rewrite   unix  - - n -    - trivial-rewrite
bounce    unix  - - n -    0 bounce
defer     unix  - - n -    0 bounce
trace     unix  - - n -    0 bounce
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n -    - proxymap
smtp      unix  - - n -    - smtp
lmtp      unix  - - n -    - lmtp
showq     unix  n - n -    - showq
error     unix  - - n -    - error
retry     unix  - - n -    - error
anvil     unix  - - n -    1 anvil
scache    unix  - - n -    1 scache
postlog   unix-dgram n - n - 1 postlogd
";
    format!("{address} inet n - n - - smtpd\n{unix_services}")
}
