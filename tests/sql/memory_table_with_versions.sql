CREATE TABLE hours (id TEXT, version BIGINT, company TEXT, hours BIGINT, PRIMARY KEY (id) NOT ENFORCED)
WITH (connector = 'single_file', path = 'inputs/hours.jsonl', format = 'json');
CREATE TABLE newest (id TEXT PRIMARY KEY, version BIGINT, hours BIGINT) WITH (version = 'version');
INSERT INTO newest SELECT id, version, hours FROM hours WHERE company <> 'beta';
-- Keys of its own: which of two writers comes first is nobody's promise.
INSERT INTO newest SELECT id || '-beta', version, hours * 10 FROM hours WHERE company = 'beta';
SELECT id, hours FROM newest;
SELECT count(*) AS all_sights FROM hours;
