//! Purpose: start a server program in a folder of its own and end it, with everything it started, when dropped.
//!
//! Cast: [`Process`] a running program and its folder; [`scratch`] makes the folder; [`free_port`] finds a port;
//! [`processes_in`] tells who still works in a folder.
//!
//! Never: ends a process that does not work inside the folder it made.

use std::fs::{self, OpenOptions, Permissions};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;

/// How long a server may take to start on a busy machine.
pub const START_DEADLINE: Duration = Duration::from_secs(30);
/// How long a server may take to end before it is killed.
const END_DEADLINE: Duration = Duration::from_secs(5);
/// Pause between two looks at a condition that announces itself in no other way.
pub const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A running server program, its folder and its output.
pub struct Process {
    child: Child,
    name: &'static str,
    directory: TempDir,
}

impl Process {
    /// Starts `command` inside `directory`, its output kept in `output.log` there.
    ///
    /// # Errors
    /// When the program is missing or cannot be started.
    pub fn start(name: &'static str, mut command: Command, directory: TempDir) -> Result<Process> {
        // Appended to, as some servers open the same file as their log.
        let output = OpenOptions::new().create(true).append(true).open(directory.path().join("output.log"))?;
        let errors = output.try_clone()?;
        let child = command
            .current_dir(directory.path())
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // A group of its own: Ctrl-C reaches the tests first, which then end the server in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{name} did not start; tests/run installs what the tests need"))?;
        Ok(Process { child, name, directory })
    }

    /// The server's own folder; it disappears with the server.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// What the program wrote so far: standard output, errors and log.
    pub fn output(&self) -> String {
        fs::read(self.directory().join("output.log")).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
    }

    /// Fails with the program's own words when it has ended.
    pub fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended early ({status}): {}", self.name, self.output()),
        }
    }

    /// Waits until the server listening on `address` greets with a line that starts with `greeting`.
    pub async fn wait_for_greeting(&mut self, address: SocketAddr, greeting: &str) -> Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        while Instant::now() < deadline {
            self.check_alive()?;
            let attempt = tokio::time::timeout(START_DEADLINE, first_line(address)).await;
            if let Ok(Ok(line)) = attempt
                && line.starts_with(greeting)
            {
                return Ok(());
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        bail!("{} did not greet within {START_DEADLINE:?}: {}", self.name, self.output())
    }
}

impl Drop for Process {
    /// Everything that works in the folder is ended at once: what matters of it dies with the folder. Asking only the
    /// child is not enough, as Postfix runs below the shell script that started it.
    fn drop(&mut self) {
        let mut everyone = processes_in(self.directory());
        everyone.push(self.child.id());
        send_signal("TERM", &everyone);
        let deadline = Instant::now() + END_DEADLINE;
        while Instant::now() < deadline {
            let child_ended = !matches!(self.child.try_wait(), Ok(None));
            if child_ended && processes_in(self.directory()).is_empty() {
                return;
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        let left = processes_in(self.directory());
        eprintln!("{} did not end within {END_DEADLINE:?}; killing {} processes", self.name, left.len());
        send_signal("KILL", &left);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A new folder that other users may enter (mail servers change their user), inside the run's scratch folder if there is one.
pub fn scratch(prefix: &str) -> Result<TempDir> {
    let parent = std::env::var_os("LETTERLAB_TEST_SCRATCH").map_or_else(std::env::temp_dir, PathBuf::from);
    tempfile::Builder::new()
        .prefix(prefix)
        .permissions(Permissions::from_mode(0o755))
        .tempdir_in(&parent)
        .with_context(|| format!("no scratch folder can be made in {}", parent.display()))
}

/// A loopback port nobody listens on. It lies below the range the kernel lends to outgoing connections,
/// so that none of those can take it before the server does, and is not given out twice by this process.
pub fn free_port() -> Result<u16> {
    const FIRST: u32 = 20_000;
    const COUNT: u32 = 12_000;
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    for _ in 0..COUNT {
        let turn = GIVEN.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + start.wrapping_add(turn) % COUNT)?;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no free loopback port between {FIRST} and {}", FIRST + COUNT)
}

/// Numbers of the running processes whose current folder lies in `directory`.
pub fn processes_in(directory: &Path) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let works_here = |entry: &fs::DirEntry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(directory));
    entries.flatten().filter(works_here).filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// Fails unless the tests run as root, with the reason.
pub fn require_root(server: &str) -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").context("/proc is needed")?;
    let user = status.lines().find_map(|line| line.strip_prefix("Uid:")).and_then(|ids| ids.split_whitespace().nth(1));
    if user == Some("0") {
        return Ok(());
    }
    bail!("{server} changes its user and so must be started by root: run tests/run as root (for instance in a container)")
}

/// User and group number of a user of this machine.
pub fn ids_of(user: &str) -> Result<(u32, u32)> {
    let table = fs::read_to_string("/etc/passwd")?;
    let row = table.lines().map(|line| line.split(':').collect::<Vec<_>>()).find(|row| row.first() == Some(&user));
    let Some([_, _, uid, gid, ..]) = row.as_deref() else { bail!("this machine has no user {user}: run tests/run, which installs it") };
    Ok((uid.parse()?, gid.parse()?))
}

async fn first_line(address: SocketAddr) -> Result<String> {
    let mut line = String::new();
    BufReader::new(TcpStream::connect(address).await?).read_line(&mut line).await?;
    Ok(line)
}

/// The shell's own `kill`: the standard library knows no signal but KILL, and a program of that name is not on every machine.
fn send_signal(signal: &str, processes: &[u32]) {
    let numbers: Vec<String> = processes.iter().map(u32::to_string).collect();
    let _ = Command::new("sh").arg("-c").arg(format!("kill -s {signal} {} 2>/dev/null", numbers.join(" "))).status();
}
