-- The snapshot that this database was loaded from last, by the digest of its manifest.
alter table epoch add column restored_from text;
