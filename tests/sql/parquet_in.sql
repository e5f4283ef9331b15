CREATE TABLE towns WITH (connector = 'parquet', path = 'inputs/towns.parquet');
SELECT town, people * 2 AS twice, founded, tags FROM towns WHERE people > 1;
