//! Purpose: two fresh PostgreSQL databases, vault and ledger, for one test.
//!
//! Cast: [`Databases`] the pair, by URL; [`Server`] a server of one test's own, that can break down.
//!
//! Never: shares a database between tests. The server that tests/run starts once, and names in `LETTERLAB_TEST_POSTGRES`, is everybody's:
//! it is never stopped here.

use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use super::process::{LOOK_AGAIN, START_DEADLINE, scratch};

/// The role the application uses; it owns its databases and is no superuser. Made by tests/run.
const APPLICATION_ROLE: &str = "letterlab";

/// A pair of fresh databases, dropped with this value.
pub struct Databases {
    admin_url: String,
    vault: String,
    ledger: String,
}

impl Databases {
    /// Makes the pair from the empty template (`template0`).
    ///
    /// # Errors
    /// When tests/run has not started PostgreSQL, or `psql` refuses.
    pub fn create() -> Result<Databases> {
        let admin_url = std::env::var("LETTERLAB_TEST_POSTGRES")
            .context("LETTERLAB_TEST_POSTGRES is not set: run the tests with tests/run, which starts a throw-away PostgreSQL")?;
        Self::create_on(admin_url)
    }

    /// Makes the pair on another server.
    ///
    /// # Errors
    /// When `psql` refuses.
    pub fn create_on(admin_url: String) -> Result<Databases> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let unique = format!("{}_{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
        let pair = Databases { admin_url, vault: format!("vault_{unique}"), ledger: format!("ledger_{unique}") };
        let create = |name: &str| format!("CREATE DATABASE {name} OWNER {APPLICATION_ROLE} TEMPLATE template0");
        psql(&pair.admin_url, &[create(&pair.vault), create(&pair.ledger)])?;
        Ok(pair)
    }

    /// URL of the vault database, for the application's role.
    pub fn vault_url(&self) -> Result<String> {
        application_url(&self.admin_url, &self.vault)
    }

    /// URL of the ledger database, for the application's role.
    pub fn ledger_url(&self) -> Result<String> {
        application_url(&self.admin_url, &self.ledger)
    }
}

impl Databases {
    /// Makes both databases go away, as if their server had been stopped, or come back.
    ///
    /// # Errors
    /// When `psql` refuses.
    pub fn let_connect(&self, may: bool) -> Result<()> {
        let allow = |name: &str| format!("ALTER DATABASE {name} ALLOW_CONNECTIONS {may}");
        psql(&self.admin_url, &[allow(&self.vault), allow(&self.ledger)])?;
        if !may {
            let end =
                format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('{}', '{}')", self.vault, self.ledger);
            psql(&self.admin_url, &[end])?;
        }
        Ok(())
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        let drop = |name: &str| format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
        if let Err(error) = psql(&self.admin_url, &[drop(&self.vault), drop(&self.ledger)]) {
            eprintln!("test databases are left behind: {error:#}");
        }
    }
}

/// A PostgreSQL server of one test's own, in a scratch folder.
pub struct Server {
    folder: TempDir,
    postgres: Option<Child>,
}

impl Server {
    /// Starts it with an empty cluster and the application's role.
    ///
    /// # Errors
    /// When PostgreSQL's programs are missing, or refuse.
    pub fn start() -> Result<Server> {
        let folder = scratch("pg-")?;
        let mut server = Server { folder, postgres: None };
        if is_root() {
            run(Command::new("chown").arg(server_user()).arg(server.folder.path()))?;
        }
        run(server.program("initdb").args(["--pgdata=data", "--username=admin", "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8"]))?;
        server.begin()?;
        psql(&server.admin_url(), &[format!("CREATE ROLE {APPLICATION_ROLE} LOGIN")])?;
        Ok(server)
    }

    /// How the superuser reaches it.
    pub fn admin_url(&self) -> String {
        let socket = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgresql://admin@{socket}/postgres")
    }

    /// Ends it in the middle of everything, without a checkpoint and without a word to anybody, and starts it again: it recovers.
    ///
    /// # Errors
    /// When it does not come back.
    pub fn break_down_and_recover(&mut self) -> Result<()> {
        self.end()?;
        self.begin()
    }

    fn end(&mut self) -> Result<()> {
        if let Some(mut postgres) = self.postgres.take() {
            // PostgreSQL's "immediate shutdown".
            run(Command::new("kill").args(["-QUIT", &postgres.id().to_string()]))?;
            postgres.wait()?;
        }
        Ok(())
    }

    fn begin(&mut self) -> Result<()> {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"))?;
        let mut command = self.program("postgres");
        let socket = format!("unix_socket_directories={}", self.folder.path().display());
        command.args(["-D", "data", "-c", "listen_addresses=", "-c", &socket, "-c", "shared_buffers=32MB", "-c", "max_connections=60"]);
        self.postgres = Some(command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn()?);
        let deadline = Instant::now() + START_DEADLINE;
        while psql(&self.admin_url(), &["SELECT 1".to_owned()]).is_err() {
            if Instant::now() > deadline {
                bail!("PostgreSQL does not start: {}", std::fs::read_to_string(self.folder.path().join("log"))?);
            }
            std::thread::sleep(LOOK_AGAIN);
        }
        Ok(())
    }

    /// One of PostgreSQL's programs, in the folder. It refuses root; setpriv keeps the process number.
    fn program(&self, name: &str) -> Command {
        let mut command = if is_root() {
            let mut command = Command::new("setpriv");
            command.args([&format!("--reuid={}", server_user()), "--clear-groups"]).arg(binary(name));
            command
        } else {
            Command::new(binary(name))
        };
        command.current_dir(self.folder.path());
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.end() {
            eprintln!("a PostgreSQL is left behind: {error:#}");
        }
    }
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// Whose the server is when the tests run as root.
fn server_user() -> &'static str {
    let is_there = Command::new("id").args(["-u", "postgres"]).output().is_ok_and(|output| output.status.success());
    if is_there { "postgres" } else { "nobody" }
}

/// The newest one of Debian's, as tests/run takes it; otherwise the one in the path.
fn binary(name: &str) -> PathBuf {
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok()).unwrap_or_default();
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten().map(|entry| entry.path());
    let newest = versions.filter(|path| path.join("bin").join(name).exists()).max_by_key(version);
    newest.map_or_else(|| name.into(), |path| path.join("bin").join(name))
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.output().with_context(|| format!("{command:?} did not start"))?;
    if !output.status.success() {
        bail!("{command:?}: {}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    }
    Ok(())
}

/// Runs each statement by itself (CREATE DATABASE refuses a transaction) and returns what they print, unaligned.
pub fn psql(url: &str, statements: &[String]) -> Result<String> {
    let mut command = Command::new("psql");
    command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1", "--dbname", url]);
    for statement in statements {
        command.arg("--command").arg(statement);
    }
    let output = command.output().context("psql did not start; tests/run installs what the tests need")?;
    if !output.status.success() {
        bail!("psql failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// `postgresql://admin@host/postgres` becomes `postgresql://letterlab@host/name`.
fn application_url(admin_url: &str, name: &str) -> Result<String> {
    let parts = admin_url.rsplit_once('@').and_then(|(_, place)| place.split_once('/'));
    let (host, _) = parts.context("LETTERLAB_TEST_POSTGRES is not like postgresql://admin@host/postgres")?;
    Ok(format!("postgresql://{APPLICATION_ROLE}@{host}/{name}"))
}
