//! Integration tests against real servers.
mod servers;
