CREATE TABLE parts (file TEXT METADATA FROM 'path', n BIGINT, place TEXT METADATA FROM 'position', kind TEXT)
WITH (connector = 'filesystem', path = 'inputs/part-*', format = 'json');
CREATE TABLE towns (town TEXT, place TEXT METADATA FROM 'position', path TEXT METADATA)
WITH (connector = 'parquet', path = 'inputs/towns.parquet');
CREATE TABLE notes (value TEXT, place TEXT METADATA FROM 'position' VIRTUAL)
WITH (connector = 'single_file', path = 'inputs/notes.txt', format = 'raw_string');
CREATE TABLE sales (file TEXT METADATA FROM 'path', id BIGINT, person TEXT)
WITH (connector = 'single_file', path = 'inputs/sales.csv');
SELECT file, n, place FROM parts;
SELECT place AS place_alone FROM parts;
SELECT * FROM towns;
SELECT place AS place_of_note FROM notes;
SELECT file AS file_of_sale, count(*) AS sales FROM sales GROUP BY file;
