CREATE TABLE notes (value TEXT) WITH (connector = 'single_file', path = 'inputs/notes.txt', format = 'raw_string');
SELECT value, length(value) AS n FROM notes;
