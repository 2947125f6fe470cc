//! The way most peers store hits, for comparison: one INSERT and one commit per request, before the answer.
//!
//! `peer ADDRESS DATABASE`. Not part of the product; started by `benches/load/pixel.sh`.
#![allow(clippy::unwrap_used, missing_docs, reason = "a program for measuring")]

use actix_web::{App, HttpResponse, HttpServer, web};
use diesel::connection::SimpleConnection as _;
use letterlab::app::clock;
use letterlab::db::{DbError, LedgerDb, Location};
use letterlab::ids::EventId;
use letterlab::web::GIF;

async fn pixel(ledger: web::Data<LedgerDb>) -> HttpResponse {
    let id = EventId::from_bytes(clock::fresh());
    let at = clock::Clock::wall().now().as_millisecond();
    let insert = format!("INSERT INTO peer_hit (id, recipient, campaign, kind, at) VALUES ('{id}', '{id}', 1, 'open', {at})");
    let stored = web::block(move || match ledger.location() {
        // One writer, as SQLite wants it; on PostgreSQL the statement is its own transaction.
        Location::Sqlite(_) => ledger.write(|conn| conn.sql().batch_execute(&insert).map_err(DbError::from)),
        Location::Postgres(_) => ledger.read(|conn| conn.sql().batch_execute(&insert).map_err(DbError::from)),
    });
    stored.await.unwrap().unwrap();
    HttpResponse::Ok().content_type("image/gif").body(web::Bytes::from_static(GIF))
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let (address, database) = (arguments.next().unwrap(), arguments.next().unwrap());
    let ledger = web::Data::new(LedgerDb::open(&database.parse().unwrap()).unwrap());
    let table = "CREATE TABLE peer_hit (id TEXT PRIMARY KEY, recipient TEXT NOT NULL, campaign BIGINT NOT NULL, kind TEXT NOT NULL, at BIGINT NOT NULL)";
    ledger.write(|conn| conn.sql().batch_execute(table).map_err(DbError::from)).unwrap();
    HttpServer::new(move || App::new().app_data(ledger.clone()).default_service(web::to(pixel))).workers(2).bind(address)?.run().await
}
