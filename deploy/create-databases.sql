-- Run once by the Postgres image, when its volume is empty. The tables are in `mentors`; Dagster's own storage is apart,
-- so that one can be saved and put back without the other.
CREATE DATABASE dagster;
