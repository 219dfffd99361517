//! The tables: Nix's schema 10, and those of content-addressed derivations.
//! docs/formats/store.md describes them.

use rusqlite::Connection;

/// What every Nix from 1.12 on makes and reads.
const NIX: &str = "
create table if not exists ValidPaths (
    id               integer primary key autoincrement not null,
    path             text unique not null,
    hash             text not null,
    registrationTime integer not null,
    deriver          text,
    narSize          integer,
    ultimate         integer,
    sigs             text,
    ca               text
);
create table if not exists Refs (
    referrer  integer not null,
    reference integer not null,
    primary key (referrer, reference),
    foreign key (referrer) references ValidPaths(id) on delete cascade,
    foreign key (reference) references ValidPaths(id) on delete restrict
);
create index if not exists IndexReference on Refs(reference);
create trigger if not exists DeleteSelfRefs before delete on ValidPaths
  begin
    delete from Refs where referrer = old.id and reference = old.id;
  end;
create table if not exists DerivationOutputs (
    drv  integer not null,
    id   text not null,
    path text not null,
    primary key (drv, id),
    foreign key (drv) references ValidPaths(id) on delete cascade
);
create index if not exists IndexDerivationOutputs on DerivationOutputs(path);
";

/// What Nix adds where content-addressed derivations are switched on: up to
/// 2.34 (`Realisations`), and from 2.35 on (`BuildTraceV3`).
const REALISATIONS: &str = "
create table if not exists Realisations (
    id         integer primary key autoincrement not null,
    drvPath    text not null,
    outputName text not null,
    outputPath integer not null,
    signatures text,
    foreign key (outputPath) references ValidPaths(id) on delete cascade
);
create index if not exists IndexRealisations on Realisations(drvPath, outputName);
create table if not exists RealisationsRefs (
    referrer             integer not null,
    realisationReference integer,
    foreign key (referrer) references Realisations(id) on delete cascade,
    foreign key (realisationReference) references Realisations(id) on delete restrict
);
create trigger if not exists DeleteSelfRefsViaRealisations before delete on ValidPaths
  begin
    delete from RealisationsRefs where realisationReference in (
      select id from Realisations where outputPath = old.id
    );
  end;
create index if not exists IndexRealisationsRefsRealisationReference
    on RealisationsRefs(realisationReference);
create index if not exists IndexRealisationsRefs on RealisationsRefs(referrer);
create index if not exists IndexRealisationsRefsOnOutputPath on Realisations(outputPath);
create table if not exists BuildTraceV3 (
    id         integer primary key autoincrement not null,
    drvPath    text not null,
    outputName text not null,
    outputPath text not null,
    signatures text
);
create index if not exists IndexBuildTraceV3 on BuildTraceV3(drvPath, outputName);
";

/// Makes the tables of a new store.
pub(super) fn create(connection: &Connection) -> rusqlite::Result<()> {
    let transaction =
        rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(NIX)?;
    transaction.commit()
}

/// Makes what a store of Nix's may lack: every version makes only its own
/// tables of realisations, and leaves those of others alone.
pub(super) fn add_ours(connection: &Connection) -> rusqlite::Result<()> {
    let made: i64 = connection.query_row(
        "select count(*) from sqlite_schema where name in \
         ('BuildTraceV3', 'RealisationsRefs', 'DeleteSelfRefsViaRealisations')",
        [],
        |row| row.get(0),
    )?;
    if made == 3 {
        return Ok(());
    }
    let transaction =
        rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
    transaction.execute_batch(REALISATIONS)?;
    transaction.commit()
}
