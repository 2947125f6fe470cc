//! Purpose: two fresh PostgreSQL databases, vault and ledger, for one test.
//!
//! Cast: [`Databases`] the pair, by URL.
//!
//! Never: starts a server (tests/run does, once, and names it in `LETTERLAB_TEST_POSTGRES`), and never shares a database
//! between tests.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, bail};

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
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let admin_url = std::env::var("LETTERLAB_TEST_POSTGRES")
            .context("LETTERLAB_TEST_POSTGRES is not set: run the tests with tests/run, which starts a throw-away PostgreSQL")?;
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
