//! Purpose: Chromium, as a person uses it: go to a page, read, type, click, look.
//!
//! Cast: [`Browser`] one window; [`Element`] a part of its page; [`LogEntry`] what the console said, refused content
//! (Content Security Policy) included. It speaks WebDriver (W3C) to chromedriver.
//!
//! Never: keeps a profile, reaches for the network by itself, or waits without a deadline.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::process::{LOOK_AGAIN, Process, START_DEADLINE, scratch};

/// How long a page may take to show what a test waits for.
pub const PAGE_DEADLINE: Duration = Duration::from_secs(20);
/// The name under which WebDriver hands over elements (W3C WebDriver, "web element identifier").
const ELEMENT_KEY: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A window of a fresh headless Chromium; ends with this value.
pub struct Browser {
    http: reqwest::Client,
    driver: SocketAddr,
    /// Path of the session, as in `/session/1234`; empty until there is one.
    session: String,
    process: Process,
}

/// A part of the page; it outlives neither a reload nor its own removal from the page.
pub struct Element<'a> {
    browser: &'a Browser,
    path: String,
}

/// A line of the browser's console.
#[derive(Debug, Clone, PartialEq)]
pub struct LogEntry {
    /// `SEVERE`, `WARNING`, `INFO` or `DEBUG`.
    pub level: String,
    /// Who says it: `security` for refused content, `network`, `javascript`, `console-api`, …
    pub source: String,
    /// The text.
    pub message: String,
}

impl Browser {
    /// Starts chromedriver on a port of its choice and opens a window of the given size in CSS pixels.
    ///
    /// # Errors
    /// When chromedriver or Chromium is missing or does not start, with their own words.
    pub async fn start(width: u32, height: u32) -> Result<Browser> {
        let (process, profile, port) = start_driver().await?;
        let driver = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        // Requests stay on loopback whatever proxy the environment names.
        let http = reqwest::Client::builder().no_proxy().timeout(START_DEADLINE * 2).build()?;
        let mut browser = Browser { http, driver, session: String::new(), process };
        let session = browser.ask("POST", "/session", Some(capabilities(&profile, width, height))).await?;
        browser.session = format!("/session/{}", session["sessionId"].as_str().context("chromedriver gave no session")?);
        browser.set_window(width, height).await?;
        Ok(browser)
    }

    /// Opens an address and waits until the page is loaded.
    pub async fn goto(&self, url: &str) -> Result<()> {
        self.post("/url", json!({ "url": url })).await.map(drop)
    }

    /// The address shown.
    pub async fn url(&self) -> Result<String> {
        text(self.get("/url").await?)
    }

    /// The page's title.
    pub async fn title(&self) -> Result<String> {
        text(self.get("/title").await?)
    }

    /// The page as it stands now, as HTML.
    pub async fn source(&self) -> Result<String> {
        text(self.get("/source").await?)
    }

    /// The first element that matches a CSS selector; an error when there is none.
    pub async fn find(&self, css: &str) -> Result<Element<'_>> {
        let found = self.post("/element", json!({ "using": "css selector", "value": css })).await?;
        self.element(&found)
    }

    /// All elements that match, perhaps none.
    pub async fn find_all(&self, css: &str) -> Result<Vec<Element<'_>>> {
        let found = self.post("/elements", json!({ "using": "css selector", "value": css })).await?;
        found.as_array().into_iter().flatten().map(|element| self.element(element)).collect()
    }

    /// Waits until an element matches, and returns it.
    ///
    /// # Errors
    /// After [`PAGE_DEADLINE`], with the address and title of the page that is shown instead.
    pub async fn wait_until(&self, css: &str) -> Result<Element<'_>> {
        let deadline = Instant::now() + PAGE_DEADLINE;
        while Instant::now() < deadline {
            if let Some(element) = self.find_all(css).await?.into_iter().next() {
                return Ok(element);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        bail!("no {css} within {PAGE_DEADLINE:?} on {} ({})", self.url().await?, self.title().await?)
    }

    /// Clicks the first element that matches.
    pub async fn click(&self, css: &str) -> Result<()> {
        self.find(css).await?.click().await
    }

    /// Types into the first element that matches.
    pub async fn type_text(&self, css: &str, typed: &str) -> Result<()> {
        self.find(css).await?.type_text(typed).await
    }

    /// The visible text of the first element that matches.
    pub async fn text(&self, css: &str) -> Result<String> {
        self.find(css).await?.text().await
    }

    /// Runs a function body in the page, with `arguments`, and gives what it returns.
    pub async fn execute(&self, body: &str, arguments: Value) -> Result<Value> {
        self.post("/execute/sync", json!({ "script": body, "args": arguments })).await
    }

    /// From now on commands mean the page inside that frame, whatever its origin; without one, the whole page again.
    pub async fn enter(&self, frame: Option<&Element<'_>>) -> Result<()> {
        let id = frame.map(|frame| json!({ ELEMENT_KEY: frame.path.trim_start_matches("/element/") }));
        self.post("/frame", json!({ "id": id })).await.map(drop)
    }

    /// From now on the browser gives itself this name: a headless one is told from a person's otherwise.
    pub async fn pretend(&self, user_agent: &str) -> Result<()> {
        let command = json!({ "cmd": "Network.setUserAgentOverride", "params": { "userAgent": user_agent } });
        self.post("/goog/cdp/execute", command).await.map(drop)
    }

    /// Sets the size of the window in CSS pixels.
    pub async fn set_window(&self, width: u32, height: u32) -> Result<()> {
        self.post("/window/rect", json!({ "width": width, "height": height })).await.map(drop)
    }

    /// Writes what the window shows to a PNG file.
    pub async fn screenshot(&self, file: &Path) -> Result<()> {
        let encoded = text(self.get("/screenshot").await?)?;
        let png = mail_parser::decoders::base64::base64_decode(encoded.as_bytes()).context("the screenshot is not base64")?;
        std::fs::write(file, png).with_context(|| format!("cannot write {}", file.display()))
    }

    /// The cookies the page may see and those it may not, as WebDriver describes them (`name`, `value`, `httpOnly`, …).
    pub async fn cookies(&self) -> Result<Vec<Value>> {
        Ok(self.get("/cookie").await?.as_array().cloned().unwrap_or_default())
    }

    /// What the console said since the last call: script errors, failed loads, refused content.
    pub async fn logs(&self) -> Result<Vec<LogEntry>> {
        let entries = self.post("/se/log", json!({ "type": "browser" })).await?;
        let field = |entry: &Value, name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let read = |entry| LogEntry { level: field(entry, "level"), source: field(entry, "source"), message: field(entry, "message") };
        Ok(entries.as_array().into_iter().flatten().map(read).collect())
    }

    /// The browser's own folder.
    pub fn directory(&self) -> &Path {
        self.process.directory()
    }

    fn element(&self, found: &Value) -> Result<Element<'_>> {
        let id = found[ELEMENT_KEY].as_str().context("chromedriver named no element")?;
        Ok(Element { browser: self, path: format!("/element/{id}") })
    }

    async fn get(&self, command: &str) -> Result<Value> {
        self.ask("GET", &format!("{}{command}", self.session), None).await
    }

    async fn post(&self, command: &str, body: Value) -> Result<Value> {
        self.ask("POST", &format!("{}{command}", self.session), Some(body)).await
    }

    async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value> {
        let url = format!("http://{}{path}", self.driver);
        let request = self.http.request(method.parse()?, url).header("content-type", "application/json");
        let request = body.into_iter().fold(request, |request, body| request.body(body.to_string()));
        let answer = request.send().await.context("chromedriver does not answer")?;
        let succeeded = answer.status().is_success();
        let mut answer: Value = serde_json::from_str(&answer.text().await?)?;
        let value = answer["value"].take();
        if !succeeded {
            bail!("the browser refused {path}: {}", value["message"].as_str().unwrap_or("no reason given"));
        }
        Ok(value)
    }
}

impl Drop for Browser {
    /// Closes the session first: chromedriver would leave its Chromium behind. Chromedriver itself ends with `process`.
    fn drop(&mut self) {
        if !self.session.is_empty()
            && let Err(error) = close_session(self.driver, &self.session)
        {
            eprintln!("the browser session was not closed in order: {error}");
        }
    }
}

impl Element<'_> {
    /// Clicks its middle.
    pub async fn click(&self) -> Result<()> {
        self.post("/click", json!({})).await
    }

    /// Types as on a keyboard, after what stands there.
    pub async fn type_text(&self, typed: &str) -> Result<()> {
        self.post("/value", json!({ "text": typed })).await
    }

    /// The text as it is shown.
    pub async fn text(&self) -> Result<String> {
        text(self.browser.get(&format!("{}/text", self.path)).await?)
    }

    async fn post(&self, command: &str, body: Value) -> Result<()> {
        self.browser.post(&format!("{}{command}", self.path), body).await.map(drop)
    }
}

/// Most starts of chromedriver.
const STARTS_MOST: u32 = 5;

/// Starts chromedriver. It takes a port that is free in IPv6 and wants the same one in IPv4, where another test may hold it; then it ends
/// at once, and the next start finds another port.
async fn start_driver() -> Result<(Process, PathBuf, u16)> {
    for start in 1.. {
        let directory = scratch("browser-")?;
        let profile = directory.path().join("profile");
        let mut command = Command::new("/usr/bin/chromedriver");
        // Chromium writes settings and caches into these even when it has a profile of its own.
        command.arg("--port=0").env("XDG_CONFIG_HOME", directory.path()).env("XDG_CACHE_HOME", directory.path());
        let mut process = Process::start("chromedriver", command, directory)?;
        match port_taken_by(&mut process).await {
            Ok(port) => return Ok((process, profile, port)),
            Err(error) if start == STARTS_MOST || !process.output().contains("Address already in use") => return Err(error),
            Err(_) => {}
        }
    }
    bail!("chromedriver does not start")
}

/// chromedriver takes a free port itself and prints it.
async fn port_taken_by(chromedriver: &mut Process) -> Result<u16> {
    let deadline = Instant::now() + START_DEADLINE;
    while Instant::now() < deadline {
        chromedriver.check_alive()?;
        let output = chromedriver.output();
        let port = output.split_once("started successfully on port ").and_then(|(_, rest)| rest.split_once('.'));
        if let Some((port, _)) = port {
            return Ok(port.parse()?);
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    bail!("chromedriver named no port within {START_DEADLINE:?}: {}", chromedriver.output())
}

/// A blocking request, for `Drop` has no async.
fn close_session(driver: SocketAddr, session: &str) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&driver, PAGE_DEADLINE)?;
    stream.set_read_timeout(Some(PAGE_DEADLINE))?;
    write!(stream, "DELETE {session} HTTP/1.1\r\nHost: {driver}\r\nConnection: close\r\n\r\n")?;
    stream.read(&mut [0; 256]).map(drop)
}

fn capabilities(profile: &Path, width: u32, height: u32) -> Value {
    let flags = [
        "--headless",
        // The sandbox does not work for root, and the only pages opened are the test's own.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        // Containers give /dev/shm too little room for a page.
        "--disable-dev-shm-usage",
    ];
    let own = [format!("--user-data-dir={}", profile.display()), format!("--window-size={width},{height}")];
    let arguments: Vec<String> = flags.into_iter().map(str::to_owned).chain(own).collect();
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "goog:chromeOptions": { "binary": "/usr/bin/chromium", "args": arguments },
        "goog:loggingPrefs": { "browser": "ALL" },
    } } })
}

fn text(value: Value) -> Result<String> {
    value.as_str().map(str::to_owned).context("chromedriver answered without a text")
}
